/* cmd_compare.c - bough compare: branches side by side against a base. */
#include "commands.h"
#include "review.h"

#include <stdlib.h>
#include <string.h>

static int compare_all(struct review *review)
{
    struct database base = {NULL, NULL, false};
    int rc = review_open_database(review->cli, &base, review->base_ref);

    for (size_t i = 0; rc == BOUGH_OK && i < review->count; i++)
        rc = review_compare_side(review, review->cli, &review->sides[i], &base);
    database_close(&base);
    return rc;
}

/* Where the branches stand in the tree; a REF that is no branch has no parent. */
static int find_parents(struct cli *cli, struct review *review, bough_branches *branches)
{
    int rc = cli_check(cli, bough_branch_list(branches, cli->store));

    for (size_t i = 0; rc == BOUGH_OK && i < review->count; i++) {
        for (size_t k = 0; k < branches->count; k++) {
            if (!strcmp(branches->items[k].name, review->sides[i].name))
                review->sides[i].parent = branches->items[k].parent;
        }
    }
    return rc;
}

static void name_sides(struct review *review)
{
    struct cli *cli = review->cli;

    review->base = review->base_ref = cli_operand(cli, 0);
    review->count = cli->operand_count - 1;
    review->sides = out_alloc(review->count * sizeof review->sides[0]);
    for (size_t i = 0; i < review->count; i++) {
        const char *name = cli_operand(cli, i + 1);

        review->sides[i] = (struct review_side){.name = name, .ref = name, .ok = true, .seconds = -1};
    }
}

static int run(struct cli *cli)
{
    struct review review = {.cli = cli, .command = "compare", .check_all = cli_has(cli, "check")};
    bough_branches branches = {NULL, 0};
    int rc = cli_open(cli);

    name_sides(&review);
    cli_options(cli, "comparing");
    if (rc == BOUGH_OK)
        rc = find_parents(cli, &review, &branches);
    if (rc == BOUGH_OK && cli_has(cli, "query"))
        rc = review_read_queries(&review, cli_value(cli, "query"));
    if (rc == BOUGH_OK && cli_has(cli, "html"))
        rc = review_open_html(&review, cli_value(cli, "html"));
    if (rc == BOUGH_OK)
        rc = compare_all(&review);
    if (rc == BOUGH_OK)
        rc = review_run_queries(&review);
    if (rc == BOUGH_OK)
        rc = review_print(&review);
    cli_work_end(cli);
    review_release(&review);
    bough_branches_release(&branches);
    return rc;
}

static const struct cli_option option_table[] = {
    {0, "query", "FILE.sql", "run these queries on all of them, with times and plans"},
    {0, "html", "FILE", "write a page for a browser, too"},
    {0, "check", NULL, "check the whole of each database, whatever its size"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_compare = {
    .name = "compare",
    .aliases = "",
    .group = "History",
    .summary = "show branches side by side against a base",
    .usage = "BASE NAME... [--query FILE.sql] [--html FILE] [--check]",
    .details =
        "What each branch (or other REF) is against BASE: pages, tables with their rows, indexes, views and triggers, "
        "integrity and foreign keys.\n\nWith --query, each query runs on BASE and on every branch: the median time of "
        "a few runs, and SQLite's plan. A plan is marked as worse where a table that was searched is scanned, a "
        "covering index is used no more, an index is made for each run, or a temporary b-tree is needed.\n\n"
        "Databases up to 128 MiB are checked whole. Beyond that, the tables that changed are, up to 4 MiB; what is "
        "larger is not checked without --check.",
    .example = "bough compare main premium inventory --html compare.html\nshows two branches of main, also as a page",
    .options = option_table,
    .operands_min = 2,
    .operands_max = CLI_MANY,
    .completes = "REF",
    .run = run,
};
