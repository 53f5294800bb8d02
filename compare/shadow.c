/* shadow.c - the tables in which FTS5, R-tree and the like keep what they show as one table: see compare.h.
 *
 * SQLite knows a shadow table by its name, that of the virtual table with a word added, when the module is there. */
#include "compare.h"

#include <stdlib.h>
#include <string.h>

struct shadows {
    struct bough__names tables, owners; /* parallel */
};

static void release(struct shadows *shadows)
{
    bough__names_release(&shadows->tables);
    bough__names_release(&shadows->owners);
}

static int read_shadows(struct shadows *out, sqlite3 **out_failed, sqlite3 *handle)
{
    static const char sql[] =
        "SELECT s.name, v.name, max(length(v.name)) FROM pragma_table_list s, pragma_table_list v "
        "WHERE s.schema = 'main' AND s.type = 'shadow' AND v.schema = 'main' AND v.type = 'virtual' "
        "AND substr(s.name, 1, length(v.name) + 1) = v.name || '_' COLLATE NOCASE GROUP BY s.name";
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);

    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *table = (const char *)sqlite3_column_text(statement, 0);
        const char *owner = (const char *)sqlite3_column_text(statement, 1);
        bool added = table && owner && bough__names_add(&out->tables, table) && bough__names_add(&out->owners, owner);

        rc = added ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_finalize(statement);
    rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
    if (rc != SQLITE_OK)
        *out_failed = rc == SQLITE_NOMEM ? NULL : handle;
    return rc;
}

static size_t find(const struct bough__names *names, const char *name)
{
    size_t i = 0;

    while (i < names->count && strcmp(names->items[i], name) != 0)
        i++;
    return i;
}

static void fold_schema(struct bough__schema_changes *schema, const struct shadows *from, const struct shadows *to)
{
    for (size_t i = schema->count; i-- > 0;) {
        const struct bough__schema_change *change = &schema->items[i];
        const struct bough__names *shadows = change->change == BOUGH_REMOVED ? &from->tables : &to->tables;

        if (!strcmp(change->type, "table") && find(shadows, change->name) < shadows->count)
            bough__schema_changes_drop(schema, i);
    }
}

static int fold_contents(struct bough__names *contents, const struct shadows *to)
{
    for (size_t i = contents->count; i-- > 0;) {
        size_t at = find(&to->tables, contents->items[i]);

        if (at == to->tables.count)
            continue;
        free(contents->items[i]);
        contents->count--;
        memmove(&contents->items[i], &contents->items[i + 1], (contents->count - i) * sizeof contents->items[0]);
        if (find(contents, to->owners.items[at]) == contents->count &&
            !bough__names_add(contents, to->owners.items[at]))
            return SQLITE_NOMEM;
    }
    return SQLITE_OK;
}

int bough__shadows_fold(struct bough__schema_changes *schema, struct bough__names *contents, sqlite3 **out_failed,
                        sqlite3 *from, sqlite3 *to)
{
    struct shadows before = {{NULL, 0}, {NULL, 0}};
    struct shadows after = {{NULL, 0}, {NULL, 0}};
    int rc = read_shadows(&before, out_failed, from);

    if (rc == SQLITE_OK)
        rc = read_shadows(&after, out_failed, to);
    if (rc == SQLITE_OK) {
        fold_schema(schema, &before, &after);
        rc = fold_contents(contents, &after);
        *out_failed = NULL;
    }
    release(&before);
    release(&after);
    return rc;
}
