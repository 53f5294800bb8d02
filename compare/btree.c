/* btree.c - see btree.h. The numbers are those of SQLite's file format, sections 1.3 to 1.8. */
#include "btree.h"

#include <stdlib.h>
#include <string.h>

enum {
    HEADER_BYTES = 100,
    DEPTH_MAX = 20, /* SQLite's own limit */
    INTERIOR_INDEX = 2,
    INTERIOR_TABLE = 5,
    LEAF_INDEX = 10,
    LEAF_TABLE = 13,
    INTERIOR_HEADER = 12,
    LEAF_HEADER = 8,
};

static uint32_t get16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
    return get16(at) << 16 | get16(at + 2);
}

size_t bough__btree_varint(uint64_t *out, const uint8_t *at, const uint8_t *end)
{
    *out = 0;
    for (size_t i = 0; i < 9 && at + i < end; i++) {
        if (i == 8) {
            *out = *out << 8 | at[i];
            return 9;
        }
        *out = *out << 7 | (at[i] & 0x7F);
        if (!(at[i] & 0x80))
            return i + 1;
    }
    return 0;
}

/* ---- pages ---- */

static int read_bytes(struct bough__btrees *trees, void *out, uint32_t len_bytes, uint32_t page, uint32_t at)
{
    sqlite3_int64 offset = (sqlite3_int64)(page - 1) * trees->page_size + at;

    if (page < 2 || page > trees->page_count)
        return BOUGH__BTREE_ODD;
    trees->pages_read++;
    return trees->file->pMethods->xRead(trees->file, out, (int)len_bytes, offset) == SQLITE_OK ? BOUGH__BTREE_OK
                                                                                               : BOUGH__BTREE_ODD;
}

int bough__btree_read(struct bough__btrees *trees, uint8_t *out, uint32_t page)
{
    return read_bytes(trees, out, trees->page_size, page, 0);
}

static bool has_header(const uint8_t *header)
{
    return !memcmp(header, "SQLite format 3", 16) && header[18] == 1 && header[19] == 1;
}

static bool is_power_of_two(uint32_t number)
{
    return number && !(number & (number - 1));
}

int bough__btrees_open(struct bough__btrees *out, sqlite3 *handle)
{
    uint8_t header[HEADER_BYTES] = {0};
    sqlite3_int64 size_bytes = 0;

    memset(out, 0, sizeof *out);
    if (sqlite3_file_control(handle, "main", SQLITE_FCNTL_FILE_POINTER, &out->file) != SQLITE_OK || !out->file ||
        !out->file->pMethods)
        return BOUGH__BTREE_ODD;
    if (out->file->pMethods->xFileSize(out->file, &size_bytes) != SQLITE_OK || size_bytes < HEADER_BYTES ||
        out->file->pMethods->xRead(out->file, header, HEADER_BYTES, 0) != SQLITE_OK || !has_header(header))
        return BOUGH__BTREE_ODD;
    out->page_size = get16(header + 16) == 1 ? 65536 : get16(header + 16);
    if (out->page_size < 512 || !is_power_of_two(out->page_size) || header[20] > out->page_size - 480)
        return BOUGH__BTREE_ODD;
    out->usable = out->page_size - header[20];
    if (size_bytes / out->page_size > UINT32_MAX)
        return BOUGH__BTREE_ODD;
    out->page_count = (uint32_t)(size_bytes / out->page_size);
    out->first_trunk = get32(header + 32);
    out->format = get32(header + 44);
    out->encoding = get32(header + 56);
    out->has_pointer_map = get32(header + 52) != 0;
    out->page = malloc(out->page_size);
    return out->page ? BOUGH__BTREE_OK : BOUGH__BTREE_NOMEM;
}

void bough__btrees_release(struct bough__btrees *trees)
{
    free(trees->page);
    memset(trees, 0, sizeof *trees);
}

/* ---- trees ---- */

struct walk {
    struct bough__btrees *trees;
    bough__btree_callback *callback;
    void *context;
    uint32_t left;                 /* pages that may still come: more would be a circle */
    uint32_t *children[DEPTH_MAX]; /* of the page at each depth that is being walked */
};

static uint32_t cell_count(const uint8_t *page)
{
    return get16(page + 3);
}

/* The cell, with at least `least` bytes on the page; NULL: there is none. */
static const uint8_t *cell_at(const struct bough__btrees *trees, const uint8_t *page, uint32_t header, uint32_t cell,
                              uint32_t least)
{
    uint32_t pointer = header + 2 * cell;
    uint32_t at = pointer + 2 <= trees->usable ? get16(page + pointer) : trees->usable;

    return at >= header && at + least <= trees->usable ? page + at : NULL;
}

static bool is_interior(const uint8_t *page)
{
    return page[0] == INTERIOR_TABLE || page[0] == INTERIOR_INDEX;
}

/* Leaves of a tree are all at one depth. */
static int find_depth(int *out, struct bough__btrees *trees, uint32_t root)
{
    const uint8_t *page = trees->page;
    uint32_t at = root;
    int rc = BOUGH__BTREE_OK;

    for (*out = 0; *out < DEPTH_MAX; (*out)++) {
        const uint8_t *cell = NULL;

        rc = bough__btree_read(trees, trees->page, at);
        if (rc != BOUGH__BTREE_OK)
            return rc;
        trees->has_rowids = page[0] == LEAF_TABLE;
        if (page[0] == LEAF_TABLE || page[0] == LEAF_INDEX)
            return BOUGH__BTREE_OK;
        if (!is_interior(page))
            return BOUGH__BTREE_ODD;
        cell = cell_count(page) ? cell_at(trees, page, INTERIOR_HEADER, 0, 4) : page + 8;
        if (!cell)
            return BOUGH__BTREE_ODD;
        at = get32(cell);
    }
    return BOUGH__BTREE_ODD;
}

/* The pages below the one that was read. */
static int list_children(struct bough__siblings *out, const struct bough__btrees *trees)
{
    const uint8_t *page = trees->page;
    uint32_t kind = trees->has_rowids ? INTERIOR_TABLE : INTERIOR_INDEX;
    uint32_t count = cell_count(page);

    if (page[0] != kind || count > trees->usable / 2)
        return BOUGH__BTREE_ODD;
    for (out->count = 0; out->count <= count; out->count++) {
        const uint8_t *child =
            out->count < count ? cell_at(trees, page, INTERIOR_HEADER, out->count, 4) : page + INTERIOR_HEADER - 4;

        out->pages[out->count] = child ? get32(child) : 0;
        if (out->pages[out->count] < 2 || out->pages[out->count] > trees->page_count)
            return BOUGH__BTREE_ODD;
    }
    return BOUGH__BTREE_OK;
}

static int walk_siblings(struct walk *walk, const struct bough__siblings *siblings);

static int walk_below(struct walk *walk, uint32_t parent, int height)
{
    struct bough__siblings below = {.parent = parent, .height = height};
    int rc = BOUGH__BTREE_OK;

    if (!walk->children[height])
        walk->children[height] = malloc((walk->trees->usable / 2 + 1) * sizeof below.pages[0]);
    below.pages = walk->children[height];
    if (!below.pages)
        return BOUGH__BTREE_NOMEM;
    rc = bough__btree_read(walk->trees, walk->trees->page, parent);
    if (rc == BOUGH__BTREE_OK)
        rc = list_children(&below, walk->trees);
    below.has_rows = height == 0 || !walk->trees->has_rowids;
    return rc == BOUGH__BTREE_OK ? walk_siblings(walk, &below) : rc;
}

static int walk_siblings(struct walk *walk, const struct bough__siblings *siblings)
{
    int rc = siblings->count <= walk->left ? BOUGH__BTREE_OK : BOUGH__BTREE_ODD;

    walk->left -= siblings->count;
    if (rc == BOUGH__BTREE_OK)
        rc = walk->callback(walk->context, siblings);
    for (uint32_t i = 0; rc == BOUGH__BTREE_OK && siblings->height && i < siblings->count; i++) {
        if (siblings->pages[i])
            rc = walk_below(walk, siblings->pages[i], siblings->height - 1);
    }
    return rc;
}

int bough__btree_walk(struct bough__btrees *trees, uint32_t root, bough__btree_callback *callback, void *context)
{
    struct walk walk = {trees, callback, context, trees->page_count, {NULL}};
    struct bough__siblings top = {.pages = &root, .count = 1};
    int rc = find_depth(&top.height, trees, root);

    top.has_rows = top.height == 0 || !trees->has_rowids;
    if (rc == BOUGH__BTREE_OK)
        rc = walk_siblings(&walk, &top);
    for (int i = 0; i < DEPTH_MAX; i++)
        free(walk.children[i]);
    return rc;
}

/* ---- cells and overflow pages ---- */

/* How much of a payload stands on the page. */
static uint64_t local_bytes(const struct bough__btrees *trees, bool has_rowids, uint64_t payload)
{
    uint64_t most = has_rowids ? trees->usable - 35 : (trees->usable - 12) * 64 / 255 - 23;
    uint64_t least = (trees->usable - 12) * 32 / 255 - 23;
    uint64_t fitting = 0;

    if (payload <= most)
        return payload;
    fitting = least + (payload - least) % (trees->usable - 4);
    return fitting <= most ? fitting : least;
}

/* The cell at `at`, whose payload has a length, a rowid in tables that have them, and maybe more on other pages. */
static int parse_cell(struct bough__cell *out, const struct bough__btrees *trees, bool has_rowids, const uint8_t *at,
                      const uint8_t *end)
{
    uint64_t payload = 0;
    uint64_t rowid = 0;
    uint64_t local = 0;
    size_t len = bough__btree_varint(&payload, at, end);
    size_t rowid_len = len && has_rowids ? bough__btree_varint(&rowid, at + len, end) : 0;

    if (!len || (has_rowids && !rowid_len) || payload > INT32_MAX)
        return BOUGH__BTREE_ODD;
    local = local_bytes(trees, has_rowids, payload);
    len += rowid_len;
    if (len + local + (local < payload ? 4 : 0) > (size_t)(end - at))
        return BOUGH__BTREE_ODD;
    *out = (struct bough__cell){.bytes = at,
                                .len = (uint32_t)(len + local),
                                .payload_at = (uint32_t)len,
                                .payload_len = (uint32_t)payload,
                                .local_len = (uint32_t)local,
                                .chain = {(sqlite3_int64)rowid, 0, 0}};
    if (local == payload)
        return BOUGH__BTREE_OK;
    out->chain.first_page = get32(at + len + local);
    out->chain.page_count = (uint32_t)((payload - local + trees->usable - 5) / (trees->usable - 4));
    out->len += 4;
    return BOUGH__BTREE_OK;
}

int bough__btree_cell_count(uint32_t *out, const uint8_t *page)
{
    *out = cell_count(page);
    return page[0] == LEAF_TABLE || page[0] == LEAF_INDEX || page[0] == INTERIOR_INDEX ? BOUGH__BTREE_OK
                                                                                       : BOUGH__BTREE_ODD;
}

int bough__btree_cell(struct bough__cell *out, const struct bough__btrees *trees, const uint8_t *page, uint32_t at)
{
    uint32_t child = page[0] == INTERIOR_INDEX ? 4 : 0;
    const uint8_t *cell = cell_at(trees, page, child ? INTERIOR_HEADER : LEAF_HEADER, at, child + 2);

    return cell ? parse_cell(out, trees, page[0] == LEAF_TABLE, cell + child, page + trees->usable) : BOUGH__BTREE_ODD;
}

int bough__btree_chains(struct bough__btrees *trees, uint32_t page, bough__cell_callback *callback, void *context)
{
    uint32_t count = 0;
    int rc = bough__btree_read(trees, trees->page, page);

    if (rc == BOUGH__BTREE_OK)
        rc = bough__btree_cell_count(&count, trees->page);
    for (uint32_t i = 0; rc == BOUGH__BTREE_OK && i < count; i++) {
        struct bough__cell cell = {0};

        rc = bough__btree_cell(&cell, trees, trees->page, i);
        if (rc == BOUGH__BTREE_OK && cell.chain.page_count)
            rc = callback(context, &cell);
    }
    return rc;
}

int bough__btree_follow(struct bough__btrees *trees, const struct bough__chain *chain, bough__page_callback *callback,
                        void *context)
{
    uint32_t page = chain->first_page;
    int rc = BOUGH__BTREE_OK;

    for (uint32_t i = 0; rc == BOUGH__BTREE_OK && i < chain->page_count; i++) {
        uint8_t next[4] = {0};

        rc = callback(context, page);
        if (rc == BOUGH__BTREE_OK && i + 1 < chain->page_count)
            rc = read_bytes(trees, next, sizeof next, page, 0);
        page = get32(next);
    }
    return rc;
}

int bough__btree_payload(struct bough__btrees *trees, uint8_t *out, uint32_t len, const struct bough__cell *cell)
{
    uint32_t page = cell->chain.first_page;
    uint32_t done = len < cell->local_len ? len : cell->local_len;
    int rc = len <= cell->payload_len ? BOUGH__BTREE_OK : BOUGH__BTREE_ODD;

    if (rc == BOUGH__BTREE_OK)
        memcpy(out, cell->bytes + cell->payload_at, done);
    while (rc == BOUGH__BTREE_OK && done < len) {
        uint32_t part = len - done < trees->usable - 4 ? len - done : trees->usable - 4;
        uint8_t next[4] = {0};

        rc = read_bytes(trees, next, sizeof next, page, 0);
        if (rc == BOUGH__BTREE_OK)
            rc = read_bytes(trees, out + done, part, page, 4);
        page = get32(next);
        done += part;
    }
    return rc;
}

/* ---- other pages ---- */

int bough__btree_free_pages(struct bough__btrees *trees, bough__page_callback *callback, void *context)
{
    uint32_t left = trees->page_count;
    int rc = BOUGH__BTREE_OK;

    for (uint32_t trunk = trees->first_trunk; rc == BOUGH__BTREE_OK && trunk; trunk = get32(trees->page)) {
        rc = left-- ? bough__btree_read(trees, trees->page, trunk) : BOUGH__BTREE_ODD;
        if (rc == BOUGH__BTREE_OK && get32(trees->page + 4) > trees->usable / 4 - 2)
            rc = BOUGH__BTREE_ODD;
        if (rc == BOUGH__BTREE_OK)
            rc = callback(context, trunk);
        for (uint32_t i = 0; rc == BOUGH__BTREE_OK && i < get32(trees->page + 4); i++)
            rc = callback(context, get32(trees->page + 8 + 4 * (size_t)i));
    }
    return rc;
}

bool bough__btree_is_pointer_map(const struct bough__btrees *trees, uint32_t page)
{
    uint32_t group = trees->usable / 5 + 1;
    uint32_t lock_page = 0x40000000 / trees->page_size + 1;
    uint32_t map = page < 2 ? 0 : (page - 2) / group * group + 2;

    /* The page of SQLite's locks is never used; a map that would stand there stands behind it. */
    return trees->has_pointer_map && (page == map + (map == lock_page));
}

int bough__btree_may_be_overflow(bool *out, struct bough__btrees *trees, uint32_t page)
{
    uint8_t first[4] = {0};
    int rc = read_bytes(trees, first, sizeof first, page, 0);
    bool is_kind =
        first[0] == INTERIOR_INDEX || first[0] == INTERIOR_TABLE || first[0] == LEAF_INDEX || first[0] == LEAF_TABLE;

    *out = !is_kind || trees->page_count >= (uint32_t)INTERIOR_INDEX << 24;
    return rc;
}
