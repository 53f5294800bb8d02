/* test_api.c - bough_migrate() on connections, and what every failing allocation leaves behind. */
#include "bough_migrate.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a database ---- */

static sqlite3 *open_db(void)
{
    sqlite3 *db = NULL;

    ck_assert_int_eq(sqlite3_open(harness_path("app.db"), &db), SQLITE_OK);
    return db;
}

static void run_sql(sqlite3 *db, const char *sql)
{
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
}

/* The first column of the first row; -1 for none. */
static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int64_t value = -1;

    ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
    if (sqlite3_step(statement) == SQLITE_ROW)
        value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static const bough_migration users = {
    .defined_at_ms = 1741914000000,
    .name = "users",
    .up = "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO users VALUES (1, 'Alice')",
    .down = "DROP TABLE users",
};
static const bough_migration posts = {
    .defined_at_ms = 1742000400000,
    .name = "posts",
    .description = "what they wrote",
    .up = "CREATE TABLE posts(id INTEGER PRIMARY KEY, user REFERENCES users(id)); INSERT INTO posts VALUES (1, 1)",
    .down = "DROP TABLE posts",
};
static const bough_migration settings = {
    .defined_at_ms = 1742086800000, .name = "settings", .up = "PRAGMA foreign_keys = ON", .ephemeral = true};

/* "-" and names rolled back, "+" and names applied. */
static const char *migrate(sqlite3 *db, const bough_migration *defined, size_t count,
                           const bough_migrate_options *options)
{
    static char text[256];
    bough_migration_target target = {.connection = db};
    bough_migration_run run;

    ASSERT_OK(bough_migrate(&run, &target, defined, count, options));
    strcpy(text, "-");
    for (size_t i = 0; i < run.rolled_back_count; i++)
        strcat(strcat(text, " "), run.rolled_back[i].name);
    strcat(text, " +");
    for (size_t i = 0; i < run.applied_count; i++)
        strcat(strcat(text, " "), run.applied[i].name);
    bough_migration_run_release(&run);
    bough_migration_run_release(&run);
    return text;
}

static void fails(int code, sqlite3 *db, const bough_migration *defined, size_t count,
                  const bough_migrate_options *options)
{
    bough_migration_target target = {.connection = db};
    bough_migration_run run;

    ASSERT_CODE(code, bough_migrate(&run, &target, defined, count, options));
    ck_assert_uint_eq(run.applied_count + run.rolled_back_count, 0);
}

/* ---- runs ---- */

TEST(database_follows_the_program)
{
    sqlite3 *db = open_db();
    const bough_migration all[] = {users, posts};
    const bough_migration other[] = {users, {.defined_at_ms = 1742000400000, .name = "other", .up = "", .down = ""}};

    ck_assert_str_eq(migrate(db, all, 1, NULL), "- + users");
    ck_assert_str_eq(migrate(db, all, 2, NULL), "- + posts");
    ck_assert_str_eq(migrate(db, all, 2, NULL), "- +");
    ck_assert_str_eq(migrate(db, other, 2, NULL), "- posts + other");
    ck_assert_str_eq(migrate(db, all, 0, NULL), "- other users +");
    ck_assert_int_eq(number(db, "SELECT count(*) FROM sqlite_schema WHERE name IN ('users', 'posts')"), 0);
    sqlite3_close(db);
}

TEST(status_tells_and_touches_nothing)
{
    sqlite3 *db = open_db();
    const bough_migration all[] = {users, posts, settings};
    bough_migration changed = users;
    bough_migration_target target = {.connection = db};
    bough_migration_list list;

    ASSERT_OK(bough_migration_status(&list, &target, all, 3, NULL));
    ck_assert(!list.in_step && list.count == 3 && list.items[1].state == BOUGH_MIGRATION_PENDING);
    ck_assert_int_eq(list.items[1].applied_at_ms, 0);
    ck_assert(list.items[2].ephemeral);
    bough_migration_list_release(&list);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM sqlite_schema"), 0);
    migrate(db, all, 3, NULL);
    ASSERT_OK(bough_migration_status(&list, &target, all, 3, NULL));
    ck_assert(list.in_step);
    ck_assert_str_eq(list.items[1].version, "20250315010000");
    ck_assert_str_eq(list.items[1].description, "what they wrote");
    bough_migration_list_release(&list);
    changed.up = "CREATE TABLE users(id INTEGER PRIMARY KEY)";
    ASSERT_OK(bough_migration_status(&list, &target, &changed, 1, NULL));
    ck_assert(!list.in_step && list.items[0].state == BOUGH_MIGRATION_CHANGED);
    ck_assert_int_eq(list.items[1].state, BOUGH_MIGRATION_MISSING);
    ck_assert_int_eq(list.items[2].state, BOUGH_MIGRATION_APPLIED);
    bough_migration_list_release(&list);
    sqlite3_close(db);
}

TEST(definitions_are_checked_first)
{
    sqlite3 *db = open_db();
    const bough_migration backwards[] = {posts, users};
    const bough_migration twice[] = {users, users};
    const bough_migration nothing = {.defined_at_ms = 1, .name = "nothing"};

    fails(BOUGH_USAGE, db, backwards, 2, NULL);
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "posts"));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "users"));
    fails(BOUGH_USAGE, db, twice, 2, NULL);
    fails(BOUGH_USAGE, db, &nothing, 1, NULL);
    fails(BOUGH_USAGE, NULL, &users, 1, NULL);
    sqlite3_close(db);
}

TEST(connections_that_are_in_use_are_refused)
{
    sqlite3 *db = open_db();
    sqlite3_stmt *statement = NULL;

    run_sql(db, "CREATE TABLE t(a); INSERT INTO t VALUES (1), (2); BEGIN");
    fails(BOUGH_REFUSED, db, &users, 1, NULL);
    run_sql(db, "COMMIT");
    ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT * FROM t", -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    fails(BOUGH_REFUSED, db, &users, 1, NULL);
    sqlite3_reset(statement);
    ck_assert_str_eq(migrate(db, &users, 1, NULL), "- + users");
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

TEST(foreign_keys_are_off_meanwhile_and_back_after)
{
    sqlite3 *db = open_db();
    const bough_migration rebuild = {
        .defined_at_ms = 1742173200000,
        .name = "rebuild",
        .up = "CREATE TABLE n(id INTEGER PRIMARY KEY, name TEXT, more); "
              "INSERT INTO n(id, name) SELECT id, name FROM users; DROP TABLE users; ALTER TABLE n RENAME TO users"};
    const bough_migration all[] = {users, posts, rebuild};
    const bough_migration orphans[] = {
        users, posts, rebuild, {.defined_at_ms = 1742259600000, .name = "orphans", .up = "DELETE FROM users"}};

    run_sql(db, "PRAGMA foreign_keys = ON");
    migrate(db, all, 3, NULL);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM posts"), 1);
    ck_assert_int_eq(number(db, "PRAGMA foreign_keys"), 1);
    fails(BOUGH_SQL, db, orphans, 4, NULL);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM users"), 1);
    ck_assert_int_eq(number(db, "PRAGMA foreign_keys"), 1);
    sqlite3_close(db);
}

TEST(ephemeral_ones_run_on_the_callers_connection_every_time)
{
    sqlite3 *db = open_db();
    const bough_migration all[] = {users, settings};

    ck_assert_str_eq(migrate(db, all, 2, NULL), "- + users settings");
    ck_assert_int_eq(number(db, "PRAGMA foreign_keys"), 1);
    sqlite3_close(db);
    db = open_db();
    ck_assert_int_eq(number(db, "PRAGMA foreign_keys"), 0);
    ck_assert_str_eq(migrate(db, all, 2, NULL), "- +");
    ck_assert_int_eq(number(db, "PRAGMA foreign_keys"), 1);
    ck_assert_str_eq(migrate(db, all, 1, NULL), "- +");
    sqlite3_close(db);
}

/* ---- deferred migrations ---- */

struct building {
    int calls, code;
};

static int build(void *context, sqlite3 *db, char **out_up, char **out_down)
{
    struct building *building = context;

    building->calls++;
    if (building->code != BOUGH_OK)
        return bough_error_set(building->code, "the callback does not want to");
    *out_up = sqlite3_mprintf("CREATE TABLE made_%lld(a)", (long long)number(db, "SELECT count(*) FROM users"));
    *out_down = sqlite3_mprintf("DROP TABLE made_1");
    return BOUGH_OK;
}

TEST(deferred_ones_are_built_when_they_are_applied)
{
    sqlite3 *db = open_db();
    struct building building = {0, BOUGH_OK};
    const bough_migration all[] = {
        users, {.defined_at_ms = 1742173200000, .name = "made", .build = build, .build_context = &building}};

    building.code = BOUGH_BUSY;
    fails(BOUGH_BUSY, db, all, 2, NULL);
    ck_assert_str_eq(bough_error_message(), "the callback does not want to");
    ck_assert_int_eq(number(db, "SELECT count(*) FROM sqlite_schema"), 0);
    building.code = BOUGH_OK;
    migrate(db, all, 2, NULL);
    ck_assert_int_eq(building.calls, 2);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM made_1"), 0);
    ck_assert_str_eq(migrate(db, all, 1, NULL), "- made +");
    ck_assert_int_eq(building.calls, 2);
    sqlite3_close(db);
}

/* ---- options ---- */

static void listen(void *context, enum bough_migrate_event event, const char *text)
{
    static const char marks[] = {'-', '+', '!', '?'};
    char *log = context;

    sprintf(log + strlen(log), "%c%s;", marks[event], text);
}

TEST(options)
{
    sqlite3 *db = open_db();
    bough_migrate_options options = BOUGH_MIGRATE_OPTIONS_INIT;
    const bough_migration all[] = {users, posts};
    const bough_migration late[] = {
        users, {.defined_at_ms = 1741914000001, .name = "late", .up = "SELECT 1", .down = "SELECT 1"}, posts};
    char log[1024] = "";

    options.table = "versions";
    options.log = listen;
    options.log_context = log;
    options.dry_run = true;
    ck_assert_str_eq(migrate(db, all, 2, &options), "- + users posts");
    ck_assert_int_eq(number(db, "SELECT count(*) FROM sqlite_schema"), 0);
    options.dry_run = false;
    options.action = BOUGH_MIGRATE_UP;
    options.limit = 1;
    ck_assert_str_eq(migrate(db, all, 2, &options), "- + users");
    ck_assert_str_eq(migrate(db, all, 2, &options), "- + posts");
    ck_assert_str_eq(log, "+20250314010000 users;+20250315010000 posts;");
    ck_assert_int_eq(number(db, "SELECT count(*) FROM versions"), 2);
    options.action = BOUGH_MIGRATE_SYNC;
    options.late = BOUGH_LATE_REFUSE;
    fails(BOUGH_REFUSED, db, late, 3, &options);
    options.late = BOUGH_LATE_REWIND;
    ck_assert_str_eq(migrate(db, late, 3, &options), "- posts + late posts");
    log[0] = 0;
    ck_assert_str_eq(migrate(db, all, 2, &options), "- posts late + posts");
    options.late = BOUGH_LATE_APPLY;
    log[0] = 0;
    ck_assert_str_eq(migrate(db, late, 3, &options), "- + late");
    ck_assert_int_eq(log[0], '!');
    options.action = BOUGH_MIGRATE_TO;
    options.version_ms = 5;
    fails(BOUGH_NOT_FOUND, db, late, 3, &options);
    options.version_ms = users.defined_at_ms;
    ck_assert_str_eq(migrate(db, late, 3, &options), "- late posts +");
    options.action = BOUGH_MIGRATE_REDO;
    ck_assert_str_eq(migrate(db, all, 1, &options), "- users + users");
    options.action = BOUGH_MIGRATE_DOWN;
    ck_assert_str_eq(migrate(db, all, 1, &options), "- users +");
    sqlite3_close(db);
}

TEST(bare_migrations_need_leave)
{
    sqlite3 *db = open_db();
    bough_migrate_options options = BOUGH_MIGRATE_OPTIONS_INIT;
    const bough_migration all[] = {users,
                                   {.defined_at_ms = 1742173200000,
                                    .name = "vacuum",
                                    .up = "PRAGMA foreign_keys = ON; VACUUM",
                                    .down = "VACUUM",
                                    .up_outside_transaction = true,
                                    .down_outside_transaction = true},
                                   {.defined_at_ms = 1742259600000,
                                    .name = "last",
                                    .up = "CREATE TABLE last AS SELECT * FROM pragma_foreign_keys",
                                    .down = "DROP TABLE last"}};

    fails(BOUGH_REFUSED, db, all, 3, NULL);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM sqlite_schema"), 0);
    options.not_atomic = true;
    migrate(db, all, 3, &options);
    ck_assert_int_eq(number(db, "SELECT * FROM last"), 0);
    ck_assert_str_eq(migrate(db, all, 1, &options), "- last vacuum +");
    ck_assert_int_eq(number(db, "PRAGMA foreign_keys"), 0);
    sqlite3_close(db);
}

/* ---- no memory ---- */

static sqlite3_mem_methods real;
static int allocations_left = -1; /* negative: no limit */
static bool fails_for_good;
static bool has_failed;

static bool may_allocate(void)
{
    if (allocations_left < 0)
        return true;
    if (allocations_left-- > 0)
        return true;
    has_failed = true;
    if (fails_for_good)
        allocations_left = 0;
    return false;
}

static void *limited_malloc(int size)
{
    return may_allocate() ? real.xMalloc(size) : NULL;
}

static void *limited_realloc(void *old, int size)
{
    return may_allocate() ? real.xRealloc(old, size) : NULL;
}

static void limit_allocations(void)
{
    sqlite3_mem_methods limited;

    ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real), SQLITE_OK);
    limited = real;
    limited.xMalloc = limited_malloc;
    limited.xRealloc = limited_realloc;
    ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &limited), SQLITE_OK);
    /* Else most allocations would be served from its pool. */
    ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK);
}

static bool is_same_file(const uint8_t *bytes, size_t length)
{
    size_t now_length = 0;
    uint8_t *now = harness_read_file(harness_path("app.db"), &now_length);
    bool is_same = now_length == length && !memcmp(now, bytes, length);

    free(now);
    return is_same;
}

/* A run that rolls one back and applies another, with the n-th allocation failing. SQLite does without some of them.
 * Without memory for a ROLLBACK the transaction ends with the connection. */
static int run_with(int n, const bough_migration *defined, size_t count)
{
    bough_migration_target target = {.connection = open_db()};
    bough_migration_run run;
    int rc = BOUGH_OK;

    has_failed = false;
    allocations_left = n;
    rc = bough_migrate(&run, &target, defined, count, NULL);
    allocations_left = -1;
    ck_assert_msg(has_failed || rc == BOUGH_OK, "%d: %d %s", n, rc, bough_error_message());
    ck_assert(fails_for_good || sqlite3_get_autocommit(target.connection));
    bough_migration_run_release(&run);
    sqlite3_close(target.connection);
    return rc;
}

static void fail_each(bool for_good)
{
    const bough_migration before[] = {users, posts};
    const bough_migration after[] = {users,
                                     {.defined_at_ms = 1742173200000,
                                      .name = "new",
                                      .up = "CREATE TABLE new(a); SELECT 1",
                                      .down = "DROP TABLE new"}};
    size_t length = 0;
    uint8_t *bytes = NULL;
    sqlite3 *db = NULL;
    int every = (int)harness_number("BOUGH_FAULT_EVERY", for_good ? 5 : 2);
    int failures = 0;

    limit_allocations();
    fails_for_good = for_good;
    db = open_db();
    migrate(db, before, 2, NULL);
    sqlite3_close(db);
    bytes = harness_read_file(harness_path("app.db"), &length);
    has_failed = true;
    for (int n = 0; has_failed; n += every) {
        int rc = run_with(n, after, 2);

        ck_assert_msg(rc == BOUGH_OK || is_same_file(bytes, length), "after %d allocations", n);
        failures += rc != BOUGH_OK;
        if (rc == BOUGH_OK) {
            db = open_db();
            ck_assert_int_eq(number(db, "SELECT count(*) FROM new"), 0);
            sqlite3_close(db);
            harness_write_file(harness_path("app.db"), bytes, length);
        }
    }
    ck_assert_int_gt(failures, 1000 / every);
    free(bytes);
}

TEST(one_failing_allocation_leaves_the_database_as_it_was)
{
    fail_each(false);
}

TEST(no_memory_from_one_moment_on)
{
    fail_each(true);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(database_follows_the_program),
        CASE(status_tells_and_touches_nothing),
        CASE(definitions_are_checked_first),
        CASE(connections_that_are_in_use_are_refused),
        CASE(foreign_keys_are_off_meanwhile_and_back_after),
        CASE(ephemeral_ones_run_on_the_callers_connection_every_time),
        CASE(deferred_ones_are_built_when_they_are_applied),
        CASE(options),
        CASE(bare_migrations_need_leave),
        CASE(one_failing_allocation_leaves_the_database_as_it_was),
        CASE(no_memory_from_one_moment_on),
    };

    return harness_run("migrate api", cases, COUNT_OF(cases));
}
