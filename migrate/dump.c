/* dump.c - see dump.h. */
#include "dump.h"

#include "report.h"
#include "table.h"
#include "tokens.h"

#include <string.h>

/* Is there anything after the last token? A comment at the end would swallow what is put behind it. */
static bool ends_in_comment(const char *sql)
{
    const char *end = sql;

    for (const char *token = bough__token_start(sql); *token; token = bough__token_start(end))
        end = token + bough__token_length(token);
    return *end != '\0';
}

static int print_object(sqlite3_stmt *row, bough__dump_print *print, void *context)
{
    const char *sql = (const char *)sqlite3_column_text(row, 3);
    char *text = sqlite3_mprintf("%s%s;", sql, ends_in_comment(sql) ? "\n" : "");
    int rc = BOUGH_OK;

    if (!text)
        return bough__migrate_fail_memory();
    rc = print(context, (const char *)sqlite3_column_text(row, 0), (const char *)sqlite3_column_text(row, 1), text);
    sqlite3_free(text);
    return rc;
}

int bough__dump(sqlite3 *db, const char *table, bough__dump_print *print, void *context)
{
    static const char sql[] =
        "SELECT type, name, tbl_name, sql FROM main.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE "
        "'sqlite\\_%' ESCAPE '\\' AND name NOT IN (SELECT name FROM pragma_table_list WHERE schema = 'main' AND "
        "type = 'shadow') ORDER BY CASE type WHEN 'table' THEN 1 WHEN 'index' THEN 2 WHEN 'view' THEN 3 ELSE 4 END, "
        "name COLLATE BINARY";
    sqlite3_stmt *statement = NULL;
    bool has_main = false;
    bool has_own = false;
    int rc = bough__applied_find_own(&has_main, &has_own, db, table);
    int code = rc == BOUGH_OK ? sqlite3_prepare_v2(db, sql, -1, &statement, NULL) : SQLITE_OK;

    while (rc == BOUGH_OK && code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *of = (const char *)sqlite3_column_text(statement, 2);
        bool is_ours = sqlite3_stricmp(of, table ? table : BOUGH__MIGRATIONS_TABLE) ? has_own : has_main;

        if (!is_ours || !bough__applied_is_own(table, of))
            rc = print_object(statement, print, context);
        code = SQLITE_OK;
    }
    if (rc == BOUGH_OK && code != SQLITE_DONE)
        rc = bough__migrate_fail_sqlite(db, code, "the schema");
    sqlite3_finalize(statement);
    return rc;
}
