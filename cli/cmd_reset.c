/* cmd_reset.c - bough reset: puts a branch back to a state. */
#include "commands.h"

static void print(struct cli *cli, const bough_sealed *sealed)
{
    char id[OUT_TEXT_SIZE] = "";
    char left[OUT_TEXT_SIZE] = "";

    cli_print_sealed(cli, sealed);
    out_short_id(id, sealed->id);
    if (!sealed->changed)
        cli_say(cli, "branch %s: nothing to reset, it is at %s", sealed->branch, id);
    else if (!sealed->left[0])
        cli_say(cli, "branch %s: reset to %s, what it held is discarded", sealed->branch, id);
    else
        cli_say(cli, "branch %s: reset to %s, what it held is commit %s", sealed->branch, id,
                out_short_id(left, sealed->left));
}

static int run(struct cli *cli)
{
    bough_options options = cli_options(cli, NULL);
    bough_sealed sealed = {0};
    int rc = cli_open(cli);

    options.discard = cli_has(cli, "discard");
    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_branch_reset(&sealed, cli->store, cli_operand(cli, 0), cli_value(cli, "to"),
                                               &options));
    if (rc == BOUGH_OK)
        print(cli, &sealed);
    bough_sealed_release(&sealed);
    return rc;
}

static const struct cli_option option_table[] = {
    {0, "to", "REF", "the state; the branch's base by default"},
    {0, "discard", NULL, "do not commit what the branch holds now"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_reset = {
    .name = "reset",
    .aliases = "",
    .group = "Branches",
    .summary = "put a branch back to a state",
    .usage = "NAME [--to REF] [--discard]",
    .details =
        "The branch takes REF's state, by default that of the commit that it was forked from. What it holds now is "
        "committed first, and that commit's id is printed, unless --discard is given. Programs that have the branch "
        "open see the new state in their next transaction. The base stays what it was.",
    .example = "bough reset premium --to premium~1\ntakes back what came after the commit before the last",
    .options = option_table,
    .operands_min = 1,
    .operands_max = 1,
    .completes = "BRANCH",
    .run = run,
};
