/* fixture.h - a store to test with: made with the engine alone, written to block by block. */
#ifndef BOUGH_TESTS_FIXTURE_H
#define BOUGH_TESTS_FIXTURE_H

#include "harness.h"

#include "bough.h"
#include "store.h"

#define FIXTURE_BLOCK 1024

/* A new store s.bough in the case's directory; main holds `blocks` blocks, block i filled with the byte i + 1. */
bough_store *fixture_store(uint64_t blocks);
/* Another handle on it. */
bough_store *fixture_open(void);
/* One transaction on the branch: the block filled with the byte. */
void fixture_write(bough_store *store, const char *branch, uint64_t block, uint8_t byte);
/* One transaction that fills the blocks first .. end - 1. */
void fixture_fill(bough_store *store, const char *branch, uint64_t first, uint64_t end, uint8_t byte);
void fixture_resize(bough_store *store, const char *branch, uint64_t size_bytes);
/* What every byte of REF's block is; the test fails when they differ among themselves. */
uint8_t fixture_read(bough_store *store, const char *ref, uint64_t block);
uint64_t fixture_size(bough_store *store, const char *ref);
/* Forks one branch. */
void fixture_fork(bough_store *store, const char *name, const char *from);
/* Commits the branch; the id stays until the next call but seven. */
const char *fixture_commit(bough_store *store, const char *branch, const char *message);
/* The id that REF resolves to, kept the same way. */
const char *fixture_id(bough_store *store, const char *ref);
/* Number of branches. */
size_t fixture_count(bough_store *store);
bool fixture_has(bough_store *store, const char *name);
/* A process that keeps the branch open until fixture_end_peer. */
struct fixture_peer {
    int pid, to, from;
};
struct fixture_peer fixture_peer(const char *branch);
/* What bough__layer_is_doubtful says there. */
bool fixture_peer_is_gone(const struct fixture_peer *peer);
void fixture_end_peer(struct fixture_peer *peer);

#endif
