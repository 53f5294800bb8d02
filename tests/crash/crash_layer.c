/* crash_layer.c - random transactions over one layer, ended by power losses and kills at any step.
 *
 * The model is a list of attempted transactions. After each death: the state is exactly the one after transaction n,
 * where n is no older than the newest that was promised (a durable commit, a fold, a clean close, and without a power
 * loss every commit) and no newer than the last attempt; and every folded tree still holds what it held.
 *
 * A commit that failed may be there after a power loss: its record was taken back, but who knows what the disk kept.
 */
#include "lives.h"

#include "error.h"
#include "layer.h"
#include "os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_OPS = 60000, MAX_ATTEMPTS = 3000, MAX_COMMITS = 300, MAX_BLOCKS = 300, LIVES = 14 };
enum { BASE_LAYER = 1, LAYER = 2, LARGE_BLOCK = 65536, LARGE_BLOCKS = 145, BULK_OPS = 140 };

static bool has_large_blocks;

struct op {
    bool is_resize;
    uint64_t where; /* block; new size in bytes */
    uint64_t value; /* of the page; 0: zeros */
};

struct attempt {
    uint64_t txn;
    size_t first_op, op_count;
    bool is_committed;
};

struct commit {
    struct bough__tree tree;
    uint64_t txn;
    size_t attempt_count; /* the attempts that count, of those so far */
};

struct model {
    uint32_t block_size;
    bool is_made;
    struct op ops[MAX_OPS];
    size_t op_count;
    struct attempt attempts[MAX_ATTEMPTS];
    size_t attempt_count;
    uint64_t durable_txn, visible_txn;
    struct commit commits[MAX_COMMITS];
    size_t commit_count;
    uint64_t checked; /* states verified, so that a test that checks nothing is seen */
};

struct state {
    uint64_t size_bytes;
    uint64_t values[MAX_BLOCKS];
    uint32_t kept[MAX_BLOCKS]; /* bytes of the page that count; the rest is zeros */
};

/* ---- the model ---- */

static void apply_op(struct state *state, const struct op *op, uint32_t block_size)
{
    if (!op->is_resize) {
        state->values[op->where] = op->value;
        state->kept[op->where] = block_size;
        if (state->size_bytes < (op->where + 1) * block_size)
            state->size_bytes = (op->where + 1) * block_size;
        return;
    }
    for (uint64_t block = op->where / block_size; block < MAX_BLOCKS && op->where < state->size_bytes; block++) {
        uint64_t start = block * block_size;
        uint64_t kept = op->where > start ? op->where - start : 0;
        if (kept < state->kept[block])
            state->kept[block] = (uint32_t)kept;
    }
    state->size_bytes = op->where;
}

static void apply(struct state *state, const struct model *model, const struct attempt *attempt)
{
    for (size_t i = 0; i < attempt->op_count; i++)
        apply_op(state, &model->ops[attempt->first_op + i], model->block_size);
}

/* The state after the committed transactions up to txn. */
static void state_at(struct state *out, const struct model *model, uint64_t txn)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < model->attempt_count; i++)
        if (model->attempts[i].is_committed && model->attempts[i].txn <= txn)
            apply(out, model, &model->attempts[i]);
}

static void make_page(uint8_t *out, const struct state *state, uint64_t block, uint32_t block_size)
{
    struct harness_random random = {state->values[block]};
    memset(out, 0, block_size);
    if (state->values[block])
        harness_fill(&random, out, state->kept[block]);
}

/* ---- comparing ---- */

static bool equals(const struct bough__snapshot *snapshot, const struct state *state, const struct model *model,
                   uint64_t *out_block)
{
    static uint8_t expected[65536], found[65536];
    *out_block = UINT64_MAX;
    if (snapshot->size_bytes != state->size_bytes)
        return false;
    for (uint64_t block = 0; block * model->block_size < state->size_bytes; block++) {
        *out_block = block;
        int rc = bough__snapshot_read(snapshot, block, found, block % 2);
        REQUIRE(rc == BOUGH_OK, "block %llu: %s", (unsigned long long)block, bough_error_message());
        make_page(expected, state, block, model->block_size);
        if (memcmp(expected, found, model->block_size) != 0)
            return false;
    }
    return true;
}

/* The snapshot is the state after its transaction; an attempt that was not known to be committed is from now on. */
static void check_state(const struct bough__snapshot *snapshot, struct model *model)
{
    static struct state state;
    uint64_t block = 0, txn = snapshot->txn;
    for (size_t i = model->attempt_count; i-- > 0;) {
        struct attempt *attempt = &model->attempts[i];
        if (attempt->txn != txn)
            continue;
        state_at(&state, model, attempt->is_committed ? txn : txn - 1);
        if (!attempt->is_committed)
            apply(&state, model, attempt);
        if (equals(snapshot, &state, model, &block)) {
            attempt->is_committed = true;
            model->checked++;
            return;
        }
        REQUIRE(!attempt->is_committed, "transaction %llu is wrong at block %lld; %llu bytes, expected %llu",
                (unsigned long long)txn, (long long)block, (unsigned long long)snapshot->size_bytes,
                (unsigned long long)state.size_bytes);
    }
    REQUIRE(txn == 0, "no attempt matches transaction %llu", (unsigned long long)txn);
    state_at(&state, model, 0);
    REQUIRE(equals(snapshot, &state, model, &block), "the base is wrong at block %lld", (long long)block);
    model->checked++;
}

/* Attempts after txn never happened. */
static void forget_after(struct model *model, uint64_t txn)
{
    size_t kept = 0;
    for (size_t i = 0; i < model->attempt_count; i++)
        if (model->attempts[i].is_committed && model->attempts[i].txn <= txn)
            model->attempts[kept++] = model->attempts[i];
    model->attempt_count = kept;
    REQUIRE(kept == 0 || model->attempts[kept - 1].txn == txn || txn == 0, "a gap below %llu",
            (unsigned long long)txn);
}

static void check_commits(struct life *life, struct bough__space *space, const struct model *model)
{
    static struct state state;
    for (size_t tries = model->commit_count < 4 ? model->commit_count : 4; tries > 0; tries--) {
        size_t i = tries == 1 ? model->commit_count - 1 : (size_t)harness_below(&life->random, model->commit_count);
        const struct commit *commit = &model->commits[i];
        struct bough__snapshot snapshot;
        uint64_t block = 0;
        int rc = bough__snapshot_of_tree(&snapshot, space, &commit->tree);
        REQUIRE(rc == BOUGH_OK, "%s", bough_error_message());
        state_at(&state, model, commit->txn);
        REQUIRE(equals(&snapshot, &state, model, &block), "commit of transaction %llu is wrong at block %lld",
                (unsigned long long)commit->txn, (long long)block);
        bough__snapshot_release(&snapshot);
    }
}

/* ---- the work of a life ---- */

static struct op random_op(struct harness_random *random, uint32_t block_size, uint64_t spread)
{
    struct op op = {.is_resize = harness_below(random, 12) == 0};
    if (op.is_resize) {
        op.where = harness_below(random, spread) * block_size;
        if (harness_below(random, 4) == 0)
            op.where += harness_below(random, block_size);
    } else {
        op.where = harness_below(random, spread);
        op.value = harness_below(random, 8) ? harness_next(random) | 1 : 0;
    }
    return op;
}

/* BOUGH_IO: a sync failed while the file was made. */
static int write_op(struct bough__txn *txn, const struct op *op, uint32_t block_size)
{
    static uint8_t page[65536];
    static struct state scratch;
    int rc = BOUGH_OK;
    if (op->is_resize) {
        rc = bough__txn_resize(txn, op->where);
    } else {
        scratch.values[op->where] = op->value;
        scratch.kept[op->where] = block_size;
        make_page(page, &scratch, op->where, block_size);
        rc = bough__txn_write(txn, op->where, page);
    }
    REQUIRE(rc == BOUGH_OK || rc == BOUGH_IO, "%s: %s", bough_code_name(rc), bough_error_message());
    return rc;
}

/* How many operations: mostly few, sometimes enough to spill the buffer, to need a new chunk of log, or (with the
 * largest blocks) to be committed by a checkpoint. */
static uint64_t draw_op_count(struct harness_random *random, uint32_t block_size)
{
    if (block_size == LARGE_BLOCK)
        return harness_below(random, 2) ? 1 + harness_below(random, 6) : BULK_OPS;
    switch (harness_below(random, 12)) {
    case 0:
        return 1 + harness_below(random, 2800);
    case 1:
    case 2:
        return 1 + harness_below(random, 300);
    default:
        return 1 + harness_below(random, 12);
    }
}

static void transaction(struct life *life, struct bough__layer *layer, struct model *model)
{
    struct harness_random *random = &life->random;
    struct bough__snapshot snapshot;
    struct bough__txn *txn = NULL;
    int rc = bough__snapshot_pin(&snapshot, layer);
    REQUIRE(rc == BOUGH_OK, "%s", bough_error_message());
    rc = bough__txn_begin(&txn, &snapshot);
    if (rc == BOUGH_IO) { /* a sync that failed, while the layer recovered from one that failed before */
        bough__snapshot_release(&snapshot);
        return;
    }
    REQUIRE(rc == BOUGH_OK, "%s", bough_error_message());
    rc = bough__txn_set_block_size(txn, model->block_size);
    REQUIRE(rc == BOUGH_OK, "%s", bough_error_message());

    uint64_t count = draw_op_count(random, model->block_size);
    uint64_t spread = has_large_blocks ? LARGE_BLOCKS : 1 + harness_below(random, MAX_BLOCKS);
    if (model->op_count + count > MAX_OPS || model->attempt_count == MAX_ATTEMPTS)
        count = 0;
    struct attempt attempt = {snapshot.txn + 1, model->op_count, (size_t)count, false};
    for (uint64_t i = 0; rc == BOUGH_OK && i < count; i++) {
        struct op *op = &model->ops[model->op_count];
        *op = random_op(random, model->block_size, spread);
        if (has_large_blocks && count == BULK_OPS)
            *op = (struct op){false, i, op->value | 1};
        rc = write_op(txn, &model->ops[model->op_count++], model->block_size);
    }
    if (rc != BOUGH_OK || count == 0 || harness_below(random, 10) == 0) {
        bough__txn_rollback(txn);
    } else {
        bool is_durable = harness_below(random, 2);
        bool is_dirty = bough__txn_is_dirty(txn);
        uint64_t number = 0;
        struct attempt *noted = &model->attempts[model->attempt_count];
        *noted = attempt;
        model->attempt_count++;
        lives_trace(life, "commits %llu%s, %llu operations", (unsigned long long)attempt.txn,
                    is_durable ? " durably" : "", (unsigned long long)count);
        rc = bough__txn_commit(txn, is_durable ? BOUGH__DURABLE : BOUGH__LAZY, &number);
        lives_trace(life, "gave %s", bough_code_name(rc));
        REQUIRE(rc == BOUGH_OK || rc == BOUGH_IO, "%s: %s", bough_code_name(rc), bough_error_message());
        if (rc == BOUGH_OK && is_dirty) {
            REQUIRE(number == attempt.txn, "%llu", (unsigned long long)number);
            model->visible_txn = number;
            if (is_durable)
                model->durable_txn = number;
            noted->is_committed = true;
        }
    }
    bough__txn_end(txn);
    bough__snapshot_release(&snapshot);
}

/* What a commit does; the row that would name the tree is this model's memory. */
static void commit(struct life *life, struct bough__layer *layer, struct model *model)
{
    struct bough__snapshot snapshot;
    struct bough__tree tree;
    int rc = bough__snapshot_pin(&snapshot, layer);
    REQUIRE(rc == BOUGH_OK, "%s", bough_error_message());
    rc = bough__snapshot_fold(&tree, NULL, &snapshot);
    lives_trace(life, "folds %llu: %s", (unsigned long long)snapshot.txn, bough_code_name(rc));
    REQUIRE(rc == BOUGH_OK || rc == BOUGH_IO, "%s: %s", bough_code_name(rc), bough_error_message());
    if (rc == BOUGH_OK && model->commit_count < MAX_COMMITS) {
        bough__layer_hold(layer, snapshot.txn);
        if (model->durable_txn < snapshot.txn)
            model->durable_txn = snapshot.txn;
        model->commits[model->commit_count] = (struct commit){tree, snapshot.txn, model->attempt_count};
        model->commit_count++;
    }
    bough__snapshot_release(&snapshot);
}

static void check_newest(struct bough__layer *layer, struct model *model)
{
    struct bough__snapshot snapshot;
    int rc = bough__snapshot_pin(&snapshot, layer);
    REQUIRE(rc == BOUGH_OK, "%s", bough_error_message());
    REQUIRE(snapshot.txn == model->visible_txn, "transaction %llu instead of %llu", (unsigned long long)snapshot.txn,
            (unsigned long long)model->visible_txn);
    check_state(&snapshot, model);
    bough__snapshot_release(&snapshot);
}

static struct bough__layer *open_layer(struct bough__space *space, const struct model *model)
{
    struct bough__layer *layer = NULL;
    struct bough__layer_owner owner = {.number = LAYER, .branch = "main"};
    if (model->commit_count) {
        owner.head = model->commits[model->commit_count - 1].tree;
        owner.held_txn = model->commits[model->commit_count - 1].txn;
    }
    int rc = bough__layer_open(&layer, space, &owner);
    if (rc == BOUGH_IO) /* the one sync that fails */
        rc = bough__layer_open(&layer, space, &owner);
    REQUIRE(rc == BOUGH_OK, "%s: %s", bough_code_name(rc), bough_error_message());
    return layer;
}

static void check_after_death(struct life *life, struct bough__layer *layer, struct model *model)
{
    struct bough__snapshot snapshot;
    int rc = bough__snapshot_pin(&snapshot, layer);
    REQUIRE(rc == BOUGH_OK, "%s", bough_error_message());
    uint64_t promised = life->power_was_lost ? model->durable_txn : model->visible_txn;
    REQUIRE(snapshot.txn >= promised, "transaction %llu, but %llu was promised", (unsigned long long)snapshot.txn,
            (unsigned long long)promised);
    lives_trace(life, "finds %llu", (unsigned long long)snapshot.txn);
    check_state(&snapshot, model);
    forget_after(model, snapshot.txn);
    model->visible_txn = snapshot.txn;
    lives_settled(life);
    bough__snapshot_release(&snapshot);
}

/* ---- the store around the layer ---- */

/* A base of some pages, written as an import writes them. */
static void make_base(struct life *life, struct bough__space *space, struct model *model)
{
    static struct bough__change changes[MAX_BLOCKS];
    static uint8_t page[65536];
    static struct state state;
    size_t count = 0;
    struct bough__filler *filler = NULL;
    struct bough__appender *appender = NULL;
    struct bough__tree tree = {0}, none = {0};
    uint64_t blocks = harness_below(&life->random, has_large_blocks ? 20 : MAX_BLOCKS);
    if (blocks == 0)
        return;
    struct attempt *attempt = &model->attempts[model->attempt_count++];
    *attempt = (struct attempt){0, model->op_count, (size_t)blocks, true};
    for (uint64_t i = 0; i < blocks; i++)
        model->ops[model->op_count++] = (struct op){false, i, harness_next(&life->random) | 1};
    state_at(&state, model, 0);
    int rc = bough__filler_begin(&filler, space, BASE_LAYER, model->block_size);
    for (uint64_t i = 0; rc == BOUGH_OK && i < blocks; i++) {
        make_page(page, &state, i, model->block_size);
        changes[count].block = i;
        rc = bough__filler_add(&changes[count].entry, filler, i, page);
        if (rc == BOUGH_OK)
            rc = bough__sha256(changes[count++].entry.digest, page, model->block_size);
    }
    if (rc == BOUGH_OK)
        rc = bough__filler_sync(filler);
    bough__filler_end(filler, true);
    if (rc == BOUGH_OK)
        rc = bough__appender_begin(&appender, space->nodes);
    if (rc == BOUGH_OK)
        rc = bough__map_fold(&tree, space->nodes, appender, &none, changes, count, 0, state.size_bytes,
                             model->block_size, UINT64_MAX);
    if (rc == BOUGH_OK)
        rc = bough__appender_sync(appender);
    bough__appender_end(appender);
    REQUIRE(rc == BOUGH_OK, "%s", bough_error_message());
    model->commits[model->commit_count++] = (struct commit){tree, 0, model->attempt_count};
}

static void make_store(struct life *life, const char *path, struct model *model)
{
    static const char *const folders[] = {"", "/layers", "/nodes", "/run"};
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        char *folder = bough__format("%s%s", path, folders[i]);
        REQUIRE(bough__os.mkdir(folder, 0700) == 0, "mkdir %s", folder);
        free(folder);
    }
    struct bough__space *space = NULL;
    int rc = bough__space_create(path, 0600);
    if (rc == BOUGH_OK)
        rc = bough__os_sync_directory(path);
    if (rc == BOUGH_OK)
        rc = bough__os_sync_directory(life->directory);
    if (rc == BOUGH_OK)
        rc = bough__space_open(&space, path);
    REQUIRE(rc == BOUGH_OK, "%s", bough_error_message());
    static const uint32_t sizes[] = {512, 1024, 4096};
    model->block_size = has_large_blocks ? LARGE_BLOCK : sizes[harness_below(&life->random, COUNT_OF(sizes))];
    if (harness_below(&life->random, 2))
        make_base(life, space, model);
    bough__space_close(space);
    model->is_made = true;
}

static void live(struct life *life)
{
    struct model *model = life->shared;
    struct bough__space *space = NULL;
    char *path = bough__format("%s/store", life->directory);
    if (!model->is_made)
        make_store(life, path, model);
    lives_draw_fate(life, has_large_blocks ? 24 : 40);
    int rc = bough__space_open(&space, path);
    REQUIRE(rc == BOUGH_OK, "%s", bough_error_message());
    struct bough__layer *layer = open_layer(space, model);
    check_after_death(life, layer, model);
    check_commits(life, space, model);
    for (uint64_t i = harness_below(&life->random, 16); i > 0; i--) {
        switch (harness_below(&life->random, 10)) {
        case 0:
        case 1:
            commit(life, layer, model);
            break;
        case 2:
            check_newest(layer, model);
            break;
        case 3:
            bough__layer_close(layer);
            layer = open_layer(space, model);
            break;
        default:
            transaction(life, layer, model);
        }
    }
    check_newest(layer, model);
    bough__layer_close(layer);
    bough__space_close(space);
    free(path);
}

int main(void)
{
    static const struct story small = {"crash-layer", sizeof(struct model), LIVES, 1, true, live};
    static const struct story large = {"crash-checkpoint", sizeof(struct model), LIVES, 8, true, live};
    /* The second kind has few blocks, so large that most transactions are committed by a checkpoint. */
    const char *only = getenv("BOUGH_STORY");
    int status = only && strcmp(only, large.name) == 0 ? EXIT_SUCCESS : lives_run(&small, 1, 120);
    has_large_blocks = true;
    if (status == EXIT_SUCCESS && !(only && strcmp(only, small.name) == 0))
        status = lives_run(&large, 1, 120);
    return status;
}
