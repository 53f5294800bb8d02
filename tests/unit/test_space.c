/* test_space.c - the identity of a store, and who shares what. */
#include "harness.h"

#include "bough.h"
#include "codec.h"
#include "os.h"
#include "space.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static char *make(const char *name)
{
    char *directory = strdup(harness_path(name)), path[4096];
    static const char *const parts[] = {"", "/layers", "/nodes", "/run"};
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        snprintf(path, sizeof path, "%s%s", directory, parts[i]);
        ck_assert_int_eq(mkdir(path, 0700), 0);
    }
    ASSERT_OK(bough__space_create(directory, 0640));
    return directory;
}

static const char *identity(const char *directory)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/db", directory);
    return path;
}

TEST(opens_what_was_made)
{
    struct bough__space *space = NULL, *again = NULL;
    struct stat info;
    char *directory = make("a");
    ASSERT_OK(bough__space_open(&space, directory));
    ck_assert_str_eq(space->directory, directory);
    ck_assert_uint_eq(space->mode, 0640);
    ck_assert(!bough__is_zero(space->uuid, sizeof space->uuid));
    ck_assert_uint_eq(space->store_key, bough__xxh(space->uuid, sizeof space->uuid, 0));
    ck_assert_int_eq(stat(identity(directory), &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0640);
    ASSERT_OK(bough__space_open(&again, directory));
    ck_assert_ptr_eq(space, again);
    bough__space_retain(space);
    bough__space_close(space);
    bough__space_close(space);
    bough__space_close(space);
    bough__space_close(NULL);
    free(directory);
}

TEST(owner_keeps_the_right_to_write)
{
    struct stat info;
    char *directory = strdup(harness_path("a"));
    ck_assert_int_eq(mkdir(directory, 0700), 0);
    ASSERT_OK(bough__space_create(directory, 0444));
    ck_assert_int_eq(stat(identity(directory), &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0644);
    ASSERT_CODE(BOUGH_IO, bough__space_create(directory, 0444)); /* never over an existing one */
    free(directory);
}

TEST(missing)
{
    struct bough__space *space = (struct bough__space *)1;
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__space_open(&space, harness_path("nothing")));
    ck_assert_ptr_null(space);
    ck_assert_int_eq(mkdir(harness_path("empty"), 0700), 0);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__space_open(&space, harness_path("empty")));
    harness_write_file(harness_path("file"), "x", 1);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__space_open(&space, harness_path("file")));
}

TEST(every_flipped_bit_of_the_header_is_found)
{
    struct bough__space *space = NULL;
    char *directory = make("a");
    size_t len = 0;
    uint8_t *bytes = harness_read_file(identity(directory), &len);
    ck_assert_uint_gt(len, 56);
    for (size_t bit = 0; bit < 56 * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        harness_write_file(identity(directory), bytes, len);
        ASSERT_CODE(BOUGH_CORRUPT, bough__space_open(&space, directory));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    harness_write_file(identity(directory), bytes, len);
    ASSERT_OK(bough__space_open(&space, directory));
    bough__space_close(space);
    for (size_t size = 0; size < 56; size += 5) {
        harness_write_file(identity(directory), bytes, size);
        ASSERT_CODE(BOUGH_CORRUPT, bough__space_open(&space, directory));
    }
    free(bytes);
    free(directory);
}

static void rewrite(const char *directory, size_t offset, uint32_t value)
{
    size_t len = 0;
    uint8_t *bytes = harness_read_file(identity(directory), &len);
    bough__put32(bytes + offset, value);
    bough__put64(bytes + 48, bough__xxh(bytes, 48, 0));
    harness_write_file(identity(directory), bytes, len);
    free(bytes);
}

TEST(newer_stores)
{
    struct bough__space *space = NULL;
    char *directory = make("a");
    rewrite(directory, 16, BOUGH__FORMAT_VERSION + 1);
    ASSERT_CODE(BOUGH_CORRUPT, bough__space_open(&space, directory));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "newer"));
    rewrite(directory, 16, BOUGH__FORMAT_VERSION);
    rewrite(directory, 20, 1u << 31);
    ASSERT_CODE(BOUGH_CORRUPT, bough__space_open(&space, directory));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "newer"));
    rewrite(directory, 20, 0);
    rewrite(directory, 24, 1u << 31); /* one that a reader may ignore */
    ASSERT_OK(bough__space_open(&space, directory));
    bough__space_close(space);
    free(directory);
}

TEST(symlinks)
{
    struct bough__space *space = NULL, *linked = NULL;
    char *directory = make("a"), *moved = strdup(harness_path("moved"));
    ck_assert_int_eq(symlink(directory, harness_path("link")), 0);
    ASSERT_OK(bough__space_open(&space, directory));
    ASSERT_OK(bough__space_open(&linked, harness_path("link"))); /* to a store: fine */
    ck_assert_ptr_eq(space, linked);
    bough__space_close(space);
    bough__space_close(linked);
    ck_assert_int_eq(rename(identity(directory), moved), 0);
    ck_assert_int_eq(symlink(moved, identity(directory)), 0);
    ASSERT_CODE(BOUGH_CORRUPT, bough__space_open(&space, directory)); /* inside a store: never */
    ck_assert_int_eq(unlink(identity(directory)), 0);
    ck_assert_int_eq(mkfifo(identity(directory), 0600), 0);
    ASSERT_CODE(BOUGH_CORRUPT, bough__space_open(&space, directory));
    free(directory);
    free(moved);
}

TEST(copies_and_moves_share_nothing)
{
    struct bough__space *original = NULL, *copy = NULL, *moved = NULL, *reborn = NULL;
    char *a = make("a"), *b = strdup(harness_path("b"));
    harness_copy_tree(a, b);
    ASSERT_OK(bough__space_open(&original, a));
    ASSERT_OK(bough__space_open(&copy, b));
    ck_assert_ptr_ne(original, copy);
    ck_assert_mem_eq(original->uuid, copy->uuid, sizeof copy->uuid);
    /* The directory moved away under the one who has it open: its path leads nowhere now. */
    ck_assert_int_eq(rename(a, harness_path("c")), 0);
    ASSERT_OK(bough__space_open(&moved, harness_path("c")));
    ck_assert_ptr_ne(original, moved);
    ck_assert_str_eq(moved->directory, harness_path("c"));
    free(make("a"));
    ASSERT_OK(bough__space_open(&reborn, a));
    ck_assert_ptr_ne(original, reborn);
    ck_assert_mem_ne(original->uuid, reborn->uuid, sizeof reborn->uuid);
    bough__space_close(original);
    bough__space_close(copy);
    bough__space_close(moved);
    bough__space_close(reborn);
    free(a);
    free(b);
}

/* ---- network file systems ---- */

static uint32_t file_system;

static int statfs_of_another(const char *path, struct statfs *out)
{
    (void)path;
    memset(out, 0, sizeof *out);
    out->f_type = (__fsword_t)(int32_t)file_system; /* some architectures extend the sign */
    return 0;
}

static int statfs_that_fails(const char *path, struct statfs *out)
{
    (void)path, (void)out;
    errno = EIO;
    return -1;
}

TEST(network_file_systems_are_refused)
{
    static const struct {
        uint32_t magic;
        const char *name; /* NULL: good */
    } cases[] = {{0x6969, "NFS"},  {0xff534d42, "CIFS"}, {0xfe534d42, "SMB"}, {0x01021997, "9P"}, {0x00c36400, "Ceph"},
                 {0xef53, NULL},   {0x58465342, NULL},   {0x9123683e, NULL},  {0x01021994, NULL}, {0x794c7630, NULL},
                 {0x65735546, NULL}};
    struct bough__space *space = NULL;
    char *path = make("s");
    int (*real)(const char *, struct statfs *) = bough__os.statfs;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bough__os.statfs = statfs_of_another;
        file_system = cases[i].magic;
        ASSERT_CODE(cases[i].name ? BOUGH_REFUSED : BOUGH_OK, bough__space_open(&space, path));
        if (cases[i].name)
            ck_assert_ptr_nonnull(strstr(bough_error_message(), cases[i].name));
        bough__space_close(space);
    }
    bough__os.statfs = statfs_that_fails;
    ASSERT_CODE(BOUGH_IO, bough__space_open(&space, path));
    /* A store is not made there, either, and nothing is left of the attempt. */
    bough_transfer made = {0};
    char *fresh = strdup(harness_path("fresh.bough"));
    bough__os.statfs = statfs_of_another;
    file_system = 0x6969;
    ASSERT_CODE(BOUGH_REFUSED, bough_store_init_empty(&made, fresh, NULL));
    bough__os.statfs = real;
    harness_remove_tree(path);
    ck_assert_int_eq(rmdir(harness_directory()), 0);
    ck_assert_int_eq(mkdir(harness_directory(), 0755), 0);
    free(fresh);
    free(path);
}

int main(void)
{
    static const struct harness_case cases[] = {CASE(opens_what_was_made),
                                                CASE(owner_keeps_the_right_to_write),
                                                CASE(missing),
                                                CASE(every_flipped_bit_of_the_header_is_found),
                                                CASE(newer_stores),
                                                CASE(symlinks),
                                                CASE(copies_and_moves_share_nothing),
                                                CASE(network_file_systems_are_refused)};
    return harness_run("space", cases, COUNT_OF(cases));
}
