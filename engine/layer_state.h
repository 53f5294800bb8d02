/* layer_state.h - a layer as one process has it open; shared by layer*.c, snapshot.c, txn.c and checkpoint.c alone.
 *
 * Locks, in order: the space's mutex, the layer's mutex, an overlay's lock. The writer (who holds the writer lock in
 * shared memory and `writer_is_in`) works without the layer's mutex and takes it only to put a new state in place.
 */
#ifndef BOUGH_ENGINE_LAYER_STATE_H
#define BOUGH_ENGINE_LAYER_STATE_H

#include "layer.h"
#include "layer_file.h"
#include "marks.h"
#include "overlay.h"
#include "recycler.h"
#include "shm.h"
#include "sight.h"

/* What keeps a fork in milliseconds (I2): beyond either, the writer folds its overlay into the tree. */
#define BOUGH__LOG_LIMIT (256u << 10)
#define BOUGH__UNHASHED_LIMIT (8u << 20)
/* What is written without a sync at most, and for how long: a loss of power takes that much. Frames of what is durable
 * are not used again meanwhile. */
#define BOUGH__UNSYNCED_LIMIT (16u << 20)
#define BOUGH__UNSYNCED_MS 10000u
/* Beyond it, where checkpoints fail for want of room or of descriptors, no transaction begins until one succeeds. */
#define BOUGH__LOG_MUST (16u << 20)

struct bough__layer {
    struct bough__layer *next; /* in the space's list, under its mutex, as are references */
    unsigned references;
    bool is_changing; /* somebody is opening it, or closing it for good */
    /* Constant after opening. */
    struct bough__space *space;
    uint32_t number;
    struct bough__tree head;
    uint8_t head_id[BOUGH__DIGEST_SIZE];
    uint64_t held_txn;
    bool is_scratch;
    char *branch, *path;
    struct bough__shm shm;
    struct bough__sight sight; /* of one without a part in shared memory; from before it was read */
    /* Guarded by the mutex. */
    pthread_mutex_t mutex;
    int fd; /* -1: no file, or not open: who uses it holds it (layer_fd.c), and opens it with the mutex held */
    uint32_t block_size; /* 0: an empty database without a file */
    struct bough__overlay *overlay;
    struct bough__layer_slot slot; /* of the overlay's generation; zeros without a file */
    struct bough__log_buffer log_buffer;
    bool writer_is_in, is_seized;
    bool has_doubted;           /* the one who holds the writer's lock: the doubt is his own */
    bool is_healing;            /* the writer's: a poisoned layer is being written anew */
    pthread_mutex_t sync_mutex; /* innermost: one sync at a time, so that a failure is nobody else's success */
    /* The writer's. */
    uint64_t file_size; /* bytes known to be in the file */
    uint8_t *write_buffer;     /* txn.c; NULL until the first write */
    struct bough__recycler recycler;
    bool is_writer; /* this process has written: it keeps track of dead frames */
    uint64_t lazy_txn; /* the newest that this process published before it was durable; layer_fd.c */
    uint64_t lazy_bytes, lazy_ms; /* what it has written for such transactions since one was, and when; the writer's */
    struct { /* layer_fd.c alone */
        struct bough__layer *previous, *next;
        unsigned users;
        uint64_t settled_txn; /* what this process wrote up to it is on the disk */
        dev_t device; /* of the file, since it was opened first; inode 0: it never was */
        ino_t inode;
    } file;
};

/* Brings the overlay up to the newest published transaction; *out is that state. Mutex held. */
int bough__layer_refresh(struct bough__layer *layer, struct bough__published *out);
/* Reads the log on up to the transaction, which is known to be there; else BOUGH_BUSY. Mutex held. */
int bough__layer_read_log(struct bough__layer *layer, uint64_t txn);
/* The slot as the file has it: since this process read it, the one who began the generation may have put a newer one
 * there, with other places for the lists (checkpoint.c, store_late). For who is about to replace it. */
int bough__layer_reread_slot(struct bough__layer *layer);
/* Keeps the descriptor, if there is one, from being given back until it is let go of; as often as one likes. Who has
 * the writer's lock holds it. */
void bough__layer_hold_file(struct bough__layer *layer);
void bough__layer_let_file(struct bough__layer *layer);
/* Opens the file if it is not open, for one who holds it. Mutex held. */
int bough__layer_open_file(struct bough__layer *layer);
/* Makes it; the writer's. */
int bough__layer_make_file(struct bough__layer *layer, const struct bough__layer_identity *identity,
                           struct bough__layer_slot *slot);
/* Closes it at once: nothing was written through it, or it was settled. */
void bough__layer_close_file(struct bough__layer *layer);
/* The same, but that the caller closes the descriptor, which he gets: -1 where there is none. */
int bough__layer_yield_file(struct bough__layer *layer);
/* For who is about to close the layer: what this process has written there is durable, and no other thread uses the
 * descriptor, nor will any. */
void bough__layer_settle_file(struct bough__layer *layer);
/* Puts a new generation's overlay and slot in place and publishes. Takes the mutex; takes over the overlay. */
void bough__layer_install(struct bough__layer *layer, struct bough__overlay *overlay,
                          const struct bough__layer_slot *slot, const struct bough__published *state);
/* A record is about to join the overlay: what it supersedes is dead. is_foreign: another process wrote it, and may have
 * taken frames that this one counts as free. */
void bough__layer_note_deaths(struct bough__layer *layer, const struct bough__log_record *record, bool is_foreign);
/* From the first write on, this process keeps track of dead frames. The writer's. */
int bough__layer_become_writer(struct bough__layer *layer);
/* Learns anew of what is dead, at the generation that the overlay is of. Mutex held. */
int bough__layer_start_recycler(struct bough__layer *layer);
/* A free frame; false: none. The writer's. */
bool bough__layer_take_frame(struct bough__layer *layer, uint64_t *out_frame);
/* The free extents of the slot without those that its generation's log has taken since. */
int bough__layer_free_extents(struct bough__frames *out, const struct bough__layer *layer,
                              const struct bough__layer_slot *slot, const struct bough__overlay *overlay);
/* Raises *count to what is handed out where this record counts; chunk_end: the end of the log's furthest chunk. */
void bough__layer_count_frames(uint64_t *count, const struct bough__layer *layer,
                               const struct bough__log_record *record, uint64_t chunk_end);
/* Position of the first record as a slot says. */
struct bough__log_position bough__layer_log_start(const struct bough__layer_slot *slot);

/* A transaction's pages on their way into a checkpoint. */
struct bough__fold_page;
struct bough__checkpoint {
    const struct bough__fold_page *pages; /* ascending by block; override the overlay's */
    size_t page_count;
    uint64_t keep_blocks, size_bytes, txn, frame_count;
    /* The pages are copies of a state that may be pinned: the frames that they were copied from are not freed, since
     * the state's number does not tell the copies from the originals. */
    bool keeps_frames;
};
/* Folds the overlay, and the transaction where given, into the tree and starts a new log generation; publishes. The
 * writer's. With a transaction, returning BOUGH_OK means that it is committed and durable. */
int bough__layer_checkpoint(struct bough__layer *layer, const struct bough__checkpoint *txn_or_null);
/* For gc: a checkpoint that computes anew which frames are free, from what is marked and what the branch itself refers
 * to; then the bytes of free frames go back to the file system. The writer's, who found beforehand that everyone is at
 * the newest state (bough__shm_all_at_newest) and then marked what commits refer to: a commit on its way from an older
 * state would be neither pinned nor marked otherwise. */
int bough__layer_reclaim(struct bough__layer *layer, struct bough__marks *marks, uint64_t dead_nodes);
/* After a failed sync: writes what is not known durable elsewhere, and folds. The writer's. */
int bough__layer_heal(struct bough__layer *layer);
/* The header's slot is in both places, or is put there: before the log is written to. The writer's. */
int bough__layer_double_header(struct bough__layer *layer);
/* fdatasync of the file; on failure the layer is poisoned. A poisoned layer cannot be synced, but while it heals. Of a
 * scratch layer nothing is done. */
int bough__layer_sync(struct bough__layer *layer);
/* The same whatever happened before: of what is on the disk already, or known to be in the page cache. */
int bough__layer_sync_anyway(struct bough__layer *layer);
/* Takes and gives up the writer lock, in the process and between processes. BOUGH_BUSY does not wait. */
int bough__layer_lock_writer(struct bough__layer *layer);
/* Brings the layer up to date for the one who has just locked it, repairing what a dead writer left. */
int bough__layer_prepare_writer(struct bough__layer *layer, struct bough__published *out);
void bough__layer_unlock_writer(struct bough__layer *layer);

#endif
