/* test_paths.c - which paths are branches, what they resolve to, and the VFS's methods beside xOpen of a database. */
#include "database.h"

#include "vfs.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static sqlite3_vfs *vfs(void)
{
    return sqlite3_vfs_find("bough");
}

static const char *full(const char *path)
{
    static char out[1024];
    int rc = vfs()->xFullPathname(vfs(), path, sizeof(out), out);
    ck_assert_msg(rc == SQLITE_OK || rc == SQLITE_OK_SYMLINK, "%s: %d", path, rc);
    return out;
}

TEST(a_path_through_the_store_file_is_a_branch)
{
    struct bough__branch_path parts;
    database_store("s");
    const char *path = database_path("s", "a/b");
    ck_assert(bough__branch_path_parse(&parts, path));
    ck_assert_str_eq(parts.name, "a/b");
    ck_assert_uint_eq(parts.file_bytes, strlen(harness_path("s.bough/db")));
    ck_assert_uint_eq(parts.store_bytes, strlen(harness_path("s.bough")));
    path = database_path("s", "db/x"); /* the first file counts */
    ck_assert(bough__branch_path_parse(&parts, path));
    ck_assert_str_eq(parts.name, "db/x");
    ck_assert(!bough__branch_path_parse(&parts, harness_path("s.bough/db")));
    ck_assert(!bough__branch_path_parse(&parts, harness_path("s.bough/catalog.db")));
    ck_assert(!bough__branch_path_parse(&parts, harness_path("other.bough/db/main")));
    ck_assert_int_eq(mkdir(harness_path("db"), 0700), 0);
    ck_assert(!bough__branch_path_parse(&parts, harness_path("db/main")));
    ck_assert(!bough__branch_path_parse(&parts, "main"));
    ck_assert(!bough__branch_path_parse(&parts, ""));
}

TEST(relative_paths)
{
    struct bough__branch_path parts;
    char *before = getcwd(NULL, 0);
    database_store("s");
    ck_assert_int_eq(chdir(harness_directory()), 0);
    ck_assert_str_eq(full("s.bough/db/main"), database_path("s", "main"));
    ck_assert_str_eq(full("./s.bough/../s.bough/db/a/b"), database_path("s", "a/b"));
    sqlite3 *db = database_open_uri("file:s.bough/db/main?vfs=bough");
    database_run(db, "CREATE TABLE t(a)");
    ck_assert_int_eq(chdir("s.bough"), 0);
    ck_assert(bough__branch_path_parse(&parts, "db/main"));
    ck_assert_str_eq(parts.name, "main");
    ck_assert_str_eq(full("db/main"), database_path("s", "main"));
    sqlite3 *other = database_open_uri("file:db/main?vfs=bough");
    ck_assert_int_eq(database_number(other, "SELECT count(*) FROM t"), 0);
    database_run(db, "INSERT INTO t VALUES(1)"); /* although the working directory has changed */
    ck_assert_int_eq(database_number(other, "SELECT count(*) FROM t"), 1);
    ck_assert_str_eq(sqlite3_db_filename(db, "main"), database_path("s", "main"));
    database_close(other);
    database_close(db);
    ck_assert_int_eq(chdir(before), 0);
    free(before);
}

TEST(symlinks_of_the_directory_are_resolved)
{
    database_store("s");
    ck_assert_int_eq(symlink(harness_path("s.bough"), harness_path("link")), 0);
    ck_assert_str_eq(full(harness_path("link/db/main")), database_path("s", "main"));
    /* A symlink in the place of the store's file leads nowhere. */
    ck_assert_int_eq(mkdir(harness_path("fake"), 0700), 0);
    ck_assert_int_eq(symlink(harness_path("s.bough/db"), harness_path("fake/db")), 0);
    sqlite3 *db = NULL;
    char uri[1024];
    snprintf(uri, sizeof(uri), "file:%s?vfs=bough", harness_path("fake/db/main"));
    CODE(SQLITE_CANTOPEN, database_try_open(&db, uri, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) & 0xff);
}

TEST(long_paths_are_refused)
{
    sqlite3 *db = NULL;
    char out[1024], name[600];
    database_store("s");
    memset(name, 'x', sizeof(name));
    name[511 - 13 - strlen(harness_path("s.bough/db/"))] = 0;
    ck_assert_int_eq(vfs()->xFullPathname(vfs(), database_path("s", name), sizeof(out), out), SQLITE_OK);
    strcat(name, "x");
    ck_assert_int_eq(vfs()->xFullPathname(vfs(), database_path("s", name), sizeof(out), out), SQLITE_CANTOPEN);
    ck_assert_int_eq(vfs()->xFullPathname(vfs(), database_path("s", "main"), 20, out), SQLITE_CANTOPEN);
    CODE(SQLITE_CANTOPEN, database_try_open(&db, database_uri("s", name, ""), SQLITE_OPEN_READWRITE) & 0xff);
}

TEST(companions_do_not_exist)
{
    database_store("s");
    sqlite3 *db = database_open();
    static const char *const names[] = {"main-journal", "main-wal", "main-shm", "other", "main-mj0123456AB"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        int exists = 7;
        CODE(SQLITE_OK, vfs()->xAccess(vfs(), database_path("s", names[i]), SQLITE_ACCESS_EXISTS, &exists));
        ck_assert_int_eq(exists, 0);
    }
    int exists = 7;
    CODE(SQLITE_OK, vfs()->xAccess(vfs(), database_path("s", "main"), SQLITE_ACCESS_EXISTS, &exists));
    ck_assert_int_eq(exists, 1);
    CODE(SQLITE_OK, vfs()->xAccess(vfs(), harness_path("s.bough/db"), SQLITE_ACCESS_EXISTS, &exists));
    ck_assert_int_eq(exists, 1);
    CODE(SQLITE_OK, vfs()->xAccess(vfs(), harness_path("nothing"), SQLITE_ACCESS_EXISTS, &exists));
    ck_assert_int_eq(exists, 0);
    database_close(db);
}

TEST(a_branch_is_never_deleted)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_run(db, "CREATE TABLE t(a)");
    CODE(SQLITE_IOERR_DELETE, vfs()->xDelete(vfs(), database_path("s", "main"), 0));
    CODE(SQLITE_OK, vfs()->xDelete(vfs(), database_path("s", "main-journal"), 1));
    CODE(SQLITE_OK, vfs()->xDelete(vfs(), database_path("s", "main-wal"), 1));
    CODE(SQLITE_IOERR_DELETE_NOENT, vfs()->xDelete(vfs(), harness_path("nothing"), 0));
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM sqlite_schema"), 1);
    database_close(db);
}

TEST(wal_files_are_refused)
{
    int flags = 0;
    database_store("s");
    sqlite3_file *file = calloc(1, (size_t)vfs()->szOsFile);
    flags = SQLITE_OPEN_WAL | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    CODE(SQLITE_CANTOPEN, vfs()->xOpen(vfs(), database_path("s", "main-wal"), file, flags, &flags));
    ck_assert_ptr_null(file->pMethods);
    free(file);
}

TEST(opening_never_creates_a_branch)
{
    sqlite3 *db = NULL;
    database_store("s");
    static const char *const names[] = {"other", "main/x", "main-journal", "a//b", "", "~1", "main~1", "main~",
                                        "0123456789abcdef", "%20"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        int rc = database_try_open(&db, database_uri("s", names[i], ""), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
        ck_assert_msg(rc == SQLITE_CANTOPEN, "%s: %d", names[i], rc);
        rc = database_try_open(&db, database_uri("s", names[i], ""), SQLITE_OPEN_READONLY);
        ck_assert_msg(rc == SQLITE_CANTOPEN, "%s: %d", names[i], rc);
    }
    database_log();
    CODE(SQLITE_CANTOPEN, database_try_open(&db, database_uri("s", "other", ""), SQLITE_OPEN_READWRITE));
    ck_assert_ptr_nonnull(strstr(database_log(), "other"));
}

TEST(without_the_vfs_it_fails_and_creates_nothing)
{
    sqlite3 *db = NULL;
    database_store("s");
    int rc = sqlite3_open_v2(database_path("s", "main"), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    CODE(SQLITE_CANTOPEN, rc);
    sqlite3_close(db);
    rc = sqlite3_open_v2(harness_path("s.bough/db"), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    CODE(SQLITE_OK, rc);
    CODE(SQLITE_NOTADB, database_try(db, "SELECT * FROM sqlite_schema"));
    CODE(SQLITE_NOTADB, database_try(db, "CREATE TABLE t(a)"));
    sqlite3_close(db);
    db = database_open();
    database_run(db, "CREATE TABLE t(a)");
    database_close(db);
}

TEST(a_file_that_is_no_store)
{
    sqlite3 *db = NULL;
    char uri[1024];
    database_store("s");
    ck_assert_int_eq(mkdir(harness_path("x"), 0700), 0);
    harness_write_file(harness_path("x/db"), "hello", 5);
    snprintf(uri, sizeof(uri), "file:%s?vfs=bough", harness_path("x/db/main"));
    int rc = database_try_open(&db, uri, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    ck_assert(rc == SQLITE_CORRUPT || rc == SQLITE_CANTOPEN);
    ck_assert_ptr_null(db);
}

TEST(as_the_default_vfs_plain_paths_work)
{
    sqlite3 *db = NULL;
    database_store("s");
    ASSERT_OK(bough_vfs_register(true));
    ASSERT_OK(bough_vfs_register(true));
    ck_assert_ptr_eq(sqlite3_vfs_find(NULL), vfs());
    CODE(SQLITE_OK, sqlite3_open(database_path("s", "main"), &db));
    database_fill(db, 10, 10);
    sqlite3_close(db);
    CODE(SQLITE_OK, sqlite3_open(harness_path("plain.db"), &db));
    database_fill(db, 10, 10);
    sqlite3_close(db);
    ck_assert_int_eq(access(harness_path("plain.db"), F_OK), 0);
    CODE(SQLITE_OK, sqlite3_open("file::memory:", &db));
    sqlite3_close(db);
    /* A new store's catalog still goes to the system's VFS. */
    database_store("later");
    db = database_open_uri(database_uri("later", "main", ""));
    database_fill(db, 10, 10);
    database_close(db);
}

TEST(a_read_only_open_reads_only)
{
    sqlite3 *db = NULL;
    database_store("s");
    sqlite3 *writer = database_open();
    database_fill(writer, 10, 10);
    CODE(SQLITE_OK, database_try_open(&db, database_uri("s", "main", ""), SQLITE_OPEN_READONLY));
    ck_assert_int_eq(sqlite3_db_readonly(db, "main"), 1);
    CODE(SQLITE_READONLY, database_try(db, "DELETE FROM t"));
    database_run(writer, "DELETE FROM t WHERE a > 5");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 5); /* it follows the branch */
    database_close(db);
    db = database_open_uri(database_uri("s", "main", "&mode=ro"));
    CODE(SQLITE_READONLY, database_try(db, "DELETE FROM t"));
    database_close(db);
    database_close(writer);
}

static void commit(const char *message)
{
    bough_store *store = NULL;
    bough_sealed sealed = {0};
    bough_options options = BOUGH_OPTIONS_INIT;
    options.message = message;
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    ASSERT_OK(bough_commit_create(&sealed, store, "main", &options));
    bough_sealed_release(&sealed);
    bough_store_close(store);
}

TEST(past_states_are_read_only_and_do_not_move)
{
    static const char *const parameters[] = {"", "&immutable=1", "&mode=rw"};
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 100, 100);
    commit("one");
    database_run(db, "UPDATE t SET b = 'two'");
    commit("two");
    database_run(db, "UPDATE t SET b = 'three'");
    for (size_t i = 0; i < COUNT_OF(parameters); i++) {
        sqlite3 *past = database_open_uri(database_uri("s", "main~1", parameters[i]));
        ck_assert_int_eq(database_number(past, "SELECT count(*) FROM t WHERE length(b) = 100"), 100);
        ck_assert_int_eq(sqlite3_db_readonly(past, "main"), 1);
        CODE(SQLITE_READONLY, database_try(past, "DELETE FROM t"));
        database_check(past);
        database_close(past);
    }
    sqlite3 *past = database_open_uri(database_uri("s", "main", "&at=main~0"));
    ck_assert_int_eq(database_number(past, "SELECT count(*) FROM t WHERE b = 'two'"), 100);
    database_run(db, "DELETE FROM t; VACUUM");
    commit("three");
    ck_assert_int_eq(database_number(past, "SELECT count(*) FROM t WHERE b = 'two'"), 100);
    database_close(past);
    past = database_open_uri(database_uri("s", "main~2", ""));
    ck_assert_int_eq(database_number(past, "SELECT count(*) FROM t WHERE length(b) = 100"), 100);
    database_close(past);
    CODE(SQLITE_CANTOPEN, database_try_open(&past, database_uri("s", "main", "&at=nobody"), SQLITE_OPEN_READONLY));
    database_close(db);
}

static void with_store(int (*change)(bough_branches *, bough_store *, const char *))
{
    bough_store *store = NULL;
    bough_branches branches = {0};
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    ASSERT_OK(change(&branches, store, "work"));
    bough_branches_release(&branches);
    bough_store_close(store);
}

static int fork_main(bough_branches *out, bough_store *store, const char *name)
{
    return bough_branch_create(out, store, &name, 1, "main", NULL);
}

static int protect(bough_branches *out, bough_store *store, const char *name)
{
    return bough_branch_protect(out, store, name, true);
}

static int unprotect(bough_branches *out, bough_store *store, const char *name)
{
    return bough_branch_protect(out, store, name, false);
}

static int drop(bough_branches *out, bough_store *store, const char *name)
{
    bough_options options = BOUGH_OPTIONS_INIT;
    options.force = true;
    return bough_branch_delete(out, store, &name, 1, &options);
}

TEST(branches_are_independent)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 1000, 100);
    with_store(fork_main);
    sqlite3 *work = database_open_uri(database_uri("s", "work", ""));
    database_run(db, "UPDATE t SET b = 'main'");
    ck_assert_int_eq(database_number(work, "SELECT count(*) FROM t WHERE length(b) = 100"), 1000);
    database_run(work, "DELETE FROM t WHERE a %% 2; CREATE TABLE u(x)");
    database_run(db, "BEGIN IMMEDIATE");
    database_run(work, "BEGIN IMMEDIATE; COMMIT"); /* each has a writer of its own */
    database_run(db, "COMMIT");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 'main'"), 1000);
    ck_assert_int_eq(database_number(work, "SELECT count(*) FROM t"), 500);
    database_check(db);
    database_check(work);
    database_close(work);
    database_close(db);
}

TEST(a_protected_branch_is_read_only)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 10, 10);
    database_close(db);
    with_store(fork_main);
    with_store(protect);
    db = database_open_uri(database_uri("s", "work", ""));
    CODE(SQLITE_READONLY, database_try(db, "DELETE FROM t"));
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 10);
    database_close(db);
    with_store(unprotect);
    db = database_open_uri(database_uri("s", "work", ""));
    database_run(db, "DELETE FROM t");
    database_close(db);
}

TEST(a_deleted_branch_ends_its_connections)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 1000, 100);
    with_store(fork_main);
    sqlite3 *reader = database_open_uri(database_uri("s", "work", ""));
    sqlite3 *writer = database_open_uri(database_uri("s", "work", ""));
    database_run(reader, "PRAGMA cache_size = 5; BEGIN; SELECT count(*) FROM t");
    database_run(writer, "BEGIN; SELECT count(*) FROM t");
    with_store(drop);
    /* What is being read can be read to its end. */
    ck_assert_int_eq(database_number(reader, "SELECT count(*) FROM t WHERE length(b) = 100"), 1000);
    database_run(reader, "COMMIT");
    CODE(SQLITE_IOERR, database_try(reader, "SELECT count(*) FROM t"));
    CODE(SQLITE_READONLY_DBMOVED, database_try(writer, "DELETE FROM t"));
    database_try(writer, "ROLLBACK");
    int moved = 0;
    CODE(SQLITE_OK, sqlite3_file_control(writer, "main", SQLITE_FCNTL_HAS_MOVED, &moved));
    ck_assert_int_eq(moved, 1);
    /* A new branch of that name is another one. */
    database_run(db, "UPDATE t SET b = 'new'");
    with_store(fork_main);
    CODE(SQLITE_IOERR, database_try(reader, "SELECT count(*) FROM t"));
    sqlite3 *again = database_open_uri(database_uri("s", "work", ""));
    ck_assert_int_eq(database_number(again, "SELECT count(*) FROM t WHERE b = 'new'"), 1000);
    database_close(again);
    database_close(reader);
    database_close(writer);
    database_close(db);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(a_path_through_the_store_file_is_a_branch),
        CASE(relative_paths),
        CASE(symlinks_of_the_directory_are_resolved),
        CASE(long_paths_are_refused),
        CASE(companions_do_not_exist),
        CASE(a_branch_is_never_deleted),
        CASE(wal_files_are_refused),
        CASE(opening_never_creates_a_branch),
        CASE(without_the_vfs_it_fails_and_creates_nothing),
        CASE(a_file_that_is_no_store),
        CASE(as_the_default_vfs_plain_paths_work),
        CASE(a_read_only_open_reads_only),
        CASE(past_states_are_read_only_and_do_not_move),
        CASE(branches_are_independent),
        CASE(a_protected_branch_is_read_only),
        CASE(a_deleted_branch_ends_its_connections),
    };
    return harness_run("paths", cases, COUNT_OF(cases));
}
