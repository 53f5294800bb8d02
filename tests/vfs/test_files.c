/* test_files.c - SQLite files into stores and out again: bough_store_init, bough_import, bough_export on real files. */
#include "bough.h"
#include "faultos.h"
#include "harness.h"
#include "os.h"
#include "peer.h"
#include "sqlite_bridge.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- helpers --------------------------------------------------------------------------------------------------- */

/* A path in the test's folder that stays (harness_path's buffers are used again). */
static const char *place(const char *name)
{
    static char *kept[512];
    static size_t count;
    ck_assert_uint_lt(count, COUNT_OF(kept));
    return kept[count++] = strdup(harness_path(name));
}

static const char *with(const char *path, const char *suffix)
{
    static char buffers[8][512];
    static int next;
    char joined[sizeof buffers[0]], *out = buffers[next++ % 8];
    snprintf(joined, sizeof joined, "%s%s", path, suffix);
    return strcpy(out, joined);
}

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

static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
    int rc = sqlite3_step(statement);
    ck_assert_msg(rc == SQLITE_ROW, "%s: %s", sql, sqlite3_errmsg(db));
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

/* A database with one row, n. */
static const char *make_db(const char *name, const char *settings, int n)
{
    char sql[200];
    const char *path = place(name);
    sqlite3 *db = open_db(path);
    run(db, settings);
    snprintf(sql, sizeof sql, "CREATE TABLE t(a); INSERT INTO t VALUES(%d)", n);
    run(db, sql);
    sqlite3_close(db);
    return path;
}

static void check_same(const char *path, const char *other)
{
    size_t len = 0, other_len = 0;
    uint8_t *bytes = harness_read_file(path, &len), *other_bytes = harness_read_file(other, &other_len);
    ck_assert_uint_eq(len, other_len);
    ck_assert_msg(len == 0 || memcmp(bytes, other_bytes, len) == 0, "%s and %s differ", path, other);
    free(bytes);
    free(other_bytes);
}

static bool exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

/* Nothing in the test's folder but these. */
static void check_folder(const char *const *names, size_t count)
{
    DIR *directory = opendir(harness_directory());
    for (struct dirent *entry = NULL; (entry = readdir(directory));) {
        bool known = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        for (size_t i = 0; i < count; i++)
            known = known || strcmp(entry->d_name, names[i]) == 0;
        ck_assert_msg(known, "%s was left", entry->d_name);
    }
    closedir(directory);
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(exists(harness_path(names[i])), "%s is missing", names[i]);
}

static bough_store *init_and_open(const char *file)
{
    bough_transfer transfer;
    bough_store *store = NULL;
    ASSERT_OK(bough_store_init(&transfer, file, NULL, NULL));
    ASSERT_OK(bough_store_open(&store, transfer.path, NULL));
    bough_transfer_release(&transfer);
    return store;
}

static int export_to(bough_store *store, const char *file, bool force)
{
    bough_transfer transfer;
    bough_options options = BOUGH_OPTIONS_INIT;
    options.force = force;
    options.timeout_ms = 100;
    int rc = bough_export(&transfer, store, "main", file, &options);
    if (rc == BOUGH_OK) {
        ck_assert_uint_eq(strlen(transfer.id), 64);
        ck_assert_str_eq(transfer.branch, "main");
        ck_assert_int_eq(transfer.path[0], '/');
        bough_transfer_release(&transfer);
    } else {
        ck_assert_ptr_null(transfer.path);
        ck_assert_str_ne(bough_error_message(), "");
    }
    return rc;
}

/* ---- init ------------------------------------------------------------------------------------------------------ */

TEST(names_of_stores)
{
    static const char *const names[][2] = {
        {"shop.db", "shop.bough"},
        {"shop.sqlite", "shop.bough"},
        {"plain", "plain.bough"},
        {".hidden", ".hidden.bough"},
        {"two.parts.db", "two.parts.bough"},
        {"dot.", "dot.bough"},
        {"some space.db", "some space.bough"},
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        bough_transfer transfer;
        const char *file = make_db(names[i][0], "", (int)i);
        char *directory = realpath(harness_directory(), NULL);
        ASSERT_OK(bough_store_init(&transfer, file, NULL, NULL));
        ck_assert_str_eq(transfer.path, with(directory, with("/", names[i][1])));
        bough_transfer again;
        ASSERT_CODE(BOUGH_REFUSED, bough_store_init(&again, file, NULL, NULL));
        bough_transfer_release(&transfer);
        harness_remove_tree(with(directory, with("/", names[i][1])));
        free(directory);
    }
}

TEST(beside_the_target_of_a_link)
{
    bough_transfer transfer;
    ck_assert_int_eq(mkdir(harness_path("real"), 0755) | mkdir(harness_path("links"), 0755), 0);
    const char *file = make_db("real/shop.db", "", 1);
    ck_assert_int_eq(symlink("../real/shop.db", harness_path("links/other.db")), 0);
    ASSERT_OK(bough_store_init(&transfer, harness_path("links/other.db"), NULL, NULL));
    ck_assert(exists(harness_path("real/shop.bough/db")));
    bough_store *store = NULL;
    ASSERT_OK(bough_store_open(&store, transfer.path, NULL));
    char *resolved = realpath(file, NULL);
    ck_assert_str_eq(bough_store_origin(store), resolved);
    free(resolved);
    bough_store_close(store);
    bough_transfer_release(&transfer);
}

TEST(round_trips)
{
    static const char *const settings[] = {
        "",
        "PRAGMA page_size=512",
        "PRAGMA page_size=65536",
        "PRAGMA auto_vacuum=INCREMENTAL",
        "PRAGMA journal_mode=WAL",
        "PRAGMA encoding='UTF-16be'",
    };
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        char name[32];
        snprintf(name, sizeof name, "r%zu.db", i);
        const char *file = make_db(name, settings[i], (int)i);
        bough_store *store = init_and_open(file);
        const char *out = place(with("out-", name));
        ASSERT_OK(export_to(store, out, false));
        check_same(out, file);
        sqlite3 *db = open_db(out);
        ck_assert_int_eq(number(db, "SELECT a FROM t"), (int64_t)i);
        sqlite3_close(db);
        bough_store_close(store);
    }
    harness_write_file(harness_path("zero.db"), "", 0);
    bough_store *store = init_and_open(harness_path("zero.db"));
    ASSERT_OK(export_to(store, harness_path("zero-out.db"), false));
    check_same(harness_path("zero-out.db"), harness_path("zero.db"));
    bough_store_close(store);
}

TEST(a_live_wal_database)
{
    struct peer peer;
    const char *file = place("live.db"), *out = place("out.db");
    peer_start(&peer, file);
    peer_must(&peer, "PRAGMA journal_mode=WAL");
    peer_must(&peer, "CREATE TABLE t(a); INSERT INTO t VALUES(1),(2),(3)");
    bough_store *store = init_and_open(file);
    ASSERT_OK(export_to(store, out, false));
    peer_must(&peer, "INSERT INTO t VALUES(4)");
    sqlite3 *db = open_db(out);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 3);
    sqlite3_close(db);

    bough_transfer transfer;
    ASSERT_OK(bough_import(&transfer, store, "main", file, NULL));
    ck_assert(transfer.changed);
    ck_assert_str_eq(strrchr(transfer.path, '/'), "/live.db");
    bough_transfer_release(&transfer);
    ASSERT_OK(bough_import(&transfer, store, "main", file, NULL));
    ck_assert(!transfer.changed);
    bough_transfer_release(&transfer);
    bough_commits log;
    ASSERT_OK(bough_commit_log(&log, store, "main", 0));
    ck_assert_uint_eq(log.count, 2);
    ck_assert_str_eq(log.items[0].message, "import live.db");
    ck_assert_str_eq(log.items[1].message, "init live.db");
    ck_assert(!log.items[0].automatic && !log.items[1].automatic);
    bough_commits_release(&log);
    bough_store_close(store);
    peer_stop(&peer);
}

TEST(init_empty)
{
    bough_transfer transfer;
    bough_options options = BOUGH_OPTIONS_INIT;
    for (uint32_t size = 512; size <= 65536; size *= 2) {
        char name[32];
        bough_store *store = NULL;
        struct stat info;
        snprintf(name, sizeof name, "e%u.bough", size);
        options.page_size = size;
        ASSERT_OK(bough_store_init_empty(&transfer, harness_path(name), &options));
        ck_assert_uint_eq(transfer.size_bytes, size);
        ASSERT_OK(bough_store_open(&store, transfer.path, NULL));
        const char *out = place(with(name, ".db"));
        ASSERT_OK(export_to(store, out, false));
        ck_assert_int_eq(stat(out, &info), 0);
        ck_assert_uint_eq((uint64_t)info.st_size, size);
        sqlite3 *db = open_db(out);
        ck_assert_int_eq(number(db, "PRAGMA page_size"), size);
        run(db, "CREATE TABLE t(a); INSERT INTO t VALUES(1)");
        sqlite3_close(db);
        bough_store_close(store);
        bough_transfer_release(&transfer);
    }
    options.page_size = 1000;
    ASSERT_CODE(BOUGH_USAGE, bough_store_init_empty(&transfer, harness_path("bad.bough"), &options));
    options.page_size = 0;
    ASSERT_OK(bough_store_init_empty(&transfer, harness_path("zero.bough"), &options));
    ck_assert_uint_eq(transfer.size_bytes, 0);
    bough_transfer_release(&transfer);
    ASSERT_CODE(BOUGH_REFUSED, bough_store_init_empty(&transfer, harness_path("zero.bough"), &options));
}

TEST(init_of_foreign_bytes_leaves_nothing)
{
    static const char *const left[] = {"text.db"};
    bough_transfer transfer;
    harness_write_file(harness_path("text.db"),
                       "This is a text, and long enough to be taken for a header of a"
                       " database by someone who does not look at it closely",
                       113);
    ASSERT_CODE(BOUGH_CORRUPT, bough_store_init(&transfer, harness_path("text.db"), NULL, NULL));
    check_folder(left, COUNT_OF(left));
}

/* ---- export ---------------------------------------------------------------------------------------------------- */

TEST(never_overwrites_unasked)
{
    static const char *const left[] = {"shop.db", "shop.bough", "there.db", "folder", "pipe"};
    const char *file = make_db("shop.db", "", 1), *there = make_db("there.db", "", 2);
    size_t len = 0;
    bough_store *store = init_and_open(file);
    uint8_t *before = harness_read_file(there, &len);
    ASSERT_CODE(BOUGH_REFUSED, export_to(store, there, false));
    ck_assert_int_eq(mkdir(harness_path("folder"), 0755), 0);
    ck_assert_int_eq(mkfifo(harness_path("pipe"), 0644), 0);
    ASSERT_CODE(BOUGH_REFUSED, export_to(store, harness_path("folder"), true));
    ASSERT_CODE(BOUGH_REFUSED, export_to(store, with(harness_path("folder"), "/"), true));
    ASSERT_CODE(BOUGH_REFUSED, export_to(store, harness_path("pipe"), true));
    ASSERT_CODE(BOUGH_REFUSED, export_to(store, harness_path("shop.bough/db"), true));
    ASSERT_CODE(BOUGH_REFUSED, export_to(store, harness_path("shop.bough/new.db"), false));
    ASSERT_CODE(BOUGH_NOT_FOUND, export_to(store, harness_path("no/such/folder.db"), true));
    size_t now_len = 0;
    uint8_t *now = harness_read_file(there, &now_len);
    ck_assert_uint_eq(now_len, len);
    ck_assert_mem_eq(now, before, len);
    check_folder(left, COUNT_OF(left));
    free(before);
    free(now);
    bough_store_close(store);
}

TEST(force_replaces)
{
    static const char *const left[] = {"shop.db", "shop.bough", "there.db", "text", "link.db", "target.db"};
    const char *file = make_db("shop.db", "", 1), *there = make_db("there.db", "", 2);
    struct stat info;
    bough_store *store = init_and_open(file);
    ck_assert_int_eq(chmod(there, 0600), 0);
    ASSERT_OK(export_to(store, there, true));
    check_same(there, file);
    ck_assert_int_eq(stat(there, &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0600);

    const char *text = place("text");
    harness_write_file(text, "no database at all", 18);
    ASSERT_OK(export_to(store, text, true));
    check_same(text, file);

    /* Through a link, also one to nothing yet. */
    const char *link = place("link.db");
    ck_assert_int_eq(symlink("target.db", link), 0);
    ASSERT_OK(export_to(store, link, false));
    ASSERT_OK(export_to(store, link, true));
    ck_assert_int_eq(lstat(link, &info), 0);
    ck_assert(S_ISLNK(info.st_mode));
    check_same(place("target.db"), file);
    check_folder(left, COUNT_OF(left));
    bough_store_close(store);
}

TEST(onto_a_live_rollback_database)
{
    struct peer peer;
    const char *file = make_db("shop.db", "", 1), *live = make_db("live.db", "", 2), *copy = place("copy.db");
    size_t len = 0;
    bough_store *store = init_and_open(file);
    peer_start(&peer, live);
    static const char *const opening[] = {"BEGIN IMMEDIATE", "BEGIN EXCLUSIVE", "HOLD SELECT * FROM t"};
    for (size_t i = 0; i < COUNT_OF(opening); i++) {
        uint8_t *before = harness_read_file(live, &len);
        harness_write_file(copy, before, len);
        free(before);
        peer_must(&peer, opening[i]);
        ASSERT_CODE(BOUGH_BUSY, export_to(store, live, true));
        check_same(live, copy);
        peer_must(&peer, i == 2 ? "LET GO" : "INSERT INTO t VALUES(9)");
        if (i < 2)
            peer_must(&peer, "COMMIT");
    }
    ASSERT_OK(export_to(store, live, true));
    check_same(live, file);
    /* The connection that was idle goes on, on the new state. */
    ck_assert_int_eq(peer_run(&peer, "INSERT INTO t VALUES(10)"), SQLITE_OK);
    peer_stop(&peer);
    sqlite3 *db = open_db(live);
    ck_assert_int_eq(number(db, "SELECT sum(a) FROM t"), 11);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check='ok'"), 1);
    sqlite3_close(db);
    bough_store_close(store);
}

/* Runs the change on a copy of the file, so that both have a history in common. */
static const char *diverge(const char *file, const char *name, const char *sql)
{
    size_t len = 0;
    const char *path = place(name);
    uint8_t *bytes = harness_read_file(file, &len);
    harness_write_file(path, bytes, len);
    free(bytes);
    sqlite3 *db = open_db(path);
    run(db, sql);
    sqlite3_close(db);
    return path;
}

TEST(onto_an_idle_connection)
{
    static const struct {
        const char *ours, *theirs;
        int code;
    } cases[] = {
        /* Both made as many transactions: their change counters, by which a connection knows its pages, are equal. */
        {"INSERT INTO t VALUES(5)", "INSERT INTO t VALUES(6)", BOUGH_BUSY},
        {"INSERT INTO t VALUES(5)", "INSERT INTO t VALUES(6); INSERT INTO t VALUES(7)", BOUGH_OK},
        /* Both changed the schema as often, and differently. */
        {"CREATE TABLE a(x)", "CREATE TABLE b(x); INSERT INTO b VALUES(1)", BOUGH_BUSY},
        {"CREATE TABLE a(x)", "CREATE TABLE a(x); INSERT INTO a VALUES(1)", BOUGH_OK},
        {"CREATE TABLE a(x); DELETE FROM t", "INSERT INTO t VALUES(8)", BOUGH_OK},
        {"PRAGMA page_size=1024; VACUUM; INSERT INTO t VALUES(7)", "SELECT 1", BOUGH_OK},
        {"PRAGMA journal_mode=WAL; INSERT INTO t VALUES(7)", "SELECT 1", BOUGH_OK},
    };
    const char *base = make_db("base.db", "", 1);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char name[32];
        struct peer peer;
        bough_store *store = NULL;
        snprintf(name, sizeof name, "ours%zu.db", i);
        const char *ours = diverge(base, name, cases[i].ours);
        snprintf(name, sizeof name, "theirs%zu.db", i);
        const char *theirs = diverge(base, name, cases[i].theirs), *before = diverge(theirs, "before.db", "SELECT 1");
        store = init_and_open(ours);
        peer_start(&peer, theirs);
        peer_must(&peer, "SELECT * FROM t"); /* it has pages and the schema */
        ASSERT_CODE(cases[i].code, export_to(store, theirs, true));
        check_same(theirs, cases[i].code == BOUGH_OK ? ours : before);
        ck_assert(!exists(with(theirs, "-journal")));
        peer_must(&peer, "INSERT INTO t VALUES(100)");
        peer_stop(&peer);
        sqlite3 *db = open_db(theirs), *reference = open_db(cases[i].code == BOUGH_OK ? ours : before);
        ck_assert_int_eq(number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check='ok'"), 1);
        ck_assert_int_eq(number(db, "SELECT sum(a) FROM t"), number(reference, "SELECT 100 + total(a) FROM t"));
        sqlite3_close(db);
        sqlite3_close(reference);
        bough_store_close(store);
    }
}

/* A database that cannot be read may be locked: it is not taken for foreign bytes, which nobody locks. */
TEST(onto_a_database_that_cannot_be_read)
{
    struct peer peer;
    sqlite_bridge_install();
    faultos_install();
    const char *file = make_db("shop.db", "", 1), *live = make_db("live.db", "", 2), *before = make_db("b", "", 2);
    bough_store *store = init_and_open(file);
    peer_start(&peer, live);
    peer_must(&peer, "BEGIN IMMEDIATE; INSERT INTO t VALUES(3)");
    bool was_hit = true;
    for (uint64_t nth = 1; was_hit; nth++) {
        faultos_fail(FAULTOS_READ, nth, EIO, false);
        int rc = export_to(store, live, true);
        was_hit = faultos_was_hit();
        faultos_clear();
        ck_assert_msg(rc == BOUGH_BUSY || (rc == BOUGH_IO && was_hit), "read %d: %s", (int)nth, bough_code_name(rc));
        check_same(live, before);
    }
    peer_stop(&peer);
    bough_store_close(store);
}

TEST(onto_a_live_wal_database)
{
    struct peer peer;
    const char *file = make_db("shop.db", "", 1), *live = make_db("live.db", "PRAGMA journal_mode=WAL", 2);
    bough_store *store = init_and_open(file);
    peer_start(&peer, live);
    peer_must(&peer, "INSERT INTO t VALUES(3)");
    ASSERT_CODE(BOUGH_BUSY, export_to(store, live, true)); /* idle, but its next write would go into the WAL */
    peer_must(&peer, "INSERT INTO t VALUES(4)");
    peer_kill(&peer);
    ck_assert(exists(with(live, "-wal")) && exists(with(live, "-shm")));
    ASSERT_OK(export_to(store, live, true));
    check_same(live, file);
    ck_assert(!exists(with(live, "-wal")) && !exists(with(live, "-shm")) && !exists(with(live, "-journal")));
    sqlite3 *db = open_db(live);
    ck_assert_int_eq(number(db, "SELECT sum(a) FROM t"), 1);
    sqlite3_close(db);
    bough_store_close(store);
}

TEST(onto_a_hot_journal)
{
    struct peer peer;
    const char *file = make_db("shop.db", "", 1), *live = make_db("live.db", "", 2);
    bough_store *store = init_and_open(file);
    peer_start(&peer, live);
    peer_must(&peer, "PRAGMA cache_size=5; PRAGMA cache_spill=5; BEGIN");
    peer_must(&peer, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<999) INSERT INTO t SELECT"
                     " hex(randomblob(200)) FROM n");
    peer_kill(&peer);
    ck_assert(exists(with(live, "-journal")));
    ASSERT_OK(export_to(store, live, true));
    check_same(live, file);
    ck_assert(!exists(with(live, "-journal")));
    sqlite3 *db = open_db(live);
    ck_assert_int_eq(number(db, "SELECT sum(a) FROM t"), 1);
    sqlite3_close(db);
    bough_store_close(store);
}

TEST(stale_files_beside_a_new_name)
{
    const char *file = make_db("shop.db", "", 1), *out = place("out.db");
    bough_store *store = init_and_open(file);
    harness_write_file(with(out, "-journal"), "anything", 8);
    ASSERT_CODE(BOUGH_REFUSED, export_to(store, out, false));
    ck_assert(!exists(out));
    ASSERT_OK(export_to(store, out, true));
    ck_assert(!exists(with(out, "-journal")));
    check_same(out, file);
    bough_store_close(store);
}

static int stop_now(void *context, uint64_t done, uint64_t total)
{
    (void)total;
    return done >= *(uint64_t *)context;
}

TEST(interrupted)
{
    static const char *const left[] = {"shop.db", "shop.bough", "there.db"};
    const char *file = place("shop.db"), *there = make_db("there.db", "", 2);
    sqlite3 *db = open_db(file);
    run(db, "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<50) INSERT INTO t"
            " SELECT randomblob(100000) FROM n");
    sqlite3_close(db);
    bough_store *store = init_and_open(file);
    bough_transfer transfer;
    bough_options options = BOUGH_OPTIONS_INIT;
    uint64_t limit = 2 << 20;
    size_t len = 0;
    options.progress = stop_now;
    options.progress_context = &limit;
    ASSERT_CODE(BOUGH_INTERRUPTED, bough_export(&transfer, store, "main", harness_path("new.db"), &options));
    options.force = true;
    ASSERT_CODE(BOUGH_INTERRUPTED, bough_export(&transfer, store, "main", there, &options));
    free(harness_read_file(there, &len));
    ck_assert_uint_eq(len, 8192);
    ASSERT_CODE(BOUGH_INTERRUPTED, bough_store_init(&transfer, file, harness_path("second.bough"), &options));
    check_folder(left, COUNT_OF(left));
    bough_store_close(store);
}

/* ---- SIGKILL ---------------------------------------------------------------------------------------------------- */

enum victim { VICTIM_INIT, VICTIM_IMPORT, VICTIM_EXPORT };

static void work(enum victim victim, const char *file, const char *other, const char *store_path, const char *out)
{
    bough_transfer transfer;
    bough_store *store = NULL;
    bough_options options = BOUGH_OPTIONS_INIT;
    options.force = true;
    if (victim == VICTIM_INIT)
        _exit(bough_store_init(&transfer, file, store_path, NULL) != 0);
    for (int i = 0; bough_store_open(&store, store_path, NULL) == BOUGH_OK; i++) {
        if (victim == VICTIM_IMPORT)
            (void)bough_import(&transfer, store, "main", i % 2 ? file : other, NULL);
        else
            (void)bough_export(&transfer, store, i % 2 ? "main" : "main~1", out, &options);
        bough_store_close(store);
    }
    _exit(1);
}

/* Lets a process do it for a random while and kills it. */
static void kill_in_the_middle(enum victim victim, const char *file, const char *other, const char *store_path,
                               const char *out, uint64_t after_us)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        work(victim, file, other, store_path, out);
    usleep((useconds_t)after_us);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static bool is_same(const char *path, const char *other)
{
    size_t len = 0, other_len = 0;
    uint8_t *bytes = harness_read_file(path, &len), *other_bytes = harness_read_file(other, &other_len);
    bool same = len == other_len && memcmp(bytes, other_bytes, len) == 0;
    free(bytes);
    free(other_bytes);
    return same;
}

static void check_store(const char *store_path)
{
    bough_store *store = NULL;
    bough_verification verification;
    ASSERT_OK(bough_store_open(&store, store_path, NULL));
    ASSERT_OK(bough_verify(&verification, store, NULL, NULL));
    if (!verification.ok)
        ck_abort_msg("%s: %s", verification.findings[0].where, verification.findings[0].what);
    bough_verification_release(&verification);
    bough_store_close(store);
}

static const char *make_large(const char *name, int seed)
{
    char sql[300];
    const char *path = place(name);
    sqlite3 *db = open_db(path);
    snprintf(sql, sizeof sql,
             "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<30)"
             " INSERT INTO t SELECT %d || hex(randomblob(50000)) FROM n",
             seed);
    run(db, sql);
    if (seed == 2) /* other counters than the first's: an idle connection must be able to tell */
        run(db, "CREATE TABLE u(a)");
    sqlite3_close(db);
    return path;
}

/* As the next user of the database would find it: an export in place may have left a hot journal. */
static void settle(const char *path)
{
    sqlite3 *db = open_db(path);
    run(db, "SELECT count(*) FROM sqlite_schema");
    sqlite3_close(db);
    /* What was killed before the journal was complete leaves one that is not hot. */
    size_t len = 0;
    uint8_t *journal = exists(with(path, "-journal")) ? harness_read_file(with(path, "-journal"), &len) : NULL;
    ck_assert(len == 0 || journal[0] == 0);
    free(journal);
}

/* An idle opener of the export's target makes it write in place. */
static void kill_many(bool idle_opener)
{
    struct peer peer;
    struct harness_random random = {harness_number("BOUGH_SEED", 77)};
    uint64_t rounds = harness_number("BOUGH_ROUNDS", 12);
    const char *file = make_large("shop.db", 1), *other = make_large("other.db", 2), *out = place("out.db");
    const char *store_path = place("shop.bough"), *check = place("check.db");
    for (uint64_t i = 0; i < rounds; i++) {
        kill_in_the_middle(VICTIM_INIT, file, other, store_path, out, harness_below(&random, 60000));
        if (exists(store_path)) {
            check_store(store_path);
            harness_remove_tree(store_path);
        }
    }
    static const char *const left[] = {"shop.db", "other.db", "shop.bough"};
    bough_store *store = init_and_open(file);
    check_folder(left, COUNT_OF(left)); /* and sweeps what the killed ones left */
    bough_store_close(store);
    for (uint64_t i = 0; i < rounds; i++) {
        kill_in_the_middle(VICTIM_IMPORT, file, other, store_path, out, harness_below(&random, 60000));
        check_store(store_path);
        ASSERT_OK(bough_store_open(&store, store_path, NULL));
        unlink(check);
        ASSERT_OK(export_to(store, check, false));
        ck_assert(is_same(check, file) || is_same(check, other));
        bough_store_close(store);
    }
    /* Both states are exported in turn. */
    bough_transfer transfer;
    ASSERT_OK(bough_store_open(&store, store_path, NULL));
    ASSERT_OK(bough_import(&transfer, store, "main", file, NULL));
    bough_transfer_release(&transfer);
    ASSERT_OK(bough_import(&transfer, store, "main", other, NULL));
    bough_transfer_release(&transfer);
    bough_store_close(store);
    harness_write_file(out, "", 0);
    if (idle_opener)
        peer_start(&peer, out);
    for (uint64_t i = 0; i < rounds; i++) {
        kill_in_the_middle(VICTIM_EXPORT, file, other, store_path, out, harness_below(&random, 60000));
        size_t len = 1;
        settle(out);
        free(harness_read_file(out, &len));
        ck_assert(len == 0 || is_same(out, file) || is_same(out, other)); /* the old file or the new one */
    }
    if (idle_opener)
        peer_stop(&peer);
}

static int die(const char *from, const char *to)
{
    (void)from;
    (void)to;
    return kill(getpid(), SIGKILL);
}

static int die_at_once(const char *name)
{
    return die(name, name);
}

/* Killed when the new file has its hidden name, and when the old one has: both go with the next export. */
TEST(killed_while_names_change)
{
    static const char *const left[] = {"shop.db", "shop.bough", "there.db", ".other.db.tmp-1-2", ".there.db.tmp-3-4"};
    const char *file = make_db("shop.db", "", 1), *there = make_db("there.db", "", 2), *kept = make_db("kept", "", 2);
    bough_store *store = init_and_open(file);
    harness_write_file(harness_path(".other.db.tmp-1-2"), "x", 1);
    harness_write_file(harness_path(".there.db.tmp-3-4"), "x", 1);
    int fd = open(harness_path(".there.db.tmp-3-4"), O_RDWR | O_CLOEXEC); /* its maker lives */
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    for (int i = 0; i < 2; i++) {
        int status = 0;
        pid_t pid = fork();
        if (pid == 0) {
            if (i == 0)
                bough__os.rename = die;
            else
                bough__os.unlink = die_at_once;
            work(VICTIM_EXPORT, file, file, with(harness_directory(), "/shop.bough"), there);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSIGNALED(status));
        ck_assert(is_same(there, kept) || is_same(there, file));
    }
    ck_assert_int_eq(unlink(kept), 0);
    ASSERT_OK(export_to(store, there, true));
    check_folder(left, COUNT_OF(left));
    check_same(there, file);
    /* The same where the target is gone meanwhile. */
    ck_assert_int_eq(unlink(there), 0);
    harness_write_file(harness_path(".there.db.tmp-5-6"), "x", 1);
    ASSERT_OK(export_to(store, there, false));
    check_folder(left, COUNT_OF(left));
    close(fd);
    bough_store_close(store);
}

TEST(killed_at_any_moment)
{
    kill_many(false);
}

TEST(killed_with_an_idle_opener)
{
    kill_many(true);
}

/* A hundred gigabytes of holes come in and go out in moments, and stay holes. */
TEST(a_sparse_database)
{
    const char *file = make_db("sparse.db", "", 1), *out = place("out.db");
    const off_t size = (off_t)100 << 30;
    struct stat info;
    int fd = open(file, O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, "far away", 8, size / 3), 8);
    ck_assert_int_eq(ftruncate(fd, size), 0);
    close(fd);
    bough_store *store = init_and_open(file);
    ASSERT_OK(export_to(store, out, false));
    ck_assert_int_eq(stat(out, &info), 0);
    ck_assert_int_eq(info.st_size, size);
    ck_assert_int_lt(info.st_blocks * 512, 1 << 20);
    char text[8];
    fd = open(out, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(pread(fd, text, 8, size / 3), 8);
    ck_assert_mem_eq(text, "far away", 8);
    close(fd);
    bough_verification verification;
    ASSERT_OK(bough_verify(&verification, store, NULL, NULL));
    ck_assert(verification.ok);
    bough_verification_release(&verification);
    bough_store_close(store);
}

int main(void)
{
    const struct harness_case cases[] = {
        CASE(names_of_stores),
        CASE(beside_the_target_of_a_link),
        CASE(round_trips),
        CASE(a_live_wal_database),
        CASE(init_empty),
        CASE(init_of_foreign_bytes_leaves_nothing),
        CASE(never_overwrites_unasked),
        CASE(force_replaces),
        CASE(onto_a_live_rollback_database),
        CASE(onto_a_database_that_cannot_be_read),
        CASE(onto_a_live_wal_database),
        CASE(onto_a_hot_journal),
        CASE(stale_files_beside_a_new_name),
        CASE(interrupted),
        CASE(a_sparse_database),
        CASE(killed_while_names_change),
        CASE(killed_at_any_moment),
        CASE(killed_with_an_idle_opener),
        CASE(onto_an_idle_connection),
    };
    return harness_run("files", cases, COUNT_OF(cases));
}
