/* table_shape.c - bough__rows_open: the columns and the key by which two tables are compared; see table_rows.h. */
#include "columns.h"
#include "table_rows.h"

#include <stdlib.h>
#include <string.h>

/* ---- one table ---- */

struct shape {
    struct bough__columns all;     /* in the table's order */
    struct bough__column *columns; /* those that are compared, the key's first */
    size_t *at;                    /* parallel to columns: where it stands in `all` */
    size_t count, key_count;
    bool key_may_be_null, has_unique, is_virtual;
    bool taken[3]; /* columns called like the rowid */
    bool without_rowid, has_key_index;
};
static const char *const rowid_names[] = {"rowid", "oid", "_rowid_"};

static void free_columns(struct bough__column *columns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(columns[i].name);
        free(columns[i].from_name);
        free(columns[i].from_value);
    }
    free(columns);
}

static void shape_release(struct shape *shape)
{
    free_columns(shape->columns, shape->count);
    free(shape->at);
    bough__columns_release(&shape->all);
}

static int prepare(sqlite3_stmt **out, sqlite3 *handle, const char *sql, const char *argument)
{
    int rc = sqlite3_prepare_v2(handle, sql, -1, out, NULL);

    return rc == SQLITE_OK ? sqlite3_bind_text(*out, 1, argument, -1, SQLITE_STATIC) : rc;
}

static int add_column(struct shape *shape, const char *name, size_t at)
{
    struct bough__column *columns = bough__grow(shape->columns, shape->count, sizeof columns[0]);
    size_t *places = bough__grow(shape->at, shape->count, sizeof places[0]);

    shape->columns = columns ? columns : shape->columns;
    shape->at = places ? places : shape->at;
    if (!columns || !places)
        return SQLITE_NOMEM;
    columns[shape->count] = (struct bough__column){
        .name = strdup(name), .from_name = strdup(name), .collation = "BINARY", .is_own_collation = true};
    places[shape->count] = at;
    shape->count++;
    return columns[shape->count - 1].name && columns[shape->count - 1].from_name ? SQLITE_OK : SQLITE_NOMEM;
}

static int read_kind(struct shape *shape, sqlite3 *handle, const char *table)
{
    sqlite3_stmt *statement = NULL;
    int rc = prepare(&statement, handle,
                     "SELECT type = 'virtual', wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1", table);

    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        shape->is_virtual = sqlite3_column_int(statement, 0);
        shape->without_rowid = sqlite3_column_int(statement, 1);
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* The columns of the primary key, then the others. Generated columns follow from them. */
static int choose_columns(struct shape *shape)
{
    int rc = SQLITE_OK;

    for (size_t place = 1; rc == SQLITE_OK && place <= shape->all.count; place++) {
        for (size_t i = 0; rc == SQLITE_OK && i < shape->all.count; i++) {
            const struct bough__table_column *column = &shape->all.items[i];

            if (column->is_hidden || column->key_place != place)
                continue;
            rc = add_column(shape, column->name, i);
            shape->key_count++;
            shape->key_may_be_null |= !shape->without_rowid && !column->is_not_null;
        }
    }
    for (size_t i = 0; rc == SQLITE_OK && i < shape->all.count; i++) {
        if (!shape->all.items[i].is_hidden && !shape->all.items[i].key_place)
            rc = add_column(shape, shape->all.items[i].name, i);
    }
    return rc;
}

static int read_columns(struct shape *shape, sqlite3 *handle, const char *table)
{
    int rc = bough__columns_read(&shape->all, handle, table);

    for (size_t i = 0; rc == SQLITE_OK && i < shape->all.count; i++) {
        for (size_t k = 0; k < 3; k++)
            shape->taken[k] = shape->taken[k] || !sqlite3_stricmp(shape->all.items[i].name, rowid_names[k]);
    }
    return rc == SQLITE_OK ? choose_columns(shape) : rc;
}

/* The name among SQLite's own collations; NULL: one of the application's, which may not be at hand. */
static const char *known_collation(const char *name)
{
    static const char *const names[] = {"BINARY", "NOCASE", "RTRIM"};

    for (size_t i = 0; i < 3; i++) {
        if (name && !sqlite3_stricmp(name, names[i]))
            return names[i];
    }
    return NULL;
}

static int read_key_column(struct shape *shape, sqlite3 *handle, const char *table, size_t at, const char *collation)
{
    const char *own = NULL;
    int rc = SQLITE_OK;

    if (at >= shape->key_count)
        return SQLITE_OK;
    rc = sqlite3_table_column_metadata(handle, "main", table, shape->columns[at].name, NULL, &own, NULL, NULL, NULL);
    shape->columns[at].collation = known_collation(collation);
    shape->columns[at].is_own_collation = own && collation && !sqlite3_stricmp(own, collation);
    return rc;
}

/* A key without an index is the rowid itself: never NULL. */
static int read_key(struct shape *shape, sqlite3 *handle, const char *table)
{
    sqlite3_stmt *statement = NULL;
    bool has_index = false;
    int rc = prepare(&statement, handle,
                     "SELECT x.seqno, x.coll FROM pragma_index_list(?1, 'main') l, "
                     "pragma_index_xinfo(l.name, 'main') x WHERE l.origin = 'pk' AND x.\"key\" ORDER BY x.seqno",
                     table);

    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        has_index = true;
        rc = read_key_column(shape, handle, table, (size_t)sqlite3_column_int(statement, 0),
                             (const char *)sqlite3_column_text(statement, 1));
    }
    sqlite3_finalize(statement);
    statement = NULL;
    shape->has_key_index = has_index;
    shape->key_may_be_null &= has_index;
    if (rc == SQLITE_DONE)
        rc = prepare(&statement, handle,
                     "SELECT 1 FROM pragma_index_list(?1, 'main') WHERE \"unique\" AND origin <> 'pk'", table);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    shape->has_unique = rc == SQLITE_ROW;
    sqlite3_finalize(statement);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static const char *rowid_name(const struct shape *a, const struct shape *b)
{
    for (size_t i = 0; i < 3; i++) {
        if (!a->taken[i] && !b->taken[i])
            return rowid_names[i];
    }
    return NULL;
}

static int read_shape(struct shape *shape, sqlite3 *handle, const char *table)
{
    int rc = read_kind(shape, handle, table);

    if (rc == SQLITE_OK)
        rc = read_columns(shape, handle, table);
    if (rc == SQLITE_OK && shape->is_virtual)
        shape->key_count = 0;
    else if (rc == SQLITE_OK)
        rc = read_key(shape, handle, table);
    for (size_t i = 0; i < shape->key_count; i++) {
        if (!shape->columns[i].collation)
            shape->key_count = 0;
    }
    return rc;
}

/* A virtual table's rowid is its key, and stands with the columns. */
static int add_rowid(struct shape *shape, const char *name)
{
    struct bough__column last = {0};
    int rc = add_column(shape, name, BOUGH__NO_COLUMN);

    if (rc != SQLITE_OK)
        return rc;
    last = shape->columns[shape->count - 1];
    memmove(shape->columns + 1, shape->columns, (shape->count - 1) * sizeof last);
    memmove(shape->at + 1, shape->at, (shape->count - 1) * sizeof shape->at[0]);
    shape->columns[0] = last;
    shape->at[0] = BOUGH__NO_COLUMN;
    shape->key_count = 1;
    return SQLITE_OK;
}

/* ---- two tables ---- */

/* Where the column stands in the other table; the rowid has no place in either. */
static size_t place_in_other(const struct shape *shape, size_t column)
{
    size_t at = shape->at[column];

    return at == BOUGH__NO_COLUMN ? at : shape->all.items[at].partner;
}

static bool same_key(const struct shape *a, const struct shape *b)
{
    bool same = a->key_count == b->key_count;

    for (size_t i = 0; same && i < a->key_count; i++)
        same = (a->at[i] == BOUGH__NO_COLUMN) == (b->at[i] == BOUGH__NO_COLUMN) && place_in_other(a, i) == b->at[i] &&
               !strcmp(a->columns[i].collation, b->columns[i].collation);
    return same;
}

/* Columns may have been added behind the others, which leaves rows as they are. */
static bool is_stored_alike(const struct shape *a, const struct shape *b)
{
    size_t count = a->all.count < b->all.count ? a->all.count : b->all.count;
    bool alike =
        a->without_rowid == b->without_rowid && a->has_key_index == b->has_key_index && a->is_virtual == b->is_virtual;

    for (size_t i = 0; alike && i < count; i++)
        alike = a->all.items[i].partner == i && !strcmp(a->all.items[i].stored, b->all.items[i].stored);
    return alike;
}

/* NULL: the other table does not store it. */
static const struct bough__column *find_other(const struct shape *shape, size_t column, const struct shape *other)
{
    for (size_t i = 0; i < other->count; i++) {
        if (other->at[i] == place_in_other(shape, column) && (other->at[i] != BOUGH__NO_COLUMN || other->is_virtual))
            return &other->columns[i];
    }
    return NULL;
}

static int keep_common_columns(struct shape *shape, const struct shape *other)
{
    size_t kept = 0;
    bool done = true;

    for (size_t i = 0; i < shape->count; i++) {
        struct bough__column column = shape->columns[i];
        const struct bough__column *found = find_other(shape, i, other);

        free(column.from_name);
        column.from_name = found ? strdup(found->name) : NULL;
        done = done && (!found || column.from_name);
        if (found)
            shape->columns[kept++] = column;
        else
            free(column.name);
    }
    shape->count = kept;
    return done ? SQLITE_OK : SQLITE_NOMEM;
}

/* What stands on one side alone is compared with nothing, as if with itself. */
static int match(struct shape *to, struct shape *from, const struct bough__rows *rows, sqlite3 **out_failed)
{
    const struct bough__columns_side before = {&from->all, rows->from, rows->from_name};
    const struct bough__columns_side after = {&to->all, rows->to, rows->to_name};

    if (from != to)
        return bough__columns_match(out_failed, &before, &after);
    for (size_t i = 0; i < to->all.count; i++)
        to->all.items[i].partner = i;
    return SQLITE_OK;
}

static int fit(struct bough__rows *out, sqlite3 **out_failed, struct shape *to, struct shape *from)
{
    int rc = match(to, from, out, out_failed);

    out->rowid = rowid_name(to, from);
    out->is_virtual = to->is_virtual;
    out->is_without_rowid = to->without_rowid;
    if (rc == SQLITE_OK && to->is_virtual && from->is_virtual && out->rowid) {
        rc = add_rowid(to, out->rowid);
        if (rc == SQLITE_OK && from != to)
            rc = add_rowid(from, out->rowid);
    }
    if (rc == SQLITE_OK && !same_key(to, from))
        to->key_count = 0;
    if (rc == SQLITE_OK && from != to)
        rc = keep_common_columns(to, from);
    out->key_count = to->key_count;
    out->key_may_be_null = to->key_may_be_null || from->key_may_be_null;
    out->has_unique = to->has_unique;
    out->is_stored_alike = is_stored_alike(to, from);
    out->key_is_rowid = to->key_count == 1 && (to->is_virtual || (!to->has_key_index && !to->without_rowid));
    return rc;
}

/* BINARY compares UTF-16 as it is stored; then text is sorted by a collation of ours. */
static int check_encoding(struct bough__rows *rows, sqlite3 *handle)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(handle, "PRAGMA encoding", -1, &statement, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);

        rows->needs_bytes |= !name || strcmp(name, "UTF-8") != 0;
        rc = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    if (rc == SQLITE_OK)
        rc = bough__bytes_collation(handle);
    return rc;
}

static int read_side(struct bough__rows *out, struct shape *shape, sqlite3 **out_failed, sqlite3 *handle,
                     const char *name)
{
    int rc = check_encoding(out, handle);

    if (rc == SQLITE_OK)
        rc = read_shape(shape, handle, name);
    *out_failed = rc == SQLITE_OK || rc == SQLITE_NOMEM ? NULL : handle;
    return rc;
}

int bough__rows_open(struct bough__rows *out, sqlite3 **out_failed, sqlite3 *from, const char *from_name, sqlite3 *to,
                     const char *to_name)
{
    struct shape shapes[2] = {{.count = 0}, {.count = 0}};
    struct shape *before = &shapes[0];
    struct shape *after = &shapes[1];
    int rc = SQLITE_OK;

    memset(out, 0, sizeof *out);
    *out_failed = NULL;
    out->from = from_name ? from : NULL;
    out->to = to_name ? to : NULL;
    out->from_name = from_name;
    out->to_name = to_name;
    if (from_name)
        rc = read_side(out, before, out_failed, from, from_name);
    if (rc == SQLITE_OK && to_name)
        rc = read_side(out, after, out_failed, to, to_name);
    if (rc == SQLITE_OK && !to_name) {
        *after = *before;
        memset(before, 0, sizeof *before);
    }
    if (rc == SQLITE_OK)
        rc = fit(out, out_failed, after, from_name && to_name ? before : after);
    out->columns = after->columns;
    out->count = after->count;
    after->columns = NULL;
    after->count = 0;
    shape_release(after);
    shape_release(before);
    if (rc != SQLITE_OK)
        bough__rows_release(out);
    return rc;
}

/* The array was grown one by one, but some of it may have been taken out since. */
int bough__rows_add_column(struct bough__rows *rows, const char *name, const char *from_value)
{
    struct bough__column *columns = realloc(rows->columns, (rows->count + 1) * sizeof columns[0]);

    if (!columns)
        return SQLITE_NOMEM;
    rows->columns = columns;
    columns += rows->count++;
    *columns = (struct bough__column){.name = strdup(name),
                                      .from_name = strdup(name),
                                      .from_value = strdup(from_value),
                                      .collation = "BINARY",
                                      .is_own_collation = true};
    return columns->name && columns->from_name && columns->from_value ? SQLITE_OK : SQLITE_NOMEM;
}

void bough__rows_release(struct bough__rows *rows)
{
    free_columns(rows->columns, rows->count);
    memset(rows, 0, sizeof *rows);
}

/* Keys that differ for SQLite must be different keys here, so all of the key's columns have to be known. */
void bough__rows_narrow(struct bough__rows *rows, const struct bough__table_pages *change)
{
    bool has_name = rows->key_is_rowid || (rows->rowid && !rows->is_virtual);

    if (!change || !change->is_narrow || !rows->from || !rows->to || !rows->is_stored_alike)
        return;
    if (!change->keys.count && (has_name || !change->ranges.count))
        rows->ranges = &change->ranges;
    if (change->keys.count && rows->is_without_rowid && rows->key_count && rows->key_count == change->keys.column_count)
        rows->keys = &change->keys;
}
