/* catalog_history.c - rows of commits and of tags, the names for commits. */
#include "catalog_sql.h"
#include "error.h"
#include "os.h"
#include "row.h"

#include <stdlib.h>
#include <string.h>

static int read_parents(struct bough__commit_row *out, sqlite3_stmt *statement, int index, bool *ok)
{
    const void *bytes = sqlite3_column_blob(statement, index);
    size_t len = (size_t)sqlite3_column_bytes(statement, index);
    *ok = len % BOUGH__DIGEST_SIZE == 0;
    out->parent_count = len / BOUGH__DIGEST_SIZE;
    if (out->parent_count == 0)
        return BOUGH_OK;
    out->parents = bough__alloc(out->parent_count * BOUGH__DIGEST_SIZE);
    if (!out->parents)
        return BOUGH_NOMEM;
    memcpy(out->parents, bytes, out->parent_count * BOUGH__DIGEST_SIZE);
    return BOUGH_OK;
}

/* Root and id are computed anew: the sum finds rot, they also find a row that was put together wrongly. */
static bool is_what_it_says(const struct bough__commit_row *row)
{
    uint8_t id[BOUGH__DIGEST_SIZE], root[BOUGH__DIGEST_SIZE];
    return bough__root_id(root, &row->tree) == BOUGH_OK && memcmp(root, row->root, sizeof root) == 0 &&
           bough__commit_id(id, row) == BOUGH_OK && memcmp(id, row->id, sizeof id) == 0;
}

int bough__read_commit(struct bough__commit_row *out, const struct bough__catalog *catalog, sqlite3_stmt *statement)
{
    char key[2 * BOUGH__DIGEST_SIZE + 1];
    int64_t sum = 0;
    bool parents_ok = false;
    memset(out, 0, sizeof *out);
    bool ok = bough__column_digest(out->id, statement, 0);
    ok = bough__column_digest(out->root, statement, 1) && ok;
    const void *tree = sqlite3_column_blob(statement, 2);
    ok = ok && tree && sqlite3_column_bytes(statement, 2) == BOUGH__TREE_BYTES &&
         bough__tree_decode(&out->tree, tree) == BOUGH_OK;
    ok = bough__column_u32(&out->page_size, statement, 3) && ok;
    int rc = read_parents(out, statement, 4, &parents_ok);
    if (rc == BOUGH_OK)
        rc = bough__column_text(&out->author, &ok, statement, 5);
    if (rc == BOUGH_OK)
        rc = bough__column_text(&out->message, &ok, statement, 6);
    out->created_at_ms = sqlite3_column_int64(statement, 7);
    out->changed_pages = bough__column_u64(statement, 8);
    ok = bough__column_u32(&out->layer, statement, 9) && ok;
    out->txn = bough__column_u64(statement, 10);
    ok = bough__column_bool(&out->automatic, statement, 11) && ok;
    ok = bough__column_bool(&out->pruned, statement, 12) && ok;
    if (rc == BOUGH_OK)
        rc = bough__commit_row_sum(&sum, out);
    bough__hex(key, out->id, sizeof out->id);
    if (rc == BOUGH_OK)
        rc = bough__check_row(catalog, statement, 13, sum, ok && parents_ok && is_what_it_says(out), "commit", key);
    if (rc != BOUGH_OK)
        bough__commit_row_clear(out);
    return rc;
}

int bough__catalog_commit_by_id(struct bough__commit_row *out, struct bough__catalog *catalog,
                                const uint8_t id[BOUGH__DIGEST_SIZE])
{
    char hex[2 * BOUGH__DIGEST_SIZE + 1];
    sqlite3_stmt *statement = NULL;
    bool has_row = false;
    memset(out, 0, sizeof *out);
    int rc = bough__sql_use(&statement, catalog, BOUGH__SQL_COMMIT_BY_ID);
    if (rc != BOUGH_OK)
        return rc;
    bough__bind_digest(statement, 1, id);
    bough__hex(hex, id, BOUGH__DIGEST_SIZE);
    rc = bough__sql_step(&has_row, catalog, statement);
    if (rc == BOUGH_OK)
        rc = has_row ? bough__read_commit(out, catalog, statement)
                     : bough__fail(BOUGH_NOT_FOUND, "there is no commit %s", hex);
    if (rc == BOUGH_OK && memcmp(out->id, id, BOUGH__DIGEST_SIZE) != 0) {
        bough__commit_row_clear(out);
        rc = bough__fail(BOUGH_CORRUPT, "%s: the index of commits is damaged at %s", catalog->path, hex);
    }
    bough__sql_reset(statement);
    return rc;
}

/* The lowest or highest id that starts with the digits: the rest filled with one digit. False: no hex. */
static bool bound_of_prefix(uint8_t out[BOUGH__DIGEST_SIZE], const char *prefix, char fill)
{
    char digits[2 * BOUGH__DIGEST_SIZE + 1];
    size_t len = strlen(prefix);
    if (len > sizeof digits - 1)
        return false;
    memset(digits, fill, sizeof digits - 1);
    digits[sizeof digits - 1] = 0;
    memcpy(digits, prefix, len);
    return bough__unhex(out, digits, BOUGH__DIGEST_SIZE);
}

int bough__catalog_commits_by_prefix(struct bough__commit_row **out, size_t *out_count, struct bough__catalog *catalog,
                                     const char *hex_prefix, size_t limit)
{
    sqlite3_stmt *statement = NULL;
    uint8_t low[BOUGH__DIGEST_SIZE], high[BOUGH__DIGEST_SIZE];
    bool has_row = true;
    size_t count = 0;
    *out = NULL;
    *out_count = 0;
    if (!bound_of_prefix(low, hex_prefix, '0') || !bound_of_prefix(high, hex_prefix, 'f'))
        return bough__fail(BOUGH_USAGE, "%s is no commit id", hex_prefix);
    struct bough__commit_row *rows = bough__alloc((limit ? limit : 1) * sizeof *rows);
    if (!rows)
        return BOUGH_NOMEM;
    int rc = bough__sql_use(&statement, catalog, BOUGH__SQL_COMMITS_BY_PREFIX);
    if (rc == BOUGH_OK) {
        bough__bind_digest(statement, 1, low);
        bough__bind_digest(statement, 2, high);
        sqlite3_bind_int64(statement, 3, (sqlite3_int64)limit);
    }
    while (rc == BOUGH_OK && (rc = bough__sql_step(&has_row, catalog, statement)) == BOUGH_OK && has_row &&
           count < limit)
        if ((rc = bough__read_commit(&rows[count], catalog, statement)) == BOUGH_OK)
            count++;
    bough__sql_reset(statement);
    if (rc == BOUGH_OK) {
        *out = rows;
        *out_count = count;
        return BOUGH_OK;
    }
    while (count > 0)
        bough__commit_row_clear(&rows[--count]);
    free(rows);
    return rc;
}

int bough__catalog_commit_insert(struct bough__catalog *catalog, const struct bough__commit_row *row)
{
    sqlite3_stmt *statement = NULL;
    uint8_t tree[BOUGH__TREE_BYTES];
    int64_t sum = 0;
    int rc = bough__commit_row_sum(&sum, row);
    if (rc == BOUGH_OK)
        rc = bough__sql_use(&statement, catalog, BOUGH__SQL_COMMIT_INSERT);
    if (rc != BOUGH_OK)
        return rc;
    bough__tree_encode(tree, &row->tree);
    int code = bough__bind_digest(statement, 1, row->id);
    code |= bough__bind_digest(statement, 2, row->root);
    code |= sqlite3_bind_blob(statement, 3, tree, sizeof tree, SQLITE_STATIC);
    code |= bough__bind_u64(statement, 4, row->page_size);
    code |= row->parent_count ? sqlite3_bind_blob(statement, 5, row->parents,
                                                  (int)(row->parent_count * BOUGH__DIGEST_SIZE), SQLITE_STATIC)
                              : sqlite3_bind_zeroblob(statement, 5, 0);
    code |= bough__bind_text(statement, 6, row->author);
    code |= bough__bind_text(statement, 7, row->message);
    code |= sqlite3_bind_int64(statement, 8, row->created_at_ms);
    code |= bough__bind_u64(statement, 9, row->changed_pages);
    code |= bough__bind_u64(statement, 10, row->layer);
    code |= bough__bind_u64(statement, 11, row->txn);
    code |= sqlite3_bind_int(statement, 12, row->automatic);
    code |= sqlite3_bind_int(statement, 13, row->pruned);
    code |= sqlite3_bind_int64(statement, 14, sum);
    rc = bough__sql_finish(catalog, statement, code == SQLITE_OK ? SQLITE_OK : SQLITE_NOMEM);
    return rc == BOUGH_REFUSED ? bough__fail(rc, "the commit exists already") : rc;
}

int bough__catalog_commit_newest(struct bough__commit_row *out, struct bough__catalog *catalog, uint32_t layer)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = false;
    memset(out, 0, sizeof *out);
    int rc = bough__sql_use(&statement, catalog, BOUGH__SQL_COMMIT_NEWEST_OF_LAYER);
    if (rc != BOUGH_OK)
        return rc;
    bough__bind_u64(statement, 1, layer);
    rc = bough__sql_step(&has_row, catalog, statement);
    if (rc == BOUGH_OK)
        rc = has_row ? bough__read_commit(out, catalog, statement)
                     : bough__fail(BOUGH_NOT_FOUND, "no commit seals layer %u", layer);
    bough__sql_reset(statement);
    return rc;
}

int bough__catalog_layer_has_commits(bool *out, struct bough__catalog *catalog, uint32_t layer)
{
    sqlite3_stmt *statement = NULL;
    *out = false;
    int rc = bough__sql_use(&statement, catalog, BOUGH__SQL_COMMIT_OF_LAYER);
    if (rc != BOUGH_OK)
        return rc;
    bough__bind_u64(statement, 1, layer);
    rc = bough__sql_step(out, catalog, statement);
    bough__sql_reset(statement);
    return rc;
}

int bough__catalog_commits(struct bough__catalog *catalog, bough__commit_callback *callback, void *context)
{
    int64_t last = INT64_MIN;
    return bough__catalog_commits_since(&last, catalog, callback, context);
}

int bough__catalog_commits_since(int64_t *last, struct bough__catalog *catalog, bough__commit_callback *callback,
                                 void *context)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = true;
    int rc = bough__sql_prepare(&statement, catalog,
                                "SELECT " BOUGH__COMMIT_COLUMNS ", rowid FROM catalog.commits WHERE rowid > ?1"
                                " ORDER BY rowid");
    if (rc == BOUGH_OK)
        sqlite3_bind_int64(statement, 1, *last);
    while (rc == BOUGH_OK && (rc = bough__sql_step(&has_row, catalog, statement)) == BOUGH_OK && has_row) {
        struct bough__commit_row row;
        int64_t number = sqlite3_column_int64(statement, 14);
        rc = bough__read_commit(&row, catalog, statement);
        if (rc == BOUGH_OK)
            rc = callback(context, &row);
        if (rc == BOUGH_OK)
            *last = number;
        bough__commit_row_clear(&row);
    }
    bough__sql_finalize(statement);
    return rc;
}

int bough__catalog_commit_prune(struct bough__catalog *catalog, const uint8_t id[BOUGH__DIGEST_SIZE])
{
    struct bough__commit_row row = {0};
    sqlite3_stmt *statement = NULL;
    int64_t sum = 0;
    int rc = bough__catalog_commit_by_id(&row, catalog, id);
    row.pruned = true;
    if (rc == BOUGH_OK)
        rc = bough__commit_row_sum(&sum, &row);
    if (rc == BOUGH_OK)
        rc = bough__sql_use(&statement, catalog, BOUGH__SQL_COMMIT_PRUNE);
    if (rc == BOUGH_OK) {
        int code = bough__bind_digest(statement, 1, id);
        code |= sqlite3_bind_int64(statement, 2, sum);
        rc = bough__sql_finish(catalog, statement, code == SQLITE_OK ? SQLITE_OK : SQLITE_NOMEM);
    }
    bough__commit_row_clear(&row);
    return rc;
}

/* ---- tags ------------------------------------------------------------------------------------------------------ */

int bough__read_tag(struct bough__tag_row *out, const struct bough__catalog *catalog, sqlite3_stmt *statement)
{
    int64_t sum = 0;
    memset(out, 0, sizeof *out);
    bool ok = bough__column_digest(out->commit, statement, 1);
    out->created_at_ms = sqlite3_column_int64(statement, 2);
    int rc = bough__column_text(&out->name, &ok, statement, 0);
    if (rc == BOUGH_OK)
        rc = bough__tag_row_sum(&sum, out);
    if (rc == BOUGH_OK)
        rc = bough__check_row(catalog, statement, 3, sum, ok, "tag", out->name);
    if (rc != BOUGH_OK)
        bough__tag_row_clear(out);
    return rc;
}

int bough__catalog_tag_by_name(struct bough__tag_row *out, struct bough__catalog *catalog, const char *name)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = false;
    memset(out, 0, sizeof *out);
    int rc = bough__sql_use(&statement, catalog, BOUGH__SQL_TAG_BY_NAME);
    if (rc != BOUGH_OK)
        return rc;
    bough__bind_text(statement, 1, name);
    rc = bough__sql_step(&has_row, catalog, statement);
    if (rc == BOUGH_OK)
        rc = has_row ? bough__read_tag(out, catalog, statement)
                     : bough__fail(BOUGH_NOT_FOUND, "there is no tag %s", name);
    bough__sql_reset(statement);
    return rc;
}

int bough__catalog_tags(struct bough__catalog *catalog, bough__tag_callback *callback, void *context)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = true;
    int rc = bough__sql_prepare(&statement, catalog, "SELECT " BOUGH__TAG_COLUMNS " FROM catalog.tags ORDER BY name");
    while (rc == BOUGH_OK && (rc = bough__sql_step(&has_row, catalog, statement)) == BOUGH_OK && has_row) {
        struct bough__tag_row row;
        rc = bough__read_tag(&row, catalog, statement);
        if (rc == BOUGH_OK)
            rc = callback(context, &row);
        bough__tag_row_clear(&row);
    }
    bough__sql_finalize(statement);
    return rc;
}

int bough__catalog_tag_insert(struct bough__catalog *catalog, const struct bough__tag_row *row)
{
    sqlite3_stmt *statement = NULL;
    int64_t sum = 0;
    int rc = bough__tag_row_sum(&sum, row);
    if (rc == BOUGH_OK)
        rc = bough__sql_use(&statement, catalog, BOUGH__SQL_TAG_INSERT);
    if (rc != BOUGH_OK)
        return rc;
    int code = bough__bind_text(statement, 1, row->name);
    code |= bough__bind_digest(statement, 2, row->commit);
    code |= sqlite3_bind_int64(statement, 3, row->created_at_ms);
    code |= sqlite3_bind_int64(statement, 4, sum);
    rc = bough__sql_finish(catalog, statement, code == SQLITE_OK ? SQLITE_OK : SQLITE_NOMEM);
    return rc == BOUGH_REFUSED ? bough__fail(rc, "a tag %s exists already", row->name) : rc;
}

int bough__catalog_tag_delete(struct bough__catalog *catalog, const char *name)
{
    sqlite3_stmt *statement = NULL;
    int rc = bough__sql_use(&statement, catalog, BOUGH__SQL_TAG_DELETE);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__sql_finish(catalog, statement, bough__bind_text(statement, 1, name));
    if (rc == BOUGH_OK && sqlite3_changes(catalog->db) != 1)
        rc = bough__fail(BOUGH_NOT_FOUND, "there is no tag %s", name);
    return rc;
}
