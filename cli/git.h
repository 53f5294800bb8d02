/* git.h - the parts of `bough git`: its hooks, names of branches, questions to git, and what a hook does. */
#ifndef BOUGH_CLI_GIT_H
#define BOUGH_CLI_GIT_H

#include "cli.h"
#include "worktree.h"

/* ---- git_hooks.c: hooks as files ---- */

extern const char *const git_hook_names[]; /* NULL ends it */
/* Puts the hooks into a directory, all or none. What is there already runs on, after ours. */
int git_hooks_install(struct cli *cli, const char *directory);
/* Takes them out of it. With `tells`, what could not be put back as it was is said on stderr. */
int git_hooks_remove(struct cli *cli, const char *directory, bool tells);
bool git_hooks_has(const char *directory, const char *name);
/* Lines in info/exclude that keep the store out of git's hands. */
int git_exclude_add(struct cli *cli, const struct worktree *worktree);
int git_exclude_remove(struct cli *cli, const struct worktree *worktree);

/* ---- git_report.c ---- */

/* The directory of hooks as git finds it, with core.hooksPath; free() it. */
int git_hooks_directory(struct cli *cli, const struct worktree *worktree, char **out);
/* Prints what is installed and which branches belong together; with the store open, where one is recorded. */
int git_report(struct cli *cli, const struct worktree *worktree);

/* ---- git_name.c ---- */

/* The branch of the store for a branch of git, named without refs/heads/; NULL when it would be too long. */
char *git_name_map(const char *git_branch);

/* ---- git_ask.c: other programs ---- */

#define GIT_TIMEOUT_MS 10000

struct git_answer {
    int status;   /* exit status; 128 and the number of the signal that ended it; -1: not started or out of time */
    int error;    /* errno when it was not started, ETIMEDOUT when it took too long */
    char *out, *err; /* what it wrote, without line breaks at the end */
};
/* Runs argv[0] (looked for in $PATH) in the directory, with nothing to read, for at most so long. */
void git_run_program(struct git_answer *out, const char *directory, const char *const argv[], uint32_t timeout_ms);
void git_answer_release(struct git_answer *answer);
/* What `git WORDS...` prints; NULL when it fails. The words end with NULL. */
char *git_ask(const struct worktree *worktree, const char *const words[]);
#define GIT_ASK(worktree, ...) git_ask(worktree, (const char *const[]){__VA_ARGS__, NULL})
/* The messages of a ref's log, the newest first, a line each. */
char *git_reflog(const struct worktree *worktree, const char *ref);
/* Cuts the first line off the rest; NULL at the end. */
char *git_next_line(char **rest);
/* Takes out of the environment what a caller of hooks or a shell says about another repository. */
void git_forget_environment(void);

/* ---- git_origin.c ---- */

/* The branch of the store that a new branch for git's `git_branch` is forked from; NULL when there is none. `moved`:
 * HEAD is now on another commit than before. */
char *git_origin_of(struct cli *cli, const struct worktree *worktree, const char *git_branch, bool moved);

/* ---- git_follow.c ---- */

/* Puts the database of a worktree on the branch that git has checked out, forked if it is not there. */
int git_follow(struct cli *cli, const char *git_branch, bool moved);
/* What git's hook `name` with these arguments has to do in the worktree of the working directory. Every failure is one
 * line on stderr. */
void git_hook_run(struct cli *cli, const char *name, const char *const *arguments, size_t count);
/* git's branch in a worktree, without refs/heads/; NULL when HEAD names a commit. */
char *git_branch_of(const struct worktree *worktree);

#endif
