/* layer.c - opening, recovering and closing a layer; what its openers share.
 *
 * A layer has no file until its branch is written to. Then the file holds frames and a log (layer_file.h, log.h), and
 * the state of the branch is: the tree in the header slot, with the log's transactions on top.
 *
 * Opening. The first opener of all processes recovers: it takes the newest valid slot, follows the log as far as its
 * records chain, and chooses the newest transaction n such that every frame that is live at n and not known to be
 * synced verifies. (A frame that was superseded at or before n is not looked at: it may have been recycled.) Every
 * record says which transaction was durable when it was written, and after processes died without a reboot the page
 * cache has everything, so most openings check no frame at all. What later openers need is published in shared memory.
 *
 * Clean closing. The last closer syncs and notes the newest transaction in the header. A log that ends before that
 * transaction is damaged and not merely short.
 *
 * What a crash leaves:
 *   in mid-transaction      frames that nothing refers to; frame_count of the log's records says where to go on
 *   in writing the record   a record without valid sum, or one whose frames do not verify: the transaction never was
 *   after the sync          the transaction
 *   in making the file      N.new, which the next maker overwrites; or a file whose name is not durable yet
 *   in a checkpoint         nodes that nothing refers to; the old slot and the old log, which is overwritten only after
 *                           the new slot is durable
 */
#include "layer_state.h"

#include "error.h"
#include "fold.h"
#include "group.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

/* No log comes near it, even where checkpoints fail for want of room. It bounds the overlay's numbers. */
#define LOG_BYTES_MAX (1u << 30)
/* Of a chunk that was made longer than its first record: far more than that takes. */
#define CHUNK_TAIL_MAX (32u << 20)

struct bough__log_position bough__layer_log_start(const struct bough__layer_slot *slot)
{
    return (struct bough__log_position){.offset = slot->log_offset,
                                         .chunk_offset = slot->log_offset,
                                         .chunk_end = slot->log_offset + slot->log_size,
                                         .seed = slot->log_seed};
}

/* ---- building the overlay ---- */

/* An overlay of the slot's generation (without a file: of the branch's head), empty as yet. */
static int start_overlay(struct bough__overlay **out, const struct bough__layer *layer,
                         const struct bough__layer_slot *slot)
{
    if (slot->generation == 0)
        return bough__overlay_create(out, &layer->head, 0, layer->held_txn, layer->held_txn);
    int rc = bough__overlay_create(out, &slot->tree, slot->generation, slot->txn, slot->hold_txn);
    if (rc == BOUGH_OK)
        (*out)->position = bough__layer_log_start(slot);
    return rc;
}

/* A record that chains can still say what no program writes. `position` is the one behind it. */
static int check_record(const struct bough__layer *layer, const struct bough__overlay *overlay,
                        const struct bough__log_record *record)
{
    const struct bough__log_position *position = &overlay->position;
    bool is_possible =
        record->txn < BOUGH__NUMBER_LIMIT && record->durable_txn < record->txn && overlay->log_bytes < LOG_BYTES_MAX &&
        record->size_bytes <= BOUGH__BLOCK_LIMIT * layer->block_size &&
        (record->keep_blocks <= BOUGH__BLOCK_LIMIT || record->keep_blocks == BOUGH__KEEP_ALL) &&
        bough__log_chunk_is_possible(position->chunk_offset, position->chunk_end - position->chunk_offset,
                                     layer->block_size);
    for (uint32_t i = 0; is_possible && i < record->entry_count; i++)
        is_possible = record->entries[i].block < BOUGH__BLOCK_LIMIT &&
                      (record->entries[i].frame < BOUGH__NUMBER_LIMIT || record->entries[i].frame == BOUGH__NO_FRAME);
    if (is_possible)
        return BOUGH_OK;
    return bough__fail(BOUGH_CORRUPT, "%s: the record of transaction %llu is impossible", layer->path,
                       (unsigned long long)record->txn);
}

static int add_record(struct bough__overlay *overlay, const struct bough__log_record *record)
{
    int rc = bough__overlay_reserve(overlay, record->entry_count);
    if (rc == BOUGH_OK)
        bough__overlay_add(overlay, record);
    return rc;
}

static int load_generation(struct bough__layer *layer, uint64_t generation)
{
    bool found = false;
    struct bough__layer_slot slot = {0};
    struct bough__overlay *overlay = NULL;
    int rc = BOUGH_OK;
    if (generation != 0) {
        rc = bough__layer_open_file(layer);
        if (rc == BOUGH_OK)
            rc = bough__layer_file_read_slot(&found, &slot, layer->fd, layer->space, layer->number, generation);
        if (rc == BOUGH_OK && !found)
            return BOUGH_BUSY; /* it moved on: the caller looks at what is published now */
        if (rc == BOUGH_OK)
            rc = bough__layer_slot_check(&slot, layer->block_size, layer->path);
    }
    if (rc == BOUGH_OK)
        rc = start_overlay(&overlay, layer, &slot);
    if (rc != BOUGH_OK)
        return rc;
    bough__overlay_release(layer->overlay);
    layer->overlay = overlay;
    layer->slot = slot;
    return layer->is_writer ? bough__layer_start_recycler(layer) : BOUGH_OK;
}

int bough__layer_reread_slot(struct bough__layer *layer)
{
    bool found = false;
    struct bough__layer_slot slot = {0};
    if (layer->slot.generation == 0)
        return BOUGH_OK;
    int rc = bough__layer_file_read_slot(&found, &slot, layer->fd, layer->space, layer->number, layer->slot.generation);
    if (rc == BOUGH_OK && found && slot.sequence > layer->slot.sequence &&
        (rc = bough__layer_slot_check(&slot, layer->block_size, layer->path)) == BOUGH_OK) {
        pthread_mutex_lock(&layer->mutex);
        layer->slot = slot;
        pthread_mutex_unlock(&layer->mutex);
    }
    return rc;
}

int bough__layer_read_log(struct bough__layer *layer, uint64_t txn)
{
    int rc = BOUGH_OK;
    bough__log_rewind(&layer->log_buffer);
    while (rc == BOUGH_OK && layer->overlay->newest_txn < txn) {
        bool found = false;
        uint64_t chunk_end = 0;
        struct bough__log_record record = {0};
        struct bough__log_position before = layer->overlay->position;
        rc = bough__layer_open_file(layer);
        if (rc == BOUGH_OK)
            rc = bough__log_next(&found, &record, layer->fd, layer->path, &layer->overlay->position,
                                 &layer->log_buffer, layer->overlay->newest_txn + 1, &chunk_end);
        if (rc == BOUGH_OK && !found)
            return BOUGH_BUSY;
        if (rc == BOUGH_OK)
            rc = check_record(layer, layer->overlay, &record);
        if (rc == BOUGH_OK)
            rc = bough__overlay_reserve(layer->overlay, record.entry_count);
        if (rc == BOUGH_OK) {
            bough__layer_note_deaths(layer, &record, true);
            bough__overlay_add(layer->overlay, &record);
        } else {
            layer->overlay->position = before; /* the record is read again, when there is memory */
        }
    }
    return rc;
}

static bool is_current(const struct bough__layer *layer, const struct bough__published *state)
{
    return layer->overlay != NULL && layer->overlay->generation == state->generation &&
           layer->overlay->newest_txn >= state->txn;
}

/* Another process may start new generations while we read one; each try has fewer excuses. */
static int catch_up(struct bough__layer *layer, struct bough__published *out)
{
    for (int tries = 0; tries < 100; tries++) {
        int rc = BOUGH_OK;
        bough__shm_read(out, &layer->shm);
        if (is_current(layer, out))
            return BOUGH_OK;
        if (layer->overlay == NULL || layer->overlay->generation != out->generation)
            rc = load_generation(layer, out->generation);
        if (rc == BOUGH_OK)
            rc = bough__layer_read_log(layer, out->txn);
        if (rc == BOUGH_OK) {
            if (layer->block_size == 0)
                layer->block_size = (uint32_t)out->block_size;
            return BOUGH_OK;
        }
        if (rc != BOUGH_BUSY)
            return rc;
        struct bough__published now = {0};
        bough__shm_read(&now, &layer->shm);
        if (now.generation == out->generation)
            return bough__fail(BOUGH_CORRUPT, "%s: the log ends at transaction %llu, %llu was published", layer->path,
                               (unsigned long long)(layer->overlay ? layer->overlay->newest_txn : 0),
                               (unsigned long long)out->txn);
    }
    return bough__fail(BOUGH_BUSY, "%s: others write faster than this process reads", layer->path);
}

int bough__layer_refresh(struct bough__layer *layer, struct bough__published *out)
{
    bough__shm_read(out, &layer->shm);
    if (is_current(layer, out))
        return BOUGH_OK;
    bough__layer_hold_file(layer);
    int rc = catch_up(layer, out);
    bough__layer_let_file(layer);
    return rc;
}

void bough__layer_install(struct bough__layer *layer, struct bough__overlay *overlay,
                          const struct bough__layer_slot *slot, const struct bough__published *state)
{
    pthread_mutex_lock(&layer->mutex);
    struct bough__overlay *old = layer->overlay;
    layer->overlay = overlay;
    layer->slot = *slot;
    bough__shm_publish(&layer->shm, state);
    pthread_mutex_unlock(&layer->mutex);
    bough__overlay_release(old);
}

/* ---- recovery ---- */

void bough__layer_count_frames(uint64_t *count, const struct bough__layer *layer,
                               const struct bough__log_record *record, uint64_t chunk_end)
{
    for (uint32_t i = 0; i < record->entry_count; i++)
        if (record->entries[i].frame != BOUGH__NO_FRAME && record->entries[i].frame >= *count)
            *count = record->entries[i].frame + 1;
    uint64_t chunk_frames = chunk_end <= BOUGH__LAYER_FRAMES_OFFSET
                                ? 0
                                : bough__block_count(chunk_end - BOUGH__LAYER_FRAMES_OFFSET, layer->block_size);
    if (chunk_frames > *count)
        *count = chunk_frames;
}

/* Follows the log from the overlay's position up to limit; *out_durable and *out_frames rise to what the records
 * say. */
static int scan_log(struct bough__layer *layer, struct bough__overlay *overlay, uint64_t limit, uint64_t *out_durable,
                    uint64_t *out_frames)
{
    int rc = BOUGH_OK;
    bool found = true;
    uint64_t chunk_end = overlay->position.chunk_end;
    bough__log_rewind(&layer->log_buffer);
    while (rc == BOUGH_OK && found && overlay->newest_txn < limit) {
        struct bough__log_record record = {0};
        rc = bough__log_next(&found, &record, layer->fd, layer->path, &overlay->position, &layer->log_buffer,
                             overlay->newest_txn + 1, &chunk_end);
        if (rc == BOUGH_OK && found)
            rc = check_record(layer, overlay, &record);
        if (rc != BOUGH_OK || !found)
            break;
        bough__layer_count_frames(out_frames, layer, &record, chunk_end);
        if (record.durable_txn > *out_durable)
            *out_durable = record.durable_txn;
        rc = add_record(overlay, &record);
    }
    bough__layer_count_frames(out_frames, layer, &(struct bough__log_record){0}, chunk_end);
    return rc;
}

/* Lowers *n to the newest transaction at which all live frames written after `durable` verify. An entry that fails is
 * live from its own transaction until the one that superseded it; n must not lie there. */
static int choose_transaction(uint64_t *n, struct bough__layer *layer, struct bough__overlay *overlay, uint64_t durable)
{
    int rc = BOUGH_OK;
    size_t range_count = 0;
    struct { uint64_t from, to; } *ranges = bough__alloc((overlay->entry_count + 1u) * sizeof *ranges);
    uint64_t *superseded = bough__alloc((overlay->entry_count + 1u) * sizeof *superseded);
    uint8_t *page = bough__alloc(layer->block_size);
    if (ranges == NULL || superseded == NULL || page == NULL) {
        rc = bough__fail_memory();
        goto done;
    }
    for (uint32_t i = 0; i < overlay->entry_count; i++)
        if (overlay->entries[i].older != 0)
            superseded[overlay->entries[i].older - 1] = overlay->entries[i].txn;
    for (uint32_t i = 0; i < overlay->entry_count; i++) {
        const struct bough__overlay_entry *entry = &overlay->entries[i];
        if (entry->txn <= durable || entry->frame == BOUGH__NO_FRAME)
            continue;
        rc = bough__frame_read(layer->space, layer->number, entry->frame, entry->block, entry->sum, page,
                               layer->block_size, false);
        if (rc != BOUGH_OK && rc != BOUGH_CORRUPT)
            goto done;
        if (rc == BOUGH_CORRUPT) {
            ranges[range_count].from = entry->txn;
            ranges[range_count++].to = superseded[i] != 0 ? superseded[i] : UINT64_MAX;
        }
        rc = BOUGH_OK;
    }
    for (size_t i = 0; i < range_count;) {
        bool inside = *n >= ranges[i].from && *n < ranges[i].to;
        if (inside)
            *n = ranges[i].from - 1;
        i = inside ? 0 : i + 1; /* another range may hold the lower n */
    }
done:
    free(ranges);
    free(superseded);
    free(page);
    return rc;
}

/* ---- recovery of the file ---- */

/* Processes that died may have left the file's name, a header slot or records in the page cache alone. What is found
 * is built upon from here on (frames that the newest slot calls free are used again, and those of transactions that
 * are not durable), so it has to be on the disk first. A log tells of its newest transaction only that it was written,
 * although somebody may have been told that it is durable. */
static int settle_after_death(struct bough__layer *layer)
{
    if (layer->shm.is_private)
        return BOUGH_OK;
    char *directory = bough__format("%s/layers", layer->space->directory);
    if (directory == NULL)
        return bough__fail_memory();
    int rc = bough__os_sync_directory(directory);
    if (rc == BOUGH_OK)
        rc = bough__layer_sync_anyway(layer);
    free(directory);
    return rc;
}

/* Who has no part in shared memory may read a log while its writer starts a new one over it. BOUGH_BUSY: that
 * happened. */
static int check_generation(struct bough__layer *layer, uint64_t generation)
{
    bool found = false;
    struct bough__layer_slot now = {0};
    int rc = bough__layer_file_read_slot(&found, &now, layer->fd, layer->space, layer->number, 0);
    if (rc == BOUGH_OK && (!found || now.generation != generation))
        rc = bough__fail(BOUGH_BUSY, "%s: is being written to", layer->path);
    return rc;
}

/* What was handed out is in the file, but for the end of a chunk of the log that was not filled yet. */
static int check_slot(const struct bough__layer *layer, const struct bough__layer_slot *slot)
{
    uint64_t size = 0;
    int rc = bough__layer_slot_check(slot, layer->block_size, layer->path);
    if (rc == BOUGH_OK)
        rc = bough__os_size(&size, layer->fd, layer->path);
    if (rc == BOUGH_OK && bough__frame_offset(slot->frame_count, layer->block_size) > size + CHUNK_TAIL_MAX)
        rc = bough__fail(BOUGH_CORRUPT, "%s: ends before the frames that its header counts", layer->path);
    return rc;
}

/* A prepared transaction without another after it counts if it was decided so; then it is durable. */
static int judge_newest(uint64_t *n, uint64_t *durable, const struct bough__layer *layer,
                        const struct bough__overlay *overlay)
{
    bool is_committed = false;
    if (!overlay->newest_is_prepared || *n <= *durable)
        return BOUGH_OK;
    int rc = bough__decision_look(&is_committed, layer->space, &overlay->decision, layer->shm.is_private);
    if (is_committed)
        *durable = *n;
    else
        --*n;
    return rc;
}

/* A record may stand in the log whose transaction is not committed yet. Who has a part in shared memory reads up to
 * what is published there; who has none has a look at it, too. */
static void leave_unpublished(uint64_t *n, const struct bough__layer *layer, const struct bough__layer_slot *slot,
                              uint64_t durable)
{
    struct bough__published told = {0};
    if (layer->shm.is_private && bough__shm_told(&told, layer->space->directory, layer->number) &&
        told.generation == slot->generation && told.txn < *n && told.txn >= durable)
        *n = told.txn;
}

static int recover_file(struct bough__layer *layer, bool same_boot)
{
    bool found = false;
    struct bough__layer_slot slot = {0};
    struct bough__overlay *overlay = NULL;
    int rc = BOUGH_OK;
    if (layer->shm.is_private)
        rc = bough__os_lock(layer->fd, BOUGH__LAYER_READER_BYTE, BOUGH__SHARED, layer->path);
    if (rc == BOUGH_OK)
        rc = bough__layer_file_read_slot(&found, &slot, layer->fd, layer->space, layer->number, 0);
    if (rc == BOUGH_OK && !found)
        rc = bough__fail(BOUGH_CORRUPT, "%s: its header slots are damaged", layer->path);
    if (rc == BOUGH_OK)
        rc = check_slot(layer, &slot);
    if (rc != BOUGH_OK)
        return rc;

    uint64_t durable = slot.durable_txn > slot.txn ? slot.durable_txn : slot.txn, frames = slot.frame_count;
    rc = start_overlay(&overlay, layer, &slot);
    if (rc == BOUGH_OK)
        rc = scan_log(layer, overlay, UINT64_MAX, &durable, &frames);
    if (rc != BOUGH_OK)
        goto done;
    uint64_t n = overlay->newest_txn;
    rc = judge_newest(&n, &durable, layer, overlay);
    if (rc != BOUGH_OK)
        goto done;
    leave_unpublished(&n, layer, &slot, durable);
    /* Without a reboot the page cache has all that was written. But the newest record may never have been published,
     * and then the next writer may have begun to write other pages into its frames. */
    rc = choose_transaction(&n, layer, overlay, same_boot && n > durable + 1 ? n - 1 : durable);
    if (rc == BOUGH_OK && (n < durable || n < slot.txn))
        rc = bough__fail(BOUGH_CORRUPT, "%s: transaction %llu was on the disk, the log is good up to %llu only",
                         layer->path, (unsigned long long)durable, (unsigned long long)n);
    if (rc == BOUGH_OK && n < overlay->newest_txn) {
        bough__overlay_release(overlay);
        overlay = NULL;
        rc = start_overlay(&overlay, layer, &slot);
        if (rc == BOUGH_OK)
            rc = scan_log(layer, overlay, n, &durable, &frames);
        /* The record after n still chains. Should this process die, its heir would take it without a look at the
         * frames. */
        if (rc == BOUGH_OK && !layer->shm.is_private)
            rc = bough__log_void(layer->fd, layer->path, overlay->position.offset);
    }
    if (rc == BOUGH_OK && (same_boot || n > durable))
        rc = settle_after_death(layer);
    else if (rc == BOUGH_OK && n == 0 && !layer->shm.is_private)
        rc = bough__layer_file_keep_name(layer->space, layer->number);
    if (rc == BOUGH_OK && layer->shm.is_private)
        rc = check_generation(layer, slot.generation);
    if (rc != BOUGH_OK)
        goto done;
    bool is_settled = !layer->shm.is_private && !(bough__shm_flags(&layer->shm) & BOUGH__SHM_POISONED);
    bough__shm_raise_durable(&layer->shm, is_settled ? n : durable);
    bough__shm_raise_hold(&layer->shm, slot.hold_txn);
    layer->slot = slot;
    layer->overlay = overlay;
    bough__shm_publish(&layer->shm, &(struct bough__published){.txn = n,
                                                               .generation = slot.generation,
                                                               .size_bytes = overlay->size_bytes,
                                                               .frame_count = frames,
                                                               .block_size = layer->block_size,
                                                               .top = slot.tree.top});
    return BOUGH_OK;
done:
    bough__overlay_release(overlay);
    return rc;
}

static int recover(struct bough__layer *layer, bool same_boot)
{
    int tries = 0;
    int rc = bough__layer_open_file(layer);
    bough__shm_raise_hold(&layer->shm, layer->held_txn);
    if (rc == BOUGH_OK) {
        do
            rc = recover_file(layer, same_boot);
        while (rc == BOUGH_BUSY && layer->shm.is_private && tries++ < 100);
        return rc;
    }
    if (rc != BOUGH_NOT_FOUND)
        return rc;
    bool was_made = layer->held_txn != 0;
    rc = was_made ? BOUGH_OK : bough__layer_file_was_made(&was_made, layer->space, layer->number);
    if (rc == BOUGH_OK && was_made)
        rc = bough__fail(BOUGH_CORRUPT, "%s: missing, though the branch '%s' was written to", layer->path,
                         layer->branch);
    if (rc != BOUGH_OK)
        return rc;
    struct bough__published state = {
        .size_bytes = layer->head.size_bytes, .block_size = layer->block_size, .top = layer->head.top};
    bough__shm_publish(&layer->shm, &state);
    return bough__overlay_create(&layer->overlay, &layer->head, 0, 0, 0);
}

/* ---- opening ---- */

static void free_layer(struct bough__layer *layer)
{
    bough__overlay_release(layer->overlay);
    bough__log_buffer_release(&layer->log_buffer);
    bough__recycler_release(&layer->recycler);
    free(layer->write_buffer);
    pthread_mutex_destroy(&layer->mutex);
    pthread_mutex_destroy(&layer->sync_mutex);
    free(layer->branch);
    free(layer->path);
    free(layer);
}

static int new_layer(struct bough__layer **out, struct bough__space *space, const struct bough__layer_owner *owner)
{
    char name[BOUGH__FILE_NAME_SIZE];
    struct bough__layer *layer = bough__alloc(sizeof *layer);
    if (layer == NULL)
        return bough__fail_memory();
    bough__file_name(name, BOUGH__LAYER_FILE, owner->number);
    layer->references = 1;
    layer->space = space;
    layer->number = owner->number;
    layer->head = owner->head;
    memcpy(layer->head_id, owner->head_id, sizeof layer->head_id);
    layer->held_txn = owner->held_txn;
    layer->is_scratch = owner->is_scratch;
    layer->block_size = owner->head.block_size;
    layer->fd = -1;
    layer->shm.fd = -1;
    layer->branch = bough__strdup(owner->branch != NULL ? owner->branch : "");
    layer->path = bough__format("%s/%s", space->directory, name);
    pthread_mutex_init(&layer->mutex, NULL);
    pthread_mutex_init(&layer->sync_mutex, NULL);
    if (layer->branch == NULL || layer->path == NULL) {
        free_layer(layer);
        return bough__fail_memory();
    }
    *out = layer;
    return BOUGH_OK;
}

/* What changes when the branch gets a transaction, and when it gets another layer. */
static int watched_paths(const char *out[BOUGH__SIGHT_FILES], char **out_catalog, const struct bough__layer *layer)
{
    *out_catalog = bough__format("%s/catalog.db-wal", layer->space->directory);
    out[0] = layer->path;
    out[1] = *out_catalog;
    return *out_catalog != NULL ? BOUGH_OK : bough__fail_memory();
}

/* Before anything is read. */
static int look_private(struct bough__layer *layer)
{
    const char *paths[BOUGH__SIGHT_FILES];
    char *catalog = NULL;
    struct bough__space *space = layer->space;
    int rc = watched_paths(paths, &catalog, layer);
    if (rc == BOUGH_OK)
        bough__sight_take(&layer->sight, paths);
    free(catalog);
    pthread_mutex_lock(&space->mutex);
    if (rc == BOUGH_OK)
        rc = bough__space_read_unseen(space);
    pthread_mutex_unlock(&space->mutex);
    return rc;
}

bool bough__layer_may_be_old(const struct bough__layer *layer)
{
    const char *paths[BOUGH__SIGHT_FILES];
    char *catalog = NULL;
    if (!layer->shm.is_private)
        return false;
    bool is_old = layer->shm.private_code == BOUGH_FULL || watched_paths(paths, &catalog, layer) != BOUGH_OK ||
                  bough__sight_is_old(&layer->sight, paths);
    free(catalog);
    return is_old;
}

/* Without the space's mutex, like detach: they may wait for other processes, for the disk, for a long log, and nobody
 * has to wait with them but who wants the same layer. */
static int attach(struct bough__layer *layer)
{
    bool first = false, same_boot = false;
    struct bough__space *space = layer->space;
    int rc = bough__shm_open(&layer->shm, &first, &same_boot, space->directory, space->locks_fd, layer->number,
                             space->mode, 10000);
    if (rc != BOUGH_OK)
        return rc;
    bough__layer_hold_file(layer);
    if (layer->shm.is_private)
        rc = look_private(layer);
    if (rc == BOUGH_OK && first) {
        rc = recover(layer, same_boot);
        if (rc == BOUGH_OK)
            rc = bough__shm_ready(&layer->shm);
    } else if (rc == BOUGH_OK) {
        struct bough__published state = {0};
        rc = bough__layer_refresh(layer, &state);
    }
    bough__layer_let_file(layer);
    if (rc != BOUGH_OK) {
        struct bough__error_state error;
        bough__error_save(&error);
        bough__layer_close_file(layer);
        /* The file of a layer that is poisoned or was left by the dead stays, so that the next opener knows. */
        bough__shm_close(&layer->shm,
                         first && !same_boot && !(bough__shm_flags(&layer->shm) & BOUGH__SHM_POISONED));
        bough__error_restore(&error);
    }
    return rc;
}

/* ---- the layers of a space; with its mutex held ---- */

/* One without a part in shared memory is its opener's alone: the next one may see a newer state. */
static struct bough__layer *find_layer(const struct bough__space *space, uint32_t number)
{
    struct bough__layer *layer = space->layers;
    while (layer != NULL && (layer->number != number || (!layer->is_changing && layer->shm.is_private)))
        layer = layer->next;
    return layer;
}

/* When nobody is opening or closing it. */
static struct bough__layer *await_layer(struct bough__space *space, uint32_t number)
{
    struct bough__layer *layer = NULL;
    while ((layer = find_layer(space, number)) != NULL && layer->is_changing)
        pthread_cond_wait(&space->layer_is_ready, &space->mutex);
    return layer;
}

static void add_changing(struct bough__space *space, struct bough__layer *layer)
{
    bough__space_want_locks(space);
    layer->is_changing = true;
    layer->next = space->layers;
    space->layers = layer;
}

static void remove_layer(struct bough__space *space, struct bough__layer *layer)
{
    struct bough__layer **link = &space->layers;
    while (*link != layer)
        link = &(*link)->next;
    *link = layer->next;
}

/* A new one, which goes again if it cannot be opened. Gives the mutex up meanwhile. */
static int open_new(struct bough__layer **out, struct bough__space *space, const struct bough__layer_owner *owner)
{
    struct bough__layer *layer = NULL;
    int rc = new_layer(&layer, space, owner);
    if (rc != BOUGH_OK)
        return rc;
    add_changing(space, layer);
    pthread_mutex_unlock(&space->mutex);
    rc = attach(layer);
    pthread_mutex_lock(&space->mutex);
    layer->is_changing = false;
    pthread_cond_broadcast(&space->layer_is_ready);
    if (rc == BOUGH_OK) {
        *out = layer;
        return rc;
    }
    remove_layer(space, layer);
    free_layer(layer);
    return rc;
}

/* ---- opening a layer, or joining those who have it open ---- */

int bough__layer_open(struct bough__layer **out, struct bough__space *space, const struct bough__layer_owner *owner)
{
    int rc = BOUGH_OK;
    pthread_mutex_lock(&space->mutex);
    *out = await_layer(space, owner->number);
    if (*out != NULL)
        (*out)->references++;
    else
        rc = open_new(out, space, owner);
    if (rc == BOUGH_OK && !owner->is_hearsay)
        bough__layer_confirm(*out);
    pthread_mutex_unlock(&space->mutex);
    return rc;
}

void bough__layer_confirm(struct bough__layer *layer)
{
    if (!(bough__shm_flags(&layer->shm) & BOUGH__SHM_CONFIRMED))
        bough__shm_set(&layer->shm, BOUGH__SHM_CONFIRMED);
}

/* ---- closing ---- */

/* Notes the newest transaction in both slots of the generation: damage to one of them, and to the log that begins
 * behind the second, must not bring back an older state. They are never unsynced both. */
static int note_newest(struct bough__layer *layer, uint64_t txn)
{
    int rc = bough__layer_reread_slot(layer);
    /* hold_txn stays as it is: it tells of this generation's beginning. */
    struct bough__layer_slot slot = layer->slot;
    if (rc == BOUGH_OK && slot.durable_txn < txn) {
        slot.sequence++;
        slot.durable_txn = txn;
        rc = bough__layer_file_write_slot(layer->fd, layer->space, layer->number, &slot);
        if (rc == BOUGH_OK)
            rc = bough__layer_sync(layer);
    }
    slot.sequence++;
    return rc == BOUGH_OK ? bough__layer_file_write_slot(layer->fd, layer->space, layer->number, &slot) : rc;
}

/* Everything durable, the newest transaction noted, the zero-filled tail cut off. Failing here loses nothing. */
static void finish_file(struct bough__layer *layer)
{
    struct bough__published state = {0};
    uint64_t size = 0;
    if (bough__layer_refresh(layer, &state) != BOUGH_OK || state.generation == 0 || layer->shm.is_private)
        return;
    if (bough__layer_open_file(layer) != BOUGH_OK)
        return;
    if (bough__shm_durable(&layer->shm) < state.txn && bough__layer_sync(layer) != BOUGH_OK)
        return;
    if (!bough__layer_file_is_doubled(layer->fd, layer->space, layer->number, state.generation, state.txn) &&
        note_newest(layer, state.txn) != BOUGH_OK)
        return;
    uint64_t end = bough__frame_offset(state.frame_count, layer->block_size);
    if (bough__os_size(&size, layer->fd, layer->path) == BOUGH_OK && size > end)
        (void)bough__os.ftruncate(layer->fd, (off_t)end);
}

/* Whoever reads without permission to write keeps the file by a lock on it. If that cannot be found out the file stays,
 * and gc finds it. */
static bool may_be_removed(struct bough__layer *layer)
{
    return bough__layer_open_file(layer) == BOUGH_OK && !bough__os_is_locked(layer->fd, BOUGH__LAYER_READER_BYTE);
}

/* Returns a descriptor for the caller to close, or -1. Who closes the last one of a file without a name waits until its
 * blocks are given back, which some file systems take long for, so it is not done under a lock. */
static int detach(struct bough__layer *layer)
{
    int last_fd = -1;
    bough__layer_settle_file(layer); /* before anybody has to wait for us */
    bool last = bough__shm_is_last(&layer->shm);
    if (last)
        bough__layer_resolve_if_free(layer);
    uint32_t flags = bough__shm_flags(&layer->shm);
    bough__layer_hold_file(layer);
    uint32_t unfit = BOUGH__SHM_POISONED | BOUGH__SHM_GONE | BOUGH__SHM_HEADER | BOUGH__SHM_PREPARED;
    if (last && (flags & (unfit | BOUGH__SHM_CONFIRMED)) == BOUGH__SHM_CONFIRMED)
        finish_file(layer);
    bool is_rubbish = last && flags & BOUGH__SHM_USELESS && may_be_removed(layer);
    bough__layer_let_file(layer);
    if (is_rubbish)
        last_fd = bough__layer_yield_file(layer);
    bough__layer_close_file(layer);
    if (is_rubbish && bough__os.unlink(layer->path) == 0)
        bough__files_forget(layer->space->files, BOUGH__LAYER_FILE, layer->number);
    flags = bough__shm_flags(&layer->shm);
    /* HEADER: a writer died in a checkpoint, and what it wrote may not be on the disk. The next opener syncs. */
    uint32_t unsettled = BOUGH__SHM_POISONED | BOUGH__SHM_PREPARED | BOUGH__SHM_DOUBT | BOUGH__SHM_HEADER;
    bough__shm_close(&layer->shm, last && (flags & BOUGH__SHM_GONE || !(flags & unsettled)));
    return last_fd;
}

static void close_last(struct bough__space *space, struct bough__layer *layer)
{
    int last_fd = detach(layer);
    pthread_mutex_lock(&space->mutex);
    remove_layer(space, layer);
    free_layer(layer);
    pthread_cond_broadcast(&space->layer_is_ready);
    pthread_mutex_unlock(&space->mutex);
    bough__os_close(&last_fd);
}

void bough__layer_close(struct bough__layer *layer)
{
    if (layer == NULL || bough__space_is_inherited(layer->space))
        return;
    struct bough__error_state error;
    struct bough__space *space = layer->space;
    bough__error_save(&error);
    pthread_mutex_lock(&space->mutex);
    bool is_last_reference = --layer->references == 0;
    layer->is_changing = is_last_reference;
    pthread_mutex_unlock(&space->mutex);
    if (is_last_reference)
        close_last(space, layer);
    bough__error_restore(&error);
}

/* ---- what others ask ---- */

int bough__layer_is_absent(bool *out, const struct bough__space *space, uint32_t number)
{
    char name[BOUGH__FILE_NAME_SIZE];
    struct stat st = {0};
    bough__file_name(name, BOUGH__LAYER_FILE, number);
    char *path = bough__format("%s/%s", space->directory, name);
    if (path == NULL)
        return bough__fail_memory();
    int rc = bough__os.lstat(path, &st) == 0 ? BOUGH_OK : bough__fail_errno("look at", path);
    bool was_made = false;
    bool is_missing = rc == BOUGH_NOT_FOUND;
    if (is_missing)
        rc = bough__layer_file_was_made(&was_made, space, number);
    *out = is_missing && !was_made;
    free(path);
    return rc;
}

/* By what its file says. *out_is_gone: there is none. */
static bool is_noted(bool *out_is_gone, struct bough__space *space, uint32_t number, uint64_t txn)
{
    int fd = -1, noted = 0;
    struct bough__layer_identity identity = {0};
    int rc = bough__layer_file_open(&fd, &identity, space, number, true);
    for (enum bough__slot_place place = 0; rc == BOUGH_OK && place < BOUGH__SLOT_PLACES; place++) {
        enum bough__slot_state state = BOUGH__SLOT_EMPTY;
        struct bough__layer_slot slot = {0};
        rc = bough__layer_file_read_place(&state, &slot, fd, space, number, place);
        noted += rc == BOUGH_OK && state == BOUGH__SLOT_VALID && slot.durable_txn >= txn;
    }
    bough__os_close(&fd);
    *out_is_gone = rc == BOUGH_NOT_FOUND;
    return rc == BOUGH_OK && noted >= 2;
}

/* Nothing is synced here to make sure of it: a failure would be told to this descriptor, and whoever opens the file
 * afterwards would take for durable what is lost. So a header counts when all who had the layer have closed it; who
 * opens it after we read the header is seen then. */
static bool is_past_elsewhere(struct bough__space *space, uint32_t number, uint64_t txn)
{
    bool is_gone = false, is_closed = false;
    uint64_t durable = 0;
    bool noted = is_noted(&is_gone, space, number, txn);
    if (is_gone)
        return true;
    if (bough__shm_ask(&durable, &is_closed, space->directory, number) != BOUGH_OK)
        return false;
    return durable > txn || (noted && is_closed);
}

bool bough__layer_is_past(struct bough__space *space, uint32_t number, uint64_t txn)
{
    pthread_mutex_lock(&space->mutex);
    const struct bough__layer *layer = find_layer(space, number);
    bool is_past = layer != NULL && !layer->is_changing && bough__shm_durable(&layer->shm) > txn;
    pthread_mutex_unlock(&space->mutex);
    return is_past || is_past_elsewhere(space, number, txn);
}

uint32_t bough__layer_number(const struct bough__layer *layer)
{
    return layer->number;
}

uint64_t bough__layer_newest(struct bough__layer *layer)
{
    return bough__shm_newest(&layer->shm);
}

uint64_t bough__layer_own_bytes(struct bough__layer *layer)
{
    struct stat st = {0};
    uint64_t bytes = 0;
    struct bough__published state = {0};
    bough__layer_hold_file(layer);
    pthread_mutex_lock(&layer->mutex);
    if (bough__layer_refresh(layer, &state) == BOUGH_OK && state.generation != 0 &&
        bough__layer_open_file(layer) == BOUGH_OK && bough__os.fstat(layer->fd, &st) == 0)
        bytes = (uint64_t)st.st_blocks * 512 + layer->slot.node_count * BOUGH__NODE_SIZE;
    pthread_mutex_unlock(&layer->mutex);
    bough__layer_let_file(layer);
    return bytes;
}

uint64_t bough__layer_kept_bytes(struct bough__layer *layer)
{
    return bough__shm_kept(&layer->shm) * layer->block_size;
}

int64_t bough__layer_oldest_reader_ms(struct bough__layer *layer)
{
    return bough__shm_oldest_pin_ms(&layer->shm);
}

int bough__layer_openers(int32_t out_pids[BOUGH__OPENERS_MAX], size_t *out_count, struct bough__layer *layer)
{
    _Static_assert(BOUGH__OPENERS_MAX == BOUGH__SHM_OPENERS, "one list of openers");
    *out_count = bough__shm_pids(&layer->shm, out_pids);
    return BOUGH_OK;
}

void bough__layer_set_protected(struct bough__layer *layer, bool is_protected)
{
    if (is_protected)
        bough__shm_set(&layer->shm, BOUGH__SHM_PROTECTED);
    else
        bough__shm_clear(&layer->shm, BOUGH__SHM_PROTECTED);
}

void bough__layer_hold(struct bough__layer *layer, uint64_t txn)
{
    bough__shm_raise_hold(&layer->shm, txn);
}
