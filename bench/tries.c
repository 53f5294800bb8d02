/* tries.c - bough try with three scripts, beside the scripts alone, and beside three copies and the scripts.
 *
 * What try costs beyond the scripts is the time of the command less that of the same scripts in the same round, run at
 * once by three bough sql on three forks that are there already: so forking, comparing, checking, printing and dropping
 * the forks are all on try's side, and what is common is that processes begin and map a store. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SCRIPTS = 3 };

static const char *const scripts[SCRIPTS][2] = {
    {"premium", "ALTER TABLE users ADD COLUMN premium INTEGER NOT NULL DEFAULT 0;\n"
                "UPDATE users SET premium = 1 WHERE id % 100 = 0;\n"
                "CREATE INDEX users_premium ON users(id) WHERE premium = 1;\n"},
    {"inventory", "CREATE TABLE stock(id INTEGER PRIMARY KEY, name TEXT NOT NULL, pieces INTEGER NOT NULL);\n"
                  "INSERT INTO stock(name, pieces) SELECT 'thing ' || id, id % 17 FROM users LIMIT 5000;\n"
                  "CREATE INDEX stock_by_name ON stock(name);\n"
                  "CREATE TRIGGER sold AFTER INSERT ON orders BEGIN\n"
                  "  UPDATE stock SET pieces = pieces - 1 WHERE id = new.user_id;\nEND;\n"},
    {"analytics", "CREATE TABLE sales AS SELECT user_id, count(*) AS orders, sum(total_cents) AS cents\n"
                  "  FROM orders WHERE user_id <= 1000 GROUP BY user_id;\n"
                  "CREATE VIEW best AS SELECT * FROM sales ORDER BY cents DESC LIMIT 10;\n"
                  "UPDATE orders SET status = 'archived' WHERE id % 100 = 0 AND id <= 100000;\n"},
};

struct attempt {
    bough_store *store;
    char *name, *file, *copy;
    const char *sql;
};

static void write_script(const struct attempt *attempt)
{
    FILE *file = fopen(attempt->file, "w");

    if (file == NULL || fputs(attempt->sql, file) < 0 || fclose(file) != 0)
        bench_die("cannot write %s", attempt->file);
}

static double run_alone(const struct bench *bench, const struct attempt attempts[SCRIPTS])
{
    static const char all[] = "\"$0\" -s \"$1\" sql \"$2\" < \"$3\" & one=$!; "
                              "\"$0\" -s \"$1\" sql \"$4\" < \"$5\" & two=$!; "
                              "\"$0\" -s \"$1\" sql \"$6\" < \"$7\" & wait $! && wait $one && wait $two";
    const char *argv[4 + 2 * SCRIPTS + 2] = {"sh", "-c", all, bench->bough, bough_store_path(attempts[0].store)};

    for (unsigned i = 0; i < SCRIPTS; i++) {
        bench_fork(attempts[i].store, attempts[i].name, "main");
        argv[5 + 2 * i] = attempts[i].name;
        argv[6 + 2 * i] = attempts[i].file;
    }
    double seconds = bench_run_timed(argv);
    for (unsigned i = 0; i < SCRIPTS; i++)
        bench_drop(attempts[i].store, attempts[i].name);
    return seconds;
}

static double run_try(const struct bench *bench, const struct attempt attempts[SCRIPTS])
{
    const char *const argv[] = {bench->bough,
                                "-s",
                                bough_store_path(attempts[0].store),
                                "try",
                                attempts[0].file,
                                attempts[1].file,
                                attempts[2].file,
                                "--from",
                                "main",
                                NULL};

    return bench_run_timed(argv);
}

static double copy_thrice(const char *file, const struct attempt attempts[SCRIPTS])
{
    double seconds = 0;

    for (unsigned i = 0; i < SCRIPTS; i++) {
        const char *const argv[] = {"cp", file, attempts[i].copy, NULL};
        seconds += bench_run_timed(argv);
    }
    return seconds;
}

/* The scripts at once, on the copies, by SQLite's shell. */
static double run_stock(const struct attempt attempts[SCRIPTS])
{
    static const char all[] = "sqlite3 -bail \"$0\" < \"$1\" & one=$!; sqlite3 -bail \"$2\" < \"$3\" & two=$!; "
                              "sqlite3 -bail \"$4\" < \"$5\" & wait $! && wait $one && wait $two";
    const char *const argv[] = {"sh",
                                "-c",
                                all,
                                attempts[0].copy,
                                attempts[0].file,
                                attempts[1].copy,
                                attempts[1].file,
                                attempts[2].copy,
                                attempts[2].file,
                                NULL};
    double seconds = bench_run_timed(argv);

    for (unsigned i = 0; i < SCRIPTS; i++)
        unlink(attempts[i].copy);
    return seconds;
}

static void measure(const struct bench *bench, const char *work, const char *file, struct attempt attempts[SCRIPTS])
{
    bool has_shell = bench_has_program("sqlite3");

    for (unsigned round = 0; round < bench->rounds; round++) {
        double alone = run_alone(bench, attempts);
        double tried = run_try(bench, attempts);

        bench_sample(work, "the scripts alone", BENCH_SECONDS, alone);
        bench_sample(work, "bough try", BENCH_SECONDS, tried);
        bench_sample(work, "beyond the scripts", BENCH_SECONDS, tried > alone ? tried - alone : 0);
        if (has_shell) {
            double copied = copy_thrice(file, attempts);
            bench_sample(work, "3 cp, sqlite3", BENCH_SECONDS, copied + run_stock(attempts));
        }
    }
    bench_target_limit("`bough try` beyond its three scripts", work, "beyond the scripts", 0.05, "migrations");
    bench_target_ratio("`bough try` / three `cp` and the scripts", work, "bough try", work, "3 cp, sqlite3", 1, 0,
                       "migrations");
    if (!has_shell)
        bench_note("no sqlite3 shell: no scripts on copies");
}

void bench_tries(const struct bench *bench)
{
    const char *file = bench_shop_file(bench, bench->sizes_bytes[2]);
    char *work = bench_format("three scripts on a seed of %.4g MB", (double)bench->sizes_bytes[2] / 1e6);
    char *path = bench_path(bench, "tries.bough");
    bough_store *store = bench_store_init(path, file);
    struct attempt attempts[SCRIPTS];

    for (unsigned i = 0; i < SCRIPTS; i++) {
        attempts[i] = (struct attempt){.store = store, .sql = scripts[i][1]};
        attempts[i].name = bench_format("alone_%s", scripts[i][0]);
        attempts[i].file = bench_path(bench, "%s.sql", scripts[i][0]);
        attempts[i].copy = bench_path(bench, "%s.db", scripts[i][0]);
        write_script(&attempts[i]);
    }
    measure(bench, work, file, attempts);
    for (unsigned i = 0; i < SCRIPTS; i++) {
        unlink(attempts[i].file);
        free(attempts[i].name);
        free(attempts[i].file);
        free(attempts[i].copy);
    }
    bough_store_close(store);
    bench_remove_tree(path);
    free(path);
    free(work);
}
