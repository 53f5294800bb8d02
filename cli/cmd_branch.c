/* cmd_branch.c - bough branch: lists the branches, or forks new ones. */
#include "commands.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX  100000
#define TTL_MAX_MS (INT64_C(1000) * 365 * 24 * 3600 * 1000) /* a thousand years: dates stay in four digits */

/* A whole number above 0 and one of s m h d w. */
static int parse_duration(struct cli *cli, int64_t *out_ms, const char *text)
{
    static const char units[] = "smhdw";
    static const int64_t unit_ms[] = {1000, 60000, 3600000, 86400000, 604800000};
    const char *unit = NULL;
    int64_t value = 0;
    size_t digits = 0;

    for (; isdigit((unsigned char)text[digits]) && value <= TTL_MAX_MS; digits++)
        value = value * 10 + (text[digits] - '0');
    if (digits && text[digits] && !text[digits + 1])
        unit = strchr(units, text[digits]);
    if (!unit || value < 1 || value > TTL_MAX_MS / unit_ms[unit - units])
        return cli_fail(cli, BOUGH_USAGE,
                        "--ttl takes a whole number above 0 and one of s m h d w, as in 12h; not '%s'", text);
    *out_ms = value * unit_ms[unit - units];
    return BOUGH_OK;
}

/* ---- the list ---- */

static char *state_of(const bough_branch *branch)
{
    char until[OUT_TEXT_SIZE] = "";
    bool expires = branch->expires_at_ms != 0;

    return out_format("%s%s%s%s", branch->dirty ? "dirty" : "clean", branch->is_protected ? ", protected" : "",
                      expires ? ", expires " : "", expires ? out_time(until, branch->expires_at_ms) : "");
}

static void print_table(const bough_branches *branches)
{
    static const char *const titles[] = {" ", "BRANCH", "HEAD", "PARENT", "OWN", "SIZE", "STATE", NULL};
    struct out_table table = OUT_TABLE(7, 1 << 4 | 1 << 5);
    char head[OUT_TEXT_SIZE] = "";
    char own[OUT_TEXT_SIZE] = "";
    char size[OUT_TEXT_SIZE] = "";

    out_row(&table, titles);
    for (size_t i = 0; i < branches->count; i++) {
        const bough_branch *branch = &branches->items[i];
        char *state = state_of(branch);
        const char *const cells[] = {branch->current ? "*" : " ",
                                     branch->name,
                                     out_short_id(head, branch->head),
                                     branch->parent ? branch->parent : "-",
                                     out_size(own, branch->own_bytes),
                                     out_size(size, branch->size_bytes),
                                     state,
                                     NULL};

        out_row(&table, cells);
        free(state);
    }
    out_table_print(stdout, &table);
    out_table_release(&table);
}

static int list(struct cli *cli)
{
    bough_branches branches = {NULL, 0};
    int rc = cli_check(cli, bough_branch_list(&branches, cli->store));

    cli_mark_current(cli, &branches);
    if (rc == BOUGH_OK && !cli_print_branches(cli, &branches)) {
        if (branches.count)
            print_table(&branches);
        else
            cli_say(cli, "no branches");
    }
    bough_branches_release(&branches);
    return rc;
}

/* ---- forks ---- */

static char **make_names(const char *name, const char *count_text, size_t count)
{
    char **names = out_alloc(count * sizeof names[0]);

    for (size_t i = 0; i < count; i++)
        names[i] = count_text ? out_format("%s-%zu", name, i + 1) : out_copy(name);
    return names;
}

static void print_forks(struct cli *cli, const bough_branches *branches, const char *from)
{
    char id[OUT_TEXT_SIZE] = "";

    if (cli_print_branches(cli, branches))
        return;
    for (size_t i = 0; i < branches->count; i++)
        cli_say(cli, "branch %s: forked from %s at %s", branches->items[i].name, from,
                out_short_id(id, branches->items[i].base));
}

static int fork_branches(struct cli *cli, const char *from, char **names, size_t count, int64_t ttl_ms)
{
    bough_options options = cli_options(cli, NULL);
    bough_branches branches = {NULL, 0};
    int rc = BOUGH_OK;

    options.ttl_ms = ttl_ms;
    options.message = cli_value(cli, "message");
    rc = cli_check(cli, bough_branch_create(&branches, cli->store, (const char *const *)names, count, from, &options));
    cli_mark_current(cli, &branches);
    if (rc == BOUGH_OK)
        print_forks(cli, &branches, from);
    bough_branches_release(&branches);
    return rc;
}

static int run(struct cli *cli)
{
    const char *count_text = cli_value(cli, "count");
    const char *from = NULL;
    char **names = NULL;
    uint64_t count = 1;
    int64_t ttl_ms = 0;
    int rc = BOUGH_OK;

    if (!cli->operand_count && (count_text || cli_has(cli, "ttl") || cli_has(cli, "message")))
        return cli_fail(cli, BOUGH_USAGE, "a new branch needs a NAME");
    if (count_text)
        rc = cli_number(cli, &count, count_text, "--count", 1, COUNT_MAX);
    if (rc == BOUGH_OK && cli_has(cli, "ttl"))
        rc = parse_duration(cli, &ttl_ms, cli_value(cli, "ttl"));
    if (rc == BOUGH_OK)
        rc = cli_open(cli);
    if (rc != BOUGH_OK || !cli->operand_count)
        return rc == BOUGH_OK ? list(cli) : rc;
    names = make_names(cli_operand(cli, 0), count_text, (size_t)count);
    rc = cli_branch_or_current(cli, &from, cli_operand(cli, 1));
    if (rc == BOUGH_OK)
        rc = fork_branches(cli, from, names, (size_t)count, ttl_ms);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
    return rc;
}

static const struct cli_option option_table[] = {
    {0, "count", "N", "make NAME-1 to NAME-N"},
    {0, "ttl", "DURATION", "let the branch expire: a whole number above 0 and one of s m h d w"},
    {'m', "message", "MSG", "message of the commit that seals FROM, where it has transactions that are not committed"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_branch = {
    .name = "branch",
    .aliases = "fork",
    .group = "Branches",
    .summary = "list the branches, or fork a new one",
    .usage = "\nNAME [FROM] [--count N] [--ttl DURATION] [-m MSG]",
    .details =
        "Without NAME: lists the branches; * marks the current one.\n\n"
        "With NAME: forks FROM, a branch, tag or commit (REF); the current branch by default. If FROM is a branch "
        "with transactions that are not committed, they are committed first.",
    .example = "bough branch premium main\nforks main as premium",
    .options = option_table,
    .operands_min = 0,
    .operands_max = 2,
    .completes = "REF",
    .run = run,
};
