/* reblock.c - a branch whose pages got another size than its blocks: VACUUM after PRAGMA page_size, or a backup.
 *
 * Blocks and pages of one size make a root a function of bytes and page size, pages the unit of every count, and a
 * changed page cost a page. So the writer who has committed such a state stores it once more, in blocks of the new
 * size: a layer that begins with the whole database as its first transaction becomes the branch's layer, in the way
 * that move.c describes. The state is the same to the byte and stays uncommitted. It costs what VACUUM has cost. If it
 * fails nothing is lost; the next writer tries again.
 */
#include "error.h"
#include "fill.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_TXN 1

static int read_bytes(void *context, uint64_t offset, void *buffer, size_t len_bytes)
{
    const struct bough__snapshot *snapshot = context;
    uint32_t block_size = snapshot->block_size;
    uint8_t *out = buffer, *page = bough__alloc(block_size);
    int rc = page ? BOUGH_OK : bough__fail_memory();
    while (rc == BOUGH_OK && len_bytes > 0) {
        size_t within = (size_t)(offset % block_size), count = block_size - within;
        count = count < len_bytes ? count : len_bytes;
        rc = bough__snapshot_read(snapshot, offset / block_size, page, true);
        if (rc == BOUGH_OK)
            memcpy(out, page + within, count);
        out += count;
        offset += count;
        len_bytes -= count;
    }
    free(page);
    return rc;
}

static int point_row(struct bough_store *store, int64_t branch_id, struct bough__layer *layer,
                     const struct bough__fill *fill)
{
    struct bough__branch_row row = {0};
    int rc = bough__catalog_begin(store->catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__catalog_branch_by_id(&row, store->catalog, branch_id);
    if (rc == BOUGH_OK && row.layer != bough__layer_number(layer))
        rc = bough__fail(BOUGH_STALE, "branch %s has taken another state meanwhile", row.name);
    row.layer = bough__filler_number(fill->filler);
    row.head_txn = row.held_txn = 0;
    if (rc == BOUGH_OK)
        rc = bough__catalog_branch_update(store->catalog, &row);
    if (rc == BOUGH_OK)
        bough__layer_doubt_left(layer, branch_id);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit(store->catalog);
    else
        bough__catalog_rollback(store->catalog);
    bough__branch_row_clear(&row);
    return rc;
}

int bough__branch_reblock(struct bough_store *store, int64_t branch_id, const struct bough__snapshot *snapshot,
                          uint32_t block_size)
{
    struct bough__fill fill = {.space = store->space, .catalog = store->catalog, .birth = FIRST_TXN};
    struct bough__source source = {.size_bytes = snapshot->size_bytes,
                                   .page_size = block_size,
                                   .context = (void *)snapshot,
                                   .read = read_bytes};
    struct bough__layer *layer = snapshot->layer;
    bool has_commits = true;
    int rc = bough__fill_run(&fill, &source);
    if (rc == BOUGH_OK && !fill.filler)
        rc = bough__fail(BOUGH_USAGE, "nothing to store in other blocks");
    if (rc == BOUGH_OK)
        rc = bough__filler_adopt(fill.filler, &fill.tree, FIRST_TXN);
    if (rc == BOUGH_OK)
        rc = point_row(store, branch_id, layer, &fill);
    if (rc == BOUGH_OK &&
        bough__catalog_layer_has_commits(&has_commits, store->catalog, bough__layer_number(layer)) != BOUGH_OK)
        has_commits = true;
    if (rc == BOUGH_OK)
        bough__layer_leave(layer, !has_commits);
    else
        bough__layer_trust(layer);
    bough__fill_end(&fill, rc == BOUGH_OK);
    return rc;
}
