/* export.c - a state of the store as a plain SQLite file: bough_export.
 *
 * The bytes go into a file without a name (or, where the file system knows none, a hidden one beside the target), are
 * synced, and get the target's name in one step: link(2) where nothing may be there, else rename(2). A target that
 * exists is thus the old file or the new one, whatever happens. If the directory then cannot be synced the name goes
 * back to what it was; for this the old file keeps a second name until then. A process that is killed in between
 * leaves a hidden name, which the next export to that target removes (sweep).
 *
 * Replacing a database. A -journal or -wal that stays beside the new file would be replayed onto it, so the old
 * database is first brought to rest: SQLite opens it in exclusive locking mode (which rolls back a hot journal, and in
 * WAL mode fails while any other connection is open), checkpoints, and keeps EXCLUSIVE. What then lies beside the
 * database holds nothing any more and is removed; then comes the rename; then the lock goes. A crash in between leaves
 * the old database, complete. SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE keeps the closing connection from removing a WAL by
 * name, which by then may be the new database's.
 *
 * Connections that have the database open and idle hold no lock in rollback mode, and SQLite offers no way to see them.
 * Under a rename they would go on with a file that has no name any more, and still use the -journal and -wal of the
 * name, which are then another file's. So when anybody has a descriptor of it, the bytes are written in place instead,
 * behind a journal of our making (overwrite.c).
 */
#include "capture.h"
#include "error.h"
#include "os.h"
#include "overwrite.h"
#include "sqlite_api.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LINKS_MAX 40

struct target {
    char *path; /* absolute; no symlinks in it, nor is it one */
    char *directory;
    char *temporary; /* the file's present name; NULL: it has none */
    bool exists;
    struct stat info; /* of what exists */
    int fd;           /* of the new file */
};

/* ---- where it goes --------------------------------------------------------------------------------------------- */

/* Takes "some/where/name" apart, resolving the directory. */
static int resolve_directory(struct target *target, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char *directory = slash ? bough__format("%.*s", slash == path ? 1 : (int)(slash - path), path) : bough__strdup(".");
    if (!directory)
        return BOUGH_NOMEM;
    free(target->directory);
    free(target->path);
    target->path = NULL;
    target->directory = realpath(directory, NULL);
    int rc = target->directory ? BOUGH_OK : bough__fail_errno("open the directory", directory);
    if (rc == BOUGH_OK && (!name[0] || strcmp(name, ".") == 0 || strcmp(name, "..") == 0))
        rc = bough__fail(BOUGH_REFUSED, "%s is a directory", path);
    if (rc == BOUGH_OK) {
        target->path = bough__format("%s/%s", strcmp(target->directory, "/") == 0 ? "" : target->directory, name);
        rc = target->path ? BOUGH_OK : BOUGH_NOMEM;
    }
    free(directory);
    return rc;
}

static int follow_link(struct target *target)
{
    char link[PATH_MAX];
    ssize_t len = readlink(target->path, link, sizeof link - 1);
    if (len < 0)
        return bough__fail_errno("read the link", target->path);
    link[len] = 0;
    char *next = link[0] == '/' ? bough__strdup(link) : bough__format("%s/%s", target->directory, link);
    int rc = next ? resolve_directory(target, next) : BOUGH_NOMEM;
    free(next);
    return rc;
}

static int find_target(struct target *target, const char *file, const bough_store *store, bool force)
{
    const char *home = store->space->directory;
    size_t home_len = strlen(home);
    int rc = resolve_directory(target, file);
    for (int links = 0; rc == BOUGH_OK; links++) {
        target->exists = bough__os.lstat(target->path, &target->info) == 0;
        if (!target->exists && errno != ENOENT)
            rc = bough__fail_errno("examine", target->path);
        if (rc != BOUGH_OK || !target->exists || !S_ISLNK(target->info.st_mode))
            break;
        rc = links < LINKS_MAX ? follow_link(target) : bough__fail(BOUGH_IO, "%s: too many symlinks", file);
    }
    if (rc != BOUGH_OK)
        return rc;
    if (strncmp(target->path, home, home_len) == 0 && (target->path[home_len] == '/' || !target->path[home_len]))
        return bough__fail(BOUGH_REFUSED, "%s lies in the store", target->path);
    if (target->exists && !S_ISREG(target->info.st_mode))
        return bough__fail(BOUGH_REFUSED, "%s is %s", target->path,
                           S_ISDIR(target->info.st_mode) ? "a directory" : "no regular file");
    if (target->exists && !force)
        return bough__fail(BOUGH_REFUSED, "%s exists already", target->path);
    return BOUGH_OK;
}

/* ---- the new file ---------------------------------------------------------------------------------------------- */

static char *temporary_name(const struct target *target)
{
    uint32_t random = 0;
    if (bough__os_random(&random, sizeof random) != BOUGH_OK)
        return NULL;
    return bough__format("%s/.%s.tmp-%ld-%08x", strcmp(target->directory, "/") == 0 ? "" : target->directory,
                         strrchr(target->path, '/') + 1, (long)getpid(), random);
}

static int open_new(struct target *target, mode_t mode)
{
    /* A file without a name is gone when its maker is killed. Where it cannot be had, a hidden one, and what is really
     * wrong (permission, a full disk) comes up again. */
    int rc = bough__os_open(&target->fd, target->directory, O_TMPFILE | O_RDWR, mode);
    if (rc != BOUGH_OK) {
        char *name = temporary_name(target);
        rc = name ? bough__os_open(&target->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode) : BOUGH_NOMEM;
        if (rc == BOUGH_OK)
            target->temporary = name;
        else
            free(name);
    }
    if (rc == BOUGH_OK)
        (void)flock(target->fd, LOCK_EX | LOCK_NB); /* its maker lives, see sweep */
    return rc;
}

/* Removes the hidden names that killed exports to this target left. An old file's second name has no lock of its maker;
 * so this is called where no other export can be replacing the target: under the old database's lock, or where there is
 * no old file. */
static void sweep(const struct target *target)
{
    char *prefix = bough__format(".%s.tmp-", strrchr(target->path, '/') + 1);
    DIR *directory = prefix ? opendir(target->directory) : NULL;
    struct dirent *entry = NULL;
    while (directory && (entry = readdir(directory))) {
        int fd = -1;
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        char *path = bough__format("%s/%s", target->directory, entry->d_name);
        if (path && !(target->temporary && strcmp(path, target->temporary) == 0) &&
            bough__os_open(&fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0) == BOUGH_OK &&
            flock(fd, LOCK_EX | LOCK_NB) == 0)
            bough__os.unlink(path);
        bough__close_or_park(&fd);
        free(path);
    }
    if (directory)
        closedir(directory);
    free(prefix);
}

static int write_new(void *context, uint64_t offset, const void *bytes, size_t len_bytes)
{
    struct target *target = context;
    return bough__os_write(target->fd, bytes, len_bytes, offset, target->path);
}

/* What replaces a file belongs to whom it belonged, where we may say so. */
static int finish_new(struct target *target, uint64_t size_bytes)
{
    if (bough__os.ftruncate(target->fd, (off_t)size_bytes) != 0)
        return bough__fail_errno("resize", target->path);
    if (target->exists) {
        if (fchown(target->fd, target->info.st_uid, target->info.st_gid) != 0 && errno != EPERM)
            return bough__fail_errno("set the owner of", target->path);
        if (fchmod(target->fd, target->info.st_mode & 07777) != 0)
            return bough__fail_errno("set the mode of", target->path);
    }
    if (bough__os.fsync(target->fd) != 0)
        return bough__fail_errno("sync", target->path);
    return BOUGH_OK;
}

static int link_new(const struct target *target, const char *name)
{
    char source[64];
    int failed = 0;
    if (target->temporary) {
        failed = bough__os.link(target->temporary, name);
    } else {
        snprintf(source, sizeof source, "/proc/self/fd/%d", target->fd);
        failed = linkat(AT_FDCWD, source, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
    }
    if (!failed)
        return BOUGH_OK;
    if (errno == EEXIST)
        return bough__fail(BOUGH_REFUSED, "%s exists already", name);
    return bough__fail_errno("make", name);
}

/* ---- the old database ------------------------------------------------------------------------------------------ */

static int code_of(int sqlite_code)
{
    switch (sqlite_code & 0xff) {
    case SQLITE_OK:
        return BOUGH_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return BOUGH_BUSY;
    case SQLITE_NOMEM:
        return BOUGH_NOMEM;
    case SQLITE_FULL:
        return BOUGH_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return BOUGH_CORRUPT;
    default:
        return BOUGH_IO;
    }
}

static int checkpoint_row(void *context, int count, char **values, char **names)
{
    (void)names;
    if (count > 0 && values[0] && strcmp(values[0], "0") != 0)
        *(bool *)context = true;
    return 0;
}

/* Locks the old database and empties what lies beside it. *out is NULL when it is no database. In exclusive locking
 * mode the lock outlives the transaction that took it. */
static int bring_to_rest(sqlite3 **out, const struct target *target, uint32_t timeout_ms)
{
    const char *path = target->path;
    sqlite3 *db = NULL;
    bool is_busy = false;
    *out = NULL;
    errno = 0;
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_PRIVATECACHE, "unix");
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(db, (int)timeout_ms);
        rc = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    }
    /* The first write transaction on an empty file makes a page, and for it a journal. Neither may come to disk. */
    if (rc == SQLITE_OK && target->info.st_size == 0)
        rc = sqlite3_exec(db, "PRAGMA journal_mode=MEMORY", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; ROLLBACK", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", checkpoint_row, &is_busy, NULL);
    if (rc == SQLITE_OK && is_busy)
        rc = SQLITE_BUSY;
    int result = code_of(rc);
    if (result == BOUGH_CORRUPT && errno == EIO)
        result = BOUGH_IO; /* SQLite calls a file damaged that cannot be read */
    if (result == BOUGH_BUSY)
        bough__fail(BOUGH_BUSY, "%s is in use", path);
    else if (result != BOUGH_OK)
        bough__fail(result, "cannot lock %s: %s", path, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    if (result != BOUGH_OK) {
        sqlite3_close(db);
        db = NULL;
    }
    *out = db;
    return result == BOUGH_CORRUPT ? BOUGH_OK : result; /* foreign or damaged bytes: --force is about those, too */
}

static int remove_beside(const char *path, const char *suffix)
{
    char *name = bough__format("%s%s", path, suffix);
    int rc = name ? BOUGH_OK : BOUGH_NOMEM;
    if (name && bough__os.unlink(name) != 0 && errno != ENOENT)
        rc = bough__fail_errno("remove", name);
    free(name);
    return rc;
}

/* Whether someone else has the file open, if only idly: the kernel gives a write lease to the only descriptor of a
 * file. Where it gives none the answer is yes, which is always safe. */
static int has_openers(bool *out, const struct target *target)
{
    int fd = -1;
    int rc = bough__os_open(&fd, target->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);
    *out = true;
    /* The kernel's own, passing references to a file count, too. */
    for (int tries = 0; rc == BOUGH_OK && *out && tries < 5; tries++) {
        *out = fcntl(fd, F_SETLEASE, F_WRLCK) != 0;
        if (*out)
            usleep(1000);
        else
            (void)fcntl(fd, F_SETLEASE, F_UNLCK);
    }
    bough__close_or_park(&fd);
    return rc;
}

static int name_new(struct target *target)
{
    if (target->temporary)
        return BOUGH_OK;
    char *name = temporary_name(target);
    int rc = name ? link_new(target, name) : BOUGH_NOMEM;
    if (rc == BOUGH_OK)
        target->temporary = name;
    else
        free(name);
    return rc;
}

static void remove_temporary(struct target *target)
{
    if (target->temporary)
        bough__os.unlink(target->temporary);
    free(target->temporary);
    target->temporary = NULL;
}

/* The old file keeps a second name until the new one is safe. Where the file system gives it none, a sync of the
 * directory that fails cannot be taken back. */
static int rename_new(struct target *target)
{
    int rc = BOUGH_OK;
    char *old = temporary_name(target);
    if (!old)
        return BOUGH_NOMEM;
    bool is_kept = bough__os.link(target->path, old) == 0;
    if (bough__os.rename(target->temporary, target->path) == 0) {
        free(target->temporary);
        target->temporary = NULL;
        rc = bough__os_sync_directory(target->directory);
        if (rc != BOUGH_OK && is_kept)
            is_kept = bough__os.rename(old, target->path) != 0;
    } else {
        rc = bough__fail_errno("replace", target->path);
    }
    if (is_kept)
        bough__os.unlink(old);
    free(old);
    return rc;
}

/* Opening the database rolls back what an overwriting that failed half-way has left. */
static void roll_back(const char *path)
{
    sqlite3 *db = NULL;
    struct bough__error_state error;
    bough__error_save(&error);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, "unix") == SQLITE_OK)
        (void)sqlite3_exec(db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
    sqlite3_close(db);
    bough__error_restore(&error);
}

static int replace_database(struct target *target, uint64_t size_bytes, uint32_t timeout_ms)
{
    static const char *const beside[] = {"-wal", "-shm", "-journal"};
    sqlite3 *db = NULL;
    bool is_shared = false;
    int rc = has_openers(&is_shared, target);
    if (rc == BOUGH_OK)
        rc = bring_to_rest(&db, target, timeout_ms);
    for (size_t i = 0; rc == BOUGH_OK && i < sizeof beside / sizeof *beside; i++)
        rc = remove_beside(target->path, beside[i]);
    if (rc == BOUGH_OK && db)
        sweep(target);
    if (rc == BOUGH_OK)
        rc = name_new(target);
    bool in_place = rc == BOUGH_OK && is_shared && db != NULL;
    if (in_place) {
        struct bough__replacement replacement = {target->fd, target->temporary, size_bytes};
        rc = bough__overwrite_check(db, target->path, &replacement);
        remove_temporary(target); /* a process that is killed while it writes leaves no file behind */
        replacement.path = NULL;
        if (rc == BOUGH_OK)
            rc = bough__overwrite(db, target->path, &replacement);
    } else if (rc == BOUGH_OK) {
        rc = rename_new(target);
    }
    sqlite3_close(db);
    if (in_place && rc != BOUGH_OK)
        roll_back(target->path);
    return rc;
}

/* What lies beside a name that nobody has would be taken for the new database's. */
static int clear_beside(const struct target *target, const char *suffix, bool force)
{
    struct stat info;
    char *name = bough__format("%s%s", target->path, suffix);
    if (!name)
        return BOUGH_NOMEM;
    int rc = BOUGH_OK;
    if (bough__os.lstat(name, &info) == 0 && info.st_size > 0)
        rc = force ? remove_beside(target->path, suffix)
                   : bough__fail(BOUGH_REFUSED, "%s exists already and would be replayed onto the new file", name);
    free(name);
    return rc;
}

static int place_new(struct target *target, bool force)
{
    int rc = clear_beside(target, "-wal", force);
    if (rc == BOUGH_OK)
        rc = clear_beside(target, "-journal", force);
    if (rc == BOUGH_OK) {
        sweep(target);
        rc = link_new(target, target->path);
    }
    if (rc == BOUGH_OK) {
        remove_temporary(target);
        rc = bough__os_sync_directory(target->directory);
        if (rc != BOUGH_OK)
            bough__os.unlink(target->path);
    }
    return rc;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static void release_target(struct target *target)
{
    struct bough__error_state error;
    bough__error_save(&error);
    remove_temporary(target);
    bough__os_close(&target->fd);
    free(target->directory);
    free(target->path);
    bough__error_restore(&error);
}

int bough_export(bough_transfer *out, bough_store *store, const char *ref, const char *file,
                 const bough_options *options)
{
    struct target target = {.fd = -1};
    bough_options used;
    bough__options_read(&used, options);
    memset(out, 0, sizeof *out);
    int rc = find_target(&target, file, store, used.force);
    if (rc == BOUGH_OK)
        rc = open_new(&target, store->space->mode);
    if (rc == BOUGH_OK)
        rc = bough__store_stream(out, store, ref, write_new, &target, &used);
    if (rc == BOUGH_OK)
        rc = finish_new(&target, out->size_bytes);
    if (rc == BOUGH_OK)
        rc = target.exists ? replace_database(&target, out->size_bytes, used.timeout_ms)
                           : place_new(&target, used.force);
    if (rc == BOUGH_OK) {
        out->path = target.path;
        target.path = NULL;
        out->changed = true;
    } else {
        bough_transfer_release(out);
    }
    release_target(&target);
    return rc;
}
