/* forks.c - forks: in-process and by command, at several sizes, among many branches, after a bulk load; and the first
 * query on a fresh one. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEADY_RATIO 1.3
#define FLOOR_RATIO  2.5

static double timed_fork(bough_store *store, const char *prefix, unsigned number, const char *from)
{
    char name[64];
    snprintf(name, sizeof(name), "%s%u", prefix, number);
    double begin = bench_now();
    bench_fork(store, name, from);
    return bench_now() - begin;
}

static void size_text(char out[32], uint64_t size_bytes)
{
    if (size_bytes >= 1000000000)
        snprintf(out, 32, "%.3g GB", (double)size_bytes / 1e9);
    else
        snprintf(out, 32, "%.3g MB", (double)size_bytes / 1e6);
}

void bench_forks(const struct bench *bench)
{
    static const char work[] = "fork, in-process, durable";
    bough_store *stores[3];
    char *paths[3], sizes[3][32], name[160];
    for (int i = 0; i < 3; i++) {
        paths[i] = bench_path(bench, "fork%d.bough", i);
        stores[i] = bench_store_init(paths[i], bench_shop_file(bench, bench->sizes_bytes[i]));
        size_text(sizes[i], bench->sizes_bytes[i]);
    }
    for (unsigned turn = 0; turn < bench->forks; turn++) {
        for (int i = 0; i < 3; i++)
            bench_sample(work, sizes[i], BENCH_SECONDS, timed_fork(stores[i], "f", turn, "main"));
        bench_sample(work, "overwrite+sync", BENCH_SECONDS, bench_overwrite(bench));
    }
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "durable fork, in-process, p50, %s / overwrite of 4 KB + fdatasync", sizes[i]);
        bench_target_ratio(name, work, sizes[i], work, "overwrite+sync", FLOOR_RATIO, 0, "speed table");
    }
    snprintf(name, sizeof(name), "the same at %s / at %s", sizes[2], sizes[0]);
    bench_target_ratio(name, work, sizes[2], work, sizes[0], STEADY_RATIO, 0, "speed table");
    for (int i = 0; i < 3; i++) {
        bough_store_close(stores[i]);
        bench_remove_tree(paths[i]);
        free(paths[i]);
    }
}

void bench_fork_command(const struct bench *bench)
{
    static const char work[] = "fork, as a command";
    char *paths[3], sizes[3][32], labels[3][64], queries[3][64], name[160];
    const char *files[3];
    if (!bench_has_program("sqlite3")) {
        bench_note("no sqlite3 shell: the fork as a command has nothing to stand beside");
        return;
    }
    for (int i = 0; i < 3; i++) {
        files[i] = bench_shop_file(bench, bench->sizes_bytes[i]);
        paths[i] = bench_path(bench, "command%d.bough", i);
        bough_store_close(bench_store_init(paths[i], files[i]));
        size_text(sizes[i], bench->sizes_bytes[i]);
        snprintf(labels[i], sizeof(labels[i]), "bough branch, %s", sizes[i]);
        snprintf(queries[i], sizeof(queries[i]), "select 1, %s", sizes[i]);
    }
    for (unsigned turn = 0; turn < (bench->forks + 3) / 4; turn++) {
        char branch[32];
        snprintf(branch, sizeof(branch), "c%u", turn);
        for (int i = 0; i < 3; i++) {
            const char *const fork[] = {bench->bough, "-s", paths[i], "branch", branch, "main", NULL};
            const char *const query[] = {"sqlite3", files[i], "select 1", NULL};
            bench_sample(work, labels[i], BENCH_SECONDS, bench_run_timed(fork));
            bench_sample(work, queries[i], BENCH_SECONDS, bench_run_timed(query));
        }
        const char *const version[] = {bench->bough, "--version", NULL};
        bench_sample(work, "bough --version", BENCH_SECONDS, bench_run_timed(version));
    }
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "`bough branch` / `sqlite3 FILE 'select 1'`, %s", sizes[i]);
        bench_target_ratio(name, work, labels[i], work, queries[i], 2, 0, "speed table");
        bench_remove_tree(paths[i]);
        free(paths[i]);
    }
}

/* Brings a store to that many branches, a thousand in a call. */
static void fill_branches(bough_store *store, unsigned count)
{
    enum { BATCH = 1000 };
    static char names[BATCH][24];
    const char *pointers[BATCH];
    for (unsigned made = 1; made < count;) {
        unsigned batch = count - made < BATCH ? count - made : BATCH;
        bough_branches out = {0};
        for (unsigned i = 0; i < batch; i++) {
            snprintf(names[i], sizeof(names[i]), "many/%u", made + i);
            pointers[i] = names[i];
        }
        bench_check(bough_branch_create(&out, store, pointers, batch, "main", NULL), "many branches");
        bough_branches_release(&out);
        made += batch;
    }
}

void bench_fork_branches(const struct bench *bench)
{
    static const char work[] = "fork among other branches";
    const char *file = bench_shop_file(bench, bench->sizes_bytes[0]);
    unsigned counts[2] = {10, bench->many_branches};
    bough_store *stores[2];
    char *paths[2], labels[2][32], name[96];
    for (int i = 0; i < 2; i++) {
        paths[i] = bench_path(bench, "many%d.bough", i);
        stores[i] = bench_store_init(paths[i], file);
        fill_branches(stores[i], counts[i]);
        snprintf(labels[i], sizeof(labels[i]), "%u branches", counts[i]);
    }
    for (unsigned turn = 0; turn < bench->forks; turn++)
        for (int i = 0; i < 2; i++)
            bench_sample(work, labels[i], BENCH_SECONDS, timed_fork(stores[i], "f", turn, "main"));
    snprintf(name, sizeof(name), "fork with %u branches / with %u", counts[1], counts[0]);
    bench_target_ratio(name, work, labels[1], work, labels[0], STEADY_RATIO, 0, "speed table");
    for (int i = 0; i < 2; i++) {
        bough_store_close(stores[i]);
        bench_remove_tree(paths[i]);
        free(paths[i]);
    }
}

static void load_rows(sqlite3 *db, uint64_t size_bytes)
{
    enum { ROW = 980 };
    char text[ROW];
    bench_exec(db, "CREATE TABLE load(id INTEGER PRIMARY KEY, body BLOB); BEGIN");
    sqlite3_stmt *insert = bench_prepare(db, "INSERT INTO load VALUES(?, ?)");
    for (uint64_t i = 0; i < size_bytes / 1000; i++) {
        for (size_t j = 0; j + 8 <= sizeof(text); j += 8) {
            uint64_t word = bench_mix(i * ROW + j);
            memcpy(text + j, &word, 8);
        }
        sqlite3_bind_int64(insert, 1, (sqlite3_int64)i);
        sqlite3_bind_blob(insert, 2, text, ROW, SQLITE_STATIC);
        bench_check_sql(db, sqlite3_step(insert), "load");
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    bench_exec(db, "COMMIT");
}

void bench_fork_bulk(const struct bench *bench)
{
    char work[96], size[32];
    size_text(size, bench->sizes_bytes[2]);
    snprintf(work, sizeof(work), "fork right after %s of rows in one transaction", size);
    unsigned rounds = bench->rounds < 3 ? bench->rounds : 3;
    for (unsigned round = 0; round < rounds; round++) {
        char *path = bench_path(bench, "bulk.bough");
        bough_store *store = bench_store_empty(path);
        sqlite3 *db = bench_open_branch(store, "main", BOUGH_AT_FULL);
        double begin = bench_now();
        load_rows(db, bench->sizes_bytes[2]);
        bench_sample(work, "(the load)", BENCH_SECONDS, bench_now() - begin);
        bench_sample(work, "bough", BENCH_SECONDS, timed_fork(store, "first", round, "main"));
        bench_sample(work, "again, then clean", BENCH_SECONDS, timed_fork(store, "second", round, "main"));
        bench_close(db);
        bough_store_close(store);
        bench_remove_tree(path);
        free(path);
    }
    bench_target_limit(work, work, "bough", 0.025, "speed table");
}

static void first_query(sqlite3 *db, uint64_t n)
{
    sqlite3_stmt *select = bench_prepare(db, "SELECT note FROM orders WHERE id = ?");
    sqlite3_bind_int64(select, 1, (sqlite3_int64)(n % 2000) + 1);
    bench_check_sql(db, sqlite3_step(select), "first query");
    sqlite3_finalize(select);
}

void bench_open_first(const struct bench *bench)
{
    char work[96], size[32];
    for (int i = 0; i < 3; i += 2) {
        const char *file = bench_shop_file(bench, bench->sizes_bytes[i]);
        char *path = bench_path(bench, "open.bough"), *wal = bench_path(bench, "open.db");
        bough_store *store = bench_store_init(path, file);
        const char *const copy[] = {"cp", file, wal, NULL};
        bench_run_timed(copy);
        size_text(size, bench->sizes_bytes[i]);
        snprintf(work, sizeof(work), "open, first query, close at %s", size);
        for (unsigned turn = 0; turn < bench->forks; turn++) {
            char name[32];
            snprintf(name, sizeof(name), "o%u", turn);
            bench_fork(store, name, "main");
            char *uri = bench_branch_uri(store, name);
            for (int kind = 0; kind < 3; kind++) {
                static const enum bench_variant variants[3] = {STOCK_DELETE_FULL, STOCK_WAL_FULL, BOUGH_AT_FULL};
                enum bench_variant variant = variants[(turn + (unsigned)kind) % 3];
                double begin = bench_now();
                const char *opened = variant == STOCK_DELETE_FULL ? file : variant == STOCK_WAL_FULL ? wal : uri;
                sqlite3 *db = bench_open(opened, variant);
                first_query(db, bench_mix(turn));
                bench_close(db);
                const char *label = variant == BOUGH_AT_FULL ? "bough, fresh fork" : bench_variant_names[variant];
                bench_sample(work, label, BENCH_SECONDS, bench_now() - begin);
            }
            free(uri);
        }
        bough_store_close(store);
        bench_remove_tree(path);
        bench_remove_tree(wal);
        free(path);
        free(wal);
    }
}
