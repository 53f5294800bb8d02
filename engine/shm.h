/* shm.h - the shared memory of one layer: what its openers in all processes agree on.
 *
 * A small file, run/N.shm, mapped by every process that has the layer open. It is believed only while the dead-man lock
 * has been held since it was built: the first opener (who gets that lock exclusively) rebuilds it from the layer alone,
 * the last closer removes it. What is in it may be lost at any time without losing data.
 *
 * Locks, one byte each, all open-file-description locks of the store's file `db`, so that a process that dies lets go
 * of them, and one descriptor is enough for all layers that a process has open. Those of number N, from byte
 * BOUGH__STORE_LAYER_BYTES + 128 N:
 *     0   dead-man: shared by every opener; exclusive while the first builds, the last closes, or a branch is seized.
 *         run/N.shm is made and removed under the exclusive one alone
 *     2   closing: held while an opener finds out whether it is the last, so that two cannot both say no
 *    16+i opener i: names the process in pids[i]
 * The writer lock itself is a word with the opener's number, so that a transaction takes it without a system call. Who
 * finds it taken tries the owner's lock: he lives while he holds it, and nobody can become him while another does. Who
 * wants to wait for it marks the word and sleeps on it (futex(2)); the owner then makes one call more, to wake one.
 * Order: closing before dead-man (exclusive); writer before dead-man (seize). Nobody waits for the writer lock while
 * holding closing.
 *
 * Published states sit in two slots with one atomic counter, whose lowest bit names the valid slot: a writer that is
 * killed in mid-publish has changed nothing that a reader looks at.
 *
 * Pins. A snapshot holds a pin: a word with its opener's number and its transaction. Setting one: load the newest
 * published transaction, store the pin, full fence, load again, repeat if it moved. The writer publishes, fences, and
 * then looks at the pins; so either the reader sees the new state or the writer sees the pin. A pin whose opener has
 * died is cleared by the next opener that takes his number, or by the writer that it is in the way of.
 *
 * A pin also names the tree that its state reads from, for gc, which takes those trees for roots. It is stored before
 * the pin with a mark that says "not sure yet", and the look at the published state that follows compares generations
 * as well; then the mark goes. A tree that gc sees with the mark may be one that was given up long ago, so it may be
 * unreadable. Any other is whole: its pin could be seen before it was superseded.
 *
 * Number 0 is no layer: there the processes of a store pin past states, which belong to no layer (space.h).
 */
#ifndef BOUGH_ENGINE_SHM_H
#define BOUGH_ENGINE_SHM_H

#include "map.h"
#include "process.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BOUGH__SHM_OPENERS 64
#define BOUGH__SHM_PINS 1024
#define BOUGH__NO_PIN (-1)

/* One published state of a layer. */
struct bough__published {
    uint64_t txn;         /* newest transaction */
    uint64_t generation;  /* of the log; 0: the layer has no file */
    uint64_t size_bytes;  /* of the database */
    uint64_t frame_count; /* frames handed out: the next writer goes on here */
    uint64_t block_size;
    struct bough__node_ref top; /* of the tree below the log */
};

struct bough__shm_map; /* the mapped bytes; shm_map.h */

struct bough__shm {
    struct bough__shm_map *map;
    struct bough__process_mapping mapping; /* map, unless is_private or only looked at; so the struct is not moved */
    int fd;               /* of the locks; of all layers that the process has open, unless owns_fd */
    bool owns_fd;
    uint64_t first_byte;  /* of this number's locks */
    int opener;           /* index in pids */
    char *path;
    /* No permission to write, or no room for the file: this process's own memory; it sees the state at opening and
     * cannot write. */
    bool is_private;
    int private_code;     /* BOUGH_IO or BOUGH_FULL: why */
    _Atomic bool was_woken; /* by one who gave the writer's lock up, and nobody here has asked for it since */
};

/* Opens run/NUMBER.shm below directory. *out_first: this process is the first and holds the dead-man lock exclusively;
 * it has to publish a state and call bough__shm_ready. *out_same_boot: the file was left by processes that died since
 * the machine started, so the page cache holds all that they wrote. locks_fd: the descriptor of the store's locks, one
 * for all that are open in this process at a time, each number once; it is the caller's. -1: one of its own. */
int bough__shm_open(struct bough__shm *out, bool *out_first, bool *out_same_boot, const char *directory, int locks_fd,
                    uint32_t number, mode_t mode, uint32_t timeout_ms);
/* That descriptor, where *out_fd is -1. Without permission to write there is none. */
int bough__shm_open_locks(int *out_fd, const char *directory);
/* Maps an existing file for reading alone, without becoming an opener: for tools. Of the functions below only those
 * that read may follow, and bough__shm_close. BOUGH_NOT_FOUND: no file. BOUGH_CORRUPT: not built, or of another
 * layout. */
int bough__shm_look(struct bough__shm *out, const char *directory, uint32_t number);
int bough__shm_ready(struct bough__shm *shm);
/* True: this process is the last and holds the dead-man lock exclusively (until bough__shm_close). */
bool bough__shm_is_last(struct bough__shm *shm);
/* remove: the caller is the last (or the first, before ready) and the file is to go. */
void bough__shm_close(struct bough__shm *shm, bool remove);

void bough__shm_publish(struct bough__shm *shm, const struct bough__published *state);
void bough__shm_read(struct bough__published *out, const struct bough__shm *shm);
/* Only the transaction's number: one atomic load and a check. */
uint64_t bough__shm_newest(const struct bough__shm *shm);

/* BOUGH_BUSY when another process's writer is in. */
int bough__shm_lock_writer(struct bough__shm *shm);
/* Wakes one of those who wait. */
void bough__shm_unlock_writer(struct bough__shm *shm);
/* Returns when the writer's lock is free, or was, or the time is over. Whose owner died is free for who asks for it. */
void bough__shm_wait_writer(struct bough__shm *shm, uint64_t max_us);
bool bough__shm_writer_is_in(struct bough__shm *shm);
/* The dead-man lock exclusively, against openers in other processes; BOUGH_BUSY when there are some. */
int bough__shm_seize(struct bough__shm *shm);
void bough__shm_unseize(struct bough__shm *shm);
size_t bough__shm_pids(const struct bough__shm *shm, int32_t out[BOUGH__SHM_OPENERS]);

/* ---- pins ---- */

/* Takes a pin for the newest transaction: *out_pin, and *out is the state. BOUGH_BUSY: all are taken. */
int bough__shm_pin(int *out_pin, struct bough__published *out, struct bough__shm *shm);
/* Keeps the place of the pin, but holds nothing; and back: false when txn is not the newest any more (parked then). */
void bough__shm_pin_park(struct bough__shm *shm, int pin);
bool bough__shm_pin_resume(struct bough__shm *shm, int pin, const struct bough__published *state);
void bough__shm_unpin(struct bough__shm *shm, int pin); /* BOUGH__NO_PIN is fine */
/* The transactions that are pinned, ascending, each once. look_for_dead: clears the pins of processes that died (a
 * system call for each opener that has any). *out_is_behind: someone who pins the oldest reads it from another
 * generation than the published one; his frames may be others. */
size_t bough__shm_pinned(struct bough__shm *shm, uint64_t out[BOUGH__SHM_PINS], bool *out_is_behind,
                         bool look_for_dead);

/* Frames that would be free but for pins, as the writer has found when it last looked. For those who ask. */
void bough__shm_note_kept(struct bough__shm *shm, uint64_t frames);
uint64_t bough__shm_kept(const struct bough__shm *shm);
/* Which branch goes on in another layer, or is about to; 0: none. For those who ask who has that branch open. */
void bough__shm_set_left_by(struct bough__shm *shm, int64_t branch_id);
int64_t bough__shm_left_by(const struct bough__shm *shm);
/* For how long the oldest pin of another process has been set; -1: there is none. */
int64_t bough__shm_oldest_pin_ms(const struct bough__shm *shm);

/* True: whoever has a pin that is not parked pins the newest state, as it is published now. The writer's. */
bool bough__shm_all_at_newest(struct bough__shm *shm);

/* Pins a tree alone, where the caller can tell afterwards whether that was in time; then it is sure. */
int bough__shm_pin_tree(int *out_pin, struct bough__shm *shm, struct bough__node_ref top);
void bough__shm_pin_is_sure(struct bough__shm *shm, int pin);

/* The dead-man lock of the number alone: nobody has the layer open until bough__shm_close. BOUGH_BUSY: somebody has. */
int bough__shm_take(struct bough__shm *out, const char *directory, uint32_t number);
/* Not being able to tell counts as open. */
bool bough__shm_is_open(const char *directory, uint32_t number);
/* Whether somebody reads a state of the layer that is not its newest. Not being able to tell counts as yes. */
bool bough__shm_is_behind(const char *directory, uint32_t number);
/* The newest transaction that those who have the layer open know to be durable; 0: nobody has it open. *out_is_closed:
 * and nobody has died with it open since the boot, so what its file says is on the disk, but for the second place of a
 * header whose first one is. */
int bough__shm_ask(uint64_t *out_durable, bool *out_is_closed, const char *directory, uint32_t number);
/* The trees that the openers of run/NUMBER.shm may read: the published one, and those that are pinned. Nobody has it
 * open: none. is_sure false: see above. BOUGH_BUSY: it is open by another version of bough. A result other than 0 of
 * the callback stops and is returned. */
typedef int bough__shm_tree_callback(void *context, struct bough__node_ref top, bool is_sure);
/* What is published there now; false: nobody has it open, or that cannot be found out. No permission is needed. */
bool bough__shm_told(struct bough__published *out, const char *directory, uint32_t number);
int bough__shm_published_tree(const char *directory, uint32_t number, bough__shm_tree_callback *callback,
                              void *context);
int bough__shm_pinned_trees(const char *directory, uint32_t number, bough__shm_tree_callback *callback, void *context);

/* Flags and marks that any opener may set. */
enum bough__shm_flag {
    BOUGH__SHM_GONE = 1,      /* the branch was deleted, or has another layer now */
    BOUGH__SHM_POISONED = 2,  /* a sync failed: what was written since the last good one does not count */
    BOUGH__SHM_HEADER = 4,    /* a header is being replaced; whoever gets the writer lock and sees this looks at it */
    BOUGH__SHM_PROTECTED = 8, /* the branch was protected while it was open */
    BOUGH__SHM_DOUBT = 16,    /* the branch's row is being changed, or was by a process that died: look at it */
    BOUGH__SHM_USELESS = 32,  /* gone, and no commit has frames in the layer: the last closer removes its file */
    BOUGH__SHM_PREPARED = 64, /* there may be a prepared transaction; whoever gets the writer lock resolves it */
    BOUGH__SHM_CONFIRMED = 128 /* a branch had the layer while it was open: gc has not taken the log away before */
};
uint32_t bough__shm_flags(const struct bough__shm *shm);
void bough__shm_set(struct bough__shm *shm, uint32_t flags);
void bough__shm_clear(struct bough__shm *shm, uint32_t flags);
/* Newest transaction known to be on the disk; newest one that a commit sealed. Only ever rise. */
uint64_t bough__shm_durable(const struct bough__shm *shm);
void bough__shm_raise_durable(struct bough__shm *shm, uint64_t txn);
uint64_t bough__shm_hold(const struct bough__shm *shm);
void bough__shm_raise_hold(struct bough__shm *shm, uint64_t txn);

#endif
