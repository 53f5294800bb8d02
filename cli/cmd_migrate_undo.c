/* cmd_migrate_undo.c - bough migrate undo: back to the state before the last run. A file has none to go back to. */
#include "cmd_migrate.h"

int migrate_undo(struct migrate *migrate)
{
    if (migrate->file)
        return cli_fail(migrate->cli, BOUGH_USAGE, "migrate undo works on branches: a file keeps no earlier state");
    return cli_fail(migrate->cli, BOUGH_USAGE, "migrate undo is not available in bough " BOUGH_VERSION);
}
