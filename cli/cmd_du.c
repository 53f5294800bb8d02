/* cmd_du.c - bough du: bytes of branches and of the store. */
#include "commands.h"

static void print_json(const bough_usage *usage)
{
    struct json json = {stdout, false};

    json_open(&json, '{');
    json_put_uint(&json, "store_bytes", usage->store_bytes);
    json_key(&json, "branches");
    json_open(&json, '[');
    for (size_t i = 0; i < usage->branch_count; i++) {
        json_open(&json, '{');
        json_put_string(&json, "name", usage->branches[i].name);
        json_put_uint(&json, "own_bytes", usage->branches[i].own_bytes);
        json_put_uint(&json, "shared_bytes", usage->branches[i].shared_bytes);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
    cli_json_end(&json);
}

static void print_table(const bough_usage *usage)
{
    static const char *const titles[] = {"OWN", "SHARED", "BRANCH", NULL};
    struct out_table table = OUT_TABLE(3, 1 << 0 | 1 << 1);
    char text[OUT_TEXT_SIZE] = "";

    out_row(&table, titles);
    for (size_t i = 0; i < usage->branch_count; i++) {
        out_cell(&table, "%s", out_size(text, usage->branches[i].own_bytes));
        out_cell(&table, "%s", out_size(text, usage->branches[i].shared_bytes));
        out_cell(&table, "%s", usage->branches[i].name);
    }
    out_cell(&table, "%s", out_size(text, usage->store_bytes));
    out_cell(&table, "%s", "");
    out_cell(&table, "%s", "(the store on disk)");
    out_table_print(stdout, &table);
    out_table_release(&table);
}

static int run(struct cli *cli)
{
    bough_usage usage = {0};
    int rc = cli_open(cli);

    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_disk_usage(&usage, cli->store));
    if (rc == BOUGH_OK && cli->json)
        print_json(&usage);
    else if (rc == BOUGH_OK && !cli->quiet)
        print_table(&usage);
    for (size_t i = 0; rc == BOUGH_OK && cli->quiet && !cli->json && i < usage.branch_count; i++)
        puts(usage.branches[i].name);
    bough_usage_release(&usage);
    return rc;
}

const struct cli_command cmd_du = {
    .name = "du",
    .aliases = "",
    .group = "Stores and files",
    .summary = "show the bytes of branches and of the store",
    .usage = "",
    .details = "OWN is what a branch alone holds, SHARED what it has in common with others.",
    .example = "bough du\nlists the branches with their bytes",
    .operands_min = 0,
    .operands_max = 0,
    .completes = "",
    .run = run,
};
