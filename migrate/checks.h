/* checks.h - are the pending migrations right? Each goes up, down and up again, on copies; after the down, schema and
 * rows must be those from before. */
#ifndef BOUGH_MIGRATE_CHECKS_H
#define BOUGH_MIGRATE_CHECKS_H

#include "migration.h"

/* Where copies come from. A copy of a copy starts with what that one holds now. */
struct bough__copies {
    void *context;
    /* A connection to a new copy of what `from` is connected to, writable, in autocommit; from NULL: of the database
     * that is checked. It need not survive anything. */
    int (*copy)(void *context, sqlite3 **out, sqlite3 *from);
    /* Closes the connection and drops the copy. */
    void (*drop)(void *context, sqlite3 *db);
};

/* Copies of the database of db in temporary files, made with SQLite's backup interface. */
struct bough__copies bough__copies_by_backup(sqlite3 *db);

struct bough__check_failure {
    char *version, *name;
    const char *step; /* "up", "down", "up_again" */
    char *message;
};
struct bough__check_result {
    struct bough__check_failure *items;
    size_t count;
    size_t checked; /* migrations that were tried; a failed up ends the check, since later ones build on it */
};
/* options: table, late. Failures of migrations are results; another code than BOUGH_OK: no check was possible. */
int bough__check(struct bough__check_result *out, const struct bough__copies *copies,
                 const struct bough__migrations *defined, const bough_migrate_options *options);
void bough__check_result_release(struct bough__check_result *result);

#endif
