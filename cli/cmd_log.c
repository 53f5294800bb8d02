/* cmd_log.c - bough log: commits, or the moves of a branch, newest first. */
#include "commands.h"

#include <inttypes.h>

static void print_json_commit(struct json *json, const bough_commit *commit)
{
    json_open(json, '{');
    json_put_string(json, "id", commit->id);
    json_key(json, "parents");
    json_open(json, '[');
    for (size_t i = 0; i < commit->parent_count; i++)
        json_string(json, commit->parents[i]);
    json_close(json, ']');
    json_put_string(json, "message", commit->message);
    json_put_string(json, "author", commit->author);
    json_put_time(json, "created_at", commit->created_at_ms);
    json_put_string(json, "root", commit->root);
    json_put_uint(json, "size_bytes", commit->size_bytes);
    json_put_uint(json, "page_size", commit->page_size);
    if (commit->changed_pages == BOUGH_UNKNOWN_PAGES)
        json_put_null(json, "changed_pages");
    else
        json_put_uint(json, "changed_pages", commit->changed_pages);
    json_put_bool(json, "automatic", commit->automatic);
    json_put_bool(json, "pruned", commit->pruned);
    json_close(json, '}');
}

static void print_json(const bough_commits *commits)
{
    struct json json = {stdout, false};

    json_open(&json, '[');
    for (size_t i = 0; i < commits->count; i++)
        print_json_commit(&json, &commits->items[i]);
    json_close(&json, ']');
    cli_json_end(&json);
}

static void print_table(const bough_commits *commits)
{
    static const char *const titles[] = {"COMMIT", "TIME", "AUTHOR", "PAGES", "SIZE", "MESSAGE", NULL};
    struct out_table table = OUT_TABLE(6, 1 << 3 | 1 << 4);
    char text[OUT_TEXT_SIZE] = "";

    out_row(&table, titles);
    for (size_t i = 0; i < commits->count; i++) {
        const bough_commit *commit = &commits->items[i];

        out_cell(&table, "%s", out_short_id(text, commit->id));
        out_cell(&table, "%s", out_time(text, commit->created_at_ms));
        out_cell(&table, "%s", commit->author ? commit->author : "-");
        if (commit->changed_pages == BOUGH_UNKNOWN_PAGES)
            out_cell(&table, "%s", "?");
        else
            out_cell(&table, "%" PRIu64, commit->changed_pages);
        out_cell(&table, "%s", out_size(text, commit->size_bytes));
        out_cell(&table, "%s%s%s", commit->message ? commit->message : "", commit->automatic ? " (automatic)" : "",
                 commit->pruned ? " (pruned)" : "");
    }
    out_table_print(stdout, &table);
    out_table_release(&table);
}

static void print(struct cli *cli, const bough_commits *commits)
{
    if (cli->json)
        print_json(commits);
    else if (!cli->quiet && commits->count)
        print_table(commits);
    for (size_t i = 0; !cli->json && cli->quiet && i < commits->count; i++)
        puts(commits->items[i].id);
}

/* ---- moves ---- */

static void print_json_moves(const bough_moves *moves)
{
    struct json json = {stdout, false};

    json_open(&json, '[');
    for (size_t i = 0; i < moves->count; i++) {
        const bough_move *move = &moves->items[i];

        json_open(&json, '{');
        json_put_string(&json, "verb", move->verb);
        json_put_string(&json, "before", move->before[0] ? move->before : NULL);
        json_put_string(&json, "after", move->after);
        json_put_string(&json, "note", move->note);
        json_put_time(&json, "created_at", move->created_at_ms);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    cli_json_end(&json);
}

static void print_moves_table(const bough_moves *moves)
{
    static const char *const titles[] = {"TIME", "MOVE", "BEFORE", "AFTER", "NOTE", NULL};
    struct out_table table = OUT_TABLE(5, 0);
    char text[OUT_TEXT_SIZE] = "";

    out_row(&table, titles);
    for (size_t i = 0; i < moves->count; i++) {
        const bough_move *move = &moves->items[i];

        out_cell(&table, "%s", out_time(text, move->created_at_ms));
        out_cell(&table, "%s", move->verb);
        out_cell(&table, "%s", move->before[0] ? out_short_id(text, move->before) : "discarded");
        out_cell(&table, "%s", out_short_id(text, move->after));
        out_cell(&table, "%s", move->note ? move->note : "");
    }
    out_table_print(stdout, &table);
    out_table_release(&table);
}

static void print_moves(struct cli *cli, const bough_moves *moves)
{
    if (cli->json)
        print_json_moves(moves);
    else if (!cli->quiet && moves->count)
        print_moves_table(moves);
    for (size_t i = 0; !cli->json && cli->quiet && i < moves->count; i++)
        if (moves->items[i].before[0])
            puts(moves->items[i].before);
}

static int run_moves(struct cli *cli, const char *branch, uint64_t limit)
{
    bough_moves moves = {NULL, 0};
    int rc = cli_check(cli, bough_branch_moves(&moves, cli->store, branch, (size_t)limit));

    if (rc == BOUGH_OK)
        print_moves(cli, &moves);
    bough_moves_release(&moves);
    return rc;
}

static int run(struct cli *cli)
{
    const char *limit_text = cli_value(cli, "number");
    bough_commits commits = {NULL, 0};
    const char *ref = NULL;
    uint64_t limit = 0;
    int rc = BOUGH_OK;

    if (limit_text)
        rc = cli_number(cli, &limit, limit_text, "-n", 1, SIZE_MAX);
    if (rc == BOUGH_OK)
        rc = cli_open(cli);
    if (rc == BOUGH_OK)
        rc = cli_branch_or_current(cli, &ref, cli_operand(cli, 0));
    if (rc == BOUGH_OK && cli_has(cli, "moves"))
        return run_moves(cli, ref, limit);
    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_commit_log(&commits, cli->store, ref, (size_t)limit));
    if (rc == BOUGH_OK)
        print(cli, &commits);
    bough_commits_release(&commits);
    return rc;
}

static const struct cli_option option_table[] = {
    {0, "moves", NULL, "list when the branch was reset, promoted onto or imported into"},
    {'n', "number", "N", "show at most N of them"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_log = {
    .name = "log",
    .aliases = "",
    .group = "History",
    .summary = "list commits, newest first",
    .usage = "[REF] [-n N]\n"
             "BRANCH --moves [-n N]",
    .details =
        "Lists the commits that lead to REF, the current branch by default; of a branch with transactions that are "
        "not committed, from its head. PAGES counts what changed against the commit before.\n"
        "With --moves: each time that the branch took another state by reset, promote or import, with the commit that "
        "holds the state before; `bough reset` goes back to it. gc forgets moves after 30 days.",
    .example = "bough log premium -n 5\nlists the five newest commits of premium",
    .options = option_table,
    .operands_min = 0,
    .operands_max = 1,
    .completes = "REF",
    .run = run,
};
