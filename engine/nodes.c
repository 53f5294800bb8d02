/* nodes.c - node files, the appenders that write them, and the cache of checked nodes.
 *
 * A node file, nodes/N.nodes (N from 1), is an array of 4096-byte cells. Integers are little-endian.
 *
 * Cell 0, the file's header:
 *      0  16  "bough nodes 1\n\0\0"
 *     16   4  format version (1)
 *     20   4  feature flags that an appender must know; unknown ones make it take another file
 *     24   4  feature flags that may be ignored
 *     28   4  number of the file
 *     32   8  key of the store (XXH3 of its UUID)
 *     40   8  XXH3 of bytes 0 to 39
 *     48      zeros
 *
 * Cells 1 to 262143 (a file ends at 1 GiB), one node each:
 *      0   8  "boughnod"
 *      8   8  XXH3 of bytes 16 to 4095, seeded with the key of the store
 *     16   4  format version (1)
 *     20   4  level: 1 is a leaf, 6 the highest
 *     24   4  how many of the 64 children are no zeros
 *     28   4  number of the file
 *     32   4  index of the cell
 *     36 220  zeros, reserved
 *    256      the children
 *
 * A leaf has 64 entries of 60 bytes:               An inner node has 64 children of 40 bytes, then zeros:
 *      0   4  layer (0: a page of zeros,                0   4  file (0: nothing but zeros below,
 *             then everything is 0)                            then everything is 0)
 *      4   8  frame                                     4   4  index
 *     12   8  birth                                     8  32  digest of the child
 *     20   8  sum
 *     28  32  digest of the page
 *
 * Who reads a node checks magic, sum, version, place, level and that zeros are where they must be, so whoever looks at
 * a node in memory need not. The header is read by appenders alone: each node proves its own place.
 *
 * Appending
 *  - Who holds the lock on byte 0 of a file appends to it. A file that is empty, or has no valid header and no cell
 *    beyond it, is new: its holder syncs the directory first and writes the header then. So a valid header means that
 *    the file's name is durable. A file with cells and no valid header is left alone.
 *  - Cells are appended at the file's size, rounded up. What a killed or failed appender left there is referred to
 *    by nothing. The process remembers the next index of each file as well, so that an index that was handed out is
 *    never handed out for another node, though the first was never written.
 *  - After a failed write the appender is dead. After a failed sync this process appends to the file no more, either:
 *    the page cache may show cells that the disk does not have.
 *  - The numbers are found by trying 1, 2, 3 and so on. A node file is therefore never removed, and its number never
 *    used again; what nothing refers to can be punched out of it.
 *
 * Three caches hold what was read from files and checked, at most 8 MiB together: whole bodies for those who go through
 * nodes; and, since they are a quarter of that and less, the places alone (layer, frame and sum of a leaf's
 * pages, refs of an inner node's children) for those who look for a page. Nodes that are still in an appender's
 * buffer are read from there and never enter a cache: they may never be written, and another process may use
 * the index then.
 */
#include "nodes.h"

#include "codec.h"
#include "error.h"
#include "node_cache.h"
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAGIC "bough nodes 1\n\0"
#define NODE_MAGIC "boughnod"
#define FORMAT_VERSION 1
#define CELL_LIMIT 262144u
#define LEVEL_LIMIT 6u

enum {
    HEADER_SIZE = 256,
    BODY_SIZE = BOUGH__NODE_SIZE - HEADER_SIZE,
    ENTRY_SIZE = 60,
    CHILD_SIZE = 40,
    WORD = 8,
    BODY_WORDS = BODY_SIZE / WORD,
    PLACE_SIZE = 20, /* layer, frame, sum */
    PLACES_WORDS = BOUGH__FANOUT * PLACE_SIZE / WORD,
    REF_SIZE = 8,
    REFS_WORDS = BOUGH__FANOUT * REF_SIZE / WORD,
    /* Places for 1 GiB of pages of 4 KiB, refs for 16 GiB. */
    BODY_SETS = 64,
    PLACES_SETS = 512,
    REFS_SETS = 128,
    FIRST_CAPACITY = 8,
    BUFFER_CELLS = 64,
};

_Static_assert(ENTRY_SIZE * BOUGH__FANOUT == BODY_SIZE, "a leaf fills its node");
_Static_assert(CHILD_SIZE * BOUGH__FANOUT <= BODY_SIZE, "an inner node fits");
_Static_assert((ENTRY_SIZE + 4) % WORD == 0 && CHILD_SIZE % WORD == 0 && (PLACE_SIZE + 4) % WORD == 0,
               "children are read as words");
_Static_assert(BOUGH__NODE_CACHE_BYTES(BODY_SETS, BODY_WORDS) + BOUGH__NODE_CACHE_BYTES(PLACES_SETS, PLACES_WORDS) +
                       BOUGH__NODE_CACHE_BYTES(REFS_SETS, REFS_WORDS) <=
                   8 << 20,
               "the caches take 8 MiB at most");
_Static_assert(sizeof(FILE_MAGIC) == 16, "the magic takes 16 bytes");

/* What the process knows of a file that it has appended to. */
struct node_file {
    uint32_t number;
    uint32_t next_index; /* CELL_LIMIT: full, or not to be used */
};

struct bough__appender {
    struct bough__nodes *nodes;
    struct bough__appender *next;
    int fd;                    /* -1: no file yet, or dead */
    char *path;
    uint32_t file;
    int *full;                 /* files that were filled: locked until the end, too */
    size_t full_count;
    uint64_t count;
    bool is_unsynced, is_dead;
    /* Guarded by the nodes' mutex, for those who read what is not written yet. */
    uint32_t first_index;      /* of the buffer */
    uint32_t buffered, capacity;
    uint8_t *buffer;
};

struct bough__nodes {
    struct bough__files *files;
    char *directory; /* of the node files */
    uint64_t store_key;
    mode_t mode;
    struct bough__node_cache bodies, places, refs;
    _Atomic uint32_t appender_count;
    pthread_mutex_t mutex; /* guards what follows, and the appenders' buffers */
    struct bough__appender *appenders;
    struct node_file *known;
    size_t known_count;
    uint32_t first_number; /* of a file that may have room */
};

/* ---- encoding -------------------------------------------------------------------------------------------------- */

static inline void encode_entry(uint8_t *p, const struct bough__entry *entry)
{
    bough__put32(p, entry->layer);
    bough__put64(p + 4, entry->frame);
    bough__put64(p + 12, entry->birth);
    bough__put64(p + 20, entry->sum);
    memcpy(p + 28, entry->digest, BOUGH__DIGEST_SIZE);
}

static inline void decode_entry(struct bough__entry *out, const uint8_t *p)
{
    out->layer = bough__get32(p);
    out->frame = bough__get64(p + 4);
    out->birth = bough__get64(p + 12);
    out->sum = bough__get64(p + 20);
    memcpy(out->digest, p + 28, BOUGH__DIGEST_SIZE);
}

static inline void decode_child(struct bough__node_ref *out_ref, uint8_t *out_digest, const uint8_t *p)
{
    out_ref->file = bough__get32(p);
    out_ref->index = bough__get32(p + 4);
    if (out_digest)
        memcpy(out_digest, p + 8, BOUGH__DIGEST_SIZE);
}

static uint32_t encode_body(uint8_t *body, const struct bough__node *node)
{
    uint32_t used = 0;
    for (unsigned i = 0; i < BOUGH__FANOUT; i++) {
        if (node->level == 1) {
            encode_entry(body + i * ENTRY_SIZE, &node->entries[i]);
            used += node->entries[i].layer != 0;
        } else {
            uint8_t *p = body + i * CHILD_SIZE;
            bough__put32(p, node->children[i].ref.file);
            bough__put32(p + 4, node->children[i].ref.index);
            memcpy(p + 8, node->children[i].digest, BOUGH__DIGEST_SIZE);
            used += node->children[i].ref.file != 0;
        }
    }
    return used;
}

static void decode_body(struct bough__node *out, unsigned level, const uint8_t *body)
{
    out->level = level;
    for (unsigned i = 0; i < BOUGH__FANOUT; i++) {
        if (level == 1)
            decode_entry(&out->entries[i], body + i * ENTRY_SIZE);
        else
            decode_child(&out->children[i].ref, out->children[i].digest, body + i * CHILD_SIZE);
    }
}

static void encode_node(uint8_t cell[BOUGH__NODE_SIZE], const struct bough__nodes *nodes,
                        const struct bough__node *node, struct bough__node_ref ref)
{
    memset(cell, 0, BOUGH__NODE_SIZE);
    memcpy(cell, NODE_MAGIC, 8);
    bough__put32(cell + 16, FORMAT_VERSION);
    bough__put32(cell + 20, node->level);
    bough__put32(cell + 24, encode_body(cell + HEADER_SIZE, node));
    bough__put32(cell + 28, ref.file);
    bough__put32(cell + 32, ref.index);
    bough__put64(cell + 8, bough__xxh(cell + 16, BOUGH__NODE_SIZE - 16, nodes->store_key));
}

/* ---- checking -------------------------------------------------------------------------------------------------- */

static int damaged(const struct bough__nodes *nodes, struct bough__node_ref ref, const char *what)
{
    return bough__fail(BOUGH_CORRUPT, "%s/%u.nodes: node %u %s", nodes->directory, ref.file, ref.index, what);
}

static bool ref_is_possible(struct bough__node_ref ref)
{
    return ref.file != 0 && ref.index != 0 && ref.index < CELL_LIMIT;
}

static bool digest_is_zero(const uint8_t *p)
{
    uint64_t words[BOUGH__DIGEST_SIZE / 8];
    memcpy(words, p, sizeof words);
    return (words[0] | words[1] | words[2] | words[3]) == 0;
}

/* A child is all zeros or has both place and digest. Inlined for the two sizes: it runs for each node that is read. */
static inline bool are_sound(const uint8_t *body, size_t size, bool is_leaf, uint32_t used)
{
    for (const uint8_t *child = body; child < body + size * BOUGH__FANOUT; child += size) {
        struct bough__node_ref ref = {bough__get32(child), bough__get32(child + 4)};
        bool has_digest = !digest_is_zero(child + size - BOUGH__DIGEST_SIZE);
        if (ref.file == 0 ? has_digest || !bough__is_zero(child, size)
                          : !has_digest || (!is_leaf && !ref_is_possible(ref)))
            return false;
        used -= ref.file != 0;
    }
    return used == 0;
}

static bool children_are_sound(const uint8_t *body, unsigned level, uint32_t used)
{
    if (level == 1)
        return are_sound(body, ENTRY_SIZE, true, used);
    size_t len = CHILD_SIZE * (size_t)BOUGH__FANOUT;
    return are_sound(body, CHILD_SIZE, false, used) && bough__is_zero(body + len, BODY_SIZE - len);
}

static int check_cell(const uint8_t cell[BOUGH__NODE_SIZE], const struct bough__nodes *nodes,
                      struct bough__node_ref ref)
{
    if (memcmp(cell, NODE_MAGIC, 8) != 0)
        return damaged(nodes, ref, "is no node");
    if (bough__get64(cell + 8) != bough__xxh(cell + 16, BOUGH__NODE_SIZE - 16, nodes->store_key))
        return damaged(nodes, ref, "fails its checksum");
    if (bough__get32(cell + 16) != FORMAT_VERSION)
        return damaged(nodes, ref, "has a format that this version does not know");
    if (bough__get32(cell + 28) != ref.file || bough__get32(cell + 32) != ref.index)
        return damaged(nodes, ref, "belongs to another place");
    unsigned level = bough__get32(cell + 20);
    if (level < 1 || level > LEVEL_LIMIT)
        return damaged(nodes, ref, "has an impossible level");
    if (!children_are_sound(cell + HEADER_SIZE, level, bough__get32(cell + 24)))
        return damaged(nodes, ref, "has an impossible child");
    return BOUGH_OK;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* A node that an appender of this process holds in its buffer. */
static bool read_buffered(uint8_t cell[BOUGH__NODE_SIZE], struct bough__nodes *nodes, struct bough__node_ref ref)
{
    if (atomic_load_explicit(&nodes->appender_count, memory_order_acquire) == 0)
        return false;
    bool found = false;
    pthread_mutex_lock(&nodes->mutex);
    for (struct bough__appender *a = nodes->appenders; a && !found; a = a->next) {
        found = a->file == ref.file && ref.index >= a->first_index && ref.index - a->first_index < a->buffered;
        if (found)
            memcpy(cell, a->buffer + (size_t)(ref.index - a->first_index) * BOUGH__NODE_SIZE, BOUGH__NODE_SIZE);
    }
    pthread_mutex_unlock(&nodes->mutex);
    return found;
}

/* Reads and checks the whole cell, past the cache. */
static int read_cell(uint8_t cell[BOUGH__NODE_SIZE], bool *out_is_buffered, struct bough__nodes *nodes,
                     struct bough__node_ref ref)
{
    if (!ref_is_possible(ref))
        return damaged(nodes, ref, "cannot exist");
    *out_is_buffered = read_buffered(cell, nodes, ref);
    if (*out_is_buffered)
        return BOUGH_OK;
    uint64_t offset = (uint64_t)ref.index * BOUGH__NODE_SIZE;
    int rc = bough__files_read(nodes->files, BOUGH__NODE_FILE, ref.file, offset, cell, BOUGH__NODE_SIZE, true);
    return rc == BOUGH_OK ? check_cell(cell, nodes, ref) : rc;
}

/* What each cache keeps of a node. */

static void body_of(uint8_t *out, const uint8_t cell[BOUGH__NODE_SIZE])
{
    memcpy(out, cell + HEADER_SIZE, BODY_SIZE);
}

static void places_of(uint8_t *out, const uint8_t cell[BOUGH__NODE_SIZE])
{
    for (unsigned i = 0; i < BOUGH__FANOUT; i++) {
        const uint8_t *entry = cell + HEADER_SIZE + i * ENTRY_SIZE;
        memcpy(out + i * PLACE_SIZE, entry, 12);
        memcpy(out + i * PLACE_SIZE + 12, entry + 20, 8);
    }
}

static void refs_of(uint8_t *out, const uint8_t cell[BOUGH__NODE_SIZE])
{
    for (unsigned i = 0; i < BOUGH__FANOUT; i++)
        memcpy(out + i * REF_SIZE, cell + HEADER_SIZE + i * CHILD_SIZE, REF_SIZE);
}

typedef void part_of_cell(uint8_t *out, const uint8_t cell[BOUGH__NODE_SIZE]);

/* From the file, into the cache. level 0: any. */
static int read_past_cache(unsigned *out_level, uint8_t *out, struct bough__nodes *nodes,
                           struct bough__node_cache *cache, part_of_cell *part, struct bough__node_ref ref,
                           unsigned level, uint32_t first_word, uint32_t word_count)
{
    uint8_t cell[BOUGH__NODE_SIZE], words[BODY_SIZE];
    bool is_buffered = false;
    int rc = read_cell(cell, &is_buffered, nodes, ref);
    if (rc != BOUGH_OK)
        return rc;
    *out_level = bough__get32(cell + 20);
    if (level != 0 && *out_level != level)
        return damaged(nodes, ref, "is of another level than was expected");
    part(words, cell);
    memcpy(out, words + (size_t)first_word * WORD, (size_t)word_count * WORD);
    if (!is_buffered)
        bough__node_cache_put(cache, ref, *out_level, words);
    return BOUGH_OK;
}

/* Some words of a part of a node, through the cache of such parts. level 0: any. */
static inline int read_words(unsigned *out_level, uint8_t *out, struct bough__nodes *nodes,
                             struct bough__node_cache *cache, part_of_cell *part, struct bough__node_ref ref,
                             unsigned level, uint32_t first_word, uint32_t word_count)
{
    uint32_t found = 0;
    if (!bough__node_cache_get(&found, out, cache, ref, first_word, word_count))
        return read_past_cache(out_level, out, nodes, cache, part, ref, level, first_word, word_count);
    *out_level = found;
    return level == 0 || found == level ? BOUGH_OK : damaged(nodes, ref, "is of another level than was expected");
}

int bough__nodes_read(struct bough__node *out, struct bough__nodes *nodes, struct bough__node_ref ref)
{
    uint8_t body[BODY_SIZE];
    unsigned level = 0;
    int rc = read_words(&level, body, nodes, &nodes->bodies, body_of, ref, 0, 0, BODY_WORDS);
    if (rc == BOUGH_OK)
        decode_body(out, level, body);
    return rc;
}

int bough__nodes_read_uncached(struct bough__node *out, struct bough__nodes *nodes, struct bough__node_ref ref)
{
    uint8_t cell[BOUGH__NODE_SIZE];
    bool is_buffered = false;
    int rc = read_cell(cell, &is_buffered, nodes, ref);
    if (rc == BOUGH_OK)
        decode_body(out, bough__get32(cell + 20), cell + HEADER_SIZE);
    return rc;
}

int bough__nodes_read_entry(struct bough__entry *out, struct bough__nodes *nodes, struct bough__node_ref ref,
                            unsigned index)
{
    uint8_t bytes[ENTRY_SIZE + 4]; /* an entry begins at a word or in the middle of one */
    uint32_t offset = index * ENTRY_SIZE;
    unsigned level = 0;
    int rc = read_words(&level, bytes, nodes, &nodes->bodies, body_of, ref, 1, offset / WORD, sizeof bytes / WORD);
    if (rc == BOUGH_OK)
        decode_entry(out, bytes + offset % WORD);
    return rc;
}

int bough__nodes_read_place(struct bough__entry *out, struct bough__nodes *nodes, struct bough__node_ref ref,
                            unsigned index)
{
    uint8_t bytes[PLACE_SIZE + 4];
    uint32_t offset = index * PLACE_SIZE;
    unsigned level = 0;
    int rc = read_words(&level, bytes, nodes, &nodes->places, places_of, ref, 1, offset / WORD, sizeof bytes / WORD);
    const uint8_t *place = bytes + offset % WORD;
    if (rc == BOUGH_OK)
        *out = (struct bough__entry){
            .layer = bough__get32(place), .frame = bough__get64(place + 4), .sum = bough__get64(place + 12)};
    return rc;
}

int bough__nodes_read_child(struct bough__node_ref *out_ref, uint8_t out_digest[BOUGH__DIGEST_SIZE],
                            struct bough__nodes *nodes, struct bough__node_ref ref, unsigned level, unsigned index)
{
    uint8_t bytes[CHILD_SIZE];
    unsigned found = 0;
    int rc = out_digest ? read_words(&found, bytes, nodes, &nodes->bodies, body_of, ref, level,
                                     index * CHILD_SIZE / WORD, CHILD_SIZE / WORD)
                        : read_words(&found, bytes, nodes, &nodes->refs, refs_of, ref, level,
                                     index * REF_SIZE / WORD, REF_SIZE / WORD);
    if (rc == BOUGH_OK)
        decode_child(out_ref, out_digest, bytes);
    return rc;
}

int bough__node_digest(uint8_t out[BOUGH__DIGEST_SIZE], const struct bough__node *node)
{
    static const char tag[] = "bough node 1\n";
    uint8_t digests[BOUGH__FANOUT][BOUGH__DIGEST_SIZE];
    for (unsigned i = 0; i < BOUGH__FANOUT; i++)
        memcpy(digests[i], node->level == 1 ? node->entries[i].digest : node->children[i].digest, BOUGH__DIGEST_SIZE);
    if (bough__is_zero(digests, sizeof digests)) {
        memset(out, 0, BOUGH__DIGEST_SIZE);
        return BOUGH_OK;
    }
    uint8_t level = (uint8_t)node->level;
    struct bough__piece pieces[] = {{tag, sizeof tag - 1}, {&level, 1}, {digests, sizeof digests}};
    return bough__sha256_pieces(out, pieces, 3);
}

/* ---- files to append to ---------------------------------------------------------------------------------------- */

static struct node_file *known_file(struct bough__nodes *nodes, uint32_t number)
{
    for (size_t i = 0; i < nodes->known_count; i++)
        if (nodes->known[i].number == number)
            return &nodes->known[i];
    return NULL;
}

/* Makes an entry for the file, so that noting an index later cannot fail. */
static int know_file(uint32_t *out_next, struct bough__nodes *nodes, uint32_t number)
{
    int rc = BOUGH_OK;
    pthread_mutex_lock(&nodes->mutex);
    struct node_file *file = known_file(nodes, number);
    if (!file) {
        struct node_file *more = bough__realloc(nodes->known, (nodes->known_count + 1) * sizeof *more);
        if (more) {
            nodes->known = more;
            file = &more[nodes->known_count++];
            *file = (struct node_file){number, 1};
        } else {
            rc = BOUGH_NOMEM;
        }
    }
    *out_next = file ? file->next_index : CELL_LIMIT;
    pthread_mutex_unlock(&nodes->mutex);
    return rc;
}

/* With the mutex held. */
static void note_next_index(struct bough__nodes *nodes, uint32_t number, uint32_t next_index)
{
    struct node_file *file = known_file(nodes, number);
    if (file && file->next_index < next_index)
        file->next_index = next_index;
    while ((file = known_file(nodes, nodes->first_number)) && file->next_index >= CELL_LIMIT)
        nodes->first_number++;
}

static void encode_file_header(uint8_t cell[BOUGH__NODE_SIZE], const struct bough__nodes *nodes, uint32_t number)
{
    memset(cell, 0, BOUGH__NODE_SIZE);
    memcpy(cell, FILE_MAGIC, 16);
    bough__put32(cell + 16, FORMAT_VERSION);
    bough__put32(cell + 28, number);
    bough__put64(cell + 32, nodes->store_key);
    bough__put64(cell + 40, bough__xxh(cell, 40, 0));
}

static bool file_header_is_valid(const uint8_t cell[BOUGH__NODE_SIZE], const struct bough__nodes *nodes,
                                 uint32_t number)
{
    return memcmp(cell, FILE_MAGIC, 16) == 0 && bough__get64(cell + 40) == bough__xxh(cell, 40, 0) &&
           bough__get32(cell + 16) == FORMAT_VERSION && bough__get32(cell + 20) == 0 &&
           bough__get32(cell + 28) == number && bough__get64(cell + 32) == nodes->store_key;
}

int bough__nodes_check_header(struct bough__nodes *nodes, uint32_t number)
{
    uint8_t cell[BOUGH__NODE_SIZE];
    int rc = bough__files_read(nodes->files, BOUGH__NODE_FILE, number, 0, cell, sizeof cell, true);
    if (rc == BOUGH_OK && !file_header_is_valid(cell, nodes, number))
        rc = bough__fail(BOUGH_CORRUPT, "%s/%u.nodes: the header is damaged, or newer than this program",
                         nodes->directory, number);
    return rc;
}

/* Looks whether the locked file can be appended to, and makes a new one usable. *out_next: where; CELL_LIMIT: it
 * cannot. */
static int prepare_file(uint32_t *out_next, struct bough__nodes *nodes, int fd, uint32_t number, const char *path)
{
    uint8_t cell[BOUGH__NODE_SIZE];
    uint64_t size_bytes = 0;
    size_t len = 0;
    *out_next = CELL_LIMIT;
    int rc = bough__os_size(&size_bytes, fd, path);
    if (rc == BOUGH_OK)
        rc = bough__os_read_some(&len, fd, cell, sizeof cell, 0, path);
    if (rc != BOUGH_OK)
        return rc;
    if (len < sizeof cell || !file_header_is_valid(cell, nodes, number)) {
        if (size_bytes > BOUGH__NODE_SIZE)
            return BOUGH_OK;
        rc = bough__os_sync_directory(nodes->directory);
        encode_file_header(cell, nodes, number);
        if (rc == BOUGH_OK)
            rc = bough__os_write(fd, cell, sizeof cell, 0, path);
        size_bytes = BOUGH__NODE_SIZE;
    }
    uint64_t next = (size_bytes + BOUGH__NODE_SIZE - 1) / BOUGH__NODE_SIZE;
    *out_next = next < CELL_LIMIT ? (uint32_t)next : CELL_LIMIT;
    return rc;
}

/* BOUGH_BUSY: the file is another appender's, or cannot be appended to. */
static int try_file(struct bough__appender *appender, uint32_t number)
{
    struct bough__nodes *nodes = appender->nodes;
    uint32_t known_next = 0, next = CELL_LIMIT;
    int fd = -1;
    int rc = BOUGH_OK;
    char *path = bough__format("%s/%u.nodes", nodes->directory, number);
    if (!path)
        return BOUGH_NOMEM;
    rc = know_file(&known_next, nodes, number);
    if (rc == BOUGH_OK && known_next >= CELL_LIMIT)
        rc = BOUGH_BUSY;
    if (rc == BOUGH_OK)
        rc = bough__os_open(&fd, path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, nodes->mode);
    if (rc == BOUGH_OK)
        rc = bough__os_lock(fd, 0, BOUGH__EXCLUSIVE, path);
    if (rc == BOUGH_OK)
        rc = prepare_file(&next, nodes, fd, number, path);
    if (rc != BOUGH_OK)
        goto done;
    pthread_mutex_lock(&nodes->mutex);
    struct node_file *file = known_file(nodes, number); /* another appender may have moved it until the lock was ours */
    if (file && file->next_index > next)
        next = file->next_index;
    if (next >= CELL_LIMIT) {
        note_next_index(nodes, number, CELL_LIMIT);
        rc = BOUGH_BUSY;
    } else {
        appender->file = number;
        appender->first_index = next;
        appender->fd = fd;
        appender->path = path;
        fd = -1;
        path = NULL;
    }
    pthread_mutex_unlock(&nodes->mutex);
done:
    bough__os_close(&fd);
    free(path);
    return rc;
}

static int take_file(struct bough__appender *appender)
{
    pthread_mutex_lock(&appender->nodes->mutex);
    uint32_t number = appender->nodes->first_number;
    pthread_mutex_unlock(&appender->nodes->mutex);
    int rc = try_file(appender, number);
    while (rc == BOUGH_BUSY && number < UINT32_MAX)
        rc = try_file(appender, ++number);
    return rc;
}

/* ---- appending ------------------------------------------------------------------------------------------------- */

static int write_buffer(struct bough__appender *appender)
{
    if (appender->buffered == 0)
        return BOUGH_OK;
    int rc = bough__os_write(appender->fd, appender->buffer, (size_t)appender->buffered * BOUGH__NODE_SIZE,
                             (uint64_t)appender->first_index * BOUGH__NODE_SIZE, appender->path);
    if (rc != BOUGH_OK) {
        appender->is_dead = true;
        return rc;
    }
    pthread_mutex_lock(&appender->nodes->mutex);
    appender->first_index += appender->buffered;
    appender->buffered = 0;
    pthread_mutex_unlock(&appender->nodes->mutex);
    appender->is_unsynced = true;
    return BOUGH_OK;
}

static int dead_appender(const struct bough__appender *appender)
{
    return bough__fail(BOUGH_IO, "%s could not be written", appender->path ? appender->path : "a node file");
}

int bough__appender_write(struct bough__appender *appender)
{
    return appender->is_dead ? dead_appender(appender) : write_buffer(appender);
}

int bough__appender_sync(struct bough__appender *appender)
{
    int rc = bough__appender_write(appender);
    if (rc != BOUGH_OK || !appender->is_unsynced)
        return rc;
    rc = bough__os_sync(appender->fd, appender->path);
    if (rc != BOUGH_OK) {
        appender->is_dead = true;
        pthread_mutex_lock(&appender->nodes->mutex);
        note_next_index(appender->nodes, appender->file, CELL_LIMIT);
        pthread_mutex_unlock(&appender->nodes->mutex);
        return rc;
    }
    appender->is_unsynced = false;
    return BOUGH_OK;
}

/* The file is full: all of it becomes durable, and another takes its place. Its lock stays: nothing refers to its nodes
 * yet. */
static int change_file(struct bough__appender *appender)
{
    int rc = bough__appender_sync(appender);
    if (rc != BOUGH_OK)
        return rc;
    int *full = bough__realloc(appender->full, (appender->full_count + 1) * sizeof *full);
    if (!full)
        return bough__fail_memory();
    appender->full = full;
    full[appender->full_count++] = appender->fd;
    appender->fd = -1;
    free(appender->path);
    appender->path = NULL;
    rc = take_file(appender);
    appender->is_dead = rc != BOUGH_OK;
    return rc;
}

/* Room for one more node. */
static int make_room(struct bough__appender *appender)
{
    if (appender->buffered < appender->capacity)
        return BOUGH_OK;
    if (appender->buffered == BUFFER_CELLS)
        return write_buffer(appender);
    uint32_t capacity = appender->capacity ? 2 * appender->capacity : FIRST_CAPACITY;
    int rc = BOUGH_OK;
    pthread_mutex_lock(&appender->nodes->mutex);
    uint8_t *buffer = bough__realloc(appender->buffer, (size_t)capacity * BOUGH__NODE_SIZE);
    if (buffer) {
        appender->buffer = buffer;
        appender->capacity = capacity;
    } else {
        rc = BOUGH_NOMEM;
    }
    pthread_mutex_unlock(&appender->nodes->mutex);
    return rc;
}

int bough__appender_add(struct bough__node_ref *out, struct bough__appender *appender, const struct bough__node *node)
{
    int rc = BOUGH_OK;
    if (appender->is_dead)
        return dead_appender(appender);
    if (appender->first_index + appender->buffered >= CELL_LIMIT)
        rc = change_file(appender);
    if (rc == BOUGH_OK)
        rc = make_room(appender);
    if (rc != BOUGH_OK)
        return rc;
    struct bough__node_ref ref = {appender->file, appender->first_index + appender->buffered};
    uint8_t *cell = appender->buffer + (size_t)appender->buffered * BOUGH__NODE_SIZE;
    encode_node(cell, appender->nodes, node, ref);
    if (node->level < 1 || node->level > LEVEL_LIMIT ||
        !children_are_sound(cell + HEADER_SIZE, node->level, bough__get32(cell + 24)))
        return bough__fail(BOUGH_USAGE, "a node of level %u with an impossible child was not stored", node->level);
    pthread_mutex_lock(&appender->nodes->mutex);
    appender->buffered++;
    note_next_index(appender->nodes, ref.file, ref.index + 1);
    pthread_mutex_unlock(&appender->nodes->mutex);
    appender->count++;
    *out = ref;
    return BOUGH_OK;
}

uint64_t bough__appender_count(const struct bough__appender *appender)
{
    return appender->count;
}

int bough__appender_begin(struct bough__appender **out, struct bough__nodes *nodes)
{
    *out = NULL;
    struct bough__appender *appender = bough__alloc(sizeof *appender);
    if (!appender)
        return BOUGH_NOMEM;
    appender->nodes = nodes;
    appender->fd = -1;
    int rc = take_file(appender);
    if (rc != BOUGH_OK) {
        free(appender);
        return rc;
    }
    pthread_mutex_lock(&nodes->mutex);
    appender->next = nodes->appenders;
    nodes->appenders = appender;
    pthread_mutex_unlock(&nodes->mutex);
    atomic_fetch_add_explicit(&nodes->appender_count, 1, memory_order_release);
    *out = appender;
    return BOUGH_OK;
}

void bough__appender_end(struct bough__appender *appender)
{
    if (!appender)
        return;
    struct bough__nodes *nodes = appender->nodes;
    pthread_mutex_lock(&nodes->mutex);
    struct bough__appender **link = &nodes->appenders;
    while (*link != appender)
        link = &(*link)->next;
    *link = appender->next;
    pthread_mutex_unlock(&nodes->mutex);
    atomic_fetch_sub_explicit(&nodes->appender_count, 1, memory_order_release);
    bough__os_close(&appender->fd);
    for (size_t i = 0; i < appender->full_count; i++)
        bough__os_close(&appender->full[i]);
    free(appender->full);
    free(appender->path);
    free(appender->buffer);
    free(appender);
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

int bough__nodes_open(struct bough__nodes **out, struct bough__files *files, const char *directory, uint64_t store_key,
                      mode_t mode)
{
    *out = NULL;
    struct bough__nodes *nodes = bough__alloc(sizeof *nodes);
    if (!nodes)
        return BOUGH_NOMEM;
    nodes->files = files;
    nodes->store_key = store_key;
    nodes->mode = mode;
    nodes->first_number = 1;
    nodes->directory = bough__format("%s/nodes", directory);
    if (!nodes->directory) {
        free(nodes);
        return BOUGH_NOMEM;
    }
    bough__node_cache_init(&nodes->bodies, BODY_SETS, BODY_WORDS);
    bough__node_cache_init(&nodes->places, PLACES_SETS, PLACES_WORDS);
    bough__node_cache_init(&nodes->refs, REFS_SETS, REFS_WORDS);
    pthread_mutex_init(&nodes->mutex, NULL);
    *out = nodes;
    return BOUGH_OK;
}

void bough__nodes_close(struct bough__nodes *nodes)
{
    if (!nodes)
        return;
    bough__node_cache_release(&nodes->bodies);
    bough__node_cache_release(&nodes->places);
    bough__node_cache_release(&nodes->refs);
    pthread_mutex_destroy(&nodes->mutex);
    free(nodes->known);
    free(nodes->directory);
    free(nodes);
}
