/* columns.h - the columns of one table in two databases: which of them are the same one.
 *
 * Columns of one name are. Of the others, those that stand in the same place between the same neighbours, and are
 * declared alike, are one renamed column; unless the rows speak against it, because one holds nothing but its default
 * and the other does not: then a column was dropped and another added. */
#ifndef BOUGH_COMPARE_COLUMNS_H
#define BOUGH_COMPARE_COLUMNS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

#define BOUGH__NO_COLUMN ((size_t)-1)

struct bough__table_column {
    char *name;
    char *stored;      /* what decides how it is stored: type, default, place in the key, generated or not */
    char *default_sql; /* NULL: none */
    size_t key_place;  /* from 1 on; 0: not in the primary key */
    bool is_not_null;
    bool is_hidden; /* generated, or hidden in a virtual table: not among the values of INSERT */
    size_t partner; /* the column of the other table, or BOUGH__NO_COLUMN */
};

/* In the table's order. */
struct bough__columns {
    struct bough__table_column *items;
    size_t count;
};

/* These return a result of SQLite; the message is that of the connection in hand. */
int bough__columns_read(struct bough__columns *out, sqlite3 *handle, const char *table);
void bough__columns_release(struct bough__columns *columns);

struct bough__columns_side {
    struct bough__columns *columns;
    sqlite3 *handle;
    const char *table;
};
/* Finds the partners, on both sides; *out_failed is the connection that has the message. */
int bough__columns_match(sqlite3 **out_failed, const struct bough__columns_side *from,
                         const struct bough__columns_side *to);

#endif
