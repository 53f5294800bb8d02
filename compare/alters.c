/* alters.c - see alters.h.
 *
 * SQLite rewrites the text of everything that names a renamed column: the table, its indexes, foreign keys of other
 * tables, views, triggers. Nobody else can say what comes out, so SQLite is asked: the schema of `from` is made once
 * more in memory, without rows, the statements run there, and the texts are compared with those of `to`. A table
 * whose text is another one all the same is given up, and the rest tried again. Where an object that should stay as
 * it is comes out otherwise, all are given up: a script without ALTER TABLE is longer, and right. */
#include "alters.h"

#include "columns.h"

#include <stdlib.h>
#include <string.h>

/* A table all of whose columns have partners, and some of them other names. */
struct candidate {
    size_t change; /* among those of the schema */
    struct bough__names old_names, new_names;
    bool is_quoted; /* the new names are written in quotes, and so SQLite keeps them */
    bool is_given_up;
};

struct work {
    sqlite3 *from, *to;
    const struct bough__schema_changes *schema;
    struct candidate *candidates;
    size_t count;
    sqlite3 *copy;
};

/* ---- candidates ---- */

static bool is_changed_table(const struct bough__schema_change *change)
{
    return !strcmp(change->type, "table") && change->change == BOUGH_CHANGED;
}

static int collect_names(struct candidate *candidate, const struct bough__columns *from,
                         const struct bough__columns *to)
{
    for (size_t i = 0; i < from->count; i++) {
        const char *old_name = from->items[i].name;
        const char *new_name = to->items[i].name;

        if (strcmp(old_name, new_name) != 0 &&
            (!bough__names_add(&candidate->old_names, old_name) || !bough__names_add(&candidate->new_names, new_name)))
            return SQLITE_NOMEM;
    }
    return SQLITE_OK;
}

static bool is_same_shape(const struct bough__columns *from, const struct bough__columns *to)
{
    bool same = from->count == to->count;

    for (size_t i = 0; same && i < from->count; i++)
        same = from->items[i].partner == i;
    return same;
}

static int read_candidate(struct candidate *candidate, sqlite3 **out_failed, const struct work *work, const char *table)
{
    struct bough__columns before = {NULL, 0};
    struct bough__columns after = {NULL, 0};
    const struct bough__columns_side from = {&before, work->from, table};
    const struct bough__columns_side to = {&after, work->to, table};
    int rc = SQLITE_OK;

    *out_failed = work->from;
    rc = bough__columns_read(&before, work->from, table);
    if (rc == SQLITE_OK) {
        *out_failed = work->to;
        rc = bough__columns_read(&after, work->to, table);
    }
    if (rc == SQLITE_OK)
        rc = bough__columns_match(out_failed, &from, &to);
    if (rc == SQLITE_OK && is_same_shape(&before, &after))
        rc = collect_names(candidate, &before, &after);
    bough__columns_release(&before);
    bough__columns_release(&after);
    return rc;
}

static int find_candidates(struct work *work, sqlite3 **out_failed)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < work->schema->count; i++) {
        struct candidate *items = NULL;

        if (!is_changed_table(&work->schema->items[i]))
            continue;
        items = bough__grow(work->candidates, work->count, sizeof items[0]);
        if (!items)
            return SQLITE_NOMEM;
        work->candidates = items;
        items += work->count++;
        *items = (struct candidate){.change = i};
        rc = read_candidate(items, out_failed, work, work->schema->items[i].name);
        if (rc == SQLITE_OK && !items->old_names.count)
            work->count--;
    }
    return rc;
}

/* ---- the copy ---- */

static bool is_unchanged_by(const char *name)
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
        rc = is_unchanged_by(name) ? SQLITE_OK : sqlite3_exec(copy, sql, NULL, NULL, NULL);
    return sqlite3_column_int(object, 2) && rc != SQLITE_NOMEM ? SQLITE_OK : rc;
}

/* Opens the copy. *out_is_whole tells whether it has become what it should; a schema may be such that it cannot. */
static int make_copy(struct work *work, bool *out_is_whole, sqlite3 **out_failed)
{
    static const char objects[] =
        "SELECT name, sql, type = 'table' AND rootpage = 0 AS is_virtual FROM main.sqlite_schema WHERE sql IS NOT NULL "
        "AND name NOT IN (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow') "
        "ORDER BY is_virtual DESC, type = 'table' DESC, type = 'index' DESC, type = 'view' DESC, rowid";
    sqlite3_stmt *object = NULL;
    int copied = SQLITE_OK;
    int rc = SQLITE_OK;

    *out_failed = NULL;
    sqlite3_close(work->copy);
    work->copy = NULL;
    if (sqlite3_open(":memory:", &work->copy) != SQLITE_OK ||
        sqlite3_exec(work->copy, "PRAGMA legacy_alter_table = ON", NULL, NULL, NULL) != SQLITE_OK)
        return SQLITE_NOMEM;
    *out_failed = work->from;
    rc = sqlite3_prepare_v2(work->from, objects, -1, &object, NULL);
    while (rc == SQLITE_OK && copied == SQLITE_OK && (rc = sqlite3_step(object)) == SQLITE_ROW) {
        copied = copy_object(work->copy, object);
        rc = copied == SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_OK;
    }
    sqlite3_finalize(object);
    *out_is_whole = copied == SQLITE_OK;
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* The text of an object in the copy, to be freed; NULL: it is not there. */
static int read_text(char **out, sqlite3 *copy, const char *type, const char *name)
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

/* Is the object of a change in the copy what this text says? */
static int has_text(bool *out, const struct work *work, const char *type, const char *name, const char *sql)
{
    char *text = NULL;
    int rc = read_text(&text, work->copy, type, name);

    *out = text && !strcmp(text, sql);
    free(text);
    return rc;
}

/* ---- trying ---- */

static char *statement_of(const struct work *work, const struct candidate *candidate, size_t column)
{
    const char *table = work->schema->items[candidate->change].name;

    return sqlite3_mprintf(candidate->is_quoted ? "ALTER TABLE \"%w\" RENAME COLUMN \"%w\" TO \"%w\""
                                                : "ALTER TABLE \"%w\" RENAME COLUMN \"%w\" TO %s",
                           table, candidate->old_names.items[column], candidate->new_names.items[column]);
}

static bool is_plain_name(const char *name)
{
    bool plain = *name && !(*name >= '0' && *name <= '9');

    for (; plain && *name; name++)
        plain = (*name >= '0' && *name <= '9') || (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
                *name == '_';
    return plain;
}

static bool are_plain(const struct bough__names *names)
{
    bool plain = true;

    for (size_t i = 0; plain && i < names->count; i++)
        plain = is_plain_name(names->items[i]);
    return plain;
}

/* Unquoted names first, as people write them; then quoted ones, since the first may be words of SQL; then none. */
static void try_otherwise(struct candidate *candidate)
{
    candidate->is_given_up = candidate->is_quoted;
    candidate->is_quoted = true;
}

static int run_candidate(struct work *work, struct candidate *candidate)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < candidate->old_names.count; i++) {
        char *sql = statement_of(work, candidate, i);

        rc = sql ? sqlite3_exec(work->copy, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
        sqlite3_free(sql);
    }
    return rc;
}

/* *out_again: a candidate was changed, so that another copy has to be made. Texts are compared when all have run, since
 * tables may refer to each other. */
static int run_candidates(struct work *work, bool *out_again)
{
    int rc = SQLITE_OK;

    *out_again = false;
    for (size_t i = 0; rc == SQLITE_OK && i < work->count; i++) {
        if (!work->candidates[i].is_given_up)
            rc = run_candidate(work, &work->candidates[i]);
        if (rc != SQLITE_OK && rc != SQLITE_NOMEM) {
            try_otherwise(&work->candidates[i]);
            *out_again = true;
            return SQLITE_OK;
        }
    }
    for (size_t i = 0; rc == SQLITE_OK && !*out_again && i < work->count; i++) {
        const struct bough__schema_change *change = &work->schema->items[work->candidates[i].change];
        bool is_right = true;

        if (!work->candidates[i].is_given_up)
            rc = has_text(&is_right, work, change->type, change->name, change->to_sql);
        if (is_right)
            continue;
        try_otherwise(&work->candidates[i]);
        *out_again = true;
    }
    return rc;
}

static const struct bough__schema_change *change_in_from(const struct work *work, const char *type, const char *name)
{
    for (size_t i = 0; i < work->schema->count; i++) {
        const struct bough__schema_change *change = &work->schema->items[i];

        if (change->from_sql && !strcmp(change->type, type) &&
            !strcmp(change->old_name ? change->old_name : change->name, name))
            return change;
    }
    return NULL;
}

/* What does not differ, and what only gets another name, must be in the copy what it is in `from`. */
static int are_others_same(bool *out, sqlite3 **out_failed, const struct work *work)
{
    sqlite3_stmt *object = NULL;
    int rc = sqlite3_prepare_v2(work->from,
                                "SELECT type, name, sql FROM main.sqlite_schema WHERE sql IS NOT NULL AND "
                                "NOT (type = 'table' AND rootpage = 0) AND name NOT IN "
                                "(SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow')",
                                -1, &object, NULL);

    *out = true;
    *out_failed = work->from;
    while (rc == SQLITE_OK && *out && (rc = sqlite3_step(object)) == SQLITE_ROW) {
        const char *type = (const char *)sqlite3_column_text(object, 0);
        const char *name = (const char *)sqlite3_column_text(object, 1);
        const char *sql = (const char *)sqlite3_column_text(object, 2);
        const struct bough__schema_change *change = NULL;

        rc = type && name && sql ? SQLITE_OK : SQLITE_NOMEM;
        if (rc == SQLITE_OK)
            change = change_in_from(work, type, name);
        if (rc == SQLITE_OK && !is_unchanged_by(name) && (!change || change->change == BOUGH_RENAMED))
            rc = has_text(out, work, type, name, sql);
    }
    sqlite3_finalize(object);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static bool is_any_left(const struct work *work)
{
    for (size_t i = 0; i < work->count; i++) {
        if (!work->candidates[i].is_given_up)
            return true;
    }
    return false;
}

static void give_up(struct work *work)
{
    for (size_t i = 0; i < work->count; i++)
        work->candidates[i].is_given_up = true;
}

/* The candidates that are left at the end turn their tables into those of `to`, and nothing else into anything else. */
static int settle(struct work *work, sqlite3 **out_failed)
{
    bool again = true;
    bool is_good = true;
    int rc = SQLITE_OK;

    for (size_t i = 0; i < work->count; i++)
        work->candidates[i].is_quoted = !are_plain(&work->candidates[i].new_names);
    while (rc == SQLITE_OK && again && is_good && is_any_left(work)) {
        rc = make_copy(work, &is_good, out_failed);
        if (rc == SQLITE_OK && is_good)
            rc = run_candidates(work, &again);
    }
    if (rc == SQLITE_OK && is_good && is_any_left(work))
        rc = are_others_same(&is_good, out_failed, work);
    if (!is_good)
        give_up(work);
    return rc;
}

/* ---- the outcome ---- */

static int tell(struct bough__alters *out, const struct work *work)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < work->count; i++) {
        const struct candidate *candidate = &work->candidates[i];

        for (size_t k = 0; rc == SQLITE_OK && !candidate->is_given_up && k < candidate->old_names.count; k++) {
            char *sql = statement_of(work, candidate, k);

            rc = sql && bough__names_add(&out->statements, sql) ? SQLITE_OK : SQLITE_NOMEM;
            sqlite3_free(sql);
        }
    }
    for (size_t i = 0; rc == SQLITE_OK && out->statements.count && i < work->schema->count; i++) {
        const struct bough__schema_change *change = &work->schema->items[i];

        if (change->change == BOUGH_CHANGED)
            rc = has_text(&out->made[i], work, change->type, change->name, change->to_sql);
    }
    return rc;
}

int bough__alters_find(struct bough__alters *out, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                       const struct bough__schema_changes *schema, bool wanted)
{
    struct work work = {.from = from, .to = to, .schema = schema};
    int rc = SQLITE_OK;

    memset(out, 0, sizeof *out);
    out->made = calloc(schema->count + 1, sizeof out->made[0]);
    if (!out->made)
        rc = SQLITE_NOMEM;
    else if (wanted)
        rc = find_candidates(&work, out_failed);
    if (rc == SQLITE_OK)
        rc = settle(&work, out_failed);
    if (rc == SQLITE_OK) {
        *out_failed = NULL;
        rc = tell(out, &work);
    }
    for (size_t i = 0; i < work.count; i++) {
        bough__names_release(&work.candidates[i].old_names);
        bough__names_release(&work.candidates[i].new_names);
    }
    free(work.candidates);
    sqlite3_close(work.copy);
    if (rc != SQLITE_OK)
        bough__alters_release(out);
    if (rc == SQLITE_NOMEM)
        *out_failed = NULL;
    return rc;
}

void bough__alters_release(struct bough__alters *alters)
{
    bough__names_release(&alters->statements);
    free(alters->made);
    alters->made = NULL;
}
