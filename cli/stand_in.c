/* stand_in.c - see stand_in.h.
 *
 * The program gets a mount namespace of its own, in which a symlink to the copy is mounted over the file. Why a symlink
 * and not the copy: SQLite resolves it and puts its -journal and -wal beside the copy. With the copy itself mounted
 * they would stand beside the file, outside the program's private view, and whoever opens the file next would roll them
 * back into it. The mount ends with the last process of the program, however that ends. */
#include "stand_in.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_directory(struct cli *cli, struct stand_in *out)
{
    const char *parent = getenv("TMPDIR");
    char *given = out_format("%s/bough-run-XXXXXX", parent && parent[0] ? parent : "/tmp");
    int rc = BOUGH_OK;

    if (mkdtemp(given))
        out->directory = realpath(given, NULL);
    if (!out->directory) {
        rc = cli_fail(cli, BOUGH_IO, "a directory for the copy, %s: %s", given, strerror(errno));
    } else {
        out->path = out_format("%s/copy.db", out->directory);
        out->link = out_format("%s/link", out->directory);
        if (symlink(out->path, out->link) != 0)
            rc = cli_fail(cli, BOUGH_IO, "%s: %s", out->link, strerror(errno));
    }
    free(given);
    return rc;
}

static int seal(struct cli *cli, struct stand_in *out, const char *branch)
{
    bough_options options = cli_options(cli, NULL);
    bough_sealed sealed = {0};
    int rc = cli_check(cli, bough_commit_create(&sealed, cli->store, branch, &options));

    if (rc == BOUGH_OK)
        memcpy(out->base, sealed.id, sizeof out->base);
    bough_sealed_release(&sealed);
    return rc;
}

int stand_in_make(struct cli *cli, struct stand_in *out, const char *branch, const char *file)
{
    bough_transfer transfer = {0};
    struct stat info = {0};
    int rc = BOUGH_OK;

    out->file = file;
    out->uid = geteuid();
    out->gid = getegid();
    if (stat(file, &info) != 0)
        return cli_fail(cli, BOUGH_NOT_FOUND, "%s: %s", file, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return cli_fail(cli, BOUGH_USAGE, "%s is no regular file", file);
    rc = seal(cli, out, branch);
    if (rc == BOUGH_OK) {
        bough_options options = cli_options(cli, "copying"); /* from here on a signal waits until all is removed */

        rc = make_directory(cli, out);
        if (rc == BOUGH_OK)
            rc = cli_check(cli, bough_export(&transfer, cli->store, out->base, out->path, &options));
        if (rc == BOUGH_OK && out_interrupted_by())
            rc = BOUGH_INTERRUPTED;
        cli_work_end(cli);
    }
    bough_transfer_release(&transfer);
    return rc;
}

/* ---- the mount ---- */

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    int saved = errno;

    if (fd >= 0)
        close(fd);
    errno = saved;
    return done;
}

/* Whoever may not mount may in a user namespace, where the user is who they were. */
static bool enter_user_namespace(const struct stand_in *stand_in)
{
    char users[40] = "";
    char groups[40] = "";

    snprintf(users, sizeof users, "%u %u 1", stand_in->uid, stand_in->uid);
    snprintf(groups, sizeof groups, "%u %u 1", stand_in->gid, stand_in->gid);
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_text("/proc/self/uid_map", users) &&
           write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/gid_map", groups);
}

int stand_in_mount(const void *context)
{
    const struct stand_in *stand_in = context;
    int tree = -1;

    if (unshare(CLONE_NEWNS) != 0 && !enter_user_namespace(stand_in))
        return errno;
    /* What is mounted here is nobody else's business. */
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return errno;
    tree = open_tree(AT_FDCWD, stand_in->link, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
    if (tree < 0 || move_mount(tree, "", AT_FDCWD, stand_in->file, MOVE_MOUNT_F_EMPTY_PATH) != 0)
        return errno;
    close(tree);
    return 0;
}

/* ---- afterwards ---- */

static int check_unmoved(struct cli *cli, const struct stand_in *stand_in, const char *branch)
{
    bough_branches branches = {NULL, 0};
    int rc = cli_check(cli, bough_branch_get(&branches, cli->store, branch));

    if (rc == BOUGH_OK && (branches.items[0].dirty || strcmp(branches.items[0].head, stand_in->base) != 0))
        rc = cli_fail(cli, BOUGH_REFUSED, "branch %s has moved while the program ran", branch);
    bough_branches_release(&branches);
    return rc;
}

int stand_in_import(struct cli *cli, const struct stand_in *stand_in, const char *branch, const char *message)
{
    char id[OUT_TEXT_SIZE] = "";
    bough_transfer transfer = {0};
    int rc = check_unmoved(cli, stand_in, branch);

    if (rc == BOUGH_OK) {
        bough_options options = cli_options(cli, "importing");

        options.message = message;
        rc = cli_check(cli, bough_import(&transfer, cli->store, branch, stand_in->path, &options));
        cli_work_end(cli);
    }
    /* stdout is the program's. */
    if (rc == BOUGH_OK && transfer.changed && !cli->quiet && !cli->json)
        fprintf(stderr, "branch %s: commit %s\n", branch, out_short_id(id, transfer.id));
    bough_transfer_release(&transfer);
    return rc;
}

void stand_in_remove(struct stand_in *stand_in)
{
    DIR *stream = stand_in->directory ? opendir(stand_in->directory) : NULL;
    struct dirent *entry = NULL;

    while (stream && (entry = readdir(stream)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(stream), entry->d_name, 0);
    }
    if (stream)
        closedir(stream);
    if (stand_in->directory)
        rmdir(stand_in->directory);
}

void stand_in_release(struct stand_in *stand_in)
{
    free(stand_in->directory);
    free(stand_in->path);
    free(stand_in->link);
}
