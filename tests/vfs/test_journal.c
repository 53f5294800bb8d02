/* test_journal.c - the virtual journal against a plain array of bytes, with and without a database that holds the
 * pages. Random writes like the pager's, and unlike them. Prints the seed.
 */
#include "harness.h"

#include "journal.h"
#include "process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE_BYTES 1024
#define PAGES 4000
#define MODEL_MAX (12U << 20)

/* A database of PAGES pages, each the page's number over and over. */
struct pages {
    uint32_t page_bytes;
    unsigned reads;
};

static void fill_page(uint8_t *out, uint64_t block)
{
    for (unsigned i = 0; i < PAGE_BYTES; i += 8)
        memcpy(out + i, &block, 8);
}

static uint32_t pages_size(void *context)
{
    return ((struct pages *)context)->page_bytes;
}

static bool pages_hold(void *context, uint64_t block, const void *page)
{
    (void)context;
    uint8_t expected[PAGE_BYTES];
    fill_page(expected, block);
    return block < PAGES && memcmp(expected, page, PAGE_BYTES) == 0;
}

static int pages_read(void *context, uint64_t block, void *out)
{
    ((struct pages *)context)->reads++;
    fill_page(out, block);
    return SQLITE_OK;
}

struct fixture {
    struct pages pages;
    struct bough__journal *journal;
    sqlite3_file *file;
    uint8_t *model;
    size_t size;
};

static void setup(struct fixture *f, uint32_t page_bytes)
{
    memset(f, 0, sizeof(*f));
    f->pages.page_bytes = page_bytes;
    f->file = calloc(1, (size_t)bough__journal_handle_bytes());
    f->model = calloc(1, MODEL_MAX);
    struct bough__journal_pages pages = {&f->pages, pages_size, pages_hold, pages_read};
    ck_assert_int_eq(sqlite3_initialize(), SQLITE_OK);
    ck_assert_int_eq(bough__journal_open(f->file, sqlite3_vfs_find(NULL), &pages, &f->journal), SQLITE_OK);
}

static void teardown(struct fixture *f)
{
    ck_assert_int_eq(f->file->pMethods->xClose(f->file), SQLITE_OK);
    ck_assert_ptr_null(f->journal);
    free(f->file);
    free(f->model);
}

static void write_both(struct fixture *f, size_t offset, const void *bytes, size_t len)
{
    ck_assert_uint_le(offset + len, MODEL_MAX);
    ck_assert_int_eq(f->file->pMethods->xWrite(f->file, bytes, (int)len, (sqlite3_int64)offset), SQLITE_OK);
    memcpy(f->model + offset, bytes, len);
    f->size = offset + len > f->size ? offset + len : f->size;
}

static void cut_both(struct fixture *f, size_t size)
{
    ck_assert_int_eq(f->file->pMethods->xTruncate(f->file, (sqlite3_int64)size), SQLITE_OK);
    if (size < f->size)
        memset(f->model + size, 0, f->size - size);
    f->size = size;
}

static void check_range(struct fixture *f, size_t offset, size_t len)
{
    uint8_t *out = malloc(len + 1);
    memset(out, 0xee, len);
    int rc = f->file->pMethods->xRead(f->file, out, (int)len, (sqlite3_int64)offset);
    ck_assert_int_eq(rc, offset + len <= f->size ? SQLITE_OK : SQLITE_IOERR_SHORT_READ);
    for (size_t i = 0; i < len; i++) {
        uint8_t expected = offset + i < f->size ? f->model[offset + i] : 0;
        if (out[i] != expected)
            ck_abort_msg("byte %zu of the journal (%zu) is %u, not %u", offset + i, f->size, out[i], expected);
    }
    free(out);
}

static void check_all(struct fixture *f)
{
    sqlite3_int64 size = 0;
    ck_assert_int_eq(f->file->pMethods->xFileSize(f->file, &size), SQLITE_OK);
    ck_assert_int_eq(size, (sqlite3_int64)f->size);
    for (size_t at = 0; at < f->size; at += 1U << 20)
        check_range(f, at, f->size - at < 1U << 20 ? f->size - at : 1U << 20);
}

static void put_number(uint8_t out[4], uint32_t number)
{
    for (unsigned i = 0; i < 4; i++)
        out[i] = (uint8_t)(number >> (24 - 8 * i));
}

/* Three writes, as the pager makes them. */
static void add_record(struct fixture *f, uint32_t number, const uint8_t *image, uint32_t checksum)
{
    uint8_t bytes[4];
    put_number(bytes, number);
    write_both(f, f->size, bytes, 4);
    write_both(f, f->size, image, PAGE_BYTES);
    put_number(bytes, checksum);
    write_both(f, f->size, bytes, 4);
}

TEST(pages_that_the_database_holds_are_left_out)
{
    struct fixture f;
    uint8_t image[PAGE_BYTES];
    setup(&f, PAGE_BYTES);
    for (uint32_t number = 1; number <= PAGES; number++) {
        fill_page(image, number - 1);
        add_record(&f, number, image, number * 3);
    }
    /* 4 MB of images; up to 256 KiB are kept, and 8 bytes of each of the others. */
    ck_assert_uint_lt(bough__journal_stored_bytes(f.journal), 300000);
    check_all(&f);
    ck_assert_uint_gt(f.pages.reads, PAGES / 2);
    teardown(&f);
}

TEST(other_bytes_are_kept_as_they_are)
{
    struct fixture f;
    uint8_t image[PAGE_BYTES];
    setup(&f, PAGE_BYTES);
    for (uint32_t number = 1; number <= PAGES; number++) {
        fill_page(image, number - 1);
        image[number % PAGE_BYTES] ^= 1;
        add_record(&f, number, image, number);
    }
    ck_assert_uint_gt(bough__journal_stored_bytes(f.journal), PAGES * PAGE_BYTES);
    check_all(&f);
    ck_assert_uint_eq(f.pages.reads, 0);
    teardown(&f);
}

TEST(page_1_is_kept)
{
    struct fixture f;
    uint8_t image[PAGE_BYTES];
    setup(&f, PAGE_BYTES);
    fill_page(image, 0);
    for (unsigned i = 0; i < 1000; i++)
        add_record(&f, 1, image, i);
    ck_assert_uint_gt(bough__journal_stored_bytes(f.journal), 1000 * PAGE_BYTES);
    teardown(&f);
}

TEST(a_database_of_another_block_size_holds_nothing)
{
    struct fixture f;
    uint8_t image[PAGE_BYTES];
    setup(&f, 0);
    for (uint32_t number = 1; number <= 1000; number++) {
        fill_page(image, number - 1);
        add_record(&f, number, image, number);
    }
    ck_assert_uint_eq(bough__journal_stored_bytes(f.journal), f.size);
    teardown(&f);
}

/* A rollback that found the name would not believe the journal once the super-journal is gone. */
TEST(the_name_of_a_super_journal_is_not_kept)
{
    struct fixture f;
    uint8_t bytes[64];
    static const uint8_t mark[8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7}, zeros[8];
    setup(&f, PAGE_BYTES);
    memset(bytes, 'n', sizeof(bytes));
    memcpy(bytes, mark, sizeof(mark));
    write_both(&f, 0, bytes, sizeof(bytes)); /* a header */
    write_both(&f, f.size, "name", 4);
    for (size_t back = 0; back <= 4; back += 4) { /* at the end, and over what stands there */
        size_t at = f.size - back;
        ck_assert_int_eq(f.file->pMethods->xWrite(f.file, mark, 8, (sqlite3_int64)at), SQLITE_OK);
        f.size = at + 8;
        memcpy(f.model + at, zeros, 8);
        check_all(&f);
    }
    teardown(&f);
}

TEST(a_zeroed_header_ends_the_journal)
{
    struct fixture f;
    uint8_t image[PAGE_BYTES];
    static const uint8_t zeros[28];
    setup(&f, PAGE_BYTES);
    for (uint32_t number = 1; number <= 1000; number++) {
        fill_page(image, number - 1);
        add_record(&f, number, image, number);
    }
    cut_both(&f, 0); /* what the model has to do for it */
    write_both(&f, 0, zeros, sizeof(zeros));
    check_all(&f);
    bough__journal_clear(f.journal);
    f.size = 0;
    check_all(&f);
    teardown(&f);
}

TEST(detached_from_its_database_it_is_empty)
{
    struct fixture f;
    uint8_t image[PAGE_BYTES];
    setup(&f, PAGE_BYTES);
    for (uint32_t number = 1; number <= 1000; number++) {
        fill_page(image, number - 1);
        add_record(&f, number, image, number);
    }
    bough__journal_detach(f.journal);
    ck_assert_ptr_null(f.journal);
    f.size = 0;
    check_all(&f);
    teardown(&f);
}

static void random_step(struct fixture *f, struct harness_random *random)
{
    static uint8_t bytes[8192];
    uint32_t number = (uint32_t)harness_below(random, PAGES + 20);
    size_t len = harness_below(random, sizeof(bytes)) + 1, offset = harness_below(random, f->size + 2000);
    switch (harness_below(random, 40)) {
    case 0: /* anywhere, across the end or beyond it */
        harness_fill(random, bytes, len);
        write_both(f, offset, bytes, len);
        break;
    case 1: /* a number alone, then something else */
        put_number(bytes, number);
        write_both(f, f->size, bytes, 4);
        break;
    case 2: /* a header, at the next sector */
        harness_fill(random, bytes, 512);
        write_both(f, (f->size + 511) / 512 * 512, bytes, 512);
        break;
    case 3:
        if (harness_below(random, 8) == 0)
            cut_both(f, harness_below(random, f->size + 600));
        break;
    case 4: /* an image without its checksum */
        put_number(bytes, number);
        write_both(f, f->size, bytes, 4);
        fill_page(bytes, (uint64_t)number - 1);
        write_both(f, f->size, bytes, PAGE_BYTES);
        break;
    case 5: /* a patch of 4 bytes somewhere */
        if (f->size > 4)
            write_both(f, offset < f->size - 4 ? offset : 0, "\1\2\3\4", 4);
        break;
    case 6:
        check_range(f, offset, len);
        break;
    default:
        fill_page(bytes, (uint64_t)number - 1);
        if (harness_below(random, 5) == 0)
            bytes[number % PAGE_BYTES] ^= 0xff;
        add_record(f, number, bytes, number);
    }
}

TEST(a_child_leaves_the_journal_of_its_parent_alone)
{
    static uint8_t bytes[60000];
    struct fixture f;
    bough__process_watch();
    setup(&f, 0);
    memset(bytes, 'p', sizeof(bytes));
    while (f.size < 4U << 20) /* most of it is in the temporary file, which the child has open too */
        write_both(&f, f.size, bytes, sizeof(bytes));
    pid_t child = fork();
    if (child == 0) {
        memset(bytes, 'c', sizeof(bytes));
        bool is_refused = f.file->pMethods->xWrite(f.file, bytes, sizeof(bytes), 0) == SQLITE_IOERR_WRITE &&
                          f.file->pMethods->xRead(f.file, bytes, sizeof(bytes), 0) == SQLITE_IOERR_READ &&
                          f.file->pMethods->xTruncate(f.file, 0) == SQLITE_IOERR_TRUNCATE &&
                          f.file->pMethods->xClose(f.file) == SQLITE_OK;
        _exit(is_refused ? 0 : 1);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    check_all(&f);
    teardown(&f);
}

TEST(random_writes_against_an_array)
{
    uint64_t seed = harness_number("BOUGH_SEED", 20261121);
    for (uint64_t round = 0; round < harness_number("BOUGH_ROUNDS", 6); round++) {
        struct harness_random random = {seed + round};
        struct fixture f;
        printf("journal: seed %llu\n", (unsigned long long)(seed + round));
        setup(&f, PAGE_BYTES);
        for (unsigned step = 0; step < 5000 && f.size < MODEL_MAX - 20000; step++) {
            random_step(&f, &random);
            if (step % 500 == 0)
                check_all(&f);
        }
        check_all(&f);
        teardown(&f);
    }
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(pages_that_the_database_holds_are_left_out),
        CASE(other_bytes_are_kept_as_they_are),
        CASE(page_1_is_kept),
        CASE(a_database_of_another_block_size_holds_nothing),
        CASE(the_name_of_a_super_journal_is_not_kept),
        CASE(a_zeroed_header_ends_the_journal),
        CASE(detached_from_its_database_it_is_empty),
        CASE(a_child_leaves_the_journal_of_its_parent_alone),
        CASE(random_writes_against_an_array),
    };
    return harness_run("journal", cases, COUNT_OF(cases));
}
