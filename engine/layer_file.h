/* layer_file.h - the bytes of a layer's file: identity, header slots, where frames lie.
 *
 *       0   512  identity, written once:
 *                  0  16  "bough layer 1\n\0\0"
 *                 16   4  format version (1)
 *                 20   4  feature flags that a reader must know
 *                 24   4  number of the layer
 *                 28   4  block size
 *                 32  16  UUID of the store
 *                 48  32  id of the commit that the layer was begun on (zeros for an import)
 *                 80   2  length of the branch's name, then the name (200 bytes at most; as it was then)
 *                504   8  XXH3 of bytes 0 to 503
 *    1024   512  header slot A1
 *    4096   512  header slot A2
 *    4608  3584  first chunk of the log
 *    8192   512  header slot B1
 *   12288   512  header slot B2
 *   16384        frame 0, frame 1, ... of one block each. Further chunks of the log lie among the frames.
 *
 * A header slot:
 *      0   8  sequence: the valid slot with the higher one counts
 *      8   8  generation of the log; rises with each checkpoint
 *     16   8  newest transaction that the tree holds
 *     24   8  newest transaction known durable: the log must reach it, or it is damaged
 *     32   8  newest transaction that a commit had sealed when this generation began (hold)
 *     40   8  seed of the log's first record
 *     48   8  offset of the log's first chunk
 *     56   8  its length
 *     64   8  frames handed out
 *     72   8  nodes written by this layer's checkpoints
 *     80  52  the tree (map.h): what lies below the log
 *    132   4  0
 *    136   8  offset of the first page of free extents, 0: none (frames.h)
 *    144   8  number of free extents
 *    152   8  their XXH3 sum
 *    160  32  two areas for lists of free extents, used in turn: each its offset (0: none yet) and its number of frames
 *    504   8  XXH3 of bytes 0 to 503, seeded with the store's key and the layer's number
 *
 * The file is made under the name N.new, synced and renamed, so a file N.layer has a valid identity and slot or is
 * damaged; that of a scratch layer is not synced, and nobody misses it. Odd generations have the places A, even ones B;
 * odd sequences have the first place of the two. Each place is in a block of its own. A new generation's slot is
 * written into both of its places, and then synced: a power loss before that leaves the old generation, and a place
 * that rots after it leaves its twin. Within a generation slots are written one at a time. Places B are a hole until
 * the first checkpoint.
 */
#ifndef BOUGH_ENGINE_LAYER_FILE_H
#define BOUGH_ENGINE_LAYER_FILE_H

#include "log.h"
#include "map.h"
#include "space.h"

#define BOUGH__LAYER_FRAMES_OFFSET 16384u
#define BOUGH__LAYER_FIRST_CHUNK_OFFSET 4608u
#define BOUGH__LAYER_FIRST_CHUNK_SIZE 3584u
#define BOUGH__LAYER_HEADER_SIZE 512u /* of the identity and of a slot */
#define BOUGH__LAYER_VERSION 1
/* Frames and transactions are below it, so that every offset fits a file and every sum of two an integer. */
#define BOUGH__NUMBER_LIMIT (UINT64_C(1) << 46)
/* A chunk of the log takes one record at least, and the largest one at most. */
#define BOUGH__LOG_CHUNK_MAX (BOUGH__LOG_RECORD_MAX + (128u << 10))
#define BOUGH__EXTENTS_MAX (1u << 20) /* in a list of free extents */
/* Locked (shared) by readers who cannot write to the store, and so cannot say in shared memory that they read; and by
 * who makes a layer that no row of the catalog knows yet. */
#define BOUGH__LAYER_READER_BYTE 0

struct bough__layer_slot {
    uint64_t sequence, generation, txn, durable_txn, hold_txn;
    uint64_t log_seed, log_offset, log_size;
    uint64_t frame_count, node_count;
    struct bough__tree tree;
    uint64_t free_offset, free_count, free_sum;
    struct bough__list_area {
        uint64_t offset, frame_count;
    } list_areas[2];
    bool is_doubled; /* not stored: the twin's place holds a slot of the same generation */
};

struct bough__layer_identity {
    uint32_t number, block_size;
    uint8_t begun_on[BOUGH__DIGEST_SIZE];
    char branch[201];
};

static inline uint64_t bough__frame_offset(uint64_t frame, uint32_t block_size)
{
    return BOUGH__LAYER_FRAMES_OFFSET + frame * block_size;
}

/* A power of two from 512 to 65536. */
bool bough__block_size_is_valid(uint64_t block_size);
/* The first chunk's place, or whole frames. */
bool bough__log_chunk_is_possible(uint64_t offset, uint64_t size, uint32_t block_size);
/* A slot with a right sum can still say what no program writes: BOUGH_CORRUPT. */
int bough__layer_slot_check(const struct bough__layer_slot *slot, uint32_t block_size, const char *path);

/* Makes the file with identity and slot (in both places; sets the sequence), durable with its directory entry unless it
 * is scratch; *out_fd is open for writing. It is locked shared (BOUGH__LAYER_READER_BYTE) before it has its name; the
 * caller lets go of that with bough__layer_file_settle when the catalog tells whose the layer is. Until then gc leaves
 * it alone. */
int bough__layer_file_create(int *out_fd, const struct bough__space *space,
                             const struct bough__layer_identity *identity, struct bough__layer_slot *slot,
                             bool is_scratch);
void bough__layer_file_settle(int fd);
/* True: a file of that number was made at some time. A layer that is its branch's and was made is damaged when its file
 * is missing; one that was not is as its branch's head. Told by layers.made: 8 bytes for each number, the XXH3 of the
 * number (4 bytes) seeded with the store's key. They are written after the file is durable, and not synced: a power
 * loss soon after may take them, and with them this proof alone. */
int bough__layer_file_was_made(bool *out, const struct bough__space *space, uint32_t number);
/* For who finds a file without a transaction: its maker may have been killed before its name was durable. */
int bough__layer_file_keep_name(const struct bough__space *space, uint32_t number);
/* Opens an existing one and checks its identity. BOUGH_NOT_FOUND: there is none. */
int bough__layer_file_open(int *out_fd, struct bough__layer_identity *out_identity, const struct bough__space *space,
                           uint32_t number, bool read_only);
/* The slot that counts (highest valid sequence), or, with generation other than 0, a valid slot of that generation
 * (*out_found false: there is none). */
int bough__layer_file_read_slot(bool *out_found, struct bough__layer_slot *out, int fd,
                                const struct bough__space *space, uint32_t number, uint64_t generation);
/* One of the places, whatever stands in the others. *out counts where the state is VALID. */
enum bough__slot_state {
    BOUGH__SLOT_EMPTY, /* zeros: not written yet, or taken back */
    BOUGH__SLOT_VALID,
    BOUGH__SLOT_DAMAGED
};
enum bough__slot_place { BOUGH__SLOT_A1, BOUGH__SLOT_A2, BOUGH__SLOT_B1, BOUGH__SLOT_B2, BOUGH__SLOT_PLACES };
enum bough__slot_place bough__layer_slot_place(const struct bough__layer_slot *slot);
uint64_t bough__layer_place_offset(enum bough__slot_place place);
const char *bough__layer_place_name(enum bough__slot_place place); /* "A1" */
int bough__layer_file_read_place(enum bough__slot_state *out_state, struct bough__layer_slot *out, int fd,
                                 const struct bough__space *space, uint32_t number, enum bough__slot_place place);
/* True when both slots of that generation are valid and know of that durable transaction: losing either loses
 * nothing. */
bool bough__layer_file_is_doubled(int fd, const struct bough__space *space, uint32_t number, uint64_t generation,
                                  uint64_t durable_txn);
/* Writes the slot into its place (chosen by generation and sequence); not synced. */
int bough__layer_file_write_slot(int fd, const struct bough__space *space, uint32_t number,
                                 const struct bough__layer_slot *slot);
/* The same for both places of its generation, with the two sequences that follow the slot's; that of the second is the
 * slot's from then on. */
int bough__layer_file_write_pair(int fd, const struct bough__space *space, uint32_t number,
                                 struct bough__layer_slot *slot);
/* Makes the slot's place invalid. */
int bough__layer_file_void_slot(int fd, const struct bough__space *space, const struct bough__layer_slot *slot);

#endif
