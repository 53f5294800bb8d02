/* added_columns.h - what ALTER TABLE … ADD COLUMN needs to be told, and what it puts into rows. */
#ifndef BOUGH_COMPARE_ADDED_COLUMNS_H
#define BOUGH_COMPARE_ADDED_COLUMNS_H

#include "sets.h"

/* The definitions of `count` columns that the text of a CREATE TABLE has gained. *out stays empty where it has gained
 * anything else. Returns a result of SQLite. */
int bough__added_definitions(struct bough__names *out, const char *before, const char *after, size_t count);
/* What rows that are there get in the new column, as a literal, to be freed; "" in a generated one; NULL: a table with
 * rows cannot get it. Returns a result of SQLite. */
int bough__added_value(char **out, const char *definition, const char *name, bool is_generated);

#endif
