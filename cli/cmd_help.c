/* cmd_help.c - bough help: the commands by group, one command, the manual page, shell completion. */
#include "commands.h"

static int help_of(struct cli *cli, const char *name)
{
    const struct cli_command *command = cli_find_command(name);

    if (!command)
        return cli_unknown_command(cli, name);
    if (cli->json)
        help_json(command);
    else
        help_command(stdout, command);
    return BOUGH_OK;
}

static int run(struct cli *cli)
{
    const char *shell = cli_value(cli, "completion");
    const char *name = cli_operand(cli, 0);

    if ((shell != NULL) + cli_has(cli, "man") + (name != NULL) > 1)
        return cli_fail(cli, BOUGH_USAGE, "help takes one of COMMAND, --man and --completion");
    if (name)
        return help_of(cli, name);
    if (shell && !help_completion(stdout, shell))
        return cli_fail(cli, BOUGH_USAGE, "--completion takes bash, zsh or fish, not '%s'", shell);
    if (cli_has(cli, "man"))
        help_man(stdout);
    else if (!shell && cli->json)
        help_json(NULL);
    else if (!shell && cli->quiet)
        for (size_t i = 0; cli_commands[i]; i++)
            puts(cli_commands[i]->name);
    else if (!shell)
        help_overview(stdout);
    return BOUGH_OK;
}

static const struct cli_option option_table[] = {
    {0, "man", NULL, "print the manual page bough(1) as roff"},
    {0, "completion", "SHELL", "print completion for bash, zsh or fish"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_help = {
    .name = "help",
    .aliases = "",
    .group = "Help",
    .summary = "list the commands, or explain one",
    .usage = "[COMMAND]\n--man\n--completion SHELL",
    .details = "Without operands: lists the commands by group. The manual page and shell completion come from the same "
               "table.",
    .example =
        "bough help --completion bash > ~/.local/share/bash-completion/completions/bough\ninstalls completion for "
        "bash",
    .options = option_table,
    .operands_min = 0,
    .operands_max = 1,
    .completes = "COMMAND",
    .run = run,
};
