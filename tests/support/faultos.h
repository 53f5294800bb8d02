/* faultos.h - a system that fails on demand: wraps the engine's table of system calls (whatever backend is in it) and
 * lets the Nth call of a kind fail.
 */
#ifndef BOUGH_TESTS_FAULTOS_H
#define BOUGH_TESTS_FAULTOS_H

#include <stdbool.h>
#include <stdint.h>

enum faultos_kind {
    FAULTOS_OPEN,
    FAULTOS_READ,
    FAULTOS_WRITE,
    FAULTOS_SHORT_WRITE, /* half of it is written, the call that goes on with the rest fails */
    FAULTOS_SYNC,
    FAULTOS_TRUNCATE,
    FAULTOS_NAME,        /* unlink, rename, link, mkdir, rmdir */
    FAULTOS_STAT,
    FAULTOS_MAP,
    FAULTOS_LOCK,
    FAULTOS_MEMORY,
    FAULTOS_KINDS
};

void faultos_install(void);
/* From now on, call number nth (from 1) of the kind fails with errno set to error; with is_lasting all later ones
 * too. */
void faultos_fail(enum faultos_kind kind, uint64_t nth, int error, bool is_lasting);
/* No failures any more. */
void faultos_clear(void);
/* True when a failure was handed out since faultos_fail. */
bool faultos_was_hit(void);
/* Calls of the kind since faultos_fail or faultos_clear. */
uint64_t faultos_count(enum faultos_kind kind);
const char *faultos_name(enum faultos_kind kind);
/* For allocators that do not go through the table: true when this call has to fail. */
bool faultos_memory_fails(void);

#endif
