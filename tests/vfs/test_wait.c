/* test_wait.c - connections that wait for a branch's writer with SQLite's busy timeout: the time that it sleeps goes by
 * in front of the lock.
 */
#include "database.h"

#include "vfs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

static _Atomic int sleeps, last_sleep_us;

static int counting_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    atomic_fetch_add(&sleeps, 1);
    last_sleep_us = microseconds;
    return microseconds;
}

static sqlite3_vfs *branches(void) { return sqlite3_vfs_find("bough"); }

static void count_sleeps(void)
{
    sqlite3_vfs_find("unix")->xSleep = counting_sleep;
    sleeps = 0;
}

static struct bough__file *file_of(sqlite3 *db) { return bough__file_of(database_file(db)); }

static const char add_one[] = "UPDATE t SET b = b + 1 WHERE a = 1";
enum { THREADS = 3, TURNS = 150 };

static void *add_many(void *path)
{
    sqlite3 *db = database_open_uri(path);
    sqlite3_busy_timeout(db, 600000);
    database_run(db, "PRAGMA synchronous = OFF");
    for (int i = 0; i < TURNS; i++)
        CODE(SQLITE_OK, database_try(db, i % 2 ? "BEGIN IMMEDIATE; %s; COMMIT" : "%s", add_one));
    database_close(db);
    return NULL;
}

/* A system sleep is what makes up for one that was cut short, and nothing else. */
TEST(threads_take_turns)
{
    pthread_t threads[THREADS];
    database_store("s");
    sqlite3 *db = database_open();
    database_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b INTEGER); INSERT INTO t VALUES(1, 0)");
    char path[4096];
    snprintf(path, sizeof path, "%s", database_uri("s", "main", ""));
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, add_many, path), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(database_number(db, "SELECT b FROM t"), THREADS * TURNS);
    database_close(db);
}

static void make_two(sqlite3 **out_owner, sqlite3 **out_waiter)
{
    database_store("s");
    *out_owner = database_open();
    database_run(*out_owner, "CREATE TABLE t(a INTEGER PRIMARY KEY, b INTEGER); INSERT INTO t VALUES(1, 0)");
    *out_waiter = database_open();
    count_sleeps();
}

TEST(a_timeout_ends)
{
    sqlite3 *owner = NULL, *waiter = NULL;
    make_two(&owner, &waiter);
    database_run(owner, "BEGIN IMMEDIATE");
    sqlite3_busy_timeout(waiter, 60);
    CODE(SQLITE_BUSY, database_try(waiter, "BEGIN IMMEDIATE"));
    CODE(SQLITE_BUSY, database_try(waiter, "%s", add_one));
    ck_assert_int_eq(sleeps, 0); /* every one of them went by in front of the lock, to its end */
    database_run(owner, "COMMIT");
    database_run(waiter, "%s", add_one);
    database_close(waiter);
    database_close(owner);
}

/* The sequence that SQLite goes through, with the lock given up in the middle of a sleep and taken by another. */
TEST(what_was_not_slept_is_made_up_for)
{
    sqlite3 *owner = NULL, *waiter = NULL;
    make_two(&owner, &waiter);
    database_run(owner, "BEGIN IMMEDIATE");
    CODE(SQLITE_BUSY, database_try(waiter, "BEGIN IMMEDIATE"));
    ck_assert_int_eq(branches()->xSleep(branches(), 100000), 100000);
    ck_assert_int_eq(sleeps, 0);
    database_run(owner, "COMMIT");
    sqlite3_file *file = database_file(waiter);
    CODE(SQLITE_OK, file->pMethods->xLock(file, SQLITE_LOCK_SHARED)); /* does not wait: the lock is free */
    CODE(SQLITE_OK, file->pMethods->xUnlock(file, SQLITE_LOCK_NONE));
    ck_assert_uint_gt(file_of(waiter)->unslept_us, 0);
    ck_assert_uint_le(file_of(waiter)->unslept_us, 100000);
    int unslept_us = (int)file_of(waiter)->unslept_us;
    database_run(owner, "BEGIN IMMEDIATE");
    CODE(SQLITE_BUSY, database_try(waiter, "BEGIN IMMEDIATE"));
    ck_assert_int_eq(file_of(waiter)->unslept_us, 0); /* nobody slept before this one: it begins anew */
    /* Refused within a sequence: */
    file_of(waiter)->unslept_us = (uint32_t)unslept_us;
    branches()->xSleep(branches(), 1000);
    CODE(SQLITE_BUSY, database_try(waiter, "BEGIN IMMEDIATE"));
    ck_assert_int_eq(sleeps, 1);
    ck_assert_int_eq(last_sleep_us, unslept_us);
    ck_assert_int_eq(file_of(waiter)->unslept_us, 0); /* and this time it slept to the end */
    database_run(owner, "COMMIT");
    database_close(waiter);
    database_close(owner);
}

TEST(other_sleeps_are_slept)
{
    sqlite3 *owner = NULL, *waiter = NULL;
    make_two(&owner, &waiter);
    branches()->xSleep(branches(), 1000); /* nothing was refused */
    ck_assert_int_eq(sleeps, 1);
    database_run(owner, "BEGIN IMMEDIATE");
    CODE(SQLITE_BUSY, database_try(waiter, "BEGIN IMMEDIATE"));
    branches()->xSleep(branches(), 1000000); /* no busy handler of SQLite's sleeps so long */
    ck_assert_int_eq(sleeps, 2);
    branches()->xSleep(branches(), 50000);
    ck_assert_int_eq(sleeps, 2);
    branches()->xSleep(branches(), 50000); /* what was refused did not ask again */
    ck_assert_int_eq(sleeps, 3);
    database_close(waiter); /* what is put off is for a file that is closed */
    waiter = database_open();
    database_run(waiter, "SELECT * FROM t");
    database_run(owner, "COMMIT");
    database_close(waiter);
    database_close(owner);
}

/* A connection that keeps its SHARED lock (a read transaction, or locking_mode=EXCLUSIVE) asks for the next one
 * alone. */
TEST(with_a_snapshot_in_hand)
{
    sqlite3 *owner = NULL, *waiter = NULL;
    make_two(&owner, &waiter);
    database_run(waiter, "BEGIN; SELECT * FROM t");
    sqlite3_file *file = database_file(waiter);
    for (int turn = 0; turn < 2; turn++) {
        database_run(owner, "BEGIN IMMEDIATE");
        CODE(SQLITE_BUSY, file->pMethods->xLock(file, SQLITE_LOCK_RESERVED));
        branches()->xSleep(branches(), 100000);
        database_run(owner, "ROLLBACK");
        CODE(SQLITE_OK, file->pMethods->xLock(file, SQLITE_LOCK_RESERVED)); /* in front of a lock that is free */
        ck_assert_uint_gt(file_of(waiter)->unslept_us, 0);
        CODE(SQLITE_OK, file->pMethods->xUnlock(file, SQLITE_LOCK_SHARED));
        file_of(waiter)->unslept_us = 0;
    }
    ck_assert_int_eq(sleeps, 0);
    branches()->xSleep(branches(), 1000); /* it was granted: there is nothing to wait for */
    ck_assert_int_eq(sleeps, 1);
    database_run(waiter, "COMMIT; PRAGMA locking_mode = EXCLUSIVE; SELECT * FROM t");
    database_run(owner, "BEGIN IMMEDIATE");
    CODE(SQLITE_BUSY, database_try(waiter, "BEGIN IMMEDIATE"));
    branches()->xSleep(branches(), 100000);
    database_run(owner, "ROLLBACK");
    database_run(waiter, "BEGIN IMMEDIATE");
    ck_assert_uint_gt(file_of(waiter)->unslept_us, 0);
    database_close(waiter);
    database_close(owner);
}

/* A program's loop over several connections, or over one that it opens anew each time, sleeps as often as it asks
 * to. */
TEST(what_was_put_off_for_another_file_is_slept)
{
    sqlite3 *owner = NULL, *waiter = NULL;
    make_two(&owner, &waiter);
    sqlite3 *other = database_open();
    database_run(owner, "BEGIN IMMEDIATE");
    CODE(SQLITE_BUSY, database_try(waiter, "BEGIN IMMEDIATE"));
    branches()->xSleep(branches(), 50000);
    ck_assert_int_eq(sleeps, 0);
    database_run(other, "SELECT * FROM t");
    ck_assert_int_eq(sleeps, 1);
    ck_assert_int_eq(last_sleep_us, 50000);
    CODE(SQLITE_BUSY, database_try(waiter, "BEGIN IMMEDIATE"));
    branches()->xSleep(branches(), 20000);
    database_close(waiter);
    database_run(other, "SELECT * FROM t");
    ck_assert_int_eq(sleeps, 2);
    ck_assert_int_eq(last_sleep_us, 20000);
    database_run(owner, "COMMIT");
    database_close(other);
    database_close(owner);
}

int main(void)
{
    const struct harness_case cases[] = {
        CASE(threads_take_turns),
        CASE(a_timeout_ends),
        CASE(what_was_not_slept_is_made_up_for),
        CASE(other_sleeps_are_slept),
        CASE(with_a_snapshot_in_hand),
        CASE(what_was_put_off_for_another_file_is_slept),
    };
    return harness_run("wait", cases, COUNT_OF(cases));
}
