/* test_files.c - reads through the bounded pool of descriptors and mappings. */
#include "bough.h"
#include "files.h"
#include "harness.h"
#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define WINDOW ((uint64_t)64 << 20)
#define MAX_DESCRIPTORS 64
#define MAX_WINDOWS 256

static struct bough__files *open_files(void)
{
    struct bough__files *files = NULL;
    ck_assert_int_eq(mkdir(harness_path("layers"), 0755), 0);
    ck_assert_int_eq(mkdir(harness_path("nodes"), 0755), 0);
    ASSERT_OK(bough__files_open(&files, harness_directory()));
    return files;
}

static const char *path_of(enum bough__file_kind kind, uint32_t number)
{
    char name[BOUGH__FILE_NAME_SIZE];
    bough__file_name(name, kind, number);
    return harness_path(name);
}

static void write_at(const char *path, uint64_t offset, const void *bytes, size_t len_bytes)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, len_bytes, (off_t)offset), (ssize_t)len_bytes);
    close(fd);
}

/* Makes a layer that holds its own number at the start of it. */
static void write_number(uint32_t number)
{
    write_at(path_of(BOUGH__LAYER_FILE, number), 0, &number, sizeof number);
}

static void expect_number(struct bough__files *files, uint32_t number, bool use_mapping)
{
    uint32_t found = 0;
    ASSERT_OK(bough__files_read(files, BOUGH__LAYER_FILE, number, 0, &found, sizeof found, use_mapping));
    ck_assert_uint_eq(found, number);
}

/* Descriptors of this process that are open on a layer or node file. */
static unsigned open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(directory);
    unsigned count = 0;
    for (struct dirent *entry = NULL; (entry = readdir(directory));) {
        char target[512];
        ssize_t len = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);
        if (len > 0) {
            target[len] = 0;
            count += strstr(target, ".layer") || strstr(target, ".nodes");
        }
    }
    closedir(directory);
    return count;
}

static unsigned mapped_windows(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    ck_assert_ptr_nonnull(maps);
    unsigned count = 0;
    char line[1024];
    while (fgets(line, sizeof line, maps)) {
        unsigned long start = 0, end = 0;
        if (strstr(line, ".layer") && sscanf(line, "%lx-%lx", &start, &end) == 2)
            count += (unsigned)((end - start + WINDOW - 1) / WINDOW); /* neighbours show as one line */
    }
    fclose(maps);
    return count;
}

TEST(names)
{
    char name[BOUGH__FILE_NAME_SIZE];
    bough__file_name(name, BOUGH__LAYER_FILE, 12);
    ck_assert_str_eq(name, "layers/12.layer");
    bough__file_name(name, BOUGH__NODE_FILE, UINT32_MAX);
    ck_assert_str_eq(name, "nodes/4294967295.nodes");
}

TEST(reads_what_was_written)
{
    struct bough__files *files = open_files();
    struct harness_random random = {1};
    static uint8_t bytes[300000], found[sizeof bytes];
    harness_fill(&random, bytes, sizeof bytes);
    write_at(path_of(BOUGH__LAYER_FILE, 7), 0, bytes, sizeof bytes);
    write_at(path_of(BOUGH__NODE_FILE, 7), 0, bytes + 1, sizeof bytes - 1);
    uint64_t expected = 0;
    for (int i = 0; i < 2000; i++) {
        size_t offset = harness_below(&random, sizeof bytes), len = harness_below(&random, sizeof bytes - offset);
        bool is_node = i % 2 == 0 && offset > 0;
        memset(found, 0xee, sizeof found);
        ASSERT_OK(bough__files_read(files, is_node ? BOUGH__NODE_FILE : BOUGH__LAYER_FILE, 7,
                                    is_node ? offset - 1 : offset, found, len, i % 3 != 0));
        ck_assert_mem_eq(found, bytes + offset, len);
        ck_assert_uint_eq(found[len], 0xee);
        expected += len;
    }
    ck_assert_uint_eq(bough__files_bytes_read(files), expected);
    bough__files_close(files);
    ck_assert_uint_eq(open_descriptors(), 0);
    ck_assert_uint_eq(mapped_windows(), 0);
}

TEST(reads_across_windows)
{
    struct bough__files *files = open_files();
    struct harness_random random = {2};
    uint8_t bytes[8192], found[sizeof bytes];
    harness_fill(&random, bytes, sizeof bytes);
    write_at(path_of(BOUGH__LAYER_FILE, 1), WINDOW - 5000, bytes, sizeof bytes);
    for (int turn = 0; turn < 4; turn++) {
        memset(found, 0, sizeof found);
        ASSERT_OK(bough__files_read(files, BOUGH__LAYER_FILE, 1, WINDOW - 5000, found, sizeof found, turn % 2 == 0));
        ck_assert_mem_eq(found, bytes, sizeof bytes);
    }
    bough__files_close(files);
}

TEST(nothing_beyond_the_end)
{
    struct bough__files *files = open_files();
    uint8_t bytes[10000] = {1}, found[20000];
    write_at(path_of(BOUGH__LAYER_FILE, 1), 0, bytes, sizeof bytes);
    static const struct {
        uint64_t offset;
        size_t len;
    } beyond[] = {
        {9999, 2}, {10000, 1}, {0, 10001}, {16384, 1}, {WINDOW - 1, 1}, {WINDOW, 1}, {WINDOW - 1, 2}, {UINT64_MAX, 1},
        {UINT64_MAX - 1, 2}, {UINT64_C(1) << 56, 1}, {UINT64_C(1) << 63, 10}, {9000, SIZE_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(beyond); i++)
        for (int mapping = 0; mapping < 2; mapping++) {
            ASSERT_CODE(BOUGH_CORRUPT, bough__files_read(files, BOUGH__LAYER_FILE, 1, beyond[i].offset, found,
                                                         beyond[i].len, mapping));
            ck_assert_msg(strstr(bough_error_message(), "1.layer") != NULL, "%s", bough_error_message());
            ASSERT_OK(bough__files_read(files, BOUGH__LAYER_FILE, 1, 9999, found, 1, true));
        }
    bough__files_close(files);
}

TEST(sees_growth)
{
    struct bough__files *files = open_files();
    const char *path = path_of(BOUGH__LAYER_FILE, 1);
    for (uint64_t size = 0; size < 100000; size += 3000) {
        uint64_t found = 0;
        ASSERT_CODE(BOUGH_CORRUPT, bough__files_read(files, BOUGH__LAYER_FILE, 1, size, &found, sizeof found, true));
        write_at(path, size, &size, sizeof size);
        ASSERT_OK(bough__files_read(files, BOUGH__LAYER_FILE, 1, size, &found, sizeof found, true));
        ck_assert_uint_eq(found, size);
    }
    /* Into a window that did not exist before. */
    uint64_t far = 3 * WINDOW + 17, found = 0;
    write_at(path, far, &far, sizeof far);
    ASSERT_OK(bough__files_read(files, BOUGH__LAYER_FILE, 1, far, &found, sizeof found, true));
    ck_assert_uint_eq(found, far);
    bough__files_close(files);
}

TEST(missing_files_and_wrong_kinds)
{
    struct bough__files *files = open_files();
    uint8_t byte = 0;
    write_number(1);
    ck_assert_int_eq(symlink("1.layer", path_of(BOUGH__LAYER_FILE, 2)), 0);
    ck_assert_int_eq(mkfifo(path_of(BOUGH__LAYER_FILE, 3), 0600), 0);
    ck_assert_int_eq(mkdir(path_of(BOUGH__LAYER_FILE, 4), 0700), 0);
    for (uint32_t number = 2; number <= 5; number++)
        for (int mapping = 0; mapping < 2; mapping++)
            ASSERT_CODE(BOUGH_CORRUPT,
                        bough__files_read(files, BOUGH__LAYER_FILE, number, 0, &byte, 1, mapping));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "5.layer"));
    expect_number(files, 1, true);
    bough__files_close(files);
    ck_assert_uint_eq(open_descriptors(), 0);
}

TEST(many_files_few_descriptors)
{
    struct bough__files *files = open_files();
    enum { COUNT = 300 };
    for (uint32_t number = 1; number <= COUNT; number++)
        write_number(number);
    struct rlimit limit = {128, 128};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    struct harness_random random = {3};
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t number = i < COUNT ? i + 1 : (uint32_t)harness_below(&random, COUNT) + 1;
        expect_number(files, number, i % 2 == 0);
        if (i % 100 == 99) {
            ck_assert_uint_le(open_descriptors(), MAX_DESCRIPTORS);
            ck_assert_uint_le(mapped_windows(), MAX_WINDOWS);
        }
    }
    bough__files_close(files);
    ck_assert_uint_eq(open_descriptors(), 0);
}

TEST(many_windows_few_mapped)
{
    struct bough__files *files = open_files();
    enum { COUNT = 500 };
    const char *path = path_of(BOUGH__LAYER_FILE, 1);
    for (uint64_t i = 0; i < COUNT; i++)
        write_at(path, i * WINDOW + 8 * i, &i, sizeof i);
    struct harness_random random = {4};
    unsigned most = 0;
    for (unsigned turn = 0; turn < 20000; turn++) {
        uint64_t i = turn < COUNT ? turn : harness_below(&random, COUNT), found = 0;
        ASSERT_OK(bough__files_read(files, BOUGH__LAYER_FILE, 1, i * WINDOW + 8 * i, &found, sizeof found, true));
        ck_assert_uint_eq(found, i);
        if (turn % 1000 == 999) {
            unsigned mapped = mapped_windows();
            ck_assert_uint_le(mapped, MAX_WINDOWS);
            most = mapped > most ? mapped : most;
        }
    }
    ck_assert_uint_gt(most, 0);
    bough__files_close(files);
    ck_assert_uint_eq(mapped_windows(), 0);
}

TEST(several_stores_share_the_limit)
{
    enum { STORES = 5, COUNT = 40 };
    struct bough__files *files[STORES];
    for (unsigned s = 0; s < STORES; s++) {
        char name[64];
        snprintf(name, sizeof name, "%u", s);
        ck_assert_int_eq(mkdir(harness_path(name), 0755), 0);
        snprintf(name, sizeof name, "%u/layers", s);
        ck_assert_int_eq(mkdir(harness_path(name), 0755), 0);
        for (uint32_t number = 1; number <= COUNT; number++) {
            uint32_t value = s * 1000 + number;
            snprintf(name, sizeof name, "%u/layers/%u.layer", s, number);
            write_at(harness_path(name), 0, &value, sizeof value);
        }
        snprintf(name, sizeof name, "%u", s);
        ASSERT_OK(bough__files_open(&files[s], harness_path(name)));
    }
    for (uint32_t turn = 0; turn < 3; turn++)
        for (uint32_t number = 1; number <= COUNT; number++)
            for (unsigned s = 0; s < STORES; s++) {
                uint32_t found = 0;
                ASSERT_OK(bough__files_read(files[s], BOUGH__LAYER_FILE, number, 0, &found, sizeof found, turn != 1));
                ck_assert_uint_eq(found, s * 1000 + number);
            }
    ck_assert_uint_le(open_descriptors(), MAX_DESCRIPTORS);
    ck_assert_uint_gt(open_descriptors(), 0);
    for (unsigned s = 0; s < STORES; s++)
        bough__files_close(files[s]);
    ck_assert_uint_eq(open_descriptors(), 0);
    ck_assert_uint_eq(mapped_windows(), 0);
}

TEST(forgets_one_file)
{
    struct bough__files *files = open_files();
    write_number(1);
    write_number(2);
    expect_number(files, 1, true);
    expect_number(files, 2, true);
    ck_assert_uint_eq(mapped_windows(), 2);
    ck_assert_int_eq(unlink(path_of(BOUGH__LAYER_FILE, 1)), 0);
    expect_number(files, 1, true); /* still open */
    bough__files_forget(files, BOUGH__LAYER_FILE, 1);
    ck_assert_uint_eq(open_descriptors(), 1);
    ck_assert_uint_eq(mapped_windows(), 1);
    uint32_t found = 0;
    ASSERT_CODE(BOUGH_CORRUPT, bough__files_read(files, BOUGH__LAYER_FILE, 1, 0, &found, sizeof found, true));
    expect_number(files, 2, true);
    bough__files_forget(files, BOUGH__LAYER_FILE, 77);
    bough__files_close(files);
    bough__files_close(NULL);
}

static void *no_mmap(void *address, size_t len_bytes, int protection, int flags, int fd, off_t offset)
{
    (void)address, (void)len_bytes, (void)protection, (void)flags, (void)fd, (void)offset;
    errno = ENOMEM;
    return MAP_FAILED;
}

TEST(reads_without_mappings)
{
    struct bough__files *files = open_files();
    write_number(1);
    bough__os.mmap = no_mmap;
    expect_number(files, 1, true);
    ck_assert_uint_eq(mapped_windows(), 0);
    bough__os.mmap = mmap;
    expect_number(files, 1, true);
    ck_assert_uint_eq(mapped_windows(), 1);
    bough__files_close(files);
}

static int full_table_failures;
static int (*real_open)(const char *path, int flags, mode_t mode);

static int open_in_full_table(const char *path, int flags, mode_t mode)
{
    if (full_table_failures > 0) {
        full_table_failures--;
        errno = EMFILE;
        return -1;
    }
    return real_open(path, flags, mode);
}

TEST(gives_up_descriptors_when_the_process_has_none)
{
    struct bough__files *files = open_files();
    for (uint32_t number = 1; number <= 10; number++)
        write_number(number);
    for (uint32_t number = 1; number < 10; number++)
        expect_number(files, number, false);
    real_open = bough__os.open;
    bough__os.open = open_in_full_table;
    full_table_failures = 3;
    expect_number(files, 10, false);
    ck_assert_uint_eq(open_descriptors(), 7);
    full_table_failures = 1000;
    uint32_t found = 0;
    ASSERT_CODE(BOUGH_IO, bough__files_read(files, BOUGH__LAYER_FILE, 1, 0, &found, sizeof found, false));
    ck_assert_uint_eq(open_descriptors(), 0);
    full_table_failures = 0;
    expect_number(files, 1, false);
    bough__os.open = real_open;
    bough__files_close(files);
}

static ssize_t failing_pread(int fd, void *buffer, size_t len_bytes, off_t offset)
{
    (void)fd, (void)buffer, (void)len_bytes, (void)offset;
    errno = EIO;
    return -1;
}

TEST(an_input_error_is_one)
{
    struct bough__files *files = open_files();
    write_number(1);
    bough__os.pread = failing_pread;
    uint32_t found = 0;
    ASSERT_CODE(BOUGH_IO, bough__files_read(files, BOUGH__LAYER_FILE, 1, 0, &found, sizeof found, false));
    bough__os.pread = pread;
    expect_number(files, 1, false);
    bough__files_close(files);
}

static void *no_malloc(size_t len_bytes)
{
    (void)len_bytes;
    return NULL;
}

TEST(no_memory)
{
    struct bough__files *files = open_files(), *other = NULL;
    write_number(1);
    bough__os.malloc = no_malloc;
    uint32_t found = 0;
    ASSERT_CODE(BOUGH_NOMEM, bough__files_open(&other, harness_directory()));
    ck_assert_ptr_null(other);
    ASSERT_CODE(BOUGH_NOMEM, bough__files_read(files, BOUGH__LAYER_FILE, 1, 0, &found, sizeof found, true));
    bough__os.malloc = malloc;
    expect_number(files, 1, true);
    bough__files_close(files);
}

/* ---- threads ---- */

enum { SHARED_FILES = 100, THREADS = 4 };
static struct bough__files *shared;
static atomic_int failures;
static atomic_bool stop_forgetting;

static void *read_many(void *argument)
{
    struct harness_random random = {(uint64_t)(uintptr_t)argument};
    for (int i = 0; i < 8000; i++) {
        uint32_t number = (uint32_t)harness_below(&random, SHARED_FILES) + 1, found = 0;
        int rc = bough__files_read(shared, BOUGH__LAYER_FILE, number, 0, &found, sizeof found, i % 2 == 0);
        if (rc != BOUGH_OK || found != number)
            atomic_fetch_add(&failures, 1);
    }
    return NULL;
}

static void *forget_many(void *argument)
{
    struct harness_random random = {(uint64_t)(uintptr_t)argument};
    while (!atomic_load(&stop_forgetting)) {
        bough__files_forget(shared, BOUGH__LAYER_FILE, (uint32_t)harness_below(&random, SHARED_FILES) + 1);
        usleep(100);
    }
    return NULL;
}

TEST(threads_read_while_files_are_forgotten)
{
    shared = open_files();
    for (uint32_t number = 1; number <= SHARED_FILES; number++)
        write_number(number);
    pthread_t readers[THREADS], forgetters[2];
    for (uintptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_many, (void *)(i + 1)), 0);
    for (uintptr_t i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&forgetters[i], NULL, forget_many, (void *)(i + 100)), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(readers[i], NULL);
    atomic_store(&stop_forgetting, true);
    for (size_t i = 0; i < 2; i++)
        pthread_join(forgetters[i], NULL);
    ck_assert_int_eq(atomic_load(&failures), 0);
    ck_assert_uint_le(open_descriptors(), MAX_DESCRIPTORS);
    bough__files_close(shared);
    ck_assert_uint_eq(open_descriptors(), 0);
}

/* ThreadSanitizer takes the threads that stayed in the parent for threads of the child. */
#if defined(__SANITIZE_THREAD__)
#define HAS_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAS_THREAD_SANITIZER 1
#endif
#endif
#ifndef HAS_THREAD_SANITIZER

static int child_reads_and_forgets(void)
{
    for (uint32_t number = 1; number <= SHARED_FILES; number++) {
        uint32_t found = 0;
        if (bough__files_read(shared, BOUGH__LAYER_FILE, number, 0, &found, sizeof found, true) != BOUGH_OK ||
            found != number)
            return 1;
        bough__files_forget(shared, BOUGH__LAYER_FILE, number);
    }
    bough__files_close(shared);
    return open_descriptors() == 0 && mapped_windows() == 0 ? 0 : 2;
}

TEST(a_child_of_a_busy_process_reads)
{
    shared = open_files();
    for (uint32_t number = 1; number <= SHARED_FILES; number++)
        write_number(number);
    pthread_t readers[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_many, (void *)(i + 1)), 0);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0)
            _exit(child_reads_and_forgets());
        int status = -1;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_int_eq(status, 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(readers[i], NULL);
    ck_assert_int_eq(atomic_load(&failures), 0);
    bough__files_close(shared);
}
#endif

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(names),
        CASE(reads_what_was_written),
        CASE(reads_across_windows),
        CASE(nothing_beyond_the_end),
        CASE(sees_growth),
        CASE(missing_files_and_wrong_kinds),
        CASE(many_files_few_descriptors),
        CASE(many_windows_few_mapped),
        CASE(several_stores_share_the_limit),
        CASE(forgets_one_file),
        CASE(reads_without_mappings),
        CASE(gives_up_descriptors_when_the_process_has_none),
        CASE(an_input_error_is_one),
        CASE(no_memory),
        CASE(threads_read_while_files_are_forgotten),
#ifndef HAS_THREAD_SANITIZER
        CASE(a_child_of_a_busy_process_reads),
#endif
    };
    return harness_run("files", cases, COUNT_OF(cases));
}
