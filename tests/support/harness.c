/* harness.c - running cases, temporary directories, assertions, random numbers. */
#include "harness.h"

#include "bough.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CASE_TIMEOUT_SECONDS = 100, MAX_CASES = 200 };

static const struct harness_case *all_cases;
static char directory[256];

/* ---- running ---- */

static void run_case(int index)
{
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/bough-%s-XXXXXX", base && base[0] ? base : "/tmp",
             all_cases[index].name);
    ck_assert_msg(mkdtemp(directory) != NULL, "cannot make a temporary directory: %s", strerror(errno));
    all_cases[index].run();
    harness_remove_tree(directory);
}

int harness_run(const char *name, const struct harness_case *cases, size_t count)
{
    const char *only = getenv("BOUGH_TEST_CASE");
    all_cases = cases;
    static TTest tests[MAX_CASES];
    if (count > MAX_CASES)
        return EXIT_FAILURE;
    Suite *suite = suite_create(name);
    for (size_t i = 0; i < count; i++) {
        if (only && strcmp(only, cases[i].name) != 0)
            continue;
        tests[i] = (TTest){cases[i].name, run_case, __FILE__, __LINE__};
        TCase *tcase = tcase_create(cases[i].name);
        tcase_set_timeout(tcase, CASE_TIMEOUT_SECONDS);
        tcase_add_loop_test(tcase, &tests[i], (int)i, (int)i + 1);
        suite_add_tcase(suite, tcase);
    }
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    int ran = srunner_ntests_run(runner);
    srunner_free(runner);
    if (ran == 0)
        fprintf(stderr, "no such case\n");
    return failed || ran == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

void harness_expect(int expected, int rc, const char *call, const char *file, int line)
{
    if (rc != expected)
        ck_abort_msg("%s:%d: %s gave %s (%s), expected %s", file, line, call, bough_code_name(rc),
                     bough_error_message(), bough_code_name(expected));
}

void harness_fail(const char *file, int line, const char *condition, const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "%s:%d: %s: ", file, line, condition);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    fflush(NULL);
    _exit(EXIT_FAILURE);
}

/* ---- files ---- */

/* Not an assertion of check, since programs without it use these too. */
static void need(bool condition, const char *what, const char *path)
{
    if (condition)
        return;
    fprintf(stderr, "cannot %s %s: %s\n", what, path, strerror(errno));
    abort();
}

const char *harness_directory(void)
{
    return directory;
}

const char *harness_path(const char *name)
{
    static char buffers[8][512];
    static unsigned turn;
    char *buffer = buffers[turn++ % COUNT_OF(buffers)];
    snprintf(buffer, sizeof buffers[0], "%s/%s", directory, name);
    return buffer;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

void harness_remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *copy_from, *copy_to;

static int copy_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)walk;
    char target[1024];
    snprintf(target, sizeof target, "%s%s", copy_to, path + strlen(copy_from));
    if (kind == FTW_D)
        return mkdir(target, info->st_mode & 0777);
    size_t len = 0;
    uint8_t *bytes = harness_read_file(path, &len);
    harness_write_file(target, bytes, len);
    free(bytes);
    return 0;
}

void harness_copy_tree(const char *from, const char *to)
{
    copy_from = from;
    copy_to = to;
    need(nftw(from, copy_entry, 16, FTW_PHYS) == 0, "copy", from);
}

uint8_t *harness_read_file(const char *path, size_t *out_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    need(fd >= 0 && fstat(fd, &info) == 0, "open", path);
    size_t len = (size_t)info.st_size, done = 0;
    uint8_t *bytes = malloc(len + 1);
    need(bytes != NULL, "hold", path);
    while (done < len) {
        ssize_t count = read(fd, bytes + done, len - done);
        need(count > 0, "read", path);
        done += (size_t)count;
    }
    close(fd);
    bytes[len] = 0;
    *out_len = len;
    return bytes;
}

void harness_write_file(const char *path, const void *bytes, size_t len_bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    need(fd >= 0, "create", path);
    size_t done = 0;
    while (done < len_bytes) {
        ssize_t count = write(fd, (const uint8_t *)bytes + done, len_bytes - done);
        need(count > 0, "write", path);
        done += (size_t)count;
    }
    close(fd);
}

/* ---- random numbers: splitmix64 ---- */

uint64_t harness_next(struct harness_random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t harness_below(struct harness_random *random, uint64_t limit)
{
    return limit ? harness_next(random) % limit : 0;
}

void harness_fill(struct harness_random *random, void *buffer, size_t len_bytes)
{
    uint8_t *bytes = buffer;
    for (size_t i = 0; i < len_bytes; i += 8) {
        uint64_t value = harness_next(random);
        memcpy(bytes + i, &value, len_bytes - i < 8 ? len_bytes - i : 8);
    }
}

uint64_t harness_number(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text && text[0] ? strtoull(text, NULL, 0) : fallback;
}
