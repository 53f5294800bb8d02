/* test_group.c - SQL transactions over several branches of a store: all or none, whatever happens in between. */
#include "database.h"

#include "os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BRANCHES = 3 };
static const char *const names[BRANCHES] = {"main", "b1", "b2"};

/* A store s with main, b1 and b2; t(a INTEGER PRIMARY KEY, b) holds rows of 0. */
static void make_store(int rows)
{
    bough_store *store = NULL;
    bough_branches made = {0};
    database_store("s");
    sqlite3 *db = database_open();
    database_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
    database_run(db, "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < %d)"
                     " INSERT INTO t SELECT x, 0 FROM c", rows);
    database_close(db);
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    ASSERT_OK(bough_branch_create(&made, store, names + 1, BRANCHES - 1, "main", NULL));
    bough_branches_release(&made);
    bough_store_close(store);
}

/* main with b1 as y and b2 as z. */
static sqlite3 *open_all(void)
{
    sqlite3 *db = database_open();
    database_run(db, "ATTACH '%s' AS y", database_uri("s", "b1", ""));
    database_run(db, "ATTACH '%s' AS z", database_uri("s", "b2", ""));
    return db;
}

static int64_t value_in(const char *branch)
{
    sqlite3 *db = database_open_uri(database_uri("s", branch, ""));
    int64_t value = database_number(db, "SELECT b FROM t WHERE a = 1");
    ck_assert_int_eq(database_number(db, "SELECT count(DISTINCT b) FROM t"), 1);
    database_check(db);
    database_close(db);
    return value;
}

static void expect(int64_t x, int64_t y, int64_t z)
{
    ck_assert_int_eq(value_in("main"), x);
    ck_assert_int_eq(value_in("b1"), y);
    ck_assert_int_eq(value_in("b2"), z);
}

static int set_all(sqlite3 *db, int value)
{
    int rc = database_try(db, "BEGIN; UPDATE main.t SET b = %d; UPDATE y.t SET b = %d; UPDATE z.t SET b = %d; COMMIT",
                          value, value, value);
    if (!sqlite3_get_autocommit(db))
        database_run(db, "ROLLBACK");
    return rc;
}

/* ---- as SQL ---- */

TEST(two_or_three_branches_commit_together)
{
    make_store(5);
    sqlite3 *db = open_all();
    CODE(SQLITE_OK, set_all(db, 1));
    expect(1, 1, 1);
    database_run(db, "BEGIN; UPDATE y.t SET b = 2; UPDATE z.t SET b = 2; COMMIT");
    expect(1, 2, 2);
    database_run(db, "BEGIN; UPDATE z.t SET b = 3; UPDATE main.t SET b = 3; COMMIT");
    expect(3, 2, 3);
    database_run(db, "UPDATE y.t SET b = 4");
    expect(3, 4, 3);
    for (int i = 5; i < 40; i++)
        CODE(SQLITE_OK, set_all(db, i));
    expect(39, 39, 39);
    ck_assert_int_eq(database_number(db, "SELECT sum(b) FROM y.t"), 5 * 39);
    database_close(db);
    expect(39, 39, 39);
}

TEST(a_transaction_that_changes_one_of_them)
{
    make_store(5);
    sqlite3 *db = open_all();
    database_run(db, "BEGIN IMMEDIATE; UPDATE y.t SET b = 1; COMMIT");
    expect(0, 1, 0);
    database_run(db, "BEGIN IMMEDIATE; COMMIT");
    database_run(db, "BEGIN IMMEDIATE; UPDATE z.t SET b = 2; UPDATE z.t SET b = 0; UPDATE y.t SET b = 2; COMMIT");
    expect(0, 2, 0);
    ck_assert_int_eq(access(harness_path("s.bough/decisions"), F_OK), 0);
    database_close(db);
}

TEST(rollbacks_and_savepoints)
{
    make_store(5);
    sqlite3 *db = open_all();
    database_run(db, "BEGIN; UPDATE main.t SET b = 1; UPDATE y.t SET b = 1; ROLLBACK");
    expect(0, 0, 0);
    database_run(db, "BEGIN; UPDATE main.t SET b = 1; SAVEPOINT s; UPDATE y.t SET b = 2; UPDATE main.t SET b = 2;"
                     "ROLLBACK TO s; UPDATE z.t SET b = 3; RELEASE s; COMMIT");
    expect(1, 0, 3);
    database_close(db);
}

TEST(modes_of_journal_and_lock)
{
    static const char *const modes[] = {"DELETE", "TRUNCATE", "PERSIST", "MEMORY"};
    make_store(40);
    for (int i = 0; i < 16; i++) {
        sqlite3 *db = open_all();
        database_run(db, "PRAGMA main.journal_mode = %s; PRAGMA y.journal_mode = %s", modes[i % 4], modes[i / 4]);
        database_run(db, "PRAGMA locking_mode = %s; PRAGMA cache_size = 3", i % 3 ? "NORMAL" : "EXCLUSIVE");
        database_run(db, "PRAGMA synchronous = %s", i % 5 ? "FULL" : "NORMAL");
        for (int k = 1; k < 4; k++) {
            CODE(SQLITE_OK, set_all(db, 10 * i + k));
            database_run(db, "BEGIN; UPDATE main.t SET b = -1; UPDATE y.t SET b = -1; ROLLBACK");
            ck_assert_int_eq(database_number(db, "SELECT sum(b) FROM y.t"), 40 * (10 * i + k));
            ck_assert_int_eq(database_number(db, "SELECT sum(b) FROM main.t"), 40 * (10 * i + k));
        }
        database_close(db);
        expect(10 * i + 3, 10 * i + 3, 10 * i + 3);
    }
}

TEST(without_a_super_journal_each_commits_alone)
{
    make_store(5);
    sqlite3 *db = open_all();
    database_run(db, "PRAGMA main.synchronous = OFF; PRAGMA y.synchronous = OFF; PRAGMA z.synchronous = OFF");
    CODE(SQLITE_OK, set_all(db, 1));
    database_close(db);
    db = database_open_uri("file::memory:?vfs=bough");
    database_run(db, "ATTACH '%s' AS y", database_uri("s", "b1", ""));
    database_run(db, "ATTACH '%s' AS z", database_uri("s", "b2", ""));
    database_run(db, "BEGIN; UPDATE y.t SET b = 2; UPDATE z.t SET b = 2; COMMIT");
    database_close(db);
    expect(1, 2, 2);
    ck_assert_int_ne(access(harness_path("s.bough/decisions"), F_OK), 0);
}

/* What SQLite cuts off comes after the decision. */
TEST(a_database_that_shrinks)
{
    make_store(1);
    sqlite3 *db = open_all();
    database_run(db, "PRAGMA main.auto_vacuum = FULL; VACUUM main; PRAGMA y.auto_vacuum = INCREMENTAL; VACUUM y");
    for (int i = 0; i < 3; i++) {
        database_run(db, "BEGIN; CREATE TABLE main.big(c); INSERT INTO big SELECT zeroblob(200000);"
                         "CREATE TABLE y.big(c); INSERT INTO y.big SELECT randomblob(200000); COMMIT");
        int64_t before = database_number(db, "PRAGMA main.page_count");
        database_run(db, "BEGIN; DROP TABLE main.big; DROP TABLE y.big; PRAGMA y.incremental_vacuum; COMMIT");
        ck_assert_int_lt(database_number(db, "PRAGMA main.page_count"), before - 40);
        sqlite3 *other = database_open();
        ck_assert_int_lt(database_number(other, "PRAGMA page_count"), before - 40);
        sqlite3_int64 size = 0;
        ck_assert_int_eq(database_file(other)->pMethods->xFileSize(database_file(other), &size), SQLITE_OK);
        ck_assert_int_eq(size, 4096 * database_number(other, "PRAGMA page_count"));
        database_check(other);
        database_close(other);
    }
    database_close(db);
    expect(0, 0, 0);
}

/* More than 8 MiB on one of them, and more pages cut off. */
TEST(large_transactions)
{
    make_store(1);
    sqlite3 *db = open_all();
    database_run(db, "CREATE TABLE main.big(c); CREATE TABLE y.big(c)");
    for (int i = 1; i < 4; i++) {
        database_run(db, "BEGIN; UPDATE main.t SET b = %d; UPDATE y.t SET b = %d", i, i);
        database_run(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3500)"
                         " INSERT INTO y.big SELECT randomblob(4000) FROM n; COMMIT");
        expect(i, i, 0);
    }
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM y.big WHERE length(c) = 4000"), 3 * 3500);
    database_run(db, "BEGIN; DELETE FROM y.big; UPDATE main.t SET b = 9; UPDATE y.t SET b = 9; COMMIT");
    database_check(db);
    database_close(db);
    expect(9, 9, 0);
}

TEST(the_first_write_of_every_branch)
{
    database_store("s");
    bough_store *store = NULL;
    bough_branches made = {0};
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    ASSERT_OK(bough_branch_create(&made, store, names + 1, BRANCHES - 1, "main", NULL));
    bough_branches_release(&made);
    bough_store_close(store);
    sqlite3 *db = open_all();
    database_run(db, "BEGIN; CREATE TABLE main.t(a, b); CREATE TABLE y.t(a, b); CREATE TABLE z.t(a, b);"
                     "INSERT INTO main.t VALUES(1, 7); INSERT INTO y.t VALUES(1, 7); INSERT INTO z.t VALUES(1, 7);"
                     "COMMIT");
    database_close(db);
    expect(7, 7, 7);
}

/* ---- what is refused ---- */

TEST(a_file_beside_two_branches)
{
    make_store(1);
    sqlite3 *db = open_all();
    database_run(db, "ATTACH '%s' AS f; CREATE TABLE f.t(b); INSERT INTO f.t VALUES(0)", harness_path("plain.db"));
    for (int wal = 0; wal < 2; wal++) {
        database_log();
        CODE(SQLITE_IOERR, database_try(db, "BEGIN; UPDATE f.t SET b = 1; UPDATE main.t SET b = 1;"
                                            "UPDATE y.t SET b = 1; COMMIT"));
        ck_assert_ptr_nonnull(strstr(database_log(), "cannot write to branches and to another database"));
        ck_assert(sqlite3_get_autocommit(db));
        ck_assert_int_eq(database_number(db, "SELECT sum(b) FROM (SELECT b FROM main.t UNION ALL SELECT b FROM y.t"
                                             " UNION ALL SELECT b FROM f.t)"), 0);
        database_run(db, "PRAGMA f.journal_mode = WAL");
    }
    expect(0, 0, 0);
    CODE(SQLITE_OK, set_all(db, 3));
    database_close(db);
    expect(3, 3, 3);
}

/* The file's hot journal must roll it back after a kill in the middle of such a commit. */
TEST(a_file_keeps_its_hot_journal)
{
    make_store(1);
    sqlite3 *db = database_open_uri(harness_path("plain.db"));
    database_run(db, "CREATE TABLE p(a); INSERT INTO p VALUES(0); VACUUM");
    database_close(db);
    for (int is_main = 0; is_main < 2; is_main++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            db = is_main ? database_open_uri(harness_path("plain.db")) : open_all();
            if (is_main)
                database_run(db, "ATTACH '%s' AS y", database_uri("s", "b1", ""));
            else
                database_run(db, "ATTACH '%s' AS f", harness_path("plain.db"));
            database_run(db, "PRAGMA cache_size = 1; BEGIN; UPDATE p SET a = 1; UPDATE y.t SET b = 1;"
                             "CREATE TABLE %s.spill AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                             " WHERE i < 500) SELECT randomblob(500) FROM n", is_main ? "main" : "f");
            database_try(db, "COMMIT");
            _exit(0);
        }
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
        db = database_open_uri(harness_path("plain.db"));
        ck_assert_int_eq(database_number(db, "SELECT a FROM p"), 0);
        database_check(db);
        database_close(db);
    }
    expect(0, 0, 0);
}

TEST(the_same_branch_twice)
{
    make_store(1);
    sqlite3 *db = database_open();
    database_run(db, "ATTACH '%s' AS again", database_uri("s", "main", ""));
    database_run(db, "BEGIN; UPDATE main.t SET b = 1");
    CODE(SQLITE_BUSY, database_try(db, "UPDATE again.t SET b = 2") & 0xff);
    database_run(db, "COMMIT");
    ck_assert_int_eq(database_number(db, "SELECT b FROM again.t"), 1);
    database_close(db);
    expect(1, 0, 0);
}

TEST(past_states_are_read_beside)
{
    make_store(1);
    sqlite3 *db = open_all();
    database_run(db, "ATTACH '%s' AS past", database_uri("s", "main~0", ""));
    CODE(SQLITE_OK, set_all(db, 1));
    database_run(db, "BEGIN; UPDATE main.t SET b = (SELECT b + 5 FROM past.t); UPDATE y.t SET b = 5; COMMIT");
    CODE(SQLITE_READONLY, database_try(db, "BEGIN; UPDATE main.t SET b = 6; UPDATE past.t SET b = 6") & 0xff);
    database_run(db, "ROLLBACK");
    database_close(db);
    ck_assert_int_eq(value_in("b1"), 5);
}

TEST(a_busy_branch)
{
    make_store(1);
    sqlite3 *db = open_all(), *other = database_open_uri(database_uri("s", "b2", ""));
    database_run(other, "BEGIN IMMEDIATE");
    CODE(SQLITE_BUSY, set_all(db, 1) & 0xff);
    expect(0, 0, 0);
    database_run(other, "COMMIT");
    CODE(SQLITE_OK, set_all(db, 1));
    expect(1, 1, 1);
    database_close(other);
    database_close(db);
}

/* ---- what a failure leaves ---- */

static unsigned calls_until_failure, calls_that_fail;

static bool is_failing(void)
{
    if (calls_until_failure > 0 && --calls_until_failure == 0) {
        if (--calls_that_fail > 0)
            calls_until_failure = 1;
        return true;
    }
    return false;
}

static int fail_fdatasync(int fd)
{
    if (!is_failing())
        return fdatasync(fd);
    errno = EIO;
    return -1;
}

static void fail_syncs(unsigned nth, unsigned count)
{
    bough__os.fdatasync = fail_fdatasync;
    calls_until_failure = nth;
    calls_that_fail = count;
}

/* Of the syncs of a transaction over three branches the nth and the next ones fail; then everything goes on. */
static void fail_commit(unsigned nth, unsigned count, bool is_exclusive)
{
    make_store(20);
    sqlite3 *db = open_all();
    if (is_exclusive)
        database_run(db, "PRAGMA locking_mode = EXCLUSIVE");
    CODE(SQLITE_OK, set_all(db, 1));
    sqlite3_stmt *reader = NULL;
    ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT b FROM y.t", -1, &reader, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(reader), SQLITE_ROW); /* keeps the cache */
    fail_syncs(nth, count);
    CODE(SQLITE_IOERR, set_all(db, 2) & 0xff);
    calls_until_failure = 0;
    sqlite3_finalize(reader);
    ck_assert_int_eq(database_number(db, "SELECT sum(b) FROM main.t"), 20);
    ck_assert_int_eq(database_number(db, "SELECT sum(b) FROM y.t"), 20);
    ck_assert_int_eq(database_number(db, "SELECT sum(b) FROM z.t"), 20);
    expect(1, 1, 1);
    CODE(SQLITE_OK, set_all(db, 3));
    expect(3, 3, 3);
    database_run(db, "UPDATE y.t SET b = 4");
    database_close(db);
    expect(3, 4, 3);
}

TEST(a_sync_of_a_branch_fails) { fail_commit(1, 1, false); }
TEST(a_sync_of_the_last_branch_fails) { fail_commit(3, 1, false); }
TEST(a_sync_of_the_last_branch_fails_in_exclusive_mode) { fail_commit(3, 1, true); }
TEST(the_decision_fails) { fail_commit(4, 1, false); }
TEST(the_decision_fails_in_exclusive_mode) { fail_commit(4, 1, true); }
TEST(the_decision_cannot_be_withdrawn) { fail_commit(4, 2, false); }
TEST(the_decision_cannot_be_withdrawn_for_long) { fail_commit(4, 4, false); }
TEST(the_decision_cannot_be_withdrawn_in_exclusive_mode) { fail_commit(4, 3, true); }

/* As long as it is not withdrawn for sure, no branch goes on. */
TEST(an_open_decision_stops_its_branches)
{
    make_store(1);
    sqlite3 *db = open_all();
    CODE(SQLITE_OK, set_all(db, 1));
    fail_syncs(4, 1000);
    CODE(SQLITE_IOERR, set_all(db, 2) & 0xff);
    sqlite3 *other = database_open_uri(database_uri("s", "b1", ""));
    ck_assert_int_eq(database_number(other, "SELECT b FROM t"), 1);
    ck_assert_int_ne(database_try(other, "UPDATE t SET b = 9"), SQLITE_OK);
    ck_assert_int_ne(database_try(db, "UPDATE main.t SET b = 9"), SQLITE_OK);
    if (!sqlite3_get_autocommit(db))
        database_run(db, "ROLLBACK");
    calls_until_failure = 0;
    database_run(other, "UPDATE t SET b = 5");
    database_close(other);
    database_close(db);
    expect(1, 5, 1);
}

/* ---- what a kill leaves ---- */

static unsigned writes_until_kill;

static ssize_t kill_at_pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    if (writes_until_kill > 0 && --writes_until_kill == 0)
        _exit(9);
    return pwrite(fd, bytes, len, offset);
}

static int kill_at_fdatasync(int fd)
{
    if (writes_until_kill > 0 && --writes_until_kill == 0)
        _exit(9);
    return fdatasync(fd);
}

/* A process that commits a transaction over all branches when it is told to, and is killed before its nth write or
 * sync. */
struct doomed {
    pid_t pid;
    int go;
};

static struct doomed doomed_start(unsigned nth, int value)
{
    int go[2];
    char byte = 0;
    fflush(NULL);
    ck_assert_int_eq(pipe(go), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(go[1]);
        if (read(go[0], &byte, 1) != 1)
            _exit(1);
        sqlite3 *db = open_all();
        database_run(db, "BEGIN; UPDATE main.t SET b = %d; UPDATE y.t SET b = %d; UPDATE z.t SET b = %d", value, value,
                     value);
        bough__os.pwrite = kill_at_pwrite;
        bough__os.fdatasync = kill_at_fdatasync;
        writes_until_kill = nth;
        database_run(db, "COMMIT");
        _exit(0);
    }
    close(go[0]);
    return (struct doomed){pid, go[1]};
}

/* Returns whether it was killed. */
static bool doomed_run(struct doomed *doomed)
{
    int status = 0;
    ck_assert_int_eq(write(doomed->go, "g", 1), 1);
    ck_assert_int_eq(waitpid(doomed->pid, &status, 0), doomed->pid);
    close(doomed->go);
    return WEXITSTATUS(status) == 9;
}

/* Others have the branches open or not, read or write first, in every order. */
TEST(a_kill_at_every_write)
{
    static const int orders[][BRANCHES] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    unsigned kills = 0, committed = 0;
    make_store(1);
    int64_t now = 0;
    for (int others = 0; others < 3; others++) {
        bool was_killed = true;
        for (unsigned nth = 1; was_killed; nth++) {
            const int *order = orders[(nth + (unsigned)others) % COUNT_OF(orders)];
            struct doomed doomed = doomed_start(nth, (int)now + 1); /* forked before anything is open here */
            sqlite3 *witness = others == 1 ? open_all() : NULL; /* has seen the state before */
            if (witness)
                ck_assert_int_eq(database_number(witness, "SELECT sum(b) FROM y.t"), now);
            was_killed = doomed_run(&doomed);
            kills += was_killed;
            if (others == 2) { /* the next writer on one of them, before anyone reads */
                sqlite3 *db = database_open_uri(database_uri("s", names[order[0]], ""));
                database_run(db, "BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS other(a); COMMIT");
                database_close(db);
            }
            int64_t found = value_in(names[order[0]]);
            ck_assert(found == now || found == now + 1);
            ck_assert(was_killed || found == now + 1);
            committed += found == now + 1;
            ck_assert_int_eq(value_in(names[order[1]]), found);
            ck_assert_int_eq(value_in(names[order[2]]), found);
            if (witness) {
                ck_assert_int_eq(database_number(witness, "SELECT sum(b) FROM y.t"), found);
                ck_assert_int_eq(database_number(witness, "SELECT sum(b) FROM z.t"), found);
                database_run(witness, "UPDATE z.t SET b = b");
                database_close(witness);
            }
            now = found;
        }
    }
    printf("group: %u kills, %u of the transactions are there\n", kills, committed);
    ck_assert_uint_ge(kills, 3 * 8);
    ck_assert_uint_ge(committed, 3 * 2); /* at least those killed at the decision's sync and the one that was not */
}

/* ---- what it costs ---- */

static unsigned syncs, directory_syncs;

static int count_fdatasync(int fd)
{
    syncs++;
    return fdatasync(fd);
}

static int count_fsync(int fd)
{
    directory_syncs++;
    return fsync(fd);
}

TEST(a_sync_for_each_branch_and_one_for_the_decision)
{
    enum { COUNT = 300 };
    make_store(1);
    sqlite3 *db = open_all();
    CODE(SQLITE_OK, set_all(db, 1));
    bough__os.fdatasync = count_fdatasync;
    bough__os.fsync = count_fsync;
    for (int i = 0; i < COUNT; i++)
        database_run(db, "BEGIN; UPDATE main.t SET b = %d; UPDATE y.t SET b = %d; COMMIT", i, i);
    printf("group: %d transactions over two branches made %u syncs, and %u of directories\n", COUNT, syncs,
           directory_syncs);
    ck_assert_uint_ge(syncs, 3 * COUNT);
    ck_assert_uint_le(syncs, 3 * COUNT + 30); /* checkpoints */
    ck_assert_uint_le(directory_syncs, 2);
    database_close(db);
    expect(COUNT - 1, COUNT - 1, 1);
}

/* Slots are used again, by this process and by others. */
TEST(decisions_do_not_pile_up)
{
    struct stat info;
    make_store(1);
    for (int round = 0; round < 6; round++) {
        sqlite3 *db = open_all();
        for (int i = 0; i < 100; i++)
            CODE(SQLITE_OK, set_all(db, i));
        database_close(db);
    }
    ck_assert_int_eq(stat(harness_path("s.bough/decisions"), &info), 0);
    ck_assert_int_eq(info.st_size, 64 << 10); /* room for 128 */
    for (int i = 0; i < 300; i++) {
        sqlite3 *db = open_all();
        CODE(SQLITE_OK, set_all(db, i));
        database_close(db);
    }
    ck_assert_int_eq(stat(harness_path("s.bough/decisions"), &info), 0);
    ck_assert_int_eq(info.st_size, 64 << 10);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(two_or_three_branches_commit_together),
        CASE(a_transaction_that_changes_one_of_them),
        CASE(rollbacks_and_savepoints),
        CASE(modes_of_journal_and_lock),
        CASE(without_a_super_journal_each_commits_alone),
        CASE(a_database_that_shrinks),
        CASE(large_transactions),
        CASE(the_first_write_of_every_branch),
        CASE(a_file_beside_two_branches),
        CASE(a_file_keeps_its_hot_journal),
        CASE(the_same_branch_twice),
        CASE(past_states_are_read_beside),
        CASE(a_busy_branch),
        CASE(a_sync_of_a_branch_fails),
        CASE(a_sync_of_the_last_branch_fails),
        CASE(a_sync_of_the_last_branch_fails_in_exclusive_mode),
        CASE(the_decision_fails),
        CASE(the_decision_fails_in_exclusive_mode),
        CASE(the_decision_cannot_be_withdrawn),
        CASE(the_decision_cannot_be_withdrawn_for_long),
        CASE(the_decision_cannot_be_withdrawn_in_exclusive_mode),
        CASE(an_open_decision_stops_its_branches),
        CASE(a_kill_at_every_write),
        CASE(a_sync_for_each_branch_and_one_for_the_decision),
        CASE(decisions_do_not_pile_up),
    };
    return harness_run("group", cases, COUNT_OF(cases));
}
