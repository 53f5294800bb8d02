/* cmd_export.c - bough export: a state as a plain SQLite file. */
#include "commands.h"

#include <sys/stat.h>

static void print(struct cli *cli, const bough_transfer *transfer, const char *ref)
{
    char size[OUT_TEXT_SIZE] = "";

    if (cli->json)
        cli_json_transfer(transfer);
    else if (cli->quiet)
        puts(transfer->path);
    cli_say(cli, "%s: %s written (%s)", transfer->path, ref, out_size(size, transfer->size_bytes));
}

static int run(struct cli *cli)
{
    const char *ref = cli_operand(cli, 0);
    bough_transfer transfer = {0};
    struct stat info = {0};
    int rc = cli_open(cli);

    if (rc == BOUGH_OK) {
        bough_options options = cli_options(cli, "exporting");

        options.force = cli_has(cli, "force");
        rc = cli_check(cli, bough_export(&transfer, cli->store, ref, cli_operand(cli, 1), &options));
        cli_work_end(cli);
    }
    if (rc == BOUGH_REFUSED && !cli_has(cli, "force") && stat(cli_operand(cli, 1), &info) == 0 && S_ISREG(info.st_mode))
        cli_hint(cli, "--force overwrites the file");
    if (rc == BOUGH_OK)
        print(cli, &transfer, ref);
    bough_transfer_release(&transfer);
    return rc;
}

static const struct cli_option option_table[] = {
    {'f', "force", NULL, "overwrite FILE.db; a live database is locked through SQLite first"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_export = {
    .name = "export",
    .aliases = "",
    .group = "Stores and files",
    .summary = "write a state as a plain SQLite file",
    .usage = "REF FILE.db [--force]",
    .details = "Writes a plain SQLite file, byte-identical to the state that REF names. An existing file is not "
               "overwritten without --force, and no half-written file is left behind.",
    .example = "bough export premium premium.db\nwrites the branch premium to a file of its own",
    .options = option_table,
    .operands_min = 2,
    .operands_max = 2,
    .completes = "REF FILE",
    .run = run,
};
