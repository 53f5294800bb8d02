/* test_random.c - random histories on a plain file and on a branch: the same rows, the same errors, the same bytes.
 *
 * $BOUGH_SEED runs one seed instead of the usual ones, $BOUGH_STEPS sets the length of a history, $BOUGH_TRACE prints
 * the statements.
 */
#include "harness.h"
#include "random_sql.h"
#include "twin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEPS 160

struct history {
    struct twin twin;
    struct random_sql sql;
    bool is_exclusive;
};

static bool one_in(struct history *history, uint64_t n)
{
    return harness_below(&history->sql.random, n) == 0;
}

/* What happens between statements: to the connection, to the store. */
static void disturb(struct history *history)
{
    char question[RANDOM_SQL_SIZE];
    struct twin *twin = &history->twin;
    switch (harness_below(&history->sql.random, 9)) {
    case 0:
        twin_fork(twin, one_in(history, 2));
        history->is_exclusive = false;
        break;
    case 1:
        twin_commit(twin);
        break;
    case 2:
        twin_compare(twin);
        break;
    case 3:
        twin_reopen(twin);
        history->is_exclusive = false;
        break;
    case 4:
        random_sql_question(question, &history->sql);
        if (!history->is_exclusive)
            twin_observe(twin, question);
        break;
    case 5: {
        static const char *const levels[] = {"PRAGMA synchronous=OFF", "PRAGMA synchronous=NORMAL",
                                             "PRAGMA synchronous=FULL"};
        sqlite3_exec(twin->branch, levels[harness_below(&history->sql.random, 3)], NULL, NULL, NULL);
        break;
    }
    case 6: {
        static const char *const modes[] = {"PRAGMA journal_mode=DELETE", "PRAGMA journal_mode=TRUNCATE",
                                            "PRAGMA journal_mode=PERSIST", "PRAGMA journal_mode=MEMORY"};
        twin_exec_quietly(twin, modes[harness_below(&history->sql.random, 4)]);
        break;
    }
    case 7:
        history->is_exclusive = !history->is_exclusive;
        twin_exec(twin, history->is_exclusive ? "PRAGMA locking_mode=EXCLUSIVE" : "PRAGMA locking_mode=NORMAL");
        twin_exec(twin, "SELECT count(*) FROM t0"); /* the lock is given up by the next transaction */
        break;
    default:
        twin_exec_quietly(twin, one_in(history, 2) ? "PRAGMA mmap_size=0" : "PRAGMA mmap_size=1000000000");
        break;
    }
}

static void write_blob(struct history *history)
{
    char bytes[100];
    struct harness_random *random = &history->sql.random;
    harness_fill(random, bytes, sizeof(bytes));
    twin_write_blob(&history->twin, one_in(history, 2) ? "t0" : "t1", (int64_t)harness_below(random, 3000),
                    (int)harness_below(random, 60), bytes, (int)harness_below(random, sizeof(bytes)));
}

static void end_transaction(struct history *history)
{
    if (twin_in_transaction(&history->twin))
        twin_exec(&history->twin, one_in(history, 4) ? "ROLLBACK" : "COMMIT");
}

static void run(struct history *history, unsigned steps)
{
    char sql[RANDOM_SQL_SIZE];
    struct twin *twin = &history->twin;
    for (unsigned i = 0; i < steps; i++) {
        if (one_in(history, 25))
            twin_interrupt_after(twin, (int)harness_below(&history->sql.random, 3000) + 1);
        random_sql_next(sql, &history->sql);
        twin_exec(twin, sql);
        twin_interrupt_after(twin, 0);
        if (one_in(history, 20))
            write_blob(history);
        if (!twin_in_transaction(twin) && one_in(history, 5))
            disturb(history);
    }
    end_transaction(history);
    random_sql_question(sql, &history->sql);
    twin_exec(twin, sql);
    twin_compare(twin);
    twin_reopen(twin);
    twin_exec(twin, sql);
    twin_compare(twin);
    twin_compare_past(twin);
}

/* One history. Half of the seeds start from a file with rows in it, the other half from nothing. */
static void tell(unsigned page_size, unsigned auto_vacuum, uint64_t seed, unsigned steps)
{
    static struct history history;
    char label[160], pragmas[160];
    snprintf(label, sizeof(label), "page_size %u, auto_vacuum %u, BOUGH_SEED=%llu BOUGH_STEPS=%u", page_size,
             auto_vacuum, (unsigned long long)seed, steps);
    snprintf(pragmas, sizeof(pragmas), "PRAGMA page_size=%u; PRAGMA auto_vacuum=%u", page_size, auto_vacuum);
    memset(&history, 0, sizeof(history));
    history.sql = (struct random_sql){{seed * 1000003 + page_size * 4 + auto_vacuum}, page_size};
    if (seed % 2 == 0) {
        twin_start(&history.twin, NULL, label);
        twin_exec(&history.twin, pragmas);
        twin_exec(&history.twin, random_sql_schema());
    } else {
        char *file = strdup(harness_path("first.db"));
        sqlite3 *db = NULL;
        unlink(file);
        ck_assert_int_eq(sqlite3_open(file, &db), SQLITE_OK);
        ck_assert_int_eq(sqlite3_exec(db, pragmas, NULL, NULL, NULL), SQLITE_OK);
        ck_assert_int_eq(sqlite3_exec(db, random_sql_schema(), NULL, NULL, NULL), SQLITE_OK);
        ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
        twin_start(&history.twin, file, label);
        free(file);
    }
    twin_compare(&history.twin);
    run(&history, steps);
    ck_assert_msg(history.twin.rows > 20, "%s: a history of %llu rows tests nothing", label,
                  (unsigned long long)history.twin.rows);
    twin_stop(&history.twin);
}

static void tell_all(unsigned page_size)
{
    uint64_t first = harness_number("BOUGH_SEED", 1), last = getenv("BOUGH_SEED") != NULL ? first : 2;
    unsigned steps = (unsigned)harness_number("BOUGH_STEPS", STEPS);
    for (uint64_t seed = first; seed <= last; seed++)
        for (unsigned auto_vacuum = 0; auto_vacuum < 3; auto_vacuum++)
            tell(page_size, auto_vacuum, seed, steps);
}

TEST(pages_of_512)
{
    tell_all(512);
}
TEST(pages_of_1024)
{
    tell_all(1024);
}
TEST(pages_of_2048)
{
    tell_all(2048);
}
TEST(pages_of_4096)
{
    tell_all(4096);
}
TEST(pages_of_8192)
{
    tell_all(8192);
}
TEST(pages_of_16384)
{
    tell_all(16384);
}
TEST(pages_of_32768)
{
    tell_all(32768);
}
TEST(pages_of_65536)
{
    tell_all(65536);
}

/* VACUUM into every page size from every other: the pages of a branch change their size under it. */
TEST(page_size_changes)
{
    struct twin twin;
    char sql[128];
    struct harness_random random = {harness_number("BOUGH_SEED", 5)};
    twin_start(&twin, NULL, "page size changes");
    twin_exec(&twin, random_sql_schema());
    for (unsigned i = 0; i < 24; i++) {
        snprintf(sql, sizeof(sql), "INSERT INTO t0(a, b, c) VALUES(%u, words(%u, 9), noise(%u, 30000))", i, i, i);
        twin_exec(&twin, sql);
        snprintf(sql, sizeof(sql), "PRAGMA page_size=%u; VACUUM; PRAGMA page_size", 512U << harness_below(&random, 8));
        twin_exec(&twin, sql);
        if (i % 3 == 0)
            twin_fork(&twin, i % 2 == 0);
        twin_compare(&twin);
        twin_exec(&twin, "SELECT id, a, b, c FROM t0; PRAGMA integrity_check");
    }
    twin_stop(&twin);
}

/* A transaction many times the cache, rolled back, then partly rolled back to a savepoint, then kept. */
TEST(spills)
{
    struct twin twin;
    twin_start(&twin, NULL, "spills");
    twin_exec(&twin, "PRAGMA page_size=1024; PRAGMA cache_size=8");
    twin_exec(&twin, random_sql_schema());
    for (unsigned i = 0; i < 6; i++) {
        char sql[320];
        twin_exec(&twin, i % 2 == 0 ? "BEGIN" : "SAVEPOINT outer");
        snprintf(sql, sizeof(sql),
                 "INSERT INTO t1(a, b, c) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                 "WHERE i < 900) SELECT i, words(i + %u, 5), noise(i, 400) FROM n",
                 i);
        twin_exec(&twin, sql);
        twin_exec(&twin, "SAVEPOINT inner; UPDATE t1 SET c = noise(id, 700), b = b || 'x' WHERE id % 3 = 0; DELETE "
                         "FROM t1 WHERE id % 5 = 1");
        twin_exec(&twin, i % 3 == 0 ? "ROLLBACK TO inner" : "RELEASE inner");
        twin_exec(&twin, "SELECT count(*), sum(length(c)), sum(length(b)) FROM t1");
        twin_exec(&twin, i == 2 || i == 4 ? "ROLLBACK" : i % 2 == 0 ? "COMMIT" : "RELEASE outer");
        twin_exec(&twin, "SELECT count(*), sum(length(c)), sum(length(b)) FROM t1; PRAGMA integrity_check");
        twin_compare(&twin);
    }
    twin_exec(&twin, "DELETE FROM t1 WHERE id > 100; VACUUM");
    twin_compare(&twin);
    twin_stop(&twin);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(pages_of_512),   CASE(pages_of_1024),  CASE(pages_of_2048),  CASE(pages_of_4096),     CASE(pages_of_8192),
        CASE(pages_of_16384), CASE(pages_of_32768), CASE(pages_of_65536), CASE(page_size_changes), CASE(spills)};
    return harness_run("oracle_random", cases, COUNT_OF(cases));
}
