/* process.h - fork(): what a child must not have in common with its parent, and how both go on.
 *
 * Locks of open-file descriptions are shared by fork, so a child that keeps a copy of a descriptor would keep the
 * locks of its parent after the parent's death. Shared memory would let it overwrite the parent's pins. So in a child
 *   - every descriptor from bough__process_open stands for nothing any more (its number stays taken, so that a copy of
 *     it that is left somewhere meets no other file),
 *   - every mapping from bough__process_map is private memory full of zeros,
 *   - the stores, layers and connections of the parent stay in memory, untouched: another thread may have been at work
 *     on them. They carry the epoch in which they were made, and whoever meets one of another epoch refuses to work,
 *   - what is opened from now on is new: the registry of stores is empty.
 *
 * The mutexes that a new store needs too (the registry, the pool of files, the catalog's gate, and SQLite's own) are
 * held over the fork, so that they are free and what they guard is whole in the child. They are taken in the order of
 * docs/concurrency.md. A process that calls clone or vfork by itself gets none of this; execve is all it may do.
 */
#ifndef BOUGH_ENGINE_PROCESS_H
#define BOUGH_ENGINE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Rises with every fork() that led here. No system call. */
uint32_t bough__process_epoch(void);
/* From now on forks are seen. Called before the first store is opened; later calls do nothing. */
void bough__process_watch(void);

/* What has to be held over a fork: before it, after it in the parent, after it in the child. */
struct bough__process_part {
    void (*before)(void);
    void (*in_parent)(void);
    void (*in_child)(void);
};
/* Adds a part behind those of the engine: taken after them, given back before them. For the VFS. */
void bough__process_add(const struct bough__process_part *part);

/* open and close of the table of calls, for descriptors that a child must not have. -1 and errno. */
int bough__process_open(const char *path, int flags, mode_t mode);
void bough__process_close(int fd);

/* A mapping that a child must not share; lives in the struct of its owner, which stays in its place. */
struct bough__process_mapping {
    struct bough__process_mapping *next;
    void *address;
    size_t len_bytes;
};
/* Maps len bytes of fd, shared and writable. MAP_FAILED and errno. */
void *bough__process_map(struct bough__process_mapping *mapping, size_t len_bytes, int fd);
void bough__process_unmap(struct bough__process_mapping *mapping);

#endif
