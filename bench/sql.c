/* sql.c - SQL on an open database: the same statements under every variant, in turn, each round on a fresh database. */
#include "bench.h"
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a page that is read may take beyond the ratio: its checksum. */
#define SECONDS_PER_PAGE 0.5e-6
/* How far the engine may stay behind the ratios that were measured before it checked and hashed. */
#define SLACK 1.1

/* The parts of a row do not matter much; their sizes do: about 100 bytes a row. */
void bench_fill_items(sqlite3 *db, unsigned count)
{
    char text[96];
    bench_exec(db, "CREATE TABLE item(id INTEGER PRIMARY KEY, sku INTEGER, price REAL, name TEXT); BEGIN");
    sqlite3_stmt *insert = bench_prepare(db, "INSERT INTO item VALUES(?, ?, ?, ?)");
    for (unsigned i = 1; i <= count; i++) {
        uint64_t n = bench_mix(i);
        int len = snprintf(text, sizeof(text), "item %016llx of the catalogue, in a box of %u, ready to ship in a day",
                           (unsigned long long)n, (unsigned)(n % 1000));
        sqlite3_bind_int64(insert, 1, i);
        sqlite3_bind_int64(insert, 2, (sqlite3_int64)(n >> 20));
        sqlite3_bind_double(insert, 3, (double)(n % 100000) / 100);
        sqlite3_bind_text(insert, 4, text, len, SQLITE_STATIC);
        bench_check_sql(db, sqlite3_step(insert), "bulk insert");
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    bench_exec(db, "COMMIT");
}

static void one_row_transactions(sqlite3 *db, unsigned count)
{
    sqlite3_stmt *insert = bench_prepare(db, "INSERT INTO entry(body) VALUES(?)");
    for (unsigned i = 0; i < count; i++) {
        sqlite3_bind_text(insert, 1, "a line in a journal of some length, as a program would write it", -1,
                          SQLITE_STATIC);
        bench_check_sql(db, sqlite3_step(insert), "one row");
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
}

static void point_selects(sqlite3 *db, const char *sql, uint64_t rows, unsigned count)
{
    sqlite3_stmt *select = bench_prepare(db, sql);
    for (unsigned i = 0; i < count; i++) {
        sqlite3_bind_int64(select, 1, (sqlite3_int64)(bench_mix(i) % rows) + 1);
        bench_check_sql(db, sqlite3_step(select), "select");
        sqlite3_reset(select);
    }
    sqlite3_finalize(select);
}

static void random_updates(sqlite3 *db, uint64_t rows, unsigned count)
{
    bench_exec(db, "BEGIN");
    sqlite3_stmt *update = bench_prepare(db, "UPDATE item SET price = price + 1 WHERE id = ?");
    for (unsigned i = 0; i < count; i++) {
        sqlite3_bind_int64(update, 1, (sqlite3_int64)(bench_mix(i + 7777777) % rows) + 1);
        bench_check_sql(db, sqlite3_step(update), "update");
        sqlite3_reset(update);
    }
    sqlite3_finalize(update);
    bench_exec(db, "COMMIT");
}

enum step { ONE_ROW, BULK, SELECTS_EACH, SELECTS_ONE, UPDATES, SCAN, STEP_COUNT };

static void run_step(enum step step, sqlite3 *db, const struct bench *bench)
{
    static const char select[] = "SELECT name FROM item WHERE id = ?";
    switch (step) {
    case ONE_ROW:
        one_row_transactions(db, bench->transactions);
        break;
    case BULK:
        bench_fill_items(db, bench->rows);
        break;
    case SELECTS_EACH:
        point_selects(db, select, bench->rows, bench->selects);
        break;
    case SELECTS_ONE:
        bench_exec(db, "BEGIN");
        point_selects(db, select, bench->rows, bench->selects);
        bench_exec(db, "COMMIT");
        break;
    case UPDATES:
        random_updates(db, bench->rows, bench->updates);
        break;
    case SCAN:
        bench_query_int(db, "SELECT sum(sku) FROM item");
        break;
    default:
        break;
    }
}

static void name_steps(char works[STEP_COUNT][64], const struct bench *bench)
{
    snprintf(works[ONE_ROW], 64, "%u one-row transactions", bench->transactions);
    snprintf(works[BULK], 64, "bulk insert of %u rows", bench->rows);
    snprintf(works[SELECTS_EACH], 64, "%u point selects, a transaction each", bench->selects);
    snprintf(works[SELECTS_ONE], 64, "%u point selects, one transaction", bench->selects);
    snprintf(works[UPDATES], 64, "%u random updates, one transaction", bench->updates);
    snprintf(works[SCAN], 64, "full scan of %u rows", bench->rows);
}

static void sample_step(char works[STEP_COUNT][64], enum step step, sqlite3 *db, enum bench_variant variant,
                        const struct bench *bench)
{
    bench_pages_read(db);
    double begin = bench_clock();
    run_step(step, db, bench);
    double seconds = bench_clock() - begin;
    bench_sample(works[step], bench_variant_names[variant], BENCH_SECONDS, seconds);
    if (variant == BOUGH_AT_FULL)
        bench_sample(works[step], "(pages read)", BENCH_COUNT, bench_pages_read(db));
}

/* A new database for the variant: a plain file, or a branch of the store of an empty database. */
static sqlite3 *fresh_database(const struct bench *bench, bough_store *store, enum bench_variant variant,
                               unsigned round, char **out_path)
{
    char branch[48];
    *out_path = NULL;
    if (bench_variant_is_bough(variant)) {
        snprintf(branch, sizeof(branch), "v%d/%u", (int)variant, round);
        bench_fork(store, branch, "main");
        return bench_open_branch(store, branch, variant);
    }
    *out_path = bench_path(bench, "plain%d.db", (int)variant);
    return bench_open(*out_path, variant);
}

static void drop_database(bough_store *store, enum bench_variant variant, unsigned round, char *path)
{
    if (bench_variant_is_bough(variant)) {
        char branch[48];
        const char *name = branch;
        bough_branches dropped = {0};
        snprintf(branch, sizeof(branch), "v%d/%u", (int)variant, round);
        bench_check(bough_branch_delete(&dropped, store, &name, 1, NULL), "drop");
        bough_branches_release(&dropped);
        return;
    }
    char *wal = bench_format("%s-wal", path), *shm = bench_format("%s-shm", path);
    unlink(path);
    unlink(wal);
    unlink(shm);
    free(wal);
    free(shm);
    free(path);
}

void bench_design_target(const char *work, enum bench_variant variant, enum bench_variant base, double ratio)
{
    char name[160];
    double pages = bench_median(work, "(pages read)");
    snprintf(name, sizeof(name), "%s, %s / %s", work, bench_variant_names[variant], bench_variant_names[base]);
    bench_target_ratio(name, work, bench_variant_names[variant], work, bench_variant_names[base], ratio * SLACK,
                       pages > 0 ? pages * SECONDS_PER_PAGE : 0, "design table x 1.1 + 0.5 us/page");
}

static void add_targets(char works[STEP_COUNT][64])
{
    static const struct {
        enum step step;
        double delete_ratio, wal_full_ratio, wal_normal_ratio; /* 0: no row */
    } rows[] = {
        {ONE_ROW, 0.20, 0.80, 1.04},     {BULK, 0.87, 0.76, 0.76},    {SELECTS_EACH, 0.22, 0.44, 0.44},
        {SELECTS_ONE, 0.70, 0.81, 0.81}, {UPDATES, 0.57, 0.63, 0.63},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *work = works[rows[i].step];
        bench_design_target(work, BOUGH_AT_FULL, STOCK_DELETE_FULL, rows[i].delete_ratio);
        bench_design_target(work, BOUGH_AT_FULL, STOCK_WAL_FULL, rows[i].wal_full_ratio);
        bench_design_target(work, BOUGH_AT_NORMAL, STOCK_WAL_NORMAL, rows[i].wal_normal_ratio);
    }
}

void bench_sql(const struct bench *bench)
{
    char works[STEP_COUNT][64], *store_path = bench_path(bench, "sql.bough");
    name_steps(works, bench);
    for (unsigned round = 0; round < bench->rounds; round++) {
        bough_store *store = bench_store_empty(store_path);
        sqlite3 *databases[VARIANT_COUNT];
        char *paths[VARIANT_COUNT];
        for (unsigned v = 0; v < VARIANT_COUNT; v++) {
            databases[v] = fresh_database(bench, store, (enum bench_variant)v, round, &paths[v]);
            bench_exec(databases[v], "CREATE TABLE entry(id INTEGER PRIMARY KEY, body TEXT)");
        }
        for (unsigned step = 0; step < STEP_COUNT; step++)
            for (unsigned turn = 0; turn < VARIANT_COUNT; turn++) {
                enum bench_variant variant = (enum bench_variant)((turn + round) % VARIANT_COUNT);
                sample_step(works, (enum step)step, databases[variant], variant, bench);
            }
        for (unsigned v = 0; v < VARIANT_COUNT; v++) {
            bench_close(databases[v]);
            drop_database(store, (enum bench_variant)v, round, paths[v]);
        }
        bough_store_close(store);
    }
    add_targets(works);
    bench_remove_tree(store_path);
    free(store_path);
}

void bench_workload(const struct bench *bench)
{
    char work[64], *store_path = bench_path(bench, "workload.bough");
    uint64_t first_hash = 0;
    snprintf(work, sizeof(work), "many small tests of SQL, scale %u", bench->workload_scale);
    for (unsigned round = 0; round < bench->rounds; round++) {
        bough_store *store = bench_store_empty(store_path);
        for (unsigned turn = 0; turn < VARIANT_COUNT; turn++) {
            enum bench_variant variant = (enum bench_variant)((turn + round) % VARIANT_COUNT);
            char *path = NULL;
            uint64_t hash = 0;
            sqlite3 *db = fresh_database(bench, store, variant, round, &path);
            bench_pages_read(db);
            double begin = bench_clock();
            bench_check_sql(db, workload_run(&hash, db, bench->workload_scale, NULL, NULL), "workload");
            bench_sample(work, bench_variant_names[variant], BENCH_SECONDS, bench_clock() - begin);
            if (variant == BOUGH_AT_FULL)
                bench_sample(work, "(pages read)", BENCH_COUNT, bench_pages_read(db));
            bench_close(db);
            drop_database(store, variant, round, path);
            if (first_hash != 0 && hash != first_hash)
                bench_die("%s gave other rows than the variant before it", bench_variant_names[variant]);
            first_hash = hash;
        }
        bough_store_close(store);
    }
    bench_remove_tree(store_path);
    free(store_path);
}

void bench_big(const struct bench *bench)
{
    static const enum bench_variant variants[3] = {STOCK_DELETE_FULL, STOCK_WAL_FULL, BOUGH_AT_FULL};
    const char *file = bench_shop_file(bench, bench->sizes_bytes[2]);
    char scan[64], selects[64], *copy = bench_path(bench, "big.db"), *store_path = bench_path(bench, "big.bough");
    const char *const duplicate[] = {"cp", file, copy, NULL};
    bench_run_timed(duplicate);
    bough_store *store = bench_store_init(store_path, file);
    bench_fork(store, "big", "main");
    sqlite3 *databases[3] = {bench_open(file, STOCK_DELETE_FULL), bench_open(copy, STOCK_WAL_FULL),
                             bench_open_branch(store, "big", BOUGH_AT_FULL)};
    uint64_t orders = (uint64_t)bench_query_int(databases[0], "SELECT max(id) FROM orders");
    snprintf(scan, sizeof(scan), "full scan of %.4g MB", (double)bench->sizes_bytes[2] / 1e6);
    snprintf(selects, sizeof(selects), "%u point selects on %.4g MB", bench->selects,
             (double)bench->sizes_bytes[2] / 1e6);
    for (unsigned round = 0; round <= bench->rounds; round++)
        for (unsigned turn = 0; turn < 3; turn++) {
            unsigned at = (turn + round) % 3;
            const char *name = bench_variant_names[variants[at]];
            bench_pages_read(databases[at]);
            double begin = bench_clock();
            bench_query_int(databases[at], "SELECT sum(total_cents) FROM orders NOT INDEXED");
            double middle = bench_clock(), pages = bench_pages_read(databases[at]);
            point_selects(databases[at], "SELECT note FROM orders WHERE id = ?", orders, bench->selects);
            double end = bench_clock();
            if (round == 0) /* the first fills the page cache */
                continue;
            bench_sample(scan, name, BENCH_SECONDS, middle - begin);
            bench_sample(selects, name, BENCH_SECONDS, end - middle);
            if (variants[at] == BOUGH_AT_FULL) {
                bench_sample(scan, "(pages read)", BENCH_COUNT, pages);
                bench_sample(selects, "(pages read)", BENCH_COUNT, bench_pages_read(databases[at]));
            }
        }
    for (int i = 0; i < 3; i++)
        bench_close(databases[i]);
    bough_store_close(store);
    bench_design_target(scan, BOUGH_AT_FULL, STOCK_DELETE_FULL, 0.56);
    bench_design_target(selects, BOUGH_AT_FULL, STOCK_DELETE_FULL, 0.25);
    unlink(copy);
    bench_remove_tree(store_path);
    free(copy);
    free(store_path);
}
