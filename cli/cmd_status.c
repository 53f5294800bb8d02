/* cmd_status.c - bough status: one branch and who has it open. */
#include "commands.h"

#include <inttypes.h>

static void print_json(const bough_status *status)
{
    struct json json = {stdout, false};

    json_open(&json, '{');
    cli_json_branch(&json, &status->branch.items[0]);
    json_put_uint(&json, "changed_pages", status->changed_pages);
    json_key(&json, "open_by");
    json_open(&json, '[');
    for (size_t i = 0; i < status->open_by_count; i++)
        json_int(&json, status->open_by[i]);
    json_close(&json, ']');
    json_key(&json, "oldest_reader_seconds");
    if (status->oldest_reader_seconds < 0)
        json_null(&json);
    else
        json_int(&json, status->oldest_reader_seconds);
    json_close(&json, '}');
    cli_json_end(&json);
}

static void add_state(struct out_table *table, const bough_status *status)
{
    const bough_branch *branch = &status->branch.items[0];
    char text[OUT_TEXT_SIZE] = "";

    if (branch->dirty && status->uncommitted_transactions)
        out_cell(table, "%" PRIu64 " transaction%s not committed", status->uncommitted_transactions,
                 status->uncommitted_transactions == 1 ? "" : "s");
    else
        out_cell(table, branch->dirty ? "transactions not committed" : "clean");
    out_cell(table, "changed");
    out_cell(table, "%" PRIu64 " page%s since the base", status->changed_pages, status->changed_pages == 1 ? "" : "s");
    out_cell(table, "own");
    out_cell(table, "%s", out_size(text, branch->own_bytes));
    out_cell(table, "size");
    out_cell(table, "%s", out_size(text, branch->size_bytes));
    if (branch->is_protected) {
        out_cell(table, "protected");
        out_cell(table, "yes");
    }
    if (branch->expires_at_ms) {
        out_cell(table, "expires");
        out_cell(table, "%s", out_time(text, branch->expires_at_ms));
    }
}

static void add_users(struct out_table *table, const bough_status *status)
{
    char kept[OUT_TEXT_SIZE] = "";

    for (size_t i = 0; i < status->open_by_count; i++) {
        out_cell(table, i ? "" : "open by");
        out_cell(table, "process %" PRId32, status->open_by[i]);
    }
    if (status->oldest_reader_seconds >= 0) {
        out_cell(table, "oldest reader");
        out_cell(table, "%" PRId64 " s, keeps %s from being used again", status->oldest_reader_seconds,
                 out_size(kept, status->kept_bytes));
    }
}

static void print_table(const bough_status *status)
{
    struct out_table table = OUT_TABLE(2, 0);
    const bough_branch *branch = &status->branch.items[0];
    char text[OUT_TEXT_SIZE] = "";

    out_cell(&table, "branch");
    out_cell(&table, "%s%s", branch->name, branch->current ? " (current)" : "");
    out_cell(&table, "parent");
    out_cell(&table, "%s", branch->parent ? branch->parent : "-");
    out_cell(&table, "base");
    out_cell(&table, "%s", out_short_id(text, branch->base));
    out_cell(&table, "head");
    out_cell(&table, "%s", out_short_id(text, branch->head));
    out_cell(&table, "state");
    add_state(&table, status);
    add_users(&table, status);
    out_table_print(stdout, &table);
    out_table_release(&table);
}

static int run(struct cli *cli)
{
    bough_status status = {0};
    const char *name = NULL;
    int rc = cli_open(cli);

    if (rc == BOUGH_OK)
        rc = cli_branch_or_current(cli, &name, cli_operand(cli, 0));
    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_branch_status(&status, cli->store, name));
    cli_mark_current(cli, &status.branch);
    if (rc == BOUGH_OK && cli->json)
        print_json(&status);
    else if (rc == BOUGH_OK && cli->quiet)
        puts(status.branch.items[0].name);
    else if (rc == BOUGH_OK)
        print_table(&status);
    bough_status_release(&status);
    return rc;
}

const struct cli_command cmd_status = {
    .name = "status",
    .aliases = "",
    .group = "Branches",
    .summary = "show one branch: what is not committed, and who has it open",
    .usage = "[NAME]",
    .details =
        "Shows the parent, transactions not committed, pages changed since the base and bytes of its own. NAME is "
        "the current branch by default.",
    .example = "bough status premium\nshows the branch premium",
    .operands_min = 0,
    .operands_max = 1,
    .completes = "BRANCH",
    .run = run,
};
