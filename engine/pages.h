/* pages.h - the private map of a transaction: block -> the frame that holds its new content. */
#ifndef BOUGH_ENGINE_PAGES_H
#define BOUGH_ENGINE_PAGES_H

#include "frames.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bough__page_slot {
    uint64_t block, frame, sum;
    uint32_t hashed; /* number of its digest in the transaction's hasher, counted from 1; 0: it has none */
    bool is_used;
};

/* All zero is the empty map. */
struct bough__page_table {
    struct bough__page_slot *slots; /* open addressing; a power of two of them, at most 3/4 used */
    size_t capacity, count;
};

/* The block's slot, or NULL. The pointer lives until the next put. */
struct bough__page_slot *bough__page_table_find(const struct bough__page_table *pages, uint64_t block);
/* Room for one more put that cannot fail. */
int bough__page_table_reserve(struct bough__page_table *pages);
/* Adds or replaces; room was reserved. */
void bough__page_table_put(struct bough__page_table *pages, uint64_t block, uint64_t frame, uint64_t sum,
                           uint32_t hashed);
/* Forgets every block at or beyond first. Their frames join *dropped, as far as there is memory. */
int bough__page_table_cut(struct bough__page_table *pages, uint64_t first, struct bough__frames *dropped);
void bough__page_table_release(struct bough__page_table *pages);

#endif
