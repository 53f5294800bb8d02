/* test_faults.c - SQL while the system fails: every call of every kind fails once, and from then on. What a COMMIT
 * acknowledged is there, what failed is not, nothing is torn, and the connection goes on afterwards.
 */
#include "database.h"

#include "faultos.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROWS 40

/* One transaction: every row and the mark get the number, over a cache that spills. Returns whether it was
 * acknowledged. */
static bool write_number(sqlite3 *db, int number)
{
    int rc = database_try(db, "BEGIN; UPDATE t SET b = %d, c = hex(zeroblob(200 + a)); UPDATE mark SET n = %d", number,
                          number);
    if (rc == SQLITE_OK)
        rc = database_try(db, "SAVEPOINT x; DELETE FROM t WHERE a %% 2; ROLLBACK TO x; COMMIT");
    if (!sqlite3_get_autocommit(db))
        database_try(db, "ROLLBACK");
    return rc == SQLITE_OK;
}

/* The number that the database holds; everything in it says the same. */
static int read_number(sqlite3 *db)
{
    int number = (int)database_number(db, "SELECT n FROM mark");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = %d", number), ROWS);
    return number;
}

struct run {
    int acknowledged; /* the last number that was */
};

static void work(struct run *run, const char *pragmas)
{
    sqlite3 *db = NULL;
    if (database_try_open(&db, database_uri("s", "main", ""), SQLITE_OPEN_READWRITE) != SQLITE_OK)
        return;
    database_try(db, "PRAGMA cache_size = 3; %s", pragmas);
    for (int i = 0; i < 3; i++) {
        int number = run->acknowledged + 1;
        database_try(db, "SELECT sum(length(c)) FROM t");
        database_try(db, "BEGIN; UPDATE t SET b = -1; ROLLBACK");
        if (write_number(db, number))
            run->acknowledged = number;
    }
    sqlite3_close(db);
}

static void check(const struct run *run, const char *what, uint64_t nth)
{
    sqlite3 *db = database_open();
    int number = read_number(db);
    if (number != run->acknowledged)
        ck_abort_msg("%s call %llu: %d was acknowledged, the database holds %d", what, (unsigned long long)nth,
                     run->acknowledged, number);
    database_check(db);
    database_close(db);
}

static void fail_each(enum faultos_kind kind, int error, bool is_lasting, const char *pragmas)
{
    struct run run = {0};
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, ROWS, 10);
    database_run(db, "ALTER TABLE t ADD COLUMN c; UPDATE t SET b = 0;"
                     "CREATE TABLE mark(n); INSERT INTO mark VALUES(0)");
    database_close(db);
    faultos_install();
    uint64_t nth = 0, hits = 0;
    for (bool was_hit = true; was_hit; hits += was_hit) {
        nth += nth < 100 ? 1 : 13;
        faultos_fail(kind, nth, error, is_lasting);
        work(&run, pragmas);
        was_hit = faultos_was_hit();
        faultos_clear();
        check(&run, faultos_name(kind), nth);
    }
    printf("faults: %s, %llu runs\n", faultos_name(kind), (unsigned long long)hits);
    /* After all that the connections of a healthy system work as ever. */
    int before = run.acknowledged;
    work(&run, pragmas);
    ck_assert_int_eq(run.acknowledged, before + 3);
    check(&run, "no", 0);
}

#define NORMAL "PRAGMA locking_mode = NORMAL"
#define EXCLUSIVE "PRAGMA locking_mode = EXCLUSIVE"
#define PERSIST "PRAGMA journal_mode = PERSIST"
#define PREAD "PRAGMA mmap_size = 0"
#define RESIZE "PRAGMA page_size = 8192; VACUUM; PRAGMA page_size = 1024; VACUUM"

TEST(memory) { fail_each(FAULTOS_MEMORY, ENOMEM, false, NORMAL); }
TEST(memory_in_exclusive_mode) { fail_each(FAULTOS_MEMORY, ENOMEM, false, EXCLUSIVE); }
TEST(no_memory_any_more) { fail_each(FAULTOS_MEMORY, ENOMEM, true, PERSIST); }
TEST(writes) { fail_each(FAULTOS_WRITE, EIO, false, NORMAL); }
TEST(writes_in_exclusive_mode) { fail_each(FAULTOS_WRITE, EIO, false, EXCLUSIVE); }
TEST(a_full_disk) { fail_each(FAULTOS_WRITE, ENOSPC, true, PERSIST); }
/* Who opens a branch while the disk is full has no part in shared memory. He reads, and when there is room again he
 * sees what others write and writes himself. */
TEST(room_comes_back)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_run(db, "CREATE TABLE t(a, b); CREATE TABLE mark(n); INSERT INTO mark VALUES(1)");
    database_close(db);
    faultos_install();
    faultos_fail(FAULTOS_WRITE, 1, ENOSPC, true);
    db = database_open();
    ck_assert_int_eq(database_number(db, "SELECT n FROM mark"), 1);
    CODE(SQLITE_FULL, database_try(db, "UPDATE mark SET n = 2"));
    ck_assert_int_eq(database_number(db, "SELECT n FROM mark"), 1);
    ck_assert(faultos_was_hit());
    faultos_clear();
    pid_t other = fork();
    if (other == 0) {
        sqlite3 *its = database_open();
        database_run(its, "UPDATE mark SET n = 3; CREATE TABLE more(x)");
        database_close(its);
        _exit(0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(other, &status, 0), other);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(database_number(db, "SELECT n FROM mark"), 3);
    database_run(db, "UPDATE mark SET n = 4; INSERT INTO more VALUES(1)");
    sqlite3 *second = database_open();
    ck_assert_int_eq(database_number(second, "SELECT n FROM mark"), 4);
    database_run(second, "UPDATE mark SET n = 5");
    ck_assert_int_eq(database_number(db, "SELECT n FROM mark"), 5);
    database_check(db);
    database_close(second);
    database_close(db);
}

TEST(short_writes) { fail_each(FAULTOS_SHORT_WRITE, ENOSPC, false, NORMAL); }
TEST(syncs) { fail_each(FAULTOS_SYNC, EIO, false, NORMAL); }
TEST(syncs_in_exclusive_mode) { fail_each(FAULTOS_SYNC, EIO, false, EXCLUSIVE); }
TEST(no_sync_any_more) { fail_each(FAULTOS_SYNC, EIO, true, NORMAL); }
TEST(reads) { fail_each(FAULTOS_READ, EIO, false, PREAD); }
TEST(reads_in_exclusive_mode) { fail_each(FAULTOS_READ, EIO, false, PREAD ";" EXCLUSIVE); }
TEST(memory_while_pages_change_their_size) { fail_each(FAULTOS_MEMORY, ENOMEM, false, RESIZE); }
TEST(writes_while_pages_change_their_size) { fail_each(FAULTOS_WRITE, EIO, false, RESIZE); }
TEST(a_full_disk_while_pages_change_their_size) { fail_each(FAULTOS_WRITE, ENOSPC, true, RESIZE); }
TEST(syncs_while_pages_change_their_size) { fail_each(FAULTOS_SYNC, EIO, false, RESIZE); }
TEST(names_while_pages_change_their_size) { fail_each(FAULTOS_NAME, EIO, false, RESIZE); }
TEST(mappings) { fail_each(FAULTOS_MAP, ENOMEM, false, NORMAL); }
TEST(opens) { fail_each(FAULTOS_OPEN, EMFILE, false, NORMAL); }
TEST(locks) { fail_each(FAULTOS_LOCK, ENOLCK, false, NORMAL); }
TEST(truncations)
{
    fail_each(FAULTOS_TRUNCATE, EIO, false, NORMAL);
}
TEST(names) { fail_each(FAULTOS_NAME, EIO, false, NORMAL); }
TEST(stats) { fail_each(FAULTOS_STAT, EIO, false, NORMAL); }

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(memory),
        CASE(memory_in_exclusive_mode),
        CASE(no_memory_any_more),
        CASE(writes),
        CASE(writes_in_exclusive_mode),
        CASE(a_full_disk),
        CASE(room_comes_back), CASE(short_writes),
        CASE(syncs),
        CASE(syncs_in_exclusive_mode),
        CASE(no_sync_any_more),
        CASE(reads),
        CASE(reads_in_exclusive_mode),
        CASE(memory_while_pages_change_their_size),
        CASE(writes_while_pages_change_their_size),
        CASE(a_full_disk_while_pages_change_their_size),
        CASE(syncs_while_pages_change_their_size),
        CASE(names_while_pages_change_their_size),
        CASE(mappings),
        CASE(opens),
        CASE(locks),
        CASE(truncations),
        CASE(names),
        CASE(stats),
    };
    return harness_run("faults", cases, COUNT_OF(cases));
}
