/* journal.h - the rollback journal that SQLite's pager believes it writes. See journal.c. */
#ifndef BOUGH_VFS_JOURNAL_H
#define BOUGH_VFS_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "sqlite_api.h"

struct bough__journal;

/* The state that a journal's pages were copied from. Pages that it holds need not be kept a second time. */
struct bough__journal_pages {
    void *context;
    /* Bytes of a page whose image may be left out; 0: of none. */
    uint32_t (*size)(void *context);
    /* True when the state has exactly these bytes (of that size) in the block. */
    bool (*holds)(void *context, uint64_t block, const void *page);
    /* Reads the block; a result code of SQLite's. */
    int (*read)(void *context, uint64_t block, void *out_page);
};

/* Opens an empty journal into out, which has room for bough__journal_handle_bytes(). What passes a megabyte goes to a
 * temporary file of `system`. pages may be NULL: everything is kept. *slot points to the journal until its xClose. */
int bough__journal_open(sqlite3_file *out, sqlite3_vfs *system, const struct bough__journal_pages *pages,
                        struct bough__journal **slot);
int bough__journal_handle_bytes(void);
/* Forgets everything written: the transaction that it could roll back is over. NULL is fine. */
void bough__journal_clear(struct bough__journal *journal);
/* Its database is being closed: clears it and leaves pages and slot alone from now on. NULL is fine. */
void bough__journal_detach(struct bough__journal *journal);
/* Bytes that it holds in memory and in its file, for tests. */
uint64_t bough__journal_stored_bytes(const struct bough__journal *journal);

#endif
