/* script.c - the script of SQL that turns one database into another: see script.h.
 *
 * First comes what ALTER TABLE can do, while everything that names a column or table is there. Then what could be in
 * the way of the rows goes: triggers, views and indexes that change, and all triggers of tables that change. Then come
 * tables, then rows (what is removed before what is added), and at last indexes, views and triggers as `to` has them.
 * Foreign keys are off, and a table that is renamed only now leaves other objects alone, because what names it has
 * changed in `to` itself. */
#include "script.h"

#include "script_rows.h"

#include <stdlib.h>
#include <string.h>

/* ---- the schema ---- */

static bool is_wanted(const struct bough__script *script, const char *table)
{
    return !script->only_table || (table && !sqlite3_stricmp(script->only_table, table));
}

static bool is_wanted_change(const struct bough__script *script, const struct bough__schema_change *change)
{
    return bough__schema_change_concerns(script->schema, change, script->only_table);
}

static bool is_table(const struct bough__schema_change *change)
{
    return !strcmp(change->type, "table");
}

static bool is_right(const struct bough__script *script, const struct bough__schema_change *change)
{
    return script->alters->made[change - script->schema->items];
}

/* Does it only need its new name? ALTER TABLE takes it only if it differs by more than its case. */
static bool is_altered(const struct bough__script *script, const struct bough__schema_change *change)
{
    return change->change == BOUGH_RENAMED && is_right(script, change) && !script->alters->renames_tables &&
           sqlite3_stricmp(change->old_name, change->name) != 0;
}

/* Has ALTER TABLE made of it what `to` has? */
static bool is_made(const struct bough__script *script, const struct bough__schema_change *change)
{
    return is_right(script, change) &&
           (change->change == BOUGH_CHANGED ||
            (change->change == BOUGH_RENAMED && is_table(change) && script->alters->renames_tables));
}

static const char *name_in_from(const struct bough__schema_change *change)
{
    return change->old_name ? change->old_name : change->name;
}

/* The change of an object by its name on one side, or NULL, also when nothing is left to do for it. */
static const struct bough__schema_change *change_of(const struct bough__script *script, const char *type,
                                                    const char *name, bool in_from)
{
    for (size_t i = 0; i < script->schema->count; i++) {
        const struct bough__schema_change *change = &script->schema->items[i];
        bool is_there = change->change != (in_from ? BOUGH_ADDED : BOUGH_REMOVED);

        if (is_there && !is_made(script, change) && !strcmp(change->type, type) && is_wanted_change(script, change) &&
            !strcmp(in_from ? name_in_from(change) : change->name, name))
            return change;
    }
    return NULL;
}

static bool may_have_other_rows(const struct bough__script *script, const char *table, bool in_from)
{
    for (size_t i = 0; i < script->schema->count; i++) {
        const struct bough__schema_change *change = &script->schema->items[i];

        if (is_made(script, change) && is_table(change) &&
            !sqlite3_stricmp(in_from ? name_in_from(change) : change->name, table))
            return true;
    }
    for (size_t i = 0; is_wanted(script, table) && i < script->contents->count; i++) {
        if (!sqlite3_stricmp(script->contents->items[i], table))
            return true;
    }
    return false;
}

/* Does an index or trigger go, or come, with its table or view, or a trigger because rows may change? */
static bool moves_with_table(const struct bough__script *script, const char *type, const char *table, bool in_from)
{
    return change_of(script, "table", table, in_from) || change_of(script, "view", table, in_from) ||
           (!strcmp(type, "trigger") && may_have_other_rows(script, table, in_from));
}

/* A comment at the end of the text must not swallow what follows. */
static void put_statement(FILE *file, const char *sql)
{
    const char *line = strrchr(sql, '\n');

    fprintf(file, "%s%s;\n", sql, strstr(line ? line : sql, "--") ? "\n" : "");
}

static void put_drop(FILE *file, const char *type, const char *name)
{
    fputs("DROP ", file);
    for (; *type; type++)
        putc(*type - 'a' + 'A', file);
    fputs(" IF EXISTS ", file);
    bough__script_put_name(file, name);
    fputs(";\n", file);
}

/* Indexes, views and triggers: the drops of `from`, or what `to` has instead. */
static int put_objects(const struct bough__script *script, sqlite3 **out_failed, bool in_from)
{
    static const char drops[] = "SELECT type, name, tbl_name, sql FROM main.sqlite_schema WHERE type <> 'table' AND "
                                "sql IS NOT NULL ORDER BY type DESC, rowid";
    static const char creates[] = "SELECT type, name, tbl_name, sql FROM main.sqlite_schema WHERE type <> 'table' AND "
                                  "sql IS NOT NULL ORDER BY type = 'trigger', type, rowid";
    sqlite3 *handle = in_from ? script->from : script->to;
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(handle, in_from ? drops : creates, -1, &statement, NULL);

    *out_failed = handle;
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *words[4];

        rc = SQLITE_OK;
        for (int i = 0; i < 4; i++) {
            words[i] = (const char *)sqlite3_column_text(statement, i);
            rc = words[i] ? rc : SQLITE_NOMEM;
        }
        if (rc != SQLITE_OK ||
            !(change_of(script, words[0], words[1], in_from) || moves_with_table(script, words[0], words[2], in_from)))
            continue;
        if (in_from)
            put_drop(script->file, words[0], words[1]);
        else
            put_statement(script->file, words[3]);
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void put_tables(const struct bough__script *script)
{
    for (size_t i = 0; i < script->schema->count; i++) {
        const struct bough__schema_change *change = &script->schema->items[i];

        if (is_table(change) && is_wanted_change(script, change) && change->from_sql && !is_altered(script, change) &&
            !is_made(script, change))
            put_drop(script->file, "table", name_in_from(change));
    }
    for (size_t i = 0; i < script->schema->count; i++) {
        const struct bough__schema_change *change = &script->schema->items[i];

        if (!is_table(change) || !is_wanted_change(script, change) || !change->to_sql || is_made(script, change))
            continue;
        if (is_altered(script, change)) {
            fputs("ALTER TABLE ", script->file);
            bough__script_put_name(script->file, change->old_name);
            fputs(" RENAME TO ", script->file);
            bough__script_put_name(script->file, change->name);
            fputs(";\n", script->file);
        } else {
            put_statement(script->file, change->to_sql);
        }
    }
}

static int put_all_rows(const struct bough__script *script, sqlite3 **out_failed)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < script->schema->count; i++) {
        const struct bough__schema_change *change = &script->schema->items[i];

        if (is_table(change) && is_wanted_change(script, change) && change->to_sql)
            rc = bough__script_put_rows(
                script, out_failed, is_altered(script, change) || is_made(script, change) ? name_in_from(change) : NULL,
                change->name);
    }
    for (size_t i = 0; rc == SQLITE_OK && i < script->contents->count; i++) {
        const char *name = script->contents->items[i];

        if (is_wanted(script, name) && !change_of(script, "table", name, false))
            rc = bough__script_put_rows(script, out_failed, name, name);
    }
    return rc;
}

static int put_rebuild(const struct bough__script *script, const char *name)
{
    fputs("INSERT INTO ", script->file);
    bough__script_put_name(script->file, name);
    putc('(', script->file);
    bough__script_put_name(script->file, name);
    fputs(") VALUES ('rebuild');\n", script->file);
    return SQLITE_OK;
}

/* Full-text indexes over other tables read them when all of these are complete. */
static int put_rebuilds(const struct bough__script *script, sqlite3 **out_failed)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(script->to,
                                "SELECT name, replace(sql, ' ', '') LIKE '%content=''''%' OR "
                                "replace(sql, ' ', '') LIKE '%content=\"\"%' FROM main.sqlite_schema "
                                "WHERE type = 'table' AND rootpage = 0",
                                -1, &statement, NULL);

    *out_failed = script->to;
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        bool is_index = false;

        rc = name ? SQLITE_OK : SQLITE_NOMEM;
        if (rc == SQLITE_OK && (may_have_other_rows(script, name, false) || change_of(script, "table", name, false)))
            rc = bough__script_is_index_only(&is_index, script, name);
        if (rc == SQLITE_OK && is_index && sqlite3_column_int(statement, 1))
            fputs("-- a full-text index without content is left out: its words cannot be read back\n", script->file);
        else if (rc == SQLITE_OK && is_index)
            rc = put_rebuild(script, name);
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int read_number(sqlite3_int64 *out, sqlite3 *handle, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW)
        *out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* Numbers in the header that programs keep there. */
static int put_numbers(const struct bough__script *script, sqlite3 **out_failed)
{
    static const char *const pragmas[] = {"PRAGMA user_version", "PRAGMA application_id"};
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && !script->only_table && i < 2; i++) {
        sqlite3_int64 before = 0;
        sqlite3_int64 after = 0;

        *out_failed = script->from;
        rc = read_number(&before, script->from, pragmas[i]);
        if (rc == SQLITE_OK) {
            *out_failed = script->to;
            rc = read_number(&after, script->to, pragmas[i]);
        }
        if (rc == SQLITE_OK && before != after)
            fprintf(script->file, "%s = %lld;\n", pragmas[i], (long long)after);
    }
    return rc;
}

/* ---- counters of AUTOINCREMENT ---- */

/* From sqlite_sequence, which is there as soon as a table needs it. *out_seq is a literal, to be freed; NULL: no such
 * row. */
static int read_sequence(char **out_seq, sqlite3 *handle, const char *table)
{
    sqlite3_stmt *statement = NULL;
    int rc =
        sqlite3_prepare_v2(handle, "SELECT quote(seq) FROM main.sqlite_sequence WHERE name = ?1", -1, &statement, NULL);

    *out_seq = NULL;
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(statement, 1, table, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);

        *out_seq = text ? strdup(text) : NULL;
        rc = *out_seq ? SQLITE_DONE : SQLITE_NOMEM;
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE || rc == SQLITE_ERROR ? SQLITE_OK : rc;
}

static void put_sequence(FILE *file, const char *table, const char *seq)
{
    char *set = seq ? sqlite3_mprintf("INSERT INTO sqlite_sequence(name, seq) VALUES (%Q, %s);\n", table, seq) : NULL;
    char *drop = sqlite3_mprintf("DELETE FROM sqlite_sequence WHERE name = %Q;\n", table);

    fprintf(file, "%s%s", drop ? drop : "", set ? set : "");
    sqlite3_free(set);
    sqlite3_free(drop);
}

/* Rows that the script writes move them, too. */
static int put_sequence_of(const struct bough__script *script, sqlite3 **out_failed, const char *table)
{
    char *before = NULL;
    char *after = NULL;
    bool is_written = may_have_other_rows(script, table, false) || change_of(script, "table", table, false);
    int rc = read_sequence(&before, script->from, table);

    *out_failed = script->from;
    if (rc == SQLITE_OK) {
        *out_failed = script->to;
        rc = read_sequence(&after, script->to, table);
    }
    if (rc == SQLITE_OK && (is_written || (before && !after) || (after && (!before || strcmp(before, after) != 0))))
        put_sequence(script->file, table, after);
    free(before);
    free(after);
    return rc;
}

static int put_sequences(const struct bough__script *script, sqlite3 **out_failed)
{
    sqlite3_stmt *table = NULL;
    int rc = sqlite3_prepare_v2(script->to,
                                "SELECT s.name, c.name FROM main.sqlite_schema s, pragma_table_info(s.name, 'main') c "
                                "WHERE s.type = 'table' AND s.sql LIKE '%AUTOINCREMENT%' AND c.pk = 1",
                                -1, &table, NULL);

    *out_failed = script->to;
    while (rc == SQLITE_OK && (rc = sqlite3_step(table)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(table, 0);

        const char *column = (const char *)sqlite3_column_text(table, 1);
        int counts = 0;

        rc = name && column ? SQLITE_OK : SQLITE_NOMEM;
        if (rc == SQLITE_OK)
            rc = sqlite3_table_column_metadata(script->to, "main", name, column, NULL, NULL, NULL, NULL, &counts);
        if (rc == SQLITE_OK && counts && is_wanted(script, name))
            rc = put_sequence_of(script, out_failed, name);
    }
    sqlite3_finalize(table);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int write(const struct bough__script *script, sqlite3 **out_failed)
{
    int rc = SQLITE_OK;

    fputs("PRAGMA foreign_keys = OFF;\nPRAGMA legacy_alter_table = ON;\nBEGIN IMMEDIATE;\n", script->file);
    for (size_t i = 0; i < script->alters->statements.count; i++)
        fprintf(script->file, "%s;\n", script->alters->statements.items[i]);
    rc = put_objects(script, out_failed, true);
    if (rc == SQLITE_OK) {
        put_tables(script);
        rc = put_all_rows(script, out_failed);
    }
    if (rc == SQLITE_OK)
        rc = put_sequences(script, out_failed);
    if (rc == SQLITE_OK)
        rc = put_rebuilds(script, out_failed);
    if (rc == SQLITE_OK)
        rc = put_objects(script, out_failed, false);
    if (rc == SQLITE_OK)
        rc = put_numbers(script, out_failed);
    fputs("COMMIT;\nPRAGMA legacy_alter_table = OFF;\n", script->file);
    return rc;
}

/* A renamed column of one table would change others, too, so a script for one table alone does without. */
int bough__script_write(const struct bough__script *given, sqlite3 **out_failed)
{
    struct bough__script script = *given;
    struct bough__alters alters = {0};
    int rc = bough__alters_find(&alters, out_failed, script.from, script.to, script.schema, script.only_table == NULL);

    script.alters = &alters;
    if (rc == SQLITE_OK)
        rc = write(&script, out_failed);
    bough__alters_release(&alters);
    if (rc == SQLITE_NOMEM)
        *out_failed = NULL;
    return rc;
}
