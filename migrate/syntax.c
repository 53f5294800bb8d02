/* syntax.c - see syntax.h.
 *
 * SQLite has no function that parses alone: prepare also looks names up, and stops at the first that it does not find.
 * So it prepares against a database in memory with the same schema and no rows, where statements that change the schema
 * are run, too, so that later ones find what they name. Faults in anything but the grammar are passed over: this
 * database lacks rows, functions, collations and modules that the real one may have. */
#include "syntax.h"

#include "report.h"
#include "tokens.h"

#include <string.h>

#define STEPS_MAX 100000 /* of SQLite's machine, for one statement on a database without rows */

struct scratch {
    sqlite3 *db;
    bool changes_schema; /* the statement prepared last */
};

static int watch(void *context, int action, const char *first, const char *second, const char *database,
                 const char *trigger)
{
    struct scratch *scratch = context;

    (void)first;
    (void)second;
    (void)database;
    (void)trigger;
    switch (action) {
    case SQLITE_ATTACH:
        return SQLITE_DENY;
    case SQLITE_ALTER_TABLE:
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_VTABLE:
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_TRIGGER:
    case SQLITE_DROP_VIEW:
    case SQLITE_DROP_VTABLE:
        scratch->changes_schema = true;
        return SQLITE_OK;
    default:
        return SQLITE_OK;
    }
}

static int stop(void *context)
{
    (void)context;
    return 1;
}

static int open_scratch(struct scratch *out, sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_open_v2(":memory:", &out->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(db, "SELECT sql FROM main.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE "
                                      "'sqlite\\_%' ESCAPE '\\' ORDER BY rowid",
                                  -1, &statement, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        sqlite3_exec(out->db, (const char *)sqlite3_column_text(statement, 0), NULL, NULL, NULL);
        code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    if (code != SQLITE_DONE)
        return bough__migrate_fail_sqlite(db, code, "the schema");
    sqlite3_set_authorizer(out->db, watch, out);
    sqlite3_progress_handler(out->db, STEPS_MAX, stop, NULL);
    return BOUGH_OK;
}

static bool is_syntax_error(const char *message)
{
    static const char end[] = "syntax error";
    size_t length = strlen(message);

    return !strcmp(message, "incomplete input") || !strncmp(message, "unrecognized token: ", 20) ||
           (!strncmp(message, "near \"", 6) && length > sizeof end &&
            !strcmp(message + length - (sizeof end - 1), end));
}

int bough__statement_end(const char **out, const char *start)
{
    for (const char *p = bough__token_start(start); *p;) {
        bool is_end = *p == ';';

        p += bough__token_length(p);
        if (is_end) {
            char *statement = sqlite3_mprintf("%.*s", (int)(p - start), start);
            int is_complete = statement ? sqlite3_complete(statement) : SQLITE_NOMEM;

            sqlite3_free(statement);
            if (is_complete == SQLITE_NOMEM)
                return bough__migrate_fail_memory();
            if (is_complete)
                return *out = p, BOUGH_OK;
        }
        p = bough__token_start(p);
    }
    *out = start + strlen(start);
    return BOUGH_OK;
}

static int check_statement(struct scratch *scratch, const char **place, const struct bough__sql_text *text)
{
    const char *start = bough__token_start(*place);
    sqlite3_stmt *statement = NULL;
    int code = SQLITE_OK;

    scratch->changes_schema = false;
    code = sqlite3_prepare_v2(scratch->db, start, -1, &statement, place);
    if (code == SQLITE_OK) {
        if (scratch->changes_schema)
            sqlite3_step(statement);
        sqlite3_finalize(statement);
        return BOUGH_OK;
    }
    if (code == SQLITE_NOMEM)
        return bough__migrate_fail_memory();
    if (is_syntax_error(sqlite3_errmsg(scratch->db)))
        return bough__migrate_fail_place(BOUGH_SQL, text, (size_t)(start - text->sql),
                                         sqlite3_error_offset(scratch->db), "%s", sqlite3_errmsg(scratch->db));
    return bough__statement_end(place, start);
}

static int check_text(struct scratch *scratch, const struct bough__sql_text *text)
{
    int rc = BOUGH_OK;

    for (const char *place = text->sql; rc == BOUGH_OK && place && *place;)
        rc = check_statement(scratch, &place, text);
    return rc;
}

static int check_all(struct scratch *scratch, const struct bough__plan *plan, size_t skip)
{
    int rc = BOUGH_OK;

    for (size_t i = skip; rc == BOUGH_OK && i < plan->roll_back_count; i++)
        rc = check_text(scratch, &plan->roll_back[i]->down);
    for (size_t i = 0; rc == BOUGH_OK && i < plan->apply_count; i++)
        rc = check_text(scratch, &plan->apply[i]->up);
    for (size_t i = 0; rc == BOUGH_OK && i < plan->ephemeral_count; i++)
        rc = check_text(scratch, &plan->ephemeral[i]->up);
    /* Downs of what is applied: to store one that is no SQL would keep the trouble for the day when it is needed. */
    for (size_t i = plan->apply_count; rc == BOUGH_OK && i-- > 0;)
        rc = check_text(scratch, &plan->apply[i]->down);
    return rc;
}

int bough__syntax_check(const struct bough__plan *plan, size_t skip, sqlite3 *db)
{
    struct scratch scratch = {0};
    int rc = open_scratch(&scratch, db);

    if (rc == BOUGH_OK)
        rc = check_all(&scratch, plan, skip);
    sqlite3_close(scratch.db);
    return rc;
}
