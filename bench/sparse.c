/* sparse.c - a database of 100 GB that is nearly all zeros: nothing may cost in proportion to its size. */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A small database whose header says that it has as many pages as the file is long; the pages that nothing refers to
 * are holes. */
static void make_sparse_file(const char *path, uint64_t size_bytes)
{
    unlink(path);
    sqlite3 *db = bench_open(path, STOCK_DELETE_FULL);
    bench_exec(db, "PRAGMA page_size=4096; CREATE TABLE small(id INTEGER PRIMARY KEY, body TEXT);"
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
                   "INSERT INTO small SELECT i, printf('%0100d', i) FROM n");
    bench_close(db);
    uint64_t pages = size_bytes / 4096;
    unsigned char count[4] = {(unsigned char)(pages >> 24), (unsigned char)(pages >> 16), (unsigned char)(pages >> 8),
                              (unsigned char)pages};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)(pages * 4096)) != 0 || pwrite(fd, count, 4, 28) != 4 || fsync(fd) != 0)
        bench_die("%s: cannot be made sparse", path);
    close(fd);
}

static void read_worker(char *text)
{
    static const struct {
        const char *key, *work;
    } kinds[] = {{"open", "sparse database: open and first query"},
                 {"fork", "sparse database: fork"},
                 {"drop", "sparse database: drop"}};
    char *state = NULL, key[16];
    unsigned long long read = 0, resident = 0;
    for (char *line = strtok_r(text, "\n", &state); line != NULL; line = strtok_r(NULL, "\n", &state)) {
        if (sscanf(line, "%15s %llu %llu", key, &read, &resident) != 3)
            bench_die("worker: %s", line);
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
            if (strcmp(kinds[i].key, key) == 0) {
                bench_sample(kinds[i].work, "bytes read", BENCH_BYTES, (double)read);
                bench_sample(kinds[i].work, "memory added", BENCH_BYTES, (double)resident);
            }
    }
}

void bench_sparse(const struct bench *bench)
{
    char *file = bench_path(bench, "sparse.db"), *path = bench_path(bench, "sparse.bough");
    make_sparse_file(file, bench->sparse_bytes);
    double begin = bench_now();
    bough_store_close(bench_store_init(path, file));
    char work[96];
    snprintf(work, sizeof(work), "init of a sparse database of %.4g GB", (double)bench->sparse_bytes / 1e9);
    bench_sample(work, "bough", BENCH_SECONDS, bench_now() - begin);
    unlink(file);
    for (unsigned round = 0; round < bench->rounds; round++) {
        const char *const argv[] = {bench->self, "--worker", "sparse", "3", path, "1", NULL};
        char *text = bench_output(argv);
        if (text == NULL)
            bench_die("the worker failed on the sparse database");
        read_worker(text);
        free(text);
    }
    static const char from[] = "speed table";
    bench_target_limit("sparse: bytes read by open", "sparse database: open and first query", "bytes read", 512 * 1024,
                       from);
    bench_target_limit("sparse: bytes read by fork", "sparse database: fork", "bytes read", 64 * 1024, from);
    bench_target_limit("sparse: bytes read by drop", "sparse database: drop", "bytes read", 64 * 1024, from);
    bench_target_limit("sparse: memory of open beyond the start", "sparse database: open and first query",
                       "memory added", 34 << 20, "speed table (32 MB + cache of 2 MB)");
    bench_remove_tree(path);
    free(file);
    free(path);
}
