/* bookkeeping.c - see bookkeeping.h.
 *
 * The pages that differ say which tables may hold other rows. Only the migrator's two may be among them: of any other
 * table a page that differs is enough for a no, since whether its rows do is not worth to be read. Tables of SQLite's
 * own are few and small, and are read. The rest is the schema, and what the header keeps for an application. */
#include "bookkeeping.h"

#include "compare.h"
#include "report.h"
#include "table.h"
#include "values.h"

#define PAGES_MAX 16384 /* an application has written */
#define TOO_MANY  1     /* no code of the engine's */

struct comparison {
    sqlite3 *from, *to;
    const char *table;
    struct bough__pages pages;
    size_t page_count;
};

static int note_page(void *context, char kind, uint64_t page)
{
    struct comparison *comparison = context;

    (void)kind;
    if (comparison->page_count++ == PAGES_MAX)
        return TOO_MANY;
    return bough__pages_add(&comparison->pages, page) ? BOUGH_OK : bough__migrate_fail_memory();
}

static int fail(sqlite3 *failed, int code)
{
    return failed ? bough__migrate_fail_sqlite(failed, code, "comparing") : bough__migrate_fail_memory();
}

/* Reads something, so that the connection stays where it is. */
static int begin(sqlite3 *db)
{
    int code = sqlite3_exec(db, "BEGIN; SELECT 1 FROM main.sqlite_schema", NULL, NULL, NULL);

    return code == SQLITE_OK ? BOUGH_OK : fail(db, code);
}

static void end(sqlite3 *db)
{
    if (!sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
}

/* ---- what may differ ---- */

static int prepare(sqlite3_stmt **out, sqlite3 *db, const char *sql)
{
    int code = sqlite3_prepare_v2(db, sql, -1, out, NULL);

    return code == SQLITE_OK ? BOUGH_OK : fail(db, code);
}

/* The next row of both: is it the same, and is it the end? */
static int step(bool *is_same, bool *is_end, sqlite3_stmt *from, sqlite3_stmt *to)
{
    int code = sqlite3_step(from);
    int other = code == SQLITE_ROW || code == SQLITE_DONE ? sqlite3_step(to) : SQLITE_DONE;

    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return fail(sqlite3_db_handle(from), code);
    if (other != SQLITE_ROW && other != SQLITE_DONE)
        return fail(sqlite3_db_handle(to), other);
    *is_end = code == SQLITE_DONE;
    *is_same = code == other;
    for (int i = 0; !*is_end && *is_same && i < sqlite3_column_count(from); i++)
        *is_same = bough__value_equal(from, to, i);
    return BOUGH_OK;
}

/* Are the rows of a query the same on both sides? */
static int compare_query(bool *is_same, const struct comparison *comparison, const char *sql)
{
    sqlite3_stmt *from = NULL;
    sqlite3_stmt *to = NULL;
    bool is_end = false;
    int rc = prepare(&from, comparison->from, sql);

    if (rc == BOUGH_OK)
        rc = prepare(&to, comparison->to, sql);
    while (rc == BOUGH_OK && *is_same && !is_end)
        rc = step(is_same, &is_end, from, to);
    sqlite3_finalize(from);
    sqlite3_finalize(to);
    return rc;
}

/* What pages cannot tell: the header, and the tables that SQLite makes by itself. */
static int compare_rest(bool *is_same, const struct comparison *comparison)
{
    static const char header[] =
        "SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id), "
        "(SELECT auto_vacuum FROM pragma_auto_vacuum)";
    static const char tables[] = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 AND "
                                 "name LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    sqlite3_stmt *statement = NULL;
    int code = SQLITE_DONE;
    int rc = compare_query(is_same, comparison, header);

    if (rc == BOUGH_OK && *is_same)
        rc = compare_query(is_same, comparison, tables);
    if (rc == BOUGH_OK && *is_same)
        rc = prepare(&statement, comparison->from, tables);
    while (rc == BOUGH_OK && *is_same && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        char *sql = sqlite3_mprintf("SELECT * FROM main.\"%w\"", sqlite3_column_text(statement, 0));

        rc = sql ? compare_query(is_same, comparison, sql) : bough__migrate_fail_memory();
        sqlite3_free(sql);
    }
    if (rc == BOUGH_OK && code != SQLITE_ROW && code != SQLITE_DONE)
        rc = fail(comparison->from, code);
    sqlite3_finalize(statement);
    return rc;
}

static void judge_schema(bool *is_same, const struct comparison *comparison, const struct bough__schema_changes *schema)
{
    for (size_t i = 0; i < schema->count; i++) {
        const struct bough__schema_change *change = &schema->items[i];

        *is_same = *is_same && !sqlite3_stricmp(change->type, "table") && change->change != BOUGH_RENAMED &&
                   bough__applied_is_own(comparison->table, change->name);
    }
}

static void judge_tables(bool *is_same, const struct comparison *comparison, const struct bough__tables *tables)
{
    for (size_t i = 0; i < tables->count; i++)
        *is_same = *is_same && bough__applied_is_own(comparison->table, tables->items[i].name);
}

static int compare(bool *is_same, const struct comparison *comparison)
{
    struct bough__schema_changes schema = {0};
    struct bough__tables tables = {0};
    sqlite3 *failed = NULL;
    int code = bough__schema_compare(&schema, &failed, comparison->from, comparison->to);

    if (code == SQLITE_OK)
        judge_schema(is_same, comparison, &schema);
    if (code == SQLITE_OK && *is_same)
        code = bough__tables_compare(&tables, &failed, comparison->from, comparison->to, &schema, &comparison->pages);
    if (code == SQLITE_OK)
        judge_tables(is_same, comparison, &tables);
    bough__tables_release(&tables);
    bough__schema_changes_release(&schema);
    if (code != SQLITE_OK)
        return fail(failed, code);
    return *is_same ? compare_rest(is_same, comparison) : BOUGH_OK;
}

int bough__bookkeeping_only(bool *out, sqlite3 *from, sqlite3 *to, const char *table)
{
    struct comparison comparison = {.from = from, .to = to, .table = table};
    bough_page_diff diff = {0};
    int rc = begin(from);

    *out = true;
    if (rc == BOUGH_OK)
        rc = begin(to);
    if (rc == BOUGH_OK)
        rc = bough_diff_connections(&diff, from, to, note_page, &comparison);
    if (rc == TOO_MANY) {
        *out = false;
        rc = BOUGH_OK;
    } else if (rc == BOUGH_OK && !diff.identical) {
        rc = compare(out, &comparison);
    }
    end(from);
    end(to);
    bough__pages_release(&comparison.pages);
    return rc;
}
