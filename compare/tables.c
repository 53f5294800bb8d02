/* tables.c - which tables of two databases hold different rows, and where: see compare.h.
 *
 * A row that stands on the same page of its table on both sides, and that page is the same, is the same row. So of each
 * table the pages that hold rows are listed on both sides, and what differs lies on those that differ or that only one
 * side's table has. Of these the rows are compared as bytes (sift.c), and those that differ are read later, by SQLite.
 * If most of the table's rows differ, or what stands on its pages is not understood, all of it is read.
 *
 * A page above leaves that is the same on both sides, and in both trees, has the same leaves below it. So the leaves of
 * a side are listed one by one only where that is not so; elsewhere it is enough to know which of them differ. In a
 * table without rowids the pages above leaves hold rows, too, and rows are told by their keys.
 *
 * Overflow pages that differ while their leaf does not are found by loose.c. */
#include "tables_work.h"

#include <stdlib.h>
#include <string.h>

/* ---- the pairs of tables ---- */

static const struct bough__schema_change *other_sql(const struct bough__schema_changes *schema, const char *name)
{
    for (size_t i = 0; i < schema->count; i++) {
        const struct bough__schema_change *change = &schema->items[i];

        if (!strcmp(change->type, "table") && change->from_sql && change->to_sql && !strcmp(change->name, name))
            return change;
    }
    return NULL;
}

static int add_pair(struct bough__tables_work *work, const char *name, const struct bough__schema_change *change,
                    const uint32_t roots[2], uint32_t key_columns)
{
    size_t count = work->out->count;
    const char *from_name = change && change->old_name ? change->old_name : name;
    struct bough__table_pages *items = bough__grow(work->out->items, count, sizeof items[0]);
    struct bough__tables_pair *pairs = items ? bough__grow(work->pairs, count, sizeof pairs[0]) : NULL;

    if (items)
        work->out->items = items;
    if (!pairs)
        return SQLITE_NOMEM;
    work->pairs = pairs;
    pairs[count] = (struct bough__tables_pair){{roots[0], roots[1]}, change != NULL, false, key_columns};
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
static int read_pair(struct bough__tables_work *work, sqlite3 **out_failed, const struct bough__schema_changes *schema,
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
    return rc == SQLITE_OK && roots[0] ? add_pair(work, name, change, roots, (uint32_t)sqlite3_column_int(table, 2))
                                       : rc;
}

static int read_pairs(struct bough__tables_work *work, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                      const struct bough__schema_changes *schema)
{
    static const char tables[] = "SELECT name, rootpage, (SELECT count(*) FROM pragma_index_list(s.name, 'main') l, "
                                 "pragma_index_xinfo(l.name, 'main') x WHERE l.origin = 'pk' AND x.\"key\") "
                                 "FROM main.sqlite_schema s WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE "
                                 "'sqlite\\_%' ESCAPE '\\' ORDER BY name COLLATE BINARY";
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

static bool differs(const struct bough__tables_listing *listing, uint32_t page)
{
    return bough__pages_has(listing->work->pages, page);
}

bool bough__listing_has_same_leaves(const struct bough__tables_listing *listing, uint32_t parent)
{
    return !differs(listing, parent) && bough__pages_has(&listing->parents[0], parent) &&
           bough__pages_has(&listing->parents[1], parent);
}

static int list_parents(void *context, const struct bough__siblings *siblings)
{
    struct bough__tables_listing *listing = context;
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
    struct bough__tables_listing *listing = context;
    struct bough__pages *rows = &listing->rows[listing->side];

    for (uint32_t i = 0; i < siblings->count; i++) {
        if (siblings->has_rows && !bough__pages_add(rows, siblings->pages[i]))
            return BOUGH__BTREE_NOMEM;
        if (siblings->height == 1 && bough__listing_has_same_leaves(listing, siblings->pages[i]))
            siblings->pages[i] = 0;
    }
    return BOUGH__BTREE_OK;
}

bool bough__listing_is_same(const struct bough__tables_listing *listing, const struct bough__siblings *siblings,
                            bool has_same_parent, uint32_t page)
{
    if (differs(listing, page))
        return false;
    return (siblings->height == 0 && has_same_parent) || bough__pages_has(&listing->rows[1 - listing->side], page);
}

static bool any_differs(const struct bough__tables_listing *listing, const struct bough__siblings *siblings)
{
    for (uint32_t i = 0; i < siblings->count; i++) {
        if (differs(listing, siblings->pages[i]))
            return true;
    }
    return false;
}

/* Leaves that are the same on both sides, in the same order, are counted for both when they are met first. */
static int settle(struct bough__tables_listing *listing, const struct bough__siblings *siblings)
{
    listing->total += 2 * (uint64_t)siblings->count;
    return bough__pages_add(&listing->settled, siblings->parent) ? BOUGH__BTREE_OK : BOUGH__BTREE_NOMEM;
}

static int note_pages(void *context, const struct bough__siblings *siblings)
{
    struct bough__tables_listing *listing = context;
    bool has_same_parent = bough__listing_has_same_leaves(listing, siblings->parent);

    if (listing->side == 0 && siblings->height == 0 && has_same_parent && !any_differs(listing, siblings))
        return settle(listing, siblings);
    listing->total += siblings->has_rows ? siblings->count : 0;
    for (uint32_t i = 0; i < siblings->count; i++) {
        uint32_t page = siblings->pages[i];

        if (siblings->height == 1 && bough__pages_has(&listing->settled, page))
            siblings->pages[i] = 0;
        if (differs(listing, page) && !bough__pages_add(&listing->work->trees, page))
            return BOUGH__BTREE_NOMEM;
        if (!siblings->has_rows || bough__listing_is_same(listing, siblings, has_same_parent, page))
            continue;
        if (++listing->noted_count <= NOTED_MAX && !bough__leaves_add(&listing->noted[listing->side], page))
            return BOUGH__BTREE_NOMEM;
    }
    return BOUGH__BTREE_OK;
}

/* Walks the table on both sides. */
static int walk_pair(struct bough__tables_listing *listing, bough__btree_callback *callback)
{
    struct bough__btrees *sides = listing->work->sides;
    int rc = BOUGH__BTREE_OK;

    for (listing->side = 0; rc == BOUGH__BTREE_OK && listing->side < 2; listing->side++)
        rc = bough__btree_walk(&sides[listing->side], listing->pair->roots[listing->side], callback, listing);
    return rc;
}

int bough__listing_fill(struct bough__tables_listing *listing)
{
    int rc = walk_pair(listing, list_parents);

    return rc == BOUGH__BTREE_OK ? walk_pair(listing, list_rows) : rc;
}

void bough__listing_release(struct bough__tables_listing *listing)
{
    for (size_t side = 0; side < 2; side++) {
        bough__pages_release(&listing->parents[side]);
        bough__pages_release(&listing->rows[side]);
        bough__leaves_release(&listing->noted[side]);
    }
    bough__pages_release(&listing->settled);
}

static void give_up(struct bough__table_pages *change, struct bough__tables_pair *pair)
{
    bough__ranges_release(&change->ranges);
    bough__keys_release(&change->keys);
    change->is_narrow = false;
    pair->is_listed = true;
}

static int sift(struct bough__table_pages *change, const struct bough__tables_pair *pair,
                const struct bough__tables_listing *listing)
{
    struct bough__tables_work *work = listing->work;
    bool are_most = listing->noted_count > listing->total / 2;

    if (!listing->noted_count)
        return BOUGH__BTREE_OK;
    if (listing->noted_count > NOTED_MAX || work->sides[0].has_rowids != work->sides[1].has_rowids)
        return BOUGH__BTREE_STOPPED;
    return pair->has_rowids ? bough__sift(&change->ranges, work->sides, listing->noted, work->pages, are_most)
                            : bough__sift_keys(&change->keys, work->sides, listing->noted, work->pages, are_most);
}

static int compare_pair(struct bough__tables_work *work, size_t at)
{
    struct bough__table_pages *change = &work->out->items[at];
    struct bough__tables_pair *pair = &work->pairs[at];
    struct bough__tables_listing listing = {.work = work, .pair = pair};
    int rc = work->is_readable ? bough__listing_fill(&listing) : BOUGH__BTREE_ODD;

    if (rc == BOUGH__BTREE_OK)
        rc = walk_pair(&listing, note_pages);
    pair->has_rowids = work->sides[0].has_rowids && work->sides[1].has_rowids;
    change->is_narrow = true;
    change->keys.column_count = pair->key_columns;
    change->keys.encoding = work->sides[1].encoding;
    if (rc == BOUGH__BTREE_OK)
        rc = sift(change, pair, &listing);
    if (rc == BOUGH__BTREE_ODD || rc == BOUGH__BTREE_STOPPED)
        give_up(change, pair);
    pair->is_listed |= change->ranges.count || change->keys.count;
    bough__listing_release(&listing);
    return rc == BOUGH__BTREE_NOMEM ? SQLITE_NOMEM : SQLITE_OK;
}

/* ---- all of it ---- */

static void read_sides(struct bough__tables_work *work, int *out_rc, sqlite3 *from, sqlite3 *to)
{
    int before = bough__btrees_open(&work->sides[0], from);
    int after = bough__btrees_open(&work->sides[1], to);

    *out_rc = before == BOUGH__BTREE_NOMEM || after == BOUGH__BTREE_NOMEM ? SQLITE_NOMEM : SQLITE_OK;
    work->is_readable =
        before == BOUGH__BTREE_OK && after == BOUGH__BTREE_OK && work->sides[0].page_size == work->sides[1].page_size &&
        work->sides[0].usable == work->sides[1].usable && work->sides[0].format == work->sides[1].format &&
        work->sides[0].encoding == work->sides[1].encoding;
}

static int compare_pairs(struct bough__tables_work *work, sqlite3 *from, sqlite3 *to)
{
    int rc = SQLITE_OK;
    int code = BOUGH__BTREE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < work->out->count; i++)
        rc = compare_pair(work, i);
    if (rc == SQLITE_OK && work->is_readable)
        code = bough__tables_settle_loose(work, from, to);
    if (code == BOUGH__BTREE_NOMEM)
        return SQLITE_NOMEM;
    for (size_t i = 0; rc == SQLITE_OK && i < work->out->count; i++) {
        if (code == BOUGH__BTREE_ODD || (bough__pages_next(&work->loose, 0) != 0 && !work->pairs[i].has_rowids))
            give_up(&work->out->items[i], &work->pairs[i]);
        else
            bough__ranges_unite(&work->out->items[i].ranges);
    }
    return rc;
}

static void release_change(struct bough__table_pages *change)
{
    bough__keys_release(&change->keys);
    free(change->name);
    free(change->from_name);
    free(change->owner);
    bough__ranges_release(&change->ranges);
}

static void drop_same(struct bough__tables_work *work)
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
    struct bough__tables_work work = {.pages = pages, .out = out};
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
