/* bench.h - what the files of the benchmark share.
 *
 * A group measures one subject and hands samples to the report, each under the name of its work and a variant
 * ("WAL/FULL", "bough FULL"). Variants of one work are run in turn within every round, so that whatever else the
 * machine does falls on all of them; the report takes medians over the rounds and compares those.
 */
#ifndef BOUGH_BENCH_H
#define BOUGH_BENCH_H

#include "bough.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench {
    const char *directory; /* everything is made below it and removed at the end */
    const char *bough;     /* path of the command */
    const char *self;      /* path of this program, for the work that needs a process of its own */
    bool quick;            /* small sizes: a run of seconds that shows the shape and not the figures */
    unsigned rounds;
    uint64_t sizes_bytes[3]; /* of the databases forked: 10 MB, 100 MB, 1 GB */
    unsigned forks;          /* samples of a fork */
    unsigned transactions, rows, selects, updates;
    unsigned year; /* transactions of a branch in long use */
    unsigned many_branches;
    unsigned depth;
    unsigned workload_scale;
    uint64_t sparse_bytes;
};

/* ---- report.c ---- */

enum bench_unit { BENCH_SECONDS, BENCH_BYTES, BENCH_COUNT };

void bench_sample(const char *work, const char *variant, enum bench_unit unit, double value);
/* Median of the samples, or a negative number where there are none. */
double bench_median(const char *work, const char *variant);
/* A target: the median of (work, variant) is at most `ratio` times that of (base_work, base_variant) plus allowance
 * (in the unit of the work). source says which table it comes from. */
void bench_target_ratio(const char *name, const char *work, const char *variant, const char *base_work,
                        const char *base_variant, double ratio, double allowance, const char *source);
/* A target: the median is at most limit. */
void bench_target_limit(const char *name, const char *work, const char *variant, double limit, const char *source);
/* Something that the reader must know, such as a part that could not be measured here. */
void bench_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints everything to stdout and returns how many targets do not hold. */
unsigned bench_print(bool as_json);

/* ---- util.c ---- */

/* Exit statuses. */
enum { BENCH_ALL_HOLD = 0, BENCH_MISSED = 1, BENCH_WRONG_USAGE = 2, BENCH_CANNOT_MEASURE = 3 };
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends the program with bough's message when code is not BOUGH_OK. */
void bench_check(int code, const char *what);
void bench_check_sql(sqlite3 *db, int code, const char *what);
void *bench_alloc(size_t len_bytes);
/* A malloc'ed string. */
char *bench_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for a path below bench->directory. */
char *bench_path(const struct bench *bench, const char *format, ...) __attribute__((format(printf, 2, 3)));
double bench_now(void); /* seconds, monotonic */
/* Seconds for work that computes: bench_now(), or with --cpu this process's processor time, which other programs on
 * the machine disturb less (and which leaves out waiting for the disk). */
double bench_clock(void);
extern bool bench_clock_is_cpu;
/* Deterministic, well mixed: the n-th number of a fixed sequence. */
uint64_t bench_mix(uint64_t n);
/* Runs a program with stdout thrown away and waits for it. Returns its exit status, 127 when it cannot be run. */
int bench_run(const char *const *argv);
/* The same; a status other than 0 ends the benchmark. Returns the seconds that it took. */
double bench_run_timed(const char *const *argv);
/* Runs a program and returns what it printed (malloc'ed), or NULL when it failed. */
char *bench_output(const char *const *argv);
bool bench_has_program(const char *name);
void bench_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));
void bench_remove_tree(const char *path);
/* Bytes allocated to all files below path. */
uint64_t bench_disk_bytes(const char *path);
void bench_sync_file(const char *path);
uint64_t bench_file_bytes(const char *path);

/* ---- database.c ---- */

enum bench_variant {
    STOCK_DELETE_FULL,
    STOCK_WAL_FULL,
    STOCK_WAL_NORMAL,
    BOUGH_AT_FULL,
    BOUGH_AT_NORMAL,
    VARIANT_COUNT
};
extern const char *const bench_variant_names[VARIANT_COUNT];
bool bench_variant_is_bough(enum bench_variant variant);

/* Opens a plain file, or the branch that a URI names, with the variant's journal mode and synchronous. */
sqlite3 *bench_open(const char *path_or_uri, enum bench_variant variant);
/* What bench_open takes for a branch; malloc'ed. */
char *bench_branch_uri(bough_store *store, const char *branch);
sqlite3 *bench_open_branch(bough_store *store, const char *branch, enum bench_variant variant);
void bench_close(sqlite3 *db);
void bench_exec(sqlite3 *db, const char *sql);
sqlite3_stmt *bench_prepare(sqlite3 *db, const char *sql);
int64_t bench_query_int(sqlite3 *db, const char *sql);
/* Pages that the connection has asked its VFS for since the last call. */
double bench_pages_read(sqlite3 *db);

bough_store *bench_store_open(const char *path);
/* A store of an empty database, or a copy of file; both make it anew. */
bough_store *bench_store_empty(const char *path);
bough_store *bench_store_init(const char *path, const char *file);
void bench_fork(bough_store *store, const char *name, const char *from);
void bench_drop(bough_store *store, const char *name);
/* Folds the catalog's WAL into it, so that what a fork costs on disk can be seen. */
void bench_catalog_checkpoint(const char *store_path);

/* ---- the groups ---- */

void bench_floor(const struct bench *bench); /* floor.c */
/* Overwrites 4 KB of a file that is there already and syncs it: the least that a durable change costs. Seconds. */
double bench_overwrite(const struct bench *bench);
extern const char *const bench_overwrite_work;
void bench_forks(const struct bench *bench);         /* forks.c: in-process, at three sizes */
void bench_fork_command(const struct bench *bench);  /* forks.c: bough branch */
void bench_fork_branches(const struct bench *bench); /* forks.c: 10,000 branches against 10 */
void bench_fork_bulk(const struct bench *bench);     /* forks.c: after 1 GB in one transaction */
void bench_open_first(const struct bench *bench);    /* forks.c: open and first query */
void bench_depth(const struct bench *bench);         /* depth.c: forks and selects at depth 1000 against 1 */
void bench_copies(const struct bench *bench);        /* copies.c: cp, reflink, VACUUM INTO, backup */
void bench_calls(const struct bench *bench);         /* calls.c: system calls and syncs, counted by strace */
void bench_sql(const struct bench *bench);           /* sql.c: transactions, selects, updates, scan */
void bench_big(const struct bench *bench);           /* sql.c: the same reads on the largest database */
void bench_workload(const struct bench *bench);      /* sql.c: many small tests of SQL */
void bench_bytes(const struct bench *bench);         /* bytes.c: a fork on disk */
void bench_import(const struct bench *bench);        /* import.c */
void bench_sparse(const struct bench *bench);        /* sparse.c */
void bench_differences(const struct bench *bench);   /* differences.c: bough diff beside sqldiff */
void bench_tries(const struct bench *bench);         /* tries.c: bough try beside the scripts alone, and copies */
void bench_migrations(const struct bench *bench);    /* migrations.c: status, and rollback by overlay */

void bench_processes(const struct bench *bench);     /* processes.c: the rows of sql with 1, 2 and 8 processes */
void bench_beside(const struct bench *bench);        /* processes.c: selects beside a writer */
void bench_writers(const struct bench *bench);       /* processes.c: two writers on two branches */
void bench_year(const struct bench *bench);          /* processes.c: many small transactions, snapshots held */

/* sql.c: the table item with that many rows, in one transaction. */
void bench_fill_items(sqlite3 *db, unsigned count);
/* sql.c: a target of the design's table: what the two variants' times may be to each other, and what the pages that the
 * series "(pages read)" of the work counts may take beyond. */
void bench_design_target(const char *work, enum bench_variant variant, enum bench_variant base, double ratio);

/* worker.c: the parts that run in a process of their own; returns an exit status. */
int bench_worker(int argc, char **argv);

/* The database of that size, made on first use; the path lives as long as the program. */
const char *bench_shop_file(const struct bench *bench, uint64_t size_bytes);

#endif
