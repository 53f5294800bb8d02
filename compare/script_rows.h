/* script_rows.h - the rows of a table in a script of SQL: see script.h. */
#ifndef BOUGH_COMPARE_SCRIPT_ROWS_H
#define BOUGH_COMPARE_SCRIPT_ROWS_H

#include "script.h"

void bough__script_put_name(FILE *file, const char *name); /* in quotes */
/* What turns the rows of the table into those of `to`; from_name is NULL where the table is new or begins anew. */
int bough__script_put_rows(const struct bough__script *script, sqlite3 **out_failed, const char *from_name,
                           const char *name);
/* A full-text index over another table, or over nothing that it kept. */
int bough__script_is_index_only(bool *out, const struct bough__script *script, const char *name);

#endif
