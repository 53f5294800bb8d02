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

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(wal_is_shown_as_rollback), CASE(each_version_counts_alone),     CASE(ranges_that_touch_the_versions),
        CASE(what_said_wal_is_kept),    CASE(entering_wal_is_recognised),
    };
    return harness_run("header", cases, COUNT_OF(cases));
}
