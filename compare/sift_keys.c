/* sift_keys.c - bough__sift_keys: see sift.h.
 *
 * Rows of equal bytes are equal, wherever they stand, so these are struck on both sides and the rows that are left
 * differ or exist once. First the rows of each page against those that stood on it before: most of them stay. What is
 * left may have moved, and is compared once more, all of it together. No order of keys is needed for that. */
#include "sift.h"

#include <stdlib.h>
#include <string.h>

enum {
    LEFT_BYTES_MAX = 64 * 1024 * 1024,
    SAMPLE_ROWS = 4096,
};

struct row {
    struct bough__cell cell;
    size_t side;
};
struct rows {
    struct row *items;
    size_t count;
};

/* Bytes that rows were copied to. */
struct block {
    struct block *next;
    uint8_t bytes[];
};

struct work {
    struct bough__btrees *sides;
    const struct bough__pages *changed;
    uint8_t *pages[2]; /* what stands on the page in hand, on both sides */
    struct rows page;  /* its rows */
    struct rows left;
    struct block *blocks; /* that have the bytes of `left` */
    size_t left_bytes;
    uint64_t seen;
};

static int add_row(struct rows *rows, const struct bough__cell *cell, size_t side)
{
    struct row *items = bough__grow(rows->items, rows->count, sizeof items[0]);

    if (!items)
        return BOUGH__BTREE_NOMEM;
    rows->items = items;
    items[rows->count++] = (struct row){*cell, side};
    return BOUGH__BTREE_OK;
}

/* ---- striking ---- */

static int compare_bytes(const struct row *a, const struct row *b)
{
    if (a->cell.len != b->cell.len)
        return a->cell.len < b->cell.len ? -1 : 1;
    return memcmp(a->cell.bytes, b->cell.bytes, a->cell.len);
}

static int by_bytes(const void *a, const void *b)
{
    const struct row *x = a;
    const struct row *y = b;
    int order = compare_bytes(x, y);

    return order ? order : (x->side > y->side) - (x->side < y->side);
}

static int stop_if_changed(void *context, uint32_t page)
{
    return bough__pages_has(context, page) ? BOUGH__BTREE_STOPPED : BOUGH__BTREE_OK;
}

/* Takes out rows that are on both sides. The bytes name the first overflow page, so that the others are the same, too,
 * up to the first that differs; of a row in which one does one side is left, since the key is the same. */
static int strike(struct rows *rows, const struct work *work)
{
    size_t kept = 0;
    int rc = BOUGH__BTREE_OK;

    if (rows->count)
        qsort(rows->items, rows->count, sizeof rows->items[0], by_bytes);
    for (size_t i = 0; (rc == BOUGH__BTREE_OK) && i < rows->count; i++) {
        const struct row *row = &rows->items[i];
        bool is_pair = i + 1 < rows->count && row->side != row[1].side && !compare_bytes(row, &row[1]);

        if (is_pair) {
            rc = bough__btree_follow(&work->sides[1], &row->cell.chain, stop_if_changed, (void *)work->changed);
            i++;
        }
        if (!is_pair || rc == BOUGH__BTREE_STOPPED)
            rows->items[kept++] = *row;
        rc = rc == BOUGH__BTREE_STOPPED ? BOUGH__BTREE_OK : rc;
    }
    rows->count = kept;
    return rc;
}

/* ---- pages ---- */

static int read_page(struct work *work, uint32_t page, size_t side)
{
    uint32_t count = 0;
    int rc = bough__btree_read(&work->sides[side], work->pages[side], page);

    if (rc == BOUGH__BTREE_OK)
        rc = bough__btree_cell_count(&count, work->pages[side]);
    for (uint32_t i = 0; rc == BOUGH__BTREE_OK && i < count; i++) {
        struct bough__cell cell = {0};

        rc = bough__btree_cell(&cell, &work->sides[side], work->pages[side], i);
        if (rc == BOUGH__BTREE_OK)
            rc = add_row(&work->page, &cell, side);
    }
    work->seen += count;
    return rc;
}

/* The page's bytes are written over by the next one. */
static int keep_rows(struct work *work)
{
    struct block *block = NULL;
    size_t len = 0;
    int rc = BOUGH__BTREE_OK;

    for (size_t i = 0; i < work->page.count; i++)
        len += work->page.items[i].cell.len;
    work->left_bytes += len + work->page.count * sizeof work->page.items[0];
    if (!work->page.count || work->left_bytes > LEFT_BYTES_MAX)
        return work->page.count ? BOUGH__BTREE_STOPPED : BOUGH__BTREE_OK;
    block = malloc(sizeof *block + len);
    if (!block)
        return BOUGH__BTREE_NOMEM;
    block->next = work->blocks;
    work->blocks = block;
    len = 0;
    for (size_t i = 0; rc == BOUGH__BTREE_OK && i < work->page.count; i++) {
        struct row row = work->page.items[i];

        row.cell.bytes = memcpy(block->bytes + len, row.cell.bytes, row.cell.len);
        len += row.cell.len;
        rc = add_row(&work->left, &row.cell, row.side);
    }
    return rc;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void sort_pages(const struct bough__leaves *pages)
{
    if (pages->count)
        qsort(pages->items, pages->count, sizeof pages->items[0], by_number);
}

/* Each page once, on the sides that have it. */
static int read_pages(struct work *work, const struct bough__leaves pages[2], bool may_stop)
{
    size_t at[2] = {0, 0};
    int rc = BOUGH__BTREE_OK;

    while (rc == BOUGH__BTREE_OK && (at[0] < pages[0].count || at[1] < pages[1].count)) {
        uint32_t a = at[0] < pages[0].count ? pages[0].items[at[0]] : UINT32_MAX;
        uint32_t b = at[1] < pages[1].count ? pages[1].items[at[1]] : UINT32_MAX;

        work->page.count = 0;
        if (a <= b)
            rc = read_page(work, pages[0].items[at[0]++], 0);
        if (rc == BOUGH__BTREE_OK && b <= a)
            rc = read_page(work, pages[1].items[at[1]++], 1);
        if (rc == BOUGH__BTREE_OK)
            rc = strike(&work->page, work);
        if (rc == BOUGH__BTREE_OK)
            rc = keep_rows(work);
        if (rc == BOUGH__BTREE_OK && may_stop && work->seen >= SAMPLE_ROWS && work->left.count > work->seen / 2)
            rc = BOUGH__BTREE_STOPPED;
    }
    return rc;
}

static void release(struct work *work)
{
    for (struct block *block = work->blocks; block;) {
        struct block *next = block->next;

        free(block);
        block = next;
    }
    free(work->pages[0]);
    free(work->pages[1]);
    free(work->page.items);
    free(work->left.items);
}

int bough__sift_keys(struct bough__keys *out, struct bough__btrees sides[2], const struct bough__leaves pages[2],
                     const struct bough__pages *changed, bool may_stop)
{
    struct work work = {.sides = sides, .changed = changed};
    int rc = BOUGH__BTREE_NOMEM;

    for (size_t side = 0; side < 2; side++) {
        work.pages[side] = malloc(sides[side].page_size);
        sort_pages(&pages[side]);
    }
    if (work.pages[0] && work.pages[1])
        rc = read_pages(&work, pages, may_stop);
    if (rc == BOUGH__BTREE_OK)
        rc = strike(&work.left, &work);
    for (size_t i = 0; rc == BOUGH__BTREE_OK && i < work.left.count; i++)
        rc = bough__keys_add(out, &sides[work.left.items[i].side], &work.left.items[i].cell);
    release(&work);
    return rc;
}
