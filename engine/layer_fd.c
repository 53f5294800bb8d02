/* layer_fd.c - the descriptors of layer files that this process writes through: 32 at most, but for those in use.
 *
 * A branch that is open and has no transaction needs no descriptor. So those who use one say so (hold, let), and what
 * nobody uses is closed when the process has many, longest unused first, and opened again by the next user. What the
 * pool of readers (files.h) may have open is less by as many.
 *
 * An error of writing pages back is told once to each descriptor that was open then, and perhaps to nobody who opens
 * the file later. So a descriptor through which something was written stays open until all of it is durable. Where
 * there are too many of those, or the layer is closed while other processes go on with it, it is synced first. A sync
 * that fails poisons the layer (layer_locks.c), which says as much as the descriptor did.
 *
 * The list's mutex is taken under any other but the pool's and the table's of descriptors. No system call but close()
 * is made under it.
 */
#include "layer_state.h"

#include "error.h"
#include "os.h"

#include <errno.h>
#include <time.h>

enum { KEPT_MAX = 32 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
/* Layers whose file is open, longest unused first. */
static struct bough__layer *first, *last;
static unsigned kept;

/* ---- the list, with the mutex held ---- */

static void add(struct bough__layer *layer)
{
    layer->file.previous = last;
    layer->file.next = NULL;
    *(last != NULL ? &last->file.next : &first) = layer;
    last = layer;
    kept++;
}

static void take_out(struct bough__layer *layer)
{
    *(layer->file.previous != NULL ? &layer->file.previous->file.next : &first) = layer->file.next;
    *(layer->file.next != NULL ? &layer->file.next->file.previous : &last) = layer->file.previous;
    kept--;
}

static void tell_readers(void)
{
    bough__files_leave_room(kept < KEPT_MAX ? kept : KEPT_MAX);
}

/* Whoever reads without permission to write holds a lock by his descriptor. */
static bool is_idle(const struct bough__layer *layer)
{
    return layer->file.users == 0 && !layer->shm.is_private;
}

/* Nothing is lost with the descriptor. While nobody uses it, nobody of this process writes. Of a branch that is gone
 * nobody will miss a transaction that no commit made durable. */
static bool is_settled(const struct bough__layer *layer)
{
    return layer->fd < 0 || layer->file.settled_txn >= layer->lazy_txn ||
           bough__shm_durable(&layer->shm) >= layer->lazy_txn ||
           bough__shm_flags(&layer->shm) & (BOUGH__SHM_POISONED | BOUGH__SHM_GONE);
}

static void close_file(struct bough__layer *layer)
{
    take_out(layer);
    bough__os_close(&layer->fd);
    tell_readers();
}

static bool close_settled(void)
{
    struct bough__layer *layer = first;
    while (layer != NULL && !(is_idle(layer) && is_settled(layer)))
        layer = layer->file.next;
    if (layer != NULL)
        close_file(layer);
    return layer != NULL;
}

/* ---- giving back ---- */

/* Gives up the mutex while it syncs; the layer does not go away meanwhile, since it is in use. Other processes may
 * write, and use frames of the newest state when it is superseded: without a pin it cannot be called durable. */
static void settle(struct bough__layer *layer)
{
    int pin = BOUGH__NO_PIN;
    struct bough__published state = {.txn = bough__shm_newest(&layer->shm)};
    layer->file.users++;
    pthread_mutex_unlock(&mutex);
    bool is_pinned = bough__shm_pin(&pin, &state, &layer->shm) == BOUGH_OK;
    bool is_synced = bough__layer_sync(layer) == BOUGH_OK;
    if (is_synced && is_pinned)
        bough__shm_raise_durable(&layer->shm, state.txn);
    if (is_pinned)
        bough__shm_unpin(&layer->shm, pin);
    pthread_mutex_lock(&mutex);
    if (is_synced && layer->file.settled_txn < state.txn)
        layer->file.settled_txn = state.txn;
    layer->file.users--;
}

/* False also when it was written to meanwhile. */
static bool sync_and_close(void)
{
    struct bough__layer *layer = first;
    while (layer != NULL && !is_idle(layer))
        layer = layer->file.next;
    if (layer == NULL)
        return false;
    settle(layer);
    bool is_ready = is_idle(layer) && is_settled(layer);
    if (is_ready)
        close_file(layer);
    return is_ready;
}

bool bough__layer_spare_file(void)
{
    struct bough__error_state error;
    bough__error_save(&error);
    pthread_mutex_lock(&mutex);
    bool has_closed = close_settled() || sync_and_close();
    pthread_mutex_unlock(&mutex);
    bough__error_restore(&error);
    return has_closed;
}

/* Before one more is opened. */
static void make_room(void)
{
    struct bough__error_state error;
    bough__error_save(&error);
    pthread_mutex_lock(&mutex);
    while (kept >= KEPT_MAX && (close_settled() || sync_and_close()))
        continue;
    pthread_mutex_unlock(&mutex);
    bough__error_restore(&error);
}

/* ---- use ---- */

void bough__layer_hold_file(struct bough__layer *layer)
{
    if (bough__space_is_inherited(layer->space))
        return;
    pthread_mutex_lock(&mutex);
    layer->file.users++;
    pthread_mutex_unlock(&mutex);
}

void bough__layer_let_file(struct bough__layer *layer)
{
    if (bough__space_is_inherited(layer->space))
        return;
    pthread_mutex_lock(&mutex);
    if (--layer->file.users == 0 && layer->fd >= 0 && layer != last) {
        take_out(layer);
        add(layer);
    }
    if (kept > KEPT_MAX)
        close_settled();
    pthread_mutex_unlock(&mutex);
}

/* Another file in the place of ours has neither our locks nor what we know of it. */
static int check_same(struct bough__layer *layer, int fd)
{
    struct stat st = {0};
    if (bough__os.fstat(fd, &st) != 0)
        return bough__fail_errno("examine", layer->path);
    if (layer->file.inode != 0 && (st.st_dev != layer->file.device || st.st_ino != layer->file.inode))
        return bough__fail(BOUGH_CORRUPT, "%s: another file has taken its place", layer->path);
    layer->file.device = st.st_dev;
    layer->file.inode = st.st_ino;
    return BOUGH_OK;
}

static int keep(struct bough__layer *layer, int fd)
{
    int rc = check_same(layer, fd);
    if (rc != BOUGH_OK) {
        bough__os_close(&fd);
        return rc;
    }
    pthread_mutex_lock(&mutex);
    layer->fd = fd;
    add(layer);
    tell_readers();
    pthread_mutex_unlock(&mutex);
    return BOUGH_OK;
}

int bough__layer_open_file(struct bough__layer *layer)
{
    int fd = -1;
    struct bough__layer_identity identity = {0};
    if (layer->fd >= 0)
        return BOUGH_OK;
    make_room();
    int rc = bough__layer_file_open(&fd, &identity, layer->space, layer->number, layer->shm.is_private);
    if (rc == BOUGH_OK)
        rc = keep(layer, fd);
    /* Not always that of the head: a VACUUM may have changed the page size since (reblock.c). */
    if (rc == BOUGH_OK)
        layer->block_size = identity.block_size;
    return rc;
}

int bough__layer_make_file(struct bough__layer *layer, const struct bough__layer_identity *identity,
                           struct bough__layer_slot *slot)
{
    int fd = -1;
    make_room();
    int rc = bough__layer_file_create(&fd, layer->space, identity, slot, layer->is_scratch);
    layer->file.inode = 0;
    return rc == BOUGH_OK ? keep(layer, fd) : rc;
}

/* ---- closing for good ---- */

void bough__layer_close_file(struct bough__layer *layer)
{
    pthread_mutex_lock(&mutex);
    if (layer->fd >= 0)
        close_file(layer);
    pthread_mutex_unlock(&mutex);
}

int bough__layer_yield_file(struct bough__layer *layer)
{
    int fd = layer->fd;
    pthread_mutex_lock(&mutex);
    if (fd >= 0) {
        take_out(layer);
        layer->fd = -1;
        tell_readers();
    }
    pthread_mutex_unlock(&mutex);
    return fd;
}

/* Somebody who makes room syncs it. */
static void wait_for_others(void)
{
    pthread_mutex_unlock(&mutex);
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    pthread_mutex_lock(&mutex);
}

void bough__layer_settle_file(struct bough__layer *layer)
{
    struct bough__error_state error;
    bough__error_save(&error);
    pthread_mutex_lock(&mutex);
    while (layer->file.users != 0 || !is_settled(layer)) {
        if (layer->file.users != 0)
            wait_for_others();
        else
            settle(layer);
    }
    pthread_mutex_unlock(&mutex);
    bough__error_restore(&error);
}

/* ---- fork() ---- */

void bough__layer_before_fork(void)
{
    pthread_mutex_lock(&mutex);
}

void bough__layer_after_fork_in_parent(void)
{
    pthread_mutex_unlock(&mutex);
}

/* The layers are the parent's, and their descriptors stand for nothing. */
void bough__layer_after_fork_in_child(void)
{
    first = last = NULL;
    kept = 0;
    pthread_mutex_unlock(&mutex);
}
