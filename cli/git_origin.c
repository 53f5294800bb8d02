/* git_origin.c - from which branch of the store is the one for a new branch of git forked?
 *
 * git does not know from which branch another one began. Asked for, in this order:
 *  1. its reflog, which names the branch that was given to `git switch -c NEW FROM`, or the old name after a rename;
 *  2. when HEAD is on the same commit as before, the branch that was left: what `git switch -c NEW` does;
 *  3. the history: the branch from which the new one has the fewest commits of its own, of those the one that has the
 *     fewest that the new one lacks, and then the one from which HEAD came here first. This finds the place of branches
 *     that were fetched, or begun by `git worktree add`;
 *  4. the branch that the database is on. */
#include "git.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CANDIDATES_MAX 20 /* each costs a run of git */

struct search {
    struct cli *cli;
    const struct worktree *worktree;
    const char *git_branch;
    char *own_name; /* in the store */
};

static const char *after(const char *text, const char *lead)
{
    size_t length = strlen(lead);

    return !strncmp(text, lead, length) ? text + length : NULL;
}

static bool exists(const struct search *search, const char *name)
{
    bough_branches branches = {NULL, 0};
    int rc = bough_branch_get(&branches, search->cli->store, name);

    bough_branches_release(&branches);
    return rc == BOUGH_OK;
}

/* The branch of the store for a branch of git, if it is there and another one than that which is looked for. */
static char *known(const struct search *search, const char *git_branch)
{
    char *name = git_name_map(git_branch);

    if (name && strcmp(name, search->own_name) != 0 && exists(search, name))
        return name;
    free(name);
    return NULL;
}

/* The same for a branch as git's messages and refs name it, also one of a remote. */
static char *known_ref(const struct search *search, const char *ref)
{
    const char *local = after(ref, "refs/heads/");
    const char *remote = after(ref, "refs/remotes/");
    char *name = NULL;

    if (local || !remote)
        name = known(search, local ? local : ref);
    if (!name && !local && strchr(remote ? remote : ref, '/'))
        name = known(search, strchr(remote ? remote : ref, '/') + 1);
    return name;
}

static char *from_reflog(const struct search *search)
{
    char *ref = out_format("refs/heads/%s", search->git_branch);
    char *text = git_reflog(search->worktree, ref);
    char *found = NULL;

    for (char *rest = text, *line = NULL; !found && (line = git_next_line(&rest)) != NULL;) {
        const char *from = after(line, "branch: Created from ");
        const char *old = after(line, "Branch: renamed ");

        if (old && strstr(old, " to "))
            *strstr(old, " to ") = 0;
        if (from && !after(from, "HEAD"))
            found = known_ref(search, from);
        else if (old)
            found = known_ref(search, old);
    }
    free(text);
    free(ref);
    return found;
}

static char *from_previous(const struct search *search)
{
    char *ref = GIT_ASK(search->worktree, "rev-parse", "-q", "--symbolic-full-name", "@{-1}");
    char *found = ref && after(ref, "refs/heads/") ? known_ref(search, ref) : NULL;

    free(ref);
    return found;
}

/* The branch of the worktree, or else of the store. */
static char *from_current(const struct search *search)
{
    const char *current = NULL;
    char *found = NULL;

    if (cli_current_or_none(search->cli, &current) == BOUGH_OK && current)
        return out_copy(current);
    return bough_branch_current(&found, search->cli->store) == BOUGH_OK ? found : NULL;
}

/* ---- the history ---- */

struct distance {
    unsigned long own, lacking; /* commits of the new branch alone; of the other one alone */
};

static bool measure(const struct search *search, struct distance *out, const char *ref)
{
    char *range = out_format("%s...refs/heads/%s", ref, search->git_branch);
    char *text = GIT_ASK(search->worktree, "rev-list", "--left-right", "--count", range, "--");
    bool ok = text && sscanf(text, "%lu %lu", &out->lacking, &out->own) == 2;

    free(text);
    free(range);
    return ok;
}

static bool is_nearer(struct distance a, struct distance b, bool wins_ties)
{
    if (a.own != b.own)
        return a.own < b.own;
    return a.lacking != b.lacking ? a.lacking < b.lacking : wins_ties;
}

/* The branch that HEAD came from when it first was on this one, as far as the worktree remembers. */
static char *from_first_checkout(const struct search *search)
{
    char *text = git_reflog(search->worktree, "HEAD");
    char *end = out_format(" to %s", search->git_branch);
    char *found = NULL;

    for (char *rest = text, *line = NULL; (line = git_next_line(&rest)) != NULL;) {
        const char *from = after(line, "checkout: moving from ");
        size_t length = from ? strlen(from) : 0;

        if (length <= strlen(end) || strcmp(from + length - strlen(end), end) != 0)
            continue;
        line[strlen(line) - strlen(end)] = 0;
        free(found);
        found = known(search, from);
    }
    free(end);
    free(text);
    return found;
}

/* The newest branches first. */
static char *from_history(const struct search *search)
{
    char *refs = GIT_ASK(search->worktree, "for-each-ref", "--sort=-committerdate", "--format=%(refname)", "refs/heads",
                         "refs/remotes");
    char *first = from_first_checkout(search);
    char *preferred = first ? first : from_current(search);
    struct distance best = {0, 0};
    char *found = NULL;
    size_t count = 0;

    for (char *rest = refs, *ref = NULL; count < CANDIDATES_MAX && (ref = git_next_line(&rest)) != NULL;) {
        struct distance distance = {0, 0};
        char *name = known_ref(search, ref);

        if (name && ++count && measure(search, &distance, ref) &&
            (!found || is_nearer(distance, best, preferred && !strcmp(preferred, name)))) {
            free(found);
            found = out_copy(name);
            best = distance;
        }
        free(name);
    }
    free(preferred);
    free(refs);
    return found;
}

char *git_origin_of(struct cli *cli, const struct worktree *worktree, const char *git_branch, bool moved)
{
    struct search search = {cli, worktree, git_branch, git_name_map(git_branch)};
    char *found = search.own_name ? from_reflog(&search) : NULL;

    if (!found && search.own_name && !moved) {
        found = from_previous(&search);
        if (!found)
            found = from_current(&search);
    }
    if (!found && search.own_name)
        found = from_history(&search);
    if (!found)
        found = from_current(&search);
    free(search.own_name);
    return found;
}
