/* faults.c - see faults.h. */
#include "faults.h"

#include "bough.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    enum faultos_kind kind;
    int error;
} faults[] = {
    {FAULTOS_OPEN, EMFILE},  {FAULTOS_READ, EIO},        {FAULTOS_WRITE, ENOSPC}, {FAULTOS_SHORT_WRITE, ENOSPC},
    {FAULTOS_WRITE, EIO},    {FAULTOS_SYNC, EIO},        {FAULTOS_TRUNCATE, EIO}, {FAULTOS_NAME, EIO},
    {FAULTOS_STAT, EIO},     {FAULTOS_MAP, ENOMEM},      {FAULTOS_LOCK, ENOLCK},  {FAULTOS_MEMORY, ENOMEM},
};

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    REQUIRE(directory != NULL, "/proc/self/fd");
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static bool is_ordinary(int rc)
{
    return rc == BOUGH_IO || rc == BOUGH_FULL || rc == BOUGH_NOMEM;
}

struct walk {
    const struct faults_subject *subject;
    char *before, *after;
    char where[200];
};

static void expect_state(const struct walk *walk, const char *expected, const char *when)
{
    char *state = walk->subject->describe(walk->subject->context);
    REQUIRE(strcmp(state, expected) == 0, "%s: %s the state is\n%s\nand not\n%s", walk->where, when, state, expected);
    free(state);
}

/* One fault; false: the operation makes fewer calls of the kind. */
static bool fault_once(struct walk *walk, size_t fault, uint64_t nth)
{
    const struct faults_subject *subject = walk->subject;
    snprintf(walk->where, sizeof walk->where, "%s, %s %llu (%s)", subject->name, faultos_name(faults[fault].kind),
             (unsigned long long)nth, strerror(faults[fault].error));
    if (getenv("BOUGH_TRACE"))
        fprintf(stderr, "%s\n", walk->where);
    subject->prepare(subject->context);
    faultos_fail(faults[fault].kind, nth, faults[fault].error, false);
    int rc = subject->run(subject->context);
    bool was_hit = faultos_was_hit();
    faultos_clear();
    if (rc == BOUGH_OK) {
        expect_state(walk, walk->after, "after success");
    } else {
        REQUIRE(was_hit, "%s: fails without a fault: %s", walk->where, bough_error_message());
        REQUIRE(is_ordinary(rc), "%s: gave %s (%s)", walk->where, bough_code_name(rc),
                bough_error_message());
        REQUIRE(bough_error_message()[0], "%s: no message", walk->where);
        char *state = subject->describe(subject->context);
        bool is_new = subject->goes_by_steps && strcmp(state, walk->after) == 0;
        free(state);
        expect_state(walk, is_new ? walk->after : walk->before, "after the failure");
        rc = subject->run(subject->context);
        if (rc != BOUGH_OK && subject->mend) {
            subject->mend(subject->context);
            rc = subject->run(subject->context);
        }
        REQUIRE(rc == BOUGH_OK, "%s: the next try gave %s (%s)", walk->where, bough_code_name(rc),
                bough_error_message());
        expect_state(walk, walk->after, "after the next try");
    }
    subject->finish(subject->context);
    return was_hit;
}

static char *describe_fresh(const struct faults_subject *subject, int (*run)(void *context))
{
    subject->prepare(subject->context);
    if (run) {
        int rc = run(subject->context);
        REQUIRE(rc == BOUGH_OK, "%s: gave %s (%s)", subject->name, bough_code_name(rc), bough_error_message());
    }
    char *state = subject->describe(subject->context);
    subject->finish(subject->context);
    return state;
}

void faults_walk(const struct faults_subject *subject)
{
    struct walk walk = {.subject = subject};
    const char *only = getenv("BOUGH_FAULT_ONLY");
    if (only && !strstr(subject->name, only))
        return;
    walk.before = describe_fresh(subject, NULL);
    walk.after = describe_fresh(subject, subject->run);
    unsigned descriptors = count_descriptors();
    uint64_t tried = 0, every = harness_number("BOUGH_FAULT_EVERY", 30);
    for (size_t fault = 0; fault < COUNT_OF(faults); fault++) {
        uint64_t step = 1;
        for (uint64_t nth = 1; fault_once(&walk, fault, nth); nth += step) {
            tried++;
            unsigned now = count_descriptors();
            REQUIRE(now == descriptors, "%s: %u descriptors are open, before there were %u", walk.where, now,
                    descriptors);
            if (nth >= every)
                step = nth < 8 ? 1 : nth / 8;
        }
    }
    printf("%s: %llu faults\n", subject->name, (unsigned long long)tried);
    REQUIRE(tried > 5, "%s: met only %llu faults", subject->name, (unsigned long long)tried);
    free(walk.before);
    free(walk.after);
}
