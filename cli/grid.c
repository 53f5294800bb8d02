/* grid.c - see grid.h. */
#include "grid.h"

#include "out.h"

#include <stdlib.h>
#include <string.h>

#define LABEL_MAX  36
#define COLUMN_MAX 28
#define INDENT     2

/* ---- widths ---- */

/* The code point at p, and its length; a byte that is no UTF-8 stands for itself. */
static unsigned decode(const char *p, size_t *out_length)
{
    const unsigned char *bytes = (const unsigned char *)p;
    size_t length = bytes[0] >= 0xF0 ? 4 : bytes[0] >= 0xE0 ? 3 : bytes[0] >= 0xC0 ? 2 : 1;
    unsigned value = length == 1 ? bytes[0] : bytes[0] & (0xFFu >> (length + 1));

    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xC0) != 0x80) {
            *out_length = 1;
            return '?';
        }
        value = value << 6 | (bytes[i] & 0x3F);
    }
    *out_length = length;
    return value;
}

static size_t width_of(unsigned c)
{
    static const struct {
        unsigned first, last;
    } wide[] = {{0x1100, 0x115F},   {0x2E80, 0x303E},   {0x3041, 0xA4CF},  {0xAC00, 0xD7A3},
                {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},  {0xFFE0, 0xFFE6},
                {0x1F300, 0x1F64F}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}},
      none[] = {{0x300, 0x36F}, {0x200B, 0x200F}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}};

    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        if (c >= none[i].first && c <= none[i].last)
            return 0;
    }
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        if (c >= wide[i].first && c <= wide[i].last)
            return 2;
    }
    return 1;
}

size_t grid_width(const char *text)
{
    size_t width = 0;
    size_t length = 0;

    for (; *text && *text != '\n' && *text != '\r'; text += length)
        width += width_of(decode(text, &length));
    return width;
}

/* Bytes of the longest beginning of at most `width` columns. */
static size_t head_length(const char *text, size_t width)
{
    size_t taken = 0;
    size_t length = 0;
    const char *p = text;

    for (; *p && *p != '\n' && *p != '\r'; p += length) {
        taken += width_of(decode(p, &length));
        if (taken > width)
            break;
    }
    return (size_t)(p - text);
}

char *grid_fit(const char *text, size_t width)
{
    size_t total = grid_width(text);
    size_t head = 0;
    const char *tail = text;
    size_t length = 0;

    if (total <= width)
        return out_format("%.*s", (int)head_length(text, width), text);
    head = head_length(text, width / 2);
    /* The shortest end that leaves room for the mark. */
    for (size_t left = total; left > width - width / 2 - 1; tail += length)
        left -= width_of(decode(tail, &length));
    return out_format("%.*s…%.*s", (int)head, text, (int)head_length(tail, width), tail);
}

/* ---- rows ---- */

static struct grid_row *add_row(struct grid *grid, const char *label)
{
    if (grid->count == grid->capacity) {
        grid->capacity = grid->capacity ? grid->capacity * 2 : 32;
        grid->rows = out_grow(grid->rows, grid->capacity * sizeof grid->rows[0]);
    }
    grid->rows[grid->count] = (struct grid_row){grid_fit(label, LABEL_MAX), NULL};
    return &grid->rows[grid->count++];
}

void grid_row(struct grid *grid, const char *label)
{
    struct grid_row *row = add_row(grid, label);

    row->cells = out_alloc(grid->columns * sizeof row->cells[0]);
    for (size_t i = 0; i < grid->columns; i++)
        row->cells[i] = out_copy("-");
}

void grid_heading(struct grid *grid, const char *label)
{
    add_row(grid, label);
}

void grid_set(struct grid *grid, size_t column, const char *text)
{
    char **cell = &grid->rows[grid->count - 1].cells[column];

    free(*cell);
    *cell = grid_fit(text, COLUMN_MAX);
}

void grid_release(struct grid *grid)
{
    for (size_t i = 0; i < grid->count; i++) {
        for (size_t k = 0; grid->rows[i].cells && k < grid->columns; k++)
            free(grid->rows[i].cells[k]);
        free(grid->rows[i].cells);
        free(grid->rows[i].label);
    }
    free(grid->rows);
    *grid = (struct grid){0, NULL, 0, 0};
}

/* ---- printing ---- */

static size_t label_width(const struct grid *grid)
{
    size_t width = 0;

    for (size_t i = 0; i < grid->count; i++) {
        size_t own = grid->rows[i].cells ? grid_width(grid->rows[i].label) + INDENT : 0;

        width = own > width ? own : width;
    }
    return width;
}

static size_t column_width(const struct grid *grid, size_t column)
{
    size_t width = 0;

    for (size_t i = 0; i < grid->count; i++) {
        size_t own = grid->rows[i].cells ? grid_width(grid->rows[i].cells[column]) : 0;

        width = own > width ? own : width;
    }
    return width;
}

static void put(FILE *file, const char *text, size_t width, int is_last)
{
    size_t own = grid_width(text);

    out_line(file, text);
    if (!is_last)
        fprintf(file, "%*s", own < width ? (int)(width - own) : 0, "");
}

static int is_empty(const struct grid_row *row, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        if (strcmp(row->cells[i], "-") != 0)
            return 0;
    }
    return 1;
}

/* A heading stands above rows, else it is left out: rows from `at` up to the next heading. */
static int heads_something(const struct grid *grid, size_t at, size_t first, size_t end)
{
    for (size_t i = at + 1; i < grid->count && grid->rows[i].cells; i++) {
        if (!is_empty(&grid->rows[i], first, end))
            return 1;
    }
    return 0;
}

static void print_block(FILE *file, const struct grid *grid, const size_t *widths, size_t label, size_t first,
                        size_t end)
{
    for (size_t i = 0; i < grid->count; i++) {
        const struct grid_row *row = &grid->rows[i];

        if (!row->cells) {
            if (heads_something(grid, i, first, end)) {
                put(file, row->label, 0, 1);
                putc('\n', file);
            }
            continue;
        }
        if (is_empty(row, first, end))
            continue;
        fprintf(file, "%*s", i ? INDENT : 0, "");
        put(file, row->label, label - (i ? INDENT : 0), 0);
        for (size_t k = first; k < end; k++) {
            fputs("  ", file);
            put(file, row->cells[k], widths[k], k + 1 == end);
        }
        putc('\n', file);
    }
}

void grid_print(FILE *file, const struct grid *grid, size_t width)
{
    size_t *widths = out_alloc((grid->columns + 1) * sizeof widths[0]);
    size_t label = label_width(grid);
    size_t end = 0;

    for (size_t i = 0; i < grid->columns; i++)
        widths[i] = column_width(grid, i);
    for (size_t first = 0; first < grid->columns; first = end) {
        size_t taken = label + 2 + widths[first];

        for (end = first + 1; end < grid->columns && taken + 2 + widths[end] <= width; end++)
            taken += 2 + widths[end];
        if (first)
            putc('\n', file);
        print_block(file, grid, widths, label, first, end);
    }
    free(widths);
}
