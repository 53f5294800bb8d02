/* migrations.c - status of 1,000 migrations, beside the sqlite3 shell that reads the same table. */
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

void bench_migrations(const struct bench *bench)
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
