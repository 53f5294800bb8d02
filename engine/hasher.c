/* hasher.c - a ring of buffers between the writer and the thread that hashes; see hasher.h.
 *
 * The writer puts buffers into pieces[put_count % RING_SIZE]; the thread hashes pieces[hashed_count % RING_SIZE].
 * Before a piece is used again the writer collects its digests, so that the list of all of them grows in one thread
 * alone. The mutex guards the two counters; a piece itself belongs to one side at a time.
 */
#include "hasher.h"

#include "error.h"
#include "os.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RING_SIZE 4

struct piece {
    uint8_t *bytes;
    size_t page_count;
    uint8_t (*digests)[BOUGH__DIGEST_SIZE];
    bool is_hashed; /* false: it failed */
};

struct bough__hasher {
    uint32_t page_bytes;
    struct piece pieces[RING_SIZE];
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t put_count, hashed_count;
    bool must_stop;
    /* The writer's. */
    uint64_t collected_count; /* pieces */
    uint64_t page_count;      /* put */
    uint8_t (*digests)[BOUGH__DIGEST_SIZE];
    uint64_t digest_count, digest_capacity;
    bool is_cut_short; /* the list ends before the pages do */
};

/* ---- the thread ---- */

static void hash_piece(struct piece *piece, uint32_t page_bytes)
{
    int rc = BOUGH_OK;
    for (size_t i = 0; rc == BOUGH_OK && i < piece->page_count; i++)
        rc = bough__sha256(piece->digests[i], piece->bytes + i * page_bytes, page_bytes);
    piece->is_hashed = rc == BOUGH_OK;
}

static void *hash_pieces(void *context)
{
    struct bough__hasher *hasher = context;
    pthread_mutex_lock(&hasher->mutex);
    for (;;) {
        while (!hasher->must_stop && hasher->hashed_count == hasher->put_count)
            pthread_cond_wait(&hasher->changed, &hasher->mutex);
        if (hasher->must_stop)
            break;
        struct piece *piece = &hasher->pieces[hasher->hashed_count % RING_SIZE];
        pthread_mutex_unlock(&hasher->mutex);
        hash_piece(piece, hasher->page_bytes);
        pthread_mutex_lock(&hasher->mutex);
        hasher->hashed_count++;
        pthread_cond_signal(&hasher->changed);
    }
    pthread_mutex_unlock(&hasher->mutex);
    return NULL;
}

/* ---- the writer ---- */

static bool make_room(struct bough__hasher *hasher, size_t count)
{
    if (hasher->digest_count + count <= hasher->digest_capacity)
        return true;
    uint64_t capacity = 2 * hasher->digest_capacity + 4096;
    void *digests = bough__realloc(hasher->digests, (size_t)capacity * BOUGH__DIGEST_SIZE);
    if (digests == NULL)
        return false;
    hasher->digests = digests;
    hasher->digest_capacity = capacity;
    return true;
}

/* The oldest piece that was not collected yet. */
static void collect(struct bough__hasher *hasher)
{
    struct piece *piece = &hasher->pieces[hasher->collected_count % RING_SIZE];
    pthread_mutex_lock(&hasher->mutex);
    while (hasher->hashed_count == hasher->collected_count)
        pthread_cond_wait(&hasher->changed, &hasher->mutex);
    pthread_mutex_unlock(&hasher->mutex);
    hasher->collected_count++;
    if (hasher->is_cut_short || !piece->is_hashed || !make_room(hasher, piece->page_count)) {
        hasher->is_cut_short = true;
        return;
    }
    memcpy(hasher->digests[hasher->digest_count], piece->digests, piece->page_count * BOUGH__DIGEST_SIZE);
    hasher->digest_count += piece->page_count;
}

void bough__hasher_put(struct bough__hasher *hasher, uint8_t **buffer, size_t page_count)
{
    if (hasher->put_count - hasher->collected_count == RING_SIZE)
        collect(hasher);
    struct piece *piece = &hasher->pieces[hasher->put_count % RING_SIZE];
    uint8_t *empty = piece->bytes;
    piece->bytes = *buffer;
    piece->page_count = page_count;
    *buffer = empty;
    hasher->page_count += page_count;
    pthread_mutex_lock(&hasher->mutex);
    hasher->put_count++;
    pthread_cond_signal(&hasher->changed);
    pthread_mutex_unlock(&hasher->mutex);
}

uint64_t bough__hasher_count(const struct bough__hasher *hasher)
{
    return hasher->page_count;
}

void bough__hasher_finish(struct bough__hasher *hasher)
{
    while (hasher->collected_count < hasher->put_count)
        collect(hasher);
}

const uint8_t *bough__hasher_digest(const struct bough__hasher *hasher, uint64_t number)
{
    return number < hasher->digest_count ? hasher->digests[number] : NULL;
}

/* ---- beginning and ending ---- */

static void free_hasher(struct bough__hasher *hasher)
{
    pthread_cond_destroy(&hasher->changed);
    pthread_mutex_destroy(&hasher->mutex);
    for (size_t i = 0; i < RING_SIZE; i++) {
        free(hasher->pieces[i].bytes);
        free(hasher->pieces[i].digests);
    }
    free(hasher->digests);
    free(hasher);
}

struct bough__hasher *bough__hasher_begin(size_t buffer_bytes, uint32_t page_bytes)
{
    bool is_ready = true;
    struct bough__hasher *hasher = bough__alloc(sizeof *hasher);
    if (hasher == NULL)
        return NULL;
    hasher->page_bytes = page_bytes;
    pthread_mutex_init(&hasher->mutex, NULL);
    pthread_cond_init(&hasher->changed, NULL);
    for (size_t i = 0; is_ready && i < RING_SIZE; i++) {
        hasher->pieces[i].bytes = bough__alloc(buffer_bytes);
        hasher->pieces[i].digests = bough__alloc(buffer_bytes / page_bytes * BOUGH__DIGEST_SIZE);
        is_ready = hasher->pieces[i].bytes != NULL && hasher->pieces[i].digests != NULL;
    }
    if (is_ready && bough__os_start_thread(&hasher->thread, hash_pieces, hasher))
        return hasher;
    free_hasher(hasher);
    return NULL;
}

void bough__hasher_end(struct bough__hasher *hasher)
{
    if (hasher == NULL)
        return;
    pthread_mutex_lock(&hasher->mutex);
    hasher->must_stop = true;
    pthread_cond_signal(&hasher->changed);
    pthread_mutex_unlock(&hasher->mutex);
    pthread_join(hasher->thread, NULL);
    free_hasher(hasher);
}
