/* rows.c - see rows.h.
 *
 * Lists are the sqlite3 shell's: values between bars, no titles. CSV has a line of titles and quotes as RFC 4180 says,
 * with plain line feeds; results of several statements stand apart by an empty line. In all three NULL is nothing (an
 * empty string is "" in CSV, NULL is spelled out in tables) and a BLOB is x'...'. */
#include "rows.h"

#include <stdlib.h>
#include <string.h>

/* Rows held back to learn how wide the columns are. */
#define TABLE_ROWS_MAX 1000

void rows_begin(struct rows *rows, enum rows_form form, FILE *file)
{
    memset(rows, 0, sizeof *rows);
    rows->form = form;
    rows->file = file;
    rows->json.file = file;
    if (form == ROWS_JSON)
        json_open(&rows->json, '[');
}

void rows_end(struct rows *rows)
{
    if (rows->form != ROWS_JSON)
        return;
    json_close(&rows->json, ']');
    putc('\n', rows->file);
}

/* ---- names of columns ---- */

static bool name_taken(const struct rows *rows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(rows->names[i], name))
            return true;
    }
    return false;
}

/* The second `a` becomes a:2, the third a:3; a name that is taken in its own right is passed over. */
static char *distinct_name(const struct rows *rows, size_t column, const char *name)
{
    char *made = out_copy(name);

    for (unsigned n = 2; name_taken(rows, column, made); n++) {
        free(made);
        made = out_format("%s:%u", name, n);
    }
    return made;
}

static void free_names(struct rows *rows)
{
    for (size_t i = 0; i < rows->columns; i++)
        free(rows->names[i]);
    free(rows->names);
    rows->names = NULL;
    rows->columns = 0;
}

static void read_names(struct rows *rows, sqlite3_stmt *statement)
{
    size_t count = (size_t)sqlite3_column_count(statement);

    free_names(rows);
    rows->names = out_alloc(count * sizeof rows->names[0]);
    for (size_t i = 0; i < count; i++) {
        const char *name = sqlite3_column_name(statement, (int)i);

        if (!name)
            name = "";
        rows->names[i] = rows->form == ROWS_JSON ? distinct_name(rows, i, name) : out_copy(name);
        rows->columns = i + 1;
    }
}

/* ---- values ---- */

struct value {
    int type;
    const char *bytes;
    size_t length;
};

static struct value value_of(sqlite3_stmt *statement, size_t column)
{
    struct value value = {sqlite3_column_type(statement, (int)column), NULL, 0};

    if (value.type == SQLITE_BLOB)
        value.bytes = sqlite3_column_blob(statement, (int)column);
    else
        value.bytes = (const char *)sqlite3_column_text(statement, (int)column);
    value.length = value.bytes ? (size_t)sqlite3_column_bytes(statement, (int)column) : 0;
    return value;
}

static void put_blob(FILE *file, const struct value *value)
{
    fputs("x'", file);
    for (size_t i = 0; i < value->length; i++)
        fprintf(file, "%02x", (unsigned char)value->bytes[i]);
    putc('\'', file);
}

static void list_value(FILE *file, const struct value *value)
{
    if (value->type == SQLITE_BLOB)
        put_blob(file, value);
    else if (value->length)
        fwrite(value->bytes, 1, value->length, file);
}

static void csv_text(FILE *file, const char *bytes, size_t length)
{
    bool quoted = length == 0 || bytes[0] == ' ' || bytes[length - 1] == ' ';

    for (size_t i = 0; i < length && !quoted; i++)
        quoted = bytes[i] == '"' || bytes[i] == ',' || bytes[i] == '\n' || bytes[i] == '\r';
    if (quoted)
        putc('"', file);
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] == '"')
            putc('"', file);
        putc(bytes[i], file);
    }
    if (quoted)
        putc('"', file);
}

static void csv_value(FILE *file, const struct value *value)
{
    if (value->type == SQLITE_BLOB)
        put_blob(file, value);
    else if (value->type != SQLITE_NULL)
        csv_text(file, value->bytes, value->length);
}

/* A cell is one line: what would break it is written as \n, \t or \x1b. */
static void table_value(struct out_table *table, const struct value *value)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    if (!file) {
        out_cell(table, "?");
        return;
    }
    if (value->type == SQLITE_NULL)
        fputs("NULL", file);
    else if (value->type == SQLITE_BLOB)
        put_blob(file, value);
    for (size_t i = 0; value->type != SQLITE_BLOB && i < value->length; i++) {
        unsigned char c = (unsigned char)value->bytes[i];

        if (c == '\n' || c == '\t')
            fputs(c == '\n' ? "\\n" : "\\t", file);
        else if (c < 0x20 || c == 0x7F)
            fprintf(file, "\\x%02x", c);
        else
            putc(c, file);
    }
    fclose(file);
    out_cell(table, "%s", text);
    free(text);
}

void rows_json_value(struct json *json, sqlite3_stmt *statement, size_t column)
{
    struct value value = {0, NULL, 0};

    switch (sqlite3_column_type(statement, (int)column)) {
    case SQLITE_INTEGER:
        json_int(json, sqlite3_column_int64(statement, (int)column));
        return;
    case SQLITE_FLOAT:
        json_real(json, sqlite3_column_double(statement, (int)column));
        return;
    case SQLITE_NULL:
        json_null(json);
        return;
    default:
        break;
    }
    value = value_of(statement, column);
    if (value.type == SQLITE_BLOB) {
        json_open(json, '{');
        json_key(json, "hex");
        json_hex(json, value.bytes, value.length);
        json_close(json, '}');
    } else {
        json_bytes(json, value.bytes ? value.bytes : "", value.length);
    }
}

/* ---- results ---- */

static void print_block(struct rows *rows)
{
    if (rows->table.count)
        out_table_print(rows->file, &rows->table);
    out_table_release(&rows->table);
}

static void table_titles(struct rows *rows)
{
    static const char dashes[] = "----------------------------------------------------------------";

    rows->table.columns = rows->columns;
    for (size_t i = 0; i < rows->columns; i++)
        out_cell(&rows->table, "%s", rows->names[i]);
    for (size_t i = 0; i < rows->columns; i++) {
        size_t length = strlen(rows->names[i]);

        out_cell(&rows->table, "%.*s", (int)(length < sizeof dashes ? length : sizeof dashes - 1), dashes);
    }
}

void rows_result_begin(struct rows *rows, sqlite3_stmt *statement)
{
    bool first = rows->results++ == 0;

    read_names(rows, statement);
    if (rows->form == ROWS_JSON)
        json_open(&rows->json, '[');
    if (!first && (rows->form == ROWS_CSV || rows->form == ROWS_TABLE))
        putc('\n', rows->file);
    if (rows->form == ROWS_TABLE)
        table_titles(rows);
    for (size_t i = 0; rows->form == ROWS_CSV && i < rows->columns; i++) {
        csv_text(rows->file, rows->names[i], strlen(rows->names[i]));
        putc(i + 1 < rows->columns ? ',' : '\n', rows->file);
    }
}

static void json_row(struct rows *rows, sqlite3_stmt *statement)
{
    json_open(&rows->json, '{');
    for (size_t i = 0; i < rows->columns; i++) {
        json_key(&rows->json, rows->names[i]);
        rows_json_value(&rows->json, statement, i);
    }
    json_close(&rows->json, '}');
}

void rows_row(struct rows *rows, sqlite3_stmt *statement)
{
    if (rows->form == ROWS_JSON) {
        json_row(rows, statement);
        return;
    }
    for (size_t i = 0; i < rows->columns; i++) {
        struct value value = value_of(statement, i);

        if (rows->form == ROWS_TABLE) {
            table_value(&rows->table, &value);
            continue;
        }
        if (rows->form == ROWS_CSV)
            csv_value(rows->file, &value);
        else
            list_value(rows->file, &value);
        putc(i + 1 < rows->columns ? (rows->form == ROWS_CSV ? ',' : '|') : '\n', rows->file);
    }
    if (rows->form == ROWS_TABLE && rows->table.count >= rows->columns * TABLE_ROWS_MAX)
        print_block(rows);
}

void rows_result_end(struct rows *rows)
{
    if (rows->form == ROWS_JSON)
        json_close(&rows->json, ']');
    if (rows->form == ROWS_TABLE)
        print_block(rows);
}

void rows_release(struct rows *rows)
{
    out_table_release(&rows->table);
    free_names(rows);
}
