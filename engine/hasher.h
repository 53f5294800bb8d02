/* hasher.h - SHA-256 of a large transaction's pages, in a thread of its own while the transaction goes on.
 *
 * A transaction that will be committed by a checkpoint needs the digest of every page that it wrote. Hashing them at
 * the commit would cost as long as writing them. The transaction hands its full buffers over instead, gets empty ones
 * for them, and finds the digests at the end. Nothing else happens in the thread: every system call on a file stays
 * with the writer. A child made by fork() has no such thread and never gets here: what it inherited is refused before.
 */
#ifndef BOUGH_ENGINE_HASHER_H
#define BOUGH_ENGINE_HASHER_H

#include "digest.h"

#include <stddef.h>
#include <stdint.h>

struct bough__hasher;

/* NULL without a thread or without memory: the commit will hash then. */
struct bough__hasher *bough__hasher_begin(size_t buffer_bytes, uint32_t page_bytes);
/* Takes *buffer (malloc'ed, of buffer_bytes), which begins with page_count pages, and puts an empty one in its place.
 * Waits while all are being hashed. */
void bough__hasher_put(struct bough__hasher *hasher, uint8_t **buffer, size_t page_count);
/* Pages put so far: the number of the next one. */
uint64_t bough__hasher_count(const struct bough__hasher *hasher);
/* Waits until all are hashed. */
void bough__hasher_finish(struct bough__hasher *hasher);
/* After finishing: the digest of the page of that number, counted from 0; NULL when there was no memory for it. */
const uint8_t *bough__hasher_digest(const struct bough__hasher *hasher, uint64_t number);
void bough__hasher_end(struct bough__hasher *hasher); /* NULL is fine */

#endif
