/* queries.h - one query in two databases: what it costs, what SQLite plans, and whether the plan got worse. */
#ifndef BOUGH_COMPARE_QUERIES_H
#define BOUGH_COMPARE_QUERIES_H

#include "compare.h"

/* The query in one database. What SQLite refuses is told in `error`; everything else is then unknown. */
struct bough__query_run {
    char *error;    /* SQLite's message, or NULL */
    char *plan;     /* the lines of EXPLAIN QUERY PLAN, two spaces deeper where one belongs to another */
    double seconds; /* the median of a few runs after one that fills the cache; negative: unknown */
    uint64_t rows;
};

/* Runs one statement. *out_reads is false, and nothing was run, where it would write. Returns a result of SQLite other
 * than SQLITE_OK only where the database cannot be read, SQLite was interrupted, or memory ran out. */
int bough__query_run(struct bough__query_run *out, bool *out_reads, sqlite3 *handle, const char *sql);
void bough__query_run_release(struct bough__query_run *run);

/* What is worse in `plan` than in `base_plan`, one reason a line, or "". NULL: no memory. A plan is worse where
 *  - a table that was searched is scanned,
 *  - a table is read from a covering index no more,
 *  - an index is made for each run that was not made before (an automatic index),
 *  - rows are sorted, grouped or made distinct in a temporary b-tree that was not needed before. */
char *bough__plan_worse(const char *base_plan, const char *plan);

#endif
