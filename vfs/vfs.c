/* vfs.c - the VFS "bough": a branch of a store is a database file for SQLite.
 *
 * Using. `file:/srv/shop.bough/db/premium?vfs=bough` opens the branch `premium`; with the VFS as the default one, so
 * does the plain path. The path runs through the regular file `db` of the store: a program without the VFS fails to
 * open it, and no file can ever come into being there. `premium~2`, a tag or a commit id in the place of the name, or
 * the parameter `at=REF`, opens a past state, read-only.
 *
 * Paths. A path is a branch's when some part of it named `db` is a regular file. The system's VFS could not open such
 * a path anyway, so nothing is taken away from it; whether the file belongs to a store is for the engine to say.
 * SQLite asks for `-journal` and `-wal` in every transaction, so the stores that are open are known by name and cost
 * no system call. xFullPathname resolves symlinks in the directory part and leaves the branch's name alone, since the
 * system's own gives SQLITE_CANTOPEN for a path through a file.
 *
 * Everything that is no branch (ordinary databases and their journals, temporary files) goes to the VFS that was the
 * default when this one was registered, on the same sqlite3_file: szOsFile is the larger of both.
 */
#include "vfs.h"
#include "wait.h"

#include "error.h"
#include "os.h"
#include "process.h"
#include "super.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NAME "bough"
#define PATH_MAX_BYTES 512     /* SQLite's own limit on Unix */
#define SUPER_JOURNAL_SUFFIX 13 /* "-mj" and 9 hex digits, and one to spare */

static sqlite3_vfs *system_vfs;

sqlite3_vfs *bough__vfs_system(void)
{
    return system_vfs;
}

/* ---- branch paths ---------------------------------------------------------------------------------------------- */

static pthread_mutex_t known_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct known {
    struct known *next;
    unsigned references;
    size_t len_bytes;
    char path[]; /* up to and with "/db" */
} *known;

static struct known **find_known(const char *path, size_t len_bytes)
{
    struct known **at = &known;
    while (*at && ((*at)->len_bytes != len_bytes || memcmp((*at)->path, path, len_bytes) != 0))
        at = &(*at)->next;
    return at;
}

int bough__branch_path_remember(const char *path, size_t file_bytes)
{
    int rc = BOUGH_OK;
    pthread_mutex_lock(&known_mutex);
    struct known **at = find_known(path, file_bytes);
    if (!*at) {
        *at = bough__alloc(sizeof(**at) + file_bytes + 1);
        if (*at) {
            (*at)->len_bytes = file_bytes;
            memcpy((*at)->path, path, file_bytes);
        } else {
            rc = BOUGH_NOMEM;
        }
    }
    if (*at)
        (*at)->references++;
    pthread_mutex_unlock(&known_mutex);
    return rc;
}

void bough__branch_path_forget(const char *path, size_t file_bytes)
{
    pthread_mutex_lock(&known_mutex);
    struct known **at = find_known(path, file_bytes);
    struct known *gone = *at;
    if (gone && --gone->references == 0)
        *at = gone->next;
    else
        gone = NULL;
    pthread_mutex_unlock(&known_mutex);
    free(gone);
}

static bool is_known(const char *path, size_t len_bytes)
{
    pthread_mutex_lock(&known_mutex);
    bool found = *find_known(path, len_bytes) != NULL;
    pthread_mutex_unlock(&known_mutex);
    return found;
}

static bool is_regular_file(const char *path, size_t len_bytes)
{
    char copy[PATH_MAX];
    struct stat st;
    if (len_bytes >= sizeof(copy))
        return false;
    memcpy(copy, path, len_bytes);
    copy[len_bytes] = 0;
    return bough__os.lstat(copy, &st) == 0 && S_ISREG(st.st_mode);
}

/* Every read transaction asks, for the journal that a branch has not; so it goes from slash to slash, which is several
 * times as fast as strstr. */
bool bough__branch_path_parse(struct bough__branch_path *out, const char *path)
{
    static const char middle[] = BOUGH__STORE_FILE "/";
    for (const char *part = path, *slash = NULL; (slash = strchr(part, '/')) != NULL; part = slash + 1) {
        if (slash - part != sizeof middle - 2 || memcmp(part, middle, sizeof middle - 1) != 0)
            continue;
        size_t file_bytes = (size_t)(slash - path);
        if (!is_known(path, file_bytes) && !is_regular_file(path, file_bytes))
            continue;
        out->store_bytes = part > path ? (size_t)(part - path) - 1 : 0;
        out->file_bytes = file_bytes;
        out->name = slash + 1;
        return true;
    }
    return false;
}

int bough__branch_path_store(bough_store **out, const char *path, const struct bough__branch_path *parts)
{
    char store[PATH_MAX_BYTES];
    if (parts->store_bytes >= sizeof(store))
        return bough__fail(BOUGH_NOT_FOUND, "the path of the store is too long: %s", path);
    memcpy(store, path, parts->store_bytes);
    store[parts->store_bytes] = 0;
    return bough__store_open(out, parts->store_bytes == 0 ? (path[0] == '/' ? "/" : ".") : store, NULL);
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t len = strlen(text), suffix_len = strlen(suffix);
    return len > suffix_len && strcmp(text + len - suffix_len, suffix) == 0;
}

/* Names that SQLite derives from a database's; no branch can be called so. */
static bool is_companion(const char *name)
{
    return ends_with(name, "-journal") || ends_with(name, "-wal") || ends_with(name, "-shm");
}

/* ---- sqlite3_vfs ----------------------------------------------------------------------------------------------- */

/* A branch's journal knows the database that it belongs to, to leave out what the database holds. */
static int open_journal(sqlite3_file *out, const char *path)
{
    struct bough__file *file = bough__file_of(sqlite3_database_file_object(path));
    if (!file)
        return SQLITE_CANTOPEN;
    struct bough__journal_pages pages = bough__file_pages(file);
    return bough__journal_open(out, system_vfs, &pages, &file->journal);
}

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *out, int flags, int *out_flags)
{
    (void)vfs;
    struct bough__branch_path parts;
    if (!path || !bough__branch_path_parse(&parts, path))
        return system_vfs->xOpen(system_vfs, path, out, flags, out_flags);
    out->pMethods = NULL;
    if (out_flags)
        *out_flags = flags;
    if (flags & SQLITE_OPEN_MAIN_DB)
        return bough__file_open(out, path, &parts, flags, out_flags);
    if (flags & SQLITE_OPEN_MAIN_JOURNAL)
        return open_journal(out, path);
    if (flags & SQLITE_OPEN_SUPER_JOURNAL)
        return bough__super_open(out, path, &parts, flags);
    return SQLITE_CANTOPEN; /* a WAL, above all */
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_directory)
{
    (void)vfs;
    struct bough__branch_path parts;
    if (!bough__branch_path_parse(&parts, path))
        return system_vfs->xDelete(system_vfs, path, sync_directory);
    if (bough__super_is_name(parts.name))
        return bough__super_delete(path, sync_directory != 0);
    return is_companion(parts.name) ? SQLITE_OK : SQLITE_IOERR_DELETE;
}

static int branch_exists(int *out, const char *path, const struct bough__branch_path *parts)
{
    bough_store *store = NULL;
    struct bough__target target;
    *out = 0;
    int rc = bough__branch_path_store(&store, path, parts);
    if (rc == BOUGH_OK)
        rc = bough__target_resolve(&target, store, parts->name);
    if (rc == BOUGH_OK) {
        *out = 1;
        bough__target_clear(&target);
    }
    bough_store_close(store);
    return rc == BOUGH_NOT_FOUND || rc == BOUGH_USAGE || rc == BOUGH_CORRUPT ? BOUGH_OK : rc;
}

static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
    (void)vfs;
    struct bough__branch_path parts;
    if (!bough__branch_path_parse(&parts, path))
        return system_vfs->xAccess(system_vfs, path, flags, out);
    *out = bough__super_is_name(parts.name) && bough__super_exists(path);
    if (is_companion(parts.name) || bough__super_is_name(parts.name))
        return SQLITE_OK;
    return branch_exists(out, path, &parts) == BOUGH_OK ? SQLITE_OK : SQLITE_IOERR_ACCESS;
}

static int vfs_full_pathname(sqlite3_vfs *vfs, const char *path, int room, char *out)
{
    (void)vfs;
    struct bough__branch_path parts;
    if (!bough__branch_path_parse(&parts, path))
        return system_vfs->xFullPathname(system_vfs, path, room, out);
    char *given = NULL, *directory = NULL;
    int rc = SQLITE_CANTOPEN;
    if (parts.store_bytes == 0)
        given = strdup(path[0] == '/' ? "/" : ".");
    else
        given = strndup(path, parts.store_bytes);
    if (!given)
        return SQLITE_NOMEM;
    directory = realpath(given, NULL);
    if (directory) {
        const char *shown = strcmp(directory, "/") == 0 ? "" : directory;
        size_t len = strlen(shown) + strlen("/" BOUGH__STORE_FILE "/") + strlen(parts.name);
        if (len < (size_t)room && len + SUPER_JOURNAL_SUFFIX < PATH_MAX_BYTES) {
            sqlite3_snprintf(room, out, "%s/" BOUGH__STORE_FILE "/%s", shown, parts.name);
            rc = SQLITE_OK;
        } else {
            sqlite3_log(rc, "bough: the path is longer than SQLite's 512 bytes: %s", path);
        }
    }
    free(directory);
    free(given);
    return rc;
}

static void *vfs_dl_open(sqlite3_vfs *vfs, const char *path)
{
    (void)vfs;
    return system_vfs->xDlOpen(system_vfs, path);
}

static void vfs_dl_error(sqlite3_vfs *vfs, int room, char *out)
{
    (void)vfs;
    system_vfs->xDlError(system_vfs, room, out);
}

static void (*vfs_dl_sym(sqlite3_vfs *vfs, void *library, const char *name))(void)
{
    (void)vfs;
    return system_vfs->xDlSym(system_vfs, library, name);
}

static void vfs_dl_close(sqlite3_vfs *vfs, void *library)
{
    (void)vfs;
    system_vfs->xDlClose(system_vfs, library);
}

static int vfs_randomness(sqlite3_vfs *vfs, int room, char *out)
{
    (void)vfs;
    return system_vfs->xRandomness(system_vfs, room, out);
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    return bough__wait_put_off(microseconds) ? microseconds : system_vfs->xSleep(system_vfs, microseconds);
}

static int vfs_current_time(sqlite3_vfs *vfs, double *out)
{
    (void)vfs;
    return system_vfs->xCurrentTime(system_vfs, out);
}

static int vfs_last_error(sqlite3_vfs *vfs, int room, char *out)
{
    (void)vfs;
    return system_vfs->xGetLastError(system_vfs, room, out);
}

static int vfs_current_time_int64(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    (void)vfs;
    return system_vfs->xCurrentTimeInt64(system_vfs, out);
}

static int vfs_set_system_call(sqlite3_vfs *vfs, const char *name, sqlite3_syscall_ptr call)
{
    (void)vfs;
    return system_vfs->xSetSystemCall(system_vfs, name, call);
}

static sqlite3_syscall_ptr vfs_get_system_call(sqlite3_vfs *vfs, const char *name)
{
    (void)vfs;
    return system_vfs->xGetSystemCall(system_vfs, name);
}

static const char *vfs_next_system_call(sqlite3_vfs *vfs, const char *name)
{
    (void)vfs;
    return system_vfs->xNextSystemCall(system_vfs, name);
}

static sqlite3_vfs bough_vfs = {
    .zName = NAME,
    .xOpen = vfs_open,
    .xDelete = vfs_delete,
    .xAccess = vfs_access,
    .xFullPathname = vfs_full_pathname,
    .xDlOpen = vfs_dl_open,
    .xDlError = vfs_dl_error,
    .xDlSym = vfs_dl_sym,
    .xDlClose = vfs_dl_close,
    .xRandomness = vfs_randomness,
    .xSleep = vfs_sleep,
    .xCurrentTime = vfs_current_time,
    .xGetLastError = vfs_last_error,
    .xCurrentTimeInt64 = vfs_current_time_int64,
    .xSetSystemCall = vfs_set_system_call,
    .xGetSystemCall = vfs_get_system_call,
    .xNextSystemCall = vfs_next_system_call,
};

/* ---- fork() ---------------------------------------------------------------------------------------------------- */

/* SQLite does nothing about fork(): a child whose parent had another thread in one of its allocators would wait for
 * that thread for ever. These are SQLite's mutexes without an owner, in the order in which SQLite takes one under
 * another. They are held over the fork by the one copy of this code whose VFS is registered. */
static const int sqlite_mutexes[] = {SQLITE_MUTEX_STATIC_OPEN, SQLITE_MUTEX_STATIC_PRNG, SQLITE_MUTEX_STATIC_MAIN,
                                     SQLITE_MUTEX_STATIC_VFS1, SQLITE_MUTEX_STATIC_LRU,  SQLITE_MUTEX_STATIC_PMEM,
                                     SQLITE_MUTEX_STATIC_MEM};
enum { SQLITE_MUTEX_COUNT = sizeof(sqlite_mutexes) / sizeof(sqlite_mutexes[0]) };

static void before_fork(void)
{
    pthread_mutex_lock(&known_mutex);
    for (size_t i = 0; i < SQLITE_MUTEX_COUNT; i++)
        sqlite3_mutex_enter(sqlite3_mutex_alloc(sqlite_mutexes[i]));
}

static void after_fork(void)
{
    for (size_t i = SQLITE_MUTEX_COUNT; i > 0; i--)
        sqlite3_mutex_leave(sqlite3_mutex_alloc(sqlite_mutexes[i - 1]));
    pthread_mutex_unlock(&known_mutex);
}

static const struct bough__process_part fork_part = {before_fork, after_fork, after_fork};

/* ---- registering ------------------------------------------------------------------------------------------------ */

static int max_int(int a, int b)
{
    return a > b ? a : b;
}

static void prepare_vfs(sqlite3_vfs *system)
{
    int own = max_int((int)sizeof(struct bough__file_handle), bough__journal_handle_bytes());
    own = max_int(own, bough__super_handle_bytes());
    bough_vfs.iVersion = system->iVersion < 3 ? system->iVersion : 3;
    bough_vfs.szOsFile = max_int(own, system->szOsFile);
    bough_vfs.mxPathname = max_int(system->mxPathname, PATH_MAX_BYTES);
    system_vfs = system;
}

int bough__vfs_register(bool make_default)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    int rc = SQLITE_OK;
    pthread_mutex_lock(&mutex);
    /* Another copy of this code in the process may have been first. Both do the same; one must not wrap the other. */
    sqlite3_vfs *ours = sqlite3_vfs_find(NAME);
    if (!ours) {
        sqlite3_vfs *system = sqlite3_vfs_find(NULL);
        if (system) {
            prepare_vfs(system);
            ours = &bough_vfs;
            rc = sqlite3_vfs_register(ours, make_default);
            if (rc == SQLITE_OK)
                bough__process_add(&fork_part);
        } else {
            rc = SQLITE_ERROR;
        }
    } else if (make_default && sqlite3_vfs_find(NULL) != ours) {
        rc = sqlite3_vfs_register(ours, 1);
    }
    pthread_mutex_unlock(&mutex);
    return rc;
}
