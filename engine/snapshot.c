/* snapshot.c - reading one immutable state of a branch, or a past one.
 *
 * A lookup asks the overlay as of the snapshot's transaction and then the tree below it; never a chain of branches.
 * A pinned snapshot keeps its overlay's generation alive in this process, and its pin in shared memory keeps every
 * frame that it refers to from being used again, by anyone (recycler.h).
 */
#include "error.h"
#include "fold.h"
#include "group.h"
#include "layer_state.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

/* ---- pinning ---- */

/* BOUGH_STALE: the branch moved on while it was being pinned. */
static int try_pin(struct bough__snapshot *out, struct bough__layer *layer)
{
    struct bough__published state = {0}, pinned = {0};
    int pin = BOUGH__NO_PIN;
    int rc = bough__shm_pin(&pin, &pinned, &layer->shm);
    if (rc != BOUGH_OK)
        return rc;
    pthread_mutex_lock(&layer->mutex);
    rc = bough__layer_refresh(layer, &state);
    /* Newer than what was pinned: as good, and kept by the same pin until it moves up. */
    if (rc == BOUGH_OK && (state.txn != pinned.txn || state.generation != pinned.generation) &&
        !bough__shm_pin_resume(&layer->shm, pin, &state))
        rc = BOUGH_STALE;
    if (rc == BOUGH_OK) {
        bough__overlay_retain(layer->overlay);
        *out = (struct bough__snapshot){.space = layer->space,
                                        .layer = layer,
                                        .overlay = layer->overlay,
                                        .tree = layer->overlay->tree,
                                        .pin = pin,
                                        .txn = state.txn,
                                        .size_bytes = state.size_bytes,
                                        .block_size = layer->block_size};
    }
    pthread_mutex_unlock(&layer->mutex);
    if (rc != BOUGH_OK)
        bough__shm_unpin(&layer->shm, pin);
    return rc;
}

int bough__snapshot_pin(struct bough__snapshot *out, struct bough__layer *layer)
{
    bough__layer_resolve_if_free(layer);
    for (;;) {
        int rc = try_pin(out, layer);
        if (rc != BOUGH_STALE)
            return rc;
    }
}

int bough__snapshot_pin_and_hold(struct bough__snapshot *out, struct bough__layer *layer)
{
    for (;;) {
        uint64_t newest = bough__shm_newest(&layer->shm);
        bough__shm_raise_hold(&layer->shm, newest);
        int rc = bough__snapshot_pin(out, layer);
        if (rc != BOUGH_OK || out->txn == newest)
            return rc;
        bough__snapshot_release(out);
    }
}

void bough__snapshot_park(struct bough__snapshot *snapshot)
{
    if (snapshot->layer != NULL)
        bough__shm_pin_park(&snapshot->layer->shm, snapshot->pin);
}

bool bough__snapshot_resume(struct bough__snapshot *snapshot)
{
    if (snapshot->layer == NULL)
        return true;
    if (bough__shm_flags(&snapshot->layer->shm) & BOUGH__SHM_PREPARED)
        return false;
    struct bough__published state = {
        .txn = snapshot->txn, .generation = snapshot->overlay->generation, .top = snapshot->tree.top};
    return bough__shm_pin_resume(&snapshot->layer->shm, snapshot->pin, &state);
}

int bough__snapshot_of_tree(struct bough__snapshot *out, struct bough__space *space, const struct bough__tree *tree)
{
    int pin = BOUGH__NO_PIN;
    int rc = bough__space_pin(&pin, space, tree->top);
    if (rc != BOUGH_OK)
        return rc;
    bough__space_retain(space);
    *out = (struct bough__snapshot){.space = space,
                                    .pin = pin,
                                    .tree = *tree,
                                    .size_bytes = tree->size_bytes,
                                    .block_size = tree->block_size};
    return BOUGH_OK;
}

void bough__snapshot_is_sure(struct bough__snapshot *snapshot)
{
    bough__space_pin_is_sure(snapshot->space, snapshot->pin);
}

void bough__snapshot_release(struct bough__snapshot *snapshot)
{
    bough__appender_end(snapshot->appender);
    bough__overlay_release(snapshot->overlay);
    if (snapshot->layer != NULL) {
        bough__shm_unpin(&snapshot->layer->shm, snapshot->pin);
    } else if (snapshot->space != NULL) {
        bough__space_unpin(snapshot->space, snapshot->pin);
        bough__space_close(snapshot->space);
    }
    *snapshot = (struct bough__snapshot){0};
}

bool bough__snapshot_is_newest(const struct bough__snapshot *snapshot)
{
    return snapshot->layer == NULL || bough__shm_newest(&snapshot->layer->shm) == snapshot->txn;
}

/* ---- reading ---- */

static int read_entry(const struct bough__snapshot *snapshot, const struct bough__entry *entry, uint64_t block,
                      void *out_page, bool use_mapping)
{
    if (entry->layer != 0)
        return bough__frame_read(snapshot->space, entry->layer, entry->frame, block, entry->sum, out_page,
                                 snapshot->block_size, use_mapping);
    memset(out_page, 0, snapshot->block_size);
    return BOUGH_OK;
}

/* Where the block lies; with want_whole also birth, and the digest where it is known already. */
static int find(struct bough__entry *out, bool *out_has_digest, const struct bough__snapshot *snapshot, uint64_t block,
                bool want_whole)
{
    struct bough__overlay_entry version = {0};
    enum bough__overlay_hit hit = BOUGH__OVERLAY_MISS;
    *out = (struct bough__entry){0};
    *out_has_digest = true;
    if (block >= bough__block_count(snapshot->size_bytes, snapshot->block_size))
        return BOUGH_OK;
    if (snapshot->overlay != NULL && snapshot->txn > snapshot->overlay->base_txn)
        hit = bough__overlay_find(&version, snapshot->overlay, block, snapshot->txn);
    if (hit == BOUGH__OVERLAY_MISS)
        return want_whole ? bough__map_lookup(out, snapshot->space->nodes, &snapshot->tree, block)
                          : bough__map_place(out, snapshot->space->nodes, &snapshot->tree, block);
    if (hit == BOUGH__OVERLAY_FRAME) {
        *out_has_digest = false;
        *out = (struct bough__entry){.layer = snapshot->layer->number,
                                     .frame = version.frame,
                                     .birth = version.txn,
                                     .sum = version.sum};
    }
    return BOUGH_OK;
}

int bough__snapshot_read(const struct bough__snapshot *snapshot, uint64_t block, void *out_page, bool use_mapping)
{
    bool has_digest = false;
    struct bough__entry entry = {0};
    int rc = find(&entry, &has_digest, snapshot, block, false);
    return rc != BOUGH_OK ? rc : read_entry(snapshot, &entry, block, out_page, use_mapping);
}

bool bough__snapshot_written(uint64_t *out_blocks, size_t *out_count, size_t most,
                             const struct bough__snapshot *snapshot, uint64_t after)
{
    return snapshot->overlay != NULL &&
           bough__overlay_written(out_blocks, out_count, most, snapshot->overlay, after, snapshot->txn);
}

static int hash_block(struct bough__entry *entry, const struct bough__snapshot *snapshot, uint64_t block)
{
    uint8_t *page = bough__alloc(snapshot->block_size);
    if (page == NULL)
        return bough__fail_memory();
    int rc = read_entry(snapshot, entry, block, page, true);
    if (rc == BOUGH_OK)
        rc = bough__sha256(entry->digest, page,
                           bough__block_length(block, snapshot->size_bytes, snapshot->block_size));
    free(page);
    return rc;
}

int bough__snapshot_entry(struct bough__entry *out, const struct bough__snapshot *snapshot, uint64_t block,
                          bool want_digest)
{
    bool has_digest = false;
    int rc = find(out, &has_digest, snapshot, block, want_digest);
    if (rc != BOUGH_OK || !want_digest || out->layer == 0)
        return rc;
    /* A short last page's digest in the tree is of the length that it had there. */
    if (snapshot->block_size != 0 && bough__block_length(block, snapshot->size_bytes, snapshot->block_size) !=
                                         bough__block_length(block, snapshot->tree.size_bytes, snapshot->block_size))
        has_digest = false;
    return has_digest ? BOUGH_OK : hash_block(out, snapshot, block);
}

/* ---- folding ---- */

static int collect_pages(struct bough__fold_page **out, size_t *out_count, uint64_t *out_keep,
                         const struct bough__snapshot *snapshot)
{
    struct bough__overlay_entry *versions = NULL;
    int rc = bough__overlay_collect(&versions, out_count, out_keep, snapshot->overlay, snapshot->txn);
    if (rc != BOUGH_OK)
        return rc;
    struct bough__fold_page *pages = bough__alloc((*out_count + 1) * sizeof *pages);
    if (pages == NULL)
        rc = bough__fail_memory();
    for (size_t i = 0; rc == BOUGH_OK && i < *out_count; i++)
        pages[i] = (struct bough__fold_page){versions[i].block, versions[i].frame, versions[i].txn,
                                             versions[i].sum, NULL};
    free(versions);
    *out = pages;
    return rc;
}

/* The frames that a commit refers to are on the disk before anything refers to them, whatever PRAGMA synchronous
 * said. The transaction is pinned; of a newer one frames may be used again already. */
static int make_durable(struct bough__layer *layer, uint64_t txn)
{
    int rc = BOUGH_OK;
    if (bough__shm_durable(&layer->shm) >= txn)
        return BOUGH_OK;
    if (bough__shm_flags(&layer->shm) & BOUGH__SHM_POISONED)
        return bough__fail(BOUGH_IO, "branch '%s': an earlier sync failed; write to it once to recover", layer->branch);
    bough__layer_hold_file(layer);
    pthread_mutex_lock(&layer->mutex);
    rc = bough__layer_open_file(layer);
    pthread_mutex_unlock(&layer->mutex);
    if (rc == BOUGH_OK)
        rc = bough__layer_sync(layer);
    bough__layer_let_file(layer);
    if (rc == BOUGH_OK)
        bough__shm_raise_durable(&layer->shm, txn);
    return rc;
}

int bough__snapshot_fold(struct bough__tree *out, uint64_t *out_nodes, struct bough__snapshot *snapshot)
{
    size_t count = 0;
    uint64_t keep = BOUGH__KEEP_ALL;
    struct bough__fold_page *pages = NULL;
    struct bough__appender *appender = snapshot->appender;
    if (out_nodes != NULL)
        *out_nodes = 0;
    *out = snapshot->tree;
    if (snapshot->overlay == NULL || snapshot->txn == snapshot->overlay->base_txn)
        return BOUGH_OK;
    int rc = make_durable(snapshot->layer, snapshot->txn);
    if (rc == BOUGH_OK)
        rc = collect_pages(&pages, &count, &keep, snapshot);
    if (rc == BOUGH_OK && appender == NULL)
        rc = bough__appender_begin(&appender, snapshot->space->nodes);
    if (rc == BOUGH_OK)
        rc = bough__fold_pages(out, snapshot->space, appender, &snapshot->tree, snapshot->layer->number, pages, count,
                               snapshot->overlay->hold_txn, keep, snapshot->size_bytes, snapshot->block_size);
    if (rc == BOUGH_OK)
        rc = bough__appender_sync(appender);
    if (rc == BOUGH_OK && out_nodes != NULL)
        *out_nodes = bough__appender_count(appender);
    snapshot->appender = appender;
    free(pages);
    return rc;
}

/* ---- differences ---- */

/* Blocks that the trees disagree on come from the trees; blocks that an overlay touched are compared one by one. */
struct diff {
    const struct bough__snapshot *a, *b;
    uint64_t *touched; /* ascending, none twice */
    size_t touched_count, next;
    uint8_t *pages; /* room for two */
    bough__map_diff_callback *callback;
    void *context;
};

static int add_touched(struct diff *diff, const struct bough__snapshot *snapshot)
{
    uint64_t keep = BOUGH__KEEP_ALL;
    size_t count = 0;
    struct bough__overlay_entry *versions = NULL;
    if (snapshot->overlay == NULL || snapshot->txn == snapshot->overlay->base_txn)
        return BOUGH_OK;
    int rc = bough__overlay_collect(&versions, &count, &keep, snapshot->overlay, snapshot->txn);
    if (rc != BOUGH_OK)
        return rc;
    /* Blocks that were cut off read as zeros although nobody wrote them. */
    uint64_t end = bough__block_count(snapshot->tree.size_bytes, snapshot->block_size);
    uint64_t cut = keep < end ? end - keep : 0;
    uint64_t *touched = bough__realloc(diff->touched, (diff->touched_count + count + cut + 2) * sizeof *touched);
    if (touched == NULL) {
        free(versions);
        return bough__fail_memory();
    }
    diff->touched = touched;
    for (size_t i = 0; i < count; i++)
        touched[diff->touched_count++] = versions[i].block;
    for (uint64_t block = keep; block < end; block++)
        touched[diff->touched_count++] = block;
    /* So does the last block when its length changes. */
    if (end != 0)
        touched[diff->touched_count++] = end - 1;
    free(versions);
    return BOUGH_OK;
}

static void sort_touched(struct diff *diff)
{
    size_t kept = 0;
    if (diff->touched_count == 0)
        return;
    qsort(diff->touched, diff->touched_count, sizeof *diff->touched, bough__by_number);
    for (size_t i = 1; i < diff->touched_count; i++)
        if (diff->touched[i] != diff->touched[kept])
            diff->touched[++kept] = diff->touched[i];
    diff->touched_count = kept + 1;
}

static uint32_t length_of(const struct bough__snapshot *snapshot, uint64_t block)
{
    return bough__block_length(block, snapshot->size_bytes, snapshot->block_size);
}

/* Two stored pages of one length: to read both takes a fraction of what hashing one does. */
static int compare_pages(bool *out_equal, const struct diff *diff, const struct bough__entry *a,
                         const struct bough__entry *b, uint64_t block)
{
    uint32_t block_size = diff->a->block_size;
    int rc = read_entry(diff->a, a, block, diff->pages, true);
    if (rc == BOUGH_OK)
        rc = read_entry(diff->b, b, block, diff->pages + block_size, true);
    *out_equal = rc == BOUGH_OK && memcmp(diff->pages, diff->pages + block_size, length_of(diff->a, block)) == 0;
    return rc;
}

/* A stored page is never all zeros, and one length never the other. */
static int compare_block(struct diff *diff, uint64_t block)
{
    bool a_is_hashed = false, b_is_hashed = false, is_equal = false;
    struct bough__entry a = {0}, b = {0};
    int rc = find(&a, &a_is_hashed, diff->a, block, true);
    if (rc == BOUGH_OK)
        rc = find(&b, &b_is_hashed, diff->b, block, true);
    if (rc != BOUGH_OK || (a.layer == 0 && b.layer == 0))
        return rc;
    if (a.layer == 0 || b.layer == 0 || length_of(diff->a, block) != length_of(diff->b, block))
        is_equal = false;
    else if (a.layer == b.layer && a.frame == b.frame)
        is_equal = true;
    else
        rc = compare_pages(&is_equal, diff, &a, &b, block);
    return rc != BOUGH_OK || is_equal ? rc : diff->callback(diff->context, block, &a, &b);
}

static int touched_before(struct diff *diff, uint64_t block)
{
    int rc = BOUGH_OK;
    while (rc == BOUGH_OK && diff->next < diff->touched_count && diff->touched[diff->next] < block)
        rc = compare_block(diff, diff->touched[diff->next++]);
    return rc;
}

static int tree_difference(void *context, uint64_t block, const struct bough__entry *a, const struct bough__entry *b)
{
    struct diff *diff = context;
    int rc = touched_before(diff, block);
    if (rc != BOUGH_OK || (diff->next < diff->touched_count && diff->touched[diff->next] == block))
        return rc; /* an overlay touched it: compared when its turn comes */
    return diff->callback(diff->context, block, a, b);
}

int bough__snapshot_diff(const struct bough__snapshot *a, const struct bough__snapshot *b,
                         bough__map_diff_callback *callback, void *context)
{
    struct diff diff = {.a = a, .b = b, .callback = callback, .context = context};
    if (a->block_size != b->block_size && a->size_bytes != 0 && b->size_bytes != 0)
        return bough__fail(BOUGH_USAGE, "the states have blocks of %u and of %u bytes", a->block_size, b->block_size);
    int rc = add_touched(&diff, a);
    if (rc == BOUGH_OK)
        rc = add_touched(&diff, b);
    if (rc == BOUGH_OK && (diff.pages = bough__alloc(2 * (size_t)a->block_size + 1)) == NULL)
        rc = bough__fail_memory();
    if (rc == BOUGH_OK) {
        sort_touched(&diff);
        rc = bough__map_diff(a->space->nodes, &a->tree, &b->tree, tree_difference, &diff);
    }
    if (rc == BOUGH_OK)
        rc = touched_before(&diff, UINT64_MAX);
    free(diff.touched);
    free(diff.pages);
    return rc;
}
