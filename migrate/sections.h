/* sections.h - from the text of a migration file to up and down, in each of three conventions. */
#ifndef BOUGH_MIGRATE_SECTIONS_H
#define BOUGH_MIGRATE_SECTIONS_H

#include "migration.h"

enum bough__file_kind {
    BOUGH__FILE_WHOLE, /* VERSION_NAME.sql: sections; without any directive it is all up */
    BOUGH__FILE_UP,    /* VERSION_NAME.up.sql */
    BOUGH__FILE_DOWN,  /* VERSION_NAME.down.sql */
};

enum bough__convention {
    BOUGH__CONVENTION_NONE, /* no file has told yet */
    BOUGH__CONVENTION_DBMATE,
    BOUGH__CONVENTION_PAIRS,
    BOUGH__CONVENTION_GOOSE,
};

/* Puts sections and the words before the first of them into the migration. BOUGH_USAGE, with file and line: a directive
 * that nobody knows, a section that is missing or stands there twice, SQL before the first section. */
int bough__sections_parse(struct bough__migration *out, enum bough__convention *out_convention, const char *path,
                          const char *text, size_t len_bytes, enum bough__file_kind kind);

#endif
