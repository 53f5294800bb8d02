/* violations.c - see violations.h. */
#include "violations.h"

#include "report.h"
#include "run.h"

#include <stdlib.h>
#include <string.h>

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

static char *describe(sqlite3_stmt *row)
{
    const char *table = (const char *)sqlite3_column_text(row, 0);
    const char *parent = (const char *)sqlite3_column_text(row, 2);

    if (sqlite3_column_type(row, 1) == SQLITE_NULL)
        return sqlite3_mprintf("a row of %s refers to no row of %s", table, parent);
    return sqlite3_mprintf("%s row %lld refers to no row of %s", table, sqlite3_column_int64(row, 1), parent);
}

/* A table whose keys cannot be checked, since the parent has no such key, is a violation as a whole. */
static int read_table(struct bough__violations *out, sqlite3 *db, const char *table)
{
    char *sql = sqlite3_mprintf("PRAGMA main.foreign_key_check(\"%w\")", table);
    sqlite3_stmt *statement = NULL;
    int code = sql ? sqlite3_prepare_v2(db, sql, -1, &statement, NULL) : SQLITE_NOMEM;
    int rc = BOUGH_OK;

    sqlite3_free(sql);
    while (rc == BOUGH_OK && code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        rc = add(out, describe(statement));
        code = SQLITE_OK;
    }
    if (rc == BOUGH_OK && (code & 0xFF) == SQLITE_ERROR)
        rc = add(out, sqlite3_mprintf("%s: %s", table, sqlite3_errmsg(db)));
    else if (rc == BOUGH_OK && code != SQLITE_DONE)
        rc = bough__migrate_fail_sqlite(db, code, "foreign_key_check");
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

/* Walks both sorted lists; tells of those that only `after` has. */
static size_t tell_new(const struct bough__violations *before, const struct bough__violations *after,
                       const bough_migrate_options *options, const char **out_first)
{
    size_t count = 0;

    for (size_t i = 0, j = 0; j < after->count; j++) {
        while (i < before->count && strcmp(before->items[i], after->items[j]) < 0)
            i++;
        if (i < before->count && !strcmp(before->items[i], after->items[j])) {
            i++;
            continue;
        }
        if (count++ == 0)
            *out_first = after->items[j];
        bough__run_log(options, BOUGH_MIGRATE_VIOLATION, after->items[j]);
    }
    return count;
}

int bough__violations_check(const struct bough__violations *before, sqlite3 *db, const bough_migrate_options *options)
{
    struct bough__violations after = {0};
    const char *first = NULL;
    size_t count = 0;
    int rc = bough__violations_read(&after, db);

    if (rc == BOUGH_OK)
        count = tell_new(before, &after, options, &first);
    if (count)
        rc = bough__migrate_fail(BOUGH_SQL, "new violations of foreign keys: %s%s", first,
                                 count == 1 ? "" : ", and others");
    bough__violations_release(&after);
    return rc;
}

void bough__violations_release(struct bough__violations *violations)
{
    for (size_t i = 0; i < violations->count; i++)
        sqlite3_free(violations->items[i]);
    sqlite3_free(violations->items);
    memset(violations, 0, sizeof *violations);
}
