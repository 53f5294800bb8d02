/* outcome.c - schema and tables of one database against another: see outcome.h.
 *
 * Pages say which tables to read. A table whose pages moved while its rows stayed has not changed. */
#include "outcome.h"

#include <stdlib.h>
#include <string.h>

static bool is_listed(const struct bough__outcome *outcome, const char *name)
{
    for (size_t i = 0; i < outcome->table_count; i++) {
        if (!strcmp(outcome->tables[i].name, name))
            return true;
    }
    return false;
}

static bool add_table(struct bough__outcome *outcome, const char *name, const char *old_name, enum bough_change change,
                      bool has_other_sql)
{
    struct bough__table_outcome *table = &outcome->tables[outcome->table_count++];

    *table = (struct bough__table_outcome){.change = change, .has_other_sql = has_other_sql};
    table->name = strdup(name);
    table->old_name = old_name ? strdup(old_name) : NULL;
    return table->name && (table->old_name || !old_name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct bough__table_outcome *)a)->name, ((const struct bough__table_outcome *)b)->name);
}

static int list_tables(struct bough__outcome *outcome, const char *only_table)
{
    const struct bough__schema_changes *schema = &outcome->schema;
    const struct bough__tables *contents = &outcome->contents;
    bool done = false;

    outcome->tables = calloc(schema->count + contents->count + 1, sizeof outcome->tables[0]);
    done = outcome->tables != NULL;
    for (size_t i = 0; done && i < schema->count; i++) {
        const struct bough__schema_change *change = &schema->items[i];

        if (!strcmp(change->type, "table") && bough__schema_change_concerns(schema, change, only_table))
            done = add_table(outcome, change->name, change->old_name, change->change, true);
    }
    for (size_t i = 0; done && i < contents->count; i++) {
        const struct bough__table_pages *table = &contents->items[i];

        if (!table->owner && !is_listed(outcome, table->name) &&
            (!only_table || !sqlite3_stricmp(only_table, table->name)))
            done = add_table(outcome, table->name, NULL, BOUGH_CHANGED, false);
    }
    if (!done)
        return SQLITE_NOMEM;
    qsort(outcome->tables, outcome->table_count, sizeof outcome->tables[0], by_name);
    return SQLITE_OK;
}

int bough__outcome_open_rows(struct bough__rows *out, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                             const struct bough__outcome *outcome, const struct bough__table_outcome *table)
{
    const char *old_name = table->old_name ? table->old_name : table->name;
    int rc = bough__rows_open(out, out_failed, from, table->change == BOUGH_ADDED ? NULL : old_name, to,
                              table->change == BOUGH_REMOVED ? NULL : table->name);

    if (rc == SQLITE_OK)
        bough__rows_narrow(out, bough__tables_find(&outcome->contents, table->name));
    return rc;
}

static int note_columns(struct bough__table_outcome *table, const struct bough__rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        const struct bough__column *column = &rows->columns[i];

        if (sqlite3_stricmp(column->from_name, column->name) != 0 &&
            (!bough__names_add(&table->old_columns, column->from_name) ||
             !bough__names_add(&table->new_columns, column->name)))
            return SQLITE_NOMEM;
    }
    return SQLITE_OK;
}

/* A virtual table whose module is not there has no rows that could be read. */
static int count_rows(struct bough__outcome *outcome, struct bough__table_outcome *table, sqlite3 **out_failed,
                      sqlite3 *from, sqlite3 *to)
{
    struct bough__rows rows = {0};
    int rc = bough__outcome_open_rows(&rows, out_failed, from, to, outcome, table);

    if (rc == SQLITE_OK)
        rc = note_columns(table, &rows);
    if (rc == SQLITE_OK)
        rc = bough__rows_walk(&table->counts, out_failed, &rows, NULL, NULL);
    table->is_counted = rc == SQLITE_OK;
    if (rc == SQLITE_ERROR && (rows.is_virtual || rows.count == 0))
        rc = SQLITE_OK;
    bough__rows_release(&rows);
    return rc;
}

bool bough__table_outcome_has_rows(const struct bough__table_outcome *table)
{
    return !table->is_counted || table->counts.added || table->counts.removed || table->counts.changed;
}

static void drop_table(struct bough__outcome *outcome, size_t at)
{
    free(outcome->tables[at].name);
    free(outcome->tables[at].old_name);
    bough__names_release(&outcome->tables[at].old_columns);
    bough__names_release(&outcome->tables[at].new_columns);
    outcome->table_count--;
    memmove(&outcome->tables[at], &outcome->tables[at + 1], (outcome->table_count - at) * sizeof outcome->tables[0]);
}

static int count_tables(struct bough__outcome *outcome, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < outcome->table_count;) {
        const struct bough__table_outcome *table = &outcome->tables[i];

        rc = count_rows(outcome, &outcome->tables[i], out_failed, from, to);
        if (rc == SQLITE_OK && !table->has_other_sql && !bough__table_outcome_has_rows(table))
            drop_table(outcome, i);
        else
            i++;
    }
    return rc;
}

int bough__outcome_compare(struct bough__outcome *out, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                           const struct bough__pages *pages, const char *only_table)
{
    int rc = SQLITE_OK;

    memset(out, 0, sizeof *out);
    rc = bough__schema_compare(&out->schema, out_failed, from, to);
    if (rc == SQLITE_OK)
        rc = bough__tables_compare(&out->contents, out_failed, from, to, &out->schema, pages);
    if (rc == SQLITE_OK)
        rc = bough__shadows_fold(&out->schema, &out->contents, out_failed, from, to);
    if (rc == SQLITE_OK) {
        rc = list_tables(out, only_table);
        *out_failed = NULL;
    }
    if (rc == SQLITE_OK)
        rc = count_tables(out, out_failed, from, to);
    if (rc != SQLITE_OK)
        bough__outcome_release(out);
    return rc;
}

void bough__outcome_release(struct bough__outcome *outcome)
{
    bough__schema_changes_release(&outcome->schema);
    bough__tables_release(&outcome->contents);
    while (outcome->table_count)
        drop_table(outcome, outcome->table_count - 1);
    free(outcome->tables);
    outcome->tables = NULL;
}
