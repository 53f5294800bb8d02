/* files.c - see files.h. */
#include "files.h"

#include "checksum.h"
#include "report.h"
#include "version.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SIZE_MAX 1000000000 /* bytes of SQL: what SQLite takes */

static int fail_errno(const char *what, const char *path)
{
    int code = errno == ENOENT || errno == ENOTDIR ? BOUGH_NOT_FOUND
               : errno == ENOSPC || errno == EDQUOT ? BOUGH_FULL
                                                    : BOUGH_IO;

    return bough__migrate_fail(code, "cannot %s %s: %s", what, path, strerror(errno));
}

/* ---- one file ---- */

static int read_all(char **out, size_t *out_length, int file, const char *path)
{
    struct stat status;
    size_t length = 0;
    char *text = NULL;

    if (fstat(file, &status) != 0)
        return fail_errno("read", path);
    if (!S_ISREG(status.st_mode))
        return bough__migrate_fail(BOUGH_USAGE, "%s is not a file", path);
    if (status.st_size > FILE_SIZE_MAX)
        return bough__migrate_fail(BOUGH_USAGE, "%s is longer than SQL can be", path);
    text = sqlite3_malloc64((sqlite3_uint64)status.st_size + 1);
    if (!text)
        return bough__migrate_fail_memory();
    while (length < (size_t)status.st_size) {
        ssize_t n = read(file, text + length, (size_t)status.st_size - length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            sqlite3_free(text);
            return fail_errno("read", path);
        }
        if (n == 0)
            break;
        length += (size_t)n;
    }
    text[length] = 0;
    *out = text;
    *out_length = length;
    return BOUGH_OK;
}

/* The whole text, zero-terminated, without a byte order mark. */
static int read_file(char **out, size_t *out_length, const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int rc = BOUGH_OK;

    if (file < 0)
        return fail_errno("read", path);
    rc = read_all(out, out_length, file, path);
    close(file);
    if (rc == BOUGH_OK && strlen(*out) != *out_length)
        rc = bough__migrate_fail(BOUGH_USAGE, "%s has a zero byte at offset %lld", path, (long long)strlen(*out));
    if (rc == BOUGH_OK && *out_length >= 3 && !memcmp(*out, "\xEF\xBB\xBF", 3)) {
        *out_length -= 3;
        memmove(*out, *out + 3, *out_length + 1);
    }
    return rc;
}

/* ---- names ---- */

struct file_name {
    size_t digits; /* how many stand in front */
    size_t name_start, name_length;
    enum bough__file_kind kind;
};

static bool ends_with(const char *text, size_t length, const char *end)
{
    size_t end_length = strlen(end);

    return length >= end_length && !memcmp(text + length - end_length, end, end_length);
}

static void split_name(struct file_name *out, const char *file)
{
    size_t length = strlen(file);

    out->digits = strspn(file, "0123456789");
    out->kind = ends_with(file, length, ".up.sql")     ? BOUGH__FILE_UP
                : ends_with(file, length, ".down.sql") ? BOUGH__FILE_DOWN
                                                       : BOUGH__FILE_WHOLE;
    length -= out->kind == BOUGH__FILE_UP ? 7 : out->kind == BOUGH__FILE_DOWN ? 9 : 4;
    out->name_start = out->digits + (out->digits < length && strchr("_-.", file[out->digits]) != NULL);
    out->name_length = length - out->name_start;
}

static int read_migration(struct bough__migration *out, enum bough__convention *out_convention, const char *directory,
                          const char *file, const struct file_name *name)
{
    char *path = sqlite3_mprintf("%s/%s", directory, file);
    char *text = NULL;
    size_t length = 0;
    int rc = path ? BOUGH_OK : bough__migrate_fail_memory();

    if (rc == BOUGH_OK && !bough__version_parse(&out->defined_at_ms, file, name->digits))
        rc = bough__migrate_fail(BOUGH_USAGE, "%s: its name does not begin with a version, digits of a time or of a "
                                 "64-bit number", path);
    if (rc == BOUGH_OK) {
        out->version = sqlite3_mprintf("%.*s", (int)name->digits, file);
        out->name = sqlite3_mprintf("%.*s", (int)name->name_length, file + name->name_start);
        out->up.origin = sqlite3_mprintf("%s", path);
        out->down.origin = sqlite3_mprintf("%s", path);
        if (!out->version || !out->name || !out->up.origin || !out->down.origin)
            rc = bough__migrate_fail_memory();
    }
    if (rc == BOUGH_OK)
        rc = read_file(&text, &length, path);
    if (rc == BOUGH_OK)
        rc = bough__sections_parse(out, out_convention, path, text, length, name->kind);
    sqlite3_free(text);
    sqlite3_free(path);
    return rc;
}

/* ---- the directory ---- */

static int is_migration_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && ends_with(entry->d_name, strlen(entry->d_name), ".sql");
}

/* Reads all files that are downs of pairs, or all others. */
static int read_names(struct bough__migrations *out, enum bough__convention *out_convention, const char *directory,
                      struct dirent **entries, int count, bool downs)
{
    int rc = BOUGH_OK;

    for (int i = 0; rc == BOUGH_OK && i < count; i++) {
        enum bough__convention convention = BOUGH__CONVENTION_NONE;
        struct bough__migration migration = {0};
        struct file_name name;

        split_name(&name, entries[i]->d_name);
        if ((name.kind == BOUGH__FILE_DOWN) != downs)
            continue;
        rc = read_migration(&migration, &convention, directory, entries[i]->d_name, &name);
        if (*out_convention == BOUGH__CONVENTION_NONE)
            *out_convention = convention;
        if (rc == BOUGH_OK)
            rc = bough__migrations_add(out, &migration);
        bough__migration_release(&migration);
    }
    return rc;
}

/* Gives the downs to their ups. */
static int join(struct bough__migrations *ups, struct bough__migrations *downs)
{
    for (size_t i = 0; i < downs->count; i++) {
        struct bough__migration *down = &downs->items[i];
        struct bough__migration *up = bough__migrations_find(ups, down->defined_at_ms);

        if (!up || strcmp(up->name, down->name) != 0 || !ends_with(up->up.origin, strlen(up->up.origin), ".up.sql"))
            return bough__migrate_fail(BOUGH_USAGE, "%s: a down without an up", down->down.origin);
        if (up->down.sql)
            return bough__migrate_fail(BOUGH_USAGE, "%s and %s have the same version", up->down.origin,
                                       down->down.origin);
        bough__sql_text_release(&up->down);
        up->down = down->down;
        memset(&down->down, 0, sizeof down->down);
    }
    return BOUGH_OK;
}

static int read_entries(struct bough__migrations *out, enum bough__convention *out_convention, const char *directory,
                        struct dirent **entries, int count)
{
    struct bough__migrations downs = {0};
    int rc = read_names(out, out_convention, directory, entries, count, false);

    if (rc == BOUGH_OK)
        rc = bough__migrations_sort(out);
    if (rc == BOUGH_OK)
        rc = read_names(&downs, out_convention, directory, entries, count, true);
    if (rc == BOUGH_OK)
        rc = join(out, &downs);
    for (size_t i = 0; rc == BOUGH_OK && i < out->count; i++)
        rc = bough__checksum_fill(&out->items[i]);
    bough__migrations_release(&downs);
    return rc;
}

int bough__migrations_read(struct bough__migrations *out, enum bough__convention *out_convention,
                           const char *directory)
{
    struct dirent **entries = NULL;
    int count = scandir(directory, &entries, is_migration_file, alphasort);
    int rc = BOUGH_OK;

    memset(out, 0, sizeof *out);
    *out_convention = BOUGH__CONVENTION_NONE;
    if (count < 0)
        return fail_errno("read the migrations in", directory);
    rc = read_entries(out, out_convention, directory, entries, count);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    if (rc != BOUGH_OK)
        bough__migrations_release(out);
    return rc;
}

/* ---- a new file ---- */

static const char *const templates[][2] = {
    [BOUGH__CONVENTION_NONE] = {"-- migrate:up\n\n-- migrate:down\n\n", NULL},
    [BOUGH__CONVENTION_DBMATE] = {"-- migrate:up\n\n-- migrate:down\n\n", NULL},
    [BOUGH__CONVENTION_GOOSE] = {"-- +goose Up\n\n-- +goose Down\n\n", NULL},
    [BOUGH__CONVENTION_PAIRS] = {"", ""},
};

static int write_new(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    size_t length = strlen(text);
    int rc = BOUGH_OK;

    if (file < 0 && errno == EEXIST)
        return bough__migrate_fail(BOUGH_REFUSED, "%s exists", path);
    if (file < 0)
        return fail_errno("make", path);
    if (write(file, text, length) != (ssize_t)length || fsync(file) != 0)
        rc = fail_errno("write", path);
    if (close(file) != 0 && rc == BOUGH_OK)
        rc = fail_errno("write", path);
    if (rc != BOUGH_OK)
        unlink(path);
    return rc;
}

static int write_files(char *out_paths[2], enum bough__convention convention, const char *directory,
                       const char *version, const char *name)
{
    bool is_pair = convention == BOUGH__CONVENTION_PAIRS;
    int rc = BOUGH_OK;

    for (int i = 0; rc == BOUGH_OK && i <= is_pair; i++) {
        char *path = sqlite3_mprintf("%s/%s_%s%s.sql", directory, version, name,
                                     !is_pair ? "" : i == 0 ? ".up" : ".down");

        rc = path ? write_new(path, templates[convention][i]) : bough__migrate_fail_memory();
        if (rc == BOUGH_OK)
            out_paths[i] = path;
        else
            sqlite3_free(path);
    }
    if (rc != BOUGH_OK && out_paths[0])
        unlink(out_paths[0]);
    return rc;
}

/* Letters, digits and what joins them, so that it is a name everywhere; white space becomes "_". */
static int clean_name(char **out, const char *name)
{
    char *clean = sqlite3_mprintf("%s", name);

    if (!clean)
        return bough__migrate_fail_memory();
    for (char *p = clean; *p; p++) {
        if (strchr(" \t", *p))
            *p = '_';
        if ((unsigned char)*p < 0x20 || *p == '/' || *p == 0x7F) {
            sqlite3_free(clean);
            return bough__migrate_fail(BOUGH_USAGE, "a migration's name has no slash and no control characters");
        }
    }
    if (!clean[0] || strlen(clean) > 200) {
        sqlite3_free(clean);
        return bough__migrate_fail(BOUGH_USAGE, "a migration's name has 1 to 200 bytes");
    }
    *out = clean;
    return BOUGH_OK;
}

int bough__migration_create(char *out_paths[2], char out_version[24], const char *directory, const char *name,
                            int64_t now_ms)
{
    enum bough__convention convention = BOUGH__CONVENTION_NONE;
    struct bough__migrations present = {0};
    char *clean = NULL;
    int rc = clean_name(&clean, name);

    out_paths[0] = out_paths[1] = NULL;
    if (rc == BOUGH_OK && mkdir(directory, 0777) != 0 && errno != EEXIST)
        rc = fail_errno("make the directory", directory);
    if (rc == BOUGH_OK)
        rc = bough__migrations_read(&present, &convention, directory);
    /* Whole seconds, and after each other: two calls in one second make two versions. */
    now_ms -= now_ms % 1000;
    while (rc == BOUGH_OK && bough__migrations_find(&present, now_ms))
        now_ms += 1000;
    bough__version_format(out_version, now_ms);
    if (rc == BOUGH_OK)
        rc = write_files(out_paths, convention, directory, out_version, clean);
    bough__migrations_release(&present);
    sqlite3_free(clean);
    if (rc != BOUGH_OK) {
        sqlite3_free(out_paths[0]);
        sqlite3_free(out_paths[1]);
        out_paths[0] = out_paths[1] = NULL;
    }
    return rc;
}
