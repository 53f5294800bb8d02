/* violations.h - rows whose foreign keys refer to nothing. Only those count that were not there before a run. */
#ifndef BOUGH_MIGRATE_VIOLATIONS_H
#define BOUGH_MIGRATE_VIOLATIONS_H

#include "migration.h"

struct bough__violations {
    char **items; /* "TABLE row ROWID refers to no row of PARENT", sorted */
    size_t count, capacity;
};
int bough__violations_read(struct bough__violations *out, sqlite3 *db);
void bough__violations_release(struct bough__violations *violations);

/* The steps of a run, each of them one migration: who is asked when there are violations, and not before. */
struct bough__steps {
    void *context;
    size_t count;
    const char *(*origin)(void *context, size_t step); /* of the SQL that ran */
    /* What was violated before the step; called from the last step on, down to the second. */
    int (*before)(void *context, size_t step, struct bough__violations *out);
};

/* Those in db that are not in `before`, in the order of the steps that brought them, each behind the origin of that
 * step: "ORIGIN: TABLE row ...". */
int bough__violations_find(struct bough__violations *out, const struct bough__violations *before, sqlite3 *db,
                           const struct bough__steps *steps);
/* BOUGH_SQL when there are any: they go to the log one by one, and the message has the first of them. */
int bough__violations_check(const struct bough__violations *before, sqlite3 *db, const struct bough__steps *steps,
                            const bough_migrate_options *options);

/* Steps for a single migration, whose SQL comes from `origin`. */
struct bough__steps bough__steps_of_one(const char *origin);

#endif
