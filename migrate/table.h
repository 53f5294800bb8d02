/* table.h - what is applied, as the database stores it.
 *
 * Two tables. The first, `migrations` unless the user names it otherwise, has the six columns of
 * db_migrations_with_multiverse_time_travel, so that either program can go on where the other stopped. The second, with
 * "bough_" in front of the name, has what only bough keeps: the version as written, the order of application, flags,
 * checksums. A row of the second counts only while defined_at and applied_at agree with the first; a row of the first
 * alone is a migration that was taken over. */
#ifndef BOUGH_MIGRATE_TABLE_H
#define BOUGH_MIGRATE_TABLE_H

#include "migration.h"

#define BOUGH__MIGRATIONS_TABLE "migrations"

/* What is applied, in ascending order of defined_at_ms; nothing when there is no table. table NULL: the default name.
 * down.sql is NULL where there was none. BOUGH_REFUSED: a table of that name and of another shape. */
int bough__applied_read(struct bough__migrations *out, sqlite3 *db, const char *table);

/* The following write, inside a transaction of the caller's or each for itself. */

/* Stores it as applied, as the last one, with the SQL that was run (down NULL: none; of a deferred migration it is not
 * what migration->up and down say); makes the tables when they are not there. */
int bough__applied_store(sqlite3 *db, const char *table, const struct bough__migration *migration, const char *up,
                         const char *down, int64_t applied_at_ms);
/* The tables alone. BOUGH_REFUSED: one of another shape is there. */
int bough__applied_make_tables(sqlite3 *db, const char *table);
/* BOUGH_REFUSED: the row is not there any more. */
int bough__applied_forget(sqlite3 *db, const char *table, const struct bough__migration *applied);
/* The stored migration takes up, down, checksums, flags and description of `defined`; its time and order stay. */
int bough__applied_replace(sqlite3 *db, const char *table, const struct bough__migration *applied,
                           const struct bough__migration *defined);
/* Which of the two tables are there and ours? One of another shape is another program's. */
int bough__applied_find_own(bool *out_main, bool *out_own, sqlite3 *db, const char *table);
/* Does one of the migrator's two tables have that name? */
bool bough__applied_is_own(const char *table, const char *name);

#endif
