/* move.h - a branch takes another state while others have it open; shared by reset, promote and import. See move.c. */
#ifndef BOUGH_ENGINE_MOVE_H
#define BOUGH_ENGINE_MOVE_H

#include "store.h"

struct bough__move {
    struct bough_store *store;
    struct bough__branch_row row; /* as it was when the writer's lock was taken */
    struct bough__layer *layer;   /* the one that is left; its writer's lock is ours */
    bool is_taken, is_moved;
    bool is_needed;    /* the user's: frames of the layer are in use although no commit may name it */
    bool is_confirmed; /* the row was seen under the lock: the layer is the branch's */
    bool has_expected;
    uint8_t expected[BOUGH__DIGEST_SIZE]; /* options->expect */
    const char *verb, *note;      /* for the record of moves; the caller's */
    struct bough_lock *lock;      /* options->lock: where the writer's lock comes from, and goes back to; or NULL */
};

/* Takes the writer's lock of the branch, so that its state stands still until the end; or uses options->lock, which is
 * used up if the branch moves. verb: "reset", "promote", "import". BOUGH_BUSY: another writer, or an exclusive
 * connection, does not let go in time. BOUGH_REFUSED: protected, or the branch is not at options->expect. On failure
 * nothing is held. */
int bough__move_begin(struct bough__move *out, struct bough_store *store, const char *name, const char *verb,
                      const bough_options *options);
/* True when there are transactions that the head of `now` does not hold. */
bool bough__move_is_dirty(const struct bough__move *move, const struct bough__branch_row *now);
/* Inside a write transaction of the catalog: the branch's row as it is now. Looks at protection, and whether the branch
 * is where it is expected, again. */
int bough__move_read(struct bough__branch_row *out, struct bough__move *move);
/* Inside that transaction, last: gives the branch the head that `now` names and a fresh layer, and records the move.
 * before: the commit that holds what it had; NULL: discarded. */
int bough__move_write(struct bough__move *move, struct bough__branch_row *now, const uint8_t *before);
/* Ends the catalog's transaction: commits it where rc is BOUGH_OK, else rolls it back. */
int bough__move_finish(struct bough__move *move, int rc);
/* Lets go of everything. Where the branch moved, those who have it open follow in their next transaction. */
void bough__move_end(struct bough__move *move);

#endif
