/* sql_lines.h - the SQL of a table or index in lines, and which lines differ between two of them. */
#ifndef BOUGH_CLI_SQL_LINES_H
#define BOUGH_CLI_SQL_LINES_H

#include <stddef.h>

struct sql_lines {
    char **items;
    size_t count;
};

/* One line for each column or constraint where the SQL is CREATE TABLE on one line, as ALTER TABLE leaves it; else the
 * lines that it has. NULL has none. */
struct sql_lines sql_lines_of(const char *sql);
void sql_lines_release(struct sql_lines *lines);

/* Called for each line of both in order: ' ' for one that both have, '-' and '+' for those of one side. */
typedef void sql_lines_callback(void *context, char sign, const char *line);
void sql_lines_diff(const struct sql_lines *from, const struct sql_lines *to, sql_lines_callback *callback,
                    void *context);

#endif
