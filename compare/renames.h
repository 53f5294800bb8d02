/* renames.h - tables that got another name, and columns of them, too. */
#ifndef BOUGH_COMPARE_RENAMES_H
#define BOUGH_COMPARE_RENAMES_H

#include "compare.h"

/* Makes one change of a removed and an added table where only one such pair is possible: all columns of the removed one
 * are columns of the other, renamed ones recognised (see columns.h), more only behind them, and the rows speak for it.
 * Returns a result of SQLite, as in compare.h. */
int bough__renames_find(struct bough__schema_changes *changes, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to);

#endif
