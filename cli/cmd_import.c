/* cmd_import.c - bough import: a file's bytes become a branch's next commit. */
#include "commands.h"

static void print(struct cli *cli, const bough_transfer *transfer, const char *file)
{
    char size[OUT_TEXT_SIZE] = "";
    char id[OUT_TEXT_SIZE] = "";

    if (cli->json)
        cli_json_transfer(transfer);
    else if (cli->quiet)
        puts(transfer->id);
    out_size(size, transfer->size_bytes);
    out_short_id(id, transfer->id);
    if (transfer->changed)
        cli_say(cli, "branch %s: %s (%s) imported as commit %s", transfer->branch, file, size, id);
    else
        cli_say(cli, "branch %s: nothing to import, %s equals commit %s", transfer->branch, file, id);
}

static int run(struct cli *cli)
{
    const char *file = cli_operand(cli, 0);
    const char *branch = NULL;
    bough_transfer transfer = {0};
    int rc = cli_open(cli);

    if (rc == BOUGH_OK)
        rc = cli_branch_or_current(cli, &branch, cli_value(cli, "branch"));
    if (rc == BOUGH_OK) {
        bough_options options = cli_options(cli, "importing");

        options.message = cli_value(cli, "message");
        rc = cli_check(cli, bough_import(&transfer, cli->store, branch, file, &options));
        cli_work_end(cli);
    }
    if (rc == BOUGH_OK)
        print(cli, &transfer, file);
    bough_transfer_release(&transfer);
    return rc;
}

static const struct cli_option option_table[] = {
    {'b', "branch", "BRANCH", "the branch; the current one by default"},
    {'m', "message", "MSG", "message of the commit"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_import = {
    .name = "import",
    .aliases = "",
    .group = "Stores and files",
    .summary = "make a file's bytes the next commit of a branch",
    .usage = "FILE.db [-b BRANCH] [-m MSG]",
    .details =
        "The bytes of FILE.db become the branch's next commit; transactions that are not committed are committed "
        "first. Pages that did not change cost nothing. Equal bytes make no commit.",
    .example = "bough import tonight.db -b main -m 'nightly dump'\nmakes main what tonight.db holds",
    .options = option_table,
    .operands_min = 1,
    .operands_max = 1,
    .completes = "FILE",
    .run = run,
};
