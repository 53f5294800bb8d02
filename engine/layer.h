/* layer.h - a branch's layer: the file that its overlay is written to, as this process has it open.
 *
 * The engine's verbs over one branch: pin the newest transaction (snapshot), read blocks of it, write a transaction and
 * commit it, fold a snapshot into a durable tree. See layer.c for the file's format and the protocol.
 *
 * Threads: every function here may be called from any thread, except that one snapshot or transaction belongs to one
 * thread at a time.
 */
#ifndef BOUGH_ENGINE_LAYER_H
#define BOUGH_ENGINE_LAYER_H

#include "map.h"
#include "space.h"

struct bough__layer;
struct bough__overlay;
struct bough__txn;

/* What the catalog says about the branch that the layer belongs to. */
struct bough__layer_owner {
    uint32_t number;            /* of the layer; reserved by the branch's row, the file may not exist */
    struct bough__tree head;    /* the branch's newest commit: the state where there is no file */
    uint8_t head_id[BOUGH__DIGEST_SIZE];
    uint64_t held_txn;          /* newest one of this layer that a commit sealed; 0: none */
    const char *branch;         /* name, for the layer's header and messages; copied */
    bool is_scratch;            /* see bough__layer_open */
    bool is_hearsay;            /* the branch may have left the layer since; see bough__layer_confirm */
};

/* Opens (or joins, in this process, unless it has no part in shared memory) the layer: maps its shared memory, and when
 * nobody has it open, recovers. The file
 * is made by the first write and not here. read_only: no write permission is needed on the store beyond shared memory.
 * Errors: BOUGH_CORRUPT, BOUGH_IO.
 *
 * A layer that is scratch is never synced, nor are the nodes of its checkpoints, and no state of it may be referred to
 * by anything else: after a power loss it may be torn, and nobody asks. For everyone who has it open it is like any
 * other; what is said to be durable there is so in the page cache. */
int bough__layer_open(struct bough__layer **out, struct bough__space *space, const struct bough__layer_owner *owner);
/* The branch's row was looked at while the layer was open, and it has the layer. Of one that its branch has left gc
 * keeps what commits refer to and not the log, so what an opener recovers there may be any older state. Unless one of
 * its openers has confirmed it the file stays as it is. */
void bough__layer_confirm(struct bough__layer *layer);
/* Without a part in shared memory (no permission to write, or no room on the disk) an opener sees the state at
 * opening. True: there may be a newer one, or room, so that it is worth while to open the layer anew and to let go of
 * this one. */
bool bough__layer_may_be_old(const struct bough__layer *layer);
/* Gives up one reference. The last closer of all processes makes everything durable, notes the newest transaction in
 * the header, cuts off the zero-filled tail and removes the shared memory. */
void bough__layer_close(struct bough__layer *layer);

/* Closes a descriptor of some layer that is open, but not in use; false: there is none. Any thread. */
bool bough__layer_spare_file(void);
/* The descriptors over a fork(); see process.h. */
void bough__layer_before_fork(void);
void bough__layer_after_fork_in_parent(void);
void bough__layer_after_fork_in_child(void);

/* Cheap, without opening: true when the layer's file was never made, so that the branch is exactly its head. */
int bough__layer_is_absent(bool *out, const struct bough__space *space, uint32_t number);

/* True when the layer has a durable transaction after txn, or was closed with a header in both places that includes it,
 * or has no file any more: whatever was in doubt about txn is settled. False also when that cannot be found out. */
bool bough__layer_is_past(struct bough__space *space, uint32_t number, uint64_t txn);

uint32_t bough__layer_number(const struct bough__layer *layer);
/* Newest published transaction; without a file, owner.held_txn, which is 0. */
uint64_t bough__layer_newest(struct bough__layer *layer);
/* Bytes the layer file and the nodes written for it take. */
uint64_t bough__layer_own_bytes(struct bough__layer *layer);
/* Processes other than this one that have the layer open (BOUGH__OPENERS_MAX at most); for status. */
#define BOUGH__OPENERS_MAX 64
int64_t bough__layer_oldest_reader_ms(struct bough__layer *layer); /* in other processes; -1: none */
uint64_t bough__layer_kept_bytes(struct bough__layer *layer); /* that open snapshots keep from being used again */
int bough__layer_openers(int32_t out_pids[BOUGH__OPENERS_MAX], size_t *out_count, struct bough__layer *layer);
/* Takes the writer's lock and keeps it until release: the branch's state stands still. BOUGH_BUSY after the timeout. */
int bough__layer_take(struct bough__layer *layer, uint32_t timeout_ms);
/* The same, and alone: BOUGH_BUSY when any other handle or process has the layer open, unless force. */
int bough__layer_seize(struct bough__layer *layer, bool force, uint32_t timeout_ms);
/* Returns when the writer's lock is free, or was for a moment, or the time is over. */
void bough__layer_wait_writer(struct bough__layer *layer, uint64_t max_us);
/* To be called by who took or seized the layer, before the catalog's row of its branch is changed so that it names
 * another layer, or is deleted: from now on everyone looks at the row before a transaction. See move.c. */
void bough__layer_doubt(struct bough__layer *layer);
/* The same, where the branch gets another layer: who has this one open has the branch open (left.h). */
void bough__layer_doubt_left(struct bough__layer *layer, int64_t branch_id);
/* True: the layer's branch may be deleted or have another layer now; the row tells. No system call. */
bool bough__layer_is_doubtful(const struct bough__layer *layer);
enum bough__layer_fate {
    BOUGH__LAYER_KEPT,     /* it is the branch's layer as before: the doubt is over, if it was the caller's */
    BOUGH__LAYER_LEFT,     /* the branch is deleted or has another layer */
    BOUGH__LAYER_USELESS,  /* the same, and no commit has frames in it: the last closer removes the file */
    BOUGH__LAYER_IN_DOUBT  /* not decided yet */
};
void bough__layer_release(struct bough__layer *layer, enum bough__layer_fate fate);
/* The same without giving the writer's lock up, for one who holds it by a transaction: the branch has left, and no
 * commit has frames here (is_useless); the doubt is over. */
void bough__layer_leave(struct bough__layer *layer, bool is_useless);
void bough__layer_trust(struct bough__layer *layer);
/* Tells those who have the layer open that its branch is protected (or no longer): their next transaction is refused.
 * Who opens it later sees the branch's row. */
void bough__layer_set_protected(struct bough__layer *layer, bool is_protected);
/* Commits up to txn belong to a commit now: frames born at or before it are kept until gc frees them. Called before
 * the commit's row is written. */
void bough__layer_hold(struct bough__layer *layer, uint64_t txn);

/* ---- snapshots ---- */

/* After a failed sync: brings everything to the disk that may not be there, if nobody is writing at the moment. What
 * goes wrong is told by who needs it on the disk. Before a snapshot is pinned that is to be folded. */
void bough__layer_mend(struct bough__layer *layer);

/* One immutable state. Filled by a pin; contents are private to engine except size_bytes, block_size, txn. */
struct bough__snapshot {
    struct bough__space *space;
    struct bough__layer *layer;     /* NULL: a past state */
    struct bough__overlay *overlay; /* NULL: a past state */
    int pin;                        /* in shared memory; keeps the frames and nodes of this state */
    struct bough__appender *appender; /* of a fold, until the release; else NULL */
    struct bough__tree tree;        /* what the overlay lies on */
    uint64_t txn;
    uint64_t size_bytes;
    uint32_t block_size;            /* 0 for an empty database that nobody has written yet */
};

/* Pins the newest transaction. No system call when this process has seen it already. */
int bough__snapshot_pin(struct bough__snapshot *out, struct bough__layer *layer);
/* The same for a state that is going to be committed: its frames are kept for the commit before anyone could take them
 * for dead. */
int bough__snapshot_pin_and_hold(struct bough__snapshot *out, struct bough__layer *layer);
/* An idle connection: the snapshot stays, but keeps nothing from being used again, so it must not be read until it was
 * resumed. False: it is not the newest any more, and of no use. No system call. */
void bough__snapshot_park(struct bough__snapshot *snapshot);
bool bough__snapshot_resume(struct bough__snapshot *snapshot);
/* A past state; holds a reference to space until release. Its pin counts for gc if the caller finds afterwards, in
 * what the catalog says now, that the tree was not given up; then it calls the second. (store.h has both in one.) */
int bough__snapshot_of_tree(struct bough__snapshot *out, struct bough__space *space, const struct bough__tree *tree);
void bough__snapshot_is_sure(struct bough__snapshot *snapshot);
void bough__snapshot_release(struct bough__snapshot *snapshot);
/* True while nothing was committed since: a cheap look at shared memory. */
bool bough__snapshot_is_newest(const struct bough__snapshot *snapshot);
/* Copies the block (block_size bytes; zeros beyond the end of the database) and checks it. BOUGH_CORRUPT names
 * layer, frame and block. use_mapping: see bough__files_read. */
int bough__snapshot_read(const struct bough__snapshot *snapshot, uint64_t block, void *out_page, bool use_mapping);
/* The blocks that were written after that transaction and up to the snapshot's, as overlay.h has it. False: not known,
 * or too many. `after` is a transaction that a snapshot of this layer had. No system call. */
bool bough__snapshot_written(uint64_t *out_blocks, size_t *out_count, size_t most,
                             const struct bough__snapshot *snapshot, uint64_t after);
/* Where the block lies: layer, frame and sum; with want_digest also birth and digest (a page of the overlay is hashed
 * then). */
int bough__snapshot_entry(struct bough__entry *out, const struct bough__snapshot *snapshot, uint64_t block,
                          bool want_digest);
/* Folds the overlay into a durable tree: layer synced if anything is not, nodes appended and synced. Never waits for
 * the branch's writer. For a past state: its tree. out_nodes (may be NULL): nodes written. The node file that took them
 * stays locked until the release, so that gc leaves it alone until something durable refers to them. */
int bough__snapshot_fold(struct bough__tree *out, uint64_t *out_nodes, struct bough__snapshot *snapshot);
/* Blocks that differ, in order; see bough__map_diff. Different block sizes: BOUGH_USAGE. The entries of blocks that
 * an overlay touched carry no digests: they are compared byte by byte. */
int bough__snapshot_diff(const struct bough__snapshot *a, const struct bough__snapshot *b,
                         bough__map_diff_callback *callback, void *context);

/* ---- transactions ---- */

enum bough__durability { BOUGH__LAZY /* synchronous OFF, NORMAL */, BOUGH__DURABLE /* FULL, EXTRA */ };

/* Takes the writer lock. BOUGH_BUSY: another writer is in (does not wait). BOUGH_STALE: snapshot is not the newest.
 * The snapshot must outlive the transaction. */
int bough__txn_begin(struct bough__txn **out, const struct bough__snapshot *snapshot);
/* Size of a block; sets it for an empty database (512 to 65536, a power of two). */
int bough__txn_set_block_size(struct bough__txn *txn, uint32_t block_size);
uint32_t bough__txn_block_size(const struct bough__txn *txn);
uint64_t bough__txn_size(const struct bough__txn *txn);
/* Writes one whole block; grows the database to size_bytes at least as far as the block's end (or to end_bytes when the
 * last page is short). */
int bough__txn_write(struct bough__txn *txn, uint64_t block, const void *page);
int bough__txn_read(struct bough__txn *txn, uint64_t block, void *out_page, bool use_mapping);
/* Shrinks or grows; what is cut off reads as zero when the database grows again. */
int bough__txn_resize(struct bough__txn *txn, uint64_t size_bytes);
bool bough__txn_is_dirty(const struct bough__txn *txn);
struct bough__space *bough__txn_space(const struct bough__txn *txn);
/* Commits what was written since begin or the last commit, publishes it, keeps the writer lock. Nothing written:
 * nothing happens. On failure the changes are dropped, the old state stays: BOUGH_FULL or BOUGH_IO. *out_txn: its
 * number. */
int bough__txn_commit(struct bough__txn *txn, enum bough__durability durability, uint64_t *out_txn);
/* Drops what is not committed; keeps the lock. */
void bough__txn_rollback(struct bough__txn *txn);
/* Rolls back and gives the writer lock up. NULL is fine. */
void bough__txn_end(struct bough__txn *txn);

/* ---- writing a layer without a log: import ---- */

/* Frames are written one after the other into a new layer of a reserved number; no log, no overlay, no shared
 * memory. */
struct bough__filler;
int bough__filler_begin(struct bough__filler **out, struct bough__space *space, uint32_t number, uint32_t block_size);
/* Appends a page of block_size bytes; fills out except its digest. */
int bough__filler_add(struct bough__entry *out, struct bough__filler *filler, uint64_t block, const void *page);
uint64_t bough__filler_bytes(const struct bough__filler *filler);
uint32_t bough__filler_number(const struct bough__filler *filler);
int bough__filler_sync(struct bough__filler *filler); /* file and directory */
/* Makes it the layer of a branch, durable, whose newest transaction `txn` is the tree that its frames belong to. */
int bough__filler_adopt(struct bough__filler *filler, const struct bough__tree *tree, uint64_t txn);
void bough__filler_end(struct bough__filler *filler, bool keep); /* keep false removes the file */

#endif
