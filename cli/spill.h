/* spill.h - output that is held back until all of it is known to be good: in memory up to a bound, then in an unlinked
 * temporary file. */
#ifndef BOUGH_CLI_SPILL_H
#define BOUGH_CLI_SPILL_H

#include <stdbool.h>
#include <stdio.h>

struct spill;

/* *out_stream is what to write to; NULL: no memory. */
struct spill *spill_open(FILE **out_stream);
/* Copies everything to `to`. False: what was written could not be kept, or read again. */
bool spill_copy(struct spill *spill, FILE *to);
void spill_close(struct spill *spill);

#endif
