/* test_bulk.c - transactions that are committed by a checkpoint: what they do before the commit, what is left for it,
 * and that the digests of pages which were hashed early are those of the pages which were written last. */
#include "harness.h"

#include "bough.h"
#include "faultos.h"
#include "hasher.h"
#include "layer.h"
#include "map.h"
#include "os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BLOCK = 4096, BLOCKS = 5000, BULK = 2048, BUFFER = 256 << 10 };

/* ---- the hasher ---- */

static uint8_t *page_of(uint8_t *out, uint64_t seed, size_t size)
{
    struct harness_random random = {seed};
    harness_fill(&random, out, size);
    return out;
}

/* Puts `count` pages in pieces of different sizes; returns how many of their digests are there, all of them right. */
static uint64_t hash_pages(struct bough__hasher *hasher, uint64_t count)
{
    uint8_t page[512], digest[BOUGH__DIGEST_SIZE], *buffer = malloc(8 * 512);
    uint64_t found = 0;
    for (uint64_t done = 0, n = 0; done < count; done += n) {
        n = done % 7 + 1 < count - done ? done % 7 + 1 : count - done;
        ck_assert_uint_eq(bough__hasher_count(hasher), done);
        for (uint64_t i = 0; i < n; i++)
            page_of(buffer + i * 512, done + i, 512);
        bough__hasher_put(hasher, &buffer, (size_t)n);
    }
    free(buffer);
    bough__hasher_finish(hasher);
    while (found < count && bough__hasher_digest(hasher, found) != NULL) {
        ASSERT_OK(bough__sha256(digest, page_of(page, found, 512), 512));
        ck_assert_int_eq(memcmp(digest, bough__hasher_digest(hasher, found), sizeof digest), 0);
        found++;
    }
    ck_assert_ptr_null(bough__hasher_digest(hasher, found));
    return found;
}

TEST(digests_come_in_order)
{
    struct bough__hasher *hasher = bough__hasher_begin(8 * 512, 512);
    ck_assert_ptr_nonnull(hasher);
    ck_assert_uint_eq(hash_pages(hasher, 9000), 9000);
    bough__hasher_end(hasher);
    hasher = bough__hasher_begin(8 * 512, 512);
    bough__hasher_end(hasher);
}

/* Once the list cannot grow it ends; what follows is never taken for what is missing. */
TEST(without_memory_the_list_ends)
{
    struct bough__hasher *hasher = bough__hasher_begin(8 * 512, 512);
    faultos_fail(FAULTOS_MEMORY, 2, ENOMEM, false);
    uint64_t found = hash_pages(hasher, 30000);
    ck_assert(faultos_was_hit());
    faultos_clear();
    bough__hasher_end(hasher);
    ck_assert_uint_gt(found, 0);
    ck_assert_uint_lt(found, 30000);
    for (uint64_t nth = 1; nth <= 9; nth++) {
        faultos_fail(FAULTOS_MEMORY, nth, ENOMEM, false);
        ck_assert_ptr_null(bough__hasher_begin(8 * 512, 512));
    }
    faultos_clear();
}

/* ---- a large transaction ---- */

struct world {
    struct bough__space *space;
    struct bough__layer *layer;
    uint64_t seeds[BLOCKS]; /* of the page that each block has; 0: zeros */
};

static void begin_world(struct world *world)
{
    struct bough__layer_owner owner = {.number = 1, .branch = "b"};
    char *directory = strdup(harness_path("s.bough"));
    memset(world, 0, sizeof *world);
    mkdir(directory, 0700);
    mkdir(harness_path("s.bough/layers"), 0700);
    mkdir(harness_path("s.bough/nodes"), 0700);
    mkdir(harness_path("s.bough/run"), 0700);
    ASSERT_OK(bough__space_create(directory, 0600));
    ASSERT_OK(bough__space_open(&world->space, directory));
    ASSERT_OK(bough__layer_open(&world->layer, world->space, &owner));
    free(directory);
}

static void end_world(struct world *world)
{
    bough__layer_close(world->layer);
    bough__space_close(world->space);
}

static struct bough__txn *begin_txn(struct world *world)
{
    struct bough__snapshot base = {0};
    struct bough__txn *txn = NULL;
    ASSERT_OK(bough__snapshot_pin(&base, world->layer));
    ASSERT_OK(bough__txn_begin(&txn, &base));
    ASSERT_OK(bough__txn_set_block_size(txn, BLOCK));
    bough__snapshot_release(&base);
    return txn;
}

static int write_page(struct world *world, struct bough__txn *txn, uint64_t block, uint64_t seed)
{
    static uint8_t page[BLOCK];
    memset(page, 0, sizeof page);
    world->seeds[block] = seed;
    return bough__txn_write(txn, block, seed != 0 ? page_of(page, seed, BLOCK) : page);
}

/* Every digest of the newest state is that of the page which was written last. */
static void check_digests(struct world *world, uint64_t size_bytes)
{
    struct bough__snapshot snapshot = {0};
    static uint8_t page[BLOCK], found[BLOCK];
    ASSERT_OK(bough__snapshot_pin(&snapshot, world->layer));
    ck_assert_uint_eq(snapshot.size_bytes, size_bytes);
    for (uint64_t block = 0; block * BLOCK < size_bytes; block++) {
        struct bough__entry entry = {0};
        uint8_t digest[BOUGH__DIGEST_SIZE] = {0};
        size_t length = size_bytes - block * BLOCK < BLOCK ? (size_t)(size_bytes - block * BLOCK) : BLOCK;
        memset(page, 0, sizeof page);
        if (world->seeds[block] != 0) {
            page_of(page, world->seeds[block], BLOCK);
            memset(page + length, 0, BLOCK - length);
            ASSERT_OK(bough__sha256(digest, page, length));
        }
        ASSERT_OK(bough__map_lookup(&entry, world->space->nodes, &snapshot.tree, block));
        ck_assert_msg(memcmp(entry.digest, digest, sizeof digest) == 0, "digest of block %llu",
                      (unsigned long long)block);
        ASSERT_OK(bough__snapshot_read(&snapshot, block, found, block % 2));
        ck_assert_msg(memcmp(page, found, BLOCK) == 0, "page of block %llu", (unsigned long long)block);
    }
    bough__snapshot_release(&snapshot);
}

static uint64_t writeback_bytes;

static int count_writeback(int fd, off_t offset, off_t len)
{
    (void)fd, (void)offset;
    writeback_bytes += (uint64_t)len;
    return 0;
}

/* Nearly all of the work is done when the commit begins, and it is four syncs: the layer, the nodes, the header
 * and its twin. */
TEST(the_work_is_done_before_the_commit)
{
    static struct world world;
    uint64_t number = 0, size_bytes = (uint64_t)BLOCKS * BLOCK;
    begin_world(&world);
    bough__os.start_writeback = count_writeback;
    struct bough__txn *txn = begin_txn(&world);
    for (uint64_t block = 0; block < BULK + 10; block++) /* the first one makes the node file */
        ASSERT_OK(write_page(&world, txn, block, block + 1));
    ASSERT_OK(bough__txn_commit(txn, BOUGH__DURABLE, &number));
    writeback_bytes = 0;
    for (uint64_t block = 0; block < BLOCKS; block++)
        ASSERT_OK(write_page(&world, txn, block, BLOCKS + block));
    ck_assert_uint_ge(writeback_bytes, size_bytes - BULK / 2 * BLOCK - 3 * BUFFER);
    uint64_t read = bough__files_bytes_read(world.space->files);
    faultos_clear();
    ASSERT_OK(bough__txn_commit(txn, BOUGH__DURABLE, &number));
    /* Layer, nodes, header. */
    ck_assert_uint_eq(faultos_count(FAULTOS_SYNC), 3);
    read = bough__files_bytes_read(world.space->files) - read;
    ck_assert_msg(read <= BULK / 2 * BLOCK + 4 * BUFFER, "%llu bytes were read again", (unsigned long long)read);
    bough__txn_end(txn);
    check_digests(&world, size_bytes);
    end_world(&world);
}

/* A transaction that stays in the log neither wakes the disk nor hashes. */
TEST(a_small_transaction_does_nothing_ahead)
{
    static struct world world;
    uint64_t number = 0;
    begin_world(&world);
    bough__os.start_writeback = count_writeback;
    writeback_bytes = 0;
    struct bough__txn *txn = begin_txn(&world);
    for (uint64_t block = 0; block < BULK / 2 - 64; block++)
        ASSERT_OK(write_page(&world, txn, block, block + 1));
    ASSERT_OK(bough__txn_commit(txn, BOUGH__DURABLE, &number));
    bough__txn_end(txn);
    ck_assert_uint_eq(writeback_bytes, 0);
    end_world(&world);
}

/* Pages are written again at once, soon and much later, become zeros and come back. */
static void write_wildly(struct world *world, struct bough__txn *txn, uint64_t seed)
{
    struct harness_random random = {seed};
    for (uint64_t block = 0; block < BLOCKS; block++) {
        uint64_t back = harness_below(&random, 8) == 0 ? harness_below(&random, 200) : harness_below(&random, 4000);
        ASSERT_OK(write_page(world, txn, block, harness_next(&random) | 1));
        if (harness_below(&random, 3) == 0)
            ASSERT_OK(write_page(world, txn, block > back ? block - back : block,
                                 harness_below(&random, 5) == 0 ? 0 : harness_next(&random) | 1));
    }
    ASSERT_OK(write_page(world, txn, BLOCKS - 1, harness_next(&random) | 1));
}

TEST(digests_are_of_what_was_written_last)
{
    static struct world world;
    uint64_t number = 0, size_bytes = (uint64_t)BLOCKS * BLOCK;
    begin_world(&world);
    for (uint64_t round = 0; round < 4; round++) {
        struct bough__txn *txn = begin_txn(&world);
        write_wildly(&world, txn, 100 + round);
        if (round == 1) { /* nothing of the one that is dropped may come back */
            bough__txn_rollback(txn);
            write_wildly(&world, txn, 200);
        }
        if (round == 2) {
            size_bytes -= 1000;
            ASSERT_OK(bough__txn_resize(txn, size_bytes));
        }
        ASSERT_OK(bough__txn_commit(txn, BOUGH__LAZY, &number));
        bough__txn_end(txn);
        check_digests(&world, size_bytes);
        size_bytes = (uint64_t)BLOCKS * BLOCK;
    }
    end_world(&world);
}

/* Whatever memory is missing on the way, the transaction is committed whole or not at all. */
TEST(memory_may_be_short)
{
    static struct world world, before;
    uint64_t number = 0, nth = 0, failures = 0, blocks = BULK + 100;
    bool was_hit = true;
    begin_world(&world);
    while (was_hit && nth < 400) {
        before = world;
        struct bough__txn *txn = begin_txn(&world);
        int rc = BOUGH_OK;
        if (nth != 0)
            faultos_fail(FAULTOS_MEMORY, nth, ENOMEM, false);
        for (uint64_t block = 0; rc == BOUGH_OK && block < blocks; block++)
            rc = write_page(&world, txn, block, nth * blocks + block + 1);
        if (rc == BOUGH_OK)
            rc = bough__txn_commit(txn, BOUGH__LAZY, &number);
        was_hit = nth == 0 || faultos_was_hit();
        faultos_clear();
        bough__txn_end(txn);
        if (rc != BOUGH_OK)
            world = before;
        failures += rc != BOUGH_OK;
        check_digests(&world, blocks * BLOCK);
        nth++;
    }
    ck_assert(!was_hit);
    printf("%llu allocations, %llu failures\n", (unsigned long long)nth, (unsigned long long)failures);
    ck_assert_uint_gt(failures, 3);
    ck_assert_uint_lt(failures + 8, nth); /* without the hasher the commit does its work */
    end_world(&world);
}

int main(void)
{
    faultos_install();
    const struct harness_case cases[] = {CASE(digests_come_in_order),
                                         CASE(without_memory_the_list_ends),
                                         CASE(the_work_is_done_before_the_commit),
                                         CASE(a_small_transaction_does_nothing_ahead),
                                         CASE(digests_are_of_what_was_written_last),
                                         CASE(memory_may_be_short)};
    return harness_run("bulk", cases, COUNT_OF(cases));
}
