/* pages.c - the private map of a transaction: a hash table with linear probing. */
#include "pages.h"

#include "error.h"
#include "log.h"
#include "os.h"

#include <stdlib.h>

static size_t start_of(const struct bough__page_table *pages, uint64_t block)
{
    return (size_t)((block * 0x9e3779b97f4a7c15u) >> 20) & (pages->capacity - 1);
}

struct bough__page_slot *bough__page_table_find(const struct bough__page_table *pages, uint64_t block)
{
    if (pages->count == 0)
        return NULL;
    for (size_t i = start_of(pages, block); pages->slots[i].is_used; i = (i + 1) & (pages->capacity - 1))
        if (pages->slots[i].block == block)
            return &pages->slots[i];
    return NULL;
}

void bough__page_table_put(struct bough__page_table *pages, uint64_t block, uint64_t frame, uint64_t sum,
                           uint32_t hashed)
{
    size_t i = start_of(pages, block);
    while (pages->slots[i].is_used && pages->slots[i].block != block)
        i = (i + 1) & (pages->capacity - 1);
    if (!pages->slots[i].is_used)
        pages->count++;
    pages->slots[i] = (struct bough__page_slot){block, frame, sum, hashed, true};
}

/* Copies the blocks below first into a new table; frames of others join *dropped. */
static int rebuild(struct bough__page_table *pages, size_t capacity, uint64_t first, struct bough__frames *dropped)
{
    struct bough__page_table next = {.slots = bough__alloc(capacity * sizeof *next.slots), .capacity = capacity};
    if (next.slots == NULL)
        return bough__fail_memory();
    for (size_t i = 0; i < pages->capacity; i++) {
        const struct bough__page_slot *slot = &pages->slots[i];
        if (slot->is_used && slot->block < first)
            bough__page_table_put(&next, slot->block, slot->frame, slot->sum, slot->hashed);
        else if (slot->is_used && slot->frame != BOUGH__NO_FRAME)
            (void)bough__frames_add(dropped, slot->frame, 1);
    }
    free(pages->slots);
    *pages = next;
    return BOUGH_OK;
}

int bough__page_table_reserve(struct bough__page_table *pages)
{
    if ((pages->count + 1) * 4 <= pages->capacity * 3)
        return BOUGH_OK;
    return rebuild(pages, pages->capacity != 0 ? pages->capacity * 2 : 64, UINT64_MAX, NULL);
}

int bough__page_table_cut(struct bough__page_table *pages, uint64_t first, struct bough__frames *dropped)
{
    return pages->count == 0 ? BOUGH_OK : rebuild(pages, pages->capacity, first, dropped);
}

void bough__page_table_release(struct bough__page_table *pages)
{
    free(pages->slots);
    *pages = (struct bough__page_table){0};
}
