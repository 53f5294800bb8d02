/* test_name.c - which names are legal, and paths as URIs. */
#include "harness.h"

#include "store.h"
#include "uri.h"

#include <stdlib.h>
#include <string.h>

static const char *repeat(char c, size_t count)
{
    static char text[512];
    memset(text, c, count);
    text[count] = 0;
    return text;
}

TEST(legal)
{
    static const char *const names[] = {"a",          "main",      "feature/x",  "a/b/c",       "v1.2",  "a.b",
                                        "a-b",        "A_Z",       "_",          "0",           "abcde", "ABCDE",
                                        "deadbeef/x", "deadbeefg", "a/deadbeef", "x-journal-x", "wal",   "journal",
                                        "a.-b",       "a-",        "a.",         "journalx",    "12345"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        ASSERT_OK(bough__name_check(names[i]));
    ASSERT_OK(bough__name_check(repeat('x', BOUGH_NAME_MAX)));
    ASSERT_OK(bough__name_check(repeat('a', 5)));
    ASSERT_OK(bough__name_check(repeat('a', 65)));
}

TEST(illegal)
{
    static const char *const names[] = {"",       "/",       "a/",      "/a",        "a//b", ".",           "..",
                                        ".a",     "a/.b",    "a/..",    "-a",        "a/-b", "a-journal",   "a-wal",
                                        "a-shm",  "a-wal/b", "b/a-shm", "a b",       "a~1",  "a:b",         "a\\b",
                                        "a\nb",   "a?b",     "a#b",     "a%b",       "a@b",  "caf\303\251", "\x7f",
                                        "deadbe", "DEADBE",  "123456",  "DeadBeef01"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        ASSERT_CODE(BOUGH_USAGE, bough__name_check(names[i]));
    ASSERT_CODE(BOUGH_USAGE, bough__name_check(repeat('x', BOUGH_NAME_MAX + 1)));
    ASSERT_CODE(BOUGH_USAGE, bough__name_check(repeat('a', 6)));
    ASSERT_CODE(BOUGH_USAGE, bough__name_check(repeat('F', 64)));
}

TEST(message_says_what_is_wrong)
{
    ASSERT_CODE(BOUGH_USAGE, bough__name_check("abcdef"));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "commit id"));
    ASSERT_CODE(BOUGH_USAGE, bough__name_check("x-wal"));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "-wal"));
}

static void check_uri(const char *path, const char *parameters, const char *expected)
{
    char *uri = bough__uri(path, parameters);
    ck_assert_str_eq(uri, expected);
    free(uri);
}

TEST(uris)
{
    check_uri("/a/b.c-d_e~f", NULL, "file:/a/b.c-d_e~f");
    check_uri("/a b/50%?#&", "vfs=bough", "file:/a%20b/50%25%3F%23%26?vfs=bough");
    check_uri("/\303\251\x01\xff", NULL, "file:/%C3%A9%01%FF");
}

int main(void)
{
    static const struct harness_case cases[] = {CASE(legal), CASE(illegal), CASE(message_says_what_is_wrong),
                                                CASE(uris)};
    return harness_run("name", cases, COUNT_OF(cases));
}
