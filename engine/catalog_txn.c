/* catalog_txn.c - transactions of the catalog: the queue of its writers, begin, commit, roll back. */
#include "catalog_sql.h"
#include "catalog_wal.h"
#include "error.h"
#include "os.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>

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
    return sqlite3_get_autocommit(catalog->db) ? BOUGH_OK : bough__sql_run(catalog, BOUGH__SQL_ROLLBACK);
}

int bough__catalog_begin(struct bough__catalog *catalog)
{
    assert(!catalog->is_writing && catalog->readers == 0);
    if (catalog->is_read_only)
        return bough__fail(BOUGH_IO, "%s: no permission to write", catalog->path);
    int rc = bough__catalog_refuse_inherited(catalog);
    if (rc == BOUGH_OK)
        rc = lock_queue(catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__catalog_enter(catalog); /* until the end of the transaction: a fork waits for it */
    if (rc == BOUGH_OK) {
        rc = end_leftover(catalog);
        if (rc == BOUGH_OK)
            rc = bough__sql_run(catalog, BOUGH__SQL_BEGIN_WRITE);
        if (rc != BOUGH_OK)
            bough__catalog_leave();
    }
    catalog->is_writing = rc == BOUGH_OK;
    if (rc != BOUGH_OK) {
        unlock_queue(catalog);
        return rc;
    }
    catalog->changes = sqlite3_total_changes(catalog->db);
    rc = bough__wal_check(catalog); /* nothing is written onto a state that has lost some */
    if (rc == BOUGH_OK)
        rc = bough__wal_settle(catalog);
    if (rc != BOUGH_OK)
        bough__catalog_rollback(catalog);
    return rc;
}

int bough__catalog_commit(struct bough__catalog *catalog)
{
    if (sqlite3_total_changes(catalog->db) == catalog->changes) {
        bough__catalog_rollback(catalog); /* nothing to make durable */
        return BOUGH_OK;
    }
    int rc = bough__wal_count_commit(catalog);
    if (rc == BOUGH_OK)
        rc = bough__wal_mark(catalog, BOUGH__WAL_UNDER_WAY);
    if (rc == BOUGH_OK)
        rc = bough__sql_run(catalog, BOUGH__SQL_COMMIT);
    if (rc != BOUGH_OK) {
        bough__wal_bury_failed_commit(catalog);
        bough__catalog_rollback(catalog);
        return rc;
    }
    (void)bough__wal_note_commit(catalog); /* left as it is, the mark costs the next opener a sync */
    catalog->is_writing = false;
    bough__catalog_leave();
    unlock_queue(catalog);
    bough__wal_checkpoint(catalog);
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
        bough__sql_run(catalog, BOUGH__SQL_ROLLBACK);
    catalog->is_writing = false;
    bough__catalog_leave();
    unlock_queue(catalog);
    bough__error_restore(&error);
}

int bough__catalog_read_begin(struct bough__catalog *catalog)
{
    int rc = bough__catalog_refuse_inherited(catalog);
    if (rc == BOUGH_OK && !catalog->is_writing && catalog->readers == 0)
        rc = end_leftover(catalog);
    if (rc == BOUGH_OK && !catalog->is_writing && catalog->readers == 0)
        rc = bough__sql_run(catalog, BOUGH__SQL_BEGIN_READ);
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
        bough__sql_run(catalog, BOUGH__SQL_COMMIT);
    bough__error_restore(&error);
}
