/* shm_map.h - the bytes of shm.h, and what the files that work on them share: shm.c, shm_locks.c, shm_pins.c and
 * shm_ask.c alone.
 */
#ifndef BOUGH_ENGINE_SHM_MAP_H
#define BOUGH_ENGINE_SHM_MAP_H

#include "os.h"
#include "shm.h"

#define SHM_MAGIC 0x37304d4853474842u /* "BHGSHM07" in memory of a little-endian machine */
#define SHM_SIZE 28672
#define LOCK_DEAD_MAN 0
#define LOCK_CLOSING 2
#define LOCK_OPENERS 16
#define LOCKS 128 /* bytes for each number */
_Static_assert(LOCK_OPENERS + BOUGH__SHM_OPENERS <= LOCKS, "openers have bytes of their own");

/* Lives in memory that only processes of one machine share, so native integers do. */
struct bough__shm_map {
    _Atomic uint64_t magic; /* set last by the builder; carries the layout's version */
    uint8_t boot_id[16];
    _Atomic uint32_t flags;
    _Atomic uint32_t was_built; /* on this boot, by a process that died; its heir has not finished yet */
    _Atomic uint64_t durable_txn;
    _Atomic uint64_t hold_txn;
    _Atomic uint64_t counter; /* counter & 1 names the valid slot */
    _Atomic uint64_t slots[2][8];
    _Atomic int32_t pids[BOUGH__SHM_OPENERS];
    _Atomic uint64_t pins[BOUGH__SHM_PINS]; /* opener's index + 1, 8 bits; transaction + 1, 56 bits */
    _Atomic uint64_t trees[BOUGH__SHM_PINS]; /* place of the top node that the pin beside it reads from */
    _Atomic uint64_t times[BOUGH__SHM_PINS]; /* when the pin beside it was set: milliseconds of uptime */
    _Atomic uint32_t writer; /* opener's index + 1, and WAITED; 0: nobody */
    _Atomic uint64_t kept_frames; /* dead ones that pins kept back when the writer last looked */
    _Atomic int64_t left_by; /* id of the branch that has another layer now, or is about to; 0: none */
};
_Static_assert(sizeof(struct bough__shm_map) <= SHM_SIZE, "the layout fits the file");

#define PIN_OWNER_SHIFT 56
#define PIN_TXN_MASK ((UINT64_C(1) << PIN_OWNER_SHIFT) - 1)
_Static_assert(BOUGH__SHM_OPENERS < 255, "an opener's number fits a pin");

/* A tree's word: file 32 bits, the mark, the lowest 13 bits of the log's generation, index 18 bits. Two generations may
 * have one tree and read different frames; those of one transaction are a few at most, so their lowest bits differ. */
#define TREE_UNSURE (UINT64_C(1) << 31)
#define TREE_INDEX_MASK ((UINT64_C(1) << 18) - 1)
#define TREE_GENERATION_MASK (UINT64_C(0x1fff) << 18)

static inline uint64_t bough__shm_tree_word(struct bough__node_ref top, uint64_t generation)
{
    return (uint64_t)top.file << 32 | (generation << 18 & TREE_GENERATION_MASK) | top.index;
}

static inline struct bough__node_ref bough__shm_tree_of(uint64_t word)
{
    return (struct bough__node_ref){.file = (uint32_t)(word >> 32), .index = (uint32_t)(word & TREE_INDEX_MASK)};
}

/* The number's path and its place among the locks; nothing is opened. */
int bough__shm_start(struct bough__shm *out, const char *directory, uint32_t number);
/* The same, with a descriptor of the locks for itself: its user is a stranger to the layers that this process has. */
int bough__shm_start_alone(struct bough__shm *out, const char *directory, uint32_t number, int flags);

/* One of the number's locks. */
int bough__shm_lock_byte(const struct bough__shm *shm, uint64_t byte, enum bough__lock_kind kind);
/* Does the opener of this number, counted from 1, live? */
bool bough__shm_is_alive(const struct bough__shm *shm, uint32_t owner);
/* What a process left that had this number and died. The number's lock is the caller's, so nobody is it now. */
void bough__shm_clear_number(struct bough__shm *shm, int opener);
void bough__shm_clear_pins(struct bough__shm *shm, int opener);

/* What is pinned at a place; false: nothing, or the pin is parked. */
bool bough__shm_read_pin(uint64_t *out_pin, uint64_t *out_tree, const struct bough__shm *shm, int i);

#endif
