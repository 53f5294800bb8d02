/* catalog_sql.h - the catalog's connection and its statements; shared by the catalog_*.c files alone. */
#ifndef BOUGH_ENGINE_CATALOG_SQL_H
#define BOUGH_ENGINE_CATALOG_SQL_H

#include "catalog.h"
#include "sqlite_api.h"

#define BOUGH__CATALOG_FILE       "catalog.db"
#define BOUGH__CATALOG_PAGE_BYTES 1024

#define BOUGH__BRANCH_COLUMNS                                                                                          \
    "id, name, parent_id, base, head, layer, head_txn, held_txn, node_bytes, is_protected, created_at_ms, "            \
    "expires_at_ms, sum"
#define BOUGH__COMMIT_COLUMNS                                                                                          \
    "id, root, tree, page_size, parents, author, message, created_at_ms, changed_pages, layer, txn, automatic, "       \
    "pruned, sum"
#define BOUGH__MOVE_COLUMNS "branch_id, verb, before_id, after_id, note, created_at_ms, sum"
#define BOUGH__TAG_COLUMNS "name, commit_id, created_at_ms, sum"

enum bough__statement {
    BOUGH__SQL_BEGIN_WRITE,
    BOUGH__SQL_BEGIN_READ,
    BOUGH__SQL_COMMIT,
    BOUGH__SQL_ROLLBACK,
    BOUGH__SQL_BRANCH_BY_NAME,
    BOUGH__SQL_BRANCH_BY_ID,
    BOUGH__SQL_BRANCH_INSERT,
    BOUGH__SQL_BRANCH_UPDATE,
    BOUGH__SQL_BRANCH_DELETE,
    BOUGH__SQL_COMMIT_BY_ID,
    BOUGH__SQL_COMMITS_BY_PREFIX,
    BOUGH__SQL_COMMIT_INSERT,
    BOUGH__SQL_COMMIT_OF_LAYER,
    BOUGH__SQL_COMMIT_NEWEST_OF_LAYER,
    BOUGH__SQL_COMMIT_PRUNE,
    BOUGH__SQL_MOVE_INSERT,
    BOUGH__SQL_MOVES_FORGET,
    BOUGH__SQL_TAG_BY_NAME,
    BOUGH__SQL_TAG_INSERT,
    BOUGH__SQL_TAG_DELETE,
    BOUGH__SQL_SETTING_GET,
    BOUGH__SQL_SETTING_PUT,
    BOUGH__SQL_SETTING_DELETE,
    BOUGH__SQL_STATEMENT_COUNT
};

struct bough__catalog {
    struct bough__catalog *next; /* catalog_fork.c */
    uint32_t epoch;              /* see process.h */
    sqlite3 *db;
    sqlite3_stmt *statements[BOUGH__SQL_STATEMENT_COUNT]; /* prepared at first use, kept for the connection's life */
    char *path;                                           /* of catalog.db */
    char *lock_path;
    int lock_fd;
    mode_t mode;
    uint32_t timeout_ms;
    bool is_read_only;
    bool is_writing;
    unsigned readers;      /* nested bough__catalog_read_begin */
    int changes;           /* rows that the connection had changed when the transaction began */
    uint8_t unsettled;     /* first byte of catalog.lock, as it was read or written last */
    uint64_t transactions; /* that the catalog has seen, this one included */
    int wal_frames;        /* in the WAL after this connection's last commit */
    int checkpoint_at;     /* frames */
};

/* The code and message of what the connection met last. */
int bough__sql_fail(const struct bough__catalog *catalog, int sqlite_code);
/* True when a file could not be read in the call of SQLite just made. */
bool bough__sql_is_unreadable(void);
/* Around each use of the connection, also nested; see catalog_fork.c. BOUGH_USAGE in a child of the process that opened
 * the catalog. The functions that follow do it themselves: from use to reset, from prepare to finalize. */
int bough__catalog_refuse_inherited(const struct bough__catalog *catalog);
int bough__catalog_enter(const struct bough__catalog *catalog);
void bough__catalog_leave(void);
/* Before catalog->db is opened. BOUGH_BUSY: a child that cannot. */
int bough__catalog_connecting(struct bough__catalog *catalog);
/* Closes statements and db. */
void bough__catalog_disconnect(struct bough__catalog *catalog);

/* A statement, prepared at its first use; bough__sql_reset makes it ready for the next. */
int bough__sql_use(sqlite3_stmt **out, struct bough__catalog *catalog, enum bough__statement which);
void bough__sql_reset(sqlite3_stmt *statement); /* NULL is fine */
/* A statement of the caller's own, for one use. */
int bough__sql_prepare(sqlite3_stmt **out, struct bough__catalog *catalog, const char *sql);
void bough__sql_finalize(sqlite3_stmt *statement); /* NULL is fine */
int bough__sql_step(bool *out_row, const struct bough__catalog *catalog, sqlite3_stmt *statement);
/* Runs a bound statement that returns nothing. bind_code: of the bindings. */
int bough__sql_finish(const struct bough__catalog *catalog, sqlite3_stmt *statement, int bind_code);
int bough__sql_run(struct bough__catalog *catalog, enum bough__statement which);
int bough__sql_run_text(struct bough__catalog *catalog, const char *sql);

int bough__bind_text(sqlite3_stmt *statement, int index, const char *text);
int bough__bind_digest(sqlite3_stmt *statement, int index, const uint8_t digest[BOUGH__DIGEST_SIZE]);
int bough__bind_u64(sqlite3_stmt *statement, int index, uint64_t value);

bool bough__column_digest(uint8_t out[BOUGH__DIGEST_SIZE], sqlite3_stmt *statement, int index);
/* *ok becomes false for a text that goes on after a zero byte. */
int bough__column_text(char **out, bool *ok, sqlite3_stmt *statement, int index);
uint64_t bough__column_u64(sqlite3_stmt *statement, int index);
/* False: the column holds more than a row can, so that the sum would be that of another value. */
bool bough__column_u32(uint32_t *out, sqlite3_stmt *statement, int index);
bool bough__column_bool(bool *out, sqlite3_stmt *statement, int index);

/* Rows at which a statement stands, checked. */
int bough__read_branch(struct bough__branch_row *out, const struct bough__catalog *catalog, sqlite3_stmt *statement);
int bough__read_commit(struct bough__commit_row *out, const struct bough__catalog *catalog, sqlite3_stmt *statement);
int bough__read_move(struct bough__move_row *out, const struct bough__catalog *catalog, sqlite3_stmt *statement);
int bough__read_tag(struct bough__tag_row *out, const struct bough__catalog *catalog, sqlite3_stmt *statement);
int bough__read_setting(char **out, const struct bough__catalog *catalog, sqlite3_stmt *statement, const char *key);
/* Compares the sum of a row just read with the stored one. ok: the columns could be read at all. */
int bough__check_row(const struct bough__catalog *catalog, sqlite3_stmt *statement, int index, int64_t sum, bool ok,
                     const char *table, const char *key);

#endif
