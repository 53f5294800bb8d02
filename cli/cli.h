/* cli.h - one run of the program: its command, options, operands and store. Each cmd_<verb>.c describes one command
 * with a struct cli_command and runs it; the table of all of them is in main.c.
 *
 * A command returns BOUGH_OK or a BOUGH_ code. A code from the library goes through cli_check(), which keeps its
 * message; a failure found by the program itself is made by cli_fail(). main() prints either once. */
#ifndef BOUGH_CLI_CLI_H
#define BOUGH_CLI_CLI_H

#include "bough.h"
#include "exit.h"
#include "json.h"
#include "out.h"
#include "worktree.h"

struct cli;

struct cli_option {
    char letter;          /* 0: none */
    const char *name;     /* NULL ends a table */
    const char *argument; /* what help calls its value; NULL: a flag */
    const char *help;
};

#define CLI_OPTIONS_MAX 12
#define CLI_MANY        SIZE_MAX

struct cli_command {
    const char *name;
    const char *aliases;              /* separated by spaces */
    const char *group;                /* commands of one group stand together in the table */
    const char *summary;              /* one line */
    const char *usage;                /* what follows "bough NAME", one form a line */
    const char *details;              /* paragraphs, separated by empty lines */
    const char *example;              /* a command line, and after a line break what it does */
    const struct cli_option *options; /* NULL: none */
    size_t operands_min, operands_max;
    bool may_be_empty;     /* operands after the first one */
    bool may_say_nothing;  /* succeeds without output, unless --json asks for a document */
    const char *completes; /* kinds of the operands: FILE BRANCH REF TAG COMMAND, or a|b for words; the last repeats */
    int (*run)(struct cli *cli);
};

struct cli {
    const struct cli_command *command;
    const char **operands;
    size_t operand_count;
    size_t operands_before_end; /* those before `--`; all of them where there is none */
    const char *values[CLI_OPTIONS_MAX]; /* parallel to the command's options; NULL: not given; flags: "" */

    const char *store_option;
    const char *branch_override; /* $BOUGH_BRANCH, or NULL */
    bool json, quiet, no_progress, wants_help, wants_version;
    uint32_t timeout_ms;

    bough_store *store;
    struct worktree worktree; /* around the working directory, where install set it up for this store; else empty */
    char *current; /* the current branch, once asked for */
    bool current_known;
    struct out_progress progress;
    char *message; /* of the failure */
    char *hint;    /* a second line for people, or NULL */
    int own_status; /* what to exit with, by a command that has statuses of its own; -1: as the result says */
    bool answered; /* the document on stdout is the answer; no error is printed */
};

/* ---- failures ---- */

/* Keeps the message and returns code. */
int cli_fail(struct cli *cli, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
void cli_hint(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Passes a result of the library on, keeping its message. */
int cli_check(struct cli *cli, int rc);

/* ---- options ---- */

/* Takes the command line apart: global options anywhere up to `--`, the command, its options and operands. */
int cli_parse(struct cli *cli, int argc, char **argv);

/* The value of an option of the command, by long name; NULL when it was not given. */
const char *cli_value(const struct cli *cli, const char *name);
bool cli_has(const struct cli *cli, const char *name);
/* A whole number from low to high, else BOUGH_USAGE naming what it is for. */
int cli_number(struct cli *cli, uint64_t *out, const char *text, const char *what, uint64_t low, uint64_t high);
/* Operand i, or NULL. */
const char *cli_operand(const struct cli *cli, size_t i);

#define CLI_KIND_SIZE 128
/* What operand i of a command is: a word of its `completes`, whose last one repeats. */
void cli_operand_kind(char out[CLI_KIND_SIZE], const struct cli_command *command, size_t i);

/* ---- the store ---- */

/* The store that -s, $BOUGH_STORE or the search names; the path is malloc'ed. */
int cli_locate(struct cli *cli, char **out);
/* The search alone, from a directory upwards. */
int cli_search(struct cli *cli, char **out, const char *directory);
/* Locates and opens it, and checks that $BOUGH_BRANCH names a branch. */
int cli_open(struct cli *cli);
/* The current branch: NULL in *out when there is none. */
int cli_current_or_none(struct cli *cli, const char **out);
/* name, or the current branch when name is NULL; BOUGH_NOT_FOUND when there is none. */
int cli_branch_or_current(struct cli *cli, const char **out, const char *name);
/* Makes the branch the current one, of the worktree or the store; *out is as it was before. */
int cli_switch(struct cli *cli, bough_branches *out, const char *name);
/* Options for a call of the library. With a verb: progress and interruption, until cli_work_end(). */
bough_options cli_options(struct cli *cli, const char *verb);
void cli_work_end(struct cli *cli);

/* ---- output ---- */

/* Prints `branch NAME: text` lines and the like to stdout; prints nothing under --json and -q. */
void cli_say(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The name of the command line's own current branch corrects what the store says. */
void cli_mark_current(struct cli *cli, bough_branches *branches);
/* The array of branches under --json, the names under -q; false when neither was asked for. */
bool cli_print_branches(struct cli *cli, const bough_branches *branches);
void cli_json_branch(struct json *json, const bough_branch *branch); /* the members, without the brackets */
/* The document of init, import and export. */
void cli_json_transfer(const bough_transfer *transfer);
/* The document of commit, reset and promote under --json, the new head under -q; else nothing. */
void cli_print_sealed(struct cli *cli, const bough_sealed *sealed);
/* Ends a document on stdout. */
void cli_json_end(struct json *json);

/* ---- the table of commands, and what is made of it ---- */

extern const struct cli_option cli_global_options[];
extern const struct cli_command *const cli_commands[];        /* NULL ends it */
const struct cli_command *cli_find_command(const char *name); /* by name or alias; NULL */
/* Fails with what may have been meant. */
int cli_unknown_command(struct cli *cli, const char *name);
/* The nearest of the names so far, by edit distance: keeps the better of *best and candidate. */
struct cli_nearest {
    const char *wanted;
    char best[BOUGH_NAME_MAX + 1];
    size_t distance;
};
void cli_nearest_try(struct cli_nearest *nearest, const char *candidate);
bool cli_nearest_found(const struct cli_nearest *nearest);

void help_overview(FILE *file);
void help_command(FILE *file, const struct cli_command *command);
void help_json(const struct cli_command *command_or_null);
void help_man(FILE *file);
bool help_completion(FILE *file, const char *shell); /* false: no such shell */

#endif
