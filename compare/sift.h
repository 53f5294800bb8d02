/* sift.h - from leaves that differ to rows that differ, by the bytes of the rows. */
#ifndef BOUGH_COMPARE_SIFT_H
#define BOUGH_COMPARE_SIFT_H

#include "keys.h"

/* Page numbers, in an order. */
struct bough__leaves {
    uint32_t *items;
    size_t count;
};
bool bough__leaves_add(struct bough__leaves *leaves, uint32_t page); /* false: no memory */
void bough__leaves_release(struct bough__leaves *leaves);

/* Adds the rowids that stand on the leaves of one side alone, or with other bytes on the other side, and here and there
 * one between them. Both sides are of one table with rowids, each with its leaves in the order of keys; `changed` are
 * the pages that are not the same on both sides. Returns a BOUGH__BTREE code, BOUGH__BTREE_STOPPED where it is better
 * to read the table: too many ranges, or, where may_stop, most rows differ. */
int bough__sift(struct bough__ranges *out, struct bough__btrees sides[2], const struct bough__leaves leaves[2],
                const struct bough__pages *changed, bool may_stop);
/* The same of a table without rowids, whose rows stand on any pages of its tree, given in any order: adds the keys of
 * rows that stand on the pages of one side alone. */
int bough__sift_keys(struct bough__keys *out, struct bough__btrees sides[2], const struct bough__leaves pages[2],
                     const struct bough__pages *changed, bool may_stop);

#endif
