/* copies.c - what people do today to get a second database: cp, cp --reflink, VACUUM INTO, the backup API. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An XFS on a loop device, where a copy by reference is possible. Mounted until the program ends. */
static struct {
    char *image, *mount;
} xfs;

static void unmount_xfs(void)
{
    if (xfs.mount == NULL)
        return;
    const char *const unmount[] = {"umount", xfs.mount, NULL};
    bench_run(unmount);
    unlink(xfs.image);
    free(xfs.image);
    free(xfs.mount);
    xfs.mount = NULL;
}

static bool mount_xfs(const struct bench *bench)
{
    if (geteuid() != 0 || !bench_has_program("mkfs.xfs")) {
        bench_note("no copy by reference: it takes root and mkfs.xfs");
        return false;
    }
    char *image = bench_path(bench, "xfs.img"), *mount = bench_path(bench, "xfs");
    char *size = bench_format("%llu", (unsigned long long)(bench->sizes_bytes[2] * 2 + 600000000));
    const char *const truncate[] = {"truncate", "-s", size, image, NULL};
    const char *const make[] = {"mkfs.xfs", "-q", "-m", "reflink=1", image, NULL};
    const char *const directory[] = {"mkdir", "-p", mount, NULL};
    const char *const attach[] = {"mount", "-o", "loop", image, mount, NULL};
    bool mounted =
        bench_run(truncate) == 0 && bench_run(make) == 0 && bench_run(directory) == 0 && bench_run(attach) == 0;
    free(size);
    if (!mounted) {
        bench_note("no copy by reference: an XFS on a loop device cannot be mounted here");
        unlink(image);
        free(image);
        free(mount);
        return false;
    }
    xfs.image = image;
    xfs.mount = mount;
    atexit(unmount_xfs);
    return true;
}

static double time_vacuum_into(const char *file, const char *copy)
{
    sqlite3 *db = bench_open(file, STOCK_DELETE_FULL);
    char *sql = sqlite3_mprintf("VACUUM INTO %Q", copy);
    unlink(copy);
    double begin = bench_now();
    bench_exec(db, sql);
    double seconds = bench_now() - begin;
    sqlite3_free(sql);
    bench_close(db);
    return seconds;
}

static double time_backup(const char *file, const char *copy)
{
    unlink(copy);
    sqlite3 *from = bench_open(file, STOCK_DELETE_FULL), *to = bench_open(copy, STOCK_DELETE_FULL);
    double begin = bench_now();
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    if (backup == NULL)
        bench_die("backup: %s", sqlite3_errmsg(to));
    bench_check_sql(to, sqlite3_backup_step(backup, -1), "backup");
    bench_check_sql(to, sqlite3_backup_finish(backup), "backup");
    double seconds = bench_now() - begin;
    bench_close(to);
    bench_close(from);
    return seconds;
}

static void measure_size(const struct bench *bench, uint64_t size_bytes, bool with_reflink)
{
    const char *file = bench_shop_file(bench, size_bytes);
    char *copy = bench_path(bench, "copy.db"), *store_path = bench_path(bench, "copies.bough");
    char *on_xfs = with_reflink ? bench_format("%s/shop.db", xfs.mount) : NULL;
    char *reflinked = with_reflink ? bench_format("%s/copy.db", xfs.mount) : NULL;
    bough_store *store = bench_store_init(store_path, file);
    char work[96];
    snprintf(work, sizeof(work), "a second database of %.4g MB", (double)size_bytes / 1e6);
    if (with_reflink) {
        const char *const place[] = {"cp", file, on_xfs, NULL};
        bench_run_timed(place);
        bench_sync_file(on_xfs);
    }
    for (unsigned round = 0; round < bench->rounds; round++) {
        const char *const plain[] = {"cp", file, copy, NULL};
        const char *const by_reference[] = {"cp", "--reflink=always", on_xfs, reflinked, NULL};
        char name[32];
        unlink(copy);
        bench_sample(work, "cp, not durable", BENCH_SECONDS, bench_run_timed(plain));
        if (with_reflink)
            bench_sample(work, "cp --reflink", BENCH_SECONDS, bench_run_timed(by_reference));
        bench_sample(work, "VACUUM INTO", BENCH_SECONDS, time_vacuum_into(file, copy));
        bench_sample(work, "backup API", BENCH_SECONDS, time_backup(file, copy));
        snprintf(name, sizeof(name), "b%u", round);
        double begin = bench_now();
        bench_fork(store, name, "main");
        bench_sample(work, "bough fork", BENCH_SECONDS, bench_now() - begin);
    }
    bough_store_close(store);
    unlink(copy);
    if (with_reflink) {
        unlink(on_xfs);
        unlink(reflinked);
    }
    bench_remove_tree(store_path);
    free(copy);
    free(store_path);
    free(on_xfs);
    free(reflinked);
}

void bench_copies(const struct bench *bench)
{
    bool with_reflink = mount_xfs(bench);
    for (int i = 0; i < 3; i++)
        measure_size(bench, bench->sizes_bytes[i], with_reflink);
    unmount_xfs();
}
