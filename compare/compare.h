/* compare.h - what differs between two SQLite databases, each open in a connection of its own.
 *
 * This layer knows SQLite's SQL and nothing of stores: what it compares may be branches or plain files. The connections
 * must stay on one state while a call runs; whoever opens them begins a read transaction on both. */
#ifndef BOUGH_COMPARE_COMPARE_H
#define BOUGH_COMPARE_COMPARE_H

#include "keys.h"
#include "sets.h"

enum bough_change {
    BOUGH_ADDED,
    BOUGH_REMOVED,
    BOUGH_CHANGED,
    BOUGH_RENAMED,
};
/* "added", "removed", "changed", "renamed" */
const char *bough__change_name(enum bough_change change);

/* A table, index, view or trigger whose SQL differs. Objects that SQLite makes by itself (sqlite_*) are left out. */
struct bough__schema_change {
    enum bough_change change;
    char *type;              /* "table", "index", "view", "trigger" */
    char *name;              /* in `to`; of a removed one in `from` */
    char *table;             /* the table it belongs to, on the same side */
    char *old_name;          /* of a renamed one in `from`, else NULL */
    char *from_sql, *to_sql; /* NULL where it does not exist */
};
struct bough__schema_changes {
    struct bough__schema_change *items;
    size_t count;
};

/* Tables first, then indexes, views, triggers, each in the order of names. A removed and an added object of one type
 * whose SQL is the same but for the name are one renamed object, where only one such pair is possible; and so are
 * tables whose columns were renamed, too.
 * Returns a result of SQLite; *out_failed is then the connection that has the message (NULL: no memory). */
int bough__schema_compare(struct bough__schema_changes *out, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to);
/* What follows the name in a CREATE statement. */
const char *bough__schema_body(const char *sql, const char *type);
/* Does the change belong to this table, under its old name or its new one? Yes for every change when it is NULL. */
bool bough__schema_change_concerns(const struct bough__schema_changes *changes,
                                   const struct bough__schema_change *change, const char *table);
void bough__schema_changes_drop(struct bough__schema_changes *changes, size_t at);
void bough__schema_changes_release(struct bough__schema_changes *changes);

/* A table that both databases have and whose rows may differ. */
struct bough__table_pages {
    char *name, *from_name; /* in `to` and in `from` */
    char *owner;            /* of a shadow table: the virtual table, which then is in the list too; else NULL */
    bool is_virtual;
    bool is_narrow; /* rows that differ have rowids in `ranges`, or keys in `keys`; else they may be anywhere */
    struct bough__ranges ranges;
    struct bough__keys keys; /* of a table without rowids */
};
struct bough__tables {
    struct bough__table_pages *items;
    size_t count;
    uint64_t pages_read; /* to find out */
};

/* Which tables hold other rows, and where, told from pages: `pages` are those that are not the same on both sides,
 * wherever one side has them. Tables of one name or recognised as renamed, in the order of names in `to`; all that have
 * another SQL are among them. A table whose pages moved counts although its rows are equal. */
int bough__tables_compare(struct bough__tables *out, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                          const struct bough__schema_changes *schema, const struct bough__pages *pages);
/* By its name in `to`; NULL: not in the list. */
const struct bough__table_pages *bough__tables_find(const struct bough__tables *changes, const char *name);
void bough__tables_release(struct bough__tables *changes);

/* A virtual table stands for its shadow tables: takes them out of the schema's changes and puts it among the
 * tables, which keep them, marked. */
int bough__shadows_fold(struct bough__schema_changes *schema, struct bough__tables *tables, sqlite3 **out_failed,
                        sqlite3 *from, sqlite3 *to);

#endif
