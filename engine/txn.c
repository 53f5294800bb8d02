/* txn.c - one write transaction over a layer.
 *
 * Pages go into frames that nobody else refers to, through a small buffer, so that a little transaction writes them
 * with one call. The commit:
 *
 *   1. the buffer is written out (new space is zero-filled ahead: a sync that also grows the file costs half as much
 *      again as one into blocks already written);
 *   2. one record goes to the log;
 *   3. DURABLE: one fdatasync makes frames and record durable together - their order does not matter, because recovery
 *      takes a record only with frames that verify. LAZY: only when 16 MiB were written since the last one, or ten
 *      seconds have passed;
 *   4. the overlay takes the entries (room was reserved before 2, so this cannot fail) and the state is published.
 *
 * A transaction of more than 8 MiB, or one that cuts off as much, is committed by a checkpoint instead: its pages are
 * folded right away, and the header is the commit point. So the log's records and the pages that a later fork has to
 * hash stay bounded whatever a transaction did. What would make such a commit long begins before it: from half that
 * size on a transaction has its pages hashed (hasher.h) and tells the system to write them while it goes on.
 *
 * After a failed fdatasync nobody knows what is on the disk. The record is overwritten before the error returns, the
 * layer is marked poisoned, and the next writer first writes everything that is not known durable elsewhere (heal).
 *
 * Frames handed out to a transaction that does not commit are handed out again.
 */
#include "error.h"
#include "fold.h"
#include "group.h"
#include "hasher.h"
#include "layer_state.h"
#include "os.h"
#include "pages.h"

#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE (256u << 10)
#define FILL_MIN (16u << 10)
#define FILL_MAX (1u << 20)
/* From here on a transaction is written without filling ahead: every byte would be written twice. */
#define FILL_TXN_LIMIT (512u << 10)
#define CHUNK_MIN (16u << 10)
/* Takes a whole generation's log and the record that passes the limit. */
#define CHUNK_MAX (BOUGH__LOG_LIMIT + BOUGH__LOG_LIMIT / 4 + 4096)

struct bough__txn {
    struct bough__layer *layer;
    struct bough__snapshot base; /* of our own, so that the caller may let go of his */
    struct bough__page_table pages;
    uint32_t block_size;
    uint64_t size_bytes;
    uint64_t keep_blocks; /* fewest on the way; BOUGH__KEEP_ALL: never fewer than the base has */
    uint64_t first_frame, next_frame; /* at the end of the file */
    struct bough__frames dropped; /* of pages that became zeros, or were cut off; the first to be taken again */
    bool is_dirty;
    int broken; /* what kept the base from following a commit; nothing is written then */
    bool has_file;
    /* Frames [buffer_first, buffer_first + buffer_count) are in the layer's write buffer and not in the file. */
    uint64_t buffer_first, buffer_count, buffer_capacity;
    bool is_large;                 /* the disk is at work on it */
    struct bough__hasher *hasher;  /* of a large one; NULL: none to be had */
    /* Prepared: the record stands in the log, up to prepared_end; its entries are NULL otherwise. */
    struct bough__log_record prepared;
    struct bough__log_position prepared_end;
};

/* ---- beginning and ending ---- */

static int keep_base(struct bough__txn *txn)
{
    struct bough__snapshot next = {0};
    int rc = bough__snapshot_pin(&next, txn->layer);
    if (rc != BOUGH_OK)
        return rc;
    bough__snapshot_release(&txn->base);
    txn->base = next;
    return BOUGH_OK;
}

/* Begins afresh on the newest state. */
static void reset(struct bough__txn *txn)
{
    struct bough__published state = {0};
    bough__shm_read(&state, &txn->layer->shm);
    bough__page_table_release(&txn->pages);
    bough__frames_release(&txn->dropped);
    bough__hasher_end(txn->hasher);
    txn->hasher = NULL;
    txn->is_large = false;
    txn->size_bytes = state.size_bytes;
    txn->block_size = txn->layer->block_size;
    txn->keep_blocks = BOUGH__KEEP_ALL;
    txn->first_frame = txn->next_frame = state.frame_count;
    txn->buffer_count = 0;
    txn->is_dirty = false;
    free(txn->prepared.entries);
    txn->prepared.entries = NULL;
}

/* A writer that was killed while it replaced the header may have finished: then its state counts, because recovery
 * would find it, and later records must not go to the log before it. */
static int adopt_header(struct bough__layer *layer)
{
    bool found = false;
    struct bough__layer_slot slot = {0};
    struct bough__published state = {0};
    if (!(bough__shm_flags(&layer->shm) & BOUGH__SHM_HEADER))
        return BOUGH_OK;
    pthread_mutex_lock(&layer->mutex);
    int rc = bough__layer_open_file(layer);
    if (rc == BOUGH_OK)
        rc = bough__layer_file_read_slot(&found, &slot, layer->fd, layer->space, layer->number, 0);
    bough__shm_read(&state, &layer->shm);
    if (rc == BOUGH_OK && found)
        rc = bough__layer_slot_check(&slot, layer->block_size, layer->path);
    if (rc == BOUGH_OK && found && slot.generation > state.generation) {
        rc = bough__layer_sync_anyway(layer);
        if (rc == BOUGH_OK) {
            state.generation = slot.generation;
            state.txn = slot.txn;
            state.size_bytes = slot.tree.size_bytes;
            state.block_size = layer->block_size;
            state.top = slot.tree.top;
            if (state.frame_count < slot.frame_count)
                state.frame_count = slot.frame_count;
            bough__shm_raise_durable(&layer->shm, slot.txn); /* first, as in checkpoint.c */
            bough__shm_publish(&layer->shm, &state);
        }
    }
    if (rc == BOUGH_OK)
        bough__shm_clear(&layer->shm, BOUGH__SHM_HEADER);
    pthread_mutex_unlock(&layer->mutex);
    return rc;
}

int bough__layer_prepare_writer(struct bough__layer *layer, struct bough__published *out)
{
    int rc = adopt_header(layer);
    if (rc != BOUGH_OK)
        return rc;
    pthread_mutex_lock(&layer->mutex);
    rc = bough__layer_refresh(layer, out);
    if (rc == BOUGH_OK)
        rc = bough__layer_become_writer(layer);
    pthread_mutex_unlock(&layer->mutex);
    return rc;
}

static int prepare_writer(struct bough__layer *layer, const struct bough__snapshot *snapshot)
{
    struct bough__published state = {0};
    int rc = bough__layer_prepare_writer(layer, &state);
    if (rc == BOUGH_OK && (bough__shm_flags(&layer->shm) & BOUGH__SHM_POISONED))
        rc = bough__layer_heal(layer);
    if (rc == BOUGH_OK && bough__shm_flags(&layer->shm) & BOUGH__SHM_PROTECTED)
        rc = bough__fail(BOUGH_REFUSED, "branch '%s' is protected", layer->branch);
    if (rc == BOUGH_OK && state.txn != snapshot->txn)
        rc = bough__fail(BOUGH_STALE, "branch '%s': the snapshot is of transaction %llu, the newest is %llu",
                         layer->branch, (unsigned long long)snapshot->txn, (unsigned long long)state.txn);
    return rc;
}

int bough__txn_begin(struct bough__txn **out, const struct bough__snapshot *snapshot)
{
    struct bough__layer *layer = snapshot->layer;
    *out = NULL;
    if (layer == NULL)
        return bough__fail(BOUGH_REFUSED, "a past state cannot be written to");
    struct bough__txn *txn = bough__alloc(sizeof *txn);
    if (txn == NULL)
        return bough__fail_memory();
    int rc = bough__layer_lock_writer(layer);
    if (rc != BOUGH_OK) {
        free(txn);
        return rc;
    }
    txn->layer = layer;
    rc = prepare_writer(layer, snapshot);
    if (rc == BOUGH_OK)
        rc = keep_base(txn);
    if (rc != BOUGH_OK) {
        bough__layer_unlock_writer(layer);
        free(txn);
        return rc;
    }
    reset(txn);
    *out = txn;
    return BOUGH_OK;
}

void bough__layer_mend(struct bough__layer *layer)
{
    struct bough__error_state error;
    struct bough__snapshot snapshot = {0};
    struct bough__txn *txn = NULL;
    if (!(bough__shm_flags(&layer->shm) & BOUGH__SHM_POISONED))
        return;
    bough__error_save(&error);
    if (bough__snapshot_pin(&snapshot, layer) == BOUGH_OK) {
        if (bough__txn_begin(&txn, &snapshot) == BOUGH_OK) /* heals */
            bough__txn_end(txn);
        bough__snapshot_release(&snapshot);
    }
    bough__error_restore(&error);
}

/* Frames that were handed out to what is dropped are handed out again. */
static void drop(struct bough__txn *txn)
{
    bough__recycler_settle(&txn->layer->recycler, false);
    reset(txn);
}

void bough__txn_rollback(struct bough__txn *txn)
{
    drop(txn);
}

void bough__txn_end(struct bough__txn *txn)
{
    if (txn == NULL)
        return;
    drop(txn);
    bough__layer_unlock_writer(txn->layer);
    bough__snapshot_release(&txn->base);
    bough__page_table_release(&txn->pages);
    free(txn);
}

bool bough__txn_is_dirty(const struct bough__txn *txn)
{
    return txn->is_dirty;
}

struct bough__space *bough__txn_space(const struct bough__txn *txn)
{
    return txn->layer->space;
}

uint32_t bough__txn_block_size(const struct bough__txn *txn)
{
    return txn->block_size;
}

uint64_t bough__txn_size(const struct bough__txn *txn)
{
    return txn->size_bytes;
}

int bough__txn_set_block_size(struct bough__txn *txn, uint32_t block_size)
{
    if (txn->block_size == block_size)
        return BOUGH_OK;
    if (txn->block_size != 0 && (txn->pages.count != 0 || txn->layer->fd >= 0 || txn->base.size_bytes != 0))
        return bough__fail(BOUGH_USAGE, "the database has blocks of %u bytes", txn->block_size);
    if (!bough__block_size_is_valid(block_size))
        return bough__fail(BOUGH_USAGE, "%u bytes is no block size", block_size);
    txn->block_size = block_size;
    return BOUGH_OK;
}

/* ---- the file ---- */

static int create_file(struct bough__txn *txn)
{
    struct bough__layer *layer = txn->layer;
    struct bough__layer_identity identity = {.number = layer->number, .block_size = txn->block_size};
    struct bough__layer_slot slot = {.generation = 1,
                                     .log_offset = BOUGH__LAYER_FIRST_CHUNK_OFFSET,
                                     .log_size = BOUGH__LAYER_FIRST_CHUNK_SIZE,
                                     .tree = layer->head};
    strncpy(identity.branch, layer->branch, sizeof identity.branch - 1);
    memcpy(identity.begun_on, layer->head_id, sizeof identity.begun_on);
    int rc = bough__os_random(&slot.log_seed, sizeof slot.log_seed);
    if (rc == BOUGH_OK)
        rc = bough__layer_make_file(layer, &identity, &slot);
    if (rc != BOUGH_OK)
        return rc;
    struct bough__overlay *overlay = NULL;
    bough__layer_file_settle(layer->fd); /* the branch's row has the number */
    rc = bough__overlay_create(&overlay, &layer->head, 1, 0, 0);
    if (rc != BOUGH_OK)
        return rc; /* the file exists without a transaction, which is fine; nobody was told of it */
    overlay->position = bough__layer_log_start(&slot);
    layer->file_size = BOUGH__LAYER_FRAMES_OFFSET;
    bough__files_forget(layer->space->files, BOUGH__LAYER_FILE, layer->number);
    layer->block_size = txn->block_size;
    bough__layer_install(layer, overlay, &slot,
                         &(struct bough__published){.generation = 1,
                                                    .size_bytes = layer->head.size_bytes,
                                                    .block_size = txn->block_size,
                                                    .top = layer->head.top});
    return BOUGH_OK;
}

/* The file exists, is open for writing, and its size is known. */
static int find_file(struct bough__txn *txn)
{
    struct bough__layer *layer = txn->layer;
    int rc = BOUGH_OK;
    if (layer->slot.generation == 0 && layer->overlay->generation == 0) {
        pthread_mutex_lock(&layer->mutex);
        rc = bough__layer_open_file(layer);
        pthread_mutex_unlock(&layer->mutex);
        if (rc == BOUGH_OK) /* made by a writer that died, or failed, before it published */
            bough__layer_close_file(layer);
        else if (rc != BOUGH_NOT_FOUND)
            return rc;
        return create_file(txn);
    }
    pthread_mutex_lock(&layer->mutex);
    rc = bough__layer_open_file(layer);
    pthread_mutex_unlock(&layer->mutex);
    /* Later on only writers make it longer; a size that is too small costs zeros written twice and nothing else. */
    if (rc == BOUGH_OK && layer->file_size == 0)
        rc = bough__os_size(&layer->file_size, layer->fd, layer->path);
    return rc;
}

static int need_file(struct bough__txn *txn)
{
    struct bough__layer *layer = txn->layer;
    int rc = txn->has_file ? BOUGH_OK : find_file(txn);
    if (rc == BOUGH_OK && layer->write_buffer == NULL && (layer->write_buffer = bough__alloc(BUFFER_SIZE)) == NULL)
        rc = bough__fail_memory();
    txn->has_file = rc == BOUGH_OK;
    return rc;
}

/* Zeros from offset on, so that what is written there later changes no metadata. No room for it is no failure. */
static void fill_ahead(struct bough__layer *layer, uint64_t offset, uint64_t len)
{
    static const uint8_t zeros[64u << 10];
    for (uint64_t done = 0; done < len;) {
        size_t n = len - done < sizeof zeros ? (size_t)(len - done) : sizeof zeros;
        if (bough__os_write(layer->fd, zeros, n, offset + done, layer->path) != BOUGH_OK)
            return;
        done += n;
        if (layer->file_size < offset + done)
            layer->file_size = offset + done;
    }
}

/* From here on a transaction is committed by a checkpoint. */
static uint64_t bulk_pages(const struct bough__txn *txn)
{
    uint64_t limit = BOUGH__UNHASHED_LIMIT / txn->block_size;
    uint64_t log_limit = BOUGH__LOG_LIMIT / 4 / BOUGH__LOG_ENTRY_SIZE;
    return limit < log_limit ? limit : log_limit;
}

/* The pages of the buffer are in the file. */
static void work_ahead(struct bough__txn *txn, uint64_t offset, uint64_t len)
{
    struct bough__layer *layer = txn->layer;
    if (!txn->is_large && txn->pages.count > bulk_pages(txn) / 2) {
        txn->is_large = true;
        txn->hasher = bough__hasher_begin(BUFFER_SIZE, txn->block_size);
        return; /* of this buffer's pages the numbers are not known */
    }
    if (txn->hasher != NULL)
        bough__hasher_put(txn->hasher, &layer->write_buffer, (size_t)(len / txn->block_size));
    /* What goes wrong there is told by the sync. */
    if (txn->is_large && !layer->is_scratch)
        (void)bough__os.start_writeback(layer->fd, (off_t)offset, (off_t)len);
}

static int write_out(struct bough__txn *txn)
{
    struct bough__layer *layer = txn->layer;
    if (txn->buffer_count == 0)
        return BOUGH_OK;
    uint64_t offset = bough__frame_offset(txn->buffer_first, txn->block_size);
    uint64_t len = txn->buffer_count * txn->block_size, end = offset + len;
    int rc = bough__os_write(layer->fd, layer->write_buffer, (size_t)len, offset, layer->path);
    if (rc != BOUGH_OK)
        return rc;
    txn->buffer_count = 0;
    work_ahead(txn, offset, len);
    if (end > layer->file_size) {
        uint64_t ahead = layer->file_size / 8;
        layer->file_size = end;
        /* Only behind the last frame of all: others may have made the file longer than this process knows. */
        if (!layer->is_scratch && end == bough__frame_offset(txn->next_frame, txn->block_size) &&
            (txn->next_frame - txn->first_frame) * txn->block_size <= FILL_TXN_LIMIT)
            fill_ahead(layer, end, ahead < FILL_MIN ? FILL_MIN : ahead > FILL_MAX ? FILL_MAX : ahead);
    }
    return BOUGH_OK;
}

/* ---- reading and writing pages ---- */

static bool in_buffer(const struct bough__txn *txn, uint64_t frame)
{
    return frame - txn->buffer_first < txn->buffer_count;
}

static uint8_t *buffered(const struct bough__txn *txn, uint64_t frame)
{
    return txn->layer->write_buffer + (frame - txn->buffer_first) * txn->block_size;
}

int bough__txn_read(struct bough__txn *txn, uint64_t block, void *out_page, bool use_mapping)
{
    const struct bough__page_slot *slot = bough__page_table_find(&txn->pages, block);
    bool is_cut = block >= txn->keep_blocks;
    if (slot == NULL && !is_cut && block < bough__block_count(txn->base.size_bytes, txn->base.block_size))
        return bough__snapshot_read(&txn->base, block, out_page, use_mapping);
    if (slot == NULL || slot->frame == BOUGH__NO_FRAME) {
        memset(out_page, 0, txn->block_size);
        return BOUGH_OK;
    }
    if (in_buffer(txn, slot->frame)) {
        memcpy(out_page, buffered(txn, slot->frame), txn->block_size);
        return BOUGH_OK;
    }
    return bough__frame_read(txn->layer->space, txn->layer->number, slot->frame, block, slot->sum, out_page,
                             txn->block_size, use_mapping);
}

/* The number that the hasher will know the buffer's next page by; 0: none. */
static uint32_t next_hashed(const struct bough__txn *txn)
{
    uint64_t number = txn->hasher != NULL ? bough__hasher_count(txn->hasher) + txn->buffer_count + 1 : 0;
    return number <= UINT32_MAX ? (uint32_t)number : 0;
}

/* A new frame, through the buffer. */
static int append_page(struct bough__txn *txn, uint64_t *out_frame, uint32_t *out_hashed, const void *page)
{
    int rc = BOUGH_OK;
    uint64_t frame = txn->next_frame;
    bool is_recycled = bough__frames_take(&txn->dropped, &frame) || bough__layer_take_frame(txn->layer, &frame);
    if (txn->buffer_count != 0 &&
        (txn->buffer_count == txn->buffer_capacity || frame != txn->buffer_first + txn->buffer_count))
        rc = write_out(txn);
    if (rc == BOUGH_OK)
        rc = need_file(txn);
    if (rc != BOUGH_OK)
        return rc;
    if (txn->buffer_count == 0) {
        txn->buffer_capacity = BUFFER_SIZE / txn->block_size;
        txn->buffer_first = frame;
    }
    memcpy(txn->layer->write_buffer + txn->buffer_count * txn->block_size, page, txn->block_size);
    *out_hashed = next_hashed(txn);
    txn->buffer_count++;
    if (!is_recycled)
        txn->next_frame++;
    *out_frame = frame;
    return BOUGH_OK;
}

static int overwrite_page(struct bough__txn *txn, uint64_t frame, uint32_t *hashed, const void *page)
{
    if (in_buffer(txn, frame)) {
        memcpy(buffered(txn, frame), page, txn->block_size);
        return BOUGH_OK;
    }
    *hashed = 0; /* the hasher has, or had, what stood there before */
    return bough__os_write(txn->layer->fd, page, txn->block_size, bough__frame_offset(frame, txn->block_size),
                           txn->layer->path);
}

/* Without memory it is lost until gc finds it. */
static void drop_frame(struct bough__txn *txn, uint64_t frame)
{
    if (frame != BOUGH__NO_FRAME)
        (void)bough__frames_add(&txn->dropped, frame, 1);
}

/* Who keeps the writer lock over several transactions (locking_mode=EXCLUSIVE) heals before the next one begins. A log
 * that no checkpoint has shortened for long would take memory without end, and could not be read one day. */
static int heal_first(struct bough__txn *txn)
{
    struct bough__layer *layer = txn->layer;
    uint32_t flags = bough__shm_flags(&layer->shm) & (BOUGH__SHM_POISONED | BOUGH__SHM_PREPARED);
    bool is_long = layer->overlay->log_bytes > BOUGH__LOG_MUST;
    if (txn->is_dirty || (flags == 0 && !is_long))
        return BOUGH_OK;
    int rc = bough__layer_resolve(layer);
    if (rc == BOUGH_OK && bough__shm_newest(&layer->shm) != txn->base.txn)
        rc = bough__fail(BOUGH_IO, "branch '%s': a transaction was committed that had failed", layer->branch);
    if (rc == BOUGH_OK && flags & BOUGH__SHM_POISONED)
        rc = bough__layer_heal(layer);
    else if (rc == BOUGH_OK && is_long)
        rc = bough__layer_checkpoint(layer, NULL);
    if (rc == BOUGH_OK)
        rc = keep_base(txn);
    if (rc == BOUGH_OK)
        drop(txn);
    return rc;
}

int bough__txn_write(struct bough__txn *txn, uint64_t block, const void *page)
{
    struct bough__layer *layer = txn->layer;
    if (txn->broken != BOUGH_OK)
        return bough__fail(txn->broken, "branch '%s': its newest state could not be opened", layer->branch);
    if (txn->block_size == 0)
        return bough__fail(BOUGH_USAGE, "the block size is not known yet");
    int rc = heal_first(txn);
    if (rc == BOUGH_OK)
        rc = bough__page_table_reserve(&txn->pages);
    if (rc != BOUGH_OK)
        return rc;
    txn->is_dirty = true;
    const struct bough__page_slot *slot = bough__page_table_find(&txn->pages, block);
    uint64_t frame = slot != NULL ? slot->frame : BOUGH__NO_FRAME, sum = 0;
    uint32_t hashed = slot != NULL ? slot->hashed : 0;
    if (bough__is_zero(page, txn->block_size)) {
        drop_frame(txn, frame);
        frame = BOUGH__NO_FRAME;
        hashed = 0;
    } else {
        rc = frame == BOUGH__NO_FRAME ? append_page(txn, &frame, &hashed, page)
                                      : overwrite_page(txn, frame, &hashed, page);
        if (rc != BOUGH_OK)
            return rc;
        sum = bough__page_sum(bough__xxh(page, txn->block_size, 0), layer->space->store_key, layer->number, frame,
                              block);
    }
    bough__page_table_put(&txn->pages, block, frame, sum, hashed);
    uint64_t end = (block + 1) * txn->block_size;
    if (txn->size_bytes < end)
        txn->size_bytes = end;
    return BOUGH_OK;
}

/* The bytes of a block beyond the end of the database are zeros, so that they read as such when it grows. */
static int clear_tail(struct bough__txn *txn, uint64_t size_bytes)
{
    uint32_t kept = txn->block_size != 0 ? (uint32_t)(size_bytes % txn->block_size) : 0;
    if (kept == 0)
        return BOUGH_OK;
    uint64_t block = size_bytes / txn->block_size;
    uint8_t *page = bough__alloc(txn->block_size);
    if (page == NULL)
        return bough__fail_memory();
    int rc = bough__txn_read(txn, block, page, true);
    if (rc == BOUGH_OK) {
        memset(page + kept, 0, txn->block_size - kept);
        rc = bough__txn_write(txn, block, page);
    }
    free(page);
    return rc;
}

int bough__txn_resize(struct bough__txn *txn, uint64_t size_bytes)
{
    int rc = BOUGH_OK;
    if (size_bytes == txn->size_bytes)
        return BOUGH_OK;
    if (txn->block_size == 0)
        return bough__fail(BOUGH_USAGE, "the block size is not known yet");
    rc = heal_first(txn);
    if (rc == BOUGH_OK && size_bytes < txn->size_bytes) {
        uint64_t keep = bough__block_count(size_bytes, txn->block_size);
        rc = clear_tail(txn, size_bytes);
        if (rc == BOUGH_OK)
            rc = bough__page_table_cut(&txn->pages, keep, &txn->dropped);
        if (rc == BOUGH_OK && keep < txn->keep_blocks &&
            keep < bough__block_count(txn->base.size_bytes, txn->base.block_size))
            txn->keep_blocks = keep;
    }
    if (rc == BOUGH_OK) {
        txn->size_bytes = size_bytes;
        txn->is_dirty = true;
    }
    return rc;
}

/* ---- commit ---- */

static uint64_t cut_blocks(const struct bough__txn *txn)
{
    return txn->keep_blocks == BOUGH__KEEP_ALL
               ? 0
               : bough__block_count(txn->base.size_bytes, txn->base.block_size) - txn->keep_blocks;
}

static bool is_bulk(const struct bough__txn *txn)
{
    uint64_t limit = bulk_pages(txn);
    return txn->pages.count > limit || cut_blocks(txn) > limit;
}

static int by_block(const void *a, const void *b)
{
    const struct bough__fold_page *x = a, *y = b;
    return (x->block > y->block) - (x->block < y->block);
}

/* NULL: it has to be hashed. */
static const uint8_t *digest_of(const struct bough__txn *txn, const struct bough__page_slot *slot)
{
    return slot->hashed != 0 ? bough__hasher_digest(txn->hasher, slot->hashed - 1) : NULL;
}

static int commit_by_checkpoint(struct bough__txn *txn, uint64_t number)
{
    size_t count = 0;
    struct bough__fold_page *pages = bough__alloc((txn->pages.count + 1) * sizeof *pages);
    if (pages == NULL)
        return bough__fail_memory();
    if (txn->hasher != NULL)
        bough__hasher_finish(txn->hasher);
    for (size_t i = 0; i < txn->pages.capacity; i++) {
        const struct bough__page_slot *slot = &txn->pages.slots[i];
        if (slot->is_used)
            pages[count++] = (struct bough__fold_page){slot->block, slot->frame, number, slot->sum,
                                                       digest_of(txn, slot)};
    }
    qsort(pages, count, sizeof *pages, by_block);
    int rc = bough__layer_checkpoint(txn->layer, &(struct bough__checkpoint){.pages = pages,
                                                                             .page_count = count,
                                                                             .keep_blocks = txn->keep_blocks,
                                                                             .size_bytes = txn->size_bytes,
                                                                             .txn = number,
                                                                             .frame_count = txn->next_frame});
    free(pages);
    return rc;
}

/* A chunk twice the size of the last one, large enough for the record, among the frames. */
static int new_chunk(struct bough__txn *txn, struct bough__log_position *position, uint64_t record_size,
                     uint64_t before)
{
    struct bough__layer *layer = txn->layer;
    uint64_t offset = bough__frame_offset(txn->next_frame, txn->block_size);
    uint64_t size = layer->overlay->log_bytes * 2 < CHUNK_MIN ? CHUNK_MIN : CHUNK_MAX;
    if (size < record_size + BOUGH__LOG_HEADER_SIZE)
        size = record_size + BOUGH__LOG_HEADER_SIZE;
    uint64_t frames = bough__block_count(size, txn->block_size);
    size = frames * txn->block_size;
    if (layer->file_size < offset + size)
        fill_ahead(layer, layer->file_size > offset ? layer->file_size : offset,
                   offset + size - (layer->file_size > offset ? layer->file_size : offset));
    int rc = bough__log_link(layer->fd, layer->path, position, &layer->log_buffer, before, offset, size);
    if (rc == BOUGH_OK)
        txn->next_frame += frames;
    return rc;
}

static int encode_entries(struct bough__log_record *record, const struct bough__txn *txn)
{
    record->entries = bough__alloc((txn->pages.count + 1) * sizeof *record->entries);
    if (record->entries == NULL)
        return bough__fail_memory();
    for (size_t i = 0; i < txn->pages.capacity; i++) {
        const struct bough__page_slot *slot = &txn->pages.slots[i];
        if (slot->is_used)
            record->entries[record->entry_count++] =
                (struct bough__log_entry){slot->block, slot->frame, slot->sum};
    }
    return BOUGH_OK;
}

/* The record is in the file; from here on a failure has to take it back. */
static int make_durable(struct bough__layer *layer, uint64_t record_offset)
{
    struct bough__error_state error;
    int rc = bough__layer_sync(layer);
    if (rc == BOUGH_OK)
        return BOUGH_OK;
    bough__error_save(&error);
    (void)bough__log_void(layer->fd, layer->path, record_offset);
    bough__error_restore(&error);
    return rc;
}

static void publish(struct bough__txn *txn, const struct bough__log_record *record,
                    const struct bough__log_position *position)
{
    struct bough__layer *layer = txn->layer;
    pthread_mutex_lock(&layer->mutex);
    bough__layer_note_deaths(layer, record, false);
    layer->overlay->position = *position;
    bough__overlay_add(layer->overlay, record);
    bough__shm_publish(&layer->shm, &(struct bough__published){.txn = record->txn,
                                                               .generation = layer->overlay->generation,
                                                               .size_bytes = record->size_bytes,
                                                               .frame_count = txn->next_frame,
                                                               .block_size = txn->block_size,
                                                               .top = layer->overlay->tree.top});
    pthread_mutex_unlock(&layer->mutex);
}

/* Writes the transaction as the record that comes next, with room for it in the overlay; *position moves behind it. Its
 * entries are the caller's to free, whatever happens. */
static int write_record(struct bough__txn *txn, struct bough__log_record *record, struct bough__log_position *position,
                        enum bough__durability durability)
{
    struct bough__layer *layer = txn->layer;
    record->txn = txn->base.txn + 1;
    record->durable_txn = bough__shm_durable(&layer->shm);
    record->size_bytes = txn->size_bytes;
    record->keep_blocks = txn->keep_blocks;
    *position = layer->overlay->position;
    int rc = encode_entries(record, txn);
    if (rc == BOUGH_OK)
        rc = bough__overlay_reserve(layer->overlay, record->entry_count);
    uint64_t size = bough__log_record_size((uint64_t)record->entry_count + record->is_prepared);
    if (rc == BOUGH_OK && !bough__log_fits(position, size))
        rc = new_chunk(txn, position, size, record->txn - 1);
    uint64_t offset = position->offset;
    if (rc == BOUGH_OK)
        rc = bough__log_append(layer->fd, layer->path, position, &layer->log_buffer, record);
    if (rc == BOUGH_OK && durability == BOUGH__DURABLE)
        rc = make_durable(layer, offset);
    return rc;
}

/* Without any sync the durable state would keep its frames, and be what a loss of power leaves, until the log is full;
 * that takes long where pages are large or transactions are rare. */
static bool is_sync_due(struct bough__txn *txn)
{
    struct bough__layer *layer = txn->layer;
    uint64_t now_ms = bough__os_uptime_ms();
    if (bough__shm_durable(&layer->shm) >= layer->lazy_txn) {
        layer->lazy_bytes = 0;
        layer->lazy_ms = now_ms;
    }
    layer->lazy_bytes += (uint64_t)txn->pages.count * txn->block_size;
    return layer->lazy_bytes > BOUGH__UNSYNCED_LIMIT || now_ms - layer->lazy_ms > BOUGH__UNSYNCED_MS;
}

static int commit_by_log(struct bough__txn *txn, enum bough__durability durability)
{
    struct bough__log_record record = {0};
    struct bough__log_position position = {0};
    if (durability == BOUGH__LAZY && is_sync_due(txn))
        durability = BOUGH__DURABLE;
    int rc = write_record(txn, &record, &position, durability);
    if (rc == BOUGH_OK && durability == BOUGH__LAZY)
        txn->layer->lazy_txn = record.txn;
    if (rc == BOUGH_OK)
        publish(txn, &record, &position);
    /* After publishing: a mark beyond the newest transaction would speak for another one, should this writer die. */
    if (rc == BOUGH_OK && durability == BOUGH__DURABLE)
        bough__shm_raise_durable(&txn->layer->shm, record.txn);
    free(record.entries);
    return rc;
}

/* After one that failed a while passes, since each reads the whole overlay. */
static bool wants_checkpoint(const struct bough__layer *layer, uint32_t block_size)
{
    const struct bough__overlay *overlay = layer->overlay;
    if (overlay->log_bytes < overlay->failed_bytes + overlay->failed_bytes / 4)
        return false;
    return overlay->log_bytes > BOUGH__LOG_LIMIT ||
           (uint64_t)overlay->block_count * block_size > BOUGH__UNHASHED_LIMIT;
}

/* What the committed transaction dropped and did not need again. */
static void give_back(struct bough__txn *txn)
{
    uint64_t frame = 0;
    while (bough__frames_take(&txn->dropped, &frame))
        bough__recycler_died(&txn->layer->recycler, frame, BOUGH__UNBORN, txn->base.txn + 1);
}

/* The file is there and has every page. */
static int make_ready(struct bough__txn *txn)
{
    int rc = need_file(txn);
    if (rc == BOUGH_OK && bough__shm_flags(&txn->layer->shm) & BOUGH__SHM_POISONED)
        rc = bough__fail(BOUGH_IO, "%s: an earlier sync failed", txn->layer->path); /* the next one heals */
    if (rc == BOUGH_OK)
        rc = bough__layer_double_header(txn->layer);
    return rc == BOUGH_OK ? write_out(txn) : rc;
}

void bough__txn_conclude(struct bough__txn *txn, int rc)
{
    struct bough__error_state error;
    bough__error_save(&error);
    /* The transaction is in, whatever comes of this; a later commit tries again. */
    if (rc == BOUGH_OK && wants_checkpoint(txn->layer, txn->block_size) &&
        bough__layer_checkpoint(txn->layer, NULL) != BOUGH_OK)
        txn->layer->overlay->failed_bytes = txn->layer->overlay->log_bytes;
    if (rc == BOUGH_OK) {
        give_back(txn);
        bough__recycler_settle(&txn->layer->recycler, true);
    }
    /* The writer lock keeps the layer from going away, and the overlay has the state already: only memory can fail. */
    txn->broken = keep_base(txn);
    drop(txn);
    bough__error_restore(&error);
}

int bough__txn_commit(struct bough__txn *txn, enum bough__durability durability, uint64_t *out_txn)
{
    *out_txn = txn->base.txn;
    if (!txn->is_dirty)
        return BOUGH_OK;
    uint64_t number = txn->base.txn + 1;
    int rc = make_ready(txn);
    if (rc == BOUGH_OK)
        rc = is_bulk(txn) ? commit_by_checkpoint(txn, number) : commit_by_log(txn, durability);
    if (rc == BOUGH_OK)
        *out_txn = number;
    bough__txn_conclude(txn, rc);
    return rc;
}

/* ---- as part of a transaction over several layers; see group.h ---- */

/* Through the log whatever its size: a header would commit it. Its record may be long, and the checkpoint that follows
 * the commit shortens the log again. */
int bough__txn_prepare(struct bough__member *out, struct bough__txn *txn, const struct bough__decision *decision)
{
    struct bough__layer *layer = txn->layer;
    txn->prepared = (struct bough__log_record){.is_prepared = true, .decision = *decision};
    int rc = make_ready(txn);
    if (rc == BOUGH_OK) {
        bough__shm_set(&layer->shm, BOUGH__SHM_PREPARED);
        rc = write_record(txn, &txn->prepared, &txn->prepared_end, BOUGH__DURABLE);
    }
    if (layer->log_buffer.capacity > CHUNK_MAX)
        bough__log_buffer_release(&layer->log_buffer); /* nobody else needs one of that size */
    *out = (struct bough__member){layer->number, txn->prepared.txn};
    if (rc != BOUGH_OK)
        bough__txn_decide(txn, false);
    return rc;
}

/* A record that is let go of is left where it is: without a decision it is the end of the log. */
void bough__txn_decide(struct bough__txn *txn, bool is_committed)
{
    struct bough__layer *layer = txn->layer;
    if (is_committed) {
        /* First, as in checkpoint.c: it was decided, and PREPARED makes the next writer publish it. */
        bough__shm_raise_durable(&layer->shm, txn->prepared.txn);
        publish(txn, &txn->prepared, &txn->prepared_end);
    }
    bough__shm_clear(&layer->shm, BOUGH__SHM_PREPARED);
}
