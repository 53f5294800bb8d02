/* rows_diff.h - prints rows that differ between two tables, for people or as JSON. */
#ifndef BOUGH_CLI_ROWS_DIFF_H
#define BOUGH_CLI_ROWS_DIFF_H

#include "json.h"

#include "table_rows.h"

struct rows_diff {
    FILE *file;
    struct json *json; /* NULL: for people */
    const struct bough__rows *rows;
};

/* A bough__row_callback; its context is a struct rows_diff. */
int rows_diff_print(void *context, enum bough_change change, sqlite3_stmt *from, sqlite3_stmt *to);

#endif
