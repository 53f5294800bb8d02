/* node_cache.c - sets of 8 slots, with a clock in each set.
 *
 * A slot is read without a lock: its sequence number is odd while it changes, and who reads it compares the number
 * before and after. Words are loaded with acquire and stored with release order, so seeing one new word implies seeing
 * the odd number. Slots and sets stay where they are to the end, so a reader who is late reads nonsense, sees that the
 * number has changed, and throws it away.
 *
 * The set follows from the index alone, without mixing: nodes that were appended together, as those of a tree that was
 * built at once, then fill the sets evenly.
 */
#include "node_cache.h"

#include "os.h"

#include <stdlib.h>
#include <string.h>

enum { WAYS = 8, WORD = 8 };

struct slot {
    _Atomic uint32_t sequence; /* odd: being changed */
    _Atomic uint32_t number;
    _Atomic uint64_t key;
    _Atomic uint64_t words[];
};

struct bough__cache_set {
    _Atomic uint64_t keys[WAYS]; /* a filter; the slot's own key decides */
    struct slot *_Atomic slots[WAYS];
    atomic_bool referenced[WAYS];
    uint32_t hand; /* guarded by the cache's mutex */
};

_Static_assert(sizeof(struct slot) <= 16 && sizeof(struct bough__cache_set) <= 160, "see BOUGH__NODE_CACHE_BYTES");

void bough__node_cache_init(struct bough__node_cache *out, uint32_t set_count, uint32_t word_count)
{
    atomic_init(&out->sets, NULL);
    out->set_count = set_count;
    out->word_count = word_count;
    pthread_mutex_init(&out->mutex, NULL);
}

void bough__node_cache_release(struct bough__node_cache *cache)
{
    struct bough__cache_set *sets = atomic_load_explicit(&cache->sets, memory_order_acquire);
    for (uint32_t i = 0; sets && i < cache->set_count; i++)
        for (unsigned way = 0; way < WAYS; way++)
            free(atomic_load_explicit(&sets[i].slots[way], memory_order_relaxed));
    free(sets);
    atomic_store_explicit(&cache->sets, NULL, memory_order_relaxed);
    pthread_mutex_destroy(&cache->mutex);
}

static uint64_t key_of(struct bough__node_ref ref)
{
    return (uint64_t)ref.file << 32 | ref.index;
}

static struct bough__cache_set *set_of(const struct bough__node_cache *cache, struct bough__cache_set *sets,
                                       struct bough__node_ref ref)
{
    return &sets[(ref.index + ref.file * 0x9e3779b1u) & (cache->set_count - 1)];
}

static unsigned way_of(struct bough__cache_set *set, uint64_t key)
{
    unsigned way = 0;
    while (way < WAYS && atomic_load_explicit(&set->keys[way], memory_order_relaxed) != key)
        way++;
    return way;
}

bool bough__node_cache_get(uint32_t *out_number, void *out_words, struct bough__node_cache *cache,
                           struct bough__node_ref ref, uint32_t first_word, uint32_t word_count)
{
    uint64_t key = key_of(ref);
    struct bough__cache_set *sets = atomic_load_explicit(&cache->sets, memory_order_acquire);
    if (!sets)
        return false;
    struct bough__cache_set *set = set_of(cache, sets, ref);
    unsigned way = way_of(set, key);
    struct slot *slot = way < WAYS ? atomic_load_explicit(&set->slots[way], memory_order_acquire) : NULL;
    if (!slot)
        return false;
    uint32_t sequence = atomic_load_explicit(&slot->sequence, memory_order_acquire);
    bool is_it = atomic_load_explicit(&slot->key, memory_order_acquire) == key;
    *out_number = atomic_load_explicit(&slot->number, memory_order_acquire);
    for (uint32_t i = 0; i < word_count; i++) {
        uint64_t word = atomic_load_explicit(&slot->words[first_word + i], memory_order_acquire);
        memcpy((uint8_t *)out_words + (size_t)i * WORD, &word, WORD);
    }
    if (!is_it || sequence % 2 != 0 || atomic_load_explicit(&slot->sequence, memory_order_relaxed) != sequence)
        return false;
    if (!atomic_load_explicit(&set->referenced[way], memory_order_relaxed))
        atomic_store_explicit(&set->referenced[way], true, memory_order_relaxed);
    return true;
}

/* ---- putting, with the mutex held ------------------------------------------------------------------------------ */

static struct bough__cache_set *make_sets(struct bough__node_cache *cache)
{
    struct bough__cache_set *sets = atomic_load_explicit(&cache->sets, memory_order_relaxed);
    if (sets)
        return sets;
    size_t len_bytes = cache->set_count * sizeof *sets;
    sets = bough__os.malloc(len_bytes);
    if (sets)
        memset(sets, 0, len_bytes);
    atomic_store_explicit(&cache->sets, sets, memory_order_release);
    return sets;
}

static struct slot *make_slot(const struct bough__node_cache *cache)
{
    struct slot *made = bough__os.malloc(sizeof *made + (size_t)cache->word_count * WORD);
    if (!made)
        return NULL;
    atomic_init(&made->sequence, 0);
    atomic_init(&made->key, 0);
    atomic_init(&made->number, 0);
    for (uint32_t i = 0; i < cache->word_count; i++)
        atomic_init(&made->words[i], 0);
    return made;
}

/* The slot to fill; WAYS: none. A full set gives up a slot only when the one at its hand was not used since the hand's
 * last visit. So what is read once, as by a scan, does not drive out what is read again and again, and reads at
 * random of far more than the cache holds do not spend their time on filling it. */
static unsigned choose(const struct bough__node_cache *cache, struct bough__cache_set *set, uint64_t key)
{
    if (way_of(set, key) < WAYS)
        return WAYS;
    for (unsigned way = 0; way < WAYS; way++) {
        if (atomic_load_explicit(&set->slots[way], memory_order_relaxed))
            continue;
        struct slot *made = make_slot(cache);
        atomic_store_explicit(&set->slots[way], made, memory_order_release);
        return made ? way : WAYS;
    }
    unsigned way = set->hand++ % WAYS;
    return atomic_exchange_explicit(&set->referenced[way], false, memory_order_relaxed) ? WAYS : way;
}

static void fill(const struct bough__node_cache *cache, struct slot *slot, uint64_t key, uint32_t number,
                 const uint8_t *words)
{
    uint32_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
    atomic_store_explicit(&slot->sequence, sequence + 1, memory_order_relaxed);
    atomic_store_explicit(&slot->key, key, memory_order_release);
    atomic_store_explicit(&slot->number, number, memory_order_release);
    for (uint32_t i = 0; i < cache->word_count; i++) {
        uint64_t word = 0;
        memcpy(&word, words + (size_t)i * WORD, WORD);
        atomic_store_explicit(&slot->words[i], word, memory_order_release);
    }
    atomic_store_explicit(&slot->sequence, sequence + 2, memory_order_release);
}

void bough__node_cache_put(struct bough__node_cache *cache, struct bough__node_ref ref, uint32_t number,
                           const void *words)
{
    uint64_t key = key_of(ref);
    pthread_mutex_lock(&cache->mutex);
    struct bough__cache_set *sets = make_sets(cache);
    struct bough__cache_set *set = sets ? set_of(cache, sets, ref) : NULL;
    unsigned way = set ? choose(cache, set, key) : WAYS;
    if (way < WAYS) {
        fill(cache, atomic_load_explicit(&set->slots[way], memory_order_relaxed), key, number, words);
        atomic_store_explicit(&set->keys[way], key, memory_order_relaxed);
        atomic_store_explicit(&set->referenced[way], true, memory_order_relaxed);
    }
    pthread_mutex_unlock(&cache->mutex);
}
