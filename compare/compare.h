/* compare.h - what differs between two SQLite databases, each open in a connection of its own.
 *
 * This layer knows SQLite's SQL and nothing of stores: what it compares may be branches or plain files. The connections
 * must stay on one state while a call runs; whoever opens them begins a read transaction on both. */
#ifndef BOUGH_COMPARE_COMPARE_H
#define BOUGH_COMPARE_COMPARE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
 * whose SQL is the same but for the name are one renamed object, where only one such pair is possible.
 * Returns a result of SQLite; *out_failed is then the connection that has the message (NULL: no memory). */
int bough__schema_compare(struct bough__schema_changes *out, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to);
void bough__schema_changes_drop(struct bough__schema_changes *changes, size_t at);
void bough__schema_changes_release(struct bough__schema_changes *changes);

/* A set of page numbers, from 1 on. */
struct bough__pages {
    uint64_t *words;
    size_t word_count;
};
bool bough__pages_add(struct bough__pages *pages, uint64_t page); /* false: no memory */
bool bough__pages_has(const struct bough__pages *pages, uint64_t page);
void bough__pages_release(struct bough__pages *pages);

/* Names, allocated. */
struct bough__names {
    char **items;
    size_t count;
};
bool bough__names_add(struct bough__names *names, const char *name); /* false: no memory */
void bough__names_release(struct bough__names *names);

/* The tables that both databases have under one name and that hold something else in `to`, in the order of names:
 * those with another root page, or with a page among `pages`, the pages of `to` that are not the same in `from`. A
 * table whose pages moved counts although its rows are equal. *out_known is false where this SQLite has no dbstat
 * table to tell; then nothing is listed. */
int bough__tables_compare(struct bough__names *out, bool *out_known, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                          const struct bough__pages *pages);

/* A virtual table stands for its shadow tables: takes them out of both lists and puts it into `contents` for them. */
int bough__shadows_fold(struct bough__schema_changes *schema, struct bough__names *contents, sqlite3 **out_failed,
                        sqlite3 *from, sqlite3 *to);

#endif
