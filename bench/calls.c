/* calls.c - system calls and syncs, counted by strace in a process of their own: the same on every machine. What one
 * operation takes is the difference between a process that does many and one that does few, so that opening and
 * closing drop out. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FEW = 10, MANY = 60, FEW_FORKS = 2, MANY_FORKS = 12 };

struct counts {
    double syncs, calls;
};

static bool is_sync(const char *name)
{
    static const char *const syncs[] = {"fsync", "fdatasync", "sync_file_range", "msync", "syncfs", "sync"};
    for (size_t i = 0; i < sizeof(syncs) / sizeof(syncs[0]); i++)
        if (strcmp(name, syncs[i]) == 0)
            return true;
    return false;
}

static struct counts read_counts(const char *path)
{
    struct counts counts = {0, 0};
    char line[256], name[128];
    unsigned long calls = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        bench_die("%s: strace wrote nothing", path);
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "%lu %127s", &calls, name) == 2 && strcmp(name, "total") != 0) {
            counts.calls += (double)calls;
            counts.syncs += is_sync(name) ? (double)calls : 0;
        }
    fclose(file);
    return counts;
}

/* Counts a whole command; argv begins with room for strace's own arguments. */
enum { STRACE_ARGUMENTS = 6 };
static struct counts count_command(const struct bench *bench, const char **argv)
{
    char *path = bench_path(bench, "strace.out");
    const char *const strace[STRACE_ARGUMENTS] = {"strace", "-f", "-c", "-Ucalls,name", "-o", path};
    memcpy(argv, strace, sizeof(strace));
    int status = bench_run(argv);
    if (status != 0)
        bench_die("strace %s ends with status %d", argv[STRACE_ARGUMENTS], status);
    struct counts counts = read_counts(path);
    unlink(path);
    free(path);
    return counts;
}

static struct counts count_worker(const struct bench *bench, const char *kind, const char *variant, const char *path,
                                  unsigned count)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", count);
    const char *argv[STRACE_ARGUMENTS + 7] = {NULL,       NULL, NULL,    NULL, NULL, NULL, bench->self,
                                              "--worker", kind, variant, path, text, NULL};
    return count_command(bench, argv);
}

static struct counts per_operation(const struct bench *bench, const char *kind, enum bench_variant variant,
                                   const char *path, unsigned few_count, unsigned many_count)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", (int)variant);
    count_worker(bench, kind, text, path, 1); /* makes what there is to make */
    struct counts few = count_worker(bench, kind, text, path, few_count);
    struct counts many = count_worker(bench, kind, text, path, many_count);
    double operations = (double)(many_count - few_count);
    return (struct counts){(many.syncs - few.syncs) / operations, (many.calls - few.calls) / operations};
}

static void count_forks(const struct bench *bench, const char *store_path)
{
    static const char work[] = "fdatasync calls of a fork of a clean branch";
    const char *argv[STRACE_ARGUMENTS + 7] = {NULL, NULL,       NULL,     NULL,           NULL,   NULL, bench->bough,
                                              "-s", store_path, "branch", "from-command", "main", NULL};
    /* Few enough that the catalog's WAL is not folded in between; then many, with their share of that. */
    struct counts counts = per_operation(bench, "fork", BOUGH_AT_FULL, store_path, FEW_FORKS, MANY_FORKS);
    bench_sample(work, "open process", BENCH_COUNT, counts.syncs);
    bench_sample("system calls of a fork", "open process", BENCH_COUNT, counts.calls);
    counts = per_operation(bench, "fork", BOUGH_AT_FULL, store_path, FEW, 10 * MANY);
    bench_sample(work, "with checkpoints", BENCH_COUNT, counts.syncs);
    counts = count_command(bench, argv);
    bench_sample(work, "fresh command", BENCH_COUNT, counts.syncs);
    bench_sample("system calls of a fork", "fresh command", BENCH_COUNT, counts.calls);
    bench_target_limit("fdatasync calls for a durable fork: open process", work, "open process", 1, "speed table");
    bench_target_limit("fdatasync calls for a durable fork: fresh command", work, "fresh command", 2, "speed table");
}

static void count_transactions(const struct bench *bench, const char *store_path)
{
    static const struct {
        enum bench_variant variant;
        const char *branch;
    } kinds[] = {{STOCK_DELETE_FULL, NULL}, {STOCK_WAL_FULL, NULL}, {BOUGH_AT_FULL, "main"}};
    static const char writes[] = "system calls of a one-row transaction, FULL";
    static const char reads[] = "system calls of a cached read transaction";
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const char *name = bench_variant_names[kinds[i].variant];
        char *plain = bench_path(bench, "calls%zu.db", i);
        const char *path = kinds[i].branch != NULL ? store_path : plain;
        struct counts write = per_operation(bench, "write", kinds[i].variant, path, FEW, MANY);
        struct counts read = per_operation(bench, "read", kinds[i].variant, path, FEW, MANY);
        bench_sample(writes, name, BENCH_COUNT, write.calls);
        bench_sample("fdatasync calls of a one-row transaction, FULL", name, BENCH_COUNT, write.syncs);
        bench_sample(reads, name, BENCH_COUNT, read.calls);
        bench_remove_tree(plain);
        free(plain);
    }
    bench_target_limit("system calls per write transaction (FULL)", writes, "bough FULL", 4.05, "design table");
    bench_target_limit("system calls per cached read transaction", reads, "bough FULL", 0.05, "design table");
}

void bench_calls(const struct bench *bench)
{
    if (!bench_has_program("strace")) {
        bench_note("no strace: system calls and syncs were not counted");
        return;
    }
    char *path = bench_path(bench, "calls.bough");
    bough_store_close(bench_store_init(path, bench_shop_file(bench, bench->sizes_bytes[0])));
    count_forks(bench, path);
    count_transactions(bench, path);
    bench_remove_tree(path);
    free(path);
}
