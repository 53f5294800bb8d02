/* rows_diff.c - see rows_diff.h.
 *
 * For people a row is one line of NAME=VALUE behind +, - or ~; of a changed row the key and what changed. Values are
 * cut, and so is the line. */
#include "rows_diff.h"

#include "out.h"
#include "rows.h"

#include <string.h>

#define VALUE_MAX 40
#define LINE_MAX  240

static size_t fit(const char *text, size_t length, size_t max)
{
    if (length <= max)
        return length;
    while (max && ((unsigned char)text[max] & 0xC0) == 0x80)
        max--;
    return max;
}

static size_t put_text(FILE *file, const char *text, size_t length)
{
    size_t shown = fit(text, length, VALUE_MAX);

    putc('\'', file);
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < 0x20 || c == 0x7F)
            fprintf(file, "\\x%02x", c);
        else
            putc(c, file);
    }
    fputs(shown < length ? "…'" : "'", file);
    return shown + 2;
}

static size_t put_blob(FILE *file, const unsigned char *bytes, size_t length)
{
    size_t shown = length < VALUE_MAX / 2 ? length : VALUE_MAX / 2;

    fputs("x'", file);
    for (size_t i = 0; i < shown; i++)
        fprintf(file, "%02x", bytes[i]);
    fputs(shown < length ? "…'" : "'", file);
    return 2 * shown + 3;
}

/* Returns about how wide it is. */
static size_t put_value(FILE *file, sqlite3_stmt *row, size_t column)
{
    int at = (int)column;
    const void *bytes = NULL;

    switch (sqlite3_column_type(row, at)) {
    case SQLITE_NULL:
        fputs("NULL", file);
        return 4;
    case SQLITE_TEXT:
        bytes = sqlite3_column_text(row, at);
        return put_text(file, bytes ? bytes : "", (size_t)sqlite3_column_bytes(row, at));
    case SQLITE_BLOB:
        bytes = sqlite3_column_blob(row, at);
        return put_blob(file, bytes, (size_t)sqlite3_column_bytes(row, at));
    default:
        bytes = sqlite3_column_text(row, at);
        fputs(bytes ? bytes : "?", file);
        return (size_t)sqlite3_column_bytes(row, at);
    }
}

static void print_line(const struct rows_diff *printer, char sign, sqlite3_stmt *from, sqlite3_stmt *to)
{
    const struct bough__rows *rows = printer->rows;
    size_t width = 0;

    fprintf(printer->file, "    %c", sign);
    for (size_t i = 0; i < rows->count; i++) {
        bool both = from && to && !bough__value_equal(from, to, (int)i);

        if (from && to && !both && i >= rows->key_count)
            continue;
        if (width > LINE_MAX) {
            fputs(" …", printer->file);
            break;
        }
        putc(' ', printer->file);
        out_line(printer->file, rows->columns[i].name);
        putc('=', printer->file);
        width += strlen(rows->columns[i].name) + 2 + put_value(printer->file, from ? from : to, i);
        if (!both)
            continue;
        fputs(" -> ", printer->file);
        width += 4 + put_value(printer->file, to, i);
    }
    putc('\n', printer->file);
}

static void json_row(const struct rows_diff *printer, const char *key, sqlite3_stmt *row, bool in_from)
{
    json_key(printer->json, key);
    if (!row) {
        json_null(printer->json);
        return;
    }
    json_open(printer->json, '{');
    for (size_t i = 0; i < printer->rows->count; i++) {
        json_key(printer->json, in_from ? printer->rows->columns[i].from_name : printer->rows->columns[i].name);
        rows_json_value(printer->json, row, i);
    }
    json_close(printer->json, '}');
}

int rows_diff_print(void *context, enum bough_change change, sqlite3_stmt *from, sqlite3_stmt *to)
{
    const struct rows_diff *printer = context;

    if (!printer->json) {
        print_line(printer, change == BOUGH_ADDED ? '+' : change == BOUGH_REMOVED ? '-' : '~', from, to);
        return SQLITE_OK;
    }
    json_open(printer->json, '{');
    json_put_string(printer->json, "status", bough__change_name(change));
    json_row(printer, "from", from, true);
    json_row(printer, "to", to, false);
    json_close(printer->json, '}');
    return SQLITE_OK;
}
