/* intake.h - a source read ahead and hashed, in a thread of its own.
 *
 * SHA-256 is most of the work of an import, and writing waits for the disk; one thread for each lets them overlap. The
 * source is called from one thread at a time. Where no thread can be had the work is done in the caller's.
 */
#ifndef BOUGH_ENGINE_INTAKE_H
#define BOUGH_ENGINE_INTAKE_H

#include "store.h"

/* Whole blocks one after the other; a short last block is padded with zeros in `bytes`. */
struct bough__intake_piece {
    uint64_t first_block;
    size_t block_count;
    uint8_t *bytes;
    uint8_t (*digests)[BOUGH__DIGEST_SIZE]; /* of each block's page; all zero for a page of zeros */
};

struct bough__intake;

/* source is borrowed until bough__intake_end. */
int bough__intake_begin(struct bough__intake **out, struct bough__source *source, uint32_t block_size);
/* The next piece, ascending; what lies between pieces is zero. *out is NULL after the last. It stays valid until the
 * next call. */
int bough__intake_next(const struct bough__intake_piece **out, struct bough__intake *intake);
void bough__intake_end(struct bough__intake *intake); /* NULL is fine */

#endif
