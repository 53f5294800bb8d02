/* shadow.c - the tables in which FTS5, R-tree and the like keep what they show as one table: see compare.h.
 *
 * SQLite knows a shadow table by its name, that of the virtual table with a word added, when the module is there. */
#include "compare.h"

#include <stdlib.h>
#include <string.h>

struct shadow {
    char *table, *owner;
    bool is_content; /* the rows of a full-text index, under their rowids */
};
struct shadows {
    struct shadow *items;
    size_t count;
};

static void release(struct shadows *shadows)
{
    for (size_t i = 0; i < shadows->count; i++) {
        free(shadows->items[i].table);
        free(shadows->items[i].owner);
    }
    free(shadows->items);
}

static bool add(struct shadows *shadows, sqlite3_stmt *row)
{
    const char *table = (const char *)sqlite3_column_text(row, 0);
    const char *owner = (const char *)sqlite3_column_text(row, 1);
    struct shadow *items = NULL;

    if (table && owner)
        items = bough__grow(shadows->items, shadows->count, sizeof items[0]);
    if (!items)
        return false;
    shadows->items = items;
    items += shadows->count++;
    *items = (struct shadow){strdup(table), strdup(owner), sqlite3_column_int(row, 2)};
    return items->table && items->owner;
}

static int read_shadows(struct shadows *out, sqlite3 **out_failed, sqlite3 *handle)
{
    static const char sql[] =
        "SELECT s.name, v.name, s.name = v.name || '_content' COLLATE NOCASE AND "
        "(SELECT sql LIKE '%USING%fts_%' FROM main.sqlite_schema WHERE name = v.name), max(length(v.name)) "
        "FROM pragma_table_list s, pragma_table_list v "
        "WHERE s.schema = 'main' AND s.type = 'shadow' AND v.schema = 'main' AND v.type = 'virtual' "
        "AND substr(s.name, 1, length(v.name) + 1) = v.name || '_' COLLATE NOCASE GROUP BY s.name";
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);

    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW)
        rc = add(out, statement) ? SQLITE_OK : SQLITE_NOMEM;
    sqlite3_finalize(statement);
    rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
    if (rc != SQLITE_OK)
        *out_failed = rc == SQLITE_NOMEM ? NULL : handle;
    return rc;
}

static const struct shadow *find(const struct shadows *shadows, const char *table)
{
    for (size_t i = 0; i < shadows->count; i++) {
        if (!strcmp(shadows->items[i].table, table))
            return &shadows->items[i];
    }
    return NULL;
}

static bool has_content(const struct shadows *shadows, const char *owner)
{
    for (size_t i = 0; i < shadows->count; i++) {
        if (shadows->items[i].is_content && !strcmp(shadows->items[i].owner, owner))
            return true;
    }
    return false;
}

static void fold_schema(struct bough__schema_changes *schema, const struct shadows *from, const struct shadows *to)
{
    for (size_t i = schema->count; i-- > 0;) {
        const struct bough__schema_change *change = &schema->items[i];

        if (!strcmp(change->type, "table") && find(change->change == BOUGH_REMOVED ? from : to, change->name))
            bough__schema_changes_drop(schema, i);
    }
}

/* What the virtual table shows lies in one shadow table with the same rowids, or nobody knows where. */
static int take_ranges(struct bough__table_pages *owner, const struct bough__table_pages *content)
{
    owner->is_narrow = content->is_narrow;
    for (size_t i = 0; content->is_narrow && i < content->ranges.count; i++) {
        if (!bough__ranges_add(&owner->ranges, content->ranges.items[i].first, content->ranges.items[i].last))
            return SQLITE_NOMEM;
    }
    return SQLITE_OK;
}

static const char *old_name_of(const struct bough__schema_changes *schema, const char *name)
{
    for (size_t i = 0; i < schema->count; i++) {
        if (schema->items[i].old_name && !strcmp(schema->items[i].name, name))
            return schema->items[i].old_name;
    }
    return name;
}

static struct bough__table_pages *add_owner(struct bough__tables *tables, const struct bough__schema_changes *schema,
                                            const char *name)
{
    struct bough__table_pages *items = bough__grow(tables->items, tables->count, sizeof items[0]);

    if (!items)
        return NULL;
    tables->items = items;
    items += tables->count++;
    memset(items, 0, sizeof *items);
    items->is_virtual = true;
    items->name = strdup(name);
    items->from_name = strdup(old_name_of(schema, name));
    return items->name && items->from_name ? items : NULL;
}

static int fold_table(struct bough__tables *tables, size_t at, const struct bough__schema_changes *schema,
                      const struct shadows *to, const struct shadow *shadow)
{
    struct bough__table_pages *owner = NULL;

    tables->items[at].owner = strdup(shadow->owner);
    if (!tables->items[at].owner)
        return SQLITE_NOMEM;
    for (size_t i = 0; !owner && i < tables->count; i++)
        owner = strcmp(tables->items[i].name, shadow->owner) ? NULL : &tables->items[i];
    if (!owner) {
        owner = add_owner(tables, schema, shadow->owner);
        if (!owner)
            return SQLITE_NOMEM;
        owner->is_narrow = has_content(to, shadow->owner);
    }
    return shadow->is_content ? take_ranges(owner, &tables->items[at]) : SQLITE_OK;
}

static int fold_tables(struct bough__tables *tables, const struct bough__schema_changes *schema,
                       const struct shadows *to)
{
    size_t count = tables->count;
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < count; i++) {
        const struct shadow *shadow = find(to, tables->items[i].name);

        if (shadow)
            rc = fold_table(tables, i, schema, to, shadow);
    }
    return rc;
}

int bough__shadows_fold(struct bough__schema_changes *schema, struct bough__tables *tables, sqlite3 **out_failed,
                        sqlite3 *from, sqlite3 *to)
{
    struct shadows before = {NULL, 0};
    struct shadows after = {NULL, 0};
    int rc = read_shadows(&before, out_failed, from);

    if (rc == SQLITE_OK)
        rc = read_shadows(&after, out_failed, to);
    if (rc == SQLITE_OK) {
        *out_failed = NULL;
        rc = fold_tables(tables, schema, &after);
        fold_schema(schema, &before, &after);
    }
    release(&before);
    release(&after);
    return rc;
}
