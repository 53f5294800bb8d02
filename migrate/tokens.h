/* tokens.h - SQL as SQLite's tokenizer cuts it, which no public function of SQLite's does. Nothing is parsed here. */
#ifndef BOUGH_MIGRATE_TOKENS_H
#define BOUGH_MIGRATE_TOKENS_H

#include <stddef.h>

/* The first byte after white space and comments. */
const char *bough__token_start(const char *sql);
/* The length of the token that begins there: a word, a number, a quoted string or name, else one character. */
size_t bough__token_length(const char *token);

#endif
