/* sift.c - see sift.h.
 *
 * Both sides are read in the order of rowids and merged. Rows of equal bytes are equal where the tables are stored
 * alike; that others are not is for SQLite to say, since a value may be stored in more than one way. The bytes on the
 * leaf name the first overflow page, so a row whose leaf bytes are equal has the same overflow pages on both sides up
 * to the first one that differs. */
#include "sift.h"

#include <stdlib.h>
#include <string.h>

enum {
    GAP_ROWS = 4,            /* that are equal, and read rather than left out: finding a range costs as much */
    RANGES_MAX = 256 * 1024, /* 4 MiB of them */
    SAMPLE_ROWS = 4096,
};

/* ---- leaves ---- */

bool bough__leaves_add(struct bough__leaves *leaves, uint32_t page)
{
    uint32_t *items = bough__grow(leaves->items, leaves->count, sizeof items[0]);

    if (!items)
        return false;
    leaves->items = items;
    leaves->items[leaves->count++] = page;
    return true;
}

void bough__leaves_release(struct bough__leaves *leaves)
{
    free(leaves->items);
    memset(leaves, 0, sizeof *leaves);
}

/* ---- one side ---- */

struct cursor {
    struct bough__btrees *trees;
    const struct bough__leaves *leaves;
    size_t next_leaf;
    uint8_t *page;
    uint32_t next_cell, cell_count; /* of the page */
    struct bough__cell cell;
    bool has_cell, is_at_end;
};

static int read_leaf(struct cursor *cursor)
{
    int rc = bough__btree_read(cursor->trees, cursor->page, cursor->leaves->items[cursor->next_leaf++]);

    cursor->next_cell = 0;
    return rc == BOUGH__BTREE_OK ? bough__btree_cell_count(&cursor->cell_count, cursor->page) : rc;
}

static int step(struct cursor *cursor)
{
    struct bough__cell last = cursor->cell;
    int rc = BOUGH__BTREE_OK;

    while (rc == BOUGH__BTREE_OK && cursor->next_cell == cursor->cell_count) {
        if (cursor->next_leaf == cursor->leaves->count) {
            cursor->is_at_end = true;
            return BOUGH__BTREE_OK;
        }
        rc = read_leaf(cursor);
    }
    if (rc == BOUGH__BTREE_OK)
        rc = bough__btree_cell(&cursor->cell, cursor->trees, cursor->page, cursor->next_cell++);
    if (rc == BOUGH__BTREE_OK && cursor->has_cell && cursor->cell.chain.rowid <= last.chain.rowid)
        rc = BOUGH__BTREE_ODD;
    cursor->has_cell = true;
    return rc;
}

static int open_cursor(struct cursor *out, struct bough__btrees *trees, const struct bough__leaves *leaves)
{
    *out = (struct cursor){.trees = trees, .leaves = leaves, .page = malloc(trees->page_size)};
    return out->page ? step(out) : BOUGH__BTREE_NOMEM;
}

/* ---- both ---- */

static int stop_if_changed(void *context, uint32_t page)
{
    return bough__pages_has(context, page) ? BOUGH__BTREE_STOPPED : BOUGH__BTREE_OK;
}

/* BOUGH__BTREE_STOPPED: the rows differ. */
static int compare_rows(const struct cursor *from, const struct cursor *to, const struct bough__pages *changed)
{
    const struct bough__cell *a = &from->cell;
    const struct bough__cell *b = &to->cell;

    if (a->len != b->len || memcmp(a->bytes, b->bytes, a->len) != 0)
        return BOUGH__BTREE_STOPPED;
    return bough__btree_follow(to->trees, &b->chain, stop_if_changed, (void *)changed);
}

struct merge {
    struct bough__ranges *out;
    const struct bough__pages *changed;
    struct cursor from, to;
    bool may_stop;
    uint64_t rows, differing;
    uint64_t equal; /* rows since the last one that differs; at the end of a leaf more than GAP_ROWS */
};

static int note_row(struct merge *merge, sqlite3_int64 rowid)
{
    struct bough__ranges *ranges = merge->out;
    bool is_near = merge->differing && merge->equal <= GAP_ROWS;

    merge->equal = 0;
    merge->differing++;
    if (is_near) {
        ranges->items[ranges->count - 1].last = rowid;
        return BOUGH__BTREE_OK;
    }
    if (ranges->count == RANGES_MAX)
        return BOUGH__BTREE_STOPPED;
    return bough__ranges_add(ranges, rowid, rowid) ? BOUGH__BTREE_OK : BOUGH__BTREE_NOMEM;
}

/* The row with the smallest rowid, on both sides where they have it. */
static int merge_row(struct merge *merge)
{
    struct cursor *from = &merge->from;
    struct cursor *to = &merge->to;
    sqlite3_int64 a = from->cell.chain.rowid;
    sqlite3_int64 b = to->cell.chain.rowid;
    bool has_from = !from->is_at_end && (to->is_at_end || a <= b);
    bool has_to = !to->is_at_end && (from->is_at_end || b <= a);
    size_t leaves = from->next_leaf + to->next_leaf;
    int rc = has_from && has_to ? compare_rows(from, to, merge->changed) : BOUGH__BTREE_STOPPED;

    if (rc == BOUGH__BTREE_STOPPED)
        rc = note_row(merge, has_from ? a : b);
    else
        merge->equal++;
    if (rc == BOUGH__BTREE_OK && has_from)
        rc = step(from);
    if (rc == BOUGH__BTREE_OK && has_to)
        rc = step(to);
    if (from->next_leaf + to->next_leaf > leaves)
        merge->equal = GAP_ROWS + 1; /* many rows may stand before the next leaf that differs */
    return rc;
}

static int merge_rows(struct merge *merge)
{
    int rc = BOUGH__BTREE_OK;

    while (rc == BOUGH__BTREE_OK && !(merge->from.is_at_end && merge->to.is_at_end)) {
        rc = merge_row(merge);
        if (rc == BOUGH__BTREE_OK && merge->may_stop && ++merge->rows % SAMPLE_ROWS == 0 &&
            merge->differing > merge->rows / 2)
            rc = BOUGH__BTREE_STOPPED;
    }
    return rc;
}

int bough__sift(struct bough__ranges *out, struct bough__btrees sides[2], const struct bough__leaves leaves[2],
                const struct bough__pages *changed, bool may_stop)
{
    struct merge merge = {.out = out, .changed = changed, .may_stop = may_stop};
    int rc = open_cursor(&merge.from, &sides[0], &leaves[0]);

    if (rc == BOUGH__BTREE_OK)
        rc = open_cursor(&merge.to, &sides[1], &leaves[1]);
    if (rc == BOUGH__BTREE_OK)
        rc = merge_rows(&merge);
    free(merge.from.page);
    free(merge.to.page);
    return rc;
}
