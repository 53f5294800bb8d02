/* test_overlay.c - the overlay through snapshots: which blocks were written between two states. */
#include "layers.h"

#include <stdio.h>

enum { MOST = 40 };

/* As text, ascending: "1 5 9". "unknown": the snapshot cannot tell. */
static const char *written(uint64_t after)
{
    static char text[400];
    struct bough__snapshot snapshot = {0};
    uint64_t blocks[MOST];
    size_t count = 0, used = 0;
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    bool is_known = bough__snapshot_written(blocks, &count, MOST, &snapshot, after);
    bough__snapshot_release(&snapshot);
    if (!is_known)
        return "unknown";
    ck_assert_uint_le(count, MOST);
    text[0] = 0;
    for (uint64_t block = 0; block < 1000; block++)
        for (size_t i = 0; i < count; i++)
            if (blocks[i] == block)
                used += (size_t)snprintf(text + used, sizeof(text) - used, used ? " %d" : "%d", (int)block);
    return text;
}

static void resize(uint64_t blocks)
{
    uint64_t number = 0;
    struct bough__txn *txn = begin();
    ASSERT_OK(bough__txn_resize(txn, blocks * BLOCK));
    ASSERT_OK(bough__txn_commit(txn, BOUGH__LAZY, &number));
    bough__txn_end(txn);
}

TEST(what_was_written_between)
{
    make_store();
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 30, 'a', BOUGH__LAZY)); /* 1 */
    ASSERT_OK(transaction(3, 6, 'b', BOUGH__LAZY));
    ASSERT_OK(transaction(5, 7, 0, BOUGH__LAZY)); /* zeros have no frame */
    ck_assert_str_eq(written(3), "");
    ck_assert_str_eq(written(2), "5 6");
    ck_assert_str_eq(written(1), "3 4 5 5 6");
    ASSERT_OK(transaction(8, 40, 'c', BOUGH__LAZY));
    ck_assert_str_eq(written(1), "3 4 5 5 6 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 "
                                 "33 34 35 36 37 38 39");
    ASSERT_OK(transaction(0, 4, 'd', BOUGH__LAZY));
    ck_assert_str_eq(written(1), "unknown"); /* more than there is room for */
    ck_assert_str_eq(written(5), "");
    ck_assert_str_eq(written(6), "unknown"); /* that is to come */
    close_layer();
}

/* What others commit later is none of an older snapshot's. */
TEST(as_of_the_snapshot)
{
    struct bough__snapshot snapshot = {0};
    uint64_t blocks[MOST];
    size_t count = 0;
    make_store();
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 30, 'a', BOUGH__LAZY));
    ASSERT_OK(transaction(4, 5, 'b', BOUGH__LAZY));
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ASSERT_OK(transaction(7, 9, 'c', BOUGH__LAZY));
    resize(20);
    ck_assert(bough__snapshot_written(blocks, &count, MOST, &snapshot, 1));
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(blocks[0], 4);
    bough__snapshot_release(&snapshot);
    close_layer();
}

TEST(cuts_and_generations)
{
    make_store();
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 30, 'a', BOUGH__LAZY)); /* 1 */
    resize(20);
    ck_assert_str_eq(written(1), "unknown");
    resize(30); /* 3: as long as before, and blocks read as zeros that nobody wrote */
    ck_assert_str_eq(written(1), "unknown");
    ck_assert_str_eq(written(2), "");
    ASSERT_OK(transaction(4, 5, 'b', BOUGH__LAZY));
    ck_assert_str_eq(written(1), "unknown");
    ck_assert_str_eq(written(3), "4");
    checkpoint();
    ck_assert_str_eq(written(3), "unknown");
    ck_assert_str_eq(written(4), "");
    ASSERT_OK(transaction(6, 7, 'c', BOUGH__LAZY));
    ck_assert_str_eq(written(4), "6");
    ck_assert_str_eq(written(3), "unknown");
    close_layer();
}

int main(void)
{
    const struct harness_case cases[] = {CASE(what_was_written_between), CASE(as_of_the_snapshot),
                                         CASE(cuts_and_generations)};
    return harness_run("overlay", cases, COUNT_OF(cases));
}
