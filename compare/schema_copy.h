/* schema_copy.h - a schema made once more in memory, without rows, to see what statements make of it. */
#ifndef BOUGH_COMPARE_SCHEMA_COPY_H
#define BOUGH_COMPARE_SCHEMA_COPY_H

#include <sqlite3.h>
#include <stdbool.h>

/* Tables, indexes, views and triggers of `from`. *out_is_whole tells whether it has become what it should; a schema may
 * be such that it cannot. The caller closes *out, also after a failure. Returns a result of SQLite. */
int bough__schema_copy_open(sqlite3 **out, bool *out_is_whole, sqlite3 **out_failed, sqlite3 *from);
/* The text of an object, to be freed; NULL: it is not there. */
int bough__schema_copy_text(char **out, sqlite3 *copy, const char *type, const char *name);
/* Is an object there, with this text? */
int bough__schema_copy_has(bool *out, sqlite3 *copy, const char *type, const char *name, const char *sql);
/* Is the object one that SQLite keeps for itself? */
bool bough__is_of_sqlite(const char *name);

#endif
