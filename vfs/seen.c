/* seen.c - see seen.h. Nothing here fails: what is not known counts as seen, and then SQLite reads again. */
#include "seen.h"

#include "error.h"
#include "header.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

#define WORDS (BOUGH__SEEN_BITS / 64)
#define BLOCKS_MOST 256 /* that others may have written; looking at more would cost what it saves */

void bough__seen_free(struct bough__seen *seen)
{
    free(seen->bits);
    free(seen->page_1);
    *seen = (struct bough__seen){0};
}

void bough__seen_nothing(struct bough__seen *seen)
{
    if (seen->bits && seen->is_more)
        memset(seen->bits, 0, WORDS * sizeof(*seen->bits));
    seen->is_all = seen->is_more = false;
    seen->page_bytes = 0;
}

void bough__seen_all(struct bough__seen *seen)
{
    seen->is_all = true;
}

static void see_block(struct bough__seen *seen, uint64_t block)
{
    uint64_t bit = block % BOUGH__SEEN_BITS;
    seen->bits[bit / 64] |= UINT64_C(1) << (bit % 64);
    seen->is_more = true;
}

static bool is_seen(const struct bough__seen *seen, uint64_t block)
{
    uint64_t bit = block % BOUGH__SEEN_BITS;
    return seen->bits[bit / 64] >> (bit % 64) & 1;
}

void bough__seen_blocks(struct bough__seen *seen, uint64_t first, uint64_t last)
{
    if (seen->is_all || last == 0)
        return;
    if (!seen->bits)
        seen->bits = bough__alloc(WORDS * sizeof(*seen->bits));
    if (!seen->bits || last - first >= BOUGH__SEEN_BITS) {
        bough__seen_all(seen);
        return;
    }
    for (uint64_t block = first > 0 ? first : 1; block <= last; block++)
        see_block(seen, block);
}

static bool need_room(struct bough__seen *seen, uint32_t page_bytes)
{
    if (seen->room_bytes >= page_bytes)
        return true;
    uint8_t *room = bough__realloc(seen->page_1, 2 * (size_t)page_bytes);
    if (!room)
        return false;
    seen->page_1 = room;
    seen->room_bytes = page_bytes;
    return true;
}

void bough__seen_page_1(struct bough__seen *seen, const uint8_t *page, uint32_t page_bytes, uint64_t size_bytes)
{
    if (seen->is_all)
        return;
    seen->page_bytes = 0;
    if (!need_room(seen, page_bytes))
        return;
    memcpy(seen->page_1, page, page_bytes);
    seen->page_bytes = page_bytes;
    seen->size_bytes = size_bytes;
}

static bool page_1_is_same(uint32_t *out_rise, struct bough__seen *seen, const struct bough__snapshot *now,
                           bool use_mapping)
{
    uint8_t *newer = seen->page_1 + seen->room_bytes;
    if (bough__snapshot_read(now, 0, newer, use_mapping) != BOUGH_OK ||
        !bough__header_same_but_counter(seen->page_1, newer, seen->page_bytes))
        return false;
    *out_rise = bough__header_counter(newer) - bough__header_counter(seen->page_1);
    memcpy(seen->page_1, newer, seen->page_bytes);
    return true;
}

bool bough__seen_is_same(uint32_t *out_rise, struct bough__seen *seen, const struct bough__snapshot *now, uint64_t then,
                         bool use_mapping)
{
    uint64_t blocks[BLOCKS_MOST];
    size_t count = 0;
    bool is_page_1_written = false;
    *out_rise = 0;
    /* With nothing but the first page in the cache, looking would cost as much as reading it again. */
    if (seen->is_all || !seen->is_more || seen->page_bytes == 0)
        return false;
    if (now->block_size != seen->page_bytes || now->size_bytes != seen->size_bytes ||
        !bough__snapshot_written(blocks, &count, BLOCKS_MOST, now, then))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (blocks[i] == 0)
            is_page_1_written = true;
        else if (is_seen(seen, blocks[i]))
            return false;
    }
    return !is_page_1_written || page_1_is_same(out_rise, seen, now, use_mapping);
}
