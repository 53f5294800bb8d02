/* renames.c - see renames.h.
 *
 * Two tables with columns of the same kinds are nothing rare, so their first rows are looked at: of a table that was
 * renamed most are in the other one. Where neither has rows, most names of columns must be the same. */
#include "renames.h"

#include "columns.h"
#include "values.h"

#include <stdlib.h>
#include <string.h>

enum {
    SAMPLE_ROWS = 20,
    PAIRS_MAX = 4096, /* beyond, nobody renamed these one by one */
};

struct table {
    size_t change; /* among those of the schema */
    struct bough__columns columns;
};
struct tables {
    struct table *items;
    size_t count;
};

struct work {
    struct bough__schema_changes *changes;
    sqlite3 *from, *to;
    struct tables removed, added;
};

static const char *name_of(const struct work *work, const struct table *table)
{
    return work->changes->items[table->change].name;
}

/* ---- the tables ---- */

static int is_ordinary(bool *out, sqlite3 *handle, const char *name)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(
        handle, "SELECT 1 FROM pragma_table_list WHERE schema = 'main' AND name = ?1 AND type = 'table'", -1,
        &statement, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    *out = rc == SQLITE_ROW;
    sqlite3_finalize(statement);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int add_table(struct tables *tables, size_t change, const char *name, sqlite3 *handle)
{
    struct table *items = NULL;
    bool ordinary = false;
    int rc = is_ordinary(&ordinary, handle, name);

    if (rc != SQLITE_OK || !ordinary)
        return rc;
    items = bough__grow(tables->items, tables->count, sizeof items[0]);
    if (!items)
        return SQLITE_NOMEM;
    tables->items = items;
    items += tables->count++;
    *items = (struct table){.change = change};
    return bough__columns_read(&items->columns, handle, name);
}

static int list_tables(struct work *work, sqlite3 **out_failed)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < work->changes->count; i++) {
        const struct bough__schema_change *change = &work->changes->items[i];
        bool is_removed = change->change == BOUGH_REMOVED;

        if (strcmp(change->type, "table") != 0 || (!is_removed && change->change != BOUGH_ADDED))
            continue;
        *out_failed = is_removed ? work->from : work->to;
        rc = add_table(is_removed ? &work->removed : &work->added, i, change->name, *out_failed);
    }
    return rc;
}

static void release_tables(struct tables *tables)
{
    for (size_t i = 0; i < tables->count; i++)
        bough__columns_release(&tables->items[i].columns);
    free(tables->items);
}

/* ---- rows ---- */

/* The columns that both have, from the first rows. */
static int prepare_sample(sqlite3_stmt **out, sqlite3 *handle, const char *table, const struct bough__columns *columns,
                          size_t count)
{
    sqlite3_str *sql = sqlite3_str_new(handle);
    char *text = NULL;
    int rc = SQLITE_NOMEM;

    sqlite3_str_appendall(sql, "SELECT ");
    for (size_t i = 0; i < count; i++)
        sqlite3_str_appendf(sql, "%s\"%w\"", i ? ", " : "", columns->items[i].name);
    sqlite3_str_appendf(sql, " FROM main.\"%w\" LIMIT %d", table, SAMPLE_ROWS);
    text = sqlite3_str_finish(sql);
    if (text)
        rc = sqlite3_prepare_v2(handle, text, -1, out, NULL);
    sqlite3_free(text);
    return rc;
}

static bool is_equal(sqlite3_stmt *a, sqlite3_stmt *b)
{
    bool equal = true;

    for (int i = 0; equal && i < sqlite3_column_count(a); i++)
        equal = bough__value_equal(a, b, i);
    return equal;
}

/* Is the row that `row` stands on among those of `rows`? */
static int find_row(bool *out, size_t *out_count, sqlite3_stmt *rows, sqlite3_stmt *row)
{
    int rc = sqlite3_reset(rows);

    *out = false;
    *out_count = 0;
    while (rc == SQLITE_OK && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
        *out = *out || is_equal(rows, row);
        (*out_count)++;
        rc = SQLITE_OK;
    }
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static bool are_names_alike(const struct bough__columns *from, const struct bough__columns *to)
{
    size_t same = 0;

    for (size_t i = 0; i < from->count; i++)
        same += !sqlite3_stricmp(from->items[i].name, to->items[i].name);
    return same * 2 > from->count;
}

static int do_rows_agree(bool *out, sqlite3 **out_failed, const struct work *work, const struct table *removed,
                         const struct table *added)
{
    sqlite3_stmt *before = NULL;
    sqlite3_stmt *after = NULL;
    size_t rows = 0;
    size_t found = 0;
    size_t others = 0;
    int rc = SQLITE_OK;

    *out_failed = work->from;
    rc = prepare_sample(&before, work->from, name_of(work, removed), &removed->columns, removed->columns.count);
    if (rc == SQLITE_OK) {
        *out_failed = work->to;
        rc = prepare_sample(&after, work->to, name_of(work, added), &added->columns, removed->columns.count);
    }
    while (rc == SQLITE_OK && (*out_failed = work->from, rc = sqlite3_step(before)) == SQLITE_ROW) {
        bool is_there = false;

        *out_failed = work->to;
        rc = find_row(&is_there, &others, after, before);
        rows++;
        found += is_there;
    }
    *out = rows && others ? found * 2 >= rows : are_names_alike(&removed->columns, &added->columns);
    sqlite3_finalize(before);
    sqlite3_finalize(after);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* ---- pairs ---- */

static void forget_partners(struct bough__columns *columns)
{
    for (size_t i = 0; i < columns->count; i++)
        columns->items[i].partner = BOUGH__NO_COLUMN;
}

static int may_be_pair(bool *out, sqlite3 **out_failed, const struct work *work, struct table *removed,
                       struct table *added)
{
    const struct bough__columns_side from = {&removed->columns, work->from, name_of(work, removed)};
    const struct bough__columns_side to = {&added->columns, work->to, name_of(work, added)};
    int rc = SQLITE_OK;

    *out = removed->columns.count && removed->columns.count <= added->columns.count;
    if (!*out)
        return SQLITE_OK;
    forget_partners(&removed->columns);
    forget_partners(&added->columns);
    rc = bough__columns_match(out_failed, &from, &to);
    for (size_t i = 0; *out && i < removed->columns.count; i++)
        *out = removed->columns.items[i].partner == i &&
               removed->columns.items[i].key_place == added->columns.items[i].key_place;
    if (rc == SQLITE_OK && *out)
        rc = do_rows_agree(out, out_failed, work, removed, added);
    return rc;
}

/* For each removed table the added ones that it may be, as a bit; few of either. */
static int fill_pairs(bool *pairs, sqlite3 **out_failed, const struct work *work)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < work->removed.count; i++) {
        for (size_t j = 0; rc == SQLITE_OK && j < work->added.count; j++)
            rc = may_be_pair(&pairs[i * work->added.count + j], out_failed, work, &work->removed.items[i],
                             &work->added.items[j]);
    }
    return rc;
}

/* The only one in the row and in the column? */
static bool is_only_pair(const bool *pairs, const struct work *work, size_t i, size_t j)
{
    size_t count = 0;

    for (size_t k = 0; k < work->added.count; k++)
        count += pairs[i * work->added.count + k];
    for (size_t k = 0; k < work->removed.count; k++)
        count += pairs[k * work->added.count + j];
    return count == 2 && pairs[i * work->added.count + j];
}

static void join(struct bough__schema_change *removed, struct bough__schema_change *added)
{
    added->change = BOUGH_RENAMED;
    added->old_name = removed->name;
    added->from_sql = removed->from_sql;
    removed->name = removed->from_sql = NULL;
}

static void join_pairs(const bool *pairs, const struct work *work)
{
    struct bough__schema_changes *changes = work->changes;

    for (size_t i = 0; i < work->removed.count; i++) {
        for (size_t j = 0; j < work->added.count; j++) {
            if (is_only_pair(pairs, work, i, j))
                join(&changes->items[work->removed.items[i].change], &changes->items[work->added.items[j].change]);
        }
    }
    for (size_t i = changes->count; i-- > 0;) {
        if (!changes->items[i].name)
            bough__schema_changes_drop(changes, i);
    }
}

int bough__renames_find(struct bough__schema_changes *changes, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to)
{
    struct work work = {.changes = changes, .from = from, .to = to};
    bool *pairs = NULL;
    size_t count = 0;
    int rc = list_tables(&work, out_failed);

    count = work.removed.count * work.added.count;
    if (rc == SQLITE_OK && count && count <= PAIRS_MAX) {
        pairs = calloc(count, sizeof pairs[0]);
        rc = pairs ? fill_pairs(pairs, out_failed, &work) : SQLITE_NOMEM;
        if (rc == SQLITE_OK)
            join_pairs(pairs, &work);
    }
    if (rc == SQLITE_OK || rc == SQLITE_NOMEM)
        *out_failed = NULL;
    free(pairs);
    release_tables(&work.removed);
    release_tables(&work.added);
    return rc;
}
