/* fold.h - turning pages written since a tree into the next tree: hashing and folding, in batches. */
#ifndef BOUGH_ENGINE_FOLD_H
#define BOUGH_ENGINE_FOLD_H

#include "map.h"
#include "space.h"

/* A page to fold in; frame BOUGH__NO_FRAME (log.h): zeros. */
struct bough__fold_page {
    uint64_t block, frame, birth, sum;
    const uint8_t *digest; /* of the whole page, where it is known; NULL: the page is read and hashed */
};

/* Builds the tree that has `pages` (ascending by block, none twice; others are below keep_blocks as in `old`, see
 * bough__map_fold) on top of old. Reads and checks each page in layer `number`, and hashes it. Nodes go to the
 * appender, not synced. Frames of this layer that were born up to hold_txn cannot have been used again since old was
 * made. Memory is bounded whatever the number of pages. */
int bough__fold_pages(struct bough__tree *out, struct bough__space *space, struct bough__appender *appender,
                      const struct bough__tree *old, uint32_t number, const struct bough__fold_page *pages,
                      size_t count, uint64_t hold_txn, uint64_t keep_blocks, uint64_t size_bytes,
                      uint32_t block_size);

/* Bytes that the block has in a database of that size: block_size, or fewer for a short last page. */
uint32_t bough__block_length(uint64_t block, uint64_t size_bytes, uint32_t block_size);
/* Reads a page of a frame and checks its sum. */
int bough__frame_read(struct bough__space *space, uint32_t layer, uint64_t frame, uint64_t block, uint64_t sum,
                      void *out_page, uint32_t block_size, bool use_mapping);

#endif
