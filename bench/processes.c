/* processes.c - several processes in one database, or beside each other in one store. The processes are those of
 * crowd.c; this process keeps every database open meanwhile, as one of many users, and does nothing with it. */
#include "bench.h"
#include "crowd.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPEC "several processes"

/* One database for each variant. */
struct places {
    bough_store *store;
    char *store_path, *paths[VARIANT_COUNT]; /* what a member opens */
    sqlite3 *open[VARIANT_COUNT];
};

static void make_place(const struct bench *bench, struct places *places, const char *name, enum bench_variant variant,
                       unsigned rows)
{
    char branch[16];
    snprintf(branch, sizeof(branch), "v%d", (int)variant);
    if (bench_variant_is_bough(variant)) {
        bench_fork(places->store, branch, "main");
        places->paths[variant] = bench_branch_uri(places->store, branch);
    } else {
        places->paths[variant] = bench_path(bench, "%s-%s.db", name, branch);
    }
    places->open[variant] = bench_open(places->paths[variant], variant);
    bench_fill_items(places->open[variant], rows);
    bench_exec(places->open[variant], "CREATE TABLE entry(id INTEGER PRIMARY KEY, body TEXT)");
}

/* Files and a store of that name. */
static void make_places(const struct bench *bench, struct places *places, const char *name, unsigned rows)
{
    places->store_path = bench_path(bench, "%s.bough", name);
    places->store = bench_store_empty(places->store_path);
    for (unsigned v = 0; v < VARIANT_COUNT; v++)
        make_place(bench, places, name, (enum bench_variant)v, rows);
}

static void remove_places(struct places *places)
{
    for (unsigned v = 0; v < VARIANT_COUNT; v++) {
        bench_close(places->open[v]);
        if (!bench_variant_is_bough((enum bench_variant)v))
            unlink(places->paths[v]);
        free(places->paths[v]);
    }
    bough_store_close(places->store);
    bench_remove_tree(places->store_path);
    free(places->store_path);
}

static struct crowd_member *add_at(struct crowd *crowd, enum crowd_work work, const struct places *places,
                                   enum bench_variant variant)
{
    return crowd_add(crowd, work, variant, places->paths[variant]);
}

/* ---- the rows of the design's table ---- */

static const unsigned process_counts[] = {1, 2, 8};
enum { COUNTS = sizeof(process_counts) / sizeof(process_counts[0]) };

static const struct row {
    enum crowd_work work;
    const char *text;
    double delete_ratio, wal_full_ratio, wal_normal_ratio;
} rows[] = {
    {CROWD_INSERTS, "one-row transactions", 0.20, 0.80, 1.04},
    {CROWD_SELECTS_EACH, "selects, a transaction each", 0.22, 0.44, 0.44},
    {CROWD_SELECTS_ONE, "selects, long transactions", 0.70, 0.81, 0.81},
    {CROWD_UPDATES_ONE, "updates, long transactions", 0.57, 0.63, 0.63},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

/* How many of a row in all. */
static unsigned row_total(const struct bench *bench, const struct row *row)
{
    return row->work == CROWD_INSERTS       ? bench->transactions
           : row->work == CROWD_UPDATES_ONE ? bench->updates
                                            : bench->selects;
}

static void name_row(char out[96], const struct bench *bench, const struct row *row, unsigned processes)
{
    snprintf(out, 96, "%u %s, %u process%s", row_total(bench, row), row->text, processes, processes > 1 ? "es" : "");
}

static void run_row(const struct bench *bench, const struct places *places, struct crowd *crowd, const struct row *row,
                    unsigned processes, enum bench_variant variant, unsigned round)
{
    char work[96];
    unsigned part = row_total(bench, row) / processes;
    name_row(work, bench, row, processes);
    for (unsigned i = 0; i < processes; i++) {
        struct crowd_member *member = add_at(crowd, row->work, places, variant);
        member->count = part;
        member->rows = bench->rows;
        member->first = (round * processes + i) * part;
    }
    bench_sample(work, bench_variant_names[variant], BENCH_SECONDS, crowd_run(bench, crowd));
    if (variant == BOUGH_AT_FULL)
        bench_sample(work, "(pages read)", BENCH_COUNT, crowd_pages(crowd));
}

void bench_processes(const struct bench *bench)
{
    struct places places = {0};
    struct crowd *crowd = crowd_new(bench);
    make_places(bench, &places, "places", bench->rows);
    for (unsigned round = 0; round < bench->rounds; round++)
        for (unsigned step = 0; step < ROWS * COUNTS; step++)
            for (unsigned turn = 0; turn < VARIANT_COUNT; turn++)
                run_row(bench, &places, crowd, &rows[step / COUNTS], process_counts[step % COUNTS],
                        (enum bench_variant)((turn + round) % VARIANT_COUNT), round);
    for (unsigned step = 0; step < ROWS * COUNTS; step++) {
        const struct row *row = &rows[step / COUNTS];
        char work[96];
        name_row(work, bench, row, process_counts[step % COUNTS]);
        bench_design_target(work, BOUGH_AT_FULL, STOCK_DELETE_FULL, row->delete_ratio);
        bench_design_target(work, BOUGH_AT_FULL, STOCK_WAL_FULL, row->wal_full_ratio);
        bench_design_target(work, BOUGH_AT_NORMAL, STOCK_WAL_NORMAL, row->wal_normal_ratio);
    }
    remove_places(&places);
    crowd_free(bench, crowd);
}

/* ---- selects beside a writer ---- */

static const struct reading {
    enum crowd_work work;
    const char *text;
} readings[] = {{CROWD_SELECTS_EACH, "a transaction each"}, {CROWD_SELECTS_ONE, "one transaction"}};

static void name_reading(char out[96], const struct bench *bench, const struct reading *reading)
{
    snprintf(out, 96, "%u point selects, %s, and a writer", bench->selects, reading->text);
}

/* What the reader has beside it. A writer in another database is in its way only as the machine is: two processes share
 * processors, memory and the disk with each other, whatever they work on. */
enum company { ALONE, WRITER, WRITER_ELSEWHERE, COMPANIES };
static const char *const company_texts[] = {", alone", "", ", writer elsewhere"};

static void name_company(char out[64], enum bench_variant variant, enum company company)
{
    snprintf(out, 64, "%s%s", bench_variant_names[variant], company_texts[company]);
}

static void run_beside(const struct bench *bench, const struct places places[2], struct crowd *crowd,
                       const struct reading *reading, enum bench_variant variant, enum company company)
{
    char work[96], label[64];
    struct crowd_member *reader = add_at(crowd, reading->work, &places[0], variant);
    reader->count = bench->selects;
    reader->rows = bench->rows;
    if (company != ALONE) {
        struct crowd_member *writer = add_at(crowd, CROWD_UPDATES_EACH, &places[company == WRITER ? 0 : 1], variant);
        writer->is_background = true;
        writer->rows = bench->rows;
    }
    name_reading(work, bench, reading);
    name_company(label, variant, company);
    bench_sample(work, label, BENCH_SECONDS, crowd_run(bench, crowd));
    snprintf(work, sizeof(work), "(pages read by them, %s)", reading->text);
    bench_sample(work, label, BENCH_COUNT, crowd_pages(crowd));
    if (company != ALONE) {
        snprintf(work, sizeof(work), "(transactions of the writer, %s)", reading->text);
        bench_sample(work, label, BENCH_COUNT, (double)crowd->members[1].done);
    }
}

static void beside_target(const struct bench *bench, const struct reading *reading, enum bench_variant variant)
{
    char work[96], label[64], name[160];
    name_reading(work, bench, reading);
    name_company(label, variant, ALONE);
    snprintf(name, sizeof(name), "%s / without one, %s", work, bench_variant_names[variant]);
    bench_target_ratio(name, work, bench_variant_names[variant], work, label, 1 / 0.9, 0, SPEC);
}

/* How many selects are left of those without a writer, and how many when the writer is in another database. */
static void beside_note(const struct bench *bench, const struct reading *reading, enum bench_variant variant)
{
    char work[96], label[64];
    double seconds[COMPANIES];
    name_reading(work, bench, reading);
    for (unsigned i = 0; i < COMPANIES; i++) {
        name_company(label, variant, (enum company)i);
        seconds[i] = bench_median(work, label);
    }
    bench_note("%s, %s: %.2f times those without; beside a writer in another database %.2f times", work,
               bench_variant_names[variant], seconds[ALONE] / seconds[WRITER],
               seconds[ALONE] / seconds[WRITER_ELSEWHERE]);
}

void bench_beside(const struct bench *bench)
{
    static const enum bench_variant variants[] = {STOCK_WAL_FULL, BOUGH_AT_FULL, STOCK_WAL_NORMAL, BOUGH_AT_NORMAL};
    enum { VARIANTS = sizeof(variants) / sizeof(variants[0]) };
    struct places places[2] = {{0}};
    struct crowd *crowd = crowd_new(bench);
    make_places(bench, &places[0], "places", bench->rows);
    make_places(bench, &places[1], "elsewhere", bench->rows);
    for (unsigned round = 0; round < bench->rounds; round++)
        for (unsigned step = 0; step < 2 * VARIANTS; step++)
            for (unsigned turn = 0; turn < COMPANIES; turn++)
                run_beside(bench, places, crowd, &readings[step / VARIANTS], variants[step % VARIANTS],
                           (enum company)((turn + round) % COMPANIES));
    for (unsigned i = 0; i < 2; i++) {
        beside_target(bench, &readings[i], BOUGH_AT_FULL);
        beside_target(bench, &readings[i], BOUGH_AT_NORMAL);
        for (unsigned v = 0; v < VARIANTS; v++)
            beside_note(bench, &readings[i], variants[v]);
    }
    remove_places(&places[0]);
    remove_places(&places[1]);
    crowd_free(bench, crowd);
}

/* ---- writers on different branches ---- */

/* Transactions in all, shared out among the processes, each on a database of its own. */
static double run_writers(const struct bench *bench, struct crowd *crowd, char *const paths[2],
                          enum bench_variant variant, unsigned processes, unsigned total)
{
    for (unsigned i = 0; i < processes; i++) {
        struct crowd_member *member = crowd_add(crowd, CROWD_INSERTS, variant, paths[i]);
        member->count = total / processes;
        member->no_sync = true;
    }
    return crowd_run(bench, crowd);
}

/* Two files and two branches: kind 0 is stock SQLite. */
struct pair {
    char *paths[2];
    sqlite3 *open[2];
};

static void make_pair(const struct bench *bench, struct pair *pair, bough_store *store)
{
    for (unsigned i = 0; i < 2; i++) {
        const char *name = i == 0 ? "left" : "right";
        if (store != NULL)
            bench_fork(store, name, "main");
        pair->paths[i] = store != NULL ? bench_branch_uri(store, name) : bench_path(bench, "%s.db", name);
        pair->open[i] = bench_open(pair->paths[i], store != NULL ? BOUGH_AT_NORMAL : STOCK_WAL_NORMAL);
        bench_fill_items(pair->open[i], 1000);
        bench_exec(pair->open[i], "CREATE TABLE entry(id INTEGER PRIMARY KEY, body TEXT)");
    }
}

static void end_pair(struct pair *pair, bool are_files)
{
    for (unsigned i = 0; i < 2; i++) {
        bench_close(pair->open[i]);
        if (are_files)
            unlink(pair->paths[i]);
        free(pair->paths[i]);
    }
}

void bench_writers(const struct bench *bench)
{
    static const char *const labels[2][2] = {{"WAL/OFF", "WAL/OFF, 2 files"}, {"bough OFF", "bough OFF, 2"}};
    static const enum bench_variant variants[2] = {STOCK_WAL_NORMAL, BOUGH_AT_NORMAL};
    unsigned total = bench->updates * 4;
    struct pair pairs[2];
    char work[96], *store_path = bench_path(bench, "writers.bough");
    struct crowd *crowd = crowd_new(bench);
    bough_store *store = bench_store_empty(store_path);
    make_pair(bench, &pairs[0], NULL);
    make_pair(bench, &pairs[1], store);
    snprintf(work, sizeof(work), "%u one-row transactions, OFF, shared by writers", total);
    for (unsigned round = 0; round < bench->rounds; round++)
        for (unsigned turn = 0; turn < 4; turn++) {
            unsigned kind = (turn + round) / 2 % 2, many = (turn + round) % 2;
            bench_sample(work, labels[kind][many], BENCH_SECONDS,
                         run_writers(bench, crowd, pairs[kind].paths, variants[kind], many + 1, total));
        }
    bench_target_ratio("one-row transactions, OFF, two writers on two branches / one on one", work, labels[1][1], work,
                       labels[1][0], 1 / 1.8, 0, SPEC);
    end_pair(&pairs[0], true);
    end_pair(&pairs[1], false);
    bough_store_close(store);
    bench_remove_tree(store_path);
    free(store_path);
    crowd_free(bench, crowd);
}

/* ---- a branch in long use ---- */

static double layer_bytes(const char *store_path)
{
    char *pattern = bench_format("%s/layers/*.layer", store_path);
    glob_t found = {0};
    double bytes = 0;
    if (glob(pattern, 0, NULL, &found) != 0)
        bench_die("%s: nothing there", pattern);
    for (size_t i = 0; i < found.gl_pathc; i++)
        bytes += (double)bench_file_bytes(found.gl_pathv[i]);
    globfree(&found);
    free(pattern);
    return bytes;
}

enum { YEAR_ITEMS = 20000, YEAR_KINDS = 2, YEAR_READERS = 2 };
static const enum bench_variant year_variants[YEAR_KINDS] = {STOCK_WAL_FULL, BOUGH_AT_FULL};

struct year {
    const struct bench *bench;
    struct crowd *crowd;
    bough_store *store;
    char *store_path, *paths[YEAR_KINDS];
    sqlite3 *open[YEAR_KINDS];
};

static void begin_year(struct year *year)
{
    year->crowd = crowd_new(year->bench);
    year->store_path = bench_path(year->bench, "year.bough");
    year->store = bench_store_empty(year->store_path);
    year->paths[0] = bench_path(year->bench, "year.db");
    year->paths[1] = bench_branch_uri(year->store, "main");
    for (unsigned i = 0; i < YEAR_KINDS; i++) {
        year->open[i] = bench_open(year->paths[i], year_variants[i]);
        bench_fill_items(year->open[i], YEAR_ITEMS);
    }
}

/* Leaves the store without an opener. */
static void end_year(struct year *year)
{
    for (unsigned i = 0; i < YEAR_KINDS; i++) {
        bench_close(year->open[i]);
        if (!bench_variant_is_bough(year_variants[i]))
            unlink(year->paths[i]);
        free(year->paths[i]);
    }
    bough_store_close(year->store);
    crowd_free(year->bench, year->crowd);
}

/* One process updates single rows. One reader holds a snapshot from the beginning to the end, a second one takes a new
 * one eight times. */
static double run_year(const struct year *year, unsigned kind, unsigned readers, unsigned count, unsigned round)
{
    for (unsigned i = 0; i <= readers; i++) {
        struct crowd_member *member =
            crowd_add(year->crowd, i == 0 ? CROWD_UPDATES_EACH : CROWD_HOLDS, year_variants[kind], year->paths[kind]);
        member->is_background = i > 0;
        member->count = i == 0 ? count : i == 1 ? 0 : count / 8 + 1;
        member->rows = YEAR_ITEMS;
        member->first = round * count;
    }
    return crowd_run(year->bench, year->crowd);
}

static void year_with_readers(const struct year *year, unsigned readers, const char *size)
{
    unsigned rounds = year->bench->rounds, count = year->bench->year / rounds / YEAR_READERS;
    char work[96], name[160];
    snprintf(work, sizeof(work), "%u one-row updates, %u snapshot%s held", count, readers, readers > 1 ? "s" : "");
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned turn = 0; turn < YEAR_KINDS; turn++) {
            unsigned kind = (turn + round) % YEAR_KINDS;
            bench_sample(work, bench_variant_names[year_variants[kind]], BENCH_SECONDS,
                         run_year(year, kind, readers, count, round));
        }
        bench_sample(size, readers == 1 ? "1 snapshot" : "2 snapshots", BENCH_BYTES, layer_bytes(year->store_path));
    }
    snprintf(name, sizeof(name), "%s, bough FULL / WAL/FULL", work);
    bench_target_ratio(name, work, "bough FULL", work, "WAL/FULL", 1.1, 0, SPEC);
}

void bench_year(const struct bench *bench)
{
    struct year year = {.bench = bench};
    char size[96];
    snprintf(size, sizeof(size), "layer file, %u one-row updates at most", bench->year);
    begin_year(&year);
    for (unsigned readers = 1; readers <= YEAR_READERS; readers++)
        year_with_readers(&year, readers, size);
    double live = (double)(bench_query_int(year.open[1], "PRAGMA page_count") *
                           bench_query_int(year.open[1], "PRAGMA page_size"));
    end_year(&year);
    const char *const gc[] = {bench->bough, "-s", year.store_path, "gc", NULL};
    bench_run_timed(gc);
    char *layers = bench_format("%s/layers", year.store_path);
    bench_sample(size, "(live pages)", BENCH_BYTES, live);
    bench_sample(size, "on disk after gc", BENCH_BYTES, (double)bench_disk_bytes(layers));
    bench_target_limit("layer file, one snapshot held: twice the live pages + 1 MB", size, "1 snapshot", 2 * live + 1e6,
                       SPEC);
    /* Each snapshot may keep an older version of every page alive. */
    bench_target_limit("layer file, two snapshots held: twice the pages alive + 1 MB", size, "2 snapshots",
                       2 * 3 * live + 1e6, SPEC);
    bench_target_limit("layer on disk after gc: twice the live pages + 1 MB", size, "on disk after gc", 2 * live + 1e6,
                       SPEC);
    free(layers);
    bench_remove_tree(year.store_path);
    free(year.store_path);
}
