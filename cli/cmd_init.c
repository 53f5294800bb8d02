/* cmd_init.c - bough init: a store made from a database file, or an empty one. */
#include "commands.h"

#include <stdlib.h>

static int page_size(struct cli *cli, uint32_t *out)
{
    const char *text = cli_value(cli, "page-size");
    uint64_t value = 0;
    int rc = BOUGH_OK;

    *out = 0;
    if (!text)
        return BOUGH_OK;
    rc = cli_number(cli, &value, text, "--page-size", 512, 65536);
    if (rc == BOUGH_OK && (value & (value - 1)) != 0)
        rc = cli_fail(cli, BOUGH_USAGE, "--page-size takes a power of two from 512 to 65536, not '%s'", text);
    *out = (uint32_t)value;
    return rc;
}

static void print(struct cli *cli, const bough_transfer *transfer, const char *file)
{
    char size[OUT_TEXT_SIZE] = "";
    char id[OUT_TEXT_SIZE] = "";

    if (cli->json) {
        cli_json_transfer(transfer);
        return;
    }
    if (cli->quiet)
        puts(transfer->path);
    out_size(size, transfer->size_bytes);
    out_short_id(id, transfer->id);
    if (file)
        cli_say(cli, "%s: branch %s holds %s (%s) as commit %s", transfer->path, transfer->branch, file, size, id);
    else
        cli_say(cli, "%s: branch %s is an empty database, commit %s", transfer->path, transfer->branch, id);
}

static int run(struct cli *cli)
{
    const char *path = cli_operand(cli, 0);
    const char *chosen = cli->store_option;
    const char *set = getenv("BOUGH_STORE");
    bool empty = cli_has(cli, "empty");
    bough_transfer transfer = {0};
    bough_options options = cli_options(cli, NULL);
    uint32_t size = 0;
    int rc = page_size(cli, &size);

    if (rc != BOUGH_OK)
        return rc;
    if (!empty && cli_has(cli, "page-size"))
        return cli_fail(cli, BOUGH_USAGE, "--page-size goes with --empty; a file keeps its own page size");
    if (empty && path && chosen)
        return cli_fail(cli, BOUGH_USAGE, "init --empty takes the store's path or --store, not both");
    if (!path && !(empty && chosen))
        return cli_fail(cli, BOUGH_USAGE, empty ? "init --empty needs the path of the store" : "init needs a FILE.db");
    if (!chosen && set && set[0])
        chosen = set;
    options = cli_options(cli, "initialising");
    options.page_size = size;
    if (empty)
        rc = bough_store_init_empty(&transfer, path ? path : chosen, &options);
    else
        rc = bough_store_init(&transfer, path, chosen, &options);
    rc = cli_check(cli, rc);
    cli_work_end(cli);
    if (rc == BOUGH_OK)
        print(cli, &transfer, empty ? NULL : path);
    bough_transfer_release(&transfer);
    return rc;
}

static const struct cli_option option_table[] = {
    {0, "empty", NULL, "make a store whose main is an empty database"},
    {0, "page-size", "N", "with --empty: the page size, a power of two from 512 to 65536"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_init = {
    .name = "init",
    .aliases = "",
    .group = "Stores and files",
    .summary = "make a store from a database file",
    .usage = "FILE.db [--store PATH]\n--empty PATH.bough [--page-size N]",
    .details =
        "Makes a store whose branch main holds a byte-identical, committed copy of FILE.db. The store stands beside "
        "the file: shop.db gives shop.bough. --store PATH, or else $BOUGH_STORE, puts it elsewhere.\n\n"
        "The file is opened read-only and never changed. What is copied is the state that a finished checkpoint or "
        "a rollback of a hot journal would leave. The store appears whole or not at all.",
    .example = "bough init shop.db\nmakes shop.bough with the branch main",
    .options = option_table,
    .operands_min = 0,
    .operands_max = 1,
    .completes = "FILE",
    .run = run,
};
