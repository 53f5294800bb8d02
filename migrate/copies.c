/* copies.c - bough__copies_by_backup: temporary databases of SQLite's, which vanish when they are closed. */
#include "checks.h"
#include "report.h"

static int copy(void *context, sqlite3 **out, sqlite3 *from)
{
    sqlite3 *source = from ? from : context;
    sqlite3_backup *backup = NULL;
    sqlite3 *db = NULL;
    int code = sqlite3_open_v2("", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);

    if (code == SQLITE_OK) {
        backup = sqlite3_backup_init(db, "main", source, "main");
        code = backup ? sqlite3_backup_step(backup, -1) : sqlite3_errcode(db);
        sqlite3_backup_finish(backup);
    }
    if (code != SQLITE_DONE) {
        int rc = bough__migrate_fail_sqlite(db, code, "cannot copy the database");

        sqlite3_close(db);
        return rc;
    }
    *out = db;
    return BOUGH_OK;
}

static void drop(void *context, sqlite3 *db)
{
    (void)context;
    sqlite3_close(db);
}

struct bough__copies bough__copies_by_backup(sqlite3 *db)
{
    return (struct bough__copies){.context = db, .copy = copy, .drop = drop};
}
