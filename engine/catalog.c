/* catalog.c - the catalog as a SQLite database: making, opening and closing it.
 *
 * The connection. SQLite runs the auto-extensions of a process on every connection that it opens, and offers no way to
 * leave them out. They run on a database in memory here, and catalog.db is attached afterwards: attaching runs none. So
 * every table is named with its schema below, since what an auto-extension made in `main` would come first.
 *
 * Durability. WAL with synchronous=FULL: a transaction is one append to catalog.db-wal and one fdatasync. SQLite
 * syncs the directory once more with the first transaction of a connection. The WAL is made full of zeros, since an
 * fdatasync that also grows the file costs half as much again; it stays between openers (no checkpoint on close), and
 * the transaction that takes it past BOUGH__WAL_LIMIT_BYTES checkpoints it. A fork writes four pages: the leaf of
 * `branches`, its two indexes and the counter.
 *
 * Locks. catalog.lock queues writers of all processes; it belongs to a descriptor and ends with its process. Behind
 * it BEGIN IMMEDIATE meets nobody but a foreign program (a sqlite3 shell), for whom the busy timeout waits. Descriptors
 * of catalog.db itself are never opened and closed here while a connection may exist: closing one would
 * drop SQLite's POSIX locks of the whole process.
 *
 * After a crash: SQLite's recovery finds the last transaction whose frames are whole; a transaction is there entirely
 * or not at all.
 */
#include "catalog_sql.h"
#include "catalog_wal.h"
#include "error.h"
#include "os.h"
#include "process.h"
#include "uri.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOCK_FILE      "catalog.lock"
#define APPLICATION_ID 0x626f7567 /* "boug" */
#define SCHEMA_VERSION 2

/* Rows are found by rowid and the indexes hold keys alone: with pages this small a table without rowid would put its
 * rows into overflow pages. */
static const char schema_sql[] =
    "CREATE TABLE catalog.settings(key TEXT PRIMARY KEY, value TEXT NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE catalog.branches("
    " id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, parent_id INTEGER NOT NULL, base BLOB, head BLOB NOT NULL,"
    " layer INTEGER NOT NULL, head_txn INTEGER NOT NULL, held_txn INTEGER NOT NULL, node_bytes INTEGER NOT NULL,"
    " is_protected INTEGER NOT NULL, created_at_ms INTEGER NOT NULL, expires_at_ms INTEGER NOT NULL,"
    " sum INTEGER NOT NULL);"
    "CREATE INDEX catalog.branches_parent ON branches(parent_id) WHERE parent_id <> 0;"
    "CREATE TABLE catalog.commits("
    " id BLOB NOT NULL UNIQUE, root BLOB NOT NULL, tree BLOB NOT NULL, page_size INTEGER NOT NULL, parents BLOB NOT "
    "NULL,"
    " author TEXT NOT NULL, message TEXT NOT NULL, created_at_ms INTEGER NOT NULL, changed_pages INTEGER NOT NULL,"
    " layer INTEGER NOT NULL, txn INTEGER NOT NULL, automatic INTEGER NOT NULL, pruned INTEGER NOT NULL,"
    " sum INTEGER NOT NULL);"
    "CREATE INDEX catalog.commits_layer ON commits(layer) WHERE layer <> 0;"
    "CREATE TABLE catalog.moves("
    " branch_id INTEGER NOT NULL, verb TEXT NOT NULL, before_id BLOB, after_id BLOB NOT NULL, note TEXT,"
    " created_at_ms INTEGER NOT NULL, sum INTEGER NOT NULL);"
    "CREATE INDEX catalog.moves_branch ON moves(branch_id);"
    "CREATE TABLE catalog.tags("
    " name TEXT NOT NULL UNIQUE, commit_id BLOB NOT NULL, created_at_ms INTEGER NOT NULL, sum INTEGER NOT NULL);";

/* ---- opening --------------------------------------------------------------------------------------------------- */

/* What auto-extensions may have set on the connection, and what a hostile schema could use. */
static void fence(struct bough__catalog *catalog)
{
    sqlite3 *db = catalog->db;
    sqlite3_set_authorizer(db, NULL, NULL);
    sqlite3_trace_v2(db, 0, NULL, NULL);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    sqlite3_commit_hook(db, NULL, NULL);
    sqlite3_rollback_hook(db, NULL, NULL);
    sqlite3_update_hook(db, NULL, NULL);
    sqlite3_wal_hook(db, bough__wal_note_size, catalog); /* replaces the automatic checkpoint */
    sqlite3_busy_timeout(db, catalog->timeout_ms > INT32_MAX ? INT32_MAX : (int)catalog->timeout_ms);
    sqlite3_extended_result_codes(db, 1);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
}

static int attach(struct bough__catalog *catalog, const char *parameters)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = false;
    char *uri = bough__uri(catalog->path, parameters);
    int rc = uri ? bough__sql_prepare(&statement, catalog, "ATTACH ?1 AS catalog") : BOUGH_NOMEM;
    if (rc == BOUGH_OK && bough__bind_text(statement, 1, uri) != SQLITE_OK)
        rc = bough__fail_memory();
    if (rc == BOUGH_OK)
        rc = bough__sql_step(&has_row, catalog, statement);
    bough__sql_finalize(statement);
    free(uri);
    return rc;
}

/* True when catalog.db alone is the newest state. */
static bool wal_is_empty(const struct bough__catalog *catalog)
{
    uint8_t magic[4] = {0};
    size_t len = 0;
    int fd = -1;
    char *path = bough__format("%s-wal", catalog->path);
    int rc = path ? bough__os_open(&fd, path, O_RDONLY | O_NOFOLLOW, 0) : BOUGH_NOMEM;
    if (rc == BOUGH_OK)
        rc = bough__os_read_some(&len, fd, magic, sizeof magic, 0, path);
    bough__os_close(&fd);
    free(path);
    return rc == BOUGH_NOT_FOUND || (rc == BOUGH_OK && bough__is_zero(magic, sizeof magic));
}

/* A WAL database needs its -shm file, which a reader without permission cannot make. */
static int attach_immutable(struct bough__catalog *catalog, const char *directory)
{
    if (faccessat(AT_FDCWD, directory, W_OK, AT_EACCESS) == 0)
        return BOUGH_IO; /* the failure had another cause; its message stands */
    if (!wal_is_empty(catalog))
        return bough__fail(BOUGH_IO,
                           "%s: its newest changes are in %s-wal, which cannot be read without %s-shm or permission to "
                           "make it",
                           catalog->path, BOUGH__CATALOG_FILE, BOUGH__CATALOG_FILE);
    return attach(catalog, "cache=private&immutable=1");
}

static int connect_to(struct bough__catalog *catalog, const char *directory)
{
    /* By name, because the default VFS may be ours. */
    if (!sqlite3_vfs_find("unix"))
        return bough__fail(BOUGH_IO, "%s: SQLite has no VFS \"unix\"", catalog->path);
    int rc = bough__catalog_connecting(catalog);
    if (rc != BOUGH_OK)
        return rc;
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_URI | SQLITE_OPEN_NOFOLLOW;
    int code = sqlite3_open_v2(":memory:", &catalog->db, flags, "unix");
    if (code != SQLITE_OK)
        return bough__sql_fail(catalog, code);
    fence(catalog);
    rc = attach(catalog, "cache=private");
    if (rc == BOUGH_IO)
        rc = attach_immutable(catalog, directory);
    if (rc != BOUGH_OK)
        return rc;
    int keep_wal = 1;
    sqlite3_file_control(catalog->db, "catalog", SQLITE_FCNTL_PERSIST_WAL, &keep_wal);
    catalog->is_read_only = sqlite3_db_readonly(catalog->db, "catalog") == 1;
    return BOUGH_OK;
}

static int allocate(struct bough__catalog **out, const char *directory, uint32_t timeout_ms)
{
    struct bough__catalog *catalog = bough__alloc(sizeof *catalog);
    if (!catalog)
        return BOUGH_NOMEM;
    bough__process_watch();
    catalog->epoch = bough__process_epoch();
    catalog->lock_fd = -1;
    catalog->timeout_ms = timeout_ms;
    catalog->path = bough__format("%s/" BOUGH__CATALOG_FILE, directory);
    catalog->lock_path = bough__format("%s/" LOCK_FILE, directory);
    *out = catalog;
    return catalog->path && catalog->lock_path ? BOUGH_OK : BOUGH_NOMEM;
}

static int refuse_symlink(const struct bough__catalog *catalog, const char *suffix, struct stat *out)
{
    char *path = bough__format("%s%s", catalog->path, suffix);
    if (!path)
        return BOUGH_NOMEM;
    int rc = BOUGH_OK;
    memset(out, 0, sizeof *out);
    if (bough__os.lstat(path, out) != 0)
        rc = bough__fail_errno("examine", path);
    else if (!S_ISREG(out->st_mode))
        rc = bough__fail(BOUGH_CORRUPT, "%s is no regular file", path);
    free(path);
    return rc;
}

static int examine_files(struct bough__catalog *catalog)
{
    struct stat info;
    int rc = refuse_symlink(catalog, "", &info);
    if (rc == BOUGH_NOT_FOUND)
        return bough__fail(BOUGH_CORRUPT, "%s is missing", catalog->path);
    catalog->mode = info.st_mode & 0777;
    if (rc == BOUGH_OK)
        rc = refuse_symlink(catalog, "-wal", &info);
    if (rc == BOUGH_OK || rc == BOUGH_NOT_FOUND)
        rc = refuse_symlink(catalog, "-shm", &info);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

static int read_pragma(int64_t *out, struct bough__catalog *catalog, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = false;
    int rc = bough__sql_prepare(&statement, catalog, sql);
    if (rc == BOUGH_OK)
        rc = bough__sql_step(&has_row, catalog, statement);
    *out = has_row ? sqlite3_column_int64(statement, 0) : 0;
    bough__sql_finalize(statement);
    return rc;
}

static int check_identity(struct bough__catalog *catalog)
{
    int64_t application = 0, version = 0;
    int rc = read_pragma(&application, catalog, "PRAGMA catalog.application_id");
    if (rc == BOUGH_OK)
        rc = read_pragma(&version, catalog, "PRAGMA catalog.user_version");
    if (rc != BOUGH_OK)
        return rc;
    if (application != APPLICATION_ID || version < 1)
        return bough__fail(BOUGH_CORRUPT, "%s is no catalog of a store", catalog->path);
    if (version < SCHEMA_VERSION)
        return bough__fail(BOUGH_CORRUPT,
                           "%s has version %" PRId64 ", of a bough before the first release, and not %d: export the "
                           "branches with that one",
                           catalog->path, version, SCHEMA_VERSION);
    if (version > SCHEMA_VERSION)
        return bough__fail(BOUGH_CORRUPT, "%s has version %" PRId64 ", which is newer than this program (%d)",
                           catalog->path, version, SCHEMA_VERSION);
    return BOUGH_OK;
}

static int open_lock(struct bough__catalog *catalog)
{
    int flags = (catalog->is_read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW;
    int rc = bough__os_open(&catalog->lock_fd, catalog->lock_path, flags, 0);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

/* Before anyone writes transactions to a branch that only its rows know, or into a store whose name may vanish. */
static int settle(struct bough__catalog *catalog)
{
    if (catalog->is_read_only || !catalog->unsettled)
        return BOUGH_OK;
    int rc = bough__os_lock(catalog->lock_fd, 0, BOUGH__EXCLUSIVE, catalog->lock_path);
    if (rc == BOUGH_BUSY)
        return BOUGH_OK; /* who left it so lives; what it writes is seen once it is durable */
    if (rc == BOUGH_OK)
        rc = bough__wal_check(catalog);
    if (rc == BOUGH_OK)
        rc = bough__wal_settle(catalog);
    if (bough__os_lock(catalog->lock_fd, 0, BOUGH__UNLOCK, catalog->lock_path) != BOUGH_OK)
        bough__os_close(&catalog->lock_fd);
    return rc;
}

int bough__catalog_mark_new(const char *directory, bool is_new)
{
    struct bough__catalog *catalog = NULL;
    uint8_t unsettled = 0;
    size_t len = 0;
    int rc = allocate(&catalog, directory, 0);
    if (rc == BOUGH_OK)
        rc = bough__os_open(&catalog->lock_fd, catalog->lock_path, O_RDWR | O_NOFOLLOW, 0);
    if (rc == BOUGH_OK)
        rc = bough__os_lock(catalog->lock_fd, 0, BOUGH__EXCLUSIVE, catalog->lock_path);
    if (rc == BOUGH_OK)
        rc = bough__os_read_some(&len, catalog->lock_fd, &unsettled, 1, 0, catalog->lock_path);
    unsettled = (uint8_t)(is_new ? unsettled | BOUGH__WAL_UNNAMED : unsettled & ~BOUGH__WAL_UNNAMED);
    if (rc == BOUGH_OK)
        rc = bough__wal_mark(catalog, unsettled);
    bough__catalog_close(catalog); /* and the lock goes */
    return rc;
}

int bough__catalog_open(struct bough__catalog **out, const char *directory, uint32_t timeout_ms)
{
    struct bough__catalog *catalog = NULL;
    *out = NULL;
    int rc = allocate(&catalog, directory, timeout_ms);
    if (rc == BOUGH_OK)
        rc = examine_files(catalog);
    if (rc == BOUGH_OK)
        rc = connect_to(catalog, directory);
    if (rc == BOUGH_OK)
        rc = check_identity(catalog);
    if (rc == BOUGH_OK)
        rc = open_lock(catalog);
    if (rc == BOUGH_OK)
        rc = bough__wal_check(catalog);
    if (rc == BOUGH_OK && !catalog->is_read_only)
        rc = bough__sql_run_text(catalog, "PRAGMA catalog.synchronous=FULL; PRAGMA catalog.journal_size_limit=1048576");
    if (rc == BOUGH_OK)
        rc = settle(catalog);
    if (rc == BOUGH_OK)
        *out = catalog;
    else
        bough__catalog_close(catalog);
    return rc;
}

void bough__catalog_close(struct bough__catalog *catalog)
{
    if (!catalog)
        return;
    bough__catalog_disconnect(catalog);
    bough__os_close(&catalog->lock_fd);
    free(catalog->path);
    free(catalog->lock_path);
    free(catalog);
}

/* ---- making ---------------------------------------------------------------------------------------------------- */

static int make_file(const char *path, mode_t mode, uint64_t zero_bytes)
{
    static const uint8_t zeros[16384];
    int fd = -1;
    int rc = bough__os_open(&fd, path, O_RDWR | O_CREAT | O_NOFOLLOW, mode);
    for (uint64_t offset = 0; rc == BOUGH_OK && offset < zero_bytes; offset += sizeof zeros)
        rc = bough__os_write(fd, zeros, sizeof zeros, offset, path);
    if (rc == BOUGH_OK)
        rc = bough__os_sync(fd, path);
    bough__os_close(&fd);
    return rc;
}

static int write_schema(struct bough__catalog *catalog)
{
    /* Nobody knows of the file yet: it is synced once, by make_catalog_files. */
    char *header = bough__format("PRAGMA catalog.page_size=%d; PRAGMA catalog.synchronous=OFF;"
                                 "PRAGMA catalog.journal_mode=WAL; BEGIN IMMEDIATE;"
                                 "PRAGMA catalog.application_id=%d; PRAGMA catalog.user_version=%d",
                                 BOUGH__CATALOG_PAGE_BYTES, APPLICATION_ID, SCHEMA_VERSION);
    int rc = header ? bough__sql_run_text(catalog, header) : BOUGH_NOMEM;
    if (rc == BOUGH_OK)
        rc = bough__sql_run_text(catalog, schema_sql);
    if (rc == BOUGH_OK)
        rc = bough__catalog_setting_put(catalog, "layer", "0");
    if (rc == BOUGH_OK)
        rc = bough__sql_run_text(catalog, "COMMIT");
    if (rc == BOUGH_OK) {
        int code = sqlite3_wal_checkpoint_v2(catalog->db, "catalog", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        rc = code == SQLITE_OK ? BOUGH_OK : bough__sql_fail(catalog, code);
    }
    free(header);
    return rc;
}

static int make_catalog_files(const struct bough__catalog *catalog, mode_t mode)
{
    char *wal = bough__format("%s-wal", catalog->path);
    int rc = wal ? make_file(catalog->path, mode, 0) : BOUGH_NOMEM; /* exists: synced */
    if (rc == BOUGH_OK)
        rc = make_file(wal, mode, BOUGH__WAL_LIMIT_BYTES + 16384);
    if (rc == BOUGH_OK)
        rc = make_file(catalog->lock_path, mode, 0);
    free(wal);
    return rc;
}

int bough__catalog_create(const char *directory, mode_t mode)
{
    struct bough__catalog *catalog = NULL;
    int fd = -1;
    mode |= S_IRUSR | S_IWUSR;
    int rc = allocate(&catalog, directory, 0);
    if (rc == BOUGH_OK) /* before SQLite does, with the right mode; -wal and -shm then take it over */
        rc = bough__os_open(&fd, catalog->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    bough__os_close(&fd);
    if (rc == BOUGH_OK)
        rc = connect_to(catalog, directory);
    if (rc == BOUGH_OK)
        rc = write_schema(catalog);
    bough__catalog_close(catalog);
    if (rc != BOUGH_OK)
        return rc;
    catalog = NULL;
    rc = allocate(&catalog, directory, 0);
    if (rc == BOUGH_OK)
        rc = make_catalog_files(catalog, mode);
    if (rc == BOUGH_OK)
        rc = bough__os_sync_directory(directory);
    bough__catalog_close(catalog);
    return rc;
}
