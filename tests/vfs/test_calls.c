/* test_calls.c - how many system calls a transaction makes. A read transaction on pages that SQLite has cached makes
 * none: it runs here in a process that the kernel kills at its first one.
 */
#include "database.h"

#include "os.h"

#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#else
#define HAS_SANITIZER 0
#endif

static bool step_through(sqlite3_stmt *statement)
{
    bool is_row = sqlite3_step(statement) == SQLITE_ROW;
    while (is_row && sqlite3_step(statement) == SQLITE_ROW)
        continue;
    return sqlite3_reset(statement) == SQLITE_OK && is_row;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    return statement;
}

/* Runs the statement a thousand times, each in a transaction of its own, with no system call allowed but exit. */
static int run_confined(const char *uri, const char *change, const char *sql)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        sqlite3 *db = database_open_uri(uri);
        sqlite3_stmt *statement = prepare(db, sql);
        step_through(statement);
        database_run(db, "%s", change); /* its own commit must not cost it the next read */
        for (int i = 0; i < 10; i++)
            if (!step_through(statement))
                _exit(78);
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
            _exit(77);
        for (int i = 0; i < 1000; i++)
            if (!step_through(statement))
                syscall(SYS_exit, 79);
        syscall(SYS_exit, 0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

TEST(a_cached_read_transaction_makes_no_call)
{
    if (HAS_SANITIZER)
        return;
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 2000, 100);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b > ''"), 2000);
    const char *change = "UPDATE t SET b = 'own' WHERE a = 5";
    int result = run_confined(database_uri("s", "main", ""), change, "SELECT b FROM t WHERE a = 1234");
    if (result == 77)
        return; /* a kernel without seccomp */
    ck_assert_int_eq(result, 0);
    /* One on an ordinary file is killed, so that the above says something. */
    database_run(db, "ATTACH '%s' AS o; CREATE TABLE o.x(y); INSERT INTO o.x VALUES(1)", harness_path("plain.db"));
    ck_assert_int_lt(run_confined(harness_path("plain.db"), "UPDATE x SET y = 2", "SELECT y FROM x"), 0);
    database_close(db);
}

/* ---- writes, counted in the table of system calls ---- */

static unsigned writes, syncs, locks, others;

static ssize_t count_pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    writes++;
    return pwrite(fd, bytes, len, offset);
}

static int count_fdatasync(int fd)
{
    syncs++;
    return fdatasync(fd);
}

static int (*real_lock)(int, int, struct flock *);
static int count_lock(int fd, int command, struct flock *lock)
{
    locks++;
    return real_lock(fd, command, lock);
}

static int count_ftruncate(int fd, off_t size)
{
    others++;
    return ftruncate(fd, size);
}

static int count_fsync(int fd)
{
    others++;
    return fsync(fd);
}

static ssize_t count_pread(int fd, void *bytes, size_t len, off_t offset)
{
    others++;
    return pread(fd, bytes, len, offset);
}

TEST(a_small_write_transaction_makes_few_calls)
{
    enum { COUNT = 200 };
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 2000, 100);
    database_number(db, "SELECT sum(length(b)) FROM t");
    sqlite3_stmt *update = prepare(db, "UPDATE t SET b = 'own' || b WHERE a = ?");
    sqlite3_bind_int(update, 1, 1);
    step_through(update);
    real_lock = bough__os.lock;
    bough__os.pwrite = count_pwrite;
    bough__os.fdatasync = count_fdatasync;
    bough__os.lock = count_lock;
    bough__os.fsync = count_fsync;
    bough__os.ftruncate = count_ftruncate;
    bough__os.pread = count_pread;
    for (int i = 0; i < COUNT; i++) {
        sqlite3_bind_int(update, 1, i * 7 % 2000);
        step_through(update);
    }
    printf("calls: %d transactions made %u writes, %u syncs, %u lock calls, %u others\n", COUNT, writes, syncs, locks,
           others);
    /* Pages, record, now and then a chunk of zeros or a checkpoint; the writer's lock is a word. */
    ck_assert_uint_le(writes, COUNT * 5 / 2);
    ck_assert_uint_le(syncs, COUNT * 11 / 10);
    ck_assert_uint_ge(syncs, COUNT - 1);
    ck_assert_uint_le(locks, COUNT / 16); /* looks at readers without permission to write */
    ck_assert_uint_le(others, COUNT / 2);
    sqlite3_finalize(update);
    database_close(db);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(a_cached_read_transaction_makes_no_call),
        CASE(a_small_write_transaction_makes_few_calls),
    };
    return harness_run("calls", cases, COUNT_OF(cases));
}
