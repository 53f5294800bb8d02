/* values.c - see values.h.
 *
 * The order of SQLite's ORDER BY is computed once more here, to see which side is behind: NULL, numbers, text, BLOBs;
 * text under one of SQLite's own collations. */
#include "values.h"

#include <string.h>

static int rank_of(int type)
{
    return type == SQLITE_NULL ? 0 : type == SQLITE_INTEGER || type == SQLITE_FLOAT ? 1 : type == SQLITE_TEXT ? 2 : 3;
}

int bough__bytes_order(const void *a, size_t a_len, const void *b, size_t b_len)
{
    size_t len = a_len < b_len ? a_len : b_len;
    int order = len ? memcmp(a, b, len) : 0;

    return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int bytes_collation(void *context, int a_len, const void *a, int b_len, const void *b)
{
    (void)context;
    return bough__bytes_order(a, (size_t)a_len, b, (size_t)b_len);
}

int bough__bytes_collation(sqlite3 *handle)
{
    return sqlite3_create_collation(handle, "bough_bytes", SQLITE_UTF8, NULL, bytes_collation);
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
        return bough__bytes_order(a, trimmed(a, a_len), b, trimmed(b, b_len));
    if (strcmp(collation, "NOCASE") != 0)
        return bough__bytes_order(a, a_len, b, b_len);
    order = sqlite3_strnicmp(a, b, (int)(a_len < b_len ? a_len : b_len));
    return order ? order : (a_len > b_len) - (a_len < b_len);
}

/* Holds 64-bit integers and doubles exactly. */
static long double number(sqlite3_stmt *row, int type, int column)
{
    return type == SQLITE_INTEGER ? (long double)sqlite3_column_int64(row, column)
                                  : (long double)sqlite3_column_double(row, column);
}

static int number_order(sqlite3_stmt *a, int a_type, sqlite3_stmt *b, int b_type, int column)
{
    long double x = 0;
    long double y = 0;

    if (a_type == SQLITE_INTEGER && b_type == SQLITE_INTEGER) {
        sqlite3_int64 i = sqlite3_column_int64(a, column);
        sqlite3_int64 j = sqlite3_column_int64(b, column);

        return (i > j) - (i < j);
    }
    x = number(a, a_type, column);
    y = number(b, b_type, column);
    return (x > y) - (x < y);
}

/* The bytes of a text or a BLOB; asked for in the order that SQLite wants. */
static const void *bytes_of(size_t *out_len, sqlite3_stmt *row, int type, int column)
{
    const void *bytes =
        type == SQLITE_TEXT ? (const void *)sqlite3_column_text(row, column) : sqlite3_column_blob(row, column);

    *out_len = (size_t)sqlite3_column_bytes(row, column);
    return bytes;
}

int bough__value_order(sqlite3_stmt *a, sqlite3_stmt *b, int column, const char *collation)
{
    int a_type = sqlite3_column_type(a, column);
    int b_type = sqlite3_column_type(b, column);
    int rank = rank_of(a_type);
    size_t x_len = 0;
    size_t y_len = 0;
    const void *x = NULL;
    const void *y = NULL;

    if (rank != rank_of(b_type))
        return rank - rank_of(b_type);
    if (rank == 0)
        return 0;
    if (rank == 1)
        return number_order(a, a_type, b, b_type, column);
    x = bytes_of(&x_len, a, a_type, column);
    y = bytes_of(&y_len, b, b_type, column);
    return rank == 2 ? text_order(x, x_len, y, y_len, collation) : bough__bytes_order(x, x_len, y, y_len);
}

bool bough__value_equal(sqlite3_stmt *a, sqlite3_stmt *b, int column)
{
    int type = sqlite3_column_type(a, column);
    size_t x_len = 0;
    size_t y_len = 0;
    const void *x = NULL;
    const void *y = NULL;

    if (type != sqlite3_column_type(b, column))
        return false;
    if (rank_of(type) < 2)
        return type == SQLITE_NULL || number_order(a, type, b, type, column) == 0;
    x = bytes_of(&x_len, a, type, column);
    y = bytes_of(&y_len, b, type, column);
    return x_len == y_len && (!x_len || memcmp(x, y, x_len) == 0);
}
