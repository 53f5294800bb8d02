/* recycler.c - dead frames and when they may be used again; see recycler.h. */
#include "recycler.h"

#include "error.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

/* Frames made ready at a time: neighbours among them find each other. */
#define BATCH 1024
/* What is ready is sorted when one in so many of it has come since, so that a frame costs the same however many are. */
#define FRESH_SHARE 8
/* Looks in vain before the owners of pins are asked whether they live. */
#define PATIENCE 64
/* Looks until parked frames are looked at although the oldest pin has not moved; one more for each so many of them. */
#define PARKED_PATIENCE 32
#define PARKED_A_LOOK   16
/* Struck frames are taken out when there are so many of them, and one to so many that are known: a look at all that is
 * known for each record of another process would make the writers of one branch slower the more frames are free. */
#define STRUCK_MIN 256
#define STRUCK_SHARE 4

/* ---- lists ---- */

static void list_release(struct bough__dead_frames *list)
{
    free(list->items);
    *list = (struct bough__dead_frames){0};
}

static void list_compact(struct bough__dead_frames *list)
{
    if (list->first == 0)
        return;
    memmove(list->items, list->items + list->first, (list->count - list->first) * sizeof *list->items);
    list->count -= list->first;
    list->mark = list->mark > list->first ? list->mark - list->first : 0;
    list->first = 0;
}

static bool list_push(struct bough__dead_frames *list, struct bough__dead_frame frame)
{
    if (list->count == list->capacity && list->first > list->capacity / 2)
        list_compact(list);
    if (list->count == list->capacity) {
        size_t capacity = list->capacity * 2 + 64;
        struct bough__dead_frame *items = bough__realloc(list->items, capacity * sizeof *items);
        if (items == NULL)
            return false;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = frame;
    return true;
}

/* ---- what others took ---- */

/* Without the part that was handed out already. */
static int trim_extents(struct bough__frames *extents)
{
    struct bough__frames left = {0};
    int rc = BOUGH_OK;
    for (size_t i = extents->at; rc == BOUGH_OK && i < extents->count; i++) {
        uint64_t used = i == extents->at ? extents->used : 0;
        rc = bough__frames_add(&left, extents->extents[i].first + used, extents->extents[i].count - used);
    }
    if (rc != BOUGH_OK) {
        bough__frames_release(&left);
        return rc;
    }
    bough__frames_release(extents);
    *extents = left;
    return BOUGH_OK;
}

/* Does the log say that the frame was written again after this death of it? */
static bool is_struck(const struct bough__recycler *recycler, uint64_t frame, uint64_t death)
{
    const struct bough__page_slot *taken = bough__page_table_find(&recycler->struck, frame);
    return taken != NULL && death <= taken->frame;
}

/* The mark goes on to mean the same entry, or the one after it. */
static void list_clean(const struct bough__recycler *recycler, struct bough__dead_frames *list, size_t from)
{
    size_t kept = from, marked = list->mark;
    for (size_t i = from; i < list->count; i++)
        if (!is_struck(recycler, list->items[i].frame, list->items[i].death))
            list->items[kept++] = list->items[i];
        else if (i < list->mark)
            marked--;
    list->count = kept;
    list->mark = marked;
}

static void count_extents(struct bough__recycler *recycler)
{
    const struct bough__frames *extents = &recycler->extents;
    recycler->extent_frames = 0;
    for (size_t i = extents->at; i < extents->count; i++)
        recycler->extent_frames += extents->extents[i].count - (i == extents->at ? extents->used : 0);
}

static int extents_clean(struct bough__frames *extents, const struct bough__page_table *struck)
{
    size_t count = 0;
    uint64_t *taken = bough__alloc((struck->count + 1) * sizeof *taken);
    if (taken == NULL)
        return bough__fail_memory();
    for (size_t i = 0; i < struck->capacity; i++)
        if (struck->slots[i].is_used)
            taken[count++] = struck->slots[i].block;
    qsort(taken, count, sizeof *taken, bough__by_number);
    int rc = trim_extents(extents);
    if (rc == BOUGH_OK)
        rc = bough__frames_subtract(extents, taken, count);
    free(taken);
    return rc;
}

/* ---- what is ready ---- */

static int by_frame(const void *a, const void *b)
{
    const struct bough__dead_frame *x = a, *y = b;
    return (x->frame > y->frame) - (x->frame < y->frame);
}

/* Ascending; those with a neighbour come first. Without memory all count as such. */
static void arrange(struct bough__recycler *recycler)
{
    size_t from = recycler->ready.first + recycler->taken, count = recycler->ready.count - from;
    struct bough__dead_frame *items = recycler->ready.items + from;
    size_t kept = 0, moved = 0;
    recycler->ready.mark = recycler->ready.count;
    recycler->fresh = 0;
    if (count < 2)
        return;
    qsort(items, count, sizeof *items, by_frame);
    struct bough__dead_frame *single = bough__alloc(count * sizeof *single);
    if (single == NULL)
        return;
    bool has_left = false;
    for (size_t i = 0; i < count; i++) {
        bool has_right = i + 1 < count && items[i + 1].frame == items[i].frame + 1;
        if (has_left || has_right)
            items[kept++] = items[i];
        else
            single[moved++] = items[i];
        has_left = has_right;
    }
    if (moved != 0)
        memcpy(items + kept, single, moved * sizeof *single);
    recycler->ready.mark = from + kept;
    free(single);
}

/* Takes the struck frames out of all that is known. Those in a transaction's hands were looked at when it took them. */
static void clean(struct bough__recycler *recycler)
{
    if (recycler->struck.count == 0)
        return;
    list_clean(recycler, &recycler->dead, recycler->dead.first);
    list_clean(recycler, &recycler->parked, recycler->parked.first);
    list_clean(recycler, &recycler->ready, recycler->ready.first + recycler->taken);
    if (recycler->extents.at < recycler->extents.count &&
        extents_clean(&recycler->extents, &recycler->struck) != BOUGH_OK)
        bough__frames_release(&recycler->extents); /* rather lose them until the next checkpoint than use one twice */
    count_extents(recycler);
    bough__page_table_release(&recycler->struck);
}

static size_t known_count(const struct bough__recycler *recycler)
{
    return recycler->dead.count - recycler->dead.first + recycler->parked.count + recycler->ready.count +
           recycler->extents.count - recycler->extents.at;
}

static void forget(struct bough__recycler *recycler)
{
    list_release(&recycler->dead);
    list_release(&recycler->parked);
    list_release(&recycler->ready);
    bough__frames_release(&recycler->extents);
    bough__page_table_release(&recycler->struck);
    recycler->taken = recycler->fresh = 0;
    recycler->extent_frames = 0;
}

/* ---- what is known ---- */

void bough__recycler_release(struct bough__recycler *recycler)
{
    forget(recycler);
    *recycler = (struct bough__recycler){0};
}

void bough__recycler_start(struct bough__recycler *recycler, struct bough__frames *extents, uint64_t gate_txn)
{
    bough__recycler_release(recycler);
    recycler->extents = *extents;
    recycler->gate_txn = gate_txn;
    count_extents(recycler);
    *extents = (struct bough__frames){0};
}

void bough__recycler_died(struct bough__recycler *recycler, uint64_t frame, uint64_t birth, uint64_t death)
{
    (void)list_push(&recycler->dead, (struct bough__dead_frame){frame, birth, death});
}

void bough__recycler_strike(struct bough__recycler *recycler, uint64_t frame, uint64_t txn)
{
    if (known_count(recycler) == 0)
        return;
    if (bough__page_table_reserve(&recycler->struck) != BOUGH_OK) {
        forget(recycler); /* rather lose them until the next checkpoint than use one twice */
        return;
    }
    bough__page_table_put(&recycler->struck, frame, txn, 0, 0);
    if (recycler->struck.count >= STRUCK_MIN && recycler->struck.count >= known_count(recycler) / STRUCK_SHARE)
        clean(recycler);
}

static int add_unborn(struct bough__frames *to, const struct bough__dead_frames *list, size_t first)
{
    int rc = BOUGH_OK;
    for (size_t i = first; rc == BOUGH_OK && i < list->count; i++)
        if (list->items[i].birth == BOUGH__UNBORN)
            rc = bough__frames_add(to, list->items[i].frame, 1);
    return rc;
}

int bough__recycler_unborn(struct bough__frames *to, struct bough__recycler *recycler)
{
    clean(recycler);
    int rc = add_unborn(to, &recycler->dead, recycler->dead.first);
    if (rc == BOUGH_OK)
        rc = add_unborn(to, &recycler->parked, recycler->parked.first);
    if (rc == BOUGH_OK)
        rc = add_unborn(to, &recycler->ready, recycler->ready.first + recycler->taken);
    return rc;
}

static size_t append_frames(uint64_t *out, size_t count, const struct bough__dead_frames *list)
{
    for (size_t i = list->first; i < list->count; i++)
        out[count++] = list->items[i].frame;
    return count;
}

/* all, without the frames of the lists. */
static int leave_out_known(struct bough__frames *all, const struct bough__recycler *recycler)
{
    size_t count = recycler->dead.count + recycler->parked.count + recycler->ready.count;
    uint64_t *known = bough__alloc((count + 1) * sizeof *known);
    if (known == NULL)
        return bough__fail_memory();
    count = append_frames(known, 0, &recycler->dead);
    count = append_frames(known, count, &recycler->parked);
    count = append_frames(known, count, &recycler->ready);
    qsort(known, count, sizeof *known, bough__by_number);
    int rc = bough__frames_subtract(all, known, count);
    free(known);
    return rc;
}

int bough__recycler_add(struct bough__recycler *recycler, const struct bough__frames *all, uint64_t txn)
{
    struct bough__frames copy = {0};
    int rc = BOUGH_OK;
    clean(recycler); /* what was struck so far may be free again by this checkpoint */
    for (size_t i = 0; rc == BOUGH_OK && i < all->count; i++)
        rc = bough__frames_add(&copy, all->extents[i].first, all->extents[i].count);
    if (rc == BOUGH_OK)
        rc = leave_out_known(&copy, recycler);
    if (rc == BOUGH_OK)
        rc = trim_extents(&recycler->extents);
    if (rc != BOUGH_OK) {
        bough__frames_release(&copy);
        return rc;
    }
    /* Most checkpoints find nothing new; the gate moves only for those that do. */
    uint64_t before = recycler->extent_frames, after = 0;
    for (size_t i = 0; i < copy.count; i++)
        after += copy.extents[i].count;
    if (after == before) {
        bough__frames_release(&copy);
        return BOUGH_OK;
    }
    bough__frames_release(&recycler->extents);
    recycler->extents = copy;
    recycler->extent_frames = after;
    recycler->gate_txn = txn;
    return BOUGH_OK;
}

/* ---- handing out ---- */

struct look {
    uint64_t pins[BOUGH__SHM_PINS];
    size_t pin_count;
    bool oldest_is_behind; /* it reads from an older generation */
    uint64_t durable_txn, hold_txn;
};

/* Is a snapshot pinned in [birth, death)? A loss of power may bring back the durable state: it counts as one. */
static bool is_seen(const struct look *look, const struct bough__dead_frame *frame)
{
    size_t low = 0, high = look->pin_count;
    if (frame->birth <= look->durable_txn && look->durable_txn < frame->death)
        return true;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (look->pins[middle] < frame->birth)
            low = middle + 1;
        else
            high = middle;
    }
    return low < look->pin_count && look->pins[low] < frame->death;
}

static uint64_t oldest_pin(const struct look *look)
{
    return look->pin_count != 0 ? look->pins[0] : UINT64_MAX;
}

static uint64_t oldest_kept(const struct look *look)
{
    uint64_t oldest = oldest_pin(look);
    return oldest < look->durable_txn ? oldest : look->durable_txn;
}

/* Extents were found dead by the checkpoint of the transaction at the gate. One who pinned that transaction before it
 * reads what was folded, and a page that turned out equal to an older one stands in another frame then. */
static bool gate_is_open(const struct look *look, uint64_t gate_txn)
{
    uint64_t oldest = oldest_pin(look);
    return gate_txn <= look->durable_txn && (oldest > gate_txn || (oldest == gate_txn && !look->oldest_is_behind));
}

static void sort_out(struct bough__recycler *recycler, const struct look *look, const struct bough__dead_frame *frame)
{
    if (frame->birth <= look->hold_txn || is_struck(recycler, frame->frame, frame->death))
        return; /* a commit's, or another's */
    (void)list_push(is_seen(look, frame) ? &recycler->parked : &recycler->ready, *frame);
}

/* The snapshots that were in the way may be gone. */
static void look_at_parked(struct bough__recycler *recycler, const struct look *look)
{
    struct bough__dead_frames old = recycler->parked;
    /* Now and then whatever the oldest does: others may have come and gone behind it. */
    bool is_time = ++recycler->parked_looks >= PARKED_PATIENCE + old.count / PARKED_A_LOOK;
    if (old.count == 0 || (oldest_kept(look) <= recycler->parked_oldest && !is_time))
        return;
    recycler->parked_looks = 0;
    recycler->parked = (struct bough__dead_frames){0};
    for (size_t i = 0; i < old.count; i++)
        sort_out(recycler, look, &old.items[i]);
    recycler->parked_oldest = oldest_kept(look);
    list_release(&old);
}

/* What would be free if nobody read. */
static uint64_t kept_back(const struct bough__recycler *recycler, const struct look *look)
{
    uint64_t parked = recycler->parked.count - recycler->parked.first;
    return parked + (gate_is_open(look, recycler->gate_txn) ? 0 : recycler->extent_frames);
}

/* Among those whose death is not durable: what was born after the durable state as well is no part of it. The others
 * wait in the list, in front of its mark, until their death is durable. */
static void look_at_young(struct bough__recycler *recycler, const struct look *look, size_t enough)
{
    struct bough__dead_frames *dead = &recycler->dead;
    size_t at = dead->mark > dead->first ? dead->mark : dead->first, kept = at;
    for (; at < dead->count && recycler->ready.count < enough; at++)
        if (dead->items[at].birth > look->durable_txn)
            sort_out(recycler, look, &dead->items[at]);
        else
            dead->items[kept++] = dead->items[at];
    dead->mark = kept;
    if (kept != at)
        memmove(dead->items + kept, dead->items + at, (dead->count - at) * sizeof *dead->items);
    dead->count -= at - kept;
}

void bough__recycler_refill(struct bough__recycler *recycler, struct bough__shm *shm)
{
    struct look look;
    list_compact(&recycler->ready);
    size_t before = recycler->ready.count, enough = before + BATCH;
    bool is_blocked = recycler->parked.count != 0 || recycler->extents.at < recycler->extents.count;
    look.pin_count = bough__shm_pinned(shm, look.pins, &look.oldest_is_behind,
                                       is_blocked && recycler->looks++ % PATIENCE == PATIENCE - 1);
    look.durable_txn = bough__shm_durable(shm); /* after the pins: who raises it lets go of his only then */
    look.hold_txn = bough__shm_hold(shm);
    uint64_t frame = 0;
    if (recycler->parked.count == 0)
        recycler->parked_oldest = oldest_kept(&look);
    while (recycler->ready.count < enough && recycler->dead.first < recycler->dead.count &&
           recycler->dead.items[recycler->dead.first].death <= look.durable_txn)
        sort_out(recycler, &look, &recycler->dead.items[recycler->dead.first++]);
    look_at_young(recycler, &look, enough);
    /* After what died lately: that is side by side more often. */
    while (recycler->ready.count < enough && gate_is_open(&look, recycler->gate_txn) &&
           bough__frames_take(&recycler->extents, &frame)) {
        recycler->extent_frames--;
        if (!is_struck(recycler, frame, 0))
            (void)list_push(&recycler->ready, (struct bough__dead_frame){.frame = frame});
    }
    look_at_parked(recycler, &look);
    bough__shm_note_kept(shm, kept_back(recycler, &look));
    recycler->fresh += recycler->ready.count - before;
    if (recycler->fresh > (recycler->ready.count - recycler->taken) / FRESH_SHARE)
        arrange(recycler);
}

bool bough__recycler_is_worthwhile(const struct bough__recycler *recycler, size_t enough, uint64_t durable_txn)
{
    const struct bough__dead_frames *dead = &recycler->dead;
    size_t count = dead->count - dead->first;
    if (count != 0 && dead->items[dead->first].death > durable_txn && dead->mark > dead->first)
        count = dead->count - dead->mark;
    return recycler->extents.at < recycler->extents.count || count + recycler->parked.count >= enough;
}

/* The entry after those in hand leaves the list. */
static void leave_out_next(struct bough__recycler *recycler)
{
    struct bough__dead_frame *in_hand = recycler->ready.items + recycler->ready.first++;
    memmove(in_hand + 1, in_hand, recycler->taken * sizeof *in_hand);
}

/* What the last transaction left of its neighbours goes to those that have none. */
static void begin_with_neighbours(struct bough__recycler *recycler)
{
    struct bough__dead_frame *items = recycler->ready.items;
    size_t at = recycler->ready.first, end = recycler->ready.mark;
    if (recycler->taken != 0 || at >= end || (at + 1 < end && items[at].frame + 1 == items[at + 1].frame))
        return;
    recycler->ready.first++;
    recycler->fresh += list_push(&recycler->ready, items[at]);
}

size_t bough__recycler_left(const struct bough__recycler *recycler, size_t leave)
{
    size_t others = recycler->extent_frames + recycler->parked.count - recycler->parked.first;
    return others < leave ? leave - others : 0;
}

bool bough__recycler_take(struct bough__recycler *recycler, uint64_t *out_frame, size_t leave)
{
    const struct bough__dead_frames *ready = &recycler->ready;
    begin_with_neighbours(recycler);
    while (ready->first + recycler->taken < ready->count) {
        size_t at = ready->first + recycler->taken;
        if (at >= recycler->ready.mark && ready->count - at <= leave)
            return false;
        const struct bough__dead_frame *next = &ready->items[at];
        if (!is_struck(recycler, next->frame, next->death)) {
            *out_frame = next->frame;
            recycler->taken++;
            return true;
        }
        leave_out_next(recycler);
    }
    return false;
}

void bough__recycler_settle(struct bough__recycler *recycler, bool is_used)
{
    if (is_used)
        recycler->ready.first += recycler->taken;
    recycler->taken = 0;
    if (recycler->ready.first == recycler->ready.count)
        recycler->ready.first = recycler->ready.count = recycler->ready.mark = recycler->fresh = 0;
}
