/* dump.h - the schema as text for a file under version control. */
#ifndef BOUGH_MIGRATE_DUMP_H
#define BOUGH_MIGRATE_DUMP_H

#include "migration.h"

/* One object after another: tables, indexes, views, triggers, each sorted by name; without the migrator's tables, what
 * SQLite makes by itself, and shadow tables. Calls `print` for each; a result other than BOUGH_OK ends the walk. */
typedef int bough__dump_print(void *context, const char *type, const char *name, const char *sql);
int bough__dump(sqlite3 *db, const char *table, bough__dump_print *print, void *context);

#endif
