/* database.h - a store in the test's directory and SQLite connections on its branches. Everything asserts. */
#ifndef BOUGH_TESTS_DATABASE_H
#define BOUGH_TESTS_DATABASE_H

#include "harness.h"

#include "bough.h"

#include <sqlite3.h>

/* Makes NAME.bough, whose main is an empty database, and registers the VFS (not as the default). What SQLite logs is
 * kept for database_log. */
void database_store(const char *name);
/* "file:DIR/NAME.bough/db/REF?vfs=bough" and more parameters, e.g. "&immutable=1". In one of a few buffers. */
const char *database_uri(const char *store, const char *ref, const char *parameters);
/* "DIR/NAME.bough/db/REF". */
const char *database_path(const char *store, const char *ref);

/* Opens main of the store "s". */
sqlite3 *database_open(void);
/* Opens anything, also what is no branch. */
sqlite3 *database_open_uri(const char *uri);
/* The same with flags; the result code instead of an assertion, *out NULL on failure. */
int database_try_open(sqlite3 **out, const char *uri, int flags);
void database_close(sqlite3 *db);

/* Runs SQL to the end. */
void database_run(sqlite3 *db, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The (extended) result code of running it. */
int database_try(sqlite3 *db, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* First column of the first row; 0 and "" where there is none. The text is one of a few buffers. */
int64_t database_number(sqlite3 *db, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *database_text(sqlite3 *db, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* All rows of a query as one text (malloc'ed). */
char *database_rows(sqlite3 *db, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* PRAGMA integrity_check says ok. */
void database_check(sqlite3 *db);
/* t(a INTEGER PRIMARY KEY, b) with rows 1 to count of `bytes` bytes of hex. */
void database_fill(sqlite3 *db, int count, int bytes);

/* The file behind "main". */
sqlite3_file *database_file(sqlite3 *db);
/* The bytes of main as the file shows them. malloc'ed. */
uint8_t *database_bytes(sqlite3 *db, int64_t *out_size);
/* What SQLite logged since the last call. */
const char *database_log(void);

#define CODE(expected, call) ck_assert_int_eq((call), (expected))

#endif
