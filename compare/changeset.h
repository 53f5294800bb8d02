/* changeset.h - the rows that differ as a changeset of SQLite's session extension, for sqlite3changeset_apply().
 *
 * A changeset holds rows of tables that have a primary key, and no schema. What cannot be in one is named and nothing
 * is written: half of the difference would look like all of it. */
#ifndef BOUGH_COMPARE_CHANGESET_H
#define BOUGH_COMPARE_CHANGESET_H

#include "compare.h"

#include <stdio.h>

struct bough__changeset {
    FILE *file;
    sqlite3 *from, *to;
    const struct bough__schema_changes *schema;
    const struct bough__tables *tables; /* as found by bough__tables_compare(); shadow tables are written as tables */
    const char *only_table;             /* NULL: all */
};

/* Returns a result of SQLite, as in compare.h. SQLITE_MISMATCH: *out_refusal, allocated, says what a changeset cannot
 * hold; what the file has got by then is to be thrown away. */
int bough__changeset_write(const struct bough__changeset *changeset, char **out_refusal, sqlite3 **out_failed);

#endif
