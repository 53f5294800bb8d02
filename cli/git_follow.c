/* git_follow.c - what a hook does: the database follows the code.
 *
 * A checkout of a branch puts the database on the branch of that name. After that, and after a merge, a rebase, a
 * cherry-pick or a revert, `bough migrate sync` makes the database match the migrations of the code. HEAD without a
 * branch changes nothing: neither a commit that somebody looks at, nor the steps of a rebase or a bisect, are a reason
 * to roll back anything. git waits for a hook, so every wait here is short and every failure is a line on stderr. */
#include "git.h"

#include "database.h"
#include "textfile.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_TIMEOUT_MS    2000
#define MIGRATE_TIMEOUT_MS 60000

/* ---- git's state ---- */

static char *without_heads(char *ref)
{
    static const char lead[] = "refs/heads/";
    char *branch = ref && !strncmp(ref, lead, sizeof lead - 1) ? out_copy(ref + sizeof lead - 1) : NULL;

    free(ref);
    return branch;
}

char *git_branch_of(const struct worktree *worktree)
{
    return without_heads(GIT_ASK(worktree, "symbolic-ref", "-q", "HEAD"));
}

/* A file of the git directory, less its line break. */
static char *read_state(const struct worktree *worktree, const char *name)
{
    char *path = out_format("%s/%s", worktree->git_dir, name);
    size_t length = 0;
    char *text = textfile_read(path, PATH_MAX, &length);

    while (text && length && text[length - 1] == '\n')
        text[--length] = 0;
    free(path);
    return text;
}

static bool has_state(const struct worktree *worktree, const char *name)
{
    char *path = out_format("%s/%s", worktree->git_dir, name);
    bool has = access(path, F_OK) == 0;

    free(path);
    return has;
}

/* The branch that a rebase is about; HEAD is elsewhere while it runs. */
static char *rebased_branch(const struct worktree *worktree)
{
    char *ref = read_state(worktree, "rebase-merge/head-name");

    return without_heads(ref ? ref : read_state(worktree, "rebase-apply/head-name"));
}

/* `git rebase --apply` keeps no such note until it stops: the branch is still where the rebase found it. Of several
 * that are there, the one that the database is on. */
static char *branch_of_applied_rebase(struct cli *cli)
{
    char *text =
        GIT_ASK(&cli->worktree, "for-each-ref", "--points-at=ORIG_HEAD", "--format=%(refname:lstrip=2)", "refs/heads");
    bool is_only = text && text[0] && !strchr(text, '\n');
    const char *current = NULL;
    char *found = NULL;
    int rc = cli_current_or_none(cli, &current);

    for (char *rest = text, *line = NULL; !found && (line = git_next_line(&rest)) != NULL;) {
        char *name = git_name_map(line);

        if (is_only || (rc == BOUGH_OK && current && name && !strcmp(name, current)))
            found = out_copy(line);
        free(name);
    }
    free(text);
    return found;
}

/* A rebase without commits to replay ends where it begins, and git calls no other hook. */
static char *branch_of_empty_rebase(const struct worktree *worktree, const char *commit)
{
    char *before = read_state(worktree, "rebase-merge/orig-head");
    char *answer = before ? GIT_ASK(worktree, "merge-base", "--is-ancestor", before, commit) : NULL;
    char *branch = answer ? rebased_branch(worktree) : NULL;

    free(answer);
    free(before);
    return branch;
}

static char *newest_reflog(const struct worktree *worktree)
{
    return GIT_ASK(worktree, "log", "-g", "-1", "--no-show-signature", "--format=%gs", "HEAD", "--");
}

/* Did a person ask for a commit without a branch, and not a rebase or a bisect? */
static bool is_detached_by_hand(const struct worktree *worktree)
{
    char *text = NULL;
    bool by_hand = false;

    if (has_state(worktree, "BISECT_LOG") || has_state(worktree, "rebase-merge") || has_state(worktree, "rebase-apply"))
        return false;
    text = newest_reflog(worktree);
    by_hand = !text || !text[0] || !strncmp(text, "checkout:", 9);
    free(text);
    return by_hand;
}

/* ---- words ---- */

/* The first line of a text of others. */
static void say(const char *what, const char *text)
{
    fputs("bough: ", stderr);
    if (what)
        fprintf(stderr, "%s: ", what);
    out_line(stderr, text);
    putc('\n', stderr);
}

static void say_branch(const bough_branch *branch, const char *from, const char *overriding)
{
    fprintf(stderr, "bough: the database is on branch %s%s%s%s\n", branch->name, from ? ", forked from " : "",
            from ? from : "", branch->is_protected ? " (protected: it refuses writes)" : "");
    if (overriding)
        fprintf(stderr, "bough: here $BOUGH_BRANCH makes it %s\n", overriding);
}

static void say_detached(struct cli *cli)
{
    const char *current = NULL;

    if (cli_current_or_none(cli, &current) == BOUGH_OK && current)
        fprintf(stderr, "bough: HEAD is on no branch; the database stays on branch %s\n", current);
    else
        fputs("bough: HEAD is on no branch; bough switch NAME chooses a branch for the database\n", stderr);
}

/* ---- the branch ---- */

/* Forks it. Somebody else may do the same at the same moment. */
static int make_branch(struct cli *cli, bough_branches *out, char **out_from, const char *name, const char *git_branch,
                       bool moved)
{
    bough_options options = cli_options(cli, NULL);
    char *from = git_origin_of(cli, &cli->worktree, git_branch, moved);
    int rc = BOUGH_OK;

    if (!from)
        return cli_fail(cli, BOUGH_NOT_FOUND, "branch %s: the store has no branch that it could be forked from", name);
    rc = cli_check(cli, bough_branch_create(out, cli->store, &name, 1, from, &options));
    if (rc == BOUGH_REFUSED && bough_branch_get(out, cli->store, name) == BOUGH_OK)
        rc = BOUGH_OK;
    *out_from = from;
    return rc;
}

static int find_or_make(struct cli *cli, bough_branches *out, char **out_from, const char *name, const char *git_branch,
                        bool moved)
{
    int rc = cli_check(cli, bough_branch_get(out, cli->store, name));

    return rc == BOUGH_NOT_FOUND ? make_branch(cli, out, out_from, name, git_branch, moved) : rc;
}

int git_follow(struct cli *cli, const char *git_branch, bool moved)
{
    bough_branches branches = {NULL, 0};
    bough_branches switched = {NULL, 0};
    char *name = git_name_map(git_branch);
    char *from = NULL;
    const char *current = NULL;
    bool is_there = false;
    int rc = BOUGH_OK;

    if (!name)
        return cli_fail(cli, BOUGH_USAGE, "the name of git's branch is too long for the store: %s", git_branch);
    rc = cli_current_or_none(cli, &current);
    is_there = rc == BOUGH_OK && current && !strcmp(current, name);
    if (rc == BOUGH_OK && !is_there)
        rc = find_or_make(cli, &branches, &from, name, git_branch, moved);
    if (rc == BOUGH_OK && !is_there)
        rc = cli_switch(cli, &switched, name);
    if (rc == BOUGH_OK && !is_there)
        say_branch(&branches.items[0], from, getenv("BOUGH_BRANCH"));
    bough_branches_release(&switched);
    bough_branches_release(&branches);
    free(from);
    free(name);
    return rc;
}

/* ---- migrations ---- */

/* One row of up to two columns that SQL makes of a text; NULL for what is null or not there. */
static void ask_sql(sqlite3 *db, const char *sql, const char *text, char *out[2])
{
    sqlite3_stmt *statement = NULL;

    out[0] = out[1] = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
        (!text || sqlite3_bind_text(statement, 1, text, -1, SQLITE_STATIC) == SQLITE_OK) &&
        sqlite3_step(statement) == SQLITE_ROW) {
        for (int i = 0; i < 2 && i < sqlite3_column_count(statement); i++) {
            const char *value = (const char *)sqlite3_column_text(statement, i);

            out[i] = value ? out_copy(value) : NULL;
        }
    }
    sqlite3_finalize(statement);
}

static void ask_json(const char *sql, const char *document, char *out[2])
{
    sqlite3 *db = NULL;

    out[0] = out[1] = NULL;
    if (sqlite3_open(":memory:", &db) == SQLITE_OK)
        ask_sql(db, sql, document, out);
    sqlite3_close(db);
}

/* The table in which another tool keeps what it applied, where bough has not taken over from it: to apply everything
 * once more would be wrong. */
static int find_other_history(struct cli *cli, char **out, const char *branch)
{
    static const char sql[] = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('schema_migrations', "
                              "'goose_db_version', '_sqlx_migrations') AND NOT EXISTS (SELECT 1 FROM sqlite_schema "
                              "WHERE type = 'table' AND name = 'migrations')";
    struct database database = {0};
    char *row[2] = {NULL, NULL};
    int rc = database_open(cli, &database, branch, false);

    if (rc == BOUGH_OK)
        ask_sql(database.handle, sql, NULL, row);
    database_close(&database);
    *out = row[0];
    return rc;
}

static void say_migrated(const char *branch, const struct git_answer *answer)
{
    char *counts[2] = {NULL, NULL};
    char *rest = answer->err;

    ask_json("SELECT json_array_length(?1, '$.applied'), json_array_length(?1, '$.rolled_back')", answer->out, counts);
    if (counts[0] && counts[1] && (strcmp(counts[0], "0") != 0 || strcmp(counts[1], "0") != 0))
        fprintf(stderr, "bough: branch %s: migrations applied: %s, rolled back: %s\n", branch, counts[0], counts[1]);
    for (char *line = NULL; (line = git_next_line(&rest)) != NULL;)
        say(NULL, !strncmp(line, "bough: ", 7) ? line + 7 : line);
    free(counts[0]);
    free(counts[1]);
}

static void say_not_migrated(const char *branch, const struct git_answer *answer)
{
    char *what = out_format("branch %s: bough migrate sync", branch);
    char *message[2] = {NULL, NULL};

    ask_json("SELECT json_extract(?1, '$.error.message')", answer->err, message);
    if (answer->error == ETIMEDOUT)
        say(what, "took longer than a minute and was stopped; nothing is changed");
    else if (answer->error)
        say(what, strerror(answer->error));
    else
        say(what, message[0] ? message[0] : answer->err[0] ? answer->err : "failed");
    free(message[0]);
    free(message[1]);
    free(what);
}

/* Its own process: it has a time limit, and whatever becomes of it, git goes on. */
static void run_migrate(struct cli *cli, const char *branch)
{
    const struct worktree *worktree = &cli->worktree;
    char *program = realpath("/proc/self/exe", NULL);
    char *timeout = out_format("%d", LOCK_TIMEOUT_MS / 1000);
    const char *argv[] = {program, "--json", "--store", worktree->store, "--timeout",          timeout, "migrate",
                          "sync",  "-b",     branch,    "--dir",         worktree->migrations, NULL};
    struct git_answer answer = {0};

    unsetenv("BOUGH_BRANCH");
    git_run_program(&answer, worktree->root, argv, MIGRATE_TIMEOUT_MS);
    if (answer.status == 0)
        say_migrated(branch, &answer);
    else
        say_not_migrated(branch, &answer);
    git_answer_release(&answer);
    free(timeout);
    free(program);
}

static bool has_migrations(const struct worktree *worktree)
{
    char *path = NULL;
    struct stat info = {0};
    bool has = false;

    if (!worktree->migrations)
        return false;
    path = out_format("%s/%s", worktree->root, worktree->migrations);
    has = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    free(path);
    return has;
}

static int sync_migrations(struct cli *cli)
{
    const char *branch = NULL;
    char *other = NULL;
    int rc = BOUGH_OK;

    if (!has_migrations(&cli->worktree) || !cli_find_command("migrate"))
        return BOUGH_OK;
    rc = cli_current_or_none(cli, &branch);
    if (rc != BOUGH_OK || !branch)
        return rc;
    rc = find_other_history(cli, &other, branch);
    if (rc == BOUGH_OK && other)
        fprintf(stderr,
                "bough: branch %s: migrations are not run beside another tool's (table %s); "
                "bough migrate adopt takes them over\n",
                branch, other);
    else if (rc == BOUGH_OK)
        run_migrate(cli, branch);
    free(other);
    return rc;
}

/* ---- hooks ---- */

static int follow_and_sync(struct cli *cli, const char *git_branch, bool moved)
{
    int rc = git_follow(cli, git_branch, moved);

    return rc == BOUGH_OK ? sync_migrations(cli) : rc;
}

static int after_checkout(struct cli *cli, const char *old_commit, const char *new_commit)
{
    char *branch = git_branch_of(&cli->worktree);
    int rc = BOUGH_OK;

    if (!branch)
        branch = branch_of_empty_rebase(&cli->worktree, new_commit);
    if (branch)
        rc = follow_and_sync(cli, branch, strcmp(old_commit, new_commit) != 0);
    else if (is_detached_by_hand(&cli->worktree))
        say_detached(cli);
    free(branch);
    return rc;
}

static int after_rebase(struct cli *cli)
{
    char *branch = git_branch_of(&cli->worktree);
    int rc = BOUGH_OK;

    if (!branch)
        branch = rebased_branch(&cli->worktree);
    if (!branch)
        branch = branch_of_applied_rebase(cli);
    if (branch)
        rc = follow_and_sync(cli, branch, true);
    free(branch);
    return rc;
}

/* Is it a commit that brings the code of others: of a merge that had conflicts, a cherry-pick, a revert? */
static bool brings_code(const struct worktree *worktree)
{
    static const char *const leads[] = {"commit (merge)", "commit (cherry-pick)", "cherry-pick", "revert"};
    char *text = newest_reflog(worktree);
    bool brings = has_state(worktree, "CHERRY_PICK_HEAD");

    for (size_t i = 0; text && i < sizeof leads / sizeof leads[0]; i++)
        brings = brings || !strncmp(text, leads[i], strlen(leads[i]));
    free(text);
    return brings;
}

static int after_commit(struct cli *cli)
{
    char *branch = git_branch_of(&cli->worktree);
    int rc = branch ? sync_migrations(cli) : BOUGH_OK;

    free(branch);
    return rc;
}

static int dispatch(struct cli *cli, const char *name, const char *const *arguments)
{
    if (!strcmp(name, "post-checkout"))
        return after_checkout(cli, arguments[0], arguments[1]);
    if (!strcmp(name, "post-rewrite"))
        return after_rebase(cli);
    return after_commit(cli);
}

/* Is there anything to do? Decided before the store is opened. */
static bool concerns_us(const struct worktree *worktree, const char *name, const char *const *arguments, size_t count)
{
    if (!strcmp(name, "post-checkout"))
        return count >= 3 && !strcmp(arguments[2], "1");
    if (!strcmp(name, "post-rewrite"))
        return count >= 1 && !strcmp(arguments[0], "rebase");
    if (!strcmp(name, "post-commit"))
        return has_migrations(worktree) && brings_code(worktree);
    return !strcmp(name, "post-merge") && has_migrations(worktree);
}

/* git may run a hook for another repository than the one around the working directory: that one is left alone. */
static bool is_asked_about(const struct worktree *worktree)
{
    const char *given = getenv("GIT_DIR");
    char *real = given ? realpath(given, NULL) : NULL;
    bool same = !given || (real && !strcmp(real, worktree->git_dir));

    free(real);
    return same;
}

void git_hook_run(struct cli *cli, const char *name, const char *const *arguments, size_t count)
{
    struct worktree worktree = {0};
    char *directory = getcwd(NULL, 0);
    int rc = BOUGH_OK;

    if (directory && worktree_find(&worktree, directory, false) && worktree.installed && is_asked_about(&worktree)) {
        git_forget_environment();
        if (concerns_us(&worktree, name, arguments, count)) {
            cli->store_option = worktree.store;
            cli->branch_override = NULL;
            cli->timeout_ms = LOCK_TIMEOUT_MS;
            rc = cli_open(cli);
            if (rc == BOUGH_OK)
                rc = dispatch(cli, name, arguments);
            cli->store_option = NULL;
        }
    }
    if (rc != BOUGH_OK)
        say(NULL, cli->message ? cli->message : bough_code_name(rc));
    worktree_release(&worktree);
    free(directory);
}
