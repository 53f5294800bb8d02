/* test_narrow.c - what pages tell about rows, against reading all rows: the result must be the same, in less. */
#include "harness.h"

#include "compare.h"
#include "table_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- databases ---- */

static sqlite3 *open_file(const char *path)
{
    sqlite3 *db = NULL;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

__attribute__((format(printf, 2, 3))) static void run(sqlite3 *db, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *sql = sqlite3_vmprintf(format, arguments), *message = NULL;
    va_end(arguments);
    int rc = sqlite3_exec(db, sql, NULL, NULL, &message);
    ck_assert_msg(rc == SQLITE_OK, "%s: %s", sql, message);
    sqlite3_free(sql);
}

/* Random changes may meet a constraint: then nothing changes. */
__attribute__((format(printf, 2, 3))) static void attempt(sqlite3 *db, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *sql = sqlite3_vmprintf(format, arguments), *message = NULL;
    va_end(arguments);
    int rc = sqlite3_exec(db, sql, NULL, NULL, &message);
    ck_assert_msg(rc == SQLITE_OK || rc == SQLITE_CONSTRAINT, "%s: %s", sql, message);
    sqlite3_free(message);
    sqlite3_free(sql);
}

/* ---- a comparison ---- */

struct pair {
    sqlite3 *from, *to;
    struct bough__pages pages;
    struct bough__schema_changes schema;
    struct bough__tables tables;
    uint64_t differing;
};

static void compare_bytes(struct pair *pair, const char *a, const char *b)
{
    size_t a_len = 0, b_len = 0;
    uint8_t *x = harness_read_file(a, &a_len), *y = harness_read_file(b, &b_len);
    size_t x_size = (size_t)x[16] << 8 | x[17], y_size = (size_t)y[16] << 8 | y[17];
    x_size = x_size == 1 ? 65536 : x_size;
    y_size = y_size == 1 ? 65536 : y_size;
    for (size_t page = 1; page <= a_len / x_size || page <= b_len / y_size; page++) {
        bool in_both = x_size == y_size && page * x_size <= a_len && page * y_size <= b_len;
        if (in_both && !memcmp(x + (page - 1) * x_size, y + (page - 1) * x_size, x_size))
            continue;
        ck_assert(bough__pages_add(&pair->pages, page));
        pair->differing++;
    }
    free(x);
    free(y);
}

static void begin(sqlite3 *db)
{
    run(db, "BEGIN; SELECT count(*) FROM sqlite_schema");
}

static void pair_open(struct pair *pair, const char *a, const char *b)
{
    sqlite3 *failed = NULL;
    memset(pair, 0, sizeof *pair);
    pair->from = open_file(a);
    pair->to = open_file(b);
    begin(pair->from);
    begin(pair->to);
    compare_bytes(pair, a, b);
    ck_assert_int_eq(bough__schema_compare(&pair->schema, &failed, pair->from, pair->to), SQLITE_OK);
    ck_assert_int_eq(bough__tables_compare(&pair->tables, &failed, pair->from, pair->to, &pair->schema, &pair->pages),
                     SQLITE_OK);
    ck_assert_int_eq(bough__shadows_fold(&pair->schema, &pair->tables, &failed, pair->from, pair->to), SQLITE_OK);
}

static void pair_close(struct pair *pair)
{
    bough__pages_release(&pair->pages);
    bough__schema_changes_release(&pair->schema);
    bough__tables_release(&pair->tables);
    ck_assert_int_eq(sqlite3_close(pair->from), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(pair->to), SQLITE_OK);
}

static void print_row(FILE *file, const struct bough__rows *rows, sqlite3_stmt *row)
{
    for (size_t i = 0; row && i < rows->count; i++) {
        int type = sqlite3_column_type(row, (int)i);
        const unsigned char *bytes =
            type == SQLITE_BLOB ? sqlite3_column_blob(row, (int)i) : sqlite3_column_text(row, (int)i);
        fprintf(file, " %d:", type);
        for (int at = 0; at < sqlite3_column_bytes(row, (int)i); at++)
            fprintf(file, bytes[at] > ' ' && bytes[at] < 0x7F ? "%c" : "\\%02x", bytes[at]);
    }
}

struct printer {
    FILE *file;
    const struct bough__rows *rows;
};

static int print_change(void *context, enum bough_change change, sqlite3_stmt *from, sqlite3_stmt *to)
{
    struct printer *printer = context;
    fprintf(printer->file, "%s", bough__change_name(change));
    print_row(printer->file, printer->rows, from);
    fputs(" ->", printer->file);
    print_row(printer->file, printer->rows, to);
    fputc('\n', printer->file);
    return SQLITE_OK;
}

static char *walk(struct bough__row_counts *out, struct pair *pair, const char *from_name, const char *name,
                  const struct bough__table_pages *change, bool *out_narrowed)
{
    struct bough__rows rows = {0};
    sqlite3 *failed = NULL;
    char *text = NULL;
    size_t len = 0;
    struct printer printer = {open_memstream(&text, &len), &rows};
    int rc = bough__rows_open(&rows, &failed, pair->from, from_name, pair->to, name);
    ck_assert_int_eq(rc, SQLITE_OK);
    bough__rows_narrow(&rows, change);
    *out_narrowed = rows.ranges || rows.keys;
    rc = bough__rows_walk(out, &failed, &rows, print_change, &printer);
    ck_assert_msg(rc == SQLITE_OK, "%s: %s", name, failed ? sqlite3_errmsg(failed) : "no memory");
    bough__rows_release(&rows);
    fclose(printer.file);
    return text;
}

struct totals {
    uint64_t tables, narrowed, differing, read_all, read_narrow;
};

static const char *old_name_of(const struct pair *pair, const char *name)
{
    for (size_t i = 0; i < pair->schema.count; i++) {
        if (!strcmp(pair->schema.items[i].name, name) && pair->schema.items[i].old_name)
            return pair->schema.items[i].old_name;
    }
    return name;
}

/* Every table that both have: listed or the same, and the same differences by both ways. */
static void check_table(struct totals *totals, struct pair *pair, const char *name)
{
    const struct bough__table_pages *change = bough__tables_find(&pair->tables, name);
    const char *from_name = old_name_of(pair, name);
    struct bough__row_counts all = {0}, narrow = {0};
    bool narrowed = false;
    if (sqlite3_table_column_metadata(pair->from, "main", from_name, NULL, NULL, NULL, NULL, NULL, NULL) != SQLITE_OK)
        return;
    char *expected = walk(&all, pair, from_name, name, NULL, &narrowed);
    ck_assert(!narrowed);
    totals->tables++;
    if (!change) {
        ck_assert_msg(!*expected, "%s is not listed:\n%s", name, expected);
        free(expected);
        return;
    }
    char *got = walk(&narrow, pair, from_name, name, change, &narrowed);
    ck_assert_msg(!strcmp(got, expected), "%s, narrow:\n%s\nall:\n%s", name, got, expected);
    ck_assert_uint_le(narrow.read, all.read);
    totals->differing += *expected != 0;
    if (narrowed) {
        totals->narrowed++;
        totals->read_all += all.read;
        totals->read_narrow += narrow.read;
    }
    free(got);
    free(expected);
}

static void check_pair(struct totals *totals, const char *a, const char *b)
{
    struct pair pair;
    sqlite3_stmt *names = NULL;
    struct bough__names list = {NULL, 0};
    pair_open(&pair, a, b);
    ck_assert_int_eq(sqlite3_prepare_v2(pair.to,
                                        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN "
                                        "('table', 'virtual', 'shadow') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
                                        -1, &names, NULL),
                     SQLITE_OK);
    while (sqlite3_step(names) == SQLITE_ROW)
        ck_assert(bough__names_add(&list, (const char *)sqlite3_column_text(names, 0)));
    sqlite3_finalize(names);
    for (size_t i = 0; i < list.count; i++)
        check_table(totals, &pair, list.items[i]);
    bough__names_release(&list);
    pair_close(&pair);
}

/* ---- random databases ---- */

static const char schema[] = "CREATE TABLE i(id INTEGER PRIMARY KEY, a, b);"
                             "CREATE TABLE k(a TEXT PRIMARY KEY, b, c); CREATE INDEX ka ON k(b);"
                             "CREATE TABLE m(a, b COLLATE NOCASE);"
                             "CREATE TABLE w(a, b, c, PRIMARY KEY(a, b)) WITHOUT ROWID;"
                             "CREATE TABLE wc(c, a TEXT COLLATE NOCASE, b TEXT, g AS (c || 'g'), h AS (c) STORED, "
                             "PRIMARY KEY(a DESC, b COLLATE RTRIM)) WITHOUT ROWID; CREATE INDEX wci ON wc(c);"
                             "CREATE TABLE wbig(id PRIMARY KEY, v) WITHOUT ROWID;"
                             "CREATE TABLE wkey(k TEXT, n REAL, v, PRIMARY KEY(n, k DESC)) WITHOUT ROWID;"
                             "CREATE TABLE wown(a, b, PRIMARY KEY(a, a COLLATE NOCASE, b)) WITHOUT ROWID;"
                             "CREATE TABLE big(id INTEGER PRIMARY KEY, v); CREATE INDEX bigv ON big(v);"
                             "CREATE TABLE odd(rowid, b, c AS (b || 'x'), d AS (b || 'y') STORED);"
                             "CREATE TABLE all3(rowid, oid, _rowid_);"
                             "CREATE TABLE same(a, b);"
                             "CREATE VIRTUAL TABLE f USING fts5(x, y); CREATE VIRTUAL TABLE r USING rtree(id, x0, x1);"
                             "CREATE VIRTUAL TABLE g USING fts4(x);";

/* Text of a length that differs from number to number, and the arguments for it. */
#define TEXT        "substr(%d || replace(hex(zeroblob(%d)), '00', 'text'), 1, %d)"
#define NUMBERED    "substr(i * 7919 %% 10007 + %d || replace(hex(zeroblob(%d)), '00', 'text'), 1, %d)"
#define OF_LEN(len) salt, len, len

static void fill(sqlite3 *db, struct harness_random *random, int64_t first, int64_t count)
{
    int salt = (int)harness_below(random, 3) * 1000000;
    int len = 1 + (int)harness_below(random, 60), big = 1 + (int)harness_below(random, 9000);
    run(db,
        "CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (VALUES(%lld) UNION ALL SELECT i + 1 FROM n WHERE i < %lld) "
        "SELECT i FROM n",
        (long long)first, (long long)(first + count - 1));
    attempt(db, "INSERT OR IGNORE INTO i(id, a, b) SELECT i * 3, " NUMBERED ", i FROM n", OF_LEN(len));
    attempt(db, "INSERT OR IGNORE INTO k SELECT nullif(hex(i * 7919 %% 10007), '31'), i, " NUMBERED " FROM n",
            OF_LEN(len));
    attempt(db, "INSERT INTO m SELECT i %% 7, " NUMBERED " FROM n", OF_LEN(3));
    attempt(db, "INSERT OR IGNORE INTO w SELECT i %% 11, " NUMBERED ", i FROM n", OF_LEN(len));
    attempt(
        db,
        "INSERT OR IGNORE INTO wc(a, b, c) SELECT char(65 + i %% 40) || iif(i %% 2, 'x', 'X'), i / 3 || iif(i %% 5, "
        "'', '  '), " NUMBERED " FROM n",
        OF_LEN(len));
    attempt(db,
            "INSERT OR IGNORE INTO wbig SELECT CASE i %% 4 WHEN 0 THEN i WHEN 1 THEN i + 0.5 WHEN 2 THEN 't' || i ELSE "
            "CAST('b' || i AS BLOB) END, " NUMBERED " FROM n WHERE i %% 5 = 0",
            OF_LEN(big));
    attempt(db, "INSERT OR IGNORE INTO wkey SELECT " NUMBERED ", i %% 4, i FROM n WHERE i %% 7 = 0", OF_LEN(big));
    attempt(db, "INSERT OR IGNORE INTO wown SELECT 'a' || (i %% 3), i FROM n WHERE i %% 7 = 0");
    attempt(db, "INSERT OR IGNORE INTO big SELECT i, " NUMBERED " FROM n WHERE i %% 4 = 0", OF_LEN(big));
    attempt(db, "INSERT INTO odd(rowid, b) SELECT i %% 5, " NUMBERED " FROM n", OF_LEN(len));
    attempt(db, "INSERT INTO all3 SELECT i %% 5, i, " NUMBERED " FROM n WHERE i %% 5 = 0", OF_LEN(len));
    attempt(db, "INSERT INTO same SELECT i, " NUMBERED " FROM n", OF_LEN(len));
    attempt(db, "INSERT INTO f SELECT " NUMBERED ", i FROM n WHERE i %% 3 = 0", OF_LEN(len));
    attempt(db, "INSERT INTO g SELECT " NUMBERED " FROM n WHERE i %% 3 = 0", OF_LEN(len));
    attempt(db, "INSERT OR IGNORE INTO r SELECT i, i, i + 1 FROM n WHERE i %% 3 = 0");
    run(db, "DROP TABLE n");
}

static void make(const char *path, struct harness_random *random)
{
    sqlite3 *db = open_file(path);
    run(db, "PRAGMA page_size = %d; PRAGMA auto_vacuum = %d; PRAGMA secure_delete = %d; PRAGMA journal_mode = OFF",
        512 << harness_below(random, harness_below(random, 4) ? 4 : 8), (int)harness_below(random, 3),
        (int)harness_below(random, 2));
    if (!harness_below(random, 8))
        run(db, "PRAGMA encoding = 'UTF-16le'");
    run(db, "BEGIN");
    run(db, "%s", schema);
    fill(db, random, 1, 200 + (int64_t)harness_below(random, 3000));
    run(db, "COMMIT");
    if (!harness_below(random, 3))
        run(db, "DELETE FROM same WHERE a %% 3 = 0; DELETE FROM big WHERE id %% 8 = 0");
    sqlite3_close(db);
}

static void change(sqlite3 *db, struct harness_random *random)
{
    static const char *const tables[] = {"i",    "k",   "m",   "w",    "wc", "wbig", "wkey",
                                         "wown", "big", "odd", "all3", "f",  "g",    "r"};
    static const char *const columns[] = {"b", "c", "b", "c", "c", "v", "v", "b", "v", "b", "oid", "x", "x", "x1"};
    static const char *const keys[] = {"id", "b",  "rowid",   "c",   "b",     "id",    "v",
                                       "b",  "id", "_rowid_", "oid", "rowid", "rowid", "id"};
    size_t at = harness_below(random, COUNT_OF(tables));
    int64_t key = (int64_t)harness_below(random, 3200);
    int len = (int)harness_below(random, 200), salt = (int)harness_below(random, 1000);
    switch (harness_below(random, 32)) {
    case 0:
    case 1:
    case 2:
        attempt(db, "DELETE FROM %s WHERE %s = %lld", tables[at], keys[at], (long long)key);
        break;
    case 3:
        attempt(db, "DELETE FROM %s WHERE %s BETWEEN %lld AND %lld", tables[at], keys[at], (long long)key,
                (long long)key + len);
        break;
    case 4:
        fill(db, random, (int64_t)harness_below(random, 5000), 1 + (int64_t)harness_below(random, 20));
        break;
    case 5: /* a tail of overflow pages, written over */
    case 6:
        attempt(db, "UPDATE big SET v = substr(v, 1, length(v) - 5) || 'other' WHERE id BETWEEN %lld AND %lld",
                (long long)key, (long long)key + len / 20);
        break;
    case 7:
        attempt(db, "UPDATE big SET v = " TEXT " WHERE id BETWEEN %lld AND %lld", OF_LEN(len * 40), (long long)key,
                (long long)key + 8);
        break;
    case 8:
        attempt(db, "REPLACE INTO big SELECT id, 'x' || substr(v, 2) FROM big WHERE id BETWEEN %lld AND %lld",
                (long long)key, (long long)key + 4);
        break;
    case 9:
        attempt(db, "UPDATE i SET id = id + 100000 WHERE id BETWEEN %lld AND %lld", (long long)key, (long long)key + 6);
        break;
    case 10: /* rows get other rowids */
        if (len < 20)
            attempt(db, "CREATE TABLE m2 AS SELECT * FROM m; DELETE FROM m; INSERT INTO m SELECT * FROM m2 ORDER BY b; "
                        "DROP TABLE m2");
        break;
    case 11:
        if (len < 10)
            attempt(db, "DROP TABLE same; CREATE TABLE same(a, b); INSERT INTO same SELECT a, b FROM k");
        break;
    case 12:
        if (len < 20)
            attempt(db, "ALTER TABLE i ADD COLUMN c%lld DEFAULT 'd'", (long long)key);
        break;
    case 13:
        if (len < 20)
            attempt(db, "INSERT INTO f(f) VALUES ('optimize'); REINDEX");
        break;
    case 14:
        if (len < 20)
            attempt(db, "PRAGMA incremental_vacuum(%d)", len);
        break;
    case 15:
        if (len < 20)
            attempt(db, "DROP INDEX IF EXISTS bigv");
        break;
    case 16:
        attempt(db, "UPDATE wbig SET v = substr(v, 1, length(v) - 5) || 'other' WHERE id BETWEEN %lld AND %lld",
                (long long)key, (long long)key + len);
        break;
    case 17:
        attempt(db, "REPLACE INTO wbig SELECT id, 'x' || substr(v, 2) FROM wbig WHERE id BETWEEN 't%lld' AND 't%lld'",
                (long long)key, (long long)key + 40);
        break;
    case 18: /* the same key in other letters */
        attempt(db, "UPDATE wc SET a = lower(a), b = trim(b) WHERE b BETWEEN '%lld' AND '%lld'", (long long)key / 3,
                (long long)key / 3 + len);
        break;
    case 19:
        attempt(db, "UPDATE OR IGNORE wkey SET k = substr(k, 1, length(k) - 1) || 'o', n = n + %d WHERE v %% 20 = %d",
                len % 2, len % 20);
        break;
    case 20:
        attempt(db, "UPDATE OR REPLACE w SET a = a + 1 WHERE c BETWEEN %lld AND %lld", (long long)key,
                (long long)key + 3);
        break;
    case 21:
        if (len < 20)
            attempt(db, "ALTER TABLE wc ADD COLUMN c%lld DEFAULT 'd'", (long long)key);
        break;
    case 22:
        if (len < 10)
            attempt(db, "DELETE FROM w; INSERT INTO w SELECT i, i, i FROM (SELECT id AS i FROM big)");
        break;
    case 23:
        if (len < 40)
            attempt(db, "DELETE FROM wc WHERE a < 'M'");
        break;
    default:
        if (!strcmp(tables[at], "r"))
            attempt(db, "UPDATE r SET x1 = x1 + 1 WHERE id = %lld", (long long)key);
        else
            attempt(db, "UPDATE OR IGNORE %s SET %s = " TEXT " WHERE %s = %lld", tables[at], columns[at], OF_LEN(len),
                    keys[at], (long long)key);
    }
}

static void change_file(const char *path, struct harness_random *random)
{
    sqlite3 *db = open_file(path);
    run(db, "PRAGMA secure_delete = %d; PRAGMA journal_mode = MEMORY", (int)harness_below(random, 2));
    for (uint64_t left = 1 + harness_below(random, 12); left; left--) {
        bool is_one = harness_below(random, 2);
        if (is_one)
            run(db, "BEGIN");
        for (uint64_t i = harness_below(random, 4); i; i--)
            change(db, random);
        if (is_one)
            run(db, harness_below(random, 8) ? "COMMIT" : "ROLLBACK");
    }
    if (!harness_below(random, 15))
        run(db, "ALTER TABLE k RENAME TO kk; ALTER TABLE f RENAME TO ff");
    if (!harness_below(random, 15))
        run(db, "VACUUM");
    if (!harness_below(random, 15))
        run(db, "ALTER TABLE wbig RENAME TO wbig2; ALTER TABLE wc RENAME COLUMN a TO aa");
    if (!harness_below(random, 40))
        run(db, "PRAGMA page_size = 2048; VACUUM");
    sqlite3_close(db);
}

static void copy_file(const char *from, const char *to)
{
    size_t len = 0;
    uint8_t *bytes = harness_read_file(from, &len);
    harness_write_file(to, bytes, len);
    free(bytes);
}

TEST(random_changes)
{
    uint64_t stories = harness_number("BOUGH_STORIES", 30), first = harness_number("BOUGH_SEED", 1);
    struct totals totals = {0};
    for (uint64_t seed = first; seed < first + stories; seed++) {
        struct harness_random random = {seed};
        char a[512], b[512];
        snprintf(a, sizeof a, "%s", harness_path("a.db"));
        snprintf(b, sizeof b, "%s", harness_path("b.db"));
        remove(a);
        make(a, &random);
        copy_file(a, b);
        change_file(b, &random);
        fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        check_pair(&totals, a, b);
        check_pair(&totals, b, a);
    }
    fprintf(stderr, "%llu tables, %llu with differences, %llu narrowed: %llu of %llu rows read\n",
            (unsigned long long)totals.tables, (unsigned long long)totals.differing,
            (unsigned long long)totals.narrowed, (unsigned long long)totals.read_narrow,
            (unsigned long long)totals.read_all);
    ck_assert_uint_gt(totals.differing, stories);
    ck_assert_uint_gt(totals.narrowed, stories);
    ck_assert_uint_lt(totals.read_narrow * 4, totals.read_all);
}

/* ---- bytes ---- */

/* Pages that the connection's pager has asked its file for. */
static uint64_t pages_of(sqlite3 *db)
{
    int now = 0, highest = 0;
    ck_assert_int_eq(sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_MISS, &now, &highest, 0), SQLITE_OK);
    return (uint64_t)now;
}

static uint64_t pages_to_count(struct pair *pair, const char *name, uint64_t changed)
{
    struct bough__row_counts counts = {0};
    bool narrowed = false;
    free(walk(&counts, pair, name, name, bough__tables_find(&pair->tables, name), &narrowed));
    ck_assert(narrowed);
    ck_assert_uint_eq(counts.changed, changed);
    return pages_of(pair->from) + pages_of(pair->to) + pair->tables.pages_read;
}

/* A page for each row: 32,000 pages. The pages above the leaves are a few for each thousand. */
static void check_one_row(const char *change_sql)
{
    static const char fill_sql[] =
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE u(k TEXT PRIMARY KEY NOT NULL, v);"
        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 16000) "
        "INSERT INTO t SELECT i, zeroblob(3000) FROM n; INSERT INTO u SELECT hex(id), v FROM t";
    char a[512], b[512];
    struct pair pair;
    snprintf(a, sizeof a, "%s", harness_path("a.db"));
    snprintf(b, sizeof b, "%s", harness_path("b.db"));
    sqlite3 *db = open_file(a);
    run(db, "PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; BEGIN; %s; COMMIT", fill_sql);
    sqlite3_close(db);
    copy_file(a, b);
    db = open_file(b);
    run(db, "%s", change_sql);
    sqlite3_close(db);
    pair_open(&pair, a, b);
    ck_assert_uint_eq(pair.tables.count, 2);
    ck_assert_uint_lt(pages_to_count(&pair, "t", 1), 32000 / 50);
    ck_assert_uint_lt(pages_to_count(&pair, "u", 1), 32000 / 50);
    pair_close(&pair);
}

/* Rows of a table without rowids stand on all pages of its tree, and rows of 50 bytes leave many of them above the
 * leaves. */
TEST(one_row_without_rowid)
{
    char a[512], b[512];
    struct pair pair;
    snprintf(a, sizeof a, "%s", harness_path("a.db"));
    snprintf(b, sizeof b, "%s", harness_path("b.db"));
    sqlite3 *db = open_file(a);
    run(db, "PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; BEGIN;"
            "CREATE TABLE w(a TEXT COLLATE NOCASE, b, v, PRIMARY KEY(b DESC, a)) WITHOUT ROWID; CREATE TABLE u(v);"
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 800000) "
            "INSERT INTO w SELECT 'key' || i, i / 10, hex(zeroblob(15)) FROM n; INSERT INTO u SELECT v FROM w; COMMIT");
    sqlite3_close(db);
    copy_file(a, b);
    db = open_file(b);
    run(db, "UPDATE w SET v = 'other' WHERE b = 55555 AND a = 'KEY555555'; UPDATE u SET v = 1 WHERE rowid = 99999");
    sqlite3_close(db);
    pair_open(&pair, a, b);
    struct stat size = {0};
    ck_assert_int_eq(stat(a, &size), 0);
    uint64_t all = 2 * (uint64_t)size.st_size / 4096;
    ck_assert_uint_gt(all, 30000);
    ck_assert_uint_eq(pair.tables.count, 2);
    uint64_t pages = pages_to_count(&pair, "w", 1);
    fprintf(stderr, "%llu of %llu pages read\n", (unsigned long long)pages, (unsigned long long)all);
    ck_assert_uint_lt(pages, all / 20);
    /* A multiset. */
    struct bough__row_counts counts = {0};
    bool narrowed = false;
    free(walk(&counts, &pair, "u", "u", bough__tables_find(&pair.tables, "u"), &narrowed));
    ck_assert(narrowed && counts.added == 1 && counts.removed == 1 && counts.read == 2);
    pair_close(&pair);
}

TEST(one_row_of_a_large_table)
{
    check_one_row("UPDATE t SET v = 'other' WHERE id = 7777; UPDATE u SET v = 1 WHERE rowid = 99");
}

/* Another name of a column leaves the rows where they are. */
TEST(one_row_under_renamed_columns)
{
    check_one_row("UPDATE t SET v = 'other' WHERE id = 7777; UPDATE u SET v = 1 WHERE rowid = 99;"
                  "ALTER TABLE t RENAME COLUMN id TO number; ALTER TABLE t RENAME COLUMN v TO w;"
                  "ALTER TABLE u RENAME COLUMN v TO w");
}

/* Overflow pages written over while their leaf stays: the row is found, and rows elsewhere are not read. */
TEST(overflow_written_over)
{
    char a[512], b[512];
    struct pair pair;
    struct totals totals = {0};
    snprintf(a, sizeof a, "%s", harness_path("a.db"));
    snprintf(b, sizeof b, "%s", harness_path("b.db"));
    sqlite3 *db = open_file(a);
    run(db, "PRAGMA page_size = 1024; CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE n(v);"
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 300) "
            "INSERT INTO t SELECT i, zeroblob(5000) FROM n; INSERT INTO n SELECT v FROM t");
    sqlite3_close(db);
    copy_file(a, b);
    db = open_file(b);
    run(db, "UPDATE t SET v = CAST(substr(v, 1, 4500) || zeroblob(499) || 'x' AS BLOB) WHERE id IN (7, 250);"
            "UPDATE n SET v = CAST(substr(v, 1, 2500) || 'x' || zeroblob(2499) AS BLOB) WHERE rowid = 44");
    sqlite3_close(db);
    pair_open(&pair, a, b);
    ck_assert_uint_eq(pair.differing, 3 + 1); /* the tails, and page 1 */
    const struct bough__table_pages *t = bough__tables_find(&pair.tables, "t");
    ck_assert(t && t->is_narrow && t->ranges.count == 2);
    ck_assert_int_eq(t->ranges.items[0].first, 7);
    ck_assert_int_eq(t->ranges.items[1].last, 250);
    const struct bough__table_pages *n = bough__tables_find(&pair.tables, "n");
    ck_assert(n && n->is_narrow && n->ranges.count == 1 && n->ranges.items[0].first == 44);
    pair_close(&pair);
    check_pair(&totals, a, b);
    ck_assert_uint_eq(totals.read_narrow, 2 * (2 + 1));
}

/* Of the rows on a page that differs, those are read whose bytes differ, wherever they stand; and a row with overflow
 * pages only where one of these differs. */
TEST(rows_of_a_page)
{
    char a[512], b[512];
    struct pair pair;
    struct totals totals = {0};
    snprintf(a, sizeof a, "%s", harness_path("a.db"));
    snprintf(b, sizeof b, "%s", harness_path("b.db"));
    sqlite3 *db = open_file(a);
    run(db, "PRAGMA page_size = 4096; CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE big(v);"
            "CREATE TABLE moved(id INTEGER PRIMARY KEY, v);"
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
            "INSERT INTO t SELECT i * 2, hex(i) || zeroblob(10) FROM n;"
            "INSERT INTO big SELECT v || hex(zeroblob(5000)) FROM t WHERE id <= 2000;"
            "INSERT INTO moved SELECT id, hex(zeroblob(25)) FROM t");
    sqlite3_close(db);
    copy_file(a, b);
    db = open_file(b);
    run(db, "UPDATE t SET v = 'other' WHERE id = 4000; DELETE FROM t WHERE id = 6000; INSERT INTO t VALUES (2001, 0);"
            "UPDATE big SET v = 'x' || substr(v, 2, 9000) || 'end' WHERE rowid = 500;"
            "UPDATE moved SET v = hex(zeroblob(400)) WHERE id = 5000;"
            "UPDATE moved SET v = hex(zeroblob(25)) WHERE id = 5000");
    sqlite3_close(db);
    pair_open(&pair, a, b);
    const struct bough__table_pages *t = bough__tables_find(&pair.tables, "t");
    ck_assert(t && t->is_narrow && t->ranges.count == 3);
    ck_assert_int_eq(t->ranges.items[0].first, 2001);
    ck_assert_int_eq(t->ranges.items[0].last, 2001);
    ck_assert_int_eq(t->ranges.items[2].last, 6000);
    const struct bough__table_pages *big = bough__tables_find(&pair.tables, "big");
    ck_assert(big && big->is_narrow && big->ranges.count == 1 && big->ranges.items[0].first == 500);
    ck_assert_int_eq(big->ranges.items[0].last, 500);
    /* Its pages were split and are not what they were; its rows are. */
    ck_assert_ptr_null(bough__tables_find(&pair.tables, "moved"));
    pair_close(&pair);
    check_pair(&totals, a, b);
    ck_assert_uint_eq(totals.read_narrow, 4 + 2);
}

/* The same of tables without rowids: a row is read where its bytes differ, or an overflow page of it, whether its own
 * page does or not; and keys may reach into overflow pages. */
TEST(rows_without_rowids)
{
    char a[512], b[512];
    struct pair pair;
    struct totals totals = {0};
    snprintf(a, sizeof a, "%s", harness_path("a.db"));
    snprintf(b, sizeof b, "%s", harness_path("b.db"));
    sqlite3 *db = open_file(a);
    run(db, "PRAGMA page_size = 1024; CREATE TABLE tail(k PRIMARY KEY, v) WITHOUT ROWID;"
            "CREATE TABLE both(k PRIMARY KEY, v) WITHOUT ROWID; CREATE TABLE far(k PRIMARY KEY, v) WITHOUT ROWID;"
            "CREATE TABLE moved(k PRIMARY KEY, v) WITHOUT ROWID;"
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 300) "
            "INSERT INTO tail SELECT hex(i), zeroblob(5000) FROM n; INSERT INTO both SELECT * FROM tail;"
            "INSERT INTO far SELECT hex(zeroblob(800)) || k, k FROM tail; INSERT INTO moved SELECT k, k FROM tail");
    sqlite3_close(db);
    copy_file(a, b);
    db = open_file(b);
    run(db, "UPDATE tail SET v = CAST(substr(v, 1, 4500) || zeroblob(499) || 'x' AS BLOB) WHERE k IN (hex(7), "
            "hex(250)); "
            "UPDATE both SET v = CAST(substr(v, 1, 4500) || zeroblob(499) || 'x' AS BLOB) WHERE k = hex(100);"
            "UPDATE both SET v = CAST('x' || zeroblob(4999) AS BLOB) WHERE k IN (hex(99), hex(101));"
            "UPDATE far SET v = 'x' WHERE v = hex(200);"
            "UPDATE moved SET v = hex(zeroblob(200)) WHERE k = hex(50); UPDATE moved SET v = k WHERE k = hex(50)");
    sqlite3_close(db);
    pair_open(&pair, a, b);
    ck_assert_uint_eq(bough__tables_find(&pair.tables, "tail")->keys.count, 2);
    ck_assert_uint_eq(bough__tables_find(&pair.tables, "both")->keys.count, 1 + 2 * 2);
    ck_assert_uint_eq(bough__tables_find(&pair.tables, "far")->keys.count, 2);
    ck_assert_ptr_null(bough__tables_find(&pair.tables, "moved"));
    pair_close(&pair);
    check_pair(&totals, a, b);
    ck_assert_uint_eq(totals.read_narrow, 2 * (2 + 3 + 1));
}

/* Every page differs, and few rows do. */
TEST(a_row_of_every_page)
{
    char a[512], b[512];
    struct pair pair;
    struct totals totals = {0};
    snprintf(a, sizeof a, "%s", harness_path("a.db"));
    snprintf(b, sizeof b, "%s", harness_path("b.db"));
    sqlite3 *db = open_file(a);
    run(db, "PRAGMA page_size = 4096; CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE all_of_it(v);"
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 10000) "
            "INSERT INTO t SELECT i, hex(zeroblob(80)) FROM n; INSERT INTO all_of_it SELECT v FROM t");
    sqlite3_close(db);
    copy_file(a, b);
    db = open_file(b);
    run(db, "UPDATE t SET v = hex(randomblob(80)) WHERE id %% 20 = 0 OR id %% 20 = 3; UPDATE all_of_it SET v = v || v");
    sqlite3_close(db);
    pair_open(&pair, a, b);
    const struct bough__table_pages *t = bough__tables_find(&pair.tables, "t");
    ck_assert(t && t->is_narrow);
    /* 3, then 20 with 23 and the two between them, and so on, but where a page ends between them. */
    ck_assert_int_eq(t->ranges.items[1].first, 20);
    ck_assert_int_eq(t->ranges.items[1].last, 23);
    ck_assert_uint_ge(t->ranges.count, 501);
    ck_assert_uint_lt(t->ranges.count, 600);
    ck_assert(!bough__tables_find(&pair.tables, "all_of_it")->is_narrow);
    pair_close(&pair);
    check_pair(&totals, a, b);
    ck_assert_uint_le(totals.read_narrow, 2 * (1 + 499 * 4 + 1));
}

/* The rows on pages that are the same, between two that differ, are not read. */
TEST(a_row_of_some_pages)
{
    char a[512], b[512];
    struct totals totals = {0};
    snprintf(a, sizeof a, "%s", harness_path("a.db"));
    snprintf(b, sizeof b, "%s", harness_path("b.db"));
    sqlite3 *db = open_file(a);
    run(db, "PRAGMA page_size = 4096; CREATE TABLE t(id INTEGER PRIMARY KEY, v);"
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
            "INSERT INTO t SELECT i, hex(zeroblob(80)) FROM n");
    sqlite3_close(db);
    copy_file(a, b);
    db = open_file(b);
    run(db, "UPDATE t SET v = hex(randomblob(80)) WHERE id %% 97 = 0");
    sqlite3_close(db);
    check_pair(&totals, a, b);
    ck_assert_uint_eq(totals.read_narrow, 2 * (20000 / 97));
}

int main(void)
{
    const struct harness_case cases[] = {CASE(random_changes),           CASE(one_row_without_rowid),
                                         CASE(one_row_of_a_large_table), CASE(one_row_under_renamed_columns),
                                         CASE(overflow_written_over),    CASE(rows_of_a_page),
                                         CASE(rows_without_rowids),      CASE(a_row_of_every_page),
                                         CASE(a_row_of_some_pages)};
    return harness_run("compare_narrow", cases, COUNT_OF(cases));
}
