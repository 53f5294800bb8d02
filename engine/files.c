/* files.c - the descriptors and mappings through which the store's layer and node files are read.
 *
 * The process has one pool for all its stores: 64 descriptors (fewer while layers are written to, see layer_fd.c) and
 * 256 windows (64 MiB of a file, mapped read-only), so
 * the limits hold whatever is open. A slot of the pool is found through a small table of hints and entered with one
 * atomic addition; no lock is taken for bytes that are mapped already.
 *
 * Rules
 *  1. `users` of a slot counts those who are inside. Its CLOSED bit keeps everyone out: who adds himself and sees the
 *     bit goes away again. A slot is closed (under the mutex) by turning 0 into CLOSED, or by setting the bit and
 *     waiting for those inside. They may want the mutex, so it is given up for the wait; the slot is not free
 *     meanwhile, since a free slot is a closed one whose files is NULL.
 *  2. What a slot stands for (files, key, path, fd, bytes) changes only while it is closed, nobody is inside and the
 *     mutex is held. So whoever is inside may read it, and whoever holds the mutex may read it of any slot.
 *  3. Bytes of a window are touched below `known_bytes` alone: what lies beyond the end of the file raises SIGBUS. The
 *     window itself may reach beyond the end; when the file has grown, fstat raises known_bytes. Bough itself shortens
 *     a file only by the zero-filled tail of a layer, which no map refers to; a program that truncates files of a store
 *     under a reader kills it, unless the reader does without mappings.
 *  4. Hints are only guesses, since whoever enters a slot compares its key.
 *
 * The windows are replaced by the clock algorithm. When more is read at random than all windows cover, most reads miss;
 * mapping and unmapping would then cost more than the reads, so a full pool gives up a window only for every
 * SETTLE_MISSES-th miss at most, and the other misses read by pread. A mapping that the kernel refuses is read by pread
 * as well.
 */
#include "files.h"

#include "error.h"
#include "layer.h"
#include "os.h"
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define WINDOW_BITS 26
#define WINDOW_BYTES (UINT64_C(1) << WINDOW_BITS)
#define OFFSET_LIMIT (UINT64_C(1) << 56)
#define SETTLE_MISSES 16
#define CLOSED UINT32_C(0x80000000)

enum { DESCRIPTOR_COUNT = 64, WINDOW_COUNT = 256, DESCRIPTOR_HINTS = 512, WINDOW_HINTS = 2048 };

/* What both kinds of slot begin with. */
struct slot {
    _Atomic uint32_t users;
    atomic_bool referenced; /* since the clock's hand passed */
    struct bough__files *files;
    uint64_t key;
};

struct descriptor {
    _Alignas(64) struct slot slot;
    int fd;
    char *path;
};

struct window {
    _Alignas(64) struct slot slot;
    uint8_t *bytes;
    _Atomic uint64_t known_bytes; /* of the file, counted from the window's start */
};

struct pool {
    pthread_mutex_t mutex;
    struct descriptor descriptors[DESCRIPTOR_COUNT];
    struct window windows[WINDOW_COUNT];
    _Atomic uint8_t descriptor_hints[DESCRIPTOR_HINTS];
    _Atomic uint8_t window_hints[WINDOW_HINTS];
    unsigned descriptor_hand, window_hand, misses;
    unsigned taken; /* of the descriptors: by others */
};

struct bough__files {
    struct pool *pool;
    char *directory;
    _Atomic uint64_t bytes_read;
};

_Static_assert(WINDOW_COUNT <= 256 && DESCRIPTOR_COUNT <= 256, "hints are bytes");

static struct pool the_pool = {.mutex = PTHREAD_MUTEX_INITIALIZER};
static pthread_once_t the_pool_once = PTHREAD_ONCE_INIT;

static void prepare_pool(void)
{
    for (unsigned i = 0; i < DESCRIPTOR_COUNT; i++) {
        atomic_init(&the_pool.descriptors[i].slot.users, CLOSED);
        the_pool.descriptors[i].fd = -1;
    }
    for (unsigned i = 0; i < WINDOW_COUNT; i++)
        atomic_init(&the_pool.windows[i].slot.users, CLOSED);
}

/* ---- slots ----------------------------------------------------------------------------------------------------- */

static uint64_t file_key(enum bough__file_kind kind, uint32_t number)
{
    return (uint64_t)number << 32 | (uint64_t)kind << 31;
}

/* Offsets below OFFSET_LIMIT: the window's number fits below the kind. */
static uint64_t window_key(enum bough__file_kind kind, uint32_t number, uint64_t offset)
{
    return file_key(kind, number) | offset >> WINDOW_BITS;
}

static unsigned hint_of(const struct bough__files *files, uint64_t key, unsigned count)
{
    uint64_t mixed = (key ^ (uintptr_t)files >> 6) * UINT64_C(0x9e3779b97f4a7c15);
    mixed ^= mixed >> 29;
    return (unsigned)((mixed * UINT64_C(0xbf58476d1ce4e5b9)) >> 32) & (count - 1);
}

static void slot_leave(struct slot *slot)
{
    atomic_fetch_sub_explicit(&slot->users, 1, memory_order_release);
}

static bool slot_enter(struct slot *slot, const struct bough__files *files, uint64_t key)
{
    uint32_t before = atomic_fetch_add_explicit(&slot->users, 1, memory_order_acquire);
    if ((before & CLOSED) == 0 && slot->files == files && slot->key == key) {
        if (!atomic_load_explicit(&slot->referenced, memory_order_relaxed))
            atomic_store_explicit(&slot->referenced, true, memory_order_relaxed);
        return true;
    }
    slot_leave(slot);
    return false;
}

/* The rest of the slots' functions: with the mutex held. */

static bool slot_is_closed(const struct slot *slot)
{
    return (atomic_load_explicit(&slot->users, memory_order_relaxed) & CLOSED) != 0;
}

static bool slot_is(const struct slot *slot, const struct bough__files *files, uint64_t key)
{
    return slot->files == files && slot->key == key && !slot_is_closed(slot);
}

static bool slot_try_close(struct slot *slot)
{
    uint32_t nobody = 0;
    return atomic_compare_exchange_strong_explicit(&slot->users, &nobody, CLOSED, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

static void nap(void)
{
    struct timespec time = {0, 20000};
    nanosleep(&time, NULL);
}

/* False: another thread closed it in the meantime. */
static bool slot_close(struct pool *pool, struct slot *slot)
{
    const struct bough__files *files = slot->files;
    uint64_t key = slot->key;
    atomic_fetch_or_explicit(&slot->users, CLOSED, memory_order_relaxed);
    for (;;) {
        uint32_t users = atomic_load_explicit(&slot->users, memory_order_acquire);
        if ((users & CLOSED) == 0 || slot->files != files || slot->key != key)
            return false;
        if (users == CLOSED)
            return true;
        pthread_mutex_unlock(&pool->mutex);
        nap();
        pthread_mutex_lock(&pool->mutex);
    }
}

static void slot_open(struct slot *slot, struct bough__files *files, uint64_t key)
{
    slot->files = files;
    slot->key = key;
    atomic_store_explicit(&slot->referenced, true, memory_order_relaxed);
    atomic_fetch_and_explicit(&slot->users, ~CLOSED, memory_order_release);
}

/* True when the clock's hand may take the slot: it is closed now. */
static bool slot_give_up(struct slot *slot)
{
    return !atomic_exchange_explicit(&slot->referenced, false, memory_order_relaxed) && slot_try_close(slot);
}

/* ---- descriptors ----------------------------------------------------------------------------------------------- */

static void descriptor_clear(struct descriptor *descriptor)
{
    bough__os_close(&descriptor->fd);
    free(descriptor->path);
    descriptor->path = NULL;
    descriptor->slot.files = NULL;
}

static unsigned descriptors_open(const struct pool *pool)
{
    unsigned count = 0;
    for (unsigned i = 0; i < DESCRIPTOR_COUNT; i++)
        count += pool->descriptors[i].slot.files != NULL;
    return count;
}

/* A closed, empty slot; NULL while all are in use. */
static struct descriptor *descriptor_free(struct pool *pool)
{
    bool has_room = descriptors_open(pool) < DESCRIPTOR_COUNT - pool->taken;
    for (unsigned i = 0; has_room && i < DESCRIPTOR_COUNT; i++)
        if (!pool->descriptors[i].slot.files)
            return &pool->descriptors[i];
    for (unsigned i = 0; i < 2 * DESCRIPTOR_COUNT; i++) {
        struct descriptor *descriptor = &pool->descriptors[pool->descriptor_hand++ % DESCRIPTOR_COUNT];
        if (slot_give_up(&descriptor->slot)) {
            descriptor_clear(descriptor);
            return descriptor;
        }
    }
    return NULL;
}

/* Closes some descriptor that nobody uses, so that the process has one more. */
static bool descriptor_sacrifice(struct pool *pool)
{
    for (unsigned i = 0; i < DESCRIPTOR_COUNT; i++) {
        struct descriptor *descriptor = &pool->descriptors[pool->descriptor_hand++ % DESCRIPTOR_COUNT];
        if (slot_try_close(&descriptor->slot)) {
            descriptor_clear(descriptor);
            return true;
        }
    }
    return false;
}

/* O_NONBLOCK: a FIFO in the place of a file must not make the reader wait. */
static int open_file(int *out_fd, struct pool *pool, const char *path)
{
    for (;;) {
        *out_fd = bough__os.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
        if (*out_fd >= 0)
            break;
        if (errno == ENOENT || errno == ENOTDIR)
            return bough__fail(BOUGH_CORRUPT, "%s is missing", path);
        if (errno == ELOOP)
            return bough__fail(BOUGH_CORRUPT, "%s is a symbolic link", path);
        int error = errno;
        if (error == EINTR || ((error == EMFILE || error == ENFILE) && descriptor_sacrifice(pool)))
            continue;
        errno = error;
        return bough__fail_errno("open", path);
    }
    struct stat info;
    int rc = BOUGH_OK;
    if (bough__os.fstat(*out_fd, &info) != 0)
        rc = bough__fail_errno("examine", path);
    else if (!S_ISREG(info.st_mode))
        rc = bough__fail(BOUGH_CORRUPT, "%s is no regular file", path);
    if (rc != BOUGH_OK)
        bough__os_close(out_fd);
    return rc;
}

static int descriptor_fill(struct descriptor *descriptor, struct bough__files *files, enum bough__file_kind kind,
                           uint32_t number)
{
    char name[BOUGH__FILE_NAME_SIZE];
    bough__file_name(name, kind, number);
    descriptor->path = bough__format("%s/%s", files->directory, name);
    if (!descriptor->path)
        return BOUGH_NOMEM;
    int rc = open_file(&descriptor->fd, files->pool, descriptor->path);
    if (rc != BOUGH_OK)
        descriptor_clear(descriptor);
    return rc;
}

static struct descriptor *descriptor_find(struct pool *pool, const struct bough__files *files, uint64_t key)
{
    for (unsigned i = 0; i < DESCRIPTOR_COUNT; i++) {
        struct descriptor *descriptor = &pool->descriptors[i];
        if (slot_is(&descriptor->slot, files, key))
            return descriptor;
    }
    return NULL;
}

/* Without the mutex: it may take a sync. */
static bool others_spare(struct pool *pool)
{
    pthread_mutex_unlock(&pool->mutex);
    bool has_closed = bough__layer_spare_file();
    pthread_mutex_lock(&pool->mutex);
    return has_closed;
}

/* Enters the file's descriptor; opens it first if need be. The caller leaves the slot. */
static int descriptor_enter(struct descriptor **out, struct bough__files *files, enum bough__file_kind kind,
                            uint32_t number)
{
    struct pool *pool = files->pool;
    uint64_t key = file_key(kind, number);
    _Atomic uint8_t *hint = &pool->descriptor_hints[hint_of(files, key, DESCRIPTOR_HINTS)];
    struct descriptor *found = &pool->descriptors[atomic_load_explicit(hint, memory_order_relaxed)];
    *out = found;
    if (slot_enter(&found->slot, files, key))
        return BOUGH_OK;
    int rc = BOUGH_OK;
    pthread_mutex_lock(&pool->mutex);
    while (!(found = descriptor_find(pool, files, key))) {
        struct descriptor *empty = descriptor_free(pool);
        if (empty) {
            rc = descriptor_fill(empty, files, kind, number);
            bool is_short = rc == BOUGH_IO && (errno == EMFILE || errno == ENFILE);
            if (is_short && others_spare(pool))
                continue;
            if (rc != BOUGH_OK)
                break;
            slot_open(&empty->slot, files, key);
        } else {
            pthread_mutex_unlock(&pool->mutex);
            nap();
            pthread_mutex_lock(&pool->mutex);
        }
    }
    if (rc == BOUGH_OK) {
        atomic_fetch_add_explicit(&found->slot.users, 1, memory_order_acquire);
        atomic_store_explicit(&found->slot.referenced, true, memory_order_relaxed);
        atomic_store_explicit(hint, (uint8_t)(found - pool->descriptors), memory_order_relaxed);
    }
    pthread_mutex_unlock(&pool->mutex);
    *out = found;
    return rc;
}

/* ---- windows --------------------------------------------------------------------------------------------------- */

static void window_clear(struct window *window)
{
    if (window->bytes)
        bough__os.munmap(window->bytes, WINDOW_BYTES);
    window->bytes = NULL;
    window->slot.files = NULL;
}

static struct window *window_free(struct pool *pool)
{
    for (unsigned i = 0; i < WINDOW_COUNT; i++)
        if (!pool->windows[i].slot.files)
            return &pool->windows[i];
    if (++pool->misses % SETTLE_MISSES != 0)
        return NULL;
    struct window *window = &pool->windows[pool->window_hand++ % WINDOW_COUNT];
    if (!slot_give_up(&window->slot))
        return NULL;
    window_clear(window);
    return window;
}

static struct window *window_find(struct pool *pool, const struct bough__files *files, uint64_t key)
{
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        struct window *window = &pool->windows[i];
        if (slot_is(&window->slot, files, key))
            return window;
    }
    return NULL;
}

/* Tries to have the window mapped with what the file has now. It may not succeed; the caller reads by pread then. */
static void window_prepare(struct bough__files *files, uint64_t key, uint64_t offset, int fd)
{
    struct pool *pool = files->pool;
    struct stat info;
    uint64_t start = offset & ~(WINDOW_BYTES - 1);
    pthread_mutex_lock(&pool->mutex);
    struct window *found = window_find(pool, files, key);
    struct window *window = found ? found : window_free(pool);
    if (!window || bough__os.fstat(fd, &info) != 0 || (uint64_t)info.st_size <= offset)
        goto done;
    if (!found) {
        void *bytes = bough__os.mmap(NULL, WINDOW_BYTES, PROT_READ, MAP_SHARED, fd, (off_t)start);
        if (bytes == MAP_FAILED)
            goto done;
        window->bytes = bytes;
    }
    atomic_store_explicit(&window->known_bytes, (uint64_t)info.st_size - start, memory_order_relaxed);
    if (!found)
        slot_open(&window->slot, files, key);
    atomic_store_explicit(&pool->window_hints[hint_of(files, key, WINDOW_HINTS)], (uint8_t)(window - pool->windows),
                          memory_order_relaxed);
done:
    pthread_mutex_unlock(&pool->mutex);
}

/* False: not mapped, or not known to be that long. */
static bool window_copy(struct bough__files *files, uint64_t key, uint64_t offset, void *buffer, size_t len_bytes)
{
    struct pool *pool = files->pool;
    unsigned hint = atomic_load_explicit(&pool->window_hints[hint_of(files, key, WINDOW_HINTS)], memory_order_relaxed);
    struct window *window = &pool->windows[hint];
    if (!slot_enter(&window->slot, files, key))
        return false;
    uint64_t at = offset & (WINDOW_BYTES - 1);
    bool fits = at + len_bytes <= atomic_load_explicit(&window->known_bytes, memory_order_relaxed);
    if (fits)
        memcpy(buffer, window->bytes + at, len_bytes);
    slot_leave(&window->slot);
    return fits;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* Bytes that lie in one window. */
static int read_piece(struct bough__files *files, enum bough__file_kind kind, uint32_t number, uint64_t offset,
                      void *buffer, size_t len_bytes, bool use_mapping)
{
    uint64_t key = window_key(kind, number, offset);
    if (use_mapping && window_copy(files, key, offset, buffer, len_bytes))
        return BOUGH_OK;
    struct descriptor *descriptor = NULL;
    int rc = descriptor_enter(&descriptor, files, kind, number);
    if (rc != BOUGH_OK)
        return rc;
    if (use_mapping)
        window_prepare(files, key, offset, descriptor->fd);
    if (!use_mapping || !window_copy(files, key, offset, buffer, len_bytes))
        rc = bough__os_read(descriptor->fd, buffer, len_bytes, offset, descriptor->path);
    slot_leave(&descriptor->slot);
    return rc;
}

int bough__files_read(struct bough__files *files, enum bough__file_kind kind, uint32_t number, uint64_t offset,
                      void *buffer, size_t len_bytes, bool use_mapping)
{
    if (offset >= OFFSET_LIMIT || len_bytes >= OFFSET_LIMIT - offset) {
        char name[BOUGH__FILE_NAME_SIZE];
        bough__file_name(name, kind, number);
        return bough__fail(BOUGH_CORRUPT, "%s/%s has no byte %llu", files->directory, name, (unsigned long long)offset);
    }
    size_t done = 0;
    while (done < len_bytes) {
        uint64_t in_window = WINDOW_BYTES - ((offset + done) & (WINDOW_BYTES - 1));
        size_t piece = len_bytes - done < in_window ? len_bytes - done : (size_t)in_window;
        int rc = read_piece(files, kind, number, offset + done, (uint8_t *)buffer + done, piece, use_mapping);
        if (rc != BOUGH_OK)
            return rc;
        done += piece;
    }
    atomic_fetch_add_explicit(&files->bytes_read, len_bytes, memory_order_relaxed);
    return BOUGH_OK;
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

int bough__files_open(struct bough__files **out, const char *directory)
{
    struct bough__files *files = bough__alloc(sizeof *files);
    *out = NULL;
    if (!files)
        return BOUGH_NOMEM;
    bough__process_watch();
    pthread_once(&the_pool_once, prepare_pool);
    files->pool = &the_pool;
    files->directory = bough__strdup(directory);
    if (!files->directory) {
        free(files);
        return BOUGH_NOMEM;
    }
    *out = files;
    return BOUGH_OK;
}

bool bough__files_spare(void)
{
    pthread_once(&the_pool_once, prepare_pool);
    pthread_mutex_lock(&the_pool.mutex);
    bool has_closed = descriptor_sacrifice(&the_pool);
    pthread_mutex_unlock(&the_pool.mutex);
    return has_closed;
}

void bough__files_leave_room(unsigned count)
{
    pthread_mutex_lock(&the_pool.mutex);
    the_pool.taken = count;
    while (descriptors_open(&the_pool) > DESCRIPTOR_COUNT - count && descriptor_sacrifice(&the_pool))
        continue;
    pthread_mutex_unlock(&the_pool.mutex);
}

/* ---- fork() ---------------------------------------------------------------------------------------------------- */

void bough__files_before_fork(void)
{
    pthread_once(&the_pool_once, prepare_pool);
    pthread_mutex_lock(&the_pool.mutex);
}

void bough__files_after_fork_in_parent(void)
{
    pthread_mutex_unlock(&the_pool.mutex);
}

/* None of the threads that may have been inside a slot is here. */
void bough__files_after_fork_in_child(void)
{
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        window_clear(&the_pool.windows[i]);
        atomic_store_explicit(&the_pool.windows[i].slot.users, CLOSED, memory_order_relaxed);
    }
    for (unsigned i = 0; i < DESCRIPTOR_COUNT; i++) {
        descriptor_clear(&the_pool.descriptors[i]);
        atomic_store_explicit(&the_pool.descriptors[i].slot.users, CLOSED, memory_order_relaxed);
    }
    the_pool.taken = 0;
    pthread_mutex_unlock(&the_pool.mutex);
}

/* ---- forgetting ------------------------------------------------------------------------------------------------ */

/* Closes what belongs to files: all of it, or the slots whose key is that of the file. */
static void forget(struct bough__files *files, bool all, uint64_t key)
{
    struct pool *pool = files->pool;
    uint64_t window_bits = (UINT64_C(1) << 31) - 1;
    pthread_mutex_lock(&pool->mutex);
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        struct window *window = &pool->windows[i];
        if (window->slot.files == files && (all || (window->slot.key & ~window_bits) == key)) {
            if (slot_close(pool, &window->slot))
                window_clear(window);
        }
    }
    for (unsigned i = 0; i < DESCRIPTOR_COUNT; i++) {
        struct descriptor *descriptor = &pool->descriptors[i];
        if (descriptor->slot.files == files && (all || descriptor->slot.key == key)) {
            if (slot_close(pool, &descriptor->slot))
                descriptor_clear(descriptor);
        }
    }
    pthread_mutex_unlock(&pool->mutex);
}

void bough__files_close(struct bough__files *files)
{
    if (!files)
        return;
    forget(files, true, 0);
    free(files->directory);
    free(files);
}

void bough__files_forget(struct bough__files *files, enum bough__file_kind kind, uint32_t number)
{
    forget(files, false, file_key(kind, number));
}

void bough__file_name(char out[BOUGH__FILE_NAME_SIZE], enum bough__file_kind kind, uint32_t number)
{
    const char *format = kind == BOUGH__LAYER_FILE ? "layers/%u.layer" : "nodes/%u.nodes";
    snprintf(out, BOUGH__FILE_NAME_SIZE, format, number);
}

uint64_t bough__files_bytes_read(const struct bough__files *files)
{
    return atomic_load_explicit(&files->bytes_read, memory_order_relaxed);
}
