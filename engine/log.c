/* log.c - encoding, writing and reading the records of a layer's log; the format is in log.h. */
#include "log.h"

#include "codec.h"
#include "digest.h"
#include "error.h"
#include "os.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_MAGIC 0x31524c42u /* "BLR1" */
#define TYPE_TXN 1
#define TYPE_LINK 2
#define TYPE_PREPARED 3
#define ID_SIZE sizeof((struct bough__decision *)0)->id
#define SUM_OFFSET 56
#define READ_MIN ((size_t)4 << 10)
#define READ_MAX ((size_t)64 << 10)

void bough__log_buffer_release(struct bough__log_buffer *buffer)
{
    free(buffer->bytes);
    free(buffer->entries);
    *buffer = (struct bough__log_buffer){0};
}

static int reserve_bytes(struct bough__log_buffer *buffer, size_t len)
{
    if (len <= buffer->capacity)
        return BOUGH_OK;
    uint8_t *bytes = bough__realloc(buffer->bytes, len);
    if (bytes == NULL)
        return bough__fail_memory();
    buffer->bytes = bytes;
    buffer->capacity = len;
    return BOUGH_OK;
}

static int reserve_entries(struct bough__log_buffer *buffer, size_t count)
{
    if (count <= buffer->entry_capacity)
        return BOUGH_OK;
    struct bough__log_entry *entries = bough__realloc(buffer->entries, count * sizeof *entries);
    if (entries == NULL)
        return bough__fail_memory();
    buffer->entries = entries;
    buffer->entry_capacity = count;
    return BOUGH_OK;
}

uint64_t bough__log_record_size(uint64_t entry_count)
{
    return BOUGH__LOG_HEADER_SIZE + entry_count * BOUGH__LOG_ENTRY_SIZE;
}

bool bough__log_fits(const struct bough__log_position *position, uint64_t record_size)
{
    return record_size + BOUGH__LOG_HEADER_SIZE <= position->chunk_end - position->offset;
}

/* The sum stands inside what it covers, so its own bytes count as zero. */
static uint64_t record_sum(uint8_t *bytes, size_t len, uint64_t seed)
{
    uint8_t kept[8];
    memcpy(kept, bytes + SUM_OFFSET, sizeof kept);
    memset(bytes + SUM_OFFSET, 0, sizeof kept);
    uint64_t sum = bough__xxh(bytes, len, seed);
    memcpy(bytes + SUM_OFFSET, kept, sizeof kept);
    return sum;
}

/* Different for every record of the process, from a random start, without a system call each. */
static int fresh_nonce(uint64_t *out)
{
    static _Atomic uint64_t next;
    if (atomic_load(&next) == 0) {
        uint64_t start = 0, unset = 0;
        int rc = bough__os_random(&start, sizeof start);
        if (rc != BOUGH_OK)
            return rc;
        atomic_compare_exchange_strong(&next, &unset, start | 1);
    }
    *out = atomic_fetch_add(&next, 2);
    return BOUGH_OK;
}

static int seal_and_write(int fd, const char *path, struct bough__log_position *position, uint8_t *bytes, size_t len)
{
    uint64_t nonce = 0;
    int rc = fresh_nonce(&nonce);
    if (rc != BOUGH_OK)
        return rc;
    bough__put64(bytes + 48, nonce);
    uint64_t sum = record_sum(bytes, len, position->seed);
    bough__put64(bytes + SUM_OFFSET, sum);
    rc = bough__os_write(fd, bytes, len, position->offset, path);
    if (rc == BOUGH_OK) {
        position->offset += len;
        position->seed = sum;
    }
    return rc;
}

static void put_header(uint8_t *p, uint32_t type, size_t len, const struct bough__log_record *record)
{
    memset(p, 0, BOUGH__LOG_HEADER_SIZE);
    bough__put32(p, RECORD_MAGIC);
    bough__put32(p + 4, type);
    bough__put32(p + 8, (uint32_t)len);
    bough__put32(p + 12, record->entry_count + record->is_prepared);
    bough__put64(p + 16, record->txn);
    bough__put64(p + 24, record->durable_txn);
    bough__put64(p + 32, record->size_bytes);
    bough__put64(p + 40, record->keep_blocks);
}

int bough__log_append(int fd, const char *path, struct bough__log_position *position,
                      struct bough__log_buffer *buffer, const struct bough__log_record *record)
{
    uint64_t len = bough__log_record_size((uint64_t)record->entry_count + record->is_prepared);
    if (len > BOUGH__LOG_RECORD_MAX)
        return bough__fail(BOUGH_FULL, "%s: a transaction of %u pages is too large for the log", path,
                           record->entry_count);
    int rc = reserve_bytes(buffer, len);
    if (rc != BOUGH_OK)
        return rc;
    buffer->read_len = 0;
    put_header(buffer->bytes, record->is_prepared ? TYPE_PREPARED : TYPE_TXN, len, record);
    uint8_t *p = buffer->bytes + BOUGH__LOG_HEADER_SIZE;
    if (record->is_prepared) {
        bough__put64(p, record->decision.slot);
        memcpy(p + 8, record->decision.id, ID_SIZE);
        p += BOUGH__LOG_ENTRY_SIZE;
    }
    for (uint32_t i = 0; i < record->entry_count; i++, p += BOUGH__LOG_ENTRY_SIZE) {
        bough__put64(p, record->entries[i].block);
        bough__put64(p + 8, record->entries[i].frame);
        bough__put64(p + 16, record->entries[i].sum);
    }
    return seal_and_write(fd, path, position, buffer->bytes, len);
}

int bough__log_link(int fd, const char *path, struct bough__log_position *position, struct bough__log_buffer *buffer,
                    uint64_t txn, uint64_t chunk_offset, uint64_t chunk_size)
{
    struct bough__log_record link = {.txn = txn, .size_bytes = chunk_offset, .keep_blocks = chunk_size};
    int rc = reserve_bytes(buffer, BOUGH__LOG_HEADER_SIZE);
    if (rc != BOUGH_OK)
        return rc;
    buffer->read_len = 0;
    put_header(buffer->bytes, TYPE_LINK, BOUGH__LOG_HEADER_SIZE, &link);
    rc = seal_and_write(fd, path, position, buffer->bytes, BOUGH__LOG_HEADER_SIZE);
    if (rc == BOUGH_OK) {
        position->offset = position->chunk_offset = chunk_offset;
        position->chunk_end = chunk_offset + chunk_size;
    }
    return rc;
}

int bough__log_void(int fd, const char *path, uint64_t offset)
{
    static const uint8_t zeros[BOUGH__LOG_HEADER_SIZE];
    return bough__os_write(fd, zeros, sizeof zeros, offset, path);
}

void bough__log_rewind(struct bough__log_buffer *buffer)
{
    buffer->read_len = 0;
    buffer->next_len = READ_MIN;
}

/* The file's bytes at the position, len of them; *out NULL: the chunk or the file has fewer. Each read fetches twice as
 * much as the one before, up to READ_MAX: one record costs a small read, and a whole log a few large ones. */
static int read_bytes(uint8_t **out, size_t len, int fd, const char *path, const struct bough__log_position *position,
                      struct bough__log_buffer *buffer)
{
    uint64_t left = position->chunk_end - position->offset, at = position->offset - buffer->read_offset;
    *out = NULL;
    if (len > left)
        return BOUGH_OK;
    if (position->offset < buffer->read_offset || at > buffer->read_len || buffer->read_len - at < len) {
        size_t ahead = buffer->next_len > READ_MIN ? buffer->next_len : READ_MIN;
        size_t want = ahead > len ? ahead : len;
        want = want < left ? want : (size_t)left;
        buffer->read_len = at = 0;
        int rc = reserve_bytes(buffer, want);
        if (rc == BOUGH_OK)
            rc = bough__os_read_some(&buffer->read_len, fd, buffer->bytes, want, position->offset, path);
        if (rc != BOUGH_OK || buffer->read_len < len)
            return rc;
        buffer->read_offset = position->offset;
        buffer->next_len = ahead < READ_MAX ? ahead * 2 : READ_MAX;
    }
    *out = buffer->bytes + at;
    return BOUGH_OK;
}

/* Reads and checks one record of any type; *out NULL: the log ends here. */
static int read_record(uint8_t **out, size_t *out_len, int fd, const char *path,
                       const struct bough__log_position *position, struct bough__log_buffer *buffer)
{
    uint8_t *bytes = NULL;
    *out = NULL;
    int rc = read_bytes(&bytes, BOUGH__LOG_HEADER_SIZE, fd, path, position, buffer);
    if (rc != BOUGH_OK || bytes == NULL || bough__get32(bytes) != RECORD_MAGIC)
        return rc;
    size_t len = bough__get32(bytes + 8);
    if (len != bough__log_record_size(bough__get32(bytes + 12)) || len > BOUGH__LOG_RECORD_MAX)
        return BOUGH_OK;
    rc = read_bytes(&bytes, len, fd, path, position, buffer);
    if (rc != BOUGH_OK || bytes == NULL)
        return rc;
    if (record_sum(bytes, len, position->seed) == bough__get64(bytes + SUM_OFFSET)) {
        *out = bytes;
        *out_len = len;
    }
    return BOUGH_OK;
}

static int decode_entries(struct bough__log_record *out, struct bough__log_buffer *buffer, const uint8_t *record)
{
    int rc = reserve_entries(buffer, out->entry_count);
    if (rc != BOUGH_OK)
        return rc;
    const uint8_t *p = record + BOUGH__LOG_HEADER_SIZE;
    if (out->is_prepared) {
        out->decision.slot = bough__get64(p);
        memcpy(out->decision.id, p + 8, ID_SIZE);
        out->entry_count--;
        p += BOUGH__LOG_ENTRY_SIZE;
    }
    for (uint32_t i = 0; i < out->entry_count; i++, p += BOUGH__LOG_ENTRY_SIZE)
        buffer->entries[i] = (struct bough__log_entry){bough__get64(p), bough__get64(p + 8), bough__get64(p + 16)};
    out->entries = buffer->entries;
    return BOUGH_OK;
}

int bough__log_next(bool *out_found, struct bough__log_record *out, int fd, const char *path,
                    struct bough__log_position *position, struct bough__log_buffer *buffer, uint64_t expected_txn,
                    uint64_t *out_chunk_end)
{
    *out_found = false;
    /* A link leads to a record; two in a row are never written. The position moves only past a whole pair, so that a
     * writer who goes on from here overwrites a link that was left without its record. */
    struct bough__log_position at = *position;
    for (int links = 0; links < 2; links++) {
        size_t len = 0;
        uint8_t *p = NULL;
        int rc = read_record(&p, &len, fd, path, &at, buffer);
        if (rc != BOUGH_OK || p == NULL)
            return rc;
        *out = (struct bough__log_record){.txn = bough__get64(p + 16),
                                          .durable_txn = bough__get64(p + 24),
                                          .size_bytes = bough__get64(p + 32),
                                          .keep_blocks = bough__get64(p + 40),
                                          .entry_count = bough__get32(p + 12)};
        at.seed = bough__get64(p + SUM_OFFSET);
        at.offset += len;
        uint32_t type = bough__get32(p + 4);
        out->is_prepared = type == TYPE_PREPARED;
        if (type == TYPE_TXN || type == TYPE_PREPARED) {
            if (out->txn != expected_txn || out->entry_count < out->is_prepared)
                return BOUGH_OK;
            rc = decode_entries(out, buffer, p);
            if (rc != BOUGH_OK)
                return rc;
            *position = at;
            if (*out_chunk_end < at.chunk_end)
                *out_chunk_end = at.chunk_end;
            *out_found = true;
            return BOUGH_OK;
        }
        if (type != TYPE_LINK || out->keep_blocks > UINT64_MAX / 4 || out->size_bytes > UINT64_MAX / 4)
            return BOUGH_OK;
        at.offset = at.chunk_offset = out->size_bytes;
        at.chunk_end = out->size_bytes + out->keep_blocks;
    }
    return BOUGH_OK;
}
