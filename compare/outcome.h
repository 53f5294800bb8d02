/* outcome.h - what one database is against another: schema, tables with other rows, and whether it is sound. */
#ifndef BOUGH_COMPARE_OUTCOME_H
#define BOUGH_COMPARE_OUTCOME_H

#include "compare.h"
#include "table_rows.h"

/* A table that was added, removed or renamed, or that has other SQL or other rows. */
struct bough__table_outcome {
    char *name;
    char *old_name; /* of a renamed one, else NULL */
    enum bough_change change;
    bool has_other_sql;
    struct bough__names old_columns, new_columns; /* the renamed ones, in pairs */
    bool is_counted; /* false: a virtual table that this SQLite cannot read */
    struct bough__row_counts counts;
};

struct bough__outcome {
    struct bough__schema_changes schema;
    struct bough__tables contents;       /* where rows may differ */
    struct bough__table_outcome *tables; /* in the order of names */
    size_t table_count;
};

/* `pages` as in bough__tables_compare(). With only_table (NULL: all) the rows of no other table are read and counted;
 * the schema's changes are those of the whole. Returns a result of SQLite, as in compare.h. */
int bough__outcome_compare(struct bough__outcome *out, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                           const struct bough__pages *pages, const char *only_table);
/* The rows that were counted, to be walked once more; kept until `outcome` is released. */
int bough__outcome_open_rows(struct bough__rows *out, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                             const struct bough__outcome *outcome, const struct bough__table_outcome *table);
bool bough__table_outcome_has_rows(const struct bough__table_outcome *table); /* that differ, or may */
void bough__outcome_release(struct bough__outcome *outcome);

/* ---- checks ---- */

struct bough__checks {
    char *integrity; /* "ok", or the first line that integrity_check says; NULL: not checked */
    bool violations_known;
    uint64_t violations;        /* of foreign keys */
    char *violations_error;     /* why foreign_key_check failed, or NULL */
    struct bough__names broken; /* "view NAME", "trigger NAME": those of `to` that SQLite cannot compile any more */
};

/* What a check may cost, so that it does not take longer than the change that it is about. */
struct bough__check_limits {
    uint64_t database_bytes; /* up to this size the whole database is checked */
    uint64_t tables_bytes;   /* beyond, the tables that changed with their indexes, up to this size together */
    uint64_t steps;          /* and foreign keys from and to these, for so many steps of SQLite's machine */
};
#define BOUGH__CHECK_LIMITS_DEFAULT                                                                                    \
    {                                                                                                                  \
        UINT64_C(128) << 20, UINT64_C(4) << 20, 20000                                                                 \
    }
#define BOUGH__CHECK_LIMITS_NONE                                                                                       \
    {                                                                                                                  \
        UINT64_MAX, UINT64_MAX, UINT64_MAX                                                                             \
    }

int bough__checks_run(struct bough__checks *out, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                      const struct bough__outcome *outcome, const struct bough__check_limits *limits);
void bough__checks_release(struct bough__checks *checks);

#endif
