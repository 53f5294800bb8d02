/* differences.h - is one database what another one was? */
#ifndef BOUGH_MIGRATE_DIFFERENCES_H
#define BOUGH_MIGRATE_DIFFERENCES_H

#include "migration.h"

/* *out is NULL when schema and rows are equal, else a sentence, allocated with sqlite3_malloc. The migrator's tables do
 * not count, nor do white space, comments and the quotes of names in the schema. */
int bough__differences_describe(char **out, sqlite3 *before, sqlite3 *after, const char *table);

#endif
