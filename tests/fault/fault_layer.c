/* fault_layer.c - the verbs of engine/layer.h when any single call of the system fails.
 *
 * Blocks of 64 KiB, so that a transaction that is committed by a checkpoint needs few of them.
 */
#include "faults.h"

#include "bough.h"
#include "digest.h"
#include "layer.h"
#include "os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 65536, LAYER = 1, FILLED_LAYER = 7, BULK_BLOCKS = 140 };

#define MUST(call)                                                                               \
    do {                                                                                         \
        int must_rc = (call);                                                                    \
        REQUIRE(must_rc == BOUGH_OK, "%s: %s", bough_code_name(must_rc), bough_error_message()); \
    } while (0)

static struct {
    char base[200], path[256];
    unsigned first_txns; /* before the operation; 0: the layer has no file */
    struct bough__space *space;
    struct bough__layer *layer;
} world;

/* ---- work ---- */

static int open_layer(void)
{
    struct bough__layer_owner owner = {.number = LAYER, .branch = "main"};
    return bough__layer_open(&world.layer, world.space, &owner);
}

/* Blocks first .. end-1 get the byte, and the database is `blocks` long then. */
static int write_blocks(uint64_t first, uint64_t end, uint64_t blocks, uint8_t byte, enum bough__durability durability)
{
    static uint8_t page[BLOCK];
    struct bough__snapshot snapshot;
    struct bough__txn *txn = NULL;
    uint64_t number = 0;
    int rc = bough__snapshot_pin(&snapshot, world.layer);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__txn_begin(&txn, &snapshot);
    if (rc == BOUGH_OK)
        rc = bough__txn_set_block_size(txn, BLOCK);
    memset(page, byte, sizeof page);
    for (uint64_t block = first; rc == BOUGH_OK && block < end; block++)
        rc = bough__txn_write(txn, block, page);
    if (rc == BOUGH_OK)
        rc = bough__txn_resize(txn, blocks * BLOCK);
    if (rc == BOUGH_OK)
        rc = bough__txn_commit(txn, durability, &number);
    bough__txn_end(txn);
    bough__snapshot_release(&snapshot);
    return rc;
}

static void prepare(void *context)
{
    static const char *const folders[] = {"", "/layers", "/nodes", "/run"};
    (void)context;
    harness_remove_tree(world.path);
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        char folder[300];
        snprintf(folder, sizeof folder, "%s%s", world.path, folders[i]);
        REQUIRE(mkdir(folder, 0700) == 0, "mkdir %s", folder);
    }
    MUST(bough__space_create(world.path, 0600));
    MUST(bough__space_open(&world.space, world.path));
    MUST(open_layer());
    for (unsigned i = 0; i < world.first_txns; i++)
        MUST(write_blocks(i, i + 2, 4, (uint8_t)(i + 1), BOUGH__LAZY));
}

static void finish(void *context)
{
    (void)context;
    bough__layer_close(world.layer);
    bough__space_close(world.space);
    world.layer = NULL;
    world.space = NULL;
}

/* What the open layer shows and what a new opener finds are the same state. */
static void describe_newest(FILE *out)
{
    static uint8_t page[BLOCK];
    struct bough__snapshot snapshot;
    uint64_t hash = 0;
    MUST(bough__snapshot_pin(&snapshot, world.layer));
    for (uint64_t block = 0; block * BLOCK < snapshot.size_bytes; block++) {
        MUST(bough__snapshot_read(&snapshot, block, page, block % 2));
        hash = bough__xxh(page, BLOCK, hash + 1);
    }
    fprintf(out, "transaction %llu, %llu bytes, %016llx\n", (unsigned long long)snapshot.txn,
            (unsigned long long)snapshot.size_bytes, (unsigned long long)hash);
    bough__snapshot_release(&snapshot);
}

static char *describe(void *context)
{
    char *text = NULL, *again = NULL;
    size_t size = 0;
    (void)context;
    if (!world.layer)
        MUST(open_layer());
    FILE *out = open_memstream(&text, &size);
    describe_newest(out);
    fclose(out);
    bough__layer_close(world.layer);
    world.layer = NULL;
    MUST(open_layer());
    out = open_memstream(&again, &size);
    describe_newest(out);
    fclose(out);
    REQUIRE(strcmp(text, again) == 0, "after opening again:\n%s\nbefore:\n%s", again, text);
    free(again);
    return text;
}

/* ---- operations ---- */

static int op_durable(void *context)
{
    (void)context;
    return write_blocks(1, 3, 5, 'd', BOUGH__DURABLE);
}

static int op_lazy(void *context)
{
    (void)context;
    return write_blocks(1, 3, 5, 'l', BOUGH__LAZY);
}

static int op_shrink(void *context)
{
    (void)context;
    return write_blocks(0, 1, 2, 's', BOUGH__DURABLE);
}

static int op_bulk(void *context)
{
    (void)context;
    return write_blocks(0, BULK_BLOCKS, BULK_BLOCKS, 'b', BOUGH__DURABLE);
}

static int op_fold(void *context)
{
    struct bough__snapshot snapshot;
    struct bough__tree tree;
    (void)context;
    int rc = bough__snapshot_pin(&snapshot, world.layer);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__snapshot_fold(&tree, NULL, &snapshot);
    bough__snapshot_release(&snapshot);
    return rc;
}

static int count_difference(void *context, uint64_t block, const struct bough__entry *a, const struct bough__entry *b)
{
    (void)block, (void)a, (void)b;
    ++*(unsigned *)context;
    return 0;
}

static int op_diff(void *context)
{
    struct bough__snapshot newest, empty, older;
    struct bough__tree none = {0};
    unsigned count = 0, written = 0;
    (void)context;
    int rc = bough__snapshot_pin(&newest, world.layer);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__snapshot_of_tree(&empty, world.space, &none);
    if (rc == BOUGH_OK) {
        rc = bough__snapshot_diff(&empty, &newest, count_difference, &count);
        bough__snapshot_release(&empty);
    }
    /* Blocks 2 and 3, of which the one before had the first: here pages are read. Nobody writes, so its frames stay. */
    older = newest;
    older.txn--;
    if (rc == BOUGH_OK)
        rc = bough__snapshot_diff(&older, &newest, count_difference, &written);
    bough__snapshot_release(&newest);
    REQUIRE(rc != BOUGH_OK || (count == 4 && written == 2), "%u and %u blocks differ", count, written);
    return rc;
}

static int op_reopen(void *context)
{
    (void)context;
    bough__layer_close(world.layer);
    world.layer = NULL;
    return open_layer();
}

static int op_fill(void *context)
{
    static uint8_t page[BLOCK];
    struct bough__filler *filler = NULL;
    struct bough__entry entry;
    (void)context;
    int rc = bough__filler_begin(&filler, world.space, FILLED_LAYER, BLOCK);
    if (rc != BOUGH_OK)
        return rc;
    memset(page, 'f', sizeof page);
    for (uint64_t block = 0; rc == BOUGH_OK && block < 40; block++)
        rc = bough__filler_add(&entry, filler, block, page);
    if (rc == BOUGH_OK)
        rc = bough__filler_sync(filler);
    bough__filler_end(filler, false);
    return rc;
}

/* The next writer puts right what a failed sync left in doubt. */
static void mend(void *context)
{
    struct bough__snapshot snapshot;
    struct bough__txn *txn = NULL;
    (void)context;
    MUST(bough__snapshot_pin(&snapshot, world.layer));
    MUST(bough__txn_begin(&txn, &snapshot));
    bough__txn_end(txn);
    bough__snapshot_release(&snapshot);
}

int main(void)
{
    static const struct {
        const char *name;
        unsigned first_txns;
        int (*run)(void *context);
    } operations[] = {
        {"the first transaction", 0, op_durable},
        {"a durable transaction", 3, op_durable},
        {"a lazy transaction", 3, op_lazy},
        {"a shrinking transaction", 3, op_shrink},
        {"a bulk transaction", 3, op_bulk},
        {"fold", 3, op_fold},
        {"diff", 3, op_diff},
        {"close and open", 3, op_reopen},
        {"fill", 1, op_fill},
    };
    snprintf(world.base, sizeof world.base, "%s/bough-fault-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    REQUIRE(mkdtemp(world.base) != NULL, "mkdtemp %s", world.base);
    snprintf(world.path, sizeof world.path, "%s/store", world.base);
    faultos_install();
    faultos_clear();
    for (size_t i = 0; i < COUNT_OF(operations); i++) {
        world.first_txns = operations[i].first_txns;
        faults_walk(&(struct faults_subject){.name = operations[i].name,
                                             .prepare = prepare,
                                             .run = operations[i].run,
                                             .describe = describe,
                                             .mend = mend,
                                             .finish = finish});
    }
    harness_remove_tree(world.base);
    return EXIT_SUCCESS;
}
