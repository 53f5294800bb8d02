/* cmd_migrate_undo.c - bough migrate undo: back to the state before the last run. A file has none to go back to. */
#include "branch.h"
#include "cmd_migrate.h"

int migrate_undo(struct migrate *migrate)
{
    bough_migration_run run = {0};
    int rc = BOUGH_OK;

    if (migrate->file)
        return cli_fail(migrate->cli, BOUGH_USAGE, "migrate undo works on branches: a file keeps no earlier state");
    rc = migrate_check(migrate, bough__migrate_undo(&run, migrate->cli->store, migrate->branch, &migrate->options));
    if (rc == BOUGH_OK)
        migrate_print_run(migrate, &run);
    bough_migration_run_release(&run);
    return rc;
}
