/* main.c - the program `bough`: the one table of its commands, from which help, the manual and shell completion come,
 * and the way from the command line to an exit status. */
#include "cli.h"
#include "commands.h"
#include "database.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct cli_command *const cli_commands[] = {
    &cmd_init,   &cmd_import, &cmd_export,  &cmd_verify,    &cmd_du,     &cmd_gc,     &cmd_branch,  &cmd_switch,
    &cmd_rename, &cmd_delete, &cmd_protect, &cmd_unprotect, &cmd_reset,  &cmd_promote, &cmd_status,
    &cmd_tree,   &cmd_commit, &cmd_log,     &cmd_tag,       &cmd_diff,   &cmd_compare, &cmd_sql,
    &cmd_url,    &cmd_run,    &cmd_try,     &cmd_migrate, &cmd_git,   &cmd_help,   NULL,
};

/* Is name one of the words in aliases? */
static bool is_alias(const char *aliases, const char *name)
{
    size_t length = strlen(name);

    for (const char *p = aliases; *p; p += strcspn(p, " "), p += strspn(p, " ")) {
        if (strcspn(p, " ") == length && !memcmp(p, name, length))
            return true;
    }
    return false;
}

const struct cli_command *cli_find_command(const char *name)
{
    for (size_t i = 0; cli_commands[i]; i++) {
        if (!strcmp(cli_commands[i]->name, name) || is_alias(cli_commands[i]->aliases, name))
            return cli_commands[i];
    }
    return NULL;
}

static void try_words(struct cli_nearest *nearest, const char *words)
{
    for (const char *p = words; *p; p += strcspn(p, " "), p += strspn(p, " ")) {
        char *word = out_format("%.*s", (int)strcspn(p, " "), p);

        cli_nearest_try(nearest, word);
        free(word);
    }
}

int cli_unknown_command(struct cli *cli, const char *name)
{
    struct cli_nearest nearest = {name, "", SIZE_MAX};

    for (size_t i = 0; cli_commands[i]; i++) {
        cli_nearest_try(&nearest, cli_commands[i]->name);
        try_words(&nearest, cli_commands[i]->aliases);
    }
    if (cli_nearest_found(&nearest))
        cli_hint(cli, "did you mean bough %s?", nearest.best);
    else
        cli_hint(cli, "bough help lists the commands");
    return cli_fail(cli, BOUGH_USAGE, "no such command: %s", name);
}

/* A descriptor 0, 1 or 2 that is closed would be given to the next file opened, and a file of the store would take what
 * is printed. It is filled with one on which every use fails. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            int opened = open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);

            if (opened >= 0 && opened != fd)
                close(opened);
        }
    }
}

/* For something that was not found: the operand that names nothing, and the branch or tag nearest to it. */
static void suggest_for(struct cli *cli, const bough_branches *branches, const bough_tags *tags, const char *operand)
{
    char *name = out_copy(operand);
    struct cli_nearest nearest = {name, "", SIZE_MAX};

    name[strcspn(name, "~")] = 0;
    for (size_t i = 0; i < branches->count; i++)
        cli_nearest_try(&nearest, branches->items[i].name);
    for (size_t i = 0; i < tags->count; i++)
        cli_nearest_try(&nearest, tags->items[i].name);
    if (nearest.distance != 0 && cli_nearest_found(&nearest))
        cli_hint(cli, "did you mean %s?", nearest.best);
    else if (nearest.distance != 0)
        cli_hint(cli, "bough branch lists the branches, bough tag the tags");
    free(name);
}

static void suggest_name(struct cli *cli)
{
    bough_branches branches = {NULL, 0};
    bough_tags tags = {NULL, 0};
    char kind[CLI_KIND_SIZE] = "";

    if (bough_branch_list(&branches, cli->store) == BOUGH_OK && bough_tag_list(&tags, cli->store) == BOUGH_OK) {
        for (size_t i = 0; i < cli->operand_count && !cli->hint; i++) {
            cli_operand_kind(kind, cli->command, i);
            if (!strcmp(kind, "BRANCH") || !strcmp(kind, "REF"))
                suggest_for(cli, &branches, &tags, cli->operands[i]);
        }
    }
    bough_branches_release(&branches);
    bough_tags_release(&tags);
}

static void print_error(struct cli *cli, enum cli_exit status)
{
    const char *message = cli->message ? cli->message : "failed";

    if (cli->json) {
        struct json json = {stderr, false};

        json_open(&json, '{');
        json_key(&json, "error");
        json_open(&json, '{');
        json_put_string(&json, "code", cli_exit_word(status));
        json_put_string(&json, "message", message);
        json_close(&json, '}');
        json_close(&json, '}');
        putc('\n', stderr);
        return;
    }
    if (status == EXIT_NOT_FOUND && cli->store && !cli->hint)
        suggest_name(cli);
    fputs("bough: ", stderr);
    for (const char *line = message; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        out_line(stderr, line);
        putc('\n', stderr);
    }
    if (cli->hint)
        fprintf(stderr, "hint: %s\n", cli->hint);
}

static int fail_output(struct cli *cli)
{
    return cli_fail(cli, BOUGH_IO, "cannot write to standard output: %s",
                    errno ? strerror(errno) : "an earlier write failed");
}

/* A command whose output has nowhere to go fails before it changes anything: writing nothing finds a descriptor that is
 * closed or a device that is full, though not a disk that fills up later. */
static int check_output(struct cli *cli)
{
    if (cli->command->may_say_nothing && !cli->json)
        return BOUGH_OK;
    return write(STDOUT_FILENO, "", 0) < 0 ? fail_output(cli) : BOUGH_OK;
}

/* Output that did not arrive is a failure of its own, whatever was done before. */
static int finish_output(struct cli *cli, int rc)
{
    errno = 0;
    if ((fflush(stdout) != 0 || ferror(stdout)) && (rc == BOUGH_OK || cli->answered)) {
        cli->answered = false;
        return fail_output(cli);
    }
    return rc;
}

static int run(struct cli *cli, int argc, char **argv)
{
    int rc = cli_parse(cli, argc, argv);

    if (rc != BOUGH_OK)
        return rc;
    if (cli->wants_version && !cli->wants_help) {
        printf(cli->json ? "{\"version\":\"%s\"}\n" : "bough %s\n", bough_version());
        return BOUGH_OK;
    }
    if (!cli->wants_help) {
        rc = check_output(cli);
        return rc == BOUGH_OK ? cli->command->run(cli) : rc;
    }
    if (cli->json)
        help_json(cli->command);
    else if (cli->command)
        help_command(stdout, cli->command);
    else
        help_overview(stdout);
    return BOUGH_OK;
}

int main(int argc, char **argv)
{
    struct cli cli = {0};
    enum cli_exit status = EXIT_DONE;
    int rc = BOUGH_OK;

    fill_standard_descriptors();
    signal(SIGXFSZ, SIG_IGN);
    database_prepare();
    cli.timeout_ms = 5000;
    cli.own_status = -1;
    cli.branch_override = getenv("BOUGH_BRANCH");
    if (cli.branch_override && !cli.branch_override[0])
        cli.branch_override = NULL;
    rc = finish_output(&cli, run(&cli, argc, argv));
    status = cli_exit_of(rc);
    if (rc != BOUGH_OK && !cli.answered)
        print_error(&cli, status);
    bough_store_close(cli.store);
    worktree_release(&cli.worktree);
    free(cli.operands);
    free(cli.current);
    free(cli.message);
    free(cli.hint);
    if (rc == BOUGH_INTERRUPTED && out_interrupted_by()) {
        signal(out_interrupted_by(), SIG_DFL);
        raise(out_interrupted_by());
    }
    return cli.own_status >= 0 ? cli.own_status : (int)status;
}
