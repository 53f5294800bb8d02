/* filler.c - writing a layer front to back: the frames of an import. No log, no overlay, no shared memory; the file
 * counts only once a commit refers to it. */
#include "error.h"
#include "layer_file.h"
#include "layer.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE (1u << 20)

struct bough__filler {
    struct bough__space *space;
    uint32_t number, block_size;
    int fd;
    char *path;
    uint8_t *buffer;
    size_t buffered; /* bytes */
    uint64_t frames; /* added, buffered ones too */
};

int bough__filler_begin(struct bough__filler **out, struct bough__space *space, uint32_t number, uint32_t block_size)
{
    char name[BOUGH__FILE_NAME_SIZE];
    struct bough__layer_identity identity = {.number = number, .block_size = block_size};
    struct bough__layer_slot slot = {.generation = 1,
                                     .log_offset = BOUGH__LAYER_FIRST_CHUNK_OFFSET,
                                     .log_size = BOUGH__LAYER_FIRST_CHUNK_SIZE};
    *out = NULL;
    if (!bough__block_size_is_valid(block_size))
        return bough__fail(BOUGH_USAGE, "%u bytes is no block size", block_size);
    struct bough__filler *filler = bough__alloc(sizeof *filler);
    if (filler == NULL)
        return bough__fail_memory();
    bough__file_name(name, BOUGH__LAYER_FILE, number);
    filler->space = space;
    filler->number = number;
    filler->block_size = block_size;
    filler->fd = -1;
    filler->path = bough__format("%s/%s", space->directory, name);
    filler->buffer = bough__alloc(BUFFER_SIZE);
    int rc = filler->path == NULL || filler->buffer == NULL ? bough__fail_memory() : BOUGH_OK;
    if (rc == BOUGH_OK)
        rc = bough__os_random(&slot.log_seed, sizeof slot.log_seed);
    if (rc == BOUGH_OK)
        rc = bough__layer_file_create(&filler->fd, space, &identity, &slot, false);
    if (rc != BOUGH_OK) {
        bough__filler_end(filler, true); /* nothing was made that could be removed */
        return rc;
    }
    *out = filler;
    return BOUGH_OK;
}

static int write_out(struct bough__filler *filler)
{
    uint64_t end = bough__frame_offset(filler->frames, filler->block_size);
    int rc = filler->buffered == 0 ? BOUGH_OK
                                   : bough__os_write(filler->fd, filler->buffer, filler->buffered,
                                                     end - filler->buffered, filler->path);
    if (rc == BOUGH_OK)
        filler->buffered = 0;
    return rc;
}

int bough__filler_add(struct bough__entry *out, struct bough__filler *filler, uint64_t block, const void *page)
{
    if (filler->buffered + filler->block_size > BUFFER_SIZE) {
        int rc = write_out(filler);
        if (rc != BOUGH_OK)
            return rc;
    }
    memcpy(filler->buffer + filler->buffered, page, filler->block_size);
    filler->buffered += filler->block_size;
    out->layer = filler->number;
    out->frame = filler->frames++;
    out->birth = 0;
    out->sum = bough__page_sum(bough__xxh(page, filler->block_size, 0), filler->space->store_key, filler->number,
                               out->frame, block);
    return BOUGH_OK;
}

uint64_t bough__filler_bytes(const struct bough__filler *filler)
{
    return bough__frame_offset(filler->frames, filler->block_size);
}

uint32_t bough__filler_number(const struct bough__filler *filler)
{
    return filler->number;
}

int bough__filler_adopt(struct bough__filler *filler, const struct bough__tree *tree, uint64_t txn)
{
    struct bough__layer_slot slot = {.generation = 1,
                                     .txn = txn,
                                     .durable_txn = txn,
                                     .log_offset = BOUGH__LAYER_FIRST_CHUNK_OFFSET,
                                     .log_size = BOUGH__LAYER_FIRST_CHUNK_SIZE,
                                     .frame_count = filler->frames,
                                     .tree = *tree};
    int rc = bough__os_random(&slot.log_seed, sizeof slot.log_seed);
    /* In both places, after those that the file was made with. Nobody reads them before the row is there. */
    for (slot.sequence = 3; rc == BOUGH_OK && slot.sequence <= 4; slot.sequence++)
        rc = bough__layer_file_write_slot(filler->fd, filler->space, filler->number, &slot);
    return rc == BOUGH_OK ? bough__os_sync(filler->fd, filler->path) : rc;
}

int bough__filler_sync(struct bough__filler *filler)
{
    int rc = write_out(filler);
    return rc == BOUGH_OK ? bough__os_sync(filler->fd, filler->path) : rc;
}

void bough__filler_end(struct bough__filler *filler, bool keep)
{
    if (filler == NULL)
        return;
    bough__os_close(&filler->fd);
    if (!keep) {
        bough__os.unlink(filler->path);
        bough__files_forget(filler->space->files, BOUGH__LAYER_FILE, filler->number);
    }
    free(filler->path);
    free(filler->buffer);
    free(filler);
}
