/* node_cache.h - a bounded cache of immutable things of one size, each known by a place in a node file.
 *
 * Any thread may get and put. Getting takes no lock; what comes out is a copy. Memory is taken as it is needed, kept to
 * the end, and is never more than sets * 8 slots.
 */
#ifndef BOUGH_ENGINE_NODE_CACHE_H
#define BOUGH_ENGINE_NODE_CACHE_H

#include "map.h"

#include <pthread.h>
#include <stdatomic.h>

struct bough__cache_set;

struct bough__node_cache {
    struct bough__cache_set *_Atomic sets; /* made when first needed */
    uint32_t set_count;                    /* a power of two */
    uint32_t word_count;                   /* words of 8 bytes in a slot */
    pthread_mutex_t mutex;                 /* of those who put */
};

void bough__node_cache_init(struct bough__node_cache *out, uint32_t set_count, uint32_t word_count);
void bough__node_cache_release(struct bough__node_cache *cache);

/* Copies some of the words, and the number that came with them. False: not there. */
bool bough__node_cache_get(uint32_t *out_number, void *out_words, struct bough__node_cache *cache,
                           struct bough__node_ref ref, uint32_t first_word, uint32_t word_count);
/* Puts word_count words there, unless they are there or there is no room. */
void bough__node_cache_put(struct bough__node_cache *cache, struct bough__node_ref ref, uint32_t number,
                           const void *words);
/* What a cache takes at most, as a constant. */
#define BOUGH__NODE_CACHE_BYTES(set_count, word_count) ((set_count) * (8 * (16 + 8 * (word_count)) + 160))

#endif
