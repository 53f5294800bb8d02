/* test_parts.c - versions, tokens, checksums, sections, places of errors. */
#include "checksum.h"
#include "harness.h"
#include "sections.h"
#include "tokens.h"
#include "version.h"

#include <stdlib.h>
#include <string.h>

/* ---- versions ---- */

static int64_t parsed(const char *digits)
{
    int64_t ms = 0;

    ck_assert_msg(bough__version_parse(&ms, digits, strlen(digits)), "%s", digits);
    return ms;
}

TEST(versions_that_are_times)
{
    ck_assert_int_eq(parsed("19700101000000"), 0);
    ck_assert_int_eq(parsed("20250314010000"), 1741914000000);
    ck_assert_int_eq(parsed("20250314010000123"), 1741914000123);
    ck_assert_int_eq(parsed("20240229235959"), 1709251199000);
}

TEST(versions_that_are_numbers)
{
    static const char *const numbers[] = {"0",              "7",              "20250314",          "20250229000000",
                                          "20251301000000", "20250101240000", "20250101006000",    "20250101000060",
                                          "20250100000000", "20250001000000", "20251301000000000",
                                          "9223372036854775807"};

    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        ck_assert_int_eq(parsed(numbers[i]), strtoll(numbers[i], NULL, 10));
    ck_assert_int_eq(parsed("0001"), 1);
}

TEST(no_versions)
{
    static const char *const bad[] = {"", "x", "1x", "-1", "9223372036854775808", "99999999999999999999"};
    int64_t ms = 0;

    for (size_t i = 0; i < COUNT_OF(bad); i++)
        ck_assert(!bough__version_parse(&ms, bad[i], strlen(bad[i])));
}

TEST(digits_for_numbers_that_came_without)
{
    static const struct {
        int64_t ms;
        const char *digits;
    } cases[] = {{0, "0"},
                 {5, "5"},
                 {-5, "-5"},
                 {99999999999, "99999999999"},
                 {100000000000, "19730303094640"},
                 {1741914000000, "20250314010000"},
                 {1741914000007, "20250314010000007"},
                 {INT64_MAX, "9223372036854775807"}};
    char digits[BOUGH__VERSION_SIZE];

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bough__version_format(digits, cases[i].ms);
        ck_assert_str_eq(digits, cases[i].digits);
    }
}

/* ---- tokens ---- */

/* The tokens, with a bar after each. */
static const char *cut(const char *sql)
{
    static char out[512];
    size_t length = 0;

    out[0] = 0;
    for (const char *token = bough__token_start(sql); *token;) {
        size_t size = bough__token_length(token);

        memcpy(out + length, token, size);
        length += size;
        out[length++] = '|';
        out[length] = 0;
        token = bough__token_start(token + size);
    }
    return out;
}

TEST(tokens)
{
    ck_assert_str_eq(cut(""), "");
    ck_assert_str_eq(cut(" -- only\n/* words */ "), "");
    ck_assert_str_eq(cut("/* open"), "");
    ck_assert_str_eq(cut("SELECT a+1.5e-3,x'0A' --c\nFROM\t\"t\"\"u\""), "SELECT|a|+|1.5e-3|,|x'0A'|FROM|\"t\"\"u\"|");
    ck_assert_str_eq(cut("[a]]'it''s -- no comment'`b`"), "[a]|]|'it''s -- no comment'|`b`|");
    ck_assert_str_eq(cut("0x1F-1 .5 'open"), "0x1F|-|1|.5|'open|");
    ck_assert_str_eq(cut("\xC3\xA4_1$;;"), "\xC3\xA4_1$|;|;|");
}

/* ---- checksums ---- */

static void sum(char out[BOUGH__CHECKSUM_SIZE], const char *up, const char *down, bool loose)
{
    struct bough__migration migration = {.up.sql = (char *)(uintptr_t)up, .down.sql = (char *)(uintptr_t)down};

    ASSERT_OK(bough__checksum_fill(&migration));
    memcpy(out, migration.exact, BOUGH__CHECKSUM_SIZE);
    if (loose)
        ASSERT_OK(bough__checksum_loose(out, &migration));
}

static bool is_equal(const char *a_up, const char *a_down, const char *b_up, const char *b_down, bool loose)
{
    char a[BOUGH__CHECKSUM_SIZE];
    char b[BOUGH__CHECKSUM_SIZE];

    sum(a, a_up, a_down, loose);
    sum(b, b_up, b_down, loose);
    return !strcmp(a, b);
}

TEST(checksums_see_what_sqlite_sees)
{
    ck_assert(is_equal("SELECT 1", "x", "/* c */SELECT\r\n\t1 -- end", "x", true));
    ck_assert(is_equal("SELECT 'a\r\nb'", NULL, "SELECT 'a\nb'", NULL, true));
    ck_assert(!is_equal("SELECT 'a  b'", NULL, "SELECT 'a b'", NULL, true));
    ck_assert(!is_equal("SELECT '--a'", NULL, "SELECT '--b'", NULL, true));
    ck_assert(!is_equal("SELECT ab", NULL, "SELECT a b", NULL, true));
    ck_assert(!is_equal("SELECT 1", NULL, "SELECT 1", "", true));
    ck_assert(!is_equal("a", "b", "ab", "", true));
    ck_assert(!is_equal("SELECT 1", NULL, "SELECT  1", NULL, false));
    ck_assert(is_equal("SELECT 1", NULL, "SELECT 1", NULL, false));
}

TEST(checksums_see_the_kind)
{
    struct bough__migration plain = {.up.sql = (char *)(uintptr_t) "SELECT 1"};
    struct bough__migration other = plain;

    other.is_ephemeral = true;
    ASSERT_OK(bough__checksum_fill(&plain));
    ASSERT_OK(bough__checksum_fill(&other));
    ASSERT_OK(bough__checksum_loose(plain.loose, &plain));
    ASSERT_OK(bough__checksum_loose(other.loose, &other));
    ck_assert(strcmp(plain.exact, other.exact) != 0);
    ck_assert(strcmp(plain.loose, other.loose) != 0);
}

/* ---- sections ---- */

static void parse(struct bough__migration *out, const char *text)
{
    enum bough__convention convention = BOUGH__CONVENTION_NONE;

    memset(out, 0, sizeof *out);
    ASSERT_OK(bough__sections_parse(out, &convention, "f.sql", text, strlen(text), BOUGH__FILE_WHOLE));
}

TEST(sections_keep_the_lines_of_the_file)
{
    struct bough__migration migration;
    const char *second = NULL;

    parse(&migration, "-- description: d\n\n-- migrate:up\nA\nB\n-- migrate:down\nX\n"
                      "-- migrate:up transaction:false\nC\n-- migrate:down\nY\n");
    ck_assert_str_eq(migration.up.sql, "A\nB\n\n;\nC\n");
    ck_assert_str_eq(migration.down.sql, "Y\n\n;\nX\n");
    ck_assert(migration.up.is_bare && !migration.down.is_bare);
    ck_assert_str_eq(migration.description, "d");
    ck_assert_uint_eq(bough__sql_text_line(&migration.up, 0), 4);
    ck_assert_uint_eq(bough__sql_text_line(&migration.up, 2), 5);
    second = strchr(migration.up.sql, 'C');
    ck_assert_uint_eq(bough__sql_text_line(&migration.up, (size_t)(second - migration.up.sql)), 9);
    ck_assert_uint_eq(bough__sql_text_line(&migration.down, 0), 11);
    bough__migration_release(&migration);
}

TEST(settings_stand_before_the_first_section)
{
    struct bough__migration migration;

    parse(&migration, "-- ephemeral\n-- generate \r\n-- +goose NO TRANSACTION\n-- +goose up\nSELECT 1;\n"
                      "-- +goose DOWN\n");
    ck_assert(migration.is_ephemeral && migration.is_deferred && migration.up.is_bare && migration.down.is_bare);
    ck_assert_str_eq(migration.down.sql, "");
    bough__migration_release(&migration);
    parse(&migration, "-- no-transaction\n/* x */\n-- ephemeral\nSELECT 1;\n-- generate\n");
    ck_assert(migration.is_ephemeral && !migration.is_deferred && migration.up.is_bare);
    ck_assert_ptr_null(migration.down.sql);
    bough__migration_release(&migration);
    parse(&migration, "-- migrate:up\n-- ephemeral\n-- no-transaction\n");
    ck_assert(!migration.is_ephemeral && !migration.up.is_bare);
    bough__migration_release(&migration);
}

/* Any bytes: no crash, and either a migration or a message. */
TEST(sections_of_random_text)
{
    static const char *const pieces[] = {"-- migrate:up", "-- migrate:down", "\n", "\r\n", " ", "--", "-- +goose Up",
                                         "-- +goose Down", "-- +goose StatementBegin", "SELECT 1;", "'", "/*", "*/",
                                         "-- generate", "transaction:false", "\xFF", "-- +goose", "migrate:"};
    struct harness_random random = {7};

    for (int i = 0; i < 20000; i++) {
        enum bough__convention convention = BOUGH__CONVENTION_NONE;
        struct bough__migration migration = {0};
        char text[512] = "";
        int rc = BOUGH_OK;

        for (uint64_t n = harness_below(&random, 16); n > 0; n--)
            strcat(text, pieces[harness_below(&random, COUNT_OF(pieces))]);
        rc = bough__sections_parse(&migration, &convention, "f.sql", text, strlen(text),
                                   (enum bough__file_kind)harness_below(&random, 3));
        ck_assert(rc == BOUGH_OK || rc == BOUGH_USAGE);
        if (rc == BOUGH_OK)
            ck_assert(migration.up.sql != NULL || migration.down.sql != NULL);
        else
            ck_assert_ptr_nonnull(strstr(bough_error_message(), "f.sql"));
        bough__migration_release(&migration);
    }
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(versions_that_are_times),
        CASE(versions_that_are_numbers),
        CASE(no_versions),
        CASE(digits_for_numbers_that_came_without),
        CASE(tokens),
        CASE(checksums_see_what_sqlite_sees),
        CASE(checksums_see_the_kind),
        CASE(sections_keep_the_lines_of_the_file),
        CASE(settings_stand_before_the_first_section),
        CASE(sections_of_random_text),
    };

    return harness_run("migrate parts", cases, COUNT_OF(cases));
}
