/* digest.h - the two hashes: SHA-256 names content, XXH3 finds damage. */
#ifndef BOUGH_ENGINE_DIGEST_H
#define BOUGH_ENGINE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOUGH__DIGEST_SIZE 32

/* SHA-256 with OpenSSL (it uses the machine's SHA instructions). Nothing is set up or kept, so a page costs the hash
 * and little else. Several pieces in order: bough__sha256_pieces. */
int bough__sha256(uint8_t out[BOUGH__DIGEST_SIZE], const void *data, size_t len_bytes);
struct bough__piece {
    const void *data;
    size_t len_bytes;
};
int bough__sha256_pieces(uint8_t out[BOUGH__DIGEST_SIZE], const struct bough__piece *pieces, size_t count);

/* XXH3 64. */
uint64_t bough__xxh(const void *data, size_t len_bytes, uint64_t seed);
/* The checksum of a stored page: XXH3 of its bytes, bound to the place where it must stand. A page that is intact but
 * stands in another frame, layer or store, or belongs to another block, fails the check. content = XXH3 of the page
 * with seed 0. */
uint64_t bough__page_sum(uint64_t content, uint64_t store_key, uint32_t layer, uint64_t frame, uint64_t block);

bool bough__is_zero(const void *data, size_t len_bytes);
void bough__hex(char *out, const uint8_t *bytes, size_t count);         /* writes 2*count digits and a zero */
bool bough__unhex(uint8_t *out, const char *text, size_t count);        /* exactly 2*count digits, else false */

#endif
