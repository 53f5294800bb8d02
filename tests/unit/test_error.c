/* test_error.c - codes and messages. */
#include "error.h"
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

TEST(every_code_has_its_name)
{
#define X(name, value, text) ck_assert_str_eq(bough_code_name(name), #name);
    BOUGH_CODES(X)
#undef X
    ck_assert_ptr_nonnull(bough_code_name(12345));
    ck_assert_str_eq(bough_version(), BOUGH_VERSION);
}

TEST(message_may_quote_itself)
{
    ck_assert_int_eq(bough__fail(BOUGH_BUSY, "first %d", 7), BOUGH_BUSY);
    bough__fail(BOUGH_IO, "outer: %s", bough_error_message());
    ck_assert_str_eq(bough_error_message(), "outer: first 7");
}

TEST(long_message_is_cut)
{
    char text[3000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    bough__fail(BOUGH_IO, "%s", text);
    ck_assert_uint_eq(strlen(bough_error_message()), 1023);
}

TEST(errno_chooses_the_code)
{
    static const struct {
        int error, code;
    } table[] = {{ENOENT, BOUGH_NOT_FOUND}, {ENOTDIR, BOUGH_NOT_FOUND}, {ENOSPC, BOUGH_FULL}, {EDQUOT, BOUGH_FULL},
                 {EFBIG, BOUGH_FULL},       {ENOMEM, BOUGH_NOMEM},      {ELOOP, BOUGH_CORRUPT}, {EIO, BOUGH_IO},
                 {EACCES, BOUGH_IO}};
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        errno = table[i].error;
        ck_assert_int_eq(bough__fail_errno("open", "/a/b"), table[i].code);
        ck_assert_ptr_nonnull(strstr(bough_error_message(), "open /a/b: "));
    }
}

TEST(saved_message_comes_back)
{
    struct bough__error_state state;
    bough__fail(BOUGH_IO, "the cause");
    bough__error_save(&state);
    bough__fail(BOUGH_IO, "a consequence");
    bough__error_restore(&state);
    ck_assert_str_eq(bough_error_message(), "the cause");
}

static void *other_thread(void *unused)
{
    (void)unused;
    bough__fail(BOUGH_IO, "theirs");
    return NULL;
}

TEST(message_belongs_to_the_thread)
{
    pthread_t thread;
    bough__fail(BOUGH_IO, "ours");
    ck_assert_int_eq(pthread_create(&thread, NULL, other_thread, NULL), 0);
    pthread_join(thread, NULL);
    ck_assert_str_eq(bough_error_message(), "ours");
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(every_code_has_its_name),  CASE(message_may_quote_itself), CASE(long_message_is_cut),
        CASE(errno_chooses_the_code),   CASE(saved_message_comes_back), CASE(message_belongs_to_the_thread),
    };
    return harness_run("error", cases, COUNT_OF(cases));
}
