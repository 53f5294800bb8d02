/* space.h - a store as this process has it open: one for each directory (by device and inode), shared by every handle
 * and connection. Holds what they share: file caches, node cache, open layers. Knows nothing of branches or the
 * catalog.
 */
#ifndef BOUGH_ENGINE_SPACE_H
#define BOUGH_ENGINE_SPACE_H

#include "files.h"
#include "nodes.h"
#include "shm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

struct bough__layer;

struct bough__space {
    char *directory;            /* absolute, symlinks resolved, no slash at the end */
    uint8_t uuid[16];
    uint64_t store_key;         /* XXH3 of the uuid: binds checksums to this store */
    dev_t device;
    ino_t inode;
    mode_t mode;                /* of new files */
    uint32_t epoch;             /* see process.h */
    struct bough__files *files;
    struct bough__nodes *nodes;
    atomic_bool has_decisions;      /* decision.c: the name of their file is durable; and */
    _Atomic uint64_t next_decision; /* the slot to begin with */
    /* Below: space.c and layer.c alone. */
    pthread_mutex_t mutex;      /* guards layers */
    struct bough__layer *layers;
    pthread_cond_t layer_is_ready; /* one that was being opened or closed no longer is */
    struct bough__shm past;     /* pins of states without a layer; opened with the first */
    bool has_past;
    int unseen_fd;              /* of the identity file: see below; -1 */
    int locks_fd;               /* the same file, for the locks of all layers that are open (shm.h); -1 */
    unsigned references;        /* these two under the registry's mutex, in space.c */
    struct bough__space *next;
};

/* The identity file of a store is `db`: a regular file, so that a branch's path (shop.bough/db/premium) runs through it
 * and a program without the VFS fails to open it.
 *     0  16  "bough store 1\n\0\0"
 *    16   4  format version (1)
 *    20   4  feature flags a reader must know; unknown ones refuse
 *    24   4  feature flags a reader may ignore
 *    28   4  0
 *    32  16  UUID of the store
 *    48   8  XXH3 of bytes 0 to 47
 *    56      a line of text for whoever looks into it
 */
#define BOUGH__STORE_FILE "db"
/* Locks on it, a byte each: one who reads without permission to write cannot say in shared memory what he reads, and
 * holds the first shared as long as he has the store open; gc takes it exclusively while it works. Then one gc at a
 * time. */
#define BOUGH__STORE_UNSEEN_BYTE 0
#define BOUGH__STORE_GC_BYTE 1
/* Shared by each who deletes more branches than he can hold: what he has put in doubt stays so (drop.c). */
#define BOUGH__STORE_DOUBT_BYTE 2
/* From here on, 128 bytes for each layer: see shm.h. Beyond what SQLite locks where it finds a database. */
#define BOUGH__STORE_LAYER_BYTES (UINT64_C(1) << 40)
#define BOUGH__FORMAT_VERSION 1

/* Writes the identity file into an existing directory (durable with it). */
int bough__space_create(const char *directory, mode_t mode);
/* BOUGH_NOT_FOUND: no directory or no identity file; BOUGH_CORRUPT: another file, damaged, newer.
 * BOUGH_REFUSED: on a network file system. */
int bough__space_open(struct bough__space **out, const char *directory);
void bough__space_retain(struct bough__space *space);
void bough__space_close(struct bough__space *space); /* gives up one reference; NULL is fine */
/* True in a child of the process that opened it: nothing may be done with it, or with anything that belongs to it. */
bool bough__space_is_inherited(const struct bough__space *space);
/* The registry over a fork(); see process.h. The child's is empty. */
void bough__space_before_fork(void);
void bough__space_after_fork_in_parent(void);
void bough__space_after_fork_in_child(void);

/* locks_fd is open if it can be. With the space's mutex held. */
void bough__space_want_locks(struct bough__space *space);

/* Keeps gc away until the store is closed. BOUGH_BUSY: gc is at work. With the space's mutex held. */
int bough__space_read_unseen(struct bough__space *space);
/* Pins a tree that no layer publishes; *out_pin may be BOUGH__NO_PIN. Whether that was in time is for the caller to
 * find out, who then says so. */
int bough__space_pin(int *out_pin, struct bough__space *space, struct bough__node_ref top);
void bough__space_pin_is_sure(struct bough__space *space, int pin);
void bough__space_unpin(struct bough__space *space, int pin);

#endif
