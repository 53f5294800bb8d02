/* catalog_branches.c - rows of branches, and the settings with the counter of their layers. */
#include "catalog_sql.h"
#include "error.h"
#include "os.h"
#include "row.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int bough__read_branch(struct bough__branch_row *out, const struct bough__catalog *catalog, sqlite3_stmt *statement)
{
    char key[32];
    int64_t sum = 0;
    memset(out, 0, sizeof *out);
    out->id = sqlite3_column_int64(statement, 0);
    out->parent_id = sqlite3_column_int64(statement, 2);
    out->has_base = sqlite3_column_type(statement, 3) != SQLITE_NULL;
    bool ok = !out->has_base || bough__column_digest(out->base, statement, 3);
    ok = bough__column_digest(out->head, statement, 4) && ok;
    ok = bough__column_u32(&out->layer, statement, 5) && ok;
    out->head_txn = bough__column_u64(statement, 6);
    out->held_txn = bough__column_u64(statement, 7);
    out->node_bytes = bough__column_u64(statement, 8);
    ok = bough__column_bool(&out->is_protected, statement, 9) && ok;
    out->created_at_ms = sqlite3_column_int64(statement, 10);
    out->expires_at_ms = sqlite3_column_int64(statement, 11);
    int rc = bough__column_text(&out->name, &ok, statement, 1);
    if (rc == BOUGH_OK)
        rc = bough__branch_row_sum(&sum, out);
    snprintf(key, sizeof key, "%" PRId64, out->id);
    if (rc == BOUGH_OK)
        rc = bough__check_row(catalog, statement, 12, sum, ok, "branch", key);
    if (rc != BOUGH_OK)
        bough__branch_row_clear(out);
    return rc;
}

/* The row of a statement that is bound already. */
static int find_branch(struct bough__branch_row *out, struct bough__catalog *catalog, sqlite3_stmt *statement,
                       const char *what)
{
    bool has_row = false;
    memset(out, 0, sizeof *out);
    int rc = bough__sql_step(&has_row, catalog, statement);
    if (rc == BOUGH_OK)
        rc = has_row ? bough__read_branch(out, catalog, statement)
                     : bough__fail(BOUGH_NOT_FOUND, "there is no branch %s", what);
    bough__sql_reset(statement);
    return rc;
}

int bough__catalog_branch_by_name(struct bough__branch_row *out, struct bough__catalog *catalog, const char *name)
{
    sqlite3_stmt *statement = NULL;
    memset(out, 0, sizeof *out);
    int rc = bough__sql_use(&statement, catalog, BOUGH__SQL_BRANCH_BY_NAME);
    if (rc != BOUGH_OK)
        return rc;
    bough__bind_text(statement, 1, name);
    rc = find_branch(out, catalog, statement, name);
    if (rc == BOUGH_OK && strcmp(out->name, name) != 0) { /* the index led to another row */
        bough__branch_row_clear(out);
        rc = bough__fail(BOUGH_CORRUPT, "%s: the index of branch names is damaged at %s", catalog->path, name);
    }
    return rc;
}

int bough__catalog_branch_by_id(struct bough__branch_row *out, struct bough__catalog *catalog, int64_t id)
{
    char what[32];
    sqlite3_stmt *statement = NULL;
    memset(out, 0, sizeof *out);
    int rc = bough__sql_use(&statement, catalog, BOUGH__SQL_BRANCH_BY_ID);
    if (rc != BOUGH_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, id);
    snprintf(what, sizeof what, "number %" PRId64, id);
    return find_branch(out, catalog, statement, what);
}

/* A statement of its own for each scan, so that callbacks may start others. */
static int scan_branches(struct bough__catalog *catalog, const char *sql, int64_t id, bough__branch_callback *callback,
                         void *context)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = true;
    int rc = bough__sql_prepare(&statement, catalog, sql);
    if (rc == BOUGH_OK && sqlite3_bind_parameter_count(statement) > 0)
        sqlite3_bind_int64(statement, 1, id);
    while (rc == BOUGH_OK && (rc = bough__sql_step(&has_row, catalog, statement)) == BOUGH_OK && has_row) {
        struct bough__branch_row row;
        rc = bough__read_branch(&row, catalog, statement);
        if (rc == BOUGH_OK)
            rc = callback(context, &row);
        bough__branch_row_clear(&row);
    }
    bough__sql_finalize(statement);
    return rc;
}

int bough__catalog_branches(struct bough__catalog *catalog, bough__branch_callback *callback, void *context)
{
    return scan_branches(catalog, "SELECT " BOUGH__BRANCH_COLUMNS " FROM catalog.branches ORDER BY name", 0, callback,
                         context);
}

int bough__catalog_children(struct bough__catalog *catalog, int64_t parent_id, bough__branch_callback *callback,
                            void *context)
{
    return scan_branches(
        catalog, "SELECT " BOUGH__BRANCH_COLUMNS " FROM catalog.branches WHERE parent_id = ?1 AND parent_id <> 0",
        parent_id, callback, context);
}

int bough__catalog_hidden(struct bough__catalog *catalog, bough__branch_callback *callback, void *context)
{
    return scan_branches(
        catalog, "SELECT " BOUGH__BRANCH_COLUMNS " FROM catalog.branches WHERE name >= '.' AND name < '/'", 0,
        callback, context);
}

static int write_branch(struct bough__catalog *catalog, enum bough__statement which,
                        const struct bough__branch_row *row)
{
    sqlite3_stmt *statement = NULL;
    int64_t sum = 0;
    int rc = bough__branch_row_sum(&sum, row);
    if (rc == BOUGH_OK)
        rc = bough__sql_use(&statement, catalog, which);
    if (rc != BOUGH_OK)
        return rc;
    int code = sqlite3_bind_int64(statement, 1, row->id);
    code |= bough__bind_text(statement, 2, row->name);
    code |= sqlite3_bind_int64(statement, 3, row->parent_id);
    code |= row->has_base ? bough__bind_digest(statement, 4, row->base) : sqlite3_bind_null(statement, 4);
    code |= bough__bind_digest(statement, 5, row->head);
    code |= bough__bind_u64(statement, 6, row->layer);
    code |= bough__bind_u64(statement, 7, row->head_txn);
    code |= bough__bind_u64(statement, 8, row->held_txn);
    code |= bough__bind_u64(statement, 9, row->node_bytes);
    code |= sqlite3_bind_int(statement, 10, row->is_protected);
    code |= sqlite3_bind_int64(statement, 11, row->created_at_ms);
    code |= sqlite3_bind_int64(statement, 12, row->expires_at_ms);
    code |= sqlite3_bind_int64(statement, 13, sum);
    return bough__sql_finish(catalog, statement, code == SQLITE_OK ? SQLITE_OK : SQLITE_NOMEM);
}

int bough__catalog_branch_insert(struct bough__catalog *catalog, struct bough__branch_row *row)
{
    row->id = row->layer;
    int rc = write_branch(catalog, BOUGH__SQL_BRANCH_INSERT, row);
    return rc == BOUGH_REFUSED ? bough__fail(rc, "a branch %s exists already", row->name) : rc;
}

int bough__catalog_branch_update(struct bough__catalog *catalog, const struct bough__branch_row *row)
{
    int rc = write_branch(catalog, BOUGH__SQL_BRANCH_UPDATE, row);
    if (rc == BOUGH_REFUSED)
        return bough__fail(rc, "a branch %s exists already", row->name);
    if (rc == BOUGH_OK && sqlite3_changes(catalog->db) != 1)
        return bough__fail(BOUGH_NOT_FOUND, "there is no branch %s", row->name);
    return rc;
}

int bough__catalog_branch_delete(struct bough__catalog *catalog, int64_t id)
{
    sqlite3_stmt *statement = NULL;
    int rc = bough__sql_use(&statement, catalog, BOUGH__SQL_BRANCH_DELETE);
    if (rc != BOUGH_OK)
        return rc;
    sqlite3_bind_int64(statement, 1, id);
    rc = bough__sql_finish(catalog, statement, SQLITE_OK);
    if (rc == BOUGH_OK && sqlite3_changes(catalog->db) != 1)
        rc = bough__fail(BOUGH_NOT_FOUND, "there is no branch number %" PRId64, id);
    return rc;
}

int bough__catalog_new_layer(uint32_t *out, struct bough__catalog *catalog)
{
    char *text = NULL, next[16];
    int rc = bough__catalog_setting_get(&text, catalog, "layer");
    if (rc != BOUGH_OK)
        return rc;
    uint64_t last = text ? strtoull(text, NULL, 10) : UINT64_MAX;
    free(text);
    if (last >= UINT32_MAX)
        return bough__fail(BOUGH_CORRUPT, "%s: the counter of layers is missing or used up", catalog->path);
    snprintf(next, sizeof next, "%" PRIu64, last + 1);
    rc = bough__catalog_setting_put(catalog, "layer", next);
    if (rc == BOUGH_OK)
        *out = (uint32_t)(last + 1);
    return rc;
}

int bough__read_setting(char **out, const struct bough__catalog *catalog, sqlite3_stmt *statement, const char *key)
{
    int64_t sum = 0;
    bool ok = true;
    int rc = bough__column_text(out, &ok, statement, 0);
    if (rc == BOUGH_OK)
        rc = bough__setting_sum(&sum, key, *out);
    if (rc == BOUGH_OK)
        rc = bough__check_row(catalog, statement, 1, sum, ok, "setting", key);
    if (rc != BOUGH_OK) {
        free(*out);
        *out = NULL;
    }
    return rc;
}

int bough__catalog_setting_get(char **out, struct bough__catalog *catalog, const char *key)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = false;
    *out = NULL;
    int rc = bough__sql_use(&statement, catalog, BOUGH__SQL_SETTING_GET);
    if (rc != BOUGH_OK)
        return rc;
    bough__bind_text(statement, 1, key);
    rc = bough__sql_step(&has_row, catalog, statement);
    if (rc == BOUGH_OK && has_row)
        rc = bough__read_setting(out, catalog, statement, key);
    bough__sql_reset(statement);
    return rc;
}

int bough__catalog_setting_put(struct bough__catalog *catalog, const char *key, const char *value)
{
    sqlite3_stmt *statement = NULL;
    int64_t sum = 0;
    int rc = value ? bough__setting_sum(&sum, key, value) : BOUGH_OK;
    if (rc == BOUGH_OK)
        rc = bough__sql_use(&statement, catalog, value ? BOUGH__SQL_SETTING_PUT : BOUGH__SQL_SETTING_DELETE);
    if (rc != BOUGH_OK)
        return rc;
    int code = bough__bind_text(statement, 1, key);
    if (value) {
        code |= bough__bind_text(statement, 2, value);
        code |= sqlite3_bind_int64(statement, 3, sum);
    }
    return bough__sql_finish(catalog, statement, code == SQLITE_OK ? SQLITE_OK : SQLITE_NOMEM);
}
