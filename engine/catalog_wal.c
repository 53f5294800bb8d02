/* catalog_wal.c - care for the catalog's WAL: killed writers, failed syncs, lost transactions, its size.
 *
 * Lost transactions. SQLite takes a WAL whose frames fail their checksums for one that a crash cut off, and goes on
 * with the state before them. So every transaction raises a number in the catalog, and when it is durable the number is
 * written into catalog.lock, under that lock. This is never synced: it says what was acknowledged, so a loss of power
 * may take it back, and never leaves one that is ahead of the catalog. A catalog behind it is damaged.
 */
#include "catalog_wal.h"

#include "codec.h"
#include "error.h"
#include "os.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAL_FRAME_BYTES  (BOUGH__CATALOG_PAGE_BYTES + 24)
#define WAL_LIMIT_FRAMES (BOUGH__WAL_LIMIT_BYTES / WAL_FRAME_BYTES)
/* Where readers keep a full WAL from starting over, it is checkpointed again only after so many frames more. */
#define WAL_RETRY_FRAMES 64

#define COUNT_KEY "transactions"
/* catalog.lock: what is not durable (1 byte), zeros, transactions that were acknowledged (8), their XXH3 (8) */
#define LOCK_BYTES 24

int bough__wal_note_size(void *context, sqlite3 *db, const char *schema, int frames)
{
    struct bough__catalog *catalog = context;
    (void)db;
    if (strcmp(schema, "catalog") == 0)
        catalog->wal_frames = frames;
    return SQLITE_OK;
}

int bough__wal_note_commit(struct bough__catalog *catalog)
{
    uint8_t bytes[LOCK_BYTES] = {0};
    bough__put64(bytes + 8, catalog->transactions);
    bough__put64(bytes + 16, bough__xxh(bytes + 8, 8, 0));
    return bough__os_write(catalog->lock_fd, bytes, sizeof bytes, 0, catalog->lock_path);
}

/* Bytes that fail their sum are not damage: all that is lost is a proof. */
static int read_lock_file(uint64_t *out_acknowledged, struct bough__catalog *catalog)
{
    uint8_t bytes[LOCK_BYTES] = {0};
    size_t len = 0;
    int rc = BOUGH_OK;
    *out_acknowledged = 0;
    if (catalog->lock_fd >= 0)
        rc = bough__os_read_some(&len, catalog->lock_fd, bytes, sizeof bytes, 0, catalog->lock_path);
    catalog->unsettled = bytes[0];
    if (rc == BOUGH_OK && len == sizeof bytes && bough__get64(bytes + 16) == bough__xxh(bytes + 8, 8, 0))
        *out_acknowledged = bough__get64(bytes + 8);
    return rc;
}

int bough__wal_check(struct bough__catalog *catalog)
{
    uint64_t acknowledged = 0;
    char *text = NULL;
    int rc = read_lock_file(&acknowledged, catalog); /* before the row: writers go on meanwhile */
    if (rc == BOUGH_OK)
        rc = bough__catalog_setting_get(&text, catalog, COUNT_KEY);
    if (rc != BOUGH_OK)
        return rc;
    catalog->transactions = text ? strtoull(text, NULL, 10) : 0;
    free(text);
    if (catalog->transactions >= acknowledged)
        return BOUGH_OK;
    return bough__fail(BOUGH_CORRUPT,
                       "%s-wal has lost transactions: %" PRIu64 " were committed, %" PRIu64 " are left. Emptying %s "
                       "accepts the older state",
                       catalog->path, acknowledged, catalog->transactions, catalog->lock_path);
}

int bough__wal_count_commit(struct bough__catalog *catalog)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, ++catalog->transactions);
    return bough__catalog_setting_put(catalog, COUNT_KEY, text);
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

static int sync_parent(const struct bough__catalog *catalog)
{
    char *path = bough__strdup(catalog->path);
    if (!path)
        return BOUGH_NOMEM;
    *strrchr(path, '/') = 0; /* now it is the store's */
    char *slash = strrchr(path, '/');
    if (slash)
        slash[slash == path] = 0;
    int rc = bough__os_sync_directory(slash ? path : ".");
    free(path);
    return rc;
}

int bough__wal_mark(struct bough__catalog *catalog, uint8_t unsettled)
{
    int rc = bough__os_write(catalog->lock_fd, &unsettled, 1, 0, catalog->lock_path);
    if (rc == BOUGH_OK)
        catalog->unsettled = unsettled;
    return rc;
}

int bough__wal_settle(struct bough__catalog *catalog)
{
    int rc = BOUGH_OK;
    if (catalog->unsettled & BOUGH__WAL_UNNAMED)
        rc = sync_parent(catalog);
    if (rc == BOUGH_OK && (catalog->unsettled & BOUGH__WAL_UNDER_WAY))
        rc = sync_wal(catalog);
    return rc == BOUGH_OK && catalog->unsettled ? bough__wal_mark(catalog, 0) : rc;
}

void bough__wal_checkpoint(struct bough__catalog *catalog)
{
    if (catalog->wal_frames < WAL_LIMIT_FRAMES) {
        catalog->checkpoint_at = WAL_LIMIT_FRAMES;
        return;
    }
    if (catalog->wal_frames < catalog->checkpoint_at)
        return;
    if (bough__catalog_enter(catalog) != BOUGH_OK)
        return;
    /* The transaction is durable; a checkpoint that fails now is tried again by a later one. It waits for nobody. */
    sqlite3_wal_checkpoint_v2(catalog->db, "catalog", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    bough__catalog_leave();
    catalog->checkpoint_at = catalog->wal_frames + WAL_RETRY_FRAMES;
}

void bough__catalog_checkpoint(struct bough__catalog *catalog)
{
    sqlite3_wal_checkpoint_v2(catalog->db, "catalog", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

/* A transaction whose sync failed may stand whole in the WAL: this connection and the shared index do not count it, but
 * a recovery would. One that changes nothing is written over it, which breaks the chain of its checksums whether or
 * not that one can be synced. */
void bough__wal_bury_failed_commit(struct bough__catalog *catalog)
{
    struct bough__error_state error;
    bough__error_save(&error);
    if (!sqlite3_get_autocommit(catalog->db))
        bough__sql_run(catalog, BOUGH__SQL_ROLLBACK);
    /* Twice, since SQLite writes no page for an update that leaves a row as it was. */
    static const char nothing[] = "BEGIN IMMEDIATE; UPDATE catalog.settings SET sum = ~sum WHERE key = 'layer';"
                                  "UPDATE catalog.settings SET sum = ~sum WHERE key = 'layer'; COMMIT";
    if (bough__sql_run_text(catalog, nothing) != BOUGH_OK && !sqlite3_get_autocommit(catalog->db))
        bough__sql_run(catalog, BOUGH__SQL_ROLLBACK);
    bough__error_restore(&error);
}
