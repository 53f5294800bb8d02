/* git_report.c - what bough git says about a worktree: what is installed, and which branches belong together. */
#include "git.h"

#include <stdlib.h>
#include <string.h>

static char *resolve(const struct worktree *worktree, const char *path)
{
    char *absolute = path[0] == '/' ? out_copy(path) : out_format("%s/%s", worktree->root, path);
    char *real = realpath(absolute, NULL);

    if (!real)
        return absolute;
    free(absolute);
    return real;
}

int git_hooks_directory(struct cli *cli, const struct worktree *worktree, char **out)
{
    char *path = GIT_ASK(worktree, "rev-parse", "--git-path", "hooks");

    if (!path)
        return cli_fail(cli, BOUGH_IO, "git does not say where the hooks of %s are", worktree->root);
    *out = resolve(worktree, path);
    free(path);
    return BOUGH_OK;
}

/* ---- the document ---- */

static void json_hooks(struct json *json, const char *directory)
{
    json_key(json, "hooks");
    json_open(json, '[');
    for (size_t i = 0; git_hook_names[i]; i++) {
        char *path = out_format("%s/%s", directory, git_hook_names[i]);

        json_open(json, '{');
        json_put_string(json, "name", git_hook_names[i]);
        json_put_string(json, "path", path);
        json_put_bool(json, "installed", git_hooks_has(directory, git_hook_names[i]));
        json_close(json, '}');
        free(path);
    }
    json_close(json, ']');
}

static bool has_line(const char *text, const char *line)
{
    size_t length = strlen(line);

    for (const char *p = text; p && *p; p += strcspn(p, "\n"), p += *p == '\n') {
        if (strcspn(p, "\n") == length && !memcmp(p, line, length))
            return true;
    }
    return false;
}

/* The names that git's branches have in the store, a line each. */
static char *map_git_branches(const struct worktree *worktree)
{
    char *refs = GIT_ASK(worktree, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads");
    char *names = out_alloc((refs ? strlen(refs) : 0) * 6 + 2);
    char *end = names;

    for (char *rest = refs, *line = NULL; (line = git_next_line(&rest)) != NULL;) {
        char *name = git_name_map(line);

        if (name)
            end = stpcpy(stpcpy(end, name), "\n");
        free(name);
    }
    free(refs);
    return names;
}

struct report {
    char *hooks; /* the directory */
    char *git_branch;
    const char *branch;
    char **left_over; /* branches of the store that git has no branch for */
    size_t left_over_count;
};

static int list_left_over(struct cli *cli, const struct worktree *worktree, struct report *report)
{
    char *names = map_git_branches(worktree);
    bough_branches branches = {NULL, 0};
    int rc = cli_check(cli, bough_branch_list(&branches, cli->store));

    report->left_over = out_alloc((branches.count + 1) * sizeof report->left_over[0]);
    for (size_t i = 0; i < branches.count; i++) {
        if (!has_line(names, branches.items[i].name))
            report->left_over[report->left_over_count++] = out_copy(branches.items[i].name);
    }
    bough_branches_release(&branches);
    free(names);
    return rc;
}

static void print_json(const struct worktree *worktree, const struct report *report)
{
    struct json json = {stdout, false};

    json_open(&json, '{');
    json_put_string(&json, "worktree", worktree->root);
    json_put_string(&json, "store", worktree->installed ? worktree->store : NULL);
    json_put_bool(&json, "installed", worktree->installed);
    json_put_string(&json, "git_branch", report->git_branch);
    json_put_string(&json, "branch", report->branch);
    json_put_bool(&json, "own_branch", worktree->own);
    json_put_string(&json, "migrations", worktree->migrations);
    json_hooks(&json, report->hooks);
    json_key(&json, "left_over");
    json_open(&json, '[');
    for (size_t i = 0; i < report->left_over_count; i++)
        json_string(&json, report->left_over[i]);
    json_close(&json, ']');
    json_close(&json, '}');
    cli_json_end(&json);
}

static void add_hooks(struct out_table *table, const struct worktree *worktree, const char *directory)
{
    size_t missing = 0;

    for (size_t i = 0; git_hook_names[i]; i++)
        missing += !git_hooks_has(directory, git_hook_names[i]);
    out_cell(table, "hooks");
    out_cell(table, "%s%s", directory,
             !missing              ? ""
             : worktree->installed ? ": some are missing; bough git install "
                                     "puts them back"
                                   : ": none of bough's");
}

static void print_table(const struct worktree *worktree, const struct report *report)
{
    struct out_table table = OUT_TABLE(2, 0);

    out_cell(&table, "worktree");
    out_cell(&table, "%s", worktree->root);
    add_hooks(&table, worktree, report->hooks);
    out_cell(&table, "git branch");
    out_cell(&table, "%s", report->git_branch ? report->git_branch : "none, HEAD is a commit");
    if (worktree->installed) {
        out_cell(&table, "store");
        out_cell(&table, "%s", worktree->store);
        out_cell(&table, "branch");
        out_cell(&table, "%s%s", report->branch ? report->branch : "none",
                 worktree->own ? " (this worktree's own)" : "");
        out_cell(&table, "migrations");
        out_cell(&table, "%s", worktree->migrations ? worktree->migrations : "not run");
    }
    for (size_t i = 0; i < report->left_over_count; i++) {
        out_cell(&table, i ? "" : "not in git");
        out_cell(&table, "%s", report->left_over[i]);
    }
    out_table_print(stdout, &table);
    out_table_release(&table);
}

int git_report(struct cli *cli, const struct worktree *worktree)
{
    struct report report = {NULL, git_branch_of(worktree), NULL, NULL, 0};
    int rc = git_hooks_directory(cli, worktree, &report.hooks);

    if (rc == BOUGH_OK && cli->store)
        rc = cli_current_or_none(cli, &report.branch);
    if (rc == BOUGH_OK && cli->store)
        rc = list_left_over(cli, worktree, &report);
    if (rc == BOUGH_OK && cli->json)
        print_json(worktree, &report);
    else if (rc == BOUGH_OK && !cli->quiet)
        print_table(worktree, &report);
    else if (rc == BOUGH_OK && report.branch)
        puts(report.branch);
    for (size_t i = 0; i < report.left_over_count; i++)
        free(report.left_over[i]);
    free(report.left_over);
    free(report.git_branch);
    free(report.hooks);
    return rc;
}
