/* git_name.c - which branch of the store belongs to a branch of git.
 *
 * Nearly always the one of the same name. git also allows bytes and words that names in a store cannot have. They are
 * written as
 *
 *     _..HEX.      `_..`, two lower-case hex digits for each byte, `.`
 *
 * Bytes that need it and stand side by side share one such group. No two branches of git get the same name: git refuses
 * two dots in a row, so from left to right every `_..` begins a group, and the next dot ends it. */
#include "git.h"

#include <stdlib.h>
#include <string.h>

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("._-/", c));
}

/* Would the part that begins at p, up to a slash, end like one of SQLite's files? Then *out is its last dash. */
static bool ends_like_journal(const char *part, const char **out)
{
    static const char *const suffixes[] = {"-journal", "-wal", "-shm"};
    size_t length = strcspn(part, "/");

    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        size_t suffix = strlen(suffixes[i]);

        if (length >= suffix && !memcmp(part + length - suffix, suffixes[i], suffix)) {
            *out = part + length - suffix;
            return true;
        }
    }
    return false;
}

/* Marks the bytes of the name that cannot stand there. */
static void mark_bytes(bool *marks, const char *name)
{
    size_t length = strlen(name);
    const char *dash = NULL;

    for (size_t i = 0; i < length; i++)
        marks[i] = !is_plain(name[i]);
    for (const char *part = name; *part; part += strcspn(part, "/"), part += *part == '/') {
        if (*part == '.' || *part == '-')
            marks[part - name] = true;
        if (ends_like_journal(part, &dash))
            marks[dash - name] = true;
    }
    if (length >= 6 && length <= 64 && strspn(name, "0123456789abcdefABCDEF") == length)
        marks[length - 1] = true;
}

char *git_name_map(const char *git_branch)
{
    size_t length = strlen(git_branch);
    bool *marks = out_alloc(length + 1);
    char *name = out_alloc(length * 6 + 1);
    char *p = name;

    mark_bytes(marks, git_branch);
    for (size_t i = 0; i < length; i++) {
        if (!marks[i]) {
            *p++ = git_branch[i];
            continue;
        }
        p += sprintf(p, "%s%02x%s", i && marks[i - 1] ? "" : "_..", (unsigned)(unsigned char)git_branch[i],
                     marks[i + 1] ? "" : ".");
    }
    free(marks);
    if (p - name <= BOUGH_NAME_MAX)
        return name;
    free(name);
    return NULL;
}
