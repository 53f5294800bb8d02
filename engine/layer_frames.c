/* layer_frames.c - what a process that writes to a layer knows of its dead frames: where it learns of them (records,
 * the overlay, the list of free extents), and when it takes one. When one may be used again is recycler.h's business.
 */
#include "layer_state.h"

#include "error.h"
#include "os.h"

#include <stdlib.h>

/* Dead frames are looked at when there are so many of them. */
#define RECYCLE_FRAMES 64u
#define RECYCLE_SLACK (512u << 10)
/* Free frames without a neighbour are used when they are more than this share of the layer, or than a process should
 * keep in memory and sort for one branch. */
#define ALONE_SHARE 8
#define ALONE_MOST  16384u

int bough__layer_free_extents(struct bough__frames *out, const struct bough__layer *layer,
                              const struct bough__layer_slot *slot, const struct bough__overlay *overlay)
{
    size_t count = 0;
    int rc = bough__frames_load(out, layer->fd, layer->path, slot, layer->block_size);
    if (rc != BOUGH_OK || out->count == 0)
        return rc;
    uint64_t *taken = bough__alloc((overlay->entry_count + 1u) * sizeof *taken);
    if (taken == NULL)
        return bough__fail_memory();
    for (uint32_t i = 0; i < overlay->entry_count; i++)
        if (overlay->entries[i].frame != BOUGH__NO_FRAME)
            taken[count++] = overlay->entries[i].frame;
    qsort(taken, count, sizeof *taken, bough__by_number);
    rc = bough__frames_subtract(out, taken, count);
    free(taken);
    return rc;
}

/* The version that a record's entry supersedes: of this generation, or of the tree below. */
static void note_death(struct bough__layer *layer, uint64_t block, uint64_t txn)
{
    struct bough__overlay_entry version = {0};
    struct bough__entry entry = {0};
    switch (bough__overlay_find(&version, layer->overlay, block, txn)) {
    case BOUGH__OVERLAY_FRAME:
        bough__recycler_died(&layer->recycler, version.frame, version.txn, txn);
        break;
    case BOUGH__OVERLAY_MISS:
        /* A node that cannot be read is the reader's failure; here a frame is lost until a checkpoint finds it. */
        if (bough__map_lookup(&entry, layer->space->nodes, &layer->overlay->tree, block) == BOUGH_OK &&
            entry.layer == layer->number)
            bough__recycler_died(&layer->recycler, entry.frame, entry.birth, txn);
        break;
    case BOUGH__OVERLAY_ZERO:
        break;
    }
}

void bough__layer_note_deaths(struct bough__layer *layer, const struct bough__log_record *record, bool is_foreign)
{
    if (!layer->is_writer)
        return;
    for (uint32_t i = 0; i < record->entry_count; i++) {
        if (is_foreign && record->entries[i].frame != BOUGH__NO_FRAME)
            bough__recycler_strike(&layer->recycler, record->entries[i].frame, record->txn);
        note_death(layer, record->entries[i].block, record->txn);
    }
}

/* Frames and the newest transaction that wrote each; ascending by frame. */
struct use {
    uint64_t frame, txn;
};

static int by_use(const void *x, const void *y)
{
    const struct use *a = x, *b = y;
    return a->frame != b->frame ? (a->frame > b->frame) - (a->frame < b->frame) : (a->txn > b->txn) - (a->txn < b->txn);
}

static int list_uses(struct use **out, size_t *out_count, const struct bough__overlay *overlay)
{
    size_t count = 0, kept = 0;
    struct use *uses = bough__alloc((overlay->entry_count + 1u) * sizeof *uses);
    if (uses == NULL)
        return bough__fail_memory();
    for (uint32_t i = 0; i < overlay->entry_count; i++)
        if (overlay->entries[i].frame != BOUGH__NO_FRAME)
            uses[count++] = (struct use){overlay->entries[i].frame, overlay->entries[i].txn};
    qsort(uses, count, sizeof *uses, by_use);
    for (size_t i = 0; i < count; i++) {
        kept += i != 0 && uses[i].frame != uses[kept].frame;
        uses[kept] = uses[i];
    }
    *out = uses;
    *out_count = count != 0 ? kept + 1 : 0;
    return BOUGH_OK;
}

/* Was the frame that died written again since its birth? */
static bool is_used_again(const struct use *uses, size_t count, uint64_t frame, uint64_t birth)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (uses[middle].frame < frame)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && uses[low].frame == frame && uses[low].txn > birth;
}

/* What died in this generation before this process began to keep track. Otherwise programs that write a little and end
 * would each leave what they superseded to the next checkpoint, and the layer would grow by a log's worth of pages. */
static int note_earlier_deaths(struct bough__layer *layer)
{
    const struct bough__overlay *overlay = layer->overlay;
    struct use *uses = NULL;
    size_t count = 0;
    int rc = list_uses(&uses, &count, overlay);
    for (uint32_t i = 0; rc == BOUGH_OK && i < overlay->entry_count; i++) {
        const struct bough__overlay_entry *entry = &overlay->entries[i];
        struct bough__entry old = {.layer = layer->number, .frame = BOUGH__NO_FRAME};
        if (entry->older != 0) {
            old.frame = overlay->entries[entry->older - 1].frame;
            old.birth = overlay->entries[entry->older - 1].txn;
        } else if (bough__map_lookup(&old, layer->space->nodes, &overlay->tree, entry->block) != BOUGH_OK) {
            continue; /* as in note_death */
        }
        if (old.layer == layer->number && old.frame != BOUGH__NO_FRAME &&
            !is_used_again(uses, count, old.frame, old.birth))
            bough__recycler_died(&layer->recycler, old.frame, old.birth, entry->txn);
    }
    free(uses);
    return rc;
}

int bough__layer_start_recycler(struct bough__layer *layer)
{
    struct bough__frames extents = {0};
    int rc = BOUGH_OK;
    /* What was known of an older generation must not outlive it, whatever fails below. */
    bough__recycler_release(&layer->recycler);
    if (layer->slot.generation != 0)
        rc = bough__layer_free_extents(&extents, layer, &layer->slot, layer->overlay);
    if (rc == BOUGH_OK) {
        bough__recycler_start(&layer->recycler, &extents, layer->slot.txn);
        rc = note_earlier_deaths(layer);
    }
    bough__frames_release(&extents);
    return rc;
}

int bough__layer_become_writer(struct bough__layer *layer)
{
    int rc = layer->slot.generation != 0 ? bough__layer_open_file(layer) : BOUGH_OK;
    if (rc != BOUGH_OK || layer->is_writer)
        return rc;
    rc = bough__layer_start_recycler(layer);
    layer->is_writer = rc == BOUGH_OK;
    return rc;
}

/* A layer has that many dead frames more than it needs: a look at each frame as it dies would scatter what is written
 * together. */
static size_t enough_frames(const struct bough__layer *layer)
{
    size_t slack = RECYCLE_SLACK / layer->block_size;
    return slack < RECYCLE_FRAMES ? slack : RECYCLE_FRAMES;
}

static size_t alone_frames(const struct bough__layer *layer)
{
    uint64_t share = layer->slot.frame_count / ALONE_SHARE;
    return enough_frames(layer) + (share < ALONE_MOST ? share : ALONE_MOST);
}

bool bough__layer_take_frame(struct bough__layer *layer, uint64_t *out_frame)
{
    if (layer->fd < 0)
        return false;
    size_t enough = enough_frames(layer), alone = alone_frames(layer);
    if (bough__recycler_take(&layer->recycler, out_frame, alone))
        return true;
    /* A reader without permission to write holds a lock on the file instead of a pin. What is made ready before he
     * came was dead before he came. */
    if (bough__recycler_is_worthwhile(&layer->recycler, enough, bough__shm_durable(&layer->shm)) &&
        !bough__os_is_locked(layer->fd, BOUGH__LAYER_READER_BYTE))
        bough__recycler_refill(&layer->recycler, &layer->shm);
    return bough__recycler_take(&layer->recycler, out_frame, bough__recycler_left(&layer->recycler, alone));
}
