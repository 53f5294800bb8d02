/* columns.c - see columns.h. */
#include "columns.h"

#include "sets.h"

#include <stdlib.h>
#include <string.h>

/* Few: values may be large, and one row that is filled is enough. */
#define SAMPLE_ROWS 20

/* ---- reading ---- */

static int add_column(struct bough__columns *columns, sqlite3_stmt *row)
{
    struct bough__table_column *column = bough__grow(columns->items, columns->count, sizeof column[0]);
    const char *name = (const char *)sqlite3_column_text(row, 0);
    const char *stored = (const char *)sqlite3_column_text(row, 1);
    const char *value = (const char *)sqlite3_column_text(row, 2);

    if (!column)
        return SQLITE_NOMEM;
    columns->items = column;
    column += columns->count++;
    *column = (struct bough__table_column){.name = name ? strdup(name) : NULL,
                                           .stored = stored ? strdup(stored) : NULL,
                                           .default_sql = value ? strdup(value) : NULL,
                                           .key_place = (size_t)sqlite3_column_int64(row, 3),
                                           .is_not_null = sqlite3_column_int(row, 4),
                                           .is_hidden = sqlite3_column_int(row, 5),
                                           .partner = BOUGH__NO_COLUMN};
    return column->name && column->stored && (column->default_sql || !value) ? SQLITE_OK : SQLITE_NOMEM;
}

int bough__columns_read(struct bough__columns *out, sqlite3 *handle, const char *table)
{
    sqlite3_stmt *row = NULL;
    int rc = sqlite3_prepare_v2(handle,
                                "SELECT name, json_array(type, dflt_value, pk, hidden), dflt_value, pk, \"notnull\", "
                                "hidden <> 0 FROM pragma_table_xinfo(?1, 'main') ORDER BY cid",
                                -1, &row, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(row, 1, table, -1, SQLITE_STATIC);
    while (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW)
        rc = add_column(out, row);
    sqlite3_finalize(row);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

void bough__columns_release(struct bough__columns *columns)
{
    for (size_t i = 0; i < columns->count; i++) {
        free(columns->items[i].name);
        free(columns->items[i].stored);
        free(columns->items[i].default_sql);
    }
    free(columns->items);
    memset(columns, 0, sizeof *columns);
}

/* ---- what the rows say ---- */

enum filling { FILLED_UNKNOWN, FILLED_BY_DEFAULT, FILLED };

/* Looks at the first rows. No rows say nothing, and neither does a column that cannot be read. */
static int read_filling(enum filling *out, const struct bough__columns_side *side,
                        const struct bough__table_column *column)
{
    sqlite3_stmt *statement = NULL;
    char *sql =
        sqlite3_mprintf("SELECT count(*), sum(v IS NOT (%s)) FROM (SELECT \"%w\" AS v FROM main.\"%w\" LIMIT %d)",
                        column->default_sql ? column->default_sql : "NULL", column->name, side->table, SAMPLE_ROWS);
    int rc = sql ? sqlite3_prepare_v2(side->handle, sql, -1, &statement, NULL) : SQLITE_NOMEM;

    *out = FILLED_UNKNOWN;
    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        if (sqlite3_column_int64(statement, 0))
            *out = sqlite3_column_int64(statement, 1) ? FILLED : FILLED_BY_DEFAULT;
        rc = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    sqlite3_free(sql);
    return rc == SQLITE_ERROR ? SQLITE_OK : rc;
}

static int do_rows_agree(bool *out, sqlite3 **out_failed, const struct bough__columns_side *from, size_t i,
                         const struct bough__columns_side *to, size_t j)
{
    enum filling before = FILLED_UNKNOWN;
    enum filling after = FILLED_UNKNOWN;
    int rc = SQLITE_OK;

    *out = true;
    if (from->columns->items[i].key_place || from->columns->items[i].is_hidden)
        return SQLITE_OK;
    *out_failed = from->handle;
    rc = read_filling(&before, from, &from->columns->items[i]);
    if (rc == SQLITE_OK) {
        *out_failed = to->handle;
        rc = read_filling(&after, to, &to->columns->items[j]);
    }
    *out = before == after || before == FILLED_UNKNOWN || after == FILLED_UNKNOWN;
    return rc;
}

/* ---- partners ---- */

static void join(struct bough__columns *from, size_t i, struct bough__columns *to, size_t j)
{
    from->items[i].partner = j;
    to->items[j].partner = i;
}

static void match_names(struct bough__columns *from, struct bough__columns *to)
{
    for (size_t i = 0; i < from->count; i++) {
        for (size_t j = 0; j < to->count; j++) {
            if (!sqlite3_stricmp(from->items[i].name, to->items[j].name))
                join(from, i, to, j);
        }
    }
}

/* Columns without a partner, from this one on. */
static size_t run_length(const struct bough__columns *columns, size_t at)
{
    size_t end = at;

    while (end < columns->count && columns->items[end].partner == BOUGH__NO_COLUMN)
        end++;
    return end - at;
}

/* How many columns from i and j on stand between the same neighbours. Behind the last columns there may be more. */
static size_t common_length(const struct bough__columns *from, size_t i, const struct bough__columns *to, size_t j)
{
    size_t a = run_length(from, i);
    size_t b = run_length(to, j);

    if (i + a == from->count && j + b == to->count)
        return a < b ? a : b;
    return a == b && i + a < from->count && from->items[i + a].partner == j + b ? a : 0;
}

static bool is_declared_alike(const struct bough__table_column *a, const struct bough__table_column *b)
{
    return a->is_not_null == b->is_not_null && !strcmp(a->stored, b->stored);
}

static int match_run(sqlite3 **out_failed, const struct bough__columns_side *from, size_t i,
                     const struct bough__columns_side *to, size_t j, size_t length)
{
    int rc = SQLITE_OK;

    for (size_t k = 0; rc == SQLITE_OK && k < length; k++) {
        bool agree = is_declared_alike(&from->columns->items[i + k], &to->columns->items[j + k]);

        if (agree)
            rc = do_rows_agree(&agree, out_failed, from, i + k, to, j + k);
        if (rc == SQLITE_OK && agree)
            join(from->columns, i + k, to->columns, j + k);
    }
    return rc;
}

int bough__columns_match(sqlite3 **out_failed, const struct bough__columns_side *from,
                         const struct bough__columns_side *to)
{
    const struct bough__columns *before = from->columns;
    size_t length = 0;
    int rc = SQLITE_OK;

    match_names(from->columns, to->columns);
    for (size_t i = 0; rc == SQLITE_OK && i < before->count; i += length ? length : 1) {
        length = run_length(before, i);
        if (length) {
            size_t j = i == 0 ? 0 : before->items[i - 1].partner + 1;

            rc = match_run(out_failed, from, i, to, j, common_length(before, i, to->columns, j));
        }
    }
    return rc;
}
