/* overlay.c - the versioned private index; see overlay.h. */
#include "overlay.h"

#include "error.h"
#include "os.h"

#include <stdlib.h>

#define FIRST_CAPACITY 64

int bough__overlay_create(struct bough__overlay **out, const struct bough__tree *tree, uint64_t generation,
                          uint64_t base_txn, uint64_t hold_txn)
{
    struct bough__overlay *overlay = bough__alloc(sizeof *overlay);
    if (overlay == NULL)
        return bough__fail_memory();
    if (pthread_rwlock_init(&overlay->lock, NULL) != 0) {
        free(overlay);
        return bough__fail_memory();
    }
    atomic_init(&overlay->references, 1);
    overlay->tree = *tree;
    overlay->generation = generation;
    overlay->base_txn = overlay->newest_txn = base_txn;
    overlay->hold_txn = hold_txn;
    overlay->size_bytes = tree->size_bytes;
    *out = overlay;
    return BOUGH_OK;
}

void bough__overlay_retain(struct bough__overlay *overlay)
{
    atomic_fetch_add(&overlay->references, 1);
}

void bough__overlay_release(struct bough__overlay *overlay)
{
    if (overlay == NULL || atomic_fetch_sub(&overlay->references, 1) != 1)
        return;
    pthread_rwlock_destroy(&overlay->lock);
    free(overlay->entries);
    free(overlay->heads);
    free(overlay->links);
    free(overlay->cuts);
    free(overlay);
}

static uint32_t slot_of(const struct bough__overlay *overlay, uint64_t block)
{
    return (uint32_t)((block * 0x9e3779b97f4a7c15u) >> 32) & (overlay->head_count - 1);
}

/* The newest entry of the block, index + 1; 0: none. Each hash chain holds the newest entry of each of its blocks. */
static uint32_t newest_of(const struct bough__overlay *overlay, uint64_t block)
{
    if (overlay->head_count == 0)
        return 0;
    uint32_t at = overlay->heads[slot_of(overlay, block)];
    while (at != 0 && overlay->entries[at - 1].block != block)
        at = overlay->links[at - 1];
    return at;
}

static void index_entry(struct bough__overlay *overlay, uint32_t entry)
{
    uint64_t block = overlay->entries[entry].block;
    uint32_t *link = &overlay->heads[slot_of(overlay, block)];
    while (*link != 0 && overlay->entries[*link - 1].block != block)
        link = &overlay->links[*link - 1];
    /* The new version takes the old one's place in the hash chain. */
    overlay->entries[entry].older = *link;
    overlay->links[entry] = *link != 0 ? overlay->links[*link - 1] : 0;
    *link = entry + 1;
}

static int grow(struct bough__overlay *overlay, uint32_t capacity)
{
    struct bough__overlay_entry *entries = bough__realloc(overlay->entries, capacity * sizeof *entries);
    if (entries == NULL)
        return bough__fail_memory();
    overlay->entries = entries;
    uint32_t *links = bough__realloc(overlay->links, capacity * sizeof *links);
    if (links == NULL)
        return bough__fail_memory();
    overlay->links = links;
    uint32_t *heads = bough__alloc(capacity * sizeof *heads);
    if (heads == NULL)
        return bough__fail_memory();
    free(overlay->heads);
    overlay->heads = heads;
    overlay->head_count = overlay->entry_capacity = capacity;
    for (uint32_t i = 0; i < overlay->entry_count; i++)
        index_entry(overlay, i);
    return BOUGH_OK;
}

int bough__overlay_reserve(struct bough__overlay *overlay, uint32_t entry_count)
{
    int rc = BOUGH_OK;
    pthread_rwlock_wrlock(&overlay->lock);
    uint32_t capacity = overlay->entry_capacity != 0 ? overlay->entry_capacity : FIRST_CAPACITY;
    while (capacity - overlay->entry_count < entry_count)
        capacity *= 2;
    if (capacity != overlay->entry_capacity)
        rc = grow(overlay, capacity);
    if (rc == BOUGH_OK && overlay->cut_count == overlay->cut_capacity) {
        uint32_t cut_capacity = overlay->cut_capacity * 2 + 8;
        struct bough__overlay_cut *cuts = bough__realloc(overlay->cuts, cut_capacity * sizeof *cuts);
        if (cuts == NULL)
            rc = bough__fail_memory();
        else {
            overlay->cuts = cuts;
            overlay->cut_capacity = cut_capacity;
        }
    }
    pthread_rwlock_unlock(&overlay->lock);
    return rc;
}

void bough__overlay_add(struct bough__overlay *overlay, const struct bough__log_record *record)
{
    pthread_rwlock_wrlock(&overlay->lock);
    for (uint32_t i = 0; i < record->entry_count; i++) {
        const struct bough__log_entry *entry = &record->entries[i];
        overlay->entries[overlay->entry_count] = (struct bough__overlay_entry){
            .block = entry->block, .txn = record->txn, .frame = entry->frame, .sum = entry->sum};
        index_entry(overlay, overlay->entry_count);
        if (overlay->entries[overlay->entry_count++].older == 0)
            overlay->block_count++;
    }
    if (record->keep_blocks != BOUGH__KEEP_ALL)
        overlay->cuts[overlay->cut_count++] = (struct bough__overlay_cut){record->txn, record->keep_blocks};
    pthread_rwlock_unlock(&overlay->lock);
    overlay->newest_txn = record->txn;
    overlay->newest_is_prepared = record->is_prepared;
    overlay->decision = record->decision;
    overlay->size_bytes = record->size_bytes;
    overlay->log_bytes += bough__log_record_size(record->entry_count);
}

/* Was the block, last written at `written`, cut off at or before txn? */
static bool is_cut(const struct bough__overlay *overlay, uint64_t block, uint64_t written, uint64_t txn)
{
    for (uint32_t i = overlay->cut_count; i-- > 0;) {
        const struct bough__overlay_cut *cut = &overlay->cuts[i];
        if (cut->txn <= written)
            return false;
        if (cut->txn <= txn && block >= cut->first_block)
            return true;
    }
    return false;
}

enum bough__overlay_hit bough__overlay_find(struct bough__overlay_entry *out, struct bough__overlay *overlay,
                                            uint64_t block, uint64_t txn)
{
    enum bough__overlay_hit hit = BOUGH__OVERLAY_MISS;
    pthread_rwlock_rdlock(&overlay->lock);
    uint32_t at = newest_of(overlay, block);
    while (at != 0 && overlay->entries[at - 1].txn > txn)
        at = overlay->entries[at - 1].older;
    if (at != 0) {
        *out = overlay->entries[at - 1];
        hit = out->frame == BOUGH__NO_FRAME || is_cut(overlay, block, out->txn, txn) ? BOUGH__OVERLAY_ZERO
                                                                                     : BOUGH__OVERLAY_FRAME;
    } else if (overlay->cut_count != 0 && is_cut(overlay, block, overlay->base_txn, txn)) {
        hit = BOUGH__OVERLAY_ZERO;
    }
    pthread_rwlock_unlock(&overlay->lock);
    return hit;
}

/* Was anything cut off in (after, txn]? */
static bool has_cuts(const struct bough__overlay *overlay, uint64_t after, uint64_t txn)
{
    for (uint32_t i = overlay->cut_count; i-- > 0 && overlay->cuts[i].txn > after;)
        if (overlay->cuts[i].txn <= txn)
            return true;
    return false;
}

bool bough__overlay_written(uint64_t *out_blocks, size_t *out_count, size_t most, struct bough__overlay *overlay,
                            uint64_t after, uint64_t txn)
{
    *out_count = 0;
    if (after < overlay->base_txn || after > txn)
        return false;
    pthread_rwlock_rdlock(&overlay->lock);
    bool is_known = !has_cuts(overlay, after, txn);
    for (uint32_t i = overlay->entry_count; is_known && i-- > 0 && overlay->entries[i].txn > after;) {
        if (overlay->entries[i].txn > txn)
            continue;
        is_known = *out_count < most;
        if (is_known)
            out_blocks[(*out_count)++] = overlay->entries[i].block;
    }
    pthread_rwlock_unlock(&overlay->lock);
    return is_known;
}

static int by_block(const void *a, const void *b)
{
    const struct bough__overlay_entry *x = a, *y = b;
    return (x->block > y->block) - (x->block < y->block);
}

int bough__overlay_collect(struct bough__overlay_entry **out, size_t *out_count, uint64_t *out_keep_blocks,
                           struct bough__overlay *overlay, uint64_t txn)
{
    int rc = BOUGH_OK;
    size_t count = 0;
    *out = NULL;
    *out_keep_blocks = BOUGH__KEEP_ALL;
    pthread_rwlock_rdlock(&overlay->lock);
    struct bough__overlay_entry *entries = bough__alloc((overlay->entry_count + 1u) * sizeof *entries);
    if (entries == NULL) {
        rc = bough__fail_memory();
        goto done;
    }
    for (uint32_t i = 0; i < overlay->head_count; i++) {
        for (uint32_t at = overlay->heads[i]; at != 0; at = overlay->links[at - 1]) {
            uint32_t version = at;
            while (version != 0 && overlay->entries[version - 1].txn > txn)
                version = overlay->entries[version - 1].older;
            if (version != 0 && !is_cut(overlay, overlay->entries[version - 1].block,
                                        overlay->entries[version - 1].txn, txn))
                entries[count++] = overlay->entries[version - 1];
        }
    }
    for (uint32_t i = 0; i < overlay->cut_count; i++)
        if (overlay->cuts[i].txn <= txn && overlay->cuts[i].first_block < *out_keep_blocks)
            *out_keep_blocks = overlay->cuts[i].first_block;
    qsort(entries, count, sizeof *entries, by_block);
    *out = entries;
    *out_count = count;
done:
    pthread_rwlock_unlock(&overlay->lock);
    return rc;
}
