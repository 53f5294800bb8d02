/* statements.c - see statements.h. */
#include "statements.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int statements_read(struct cli *cli, char **out, size_t *out_length, int fd, const char *what)
{
    char *text = NULL;
    size_t length = 0;
    size_t capacity = 0;

    for (;;) {
        ssize_t n = 0;

        if (length + 1 >= capacity) {
            capacity = capacity ? capacity * 2 : 65536;
            text = out_grow(text, capacity);
        }
        n = read(fd, text + length, capacity - length - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(text);
            return cli_fail(cli, BOUGH_IO, "cannot read %s: %s", what, strerror(errno));
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

int statements_check(struct cli *cli, char *text, size_t length, const char *what)
{
    if (strlen(text) != length)
        return cli_fail(cli, BOUGH_SQL, "%s has a zero byte at offset %zu; nothing was run", what, strlen(text));
    if (length >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3))
        memset(text, ' ', 3);
    return BOUGH_OK;
}

int statements_read_file(struct cli *cli, char **out, const char *path)
{
    size_t length = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = BOUGH_OK;

    *out = NULL;
    if (fd < 0)
        return cli_fail(cli, errno == ENOENT || errno == ENOTDIR ? BOUGH_NOT_FOUND : BOUGH_IO, "cannot open %s: %s",
                        path, strerror(errno));
    rc = statements_read(cli, out, &length, fd, path);
    close(fd);
    return rc == BOUGH_OK ? statements_check(cli, *out, length, path) : rc;
}

const char *statements_next(const char *p)
{
    for (;;) {
        p += strspn(p, " \t\r\n\f;");
        if (p[0] == '-' && p[1] == '-') {
            p += strcspn(p, "\n");
        } else if (p[0] == '/' && p[1] == '*') {
            const char *end = strstr(p + 2, "*/");

            p = end ? end + 2 : p + strlen(p);
        } else {
            return p;
        }
    }
}

const char *statements_end(const char *statement)
{
    for (const char *p = strchr(statement, ';'); p; p = strchr(p + 1, ';')) {
        char *part = strndup(statement, (size_t)(p + 1 - statement));
        bool is_complete = part && sqlite3_complete(part);

        free(part);
        if (is_complete)
            return p + 1;
    }
    return statement + strlen(statement);
}

size_t statements_line(const char *text, const char *place)
{
    size_t line = 1;

    for (const char *p = text; p < place; p++)
        line += *p == '\n';
    return line;
}

char *statements_copy(const char *begin, const char *end)
{
    while (end > begin && strchr(" \t\r\n\f;", end[-1]))
        end--;
    return out_format("%.*s", (int)(end - begin), begin);
}

char *statements_one_line(const char *text)
{
    char *line = out_alloc(strlen(text) + 1);
    char *to = line;

    for (const char *p = text; *p; p++) {
        bool is_space = strchr(" \t\r\n\f", *p) != NULL;

        if (!is_space)
            *to++ = *p;
        else if (to > line && to[-1] != ' ')
            *to++ = ' ';
    }
    *to = 0;
    return line;
}
