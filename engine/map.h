/* map.h - the page map: which frame holds each block of a database.
 *
 * A radix tree of immutable nodes with 64 children. Its shape depends on the block count alone: depth is the smallest d
 * with 64^d >= count (0 for none). A leaf entry says where a page lies and what it is; an inner entry says where a node
 * lies and its digest. Digests cover content and never places:
 *
 *     page   SHA-256 of its bytes; a short last page: of the bytes it has; a page of zeros: 32 zero bytes
 *     node   SHA-256 of "bough node 1\n", level (1 byte), and the digests of its 64 children (absent = zeros);
 *            a node whose children are all zero has 32 zero bytes and is not stored
 *     root   SHA-256 of "bough root 1\n", size in bytes (8), block size (4), top digest (32); little-endian
 *
 * so equal roots are equal bytes, and a diff skips every subtree that is equal.
 */
#ifndef BOUGH_ENGINE_MAP_H
#define BOUGH_ENGINE_MAP_H

#include "digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOUGH__FANOUT 64
#define BOUGH__NODE_SIZE 4096
#define BOUGH__BLOCK_LIMIT (UINT64_C(1) << 32)

struct bough__nodes;    /* nodes.h */
struct bough__appender; /* nodes.h */

struct bough__node_ref {
    uint32_t file, index; /* file 0: no node, all pages below are zero */
};

/* One whole state: an immutable array of blocks. All zero is the empty database. */
struct bough__tree {
    uint64_t size_bytes;
    uint32_t block_size; /* 0 only where size_bytes is 0 */
    struct bough__node_ref top;
    uint8_t digest[BOUGH__DIGEST_SIZE]; /* of the top node */
};

/* A leaf entry. layer 0: a page of zeros, everything else is 0 then. */
struct bough__entry {
    uint32_t layer;
    uint64_t frame;
    uint64_t birth; /* the transaction of that layer that wrote the frame */
    uint64_t sum;   /* bough__page_sum */
    uint8_t digest[BOUGH__DIGEST_SIZE];
};

struct bough__change {
    uint64_t block;
    struct bough__entry entry;
};

uint64_t bough__block_count(uint64_t size_bytes, uint32_t block_size); /* rounds up; 0 for block size 0 */
unsigned bough__map_depth(uint64_t block_count);
int bough__root_id(uint8_t out[BOUGH__DIGEST_SIZE], const struct bough__tree *tree);

/* A block at or beyond the end gives the zero entry. */
int bough__map_lookup(struct bough__entry *out, struct bough__nodes *nodes, const struct bough__tree *tree,
                      uint64_t block);
/* Where the page lies and its sum, without birth and digest (they are 0): all that reading it takes. Of these the cache
 * holds the map of about 1 GiB of pages of 4 KiB. */
int bough__map_place(struct bough__entry *out, struct bough__nodes *nodes, const struct bough__tree *tree,
                     uint64_t block);

/* Builds the tree that has `changes` (ascending by block, no block twice, all below the new end) on top of old. Blocks
 * at or beyond keep_blocks in the old tree count as zero (what was cut off never comes back). The depth follows
 * size_bytes. Nodes go through the appender and are durable only after bough__appender_sync. Where no entry differs,
 * nodes are shared. BOUGH_USAGE: more than 2^32 blocks, an impossible block size, changes out of order.
 * A change whose digest is that of the old entry is none: the old entry stays, place included (equal content in the
 * same block is stored once), and the frame that the change names is not referred to. Whoever frees frames asks the new
 * tree which one it has. The exception: an old frame of the change's own layer that was born after hold_txn may have
 * been used again since (recycler.h), so there the new place counts; UINT64_MAX: there is none such.
 * block_size must equal old->block_size unless keep_blocks is 0. The caller gives a short last page's change entry
 * again whenever its length changes. */
int bough__map_fold(struct bough__tree *out, struct bough__nodes *nodes, struct bough__appender *appender,
                    const struct bough__tree *old, const struct bough__change *changes, size_t count,
                    uint64_t keep_blocks, uint64_t size_bytes, uint32_t block_size, uint64_t hold_txn);

/* Calls back for every block whose digest differs, ascending; a block beyond one tree's end gives the zero entry on
 * that side (so trailing zero pages of a longer tree make no call). The block sizes must be equal. A result other than
 * 0 of the callback stops and is returned. Skips equal subtrees. */
typedef int bough__map_diff_callback(void *context, uint64_t block, const struct bough__entry *a,
                                     const struct bough__entry *b);
int bough__map_diff(struct bough__nodes *nodes, const struct bough__tree *a, const struct bough__tree *b,
                    bough__map_diff_callback *callback, void *context);

/* Calls back for every block from `first` on that is no zero page, ascending. */
typedef int bough__map_walk_callback(void *context, uint64_t block, const struct bough__entry *entry);
int bough__map_walk(struct bough__nodes *nodes, const struct bough__tree *tree, uint64_t first,
                    bough__map_walk_callback *callback, void *context);

/* For verify: re-hashes every node from the top on (SHA-256 against the parent's digest, XXH3, structure), and calls
 * back for every entry that is no zero page and for every damaged node (what and where say it); goes on after damage.
 * visited (may be NULL) lets the caller skip what it has seen in another tree: called for each node before it is read,
 * returns true to skip everything below it. The node's own digest is compared all the same, since this parent's idea
 * of it is another. */
struct bough__map_check {
    void *context;
    bool (*visited)(void *context, struct bough__node_ref ref);
    int (*page)(void *context, uint64_t block, const struct bough__entry *entry);
    int (*damage)(void *context, const char *where, const char *what);
    uint64_t checked_bytes; /* added to */
};
int bough__map_check(struct bough__nodes *nodes, const struct bough__tree *tree, struct bough__map_check *check);

/* Encodings that headers and the catalog share: 8 size, 4 block size, 4 + 4 ref, 32 digest. */
#define BOUGH__TREE_BYTES 52
void bough__tree_encode(uint8_t out[BOUGH__TREE_BYTES], const struct bough__tree *tree);
int bough__tree_decode(struct bough__tree *out, const uint8_t in[BOUGH__TREE_BYTES]); /* BOUGH_CORRUPT: impossible */

#endif
