/* tables_work.h - the search for tables with other rows, under way; private to tables.c and loose.c. */
#ifndef BOUGH_COMPARE_TABLES_WORK_H
#define BOUGH_COMPARE_TABLES_WORK_H

#include "compare.h"
#include "sift.h"

struct bough__tables_pair {
    uint32_t roots[2]; /* in `from` and in `to` */
    bool is_listed;    /* there is something to read */
    bool has_rowids;
    uint32_t key_columns; /* where it has none */
};

struct bough__tables_work {
    struct bough__btrees sides[2]; /* `from` and `to` */
    bool is_readable;              /* their pages can be read, and mean the same */
    const struct bough__pages *pages;
    struct bough__tables *out;
    struct bough__tables_pair *pairs; /* parallel to out's items */
    struct bough__pages trees;        /* pages that differ and belong to a table, on one side or the other */
    struct bough__pages loose;
};

struct bough__tables_listing {
    struct bough__tables_work *work;
    const struct bough__tables_pair *pair;
    size_t side;
    struct bough__pages parents[2]; /* pages above leaves */
    struct bough__pages rows[2];    /* pages that hold rows, but for leaves below a parent that is the same */
    struct bough__pages settled;    /* such parents of which no leaf differs: seen in `from`, not looked at in `to` */
    struct bough__leaves noted[2];  /* pages with rows that differ, or that one side alone has: NOTED_MAX at most */
    uint64_t noted_count;
    uint64_t total; /* pages with rows, on both sides */
};

/* Walks the table on both sides. */
int bough__listing_fill(struct bough__tables_listing *listing);
void bough__listing_release(struct bough__tables_listing *listing);
bool bough__listing_has_same_leaves(const struct bough__tables_listing *listing, uint32_t parent);
/* Is a page with rows the same, and in both trees? */
bool bough__listing_is_same(const struct bough__tables_listing *listing, const struct bough__siblings *siblings,
                            bool has_same_parent, uint32_t page);

/* Finds the rows whose overflow pages differ while the page that they stand on does not. Returns a BOUGH__BTREE code;
 * loose pages that belong to nothing stay in work->loose. */
int bough__tables_settle_loose(struct bough__tables_work *work, sqlite3 *from, sqlite3 *to);

#endif
