/* apply.c - see apply.h. */
#include "apply.h"

#include "report.h"
#include "table.h"

#include <string.h>
#include <time.h>

static int64_t now_ms(void)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- sessions ---- */

int bough__session_check_idle(sqlite3 *db)
{
    if (!sqlite3_get_autocommit(db))
        return bough__migrate_fail(BOUGH_REFUSED, "the connection has a transaction open");
    for (sqlite3_stmt *statement = sqlite3_next_stmt(db, NULL); statement;
         statement = sqlite3_next_stmt(db, statement)) {
        if (sqlite3_stmt_busy(statement))
            return bough__migrate_fail(BOUGH_REFUSED, "the connection has a statement open: %s",
                                       sqlite3_sql(statement));
    }
    return BOUGH_OK;
}

/* Outside of transactions only: inside of one SQLite ignores it. */
static int set_foreign_keys(sqlite3 *db, int on, int *out_is_on)
{
    if (sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, on, out_is_on) != SQLITE_OK)
        return bough__migrate_fail_sqlite(db, sqlite3_errcode(db), "foreign_keys");
    return BOUGH_OK;
}

int bough__session_begin(struct bough__session *out, sqlite3 *db, const char *table)
{
    int is_on = 0;
    int rc = bough__session_check_idle(db);

    memset(out, 0, sizeof *out);
    if (rc == BOUGH_OK)
        rc = set_foreign_keys(db, -1, &is_on);
    if (rc != BOUGH_OK)
        return rc;
    out->db = db;
    out->table = table;
    out->had_foreign_keys = is_on != 0;
    bough__guard_set(&out->guard, db);
    return set_foreign_keys(db, 0, NULL);
}

void bough__session_end(struct bough__session *session)
{
    if (!session->db)
        return;
    bough__session_roll_back(session);
    bough__guard_remove(session->db);
    sqlite3_db_config(session->db, SQLITE_DBCONFIG_ENABLE_FKEY, (int)session->had_foreign_keys, NULL);
    memset(session, 0, sizeof *session);
}

static int execute(struct bough__session *session, const char *sql)
{
    int code = SQLITE_OK;

    session->guard.has_transaction = false;
    code = sqlite3_exec(session->db, sql, NULL, NULL, NULL);
    session->guard.has_transaction = !sqlite3_get_autocommit(session->db);
    return code == SQLITE_OK ? BOUGH_OK : bough__migrate_fail_sqlite(session->db, code, sql);
}

int bough__session_open_transaction(struct bough__session *session)
{
    /* A migration without a transaction may have set it. */
    int rc = set_foreign_keys(session->db, 0, NULL);

    return rc == BOUGH_OK ? execute(session, "BEGIN IMMEDIATE") : rc;
}

int bough__session_commit(struct bough__session *session)
{
    return execute(session, "COMMIT");
}

void bough__session_roll_back(struct bough__session *session)
{
    session->guard.has_transaction = false;
    if (!sqlite3_get_autocommit(session->db))
        sqlite3_exec(session->db, "ROLLBACK", NULL, NULL, NULL);
}

/* ---- deferred migrations ---- */

/* What runs: of most migrations what they say. */
struct made {
    struct bough__sql_text up, down;
};

static int take_made(struct bough__sql_text *out, const struct bough__sql_text *text, const char *origin, char *sql)
{
    out->sql = sql;
    out->is_bare = text->is_bare;
    out->origin = sqlite3_mprintf("%s (generated)", origin);
    return out->origin ? BOUGH_OK : bough__migrate_fail_memory();
}

static int build(struct made *out, sqlite3 *db, const struct bough__migration *migration)
{
    char *up = NULL;
    char *down = NULL;
    int rc = migration->build(migration->build_context, db, &up, &down);
    int taken = take_made(&out->up, &migration->up, migration->up.origin, up);

    if (taken == BOUGH_OK)
        taken = take_made(&out->down, &migration->down, migration->down.origin, down);
    if (rc == BOUGH_OK && !up)
        return bough__migrate_fail(BOUGH_USAGE, "%s: build made no up", migration->up.origin);
    return rc == BOUGH_OK ? taken : rc;
}

static int make_by_query(struct bough__sql_text *out, sqlite3 *db, struct bough__guard *guard,
                         const struct bough__sql_text *query)
{
    char *sql = NULL;
    int rc = bough__run_query(&sql, db, guard, query);

    return rc == BOUGH_OK ? take_made(out, query, query->origin, sql) : rc;
}

/* Both sections, before up runs. */
static int make(struct made *out, sqlite3 *db, struct bough__guard *guard, const struct bough__migration *migration)
{
    int rc = BOUGH_OK;

    memset(out, 0, sizeof *out);
    if (migration->build)
        return build(out, db, migration);
    rc = make_by_query(&out->up, db, guard, &migration->up);
    if (rc == BOUGH_OK && migration->down.sql)
        rc = make_by_query(&out->down, db, guard, &migration->down);
    return rc;
}

static void made_release(struct made *made)
{
    bough__sql_text_release(&made->up);
    bough__sql_text_release(&made->down);
}

/* ---- applying ---- */

/* Runs a text that is no part of the migrator's transaction. It must leave none open. */
static int run_bare(sqlite3 *db, struct bough__guard *guard, const struct bough__sql_text *text)
{
    int rc = bough__run_sql(db, guard, text);

    if (sqlite3_get_autocommit(db))
        return rc;
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc != BOUGH_OK ? rc
                          : bough__migrate_fail(BOUGH_SQL, "%s leaves a transaction open; it was rolled back",
                                                text->origin);
}

/* Opens the transaction that the text runs in, unless there is one, or the text runs outside of any. */
static int enter(struct bough__session *session, const struct bough__sql_text *text)
{
    if (sqlite3_get_autocommit(session->db))
        return text->is_bare ? BOUGH_OK : bough__session_open_transaction(session);
    if (text->is_bare)
        return bough__migrate_fail(BOUGH_REFUSED, "%s runs outside a transaction, and one is open", text->origin);
    return BOUGH_OK;
}

static int run(struct bough__session *session, const struct bough__sql_text *text)
{
    int rc = BOUGH_OK;

    if (!sqlite3_get_autocommit(session->db))
        return bough__run_sql(session->db, &session->guard, text);
    rc = run_bare(session->db, &session->guard, text);
    /* For the row that follows. */
    return rc == BOUGH_OK ? bough__session_open_transaction(session) : rc;
}

/* Ends a transaction that was opened here. */
static int leave(struct bough__session *session, bool had_transaction, int rc)
{
    if (had_transaction)
        return rc;
    if (rc == BOUGH_OK)
        rc = bough__session_commit(session);
    if (rc != BOUGH_OK)
        bough__session_roll_back(session);
    return rc;
}

int bough__apply(struct bough__session *session, const struct bough__migration *migration)
{
    bool had_transaction = !sqlite3_get_autocommit(session->db);
    struct made made = {0};
    const struct bough__sql_text *up = &migration->up;
    const struct bough__sql_text *down = &migration->down;
    int rc = enter(session, up);

    if (rc == BOUGH_OK && migration->is_deferred) {
        rc = make(&made, session->db, &session->guard, migration);
        up = &made.up;
        down = &made.down;
    }
    if (rc == BOUGH_OK)
        rc = run(session, up);
    if (rc == BOUGH_OK)
        rc = bough__applied_store(session->db, session->table, migration, up->sql, down->sql, now_ms());
    made_release(&made);
    return leave(session, had_transaction, rc);
}

int bough__roll_back(struct bough__session *session, const struct bough__migration *applied)
{
    bool had_transaction = !sqlite3_get_autocommit(session->db);
    int rc = BOUGH_OK;

    if (!applied->down.sql)
        return bough__migrate_fail(BOUGH_REFUSED, "%s %s was defined without a down migration", applied->version,
                                   applied->name);
    rc = enter(session, &applied->down);
    if (rc == BOUGH_OK)
        rc = run(session, &applied->down);
    if (rc == BOUGH_OK)
        rc = bough__applied_forget(session->db, session->table, applied);
    return leave(session, had_transaction, rc);
}

/* ---- ephemeral migrations ---- */

int bough__store_ephemeral(struct bough__session *session, const struct bough__migration *migration)
{
    bool had_transaction = !sqlite3_get_autocommit(session->db);
    struct made made = {0};
    const struct bough__sql_text *up = &migration->up;
    const struct bough__sql_text *down = &migration->down;
    int rc = had_transaction ? BOUGH_OK : bough__session_open_transaction(session);

    if (rc == BOUGH_OK && migration->is_deferred) {
        rc = make(&made, session->db, &session->guard, migration);
        up = &made.up;
        down = &made.down;
    }
    if (rc == BOUGH_OK)
        rc = bough__applied_store(session->db, session->table, migration, up->sql, down->sql, now_ms());
    made_release(&made);
    return leave(session, had_transaction, rc);
}

int bough__replace_ephemeral(struct bough__session *session, const struct bough__migration *applied,
                             const struct bough__migration *defined)
{
    bool had_transaction = !sqlite3_get_autocommit(session->db);
    int rc = had_transaction ? BOUGH_OK : bough__session_open_transaction(session);

    if (rc == BOUGH_OK)
        rc = bough__applied_replace(session->db, session->table, applied, defined);
    return leave(session, had_transaction, rc);
}

static int run_one(sqlite3 *db, struct bough__guard *guard, const struct bough__migration *migration)
{
    struct made made = {0};
    int rc = migration->is_deferred ? make(&made, db, guard, migration) : BOUGH_OK;
    const struct bough__sql_text *up = migration->is_deferred ? &made.up : &migration->up;

    if (rc == BOUGH_OK)
        rc = guard->is_trial ? bough__run_sql(db, guard, up) : run_bare(db, guard, up);
    made_release(&made);
    return rc;
}

static int run_all(sqlite3 *db, struct bough__guard *guard, struct bough__migration *const *migrations, size_t count)
{
    int rc = BOUGH_OK;

    bough__guard_set(guard, db);
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++)
        rc = run_one(db, guard, migrations[i]);
    bough__guard_remove(db);
    return rc;
}

int bough__run_ephemeral(sqlite3 *db, struct bough__migration *const *migrations, size_t count)
{
    struct bough__guard guard = {0};

    return run_all(db, &guard, migrations, count);
}

int bough__try_ephemeral(sqlite3 *db, struct bough__migration *const *migrations, size_t count, bool is_elsewhere)
{
    struct bough__guard guard = {.has_transaction = true, .is_trial = true, .is_elsewhere = is_elsewhere};
    int code = SQLITE_OK;
    int rc = BOUGH_OK;

    if (count == 0)
        return BOUGH_OK;
    code = sqlite3_exec(db, "SAVEPOINT bough_trial", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return bough__migrate_fail_sqlite(db, code, "a savepoint");
    rc = run_all(db, &guard, migrations, count);
    sqlite3_exec(db, "ROLLBACK TO bough_trial; RELEASE bough_trial", NULL, NULL, NULL);
    return rc;
}
