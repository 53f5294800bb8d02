/* shm.c - the shared memory of one layer: its file, its openers, the states that are published in it, flags and marks.
 * shm.h tells the protocol. */
#include "shm_map.h"

#include "error.h"
#include "space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- opening and closing ---- */

int bough__shm_lock_byte(const struct bough__shm *shm, uint64_t byte, enum bough__lock_kind kind)
{
    return bough__os_lock(shm->fd, shm->first_byte + byte, kind, shm->path);
}

static void unlock_all(const struct bough__shm *shm)
{
    if (shm->fd >= 0)
        bough__os_unlock(shm->fd, shm->first_byte, LOCKS);
}

static int open_locks(int *out_fd, const char *directory, int flags)
{
    char *path = bough__format("%s/" BOUGH__STORE_FILE, directory);
    int rc = path != NULL ? bough__os_open(out_fd, path, flags | O_NOFOLLOW | O_NONBLOCK, 0) : bough__fail_memory();
    int error = errno;
    free(path);
    errno = error;
    return rc;
}

/* A handle on nothing, that has its names. */
int bough__shm_start(struct bough__shm *out, const char *directory, uint32_t number)
{
    *out = (struct bough__shm){
        .fd = -1, .opener = -1, .first_byte = BOUGH__STORE_LAYER_BYTES + (uint64_t)number * LOCKS};
    out->path = bough__format("%s/run/%u.shm", directory, number);
    return out->path != NULL ? BOUGH_OK : bough__fail_memory();
}

int bough__shm_start_alone(struct bough__shm *out, const char *directory, uint32_t number, int flags)
{
    int rc = bough__shm_start(out, directory, number);
    out->owns_fd = true;
    return rc == BOUGH_OK ? open_locks(&out->fd, directory, flags) : rc;
}

static int map_file(struct bough__shm *shm, int fd)
{
    void *map = bough__process_map(&shm->mapping, SHM_SIZE, fd);
    if (map == MAP_FAILED)
        return bough__fail_errno("map", shm->path);
    shm->map = map;
    return BOUGH_OK;
}

static void unmap(struct bough__shm *shm)
{
    if (shm->mapping.address != NULL)
        bough__process_unmap(&shm->mapping);
    else if (shm->map != NULL)
        bough__os.munmap(shm->map, SHM_SIZE);
    shm->map = NULL;
    shm->mapping = (struct bough__process_mapping){0};
}

/* The folder holds nothing that matters between openings, so it may have been lost on the way (a copy without empty
 * folders, say). */
static int make_file(int *out_fd, const struct bough__shm *shm, mode_t mode)
{
    int rc = bough__os_open(out_fd, shm->path, O_RDWR | O_CREAT | O_NOFOLLOW, mode);
    if (rc != BOUGH_NOT_FOUND)
        return rc;
    char *folder = bough__strdup(shm->path);
    if (folder == NULL)
        return bough__fail_memory();
    *strrchr(folder, '/') = '\0';
    rc = BOUGH_OK;
    if (bough__os.mkdir(folder, mode | (mode & 0444) >> 2 | S_IWUSR | S_IXUSR) != 0 && errno != EEXIST)
        rc = bough__fail_errno("make", folder);
    int error = errno;
    free(folder);
    errno = error;
    return rc != BOUGH_OK ? rc : bough__os_open(out_fd, shm->path, O_RDWR | O_CREAT | O_NOFOLLOW, mode);
}

/* The file in its full length, made where there is none. */
static int map_whole(struct bough__shm *shm, mode_t mode)
{
    int fd = -1;
    uint64_t size = 0;
    int rc = make_file(&fd, shm, mode);
    if (rc == BOUGH_OK)
        rc = bough__os_size(&size, fd, shm->path);
    if (rc == BOUGH_OK && size < SHM_SIZE) {
        static const uint8_t zeros[SHM_SIZE];
        /* Written and not only extended: a store into a hole of a full disk would be SIGBUS. */
        rc = bough__os_write(fd, zeros, sizeof zeros, 0, shm->path);
    }
    if (rc == BOUGH_OK)
        rc = map_file(shm, fd);
    bough__os_close(&fd);
    return rc;
}

/* While somebody deletes branches without holding them all, a doubt may be his. (One who begins later finds us.) */
static bool is_deleting(const struct bough__shm *shm)
{
    return bough__os_is_locked(shm->fd, BOUGH__STORE_DOUBT_BYTE);
}

/* Who holds the dead-man lock exclusively starts from nothing, but for the flags that must outlive processes. */
static int build(struct bough__shm *shm, bool *out_same_boot, mode_t mode)
{
    int rc = map_whole(shm, mode);
    if (rc != BOUGH_OK)
        return rc;

    uint8_t boot_id[16] = {0};
    const uint8_t unknown[16] = {0};
    bough__os_boot_id(boot_id);
    struct bough__shm_map *map = shm->map;
    /* After a boot the file may hold anything, and what is read from the layer is on the disk. */
    bool had_state = memcmp(map->boot_id, boot_id, sizeof boot_id) == 0 && (map->magic == SHM_MAGIC || map->was_built);
    bool was_built = had_state && memcmp(boot_id, unknown, sizeof boot_id) != 0;
    *out_same_boot = was_built;
    /* What must outlive this process is in its place before the mark of a finished state goes: we may be killed too. */
    map->was_built = was_built;
    uint32_t kept = BOUGH__SHM_POISONED | (is_deleting(shm) ? BOUGH__SHM_DOUBT : 0);
    map->flags = had_state ? map->flags & kept : 0;
    atomic_thread_fence(memory_order_seq_cst);
    map->magic = 0;
    atomic_thread_fence(memory_order_seq_cst);
    memcpy(map->boot_id, boot_id, sizeof boot_id);
    memset(&map->durable_txn, 0, sizeof *map - offsetof(struct bough__shm_map, durable_txn));
    return BOUGH_OK;
}

static int name_opener(struct bough__shm *shm)
{
    for (int i = 0; i < BOUGH__SHM_OPENERS; i++) {
        int rc = bough__shm_lock_byte(shm, LOCK_OPENERS + (uint64_t)i, BOUGH__EXCLUSIVE);
        if (rc == BOUGH_BUSY)
            continue;
        if (rc != BOUGH_OK)
            return rc;
        shm->opener = i;
        bough__shm_clear_number(shm, i); /* of a process that died under it */
        shm->map->pids[i] = (int32_t)getpid();
        return BOUGH_OK;
    }
    return bough__fail(BOUGH_BUSY, "%s: %d processes have the branch open, and no more can", shm->path,
                       BOUGH__SHM_OPENERS);
}

/* What others have built, while the dead-man lock is shared. *out_again: its builder failed or died, or its last closer
 * has just removed it. */
static int join(struct bough__shm *shm, bool *out_again)
{
    int fd = -1;
    uint64_t size = 0;
    int rc = bough__os_open(&fd, shm->path, O_RDWR | O_NOFOLLOW, 0);
    *out_again = rc == BOUGH_NOT_FOUND;
    if (rc == BOUGH_OK)
        rc = bough__os_size(&size, fd, shm->path);
    if (rc == BOUGH_OK && size < SHM_SIZE)
        *out_again = true;
    else if (rc == BOUGH_OK)
        rc = map_file(shm, fd);
    bough__os_close(&fd);
    if (rc == BOUGH_OK && shm->map != NULL && shm->map->magic == 0)
        *out_again = true;
    else if (rc == BOUGH_OK && shm->map != NULL && shm->map->magic != SHM_MAGIC)
        rc = bough__fail(BOUGH_IO, "%s: in use by another version of bough", shm->path);
    return *out_again ? BOUGH_OK : rc;
}

/* One try. *out_again: open it anew. */
static int try_open(struct bough__shm *shm, bool *out_first, bool *out_same_boot, bool *out_again, mode_t mode,
                    uint32_t timeout_ms)
{
    *out_again = false;
    int rc = bough__shm_lock_byte(shm, LOCK_DEAD_MAN, BOUGH__EXCLUSIVE);
    *out_first = rc == BOUGH_OK;
    if (rc == BOUGH_BUSY)
        rc = bough__os_lock_wait(shm->fd, shm->first_byte + LOCK_DEAD_MAN, BOUGH__SHARED, timeout_ms, shm->path);
    if (rc == BOUGH_OK)
        rc = *out_first ? build(shm, out_same_boot, mode) : join(shm, out_again);
    if (rc == BOUGH_FULL && *out_first)
        bough__os.unlink(shm->path); /* locked by us and of no use to anybody */
    if (rc != BOUGH_OK || *out_again) {
        int error = errno;
        unmap(shm);
        unlock_all(shm);
        errno = error;
    }
    return rc;
}

/* Nobody can be told that we read; the state at opening is what we see. */
static int open_private(struct bough__shm *shm, int code)
{
    void *map = bough__os.mmap(NULL, SHM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return bough__fail_errno("map memory for", shm->path);
    shm->map = map;
    if (shm->owns_fd)
        bough__os_close(&shm->fd);
    shm->owns_fd = false;
    shm->fd = -1;
    shm->is_private = true;
    shm->private_code = code;
    return BOUGH_OK;
}

int bough__shm_open_locks(int *out_fd, const char *directory)
{
    return *out_fd >= 0 ? BOUGH_OK : open_locks(out_fd, directory, O_RDWR);
}

int bough__shm_open(struct bough__shm *out, bool *out_first, bool *out_same_boot, const char *directory, int locks_fd,
                    uint32_t number, mode_t mode, uint32_t timeout_ms)
{
    *out_first = *out_same_boot = false;
    int rc = bough__shm_start(out, directory, number);
    if (rc != BOUGH_OK)
        return rc;
    out->fd = locks_fd;
    out->owns_fd = locks_fd < 0;
    for (int tries = 0; tries < 1000; tries++) {
        bool again = false;
        errno = 0;
        rc = bough__shm_open_locks(&out->fd, directory);
        if (rc == BOUGH_OK)
            rc = try_open(out, out_first, out_same_boot, &again, mode, timeout_ms);
        if (rc == BOUGH_FULL || (rc == BOUGH_IO && (errno == EACCES || errno == EROFS || errno == EPERM))) {
            *out_first = true;
            rc = open_private(out, rc);
        }
        if (!again)
            break;
        rc = bough__fail(BOUGH_BUSY, "%s: is being opened and closed by others", out->path);
    }
    if (rc != BOUGH_OK) {
        if (out->owns_fd)
            bough__os_close(&out->fd);
        free(out->path);
        *out = (struct bough__shm){.fd = -1, .opener = -1};
    } else if (!*out_first && (rc = name_opener(out)) != BOUGH_OK) {
        bough__shm_close(out, false);
    }
    return rc;
}

int bough__shm_look(struct bough__shm *out, const char *directory, uint32_t number)
{
    int fd = -1;
    uint64_t size = 0;
    int rc = bough__shm_start_alone(out, directory, number, O_RDONLY);
    if (rc == BOUGH_OK)
        rc = bough__os_open(&fd, out->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (rc == BOUGH_OK)
        rc = bough__os_size(&size, fd, out->path);
    if (rc == BOUGH_OK && size < SHM_SIZE)
        rc = bough__fail(BOUGH_CORRUPT, "%s: %llu bytes are too few", out->path, (unsigned long long)size);
    if (rc == BOUGH_OK) {
        void *map = bough__os.mmap(NULL, SHM_SIZE, PROT_READ, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED)
            rc = bough__fail_errno("map", out->path);
        else
            out->map = map;
    }
    bough__os_close(&fd);
    if (rc == BOUGH_OK && atomic_load(&out->map->magic) != SHM_MAGIC)
        rc = bough__fail(BOUGH_CORRUPT, "%s: was never finished, or is of another version of bough", out->path);
    if (rc != BOUGH_OK)
        bough__shm_close(out, false);
    return rc;
}

int bough__shm_ready(struct bough__shm *shm)
{
    atomic_store(&shm->map->magic, SHM_MAGIC);
    if (shm->is_private)
        return BOUGH_OK;
    int rc = name_opener(shm);
    return rc != BOUGH_OK ? rc : bough__shm_lock_byte(shm, LOCK_DEAD_MAN, BOUGH__SHARED);
}

bool bough__shm_is_last(struct bough__shm *shm)
{
    if (shm->is_private)
        return false;
    if (bough__os_lock_wait(shm->fd, shm->first_byte + LOCK_CLOSING, BOUGH__EXCLUSIVE, 1000, shm->path) != BOUGH_OK)
        return false;
    return bough__shm_lock_byte(shm, LOCK_DEAD_MAN, BOUGH__EXCLUSIVE) == BOUGH_OK;
}

void bough__shm_close(struct bough__shm *shm, bool remove)
{
    if (shm->map != NULL) {
        if (shm->opener >= 0) {
            bough__shm_clear_pins(shm, shm->opener);
            shm->map->pids[shm->opener] = 0;
        }
        unmap(shm);
    }
    if (remove && !shm->is_private && shm->path != NULL)
        bough__os.unlink(shm->path);
    unlock_all(shm);
    if (shm->owns_fd)
        bough__os_close(&shm->fd);
    free(shm->path);
    *shm = (struct bough__shm){.fd = -1, .opener = -1};
}

/* ---- published states ---- */

void bough__shm_publish(struct bough__shm *shm, const struct bough__published *state)
{
    uint64_t next = atomic_load(&shm->map->counter) + 1;
    /* Nothing of the new slot may become visible before the counter stopped naming it. */
    atomic_thread_fence(memory_order_seq_cst);
    _Atomic uint64_t *slot = shm->map->slots[next & 1];
    atomic_store_explicit(&slot[0], state->txn, memory_order_relaxed);
    atomic_store_explicit(&slot[1], state->generation, memory_order_relaxed);
    atomic_store_explicit(&slot[2], state->size_bytes, memory_order_relaxed);
    atomic_store_explicit(&slot[3], state->frame_count, memory_order_relaxed);
    atomic_store_explicit(&slot[4], state->block_size, memory_order_relaxed);
    atomic_store_explicit(&slot[5], bough__shm_tree_word(state->top, 0), memory_order_relaxed);
    atomic_store(&shm->map->counter, next);
}

void bough__shm_read(struct bough__published *out, const struct bough__shm *shm)
{
    for (;;) {
        uint64_t counter = atomic_load(&shm->map->counter);
        const _Atomic uint64_t *slot = shm->map->slots[counter & 1];
        out->txn = atomic_load_explicit(&slot[0], memory_order_relaxed);
        out->generation = atomic_load_explicit(&slot[1], memory_order_relaxed);
        out->size_bytes = atomic_load_explicit(&slot[2], memory_order_relaxed);
        out->frame_count = atomic_load_explicit(&slot[3], memory_order_relaxed);
        out->block_size = atomic_load_explicit(&slot[4], memory_order_relaxed);
        out->top = bough__shm_tree_of(atomic_load_explicit(&slot[5], memory_order_relaxed));
        atomic_thread_fence(memory_order_acquire);
        /* A slot is written again only when the counter has moved past it, so an unmoved counter means a whole copy. */
        if (atomic_load(&shm->map->counter) == counter)
            return;
    }
}

uint64_t bough__shm_newest(const struct bough__shm *shm)
{
    for (;;) {
        uint64_t counter = atomic_load(&shm->map->counter);
        uint64_t txn = atomic_load_explicit(&shm->map->slots[counter & 1][0], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load(&shm->map->counter) == counter)
            return txn;
    }
}

/* ---- flags and marks ---- */

uint32_t bough__shm_flags(const struct bough__shm *shm)
{
    return atomic_load(&shm->map->flags);
}

void bough__shm_set(struct bough__shm *shm, uint32_t flags)
{
    atomic_fetch_or(&shm->map->flags, flags);
}

void bough__shm_clear(struct bough__shm *shm, uint32_t flags)
{
    atomic_fetch_and(&shm->map->flags, ~flags);
}

static void raise_mark(_Atomic uint64_t *mark, uint64_t txn)
{
    uint64_t old = atomic_load(mark);
    while (old < txn && !atomic_compare_exchange_weak(mark, &old, txn))
        continue;
}

uint64_t bough__shm_durable(const struct bough__shm *shm)
{
    return atomic_load(&shm->map->durable_txn);
}

void bough__shm_raise_durable(struct bough__shm *shm, uint64_t txn)
{
    raise_mark(&shm->map->durable_txn, txn);
}

uint64_t bough__shm_hold(const struct bough__shm *shm)
{
    return atomic_load(&shm->map->hold_txn);
}

void bough__shm_raise_hold(struct bough__shm *shm, uint64_t txn)
{
    raise_mark(&shm->map->hold_txn, txn);
}

void bough__shm_set_left_by(struct bough__shm *shm, int64_t branch_id)
{
    atomic_store(&shm->map->left_by, branch_id);
}

int64_t bough__shm_left_by(const struct bough__shm *shm)
{
    return atomic_load(&shm->map->left_by);
}
