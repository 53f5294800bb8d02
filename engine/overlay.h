/* overlay.h - the versioned private index of one log generation: which frame holds a block as of a transaction.
 *
 * Built from the log by each process for itself; grows at its end only, and is replaced as a whole when a checkpoint
 * starts a new generation. Snapshots keep a reference, so an old generation stays as long as a reader looks at it.
 *
 * An entry is found through a hash of its block and a chain from the newest to the oldest version. The bound on the
 * log (256 KiB) bounds the index and with it the longest chain.
 *
 * Threads: any number of readers beside one appender (who holds the layer's mutex).
 */
#ifndef BOUGH_ENGINE_OVERLAY_H
#define BOUGH_ENGINE_OVERLAY_H

#include "log.h"
#include "map.h"

#include <pthread.h>
#include <stdatomic.h>

struct bough__overlay_entry {
    uint64_t block, txn, frame, sum;
    uint32_t older; /* index + 1 of the block's version before; 0: none in this generation */
};

/* At transaction txn the database was cut to first_block blocks or fewer. */
struct bough__overlay_cut {
    uint64_t txn, first_block;
};

struct bough__overlay {
    atomic_uint references;
    /* Constant after creation. */
    struct bough__tree tree; /* the state before the first transaction of this generation */
    uint64_t generation;
    uint64_t base_txn;       /* newest transaction that tree holds */
    uint64_t hold_txn;       /* newest transaction that a commit owned when this generation began */
    /* Guarded by the layer's mutex. */
    struct bough__log_position position; /* where the next record goes */
    uint64_t newest_txn;
    bool newest_is_prepared;             /* ... was written as such, and */
    struct bough__decision decision;     /* stands or falls with this */
    uint64_t size_bytes;
    uint64_t log_bytes; /* of records in this generation */
    uint64_t failed_bytes; /* as many when a checkpoint failed the last time; the writer's */
    /* Guarded by the lock. */
    pthread_rwlock_t lock;
    struct bough__overlay_entry *entries;
    uint32_t entry_count, entry_capacity;
    uint32_t block_count; /* different blocks among the entries */
    uint32_t *heads; /* index + 1 of a hash chain's newest entry; a power of two of them */
    uint32_t *links; /* entry index -> next in the same hash slot (another block), index + 1 */
    uint32_t head_count;
    struct bough__overlay_cut *cuts;
    uint32_t cut_count, cut_capacity;
};

int bough__overlay_create(struct bough__overlay **out, const struct bough__tree *tree, uint64_t generation,
                          uint64_t base_txn, uint64_t hold_txn);
void bough__overlay_retain(struct bough__overlay *overlay);
void bough__overlay_release(struct bough__overlay *overlay); /* NULL is fine */

/* Makes room, so that the adding that follows a durable commit cannot fail. */
int bough__overlay_reserve(struct bough__overlay *overlay, uint32_t entry_count);
/* Adds one transaction; room was reserved. */
void bough__overlay_add(struct bough__overlay *overlay, const struct bough__log_record *record);

enum bough__overlay_hit {
    BOUGH__OVERLAY_MISS, /* ask the tree */
    BOUGH__OVERLAY_ZERO, /* zeros: marked so, or cut off */
    BOUGH__OVERLAY_FRAME
};
/* The block as of txn. */
enum bough__overlay_hit bough__overlay_find(struct bough__overlay_entry *out, struct bough__overlay *overlay,
                                            uint64_t block, uint64_t txn);
/* The blocks that transactions in (after, txn] wrote, one as often as it was written; at most `most` of them. False
 * when there are more, when the database was cut meanwhile, or when this generation does not go back so far. */
bool bough__overlay_written(uint64_t *out_blocks, size_t *out_count, size_t most, struct bough__overlay *overlay,
                            uint64_t after, uint64_t txn);
/* What a fold needs: for each block touched up to txn its newest version, ascending by block (malloc'ed; versions that
 * were cut off later are left out), and the fewest blocks on the way. */
int bough__overlay_collect(struct bough__overlay_entry **out, size_t *out_count, uint64_t *out_keep_blocks,
                           struct bough__overlay *overlay, uint64_t txn);

#endif
