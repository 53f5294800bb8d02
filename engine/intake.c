/* intake.c - a ring of pieces between the thread that reads and hashes and the one that writes.
 *
 * The reader fills pieces[produced % RING_SIZE] while fewer than RING_SIZE are outstanding; the writer looks at
 * pieces[consumed % RING_SIZE] and counts it consumed when it asks for the next. The mutex guards the counters and the
 * reader's result; a piece itself belongs to one side at a time.
 */
#include "intake.h"

#include "error.h"
#include "os.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RING_SIZE   4
#define PIECE_BYTES (1u << 20) /* a multiple of every block size */

struct bough__intake {
    struct bough__source *source;
    uint32_t block_size;
    uint64_t offset; /* the reader's: everything before it was delivered or is a hole */
    struct bough__intake_piece pieces[RING_SIZE];

    bool has_thread;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t produced, consumed;
    bool is_lent; /* the writer holds piece `consumed` */
    bool is_over; /* the reader has ended, with rc and error */
    bool must_stop;
    int rc;
    struct bough__error_state error;
};

/* The next range with data, widened to whole blocks and cut to a piece. False: there is none. */
static bool next_range(struct bough__intake *intake, uint64_t *out_start, size_t *out_len)
{
    uint64_t size = intake->source->size_bytes, start = intake->offset, end = size;
    if (start >= size)
        return false;
    if (intake->source->next_data && !intake->source->next_data(intake->source->context, start, &start, &end))
        return false;
    start = start / intake->block_size * intake->block_size;
    end = bough__block_count(end, intake->block_size) * intake->block_size;
    if (start < intake->offset)
        start = intake->offset;
    end = end > size ? size : end;
    *out_start = start;
    *out_len = end - start > PIECE_BYTES ? PIECE_BYTES : (size_t)(end - start);
    return true;
}

static int hash_piece(struct bough__intake *intake, struct bough__intake_piece *piece, size_t len)
{
    for (size_t i = 0; i < piece->block_count; i++) {
        size_t start = i * intake->block_size;
        size_t page_len = len - start < intake->block_size ? len - start : intake->block_size;
        int rc = BOUGH_OK;
        if (bough__is_zero(piece->bytes + start, page_len))
            memset(piece->digests[i], 0, BOUGH__DIGEST_SIZE);
        else
            rc = bough__sha256(piece->digests[i], piece->bytes + start, page_len);
        if (rc != BOUGH_OK)
            return rc;
    }
    return BOUGH_OK;
}

/* *out false: the source has no more. */
static int fill_piece(bool *out, struct bough__intake *intake, struct bough__intake_piece *piece)
{
    uint64_t start = 0;
    size_t len = 0;
    *out = next_range(intake, &start, &len);
    if (!*out)
        return BOUGH_OK;
    piece->first_block = start / intake->block_size;
    piece->block_count = (size_t)bough__block_count(len, intake->block_size);
    int rc = intake->source->read(intake->source->context, start, piece->bytes, len);
    if (rc != BOUGH_OK)
        return rc;
    memset(piece->bytes + len, 0, piece->block_count * intake->block_size - len);
    intake->offset = start + piece->block_count * intake->block_size;
    return hash_piece(intake, piece, len);
}

static void *read_ahead(void *context)
{
    struct bough__intake *intake = context;
    int rc = BOUGH_OK;
    bool more = true;
    pthread_mutex_lock(&intake->mutex);
    while (rc == BOUGH_OK && more) {
        while (!intake->must_stop && intake->produced - intake->consumed == RING_SIZE)
            pthread_cond_wait(&intake->changed, &intake->mutex);
        if (intake->must_stop)
            break;
        struct bough__intake_piece *piece = &intake->pieces[intake->produced % RING_SIZE];
        pthread_mutex_unlock(&intake->mutex);
        rc = fill_piece(&more, intake, piece);
        pthread_mutex_lock(&intake->mutex);
        if (rc == BOUGH_OK && more)
            intake->produced++;
        pthread_cond_signal(&intake->changed);
    }
    if (rc != BOUGH_OK)
        bough__error_save(&intake->error); /* messages belong to threads */
    intake->rc = rc;
    intake->is_over = true;
    pthread_cond_signal(&intake->changed);
    pthread_mutex_unlock(&intake->mutex);
    return NULL;
}

int bough__intake_begin(struct bough__intake **out, struct bough__source *source, uint32_t block_size)
{
    struct bough__intake *intake = bough__alloc(sizeof *intake);
    *out = NULL;
    if (!intake)
        return BOUGH_NOMEM;
    intake->source = source;
    intake->block_size = block_size;
    pthread_mutex_init(&intake->mutex, NULL);
    pthread_cond_init(&intake->changed, NULL);
    /* A small source is done before a thread has started. */
    size_t ring = source->size_bytes > PIECE_BYTES ? RING_SIZE : 1;
    for (size_t i = 0; i < ring; i++) {
        intake->pieces[i].bytes = bough__alloc(PIECE_BYTES);
        intake->pieces[i].digests = bough__alloc((size_t)(PIECE_BYTES / block_size) * BOUGH__DIGEST_SIZE);
        if (!intake->pieces[i].bytes || !intake->pieces[i].digests) {
            bough__intake_end(intake);
            return BOUGH_NOMEM;
        }
    }
    intake->has_thread = ring > 1 && bough__os_start_thread(&intake->thread, read_ahead, intake);
    *out = intake;
    return BOUGH_OK;
}

int bough__intake_next(const struct bough__intake_piece **out, struct bough__intake *intake)
{
    bool more = false;
    int rc = BOUGH_OK;
    *out = NULL;
    if (!intake->has_thread) {
        rc = fill_piece(&more, intake, &intake->pieces[0]);
        *out = rc == BOUGH_OK && more ? &intake->pieces[0] : NULL;
        return rc;
    }
    pthread_mutex_lock(&intake->mutex);
    if (intake->is_lent) {
        intake->consumed++;
        pthread_cond_signal(&intake->changed);
    }
    while (intake->produced == intake->consumed && !intake->is_over)
        pthread_cond_wait(&intake->changed, &intake->mutex);
    intake->is_lent = intake->produced > intake->consumed;
    if (intake->is_lent) {
        *out = &intake->pieces[intake->consumed % RING_SIZE];
    } else if (intake->rc != BOUGH_OK) {
        rc = intake->rc;
        bough__error_restore(&intake->error);
    }
    pthread_mutex_unlock(&intake->mutex);
    return rc;
}

void bough__intake_end(struct bough__intake *intake)
{
    if (!intake)
        return;
    if (intake->has_thread) {
        pthread_mutex_lock(&intake->mutex);
        intake->must_stop = true;
        pthread_cond_signal(&intake->changed);
        pthread_mutex_unlock(&intake->mutex);
        pthread_join(intake->thread, NULL);
    }
    pthread_cond_destroy(&intake->changed);
    pthread_mutex_destroy(&intake->mutex);
    for (size_t i = 0; i < RING_SIZE; i++) {
        free(intake->pieces[i].bytes);
        free(intake->pieces[i].digests);
    }
    free(intake);
}
