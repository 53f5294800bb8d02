/* statements.h - scripts of SQL as text: reading them, and where their statements begin and end. */
#ifndef BOUGH_CLI_STATEMENTS_H
#define BOUGH_CLI_STATEMENTS_H

#include "cli.h"

/* All that can be read from fd; a zero that ends it stands at *out_length. `what` names it in messages. */
int statements_read(struct cli *cli, char **out, size_t *out_length, int fd, const char *what);
/* The script in a file, checked. BOUGH_NOT_FOUND: no such file. */
int statements_read_file(struct cli *cli, char **out, const char *path);
/* Refuses a text with a zero byte, and blanks a byte order mark at its beginning. */
int statements_check(struct cli *cli, char *text, size_t length, const char *what);

/* The first byte of a statement, after white space and comments; the end of the text when none follows. */
const char *statements_next(const char *text);
/* The end of the statement that begins here: behind its semicolon, or the end of the text. */
const char *statements_end(const char *statement);
/* The line that place stands in, from 1. */
size_t statements_line(const char *text, const char *place);
/* A statement without its semicolon; malloc'ed. */
char *statements_copy(const char *begin, const char *end);
/* A statement on one line, white space made one space; malloc'ed. */
char *statements_one_line(const char *text);

#endif
