/* cmd_git.c - bough git: a git repository whose checkouts move the database. */
#include "commands.h"
#include "git.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIGRATIONS "migrations"

/* ---- the repository ---- */

static int find_worktree(struct cli *cli, struct worktree *out)
{
    char *directory = getcwd(NULL, 0);
    bool found = directory && worktree_find(out, directory, false);

    free(directory);
    if (found)
        return BOUGH_OK;
    cli_hint(cli, "a bare repository has none; its linked worktrees do");
    return cli_fail(cli, BOUGH_NOT_FOUND, "no working tree of git here or in a directory above");
}

/* What git says must be what its files say, since hooks and commands go by the files. */
static int check_repository(struct cli *cli, const struct worktree *worktree)
{
    struct git_answer answer = {0};
    const char *argv[] = {"git", "rev-parse", "--show-toplevel", NULL};
    char *real = NULL;
    int rc = BOUGH_OK;

    git_run_program(&answer, worktree->root, argv, GIT_TIMEOUT_MS);
    if (answer.error)
        rc = cli_fail(cli, BOUGH_NOT_FOUND, "git cannot be run: %s", strerror(answer.error));
    else if (answer.status != 0)
        rc = cli_fail(cli, BOUGH_REFUSED, "git: %s", answer.err);
    else if ((real = realpath(answer.out, NULL)) == NULL || strcmp(real, worktree->root) != 0)
        rc = cli_fail(cli, BOUGH_REFUSED, "git's working tree for %s is elsewhere: %s", worktree->root, answer.out);
    free(real);
    git_answer_release(&answer);
    return rc;
}

/* ---- install ---- */

/* The store that is asked for or stands around the working directory; else the one of the main worktree, where a linked
 * one may have none. */
static int open_store(struct cli *cli, const struct worktree *worktree)
{
    const char *asked = cli->store_option;
    char *path = NULL;
    char *above = out_copy(worktree->common);
    int rc = cli_locate(cli, &path);

    if (rc == BOUGH_NOT_FOUND && worktree_climb(above))
        rc = cli_search(cli, &path, above);
    if (rc == BOUGH_OK) {
        cli->store_option = path;
        rc = cli_open(cli);
        cli->store_option = asked;
    }
    free(above);
    free(path);
    return rc;
}

/* A hooks directory that other repositories use too is not ours to fill. */
static int check_hooks(struct cli *cli, const struct worktree *worktree, const char *hooks)
{
    char *base = out_copy(hooks);
    char *real = NULL;
    bool inside = false;

    while ((real = realpath(base, NULL)) == NULL && worktree_climb(base))
        continue;
    inside = real && (worktree_is_inside(real, worktree->common) || worktree_is_inside(real, worktree->root));
    free(real);
    free(base);
    if (inside || cli_has(cli, "force"))
        return BOUGH_OK;
    cli_hint(cli, "set core.hooksPath for this repository alone, or use --force");
    return cli_fail(cli, BOUGH_REFUSED, "the hooks of this repository are outside of it, perhaps for others too: %s",
                    hooks);
}

static int check_paths(struct cli *cli, const struct worktree *worktree, const char *hooks)
{
    const char *directory = cli_value(cli, "dir");

    if (strchr(worktree->root, '\n') || strchr(worktree->common, '\n') || strchr(bough_store_path(cli->store), '\n') ||
        strchr(hooks, '\n'))
        return cli_fail(cli, BOUGH_REFUSED, "a path with a line break in it cannot be recorded");
    if (directory && (!directory[0] || directory[0] == '/' || strchr(directory, '\n')))
        return cli_fail(cli, BOUGH_USAGE, "--dir takes a path from the root of the working tree on");
    if (directory && cli_has(cli, "no-migrate"))
        return cli_fail(cli, BOUGH_USAGE, "git install takes --dir or --no-migrate, not both");
    return check_hooks(cli, worktree, hooks);
}

/* Makes a directory that is missing, with those above it, and remembers that it did. */
static int make_directory(struct cli *cli, struct worktree *worktree, const char *path)
{
    char *above = NULL;
    int rc = BOUGH_OK;

    if (mkdir(path, 0777) == 0) {
        worktree_note(worktree, &worktree->made, &worktree->made_count, path);
        return BOUGH_OK;
    }
    if (errno == EEXIST)
        return BOUGH_OK;
    if (errno != ENOENT)
        return cli_fail(cli, BOUGH_IO, "%s: %s", path, strerror(errno));
    above = out_copy(path);
    rc = worktree_climb(above) ? make_directory(cli, worktree, above) : BOUGH_OK;
    free(above);
    return rc == BOUGH_OK ? make_directory(cli, worktree, path) : rc;
}

static void describe(struct cli *cli, struct worktree *worktree, const char *hooks)
{
    const char *directory = cli_value(cli, "dir");
    const char *keep = worktree->installed && worktree->migrations ? worktree->migrations : MIGRATIONS;

    free(worktree->store);
    worktree->store = realpath(bough_store_path(cli->store), NULL);
    if (!worktree->store)
        worktree->store = out_copy(bough_store_path(cli->store));
    if (!directory)
        directory = cli_has(cli, "no-migrate") ? NULL : keep;
    directory = directory ? out_copy(directory) : NULL;
    free(worktree->migrations);
    worktree->migrations = (char *)directory;
    worktree_note(worktree, &worktree->hooks, &worktree->hook_count, hooks);
    worktree_decide_own(worktree);
    worktree->installed = true;
}

static int remove_all(struct cli *cli, const struct worktree *worktree, const char *hooks, bool tells);

/* The record first: what uninstall has to look at is known whenever this is interrupted. */
static int write_all(struct cli *cli, struct worktree *worktree, const char *hooks)
{
    char *info = out_format("%s/info", worktree->common);
    int rc = make_directory(cli, worktree, hooks);

    if (rc == BOUGH_OK)
        rc = make_directory(cli, worktree, info);
    if (rc == BOUGH_OK) {
        int error = worktree_write_record(worktree);

        rc = error ? cli_fail(cli, BOUGH_IO, "%s/bough/install: %s", worktree->common, strerror(error)) : BOUGH_OK;
    }
    if (rc == BOUGH_OK)
        rc = git_hooks_install(cli, hooks);
    if (rc == BOUGH_OK)
        rc = git_exclude_add(cli, worktree);
    free(info);
    return rc;
}

/* One worktree gets the branch that belongs to what it has checked out. What fails is said and can wait. */
static void follow_in(struct cli *cli, const char *root)
{
    struct worktree worktree = {0};
    char *branch = NULL;

    if (worktree_at(&worktree, root) && worktree.installed) {
        worktree_release(&cli->worktree);
        cli->worktree = worktree;
        cli->current_known = false;
        free(cli->current);
        cli->current = NULL;
        branch = git_branch_of(&worktree);
        if (branch && git_follow(cli, branch, true) != BOUGH_OK) {
            fputs("bough: ", stderr);
            out_line(stderr, cli->message);
            putc('\n', stderr);
        }
    } else {
        worktree_release(&worktree);
    }
    free(branch);
}

/* The linked worktrees first, so that the one of the command is the one that is then reported. */
static void follow_everywhere(struct cli *cli, const struct worktree *worktree)
{
    static const char lead[] = "worktree ";
    char *list = GIT_ASK(worktree, "worktree", "list", "--porcelain");

    for (char *rest = list, *line = NULL; (line = git_next_line(&rest)) != NULL;) {
        char *root = NULL;

        if (!strncmp(line, lead, sizeof lead - 1))
            root = realpath(line + sizeof lead - 1, NULL);
        if (root && strcmp(root, worktree->root) != 0)
            follow_in(cli, root);
        free(root);
    }
    free(list);
    follow_in(cli, worktree->root);
}

static int install(struct cli *cli, struct worktree *worktree)
{
    bool was_installed = worktree->installed;
    char *hooks = NULL;
    int rc = git_hooks_directory(cli, worktree, &hooks);

    if (rc == BOUGH_OK)
        rc = open_store(cli, worktree);
    if (rc == BOUGH_OK)
        rc = check_paths(cli, worktree, hooks);
    if (rc == BOUGH_OK) {
        describe(cli, worktree, hooks);
        rc = write_all(cli, worktree, hooks);
        if (rc != BOUGH_OK && !was_installed) {
            char *message = cli->message;
            char *hint = cli->hint;

            cli->message = cli->hint = NULL;
            remove_all(cli, worktree, hooks, false);
            free(cli->message);
            free(cli->hint);
            cli->message = message;
            cli->hint = hint;
        }
    }
    if (rc == BOUGH_OK) {
        if (worktree_is_inside(hooks, worktree->root) && !worktree_is_inside(hooks, worktree->common))
            fprintf(stderr, "bough: the hooks are files of the working tree: %s\n", hooks);
        follow_everywhere(cli, worktree);
        cli_say(cli, "git hooks installed; uninstall takes them out again");
        rc = git_report(cli, worktree);
    }
    free(hooks);
    return rc;
}

/* ---- uninstall ---- */

static int remove_all(struct cli *cli, const struct worktree *worktree, const char *hooks, bool tells)
{
    int rc = git_hooks_remove(cli, hooks, tells);
    int error = 0;

    for (size_t i = 0; i < worktree->hook_count; i++) {
        char *path = worktree_recorded_path(worktree, worktree->hooks[i]);
        int result = git_hooks_remove(cli, path, tells);

        rc = rc == BOUGH_OK ? result : rc;
        free(path);
    }
    if (rc == BOUGH_OK)
        rc = git_exclude_remove(cli, worktree);
    for (size_t i = worktree->made_count; rc == BOUGH_OK && i-- > 0;) {
        char *path = worktree_recorded_path(worktree, worktree->made[i]);

        rmdir(path); /* with files of others in it, it stays */
        free(path);
    }
    if (rc == BOUGH_OK) {
        error = worktree_remove_records(worktree);
        rc = error ? cli_fail(cli, BOUGH_IO, "%s/bough: %s", worktree->common, strerror(error)) : BOUGH_OK;
    }
    return rc;
}

static int uninstall(struct cli *cli, const struct worktree *worktree)
{
    struct worktree now = {0};
    char *hooks = NULL;
    int rc = git_hooks_directory(cli, worktree, &hooks);

    if (rc == BOUGH_OK)
        rc = remove_all(cli, worktree, hooks, true);
    if (rc == BOUGH_OK && worktree_at(&now, worktree->root)) {
        cli_say(cli, "git hooks removed; the store and its branches stay");
        rc = cli->json ? git_report(cli, &now) : BOUGH_OK;
    }
    worktree_release(&now);
    free(hooks);
    return rc;
}

/* ---- the verbs ---- */

static int status(struct cli *cli, const struct worktree *worktree)
{
    if (worktree->installed) {
        int rc = BOUGH_OK;

        cli->store_option = worktree->store;
        rc = cli_open(cli);
        cli->store_option = NULL;
        if (rc != BOUGH_OK)
            return rc;
    }
    return git_report(cli, worktree);
}

static int hook(struct cli *cli)
{
    const char *name = cli_operand(cli, 1);
    bool known = false;

    for (size_t i = 0; name && git_hook_names[i]; i++)
        known = known || !strcmp(name, git_hook_names[i]);
    if (!known)
        return cli_fail(cli, BOUGH_USAGE, "git hook takes the name of a hook that bough git install installs");
    git_hook_run(cli, name, cli->operands + 2, cli->operand_count - 2);
    return BOUGH_OK;
}

static int run(struct cli *cli)
{
    const char *verb = cli_operand(cli, 0);
    struct worktree worktree = {0};
    int rc = BOUGH_OK;

    if (!strcmp(verb, "hook"))
        return hook(cli);
    if (cli->operand_count > 1)
        return cli_fail(cli, BOUGH_USAGE, "one operand too many for git %s: '%s'", verb, cli_operand(cli, 1));
    if (strcmp(verb, "install") != 0 && strcmp(verb, "uninstall") != 0 && strcmp(verb, "status") != 0) {
        cli_hint(cli, "see bough git --help");
        return cli_fail(cli, BOUGH_USAGE, "git has no verb %s", verb);
    }
    cli->branch_override = NULL;
    git_forget_environment();
    rc = find_worktree(cli, &worktree);
    if (rc == BOUGH_OK)
        rc = check_repository(cli, &worktree);
    if (rc == BOUGH_OK && !strcmp(verb, "install"))
        rc = install(cli, &worktree);
    else if (rc == BOUGH_OK && !strcmp(verb, "uninstall"))
        rc = uninstall(cli, &worktree);
    else if (rc == BOUGH_OK)
        rc = status(cli, &worktree);
    worktree_release(&worktree);
    return rc;
}

static const struct cli_option option_table[] = {
    {0, "dir", "DIR", "install: the migrations, from the root of the working tree on; migrations by default"},
    {0, "no-migrate", NULL, "install: hooks do not run bough migrate sync"},
    {0, "force", NULL, "install: also into a directory of hooks outside of the repository"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_git = {
    .name = "git",
    .aliases = "",
    .group = "Git",
    .summary = "let the database follow the branch that git has checked out",
    .usage = "install [--dir DIR] [--no-migrate] [--force]\nuninstall\nstatus\nhook NAME [ARG...]",
    .details =
        "install puts hooks into the repository around the working directory. From then on, git switch puts the "
        "database on the branch of the same name; on first use that one is forked from the branch that git's began at. "
        "After a checkout, a merge, a rebase, a cherry-pick or a revert, bough migrate sync runs if the working tree "
        "has a directory of migrations. The main worktree sets the store's current branch; each linked one has a "
        "current "
        "branch of its own.\n\n"
        "Hooks that were there run on. A hook of bough's never stops git: what fails is a line on stderr. HEAD without "
        "a branch leaves the database where it is. uninstall puts every file back as it was; the store stays. status "
        "says what is installed, and which branches git has no branch for. hook is what the hooks call.",
    .example = "bough git install\nlets git switch move the database too",
    .options = option_table,
    .operands_min = 1,
    .operands_max = CLI_MANY,
    .may_be_empty = true,
    .may_say_nothing = true,
    .completes = "install|uninstall|status NONE",
    .run = run,
};
