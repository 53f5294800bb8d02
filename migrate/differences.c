/* differences.c - see differences.h. Rows are read only when the schemas are equal. */
#include "differences.h"

#include "report.h"
#include "table.h"
#include "table_rows.h"
#include "tokens.h"

#include <string.h>

#define SHOWN 5 /* differences in a sentence */

struct differences {
    sqlite3 *before, *after;
    const char *table;
    sqlite3_str *text;
    size_t count;
};

static int fail_compare(sqlite3 *failed, int code)
{
    if (!failed)
        return bough__migrate_fail_memory();
    return bough__migrate_fail_sqlite(failed, code, "comparing");
}

static void add(struct differences *differences, const char *what, const char *type, const char *name)
{
    if (differences->count++ < SHOWN)
        sqlite3_str_appendf(differences->text, "%s%s%s%s %s", differences->count == 1 ? "" : ", ", type,
                            type[0] ? " " : "", name, what);
}

/* ---- schema ---- */

/* The text of a token, a quoted name without its quotes. */
static const char *bare(const char *token, size_t *length)
{
    if (*length < 2 || !strchr("\"`[", token[0]))
        return token;
    *length -= 2;
    return token + 1;
}

static bool is_same_sql(const char *a, const char *b)
{
    a = bough__token_start(a);
    b = bough__token_start(b);
    while (*a && *b) {
        size_t a_whole = bough__token_length(a);
        size_t b_whole = bough__token_length(b);
        size_t a_length = a_whole;
        size_t b_length = b_whole;
        const char *a_text = bare(a, &a_length);
        const char *b_text = bare(b, &b_length);

        if (a_length != b_length || memcmp(a_text, b_text, a_length) != 0)
            return false;
        a = bough__token_start(a + a_whole);
        b = bough__token_start(b + b_whole);
    }
    return !*a && !*b;
}

static int compare_schemas(struct differences *differences)
{
    struct bough__schema_changes changes = {0};
    sqlite3 *failed = NULL;
    int code = bough__schema_compare(&changes, &failed, differences->before, differences->after);

    if (code != SQLITE_OK)
        return fail_compare(failed, code);
    for (size_t i = 0; i < changes.count; i++) {
        const struct bough__schema_change *change = &changes.items[i];

        if (bough__applied_is_own(differences->table, change->table) ||
            (change->change == BOUGH_CHANGED && is_same_sql(change->from_sql, change->to_sql)))
            continue;
        if (change->change == BOUGH_RENAMED) {
            add(differences, "is missing", change->type, change->old_name);
            add(differences, "is left over", change->type, change->name);
        } else {
            add(differences,
                change->change == BOUGH_ADDED     ? "is left over"
                : change->change == BOUGH_REMOVED ? "is missing"
                                                  : "is not what it was",
                change->type, change->name);
        }
    }
    bough__schema_changes_release(&changes);
    return BOUGH_OK;
}

/* ---- rows ---- */

static int compare_table(struct differences *differences, const char *name)
{
    struct bough__row_counts counts = {0};
    struct bough__rows rows = {0};
    sqlite3 *failed = NULL;
    bool is_virtual = false;
    int code = bough__rows_open(&rows, &failed, differences->before, name, differences->after, name);

    if (code == SQLITE_OK)
        code = bough__rows_walk(&counts, &failed, &rows, NULL, NULL);
    is_virtual = rows.is_virtual;
    bough__rows_release(&rows);
    /* A virtual table whose module is not here cannot be read. */
    if (code == SQLITE_ERROR && failed && is_virtual)
        return BOUGH_OK;
    if (code != SQLITE_OK)
        return fail_compare(failed, code);
    if (counts.added + counts.removed + counts.changed) {
        char *what = sqlite3_mprintf("has %llu rows added, %llu removed, %llu changed", counts.added, counts.removed,
                                     counts.changed);

        if (!what)
            return bough__migrate_fail_memory();
        add(differences, what, "table", name);
        sqlite3_free(what);
    }
    return BOUGH_OK;
}

/* The tables that have rows to compare. */
static int read_names(struct bough__names *out, const struct differences *differences)
{
    static const char sql[] = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', "
                              "'virtual') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(differences->before, sql, -1, &statement, NULL);
    int rc = BOUGH_OK;

    while (rc == BOUGH_OK && code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);

        if (!bough__applied_is_own(differences->table, name) && !bough__names_add(out, name))
            rc = bough__migrate_fail_memory();
        code = SQLITE_OK;
    }
    if (rc == BOUGH_OK && code != SQLITE_DONE)
        rc = bough__migrate_fail_sqlite(differences->before, code, "comparing");
    sqlite3_finalize(statement);
    return rc;
}

/* Comparing needs connections without open statements, so the names are read first. */
static int compare_rows(struct differences *differences)
{
    struct bough__names names = {NULL, 0};
    int rc = read_names(&names, differences);

    for (size_t i = 0; rc == BOUGH_OK && i < names.count; i++)
        rc = compare_table(differences, names.items[i]);
    bough__names_release(&names);
    return rc;
}

int bough__differences_describe(char **out, sqlite3 *before, sqlite3 *after, const char *table)
{
    struct differences differences = {.before = before, .after = after, .table = table};
    int rc = BOUGH_OK;

    *out = NULL;
    differences.text = sqlite3_str_new(NULL);
    sqlite3_str_appendall(differences.text, "the database is not what it was before: ");
    rc = compare_schemas(&differences);
    if (rc == BOUGH_OK && differences.count == 0)
        rc = compare_rows(&differences);
    if (differences.count > SHOWN)
        sqlite3_str_appendf(differences.text, ", and %llu more", (unsigned long long)(differences.count - SHOWN));
    *out = sqlite3_str_finish(differences.text);
    if (rc == BOUGH_OK && differences.count && !*out)
        rc = bough__migrate_fail_memory();
    if (rc != BOUGH_OK || differences.count == 0) {
        sqlite3_free(*out);
        *out = NULL;
    }
    return rc;
}
