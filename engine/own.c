/* own.c - gc: what is left of the bytes that branches count as their own.
 *
 * A branch's row counts the nodes that its commits stored and what its imports stored, its layer's header the nodes of
 * its checkpoints. Both only rise while the branch is written to; here they are lowered.
 *
 * The row, by what goes with the commits that are pruned: what lies below them and below nothing that stays. The
 * header, to what is live: gc marks commits in the order in which they were made, and then the branches' trees, so what
 * a tree adds to the marks is its own. Of that the header counts what the row does not. What imports stored stays in
 * the row until the branch is reset.
 *
 * The header is written by the checkpoint that gives frames back, the rows in one transaction for all branches.
 */
#include "gc.h"

#include "error.h"
#include "os.h"

#include <stdlib.h>

static int by_layer(const void *a, const void *b)
{
    const struct bough__gc_own *x = a, *y = b;
    return (x->layer > y->layer) - (x->layer < y->layer);
}

static struct bough__gc_own *find(const struct bough__gc *gc, uint32_t layer)
{
    struct bough__gc_own key = {.layer = layer};
    return gc->own_count == 0 ? NULL : bsearch(&key, gc->own, gc->own_count, sizeof *gc->own, by_layer);
}

int bough__own_begin(struct bough__gc *gc)
{
    gc->own = bough__alloc(gc->branch_count * sizeof *gc->own);
    if (gc->own == NULL)
        return BOUGH_NOMEM;
    for (size_t i = 0; i < gc->branch_count; i++)
        if (!gc->branches[i].is_dropped)
            gc->own[gc->own_count++] = (struct bough__gc_own){.layer = gc->branches[i].layer,
                                                              .branch_id = gc->branches[i].id,
                                                              .row_bytes = gc->branches[i].node_bytes};
    if (gc->own_count != 0)
        qsort(gc->own, gc->own_count, sizeof *gc->own, by_layer);
    return BOUGH_OK;
}

/* *out: what the tree adds to the marks, but for frames of the layer, which are counted by what its file takes. */
static int mark(uint64_t *out_bytes, struct bough__marks *marks, uint32_t layer, struct bough__node_ref top)
{
    uint64_t bytes = bough__marks_bytes(marks), frames = bough__marks_frame_bytes(marks, layer);
    int rc = bough__marks_tree(marks, top);
    *out_bytes = bough__marks_bytes(marks) - bytes - (bough__marks_frame_bytes(marks, layer) - frames);
    return rc;
}

int bough__own_mark_commit(struct bough__gc *gc, const struct bough__commit_row *row)
{
    uint64_t bytes = 0;
    struct bough__gc_own *own = find(gc, row->layer);
    int rc = mark(&bytes, gc->marks, row->layer, row->tree.top);
    if (own != NULL)
        own->commit_bytes += bytes;
    return rc;
}

int bough__own_mark_layer(struct bough__gc *gc, uint32_t layer, const struct bough__layer_slot *slot)
{
    uint64_t bytes = 0;
    struct bough__gc_own *own = find(gc, layer);
    int rc = mark(&bytes, gc->marks, layer, slot->tree.top);
    if (own != NULL) {
        own->tree_bytes += bytes;
        own->header_nodes = slot->node_count;
    }
    return rc;
}

int bough__own_mark_dead(struct bough__gc *gc, struct bough__marks *dead, const struct bough__commit_row *row)
{
    uint64_t bytes = 0;
    struct bough__gc_own *own = find(gc, row->layer);
    int rc = own != NULL ? mark(&bytes, dead, row->layer, row->tree.top) : BOUGH_OK;
    if (own != NULL)
        own->row_excess += bytes;
    return rc;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void bough__own_conclude(struct bough__gc *gc)
{
    for (size_t i = 0; i < gc->own_count; i++) {
        struct bough__gc_own *own = &gc->own[i];
        own->row_excess = smaller(own->row_excess, own->row_bytes);
        uint64_t in_row = smaller(own->row_bytes - own->row_excess, own->commit_bytes);
        uint64_t live = (own->tree_bytes + own->commit_bytes - in_row) / BOUGH__NODE_SIZE;
        own->header_excess = own->header_nodes > live ? own->header_nodes - live : 0;
    }
}

uint64_t bough__own_header_excess(const struct bough__gc *gc, uint32_t layer)
{
    const struct bough__gc_own *own = find(gc, layer);
    return own != NULL ? own->header_excess : 0;
}

/* What was counted since is left as it is. */
static int lower(struct bough__gc *gc, const struct bough__gc_own *own)
{
    struct bough__branch_row row = {0};
    int rc = bough__catalog_branch_by_id(&row, gc->store->catalog, own->branch_id);
    if (rc == BOUGH_OK && row.layer == own->layer && row.node_bytes >= own->row_excess) {
        row.node_bytes -= own->row_excess;
        rc = bough__catalog_branch_update(gc->store->catalog, &row);
    }
    bough__branch_row_clear(&row);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

int bough__own_write(struct bough__gc *gc)
{
    bool is_needed = false;
    for (size_t i = 0; i < gc->own_count; i++)
        is_needed = is_needed || gc->own[i].row_excess != 0;
    if (!is_needed)
        return BOUGH_OK;
    int rc = bough__catalog_begin(gc->store->catalog);
    if (rc != BOUGH_OK)
        return rc;
    for (size_t i = 0; rc == BOUGH_OK && i < gc->own_count; i++)
        if (gc->own[i].row_excess != 0)
            rc = lower(gc, &gc->own[i]);
    if (rc == BOUGH_OK)
        return bough__catalog_commit(gc->store->catalog);
    bough__catalog_rollback(gc->store->catalog);
    return rc;
}
