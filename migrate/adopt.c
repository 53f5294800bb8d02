/* adopt.c - see adopt.h. A program is known by its table's name and columns. */
#include "adopt.h"

#include "report.h"
#include "run.h"
#include "table.h"
#include "version.h"

#include <string.h>
#include <time.h>

/* `rows` selects version, time of application in milliseconds (NULL: not known), and whether it was done; in the order
 * of application. `only_newest`: the table has one row, and all older migrations are applied as well. */
static const struct tool {
    const char *name, *table;
    const char *columns; /* as group_concat() gives them */
    const char *rows;
    bool only_newest;
} tools[] = {
    {"dbmate", "schema_migrations", "version",
     "SELECT version, NULL, 1 FROM main.schema_migrations ORDER BY length(version), version", false},
    {"golang-migrate", "schema_migrations", "version,dirty",
     "SELECT version, NULL, NOT dirty FROM main.schema_migrations ORDER BY version", true},
    {"goose", "goose_db_version", "id,version_id,is_applied,tstamp",
     "SELECT version_id, CAST(strftime('%s', tstamp) AS INTEGER) * 1000, 1 FROM main.goose_db_version g WHERE "
     "is_applied AND version_id > 0 AND id = (SELECT max(id) FROM main.goose_db_version n WHERE n.version_id = "
     "g.version_id) ORDER BY id",
     false},
    {"sqlx", "_sqlx_migrations", "version,description,installed_on,success,checksum,execution_time",
     "SELECT version, CAST(strftime('%s', installed_on) AS INTEGER) * 1000, success FROM main._sqlx_migrations ORDER "
     "BY version",
     false},
};
#define TOOL_COUNT (sizeof tools / sizeof tools[0])

struct adoption {
    sqlite3 *db;
    const char *table;
    const struct tool *tool;
    const struct bough__migrations *defined;
    struct bough__migrations applied;
    bough_migration_run *out;
    int64_t now_ms;
};

/* ---- which program ---- */

static int has_table(bool *out, sqlite3 *db, const struct tool *tool)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db,
                                  "SELECT group_concat(name) FROM (SELECT lower(name) AS name FROM "
                                  "pragma_table_info(?1, 'main') ORDER BY cid)",
                                  -1, &statement, NULL);

    *out = false;
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(statement, 1, tool->table, -1, SQLITE_STATIC);
    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *columns = (const char *)sqlite3_column_text(statement, 0);

        *out = columns && !strcmp(columns, tool->columns);
        code = SQLITE_DONE;
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? BOUGH_OK : bough__migrate_fail_sqlite(db, code, "the schema");
}

/* The one that `wanted` names, or the only one whose table is there. */
static int find_tool(const struct tool **out, sqlite3 *db, const char *wanted)
{
    bool is_known = !wanted;
    int rc = BOUGH_OK;

    *out = NULL;
    for (size_t i = 0; rc == BOUGH_OK && i < TOOL_COUNT; i++) {
        bool is_there = false;

        if (wanted && strcmp(tools[i].name, wanted) != 0)
            continue;
        is_known = true;
        rc = has_table(&is_there, db, &tools[i]);
        if (rc == BOUGH_OK && is_there && *out)
            rc = bough__migrate_fail(BOUGH_USAGE, "the database has tables of %s and of %s; name one of them",
                                     (*out)->name, tools[i].name);
        if (is_there)
            *out = &tools[i];
    }
    if (rc == BOUGH_OK && !is_known)
        rc = bough__migrate_fail(BOUGH_USAGE, "'%s' is none of dbmate, goose, golang-migrate and sqlx", wanted);
    else if (rc == BOUGH_OK && !*out)
        rc = bough__migrate_fail(BOUGH_NOT_FOUND, "the database has no table of %s",
                                 wanted ? wanted : "dbmate, goose, golang-migrate or sqlx");
    return rc;
}

/* ---- its rows ---- */

static int adopt_one(struct adoption *adoption, const struct bough__migration *defined, int64_t applied_at_ms)
{
    static const bough_migrate_options no_log = BOUGH_MIGRATE_OPTIONS_INIT;
    struct bough__migration *there = bough__migrations_find(&adoption->applied, defined->defined_at_ms);
    /* What a deferred one makes is not known: the other program ran its text as it is. */
    const char *down = defined->is_deferred ? NULL : defined->down.sql;
    int rc = BOUGH_OK;

    if (there && bough__migration_is_same(there, defined))
        return BOUGH_OK;
    if (there)
        return bough__migrate_fail(BOUGH_REFUSED, "%s has the version of \"%s\", which is applied", defined->up.origin,
                                   there->name);
    if (!defined->up.sql)
        return bough__migrate_fail(BOUGH_REFUSED, "%s makes its SQL when it is applied; it cannot be taken over",
                                   defined->up.origin);
    rc = bough__applied_store(adoption->db, adoption->table, defined, defined->up.sql, down,
                              applied_at_ms ? applied_at_ms : adoption->now_ms);
    return rc == BOUGH_OK ? bough__run_add_applied(adoption->out, defined, &no_log) : rc;
}

static int adopt_row(struct adoption *adoption, sqlite3_stmt *row)
{
    const char *version = (const char *)sqlite3_column_text(row, 0);
    int64_t applied_at_ms = sqlite3_column_int64(row, 1);
    int64_t version_ms = 0;
    const struct bough__migration *newest = NULL;
    int rc = BOUGH_OK;

    if (version && bough__version_parse(&version_ms, version, strlen(version)))
        newest = bough__migrations_find(adoption->defined, version_ms);
    if (!sqlite3_column_int(row, 2))
        return bough__migrate_fail(BOUGH_REFUSED, "%s says that migration %s was not finished; finish it there first",
                                   adoption->tool->table, version ? version : "NULL");
    if (!newest)
        return bough__migrate_fail(BOUGH_NOT_FOUND, "migration %s of %s has no file", version ? version : "NULL",
                                   adoption->tool->table);
    if (!adoption->tool->only_newest)
        return adopt_one(adoption, newest, applied_at_ms);
    for (size_t i = 0; rc == BOUGH_OK && &adoption->defined->items[i] <= newest; i++)
        rc = adopt_one(adoption, &adoption->defined->items[i], applied_at_ms);
    return rc;
}

static int adopt_rows(struct adoption *adoption)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(adoption->db, adoption->tool->rows, -1, &statement, NULL);
    int rc = BOUGH_OK;

    while (rc == BOUGH_OK && code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        rc = adopt_row(adoption, statement);
        code = SQLITE_OK;
    }
    if (rc == BOUGH_OK && code != SQLITE_DONE)
        rc = bough__migrate_fail_sqlite(adoption->db, code, adoption->tool->table);
    sqlite3_finalize(statement);
    return rc;
}

int bough__adopt(bough_migration_run *out, const char **out_tool, sqlite3 *db, const char *table,
                 const struct bough__migrations *defined, const char *tool)
{
    struct adoption adoption = {.db = db, .table = table, .defined = defined, .out = out};
    int rc = find_tool(&adoption.tool, db, tool);

    memset(out, 0, sizeof *out);
    adoption.now_ms = (int64_t)time(NULL) * 1000;
    if (rc == BOUGH_OK)
        rc = bough__applied_read(&adoption.applied, db, table);
    if (rc == BOUGH_OK) {
        *out_tool = adoption.tool->name;
        rc = adopt_rows(&adoption);
    }
    bough__migrations_release(&adoption.applied);
    if (rc != BOUGH_OK)
        bough_migration_run_release(out);
    return rc;
}
