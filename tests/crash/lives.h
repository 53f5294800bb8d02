/* lives.h - one story told by many processes: each goes on where the one before was killed or lost its power.
 *
 * A story is a seed. Its lives run one after the other in processes of their own, over one directory on a simulated
 * disk, and share a piece of memory in which they note what they promised to whom. What a life finds must fit that.
 */
#ifndef BOUGH_TESTS_LIVES_H
#define BOUGH_TESTS_LIVES_H

#include "harness.h"
#include "simdisk.h"

struct life {
    const char *directory;
    void *shared;            /* the story's memory */
    struct harness_random random;
    uint64_t number;         /* of the life, from 0 */
    bool power_was_lost;     /* since lives_settled was last called: what was not durable may be gone */
    struct fate *fate;       /* lives.c's own */
};

struct story {
    const char *name;
    size_t shared_size;
    unsigned lives;
    unsigned weight; /* how many times longer than others a story of this kind takes */
    bool syncs_fail; /* now and then one sync does */
    /* Returns when the life ends in peace; else the simulated disk ends it. */
    void (*live)(struct life *life);
};

/* Tells count / weight stories, seeds first ... (from the environment: BOUGH_SEED, BOUGH_STORIES); the result is the
 * exit status. The first failure is told with its seed. */
int lives_run(const struct story *story, uint64_t first, uint64_t count);

/* The fate of this life, drawn from its random numbers: a power loss or a kill at some step, a failing sync, or peace.
 * steps: about how many steps a life takes. */
void lives_draw_fate(struct life *life, uint64_t steps);

/* The life has looked at what it found and noted it: from here on, only a later power loss counts. */
void lives_settled(struct life *life);

/* With $BOUGH_TRACE set, tells on stderr what happens. */
void lives_trace(const struct life *life, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
