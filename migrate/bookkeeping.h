/* bookkeeping.h - do two states of a store differ in what the migrator keeps for itself, and in nothing else? */
#ifndef BOUGH_MIGRATE_BOOKKEEPING_H
#define BOUGH_MIGRATE_BOOKKEEPING_H

#include <sqlite3.h>
#include <stdbool.h>

/* Connections to states of one store through the VFS "bough", without a transaction. In doubt the answer is no. The
 * cost follows the pages that differ, up to a bound. */
int bough__bookkeeping_only(bool *out, sqlite3 *from, sqlite3 *to, const char *table);

#endif
