/* cmd_tree.c - bough tree: the branches drawn as a tree.
 *
 * The walk keeps no stack: every branch knows its parent, first child and next sibling, so that a chain of any depth is
 * drawn. */
#include "commands.h"

#include <stdlib.h>
#include <string.h>

#define NONE SIZE_MAX

struct node {
    size_t parent, first_child, next_sibling;
};

struct strokes {
    const char *tee, *corner, *bar, *blank;
};

static bool terminal_speaks_utf8(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const char *value = getenv(variables[i]);

        if (value && value[0])
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

static size_t find(const bough_branches *branches, const char *name)
{
    size_t low = 0;
    size_t high = branches->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(branches->items[middle].name, name);

        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NONE;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const bough_branch *)a)->name, ((const bough_branch *)b)->name);
}

/* Links the nodes; children end up in the order of names. nodes[count] stands above all that have no parent. */
static struct node *link_nodes(const bough_branches *branches)
{
    struct node *nodes = out_alloc((branches->count + 1) * sizeof nodes[0]);
    const struct node empty = {NONE, NONE, NONE};

    for (size_t i = 0; i <= branches->count; i++)
        nodes[i] = empty;
    for (size_t i = branches->count; i-- > 0;) {
        const char *parent = branches->items[i].parent;
        size_t above = parent ? find(branches, parent) : NONE;

        nodes[i].parent = above == NONE ? branches->count : above;
        nodes[i].next_sibling = nodes[nodes[i].parent].first_child;
        nodes[nodes[i].parent].first_child = i;
    }
    return nodes;
}

/* The strokes left of a branch's name: one column for each of its ancestors below the top. */
static char *stem(const struct node *nodes, size_t top, size_t at, const struct strokes *strokes)
{
    size_t length = 1;
    char *text = NULL;
    char *end = NULL;

    for (size_t i = at; nodes[i].parent != top; i = nodes[i].parent)
        length += strlen(strokes->tee);
    text = out_alloc(length);
    end = text + length - 1;
    for (size_t i = at; nodes[i].parent != top; i = nodes[i].parent) {
        bool last = nodes[i].next_sibling == NONE;
        const char *stroke = i == at ? (last ? strokes->corner : strokes->tee) : (last ? strokes->blank : strokes->bar);

        end -= strlen(stroke);
        memcpy(end, stroke, strlen(stroke));
    }
    memmove(text, end, strlen(end) + 1);
    return text;
}

static size_t next_in_order(const struct node *nodes, size_t top, size_t at)
{
    if (nodes[at].first_child != NONE)
        return nodes[at].first_child;
    while (at != top && nodes[at].next_sibling == NONE)
        at = nodes[at].parent;
    return at == top ? NONE : nodes[at].next_sibling;
}

/* Time and message of the branch's head. Neighbours often share it, so the last one read is kept. */
static int describe_head(struct cli *cli, bough_commits *kept, const bough_branch *branch)
{
    if (kept->count && !strcmp(kept->items[0].id, branch->head))
        return BOUGH_OK;
    bough_commits_release(kept);
    return branch->head[0] ? cli_check(cli, bough_commit_log(kept, cli->store, branch->head, 1)) : BOUGH_OK;
}

static void add_row(struct out_table *table, const bough_branch *branch, const bough_commits *head, const char *strokes)
{
    const bough_commit *commit = head->count ? &head->items[0] : NULL;
    char text[OUT_TEXT_SIZE] = "";

    out_cell(table, "%s%s%s%s", strokes, branch->name, branch->current ? " *" : "",
             branch->is_protected ? " (protected)" : "");
    out_cell(table, "%s", out_size(text, branch->own_bytes));
    out_cell(table, "%s%s", out_short_id(text, branch->head), branch->dirty ? "+" : "");
    out_cell(table, "%s", out_time(text, commit ? commit->created_at_ms : 0));
    out_cell(table, "%s", commit && commit->message ? commit->message : "");
}

static int draw(struct cli *cli, const bough_branches *branches)
{
    static const struct strokes lines = {"├── ", "└── ", "│   ", "    "};
    static const struct strokes ascii = {"|-- ", "`-- ", "|   ", "    "};
    static const char *const titles[] = {"BRANCH", "OWN", "HEAD", "COMMITTED", "MESSAGE", NULL};
    struct node *nodes = link_nodes(branches);
    struct out_table table = OUT_TABLE(5, 1 << 1);
    bough_commits head = {NULL, 0};
    int rc = BOUGH_OK;

    out_row(&table, titles);
    for (size_t at = nodes[branches->count].first_child; rc == BOUGH_OK && at != NONE;
         at = next_in_order(nodes, branches->count, at)) {
        char *strokes = stem(nodes, branches->count, at, terminal_speaks_utf8() ? &lines : &ascii);

        rc = describe_head(cli, &head, &branches->items[at]);
        if (rc == BOUGH_OK)
            add_row(&table, &branches->items[at], &head, strokes);
        free(strokes);
    }
    if (rc == BOUGH_OK)
        out_table_print(stdout, &table);
    bough_commits_release(&head);
    out_table_release(&table);
    free(nodes);
    return rc;
}

static int run(struct cli *cli)
{
    bough_branches branches = {NULL, 0};
    int rc = cli_open(cli);

    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_branch_list(&branches, cli->store));
    cli_mark_current(cli, &branches);
    if (branches.count)
        qsort(branches.items, branches.count, sizeof branches.items[0], by_name);
    if (rc == BOUGH_OK && !cli_print_branches(cli, &branches)) {
        if (branches.count)
            rc = draw(cli, &branches);
        else
            cli_say(cli, "no branches");
    }
    bough_branches_release(&branches);
    return rc;
}

const struct cli_command cmd_tree = {
    .name = "tree",
    .aliases = "",
    .group = "Branches",
    .summary = "draw the branches as a tree",
    .usage = "",
    .details =
        "Draws each branch under the one it was forked from, with its own bytes and its last commit. * marks the "
        "current branch, + transactions after the last commit.",
    .example = "bough tree\ndraws all branches of the store",
    .operands_min = 0,
    .operands_max = 0,
    .completes = "",
    .run = run,
};
