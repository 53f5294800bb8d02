/* lives.c - see lives.h. */
#include "lives.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* In shared memory, before the story's own. */
struct fate {
    bool syncs_fail;
    uint64_t boot;
    bool power_was_lost;
};

void lives_trace(const struct life *life, const char *format, ...)
{
    if (!getenv("BOUGH_TRACE"))
        return;
    va_list arguments;
    fprintf(stderr, "life %llu, step %llu, sync %llu: ", (unsigned long long)life->number,
            (unsigned long long)simdisk_count(SIMDISK_ANY), (unsigned long long)simdisk_count(SIMDISK_SYNC));
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

void lives_draw_fate(struct life *life, uint64_t steps)
{
    struct harness_random *random = &life->random;
    static const unsigned masks[] = {SIMDISK_ANY, SIMDISK_ANY, SIMDISK_SYNC, SIMDISK_WRITE, SIMDISK_NAME};
    unsigned mask = masks[harness_below(random, COUNT_OF(masks))];
    uint64_t nth = 1 + harness_below(random, mask == SIMDISK_ANY ? steps : steps / 4 + 1), seed = harness_next(random);
    if (life->fate->syncs_fail && harness_below(random, 8) == 0) {
        uint64_t failing = 1 + harness_below(random, steps / 4 + 1);
        simdisk_fail_sync_at(failing, harness_next(random));
        lives_trace(life, "sync %llu will fail", (unsigned long long)failing);
    }
    switch (harness_below(random, 8)) {
    case 0:
        break; /* peace */
    case 1:
    case 2:
        simdisk_crash_at(mask, nth, SIMDISK_KILL, seed);
        break;
    default:
        simdisk_crash_at(mask, nth, SIMDISK_RANDOM, seed);
    }
}

void lives_settled(struct life *life)
{
    life->power_was_lost = life->fate->power_was_lost = false;
}

struct teller {
    const struct story *story;
    char directory[256];
    void *shared;
    struct fate *fate;
    uint64_t seed;
};

static _Noreturn void one_life(const struct teller *teller, uint64_t number, int last_status)
{
    struct life life = {.directory = teller->directory, .shared = teller->shared, .number = number};
    life.random.state = teller->seed * 1000003 + number;
    struct fate *fate = teller->fate;
    bool is_lost = last_status == SIMDISK_EXIT;
    if (number == 0) {
        fate->boot = 1;
        fate->syncs_fail = teller->story->syncs_fail;
        simdisk_install(teller->directory, fate->boot);
    } else if (!is_lost && harness_below(&life.random, 2)) {
        is_lost = true;
        simdisk_resume(fate->boot);
        simdisk_power_loss(SIMDISK_RANDOM, harness_next(&life.random));
    }
    fate->boot += is_lost;
    fate->power_was_lost |= is_lost;
    life.fate = fate;
    life.power_was_lost = fate->power_was_lost;
    simdisk_resume(fate->boot);
    lives_trace(&life, "begins%s", life.power_was_lost ? " after a power loss" : "");
    teller->story->live(&life);
    lives_trace(&life, "ends in peace");
    fflush(NULL);
    _exit(EXIT_SUCCESS);
}

static bool tell(struct teller *teller)
{
    int status = 0;
    for (uint64_t number = 0; number < teller->story->lives; number++) {
        int last_status = WEXITSTATUS(status);
        pid_t pid = fork();
        if (pid == 0)
            one_life(teller, number, last_status);
        if (pid < 0 || waitpid(pid, &status, 0) != pid) {
            perror("fork");
            return false;
        }
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        if (code != EXIT_SUCCESS && code != SIMDISK_EXIT && code != SIMDISK_KILLED) {
            fprintf(stderr, "%s: BOUGH_SEED=%llu failed in life %llu%s%s; the directory %s stays\n",
                    teller->story->name, (unsigned long long)teller->seed, (unsigned long long)number,
                    WIFSIGNALED(status) ? ", signal " : "", WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "",
                    teller->directory);
            return false;
        }
    }
    return true;
}

static bool tell_seed(const struct story *story, uint64_t seed)
{
    struct teller teller = {.story = story, .seed = seed};
    /* The disk is simulated, so memory will do for the real one. */
    const char *base = getenv("TMPDIR");
    if (!base || !base[0])
        base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(teller.directory, sizeof teller.directory, "%s/bough-%s-XXXXXX", base, story->name);
    if (!mkdtemp(teller.directory)) {
        perror(teller.directory);
        return false;
    }
    size_t size = story->shared_size + sizeof *teller.fate;
    teller.fate = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (teller.fate == MAP_FAILED) {
        perror("mmap");
        return false;
    }
    teller.shared = teller.fate + 1;
    bool is_good = tell(&teller);
    munmap(teller.fate, size);
    if (is_good)
        harness_remove_tree(teller.directory);
    return is_good;
}

int lives_run(const struct story *story, uint64_t first, uint64_t count)
{
    first = harness_number("BOUGH_SEED", first);
    count = harness_number("BOUGH_STORIES", getenv("BOUGH_SEED") ? 1 : count);
    count = (count + story->weight - 1) / story->weight;
    simdisk_share();
    for (uint64_t seed = first; seed < first + count; seed++)
        if (!tell_seed(story, seed))
            return EXIT_FAILURE;
    printf("%s: %llu stories of %u lives, seeds from %llu\n", story->name, (unsigned long long)count, story->lives,
           (unsigned long long)first);
    fflush(stdout); /* or every later life would say it again */
    return EXIT_SUCCESS;
}
