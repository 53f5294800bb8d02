/* test_workload.c - many small tests of SQL give the same rows, and leave the same bytes, on a plain file and on a
 * branch. */
#include "harness.h"
#include "twin.h"
#include "workload.h"

#include <stdio.h>
#include <string.h>

struct trace {
    uint64_t hashes[128];
    char names[128][64];
    unsigned count;
};

static void note_step(void *context, const char *name, uint64_t hash, uint64_t row_count)
{
    struct trace *trace = context;
    (void)row_count;
    ck_assert_uint_lt(trace->count, COUNT_OF(trace->hashes));
    trace->hashes[trace->count] = hash;
    snprintf(trace->names[trace->count++], sizeof(trace->names[0]), "%s", name);
}

static void run_one(struct trace *out, uint64_t *out_hash, sqlite3 *db, unsigned scale)
{
    memset(out, 0, sizeof(*out));
    int rc = workload_run(out_hash, db, scale, note_step, out);
    ck_assert_msg(rc == SQLITE_OK, "step after '%s': %s", out->count > 0 ? out->names[out->count - 1] : "",
                  sqlite3_errmsg(db));
}

static void compare(const char *pragmas, unsigned scale)
{
    static struct trace plain, branch;
    struct twin twin;
    uint64_t plain_hash = 0, branch_hash = 0;
    twin_start(&twin, NULL, pragmas);
    twin_exec(&twin, pragmas);
    run_one(&plain, &plain_hash, twin.plain, scale);
    run_one(&branch, &branch_hash, twin.branch, scale);
    for (unsigned i = 0; i < plain.count; i++)
        ck_assert_msg(plain.hashes[i] == branch.hashes[i], "%s: rows differ in '%s'", pragmas, plain.names[i]);
    ck_assert_uint_eq(plain_hash, branch_hash);
    twin_compare(&twin);
    twin_stop(&twin);
}

TEST(with_a_large_cache)
{
    compare("PRAGMA page_size=4096", 6);
}
TEST(with_a_small_cache)
{
    compare("PRAGMA page_size=1024; PRAGMA cache_size=20", 4);
}
TEST(with_auto_vacuum)
{
    compare("PRAGMA page_size=8192; PRAGMA auto_vacuum=FULL; PRAGMA cache_size=30", 4);
}
TEST(with_exclusive_locking)
{
    compare("PRAGMA locking_mode=EXCLUSIVE; PRAGMA temp_store=MEMORY", 4);
}

int main(void)
{
    static const struct harness_case cases[] = {CASE(with_a_large_cache), CASE(with_a_small_cache),
                                                CASE(with_auto_vacuum), CASE(with_exclusive_locking)};
    return harness_run("oracle_workload", cases, COUNT_OF(cases));
}
