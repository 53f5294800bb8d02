/* depth.c - a chain of forks, each with a change of its own: forking and reading at its end cost what they cost at its
 * beginning. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

static void change_one_row(bough_store *store, const char *branch, unsigned number)
{
    sqlite3 *db = bench_open_branch(store, branch, BOUGH_AT_NORMAL);
    char sql[128];
    snprintf(sql, sizeof(sql), "UPDATE orders SET total_cents = total_cents + 1 WHERE id = %u", number);
    bench_exec(db, sql);
    bench_close(db);
}

static void make_chain(bough_store *store, unsigned depth)
{
    char from[32] = "main", name[32];
    for (unsigned i = 1; i <= depth; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        bench_fork(store, name, from);
        change_one_row(store, name, i);
        snprintf(from, sizeof(from), "%s", name);
    }
}

static double time_selects(sqlite3 *db, unsigned count, uint64_t seed)
{
    uint64_t orders = (uint64_t)bench_query_int(db, "SELECT max(id) FROM orders");
    sqlite3_stmt *select = bench_prepare(db, "SELECT note FROM orders WHERE id = ?");
    double begin = bench_clock();
    for (unsigned i = 0; i < count; i++) {
        sqlite3_bind_int64(select, 1, (sqlite3_int64)(bench_mix(seed + i) % orders) + 1);
        bench_check_sql(db, sqlite3_step(select), "select");
        sqlite3_reset(select);
    }
    double seconds = bench_clock() - begin;
    sqlite3_finalize(select);
    return seconds;
}

/* The work's samples at several depths; the ends are compared. */
static void measure_selects(const struct bench *bench, bough_store *store)
{
    const unsigned depths[3] = {1, bench->depth / 10, bench->depth};
    sqlite3 *connections[3];
    char work[96], labels[3][32], name[96];
    unsigned count = bench->selects / 4;
    snprintf(work, sizeof(work), "%u point selects on a branch", count);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "d%u", depths[i]);
        connections[i] = bench_open_branch(store, name, BOUGH_AT_FULL);
        time_selects(connections[i], count, 0);
        snprintf(labels[i], sizeof(labels[i]), "depth %u", depths[i]);
    }
    for (unsigned turn = 0; turn < bench->rounds * 3; turn++)
        for (unsigned i = 0; i < 3; i++) {
            unsigned at = (turn + i) % 3;
            bench_sample(work, labels[at], BENCH_SECONDS, time_selects(connections[at], count, turn * 1000000));
        }
    for (int i = 0; i < 3; i++)
        bench_close(connections[i]);
    snprintf(name, sizeof(name), "point selects at %s / %s", labels[2], labels[0]);
    bench_target_ratio(name, work, labels[2], work, labels[0], 1.05, 0, "speed table");
}

static void measure_forks(const struct bench *bench, bough_store *store)
{
    static const char work[] = "fork in a chain of branches";
    const unsigned depths[2] = {1, bench->depth};
    char from[2][32], labels[2][32], name[96];
    for (int i = 0; i < 2; i++) {
        snprintf(from[i], sizeof(from[i]), "d%u", depths[i]);
        snprintf(labels[i], sizeof(labels[i]), "depth %u", depths[i]);
        snprintf(name, sizeof(name), "seal%d", i); /* the first fork of each commits its change */
        bench_fork(store, name, from[i]);
    }
    for (unsigned turn = 0; turn < bench->forks; turn++)
        for (int i = 0; i < 2; i++) {
            snprintf(name, sizeof(name), "x%d/%u", i, turn);
            double begin = bench_now();
            bench_fork(store, name, from[i]);
            bench_sample(work, labels[i], BENCH_SECONDS, bench_now() - begin);
        }
    snprintf(name, sizeof(name), "fork at %s / %s", labels[1], labels[0]);
    bench_target_ratio(name, work, labels[1], work, labels[0], 1.3, 0, "speed table");
}

void bench_depth(const struct bench *bench)
{
    char *path = bench_path(bench, "depth.bough");
    bough_store *store = bench_store_init(path, bench_shop_file(bench, bench->sizes_bytes[0]));
    double begin = bench_now();
    make_chain(store, bench->depth);
    bench_sample("fork + open + one-row update + close, in a chain", "bough", BENCH_SECONDS,
                 (bench_now() - begin) / bench->depth);
    measure_selects(bench, store);
    measure_forks(bench, store);
    bough_store_close(store);
    bench_remove_tree(path);
    free(path);
}
