/* random_sql.h - SQL from a seed: statements over a handful of tables, for all the ways in which SQLite writes. */
#ifndef BOUGH_TESTS_RANDOM_SQL_H
#define BOUGH_TESTS_RANDOM_SQL_H

#include "harness.h"

#include <stddef.h>

struct random_sql {
    struct harness_random random;
    unsigned page_size; /* values larger than a page are made from it */
};

#define RANDOM_SQL_SIZE 4096

/* What every history begins with. */
const char *random_sql_schema(void);
/* The next statement (or a few, separated by semicolons). */
void random_sql_next(char out[RANDOM_SQL_SIZE], struct random_sql *state);
/* A question about the whole database, whose answer is long. */
void random_sql_question(char out[RANDOM_SQL_SIZE], struct random_sql *state);

#endif
