/* tables.c - which tables of two databases hold different rows, and where: see compare.h.
 *
 * A row that stands on the same page of its table on both sides, and that page is the same, is the same row. So of each
 * table the pages that hold rows are listed on both sides, and what differs lies on those that differ or that only one
 * side's table has; the pages above the leaves say which rowids these are. Rows are read later, from these ranges on
 * both sides. If most of the table's pages differ, or what stands on them is not understood, all of it is read.
 *
 * Overflow pages stand outside of this: SQLite writes a row of the same length over the old one, and then an overflow
 * page differs while the leaf does not. Such a page, here called loose, is an overflow page on both sides, so it is one
 * of the pages that differ and that are neither a tree's nor free nor of a row on a leaf that differs. Who has it is
 * found by looking at the leaves that are the same: first, at rows whose overflow pages would follow each other, as
 * they mostly do; then along every chain. That reads the tables, but only where loose pages are. What is loose even
 * then belongs to an index, or to a table without rowids, which is read as a whole. */
#include "btree.h"
#include "compare.h"

#include <stdlib.h>
#include <string.h>

/* ---- the pairs of tables ---- */

struct pair {
    uint32_t roots[2]; /* in `from` and in `to` */
    bool is_listed;    /* there is something to read */
    bool has_rowids;
};

struct work {
    struct bough__btrees sides[2]; /* `from` and `to` */
    bool is_readable;              /* their pages can be read, and mean the same */
    const struct bough__pages *pages;
    struct bough__tables *out;
    struct pair *pairs;        /* parallel to out's items */
    struct bough__pages trees; /* pages of tables, on one side or the other */
    struct bough__pages loose;
};

static const struct bough__schema_change *other_sql(const struct bough__schema_changes *schema, const char *name)
{
    for (size_t i = 0; i < schema->count; i++) {
        const struct bough__schema_change *change = &schema->items[i];

        if (!strcmp(change->type, "table") && change->from_sql && change->to_sql && !strcmp(change->name, name))
            return change;
    }
    return NULL;
}

static int add_pair(struct work *work, const char *name, const struct bough__schema_change *change,
                    const uint32_t roots[2])
{
    size_t count = work->out->count;
    const char *from_name = change && change->old_name ? change->old_name : name;
    struct bough__table_pages *items = bough__grow(work->out->items, count, sizeof items[0]);
    struct pair *pairs = items ? bough__grow(work->pairs, count, sizeof pairs[0]) : NULL;

    if (items)
        work->out->items = items;
    if (!pairs)
        return SQLITE_NOMEM;
    work->pairs = pairs;
    pairs[count] = (struct pair){{roots[0], roots[1]}, change != NULL, false};
    memset(&items[count], 0, sizeof items[0]);
    items[count].name = strdup(name);
    items[count].from_name = strdup(from_name);
    work->out->count++;
    return items[count].name && items[count].from_name ? SQLITE_OK : SQLITE_NOMEM;
}

/* The root page of a table, 0 when there is no such table. */
static int root_page(uint32_t *out, sqlite3_stmt *statement, const char *name)
{
    int rc = sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);

    *out = 0;
    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW)
        *out = (uint32_t)sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* One row of `to`: a table, if `from` has it too. */
static int read_pair(struct work *work, sqlite3 **out_failed, const struct bough__schema_changes *schema,
                     sqlite3_stmt *table, sqlite3_stmt *root)
{
    const char *name = (const char *)sqlite3_column_text(table, 0);
    uint32_t roots[2] = {0, (uint32_t)sqlite3_column_int64(table, 1)};
    const struct bough__schema_change *change = name ? other_sql(schema, name) : NULL;
    int rc = SQLITE_NOMEM;

    if (name)
        rc = root_page(&roots[0], root, change && change->old_name ? change->old_name : name);
    if (rc != SQLITE_OK)
        *out_failed = sqlite3_db_handle(root);
    return rc == SQLITE_OK && roots[0] ? add_pair(work, name, change, roots) : rc;
}

static int read_pairs(struct work *work, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                      const struct bough__schema_changes *schema)
{
    static const char tables[] = "SELECT name, rootpage FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 "
                                 "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name COLLATE BINARY";
    static const char roots[] = "SELECT rootpage FROM main.sqlite_schema WHERE type = 'table' AND name = ?1";
    sqlite3_stmt *table = NULL;
    sqlite3_stmt *root = NULL;
    int rc = sqlite3_prepare_v2(from, roots, -1, &root, NULL);

    *out_failed = from;
    if (rc == SQLITE_OK) {
        *out_failed = to;
        rc = sqlite3_prepare_v2(to, tables, -1, &table, NULL);
    }
    while (rc == SQLITE_OK && (rc = sqlite3_step(table)) == SQLITE_ROW)
        rc = read_pair(work, out_failed, schema, table, root);
    sqlite3_finalize(table);
    sqlite3_finalize(root);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* ---- pages that hold rows ---- */

struct listing {
    struct work *work;
    struct bough__ranges *ranges;
    struct bough__pages rows[2]; /* pages that hold rows */
    size_t side;
    uint64_t total, changed;
};

static int list_page(void *context, uint32_t page, bool has_rows, const struct bough__range *range)
{
    struct listing *listing = context;
    (void)range;
    if (!bough__pages_add(&listing->work->trees, page) ||
        (has_rows && !bough__pages_add(&listing->rows[listing->side], page)))
        return BOUGH__BTREE_NOMEM;
    return BOUGH__BTREE_OK;
}

static bool is_same(const struct listing *listing, uint32_t page)
{
    return !bough__pages_has(listing->work->pages, page) && bough__pages_has(&listing->rows[1 - listing->side], page);
}

static int note_page(void *context, uint32_t page, bool has_rows, const struct bough__range *range)
{
    struct listing *listing = context;

    if (!has_rows)
        return BOUGH__BTREE_OK;
    listing->total++;
    if (is_same(listing, page))
        return BOUGH__BTREE_OK;
    listing->changed++;
    return bough__ranges_add(listing->ranges, range->first, range->last) ? BOUGH__BTREE_OK : BOUGH__BTREE_NOMEM;
}

/* Walks the table on both sides. */
static int walk_pair(struct listing *listing, const struct pair *pair, bough__btree_callback *callback)
{
    int rc = BOUGH__BTREE_OK;

    for (listing->side = 0; rc == BOUGH__BTREE_OK && listing->side < 2; listing->side++)
        rc = bough__btree_walk(&listing->work->sides[listing->side], pair->roots[listing->side], callback, listing);
    return rc;
}

static int list_pair(struct listing *listing, const struct pair *pair)
{
    return walk_pair(listing, pair, list_page);
}

static void release_listing(struct listing *listing)
{
    bough__pages_release(&listing->rows[0]);
    bough__pages_release(&listing->rows[1]);
}

static bool is_everything(const struct bough__ranges *ranges)
{
    return ranges->count == 1 && ranges->items[0].first == INT64_MIN && ranges->items[0].last == INT64_MAX;
}

static void give_up(struct bough__table_pages *change, struct pair *pair)
{
    bough__ranges_release(&change->ranges);
    change->is_narrow = false;
    pair->is_listed = true;
}

static int compare_pair(struct work *work, size_t at)
{
    struct bough__table_pages *change = &work->out->items[at];
    struct listing listing = {.work = work, .ranges = &change->ranges};
    int rc = work->is_readable ? list_pair(&listing, &work->pairs[at]) : BOUGH__BTREE_ODD;

    change->is_narrow = true;
    if (rc == BOUGH__BTREE_OK)
        rc = walk_pair(&listing, &work->pairs[at], note_page);
    work->pairs[at].has_rowids = work->sides[0].has_rowids && work->sides[1].has_rowids;
    bough__ranges_unite(&change->ranges);
    if (rc == BOUGH__BTREE_ODD || listing.changed > listing.total / 2 || is_everything(&change->ranges))
        give_up(change, &work->pairs[at]);
    work->pairs[at].is_listed |= change->ranges.count > 0;
    release_listing(&listing);
    return rc == BOUGH__BTREE_NOMEM ? SQLITE_NOMEM : SQLITE_OK;
}

/* ---- loose pages ---- */

static int forget_page(void *context, uint32_t page)
{
    bough__pages_remove(&((struct work *)context)->loose, page);
    return BOUGH__BTREE_OK;
}

static bool has_loose(const struct work *work)
{
    return bough__pages_next(&work->loose, 0) != 0;
}

static bool is_pointer_map(const struct work *work, uint32_t page)
{
    return bough__btree_is_pointer_map(&work->sides[0], page) || bough__btree_is_pointer_map(&work->sides[1], page);
}

/* Pages that differ and may be an overflow page on both sides. */
static int list_loose(struct work *work)
{
    uint32_t last =
        work->sides[0].page_count < work->sides[1].page_count ? work->sides[0].page_count : work->sides[1].page_count;
    int rc = BOUGH__BTREE_OK;

    for (uint64_t page = bough__pages_next(work->pages, 2); rc == BOUGH__BTREE_OK && page && page <= last;
         page = bough__pages_next(work->pages, page + 1)) {
        uint32_t at = (uint32_t)page;
        bool may_be = !bough__pages_has(&work->trees, page) && !is_pointer_map(work, at);

        for (size_t side = 0; rc == BOUGH__BTREE_OK && may_be && side < 2; side++)
            rc = bough__btree_may_be_overflow(&may_be, &work->sides[side], at);
        if (rc == BOUGH__BTREE_OK && may_be && !bough__pages_add(&work->loose, page))
            rc = BOUGH__BTREE_NOMEM;
    }
    for (size_t side = 0; rc == BOUGH__BTREE_OK && has_loose(work) && side < 2; side++)
        rc = bough__btree_free_pages(&work->sides[side], forget_page, work);
    return rc;
}

struct forgetting {
    struct work *work;
    struct bough__btrees *trees;
};

static int forget_chain(void *context, const struct bough__chain *chain)
{
    struct forgetting *forgetting = context;

    return bough__btree_follow(forgetting->trees, chain, forget_page, forgetting->work);
}

/* What begins on a page that differs: such rows are read anyway, and entries of indexes are none. */
static int forget_chains(void *context, uint32_t page, bool has_rows, const struct bough__range *range)
{
    struct forgetting *forgetting = context;
    (void)range;
    return has_rows && bough__pages_has(forgetting->work->pages, page)
               ? bough__btree_chains(forgetting->trees, page, forget_chain, forgetting)
               : BOUGH__BTREE_OK;
}

/* In all tables and indexes of one side. */
static int forget_side(struct work *work, size_t side, sqlite3 *handle)
{
    struct forgetting forgetting = {work, &work->sides[side]};
    sqlite3_stmt *root = NULL;
    int rc = BOUGH__BTREE_OK;

    if (sqlite3_prepare_v2(handle, "SELECT rootpage FROM main.sqlite_schema WHERE rootpage > 1", -1, &root, NULL))
        return BOUGH__BTREE_ODD;
    while (rc == BOUGH__BTREE_OK && has_loose(work) && sqlite3_step(root) == SQLITE_ROW)
        rc = bough__btree_walk(&work->sides[side], (uint32_t)sqlite3_column_int64(root, 0), forget_chains, &forgetting);
    return sqlite3_finalize(root) == SQLITE_OK ? rc : BOUGH__BTREE_ODD;
}

struct search {
    struct listing *listing;
    bool is_thorough;
    bool found;
};

static int look_at_page(void *context, uint32_t page)
{
    struct search *search = context;

    search->found = bough__pages_has(&search->listing->work->loose, page);
    return search->found ? BOUGH__BTREE_STOPPED : BOUGH__BTREE_OK;
}

static int look_at_chain(void *context, const struct bough__chain *chain)
{
    struct search *search = context;
    struct work *work = search->listing->work;
    uint64_t next = bough__pages_next(&work->loose, chain->first_page);
    int rc = BOUGH__BTREE_OK;

    if (!search->is_thorough && (!next || next - chain->first_page >= chain->page_count))
        return BOUGH__BTREE_OK;
    search->found = false;
    rc = bough__btree_follow(&work->sides[1], chain, look_at_page, search);
    if (!search->found)
        return rc;
    if (!bough__ranges_add(search->listing->ranges, chain->rowid, chain->rowid))
        return BOUGH__BTREE_NOMEM;
    rc = bough__btree_follow(&work->sides[0], chain, forget_page, work);
    if (rc == BOUGH__BTREE_OK)
        rc = bough__btree_follow(&work->sides[1], chain, forget_page, work);
    return rc == BOUGH__BTREE_OK && !has_loose(work) ? BOUGH__BTREE_STOPPED : rc;
}

static int look_at_leaf(void *context, uint32_t page, bool has_rows, const struct bough__range *range)
{
    struct search *search = context;
    (void)range;
    return has_rows && is_same(search->listing, page)
               ? bough__btree_chains(&search->listing->work->sides[1], page, look_at_chain, search)
               : BOUGH__BTREE_OK;
}

/* Looks for the owners of loose pages among the rows of one table. */
static int search_pair(struct work *work, size_t at, bool is_thorough)
{
    struct listing listing = {.work = work, .ranges = &work->out->items[at].ranges};
    struct search search = {&listing, is_thorough, false};
    int rc = list_pair(&listing, &work->pairs[at]);

    listing.side = 1;
    if (rc == BOUGH__BTREE_OK)
        rc = bough__btree_walk(&work->sides[1], work->pairs[at].roots[1], look_at_leaf, &search);
    release_listing(&listing);
    work->pairs[at].is_listed |= listing.ranges->count > 0;
    return rc;
}

static bool has_narrow(const struct work *work)
{
    for (size_t i = 0; i < work->out->count; i++) {
        if (work->out->items[i].is_narrow)
            return true;
    }
    return false;
}

static int settle_loose(struct work *work, sqlite3 *from, sqlite3 *to)
{
    int rc = has_narrow(work) ? list_loose(work) : BOUGH__BTREE_OK;

    if (rc == BOUGH__BTREE_OK && has_loose(work))
        rc = forget_side(work, 0, from);
    if (rc == BOUGH__BTREE_OK && has_loose(work))
        rc = forget_side(work, 1, to);
    for (int round = 0; rc == BOUGH__BTREE_OK && round < 2; round++) {
        for (size_t i = 0; rc == BOUGH__BTREE_OK && has_loose(work) && i < work->out->count; i++) {
            if (work->out->items[i].is_narrow && work->pairs[i].has_rowids)
                rc = search_pair(work, i, round == 1);
        }
        rc = rc == BOUGH__BTREE_STOPPED ? BOUGH__BTREE_OK : rc;
    }
    return rc;
}

/* ---- all of it ---- */

static void read_sides(struct work *work, int *out_rc, sqlite3 *from, sqlite3 *to)
{
    int before = bough__btrees_open(&work->sides[0], from);
    int after = bough__btrees_open(&work->sides[1], to);

    *out_rc = before == BOUGH__BTREE_NOMEM || after == BOUGH__BTREE_NOMEM ? SQLITE_NOMEM : SQLITE_OK;
    work->is_readable =
        before == BOUGH__BTREE_OK && after == BOUGH__BTREE_OK && work->sides[0].page_size == work->sides[1].page_size &&
        work->sides[0].usable == work->sides[1].usable && work->sides[0].format == work->sides[1].format &&
        work->sides[0].encoding == work->sides[1].encoding;
}

static int compare_pairs(struct work *work, sqlite3 *from, sqlite3 *to)
{
    int rc = SQLITE_OK;
    int code = BOUGH__BTREE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < work->out->count; i++)
        rc = compare_pair(work, i);
    if (rc == SQLITE_OK && work->is_readable)
        code = settle_loose(work, from, to);
    if (code == BOUGH__BTREE_NOMEM)
        return SQLITE_NOMEM;
    for (size_t i = 0; rc == SQLITE_OK && i < work->out->count; i++) {
        if (code == BOUGH__BTREE_ODD || (has_loose(work) && !work->pairs[i].has_rowids))
            give_up(&work->out->items[i], &work->pairs[i]);
        else
            bough__ranges_unite(&work->out->items[i].ranges);
    }
    return rc;
}

static void release_change(struct bough__table_pages *change)
{
    free(change->name);
    free(change->from_name);
    free(change->owner);
    bough__ranges_release(&change->ranges);
}

static void drop_same(struct work *work)
{
    size_t kept = 0;

    for (size_t i = 0; i < work->out->count; i++) {
        if (work->pairs[i].is_listed)
            work->out->items[kept++] = work->out->items[i];
        else
            release_change(&work->out->items[i]);
    }
    work->out->count = kept;
}

int bough__tables_compare(struct bough__tables *out, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                          const struct bough__schema_changes *schema, const struct bough__pages *pages)
{
    struct work work = {.pages = pages, .out = out};
    int rc = SQLITE_OK;

    memset(out, 0, sizeof *out);
    *out_failed = NULL;
    read_sides(&work, &rc, from, to);
    if (rc == SQLITE_OK)
        rc = read_pairs(&work, out_failed, from, to, schema);
    if (rc == SQLITE_OK)
        rc = compare_pairs(&work, from, to);
    if (rc == SQLITE_OK)
        drop_same(&work);
    else
        bough__tables_release(out);
    if (rc == SQLITE_NOMEM)
        *out_failed = NULL;
    out->pages_read = work.sides[0].pages_read + work.sides[1].pages_read;
    bough__btrees_release(&work.sides[0]);
    bough__btrees_release(&work.sides[1]);
    bough__pages_release(&work.trees);
    bough__pages_release(&work.loose);
    free(work.pairs);
    return rc;
}

const struct bough__table_pages *bough__tables_find(const struct bough__tables *changes, const char *name)
{
    for (size_t i = 0; i < changes->count; i++) {
        if (!strcmp(changes->items[i].name, name))
            return &changes->items[i];
    }
    return NULL;
}

void bough__tables_release(struct bough__tables *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        release_change(&changes->items[i]);
    free(changes->items);
    memset(changes, 0, sizeof *changes);
}
