/* schema_copy.c - see schema_copy.h. */
#include "schema_copy.h"

#include <stdlib.h>
#include <string.h>

bool bough__is_of_sqlite(const char *name)
{
    return sqlite3_strnicmp(name, "sqlite_", 7) == 0;
}

/* A virtual table may need a module that is not here, and its shadow tables come with it. */
static int copy_object(sqlite3 *copy, sqlite3_stmt *object)
{
    const char *name = (const char *)sqlite3_column_text(object, 0);
    const char *sql = (const char *)sqlite3_column_text(object, 1);
    int rc = SQLITE_NOMEM;

    if (name && sql)
        rc = bough__is_of_sqlite(name) ? SQLITE_OK : sqlite3_exec(copy, sql, NULL, NULL, NULL);
    return sqlite3_column_int(object, 2) && rc != SQLITE_NOMEM ? SQLITE_OK : rc;
}

int bough__schema_copy_open(sqlite3 **out, bool *out_is_whole, sqlite3 **out_failed, sqlite3 *from)
{
    static const char objects[] =
        "SELECT name, sql, type = 'table' AND rootpage = 0 AS is_virtual FROM main.sqlite_schema WHERE sql IS NOT NULL "
        "AND name NOT IN (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow') "
        "ORDER BY is_virtual DESC, type = 'table' DESC, type = 'index' DESC, type = 'view' DESC, rowid";
    sqlite3_stmt *object = NULL;
    int copied = SQLITE_OK;
    int rc = SQLITE_OK;

    *out_failed = NULL;
    if (sqlite3_open(":memory:", out) != SQLITE_OK ||
        sqlite3_exec(*out, "PRAGMA legacy_alter_table = ON", NULL, NULL, NULL) != SQLITE_OK)
        return SQLITE_NOMEM;
    *out_failed = from;
    rc = sqlite3_prepare_v2(from, objects, -1, &object, NULL);
    while (rc == SQLITE_OK && copied == SQLITE_OK && (rc = sqlite3_step(object)) == SQLITE_ROW) {
        copied = copy_object(*out, object);
        rc = copied == SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_OK;
    }
    sqlite3_finalize(object);
    *out_is_whole = copied == SQLITE_OK;
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int bough__schema_copy_text(char **out, sqlite3 *copy, const char *type, const char *name)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(copy, "SELECT sql FROM main.sqlite_schema WHERE type = ?1 AND name = ?2", -1,
                                &statement, NULL);

    *out = NULL;
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(statement, 1, type, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(statement, 2, name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);

        *out = text ? strdup(text) : NULL;
        rc = text && !*out ? SQLITE_NOMEM : SQLITE_DONE;
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int bough__schema_copy_has(bool *out, sqlite3 *copy, const char *type, const char *name, const char *sql)
{
    char *text = NULL;
    int rc = bough__schema_copy_text(&text, copy, type, name);

    *out = text && !strcmp(text, sql);
    free(text);
    return rc;
}
