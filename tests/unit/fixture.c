/* fixture.c - see fixture.h. */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct pattern {
    uint64_t size_bytes;
};

static int read_pattern(void *context, uint64_t offset, void *buffer, size_t len_bytes)
{
    uint8_t *bytes = buffer;
    (void)context;
    for (size_t i = 0; i < len_bytes; i++)
        bytes[i] = (uint8_t)((offset + i) / FIXTURE_BLOCK + 1);
    return BOUGH_OK;
}

bough_store *fixture_store(uint64_t blocks)
{
    bough_transfer transfer = {0};
    struct bough__source source = {
        .size_bytes = blocks * FIXTURE_BLOCK, .page_size = FIXTURE_BLOCK, .read = read_pattern, .mode = 0640};
    ASSERT_OK(bough__store_init(&transfer, harness_path("s.bough"), "/somewhere/shop.db", &source, NULL));
    bough_transfer_release(&transfer);
    return fixture_open();
}

bough_store *fixture_open(void)
{
    bough_store *store = NULL;
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    return store;
}

struct writing {
    struct bough__branch_row row;
    struct bough__layer *layer;
    struct bough__snapshot snapshot;
    struct bough__txn *txn;
};

static void begin(struct writing *out, bough_store *store, const char *branch)
{
    memset(out, 0, sizeof *out);
    ASSERT_OK(bough__catalog_branch_by_name(&out->row, store->catalog, branch));
    ASSERT_OK(bough__branch_layer(&out->layer, store, &out->row));
    ASSERT_OK(bough__snapshot_pin(&out->snapshot, out->layer));
    ASSERT_OK(bough__txn_begin(&out->txn, &out->snapshot));
    if (out->snapshot.block_size == 0)
        ASSERT_OK(bough__txn_set_block_size(out->txn, FIXTURE_BLOCK));
}

static void end(struct writing *writing)
{
    uint64_t number = 0;
    ASSERT_OK(bough__txn_commit(writing->txn, BOUGH__DURABLE, &number));
    bough__txn_end(writing->txn);
    bough__snapshot_release(&writing->snapshot);
    bough__layer_close(writing->layer);
    bough__branch_row_clear(&writing->row);
}

void fixture_fill(bough_store *store, const char *branch, uint64_t first, uint64_t last, uint8_t byte)
{
    struct writing writing;
    uint8_t page[FIXTURE_BLOCK];
    memset(page, byte, sizeof page);
    begin(&writing, store, branch);
    for (uint64_t block = first; block < last; block++)
        ASSERT_OK(bough__txn_write(writing.txn, block, page));
    end(&writing);
}

void fixture_write(bough_store *store, const char *branch, uint64_t block, uint8_t byte)
{
    fixture_fill(store, branch, block, block + 1, byte);
}

void fixture_resize(bough_store *store, const char *branch, uint64_t size_bytes)
{
    struct writing writing;
    begin(&writing, store, branch);
    ASSERT_OK(bough__txn_resize(writing.txn, size_bytes));
    end(&writing);
}

static void pin(struct bough__snapshot *out, struct bough__layer **out_layer, bough_store *store, const char *ref)
{
    struct bough__target target;
    ASSERT_OK(bough__target_resolve(&target, store, ref));
    ASSERT_OK(bough__target_pin(out, out_layer, store, &target));
    bough__target_clear(&target);
}

uint8_t fixture_read(bough_store *store, const char *ref, uint64_t block)
{
    struct bough__snapshot snapshot;
    struct bough__layer *layer = NULL;
    uint8_t page[FIXTURE_BLOCK];
    pin(&snapshot, &layer, store, ref);
    ASSERT_OK(bough__snapshot_read(&snapshot, block, page, true));
    for (size_t i = 1; i < sizeof page; i++)
        ck_assert_uint_eq(page[i], page[0]);
    bough__snapshot_release(&snapshot);
    bough__layer_close(layer);
    return page[0];
}

uint64_t fixture_size(bough_store *store, const char *ref)
{
    struct bough__snapshot snapshot;
    struct bough__layer *layer = NULL;
    pin(&snapshot, &layer, store, ref);
    uint64_t size = snapshot.size_bytes;
    bough__snapshot_release(&snapshot);
    bough__layer_close(layer);
    return size;
}

void fixture_fork(bough_store *store, const char *name, const char *from)
{
    bough_branches made;
    ASSERT_OK(bough_branch_create(&made, store, &name, 1, from, NULL));
    ck_assert_uint_eq(made.count, 1);
    ck_assert_str_eq(made.items[0].name, name);
    bough_branches_release(&made);
}

static const char *keep(const char *id)
{
    static char ids[8][BOUGH_ID_SIZE];
    static unsigned next;
    char *slot = ids[next++ % 8];
    memcpy(slot, id, BOUGH_ID_SIZE);
    return slot;
}

const char *fixture_commit(bough_store *store, const char *branch, const char *message)
{
    bough_options options = BOUGH_OPTIONS_INIT;
    bough_sealed sealed;
    options.message = message;
    ASSERT_OK(bough_commit_create(&sealed, store, branch, &options));
    const char *id = keep(sealed.id);
    bough_sealed_release(&sealed);
    return id;
}

const char *fixture_id(bough_store *store, const char *ref)
{
    bough_ref resolved;
    ASSERT_OK(bough_ref_resolve(&resolved, store, ref));
    const char *id = keep(resolved.id);
    bough_ref_release(&resolved);
    return id;
}

size_t fixture_count(bough_store *store)
{
    bough_branches branches;
    ASSERT_OK(bough_branch_list(&branches, store));
    size_t count = branches.count;
    bough_branches_release(&branches);
    return count;
}

bool fixture_has(bough_store *store, const char *name)
{
    bough_branches branches;
    int rc = bough_branch_get(&branches, store, name);
    ck_assert(rc == BOUGH_OK || rc == BOUGH_NOT_FOUND);
    bough_branches_release(&branches);
    return rc == BOUGH_OK;
}

/* ---- another process ---- */

/* In the child: opens the branch, says so, and answers each 'g' until the pipe closes. */
static void live(const char *branch, int commands, int answers)
{
    bough_store *store = NULL;
    struct bough__branch_row row = {0};
    struct bough__layer *layer = NULL;
    char command = 0;
    if (bough_store_open(&store, harness_path("s.bough"), NULL) != BOUGH_OK ||
        bough__catalog_branch_by_name(&row, store->catalog, branch) != BOUGH_OK ||
        bough__branch_layer(&layer, store, &row) != BOUGH_OK || write(answers, "r", 1) != 1)
        _exit(1);
    while (read(commands, &command, 1) == 1)
        if (write(answers, bough__layer_is_doubtful(layer) ? "y" : "n", 1) != 1)
            _exit(1);
    bough__layer_close(layer);
    bough_store_close(store);
    _exit(0);
}

struct fixture_peer fixture_peer(const char *branch)
{
    int commands[2], answers[2];
    char answer = 0;
    ck_assert_int_eq(pipe(commands), 0);
    ck_assert_int_eq(pipe(answers), 0);
    int pid = fork();
    if (pid == 0) {
        close(commands[1]);
        close(answers[0]);
        live(branch, commands[0], answers[1]);
    }
    close(commands[0]);
    close(answers[1]);
    ck_assert_int_eq((int)read(answers[0], &answer, 1), 1);
    return (struct fixture_peer){pid, commands[1], answers[0]};
}

bool fixture_peer_is_gone(const struct fixture_peer *peer)
{
    char answer = 0;
    ck_assert_int_eq((int)write(peer->to, "g", 1), 1);
    ck_assert_int_eq((int)read(peer->from, &answer, 1), 1);
    return answer == 'y';
}

void fixture_end_peer(struct fixture_peer *peer)
{
    int status = 0;
    close(peer->to);
    ck_assert_int_eq(waitpid(peer->pid, &status, 0), peer->pid);
    ck_assert_int_eq(status, 0);
    close(peer->from);
}
