/* crowd.h - several processes that work on databases at the same time. The parent writes a plan into a shared file,
 * starts a process for each member, lets them go together when all have opened their database, and waits. */
#ifndef BOUGH_BENCH_CROWD_H
#define BOUGH_BENCH_CROWD_H

#include "bench.h"

#include <stdatomic.h>
#include <sys/types.h>

enum { CROWD_MOST = 10 };

enum crowd_work {
    CROWD_INSERTS,      /* of one row into entry, a transaction each */
    CROWD_SELECTS_EACH, /* of one item, a transaction each */
    CROWD_SELECTS_ONE,  /* of one item, all in one transaction */
    CROWD_UPDATES_EACH, /* of one item, a transaction each */
    CROWD_UPDATES_ONE,  /* of one item, all in one transaction */
    CROWD_HOLDS         /* of a snapshot while member 0 commits `count` transactions (0: to the end), again and again */
};

struct crowd_member {
    enum crowd_work work;
    enum bench_variant variant;
    bool no_sync; /* synchronous=OFF */
    /* Until the others are done: works beside them, and what it takes is not counted. */
    bool is_background;
    unsigned count, first; /* how many, and where in the fixed sequence of random numbers */
    uint64_t rows;         /* of item */
    char database[512];    /* a path or a URI */
    /* Results: monotonic seconds, processor seconds, pages read, transactions so far. */
    double begin, end, cpu, pages;
    _Atomic uint64_t done;
};

struct crowd {
    unsigned count;
    _Atomic unsigned ready;
    _Atomic bool go, stop;
    struct crowd_member members[CROWD_MOST];
    /* Of the parent alone. */
    pid_t children[CROWD_MOST];
};

/* A crowd without members, in a file below bench->directory. */
struct crowd *crowd_new(const struct bench *bench);
void crowd_free(const struct bench *bench, struct crowd *crowd);
/* One member more, to be filled in. The crowd has none again after crowd_run. */
struct crowd_member *crowd_add(struct crowd *crowd, enum crowd_work work, enum bench_variant variant,
                               const char *database);
/* Runs it. Returns the seconds from the first member's begin to the last one's end, or with --cpu their processor time
 * on average; those in the background do not count. */
double crowd_run(const struct bench *bench, struct crowd *crowd);
/* Pages that the members of the last run read, on average. */
double crowd_pages(const struct crowd *crowd);

/* In the member's process. */
void crowd_work(const char *plan, unsigned number);

#endif
