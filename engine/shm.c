/* shm.c - the shared memory of one layer; see shm.h for the protocol. */
#include "shm.h"

#include "error.h"
#include "os.h"
#include "space.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SHM_MAGIC 0x37304d4853474842u /* "BHGSHM07" in memory of a little-endian machine */
#define SHM_SIZE 28672
#define LOCK_DEAD_MAN 0
#define LOCK_CLOSING 2
#define LOCK_OPENERS 16
#define LOCKS 128 /* bytes for each number */
_Static_assert(LOCK_OPENERS + BOUGH__SHM_OPENERS <= LOCKS, "openers have bytes of their own");

#define WAITED 0x80000000u /* somebody sleeps until the writer's lock is free */

/* Lives in memory that only processes of one machine share, so native integers do. */
struct bough__shm_map {
    _Atomic uint64_t magic; /* set last by the builder; carries the layout's version */
    uint8_t boot_id[16];
    _Atomic uint32_t flags;
    _Atomic uint32_t was_built; /* on this boot, by a process that died; its heir has not finished yet */
    _Atomic uint64_t durable_txn;
    _Atomic uint64_t hold_txn;
    _Atomic uint64_t counter; /* counter & 1 names the valid slot */
    _Atomic uint64_t slots[2][8];
    _Atomic int32_t pids[BOUGH__SHM_OPENERS];
    _Atomic uint64_t pins[BOUGH__SHM_PINS]; /* opener's index + 1, 8 bits; transaction + 1, 56 bits */
    _Atomic uint64_t trees[BOUGH__SHM_PINS]; /* place of the top node that the pin beside it reads from */
    _Atomic uint64_t times[BOUGH__SHM_PINS]; /* when the pin beside it was set: milliseconds of uptime */
    _Atomic uint32_t writer; /* opener's index + 1, and WAITED; 0: nobody */
    _Atomic uint64_t kept_frames; /* dead ones that pins kept back when the writer last looked */
    _Atomic int64_t left_by; /* id of the branch that has another layer now, or is about to; 0: none */
};
_Static_assert(sizeof(struct bough__shm_map) <= SHM_SIZE, "the layout fits the file");

/* ---- opening and closing ---- */

static int lock_byte(const struct bough__shm *shm, uint64_t byte, enum bough__lock_kind kind)
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
static int start(struct bough__shm *out, const char *directory, uint32_t number)
{
    *out = (struct bough__shm){
        .fd = -1, .opener = -1, .first_byte = BOUGH__STORE_LAYER_BYTES + (uint64_t)number * LOCKS};
    out->path = bough__format("%s/run/%u.shm", directory, number);
    return out->path != NULL ? BOUGH_OK : bough__fail_memory();
}

/* The same, with a descriptor of the locks for itself: its user is a stranger to the layers that this process has. */
static int start_alone(struct bough__shm *out, const char *directory, uint32_t number, int flags)
{
    int rc = start(out, directory, number);
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

#define PIN_OWNER_SHIFT 56
#define PIN_TXN_MASK ((UINT64_C(1) << PIN_OWNER_SHIFT) - 1)
_Static_assert(BOUGH__SHM_OPENERS < 255, "an opener's number fits a pin");

static uint64_t pin_word(int opener, uint64_t txn_plus_1)
{
    return (uint64_t)(opener + 1) << PIN_OWNER_SHIFT | txn_plus_1;
}

/* A tree's word: file 32 bits, the mark, the lowest 13 bits of the log's generation, index 18 bits. Two generations may
 * have one tree and read different frames; those of one transaction are a few at most, so their lowest bits differ. */
#define TREE_UNSURE (UINT64_C(1) << 31)
#define TREE_INDEX_MASK ((UINT64_C(1) << 18) - 1)
#define TREE_GENERATION_MASK (UINT64_C(0x1fff) << 18)

static uint64_t tree_word(struct bough__node_ref top, uint64_t generation)
{
    return (uint64_t)top.file << 32 | (generation << 18 & TREE_GENERATION_MASK) | top.index;
}

static struct bough__node_ref tree_of(uint64_t word)
{
    return (struct bough__node_ref){.file = (uint32_t)(word >> 32), .index = (uint32_t)(word & TREE_INDEX_MASK)};
}

static void clear_pins(struct bough__shm *shm, int opener)
{
    for (int i = 0; i < BOUGH__SHM_PINS; i++)
        if (atomic_load(&shm->map->pins[i]) >> PIN_OWNER_SHIFT == (uint64_t)(opener + 1))
            atomic_store(&shm->map->pins[i], 0);
}

static void wake_one(struct bough__shm *shm)
{
    syscall(SYS_futex, &shm->map->writer, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* What a process left that had this number and died. The number's lock is ours, so nobody is it now. */
static void clear_number(struct bough__shm *shm, int opener)
{
    clear_pins(shm, opener);
    uint32_t owner = atomic_load(&shm->map->writer);
    while ((owner & ~WAITED) == (uint32_t)opener + 1)
        if (atomic_compare_exchange_strong(&shm->map->writer, &owner, 0)) {
            if (owner & WAITED)
                wake_one(shm);
            break;
        }
}

static int name_opener(struct bough__shm *shm)
{
    for (int i = 0; i < BOUGH__SHM_OPENERS; i++) {
        int rc = lock_byte(shm, LOCK_OPENERS + (uint64_t)i, BOUGH__EXCLUSIVE);
        if (rc == BOUGH_BUSY)
            continue;
        if (rc != BOUGH_OK)
            return rc;
        shm->opener = i;
        clear_number(shm, i); /* of a process that died under it */
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
    int rc = lock_byte(shm, LOCK_DEAD_MAN, BOUGH__EXCLUSIVE);
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
    int rc = start(out, directory, number);
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
    int rc = start_alone(out, directory, number, O_RDONLY);
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
    return rc != BOUGH_OK ? rc : lock_byte(shm, LOCK_DEAD_MAN, BOUGH__SHARED);
}

bool bough__shm_is_last(struct bough__shm *shm)
{
    if (shm->is_private)
        return false;
    if (bough__os_lock_wait(shm->fd, shm->first_byte + LOCK_CLOSING, BOUGH__EXCLUSIVE, 1000, shm->path) != BOUGH_OK)
        return false;
    return lock_byte(shm, LOCK_DEAD_MAN, BOUGH__EXCLUSIVE) == BOUGH_OK;
}

void bough__shm_close(struct bough__shm *shm, bool remove)
{
    if (shm->map != NULL) {
        if (shm->opener >= 0) {
            clear_pins(shm, shm->opener);
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
    atomic_store_explicit(&slot[5], tree_word(state->top, 0), memory_order_relaxed);
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
        out->top = tree_of(atomic_load_explicit(&slot[5], memory_order_relaxed));
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

/* ---- locks ---- */

static int refuse_private(const struct bough__shm *shm)
{
    return bough__fail(shm->private_code, "%s: %s", shm->path,
                       shm->private_code == BOUGH_FULL ? "no room on the disk" : "no permission to write to the store");
}

static bool is_alive(const struct bough__shm *shm, uint32_t owner)
{
    return owner <= BOUGH__SHM_OPENERS &&
           bough__os_is_locked(shm->fd, shm->first_byte + LOCK_OPENERS + (uint64_t)owner - 1);
}

/* From a writer that died. While we hold his number's lock nobody can be him, so nobody is robbed. */
static bool bury_writer(struct bough__shm *shm, uint32_t owner)
{
    uint64_t byte = LOCK_OPENERS + (uint64_t)owner - 1;
    if (owner == 0 || owner > BOUGH__SHM_OPENERS || owner == (uint32_t)shm->opener + 1 ||
        lock_byte(shm, byte, BOUGH__EXCLUSIVE) != BOUGH_OK)
        return false;
    clear_number(shm, (int)owner - 1);
    (void)lock_byte(shm, byte, BOUGH__UNLOCK);
    return true;
}

/* Whoever was woken and comes too late tells the present owner of those who sleep on; so does he who comes in time. */
static uint32_t hand_on(struct bough__shm *shm)
{
    return atomic_exchange(&shm->was_woken, false) ? WAITED : 0;
}

int bough__shm_lock_writer(struct bough__shm *shm)
{
    if (shm->is_private)
        return refuse_private(shm);
    uint32_t owner = 0, others = hand_on(shm), mine = ((uint32_t)shm->opener + 1) | others;
    if (atomic_compare_exchange_strong(&shm->map->writer, &owner, mine))
        return BOUGH_OK;
    uint32_t nobody = 0;
    if (bury_writer(shm, owner & ~WAITED) && atomic_compare_exchange_strong(&shm->map->writer, &nobody, mine))
        return BOUGH_OK;
    if (others != 0)
        atomic_compare_exchange_strong(&shm->map->writer, &owner, owner | others);
    return bough__fail(BOUGH_BUSY, "%s: another process is writing", shm->path);
}

void bough__shm_unlock_writer(struct bough__shm *shm)
{
    if (atomic_exchange(&shm->map->writer, 0) & WAITED)
        wake_one(shm);
}

/* True: it was woken. */
static bool sleep_on_writer(struct bough__shm *shm, uint32_t owner, uint64_t max_us)
{
    struct timespec most = {(time_t)(max_us / 1000000), (long)(max_us % 1000000) * 1000};
    long rc = syscall(SYS_futex, &shm->map->writer, FUTEX_WAIT, owner, &most, NULL, 0);
    if (rc == 0)
        atomic_store(&shm->was_woken, true);
    return rc == 0;
}

void bough__shm_wait_writer(struct bough__shm *shm, uint64_t max_us)
{
    uint64_t now = bough__os_monotonic_us(), end = now + max_us;
    for (; !shm->is_private && now < end; now = bough__os_monotonic_us()) {
        uint32_t owner = atomic_load(&shm->map->writer);
        if (owner == 0)
            return;
        if (!(owner & WAITED) && !atomic_compare_exchange_strong(&shm->map->writer, &owner, owner | WAITED))
            continue;
        if (sleep_on_writer(shm, owner | WAITED, end - now))
            return;
    }
}

bool bough__shm_writer_is_in(struct bough__shm *shm)
{
    uint32_t owner = atomic_load(&shm->map->writer) & ~WAITED;
    return !shm->is_private && owner != 0 && (owner == (uint32_t)shm->opener + 1 || is_alive(shm, owner));
}

int bough__shm_seize(struct bough__shm *shm)
{
    if (shm->is_private)
        return refuse_private(shm);
    return lock_byte(shm, LOCK_DEAD_MAN, BOUGH__EXCLUSIVE);
}

void bough__shm_unseize(struct bough__shm *shm)
{
    (void)lock_byte(shm, LOCK_DEAD_MAN, BOUGH__SHARED);
}

size_t bough__shm_pids(const struct bough__shm *shm, int32_t out[BOUGH__SHM_OPENERS])
{
    size_t count = 0;
    if (shm->is_private)
        return 0;
    for (int i = 0; i < BOUGH__SHM_OPENERS; i++) {
        int32_t pid = atomic_load(&shm->map->pids[i]);
        /* The lock says whether the process still lives; a pid alone may be someone else's by now. */
        if (i != shm->opener && pid != 0 && bough__os_is_locked(shm->fd, shm->first_byte + LOCK_OPENERS + (uint64_t)i))
            out[count++] = pid;
    }
    return count;
}

/* ---- pins ---- */

static int claim_pin(int *out_pin, struct bough__shm *shm)
{
    for (int i = 0; i < BOUGH__SHM_PINS; i++) {
        uint64_t unset = 0;
        if (atomic_load_explicit(&shm->map->pins[i], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&shm->map->pins[i], &unset, pin_word(shm->opener, 0))) {
            *out_pin = i;
            return BOUGH_OK;
        }
    }
    return bough__fail(BOUGH_BUSY, "%s: %d snapshots are open, and no more can be", shm->path, BOUGH__SHM_PINS);
}

static void set_pin(struct bough__shm *shm, int pin, uint64_t txn, uint64_t tree)
{
    atomic_store_explicit(&shm->map->times[pin], bough__os_uptime_ms(), memory_order_relaxed);
    /* Parked pins name no tree, so whoever sees this one with its transaction sees its tree. */
    atomic_store_explicit(&shm->map->trees[pin], tree | TREE_UNSURE, memory_order_release);
    atomic_store(&shm->map->pins[pin], pin_word(shm->opener, txn + 1));
    atomic_thread_fence(memory_order_seq_cst);
}

void bough__shm_pin_is_sure(struct bough__shm *shm, int pin)
{
    if (pin == BOUGH__NO_PIN)
        return;
    uint64_t word = atomic_load_explicit(&shm->map->trees[pin], memory_order_relaxed);
    atomic_store_explicit(&shm->map->trees[pin], word & ~TREE_UNSURE, memory_order_release);
}

/* The published state is of this transaction and generation: one atomic load and a check. */
static bool is_published(const struct bough__shm *shm, const struct bough__published *state)
{
    for (;;) {
        uint64_t counter = atomic_load(&shm->map->counter);
        const _Atomic uint64_t *slot = shm->map->slots[counter & 1];
        uint64_t txn = atomic_load_explicit(&slot[0], memory_order_relaxed);
        uint64_t generation = atomic_load_explicit(&slot[1], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load(&shm->map->counter) == counter)
            return txn == state->txn && generation == state->generation;
    }
}

int bough__shm_pin(int *out_pin, struct bough__published *out, struct bough__shm *shm)
{
    int pin = BOUGH__NO_PIN;
    *out_pin = BOUGH__NO_PIN;
    if (shm->is_private) {
        bough__shm_read(out, shm);
        return BOUGH_OK;
    }
    int rc = claim_pin(&pin, shm);
    if (rc != BOUGH_OK)
        return rc;
    do
        bough__shm_read(out, shm);
    while (!bough__shm_pin_resume(shm, pin, out));
    *out_pin = pin;
    return BOUGH_OK;
}

void bough__shm_pin_park(struct bough__shm *shm, int pin)
{
    if (pin != BOUGH__NO_PIN)
        atomic_store_explicit(&shm->map->pins[pin], pin_word(shm->opener, 0), memory_order_release);
}

bool bough__shm_pin_resume(struct bough__shm *shm, int pin, const struct bough__published *state)
{
    if (pin == BOUGH__NO_PIN)
        return is_published(shm, state);
    set_pin(shm, pin, state->txn, tree_word(state->top, state->generation));
    if (is_published(shm, state)) {
        bough__shm_pin_is_sure(shm, pin);
        return true;
    }
    bough__shm_pin_park(shm, pin);
    return false;
}

int bough__shm_pin_tree(int *out_pin, struct bough__shm *shm, struct bough__node_ref top)
{
    *out_pin = BOUGH__NO_PIN;
    int rc = shm->is_private ? BOUGH_OK : claim_pin(out_pin, shm);
    if (*out_pin != BOUGH__NO_PIN)
        set_pin(shm, *out_pin, 0, tree_word(top, 0));
    return rc;
}

void bough__shm_unpin(struct bough__shm *shm, int pin)
{
    if (pin != BOUGH__NO_PIN)
        atomic_store_explicit(&shm->map->pins[pin], 0, memory_order_release);
}

static int by_txn(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Clears what dead openers left. */
static void bury(struct bough__shm *shm)
{
    bool has_pins[BOUGH__SHM_OPENERS] = {false};
    for (int i = 0; i < BOUGH__SHM_PINS; i++) {
        uint64_t owner = atomic_load(&shm->map->pins[i]) >> PIN_OWNER_SHIFT;
        if (owner != 0 && owner <= BOUGH__SHM_OPENERS)
            has_pins[owner - 1] = true;
    }
    for (int i = 0; i < BOUGH__SHM_OPENERS; i++) {
        if (!has_pins[i] || i == shm->opener)
            continue;
        /* With the lock in hand nobody can take the number while its pins go. */
        if (lock_byte(shm, LOCK_OPENERS + (uint64_t)i, BOUGH__EXCLUSIVE) != BOUGH_OK)
            continue;
        clear_number(shm, i);
        shm->map->pids[i] = 0;
        (void)lock_byte(shm, LOCK_OPENERS + (uint64_t)i, BOUGH__UNLOCK);
    }
}

/* What is pinned at a place; false: nothing, or the pin is parked. */
static bool read_pin(uint64_t *out_pin, uint64_t *out_tree, const struct bough__shm *shm, int i)
{
    uint64_t pin = 0;
    do {
        pin = *out_pin;
        *out_tree = atomic_load(&shm->map->trees[i]);
        *out_pin = atomic_load(&shm->map->pins[i]);
    } while (*out_pin != pin); /* the two belong together */
    return (pin & PIN_TXN_MASK) != 0;
}

size_t bough__shm_pinned(struct bough__shm *shm, uint64_t out[BOUGH__SHM_PINS], bool *out_is_behind,
                         bool look_for_dead)
{
    size_t count = 0, kept = 0;
    uint64_t oldest = UINT64_MAX;
    struct bough__published now = {0};
    *out_is_behind = false;
    if (look_for_dead && !shm->is_private)
        bury(shm);
    bough__shm_read(&now, shm);
    atomic_thread_fence(memory_order_seq_cst);
    for (int i = 0; i < BOUGH__SHM_PINS; i++) {
        uint64_t pin = atomic_load_explicit(&shm->map->pins[i], memory_order_relaxed), tree = 0;
        if ((pin & PIN_TXN_MASK) == 0 || !read_pin(&pin, &tree, shm, i))
            continue;
        uint64_t txn = (pin & PIN_TXN_MASK) - 1;
        bool is_behind = (tree & ~TREE_UNSURE) != tree_word(now.top, now.generation);
        *out_is_behind = txn < oldest ? is_behind : *out_is_behind || (txn == oldest && is_behind);
        oldest = txn < oldest ? txn : oldest;
        out[count++] = txn;
    }
    qsort(out, count, sizeof *out, by_txn);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || out[i] != out[kept - 1])
            out[kept++] = out[i];
    return kept;
}

void bough__shm_note_kept(struct bough__shm *shm, uint64_t frames)
{
    atomic_store_explicit(&shm->map->kept_frames, frames, memory_order_relaxed);
}

uint64_t bough__shm_kept(const struct bough__shm *shm)
{
    return atomic_load_explicit(&shm->map->kept_frames, memory_order_relaxed);
}

void bough__shm_set_left_by(struct bough__shm *shm, int64_t branch_id)
{
    atomic_store(&shm->map->left_by, branch_id);
}

int64_t bough__shm_left_by(const struct bough__shm *shm)
{
    return atomic_load(&shm->map->left_by);
}

int64_t bough__shm_oldest_pin_ms(const struct bough__shm *shm)
{
    uint64_t now = bough__os_uptime_ms(), oldest = now;
    bool found = false, is_asked[BOUGH__SHM_OPENERS] = {false}, is_dead[BOUGH__SHM_OPENERS] = {false};
    for (int i = 0; !shm->is_private && i < BOUGH__SHM_PINS; i++) {
        uint64_t pin = atomic_load(&shm->map->pins[i]);
        uint64_t time = atomic_load_explicit(&shm->map->times[i], memory_order_relaxed);
        uint64_t owner = pin >> PIN_OWNER_SHIFT;
        if ((pin & PIN_TXN_MASK) == 0 || owner == 0 || owner > BOUGH__SHM_OPENERS ||
            owner == (uint64_t)(shm->opener + 1) || (found && time >= oldest))
            continue;
        if (!is_asked[owner - 1])
            is_dead[owner - 1] = !is_alive(shm, (uint32_t)owner);
        is_asked[owner - 1] = true;
        if (is_dead[owner - 1])
            continue;
        found = true;
        oldest = time < now ? time : now;
    }
    return found ? (int64_t)(now - oldest) : -1;
}

bool bough__shm_all_at_newest(struct bough__shm *shm)
{
    bool is_behind = false;
    uint64_t *pinned = bough__alloc(BOUGH__SHM_PINS * sizeof *pinned);
    size_t count = pinned != NULL ? bough__shm_pinned(shm, pinned, &is_behind, true) : 0;
    bool all = pinned != NULL && (count == 0 || (pinned[0] == bough__shm_newest(shm) && !is_behind));
    free(pinned);
    return all;
}

/* ---- trees, for gc ---- */

static int read_magic(uint64_t *out, const char *path)
{
    int fd = -1;
    size_t len = 0;
    int rc = bough__os_open(&fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (rc == BOUGH_OK)
        rc = bough__os_read_some(&len, fd, out, sizeof *out, 0, path);
    bough__os_close(&fd);
    return rc;
}

/* *out_is_open false: nobody has it open, or its first opener has not told of anything yet. */
static int look_if_open(struct bough__shm *out, bool *out_is_open, const char *directory, uint32_t number)
{
    uint64_t magic = 0;
    *out_is_open = false;
    int rc = start_alone(out, directory, number, O_RDONLY);
    bool is_locked = rc == BOUGH_OK && bough__os_is_locked(out->fd, out->first_byte + LOCK_DEAD_MAN);
    if (is_locked)
        rc = read_magic(&magic, out->path);
    if (rc == BOUGH_OK && magic != 0 && magic != SHM_MAGIC)
        rc = bough__fail(BOUGH_BUSY, "%s: in use by another version of bough", out->path);
    bough__shm_close(out, false);
    if (rc == BOUGH_NOT_FOUND || (rc == BOUGH_OK && (!is_locked || magic == 0)))
        return BOUGH_OK;
    if (rc == BOUGH_OK)
        rc = bough__shm_look(out, directory, number);
    *out_is_open = rc == BOUGH_OK;
    /* Closed by all, or built anew, since the look at the lock: what its openers read then, others tell of. */
    return rc == BOUGH_NOT_FOUND || rc == BOUGH_CORRUPT ? BOUGH_OK : rc;
}

int bough__shm_take(struct bough__shm *out, const char *directory, uint32_t number)
{
    int rc = start_alone(out, directory, number, O_RDWR);
    if (rc == BOUGH_OK)
        rc = lock_byte(out, LOCK_DEAD_MAN, BOUGH__EXCLUSIVE);
    if (rc != BOUGH_OK)
        bough__shm_close(out, false);
    return rc;
}

bool bough__shm_is_open(const char *directory, uint32_t number)
{
    struct bough__shm shm = {.fd = -1};
    bool is_open = start_alone(&shm, directory, number, O_RDONLY) != BOUGH_OK ||
                   bough__os_is_locked(shm.fd, shm.first_byte + LOCK_DEAD_MAN);
    bough__shm_close(&shm, false);
    return is_open;
}

bool bough__shm_is_behind(const char *directory, uint32_t number)
{
    struct bough__shm shm = {.fd = -1};
    struct bough__published now = {0};
    bool is_open = false, is_behind = false;
    int rc = look_if_open(&shm, &is_open, directory, number);
    if (rc != BOUGH_OK || !is_open)
        return rc != BOUGH_OK;
    bough__shm_read(&now, &shm);
    for (int i = 0; !is_behind && i < BOUGH__SHM_PINS; i++) {
        uint64_t pin = atomic_load(&shm.map->pins[i]), tree = 0;
        if (read_pin(&pin, &tree, &shm, i) && is_alive(&shm, (uint32_t)(pin >> PIN_OWNER_SHIFT)))
            is_behind = (pin & PIN_TXN_MASK) - 1 != now.txn ||
                        (tree & ~TREE_UNSURE) != tree_word(now.top, now.generation);
    }
    bough__shm_close(&shm, false);
    return is_behind;
}

/* Whether the file that nobody uses was left by users who died, on this boot for all that is known. Without it, or if
 * its first user died before he was ready, nobody did. */
static int was_left(bool *out, const char *directory, uint32_t number)
{
    int fd = -1;
    size_t len = 0;
    uint8_t boot_id[16] = {0}, found[16] = {0};
    const uint8_t nothing[16] = {0};
    struct bough__shm shm = {.fd = -1};
    *out = false;
    int rc = start(&shm, directory, number);
    if (rc == BOUGH_OK)
        rc = bough__os_open(&fd, shm.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (rc == BOUGH_OK)
        rc = bough__os_read_some(&len, fd, found, sizeof found, offsetof(struct bough__shm_map, boot_id), shm.path);
    bough__os_close(&fd);
    bough__shm_close(&shm, false);
    bough__os_boot_id(boot_id);
    bool is_unknown = memcmp(boot_id, nothing, sizeof boot_id) == 0;
    *out = rc == BOUGH_OK && len == sizeof found && (is_unknown || memcmp(boot_id, found, sizeof boot_id) == 0);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

int bough__shm_ask(uint64_t *out_durable, bool *out_is_closed, const char *directory, uint32_t number)
{
    struct bough__shm shm = {.fd = -1};
    bool is_open = false, is_left = false;
    int rc = look_if_open(&shm, &is_open, directory, number);
    *out_durable = rc == BOUGH_OK && is_open ? bough__shm_durable(&shm) : 0;
    if (rc == BOUGH_OK && is_open)
        bough__shm_close(&shm, false);
    else if (rc == BOUGH_OK)
        rc = was_left(&is_left, directory, number);
    *out_is_closed = rc == BOUGH_OK && !is_open && !is_left;
    return rc;
}

bool bough__shm_told(struct bough__published *out, const char *directory, uint32_t number)
{
    struct bough__shm shm = {.fd = -1};
    struct bough__error_state error;
    bool is_open = false;
    bough__error_save(&error);
    if (look_if_open(&shm, &is_open, directory, number) != BOUGH_OK)
        is_open = false;
    if (is_open) {
        bough__shm_read(out, &shm);
        bough__shm_close(&shm, false);
    }
    bough__error_restore(&error);
    return is_open;
}

int bough__shm_published_tree(const char *directory, uint32_t number, bough__shm_tree_callback *callback, void *context)
{
    struct bough__shm shm = {.fd = -1};
    struct bough__published state = {0};
    bool is_open = false;
    int rc = look_if_open(&shm, &is_open, directory, number);
    if (rc != BOUGH_OK || !is_open)
        return rc;
    bough__shm_read(&state, &shm);
    bough__shm_close(&shm, false);
    return state.top.file != 0 ? callback(context, state.top, true) : BOUGH_OK;
}

int bough__shm_pinned_trees(const char *directory, uint32_t number, bough__shm_tree_callback *callback, void *context)
{
    struct bough__shm shm = {.fd = -1};
    bool is_open = false;
    int alive[BOUGH__SHM_OPENERS + 1] = {0}; /* by opener's number + 1; 0: not asked yet */
    int rc = look_if_open(&shm, &is_open, directory, number);
    if (rc != BOUGH_OK || !is_open)
        return rc;
    atomic_thread_fence(memory_order_seq_cst);
    for (int i = 0; rc == BOUGH_OK && i < BOUGH__SHM_PINS; i++) {
        uint64_t pin = atomic_load(&shm.map->pins[i]), tree = 0;
        if (!read_pin(&pin, &tree, &shm, i) || tree_of(tree).file == 0)
            continue;
        uint64_t owner = pin >> PIN_OWNER_SHIFT;
        if (owner == 0 || owner > BOUGH__SHM_OPENERS)
            continue;
        if (alive[owner] == 0)
            alive[owner] = is_alive(&shm, (uint32_t)owner) ? 1 : -1;
        if (alive[owner] > 0)
            rc = callback(context, tree_of(tree), !(tree & TREE_UNSURE));
    }
    bough__shm_close(&shm, false);
    return rc;
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
