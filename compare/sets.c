/* sets.c - see sets.h. */
#include "sets.h"

#include <stdlib.h>
#include <string.h>

void *bough__grow(void *items, size_t count, size_t item_size)
{
    /* It doubles, so every power of two is where it was full. */
    if (count & (count - 1))
        return items;
    if (count > SIZE_MAX / 2 / item_size)
        return NULL;
    return realloc(items, (count ? count * 2 : 1) * item_size);
}

/* ---- pages ---- */

bool bough__pages_add(struct bough__pages *pages, uint64_t page)
{
    size_t word = (size_t)(page / 64);

    if (word >= pages->word_count) {
        size_t count = word + word / 2 + 64;
        uint64_t *words = realloc(pages->words, count * sizeof words[0]);

        if (!words)
            return false;
        memset(words + pages->word_count, 0, (count - pages->word_count) * sizeof words[0]);
        pages->words = words;
        pages->word_count = count;
    }
    pages->words[word] |= UINT64_C(1) << page % 64;
    return true;
}

void bough__pages_remove(struct bough__pages *pages, uint64_t page)
{
    if (page / 64 < pages->word_count)
        pages->words[page / 64] &= ~(UINT64_C(1) << page % 64);
}

uint64_t bough__pages_next(const struct bough__pages *pages, uint64_t page)
{
    size_t word = (size_t)(page / 64);
    uint64_t bits = word < pages->word_count ? pages->words[word] & UINT64_MAX << page % 64 : 0;

    while (!bits && ++word < pages->word_count)
        bits = pages->words[word];
    return bits ? (uint64_t)word * 64 + (uint64_t)__builtin_ctzll(bits) : 0;
}

void bough__pages_release(struct bough__pages *pages)
{
    free(pages->words);
    memset(pages, 0, sizeof *pages);
}

/* ---- ranges ---- */

bool bough__ranges_add(struct bough__ranges *ranges, sqlite3_int64 first, sqlite3_int64 last)
{
    struct bough__range *end = ranges->count ? &ranges->items[ranges->count - 1] : NULL;
    struct bough__range *items = NULL;

    if (end && end->last < first && end->last + 1 == first) {
        end->last = last;
        return true;
    }
    items = bough__grow(ranges->items, ranges->count, sizeof items[0]);
    if (!items)
        return false;
    ranges->items = items;
    ranges->items[ranges->count++] = (struct bough__range){first, last};
    return true;
}

static int by_first(const void *a, const void *b)
{
    const struct bough__range *x = a;
    const struct bough__range *y = b;

    return (x->first > y->first) - (x->first < y->first);
}

void bough__ranges_unite(struct bough__ranges *ranges)
{
    size_t kept = 0;

    if (ranges->count)
        qsort(ranges->items, ranges->count, sizeof ranges->items[0], by_first);
    for (size_t i = 0; i < ranges->count; i++) {
        struct bough__range range = ranges->items[i];
        struct bough__range *end = kept ? &ranges->items[kept - 1] : NULL;

        if (!end || (end->last < range.first && end->last + 1 < range.first))
            ranges->items[kept++] = range;
        else if (range.last > end->last)
            end->last = range.last;
    }
    ranges->count = kept;
}

void bough__ranges_release(struct bough__ranges *ranges)
{
    free(ranges->items);
    memset(ranges, 0, sizeof *ranges);
}

/* ---- names ---- */

bool bough__names_add(struct bough__names *names, const char *name)
{
    char **items = bough__grow(names->items, names->count, sizeof items[0]);

    if (!items)
        return false;
    names->items = items;
    names->items[names->count] = strdup(name);
    if (!names->items[names->count])
        return false;
    names->count++;
    return true;
}

void bough__names_release(struct bough__names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    names->items = NULL;
    names->count = 0;
}
