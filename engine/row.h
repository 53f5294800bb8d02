/* row.h - rows of the catalog apart from SQLite: their checksums. (Their structs are in catalog.h.)
 *
 * sum = XXH3 (seed 0) of the row's canonical encoding: one byte for the table ('b', 'c', 'm', 't', 's'), then the
 * columns in the table's order without the sum: an integer as 8 bytes, a text or blob as its length in 4 bytes and its
 * bytes, NULL as the length 0xffffffff; integers little-endian. Stored as a signed 64-bit integer.
 */
#ifndef BOUGH_ENGINE_ROW_H
#define BOUGH_ENGINE_ROW_H

#include "catalog.h"

int bough__branch_row_sum(int64_t *out, const struct bough__branch_row *row);
int bough__commit_row_sum(int64_t *out, const struct bough__commit_row *row);
int bough__tag_row_sum(int64_t *out, const struct bough__tag_row *row);
int bough__move_row_sum(int64_t *out, const struct bough__move_row *row);
int bough__setting_sum(int64_t *out, const char *key, const char *value);

#endif
