/* table_shape.c - bough__rows_open: the columns and the key by which two tables are compared; see table_rows.h. */
#include "table_rows.h"

#include <stdlib.h>
#include <string.h>

/* ---- one table ---- */

struct shape {
    struct bough__column *columns;
    size_t count, key_count;
    bool key_may_be_null, has_unique, is_virtual;
    bool taken[3]; /* columns called like the rowid */
    bool without_rowid, has_key_index;
    struct bough__names stored; /* of each column in the table's order, what decides how it is stored */
};
static const char *const rowid_names[] = {"rowid", "oid", "_rowid_"};

static void columns_release(struct bough__column *columns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(columns[i].name);
    free(columns);
}

static void shape_release(struct shape *shape)
{
    columns_release(shape->columns, shape->count);
    bough__names_release(&shape->stored);
}

static int prepare(sqlite3_stmt **out, sqlite3 *handle, const char *sql, const char *argument)
{
    int rc = sqlite3_prepare_v2(handle, sql, -1, out, NULL);

    return rc == SQLITE_OK ? sqlite3_bind_text(*out, 1, argument, -1, SQLITE_STATIC) : rc;
}

static int add_column(struct shape *shape, const char *name)
{
    struct bough__column *columns = bough__grow(shape->columns, shape->count, sizeof columns[0]);

    if (!columns)
        return SQLITE_NOMEM;
    shape->columns = columns;
    columns[shape->count] = (struct bough__column){name ? strdup(name) : NULL, "BINARY", true};
    if (!columns[shape->count].name)
        return SQLITE_NOMEM;
    shape->count++;
    return SQLITE_OK;
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

/* The columns that are stored, those of the primary key first. */
static int read_columns(struct shape *shape, sqlite3 *handle, const char *table)
{
    sqlite3_stmt *statement = NULL;
    int rc = prepare(&statement, handle,
                     "SELECT name, pk, \"notnull\", hidden FROM pragma_table_xinfo(?1, 'main') "
                     "ORDER BY pk = 0, pk, cid",
                     table);

    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);

        for (size_t i = 0; i < 3 && name; i++)
            shape->taken[i] = shape->taken[i] || !sqlite3_stricmp(name, rowid_names[i]);
        rc = SQLITE_OK;
        if (sqlite3_column_int(statement, 3) != 0)
            continue;
        rc = add_column(shape, name);
        if (rc == SQLITE_OK && sqlite3_column_int(statement, 1) > 0) {
            shape->key_count++;
            shape->key_may_be_null |= !shape->without_rowid && !sqlite3_column_int(statement, 2);
        }
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int read_stored(struct shape *shape, sqlite3 *handle, const char *table)
{
    sqlite3_stmt *statement = NULL;
    int rc = prepare(&statement, handle,
                     "SELECT json_array(name, type, dflt_value, pk, hidden) FROM pragma_table_xinfo(?1, 'main') "
                     "ORDER BY cid",
                     table);

    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);

        rc = text && bough__names_add(&shape->stored, text) ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
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
    if (rc == SQLITE_OK)
        rc = read_stored(shape, handle, table);
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
    struct bough__column last = {NULL, NULL, false};
    int rc = add_column(shape, name);

    if (rc != SQLITE_OK)
        return rc;
    last = shape->columns[shape->count - 1];
    memmove(shape->columns + 1, shape->columns, (shape->count - 1) * sizeof last);
    shape->columns[0] = last;
    shape->key_count = 1;
    return SQLITE_OK;
}

/* ---- two tables ---- */

static bool same_key(const struct shape *a, const struct shape *b)
{
    bool same = a->key_count == b->key_count;

    for (size_t i = 0; same && i < a->key_count; i++)
        same = !sqlite3_stricmp(a->columns[i].name, b->columns[i].name) &&
               !strcmp(a->columns[i].collation, b->columns[i].collation);
    return same;
}

/* Columns may have been added behind the others, which leaves rows as they are. */
static bool is_stored_alike(const struct shape *a, const struct shape *b)
{
    size_t count = a->stored.count < b->stored.count ? a->stored.count : b->stored.count;
    bool alike =
        a->without_rowid == b->without_rowid && a->has_key_index == b->has_key_index && a->is_virtual == b->is_virtual;

    for (size_t i = 0; alike && i < count; i++)
        alike = !strcmp(a->stored.items[i], b->stored.items[i]);
    return alike;
}

static bool has_column(const struct shape *shape, const char *name)
{
    for (size_t i = 0; i < shape->count; i++) {
        if (!sqlite3_stricmp(shape->columns[i].name, name))
            return true;
    }
    return false;
}

static void keep_common_columns(struct shape *shape, const struct shape *other)
{
    size_t kept = 0;

    for (size_t i = 0; i < shape->count; i++) {
        if (has_column(other, shape->columns[i].name))
            shape->columns[kept++] = shape->columns[i];
        else
            free(shape->columns[i].name);
    }
    shape->count = kept;
}

static int fit(struct bough__rows *out, struct shape *to, struct shape *from)
{
    int rc = SQLITE_OK;

    out->rowid = rowid_name(to, from);
    out->is_virtual = to->is_virtual;
    if (to->is_virtual && from->is_virtual && out->rowid) {
        rc = add_rowid(to, out->rowid);
        if (rc == SQLITE_OK && from != to)
            rc = add_rowid(from, out->rowid);
    }
    if (rc == SQLITE_OK && !same_key(to, from))
        to->key_count = 0;
    if (rc == SQLITE_OK)
        keep_common_columns(to, from);
    out->key_count = to->key_count;
    out->key_may_be_null = to->key_may_be_null || from->key_may_be_null;
    out->has_unique = to->has_unique;
    out->is_stored_alike = is_stored_alike(to, from);
    out->key_is_rowid = to->key_count == 1 && (to->is_virtual || (!to->has_key_index && !to->without_rowid));
    return rc;
}

static int bytes_collation(void *context, int a_len, const void *a, int b_len, const void *b)
{
    (void)context;
    return bough__bytes_order(a, (size_t)a_len, b, (size_t)b_len);
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
        rc = sqlite3_create_collation(handle, "bough_bytes", SQLITE_UTF8, NULL, bytes_collation);
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
    struct shape shapes[2] = {{0}, {0}};
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
        rc = fit(out, after, from_name && to_name ? before : after);
    out->columns = after->columns;
    out->count = after->count;
    bough__names_release(&after->stored);
    shape_release(before);
    if (rc != SQLITE_OK)
        bough__rows_release(out);
    return rc;
}

void bough__rows_release(struct bough__rows *rows)
{
    columns_release(rows->columns, rows->count);
    memset(rows, 0, sizeof *rows);
}

void bough__rows_narrow(struct bough__rows *rows, const struct bough__table_pages *change)
{
    bool has_name = rows->key_is_rowid || (rows->rowid && !rows->is_virtual);

    if (change && change->is_narrow && rows->from && rows->to && rows->is_stored_alike &&
        (has_name || !change->ranges.count))
        rows->ranges = &change->ranges;
}
