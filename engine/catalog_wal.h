/* catalog_wal.h - care for the catalog's WAL; for catalog.c and catalog_txn.c alone. */
#ifndef BOUGH_ENGINE_CATALOG_WAL_H
#define BOUGH_ENGINE_CATALOG_WAL_H

#include "catalog_sql.h"

#define BOUGH__WAL_LIMIT_BYTES (256 * 1024)

/* A hook of SQLite: how long the WAL is after this connection's commit. */
int bough__wal_note_size(void *context, sqlite3 *db, const char *schema, int frames);
int bough__wal_mark_commit(struct bough__catalog *catalog, uint8_t is_under_way);
/* The transaction is durable: takes the mark away and writes down how many there are. */
int bough__wal_note_commit(struct bough__catalog *catalog);
/* Inside a write transaction: counts it. */
int bough__wal_count_commit(struct bough__catalog *catalog);
/* BOUGH_CORRUPT: transactions that were acknowledged are not there. Reads catalog->transactions. */
int bough__wal_check(struct bough__catalog *catalog);
int bough__wal_settle_killed_writer(struct bough__catalog *catalog);
void bough__wal_checkpoint(struct bough__catalog *catalog);
void bough__wal_bury_failed_commit(struct bough__catalog *catalog);

#endif
