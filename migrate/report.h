/* report.h - failures of the migrator: a code, and a message that names the place. */
#ifndef BOUGH_MIGRATE_REPORT_H
#define BOUGH_MIGRATE_REPORT_H

#include "migration.h"

/* Sets this thread's message and returns code. SQLite's %q, %Q, %w and %z may be used in the format. */
int bough__migrate_fail(int code, const char *format, ...);
int bough__migrate_fail_memory(void);
/* For a result of SQLite that is none of a migration's statements: the code that fits it, and the connection's message
 * after `what`. */
int bough__migrate_fail_sqlite(sqlite3 *db, int sqlite_code, const char *what);
/* For a statement of a migration: origin, line, what is wrong, and the beginning of the statement. `at` is where in the
 * text the statement begins, error_offset where in the statement the fault is (negative: not known). */
int bough__migrate_fail_place(int code, const struct bough__sql_text *text, size_t at, int error_offset,
                              const char *format, ...);
/* The BOUGH_ code for a result of SQLite. */
int bough__migrate_code(int sqlite_code);

#endif
