/* cmd_run.c - bough run: a program that opens a file gets a branch instead, through the library bough-run.so that is
 * loaded into it, or through a copy that stands in for the file. */
#include "commands.h"
#include "program.h"
#include "stand_in.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- which file ---- */

/* The path without symlinks. The file need not be there, its directory must. */
static int resolve_file(struct cli *cli, char **out, const char *given)
{
    const char *slash = strrchr(given, '/');
    const char *name = slash ? slash + 1 : given;
    char *directory = NULL;
    char *parent = NULL;

    *out = realpath(given, NULL);
    if (*out)
        return BOUGH_OK;
    if (errno == ENOENT && name[0]) {
        directory = slash ? out_format("%.*s/", (int)(slash - given), given) : out_copy(".");
        parent = realpath(directory, NULL);
    }
    if (parent)
        *out = out_format("%s/%s", parent[1] ? parent : "", name);
    free(directory);
    free(parent);
    return *out ? BOUGH_OK : cli_fail(cli, BOUGH_NOT_FOUND, "%s: %s", given, strerror(errno));
}

static int find_file(struct cli *cli, char **out)
{
    const char *given = cli_value(cli, "db");

    if (!given)
        given = bough_store_origin(cli->store);
    if (!given || !given[0]) {
        cli_hint(cli, "--db FILE.db says which file the program opens");
        return cli_fail(cli, BOUGH_USAGE, "the store was not made from a file");
    }
    return resolve_file(cli, out, given);
}

/* ---- the preload library ---- */

/* In the build tree and after an installation the libraries have their place beside the program's folder. */
static char *find_library(void)
{
    static const char *const places[] = {"../lib", ("../" BOUGH_LIBRARY_DIRECTORY), BOUGH_LIBRARY_DIRECTORY};
    char *program = realpath("/proc/self/exe", NULL);
    char *found = NULL;

    if (program)
        *strrchr(program, '/') = 0;
    for (size_t i = 0; program && !found && i < sizeof places / sizeof places[0]; i++) {
        bool absolute = places[i][0] == '/';
        char *path = out_format("%s%s%s/bough-run.so", absolute ? "" : program, absolute ? "" : "/", places[i]);

        found = realpath(path, NULL);
        free(path);
    }
    free(program);
    return found;
}

/* LD_PRELOAD without the library; with it as the last, if wanted. Its parts are separated by spaces or colons. */
static void set_preload(const char *library, bool wanted)
{
    const char *old = getenv("LD_PRELOAD");
    char *value = out_copy("");

    for (const char *p = old ? old : ""; *p; p += strspn(p, " :")) {
        size_t length = strcspn(p, " :");
        char *longer = NULL;

        if (length != strlen(library) || memcmp(p, library, length) != 0) {
            longer = out_format("%s%s%.*s", value, value[0] ? ":" : "", (int)length, p);
            free(value);
            value = longer;
        }
        p += length;
    }
    if (wanted) {
        char *longer = out_format("%s%s%s", value, value[0] ? ":" : "", library);

        free(value);
        value = longer;
    }
    if (value[0])
        setenv("LD_PRELOAD", value, 1);
    else
        unsetenv("LD_PRELOAD");
    free(value);
}

static int prepare_preload(struct cli *cli, const char *ref, const char *file)
{
    char *uri = NULL;
    char *path = NULL;
    char *library = find_library();
    int rc = cli_check(cli, bough_ref_url(&uri, &path, cli->store, ref));

    if (rc == BOUGH_OK && (!library || strpbrk(library, " :")))
        rc = cli_fail(cli, BOUGH_IO, library ? "LD_PRELOAD cannot name %s" : "bough-run.so is not where bough looks",
                      library);
    if (rc == BOUGH_OK)
        rc = program_check_preload(cli, cli_operand(cli, 1));
    if (rc == BOUGH_OK) {
        set_preload(library, true);
        setenv("BOUGH_RUN_FILE", file, 1);
        setenv("BOUGH_RUN_PATH", path, 1);
    }
    free(library);
    free(uri);
    free(path);
    return rc;
}

/* ---- running ---- */

/* Nothing of the store stays open while the program runs. */
static void close_store(struct cli *cli)
{
    bough_store_close(cli->store);
    cli->store = NULL;
}

static char *const *arguments(const struct cli *cli)
{
    return (char *const *)(cli->operands + 1); /* NULL ends the operands */
}

static int run_preloaded(struct cli *cli, const char *ref, const char *file)
{
    int rc = prepare_preload(cli, ref, file);

    if (rc == BOUGH_OK) {
        close_store(cli);
        rc = program_run(cli, &cli->own_status, arguments(cli), NULL, NULL);
    }
    return rc;
}

static int check_writable(struct cli *cli, const char *ref)
{
    bough_branches branches = {NULL, 0};
    int rc = cli_check(cli, bough_branch_get(&branches, cli->store, ref));

    if (rc == BOUGH_OK && branches.items[0].is_protected)
        rc = cli_fail(cli, BOUGH_REFUSED, "branch %s is protected", ref);
    bough_branches_release(&branches);
    return rc;
}

static int import_copy(struct cli *cli, const struct stand_in *stand_in, const char *branch)
{
    char *message = out_format("run %s", cli_operand(cli, 1));
    int rc = cli_open(cli);

    if (rc == BOUGH_OK)
        rc = stand_in_import(cli, stand_in, branch, message);
    if (rc != BOUGH_OK)
        cli->own_status = PROGRAM_FAILED;
    free(message);
    return rc;
}

/* The copy is kept where the program did its work and the branch did not take it. */
static int run_copied(struct cli *cli, const char *branch, const char *file)
{
    struct stand_in stand_in = {0};
    char *library = find_library();
    bool keep = false;
    int rc = check_writable(cli, branch);

    if (rc == BOUGH_OK)
        rc = stand_in_make(cli, &stand_in, branch, file);
    if (rc == BOUGH_OK) {
        close_store(cli);
        if (library)
            set_preload(library, false);
        rc = program_run(cli, &cli->own_status, arguments(cli), stand_in_mount, &stand_in);
    }
    if (rc == BOUGH_OK && cli->own_status == 0) {
        rc = import_copy(cli, &stand_in, branch);
        keep = rc != BOUGH_OK && rc != BOUGH_INTERRUPTED;
    }
    if (keep)
        cli_hint(cli, "what the program made is in %s; bough import takes it", stand_in.path);
    else
        stand_in_remove(&stand_in);
    stand_in_release(&stand_in);
    free(library);
    return rc;
}

static int run(struct cli *cli)
{
    char *file = NULL;
    int rc = BOUGH_OK;

    if (cli->operands_before_end != 1) {
        cli_hint(cli, "bough run NAME -- CMD");
        return cli_fail(cli, BOUGH_USAGE, "run needs -- between the name of the branch and the program");
    }
    cli->own_status = PROGRAM_FAILED;
    rc = cli_open(cli);
    if (rc == BOUGH_OK)
        rc = find_file(cli, &file);
    if (rc == BOUGH_OK)
        rc = (cli_has(cli, "copy") ? run_copied : run_preloaded)(cli, cli_operand(cli, 0), file);
    free(file);
    return rc;
}

static const struct cli_option option_table[] = {
    {0, "db", "FILE", "the file that the program opens; the one that the store was made from by default"},
    {0, "copy", NULL, "give it a copy, and import the copy when the program has ended with 0"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_run = {
    .name = "run",
    .aliases = "",
    .group = "SQL",
    .summary = "run a program that gets a branch for its file",
    .usage = "NAME [--db FILE] [--copy] -- CMD [ARG...]",
    .details =
        "Runs a program that opens FILE and gives it the branch instead. FILE itself is not touched. NAME may be any "
        "REF; what is no branch is read-only. The exit status is that of the program, 128 and the number of the signal "
        "that killed it, 126 or 127 when it cannot be started or found, and 125 when bough itself failed.\n\n"
        "The program and those that it starts get a library loaded (LD_PRELOAD), which reaches the functions that open "
        "databases in a shared libsqlite3. A program with an SQLite of its own inside is not reached. For such ones, "
        "--copy lets the program find a private copy of the branch in the place of FILE, through a mount that it alone "
        "sees. When it ends with 0, the copy becomes the branch's next commit, unless the branch has moved meanwhile. "
        "The copy is removed, but where the program did its work and the branch did not take it.",
    .example = "bough run premium -- python3 report.py\nruns the report on the branch premium",
    .options = option_table,
    .operands_min = 2,
    .operands_max = CLI_MANY,
    .may_be_empty = true,
    .may_say_nothing = true,
    .completes = "REF FILE",
    .run = run,
};
