/* violations.c - see violations.h.
 *
 * Foreign keys are looked at once, when a run is done: that costs a scan of every table that has some, and a migration
 * may break for the moment what a later one mends. Only where there is something to complain about the states between
 * the migrations are looked at, from the last one back: a violation was brought by the step before which it was not
 * there. */
#include "violations.h"

#include "report.h"
#include "run.h"

#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

static int add(struct bough__violations *list, char *text)
{
    if (!text)
        return bough__migrate_fail_memory();
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 16;
        char **items = sqlite3_realloc64(list->items, capacity * sizeof items[0]);

        if (!items) {
            sqlite3_free(text);
            return bough__migrate_fail_memory();
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = text;
    return BOUGH_OK;
}

/* A query for the keys of the rows that violate foreign key ?2 of table ?1, which has no rowids. */
static const char keyed_query[] =
    "SELECT printf('SELECT %s FROM main.\"%w\" c WHERE %s%s', "
    "(SELECT group_concat(printf('quote(c.\"%w\")', name), ' || '', '' || ') FROM "
    "(SELECT name FROM pragma_table_info(?1, 'main') WHERE pk > 0 ORDER BY pk)), ?1, "
    "group_concat(printf('c.\"%w\" IS NOT NULL', f.\"from\"), ' AND '), "
    "CASE WHEN EXISTS (SELECT 1 FROM pragma_table_info(f.\"table\", 'main')) THEN "
    "printf(' AND NOT EXISTS (SELECT 1 FROM main.\"%w\" p WHERE %s)', f.\"table\", "
    "group_concat(printf('p.\"%w\" = c.\"%w\"', coalesce(f.\"to\", "
    "(SELECT name FROM pragma_table_info(f.\"table\", 'main') WHERE pk = f.seq + 1)), f.\"from\"), ' AND ')) "
    "ELSE '' END) FROM pragma_foreign_key_list(?1, 'main') f WHERE f.id = ?2";

static char *make_keyed_query(sqlite3 *db, const char *table, int key)
{
    sqlite3_stmt *statement = NULL;
    char *sql = NULL;

    if (sqlite3_prepare_v2(db, keyed_query, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_bind_text(statement, 1, table, -1, SQLITE_STATIC) == SQLITE_OK &&
        sqlite3_bind_int(statement, 2, key) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
        sql = sqlite3_mprintf("%s", sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return sql;
}

/* The `count` rows of a table without rowids that violate one of its keys. Where comparing finds fewer of them than
 * SQLite's own check, which converts values as the parent's column would, the rest stays without a name. */
static int read_keyed(struct bough__violations *out, sqlite3 *db, const char *table, const char *parent, int key,
                      size_t count)
{
    char *sql = make_keyed_query(db, table, key);
    sqlite3_stmt *statement = NULL;
    int rc = BOUGH_OK;

    if (sql && sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK) {
        while (rc == BOUGH_OK && count > 0 && sqlite3_step(statement) == SQLITE_ROW) {
            rc = add(out, sqlite3_mprintf("%s row (%s) refers to no row of %s", table,
                                          sqlite3_column_text(statement, 0), parent));
            count--;
        }
    }
    for (; rc == BOUGH_OK && count > 0; count--)
        rc = add(out, sqlite3_mprintf("a row of %s refers to no row of %s", table, parent));
    sqlite3_finalize(statement);
    sqlite3_free(sql);
    return rc;
}

/* How many rows of a table without rowids violate each of its keys. */
struct keyed {
    struct keyed_count {
        char *parent;
        int key;
        size_t count;
    } *items;
    size_t count;
};

static int count_keyed(struct keyed *keyed, const char *parent, int key)
{
    struct keyed_count *items = NULL;

    for (size_t i = 0; i < keyed->count; i++) {
        if (keyed->items[i].key == key)
            return keyed->items[i].count++, BOUGH_OK;
    }
    items = sqlite3_realloc64(keyed->items, (keyed->count + 1) * sizeof items[0]);
    if (!items)
        return bough__migrate_fail_memory();
    keyed->items = items;
    items[keyed->count++] = (struct keyed_count){sqlite3_mprintf("%s", parent), key, 1};
    return items[keyed->count - 1].parent ? BOUGH_OK : bough__migrate_fail_memory();
}

static int read_all_keyed(struct bough__violations *out, sqlite3 *db, const char *table, const struct keyed *keyed)
{
    int rc = BOUGH_OK;

    for (size_t i = 0; rc == BOUGH_OK && i < keyed->count; i++)
        rc = read_keyed(out, db, table, keyed->items[i].parent, keyed->items[i].key, keyed->items[i].count);
    return rc;
}

static void release_keyed(struct keyed *keyed)
{
    for (size_t i = 0; i < keyed->count; i++)
        sqlite3_free(keyed->items[i].parent);
    sqlite3_free(keyed->items);
}

static int take_row(struct bough__violations *out, const char *table, struct keyed *keyed, sqlite3_stmt *row)
{
    const char *parent = (const char *)sqlite3_column_text(row, 2);

    if (sqlite3_column_type(row, 1) == SQLITE_NULL)
        return count_keyed(keyed, parent, sqlite3_column_int(row, 3));
    return add(out, sqlite3_mprintf("%s row %lld refers to no row of %s", table, sqlite3_column_int64(row, 1), parent));
}

/* A table whose keys cannot be checked, since the parent has no such key, is a violation as a whole. */
static int read_table(struct bough__violations *out, sqlite3 *db, const char *table)
{
    char *sql = sqlite3_mprintf("PRAGMA main.foreign_key_check(\"%w\")", table);
    sqlite3_stmt *statement = NULL;
    struct keyed keyed = {0};
    int code = sql ? sqlite3_prepare_v2(db, sql, -1, &statement, NULL) : SQLITE_NOMEM;
    int rc = BOUGH_OK;

    sqlite3_free(sql);
    while (rc == BOUGH_OK && code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        rc = take_row(out, table, &keyed, statement);
        code = SQLITE_OK;
    }
    if (rc == BOUGH_OK && (code & 0xFF) == SQLITE_ERROR)
        rc = add(out, sqlite3_mprintf("%s: %s", table, sqlite3_errmsg(db)));
    else if (rc == BOUGH_OK && code != SQLITE_DONE)
        rc = bough__migrate_fail_sqlite(db, code, "foreign_key_check");
    if (rc == BOUGH_OK)
        rc = read_all_keyed(out, db, table, &keyed);
    release_keyed(&keyed);
    sqlite3_finalize(statement);
    return rc;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int bough__violations_read(struct bough__violations *out, sqlite3 *db)
{
    static const char sql[] = "SELECT s.name FROM main.sqlite_schema s WHERE s.type = 'table' AND EXISTS "
                              "(SELECT 1 FROM pragma_foreign_key_list(s.name, 'main'))";
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    int rc = BOUGH_OK;

    memset(out, 0, sizeof *out);
    while (rc == BOUGH_OK && code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        rc = read_table(out, db, (const char *)sqlite3_column_text(statement, 0));
        code = SQLITE_OK;
    }
    if (rc == BOUGH_OK && code != SQLITE_DONE)
        rc = bough__migrate_fail_sqlite(db, code, "foreign keys");
    sqlite3_finalize(statement);
    if (out->count)
        qsort(out->items, out->count, sizeof out->items[0], by_text);
    if (rc != BOUGH_OK)
        bough__violations_release(out);
    return rc;
}

void bough__violations_release(struct bough__violations *violations)
{
    for (size_t i = 0; i < violations->count; i++)
        sqlite3_free(violations->items[i]);
    sqlite3_free(violations->items);
    memset(violations, 0, sizeof *violations);
}

/* ---- what is new, and since when ---- */

/* Walks both sorted lists, and moves to `out` what only `list` has. Both stay sorted. */
static int take_new(struct bough__violations *out, struct bough__violations *list,
                    const struct bough__violations *other)
{
    size_t kept = 0;
    int rc = BOUGH_OK;

    for (size_t i = 0, j = 0; j < list->count; j++) {
        while (i < other->count && strcmp(other->items[i], list->items[j]) < 0)
            i++;
        if (rc != BOUGH_OK || (i < other->count && !strcmp(other->items[i], list->items[j]))) {
            i += i < other->count;
            list->items[kept++] = list->items[j];
        } else {
            rc = add(out, list->items[j]);
        }
    }
    list->count = kept;
    return rc;
}

/* Puts the origin of the step in front of those from `first` on. */
static int name_origin(struct bough__violations *list, size_t first, const char *origin)
{
    for (size_t i = first; i < list->count; i++) {
        char *named = sqlite3_mprintf("%s: %s", origin, list->items[i]);

        if (!named)
            return bough__migrate_fail_memory();
        sqlite3_free(list->items[i]);
        list->items[i] = named;
    }
    return BOUGH_OK;
}

/* What the step brought of `fresh` moves to `out`: what was not violated before it. */
static int take_of_step(struct bough__violations *out, struct bough__violations *fresh, size_t step,
                        const struct bough__steps *steps)
{
    struct bough__violations before = {0};
    size_t first = out->count;
    int rc = step ? steps->before(steps->context, step, &before) : BOUGH_OK;

    if (rc == BOUGH_OK)
        rc = take_new(out, fresh, &before);
    if (rc == BOUGH_OK)
        rc = name_origin(out, first, steps->origin(steps->context, step));
    bough__violations_release(&before);
    return rc;
}

static void turn_round(char **items, size_t first, size_t end)
{
    while (end > first + 1) {
        char *item = items[first];

        items[first++] = items[--end];
        items[end] = item;
    }
}

/* They are found from the last step on, and told from the first on; those of one step stay sorted. */
static int find_steps(struct bough__violations *out, struct bough__violations *fresh, const struct bough__steps *steps)
{
    int rc = BOUGH_OK;

    for (size_t step = steps->count; rc == BOUGH_OK && fresh->count && step-- > 0;) {
        size_t first = out->count;

        rc = take_of_step(out, fresh, step, steps);
        turn_round(out->items, first, out->count);
    }
    turn_round(out->items, 0, out->count);
    return rc;
}

int bough__violations_find(struct bough__violations *out, const struct bough__violations *before, sqlite3 *db,
                           const struct bough__steps *steps)
{
    struct bough__violations after = {0};
    struct bough__violations fresh = {0};
    int rc = bough__violations_read(&after, db);

    memset(out, 0, sizeof *out);
    if (rc == BOUGH_OK)
        rc = take_new(&fresh, &after, before);
    if (rc == BOUGH_OK)
        rc = find_steps(out, &fresh, steps);
    bough__violations_release(&fresh);
    bough__violations_release(&after);
    if (rc != BOUGH_OK)
        bough__violations_release(out);
    return rc;
}

int bough__violations_check(const struct bough__violations *before, sqlite3 *db, const struct bough__steps *steps,
                            const bough_migrate_options *options)
{
    struct bough__violations fresh = {0};
    int rc = bough__violations_find(&fresh, before, db, steps);

    for (size_t i = 0; i < fresh.count; i++)
        bough__run_log(options, BOUGH_MIGRATE_VIOLATION, fresh.items[i]);
    if (fresh.count)
        rc = bough__migrate_fail(BOUGH_SQL, "new violations of foreign keys: %s%s", fresh.items[0],
                                 fresh.count == 1 ? "" : ", and others");
    bough__violations_release(&fresh);
    return rc;
}

/* ---- a single step ---- */

static const char *origin_of_one(void *context, size_t step)
{
    (void)step;
    return context;
}

struct bough__steps bough__steps_of_one(const char *origin)
{
    struct bough__steps steps = {(void *)(uintptr_t)origin, 1, origin_of_one, NULL};

    return steps;
}
