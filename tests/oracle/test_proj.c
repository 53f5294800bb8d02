/* test_proj.c - a real database: PROJ's (99 schema objects) through init, forks, changes of schema and rows, export. */
#include "harness.h"
#include "twin.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PROJ_FILE "/usr/share/proj/proj.db"

static const char every_table[] = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema ORDER BY rowid";

static void compare_tables(struct twin *twin)
{
    char sql[256];
    sqlite3_stmt *names = NULL;
    ck_assert_int_eq(sqlite3_prepare_v2(twin->plain, "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')",
                                        -1, &names, NULL),
                     SQLITE_OK);
    unsigned count = 0;
    while (sqlite3_step(names) == SQLITE_ROW) {
        sqlite3_snprintf(sizeof(sql), sql, "SELECT * FROM \"%w\"", sqlite3_column_text(names, 0));
        twin_exec(twin, sql);
        count++;
    }
    sqlite3_finalize(names);
    ck_assert_uint_gt(count, 40);
}

TEST(comes_out_as_it_went_in)
{
    struct twin twin;
    twin_start(&twin, PROJ_FILE, "proj.db");
    twin_compare(&twin);
    twin_exec(&twin, every_table);
    compare_tables(&twin);
    twin_fork(&twin, false);
    twin_compare(&twin);
    twin_stop(&twin);
}

TEST(changes_alike)
{
    struct twin twin;
    twin_start(&twin, PROJ_FILE, "proj.db");
    twin_fork(&twin, true);
    twin_exec(&twin,
              "BEGIN;"
              "CREATE TABLE survey(id INTEGER PRIMARY KEY, auth_name TEXT, code TEXT, taken_at TEXT DEFAULT 'never');"
              "INSERT INTO survey(auth_name, code) SELECT auth_name, code FROM geodetic_crs ORDER BY 1, 2;"
              "CREATE INDEX survey_by_code ON survey(code, auth_name);"
              "ALTER TABLE ellipsoid ADD COLUMN remark TEXT DEFAULT 'round';"
              "COMMIT");
    twin_commit(&twin);
    twin_exec(
        &twin,
        "ALTER TABLE survey RENAME COLUMN taken_at TO seen_at;"
        "UPDATE ellipsoid SET remark = name WHERE rowid % 2 = 0;"
        "DROP INDEX survey_by_code; CREATE VIEW surveyed AS SELECT s.code, g.name FROM survey s JOIN geodetic_crs g "
        "ON g.code = s.code AND g.auth_name = s.auth_name;"
        "SELECT * FROM surveyed ORDER BY 1, 2; ANALYZE");
    twin_compare(&twin);
    twin_fork(&twin, false);
    twin_exec(&twin, "PRAGMA page_size=1024; VACUUM; PRAGMA integrity_check");
    twin_compare(&twin);
    twin_exec(&twin, every_table);
    compare_tables(&twin);
    twin_compare_past(&twin);
    twin_stop(&twin);
}

int main(void)
{
    static const struct harness_case cases[] = {CASE(comes_out_as_it_went_in), CASE(changes_alike)};
    if (access(PROJ_FILE, R_OK) != 0) {
        printf("%s is not here (package proj-data): skipped\n", PROJ_FILE);
        return 99;
    }
    return harness_run("oracle_proj", cases, COUNT_OF(cases));
}
