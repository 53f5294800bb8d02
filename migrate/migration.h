/* migration.h - one migration, as a file or a program defines it or as a database has it stored; and lists of them.
 *
 * Strings in these structs are allocated with sqlite3_malloc. */
#ifndef BOUGH_MIGRATE_MIGRATION_H
#define BOUGH_MIGRATE_MIGRATION_H

#include "bough_migrate.h"

#define BOUGH__CHECKSUM_SIZE 65 /* hex digits and a zero */

/* Where text came from: what stands at `offset` and after begins line `line` of its origin. */
struct bough__text_mark {
    size_t offset;
    unsigned line;
};

/* SQL with its place in the world. */
struct bough__sql_text {
    char *sql;                      /* NULL: there is none */
    char *origin;                   /* what messages call it: the path of a file, or words */
    struct bough__text_mark *marks; /* ascending; none: the text is the whole of its origin */
    size_t mark_count;
    bool is_bare; /* runs outside a transaction */
};

struct bough__migration {
    int64_t defined_at_ms;
    char *version;     /* digits */
    char *name;        /* "" when none */
    char *description; /* or NULL */
    struct bough__sql_text up, down;
    bool is_ephemeral;
    bool is_deferred; /* up and down are queries whose rows are the SQL; or build makes it */
    bough_migration_build *build;
    void *build_context;
    /* Over up and down as they were defined, for a deferred one the queries: of every byte. */
    char exact[BOUGH__CHECKSUM_SIZE];
    /* Of a stored one: */
    char loose[BOUGH__CHECKSUM_SIZE]; /* of the tokens alone */
    int64_t applied_at_ms;
    int64_t ordinal;      /* order of application, from 1; no two are equal */
    bool is_foreign;      /* another program stored it: its kind is not known, nor the checksums of its file */
};

struct bough__migrations {
    struct bough__migration *items; /* in ascending order of defined_at_ms */
    size_t count, capacity;
};

/* Takes over the contents of migration, which is empty after it, also when there was no memory. */
int bough__migrations_add(struct bough__migrations *list, struct bough__migration *migration);
/* Sorts; BOUGH_USAGE when two have one defined_at_ms, with both origins in the message. */
int bough__migrations_sort(struct bough__migrations *list);
/* What a program defined. BOUGH_USAGE: not in ascending order. */
int bough__migrations_take(struct bough__migrations *out, const bough_migration *defined, size_t count);
/* The one with this defined_at_ms, or NULL. */
struct bough__migration *bough__migrations_find(const struct bough__migrations *list, int64_t defined_at_ms);
/* Is it the same migration, whatever its SQL is? */
bool bough__migration_is_same(const struct bough__migration *a, const struct bough__migration *b);
/* Is it one that runs at every sync? applied and defined are the same migration; one of them may be NULL. */
bool bough__migration_acts_ephemeral(const struct bough__migration *applied, const struct bough__migration *defined);
/* The same migration with other SQL, or of another kind. */
bool bough__migration_has_changed(const struct bough__migration *applied, const struct bough__migration *defined);

int bough__sql_text_mark(struct bough__sql_text *text, size_t offset, unsigned line);
/* Appends a piece that begins at `line` of the origin. */
int bough__sql_text_append(struct bough__sql_text *text, const char *bytes, size_t len_bytes, unsigned line);
/* The line of its origin that the offset stands in. */
unsigned bough__sql_text_line(const struct bough__sql_text *text, size_t offset);
void bough__sql_text_release(struct bough__sql_text *text);
void bough__migration_release(struct bough__migration *migration);
void bough__migrations_release(struct bough__migrations *list);

#endif
