/* keys.h - keys of rows of tables without rowids: taken from the file's pages, put in order by SQLite, to look the rows
 * up again. */
#ifndef BOUGH_COMPARE_KEYS_H
#define BOUGH_COMPARE_KEYS_H

#include "btree.h"

/* In such a table a row is a record that begins with the columns of the key, in the key's order. */
struct bough__keys {
    uint8_t *bytes; /* of each: 4 bytes for a length, and the record up to the key's last column */
    size_t len, capacity;
    size_t count;
    uint32_t column_count; /* of a key */
    uint32_t encoding;     /* of text: SQLITE_UTF8, SQLITE_UTF16LE or SQLITE_UTF16BE */
};

/* Takes the key of a row. BOUGH__BTREE_STOPPED: there are too many bytes of them. */
int bough__keys_add(struct bough__keys *keys, struct bough__btrees *trees, const struct bough__cell *cell);
void bough__keys_release(struct bough__keys *keys);

struct bough__rows;
/* Those of rows->keys, each once, in the order of a walk, in a database of its own. Returns a result of SQLite. */
int bough__keys_sort(sqlite3 **out, const struct bough__rows *rows);
/* A statement whose rows are the keys. */
int bough__keys_read(sqlite3_stmt **out, sqlite3 *sorted, const struct bough__rows *rows);

#endif
