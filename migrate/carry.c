/* carry.c - see carry.h. Rows go over as they are, those of both tables. */
#include "carry.h"

#include "report.h"
#include "table.h"
#include "values.h"

struct carry {
    sqlite3 *from, *to;
    const char *table;
    struct bough__migration *const *without;
    size_t count;
};

/* One of the two tables, on both sides; a statement that is NULL has no rows. */
struct rows {
    sqlite3_stmt *from, *to;
};

static int prepare(sqlite3_stmt **out, sqlite3 *db, const char *prefix, const char *table, const char *format)
{
    char *name = sqlite3_mprintf("%s%s", prefix, table ? table : BOUGH__MIGRATIONS_TABLE);
    char *sql = name ? sqlite3_mprintf(format, name) : NULL;
    int code = sql ? sqlite3_prepare_v2(db, sql, -1, out, NULL) : SQLITE_NOMEM;

    sqlite3_free(name);
    sqlite3_free(sql);
    return code == SQLITE_OK ? BOUGH_OK : bough__migrate_fail_sqlite(db, code, "the table of migrations");
}

static int open_side(sqlite3_stmt **out, const struct carry *carry, sqlite3 *db, const char *prefix)
{
    bool has_main = false;
    bool has_own = false;
    int rc = bough__applied_find_own(&has_main, &has_own, db, carry->table);

    if (rc == BOUGH_OK && (prefix[0] ? has_own : has_main))
        rc = prepare(out, db, prefix, carry->table, "SELECT * FROM main.\"%w\" ORDER BY defined_at");
    return rc;
}

static int open_rows(struct rows *out, const struct carry *carry, const char *prefix)
{
    int rc = open_side(&out->from, carry, carry->from, prefix);

    return rc == BOUGH_OK ? open_side(&out->to, carry, carry->to, prefix) : rc;
}

static void close_rows(struct rows *rows)
{
    sqlite3_finalize(rows->from);
    sqlite3_finalize(rows->to);
}

static int step(bool *out_has_row, sqlite3_stmt *statement)
{
    int code = statement ? sqlite3_step(statement) : SQLITE_DONE;

    *out_has_row = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE
               ? BOUGH_OK
               : bough__migrate_fail_sqlite(sqlite3_db_handle(statement), code, "the table of migrations");
}

static bool is_left_out(const struct carry *carry, sqlite3_stmt *row)
{
    for (size_t i = 0; i < carry->count; i++) {
        if (carry->without[i]->defined_at_ms == sqlite3_column_int64(row, 0))
            return true;
    }
    return false;
}

/* The next row that stays. */
static int step_from(bool *out_has_row, const struct carry *carry, sqlite3_stmt *from)
{
    int rc = BOUGH_OK;

    do
        rc = step(out_has_row, from);
    while (rc == BOUGH_OK && *out_has_row && is_left_out(carry, from));
    return rc;
}

static bool is_same_row(sqlite3_stmt *a, sqlite3_stmt *b)
{
    int count = sqlite3_column_count(a);

    for (int i = 0; i < count; i++) {
        if (!bough__value_equal(a, b, i))
            return false;
    }
    return count == sqlite3_column_count(b);
}

static int compare(bool *out_is_same, const struct carry *carry, const char *prefix)
{
    struct rows rows = {NULL, NULL};
    bool has_from = true;
    bool has_to = true;
    int rc = open_rows(&rows, carry, prefix);

    *out_is_same = true;
    while (rc == BOUGH_OK && *out_is_same && (has_from || has_to)) {
        rc = step_from(&has_from, carry, rows.from);
        if (rc == BOUGH_OK)
            rc = step(&has_to, rows.to);
        *out_is_same = has_from == has_to && (!has_from || is_same_row(rows.from, rows.to));
    }
    close_rows(&rows);
    return rc;
}

static int check(bool *out_is_there, const struct carry *carry)
{
    int rc = compare(out_is_there, carry, "");

    return rc == BOUGH_OK && *out_is_there ? compare(out_is_there, carry, "bough_") : rc;
}

/* ---- writing ---- */

static int execute(sqlite3 *db, const char *sql)
{
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? BOUGH_OK : bough__migrate_fail_sqlite(db, code, sql);
}

static int delete_all(const struct carry *carry, const char *prefix)
{
    sqlite3_stmt *statement = NULL;
    bool has_row = false;
    int rc = prepare(&statement, carry->to, prefix, carry->table, "DELETE FROM main.\"%w\"");

    if (rc == BOUGH_OK)
        rc = step(&has_row, statement);
    sqlite3_finalize(statement);
    return rc;
}

static int insert(sqlite3_stmt *insertion, sqlite3_stmt *row)
{
    bool has_row = false;
    int code = SQLITE_OK;

    for (int i = 0; code == SQLITE_OK && i < sqlite3_column_count(row); i++)
        code = sqlite3_bind_value(insertion, i + 1, sqlite3_column_value(row, i));
    if (code != SQLITE_OK)
        return bough__migrate_fail_memory();
    code = step(&has_row, insertion);
    sqlite3_reset(insertion);
    return code;
}

static int replace(const struct carry *carry, const char *prefix)
{
    const char *format = prefix[0] ? "INSERT INTO main.\"%w\" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
                                   : "INSERT INTO main.\"%w\" VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    sqlite3_stmt *insertion = NULL;
    struct rows rows = {NULL, NULL};
    bool has_row = true;
    int rc = delete_all(carry, prefix);

    if (rc == BOUGH_OK)
        rc = prepare(&insertion, carry->to, prefix, carry->table, format);
    if (rc == BOUGH_OK)
        rc = open_side(&rows.from, carry, carry->from, prefix);
    while (rc == BOUGH_OK && (rc = step_from(&has_row, carry, rows.from)) == BOUGH_OK && has_row)
        rc = insert(insertion, rows.from);
    close_rows(&rows);
    sqlite3_finalize(insertion);
    return rc;
}

static int write(const struct carry *carry)
{
    int rc = execute(carry->to, "BEGIN IMMEDIATE");

    if (rc == BOUGH_OK)
        rc = bough__applied_make_tables(carry->to, carry->table);
    if (rc == BOUGH_OK)
        rc = replace(carry, "");
    if (rc == BOUGH_OK)
        rc = replace(carry, "bough_");
    if (rc == BOUGH_OK)
        rc = execute(carry->to, "COMMIT");
    if (!sqlite3_get_autocommit(carry->to))
        sqlite3_exec(carry->to, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

int bough__carry_check(bool *out_is_there, sqlite3 *from, sqlite3 *to, const char *table,
                       struct bough__migration *const *without, size_t count)
{
    struct carry carry = {from, to, table, without, count};

    return check(out_is_there, &carry);
}

int bough__carry(sqlite3 *from, sqlite3 *to, const char *table, struct bough__migration *const *without, size_t count)
{
    struct carry carry = {from, to, table, without, count};
    bool is_there = false;
    int rc = check(&is_there, &carry);

    return rc == BOUGH_OK && !is_there ? write(&carry) : rc;
}
