/* help.c - help texts and the manual page, made from the table of commands. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const char environment_text[] = "BOUGH_STORE   the store, unless --store names one\n"
                                       "BOUGH_BRANCH  the current branch, whatever bough switch chose\n";

/* ---- pieces ---- */

/* Takes the next line off *text; false at the end. A text of "" has one empty line. */
static bool next_line(const char **text, const char **out_line, size_t *out_length)
{
    if (!*text)
        return false;
    *out_line = *text;
    *out_length = strcspn(*text, "\n");
    *text = (*text)[*out_length] ? *text + *out_length + 1 : NULL;
    return true;
}

/* Words of one paragraph, broken at 80 columns. */
static void print_wrapped(FILE *file, const char *text, size_t length, int indent)
{
    int column = 0;

    for (size_t i = 0; i < length;) {
        size_t word = 0;

        while (i + word < length && text[i + word] != ' ')
            word++;
        if (column && column + 1 + (int)word > 80) {
            putc('\n', file);
            column = 0;
        }
        column += fprintf(file, "%*s%.*s", column ? 1 : indent, "", (int)word, text + i);
        i += word;
        while (i < length && text[i] == ' ')
            i++;
    }
    putc('\n', file);
}

/* "-m, --message MSG" */
static char *option_words(const struct cli_option *option)
{
    char letter[8] = "    ";

    if (option->letter)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    return out_format("%s--%s%s%s", letter, option->name, option->argument ? " " : "",
                      option->argument ? option->argument : "");
}

static void print_options(FILE *file, const struct cli_option *options)
{
    for (; options && options->name; options++) {
        char *words = option_words(options);

        fprintf(file, "  %-26s %s\n", words, options->help);
        free(words);
    }
}

static void print_usage(FILE *file, const struct cli_command *command)
{
    const char *rest = command->usage;
    const char *line = NULL;
    size_t length = 0;

    for (const char *lead = "usage:"; next_line(&rest, &line, &length); lead = "   or:")
        fprintf(file, "%s bough %s%s%.*s\n", lead, command->name, length ? " " : "", (int)length, line);
}

/* ---- help ---- */

void help_overview(FILE *file)
{
    const char *group = "";

    fputs("usage: bough [OPTIONS] COMMAND [OPERANDS]\n\nBranches for SQLite databases.\n", file);
    for (size_t i = 0; cli_commands[i]; i++) {
        if (strcmp(group, cli_commands[i]->group) != 0)
            fprintf(file, "\n%s\n", group = cli_commands[i]->group);
        fprintf(file, "  %-10s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    }
    fputs("\nOptions of every command\n", file);
    print_options(file, cli_global_options);
    fprintf(file, "\nEnvironment\n  %.*s  %s", (int)strcspn(environment_text, "\n") + 1, environment_text,
            strchr(environment_text, '\n') + 1);
    fputs("\nbough COMMAND --help explains a command.\n", file);
}

void help_command(FILE *file, const struct cli_command *command)
{
    const char *rest = command->details;
    const char *line = NULL;
    size_t length = 0;

    print_usage(file, command);
    fprintf(file, "\nbough %s: %s\n", command->name, command->summary);
    if (command->aliases[0])
        fprintf(file, "aliases: %s\n", command->aliases);
    putc('\n', file);
    while (next_line(&rest, &line, &length))
        print_wrapped(file, line, length, 0);
    if (command->options) {
        fputs("\nOptions\n", file);
        print_options(file, command->options);
    }
    fputs("\nOptions of every command\n", file);
    print_options(file, cli_global_options);
    length = strcspn(command->example, "\n");
    fprintf(file, "\nExample\n  %.*s\n      %s\n", (int)length, command->example,
            command->example[length] ? command->example + length + 1 : "");
}

static void json_lines(struct json *json, const char *text, const char *before)
{
    const char *line = NULL;
    size_t length = 0;

    json_open(json, '[');
    while (next_line(&text, &line, &length)) {
        char *whole = out_format("%s%s%.*s", before, length && before[0] ? " " : "", (int)length, line);

        json_string(json, whole);
        free(whole);
    }
    json_close(json, ']');
}

static void json_options(struct json *json, const struct cli_option *options)
{
    json_open(json, '[');
    for (; options && options->name; options++) {
        char letter[2] = {options->letter, 0};

        json_open(json, '{');
        json_put_string(json, "name", options->name);
        json_put_string(json, "letter", letter[0] ? letter : NULL);
        json_put_string(json, "argument", options->argument);
        json_put_string(json, "help", options->help);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void json_command(struct json *json, const struct cli_command *command)
{
    char *usage = out_format("bough %s", command->name);

    json_open(json, '{');
    json_put_string(json, "name", command->name);
    json_put_string(json, "aliases", command->aliases);
    json_put_string(json, "group", command->group);
    json_put_string(json, "summary", command->summary);
    json_key(json, "usage");
    json_lines(json, command->usage, usage);
    json_put_string(json, "details", command->details);
    json_put_string(json, "example", command->example);
    json_key(json, "options");
    json_options(json, command->options);
    json_close(json, '}');
    free(usage);
}

void help_json(const struct cli_command *command_or_null)
{
    struct json json = {stdout, false};

    if (command_or_null) {
        json_command(&json, command_or_null);
    } else {
        json_open(&json, '[');
        for (size_t i = 0; cli_commands[i]; i++)
            json_command(&json, cli_commands[i]);
        json_close(&json, ']');
    }
    cli_json_end(&json);
}

/* ---- the manual page ---- */

/* Text with what roff would take for its own escaped; a line never begins with a control character. */
static void roff(FILE *file, const char *text, size_t length)
{
    if (length && text[0] == '.')
        fputs("\\&", file);
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\\')
            fputs("\\e", file);
        else if (text[i] == '-')
            fputs("\\-", file);
        else if (text[i] == '~')
            fputs("\\(ti", file);
        else if (text[i] == '\'')
            fputs("\\(aq", file);
        else
            putc(text[i], file);
    }
}

static void roff_line(FILE *file, const char *text)
{
    roff(file, text, strlen(text));
    putc('\n', file);
}

static void roff_options(FILE *file, const struct cli_option *options)
{
    for (; options && options->name; options++) {
        char *words = option_words(options);

        fputs(".TP\n", file);
        roff_line(file, words + strspn(words, " "));
        roff_line(file, options->help);
        free(words);
    }
}

static void roff_command(FILE *file, const struct cli_command *command)
{
    const char *rest = command->usage;
    const char *line = NULL;
    size_t length = strcspn(command->example, "\n");

    fprintf(file, ".SS %s\n", command->name);
    roff_line(file, command->summary);
    if (command->aliases[0])
        fprintf(file, ".br\nAliases: %s\n", command->aliases);
    fputs(".PP\n.nf\n", file);
    for (size_t n = 0; next_line(&rest, &line, &n);) {
        fprintf(file, "\\fBbough %s\\fR ", command->name);
        roff(file, line, n);
        putc('\n', file);
    }
    fputs(".fi\n.PP\n", file);
    for (rest = command->details; rest;) {
        size_t n = 0;

        next_line(&rest, &line, &n);
        fputs(n ? "" : ".PP\n", file);
        roff(file, line, n);
        fputs(n ? "\n" : "", file);
    }
    roff_options(file, command->options);
    fputs(".PP\nExample:\n.PP\n.RS\n.nf\n", file);
    roff(file, command->example, length);
    fputs("\n.fi\n", file);
    roff_line(file, command->example[length] ? command->example + length + 1 : "");
    fputs(".RE\n", file);
}

static void roff_exits(FILE *file)
{
    fputs(".SH EXIT STATUS\n", file);
#define X(name, status, word, text) fprintf(file, ".TP\n%d\n%s\n", status, text);
    CLI_EXITS(X)
#undef X
    fputs(".PP\nA command that a signal ended leaves the store as it was and dies of that signal.\n"
          "A command whose output has nowhere to go exits with 7 and changes nothing;\n"
          "where output fails later on, what was done by then stays done.\n",
          file);
}

void help_man(FILE *file)
{
    const char *rest = environment_text;
    const char *line = NULL;
    const char *group = "";
    size_t length = 0;

    fprintf(file, ".TH BOUGH 1 \"\" \"bough %s\" \"User Commands\"\n", BOUGH_VERSION);
    fputs(
        ".SH NAME\nbough \\- branches for SQLite databases\n.SH SYNOPSIS\n.B bough\n[\\fIOPTIONS\\fR] \\fICOMMAND\\fR "
        "[\\fIOPERANDS\\fR]\n.SH DESCRIPTION\nA store is a directory that holds every branch of one SQLite database. A "
        "branch is a writable\ndatabase, a commit an immutable state of one, a tag a name for a commit. A REF is a "
        "branch, a tag, a commit\\(aqs\nid or a unique prefix of it with six or more digits; \\fB\\(tiN\\fR after it "
        "goes N commits back.\n.SH OPTIONS\nThey stand before or after the command, up to \\fB\\-\\-\\fR.\n",
        file);
    roff_options(file, cli_global_options);
    for (size_t i = 0; cli_commands[i]; i++) {
        if (strcmp(group, cli_commands[i]->group) != 0)
            fprintf(file, ".SH %s\n", group = cli_commands[i]->group);
        roff_command(file, cli_commands[i]);
    }
    fputs(".SH ENVIRONMENT\n", file);
    while (next_line(&rest, &line, &length) && length) {
        size_t name = strcspn(line, " ");

        fprintf(file, ".TP\n%.*s\n%.*s\n", (int)name, line, (int)(length - name),
                line + name + strspn(line + name, " "));
    }
    roff_exits(file);
}
