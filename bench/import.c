/* import.c - a database into a store, beside what reading, writing and hashing its bytes once takes. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static double time_init(const char *path, const char *file)
{
    bough_transfer made = {0};
    bench_remove_tree(path);
    double begin = bench_now();
    bench_check(bough_store_init(&made, file, path, NULL), "init");
    double seconds = bench_now() - begin;
    bough_transfer_release(&made);
    return seconds;
}

static double time_import(const char *path, const char *file)
{
    bough_store *store = bench_store_empty(path);
    bough_transfer made = {0};
    double begin = bench_now();
    bench_check(bough_import(&made, store, "main", file, NULL), "import");
    double seconds = bench_now() - begin;
    bough_transfer_release(&made);
    bough_store_close(store);
    return seconds;
}

static double time_export(const char *path, const char *file)
{
    bough_store *store = bench_store_open(path);
    bough_transfer made = {0};
    unlink(file);
    double begin = bench_now();
    bench_check(bough_export(&made, store, "main", file, NULL), "export");
    double seconds = bench_now() - begin;
    bough_transfer_release(&made);
    bough_store_close(store);
    return seconds;
}

static double time_copy(const char *file, const char *copy)
{
    const char *const argv[] = {"cp", file, copy, NULL};
    unlink(copy);
    double begin = bench_now();
    bench_run_timed(argv);
    bench_sync_file(copy);
    return bench_now() - begin;
}

void bench_import(const struct bench *bench)
{
    const char *file = bench_shop_file(bench, bench->sizes_bytes[2]);
    char *path = bench_path(bench, "import.bough"), *copy = bench_path(bench, "import-copy.db"), work[96], name[128];
    snprintf(work, sizeof(work), "import of %.4g MB", (double)bench->sizes_bytes[2] / 1e6);
    for (unsigned round = 0; round < bench->rounds; round++) {
        const char *const digest[] = {"openssl", "dgst", "-sha256", file, NULL};
        double copied = time_copy(file, copy), hashed = bench_run_timed(digest);
        bench_sample(work, "bough init", BENCH_SECONDS, time_init(path, file));
        bench_sample(work, "bough export", BENCH_SECONDS, time_export(path, copy));
        bench_sample(work, "bough import", BENCH_SECONDS, time_import(path, file));
        bench_sample(work, "cp + sync", BENCH_SECONDS, copied);
        bench_sample(work, "openssl dgst", BENCH_SECONDS, hashed);
        bench_sample(work, "cp + sync + dgst", BENCH_SECONDS, copied + hashed);
    }
    snprintf(name, sizeof(name), "init / (`cp` with sync + `openssl dgst -sha256`)");
    bench_target_ratio(name, work, "bough init", work, "cp + sync + dgst", 1.5, 0, "speed table");
    snprintf(name, sizeof(name), "import / (`cp` with sync + `openssl dgst -sha256`)");
    bench_target_ratio(name, work, "bough import", work, "cp + sync + dgst", 1.5, 0, "speed table");
    bench_remove_tree(path);
    unlink(copy);
    free(path);
    free(copy);
}
