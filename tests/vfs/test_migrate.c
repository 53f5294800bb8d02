/* test_migrate.c - bough_migrate() on a branch: the caller's connection, callbacks, what a run is told and tells. */
#include "database.h"

#include "bough_migrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bough_store *store;
static sqlite3 *db;

static void begin(void)
{
    database_store("s");
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    db = database_open();
    database_fill(db, 30, 40);
}

static void end(void)
{
    bough_verification found;
    database_check(db);
    database_close(db);
    ASSERT_OK(bough_verify(&found, store, NULL, NULL));
    ck_assert(found.ok);
    bough_verification_release(&found);
    bough_store_close(store);
}

static bough_migration_target target(void)
{
    return (bough_migration_target){.connection = db, .store = store, .branch = "main"};
}

static int migrate(bough_migration_run *out, const bough_migration *defined, size_t count,
                   const bough_migrate_options *options)
{
    bough_migration_target to = target();
    return bough_migrate(out, &to, defined, count, options);
}

static const bough_migration two[] = {
    {.defined_at_ms = 1, .name = "tags", .up = "CREATE TABLE tags(a)", .down = "DROP TABLE tags"},
    {.defined_at_ms = 2, .name = "c", .up = "ALTER TABLE t ADD COLUMN c", .down = "ALTER TABLE t DROP COLUMN c"},
};

TEST(forwards_and_back)
{
    bough_migration_run run;
    bough_migration_list list;
    bough_migration_target to = target();
    begin();
    to = target();
    ASSERT_OK(bough_migration_status(&list, &to, two, 2, NULL));
    ck_assert(!list.in_step && list.count == 2);
    bough_migration_list_release(&list);
    ASSERT_OK(migrate(&run, two, 2, NULL));
    ck_assert(run.applied_count == 2 && run.rolled_back_count == 0 && strlen(run.commit) == 64);
    bough_migration_run_release(&run);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE c IS NULL"), 30); /* the open one follows */
    ASSERT_OK(bough_migration_status(&list, &to, two, 2, NULL));
    ck_assert(list.in_step);
    bough_migration_list_release(&list);
    ASSERT_OK(migrate(&run, two, 1, NULL)); /* code that never heard of the second */
    ck_assert(run.rolled_back_count == 1 && run.by_overlay);
    ck_assert_str_eq(run.rolled_back[0].name, "c");
    bough_migration_run_release(&run);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM pragma_table_info('t')"), 2);
    end();
}

/* On the caller's own connection, after the branch has moved. */
TEST(ephemeral_on_the_caller_s_connection)
{
    const bough_migration defined[] = {
        two[0],
        {.defined_at_ms = 3, .name = "session", .up = "PRAGMA foreign_keys = ON; PRAGMA cache_size = 77",
         .ephemeral = true},
    };
    bough_migration_run run;
    begin();
    ck_assert_int_eq(database_number(db, "PRAGMA foreign_keys"), 0);
    ASSERT_OK(migrate(&run, defined, 2, NULL));
    ck_assert_uint_eq(run.applied_count, 2);
    bough_migration_run_release(&run);
    ck_assert_int_eq(database_number(db, "PRAGMA foreign_keys"), 1);
    ck_assert_int_eq(database_number(db, "PRAGMA cache_size"), 77);
    database_run(db, "PRAGMA cache_size = 5");
    ASSERT_OK(migrate(&run, defined, 2, NULL)); /* nothing to do, and all the same */
    ck_assert_uint_eq(run.applied_count, 0);
    bough_migration_run_release(&run);
    ck_assert_int_eq(database_number(db, "PRAGMA cache_size"), 77);
    end();
}

static void nothing(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    sqlite3_result_null(context);
}

/* What only the caller's connection has is no fault beforehand; all else is, before the branch moves. */
TEST(ephemeral_ones_are_tried_before_the_branch_moves)
{
    bough_migration defined[] = {
        two[0], {.defined_at_ms = 3, .name = "session", .up = "SELECT mine(a) FROM tags; SELECT 1 FROM nowhere",
                 .ephemeral = true}};
    bough_migration_run run;
    begin();
    CODE(SQLITE_OK, sqlite3_create_function(db, "mine", 1, SQLITE_UTF8, NULL, nothing, NULL, NULL));
    ASSERT_CODE(BOUGH_SQL, migrate(&run, defined, 2, NULL));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "nowhere"));
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'tags'"), 0);
    defined[1].up = "SELECT mine(a) FROM tags; CREATE TEMP TABLE seen(a); INSERT INTO seen VALUES (1)";
    ASSERT_OK(migrate(&run, defined, 2, NULL));
    ck_assert_uint_eq(run.applied_count, 2);
    bough_migration_run_release(&run);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM seen"), 1);
    defined[1].up = "SELECT mine(a, 1) FROM tags"; /* nothing else to do */
    ASSERT_CODE(BOUGH_SQL, migrate(&run, defined, 2, NULL));
    end();
}

TEST(a_busy_connection_is_refused)
{
    bough_migration_run run;
    sqlite3_stmt *statement = NULL;
    begin();
    database_run(db, "BEGIN");
    ASSERT_CODE(BOUGH_REFUSED, migrate(&run, two, 2, NULL));
    database_run(db, "COMMIT");
    CODE(SQLITE_OK, sqlite3_prepare_v2(db, "SELECT * FROM t", -1, &statement, NULL));
    CODE(SQLITE_ROW, sqlite3_step(statement));
    ASSERT_CODE(BOUGH_REFUSED, migrate(&run, two, 2, NULL));
    sqlite3_finalize(statement);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'tags'"), 0);
    ASSERT_OK(migrate(&run, two, 2, NULL));
    bough_migration_run_release(&run);
    end();
}

/* Somebody writes while the run is on its fork; the second run then keeps him out. */
struct meddler {
    int calls, kept_out;
};

static int meddle(void *context, sqlite3 *fork, char **out_up, char **out_down)
{
    struct meddler *meddler = context;
    sqlite3 *other = database_open();
    (void)fork;
    meddler->calls++;
    int code = database_try(other, "INSERT INTO t VALUES(%d, 'meanwhile')", 1000 + meddler->calls);
    ck_assert(code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY);
    meddler->kept_out += code != SQLITE_OK;
    database_close(other);
    *out_up = sqlite3_mprintf("CREATE TABLE made AS SELECT a FROM t");
    *out_down = sqlite3_mprintf("DROP TABLE made");
    return *out_up && *out_down ? BOUGH_OK : BOUGH_NOMEM;
}

TEST(a_writer_comes_in_between)
{
    struct meddler meddler = {0, 0};
    const bough_migration defined[] = {
        {.defined_at_ms = 1, .name = "made", .build = meddle, .build_context = &meddler}};
    bough_migration_run run;
    begin();
    ASSERT_OK(migrate(&run, defined, 1, NULL));
    ck_assert_uint_eq(run.applied_count, 1); /* told once */
    bough_migration_run_release(&run);
    ck_assert_int_eq(meddler.calls, 2);
    ck_assert_int_eq(meddler.kept_out, 1);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 'meanwhile'"), 1);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM made"), 31);
    database_run(db, "INSERT INTO t VALUES(2000, 'after')"); /* nobody is kept out any more */
    end();
}

static int give_up(void *context, sqlite3 *fork, char **out_up, char **out_down)
{
    (void)context;
    (void)fork;
    (void)out_down;
    *out_up = sqlite3_mprintf("not used");
    return bough_error_set(BOUGH_INTERRUPTED, "had enough");
}

TEST(whatever_fails_changes_nothing)
{
    const bough_migration gives_up[] = {two[0], {.defined_at_ms = 5, .name = "x", .build = give_up}};
    const bough_migration fails[] = {
        two[0], {.defined_at_ms = 5, .name = "x", .up = "INSERT INTO t SELECT * FROM t"}};
    bough_migration_run run;
    bough_branches before, after;
    begin();
    ASSERT_OK(bough_branch_get(&before, store, "main"));
    ASSERT_CODE(BOUGH_INTERRUPTED, migrate(&run, gives_up, 2, NULL));
    ck_assert_str_eq(bough_error_message(), "had enough");
    ck_assert(run.applied_count == 0 && run.applied == NULL);
    ASSERT_CODE(BOUGH_SQL, migrate(&run, fails, 2, NULL));
    ASSERT_OK(bough_branch_get(&after, store, "main"));
    ck_assert_str_eq(after.items[0].head, before.items[0].head);
    ck_assert(after.items[0].dirty && before.items[0].dirty);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'tags'"), 0);
    bough_branches_release(&before);
    bough_branches_release(&after);
    end();
}

TEST(what_is_no_target)
{
    bough_migration_run run;
    bough_migration_list list;
    begin();
    bough_migration_target to = {.store = store};
    ASSERT_CODE(BOUGH_USAGE, bough_migrate(&run, &to, two, 2, NULL));
    ASSERT_CODE(BOUGH_USAGE, bough_migration_status(&list, &to, two, 2, NULL));
    to.branch = "nothing";
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_migrate(&run, &to, two, 2, NULL));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_migration_status(&list, &to, two, 2, NULL));
    end();
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(forwards_and_back),
        CASE(ephemeral_on_the_caller_s_connection),
        CASE(ephemeral_ones_are_tried_before_the_branch_moves),
        CASE(a_busy_connection_is_refused),
        CASE(a_writer_comes_in_between),
        CASE(whatever_fails_changes_nothing),
        CASE(what_is_no_target),
    };
    return harness_run("migrate", cases, COUNT_OF(cases));
}
