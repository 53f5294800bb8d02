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

int bough__value_order(sqlite3_stmt *a, sqlite3_stmt *b, int column, const char *collation)
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
    return rank == 2 ? text_order(x, (size_t)sqlite3_column_bytes(a, column), y,
                                  (size_t)sqlite3_column_bytes(b, column), collation)
                     : bough__bytes_order(x, (size_t)sqlite3_column_bytes(a, column), y,
                                          (size_t)sqlite3_column_bytes(b, column));
}

bool bough__value_equal(sqlite3_stmt *a, sqlite3_stmt *b, int column)
{
    return sqlite3_column_type(a, column) == sqlite3_column_type(b, column) &&
           bough__value_order(a, b, column, "BINARY") == 0;
}
