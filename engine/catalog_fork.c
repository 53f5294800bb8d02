/* catalog_fork.c - the catalog's connections and fork().
 *
 * SQLite keeps the locks and the shared memory of a file in one struct for all connections of a process. A child has
 * that struct without the locks that it tells of, so a connection that the child opens beside an inherited one would
 * believe that it is protected by them. Therefore the first catalog that a child opens closes the inherited ones
 * before. That harms no one: a connection that is not writing has nothing to roll back, it checkpoints nothing when it
 * is closed, and the locks that closing gives up are those of the child, which has none.
 *
 * It can be done only with connections that no thread was using at the fork. So whoever uses one goes through a gate,
 * for one statement or one write transaction, and a fork waits at it for those inside, up to GATE_SECONDS. A child
 * whose parent could not wait so long, or forked from a callback in there, cannot open a store until it executes a
 * program.
 */
#include "catalog_sql.h"
#include "error.h"
#include "process.h"

#include <pthread.h>
#include <time.h>

#define GATE_SECONDS 1

/* Innermost, but for SQLite's. Guards all that follows. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned users;                   /* threads behind the gate */
static unsigned forks;                   /* that wait for them: nobody else comes in */
static struct bough__catalog *connected; /* all connections */
static bool was_in_the_midst;            /* inherited connections cannot be closed */

static _Thread_local unsigned inside; /* how many times this thread is: only the first one counts */

int bough__catalog_refuse_inherited(const struct bough__catalog *catalog)
{
    if (catalog->epoch == bough__process_epoch())
        return BOUGH_OK;
    return bough__fail(BOUGH_USAGE, "%s was opened before a fork(); a child opens the store again", catalog->path);
}

int bough__catalog_enter(const struct bough__catalog *catalog)
{
    int rc = bough__catalog_refuse_inherited(catalog);
    if (rc != BOUGH_OK || inside++ > 0)
        return rc;
    pthread_mutex_lock(&mutex);
    while (forks > 0)
        pthread_cond_wait(&changed, &mutex);
    users++;
    pthread_mutex_unlock(&mutex);
    return BOUGH_OK;
}

void bough__catalog_leave(void)
{
    if (inside == 0 || --inside > 0)
        return;
    pthread_mutex_lock(&mutex);
    if (--users == 0 && forks > 0)
        pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void unlist(struct bough__catalog *catalog)
{
    struct bough__catalog **link = &connected;
    while (*link && *link != catalog)
        link = &(*link)->next;
    if (*link)
        *link = catalog->next;
}

static void disconnect(struct bough__catalog *catalog)
{
    for (size_t i = 0; i < BOUGH__SQL_STATEMENT_COUNT; i++) {
        sqlite3_finalize(catalog->statements[i]);
        catalog->statements[i] = NULL;
    }
    sqlite3_close_v2(catalog->db); /* rolls back what is open */
    catalog->db = NULL;
}

/* Closes what the parent had open. */
static int settle_inherited(void)
{
    int rc = BOUGH_OK;
    pthread_mutex_lock(&mutex);
    struct bough__catalog *catalog = connected;
    while (catalog && !was_in_the_midst) {
        struct bough__catalog *next = catalog->next;
        if (catalog->epoch != bough__process_epoch()) {
            disconnect(catalog);
            unlist(catalog);
        }
        catalog = next;
    }
    if (was_in_the_midst)
        rc = bough__fail(BOUGH_BUSY, "this process was forked while its parent was at work in a store; it can open one "
                                     "after an exec");
    pthread_mutex_unlock(&mutex);
    return rc;
}

int bough__catalog_connecting(struct bough__catalog *catalog)
{
    int rc = settle_inherited();
    if (rc != BOUGH_OK)
        return rc;
    pthread_mutex_lock(&mutex);
    catalog->next = connected;
    connected = catalog;
    pthread_mutex_unlock(&mutex);
    return BOUGH_OK;
}

void bough__catalog_disconnect(struct bough__catalog *catalog)
{
    bool is_ours = catalog->epoch == bough__process_epoch() && bough__catalog_enter(catalog) == BOUGH_OK;
    if (is_ours || !was_in_the_midst)
        disconnect(catalog);
    pthread_mutex_lock(&mutex);
    unlist(catalog);
    pthread_mutex_unlock(&mutex);
    if (is_ours)
        bough__catalog_leave();
}

/* ---- over a fork ------------------------------------------------------------------------------------------------ */

void bough__catalog_before_fork(void)
{
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += GATE_SECONDS;
    pthread_mutex_lock(&mutex);
    forks++;
    while (users > 0 && inside == 0 && rc == 0)
        rc = pthread_cond_timedwait(&changed, &mutex, &until);
}

void bough__catalog_after_fork_in_parent(void)
{
    if (--forks == 0)
        pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

void bough__catalog_after_fork_in_child(void)
{
    static const pthread_cond_t nobody_waits = PTHREAD_COND_INITIALIZER;
    if (users > 0 && connected)
        was_in_the_midst = true;
    users = forks = inside = 0;
    changed = nobody_waits;
    pthread_mutex_unlock(&mutex);
}
