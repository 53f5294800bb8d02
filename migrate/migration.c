/* migration.c - see migration.h. */
#include "migration.h"

#include "checksum.h"
#include "report.h"
#include "version.h"

#include <stdlib.h>
#include <string.h>

/* ---- text with places ---- */

int bough__sql_text_mark(struct bough__sql_text *text, size_t offset, unsigned line)
{
    size_t size = (text->mark_count + 1) * sizeof text->marks[0];
    struct bough__text_mark *marks = sqlite3_realloc64(text->marks, size);

    if (!marks)
        return bough__migrate_fail_memory();
    text->marks = marks;
    marks[text->mark_count++] = (struct bough__text_mark){offset, line};
    return BOUGH_OK;
}

int bough__sql_text_append(struct bough__sql_text *text, const char *bytes, size_t len_bytes, unsigned line)
{
    size_t before = text->sql ? strlen(text->sql) : 0;
    char *sql = sqlite3_realloc64(text->sql, before + len_bytes + 1);

    if (!sql)
        return bough__migrate_fail_memory();
    text->sql = sql;
    memcpy(sql + before, bytes, len_bytes);
    sql[before + len_bytes] = 0;
    return bough__sql_text_mark(text, before, line);
}

unsigned bough__sql_text_line(const struct bough__sql_text *text, size_t offset)
{
    struct bough__text_mark mark = {0, 1};
    unsigned line = 0;

    for (size_t i = 0; i < text->mark_count && text->marks[i].offset <= offset; i++)
        mark = text->marks[i];
    line = mark.line;
    for (size_t i = mark.offset; i < offset && text->sql[i]; i++)
        line += text->sql[i] == '\n';
    return line;
}

void bough__sql_text_release(struct bough__sql_text *text)
{
    sqlite3_free(text->sql);
    sqlite3_free(text->origin);
    sqlite3_free(text->marks);
    memset(text, 0, sizeof *text);
}

/* ---- migrations ---- */

void bough__migration_release(struct bough__migration *migration)
{
    sqlite3_free(migration->version);
    sqlite3_free(migration->name);
    sqlite3_free(migration->description);
    bough__sql_text_release(&migration->up);
    bough__sql_text_release(&migration->down);
    memset(migration, 0, sizeof *migration);
}

bool bough__migration_is_same(const struct bough__migration *a, const struct bough__migration *b)
{
    return a->defined_at_ms == b->defined_at_ms && !strcmp(a->name, b->name);
}

bool bough__migration_acts_ephemeral(const struct bough__migration *applied, const struct bough__migration *defined)
{
    return applied && !(applied->is_foreign && defined) ? applied->is_ephemeral : defined->is_ephemeral;
}

static bool has_other_tokens(const char *loose, const struct bough__migration *defined)
{
    char other[BOUGH__CHECKSUM_SIZE];

    return bough__checksum_loose(other, defined) != BOUGH_OK || strcmp(loose, other) != 0;
}

bool bough__migration_has_changed(const struct bough__migration *applied, const struct bough__migration *defined)
{
    struct bough__migration like = *applied;

    if (!applied->is_foreign)
        return strcmp(applied->exact, defined->exact) != 0 && has_other_tokens(applied->loose, defined);
    /* What is stored is what ran. It says nothing of the queries that made it. */
    if (defined->is_deferred)
        return false;
    like.is_ephemeral = defined->is_ephemeral;
    return bough__checksum_loose(like.loose, &like) != BOUGH_OK || has_other_tokens(like.loose, defined);
}

/* ---- lists ---- */

int bough__migrations_add(struct bough__migrations *list, struct bough__migration *migration)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 32;
        struct bough__migration *items = sqlite3_realloc64(list->items, capacity * sizeof items[0]);

        if (!items) {
            bough__migration_release(migration);
            return bough__migrate_fail_memory();
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *migration;
    memset(migration, 0, sizeof *migration);
    return BOUGH_OK;
}

static int order_of(const void *a, const void *b)
{
    const struct bough__migration *left = a;
    const struct bough__migration *right = b;

    return (left->defined_at_ms > right->defined_at_ms) - (left->defined_at_ms < right->defined_at_ms);
}

int bough__migrations_sort(struct bough__migrations *list)
{
    if (list->count)
        qsort(list->items, list->count, sizeof list->items[0], order_of);
    for (size_t i = 1; i < list->count; i++) {
        if (list->items[i - 1].defined_at_ms == list->items[i].defined_at_ms)
            return bough__migrate_fail(BOUGH_USAGE, "%s and %s have the same version", list->items[i - 1].up.origin,
                                       list->items[i].up.origin);
    }
    return BOUGH_OK;
}

static char *copy(const char *text)
{
    return sqlite3_mprintf("%s", text);
}

/* One migration of a program's; its origin is what people call it. */
static int take(struct bough__migration *out, const bough_migration *defined)
{
    char digits[BOUGH__VERSION_SIZE] = "";
    const char *name = defined->name ? defined->name : "";

    bough__version_format(digits, defined->defined_at_ms);
    out->defined_at_ms = defined->defined_at_ms;
    out->version = copy(digits);
    out->name = copy(name);
    out->up.origin = sqlite3_mprintf("%s%s%s", digits, name[0] ? " " : "", name);
    out->down.origin = sqlite3_mprintf("%s%s%s, down", digits, name[0] ? " " : "", name);
    if (defined->description && !(out->description = copy(defined->description)))
        return bough__migrate_fail_memory();
    if (!defined->build && !defined->up)
        return bough__migrate_fail(BOUGH_USAGE, "migration %s has neither up nor build", out->up.origin);
    if (!defined->build && !(out->up.sql = copy(defined->up)))
        return bough__migrate_fail_memory();
    if (!defined->build && defined->down && !(out->down.sql = copy(defined->down)))
        return bough__migrate_fail_memory();
    if (!out->version || !out->name || !out->up.origin || !out->down.origin)
        return bough__migrate_fail_memory();
    out->up.is_bare = defined->up_outside_transaction;
    out->down.is_bare = defined->down_outside_transaction;
    out->is_ephemeral = defined->ephemeral;
    out->is_deferred = defined->build != NULL;
    out->build = defined->build;
    out->build_context = defined->build_context;
    return bough__checksum_fill(out);
}

int bough__migrations_take(struct bough__migrations *out, const bough_migration *defined, size_t count)
{
    int rc = BOUGH_OK;

    memset(out, 0, sizeof *out);
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++) {
        struct bough__migration migration = {0};
        const struct bough__migration *before = i ? &out->items[i - 1] : NULL;

        rc = take(&migration, &defined[i]);
        if (rc == BOUGH_OK && before && before->defined_at_ms >= migration.defined_at_ms)
            rc = bough__migrate_fail(BOUGH_USAGE, "migrations are not in ascending order: %s stands before %s",
                                     before->up.origin, migration.up.origin);
        if (rc == BOUGH_OK)
            rc = bough__migrations_add(out, &migration);
        bough__migration_release(&migration);
    }
    if (rc != BOUGH_OK)
        bough__migrations_release(out);
    return rc;
}

struct bough__migration *bough__migrations_find(const struct bough__migrations *list, int64_t defined_at_ms)
{
    struct bough__migration key = {.defined_at_ms = defined_at_ms};

    return list->count ? bsearch(&key, list->items, list->count, sizeof key, order_of) : NULL;
}

void bough__migrations_release(struct bough__migrations *list)
{
    for (size_t i = 0; i < list->count; i++)
        bough__migration_release(&list->items[i]);
    sqlite3_free(list->items);
    memset(list, 0, sizeof *list);
}
