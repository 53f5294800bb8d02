/* recycler.h - which frames of a layer may be written again: what a process knows of them, for its writer to hand out.
 *
 * A frame holds one version of a block, born with one transaction and dead with the one that superseded it. It is free
 * when
 *   - it was born after the newest commit of the layer (the hold): otherwise the commit owns it until gc
 *   - the newest durable state is not one that needs it, since a crash may bring that one back: its death is durable,
 *     or its birth is not
 *   - no snapshot is pinned in [birth, death)
 * A frame that is free stays free, since snapshots are pinned at the newest transaction and holds are set under a pin.
 *
 * Where a process learns of dead frames: of the log's records, its own, those of other processes, and those that were
 * there when it began to write (bough__layer_become_writer), with both numbers (so that a reader who stays for an hour
 * keeps back what it sees and nothing more); and of the free extents beside the header, of which is only known that
 * they were dead at the header's transaction. A frame that another process takes
 * again stands in that one's record, and is noted as struck when the record is read. Frames handed out to a
 * transaction that does not commit are free again, and those that it dropped itself are free when it is durable.
 *
 * Threads: the caller holds the layer's mutex or is its writer; see layer_state.h.
 */
#ifndef BOUGH_ENGINE_RECYCLER_H
#define BOUGH_ENGINE_RECYCLER_H

#include "frames.h"
#include "pages.h"
#include "shm.h"

struct bough__dead_frame {
    uint64_t frame, birth, death;
};
/* Birth of a frame that its transaction dropped before it was committed: no state ever had it. */
#define BOUGH__UNBORN UINT64_MAX

/* A list with its used entries in front. */
struct bough__dead_frames {
    struct bough__dead_frame *items;
    size_t first, count, capacity; /* items[first .. count) */
    size_t mark;                   /* an entry of it, or one that was */
};

/* All zero knows of no frame. */
struct bough__recycler {
    struct bough__frames extents; /* dead at gate_txn */
    uint64_t gate_txn;
    uint64_t extent_frames;           /* in extents, not handed out */
    struct bough__dead_frames dead;   /* by death; not looked at yet, or, up to the mark, waiting until it is durable */
    struct bough__dead_frames parked; /* a snapshot kept them back */
    uint64_t parked_oldest;           /* the oldest state that was kept then */
    struct bough__dead_frames ready;  /* free; from the mark on without a neighbour that is ready, or fresh */
    size_t taken;                     /* of ready, by the open transaction */
    size_t fresh;                     /* of ready, at its end: came since it was sorted */
    struct bough__page_table struck;  /* frame -> the transaction of another process that took it; what is known above
                                       * of a death up to then no longer holds, and goes now and then */
    unsigned looks, parked_looks;
};

void bough__recycler_release(struct bough__recycler *recycler);
/* Forgets everything and starts with these extents (taken over), dead at gate_txn. */
void bough__recycler_start(struct bough__recycler *recycler, struct bough__frames *extents, uint64_t gate_txn);
/* A frame died. No memory: it is forgotten until the next checkpoint finds it, and nothing else happens. */
void bough__recycler_died(struct bough__recycler *recycler, uint64_t frame, uint64_t birth, uint64_t death);
/* Another process wrote the frame in transaction txn: what is known of a death of it up to then no longer holds. Not
 * while a transaction of this process has frames in hand. Without memory everything known is forgotten until the next
 * checkpoint. */
void bough__recycler_strike(struct bough__recycler *recycler, uint64_t frame, uint64_t txn);
/* Extents that a checkpoint found dead at txn, beside those known here: `all` is joined; what is known is left out. */
int bough__recycler_add(struct bough__recycler *recycler, const struct bough__frames *all, uint64_t txn);
/* Adds the frames that no record tells of, for a checkpoint's list: those that were never born. */
int bough__recycler_unborn(struct bough__frames *to, struct bough__recycler *recycler);
/* Hands out a free frame that is ready; false: none. Those with a free neighbour go first, since frames side by side
 * are written with one call and reach the disk in one piece; of those without, `leave` stay. */
bool bough__recycler_take(struct bough__recycler *recycler, uint64_t *out_frame, size_t leave);
/* How many of those `leave` have to be ready, after a refill: extents that are not, and what readers keep back, count
 * for the rest. So the layer is no larger beside a reader than what he needs makes it. */
size_t bough__recycler_left(const struct bough__recycler *recycler, size_t leave);
/* Looks at the pins and makes some frames ready, where there are any. Who raises the number of the durable state has
 * the writer's lock, or has that state pinned until he has raised it: otherwise its frames could be used meanwhile. */
void bough__recycler_refill(struct bough__recycler *recycler, struct bough__shm *shm);
/* Are there frames enough to look at (`enough`, or extents)? A look at each frame as it dies would cost a system call a
 * transaction, and scatter what is written together; one at frames that wait for a sync would find nothing. */
bool bough__recycler_is_worthwhile(const struct bough__recycler *recycler, size_t enough, uint64_t durable_txn);
/* What was handed out since the last of these calls is used now, or free again. */
void bough__recycler_settle(struct bough__recycler *recycler, bool is_used);

#endif
