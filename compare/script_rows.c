/* script_rows.c - see script_rows.h. */
#include "script_rows.h"

#include "table_rows.h"

#include <stdlib.h>
#include <string.h>

/* ---- words of SQL ---- */

void bough__script_put_name(FILE *file, const char *name)
{
    putc('"', file);
    for (; *name; name++) {
        if (*name == '"')
            putc('"', file);
        putc(*name, file);
    }
    putc('"', file);
}

static void put_hex(FILE *file, const unsigned char *bytes, int length)
{
    fputs("x'", file);
    for (int i = 0; i < length; i++)
        fprintf(file, "%02x", bytes[i]);
    putc('\'', file);
}

/* A zero byte would end the script. */
static void put_text(FILE *file, const char *text, int length)
{
    if (length && memchr(text, 0, (size_t)length)) {
        fputs("CAST(", file);
        put_hex(file, (const unsigned char *)text, length);
        fputs(" AS TEXT)", file);
        return;
    }
    putc('\'', file);
    for (int i = 0; i < length; i++) {
        if (text[i] == '\'')
            putc('\'', file);
        putc(text[i], file);
    }
    putc('\'', file);
}

/* The fewest digits that SQLite reads as the same number; its own reading is not exact for all of them. */
static int put_real(FILE *file, sqlite3 *handle, double value)
{
    sqlite3_stmt *statement = NULL;
    char text[64] = "";
    bool same = false;
    int rc = sqlite3_prepare_v2(handle, "SELECT CAST(?1 AS REAL)", -1, &statement, NULL);

    for (int digits = 15; rc == SQLITE_OK && !same && digits <= 20; digits++) {
        sqlite3_snprintf((int)sizeof text, text, "%!.*g", digits, value);
        rc = sqlite3_bind_text(statement, 1, text, -1, SQLITE_STATIC);
        if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW)
            rc = SQLITE_OK;
        same = rc == SQLITE_OK && sqlite3_column_double(statement, 0) >= value &&
               sqlite3_column_double(statement, 0) <= value;
        sqlite3_reset(statement);
    }
    sqlite3_finalize(statement);
    if (value > 1.7976931348623157e308 || value < -1.7976931348623157e308)
        snprintf(text, sizeof text, "%s", value > 0 ? "9e999" : "-9e999");
    fputs(text, file);
    return rc;
}

static int put_value(FILE *file, sqlite3_stmt *row, size_t column)
{
    int at = (int)column;
    const void *bytes = NULL;

    switch (sqlite3_column_type(row, at)) {
    case SQLITE_NULL:
        fputs("NULL", file);
        break;
    case SQLITE_INTEGER:
        if (sqlite3_column_int64(row, at) == INT64_MIN)
            fputs("(-9223372036854775807 - 1)", file);
        else
            fprintf(file, "%lld", (long long)sqlite3_column_int64(row, at));
        break;
    case SQLITE_FLOAT:
        return put_real(file, sqlite3_db_handle(row), sqlite3_column_double(row, at));
    case SQLITE_TEXT:
        bytes = sqlite3_column_text(row, at);
        put_text(file, bytes, sqlite3_column_bytes(row, at));
        break;
    default:
        bytes = sqlite3_column_blob(row, at);
        put_hex(file, bytes, sqlite3_column_bytes(row, at));
    }
    return SQLITE_OK;
}

/* ---- rows ---- */

struct writer {
    FILE *file;
    const struct bough__rows *rows;
    bool adds; /* the second pass: what is added, after what is removed */
};

static int put_key_condition(const struct writer *writer, sqlite3_stmt *row)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < writer->rows->key_count; i++) {
        const struct bough__column *column = &writer->rows->columns[i];

        fputs(i ? " AND " : " WHERE ", writer->file);
        bough__script_put_name(writer->file, column->name);
        fputs(" = ", writer->file);
        rc = put_value(writer->file, row, i);
        if (!column->is_own_collation && sqlite3_column_type(row, (int)i) == SQLITE_TEXT)
            fprintf(writer->file, " COLLATE %s", column->collation);
    }
    return rc;
}

/* One of the rows that are equal to this one, in every column and type. */
static int put_whole_condition(const struct writer *writer, sqlite3_stmt *row)
{
    FILE *file = writer->file;
    int rc = SQLITE_OK;

    fprintf(file, " WHERE %s = (SELECT %s FROM ", writer->rows->rowid, writer->rows->rowid);
    bough__script_put_name(file, writer->rows->to_name);
    for (size_t i = 0; rc == SQLITE_OK && i < writer->rows->count; i++) {
        int type = sqlite3_column_type(row, (int)i);

        fputs(i ? " AND " : " WHERE ", file);
        bough__script_put_name(file, writer->rows->columns[i].name);
        fputs(" IS ", file);
        rc = put_value(file, row, i);
        if (type == SQLITE_TEXT)
            fputs(" COLLATE BINARY", file);
        if (type == SQLITE_INTEGER || type == SQLITE_FLOAT) {
            fputs(" AND typeof(", file);
            bough__script_put_name(file, writer->rows->columns[i].name);
            fputs(type == SQLITE_INTEGER ? ") = 'integer'" : ") = 'real'", file);
        }
    }
    fputs(" LIMIT 1)", file);
    return rc;
}

static int put_condition(const struct writer *writer, sqlite3_stmt *row)
{
    int rc = writer->rows->key_count && !bough__rows_key_is_null(writer->rows, row) ? put_key_condition(writer, row)
                                                                                    : put_whole_condition(writer, row);

    fputs(";\n", writer->file);
    return rc;
}

static int put_delete(const struct writer *writer, sqlite3_stmt *row)
{
    fputs("DELETE FROM ", writer->file);
    bough__script_put_name(writer->file, writer->rows->to_name);
    return put_condition(writer, row);
}

static int put_update(const struct writer *writer, sqlite3_stmt *from, sqlite3_stmt *to)
{
    const char *word = " SET ";
    int rc = SQLITE_OK;

    fputs("UPDATE ", writer->file);
    bough__script_put_name(writer->file, writer->rows->to_name);
    for (size_t i = 0; rc == SQLITE_OK && i < writer->rows->count; i++) {
        if (bough__value_equal(from, to, (int)i))
            continue;
        fputs(word, writer->file);
        word = ", ";
        bough__script_put_name(writer->file, writer->rows->columns[i].name);
        fputs(" = ", writer->file);
        rc = put_value(writer->file, to, i);
    }
    return rc == SQLITE_OK ? put_condition(writer, from) : rc;
}

static int put_insert(const struct writer *writer, sqlite3_stmt *row)
{
    FILE *file = writer->file;
    int rc = SQLITE_OK;

    fputs("INSERT INTO ", file);
    bough__script_put_name(file, writer->rows->to_name);
    for (size_t i = 0; i < writer->rows->count; i++) {
        fputs(i ? ", " : "(", file);
        bough__script_put_name(file, writer->rows->columns[i].name);
    }
    for (size_t i = 0; rc == SQLITE_OK && i < writer->rows->count; i++) {
        fputs(i ? ", " : ") VALUES (", file);
        rc = put_value(file, row, i);
    }
    fputs(writer->rows->count ? ");\n" : " DEFAULT VALUES;\n", file);
    return rc;
}

/* Where two changed rows could hold one value of a UNIQUE index for a moment, a change is a removal and an addition. */
static int put_change(void *context, enum bough_change change, sqlite3_stmt *from, sqlite3_stmt *to)
{
    const struct writer *writer = context;
    bool updates = change == BOUGH_CHANGED && !writer->rows->has_unique;

    if (writer->adds)
        return to && !updates ? put_insert(writer, to) : SQLITE_OK;
    if (updates)
        return put_update(writer, from, to);
    return from ? put_delete(writer, from) : SQLITE_OK;
}

/* Rows that only their rowid tells apart, in a table whose columns take all names of it. */
static bool needs_whole(const struct bough__rows *rows)
{
    return (rows->key_count == 0 || rows->key_may_be_null) && !rows->rowid;
}

/* ---- tables whose content belongs to another one ---- */

static int find_text(char **out, sqlite3 *handle, const char *sql, const char *name)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);

    *out = NULL;
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);

        *out = text ? strdup(text) : NULL;
        rc = text && !*out ? SQLITE_NOMEM : SQLITE_DONE;
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int bough__script_is_index_only(bool *out, const struct bough__script *script, const char *name)
{
    char *found = NULL;
    int rc = find_text(&found, script->to,
                       "SELECT name FROM main.sqlite_schema WHERE name = ?1 AND sql LIKE '%USING%fts_%' AND NOT EXISTS "
                       "(SELECT 1 FROM main.sqlite_schema WHERE name = ?1 || '_content')",
                       name);

    *out = found != NULL;
    free(found);
    return rc;
}

static int walk(struct writer *writer, sqlite3 **out_failed)
{
    struct bough__row_counts counts = {0};

    return bough__rows_walk(&counts, out_failed, writer->rows, put_change, writer);
}

/* Where the script adds columns, rows have a value there already. */
static int add_columns(struct bough__rows *rows, const struct bough__script *script, const char *name)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; i < script->alters->added_count; i++) {
        const struct bough__added_columns *added = &script->alters->added[i];

        for (size_t k = 0; rc == SQLITE_OK && !strcmp(added->table, name) && k < added->names.count; k++)
            rc = bough__rows_add_column(rows, added->names.items[k], added->values.items[k]);
    }
    return rc;
}

static int open_rows(struct bough__rows *out, sqlite3 **out_failed, const struct bough__script *script,
                     const char *from_name, const char *name)
{
    int rc = bough__rows_open(out, out_failed, script->from, from_name, script->to, name);

    if (rc == SQLITE_OK)
        bough__rows_narrow(out, bough__tables_find(script->tables, name));
    if (rc == SQLITE_OK && from_name)
        rc = add_columns(out, script, name);
    if (rc != SQLITE_OK || !from_name || !needs_whole(out))
        return rc;
    bough__rows_release(out);
    fputs("DELETE FROM ", script->file);
    bough__script_put_name(script->file, name);
    fputs(";\n", script->file);
    return bough__rows_open(out, out_failed, script->from, NULL, script->to, name);
}

int bough__script_put_rows(const struct bough__script *script, sqlite3 **out_failed, const char *from_name,
                           const char *name)
{
    struct bough__rows rows = {0};
    struct writer writer = {script->file, &rows, false};
    bool is_index = false;
    int rc = bough__script_is_index_only(&is_index, script, name);

    *out_failed = script->to;
    if (rc != SQLITE_OK || is_index)
        return rc;
    rc = open_rows(&rows, out_failed, script, from_name, name);
    if (rc == SQLITE_OK && rows.from)
        rc = walk(&writer, out_failed);
    writer.adds = true;
    if (rc == SQLITE_OK)
        rc = walk(&writer, out_failed);
    bough__rows_release(&rows);
    return rc;
}
