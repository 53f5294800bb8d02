/* layers.h - one layer to test with, in a store without a catalog, and other processes that have it open, too. */
#ifndef BOUGH_TESTS_LAYERS_H
#define BOUGH_TESTS_LAYERS_H

#include "harness.h"

#include "bough.h"
#include "layer_state.h"

enum { BLOCK = 1024, LAYER = 2 };

/* Of this process, between open_layer and close_layer. */
extern struct bough__space *space;
extern struct bough__layer *layer;

/* A new s.bough in the case's directory, in the place of an older one. */
void make_store(void);
void open_layer(uint32_t number, const struct bough__tree *head_or_null);
void close_layer(void);

struct bough__txn *begin(void);
void write_pages(struct bough__txn *txn, uint64_t first, uint64_t end, int byte);
/* Blocks first .. end - 1 get the byte. */
int transaction(uint64_t first, uint64_t end, int byte, enum bough__durability durability);
/* Blocks first .. end - 1 hold the byte. */
void check_pages(const struct bough__snapshot *snapshot, uint64_t first, uint64_t end, int byte);
void checkpoint(void);

/* Where processes wait for each other. The word says what for. */
struct gate {
    int ends[2];
};
struct gate make_gate(void);
void pass(struct gate *gate, char word);
char wait_at(struct gate *gate);
/* 0: it ended by itself, and well. */
void end_child(pid_t child, int signal);

#endif
