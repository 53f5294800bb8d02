/* version.h - versions: digits at the start of a file's name, and the number in the database that they stand for. */
#ifndef BOUGH_MIGRATE_VERSION_H
#define BOUGH_MIGRATE_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOUGH__VERSION_SIZE 24

/* 14 digits (YYYYMMDDHHMMSS) or 17 (with milliseconds) that form a time in UTC are that time in milliseconds since
 * 1970; any others are the integer itself. False: no digits, or no 64-bit integer. */
bool bough__version_parse(int64_t *out_ms, const char *digits, size_t length);
/* Digits for a number that came without any: a time, when it is 1e11 or more, as 14 digits, or 17 when it has
 * milliseconds; else the integer. */
void bough__version_format(char out[BOUGH__VERSION_SIZE], int64_t defined_at_ms);

#endif
