/* cmd_migrate.h - what the verbs of bough migrate share: the target, the directory, what was told meanwhile. */
#ifndef BOUGH_CLI_CMD_MIGRATE_H
#define BOUGH_CLI_CMD_MIGRATE_H

#include "cli.h"
#include "database.h"
#include "files.h"
#include "migrate.h"
#include "report.h"

struct migrate_lines {
    char **items;
    size_t count;
};

struct migrate {
    struct cli *cli;
    const char *verb;
    bough_migration_target target;
    const char *branch; /* NULL: a file */
    char *label;        /* what lines call the target: "branch main", "shop.db" */
    sqlite3 *file;      /* of --db; in a transaction on a branch, a connection to that */
    struct bough__migrations defined;
    enum bough__convention convention;
    bough_migrate_options options;
    struct migrate_lines warnings, violations;
};

const char *migrate_directory(const struct migrate *migrate);
/* Reads the directory. */
int migrate_read(struct migrate *migrate);
/* Opens what -b or --db names: for a file target.connection, for a branch target.store and target.branch. */
int migrate_open(struct migrate *migrate);
/* A result of the migrator's, with its message and what belongs to it. */
int migrate_check(struct migrate *migrate, int rc);
/* A write transaction on the file or branch: work, COMMIT; or ROLLBACK. Returns the result of the first that fails. Of
 * a branch it becomes a commit of the machine with this message; out_id: its head, "" of a file. */
int migrate_in_transaction(char out_id[BOUGH_ID_SIZE], struct migrate *migrate, const char *message,
                           int (*work)(struct migrate *migrate, void *context), void *context);

/* The member "branch", null for a file. */
void migrate_json_branch(const struct migrate *migrate, struct json *json);
/* A member that is an array of {"version","name"}. */
void migrate_json_steps(struct json *json, const char *key, const bough_migration_step *steps, size_t count);
/* The member "commit": null for "". */
void migrate_json_commit(struct json *json, const char *id);
/* What a run did, or would do. */
void migrate_print_run(struct migrate *migrate, const bough_migration_run *run);

/* Each verb, in a file of its own: cmd_migrate_VERB.c. */
int migrate_run(struct migrate *migrate); /* sync, up, down, to, redo */
int migrate_status(struct migrate *migrate);
int migrate_new(struct migrate *migrate);
int migrate_undo(struct migrate *migrate);
int migrate_check_verb(struct migrate *migrate);
int migrate_repair(struct migrate *migrate);
int migrate_adopt(struct migrate *migrate);
int migrate_dump(struct migrate *migrate);

#endif
