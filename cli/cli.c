/* cli.c - what all commands share: failures, the current branch, documents that several of them print. */
#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- failures ---- */

enum cli_exit cli_exit_of(int code)
{
    switch (code) {
    case BOUGH_OK:
        return EXIT_DONE;
    case BOUGH_NO:
        return EXIT_NO;
    case BOUGH_USAGE:
        return EXIT_USAGE;
    case BOUGH_NOT_FOUND:
    case BOUGH_GONE:
        return EXIT_NOT_FOUND;
    case BOUGH_REFUSED:
        return EXIT_REFUSED;
    case BOUGH_BUSY:
    case BOUGH_STALE:
        return EXIT_BUSY;
    case BOUGH_CORRUPT:
        return EXIT_CORRUPT;
    case BOUGH_SQL:
        return EXIT_SQL;
    default:
        return EXIT_IO;
    }
}

const char *cli_exit_word(enum cli_exit status)
{
    switch (status) {
#define X(name, value, code, text)                                                                                     \
    case name:                                                                                                         \
        return code;
        CLI_EXITS(X)
#undef X
    }
    return "io";
}

static void set_text(char **text, const char *format, va_list arguments)
{
    char *made = NULL;

    if (vasprintf(&made, format, arguments) < 0)
        made = out_copy("out of memory");
    free(*text);
    *text = made;
}

int cli_fail(struct cli *cli, int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set_text(&cli->message, format, arguments);
    va_end(arguments);
    return code;
}

void cli_hint(struct cli *cli, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set_text(&cli->hint, format, arguments);
    va_end(arguments);
}

int cli_check(struct cli *cli, int rc)
{
    const char *text = NULL;

    if (rc == BOUGH_OK)
        return rc;
    text = bough_error_message();
    return cli_fail(cli, rc, "%s", text[0] ? text : bough_code_name(rc));
}

/* ---- the current branch ---- */

/* The worktree's own branch may have been deleted: then none is current. */
static int own_current(struct cli *cli)
{
    bough_branches branches = {NULL, 0};
    int rc = cli->worktree.branch ? bough_branch_get(&branches, cli->store, cli->worktree.branch) : BOUGH_NOT_FOUND;

    if (rc == BOUGH_OK)
        cli->current = out_copy(cli->worktree.branch);
    bough_branches_release(&branches);
    return rc == BOUGH_NOT_FOUND || rc == BOUGH_USAGE ? BOUGH_OK : cli_check(cli, rc);
}

int cli_current_or_none(struct cli *cli, const char **out)
{
    int rc = BOUGH_OK;

    if (!cli->current_known) {
        if (cli->branch_override)
            cli->current = out_copy(cli->branch_override);
        else if (cli->worktree.own)
            rc = own_current(cli);
        else
            rc = cli_check(cli, bough_branch_current(&cli->current, cli->store));
        cli->current_known = rc == BOUGH_OK;
    }
    *out = cli->current;
    return rc;
}

int cli_switch(struct cli *cli, bough_branches *out, const char *name)
{
    int error = 0;
    int rc = BOUGH_OK;

    if (!cli->worktree.own) {
        rc = cli_check(cli, bough_branch_switch(out, cli->store, name));
        cli_mark_current(cli, out);
    } else {
        rc = cli_check(cli, bough_branch_get(out, cli->store, name));
        cli_mark_current(cli, out);
        error = rc == BOUGH_OK ? worktree_set_branch(&cli->worktree, name) : 0;
        if (error)
            rc = cli_fail(cli, BOUGH_IO, "the current branch of the worktree %s: %s", cli->worktree.root,
                          strerror(error));
    }
    if (rc == BOUGH_OK && !cli->branch_override) {
        free(cli->current);
        cli->current = out_copy(name);
        cli->current_known = true;
    }
    return rc;
}

int cli_branch_or_current(struct cli *cli, const char **out, const char *name)
{
    int rc = BOUGH_OK;

    *out = name;
    if (name && !name[0])
        return cli_fail(cli, BOUGH_USAGE, "the name of the branch is empty");
    if (name)
        return BOUGH_OK;
    rc = cli_current_or_none(cli, out);
    if (rc == BOUGH_OK && !*out) {
        cli_hint(cli, "name one, or choose it with bough switch NAME");
        rc = cli_fail(cli, BOUGH_NOT_FOUND, "no branch is current%s", cli->worktree.own ? " in this worktree" : "");
    }
    return rc;
}

void cli_mark_current(struct cli *cli, bough_branches *branches)
{
    const char *current = cli->branch_override ? cli->branch_override : cli->worktree.branch;

    if (!cli->branch_override && !cli->worktree.own)
        return;
    for (size_t i = 0; i < branches->count; i++)
        branches->items[i].current = current && !strcmp(branches->items[i].name, current);
}

/* ---- calls of the library ---- */

bough_options cli_options(struct cli *cli, const char *verb)
{
    bough_options options = BOUGH_OPTIONS_INIT;

    options.timeout_ms = cli->timeout_ms;
    if (verb) {
        out_progress_begin(&cli->progress, verb, !cli->no_progress && !cli->json && !cli->quiet);
        options.progress = out_progress_step;
        options.progress_context = &cli->progress;
    }
    return options;
}

void cli_work_end(struct cli *cli)
{
    out_progress_end(&cli->progress);
}

/* ---- output ---- */

void cli_say(struct cli *cli, const char *format, ...)
{
    va_list arguments;
    char *text = NULL;

    if (cli->json || cli->quiet)
        return;
    va_start(arguments, format);
    set_text(&text, format, arguments);
    va_end(arguments);
    out_line(stdout, text);
    putchar('\n');
    free(text);
}

void cli_json_branch(struct json *json, const bough_branch *branch)
{
    json_put_string(json, "name", branch->name);
    json_put_bool(json, "current", branch->current);
    json_put_string(json, "parent", branch->parent);
    json_put_id(json, "base", branch->base);
    json_put_id(json, "head", branch->head);
    json_put_bool(json, "dirty", branch->dirty);
    json_put_bool(json, "protected", branch->is_protected);
    json_put_time(json, "created_at", branch->created_at_ms);
    json_put_time(json, "expires_at", branch->expires_at_ms);
    json_put_uint(json, "size_bytes", branch->size_bytes);
    json_put_uint(json, "own_bytes", branch->own_bytes);
}

static void print_json_branches(const bough_branches *branches)
{
    struct json json = {stdout, false};

    json_open(&json, '[');
    for (size_t i = 0; i < branches->count; i++) {
        json_open(&json, '{');
        cli_json_branch(&json, &branches->items[i]);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    cli_json_end(&json);
}

bool cli_print_branches(struct cli *cli, const bough_branches *branches)
{
    if (cli->json) {
        print_json_branches(branches);
        return true;
    }
    for (size_t i = 0; cli->quiet && i < branches->count; i++)
        puts(branches->items[i].name);
    return cli->quiet;
}

void cli_json_transfer(const bough_transfer *transfer)
{
    struct json json = {stdout, false};

    json_open(&json, '{');
    json_put_string(&json, "path", transfer->path);
    json_put_string(&json, "branch", transfer->branch);
    json_put_id(&json, "id", transfer->id);
    json_put_id(&json, "root", transfer->root);
    json_put_uint(&json, "size_bytes", transfer->size_bytes);
    json_close(&json, '}');
    cli_json_end(&json);
}

void cli_json_end(struct json *json)
{
    putc('\n', json->file);
}

/* ---- nearest names ---- */

static size_t smallest(size_t a, size_t b, size_t c)
{
    return a < b ? (a < c ? a : c) : (b < c ? b : c);
}

/* Insertions, deletions and replacements between two names of at most BOUGH_NAME_MAX bytes. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[BOUGH_NAME_MAX + 1] = {0};
    size_t length = strlen(b);

    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t above = row[j];

            row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[length];
}

void cli_nearest_try(struct cli_nearest *nearest, const char *candidate)
{
    size_t distance = 0;

    if (strlen(candidate) > BOUGH_NAME_MAX || strlen(nearest->wanted) > BOUGH_NAME_MAX)
        return;
    distance = edit_distance(nearest->wanted, candidate);
    if (nearest->best[0] && distance >= nearest->distance)
        return;
    nearest->distance = distance;
    memcpy(nearest->best, candidate, strlen(candidate) + 1);
}

bool cli_nearest_found(const struct cli_nearest *nearest)
{
    size_t length = strlen(nearest->wanted);

    /* Two letters of four or fewer make another word. */
    return nearest->best[0] && nearest->distance <= (length < 5 ? 1 : 2) && nearest->distance < length;
}

void cli_print_sealed(struct cli *cli, const bough_sealed *sealed)
{
    struct json json = {stdout, false};

    if (!cli->json) {
        if (cli->quiet)
            puts(sealed->id);
        return;
    }
    json_open(&json, '{');
    json_put_string(&json, "branch", sealed->branch);
    json_put_id(&json, "id", sealed->id);
    json_put_id(&json, "root", sealed->root);
    json_put_bool(&json, "changed", sealed->changed);
    json_put_id(&json, "left", sealed->left);
    json_close(&json, '}');
    cli_json_end(&json);
}
