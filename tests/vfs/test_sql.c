/* test_sql.c - SQL of all kinds through the VFS, with caches that spill: every case that writes does the same to an
 * ordinary file and compares all rows. Page sizes, auto_vacuum and journal modes run through the lot.
 */
#include "database.h"

#include "vfs.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A branch and an ordinary file that take the same statements. */
struct twins {
    sqlite3 *branch, *file;
};

static struct twins open_twins(const char *pragmas)
{
    struct twins twins;
    database_store("s");
    twins.branch = database_open();
    twins.file = database_open_uri(harness_path("twin.db"));
    database_run(twins.branch, "%s", pragmas);
    database_run(twins.file, "%s; PRAGMA synchronous = OFF", pragmas);
    return twins;
}

static void run_both(struct twins *twins, const char *sql)
{
    int rc = database_try(twins->branch, "%s", sql);
    ck_assert_msg(rc == database_try(twins->file, "%s", sql), "%.200s: %d %s", sql, rc, sqlite3_errmsg(twins->branch));
}

static void compare_query(struct twins *twins, const char *sql)
{
    char *branch = database_rows(twins->branch, "%s", sql), *file = database_rows(twins->file, "%s", sql);
    ck_assert_msg(strcmp(branch, file) == 0, "%s: %.200s, not %.200s", sql, branch, file);
    free(branch);
    free(file);
}

static void compare_all(struct twins *twins)
{
    sqlite3_stmt *names = NULL;
    database_check(twins->branch);
    compare_query(twins, "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema");
    compare_query(twins, "PRAGMA page_count");
    compare_query(twins, "PRAGMA freelist_count");
    ck_assert_int_eq(sqlite3_prepare_v2(twins->file, "SELECT name FROM sqlite_schema WHERE type = 'table'", -1, &names,
                                        NULL),
                     SQLITE_OK);
    while (sqlite3_step(names) == SQLITE_ROW) {
        char *sql = sqlite3_mprintf("SELECT * FROM \"%w\"", sqlite3_column_text(names, 0));
        compare_query(twins, sql);
        sqlite3_free(sql);
    }
    sqlite3_finalize(names);
    /* A connection that has nothing cached. */
    sqlite3 *fresh = database_open();
    database_check(fresh);
    database_close(fresh);
}

static void close_twins(struct twins *twins)
{
    compare_all(twins);
    database_close(twins->branch);
    database_close(twins->file);
}

/* Rows that depend on nothing but their number. */
#define ROWS(count) \
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < " #count ")"

static void use_tables(struct twins *t)
{
    run_both(t, "CREATE TABLE a(id INTEGER PRIMARY KEY, x, y TEXT UNIQUE); CREATE INDEX ax ON a(x, y DESC)");
    run_both(t, ROWS(3000) "INSERT INTO a SELECT x, x * 7919 % 1000, printf('%08d-%s', x * 31 % 3001,"
                           " substr('abcdefghijklmnopqrstuvwxyz', 1, x % 26)) FROM c");
    run_both(t, "CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO w SELECT y, x FROM a WHERE x < 500");
    run_both(t, "CREATE VIEW v AS SELECT x, count(*) AS n FROM a GROUP BY x");
    run_both(t, "CREATE TABLE g(p, q AS (p * 2) STORED, r AS (q || 'r') VIRTUAL); CREATE INDEX gr ON g(r)");
    run_both(t, "INSERT INTO g SELECT id FROM a WHERE id % 5 = 0");
    run_both(t, "CREATE TABLE log(what); CREATE TRIGGER at AFTER UPDATE ON a BEGIN INSERT INTO log VALUES(new.id || "
                "':' || old.x || ':' || new.x); END");
    run_both(t, "UPDATE a SET x = x + 1 WHERE id % 3 = 0");
    run_both(t, "DELETE FROM a WHERE id BETWEEN 500 AND 900; DELETE FROM w WHERE v % 2");
    run_both(t, "INSERT OR REPLACE INTO a SELECT id + 2, x, y || '!' FROM a WHERE id % 10 = 0");
    run_both(t, "UPDATE OR IGNORE a SET y = (SELECT y FROM a LIMIT 1) WHERE id < 20");
    run_both(t, "INSERT INTO a VALUES(1, 2, 3)");
    run_both(t, "ALTER TABLE a RENAME COLUMN x TO z; ALTER TABLE w ADD COLUMN more DEFAULT 'm'");
    run_both(t, "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE k(p REFERENCES p ON DELETE CASCADE);"
                "PRAGMA foreign_keys = ON; INSERT INTO p SELECT id FROM a LIMIT 50;"
                "INSERT INTO k SELECT id FROM p; DELETE FROM p WHERE id % 2; INSERT INTO k VALUES(-1)");
    compare_query(t, "SELECT * FROM v ORDER BY 1");
    compare_all(t);
}

static void use_blobs(struct twins *t)
{
    run_both(t, "CREATE TABLE blobs(id INTEGER PRIMARY KEY, b)");
    for (int i = 0; i < 12; i++) {
        char sql[200];
        snprintf(sql, sizeof(sql), "INSERT INTO blobs VALUES(%d, zeroblob(%d))", i, i * i * 7000);
        run_both(t, sql);
        snprintf(sql, sizeof(sql), "UPDATE blobs SET b = CAST(substr(hex(b), 1, %d) || 'x' AS BLOB) WHERE id = %d",
                 i * 5000, i / 2);
        run_both(t, sql);
    }
    run_both(t, "DELETE FROM blobs WHERE id % 3 = 1");
    for (int i = 0; i < 2; i++) {
        sqlite3_blob *blob = NULL;
        sqlite3 *db = i ? t->file : t->branch;
        ck_assert_int_eq(sqlite3_blob_open(db, "main", "blobs", "b", 11, 1, &blob), SQLITE_OK);
        for (int at = 0; at + 4 < sqlite3_blob_bytes(blob); at += 9973)
            ck_assert_int_eq(sqlite3_blob_write(blob, "\1\2\3\4", 4, at), SQLITE_OK);
        ck_assert_int_eq(sqlite3_blob_close(blob), SQLITE_OK);
    }
    compare_all(t);
}

static void use_transactions(struct twins *t)
{
    run_both(t, "CREATE TABLE n(a INTEGER PRIMARY KEY, b)");
    run_both(t, ROWS(2000) "INSERT INTO n SELECT x, printf('%0100d', x) FROM c");
    run_both(t, "BEGIN; UPDATE n SET b = b || 'A'; SAVEPOINT one; DELETE FROM n WHERE a % 2; SAVEPOINT two;"
                "UPDATE n SET b = b || 'B'; ROLLBACK TO two; INSERT INTO n SELECT a + 5001, b FROM n;"
                "RELEASE one; COMMIT");
    compare_all(t);
    run_both(t, "BEGIN; DROP TABLE n; CREATE TABLE n(z); CREATE TABLE m AS SELECT * FROM n; ROLLBACK");
    compare_all(t);
    run_both(t, "BEGIN; UPDATE n SET b = NULL; DELETE FROM n WHERE a > 100; ROLLBACK");
    run_both(t, "BEGIN; INSERT INTO n SELECT a + 20000, b FROM n; ROLLBACK; DELETE FROM n WHERE a > 6000; VACUUM");
    compare_all(t);
    run_both(t, "UPDATE OR ROLLBACK n SET a = 2 WHERE a > 1990"); /* fails in the middle */
    run_both(t, "INSERT INTO n SELECT max(a) + 1, zeroblob(300000) FROM n; DELETE FROM n WHERE a % 7 = 0");
    run_both(t, "PRAGMA incremental_vacuum(10); REINDEX; ANALYZE");
    compare_all(t);
}

static void use_everything(const char *pragmas)
{
    struct twins twins = open_twins(pragmas);
    use_tables(&twins);
    use_blobs(&twins);
    use_transactions(&twins);
    close_twins(&twins);
}

TEST(default_settings) { use_everything("PRAGMA cache_size = 10"); }
TEST(pages_of_512) { use_everything("PRAGMA page_size = 512; PRAGMA cache_size = 10"); }
TEST(pages_of_1024_and_auto_vacuum)
{
    use_everything("PRAGMA page_size = 1024; PRAGMA auto_vacuum = FULL; PRAGMA cache_size = 5");
}
TEST(pages_of_8192_and_incremental_vacuum)
{
    use_everything("PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA cache_size = 3");
}
TEST(pages_of_65536) { use_everything("PRAGMA page_size = 65536; PRAGMA cache_size = 2"); }
TEST(no_secure_delete_no_sync)
{
    use_everything("PRAGMA secure_delete = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = 4");
}
TEST(exclusive_persist)
{
    use_everything("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = PERSIST; PRAGMA cache_size = 4");
}
TEST(truncate_without_mappings)
{
    use_everything("PRAGMA journal_mode = TRUNCATE; PRAGMA mmap_size = 0; PRAGMA cache_size = 4");
}
TEST(memory_journal_no_spill)
{
    use_everything("PRAGMA journal_mode = MEMORY; PRAGMA cache_spill = OFF; PRAGMA cache_size = 4");
}

TEST(full_text_and_r_tree)
{
    struct twins t = open_twins("PRAGMA cache_size = 10");
    run_both(&t, "CREATE VIRTUAL TABLE f USING fts5(title, body, prefix='2 3')");
    run_both(&t, ROWS(1500) "INSERT INTO f SELECT 'title ' || (x % 97), 'word' || (x % 53) || ' and ' || x FROM c");
    run_both(&t, "DELETE FROM f WHERE rowid % 11 = 0; UPDATE f SET body = body || ' more' WHERE rowid % 5 = 0");
    run_both(&t, "BEGIN; INSERT INTO f(f) VALUES('optimize'); ROLLBACK; INSERT INTO f(f) VALUES('optimize')");
    compare_query(&t, "SELECT rowid FROM f WHERE f MATCH 'word7 AND more' ORDER BY rank, rowid");
    run_both(&t, "INSERT INTO f(f) VALUES('integrity-check')");
    run_both(&t, "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1, y0, y1)");
    run_both(&t, ROWS(1500) "INSERT INTO r SELECT x, x % 100, x % 100 + 5, x % 77, x % 77 + 3 FROM c");
    run_both(&t, "DELETE FROM r WHERE id % 4 = 0; UPDATE r SET x1 = x1 + 50 WHERE id % 9 = 0");
    compare_query(&t, "SELECT id FROM r WHERE x0 < 30 AND x1 > 20 AND y0 < 10 ORDER BY id");
    ck_assert_str_eq(database_text(t.branch, "SELECT rtreecheck('r')"), "ok");
    close_twins(&t);
}

TEST(ordinary_databases_attached)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 1000, 100);
    database_run(db, "ATTACH '%s' AS o", harness_path("other.db"));
    database_run(db, "CREATE TABLE o.copy AS SELECT * FROM t; CREATE TABLE back AS SELECT * FROM o.copy WHERE a < 10");
    database_run(db, "BEGIN; DELETE FROM o.copy WHERE a > 500; SELECT count(*) FROM t; COMMIT");
    database_run(db, "BEGIN; UPDATE t SET b = (SELECT b FROM copy WHERE a = 1); ROLLBACK; DETACH o");
    ck_assert_int_eq(database_number(db, "SELECT count(DISTINCT b) FROM t"), 1000);
    sqlite3 *file = database_open_uri(harness_path("other.db"));
    ck_assert_int_eq(database_number(file, "SELECT count(*) FROM copy"), 500);
    database_run(file, "ATTACH '%s' AS b; INSERT INTO b.t SELECT a + 5000, b FROM copy",
                 database_uri("s", "main", ""));
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 1500);
    database_check(file);
    database_check(db);
    database_close(file);
    database_close(db);
}

static int back_up(sqlite3 *to, sqlite3 *from, int pages)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    int rc = SQLITE_OK;
    ck_assert_ptr_nonnull(backup);
    while ((rc = sqlite3_backup_step(backup, pages)) == SQLITE_OK)
        continue;
    int finish = sqlite3_backup_finish(backup);
    return rc == SQLITE_DONE ? finish : rc;
}

TEST(backups_from_and_onto_a_branch)
{
    static const int page_sizes[] = {4096, 1024, 16384};
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 1000, 300);
    for (size_t i = 0; i < COUNT_OF(page_sizes); i++) {
        char name[32];
        snprintf(name, sizeof(name), "copy%zu.db", i);
        sqlite3 *file = database_open_uri(harness_path(name));
        database_run(file, "PRAGMA page_size = %d; CREATE TABLE x(y); INSERT INTO x VALUES(%d)", page_sizes[i], (int)i);
        /* Onto a branch that has data, in the source's page size or not. */
        ck_assert_int_eq(back_up(db, file, 1), SQLITE_OK);
        ck_assert_int_eq(database_number(db, "SELECT y FROM x"), (int)i);
        database_check(db);
        database_fill(db, 700, 500);
        sqlite3 *other = database_open();
        database_check(other);
        ck_assert_int_eq(database_number(other, "SELECT count(*) FROM t"), 700);
        database_close(other);
        ck_assert_int_eq(back_up(file, db, 7), SQLITE_OK);
        ck_assert_int_eq(database_number(file, "SELECT count(*) FROM t WHERE length(b) = 500"), 700);
        database_check(file);
        database_close(file);
        database_run(db, "DROP TABLE t; DROP TABLE x");
    }
    database_close(db);
}

TEST(a_backup_restarts_when_another_connection_commits)
{
    database_store("s");
    sqlite3 *db = database_open(), *other = database_open();
    database_fill(db, 1000, 300);
    sqlite3 *file = database_open_uri(harness_path("copy.db"));
    sqlite3_backup *backup = sqlite3_backup_init(file, "main", db, "main");
    ck_assert_int_eq(sqlite3_backup_step(backup, 20), SQLITE_OK);
    database_run(other, "UPDATE t SET b = 'later'");
    ck_assert_int_eq(sqlite3_backup_step(backup, 20), SQLITE_OK);
    database_run(db, "UPDATE t SET b = 'latest' WHERE a = 1");
    ck_assert_int_eq(sqlite3_backup_step(backup, -1), SQLITE_DONE);
    ck_assert_int_eq(sqlite3_backup_finish(backup), SQLITE_OK);
    ck_assert_int_eq(database_number(file, "SELECT count(*) FROM t WHERE b = 'later'"), 999);
    database_check(file);
    database_close(file);
    database_close(other);
    database_close(db);
}

TEST(serialized_and_deserialized)
{
    sqlite3_int64 size = 0;
    int64_t shown_size = 0;
    database_store("s");
    sqlite3 *db = database_open(), *memory = database_open_uri("file::memory:");
    database_fill(db, 500, 200);
    unsigned char *image = sqlite3_serialize(db, "main", &size, 0);
    ck_assert_ptr_nonnull(image);
    uint8_t *shown = database_bytes(db, &shown_size);
    ck_assert_int_eq(size, shown_size);
    ck_assert_mem_eq(image, shown, (size_t)size);
    ck_assert_int_eq(sqlite3_deserialize(memory, "main", image, size, size, SQLITE_DESERIALIZE_FREEONCLOSE), SQLITE_OK);
    ck_assert_int_eq(database_number(memory, "SELECT count(*) FROM t WHERE length(b) = 200"), 500);
    database_check(memory);
    free(shown);
    database_close(memory);
    database_close(db);
}

TEST(cursors_stay_open_over_commits)
{
    sqlite3_stmt *rows = NULL;
    database_store("s");
    sqlite3 *db = database_open(), *other = database_open();
    database_fill(db, 1000, 100);
    database_run(db, "PRAGMA cache_size = 5");
    ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT a FROM t ORDER BY a", -1, &rows, NULL), SQLITE_OK);
    for (int i = 1; i <= 1000; i++) {
        ck_assert_int_eq(sqlite3_step(rows), SQLITE_ROW);
        ck_assert_int_eq(sqlite3_column_int(rows, 0), i);
        if (i % 100 == 0) {
            database_run(db, "UPDATE t SET b = 'seen' WHERE a = %d", i);
            ck_assert_str_eq(database_text(other, "SELECT b FROM t WHERE a = %d", i), "seen");
        }
    }
    ck_assert_int_eq(sqlite3_step(rows), SQLITE_DONE);
    sqlite3_finalize(rows);
    /* A reader with a cursor keeps its state while the other commits. */
    ck_assert_int_eq(sqlite3_prepare_v2(other, "SELECT a FROM t ORDER BY a", -1, &rows, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(rows), SQLITE_ROW);
    database_run(db, "DELETE FROM t WHERE a > 1");
    int count = 1;
    while (sqlite3_step(rows) == SQLITE_ROW)
        count++;
    ck_assert_int_eq(count, 1000);
    sqlite3_finalize(rows);
    ck_assert_int_eq(database_number(other, "SELECT count(*) FROM t"), 1);
    database_check(db);
    database_close(other);
    database_close(db);
}

TEST(shared_cache)
{
    database_store("s");
    sqlite3 *a = database_open_uri(database_uri("s", "main", "&cache=shared"));
    sqlite3 *b = database_open_uri(database_uri("s", "main", "&cache=shared"));
    sqlite3 *other = database_open();
    database_fill(a, 500, 100);
    ck_assert_int_eq(database_number(b, "SELECT count(*) FROM t"), 500);
    database_run(b, "BEGIN; UPDATE t SET b = 'b'");
    CODE(SQLITE_LOCKED_SHAREDCACHE, database_try(a, "SELECT count(*) FROM t"));
    CODE(SQLITE_BUSY, database_try(other, "DELETE FROM t"));
    database_run(b, "COMMIT");
    database_run(other, "UPDATE t SET b = 'o' WHERE a <= 100");
    ck_assert_int_eq(database_number(a, "SELECT count(*) FROM t WHERE b = 'o'"), 100);
    database_close(a);
    ck_assert_int_eq(database_number(b, "SELECT count(*) FROM t WHERE b = 'b'"), 400);
    database_check(b);
    database_close(b);
    database_close(other);
}

TEST(an_empty_branch_takes_the_page_size_of_its_first_write)
{
    database_store("s");
    sqlite3 *db = database_open(), *other = database_open();
    ck_assert_int_eq(database_number(db, "PRAGMA page_count"), 0);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM sqlite_schema"), 0);
    ck_assert_int_eq(database_number(db, "PRAGMA page_size"), 4096); /* not raised by the VFS */
    database_run(db, "PRAGMA page_size = 16384; BEGIN; CREATE TABLE t(a); ROLLBACK");
    ck_assert_int_eq(database_number(other, "PRAGMA page_count"), 0);
    database_run(db, "CREATE TABLE t(a)");
    struct bough__file *file = bough__file_of(database_file(db));
    ck_assert_uint_eq(file->snapshots[file->current].block_size, 16384);
    database_run(other, "INSERT INTO t VALUES(1)");
    ck_assert_int_eq(database_number(other, "PRAGMA page_size"), 16384);
    database_check(db);
    database_close(other);
    database_close(db);
}

TEST(other_programs_formats)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_run(db, "PRAGMA encoding = 'UTF-16le'; PRAGMA user_version = 77; PRAGMA application_id = 99");
    database_fill(db, 100, 50);
    database_run(db, "PRAGMA schema_version = 1234");
    database_close(db);
    db = database_open();
    ck_assert_str_eq(database_text(db, "PRAGMA encoding"), "UTF-16le");
    ck_assert_int_eq(database_number(db, "PRAGMA user_version"), 77);
    ck_assert_int_eq(database_number(db, "PRAGMA application_id"), 99);
    ck_assert_int_eq(database_number(db, "PRAGMA schema_version"), 1234);
    database_check(db);
    database_close(db);
}

/* ---- several threads, each with a connection of its own ---- */

#define THREADS 4
#define ROUNDS 60

static void *add_rows(void *context)
{
    intptr_t number = (intptr_t)context;
    sqlite3 *db = database_open();
    sqlite3_busy_timeout(db, 60000);
    for (int i = 0; i < ROUNDS; i++) {
        database_run(db, "BEGIN IMMEDIATE; INSERT INTO t(b) VALUES(%d);"
                         "UPDATE sums SET n = n + 1, s = s + %d; COMMIT",
                     (int)number, (int)number);
        /* The two tables agree in every state that anyone sees. */
        ck_assert_int_eq(database_number(db, "SELECT (SELECT count(*) FROM t) = n AND (SELECT sum(b) FROM t) = s"
                                             " FROM sums"),
                         1);
    }
    database_close(db);
    return NULL;
}

TEST(threads_that_write_and_read)
{
    pthread_t threads[THREADS];
    database_store("s");
    sqlite3 *db = database_open();
    database_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE sums(n, s); INSERT INTO sums VALUES(0, 0);"
                     "PRAGMA synchronous = OFF");
    for (intptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, add_rows, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(database_number(db, "SELECT n FROM sums"), THREADS * ROUNDS);
    ck_assert_int_eq(database_number(db, "SELECT sum(b) FROM t"), ROUNDS * THREADS * (THREADS + 1) / 2);
    database_check(db);
    database_close(db);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(default_settings),
        CASE(pages_of_512),
        CASE(pages_of_1024_and_auto_vacuum),
        CASE(pages_of_8192_and_incremental_vacuum),
        CASE(pages_of_65536),
        CASE(no_secure_delete_no_sync),
        CASE(exclusive_persist),
        CASE(truncate_without_mappings),
        CASE(memory_journal_no_spill),
        CASE(full_text_and_r_tree),
        CASE(ordinary_databases_attached),
        CASE(backups_from_and_onto_a_branch),
        CASE(a_backup_restarts_when_another_connection_commits),
        CASE(serialized_and_deserialized),
        CASE(cursors_stay_open_over_commits),
        CASE(shared_cache),
        CASE(an_empty_branch_takes_the_page_size_of_its_first_write),
        CASE(other_programs_formats),
        CASE(threads_that_write_and_read),
    };
    return harness_run("sql", cases, COUNT_OF(cases));
}
