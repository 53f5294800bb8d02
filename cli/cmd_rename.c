/* cmd_rename.c - bough rename: gives a branch another name. */
#include "commands.h"

#include <string.h>

static int run(struct cli *cli)
{
    const char *old_name = cli_operand(cli, 0);
    const char *new_name = cli_operand(cli, 1);
    bough_branches branches = {NULL, 0};
    bool is_own = false;
    int rc = cli_open(cli);

    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_branch_rename(&branches, cli->store, &old_name, &new_name, 1));
    cli_mark_current(cli, &branches);
    is_own = cli->worktree.branch && !strcmp(cli->worktree.branch, old_name);
    if (rc == BOUGH_OK && is_own)
        worktree_set_branch(&cli->worktree, new_name); /* what fails leaves the worktree without a current branch */
    if (rc == BOUGH_OK && !cli_print_branches(cli, &branches))
        cli_say(cli, "branch %s: renamed to %s", old_name, new_name);
    bough_branches_release(&branches);
    return rc;
}

const struct cli_command cmd_rename = {
    .name = "rename",
    .aliases = "",
    .group = "Branches",
    .summary = "give a branch another name",
    .usage = "OLD NEW",
    .details = "Commits, children and the place as current branch stay with the branch.",
    .example = "bough rename premium premium-v2\nrenames the branch premium",
    .operands_min = 2,
    .operands_max = 2,
    .completes = "BRANCH",
    .run = run,
};
