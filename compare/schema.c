/* schema.c - differences between two schemas: see compare.h.
 *
 * Both sides are read in one order (type, then name) and merged. The text that SQLite keeps in its schema table
 * decides; it is what ALTER TABLE rewrites and what a CREATE of the user left. */
#include "compare.h"
#include "renames.h"

#include <stdlib.h>
#include <string.h>

static const char *const types[] = {"table", "index", "view", "trigger"};
#define TYPE_COUNT (sizeof types / sizeof types[0])

struct object {
    size_t rank; /* of the type */
    char *name, *table, *sql;
};

struct objects {
    struct object *items;
    size_t count;
};

const char *bough__change_name(enum bough_change change)
{
    static const char *const names[] = {"added", "removed", "changed", "renamed"};

    return names[change];
}

static void objects_release(struct objects *objects)
{
    for (size_t i = 0; i < objects->count; i++) {
        free(objects->items[i].name);
        free(objects->items[i].table);
        free(objects->items[i].sql);
    }
    free(objects->items);
    memset(objects, 0, sizeof *objects);
}

static char *copy_column(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);

    return strdup(text ? text : "");
}

static bool objects_add(struct objects *objects, sqlite3_stmt *statement, size_t rank)
{
    struct object *object = bough__grow(objects->items, objects->count, sizeof object[0]);

    if (!object)
        return false;
    objects->items = object;
    object += objects->count++;
    object->rank = rank;
    object->name = copy_column(statement, 0);
    object->table = copy_column(statement, 1);
    object->sql = copy_column(statement, 2);
    return object->name && object->table && object->sql;
}

/* The objects of one type, in the order of names by byte. */
static int read_type(struct objects *objects, sqlite3 *handle, size_t rank)
{
    static const char sql[] = "SELECT name, tbl_name, sql FROM main.sqlite_schema WHERE type = ?1 AND sql IS NOT NULL "
                              "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name COLLATE BINARY";
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(statement, 1, types[rank], -1, SQLITE_STATIC);
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW)
        rc = objects_add(objects, statement, rank) ? SQLITE_OK : SQLITE_NOMEM;
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int read_objects(struct objects *objects, sqlite3 **out_failed, sqlite3 *handle)
{
    int rc = SQLITE_OK;

    for (size_t rank = 0; rc == SQLITE_OK && rank < TYPE_COUNT; rank++)
        rc = read_type(objects, handle, rank);
    *out_failed = rc == SQLITE_OK || rc == SQLITE_NOMEM ? NULL : handle;
    return rc;
}

/* ---- merging ---- */

static int order_of(const struct object *a, const struct object *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Moves the strings of the objects into a change; either may be NULL. */
static void put_change(struct bough__schema_changes *out, struct object *from, struct object *to)
{
    struct bough__schema_change *change = &out->items[out->count++];
    struct object *kept = to ? to : from;

    memset(change, 0, sizeof *change);
    change->change = from && to ? BOUGH_CHANGED : to ? BOUGH_ADDED : BOUGH_REMOVED;
    change->type = strdup(types[kept->rank]);
    change->name = kept->name;
    change->table = kept->table;
    kept->name = kept->table = NULL;
    change->from_sql = from ? from->sql : NULL;
    change->to_sql = to ? to->sql : NULL;
    if (from)
        from->sql = NULL;
    if (to)
        to->sql = NULL;
}

static int merge(struct bough__schema_changes *out, struct objects *from, struct objects *to)
{
    size_t i = 0;
    size_t j = 0;

    out->items = calloc(from->count + to->count + 1, sizeof out->items[0]);
    if (!out->items)
        return SQLITE_NOMEM;
    while (i < from->count || j < to->count) {
        struct object *a = i < from->count ? &from->items[i] : NULL;
        struct object *b = j < to->count ? &to->items[j] : NULL;
        int order = !a ? 1 : !b ? -1 : order_of(a, b);

        if (order != 0 || strcmp(a->sql, b->sql) != 0)
            put_change(out, order <= 0 ? a : NULL, order >= 0 ? b : NULL);
        i += order <= 0;
        j += order >= 0;
    }
    for (i = 0; i < out->count; i++) {
        if (!out->items[i].type)
            return SQLITE_NOMEM;
    }
    return SQLITE_OK;
}

/* ---- renamed objects ---- */

static const char *skip_name(const char *p)
{
    char end = *p == '[' ? ']' : *p;

    if (*p != '"' && *p != '`' && *p != '\'' && *p != '[')
        return p + strcspn(p, " \t\r\n\f(");
    for (p++; *p; p++) {
        if (*p == end && (end == ']' || p[1] != end))
            return p + 1;
        if (*p == end)
            p++;
    }
    return p;
}

/* SQLite stores a statement as "CREATE", words up to the type, one name, and so on. */
const char *bough__schema_body(const char *sql, const char *type)
{
    size_t length = strlen(type);

    while (*sql) {
        size_t word = strcspn(sql, " \t\r\n\f");
        bool is_type = word == length && !sqlite3_strnicmp(sql, type, (int)length);

        sql += word;
        sql += strspn(sql, " \t\r\n\f");
        if (is_type)
            break;
    }
    sql = skip_name(sql);
    return sql + strspn(sql, " \t\r\n\f");
}

static const char *body_of(const struct bough__schema_change *change)
{
    return bough__schema_body(change->from_sql ? change->from_sql : change->to_sql, change->type);
}

static bool may_be_renamed(const struct bough__schema_change *a, const struct bough__schema_change *b)
{
    bool opposite = (a->change == BOUGH_REMOVED && b->change == BOUGH_ADDED) ||
                    (a->change == BOUGH_ADDED && b->change == BOUGH_REMOVED);

    return opposite && !strcmp(a->type, b->type) && !strcmp(body_of(a), body_of(b));
}

/* The one change that `at` can be paired with, or count when there is none or several. */
static size_t only_partner(const struct bough__schema_changes *changes, size_t at)
{
    size_t found = changes->count;

    for (size_t i = 0; i < changes->count; i++) {
        if (!may_be_renamed(&changes->items[at], &changes->items[i]))
            continue;
        if (found != changes->count)
            return changes->count;
        found = i;
    }
    return found;
}

static void release_change(struct bough__schema_change *change)
{
    free(change->type);
    free(change->name);
    free(change->table);
    free(change->old_name);
    free(change->from_sql);
    free(change->to_sql);
    memset(change, 0, sizeof *change);
}

static bool is_called(const struct bough__schema_change *change, const char *table)
{
    return !sqlite3_stricmp(change->table, table) || (change->old_name && !sqlite3_stricmp(change->old_name, table));
}

bool bough__schema_change_concerns(const struct bough__schema_changes *changes,
                                   const struct bough__schema_change *change, const char *table)
{
    bool concerns = !table || is_called(change, table);

    for (size_t i = 0; !concerns && i < changes->count; i++) {
        const struct bough__schema_change *other = &changes->items[i];

        concerns = other->change == BOUGH_RENAMED && !strcmp(other->type, "table") && is_called(other, table) &&
                   is_called(other, change->table);
    }
    return concerns;
}

void bough__schema_changes_drop(struct bough__schema_changes *changes, size_t at)
{
    release_change(&changes->items[at]);
    changes->count--;
    memmove(&changes->items[at], &changes->items[at + 1], (changes->count - at) * sizeof changes->items[0]);
}

static void pair_renamed(struct bough__schema_changes *changes)
{
    for (size_t i = 0; i < changes->count;) {
        struct bough__schema_change *removed = &changes->items[i];
        size_t partner = removed->change == BOUGH_REMOVED ? only_partner(changes, i) : changes->count;

        if (partner == changes->count || only_partner(changes, partner) != i) {
            i++;
            continue;
        }
        changes->items[partner].change = BOUGH_RENAMED;
        changes->items[partner].old_name = removed->name;
        changes->items[partner].from_sql = removed->from_sql;
        removed->name = removed->from_sql = NULL;
        bough__schema_changes_drop(changes, i);
    }
}

int bough__schema_compare(struct bough__schema_changes *out, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to)
{
    struct objects before = {NULL, 0};
    struct objects after = {NULL, 0};
    int rc = SQLITE_OK;

    memset(out, 0, sizeof *out);
    rc = read_objects(&before, out_failed, from);
    if (rc == SQLITE_OK)
        rc = read_objects(&after, out_failed, to);
    if (rc == SQLITE_OK)
        rc = merge(out, &before, &after);
    if (rc == SQLITE_OK) {
        pair_renamed(out);
        rc = bough__renames_find(out, out_failed, from, to);
    }
    if (rc != SQLITE_OK)
        bough__schema_changes_release(out);
    objects_release(&before);
    objects_release(&after);
    return rc;
}

void bough__schema_changes_release(struct bough__schema_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        release_change(&changes->items[i]);
    free(changes->items);
    memset(changes, 0, sizeof *changes);
}
