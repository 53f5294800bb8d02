/* seen.h - what SQLite's page cache may hold, so that it need not go when others commit other pages.
 *
 * SQLite drops its whole page cache when another connection has committed anything, unless the VFS says that nothing
 * changed. The VFS can tell: all that a reader's cache holds came through xRead since it was last empty, and the engine
 * knows the blocks of each transaction since. When none of these was read, the cache shows the new state as well.
 *
 * The blocks are a superset of what is in the cache, in a bitmap of fixed size: those that are equal modulo
 * BOUGH__SEEN_BITS share a bit. Under a writer's lock pages come into the cache that are never read, and some that are
 * never written either (taken from the free list and given back), so after that any block counts as seen. The first
 * page differs after every commit, in its change counter; nothing else of it may.
 */
#ifndef BOUGH_VFS_SEEN_H
#define BOUGH_VFS_SEEN_H

#include "layer.h"

#define BOUGH__SEEN_BITS 65536U

/* Zeroed: nothing was read. */
struct bough__seen {
    uint64_t *bits;       /* NULL: none yet */
    bool is_all;          /* any block may be in the cache */
    bool is_more;         /* than the first page */
    uint8_t *page_1;      /* as the store has it; room for two */
    uint32_t page_bytes;  /* of it; 0: it is not known */
    uint32_t room_bytes;  /* for one page */
    uint64_t size_bytes;  /* of the database with this first page */
};

void bough__seen_free(struct bough__seen *seen);
/* The cache is empty. */
void bough__seen_nothing(struct bough__seen *seen);
/* SQLite is about to read the blocks first to last. */
void bough__seen_blocks(struct bough__seen *seen, uint64_t first, uint64_t last);
/* SQLite has read this first page of a database of that size. */
void bough__seen_page_1(struct bough__seen *seen, const uint8_t *page, uint32_t page_bytes, uint64_t size_bytes);
/* Anything may be in the cache. */
void bough__seen_all(struct bough__seen *seen);
/* Is what was seen at the transaction `then` of the same layer the same in this snapshot, but for the change counter?
 * *out_rise: by how much that rose since. False also when it is not known. */
bool bough__seen_is_same(uint32_t *out_rise, struct bough__seen *seen, const struct bough__snapshot *now, uint64_t then,
                         bool use_mapping);

#endif
