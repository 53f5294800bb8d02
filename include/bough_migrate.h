/* bough_migrate.h - migrations of a SQLite database that store in the database how they are undone.
 *
 * What is applied is read from the database, what is defined comes from the program. Both are walked in ascending order
 * up to the last migration that they have in common; what is applied after it is rolled back with the SQL that the
 * database stored, so that code may take back migrations that it never heard of; then what is defined after it is
 * applied and stored. All of it happens or none of it. docs/migrations.md explains it.
 *
 * The conventions of bough.h hold. The functions are in libbough, not in the extension bough.so: they need the SQLite
 * that libbough is linked to. */
#ifndef BOUGH_MIGRATE_H
#define BOUGH_MIGRATE_H

#include "bough.h"

#include <sqlite3.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The SQL of a deferred migration, made by looking into the database at the moment of applying it, before `up` runs.
 * *out_up and *out_down are allocated with sqlite3_malloc (sqlite3_mprintf, for example) and become the migrator's;
 * NULL in *out_down: there is no way back. The connection may be read; it is inside the run's transaction, if there is
 * one. A result other than BOUGH_OK ends the run with that code; bough_error_set() gives it a message. */
typedef int bough_migration_build(void *context, sqlite3 *db, char **out_up, char **out_down);

/* One migration that the program defines. Fields that are zero mean "none". */
typedef struct bough_migration {
    int64_t defined_at_ms;        /* identity, with the name: milliseconds since 1970 UTC, or any number that orders */
    const char *name;             /* NULL and "" are the same name */
    const char *description;
    const char *up, *down;        /* SQL, any number of statements; down NULL: there is no way back */
    bool ephemeral;               /* settings of a session: stored once, run by every sync, last; never rolled back */
    bool up_outside_transaction;  /* for VACUUM and some PRAGMAs; with a plain connection needs options->not_atomic */
    bool down_outside_transaction;
    bough_migration_build *build; /* a deferred migration: makes the SQL; up and down are then not looked at */
    void *build_context;
} bough_migration;

/* What to do with a migration that is older than one applied already, when all that is applied is still defined. */
enum bough_late {
    BOUGH_LATE_APPLY,  /* apply it after the newer ones */
    BOUGH_LATE_REWIND, /* roll the newer ones back first, and apply them again */
    BOUGH_LATE_REFUSE, /* BOUGH_REFUSED */
};

enum bough_migrate_action {
    BOUGH_MIGRATE_SYNC, /* the database becomes what is defined */
    BOUGH_MIGRATE_UP,   /* applies the next options->limit pending migrations (0: all); missing ones stay */
    BOUGH_MIGRATE_DOWN, /* rolls back the options->limit last applied ones (0: one) */
    BOUGH_MIGRATE_TO,   /* all up to options->version_ms applied, all after it rolled back */
    BOUGH_MIGRATE_REDO, /* rolls back the oldest changed migration (else the last one) and all since, applies again */
};

/* What a run tells while it works. */
enum bough_migrate_event {
    BOUGH_MIGRATE_ROLLED_BACK, /* one migration: "VERSION NAME" */
    BOUGH_MIGRATE_APPLIED,     /* the same */
    BOUGH_MIGRATE_WARNING,     /* a late or a changed migration: a sentence */
    BOUGH_MIGRATE_VIOLATION,   /* a new violation of a foreign key, one call each, before the run fails: a sentence */
};
typedef void bough_migrate_log(void *context, enum bough_migrate_event event, const char *text);

/* Start with BOUGH_MIGRATE_OPTIONS_INIT; NULL means the same. */
typedef struct bough_migrate_options {
    uint32_t struct_size;             /* set by the initialiser */
    enum bough_migrate_action action;
    size_t limit;                     /* of UP and DOWN */
    int64_t version_ms;               /* of TO: a defined_at_ms; BOUGH_NOT_FOUND when neither applied nor defined */
    enum bough_late late;
    bool not_atomic;                  /* a transaction for each migration instead of one for all */
    bool strict;                      /* on a branch: rows that a migration removes are an error */
    bool dry_run;                     /* find out what would be done, and do nothing */
    const char *table;                /* where migrations are stored; NULL: "migrations" */
    bough_migrate_log *log;           /* or NULL */
    void *log_context;
} bough_migrate_options;
#define BOUGH_MIGRATE_OPTIONS_INIT                                                                                     \
    {sizeof(bough_migrate_options), BOUGH_MIGRATE_SYNC, 0, 0, BOUGH_LATE_APPLY, false, false, false, NULL, NULL,       \
     NULL}

/* What to migrate: a connection to any SQLite database, or a branch of a store. With a branch, `connection` is one to
 * this branch, on which ephemeral migrations run, or NULL. */
typedef struct bough_migration_target {
    sqlite3 *connection;
    bough_store *store;         /* NULL: the database of the connection, as an ordinary one */
    const char *branch;
} bough_migration_target;

/* One migration that a run rolled back or applied. */
typedef struct bough_migration_step {
    int64_t defined_at_ms;
    char *version;              /* the digits as a file's name has them, else 14 or 17 digits of the time */
    char *name;                 /* "" when there is none */
} bough_migration_step;

/* What a run did, in the order in which it was done. */
typedef struct bough_migration_run {
    bough_migration_step *rolled_back, *applied;
    size_t rolled_back_count, applied_count;
    bool by_overlay;            /* all that was rolled back was so by dropping what was written since */
    char commit[BOUGH_ID_SIZE]; /* the branch's head after the run; "" for a connection */
} bough_migration_run;
BOUGH_EXPORT void bough_migration_run_release(bough_migration_run *run);

/* Migrates the target. BOUGH_REFUSED, before anything is touched: the connection has a transaction or a statement open;
 * a table of another shape has the migrations' name; with a connection, a migration runs outside a transaction (without
 * options->not_atomic); one has to be rolled back and there is no way; options->late. BOUGH_USAGE: the defined ones are
 * not in ascending order, or two have one defined_at_ms. BOUGH_SQL: a statement failed, or foreign keys are violated
 * that were not before; the message names migration, line and statement. After any error the database is as it was;
 * with a connection and options->not_atomic as after the last migration that was done.
 *
 * foreign_keys is off while migrations run and put back after. A connection has another authorizer meanwhile and none
 * after: set your own one again.
 *
 * Ephemeral migrations run at the very end, when all else is committed, on the connection (with a branch and none, on
 * one that is closed then). They are tried before, in a transaction that is rolled back, and one that fails there fails
 * the run as a whole, with BOUGH_SQL. What no transaction allows (some PRAGMAs, VACUUM), or with a branch what needs a
 * function of the connection's, shows only at the end: then the rest stays done. */
BOUGH_EXPORT int bough_migrate(bough_migration_run *out, const bough_migration_target *target,
                               const bough_migration *defined, size_t count, const bough_migrate_options *options);

enum bough_migration_state {
    BOUGH_MIGRATION_APPLIED,
    BOUGH_MIGRATION_PENDING, /* defined, not applied */
    BOUGH_MIGRATION_MISSING, /* applied, not defined */
    BOUGH_MIGRATION_CHANGED, /* applied, with other SQL than what is defined; comments and white space aside */
};
typedef struct bough_migration_entry {
    int64_t defined_at_ms;
    int64_t applied_at_ms;      /* 0: not applied */
    char *version, *name;       /* as in bough_migration_step */
    char *description;          /* NULL: none */
    enum bough_migration_state state;
    bool ephemeral;
} bough_migration_entry;
typedef struct bough_migration_list {
    bough_migration_entry *items; /* in the order of versions */
    size_t count;
    bool in_step;               /* all of them are applied */
} bough_migration_list;
BOUGH_EXPORT void bough_migration_list_release(bough_migration_list *list);
/* Compares what is defined with what is applied; changes nothing. Of options only `table` counts. */
BOUGH_EXPORT int bough_migration_status(bough_migration_list *out, const bough_migration_target *target,
                                        const bough_migration *defined, size_t count,
                                        const bough_migrate_options *options);

#ifdef __cplusplus
}
#endif
#endif
