/* checkpoint.c - folding a layer's overlay into the page map, so that its log starts over.
 *
 * The order, and what a crash after each step leaves:
 *   1. frames synced (where anything is not)      the old header and log
 *   2. nodes appended and synced                  the same, and nodes that nothing refers to
 *   3. the new header's two slots written, synced the new header; its log is empty and may overwrite the old one
 *   4. published: openers find it by its slots, and until now found the old one by the old slots
 * The old generation's two slots stay until the next checkpoint: whatever becomes of those that are being written, the
 * old state is there. A slot that rots later has a twin. Whoever finds a slot without one writes it before he writes to
 * the log.
 * A sync that fails in step 3 leaves it open which header is on the disk. The slots are made invalid again, and the
 * layer is poisoned. A writer that is killed in step 3 leaves the HEADER flag; the next writer looks (txn.c,
 * adopt_header).
 */
#include "error.h"
#include "fold.h"
#include "layer_state.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

/* The log of a generation begins in a chunk of at least this size, away from the header. */
#define LOG_CHUNK (64u << 10)
/* From so many late frames on, a slot is written for them. */
#define LATE_MANY 64u

/* Overlay and transaction in one ascending list; the transaction's version of a block counts. */
static int merge(struct bough__fold_page **out, size_t *out_count, uint64_t *out_keep, struct bough__layer *layer,
                 const struct bough__checkpoint *txn)
{
    size_t count = 0, i = 0, j = 0, n = 0;
    struct bough__overlay_entry *versions = NULL;
    int rc = bough__overlay_collect(&versions, &count, out_keep, layer->overlay, layer->overlay->newest_txn);
    if (rc != BOUGH_OK)
        return rc;
    uint64_t txn_keep = txn != NULL ? txn->keep_blocks : BOUGH__KEEP_ALL;
    size_t txn_count = txn != NULL ? txn->page_count : 0;
    struct bough__fold_page *pages = bough__alloc((count + txn_count + 1) * sizeof *pages);
    if (pages == NULL) {
        free(versions);
        return bough__fail_memory();
    }
    while (i < count || j < txn_count) {
        if (j < txn_count && (i >= count || txn->pages[j].block <= versions[i].block)) {
            if (i < count && txn->pages[j].block == versions[i].block)
                i++;
            pages[n++] = txn->pages[j++];
        } else {
            if (versions[i].block < txn_keep) /* else the transaction cut it off */
                pages[n++] = (struct bough__fold_page){versions[i].block, versions[i].frame, versions[i].txn,
                                                       versions[i].sum, NULL};
            i++;
        }
    }
    if (txn_keep < *out_keep)
        *out_keep = txn_keep;
    free(versions);
    *out = pages;
    *out_count = n;
    return BOUGH_OK;
}

static void set_slot(struct bough__layer *layer, const struct bough__layer_slot *slot)
{
    pthread_mutex_lock(&layer->mutex);
    layer->slot = *slot;
    pthread_mutex_unlock(&layer->mutex);
}

/* A generation's only slot a second time, durable. On failure the place is void. */
static int put_twin(struct bough__layer *layer, struct bough__layer_slot *slot)
{
    struct bough__layer_slot twin = *slot;
    struct bough__error_state error;
    twin.sequence++;
    twin.is_doubled = true;
    int rc = bough__layer_file_write_slot(layer->fd, layer->space, layer->number, &twin);
    if (rc == BOUGH_OK)
        rc = bough__layer_sync(layer);
    if (rc == BOUGH_OK) {
        *slot = twin;
        return rc;
    }
    bough__error_save(&error);
    (void)bough__layer_file_void_slot(layer->fd, layer->space, &twin);
    bough__error_restore(&error);
    return rc;
}

int bough__layer_double_header(struct bough__layer *layer)
{
    struct bough__layer_slot slot = layer->slot;
    if (slot.generation == 0 || slot.is_doubled)
        return BOUGH_OK;
    int rc = bough__layer_reread_slot(layer); /* another may have done it since we read the first one */
    slot = layer->slot;
    if (rc != BOUGH_OK || slot.is_doubled)
        return rc;
    rc = put_twin(layer, &slot);
    set_slot(layer, &slot);
    return rc;
}

/* Both are tried: the disk may be full where the one was to be written, and the other stands. */
static bool void_pair(struct bough__layer *layer, const struct bough__layer_slot *slot)
{
    struct bough__layer_slot other = *slot;
    other.sequence++;
    int rc = bough__layer_file_void_slot(layer->fd, layer->space, slot);
    int other_rc = bough__layer_file_void_slot(layer->fd, layer->space, &other);
    return rc == BOUGH_OK && other_rc == BOUGH_OK;
}

/* A new generation's header, durable. Failing, the old one counts. */
static int put_header(struct bough__layer *layer, struct bough__layer_slot *slot)
{
    struct bough__error_state error;
    bough__shm_set(&layer->shm, BOUGH__SHM_HEADER);
    int rc = bough__layer_file_write_pair(layer->fd, layer->space, layer->number, slot);
    if (rc == BOUGH_OK)
        rc = bough__layer_sync(layer);
    slot->is_doubled = rc == BOUGH_OK;
    if (rc == BOUGH_OK)
        return rc;
    bough__error_save(&error);
    if (void_pair(layer, slot))
        bough__shm_clear(&layer->shm, BOUGH__SHM_HEADER);
    bough__error_restore(&error);
    return rc;
}

/* ---- free extents ---- */

/* What a checkpoint collects: the frames that were superseded since the last one, as far as they were born after the
 * hold. A frame may have been used again in the meantime, for the same block or another, so being superseded once does
 * not make it dead: what the new tree refers to is taken out at the end. Only blocks that were touched since the last
 * checkpoint can refer to a frame that was used again.
 *
 * What the checkpoint's own transaction supersedes is part of the newest published state until that transaction is
 * published, and so a commit may still pin and hold it. These frames are `late`: they go to the list after publishing,
 * by the hold of then. For every other frame the hold that is read here is good enough: who commits a state in which
 * it lives has raised the hold before a newer state was published. */
struct sweep {
    struct bough__layer *layer;
    const struct bough__tree *tree; /* the new one */
    uint64_t txn;                   /* the checkpoint's own, not published yet; 0: none */
    uint64_t hold_txn;
    struct bough__frames freed;
    struct bough__dead_frame *late;
    size_t late_count, late_capacity;
    uint64_t *live;
    size_t live_count, live_capacity;
};

static void release_sweep(struct sweep *sweep)
{
    bough__frames_release(&sweep->freed);
    free(sweep->late);
    free(sweep->live);
    sweep->late = NULL;
    sweep->live = NULL;
}

static int sweep_late(struct sweep *sweep, uint64_t frame, uint64_t birth)
{
    if (sweep->late_count == sweep->late_capacity) {
        size_t capacity = sweep->late_capacity * 2 + 64;
        struct bough__dead_frame *late = bough__realloc(sweep->late, capacity * sizeof *late);
        if (late == NULL)
            return bough__fail_memory();
        sweep->late = late;
        sweep->late_capacity = capacity;
    }
    sweep->late[sweep->late_count++] = (struct bough__dead_frame){frame, birth, sweep->txn};
    return BOUGH_OK;
}

static int sweep_frame(struct sweep *sweep, uint64_t frame, uint64_t birth, bool is_late)
{
    if (frame == BOUGH__NO_FRAME || birth <= sweep->hold_txn)
        return BOUGH_OK;
    return is_late ? sweep_late(sweep, frame, birth) : bough__frames_add(&sweep->freed, frame, 1);
}

static int sweep_entry(struct sweep *sweep, const struct bough__entry *entry, bool is_late)
{
    return entry->layer == sweep->layer->number ? sweep_frame(sweep, entry->frame, entry->birth, is_late) : BOUGH_OK;
}

static int sweep_cut(void *context, uint64_t block, const struct bough__entry *entry)
{
    struct sweep *sweep = context;
    (void)block;
    return sweep_entry(sweep, entry, sweep->txn != 0);
}

static int keep_live(struct sweep *sweep, uint64_t block)
{
    struct bough__entry now = {0};
    int rc = bough__map_lookup(&now, sweep->layer->space->nodes, sweep->tree, block);
    if (rc != BOUGH_OK || now.layer != sweep->layer->number)
        return rc;
    if (sweep->live_count == sweep->live_capacity) {
        size_t capacity = sweep->live_capacity * 2 + 64;
        uint64_t *live = bough__realloc(sweep->live, capacity * sizeof *live);
        if (live == NULL)
            return bough__fail_memory();
        sweep->live = live;
        sweep->live_capacity = capacity;
    }
    sweep->live[sweep->live_count++] = now.frame;
    return BOUGH_OK;
}

/* A version of this generation. The newest one of its block can only be superseded by the checkpoint's transaction. */
static int sweep_version(struct sweep *sweep, const struct bough__overlay_entry *entry)
{
    struct bough__overlay *overlay = sweep->layer->overlay;
    struct bough__overlay_entry newest = {0};
    bool is_late = sweep->txn != 0 &&
                   bough__overlay_find(&newest, overlay, entry->block, overlay->newest_txn) == BOUGH__OVERLAY_FRAME &&
                   newest.txn == entry->txn;
    int rc = sweep_frame(sweep, entry->frame, entry->txn, is_late);
    return rc == BOUGH_OK ? keep_live(sweep, entry->block) : rc;
}

/* A page of the new tree, and what the old tree has in its block. */
static int sweep_page(struct sweep *sweep, const struct bough__fold_page *page)
{
    struct bough__overlay *overlay = sweep->layer->overlay;
    struct bough__overlay_entry version = {0};
    struct bough__entry old = {0};
    int rc = BOUGH_OK;
    bool is_own = page->birth == sweep->txn; /* no state has had it, should it turn out to be of no use */
    bool was_superseded =
        bough__overlay_find(&version, overlay, page->block, overlay->newest_txn) != BOUGH__OVERLAY_MISS;
    if (sweep->txn == 0 || is_own)
        rc = sweep_frame(sweep, page->frame, page->birth, false);
    if (rc == BOUGH_OK)
        rc = bough__map_lookup(&old, sweep->layer->space->nodes, &overlay->tree, page->block);
    if (rc == BOUGH_OK)
        rc = sweep_entry(sweep, &old, sweep->txn != 0 && !was_superseded);
    return rc == BOUGH_OK ? keep_live(sweep, page->block) : rc;
}

static int by_frame(const void *a, const void *b)
{
    const struct bough__dead_frame *x = a, *y = b;
    return x->frame != y->frame ? (x->frame > y->frame) - (x->frame < y->frame)
                                : (x->birth > y->birth) - (x->birth < y->birth);
}

/* Of a late frame its last life counts, whatever it held before in this generation; live ones are not late. */
static int sift_late(struct sweep *sweep)
{
    size_t kept = 0, live = 0;
    if (sweep->late_count == 0)
        return BOUGH_OK;
    qsort(sweep->late, sweep->late_count, sizeof *sweep->late, by_frame);
    for (size_t i = 0; i < sweep->late_count; i++) {
        uint64_t frame = sweep->late[i].frame;
        while (live < sweep->live_count && sweep->live[live] < frame)
            live++;
        if (live < sweep->live_count && sweep->live[live] == frame)
            continue;
        kept -= kept != 0 && sweep->late[kept - 1].frame == frame;
        sweep->late[kept++] = sweep->late[i];
    }
    sweep->late_count = kept;
    uint64_t *frames = bough__alloc((kept + 1) * sizeof *frames);
    if (frames == NULL)
        return bough__fail_memory();
    for (size_t i = 0; i < kept; i++)
        frames[i] = sweep->late[i].frame;
    int rc = bough__frames_subtract(&sweep->freed, frames, kept);
    free(frames);
    return rc;
}

/* Every version of this generation, and what the old tree had in the blocks that changed or were cut off. */
static int sweep_generation(struct sweep *sweep, const struct bough__fold_page *pages, size_t count, uint64_t keep)
{
    int rc = BOUGH_OK;
    const struct bough__overlay *overlay = sweep->layer->overlay;
    for (uint32_t i = 0; rc == BOUGH_OK && i < overlay->entry_count; i++)
        rc = sweep_version(sweep, &overlay->entries[i]);
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++)
        rc = sweep_page(sweep, &pages[i]);
    if (rc == BOUGH_OK && keep != BOUGH__KEEP_ALL)
        rc = bough__map_walk(sweep->layer->space->nodes, &overlay->tree, keep, sweep_cut, sweep);
    if (rc != BOUGH_OK)
        return rc;
    if (sweep->live_count != 0)
        qsort(sweep->live, sweep->live_count, sizeof *sweep->live, bough__by_number);
    bough__frames_join(&sweep->freed);
    rc = bough__frames_subtract(&sweep->freed, sweep->live, sweep->live_count);
    return rc == BOUGH_OK ? sift_late(sweep) : rc;
}

static int sweep_chunk(struct sweep *sweep, const struct bough__log_position *position, uint64_t kept_offset)
{
    uint32_t block_size = sweep->layer->block_size;
    if (position->chunk_offset < BOUGH__LAYER_FRAMES_OFFSET || position->chunk_offset == kept_offset)
        return BOUGH_OK;
    return bough__frames_add(&sweep->freed, (position->chunk_offset - BOUGH__LAYER_FRAMES_OFFSET) / block_size,
                             bough__block_count(position->chunk_end - position->chunk_offset, block_size));
}

/* The chunks of the old log, but for the one that the new log has. Only the records tell where those between the first
 * and the last are; a log has seldom more than one. */
static int sweep_log(struct sweep *sweep, uint64_t kept_offset)
{
    struct bough__layer *layer = sweep->layer;
    const struct bough__log_position *last = &layer->overlay->position;
    struct bough__log_position position = bough__layer_log_start(&layer->slot);
    struct bough__log_buffer buffer = {0};
    uint64_t txn = layer->overlay->base_txn;
    bool found = true;
    int rc = BOUGH_OK;
    while (rc == BOUGH_OK && found && position.chunk_offset != last->chunk_offset) {
        struct bough__log_position before = position;
        struct bough__log_record record = {0};
        uint64_t chunk_end = 0;
        rc = bough__log_next(&found, &record, layer->fd, layer->path, &position, &buffer, ++txn, &chunk_end);
        if (rc == BOUGH_OK && position.chunk_offset != before.chunk_offset)
            rc = sweep_chunk(sweep, &before, kept_offset);
    }
    if (rc == BOUGH_OK)
        rc = sweep_chunk(sweep, last, kept_offset);
    bough__log_buffer_release(&buffer);
    return rc;
}

static int add_all(struct bough__frames *to, const struct bough__frames *from)
{
    int rc = BOUGH_OK;
    for (size_t i = 0; rc == BOUGH_OK && i < from->count; i++)
        rc = bough__frames_add(to, from->extents[i].first, from->extents[i].count);
    return rc;
}

/* Frames that the transaction took are not free any more, whatever the old list says. */
static int take_out(struct bough__frames *list, const struct bough__fold_page *pages, size_t count)
{
    size_t n = 0;
    uint64_t *taken = bough__alloc((count + 1) * sizeof *taken);
    if (taken == NULL)
        return bough__fail_memory();
    for (size_t i = 0; i < count; i++)
        if (pages[i].frame != BOUGH__NO_FRAME)
            taken[n++] = pages[i].frame;
    qsort(taken, n, sizeof *taken, bough__by_number);
    int rc = bough__frames_subtract(list, taken, n);
    free(taken);
    return rc;
}

/* The frames of the newest state that the log has, ascending. */
static int logged_frames(uint64_t **out, size_t *out_count, struct bough__overlay *overlay)
{
    struct bough__overlay_entry *versions = NULL;
    uint64_t keep = 0;
    size_t count = 0;
    *out_count = 0;
    int rc = bough__overlay_collect(&versions, &count, &keep, overlay, overlay->newest_txn);
    *out = bough__alloc((count + 1) * sizeof **out);
    if (rc == BOUGH_OK && *out == NULL)
        rc = bough__fail_memory();
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++)
        if (versions[i].frame != BOUGH__NO_FRAME)
            (*out)[(*out_count)++] = versions[i].frame;
    if (rc == BOUGH_OK)
        qsort(*out, *out_count, sizeof **out, bough__by_number);
    free(versions);
    return rc;
}

static int add_range(struct bough__frames *to, const struct bough__layer *layer, uint64_t offset, uint64_t frames)
{
    if (offset < BOUGH__LAYER_FRAMES_OFFSET)
        return BOUGH_OK; /* the first chunk of a log lies before the frames */
    return bough__frames_add(to, (offset - BOUGH__LAYER_FRAMES_OFFSET) / layer->block_size, frames);
}

/* Frames that hold something else than pages: the new log, the lists of free extents. */
static int reserved_frames(struct bough__frames *out, const struct bough__layer *layer,
                           const struct bough__layer_slot *slot)
{
    int rc = add_range(out, layer, slot->log_offset, bough__block_count(slot->log_size, layer->block_size));
    for (size_t i = 0; rc == BOUGH_OK && i < 2; i++)
        rc = add_range(out, layer, slot->list_areas[i].offset, slot->list_areas[i].frame_count);
    if (rc == BOUGH_OK)
        bough__frames_join(out);
    return rc;
}

/* Frames below `end` that nothing marked refers to. */
static int add_unmarked(struct bough__frames *to, const struct bough__layer *layer, const struct bough__marks *marks,
                        const struct bough__layer_slot *slot, uint64_t end)
{
    struct bough__frames reserved = {0};
    int rc = reserved_frames(&reserved, layer, slot);
    for (uint64_t frame = 0; rc == BOUGH_OK && frame < end && to->count < BOUGH__EXTENTS_MAX; frame++)
        if (!bough__marks_has_frame(marks, layer->number, frame) && !bough__frames_has(&reserved, frame))
            rc = bough__frames_add(to, frame, 1);
    bough__frames_release(&reserved);
    return rc;
}

/* What is referred to by nothing at all. A snapshot or a commit on its way may be at the newest state as it was before
 * this checkpoint, so the old tree and what the log has of that state are marked and left out, too; what is free of
 * them an ordinary checkpoint finds. */
static int find_unreferred(struct bough__frames *out, struct bough__layer *layer, struct bough__marks *marks,
                           const struct bough__layer_slot *slot, uint64_t end)
{
    uint64_t *logged = NULL;
    size_t count = 0;
    int rc = bough__marks_tree(marks, layer->overlay->tree.top);
    if (rc == BOUGH_OK)
        rc = bough__marks_tree(marks, slot->tree.top);
    if (rc == BOUGH_OK)
        rc = logged_frames(&logged, &count, layer->overlay);
    if (rc == BOUGH_OK)
        rc = add_unmarked(out, layer, marks, slot, end);
    if (rc == BOUGH_OK)
        rc = bough__frames_subtract(out, logged, count);
    free(logged);
    return rc;
}

/* The next generation's list: what was free and still is, and what this generation freed. */
static int store_free(struct bough__frames *out, struct sweep *sweep, struct bough__layer_slot *slot,
                      const struct bough__fold_page *pages, size_t count, uint64_t keep, bool keeps_frames,
                      const struct bough__frames *unreferred)
{
    struct bough__frames list = {0};
    struct bough__layer *layer = sweep->layer;
    int rc = bough__layer_free_extents(&list, layer, &layer->slot, layer->overlay);
    if (rc == BOUGH_OK)
        rc = take_out(&list, pages, count);
    if (rc == BOUGH_OK && !keeps_frames)
        rc = sweep_generation(sweep, pages, count, keep);
    if (rc == BOUGH_OK)
        rc = sweep_log(sweep, slot->log_offset);
    if (rc == BOUGH_OK)
        rc = add_all(&list, &sweep->freed);
    if (rc == BOUGH_OK)
        rc = add_all(&list, unreferred);
    if (rc == BOUGH_OK)
        rc = bough__recycler_unborn(&list, &layer->recycler);
    if (rc == BOUGH_OK)
        rc = bough__frames_store(&list, layer->fd, layer->path, slot, layer->block_size, false);
    *out = list;
    return rc;
}

/* After publishing: the late frames join the list, and a slot names the new one. Its twin goes on naming the shorter
 * list, which is right too. Nothing is synced for that: a power loss before the next sync may take the slot, or the
 * list, and then, as on failure, gc finds the frames. */
static void store_late(struct bough__frames *list, const struct sweep *sweep, struct bough__published *state)
{
    struct bough__layer *layer = sweep->layer;
    struct bough__layer_slot slot = layer->slot;
    struct bough__frames longer = {0};
    uint64_t hold_txn = bough__shm_hold(&layer->shm);
    int rc = add_all(&longer, list);
    for (size_t i = 0; rc == BOUGH_OK && i < sweep->late_count; i++)
        if (sweep->late[i].birth > hold_txn)
            rc = bough__frames_add(&longer, sweep->late[i].frame, 1);
    bough__frames_join(&longer);
    slot.sequence++; /* hold_txn stays: it tells of the generation's beginning */
    if (rc == BOUGH_OK)
        rc = bough__frames_store(&longer, layer->fd, layer->path, &slot, layer->block_size, true);
    if (rc == BOUGH_OK && slot.frame_count != state->frame_count) {
        /* The list's own place is taken from here on, whatever comes of the rest. */
        state->frame_count = slot.frame_count;
        bough__shm_publish(&layer->shm, state);
    }
    if (rc != BOUGH_OK) {
        bough__frames_release(&longer);
        return;
    }
    rc = bough__layer_file_write_slot(layer->fd, layer->space, layer->number, &slot);
    if (rc != BOUGH_OK) { /* the twin stands alone */
        slot = layer->slot;
        slot.is_doubled = false;
    }
    set_slot(layer, &slot);
    bough__frames_release(rc == BOUGH_OK ? list : &longer);
    if (rc == BOUGH_OK)
        *list = longer;
}

/* Without memory they are free at the next opening. */
static void free_frames_of(const struct sweep *sweep, struct bough__frames *list, struct bough__published *state)
{
    struct bough__layer *layer = sweep->layer;
    if (sweep->late_count >= LATE_MANY)
        store_late(list, sweep, state);
    if (!layer->is_writer)
        return;
    (void)bough__recycler_add(&layer->recycler, list, state->txn);
    for (size_t i = 0; i < sweep->late_count && sweep->late_count < LATE_MANY; i++)
        bough__recycler_died(&layer->recycler, sweep->late[i].frame, sweep->late[i].birth, sweep->late[i].death);
}

/* ---- the checkpoint ---- */

/* Where the next generation's log goes: the largest chunk in use if it is large enough, else a new one at the end. */
static int place_log(struct bough__layer *layer, struct bough__layer_slot *slot)
{
    const struct bough__log_position *position = &layer->overlay->position;
    if (position->chunk_end - position->chunk_offset > slot->log_size) {
        slot->log_offset = position->chunk_offset;
        slot->log_size = position->chunk_end - position->chunk_offset;
    }
    if (slot->log_size < LOG_CHUNK) {
        uint64_t frames = bough__block_count(LOG_CHUNK, layer->block_size);
        slot->log_offset = bough__frame_offset(slot->frame_count, layer->block_size);
        slot->log_size = frames * layer->block_size;
        slot->frame_count += frames;
    }
    return bough__os_random(&slot->log_seed, sizeof slot->log_seed);
}

/* The appender is the caller's to end. */
static int fold(struct bough__appender **out_appender, struct bough__layer_slot *slot, struct bough__layer *layer,
                const struct bough__fold_page *pages, size_t count, uint64_t keep, uint64_t size_bytes)
{
    int rc = bough__appender_begin(out_appender, layer->space->nodes);
    if (rc == BOUGH_OK)
        rc = bough__fold_pages(&slot->tree, layer->space, *out_appender, &layer->overlay->tree, layer->number, pages,
                               count, layer->overlay->hold_txn, keep, size_bytes, layer->block_size);
    if (rc == BOUGH_OK)
        rc = layer->is_scratch ? bough__appender_write(*out_appender) : bough__appender_sync(*out_appender);
    if (rc == BOUGH_OK)
        slot->node_count += bough__appender_count(*out_appender);
    return rc;
}

/* marks: gc's, or NULL. dead_nodes: the header counts so many too many. out_free: the list of the new generation. */
static int checkpoint(struct bough__frames *out_free, struct bough__layer *layer, const struct bough__checkpoint *txn,
                      struct bough__marks *marks, uint64_t dead_nodes)
{
    struct bough__published state = {0};
    struct bough__overlay *overlay = NULL;
    struct bough__appender *appender = NULL;
    struct bough__layer_slot slot = {0};
    struct bough__fold_page *pages = NULL;
    struct bough__frames unreferred = {0};
    struct sweep sweep = {.layer = layer, .tree = &slot.tree};
    size_t count = 0;
    uint64_t keep = BOUGH__KEEP_ALL;
    bough__shm_read(&state, &layer->shm);
    if (txn != NULL) {
        sweep.txn = txn->txn > state.txn ? txn->txn : 0;
        state.txn = txn->txn;
        state.size_bytes = txn->size_bytes;
        state.frame_count = txn->frame_count;
    }
    int rc = bough__layer_reread_slot(layer);
    slot = layer->slot;
    slot.node_count -= dead_nodes < slot.node_count ? dead_nodes : slot.node_count;
    if (rc == BOUGH_OK && bough__shm_durable(&layer->shm) < state.txn)
        rc = bough__layer_sync(layer);
    if (rc == BOUGH_OK)
        rc = merge(&pages, &count, &keep, layer, txn);
    if (rc == BOUGH_OK)
        rc = fold(&appender, &slot, layer, pages, count, keep, state.size_bytes);
    slot.generation++;
    slot.txn = slot.durable_txn = state.txn;
    sweep.hold_txn = slot.hold_txn = bough__shm_hold(&layer->shm);
    slot.frame_count = state.frame_count;
    if (rc == BOUGH_OK)
        rc = place_log(layer, &slot);
    if (rc == BOUGH_OK && marks != NULL)
        rc = find_unreferred(&unreferred, layer, marks, &slot, state.frame_count);
    if (rc == BOUGH_OK)
        rc = store_free(out_free, &sweep, &slot, pages, count, keep, txn != NULL && txn->keeps_frames, &unreferred);
    bough__frames_release(&unreferred);
    free(pages);
    if (rc == BOUGH_OK)
        rc = bough__overlay_create(&overlay, &slot.tree, slot.generation, slot.txn, slot.hold_txn);
    if (rc == BOUGH_OK)
        rc = put_header(layer, &slot);
    if (rc != BOUGH_OK) {
        bough__appender_end(appender);
        bough__overlay_release(overlay);
        release_sweep(&sweep);
        return rc;
    }
    overlay->position = bough__layer_log_start(&slot);
    state.generation = slot.generation;
    state.frame_count = slot.frame_count;
    state.top = slot.tree.top;
    /* Before it is published: should this process die in between, the next writer finds the state published, and would
     * take its frames for those of a state that a loss of power does not bring back. HEADER makes him publish it. */
    bough__shm_raise_durable(&layer->shm, slot.txn);
    bough__layer_install(layer, overlay, &slot, &state);
    bough__appender_end(appender); /* not before: see nodes.h */
    bough__shm_clear(&layer->shm, BOUGH__SHM_HEADER);
    free_frames_of(&sweep, out_free, &state);
    release_sweep(&sweep);
    return BOUGH_OK;
}

int bough__layer_checkpoint(struct bough__layer *layer, const struct bough__checkpoint *txn)
{
    struct bough__frames free_frames = {0};
    int rc = checkpoint(&free_frames, layer, txn, NULL, 0);
    bough__frames_release(&free_frames);
    return rc;
}

/* ---- for gc ---- */

static int punch(struct bough__layer *layer, const struct bough__frames *frames)
{
    int rc = BOUGH_OK;
    struct bough__os_run run = {0};
    for (size_t i = 0; rc == BOUGH_OK && i < frames->count; i++) {
        uint64_t offset = bough__frame_offset(frames->extents[i].first, layer->block_size);
        uint64_t len = frames->extents[i].count * layer->block_size;
        if (bough__os_allocated(layer->fd, offset, len, &run) != 0)
            rc = bough__os_punch(layer->fd, offset, len, layer->path);
    }
    return rc;
}

int bough__layer_reclaim(struct bough__layer *layer, struct bough__marks *marks, uint64_t dead_nodes)
{
    struct bough__frames frames = {0};
    uint64_t *logged = NULL;
    size_t count = 0;
    int rc = logged_frames(&logged, &count, layer->overlay);
    if (rc == BOUGH_OK)
        rc = checkpoint(&frames, layer, NULL, marks, dead_nodes);
    /* See find_unreferred. */
    if (rc == BOUGH_OK)
        rc = bough__frames_subtract(&frames, logged, count);
    if (rc == BOUGH_OK)
        rc = punch(layer, &frames);
    bough__frames_release(&frames);
    free(logged);
    return rc;
}

/* ---- after a failed sync ---- */

/* Copies the frames of what is not known durable to new ones. The page cache still has them; the disk may not, and
 * another sync of the same pages would say nothing about them. */
static int copy_frames(struct bough__fold_page *pages, size_t *out_count, uint64_t *out_next_frame,
                       struct bough__layer *layer, const struct bough__overlay_entry *versions, size_t count)
{
    int rc = BOUGH_OK;
    uint64_t durable = bough__shm_durable(&layer->shm);
    uint8_t *page = bough__alloc(layer->block_size);
    if (page == NULL)
        return bough__fail_memory();
    *out_count = 0;
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++) {
        struct bough__fold_page copy = {versions[i].block, versions[i].frame, versions[i].txn, versions[i].sum, NULL};
        if (copy.birth > durable && copy.frame != BOUGH__NO_FRAME) {
            rc = bough__frame_read(layer->space, layer->number, copy.frame, copy.block, copy.sum, page,
                                   layer->block_size, false);
            copy.frame = (*out_next_frame)++;
            copy.sum = bough__page_sum(bough__xxh(page, layer->block_size, 0), layer->space->store_key, layer->number,
                                       copy.frame, copy.block);
            if (rc == BOUGH_OK)
                rc = bough__os_write(layer->fd, page, layer->block_size,
                                     bough__frame_offset(copy.frame, layer->block_size), layer->path);
        }
        pages[(*out_count)++] = copy;
    }
    free(page);
    return rc;
}

int bough__layer_heal(struct bough__layer *layer)
{
    size_t count = 0;
    struct bough__overlay_entry *versions = NULL;
    struct bough__published state = {0};
    struct bough__checkpoint all = {.keeps_frames = true};
    struct bough__fold_page *pages = NULL;
    bough__shm_read(&state, &layer->shm);
    if (state.generation == 0) {
        bough__shm_clear(&layer->shm, BOUGH__SHM_POISONED);
        return BOUGH_OK;
    }
    layer->is_healing = true;
    int rc = bough__layer_open_file(layer);
    if (rc == BOUGH_OK)
        rc = bough__overlay_collect(&versions, &count, &all.keep_blocks, layer->overlay, state.txn);
    if (rc == BOUGH_OK && (pages = bough__alloc((count + 1) * sizeof *pages)) == NULL)
        rc = bough__fail_memory();
    all.frame_count = state.frame_count;
    if (rc == BOUGH_OK)
        rc = copy_frames(pages, &all.page_count, &all.frame_count, layer, versions, count);
    if (rc == BOUGH_OK)
        rc = bough__layer_sync(layer);
    if (rc == BOUGH_OK) {
        all.pages = pages;
        all.size_bytes = state.size_bytes;
        all.txn = state.txn;
        rc = bough__layer_checkpoint(layer, &all);
    }
    if (rc == BOUGH_OK)
        bough__shm_clear(&layer->shm, BOUGH__SHM_POISONED);
    layer->is_healing = false;
    free(versions);
    free(pages);
    return rc;
}
