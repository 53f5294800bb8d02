/* overwrite.h - new bytes for a database file that other processes have open. */
#ifndef BOUGH_VFS_OVERWRITE_H
#define BOUGH_VFS_OVERWRITE_H

#include "sqlite_api.h"

#include <stdint.h>

/* What to write: a file open at fd; for the check it has a name, so that SQLite can look into it. */
struct bough__replacement {
    int fd;
    const char *path;
    uint64_t size_bytes;
};

/* BOUGH_BUSY: connections that have the database open could take the new state for the one they know. db as below. */
int bough__overwrite_check(sqlite3 *db, const char *path, const struct bough__replacement *replacement);

/* Writes the replacement into the database of db, which holds EXCLUSIVE on it and has no journal or WAL beside it.
 * After a crash the next opener finds the old database or the new one. On an error the journal may be left: it is hot
 * as soon as db is closed, and whoever opens the database next rolls it back. */
int bough__overwrite(sqlite3 *db, const char *path, const struct bough__replacement *replacement);

#endif
