/* worktree.h - git working trees that `bough git install` set up, read without git.
 *
 * Install writes a record into the repository: a file bough/install in its common git directory, so that linked
 * worktrees find it too. The main worktree follows the store's current branch. Each linked one has a current branch of
 * its own, in the file bough/branch of its own git directory, or none at all: it never falls back to a branch that
 * somebody else chose. The same holds for a clone that uses the store in another repository's working tree. */
#ifndef BOUGH_CLI_WORKTREE_H
#define BOUGH_CLI_WORKTREE_H

#include <stdbool.h>
#include <stddef.h>

struct worktree {
    char *root;    /* absolute; NULL: none was found */
    char *git_dir; /* of this worktree */
    char *common;  /* of the repository; the same as git_dir but in a linked worktree */

    /* The record; all of it empty where install did not run. */
    bool installed;
    char *store;      /* absolute; it may be gone */
    char *migrations; /* a directory, relative to the root; NULL: migrations are not run */
    char **hooks;     /* directories that got hooks; absolute, or relative to common */
    size_t hook_count;
    char **made; /* directories that install made, likewise */
    size_t made_count;

    bool own;     /* keeps a current branch of its own */
    char *branch; /* that branch; NULL: none yet */
};

/* The worktree whose root is this directory (absolute, without symlinks); false when it is none. */
bool worktree_at(struct worktree *out, const char *directory);
/* The nearest one from the directory upwards, up to a directory of another owner; with installed_only, the nearest that
 * install set up. */
bool worktree_find(struct worktree *out, const char *directory, bool installed_only);
/* The one around the store of a worktree; false when the store stands in none. */
bool worktree_of_store(struct worktree *out, const struct worktree *worktree);
/* Decides whether a worktree keeps a branch of its own. */
void worktree_decide_own(struct worktree *worktree);
void worktree_release(struct worktree *worktree);

/* Makes the branch the worktree's own current one: 0 or an errno. */
int worktree_set_branch(struct worktree *worktree, const char *branch);
/* Writes the record, with what the struct says of store, migrations and hooks: 0 or an errno. */
int worktree_write_record(const struct worktree *worktree);
/* Removes record and own branches, of all worktrees of the repository: 0 or an errno. */
int worktree_remove_records(const struct worktree *worktree);

/* Adds a directory to a list of the record, if it is not there. */
void worktree_note(const struct worktree *worktree, char ***list, size_t *count, const char *directory);
/* The absolute path of a path in the record; free() it. */
char *worktree_recorded_path(const struct worktree *worktree, const char *recorded);
/* Cuts the last part off an absolute path; false at the root. */
bool worktree_climb(char *path);
/* Is path the directory or below it? */
bool worktree_is_inside(const char *path, const char *directory);

#endif
