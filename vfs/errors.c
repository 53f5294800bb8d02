/* errors.c - the one table from engine codes to SQLite's result codes. */
#include "errors.h"

#include "bough.h"
#include "sqlite_api.h"

static const struct row {
    int code;
    int result[BOUGH__REQUESTS]; /* open, read, reserve, write, commit */
    int is_logged;
} table[] = {
    {BOUGH_NOT_FOUND,
     {SQLITE_CANTOPEN, SQLITE_IOERR_READ, SQLITE_IOERR_LOCK, SQLITE_IOERR_WRITE, SQLITE_IOERR_WRITE},
     1},
    {BOUGH_USAGE,
     {SQLITE_CANTOPEN, SQLITE_IOERR_READ, SQLITE_IOERR_LOCK, SQLITE_IOERR_WRITE, SQLITE_IOERR_WRITE},
     1},
    {BOUGH_REFUSED,
     {SQLITE_CANTOPEN, SQLITE_IOERR_READ, SQLITE_READONLY, SQLITE_IOERR_WRITE, SQLITE_IOERR_WRITE},
     1},
    {BOUGH_BUSY, {SQLITE_BUSY, SQLITE_BUSY, SQLITE_BUSY, SQLITE_IOERR_WRITE, SQLITE_IOERR_WRITE}, 0},
    {BOUGH_STALE,
     {SQLITE_BUSY, SQLITE_IOERR_READ, SQLITE_BUSY_SNAPSHOT, SQLITE_IOERR_WRITE, SQLITE_IOERR_WRITE},
     0},
    {BOUGH_CORRUPT,
     {SQLITE_CORRUPT, SQLITE_CORRUPT, SQLITE_CORRUPT, SQLITE_CORRUPT, SQLITE_IOERR_WRITE},
     1},
    {BOUGH_IO,
     {SQLITE_IOERR, SQLITE_IOERR_READ, SQLITE_IOERR_LOCK, SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC},
     1},
    {BOUGH_FULL, {SQLITE_FULL, SQLITE_FULL, SQLITE_FULL, SQLITE_FULL, SQLITE_FULL}, 1},
    {BOUGH_NOMEM,
     {SQLITE_NOMEM, SQLITE_IOERR_NOMEM, SQLITE_IOERR_NOMEM, SQLITE_IOERR_NOMEM, SQLITE_IOERR_NOMEM},
     0},
    {BOUGH_INTERRUPTED,
     {SQLITE_INTERRUPT, SQLITE_INTERRUPT, SQLITE_INTERRUPT, SQLITE_IOERR_WRITE, SQLITE_IOERR_WRITE},
     0},
    {BOUGH_GONE,
     {SQLITE_CANTOPEN, SQLITE_IOERR, SQLITE_READONLY_DBMOVED, SQLITE_READONLY_DBMOVED, SQLITE_IOERR_WRITE},
     1},
};
static const struct row other = {
    0, {SQLITE_ERROR, SQLITE_IOERR, SQLITE_IOERR, SQLITE_IOERR_WRITE, SQLITE_IOERR_WRITE}, 1};

int bough__sqlite_code(int code, enum bough__request request)
{
    const struct row *row = &other;
    if (code == BOUGH_OK)
        return SQLITE_OK;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].code == code)
            row = &table[i];
    }
    int result = row->result[request];
    if (row->is_logged)
        sqlite3_log(result, "bough: %s", bough_error_message());
    return result;
}
