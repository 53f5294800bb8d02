/* cmd_delete.c - bough delete: drops branches with their overlays. */
#include "commands.h"

#include <stdlib.h>
#include <string.h>

/* The operands without those that stand there twice. */
static size_t distinct_names(const struct cli *cli, const char **names)
{
    size_t count = 0;

    for (size_t i = 0; i < cli->operand_count; i++) {
        size_t known = 0;

        while (known < count && strcmp(names[known], cli->operands[i]) != 0)
            known++;
        if (known == count)
            names[count++] = cli->operands[i];
    }
    return count;
}

static void print(struct cli *cli, const bough_branches *branches)
{
    char id[OUT_TEXT_SIZE] = "";
    char own[OUT_TEXT_SIZE] = "";

    if (cli_print_branches(cli, branches))
        return;
    for (size_t i = 0; i < branches->count; i++)
        cli_say(cli, "branch %s: deleted, it was at %s and had %s of its own", branches->items[i].name,
                out_short_id(id, branches->items[i].head), out_size(own, branches->items[i].own_bytes));
}

static int run(struct cli *cli)
{
    bough_options options = cli_options(cli, NULL);
    const char **names = out_alloc(cli->operand_count * sizeof names[0]);
    size_t count = distinct_names(cli, names);
    bough_branches branches = {NULL, 0};
    int rc = cli_open(cli);

    options.force = cli_has(cli, "force");
    options.recursive = cli_has(cli, "recursive");
    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_branch_delete(&branches, cli->store, names, count, &options));
    cli_mark_current(cli, &branches);
    if (rc == BOUGH_OK)
        print(cli, &branches);
    bough_branches_release(&branches);
    free(names);
    return rc;
}

static const struct cli_option option_table[] = {
    {'r', "recursive", NULL, "delete all descendants too"},
    {'f', "force", NULL, "delete although another process has it open; a protected branch stays"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_delete = {
    .name = "delete",
    .aliases = "drop rm",
    .group = "Branches",
    .summary = "drop branches and what they wrote",
    .usage = "NAME... [-r] [-f]",
    .details =
        "Drops the branches and their overlays: all of them or none. A branch is refused while it has children "
        "(without -r), is protected, or is open in another process (without -f). Commits stay in the log of whoever "
        "needs them.",
    .example = "bough delete -r premium\ndrops premium and every branch forked from it",
    .options = option_table,
    .operands_min = 1,
    .operands_max = CLI_MANY,
    .completes = "BRANCH",
    .run = run,
};
