/* git_hooks.c - hooks of git as files.
 *
 * A hook that is a shell script of the user's gets lines of ours below its first line: there nothing before them can
 * have ended the script. They run in a subshell, read nothing and never fail. Where there is no hook, a file is made
 * for them. Every other hook (a program, a script for another interpreter, a symlink, a file that git skips because it
 * is not executable) cannot take lines; it steps aside under the name NAME.before-bough, a file of ours takes its place
 * and runs it.
 *
 * Removing looks at every file of the directory, because other tools rename hooks in order to chain them. A kill
 * between two steps leaves what install completes and uninstall removes. */
#include "git.h"
#include "textfile.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOOK_MAX (4 << 20) /* a longer one is no script that anybody edits */
#define FIRST    "#!/bin/sh\n"
#define KEPT     ".before-bough"
#define SHEBANG  256

const char *const git_hook_names[] = {"post-checkout", "post-merge", "post-rewrite", "post-commit", NULL};

/* ---- our lines ---- */

/* In single quotes for a shell. */
static char *quote(const char *text)
{
    char *quoted = out_alloc(strlen(text) * 4 + 3);
    char *p = quoted;

    *p++ = '\'';
    for (; *text; text++) {
        if (*text == '\'')
            p = stpcpy(p, "'\\''");
        else
            *p++ = *text;
    }
    *p = '\'';
    return quoted;
}

/* This program first, then the one in $PATH; without either, nothing is done and nothing said. */
static char *make_lines(const char *name, bool runs_kept)
{
    char *program = realpath("/proc/self/exe", NULL);
    char *quoted = quote(program ? program : "bough");
    char *kept =
        out_format("[ ! -x \"${0%%/*}/%s" KEPT "\" ] || \"${0%%/*}/%s" KEPT "\" \"$@\" || exit $?\n", name, name);
    char *lines = out_format("(\n"
                             "    for bough in %s bough; do\n"
                             "        command -v \"$bough\" >/dev/null 2>&1 || continue\n"
                             "        \"$bough\" git hook -- %s \"$@\" </dev/null\n"
                             "        break\n"
                             "    done\n"
                             ") || :\n"
                             "%s",
                             quoted, name, runs_kept ? kept : "");

    free(kept);
    free(quoted);
    free(program);
    return lines;
}

/* ---- what a hook is ---- */

enum kind {
    KIND_NONE,   /* no file */
    KIND_SCRIPT, /* takes lines */
    KIND_OURS,   /* has them */
    KIND_OTHER   /* steps aside */
};

/* Is the first line `#!` and a shell that our lines are written for? Its length goes to *out, 0 for any other. */
static size_t shell_line(const char *text, size_t length)
{
    static const char *const shells[] = {"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"};
    const char *end = memchr(text, '\n', length < SHEBANG ? length : SHEBANG);
    char line[SHEBANG + 1] = "";
    char *save = NULL;
    const char *word = NULL;

    if (!end || length < 2 || memcmp(text, "#!", 2) != 0)
        return 0;
    memcpy(line, text + 2, (size_t)(end - text) - 2);
    for (word = strtok_r(line, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
        const char *base = strrchr(word, '/') ? strrchr(word, '/') + 1 : word;

        if (!strcmp(base, "env"))
            continue;
        for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
            if (!strcmp(base, shells[i]))
                return (size_t)(end - text) + 1;
        }
        return 0;
    }
    return 0;
}

/* The text is read where the file takes or has lines. */
static enum kind kind_of(const char *path, char **out_text, size_t *out_length)
{
    struct stat info = {0};
    struct textfile_lines lines = {0};

    *out_text = NULL;
    if (lstat(path, &info) != 0)
        return errno == ENOENT ? KIND_NONE : KIND_OTHER;
    if (!S_ISREG(info.st_mode))
        return KIND_OTHER;
    *out_text = textfile_read(path, HOOK_MAX, out_length);
    if (!*out_text)
        return KIND_OTHER;
    lines = textfile_find_lines(*out_text, *out_length);
    if (lines.found || lines.torn)
        return KIND_OURS;
    if ((info.st_mode & 0111) && shell_line(*out_text, *out_length))
        return KIND_SCRIPT;
    free(*out_text);
    *out_text = NULL;
    return KIND_OTHER;
}

bool git_hooks_has(const char *directory, const char *name)
{
    char *path = out_format("%s/%s", directory, name);
    char *text = NULL;
    size_t length = 0;
    struct stat info = {0};
    bool has = kind_of(path, &text, &length) == KIND_OURS && stat(path, &info) == 0 && (info.st_mode & 0111);

    free(text);
    free(path);
    return has;
}

/* ---- putting in ---- */

static int fail_at(struct cli *cli, const char *path, int error)
{
    return cli_fail(cli, BOUGH_IO, "%s: %s", path, strerror(error));
}

static int torn(struct cli *cli, const char *path)
{
    cli_hint(cli, "take the lines of bough git install out of it by hand");
    return cli_fail(cli, BOUGH_REFUSED, "%s: the mark that ends the lines of bough git install is gone", path);
}

/* A file of nothing but our lines. */
static int make_file(struct cli *cli, const char *path, const char *name, bool runs_kept)
{
    char *lines = make_lines(name, runs_kept);
    char *marked = textfile_mark_lines(lines, true);
    char *text = out_format(FIRST "%s", marked);
    int error = textfile_write(path, text, strlen(text), 0777);

    free(text);
    free(marked);
    free(lines);
    return error ? fail_at(cli, path, error) : BOUGH_OK;
}

/* Lines into a script, or new lines in the place of old ones. */
static int put_lines(struct cli *cli, const char *path, const char *name, const char *text, size_t length, size_t start,
                     size_t end, bool made)
{
    char *kept = out_format("%s" KEPT, path);
    char *lines = make_lines(name, made && access(kept, F_OK) == 0);
    char *marked = textfile_mark_lines(lines, made);
    size_t new_length = 0;
    char *changed = textfile_splice(text, length, start, end, marked, &new_length);
    int error = 0;

    if (new_length != length || memcmp(changed, text, length) != 0)
        error = textfile_write(path, changed, new_length, 0777);
    free(changed);
    free(marked);
    free(lines);
    free(kept);
    return error ? fail_at(cli, path, error) : BOUGH_OK;
}

/* The hook that takes no lines keeps its bytes, mode and kind under another name in the same directory. */
static int step_aside(struct cli *cli, const char *path, const char *name)
{
    char *kept = out_format("%s" KEPT, path);
    struct stat info = {0};
    int rc = BOUGH_OK;

    if (lstat(kept, &info) == 0)
        rc = cli_fail(cli, BOUGH_REFUSED, "%s is in the way", kept);
    else if (rename(path, kept) != 0)
        rc = fail_at(cli, path, errno);
    if (rc == BOUGH_OK) {
        rc = make_file(cli, path, name, true);
        if (rc != BOUGH_OK)
            rename(kept, path);
    }
    free(kept);
    return rc;
}

static int install_one(struct cli *cli, const char *path, const char *name)
{
    char *kept = out_format("%s" KEPT, path);
    char *text = NULL;
    size_t length = 0;
    struct textfile_lines lines = {0};
    int rc = BOUGH_OK;

    switch (kind_of(path, &text, &length)) {
    case KIND_NONE:
        rc = make_file(cli, path, name, access(kept, F_OK) == 0);
        break;
    case KIND_SCRIPT:
        lines.start = lines.end = shell_line(text, length);
        rc = put_lines(cli, path, name, text, length, lines.start, lines.end, false);
        break;
    case KIND_OURS:
        lines = textfile_find_lines(text, length);
        rc =
            lines.torn ? torn(cli, path) : put_lines(cli, path, name, text, length, lines.start, lines.end, lines.made);
        break;
    case KIND_OTHER:
        rc = step_aside(cli, path, name);
        break;
    }
    free(text);
    free(kept);
    return rc;
}

int git_hooks_install(struct cli *cli, const char *directory)
{
    int rc = BOUGH_OK;

    for (size_t i = 0; rc == BOUGH_OK && git_hook_names[i]; i++) {
        char *path = out_format("%s/%s", directory, git_hook_names[i]);

        rc = install_one(cli, path, git_hook_names[i]);
        free(path);
    }
    return rc;
}

/* ---- taking out ---- */

/* The user's own lines in a file that we made, where the old hook comes back: they get a file beside it. */
static int save_edits(const char *path, const char *text, size_t length)
{
    char *edited = out_format("%s.edited", path);
    int error = textfile_write(edited, text, length, 0777);

    if (!error)
        fprintf(stderr, "bough: lines that were added to %s are now in %s\n", path, edited);
    free(edited);
    return error;
}

/* What is left of a file that we made: nothing, the hook that had stepped aside, or what the user added. */
static int unmake(const char *path, const char *rest, size_t length)
{
    char *kept = out_format("%s" KEPT, path);
    struct stat info = {0};
    bool has_kept = lstat(kept, &info) == 0;
    bool is_bare = length == strlen(FIRST) && !memcmp(rest, FIRST, length);
    int error = 0;

    if (has_kept && !is_bare)
        error = save_edits(path, rest, length);
    if (!error && has_kept)
        error = rename(kept, path) != 0 ? errno : 0;
    else if (!error && is_bare)
        error = unlink(path) != 0 ? errno : 0;
    else if (!error)
        error = textfile_write(path, rest, length, 0777);
    free(kept);
    return error;
}

static int remove_lines(struct cli *cli, const char *path)
{
    char *text = NULL;
    char *rest = NULL;
    size_t length = 0;
    size_t rest_length = 0;
    struct textfile_lines lines = {0};
    int error = 0;
    int rc = BOUGH_OK;

    if (kind_of(path, &text, &length) == KIND_OURS) {
        lines = textfile_find_lines(text, length);
        if (lines.torn) {
            rc = torn(cli, path);
        } else {
            rest = textfile_splice(text, length, lines.start, lines.end, "", &rest_length);
            error = lines.made ? unmake(path, rest, rest_length) : textfile_write(path, rest, rest_length, 0777);
        }
    }
    free(rest);
    free(text);
    return error ? fail_at(cli, path, error) : rc;
}

/* Somebody has put another hook in the place of ours; the one before it is not forgotten. */
static void put_back(const char *directory, const char *name, bool tells)
{
    char *path = out_format("%s/%s", directory, name);
    char *kept = out_format("%s" KEPT, path);
    struct stat info = {0};

    if (lstat(kept, &info) == 0) {
        if (lstat(path, &info) != 0 && errno == ENOENT)
            rename(kept, path);
        else if (tells)
            fprintf(stderr, "bough: %s was replaced meanwhile; what was there before is in %s\n", path, kept);
    }
    free(kept);
    free(path);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A list first: files are renamed while it is gone through. */
static char **list_files(const char *directory, size_t *out_count)
{
    DIR *stream = opendir(directory);
    struct dirent *entry = NULL;
    char **names = NULL;

    *out_count = 0;
    while (stream && (entry = readdir(stream)) != NULL) {
        names = out_grow(names, (*out_count + 1) * sizeof names[0]);
        names[(*out_count)++] = out_copy(entry->d_name);
    }
    if (stream)
        closedir(stream);
    if (*out_count)
        qsort(names, *out_count, sizeof names[0], by_name);
    return names;
}

int git_hooks_remove(struct cli *cli, const char *directory, bool tells)
{
    size_t count = 0;
    char **names = list_files(directory, &count);
    int rc = BOUGH_OK;

    for (size_t i = 0; i < count; i++) {
        char *path = out_format("%s/%s", directory, names[i]);
        int result = remove_lines(cli, path);

        rc = rc == BOUGH_OK ? result : rc;
        free(path);
        free(names[i]);
    }
    free(names);
    for (size_t i = 0; git_hook_names[i]; i++)
        put_back(directory, git_hook_names[i], tells);
    textfile_clean(directory);
    return rc;
}

/* ---- info/exclude ---- */

static char *exclude_path(const struct worktree *worktree)
{
    return out_format("%s/info/exclude", worktree->common);
}

/* A pattern that means this path alone, from the root on. */
static char *pattern_of(const char *path)
{
    char *pattern = out_alloc(strlen(path) * 2 + 4);
    char *p = pattern;

    for (; *path; path++) {
        if (strchr("*?[\\ ", *path))
            *p++ = '\\';
        *p++ = *path;
    }
    *p++ = '/';
    *p = '\n';
    return pattern;
}

static int change_exclude(struct cli *cli, const char *path, const char *insert)
{
    size_t length = 0;
    size_t new_length = 0;
    char *text = textfile_read(path, HOOK_MAX, &length);
    bool is_new = !text && errno == ENOENT;
    int error = text || is_new ? 0 : errno;
    char *old = text ? text : out_copy("");
    struct textfile_lines lines = textfile_find_lines(old, length);
    char *marked = insert ? textfile_mark_lines(insert, is_new || lines.made) : out_copy("");
    char *changed = NULL;

    if (!lines.found)
        lines.start = lines.end = 0;
    changed = textfile_splice(old, length, lines.start, lines.end, marked, &new_length);
    if (!error && !insert && lines.made && new_length == 0)
        error = unlink(path) != 0 ? errno : 0;
    else if (!error && (insert || lines.found))
        error = textfile_write(path, changed, new_length, 0666);
    free(changed);
    free(marked);
    free(old);
    return error ? fail_at(cli, path, error) : BOUGH_OK;
}

int git_exclude_add(struct cli *cli, const struct worktree *worktree)
{
    struct worktree home = {0};
    char *path = exclude_path(worktree);
    char *pattern = NULL;
    char *ignored = NULL;
    int rc = BOUGH_OK;

    if (worktree_of_store(&home, worktree) && !strcmp(home.common, worktree->common)) {
        pattern = pattern_of(worktree->store + strlen(home.root));
        ignored = GIT_ASK(&home, "check-ignore", "-q", "--", worktree->store);
        if (!ignored)
            rc = change_exclude(cli, path, pattern);
    }
    worktree_release(&home);
    free(ignored);
    free(pattern);
    free(path);
    return rc;
}

int git_exclude_remove(struct cli *cli, const struct worktree *worktree)
{
    char *path = exclude_path(worktree);
    int rc = change_exclude(cli, path, NULL);

    *strrchr(path, '/') = 0;
    textfile_clean(path);
    free(path);
    return rc;
}
