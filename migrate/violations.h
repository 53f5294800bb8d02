/* violations.h - rows whose foreign keys refer to nothing. Only those count that were not there before a run. */
#ifndef BOUGH_MIGRATE_VIOLATIONS_H
#define BOUGH_MIGRATE_VIOLATIONS_H

#include "migration.h"

struct bough__violations {
    char **items; /* "TABLE row ROWID refers to no row of PARENT", sorted */
    size_t count, capacity;
};
int bough__violations_read(struct bough__violations *out, sqlite3 *db);
/* BOUGH_SQL when db has violations that are not in `before`: they go to the log one by one, and the message has the
 * first of them. */
int bough__violations_check(const struct bough__violations *before, sqlite3 *db, const bough_migrate_options *options);
void bough__violations_release(struct bough__violations *violations);

#endif
