/* twin.h - one history told twice: a plain file under stock SQLite, and a branch of a store. Every statement runs on
 * both and must give the same rows, the same code and message, the same counters; at rest both must hold the same
 * bytes.
 *
 * The plain file uses a rollback journal, so that its change counter (bytes 24 and 92 of the header) moves as the
 * branch's does, and the comparison covers the whole header.
 *
 * One thing may differ, and only after something was rolled back: what stands in pages of the free list. SQLite does
 * not journal a page that was free when its transaction began; if the transaction uses it, spills it and is rolled
 * back, the plain file keeps what was spilled, where the branch has the page as it was before. Free pages hold nothing,
 * so their unused parts are left out of the comparison then.
 */
#ifndef BOUGH_TESTS_TWIN_H
#define BOUGH_TESTS_TWIN_H

#include "bough.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TWIN_PAST_MAX 4

struct twin {
    sqlite3 *plain, *branch;
    bough_store *store;
    char plain_path[512], store_path[512], export_path[512], branch_name[64];
    char label[160]; /* said in every failure: seed and settings */
    unsigned steps, forks;
    uint64_t rows, errors; /* seen so far: a history that yields neither tests nothing */
    bool has_rolled_back;  /* at any time */
    struct {
        char id[BOUGH_ID_SIZE];
        char path[512];
    } past[TWIN_PAST_MAX]; /* commits, and the bytes that the plain file had then */
    unsigned past_count;
};

/* Makes both below harness_directory(). file NULL: both begin empty; else as copies of it (through bough's init). */
void twin_start(struct twin *out, const char *file, const char *label);
void twin_stop(struct twin *twin);
/* Runs every statement of sql on both and compares. */
void twin_exec(struct twin *twin, const char *sql);
/* For statements whose answer may differ (journal_mode): runs, compares nothing. */
void twin_exec_quietly(struct twin *twin, const char *sql);
/* Writes bytes into the BLOB of a row on both, by incremental I/O; compares the codes. */
void twin_write_blob(struct twin *twin, const char *table, int64_t rowid, int offset, const void *bytes, int count);
/* Makes both give up a statement after so many operations of SQLite's machine; 0: never. */
void twin_interrupt_after(struct twin *twin, int operations);
bool twin_in_transaction(const struct twin *twin);
/* Closes both connections and opens them again. */
void twin_reopen(struct twin *twin);
/* A second pair of connections asks the same question and closes. */
void twin_observe(struct twin *twin, const char *sql);
/* Forks the branch and goes on with the child. was_open: the fork is made under the open connection. */
void twin_fork(struct twin *twin, bool was_open);
/* Seals the branch's newest transaction and remembers the plain file's bytes under the commit's id. */
void twin_commit(struct twin *twin);
/* Exports the branch and compares bytes with the plain file. */
void twin_compare(struct twin *twin);
/* Exports every commit remembered and compares bytes. */
void twin_compare_past(struct twin *twin);

#endif
