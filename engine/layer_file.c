/* layer_file.c - reading and writing the fixed parts of a layer's file; the format is in layer_file.h. */
#include "layer_file.h"

#include "codec.h"
#include "error.h"
#include "log.h"
#include "os.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECTOR BOUGH__LAYER_HEADER_SIZE
#define SUM_OFFSET 504

static const char identity_magic[16] = "bough layer 1\n";

bool bough__block_size_is_valid(uint64_t block_size)
{
    return block_size >= 512 && block_size <= 65536 && (block_size & (block_size - 1)) == 0;
}

static const struct place {
    uint64_t offset;
    const char *name;
} places[BOUGH__SLOT_PLACES] = {{1024, "A1"}, {4096, "A2"}, {8192, "B1"}, {12288, "B2"}};

static enum bough__slot_place first_place(uint64_t generation)
{
    return generation & 1 ? BOUGH__SLOT_A1 : BOUGH__SLOT_B1;
}

enum bough__slot_place bough__layer_slot_place(const struct bough__layer_slot *slot)
{
    return first_place(slot->generation) + (slot->sequence & 1 ? 0 : 1);
}

uint64_t bough__layer_place_offset(enum bough__slot_place place)
{
    return places[place].offset;
}

const char *bough__layer_place_name(enum bough__slot_place place)
{
    return places[place].name;
}

static uint64_t slot_seed(const struct bough__space *space, uint32_t number)
{
    return space->store_key ^ ((uint64_t)number << 32 | 0x736c6f74u);
}

static char *file_path(const struct bough__space *space, uint32_t number)
{
    char name[BOUGH__FILE_NAME_SIZE];
    bough__file_name(name, BOUGH__LAYER_FILE, number);
    return bough__format("%s/%s", space->directory, name);
}

/* ---- which layers were made ---- */

static uint64_t made_mark(const struct bough__space *space, uint32_t number)
{
    uint8_t bytes[4];
    bough__put32(bytes, number);
    return bough__xxh(bytes, sizeof bytes, space->store_key);
}

static int access_made(uint8_t mark[8], const struct bough__space *space, uint32_t number, bool is_write)
{
    int fd = -1;
    size_t got = 0;
    char *path = bough__format("%s/layers.made", space->directory);
    if (path == NULL)
        return bough__fail_memory();
    int rc = bough__os_open(&fd, path, (is_write ? O_RDWR | O_CREAT : O_RDONLY) | O_NOFOLLOW, space->mode);
    if (rc == BOUGH_OK && is_write)
        rc = bough__os_write(fd, mark, 8, 8 * (uint64_t)number, path);
    else if (rc == BOUGH_OK)
        rc = bough__os_read_some(&got, fd, mark, 8, 8 * (uint64_t)number, path);
    bough__os_close(&fd);
    free(path);
    return rc;
}

/* Nothing but a proof is lost where this fails. */
static void note_made(const struct bough__space *space, uint32_t number)
{
    uint8_t mark[8];
    struct bough__error_state error;
    bough__error_save(&error);
    bough__put64(mark, made_mark(space, number));
    (void)access_made(mark, space, number, true);
    bough__error_restore(&error);
}

int bough__layer_file_was_made(bool *out, const struct bough__space *space, uint32_t number)
{
    uint8_t mark[8] = {0};
    int rc = access_made(mark, space, number, false);
    *out = rc == BOUGH_OK && bough__get64(mark) == made_mark(space, number);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

int bough__layer_file_keep_name(const struct bough__space *space, uint32_t number)
{
    bool was_made = false;
    if (bough__layer_file_was_made(&was_made, space, number) == BOUGH_OK && was_made)
        return BOUGH_OK;
    char *directory = bough__format("%s/layers", space->directory);
    if (directory == NULL)
        return bough__fail_memory();
    int rc = bough__os_sync_directory(directory);
    if (rc == BOUGH_OK)
        note_made(space, number);
    free(directory);
    return rc;
}

/* ---- encoding ---- */

static void encode_identity(uint8_t out[SECTOR], const struct bough__space *space,
                            const struct bough__layer_identity *identity)
{
    size_t len = strlen(identity->branch);
    memset(out, 0, SECTOR);
    memcpy(out, identity_magic, sizeof identity_magic);
    bough__put32(out + 16, BOUGH__LAYER_VERSION);
    bough__put32(out + 24, identity->number);
    bough__put32(out + 28, identity->block_size);
    memcpy(out + 32, space->uuid, 16);
    memcpy(out + 48, identity->begun_on, BOUGH__DIGEST_SIZE);
    bough__put16(out + 80, (uint16_t)len);
    memcpy(out + 82, identity->branch, len);
    bough__put64(out + SUM_OFFSET, bough__xxh(out, SUM_OFFSET, 0));
}

static int decode_identity(struct bough__layer_identity *out, const uint8_t in[SECTOR],
                           const struct bough__space *space, uint32_t number, const char *path)
{
    size_t len = bough__get16(in + 80);
    if (memcmp(in, identity_magic, sizeof identity_magic) != 0)
        return bough__fail(BOUGH_CORRUPT, "%s: no layer file", path);
    if (bough__get64(in + SUM_OFFSET) != bough__xxh(in, SUM_OFFSET, 0))
        return bough__fail(BOUGH_CORRUPT, "%s: identity is damaged", path);
    if (bough__get32(in + 16) != BOUGH__LAYER_VERSION || bough__get32(in + 20) != 0)
        return bough__fail(BOUGH_CORRUPT, "%s: format version %u is newer than this program", path,
                           bough__get32(in + 16));
    out->number = bough__get32(in + 24);
    out->block_size = bough__get32(in + 28);
    if (out->number != number || memcmp(in + 32, space->uuid, 16) != 0)
        return bough__fail(BOUGH_CORRUPT, "%s: belongs elsewhere (layer %u of another place)", path, out->number);
    if (!bough__block_size_is_valid(out->block_size) || len > 200)
        return bough__fail(BOUGH_CORRUPT, "%s: impossible identity", path);
    memcpy(out->begun_on, in + 48, BOUGH__DIGEST_SIZE);
    memcpy(out->branch, in + 82, len);
    out->branch[len] = '\0';
    return BOUGH_OK;
}

static void encode_slot(uint8_t out[SECTOR], const struct bough__layer_slot *slot, uint64_t seed)
{
    const uint64_t numbers[10] = {slot->sequence,  slot->generation, slot->txn,      slot->durable_txn, slot->hold_txn,
                                  slot->log_seed,  slot->log_offset, slot->log_size, slot->frame_count,
                                  slot->node_count};
    memset(out, 0, SECTOR);
    for (size_t i = 0; i < 10; i++)
        bough__put64(out + 8 * i, numbers[i]);
    bough__tree_encode(out + 80, &slot->tree);
    bough__put64(out + 136, slot->free_offset);
    bough__put64(out + 144, slot->free_count);
    bough__put64(out + 152, slot->free_sum);
    for (size_t i = 0; i < 2; i++) {
        bough__put64(out + 160 + 16 * i, slot->list_areas[i].offset);
        bough__put64(out + 168 + 16 * i, slot->list_areas[i].frame_count);
    }
    bough__put64(out + SUM_OFFSET, bough__xxh(out, SUM_OFFSET, seed));
}

/* False: not a slot. */
static bool decode_slot(struct bough__layer_slot *out, const uint8_t in[SECTOR], uint64_t seed)
{
    uint64_t *const numbers[10] = {&out->sequence, &out->generation, &out->txn,      &out->durable_txn, &out->hold_txn,
                                   &out->log_seed, &out->log_offset, &out->log_size, &out->frame_count,
                                   &out->node_count};
    if (bough__get64(in + SUM_OFFSET) != bough__xxh(in, SUM_OFFSET, seed))
        return false;
    for (size_t i = 0; i < 10; i++)
        *numbers[i] = bough__get64(in + 8 * i);
    out->free_offset = bough__get64(in + 136);
    out->free_count = bough__get64(in + 144);
    out->free_sum = bough__get64(in + 152);
    for (size_t i = 0; i < 2; i++) {
        out->list_areas[i].offset = bough__get64(in + 160 + 16 * i);
        out->list_areas[i].frame_count = bough__get64(in + 168 + 16 * i);
    }
    return bough__tree_decode(&out->tree, in + 80) == BOUGH_OK && out->generation != 0;
}

bool bough__log_chunk_is_possible(uint64_t offset, uint64_t size, uint32_t block_size)
{
    if (offset == BOUGH__LAYER_FIRST_CHUNK_OFFSET)
        return size == BOUGH__LAYER_FIRST_CHUNK_SIZE;
    return offset >= BOUGH__LAYER_FRAMES_OFFSET && (offset - BOUGH__LAYER_FRAMES_OFFSET) % block_size == 0 &&
           (offset - BOUGH__LAYER_FRAMES_OFFSET) / block_size < BOUGH__NUMBER_LIMIT && size >= BOUGH__LOG_HEADER_SIZE &&
           size <= BOUGH__LOG_CHUNK_MAX;
}

/* Whole frames that were handed out. */
static bool is_in_frames(const struct bough__layer_slot *slot, uint64_t offset, uint64_t len, uint32_t block_size)
{
    return offset >= BOUGH__LAYER_FRAMES_OFFSET && (offset - BOUGH__LAYER_FRAMES_OFFSET) % block_size == 0 &&
           offset <= bough__frame_offset(slot->frame_count, block_size) &&
           len <= bough__frame_offset(slot->frame_count, block_size) - offset;
}

int bough__layer_slot_check(const struct bough__layer_slot *slot, uint32_t block_size, const char *path)
{
    const uint64_t numbers[] = {slot->sequence,    slot->generation,  slot->txn,       slot->durable_txn,
                                slot->hold_txn,    slot->frame_count, slot->node_count};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i] >= BOUGH__NUMBER_LIMIT)
            return bough__fail(BOUGH_CORRUPT, "%s: the header has an impossible number", path);
    if (!bough__log_chunk_is_possible(slot->log_offset, slot->log_size, block_size) ||
        (slot->log_offset != BOUGH__LAYER_FIRST_CHUNK_OFFSET &&
         !is_in_frames(slot, slot->log_offset, slot->log_size, block_size)))
        return bough__fail(BOUGH_CORRUPT, "%s: the header's log is in an impossible place", path);
    if (slot->free_count != 0 &&
        (slot->free_count > BOUGH__EXTENTS_MAX ||
         !is_in_frames(slot, slot->free_offset, slot->free_count * 16, block_size)))
        return bough__fail(BOUGH_CORRUPT, "%s: the header's free extents are in an impossible place", path);
    for (const struct bough__list_area *area = slot->list_areas; area < slot->list_areas + 2; area++)
        if (area->frame_count != 0 &&
            (area->frame_count > slot->frame_count ||
             !is_in_frames(slot, area->offset, area->frame_count * block_size, block_size)))
            return bough__fail(BOUGH_CORRUPT, "%s: the header's room for free extents is in an impossible place", path);
    if (slot->tree.block_size != 0 && slot->tree.block_size != block_size)
        return bough__fail(BOUGH_CORRUPT, "%s: the header's tree has another block size", path);
    return BOUGH_OK;
}

/* ---- files ---- */

/* A draft that a crash left is taken over, unless gc, which locks it first, removes it before we have the lock. */
static int open_draft(int *out_fd, const char *path, mode_t mode)
{
    for (;;) {
        struct stat st = {0};
        int rc = bough__os_open(out_fd, path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, mode);
        if (rc == BOUGH_OK)
            rc = bough__os_lock_wait(*out_fd, BOUGH__LAYER_READER_BYTE, BOUGH__SHARED, 10000, path);
        if (rc == BOUGH_OK && bough__os.fstat(*out_fd, &st) != 0)
            rc = bough__fail_errno("look at", path);
        if (rc != BOUGH_OK || st.st_nlink > 0)
            return rc;
        bough__os_close(out_fd);
    }
}

/* All before the places of the second generation, which stay a hole. */
static int write_new(int *out_fd, const char *path, const struct bough__space *space,
                     const struct bough__layer_identity *identity, struct bough__layer_slot *slot, bool is_scratch)
{
    size_t len = places[BOUGH__SLOT_B1].offset;
    uint8_t *bytes = bough__alloc(len);
    if (bytes == NULL)
        return bough__fail_memory();
    encode_identity(bytes, space, identity);
    for (slot->sequence = 1; slot->sequence <= 2; slot->sequence++)
        encode_slot(bytes + places[bough__layer_slot_place(slot)].offset, slot, slot_seed(space, identity->number));
    slot->sequence = 2;
    slot->is_doubled = true;
    int rc = open_draft(out_fd, path, space->mode);
    if (rc == BOUGH_OK)
        rc = bough__os_write(*out_fd, bytes, len, 0, path);
    if (rc == BOUGH_OK && bough__os.ftruncate(*out_fd, BOUGH__LAYER_FRAMES_OFFSET) != 0)
        rc = bough__fail_errno("extend", path);
    if (rc == BOUGH_OK && !is_scratch)
        rc = bough__os_sync(*out_fd, path);
    free(bytes);
    return rc;
}

int bough__layer_file_create(int *out_fd, const struct bough__space *space,
                             const struct bough__layer_identity *identity, struct bough__layer_slot *slot,
                             bool is_scratch)
{
    int rc = BOUGH_OK;
    char *path = file_path(space, identity->number);
    char *draft = bough__format("%s/layers/%u.new", space->directory, identity->number);
    char *directory = bough__format("%s/layers", space->directory);
    *out_fd = -1;
    if (path == NULL || draft == NULL || directory == NULL) {
        rc = bough__fail_memory();
        goto done;
    }
    rc = write_new(out_fd, draft, space, identity, slot, is_scratch);
    if (rc == BOUGH_OK && bough__os.rename(draft, path) != 0)
        rc = bough__fail_errno("rename", draft);
    if (rc != BOUGH_OK) {
        bough__os.unlink(draft);
        goto done;
    }
    if (is_scratch)
        goto done;
    rc = bough__os_sync_directory(directory);
    if (rc != BOUGH_OK)
        bough__os.unlink(path);
    else
        note_made(space, identity->number);
done:
    if (rc != BOUGH_OK)
        bough__os_close(out_fd);
    free(path);
    free(draft);
    free(directory);
    return rc;
}

void bough__layer_file_settle(int fd)
{
    (void)bough__os_lock(fd, BOUGH__LAYER_READER_BYTE, BOUGH__UNLOCK, "a layer");
}

int bough__layer_file_open(int *out_fd, struct bough__layer_identity *out_identity, const struct bough__space *space,
                           uint32_t number, bool read_only)
{
    uint8_t bytes[SECTOR];
    char *path = file_path(space, number);
    *out_fd = -1;
    if (path == NULL)
        return bough__fail_memory();
    int rc = bough__os_open(out_fd, path, (read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW, 0);
    if (rc == BOUGH_OK)
        rc = bough__os_read(*out_fd, bytes, sizeof bytes, 0, path);
    if (rc == BOUGH_OK)
        rc = decode_identity(out_identity, bytes, space, number, path);
    if (rc != BOUGH_OK)
        bough__os_close(out_fd);
    free(path);
    return rc;
}

int bough__layer_file_read_place(enum bough__slot_state *out_state, struct bough__layer_slot *out, int fd,
                                 const struct bough__space *space, uint32_t number, enum bough__slot_place place)
{
    uint8_t bytes[SECTOR] = {0};
    size_t got = 0;
    int rc = bough__os_read_some(&got, fd, bytes, sizeof bytes, places[place].offset, space->directory);
    *out_state = BOUGH__SLOT_DAMAGED;
    if (rc == BOUGH_OK && bough__is_zero(bytes, sizeof bytes))
        *out_state = BOUGH__SLOT_EMPTY;
    else if (rc == BOUGH_OK && got == sizeof bytes && decode_slot(out, bytes, slot_seed(space, number)))
        *out_state = BOUGH__SLOT_VALID;
    return rc;
}

bool bough__layer_file_is_doubled(int fd, const struct bough__space *space, uint32_t number, uint64_t generation,
                                  uint64_t durable_txn)
{
    enum bough__slot_place first = first_place(generation);
    for (enum bough__slot_place place = first; place <= first + 1; place++) {
        enum bough__slot_state state = BOUGH__SLOT_EMPTY;
        struct bough__layer_slot slot = {0};
        if (bough__layer_file_read_place(&state, &slot, fd, space, number, place) != BOUGH_OK ||
            state != BOUGH__SLOT_VALID || slot.generation != generation || slot.durable_txn != durable_txn)
            return false;
    }
    return true;
}

/* A slot that stands in another's place was not written by a program. */
int bough__layer_file_read_slot(bool *out_found, struct bough__layer_slot *out, int fd,
                                const struct bough__space *space, uint32_t number, uint64_t generation)
{
    uint64_t generations[BOUGH__SLOT_PLACES] = {0};
    *out_found = false;
    for (enum bough__slot_place place = 0; place < BOUGH__SLOT_PLACES; place++) {
        enum bough__slot_state state = BOUGH__SLOT_EMPTY;
        struct bough__layer_slot slot = {0};
        int rc = bough__layer_file_read_place(&state, &slot, fd, space, number, place);
        if (rc != BOUGH_OK)
            return rc;
        if (state != BOUGH__SLOT_VALID || bough__layer_slot_place(&slot) != place)
            continue;
        generations[place] = slot.generation;
        if ((generation != 0 && slot.generation != generation) || (*out_found && slot.sequence < out->sequence))
            continue;
        *out = slot;
        *out_found = true;
    }
    enum bough__slot_place first = first_place(out->generation);
    out->is_doubled = *out_found && generations[first] == generations[first + 1];
    return BOUGH_OK;
}

int bough__layer_file_write_slot(int fd, const struct bough__space *space, uint32_t number,
                                 const struct bough__layer_slot *slot)
{
    uint8_t bytes[SECTOR];
    encode_slot(bytes, slot, slot_seed(space, number));
    return bough__os_write(fd, bytes, sizeof bytes, places[bough__layer_slot_place(slot)].offset, space->directory);
}

int bough__layer_file_write_pair(int fd, const struct bough__space *space, uint32_t number,
                                 struct bough__layer_slot *slot)
{
    int rc = BOUGH_OK;
    for (int i = 0; rc == BOUGH_OK && i < 2; i++) {
        slot->sequence++;
        rc = bough__layer_file_write_slot(fd, space, number, slot);
    }
    return rc;
}

int bough__layer_file_void_slot(int fd, const struct bough__space *space, const struct bough__layer_slot *slot)
{
    static const uint8_t zeros[SECTOR];
    return bough__os_write(fd, zeros, sizeof zeros, places[bough__layer_slot_place(slot)].offset, space->directory);
}
