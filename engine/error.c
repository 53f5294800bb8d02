/* error.c - the names of the codes, and the message of each thread. */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct bough__error_state current;

const char *bough_code_name(int code)
{
    switch (code) {
#define X(name, value, text) \
    case name:               \
        return #name;
        BOUGH_CODES(X)
#undef X
    default:
        return "BOUGH_UNKNOWN";
    }
}

const char *bough_error_message(void)
{
    return current.text;
}

int bough_error_set(int code, const char *message)
{
    return bough__fail(code, "%s", message);
}

const char *bough_version(void)
{
    return BOUGH_VERSION;
}

int bough__fail(int code, const char *format, ...)
{
    /* Formatted aside: an argument may be the present message. */
    struct bough__error_state next;
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(next.text, sizeof next.text, format, arguments);
    va_end(arguments);
    if (len < 0)
        snprintf(next.text, sizeof next.text, "%s", bough_code_name(code));
    memcpy(current.text, next.text, strlen(next.text) + 1);
    return code;
}

static int code_of_errno(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return BOUGH_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return BOUGH_FULL;
    case ENOMEM:
        return BOUGH_NOMEM;
    case ELOOP:
        return BOUGH_CORRUPT;
    default:
        return BOUGH_IO;
    }
}

int bough__fail_errno(const char *what, const char *path)
{
    int error = errno;
    char buffer[256];
    /* The GNU strerror_r: the text may or may not be in the buffer. */
    const char *text = strerror_r(error, buffer, sizeof buffer);
    return bough__fail(code_of_errno(error), "cannot %s %s: %s", what, path ? path : "a file", text);
}

int bough__fail_memory(void)
{
    return bough__fail(BOUGH_NOMEM, "out of memory");
}

void bough__error_save(struct bough__error_state *out)
{
    memcpy(out->text, current.text, strlen(current.text) + 1);
}

void bough__error_restore(const struct bough__error_state *state)
{
    memcpy(current.text, state->text, strlen(state->text) + 1);
}
