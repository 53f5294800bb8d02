/* catalog.c - the catalog as a SQLite database: connection, transactions, rows.
 *
 * The connection. SQLite runs the auto-extensions of a process on every connection that it opens, and offers no way to
 * leave them out. They run on a database in memory here, and catalog.db is attached afterwards: attaching runs none. So
 * every table is named with its schema below, since what an auto-extension made in `main` would come first.
 *
 * Durability. WAL with synchronous=FULL: a transaction is one append to catalog.db-wal and one fdatasync. SQLite
 * syncs the directory once more with the first transaction of a connection. The WAL is made full of zeros, since an
 * fdatasync that also grows the file costs half as much again; it stays between openers (no checkpoint on close), and
 * the transaction that takes it past WAL_LIMIT_BYTES checkpoints it. A fork writes four pages: the leaf of
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
#include "catalog.h"

#include "error.h"
#include "os.h"
#include "row.h"
#include "sqlite_api.h"
#include "uri.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CATALOG_FILE     "catalog.db"
#define LOCK_FILE        "catalog.lock"
#define APPLICATION_ID   0x626f7567 /* "boug" */
#define SCHEMA_VERSION   1
#define PAGE_BYTES       1024
#define WAL_FRAME_BYTES  (PAGE_BYTES + 24)
#define WAL_LIMIT_BYTES  (256 * 1024)
#define WAL_LIMIT_FRAMES (WAL_LIMIT_BYTES / WAL_FRAME_BYTES)
/* Where readers keep a full WAL from starting over, it is checkpointed again only after so many frames more. */
#define WAL_RETRY_FRAMES 64

#define BRANCH_COLUMNS                                                                                                 \
    "id, name, parent_id, base, head, layer, head_txn, node_bytes, is_protected, created_at_ms, expires_at_ms, sum"
#define COMMIT_COLUMNS                                                                                                 \
    "id, root, tree, page_size, parents, author, message, created_at_ms, changed_pages, layer, txn, automatic, "       \
    "pruned, sum"
#define TAG_COLUMNS "name, commit_id, created_at_ms, sum"

/* Rows are found by rowid and the indexes hold keys alone: with pages this small a table without rowid would put its
 * rows into overflow pages. */
static const char schema_sql[] =
    "CREATE TABLE catalog.settings(key TEXT PRIMARY KEY, value TEXT NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE catalog.branches("
    " id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, parent_id INTEGER NOT NULL, base BLOB, head BLOB NOT NULL,"
    " layer INTEGER NOT NULL, head_txn INTEGER NOT NULL, node_bytes INTEGER NOT NULL, is_protected INTEGER NOT NULL,"
    " created_at_ms INTEGER NOT NULL, expires_at_ms INTEGER NOT NULL, sum INTEGER NOT NULL);"
    "CREATE INDEX catalog.branches_parent ON branches(parent_id) WHERE parent_id <> 0;"
    "CREATE TABLE catalog.commits("
    " id BLOB NOT NULL UNIQUE, root BLOB NOT NULL, tree BLOB NOT NULL, page_size INTEGER NOT NULL, parents BLOB NOT "
    "NULL,"
    " author TEXT NOT NULL, message TEXT NOT NULL, created_at_ms INTEGER NOT NULL, changed_pages INTEGER NOT NULL,"
    " layer INTEGER NOT NULL, txn INTEGER NOT NULL, automatic INTEGER NOT NULL, pruned INTEGER NOT NULL,"
    " sum INTEGER NOT NULL);"
    "CREATE INDEX catalog.commits_layer ON commits(layer) WHERE layer <> 0;"
    "CREATE TABLE catalog.tags("
    " name TEXT NOT NULL UNIQUE, commit_id BLOB NOT NULL, created_at_ms INTEGER NOT NULL, sum INTEGER NOT NULL);";

enum statement {
    BEGIN_WRITE,
    BEGIN_READ,
    COMMIT,
    ROLLBACK,
    BRANCH_BY_NAME,
    BRANCH_BY_ID,
    BRANCH_INSERT,
    BRANCH_UPDATE,
    BRANCH_DELETE,
    COMMIT_BY_ID,
    COMMITS_BY_PREFIX,
    COMMIT_INSERT,
    COMMIT_OF_LAYER,
    TAG_BY_NAME,
    TAG_INSERT,
    TAG_DELETE,
    SETTING_GET,
    SETTING_PUT,
    SETTING_DELETE,
    STATEMENT_COUNT
};

static const char *const statement_sql[STATEMENT_COUNT] = {
    [BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [BEGIN_READ] = "BEGIN",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [BRANCH_BY_NAME] = "SELECT " BRANCH_COLUMNS " FROM catalog.branches WHERE name = ?1",
    [BRANCH_BY_ID] = "SELECT " BRANCH_COLUMNS " FROM catalog.branches WHERE id = ?1",
    [BRANCH_INSERT] = "INSERT INTO catalog.branches(" BRANCH_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
    [BRANCH_UPDATE] = "UPDATE catalog.branches SET name = ?2, parent_id = ?3, base = ?4, head = ?5, layer = ?6,"
                      " head_txn = ?7, node_bytes = ?8, is_protected = ?9, created_at_ms = ?10, expires_at_ms = ?11,"
                      " sum = ?12 WHERE id = ?1",
    [BRANCH_DELETE] = "DELETE FROM catalog.branches WHERE id = ?1",
    [COMMIT_BY_ID] = "SELECT " COMMIT_COLUMNS " FROM catalog.commits WHERE id = ?1",
    [COMMITS_BY_PREFIX] = "SELECT " COMMIT_COLUMNS " FROM catalog.commits WHERE id BETWEEN ?1 AND ?2 ORDER BY id"
                          " LIMIT ?3",
    [COMMIT_INSERT] = "INSERT INTO catalog.commits(" COMMIT_COLUMNS ")"
                      " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)",
    [COMMIT_OF_LAYER] = "SELECT 1 FROM catalog.commits WHERE layer = ?1 AND layer <> 0 LIMIT 1",
    [TAG_BY_NAME] = "SELECT " TAG_COLUMNS " FROM catalog.tags WHERE name = ?1",
    [TAG_INSERT] = "INSERT INTO catalog.tags(" TAG_COLUMNS ") VALUES(?1,?2,?3,?4)",
    [TAG_DELETE] = "DELETE FROM catalog.tags WHERE name = ?1",
    [SETTING_GET] = "SELECT value, sum FROM catalog.settings WHERE key = ?1",
    [SETTING_PUT] = "INSERT OR REPLACE INTO catalog.settings(key, value, sum) VALUES(?1,?2,?3)",
    [SETTING_DELETE] = "DELETE FROM catalog.settings WHERE key = ?1",
};

struct bough__catalog {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT]; /* prepared at first use, kept for the connection's life */
    char *path;                                /* of catalog.db */
    char *lock_path;
    int lock_fd;
    mode_t mode;
    uint32_t timeout_ms;
    bool is_read_only;
    bool is_writing;
    unsigned readers;  /* nested bough__catalog_read_begin */
    int wal_frames;    /* in the WAL after this connection's last commit */
    int checkpoint_at; /* frames */
};

/* ---- errors and statements ------------------------------------------------------------------------------------- */

static int code_of_sqlite(sqlite3 *db, int sqlite_code)
{
    switch (sqlite_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return BOUGH_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_ERROR: /* our statements are right, so a table or column that they name is missing */
        return BOUGH_CORRUPT;
    case SQLITE_FULL:
        return BOUGH_FULL;
    case SQLITE_NOMEM:
        return BOUGH_NOMEM;
    case SQLITE_INTERRUPT:
        return BOUGH_INTERRUPTED;
    case SQLITE_CONSTRAINT:
        return BOUGH_REFUSED;
    case SQLITE_CANTOPEN:
        return sqlite_code == SQLITE_CANTOPEN_SYMLINK ? BOUGH_CORRUPT : BOUGH_IO;
    case SQLITE_IOERR: {
        int error = db ? sqlite3_system_errno(db) : 0;
        if (sqlite_code == SQLITE_IOERR_NOMEM)
            return BOUGH_NOMEM;
        if (sqlite_code == SQLITE_IOERR_CORRUPTFS)
            return BOUGH_CORRUPT;
        return error == ENOSPC || error == EDQUOT || error == EFBIG ? BOUGH_FULL : BOUGH_IO;
    }
    default:
        return BOUGH_IO;
    }
}

static int fail_sqlite(const struct bough__catalog *catalog, int sqlite_code)
{
    int extended = catalog->db ? sqlite3_extended_errcode(catalog->db) : sqlite_code;
    if ((extended & 0xff) != (sqlite_code & 0xff))
        extended = sqlite_code;
    return bough__fail(code_of_sqlite(catalog->db, extended), "%s: %s", catalog->path,
                       catalog->db ? sqlite3_errmsg(catalog->db) : sqlite3_errstr(sqlite_code));
}

static int use(sqlite3_stmt **out, struct bough__catalog *catalog, enum statement which)
{
    if (!catalog->statements[which]) {
        int code = sqlite3_prepare_v3(catalog->db, statement_sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                                      &catalog->statements[which], NULL);
        if (code != SQLITE_OK)
            return fail_sqlite(catalog, code);
    }
    *out = catalog->statements[which];
    return BOUGH_OK;
}

static void done_with(sqlite3_stmt *statement)
{
    if (statement) {
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
    }
}

static int step(bool *out_row, const struct bough__catalog *catalog, sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    *out_row = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE ? BOUGH_OK : fail_sqlite(catalog, code);
}

/* Runs a bound statement that returns nothing. bind_code: of the bindings. */
static int finish(const struct bough__catalog *catalog, sqlite3_stmt *statement, int bind_code)
{
    bool has_row = false;
    int rc = bind_code == SQLITE_OK ? step(&has_row, catalog, statement) : fail_sqlite(catalog, bind_code);
    done_with(statement);
    return rc;
}

static int run(struct bough__catalog *catalog, enum statement which)
{
    sqlite3_stmt *statement = NULL;
    int rc = use(&statement, catalog, which);
    return rc == BOUGH_OK ? finish(catalog, statement, SQLITE_OK) : rc;
}

static int run_text(struct bough__catalog *catalog, const char *sql)
{
    int code = sqlite3_exec(catalog->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? BOUGH_OK : fail_sqlite(catalog, code);
}

static int bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    return sqlite3_bind_text(statement, index, text ? text : "", -1, SQLITE_STATIC);
}

static int bind_digest(sqlite3_stmt *statement, int index, const uint8_t digest[BOUGH__DIGEST_SIZE])
{
    return sqlite3_bind_blob(statement, index, digest, BOUGH__DIGEST_SIZE, SQLITE_STATIC);
}

static int bind_u64(sqlite3_stmt *statement, int index, uint64_t value)
{
    return sqlite3_bind_int64(statement, index, (sqlite3_int64)value);
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

static int note_wal_size(void *context, sqlite3 *db, const char *schema, int frames)
{
    struct bough__catalog *catalog = context;
    (void)db;
    if (strcmp(schema, "catalog") == 0)
        catalog->wal_frames = frames;
    return SQLITE_OK;
}

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
    sqlite3_wal_hook(db, note_wal_size, catalog); /* replaces the automatic checkpoint */
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
    char *uri = bough__uri(catalog->path, parameters);
    int code = !uri ? SQLITE_NOMEM : sqlite3_prepare_v2(catalog->db, "ATTACH ?1 AS catalog", -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = bind_text(statement, 1, uri);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    int rc = code == SQLITE_DONE ? BOUGH_OK : uri ? fail_sqlite(catalog, code) : BOUGH_NOMEM;
    sqlite3_finalize(statement);
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
                           catalog->path, CATALOG_FILE, CATALOG_FILE);
    return attach(catalog, "cache=private&immutable=1");
}

static int connect_to(struct bough__catalog *catalog, const char *directory)
{
    /* By name, because the default VFS may be ours. */
    if (!sqlite3_vfs_find("unix"))
        return bough__fail(BOUGH_IO, "%s: SQLite has no VFS \"unix\"", catalog->path);
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_URI | SQLITE_OPEN_NOFOLLOW;
    int code = sqlite3_open_v2(":memory:", &catalog->db, flags, "unix");
    if (code != SQLITE_OK)
        return fail_sqlite(catalog, code);
    fence(catalog);
    int rc = attach(catalog, "cache=private");
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
    catalog->lock_fd = -1;
    catalog->timeout_ms = timeout_ms;
    catalog->path = bough__format("%s/" CATALOG_FILE, directory);
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
    int code = sqlite3_prepare_v2(catalog->db, sql, -1, &statement, NULL);
    int rc = code == SQLITE_OK ? step(&has_row, catalog, statement) : fail_sqlite(catalog, code);
    *out = has_row ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
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
    if (version > SCHEMA_VERSION)
        return bough__fail(BOUGH_CORRUPT, "%s has version %" PRId64 ", which is newer than this program (%d)",
                           catalog->path, version, SCHEMA_VERSION);
    return BOUGH_OK;
}

/* A byte of the lock's file says that a commit is on its way to the disk. A writer that is killed in there leaves it
 * set: what it wrote may be in the page cache alone, and SQLite's recovery takes it as it is. */
static int mark_commit(struct bough__catalog *catalog, uint8_t is_under_way)
{
    return bough__os_write(catalog->lock_fd, &is_under_way, 1, 0, catalog->lock_path);
}

static int sync_wal(struct bough__catalog *catalog)
{
    int fd = -1;
    char *path = bough__format("%s-wal", catalog->path);
    if (!path)
        return BOUGH_NOMEM;
    int rc = bough__os_open(&fd, path, O_RDWR | O_NOFOLLOW, 0);
    if (rc == BOUGH_OK)
        rc = bough__os_sync(fd, path);
    bough__os_close(&fd);
    free(path);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

/* Makes durable what a killed writer left, before anyone writes transactions to a branch that only its rows know. */
static int settle_killed_writer(struct bough__catalog *catalog)
{
    uint8_t is_under_way = 0;
    size_t len = 0;
    int rc = bough__os_open(&catalog->lock_fd, catalog->lock_path, O_RDWR | O_NOFOLLOW, 0);
    if (rc == BOUGH_NOT_FOUND)
        return BOUGH_OK;
    if (rc == BOUGH_OK)
        rc = bough__os_read_some(&len, catalog->lock_fd, &is_under_way, 1, 0, catalog->lock_path);
    if (rc != BOUGH_OK || len == 0 || !is_under_way)
        return rc;
    rc = bough__os_lock(catalog->lock_fd, 0, BOUGH__EXCLUSIVE, catalog->lock_path);
    if (rc == BOUGH_BUSY)
        return BOUGH_OK; /* it lives; what it writes is seen once it is durable */
    if (rc == BOUGH_OK)
        rc = sync_wal(catalog);
    if (rc == BOUGH_OK)
        rc = mark_commit(catalog, 0);
    if (bough__os_lock(catalog->lock_fd, 0, BOUGH__UNLOCK, catalog->lock_path) != BOUGH_OK)
        bough__os_close(&catalog->lock_fd);
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
    if (rc == BOUGH_OK && !catalog->is_read_only)
        rc = run_text(catalog, "PRAGMA catalog.synchronous=FULL; PRAGMA catalog.journal_size_limit=1048576");
    if (rc == BOUGH_OK && !catalog->is_read_only)
        rc = settle_killed_writer(catalog);
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
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(catalog->statements[i]);
    sqlite3_close_v2(catalog->db); /* rolls back what is open */
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
                                 PAGE_BYTES, APPLICATION_ID, SCHEMA_VERSION);
    int rc = header ? run_text(catalog, header) : BOUGH_NOMEM;
    if (rc == BOUGH_OK)
        rc = run_text(catalog, schema_sql);
    if (rc == BOUGH_OK)
        rc = bough__catalog_setting_put(catalog, "layer", "0");
    if (rc == BOUGH_OK)
        rc = run_text(catalog, "COMMIT");
    if (rc == BOUGH_OK) {
        int code = sqlite3_wal_checkpoint_v2(catalog->db, "catalog", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        rc = code == SQLITE_OK ? BOUGH_OK : fail_sqlite(catalog, code);
    }
    free(header);
    return rc;
}

static int make_catalog_files(const struct bough__catalog *catalog, mode_t mode)
{
    char *wal = bough__format("%s-wal", catalog->path);
    int rc = wal ? make_file(catalog->path, mode, 0) : BOUGH_NOMEM; /* exists: synced */
    if (rc == BOUGH_OK)
        rc = make_file(wal, mode, WAL_LIMIT_BYTES + 16384);
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

/* ---- transactions ---------------------------------------------------------------------------------------------- */

static int lock_queue(struct bough__catalog *catalog)
{
    int rc = BOUGH_OK;
    if (catalog->lock_fd < 0)
        rc = bough__os_open(&catalog->lock_fd, catalog->lock_path, O_RDWR | O_CREAT | O_NOFOLLOW, catalog->mode);
    if (rc == BOUGH_OK)
        rc = bough__os_lock_wait(catalog->lock_fd, 0, BOUGH__EXCLUSIVE, catalog->timeout_ms, catalog->lock_path);
    if (rc == BOUGH_BUSY)
        bough__fail(rc, "%s is busy: others have been writing for %" PRIu32 " ms", catalog->path, catalog->timeout_ms);
    return rc;
}

static void unlock_queue(struct bough__catalog *catalog)
{
    struct bough__error_state error;
    bough__error_save(&error);
    if (bough__os_lock(catalog->lock_fd, 0, BOUGH__UNLOCK, catalog->lock_path) != BOUGH_OK)
        bough__os_close(&catalog->lock_fd); /* closing gives the lock up as well */
    bough__error_restore(&error);
}

/* A transaction that could not be ended, for want of memory, is still there. */
static int end_leftover(struct bough__catalog *catalog)
{
    return sqlite3_get_autocommit(catalog->db) ? BOUGH_OK : run(catalog, ROLLBACK);
}

int bough__catalog_begin(struct bough__catalog *catalog)
{
    assert(!catalog->is_writing && catalog->readers == 0);
    if (catalog->is_read_only)
        return bough__fail(BOUGH_IO, "%s: no permission to write", catalog->path);
    int rc = lock_queue(catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = end_leftover(catalog);
    if (rc == BOUGH_OK)
        rc = run(catalog, BEGIN_WRITE);
    catalog->is_writing = rc == BOUGH_OK;
    if (rc != BOUGH_OK)
        unlock_queue(catalog);
    return rc;
}

static void checkpoint(struct bough__catalog *catalog)
{
    if (catalog->wal_frames < WAL_LIMIT_FRAMES) {
        catalog->checkpoint_at = WAL_LIMIT_FRAMES;
        return;
    }
    if (catalog->wal_frames < catalog->checkpoint_at)
        return;
    /* The transaction is durable; a checkpoint that fails now is tried again by a later one. It waits for nobody. */
    sqlite3_wal_checkpoint_v2(catalog->db, "catalog", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    catalog->checkpoint_at = catalog->wal_frames + WAL_RETRY_FRAMES;
}

/* A transaction whose sync failed may stand whole in the WAL: this connection and the shared index do not count it, but
 * a recovery would. One that changes nothing is written over it, which breaks the chain of its checksums whether or
 * not that one can be synced. */
static void bury_failed_commit(struct bough__catalog *catalog)
{
    struct bough__error_state error;
    bough__error_save(&error);
    if (!sqlite3_get_autocommit(catalog->db))
        run(catalog, ROLLBACK);
    /* Twice, since SQLite writes no page for an update that leaves a row as it was. */
    static const char nothing[] = "BEGIN IMMEDIATE; UPDATE catalog.settings SET sum = ~sum WHERE key = 'layer';"
                                  "UPDATE catalog.settings SET sum = ~sum WHERE key = 'layer'; COMMIT";
    if (run_text(catalog, nothing) != BOUGH_OK && !sqlite3_get_autocommit(catalog->db))
        run(catalog, ROLLBACK);
    bough__error_restore(&error);
}

int bough__catalog_commit(struct bough__catalog *catalog)
{
    int rc = mark_commit(catalog, 1);
    if (rc == BOUGH_OK)
        rc = run(catalog, COMMIT);
    if (rc != BOUGH_OK) {
        bury_failed_commit(catalog);
        bough__catalog_rollback(catalog);
        return rc;
    }
    (void)mark_commit(catalog, 0); /* left set, it costs the next opener a sync */
    catalog->is_writing = false;
    unlock_queue(catalog);
    checkpoint(catalog);
    return BOUGH_OK;
}

void bough__catalog_rollback(struct bough__catalog *catalog)
{
    if (!catalog->is_writing)
        return;
    struct bough__error_state error;
    bough__error_save(&error);
    /* After some errors SQLite has rolled back on its own. */
    if (!sqlite3_get_autocommit(catalog->db))
        run(catalog, ROLLBACK);
    catalog->is_writing = false;
    unlock_queue(catalog);
    bough__error_restore(&error);
}

int bough__catalog_read_begin(struct bough__catalog *catalog)
{
    int rc = BOUGH_OK;
    if (!catalog->is_writing && catalog->readers == 0)
        rc = end_leftover(catalog);
    if (rc == BOUGH_OK && !catalog->is_writing && catalog->readers == 0)
        rc = run(catalog, BEGIN_READ);
    if (rc == BOUGH_OK && !catalog->is_writing)
        catalog->readers++;
    return rc;
}

void bough__catalog_read_end(struct bough__catalog *catalog)
{
    if (catalog->is_writing || catalog->readers == 0 || --catalog->readers > 0)
        return;
    struct bough__error_state error;
    bough__error_save(&error);
    if (!sqlite3_get_autocommit(catalog->db))
        run(catalog, COMMIT);
    bough__error_restore(&error);
}

/* ---- columns --------------------------------------------------------------------------------------------------- */

static bool column_digest(uint8_t out[BOUGH__DIGEST_SIZE], sqlite3_stmt *statement, int index)
{
    const void *bytes = sqlite3_column_blob(statement, index);
    if (!bytes || sqlite3_column_bytes(statement, index) != BOUGH__DIGEST_SIZE)
        return false;
    memcpy(out, bytes, BOUGH__DIGEST_SIZE);
    return true;
}

/* *ok becomes false for a text that goes on after a zero byte. */
static int column_text(char **out, bool *ok, sqlite3_stmt *statement, int index)
{
    const char *text = (const char *)sqlite3_column_text(statement, index);
    *out = bough__strdup(text ? text : "");
    if (!*out)
        return BOUGH_NOMEM;
    *ok = *ok && strlen(*out) == (size_t)sqlite3_column_bytes(statement, index);
    return BOUGH_OK;
}

static uint64_t column_u64(sqlite3_stmt *statement, int index)
{
    return (uint64_t)sqlite3_column_int64(statement, index);
}

/* False: the column holds more than a row can, so that the sum would be that of another value. */
static bool column_u32(uint32_t *out, sqlite3_stmt *statement, int index)
{
    sqlite3_int64 value = sqlite3_column_int64(statement, index);
    *out = (uint32_t)value;
    return value >= 0 && value <= UINT32_MAX;
}

static bool column_bool(bool *out, sqlite3_stmt *statement, int index)
{
    sqlite3_int64 value = sqlite3_column_int64(statement, index);
    *out = value != 0;
    return value == 0 || value == 1;
}

/* Compares the sum of a row just read with the stored one. ok: the columns could be read at all. */
static int check_sum(const struct bough__catalog *catalog, sqlite3_stmt *statement, int index, int64_t sum, bool ok,
                     const char *table, const char *key)
{
    if (ok && sqlite3_column_type(statement, index) == SQLITE_INTEGER && sqlite3_column_int64(statement, index) == sum)
        return BOUGH_OK;
    return bough__fail(BOUGH_CORRUPT, "%s: the row of %s %s is damaged", catalog->path, table, key);
}

/* ---- branches -------------------------------------------------------------------------------------------------- */

static int read_branch(struct bough__branch_row *out, const struct bough__catalog *catalog, sqlite3_stmt *statement)
{
    char key[32];
    int64_t sum = 0;
    memset(out, 0, sizeof *out);
    out->id = sqlite3_column_int64(statement, 0);
    out->parent_id = sqlite3_column_int64(statement, 2);
    out->has_base = sqlite3_column_type(statement, 3) != SQLITE_NULL;
    bool ok = !out->has_base || column_digest(out->base, statement, 3);
    ok = column_digest(out->head, statement, 4) && ok;
    ok = column_u32(&out->layer, statement, 5) && ok;
    out->head_txn = column_u64(statement, 6);
    out->node_bytes = column_u64(statement, 7);
    ok = column_bool(&out->is_protected, statement, 8) && ok;
    out->created_at_ms = sqlite3_column_int64(statement, 9);
    out->expires_at_ms = sqlite3_column_int64(statement, 10);
    int rc = column_text(&out->name, &ok, statement, 1);
    if (rc == BOUGH_OK)
        rc = bough__branch_row_sum(&sum, out);
    snprintf(key, sizeof key, "%" PRId64, out->id);
    if (rc == BOUGH_OK)
        rc = check_sum(catalog, statement, 11, sum, ok, "branch", key);
    if (rc != BOUGH_OK)
        bough__branch_row_clear(out);
    return rc;
}

/* The row of a statement that is bound already. */
static int find_branch(struct bough__branch_row *out, struct bough__catalog *catalog, sqlite3_stmt *statement,
                       const char *what)
{
    bool has_row = false;
    memset(out, 0, sizeof *out);
    int rc = step(&has_row, catalog, statement);
    if (rc == BOUGH_OK)
        rc = has_row ? read_branch(out, catalog, statement)
                     : bough__fail(BOUGH_NOT_FOUND, "there is no branch %s", what);
    done_with(statement);
    return rc;
}

int bough__catalog_branch_by_name(struct bough__branch_row *out, struct bough__catalog *catalog, const char *name)
{
    sqlite3_stmt *statement = NULL;
    memset(out, 0, sizeof *out);
    int rc = use(&statement, catalog, BRANCH_BY_NAME);
    if (rc != BOUGH_OK)
        return rc;
    bind_text(statement, 1, name);
    rc = find_branch(out, catalog, statement, name);
    if (rc == BOUGH_OK && strcmp(out->name, name) != 0) { /* the index led to another row */
        bough__branch_row_clear(out);
        rc = bough__fail(BOUGH_CORRUPT, "%s: the index of branch names is damaged at %s", catalog->path, name);
    }
    return rc;
}

int bough__catalog_branch_by_id(struct bough__branch_row *out, struct bough__catalog *catalog, int64_t id)
{
    char what[32];
    sqlite3_stmt *statement = NULL;
    memset(out, 0, sizeof *out);
    int rc = use(&statement, catalog, BRANCH_BY_ID);
    if (rc != BOUGH_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, id);
    snprintf(what, sizeof what, "number %" PRId64, id);
    return find_branch(out, catalog, statement, what);
}

/* A statement of its own for each scan, so that callbacks may start others. */
static int scan_branches(struct bough__catalog *catalog, const char *sql, int64_t id, bough__branch_callback *callback,
                         void *context)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = true;
    int code = sqlite3_prepare_v2(catalog->db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK && sqlite3_bind_parameter_count(statement) > 0)
        code = sqlite3_bind_int64(statement, 1, id);
    int rc = code == SQLITE_OK ? BOUGH_OK : fail_sqlite(catalog, code);
    while (rc == BOUGH_OK && (rc = step(&has_row, catalog, statement)) == BOUGH_OK && has_row) {
        struct bough__branch_row row;
        rc = read_branch(&row, catalog, statement);
        if (rc == BOUGH_OK)
            rc = callback(context, &row);
        bough__branch_row_clear(&row);
    }
    sqlite3_finalize(statement);
    return rc;
}

int bough__catalog_branches(struct bough__catalog *catalog, bough__branch_callback *callback, void *context)
{
    return scan_branches(catalog, "SELECT " BRANCH_COLUMNS " FROM catalog.branches ORDER BY name", 0, callback,
                         context);
}

int bough__catalog_children(struct bough__catalog *catalog, int64_t parent_id, bough__branch_callback *callback,
                            void *context)
{
    return scan_branches(catalog,
                         "SELECT " BRANCH_COLUMNS " FROM catalog.branches WHERE parent_id = ?1 AND parent_id <> 0",
                         parent_id, callback, context);
}

static int write_branch(struct bough__catalog *catalog, enum statement which, const struct bough__branch_row *row)
{
    sqlite3_stmt *statement = NULL;
    int64_t sum = 0;
    int rc = use(&statement, catalog, which);
    if (rc == BOUGH_OK)
        rc = bough__branch_row_sum(&sum, row);
    if (rc != BOUGH_OK)
        return rc;
    int code = sqlite3_bind_int64(statement, 1, row->id);
    code |= bind_text(statement, 2, row->name);
    code |= sqlite3_bind_int64(statement, 3, row->parent_id);
    code |= row->has_base ? bind_digest(statement, 4, row->base) : sqlite3_bind_null(statement, 4);
    code |= bind_digest(statement, 5, row->head);
    code |= bind_u64(statement, 6, row->layer);
    code |= bind_u64(statement, 7, row->head_txn);
    code |= bind_u64(statement, 8, row->node_bytes);
    code |= sqlite3_bind_int(statement, 9, row->is_protected);
    code |= sqlite3_bind_int64(statement, 10, row->created_at_ms);
    code |= sqlite3_bind_int64(statement, 11, row->expires_at_ms);
    code |= sqlite3_bind_int64(statement, 12, sum);
    return finish(catalog, statement, code == SQLITE_OK ? SQLITE_OK : SQLITE_NOMEM);
}

int bough__catalog_branch_insert(struct bough__catalog *catalog, struct bough__branch_row *row)
{
    row->id = row->layer;
    int rc = write_branch(catalog, BRANCH_INSERT, row);
    return rc == BOUGH_REFUSED ? bough__fail(rc, "a branch %s exists already", row->name) : rc;
}

int bough__catalog_branch_update(struct bough__catalog *catalog, const struct bough__branch_row *row)
{
    int rc = write_branch(catalog, BRANCH_UPDATE, row);
    if (rc == BOUGH_REFUSED)
        return bough__fail(rc, "a branch %s exists already", row->name);
    if (rc == BOUGH_OK && sqlite3_changes(catalog->db) != 1)
        return bough__fail(BOUGH_NOT_FOUND, "there is no branch %s", row->name);
    return rc;
}

int bough__catalog_branch_delete(struct bough__catalog *catalog, int64_t id)
{
    sqlite3_stmt *statement = NULL;
    int rc = use(&statement, catalog, BRANCH_DELETE);
    if (rc != BOUGH_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, id);
    rc = finish(catalog, statement, SQLITE_OK);
    if (rc == BOUGH_OK && sqlite3_changes(catalog->db) != 1)
        rc = bough__fail(BOUGH_NOT_FOUND, "there is no branch number %" PRId64, id);
    return rc;
}

int bough__catalog_new_layer(uint32_t *out, struct bough__catalog *catalog)
{
    char *text = NULL, next[16];
    int rc = bough__catalog_setting_get(&text, catalog, "layer");
    if (rc != BOUGH_OK)
        return rc;
    uint64_t last = text ? strtoull(text, NULL, 10) : UINT64_MAX;
    free(text);
    if (last >= UINT32_MAX)
        return bough__fail(BOUGH_CORRUPT, "%s: the counter of layers is missing or used up", catalog->path);
    snprintf(next, sizeof next, "%" PRIu64, last + 1);
    rc = bough__catalog_setting_put(catalog, "layer", next);
    if (rc == BOUGH_OK)
        *out = (uint32_t)(last + 1);
    return rc;
}

/* ---- commits --------------------------------------------------------------------------------------------------- */

static int read_parents(struct bough__commit_row *out, sqlite3_stmt *statement, int index, bool *ok)
{
    const void *bytes = sqlite3_column_blob(statement, index);
    size_t len = (size_t)sqlite3_column_bytes(statement, index);
    *ok = len % BOUGH__DIGEST_SIZE == 0;
    out->parent_count = len / BOUGH__DIGEST_SIZE;
    if (out->parent_count == 0)
        return BOUGH_OK;
    out->parents = bough__alloc(out->parent_count * BOUGH__DIGEST_SIZE);
    if (!out->parents)
        return BOUGH_NOMEM;
    memcpy(out->parents, bytes, out->parent_count * BOUGH__DIGEST_SIZE);
    return BOUGH_OK;
}

/* Root and id are computed anew: the sum finds rot, they also find a row that was put together wrongly. */
static bool is_what_it_says(const struct bough__commit_row *row)
{
    uint8_t id[BOUGH__DIGEST_SIZE], root[BOUGH__DIGEST_SIZE];
    return bough__root_id(root, &row->tree) == BOUGH_OK && memcmp(root, row->root, sizeof root) == 0 &&
           bough__commit_id(id, row) == BOUGH_OK && memcmp(id, row->id, sizeof id) == 0;
}

static int read_commit(struct bough__commit_row *out, const struct bough__catalog *catalog, sqlite3_stmt *statement)
{
    char key[2 * BOUGH__DIGEST_SIZE + 1];
    int64_t sum = 0;
    bool parents_ok = false;
    memset(out, 0, sizeof *out);
    bool ok = column_digest(out->id, statement, 0);
    ok = column_digest(out->root, statement, 1) && ok;
    const void *tree = sqlite3_column_blob(statement, 2);
    ok = ok && tree && sqlite3_column_bytes(statement, 2) == BOUGH__TREE_BYTES &&
         bough__tree_decode(&out->tree, tree) == BOUGH_OK;
    ok = column_u32(&out->page_size, statement, 3) && ok;
    int rc = read_parents(out, statement, 4, &parents_ok);
    if (rc == BOUGH_OK)
        rc = column_text(&out->author, &ok, statement, 5);
    if (rc == BOUGH_OK)
        rc = column_text(&out->message, &ok, statement, 6);
    out->created_at_ms = sqlite3_column_int64(statement, 7);
    out->changed_pages = column_u64(statement, 8);
    ok = column_u32(&out->layer, statement, 9) && ok;
    out->txn = column_u64(statement, 10);
    ok = column_bool(&out->automatic, statement, 11) && ok;
    ok = column_bool(&out->pruned, statement, 12) && ok;
    if (rc == BOUGH_OK)
        rc = bough__commit_row_sum(&sum, out);
    bough__hex(key, out->id, sizeof out->id);
    if (rc == BOUGH_OK)
        rc = check_sum(catalog, statement, 13, sum, ok && parents_ok && is_what_it_says(out), "commit", key);
    if (rc != BOUGH_OK)
        bough__commit_row_clear(out);
    return rc;
}

int bough__catalog_commit_by_id(struct bough__commit_row *out, struct bough__catalog *catalog,
                                const uint8_t id[BOUGH__DIGEST_SIZE])
{
    char hex[2 * BOUGH__DIGEST_SIZE + 1];
    sqlite3_stmt *statement = NULL;
    bool has_row = false;
    memset(out, 0, sizeof *out);
    int rc = use(&statement, catalog, COMMIT_BY_ID);
    if (rc != BOUGH_OK)
        return rc;
    bind_digest(statement, 1, id);
    bough__hex(hex, id, BOUGH__DIGEST_SIZE);
    rc = step(&has_row, catalog, statement);
    if (rc == BOUGH_OK)
        rc =
            has_row ? read_commit(out, catalog, statement) : bough__fail(BOUGH_NOT_FOUND, "there is no commit %s", hex);
    if (rc == BOUGH_OK && memcmp(out->id, id, BOUGH__DIGEST_SIZE) != 0) {
        bough__commit_row_clear(out);
        rc = bough__fail(BOUGH_CORRUPT, "%s: the index of commits is damaged at %s", catalog->path, hex);
    }
    done_with(statement);
    return rc;
}

/* The lowest or highest id that starts with the digits: the rest filled with one digit. False: no hex. */
static bool bound_of_prefix(uint8_t out[BOUGH__DIGEST_SIZE], const char *prefix, char fill)
{
    char digits[2 * BOUGH__DIGEST_SIZE + 1];
    size_t len = strlen(prefix);
    if (len > sizeof digits - 1)
        return false;
    memset(digits, fill, sizeof digits - 1);
    digits[sizeof digits - 1] = 0;
    memcpy(digits, prefix, len);
    return bough__unhex(out, digits, BOUGH__DIGEST_SIZE);
}

int bough__catalog_commits_by_prefix(struct bough__commit_row **out, size_t *out_count, struct bough__catalog *catalog,
                                     const char *hex_prefix, size_t limit)
{
    sqlite3_stmt *statement = NULL;
    uint8_t low[BOUGH__DIGEST_SIZE], high[BOUGH__DIGEST_SIZE];
    bool has_row = true;
    size_t count = 0;
    *out = NULL;
    *out_count = 0;
    if (!bound_of_prefix(low, hex_prefix, '0') || !bound_of_prefix(high, hex_prefix, 'f'))
        return bough__fail(BOUGH_USAGE, "%s is no commit id", hex_prefix);
    struct bough__commit_row *rows = bough__alloc((limit ? limit : 1) * sizeof *rows);
    if (!rows)
        return BOUGH_NOMEM;
    int rc = use(&statement, catalog, COMMITS_BY_PREFIX);
    if (rc == BOUGH_OK) {
        bind_digest(statement, 1, low);
        bind_digest(statement, 2, high);
        sqlite3_bind_int64(statement, 3, (sqlite3_int64)limit);
    }
    while (rc == BOUGH_OK && (rc = step(&has_row, catalog, statement)) == BOUGH_OK && has_row && count < limit)
        if ((rc = read_commit(&rows[count], catalog, statement)) == BOUGH_OK)
            count++;
    done_with(statement);
    if (rc == BOUGH_OK) {
        *out = rows;
        *out_count = count;
        return BOUGH_OK;
    }
    while (count > 0)
        bough__commit_row_clear(&rows[--count]);
    free(rows);
    return rc;
}

int bough__catalog_commit_insert(struct bough__catalog *catalog, const struct bough__commit_row *row)
{
    sqlite3_stmt *statement = NULL;
    uint8_t tree[BOUGH__TREE_BYTES];
    int64_t sum = 0;
    int rc = use(&statement, catalog, COMMIT_INSERT);
    if (rc == BOUGH_OK)
        rc = bough__commit_row_sum(&sum, row);
    if (rc != BOUGH_OK)
        return rc;
    bough__tree_encode(tree, &row->tree);
    int code = bind_digest(statement, 1, row->id);
    code |= bind_digest(statement, 2, row->root);
    code |= sqlite3_bind_blob(statement, 3, tree, sizeof tree, SQLITE_STATIC);
    code |= bind_u64(statement, 4, row->page_size);
    code |= row->parent_count ? sqlite3_bind_blob(statement, 5, row->parents,
                                                  (int)(row->parent_count * BOUGH__DIGEST_SIZE), SQLITE_STATIC)
                              : sqlite3_bind_zeroblob(statement, 5, 0);
    code |= bind_text(statement, 6, row->author);
    code |= bind_text(statement, 7, row->message);
    code |= sqlite3_bind_int64(statement, 8, row->created_at_ms);
    code |= bind_u64(statement, 9, row->changed_pages);
    code |= bind_u64(statement, 10, row->layer);
    code |= bind_u64(statement, 11, row->txn);
    code |= sqlite3_bind_int(statement, 12, row->automatic);
    code |= sqlite3_bind_int(statement, 13, row->pruned);
    code |= sqlite3_bind_int64(statement, 14, sum);
    rc = finish(catalog, statement, code == SQLITE_OK ? SQLITE_OK : SQLITE_NOMEM);
    return rc == BOUGH_REFUSED ? bough__fail(rc, "the commit exists already") : rc;
}

int bough__catalog_layer_has_commits(bool *out, struct bough__catalog *catalog, uint32_t layer)
{
    sqlite3_stmt *statement = NULL;
    *out = false;
    int rc = use(&statement, catalog, COMMIT_OF_LAYER);
    if (rc != BOUGH_OK)
        return rc;
    bind_u64(statement, 1, layer);
    rc = step(out, catalog, statement);
    done_with(statement);
    return rc;
}

int bough__catalog_commits(struct bough__catalog *catalog, bough__commit_callback *callback, void *context)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = true;
    int code = sqlite3_prepare_v2(catalog->db, "SELECT " COMMIT_COLUMNS " FROM catalog.commits ORDER BY rowid", -1,
                                  &statement, NULL);
    int rc = code == SQLITE_OK ? BOUGH_OK : fail_sqlite(catalog, code);
    while (rc == BOUGH_OK && (rc = step(&has_row, catalog, statement)) == BOUGH_OK && has_row) {
        struct bough__commit_row row;
        rc = read_commit(&row, catalog, statement);
        if (rc == BOUGH_OK)
            rc = callback(context, &row);
        bough__commit_row_clear(&row);
    }
    sqlite3_finalize(statement);
    return rc;
}

/* ---- tags ------------------------------------------------------------------------------------------------------ */

static int read_tag(struct bough__tag_row *out, const struct bough__catalog *catalog, sqlite3_stmt *statement)
{
    int64_t sum = 0;
    memset(out, 0, sizeof *out);
    bool ok = column_digest(out->commit, statement, 1);
    out->created_at_ms = sqlite3_column_int64(statement, 2);
    int rc = column_text(&out->name, &ok, statement, 0);
    if (rc == BOUGH_OK)
        rc = bough__tag_row_sum(&sum, out);
    if (rc == BOUGH_OK)
        rc = check_sum(catalog, statement, 3, sum, ok, "tag", out->name);
    if (rc != BOUGH_OK)
        bough__tag_row_clear(out);
    return rc;
}

int bough__catalog_tag_by_name(struct bough__tag_row *out, struct bough__catalog *catalog, const char *name)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = false;
    memset(out, 0, sizeof *out);
    int rc = use(&statement, catalog, TAG_BY_NAME);
    if (rc != BOUGH_OK)
        return rc;
    bind_text(statement, 1, name);
    rc = step(&has_row, catalog, statement);
    if (rc == BOUGH_OK)
        rc = has_row ? read_tag(out, catalog, statement) : bough__fail(BOUGH_NOT_FOUND, "there is no tag %s", name);
    done_with(statement);
    return rc;
}

int bough__catalog_tags(struct bough__catalog *catalog, bough__tag_callback *callback, void *context)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = true;
    int code =
        sqlite3_prepare_v2(catalog->db, "SELECT " TAG_COLUMNS " FROM catalog.tags ORDER BY name", -1, &statement, NULL);
    int rc = code == SQLITE_OK ? BOUGH_OK : fail_sqlite(catalog, code);
    while (rc == BOUGH_OK && (rc = step(&has_row, catalog, statement)) == BOUGH_OK && has_row) {
        struct bough__tag_row row;
        rc = read_tag(&row, catalog, statement);
        if (rc == BOUGH_OK)
            rc = callback(context, &row);
        bough__tag_row_clear(&row);
    }
    sqlite3_finalize(statement);
    return rc;
}

int bough__catalog_tag_insert(struct bough__catalog *catalog, const struct bough__tag_row *row)
{
    sqlite3_stmt *statement = NULL;
    int64_t sum = 0;
    int rc = use(&statement, catalog, TAG_INSERT);
    if (rc == BOUGH_OK)
        rc = bough__tag_row_sum(&sum, row);
    if (rc != BOUGH_OK)
        return rc;
    int code = bind_text(statement, 1, row->name);
    code |= bind_digest(statement, 2, row->commit);
    code |= sqlite3_bind_int64(statement, 3, row->created_at_ms);
    code |= sqlite3_bind_int64(statement, 4, sum);
    rc = finish(catalog, statement, code == SQLITE_OK ? SQLITE_OK : SQLITE_NOMEM);
    return rc == BOUGH_REFUSED ? bough__fail(rc, "a tag %s exists already", row->name) : rc;
}

int bough__catalog_tag_delete(struct bough__catalog *catalog, const char *name)
{
    sqlite3_stmt *statement = NULL;
    int rc = use(&statement, catalog, TAG_DELETE);
    if (rc != BOUGH_OK)
        return rc;
    rc = finish(catalog, statement, bind_text(statement, 1, name));
    if (rc == BOUGH_OK && sqlite3_changes(catalog->db) != 1)
        rc = bough__fail(BOUGH_NOT_FOUND, "there is no tag %s", name);
    return rc;
}

/* ---- settings -------------------------------------------------------------------------------------------------- */

static int read_setting(char **out, const struct bough__catalog *catalog, sqlite3_stmt *statement, const char *key)
{
    int64_t sum = 0;
    bool ok = true;
    int rc = column_text(out, &ok, statement, 0);
    if (rc == BOUGH_OK)
        rc = bough__setting_sum(&sum, key, *out);
    if (rc == BOUGH_OK)
        rc = check_sum(catalog, statement, 1, sum, ok, "setting", key);
    if (rc != BOUGH_OK) {
        free(*out);
        *out = NULL;
    }
    return rc;
}

int bough__catalog_setting_get(char **out, struct bough__catalog *catalog, const char *key)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = false;
    *out = NULL;
    int rc = use(&statement, catalog, SETTING_GET);
    if (rc != BOUGH_OK)
        return rc;
    bind_text(statement, 1, key);
    rc = step(&has_row, catalog, statement);
    if (rc == BOUGH_OK && has_row)
        rc = read_setting(out, catalog, statement, key);
    done_with(statement);
    return rc;
}

int bough__catalog_setting_put(struct bough__catalog *catalog, const char *key, const char *value)
{
    sqlite3_stmt *statement = NULL;
    int64_t sum = 0;
    int rc = use(&statement, catalog, value ? SETTING_PUT : SETTING_DELETE);
    if (rc == BOUGH_OK && value)
        rc = bough__setting_sum(&sum, key, value);
    if (rc != BOUGH_OK)
        return rc;
    int code = bind_text(statement, 1, key);
    if (value) {
        code |= bind_text(statement, 2, value);
        code |= sqlite3_bind_int64(statement, 3, sum);
    }
    return finish(catalog, statement, code == SQLITE_OK ? SQLITE_OK : SQLITE_NOMEM);
}

/* ---- check ----------------------------------------------------------------------------------------------------- */

typedef int finding_callback(void *context, const char *where, const char *what);

/* Each row of the result is a finding: its first column. `expected` (NULL: none) is a result that says all is well. */
static int report_rows(struct bough__catalog *catalog, const char *sql, const char *expected, finding_callback *finding,
                       void *context)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = true;
    int code = sqlite3_prepare_v2(catalog->db, sql, -1, &statement, NULL);
    int rc = code == SQLITE_OK ? BOUGH_OK : fail_sqlite(catalog, code);
    while (rc == BOUGH_OK && (rc = step(&has_row, catalog, statement)) == BOUGH_OK && has_row) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        if (!expected || !text || strcmp(text, expected) != 0)
            rc = finding(context, CATALOG_FILE, text ? text : "damaged");
    }
    sqlite3_finalize(statement);
    return rc == BOUGH_CORRUPT ? finding(context, CATALOG_FILE, bough_error_message()) : rc;
}

enum table { BRANCHES, COMMITS, TAGS, SETTINGS };

static int read_any(const struct bough__catalog *catalog, sqlite3_stmt *statement, enum table table)
{
    struct bough__branch_row branch = {0};
    struct bough__commit_row commit = {0};
    struct bough__tag_row tag = {0};
    char *value = NULL;
    int rc = BOUGH_OK;
    if (table == BRANCHES)
        rc = read_branch(&branch, catalog, statement);
    else if (table == COMMITS)
        rc = read_commit(&commit, catalog, statement);
    else if (table == TAGS)
        rc = read_tag(&tag, catalog, statement);
    else
        rc = read_setting(&value, catalog, statement, (const char *)sqlite3_column_text(statement, 2));
    bough__branch_row_clear(&branch);
    bough__commit_row_clear(&commit);
    bough__tag_row_clear(&tag);
    free(value);
    return rc;
}

static int check_rows(struct bough__catalog *catalog, enum table table, const char *sql, finding_callback *finding,
                      void *context)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = true;
    int code = sqlite3_prepare_v2(catalog->db, sql, -1, &statement, NULL);
    int rc = code == SQLITE_OK ? BOUGH_OK : fail_sqlite(catalog, code);
    while (rc == BOUGH_OK && (rc = step(&has_row, catalog, statement)) == BOUGH_OK && has_row) {
        rc = read_any(catalog, statement, table);
        if (rc == BOUGH_CORRUPT)
            rc = finding(context, CATALOG_FILE, bough_error_message());
    }
    sqlite3_finalize(statement);
    return rc == BOUGH_CORRUPT ? finding(context, CATALOG_FILE, bough_error_message()) : rc;
}

int bough__catalog_check(struct bough__catalog *catalog, finding_callback *finding, void *context)
{
    static const char *const tables[] = {
        [BRANCHES] = "SELECT " BRANCH_COLUMNS " FROM catalog.branches NOT INDEXED",
        [COMMITS] = "SELECT " COMMIT_COLUMNS " FROM catalog.commits NOT INDEXED",
        [TAGS] = "SELECT " TAG_COLUMNS " FROM catalog.tags NOT INDEXED",
        [SETTINGS] = "SELECT value, sum, key FROM catalog.settings",
    };
    static const char *const relations[] = {
        "SELECT 'the head of branch ' || name || ' is no commit' FROM catalog.branches"
        " WHERE head NOT IN (SELECT id FROM catalog.commits)",
        "SELECT 'the base of branch ' || name || ' is no commit' FROM catalog.branches"
        " WHERE base IS NOT NULL AND base NOT IN (SELECT id FROM catalog.commits)",
        "SELECT 'the parent of branch ' || name || ' is missing' FROM catalog.branches"
        " WHERE parent_id <> 0 AND parent_id NOT IN (SELECT id FROM catalog.branches)",
        "SELECT 'tag ' || name || ' names no commit' FROM catalog.tags"
        " WHERE commit_id NOT IN (SELECT id FROM catalog.commits)",
        "SELECT name || ' is both a branch and a tag' FROM catalog.tags"
        " WHERE name IN (SELECT name FROM catalog.branches)",
        "SELECT 'layer ' || layer || ' belongs to more than one branch' FROM catalog.branches"
        " GROUP BY layer HAVING count(*) > 1",
    };
    int rc = bough__catalog_read_begin(catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = report_rows(catalog, "PRAGMA catalog.integrity_check", "ok", finding, context);
    for (size_t i = 0; rc == BOUGH_OK && i < sizeof tables / sizeof tables[0]; i++)
        rc = check_rows(catalog, (enum table)i, tables[i], finding, context);
    for (size_t i = 0; rc == BOUGH_OK && i < sizeof relations / sizeof relations[0]; i++)
        rc = report_rows(catalog, relations[i], NULL, finding, context);
    bough__catalog_read_end(catalog);
    return rc;
}
