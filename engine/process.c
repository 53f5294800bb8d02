/* process.c - what happens at fork(); see process.h. */
#include "process.h"

#include "catalog.h"
#include "files.h"
#include "layer.h"
#include "os.h"
#include "space.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define WORD_BITS 64

static uint32_t epoch; /* written while the process has one thread */

/* Held over each open, close, map or unmap, and alone over a fork, so that what is noted is what there is. Nobody else
 * waits for a close that gives back the blocks of a file, which takes a while. */
static pthread_rwlock_t calls = PTHREAD_RWLOCK_INITIALIZER;
/* Innermost: what is noted. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t *noted; /* one bit for each descriptor */
static size_t noted_words;
static struct bough__process_mapping *mappings;

uint32_t bough__process_epoch(void)
{
    return epoch;
}

/* ---- descriptors and mappings ---------------------------------------------------------------------------------- */

static bool note(int fd)
{
    size_t word = (size_t)fd / WORD_BITS;
    pthread_mutex_lock(&mutex);
    if (word >= noted_words) {
        size_t words = 2 * word + 16;
        uint64_t *more = bough__os.realloc(noted, words * sizeof *more);
        if (more) {
            memset(more + noted_words, 0, (words - noted_words) * sizeof *more);
            noted = more;
            noted_words = words;
        }
    }
    bool has_room = word < noted_words;
    if (has_room)
        noted[word] |= UINT64_C(1) << fd % WORD_BITS;
    pthread_mutex_unlock(&mutex);
    return has_room;
}

int bough__process_open(const char *path, int flags, mode_t mode)
{
    pthread_rwlock_rdlock(&calls);
    int fd = bough__os.open(path, flags, mode);
    int error = errno;
    if (fd >= 0 && !note(fd)) {
        bough__os.close(fd);
        fd = -1;
        error = ENOMEM;
    }
    pthread_rwlock_unlock(&calls);
    errno = error;
    return fd;
}

/* Its number may be another file's from the close on. */
void bough__process_close(int fd)
{
    size_t word = (size_t)fd / WORD_BITS;
    pthread_rwlock_rdlock(&calls);
    pthread_mutex_lock(&mutex);
    if (word < noted_words)
        noted[word] &= ~(UINT64_C(1) << fd % WORD_BITS);
    pthread_mutex_unlock(&mutex);
    bough__os.close(fd);
    pthread_rwlock_unlock(&calls);
}

void *bough__process_map(struct bough__process_mapping *mapping, size_t len_bytes, int fd)
{
    pthread_rwlock_rdlock(&calls);
    void *address = bough__os.mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address != MAP_FAILED) {
        pthread_mutex_lock(&mutex);
        *mapping = (struct bough__process_mapping){mappings, address, len_bytes};
        mappings = mapping;
        pthread_mutex_unlock(&mutex);
    }
    pthread_rwlock_unlock(&calls);
    return address;
}

void bough__process_unmap(struct bough__process_mapping *mapping)
{
    pthread_rwlock_rdlock(&calls);
    pthread_mutex_lock(&mutex);
    struct bough__process_mapping **link = &mappings;
    while (*link && *link != mapping)
        link = &(*link)->next;
    if (*link)
        *link = mapping->next;
    pthread_mutex_unlock(&mutex);
    bough__os.munmap(mapping->address, mapping->len_bytes);
    pthread_rwlock_unlock(&calls);
}

/* In a child, which has one thread. */
static void let_go_of_everything(void)
{
    for (size_t fd = 0; fd < noted_words * WORD_BITS; fd++)
        if (noted[fd / WORD_BITS] >> fd % WORD_BITS & 1)
            bough__os.disown((int)fd);
    if (noted)
        memset(noted, 0, noted_words * sizeof *noted);
    for (struct bough__process_mapping *mapping = mappings; mapping; mapping = mapping->next)
        /* Should the kernel refuse, a fault is better than the parent's memory. */
        if (bough__os.mmap(mapping->address, mapping->len_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            bough__os.munmap(mapping->address, mapping->len_bytes);
    mappings = NULL;
}

/* ---- at a fork -------------------------------------------------------------------------------------------------- */

static void lock_all(void)
{
    pthread_rwlock_wrlock(&calls);
    pthread_mutex_lock(&mutex);
}

static void unlock_all(void)
{
    pthread_mutex_unlock(&mutex);
    pthread_rwlock_unlock(&calls);
}

/* The lock is its thread's, which has another number here, so it would not be the one to unlock it. */
static void start_anew(void)
{
    epoch++;
    let_go_of_everything();
    pthread_mutex_unlock(&mutex);
    pthread_rwlock_init(&calls, NULL);
}

/* From the outside to the inside. */
static const struct bough__process_part parts[] = {
    {bough__catalog_before_fork, bough__catalog_after_fork_in_parent, bough__catalog_after_fork_in_child},
    {bough__space_before_fork, bough__space_after_fork_in_parent, bough__space_after_fork_in_child},
    {bough__layer_before_fork, bough__layer_after_fork_in_parent, bough__layer_after_fork_in_child},
    {bough__files_before_fork, bough__files_after_fork_in_parent, bough__files_after_fork_in_child},
    {lock_all, unlock_all, start_anew},
};
enum { PART_COUNT = sizeof parts / sizeof parts[0] };

static const struct bough__process_part *added; /* set once, before or after the first fork */

void bough__process_add(const struct bough__process_part *part)
{
    bough__process_watch();
    pthread_mutex_lock(&mutex);
    added = part;
    pthread_mutex_unlock(&mutex);
}

static void before_fork(void)
{
    for (size_t i = 0; i < PART_COUNT; i++)
        parts[i].before();
    if (added)
        added->before();
}

static void after_fork_in_parent(void)
{
    if (added)
        added->in_parent();
    for (size_t i = PART_COUNT; i > 0; i--)
        parts[i - 1].in_parent();
}

static void after_fork_in_child(void)
{
    if (added)
        added->in_child();
    for (size_t i = PART_COUNT; i > 0; i--)
        parts[i - 1].in_child();
}

static void watch(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

void bough__process_watch(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch);
}
