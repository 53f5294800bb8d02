/* script.h - a script of SQL that turns one database into another: its schema and its rows. */
#ifndef BOUGH_COMPARE_SCRIPT_H
#define BOUGH_COMPARE_SCRIPT_H

#include "alters.h"
#include "compare.h"

#include <stdio.h>

struct bough__script {
    FILE *file;
    sqlite3 *from, *to;
    const struct bough__schema_changes *schema;
    const struct bough__names *contents; /* tables with other rows and the same SQL */
    const struct bough__tables *tables;  /* as found by bough__tables_compare() */
    const char *only_table;              /* NULL: all */
    const struct bough__alters *alters;  /* NULL: bough__script_write() finds them */
};

/* One transaction, made for a connection without foreign keys. Rows are changed by their key; a table whose SQL changed
 * is written as a whole, unless ALTER TABLE makes it. Returns a result of SQLite, as in compare.h. */
int bough__script_write(const struct bough__script *script, sqlite3 **out_failed);

#endif
