/* test_recycler.c - what a process hands out of the frames that its own transactions and those of others left dead:
 * never one that is in use, all that are free, and at what price it learns of them.
 */
#include "harness.h"
#include "os.h"
#include "recycler.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCKS = 300, FRAMES = 4000 };

/* The layer as it truly is: which frame holds each block, and what was told of each frame that holds none. */
struct truth {
    struct bough__shm shm;
    struct bough__recycler recycler;
    struct harness_random random;
    uint64_t txn;
    uint64_t frame_of[BLOCKS], birth_of[BLOCKS];
    bool is_used[FRAMES], is_known[FRAMES];
    bool is_durable[FRAMES]; /* what a loss of power may bring back has something there */
    uint64_t frame_count;
};

static void publish_lazily(struct truth *truth)
{
    struct bough__published state;
    bough__shm_read(&state, &truth->shm);
    state.txn = truth->txn;
    bough__shm_publish(&truth->shm, &state);
}

static void publish(struct truth *truth)
{
    publish_lazily(truth);
    bough__shm_raise_durable(&truth->shm, truth->txn);
    memcpy(truth->is_durable, truth->is_used, sizeof truth->is_durable);
}

static void publish_somehow(struct truth *truth)
{
    if (harness_below(&truth->random, 4) == 0)
        publish(truth);
    else
        publish_lazily(truth);
}

static void start(struct truth *truth, uint64_t seed)
{
    bool is_first = false, same_boot = false;
    *truth = (struct truth){.random = {seed}, .frame_count = BLOCKS, .txn = 1};
    ck_assert_int_eq(mkdir(harness_path("run"), 0700), 0);
    harness_write_file(harness_path("db"), "", 0);
    ASSERT_OK(bough__shm_open(&truth->shm, &is_first, &same_boot, harness_directory(), -1, 1, 0600, 1000));
    ck_assert(is_first);
    for (uint64_t block = 0; block < BLOCKS; block++) {
        truth->frame_of[block] = block;
        truth->birth_of[block] = truth->txn;
        truth->is_used[block] = true;
    }
    publish(truth);
    ASSERT_OK(bough__shm_ready(&truth->shm));
}

static void end(struct truth *truth)
{
    bough__recycler_release(&truth->recycler);
    int fd = truth->shm.fd;
    bough__shm_close(&truth->shm, true);
    bough__os_close(&fd);
    ck_assert_int_eq(unlink(harness_path("db")), 0);
    ck_assert_int_eq(rmdir(harness_path("run")), 0);
}

static void write_block(struct truth *truth, uint64_t block, uint64_t frame)
{
    uint64_t old = truth->frame_of[block];
    ck_assert(!truth->is_used[frame]);
    truth->is_used[frame] = true;
    truth->is_known[frame] = false;
    truth->is_used[old] = false;
    truth->is_known[old] = true;
    bough__recycler_died(&truth->recycler, old, truth->birth_of[block], truth->txn);
    truth->frame_of[block] = frame;
    truth->birth_of[block] = truth->txn;
}

static uint64_t some_free_frame(struct truth *truth)
{
    for (int tries = 0; tries < 20; tries++) {
        uint64_t frame = harness_below(&truth->random, truth->frame_count);
        if (!truth->is_used[frame] && !truth->is_durable[frame])
            return frame;
    }
    ck_assert_uint_lt(truth->frame_count, FRAMES);
    return truth->frame_count++;
}

/* One that this transaction has not written yet: a record has one entry for each block. */
static uint64_t some_block(struct truth *truth)
{
    uint64_t block = harness_below(&truth->random, BLOCKS);
    while (truth->birth_of[block] == truth->txn)
        block = (block + 1) % BLOCKS;
    return block;
}

/* A record of another process, which knows other free frames than we do. */
static void write_elsewhere(struct truth *truth)
{
    truth->txn++;
    for (uint64_t i = 1 + harness_below(&truth->random, 3); i > 0; i--) {
        uint64_t frame = some_free_frame(truth);
        bough__recycler_strike(&truth->recycler, frame, truth->txn);
        write_block(truth, some_block(truth), frame);
    }
    publish_somehow(truth);
}

static bool take(struct truth *truth, uint64_t *out_frame, size_t leave)
{
    bool is_there = bough__recycler_take(&truth->recycler, out_frame, leave);
    if (!is_there) {
        bough__recycler_refill(&truth->recycler, &truth->shm);
        is_there = bough__recycler_take(&truth->recycler, out_frame, leave);
    }
    if (is_there)
        ck_assert_msg(!truth->is_used[*out_frame] && !truth->is_durable[*out_frame], "frame %llu is in use",
                      (unsigned long long)*out_frame);
    return is_there;
}

static void write_here(struct truth *truth)
{
    bool commits = harness_below(&truth->random, 4) != 0;
    uint64_t frame = 0, frames[4], count = 0;
    size_t leave = harness_below(&truth->random, 3) * 40;
    for (uint64_t i = 1 + harness_below(&truth->random, 4); i > 0; i--) {
        if (!take(truth, &frame, leave))
            break;
        for (uint64_t k = 0; k < count; k++)
            ck_assert_uint_ne(frames[k], frame);
        frames[count++] = frame;
    }
    bough__recycler_settle(&truth->recycler, commits);
    if (!commits || count == 0)
        return;
    truth->txn++;
    for (uint64_t i = 0; i < count; i++)
        write_block(truth, some_block(truth), frames[i]);
    publish_somehow(truth);
}

/* A checkpoint finds all that is dead, and makes all durable. */
static void checkpoint(struct truth *truth)
{
    struct bough__frames all = {0};
    publish(truth);
    for (uint64_t frame = 0; frame < truth->frame_count; frame++) {
        if (truth->is_used[frame])
            continue;
        ASSERT_OK(bough__frames_add(&all, frame, 1));
        truth->is_known[frame] = true;
    }
    ASSERT_OK(bough__recycler_add(&truth->recycler, &all, truth->txn));
    bough__frames_release(&all);
}

static void take_all(struct truth *truth)
{
    uint64_t frame = 0, count = 0, expected = 0;
    publish(truth);
    while (take(truth, &frame, 0)) {
        truth->is_used[frame] = true;
        count++;
    }
    for (frame = 0; frame < truth->frame_count; frame++)
        expected += truth->is_known[frame];
    ck_assert_uint_eq(count, expected);
}

TEST(hands_out_what_is_free_and_nothing_else)
{
    for (uint64_t seed = 1; seed <= harness_number("BOUGH_SEEDS", 60); seed++) {
        struct truth *truth = calloc(1, sizeof *truth);
        start(truth, seed);
        for (int step = 0; step < 1500; step++) {
            uint64_t what = harness_below(&truth->random, 100);
            if (what < 60)
                write_elsewhere(truth);
            else if (what < 99)
                write_here(truth);
            else
                checkpoint(truth);
        }
        take_all(truth);
        end(truth);
        free(truth);
    }
}

static uint64_t taken_frame(struct truth *truth, size_t leave)
{
    uint64_t frame = 0;
    ck_assert(bough__recycler_take(&truth->recycler, &frame, leave));
    return frame;
}

static void dies(struct truth *truth, uint64_t frame)
{
    bough__recycler_died(&truth->recycler, frame, 1, truth->txn);
}

static bool has_free(struct truth *truth)
{
    uint64_t frame = 0;
    return bough__recycler_take(&truth->recycler, &frame, 0);
}

static bool is_worthwhile(struct truth *truth, size_t enough)
{
    return bough__recycler_is_worthwhile(&truth->recycler, enough, bough__shm_durable(&truth->shm));
}

/* Without syncs: what was born after the newest durable state and died is free at once; what that state has is not, and
 * is looked at once, and again when there is another. */
TEST(what_a_loss_of_power_may_bring_back_is_kept)
{
    struct truth *truth = calloc(1, sizeof *truth);
    start(truth, 1);
    truth->txn = 3;
    publish_lazily(truth);
    bough__recycler_died(&truth->recycler, 1001, 1, 2);
    bough__recycler_died(&truth->recycler, 1002, 2, 3);
    bough__recycler_died(&truth->recycler, 1003, 1, 3);
    ck_assert(is_worthwhile(truth, 3));
    bough__recycler_refill(&truth->recycler, &truth->shm);
    ck_assert_uint_eq(taken_frame(truth, 0), 1002);
    ck_assert(!has_free(truth));
    bough__recycler_settle(&truth->recycler, true);
    /* Nothing that died since: a look would be in vain. */
    ck_assert(!is_worthwhile(truth, 1));
    truth->txn = 5;
    publish_lazily(truth);
    bough__recycler_died(&truth->recycler, 1002, 4, 5);
    ck_assert(is_worthwhile(truth, 1) && !is_worthwhile(truth, 2));
    publish(truth);
    ck_assert(is_worthwhile(truth, 3));
    bough__recycler_refill(&truth->recycler, &truth->shm);
    for (uint64_t frame = 1001; frame <= 1003; frame++)
        ck_assert_uint_eq(taken_frame(truth, 0), frame);
    end(truth);
    free(truth);
}

/* A commit pins a state, syncs, and the state is durable when it lets go: its frames are kept for the one reason and
 * then for the other. */
TEST(a_state_becomes_durable_while_its_frames_are_kept_for_a_reader)
{
    struct truth *truth = calloc(1, sizeof *truth);
    struct bough__published state;
    int pin = 0;
    start(truth, 1);
    truth->txn = 3;
    publish_lazily(truth);
    ASSERT_OK(bough__shm_pin(&pin, &state, &truth->shm));
    truth->txn = 4;
    publish_lazily(truth);
    bough__recycler_died(&truth->recycler, 1001, 2, 4);
    bough__recycler_refill(&truth->recycler, &truth->shm);
    ck_assert(!has_free(truth));
    bough__shm_raise_durable(&truth->shm, 3);
    bough__shm_unpin(&truth->shm, pin);
    for (int i = 0; i < 100; i++)
        bough__recycler_refill(&truth->recycler, &truth->shm);
    ck_assert(!has_free(truth));
    publish(truth);
    bough__recycler_refill(&truth->recycler, &truth->shm);
    ck_assert_uint_eq(taken_frame(truth, 0), 1001);
    end(truth);
    free(truth);
}

/* Frames side by side are one write and one piece for the disk. */
TEST(a_transaction_begins_where_two_frames_are_free_side_by_side)
{
    struct truth *truth = calloc(1, sizeof *truth);
    uint64_t none = 0;
    start(truth, 1);
    const uint64_t dead[] = {1005, 1001, 1031, 1003, 1010, 1030, 1002, 1020};
    truth->txn++;
    publish(truth);
    for (unsigned i = 0; i < sizeof dead / sizeof dead[0]; i++)
        dies(truth, dead[i]);
    bough__recycler_refill(&truth->recycler, &truth->shm);
    ck_assert_uint_eq(taken_frame(truth, 4), 1001);
    ck_assert_uint_eq(taken_frame(truth, 4), 1002);
    bough__recycler_settle(&truth->recycler, true);
    /* 1003 is alone now. A transaction that is rolled back takes nothing away. */
    for (int turn = 0; turn < 2; turn++) {
        ck_assert_uint_eq(taken_frame(truth, 4), 1030);
        ck_assert_uint_eq(taken_frame(truth, 4), 1031);
        bough__recycler_settle(&truth->recycler, turn == 1);
    }
    ck_assert(!bough__recycler_take(&truth->recycler, &none, 4));
    (void)taken_frame(truth, 3);
    bough__recycler_settle(&truth->recycler, false);
    /* Nothing new, and still nothing side by side. */
    bough__recycler_refill(&truth->recycler, &truth->shm);
    ck_assert(!bough__recycler_take(&truth->recycler, &none, 4));
    /* Those that were left find neighbours among what dies later. */
    truth->txn++;
    publish(truth);
    dies(truth, 1011);
    bough__recycler_refill(&truth->recycler, &truth->shm);
    ck_assert_uint_eq(taken_frame(truth, 3), 1010);
    ck_assert_uint_eq(taken_frame(truth, 3), 1011);
    ck_assert(!bough__recycler_take(&truth->recycler, &none, 3));
    end(truth);
    free(truth);
}

/* Where those without a neighbour begin is known as well after a look that found nothing new. */
TEST(those_alone_are_known_when_others_are_used)
{
    struct truth *truth = calloc(1, sizeof *truth);
    uint64_t none = 0;
    start(truth, 1);
    truth->txn++;
    publish(truth);
    const uint64_t dead[] = {1001, 1002, 1010, 1020, 1030};
    for (unsigned i = 0; i < sizeof dead / sizeof dead[0]; i++)
        dies(truth, dead[i]);
    bough__recycler_refill(&truth->recycler, &truth->shm);
    ck_assert_uint_eq(taken_frame(truth, 3), 1001);
    ck_assert_uint_eq(taken_frame(truth, 3), 1002);
    bough__recycler_settle(&truth->recycler, true);
    bough__recycler_refill(&truth->recycler, &truth->shm);
    ck_assert(!bough__recycler_take(&truth->recycler, &none, 3));
    end(truth);
    free(truth);
}

static size_t allocated;

static void *counting_malloc(size_t len_bytes)
{
    allocated += len_bytes;
    return malloc(len_bytes);
}

static void *counting_realloc(void *old, size_t len_bytes)
{
    allocated += len_bytes;
    return realloc(old, len_bytes);
}

/* 4,000 records of others while 20,000 frames lie free one by one: for each record the whole list was copied. */
TEST(a_record_of_another_costs_the_same_however_much_is_free)
{
    struct bough__recycler recycler = {0};
    struct bough__frames extents = {0};
    for (uint64_t i = 0; i < 20000; i++)
        ASSERT_OK(bough__frames_add(&extents, 2 * i, 1));
    bough__recycler_start(&recycler, &extents, 1);
    bough__os.malloc = counting_malloc;
    bough__os.realloc = counting_realloc;
    for (uint64_t i = 0; i < 4000; i++)
        bough__recycler_strike(&recycler, 10 * i, 2 + i);
    ck_assert_msg(allocated < 4 << 20, "%zu bytes were allocated", allocated);
    bough__recycler_release(&recycler);
}

/* Frames 0, 2, 4 and so on. */
static void start_with_singles(struct truth *truth, uint64_t count)
{
    struct bough__frames extents = {0};
    start(truth, 1);
    for (uint64_t i = 0; i < count; i++)
        ASSERT_OK(bough__frames_add(&extents, 2 * i, 1));
    bough__recycler_start(&truth->recycler, &extents, 0);
}

static bool finds_one(struct truth *truth, size_t leave)
{
    uint64_t frame = 0;
    if (bough__recycler_take(&truth->recycler, &frame, leave))
        return true;
    bough__recycler_refill(&truth->recycler, &truth->shm);
    return bough__recycler_take(&truth->recycler, &frame, bough__recycler_left(&truth->recycler, leave));
}

/* One page for each opening of a large database: the share that may stay unused is one of all that is free, not of the
 * part that was looked at. Otherwise the file would grow with each of them. */
TEST(what_was_not_looked_at_yet_is_free_too)
{
    struct truth *truth = calloc(1, sizeof *truth);
    start_with_singles(truth, 20000);
    ck_assert(finds_one(truth, 19999));
    bough__recycler_settle(&truth->recycler, false);
    ck_assert(!finds_one(truth, 20000));
    ck_assert(finds_one(truth, 19999));
    bough__recycler_settle(&truth->recycler, true);
    ck_assert(!finds_one(truth, 19999));
    end(truth);
    free(truth);
}

/* A frame that dies joins 10,000 that stay for want of a neighbour, 1,000 times: all were sorted each time. */
TEST(those_that_stay_are_sorted_now_and_then)
{
    struct truth *truth = calloc(1, sizeof *truth);
    start_with_singles(truth, 10000);
    for (int i = 0; i < 20; i++)
        ck_assert(!finds_one(truth, 20000));
    struct bough__os_calls calls = bough__os;
    allocated = 0;
    bough__os.malloc = counting_malloc;
    bough__os.realloc = counting_realloc;
    for (uint64_t i = 0; i < 1000; i++) {
        truth->txn++;
        publish(truth);
        dies(truth, 30001 + 2 * i);
        ck_assert(!finds_one(truth, 20000));
    }
    bough__os = calls;
    ck_assert_msg(allocated < 4 << 20, "%zu bytes were allocated", allocated);
    end(truth);
    free(truth);
}

/* 20,000 frames that a reader keeps back, and 1,000 looks: all of them were looked at each 32nd time. */
TEST(what_a_reader_keeps_back_is_looked_at_now_and_then)
{
    struct truth *truth = calloc(1, sizeof *truth);
    struct bough__published state;
    int reader = 0, other = 0;
    start(truth, 1);
    ASSERT_OK(bough__shm_pin(&reader, &state, &truth->shm));
    truth->txn++;
    publish(truth);
    ASSERT_OK(bough__shm_pin(&other, &state, &truth->shm));
    truth->txn++;
    publish(truth);
    for (uint64_t i = 0; i < 20000; i++)
        dies(truth, 1000 + i);
    bough__recycler_died(&truth->recycler, 999, 2, truth->txn);
    while (truth->recycler.dead.first < truth->recycler.dead.count)
        ck_assert(!finds_one(truth, 0));
    struct bough__os_calls calls = bough__os;
    allocated = 0;
    bough__os.malloc = counting_malloc;
    bough__os.realloc = counting_realloc;
    for (int i = 0; i < 1000; i++)
        ck_assert(!finds_one(truth, 0));
    bough__os = calls;
    ck_assert_msg(allocated < 4 << 20, "%zu bytes were allocated", allocated);
    /* What only the other one saw is found although the first one stays. */
    bough__shm_unpin(&truth->shm, other);
    bool is_found = false;
    for (int i = 0; i < 3000 && !is_found; i++)
        is_found = finds_one(truth, 0);
    ck_assert(is_found);
    bough__shm_unpin(&truth->shm, reader);
    end(truth);
    free(truth);
}

static void *failing_realloc(void *old, size_t len_bytes)
{
    (void)old, (void)len_bytes;
    return NULL;
}

static void *failing_malloc(size_t len_bytes)
{
    (void)len_bytes;
    return NULL;
}

TEST(without_memory_nothing_is_handed_out_twice)
{
    struct truth *truth = calloc(1, sizeof *truth);
    uint64_t frame = 0;
    start(truth, 7);
    for (int i = 0; i < 300; i++)
        write_elsewhere(truth);
    struct bough__os_calls calls = bough__os;
    bough__os.malloc = failing_malloc;
    bough__os.realloc = failing_realloc;
    for (int i = 0; i < 300; i++)
        write_elsewhere(truth);
    bough__os = calls;
    for (int i = 0; i < 50; i++)
        write_elsewhere(truth);
    while (take(truth, &frame, 0))
        truth->is_used[frame] = true;
    end(truth);
    free(truth);
}

int main(void)
{
    const struct harness_case cases[] = {
        CASE(hands_out_what_is_free_and_nothing_else),
        CASE(what_a_loss_of_power_may_bring_back_is_kept),
        CASE(a_state_becomes_durable_while_its_frames_are_kept_for_a_reader),
        CASE(a_transaction_begins_where_two_frames_are_free_side_by_side),
        CASE(those_alone_are_known_when_others_are_used),
        CASE(a_record_of_another_costs_the_same_however_much_is_free),
        CASE(what_was_not_looked_at_yet_is_free_too),
        CASE(those_that_stay_are_sorted_now_and_then),
        CASE(what_a_reader_keeps_back_is_looked_at_now_and_then),
        CASE(without_memory_nothing_is_handed_out_twice),
    };
    return harness_run("recycler", cases, COUNT_OF(cases));
}
