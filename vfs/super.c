/* super.c - super-journals as lists of branches; see super.h.
 *
 * The whole life of a super-journal lies within one COMMIT [vdbeCommit]: it is opened, written, its name is given to
 * the databases one after the other, it is closed and deleted. So it is the thread's own, and nothing has to be locked
 * or given back: one that was left behind by a failure is replaced by the next. No crash finds one.
 *
 * 1. Every name that is written has to be a branch's of the same store. Another database is refused here, when nothing
 *    has been changed yet: a super-journal that cannot be found after a crash would make its own journal count as
 *    committed; and a decision cannot stand in two stores.
 * 2. A deletion with the wish to sync the directory is a commit; SQLite deletes without it when it rolls back, or when
 *    the super-journal could not be written.
 * 3. Branches are prepared, decided and published in the deletion, when all are known. What SQLite does to them
 *    afterwards, cutting off a shrunk database, is a small transaction of its own: SQLite goes by the header.
 * 4. Rolling back, SQLite would look for the super-journal that the branch's journal names. It names none (journal.c).
 */
#include "super.h"

#include <stdlib.h>
#include <string.h>

#define PATH_ROOM 512 /* SQLite's own limit on Unix */
#define MEMBERS_MAX 128 /* SQLite attaches 125 databases at most */
#define JOURNAL_SUFFIX "-journal"

static _Thread_local struct {
    bool is_live;
    char path[PATH_ROOM];
    size_t store_bytes; /* of the path */
    struct bough__file *members[MEMBERS_MAX];
    size_t count;
} super;

bool bough__super_is_name(const char *name)
{
    size_t len = strlen(name);
    return len > 12 && memcmp(name + len - 12, "-mj", 3) == 0 &&
           strspn(name + len - 9, "0123456789ABCDEFabcdef") == 9;
}

bool bough__super_exists(const char *path)
{
    return super.is_live && strcmp(super.path, path) == 0;
}

static int refuse(const char *why, const char *what)
{
    sqlite3_log(SQLITE_IOERR, "bough: a transaction cannot write to %s at once (%s)", why, what);
    return SQLITE_IOERR;
}

/* ---- sqlite3_io_methods ---------------------------------------------------------------------------------------- */

/* The name of one journal, with its zero byte. */
static int super_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 offset)
{
    const char *name = bytes;
    struct bough__branch_path parts;
    (void)file, (void)offset;
    if (len < 1 || name[len - 1] != 0 || !bough__branch_path_parse(&parts, name))
        return refuse("branches and to another database", len < 1 ? "" : name);
    if (parts.store_bytes != super.store_bytes || memcmp(name, super.path, super.store_bytes) != 0)
        return refuse("branches of two stores", name);
    return SQLITE_OK;
}

static int super_read(sqlite3_file *file, void *out, int len, sqlite3_int64 offset)
{
    (void)file, (void)offset;
    memset(out, 0, (size_t)len);
    return SQLITE_IOERR_SHORT_READ;
}

static int super_close(sqlite3_file *file)
{
    file->pMethods = NULL;
    return SQLITE_OK;
}

static int super_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    (void)file, (void)size;
    return SQLITE_OK;
}

static int super_number(sqlite3_file *file, int number)
{
    (void)file, (void)number;
    return SQLITE_OK;
}

static int super_size(sqlite3_file *file, sqlite3_int64 *out)
{
    (void)file;
    *out = 0;
    return SQLITE_OK;
}

static int super_check_reserved(sqlite3_file *file, int *out)
{
    (void)file;
    *out = 0;
    return SQLITE_OK;
}

static int super_control(sqlite3_file *file, int operation, void *argument)
{
    (void)file, (void)operation, (void)argument;
    return SQLITE_NOTFOUND;
}

static int super_sector_size(sqlite3_file *file)
{
    (void)file;
    return 4096;
}

static int super_characteristics(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_SEQUENTIAL;
}

static const sqlite3_io_methods super_methods = {
    .iVersion = 1,
    .xClose = super_close,
    .xRead = super_read,
    .xWrite = super_write,
    .xTruncate = super_truncate,
    .xSync = super_number,
    .xFileSize = super_size,
    .xLock = super_number,
    .xUnlock = super_number,
    .xCheckReservedLock = super_check_reserved,
    .xFileControl = super_control,
    .xSectorSize = super_sector_size,
    .xDeviceCharacteristics = super_characteristics,
};

/* ---- its life -------------------------------------------------------------------------------------------------- */

int bough__super_handle_bytes(void)
{
    return (int)sizeof(sqlite3_file);
}

int bough__super_open(sqlite3_file *out, const char *path, const struct bough__branch_path *parts, int flags)
{
    size_t len = strlen(path);
    if (!(flags & SQLITE_OPEN_CREATE) || len >= sizeof(super.path))
        return SQLITE_CANTOPEN;
    memcpy(super.path, path, len + 1);
    super.store_bytes = parts->store_bytes;
    super.count = 0;
    super.is_live = true;
    out->pMethods = &super_methods;
    return SQLITE_OK;
}

int bough__super_join(const char *path, struct bough__file *file)
{
    if (!bough__super_exists(path))
        return refuse("a branch and to another database", path);
    if (super.count > 0 && super.members[0]->space != file->space)
        return refuse("branches of two stores", path);
    if (super.count == MEMBERS_MAX)
        return refuse("so many branches", path);
    super.members[super.count++] = file;
    return SQLITE_OK;
}

int bough__super_delete(const char *path, bool is_commit)
{
    if (!bough__super_exists(path))
        return SQLITE_OK;
    super.is_live = false;
    return is_commit ? bough__file_commit_all(super.members, super.count) : SQLITE_OK;
}
