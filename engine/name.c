/* name.c - names of branches and tags: which are legal, and how they look in a URI. */
#include "store.h"

#include "error.h"
#include "os.h"
#include "uri.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool ends_with(const char *text, size_t len, const char *suffix)
{
    size_t suffix_len = strlen(suffix);
    return len >= suffix_len && memcmp(text + len - suffix_len, suffix, suffix_len) == 0;
}

/* What is wrong with one part between slashes, or NULL. */
static const char *fault_of_part(const char *part, size_t len)
{
    if (len == 0)
        return "has an empty part";
    if (part[0] == '.' || part[0] == '-')
        return "has a part that starts with '.' or '-'";
    /* SQLite puts its journals beside the path of a database; such a name would be taken for one of them. */
    if (ends_with(part, len, "-journal") || ends_with(part, len, "-wal") || ends_with(part, len, "-shm"))
        return "has a part that ends in -journal, -wal or -shm";
    return NULL;
}

static const char *fault_of_name(const char *name, size_t len)
{
    if (len == 0)
        return "is empty";
    if (len > BOUGH_NAME_MAX)
        return "is longer than 200 bytes";
    for (size_t i = 0; i < len; i++)
        if (!is_alphanumeric(name[i]) && !strchr("._-/", name[i]))
            return "has a character other than ASCII letters, digits, '.', '_', '-' and '/'";
    for (size_t start = 0; start <= len; start += strcspn(name + start, "/") + 1) {
        const char *fault = fault_of_part(name + start, strcspn(name + start, "/"));
        if (fault)
            return fault;
    }
    if (len >= 6 && len <= 64 && strspn(name, "0123456789abcdefABCDEF") == len)
        return "could be taken for a commit id";
    return NULL;
}

int bough__name_check(const char *name)
{
    const char *fault = fault_of_name(name, strlen(name));
    return fault ? bough__fail(BOUGH_USAGE, "the name \"%.256s\" %s", name, fault) : BOUGH_OK;
}

bool bough__name_is_hidden(const char *name)
{
    return name[0] == '.';
}

/* What begins every name that is a hidden branch's: "." digits [ "_" ]. */
static size_t hidden_prefix(const char *name)
{
    size_t digits = name[0] == '.' ? strspn(name + 1, "0123456789") : 0;
    return digits == 0 ? 0 : 1 + digits + (name[1 + digits] == '_');
}

bool bough__name_is_scratch(const char *name)
{
    size_t len = hidden_prefix(name);
    return len != 0 && name[len - 1] == '_';
}

char *bough__name_hidden(uint32_t number, bool is_scratch, const char *name)
{
    char prefix[16];
    int len = snprintf(prefix, sizeof prefix, ".%" PRIu32 "%s", number, is_scratch ? "_" : "");
    bool fits = (size_t)len + 1 + strlen(name) <= BOUGH_NAME_MAX;
    return bough__format("%s%s%s", prefix, fits ? "/" : "", fits ? name : "");
}

/* "." digits [ "_" ] [ "/" NAME ] */
static bool is_hidden(const char *name)
{
    size_t prefix = hidden_prefix(name);
    const char *rest = name + prefix;
    return prefix != 0 && (*rest == 0 || (*rest == '/' && !fault_of_name(rest + 1, strlen(rest + 1))));
}

int bough__name_check_any(const char *name)
{
    return is_hidden(name) ? BOUGH_OK : bough__name_check(name);
}

char *bough__percent_encode(const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = bough__alloc(3 * strlen(text) + 1), *p = out;
    if (!out)
        return NULL;
    for (const char *c = text; *c; c++) {
        if (is_alphanumeric(*c) || strchr("-._~/", *c)) {
            *p++ = *c;
            continue;
        }
        *p++ = '%';
        *p++ = digits[(unsigned char)*c >> 4];
        *p++ = digits[(unsigned char)*c & 15];
    }
    *p = 0;
    return out;
}

char *bough__uri(const char *path, const char *parameters)
{
    char *encoded = bough__percent_encode(path);
    char *uri =
        encoded ? bough__format("file:%s%s%s", encoded, parameters ? "?" : "", parameters ? parameters : "") : NULL;
    free(encoded);
    return uri;
}
