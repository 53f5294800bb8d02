/* carry.h - what is stored of migrations that stay, when the database goes back to an older state.
 *
 * `from` is the database before it went back, `to` the older state; `without` are the migrations that the way back has
 * undone. What `from` has stored of all others is to be stored in `to`, and nothing else. */
#ifndef BOUGH_MIGRATE_CARRY_H
#define BOUGH_MIGRATE_CARRY_H

#include "migration.h"

/* Is it already? */
int bough__carry_check(bool *out_is_there, sqlite3 *from, sqlite3 *to, const char *table,
                       struct bough__migration *const *without, size_t count);
/* In a transaction of its own, and none where it is. */
int bough__carry(sqlite3 *from, sqlite3 *to, const char *table, struct bough__migration *const *without, size_t count);

#endif
