/* textfile.h - small files that belong to git or to the user: read whole, replaced whole, and lines of ours in them.
 *
 * Lines of ours stand between two marks, so that they can be replaced and taken out again, whatever the user changed
 * around them. */
#ifndef BOUGH_CLI_TEXTFILE_H
#define BOUGH_CLI_TEXTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The bytes and a zero after them; NULL with errno when it cannot be read, is no regular file, or has more than
 * max_bytes (EFBIG). */
char *textfile_read(const char *path, size_t max_bytes, size_t *out_length);
/* Replaces the file in one step; what was there is kept until the new bytes are durable. A file that is there keeps its
 * mode and, if possible, its owner; a new one gets `mode` less the umask. 0 or an errno. */
int textfile_write(const char *path, const char *bytes, size_t length, mode_t mode);

/* Removes what a killed textfile_write() left beside its files in a directory. */
void textfile_clean(const char *directory);

/* Lines between marks. `made` says that the file was made for them, so that it goes with them. */
struct textfile_lines {
    size_t start, end; /* with the marks */
    bool found, made;
    bool torn; /* the first mark is there and the last is not */
};
struct textfile_lines textfile_find_lines(const char *text, size_t length);
/* The lines with their marks around them; free() it. */
char *textfile_mark_lines(const char *lines, bool made);
/* The text without [start, end) and with `insert` in its place; free() it. */
char *textfile_splice(const char *text, size_t length, size_t start, size_t end, const char *insert,
                      size_t *out_length);

#endif
