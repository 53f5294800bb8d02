/* test_os.c - the helpers over the table of system calls. */
#include "error.h"
#include "harness.h"
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int open_new(const char *path)
{
    int fd = -1;
    ASSERT_OK(bough__os_open(&fd, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
    return fd;
}

TEST(open_maps_errors)
{
    int fd = 7;
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__os_open(&fd, harness_path("absent"), O_RDONLY, 0));
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(symlink("target", harness_path("link")), 0);
    ASSERT_CODE(BOUGH_CORRUPT, bough__os_open(&fd, harness_path("link"), O_RDONLY | O_NOFOLLOW, 0));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), harness_path("link")));
    bough__os_close(&fd);
}

TEST(descriptor_is_never_a_standard_stream)
{
    close(STDIN_FILENO);
    int fd = open_new(harness_path("file"));
    ck_assert_int_gt(fd, 2);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    ck_assert_int_eq(fcntl(STDIN_FILENO, F_GETFD), -1);
    bough__os_close(&fd);
    ck_assert_int_eq(fd, -1);
}

static ssize_t short_pwrite(int fd, const void *buffer, size_t len, off_t offset)
{
    return pwrite(fd, buffer, len > 3 ? 3 : len, offset);
}

static ssize_t short_pread(int fd, void *buffer, size_t len, off_t offset)
{
    static int calls;
    if (++calls % 2) {
        errno = EINTR;
        return -1;
    }
    return pread(fd, buffer, len > 2 ? 2 : len, offset);
}

TEST(short_transfers_are_continued)
{
    bough__os.pwrite = short_pwrite;
    bough__os.pread = short_pread;
    const char *path = harness_path("file");
    int fd = open_new(path);
    char back[12] = "";
    ASSERT_OK(bough__os_write(fd, "hello world", 11, 5, path));
    ASSERT_OK(bough__os_read(fd, back, 11, 5, path));
    ck_assert_str_eq(back, "hello world");
    uint64_t size = 0;
    ASSERT_OK(bough__os_size(&size, fd, path));
    ck_assert_uint_eq(size, 16);
    bough__os_close(&fd);
}

TEST(reading_past_the_end_is_damage)
{
    const char *path = harness_path("file");
    int fd = open_new(path);
    char back[8];
    size_t len = 9;
    ASSERT_OK(bough__os_write(fd, "abc", 3, 0, path));
    ASSERT_CODE(BOUGH_CORRUPT, bough__os_read(fd, back, 4, 0, path));
    ASSERT_OK(bough__os_read_some(&len, fd, back, 4, 1, path));
    ck_assert_uint_eq(len, 2);
    ASSERT_OK(bough__os_read_some(&len, fd, back, 4, 100, path));
    ck_assert_uint_eq(len, 0);
    bough__os_close(&fd);
}

static ssize_t full_pwrite(int fd, const void *buffer, size_t len, off_t offset)
{
    (void)fd, (void)buffer, (void)len, (void)offset;
    errno = ENOSPC;
    return -1;
}

static int failing_sync(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

TEST(failures_are_codes)
{
    const char *path = harness_path("file");
    int fd = open_new(path);
    bough__os.pwrite = full_pwrite;
    ASSERT_CODE(BOUGH_FULL, bough__os_write(fd, "abc", 3, 0, path));
    bough__os.fdatasync = failing_sync;
    ASSERT_CODE(BOUGH_IO, bough__os_sync(fd, path));
    bough__os.fsync = failing_sync;
    ASSERT_CODE(BOUGH_IO, bough__os_sync_directory(harness_directory()));
    bough__os_close(&fd);
}

TEST(directory_can_be_synced)
{
    ASSERT_OK(bough__os_sync_directory(harness_directory()));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__os_sync_directory(harness_path("absent")));
}

TEST(locks_belong_to_the_descriptor)
{
    const char *path = harness_path("file");
    int a = open_new(path), b = open_new(path);
    ASSERT_OK(bough__os_lock(a, 5, BOUGH__EXCLUSIVE, path));
    ck_assert(!bough__os_is_locked(a, 5));
    ck_assert(bough__os_is_locked(b, 5));
    ck_assert(!bough__os_is_locked(b, 6));
    ASSERT_CODE(BOUGH_BUSY, bough__os_lock(b, 5, BOUGH__SHARED, path));
    ASSERT_CODE(BOUGH_BUSY, bough__os_lock_wait(b, 5, BOUGH__EXCLUSIVE, 3, path));
    ASSERT_OK(bough__os_lock(b, 6, BOUGH__EXCLUSIVE, path));
    int c = open_new(path);
    bough__os_close(&c); /* closing another descriptor of the file loses nothing */
    ck_assert(bough__os_is_locked(b, 5));
    ASSERT_OK(bough__os_lock(a, 5, BOUGH__SHARED, path));
    ASSERT_OK(bough__os_lock(b, 5, BOUGH__SHARED, path));
    ck_assert(bough__os_is_locked(b, 5));
    ASSERT_OK(bough__os_lock(a, 5, BOUGH__UNLOCK, path));
    ASSERT_OK(bough__os_lock_wait(b, 5, BOUGH__EXCLUSIVE, 1000, path));
    bough__os_close(&a);
    bough__os_close(&b);
}

TEST(machine_answers)
{
    uint8_t boot[16], again[16], random[2][32] = {{0}};
    bough__os_boot_id(boot);
    bough__os_boot_id(again);
    ck_assert_mem_eq(boot, again, sizeof boot);
    ASSERT_OK(bough__os_random(random[0], sizeof random[0]));
    ASSERT_OK(bough__os_random(random[1], sizeof random[1]));
    ck_assert_mem_ne(random[0], random[1], sizeof random[0]);
    ck_assert_int_gt(bough__os_now_ms(), 1600000000000);
}

static unsigned seeks;

static off_t counted_lseek(int fd, off_t offset, int whence)
{
    seeks++;
    return lseek(fd, offset, whence);
}

/* 64 KiB of data and of holes by turns, then a mebibyte of data; looked at in small ranges, given back in places. */
TEST(ranges_that_take_room)
{
    enum { STEP = 65536, PIECE = 4096, HOLES = 16, END = STEP * 2 * HOLES + (1 << 20) };
    static uint8_t bytes[1 << 20];
    struct bough__os_run run = {0};
    uint64_t sum = 0;
    int fd = -1;
    memset(bytes, 7, sizeof bytes);
    ASSERT_OK(bough__os_open(&fd, harness_path("holes"), O_RDWR | O_CREAT, 0600));
    for (uint64_t i = 0; i < HOLES; i++)
        ASSERT_OK(bough__os_write(fd, bytes, STEP, i * 2 * STEP, "holes"));
    ASSERT_OK(bough__os_write(fd, bytes, sizeof bytes, STEP * 2 * HOLES, "holes"));
    ck_assert_uint_eq(bough__os_allocated(fd, 0, END, &run), STEP * HOLES + sizeof bytes);
    run = (struct bough__os_run){0};
    ck_assert_uint_eq(bough__os_allocated(fd, STEP + 1, STEP, &run), 1);
    run = (struct bough__os_run){0};
    bough__os.lseek = counted_lseek;
    for (uint64_t at = 0; at < END; at += PIECE) {
        uint64_t found = bough__os_allocated(fd, at, PIECE, &run);
        ck_assert_uint_eq(found, at >= STEP * 2 * HOLES || at / STEP % 2 == 0 ? PIECE : 0);
        if (found != 0 && at / PIECE % 3 == 0)
            ASSERT_OK(bough__os_punch(fd, at, PIECE, "holes"));
    }
    ck_assert_uint_le(seeks, 2 * (HOLES + 1));
    bough__os.lseek = lseek;
    run = (struct bough__os_run){0};
    for (uint64_t at = 0; at < END; at += PIECE)
        sum += bough__os_allocated(fd, at, PIECE, &run);
    run = (struct bough__os_run){0};
    ck_assert_uint_eq(sum, bough__os_allocated(fd, 0, END, &run));
    ck_assert_uint_lt(sum, STEP * HOLES + sizeof bytes);
    ck_assert_uint_eq(bough__os_allocated(fd, END, PIECE, &run), 0);
    bough__os_close(&fd);
}

static void *no_malloc(size_t len)
{
    (void)len;
    return NULL;
}

static void *no_realloc(void *old, size_t len)
{
    (void)old, (void)len;
    return NULL;
}

TEST(memory_is_zeroed_and_may_run_out)
{
    uint8_t *bytes = bough__alloc(100);
    for (size_t i = 0; i < 100; i++)
        ck_assert_uint_eq(bytes[i], 0);
    bytes[0] = 9;
    bytes = bough__realloc(bytes, 10000);
    ck_assert_uint_eq(bytes[0], 9);
    char *copy = bough__strdup("text"), *formatted = bough__format("%s-%d", "a", 5);
    ck_assert_str_eq(copy, "text");
    ck_assert_str_eq(formatted, "a-5");
    free(copy);
    free(formatted);
    bough__os.malloc = no_malloc;
    bough__os.realloc = no_realloc;
    bough__fail(BOUGH_IO, "something else");
    ck_assert_ptr_null(bough__alloc(1));
    ck_assert_str_eq(bough_error_message(), "out of memory");
    ck_assert_ptr_null(bough__strdup("text"));
    ck_assert_ptr_null(bough__format("%d", 1));
    ck_assert_ptr_null(bough__realloc(bytes, 20000));
    free(bytes);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(open_maps_errors),
        CASE(descriptor_is_never_a_standard_stream),
        CASE(short_transfers_are_continued),
        CASE(reading_past_the_end_is_damage),
        CASE(failures_are_codes),
        CASE(directory_can_be_synced),
        CASE(locks_belong_to_the_descriptor),
        CASE(machine_answers),
        CASE(ranges_that_take_room),
        CASE(memory_is_zeroed_and_may_run_out),
    };
    return harness_run("os", cases, COUNT_OF(cases));
}
