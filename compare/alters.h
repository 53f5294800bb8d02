/* alters.h - which differences between two schemas ALTER TABLE makes: columns renamed, columns added at the end. */
#ifndef BOUGH_COMPARE_ALTERS_H
#define BOUGH_COMPARE_ALTERS_H

#include "compare.h"

/* Columns that a table gets, and what its rows have there then, as literals. */
struct bough__added_columns {
    char *table; /* in `to` */
    struct bough__names names, values;
};
struct bough__alters {
    struct bough__names statements; /* to run on `from` before anything else, legacy_alter_table on */
    bool *made; /* parallel to the schema's changes: then it is as `to` has it, a renamed table but for its name where
                   * these do not rename it */
    bool renames_tables; /* they do; else that is left to the caller, for tables that are made but for their name */
    struct bough__added_columns *added;
    size_t added_count;
};

/* Tried on an empty copy of the schema of `from`. Returns a result of SQLite, as in compare.h. `wanted` false: finds
 * none. */
int bough__alters_find(struct bough__alters *out, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                       const struct bough__schema_changes *schema, bool wanted);
void bough__alters_release(struct bough__alters *alters);

#endif
