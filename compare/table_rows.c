/* table_rows.c - the rows that differ between two tables: see table_rows.h. */
#include "table_rows.h"

#include <stdlib.h>
#include <string.h>

bool bough__rows_key_is_null(const struct bough__rows *rows, sqlite3_stmt *row)
{
    for (size_t i = 0; i < rows->key_count; i++) {
        if (sqlite3_column_type(row, (int)i) == SQLITE_NULL)
            return true;
    }
    return false;
}

/* ---- reading ---- */

const char *bough__rows_collation(const struct bough__rows *rows, const char *collation)
{
    return rows->needs_bytes && !strcmp(collation, "BINARY") ? "bough_bytes" : collation;
}

static bool is_ordered_whole(const struct bough__rows *rows)
{
    return rows->key_count == 0 || rows->key_may_be_null;
}

static const char *name_in(const struct bough__rows *rows, size_t column, bool in_from)
{
    return in_from ? rows->columns[column].from_name : rows->columns[column].name;
}

static void append_value(sqlite3_str *sql, const struct bough__rows *rows, size_t column, bool in_from)
{
    if (in_from && rows->columns[column].from_value)
        sqlite3_str_appendf(sql, "(%s)", rows->columns[column].from_value);
    else
        sqlite3_str_appendf(sql, "t.\"%w\"", name_in(rows, column, in_from));
}

/* A literal is no order, and a number would be one of a column. */
static void append_order(sqlite3_str *sql, const struct bough__rows *rows, bool in_from)
{
    const char *comma = " ORDER BY ";

    for (size_t i = 0; i < rows->key_count; i++, comma = ", ")
        sqlite3_str_appendf(sql, "%st.\"%w\" COLLATE %s", comma, name_in(rows, i, in_from),
                            bough__rows_collation(rows, rows->columns[i].collation));
    if (!is_ordered_whole(rows))
        return;
    for (size_t i = 0; i < rows->count; i++) {
        if (in_from && rows->columns[i].from_value)
            continue;
        sqlite3_str_appendf(sql, "%st.\"%w\" COLLATE %s", comma, name_in(rows, i, in_from),
                            bough__rows_collation(rows, "BINARY"));
        comma = ", ";
    }
    for (size_t i = 0; i < rows->count; i++, comma = "||") {
        sqlite3_str_appendf(sql, "%stypeof(", comma);
        append_value(sql, rows, i, in_from);
        sqlite3_str_appendall(sql, ")");
    }
}

static void append_key(sqlite3_str *sql, const struct bough__rows *rows, bool in_from)
{
    for (size_t i = 0; i < rows->key_count; i++)
        sqlite3_str_appendf(sql, "%s t.\"%w\" = ?%d COLLATE %s", i ? " AND" : " WHERE", name_in(rows, i, in_from),
                            (int)i + 1, rows->columns[i].collation);
}

/* Where the walk is in the order of rowids, one range is read after the other, and of keys each by itself; else all of
 * them at once, because rows of different ranges must be sorted. */
static bool is_in_parts(const struct bough__rows *rows)
{
    return rows->keys || (rows->ranges && rows->ranges->count && rows->key_is_rowid);
}

static void append_table(sqlite3_str *sql, const struct bough__rows *rows, const char *table, bool in_from)
{
    if (rows->keys) {
        sqlite3_str_appendf(sql, " FROM main.\"%w\" AS t", table);
        append_key(sql, rows, in_from);
    } else if (!rows->ranges || !rows->ranges->count)
        sqlite3_str_appendf(sql, " FROM main.\"%w\" AS t%s", table, rows->ranges ? " WHERE 0" : "");
    else if (rows->key_is_rowid)
        sqlite3_str_appendf(sql, " FROM main.\"%w\" AS t WHERE t.\"%w\" BETWEEN ?1 AND ?2", table,
                            name_in(rows, 0, in_from));
    else
        sqlite3_str_appendf(sql,
                            " FROM json_each(?1) AS r CROSS JOIN main.\"%w\" AS t WHERE t.\"%w\" "
                            "BETWEEN json_extract(r.value, '$[0]') AND json_extract(r.value, '$[1]')",
                            table, rows->rowid);
}

static int bind_ranges(sqlite3_stmt *statement, const struct bough__ranges *ranges)
{
    sqlite3_str *json = sqlite3_str_new(sqlite3_db_handle(statement));
    char *text = NULL;

    for (size_t i = 0; i < ranges->count; i++)
        sqlite3_str_appendf(json, "%s[%lld,%lld]", i ? "," : "[", ranges->items[i].first, ranges->items[i].last);
    sqlite3_str_appendall(json, ranges->count ? "]" : "[]");
    text = sqlite3_str_finish(json);
    return text ? sqlite3_bind_text(statement, 1, text, -1, sqlite3_free) : SQLITE_NOMEM;
}

/* One side's rows, in order. */
struct reader {
    const struct bough__rows *rows;
    sqlite3_stmt *statement; /* NULL at the end */
    sqlite3_stmt *keys;      /* NULL: not read by keys */
    size_t next_range;
    bool has_begun;
};

static int open_reader(struct reader *reader, const struct bough__rows *rows, bool in_from)
{
    sqlite3 *handle = in_from ? rows->from : rows->to;
    sqlite3_str *sql = sqlite3_str_new(handle);
    char *text = NULL;
    int rc = SQLITE_NOMEM;

    reader->rows = rows;
    sqlite3_str_appendall(sql, "SELECT ");
    for (size_t i = 0; i < rows->count; i++)
        sqlite3_str_appendall(sql, i ? ", " : ""), append_value(sql, rows, i, in_from);
    sqlite3_str_appendall(sql, rows->count ? "" : "1");
    append_table(sql, rows, in_from ? rows->from_name : rows->to_name, in_from);
    if (rows->from && rows->to && !rows->keys)
        append_order(sql, rows, in_from);
    text = sqlite3_str_finish(sql);
    if (text)
        rc = sqlite3_prepare_v2(handle, text, -1, &reader->statement, NULL);
    if (rc == SQLITE_OK && rows->ranges && rows->ranges->count && !rows->key_is_rowid)
        rc = bind_ranges(reader->statement, rows->ranges);
    sqlite3_free(text);
    return rc;
}

/* SQLITE_DONE: there is none. */
static int begin_range(struct reader *reader)
{
    const struct bough__ranges *ranges = reader->rows->ranges;
    const struct bough__range *range = NULL;
    int rc = SQLITE_OK;

    if (reader->next_range == ranges->count)
        return SQLITE_DONE;
    range = &ranges->items[reader->next_range++];
    rc = sqlite3_bind_int64(reader->statement, 1, range->first);
    return rc == SQLITE_OK ? sqlite3_bind_int64(reader->statement, 2, range->last) : rc;
}

static int begin_key(struct reader *reader)
{
    int rc = sqlite3_step(reader->keys);

    if (rc != SQLITE_ROW)
        return rc;
    rc = SQLITE_OK;
    for (int i = 0; rc == SQLITE_OK && i < sqlite3_column_count(reader->keys); i++)
        rc = sqlite3_bind_value(reader->statement, i + 1, sqlite3_column_value(reader->keys, i));
    return rc;
}

static int begin_part(struct reader *reader)
{
    if (!is_in_parts(reader->rows))
        return SQLITE_DONE;
    sqlite3_reset(reader->statement);
    return reader->keys ? begin_key(reader) : begin_range(reader);
}

static void close_reader(struct reader *reader)
{
    sqlite3_finalize(reader->statement);
    sqlite3_finalize(reader->keys);
    reader->statement = reader->keys = NULL;
}

static int step(struct reader *reader, sqlite3 **out_failed)
{
    bool waits = is_in_parts(reader->rows) && !reader->has_begun;
    int rc = waits ? SQLITE_DONE : sqlite3_step(reader->statement);

    reader->has_begun = true;
    while (rc == SQLITE_DONE && (rc = begin_part(reader)) == SQLITE_OK)
        rc = sqlite3_step(reader->statement);
    if (rc == SQLITE_ROW)
        return SQLITE_OK;
    *out_failed = sqlite3_db_handle(reader->statement);
    close_reader(reader);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* ---- merging ---- */

static int whole_order(const struct bough__rows *rows, sqlite3_stmt *a, sqlite3_stmt *b)
{
    int order = 0;

    for (size_t i = 0; !order && i < rows->count; i++)
        order = bough__value_order(a, b, (int)i, "BINARY");
    for (size_t i = 0; !order && i < rows->count; i++)
        order = sqlite3_column_type(a, (int)i) - sqlite3_column_type(b, (int)i);
    return order;
}

static int row_order(const struct bough__rows *rows, sqlite3_stmt *a, sqlite3_stmt *b)
{
    int order = 0;

    for (size_t i = 0; !order && i < rows->key_count; i++)
        order = bough__value_order(a, b, (int)i, rows->columns[i].collation);
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
    struct reader from, to;
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

static int merge(struct walk *walk, sqlite3 **out_failed)
{
    int rc = walk->from.statement ? step(&walk->from, out_failed) : SQLITE_OK;

    if (rc == SQLITE_OK && walk->to.statement)
        rc = step(&walk->to, out_failed);
    while (rc == SQLITE_OK && (walk->from.statement || walk->to.statement)) {
        sqlite3_stmt *from = walk->from.statement;
        sqlite3_stmt *to = walk->to.statement;
        int order = !from ? 1 : !to ? -1 : row_order(walk->rows, from, to);

        *out_failed = NULL;
        walk->counts->read += order == 0 ? 2 : 1;
        if (order < 0)
            rc = tell(walk, BOUGH_REMOVED, from, NULL);
        else if (order > 0)
            rc = tell(walk, BOUGH_ADDED, NULL, to);
        else if (!is_equal(walk->rows, from, to))
            rc = tell(walk, BOUGH_CHANGED, from, to);
        if (rc == SQLITE_OK && order <= 0)
            rc = step(&walk->from, out_failed);
        if (rc == SQLITE_OK && order >= 0)
            rc = step(&walk->to, out_failed);
    }
    return rc;
}

static int open_keys(struct walk *walk, sqlite3 *sorted)
{
    int rc = bough__keys_read(&walk->from.keys, sorted, walk->rows);

    return rc == SQLITE_OK ? bough__keys_read(&walk->to.keys, sorted, walk->rows) : rc;
}

int bough__rows_walk(struct bough__row_counts *out, sqlite3 **out_failed, const struct bough__rows *rows,
                     bough__row_callback callback, void *context)
{
    struct walk walk = {.rows = rows, .counts = out, .callback = callback, .context = context};
    sqlite3 *sorted = NULL;
    int rc = SQLITE_OK;

    memset(out, 0, sizeof *out);
    *out_failed = rows->from;
    if (rows->from)
        rc = open_reader(&walk.from, rows, true);
    if (rc == SQLITE_OK && rows->to) {
        *out_failed = rows->to;
        rc = open_reader(&walk.to, rows, false);
    }
    if (rc == SQLITE_OK && rows->keys) {
        *out_failed = NULL;
        rc = bough__keys_sort(&sorted, rows);
        if (rc == SQLITE_OK)
            rc = open_keys(&walk, sorted);
    }
    if (rc == SQLITE_OK)
        rc = merge(&walk, out_failed);
    if (rc == SQLITE_NOMEM)
        *out_failed = NULL;
    close_reader(&walk.from);
    close_reader(&walk.to);
    sqlite3_close(sorted);
    return rc;
}
