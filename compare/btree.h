/* btree.h - where the rows of a table lie: SQLite's b-trees, as far as the pages above the leaves tell.
 *
 * A page of a table's tree above the leaves holds page numbers of children and the rowids that divide them, so the
 * leaves and the ranges of rowids on them are known without reading a leaf. Pages are read from the file that the
 * connection has open, which holds still while a read transaction lasts; what stands on them is checked, and what does
 * not fit is BOUGH__BTREE_ODD: then the caller does without, and SQLite finds the damage if there is one. */
#ifndef BOUGH_COMPARE_BTREE_H
#define BOUGH_COMPARE_BTREE_H

#include "sets.h"

enum {
    BOUGH__BTREE_OK = 0,
    BOUGH__BTREE_ODD = -1, /* unreadable, damaged, or not as known here */
    BOUGH__BTREE_NOMEM = -2,
    BOUGH__BTREE_STOPPED = 1,
};

/* The database of one connection. */
struct bough__btrees {
    sqlite3_file *file;
    uint32_t page_size;
    uint32_t usable; /* bytes of a page, without those that are reserved */
    uint32_t page_count;
    uint32_t first_trunk; /* of the list of free pages, 0: none */
    uint32_t encoding, format;
    bool has_pointer_map; /* auto_vacuum */
    uint8_t *page;        /* one page, for those who read no others meanwhile */
    bool has_rowids;      /* the tree that was walked last: a table with rowids */
    uint64_t pages_read;
};
/* The connection is in a read transaction on "main". BOUGH__BTREE_ODD also where pages are not all in one file (WAL,
 * memory). */
int bough__btrees_open(struct bough__btrees *out, sqlite3 *handle);
void bough__btrees_release(struct bough__btrees *trees);

/* A page of a tree. has_rows: a leaf, or any page of a table without rowids. range: the rowids below it; all where
 * there are none. Other than 0: stops the walk and is its result. */
typedef int bough__btree_callback(void *context, uint32_t page, bool has_rows, const struct bough__range *range);
/* All pages of the tree, each above its children; leaves, which are not read, in the order of keys. */
int bough__btree_walk(struct bough__btrees *trees, uint32_t root, bough__btree_callback *callback, void *context);

/* A row or an entry with overflow pages, on any page of a tree. */
struct bough__chain {
    sqlite3_int64 rowid; /* 0 where there are none */
    uint32_t first_page;
    uint32_t page_count;
};
typedef int bough__chain_callback(void *context, const struct bough__chain *chain);
int bough__btree_chains(struct bough__btrees *trees, uint32_t page, bough__chain_callback *callback, void *context);

typedef int bough__page_callback(void *context, uint32_t page);
/* The overflow pages of a row, first to last. */
int bough__btree_follow(struct bough__btrees *trees, const struct bough__chain *chain, bough__page_callback *callback,
                        void *context);
/* The pages on the list of free ones. */
int bough__btree_free_pages(struct bough__btrees *trees, bough__page_callback *callback, void *context);
/* Holds pointers to parents and belongs to no tree. */
bool bough__btree_is_pointer_map(const struct bough__btrees *trees, uint32_t page);
/* Could an overflow page begin like this one does? It begins with a page number, a page of a tree with its kind. */
int bough__btree_may_be_overflow(bool *out, struct bough__btrees *trees, uint32_t page);

#endif
