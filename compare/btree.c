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

/* 0: it does not end before `end`. */
static size_t get_varint(uint64_t *out, const uint8_t *at, const uint8_t *end)
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

static int read_bytes(struct bough__btrees *trees, void *out, uint32_t len_bytes, uint32_t page)
{
    sqlite3_int64 offset = (sqlite3_int64)(page - 1) * trees->page_size;

    if (page < 2 || page > trees->page_count)
        return BOUGH__BTREE_ODD;
    trees->pages_read++;
    return trees->file->pMethods->xRead(trees->file, out, (int)len_bytes, offset) == SQLITE_OK ? BOUGH__BTREE_OK
                                                                                               : BOUGH__BTREE_ODD;
}

static int read_page(struct bough__btrees *trees, uint8_t *out, uint32_t page)
{
    return read_bytes(trees, out, trees->page_size, page);
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
    int depth;                 /* of the leaves; the root's is 0 */
    uint32_t left;             /* pages that may still come: more would be a circle */
    uint8_t *pages[DEPTH_MAX]; /* one for each level above the leaves */
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
static int find_depth(struct walk *walk, uint32_t root)
{
    uint8_t *page = walk->trees->page;
    uint32_t at = root;
    int rc = BOUGH__BTREE_OK;

    for (walk->depth = 0; walk->depth < DEPTH_MAX; walk->depth++) {
        const uint8_t *cell = NULL;

        rc = read_page(walk->trees, page, at);
        if (rc != BOUGH__BTREE_OK)
            return rc;
        walk->trees->has_rowids = page[0] == LEAF_TABLE;
        if (page[0] == LEAF_TABLE || page[0] == LEAF_INDEX)
            return BOUGH__BTREE_OK;
        if (!is_interior(page))
            return BOUGH__BTREE_ODD;
        cell = cell_count(page) ? cell_at(walk->trees, page, INTERIOR_HEADER, 0, 4) : page + 8;
        if (!cell)
            return BOUGH__BTREE_ODD;
        at = get32(cell);
    }
    return BOUGH__BTREE_ODD;
}

/* What lies below child i of a page in a table's tree: rowids up to the cell's key. */
static int narrow_range(struct bough__range *below, struct bough__range *rest, const struct bough__btrees *trees,
                        const uint8_t *page, const uint8_t *cell)
{
    uint64_t key = 0;

    *below = *rest;
    if (page[0] != INTERIOR_TABLE)
        return BOUGH__BTREE_OK;
    if (!get_varint(&key, cell + 4, page + trees->usable))
        return BOUGH__BTREE_ODD;
    below->last = (sqlite3_int64)key;
    if (below->last < rest->first || below->last >= rest->last)
        return BOUGH__BTREE_ODD;
    rest->first = below->last + 1;
    return BOUGH__BTREE_OK;
}

static int walk_page(struct walk *walk, int level, uint32_t at, const struct bough__range *range)
{
    struct bough__range rest = *range;
    struct bough__range below = *range;
    uint8_t *page = NULL;
    bool has_rows = level == walk->depth || !walk->trees->has_rowids;
    bool is_there = at > 1 && at <= walk->trees->page_count && walk->left-- > 0;
    int rc = is_there ? walk->callback(walk->context, at, has_rows, range) : BOUGH__BTREE_ODD;

    if (rc != BOUGH__BTREE_OK || level == walk->depth)
        return rc;
    if (!walk->pages[level] && !(walk->pages[level] = malloc(walk->trees->page_size)))
        return BOUGH__BTREE_NOMEM;
    page = walk->pages[level];
    rc = read_page(walk->trees, page, at);
    if (rc == BOUGH__BTREE_OK && !is_interior(page))
        rc = BOUGH__BTREE_ODD;
    for (uint32_t i = 0; rc == BOUGH__BTREE_OK && i < cell_count(page); i++) {
        const uint8_t *cell = cell_at(walk->trees, page, INTERIOR_HEADER, i, 5);

        rc = cell ? narrow_range(&below, &rest, walk->trees, page, cell) : BOUGH__BTREE_ODD;
        if (rc == BOUGH__BTREE_OK)
            rc = walk_page(walk, level + 1, get32(cell), &below);
    }
    return rc == BOUGH__BTREE_OK ? walk_page(walk, level + 1, get32(page + 8), &rest) : rc;
}

int bough__btree_walk(struct bough__btrees *trees, uint32_t root, bough__btree_callback *callback, void *context)
{
    static const struct bough__range all = {INT64_MIN, INT64_MAX};
    struct walk walk = {trees, callback, context, 0, trees->page_count, {NULL}};
    int rc = find_depth(&walk, root);

    if (rc == BOUGH__BTREE_OK)
        rc = walk_page(&walk, 0, root, &all);
    for (int i = 0; i < DEPTH_MAX; i++)
        free(walk.pages[i]);
    return rc;
}

/* ---- overflow pages ---- */

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
static int read_chain(bool *out_has, struct bough__chain *out, const struct bough__btrees *trees, bool has_rowids,
                      const uint8_t *at, const uint8_t *end)
{
    uint64_t payload = 0;
    uint64_t rowid = 0;
    uint64_t local = 0;
    uint64_t count = 0;
    size_t len = get_varint(&payload, at, end);
    size_t rowid_len = len && has_rowids ? get_varint(&rowid, at + len, end) : 0;

    *out_has = false;
    if (!len || (has_rowids && !rowid_len) || payload > INT32_MAX)
        return BOUGH__BTREE_ODD;
    local = local_bytes(trees, has_rowids, payload);
    if (local == payload)
        return BOUGH__BTREE_OK;
    at += len + rowid_len;
    if (local + 4 > (uint64_t)(end - at))
        return BOUGH__BTREE_ODD;
    count = (payload - local + trees->usable - 5) / (trees->usable - 4);
    *out = (struct bough__chain){(sqlite3_int64)rowid, get32(at + local), (uint32_t)count};
    *out_has = true;
    return BOUGH__BTREE_OK;
}

int bough__btree_chains(struct bough__btrees *trees, uint32_t page, bough__chain_callback *callback, void *context)
{
    const uint8_t *bytes = trees->page;
    int rc = read_page(trees, trees->page, page);
    bool has_rowids = bytes[0] == LEAF_TABLE;
    uint32_t child = bytes[0] == INTERIOR_INDEX ? 4 : 0;
    uint32_t header = child ? INTERIOR_HEADER : LEAF_HEADER;

    if (rc == BOUGH__BTREE_OK && !has_rowids && !child && bytes[0] != LEAF_INDEX)
        rc = BOUGH__BTREE_ODD;
    for (uint32_t i = 0; rc == BOUGH__BTREE_OK && i < cell_count(bytes); i++) {
        const uint8_t *cell = cell_at(trees, bytes, header, i, child + 2);
        struct bough__chain chain = {0, 0, 0};
        bool has_chain = false;

        rc = cell ? read_chain(&has_chain, &chain, trees, has_rowids, cell + child, bytes + trees->usable)
                  : BOUGH__BTREE_ODD;
        if (rc == BOUGH__BTREE_OK && has_chain)
            rc = callback(context, &chain);
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
            rc = read_bytes(trees, next, sizeof next, page);
        page = get32(next);
    }
    return rc;
}

/* ---- other pages ---- */

int bough__btree_free_pages(struct bough__btrees *trees, bough__page_callback *callback, void *context)
{
    uint32_t left = trees->page_count;
    int rc = BOUGH__BTREE_OK;

    for (uint32_t trunk = trees->first_trunk; rc == BOUGH__BTREE_OK && trunk; trunk = get32(trees->page)) {
        rc = left-- ? read_page(trees, trees->page, trunk) : BOUGH__BTREE_ODD;
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
    int rc = read_bytes(trees, first, sizeof first, page);
    bool is_kind =
        first[0] == INTERIOR_INDEX || first[0] == INTERIOR_TABLE || first[0] == LEAF_INDEX || first[0] == LEAF_TABLE;

    *out = !is_kind || trees->page_count >= (uint32_t)INTERIOR_INDEX << 24;
    return rc;
}
