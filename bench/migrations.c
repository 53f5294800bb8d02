/* migrations.c - status of 1,000 migrations, beside the sqlite3 shell that reads the same table; the rollback of a
 * migration that wrote every row of a table anew. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIGRATIONS = 1000 };

/* Each makes a table, fills it and puts a trigger on it. */
static void write_migration(const char *directory, unsigned number)
{
    char *path = bench_format("%s/%014u_table_%u.sql", directory, number, number);
    FILE *file = fopen(path, "w");

    if (file == NULL)
        bench_die("cannot write %s", path);
    fprintf(file,
            "-- migrate:up\nCREATE TABLE t%u(id INTEGER PRIMARY KEY, name TEXT NOT NULL, at TEXT);\n"
            "INSERT INTO t%u(name) VALUES ('a'), ('b'), ('c');\n"
            "CREATE TRIGGER t%u_at AFTER INSERT ON t%u BEGIN\n"
            "  UPDATE t%u SET at = datetime() WHERE id = new.id;\nEND;\n\n"
            "-- migrate:down\nDROP TABLE t%u;\n",
            number, number, number, number, number, number);
    if (fclose(file) != 0)
        bench_die("cannot write %s", path);
    free(path);
}

static void measure_status(const struct bench *bench)
{
    static const char work[] = "status of 1,000 migrations";
    char *directory = bench_path(bench, "migrations");
    char *path = bench_path(bench, "migrated.db");

    if (!bench_has_program("sqlite3")) {
        bench_note("no sqlite3 shell: the status of migrations has nothing to stand beside");
        return;
    }
    if (mkdir(directory, 0777) != 0)
        bench_die("cannot make %s", directory);
    for (unsigned number = 1; number <= MIGRATIONS; number++)
        write_migration(directory, number);
    sqlite3 *db = bench_open(path, STOCK_DELETE_FULL);
    bench_exec(db, "CREATE TABLE app(id INTEGER PRIMARY KEY)");
    bench_close(db);
    const char *const sync[] = {bench->bough, "migrate", "sync", "--db", path, "--dir", directory, NULL};
    const char *const status[] = {bench->bough, "migrate", "status", "--db", path, "--dir", directory, NULL};
    const char *const query[] = {"sqlite3", path, "SELECT defined_at, name, applied_at FROM migrations", NULL};
    bench_sample("sync of 1,000 migrations", "bough migrate sync", BENCH_SECONDS, bench_run_timed(sync));
    for (unsigned round = 0; round < bench->rounds * 4; round++) {
        bench_sample(work, "bough migrate status", BENCH_SECONDS, bench_run_timed(status));
        bench_sample(work, "sqlite3, the table alone", BENCH_SECONDS, bench_run_timed(query));
    }
    bench_target_limit("`bough migrate status`, 1,000 migrations", work, "bough migrate status", 0.05, "migrations");
    bench_remove_tree(directory);
    unlink(path);
    free(directory);
    free(path);
}

static void write_rewriting(const char *directory)
{
    char *path = bench_format("%s/20260101000000_notes.sql", directory);
    FILE *file = mkdir(directory, 0777) == 0 ? fopen(path, "w") : NULL;

    if (file == NULL)
        bench_die("cannot write %s", path);
    fputs("-- migrate:up\nUPDATE orders SET note = upper(note), total_cents = total_cents + 1;\n", file);
    if (fclose(file) != 0)
        bench_die("cannot write %s", path);
    free(path);
}

/* There is no down, so it went by the overlay. */
static void check_rolled_back(bough_store *store, const char *branch)
{
    sqlite3 *db = bench_open_branch(store, branch, BOUGH_AT_FULL);

    if (bench_query_int(db, "SELECT count(*) FROM orders WHERE id <= 1000 AND note = upper(note)") != 0)
        bench_die("%s was not rolled back", branch);
    bench_close(db);
}

/* The migration runs once, on main. Its branch is forked, and each fork is rolled back: by a reset to the commit before
 * the migration, which is what undoes it on main. */
static void measure_rollback(const struct bench *bench)
{
    const char *file = bench_shop_file(bench, bench->sizes_bytes[2]);
    char *work = bench_format("rollback of a migration that rewrote %.4g MB", (double)bench->sizes_bytes[2] / 1e6);
    char *path = bench_path(bench, "rewritten.bough"), *directory = bench_path(bench, "rewriting");
    bough_store *store = bench_store_init(path, file);

    write_rewriting(directory);
    const char *const sync[] = {bench->bough, "-s", path, "migrate", "sync", "-b", "main", "--dir", directory, NULL};
    bench_sample(work, "(the migration)", BENCH_SECONDS, bench_run_timed(sync));
    for (unsigned round = 0; round < bench->rounds * 4; round++) {
        char *branch = bench_format("b%u", round);
        const char *const down[] = {bench->bough, "-s",   path,    "migrate", "down",
                                    "-b",         branch, "--dir", directory, NULL};
        bench_fork(store, branch, "main");
        bench_sample(work, "bough migrate down", BENCH_SECONDS, bench_run_timed(down));
        check_rolled_back(store, branch);
        free(branch);
    }
    bench_target_limit("rollback of a migration that rewrote a table", work, "bough migrate down", 0.01, "migrations");
    bough_store_close(store);
    bench_remove_tree(path);
    bench_remove_tree(directory);
    free(directory);
    free(path);
    free(work);
}

void bench_migrations(const struct bench *bench)
{
    measure_status(bench);
    measure_rollback(bench);
}
