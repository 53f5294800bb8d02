/* init.c - making a store: whole or not at all.
 *
 * The store grows in a directory of another name beside its place, .NAME.tmp-PID-RANDOM, which no search for *.bough
 * finds; everything in it is made durable, then one rename puts it in place. Its maker holds a flock on the directory
 * as long as it works. A directory of that name whose flock is free was left by a maker that was killed, and the next
 * init of the same store removes it. A maker that is killed after the rename leaves it to the store's first opener to
 * make the name durable (bough__catalog_mark_new).
 */
#include "error.h"
#include "fill.h"
#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define MAIN_BRANCH "main"

struct nursery {
    char *parent; /* absolute */
    char *name;   /* of the store in it */
    char *store;  /* parent/name */
    char *prefix; /* of the names of temporary directories */
    char *path;   /* the temporary directory; NULL: none now */
    int fd;       /* of it, with the flock */
    mode_t mode, directory_mode;
};

/* ---- names ----------------------------------------------------------------------------------------------------- */

/* Takes "some/where/shop.bough/" apart. */
static int split_path(struct nursery *nursery, const char *store_path)
{
    char *path = bough__strdup(store_path);
    if (!path)
        return BOUGH_NOMEM;
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        path[--len] = 0;
    char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    int rc = BOUGH_OK;
    if (!name[0] || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        rc = bough__fail(BOUGH_USAGE, "'%s' is no name for a store", store_path);
    if (rc == BOUGH_OK && !(nursery->name = bough__strdup(name)))
        rc = BOUGH_NOMEM;
    if (slash)
        slash[slash == path ? 1 : 0] = 0;
    if (rc == BOUGH_OK && !(nursery->parent = realpath(slash ? path : ".", NULL)))
        rc = bough__fail_errno("open the directory", slash ? path : ".");
    free(path);
    return rc;
}

static int name_nursery(struct nursery *nursery, const char *store_path)
{
    struct stat info;
    int rc = split_path(nursery, store_path);
    if (rc != BOUGH_OK)
        return rc;
    const char *separator = strcmp(nursery->parent, "/") == 0 ? "" : "/";
    nursery->store = bough__format("%s%s%s", nursery->parent, separator, nursery->name);
    nursery->prefix = bough__format(".%s.tmp-", nursery->name);
    if (!nursery->store || !nursery->prefix)
        return BOUGH_NOMEM;
    if (bough__os.lstat(nursery->store, &info) == 0)
        return bough__fail(BOUGH_REFUSED, "%s exists already", nursery->store);
    return errno == ENOENT ? BOUGH_OK : bough__fail_errno("examine", nursery->store);
}

/* ---- temporary directories ------------------------------------------------------------------------------------- */

/* Removes what is in a store-like directory: files, and directories one level down. What cannot go stays. */
static void remove_tree(const char *path, int depth)
{
    DIR *directory = opendir(path);
    struct dirent *entry = NULL;
    while (directory && (entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *child = bough__format("%s/%s", path, entry->d_name);
        if (child && bough__os.unlink(child) != 0 && depth > 0)
            remove_tree(child, depth - 1);
        free(child);
    }
    if (directory)
        closedir(directory);
    bough__os.rmdir(path);
}

/* Locks the directory; BOUGH_BUSY when its maker lives, or when it was removed in the same moment. */
static int lock_directory(int *out_fd, const char *path)
{
    struct stat info;
    int rc = bough__os_open(out_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (rc != BOUGH_OK)
        return rc == BOUGH_NOT_FOUND ? BOUGH_BUSY : rc;
    if (flock(*out_fd, LOCK_EX | LOCK_NB) != 0)
        rc = errno == EWOULDBLOCK ? BOUGH_BUSY : bough__fail_errno("lock", path);
    else if (bough__os.fstat(*out_fd, &info) != 0 || info.st_nlink == 0)
        rc = BOUGH_BUSY;
    if (rc != BOUGH_OK)
        bough__os_close(out_fd);
    return rc;
}

static void sweep(const struct nursery *nursery)
{
    DIR *directory = opendir(nursery->parent);
    struct dirent *entry = NULL;
    while (directory && (entry = readdir(directory))) {
        int fd = -1;
        if (strncmp(entry->d_name, nursery->prefix, strlen(nursery->prefix)) != 0)
            continue;
        char *path = bough__format("%s/%s", nursery->parent, entry->d_name);
        if (path && lock_directory(&fd, path) == BOUGH_OK)
            remove_tree(path, 1);
        bough__os_close(&fd);
        free(path);
    }
    if (directory)
        closedir(directory);
}

static int make_directory(struct nursery *nursery)
{
    for (int tries = 0;; tries++) {
        uint32_t random = 0;
        int rc = bough__os_random(&random, sizeof random);
        if (rc != BOUGH_OK)
            return rc;
        nursery->path = bough__format("%s/%s%ld-%08x", nursery->parent, nursery->prefix, (long)getpid(), random);
        if (!nursery->path)
            return BOUGH_NOMEM;
        if (bough__os.mkdir(nursery->path, nursery->directory_mode) == 0) {
            rc = lock_directory(&nursery->fd, nursery->path);
            if (rc == BOUGH_OK)
                return rc;
        } else {
            rc = errno == EEXIST ? BOUGH_BUSY : bough__fail_errno("make the directory", nursery->path);
        }
        /* BOUGH_BUSY: another init swept it away before it was locked, or took the name. */
        free(nursery->path);
        nursery->path = NULL;
        if (rc != BOUGH_BUSY)
            return rc;
        if (tries == 100)
            return bough__fail(BOUGH_BUSY, "cannot make a temporary directory in %s", nursery->parent);
    }
}

static int make_subdirectory(const struct nursery *nursery, const char *name)
{
    char *path = bough__format("%s/%s", nursery->path, name);
    int rc = path ? BOUGH_OK : BOUGH_NOMEM;
    if (path && bough__os.mkdir(path, nursery->directory_mode) != 0 && errno != EEXIST)
        rc = bough__fail_errno("make the directory", path);
    free(path);
    return rc;
}

static int sync_directories(const struct nursery *nursery)
{
    static const char *const names[] = {"/layers", "/nodes", ""};
    int rc = BOUGH_OK;
    for (size_t i = 0; rc == BOUGH_OK && i < sizeof names / sizeof *names; i++) {
        char *path = bough__format("%s%s", nursery->path, names[i]);
        rc = path ? bough__os_sync_directory(path) : BOUGH_NOMEM;
        free(path);
    }
    return rc;
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

static int write_rows(struct bough__commit_row *commit, struct bough__catalog *catalog, const struct bough__fill *fill,
                      const char *origin)
{
    char current[24] = "";
    struct bough__branch_row branch = {.has_base = true, .node_bytes = fill->stored_bytes};
    branch.name = bough__strdup(MAIN_BRANCH);
    branch.created_at_ms = bough__os_now_ms();
    int rc = branch.name ? bough__commit_record(catalog, commit) : BOUGH_NOMEM;
    if (rc == BOUGH_OK)
        rc = bough__catalog_new_layer(&branch.layer, catalog);
    memcpy(branch.base, commit->id, sizeof branch.base);
    memcpy(branch.head, commit->id, sizeof branch.head);
    if (rc == BOUGH_OK)
        rc = bough__catalog_branch_insert(catalog, &branch);
    snprintf(current, sizeof current, "%lld", (long long)branch.id);
    if (rc == BOUGH_OK)
        rc = bough__catalog_setting_put(catalog, "current", current);
    if (rc == BOUGH_OK && origin)
        rc = bough__catalog_setting_put(catalog, "origin", origin);
    bough__branch_row_clear(&branch);
    return rc;
}

static int record(bough_transfer *out, struct bough__catalog *catalog, const struct bough__fill *fill,
                  const char *origin)
{
    const char *name = origin ? strrchr(origin, '/') : NULL;
    struct bough__commit_row commit = {.tree = fill->tree, .changed_pages = fill->changed_pages};
    if (fill->options && fill->options->message)
        commit.message = bough__strdup(fill->options->message);
    else
        commit.message = origin ? bough__format("init %s", name ? name + 1 : origin) : bough__strdup("init");
    int rc = commit.message ? bough__catalog_begin(catalog) : BOUGH_NOMEM;
    if (rc == BOUGH_OK) {
        rc = write_rows(&commit, catalog, fill, origin);
        if (rc == BOUGH_OK)
            rc = bough__catalog_commit(catalog);
        if (rc != BOUGH_OK)
            bough__catalog_rollback(catalog);
    }
    bough__hex(out->id, commit.id, sizeof commit.id);
    bough__hex(out->root, commit.root, sizeof commit.root);
    bough__commit_row_clear(&commit);
    return rc;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

/* Fills the temporary directory; closes everything in it again, since it is about to get its real name. */
static int build(bough_transfer *out, const struct nursery *nursery, struct bough__source *source, const char *origin,
                 const bough_options *options)
{
    struct bough__fill fill = {.options = options};
    int rc = bough__space_create(nursery->path, nursery->mode);
    if (rc == BOUGH_OK)
        rc = make_subdirectory(nursery, "layers");
    if (rc == BOUGH_OK)
        rc = make_subdirectory(nursery, "nodes");
    if (rc == BOUGH_OK)
        rc = make_subdirectory(nursery, "run");
    if (rc == BOUGH_OK)
        rc = bough__catalog_create(nursery->path, nursery->mode);
    if (rc == BOUGH_OK)
        rc = bough__space_open(&fill.space, nursery->path);
    if (rc == BOUGH_OK)
        rc = bough__catalog_open(&fill.catalog, nursery->path, options ? options->timeout_ms : 5000);
    if (rc == BOUGH_OK)
        rc = bough__fill_run(&fill, source);
    if (rc == BOUGH_OK)
        rc = record(out, fill.catalog, &fill, origin);
    bough__fill_end(&fill, rc == BOUGH_OK);
    bough__catalog_close(fill.catalog);
    bough__space_close(fill.space);
    if (rc == BOUGH_OK)
        rc = bough__catalog_mark_new(nursery->path, true);
    return rc == BOUGH_OK ? sync_directories(nursery) : rc;
}

/* A rename replaces nothing but an empty directory, which no store is. */
static int put_in_place(struct nursery *nursery)
{
    if (bough__os.rename(nursery->path, nursery->store) != 0) {
        if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR)
            return bough__fail(BOUGH_REFUSED, "%s exists already", nursery->store);
        return bough__fail_errno("rename", nursery->path);
    }
    int rc = bough__os_sync_directory(nursery->parent);
    if (rc != BOUGH_OK && bough__os.rename(nursery->store, nursery->path) == 0)
        return rc; /* back in the nursery, which goes */
    if (rc == BOUGH_OK)
        (void)bough__catalog_mark_new(nursery->store, false); /* else an opener does it again */
    free(nursery->path);
    nursery->path = NULL;
    return rc;
}

int bough__store_init(bough_transfer *out, const char *store_path, const char *origin_or_null,
                      struct bough__source *source, const bough_options *options)
{
    struct nursery nursery = {.fd = -1};
    struct bough__error_state error;
    memset(out, 0, sizeof *out);
    /* Whoever may read the database may read the store. Its owner can write it even if the database was read-only. */
    nursery.mode = (source->mode & 0666) | S_IRUSR | S_IWUSR;
    nursery.directory_mode = nursery.mode | ((nursery.mode & 0444) >> 2);
    int rc = name_nursery(&nursery, store_path);
    if (rc != BOUGH_OK)
        goto done;
    sweep(&nursery);
    out->path = bough__strdup(nursery.store);
    out->branch = bough__strdup(MAIN_BRANCH);
    rc = out->path && out->branch ? make_directory(&nursery) : BOUGH_NOMEM;
    if (rc == BOUGH_OK)
        rc = build(out, &nursery, source, origin_or_null, options);
    if (rc == BOUGH_OK)
        rc = put_in_place(&nursery);
    out->size_bytes = source->size_bytes;
    out->changed = true;
done:
    bough__error_save(&error);
    if (nursery.path)
        remove_tree(nursery.path, 1);
    if (rc != BOUGH_OK)
        bough_transfer_release(out);
    bough__os_close(&nursery.fd);
    free(nursery.path);
    free(nursery.prefix);
    free(nursery.store);
    free(nursery.name);
    free(nursery.parent);
    bough__error_restore(&error);
    return rc;
}
