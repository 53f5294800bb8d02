/* log.h - the log of a layer: one record for each transaction.
 *
 * A record, little-endian:
 *      0   4  'B' 'L' 'R' '1'
 *      4   4  type: 1 transaction, 2 link, 3 prepared transaction
 *      8   4  length in bytes, with this header; a multiple of 8
 *     12   4  number of entries
 *     16   8  number of the transaction: the one before plus 1 (a link: of the transaction before)
 *     24   8  newest transaction known durable when this was written
 *     32   8  size of the database in bytes (a link: offset of the next chunk)
 *     40   8  keep: the fewest blocks that the database had on the way; all ones when nothing was cut off
 *              (a link: length of the next chunk)
 *     48   8  nonce: no two records that were ever written are equal
 *     56   8  XXH3 of all other bytes of the record, seeded with the sum of the record before
 *     64  24  an entry each: block 8, frame 8 (all ones: a page of zeros), page sum 8
 *
 * A prepared transaction is part of one that writes to several layers. It counts only if the decision says so: its
 * first entry is no page but tells where that stands, slot 8 and id 16 (decision.h). Once there is a record after it,
 * it counts: a writer goes on behind it only when it was decided.
 *
 * The first record's seed is in the layer's header, fresh and random for each generation of the log, so what an older
 * generation left in the space never chains. The log lies in chunks; every chunk keeps room for a link at its end.
 * A record that fails any check is the end of the log: it was never finished, or its writer took it back.
 */
#ifndef BOUGH_ENGINE_LOG_H
#define BOUGH_ENGINE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOUGH__LOG_HEADER_SIZE 64
#define BOUGH__LOG_ENTRY_SIZE 24
/* 44 million pages. Only prepared transactions come near it, others are committed by a checkpoint long before. */
#define BOUGH__LOG_RECORD_MAX (1u << 30)
#define BOUGH__NO_FRAME UINT64_MAX
#define BOUGH__KEEP_ALL UINT64_MAX

struct bough__log_entry {
    uint64_t block, frame, sum;
};

/* Where the decision over a prepared transaction stands, if there is one. */
struct bough__decision {
    uint64_t slot;
    uint8_t id[16];
};

struct bough__log_record {
    uint64_t txn, durable_txn, size_bytes, keep_blocks;
    bool is_prepared;
    struct bough__decision decision;
    struct bough__log_entry *entries;
    uint32_t entry_count;
};

/* Where the next record goes or comes from. */
struct bough__log_position {
    uint64_t offset;    /* in the layer's file */
    uint64_t chunk_offset, chunk_end; /* of the chunk: first byte, and first byte after */
    uint64_t seed;      /* sum of the record before */
};

struct bough__log_buffer {
    uint8_t *bytes;
    size_t capacity;
    /* bytes holds the file's from read_offset on: records are read many at a time. */
    uint64_t read_offset;
    size_t read_len, next_len;
    struct bough__log_entry *entries;
    size_t entry_capacity;
};
void bough__log_buffer_release(struct bough__log_buffer *buffer);

/* Bytes of a record with so many entries, a decision's place among them. */
uint64_t bough__log_record_size(uint64_t entry_count);
/* True when a record of that size fits the chunk and leaves room for a link. */
bool bough__log_fits(const struct bough__log_position *position, uint64_t record_size);

/* Writes the record at the position and moves it on. */
int bough__log_append(int fd, const char *path, struct bough__log_position *position,
                      struct bough__log_buffer *buffer, const struct bough__log_record *record);
/* Writes a link to a new chunk and moves the position there. */
int bough__log_link(int fd, const char *path, struct bough__log_position *position, struct bough__log_buffer *buffer,
                    uint64_t txn, uint64_t chunk_offset, uint64_t chunk_size);
/* Overwrites the header of the record at offset, so that it never counts. */
int bough__log_void(int fd, const char *path, uint64_t offset);

/* Begins a run of bough__log_next: what an earlier run read ahead, when it may not have been published, is
 * forgotten. */
void bough__log_rewind(struct bough__log_buffer *buffer);
/* Reads the record at the position, following links. *out_found false: the log ends here. The record's entries live in
 * the buffer until the next call. *out_chunk_end rises to the end of the furthest chunk seen. */
int bough__log_next(bool *out_found, struct bough__log_record *out, int fd, const char *path,
                    struct bough__log_position *position, struct bough__log_buffer *buffer, uint64_t expected_txn,
                    uint64_t *out_chunk_end);

#endif
