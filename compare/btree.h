/* btree.h - where the rows of a table lie: SQLite's b-trees, page by page.
 *
 * A page of a tree above the leaves holds page numbers of children, so the leaves are known without reading one. Pages
 * are read from the file that the
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

/* Pages below one page of a tree, in the order of keys. */
struct bough__siblings {
    uint32_t parent; /* 0: the root, alone */
    uint32_t *pages; /* whoever sets one to 0 keeps the walk from going below it */
    uint32_t count;
    int height;    /* above the leaves */
    bool has_rows; /* leaves, or any pages of a table without rowids */
};
/* Other than 0: stops the walk and is its result. */
typedef int bough__btree_callback(void *context, const struct bough__siblings *siblings);
/* All pages of the tree, those below a page before what is below them; leaves, which are not read, in the order of
 * keys. */
int bough__btree_walk(struct bough__btrees *trees, uint32_t root, bough__btree_callback *callback, void *context);

/* The overflow pages of a row or an entry. */
struct bough__chain {
    sqlite3_int64 rowid; /* 0 where there are none */
    uint32_t first_page;
    uint32_t page_count; /* 0: it has none */
};
/* A row or an entry as it stands on its page, on any page of a tree. */
struct bough__cell {
    const uint8_t *bytes; /* from the length of the payload to the number of the first overflow page */
    uint32_t len;
    uint32_t payload_at, payload_len; /* the record; what does not fit on the page stands in the chain */
    uint32_t local_len;               /* of the payload, on the page */
    struct bough__chain chain;
};
/* The length of the number at `at`, 1 to 9 bytes; 0: it does not end before `end`. */
size_t bough__btree_varint(uint64_t *out, const uint8_t *at, const uint8_t *end);

int bough__btree_read(struct bough__btrees *trees, uint8_t *out, uint32_t page);
/* `page`: the bytes of one. BOUGH__BTREE_ODD also where that is no page with rows. */
int bough__btree_cell_count(uint32_t *out, const uint8_t *page);
int bough__btree_cell(struct bough__cell *out, const struct bough__btrees *trees, const uint8_t *page, uint32_t at);
/* The first bytes of the payload, no more than it has. Leaves trees->page alone. */
int bough__btree_payload(struct bough__btrees *trees, uint8_t *out, uint32_t len, const struct bough__cell *cell);

typedef int bough__cell_callback(void *context, const struct bough__cell *cell);
/* The cells of a page that have overflow pages; they stand in trees->page. */
int bough__btree_chains(struct bough__btrees *trees, uint32_t page, bough__cell_callback *callback, void *context);

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
