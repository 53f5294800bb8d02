/* branch.h - migrating a branch of a store. */
#ifndef BOUGH_MIGRATE_BRANCH_H
#define BOUGH_MIGRATE_BRANCH_H

#include "migration.h"

/* The part of bough__migrate() for a branch. */
int bough__migrate_branch(bough_migration_run *out, const bough_migration_target *target,
                          const struct bough__migrations *defined, const bough_migrate_options *options);

/* Puts a branch back to the state before the last run, exactly; what it has now stays in its history. Migrations that
 * are not applied any more are out->rolled_back, those that are again out->applied. Of options: table, dry_run. A run
 * that was undone does not count again. BOUGH_NOT_FOUND: there is no run, or gc gave its state before back. */
int bough__migrate_undo(bough_migration_run *out, bough_store *store, const char *branch,
                        const bough_migrate_options *options);

/* In the record of moves: a run's note begins with this; an undo's is the second. */
#define BOUGH__RUN_NOTE "migrate "
#define BOUGH__UNDO_NOTE "migrate undo"

#endif
