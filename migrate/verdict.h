/* verdict.h - is a database that migrations have changed still whole, and what has it lost? */
#ifndef BOUGH_MIGRATE_VERDICT_H
#define BOUGH_MIGRATE_VERDICT_H

#include "migration.h"

struct bough__verdict {
    char **losses; /* sentences: rows, views, triggers, indexes that are not there any more */
    size_t count;
};

/* Compares `after` with `before`. BOUGH_SQL: integrity_check finds in `after` what it does not find in `before`.
 * BOUGH_REFUSED: strict, and there are fewer rows in a table. The migrator's own tables do not count. */
int bough__verdict_read(struct bough__verdict *out, sqlite3 *before, sqlite3 *after,
                        const bough_migrate_options *options);
void bough__verdict_release(struct bough__verdict *verdict);

#endif
