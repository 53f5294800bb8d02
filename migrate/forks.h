/* forks.h - states of a store as databases: connections, and hidden forks to work on. */
#ifndef BOUGH_MIGRATE_FORKS_H
#define BOUGH_MIGRATE_FORKS_H

#include "checks.h"

/* A connection to what REF means: a branch for writing, anything else read-only. */
int bough__state_open(sqlite3 **out, bough_store *store, const char *ref);

/* Commits what was written to the branch, as the machine. out_id: its head. */
int bough__branch_seal(char out_id[BOUGH_ID_SIZE], bough_store *store, const char *branch, const char *message);

/* A hidden fork and a connection to it. Nobody sees it; it goes with the drop, or when this process ends. */
struct bough__fork {
    bough_store *store;
    bough_branches branch; /* one */
    sqlite3 *db;           /* NULL: closed for the moment */
};
/* The fork's name, and the commit that it was forked from. */
const char *bough__fork_name(const struct bough__fork *fork);
const char *bough__fork_base(const struct bough__fork *fork);
int bough__fork_make(struct bough__fork *out, bough_store *store, const char *from);
int bough__fork_open(struct bough__fork *fork);
void bough__fork_close(struct bough__fork *fork);
int bough__fork_seal(char out_id[BOUGH_ID_SIZE], struct bough__fork *fork, const char *message);
void bough__fork_drop(struct bough__fork *fork); /* keeps the message of a failure before; one never made is fine */

/* Copies of a branch for bough__check(): hidden forks. */
struct bough__branch_copies {
    bough_store *store;
    const char *branch;
    struct bough__fork *forks;
    size_t count;
};
/* `state` says of which; it lives as long as the copies. */
struct bough__copies bough__copies_of_branch(struct bough__branch_copies *state);

#endif
