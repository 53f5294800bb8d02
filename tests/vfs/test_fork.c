/* test_fork.c - processes that fork with a store open: no child harms its parent, whatever it does with what it has
 * inherited, the parent's locks end with the parent, and a child can open the store for itself.
 */
#include "database.h"

#include "files.h"
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Neither sanitizer lets a process with threads fork and go on: the one for threads takes those that stayed in the
 * parent for the child's, and the one for addresses has a lock in its malloc that one of them may have held. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif

/* A child does not hang for ever, and what it finds wrong ends it. */
#define CHILD_SECONDS 60

static pid_t start(int (*run)(void *), void *context)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_SECONDS);
        _exit(run(context));
    }
    ck_assert_int_gt(child, 0);
    return child;
}

static int status_of(pid_t child)
{
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void in_child(int (*run)(void *), void *context)
{
    ck_assert_int_eq(status_of(start(run, context)), 0);
}

/* In a child: what has to hold, or the line as its status. */
#define MUST(condition)                                             \
    do {                                                            \
        if (!(condition)) {                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            return 1;                                               \
        }                                                           \
    } while (0)

static int count_descriptors_of_store(void)
{
    char link[64], target[4096];
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (!directory)
        return -1;
    for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory)) {
        snprintf(link, sizeof(link), "/proc/self/fd/%.20s", entry->d_name);
        ssize_t len = readlink(link, target, sizeof(target) - 1);
        if (len <= 0)
            continue;
        target[len] = 0;
        if (strstr(target, ".bough/") && !strstr(target, "/catalog.db"))
            count++;
    }
    closedir(directory);
    return count;
}

static bool maps_shared_memory(void)
{
    char line[4096];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof(line), maps))
        found = found || strstr(line, ".shm") != NULL;
    if (maps)
        fclose(maps);
    return found;
}

/* ---- children that do nothing ---------------------------------------------------------------------------------- */

static int hold_nothing(void *context)
{
    (void)context;
    MUST(count_descriptors_of_store() == 0);
    MUST(!maps_shared_memory());
    return 0;
}

static int exec_a_program(void *context)
{
    (void)context;
    /* Descriptors that are left would be seen by the shell. */
    execl("/bin/sh", "sh", "-c", "! ls -l /proc/self/fd | grep -q '[.]bough/'", (char *)NULL);
    return 99;
}

TEST(a_child_holds_nothing)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 500, 200);
    sqlite3 *reader = database_open();
    database_run(reader, "BEGIN; SELECT count(*) FROM t");
    database_run(db, "BEGIN IMMEDIATE; UPDATE t SET b = b || 'x'");
    ck_assert_int_gt(count_descriptors_of_store(), 0);
    ck_assert(maps_shared_memory());
    in_child(hold_nothing, NULL);
    in_child(exec_a_program, NULL);
    /* The parent has all of it yet. */
    database_run(db, "COMMIT");
    ck_assert_int_eq(database_number(reader, "SELECT count(*) FROM t WHERE b LIKE '%%x'"), 0);
    database_run(reader, "COMMIT");
    ck_assert_int_eq(database_number(reader, "SELECT count(*) FROM t WHERE b LIKE '%%x'"), 500);
    database_check(db);
    database_close(reader);
    database_close(db);
}

/* ---- children that use what they inherited --------------------------------------------------------------------- */

static int use_inherited(void *context)
{
    sqlite3 *db = context;
    MUST((database_try(db, "SELECT count(*) FROM t WHERE b = 'no index'") & 0xff) == SQLITE_IOERR);
    MUST((database_try(db, "INSERT INTO t(b) VALUES('child')") & 0xff) == SQLITE_IOERR);
    MUST((database_try(db, "BEGIN IMMEDIATE") & 0xff) == SQLITE_IOERR);
    MUST(strstr(database_log(), "before a fork()"));
    MUST(sqlite3_close(db) == SQLITE_OK);
    return 0;
}

TEST(an_inherited_connection_is_refused)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 500, 200);
    in_child(use_inherited, db);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 500);
    database_run(db, "INSERT INTO t(b) VALUES('parent')");
    database_check(db);
    database_close(db);
}

/* Whatever happens to each of these, the process goes on and the parent is not harmed. */
static int use_inherited_transaction(void *context)
{
    sqlite3 *db = context;
    const char *last = getenv("LAST_WORD");
    database_try(db, "SELECT sum(length(b)) FROM t");
    /* Beyond the cache, so that pages and the journal's images would be written. */
    database_try(db, "UPDATE t SET b = randomblob(900)");
    int rc = database_try(db, "%s", last);
    MUST(strcmp(last, "COMMIT") != 0 || rc != SQLITE_OK);
    sqlite3_close(db);
    return 0;
}

static void fork_in_a_transaction(const char *in_child_last, const char *in_parent_last, int expected)
{
    sqlite3 *db = database_open();
    database_run(db, "PRAGMA cache_size=20; UPDATE t SET b = hex(zeroblob(500))");
    database_run(db, "BEGIN; UPDATE t SET b = hex(randomblob(500))"); /* 3 MB: the journal is in a file */
    setenv("LAST_WORD", in_child_last, 1);
    in_child(use_inherited_transaction, db);
    database_run(db, "%s", in_parent_last);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b <> hex(zeroblob(500))"), expected);
    database_check(db);
    database_close(db);
}

TEST(an_inherited_transaction_is_the_parents)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 3000, 500);
    database_close(db);
    fork_in_a_transaction("COMMIT", "COMMIT", 3000);
    fork_in_a_transaction("COMMIT", "ROLLBACK", 0);
    fork_in_a_transaction("ROLLBACK", "COMMIT", 3000);
    fork_in_a_transaction("ROLLBACK", "ROLLBACK", 0);
}

/* ---- children that open the store for themselves --------------------------------------------------------------- */

static int open_and_write(void *context)
{
    (void)context;
    sqlite3 *db = NULL;
    MUST(database_try_open(&db, database_uri("s", "main", ""), SQLITE_OPEN_READWRITE) == SQLITE_OK);
    MUST(database_try(db, "INSERT INTO t(b) VALUES('child')") == SQLITE_OK);
    MUST(strcmp(database_text(db, "PRAGMA integrity_check"), "ok") == 0);
    MUST(sqlite3_close(db) == SQLITE_OK);
    return 0;
}

static int open_write_and_fork(void *context)
{
    MUST(open_and_write(context) == 0);
    sqlite3 *db = NULL;
    MUST(database_try_open(&db, database_uri("s", "main", ""), SQLITE_OPEN_READWRITE) == SQLITE_OK);
    MUST(database_number(db, "SELECT count(*) FROM t") > 0);
    pid_t grandchild = fork();
    if (grandchild == 0)
        _exit(use_inherited(db) || open_and_write(context));
    MUST(status_of(grandchild) == 0);
    MUST(database_try(db, "INSERT INTO t(b) VALUES('child again')") == SQLITE_OK);
    MUST(sqlite3_close(db) == SQLITE_OK);
    return 0;
}

static int find_it_busy(void *context)
{
    (void)context;
    sqlite3 *db = NULL;
    MUST(database_try_open(&db, database_uri("s", "main", ""), SQLITE_OPEN_READWRITE) == SQLITE_OK);
    MUST(database_try(db, "INSERT INTO t(b) VALUES('child')") == SQLITE_BUSY);
    MUST(sqlite3_close(db) == SQLITE_OK);
    return 0;
}

TEST(a_child_opens_its_own_connection)
{
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 500, 200);
    sqlite3 *reader = database_open();
    database_run(reader, "BEGIN; SELECT count(*) FROM t");
    in_child(open_and_write, NULL);
    in_child(open_write_and_fork, NULL);
    ck_assert_int_eq(database_number(reader, "SELECT count(*) FROM t"), 500); /* its snapshot is where it was */
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 504);
    database_run(db, "BEGIN IMMEDIATE; INSERT INTO t(b) VALUES('parent')");
    in_child(find_it_busy, NULL);
    database_run(db, "COMMIT");
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 505);
    database_check(db);
    database_close(reader);
    database_close(db);
}

/* ---- handles ----------------------------------------------------------------------------------------------------- */

#define REFUSED(call) MUST((call) == BOUGH_USAGE)

static int use_inherited_handle(void *context)
{
    bough_store *store = context;
    const char *name = "new";
    char *text = NULL, *path = NULL;
    bough_branches branches = {0};
    bough_status status = {0};
    bough_commits commits = {0};
    bough_sealed sealed = {0};
    bough_tags tags = {0};
    bough_ref ref = {0};
    bough_transfer transfer = {0};
    bough_page_diff diff = {0};
    bough_verification verification = {0};
    bough_usage usage = {0};
    REFUSED(bough_branch_list(&branches, store));
    REFUSED(bough_branch_get(&branches, store, "main"));
    REFUSED(bough_branch_create(&branches, store, &name, 1, "main", NULL));
    REFUSED(bough_branch_delete(&branches, store, &name, 1, NULL));
    REFUSED(bough_branch_rename(&branches, store, (const char *[]){"main"}, (const char *[]){"other"}, 1));
    REFUSED(bough_branch_protect(&branches, store, "main", true));
    REFUSED(bough_branch_switch(&branches, store, "main"));
    REFUSED(bough_branch_current(&text, store));
    REFUSED(bough_branch_status(&status, store, "main"));
    REFUSED(bough_branch_reset(&sealed, store, "main", NULL, NULL));
    REFUSED(bough_branch_promote(&sealed, store, "main", "main", NULL));
    REFUSED(bough_commit_create(&sealed, store, "main", NULL));
    REFUSED(bough_commit_log(&commits, store, "main", 0));
    REFUSED(bough_tag_list(&tags, store));
    REFUSED(bough_tag_create(&tags, store, "tag", "main"));
    REFUSED(bough_tag_delete(&tags, store, "tag"));
    REFUSED(bough_ref_resolve(&ref, store, "main"));
    REFUSED(bough_ref_url(&text, &path, store, "main"));
    REFUSED(bough_import(&transfer, store, "main", harness_path("plain.db"), NULL));
    REFUSED(bough_export(&transfer, store, "main", harness_path("out.db"), NULL));
    REFUSED(bough_diff_pages(&diff, store, "main", "main", NULL, NULL));
    REFUSED(bough_verify(&verification, store, NULL, NULL));
    REFUSED(bough_disk_usage(&usage, store));
    MUST(strstr(bough_store_path(store), "s.bough"));
    /* A handle of its own works beside it, before and after it is closed. */
    bough_store *own = NULL;
    MUST(bough_store_open(&own, bough_store_path(store), NULL) == BOUGH_OK);
    MUST(bough_branch_create(&branches, own, &name, 1, "main", NULL) == BOUGH_OK);
    bough_store_close(store);
    bough_branches_release(&branches);
    MUST(bough_commit_log(&commits, own, "new", 0) == BOUGH_OK);
    bough_commits_release(&commits);
    bough_store_close(own);
    return 0;
}

TEST(an_inherited_handle_is_refused)
{
    database_store("s");
    sqlite3 *plain = database_open_uri(harness_path("plain.db"));
    database_run(plain, "CREATE TABLE x(y)");
    database_close(plain);
    sqlite3 *db = database_open();
    database_fill(db, 500, 200);
    bough_store *store = NULL;
    bough_branches branches = {0};
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    ASSERT_OK(bough_branch_list(&branches, store));
    bough_branches_release(&branches);
    in_child(use_inherited_handle, store);
    ASSERT_OK(bough_branch_list(&branches, store));
    ck_assert_uint_eq(branches.count, 2);
    bough_branches_release(&branches);
    bough_verification verification = {0};
    ASSERT_OK(bough_verify(&verification, store, NULL, NULL));
    ck_assert(verification.ok);
    bough_verification_release(&verification);
    bough_store_close(store);
    database_close(db);
}

/* ---- parents that die -------------------------------------------------------------------------------------------- */

struct family {
    int to_child[2];    /* closed: the child ends */
    int from_parent[2]; /* the child's process id */
};

static int wait_for_the_end(struct family *family)
{
    char byte = 0;
    close(family->to_child[1]);
    while (read(family->to_child[0], &byte, 1) < 0 && errno == EINTR)
        continue;
    return 0;
}

/* A parent that writes, reads an old state, appends nodes perhaps, has a child, and is killed. */
static int live_and_die(void *context)
{
    struct family *family = context;
    bough_store *store = NULL;
    MUST(bough_store_open(&store, harness_path("s.bough"), NULL) == BOUGH_OK);
    sqlite3 *reader = database_open(), *db = database_open();
    MUST(database_try(reader, "BEGIN; SELECT count(*) FROM t") == SQLITE_OK);
    MUST(database_try(db, "INSERT INTO t(b) VALUES('acknowledged')") == SQLITE_OK);
    MUST(database_try(db, "BEGIN IMMEDIATE; UPDATE t SET b = 'never committed'") == SQLITE_OK);
    pid_t child = fork();
    if (child == 0) {
        /* It lives on, and does nothing with what it has. */
        signal(SIGALRM, SIG_DFL);
        alarm(CHILD_SECONDS);
        char ready = 'r';
        MUST(write(family->from_parent[1], &ready, 1) == 1);
        _exit(wait_for_the_end(family));
    }
    pause();
    return 1;
}

TEST(locks_end_with_the_parent_though_a_child_lives)
{
    struct family family;
    char ready = 0;
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 500, 200);
    database_close(db);
    ck_assert_int_eq(pipe(family.to_child), 0);
    ck_assert_int_eq(pipe(family.from_parent), 0);
    pid_t parent = start(live_and_die, &family);
    ck_assert_int_eq(read(family.from_parent[0], &ready, 1), 1);
    in_child(find_it_busy, NULL);
    kill(parent, SIGKILL);
    ck_assert_int_eq(status_of(parent), -SIGKILL);
    /* A third process gets the writer's lock at once, and is the first opener: nobody has the layer open. */
    db = database_open();
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 'acknowledged'"), 1);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 'never committed'"), 0);
    database_run(db, "INSERT INTO t(b) VALUES('heir')");
    database_check(db);
    bough_store *store = NULL;
    bough_status status = {0};
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    ASSERT_OK(bough_branch_status(&status, store, "main"));
    ck_assert_uint_eq(status.open_by_count, 0);
    bough_status_release(&status);
    database_close(db);
    bough_branches gone = {0};
    const char *name = "main";
    ASSERT_OK(bough_branch_delete(&gone, store, &name, 1, NULL)); /* needs the branch alone */
    bough_branches_release(&gone);
    bough_store_close(store);
    close(family.to_child[0]);
    close(family.to_child[1]);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */
#ifndef HAS_SANITIZER

#define WRITERS 2
#define FORKS 40

/* check's assertions take a mutex that a child would wait for, so threads and children here do without them. */
static int run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) & 0xff;
}

static int open_branch(sqlite3 **out, const char *branch)
{
    int rc = database_try_open(out, database_uri("s", branch, ""), SQLITE_OPEN_READWRITE);
    return rc == SQLITE_OK ? sqlite3_busy_timeout(*out, 50000) : rc;
}

static atomic_bool must_stop;
static atomic_int failures;

static void *write_all_the_time(void *context)
{
    sqlite3 *db = NULL;
    int rc = open_branch(&db, context);
    while (rc == SQLITE_OK && !atomic_load(&must_stop))
        rc = run(db, "INSERT INTO w VALUES(1, hex(randomblob(300)))");
    atomic_fetch_add(&failures, rc != SQLITE_OK);
    sqlite3_close(db);
    return NULL;
}

static void *open_all_the_time(void *context)
{
    (void)context;
    while (!atomic_load(&must_stop)) {
        sqlite3 *db = NULL;
        int rc = open_branch(&db, "main");
        if (rc == SQLITE_OK)
            rc = run(db, "SELECT count(*) FROM t");
        atomic_fetch_add(&failures, rc != SQLITE_OK);
        sqlite3_close(db);
    }
    return NULL;
}

static void *commit_all_the_time(void *context)
{
    bough_store *store = context;
    while (!atomic_load(&must_stop)) {
        bough_sealed sealed = {0};
        if (bough_commit_create(&sealed, store, "main", NULL) != BOUGH_OK)
            atomic_fetch_add(&failures, 1);
        bough_sealed_release(&sealed);
    }
    return NULL;
}

static int work_as_a_child(void *context)
{
    sqlite3 *inherited = context, *db = NULL;
    MUST(run(inherited, "SELECT * FROM t") == SQLITE_IOERR);
    MUST(open_branch(&db, "main") == SQLITE_OK);
    MUST(run(db, "INSERT INTO t(b) VALUES('child')") == SQLITE_OK);
    MUST(sqlite3_close(db) == SQLITE_OK);
    MUST(sqlite3_close(inherited) == SQLITE_OK);
    return 0;
}

TEST(children_of_a_busy_process)
{
    static const char *const branches[WRITERS] = {"main", "other"};
    pthread_t threads[WRITERS + 2];
    int forks = (int)harness_number("BOUGH_FORKS", FORKS);
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 500, 200);
    database_run(db, "CREATE TABLE w(i, x)");
    bough_store *store = NULL;
    bough_branches made = {0};
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    ASSERT_OK(bough_branch_create(&made, store, &branches[1], 1, "main", NULL));
    bough_branches_release(&made);
    for (int i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], NULL, write_all_the_time, (void *)(uintptr_t)branches[i]);
    pthread_create(&threads[WRITERS], NULL, open_all_the_time, NULL);
    pthread_create(&threads[WRITERS + 1], NULL, commit_all_the_time, store);
    for (int i = 0; i < forks; i++)
        in_child(work_as_a_child, db);
    atomic_store(&must_stop, true);
    for (int i = 0; i < WRITERS + 2; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(atomic_load(&failures), 0);
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t WHERE b = 'child'"), forks);
    database_check(db);
    database_close(db);
    bough_store_close(store);
}
#endif

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(a_child_holds_nothing),
        CASE(an_inherited_connection_is_refused),
        CASE(an_inherited_transaction_is_the_parents),
        CASE(a_child_opens_its_own_connection),
        CASE(an_inherited_handle_is_refused),
        CASE(locks_end_with_the_parent_though_a_child_lives),
#ifndef HAS_SANITIZER
        CASE(children_of_a_busy_process),
#endif
    };
    return harness_run("fork", cases, COUNT_OF(cases));
}
