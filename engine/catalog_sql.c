/* catalog_sql.c - statements of the catalog: prepared, bound, run, read; SQLite's codes as ours. */
#include "catalog_sql.h"

#include "error.h"
#include "os.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const statement_sql[BOUGH__SQL_STATEMENT_COUNT] = {
    [BOUGH__SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [BOUGH__SQL_BEGIN_READ] = "BEGIN",
    [BOUGH__SQL_COMMIT] = "COMMIT",
    [BOUGH__SQL_ROLLBACK] = "ROLLBACK",
    [BOUGH__SQL_BRANCH_BY_NAME] = "SELECT " BOUGH__BRANCH_COLUMNS " FROM catalog.branches WHERE name = ?1",
    [BOUGH__SQL_BRANCH_BY_ID] = "SELECT " BOUGH__BRANCH_COLUMNS " FROM catalog.branches WHERE id = ?1",
    [BOUGH__SQL_BRANCH_INSERT] =
        "INSERT INTO catalog.branches(" BOUGH__BRANCH_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)",
    [BOUGH__SQL_BRANCH_UPDATE] =
        "UPDATE catalog.branches SET name = ?2, parent_id = ?3, base = ?4, head = ?5, layer = ?6,"
        " head_txn = ?7, held_txn = ?8, node_bytes = ?9, is_protected = ?10, created_at_ms = ?11,"
        " expires_at_ms = ?12, sum = ?13 WHERE id = ?1",
    [BOUGH__SQL_BRANCH_DELETE] = "DELETE FROM catalog.branches WHERE id = ?1",
    [BOUGH__SQL_COMMIT_BY_ID] = "SELECT " BOUGH__COMMIT_COLUMNS " FROM catalog.commits WHERE id = ?1",
    [BOUGH__SQL_COMMITS_BY_PREFIX] =
        "SELECT " BOUGH__COMMIT_COLUMNS " FROM catalog.commits WHERE id BETWEEN ?1 AND ?2 ORDER BY id"
        " LIMIT ?3",
    [BOUGH__SQL_COMMIT_INSERT] = "INSERT INTO catalog.commits(" BOUGH__COMMIT_COLUMNS ")"
                                 " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)",
    [BOUGH__SQL_COMMIT_OF_LAYER] = "SELECT 1 FROM catalog.commits WHERE layer = ?1 AND layer <> 0 LIMIT 1",
    [BOUGH__SQL_COMMIT_NEWEST_OF_LAYER] = "SELECT " BOUGH__COMMIT_COLUMNS " FROM catalog.commits WHERE layer = ?1"
                                          " AND layer <> 0 ORDER BY rowid DESC LIMIT 1",
    [BOUGH__SQL_COMMIT_PRUNE] = "UPDATE catalog.commits SET pruned = 1, sum = ?2 WHERE id = ?1",
    [BOUGH__SQL_MOVE_INSERT] = "INSERT INTO catalog.moves(" BOUGH__MOVE_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7)",
    [BOUGH__SQL_MOVES_FORGET] = "DELETE FROM catalog.moves WHERE created_at_ms < ?1",
    [BOUGH__SQL_TAG_BY_NAME] = "SELECT " BOUGH__TAG_COLUMNS " FROM catalog.tags WHERE name = ?1",
    [BOUGH__SQL_TAG_INSERT] = "INSERT INTO catalog.tags(" BOUGH__TAG_COLUMNS ") VALUES(?1,?2,?3,?4)",
    [BOUGH__SQL_TAG_DELETE] = "DELETE FROM catalog.tags WHERE name = ?1",
    [BOUGH__SQL_SETTING_GET] = "SELECT value, sum FROM catalog.settings WHERE key = ?1",
    [BOUGH__SQL_SETTING_PUT] = "INSERT OR REPLACE INTO catalog.settings(key, value, sum) VALUES(?1,?2,?3)",
    [BOUGH__SQL_SETTING_DELETE] = "DELETE FROM catalog.settings WHERE key = ?1",
};

/* SQLite calls a file damaged that cannot be read. What the system said stands in errno, which is cleared before each
 * call of SQLite that may read. */
bool bough__sql_is_unreadable(void)
{
    return errno == EIO || errno == ENXIO || errno == ERANGE;
}

static int code_of_sqlite(sqlite3 *db, int sqlite_code)
{
    switch (sqlite_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return BOUGH_BUSY;
    case SQLITE_CORRUPT:
        return bough__sql_is_unreadable() ? BOUGH_IO : BOUGH_CORRUPT;
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
        /* Its errno is lost on the way. */
        if (sqlite_code == SQLITE_IOERR_SHMSIZE)
            return BOUGH_FULL;
        return error == ENOSPC || error == EDQUOT || error == EFBIG ? BOUGH_FULL : BOUGH_IO;
    }
    default:
        return BOUGH_IO;
    }
}

int bough__sql_fail(const struct bough__catalog *catalog, int sqlite_code)
{
    int extended = catalog->db ? sqlite3_extended_errcode(catalog->db) : sqlite_code;
    if ((extended & 0xff) != (sqlite_code & 0xff))
        extended = sqlite_code;
    int code = code_of_sqlite(catalog->db, extended);
    const char *text = catalog->db ? sqlite3_errmsg(catalog->db) : sqlite3_errstr(sqlite_code);
    if (code == BOUGH_IO && (sqlite_code & 0xff) == SQLITE_CORRUPT)
        text = "cannot be read: input/output error";
    return bough__fail(code, "%s: %s", catalog->path, text);
}

int bough__sql_use(sqlite3_stmt **out, struct bough__catalog *catalog, enum bough__statement which)
{
    int rc = bough__catalog_enter(catalog);
    if (rc != BOUGH_OK)
        return rc;
    if (!catalog->statements[which]) {
        errno = 0;
        int code = sqlite3_prepare_v3(catalog->db, statement_sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                                      &catalog->statements[which], NULL);
        if (code != SQLITE_OK) {
            rc = bough__sql_fail(catalog, code);
            bough__catalog_leave();
            return rc;
        }
    }
    *out = catalog->statements[which];
    return BOUGH_OK;
}

void bough__sql_reset(sqlite3_stmt *statement)
{
    if (statement) {
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
        bough__catalog_leave();
    }
}

int bough__sql_prepare(sqlite3_stmt **out, struct bough__catalog *catalog, const char *sql)
{
    *out = NULL;
    int rc = bough__catalog_enter(catalog);
    if (rc != BOUGH_OK)
        return rc;
    errno = 0;
    int code = sqlite3_prepare_v2(catalog->db, sql, -1, out, NULL);
    if (code != SQLITE_OK) {
        rc = bough__sql_fail(catalog, code);
        bough__catalog_leave();
    }
    return rc;
}

void bough__sql_finalize(sqlite3_stmt *statement)
{
    if (statement) {
        sqlite3_finalize(statement);
        bough__catalog_leave();
    }
}

int bough__sql_step(bool *out_row, const struct bough__catalog *catalog, sqlite3_stmt *statement)
{
    errno = 0;
    int code = sqlite3_step(statement);
    *out_row = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE ? BOUGH_OK : bough__sql_fail(catalog, code);
}

/* Runs a bound statement that returns nothing. bind_code: of the bindings. */
int bough__sql_finish(const struct bough__catalog *catalog, sqlite3_stmt *statement, int bind_code)
{
    bool has_row = false;
    int rc =
        bind_code == SQLITE_OK ? bough__sql_step(&has_row, catalog, statement) : bough__sql_fail(catalog, bind_code);
    bough__sql_reset(statement);
    return rc;
}

int bough__sql_run(struct bough__catalog *catalog, enum bough__statement which)
{
    sqlite3_stmt *statement = NULL;
    int rc = bough__sql_use(&statement, catalog, which);
    return rc == BOUGH_OK ? bough__sql_finish(catalog, statement, SQLITE_OK) : rc;
}

int bough__sql_run_text(struct bough__catalog *catalog, const char *sql)
{
    int rc = bough__catalog_enter(catalog);
    if (rc != BOUGH_OK)
        return rc;
    errno = 0;
    int code = sqlite3_exec(catalog->db, sql, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        rc = bough__sql_fail(catalog, code);
    bough__catalog_leave();
    return rc;
}

int bough__bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    return sqlite3_bind_text(statement, index, text ? text : "", -1, SQLITE_STATIC);
}

int bough__bind_digest(sqlite3_stmt *statement, int index, const uint8_t digest[BOUGH__DIGEST_SIZE])
{
    return sqlite3_bind_blob(statement, index, digest, BOUGH__DIGEST_SIZE, SQLITE_STATIC);
}

int bough__bind_u64(sqlite3_stmt *statement, int index, uint64_t value)
{
    return sqlite3_bind_int64(statement, index, (sqlite3_int64)value);
}

bool bough__column_digest(uint8_t out[BOUGH__DIGEST_SIZE], sqlite3_stmt *statement, int index)
{
    const void *bytes = sqlite3_column_blob(statement, index);
    if (!bytes || sqlite3_column_bytes(statement, index) != BOUGH__DIGEST_SIZE)
        return false;
    memcpy(out, bytes, BOUGH__DIGEST_SIZE);
    return true;
}

/* *ok becomes false for a text that goes on after a zero byte. */
int bough__column_text(char **out, bool *ok, sqlite3_stmt *statement, int index)
{
    const char *text = (const char *)sqlite3_column_text(statement, index);
    *out = bough__strdup(text ? text : "");
    if (!*out)
        return BOUGH_NOMEM;
    *ok = *ok && strlen(*out) == (size_t)sqlite3_column_bytes(statement, index);
    return BOUGH_OK;
}

uint64_t bough__column_u64(sqlite3_stmt *statement, int index)
{
    return (uint64_t)sqlite3_column_int64(statement, index);
}

/* False: the column holds more than a row can, so that the sum would be that of another value. */
bool bough__column_u32(uint32_t *out, sqlite3_stmt *statement, int index)
{
    sqlite3_int64 value = sqlite3_column_int64(statement, index);
    *out = (uint32_t)value;
    return value >= 0 && value <= UINT32_MAX;
}

bool bough__column_bool(bool *out, sqlite3_stmt *statement, int index)
{
    sqlite3_int64 value = sqlite3_column_int64(statement, index);
    *out = value != 0;
    return value == 0 || value == 1;
}

/* Compares the sum of a row just read with the stored one. ok: the columns could be read at all. */
int bough__check_row(const struct bough__catalog *catalog, sqlite3_stmt *statement, int index, int64_t sum, bool ok,
                     const char *table, const char *key)
{
    if (ok && sqlite3_column_type(statement, index) == SQLITE_INTEGER && sqlite3_column_int64(statement, index) == sum)
        return BOUGH_OK;
    return bough__fail(BOUGH_CORRUPT, "%s: the row of %s %s is damaged", catalog->path, table, key);
}
