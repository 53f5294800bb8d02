/* test_header.c - the database header's bytes, as pure functions. */
#include "harness.h"

#include "header.h"

#include <string.h>

static void make_page(uint8_t page[512], uint8_t write_version, uint8_t read_version)
{
    for (unsigned i = 0; i < 512; i++)
        page[i] = (uint8_t)(i * 7);
    page[18] = write_version;
    page[19] = read_version;
}

TEST(wal_is_shown_as_rollback)
{
    uint8_t page[512];
    make_page(page, 2, 2);
    ck_assert_uint_eq(bough__header_wal(page), 3);
    bough__header_show(page, sizeof(page), 0);
    ck_assert_uint_eq(page[18], 1);
    ck_assert_uint_eq(page[19], 1);
    ck_assert_uint_eq(bough__header_wal(page), 0);
}

TEST(each_version_counts_alone)
{
    uint8_t page[512];
    make_page(page, 2, 1);
    ck_assert_uint_eq(bough__header_wal(page), 1);
    make_page(page, 1, 2);
    ck_assert_uint_eq(bough__header_wal(page), 2);
    make_page(page, 3, 1); /* of a newer SQLite: left alone */
    bough__header_show(page, sizeof(page), 0);
    ck_assert_uint_eq(page[18], 3);
}

TEST(ranges_that_touch_the_versions)
{
    for (uint64_t offset = 0; offset < 30; offset++) {
        for (size_t len = 1; len < 30; len++) {
            uint8_t page[512], expected[512];
            make_page(page, 2, 2);
            memcpy(expected, page, sizeof(page));
            for (uint64_t at = 18; at <= 19; at++)
                if (at >= offset && at < offset + len)
                    expected[at] = 1;
            bough__header_show(page + offset, len, offset);
            ck_assert_mem_eq(page, expected, sizeof(page));
        }
    }
}

TEST(what_said_wal_is_kept)
{
    uint8_t page[512];
    make_page(page, 1, 1);
    ck_assert(!bough__header_keeps(page, 0));
    ck_assert(bough__header_keeps(page, 3));
    bough__header_keep(page, 2);
    ck_assert_uint_eq(page[18], 1);
    ck_assert_uint_eq(page[19], 2);
    bough__header_keep(page, 3);
    ck_assert_uint_eq(page[18], 2);
    ck_assert(!bough__header_keeps(page, 3));
}

TEST(entering_wal_is_recognised)
{
    uint8_t stored[512], page[512];
    make_page(stored, 1, 1);
    make_page(page, 2, 2);
    ck_assert(bough__header_enters_wal(stored, page, sizeof(page)));
    page[27]++; /* the change counter goes with it */
    page[95]++;
    ck_assert(bough__header_enters_wal(stored, page, sizeof(page)));
    page[31]++; /* a page more: this one does something else, too */
    ck_assert(!bough__header_enters_wal(stored, page, sizeof(page)));
    page[31]--;
    page[200]++;
    ck_assert(!bough__header_enters_wal(stored, page, sizeof(page)));
    make_page(page, 1, 1);
    ck_assert(!bough__header_enters_wal(stored, page, sizeof(page)));
}

TEST(first_pages_that_differ_in_the_counter)
{
    static const unsigned places[] = {24, 25, 26, 27, 92, 93, 94, 95};
    uint8_t a[512], b[512];
    make_page(a, 1, 1);
    memcpy(a + 92, a + 24, 4);
    for (unsigned i = 0; i < sizeof(b); i++) {
        memcpy(b, a, sizeof(b));
        b[i]++; /* in one of its places the counter stands alone, and anything else counts */
        ck_assert(!bough__header_same_but_counter(a, b, sizeof(b)));
        ck_assert(!bough__header_same_but_counter(b, a, sizeof(b)));
    }
    b[511]--;
    for (unsigned i = 0; i < COUNT_OF(places); i++)
        b[places[i]] = (uint8_t)(9 + i % 4);
    ck_assert(bough__header_same_but_counter(a, b, sizeof(b)));
    ck_assert_uint_eq(bough__header_counter(b), 0x090a0b0c);
}

TEST(the_counter_moves_in_both_places)
{
    for (uint64_t offset = 0; offset < 100; offset++) {
        for (size_t len = 1; len < 120; len++) {
            uint8_t page[512], expected[512];
            make_page(page, 1, 1);
            memset(page + 24, 0xff, 4);
            memset(page + 92, 0xff, 4);
            memcpy(expected, page, sizeof(page));
            for (unsigned at = 24; at <= 92; at += 68)
                if (offset <= at && at + 4 <= offset + len)
                    memcpy(expected + at, "\0\0\0\4", 4);
            bough__header_add_to_counter(page + offset, len, offset, 5);
            ck_assert_mem_eq(page, expected, sizeof(page));
        }
    }
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(wal_is_shown_as_rollback), CASE(each_version_counts_alone),     CASE(ranges_that_touch_the_versions),
        CASE(what_said_wal_is_kept),    CASE(entering_wal_is_recognised),
        CASE(first_pages_that_differ_in_the_counter), CASE(the_counter_moves_in_both_places),
    };
    return harness_run("header", cases, COUNT_OF(cases));
}
