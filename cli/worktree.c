/* worktree.c - see worktree.h. Paths are compared without symlinks. What cannot be read counts as not there: a command
 * that has nothing to do with git must not fail because of it. */
#include "worktree.h"

#include "out.h"
#include "textfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_TITLE "bough git 1"
#define RECORD_MAX   65536

/* ---- paths ---- */

bool worktree_climb(char *path)
{
    char *slash = strrchr(path, '/');

    if (!slash || !path[1])
        return false;
    slash[slash == path ? 1 : 0] = 0;
    return true;
}

bool worktree_is_inside(const char *path, const char *directory)
{
    size_t length = strlen(directory);

    if (length == 1)
        return path[0] == '/';
    return !strncmp(path, directory, length) && (path[length] == '/' || !path[length]);
}

static char *join(const char *directory, const char *path)
{
    return path[0] == '/' ? out_copy(path) : out_format("%s/%s", directory, path);
}

/* The text without the line break at its end; NULL when there is no such file, or one of more than a few lines. */
static char *read_line_file(const char *directory, const char *name)
{
    char *path = join(directory, name);
    size_t length = 0;
    char *text = textfile_read(path, PATH_MAX + 16, &length);

    free(path);
    while (text && length && text[length - 1] == '\n')
        text[--length] = 0;
    return text;
}

/* ---- git's files ---- */

/* `.git` is the git directory, or a file that says where it is. */
static char *find_git_dir(const char *directory)
{
    static const char lead[] = "gitdir: ";
    char *path = out_format("%s/.git", directory[1] ? directory : "");
    struct stat info = {0};
    char *text = NULL;
    char *found = NULL;

    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        found = realpath(path, NULL);
    } else if (S_ISREG(info.st_mode) && (text = read_line_file(directory, ".git")) != NULL &&
               !strncmp(text, lead, sizeof lead - 1)) {
        free(path);
        path = join(directory, text + sizeof lead - 1);
        found = realpath(path, NULL);
    }
    free(text);
    free(path);
    return found;
}

static char *find_common(const char *git_dir)
{
    char *text = read_line_file(git_dir, "commondir");
    char *path = text ? join(git_dir, text) : NULL;
    char *found = path ? realpath(path, NULL) : out_copy(git_dir);

    free(text);
    free(path);
    return found;
}

/* ---- the record ---- */

/* Relative to the common directory where it is in the working tree beside it, so that both may be moved together. */
static char *to_recorded(const struct worktree *worktree, const char *path)
{
    char *above = out_copy(worktree->common);
    char *recorded = NULL;

    if (worktree_is_inside(path, above))
        recorded = out_format(".%s", path + strlen(above));
    else if (worktree_climb(above) && above[1] && worktree_is_inside(path, above))
        recorded = out_format("..%s", path + strlen(above));
    else
        recorded = out_copy(path);
    free(above);
    return recorded;
}

char *worktree_recorded_path(const struct worktree *worktree, const char *recorded)
{
    char *path = join(worktree->common, recorded);
    char *real = realpath(path, NULL);

    if (!real)
        return path;
    free(path);
    return real;
}

/* What follows `key ` on a line; NULL when the line has another key. */
static const char *value_of(const char *line, const char *key)
{
    size_t length = strlen(key);

    return !strncmp(line, key, length) && line[length] == ' ' ? line + length + 1 : NULL;
}

static void append(char ***list, size_t *count, const char *text)
{
    *list = out_grow(*list, (*count + 1) * sizeof(*list)[0]);
    (*list)[(*count)++] = out_copy(text);
}

void worktree_note(const struct worktree *worktree, char ***list, size_t *count, const char *directory)
{
    char *recorded = to_recorded(worktree, directory);
    bool known = false;

    for (size_t i = 0; i < *count; i++)
        known = known || !strcmp((*list)[i], recorded);
    if (!known)
        append(list, count, recorded);
    free(recorded);
}

static void take_line(struct worktree *worktree, const char *line)
{
    const char *value = NULL;

    if ((value = value_of(line, "store")) != NULL && !worktree->store) {
        worktree->store = worktree_recorded_path(worktree, value);
    } else if ((value = value_of(line, "migrations")) != NULL && !worktree->migrations) {
        worktree->migrations = out_copy(value);
    } else if ((value = value_of(line, "hooks")) != NULL) {
        append(&worktree->hooks, &worktree->hook_count, value);
    } else if ((value = value_of(line, "made")) != NULL) {
        append(&worktree->made, &worktree->made_count, value);
    }
}

static void read_record(struct worktree *worktree)
{
    char *path = out_format("%s/bough/install", worktree->common);
    size_t length = 0;
    char *text = textfile_read(path, RECORD_MAX, &length);
    bool first = true;

    for (char *line = text, *next = NULL; line && *line; line = next, first = false) {
        next = line + strcspn(line, "\n");
        if (*next)
            *next++ = 0;
        if (first && strcmp(line, RECORD_TITLE) != 0)
            break;
        take_line(worktree, line);
    }
    worktree->installed = worktree->store != NULL;
    free(text);
    free(path);
}

/* "KEY VALUE" lines after *text. */
static void add_lines(char **text, const char *key, char *const *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *longer = out_format("%s%s %s\n", *text, key, values[i]);

        free(*text);
        *text = longer;
    }
}

int worktree_write_record(const struct worktree *worktree)
{
    char *directory = out_format("%s/bough", worktree->common);
    char *path = out_format("%s/install", directory);
    char *store = to_recorded(worktree, worktree->store);
    char *text = out_copy(RECORD_TITLE "\n");
    int error = mkdir(directory, 0777) != 0 && errno != EEXIST ? errno : 0;

    add_lines(&text, "store", &store, 1);
    add_lines(&text, "migrations", &worktree->migrations, worktree->migrations ? 1 : 0);
    add_lines(&text, "hooks", worktree->hooks, worktree->hook_count);
    add_lines(&text, "made", worktree->made, worktree->made_count);
    if (!error)
        error = textfile_write(path, text, strlen(text), 0666);
    free(text);
    free(store);
    free(path);
    free(directory);
    return error;
}

/* ---- a worktree's own branch ---- */

int worktree_set_branch(struct worktree *worktree, const char *branch)
{
    char *directory = out_format("%s/bough", worktree->git_dir);
    char *path = out_format("%s/branch", directory);
    char *text = out_format("%s\n", branch);
    int error = mkdir(directory, 0777) != 0 && errno != EEXIST ? errno : 0;

    if (!error)
        error = textfile_write(path, text, strlen(text), 0666);
    if (!error) {
        free(worktree->branch);
        worktree->branch = out_copy(branch);
    }
    free(text);
    free(path);
    free(directory);
    return error;
}

static int remove_file(const char *git_dir, const char *name)
{
    char *path = out_format("%s/bough/%s", git_dir, name);
    int error = unlink(path) != 0 && errno != ENOENT && errno != ENOTDIR ? errno : 0;

    free(path);
    return error;
}

static int remove_directory(const char *git_dir)
{
    char *path = out_format("%s/bough", git_dir);
    int error = 0;

    textfile_clean(path);
    error = rmdir(path) != 0 && errno != ENOENT && errno != ENOTDIR ? errno : 0;
    free(path);
    return error;
}

static int remove_own_branches(const char *common)
{
    char *path = out_format("%s/worktrees", common);
    DIR *stream = opendir(path);
    struct dirent *entry = NULL;
    int error = 0;

    while (stream && !error && (entry = readdir(stream)) != NULL) {
        char *git_dir = out_format("%s/%s", path, entry->d_name);

        if (entry->d_name[0] != '.') {
            error = remove_file(git_dir, "branch");
            if (!error)
                error = remove_directory(git_dir);
        }
        free(git_dir);
    }
    if (stream)
        closedir(stream);
    free(path);
    return error;
}

int worktree_remove_records(const struct worktree *worktree)
{
    int error = remove_own_branches(worktree->common);

    if (!error)
        error = remove_file(worktree->common, "branch");
    if (!error)
        error = remove_file(worktree->common, "install");
    return error ? error : remove_directory(worktree->common);
}

/* ---- finding ---- */

/* Without the record. */
static bool find_repository(struct worktree *out, const char *directory)
{
    *out = (struct worktree){0};
    out->git_dir = find_git_dir(directory);
    out->common = out->git_dir ? find_common(out->git_dir) : NULL;
    if (!out->common) {
        worktree_release(out);
        return false;
    }
    out->root = out_copy(directory);
    return true;
}

bool worktree_of_store(struct worktree *out, const struct worktree *worktree)
{
    char *path = out_copy(worktree->store);
    bool found = false;

    while (!found && worktree_climb(path))
        found = find_repository(out, path);
    free(path);
    return found;
}

void worktree_decide_own(struct worktree *worktree)
{
    struct worktree home = {0};

    worktree->own = strcmp(worktree->git_dir, worktree->common) != 0;
    if (!worktree->own && !worktree_is_inside(worktree->store, worktree->root) && worktree_of_store(&home, worktree))
        worktree->own = strcmp(home.common, worktree->common) != 0;
    worktree_release(&home);
}

bool worktree_at(struct worktree *out, const char *directory)
{
    if (!find_repository(out, directory))
        return false;
    read_record(out);
    if (out->installed)
        worktree_decide_own(out);
    if (out->own)
        out->branch = read_line_file(out->git_dir, "bough/branch");
    return true;
}

bool worktree_find(struct worktree *out, const char *directory, bool installed_only)
{
    char *path = out_copy(directory);
    struct stat info = {0};
    uid_t owner = stat(path, &info) == 0 ? info.st_uid : geteuid();
    bool found = false;

    do {
        if (stat(path, &info) != 0 || info.st_uid != owner)
            break;
        found = worktree_at(out, path);
        if (found && installed_only && !out->installed) {
            worktree_release(out);
            found = false;
        }
    } while (!found && worktree_climb(path));
    free(path);
    if (!found)
        *out = (struct worktree){0};
    return found;
}

static void release_list(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i]);
    free(list);
}

void worktree_release(struct worktree *worktree)
{
    release_list(worktree->hooks, worktree->hook_count);
    release_list(worktree->made, worktree->made_count);
    free(worktree->root);
    free(worktree->git_dir);
    free(worktree->common);
    free(worktree->store);
    free(worktree->migrations);
    free(worktree->branch);
    *worktree = (struct worktree){0};
}
