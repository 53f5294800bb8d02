/* test_descriptors.c - a hundred branches open in a process that may have few descriptors: how many there are, that all
 * branches can be written to all the same, and what happens when there is none left at all.
 */
#include "database.h"

#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define BRANCHES 100
#define THREADS 4
/* As docs/concurrency.md has it: of layers and nodes, and besides them. */
#define POOL 64
#define STORE 8

static void make_branches(void)
{
    char names[BRANCHES][16];
    const char *list[BRANCHES];
    bough_store *store = NULL;
    bough_branches made = {0};
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 100, 100);
    database_close(db);
    for (int i = 0; i < BRANCHES; i++) {
        snprintf(names[i], sizeof(names[i]), "b-%d", i);
        list[i] = names[i];
    }
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    ASSERT_OK(bough_branch_create(&made, store, list, BRANCHES, "main", NULL));
    bough_branches_release(&made);
    bough_store_close(store);
}

static const char *uri_of(int branch)
{
    char name[16];
    snprintf(name, sizeof(name), "b-%d", branch);
    return database_uri("s", name, "");
}

static void set_limit(rlim_t count)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = count;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Of the file behind a descriptor. */
static const char *name_of(int fd)
{
    static char name[512];
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, name, sizeof name - 1);
    name[len > 0 ? len : 0] = 0;
    return name;
}

/* Descriptors of this process whose file's name has the word in it. */
static int count_open(const char *word)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;
    ck_assert_ptr_nonnull(directory);
    for (struct dirent *entry = NULL; (entry = readdir(directory));) {
        count += entry->d_name[0] != '.' && strstr(name_of(atoi(entry->d_name)), word) != NULL;
    }
    closedir(directory);
    return count;
}

static int count_pooled(void)
{
    return count_open(".layer") + count_open(".nodes");
}

static void expect_all(sqlite3 *const *open, const char *text)
{
    for (int i = 0; i < BRANCHES; i++)
        ck_assert_int_eq(database_number(open[i], "SELECT count(*) FROM t WHERE b = '%s %d'", text, i), 1);
}

static void close_all(sqlite3 *const *open)
{
    for (int i = 0; i < BRANCHES; i++)
        database_close(open[i]);
    ck_assert_int_eq(count_open(".bough/"), 0);
    for (int i = 0; i < BRANCHES; i += 9) {
        sqlite3 *db = database_open_uri(uri_of(i));
        database_check(db);
        database_close(db);
    }
}

/* ---- as many as one likes ---------------------------------------------------------------------------------------- */

TEST(open_branches_have_no_descriptors)
{
    sqlite3 *open[BRANCHES];
    make_branches();
    open[0] = database_open_uri(uri_of(0));
    ck_assert_int_eq(database_number(open[0], "SELECT count(*) FROM t"), 100);
    int with_one = count_open(".bough/");
    for (int i = 1; i < BRANCHES; i++) {
        open[i] = database_open_uri(uri_of(i));
        ck_assert_int_eq(database_number(open[i], "SELECT count(*) FROM t"), 100);
    }
    ck_assert_int_le(with_one, STORE);
    ck_assert_int_eq(count_open(".bough/"), with_one);
    close_all(open);
}

static void write_all(const char *pragma)
{
    sqlite3 *open[BRANCHES];
    make_branches();
    set_limit(128);
    for (int i = 0; i < BRANCHES; i++) {
        open[i] = database_open_uri(uri_of(i));
        database_run(open[i], "%s; INSERT INTO t(b) VALUES('first %d')", pragma, i);
        ck_assert_int_le(count_pooled(), POOL);
    }
    ck_assert_int_le(count_open(".bough/"), POOL + STORE);
    expect_all(open, "first");
    for (int i = 0; i < BRANCHES; i++) {
        database_run(open[i], "INSERT INTO t(b) VALUES('again %d')", i);
        ck_assert_int_le(count_pooled(), POOL);
    }
    expect_all(open, "again");
    /* Enough for their checkpoints. */
    for (int i = 0; i < BRANCHES; i += 3)
        for (int turn = 0; turn < 3; turn++)
            database_run(open[i], "UPDATE t SET b = hex(randomblob(1500)) WHERE a <= 100");
    expect_all(open, "first");
    ck_assert_int_le(count_open(".bough/"), POOL + STORE);
    close_all(open);
}

TEST(all_are_written_to)
{
    write_all("PRAGMA synchronous = FULL");
}

TEST(all_are_written_to_without_syncs)
{
    write_all("PRAGMA synchronous = OFF");
}

static void *write_some(void *context)
{
    sqlite3 **open = context;
    for (int turn = 0; turn < 3; turn++)
        for (int i = 0; i < BRANCHES / THREADS; i++)
            database_run(open[i], "PRAGMA synchronous = %s; INSERT INTO t(b) VALUES('turn %d')",
                         i % 2 ? "OFF" : "FULL", turn);
    return NULL;
}

TEST(threads_with_a_hundred_branches)
{
    sqlite3 *open[BRANCHES];
    pthread_t threads[THREADS];
    make_branches();
    set_limit(128);
    for (int i = 0; i < BRANCHES; i++)
        open[i] = database_open_uri(uri_of(i));
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_some, open + i * (BRANCHES / THREADS)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_le(count_open(".bough/"), POOL + STORE);
    for (int i = 0; i < BRANCHES; i++)
        ck_assert_int_eq(database_number(open[i], "SELECT count(*) FROM t WHERE b LIKE 'turn %%'"), 3);
    close_all(open);
}

/* A hundred transactions at a time are a hundred descriptors, and the process has so many. */
TEST(open_transactions_keep_theirs)
{
    sqlite3 *open[BRANCHES];
    make_branches();
    for (int i = 0; i < BRANCHES; i++) {
        open[i] = database_open_uri(uri_of(i));
        database_run(open[i], "BEGIN; INSERT INTO t(b) VALUES('first %d'); SAVEPOINT s", i);
        database_run(open[i], "PRAGMA cache_size = 5; UPDATE t SET b = hex(randomblob(500)) WHERE a <= 100");
    }
    ck_assert_int_ge(count_open(".layer"), BRANCHES);
    for (int i = 0; i < BRANCHES; i++)
        database_run(open[i], "COMMIT");
    ck_assert_int_le(count_pooled(), POOL);
    expect_all(open, "first");
    close_all(open);
}

/* ---- what was not synced ----------------------------------------------------------------------------------------- */

static struct {
    int (*fdatasync)(int fd);
    int (*close)(int fd);
    ssize_t (*pwrite)(int fd, const void *buffer, size_t len, off_t offset);
    bool is_unsynced[1024];
    int lost, syncs;
} seen;

static bool is_layer(int fd)
{
    return fd < 1024 && strstr(name_of(fd), ".layer") != NULL;
}

static ssize_t seen_pwrite(int fd, const void *buffer, size_t len, off_t offset)
{
    if (is_layer(fd))
        seen.is_unsynced[fd] = true;
    return seen.pwrite(fd, buffer, len, offset);
}

static int seen_sync(int fd)
{
    if (is_layer(fd)) {
        seen.is_unsynced[fd] = false;
        seen.syncs++;
    }
    return seen.fdatasync(fd);
}

static int seen_close(int fd)
{
    if (is_layer(fd)) {
        seen.lost += seen.is_unsynced[fd];
        seen.is_unsynced[fd] = false;
    }
    return seen.close(fd);
}

static void watch(void)
{
    seen.fdatasync = bough__os.fdatasync;
    seen.close = bough__os.close;
    seen.pwrite = bough__os.pwrite;
    bough__os.fdatasync = seen_sync;
    bough__os.close = seen_close;
    bough__os.pwrite = seen_pwrite;
}

TEST(no_descriptor_goes_before_what_it_wrote_is_synced)
{
    sqlite3 *open[BRANCHES];
    make_branches();
    watch();
    for (int i = 0; i < BRANCHES; i++) {
        open[i] = database_open_uri(uri_of(i));
        database_run(open[i], "PRAGMA synchronous = OFF; INSERT INTO t(b) VALUES('first %d')", i);
    }
    ck_assert_int_eq(seen.lost, 0);
    ck_assert_int_ge(seen.syncs, BRANCHES - POOL);
    int syncs = seen.syncs;
    for (int i = 0; i < BRANCHES; i++) /* two for each of these: its own, and for what is in the way */
        database_run(open[i], "PRAGMA synchronous = FULL; INSERT INTO t(b) VALUES('again %d')", i);
    ck_assert_int_eq(seen.lost, 0);
    syncs = seen.syncs;
    for (int i = 0; i < BRANCHES; i++) /* and no other */
        database_run(open[i], "INSERT INTO t(b) VALUES('third %d')", i);
    ck_assert_int_eq(seen.lost, 0);
    ck_assert_int_eq(seen.syncs - syncs, BRANCHES);
    expect_all(open, "first");
    expect_all(open, "third");
    close_all(open);
}

static int failing_sync(int fd)
{
    if (!is_layer(fd))
        return seen.fdatasync(fd);
    seen.syncs++;
    errno = EIO;
    return -1;
}

/* It belongs to a branch that nobody is using at the moment. Its next transaction stores again what may be lost. */
TEST(a_failure_to_sync_is_remembered)
{
    sqlite3 *open[BRANCHES];
    make_branches();
    watch();
    for (int i = 0; i < BRANCHES; i++)
        open[i] = database_open_uri(uri_of(i));
    for (int i = 0; i < 32; i++)
        database_run(open[i], "PRAGMA synchronous = OFF; INSERT INTO t(b) VALUES('first %d')", i);
    bough__os.fdatasync = failing_sync;
    CODE(SQLITE_IOERR, database_try(open[50], "INSERT INTO t(b) VALUES('x')") & 0xff); /* in the place of the first */
    bough__os.fdatasync = seen_sync;
    ck_assert_int_eq(seen.syncs, 2);
    ck_assert_int_eq(database_number(open[0], "SELECT count(*) FROM t"), 101);
    ck_assert_int_eq(database_number(open[50], "SELECT count(*) FROM t"), 100);
    bough_store *store = NULL;
    bough_branches made = {0};
    const char *name = "of-0";
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    bough__os.fdatasync = failing_sync; /* a fork needs it on the disk, and the flag says that it may not be */
    ck_assert_int_ne(bough_branch_create(&made, store, &name, 1, "b-0", NULL), BOUGH_OK);
    bough__os.fdatasync = seen_sync;
    ASSERT_OK(bough_branch_create(&made, store, &name, 1, "b-0", NULL));
    bough_branches_release(&made);
    bough_store_close(store);
    database_run(open[0], "INSERT INTO t(b) VALUES('y')");
    database_run(open[50], "INSERT INTO t(b) VALUES('y')");
    ck_assert_int_eq(database_number(open[0], "SELECT count(*) FROM t"), 102);
    close_all(open);
}

/* ---- none is left ------------------------------------------------------------------------------------------------ */

TEST(none_is_left)
{
    sqlite3 *open[BRANCHES];
    make_branches();
    for (int i = 0; i < BRANCHES; i++) {
        open[i] = database_open_uri(uri_of(i));
        database_run(open[i], "PRAGMA synchronous = %s; INSERT INTO t(b) VALUES('first %d')", i % 2 ? "OFF" : "FULL",
                     i);
    }
    /* As many as are open: the next one takes the place of one. */
    set_limit((rlim_t)count_open("") - 1); /* that of the count itself is closed again */
    for (int i = 0; i < BRANCHES; i++)
        database_run(open[i], "INSERT INTO t(b) VALUES('second %d')", i);
    /* None, not even in the place of another. */
    set_limit(3);
    int failed = 0;
    for (int i = 0; i < BRANCHES; i++) {
        int rc = database_try(open[i], "INSERT INTO t(b) VALUES('third %d')", i);
        failed += rc != SQLITE_OK;
        ck_assert_msg(rc == SQLITE_OK || (rc & 0xff) == SQLITE_IOERR, "branch %d: %d", i, rc);
        if (rc != SQLITE_OK)
            ck_assert_ptr_nonnull(strstr(database_log(), "Too many open files"));
    }
    ck_assert_int_ge(failed, BRANCHES / 2);
    set_limit(128);
    for (int i = 0; i < BRANCHES; i++)
        database_run(open[i], "INSERT INTO t(b) VALUES('fourth %d')", i);
    expect_all(open, "first");
    expect_all(open, "second");
    expect_all(open, "fourth");
    for (int i = 0; i < BRANCHES; i++)
        failed -= database_number(open[i], "SELECT count(*) FROM t WHERE b = 'third %d'", i) == 0;
    ck_assert_int_eq(failed, 0);
    close_all(open);
}

/* There is room in the pool, but the process has no descriptor left: one that is idle goes, and nobody notices. */
TEST(an_idle_one_gives_way)
{
    enum { SOME = 20 };
    sqlite3 *open[SOME + 1];
    make_branches();
    for (int i = 0; i <= SOME; i++)
        open[i] = database_open_uri(uri_of(i));
    for (int i = 0; i < SOME; i++)
        database_run(open[i], "PRAGMA synchronous = %s; INSERT INTO t(b) VALUES('first')", i % 2 ? "OFF" : "FULL");
    int free_slot = dup(0); /* the lowest number, and with it as many as are open are below the limit */
    close(free_slot);
    set_limit((rlim_t)free_slot);
    database_run(open[SOME], "INSERT INTO t(b) VALUES('first')"); /* makes its file */
    for (int i = 0; i <= SOME; i++)
        database_run(open[i], "INSERT INTO t(b) VALUES('second')");
    ck_assert_int_le(count_open(".layer"), SOME + 1);
    set_limit(128);
    for (int i = 0; i <= SOME; i++) {
        ck_assert_int_eq(database_number(open[i], "SELECT count(*) FROM t WHERE b IN ('first', 'second')"), 2);
        database_close(open[i]);
    }
}

TEST(another_file_in_its_place)
{
    sqlite3 *open[BRANCHES];
    char layer[512] = "", copy[520];
    size_t len = 0;
    make_branches();
    open[0] = database_open_uri(uri_of(0));
    database_run(open[0], "INSERT INTO t(b) VALUES('first 0')");
    for (int fd = 0; fd < 64 && layer[0] == 0; fd++)
        if (fcntl(fd, F_GETFL) >= 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR && strstr(name_of(fd), ".layer"))
            strcpy(layer, name_of(fd));
    for (int i = 1; i < BRANCHES; i++) {
        open[i] = database_open_uri(uri_of(i));
        database_run(open[i], "INSERT INTO t(b) VALUES('first %d')", i);
    }
    snprintf(copy, sizeof copy, "%s.copy", layer);
    uint8_t *bytes = harness_read_file(layer, &len);
    harness_write_file(copy, bytes, len);
    free(bytes);
    ck_assert_int_eq(rename(copy, layer), 0);
    CODE(SQLITE_CORRUPT, database_try(open[0], "INSERT INTO t(b) VALUES('second')") & 0xff);
    ck_assert_ptr_nonnull(strstr(database_log(), "another file has taken its place"));
    for (int i = 1; i < BRANCHES; i++)
        database_run(open[i], "INSERT INTO t(b) VALUES('second %d')", i);
    for (int i = 0; i < BRANCHES; i++)
        database_close(open[i]);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(open_branches_have_no_descriptors),
        CASE(all_are_written_to),
        CASE(all_are_written_to_without_syncs),
        CASE(threads_with_a_hundred_branches),
        CASE(open_transactions_keep_theirs),
        CASE(no_descriptor_goes_before_what_it_wrote_is_synced),
        CASE(a_failure_to_sync_is_remembered),
        CASE(none_is_left),
        CASE(an_idle_one_gives_way),
        CASE(another_file_in_its_place),
    };
    return harness_run("descriptors", cases, COUNT_OF(cases));
}
