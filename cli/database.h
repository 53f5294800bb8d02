/* database.h - a state of a store opened with SQLite. */
#ifndef BOUGH_CLI_DATABASE_H
#define BOUGH_CLI_DATABASE_H

#include "cli.h"

#include <sqlite3.h>

struct database {
    sqlite3 *handle;
    char *ref;
    bool is_branch;
};

/* How this program uses SQLite: it listens to the log, where the VFS says what happened. Before the first call of
 * SQLite. */
void database_prepare(void);
/* Opens what REF names through the VFS "bough": a branch for writing if `writable`, everything else read-only. */
int database_open(struct cli *cli, struct database *out, const char *ref, bool writable);
void database_close(struct database *database);
/* The BOUGH_ code for a result of SQLite, with SQLite's message after `where` ("" for none). */
int database_fail(struct cli *cli, struct database *database, int sqlite_code, const char *where);

#endif
