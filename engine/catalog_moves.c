/* catalog_moves.c - rows of moves: when a branch took another state, and which one it had. */
#include "catalog_sql.h"
#include "error.h"
#include "os.h"
#include "row.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NOTE_MAX_BYTES 1000

int bough__read_move(struct bough__move_row *out, const struct bough__catalog *catalog, sqlite3_stmt *statement)
{
    char key[48];
    int64_t sum = 0;
    bool ok = true;
    memset(out, 0, sizeof *out);
    out->branch_id = sqlite3_column_int64(statement, 0);
    out->has_before = sqlite3_column_type(statement, 2) != SQLITE_NULL;
    ok = !out->has_before || bough__column_digest(out->before, statement, 2);
    ok = bough__column_digest(out->after, statement, 3) && ok;
    out->created_at_ms = sqlite3_column_int64(statement, 5);
    int rc = bough__column_text(&out->verb, &ok, statement, 1);
    if (rc == BOUGH_OK && sqlite3_column_type(statement, 4) != SQLITE_NULL)
        rc = bough__column_text(&out->note, &ok, statement, 4);
    if (rc == BOUGH_OK)
        rc = bough__move_row_sum(&sum, out);
    snprintf(key, sizeof key, "of branch %" PRId64, out->branch_id);
    if (rc == BOUGH_OK)
        rc = bough__check_row(catalog, statement, 6, sum, ok, "a move", key);
    if (rc != BOUGH_OK)
        bough__move_row_clear(out);
    return rc;
}

int bough__catalog_move_insert(struct bough__catalog *catalog, const struct bough__move_row *row)
{
    sqlite3_stmt *statement = NULL;
    int64_t sum = 0;
    if (row->note && strlen(row->note) > NOTE_MAX_BYTES)
        return bough__fail(BOUGH_USAGE, "a note has at most %d bytes", NOTE_MAX_BYTES);
    int rc = bough__move_row_sum(&sum, row);
    if (rc == BOUGH_OK)
        rc = bough__sql_use(&statement, catalog, BOUGH__SQL_MOVE_INSERT);
    if (rc != BOUGH_OK)
        return rc;
    int code = sqlite3_bind_int64(statement, 1, row->branch_id);
    code |= bough__bind_text(statement, 2, row->verb);
    code |= row->has_before ? bough__bind_digest(statement, 3, row->before) : sqlite3_bind_null(statement, 3);
    code |= bough__bind_digest(statement, 4, row->after);
    code |= row->note ? bough__bind_text(statement, 5, row->note) : sqlite3_bind_null(statement, 5);
    code |= sqlite3_bind_int64(statement, 6, row->created_at_ms);
    code |= sqlite3_bind_int64(statement, 7, sum);
    return bough__sql_finish(catalog, statement, code == SQLITE_OK ? SQLITE_OK : SQLITE_NOMEM);
}

static int scan(struct bough__catalog *catalog, const char *sql, int64_t first, int64_t second,
                bough__move_callback *callback, void *context)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = true;
    int rc = bough__sql_prepare(&statement, catalog, sql);
    if (rc == BOUGH_OK) {
        sqlite3_bind_int64(statement, 1, first);
        sqlite3_bind_int64(statement, 2, second); /* where there is one */
    }
    while (rc == BOUGH_OK && (rc = bough__sql_step(&has_row, catalog, statement)) == BOUGH_OK && has_row) {
        struct bough__move_row row;
        rc = bough__read_move(&row, catalog, statement);
        if (rc == BOUGH_OK)
            rc = callback(context, &row);
        bough__move_row_clear(&row);
    }
    bough__sql_finalize(statement);
    return rc;
}

int bough__catalog_moves(struct bough__catalog *catalog, int64_t branch_id, size_t limit,
                         bough__move_callback *callback, void *context)
{
    return scan(catalog,
                "SELECT " BOUGH__MOVE_COLUMNS " FROM catalog.moves WHERE branch_id = ?1 ORDER BY rowid DESC LIMIT ?2",
                branch_id, limit == 0 || limit > INT64_MAX ? -1 : (int64_t)limit, callback, context);
}

int bough__catalog_moves_since(struct bough__catalog *catalog, int64_t from_ms, bough__move_callback *callback,
                               void *context)
{
    return scan(catalog, "SELECT " BOUGH__MOVE_COLUMNS " FROM catalog.moves WHERE created_at_ms >= ?1", from_ms, 0,
                callback, context);
}

int bough__catalog_moves_forget(struct bough__catalog *catalog, int64_t before_ms)
{
    sqlite3_stmt *statement = NULL;
    int rc = bough__sql_use(&statement, catalog, BOUGH__SQL_MOVES_FORGET);
    if (rc != BOUGH_OK)
        return rc;
    return bough__sql_finish(catalog, statement, sqlite3_bind_int64(statement, 1, before_ms));
}
