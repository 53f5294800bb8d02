/* test_node_cache.c - the cache of nodes: what it gives back, its bounds, threads. */
#include "harness.h"
#include "node_cache.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

enum { SETS = 16, WORDS = 10, ROOM = SETS * 8 };

/* The words follow from the place. */
static void make_words(uint64_t words[WORDS], struct bough__node_ref ref)
{
    struct harness_random random = {(uint64_t)ref.file << 32 | ref.index};
    harness_fill(&random, words, WORDS * sizeof words[0]);
}

static void put(struct bough__node_cache *cache, struct bough__node_ref ref)
{
    uint64_t words[WORDS];
    make_words(words, ref);
    bough__node_cache_put(cache, ref, ref.index + 1, words);
}

/* True: it is there, and right. */
static bool has(struct bough__node_cache *cache, struct bough__node_ref ref, uint32_t first, uint32_t count)
{
    uint64_t words[WORDS], found[WORDS + 1];
    uint32_t number = 0;
    make_words(words, ref);
    memset(found, 0xee, sizeof found);
    if (!bough__node_cache_get(&number, found, cache, ref, first, count))
        return false;
    ck_assert_uint_eq(number, ref.index + 1);
    ck_assert_mem_eq(found, words + first, count * sizeof words[0]);
    ck_assert_uint_eq(found[count], UINT64_C(0xeeeeeeeeeeeeeeee));
    return true;
}

TEST(gives_back_what_was_put)
{
    struct bough__node_cache cache;
    bough__node_cache_init(&cache, SETS, WORDS);
    ck_assert(!has(&cache, (struct bough__node_ref){1, 1}, 0, WORDS));
    for (uint32_t i = 1; i <= ROOM; i++)
        put(&cache, (struct bough__node_ref){1, i});
    for (uint32_t i = 1; i <= ROOM; i++)
        for (uint32_t first = 0; first < WORDS; first += 3)
            ck_assert(has(&cache, (struct bough__node_ref){1, i}, first, WORDS - first));
    ck_assert(!has(&cache, (struct bough__node_ref){2, 1}, 0, WORDS));
    ck_assert(!has(&cache, (struct bough__node_ref){1, ROOM + 1}, 0, WORDS));
    bough__node_cache_release(&cache);
}

TEST(never_holds_more_than_its_room)
{
    struct bough__node_cache cache;
    bough__node_cache_init(&cache, SETS, WORDS);
    for (uint32_t turn = 0; turn < 20; turn++)
        for (uint32_t i = 1; i <= 1000; i++)
            put(&cache, (struct bough__node_ref){turn % 3 + 1, i});
    unsigned count = 0;
    for (uint32_t file = 1; file <= 3; file++)
        for (uint32_t i = 1; i <= 1000; i++)
            count += has(&cache, (struct bough__node_ref){file, i}, 0, WORDS);
    ck_assert_uint_eq(count, ROOM);
    bough__node_cache_release(&cache);
}

TEST(keeps_what_is_used_through_a_scan)
{
    struct bough__node_cache cache;
    bough__node_cache_init(&cache, SETS, WORDS);
    struct bough__node_ref used = {1, 5};
    put(&cache, used);
    for (uint32_t i = 100; i < 5000; i++) {
        put(&cache, (struct bough__node_ref){1, i});
        ck_assert(has(&cache, used, 0, 1));
    }
    /* What is asked for again and again gets in. */
    struct bough__node_ref wanted = {7, 5};
    for (unsigned i = 0; i < 9 && !has(&cache, wanted, 0, 1); i++)
        put(&cache, wanted);
    ck_assert(has(&cache, wanted, 0, WORDS));
    bough__node_cache_release(&cache);
}

static int allocations_left;

static void *scarce_malloc(size_t len_bytes)
{
    return allocations_left-- > 0 ? malloc(len_bytes) : NULL;
}

TEST(does_without_memory)
{
    struct bough__node_cache cache;
    bough__os.malloc = scarce_malloc;
    for (int n = 0; n < 4; n++) {
        allocations_left = n;
        bough__node_cache_init(&cache, SETS, WORDS);
        for (uint32_t i = 1; i <= 3; i++)
            put(&cache, (struct bough__node_ref){1, i});
        int count = 0;
        for (uint32_t i = 1; i <= 3; i++)
            count += has(&cache, (struct bough__node_ref){1, i}, 0, WORDS);
        ck_assert_int_eq(count, n == 0 ? 0 : n - 1);
        bough__node_cache_release(&cache);
    }
}

static struct bough__node_cache shared;
static atomic_int wrong, hits;

static void *use(void *argument)
{
    struct harness_random random = {(uint64_t)(uintptr_t)argument};
    for (int i = 0; i < 40000; i++) {
        struct bough__node_ref ref = {1, (uint32_t)harness_below(&random, 300) + 1};
        uint64_t words[WORDS], found[WORDS];
        uint32_t number = 0;
        make_words(words, ref);
        if (!bough__node_cache_get(&number, found, &shared, ref, 0, WORDS))
            put(&shared, ref);
        else if (number != ref.index + 1 || memcmp(words, found, sizeof words) != 0)
            atomic_fetch_add(&wrong, 1);
        else
            atomic_fetch_add(&hits, 1);
    }
    return NULL;
}

TEST(threads_never_see_half_a_node)
{
    bough__node_cache_init(&shared, SETS, WORDS);
    pthread_t threads[4];
    for (uintptr_t i = 0; i < COUNT_OF(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use, (void *)(i + 1)), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(atomic_load(&wrong), 0);
    ck_assert_int_gt(atomic_load(&hits), 1000);
    bough__node_cache_release(&shared);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(gives_back_what_was_put),   CASE(never_holds_more_than_its_room), CASE(keeps_what_is_used_through_a_scan),
        CASE(does_without_memory),       CASE(threads_never_see_half_a_node),
    };
    return harness_run("node_cache", cases, COUNT_OF(cases));
}
