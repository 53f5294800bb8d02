/* cmd_diff.c - bough diff: what changes from one state to another, in pages and in the schema. */
#include "commands.h"
#include "compare.h"
#include "database.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct range {
    char kind; /* 'c', 'a', 'r' */
    uint64_t first, last;
};

struct table_change {
    const char *name;
    enum bough_change change;
};

struct diff {
    struct cli *cli;
    const char *from, *to;
    const char *table; /* of --table, or NULL */
    bough_page_diff pages;
    struct range *ranges; /* what --pages prints */
    size_t range_count, range_capacity;
    struct bough__pages fresh; /* pages of `to` that `from` does not have */
    struct bough__schema_changes schema;
    struct bough__names contents; /* tables with the same schema and other pages */
    bool contents_known;
    struct table_change *tables;
    size_t table_count;
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
    return kind != 'r' && !bough__pages_add(&diff->fresh, page) ? BOUGH_NOMEM : 0;
}

static bool is_listed(const struct diff *diff, const char *name)
{
    for (size_t i = 0; i < diff->table_count; i++) {
        if (!strcmp(diff->tables[i].name, name))
            return true;
    }
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct table_change *)a)->name, ((const struct table_change *)b)->name);
}

static bool is_wanted(const struct diff *diff, const char *table)
{
    return !diff->table || !sqlite3_stricmp(diff->table, table);
}

static bool is_wanted_change(const struct diff *diff, const struct bough__schema_change *change)
{
    return is_wanted(diff, change->table) || (change->old_name && is_wanted(diff, change->old_name));
}

static void list_tables(struct diff *diff)
{
    diff->tables = out_alloc((diff->schema.count + diff->contents.count) * sizeof diff->tables[0]);
    for (size_t i = 0; i < diff->schema.count; i++) {
        const struct bough__schema_change *change = &diff->schema.items[i];

        if (!strcmp(change->type, "table") && is_wanted_change(diff, change))
            diff->tables[diff->table_count++] = (struct table_change){change->name, change->change};
    }
    for (size_t i = 0; i < diff->contents.count; i++) {
        if (!is_listed(diff, diff->contents.items[i]) && is_wanted(diff, diff->contents.items[i]))
            diff->tables[diff->table_count++] = (struct table_change){diff->contents.items[i], BOUGH_CHANGED};
    }
    if (diff->table_count)
        qsort(diff->tables, diff->table_count, sizeof diff->tables[0], by_name);
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

static int compare(struct diff *diff, struct database *from, struct database *to)
{
    sqlite3 *failed = NULL;
    int code = bough__schema_compare(&diff->schema, &failed, from->handle, to->handle);

    if (code == SQLITE_OK)
        code = bough__tables_compare(&diff->contents, &diff->contents_known, &failed, from->handle, to->handle,
                                     &diff->fresh);
    if (code == SQLITE_NOMEM)
        return cli_fail(diff->cli, BOUGH_NOMEM, "out of memory");
    return code == SQLITE_OK ? BOUGH_OK : database_fail(diff->cli, failed == from->handle ? from : to, code, "");
}

static int compare_databases(struct diff *diff)
{
    struct database from = {NULL, NULL, false};
    struct database to = {NULL, NULL, false};
    bool has_table = false;
    int rc = database_open(diff->cli, &from, diff->from, false);

    if (rc == BOUGH_OK)
        rc = database_open(diff->cli, &to, diff->to, false);
    if (rc == BOUGH_OK)
        rc = begin(diff->cli, &from, &has_table, diff->table);
    if (rc == BOUGH_OK)
        rc = begin(diff->cli, &to, &has_table, diff->table);
    if (rc == BOUGH_OK && diff->table && !has_table)
        rc = cli_fail(diff->cli, BOUGH_NOT_FOUND, "no table %s in %s or %s", diff->table, diff->from, diff->to);
    if (rc == BOUGH_OK && !diff->pages.identical)
        rc = compare(diff, &from, &to);
    database_close(&from);
    database_close(&to);
    return rc;
}

static int find_out(struct diff *diff)
{
    int rc =
        cli_check(diff->cli, bough_diff_pages(&diff->pages, diff->cli->store, diff->from, diff->to, note_page, diff));

    diff->contents_known = true;
    if (rc == BOUGH_OK && (!diff->pages.identical || diff->table))
        rc = compare_databases(diff);
    if (rc == BOUGH_OK)
        list_tables(diff);
    return rc;
}

/* ---- printing ---- */

static void json_tables(struct json *json, const struct diff *diff)
{
    json_key(json, "tables");
    json_open(json, '[');
    for (size_t i = 0; i < diff->table_count; i++) {
        json_open(json, '{');
        json_put_string(json, "name", diff->tables[i].name);
        json_put_string(json, "status", bough__change_name(diff->tables[i].change));
        json_put_null(json, "rows_added");
        json_put_null(json, "rows_removed");
        json_put_null(json, "rows_changed");
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void json_schema(struct json *json, const struct diff *diff)
{
    json_key(json, "schema");
    json_open(json, '[');
    for (size_t i = 0; i < diff->schema.count; i++) {
        const struct bough__schema_change *change = &diff->schema.items[i];

        if (!is_wanted_change(diff, change))
            continue;
        json_open(json, '{');
        json_put_string(json, "type", change->type);
        json_put_string(json, "name", change->name);
        json_put_string(json, "status", bough__change_name(change->change));
        json_put_string(json, "from_sql", change->from_sql);
        json_put_string(json, "to_sql", change->to_sql);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void print_json(const struct diff *diff)
{
    struct json json = {stdout, false};

    json_open(&json, '{');
    json_put_string(&json, "from", diff->from);
    json_put_string(&json, "to", diff->to);
    json_put_bool(&json, "identical", diff->pages.identical);
    json_key(&json, "pages");
    json_open(&json, '{');
    json_put_uint(&json, "changed", diff->pages.changed);
    json_put_uint(&json, "added", diff->pages.added);
    json_put_uint(&json, "removed", diff->pages.removed);
    json_close(&json, '}');
    json_tables(&json, diff);
    json_schema(&json, diff);
    json_close(&json, '}');
    cli_json_end(&json);
}

static void print_sql(const char *sql, char sign)
{
    while (sql) {
        const char *end = strchr(sql, '\n');

        printf("    %c ", sign);
        out_line(stdout, sql);
        putchar('\n');
        sql = end ? end + 1 : NULL;
    }
}

static void print_schema(const struct diff *diff, bool with_sql)
{
    for (size_t i = 0; i < diff->schema.count; i++) {
        const struct bough__schema_change *change = &diff->schema.items[i];

        if (!is_wanted_change(diff, change) || (!with_sql && !strcmp(change->type, "table")))
            continue;
        printf("%-8s %-8s ", change->type, bough__change_name(change->change));
        if (change->old_name) {
            out_line(stdout, change->old_name);
            fputs(" to ", stdout);
        }
        out_line(stdout, change->name);
        putchar('\n');
        if (with_sql) {
            print_sql(change->from_sql, '-');
            print_sql(change->to_sql, '+');
        }
    }
}

static void print_tables(const struct diff *diff)
{
    for (size_t i = 0; i < diff->table_count; i++) {
        printf("table    %-8s ", bough__change_name(diff->tables[i].change));
        out_line(stdout, diff->tables[i].name);
        putchar('\n');
    }
    if (!diff->contents_known)
        puts("tables with changed rows are not known: SQLite was built without dbstat");
}

static void print_ranges(const struct diff *diff)
{
    for (size_t i = 0; i < diff->range_count; i++) {
        const struct range *range = &diff->ranges[i];

        printf("%-8s %" PRIu64,
               range->kind == 'c'   ? "changed"
               : range->kind == 'a' ? "added"
                                    : "removed",
               range->first);
        if (range->last != range->first)
            printf("-%" PRIu64, range->last);
        putchar('\n');
    }
}

static void print_names(const struct diff *diff)
{
    for (size_t i = 0; i < diff->table_count; i++)
        puts(diff->tables[i].name);
    for (size_t i = 0; i < diff->schema.count; i++) {
        if (is_wanted_change(diff, &diff->schema.items[i]) && strcmp(diff->schema.items[i].type, "table") != 0)
            puts(diff->schema.items[i].name);
    }
}

static void print(const struct diff *diff)
{
    struct cli *cli = diff->cli;
    bool chosen = cli_has(cli, "stat") || cli_has(cli, "schema") || cli_has(cli, "pages");

    if (cli->json) {
        print_json(diff);
    } else if (cli->quiet) {
        print_names(diff);
    } else if (diff->pages.identical) {
        printf("%s and %s are identical\n", diff->from, diff->to);
    } else {
        if (!cli_has(cli, "schema"))
            printf("pages    %" PRIu64 " changed, %" PRIu64 " added, %" PRIu64 " removed from %s to %s\n",
                   diff->pages.changed, diff->pages.added, diff->pages.removed, diff->from, diff->to);
        if (!chosen || cli_has(cli, "stat"))
            print_tables(diff);
        if (!cli_has(cli, "pages"))
            print_schema(diff, cli_has(cli, "schema"));
        print_ranges(diff);
    }
}

/* --exit-code answers for what was asked: the schema, a table, or the whole database. */
static bool differs(const struct diff *diff)
{
    bool any = false;

    if (!diff->table && !cli_has(diff->cli, "schema"))
        return !diff->pages.identical;
    for (size_t i = 0; i < diff->schema.count; i++)
        any = any || is_wanted_change(diff, &diff->schema.items[i]);
    return any || (!cli_has(diff->cli, "schema") && diff->table_count);
}

static int check_options(struct cli *cli)
{
    if (cli_has(cli, "rows") || cli_has(cli, "sql"))
        return cli_fail(cli, BOUGH_USAGE, "diff --%s compares rows, which is not available in bough " BOUGH_VERSION,
                        cli_has(cli, "rows") ? "rows" : "sql");
    if (cli_has(cli, "stat") + cli_has(cli, "schema") + cli_has(cli, "pages") > 1)
        return cli_fail(cli, BOUGH_USAGE, "diff takes one of --stat, --schema and --pages");
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
        print(&diff);
    if (rc == BOUGH_OK && cli_has(cli, "exit-code") && differs(&diff)) {
        rc = BOUGH_NO;
        cli->answered = true;
    }
    bough__schema_changes_release(&diff.schema);
    bough__names_release(&diff.contents);
    bough__pages_release(&diff.fresh);
    free(diff.tables);
    free(diff.ranges);
    return rc;
}

static const struct cli_option option_table[] = {
    {0, "stat", NULL, "counts and names alone (also what is printed without an option)"},
    {0, "schema", NULL, "the SQL of what differs in the schema"},
    {0, "pages", NULL, "the numbers of the pages that differ"},
    {0, "rows", NULL, "the rows that differ (not available in this version)"},
    {0, "sql", NULL, "the differences as SQL (not available in this version)"},
    {0, "table", "TABLE", "this table alone, with its indexes and triggers"},
    {0, "exit-code", NULL, "exit with 1 when what was asked for differs"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_diff = {
    .name = "diff",
    .aliases = "",
    .group = "History",
    .summary = "show what changes from one state to another",
    .usage = "A [B] [--stat|--schema|--pages] [--table TABLE] [--exit-code]",
    .details =
        "Compares the REFs A and B, the current branch by default: pages, tables, indexes, views and triggers. A table "
        "counts as changed when its SQL or one of its pages differs.",
    .example = "bough diff main premium --schema\nshows what premium changed in the schema of main",
    .options = option_table,
    .operands_min = 1,
    .operands_max = 2,
    .completes = "REF",
    .run = run,
};
