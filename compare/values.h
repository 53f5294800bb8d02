/* values.h - the values of two statements' rows compared, in the order in which SQLite sorts them. */
#ifndef BOUGH_COMPARE_VALUES_H
#define BOUGH_COMPARE_VALUES_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

/* Text under one of SQLite's own collations, by name. 1 and 1.0 are equal. */
int bough__value_order(sqlite3_stmt *a, sqlite3_stmt *b, int column, const char *collation);
/* Same type and same value: 1, 1.0 and '1' are three values, NULL is itself. */
bool bough__value_equal(sqlite3_stmt *a, sqlite3_stmt *b, int column);
int bough__bytes_order(const void *a, size_t a_len, const void *b, size_t b_len);
/* Makes the collation bough_bytes, which is BINARY in UTF-8, whatever the encoding. Returns a result of SQLite. */
int bough__bytes_collation(sqlite3 *handle);

#endif
