/* faults.h - every call of an operation fails once: the one walk over kinds and counts that the fault tests share. */
#ifndef BOUGH_TESTS_FAULTS_H
#define BOUGH_TESTS_FAULTS_H

#include "faultos.h"
#include "harness.h"

struct faults_subject {
    const char *name;
    void *context;
    /* Brings the world into the state before the operation, without faults. */
    void (*prepare)(void *context);
    /* The operation: a bough code. */
    int (*run)(void *context);
    /* Describes the state in words (malloc'ed), without faults. */
    char *(*describe)(void *context);
    /* After a failed operation that left a sync unfinished, what makes the next one possible; may be NULL. */
    void (*mend)(void *context);
    /* Puts everything away again. */
    void (*finish)(void *context);
    bool goes_by_steps; /* a failure may come when the rows are written, and leave the new state */
};

/* For every kind of call and every N until N is beyond the calls that the operation makes: prepares, lets call N fail,
 * and requires that a failure is an ordinary one (BOUGH_IO, BOUGH_FULL, BOUGH_NOMEM) with a message, that the state is
 * then the old one, that the operation then succeeds, and that no descriptor is left open. A success despite the fault
 * must have the whole effect. From the 30th call of a kind on ($BOUGH_FAULT_EVERY says which), some are left out. */
void faults_walk(const struct faults_subject *subject);

#endif
