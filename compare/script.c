/* script.c - the script of SQL that turns one database into another: see script.h.
 *
 * What could be in the way of the rows goes first: triggers, views and indexes that change, and all triggers of tables
 * that change. Then come tables, then rows (what is removed before what is added), and at last indexes, views and
 * triggers as `to` has them. Foreign keys are off, and ALTER TABLE leaves other objects alone, because what names a
 * renamed table has changed in `to` itself. */
#include "script.h"

#include "table_rows.h"

#include <stdlib.h>
#include <string.h>

/* ---- words of SQL ---- */

static void put_name(FILE *file, const char *name)
{
    putc('"', file);
    for (; *name; name++) {
        if (*name == '"')
            putc('"', file);
        putc(*name, file);
    }
    putc('"', file);
}

static void put_hex(FILE *file, const unsigned char *bytes, int length)
{
    fputs("x'", file);
    for (int i = 0; i < length; i++)
        fprintf(file, "%02x", bytes[i]);
    putc('\'', file);
}

/* A zero byte would end the script. */
static void put_text(FILE *file, const char *text, int length)
{
    if (length && memchr(text, 0, (size_t)length)) {
        fputs("CAST(", file);
        put_hex(file, (const unsigned char *)text, length);
        fputs(" AS TEXT)", file);
        return;
    }
    putc('\'', file);
    for (int i = 0; i < length; i++) {
        if (text[i] == '\'')
            putc('\'', file);
        putc(text[i], file);
    }
    putc('\'', file);
}

/* The fewest digits that SQLite reads as the same number; its own reading is not exact for all of them. */
static int put_real(FILE *file, sqlite3 *handle, double value)
{
    sqlite3_stmt *statement = NULL;
    char text[64] = "";
    bool same = false;
    int rc = sqlite3_prepare_v2(handle, "SELECT CAST(?1 AS REAL)", -1, &statement, NULL);

    for (int digits = 15; rc == SQLITE_OK && !same && digits <= 20; digits++) {
        sqlite3_snprintf((int)sizeof text, text, "%!.*g", digits, value);
        rc = sqlite3_bind_text(statement, 1, text, -1, SQLITE_STATIC);
        if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW)
            rc = SQLITE_OK;
        same = rc == SQLITE_OK && sqlite3_column_double(statement, 0) >= value &&
               sqlite3_column_double(statement, 0) <= value;
        sqlite3_reset(statement);
    }
    sqlite3_finalize(statement);
    if (value > 1.7976931348623157e308 || value < -1.7976931348623157e308)
        snprintf(text, sizeof text, "%s", value > 0 ? "9e999" : "-9e999");
    fputs(text, file);
    return rc;
}

static int put_value(FILE *file, sqlite3_stmt *row, size_t column)
{
    int at = (int)column;
    const void *bytes = NULL;

    switch (sqlite3_column_type(row, at)) {
    case SQLITE_NULL:
        fputs("NULL", file);
        break;
    case SQLITE_INTEGER:
        if (sqlite3_column_int64(row, at) == INT64_MIN)
            fputs("(-9223372036854775807 - 1)", file);
        else
            fprintf(file, "%lld", (long long)sqlite3_column_int64(row, at));
        break;
    case SQLITE_FLOAT:
        return put_real(file, sqlite3_db_handle(row), sqlite3_column_double(row, at));
    case SQLITE_TEXT:
        bytes = sqlite3_column_text(row, at);
        put_text(file, bytes, sqlite3_column_bytes(row, at));
        break;
    default:
        bytes = sqlite3_column_blob(row, at);
        put_hex(file, bytes, sqlite3_column_bytes(row, at));
    }
    return SQLITE_OK;
}

/* ---- rows ---- */

struct writer {
    FILE *file;
    const struct bough__rows *rows;
    bool adds; /* the second pass: what is added, after what is removed */
};

static int put_key_condition(const struct writer *writer, sqlite3_stmt *row)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < writer->rows->key_count; i++) {
        const struct bough__column *column = &writer->rows->columns[i];

        fputs(i ? " AND " : " WHERE ", writer->file);
        put_name(writer->file, column->name);
        fputs(" = ", writer->file);
        rc = put_value(writer->file, row, i);
        if (!column->is_own_collation && sqlite3_column_type(row, (int)i) == SQLITE_TEXT)
            fprintf(writer->file, " COLLATE %s", column->collation);
    }
    return rc;
}

/* One of the rows that are equal to this one, in every column and type. */
static int put_whole_condition(const struct writer *writer, sqlite3_stmt *row)
{
    FILE *file = writer->file;
    int rc = SQLITE_OK;

    fprintf(file, " WHERE %s = (SELECT %s FROM ", writer->rows->rowid, writer->rows->rowid);
    put_name(file, writer->rows->to_name);
    for (size_t i = 0; rc == SQLITE_OK && i < writer->rows->count; i++) {
        int type = sqlite3_column_type(row, (int)i);

        fputs(i ? " AND " : " WHERE ", file);
        put_name(file, writer->rows->columns[i].name);
        fputs(" IS ", file);
        rc = put_value(file, row, i);
        if (type == SQLITE_TEXT)
            fputs(" COLLATE BINARY", file);
        if (type == SQLITE_INTEGER || type == SQLITE_FLOAT) {
            fputs(" AND typeof(", file);
            put_name(file, writer->rows->columns[i].name);
            fputs(type == SQLITE_INTEGER ? ") = 'integer'" : ") = 'real'", file);
        }
    }
    fputs(" LIMIT 1)", file);
    return rc;
}

static int put_condition(const struct writer *writer, sqlite3_stmt *row)
{
    int rc = writer->rows->key_count && !bough__rows_key_is_null(writer->rows, row) ? put_key_condition(writer, row)
                                                                                    : put_whole_condition(writer, row);

    fputs(";\n", writer->file);
    return rc;
}

static int put_delete(const struct writer *writer, sqlite3_stmt *row)
{
    fputs("DELETE FROM ", writer->file);
    put_name(writer->file, writer->rows->to_name);
    return put_condition(writer, row);
}

static int put_update(const struct writer *writer, sqlite3_stmt *from, sqlite3_stmt *to)
{
    const char *word = " SET ";
    int rc = SQLITE_OK;

    fputs("UPDATE ", writer->file);
    put_name(writer->file, writer->rows->to_name);
    for (size_t i = 0; rc == SQLITE_OK && i < writer->rows->count; i++) {
        if (bough__value_equal(from, to, (int)i))
            continue;
        fputs(word, writer->file);
        word = ", ";
        put_name(writer->file, writer->rows->columns[i].name);
        fputs(" = ", writer->file);
        rc = put_value(writer->file, to, i);
    }
    return rc == SQLITE_OK ? put_condition(writer, from) : rc;
}

static int put_insert(const struct writer *writer, sqlite3_stmt *row)
{
    FILE *file = writer->file;
    int rc = SQLITE_OK;

    fputs("INSERT INTO ", file);
    put_name(file, writer->rows->to_name);
    for (size_t i = 0; i < writer->rows->count; i++) {
        fputs(i ? ", " : "(", file);
        put_name(file, writer->rows->columns[i].name);
    }
    for (size_t i = 0; rc == SQLITE_OK && i < writer->rows->count; i++) {
        fputs(i ? ", " : ") VALUES (", file);
        rc = put_value(file, row, i);
    }
    fputs(writer->rows->count ? ");\n" : " DEFAULT VALUES;\n", file);
    return rc;
}

/* Where two changed rows could hold one value of a UNIQUE index for a moment, a change is a removal and an addition. */
static int put_change(void *context, enum bough_change change, sqlite3_stmt *from, sqlite3_stmt *to)
{
    const struct writer *writer = context;
    bool updates = change == BOUGH_CHANGED && !writer->rows->has_unique;

    if (writer->adds)
        return to && !updates ? put_insert(writer, to) : SQLITE_OK;
    if (updates)
        return put_update(writer, from, to);
    return from ? put_delete(writer, from) : SQLITE_OK;
}

/* Rows that only their rowid tells apart, in a table whose columns take all names of it. */
static bool needs_whole(const struct bough__rows *rows)
{
    return (rows->key_count == 0 || rows->key_may_be_null) && !rows->rowid;
}

/* ---- tables whose content belongs to another one ---- */

static int find_text(char **out, sqlite3 *handle, const char *sql, const char *name)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);

    *out = NULL;
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);

        *out = text ? strdup(text) : NULL;
        rc = text && !*out ? SQLITE_NOMEM : SQLITE_DONE;
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* A full-text index over another table, or over nothing that it kept. */
static int is_index_only(bool *out, const struct bough__script *script, const char *name)
{
    char *found = NULL;
    int rc = find_text(&found, script->to,
                       "SELECT name FROM main.sqlite_schema WHERE name = ?1 AND sql LIKE '%USING%fts_%' AND NOT EXISTS "
                       "(SELECT 1 FROM main.sqlite_schema WHERE name = ?1 || '_content')",
                       name);

    *out = found != NULL;
    free(found);
    return rc;
}

static int put_rebuild(const struct bough__script *script, const char *name)
{
    fputs("INSERT INTO ", script->file);
    put_name(script->file, name);
    putc('(', script->file);
    put_name(script->file, name);
    fputs(") VALUES ('rebuild');\n", script->file);
    return SQLITE_OK;
}

static int walk(struct writer *writer, sqlite3 **out_failed)
{
    struct bough__row_counts counts = {0};

    return bough__rows_walk(&counts, out_failed, writer->rows, put_change, writer);
}

static int open_rows(struct bough__rows *out, sqlite3 **out_failed, const struct bough__script *script,
                     const char *from_name, const char *name)
{
    int rc = bough__rows_open(out, out_failed, script->from, from_name, script->to, name);

    if (rc == SQLITE_OK)
        bough__rows_narrow(out, bough__tables_find(script->tables, name));
    if (rc != SQLITE_OK || !from_name || !needs_whole(out))
        return rc;
    bough__rows_release(out);
    fputs("DELETE FROM ", script->file);
    put_name(script->file, name);
    fputs(";\n", script->file);
    return bough__rows_open(out, out_failed, script->from, NULL, script->to, name);
}

/* from_name is NULL where the table is new or begins anew. */
static int put_rows(const struct bough__script *script, sqlite3 **out_failed, const char *from_name, const char *name)
{
    struct bough__rows rows = {0};
    struct writer writer = {script->file, &rows, false};
    bool is_index = false;
    int rc = is_index_only(&is_index, script, name);

    *out_failed = script->to;
    if (rc != SQLITE_OK || is_index)
        return rc;
    rc = open_rows(&rows, out_failed, script, from_name, name);
    if (rc == SQLITE_OK && rows.from)
        rc = walk(&writer, out_failed);
    writer.adds = true;
    if (rc == SQLITE_OK)
        rc = walk(&writer, out_failed);
    bough__rows_release(&rows);
    return rc;
}

/* ---- the schema ---- */

static bool is_wanted(const struct bough__script *script, const char *table)
{
    return !script->only_table || (table && !sqlite3_stricmp(script->only_table, table));
}

static bool is_wanted_change(const struct bough__script *script, const struct bough__schema_change *change)
{
    return bough__schema_change_concerns(change, script->only_table);
}

static bool is_table(const struct bough__schema_change *change)
{
    return !strcmp(change->type, "table");
}

/* ALTER TABLE takes a new name only if it differs by more than its case. */
static bool is_altered(const struct bough__schema_change *change)
{
    return change->change == BOUGH_RENAMED && sqlite3_stricmp(change->old_name, change->name) != 0;
}

static const char *name_in_from(const struct bough__schema_change *change)
{
    return change->old_name ? change->old_name : change->name;
}

/* The change of an object by its name on one side, or NULL. */
static const struct bough__schema_change *change_of(const struct bough__script *script, const char *type,
                                                    const char *name, bool in_from)
{
    for (size_t i = 0; i < script->schema->count; i++) {
        const struct bough__schema_change *change = &script->schema->items[i];
        bool is_there = change->change != (in_from ? BOUGH_ADDED : BOUGH_REMOVED);

        if (is_there && !strcmp(change->type, type) && is_wanted_change(script, change) &&
            !strcmp(in_from ? name_in_from(change) : change->name, name))
            return change;
    }
    return NULL;
}

static bool has_other_rows(const struct bough__script *script, const char *table)
{
    for (size_t i = 0; is_wanted(script, table) && i < script->contents->count; i++) {
        if (!sqlite3_stricmp(script->contents->items[i], table))
            return true;
    }
    return false;
}

/* Does an index or trigger go, or come, with its table or view, or a trigger because rows change? */
static bool moves_with_table(const struct bough__script *script, const char *type, const char *table, bool in_from)
{
    return change_of(script, "table", table, in_from) || change_of(script, "view", table, in_from) ||
           (!strcmp(type, "trigger") && has_other_rows(script, table));
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
    put_name(file, name);
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

        if (is_table(change) && is_wanted_change(script, change) && change->from_sql && !is_altered(change))
            put_drop(script->file, "table", name_in_from(change));
    }
    for (size_t i = 0; i < script->schema->count; i++) {
        const struct bough__schema_change *change = &script->schema->items[i];

        if (!is_table(change) || !is_wanted_change(script, change) || !change->to_sql)
            continue;
        if (is_altered(change)) {
            fputs("ALTER TABLE ", script->file);
            put_name(script->file, change->old_name);
            fputs(" RENAME TO ", script->file);
            put_name(script->file, change->name);
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
            rc = put_rows(script, out_failed, is_altered(change) ? change->old_name : NULL, change->name);
    }
    for (size_t i = 0; rc == SQLITE_OK && i < script->contents->count; i++) {
        const char *name = script->contents->items[i];

        if (is_wanted(script, name) && !change_of(script, "table", name, false))
            rc = put_rows(script, out_failed, name, name);
    }
    return rc;
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
        if (rc == SQLITE_OK && (has_other_rows(script, name) || change_of(script, "table", name, false)))
            rc = is_index_only(&is_index, script, name);
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

int bough__script_write(const struct bough__script *script, sqlite3 **out_failed)
{
    int rc = SQLITE_OK;

    fputs("PRAGMA foreign_keys = OFF;\nPRAGMA legacy_alter_table = ON;\nBEGIN IMMEDIATE;\n", script->file);
    rc = put_objects(script, out_failed, true);
    if (rc == SQLITE_OK) {
        put_tables(script);
        rc = put_all_rows(script, out_failed);
    }
    if (rc == SQLITE_OK)
        rc = put_rebuilds(script, out_failed);
    if (rc == SQLITE_OK)
        rc = put_objects(script, out_failed, false);
    if (rc == SQLITE_OK)
        rc = put_numbers(script, out_failed);
    fputs("COMMIT;\nPRAGMA legacy_alter_table = OFF;\n", script->file);
    if (rc == SQLITE_NOMEM)
        *out_failed = NULL;
    return rc;
}
