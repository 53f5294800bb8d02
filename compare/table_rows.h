/* table_rows.h - the rows that differ between two tables, one in each of two databases.
 *
 * Both tables are read once, in one order, and merged: by primary key where both declare the same, by rowid where they
 * are virtual tables, else as multisets of whole rows. A rowid that no column names is no part of a row, since VACUUM
 * may change it. Memory does not grow with the tables; what must be sorted SQLite sorts. */
#ifndef BOUGH_COMPARE_TABLE_ROWS_H
#define BOUGH_COMPARE_TABLE_ROWS_H

#include "compare.h"
#include "values.h"

struct bough__column {
    char *name, *from_name; /* in `to` and in `from`; the same where it is on one side alone */
    char *from_value;       /* a literal that stands for a column that `from` does not have, or NULL */
    const char *collation;  /* of a key column: what makes keys equal */
    bool is_own_collation;  /* the column itself has that one */
};

/* A table on one or both sides. Columns are those that are stored on both sides, generated ones left out; those of the
 * key come first. `to` and `from` are NULL where the table is not there. */
struct bough__rows {
    sqlite3 *from, *to;
    const char *from_name, *to_name; /* borrowed */
    struct bough__column *columns;
    size_t count, key_count; /* key_count 0: multisets */
    bool key_may_be_null;    /* rows with such a key are compared whole */
    bool has_unique;         /* another UNIQUE index than the key's */
    bool is_virtual, is_without_rowid;
    bool needs_bytes;  /* BINARY would not be one order on both sides */
    const char *rowid; /* a name that means the rowid in both, or NULL */
    bool key_is_rowid;
    bool is_stored_alike;               /* what the same bytes mean is the same on both sides */
    const struct bough__ranges *ranges; /* borrowed; NULL: all rows are read, or those with `keys` */
    const struct bough__keys *keys;     /* borrowed, or NULL */
};

/* A result of SQLite other than SQLITE_OK ends the walk. Column i of a statement is columns[i]; `from` is NULL for an
 * added row and `to` for a removed one. */
typedef int (*bough__row_callback)(void *context, enum bough_change change, sqlite3_stmt *from, sqlite3_stmt *to);

struct bough__row_counts {
    uint64_t added, removed, changed;
    uint64_t read; /* on both sides */
};

/* The functions return a result of SQLite; *out_failed is then the connection that has the message (NULL: none has).
 * A name that is NULL means that the table is not on that side. */
int bough__rows_open(struct bough__rows *out, sqlite3 **out_failed, sqlite3 *from, const char *from_name, sqlite3 *to,
                     const char *to_name);
/* Reads no more than it must: `change` is what bough__tables_compare() says of the table, NULL: nothing. Kept until the
 * release. To count a table's rows cheaply: open, narrow, walk without a callback. */
void bough__rows_narrow(struct bough__rows *rows, const struct bough__table_pages *change);
int bough__rows_walk(struct bough__row_counts *out, sqlite3 **out_failed, const struct bough__rows *rows,
                     bough__row_callback callback, void *context); /* callback may be NULL */
/* A column of `to` that is compared with a literal. Returns a result of SQLite. */
int bough__rows_add_column(struct bough__rows *rows, const char *name, const char *from_value);
void bough__rows_release(struct bough__rows *rows);

/* A collation of the key's as ORDER BY needs it. */
const char *bough__rows_collation(const struct bough__rows *rows, const char *collation);
/* Is a column of the key NULL in this row? */
bool bough__rows_key_is_null(const struct bough__rows *rows, sqlite3_stmt *row);

#endif
