/* differences.c - bough diff beside sqldiff, when little changed and when everything did. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FEW_ROWS = 1000 };

static void change(bough_store *store, const char *branch, const char *sql)
{
    bench_fork(store, branch, "main");
    sqlite3 *db = bench_open_branch(store, branch, BOUGH_AT_FULL);
    bench_exec(db, sql);
    bench_close(db);
}

static void export_to(bough_store *store, const char *branch, const char *file)
{
    bough_transfer made = {0};
    bench_check(bough_export(&made, store, branch, file, NULL), "export");
    bough_transfer_release(&made);
}

/* sqldiff says which rows differ, and with --summary how many; the first is the quicker of the two. */
static void compare(const struct bench *bench, bough_store *store, const char *work, const char *branch,
                    const char *file)
{
    char *copy = bench_path(bench, "%s.db", branch);
    const char *const ours[] = {bench->bough, "-s", bough_store_path(store), "diff", "main", branch, "--stat", NULL};
    const char *const rows[] = {"sqldiff", file, copy, NULL};
    const char *const summary[] = {"sqldiff", "--summary", file, copy, NULL};
    export_to(store, branch, copy);
    for (unsigned round = 0; round < bench->rounds; round++) {
        bench_sample(work, "bough diff --stat", BENCH_SECONDS, bench_run_timed(ours));
        bench_sample(work, "sqldiff", BENCH_SECONDS, bench_run_timed(rows));
        bench_sample(work, "sqldiff --summary", BENCH_SECONDS, bench_run_timed(summary));
    }
    unlink(copy);
    free(copy);
}

void bench_differences(const struct bench *bench)
{
    static const char few[] = "difference of 1,000 rows", all[] = "difference of all rows";
    const char *file = bench_shop_file(bench, bench->sizes_bytes[2]);
    if (!bench_has_program("sqldiff")) {
        bench_note("no sqldiff: differences have nothing to stand beside");
        return;
    }
    char *path = bench_path(bench, "differences.bough");
    bough_store *store = bench_store_init(path, file);
    sqlite3 *db = bench_open_branch(store, "main", BOUGH_AT_FULL);
    int64_t step = bench_query_int(db, "SELECT max(id) FROM orders") / FEW_ROWS;
    char *some = bench_format("UPDATE orders SET total_cents = total_cents + 1 WHERE id %% %lld = 0 AND id <= %lld",
                              (long long)step, (long long)step * FEW_ROWS);
    bench_close(db);
    change(store, "few", some);
    change(store, "all", "UPDATE orders SET total_cents = total_cents + 1; UPDATE users SET city = city || '!'");
    compare(bench, store, few, "few", file);
    compare(bench, store, all, "all", file);
    bench_target_ratio("`diff --stat` / `sqldiff`, 1,000 rows", few, "bough diff --stat", few, "sqldiff", 0.05, 0,
                       "differences");
    bench_target_ratio("`diff --stat` / `sqldiff`, all rows", all, "bough diff --stat", all, "sqldiff", 1, 0,
                       "differences");
    bough_store_close(store);
    bench_remove_tree(path);
    free(some);
    free(path);
}
