/* migrate.h - a run of the migrator over a list of definitions: what bough_migrate() and the command line share. */
#ifndef BOUGH_MIGRATE_MIGRATE_H
#define BOUGH_MIGRATE_MIGRATE_H

#include "plan.h"

/* As bough_migrate() and bough_migration_status(), with definitions that were read already. options is not NULL. */
int bough__migrate(bough_migration_run *out, const bough_migration_target *target,
                   const struct bough__migrations *defined, const bough_migrate_options *options);
int bough__migrate_status(bough_migration_list *out, const bough_migration_target *target,
                          const struct bough__migrations *defined, const bough_migrate_options *options);

/* The part of bough__migrate() for a connection alone. */
int bough__migrate_connection(bough_migration_run *out, sqlite3 *db, const struct bough__migrations *defined,
                              const bough_migrate_options *options);

/* The stored migration of this version takes the SQL of the defined one, which is not run. Inside a transaction of the
 * caller's. BOUGH_NOT_FOUND: not applied, or not defined. */
int bough__repair(bough_migration_step *out, sqlite3 *db, const char *table, const struct bough__migrations *defined,
                  int64_t version_ms);

#endif
