/* checksum.h - has a migration changed? Two checksums over its SQL: of every byte, and of what SQLite would read. */
#ifndef BOUGH_MIGRATE_CHECKSUM_H
#define BOUGH_MIGRATE_CHECKSUM_H

#include "migration.h"

/* Fills `exact` from up, down and the kind of the migration. */
int bough__checksum_fill(struct bough__migration *migration);
/* The one that leaves out comments and white space between tokens, and takes CRLF for LF everywhere. Cutting all SQL
 * into tokens takes longer than all else that a status needs of a file, so it is made where `exact` is not enough. */
int bough__checksum_loose(char out[BOUGH__CHECKSUM_SIZE], const struct bough__migration *migration);

#endif
