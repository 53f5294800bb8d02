/* verdict.c - see verdict.h. Whoever calls has no transaction open on either connection: both stay where they are,
 * since one is a past state and the other a fork that nobody else knows. */
#include "verdict.h"

#include "compare.h"
#include "report.h"
#include "table.h"

#include <string.h>

struct judge {
    struct bough__verdict *out;
    sqlite3 *before, *after;
    const bough_migrate_options *options;
    struct bough__schema_changes changes;
    char *lost_rows; /* such sentences, joined; or NULL */
};

static int add(struct judge *judge, char *sentence)
{
    char **grown = sqlite3_realloc64(judge->out->losses, (judge->out->count + 1) * sizeof grown[0]);

    if (grown)
        judge->out->losses = grown;
    if (!grown || !sentence) {
        sqlite3_free(sentence);
        return bough__migrate_fail_memory();
    }
    grown[judge->out->count++] = sentence;
    return BOUGH_OK;
}

/* ---- integrity ---- */

/* "ok", or what is wrong. A check that cannot be made (an index needs a function that is not here) says so the same
 * way: what counts is whether it said so before. */
static char *examine(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    char *text = NULL;
    int code = sqlite3_prepare_v2(db, "PRAGMA main.integrity_check(1)", -1, &statement, NULL);

    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW)
        text = sqlite3_mprintf("%s", sqlite3_column_text(statement, 0));
    else
        text = sqlite3_mprintf("%s", sqlite3_errmsg(db));
    sqlite3_finalize(statement);
    return text;
}

static int check_integrity(struct judge *judge)
{
    char *after = examine(judge->after);
    char *before = NULL;
    int rc = after ? BOUGH_OK : bough__migrate_fail_memory();

    if (rc == BOUGH_OK && strcmp(after, "ok") != 0) {
        before = examine(judge->before);
        if (!before)
            rc = bough__migrate_fail_memory();
        else if (strcmp(before, "ok") == 0)
            rc = bough__migrate_fail(BOUGH_SQL, "integrity_check finds after the migrations: %s", after);
        else
            rc = add(judge, sqlite3_mprintf("integrity_check found before the migrations already: %s", before));
    }
    sqlite3_free(before);
    sqlite3_free(after);
    return rc;
}

/* ---- rows ---- */

/* -1: it cannot be read, since its module is not here. */
static sqlite3_int64 count_rows(sqlite3 *db, const char *table)
{
    char *sql = sqlite3_mprintf("SELECT count(*) FROM main.\"%w\"", table);
    sqlite3_stmt *statement = NULL;
    sqlite3_int64 count = -1;

    if (sql && sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        count = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_free(sql);
    return count;
}

/* What it is called afterwards; NULL: gone. */
static const char *name_after(const struct judge *judge, const char *table)
{
    for (size_t i = 0; i < judge->changes.count; i++) {
        const struct bough__schema_change *change = &judge->changes.items[i];

        if (strcmp(change->type, "table") != 0)
            continue;
        if (change->change == BOUGH_RENAMED && strcmp(change->old_name, table) == 0)
            return change->name;
        if (change->change == BOUGH_REMOVED && strcmp(change->name, table) == 0)
            return NULL;
    }
    return table;
}

static int compare_table(struct judge *judge, const char *table)
{
    const char *name = name_after(judge, table);
    sqlite3_int64 before = count_rows(judge->before, table);
    sqlite3_int64 after = name ? count_rows(judge->after, name) : 0;
    int rc = BOUGH_OK;

    if (before <= 0 || after < 0 || after >= before)
        return BOUGH_OK;
    if (!name)
        rc = add(judge, sqlite3_mprintf("table %s is gone, with %lld rows", table, before));
    else
        rc = add(judge, sqlite3_mprintf("table %s has %lld rows less: %lld, and %lld before", name, before - after,
                                        after, before));
    if (rc == BOUGH_OK)
        judge->lost_rows = sqlite3_mprintf("%z%s%s", judge->lost_rows, judge->lost_rows ? "; " : "",
                                           judge->out->losses[judge->out->count - 1]);
    return rc != BOUGH_OK || judge->lost_rows ? rc : bough__migrate_fail_memory();
}

/* Shadow tables are an affair of their virtual table. */
static int check_rows(struct judge *judge)
{
    static const char sql[] = "SELECT name FROM pragma_table_list WHERE schema = 'main' "
                              "AND type IN ('table', 'virtual') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
                              "ORDER BY name";
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(judge->before, sql, -1, &statement, NULL);
    int rc = BOUGH_OK;

    while (rc == BOUGH_OK && code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);

        if (!bough__applied_is_own(judge->options->table, name))
            rc = compare_table(judge, name);
        code = SQLITE_OK;
    }
    if (rc == BOUGH_OK && code != SQLITE_DONE)
        rc = bough__migrate_fail_sqlite(judge->before, code, "tables");
    sqlite3_finalize(statement);
    return rc;
}

/* ---- views, triggers, indexes ---- */

static bool table_is_gone(const struct judge *judge, const char *table)
{
    return name_after(judge, table) == NULL;
}

static int check_schema(struct judge *judge)
{
    int rc = BOUGH_OK;

    for (size_t i = 0; rc == BOUGH_OK && i < judge->changes.count; i++) {
        const struct bough__schema_change *change = &judge->changes.items[i];
        bool is_table = strcmp(change->type, "table") == 0;
        bool is_view = strcmp(change->type, "view") == 0;

        /* With a table go its indexes and triggers. */
        if (change->change == BOUGH_REMOVED && !is_table && (is_view || !table_is_gone(judge, change->table)))
            rc = add(judge, sqlite3_mprintf("%s %s is gone", change->type, change->name));
    }
    return rc;
}

int bough__verdict_read(struct bough__verdict *out, sqlite3 *before, sqlite3 *after,
                        const bough_migrate_options *options)
{
    struct judge judge = {.out = out, .before = before, .after = after, .options = options};
    sqlite3 *failed = NULL;
    int code = SQLITE_OK;
    int rc = BOUGH_OK;

    memset(out, 0, sizeof *out);
    rc = check_integrity(&judge);
    if (rc == BOUGH_OK && (code = bough__schema_compare(&judge.changes, &failed, before, after)) != SQLITE_OK)
        rc = failed ? bough__migrate_fail_sqlite(failed, code, "the schema") : bough__migrate_fail_memory();
    if (rc == BOUGH_OK)
        rc = check_rows(&judge);
    if (rc == BOUGH_OK)
        rc = check_schema(&judge);
    bough__schema_changes_release(&judge.changes);
    if (rc == BOUGH_OK && judge.lost_rows && options->strict)
        rc = bough__migrate_fail(BOUGH_REFUSED, "the migrations remove rows: %s", judge.lost_rows);
    sqlite3_free(judge.lost_rows);
    return rc;
}

void bough__verdict_release(struct bough__verdict *verdict)
{
    for (size_t i = 0; i < verdict->count; i++)
        sqlite3_free(verdict->losses[i]);
    sqlite3_free(verdict->losses);
    memset(verdict, 0, sizeof *verdict);
}
