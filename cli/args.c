/* args.c - takes the command line apart.
 *
 * Options may stand anywhere up to `--`: those of the program before or after the command, those of the command after
 * it. Long names are never abbreviated, so that a new option cannot change what an old script means. A word such as
 * "-- a comment" (two dashes and then no letter) is no option: SQL may begin so. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct cli_option cli_global_options[] = {
    {'s', "store", "PATH",
     "the store; else $BOUGH_STORE, else the only *.bough directory here or in the nearest parent"},
    {0, "json", NULL, "one JSON document on stdout; errors as one JSON document on stderr"},
    {'q', "quiet", NULL, "names or ids alone, one a line"},
    {0, "no-progress", NULL, "draw no progress bar"},
    {0, "timeout", "SECONDS", "how long to wait for a lock; 5 by default"},
    {0, "version", NULL, "print the version"},
    {'h', "help", NULL, "explain the program or the command"},
    {0, NULL, NULL, NULL},
};

struct parser {
    struct cli *cli;
    char **argv;
    int argc, next;
    bool options_ended;
};

static int set_timeout(struct cli *cli, const char *text)
{
    char *end = NULL;
    double seconds = 0;

    errno = 0;
    if (isdigit((unsigned char)text[0]) || text[0] == '.')
        seconds = strtod(text, &end);
    if (!end || *end || end == text || errno || strpbrk(text, "xX") || !isfinite(seconds) || seconds > 1e6)
        return cli_fail(cli, BOUGH_USAGE, "--timeout takes a number of seconds up to 1000000, not '%s'", text);
    cli->timeout_ms = (uint32_t)(seconds * 1000 + 0.5);
    return BOUGH_OK;
}

static int set_global(struct cli *cli, const char *name, const char *value)
{
    if (!strcmp(name, "json"))
        cli->json = true;
    else if (!strcmp(name, "quiet"))
        cli->quiet = true;
    else if (!strcmp(name, "no-progress"))
        cli->no_progress = true;
    else if (!strcmp(name, "version"))
        cli->wants_version = true;
    else if (!strcmp(name, "help"))
        cli->wants_help = true;
    else if (!strcmp(name, "timeout"))
        return set_timeout(cli, value);
    else if (!value[0])
        return cli_fail(cli, BOUGH_USAGE, "--store takes a path");
    else
        cli->store_option = value;
    return BOUGH_OK;
}

/* The option with this letter or long name. *out_index is its place in the command's table, -1 for a global one. */
static const struct cli_option *find_option(const struct cli *cli, char letter, const char *name, size_t length,
                                            int *out_index)
{
    const struct cli_option *tables[] = {cli_global_options, cli->command ? cli->command->options : NULL};

    for (int t = 0; t < 2; t++) {
        for (int i = 0; tables[t] && tables[t][i].name; i++) {
            const struct cli_option *option = &tables[t][i];

            if (letter ? option->letter == letter
                       : strlen(option->name) == length && !memcmp(option->name, name, length)) {
                *out_index = t ? i : -1;
                return option;
            }
        }
    }
    return NULL;
}

static int unknown_option(struct cli *cli, const char *text, size_t length)
{
    struct cli_nearest nearest = {"", "", SIZE_MAX};
    char *wanted = out_format("%.*s", (int)length, text);

    nearest.wanted = wanted;
    for (const struct cli_option *option = cli_global_options; option->name; option++)
        cli_nearest_try(&nearest, option->name);
    for (const struct cli_option *option = cli->command ? cli->command->options : NULL; option && option->name;
         option++)
        cli_nearest_try(&nearest, option->name);
    if (length > 1 && cli_nearest_found(&nearest))
        cli_hint(cli, "did you mean --%s?", nearest.best);
    else if (cli->command)
        cli_hint(cli, "see bough %s --help", cli->command->name);
    else
        cli_hint(cli, "options of a command stand after its name; see bough help");
    free(wanted);
    if (cli->command)
        return cli_fail(cli, BOUGH_USAGE, "%s has no option %s%.*s", cli->command->name, length > 1 ? "--" : "-",
                        (int)length, text);
    return cli_fail(cli, BOUGH_USAGE, "no such option: %s%.*s", length > 1 ? "--" : "-", (int)length, text);
}

static int set_option(struct cli *cli, const struct cli_option *option, int index, const char *value)
{
    if (index < 0)
        return set_global(cli, option->name, value);
    cli->values[index] = value;
    return BOUGH_OK;
}

/* The word after an option that takes a value. */
static int take_value(struct parser *parser, const struct cli_option *option, const char **out)
{
    if (parser->next >= parser->argc)
        return cli_fail(parser->cli, BOUGH_USAGE, "--%s takes a value: %s", option->name, option->argument);
    *out = parser->argv[parser->next++];
    return BOUGH_OK;
}

static int parse_long(struct parser *parser, const char *text)
{
    size_t length = strcspn(text, "=");
    const char *value = text[length] == '=' ? text + length + 1 : NULL;
    int index = -1;
    const struct cli_option *option = find_option(parser->cli, 0, text, length, &index);

    if (!option)
        return unknown_option(parser->cli, text, length);
    if (!option->argument && value)
        return cli_fail(parser->cli, BOUGH_USAGE, "--%s takes no value", option->name);
    if (option->argument && !value) {
        int rc = take_value(parser, option, &value);

        if (rc != BOUGH_OK)
            return rc;
    }
    return set_option(parser->cli, option, index, value ? value : "");
}

/* Letters may be joined (-rf); the value of the last one may follow at once (-n5). */
static int parse_letters(struct parser *parser, const char *text)
{
    int rc = BOUGH_OK;

    for (; rc == BOUGH_OK && *text; text++) {
        int index = -1;
        const struct cli_option *option = find_option(parser->cli, *text, NULL, 0, &index);
        const char *value = "";

        if (!option)
            return unknown_option(parser->cli, text, 1);
        if (option->argument) {
            if (text[1])
                value = text + 1;
            else
                rc = take_value(parser, option, &value);
            return rc == BOUGH_OK ? set_option(parser->cli, option, index, value) : rc;
        }
        rc = set_option(parser->cli, option, index, value);
    }
    return rc;
}

static int parse_operand(struct parser *parser, const char *text)
{
    struct cli *cli = parser->cli;

    if (cli->command) {
        cli->operands[cli->operand_count++] = text;
        return BOUGH_OK;
    }
    cli->command = cli_find_command(text);
    return cli->command ? BOUGH_OK : cli_unknown_command(cli, text);
}

static int parse_word(struct parser *parser, const char *text)
{
    if (parser->options_ended || text[0] != '-' || !text[1])
        return parse_operand(parser, text);
    if (text[1] != '-')
        return parse_letters(parser, text + 1);
    if (!text[2]) {
        parser->options_ended = true;
        parser->cli->operands_before_end = parser->cli->operand_count;
        return BOUGH_OK;
    }
    return isalpha((unsigned char)text[2]) ? parse_long(parser, text + 2) : parse_operand(parser, text);
}

static int check_operands(struct cli *cli)
{
    const struct cli_command *command = cli->command;

    for (size_t i = 0; i < cli->operand_count; i++) {
        if (!cli->operands[i][0] && (i == 0 || !command->may_be_empty))
            return cli_fail(cli, BOUGH_USAGE, "an operand of %s is empty", command->name);
    }
    if (cli->operand_count >= command->operands_min && cli->operand_count <= command->operands_max)
        return BOUGH_OK;
    cli_hint(cli, "see bough %s --help", command->name);
    if (cli->operand_count < command->operands_min)
        return cli_fail(cli, BOUGH_USAGE, "%s needs %s operand", command->name, cli->operand_count ? "one more" : "an");
    if (command->operands_max == 0)
        return cli_fail(cli, BOUGH_USAGE, "%s takes no operands: '%s'", command->name, cli->operands[0]);
    return cli_fail(cli, BOUGH_USAGE, "one operand too many for %s: '%s'", command->name,
                    cli->operands[command->operands_max]);
}

/* An error of the command line itself is written as asked, wherever --json stands. */
static bool asks_for_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!strcmp(argv[i], "--json"))
            return true;
    }
    return false;
}

int cli_parse(struct cli *cli, int argc, char **argv)
{
    struct parser parser = {cli, argv, argc, 1, false};
    int rc = BOUGH_OK;

    cli->operands = out_alloc((size_t)argc * sizeof cli->operands[0] + sizeof cli->operands[0]);
    while (rc == BOUGH_OK && parser.next < argc)
        rc = parse_word(&parser, argv[parser.next++]);
    if (!parser.options_ended)
        cli->operands_before_end = cli->operand_count;
    if (rc != BOUGH_OK)
        cli->json = asks_for_json(argc, argv);
    if (rc != BOUGH_OK || cli->wants_help || cli->wants_version)
        return rc;
    if (!cli->command) {
        cli_hint(cli, "bough help lists the commands");
        return cli_fail(cli, BOUGH_USAGE, "a command is missing");
    }
    return check_operands(cli);
}

const char *cli_value(const struct cli *cli, const char *name)
{
    const struct cli_option *options = cli->command->options;

    for (size_t i = 0; options && options[i].name; i++) {
        if (!strcmp(options[i].name, name))
            return cli->values[i];
    }
    return NULL;
}

bool cli_has(const struct cli *cli, const char *name)
{
    return cli_value(cli, name) != NULL;
}

int cli_number(struct cli *cli, uint64_t *out, const char *text, const char *what, uint64_t low, uint64_t high)
{
    char *end = NULL;
    unsigned long long value = 0;

    errno = 0;
    if (isdigit((unsigned char)text[0]))
        value = strtoull(text, &end, 10);
    if (!end || *end || errno || value < low || value > high) {
        if (high == SIZE_MAX)
            return cli_fail(cli, BOUGH_USAGE, "%s takes a whole number from %llu on, not '%s'", what,
                            (unsigned long long)low, text);
        return cli_fail(cli, BOUGH_USAGE, "%s takes a whole number from %llu to %llu, not '%s'", what,
                        (unsigned long long)low, (unsigned long long)high, text);
    }
    *out = value;
    return BOUGH_OK;
}

const char *cli_operand(const struct cli *cli, size_t i)
{
    return i < cli->operand_count ? cli->operands[i] : NULL;
}

void cli_operand_kind(char out[CLI_KIND_SIZE], const struct cli_command *command, size_t i)
{
    const char *p = command->completes;
    size_t length = strcspn(p, " ");

    while (i-- > 0 && p[length]) {
        p += length + 1;
        length = strcspn(p, " ");
    }
    snprintf(out, CLI_KIND_SIZE, "%.*s", (int)length, p);
}
