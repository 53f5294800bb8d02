/* layers.c - see layers.h. */
#include "layers.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct bough__space *space;
struct bough__layer *layer;

/* ---- the store ---- */

void make_store(void)
{
    static const char *const folders[] = {"s.bough", "s.bough/layers", "s.bough/nodes", "s.bough/run"};
    harness_remove_tree(harness_path("s.bough"));
    for (size_t i = 0; i < COUNT_OF(folders); i++)
        ck_assert_int_eq(mkdir(harness_path(folders[i]), 0700), 0);
    ASSERT_OK(bough__space_create(harness_path("s.bough"), 0600));
}

void open_layer(uint32_t number, const struct bough__tree *head)
{
    struct bough__layer_owner owner = {.number = number, .branch = "b"};
    if (head != NULL)
        owner.head = *head;
    ASSERT_OK(bough__space_open(&space, harness_path("s.bough")));
    ASSERT_OK(bough__layer_open(&layer, space, &owner));
}

void close_layer(void)
{
    bough__layer_close(layer);
    bough__space_close(space);
}

struct bough__txn *begin(void)
{
    struct bough__snapshot snapshot = {0};
    struct bough__txn *txn = NULL;
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ASSERT_OK(bough__txn_begin(&txn, &snapshot));
    ASSERT_OK(bough__txn_set_block_size(txn, BLOCK));
    bough__snapshot_release(&snapshot);
    return txn;
}

void write_pages(struct bough__txn *txn, uint64_t first, uint64_t end, int byte)
{
    uint8_t page[BLOCK];
    memset(page, byte, sizeof page);
    for (uint64_t block = first; block < end; block++)
        ASSERT_OK(bough__txn_write(txn, block, page));
}

int transaction(uint64_t first, uint64_t end, int byte, enum bough__durability durability)
{
    uint64_t number = 0;
    struct bough__txn *txn = begin();
    write_pages(txn, first, end, byte);
    int rc = bough__txn_commit(txn, durability, &number);
    bough__txn_end(txn);
    return rc;
}

void check_pages(const struct bough__snapshot *snapshot, uint64_t first, uint64_t end, int byte)
{
    uint8_t page[BLOCK];
    for (uint64_t block = first; block < end; block++) {
        ASSERT_OK(bough__snapshot_read(snapshot, block, page, block % 2 == 0));
        ck_assert_int_eq(page[0], byte);
    }
}

void checkpoint(void)
{
    struct bough__txn *txn = begin();
    ASSERT_OK(bough__layer_checkpoint(layer, NULL));
    bough__txn_end(txn);
}

/* ---- other processes ---- */

struct gate make_gate(void)
{
    struct gate gate;
    ck_assert_int_eq(pipe(gate.ends), 0);
    return gate;
}

void pass(struct gate *gate, char word)
{
    if (write(gate->ends[1], &word, 1) != 1)
        _exit(9);
}

char wait_at(struct gate *gate)
{
    char word = 0;
    if (read(gate->ends[0], &word, 1) != 1)
        _exit(9);
    return word;
}

void end_child(pid_t child, int signal)
{
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    if (signal != 0)
        ck_assert_int_eq(WTERMSIG(status), signal);
    else
        ck_assert_int_eq(status, 0);
}
