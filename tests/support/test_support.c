/* test_support.c - the simulated disk and the failing system keep their own promises. */
#include "error.h"
#include "faultos.h"
#include "harness.h"
#include "os.h"
#include "simdisk.h"
#include "sqlite_bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int create(const char *path)
{
    int fd = -1;
    ASSERT_OK(bough__os_open(&fd, path, O_RDWR | O_CREAT, 0640));
    return fd;
}

static void put(int fd, uint64_t offset, int byte, size_t len)
{
    uint8_t bytes[8192];
    memset(bytes, byte, len);
    ASSERT_OK(bough__os_write(fd, bytes, len, offset, "file"));
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* A durable file of 4096 bytes of 'a', open for more. */
static int durable_file(const char *path)
{
    int fd = create(path);
    put(fd, 0, 'a', 4096);
    ASSERT_OK(bough__os_sync(fd, path));
    ASSERT_OK(bough__os_sync_directory(harness_directory()));
    return fd;
}

TEST(what_was_synced_stays)
{
    simdisk_install(harness_directory(), 1);
    const char *path = harness_path("file");
    bough__os_close(&(int){durable_file(path)});
    for (int loss = SIMDISK_RANDOM; loss < SIMDISK_LOSSES; loss++) {
        simdisk_power_loss((enum simdisk_loss)loss, 5);
        size_t len = 0;
        uint8_t *bytes = harness_read_file(path, &len);
        ck_assert_uint_eq(len, 4096);
        for (size_t i = 0; i < len; i++)
            ck_assert_uint_eq(bytes[i], 'a');
        free(bytes);
        struct stat info;
        ck_assert_int_eq(stat(path, &info), 0);
        ck_assert_uint_eq(info.st_mode & 0777, 0640);
    }
}

TEST(what_was_not_synced_may_go)
{
    simdisk_install(harness_directory(), 1);
    const char *path = harness_path("file"), *other = harness_path("other");
    int fd = durable_file(path);
    put(fd, 0, 'b', 8192);
    bough__os_close(&fd);
    fd = create(other); /* synced, but its name is not */
    put(fd, 0, 'c', 10);
    ASSERT_OK(bough__os_sync(fd, other));
    bough__os_close(&fd);
    simdisk_power_loss(SIMDISK_LOSE_ALL, 1);
    size_t len = 0;
    uint8_t *bytes = harness_read_file(path, &len);
    ck_assert_uint_eq(len, 4096);
    ck_assert_uint_eq(bytes[0], 'a');
    free(bytes);
    ck_assert(!exists(other));
}

TEST(what_was_not_synced_may_stay)
{
    simdisk_install(harness_directory(), 1);
    const char *path = harness_path("file"), *moved = harness_path("moved");
    int fd = durable_file(path);
    put(fd, 0, 'b', 8192);
    bough__os_close(&fd);
    ck_assert_int_eq(bough__os.rename(path, moved), 0);
    simdisk_power_loss(SIMDISK_KEEP_ALL, 1);
    size_t len = 0;
    uint8_t *bytes = harness_read_file(moved, &len);
    ck_assert_uint_eq(len, 8192);
    ck_assert_uint_eq(bytes[8191], 'b');
    free(bytes);
    ck_assert(!exists(path));
}

/* Every sector holds one whole version, all mixtures occur, and the seed decides. */
TEST(sectors_tear_apart)
{
    unsigned mixed = 0;
    simdisk_install(harness_directory(), 1);
    const char *path = harness_path("file");
    for (uint64_t seed = 0; seed < 50; seed++) {
        int fd = durable_file(path);
        put(fd, 0, 'b', 4096);
        put(fd, 100, 'c', 2000);
        bough__os_close(&fd);
        simdisk_power_loss(SIMDISK_TORN, seed);
        size_t len = 0;
        uint8_t *bytes = harness_read_file(path, &len);
        ck_assert_uint_eq(len, 4096);
        bool seen[128] = {false};
        for (size_t start = 0; start < len; start += 512) {
            ck_assert(bytes[start] == 'a' || bytes[start] == 'b' || bytes[start] == 'c');
            seen[bytes[start]] = true;
            /* 'c' on top of 'a' in one sector would be a version that never was. */
            if (memchr(bytes + start, 'c', 512))
                ck_assert_ptr_null(memchr(bytes + start, 'a', 512));
            if (memchr(bytes + start, 'a', 512))
                ck_assert_ptr_null(memchr(bytes + start, 'b', 512));
        }
        mixed += seen['a'] && seen['b'] && seen['c'];
        free(bytes);
        unlink(path);
        simdisk_install(harness_directory(), 1);
    }
    ck_assert_uint_gt(mixed, 5);
}

TEST(cut_off_bytes_stay_cut_off)
{
    simdisk_install(harness_directory(), 1);
    const char *path = harness_path("file");
    int fd = durable_file(path);
    ck_assert_int_eq(bough__os.ftruncate(fd, 1000), 0);
    put(fd, 3000, 'z', 10);
    ASSERT_OK(bough__os_sync(fd, path));
    bough__os_close(&fd);
    simdisk_power_loss(SIMDISK_RANDOM, 9);
    size_t len = 0;
    uint8_t *bytes = harness_read_file(path, &len);
    ck_assert_uint_eq(len, 3010);
    ck_assert_uint_eq(bytes[999], 'a');
    for (size_t i = 1000; i < 3000; i++)
        ck_assert_uint_eq(bytes[i], 0);
    ck_assert_uint_eq(bytes[3009], 'z');
    free(bytes);
}

TEST(names_wait_for_their_directory)
{
    simdisk_install(harness_directory(), 1);
    const char *tree = harness_path("new"), *file = harness_path("new/file"), *final = harness_path("final");
    ck_assert_int_eq(bough__os.mkdir(tree, 0700), 0);
    bough__os_close(&(int){create(file)});
    ASSERT_OK(bough__os_sync_directory(tree));
    ck_assert_int_eq(bough__os.rename(tree, final), 0);
    ASSERT_OK(bough__os_sync_directory(harness_directory()));
    simdisk_power_loss(SIMDISK_LOSE_ALL, 0);
    ck_assert(exists(harness_path("final/file")));
    ck_assert(!exists(tree));
    /* A removal that was not synced is undone; one that was is not. */
    ck_assert_int_eq(bough__os.unlink(harness_path("final/file")), 0);
    simdisk_power_loss(SIMDISK_LOSE_ALL, 0);
    ck_assert(exists(harness_path("final/file")));
    ck_assert_int_eq(bough__os.unlink(harness_path("final/file")), 0);
    ASSERT_OK(bough__os_sync_directory(final));
    simdisk_power_loss(SIMDISK_LOSE_ALL, 0);
    ck_assert(!exists(harness_path("final/file")));
}

TEST(failed_sync_loses_for_good)
{
    simdisk_install(harness_directory(), 1);
    const char *path = harness_path("file");
    unsigned kept = 0, rounds = 30;
    for (uint64_t seed = 0; seed < rounds; seed++) {
        int fd = durable_file(path);
        put(fd, 0, 'b', 512);
        simdisk_fail_sync_at(1, seed);
        ASSERT_CODE(BOUGH_IO, bough__os_sync(fd, path));
        ASSERT_OK(bough__os_sync(fd, path));
        uint8_t byte = 0;
        ASSERT_OK(bough__os_read(fd, &byte, 1, 0, path));
        ck_assert_uint_eq(byte, 'b'); /* the page cache still shows it */
        bough__os_close(&fd);
        simdisk_power_loss(SIMDISK_KEEP_ALL, seed);
        size_t len = 0;
        uint8_t *bytes = harness_read_file(path, &len);
        kept += bytes[0] == 'b';
        free(bytes);
    }
    ck_assert_uint_gt(kept, 0);
    ck_assert_uint_lt(kept, rounds);
}

TEST(crash_comes_at_the_step_asked_for)
{
    const char *path = harness_path("file");
    for (uint64_t nth = 1; nth <= 3; nth++) {
        pid_t pid = fork();
        if (pid == 0) {
            simdisk_install(harness_directory(), 1);
            simdisk_crash_at(SIMDISK_SYNC, nth, SIMDISK_LOSE_ALL, nth);
            int fd = durable_file(path); /* two syncs */
            put(fd, 0, 'b', 512);
            bough__os_sync(fd, path);
            _exit(0);
        }
        int status = 0;
        waitpid(pid, &status, 0);
        ck_assert_int_eq(WEXITSTATUS(status), SIMDISK_EXIT);
        ck_assert_int_eq(exists(path), nth == 3);
        unlink(path);
    }
}

TEST(shared_memory_is_never_durable)
{
    simdisk_install(harness_directory(), 1);
    const char *path = harness_path("file");
    int fd = durable_file(path);
    uint8_t *map = bough__os.mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert(map != MAP_FAILED);
    map[0] = 'm';
    simdisk_power_loss(SIMDISK_KEEP_ALL, 1);
    size_t len = 0;
    uint8_t *bytes = harness_read_file(path, &len);
    ck_assert_uint_eq(bytes[0], 'm');
    free(bytes);
    bough__os.munmap(map, 4096);
    bough__os_close(&fd);
}

TEST(each_boot_has_its_id)
{
    uint8_t first[16], second[16];
    simdisk_install(harness_directory(), 1);
    bough__os_boot_id(first);
    simdisk_install(harness_directory(), 2);
    int fd = bough__os.open("/proc/sys/kernel/random/boot_id", O_RDONLY, 0);
    char text[64] = "";
    ck_assert_int_gt(bough__os.pread(fd, text, sizeof text - 1, 0), 0);
    bough__os.close(fd);
    ck_assert_int_eq(sscanf(text, "00000000-0000-4000-8000-0000000000%2hhx", &second[15]), 1);
    ck_assert_uint_ne(first[15], second[15]);
    const uint8_t zeros[16] = {0};
    ck_assert_mem_ne(first, zeros, sizeof first);
}

/* SQLite itself, in WAL mode on the simulated disk: what COMMIT acknowledged under FULL is there after every loss. */
TEST(sqlite_survives_on_it)
{
    sqlite_bridge_install();
    simdisk_install(harness_directory(), 1);
    for (uint64_t seed = 1; seed <= 40; seed++) {
        sqlite3 *db = NULL;
        char sql[300];
        ck_assert_int_eq(sqlite3_open(harness_path("test.db"), &db), SQLITE_OK);
        snprintf(sql, sizeof sql, "pragma journal_mode=wal; pragma synchronous=full; create table if not exists "
                 "t(x primary key); insert into t values(%d); begin; insert into t values(-1);", (int)seed);
        ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
        simdisk_power_loss(SIMDISK_RANDOM, seed);
        sqlite3_close(db); /* its files are gone from the directory */
        simdisk_install(harness_directory(), 1);
        sqlite3_stmt *count = NULL;
        ck_assert_int_eq(sqlite3_open(harness_path("test.db"), &db), SQLITE_OK);
        ck_assert_int_eq(sqlite3_prepare_v2(db, "select count(*), min(x) from t", -1, &count, NULL), SQLITE_OK);
        ck_assert_int_eq(sqlite3_step(count), SQLITE_ROW);
        ck_assert_int_eq(sqlite3_column_int(count, 0), (int)seed);
        ck_assert_int_eq(sqlite3_column_int(count, 1), 1);
        sqlite3_finalize(count);
        sqlite3_close(db);
    }
    ck_assert_uint_gt(simdisk_count(SIMDISK_SYNC), 0);
}

TEST(nth_call_fails)
{
    faultos_install();
    const char *path = harness_path("file");
    int fd = create(path);
    faultos_fail(FAULTOS_WRITE, 2, ENOSPC, false);
    ASSERT_OK(bough__os_write(fd, "a", 1, 0, path));
    ASSERT_CODE(BOUGH_FULL, bough__os_write(fd, "b", 1, 1, path));
    ck_assert(faultos_was_hit());
    ASSERT_OK(bough__os_write(fd, "c", 1, 1, path));
    faultos_fail(FAULTOS_SYNC, 1, EIO, true);
    ASSERT_CODE(BOUGH_IO, bough__os_sync(fd, path));
    ASSERT_CODE(BOUGH_IO, bough__os_sync(fd, path));
    faultos_fail(FAULTOS_SHORT_WRITE, 1, ENOSPC, false);
    ASSERT_CODE(BOUGH_FULL, bough__os_write(fd, "wxyz", 4, 0, path));
    faultos_clear();
    ck_assert(!faultos_was_hit());
    char back[5] = "";
    ASSERT_OK(bough__os_read(fd, back, 2, 0, path));
    ck_assert_str_eq(back, "wx");
    faultos_fail(FAULTOS_MEMORY, 1, ENOMEM, false);
    ck_assert_ptr_null(bough__alloc(1));
    ck_assert_uint_eq(faultos_count(FAULTOS_MEMORY), 1);
    bough__os_close(&fd);
}

TEST(sqlite_meets_faults_too)
{
    sqlite_bridge_install();
    faultos_install();
    unsigned failed[FAULTOS_KINDS] = {0};
    static const enum faultos_kind kinds[] = {FAULTOS_OPEN, FAULTOS_READ, FAULTOS_WRITE, FAULTOS_SYNC, FAULTOS_MEMORY};
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        for (uint64_t nth = 1; nth < 200; nth++) {
            sqlite3 *db = NULL;
            faultos_fail(kinds[k], nth, EIO, false);
            int rc = sqlite3_open(harness_path("test.db"), &db);
            if (rc == SQLITE_OK)
                rc = sqlite3_exec(db, "create table if not exists t(x); insert into t values(1);", NULL, NULL, NULL);
            failed[kinds[k]] += rc != SQLITE_OK;
            sqlite3_close(db);
            if (!faultos_was_hit())
                break;
        }
        faultos_clear();
        ck_assert_msg(failed[kinds[k]] > 0, "no failed %s reached SQLite", faultos_name(kinds[k]));
    }
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(what_was_synced_stays),
        CASE(what_was_not_synced_may_go),
        CASE(what_was_not_synced_may_stay),
        CASE(sectors_tear_apart),
        CASE(cut_off_bytes_stay_cut_off),
        CASE(names_wait_for_their_directory),
        CASE(failed_sync_loses_for_good),
        CASE(crash_comes_at_the_step_asked_for),
        CASE(shared_memory_is_never_durable),
        CASE(each_boot_has_its_id),
        CASE(sqlite_survives_on_it),
        CASE(nth_call_fails),
        CASE(sqlite_meets_faults_too),
    };
    return harness_run("support", cases, COUNT_OF(cases));
}
