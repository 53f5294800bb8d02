/* test_limits.c - many openers: more processes and snapshots than a branch has places
 * for, shared memory of another version. Each ends in an error that says what is wrong, and in nothing else.
 */
#include "database.h"

#include "layer.h"
#include "os.h"
#include "shm.h"
#include "store.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- processes and snapshots ------------------------------------------------------------------------------------- */

TEST(one_process_more_than_a_branch_has_places_for)
{
    pid_t peers[BOUGH__SHM_OPENERS];
    int go[2], ready[2];
    char byte = 0;
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 100, 100);
    database_close(db);
    ck_assert_int_eq(pipe(go), 0);
    ck_assert_int_eq(pipe(ready), 0);
    for (int i = 0; i < BOUGH__SHM_OPENERS; i++) {
        peers[i] = fork();
        if (peers[i] == 0) {
            close(go[1]);
            int rc = database_try_open(&db, database_uri("s", "main", ""), SQLITE_OPEN_READWRITE);
            byte = rc == SQLITE_OK ? 'y' : 'n';
            if (write(ready[1], &byte, 1) == 1)
                (void)!read(go[0], &byte, 1);
            sqlite3_close(db);
            _exit(0);
        }
        ck_assert_int_eq(read(ready[0], &byte, 1), 1);
        ck_assert_int_eq(byte, 'y');
    }
    CODE(SQLITE_BUSY, database_try_open(&db, database_uri("s", "main", ""), SQLITE_OPEN_READWRITE));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "64 processes"));
    close(go[1]);
    for (int i = 0; i < BOUGH__SHM_OPENERS; i++)
        ck_assert_int_eq(waitpid(peers[i], NULL, 0), peers[i]);
    db = database_open();
    database_run(db, "INSERT INTO t(b) VALUES('after')");
    database_close(db);
}

TEST(one_snapshot_more_than_a_branch_has_places_for)
{
    static sqlite3 *readers[BOUGH__SHM_PINS + 1];
    struct rlimit limit;
    int count = 0, rc = SQLITE_OK;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 100, 100);
    database_close(db);
    while (count <= BOUGH__SHM_PINS && rc == SQLITE_OK) {
        rc = database_try_open(&readers[count], database_uri("s", "main", ""), SQLITE_OPEN_READWRITE);
        if (rc == SQLITE_OK)
            rc = database_try(readers[count], "BEGIN; SELECT count(*) FROM t");
        if (rc == SQLITE_OK)
            count++;
    }
    ck_assert_int_eq(count, BOUGH__SHM_PINS);
    ck_assert_int_eq(rc, SQLITE_BUSY);
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "1024 snapshots"));
    sqlite3_close(readers[count]);
    /* One that goes makes room for one that comes. */
    database_close(readers[--count]);
    db = database_open();
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 100);
    database_close(db);
    while (count > 0)
        database_close(readers[--count]);
}

/* ---- a reader that never ends */

static time_t clock_seconds;

static int settable_clock(clockid_t clock, struct timespec *out)
{
    (void)clock;
    *out = (struct timespec){.tv_sec = clock_seconds};
    return 0;
}

static uint64_t kept_bytes; /* as of the last question */

static int64_t oldest_reader(bough_store *store)
{
    bough_status status = {0};
    ASSERT_OK(bough_branch_status(&status, store, "main"));
    int64_t seconds = status.oldest_reader_seconds;
    kept_bytes = status.kept_bytes;
    bough_status_release(&status);
    return seconds;
}

/* Reads in one transaction from second 1000 on, and after a byte of each kind: 'c' it ended, 'b' it began another. */
static _Noreturn void read_when_told(int commands, int answers)
{
    sqlite3 *db = NULL;
    char command = 'b';
    bool is_well = database_try_open(&db, database_uri("s", "main", ""), SQLITE_OPEN_READWRITE) == SQLITE_OK;
    do {
        const char *sql = command == 'b' ? "BEGIN; SELECT count(*) FROM t" : "COMMIT";
        clock_seconds += command == 'b' ? 1000 : 0;
        is_well = is_well && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
    } while (is_well && write(answers, &command, 1) == 1 && read(commands, &command, 1) == 1);
    _exit(1);
}

TEST(the_oldest_reader)
{
    int commands[2], answers[2];
    char byte = 0;
    bough_store *store = NULL;
    database_store("s");
    bough__os.clock_gettime = settable_clock;
    sqlite3 *db = database_open();
    database_fill(db, 100, 100);
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    ck_assert_int_eq(oldest_reader(store), -1);
    ck_assert_int_eq(pipe(commands), 0);
    ck_assert_int_eq(pipe(answers), 0);
    pid_t reader = fork();
    if (reader == 0)
        read_when_told(commands[0], answers[1]);
    ck_assert_int_eq(read(answers[0], &byte, 1), 1);
    clock_seconds = 1077;
    ck_assert_int_eq(oldest_reader(store), 77);
    ck_assert_uint_eq(kept_bytes, 0);
    /* What the reader sees is kept, and of what is written over and over since then hardly anything. */
    for (int i = 0; i < 200; i++)
        database_run(db, "UPDATE t SET b = hex(randomblob(50)) WHERE a <= 50");
    ck_assert_int_eq(oldest_reader(store), 77);
    ck_assert_uint_gt(kept_bytes, 0);
    ck_assert_uint_lt(kept_bytes, 20 * 4096);
    database_run(db, "BEGIN; SELECT count(*) FROM t"); /* one's own reader is no news */
    ck_assert_int_eq(oldest_reader(store), 77);
    database_run(db, "INSERT INTO t(b) VALUES('x'); COMMIT");
    ck_assert_int_eq(write(commands[1], "c", 1), 1);
    ck_assert_int_eq(read(answers[0], &byte, 1), 1);
    ck_assert_int_eq(oldest_reader(store), -1); /* the connection is open, but does not read */
    ck_assert_uint_eq(kept_bytes, 0);
    ck_assert_int_eq(write(commands[1], "b", 1), 1);
    ck_assert_int_eq(read(answers[0], &byte, 1), 1);
    clock_seconds = 2003;
    ck_assert_int_eq(oldest_reader(store), 3);
    kill(reader, SIGKILL);
    ck_assert_int_eq(waitpid(reader, NULL, 0), reader);
    ck_assert_int_eq(oldest_reader(store), -1);
    bough_store_close(store);
    database_close(db);
}

/* ---- shared memory of another version ---------------------------------------------------------------------------- */

static int hold_the_branch(int ready, int go)
{
    sqlite3 *db = NULL;
    char byte = 'r';
    if (database_try_open(&db, database_uri("s", "main", ""), SQLITE_OPEN_READWRITE) != SQLITE_OK)
        return 1;
    if (write(ready, &byte, 1) == 1)
        (void)!read(go, &byte, 1);
    return sqlite3_close(db) == SQLITE_OK ? 0 : 2;
}

TEST(shared_memory_of_another_version)
{
    int go[2], ready[2], status = 0;
    char byte = 0, path[4096];
    database_store("s");
    sqlite3 *db = database_open();
    database_fill(db, 100, 100);
    database_close(db);
    ck_assert_int_eq(pipe(go), 0);
    ck_assert_int_eq(pipe(ready), 0);
    pid_t peer = fork();
    if (peer == 0) {
        close(go[1]);
        _exit(hold_the_branch(ready[1], go[0]));
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    /* The first word of the file is the version; the branch is the store's first. */
    bough_store *store = NULL;
    struct bough__branch_row row;
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, "main"));
    snprintf(path, sizeof(path), "%s/run/%u.shm", harness_path("s.bough"), row.layer);
    bough__branch_row_clear(&row);
    bough_store_close(store);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint64_t ours = 0, other = 0;
    ck_assert_int_eq(pread(fd, &ours, sizeof(ours), 0), sizeof(ours));
    other = ours + (UINT64_C(1) << 32);
    ck_assert_int_eq(pwrite(fd, &other, sizeof(other), 0), sizeof(other));
    CODE(SQLITE_IOERR, database_try_open(&db, database_uri("s", "main", ""), SQLITE_OPEN_READWRITE));
    ck_assert_ptr_nonnull(strstr(database_log(), "another version of bough"));
    ck_assert_int_eq(pwrite(fd, &ours, sizeof(ours), 0), sizeof(ours));
    close(fd);
    close(go[1]);
    ck_assert_int_eq(waitpid(peer, &status, 0), peer);
    ck_assert_int_eq(status, 0);
    db = database_open();
    ck_assert_int_eq(database_number(db, "SELECT count(*) FROM t"), 100);
    database_close(db);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(one_process_more_than_a_branch_has_places_for),
        CASE(one_snapshot_more_than_a_branch_has_places_for),
        CASE(the_oldest_reader),
        CASE(shared_memory_of_another_version),
    };
    return harness_run("limits", cases, COUNT_OF(cases));
}
