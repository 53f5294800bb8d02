/* table.c - see table.h. */
#include "table.h"

#include "checksum.h"
#include "report.h"
#include "version.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_MILLISECONDS 100000000000 /* 1e11: an applied_at below this counts seconds */

static const char *const main_columns[] = {"defined_at", "name", "description", "applied_at", "up", "down", NULL};
static const char *const own_columns[] = {"defined_at", "applied_at", "version", "ordinal",
                                          "flags",      "exact",      "loose",   NULL};

static const char flag_ephemeral[] = "ephemeral";
static const char flag_deferred[] = "deferred";
static const char flag_bare_up[] = "bare_up";
static const char flag_bare_down[] = "bare_down";
static const char flag_no_down[] = "no_down";

static const char *name_of(const char *table)
{
    return table ? table : BOUGH__MIGRATIONS_TABLE;
}

bool bough__applied_is_own(const char *table, const char *name)
{
    const char *main_name = name_of(table);

    return !sqlite3_stricmp(name, main_name) ||
           (!sqlite3_strnicmp(name, "bough_", 6) && !sqlite3_stricmp(name + 6, main_name));
}

/* Prepares SQL that has the table's name up to three times as "%w". */
static int prepare(sqlite3_stmt **out, sqlite3 *db, const char *table, const char *format)
{
    char *sql = sqlite3_mprintf(format, name_of(table), name_of(table), name_of(table));
    int code = sql ? sqlite3_prepare_v2(db, sql, -1, out, NULL) : SQLITE_NOMEM;

    sqlite3_free(sql);
    return code == SQLITE_OK ? BOUGH_OK : bough__migrate_fail_sqlite(db, code, "the table of migrations");
}

/* Runs to the end, and finalizes. */
static int finish(sqlite3 *db, sqlite3_stmt *statement, int rc)
{
    int code = rc == BOUGH_OK ? sqlite3_step(statement) : SQLITE_DONE;

    if (code != SQLITE_DONE && code != SQLITE_ROW)
        rc = bough__migrate_fail_sqlite(db, code, "the table of migrations");
    sqlite3_finalize(statement);
    return rc;
}

static int execute(sqlite3 *db, const char *table, const char *format)
{
    sqlite3_stmt *statement = NULL;
    int rc = prepare(&statement, db, table, format);

    return finish(db, statement, rc);
}

/* ---- shape ---- */

/* Is there anything of this name, and does it have these columns in this order? */
static int look(bool *out_is_there, bool *out_fits, sqlite3 *db, const char *name, const char *const *columns)
{
    sqlite3_stmt *statement = NULL;
    size_t i = 0;
    static const char sql[] =
        "SELECT name, (SELECT type FROM main.sqlite_schema WHERE lower(name) = lower(?1) AND type IN ('table', 'view'))"
        " FROM pragma_table_xinfo(?1, 'main') ORDER BY cid";
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    *out_fits = true;
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *column = (const char *)sqlite3_column_text(statement, 0);
        const char *type = (const char *)sqlite3_column_text(statement, 1);

        *out_fits = *out_fits && columns[i] && column && !sqlite3_stricmp(column, columns[i]) && type &&
                    !strcmp(type, "table");
        i += columns[i] != NULL;
        code = SQLITE_OK;
    }
    *out_is_there = i > 0;
    *out_fits = *out_fits && !columns[i];
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? BOUGH_OK : bough__migrate_fail_sqlite(db, code, "the table of migrations");
}

/* Which of the two tables are there? Both must be ours. */
static int look_at_both(bool *out_main, bool *out_own, sqlite3 *db, const char *table)
{
    char *own = sqlite3_mprintf("bough_%s", name_of(table));
    bool fits = true;
    const char *misfit = NULL;
    int rc = own ? look(out_main, &fits, db, name_of(table), main_columns) : bough__migrate_fail_memory();

    if (rc == BOUGH_OK && *out_main && !fits)
        misfit = name_of(table);
    if (rc == BOUGH_OK)
        rc = look(out_own, &fits, db, own, own_columns);
    if (rc == BOUGH_OK && *out_own && !fits && !misfit)
        misfit = own;
    if (rc == BOUGH_OK && misfit)
        rc = bough__migrate_fail(BOUGH_REFUSED,
                                 "the database has a table \"%s\" of another program; choose another name for the "
                                 "migrator's with --table NAME",
                                 misfit);
    sqlite3_free(own);
    return rc;
}

int bough__applied_find_own(bool *out_main, bool *out_own, sqlite3 *db, const char *table)
{
    char *own = sqlite3_mprintf("bough_%s", name_of(table));
    bool fits = true;
    int rc = own ? look(out_main, &fits, db, name_of(table), main_columns) : bough__migrate_fail_memory();

    *out_main = *out_main && fits;
    if (rc == BOUGH_OK)
        rc = look(out_own, &fits, db, own, own_columns);
    *out_own = *out_own && fits;
    sqlite3_free(own);
    return rc;
}

/* ---- reading ---- */

static char *column_copy(sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);

    return text ? sqlite3_mprintf("%s", text) : NULL;
}

static bool has_flag(const char *flags, const char *flag)
{
    size_t length = strlen(flag);

    for (const char *p = flags; p && *p; p += strcspn(p, " "), p += strspn(p, " ")) {
        if (strcspn(p, " ") == length && !memcmp(p, flag, length))
            return true;
    }
    return false;
}

static void copy_checksum(char out[BOUGH__CHECKSUM_SIZE], sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);

    strncpy(out, text ? text : "", BOUGH__CHECKSUM_SIZE - 1);
}

/* Columns 6 and after, which come from the second table. */
static void take_own(struct bough__migration *out, sqlite3_stmt *row)
{
    const char *flags = (const char *)sqlite3_column_text(row, 8);

    out->is_ephemeral = has_flag(flags, flag_ephemeral);
    out->is_deferred = has_flag(flags, flag_deferred);
    out->up.is_bare = has_flag(flags, flag_bare_up);
    out->down.is_bare = has_flag(flags, flag_bare_down);
    out->ordinal = sqlite3_column_int64(row, 7);
    if (has_flag(flags, flag_no_down)) {
        sqlite3_free(out->down.sql);
        out->down.sql = NULL;
    }
    copy_checksum(out->exact, row, 9);
    copy_checksum(out->loose, row, 10);
}

static int take_row(struct bough__migration *out, sqlite3_stmt *row)
{
    char digits[BOUGH__VERSION_SIZE] = "";

    out->defined_at_ms = sqlite3_column_int64(row, 0);
    out->name = sqlite3_mprintf("%s", sqlite3_column_type(row, 1) == SQLITE_NULL
                                          ? ""
                                          : (const char *)sqlite3_column_text(row, 1));
    out->description = column_copy(row, 2);
    out->applied_at_ms = sqlite3_column_int64(row, 3);
    if (out->applied_at_ms < FIRST_MILLISECONDS)
        out->applied_at_ms *= 1000;
    out->up.sql = column_copy(row, 4);
    out->down.sql = column_copy(row, 5);
    bough__version_format(digits, out->defined_at_ms);
    out->version = sqlite3_column_type(row, 6) == SQLITE_NULL ? sqlite3_mprintf("%s", digits) : column_copy(row, 6);
    out->up.origin = sqlite3_mprintf("%s %s (stored up)", out->version, out->name);
    out->down.origin = sqlite3_mprintf("%s %s (stored down)", out->version, out->name);
    if (!out->name || !out->version || !out->up.sql || !out->down.sql || !out->up.origin || !out->down.origin)
        return bough__migrate_fail_memory();
    out->is_foreign = sqlite3_column_type(row, 6) == SQLITE_NULL;
    if (!out->is_foreign)
        take_own(out, row);
    return BOUGH_OK;
}

/* Those that the second table does not know, or not yet, come by the time of their application; where that is not known
 * either, another program applied them after us. */
static int64_t time_order(const struct bough__migration *migration)
{
    if (!migration->applied_at_ms)
        return INT64_MAX;
    /* A whole second may be any moment of it. The last one: another program more often goes on than comes first. */
    return migration->applied_at_ms + (migration->applied_at_ms % 1000 ? 0 : 999);
}

static int by_application(const void *a, const void *b)
{
    const struct bough__migration *left = *(struct bough__migration *const *)a;
    const struct bough__migration *right = *(struct bough__migration *const *)b;
    int64_t x = left->ordinal ? left->ordinal : time_order(left);
    int64_t y = right->ordinal ? right->ordinal : time_order(right);

    /* The known ones first; both kinds are merged afterwards. */
    if (!left->ordinal != !right->ordinal)
        return left->ordinal ? -1 : 1;
    if (x == y)
        return (left->defined_at_ms > right->defined_at_ms) - (left->defined_at_ms < right->defined_at_ms);
    return x < y ? -1 : 1;
}

/* Numbers all of them from 1 in the order in which they were applied. */
static int number(struct bough__migrations *list)
{
    struct bough__migration **order = sqlite3_malloc64((list->count + 1) * sizeof order[0]);
    size_t known = 0;
    size_t other = 0;
    int64_t next = 1;

    if (!order)
        return bough__migrate_fail_memory();
    for (size_t i = 0; i < list->count; i++) {
        order[i] = &list->items[i];
        other += order[i]->ordinal != 0;
    }
    qsort(order, list->count, sizeof order[0], by_application);
    for (size_t end = other; known < end || other < list->count;) {
        bool take_other = known == end ||
                          (other < list->count && time_order(order[other]) <= order[known]->applied_at_ms);

        order[take_other ? other : known]->ordinal = next++;
        other += take_other;
        known += !take_other;
    }
    sqlite3_free(order);
    return BOUGH_OK;
}

static int read_rows(struct bough__migrations *out, sqlite3 *db, sqlite3_stmt *statement)
{
    int code = SQLITE_OK;
    int rc = BOUGH_OK;

    while (rc == BOUGH_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct bough__migration migration = {0};

        rc = take_row(&migration, statement);
        if (rc == BOUGH_OK)
            rc = bough__migrations_add(out, &migration);
        bough__migration_release(&migration);
    }
    if (rc == BOUGH_OK && code != SQLITE_DONE)
        rc = bough__migrate_fail_sqlite(db, code, "the table of migrations");
    return rc;
}

int bough__applied_read(struct bough__migrations *out, sqlite3 *db, const char *table)
{
    static const char with_own[] =
        "SELECT m.defined_at, m.name, m.description, m.applied_at, m.up, m.down, b.version, b.ordinal, b.flags, "
        "b.exact, b.loose FROM main.\"%w\" m LEFT JOIN main.\"bough_%w\" b ON b.defined_at = m.defined_at AND "
        "b.applied_at IS m.applied_at ORDER BY m.defined_at";
    static const char without[] = "SELECT defined_at, name, description, applied_at, up, down, NULL, NULL, NULL, NULL, "
                                  "NULL FROM main.\"%w\" ORDER BY defined_at";
    sqlite3_stmt *statement = NULL;
    bool has_main = false;
    bool has_own = false;
    int rc = look_at_both(&has_main, &has_own, db, table);

    memset(out, 0, sizeof *out);
    if (rc != BOUGH_OK || !has_main)
        return rc;
    rc = prepare(&statement, db, table, has_own ? with_own : without);
    if (rc == BOUGH_OK)
        rc = read_rows(out, db, statement);
    sqlite3_finalize(statement);
    if (rc == BOUGH_OK)
        rc = number(out);
    if (rc != BOUGH_OK)
        bough__migrations_release(out);
    return rc;
}

/* ---- writing ---- */

int bough__applied_make_tables(sqlite3 *db, const char *table)
{
    bool has_main = false;
    bool has_own = false;
    int rc = look_at_both(&has_main, &has_own, db, table);

    if (rc == BOUGH_OK && !has_main)
        rc = execute(db, table,
                     "CREATE TABLE main.\"%w\"(defined_at INTEGER PRIMARY KEY, name TEXT, description TEXT, "
                     "applied_at INTEGER, up TEXT NOT NULL, down TEXT NOT NULL)");
    if (rc == BOUGH_OK && !has_own)
        rc = execute(db, table,
                     "CREATE TABLE main.\"bough_%w\"(defined_at INTEGER PRIMARY KEY, applied_at INTEGER, "
                     "version TEXT NOT NULL, ordinal INTEGER, flags TEXT NOT NULL, exact TEXT NOT NULL, "
                     "loose TEXT NOT NULL)");
    return rc;
}

/* NULL for no text. */
static void bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    if (text)
        sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(statement, index);
}

static char *flags_of(const struct bough__migration *migration, bool has_down)
{
    sqlite3_str *flags = sqlite3_str_new(NULL);

    if (migration->is_ephemeral)
        sqlite3_str_appendf(flags, "%s ", flag_ephemeral);
    if (migration->is_deferred)
        sqlite3_str_appendf(flags, "%s ", flag_deferred);
    if (migration->up.is_bare)
        sqlite3_str_appendf(flags, "%s ", flag_bare_up);
    if (migration->down.is_bare)
        sqlite3_str_appendf(flags, "%s ", flag_bare_down);
    if (!has_down)
        sqlite3_str_appendf(flags, "%s ", flag_no_down);
    if (sqlite3_str_errcode(flags) == SQLITE_OK && sqlite3_str_length(flags) == 0)
        sqlite3_str_appendall(flags, " ");
    return sqlite3_str_finish(flags);
}

/* The text of a down that does not exist: whoever runs it is told why it fails. */
static char *down_or_reason(const struct bough__migration *migration, const char *down)
{
    if (down)
        return sqlite3_mprintf("%s", down);
    return sqlite3_mprintf("SELECT * FROM \"%w %w was defined without a down migration\"", migration->version,
                           migration->name);
}

/* The second table's row, with what `ordinal` selects as the order of application. */
static int store_own(sqlite3 *db, const char *table, const struct bough__migration *migration, bool has_down,
                     const char *ordinal)
{
    char loose[BOUGH__CHECKSUM_SIZE] = "";
    sqlite3_stmt *statement = NULL;
    char *flags = flags_of(migration, has_down);
    char *format = sqlite3_mprintf("INSERT OR REPLACE INTO main.\"bough_%%w\"(defined_at, applied_at, version, "
                                   "ordinal, flags, exact, loose) SELECT m.defined_at, m.applied_at, ?2, %s, ?3, "
                                   "?4, ?5 FROM main.\"%%w\" m WHERE m.defined_at = ?1",
                                   ordinal);
    int rc = flags && format ? bough__checksum_loose(loose, migration) : bough__migrate_fail_memory();

    if (rc == BOUGH_OK)
        rc = prepare(&statement, db, table, format);
    if (rc == BOUGH_OK) {
        sqlite3_bind_int64(statement, 1, migration->defined_at_ms);
        bind_text(statement, 2, migration->version);
        bind_text(statement, 3, flags);
        bind_text(statement, 4, migration->exact);
        bind_text(statement, 5, loose);
    }
    rc = finish(db, statement, rc);
    sqlite3_free(flags);
    sqlite3_free(format);
    return rc;
}

static int delete_row(sqlite3 *db, const char *table, int64_t defined_at_ms, const char *format)
{
    sqlite3_stmt *statement = NULL;
    int rc = prepare(&statement, db, table, format);

    if (rc == BOUGH_OK)
        sqlite3_bind_int64(statement, 1, defined_at_ms);
    return finish(db, statement, rc);
}

int bough__applied_store(sqlite3 *db, const char *table, const struct bough__migration *migration, const char *up,
                         const char *down, int64_t applied_at_ms)
{
    sqlite3_stmt *statement = NULL;
    char *stored_down = down_or_reason(migration, down);
    int rc = stored_down ? bough__applied_make_tables(db, table) : bough__migrate_fail_memory();

    /* An ephemeral migration that had this version and is no longer defined. */
    if (rc == BOUGH_OK)
        rc = delete_row(db, table, migration->defined_at_ms,
                        "DELETE FROM main.\"%w\" WHERE defined_at = ?1 AND EXISTS "
                        "(SELECT 1 FROM main.\"bough_%w\" b WHERE b.defined_at = ?1 AND b.flags LIKE 'ephemeral %%')");
    if (rc == BOUGH_OK)
        rc = prepare(&statement, db, table,
                     "INSERT INTO main.\"%w\"(defined_at, name, description, applied_at, up, down) "
                     "VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
    if (rc == BOUGH_OK) {
        sqlite3_bind_int64(statement, 1, migration->defined_at_ms);
        bind_text(statement, 2, migration->name[0] ? migration->name : NULL);
        bind_text(statement, 3, migration->description);
        sqlite3_bind_int64(statement, 4, applied_at_ms);
        bind_text(statement, 5, up);
        bind_text(statement, 6, stored_down);
    }
    rc = finish(db, statement, rc);
    if (rc == BOUGH_OK)
        rc = store_own(db, table, migration, down != NULL,
                       "(SELECT coalesce(max(ordinal), 0) + 1 FROM main.\"bough_%w\")");
    sqlite3_free(stored_down);
    return rc;
}

int bough__applied_replace(sqlite3 *db, const char *table, const struct bough__migration *applied,
                           const struct bough__migration *defined)
{
    sqlite3_stmt *statement = NULL;
    bool keeps_sql = defined->is_deferred; /* what was made and run then is not in the file */
    const char *down = keeps_sql ? applied->down.sql : defined->down.sql;
    char *stored_down = down_or_reason(defined, down);
    int rc = stored_down ? bough__applied_make_tables(db, table) : bough__migrate_fail_memory();

    if (rc == BOUGH_OK)
        rc = prepare(&statement, db, table,
                     "UPDATE main.\"%w\" SET description = ?2, up = ?3, down = ?4 WHERE defined_at = ?1");
    if (rc == BOUGH_OK) {
        sqlite3_bind_int64(statement, 1, applied->defined_at_ms);
        bind_text(statement, 2, defined->description);
        bind_text(statement, 3, keeps_sql ? applied->up.sql : defined->up.sql);
        bind_text(statement, 4, stored_down);
    }
    rc = finish(db, statement, rc);
    if (rc == BOUGH_OK)
        rc = store_own(db, table, defined, down != NULL,
                       "(SELECT b.ordinal FROM main.\"bough_%w\" b WHERE b.defined_at = m.defined_at AND "
                       "b.applied_at IS m.applied_at)");
    sqlite3_free(stored_down);
    return rc;
}

int bough__applied_forget(sqlite3 *db, const char *table, const struct bough__migration *applied)
{
    bool has_main = false;
    bool has_own = false;
    int changes = 0;
    int rc = look_at_both(&has_main, &has_own, db, table);

    if (rc == BOUGH_OK && has_own)
        rc = delete_row(db, table, applied->defined_at_ms, "DELETE FROM main.\"bough_%w\" WHERE defined_at = ?1");
    if (rc == BOUGH_OK && has_main) {
        rc = delete_row(db, table, applied->defined_at_ms, "DELETE FROM main.\"%w\" WHERE defined_at = ?1");
        changes = sqlite3_changes(db);
    }
    if (rc == BOUGH_OK && changes != 1)
        rc = bough__migrate_fail(BOUGH_REFUSED, "%s %s is not stored as applied any more", applied->version,
                                 applied->name);
    return rc;
}
