/* catalog_check.c - the whole catalog: SQLite's own check, every row's sum, what rows say about each other. */
#include "catalog_sql.h"
#include "catalog_wal.h"
#include "error.h"

#include <stdlib.h>
#include <string.h>

typedef int finding_callback(void *context, const char *where, const char *what);

/* Each row of the result is a finding: its first column. `expected` (NULL: none) is a result that says all is well. */
static int report_rows(struct bough__catalog *catalog, const char *sql, const char *expected, finding_callback *finding,
                       void *context)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = true;
    int rc = bough__sql_prepare(&statement, catalog, sql);
    while (rc == BOUGH_OK && (rc = bough__sql_step(&has_row, catalog, statement)) == BOUGH_OK && has_row) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        if (bough__sql_is_unreadable())
            rc = bough__sql_fail(catalog, SQLITE_CORRUPT);
        else if (!expected || !text || strcmp(text, expected) != 0)
            rc = finding(context, BOUGH__CATALOG_FILE, text ? text : "damaged");
    }
    bough__sql_finalize(statement);
    return rc == BOUGH_CORRUPT ? finding(context, BOUGH__CATALOG_FILE, bough_error_message()) : rc;
}

enum table { BRANCHES, COMMITS, MOVES, TAGS, SETTINGS };

static int read_any(const struct bough__catalog *catalog, sqlite3_stmt *statement, enum table table)
{
    struct bough__branch_row branch = {0};
    struct bough__commit_row commit = {0};
    struct bough__move_row move = {0};
    struct bough__tag_row tag = {0};
    char *value = NULL;
    int rc = BOUGH_OK;
    if (table == BRANCHES)
        rc = bough__read_branch(&branch, catalog, statement);
    else if (table == COMMITS)
        rc = bough__read_commit(&commit, catalog, statement);
    else if (table == MOVES)
        rc = bough__read_move(&move, catalog, statement);
    else if (table == TAGS)
        rc = bough__read_tag(&tag, catalog, statement);
    else
        rc = bough__read_setting(&value, catalog, statement, (const char *)sqlite3_column_text(statement, 2));
    bough__branch_row_clear(&branch);
    bough__commit_row_clear(&commit);
    bough__move_row_clear(&move);
    bough__tag_row_clear(&tag);
    free(value);
    return rc;
}

static int check_rows(struct bough__catalog *catalog, enum table table, const char *sql, finding_callback *finding,
                      void *context)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = true;
    int rc = bough__sql_prepare(&statement, catalog, sql);
    while (rc == BOUGH_OK && (rc = bough__sql_step(&has_row, catalog, statement)) == BOUGH_OK && has_row) {
        rc = read_any(catalog, statement, table);
        if (rc == BOUGH_CORRUPT)
            rc = finding(context, BOUGH__CATALOG_FILE, bough_error_message());
    }
    bough__sql_finalize(statement);
    return rc == BOUGH_CORRUPT ? finding(context, BOUGH__CATALOG_FILE, bough_error_message()) : rc;
}

int bough__catalog_check(struct bough__catalog *catalog, finding_callback *finding, void *context)
{
    static const char *const tables[] = {
        [BRANCHES] = "SELECT " BOUGH__BRANCH_COLUMNS " FROM catalog.branches NOT INDEXED",
        [COMMITS] = "SELECT " BOUGH__COMMIT_COLUMNS " FROM catalog.commits NOT INDEXED",
        [MOVES] = "SELECT " BOUGH__MOVE_COLUMNS " FROM catalog.moves NOT INDEXED",
        [TAGS] = "SELECT " BOUGH__TAG_COLUMNS " FROM catalog.tags NOT INDEXED",
        [SETTINGS] = "SELECT value, sum, key FROM catalog.settings",
    };
    static const char *const relations[] = {
        "SELECT 'the head of branch ' || name || ' is no commit' FROM catalog.branches"
        " WHERE head NOT IN (SELECT id FROM catalog.commits)",
        "SELECT 'the base of branch ' || name || ' is no commit' FROM catalog.branches"
        " WHERE base IS NOT NULL AND base NOT IN (SELECT id FROM catalog.commits)",
        "SELECT 'the parent of branch ' || name || ' is missing' FROM catalog.branches"
        " WHERE parent_id <> 0 AND parent_id NOT IN (SELECT id FROM catalog.branches)",
        "SELECT 'tag ' || name || ' names no commit' FROM catalog.tags"
        " WHERE commit_id NOT IN (SELECT id FROM catalog.commits)",
        "SELECT 'a move of branch ' || branch_id || ' names no commit' FROM catalog.moves"
        " WHERE after_id NOT IN (SELECT id FROM catalog.commits)"
        " OR before_id NOT IN (SELECT id FROM catalog.commits)",
        "SELECT name || ' is both a branch and a tag' FROM catalog.tags"
        " WHERE name IN (SELECT name FROM catalog.branches)",
        "SELECT 'layer ' || layer || ' belongs to more than one branch' FROM catalog.branches"
        " GROUP BY layer HAVING count(*) > 1",
    };
    int rc = bough__catalog_read_begin(catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__wal_check(catalog);
    if (rc == BOUGH_CORRUPT)
        rc = finding(context, BOUGH__CATALOG_FILE "-wal", bough_error_message());
    if (rc == BOUGH_OK)
        rc = report_rows(catalog, "PRAGMA catalog.integrity_check", "ok", finding, context);
    for (size_t i = 0; rc == BOUGH_OK && i < sizeof tables / sizeof tables[0]; i++)
        rc = check_rows(catalog, (enum table)i, tables[i], finding, context);
    for (size_t i = 0; rc == BOUGH_OK && i < sizeof relations / sizeof relations[0]; i++)
        rc = report_rows(catalog, relations[i], NULL, finding, context);
    bough__catalog_read_end(catalog);
    return rc;
}
