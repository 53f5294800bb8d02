/* layer_locks.c - syncing a layer, its writer's lock, and taking the layer from others: for a moment, for deletion, or
 * because its branch goes elsewhere (move.c). */
#include "layer_state.h"

#include "error.h"
#include "group.h"
#include "os.h"

#include <time.h>

int bough__layer_sync_anyway(struct bough__layer *layer)
{
    if (layer->is_scratch)
        return BOUGH_OK;
    pthread_mutex_lock(&layer->sync_mutex);
    int rc = bough__os_sync(layer->fd, layer->path);
    if (rc != BOUGH_OK)
        bough__shm_set(&layer->shm, BOUGH__SHM_POISONED);
    pthread_mutex_unlock(&layer->sync_mutex);
    return rc;
}

/* The kernel tells of a failure once for each open file: a sync that went well after one that did not says nothing. */
int bough__layer_sync(struct bough__layer *layer)
{
    int rc = bough__layer_sync_anyway(layer);
    if (rc == BOUGH_OK && !layer->is_healing && bough__shm_flags(&layer->shm) & BOUGH__SHM_POISONED)
        rc = bough__fail(BOUGH_IO, "%s: an earlier sync failed", layer->path);
    return rc;
}

int bough__layer_lock_writer(struct bough__layer *layer)
{
    int rc = BOUGH_OK;
    pthread_mutex_lock(&layer->mutex);
    if (layer->writer_is_in)
        rc = bough__fail(BOUGH_BUSY, "branch '%s': another connection of this process is writing", layer->branch);
    else if ((rc = bough__shm_lock_writer(&layer->shm)) == BOUGH_OK)
        layer->writer_is_in = true;
    else if (rc == BOUGH_BUSY)
        rc = bough__fail(BOUGH_BUSY, "branch '%s': another process is writing", layer->branch);
    pthread_mutex_unlock(&layer->mutex);
    if (rc != BOUGH_OK)
        return rc;
    layer->has_doubted = false;
    bough__layer_hold_file(layer);
    rc = bough__layer_resolve(layer);
    if (rc != BOUGH_OK)
        bough__layer_unlock_writer(layer);
    return rc;
}

void bough__layer_unlock_writer(struct bough__layer *layer)
{
    bough__layer_let_file(layer);
    pthread_mutex_lock(&layer->mutex);
    bough__shm_unlock_writer(&layer->shm);
    layer->writer_is_in = false;
    pthread_mutex_unlock(&layer->mutex);
}

void bough__layer_wait_writer(struct bough__layer *layer, uint64_t max_us)
{
    bough__shm_wait_writer(&layer->shm, max_us);
}

static int wait_for(int (*try)(struct bough__layer *layer, bool force), struct bough__layer *layer, bool force,
                    uint32_t timeout_ms)
{
    int64_t deadline = bough__os_now_ms() + timeout_ms;
    for (;;) {
        int rc = try(layer, force);
        if (rc != BOUGH_BUSY || bough__os_now_ms() >= deadline)
            return rc;
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

static int try_take(struct bough__layer *layer, bool force)
{
    (void)force;
    return bough__layer_lock_writer(layer);
}

int bough__layer_take(struct bough__layer *layer, uint32_t timeout_ms)
{
    return wait_for(try_take, layer, false, timeout_ms);
}

/* A reader without permission to write holds a lock on the file, where there is one, and nothing else. */
static bool is_read_unseen(struct bough__layer *layer)
{
    bool absent = true;
    if (bough__layer_is_absent(&absent, layer->space, layer->number) == BOUGH_OK && absent)
        return false;
    bough__layer_hold_file(layer);
    pthread_mutex_lock(&layer->mutex);
    bool is = bough__layer_open_file(layer) == BOUGH_OK && bough__os_is_locked(layer->fd, BOUGH__LAYER_READER_BYTE);
    pthread_mutex_unlock(&layer->mutex);
    bough__layer_let_file(layer);
    return is;
}

static int try_seize(struct bough__layer *layer, bool force)
{
    int rc = bough__layer_lock_writer(layer);
    if (rc != BOUGH_OK)
        return rc;
    pthread_mutex_lock(&layer->space->mutex);
    bool alone_here = layer->references == 1;
    pthread_mutex_unlock(&layer->space->mutex);
    if (!force && !alone_here)
        rc = bough__fail(BOUGH_BUSY, "branch '%s' is open in this process", layer->branch);
    else if (!force && is_read_unseen(layer))
        rc = bough__fail(BOUGH_BUSY, "branch '%s' is open in another process, which may not write to the store",
                         layer->branch);
    else if ((rc = bough__shm_seize(&layer->shm)) == BOUGH_OK)
        layer->is_seized = true;
    else if (rc == BOUGH_BUSY && force)
        rc = BOUGH_OK;
    else if (rc == BOUGH_BUSY)
        rc = bough__fail(BOUGH_BUSY, "branch '%s' is open in another process", layer->branch);
    if (rc != BOUGH_OK)
        bough__layer_unlock_writer(layer);
    return rc;
}

int bough__layer_seize(struct bough__layer *layer, bool force, uint32_t timeout_ms)
{
    return wait_for(try_seize, layer, force, timeout_ms);
}

/* Who finds the doubt of another leaves it to him, although he does not hold the lock any more (drop.c). */
void bough__layer_doubt(struct bough__layer *layer)
{
    layer->has_doubted = layer->has_doubted || !(bough__shm_flags(&layer->shm) & BOUGH__SHM_DOUBT);
    bough__shm_set(&layer->shm, BOUGH__SHM_DOUBT);
}

void bough__layer_doubt_left(struct bough__layer *layer, int64_t branch_id)
{
    bough__shm_set_left_by(&layer->shm, branch_id);
    bough__layer_doubt(layer);
}

bool bough__layer_is_doubtful(const struct bough__layer *layer)
{
    return bough__shm_flags(&layer->shm) & (BOUGH__SHM_DOUBT | BOUGH__SHM_GONE);
}

void bough__layer_leave(struct bough__layer *layer, bool is_useless)
{
    bough__shm_set(&layer->shm, BOUGH__SHM_GONE | (is_useless ? BOUGH__SHM_USELESS : 0));
}

void bough__layer_trust(struct bough__layer *layer)
{
    if (layer->has_doubted)
        bough__shm_clear(&layer->shm, BOUGH__SHM_DOUBT);
}

void bough__layer_release(struct bough__layer *layer, enum bough__layer_fate fate)
{
    if (fate == BOUGH__LAYER_LEFT || fate == BOUGH__LAYER_USELESS)
        bough__layer_leave(layer, fate == BOUGH__LAYER_USELESS);
    else if (fate == BOUGH__LAYER_KEPT)
        bough__layer_trust(layer);
    if (layer->is_seized)
        bough__shm_unseize(&layer->shm);
    layer->is_seized = false;
    bough__layer_unlock_writer(layer);
}
