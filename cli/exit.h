/* exit.h - the exit statuses of the program and the words that --json uses for them. Scripts rely on both. */
#ifndef BOUGH_CLI_EXIT_H
#define BOUGH_CLI_EXIT_H

/* name, status, error.code under --json, text of the manual */
#define CLI_EXITS(X)                                                                                                   \
    X(EXIT_DONE, 0, "", "done")                                                                                        \
    X(EXIT_NO, 1, "no", "the answer is no: differences under diff --exit-code")                                        \
    X(EXIT_USAGE, 2, "usage", "wrong usage")                                                                           \
    X(EXIT_NOT_FOUND, 3, "not_found", "not found")                                                                     \
    X(EXIT_REFUSED, 4, "refused", "refused: exists, protected, has children, read-only state")                         \
    X(EXIT_BUSY, 5, "busy", "busy: another writer or opener is in the way")                                            \
    X(EXIT_CORRUPT, 6, "corrupt", "damaged store, or bytes that are no SQLite database")                               \
    X(EXIT_IO, 7, "io", "input/output error, no permission, full disk or no memory")                                   \
    X(EXIT_SQL, 8, "sql", "SQL error")

enum cli_exit {
#define X(name, status, code, text) name = status,
    CLI_EXITS(X)
#undef X
};

/* The exit status of a BOUGH_ code, and the word for a status. */
enum cli_exit cli_exit_of(int code);
const char *cli_exit_word(enum cli_exit status);

#endif
