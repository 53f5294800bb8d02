/* errors.h - the engine's codes in SQLite's terms. */
#ifndef BOUGH_VFS_ERRORS_H
#define BOUGH_VFS_ERRORS_H

/* What SQLite asked for when the engine refused; the same failure has another name in each place. */
enum bough__request {
    BOUGH__AT_OPEN,    /* xOpen, xAccess */
    BOUGH__AT_READ,    /* a lock for reading, a page, a size */
    BOUGH__AT_RESERVE, /* the writer's lock */
    BOUGH__AT_WRITE,   /* a page, a truncation */
    BOUGH__AT_COMMIT,  /* SQLite's pager enters its error state for FULL and IOERR alone: nothing else from here */
    BOUGH__REQUESTS
};

/* The result code to give SQLite for an engine code; logs the engine's message (sqlite3_log) where someone would look
 * for the reason. */
int bough__sqlite_code(int code, enum bough__request request);

#endif
