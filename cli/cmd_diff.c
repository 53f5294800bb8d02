/* cmd_diff.c - bough diff: what changes from one state to another, in pages, in the schema and in rows.
 *
 * Pages say which tables to read. A first pass over these counts; rows and scripts are printed in a second one. */
#include "changeset.h"
#include "commands.h"
#include "database.h"
#include "outcome_json.h"
#include "rows_diff.h"
#include "script.h"
#include "spill.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct range {
    char kind; /* 'c', 'a', 'r' */
    uint64_t first, last;
};

/* What programs keep in the header. */
#define NUMBERS 2
static const char *const number_names[NUMBERS] = {"user_version", "application_id"};

struct diff {
    struct cli *cli;
    const char *from, *to;
    const char *table; /* of --table, or NULL */
    bough_page_diff pages;
    struct range *ranges; /* what --pages prints */
    size_t range_count, range_capacity;
    struct bough__pages differing; /* pages that are not the same, wherever they are */
    struct bough__outcome outcome;
    struct {
        int64_t from, to;
    } numbers[NUMBERS]; /* of number_names */
    struct database from_db, to_db;
    FILE *out;
};

/* ---- finding out ---- */

static void add_range(struct diff *diff, char kind, uint64_t page)
{
    struct range *last = diff->range_count ? &diff->ranges[diff->range_count - 1] : NULL;

    if (last && last->kind == kind && last->last + 1 == page) {
        last->last = page;
        return;
    }
    if (diff->range_count == diff->range_capacity) {
        diff->range_capacity = diff->range_capacity ? diff->range_capacity * 2 : 64;
        diff->ranges = out_grow(diff->ranges, diff->range_capacity * sizeof diff->ranges[0]);
    }
    diff->ranges[diff->range_count++] = (struct range){kind, page, page};
}

static int note_page(void *context, char kind, uint64_t page)
{
    struct diff *diff = context;

    if (cli_has(diff->cli, "pages"))
        add_range(diff, kind, page);
    return bough__pages_add(&diff->differing, page) ? BOUGH_OK : BOUGH_NOMEM;
}

/* Reads the schema, so that the connection stays on one state from here on. */
static int begin(struct cli *cli, struct database *database, bool *out_has_table, const char *table)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_exec(database->handle, "BEGIN", NULL, NULL, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(database->handle,
                                  "SELECT 1 FROM main.sqlite_schema WHERE type IN ('table', 'view') "
                                  "AND name = ?1 COLLATE NOCASE",
                                  -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(statement, 1, table ? table : "", -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    *out_has_table = *out_has_table || code == SQLITE_ROW;
    sqlite3_finalize(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? BOUGH_OK : database_fail(cli, database, code, "");
}

static int sqlite_fail(struct diff *diff, sqlite3 *failed, int code)
{
    if (code == SQLITE_OK)
        return BOUGH_OK;
    if (!failed)
        return cli_fail(diff->cli, BOUGH_NOMEM, "out of memory");
    return database_fail(diff->cli, failed == diff->from_db.handle ? &diff->from_db : &diff->to_db, code, "");
}

static int compare(struct diff *diff)
{
    sqlite3 *failed = NULL;
    int code = bough__outcome_compare(&diff->outcome, &failed, diff->from_db.handle, diff->to_db.handle,
                                      &diff->differing, diff->table);

    return sqlite_fail(diff, failed, code);
}

static int read_number(struct diff *diff, struct database *database, int64_t *out, size_t which)
{
    char *sql = out_format("PRAGMA main.%s", number_names[which]);
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(database->handle, sql, -1, &statement, NULL);

    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW)
        *out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    free(sql);
    return code == SQLITE_ROW ? BOUGH_OK : database_fail(diff->cli, database, code, "");
}

/* Pages are compared between the very states that the connections read. */
static int find_out(struct diff *diff)
{
    bool has_table = false;
    int rc = database_open(diff->cli, &diff->from_db, diff->from, false);

    if (rc == BOUGH_OK)
        rc = database_open(diff->cli, &diff->to_db, diff->to, false);
    if (rc == BOUGH_OK)
        rc = begin(diff->cli, &diff->from_db, &has_table, diff->table);
    if (rc == BOUGH_OK)
        rc = begin(diff->cli, &diff->to_db, &has_table, diff->table);
    if (rc == BOUGH_OK && diff->table && !has_table)
        rc = cli_fail(diff->cli, BOUGH_NOT_FOUND, "no table %s in %s or %s", diff->table, diff->from, diff->to);
    if (rc == BOUGH_OK)
        rc = cli_check(diff->cli,
                       bough_diff_connections(&diff->pages, diff->from_db.handle, diff->to_db.handle, note_page, diff));
    if (rc == BOUGH_OK && !diff->pages.identical)
        rc = compare(diff);
    for (size_t i = 0; rc == BOUGH_OK && !diff->table && i < NUMBERS; i++) {
        rc = read_number(diff, &diff->from_db, &diff->numbers[i].from, i);
        if (rc == BOUGH_OK)
            rc = read_number(diff, &diff->to_db, &diff->numbers[i].to, i);
    }
    return rc;
}

/* ---- rows ---- */

static int print_rows(struct diff *diff, const struct bough__table_outcome *table, struct json *json)
{
    struct bough__rows rows = {0};
    struct rows_diff printer = {diff->out, json, &rows};
    struct bough__row_counts counts = {0};
    sqlite3 *failed = NULL;
    int code = SQLITE_OK;

    if (table->is_counted)
        code =
            bough__outcome_open_rows(&rows, &failed, diff->from_db.handle, diff->to_db.handle, &diff->outcome, table);
    if (code == SQLITE_OK && table->is_counted)
        code = bough__rows_walk(&counts, &failed, &rows, rows_diff_print, &printer);
    bough__rows_release(&rows);
    return sqlite_fail(diff, failed, code);
}

/* The tables in which only rows differ, without those whose pages moved. */
static int print_script(struct diff *diff, FILE *out)
{
    struct bough__names contents = {NULL, 0};
    struct bough__script script = {out,       diff->from_db.handle,    diff->to_db.handle, &diff->outcome.schema,
                                   &contents, &diff->outcome.contents, diff->table,        NULL};
    sqlite3 *failed = NULL;
    int code = SQLITE_OK;

    for (size_t i = 0; code == SQLITE_OK && i < diff->outcome.table_count; i++) {
        if (!diff->outcome.tables[i].has_other_sql && !bough__names_add(&contents, diff->outcome.tables[i].name))
            code = SQLITE_NOMEM;
    }
    if (code == SQLITE_OK)
        code = bough__script_write(&script, &failed);
    bough__names_release(&contents);
    return sqlite_fail(diff, failed, code);
}

static int print_changeset(struct diff *diff, FILE *out)
{
    struct bough__changeset changeset = {
        out, diff->from_db.handle, diff->to_db.handle, &diff->outcome.schema, &diff->outcome.contents, diff->table};
    sqlite3 *failed = NULL;
    char *refusal = NULL;
    int code = bough__changeset_write(&changeset, &refusal, &failed);
    int rc = refusal ? cli_fail(diff->cli, BOUGH_REFUSED, "%s", refusal) : sqlite_fail(diff, failed, code);

    sqlite3_free(refusal);
    return rc;
}

/* ---- printing ---- */

static const char *range_word(const struct range *range)
{
    return range->kind == 'c' ? "changed" : range->kind == 'a' ? "added" : "removed";
}

static int json_tables(struct json *json, struct diff *diff)
{
    int rc = BOUGH_OK;

    json_key(json, "tables");
    json_open(json, '[');
    for (size_t i = 0; rc == BOUGH_OK && i < diff->outcome.table_count; i++) {
        const struct bough__table_outcome *table = &diff->outcome.tables[i];

        json_open(json, '{');
        outcome_json_table(json, table);
        if (cli_has(diff->cli, "rows")) {
            json_key(json, "rows");
            json_open(json, '[');
            rc = print_rows(diff, table, json);
            json_close(json, ']');
        }
        json_close(json, '}');
    }
    json_close(json, ']');
    return rc;
}

static void json_ranges(struct json *json, const struct diff *diff)
{
    json_key(json, "ranges");
    json_open(json, '[');
    for (size_t i = 0; i < diff->range_count; i++) {
        const struct range *range = &diff->ranges[i];

        json_open(json, '{');
        json_put_string(json, "status", range_word(range));
        json_put_uint(json, "first", range->first);
        json_put_uint(json, "last", range->last);
        json_close(json, '}');
    }
    json_close(json, ']');
}

/* What a form prints for itself, as one value. */
static int json_form(struct json *json, struct diff *diff, bool is_hex, int (*print_form)(struct diff *, FILE *))
{
    FILE *stream = json_stream(json, is_hex);
    int rc = stream ? print_form(diff, stream) : cli_fail(diff->cli, BOUGH_NOMEM, "out of memory");

    if (stream && fclose(stream) != 0 && rc == BOUGH_OK)
        rc = cli_fail(diff->cli, BOUGH_IO, "the differences cannot be written");
    return rc;
}

static int json_forms(struct json *json, struct diff *diff)
{
    int rc = BOUGH_OK;

    if (cli_has(diff->cli, "sql")) {
        json_key(json, "sql");
        rc = json_form(json, diff, false, print_script);
    } else if (cli_has(diff->cli, "format")) {
        json_key(json, "changeset");
        json_open(json, '{');
        json_key(json, "hex");
        rc = json_form(json, diff, true, print_changeset);
        json_close(json, '}');
    }
    return rc;
}

static int print_json(struct diff *diff)
{
    struct json json = {diff->out, false};
    int rc = BOUGH_OK;

    json_open(&json, '{');
    json_put_string(&json, "from", diff->from);
    json_put_string(&json, "to", diff->to);
    json_put_bool(&json, "identical", diff->pages.identical);
    json_key(&json, "pages");
    json_open(&json, '{');
    json_put_uint(&json, "changed", diff->pages.changed);
    json_put_uint(&json, "added", diff->pages.added);
    json_put_uint(&json, "removed", diff->pages.removed);
    if (cli_has(diff->cli, "pages"))
        json_ranges(&json, diff);
    json_close(&json, '}');
    rc = json_tables(&json, diff);
    outcome_json_schema(&json, &diff->outcome.schema, diff->table);
    if (rc == BOUGH_OK)
        rc = json_forms(&json, diff);
    json_close(&json, '}');
    cli_json_end(&json);
    return rc;
}

static void print_sql(FILE *file, const char *sql, char sign)
{
    while (sql) {
        const char *end = strchr(sql, '\n');

        fprintf(file, "    %c ", sign);
        out_line(file, sql);
        putc('\n', file);
        sql = end ? end + 1 : NULL;
    }
}

static void print_schema(const struct diff *diff, bool with_sql)
{
    for (size_t i = 0; i < diff->outcome.schema.count; i++) {
        const struct bough__schema_change *change = &diff->outcome.schema.items[i];

        if (!bough__schema_change_concerns(&diff->outcome.schema, change, diff->table) ||
            (!with_sql && !strcmp(change->type, "table")))
            continue;
        fprintf(diff->out, "%-8s %-8s ", change->type, bough__change_name(change->change));
        if (change->old_name) {
            out_line(diff->out, change->old_name);
            fputs(" to ", diff->out);
        }
        out_line(diff->out, change->name);
        putc('\n', diff->out);
        if (with_sql) {
            print_sql(diff->out, change->from_sql, '-');
            print_sql(diff->out, change->to_sql, '+');
        }
    }
}

static void print_count(FILE *file, uint64_t count, const char *what, const char **comma)
{
    if (!count)
        return;
    fprintf(file, "%s%" PRIu64 " %s", *comma, count, what);
    *comma = ", ";
}

static void print_columns(FILE *file, const struct bough__table_outcome *table)
{
    for (size_t i = 0; i < table->new_columns.count; i++) {
        fputs("column   renamed  ", file);
        out_line(file, table->old_columns.items[i]);
        fputs(" to ", file);
        out_line(file, table->new_columns.items[i]);
        fputs(" in ", file);
        out_line(file, table->name);
        putc('\n', file);
    }
}

static int print_tables(struct diff *diff)
{
    int rc = BOUGH_OK;

    for (size_t i = 0; rc == BOUGH_OK && i < diff->outcome.table_count; i++) {
        const struct bough__table_outcome *table = &diff->outcome.tables[i];
        const char *comma = "  rows: ";

        fprintf(diff->out, "table    %-8s ", bough__change_name(table->change));
        if (table->old_name) {
            out_line(diff->out, table->old_name);
            fputs(" to ", diff->out);
        }
        out_line(diff->out, table->name);
        print_count(diff->out, table->counts.added, "added", &comma);
        print_count(diff->out, table->counts.removed, "removed", &comma);
        print_count(diff->out, table->counts.changed, "changed", &comma);
        fputs(table->is_counted ? "\n" : "  rows: not known\n", diff->out);
        print_columns(diff->out, table);
        if (cli_has(diff->cli, "rows"))
            rc = print_rows(diff, table, NULL);
    }
    return rc;
}

static void print_ranges(const struct diff *diff)
{
    for (size_t i = 0; i < diff->range_count; i++) {
        const struct range *range = &diff->ranges[i];

        fprintf(diff->out, "%-8s %" PRIu64, range_word(range), range->first);
        if (range->last != range->first)
            fprintf(diff->out, "-%" PRIu64, range->last);
        putc('\n', diff->out);
    }
}

static void print_names(const struct diff *diff)
{
    for (size_t i = 0; i < diff->outcome.table_count; i++)
        fprintf(diff->out, "%s\n", diff->outcome.tables[i].name);
    for (size_t i = 0; i < diff->outcome.schema.count; i++) {
        if (bough__schema_change_concerns(&diff->outcome.schema, &diff->outcome.schema.items[i], diff->table) &&
            strcmp(diff->outcome.schema.items[i].type, "table") != 0)
            fprintf(diff->out, "%s\n", diff->outcome.schema.items[i].name);
    }
}

static void print_numbers(const struct diff *diff)
{
    for (size_t i = 0; i < NUMBERS; i++) {
        if (diff->numbers[i].from != diff->numbers[i].to)
            fprintf(diff->out, "header   changed  %s: %" PRId64 " to %" PRId64 "\n", number_names[i],
                    diff->numbers[i].from, diff->numbers[i].to);
    }
}

/* The default, and --stat: pages, tables with counts, names. */
static int print_text(struct diff *diff)
{
    struct cli *cli = diff->cli;
    bool chosen = cli_has(cli, "schema") || cli_has(cli, "pages");
    int rc = BOUGH_OK;

    if (!cli_has(cli, "schema") && !cli_has(cli, "rows"))
        fprintf(diff->out, "pages    %" PRIu64 " changed, %" PRIu64 " added, %" PRIu64 " removed from %s to %s\n",
                diff->pages.changed, diff->pages.added, diff->pages.removed, diff->from, diff->to);
    if (!chosen)
        rc = print_tables(diff);
    if (!cli_has(cli, "pages"))
        print_schema(diff, cli_has(cli, "schema"));
    if (!chosen)
        print_numbers(diff);
    print_ranges(diff);
    return rc;
}

static int print_to(struct diff *diff)
{
    if (diff->cli->json)
        return print_json(diff);
    if (cli_has(diff->cli, "sql"))
        return print_script(diff, diff->out);
    if (cli_has(diff->cli, "format"))
        return print_changeset(diff, diff->out);
    if (diff->cli->quiet)
        print_names(diff);
    else if (diff->pages.identical)
        fprintf(diff->out, "%s and %s are identical\n", diff->from, diff->to);
    else
        return print_text(diff);
    return BOUGH_OK;
}

/* Held back: a failure while rows are read prints nothing. */
static int print(struct diff *diff)
{
    struct spill *spill = spill_open(&diff->out);
    int rc = BOUGH_OK;

    if (!spill)
        return cli_fail(diff->cli, BOUGH_NOMEM, "out of memory");
    rc = print_to(diff);
    if (rc == BOUGH_OK && !spill_copy(spill, stdout))
        rc = cli_fail(diff->cli, BOUGH_IO, "the differences cannot be kept in a temporary file");
    spill_close(spill);
    return rc;
}

/* --exit-code: does anything differ, in whatever form it is printed? Without a form, and in that of pages, the bytes
 * answer; else the schema and, but for --schema, rows and header. */
static bool differs(const struct diff *diff)
{
    struct cli *cli = diff->cli;
    bool any = false;

    if (cli_has(cli, "pages") || !(diff->table || cli_has(cli, "schema") || cli_has(cli, "stat") ||
                                   cli_has(cli, "rows") || cli_has(cli, "sql") || cli_has(cli, "format")))
        return !diff->pages.identical;
    for (size_t i = 0; i < diff->outcome.schema.count; i++)
        any = any || bough__schema_change_concerns(&diff->outcome.schema, &diff->outcome.schema.items[i], diff->table);
    for (size_t i = 0; !cli_has(cli, "schema") && i < NUMBERS; i++)
        any = any || diff->numbers[i].from != diff->numbers[i].to;
    return any || (!cli_has(cli, "schema") && diff->outcome.table_count);
}

static int check_options(struct cli *cli)
{
    if (cli_has(cli, "stat") + cli_has(cli, "schema") + cli_has(cli, "pages") + cli_has(cli, "rows") +
            cli_has(cli, "sql") + cli_has(cli, "format") >
        1)
        return cli_fail(cli, BOUGH_USAGE, "diff takes one of --stat, --schema, --rows, --pages, --sql and --format");
    if (cli_has(cli, "format") && strcmp(cli_value(cli, "format"), "changeset") != 0)
        return cli_fail(cli, BOUGH_USAGE, "diff knows the format changeset, not %s", cli_value(cli, "format"));
    if (cli_has(cli, "format") && !cli->json && isatty(STDOUT_FILENO))
        return cli_fail(cli, BOUGH_USAGE, "a changeset is bytes for a file or a program: bough diff A B > FILE");
    return BOUGH_OK;
}

static int run(struct cli *cli)
{
    struct diff diff = {.cli = cli, .from = cli_operand(cli, 0), .table = cli_value(cli, "table")};
    int rc = check_options(cli);

    if (rc == BOUGH_OK)
        rc = cli_open(cli);
    if (rc == BOUGH_OK)
        rc = cli_branch_or_current(cli, &diff.to, cli_operand(cli, 1));
    if (rc == BOUGH_OK)
        rc = find_out(&diff);
    if (rc == BOUGH_OK)
        rc = print(&diff);
    if (rc == BOUGH_OK && cli_has(cli, "exit-code") && differs(&diff)) {
        rc = BOUGH_NO;
        cli->answered = true;
    }
    database_close(&diff.from_db);
    database_close(&diff.to_db);
    bough__outcome_release(&diff.outcome);
    bough__pages_release(&diff.differing);
    free(diff.ranges);
    return rc;
}

static const struct cli_option option_table[] = {
    {0, "stat", NULL, "names, with counts of rows (also what is printed without an option)"},
    {0, "schema", NULL, "the SQL of what differs in the schema"},
    {0, "pages", NULL, "the numbers of the pages that differ"},
    {0, "rows", NULL, "the rows that differ, with old and new values"},
    {0, "sql", NULL, "a script that turns A into B"},
    {0, "format", "changeset", "rows as a changeset of SQLite's session extension"},
    {0, "table", "TABLE", "this table alone, with its indexes and triggers"},
    {0, "exit-code", NULL, "exit with 1 when there are differences; of the schema, under --schema"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_diff = {
    .name = "diff",
    .aliases = "",
    .group = "History",
    .summary = "show what changes from one state to another",
    .usage = "A [B] [--stat|--schema|--rows|--pages|--sql|--format changeset] [--table TABLE] [--exit-code]",
    .details =
        "Compares the REFs A and B, the current branch by default: pages, tables with their rows, indexes, views and "
        "triggers. Only tables whose SQL or pages differ are read. Rows are matched by primary key; a table without "
        "one is compared as a multiset, so that VACUUM changes nothing. Where columns differ, the common ones count; a "
        "column that only got another name is the same column, and so with tables."
        "\n\nThe script of --sql is one transaction. It writes a table whose SQL changed as a whole, unless "
        "other names and added columns are all that changed: then ALTER TABLE and the rows that differ. A changeset "
        "holds rows of tables with a primary key; other changes are refused.",
    .example = "bough diff main premium --schema\nshows what premium changed in the schema of main",
    .options = option_table,
    .operands_min = 1,
    .operands_max = 2,
    .completes = "REF",
    .run = run,
};
