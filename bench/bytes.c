/* bytes.c - what a fork takes on disk after everything is closed: alone, and with one row changed. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A rowid table without an index in pages of 4 KiB. */
static void make_plain_file(const char *path)
{
    unlink(path);
    sqlite3 *db = bench_open(path, STOCK_DELETE_FULL);
    bench_exec(db, "PRAGMA page_size=4096; CREATE TABLE plain(id INTEGER PRIMARY KEY, value INTEGER, body TEXT);"
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
                   "INSERT INTO plain SELECT i, i, printf('%0100d', i) FROM n");
    bench_close(db);
}

static uint64_t closed_bytes(const char *store_path)
{
    bench_catalog_checkpoint(store_path);
    return bench_disk_bytes(store_path);
}

static double grow_store(const char *path, unsigned count, bool update)
{
    uint64_t before = closed_bytes(path);
    bough_store *store = bench_store_open(path);
    for (unsigned i = 0; i < count; i++) {
        char name[32], sql[96];
        snprintf(name, sizeof(name), "%s/%u", update ? "changed" : "fork", i);
        bench_fork(store, name, "main");
        if (!update)
            continue;
        sqlite3 *db = bench_open_branch(store, name, BOUGH_AT_FULL);
        snprintf(sql, sizeof(sql), "UPDATE plain SET value = -1 WHERE id = %u", i * 17 % 20000 + 1);
        bench_exec(db, sql);
        bench_close(db);
    }
    bough_store_close(store);
    return (double)(closed_bytes(path) - before) / count;
}

void bench_bytes(const struct bench *bench)
{
    unsigned forks = 1000, updates = bench->quick ? 50 : 200;
    char *file = bench_path(bench, "plain.db"), *path = bench_path(bench, "bytes.bough");
    make_plain_file(file);
    bough_store_close(bench_store_init(path, file));
    bench_sample("bytes on disk, a fork (average of 1,000)", "bough", BENCH_BYTES, grow_store(path, forks, false));
    bench_sample("bytes on disk, a fork + one-row update", "bough", BENCH_BYTES, grow_store(path, updates, true));
    bench_target_limit("bytes on disk after the last close: a fork", "bytes on disk, a fork (average of 1,000)",
                       "bough", 1024, "speed table");
    bench_target_limit("bytes on disk after the last close: a fork + one-row update",
                       "bytes on disk, a fork + one-row update", "bough", 20 * 1024, "speed table");
    bench_remove_tree(path);
    unlink(file);
    free(path);
    free(file);
}
