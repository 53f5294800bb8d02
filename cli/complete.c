/* complete.c - shell completion, made from the table of commands. Names of branches and tags are asked of `bough branch
 * -q` and `bough tag -q` when somebody presses the key. */
#include "cli.h"

#include <string.h>

/* ---- what is completed ---- */

static size_t kind_count(const char *completes)
{
    size_t count = completes[0] != 0;

    for (; *completes; completes++)
        count += *completes == ' ';
    return count;
}

/* What an option's value is, by the word that help uses for it. */
static const char *value_kind(const struct cli_option *option)
{
    if (!option->argument)
        return "";
    if (!strcmp(option->argument, "PATH") || !strcmp(option->argument, "FILE"))
        return "FILE";
    if (!strcmp(option->argument, "BRANCH") || !strcmp(option->argument, "REF") || !strcmp(option->argument, "SHELL"))
        return option->argument;
    return "NONE";
}

/* ---- bash ---- */

static void bash_words(FILE *file, const struct cli_option *options)
{
    for (; options && options->name; options++) {
        if (options->letter)
            fprintf(file, "-%c ", options->letter);
        fprintf(file, "--%s ", options->name);
    }
}

static void bash_pattern(FILE *file, const struct cli_command *command)
{
    fprintf(file, "    %s", command->name);
    for (const char *p = command->aliases; *p; p++) {
        if (p == command->aliases || *p == ' ')
            putc('|', file);
        if (*p != ' ')
            putc(*p, file);
    }
    fputs(") ", file);
}

/* The kinds of option values, for a `case` on "COMMAND:OPTION"; "*" is any command. */
static void bash_values(FILE *file, const char *command, const struct cli_option *options)
{
    for (; options && options->name; options++) {
        if (!options->argument)
            continue;
        fputs("    ", file);
        if (options->letter)
            fprintf(file, "%s:-%c|", command, options->letter);
        fprintf(file, "%s:--%s) kind=%s ;;\n", command, options->name, value_kind(options));
    }
}

static void bash_command(FILE *file, const struct cli_command *command)
{
    char kind[CLI_KIND_SIZE] = "";

    bash_pattern(file, command);
    fprintf(file, "command=%s; options=\"$options ", command->name);
    bash_words(file, command->options);
    fputs("\"; kinds=(", file);
    for (size_t i = 0; i < kind_count(command->completes); i++) {
        cli_operand_kind(kind, command, i);
        fprintf(file, "%s'%s'", i ? " " : "", kind);
    }
    fputs(") ;;\n", file);
}

static void bash(FILE *file)
{
    fputs("# bash completion for bough; made by: bough help --completion bash\n"
          "_bough()\n{\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local command= operands=0 kind= kinds=() store=() options=\"",
          file);
    bash_words(file, cli_global_options);
    fputs("\" i word\n    COMPREPLY=()\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        word=${COMP_WORDS[i]}\n"
          "        case $word in\n"
          "        -s|--store) store=(-s \"${COMP_WORDS[i+1]}\"); ((i++)) ;;\n"
          "        --timeout) ((i++)) ;;\n"
          "        -*) ;;\n"
          "        *) if [[ -z $command ]]; then command=$word; else ((operands++)); fi ;;\n"
          "        esac\n"
          "    done\n"
          "    case $command in\n",
          file);
    for (size_t i = 0; cli_commands[i]; i++)
        bash_command(file, cli_commands[i]);
    fputs("    esac\n    case $command:$prev in\n", file);
    for (size_t i = 0; cli_commands[i]; i++)
        bash_values(file, cli_commands[i]->name, cli_commands[i]->options);
    bash_values(file, "*", cli_global_options);
    fputs("    esac\n"
          "    if [[ -z $kind && $cur == -* ]]; then\n"
          "        COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
          "        return\n"
          "    fi\n"
          "    if [[ -z $kind && -z $command ]]; then\n"
          "        kind=COMMAND\n"
          "    elif [[ -z $kind && ${#kinds[@]} -gt 0 ]]; then\n"
          "        ((operands < ${#kinds[@]})) && kind=${kinds[operands]} || kind=${kinds[-1]}\n"
          "    fi\n"
          "    case $kind in\n"
          "    COMMAND) COMPREPLY=($(compgen -W \"$(bough help -q 2>/dev/null)\" -- \"$cur\")) ;;\n"
          "    BRANCH) COMPREPLY=($(compgen -W \"$(bough \"${store[@]}\" branch -q 2>/dev/null)\" -- \"$cur\")) ;;\n"
          "    REF) COMPREPLY=($(compgen -W \"$(bough \"${store[@]}\" branch -q 2>/dev/null; bough \"${store[@]}\" tag "
          "-q "
          "2>/dev/null)\" -- \"$cur\")) ;;\n"
          "    SHELL) COMPREPLY=($(compgen -W \"bash zsh fish\" -- \"$cur\")) ;;\n"
          "    *'|'*) COMPREPLY=($(compgen -W \"${kind//|/ }\" -- \"$cur\")) ;;\n"
          "    FILE) COMPREPLY=($(compgen -f -- \"$cur\")); compopt -o filenames 2>/dev/null ;;\n"
          "    esac\n"
          "}\n"
          "complete -F _bough bough\n",
          file);
}

/* ---- zsh ---- */

/* Text between single quotes, where zsh's _arguments also minds brackets and colons. */
static void zsh_text(FILE *file, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", file);
        else if (strchr("[]:\\", *text))
            fprintf(file, "\\%c", *text);
        else
            putc(*text, file);
    }
}

/* The words of a kind such as a|b. */
static bool put_words(FILE *file, const char *kind)
{
    if (!strchr(kind, '|'))
        return false;
    for (; *kind; kind++)
        putc(*kind == '|' ? ' ' : *kind, file);
    return true;
}

static const char *zsh_action(const char *kind)
{
    if (!strcmp(kind, "FILE"))
        return "_files";
    if (!strcmp(kind, "BRANCH"))
        return "_bough_branches";
    if (!strcmp(kind, "REF"))
        return "_bough_refs";
    if (!strcmp(kind, "COMMAND"))
        return "_bough_commands";
    return !strcmp(kind, "SHELL") ? "(bash zsh fish)" : " ";
}

static void zsh_options(FILE *file, const struct cli_option *options)
{
    for (; options && options->name; options++) {
        for (int form = options->letter ? 0 : 1; form < 2; form++) {
            fputs("            '", file);
            if (form)
                fprintf(file, "--%s%s[", options->name, options->argument ? "=" : "");
            else
                fprintf(file, "-%c[", options->letter);
            zsh_text(file, options->help);
            putc(']', file);
            if (options->argument)
                fprintf(file, ":%s:%s", options->argument, zsh_action(value_kind(options)));
            fputs("' \\\n", file);
        }
    }
}

static void zsh_command(FILE *file, const struct cli_command *command)
{
    size_t kinds = kind_count(command->completes);
    char kind[CLI_KIND_SIZE] = "";

    bash_pattern(file, command);
    fputs("\n            _arguments \\\n", file);
    zsh_options(file, cli_global_options);
    zsh_options(file, command->options);
    for (size_t i = 0; i < kinds; i++) {
        cli_operand_kind(kind, command, i);
        if (i + 1 < kinds)
            fprintf(file, "            '%zu:", i + 1);
        else
            fputs("            '*:", file);
        if (strchr(kind, '|')) {
            fputs("word:(", file);
            put_words(file, kind);
            fputs(")' \\\n", file);
        } else {
            fprintf(file, "%s:%s' \\\n", kind, zsh_action(kind));
        }
    }
    fputs("            && return ;;\n", file);
}

static void zsh(FILE *file)
{
    fputs("#compdef bough\n# zsh completion for bough; made by: bough help --completion zsh\n"
          "_bough_branches() { local -a names; names=(${(f)\"$(bough branch -q 2>/dev/null)\"}); compadd -a names }\n"
          "_bough_refs() { local -a names; names=(${(f)\"$(bough branch -q 2>/dev/null; bough tag -q 2>/dev/null)\"}); "
          "compadd -a names }\n"
          "_bough_commands() {\n    local -a commands\n    commands=(\n",
          file);
    for (size_t i = 0; cli_commands[i]; i++) {
        fprintf(file, "        '%s:", cli_commands[i]->name);
        zsh_text(file, cli_commands[i]->summary);
        fputs("'\n", file);
    }
    fputs("    )\n    _describe command commands\n}\n"
          "_bough() {\n    local state line context curcontext=$curcontext\n    typeset -A opt_args\n"
          "    _arguments -C \\\n",
          file);
    zsh_options(file, cli_global_options);
    fputs("            '1:command:_bough_commands' '*::operand:->operands' && return\n"
          "    case $state in\n    operands)\n        case $line[1] in\n",
          file);
    for (size_t i = 0; cli_commands[i]; i++)
        zsh_command(file, cli_commands[i]);
    fputs("        esac ;;\n    esac\n}\nif [[ $funcstack[1] == _bough ]]; then _bough \"$@\"; else compdef _bough "
          "bough; fi\n",
          file);
}

/* ---- fish ---- */

static void fish_text(FILE *file, const char *text)
{
    putc('\'', file);
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            putc('\\', file);
        putc(*text, file);
    }
    putc('\'', file);
}

static const char *fish_source(const char *kind)
{
    if (!strcmp(kind, "BRANCH"))
        return "(bough branch -q 2>/dev/null)";
    if (!strcmp(kind, "REF"))
        return "(bough branch -q 2>/dev/null; bough tag -q 2>/dev/null)";
    if (!strcmp(kind, "COMMAND"))
        return "(bough help -q)";
    return !strcmp(kind, "SHELL") ? "bash zsh fish" : "";
}

static void fish_options(FILE *file, const struct cli_option *options, const char *condition)
{
    for (; options && options->name; options++) {
        const char *kind = value_kind(options);

        fprintf(file, "complete -c bough %s", condition);
        if (options->letter)
            fprintf(file, " -s %c", options->letter);
        fprintf(file, " -l %s", options->name);
        if (options->argument && !strcmp(kind, "FILE"))
            fputs(" -rF", file);
        else if (options->argument)
            fprintf(file, " -x -a '%s'", fish_source(kind));
        fputs(" -d ", file);
        fish_text(file, options->help);
        putc('\n', file);
    }
}

static void fish_command(FILE *file, const struct cli_command *command)
{
    size_t kinds = kind_count(command->completes);
    char condition[160] = "";
    char kind[CLI_KIND_SIZE] = "";

    fprintf(file, "complete -c bough -n __fish_use_subcommand -f -a %s -d ", command->name);
    fish_text(file, command->summary);
    putc('\n', file);
    snprintf(condition, sizeof condition, "-n '__fish_seen_subcommand_from %s%s%s'", command->name,
             command->aliases[0] ? " " : "", command->aliases);
    fish_options(file, command->options, condition);
    for (size_t i = 0; i < kinds; i++) {
        cli_operand_kind(kind, command, i);
        if (!strcmp(kind, "FILE")) {
            fprintf(file, "complete -c bough %s -F\n", condition);
        } else {
            fprintf(file, "complete -c bough %s -f -a '", condition);
            if (!put_words(file, kind))
                fputs(fish_source(kind), file);
            fputs("'\n", file);
        }
    }
}

static void fish(FILE *file)
{
    fputs("# fish completion for bough; made by: bough help --completion fish\n", file);
    fish_options(file, cli_global_options, "");
    for (size_t i = 0; cli_commands[i]; i++)
        fish_command(file, cli_commands[i]);
}

bool help_completion(FILE *file, const char *shell)
{
    if (!strcmp(shell, "bash"))
        bash(file);
    else if (!strcmp(shell, "zsh"))
        zsh(file);
    else if (!strcmp(shell, "fish"))
        fish(file);
    else
        return false;
    return true;
}
