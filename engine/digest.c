/* digest.c - SHA-256 through OpenSSL, XXH3 through xxhash, and hex. */
#include "digest.h"

#include "codec.h"
#include "error.h"

/* The low-level functions: a fork as a command spends as long in OpenSSL's providers and configuration file, which EVP
 * loads at the first digest, as in all of the rest. They take the same code for the same processor. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#ifdef BOUGH_XXH_DISPATCH
#include <xxh_x86dispatch.h> /* chooses AVX2 or AVX-512 where the machine has it; the values are the same */
#else
#include <xxhash.h>
#endif
#include <string.h>

int bough__sha256_pieces(uint8_t out[BOUGH__DIGEST_SIZE], const struct bough__piece *pieces, size_t count)
{
    SHA256_CTX context;
    bool is_ok = SHA256_Init(&context) == 1;
    for (size_t i = 0; is_ok && i < count; i++)
        is_ok = SHA256_Update(&context, pieces[i].data, pieces[i].len_bytes) == 1;
    is_ok = is_ok && SHA256_Final(out, &context) == 1;
    return is_ok ? BOUGH_OK : bough__fail(BOUGH_NOMEM, "OpenSSL could not compute SHA-256");
}

int bough__sha256(uint8_t out[BOUGH__DIGEST_SIZE], const void *data, size_t len_bytes)
{
    struct bough__piece piece = {data, len_bytes};
    return bough__sha256_pieces(out, &piece, 1);
}

uint64_t bough__xxh(const void *data, size_t len_bytes, uint64_t seed)
{
    return seed ? XXH3_64bits_withSeed(data, len_bytes, seed) : XXH3_64bits(data, len_bytes);
}

uint64_t bough__page_sum(uint64_t content, uint64_t store_key, uint32_t layer, uint64_t frame, uint64_t block)
{
    uint8_t place[36];
    bough__put64(place, content);
    bough__put64(place + 8, store_key);
    bough__put64(place + 16, frame);
    bough__put64(place + 24, block);
    bough__put32(place + 32, layer);
    return XXH3_64bits(place, sizeof place);
}

bool bough__is_zero(const void *data, size_t len_bytes)
{
    static const uint8_t zeros[16];
    const uint8_t *bytes = data;
    if (len_bytes <= sizeof zeros)
        return memcmp(bytes, zeros, len_bytes) == 0;
    /* The start is zero and everything equals what stands 16 bytes before it. Most pages fail the first test; the
     * second runs at memcmp's speed. */
    return memcmp(bytes, zeros, sizeof zeros) == 0 &&
           memcmp(bytes, bytes + sizeof zeros, len_bytes - sizeof zeros) == 0;
}

void bough__hex(char *out, const uint8_t *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * count] = 0;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool bough__unhex(uint8_t *out, const char *text, size_t count)
{
    for (size_t i = 0; i < 2 * count; i++) {
        int value = digit_value(text[i]); /* -1 at the terminating zero, so nothing beyond it is read */
        if (value < 0)
            return false;
        out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] << 4 | value : value);
    }
    return text[2 * count] == 0;
}
