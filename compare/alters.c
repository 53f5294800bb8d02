/* alters.c - see alters.h.
 *
 * SQLite rewrites the text of everything that names a renamed column: the table, its indexes, foreign keys of other
 * tables, views, triggers; and puts added columns into that of their table. Nobody else can say what comes out, so
 * SQLite is asked: the schema of `from` is made once more in memory, without rows, the statements run there, and the
 * texts are compared with those of `to`. A table whose text is another one all the same is given up, and the rest tried
 * again. Where an object that should stay as it is comes out otherwise, all are given up: a script without ALTER TABLE
 * is longer, and right. */
#include "alters.h"

#include "added_columns.h"
#include "alters_work.h"
#include "schema_copy.h"

#include <stdlib.h>
#include <string.h>

/* ---- trying ---- */

static char *statement_of(const struct bough__alter_work *work, const struct bough__alter_candidate *candidate,
                          size_t column)
{
    const char *table = bough__alter_name_in_from(&work->schema->items[candidate->change]);

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
static void try_otherwise(struct bough__alter_candidate *candidate)
{
    candidate->is_given_up = candidate->is_quoted;
    candidate->is_quoted = true;
}

static int run_owned(struct bough__alter_work *work, char *sql)
{
    int rc = sql ? sqlite3_exec(work->copy, sql, NULL, NULL, NULL) : SQLITE_NOMEM;

    sqlite3_free(sql);
    return rc;
}

static char *addition_of(const struct bough__alter_work *work, const struct bough__alter_candidate *candidate,
                         size_t column)
{
    return sqlite3_mprintf("ALTER TABLE \"%w\" ADD COLUMN %s",
                           bough__alter_name_in_from(&work->schema->items[candidate->change]),
                           candidate->definitions.items[column]);
}

static int add_value(struct bough__alter_candidate *candidate, size_t column)
{
    char *value = NULL;
    int rc = bough__added_value(&value, candidate->definitions.items[column], candidate->added.items[column],
                                *candidate->generated.items[column] != 0);

    if (rc == SQLITE_OK && !value)
        rc = SQLITE_ERROR;
    if (rc == SQLITE_OK && !bough__names_add(&candidate->values, value))
        rc = SQLITE_NOMEM;
    free(value);
    return rc;
}

/* Its columns are renamed; what its text still lacks are columns to add. */
static int run_additions(struct bough__alter_work *work, struct bough__alter_candidate *candidate)
{
    const struct bough__schema_change *change = &work->schema->items[candidate->change];
    char *text = NULL;
    int rc = SQLITE_OK;

    bough__names_release(&candidate->definitions);
    bough__names_release(&candidate->values);
    if (!candidate->added.count)
        return SQLITE_OK;
    rc = bough__schema_copy_text(&text, work->copy, change->type, bough__alter_name_in_from(change));
    if (rc == SQLITE_OK && text)
        rc = bough__added_definitions(&candidate->definitions, bough__schema_body(text, change->type),
                                      bough__schema_body(change->to_sql, change->type), candidate->added.count);
    free(text);
    if (rc == SQLITE_OK && !candidate->definitions.count)
        rc = SQLITE_ERROR;
    for (size_t i = 0; rc == SQLITE_OK && i < candidate->definitions.count; i++) {
        rc = run_owned(work, addition_of(work, candidate, i));
        if (rc == SQLITE_OK)
            rc = add_value(candidate, i);
    }
    return rc;
}

static int run_candidate(struct bough__alter_work *work, struct bough__alter_candidate *candidate)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < candidate->old_names.count; i++)
        rc = run_owned(work, statement_of(work, candidate, i));
    return rc == SQLITE_OK ? run_additions(work, candidate) : rc;
}

/* Is the table there under its new name, and for the rest as `to` has it? */
static int has_body(bool *out, const struct bough__alter_work *work, const struct bough__schema_change *change)
{
    char *text = NULL;
    int rc = bough__schema_copy_text(&text, work->copy, change->type, change->name);

    *out = text && !strcmp(bough__schema_body(text, change->type), bough__schema_body(change->to_sql, change->type));
    free(text);
    return rc;
}

/* Tables whose own names wait are renamed to see what comes out, since the text may name the table itself. */
static int is_candidate_right(bool *out, const struct bough__alter_work *work,
                              const struct bough__alter_candidate *candidate)
{
    const struct bough__schema_change *change = &work->schema->items[candidate->change];
    char *sql = NULL;
    int rc = SQLITE_OK;

    if (change->change == BOUGH_CHANGED)
        return bough__schema_copy_has(out, work->copy, change->type, change->name, change->to_sql);
    if (work->renames_tables)
        return has_body(out, work, change);
    *out = false;
    sql = sqlite3_mprintf("SAVEPOINT s; ALTER TABLE \"%w\" RENAME TO \"%w\"", change->old_name, change->name);
    rc = sql ? sqlite3_exec(work->copy, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    if (rc == SQLITE_OK)
        rc = has_body(out, work, change);
    sqlite3_free(sql);
    sqlite3_exec(work->copy, "ROLLBACK TO s; RELEASE s", NULL, NULL, NULL);
    return rc == SQLITE_NOMEM ? rc : SQLITE_OK;
}

/* ---- names of tables ---- */

static bool is_renamed_table(const struct bough__schema_change *change)
{
    return !strcmp(change->type, "table") && change->change == BOUGH_RENAMED;
}

static bool has_renamed_tables(const struct bough__schema_changes *schema)
{
    for (size_t i = 0; i < schema->count; i++) {
        if (is_renamed_table(&schema->items[i]))
            return true;
    }
    return false;
}

static char *renaming_of(const struct bough__schema_change *change)
{
    return sqlite3_mprintf("ALTER TABLE \"%w\" RENAME TO \"%w\"", change->old_name, change->name);
}

/* With legacy_alter_table off SQLite changes what names the table: foreign keys, views, triggers. */
static int run_renames(struct bough__alter_work *work)
{
    int rc = sqlite3_exec(work->copy, "PRAGMA legacy_alter_table = OFF", NULL, NULL, NULL);

    for (size_t i = 0; rc == SQLITE_OK && i < work->schema->count; i++) {
        if (is_renamed_table(&work->schema->items[i]))
            rc = run_owned(work, renaming_of(&work->schema->items[i]));
    }
    return rc == SQLITE_OK ? sqlite3_exec(work->copy, "PRAGMA legacy_alter_table = ON", NULL, NULL, NULL) : rc;
}

static int are_renamed_right(bool *out, const struct bough__alter_work *work)
{
    int rc = SQLITE_OK;

    *out = true;
    for (size_t i = 0; rc == SQLITE_OK && *out && i < work->schema->count; i++) {
        if (is_renamed_table(&work->schema->items[i]))
            rc = has_body(out, work, &work->schema->items[i]);
    }
    return rc;
}

/* *out_again: a candidate was changed, so that another copy has to be made. Texts are compared when all have run, since
 * tables may refer to each other. */
static int run_candidates(struct bough__alter_work *work, bool *out_again, bool *out_is_good)
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
    if (rc == SQLITE_OK && work->renames_tables)
        rc = run_renames(work);
    if (rc != SQLITE_OK) {
        *out_is_good = false;
        return rc == SQLITE_NOMEM ? rc : SQLITE_OK;
    }
    for (size_t i = 0; rc == SQLITE_OK && !*out_again && i < work->count; i++) {
        bool is_right = true;

        if (!work->candidates[i].is_given_up)
            rc = is_candidate_right(&is_right, work, &work->candidates[i]);
        if (is_right)
            continue;
        try_otherwise(&work->candidates[i]);
        *out_again = true;
    }
    return rc;
}

static const struct bough__schema_change *change_in_from(const struct bough__alter_work *work, const char *type,
                                                         const char *name)
{
    for (size_t i = 0; i < work->schema->count; i++) {
        const struct bough__schema_change *change = &work->schema->items[i];

        if (change->from_sql && !strcmp(change->type, type) &&
            !strcmp(change->old_name ? change->old_name : change->name, name))
            return change;
    }
    return NULL;
}

static bool is_candidate(const struct bough__alter_work *work, const struct bough__schema_change *change)
{
    for (size_t i = 0; i < work->count; i++) {
        if (&work->schema->items[work->candidates[i].change] == change)
            return !work->candidates[i].is_given_up;
    }
    return false;
}

/* What does not differ, and what only gets another name, must be in the copy what it is in `from`. */
static int are_others_same(bool *out, sqlite3 **out_failed, const struct bough__alter_work *work)
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
        if (rc == SQLITE_OK && !bough__is_of_sqlite(name) &&
            (!change || (change->change == BOUGH_RENAMED && !is_candidate(work, change) &&
                         !(work->renames_tables && is_renamed_table(change)))))
            rc = bough__schema_copy_has(out, work->copy, type, name, sql);
    }
    sqlite3_finalize(object);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static bool is_any_left(const struct bough__alter_work *work)
{
    for (size_t i = 0; i < work->count; i++) {
        if (!work->candidates[i].is_given_up)
            return true;
    }
    return false;
}

static void give_up(struct bough__alter_work *work)
{
    for (size_t i = 0; i < work->count; i++)
        work->candidates[i].is_given_up = true;
}

/* The candidates that are left at the end turn their tables into those of `to`, and nothing else into anything else. */
static int settle(struct bough__alter_work *work, bool *out_is_good, sqlite3 **out_failed)
{
    bool again = true;
    int rc = SQLITE_OK;

    *out_is_good = true;
    for (size_t i = 0; i < work->count; i++) {
        work->candidates[i].is_quoted = !are_plain(&work->candidates[i].new_names);
        work->candidates[i].is_given_up = false;
    }
    while (rc == SQLITE_OK && again && *out_is_good && (is_any_left(work) || work->renames_tables)) {
        sqlite3_close(work->copy);
        work->copy = NULL;
        rc = bough__schema_copy_open(&work->copy, out_is_good, out_failed, work->from);
        if (rc == SQLITE_OK && *out_is_good)
            rc = run_candidates(work, &again, out_is_good);
    }
    if (rc == SQLITE_OK && *out_is_good && work->renames_tables)
        rc = are_renamed_right(out_is_good, work);
    if (rc == SQLITE_OK && *out_is_good && (is_any_left(work) || work->renames_tables))
        rc = are_others_same(out_is_good, out_failed, work);
    if (!*out_is_good)
        give_up(work);
    return rc;
}

/* First with what names a renamed table changed by SQLite; where that makes something else of it than `to` has, with
 * tables that are renamed by themselves, later. */
static int settle_either_way(struct bough__alter_work *work, sqlite3 **out_failed, bool wanted)
{
    bool is_good = false;
    int rc = SQLITE_OK;

    work->renames_tables = wanted && has_renamed_tables(work->schema);
    if (work->renames_tables)
        rc = settle(work, &is_good, out_failed);
    if (rc != SQLITE_OK || is_good)
        return rc;
    work->renames_tables = false;
    return settle(work, &is_good, out_failed);
}

/* ---- the outcome ---- */

static int add_statement(struct bough__alters *out, char *sql)
{
    bool done = sql && bough__names_add(&out->statements, sql);

    sqlite3_free(sql);
    return done ? SQLITE_OK : SQLITE_NOMEM;
}

static int tell_renames(struct bough__alters *out, const struct bough__alter_work *work)
{
    int rc = add_statement(out, sqlite3_mprintf("PRAGMA legacy_alter_table = OFF"));

    for (size_t i = 0; rc == SQLITE_OK && i < work->schema->count; i++) {
        if (is_renamed_table(&work->schema->items[i]))
            rc = add_statement(out, renaming_of(&work->schema->items[i]));
    }
    return rc == SQLITE_OK ? add_statement(out, sqlite3_mprintf("PRAGMA legacy_alter_table = ON")) : rc;
}

/* A generated column has no value to be told. */
static int tell_values(struct bough__alters *out, const struct bough__alter_work *work,
                       const struct bough__alter_candidate *candidate)
{
    struct bough__added_columns *added = bough__grow(out->added, out->added_count, sizeof added[0]);
    int rc = added ? SQLITE_OK : SQLITE_NOMEM;

    if (!added)
        return rc;
    out->added = added;
    added += out->added_count++;
    *added = (struct bough__added_columns){.table = strdup(work->schema->items[candidate->change].name)};
    if (!added->table)
        return SQLITE_NOMEM;
    for (size_t i = 0; rc == SQLITE_OK && i < candidate->added.count; i++) {
        const char *value = candidate->values.items[i];

        if (*value &&
            (!bough__names_add(&added->names, candidate->added.items[i]) || !bough__names_add(&added->values, value)))
            rc = SQLITE_NOMEM;
    }
    return rc;
}

static int tell_candidate(struct bough__alters *out, const struct bough__alter_work *work,
                          const struct bough__alter_candidate *candidate)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < candidate->old_names.count; i++)
        rc = add_statement(out, statement_of(work, candidate, i));
    for (size_t i = 0; rc == SQLITE_OK && i < candidate->added.count; i++)
        rc = add_statement(out, addition_of(work, candidate, i));
    return rc == SQLITE_OK && candidate->added.count ? tell_values(out, work, candidate) : rc;
}

static int tell(struct bough__alters *out, const struct bough__alter_work *work)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < work->count; i++) {
        if (!work->candidates[i].is_given_up)
            rc = tell_candidate(out, work, &work->candidates[i]);
    }
    out->renames_tables = work->renames_tables;
    if (rc == SQLITE_OK && work->renames_tables)
        rc = tell_renames(out, work);
    for (size_t i = 0; rc == SQLITE_OK && i < work->schema->count; i++) {
        const struct bough__schema_change *change = &work->schema->items[i];

        if (change->change == BOUGH_RENAMED)
            out->made[i] = work->renames_tables || bough__alter_is_only_renamed(change) || is_candidate(work, change);
        else if (change->change == BOUGH_CHANGED && out->statements.count)
            rc = bough__schema_copy_has(&out->made[i], work->copy, change->type, change->name, change->to_sql);
    }
    return rc;
}

int bough__alters_find(struct bough__alters *out, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                       const struct bough__schema_changes *schema, bool wanted)
{
    struct bough__alter_work work = {.from = from, .to = to, .schema = schema};
    int rc = SQLITE_OK;

    memset(out, 0, sizeof *out);
    out->made = calloc(schema->count + 1, sizeof out->made[0]);
    if (!out->made)
        rc = SQLITE_NOMEM;
    else if (wanted)
        rc = bough__alter_find_candidates(&work, out_failed);
    if (rc == SQLITE_OK)
        rc = settle_either_way(&work, out_failed, wanted);
    if (rc == SQLITE_OK) {
        *out_failed = NULL;
        rc = tell(out, &work);
    }
    for (size_t i = 0; i < work.count; i++)
        bough__alter_release_candidate(&work.candidates[i]);
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
    for (size_t i = 0; i < alters->added_count; i++) {
        free(alters->added[i].table);
        bough__names_release(&alters->added[i].names);
        bough__names_release(&alters->added[i].values);
    }
    free(alters->added);
    alters->added = NULL;
    alters->added_count = 0;
}
