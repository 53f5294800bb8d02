/* table_rows.c - the rows that differ between two tables: see table_rows.h.
 *
 * The order of SQLite's ORDER BY is computed once more here, to see which side is behind: NULL, numbers, text, BLOBs;
 * text under one of SQLite's own collations. Numbers that are equal but of two types are told apart last. */
#include "table_rows.h"

#include <stdlib.h>
#include <string.h>

/* ---- values ---- */

static int rank_of(int type)
{
    return type == SQLITE_NULL ? 0 : type == SQLITE_INTEGER || type == SQLITE_FLOAT ? 1 : type == SQLITE_TEXT ? 2 : 3;
}

static int bytes_order(const void *a, size_t a_len, const void *b, size_t b_len)
{
    size_t len = a_len < b_len ? a_len : b_len;
    int order = len ? memcmp(a, b, len) : 0;

    return order ? order : (a_len > b_len) - (a_len < b_len);
}

static size_t trimmed(const char *text, size_t len)
{
    while (len && text[len - 1] == ' ')
        len--;
    return len;
}

static int text_order(const char *a, size_t a_len, const char *b, size_t b_len, const char *collation)
{
    int order = 0;

    if (!strcmp(collation, "RTRIM"))
        return bytes_order(a, trimmed(a, a_len), b, trimmed(b, b_len));
    if (strcmp(collation, "NOCASE") != 0)
        return bytes_order(a, a_len, b, b_len);
    order = sqlite3_strnicmp(a, b, (int)(a_len < b_len ? a_len : b_len));
    return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int number_order(sqlite3_stmt *a, sqlite3_stmt *b, int column)
{
    bool integers =
        sqlite3_column_type(a, column) == SQLITE_INTEGER && sqlite3_column_type(b, column) == SQLITE_INTEGER;
    /* Holds 64-bit integers and doubles exactly. */
    long double x = 0;
    long double y = 0;

    if (integers) {
        sqlite3_int64 i = sqlite3_column_int64(a, column);
        sqlite3_int64 j = sqlite3_column_int64(b, column);

        return (i > j) - (i < j);
    }
    x = sqlite3_column_type(a, column) == SQLITE_INTEGER ? (long double)sqlite3_column_int64(a, column)
                                                         : (long double)sqlite3_column_double(a, column);
    y = sqlite3_column_type(b, column) == SQLITE_INTEGER ? (long double)sqlite3_column_int64(b, column)
                                                         : (long double)sqlite3_column_double(b, column);
    return (x > y) - (x < y);
}

static int value_order(sqlite3_stmt *a, sqlite3_stmt *b, int column, const char *collation)
{
    int rank = rank_of(sqlite3_column_type(a, column));
    int other = rank_of(sqlite3_column_type(b, column));
    const void *x = NULL;
    const void *y = NULL;

    if (rank != other)
        return rank - other;
    if (rank == 0)
        return 0;
    if (rank == 1)
        return number_order(a, b, column);
    x = rank == 2 ? (const void *)sqlite3_column_text(a, column) : sqlite3_column_blob(a, column);
    y = rank == 2 ? (const void *)sqlite3_column_text(b, column) : sqlite3_column_blob(b, column);
    return rank == 2
               ? text_order(x, (size_t)sqlite3_column_bytes(a, column), y, (size_t)sqlite3_column_bytes(b, column),
                            collation)
               : bytes_order(x, (size_t)sqlite3_column_bytes(a, column), y, (size_t)sqlite3_column_bytes(b, column));
}

bool bough__value_equal(sqlite3_stmt *a, sqlite3_stmt *b, int column)
{
    return sqlite3_column_type(a, column) == sqlite3_column_type(b, column) && value_order(a, b, column, "BINARY") == 0;
}

bool bough__rows_key_is_null(const struct bough__rows *rows, sqlite3_stmt *row)
{
    for (size_t i = 0; i < rows->key_count; i++) {
        if (sqlite3_column_type(row, (int)i) == SQLITE_NULL)
            return true;
    }
    return false;
}

/* ---- the shape of one table ---- */

struct shape {
    struct bough__column *columns;
    size_t count, key_count;
    bool key_may_be_null, has_unique, is_virtual;
    bool taken[3]; /* columns called like the rowid */
};
static const char *const rowid_names[] = {"rowid", "oid", "_rowid_"};

static void columns_release(struct bough__column *columns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(columns[i].name);
    free(columns);
}

static int prepare(sqlite3_stmt **out, sqlite3 *handle, const char *sql, const char *argument)
{
    int rc = sqlite3_prepare_v2(handle, sql, -1, out, NULL);

    return rc == SQLITE_OK ? sqlite3_bind_text(*out, 1, argument, -1, SQLITE_STATIC) : rc;
}

static int add_column(struct shape *shape, const char *name)
{
    struct bough__column *columns = realloc(shape->columns, (shape->count + 1) * sizeof columns[0]);

    if (!columns)
        return SQLITE_NOMEM;
    shape->columns = columns;
    columns[shape->count] = (struct bough__column){name ? strdup(name) : NULL, "BINARY", true};
    if (!columns[shape->count].name)
        return SQLITE_NOMEM;
    shape->count++;
    return SQLITE_OK;
}

static int read_kind(struct shape *shape, sqlite3 *handle, const char *table, bool *out_without_rowid)
{
    sqlite3_stmt *statement = NULL;
    int rc = prepare(&statement, handle,
                     "SELECT type = 'virtual', wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1", table);

    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        shape->is_virtual = sqlite3_column_int(statement, 0);
        *out_without_rowid = sqlite3_column_int(statement, 1);
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* The columns that are stored, those of the primary key first. */
static int read_columns(struct shape *shape, sqlite3 *handle, const char *table, bool without_rowid)
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
            shape->key_may_be_null |= !without_rowid && !sqlite3_column_int(statement, 2);
        }
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
    bool without_rowid = false;
    int rc = read_kind(shape, handle, table, &without_rowid);

    if (rc == SQLITE_OK)
        rc = read_columns(shape, handle, table, without_rowid);
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
    return rc;
}

static int bytes_collation(void *context, int a_len, const void *a, int b_len, const void *b)
{
    (void)context;
    return bytes_order(a, (size_t)a_len, b, (size_t)b_len);
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
    columns_release(before->columns, before->count);
    if (rc != SQLITE_OK)
        bough__rows_release(out);
    return rc;
}

void bough__rows_release(struct bough__rows *rows)
{
    columns_release(rows->columns, rows->count);
    memset(rows, 0, sizeof *rows);
}

/* ---- reading ---- */

static const char *collation_in_sql(const struct bough__rows *rows, const char *collation)
{
    return rows->needs_bytes && !strcmp(collation, "BINARY") ? "bough_bytes" : collation;
}

static bool is_ordered_whole(const struct bough__rows *rows)
{
    return rows->key_count == 0 || rows->key_may_be_null;
}

static void append_order(sqlite3_str *sql, const struct bough__rows *rows)
{
    const char *comma = " ORDER BY ";

    for (size_t i = 0; i < rows->key_count; i++, comma = ", ")
        sqlite3_str_appendf(sql, "%s\"%w\" COLLATE %s", comma, rows->columns[i].name,
                            collation_in_sql(rows, rows->columns[i].collation));
    if (!is_ordered_whole(rows))
        return;
    for (size_t i = 0; i < rows->count; i++, comma = ", ")
        sqlite3_str_appendf(sql, "%s\"%w\" COLLATE %s", comma, rows->columns[i].name, collation_in_sql(rows, "BINARY"));
    for (size_t i = 0; i < rows->count; i++, comma = "||")
        sqlite3_str_appendf(sql, "%stypeof(\"%w\")", comma, rows->columns[i].name);
}

static int prepare_rows(sqlite3_stmt **out, const struct bough__rows *rows, sqlite3 *handle, const char *table)
{
    sqlite3_str *sql = sqlite3_str_new(handle);
    char *text = NULL;
    int rc = SQLITE_NOMEM;

    sqlite3_str_appendall(sql, "SELECT ");
    for (size_t i = 0; i < rows->count; i++)
        sqlite3_str_appendf(sql, "%s\"%w\"", i ? ", " : "", rows->columns[i].name);
    sqlite3_str_appendf(sql, "%s FROM main.\"%w\"", rows->count ? "" : "1", table);
    if (rows->from && rows->to)
        append_order(sql, rows);
    text = sqlite3_str_finish(sql);
    if (text)
        rc = sqlite3_prepare_v2(handle, text, -1, out, NULL);
    sqlite3_free(text);
    return rc;
}

static int whole_order(const struct bough__rows *rows, sqlite3_stmt *a, sqlite3_stmt *b)
{
    int order = 0;

    for (size_t i = 0; !order && i < rows->count; i++)
        order = value_order(a, b, (int)i, "BINARY");
    for (size_t i = 0; !order && i < rows->count; i++)
        order = sqlite3_column_type(a, (int)i) - sqlite3_column_type(b, (int)i);
    return order;
}

static int row_order(const struct bough__rows *rows, sqlite3_stmt *a, sqlite3_stmt *b)
{
    int order = 0;

    for (size_t i = 0; !order && i < rows->key_count; i++)
        order = value_order(a, b, (int)i, rows->columns[i].collation);
    if (!order && (rows->key_count == 0 || bough__rows_key_is_null(rows, a)))
        order = whole_order(rows, a, b);
    return order;
}

static bool is_equal(const struct bough__rows *rows, sqlite3_stmt *a, sqlite3_stmt *b)
{
    for (size_t i = 0; i < rows->count; i++) {
        if (!bough__value_equal(a, b, (int)i))
            return false;
    }
    return true;
}

struct walk {
    const struct bough__rows *rows;
    struct bough__row_counts *counts;
    sqlite3_stmt *from, *to; /* NULL at their end */
    bough__row_callback callback;
    void *context;
};

static int tell(struct walk *walk, enum bough_change change, sqlite3_stmt *from, sqlite3_stmt *to)
{
    *(change == BOUGH_ADDED     ? &walk->counts->added
      : change == BOUGH_REMOVED ? &walk->counts->removed
                                : &walk->counts->changed) += 1;
    return walk->callback ? walk->callback(walk->context, change, from, to) : SQLITE_OK;
}

static int step(sqlite3_stmt **statement, sqlite3 **out_failed)
{
    int rc = sqlite3_step(*statement);

    if (rc == SQLITE_ROW)
        return SQLITE_OK;
    *out_failed = sqlite3_db_handle(*statement);
    sqlite3_finalize(*statement);
    *statement = NULL;
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int merge(struct walk *walk, sqlite3 **out_failed)
{
    int rc = walk->from ? step(&walk->from, out_failed) : SQLITE_OK;

    if (rc == SQLITE_OK && walk->to)
        rc = step(&walk->to, out_failed);
    while (rc == SQLITE_OK && (walk->from || walk->to)) {
        int order = !walk->from ? 1 : !walk->to ? -1 : row_order(walk->rows, walk->from, walk->to);

        *out_failed = NULL;
        if (order < 0)
            rc = tell(walk, BOUGH_REMOVED, walk->from, NULL);
        else if (order > 0)
            rc = tell(walk, BOUGH_ADDED, NULL, walk->to);
        else if (!is_equal(walk->rows, walk->from, walk->to))
            rc = tell(walk, BOUGH_CHANGED, walk->from, walk->to);
        if (rc == SQLITE_OK && order <= 0)
            rc = step(&walk->from, out_failed);
        if (rc == SQLITE_OK && order >= 0)
            rc = step(&walk->to, out_failed);
    }
    return rc;
}

int bough__rows_walk(struct bough__row_counts *out, sqlite3 **out_failed, const struct bough__rows *rows,
                     bough__row_callback callback, void *context)
{
    struct walk walk = {rows, out, NULL, NULL, callback, context};
    int rc = SQLITE_OK;

    memset(out, 0, sizeof *out);
    *out_failed = rows->from;
    if (rows->from)
        rc = prepare_rows(&walk.from, rows, rows->from, rows->from_name);
    if (rc == SQLITE_OK && rows->to) {
        *out_failed = rows->to;
        rc = prepare_rows(&walk.to, rows, rows->to, rows->to_name);
    }
    if (rc == SQLITE_OK)
        rc = merge(&walk, out_failed);
    if (rc == SQLITE_NOMEM)
        *out_failed = NULL;
    sqlite3_finalize(walk.from);
    sqlite3_finalize(walk.to);
    return rc;
}
