/* syntax.h - SQL that is none is found before anything runs. */
#ifndef BOUGH_MIGRATE_SYNTAX_H
#define BOUGH_MIGRATE_SYNTAX_H

#include "plan.h"

/* Parses all SQL of the plan, the first `skip` to roll back left out, against an empty copy of the schema of db, in the
 * order in which it would run. BOUGH_SQL for what is no SQL, with file and line; what only the data can tell is left to
 * the run. */
int bough__syntax_check(const struct bough__plan *plan, size_t skip, sqlite3 *db);

/* Where the statement that begins at `start` ends, for one that SQLite did not get to the end of. */
int bough__statement_end(const char **out, const char *start);

#endif
