/* cmd_commit.c - bough commit: seals a branch's newest transaction. */
#include "commands.h"

static void print(struct cli *cli, const bough_sealed *sealed)
{
    char id[OUT_TEXT_SIZE] = "";

    cli_print_sealed(cli, sealed);
    out_short_id(id, sealed->id);
    if (sealed->changed)
        cli_say(cli, "branch %s: commit %s", sealed->branch, id);
    else
        cli_say(cli, "branch %s: nothing to commit, it is at %s", sealed->branch, id);
}

static int run(struct cli *cli)
{
    bough_options options = cli_options(cli, NULL);
    bough_sealed sealed = {0};
    const char *name = NULL;
    int rc = cli_open(cli);

    options.message = cli_value(cli, "message");
    if (rc == BOUGH_OK)
        rc = cli_branch_or_current(cli, &name, cli_operand(cli, 0));
    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_commit_create(&sealed, cli->store, name, &options));
    if (rc == BOUGH_OK)
        print(cli, &sealed);
    bough_sealed_release(&sealed);
    return rc;
}

static const struct cli_option option_table[] = {
    {'m', "message", "MSG", "what the commit is about"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_commit = {
    .name = "commit",
    .aliases = "snapshot",
    .group = "History",
    .summary = "seal a branch's newest transaction as a commit",
    .usage = "[NAME] [-m MSG]",
    .details =
        "Makes an immutable, content-addressed state of the branch, the current one by default. Without changes it "
        "says so and makes nothing.",
    .example = "bough commit premium -m 'benefits added'\ncommits what was written to premium",
    .options = option_table,
    .operands_min = 0,
    .operands_max = 1,
    .completes = "BRANCH",
    .run = run,
};
