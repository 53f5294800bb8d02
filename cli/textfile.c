/* textfile.c - see textfile.h. */
#include "textfile.h"

#include "out.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK      "# >>> bough git install: bough git uninstall takes these lines out again"
#define MARK_MADE "# >>> bough git install made this file; bough git uninstall removes it"
#define MARK_END  "# <<< bough git install"

/* ---- whole files ---- */

static char *read_descriptor(int fd, size_t size, size_t *out_length)
{
    char *text = out_alloc(size + 1);
    size_t length = 0;

    while (length < size) {
        ssize_t n = read(fd, text + length, size - length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(text);
            return NULL;
        }
        if (n == 0)
            break;
        length += (size_t)n;
    }
    text[length] = 0;
    *out_length = length;
    return text;
}

char *textfile_read(const char *path, size_t max_bytes, size_t *out_length)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info = {0};
    char *text = NULL;
    int error = 0;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &info) != 0)
        error = errno;
    else if (!S_ISREG(info.st_mode))
        error = EINVAL;
    else if ((uintmax_t)info.st_size > max_bytes)
        error = EFBIG;
    if (!error && (text = read_descriptor(fd, (size_t)info.st_size, out_length)) == NULL)
        error = errno;
    close(fd);
    errno = error;
    return text;
}

static int write_descriptor(int fd, const char *bytes, size_t length)
{
    while (length) {
        ssize_t n = write(fd, bytes, length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        bytes += n;
        length -= (size_t)n;
    }
    return fsync(fd) != 0 ? errno : 0;
}

/* Mode and owner of the file that is replaced, or of a new one. Another owner may be out of our power. */
static int take_place(int fd, const char *path, mode_t mode)
{
    struct stat info = {0};
    mode_t mask = 0;

    if (stat(path, &info) == 0) {
        if ((info.st_uid != geteuid() || info.st_gid != getegid()) && fchown(fd, info.st_uid, info.st_gid) != 0)
            errno = 0;
        return fchmod(fd, info.st_mode & 07777) != 0 ? errno : 0;
    }
    mask = umask(0);
    umask(mask);
    return fchmod(fd, mode & ~mask) != 0 ? errno : 0;
}

int textfile_write(const char *path, const char *bytes, size_t length, mode_t mode)
{
    char *temporary = out_format("%s.bough-XXXXXX", path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    int error = 0;

    if (fd < 0) {
        error = errno;
        free(temporary);
        return error;
    }
    error = take_place(fd, path, mode);
    if (!error)
        error = write_descriptor(fd, bytes, length);
    if (close(fd) != 0 && !error)
        error = errno;
    if (!error && rename(temporary, path) != 0)
        error = errno;
    if (error)
        unlink(temporary);
    free(temporary);
    return error;
}

void textfile_clean(const char *directory)
{
    static const char part[] = ".bough-";
    DIR *stream = opendir(directory);
    struct dirent *entry = NULL;

    while (stream && (entry = readdir(stream)) != NULL) {
        const char *found = strstr(entry->d_name, part);

        if (found && found != entry->d_name && strlen(found) == sizeof part - 1 + 6)
            unlinkat(dirfd(stream), entry->d_name, 0);
    }
    if (stream)
        closedir(stream);
}

/* ---- lines between marks ---- */

/* Where a line that equals `mark` begins, from `from` on; length when there is none. *out_end: after its line break. */
static size_t find_mark(const char *text, size_t length, size_t from, const char *mark, size_t *out_end)
{
    size_t mark_length = strlen(mark);

    for (size_t i = from; i + mark_length <= length;) {
        const char *stop = memchr(text + i, '\n', length - i);
        size_t end = stop ? (size_t)(stop - text) : length;

        if (end - i == mark_length && !memcmp(text + i, mark, mark_length)) {
            *out_end = stop ? end + 1 : end;
            return i;
        }
        i = end + 1;
    }
    return length;
}

struct textfile_lines textfile_find_lines(const char *text, size_t length)
{
    struct textfile_lines lines = {0};
    size_t after = 0;

    lines.start = find_mark(text, length, 0, MARK, &after);
    if (lines.start == length) {
        lines.start = find_mark(text, length, 0, MARK_MADE, &after);
        lines.made = lines.start != length;
    }
    if (lines.start == length)
        return lines;
    lines.torn = find_mark(text, length, after, MARK_END, &lines.end) == length;
    lines.found = !lines.torn;
    return lines;
}

char *textfile_mark_lines(const char *lines, bool made)
{
    return out_format("%s\n%s%s\n", made ? MARK_MADE : MARK, lines, MARK_END);
}

char *textfile_splice(const char *text, size_t length, size_t start, size_t end, const char *insert, size_t *out_length)
{
    size_t insert_length = strlen(insert);
    char *made = out_alloc(length - (end - start) + insert_length + 1);

    memcpy(made, text, start);
    memcpy(made + start, insert, insert_length);
    memcpy(made + start + insert_length, text + end, length - end);
    *out_length = length - (end - start) + insert_length;
    made[*out_length] = 0;
    return made;
}
