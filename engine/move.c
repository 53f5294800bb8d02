/* move.c - a branch takes another state while others have it open.
 *
 * Nothing is written over. The branch's row gets another head and the number of a fresh layer, in one catalog
 * transaction; the old layer stays what it is, for those who read from it and for the commits in it.
 *
 *  1 take    the writer's lock of the old layer: the state stands still, and nobody writes there any more
 *  2 doubt   a flag in the old layer's shared memory. Whoever sees it at the start of a transaction looks at the
 *            branch's row first. It comes before the row, so that there is no moment at which the row has moved and
 *            an open connection could write to the old layer without knowing. If this process is killed now the flag
 *            stays until the last opener leaves, which costs them a look at the row and nothing else
 *  3 record  the transaction
 *  4 leave   the layer is marked as left for good, or where the transaction failed the doubt is taken back
 *
 * An open connection finishes what it reads, then finds its branch by the row's id, opens the new layer and goes on
 * there. Its caches are made void (vfs/file.c).
 */
#include "move.h"

#include "error.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

static int check_protection(const struct bough__branch_row *row)
{
    return row->is_protected ? bough__fail(BOUGH_REFUSED, "branch %s is protected", row->name) : BOUGH_OK;
}

static int begin_once(struct bough__move *move, const char *name, uint32_t timeout_ms)
{
    struct bough__branch_row now = {0};
    int rc = bough__catalog_branch_by_name(&move->row, move->store->catalog, name);
    if (rc == BOUGH_OK)
        rc = check_protection(&move->row);
    if (rc == BOUGH_OK)
        rc = bough__branch_layer(&move->layer, move->store, &move->row);
    if (rc == BOUGH_OK)
        rc = bough__layer_take(move->layer, timeout_ms);
    move->is_taken = rc == BOUGH_OK;
    /* While we waited somebody else may have moved the branch away, and died before he said so: his doubt stays. */
    if (rc == BOUGH_OK)
        rc = bough__catalog_branch_by_id(&now, move->store->catalog, move->row.id);
    if (rc == BOUGH_OK && now.layer != move->row.layer)
        rc = bough__fail(BOUGH_STALE, "branch %s was replaced meanwhile; try again", name);
    move->is_confirmed = rc == BOUGH_OK;
    bough__branch_row_clear(&now);
    return rc;
}

int bough__move_begin(struct bough__move *out, struct bough_store *store, const char *name, uint32_t timeout_ms)
{
    int rc = BOUGH_STALE;
    *out = (struct bough__move){.store = store};
    for (int tries = 0; rc == BOUGH_STALE && tries < BOUGH__STALE_TRIES; tries++) {
        rc = begin_once(out, name, timeout_ms);
        if (rc != BOUGH_OK) {
            bough__move_end(out);
            out->store = store;
        }
    }
    return rc;
}

bool bough__move_is_dirty(const struct bough__move *move, const struct bough__branch_row *now)
{
    return bough__layer_newest(move->layer) > now->head_txn;
}

int bough__move_read(struct bough__branch_row *out, struct bough__move *move)
{
    int rc = bough__catalog_branch_by_id(out, move->store->catalog, move->row.id);
    return rc == BOUGH_OK ? check_protection(out) : rc;
}

int bough__move_write(struct bough__move *move, struct bough__branch_row *now)
{
    int rc = bough__catalog_new_layer(&now->layer, move->store->catalog);
    now->head_txn = 0;
    if (rc == BOUGH_OK)
        rc = bough__catalog_branch_update(move->store->catalog, now);
    if (rc == BOUGH_OK)
        bough__layer_doubt(move->layer);
    move->is_moved = rc == BOUGH_OK;
    return rc;
}

int bough__move_finish(struct bough__move *move, int rc)
{
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit(move->store->catalog);
    else
        bough__catalog_rollback(move->store->catalog);
    if (rc != BOUGH_OK)
        move->is_moved = false;
    return rc;
}

void bough__move_end(struct bough__move *move)
{
    struct bough__error_state error;
    bool has_commits = true;
    bough__error_save(&error);
    if (move->is_moved && !move->is_needed &&
        bough__catalog_layer_has_commits(&has_commits, move->store->catalog, move->row.layer) != BOUGH_OK)
        has_commits = true;
    if (move->is_taken)
        bough__layer_release(move->layer, !move->is_confirmed ? BOUGH__LAYER_IN_DOUBT
                                          : !move->is_moved   ? BOUGH__LAYER_KEPT
                                          : has_commits       ? BOUGH__LAYER_LEFT
                                                              : BOUGH__LAYER_USELESS);
    bough__layer_close(move->layer);
    bough__branch_row_clear(&move->row);
    *move = (struct bough__move){0};
    bough__error_restore(&error);
}
