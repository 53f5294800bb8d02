/* cmd_sql.c - bough sql: runs a script on a branch, or reads any state. */
#include "commands.h"
#include "database.h"
#include "rows.h"
#include "spill.h"
#include "statements.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct script {
    struct cli *cli;
    struct database *database;
    struct rows *rows;
    const char *text;
    unsigned statement; /* its number, from 1 */
};

/* ---- the text ---- */

static int read_script(struct cli *cli, char **out)
{
    const char *operand = cli_operand(cli, 1);
    size_t length = 0;
    int rc = BOUGH_OK;

    if (operand) {
        *out = out_copy(operand);
        return BOUGH_OK;
    }
    rc = statements_read(cli, out, &length, STDIN_FILENO, "standard input");
    return rc == BOUGH_OK ? statements_check(cli, *out, length, "the script") : rc;
}

/* ---- one statement ---- */

static int fail_at(struct script *script, int code, const char *place)
{
    size_t line = statements_line(script->text, place);
    char *where = NULL;
    int rc = BOUGH_OK;

    if (*place == '.')
        cli_hint(script->cli, "commands that begin with a dot belong to the sqlite3 shell");
    where = out_format("statement %u, line %zu", script->statement, line);
    rc = database_fail(script->cli, script->database, code, where);
    free(where);
    return rc;
}

/* Output that does not arrive ends the script. */
static int check_output(struct script *script)
{
    if (!ferror(script->rows->file))
        return BOUGH_OK;
    return cli_fail(script->cli, BOUGH_IO,
                    script->rows->file == stdout ? "cannot write to standard output"
                                                 : "cannot write to a temporary file");
}

/* The names of columns are read after the first step, which may have prepared the statement anew. */
static int run_statement(struct script *script, sqlite3_stmt *statement, const char *start)
{
    int code = sqlite3_step(statement);
    int rc = BOUGH_OK;

    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return fail_at(script, code, start);
    if (sqlite3_column_count(statement) == 0)
        return BOUGH_OK;
    rows_result_begin(script->rows, statement);
    for (; rc == BOUGH_OK && code == SQLITE_ROW; code = rc == BOUGH_OK ? sqlite3_step(statement) : code) {
        rows_row(script->rows, statement);
        rc = check_output(script);
    }
    rows_result_end(script->rows);
    if (rc == BOUGH_OK && code != SQLITE_DONE)
        rc = fail_at(script, code, start);
    return rc;
}

static int run_script(struct script *script)
{
    sqlite3 *handle = script->database->handle;
    const char *p = statements_next(script->text);
    int rc = BOUGH_OK;

    while (rc == BOUGH_OK && *p) {
        sqlite3_stmt *statement = NULL;
        const char *tail = p;
        int code = sqlite3_prepare_v2(handle, p, -1, &statement, &tail);

        script->statement++;
        if (code != SQLITE_OK) {
            int offset = sqlite3_error_offset(handle);

            rc = fail_at(script, code, offset > 0 ? p + offset : p);
        } else if (statement) {
            rc = run_statement(script, statement, p);
        }
        sqlite3_finalize(statement);
        p = statements_next(tail);
    }
    return rc;
}

/* ---- the command ---- */

/* What is not committed when the script ends is rolled back. */
static int end_transaction(struct script *script, int rc)
{
    sqlite3 *handle = script->database->handle;

    if (sqlite3_get_autocommit(handle))
        return rc;
    sqlite3_exec(handle, "ROLLBACK", NULL, NULL, NULL);
    if (rc != BOUGH_OK)
        return rc;
    return cli_fail(script->cli, BOUGH_SQL, "%s: the script left a transaction open; it was rolled back",
                    script->database->ref);
}

/* Tells a person which branch was written, without mixing it into the data. */
static void tell_changes(const struct script *script)
{
    sqlite3_int64 changes = sqlite3_total_changes64(script->database->handle);

    if (changes && !script->cli->json && !script->cli->quiet && isatty(STDERR_FILENO))
        fprintf(stderr, "branch %s: %lld row%s changed\n", script->database->ref, (long long)changes,
                changes == 1 ? "" : "s");
}

static int execute(struct cli *cli, struct database *database, const char *text, enum rows_form form, FILE *file)
{
    struct rows rows = {0};
    struct script script = {cli, database, &rows, text, 0};
    int rc = BOUGH_OK;

    rows_begin(&rows, form, file);
    rc = end_transaction(&script, run_script(&script));
    rows_end(&rows);
    rows_release(&rows);
    fflush(stdout);
    tell_changes(&script);
    return rc;
}

/* Under --json nothing is printed before the script has succeeded. */
static int execute_json(struct cli *cli, struct database *database, const char *text)
{
    FILE *stream = NULL;
    struct spill *spill = spill_open(&stream);
    int rc = BOUGH_OK;

    if (!spill)
        return cli_fail(cli, BOUGH_NOMEM, "out of memory");
    rc = execute(cli, database, text, ROWS_JSON, stream);
    if (rc == BOUGH_OK && !spill_copy(spill, stdout))
        rc = cli_fail(cli, BOUGH_IO, "cannot keep the results in a temporary file: %s", strerror(errno));
    spill_close(spill);
    return rc;
}

static int run(struct cli *cli)
{
    enum rows_form form = cli_has(cli, "csv") ? ROWS_CSV : cli_has(cli, "table") ? ROWS_TABLE : ROWS_LIST;
    struct database database = {NULL, NULL, false};
    bough_ref target = {0};
    char *text = NULL;
    int rc = BOUGH_OK;

    if (cli_has(cli, "csv") + cli_has(cli, "table") + cli->json > 1)
        return cli_fail(cli, BOUGH_USAGE, "sql takes one of --csv, --table and --json");
    rc = cli_open(cli);
    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_ref_resolve(&target, cli->store, cli_operand(cli, 0)));
    bough_ref_release(&target);
    if (rc == BOUGH_OK)
        rc = read_script(cli, &text);
    if (rc == BOUGH_OK)
        rc = database_open(cli, &database, cli_operand(cli, 0), true);
    if (rc == BOUGH_OK)
        rc = cli->json ? execute_json(cli, &database, text) : execute(cli, &database, text, form, stdout);
    database_close(&database);
    free(text);
    return rc;
}

static const struct cli_option option_table[] = {
    {0, "csv", NULL, "print comma-separated values under a line of titles"},
    {0, "table", NULL, "print aligned columns under titles"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_sql = {
    .name = "sql",
    .aliases = "",
    .group = "SQL",
    .summary = "run SQL on a branch, or read any state",
    .usage = "NAME [SQL] [--csv|--table]",
    .details =
        "Runs the statements of SQL, or of standard input, on the branch NAME; any other REF is read-only. Rows are "
        "printed as the sqlite3 shell does, values between bars.\n\n"
        "The script stops at the first error and keeps what it had committed before. A transaction that is still "
        "open at the end is rolled back, which is an error. Put -- before SQL that begins with a dash and a letter.",
    .example = "bough sql premium 'SELECT count(*) FROM users'\nasks the branch premium",
    .options = option_table,
    .operands_min = 1,
    .operands_max = 2,
    .may_be_empty = true,
    .may_say_nothing = true,
    .completes = "REF NONE",
    .run = run,
};
