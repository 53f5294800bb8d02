/* cmd_promote.c - bough promote: a branch takes the state of another one. */
#include "commands.h"

static void print(struct cli *cli, const char *name, const bough_sealed *sealed)
{
    char id[OUT_TEXT_SIZE] = "";
    char left[OUT_TEXT_SIZE] = "";

    cli_print_sealed(cli, sealed);
    out_short_id(id, sealed->id);
    if (sealed->changed)
        cli_say(cli, "branch %s: takes the state of %s, commit %s; what it held is commit %s", sealed->branch, name, id,
                out_short_id(left, sealed->left));
    else
        cli_say(cli, "branch %s: has the state of %s already, commit %s", sealed->branch, name, id);
}

static int run(struct cli *cli)
{
    bough_options options = cli_options(cli, NULL);
    bough_sealed sealed = {0};
    int rc = cli_open(cli);

    options.force = cli_has(cli, "force");
    options.message = cli_value(cli, "message");
    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_branch_promote(&sealed, cli->store, cli_operand(cli, 0), cli_value(cli, "onto"),
                                                 &options));
    if (rc == BOUGH_OK)
        print(cli, cli_operand(cli, 0), &sealed);
    bough_sealed_release(&sealed);
    return rc;
}

static const struct cli_option option_table[] = {
    {0, "onto", "BRANCH", "the branch that takes the state; the parent of NAME by default"},
    {'f', "force", NULL, "although BRANCH has moved since the fork; a protected branch stays"},
    {'m', "message", "MSG", "message of the commits that this needs"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_promote = {
    .name = "promote",
    .aliases = "",
    .group = "Branches",
    .summary = "let a branch take the state of another one",
    .usage = "NAME [--onto BRANCH] [--force] [-m MSG]",
    .details =
        "BRANCH, by default the parent of NAME, takes the state of NAME. Refused when BRANCH has moved since NAME was "
        "forked from it, unless --force, which joins both histories. What BRANCH held is committed first, and that "
        "commit's id is printed. Programs that have BRANCH open see the new state in their next transaction. NAME "
        "goes on from there and can be promoted again.",
    .example = "bough promote premium\nmain takes what was tried on premium",
    .options = option_table,
    .operands_min = 1,
    .operands_max = 1,
    .completes = "BRANCH",
    .run = run,
};
