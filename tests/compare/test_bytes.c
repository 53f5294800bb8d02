/* test_bytes.c - how many bytes are read to find one row that changed in a database of 1 GB. */
#include "harness.h"

#include "outcome.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK ((size_t)1 << 20)
#define PAGE  4096

static sqlite3 *open_file(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &message) == SQLITE_OK, "%s", message);
    return db;
}

static void copy_file(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    char *chunk = malloc(CHUNK);
    ck_assert(in && out && chunk);
    for (size_t len = 0; (len = fread(chunk, 1, CHUNK, in)) > 0;)
        ck_assert_uint_eq(fwrite(chunk, 1, len, out), len);
    ck_assert(!ferror(in) && fclose(out) == 0);
    fclose(in);
    free(chunk);
}

/* Returns the size of both, which have one length. */
static uint64_t list_differing(struct bough__pages *out, const char *from, const char *to)
{
    FILE *a = fopen(from, "rb"), *b = fopen(to, "rb");
    char *x = malloc(CHUNK), *y = malloc(CHUNK);
    uint64_t size = 0;
    ck_assert(a && b && x && y);
    for (size_t len = 0; (len = fread(x, 1, CHUNK, a)) > 0; size += len) {
        ck_assert_uint_eq(fread(y, 1, CHUNK, b), len);
        for (size_t at = 0; memcmp(x, y, len) != 0 && at < len; at += PAGE)
            ck_assert(!memcmp(x + at, y + at, PAGE) || bough__pages_add(out, (size + at) / PAGE + 1));
    }
    ck_assert_uint_eq(fread(y, 1, 1, b), 0);
    fclose(a);
    fclose(b);
    free(x);
    free(y);
    return size;
}

/* What this process has got from read() and its kind. */
static uint64_t bytes_read(void)
{
    FILE *file = fopen("/proc/self/io", "r");
    unsigned long long bytes = 0;
    ck_assert(file != NULL);
    ck_assert_int_eq(fscanf(file, "rchar: %llu", &bytes), 1);
    fclose(file);
    return bytes;
}

TEST(one_row_in_a_gigabyte)
{
    char a[512], b[512];
    struct bough__pages pages = {0};
    struct bough__outcome outcome;
    sqlite3 *failed = NULL;
    snprintf(a, sizeof a, "%s", harness_path("a.db"));
    snprintf(b, sizeof b, "%s", harness_path("b.db"));
    sqlite3_close(open_file(a,
                            "PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                            "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE small(a, b); BEGIN;"
                            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 262144) "
                            "INSERT INTO t SELECT i, zeroblob(3900) FROM n; INSERT INTO small VALUES (1, 2); COMMIT"));
    copy_file(a, b);
    sqlite3_close(open_file(b, "PRAGMA synchronous = OFF; UPDATE t SET v = 'other' WHERE id = 200000"));
    uint64_t size = list_differing(&pages, a, b);
    ck_assert_uint_gt(size, UINT64_C(1) << 30);
    sqlite3 *from = open_file(a, "BEGIN; SELECT count(*) FROM sqlite_schema");
    sqlite3 *to = open_file(b, "BEGIN; SELECT count(*) FROM sqlite_schema");
    uint64_t before = bytes_read();
    ck_assert_int_eq(bough__outcome_compare(&outcome, &failed, from, to, &pages, NULL), SQLITE_OK);
    uint64_t read = bytes_read() - before;
    fprintf(stderr, "%llu of %llu bytes read\n", (unsigned long long)read, (unsigned long long)(2 * size));
    ck_assert_uint_eq(outcome.table_count, 1);
    ck_assert_str_eq(outcome.tables[0].name, "t");
    ck_assert_uint_eq(outcome.tables[0].counts.changed, 1);
    ck_assert_uint_eq(outcome.tables[0].counts.read, 2);
    /* The pages above the leaves, of both sides: two or three for each thousand. That they are counted at all: */
    ck_assert_uint_gt(read, size / 1000);
    ck_assert_uint_lt(read, size / 128);
    bough__outcome_release(&outcome);
    bough__pages_release(&pages);
    sqlite3_close(from);
    sqlite3_close(to);
}

int main(void)
{
    const struct harness_case cases[] = {CASE(one_row_in_a_gigabyte)};
    return harness_run("compare_bytes", cases, COUNT_OF(cases));
}
