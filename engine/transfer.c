/* transfer.c - bytes into a branch that exists, and out of any state.
 *
 * Import takes the branch from everyone else (nobody may have it open), seals what was not committed, fills a new layer
 * and map (fill.c), and then writes one catalog transaction: the commit, the branch's head, and a fresh number for its
 * overlay. Before that transaction nothing has happened; whatever was stored is removed, or after a crash garbage.
 */
#include "error.h"
#include "fill.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

void bough_transfer_release(bough_transfer *transfer)
{
    free(transfer->path);
    free(transfer->branch);
    memset(transfer, 0, sizeof *transfer);
}

/* ---- import ---------------------------------------------------------------------------------------------------- */

struct import {
    struct bough_store *store;
    const bough_options *options;
    struct bough__branch_row branch;
    struct bough__commit_row head;
    struct bough__layer *layer;
    bool is_seized;
};

static int check_writable(const struct bough__branch_row *branch)
{
    if (branch->is_protected)
        return bough__fail(BOUGH_REFUSED, "branch '%s' is protected", branch->name);
    return BOUGH_OK;
}

static int read_branch(struct import *import, const char *name)
{
    bough__branch_row_clear(&import->branch);
    int rc = bough__catalog_branch_by_name(&import->branch, import->store->catalog, name);
    return rc == BOUGH_OK ? check_writable(&import->branch) : rc;
}

/* Alone on the branch, with its newest transaction committed. */
static int take_branch(struct import *import, const char *name)
{
    uint32_t timeout_ms = import->options ? import->options->timeout_ms : import->store->timeout_ms;
    bool sealed = false;
    int rc = BOUGH_OK;
    for (int tries = 0; tries < 10; tries++) {
        rc = read_branch(import, name);
        if (rc == BOUGH_OK)
            rc = bough__branch_layer(&import->layer, import->store, &import->branch);
        if (rc != BOUGH_BUSY)
            break; /* BUSY: the layer was replaced since the row was read */
    }
    if (rc == BOUGH_OK)
        rc = bough__layer_seize(import->layer, false, timeout_ms);
    import->is_seized = rc == BOUGH_OK;
    if (rc == BOUGH_OK)
        rc = bough__branch_seal(&sealed, import->store, &import->branch, NULL, true);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit_by_id(&import->head, import->store->catalog, import->branch.head);
    return rc;
}

/* In the catalog's write transaction. The branch may have been renamed or protected while the bytes were read. */
static int write_rows(struct import *import, struct bough__commit_row *commit, const struct bough__fill *fill)
{
    struct bough__catalog *catalog = import->store->catalog;
    struct bough__branch_row now = {0};
    int rc = bough__catalog_branch_by_id(&now, catalog, import->branch.id);
    if (rc == BOUGH_OK)
        rc = check_writable(&now);
    if (rc == BOUGH_OK && (now.layer != import->branch.layer || memcmp(now.head, import->branch.head, sizeof now.head)))
        rc = bough__fail(BOUGH_BUSY, "branch '%s' was changed during the import", now.name);
    if (rc == BOUGH_OK)
        rc = bough__commit_record(catalog, commit);
    if (rc == BOUGH_OK)
        rc = bough__catalog_new_layer(&now.layer, catalog);
    now.head_txn = 0;
    now.node_bytes += fill->stored_bytes;
    memcpy(now.head, commit->id, sizeof now.head);
    if (rc == BOUGH_OK)
        rc = bough__catalog_branch_update(catalog, &now);
    bough__branch_row_clear(&now);
    return rc;
}

static int record(struct import *import, struct bough__commit_row *commit, const struct bough__fill *fill)
{
    struct bough__catalog *catalog = import->store->catalog;
    commit->tree = fill->tree;
    commit->changed_pages = fill->changed_pages;
    commit->message = bough__strdup(import->options && import->options->message ? import->options->message : "import");
    commit->parents = bough__alloc(sizeof *commit->parents);
    if (!commit->message || !commit->parents)
        return BOUGH_NOMEM;
    commit->parent_count = 1;
    memcpy(commit->parents[0], import->branch.head, BOUGH__DIGEST_SIZE);
    int rc = bough__catalog_begin(catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = write_rows(import, commit, fill);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit(catalog);
    if (rc != BOUGH_OK)
        bough__catalog_rollback(catalog);
    return rc;
}

int bough__store_import(bough_transfer *out, struct bough_store *store, const char *branch,
                        struct bough__source *source, const bough_options *options)
{
    struct import import = {.store = store, .options = options};
    struct bough__commit_row commit = {0};
    struct bough__fill fill = {.space = store->space, .catalog = store->catalog, .options = options};
    memset(out, 0, sizeof *out);
    out->branch = bough__strdup(branch); /* what may fail comes before the row is written */
    int rc = out->branch ? take_branch(&import, branch) : BOUGH_NOMEM;
    if (rc == BOUGH_OK) {
        fill.base = import.head.tree;
        rc = bough__fill_run(&fill, source);
    }
    if (rc == BOUGH_OK && !fill.is_equal)
        rc = record(&import, &commit, &fill);
    bool is_new = rc == BOUGH_OK && !fill.is_equal;
    bough__fill_end(&fill, is_new);
    if (import.is_seized)
        bough__layer_unseize(import.layer, is_new); /* whoever slipped in meanwhile holds a layer of the past */
    bough__layer_close(import.layer);
    if (rc == BOUGH_OK) {
        const struct bough__commit_row *result = fill.is_equal ? &import.head : &commit;
        bough__hex(out->id, result->id, sizeof result->id);
        bough__hex(out->root, result->root, sizeof result->root);
        out->size_bytes = source->size_bytes;
        out->changed = is_new;
    }
    bough__commit_row_clear(&commit);
    bough__commit_row_clear(&import.head);
    bough__branch_row_clear(&import.branch);
    if (rc != BOUGH_OK)
        bough_transfer_release(out);
    return rc;
}

/* ---- stream ---------------------------------------------------------------------------------------------------- */

#define RUN_BYTES (1u << 20) /* a multiple of every block size */

struct stream {
    const struct bough__snapshot *snapshot;
    const bough_options *options;
    int (*write)(void *context, uint64_t offset, const void *bytes, size_t len_bytes);
    void *context;
    uint8_t *run; /* blocks that follow each other, not yet written */
    uint64_t first_block;
    size_t block_count;
};

static int write_run(struct stream *stream)
{
    const struct bough__snapshot *snapshot = stream->snapshot;
    uint64_t offset = stream->first_block * snapshot->block_size;
    size_t len = stream->block_count * snapshot->block_size;
    if (len > snapshot->size_bytes - offset)
        len = (size_t)(snapshot->size_bytes - offset);
    stream->block_count = 0;
    int rc = stream->write(stream->context, offset, stream->run, len);
    return rc == BOUGH_OK ? bough__report_progress(stream->options, offset + len, snapshot->size_bytes) : rc;
}

static int stream_block(void *context, uint64_t block, const struct bough__entry *a, const struct bough__entry *b)
{
    struct stream *stream = context;
    uint32_t block_size = stream->snapshot->block_size;
    int rc = BOUGH_OK;
    (void)a;
    (void)b;
    if (stream->block_count &&
        (block != stream->first_block + stream->block_count || (stream->block_count + 1) * block_size > RUN_BYTES))
        rc = write_run(stream);
    if (rc != BOUGH_OK)
        return rc;
    if (stream->block_count == 0)
        stream->first_block = block;
    rc = bough__snapshot_read(stream->snapshot, block, stream->run + stream->block_count * block_size, true);
    stream->block_count++;
    return rc;
}

/* What differs from an empty database of the same block size is what is not zero. */
static int stream_snapshot(struct stream *stream)
{
    struct bough__tree nothing = {.block_size = stream->snapshot->block_size};
    struct bough__snapshot empty = {0};
    if (stream->snapshot->size_bytes == 0)
        return BOUGH_OK;
    stream->run = bough__alloc(RUN_BYTES);
    if (!stream->run)
        return BOUGH_NOMEM;
    int rc = bough__report_progress(stream->options, 0, stream->snapshot->size_bytes);
    if (rc == BOUGH_OK)
        rc = bough__snapshot_of_tree(&empty, stream->snapshot->space, &nothing);
    if (rc == BOUGH_OK) {
        rc = bough__snapshot_diff(&empty, stream->snapshot, stream_block, stream);
        bough__snapshot_release(&empty);
    }
    if (rc == BOUGH_OK && stream->block_count)
        rc = write_run(stream);
    free(stream->run);
    return rc;
}

/* The root of a state that is no commit costs a fold, which writes nodes. Where the store has no room or permission for
 * them the root stays unknown: the bytes are out, and that is what was asked for. */
static int describe(bough_transfer *out, const struct bough__target *target, const struct bough__snapshot *snapshot)
{
    struct bough__tree tree;
    uint8_t root[BOUGH__DIGEST_SIZE];
    int rc = bough__snapshot_fold(&tree, NULL, snapshot);
    if (rc == BOUGH_OK && (rc = bough__root_id(root, &tree)) == BOUGH_OK)
        bough__hex(out->root, root, sizeof root);
    if (rc != BOUGH_OK && rc != BOUGH_IO && rc != BOUGH_FULL)
        return rc;
    if (!target->has_branch || snapshot->txn == target->branch.head_txn)
        bough__hex(out->id, target->commit.id, sizeof target->commit.id);
    out->size_bytes = snapshot->size_bytes;
    if (target->has_branch && !(out->branch = bough__strdup(target->branch.name)))
        return BOUGH_NOMEM;
    return BOUGH_OK;
}

int bough__store_stream(bough_transfer *out, struct bough_store *store, const char *ref,
                        int (*write)(void *context, uint64_t offset, const void *bytes, size_t len_bytes),
                        void *context, const bough_options *options)
{
    struct bough__target target = {0};
    struct bough__snapshot snapshot = {0};
    struct bough__layer *layer = NULL;
    memset(out, 0, sizeof *out);
    int rc = bough__target_resolve(&target, store, ref);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__target_pin(&snapshot, &layer, store, &target);
    if (rc == BOUGH_OK) {
        struct stream stream = {.snapshot = &snapshot, .options = options, .write = write, .context = context};
        rc = stream_snapshot(&stream);
        if (rc == BOUGH_OK)
            rc = describe(out, &target, &snapshot);
        bough__snapshot_release(&snapshot);
    }
    bough__layer_close(layer);
    bough__target_clear(&target);
    if (rc != BOUGH_OK)
        bough_transfer_release(out);
    return rc;
}
