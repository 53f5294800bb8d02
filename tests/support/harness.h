/* harness.h - what every C test needs: a directory of its own, and assertions that print what bough says.
 *
 * A test program is a list of functions:
 *
 *     TEST(name) { ... ck_assert_...; }
 *     int main(void) { return harness_run("map", (const struct harness_case[]){CASE(name), ...}, count); }
 *
 * Each case runs in a process of its own (check forks) with a time limit, and with $CK_FORK=no in this one.
 */
#ifndef BOUGH_TESTS_HARNESS_H
#define BOUGH_TESTS_HARNESS_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct harness_case {
    const char *name;
    void (*run)(void);
};
#define TEST(function) static void function(void)
#define CASE(function) {#function, function}
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Runs the cases; the result is the exit status. $BOUGH_TEST_CASE names one case to run alone. */
int harness_run(const char *name, const struct harness_case *cases, size_t count);

/* An empty directory of this case's own, below $TMPDIR or /tmp; removed when the case ends well. */
const char *harness_directory(void);
/* directory/name, in one of a few buffers that are used in turn. */
const char *harness_path(const char *name);
void harness_remove_tree(const char *path);
void harness_copy_tree(const char *from, const char *to);
/* Whole files; the buffer is malloc'ed. */
uint8_t *harness_read_file(const char *path, size_t *out_len);
void harness_write_file(const char *path, const void *bytes, size_t len_bytes);

/* The call gives BOUGH_OK; else the test fails with code and message. */
#define ASSERT_OK(call) harness_expect(0, (call), #call, __FILE__, __LINE__)
/* The call gives the code named. */
#define ASSERT_CODE(code, call) harness_expect((code), (call), #call, __FILE__, __LINE__)
void harness_expect(int expected, int rc, const char *call, const char *file, int line);

/* For programs without check: says what is wrong and ends the process at once with status 1. */
#define REQUIRE(condition, ...)                                             \
    do {                                                                    \
        if (!(condition))                                                   \
            harness_fail(__FILE__, __LINE__, #condition, __VA_ARGS__);      \
    } while (0)
_Noreturn void harness_fail(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Repeatable random numbers. */
struct harness_random {
    uint64_t state;
};
uint64_t harness_next(struct harness_random *random);
uint64_t harness_below(struct harness_random *random, uint64_t limit);
void harness_fill(struct harness_random *random, void *buffer, size_t len_bytes);
/* A count for repetitions: $name when set, else fallback. */
uint64_t harness_number(const char *name, uint64_t fallback);

#endif
