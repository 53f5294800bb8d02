/* catalog_wal.h - care for the catalog's WAL; for catalog.c and catalog_txn.c alone. */
#ifndef BOUGH_ENGINE_CATALOG_WAL_H
#define BOUGH_ENGINE_CATALOG_WAL_H

#include "catalog_sql.h"

#define BOUGH__WAL_LIMIT_BYTES (256 * 1024)

/* A hook of SQLite: how long the WAL is after this connection's commit. */
int bough__wal_note_size(void *context, sqlite3 *db, const char *schema, int frames);
/* The first byte of catalog.lock: what may be in the page cache alone. A process that is killed leaves it to the next
 * one to make that durable, before anyone builds on it. */
enum {
    BOUGH__WAL_UNDER_WAY = 1, /* a transaction: SQLite's recovery takes it as it is */
    BOUGH__WAL_UNNAMED = 2    /* the name of the store's directory */
};
int bough__wal_mark(struct bough__catalog *catalog, uint8_t unsettled);
/* Under the lock: makes durable what catalog->unsettled, as read by bough__wal_check, says. */
int bough__wal_settle(struct bough__catalog *catalog);
/* The transaction is durable: takes the mark away and writes down how many there are. */
int bough__wal_note_commit(struct bough__catalog *catalog);
/* Inside a write transaction: counts it. */
int bough__wal_count_commit(struct bough__catalog *catalog);
/* BOUGH_CORRUPT: transactions that were acknowledged are not there. Reads catalog->transactions
 * and catalog->unsettled. */
int bough__wal_check(struct bough__catalog *catalog);
void bough__wal_checkpoint(struct bough__catalog *catalog);
void bough__wal_bury_failed_commit(struct bough__catalog *catalog);

#endif
