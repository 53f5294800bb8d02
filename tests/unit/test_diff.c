/* test_diff.c - pages that differ, against a comparison of the bytes. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the callback was told: a line like "c1 c7 a9 ". */
static int note(void *context, char kind, uint64_t page_number)
{
    char *text = context;
    sprintf(text + strlen(text), "%c%llu ", kind, (unsigned long long)page_number);
    return 0;
}

static void expect(bough_store *store, const char *a, const char *b, const char *told)
{
    bough_page_diff diff;
    char text[4096] = "";
    ASSERT_OK(bough_diff_pages(&diff, store, a, b, note, text));
    ck_assert_str_eq(text, told);
    ck_assert(diff.identical == (*told == 0));
    uint64_t changed = 0, added = 0, removed = 0;
    for (const char *c = told; *c; c++) {
        changed += *c == 'c';
        added += *c == 'a';
        removed += *c == 'r';
    }
    ck_assert_uint_eq(diff.changed, changed);
    ck_assert_uint_eq(diff.added, added);
    ck_assert_uint_eq(diff.removed, removed);
    ASSERT_OK(bough_diff_pages(&diff, store, a, b, NULL, NULL));
    ck_assert_uint_eq(diff.changed + diff.added + diff.removed, changed + added + removed);
}

TEST(kinds)
{
    bough_store *store = fixture_store(4);
    fixture_fork(store, "a", "main");
    expect(store, "main", "a", "");
    fixture_write(store, "a", 0, 50);
    fixture_write(store, "a", 3, 0); /* a page of zeros */
    expect(store, "main", "a", "c1 c4 ");
    expect(store, "a", "main", "c1 c4 ");
    fixture_write(store, "a", 6, 51); /* 5 and 6 are zeros: no less added for that */
    expect(store, "main", "a", "c1 c4 a5 a6 a7 ");
    expect(store, "a", "main", "c1 c4 r5 r6 r7 ");
    fixture_resize(store, "a", 2 * FIXTURE_BLOCK);
    expect(store, "main", "a", "c1 r3 r4 ");
    fixture_commit(store, "a", "x");
    expect(store, "main", "a~0", "c1 r3 r4 ");
    expect(store, "a~1", "main", "");
    fixture_write(store, "a", 0, 1);
    expect(store, "main", "a", "r3 r4 ");
    expect(store, "a~0", "a", "c1 ");
    bough_page_diff diff;
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_diff_pages(&diff, store, "main", "nothing", NULL, NULL));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_diff_pages(&diff, store, "nothing", "main", NULL, NULL));
    bough_store_close(store);
}

TEST(a_short_last_page)
{
    bough_store *store = fixture_store(3);
    fixture_fork(store, "a", "main");
    fixture_write(store, "a", 2, 0);
    fixture_resize(store, "a", 2 * FIXTURE_BLOCK + 100);
    fixture_fork(store, "b", "a");
    fixture_resize(store, "b", 2 * FIXTURE_BLOCK + 200);
    expect(store, "a", "b", "c3 "); /* zeros both, but not as many */
    expect(store, "b", "a", "c3 ");
    fixture_resize(store, "b", 4 * FIXTURE_BLOCK);
    expect(store, "a", "b", "c3 a4 ");
    bough_store_close(store);
}

TEST(empty)
{
    bough_store *store = fixture_store(0);
    fixture_fork(store, "a", "main");
    expect(store, "main", "a", "");
    fixture_write(store, "a", 1, 9);
    expect(store, "main", "a", "a1 a2 ");
    expect(store, "a", "main", "r1 r2 ");
    bough_store_close(store);
}

static int stop_at_two(void *context, char kind, uint64_t page_number)
{
    (void)kind;
    (void)page_number;
    return ++*(int *)context == 2 ? 1 : 0;
}

TEST(the_callback_may_stop_it)
{
    bough_store *store = fixture_store(4);
    bough_page_diff diff;
    int calls = 0;
    fixture_fork(store, "a", "main");
    fixture_fill(store, "a", 0, 3, 77);
    ck_assert_int_eq(bough_diff_pages(&diff, store, "main", "a", stop_at_two, &calls), 1);
    ck_assert_int_eq(calls, 2);
    calls = 0;
    fixture_resize(store, "a", 0);
    ck_assert_int_eq(bough_diff_pages(&diff, store, "main", "a", stop_at_two, &calls), 1);
    ck_assert_int_eq(calls, 2);
    bough_store_close(store);
}

/* ---- page sizes ---- */

static int read_byte(void *context, uint64_t offset, void *buffer, size_t len_bytes)
{
    (void)offset;
    memset(buffer, *(uint8_t *)context, len_bytes);
    return BOUGH_OK;
}

static void import_with(bough_store *store, const char *branch, uint32_t page_size, uint64_t size_bytes, uint8_t byte)
{
    bough_transfer transfer;
    struct bough__source source = {
        .size_bytes = size_bytes, .page_size = page_size, .context = &byte, .read = read_byte, .mode = 0600};
    ASSERT_OK(bough__store_import(&transfer, store, branch, &source, NULL));
    bough_transfer_release(&transfer);
}

TEST(different_page_sizes)
{
    bough_store *store = fixture_store(4);
    fixture_fork(store, "a", "main");
    fixture_fork(store, "b", "main");
    import_with(store, "a", 512, 4096, 7);
    import_with(store, "b", 2048, 4096, 7);
    expect(store, "a", "b", ""); /* the same bytes */
    import_with(store, "b", 2048, 4096, 8);
    expect(store, "b", "a", "r1 r2 a1 a2 a3 a4 a5 a6 a7 a8 ");
    import_with(store, "b", 2048, 6144, 7);
    expect(store, "b", "a", "r1 r2 r3 a1 a2 a3 a4 a5 a6 a7 a8 ");
    bough_store_close(store);
}

/* ---- random states ---- */

TEST(random_states)
{
    struct harness_random random = {harness_number("BOUGH_SEED", 11)};
    bough_store *store = fixture_store(200);
    static const char *const names[] = {"main", "a", "b"};
    uint8_t model[3][600];
    uint64_t sizes[3] = {200, 200, 200};
    fixture_fork(store, "a", "main");
    fixture_fork(store, "b", "a");
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 600; j++)
            model[i][j] = j < 200 ? (uint8_t)(j + 1) : 0;
    for (int round = 0; round < 60; round++) {
        size_t x = harness_below(&random, 3), y = harness_below(&random, 3);
        uint64_t block = harness_below(&random, 600);
        if (harness_below(&random, 5) == 0) {
            fixture_resize(store, names[x], block * FIXTURE_BLOCK);
            memset(model[x] + block, 0, 600 - block);
            sizes[x] = block;
        } else {
            uint8_t byte = (uint8_t)harness_below(&random, 3);
            fixture_write(store, names[x], block, byte);
            model[x][block] = byte;
            sizes[x] = sizes[x] > block ? sizes[x] : block + 1;
        }
        if (harness_below(&random, 4) == 0)
            fixture_commit(store, names[x], "");
        uint64_t common = sizes[x] < sizes[y] ? sizes[x] : sizes[y], changed = 0;
        for (uint64_t i = 0; i < common; i++)
            changed += model[x][i] != model[y][i];
        bough_page_diff diff;
        ASSERT_OK(bough_diff_pages(&diff, store, names[x], names[y], NULL, NULL));
        ck_assert_uint_eq(diff.changed, changed);
        ck_assert_uint_eq(diff.removed, sizes[x] - common);
        ck_assert_uint_eq(diff.added, sizes[y] - common);
        ck_assert(diff.identical == (changed == 0 && sizes[x] == sizes[y]));
    }
    bough_store_close(store);
}

int main(void)
{
    static const struct harness_case cases[] = {CASE(kinds),
                                                CASE(a_short_last_page),
                                                CASE(empty),
                                                CASE(the_callback_may_stop_it),
                                                CASE(different_page_sizes),
                                                CASE(random_states)};
    return harness_run("diff", cases, COUNT_OF(cases));
}
