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
 *
 * A bough_lock is step 1 alone, kept by the caller. A move borrows it, and gives it back unless the branch has moved:
 * then there is nothing left to lock, since nobody writes to the old layer any more.
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

/* The branch is clean at the commit, or its newest transaction is what the commit sealed, beside its history. */
static bool is_at(const struct bough__move *move, const struct bough__branch_row *now,
                  const struct bough__commit_row *commit)
{
    if (memcmp(now->head, commit->id, sizeof now->head) == 0)
        return !bough__move_is_dirty(move, now);
    return commit->layer == now->layer && commit->txn == bough__layer_newest(move->layer) &&
           commit->txn > now->head_txn && commit->parent_count == 1 &&
           memcmp(commit->parents[0], now->head, sizeof now->head) == 0;
}

static int check_expected(const struct bough__move *move, const struct bough__branch_row *now)
{
    struct bough__commit_row commit = {0};
    int rc = BOUGH_OK;
    if (!move->has_expected)
        return BOUGH_OK;
    rc = bough__catalog_commit_by_id(&commit, move->store->catalog, move->expected);
    if (rc == BOUGH_NOT_FOUND || (rc == BOUGH_OK && !is_at(move, now, &commit)))
        rc = bough__fail(BOUGH_REFUSED, "branch %s has moved meanwhile", now->name);
    bough__commit_row_clear(&commit);
    return rc;
}

static int take(struct bough__move *move, const char *name, uint32_t timeout_ms)
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
    if (rc == BOUGH_OK)
        rc = check_expected(move, &now);
    bough__branch_row_clear(&now);
    return rc;
}

static int take_fresh(struct bough__move *move, const char *name, uint32_t timeout_ms)
{
    struct bough__move begun = *move;
    int rc = BOUGH_STALE;
    for (int tries = 0; rc == BOUGH_STALE && tries < BOUGH__STALE_TRIES; tries++) {
        *move = begun;
        rc = take(move, name, timeout_ms);
        if (rc != BOUGH_OK)
            bough__move_end(move);
    }
    return rc;
}

/* ---- locks that a caller keeps ---- */

struct bough_lock {
    struct bough__move held; /* is_taken: it has not been used up, and no move has borrowed it */
};

static int borrow(struct bough__move *move, struct bough_lock *lock, const char *name)
{
    struct bough__branch_row row = {0};
    if (lock->held.store != move->store || !lock->held.is_taken)
        return bough__fail(BOUGH_USAGE, "the lock is of another handle, or was used up");
    int rc = bough__catalog_branch_by_name(&row, move->store->catalog, name);
    if (rc == BOUGH_OK && row.id != lock->held.row.id)
        rc = bough__fail(BOUGH_USAGE, "the lock is not of branch %s", name);
    if (rc == BOUGH_OK)
        rc = check_protection(&row);
    if (rc != BOUGH_OK) {
        bough__branch_row_clear(&row);
        return rc;
    }
    bough__branch_row_clear(&lock->held.row);
    move->row = row; /* committed or renamed since, perhaps */
    move->layer = lock->held.layer;
    move->is_taken = move->is_confirmed = true;
    move->lock = lock;
    lock->held = (struct bough__move){.store = move->store};
    rc = check_expected(move, &move->row);
    if (rc != BOUGH_OK)
        bough__move_end(move);
    return rc;
}

static void give_back(struct bough__move *move)
{
    struct bough_lock *lock = move->lock;
    bough__layer_trust(move->layer); /* the branch may have been about to move */
    lock->held.row = move->row;
    lock->held.layer = move->layer;
    lock->held.is_taken = lock->held.is_confirmed = true;
    *move = (struct bough__move){0};
}

int bough_branch_lock(bough_lock **out, bough_store *store, const char *name, const bough_options *options)
{
    bough_options read;
    bough__options_for(&read, store, options);
    read.expect = NULL;
    read.lock = NULL;
    *out = NULL;
    bough_lock *lock = bough__alloc(sizeof *lock);
    int rc = lock ? bough__move_begin(&lock->held, store, name, NULL, &read) : BOUGH_NOMEM;
    if (rc == BOUGH_OK)
        *out = lock;
    else
        free(lock);
    return rc;
}

void bough_lock_release(bough_lock *lock)
{
    if (!lock)
        return;
    if (!lock->held.is_taken || !bough__space_is_inherited(lock->held.store->space))
        bough__move_end(&lock->held); /* else it is the parent's */
    free(lock);
}

/* ---- a move ---- */

int bough__move_begin(struct bough__move *out, struct bough_store *store, const char *name, const char *verb,
                      const bough_options *options)
{
    *out = (struct bough__move){.store = store, .verb = verb, .note = options->note};
    out->has_expected = options->expect != NULL;
    if (options->expect && (strlen(options->expect) != BOUGH_ID_SIZE - 1 ||
                            !bough__unhex(out->expected, options->expect, sizeof out->expected)))
        return bough__fail(BOUGH_USAGE, "\"%.80s\" is no commit id", options->expect);
    return options->lock ? borrow(out, options->lock, name) : take_fresh(out, name, options->timeout_ms);
}

bool bough__move_is_dirty(const struct bough__move *move, const struct bough__branch_row *now)
{
    return bough__layer_newest(move->layer) > now->head_txn;
}

int bough__move_read(struct bough__branch_row *out, struct bough__move *move)
{
    int rc = bough__catalog_branch_by_id(out, move->store->catalog, move->row.id);
    if (rc == BOUGH_OK)
        rc = check_protection(out);
    return rc == BOUGH_OK ? check_expected(move, out) : rc;
}

static int record(const struct bough__move *move, const struct bough__branch_row *now, const uint8_t *before)
{
    struct bough__move_row row = {.branch_id = now->id,
                                  .verb = (char *)move->verb,
                                  .note = (char *)move->note,
                                  .has_before = before != NULL,
                                  .created_at_ms = bough__os_now_ms()};
    if (before)
        memcpy(row.before, before, sizeof row.before);
    memcpy(row.after, now->head, sizeof row.after);
    return bough__catalog_move_insert(move->store->catalog, &row);
}

int bough__move_write(struct bough__move *move, struct bough__branch_row *now, const uint8_t *before)
{
    int rc = bough__catalog_new_layer(&now->layer, move->store->catalog);
    now->head_txn = now->held_txn = 0;
    if (rc == BOUGH_OK)
        rc = record(move, now, before);
    if (rc == BOUGH_OK)
        rc = bough__catalog_branch_update(move->store->catalog, now);
    if (rc == BOUGH_OK)
        bough__layer_doubt_left(move->layer, now->id);
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
    if (move->lock && !move->is_moved) {
        give_back(move);
        return;
    }
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
