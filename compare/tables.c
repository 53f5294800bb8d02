/* tables.c - which tables of two databases hold different content: see compare.h.
 *
 * Rows are not read. A table is a tree of pages; if its root stands on the same page on both sides and no page of the
 * tree in `to` differs from the same page of `from`, the two trees are one, since every page below is reached through
 * numbers on pages that are equal. SQLite's dbstat table lists the pages of a tree. */
#include "compare.h"

#include <stdlib.h>
#include <string.h>

bool bough__pages_add(struct bough__pages *pages, uint64_t page)
{
    size_t word = (size_t)(page / 64);

    if (word >= pages->word_count) {
        size_t count = word + word / 2 + 64;
        uint64_t *words = realloc(pages->words, count * sizeof words[0]);

        if (!words)
            return false;
        memset(words + pages->word_count, 0, (count - pages->word_count) * sizeof words[0]);
        pages->words = words;
        pages->word_count = count;
    }
    pages->words[word] |= UINT64_C(1) << page % 64;
    return true;
}

bool bough__pages_has(const struct bough__pages *pages, uint64_t page)
{
    return page / 64 < pages->word_count && (pages->words[page / 64] >> page % 64 & 1);
}

void bough__pages_release(struct bough__pages *pages)
{
    free(pages->words);
    pages->words = NULL;
    pages->word_count = 0;
}

void bough__names_release(struct bough__names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    names->items = NULL;
    names->count = 0;
}

bool bough__names_add(struct bough__names *names, const char *name)
{
    char **items = realloc(names->items, (names->count + 1) * sizeof items[0]);

    if (!items)
        return false;
    names->items = items;
    names->items[names->count] = strdup(name);
    if (!names->items[names->count])
        return false;
    names->count++;
    return true;
}

/* The root page of a table, 0 when there is no such table. */
static int root_page(sqlite3_int64 *out, sqlite3 *handle, sqlite3_stmt *statement, const char *name)
{
    int rc = sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);

    *out = 0;
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : sqlite3_errcode(handle);
}

/* Does the tree of the table have a page among `pages`? */
static int tree_differs(bool *out, sqlite3_stmt *statement, const char *name, const struct bough__pages *pages)
{
    int rc = sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);

    *out = false;
    while (rc == SQLITE_OK && !*out && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        *out = bough__pages_has(pages, (uint64_t)sqlite3_column_int64(statement, 0));
        rc = SQLITE_OK;
    }
    sqlite3_reset(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

struct statements {
    sqlite3_stmt *tables, *roots, *tree;
};

static int prepare(struct statements *out, bool *out_known, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to)
{
    static const char tables[] = "SELECT name, rootpage FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 "
                                 "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name COLLATE BINARY";
    static const char roots[] = "SELECT rootpage FROM main.sqlite_schema WHERE type = 'table' AND name = ?1";
    static const char tree[] = "SELECT pageno FROM dbstat WHERE schema = 'main' AND name = ?1";
    int rc = sqlite3_prepare_v2(to, tables, -1, &out->tables, NULL);

    *out_failed = to;
    if (rc == SQLITE_OK && sqlite3_prepare_v2(to, tree, -1, &out->tree, NULL) != SQLITE_OK) {
        rc = sqlite3_errcode(to) == SQLITE_ERROR ? SQLITE_OK : sqlite3_errcode(to);
        *out_known = false;
        return rc;
    }
    if (rc == SQLITE_OK) {
        *out_failed = from;
        rc = sqlite3_prepare_v2(from, roots, -1, &out->roots, NULL);
    }
    return rc;
}

static int compare_tables(struct bough__names *out, sqlite3 **out_failed, struct statements *statements, sqlite3 *from,
                          sqlite3 *to, const struct bough__pages *pages)
{
    int rc = SQLITE_OK;

    for (;;) {
        const char *name = NULL;
        sqlite3_int64 root = 0;
        bool differs = false;

        *out_failed = to;
        rc = sqlite3_step(statements->tables);
        if (rc != SQLITE_ROW)
            return rc == SQLITE_DONE ? SQLITE_OK : rc;
        name = (const char *)sqlite3_column_text(statements->tables, 0);
        *out_failed = from;
        rc = name ? root_page(&root, from, statements->roots, name) : SQLITE_NOMEM;
        if (rc != SQLITE_OK)
            return rc;
        if (root == 0)
            continue;
        *out_failed = to;
        differs = root != sqlite3_column_int64(statements->tables, 1);
        if (!differs)
            rc = tree_differs(&differs, statements->tree, name, pages);
        if (rc == SQLITE_OK && differs && !bough__names_add(out, name))
            rc = SQLITE_NOMEM;
        if (rc != SQLITE_OK)
            return rc;
    }
}

int bough__tables_compare(struct bough__names *out, bool *out_known, sqlite3 **out_failed, sqlite3 *from, sqlite3 *to,
                          const struct bough__pages *pages)
{
    struct statements statements = {NULL, NULL, NULL};
    int rc = SQLITE_OK;

    memset(out, 0, sizeof *out);
    *out_known = true;
    rc = prepare(&statements, out_known, out_failed, from, to);
    if (rc == SQLITE_OK && *out_known)
        rc = compare_tables(out, out_failed, &statements, from, to, pages);
    if (rc == SQLITE_NOMEM)
        *out_failed = NULL;
    if (rc != SQLITE_OK)
        bough__names_release(out);
    sqlite3_finalize(statements.tables);
    sqlite3_finalize(statements.roots);
    sqlite3_finalize(statements.tree);
    return rc;
}
