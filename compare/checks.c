/* checks.c - is a database sound: integrity_check, foreign keys, views and triggers that do not compile.
 *
 * Looking at a whole large database takes longer than most changes to it. So a database beyond a limit is checked
 * where it changed: the tables that have other rows or other SQL, and the foreign keys that lead from or to them. What
 * is too large even then stays unknown. The limits count bytes and steps and never time, so the same two databases
 * always have the same answer. */
#include "btree.h"
#include "outcome.h"

#include <stdlib.h>
#include <string.h>

/* ---- helpers ---- */

static int read_int64(sqlite3_int64 *out, sqlite3 *handle, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW)
        *out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static bool has_name(const struct bough__names *names, const char *name)
{
    for (size_t i = 0; name && i < names->count; i++) {
        if (!sqlite3_stricmp(names->items[i], name))
            return true;
    }
    return false;
}

static int add_name(struct bough__names *names, const char *name)
{
    if (!name)
        return SQLITE_NOMEM;
    return has_name(names, name) || bough__names_add(names, name) ? SQLITE_OK : SQLITE_NOMEM;
}

/* Tables of `to` to look at, and in `gone` the names that its foreign keys may still lead to. */
static int list_changed(struct bough__names *tables, struct bough__names *gone, const struct bough__outcome *outcome)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < outcome->table_count; i++) {
        const struct bough__table_outcome *table = &outcome->tables[i];

        rc = add_name(table->change == BOUGH_REMOVED ? gone : tables, table->name);
        if (rc == SQLITE_OK && table->old_name)
            rc = add_name(gone, table->old_name);
    }
    for (size_t i = 0; rc == SQLITE_OK && i < outcome->schema.count; i++) {
        const struct bough__schema_change *change = &outcome->schema.items[i];

        if (!strcmp(change->type, "index") && change->change != BOUGH_REMOVED)
            rc = add_name(tables, change->table);
    }
    return rc;
}

/* ---- sizes ---- */

struct pages_count {
    uint64_t pages, limit;
};

static int count_siblings(void *context, const struct bough__siblings *siblings)
{
    struct pages_count *count = context;

    count->pages += siblings->count;
    return count->pages > count->limit ? BOUGH__BTREE_STOPPED : BOUGH__BTREE_OK;
}

/* Has a table, with its indexes or alone, more pages than that? Told from a few pages, and without those of overflows:
 * false also where it is not known. */
static int has_more_pages(bool *out, sqlite3 *handle, const char *table, bool alone, uint64_t limit)
{
    static const char sql[] = "SELECT rootpage FROM main.sqlite_schema WHERE rootpage > 1 AND tbl_name = ?1 "
                              "COLLATE NOCASE AND (type = 'table' OR (type = 'index' AND NOT ?2))";
    struct bough__btrees trees;
    struct pages_count count = {0, limit};
    sqlite3_stmt *root = NULL;
    int walked = bough__btrees_open(&trees, handle);
    int rc = sqlite3_prepare_v2(handle, sql, -1, &root, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(root, 1, table, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int(root, 2, alone);
    while (rc == SQLITE_OK && walked == BOUGH__BTREE_OK && (rc = sqlite3_step(root)) == SQLITE_ROW) {
        walked = bough__btree_walk(&trees, (uint32_t)sqlite3_column_int64(root, 0), count_siblings, &count);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(root);
    bough__btrees_release(&trees);
    *out = walked == BOUGH__BTREE_STOPPED;
    return walked == BOUGH__BTREE_NOMEM ? SQLITE_NOMEM : rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* ---- integrity ---- */

/* Pages of the trees named by the query, counted up to a limit. */
static int count_pages(uint64_t *inout, sqlite3 *handle, const char *table, uint64_t limit)
{
    static const char sql[] =
        "SELECT count(*) FROM (SELECT 1 FROM dbstat WHERE schema = 'main' AND name = ?1 LIMIT ?2)";
    static const char indexes[] = "SELECT ?1 UNION ALL SELECT name FROM pragma_index_list(?1, 'main')";
    sqlite3_stmt *trees = NULL;
    sqlite3_stmt *pages = NULL;
    int rc = sqlite3_prepare_v2(handle, indexes, -1, &trees, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(handle, sql, -1, &pages, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(trees, 1, table, -1, SQLITE_STATIC);
    while (rc == SQLITE_OK && *inout <= limit && (rc = sqlite3_step(trees)) == SQLITE_ROW) {
        sqlite3_bind_value(pages, 1, sqlite3_column_value(trees, 0));
        sqlite3_bind_int64(pages, 2, (sqlite3_int64)(limit - *inout + 1));
        rc = sqlite3_step(pages);
        if (rc == SQLITE_ROW)
            *inout += (uint64_t)sqlite3_column_int64(pages, 0);
        rc = sqlite3_reset(pages);
    }
    sqlite3_finalize(trees);
    sqlite3_finalize(pages);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int tables_fit(bool *out, sqlite3 *handle, const struct bough__names *tables, uint64_t limit_bytes)
{
    sqlite3_int64 page_size = 0;
    uint64_t pages = 0;
    uint64_t limit = 0;
    bool is_large = false;
    int rc = read_int64(&page_size, handle, "PRAGMA main.page_size");

    limit = limit_bytes / (page_size > 0 ? (uint64_t)page_size : 4096);
    for (size_t i = 0; rc == SQLITE_OK && !is_large && i < tables->count; i++)
        rc = has_more_pages(&is_large, handle, tables->items[i], false, limit);
    if (is_large)
        pages = limit + 1;
    for (size_t i = 0; rc == SQLITE_OK && pages <= limit && i < tables->count; i++)
        rc = count_pages(&pages, handle, tables->items[i], limit);
    *out = rc == SQLITE_OK && pages <= limit;
    return rc == SQLITE_ERROR ? SQLITE_OK : rc; /* no dbstat table: nothing is known to fit */
}

/* The first line for one table, or for everything where table is NULL; *out stays NULL when it is "ok". */
static int check_integrity(char **out, sqlite3 *handle, const char *table)
{
    char *sql = table ? sqlite3_mprintf("PRAGMA main.integrity_check(%Q)", table)
                      : sqlite3_mprintf("PRAGMA main.integrity_check(1)");
    sqlite3_stmt *statement = NULL;
    int rc = sql ? sqlite3_prepare_v2(handle, sql, -1, &statement, NULL) : SQLITE_NOMEM;

    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        /* Damage in a tree is told under a heading, on lines of its own. */
        const char *line =
            text && !strncmp(text, "*** in database", 15) && strchr(text, '\n') ? strchr(text, '\n') + 1 : text;

        if (line && strcmp(line, "ok") != 0) {
            *out = strndup(line, strcspn(line, "\n"));
            rc = *out ? SQLITE_ROW : SQLITE_NOMEM;
        }
    }
    sqlite3_finalize(statement);
    sqlite3_free(sql);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int check_tables(struct bough__checks *out, sqlite3 *handle, const struct bough__names *tables, bool whole)
{
    int rc = whole ? check_integrity(&out->integrity, handle, NULL) : SQLITE_OK;

    for (size_t i = 0; !whole && rc == SQLITE_OK && !out->integrity && i < tables->count; i++)
        rc = check_integrity(&out->integrity, handle, tables->items[i]);
    if (rc == SQLITE_OK && !out->integrity && !(out->integrity = strdup("ok")))
        rc = SQLITE_NOMEM;
    return rc;
}

/* ---- foreign keys ---- */

enum { ROW_STEPS = 3 }; /* at least, and a page has a row at least */

struct budget {
    uint64_t left; /* in hundreds of steps */
};

static int spend(void *context)
{
    struct budget *budget = context;

    return budget->left == 0 ? 1 : (budget->left--, 0);
}

/* A parent that cannot be one (no unique index) is an error of the schema, which the result tells. SQLITE_INTERRUPT:
 * the table has too many rows to be looked at. */
static int count_violations(struct bough__checks *out, sqlite3 *handle, const char *table, bool has_too_many)
{
    char *sql = table ? sqlite3_mprintf("PRAGMA main.foreign_key_check(%Q)", table)
                      : sqlite3_mprintf("PRAGMA main.foreign_key_check");
    sqlite3_stmt *statement = NULL;
    int rc = sql ? sqlite3_prepare_v2(handle, sql, -1, &statement, NULL) : SQLITE_NOMEM;

    if (rc == SQLITE_OK && has_too_many)
        rc = SQLITE_INTERRUPT;
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        out->violations++;
        rc = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    sqlite3_free(sql);
    if (rc == SQLITE_ERROR) {
        free(out->violations_error);
        out->violations_error = strdup(sqlite3_errmsg(handle));
        return out->violations_error ? SQLITE_ERROR : SQLITE_NOMEM;
    }
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* The tables whose foreign keys may have another answer: they changed, or what their keys lead to did. */
static int list_children(struct bough__names *out, sqlite3 *handle, const struct bough__names *tables,
                         const struct bough__names *gone)
{
    static const char sql[] = "SELECT m.name, f.\"table\" FROM main.sqlite_schema m, "
                              "pragma_foreign_key_list(m.name, 'main') f WHERE m.type = 'table' ORDER BY m.name";
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);

    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *child = (const char *)sqlite3_column_text(statement, 0);
        const char *parent = (const char *)sqlite3_column_text(statement, 1);

        rc = SQLITE_OK;
        if (has_name(tables, child) || has_name(tables, parent) || has_name(gone, parent))
            rc = add_name(out, child);
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int check_children(struct bough__checks *out, sqlite3 *handle, const struct bough__names *children,
                          uint64_t steps)
{
    struct budget budget = {steps / 100};
    bool is_large = false;
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < children->count; i++) {
        if (steps != UINT64_MAX)
            rc = has_more_pages(&is_large, handle, children->items[i], true, steps / ROW_STEPS);
        if (rc == SQLITE_OK && steps != UINT64_MAX)
            sqlite3_progress_handler(handle, 100, spend, &budget);
        if (rc == SQLITE_OK)
            rc = count_violations(out, handle, children->items[i], is_large);
    }
    if (steps != UINT64_MAX)
        sqlite3_progress_handler(handle, 0, NULL, NULL);
    return rc;
}

static int check_foreign_keys(struct bough__checks *out, sqlite3 *handle, const struct bough__names *tables,
                              const struct bough__names *gone, bool whole, uint64_t steps)
{
    struct bough__names children = {NULL, 0};
    int rc = whole ? count_violations(out, handle, NULL, false) : list_children(&children, handle, tables, gone);

    if (!whole && rc == SQLITE_OK)
        rc = check_children(out, handle, &children, steps);
    out->violations_known = rc == SQLITE_OK;
    if (rc == SQLITE_ERROR || (rc == SQLITE_INTERRUPT && !whole))
        rc = SQLITE_OK;
    bough__names_release(&children);
    return rc;
}

/* ---- views and triggers ---- */

/* The kind of a trigger is the first of these words after its name. */
static size_t trigger_kind(const char *sql, const char *name)
{
    static const char *const words[] = {"DELETE", "INSERT", "UPDATE"};
    const char *p = strstr(sql, name);
    size_t kind = 3;

    for (p = p ? p + strlen(name) : sql; *p && kind == 3; p++) {
        for (kind = 0; kind < 3 && sqlite3_strnicmp(p, words[kind], 6) != 0;)
            kind++;
    }
    return kind;
}

/* "a" = NULL, "b" = NULL: of every column that can be set. SQLITE_ERROR: of a view that does not compile. */
static int list_columns(char **out, sqlite3 *handle, const char *table)
{
    static const char sql[] = "SELECT group_concat('\"' || replace(name, '\"', '\"\"') || '\" = NULL') "
                              "FROM pragma_table_xinfo(?1, 'main') WHERE hidden = 0";
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(statement, 1, table, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        *out = sqlite3_mprintf("%s", sqlite3_column_text(statement, 0));
        rc = *out ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_finalize(statement);
    return rc;
}

/* A statement that compiles the trigger. */
static int trigger_use(char **out, sqlite3 *handle, sqlite3_stmt *row)
{
    const char *name = (const char *)sqlite3_column_text(row, 1);
    const char *table = (const char *)sqlite3_column_text(row, 2);
    const char *sql = (const char *)sqlite3_column_text(row, 3);
    size_t kind = sql ? trigger_kind(sql, name) : 0;
    char *columns = NULL;
    int rc = kind == 2 ? list_columns(&columns, handle, table) : SQLITE_OK;

    if (rc == SQLITE_OK)
        *out = kind == 2   ? sqlite3_mprintf("UPDATE main.\"%w\" SET %s", table, columns)
               : kind == 0 ? sqlite3_mprintf("DELETE FROM main.\"%w\"", table)
                           : sqlite3_mprintf("INSERT INTO main.\"%w\" DEFAULT VALUES", table);
    sqlite3_free(columns);
    return rc == SQLITE_OK && !*out ? SQLITE_NOMEM : rc;
}

static int note_if_broken(struct bough__names *out, sqlite3 *handle, sqlite3_stmt *row)
{
    const char *type = (const char *)sqlite3_column_text(row, 0);
    const char *name = (const char *)sqlite3_column_text(row, 1);
    sqlite3_stmt *statement = NULL;
    char *text = NULL;
    char *use = NULL;
    int rc = type && name ? SQLITE_OK : SQLITE_NOMEM;

    if (rc == SQLITE_OK && !strcmp(type, "trigger"))
        rc = trigger_use(&use, handle, row);
    else if (rc == SQLITE_OK && !(use = sqlite3_mprintf("SELECT * FROM main.\"%w\"", name)))
        rc = SQLITE_NOMEM;
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(handle, use, -1, &statement, NULL);
    sqlite3_finalize(statement);
    if (rc == SQLITE_ERROR) {
        text = sqlite3_mprintf("%s %s", type, name);
        rc = text && bough__names_add(out, text) ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_free(text);
    sqlite3_free(use);
    return rc;
}

/* The views and triggers that do not compile, as those over a column that is not there any more. */
static int list_broken(struct bough__names *out, sqlite3 *handle)
{
    static const char sql[] = "SELECT type, name, tbl_name, sql FROM main.sqlite_schema "
                              "WHERE type IN ('view', 'trigger') ORDER BY type DESC, name";
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);

    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW)
        rc = note_if_broken(out, handle, statement);
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* What did not compile before either is no news. */
static int check_objects(struct bough__checks *out, sqlite3 *from, sqlite3 *to)
{
    struct bough__names after = {NULL, 0};
    struct bough__names before = {NULL, 0};
    int rc = list_broken(&after, to);

    if (rc == SQLITE_OK && after.count)
        rc = list_broken(&before, from);
    for (size_t i = 0; rc == SQLITE_OK && i < after.count; i++) {
        if (!has_name(&before, after.items[i]))
            rc = bough__names_add(&out->broken, after.items[i]) ? SQLITE_OK : SQLITE_NOMEM;
    }
    bough__names_release(&after);
    bough__names_release(&before);
    return rc;
}

/* ---- all of it ---- */

static int is_whole(bool *out, sqlite3 *handle, uint64_t limit_bytes)
{
    sqlite3_int64 page_size = 0;
    sqlite3_int64 pages = 0;
    int rc = read_int64(&page_size, handle, "PRAGMA main.page_size");

    if (rc == SQLITE_OK)
        rc = read_int64(&pages, handle, "PRAGMA main.page_count");
    *out = (uint64_t)page_size * (uint64_t)pages <= limit_bytes;
    return rc;
}

int bough__checks_run(struct bough__checks *out, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                      const struct bough__outcome *outcome, const struct bough__check_limits *limits)
{
    struct bough__names tables = {NULL, 0};
    struct bough__names gone = {NULL, 0};
    bool whole = false;
    bool fits = false;
    int rc = is_whole(&whole, to, limits->database_bytes);

    memset(out, 0, sizeof *out);
    if (rc == SQLITE_OK)
        rc = list_changed(&tables, &gone, outcome);
    if (rc == SQLITE_OK && !whole)
        rc = tables_fit(&fits, to, &tables, limits->tables_bytes);
    if (rc == SQLITE_OK && (whole || fits))
        rc = check_tables(out, to, &tables, whole);
    if (rc == SQLITE_OK)
        rc = check_foreign_keys(out, to, &tables, &gone, whole, limits->steps);
    if (rc == SQLITE_OK)
        rc = check_objects(out, from, to);
    *out_failed = rc == SQLITE_OK || rc == SQLITE_NOMEM ? NULL : to;
    bough__names_release(&tables);
    bough__names_release(&gone);
    if (rc != SQLITE_OK)
        bough__checks_release(out);
    return rc;
}

void bough__checks_release(struct bough__checks *checks)
{
    free(checks->integrity);
    free(checks->violations_error);
    bough__names_release(&checks->broken);
    memset(checks, 0, sizeof *checks);
}
