/* worker.c - the parts that run in a process of their own, so that its system calls, reads and memory are theirs alone.
 *
 *     --worker fork VARIANT STORE COUNT      forks of main
 *     --worker write VARIANT PATH COUNT      one-row transactions
 *     --worker read VARIANT PATH COUNT       cached selects, a transaction each
 *     --worker sparse VARIANT STORE 1        prints "open|fork|drop BYTES RSS", see sparse.c
 *     --worker crowd 0 PLAN NUMBER           one of several processes, see crowd.c
 */
#include "bench.h"
#include "crowd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static sqlite3 *open_database(bough_store **out_store, enum bench_variant variant, const char *path)
{
    if (!bench_variant_is_bough(variant))
        return bench_open(path, variant);
    *out_store = bench_store_open(path);
    return bench_open_branch(*out_store, "main", variant);
}

static void do_forks(const char *path, unsigned count)
{
    bough_store *store = bench_store_open(path);
    for (unsigned i = 0; i < count; i++) {
        char name[48];
        snprintf(name, sizeof(name), "w%d/%u", (int)getpid(), i);
        bench_fork(store, name, "main");
    }
    bough_store_close(store);
}

static void do_transactions(const char *path, enum bench_variant variant, unsigned count, bool writes)
{
    bough_store *store = NULL;
    sqlite3 *db = open_database(&store, variant, path);
    bench_exec(db, "CREATE TABLE IF NOT EXISTS entry(id INTEGER PRIMARY KEY, body TEXT)");
    bench_exec(db, "INSERT INTO entry(body) VALUES('the first')");
    sqlite3_stmt *statement = bench_prepare(db, writes ? "INSERT INTO entry(body) VALUES('one more row')"
                                                       : "SELECT body FROM entry WHERE id = 1");
    for (unsigned i = 0; i < count; i++) {
        bench_check_sql(db, sqlite3_step(statement), "transaction");
        sqlite3_reset(statement);
    }
    sqlite3_finalize(statement);
    bench_close(db);
    bough_store_close(store);
}

/* Bytes that system calls have read, plus what is mapped of files below `path` and resident: the page tables say what
 * was touched through a mapping. */
static uint64_t bytes_read(const char *path)
{
    unsigned long long read = 0, resident = 0, value = 0;
    char line[4352];
    bool ours = false;
    FILE *file = fopen("/proc/self/io", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "rchar: %llu", &value) == 1)
            read = value;
    if (file != NULL)
        fclose(file);
    file = fopen("/proc/self/smaps", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "Rss: %llu", &value) == 1)
            resident += ours ? value * 1024 : 0;
        else if (strchr(line, '-') != NULL && strchr(line, '-') < strchr(line, ' '))
            ours = strstr(line, path) != NULL;
    }
    if (file != NULL)
        fclose(file);
    return read + resident;
}

static uint64_t status_bytes(const char *key)
{
    unsigned long long value = 0;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    size_t len = strlen(key);
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, key, len) == 0)
            sscanf(line + len, ": %llu", &value);
    if (file != NULL)
        fclose(file);
    return value * 1024;
}

struct meter {
    const char *path;
    uint64_t overhead, read, resident;
};

static void meter_start(struct meter *meter)
{
    FILE *file = fopen("/proc/self/clear_refs", "w"); /* the peak starts over */
    if (file != NULL) {
        fputs("5", file);
        fclose(file);
    }
    /* Reading /proc counts as reading; what one look costs is taken off. */
    uint64_t first = bytes_read(meter->path);
    meter->resident = status_bytes("VmRSS");
    meter->read = bytes_read(meter->path);
    meter->overhead = meter->read - first;
}

static void meter_stop(struct meter *meter, const char *name)
{
    uint64_t peak = status_bytes("VmHWM"), before = bytes_read(meter->path);
    uint64_t read = before - meter->read;
    read = read > meter->overhead ? read - meter->overhead : 0;
    printf("%s %llu %llu\n", name, (unsigned long long)read,
           (unsigned long long)(peak > meter->resident ? peak - meter->resident : 0));
}

static void do_sparse(const char *path)
{
    struct meter meter = {path, 0, 0, 0};
    const char *name = "sparse-fork";
    bough_branches dropped = {0};
    meter_start(&meter);
    bough_store *store = bench_store_open(path);
    sqlite3 *db = bench_open_branch(store, "main", BOUGH_AT_FULL);
    if (bench_query_int(db, "SELECT count(*) FROM small") == 0)
        bench_die("the sparse database has no rows");
    meter_stop(&meter, "open");
    meter_start(&meter);
    bench_fork(store, name, "main");
    meter_stop(&meter, "fork");
    meter_start(&meter);
    bench_check(bough_branch_delete(&dropped, store, &name, 1, NULL), "drop");
    meter_stop(&meter, "drop");
    bough_branches_release(&dropped);
    bench_close(db);
    bough_store_close(store);
}

int bench_worker(int argc, char **argv)
{
    if (argc != 4)
        bench_die("--worker KIND VARIANT PATH COUNT");
    enum bench_variant variant = (enum bench_variant)atoi(argv[1]);
    unsigned count = (unsigned)atoi(argv[3]);
    if (strcmp(argv[0], "fork") == 0)
        do_forks(argv[2], count);
    else if (strcmp(argv[0], "sparse") == 0)
        do_sparse(argv[2]);
    else if (strcmp(argv[0], "crowd") == 0)
        crowd_work(argv[2], count);
    else
        do_transactions(argv[2], variant, count, strcmp(argv[0], "write") == 0);
    return 0;
}
