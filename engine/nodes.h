/* nodes.h - node files: where the nodes of page maps live.
 *
 * A node file is a 4 KiB header and nodes of 4 KiB, appended and never changed. One process appends to a file at a
 * time (a try-lock on it); a committer takes any free one or makes a new one, so a commit waits for no other. What
 * a killed appender left at the end is garbage that nothing refers to; the next one appends after it.
 * Each node carries an XXH3 bound to store, file and index, because its digest does not cover its place.
 * A bounded cache keeps checked private copies (the nodes are immutable): shared by the process's handles and threads.
 */
#ifndef BOUGH_ENGINE_NODES_H
#define BOUGH_ENGINE_NODES_H

#include "files.h"
#include "map.h"

#include <sys/types.h>

struct bough__node {
    unsigned level; /* 1 = leaf */
    union {
        struct bough__entry entries[BOUGH__FANOUT];
        struct {
            struct bough__node_ref ref;
            uint8_t digest[BOUGH__DIGEST_SIZE];
        } children[BOUGH__FANOUT];
    };
};

/* directory: the store; store_key: binds checksums to it; mode: of new files. files is borrowed. */
int bough__nodes_open(struct bough__nodes **out, struct bough__files *files, const char *directory, uint64_t store_key,
                      mode_t mode);
void bough__nodes_close(struct bough__nodes *nodes);

/* Reads and checks a node (from the cache where it can). BOUGH_CORRUPT names file and index. Any thread. */
int bough__nodes_read(struct bough__node *out, struct bough__nodes *nodes, struct bough__node_ref ref);
/* One entry alone, without decoding the node: the hot path of a lookup. index in 0 .. 63. */
int bough__nodes_read_entry(struct bough__entry *out, struct bough__nodes *nodes, struct bough__node_ref ref,
                            unsigned index);
/* Layer, frame and sum of an entry alone; birth and digest are 0. The cache holds three times as many of them. */
int bough__nodes_read_place(struct bough__entry *out, struct bough__nodes *nodes, struct bough__node_ref ref,
                            unsigned index);
/* A child of an inner node, which must be of that level. out_digest may be NULL. */
int bough__nodes_read_child(struct bough__node_ref *out_ref, uint8_t out_digest[BOUGH__DIGEST_SIZE],
                            struct bough__nodes *nodes, struct bough__node_ref ref, unsigned level, unsigned index);
int bough__node_digest(uint8_t out[BOUGH__DIGEST_SIZE], const struct bough__node *node);
/* Checks the header of a node file, which reading a node does not. BOUGH_CORRUPT names the file. */
int bough__nodes_check_header(struct bough__nodes *nodes, uint32_t number);
/* Re-reads from the file past the cache, for verify. */
int bough__nodes_read_uncached(struct bough__node *out, struct bough__nodes *nodes, struct bough__node_ref ref);

/* An appender holds one node file's try-lock from begin to end. The end comes when what it appended is referred to by
 * something durable, or was given up: gc takes the nodes of a file whose lock is free for finished. It buffers; a node
 * is readable through bough__nodes_read (also before the buffer is written) as soon as append returns. */
int bough__appender_begin(struct bough__appender **out, struct bough__nodes *nodes);
int bough__appender_add(struct bough__node_ref *out, struct bough__appender *appender, const struct bough__node *node);
uint64_t bough__appender_count(const struct bough__appender *appender); /* nodes added so far */
/* Writes what is buffered (nothing added: no system call). */
int bough__appender_write(struct bough__appender *appender);
/* The same, and makes everything added durable. */
int bough__appender_sync(struct bough__appender *appender);
void bough__appender_end(struct bough__appender *appender); /* NULL is fine */

#endif
