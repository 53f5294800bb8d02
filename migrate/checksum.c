/* checksum.c - see checksum.h. */
#include "checksum.h"

#include "report.h"
#include "tokens.h"

/* As the engine does, for the same reason: EVP loads providers and a configuration file first. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <string.h>

static void put_hex(char out[BOUGH__CHECKSUM_SIZE], const unsigned char *digest)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[2 * SHA256_DIGEST_LENGTH] = 0;
}

/* The bytes, with CRLF as LF. */
static bool add_token(SHA256_CTX *context, const char *token, size_t length)
{
    bool ok = true;
    size_t from = 0;

    for (size_t i = 0; ok && i + 1 < length; i++) {
        if (token[i] != '\r' || token[i + 1] != '\n')
            continue;
        ok = SHA256_Update(context, token + from, i - from) == 1;
        from = i + 1;
    }
    return ok && SHA256_Update(context, token + from, length - from) == 1;
}

/* Each token with a zero after it. */
static bool add_tokens(SHA256_CTX *context, const char *sql)
{
    bool ok = true;

    for (const char *token = bough__token_start(sql); ok && *token;) {
        size_t length = bough__token_length(token);

        ok = add_token(context, token, length) && SHA256_Update(context, "", 1) == 1;
        token = bough__token_start(token + length);
    }
    return ok;
}

static bool add_text(SHA256_CTX *context, const char *sql, bool tokens_alone)
{
    /* No down is something else than an empty one. */
    if (SHA256_Update(context, sql ? "\1" : "\2", 1) != 1)
        return false;
    if (!sql)
        return true;
    return tokens_alone ? add_tokens(context, sql) : SHA256_Update(context, sql, strlen(sql)) == 1;
}

static bool fill(char out[BOUGH__CHECKSUM_SIZE], const struct bough__migration *migration, bool tokens_alone)
{
    unsigned char digest[SHA256_DIGEST_LENGTH] = {0};
    char kind[] = {migration->is_ephemeral ? 'e' : 'p', migration->is_deferred ? 'd' : 'p'};
    SHA256_CTX context;

    if (SHA256_Init(&context) != 1 || SHA256_Update(&context, kind, sizeof kind) != 1 ||
        !add_text(&context, migration->up.sql, tokens_alone) ||
        !add_text(&context, migration->down.sql, tokens_alone) || SHA256_Final(digest, &context) != 1)
        return false;
    put_hex(out, digest);
    return true;
}

static int fill_or_fail(char out[BOUGH__CHECKSUM_SIZE], const struct bough__migration *migration, bool tokens_alone)
{
    if (fill(out, migration, tokens_alone))
        return BOUGH_OK;
    return bough__migrate_fail(BOUGH_NOMEM, "OpenSSL could not compute SHA-256");
}

int bough__checksum_fill(struct bough__migration *migration)
{
    return fill_or_fail(migration->exact, migration, false);
}

int bough__checksum_loose(char out[BOUGH__CHECKSUM_SIZE], const struct bough__migration *migration)
{
    return fill_or_fail(out, migration, true);
}
