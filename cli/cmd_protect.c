/* cmd_protect.c - bough protect and bough unprotect. */
#include "commands.h"

static int set_protection(struct cli *cli, bool is_protected)
{
    const char *name = cli_operand(cli, 0);
    bough_branches branches = {NULL, 0};
    int rc = cli_open(cli);

    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_branch_protect(&branches, cli->store, name, is_protected));
    cli_mark_current(cli, &branches);
    if (rc == BOUGH_OK && !cli_print_branches(cli, &branches))
        cli_say(cli, is_protected ? "branch %s: protected" : "branch %s: no longer protected", name);
    bough_branches_release(&branches);
    return rc;
}

static int run_protect(struct cli *cli)
{
    return set_protection(cli, true);
}

static int run_unprotect(struct cli *cli)
{
    return set_protection(cli, false);
}

const struct cli_command cmd_protect = {
    .name = "protect",
    .aliases = "",
    .group = "Branches",
    .summary = "refuse writes to a branch",
    .usage = "NAME",
    .details = "A protected branch refuses writes, reset and delete. Reading and forking go on.",
    .example = "bough protect main\nkeeps main as it is",
    .operands_min = 1,
    .operands_max = 1,
    .completes = "BRANCH",
    .run = run_protect,
};

const struct cli_command cmd_unprotect = {
    .name = "unprotect",
    .aliases = "",
    .group = "Branches",
    .summary = "allow writes to a branch again",
    .usage = "NAME",
    .details = "Takes back what bough protect did.",
    .example = "bough unprotect main\nlets main be written again",
    .operands_min = 1,
    .operands_max = 1,
    .completes = "BRANCH",
    .run = run_unprotect,
};
