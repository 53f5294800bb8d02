/* run_sql.h - running the statements of a text one after another, with a guard over what they may do. */
#ifndef BOUGH_MIGRATE_RUN_SQL_H
#define BOUGH_MIGRATE_RUN_SQL_H

#include "migration.h"

/* What SQLite's authorizer refuses: ATTACH and DETACH; BEGIN, COMMIT and ROLLBACK in the migrator's transaction. */
struct bough__guard {
    bool has_transaction;
    bool is_stepping;    /* a statement runs: VACUUM, which attaches a temporary database, may */
    const char *refused; /* what was, or NULL */
    /* A text that is to run outside of transactions is tried inside of one: what none allows is passed over. */
    bool is_trial;
    bool is_elsewhere; /* and on another connection than it will: so are functions and modules that this one lacks */
};
void bough__guard_set(struct bough__guard *guard, sqlite3 *db);
void bough__guard_remove(sqlite3 *db);

/* Runs all statements; rows are passed over. BOUGH_SQL with origin, line, message and statement of the one that fails;
 * those before it have run. */
int bough__run_sql(sqlite3 *db, struct bough__guard *guard, const struct bough__sql_text *text);
/* Runs the one query that the text must be; *out are its rows, one after the other, allocated with sqlite3_malloc. */
int bough__run_query(char **out, sqlite3 *db, struct bough__guard *guard, const struct bough__sql_text *text);

#endif
