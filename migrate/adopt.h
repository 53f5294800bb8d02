/* adopt.h - taking over the history that another program keeps in a table of its own: dbmate, goose, golang-migrate,
 * sqlx. That table is only read. */
#ifndef BOUGH_MIGRATE_ADOPT_H
#define BOUGH_MIGRATE_ADOPT_H

#include "migration.h"

/* Stores as applied, without running them, the defined migrations that the other program has applied and the
 * migrator has not. Inside a transaction of the caller's. out->applied lists them; *out_tool is the program's name.
 * BOUGH_NOT_FOUND: none of the tables is there, or a row has no file. BOUGH_REFUSED: a row is marked as half done.
 * BOUGH_USAGE: tables of several programs, and tool (which may be NULL) names none of them. */
int bough__adopt(bough_migration_run *out, const char **out_tool, sqlite3 *db, const char *table,
                 const struct bough__migrations *defined, const char *tool);

#endif
