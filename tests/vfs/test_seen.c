/* test_seen.c - others commit while a connection has pages in its cache: what it goes on using, and what it must not.
 *
 * That the cache is used is counted (cache misses). That it is right is compared: with a fresh connection, or with a
 * plain file under stock SQLite that several connections tell the same history.
 */
#include "database.h"
#include "peer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int misses(sqlite3 *db)
{
    int now = 0, high = 0;
    sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_MISS, &now, &high, 0);
    return now;
}

/* The same query on the open connection and on a fresh one. */
static void same(sqlite3 *db, const char *query)
{
    sqlite3 *fresh = database_open();
    char *expected = database_rows(fresh, "%s", query), *got = database_rows(db, "%s", query);
    ck_assert_msg(strcmp(expected, got) == 0, "%s: %.200s, a fresh connection: %.200s", query, got, expected);
    free(expected);
    free(got);
    database_close(fresh);
}

/* A store whose main has t and u with 2000 rows each. */
static void begin(void)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 2000, 100);
    database_run(db, "CREATE TABLE u AS SELECT a, b FROM t; CREATE UNIQUE INDEX u_a ON u(a)");
    database_close(db);
}

static const char point[] = "SELECT b FROM t WHERE a = 700";

/* A connection that has read one row of t. */
static sqlite3 *open_reader(void)
{
    sqlite3 *db = database_open();
    database_text(db, "%s", point);
    return db;
}

static uint32_t number_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The change counter as the store has it, which stands in two places. */
static uint32_t stored_counter(void)
{
    int64_t size = 0;
    sqlite3 *fresh = database_open();
    uint8_t *bytes = database_bytes(fresh, &size);
    uint32_t counter = number_at(bytes + 24);
    ck_assert_uint_eq(number_at(bytes + 92), counter);
    free(bytes);
    database_close(fresh);
    return counter;
}

/* ---- the cache goes on ---- */

TEST(other_pages_leave_the_cache_alone)
{
    begin();
    sqlite3 *db = open_reader(), *other = database_open();
    int before = misses(db);
    for (int i = 0; i < 20; i++) {
        database_run(other, "UPDATE u SET b = 'other %d' WHERE a = %d", i, i * 90 + 1);
        same(db, point);
    }
    ck_assert_int_eq(misses(db), before);
    database_run(other, "UPDATE t SET b = 'seen' WHERE a = 700");
    ck_assert_str_eq(database_text(db, "%s", point), "seen");
    ck_assert_int_gt(misses(db), before);
    before = misses(db);
    database_run(other, "UPDATE u SET b = 'after that' WHERE a = 5");
    same(db, point);
    ck_assert_int_eq(misses(db), before);
    database_close(other);
    database_close(db);
}

TEST(pages_of_another_process)
{
    begin();
    struct peer peer;
    peer_start(&peer, database_uri("s", "main", ""));
    sqlite3 *db = open_reader();
    int before = misses(db);
    for (int i = 0; i < 20; i++) {
        peer_must(&peer, "UPDATE u SET b = b || 'o' WHERE a % 300 = 1");
        same(db, point);
    }
    ck_assert_int_eq(misses(db), before);
    peer_must(&peer, "UPDATE t SET b = 'seen' WHERE a = 700");
    ck_assert_str_eq(database_text(db, "%s", point), "seen");
    peer_stop(&peer);
    database_close(db);
}

/* ---- the cache has to go ---- */

TEST(every_kind_of_page)
{
    static const char *const changes[] = {
        "UPDATE t SET b = 'row' WHERE a = 700",
        "INSERT INTO big VALUES(2, 'x', zeroblob(9)); UPDATE big SET c = zeroblob(30000) WHERE id = 1",
        "UPDATE big SET c = CAST(printf('%.*c', 30000, 'y') AS BLOB) WHERE id = 1",
        "UPDATE big SET k = 'another key' WHERE id = 1",
        "DELETE FROM t WHERE a BETWEEN 650 AND 750",
        ("WITH RECURSIVE n(i) AS (SELECT 3000 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) "
         "INSERT INTO t SELECT i, hex(zeroblob(40)) FROM n"),
        "DELETE FROM t WHERE a > 100",
        "DROP INDEX u_a",
    };
    begin();
    sqlite3 *other = database_open();
    database_run(other, "CREATE TABLE big(id INTEGER PRIMARY KEY, k TEXT, c BLOB); CREATE INDEX big_k ON big(k);"
                        "INSERT INTO big VALUES(1, 'key', randomblob(30000))");
    sqlite3 *db = database_open();
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        for (int when = 0; when < 2; when++) {
            same(db, "SELECT count(*), sum(length(b)), max(a) FROM t");
            same(db, "SELECT id, hex(substr(c, 20000, 10)), length(c) FROM big ORDER BY id");
            same(db, "SELECT id FROM big WHERE k = 'key'");
            same(db, "SELECT a, b FROM t WHERE a = 700");
            same(db, "SELECT a, b FROM u WHERE a = 700");
            if (when == 0)
                database_run(other, "%s", changes[i]);
        }
    }
    database_check(db);
    database_close(other);
    database_close(db);
}

/* Pages that are nowhere but in the first page: it is compared. */
TEST(the_first_page)
{
    static const char *const changes[] = {
        "PRAGMA user_version = 77",
        "PRAGMA application_id = 78",
        "PRAGMA schema_version = 900",
        "CREATE TABLE more(x)",
        "INSERT INTO more SELECT b FROM t", /* longer */
        "DELETE FROM more WHERE rowid % 3", /* free pages */
        "INSERT INTO u SELECT a + 5000, b FROM t WHERE a < 300", /* out of the free list */
        "DROP TABLE more",
        "PRAGMA incremental_vacuum(3)", /* shorter */
        "PRAGMA incremental_vacuum",
        "PRAGMA default_cache_size = 333",
        ("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE t(a INTEGER PRIMARY KEY,  b)' "
         "WHERE name = 't'; PRAGMA schema_version = 901; PRAGMA writable_schema = OFF"),
        "VACUUM",
    };
    static const char *const questions[] = {
        "PRAGMA user_version", "PRAGMA application_id", "PRAGMA schema_version", "PRAGMA page_count",
        "PRAGMA freelist_count", "PRAGMA auto_vacuum", "PRAGMA default_cache_size",
        "SELECT name, sql FROM sqlite_schema",
    };
    database_store("s");
    sqlite3 *other = database_open();
    database_run(other, "PRAGMA auto_vacuum = INCREMENTAL");
    database_fill(other, 2000, 100);
    database_run(other, "CREATE TABLE u AS SELECT a, b FROM t");
    sqlite3 *db = open_reader();
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        database_text(db, "%s", point);
        database_run(other, "%s", changes[i]);
        for (size_t q = 0; q < COUNT_OF(questions); q++)
            same(db, questions[q]);
        same(db, point);
    }
    database_check(db);
    database_close(other);
    database_close(db);
}

/* What a writer has in its cache it need not have read. Here, new pages; and pages of the free list, in the place of as
 * many others, so that not even the first page tells of them. */
TEST(what_was_written_counts_as_seen)
{
    begin();
    sqlite3 *other = database_open();
    database_run(other, "CREATE TABLE big(id INTEGER PRIMARY KEY, c);"
                        "INSERT INTO big VALUES(1, zeroblob(10000)), (2, zeroblob(30000));"
                        "DELETE FROM big WHERE id = 2");
    sqlite3 *db = open_reader();
    int64_t free_pages = database_number(other, "PRAGMA freelist_count");
    database_run(db, "UPDATE big SET c = CAST(printf('%%.*c', 10001, 'm') AS BLOB) WHERE id = 1");
    ck_assert_int_eq(database_number(other, "PRAGMA freelist_count"), free_pages);
    sqlite3_blob *blob = NULL;
    CODE(SQLITE_OK, sqlite3_blob_open(other, "main", "big", "c", 1, 1, &blob));
    CODE(SQLITE_OK, sqlite3_blob_write(blob, "seen", 4, 9000));
    CODE(SQLITE_OK, sqlite3_blob_close(blob));
    ck_assert_str_eq(database_text(db, "SELECT CAST(substr(c, 9000, 6) AS TEXT) FROM big"), "mseenm");
    database_run(db, "CREATE TABLE mine AS SELECT a, b FROM t");
    database_run(other, "UPDATE mine SET b = b || 'and more' WHERE a > 1990");
    same(db, "SELECT a, b FROM mine");
    database_run(db, "BEGIN; DELETE FROM mine; ROLLBACK");
    database_run(other, "UPDATE mine SET b = 'less'");
    same(db, "SELECT a, b FROM mine");
    database_check(db);
    database_close(other);
    database_close(db);
}

/* A transaction too large for the log begins a new generation, which does not say what it wrote. */
TEST(a_new_generation)
{
    begin();
    sqlite3 *db = database_open(), *other = database_open();
    database_run(other, "CREATE TABLE wide(id INTEGER PRIMARY KEY, c); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
                        "SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO wide SELECT i, hex(zeroblob(1800)) FROM n");
    for (int i = 0; i < 3; i++) {
        database_text(db, "%s", point);
        database_run(other,
                     "BEGIN; UPDATE t SET b = 'round %d' WHERE a = 700;"
                     "UPDATE wide SET c = replace(c, '%d', '%d'); COMMIT",
                     i, i, i + 1);
        same(db, point);
    }
    database_run(other, "PRAGMA synchronous = OFF");
    for (int i = 0; i < 3000; i++) {
        if (i % 97 == 0)
            database_run(other, "UPDATE t SET b = 'turn %d' WHERE a = 700", i);
        else
            database_run(other, "UPDATE u SET b = 'turn %d' WHERE a = %d", i, i % 2000 + 1);
        if (i % 37 == 0)
            same(db, point);
    }
    database_close(other);
    database_close(db);
}

/* ---- the change counter ---- */

TEST(the_change_counter_goes_on)
{
    begin();
    sqlite3 *db = open_reader(), *other = database_open();
    for (int round = 0; round < 4; round++) {
        int before = misses(db);
        for (int i = 0; i < 5; i++) {
            database_run(other, "UPDATE u SET b = 'round %d' WHERE a = %d", round, i * 300 + 1);
            same(db, point);
        }
        ck_assert_int_eq(misses(db), before);
        uint32_t counter = stored_counter();
        if (round % 2) /* the first page is read again while the cache goes on */
            database_run(db, "PRAGMA shrink_memory");
        database_text(db, "%s", point);
        if (round < 2)
            database_run(db, "UPDATE t SET b = 'mine %d' WHERE a = 10", round);
        else
            database_run(db, "BEGIN; SAVEPOINT s; UPDATE t SET b = 'no'; CREATE TABLE no(x); ROLLBACK TO s;"
                             "UPDATE t SET b = 'mine %d' WHERE a = 10; COMMIT", round);
        ck_assert_uint_eq(stored_counter(), counter + 1);
        database_run(db, "BEGIN; UPDATE t SET b = 'no'; ROLLBACK");
        ck_assert_uint_eq(stored_counter(), counter + 1);
        database_run(db, "UPDATE t SET b = 'twice %d' WHERE a = 10", round);
        ck_assert_uint_eq(stored_counter(), counter + 2);
        database_run(other, "UPDATE t SET b = b || '!' WHERE a < 50");
        ck_assert_uint_eq(stored_counter(), counter + 3);
        same(db, "SELECT * FROM t");
        database_check(other);
    }
    database_close(other);
    database_close(db);
}

/* ---- who wants to know that others committed ---- */

static uint32_t file_version(sqlite3 *db)
{
    uint32_t version = 0;
    CODE(SQLITE_OK, sqlite3_file_control(db, "main", SQLITE_FCNTL_DATA_VERSION, &version));
    return version;
}

TEST(data_version_counts_all_commits)
{
    begin();
    sqlite3 *db = open_reader(), *other = database_open();
    sqlite3_stmt *version = NULL;
    database_run(other, "UPDATE u SET b = 'before' WHERE a = 1");
    database_text(db, "%s", point);
    CODE(SQLITE_OK, sqlite3_prepare_v2(db, "PRAGMA data_version", -1, &version, NULL));
    int64_t last = -1;
    for (int i = 0; i < 5; i++) {
        CODE(SQLITE_ROW, sqlite3_step(version));
        ck_assert_int_ne(sqlite3_column_int64(version, 0), last);
        last = sqlite3_column_int64(version, 0);
        CODE(SQLITE_DONE, sqlite3_step(version));
        database_text(db, "%s", point);
        database_run(other, "UPDATE u SET b = 'turn %d' WHERE a = 1", i);
    }
    sqlite3_finalize(version);
    database_close(db);
    db = open_reader();
    last = database_number(db, "SELECT data_version FROM pragma_data_version");
    database_run(other, "UPDATE u SET b = 'at last' WHERE a = 1");
    ck_assert_int_ne(database_number(db, "SELECT data_version FROM pragma_data_version"), last);
    database_close(other);
    database_close(db);
}

/* Who does nothing but watch has read the first page alone. */
TEST(who_only_watches_sees_every_commit)
{
    begin();
    sqlite3 *db = database_open(), *other = database_open();
    for (int i = 0; i < 5; i++) {
        database_number(db, "SELECT count(*) FROM sqlite_schema");
        uint32_t version = file_version(db);
        database_run(other, "UPDATE u SET b = 'turn %d' WHERE a = 1", i);
        database_number(db, "SELECT count(*) FROM sqlite_schema");
        ck_assert_uint_ne(file_version(db), version);
    }
    database_close(other);
    database_close(db);
}

/* ---- what SQLite keeps beside its cache ---- */

TEST(a_backup_between_commits)
{
    begin();
    sqlite3 *db = open_reader(), *other = database_open(), *copy = database_open_uri(harness_path("copy.db"));
    database_run(copy, "PRAGMA synchronous = OFF");
    for (int round = 0; round < 3; round++) {
        sqlite3_backup *backup = sqlite3_backup_init(copy, "main", db, "main");
        int rc = SQLITE_OK;
        for (int i = 0; rc == SQLITE_OK; i++) {
            rc = sqlite3_backup_step(backup, 7);
            if (i % 7 == 3 && i < 60)
                database_run(other, "UPDATE %s SET b = 'at %d' WHERE a = %d", i % 2 ? "u" : "t", i, (i * 53) % 2000);
            database_text(db, "%s", point);
        }
        ck_assert_int_eq(rc, SQLITE_DONE);
        CODE(SQLITE_OK, sqlite3_backup_finish(backup));
        database_check(copy);
        char *expected = database_rows(other, "SELECT * FROM t UNION ALL SELECT * FROM u");
        char *got = database_rows(copy, "SELECT * FROM t UNION ALL SELECT * FROM u");
        ck_assert_str_eq(got, expected);
        free(expected);
        free(got);
    }
    database_close(copy);
    database_close(other);
    database_close(db);
}

TEST(statements_cursors_and_a_shared_cache)
{
    begin();
    const char *uri = database_uri("s", "main", "&cache=shared");
    sqlite3 *first = database_open_uri(uri), *second = database_open_uri(uri), *other = database_open();
    sqlite3_stmt *row = NULL, *rows = NULL;
    CODE(SQLITE_OK, sqlite3_prepare_v2(first, "SELECT b FROM t WHERE a = ?", -1, &row, NULL));
    CODE(SQLITE_OK, sqlite3_prepare_v2(second, "SELECT a, b FROM u ORDER BY a", -1, &rows, NULL));
    for (int i = 0; i < 30; i++) {
        int sum = 0;
        sqlite3_bind_int(row, 1, 700);
        while (sqlite3_step(rows) == SQLITE_ROW && sum < 1000)
            if (sum++ == 500) /* the snapshot of both stays */
                database_run(other, "UPDATE %s SET b = 'at %d' WHERE a = %d", i % 3 ? "u" : "t", i,
                             i % 2 ? 700 : 1999);
        sqlite3_reset(rows);
        CODE(SQLITE_ROW, sqlite3_step(row));
        ck_assert_str_eq((const char *)sqlite3_column_text(row, 0), database_text(other, "%s", point));
        sqlite3_reset(row);
        if (i % 5 == 4)
            database_run(second, "UPDATE t SET b = 'second %d' WHERE a = 700", i);
        same(first, "SELECT * FROM t WHERE a > 1990");
        same(second, "SELECT * FROM u WHERE a > 1990");
    }
    sqlite3_finalize(row);
    sqlite3_finalize(rows);
    database_close(other);
    database_close(second);
    database_close(first);
}

TEST(full_text)
{
    begin();
    sqlite3 *other = database_open();
    database_run(other, "CREATE VIRTUAL TABLE f USING fts5(x); CREATE VIRTUAL TABLE r USING rtree(id, lo, hi)");
    sqlite3 *db = open_reader();
    for (int i = 0; i < 60; i++) {
        database_run(other, "INSERT INTO f VALUES('word number %d'); INSERT INTO r VALUES(%d, %d, %d)", i, i, i, i + 1);
        if (i % 4 == 1)
            database_run(other, "DELETE FROM f WHERE rowid = %d; UPDATE u SET b = 'i %d' WHERE a = %d", i / 2, i,
                         i + 1);
        if (i % 20 == 19)
            database_run(other, "INSERT INTO f(f) VALUES('optimize')");
        same(db, "SELECT rowid, x FROM f WHERE f MATCH 'word' ORDER BY rowid");
        same(db, "SELECT id FROM r WHERE lo <= 50 AND hi >= 10 ORDER BY id");
        same(db, point);
        if (i % 10 == 5)
            database_run(db, "INSERT INTO f VALUES('word of mine')");
    }
    database_run(db, "INSERT INTO f(f) VALUES('integrity-check')");
    database_check(db);
    database_close(other);
    database_close(db);
}

/* ---- random histories of three connections, two of this process and one of another ---- */

#define TABLES 4
#define ACTORS 3

struct history {
    sqlite3 *plain[ACTORS], *branch[ACTORS]; /* the last of the branch's is a peer, for the plain file as any */
    struct peer peer;
    struct harness_random random;
    bool is_incremental;
};

static unsigned below(struct history *history, unsigned limit)
{
    return (unsigned)harness_below(&history->random, limit);
}

static char *random_change(struct history *history)
{
    unsigned table = below(history, TABLES), row = below(history, 900), size = below(history, 150) + 1;
    switch (below(history, 24)) {
    case 0:
        return sqlite3_mprintf("DELETE FROM t%u WHERE a BETWEEN %u AND %u", table, row, row + below(history, 400));
    case 1:
        return sqlite3_mprintf("PRAGMA user_version = %u", row);
    case 2:
        return sqlite3_mprintf("CREATE TABLE IF NOT EXISTS x%u AS SELECT * FROM t%u", row % 3, table);
    case 3:
        return sqlite3_mprintf("DROP TABLE IF EXISTS x%u", row % 3);
    case 4:
        return sqlite3_mprintf("UPDATE t%u SET b = printf('%%.*c', %u, 'z') WHERE a = %u", table, size * 100, row);
    case 5:
        return sqlite3_mprintf("WITH RECURSIVE n(i) AS (SELECT %u UNION ALL SELECT i + 1 FROM n WHERE i < %u) INSERT "
                               "OR REPLACE INTO t%u SELECT i, printf('%%.*c', %u, 'n') FROM n",
                               row, row + below(history, 200), table, size);
    case 6:
        return sqlite3_mprintf("BEGIN; UPDATE t%u SET b = 's' WHERE a %% 7 = 1; SAVEPOINT s; DELETE FROM t%u WHERE a < "
                               "%u; ROLLBACK TO s; UPDATE t%u SET b = 'kept' WHERE a = %u; COMMIT",
                               table, (table + 1) % TABLES, row, (table + 2) % TABLES, row);
    case 7:
        return history->is_incremental ? sqlite3_mprintf("PRAGMA incremental_vacuum(%u)", size % 9)
                                       : sqlite3_mprintf("PRAGMA application_id = %u", row);
    case 8:
        return sqlite3_mprintf("PRAGMA schema_version = %u", row * 10);
    case 9: /* what this connection has in its cache becomes content */
        return sqlite3_mprintf("INSERT INTO saw(what) SELECT count(*) || ':' || total(a) || ':' || total(length(b)) || "
                               "':' || max(b) FROM t%u", table);
    default:
        return sqlite3_mprintf("INSERT OR REPLACE INTO t%u VALUES(%u, printf('%%.*c', %u, '%c'))", table, row, size,
                               'a' + (int)below(history, 26));
    }
}

static void change(struct history *history)
{
    unsigned actor = below(history, ACTORS);
    char *sql = random_change(history);
    database_run(history->plain[actor], "%s", sql);
    if (history->branch[actor])
        database_run(history->branch[actor], "%s", sql);
    else
        peer_must(&history->peer, sql);
    sqlite3_free(sql);
}

static void ask(struct history *history)
{
    unsigned actor = below(history, ACTORS - 1), row = below(history, 900);
    static const char *const questions[] = {"SELECT a, b FROM t%u WHERE a = %u",
                                            "SELECT a, b FROM t%u WHERE a BETWEEN %u - 20 AND %u",
                                            "SELECT count(*), max(b) FROM t%u WHERE b > 'k' AND a > %u",
                                            "SELECT name, sql FROM sqlite_schema",
                                            "PRAGMA user_version",
                                            "PRAGMA freelist_count",
                                            "PRAGMA page_count",
                                            "PRAGMA schema_version"};
    const char *question = questions[below(history, below(history, 3) ? 2 : COUNT_OF(questions))];
    char *sql = sqlite3_mprintf(question, below(history, TABLES), row, row);
    char *expected = database_rows(history->plain[actor], "%s", sql);
    char *got = database_rows(history->branch[actor], "%s", sql);
    ck_assert_msg(strcmp(expected, got) == 0, "%s: %.300s, stock: %.300s", sql, got, expected);
    free(expected);
    free(got);
    sqlite3_free(sql);
}

static void compare_bytes(void)
{
    int64_t size = 0;
    size_t plain_size = 0;
    sqlite3 *fresh = database_open();
    uint8_t *bytes = database_bytes(fresh, &size), *plain = harness_read_file(harness_path("plain.db"), &plain_size);
    ck_assert_uint_eq((size_t)size, plain_size);
    for (size_t i = 0; i < plain_size; i++)
        ck_assert_msg(bytes[i] == plain[i], "byte %zu of page %zu differs", i % 1024, i / 1024 + 1);
    database_check(fresh);
    free(bytes);
    free(plain);
    database_close(fresh);
}

static void tell(uint64_t seed)
{
    struct history history = {.random = {seed * 7919 + 11}, .is_incremental = seed % 2 == 0};
    database_store("s");
    peer_start(&history.peer, database_uri("s", "main", ""));
    for (unsigned i = 0; i < ACTORS; i++) {
        history.plain[i] = database_open_uri(harness_path("plain.db"));
        database_run(history.plain[i], "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY");
        history.branch[i] = i < ACTORS - 1 ? database_open() : NULL;
    }
    for (int side = 0; side < 2; side++) {
        sqlite3 *db = side ? history.plain[0] : history.branch[0];
        database_run(db, "PRAGMA page_size = 1024; PRAGMA auto_vacuum = %d; CREATE TABLE saw(what)",
                     history.is_incremental ? 2 : 0);
        for (int i = 0; i < TABLES; i++)
            database_run(db, "CREATE TABLE t%d(a INTEGER PRIMARY KEY, b); CREATE INDEX i%d ON t%d(b)", i, i, i);
    }
    for (unsigned step = 0, steps = (unsigned)harness_number("BOUGH_STEPS", 600); step < steps; step++) {
        if (below(&history, 3) == 0)
            change(&history);
        else
            ask(&history);
        if (step % 100 == 99)
            compare_bytes();
    }
    peer_stop(&history.peer);
    for (unsigned i = 0; i < ACTORS; i++) {
        database_close(history.plain[i]);
        if (history.branch[i])
            database_close(history.branch[i]);
    }
    harness_remove_tree(harness_path("s.bough"));
    unlink(harness_path("plain.db"));
}

TEST(random_histories)
{
    uint64_t first = harness_number("BOUGH_SEED", 1), last = getenv("BOUGH_SEED") ? first : 2;
    for (uint64_t seed = first; seed <= last; seed++)
        tell(seed);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(other_pages_leave_the_cache_alone),
        CASE(pages_of_another_process),
        CASE(every_kind_of_page),
        CASE(the_first_page),
        CASE(what_was_written_counts_as_seen),
        CASE(a_new_generation),
        CASE(the_change_counter_goes_on),
        CASE(data_version_counts_all_commits),
        CASE(who_only_watches_sees_every_commit),
        CASE(a_backup_between_commits),
        CASE(statements_cursors_and_a_shared_cache),
        CASE(full_text),
        CASE(random_histories),
    };
    return harness_run("seen", cases, COUNT_OF(cases));
}
