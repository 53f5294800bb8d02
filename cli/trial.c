/* trial.c - see trial.h.
 *
 * Each thread has a store handle and connections of its own, and a copy of the program's state for messages: what a
 * thread fails with is handed over when it has ended. */
#include "trial.h"

#include "statements.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct pool {
    struct review *review;
    char *const *texts;
    bool drops;
    pthread_mutex_t dropping;
    atomic_size_t next;
    atomic_bool failed; /* a thread met something other than a script that fails: no script is begun any more */
};

struct worker {
    struct pool *pool;
    struct cli cli;
    struct database base;
    int rc;
    pthread_t thread;
};

static double now(void)
{
    struct timespec time = {0, 0};

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ---- one script ---- */

struct script {
    struct review_side *side;
    struct database *database;
    const char *text;
};

static struct review_statement *note_statement(struct review_side *side, size_t line, const char *begin,
                                               const char *end)
{
    struct review_statement *statement = NULL;
    char *copy = statements_copy(begin, end);

    if (side->statement_count == side->statement_capacity) {
        side->statement_capacity = side->statement_capacity ? side->statement_capacity * 2 : 16;
        side->statements = out_grow(side->statements, side->statement_capacity * sizeof side->statements[0]);
    }
    statement = &side->statements[side->statement_count++];
    *statement = (struct review_statement){line, 0, statements_one_line(copy)};
    free(copy);
    return statement;
}

/* The side keeps SQLite's message with its place. */
static void note_error(struct script *script, struct cli *cli, int code, const char *place, const char *statement)
{
    struct review_side *side = script->side;
    char *line = statements_one_line(statement);
    char *message = NULL;

    database_fail(cli, script->database, code, "");
    /* The part behind the name of the branch, which is hidden. */
    message = strstr(cli->message, ": ") ? strstr(cli->message, ": ") + 2 : cli->message;
    side->error = out_format("%s:%zu: statement %zu: %s: %.160s%s", side->script, statements_line(script->text, place),
                             side->statement_count, message, line, strlen(line) > 160 ? "…" : "");
    side->ok = false;
    free(line);
}

static int step_through(sqlite3_stmt *statement)
{
    int code = SQLITE_ROW;

    while (code == SQLITE_ROW)
        code = sqlite3_step(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* Runs the statement at p, and returns where the next one may begin; NULL after a failure. */
static const char *run_statement(struct script *script, struct cli *cli, const char *p)
{
    sqlite3 *handle = script->database->handle;
    sqlite3_stmt *prepared = NULL;
    const char *tail = NULL;
    const char *place = p;
    double begin = now();
    size_t line = statements_line(script->text, p);
    int code = sqlite3_prepare_v2(handle, p, -1, &prepared, &tail);
    struct review_statement *statement =
        note_statement(script->side, line, p, code == SQLITE_OK ? tail : statements_end(p));

    if (code != SQLITE_OK && sqlite3_error_offset(handle) > 0)
        place = p + sqlite3_error_offset(handle);
    else if (code == SQLITE_OK && prepared)
        code = step_through(prepared);
    statement->seconds = now() - begin;
    script->side->seconds += statement->seconds;
    if (code != SQLITE_OK)
        note_error(script, cli, code, place, statement->sql);
    sqlite3_finalize(prepared);
    return code == SQLITE_OK ? tail : NULL;
}

/* What is not committed when the script ends is rolled back. */
static void end_transaction(struct script *script)
{
    struct review_side *side = script->side;

    if (sqlite3_get_autocommit(script->database->handle))
        return;
    sqlite3_exec(script->database->handle, "ROLLBACK", NULL, NULL, NULL);
    if (side->ok)
        side->error = out_format("%s: the script left a transaction open; it was rolled back", side->script);
    side->ok = false;
}

static int run_script(struct cli *cli, struct review_side *side, const char *text)
{
    struct database database = {NULL, NULL, false};
    struct script script = {side, &database, text};
    const char *p = statements_next(text);
    int rc = database_open(cli, &database, side->ref, true);

    side->seconds = 0;
    side->ok = true;
    if (rc == BOUGH_OK)
        review_watch(&database);
    while (rc == BOUGH_OK && p && *p) {
        p = run_statement(&script, cli, p);
        p = p ? statements_next(p) : NULL;
    }
    if (rc == BOUGH_OK)
        end_transaction(&script);
    database_close(&database);
    if (rc == BOUGH_OK && out_interrupted_by())
        rc = cli_fail(cli, BOUGH_INTERRUPTED, "interrupted");
    return rc;
}

/* ---- threads ---- */

/* Through the handle that made the branches, which nobody uses meanwhile: the first write of a handle syncs the store's
 * directory. Whoever made the branch drops it where this fails. */
static void drop_side(struct pool *pool, struct cli *cli, struct review_side *side)
{
    bough_options options = cli_options(cli, NULL);
    bough_branches dropped = {NULL, 0};

    options.force = true;
    pthread_mutex_lock(&pool->dropping);
    side->is_dropped = bough_branch_delete(&dropped, pool->review->cli->store, &side->ref, 1, &options) == BOUGH_OK;
    pthread_mutex_unlock(&pool->dropping);
    bough_branches_release(&dropped);
}

static int work(struct worker *worker)
{
    struct pool *pool = worker->pool;
    struct review *review = pool->review;
    size_t i = 0;
    int rc = BOUGH_OK;

    while (rc == BOUGH_OK && !pool->failed && (i = atomic_fetch_add(&pool->next, 1)) < review->count) {
        struct review_side *side = &review->sides[i];

        rc = run_script(&worker->cli, side, pool->texts[i]);
        if (rc == BOUGH_OK && !worker->base.handle)
            rc = review_open_database(&worker->cli, &worker->base, review->base_ref);
        if (rc == BOUGH_OK)
            rc = review_compare_side(review, &worker->cli, side, &worker->base);
        if (rc == BOUGH_OK && pool->drops)
            drop_side(pool, &worker->cli, side);
    }
    return rc;
}

static int open_worker(struct worker *worker)
{
    bough_options options = BOUGH_OPTIONS_INIT;

    options.timeout_ms = worker->cli.timeout_ms;
    return cli_check(&worker->cli, bough_store_open(&worker->cli.store,
                                                    bough_store_path(worker->pool->review->cli->store), &options));
}

static void *run_worker(void *context)
{
    struct worker *worker = context;

    worker->rc = open_worker(worker);
    if (worker->rc == BOUGH_OK)
        worker->rc = work(worker);
    if (worker->rc != BOUGH_OK)
        worker->pool->failed = true;
    database_close(&worker->base);
    bough_store_close(worker->cli.store);
    return NULL;
}

static void begin_worker(struct worker *worker, struct pool *pool)
{
    worker->pool = pool;
    worker->cli = *pool->review->cli;
    worker->cli.store = NULL;
    worker->cli.current = worker->cli.message = worker->cli.hint = NULL;
    worker->cli.current_known = false;
}

/* Hands the first failure over. */
static int end_worker(struct cli *cli, int rc, struct worker *worker)
{
    if (rc == BOUGH_OK && worker->rc != BOUGH_OK)
        rc = cli_fail(cli, worker->rc, "%s", worker->cli.message ? worker->cli.message : "failed");
    free(worker->cli.message);
    free(worker->cli.hint);
    return rc;
}

/* A heap that glibc makes for another thread grows by a system call for each page, and while that lasts no thread gets
 * a page of any mapping. */
static void share_one_heap(void)
{
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1);
#endif
}

int trial_run(struct review *review, char *const *texts, size_t jobs, bool drops)
{
    struct pool pool = {.review = review, .texts = texts, .drops = drops, .dropping = PTHREAD_MUTEX_INITIALIZER};
    struct worker *workers = out_alloc(jobs * sizeof workers[0]);
    size_t started = 0;
    int rc = BOUGH_OK;

    share_one_heap();
    for (size_t i = 0; i < jobs; i++)
        begin_worker(&workers[i], &pool);
    /* The first one is this thread; without a second one the work goes on as well. */
    for (started = 1; started < jobs; started++) {
        if (pthread_create(&workers[started].thread, NULL, run_worker, &workers[started]) != 0)
            break;
    }
    run_worker(&workers[0]);
    for (size_t i = 1; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    for (size_t i = 0; i < started; i++)
        rc = end_worker(review->cli, rc, &workers[i]);
    free(workers);
    return rc;
}
