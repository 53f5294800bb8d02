/* run_sql.c - see run_sql.h. SQLite itself says where a statement ends, so a trigger's semicolons are no riddle. */
#include "run_sql.h"

#include "report.h"
#include "syntax.h"
#include "tokens.h"

#include <string.h>

static int authorize(void *context, int action, const char *first, const char *second, const char *database,
                     const char *trigger)
{
    struct bough__guard *guard = context;

    (void)second;
    (void)database;
    (void)trigger;
    /* VACUUM attaches "" as its scratch; VACUUM INTO would attach a file. */
    if (action == SQLITE_ATTACH && !(guard->is_stepping && first && !first[0]))
        guard->refused = "ATTACH";
    else if (action == SQLITE_DETACH && !guard->is_stepping)
        guard->refused = "DETACH";
    else if (action == SQLITE_TRANSACTION && guard->has_transaction)
        guard->refused = first;
    else
        return SQLITE_OK;
    return SQLITE_DENY;
}

void bough__guard_set(struct bough__guard *guard, sqlite3 *db)
{
    sqlite3_set_authorizer(db, authorize, guard);
}

void bough__guard_remove(sqlite3 *db)
{
    sqlite3_set_authorizer(db, NULL, NULL);
}

static int fail(sqlite3 *db, const struct bough__guard *guard, int code, const struct bough__sql_text *text,
                const char *start)
{
    if ((code & 0xFF) == SQLITE_AUTH && guard->refused)
        return bough__migrate_fail_place(BOUGH_SQL, text, (size_t)(start - text->sql), -1,
                                         "a migration may not %s%s", guard->refused,
                                         guard->has_transaction ? ", inside a transaction of the migrator's" : "");
    return bough__migrate_fail_place(bough__migrate_code(code), text, (size_t)(start - text->sql),
                                     sqlite3_error_offset(db), "%s", sqlite3_errmsg(db));
}

/* The next statement and where it begins, NULL at the end of the text. */
static int prepare(sqlite3_stmt **out, const char **out_start, const char **place, sqlite3 *db,
                   struct bough__guard *guard, const struct bough__sql_text *text)
{
    int code = SQLITE_OK;

    *out = NULL;
    while (*out == NULL && **place) {
        *out_start = bough__token_start(*place);
        guard->refused = NULL;
        code = sqlite3_prepare_v2(db, *out_start, -1, out, place);
        if (code != SQLITE_OK)
            return fail(db, guard, code, text, *out_start);
    }
    return BOUGH_OK;
}

static int step(sqlite3_stmt *statement, struct bough__guard *guard)
{
    int code = SQLITE_OK;

    guard->is_stepping = true;
    code = sqlite3_step(statement);
    guard->is_stepping = false;
    return code;
}

static bool begins_with(const char *text, const char *const *beginnings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!sqlite3_strnicmp(text, beginnings[i], (int)strlen(beginnings[i])))
            return true;
    }
    return false;
}

/* Does the failure of this statement say nothing of how it will do when it is no trial? */
static bool is_excused(sqlite3 *db, const struct bough__guard *guard, const char *start)
{
    static const char *const outside[] = {"PRAGMA", "VACUUM", "BEGIN", "COMMIT", "END", "ROLLBACK"};
    static const char *const lacking[] = {"no such function: ", "no such module: ", "no such collation sequence: "};
    int code = sqlite3_errcode(db) & 0xFF;

    if (!guard->is_trial)
        return false;
    if (code == SQLITE_ERROR || code == SQLITE_AUTH || code == SQLITE_LOCKED || code == SQLITE_BUSY)
        return begins_with(start, outside, sizeof outside / sizeof outside[0]) ||
               (guard->is_elsewhere &&
                begins_with(sqlite3_errmsg(db), lacking, sizeof lacking / sizeof lacking[0]));
    return false;
}

int bough__run_sql(sqlite3 *db, struct bough__guard *guard, const struct bough__sql_text *text)
{
    const char *place = text->sql;
    int rc = BOUGH_OK;

    while (rc == BOUGH_OK && *place) {
        const char *start = place;
        sqlite3_stmt *statement = NULL;
        int code = SQLITE_DONE;

        rc = prepare(&statement, &start, &place, db, guard, text);
        if (statement) {
            do
                code = step(statement, guard);
            while (code == SQLITE_ROW);
        }
        if (code != SQLITE_DONE)
            rc = fail(db, guard, code, text, start);
        if (rc != BOUGH_OK && is_excused(db, guard, start))
            rc = bough__statement_end(&place, start);
        sqlite3_finalize(statement);
    }
    return rc;
}

static int collect(sqlite3_str *rows, sqlite3_stmt *statement, struct bough__guard *guard)
{
    int code = SQLITE_OK;

    while ((code = step(statement, guard)) == SQLITE_ROW)
        sqlite3_str_appendall(rows, sqlite3_column_type(statement, 0) == SQLITE_NULL
                                        ? ""
                                        : (const char *)sqlite3_column_text(statement, 0));
    return code;
}

static int query(sqlite3_str *rows, sqlite3 *db, struct bough__guard *guard, const struct bough__sql_text *text)
{
    const char *start = text->sql;
    const char *place = text->sql;
    sqlite3_stmt *statement = NULL;
    sqlite3_stmt *more = NULL;
    int code = SQLITE_OK;
    int rc = prepare(&statement, &start, &place, db, guard, text);

    if (rc == BOUGH_OK && (!statement || sqlite3_column_count(statement) != 1 || !sqlite3_stmt_readonly(statement)))
        rc = bough__migrate_fail_place(BOUGH_SQL, text, (size_t)(start - text->sql), -1,
                                       "a section of a deferred migration is a query for one column");
    if (rc == BOUGH_OK && (code = collect(rows, statement, guard)) != SQLITE_DONE)
        rc = fail(db, guard, code, text, start);
    if (rc == BOUGH_OK)
        rc = prepare(&more, &start, &place, db, guard, text);
    if (rc == BOUGH_OK && more)
        rc = bough__migrate_fail_place(BOUGH_SQL, text, (size_t)(start - text->sql), -1,
                                       "a section of a deferred migration is one query");
    sqlite3_finalize(statement);
    sqlite3_finalize(more);
    return rc;
}

int bough__run_query(char **out, sqlite3 *db, struct bough__guard *guard, const struct bough__sql_text *text)
{
    sqlite3_str *rows = sqlite3_str_new(db);
    int rc = query(rows, db, guard, text);

    if (rc == BOUGH_OK && sqlite3_str_errcode(rows) != SQLITE_OK)
        rc = sqlite3_str_errcode(rows) == SQLITE_TOOBIG
                 ? bough__migrate_fail(BOUGH_SQL, "%s makes more SQL than SQLite takes", text->origin)
                 : bough__migrate_fail_memory();
    *out = sqlite3_str_finish(rows);
    /* No text at all is NULL. */
    if (rc == BOUGH_OK && !*out && !(*out = sqlite3_mprintf("")))
        rc = bough__migrate_fail_memory();
    if (rc != BOUGH_OK) {
        sqlite3_free(*out);
        *out = NULL;
    }
    return rc;
}
