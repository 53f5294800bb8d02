/* fold.c - hashing pages and folding them into a page map; see fold.h. */
#include "fold.h"

#include "error.h"
#include "layer_file.h"
#include "log.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

/* Enough to share inner nodes between changes, little enough to forget about. */
#define BATCH 4096

uint32_t bough__block_length(uint64_t block, uint64_t size_bytes, uint32_t block_size)
{
    uint64_t start = block * block_size;
    if (start >= size_bytes)
        return 0;
    return size_bytes - start < block_size ? (uint32_t)(size_bytes - start) : block_size;
}

int bough__frame_read(struct bough__space *space, uint32_t layer, uint64_t frame, uint64_t block, uint64_t sum,
                      void *out_page, uint32_t block_size, bool use_mapping)
{
    int rc = BOUGH_OK;
    if (frame > (UINT64_MAX >> 17))
        return bough__fail(BOUGH_CORRUPT, "layer %u: frame %llu of block %llu is impossible", layer,
                           (unsigned long long)frame, (unsigned long long)block);
    rc = bough__files_read(space->files, BOUGH__LAYER_FILE, layer, bough__frame_offset(frame, block_size), out_page,
                           block_size, use_mapping);
    if (rc != BOUGH_OK)
        return rc;
    uint64_t content = bough__xxh(out_page, block_size, 0);
    if (bough__page_sum(content, space->store_key, layer, frame, block) != sum)
        return bough__fail(BOUGH_CORRUPT, "layer %u, frame %llu: the page of block %llu is damaged", layer,
                           (unsigned long long)frame, (unsigned long long)block);
    return BOUGH_OK;
}

static int hash_page(struct bough__entry *out, struct bough__space *space, uint32_t number,
                     const struct bough__fold_page *page, uint8_t *buffer, uint64_t size_bytes, uint32_t block_size)
{
    *out = (struct bough__entry){0};
    if (page->frame == BOUGH__NO_FRAME)
        return BOUGH_OK;
    struct bough__entry entry = {.layer = number, .frame = page->frame, .birth = page->birth, .sum = page->sum};
    uint32_t length = bough__block_length(page->block, size_bytes, block_size);
    if (page->digest != NULL && length == block_size) {
        memcpy(entry.digest, page->digest, BOUGH__DIGEST_SIZE);
        *out = entry;
        return BOUGH_OK;
    }
    int rc = bough__frame_read(space, number, page->frame, page->block, page->sum, buffer, block_size, true);
    if (rc != BOUGH_OK)
        return rc;
    if (bough__is_zero(buffer, length))
        return BOUGH_OK; /* zeros have one encoding, also in a short last page */
    *out = entry;
    return bough__sha256(out->digest, buffer, length);
}

static bool has_page(const struct bough__fold_page *pages, size_t count, uint64_t block)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (pages[middle].block < block)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && pages[low].block == block;
}

/* The digest of a short last page covers the bytes that it has, so a page whose length changes has another one although
 * nobody wrote it. True: *out says how block `last` of old reads in a database of the new size. */
static int rehash_last(bool *out_changed, struct bough__change *out, struct bough__space *space,
                       const struct bough__tree *old, const struct bough__fold_page *pages, size_t page_count,
                       uint8_t *buffer, uint64_t keep_blocks, uint64_t size_bytes)
{
    uint64_t count = bough__block_count(old->size_bytes, old->block_size);
    uint64_t new_count = bough__block_count(size_bytes, old->block_size);
    *out_changed = false;
    for (int i = 0; i < 2; i++) {
        uint64_t block = (i == 0 ? count : new_count) - 1;
        uint32_t length = old->block_size == 0 ? 0 : bough__block_length(block, size_bytes, old->block_size);
        /* A page written since counts alone: its old frame may hold something else by now, and with both folded in
         * the two could have one digest and yet differ beyond the end. */
        if (old->block_size == 0 || block >= keep_blocks || block >= count || block >= new_count ||
            has_page(pages, page_count, block) ||
            length == bough__block_length(block, old->size_bytes, old->block_size))
            continue;
        int rc = bough__map_lookup(&out->entry, space->nodes, old, block);
        if (rc == BOUGH_OK && out->entry.layer != 0) {
            rc = bough__frame_read(space, out->entry.layer, out->entry.frame, block, out->entry.sum, buffer,
                                   old->block_size, true);
            if (rc == BOUGH_OK && bough__is_zero(buffer, length))
                out->entry = (struct bough__entry){0};
            else if (rc == BOUGH_OK)
                rc = bough__sha256(out->entry.digest, buffer, length);
            out->block = block;
            *out_changed = true;
        }
        return rc;
    }
    return BOUGH_OK;
}

static int fold_in(struct bough__tree *tree, struct bough__space *space, struct bough__appender *appender,
                   const struct bough__change *changes, size_t count, uint64_t keep_blocks, uint64_t size_bytes,
                   uint32_t block_size, uint64_t hold_txn)
{
    struct bough__tree next = {0};
    int rc = bough__map_fold(&next, space->nodes, appender, tree, changes, count, keep_blocks, size_bytes, block_size,
                             hold_txn);
    if (rc == BOUGH_OK)
        *tree = next;
    return rc;
}

int bough__fold_pages(struct bough__tree *out, struct bough__space *space, struct bough__appender *appender,
                      const struct bough__tree *old, uint32_t number, const struct bough__fold_page *pages,
                      size_t count, uint64_t hold_txn, uint64_t keep_blocks, uint64_t size_bytes, uint32_t block_size)
{
    int rc = BOUGH_OK;
    size_t done = 0;
    bool last_changed = false;
    struct bough__tree tree = *old;
    struct bough__change last = {0};
    size_t capacity = count < BATCH ? count + 1 : BATCH;
    struct bough__change *changes = bough__alloc((capacity + 1) * sizeof *changes);
    uint8_t *buffer = bough__alloc(block_size != 0 ? block_size : 1);
    if (changes == NULL || buffer == NULL) {
        rc = bough__fail_memory();
        goto done;
    }
    if (old->size_bytes == 0)
        keep_blocks = 0; /* nothing of it shows, whatever its block size was */
    rc = rehash_last(&last_changed, &last, space, old, pages, count, buffer, keep_blocks, size_bytes);
    if (rc == BOUGH_OK && last_changed)
        rc = fold_in(&tree, space, appender, &last, 1, keep_blocks, size_bytes, block_size, hold_txn);
    /* At least once: the size may have changed alone. */
    do {
        size_t n = 0;
        while (rc == BOUGH_OK && n < capacity && done < count) {
            changes[n].block = pages[done].block;
            rc = hash_page(&changes[n].entry, space, number, &pages[done], buffer, size_bytes, block_size);
            n++;
            done++;
        }
        if (rc == BOUGH_OK)
            rc = fold_in(&tree, space, appender, changes, n, keep_blocks, size_bytes, block_size, hold_txn);
        /* What an earlier batch put beyond the cut stays. */
        keep_blocks = BOUGH__KEEP_ALL;
    } while (rc == BOUGH_OK && done < count);
    if (rc == BOUGH_OK && size_bytes == 0)
        tree = (struct bough__tree){0}; /* an empty database has one encoding */
    if (rc == BOUGH_OK)
        *out = tree;
done:
    free(changes);
    free(buffer);
    return rc;
}
