/* run.h - what a run did or would do, as the caller gets it, and what the log hears of it. */
#ifndef BOUGH_MIGRATE_RUN_H
#define BOUGH_MIGRATE_RUN_H

#include "plan.h"

/* Adds what was done; the log hears of it. */
int bough__run_add_rolled_back(bough_migration_run *run, const struct bough__migration *migration,
                               const bough_migrate_options *options);
int bough__run_add_applied(bough_migration_run *run, const struct bough__migration *migration,
                           const bough_migrate_options *options);
/* Fills a run with all that the plan would do: a dry run. */
int bough__run_fill(bough_migration_run *run, const struct bough__plan *plan);

void bough__run_log(const bough_migrate_options *options, enum bough_migrate_event event, const char *text);
/* Warnings of late and of changed migrations. */
void bough__run_warn(const struct bough__plan *plan, const bough_migrate_options *options);

#endif
