/* test_capture.c - what a capture reads is what SQLite itself would leave.
 *
 * The reference is SQLite: the database, its -wal and its -journal are copied to another folder, opened there for
 * writing (which rolls a hot journal back and recovers a WAL), checkpointed and closed; the bytes of that file must be
 * the capture's. And nothing in the folder of the original may change.
 */
#include "capture.h"
#include "error.h"
#include "harness.h"
#include "peer.h"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- helpers --------------------------------------------------------------------------------------------------- */

static sqlite3 *open_db(const char *path)
{
    sqlite3 *db = NULL;
    ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"), SQLITE_OK);
    return db;
}

static void run(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    int rc = sqlite3_exec(db, sql, NULL, NULL, &message);
    ck_assert_msg(rc == SQLITE_OK, "%s: %s", sql, message ? message : sqlite3_errstr(rc));
}

static bool copy_file(const char *from, const char *to)
{
    if (access(from, F_OK) != 0)
        return false;
    size_t len = 0;
    uint8_t *bytes = harness_read_file(from, &len);
    harness_write_file(to, bytes, len);
    free(bytes);
    return true;
}

/* A path in the test's folder that stays (harness_path's buffers are used again). */
static const char *place(const char *name)
{
    static char *kept[4096];
    static size_t count;
    ck_assert_uint_lt(count, COUNT_OF(kept));
    return kept[count++] = strdup(harness_path(name));
}

static const char *with(const char *path, const char *suffix)
{
    static char buffers[8][512];
    static int next;
    char *out = buffers[next++ % 8];
    snprintf(out, sizeof buffers[0], "%s%s", path, suffix);
    return out;
}

/* The database with what would be recovered, as a crash of the machine's processes would leave it. */
static void snapshot_files(const char *from, const char *to)
{
    unlink(with(to, "-wal"));
    unlink(with(to, "-shm"));
    unlink(with(to, "-journal"));
    ck_assert(copy_file(from, to));
    copy_file(with(from, "-wal"), with(to, "-wal"));
    copy_file(with(from, "-journal"), with(to, "-journal"));
}

/* A damaged page count in a journal's header may make a database of terabytes; of those only the size is compared. */
#define BYTES_MAX (64u << 20)

/* SQLite's answer; NULL (and the size) where it is too large. */
static uint8_t *reference_bytes(const char *path, size_t *out_len)
{
    mkdir(place("reference"), 0755);
    const char *copy = place("reference/db");
    snapshot_files(path, copy);
    sqlite3 *db = open_db(copy);
    /* Half a rollback may leave what SQLite calls malformed; its bytes count all the same. */
    int rc = sqlite3_exec(db, "SELECT count(*) FROM sqlite_schema; PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
    ck_assert_msg(rc == SQLITE_OK || rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB, "%s", sqlite3_errmsg(db));
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    struct stat info;
    ck_assert_int_eq(stat(copy, &info), 0);
    *out_len = (size_t)info.st_size;
    return *out_len > BYTES_MAX ? NULL : harness_read_file(copy, out_len);
}

static uint8_t *read_source(const struct bough__source *source)
{
    uint8_t *bytes = calloc(1, (size_t)source->size_bytes + 1);
    uint64_t start = 0, end = 0, at = 0;
    while (source->next_data(source->context, at, &start, &end)) {
        ck_assert_uint_ge(start, at);
        ck_assert_uint_lt(start, end);
        ck_assert_uint_le(end, source->size_bytes);
        ASSERT_OK(source->read(source->context, start, bytes + start, (size_t)(end - start)));
        at = end;
    }
    return bytes;
}

/* Pieces that start and end anywhere give the same bytes as the whole. */
static void check_random_reads(const struct bough__source *source, const uint8_t *bytes)
{
    struct harness_random random = {7};
    uint8_t buffer[5000];
    for (int i = 0; i < 50 && source->size_bytes > 0; i++) {
        uint64_t at = harness_below(&random, source->size_bytes);
        size_t len = (size_t)harness_below(&random, sizeof buffer) + 1;
        if (len > source->size_bytes - at)
            len = (size_t)(source->size_bytes - at);
        ASSERT_OK(source->read(source->context, at, buffer, len));
        ck_assert_mem_eq(buffer, bytes + at, len);
    }
}

/* Names, sizes and times of everything in the test's folder, as a text. */
static void list_folder(char *out, size_t size)
{
    struct dirent **entries = NULL;
    int count = scandir(harness_directory(), &entries, NULL, alphasort);
    size_t len = 0;
    for (int i = 0; i < count; i++) {
        struct stat info;
        const char *name = entries[i]->d_name;
        if (name[0] != '.' && strcmp(name, "reference") != 0 && stat(place(name), &info) == 0)
            len += (size_t)snprintf(out + len, size - len, "%s %lld %ld.%09ld\n", name, (long long)info.st_size,
                                    (long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
        free(entries[i]);
    }
    free(entries);
    ck_assert_uint_lt(len, size);
}

static void compare_with(const struct bough__source *source, const uint8_t *expected, size_t expected_len)
{
    ck_assert_uint_eq(source->size_bytes, expected_len);
    if (!expected)
        return;
    uint8_t *bytes = read_source(source);
    for (size_t i = 0; i < expected_len; i++)
        if (bytes[i] != expected[i])
            ck_abort_msg("byte %zu (page %zu) differs", i, i / source->page_size + 1);
    check_random_reads(source, bytes);
    free(bytes);
}

/* The capture of path is what SQLite would leave, and leaves everything alone. */
static void check_capture(const char *path)
{
    static char before[4096], after[4096];
    struct bough__source source;
    char *resolved = NULL;
    size_t len = 0;
    uint8_t *expected = reference_bytes(path, &len);
    list_folder(before, sizeof before);
    ASSERT_OK(bough__capture_open(&source, &resolved, path, 0));
    compare_with(&source, expected, len);
    ASSERT_OK(source.finish(source.context));
    source.close(source.context);
    list_folder(after, sizeof after);
    ck_assert_str_eq(after, before);
    free(expected);
    free(resolved);
}

static void check_refused(int code, const char *path)
{
    struct bough__source source;
    char *resolved = NULL;
    ASSERT_CODE(code, bough__capture_open(&source, &resolved, path, 0));
    ck_assert_ptr_null(resolved);
    ck_assert_str_ne(bough_error_message(), "");
}

static void make_table(sqlite3 *db, int rows)
{
    char sql[300];
    snprintf(sql, sizeof sql,
             "CREATE TABLE t(a INTEGER PRIMARY KEY, b); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n"
             " WHERE i<%d) INSERT INTO t SELECT i, hex(randomblob(100)) FROM n",
             rows);
    run(db, sql);
}

/* ---- databases at rest ----------------------------------------------------------------------------------------- */

TEST(every_page_size)
{
    for (int size = 512; size <= 65536; size *= 2) {
        char sql[64];
        struct bough__source source;
        char *resolved = NULL;
        const char *path = place("plain.db");
        unlink(path);
        sqlite3 *db = open_db(path);
        snprintf(sql, sizeof sql, "PRAGMA page_size=%d; PRAGMA auto_vacuum=%d", size, size % 3);
        run(db, sql);
        make_table(db, 500);
        sqlite3_close(db);
        check_capture(path);
        ASSERT_OK(bough__capture_open(&source, &resolved, path, 0));
        ck_assert_uint_eq(source.page_size, (unsigned)size);
        source.close(source.context);
        free(resolved);
    }
}

TEST(wal_header_without_a_wal)
{
    const char *path = place("quiet.db");
    sqlite3 *db = open_db(path);
    run(db, "PRAGMA journal_mode=WAL");
    make_table(db, 100);
    sqlite3_close(db);
    ck_assert_int_ne(access(with(path, "-wal"), F_OK), 0);
    check_capture(path);
    ck_assert_int_ne(access(with(path, "-wal"), F_OK), 0);
    ck_assert_int_ne(access(with(path, "-shm"), F_OK), 0);
}

TEST(an_empty_file)
{
    struct bough__source source;
    char *resolved = NULL;
    const char *path = place("empty.db");
    harness_write_file(path, "", 0);
    harness_write_file(with(path, "-wal"), "not mine", 8);
    harness_write_file(with(path, "-journal"), "not mine", 8);
    ASSERT_OK(bough__capture_open(&source, &resolved, path, 0));
    ck_assert_uint_eq(source.size_bytes, 0);
    ck_assert(!source.next_data(source.context, 0, &(uint64_t){0}, &(uint64_t){0}));
    source.close(source.context);
    free(resolved);
}

TEST(odd_sizes)
{
    struct bough__source source;
    char *resolved = NULL;
    size_t len = 0;
    const char *path = place("odd.db");
    sqlite3 *db = open_db(path);
    make_table(db, 300);
    sqlite3_close(db);
    uint8_t *bytes = harness_read_file(path, &len);
    for (size_t cut = 1; cut < len - 100; cut += len / 7) {
        harness_write_file(path, bytes, len - cut);
        ASSERT_OK(bough__capture_open(&source, &resolved, path, 0));
        compare_with(&source, bytes, len - cut);
        source.close(source.context);
        free(resolved);
    }
    free(bytes);
}

TEST(foreign_bytes)
{
    uint8_t bytes[4096] = {0};
    struct harness_random random = {1};
    const char *path = place("foreign.db");
    harness_write_file(path, "SQLite format 3", 16);
    check_refused(BOUGH_CORRUPT, path);
    harness_fill(&random, bytes, sizeof bytes);
    harness_write_file(path, bytes, sizeof bytes);
    check_refused(BOUGH_CORRUPT, path);
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "foreign.db"));
    memcpy(bytes, "SQLite format 3", 16);
    bytes[16] = 3; /* 768 bytes a page */
    bytes[17] = 0;
    harness_write_file(path, bytes, sizeof bytes);
    check_refused(BOUGH_CORRUPT, path);
}

TEST(what_is_no_file)
{
    char link[600];
    check_refused(BOUGH_NOT_FOUND, place("missing.db"));
    check_refused(BOUGH_REFUSED, harness_directory());
    ck_assert_int_eq(mkfifo(place("pipe"), 0600), 0);
    check_refused(BOUGH_REFUSED, place("pipe"));
    check_refused(BOUGH_REFUSED, "/dev/null");
    harness_write_file(place("file"), "x", 1);
    check_refused(BOUGH_NOT_FOUND, place("file/branch"));
    snprintf(link, sizeof link, "%s", place("dangling"));
    ck_assert_int_eq(symlink("nowhere", link), 0);
    check_refused(BOUGH_NOT_FOUND, link);
}

TEST(without_permission)
{
    const char *path = place("secret.db");
    sqlite3 *db = open_db(path);
    make_table(db, 1);
    sqlite3_close(db);
    ck_assert_int_eq(chmod(harness_directory(), 0755), 0);
    ck_assert_int_eq(chmod(path, 0), 0);
    if (geteuid() == 0)
        ck_assert_int_eq(seteuid(65534), 0);
    check_refused(BOUGH_IO, path);
    if (getuid() == 0)
        ck_assert_int_eq(seteuid(0), 0);
}

TEST(through_symlinks)
{
    struct bough__source source;
    char *resolved = NULL, *real = NULL;
    const char *path = place("real.db");
    sqlite3 *db = open_db(path);
    run(db, "PRAGMA journal_mode=WAL");
    make_table(db, 50);
    snapshot_files(path, place("target.db")); /* with a WAL */
    sqlite3_close(db);
    ck_assert_int_eq(mkdir(place("links"), 0755), 0);
    ck_assert_int_eq(symlink("../target.db", place("links/a.db")), 0);
    ck_assert_int_eq(symlink("a.db", place("links/b.db")), 0);
    size_t len = 0;
    uint8_t *expected = reference_bytes(place("target.db"), &len);
    ASSERT_OK(bough__capture_open(&source, &resolved, place("links/b.db"), 0));
    compare_with(&source, expected, len);
    real = realpath(place("target.db"), NULL);
    ck_assert_str_eq(resolved, real);
    source.close(source.context);
    free(expected);
    free(resolved);
    free(real);
}

TEST(holes_are_skipped)
{
    struct bough__source source;
    char *resolved = NULL;
    const char *path = place("sparse.db");
    uint64_t start = 0, end = 0, at = 0, data = 0;
    const off_t size = (off_t)100 << 30;
    sqlite3 *db = open_db(path);
    make_table(db, 50);
    sqlite3_close(db);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, "in the middle", 13, size / 2), 13);
    ck_assert_int_eq(ftruncate(fd, size), 0);
    close(fd);
    ASSERT_OK(bough__capture_open(&source, &resolved, path, 0));
    ck_assert_uint_eq(source.size_bytes, (uint64_t)size);
    bool found = false;
    while (source.next_data(source.context, at, &start, &end)) {
        found = found || (start <= (uint64_t)size / 2 && end >= (uint64_t)size / 2 + 13);
        data += end - start;
        at = end;
    }
    ck_assert(found);
    ck_assert_uint_lt(data, 1 << 20);
    source.close(source.context);
    free(resolved);
}

/* ---- WAL ------------------------------------------------------------------------------------------------------- */

/* crashed.db: a database whose WAL has several transactions, some with pages written twice, and a shrunken end. */
static const char *make_crashed_wal(int page_size)
{
    char sql[100];
    const char *path = place("made.db"), *crashed = place("crashed.db");
    unlink(path);
    sqlite3 *db = open_db(path);
    snprintf(sql, sizeof sql, "PRAGMA page_size=%d; PRAGMA auto_vacuum=FULL; PRAGMA journal_mode=WAL", page_size);
    run(db, sql);
    run(db, "PRAGMA wal_autocheckpoint=0");
    make_table(db, 400);
    run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
    run(db, "UPDATE t SET b=hex(randomblob(90)) WHERE a%3=0");
    run(db, "UPDATE t SET b=hex(randomblob(80)) WHERE a%2=0");
    run(db, "DELETE FROM t WHERE a>300"); /* auto_vacuum: the database shrinks */
    run(db, "INSERT INTO t SELECT a+1000, b FROM t WHERE a<20");
    snapshot_files(path, crashed);
    sqlite3_close(db);
    unlink(path);
    return crashed;
}

TEST(a_wal_that_nobody_has_open)
{
    for (int size = 512; size <= 65536; size *= 2)
        check_capture(make_crashed_wal(size));
}

TEST(a_stale_shm_beside_the_wal)
{
    const char *path = make_crashed_wal(1024);
    uint8_t junk[32768];
    struct harness_random random = {3};
    harness_fill(&random, junk, sizeof junk);
    harness_write_file(with(path, "-shm"), junk, sizeof junk);
    check_capture(path);
}

TEST(a_wal_that_starts_over)
{
    /* The WAL's second round is shorter than its first: old frames with the old salt stand behind the new ones. */
    const char *path = place("made.db"), *crashed = place("crashed.db");
    sqlite3 *db = open_db(path);
    run(db, "PRAGMA journal_mode=WAL");
    make_table(db, 400);
    run(db, "PRAGMA wal_checkpoint(RESTART); UPDATE t SET b='new' WHERE a<10");
    snapshot_files(path, crashed);
    sqlite3_close(db);
    check_capture(crashed);
}

TEST(damaged_ends_of_a_wal)
{
    struct harness_random random = {11};
    size_t len = 0;
    const char *path = make_crashed_wal(1024);
    uint8_t *wal = harness_read_file(with(path, "-wal"), &len);
    ck_assert_uint_gt(len, 20000);
    for (int i = 0; i < 60; i++) {
        uint8_t *bytes = malloc(len);
        memcpy(bytes, wal, len);
        size_t cut = i % 2 ? len : (size_t)harness_below(&random, len + 1);
        if (i % 2)
            bytes[harness_below(&random, i % 4 == 1 ? 64 : len)] ^= (uint8_t)(1u << harness_below(&random, 8));
        harness_write_file(with(path, "-wal"), bytes, cut);
        free(bytes);
        /* A flip in the version field makes SQLite refuse the database; so do we. */
        if (i % 2 && memcmp(wal + 4, "\x00\x2d\xe2\x18", 4) != 0)
            continue;
        check_capture(path);
    }
    free(wal);
}

static uint32_t get_big(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_big(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void sum_big(uint32_t sum[2], const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        sum[0] += get_big(p + i) + sum[1];
        sum[1] += get_big(p + i + 4) + sum[0];
    }
}

TEST(a_wal_from_a_big_endian_machine)
{
    size_t len = 0;
    uint32_t sum[2] = {0, 0};
    const char *path = make_crashed_wal(2048);
    uint8_t *wal = harness_read_file(with(path, "-wal"), &len);
    put_big(wal, 0x377f0683);
    sum_big(sum, wal, 24);
    put_big(wal + 24, sum[0]);
    put_big(wal + 28, sum[1]);
    for (size_t at = 32; at + 24 + 2048 <= len; at += 24 + 2048) {
        sum_big(sum, wal + at, 8);
        sum_big(sum, wal + at + 24, 2048);
        put_big(wal + at + 16, sum[0]);
        put_big(wal + at + 20, sum[1]);
    }
    size_t with_len = 0, without_len = 0;
    harness_write_file(with(path, "-wal"), wal, len);
    uint8_t *expected = reference_bytes(path, &with_len);
    uint8_t *plain = harness_read_file(path, &without_len);
    ck_assert(with_len != without_len || memcmp(expected, plain, with_len) != 0); /* SQLite took it */
    check_capture(path);
    free(expected);
    free(plain);
    free(wal);
}

/* ---- WAL with live users --------------------------------------------------------------------------------------- */

static void compare_live(const char *path, const uint8_t *expected, size_t len)
{
    struct bough__source source;
    char *resolved = NULL;
    ASSERT_OK(bough__capture_open(&source, &resolved, path, 1000));
    compare_with(&source, expected, len);
    ASSERT_OK(source.finish(source.context));
    source.close(source.context);
    free(resolved);
}

static const char make_live[] =
    "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a INTEGER PRIMARY KEY,"
    " b); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500) INSERT INTO t SELECT i,"
    " hex(randomblob(100)) FROM n";

TEST(live_wal_users)
{
    struct peer writer, reader;
    size_t len = 0;
    const char *path = place("live.db");
    peer_start(&writer, path);
    peer_must(&writer, make_live);
    peer_start(&reader, path);
    uint8_t *expected = reference_bytes(path, &len);
    compare_live(path, expected, len);
    free(expected);

    /* A reader of an old state holds a checkpoint back half-way. */
    peer_must(&reader, "BEGIN");
    peer_must(&reader, "SELECT * FROM t");
    peer_must(&writer, "UPDATE t SET b='changed' WHERE a%2=0");
    peer_run(&writer, "PRAGMA wal_checkpoint");
    peer_must(&writer, "INSERT INTO t VALUES(9999, 'last')");
    expected = reference_bytes(path, &len);
    compare_live(path, expected, len);

    /* An open write transaction is not seen, not even its frames that were spilled. */
    peer_must(&writer, "PRAGMA cache_size=5");
    peer_must(&writer, "BEGIN");
    peer_must(&writer, "UPDATE t SET b=hex(randomblob(200))");
    compare_live(path, expected, len);
    peer_must(&writer, "ROLLBACK");
    free(expected);

    /* A complete checkpoint: the database file has everything. */
    peer_must(&reader, "COMMIT");
    peer_must(&writer, "PRAGMA wal_checkpoint(PASSIVE)");
    expected = reference_bytes(path, &len);
    compare_live(path, expected, len);
    free(expected);
    peer_must(&writer, "PRAGMA wal_checkpoint(TRUNCATE)");
    expected = reference_bytes(path, &len);
    compare_live(path, expected, len);
    free(expected);
    peer_stop(&reader);
    peer_stop(&writer);
    ck_assert_int_ne(access(with(path, "-wal"), F_OK), 0);
    ck_assert_int_ne(access(with(path, "-shm"), F_OK), 0);
}

enum checkpointed { NOTHING, EVERYTHING, ALL_BUT_THE_LAST };

/* The users write, checkpoint and leave while the source is open: it stays at its transaction. */
static void write_meanwhile(enum checkpointed before, const char *name)
{
    struct peer peer;
    struct bough__source source;
    char *resolved = NULL;
    size_t len = 0;
    const char *path = place(name);
    peer_start(&peer, path);
    peer_must(&peer, make_live);
    if (before != NOTHING)
        peer_must(&peer, "PRAGMA wal_checkpoint(PASSIVE)");
    if (before == ALL_BUT_THE_LAST) /* most pages are in the database file alone, and it must not change */
        peer_must(&peer, "UPDATE t SET b='one' WHERE a=1");
    uint8_t *expected = reference_bytes(path, &len);
    ASSERT_OK(bough__capture_open(&source, &resolved, path, 0));
    peer_must(&peer, "UPDATE t SET b=hex(randomblob(99))");
    peer_run(&peer, "PRAGMA wal_checkpoint(PASSIVE)");
    compare_with(&source, expected, len);
    peer_must(&peer, "DELETE FROM t WHERE a>100");
    peer_run(&peer, "PRAGMA wal_checkpoint(PASSIVE)");
    peer_must(&peer, "INSERT INTO t SELECT a+10000, hex(randomblob(300)) FROM t");
    compare_with(&source, expected, len);
    peer_stop(&peer);
    compare_with(&source, expected, len);
    ASSERT_OK(source.finish(source.context));
    source.close(source.context);
    free(resolved);
    free(expected);
    check_capture(path);
}

TEST(live_users_go_on)
{
    write_meanwhile(NOTHING, "first.db");
    write_meanwhile(EVERYTHING, "second.db");
    write_meanwhile(ALL_BUT_THE_LAST, "third.db");
}

TEST(a_user_was_killed)
{
    struct peer writer, reader;
    size_t len = 0;
    const char *path = place("killed.db");
    peer_start(&writer, path);
    peer_must(&writer, make_live);
    peer_start(&reader, path);
    peer_must(&reader, "SELECT count(*) FROM t");
    peer_must(&writer, "PRAGMA cache_size=5");
    peer_must(&writer, "BEGIN");
    peer_must(&writer, "UPDATE t SET b=hex(randomblob(200))");
    uint8_t *expected = reference_bytes(path, &len);
    peer_kill(&writer);
    compare_live(path, expected, len); /* the reader still lives */
    free(expected);
    peer_kill(&reader);
    check_capture(path); /* with a -shm that nobody uses */
}

TEST(a_quiet_wal_wakes_up)
{
    struct peer peer;
    struct bough__source source;
    char *resolved = NULL;
    const char *path = make_crashed_wal(1024);
    ASSERT_OK(bough__capture_open(&source, &resolved, path, 0));
    free(read_source(&source));
    ASSERT_OK(source.finish(source.context));
    peer_start(&peer, path);
    peer_must(&peer, "UPDATE t SET b='awake'");
    ASSERT_CODE(BOUGH_BUSY, source.finish(source.context));
    ck_assert(bough__capture_moved(&source));
    peer_stop(&peer);
    ASSERT_CODE(BOUGH_BUSY, source.finish(source.context));
    source.close(source.context);
    free(resolved);
    check_capture(path);
}

/* ---- rollback journals ----------------------------------------------------------------------------------------- */

/* crashed.db with a hot journal of a large transaction: pages spilled into the database, several journal segments. */
static const char *make_hot(int page_size, const char *settings, const char *change)
{
    char sql[100];
    const char *path = place("made.db"), *crashed = place("crashed.db");
    unlink(path);
    unlink(with(path, "-journal"));
    sqlite3 *db = open_db(path);
    snprintf(sql, sizeof sql, "PRAGMA page_size=%d; PRAGMA auto_vacuum=FULL", page_size);
    run(db, sql);
    make_table(db, 1500);
    run(db, "PRAGMA cache_size=10; PRAGMA cache_spill=10");
    run(db, settings);
    run(db, "BEGIN");
    run(db, change);
    snapshot_files(path, crashed);
    run(db, "ROLLBACK");
    sqlite3_close(db);
    return crashed;
}

static const char *const changes[] = {
    "UPDATE t SET b=hex(randomblob(90))",
    "INSERT INTO t SELECT a+10000, hex(randomblob(150)) FROM t",
    "DELETE FROM t WHERE a>200; UPDATE t SET b=hex(randomblob(90))",
    ("UPDATE t SET b=hex(randomblob(90)) WHERE a%2; UPDATE t SET b=hex(randomblob(90));"
     "CREATE TABLE u AS SELECT * FROM t"),
};

static void check_is_hot(const char *path)
{
    size_t before_len = 0, after_len = 0;
    uint8_t *before = harness_read_file(path, &before_len), *after = reference_bytes(path, &after_len);
    ck_assert(before_len != after_len || memcmp(before, after, before_len) != 0);
    free(before);
    free(after);
}

TEST(hot_journals)
{
    static const char *const settings[] = {"PRAGMA synchronous=FULL", "PRAGMA synchronous=OFF",
                                           "PRAGMA synchronous=NORMAL; PRAGMA journal_mode=PERSIST",
                                           "PRAGMA journal_mode=TRUNCATE"};
    for (int size = 512; size <= 8192; size *= 2)
        for (size_t i = 0; i < COUNT_OF(changes); i++) {
            const char *path = make_hot(size, settings[i], changes[i]);
            check_is_hot(path);
            check_capture(path);
        }
}

TEST(the_first_transaction_of_all)
{
    const char *path = place("made.db"), *crashed = place("crashed.db");
    struct bough__source source;
    char *resolved = NULL;
    sqlite3 *db = open_db(path);
    run(db, "PRAGMA cache_size=10; PRAGMA cache_spill=10; BEGIN");
    make_table(db, 1500);
    snapshot_files(path, crashed);
    run(db, "ROLLBACK");
    sqlite3_close(db);
    check_is_hot(crashed);
    ASSERT_OK(bough__capture_open(&source, &resolved, crashed, 0));
    ck_assert_uint_eq(source.size_bytes, 0);
    source.close(source.context);
    free(resolved);
}

TEST(damaged_hot_journals)
{
    struct harness_random random = {5};
    size_t len = 0;
    const char *path = make_hot(1024, "PRAGMA synchronous=FULL", changes[1]);
    uint8_t *journal = harness_read_file(with(path, "-journal"), &len);
    for (int i = 0; i < 80; i++) {
        uint8_t *bytes = malloc(len);
        memcpy(bytes, journal, len);
        size_t cut = i % 2 ? len : (size_t)harness_below(&random, len + 1);
        if (i % 2)
            bytes[harness_below(&random, i % 4 == 1 ? 28 : len)] ^= (uint8_t)(1u << harness_below(&random, 8));
        bool says_no_page_size = get_big(bytes + 24) == 0;
        harness_write_file(with(path, "-journal"), bytes, cut);
        free(bytes);
        if (says_no_page_size && cut >= 512)
            check_refused(BOUGH_CORRUPT, path); /* a format before SQLite 3.4 */
        else
            check_capture(path);
    }
    free(journal);
}

TEST(a_journal_with_another_page_count)
{
    size_t len = 0;
    const char *path = make_hot(1024, "PRAGMA synchronous=FULL", changes[0]);
    uint8_t *journal = harness_read_file(with(path, "-journal"), &len);
    uint32_t count = get_big(journal + 16);
    const uint32_t counts[] = {count / 2, count - 1, count + 1, count + 100, 1, 0};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        put_big(journal + 16, counts[i]);
        harness_write_file(with(path, "-journal"), journal, len);
        if (counts[i] != 0) {
            check_capture(path);
            continue;
        }
        struct bough__source source;
        char *resolved = NULL;
        ASSERT_OK(bough__capture_open(&source, &resolved, path, 0));
        ck_assert_uint_eq(source.size_bytes, 0);
        source.close(source.context);
        free(resolved);
    }
    free(journal);
}

TEST(journals_that_are_not_hot)
{
    size_t len = 0;
    const char *path = make_hot(1024, "PRAGMA synchronous=FULL", changes[0]);
    uint8_t *journal = harness_read_file(with(path, "-journal"), &len);
    harness_write_file(with(path, "-journal"), "", 0);
    check_capture(path);
    memset(journal, 0, 28); /* as PERSIST leaves it */
    harness_write_file(with(path, "-journal"), journal, len);
    check_capture(path);
    free(journal);
}

TEST(a_super_journal)
{
    char name[600];
    uint8_t tail[700];
    int64_t sum = 0;
    size_t len = 0;
    const char *path = make_hot(1024, "PRAGMA synchronous=FULL", changes[0]);
    size_t name_len = (size_t)snprintf(name, sizeof name, "%s", place("super-journal"));
    uint8_t *journal = harness_read_file(with(path, "-journal"), &len);
    put_big(tail, 0x40000000 / 1024 + 1);
    memcpy(tail + 4, name, name_len);
    for (size_t i = 0; i < name_len; i++)
        sum += name[i];
    put_big(tail + 4 + name_len, (uint32_t)name_len);
    put_big(tail + 8 + name_len, (uint32_t)sum);
    memcpy(tail + 12 + name_len, "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", 8);
    journal = realloc(journal, len + sizeof tail);
    memcpy(journal + len, tail, name_len + 20);
    harness_write_file(with(path, "-journal"), journal, len + name_len + 20);

    uint8_t *torn = harness_read_file(path, &len);
    struct bough__source source;
    char *resolved = NULL;
    ASSERT_OK(bough__capture_open(&source, &resolved, path, 0)); /* committed: the super-journal is gone */
    compare_with(&source, torn, len);
    source.close(source.context);
    free(resolved);
    check_capture(path);

    /* SQLite removes a super-journal that no journal names; this one stays through the reference's rollback. */
    harness_write_file(name, with(path, "-journal"), strlen(path) + 9);
    ASSERT_OK(bough__capture_open(&source, &resolved, path, 0));
    uint8_t *bytes = read_source(&source);
    ck_assert(source.size_bytes != len || memcmp(bytes, torn, len) != 0); /* rolled back */
    source.close(source.context);
    free(bytes);
    free(resolved);
    check_capture(path);
    free(torn);
    free(journal);
}

/* ---- live writers in rollback mode ----------------------------------------------------------------------------- */

TEST(a_live_writer_waits)
{
    struct peer peer;
    struct bough__source source;
    char *resolved = NULL;
    size_t len = 0;
    const char *path = place("busy.db");
    peer_start(&peer, path);
    peer_must(&peer, "CREATE TABLE t(a); INSERT INTO t VALUES(1)");
    uint8_t *expected = harness_read_file(path, &len);

    /* A journal beside a live writer is not hot. */
    peer_must(&peer, "BEGIN IMMEDIATE");
    peer_must(&peer, "INSERT INTO t VALUES(2)");
    ASSERT_OK(bough__capture_open(&source, &resolved, path, 0));
    compare_with(&source, expected, len);
    ck_assert_int_eq(peer_run(&peer, "COMMIT"), SQLITE_BUSY);
    compare_with(&source, expected, len);
    source.close(source.context);
    free(resolved);
    free(expected);
    peer_must(&peer, "COMMIT");

    peer_must(&peer, "BEGIN EXCLUSIVE");
    check_refused(BOUGH_BUSY, path);
    peer_must(&peer, "ROLLBACK");
    check_capture(path);
    peer_stop(&peer);
}

TEST(this_process_keeps_its_locks)
{
    struct peer peer;
    struct bough__source source;
    char *resolved = NULL;
    const char *path = place("mine.db");
    peer_start(&peer, path); /* first: no connection may cross a fork */
    sqlite3 *db = open_db(path);
    make_table(db, 10);
    run(db, "BEGIN IMMEDIATE; INSERT INTO t VALUES(77, 'mine')");
    ASSERT_OK(bough__capture_open(&source, &resolved, path, 0));
    source.close(source.context); /* a plain close(2) of the file would drop RESERVED */
    free(resolved);
    ck_assert_int_eq(peer_run(&peer, "INSERT INTO t VALUES(78, 'theirs')"), SQLITE_BUSY);
    run(db, "COMMIT");
    peer_must(&peer, "INSERT INTO t VALUES(78, 'theirs')");
    sqlite3_close(db);
    ASSERT_OK(bough__capture_open(&source, &resolved, path, 0));
    source.close(source.context);
    free(resolved);
    peer_must(&peer, "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE"); /* nothing of ours is left */
    peer_stop(&peer);
}

int main(void)
{
    const struct harness_case cases[] = {
        CASE(every_page_size),
        CASE(wal_header_without_a_wal),
        CASE(an_empty_file),
        CASE(odd_sizes),
        CASE(foreign_bytes),
        CASE(what_is_no_file),
        CASE(without_permission),
        CASE(through_symlinks),
        CASE(holes_are_skipped),
        CASE(a_wal_that_nobody_has_open),
        CASE(a_stale_shm_beside_the_wal),
        CASE(a_wal_that_starts_over),
        CASE(damaged_ends_of_a_wal),
        CASE(a_wal_from_a_big_endian_machine),
        CASE(live_wal_users),
        CASE(live_users_go_on),
        CASE(a_user_was_killed),
        CASE(a_quiet_wal_wakes_up),
        CASE(hot_journals),
        CASE(the_first_transaction_of_all),
        CASE(damaged_hot_journals),
        CASE(a_journal_with_another_page_count),
        CASE(journals_that_are_not_hot),
        CASE(a_super_journal),
        CASE(a_live_writer_waits),
        CASE(this_process_keeps_its_locks),
    };
    return harness_run("capture", cases, COUNT_OF(cases));
}
