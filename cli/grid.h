/* grid.h - things side by side: a label and a cell for each of them in every row, in blocks that fit a width.
 *
 * Long labels and names lose their middle. Columns that do not fit beside each other go on below. */
#ifndef BOUGH_CLI_GRID_H
#define BOUGH_CLI_GRID_H

#include <stddef.h>
#include <stdio.h>

struct grid_row {
    char *label;
    char **cells; /* one a column; NULL: a heading for the rows below */
};

struct grid {
    size_t columns;
    struct grid_row *rows;
    size_t count, capacity;
};

/* A row of cells "-", which is left out where nothing else is set. Fill it with grid_set() before the next one. */
void grid_row(struct grid *grid, const char *label);
void grid_heading(struct grid *grid, const char *label);
void grid_set(struct grid *grid, size_t column, const char *text);
void grid_print(FILE *file, const struct grid *grid, size_t width);
void grid_release(struct grid *grid);

/* Columns of a terminal that a text takes: wide characters take two, combining ones none. */
size_t grid_width(const char *text);
/* The text on one line in at most `width` columns, its middle replaced by "…"; malloc'ed. */
char *grid_fit(const char *text, size_t width);

#endif
