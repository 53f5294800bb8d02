/* frames.h - the frames of a layer that nothing refers to: free extents.
 *
 * A checkpoint knows which frames its generation superseded. One that was born after the newest commit of the layer
 * (the hold) belongs to nobody but snapshots that are still open; it joins the list of free extents, which is stored
 * beside the header. When one of them may be used again is recycler.h's business.
 *
 * Stored: pairs of first frame (8) and number of frames (8), little-endian, ascending; the header slot has their
 * offset, number and XXH3. They lie in one of two areas of frames, in turn, so that a list is not touched before the
 * header after it is durable, and no number of checkpoints makes the file longer. A list that fails its sum is a list
 * without entries: frames are lost until gc finds them, and nothing else.
 */
#ifndef BOUGH_ENGINE_FRAMES_H
#define BOUGH_ENGINE_FRAMES_H

#include "layer_file.h"

struct bough__extent {
    uint64_t first, count;
};

/* All zero is the empty list. */
struct bough__frames {
    struct bough__extent *extents;
    size_t count, capacity;
    /* How far the list has been handed out. */
    size_t at;
    uint64_t used; /* frames of extents[at] */
};

void bough__frames_release(struct bough__frames *frames);
int bough__frames_add(struct bough__frames *frames, uint64_t first, uint64_t count);
/* Sorts and joins; an extent that overlaps another loses what both have only once. */
void bough__frames_join(struct bough__frames *frames);
/* For qsort: frames or blocks in ascending order. */
int bough__by_number(const void *x, const void *y);
/* Takes the given frames out (ascending, joined list). */
int bough__frames_subtract(struct bough__frames *frames, const uint64_t *taken, size_t count);
/* Hands one out; false: none left. To take a hand-out back, put `at` and `used` back as they were. */
bool bough__frames_take(struct bough__frames *frames, uint64_t *out_frame);
bool bough__frames_has(const struct bough__frames *frames, uint64_t frame); /* joined list */

/* Reads the slot's list; damaged: empty. With a right sum and impossible: BOUGH_CORRUPT. */
int bough__frames_load(struct bough__frames *out, int fd, const char *path, const struct bough__layer_slot *slot,
                       uint32_t block_size);
/* Joins the list, writes it to the area that the slot's present one is not in, and notes it in the slot. An area that
 * is too small joins the list, and another is taken at the end of the frames handed out. Not synced. is_second: the
 * generation has another slot, which names the area as it was; so that one is left to gc. */
int bough__frames_store(struct bough__frames *frames, int fd, const char *path, struct bough__layer_slot *slot,
                        uint32_t block_size, bool is_second);

#endif
