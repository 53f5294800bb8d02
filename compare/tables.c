/* tables.c - which tables of two databases hold different rows, and where: see compare.h.
 *
 * A row that stands on the same page of its table on both sides, and that page is the same, is the same row. So of each
 * table the pages that hold rows are listed on both sides, and what differs lies on those that differ or that only one
 * side's table has. Of these the rows are compared as bytes (sift.c), and those that differ are read later, by SQLite.
 * If most of the table's rows differ, or what stands on its pages is not understood, all of it is read.
 *
 * A page above leaves that is the same on both sides, and in both trees, has the same leaves below it. So the leaves of
 * a side are listed one by one only where that is not so; elsewhere it is enough to know which of them differ.
 *
 * Overflow pages stand outside of this: SQLite writes a row of the same length over the old one, and then an overflow
 * page differs while the leaf does not. Such a page, here called loose, is an overflow page on both sides, so it is one
 * of the pages that differ and that are neither a tree's nor free nor of a row on a leaf that differs. Who has it is
 * found by looking at the leaves that are the same: first, at rows whose overflow pages would follow each other, as
 * they mostly do; then along every chain. That reads the tables, but only where loose pages are. What is loose even
 * then belongs to an index, or to a table without rowids, which is read as a whole. */
#include "compare.h"
#include "sift.h"

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
    struct bough__pages trees; /* pages that differ and belong to a table, on one side or the other */
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

enum { NOTED_MAX = 4 * 1024 * 1024 };

struct listing {
    struct work *work;
    const struct pair *pair;
    size_t side;
    struct bough__pages parents[2]; /* pages above leaves */
    struct bough__pages rows[2];    /* pages that hold rows, but for leaves below a parent that is the same */
    struct bough__leaves noted[2];  /* pages with rows that differ, or that one side alone has: NOTED_MAX at most */
    uint64_t noted_count;
    uint64_t total; /* pages with rows, on both sides */
};

static bool differs(const struct listing *listing, uint32_t page)
{
    return bough__pages_has(listing->work->pages, page);
}

static bool has_same_leaves(const struct listing *listing, uint32_t parent)
{
    return !differs(listing, parent) && bough__pages_has(&listing->parents[0], parent) &&
           bough__pages_has(&listing->parents[1], parent);
}

static int list_parents(void *context, const struct bough__siblings *siblings)
{
    struct listing *listing = context;
    struct bough__pages *parents = &listing->parents[listing->side];

    for (uint32_t i = 0; siblings->height == 1 && i < siblings->count; i++) {
        if (!bough__pages_add(parents, siblings->pages[i]))
            return BOUGH__BTREE_NOMEM;
        siblings->pages[i] = 0;
    }
    return BOUGH__BTREE_OK;
}

static int list_rows(void *context, const struct bough__siblings *siblings)
{
    struct listing *listing = context;
    struct bough__pages *rows = &listing->rows[listing->side];

    for (uint32_t i = 0; i < siblings->count; i++) {
        if (siblings->has_rows && !bough__pages_add(rows, siblings->pages[i]))
            return BOUGH__BTREE_NOMEM;
        if (siblings->height == 1 && has_same_leaves(listing, siblings->pages[i]))
            siblings->pages[i] = 0;
    }
    return BOUGH__BTREE_OK;
}

/* Is a page with rows the same, and in both trees? */
static bool is_same(const struct listing *listing, const struct bough__siblings *siblings, bool has_same_parent,
                    uint32_t page)
{
    if (differs(listing, page))
        return false;
    return (siblings->height == 0 && has_same_parent) || bough__pages_has(&listing->rows[1 - listing->side], page);
}

static int note_pages(void *context, const struct bough__siblings *siblings)
{
    struct listing *listing = context;
    bool has_same_parent = has_same_leaves(listing, siblings->parent);

    listing->total += siblings->has_rows ? siblings->count : 0;
    for (uint32_t i = 0; i < siblings->count; i++) {
        uint32_t page = siblings->pages[i];

        if (differs(listing, page) && !bough__pages_add(&listing->work->trees, page))
            return BOUGH__BTREE_NOMEM;
        if (!siblings->has_rows || is_same(listing, siblings, has_same_parent, page))
            continue;
        if (++listing->noted_count <= NOTED_MAX && !bough__leaves_add(&listing->noted[listing->side], page))
            return BOUGH__BTREE_NOMEM;
    }
    return BOUGH__BTREE_OK;
}

/* Walks the table on both sides. */
static int walk_pair(struct listing *listing, bough__btree_callback *callback)
{
    struct bough__btrees *sides = listing->work->sides;
    int rc = BOUGH__BTREE_OK;

    for (listing->side = 0; rc == BOUGH__BTREE_OK && listing->side < 2; listing->side++)
        rc = bough__btree_walk(&sides[listing->side], listing->pair->roots[listing->side], callback, listing);
    return rc;
}

static int list_pair(struct listing *listing)
{
    int rc = walk_pair(listing, list_parents);

    return rc == BOUGH__BTREE_OK ? walk_pair(listing, list_rows) : rc;
}

static void release_listing(struct listing *listing)
{
    for (size_t side = 0; side < 2; side++) {
        bough__pages_release(&listing->parents[side]);
        bough__pages_release(&listing->rows[side]);
        bough__leaves_release(&listing->noted[side]);
    }
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
    struct pair *pair = &work->pairs[at];
    struct listing listing = {.work = work, .pair = pair};
    int rc = work->is_readable ? list_pair(&listing) : BOUGH__BTREE_ODD;

    if (rc == BOUGH__BTREE_OK)
        rc = walk_pair(&listing, note_pages);
    pair->has_rowids = work->sides[0].has_rowids && work->sides[1].has_rowids;
    change->is_narrow = !listing.noted_count || (pair->has_rowids && listing.noted_count <= NOTED_MAX);
    if (rc == BOUGH__BTREE_OK && listing.noted_count && change->is_narrow)
        rc = bough__sift(&change->ranges, work->sides, listing.noted, work->pages,
                         listing.noted_count > listing.total / 2);
    if (rc == BOUGH__BTREE_ODD || rc == BOUGH__BTREE_STOPPED || !change->is_narrow)
        give_up(change, pair);
    pair->is_listed |= change->ranges.count > 0;
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
static int forget_chains(void *context, const struct bough__siblings *siblings)
{
    struct forgetting *forgetting = context;
    int rc = BOUGH__BTREE_OK;

    for (uint32_t i = 0; rc == BOUGH__BTREE_OK && siblings->has_rows && i < siblings->count; i++) {
        if (bough__pages_has(forgetting->work->pages, siblings->pages[i]))
            rc = bough__btree_chains(forgetting->trees, siblings->pages[i], forget_chain, forgetting);
    }
    return rc;
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
    struct bough__ranges *ranges;
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
    if (!bough__ranges_add(search->ranges, chain->rowid, chain->rowid))
        return BOUGH__BTREE_NOMEM;
    rc = bough__btree_follow(&work->sides[0], chain, forget_page, work);
    if (rc == BOUGH__BTREE_OK)
        rc = bough__btree_follow(&work->sides[1], chain, forget_page, work);
    return rc == BOUGH__BTREE_OK && !has_loose(work) ? BOUGH__BTREE_STOPPED : rc;
}

static int look_at_leaves(void *context, const struct bough__siblings *siblings)
{
    struct search *search = context;
    struct listing *listing = search->listing;
    bool has_same_parent = has_same_leaves(listing, siblings->parent);
    int rc = BOUGH__BTREE_OK;

    for (uint32_t i = 0; rc == BOUGH__BTREE_OK && siblings->has_rows && i < siblings->count; i++) {
        if (is_same(listing, siblings, has_same_parent, siblings->pages[i]))
            rc = bough__btree_chains(&listing->work->sides[1], siblings->pages[i], look_at_chain, search);
    }
    return rc;
}

/* Looks for the owners of loose pages among the rows of one table. */
static int search_pair(struct work *work, size_t at, bool is_thorough)
{
    struct listing listing = {.work = work, .pair = &work->pairs[at]};
    struct search search = {&listing, &work->out->items[at].ranges, is_thorough, false};
    int rc = list_pair(&listing);

    listing.side = 1;
    if (rc == BOUGH__BTREE_OK)
        rc = bough__btree_walk(&work->sides[1], work->pairs[at].roots[1], look_at_leaves, &search);
    release_listing(&listing);
    work->pairs[at].is_listed |= search.ranges->count > 0;
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
