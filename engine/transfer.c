/* transfer.c - bytes into a branch that exists, and out of any state.
 *
 * Import holds the branch still (move.c), fills a layer and a map with what differs from its newest state (fill.c), and
 * then writes one catalog transaction: the commit of what was not committed, the commit of the import, the branch's
 * head, and a fresh number for its overlay. Before that transaction nothing has happened; whatever was stored is
 * removed, or after a crash garbage.
 */
#include "error.h"
#include "fill.h"
#include "move.h"
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
    struct bough__move move;
    struct bough__seal seal;
    struct bough__fill fill;
};

/* The branch stands still, and its newest state is a durable tree. */
static int take_branch(struct import *import, const char *name)
{
    struct bough__commit_row head = {0};
    bough_options options;
    bough__options_for(&options, import->store, import->options);
    int rc = bough__move_begin(&import->move, import->store, name, "import", &options);
    if (rc == BOUGH_OK)
        rc = bough__seal_begin(&import->seal, import->store, &import->move.row);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit_by_id(&head, import->store->catalog, import->move.row.head);
    if (rc == BOUGH_OK)
        import->fill.base = import->seal.is_folded ? import->seal.tree : head.tree;
    bough__commit_row_clear(&head);
    return rc;
}

static int prepare_commit(struct bough__commit_row *out, const struct import *import,
                          const struct bough__branch_row *now)
{
    const char *message = import->options ? import->options->message : NULL;
    out->tree = import->fill.tree;
    out->changed_pages = import->fill.changed_pages;
    out->message = bough__strdup(message ? message : "import");
    out->parents = bough__alloc(sizeof *out->parents);
    if (!out->message || !out->parents)
        return bough__fail_memory();
    out->parent_count = 1;
    memcpy(out->parents[0], now->head, BOUGH__DIGEST_SIZE);
    return BOUGH_OK;
}

/* In the catalog's write transaction. The branch may have been renamed or protected while the bytes were read. */
static int write_rows(struct bough__commit_row *out, struct import *import)
{
    struct bough__catalog *catalog = import->store->catalog;
    struct bough__branch_row now = {0};
    uint8_t before[BOUGH__DIGEST_SIZE];
    bool sealed = false;
    int rc = bough__move_read(&now, &import->move);
    if (rc == BOUGH_OK)
        rc = bough__seal_record(&sealed, &import->seal, &now, NULL, true);
    if (rc == BOUGH_OK && import->fill.is_equal) {
        rc = bough__catalog_commit_by_id(out, catalog, now.head);
    } else if (rc == BOUGH_OK) {
        rc = prepare_commit(out, import, &now);
        if (rc == BOUGH_OK)
            rc = bough__commit_record(catalog, out);
        now.node_bytes += import->fill.stored_bytes;
        /* A state that is equal to its head gets no commit that would name the layer. */
        import->move.is_needed = import->seal.is_folded;
        memcpy(before, now.head, sizeof before);
        memcpy(now.head, out->id, sizeof now.head);
        if (rc == BOUGH_OK)
            rc = bough__move_write(&import->move, &now, before);
    }
    bough__branch_row_clear(&now);
    return rc;
}

static int record(struct bough__commit_row *out, struct import *import)
{
    int rc = bough__catalog_begin(import->store->catalog);
    return rc == BOUGH_OK ? bough__move_finish(&import->move, write_rows(out, import)) : rc;
}

int bough__store_import(bough_transfer *out, struct bough_store *store, const char *branch,
                        struct bough__source *source, const bough_options *options)
{
    struct import import = {.store = store,
                            .options = options,
                            .fill = {.space = store->space, .catalog = store->catalog, .options = options}};
    struct bough__commit_row commit = {0};
    memset(out, 0, sizeof *out);
    out->branch = bough__strdup(branch); /* what may fail comes before the row is written */
    int rc = out->branch ? take_branch(&import, branch) : bough__fail_memory();
    if (rc == BOUGH_OK)
        rc = bough__fill_run(&import.fill, source);
    if (rc == BOUGH_OK)
        rc = record(&commit, &import);
    bool is_new = rc == BOUGH_OK && !import.fill.is_equal;
    bough__fill_end(&import.fill, is_new);
    bough__seal_end(&import.seal);
    bough__move_end(&import.move);
    if (rc == BOUGH_OK) {
        bough__hex(out->id, commit.id, sizeof commit.id);
        bough__hex(out->root, commit.root, sizeof commit.root);
        out->size_bytes = source->size_bytes;
        out->changed = is_new;
    }
    bough__commit_row_clear(&commit);
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
static int describe(bough_transfer *out, const struct bough__target *target, struct bough__snapshot *snapshot)
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
