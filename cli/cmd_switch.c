/* cmd_switch.c - bough switch: chooses the current branch. */
#include "commands.h"

static int run(struct cli *cli)
{
    const char *name = cli_operand(cli, 0);
    bough_branches branches = {NULL, 0};
    int rc = cli_open(cli);

    if (rc == BOUGH_OK)
        rc = cli_switch(cli, &branches, name);
    if (rc == BOUGH_OK && !cli_print_branches(cli, &branches)) {
        cli_say(cli, "branch %s: now the current branch%s", name, cli->worktree.own ? " of this worktree" : "");
        if (cli->branch_override)
            cli_say(cli, "here $BOUGH_BRANCH makes it %s", cli->branch_override);
    }
    bough_branches_release(&branches);
    return rc;
}

const struct cli_command cmd_switch = {
    .name = "switch",
    .aliases = "checkout",
    .group = "Branches",
    .summary = "make a branch the current one",
    .usage = "NAME",
    .details =
        "The current branch is the one that commands mean when they name none. $BOUGH_BRANCH overrides it. A linked "
        "git worktree that bough git install set up has a current branch of its own, and that one is set.",
    .example = "bough switch premium\nmakes premium the current branch",
    .operands_min = 1,
    .operands_max = 1,
    .completes = "BRANCH",
    .run = run,
};
