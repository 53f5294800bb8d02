/* sets.h - page numbers, ranges of rowids and names: what the comparison passes from step to step; arrays that grow. */
#ifndef BOUGH_COMPARE_SETS_H
#define BOUGH_COMPARE_SETS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for one item more in an array of `count`: the array, moved or not; NULL: no memory, and it stays as it is. */
void *bough__grow(void *items, size_t count, size_t item_size);

/* A set of page numbers, from 1 on: a bit for each page of the database. */
struct bough__pages {
    uint64_t *words;
    size_t word_count;
};
bool bough__pages_add(struct bough__pages *pages, uint64_t page); /* false: no memory */
static inline bool bough__pages_has(const struct bough__pages *pages, uint64_t page)
{
    return page / 64 < pages->word_count && (pages->words[page / 64] >> page % 64 & 1);
}
void bough__pages_remove(struct bough__pages *pages, uint64_t page);
/* The first member that is `page` or follows it; 0: there is none. */
uint64_t bough__pages_next(const struct bough__pages *pages, uint64_t page);
void bough__pages_release(struct bough__pages *pages);

/* Rowids, both ends belong to it. */
struct bough__range {
    sqlite3_int64 first, last;
};
struct bough__ranges {
    struct bough__range *items;
    size_t count;
};
bool bough__ranges_add(struct bough__ranges *ranges, sqlite3_int64 first, sqlite3_int64 last); /* false: no memory */
/* Puts them in order; those that meet or overlap become one. */
void bough__ranges_unite(struct bough__ranges *ranges);
void bough__ranges_release(struct bough__ranges *ranges);

/* Names, allocated. */
struct bough__names {
    char **items;
    size_t count;
};
bool bough__names_add(struct bough__names *names, const char *name); /* false: no memory */
void bough__names_release(struct bough__names *names);

#endif
