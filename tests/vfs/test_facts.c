/* test_facts.c - what the design says of SQLite's ways with a VFS, fact by fact: each of these fails when the VFS
 * treats SQLite otherwise.
 */
#include "database.h"

#include "codec.h"
#include "os.h"
#include "vfs.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a system whose calls are counted and fail on demand ---- */

static unsigned syncs;
static unsigned fail_syncs;  /* how many of the next ones fail */
static bool is_full;         /* writes fail */

static int counted_fdatasync(int fd)
{
    syncs++;
    if (fail_syncs > 0) {
        fail_syncs--;
        errno = EIO;
        return -1;
    }
    return fdatasync(fd);
}

static ssize_t limited_pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    if (is_full) {
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, bytes, len, offset);
}

static void watch_system(void)
{
    bough__os.fdatasync = counted_fdatasync;
    bough__os.pwrite = limited_pwrite;
}

static uint64_t newest(sqlite3 *db)
{
    return bough__layer_newest(bough__file_of(database_file(db))->layer);
}

/* A store "s" with t of 2000 rows, over a cache that must spill. */
static sqlite3 *open_filled(void)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 2000, 100);
    database_run(db, "PRAGMA cache_size = 5");
    watch_system();
    return db;
}

/* ---- 1: the commit point ---- */

TEST(a_commit_is_one_sync)
{
    sqlite3 *db = open_filled();
    for (int i = 0; i < 5; i++) {
        syncs = 0;
        database_run(db, "UPDATE t SET b = 'x' WHERE a = %d", i + 1);
        ck_assert_uint_eq(syncs, 1);
    }
    database_close(db);
}

TEST(a_rollback_after_a_spill_syncs_and_commits_nothing)
{
    sqlite3 *db = open_filled();
    uint64_t before = newest(db);
    char *rows = database_rows(db, "SELECT * FROM t");
    database_run(db, "BEGIN; UPDATE t SET b = b || 'longer'");
    ck_assert(bough__txn_is_dirty(bough__file_of(database_file(db))->txn));
    syncs = 0;
    database_run(db, "ROLLBACK");
    ck_assert_uint_eq(syncs, 0);
    ck_assert_uint_eq(newest(db), before);
    ck_assert_str_eq(database_rows(db, "SELECT * FROM t"), rows);
    database_check(db);
    free(rows);
    database_close(db);
}

TEST(a_shrunk_database_is_committed_shrunk)
{
    sqlite3 *db = open_filled();
    database_run(db, "DELETE FROM t WHERE a > 100");
    database_run(db, "VACUUM");
    sqlite3 *other = database_open();
    int64_t size = 0;
    free(database_bytes(other, &size));
    ck_assert_int_eq(size, database_number(db, "PRAGMA page_count") * 4096);
    ck_assert_int_lt(size, 20 * 4096);
    ck_assert_int_eq(database_number(other, "SELECT count(*) FROM t"), 100);
    database_check(other);
    database_close(other);
    database_close(db);
}

TEST(nothing_written_is_no_transaction)
{
    sqlite3 *db = open_filled();
    uint64_t before = newest(db);
    syncs = 0;
    database_run(db, "BEGIN IMMEDIATE; COMMIT");
    database_run(db, "BEGIN EXCLUSIVE; SELECT count(*) FROM t; COMMIT");
    database_run(db, "UPDATE t SET b = 1 WHERE a = -1");
    ck_assert_uint_eq(newest(db), before);
    ck_assert_uint_eq(syncs, 0);
    database_close(db);
}

static void fail_a_commit(const char *mode, bool by_full_disk)
{
    sqlite3 *db = open_filled();
    database_run(db, "PRAGMA locking_mode = %s", mode);
    database_run(db, "UPDATE t SET b = 'old'");
    uint64_t before = newest(db);
    database_run(db, "BEGIN; UPDATE t SET b = 'failed' WHERE a < 500");
    is_full = by_full_disk;
    fail_syncs = by_full_disk ? 0 : 1;
    int rc = database_try(db, "COMMIT");
    is_full = false;
    if (by_full_disk)
        CODE(SQLITE_FULL, rc);
    else
        CODE(SQLITE_IOERR, rc & 0xff);
    if (!sqlite3_get_autocommit(db))
        database_run(db, "ROLLBACK");
    ck_assert_uint_eq(newest(db), before);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 'old'"), 2000);
    /* The next commit must not bring back what failed. */
    database_run(db, "UPDATE t SET b = 'new' WHERE a = 1000");
    sqlite3 *other = database_open();
    ck_assert_int_eq(database_number(other, "SELECT count(*) FROM t WHERE b = 'failed'"), 0);
    ck_assert_int_eq(database_number(other, "SELECT count(*) FROM t WHERE b = 'new'"), 1);
    database_check(other);
    database_close(other);
    database_check(db);
    database_close(db);
}

static void fail_a_spill(const char *journal_mode)
{
    sqlite3 *db = open_filled(), *other = database_open();
    database_run(db, "PRAGMA journal_mode = %s; UPDATE t SET b = 'old'", journal_mode);
    database_run(db, "BEGIN; INSERT INTO t(b) VALUES('failed')");
    is_full = true;
    CODE(SQLITE_FULL, database_try(db, "INSERT INTO t(b) SELECT hex(zeroblob(500)) FROM t"));
    is_full = false;
    if (!sqlite3_get_autocommit(db))
        database_run(db, "ROLLBACK");
    /* The journal is still there in these modes. Taken for a hot one, it would make this read need the writer lock. */
    database_run(other, "BEGIN IMMEDIATE; UPDATE t SET b = 'new' WHERE a < 100");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 'old'"), 2000);
    database_run(other, "COMMIT");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 'old'"), 1901);
    database_run(db, "UPDATE t SET b = 'newer' WHERE a > 1000");
    database_check(db);
    database_close(other);
    database_close(db);
}

TEST(an_error_leaves_no_hot_journal) { fail_a_spill("PERSIST"); }
TEST(an_error_leaves_no_hot_journal_to_truncate) { fail_a_spill("TRUNCATE"); }
TEST(a_failed_sync_leaves_the_old_state) { fail_a_commit("NORMAL", false); }
TEST(a_failed_sync_in_exclusive_mode) { fail_a_commit("EXCLUSIVE", false); }
TEST(a_full_disk_leaves_the_old_state) { fail_a_commit("NORMAL", true); }
TEST(a_full_disk_in_exclusive_mode) { fail_a_commit("EXCLUSIVE", true); }

/* ---- 2: several databases in one transaction ---- */

TEST(a_transaction_over_two_stores_is_refused)
{
    database_store("s");
    database_store("u");
    sqlite3 *db = database_open();
    database_run(db, "CREATE TABLE t(a); INSERT INTO t VALUES(1)");
    database_run(db, "ATTACH '%s' AS u", database_uri("u", "main", ""));
    database_run(db, "CREATE TABLE u.v(a); INSERT INTO u.v VALUES(1)");
    database_log();
    database_run(db, "BEGIN; UPDATE t SET a = 2; UPDATE v SET a = 2");
    CODE(SQLITE_IOERR, database_try(db, "COMMIT") & 0xff);
    ck_assert_ptr_nonnull(strstr(database_log(), "branches of two stores"));
    if (!sqlite3_get_autocommit(db))
        database_run(db, "ROLLBACK");
    ck_assert_int_eq(database_number(db, "SELECT a FROM t"), 1);
    ck_assert_int_eq(database_number(db, "SELECT a FROM v"), 1);
    /* Reading both and writing to one is fine. */
    database_run(db, "BEGIN; UPDATE t SET a = (SELECT a + 10 FROM v); COMMIT");
    database_run(db, "UPDATE v SET a = 5");
    ck_assert_int_eq(database_number(db, "SELECT a FROM t"), 11);
    ck_assert_int_eq(database_number(db, "SELECT a FROM v"), 5);
    database_check(db);
    database_close(db);
}

static unsigned count_files(const char *part)
{
    unsigned count = 0;
    DIR *directory = opendir(harness_directory());
    for (struct dirent *entry; (entry = readdir(directory));)
        count += strstr(entry->d_name, part) != NULL;
    closedir(directory);
    return count;
}

static void refuse_with_file(const char *main_uri, const char *attached_uri)
{
    sqlite3 *db = database_open_uri(main_uri);
    database_run(db, "CREATE TABLE t(a); INSERT INTO t VALUES(1)");
    database_run(db, "ATTACH '%s' AS u", attached_uri);
    database_run(db, "CREATE TABLE u.v(a); INSERT INTO u.v VALUES(1)");
    database_log();
    database_run(db, "BEGIN; UPDATE t SET a = 2; UPDATE v SET a = 2");
    CODE(SQLITE_IOERR, database_try(db, "COMMIT") & 0xff);
    ck_assert_ptr_nonnull(strstr(database_log(), "bough: a transaction cannot write to"));
    if (!sqlite3_get_autocommit(db))
        database_run(db, "ROLLBACK");
    /* Neither in this connection's cache nor in the databases. */
    ck_assert_int_eq(database_number(db, "SELECT a FROM t"), 1);
    ck_assert_int_eq(database_number(db, "SELECT a FROM v"), 1);
    database_check(db);
    database_run(db, "UPDATE t SET a = a; UPDATE v SET a = a");
    database_close(db);
    db = database_open_uri(main_uri);
    database_run(db, "ATTACH '%s' AS u", attached_uri);
    ck_assert_int_eq(database_number(db, "SELECT a FROM t"), 1);
    ck_assert_int_eq(database_number(db, "SELECT a FROM v"), 1);
    database_check(db);
    database_close(db);
}

TEST(a_transaction_over_a_branch_and_a_file_is_refused)
{
    database_store("s");
    char *file = strdup(harness_path("plain.db"));
    refuse_with_file(database_uri("s", "main", ""), file);
    free(file);
    database_store("u");
    file = strdup(harness_path("plain2.db"));
    refuse_with_file(file, database_uri("u", "main", ""));
    free(file);
    ck_assert_uint_eq(count_files("-journal") + count_files("-mj"), 0);
}

/* The journals of the files would name a super-journal that nobody finds after a crash. */
TEST(a_transaction_over_two_files_beside_a_branch_is_refused)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_run(db, "CREATE TABLE m(a); ATTACH '%s' AS u", harness_path("u.db"));
    database_run(db, "ATTACH '%s' AS v; CREATE TABLE u.t(a); CREATE TABLE v.t(a)", harness_path("v.db"));
    CODE(SQLITE_IOERR, database_try(db, "BEGIN; INSERT INTO u.t VALUES(1); INSERT INTO v.t VALUES(1); COMMIT"));
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM u.t, v.t"), 0);
    database_run(db, "INSERT INTO u.t VALUES(1)");
    ck_assert_uint_eq(count_files("-journal") + count_files("-mj"), 0);
    database_close(db);
}

TEST(a_refused_transaction_is_rolled_back_in_every_mode)
{
    static const char *const modes[] = {"DELETE", "TRUNCATE", "PERSIST", "MEMORY"};
    database_store("s");
    sqlite3 *db = database_open_uri(harness_path("plain.db"));
    database_run(db, "CREATE TABLE p(a); INSERT INTO p VALUES(1)");
    database_run(db, "ATTACH '%s' AS b", database_uri("s", "main", ""));
    database_run(db, "CREATE TABLE b.t(a INTEGER PRIMARY KEY, b); INSERT INTO t VALUES(1, 0)");
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        for (int exclusive = 0; exclusive < 2; exclusive++) {
            database_run(db, "PRAGMA b.journal_mode = %s; PRAGMA b.locking_mode = %s", modes[i],
                         exclusive ? "EXCLUSIVE" : "NORMAL");
            sqlite3_stmt *reader = NULL; /* keeps the cache */
            sqlite3_prepare_v2(db, "SELECT b FROM t", -1, &reader, NULL);
            ck_assert_int_eq(sqlite3_step(reader), SQLITE_ROW);
            int rc = database_try(db, "BEGIN; UPDATE p SET a = 2; UPDATE t SET b = 2; COMMIT");
            if (!sqlite3_get_autocommit(db))
                database_run(db, "ROLLBACK");
            /* In MEMORY SQLite wants no super-journal, and the databases commit one by one. */
            ck_assert_int_eq(rc & 0xff, i < 3 ? SQLITE_IOERR : SQLITE_OK);
            ck_assert_int_eq(database_number(db, "SELECT b FROM t"), i < 3 ? 0 : 2);
            ck_assert_int_eq(database_number(db, "SELECT a FROM p"), i < 3 ? 1 : 2);
            sqlite3_finalize(reader);
            ck_assert_int_eq(database_number(db, "SELECT b FROM t"), i < 3 ? 0 : 2);
        }
    }
    database_run(db, "UPDATE t SET b = 3");
    sqlite3 *other = database_open();
    ck_assert_int_eq(database_number(other, "SELECT b FROM t"), 3);
    database_close(other);
    database_close(db);
}

/* ---- 3: savepoints and statement rollback ---- */

TEST(savepoints_survive_spills)
{
    sqlite3 *db = open_filled();
    char *rows = database_rows(db, "SELECT * FROM t");
    database_run(db, "BEGIN; UPDATE t SET b = 'one' WHERE a %% 2");
    char *one = database_rows(db, "SELECT * FROM t");
    database_run(db, "SAVEPOINT x; UPDATE t SET b = 'two' || b; DELETE FROM t WHERE a > 1500;"
                     "SAVEPOINT y; INSERT INTO t SELECT a + 10000, hex(randomblob(200)) FROM t");
    database_run(db, "ROLLBACK TO y; RELEASE y");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 1500);
    database_run(db, "ROLLBACK TO x");
    char *after = database_rows(db, "SELECT * FROM t");
    ck_assert_str_eq(after, one);
    free(after);
    CODE(SQLITE_CONSTRAINT_PRIMARYKEY, database_try(db, "UPDATE t SET a = CASE WHEN a = 1900 THEN 5 ELSE a END"));
    after = database_rows(db, "SELECT * FROM t");
    ck_assert_str_eq(after, one);
    free(after);
    database_check(db);
    database_run(db, "ROLLBACK");
    after = database_rows(db, "SELECT * FROM t");
    ck_assert_str_eq(after, rows);
    free(after);
    database_check(db);
    free(rows);
    free(one);
    database_close(db);
}

/* ---- 4: exclusive mode and journal modes ---- */

TEST(exclusive_mode_commits_every_transaction)
{
    sqlite3 *db = open_filled();
    database_run(db, "PRAGMA locking_mode = EXCLUSIVE");
    sqlite3 *other = database_open();
    for (int i = 0; i < 20; i++) {
        database_run(db, "UPDATE t SET b = 'round %d'", i);
        char expected[32];
        snprintf(expected, sizeof(expected), "round %d", i);
        ck_assert_str_eq(database_text(other, "SELECT b FROM t WHERE a = 1700"), expected);
    }
    CODE(SQLITE_BUSY, database_try(other, "UPDATE t SET b = 'other'"));
    database_run(db, "BEGIN; UPDATE t SET b = 'dropped'; ROLLBACK");
    ck_assert_str_eq(database_text(db, "SELECT b FROM t WHERE a = 3"), "round 19");
    database_run(db, "PRAGMA locking_mode = NORMAL; SELECT count(*) FROM t");
    database_run(other, "UPDATE t SET b = 'other' WHERE a = 3");
    ck_assert_str_eq(database_text(db, "SELECT b FROM t WHERE a = 3"), "other");
    database_check(db);
    database_check(other);
    database_close(other);
    database_close(db);
}

TEST(exclusive_mode_reads_a_stale_state_and_cannot_write_on_it)
{
    sqlite3 *db = open_filled();
    sqlite3 *other = database_open();
    database_run(db, "PRAGMA locking_mode = EXCLUSIVE; SELECT count(*) FROM t");
    database_run(other, "DELETE FROM t WHERE a > 10");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 2000);
    CODE(SQLITE_BUSY, database_try(db, "DELETE FROM t")); /* what SQLite makes of it outside a transaction */
    database_run(db, "BEGIN; SELECT count(*) FROM t");
    CODE(SQLITE_BUSY_SNAPSHOT, database_try(db, "DELETE FROM t"));
    database_run(db, "COMMIT; PRAGMA locking_mode = NORMAL");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 2000); /* this one still began before */
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 10);
    database_close(other);
    database_close(db);
}

static void roll_back_without_journal(bool exclusive)
{
    sqlite3 *db = open_filled();
    char *rows = database_rows(db, "SELECT * FROM t");
    database_close(db);
    db = database_open_uri(harness_path("plain.db"));
    database_run(db, "ATTACH '%s' AS b", database_uri("s", "main", ""));
    /* Meant for all databases, so the branch's file control does not see it. */
    database_run(db, "PRAGMA journal_mode = OFF");
    ck_assert_str_eq(database_text(db, "PRAGMA b.journal_mode"), "off");
    if (exclusive)
        database_run(db, "PRAGMA locking_mode = EXCLUSIVE");
    database_run(db, "PRAGMA b.cache_size = 5");
    database_run(db, "BEGIN; UPDATE b.t SET b = 'lost'; DELETE FROM b.t WHERE a %% 3 = 0; ROLLBACK");
    char *after = database_rows(db, "SELECT * FROM b.t");
    ck_assert_str_eq(after, rows);
    free(after);
    database_check(db);
    database_run(db, "UPDATE b.t SET b = 'kept' WHERE a = 7");
    sqlite3 *other = database_open();
    ck_assert_int_eq(database_number(other, "SELECT count(*) FROM t WHERE b = 'lost'"), 0);
    ck_assert_str_eq(database_text(other, "SELECT b FROM t WHERE a = 7"), "kept");
    database_check(other);
    free(rows);
    database_close(other);
    database_close(db);
}

TEST(journal_off_rolls_back) { roll_back_without_journal(false); }
TEST(journal_off_rolls_back_in_exclusive_mode) { roll_back_without_journal(true); }

TEST(journal_modes_that_a_branch_has)
{
    static const char *const modes[][2] = {{"DELETE", "delete"},   {"TRUNCATE", "truncate"}, {"PERSIST", "persist"},
                                           {"MEMORY", "memory"},   {"OFF", "memory"},        {"WAL", "delete"},
                                           {"persist", "persist"}, {"DELETE", "delete"}};
    sqlite3 *db = open_filled();
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        ck_assert_str_eq(database_text(db, "PRAGMA journal_mode = %s", modes[i][0]), modes[i][1]);
        char *rows = database_rows(db, "SELECT * FROM t");
        for (int round = 0; round < 3; round++) {
            database_run(db, "BEGIN; UPDATE t SET b = 'x' || b; ROLLBACK");
            char *after = database_rows(db, "SELECT * FROM t");
            ck_assert_str_eq(after, rows);
            free(after);
            database_run(db, "UPDATE t SET b = b WHERE a %% 100 = %d", round);
        }
        free(rows);
        database_run(db, "UPDATE t SET b = 'mode %d' WHERE a = 5", (int)i);
        database_check(db);
    }
    ck_assert_int_eq(access(database_path("s", "main-journal"), F_OK), -1);
    database_close(db);
}

/* ---- 5: cache validity ---- */

static int misses(sqlite3 *db)
{
    int now = 0, high = 0;
    sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_MISS, &now, &high, 0);
    return now;
}

TEST(own_commits_keep_the_cache)
{
    sqlite3 *db = open_filled();
    database_run(db, "PRAGMA cache_size = 1000");
    database_number(db, "SELECT sum(length(b)) FROM t");
    database_run(db, "UPDATE t SET b = 'own' WHERE a = 1000");
    int before = misses(db);
    int64_t version = database_number(db, "PRAGMA data_version");
    for (int i = 0; i < 10; i++) {
        database_run(db, "UPDATE t SET b = 'own %d' WHERE a = %d", i, i * 100 + 1);
        database_run(db, "BEGIN; UPDATE t SET b = 'gone'; ROLLBACK");
        database_number(db, "SELECT sum(length(b)) FROM t");
    }
    ck_assert_int_eq(misses(db), before);
    ck_assert_int_eq(database_number(db, "PRAGMA data_version"), version);
    database_close(db);
}

TEST(commits_of_others_are_seen_though_the_counter_stands_still)
{
    sqlite3 *db = open_filled();
    sqlite3 *other = database_open();
    database_run(other, "PRAGMA locking_mode = EXCLUSIVE; UPDATE t SET b = 'first' WHERE a = 5");
    ck_assert_str_eq(database_text(db, "SELECT b FROM t WHERE a = 5"), "first");
    int64_t version = database_number(db, "PRAGMA data_version"), size = 0;
    uint8_t *before = database_bytes(db, &size);
    database_run(other, "UPDATE t SET b = 'again' WHERE a = 5");
    uint8_t *after = database_bytes(db, &size);
    ck_assert_mem_eq(before + 24, after + 24, 16); /* what makes this hard */
    ck_assert_str_eq(database_text(db, "SELECT b FROM t WHERE a = 5"), "again");
    ck_assert_int_ne(database_number(db, "PRAGMA data_version"), version);
    free(before);
    free(after);
    database_close(other);
    database_close(db);
}

TEST(the_schema_of_others_is_seen)
{
    sqlite3 *db = open_filled();
    sqlite3 *other = database_open();
    database_number(db, "SELECT count(*) FROM t");
    database_run(other, "ALTER TABLE t ADD COLUMN c DEFAULT 7; CREATE TABLE u(x)");
    ck_assert_int_eq(database_number(db, "SELECT c FROM t WHERE a = 1"), 7);
    database_run(db, "INSERT INTO u VALUES(1)");
    ck_assert_int_eq(database_number(other, "SELECT x FROM u"), 1);
    database_close(other);
    database_close(db);
}

/* ---- 7: locks ---- */

static int count_and_give_up(void *context, int calls)
{
    ++*(int *)context;
    return calls < 3;
}

TEST(a_second_writer_is_busy)
{
    sqlite3 *db = open_filled();
    sqlite3 *other = database_open();
    int calls = 0;
    sqlite3_busy_handler(other, count_and_give_up, &calls);
    database_run(db, "BEGIN IMMEDIATE; UPDATE t SET b = 'w' WHERE a = 1");
    CODE(SQLITE_BUSY, database_try(other, "BEGIN IMMEDIATE"));
    ck_assert_int_eq(calls, 4);
    ck_assert_str_ne(database_text(other, "SELECT b FROM t WHERE a = 1"), "w");
    database_run(db, "COMMIT");
    database_run(other, "BEGIN IMMEDIATE; UPDATE t SET b = b || 'v' WHERE a = 1; COMMIT");
    ck_assert_str_eq(database_text(db, "SELECT b FROM t WHERE a = 1"), "wv");
    database_close(other);
    database_close(db);
}

/* Commits on the connection that the busy handler was given, so that the waiting one gets in with the newest state. */
static int let_in(void *context, int calls)
{
    if (calls == 0)
        database_run(context, "COMMIT");
    return calls < 3;
}

TEST(a_writer_that_waited_sees_what_it_waited_for)
{
    sqlite3 *db = open_filled();
    sqlite3 *other = database_open();
    sqlite3_busy_handler(other, let_in, db);
    database_run(db, "UPDATE t SET b = 1 WHERE a = 1");
    ck_assert_int_eq(database_number(other, "SELECT b FROM t WHERE a = 1"), 1);
    database_run(db, "BEGIN; UPDATE t SET b = b + 1 WHERE a = 1");
    database_run(other, "UPDATE t SET b = b + 10 WHERE a = 1");
    ck_assert_int_eq(database_number(db, "SELECT b FROM t WHERE a = 1"), 12);
    database_close(other);
    database_close(db);
}

TEST(a_stale_snapshot_cannot_be_written)
{
    sqlite3 *db = open_filled();
    sqlite3 *other = database_open();
    sqlite3_busy_timeout(db, 10000); /* of no use: waiting would not help */
    database_run(db, "BEGIN; SELECT count(*) FROM t");
    database_run(other, "UPDATE t SET b = 'newer' WHERE a = 1");
    CODE(SQLITE_BUSY_SNAPSHOT, database_try(db, "UPDATE t SET b = 'older' WHERE a = 1"));
    ck_assert_str_ne(database_text(db, "SELECT b FROM t WHERE a = 1"), "newer");
    database_run(db, "COMMIT");
    database_run(db, "UPDATE t SET b = b || '!' WHERE a = 1");
    ck_assert_str_eq(database_text(other, "SELECT b FROM t WHERE a = 1"), "newer!");
    database_close(other);
    database_close(db);
}

TEST(writers_do_not_keep_readers_out)
{
    sqlite3 *db = open_filled();
    sqlite3 *other = database_open();
    database_run(db, "BEGIN EXCLUSIVE; UPDATE t SET b = 'hidden'");
    ck_assert_int_eq(database_number(other, "SELECT count(*) FROM t WHERE b = 'hidden'"), 0);
    database_run(other, "BEGIN; SELECT count(*) FROM t");
    database_run(db, "COMMIT");
    ck_assert_int_eq(database_number(other, "SELECT count(*) FROM t WHERE b = 'hidden'"), 0);
    database_check(other);
    database_run(other, "COMMIT");
    ck_assert_int_eq(database_number(other, "SELECT count(*) FROM t WHERE b = 'hidden'"), 2000);
    database_close(other);
    database_close(db);
}

TEST(immutable_keeps_one_state)
{
    sqlite3 *db = open_filled();
    sqlite3 *fixed = database_open_uri(database_uri("s", "main", "&immutable=1"));
    ck_assert_int_eq(database_number(fixed, "SELECT count(*) FROM t"), 2000);
    database_run(db, "DELETE FROM t WHERE a > 10; VACUUM");
    ck_assert_int_eq(database_number(fixed, "SELECT count(*) FROM t"), 2000);
    ck_assert_int_eq(database_number(fixed, "SELECT count(*) FROM t WHERE length(b) = 100"), 2000);
    database_check(fixed);
    CODE(SQLITE_READONLY, database_try(fixed, "DELETE FROM t"));
    database_close(fixed);
    database_close(db);
}

TEST(nolock_is_refused)
{
    sqlite3 *db = NULL;
    database_store("s");
    CODE(SQLITE_CANTOPEN, database_try_open(&db, database_uri("s", "main", "&nolock=1"), SQLITE_OPEN_READWRITE));
    CODE(SQLITE_OK, database_try_open(&db, database_uri("s", "main", "&nolock=0"), SQLITE_OPEN_READWRITE));
    database_close(db);
}

TEST(methods_without_a_lock_see_one_newest_state)
{
    sqlite3 *db = open_filled();
    sqlite3 *other = database_open();
    int64_t size = 0, number = database_number(other, "PRAGMA page_count");
    free(database_bytes(other, &size));
    ck_assert_int_eq(size, number * 4096);
    database_run(db, "CREATE TABLE more AS SELECT randomblob(40000)");
    uint8_t *bytes = database_bytes(other, &size);
    ck_assert_int_eq(size, database_number(db, "PRAGMA page_count") * 4096);
    ck_assert_int_gt(size, (number + 5) * 4096);
    ck_assert_mem_eq(bytes, "SQLite format 3", 16);
    free(bytes);
    database_close(other);
    database_close(db);
}

/* ---- 8: a header that says WAL ---- */

static void stored_page_1(sqlite3 *db, uint8_t page[4096])
{
    struct bough__snapshot snapshot;
    ASSERT_OK(bough__snapshot_pin(&snapshot, bough__file_of(database_file(db))->layer));
    ck_assert_uint_eq(snapshot.block_size, 4096);
    ASSERT_OK(bough__snapshot_read(&snapshot, 0, page, true));
    bough__snapshot_release(&snapshot);
}

/* Copies with SQLite's backup API. */
static void back_up(sqlite3 *to, sqlite3 *from)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    ck_assert_ptr_nonnull(backup);
    int rc = sqlite3_backup_step(backup, -1);
    ck_assert_msg(rc == SQLITE_DONE, "backup: %d %s", rc, bough_error_message());
    ck_assert_int_eq(sqlite3_backup_finish(backup), SQLITE_OK);
}

static sqlite3 *open_wal_file(void)
{
    sqlite3 *db = database_open_uri(harness_path("wal.db"));
    ck_assert_str_eq(database_text(db, "PRAGMA journal_mode = WAL"), "wal");
    database_fill(db, 300, 60);
    return db;
}

TEST(a_wal_header_is_hidden_and_kept)
{
    uint8_t page[4096];
    int64_t size = 0;
    database_store("s");
    sqlite3 *source = open_wal_file(), *db = database_open();
    database_run(db, "CREATE TABLE before(x); INSERT INTO before VALUES(1); SELECT * FROM before");
    back_up(db, source);
    stored_page_1(db, page);
    ck_assert_uint_eq(page[18], 2);
    ck_assert_uint_eq(page[19], 2);
    uint8_t *shown = database_bytes(db, &size);
    ck_assert_uint_eq(shown[18], 1);
    ck_assert_uint_eq(shown[19], 1);
    free(shown);
    /* The connection that has just written the 2 must not try a WAL, nor anyone else. */
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 300);
    ck_assert_str_eq(database_text(db, "PRAGMA journal_mode"), "delete");
    database_run(db, "DELETE FROM t WHERE a > 200; CREATE TABLE u(x)");
    sqlite3 *other = database_open();
    ck_assert_int_eq(database_number(other, "SELECT count(*) FROM t"), 200);
    database_run(other, "BEGIN; UPDATE t SET b = 0; DROP TABLE u; ROLLBACK; VACUUM; UPDATE t SET b = 1");
    database_check(db);
    stored_page_1(db, page);
    ck_assert_uint_eq(page[18], 2);
    ck_assert_uint_eq(page[19], 2);
    database_close(source);
    database_close(other);
    database_close(db);
}

TEST(wal_is_not_entered)
{
    uint8_t page[4096];
    sqlite3 *db = open_filled();
    ck_assert_str_eq(database_text(db, "PRAGMA journal_mode = WAL"), "delete");
    database_run(db, "PRAGMA locking_mode = EXCLUSIVE");
    ck_assert_str_eq(database_text(db, "PRAGMA journal_mode = WAL"), "delete");
    database_run(db, "UPDATE t SET b = 1 WHERE a = 1");
    ck_assert_str_eq(database_text(db, "PRAGMA wal_checkpoint"), "0");
    ck_assert_int_eq(sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL), SQLITE_OK);
    stored_page_1(db, page);
    ck_assert_uint_eq(page[18], 1);
    database_check(db);
    database_close(db);
}

TEST(wal_for_all_databases_in_exclusive_mode_breaks_nothing)
{
    uint8_t page[4096];
    sqlite3 *db = open_filled();
    database_close(db);
    db = database_open_uri(harness_path("plain.db"));
    database_run(db, "CREATE TABLE p(x)");
    database_run(db, "ATTACH '%s' AS b", database_uri("s", "main", ""));
    database_run(db, "PRAGMA locking_mode = EXCLUSIVE");
    database_number(db, "SELECT count(*) FROM b.t");
    database_try(db, "PRAGMA journal_mode = WAL");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM b.t"), 2000);
    database_run(db, "UPDATE b.t SET b = 1 WHERE a = 1");
    database_check(db);
    database_close(db);
    db = database_open();
    stored_page_1(db, page);
    ck_assert_uint_eq(page[18], 1);
    ck_assert_int_eq(database_number(db, "SELECT b FROM t WHERE a = 1"), 1);
    database_close(db);
}

/* ---- 9: PRAGMA synchronous ---- */

static unsigned syncs_of_a_commit(sqlite3 *db)
{
    syncs = 0;
    database_run(db, "UPDATE t SET b = b || 'x' WHERE a = 10");
    return syncs;
}

TEST(synchronous_decides_about_the_sync)
{
    sqlite3 *db = open_filled();
    static const struct {
        const char *value;
        unsigned syncs;
    } levels[] = {{"NORMAL", 0}, {"FULL", 1},  {"OFF", 0}, {"2", 1},     {"1", 0},     {"3", 1},
                  {"0", 0},      {"extra", 1}, {"on", 0},  {"FULL", 1}, {"'normal'", 0}, {"full", 1}};
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        database_run(db, "PRAGMA synchronous = %s", levels[i].value);
        ck_assert_msg(syncs_of_a_commit(db) == levels[i].syncs, "synchronous = %s: %u syncs", levels[i].value, syncs);
    }
    /* Inside a transaction SQLite refuses the change, although it tells the VFS of it. */
    syncs = 0;
    database_run(db, "BEGIN; UPDATE t SET b = 'y' WHERE a = 11");
    CODE(SQLITE_ERROR, database_try(db, "PRAGMA synchronous = NORMAL") & 0xff);
    database_run(db, "COMMIT");
    ck_assert_uint_eq(syncs, 1);
    ck_assert_uint_eq(syncs_of_a_commit(db), 1);
    database_close(db);
}

TEST(no_sync_asked_for_is_no_sync_made)
{
    static const char bytes[512] = "x";
    sqlite3 *db = open_filled();
    sqlite3_file *file = database_file(db);
    const sqlite3_io_methods *m = file->pMethods;
    for (unsigned asks = 0; asks < 2; asks++) {
        syncs = 0;
        CODE(SQLITE_OK, m->xLock(file, SQLITE_LOCK_SHARED));
        CODE(SQLITE_OK, m->xLock(file, SQLITE_LOCK_RESERVED));
        CODE(SQLITE_OK, m->xWrite(file, bytes, sizeof(bytes), 1 << 24));
        CODE(SQLITE_OK, m->xSync(file, SQLITE_SYNC_NORMAL)); /* of a commit that did not come to its end */
        CODE(SQLITE_OK, m->xFileControl(file, SQLITE_FCNTL_SYNC, NULL));
        if (asks)
            CODE(SQLITE_OK, m->xSync(file, SQLITE_SYNC_NORMAL));
        CODE(SQLITE_OK, m->xFileControl(file, SQLITE_FCNTL_COMMIT_PHASETWO, NULL));
        CODE(SQLITE_OK, m->xUnlock(file, SQLITE_LOCK_NONE));
        ck_assert_uint_eq(syncs, asks);
    }
    database_close(db);
}

/* ---- 10: page sizes, and the page at 1 GiB ---- */

TEST(vacuum_changes_the_page_size)
{
    static const int sizes[] = {8192, 512, 65536, 1024, 4096};
    sqlite3 *db = open_filled();
    char *rows = database_rows(db, "SELECT * FROM t");
    database_run(db, "PRAGMA cache_size = -2000");
    sqlite3 *other = database_open();
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        database_run(db, "PRAGMA page_size = %d; VACUUM", sizes[i]);
        ck_assert_int_eq(database_number(db, "PRAGMA page_size"), sizes[i]);
        ck_assert_int_eq(database_number(other, "PRAGMA page_size; "), i == 0 ? 4096 : sizes[i - 1]);
        char *after = database_rows(other, "SELECT * FROM t");
        ck_assert_str_eq(after, rows);
        free(after);
        ck_assert_int_eq(database_number(other, "PRAGMA page_size"), sizes[i]);
        database_check(other);
        int64_t size = 0;
        free(database_bytes(db, &size));
        ck_assert_int_eq(size, database_number(db, "PRAGMA page_count") * sizes[i]);
        database_run(other, "BEGIN; UPDATE t SET b = 'x' || b; ROLLBACK; BEGIN; DELETE FROM t WHERE a = 5; ROLLBACK");
        database_run(db, "UPDATE t SET b = b WHERE a %% 7 = 0");
        database_check(db);
    }
    free(rows);
    database_close(other);
    database_close(db);
}

TEST(writes_beside_the_lock_byte_page)
{
    static const int64_t gib = 0x40000000;
    uint8_t bytes[4096], back[8192];
    database_store("s");
    sqlite3 *db = database_open();
    database_run(db, "CREATE TABLE t(a)");
    sqlite3_file *file = database_file(db);
    const sqlite3_io_methods *m = file->pMethods;
    CODE(SQLITE_OK, m->xLock(file, SQLITE_LOCK_SHARED));
    CODE(SQLITE_OK, m->xLock(file, SQLITE_LOCK_RESERVED));
    memset(bytes, 7, sizeof(bytes));
    /* As sqlite3_backup_step does it: the pages after the lock byte's, smaller than the blocks here. */
    for (int64_t at = gib + 512; at < gib + 4096; at += 512)
        CODE(SQLITE_OK, m->xWrite(file, bytes, 512, at));
    sqlite3_int64 size = 0;
    CODE(SQLITE_OK, m->xFileSize(file, &size));
    ck_assert_int_eq(size, gib + 4096);
    CODE(SQLITE_OK, m->xWrite(file, bytes, 512, gib + 4096));
    CODE(SQLITE_OK, m->xFileSize(file, &size));
    ck_assert_int_eq(size, gib + 4096 + 512);
    CODE(SQLITE_OK, m->xFileControl(file, SQLITE_FCNTL_SYNC, NULL));
    CODE(SQLITE_OK, m->xSync(file, SQLITE_SYNC_NORMAL));
    CODE(SQLITE_OK, m->xFileControl(file, SQLITE_FCNTL_COMMIT_PHASETWO, NULL));
    CODE(SQLITE_OK, m->xUnlock(file, SQLITE_LOCK_NONE));
    CODE(SQLITE_OK, m->xFileSize(file, &size));
    ck_assert_int_eq(size, gib + 4096 + 512);
    CODE(SQLITE_IOERR_SHORT_READ, m->xRead(file, back, sizeof(back), gib));
    for (size_t i = 0; i < sizeof(back); i++)
        ck_assert_uint_eq(back[i], i >= 512 && i < 4096 + 512 ? 7 : 0);
    database_close(db);
}

/* A database whose pages go up to just below 1 GiB without anything in them, made by its header. */
static void stretch(sqlite3 *db, uint32_t page_count)
{
    uint8_t page[4096];
    sqlite3_file *file = database_file(db);
    const sqlite3_io_methods *m = file->pMethods;
    CODE(SQLITE_OK, m->xLock(file, SQLITE_LOCK_SHARED));
    CODE(SQLITE_OK, m->xLock(file, SQLITE_LOCK_RESERVED));
    CODE(SQLITE_OK, m->xRead(file, page, sizeof(page), 0));
    for (unsigned i = 0; i < 4; i++)
        page[28 + i] = (uint8_t)(page_count >> (24 - 8 * i));
    CODE(SQLITE_OK, m->xWrite(file, page, sizeof(page), 0));
    CODE(SQLITE_OK, m->xTruncate(file, (int64_t)page_count * 4096));
    CODE(SQLITE_OK, m->xFileControl(file, SQLITE_FCNTL_COMMIT_PHASETWO, NULL));
    CODE(SQLITE_OK, m->xUnlock(file, SQLITE_LOCK_NONE));
}

TEST(a_database_over_one_gibibyte)
{
    uint8_t page[4096];
    database_store("s");
    sqlite3 *db = database_open();
    database_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
    database_close(db);
    db = database_open();
    stretch(db, 262140); /* page 262145 holds the lock byte */
    database_close(db);
    db = database_open();
    ck_assert_int_eq(database_number(db, "PRAGMA page_count"), 262140);
    database_fill(db, 1000, 200);
    database_run(db, "BEGIN; DELETE FROM t WHERE a > 500; ROLLBACK");
    ck_assert_int_gt(database_number(db, "PRAGMA page_count"), 262160);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE length(b) = 200"), 1000);
    sqlite3_file *file = database_file(db);
    CODE(SQLITE_OK, file->pMethods->xRead(file, page, sizeof(page), 0x40000000));
    for (size_t i = 0; i < sizeof(page); i++)
        ck_assert_uint_eq(page[i], 0);
    database_run(db, "VACUUM");
    ck_assert_int_lt(database_number(db, "PRAGMA page_count"), 100);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE length(b) = 200"), 1000);
    database_check(db);
    database_close(db);
}

/* ---- 11: what the file says of itself ---- */

TEST(characteristics)
{
    sqlite3 *db = open_filled();
    sqlite3_file *file = database_file(db);
    int all = file->pMethods->xDeviceCharacteristics(file);
    ck_assert_int_eq(all, SQLITE_IOCAP_POWERSAFE_OVERWRITE | SQLITE_IOCAP_SAFE_APPEND | SQLITE_IOCAP_SEQUENTIAL |
                              SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN);
    ck_assert_int_eq(file->pMethods->iVersion, 1);
    sqlite3 *fixed = database_open_uri(database_uri("s", "main", "&immutable=1"));
    file = database_file(fixed);
    ck_assert_int_eq(file->pMethods->xDeviceCharacteristics(file), all | SQLITE_IOCAP_IMMUTABLE);
    database_close(fixed);
    database_close(db);
}

TEST(file_controls)
{
    sqlite3 *db = open_filled();
    char *name = NULL;
    int number = 5;
    sqlite3_int64 limit = 1 << 20;
    CODE(SQLITE_OK, sqlite3_file_control(db, "main", SQLITE_FCNTL_VFSNAME, &name));
    ck_assert_str_eq(name, "bough");
    sqlite3_free(name);
    CODE(SQLITE_OK, sqlite3_file_control(db, "main", SQLITE_FCNTL_TEMPFILENAME, &name));
    ck_assert_uint_eq((unsigned char)name[0], '/');
    sqlite3_free(name);
    CODE(SQLITE_OK, sqlite3_file_control(db, "main", SQLITE_FCNTL_HAS_MOVED, &number));
    ck_assert_int_eq(number, 0);
    CODE(SQLITE_OK, sqlite3_file_control(db, "main", SQLITE_FCNTL_CHUNK_SIZE, &number));
    CODE(SQLITE_OK, sqlite3_file_control(db, "main", SQLITE_FCNTL_SIZE_HINT, &limit));
    number = 1;
    CODE(SQLITE_OK, sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &number));
    number = -1;
    CODE(SQLITE_OK, sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &number));
    ck_assert_int_eq(number, 1);
    number = 0;
    CODE(SQLITE_OK, sqlite3_file_control(db, "main", SQLITE_FCNTL_POWERSAFE_OVERWRITE, &number));
    number = -1;
    CODE(SQLITE_OK, sqlite3_file_control(db, "main", SQLITE_FCNTL_POWERSAFE_OVERWRITE, &number));
    ck_assert_int_eq(number, 1);
    database_run(db, "BEGIN IMMEDIATE");
    CODE(SQLITE_OK, sqlite3_file_control(db, "main", SQLITE_FCNTL_LOCKSTATE, &number));
    ck_assert_int_eq(number, SQLITE_LOCK_RESERVED);
    database_run(db, "COMMIT");
    CODE(SQLITE_OK, sqlite3_file_control(db, "main", SQLITE_FCNTL_LOCKSTATE, &number));
    ck_assert_int_eq(number, SQLITE_LOCK_NONE);
    CODE(SQLITE_NOTFOUND, sqlite3_file_control(db, "main", 123456, &number));
    database_close(db);
}

TEST(mmap_size_0_reads_without_mappings)
{
    sqlite3 *db = open_filled();
    struct bough__file *file = bough__file_of(database_file(db));
    ck_assert(file->use_mapping);
    database_run(db, "PRAGMA mmap_size = 0");
    ck_assert(!file->use_mapping);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE length(b) = 100"), 2000);
    ck_assert_int_eq(database_number(db, "PRAGMA mmap_size"), 0);
    database_run(db, "PRAGMA mmap_size = 1000000");
    ck_assert(file->use_mapping);
    ck_assert_int_eq(database_number(db, "PRAGMA mmap_size"), 1000000);
    database_close(db);
}

/* ---- 12: what is no branch ---- */

TEST(ordinary_files_go_to_the_system)
{
    char uri[4096];
    database_store("s");
    snprintf(uri, sizeof(uri), "file:%s?vfs=bough", harness_path("plain.db"));
    sqlite3 *db = database_open_uri(uri);
    ck_assert_str_eq(database_text(db, "PRAGMA journal_mode = WAL"), "wal");
    database_fill(db, 500, 300);
    ck_assert_int_eq(access(harness_path("plain.db-wal"), F_OK), 0);
    database_check(db);
    database_run(db, "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 5; BEGIN; UPDATE t SET b = 1");
    ck_assert_int_eq(access(harness_path("plain.db-journal"), F_OK), 0);
    database_run(db, "ROLLBACK");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 1"), 0);
    database_close(db);
    db = database_open_uri("file::memory:?vfs=bough");
    database_fill(db, 500, 300);
    database_check(db);
    database_close(db);
    db = database_open_uri("file:?vfs=bough");
    database_fill(db, 500, 300);
    database_run(db, "PRAGMA cache_size = 2; UPDATE t SET b = b || b");
    database_check(db);
    database_close(db);
}

TEST(temporary_tables_beside_a_branch)
{
    sqlite3 *db = open_filled();
    uint64_t before = newest(db);
    database_run(db, "PRAGMA temp_store = FILE; PRAGMA temp.cache_size = 2");
    database_run(db, "CREATE TEMP TABLE x AS SELECT * FROM t; UPDATE x SET b = b || b;"
                     "CREATE INDEX temp.i ON x(b); DELETE FROM x WHERE a %% 2");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM x WHERE length(b) = 200"), 1000);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM (SELECT DISTINCT b FROM t ORDER BY b DESC)"), 2000);
    ck_assert_uint_eq(newest(db), before);
    database_close(db);
}

TEST(vacuum_into_an_empty_branch)
{
    sqlite3 *db = open_filled(), *none = NULL;
    database_store("u");
    database_run(db, "VACUUM INTO '%s'", database_uri("u", "main", ""));
    sqlite3 *copy = database_open_uri(database_uri("u", "main", ""));
    ck_assert_int_eq(database_number(copy, "SELECT count(*) FROM t WHERE length(b) = 100"), 2000);
    database_check(copy);
    database_close(copy);
    ck_assert_int_ne(database_try(db, "VACUUM INTO '%s'", database_uri("u", "main", "")), SQLITE_OK);
    CODE(SQLITE_CANTOPEN, database_try(db, "VACUUM INTO '%s'", database_uri("u", "unknown", "")) & 0xff);
    CODE(SQLITE_CANTOPEN, database_try_open(&none, database_uri("u", "unknown", ""), SQLITE_OPEN_READONLY) & 0xff);
    database_close(db);
}

/* ---- 13: the journal by reference ---- */

TEST(a_large_update_keeps_little_in_its_journal)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 2000, 8000);
    database_run(db, "PRAGMA cache_size = 20");
    int64_t bytes = database_number(db, "PRAGMA page_count") * 4096;
    ck_assert_int_gt(bytes, 15000000);
    char *sum = strdup(database_text(db, "SELECT group_concat(substr(b, a, 4)) FROM t WHERE a < 900"));
    database_run(db, "BEGIN; UPDATE t SET b = upper(hex(zeroblob(4000)))");
    struct bough__file *file = bough__file_of(database_file(db));
    ck_assert_ptr_nonnull(file->journal);
    ck_assert_uint_lt(bough__journal_stored_bytes(file->journal), (uint64_t)bytes / 30);
    database_run(db, "SAVEPOINT x; DELETE FROM t; ROLLBACK TO x");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b NOT LIKE '%%1%%'"), 2000);
    database_run(db, "ROLLBACK");
    ck_assert_str_eq(database_text(db, "SELECT group_concat(substr(b, a, 4)) FROM t WHERE a < 900"), sum);
    database_check(db);
    free(sum);
    database_close(db);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(a_commit_is_one_sync),
        CASE(a_rollback_after_a_spill_syncs_and_commits_nothing),
        CASE(a_shrunk_database_is_committed_shrunk),
        CASE(nothing_written_is_no_transaction),
        CASE(an_error_leaves_no_hot_journal),
        CASE(an_error_leaves_no_hot_journal_to_truncate),
        CASE(a_failed_sync_leaves_the_old_state),
        CASE(a_failed_sync_in_exclusive_mode),
        CASE(a_full_disk_leaves_the_old_state),
        CASE(a_full_disk_in_exclusive_mode),
        CASE(a_transaction_over_two_stores_is_refused),
        CASE(a_transaction_over_a_branch_and_a_file_is_refused),
        CASE(a_transaction_over_two_files_beside_a_branch_is_refused),
        CASE(a_refused_transaction_is_rolled_back_in_every_mode),
        CASE(savepoints_survive_spills),
        CASE(exclusive_mode_commits_every_transaction),
        CASE(exclusive_mode_reads_a_stale_state_and_cannot_write_on_it),
        CASE(journal_off_rolls_back),
        CASE(journal_off_rolls_back_in_exclusive_mode),
        CASE(journal_modes_that_a_branch_has),
        CASE(own_commits_keep_the_cache),
        CASE(commits_of_others_are_seen_though_the_counter_stands_still),
        CASE(the_schema_of_others_is_seen),
        CASE(a_second_writer_is_busy),
        CASE(a_writer_that_waited_sees_what_it_waited_for),
        CASE(a_stale_snapshot_cannot_be_written),
        CASE(writers_do_not_keep_readers_out),
        CASE(immutable_keeps_one_state),
        CASE(nolock_is_refused),
        CASE(methods_without_a_lock_see_one_newest_state),
        CASE(a_wal_header_is_hidden_and_kept),
        CASE(wal_is_not_entered),
        CASE(wal_for_all_databases_in_exclusive_mode_breaks_nothing),
        CASE(synchronous_decides_about_the_sync),
        CASE(no_sync_asked_for_is_no_sync_made),
        CASE(vacuum_changes_the_page_size),
        CASE(writes_beside_the_lock_byte_page),
        CASE(a_database_over_one_gibibyte),
        CASE(characteristics),
        CASE(file_controls),
        CASE(mmap_size_0_reads_without_mappings),
        CASE(ordinary_files_go_to_the_system),
        CASE(temporary_tables_beside_a_branch),
        CASE(vacuum_into_an_empty_branch),
        CASE(a_large_update_keeps_little_in_its_journal),
    };
    return harness_run("facts", cases, COUNT_OF(cases));
}
