/* crowd.c - several processes that work on databases at the same time: the parent's side and the members'. */
#include "crowd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BUSY_MS 60000
#define POLL_US 1000

extern char **environ;

/* ---- the plan ---- */

static struct crowd *map_plan(const char *path, int flags)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);
    if (fd < 0 || ((flags & O_CREAT) && ftruncate(fd, sizeof(struct crowd)) != 0))
        bench_die("%s: %s", path, strerror(errno));
    struct crowd *crowd = mmap(NULL, sizeof(*crowd), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (crowd == MAP_FAILED)
        bench_die("%s: cannot be mapped", path);
    close(fd);
    return crowd;
}

struct crowd *crowd_new(const struct bench *bench)
{
    char *path = bench_path(bench, "crowd");
    struct crowd *crowd = map_plan(path, O_CREAT | O_TRUNC);
    free(path);
    return crowd;
}

void crowd_free(const struct bench *bench, struct crowd *crowd)
{
    char *path = bench_path(bench, "crowd");
    munmap(crowd, sizeof(*crowd));
    unlink(path);
    free(path);
}

struct crowd_member *crowd_add(struct crowd *crowd, enum crowd_work work, enum bench_variant variant,
                               const char *database)
{
    if (crowd->ready != 0) /* of a run that is over */
        memset(crowd, 0, sizeof(*crowd));
    if (crowd->count == CROWD_MOST)
        bench_die("too many processes");
    struct crowd_member *member = &crowd->members[crowd->count++];
    member->work = work;
    member->variant = variant;
    if (snprintf(member->database, sizeof(member->database), "%s", database) >= (int)sizeof(member->database))
        bench_die("%s is too long", database);
    return member;
}

/* ---- the parent ---- */

static pid_t start_member(const struct bench *bench, unsigned number)
{
    pid_t child = 0;
    char text[16], *plan = bench_path(bench, "crowd");
    snprintf(text, sizeof(text), "%u", number);
    const char *const argv[] = {bench->self, "--worker", "crowd", "0", plan, text, NULL};
    if (posix_spawn(&child, bench->self, NULL, NULL, (char *const *)(uintptr_t)argv, environ) != 0)
        bench_die("%s cannot be started", bench->self);
    free(plan);
    return child;
}

/* Ends the benchmark when one has failed; its message is on stderr. */
static bool has_ended(struct crowd *crowd, unsigned number)
{
    int status = 0;
    if (crowd->children[number] == 0)
        return true;
    if (waitpid(crowd->children[number], &status, WNOHANG) == 0)
        return false;
    crowd->children[number] = 0;
    if (status == 0)
        return true;
    for (unsigned i = 0; i < crowd->count; i++)
        if (crowd->children[i] != 0)
            kill(crowd->children[i], SIGKILL);
    bench_die("a process of the crowd ends with wait status %d", status);
}

static void wait_for_members(struct crowd *crowd, bool background)
{
    for (unsigned i = 0; i < crowd->count; i++)
        while (crowd->members[i].is_background == background && !has_ended(crowd, i))
            usleep(POLL_US);
}

double crowd_run(const struct bench *bench, struct crowd *crowd)
{
    double begin = 0, end = 0, cpu = 0;
    unsigned counted = 0;
    for (unsigned i = 0; i < crowd->count; i++)
        crowd->children[i] = start_member(bench, i);
    while (crowd->ready < crowd->count) {
        for (unsigned i = 0; i < crowd->count; i++)
            if (has_ended(crowd, i))
                bench_die("a process of the crowd ended before it began");
        usleep(POLL_US);
    }
    crowd->go = true;
    wait_for_members(crowd, false);
    crowd->stop = true;
    wait_for_members(crowd, true);
    for (unsigned i = 0; i < crowd->count; i++) {
        const struct crowd_member *member = &crowd->members[i];
        if (member->is_background)
            continue;
        begin = counted == 0 || member->begin < begin ? member->begin : begin;
        end = member->end > end ? member->end : end;
        cpu += member->cpu;
        counted++;
    }
    return bench_clock_is_cpu ? cpu / counted : end - begin;
}

double crowd_pages(const struct crowd *crowd)
{
    double pages = 0;
    unsigned counted = 0;
    for (unsigned i = 0; i < crowd->count; i++)
        if (!crowd->members[i].is_background) {
            pages += crowd->members[i].pages;
            counted++;
        }
    return pages / counted;
}

/* ---- a member ---- */

/* Steps to the end; whoever meets another writer waits for it like any program would. */
static void run_statement(sqlite3 *db, sqlite3_stmt *statement)
{
    int code = SQLITE_OK;
    do {
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW)
            continue;
        sqlite3_reset(statement);
    } while (code == SQLITE_ROW || (code & 0xff) == SQLITE_BUSY);
    bench_check_sql(db, code, sqlite3_sql(statement));
}

static void run_sql(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = bench_prepare(db, sql);
    run_statement(db, statement);
    sqlite3_finalize(statement);
}

static bool goes_on(const struct crowd *crowd, const struct crowd_member *member, unsigned turn)
{
    return member->is_background ? !crowd->stop : turn < member->count;
}

static void run_many(struct crowd *crowd, struct crowd_member *member, sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = bench_prepare(db, sql);
    for (unsigned i = 0; goes_on(crowd, member, i); i++) {
        if (sqlite3_bind_parameter_count(statement) > 0)
            sqlite3_bind_int64(statement, 1, (sqlite3_int64)(bench_mix(member->first + i) % member->rows) + 1);
        run_statement(db, statement);
        atomic_fetch_add_explicit(&member->done, 1, memory_order_relaxed);
    }
    sqlite3_finalize(statement);
}

static void hold_snapshots(struct crowd *crowd, struct crowd_member *member, sqlite3 *db)
{
    static const char sum[] = "SELECT sum(price) FROM item";
    _Atomic uint64_t *leader = &crowd->members[0].done;
    while (!crowd->stop) {
        bench_exec(db, "BEGIN");
        int64_t seen = bench_query_int(db, sum);
        uint64_t begin = *leader;
        while (!crowd->stop && (member->count == 0 || *leader < begin + member->count))
            usleep(POLL_US);
        if (bench_query_int(db, sum) != seen)
            bench_die("a snapshot changed while it was held");
        bench_exec(db, "COMMIT");
    }
}

static void run_work(struct crowd *crowd, struct crowd_member *member, sqlite3 *db)
{
    static const char select[] = "SELECT name FROM item WHERE id = ?";
    static const char update[] = "UPDATE item SET price = price + 1 WHERE id = ?";
    bool one = member->work == CROWD_SELECTS_ONE || member->work == CROWD_UPDATES_ONE;
    if (one)
        run_sql(db, member->work == CROWD_UPDATES_ONE ? "BEGIN IMMEDIATE" : "BEGIN");
    if (member->work == CROWD_HOLDS)
        hold_snapshots(crowd, member, db);
    else if (member->work == CROWD_INSERTS)
        run_many(crowd, member, db,
                 "INSERT INTO entry(body) VALUES('a line in a journal, as a program would write it')");
    else if (member->work == CROWD_SELECTS_EACH || member->work == CROWD_SELECTS_ONE)
        run_many(crowd, member, db, select);
    else
        run_many(crowd, member, db, update);
    if (one)
        run_sql(db, "COMMIT");
}

static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void crowd_work(const char *plan, unsigned number)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* who waits for a parent that was killed, or works beside it, has no end */
    struct crowd *crowd = map_plan(plan, 0);
    struct crowd_member *member = &crowd->members[number];
    if (bench_variant_is_bough(member->variant))
        bench_check(bough_vfs_register(false), "register the VFS");
    sqlite3 *db = bench_open(member->database, member->variant);
    sqlite3_busy_timeout(db, BUSY_MS);
    if (member->no_sync)
        bench_exec(db, "PRAGMA synchronous=OFF");
    bench_query_int(db, "SELECT name FROM item WHERE id = 1");
    bench_pages_read(db);
    atomic_fetch_add(&crowd->ready, 1);
    while (!crowd->go)
        usleep(POLL_US);
    member->begin = bench_now();
    double begin_cpu = processor_seconds();
    run_work(crowd, member, db);
    member->end = bench_now();
    member->cpu = processor_seconds() - begin_cpu;
    member->pages = bench_pages_read(db);
    bench_close(db);
    munmap(crowd, sizeof(*crowd));
}
