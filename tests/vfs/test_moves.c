/* test_moves.c - connections that stay open while their branch is reset, promoted onto, imported into or deleted.
 *
 * The answers of the open connection are compared with those of a fresh one. What makes it hard is what SQLite keeps:
 * pages, the schema, prepared statements, cursors, and what virtual tables keep beside them.
 */
#include "database.h"

#include "move.h"
#include "os.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bough_store *store;
static const bough_options no_wait = {.struct_size = sizeof no_wait};

static void begin(void)
{
    database_store("s");
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
}

static int reset(const char *ref, bool discards)
{
    bough_sealed sealed;
    bough_options options = BOUGH_OPTIONS_INIT;
    options.discard = discards;
    options.timeout_ms = 50;
    int rc = bough_branch_reset(&sealed, store, "main", ref, &options);
    if (rc == BOUGH_OK)
        bough_sealed_release(&sealed);
    return rc;
}

static void tag(const char *name)
{
    bough_tags tags;
    ASSERT_OK(bough_tag_create(&tags, store, name, "main"));
    bough_tags_release(&tags);
}

/* The same query on the open connection and on a fresh one. */
static void same(sqlite3 *db, const char *query)
{
    sqlite3 *fresh = database_open();
    char *expected = database_rows(fresh, "%s", query), *got = database_rows(db, "%s", query);
    ck_assert_str_eq(got, expected);
    free(expected);
    free(got);
    database_close(fresh);
}

/* ---- pages and counters ---- */

TEST(the_next_transaction_sees_the_new_state)
{
    begin();
    sqlite3 *db = database_open();
    database_fill(db, 200, 300);
    tag("v1");
    database_run(db, "UPDATE t SET b = 'new' WHERE a %% 3 = 0");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 'new'"), 66);
    ASSERT_OK(reset("v1", false));
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 'new'"), 0);
    same(db, "SELECT * FROM t");
    database_run(db, "INSERT INTO t VALUES(1000, 'after')");
    same(db, "SELECT * FROM t");
    database_check(db);
    database_close(db);
    bough_store_close(store);
}

TEST(a_read_in_progress_ends_on_its_state)
{
    begin();
    sqlite3 *db = database_open(), *writer = database_open();
    sqlite3_stmt *cursor = NULL;
    database_fill(db, 2000, 100);
    tag("v1");
    database_run(db, "UPDATE t SET b = 'new'");
    CODE(SQLITE_OK, sqlite3_prepare_v2(db, "SELECT a, b FROM t ORDER BY a", -1, &cursor, NULL));
    int rows = 0;
    for (; sqlite3_step(cursor) == SQLITE_ROW; rows++) {
        ck_assert_str_eq((const char *)sqlite3_column_text(cursor, 1), "new");
        if (rows == 5) {
            ASSERT_OK(reset("v1", true));
            database_run(writer, "DELETE FROM t WHERE a > 10");
        }
    }
    ck_assert_int_eq(rows, 2000);
    sqlite3_finalize(cursor);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 10);
    same(db, "SELECT * FROM t");
    database_close(writer);
    database_close(db);
    bough_store_close(store);
}

/* Both states have the same change counter, and the open connection's cache is full of the other one's pages. */
TEST(equal_counters)
{
    begin();
    sqlite3 *db = database_open();
    database_fill(db, 100, 200);
    tag("zero");
    database_run(db, "UPDATE t SET b = 'one'");
    tag("one");
    ASSERT_OK(reset("zero", true));
    database_run(db, "UPDATE t SET b = 'two'");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 'two'"), 100);
    ASSERT_OK(reset("one", true));
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 'one'"), 100);
    database_check(db);
    database_close(db);
    bough_store_close(store);
}

/* ---- schema ---- */

/* Equal schema cookies: an INSERT that was prepared for b must not land in the table that stands in its place. */
TEST(equal_cookies)
{
    begin();
    sqlite3 *db = database_open();
    sqlite3_stmt *insert = NULL;
    database_run(db, "CREATE TABLE base(x)");
    tag("base");
    database_run(db, "CREATE TABLE a(x)");
    database_run(db, "CREATE TABLE b(x)");
    tag("ab");
    int64_t cookie = database_number(db, "PRAGMA schema_version");
    ASSERT_OK(reset("base", true));
    database_run(db, "CREATE TABLE b(x)");
    database_run(db, "CREATE TABLE a(x)");
    tag("ba");
    ASSERT_OK(reset("ab", true));
    sqlite3 *other = database_open();
    CODE(SQLITE_OK, sqlite3_prepare_v2(other, "INSERT INTO b VALUES('meant for b')", -1, &insert, NULL));
    ck_assert_int_eq(database_number(other, "PRAGMA schema_version"), cookie);
    ASSERT_OK(reset("ba", true));
    CODE(SQLITE_DONE, sqlite3_step(insert));
    sqlite3_finalize(insert);
    ck_assert_int_eq(database_number(other, "SELECT count(*) FROM b"), 1);
    ck_assert_int_eq(database_number(other, "SELECT count(*) FROM a"), 0);
    same(other, "SELECT 'a', x FROM a UNION ALL SELECT 'b', x FROM b");
    /* What a fresh connection sees is the true cookie. */
    sqlite3 *fresh = database_open();
    ck_assert_int_eq(database_number(fresh, "PRAGMA schema_version"), cookie);
    database_close(fresh);
    database_close(other);
    database_close(db);
    bough_store_close(store);
}

/* A statement of two changes ago meets the cookie of its time again. */
TEST(a_cookie_comes_back)
{
    begin();
    sqlite3 *db = database_open();
    sqlite3_stmt *insert = NULL;
    database_run(db, "CREATE TABLE base(x)");
    tag("base");
    database_run(db, "CREATE TABLE a(x)");
    database_run(db, "CREATE TABLE b(x)");
    tag("ab");
    ASSERT_OK(reset("base", true));
    database_run(db, "CREATE TABLE b(x)");
    database_run(db, "CREATE TABLE a(x)");
    tag("ba");
    for (int round = 0; round < 6; round++) {
        ASSERT_OK(reset(round % 2 ? "ab" : "ba", true));
        if (!insert)
            CODE(SQLITE_OK, sqlite3_prepare_v2(db, "INSERT INTO b VALUES(1)", -1, &insert, NULL));
        CODE(SQLITE_DONE, sqlite3_step(insert));
        sqlite3_reset(insert);
        ck_assert_int_eq(database_number(db, "SELECT count(*) FROM b"), 1);
        ck_assert_int_eq(database_number(db, "SELECT count(*) FROM a"), 0);
        database_run(db, "CREATE TABLE c%d(x)", round); /* the connection's own changes move the cookie as well */
    }
    sqlite3_finalize(insert);
    database_check(db);
    database_close(db);
    bough_store_close(store);
}

TEST(the_delta_stays_out_of_the_store)
{
    begin();
    sqlite3 *db = database_open();
    database_run(db, "CREATE TABLE a(x)");
    tag("v1");
    int64_t cookie = database_number(db, "PRAGMA schema_version");
    database_run(db, "CREATE TABLE b(x)");
    ASSERT_OK(reset("v1", true));
    int64_t shown = database_number(db, "PRAGMA schema_version");
    ck_assert_int_gt(shown, cookie + 1);
    database_run(db, "CREATE TABLE d(x)");
    ck_assert_int_eq(database_number(db, "PRAGMA schema_version"), shown + 1);
    sqlite3 *fresh = database_open();
    ck_assert_int_eq(database_number(fresh, "PRAGMA schema_version"), cookie + 1);
    /* A number that somebody sets is that number. */
    database_run(db, "PRAGMA schema_version = 700");
    ck_assert_int_eq(database_number(fresh, "PRAGMA schema_version"), 700);
    ck_assert_int_eq(database_number(db, "PRAGMA schema_version"), 700);
    database_run(db, "VACUUM");
    ck_assert_int_eq(database_number(fresh, "PRAGMA schema_version"),
                     database_number(db, "PRAGMA schema_version"));
    database_check(fresh);
    database_close(fresh);
    database_close(db);
    bough_store_close(store);
}

TEST(a_schema_number_that_is_rolled_back)
{
    begin();
    sqlite3 *db = database_open();
    database_run(db, "CREATE TABLE a(x)");
    tag("v1");
    database_run(db, "CREATE TABLE b(x)");
    ASSERT_OK(reset("v1", true));
    sqlite3 *fresh = database_open();
    int64_t stored = database_number(fresh, "PRAGMA schema_version");
    int64_t shown = database_number(db, "PRAGMA schema_version");
    database_run(db, "BEGIN; PRAGMA schema_version = 900; INSERT INTO a VALUES(1)");
    database_run(db, "ROLLBACK");
    ck_assert_int_eq(database_number(db, "PRAGMA schema_version"), shown);
    database_run(db, "INSERT INTO a VALUES(1)");
    ck_assert_int_eq(database_number(fresh, "PRAGMA schema_version"), stored);
    database_close(fresh);
    database_close(db);
    bough_store_close(store);
}

/* ---- virtual tables, shared cache ---- */

TEST(full_text_and_r_tree)
{
    static const char *const word = "SELECT rowid, x FROM f WHERE f MATCH 'word'";
    static const char *const box = "SELECT id FROM r WHERE lo <= 50 AND hi >= 10 ORDER BY id";
    begin();
    sqlite3 *db = database_open();
    database_run(db, "CREATE VIRTUAL TABLE f USING fts5(x); CREATE VIRTUAL TABLE r USING rtree(id, lo, hi)");
    for (int i = 0; i < 50; i++)
        database_run(db, "INSERT INTO f VALUES('word number %d'); INSERT INTO r VALUES(%d, %d, %d)", i, i, i, i + 1);
    tag("v1");
    database_run(db, "UPDATE f SET x = 'nothing'; DELETE FROM r WHERE id < 30");
    same(db, word);
    for (int round = 0; round < 4; round++) {
        ASSERT_OK(reset("v1", round % 2 != 0));
        if (round < 2) {
            same(db, word);
            same(db, box);
        }
        database_run(db, "INSERT INTO f VALUES('another word'); INSERT INTO r VALUES(99, 20, 21)");
        same(db, word);
        same(db, box);
        database_run(db, "INSERT INTO f(f) VALUES('integrity-check')");
        database_check(db);
    }
    database_close(db);
    bough_store_close(store);
}

TEST(shared_cache)
{
    begin();
    sqlite3 *seed = database_open();
    database_fill(seed, 50, 100);
    database_close(seed);
    tag("v1");
    const char *uri = database_uri("s", "main", "&cache=shared");
    sqlite3 *first = database_open_uri(uri), *second = database_open_uri(uri);
    database_run(first, "UPDATE t SET b = 'new'; CREATE TABLE more(x)");
    ck_assert_int_eq(database_number(second, "SELECT count(*) FROM more"), 0);
    ASSERT_OK(reset("v1", false));
    same(second, "SELECT * FROM t");
    same(first, "SELECT name FROM sqlite_schema");
    CODE(SQLITE_ERROR, database_try(second, "SELECT * FROM more") & 0xff);
    database_close(second);
    database_close(first);
    bough_store_close(store);
}

/* ---- writers ---- */

TEST(a_writer_is_waited_for_and_not_lost)
{
    begin();
    sqlite3 *db = database_open();
    database_fill(db, 20, 100);
    tag("v1");
    database_run(db, "BEGIN IMMEDIATE; INSERT INTO t VALUES(500, 'kept')");
    ASSERT_CODE(BOUGH_BUSY, reset("v1", false));
    database_run(db, "COMMIT");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 21);
    bough_sealed sealed;
    ASSERT_OK(bough_branch_reset(&sealed, store, "main", "v1", NULL));
    sqlite3 *left = database_open_uri(database_uri("s", "main", "&at=v1"));
    ck_assert_int_eq(database_number(left, "SELECT count(*) FROM t"), 20);
    database_close(left);
    char at[100];
    snprintf(at, sizeof at, "&at=%s", sealed.left);
    left = database_open_uri(database_uri("s", "main", at));
    ck_assert_int_eq(database_number(left, "SELECT count(*) FROM t WHERE a = 500"), 1);
    database_close(left);
    bough_sealed_release(&sealed);
    database_close(db);
    bough_store_close(store);
}

/* A read transaction of before the reset cannot be written on; the next one can. */
TEST(a_stale_transaction_cannot_be_written)
{
    begin();
    sqlite3 *db = database_open();
    database_fill(db, 20, 100);
    tag("v1");
    database_run(db, "DELETE FROM t WHERE a = 1");
    database_run(db, "BEGIN");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 19);
    ASSERT_OK(reset("v1", false));
    CODE(SQLITE_BUSY_SNAPSHOT, database_try(db, "INSERT INTO t VALUES(600, 'x')"));
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 19);
    database_run(db, "COMMIT");
    database_run(db, "INSERT INTO t VALUES(600, 'x')");
    same(db, "SELECT * FROM t");
    database_close(db);
    bough_store_close(store);
}

TEST(exclusive_mode)
{
    begin();
    sqlite3 *db = database_open();
    database_fill(db, 20, 100);
    tag("v1");
    database_run(db, "DELETE FROM t WHERE a = 1");
    database_run(db, "PRAGMA locking_mode = EXCLUSIVE");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 19);
    ASSERT_OK(reset("v1", false)); /* it has only read: it keeps its state until it lets go */
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 19);
    CODE(SQLITE_BUSY, database_try(db, "INSERT INTO t VALUES(700, 'x')") & 0xff);
    database_run(db, "BEGIN");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 19);
    CODE(SQLITE_BUSY_SNAPSHOT, database_try(db, "INSERT INTO t VALUES(700, 'x')"));
    database_run(db, "COMMIT");
    database_run(db, "PRAGMA locking_mode = NORMAL");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 19);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 20);
    database_run(db, "PRAGMA locking_mode = EXCLUSIVE; INSERT INTO t VALUES(700, 'x')");
    ASSERT_CODE(BOUGH_BUSY, reset("v1", false)); /* it has written */
    database_run(db, "INSERT INTO t VALUES(701, 'x')");
    database_run(db, "PRAGMA locking_mode = NORMAL");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 22);
    ASSERT_OK(reset("v1", false));
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 20);
    same(db, "SELECT * FROM t");
    database_close(db);
    bough_store_close(store);
}

/* ---- hidden branches and locks ---- */

static const char *hide(void)
{
    static char name[BOUGH_NAME_MAX + 1];
    bough_branches made;
    const char *base = "work";
    bough_options options = BOUGH_OPTIONS_INIT;
    options.hidden = true;
    ASSERT_OK(bough_branch_create(&made, store, &base, 1, "main", &options));
    snprintf(name, sizeof name, "%s", made.items[0].name);
    bough_branches_release(&made);
    return name;
}

TEST(a_hidden_branch_is_a_database)
{
    begin();
    sqlite3 *db = database_open();
    database_fill(db, 20, 30);
    const char *name = hide();
    sqlite3 *fork = database_open_uri(database_uri("s", name, ""));
    database_run(fork, "BEGIN; UPDATE t SET b = 'x'; ROLLBACK; UPDATE t SET b = 'y' WHERE a = 1; VACUUM");
    ck_assert_int_eq(database_number(fork, "SELECT count(*) FROM t WHERE b = 'y'"), 1);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 'y'"), 0);
    database_run(db, "ATTACH '%s' AS fork", database_uri("s", name, ""));
    database_run(db, "BEGIN; UPDATE t SET b = 'z' WHERE a = 2; UPDATE fork.t SET b = 'z' WHERE a = 3; COMMIT");
    bough_branches was;
    ASSERT_OK(bough_branch_rename(&was, store, (const char *[]){name}, (const char *[]){"kept"}, 1));
    bough_branches_release(&was);
    ck_assert_int_eq(database_number(fork, "SELECT count(*) FROM t WHERE b = 'z'"), 1); /* open all the time */
    database_run(fork, "UPDATE t SET b = 'w'");
    database_check(fork);
    database_close(fork);
    fork = database_open_uri(database_uri("s", "kept", ""));
    ck_assert_int_eq(database_number(fork, "SELECT count(*) FROM t WHERE b = 'w'"), 20);
    database_close(fork);
    database_close(db);
    bough_store_close(store);
}

/* Opening a branch is no command: it drops nothing, and meets no error because of what it would drop. */
TEST(connections_do_not_look_for_owners)
{
    begin();
    sqlite3 *db = database_open();
    database_fill(db, 20, 30);
    char name[BOUGH_NAME_MAX + 1];
    snprintf(name, sizeof name, "%s", hide());
    bough_store_close(store);
    sqlite3 *fork = database_open_uri(database_uri("s", name, ""));
    ck_assert_int_eq(database_number(fork, "SELECT count(*) FROM t"), 20);
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL)); /* it is in use */
    database_run(fork, "DELETE FROM t");
    database_close(fork);
    bough_store_close(store);
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    int code = database_try_open(&fork, database_uri("s", name, ""), SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI);
    CODE(SQLITE_CANTOPEN, code & 0xff);
    database_close(db);
    bough_store_close(store);
}

TEST(a_kept_lock)
{
    begin();
    sqlite3 *db = database_open();
    bough_lock *lock = NULL;
    bough_sealed sealed;
    bough_branches fork_row;
    database_fill(db, 20, 30);
    database_run(db, "BEGIN IMMEDIATE");
    ASSERT_CODE(BOUGH_BUSY, bough_branch_lock(&lock, store, "main", &no_wait));
    database_run(db, "INSERT INTO t VALUES(100, 'before'); COMMIT");
    ASSERT_OK(bough_branch_lock(&lock, store, "main", &no_wait));
    CODE(SQLITE_BUSY, database_try(db, "INSERT INTO t VALUES(101, 'kept out')"));
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 21);
    const char *name = hide();
    sqlite3 *fork = database_open_uri(database_uri("s", name, ""));
    database_run(fork, "UPDATE t SET b = 'new'; ALTER TABLE t ADD COLUMN c");
    database_close(fork);
    ASSERT_OK(bough_branch_get(&fork_row, store, name));
    bough_options options = no_wait;
    options.expect = fork_row.items[0].base;
    options.lock = lock;
    ASSERT_OK(bough_branch_promote(&sealed, store, name, NULL, &options));
    bough_sealed_release(&sealed);
    bough_branches_release(&fork_row);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 'new' AND c IS NULL"), 21);
    database_run(db, "INSERT INTO t VALUES(101, 'in', 5)"); /* the lock was used up */
    bough_lock_release(lock);
    database_run(db, "INSERT INTO t VALUES(102, 'in', 5)");
    same(db, "SELECT * FROM t");
    database_close(db);
    bough_store_close(store);
}

/* ---- whoever moves the branch is killed on the way ---- */

enum moment { BEFORE_THE_ROW, AFTER_THE_ROW };

/* Another process begins to reset main to its base and dies. */
static void die_in_a_move(enum moment moment)
{
    const char *path = harness_path("s.bough");
    pid_t child = fork();
    if (child == 0) {
        bough_store *own = NULL;
        struct bough__move move;
        struct bough__branch_row now = {0};
        int rc = bough_store_open(&own, path, NULL);
        rc = rc ? rc : bough__move_begin(&move, own, "main", "reset", &no_wait);
        rc = rc ? rc : bough__catalog_begin(own->catalog);
        rc = rc ? rc : bough__move_read(&now, &move);
        memcpy(now.head, now.base, sizeof now.head);
        rc = rc ? rc : bough__move_write(&move, &now, NULL);
        if (moment == AFTER_THE_ROW)
            rc = bough__move_finish(&move, rc);
        _exit(rc == BOUGH_OK ? 0 : 1);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void killed(enum moment moment, bool reads_meanwhile)
{
    bool is_moved = moment == AFTER_THE_ROW;
    begin();
    sqlite3 *db = database_open(), *reader = database_open();
    database_fill(db, 20, 100);
    if (reads_meanwhile)
        database_run(reader, "BEGIN; SELECT * FROM t");
    die_in_a_move(moment);
    if (reads_meanwhile)
        ck_assert_int_eq(database_number(reader, "SELECT count(*) FROM t"), 20);
    if (is_moved) {
        CODE(SQLITE_ERROR, database_try(db, "SELECT * FROM t") & 0xff); /* the base is empty */
        database_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
    }
    for (int i = 0; i < 5; i++)
        database_run(db, "INSERT INTO t VALUES(%d, 'after')", 100 + i);
    if (reads_meanwhile) {
        ck_assert_int_eq(database_number(reader, "SELECT count(*) FROM t"), 20);
        CODE(SQLITE_BUSY_SNAPSHOT, database_try(reader, "INSERT INTO t VALUES(200, 'x')"));
        database_run(reader, "COMMIT");
    }
    ck_assert_int_eq(database_number(reader, "SELECT count(*) FROM t"), is_moved ? 5 : 25);
    same(db, "SELECT * FROM t");
    same(reader, "SELECT * FROM t");
    ASSERT_OK(reset(NULL, false)); /* and the branch can be moved again */
    same(db, "SELECT count(*) FROM sqlite_schema");
    database_close(reader);
    database_close(db);
    bough_store_close(store);
}

TEST(killed_before_the_row) { killed(BEFORE_THE_ROW, false); }
TEST(killed_before_the_row_beside_a_reader) { killed(BEFORE_THE_ROW, true); }
TEST(killed_after_the_row) { killed(AFTER_THE_ROW, false); }
TEST(killed_after_the_row_beside_a_reader) { killed(AFTER_THE_ROW, true); }

/* Another process holds the writer's lock with the branch's new row on its way; when it is asked for the first time
 * whether it lives, it moves the row and dies. */
static struct {
    int (*lock)(int fd, int command, struct flock *lock);
    int go[2];
    pid_t child;
} mover;

static int lock_after_its_end(int fd, int command, struct flock *lock)
{
    if (mover.child != 0 && lock->l_start >= 16 && lock->l_type == F_WRLCK) {
        int status = 0;
        ck_assert_int_eq(write(mover.go[1], "g", 1), 1);
        ck_assert_int_eq(waitpid(mover.child, &status, 0), mover.child);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        mover.child = 0;
    }
    return mover.lock(fd, command, lock);
}

static void start_mover(void)
{
    const char *path = harness_path("s.bough");
    int ready[2];
    char word = 0;
    ck_assert(pipe(ready) == 0 && pipe(mover.go) == 0);
    mover.child = fork();
    if (mover.child == 0) {
        bough_store *own = NULL;
        struct bough__move move;
        struct bough__branch_row now = {0};
        int rc = bough_store_open(&own, path, NULL);
        rc = rc ? rc : bough__move_begin(&move, own, "main", "reset", &no_wait);
        rc = rc ? rc : bough__catalog_begin(own->catalog);
        rc = rc ? rc : bough__move_read(&now, &move);
        memcpy(now.head, now.base, sizeof now.head);
        rc = rc ? rc : bough__move_write(&move, &now, NULL);
        if (write(ready[1], "r", 1) != 1 || read(mover.go[0], &word, 1) != 1)
            _exit(2);
        rc = bough__move_finish(&move, rc);
        _exit(rc == BOUGH_OK ? 0 : 1);
    }
    ck_assert_int_eq(read(ready[0], &word, 1), 1);
    close(ready[0]);
    close(ready[1]);
}

static int delete_main(void)
{
    bough_branches gone;
    const char *name = "main";
    bough_options options = BOUGH_OPTIONS_INIT;
    options.force = true;
    options.timeout_ms = 50;
    int rc = bough_branch_delete(&gone, store, &name, 1, &options);
    if (rc == BOUGH_OK)
        bough_branches_release(&gone);
    return rc;
}

/* Whoever gets the lock of a layer that its branch has left must not say that all is well with it. */
static void heir_of_a_mover(bool deletes)
{
    begin();
    sqlite3 *db = database_open();
    database_fill(db, 20, 100);
    start_mover();
    mover.lock = bough__os.lock;
    bough__os.lock = lock_after_its_end;
    if (deletes)
        CODE(BOUGH_BUSY, delete_main());
    else
        ASSERT_OK(reset(NULL, false));
    bough__os.lock = mover.lock;
    ck_assert_int_eq(mover.child, 0);
    CODE(SQLITE_ERROR, database_try(db, "INSERT INTO t VALUES(100, 'after')") & 0xff); /* the base is empty */
    same(db, "SELECT count(*) FROM sqlite_schema");
    database_close(db);
    close(mover.go[0]);
    close(mover.go[1]);
    bough_store_close(store);
}

TEST(the_heir_of_a_killed_mover) { heir_of_a_mover(false); }
TEST(the_heir_of_a_killed_mover_deletes) { heir_of_a_mover(true); }

/* ---- other ways to another state ---- */

/* ---- between the look at the row and the writer's lock */

static struct {
    void *(*malloc)(size_t len_bytes);
    bool deletes;
    int rc;
} moment_of_begin;

/* A transaction's memory is asked for when the row was looked at and the lock is not yet taken. */
static void *move_before_the_lock(size_t len_bytes)
{
    bough__os.malloc = moment_of_begin.malloc;
    moment_of_begin.rc = moment_of_begin.deletes ? delete_main() : reset("v1", true);
    return bough__os.malloc(len_bytes);
}

static void write_as_the_branch_moves(bool deletes, int expected)
{
    begin();
    sqlite3 *db = database_open();
    database_fill(db, 20, 100);
    tag("v1");
    /* On its way to a journal in a file SQLite asks whether the branch was deleted; with one in memory nobody does. */
    database_run(db, "PRAGMA journal_mode = MEMORY; INSERT INTO t(b) VALUES('left')");
    database_run(db, "BEGIN; SELECT count(*) FROM t");
    moment_of_begin.malloc = bough__os.malloc;
    moment_of_begin.deletes = deletes;
    moment_of_begin.rc = -1;
    bough__os.malloc = move_before_the_lock;
    CODE(expected, database_try(db, "INSERT INTO t(b) VALUES('lost')"));
    bough__os.malloc = moment_of_begin.malloc;
    ck_assert_int_eq(moment_of_begin.rc, BOUGH_OK);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 21); /* reading goes on */
    database_run(db, "ROLLBACK");
    if (!deletes) {
        database_run(db, "INSERT INTO t(b) VALUES('kept')");
        same(db, "SELECT * FROM t");
        ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 21);
    }
    database_close(db);
    bough_store_close(store);
}

TEST(moved_between_the_look_and_the_lock) { write_as_the_branch_moves(false, SQLITE_BUSY_SNAPSHOT); }
TEST(deleted_between_the_look_and_the_lock) { write_as_the_branch_moves(true, SQLITE_READONLY_DBMOVED); }

/* ---- between the look at the row and the opening of the layer */

static struct {
    int (*lock)(int fd, int command, struct flock *lock);
    int ask[2], answer[2];
} protector;

static void protect_in_another_process(bool is_protected)
{
    const char *path = harness_path("s.bough");
    ck_assert(pipe(protector.ask) == 0 && pipe(protector.answer) == 0);
    if (fork() != 0)
        return;
    bough_store *own = NULL;
    bough_branches was = {0};
    char word = 0;
    if (read(protector.ask[0], &word, 1) != 1 || bough_store_open(&own, path, NULL) != BOUGH_OK ||
        bough_branch_protect(&was, own, "main", is_protected) != BOUGH_OK ||
        write(protector.answer[1], "p", 1) != 1)
        _exit(1);
    _exit(0);
}

/* The first lock of a layer that is taken: nobody has it open yet. */
static int lock_protected(int fd, int command, struct flock *lock)
{
    char word = 0;
    if (lock->l_start < (off_t)BOUGH__STORE_LAYER_BYTES)
        return protector.lock(fd, command, lock);
    bough__os.lock = protector.lock;
    ck_assert_int_eq(write(protector.ask[1], "g", 1), 1);
    ck_assert_int_eq(read(protector.answer[0], &word, 1), 1);
    return bough__os.lock(fd, command, lock);
}

static void open_as_it_is_protected(bool is_protected)
{
    bough_branches was;
    begin();
    sqlite3 *db = database_open();
    database_fill(db, 20, 100);
    database_close(db);
    ASSERT_OK(bough_branch_protect(&was, store, "main", !is_protected));
    bough_branches_release(&was);
    protect_in_another_process(is_protected);
    protector.lock = bough__os.lock;
    bough__os.lock = lock_protected;
    db = database_open();
    ck_assert(bough__os.lock == protector.lock);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 20);
    CODE(is_protected ? SQLITE_READONLY : SQLITE_OK, database_try(db, "INSERT INTO t(b) VALUES('x')") & 0xff);
    database_close(db);
    bough_store_close(store);
}

TEST(protected_between_the_look_and_the_opening) { open_as_it_is_protected(true); }
TEST(unprotected_between_the_look_and_the_opening) { open_as_it_is_protected(false); }

TEST(another_page_size_comes_in)
{
    begin();
    sqlite3 *db = database_open(), *plain = NULL;
    const char *file = strdup(harness_path("other.db"));
    database_fill(db, 100, 300);
    CODE(SQLITE_OK, sqlite3_open(file, &plain));
    database_run(plain, "PRAGMA page_size = 16384; CREATE TABLE u(x); INSERT INTO u VALUES(42)");
    database_close(plain);
    bough_transfer transfer;
    ASSERT_OK(bough_import(&transfer, store, "main", file, NULL));
    bough_transfer_release(&transfer);
    ck_assert_int_eq(database_number(db, "SELECT x FROM u"), 42);
    ck_assert_int_eq(database_number(db, "PRAGMA page_size"), 16384);
    database_run(db, "INSERT INTO u SELECT randomblob(5000) FROM u");
    same(db, "SELECT count(*), sum(length(x)) FROM u");
    database_check(db);
    database_close(db);
    bough_store_close(store);
    free((void *)file);
}

static bough_commit newest_commit(bough_commits *out)
{
    ASSERT_OK(bough_commit_log(out, store, "main", 1));
    return out->items[0];
}

/* VACUUM with another page size: the store counts in pages of that size, a page that changes costs a page, and equal
 * bytes have an equal root wherever they come from. */
TEST(open_where_it_was_before_a_vacuum)
{
    bough_branches dropped;
    bough_options options = BOUGH_OPTIONS_INIT;
    const char *name = "main";
    begin();
    sqlite3 *db = database_open(), *idle = database_open();
    database_fill(db, 500, 400);
    ck_assert_int_eq(database_number(idle, "SELECT count(*) FROM t"), 500);
    database_run(db, "PRAGMA page_size = 8192; VACUUM");
    database_close(db);
    options.timeout_ms = 0;
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_delete(&dropped, store, &name, 1, &options));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "open in this process"));
    ck_assert_int_eq(database_number(idle, "SELECT count(*) FROM t"), 500);
    database_close(idle);
    ASSERT_OK(bough_branch_delete(&dropped, store, &name, 1, &options));
    bough_branches_release(&dropped);
    bough_store_close(store);
}

TEST(a_vacuum_changes_the_page_size)
{
    static const int sizes[] = {8192, 512, 65536, 4096};
    static const char *const names[] = {"copy0", "copy1", "copy2", "copy3"};
    begin();
    sqlite3 *db = database_open(), *reader = database_open();
    database_fill(db, 500, 400);
    tag("v0");
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        bough_sealed sealed;
        bough_commits log;
        bough_branches branches;
        bough_transfer transfer;
        bough_page_diff diff;
        char *before = database_rows(reader, "SELECT * FROM t");
        database_run(db, "PRAGMA page_size = %d; VACUUM", sizes[i]);
        same(reader, "SELECT * FROM t");
        char *after = database_rows(reader, "SELECT * FROM t");
        ck_assert_str_eq(after, before);
        ASSERT_OK(bough_commit_create(&sealed, store, "main", NULL));
        ck_assert(sealed.changed);
        bough_commit commit = newest_commit(&log);
        ck_assert_uint_eq(commit.page_size, (uint32_t)sizes[i]);
        ck_assert(!commit.automatic);
        bough_commits_release(&log);
        /* The same bytes as a file, imported elsewhere. */
        const char *file = strdup(harness_path(names[i]));
        ASSERT_OK(bough_export(&transfer, store, "main", file, NULL));
        bough_transfer_release(&transfer);
        ASSERT_OK(bough_branch_create(&branches, store, &names[i], 1, "v0", NULL));
        bough_branches_release(&branches);
        ASSERT_OK(bough_import(&transfer, store, names[i], file, NULL));
        ck_assert_str_eq(transfer.root, sealed.root);
        bough_transfer_release(&transfer);
        ASSERT_OK(bough_import(&transfer, store, "main", file, NULL));
        ck_assert(!transfer.changed);
        bough_transfer_release(&transfer);
        /* One row: its page and the header's. */
        database_run(db, "UPDATE t SET b = upper(b) || 'x' WHERE a = 250");
        ASSERT_OK(bough_diff_pages(&diff, store, names[i], "main", NULL, NULL));
        ck_assert_uint_le(diff.changed, sizes[i] == 512 ? 4 : 2);
        ck_assert_uint_gt(diff.changed, 0);
        database_check(reader);
        bough_sealed_release(&sealed);
        free(before);
        free(after);
        free((void *)file);
    }
    bough_verification verification;
    ASSERT_OK(bough_verify(&verification, store, NULL, NULL));
    ck_assert(verification.ok);
    bough_verification_release(&verification);
    database_close(reader);
    database_close(db);
    bough_store_close(store);
}

/* In exclusive mode the blocks follow when the connection lets go. */
TEST(a_vacuum_in_exclusive_mode)
{
    begin();
    bough_commits log;
    sqlite3 *db = database_open();
    database_fill(db, 100, 400);
    database_run(db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA page_size = 16384; VACUUM");
    database_run(db, "INSERT INTO t VALUES(900, 'x')");
    database_run(db, "INSERT INTO t VALUES(901, 'x')");
    database_close(db);
    bough_sealed sealed;
    ASSERT_OK(bough_commit_create(&sealed, store, "main", NULL));
    bough_sealed_release(&sealed);
    ck_assert_uint_eq(newest_commit(&log).page_size, 16384);
    bough_commits_release(&log);
    db = database_open();
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE a >= 900"), 2);
    database_check(db);
    database_close(db);
    bough_store_close(store);
}

TEST(promoted_onto)
{
    static const char *const names[] = {"try"};
    begin();
    sqlite3 *db = database_open();
    bough_branches branches;
    bough_sealed sealed;
    database_fill(db, 30, 100);
    ASSERT_OK(bough_branch_create(&branches, store, names, 1, "main", NULL));
    bough_branches_release(&branches);
    sqlite3 *try = database_open_uri(database_uri("s", "try", ""));
    for (int round = 0; round < 3; round++) {
        database_run(try, "CREATE TABLE n%d(x); DELETE FROM t WHERE a = %d", round, round + 1);
        ASSERT_OK(bough_branch_promote(&sealed, store, "try", NULL, NULL));
        ck_assert(sealed.changed);
        bough_sealed_release(&sealed);
        ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 29 - round);
        same(db, "SELECT name FROM sqlite_schema");
        ck_assert_int_eq(database_number(try, "SELECT count(*) FROM t"), 29 - round);
    }
    database_check(db);
    database_close(try);
    database_close(db);
    bough_store_close(store);
}

TEST(deleted_and_made_again)
{
    static const char *const names[] = {"b"};
    bough_branches branches;
    bough_options options = BOUGH_OPTIONS_INIT;
    begin();
    sqlite3 *seed = database_open();
    database_fill(seed, 10, 100);
    database_close(seed);
    ASSERT_OK(bough_branch_create(&branches, store, names, 1, "main", NULL));
    bough_branches_release(&branches);
    sqlite3 *db = database_open_uri(database_uri("s", "b", ""));
    sqlite3_stmt *cursor = NULL;
    database_run(db, "DELETE FROM t WHERE a = 1; BEGIN");
    CODE(SQLITE_OK, sqlite3_prepare_v2(db, "SELECT a FROM t", -1, &cursor, NULL));
    CODE(SQLITE_ROW, sqlite3_step(cursor));
    options.force = true;
    ASSERT_OK(bough_branch_delete(&branches, store, names, 1, &options));
    bough_branches_release(&branches);
    ASSERT_OK(bough_branch_create(&branches, store, names, 1, "main", NULL));
    bough_branches_release(&branches);
    int rows = 1;
    while (sqlite3_step(cursor) == SQLITE_ROW)
        rows++;
    ck_assert_int_eq(rows, 9);
    CODE(SQLITE_READONLY_DBMOVED, database_try(db, "INSERT INTO t VALUES(99, 'x')"));
    sqlite3_finalize(cursor);
    database_run(db, "COMMIT");
    CODE(SQLITE_IOERR, database_try(db, "SELECT count(*) FROM t") & 0xff);
    CODE(SQLITE_IOERR, database_try(db, "INSERT INTO t VALUES(99, 'x')") & 0xff);
    sqlite3 *again = database_open_uri(database_uri("s", "b", ""));
    ck_assert_int_eq(database_number(again, "SELECT count(*) FROM t"), 10);
    database_close(again);
    database_close(db);
    bough_store_close(store);
}

/* ---- at random ---- */

static const char *const questions[] = {
    "SELECT name, sql FROM sqlite_schema ORDER BY name",
    "SELECT count(*), sum(a), group_concat(substr(b, 1, 3)) FROM t",
    "SELECT x FROM f WHERE f MATCH 'word' ORDER BY rowid",
    "SELECT id FROM r WHERE lo < 40 ORDER BY id",
    "SELECT * FROM w ORDER BY k",
};

/* One change to the branch's data or schema, the same on whatever connection. */
static void change(sqlite3 *db, struct harness_random *random)
{
    unsigned n = (unsigned)harness_below(random, 1000);
    switch (harness_below(random, 6)) {
    case 0:
        database_run(db, "INSERT INTO t(b) VALUES(hex(randomblob(%u)))", n + 1);
        break;
    case 1:
        database_run(db, "DELETE FROM t WHERE a %% 7 = %u", n % 7);
        break;
    case 2:
        database_run(db, "CREATE TABLE IF NOT EXISTS x%u(y); DROP TABLE IF EXISTS x%u", n % 4, (n + 1) % 4);
        break;
    case 3:
        database_run(db, "INSERT INTO f VALUES('word %u')", n);
        break;
    case 4:
        database_run(db, "INSERT OR REPLACE INTO r VALUES(%u, %u, %u)", n % 50, n % 60, n % 60 + 1);
        break;
    default:
        database_run(db, "INSERT OR REPLACE INTO w VALUES(%u, 'v%u')", n % 20, n);
        break;
    }
}

TEST(random_changes_under_open_connections)
{
    struct harness_random random = {harness_number("BOUGH_SEED", 7)};
    sqlite3 *open[3];
    sqlite3_stmt *prepared[3][COUNT_OF(questions)] = {{NULL}};
    char name[8];
    begin();
    sqlite3 *seed = database_open();
    database_fill(seed, 40, 50);
    database_run(seed, "CREATE VIRTUAL TABLE f USING fts5(x); CREATE VIRTUAL TABLE r USING rtree(id, lo, hi);"
                       "CREATE TABLE w(k PRIMARY KEY, v) WITHOUT ROWID");
    database_close(seed);
    tag("t0");
    unsigned tags = 1;
    for (size_t i = 0; i < COUNT_OF(open); i++)
        open[i] = i == 2 ? database_open_uri(database_uri("s", "main", "&cache=shared")) : database_open();
    for (int step = 0; step < 300; step++) {
        size_t who = harness_below(&random, COUNT_OF(open));
        switch (harness_below(&random, 8)) {
        case 0:
            snprintf(name, sizeof name, "t%u", tags++);
            tag(name);
            break;
        case 1:
        case 2:
            snprintf(name, sizeof name, "t%u", (unsigned)harness_below(&random, tags));
            ASSERT_OK(reset(name, harness_below(&random, 2) == 0));
            break;
        default:
            change(open[who], &random);
            break;
        }
        who = harness_below(&random, COUNT_OF(open));
        size_t which = harness_below(&random, COUNT_OF(questions));
        same(open[who], questions[which]);
        /* And one that was prepared long ago. */
        if (!prepared[who][which])
            CODE(SQLITE_OK, sqlite3_prepare_v2(open[who], questions[which], -1, &prepared[who][which], NULL));
        sqlite3 *fresh = database_open();
        const char *expected = database_text(fresh, "%s", questions[which]);
        int rc = sqlite3_step(prepared[who][which]);
        const char *got = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(prepared[who][which], 0) : "";
        ck_assert_str_eq(got ? got : "", expected);
        sqlite3_reset(prepared[who][which]);
        database_close(fresh);
    }
    for (size_t i = 0; i < COUNT_OF(open); i++) {
        for (size_t k = 0; k < COUNT_OF(questions); k++)
            sqlite3_finalize(prepared[i][k]);
        database_check(open[i]);
        database_close(open[i]);
    }
    bough_store_close(store);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(the_next_transaction_sees_the_new_state),
        CASE(a_read_in_progress_ends_on_its_state),
        CASE(equal_counters),
        CASE(equal_cookies),
        CASE(a_cookie_comes_back),
        CASE(the_delta_stays_out_of_the_store),
        CASE(a_schema_number_that_is_rolled_back),
        CASE(full_text_and_r_tree),
        CASE(shared_cache),
        CASE(a_writer_is_waited_for_and_not_lost),
        CASE(a_stale_transaction_cannot_be_written),
        CASE(exclusive_mode),
        CASE(a_hidden_branch_is_a_database),
        CASE(connections_do_not_look_for_owners),
        CASE(a_kept_lock),
        CASE(killed_before_the_row),
        CASE(killed_before_the_row_beside_a_reader),
        CASE(killed_after_the_row),
        CASE(killed_after_the_row_beside_a_reader),
        CASE(the_heir_of_a_killed_mover),
        CASE(the_heir_of_a_killed_mover_deletes),
        CASE(moved_between_the_look_and_the_lock),
        CASE(deleted_between_the_look_and_the_lock),
        CASE(protected_between_the_look_and_the_opening),
        CASE(unprotected_between_the_look_and_the_opening),
        CASE(another_page_size_comes_in),
        CASE(open_where_it_was_before_a_vacuum),
        CASE(a_vacuum_changes_the_page_size),
        CASE(a_vacuum_in_exclusive_mode),
        CASE(promoted_onto),
        CASE(deleted_and_made_again),
        CASE(random_changes_under_open_connections),
    };
    return harness_run("moves", cases, COUNT_OF(cases));
}
