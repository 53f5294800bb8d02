/* sql_lines.c - see sql_lines.h. */
#include "sql_lines.h"

#include "out.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CELLS_MAX (4u << 20) /* of the table that finds common lines; longer texts are shown as replaced */

static void add_line(struct sql_lines *lines, const char *begin, const char *end)
{
    while (end > begin && isspace((unsigned char)end[-1]))
        end--;
    lines->items = out_grow(lines->items, (lines->count + 1) * sizeof lines->items[0]);
    lines->items[lines->count++] = out_format("%.*s", (int)(end - begin), begin);
}

/* The end of what is quoted, or of a comment, that begins at p; p + 1 for everything else. */
static const char *skip_token(const char *p)
{
    char end = *p == '[' ? ']' : *p;

    if (p[0] == '-' && p[1] == '-')
        return p + strcspn(p, "\n");
    if (p[0] == '/' && p[1] == '*')
        return strstr(p + 2, "*/") ? strstr(p + 2, "*/") + 2 : p + strlen(p);
    if (!strchr("'\"`[", *p))
        return p + 1;
    for (p++; *p && *p != end;)
        p++;
    return *p ? p + 1 : p;
}

/* A column that goes over several lines becomes one, unless a comment ends there. */
static void add_part(struct sql_lines *lines, const char *indent, const char *begin, const char *end)
{
    char *line = out_format("%s%.*s", indent, (int)(end - begin), begin);
    char *to = line + strlen(indent);

    for (const char *from = to; *from; from++) {
        bool folds = isspace((unsigned char)*from) && !strstr(line, "--");

        if (!folds)
            *to++ = *from;
        else if (to > line && to[-1] != ' ')
            *to++ = ' ';
    }
    *to = 0;
    add_line(lines, line, to);
    free(line);
}

/* "CREATE TABLE t(a, b(c, d))" becomes "CREATE TABLE t(", "  a,", "  b(c, d)", ")". */
static void break_table(struct sql_lines *lines, const char *sql)
{
    const char *begin = sql;
    int depth = 0;

    for (const char *p = sql; *p;) {
        const char *next = skip_token(p);
        bool opens = *p == '(' && depth++ == 0;
        bool closes = *p == ')' && --depth == 0;

        if (closes) {
            add_part(lines, "  ", begin, p);
            add_line(lines, p, p + strlen(p));
            return;
        }
        if (opens || (*p == ',' && depth == 1)) {
            add_part(lines, begin == sql ? "" : "  ", begin, next);
            begin = next + strspn(next, " \t\r\n");
            next = begin;
        }
        p = next;
    }
    add_line(lines, begin, begin + strlen(begin));
}

struct sql_lines sql_lines_of(const char *sql)
{
    struct sql_lines lines = {NULL, 0};

    if (!sql)
        return lines;
    if (!strncasecmp(sql, "CREATE TABLE", 12)) {
        break_table(&lines, sql);
        return lines;
    }
    for (const char *p = sql; *p;) {
        const char *end = p + strcspn(p, "\n");

        add_line(&lines, p, end);
        p = *end ? end + 1 : end;
    }
    return lines;
}

void sql_lines_release(struct sql_lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        free(lines->items[i]);
    free(lines->items);
    *lines = (struct sql_lines){NULL, 0};
}

/* ---- differences ---- */

/* White space and a comma at the end do not make another line: a column that was the last one gets a comma. */
static bool is_same(const char *a, const char *b)
{
    for (;;) {
        while (isspace((unsigned char)*a))
            a++;
        while (isspace((unsigned char)*b))
            b++;
        if (*a == ',' && !a[1])
            a++;
        if (*b == ',' && !b[1])
            b++;
        if (!*a || !*b || *a != *b)
            return *a == *b;
        a++;
        b++;
    }
}

/* length[i][j]: how many lines from i and from j on are common. */
static unsigned *common_lengths(const struct sql_lines *from, const struct sql_lines *to)
{
    size_t width = to->count + 1;
    unsigned *lengths = NULL;

    if ((from->count + 1) * width > CELLS_MAX)
        return NULL;
    lengths = out_alloc((from->count + 1) * width * sizeof lengths[0]);
    for (size_t i = from->count; i-- > 0;) {
        for (size_t j = to->count; j-- > 0;) {
            unsigned right = lengths[i * width + j + 1];
            unsigned below = lengths[(i + 1) * width + j];

            lengths[i * width + j] = is_same(from->items[i], to->items[j]) ? lengths[(i + 1) * width + j + 1] + 1
                                     : right > below                       ? right
                                                                           : below;
        }
    }
    return lengths;
}

void sql_lines_diff(const struct sql_lines *from, const struct sql_lines *to, sql_lines_callback *callback,
                    void *context)
{
    unsigned *lengths = common_lengths(from, to);
    size_t width = to->count + 1;
    size_t i = 0;
    size_t j = 0;

    while (i < from->count || j < to->count) {
        bool both = i < from->count && j < to->count;

        if (both && lengths && is_same(from->items[i], to->items[j])) {
            callback(context, ' ', to->items[j]);
            i++;
            j++;
        } else if (i < from->count &&
                   (j == to->count || !lengths || lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) {
            callback(context, '-', from->items[i++]);
        } else {
            callback(context, '+', to->items[j++]);
        }
    }
    free(lengths);
}
