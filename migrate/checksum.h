/* checksum.h - has a migration changed? Two checksums over its SQL: of every byte, and of what SQLite would read. */
#ifndef BOUGH_MIGRATE_CHECKSUM_H
#define BOUGH_MIGRATE_CHECKSUM_H

#include "migration.h"

/* Fills `exact` and `loose` from up, down and the kind of the migration. The second leaves out comments and white space
 * between tokens, and takes CRLF for LF everywhere. */
int bough__checksum_fill(struct bough__migration *migration);

#endif
