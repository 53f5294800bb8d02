/* workload.h - many small tests of SQL, one after the other on one database: inserts, searches, joins, sorting, text,
 * triggers, full-text and spatial indexes. The rows that come back are hashed, so that two databases that ran it can be
 * compared; the benchmark times it. */
#ifndef BOUGH_TESTS_WORKLOAD_H
#define BOUGH_TESTS_WORKLOAD_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

/* Called after each step with its name, the hash so far and the rows that it gave. May be NULL. */
typedef void workload_step_callback(void *context, const char *name, uint64_t hash, uint64_t row_count);

/* Runs on an empty database; the rows of its tables and the number of statements grow with scale. *out_hash covers
 * every value of every row. Returns SQLITE_OK, or a code whose message sqlite3_errmsg(db) has. Uses no random number
 * and no time. */
int workload_run(uint64_t *out_hash, sqlite3 *db, unsigned scale, workload_step_callback *callback, void *context);

#endif
