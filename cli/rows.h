/* rows.h - prints the rows of SQL statements: as lists, CSV, tables or JSON. */
#ifndef BOUGH_CLI_ROWS_H
#define BOUGH_CLI_ROWS_H

#include "json.h"
#include "out.h"

#include <sqlite3.h>

enum rows_form { ROWS_LIST, ROWS_CSV, ROWS_TABLE, ROWS_JSON };

struct rows {
    enum rows_form form;
    FILE *file;
    size_t results; /* statements that returned rows, or could have */
    size_t columns;
    char **names; /* of the present statement, under JSON made distinct */
    struct out_table table;
    struct json json;
};

void rows_begin(struct rows *rows, enum rows_form form, FILE *file);
void rows_end(struct rows *rows); /* completes the document */
/* One statement: its columns, each row, its end. */
void rows_result_begin(struct rows *rows, sqlite3_stmt *statement);
void rows_row(struct rows *rows, sqlite3_stmt *statement);
void rows_result_end(struct rows *rows);
void rows_release(struct rows *rows);
/* One value of a row: a BLOB is {"hex":…}. */
void rows_json_value(struct json *json, sqlite3_stmt *statement, size_t column);

#endif
