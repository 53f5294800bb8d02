/* test_digest.c - hashes, zero pages, hex. */
#include "digest.h"
#include "harness.h"

#include <pthread.h>
#include <string.h>

TEST(sha256_of_known_texts)
{
    static const struct {
        const char *text, *hex;
    } table[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        uint8_t digest[BOUGH__DIGEST_SIZE];
        char hex[2 * BOUGH__DIGEST_SIZE + 1];
        ASSERT_OK(bough__sha256(digest, table[i].text, strlen(table[i].text)));
        bough__hex(hex, digest, sizeof digest);
        ck_assert_str_eq(hex, table[i].hex);
    }
}

TEST(pieces_are_one_text)
{
    uint8_t whole[BOUGH__DIGEST_SIZE], parts[BOUGH__DIGEST_SIZE];
    struct bough__piece pieces[] = {{"ab", 2}, {"", 0}, {"c", 1}};
    ASSERT_OK(bough__sha256(whole, "abc", 3));
    ASSERT_OK(bough__sha256_pieces(parts, pieces, COUNT_OF(pieces)));
    ck_assert_mem_eq(whole, parts, sizeof whole);
}

static void *hash_in_thread(void *out)
{
    for (int i = 0; i < 100; i++)
        if (bough__sha256(out, "abc", 3) != 0)
            return NULL;
    return out;
}

TEST(threads_hash_at_once)
{
    pthread_t threads[8];
    uint8_t digests[8][BOUGH__DIGEST_SIZE], expected[BOUGH__DIGEST_SIZE];
    ASSERT_OK(bough__sha256(expected, "abc", 3));
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, hash_in_thread, digests[i]), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        ck_assert_ptr_nonnull(result);
        ck_assert_mem_eq(digests[i], expected, sizeof expected);
    }
}

/* Written to disk, so it may never change. */
TEST(xxh3_is_the_documented_one)
{
    ck_assert_uint_eq(bough__xxh("", 0, 0), 0x2d06800538d394c2u);
    ck_assert_uint_ne(bough__xxh("abc", 3, 0), bough__xxh("abc", 3, 1));
}

TEST(page_sum_binds_every_part_of_the_place)
{
    uint64_t sum = bough__page_sum(1, 2, 3, 4, 5);
    ck_assert_uint_eq(sum, bough__page_sum(1, 2, 3, 4, 5));
    ck_assert_uint_ne(sum, bough__page_sum(9, 2, 3, 4, 5));
    ck_assert_uint_ne(sum, bough__page_sum(1, 9, 3, 4, 5));
    ck_assert_uint_ne(sum, bough__page_sum(1, 2, 9, 4, 5));
    ck_assert_uint_ne(sum, bough__page_sum(1, 2, 3, 9, 5));
    ck_assert_uint_ne(sum, bough__page_sum(1, 2, 3, 4, 9));
    ck_assert_uint_ne(sum, bough__page_sum(1, 2, 3, 5, 4));
}

TEST(zero_is_zero_everywhere)
{
    uint8_t page[600];
    for (size_t len = 0; len <= sizeof page; len++) {
        memset(page, 0, sizeof page);
        if (len < sizeof page)
            page[len] = 1; /* beyond the end */
        ck_assert(bough__is_zero(page, len));
        for (size_t i = 0; i < len; i++) {
            page[i] = 0x80;
            ck_assert_msg(!bough__is_zero(page, len), "byte %zu of %zu", i, len);
            page[i] = 0;
        }
    }
    memset(page, 7, sizeof page); /* equal to what stands before, but not zero */
    ck_assert(!bough__is_zero(page, sizeof page));
}

TEST(hex_goes_both_ways)
{
    uint8_t bytes[3] = {0x00, 0xaf, 0xff}, back[3];
    char text[7];
    bough__hex(text, bytes, sizeof bytes);
    ck_assert_str_eq(text, "00afff");
    ck_assert(bough__unhex(back, text, sizeof back));
    ck_assert_mem_eq(back, bytes, sizeof bytes);
    ck_assert(bough__unhex(back, "00AFFF", 3));
    ck_assert(!bough__unhex(back, "00aff", 3));
    ck_assert(!bough__unhex(back, "00afff0", 3));
    ck_assert(!bough__unhex(back, "00afg0", 3));
    ck_assert(!bough__unhex(back, "", 3));
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(sha256_of_known_texts),      CASE(pieces_are_one_text),
        CASE(threads_hash_at_once),       CASE(xxh3_is_the_documented_one),
        CASE(page_sum_binds_every_part_of_the_place), CASE(zero_is_zero_everywhere),
        CASE(hex_goes_both_ways),
    };
    return harness_run("digest", cases, COUNT_OF(cases));
}
