/* migrate.c - the public functions: which way a target goes. */
#include "migrate.h"

#include "branch.h"
#include "forks.h"
#include "report.h"
#include "table.h"

#include <string.h>

static int check_target(const bough_migration_target *target)
{
    if (target->store ? !target->branch : !target->connection)
        return bough__migrate_fail(BOUGH_USAGE, "there is nothing to migrate: neither a connection nor a branch");
    return BOUGH_OK;
}

int bough__migrate(bough_migration_run *out, const bough_migration_target *target,
                   const struct bough__migrations *defined, const bough_migrate_options *options)
{
    int rc = check_target(target);

    memset(out, 0, sizeof *out);
    if (rc == BOUGH_OK)
        rc = target->store ? bough__migrate_branch(out, target, defined, options)
                           : bough__migrate_connection(out, target->connection, defined, options);
    if (rc != BOUGH_OK)
        bough_migration_run_release(out);
    return rc;
}

int bough__migrate_status(bough_migration_list *out, const bough_migration_target *target,
                          const struct bough__migrations *defined, const bough_migrate_options *options)
{
    struct bough__migrations applied = {0};
    sqlite3 *branch = NULL;
    int rc = check_target(target);

    memset(out, 0, sizeof *out);
    if (rc == BOUGH_OK && target->store)
        rc = bough__state_open(&branch, target->store, target->branch);
    if (rc == BOUGH_OK)
        rc = bough__applied_read(&applied, branch ? branch : target->connection, options->table);
    if (rc == BOUGH_OK)
        rc = bough__status_make(out, &applied, defined);
    bough__migrations_release(&applied);
    sqlite3_close(branch);
    return rc;
}

static const bough_migrate_options defaults = BOUGH_MIGRATE_OPTIONS_INIT;

int bough_migrate(bough_migration_run *out, const bough_migration_target *target, const bough_migration *defined,
                  size_t count, const bough_migrate_options *options)
{
    struct bough__migrations list = {0};
    int rc = bough__migrations_take(&list, defined, count);

    memset(out, 0, sizeof *out);
    if (rc == BOUGH_OK)
        rc = bough__migrate(out, target, &list, options ? options : &defaults);
    bough__migrations_release(&list);
    return rc;
}

int bough_migration_status(bough_migration_list *out, const bough_migration_target *target,
                           const bough_migration *defined, size_t count, const bough_migrate_options *options)
{
    struct bough__migrations list = {0};
    int rc = bough__migrations_take(&list, defined, count);

    memset(out, 0, sizeof *out);
    if (rc == BOUGH_OK)
        rc = bough__migrate_status(out, target, &list, options ? options : &defaults);
    bough__migrations_release(&list);
    return rc;
}
