/* files.h - the migrations that a directory defines. */
#ifndef BOUGH_MIGRATE_FILES_H
#define BOUGH_MIGRATE_FILES_H

#include "migration.h"
#include "sections.h"

/* All migrations of the directory, in ascending order, with checksums. Files that do not end in .sql, and hidden ones,
 * are none. BOUGH_NOT_FOUND: no such directory. BOUGH_USAGE: a name without a version, two files with one version, a
 * down without an up, or what bough__sections_parse() finds. */
int bough__migrations_read(struct bough__migrations *out, enum bough__convention *out_convention,
                           const char *directory);

/* A new migration file (of pairs: two) of this second, in the convention of the directory, made when it is not there.
 * out_paths has one or two paths, allocated with sqlite3_malloc. */
int bough__migration_create(char *out_paths[2], char out_version[24], const char *directory, const char *name,
                            int64_t now_ms);

#endif
