/* locate.c - finds the store that a command is about and opens it.
 *
 * The search looks for directories *.bough, here first and then upwards, and ends at the first directory that has any.
 * The root of a git worktree that `bough git install` set up has the store that was recorded there.
 * It does not climb into a directory whose owner is not the owner of the one where it began: a store that somebody else
 * put into a shared directory above is never picked up by chance. */
#include "cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct found {
    char **paths;
    size_t count;
};

static void found_release(struct found *found)
{
    for (size_t i = 0; i < found->count; i++)
        free(found->paths[i]);
    free(found->paths);
    found->paths = NULL;
    found->count = 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool has_suffix(const char *name)
{
    size_t length = strlen(name);

    return name[0] != '.' && length > 6 && !strcmp(name + length - 6, ".bough");
}

/* The directories *.bough in a directory; one that cannot be read has none. */
static void list_stores(struct found *found, const char *directory)
{
    DIR *stream = opendir(directory);
    struct dirent *entry = NULL;

    while (stream && (entry = readdir(stream)) != NULL) {
        struct stat info = {0};

        if (!has_suffix(entry->d_name) || fstatat(dirfd(stream), entry->d_name, &info, 0) != 0 ||
            !S_ISDIR(info.st_mode))
            continue;
        found->paths = out_grow(found->paths, (found->count + 1) * sizeof found->paths[0]);
        found->paths[found->count++] = out_format("%s%s%s", directory, directory[1] ? "/" : "", entry->d_name);
    }
    if (stream)
        closedir(stream);
    if (found->count > 1)
        qsort(found->paths, found->count, sizeof found->paths[0], by_name);
}

/* The store that install recorded for a worktree with this root, if it is there. */
static bool find_recorded(struct found *found, const char *directory)
{
    struct worktree worktree = {0};
    struct stat info = {0};

    if (worktree_at(&worktree, directory) && worktree.installed && stat(worktree.store, &info) == 0 &&
        S_ISDIR(info.st_mode)) {
        found->paths = out_grow(found->paths, sizeof found->paths[0]);
        found->paths[0] = out_copy(worktree.store);
        found->count = 1;
    }
    worktree_release(&worktree);
    return found->count != 0;
}

static void search(struct found *found, char *directory)
{
    struct stat info = {0};
    uid_t owner = stat(directory, &info) == 0 ? info.st_uid : geteuid();

    do {
        if (stat(directory, &info) != 0 || info.st_uid != owner)
            return;
        if (!find_recorded(found, directory))
            list_stores(found, directory);
    } while (found->count == 0 && worktree_climb(directory));
}

static int several(struct cli *cli, const struct found *found)
{
    char *list = out_copy("");

    for (size_t i = 0; i < found->count; i++) {
        char *longer = out_format("%s%s%s", list, i ? ", " : "", found->paths[i]);

        free(list);
        list = longer;
    }
    cli_fail(cli, BOUGH_USAGE, "several stores are here: %s", list);
    cli_hint(cli, "choose one with --store PATH or $BOUGH_STORE");
    free(list);
    return BOUGH_USAGE;
}

int cli_search(struct cli *cli, char **out, const char *directory)
{
    struct found found = {NULL, 0};
    char *path = out_copy(directory);
    int rc = BOUGH_OK;

    search(&found, path);
    if (found.count == 1) {
        *out = out_copy(found.paths[0]);
    } else if (found.count > 1) {
        rc = several(cli, &found);
    } else {
        cli_hint(cli, "make one with bough init FILE.db, or name one with --store PATH");
        rc = cli_fail(cli, BOUGH_NOT_FOUND, "no store (*.bough) here or in a directory above");
    }
    found_release(&found);
    free(path);
    return rc;
}

int cli_locate(struct cli *cli, char **out)
{
    const char *set = cli->store_option ? cli->store_option : getenv("BOUGH_STORE");
    char *directory = NULL;
    int rc = BOUGH_OK;

    if (set && set[0]) {
        *out = out_copy(set);
        return BOUGH_OK;
    }
    directory = getcwd(NULL, 0);
    if (!directory)
        return cli_fail(cli, errno == ENOENT ? BOUGH_NOT_FOUND : BOUGH_IO, "the working directory: %s",
                        strerror(errno));
    rc = cli_search(cli, out, directory);
    free(directory);
    return rc;
}

/* The worktree around the working directory, if install set it up for this store. */
static void find_worktree(struct cli *cli)
{
    char *directory = getcwd(NULL, 0);
    struct stat ours = {0};
    struct stat theirs = {0};

    worktree_release(&cli->worktree);
    if (!directory || !worktree_find(&cli->worktree, directory, true)) {
        free(directory);
        return;
    }
    if (stat(bough_store_path(cli->store), &ours) != 0 || stat(cli->worktree.store, &theirs) != 0 ||
        ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino)
        worktree_release(&cli->worktree);
    free(directory);
}

/* $BOUGH_BRANCH must name a branch, whatever the command does with it. */
static int check_override(struct cli *cli)
{
    bough_branches branches = {NULL, 0};
    int rc = BOUGH_OK;

    if (!cli->branch_override)
        return BOUGH_OK;
    rc = cli_check(cli, bough_branch_get(&branches, cli->store, cli->branch_override));
    bough_branches_release(&branches);
    if (rc == BOUGH_NOT_FOUND || rc == BOUGH_USAGE)
        rc = cli_fail(cli, BOUGH_NOT_FOUND, "$BOUGH_BRANCH names no branch: %s", cli->branch_override);
    return rc;
}

int cli_open(struct cli *cli)
{
    bough_options options = cli_options(cli, NULL);
    char *path = NULL;
    int rc = cli_locate(cli, &path);

    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_store_open(&cli->store, path, &options));
    if (rc == BOUGH_OK)
        find_worktree(cli);
    if (rc == BOUGH_OK)
        rc = check_override(cli);
    free(path);
    return rc;
}
