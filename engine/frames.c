/* frames.c - free extents; see frames.h. */
#include "frames.h"

#include "codec.h"
#include "error.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

void bough__frames_release(struct bough__frames *frames)
{
    free(frames->extents);
    *frames = (struct bough__frames){0};
}

int bough__frames_add(struct bough__frames *frames, uint64_t first, uint64_t count)
{
    if (count == 0)
        return BOUGH_OK;
    if (frames->count != 0) {
        struct bough__extent *last = &frames->extents[frames->count - 1];
        if (last->first + last->count == first) {
            last->count += count;
            return BOUGH_OK;
        }
    }
    if (frames->count == frames->capacity) {
        size_t capacity = frames->capacity * 2 + 16;
        struct bough__extent *extents = bough__realloc(frames->extents, capacity * sizeof *extents);
        if (extents == NULL)
            return bough__fail_memory();
        frames->extents = extents;
        frames->capacity = capacity;
    }
    frames->extents[frames->count++] = (struct bough__extent){first, count};
    return BOUGH_OK;
}

int bough__by_number(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return (a > b) - (a < b);
}

static int by_first(const void *a, const void *b)
{
    const struct bough__extent *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

void bough__frames_join(struct bough__frames *frames)
{
    size_t kept = 0;
    if (frames->count == 0)
        return;
    qsort(frames->extents, frames->count, sizeof *frames->extents, by_first);
    for (size_t i = 1; i < frames->count; i++) {
        struct bough__extent *last = &frames->extents[kept];
        const struct bough__extent *next = &frames->extents[i];
        if (next->first > last->first + last->count)
            frames->extents[++kept] = *next;
        else if (next->first + next->count > last->first + last->count)
            last->count = next->first + next->count - last->first;
    }
    frames->count = kept + 1;
}

int bough__frames_subtract(struct bough__frames *frames, const uint64_t *taken, size_t count)
{
    struct bough__frames left = {0};
    size_t next = 0;
    int rc = BOUGH_OK;
    for (size_t i = 0; rc == BOUGH_OK && i < frames->count; i++) {
        uint64_t first = frames->extents[i].first, end = first + frames->extents[i].count;
        while (next < count && taken[next] < first)
            next++;
        for (; rc == BOUGH_OK && next < count && taken[next] < end; next++) {
            if (taken[next] >= first)
                rc = bough__frames_add(&left, first, taken[next] - first);
            first = taken[next] + 1;
        }
        if (rc == BOUGH_OK)
            rc = bough__frames_add(&left, first, end - first);
    }
    if (rc != BOUGH_OK) {
        bough__frames_release(&left);
        return rc;
    }
    free(frames->extents);
    *frames = left;
    return BOUGH_OK;
}

bool bough__frames_take(struct bough__frames *frames, uint64_t *out_frame)
{
    if (frames->at < frames->count && frames->used == frames->extents[frames->at].count) {
        frames->at++;
        frames->used = 0;
    }
    if (frames->at >= frames->count)
        return false;
    *out_frame = frames->extents[frames->at].first + frames->used++;
    return true;
}

bool bough__frames_has(const struct bough__frames *frames, uint64_t frame)
{
    size_t low = 0, high = frames->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (frames->extents[middle].first + frames->extents[middle].count <= frame)
            low = middle + 1;
        else
            high = middle;
    }
    return low < frames->count && frames->extents[low].first <= frame;
}

static int decode(struct bough__frames *out, const uint8_t *bytes, const struct bough__layer_slot *slot,
                  const char *path)
{
    int rc = BOUGH_OK;
    uint64_t end = 0;
    for (uint64_t i = 0; rc == BOUGH_OK && i < slot->free_count; i++) {
        uint64_t first = bough__get64(bytes + 16 * i), count = bough__get64(bytes + 16 * i + 8);
        if (count == 0 || first < end || first >= slot->frame_count || count > slot->frame_count - first)
            rc = bough__fail(BOUGH_CORRUPT, "%s: an impossible free extent", path);
        else
            rc = bough__frames_add(out, first, count);
        end = first + count;
    }
    if (rc != BOUGH_OK)
        bough__frames_release(out);
    return rc;
}

int bough__frames_load(struct bough__frames *out, int fd, const char *path, const struct bough__layer_slot *slot,
                       uint32_t block_size)
{
    *out = (struct bough__frames){0};
    if (slot->free_count == 0)
        return BOUGH_OK;
    int rc = bough__layer_slot_check(slot, block_size, path);
    if (rc != BOUGH_OK)
        return rc;
    size_t len = (size_t)slot->free_count * 16, got = 0;
    uint8_t *bytes = bough__alloc(len);
    if (bytes == NULL)
        return bough__fail_memory();
    rc = bough__os_read_some(&got, fd, bytes, len, slot->free_offset, path);
    if (rc == BOUGH_OK && got == len && bough__xxh(bytes, len, slot->log_seed) == slot->free_sum)
        rc = decode(out, bytes, slot, path);
    free(bytes);
    return rc;
}

/* Far more than checkpoints make; what is beyond stays unused until gc. */
static size_t stored_count(const struct bough__frames *frames)
{
    return frames->count < BOUGH__EXTENTS_MAX ? frames->count : BOUGH__EXTENTS_MAX;
}

/* The area for the next list, large enough for it. */
static int place_list(struct bough__list_area **out, struct bough__frames *frames, struct bough__layer_slot *slot,
                      uint32_t block_size, bool is_second)
{
    bool first_is_used = slot->free_count != 0 && slot->free_offset == slot->list_areas[0].offset;
    struct bough__list_area *area = &slot->list_areas[first_is_used ? 1 : 0];
    int rc = BOUGH_OK;
    bough__frames_join(frames);
    if (stored_count(frames) * 16 > area->frame_count * block_size) {
        if (area->frame_count != 0 && !is_second)
            rc = bough__frames_add(frames, (area->offset - BOUGH__LAYER_FRAMES_OFFSET) / block_size,
                                   area->frame_count);
        if (rc != BOUGH_OK)
            return rc;
        bough__frames_join(frames);
        area->offset = bough__frame_offset(slot->frame_count, block_size);
        area->frame_count = 2 * bough__block_count(stored_count(frames) * 16, block_size);
        slot->frame_count += area->frame_count;
    }
    *out = area;
    return BOUGH_OK;
}

int bough__frames_store(struct bough__frames *frames, int fd, const char *path, struct bough__layer_slot *slot,
                        uint32_t block_size, bool is_second)
{
    struct bough__list_area *area = NULL;
    int rc = place_list(&area, frames, slot, block_size, is_second);
    if (rc != BOUGH_OK)
        return rc;
    size_t count = stored_count(frames);
    slot->free_offset = slot->free_count = slot->free_sum = 0;
    if (count == 0)
        return BOUGH_OK;
    uint8_t *bytes = bough__alloc(count * 16);
    if (bytes == NULL)
        return bough__fail_memory();
    for (size_t i = 0; i < count; i++) {
        bough__put64(bytes + 16 * i, frames->extents[i].first);
        bough__put64(bytes + 16 * i + 8, frames->extents[i].count);
    }
    slot->free_offset = area->offset;
    slot->free_count = count;
    slot->free_sum = bough__xxh(bytes, count * 16, slot->log_seed);
    rc = bough__os_write(fd, bytes, count * 16, slot->free_offset, path);
    free(bytes);
    return rc;
}
