/* test_group.c - transactions over several layers, killed between their steps, and the file of decisions. */
#include "faultos.h"
#include "harness.h"

#include "bough.h"
#include "group.h"
#include "layer_state.h"
#include "os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 1024, FIRST = 2, MOST = 4, LOG_SLOTS = 128 };

/* ---- layers 2, 3, 4 of a store; block 0 of each holds one byte, repeated ---- */

struct side {
    struct bough__space *space;
    struct bough__layer *layers[MOST];
    struct bough__txn *txns[MOST];
    size_t count;
};

static void make_store(void)
{
    static const char *const folders[] = {"s.bough", "s.bough/layers", "s.bough/nodes", "s.bough/run"};
    for (size_t i = 0; i < COUNT_OF(folders); i++)
        ck_assert_int_eq(mkdir(harness_path(folders[i]), 0700), 0);
    ASSERT_OK(bough__space_create(harness_path("s.bough"), 0600));
}

static struct bough__layer *open_layer(struct bough__space *space, uint32_t number)
{
    struct bough__layer *layer = NULL;
    struct bough__layer_owner owner = {.number = number, .branch = "b"};
    ASSERT_OK(bough__layer_open(&layer, space, &owner));
    return layer;
}

static struct side open_side(size_t count)
{
    struct side side = {.count = count};
    ASSERT_OK(bough__space_open(&side.space, harness_path("s.bough")));
    for (size_t i = 0; i < count; i++)
        side.layers[i] = open_layer(side.space, FIRST + (uint32_t)i);
    return side;
}

static void close_side(struct side *side)
{
    for (size_t i = 0; i < side->count; i++)
        bough__layer_close(side->layers[i]);
    bough__space_close(side->space);
}

static int try_begin(struct bough__txn **out, struct bough__layer *layer)
{
    struct bough__snapshot snapshot = {0};
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    int rc = bough__txn_begin(out, &snapshot);
    bough__snapshot_release(&snapshot);
    return rc;
}

/* Begins on every layer, and writes the byte. */
static void write_all(struct side *side, uint8_t byte)
{
    uint8_t page[BLOCK];
    memset(page, byte, sizeof page);
    for (size_t i = 0; i < side->count; i++) {
        ASSERT_OK(try_begin(&side->txns[i], side->layers[i]));
        ASSERT_OK(bough__txn_set_block_size(side->txns[i], BLOCK));
        ASSERT_OK(bough__txn_write(side->txns[i], 0, page));
    }
}

static void end_all(struct side *side)
{
    for (size_t i = 0; i < side->count; i++)
        bough__txn_end(side->txns[i]);
}

static int commit_all(struct side *side, uint8_t byte)
{
    uint64_t numbers[MOST] = {0};
    write_all(side, byte);
    int rc = bough__group_commit(side->txns, side->count, numbers);
    end_all(side);
    return rc;
}

static void write_one(struct bough__layer *layer, uint8_t byte)
{
    struct bough__txn *txn = NULL;
    uint64_t number = 0;
    uint8_t page[BLOCK];
    memset(page, byte, sizeof page);
    ASSERT_OK(try_begin(&txn, layer));
    ASSERT_OK(bough__txn_write(txn, 0, page));
    ASSERT_OK(bough__txn_commit(txn, BOUGH__DURABLE, &number));
    bough__txn_end(txn);
}

static uint8_t read_one(struct bough__layer *layer)
{
    struct bough__snapshot snapshot = {0};
    uint8_t page[BLOCK];
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ASSERT_OK(bough__snapshot_read(&snapshot, 0, page, true));
    bough__snapshot_release(&snapshot);
    for (size_t i = 1; i < sizeof page; i++)
        ck_assert_uint_eq(page[i], page[0]);
    return page[0];
}

static void expect(struct side *side, uint8_t byte)
{
    for (size_t i = 0; i < side->count; i++)
        ck_assert_uint_eq(read_one(side->layers[i]), byte);
}

/* ---- a process that dies between two steps ---- */

enum last_step { PREPARE_ONE, PREPARE_ALL, DECIDE, PUBLISH_ONE, PUBLISH_ALL };

static void take_steps(struct side *side, enum last_step last)
{
    struct bough__decider decider;
    struct bough__member members[MOST];
    bool is_open = false;
    ASSERT_OK(bough__decider_begin(&decider, side->space));
    for (size_t i = 0; i < (last == PREPARE_ONE ? 1 : side->count); i++)
        ASSERT_OK(bough__txn_prepare(&members[i], side->txns[i], &decider.decision));
    if (last >= DECIDE)
        ASSERT_OK(bough__decider_commit(&is_open, &decider, members, side->count));
    for (size_t i = 0; last >= PUBLISH_ONE && i < (last == PUBLISH_ONE ? 1 : side->count); i++)
        bough__txn_decide(side->txns[i], true);
}

struct doomed {
    pid_t pid;
    int go, done;
};

/* Writes the byte to all layers and takes the steps when it is told to; stays until it is killed. */
static struct doomed doomed_start(size_t count, uint8_t byte, enum last_step last)
{
    int go[2], done[2];
    char letter = 0;
    ck_assert_int_eq(pipe(go), 0);
    ck_assert_int_eq(pipe(done), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(go[1]);
        if (read(go[0], &letter, 1) != 1)
            _exit(1);
        struct side side = open_side(count);
        write_all(&side, byte);
        take_steps(&side, last);
        if (write(done[1], "d", 1) != 1 || read(go[0], &letter, 1) != 1)
            _exit(1);
        _exit(0);
    }
    close(go[0]);
    close(done[1]);
    return (struct doomed){pid, go[1], done[0]};
}

static void doomed_run(struct doomed *doomed)
{
    char letter = 0;
    ck_assert_int_eq(write(doomed->go, "g", 1), 1);
    ck_assert_int_eq(read(doomed->done, &letter, 1), 1);
}

static void doomed_die(struct doomed *doomed)
{
    close(doomed->go);
    ck_assert_int_eq(waitpid(doomed->pid, NULL, 0), doomed->pid);
    close(doomed->done);
}

static uint8_t expected_after(enum last_step last)
{
    return last >= DECIDE ? 2 : 1;
}

TEST(the_first_opener_resolves)
{
    make_store();
    for (enum last_step last = PREPARE_ONE; last <= PUBLISH_ALL; last++) {
        struct doomed doomed = doomed_start(3, 2, last);
        struct side side = open_side(3);
        ASSERT_OK(commit_all(&side, 1));
        close_side(&side);
        doomed_run(&doomed);
        doomed_die(&doomed);
        side = open_side(3);
        expect(&side, expected_after(last));
        close_side(&side);
        side = open_side(3); /* closed cleanly, it stays so */
        expect(&side, expected_after(last));
        close_side(&side);
    }
}

TEST(readers_and_writers_who_have_it_open_resolve)
{
    make_store();
    for (enum last_step last = PREPARE_ONE; last <= PUBLISH_ALL; last++) {
        for (int writes_first = 0; writes_first < 2; writes_first++) {
            struct doomed doomed = doomed_start(3, 2, last);
            struct side side = open_side(3);
            struct bough__snapshot held = {0};
            ASSERT_OK(commit_all(&side, 1));
            ASSERT_OK(bough__snapshot_pin(&held, side.layers[1]));
            doomed_run(&doomed);
            /* While it lives, its layers are as they were but for what it has published, and nobody waits for it. */
            struct bough__txn *txn = NULL;
            ck_assert_int_eq(try_begin(&txn, side.layers[0]), BOUGH_BUSY);
            ck_assert_uint_eq(read_one(side.layers[1]), last == PUBLISH_ALL ? 2 : 1);
            doomed_die(&doomed);
            if (writes_first) {
                write_one(side.layers[2], 7);
                ck_assert_uint_eq(read_one(side.layers[2]), 7);
                write_one(side.layers[2], expected_after(last));
            }
            expect(&side, expected_after(last));
            ck_assert(!bough__snapshot_is_newest(&held) == (last >= DECIDE));
            bough__snapshot_release(&held);
            /* New frames do not meet those of what was resolved. */
            for (int i = 0; i < 80; i++)
                write_one(side.layers[1], (uint8_t)(i + 100));
            expect(&(struct side){.layers = {side.layers[0], side.layers[2]}, .count = 2}, expected_after(last));
            close_side(&side);
        }
    }
}

/* A parked snapshot has to notice, too. */
TEST(an_idle_reader_resolves)
{
    make_store();
    struct doomed doomed = doomed_start(2, 2, DECIDE);
    struct side side = open_side(2);
    struct bough__snapshot parked = {0};
    ASSERT_OK(commit_all(&side, 1));
    ASSERT_OK(bough__snapshot_pin(&parked, side.layers[1]));
    bough__snapshot_park(&parked);
    doomed_run(&doomed);
    doomed_die(&doomed);
    ck_assert(!bough__snapshot_resume(&parked));
    bough__snapshot_release(&parked);
    expect(&side, 2);
    close_side(&side);
}

TEST(the_last_closer_keeps_what_is_undecided)
{
    make_store();
    struct doomed doomed = doomed_start(2, 2, DECIDE);
    struct side side = open_side(2);
    ASSERT_OK(commit_all(&side, 1));
    doomed_run(&doomed);
    doomed_die(&doomed);
    close_side(&side); /* cuts the end of each file off */
    side = open_side(2);
    expect(&side, 2);
    close_side(&side);
}

/* Nor does it cut what it cannot resolve. */
TEST(the_last_closer_who_cannot_look)
{
    make_store();
    struct doomed doomed = doomed_start(2, 2, DECIDE);
    struct side side = open_side(2);
    ASSERT_OK(commit_all(&side, 1));
    doomed_run(&doomed);
    doomed_die(&doomed);
    ck_assert_int_eq(rename(harness_path("s.bough/decisions"), harness_path("decisions")), 0);
    ck_assert_int_eq(symlink("nowhere", harness_path("s.bough/decisions")), 0); /* opening it fails */
    ck_assert_uint_eq(read_one(side.layers[1]), 1);
    close_side(&side);
    ck_assert_int_eq(rename(harness_path("decisions"), harness_path("s.bough/decisions")), 0);
    side = open_side(2);
    expect(&side, 2);
    close_side(&side);
}

/* ---- decisions ---- */

static uint64_t slots_in_file(void)
{
    struct stat info;
    ck_assert_int_eq(stat(harness_path("s.bough/decisions"), &info), 0);
    return (uint64_t)info.st_size / BOUGH__DECISION_SLOT_SIZE;
}

static struct bough__decision_slot slot_in_file(const struct bough__space *space, uint64_t slot)
{
    size_t len = 0;
    struct bough__decision_slot out;
    uint8_t *bytes = harness_read_file(harness_path("s.bough/decisions"), &len);
    bough__decision_decode(&out, bytes + slot * BOUGH__DECISION_SLOT_SIZE, space, slot);
    free(bytes);
    return out;
}

/* Others decide hundreds of times meanwhile. */
TEST(a_decision_stays_until_its_members_are_settled)
{
    make_store();
    struct doomed doomed = doomed_start(3, 2, DECIDE);
    struct side side = open_side(3);
    ASSERT_OK(commit_all(&side, 1));
    close_side(&side);
    doomed_run(&doomed);
    doomed_die(&doomed);
    ASSERT_OK(bough__space_open(&side.space, harness_path("s.bough")));
    side.layers[0] = open_layer(side.space, FIRST + 5);
    side.layers[1] = open_layer(side.space, FIRST + 6);
    side.count = 2;
    for (int i = 0; i < 3 * LOG_SLOTS; i++)
        ASSERT_OK(commit_all(&side, (uint8_t)i));
    close_side(&side);
    ck_assert_uint_eq(slots_in_file(), LOG_SLOTS);
    side = open_side(3);
    expect(&side, 2);
    close_side(&side);
}

TEST(a_member_without_a_file_is_settled)
{
    make_store();
    struct doomed doomed = doomed_start(3, 2, DECIDE);
    struct side side = open_side(3);
    ASSERT_OK(commit_all(&side, 1));
    close_side(&side);
    doomed_run(&doomed);
    doomed_die(&doomed);
    ASSERT_OK(bough__space_open(&side.space, harness_path("s.bough")));
    ck_assert(!bough__layer_is_past(side.space, FIRST, 2));
    ck_assert(!bough__layer_is_past(side.space, FIRST + 1, 2));
    ck_assert_int_eq(unlink(harness_path("s.bough/layers/2.layer")), 0);
    ck_assert_int_eq(unlink(harness_path("s.bough/run/2.shm")), 0);
    ck_assert(bough__layer_is_past(side.space, FIRST, 2));
    struct bough__layer *second = open_layer(side.space, FIRST + 1), *third = open_layer(side.space, FIRST + 2);
    ck_assert_uint_eq(read_one(second), 2); /* the others go on */
    ck_assert_uint_eq(read_one(third), 2);
    ck_assert(!bough__layer_is_past(side.space, FIRST + 1, 2)); /* by a header that is not written yet */
    write_one(second, 3);
    ck_assert(bough__layer_is_past(side.space, FIRST + 1, 2));
    bough__layer_close(second);
    bough__layer_close(third);
    ck_assert(bough__layer_is_past(side.space, FIRST + 2, 2));
    bough__space_close(side.space);
}

/* The files of others are not synced on the way: a failure there would be told to us, and not to who wrote. */
TEST(a_place_is_found_without_a_sync)
{
    make_store();
    faultos_install();
    struct side side = open_side(3);
    ASSERT_OK(commit_all(&side, 1));
    close_side(&side);
    side = open_side(3);
    faultos_clear();
    ASSERT_OK(commit_all(&side, 2));
    /* That of the folder, since this process has not seen the file; of each layer; of the decision. */
    ck_assert_uint_eq(faultos_count(FAULTOS_SYNC), 1 + 3 + 1);
    close_side(&side);
    ASSERT_OK(bough__space_open(&side.space, harness_path("s.bough")));
    faultos_clear();
    ck_assert(bough__layer_is_past(side.space, FIRST, 2)); /* closed by all */
    ck_assert(!bough__layer_is_past(side.space, FIRST, 3));
    ck_assert_uint_eq(faultos_count(FAULTOS_SYNC), 0);
    bough__space_close(side.space);
    side = open_side(3);
    expect(&side, 2);
    close_side(&side);
}

/* Whoever died with it open may have left a header that no sync came after. */
TEST(a_header_of_the_dead_is_not_believed)
{
    make_store();
    struct doomed doomed = doomed_start(3, 2, PUBLISH_ALL);
    struct side side = open_side(3), other = {0};
    ASSERT_OK(commit_all(&side, 1));
    close_side(&side);
    doomed_run(&doomed);
    ASSERT_OK(bough__space_open(&other.space, harness_path("s.bough")));
    ck_assert(bough__layer_is_past(other.space, FIRST, 1)); /* he who lives says so */
    ck_assert(!bough__layer_is_past(other.space, FIRST, 2));
    doomed_die(&doomed);
    ck_assert(!bough__layer_is_past(other.space, FIRST, 1));
    bough__layer_close(open_layer(other.space, FIRST));
    ck_assert(bough__layer_is_past(other.space, FIRST, 2));
    bough__space_close(other.space);
}

TEST(a_decision_that_cannot_be_synced_is_withdrawn)
{
    make_store();
    struct side side = open_side(2);
    ASSERT_OK(commit_all(&side, 1));
    struct bough__decision_slot slot = slot_in_file(side.space, 0);
    ck_assert_int_eq(slot.state, BOUGH__COMMITTED);
    ck_assert_uint_eq(slot.member_count, 2);
    ck_assert_uint_eq(slot.members[1].layer, FIRST + 1);
    ck_assert_uint_eq(slot.members[1].txn, 1);
    faultos_install();
    write_all(&side, 2);
    faultos_fail(FAULTOS_SYNC, 3, EIO, false);
    uint64_t numbers[2];
    ck_assert_int_eq(bough__group_commit(side.txns, 2, numbers), BOUGH_IO);
    ck_assert(faultos_was_hit());
    faultos_clear();
    end_all(&side);
    ck_assert_int_eq(slot_in_file(side.space, 1).state, BOUGH__WITHDRAWN);
    expect(&side, 1);
    ASSERT_OK(commit_all(&side, 3));
    close_side(&side);
    side = open_side(2);
    expect(&side, 3);
    close_side(&side);
}

TEST(a_damaged_decision_is_damage)
{
    make_store();
    struct doomed doomed = doomed_start(2, 2, DECIDE);
    struct side side = open_side(2);
    ASSERT_OK(commit_all(&side, 1));
    close_side(&side);
    doomed_run(&doomed);
    doomed_die(&doomed);
    FILE *file = fopen(harness_path("s.bough/decisions"), "r+b");
    fseek(file, BOUGH__DECISION_SLOT_SIZE + 30, SEEK_SET); /* of the second transaction */
    fputc('x', file);
    fclose(file);
    struct bough__layer *layer = NULL;
    struct bough__layer_owner owner = {.number = FIRST, .branch = "b"};
    ASSERT_OK(bough__space_open(&side.space, harness_path("s.bough")));
    ck_assert_int_eq(bough__layer_open(&layer, side.space, &owner), BOUGH_CORRUPT);
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "decisions: slot 1"));
    bough__space_close(side.space);
}

/* ---- sizes ---- */

/* A record of 17 MB; pages of zeros need no frames. */
TEST(a_record_of_any_length)
{
    enum { BLOCKS = 720000 };
    static const uint8_t zeros[BLOCK];
    uint64_t numbers[2];
    make_store();
    struct side side = open_side(2);
    ASSERT_OK(commit_all(&side, 1));
    write_all(&side, 2);
    for (uint64_t block = 1; block < BLOCKS; block++)
        ASSERT_OK(bough__txn_write(side.txns[1], block, zeros));
    ASSERT_OK(bough__group_commit(side.txns, 2, numbers));
    end_all(&side);
    ck_assert_uint_eq(numbers[1], 2);
    expect(&side, 2);
    ck_assert_uint_gt(side.layers[1]->overlay->generation, 1); /* its log was folded at once */
    write_one(side.layers[1], 3);
    close_side(&side);
    side = open_side(2);
    ck_assert_uint_eq(read_one(side.layers[1]), 3);
    close_side(&side);
}

/* The same, left by a process that died after the decision: the next one reads the record. */
TEST(a_long_record_that_was_left)
{
    enum { BLOCKS = 720000 };
    static const uint8_t zeros[BLOCK];
    make_store();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct side side = open_side(2);
        write_all(&side, 2);
        for (uint64_t block = 1; block < BLOCKS; block++)
            ASSERT_OK(bough__txn_write(side.txns[1], block, zeros));
        take_steps(&side, DECIDE);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    struct side side = open_side(2);
    expect(&side, 2);
    write_one(side.layers[1], 3);
    ck_assert_uint_gt(side.layers[1]->overlay->generation, 1);
    ck_assert_uint_eq(bough__layer_newest(side.layers[1]), 2);
    close_side(&side);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(the_first_opener_resolves),
        CASE(readers_and_writers_who_have_it_open_resolve),
        CASE(an_idle_reader_resolves),
        CASE(the_last_closer_keeps_what_is_undecided),
        CASE(the_last_closer_who_cannot_look),
        CASE(a_decision_stays_until_its_members_are_settled),
        CASE(a_member_without_a_file_is_settled),
        CASE(a_place_is_found_without_a_sync),
        CASE(a_header_of_the_dead_is_not_believed),
        CASE(a_decision_that_cannot_be_synced_is_withdrawn),
        CASE(a_damaged_decision_is_damage),
        CASE(a_record_of_any_length),
        CASE(a_long_record_that_was_left),
    };
    return harness_run("group", cases, COUNT_OF(cases));
}
