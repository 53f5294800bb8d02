/* branch.c - a run on a branch.
 *
 *  1 look     what is applied at the branch's head (or newest transaction), and what there is to do
 *  2 overlay  where that is only to roll back what nothing was written after: the branch is reset to the commit before,
 *             if it is still where it was. No SQL runs, and that is all
 *  3 fork     else everything happens on a hidden fork: what an overlay can undo first, then SQL, each migration in a
 *             transaction or outside of any, as it says, and a commit of the machine after each
 *  4 judge    foreign keys, integrity, what is lost
 *  5 promote  the branch takes the fork's state in one step, if it is still where the fork began
 *
 * Where the branch has moved in the meantime, 1 to 5 are done once more with the branch's writer kept out. A failure
 * before the last step leaves the branch as it was, and so does a kill; the fork goes with its owner. */
#include "branch.h"

#include "apply.h"
#include "forks.h"
#include "way_back.h"
#include "report.h"
#include "run.h"
#include "syntax.h"
#include "table.h"
#include "verdict.h"
#include "violations.h"

#include <string.h>

struct work {
    bough_store *store;
    const char *branch;
    const struct bough__migrations *defined;
    const bough_migrate_options *options;
    bough_migration_run *out;
    bough_lock *lock;
    char expected[BOUGH_ID_SIZE]; /* where the branch has to be when it moves */
    bool has_moved;
    struct bough__migrations applied;
    struct bough__plan plan;
    size_t overlay_count; /* of plan.roll_back */
    char overlay_to[BOUGH_ID_SIZE];
    struct bough__fork fork;
    struct bough__session session;
    struct bough__violations violations;
    struct bough__verdict verdict;
};

static const char *note_of(const bough_migrate_options *options)
{
    static const char *const notes[] = {
        [BOUGH_MIGRATE_SYNC] = BOUGH__RUN_NOTE "sync", [BOUGH_MIGRATE_UP] = BOUGH__RUN_NOTE "up",
        [BOUGH_MIGRATE_DOWN] = BOUGH__RUN_NOTE "down", [BOUGH_MIGRATE_TO] = BOUGH__RUN_NOTE "to",
        [BOUGH_MIGRATE_REDO] = BOUGH__RUN_NOTE "redo",
    };

    return notes[options->action];
}

/* ---- the plan ---- */

/* head: the commit that db shows; "" when it shows what is no commit. */
static int plan(struct work *work, sqlite3 *db, const char *head)
{
    int rc = BOUGH_OK;

    bough__plan_release(&work->plan);
    bough__migrations_release(&work->applied);
    work->overlay_count = 0;
    rc = bough__applied_read(&work->applied, db, work->options->table);
    if (rc == BOUGH_OK)
        rc = bough__plan_make(&work->plan, &work->applied, work->defined, work->options);
    if (rc == BOUGH_OK && head[0])
        rc = bough__way_back_find(&work->overlay_count, work->overlay_to, work->store, head, &work->plan,
                                 work->options->table);
    if (rc == BOUGH_OK)
        rc = bough__plan_check_downs(&work->plan, work->overlay_count);
    if (rc == BOUGH_OK)
        rc = bough__syntax_check(&work->plan, work->overlay_count, db);
    return rc;
}

static bool only_ephemeral(const struct work *work)
{
    return !work->plan.roll_back_count && !work->plan.apply_count && work->plan.ephemeral_new_count;
}

/* An ephemeral migration is never rolled back, but one that was stored after what the overlay drops goes with it. */
static bool goes_with_overlay(const struct work *work, const struct bough__migration *applied)
{
    return work->overlay_count && applied->is_ephemeral &&
           applied->ordinal > work->plan.roll_back[work->overlay_count - 1]->ordinal;
}

static bool loses_ephemeral(const struct work *work)
{
    bool loses = false;

    for (size_t i = 0; i < work->applied.count; i++)
        loses = loses || goes_with_overlay(work, &work->applied.items[i]);
    return loses;
}

static bool only_overlay(const struct work *work)
{
    return work->overlay_count && work->overlay_count == work->plan.roll_back_count && !work->plan.apply_count &&
           !work->plan.ephemeral_new_count && !loses_ephemeral(work);
}

static int tell_overlay(struct work *work)
{
    int rc = BOUGH_OK;

    for (size_t i = 0; rc == BOUGH_OK && i < work->overlay_count; i++)
        rc = bough__run_add_rolled_back(work->out, work->plan.roll_back[i], work->options);
    return rc;
}

/* ---- moving the branch ---- */

static bough_options move_options(struct work *work)
{
    bough_options options = BOUGH_OPTIONS_INIT;

    options.expect = work->expected;
    options.lock = work->lock;
    options.note = note_of(work->options);
    return options;
}

/* A refusal: was it because the branch is not where it was? */
static int find_out_why(struct work *work, int rc)
{
    bough_ref now = {0};
    char *message = NULL;

    if (rc != BOUGH_REFUSED || work->lock)
        return rc;
    message = sqlite3_mprintf("%s", bough_error_message());
    if (message && bough_ref_resolve(&now, work->store, work->branch) == BOUGH_OK)
        work->has_moved = now.dirty || strcmp(now.id, work->expected) != 0;
    bough_ref_release(&now);
    bough_error_set(rc, message ? message : "out of memory");
    sqlite3_free(message);
    return rc;
}

static int take_result(struct work *work, bough_sealed *sealed, int rc)
{
    if (rc == BOUGH_OK)
        memcpy(work->out->commit, sealed->id, BOUGH_ID_SIZE);
    bough_sealed_release(sealed);
    return find_out_why(work, rc);
}

static int drop_overlay(struct work *work)
{
    bough_sealed sealed = {0};
    bough_options options = move_options(work);
    int rc = take_result(work, &sealed,
                         bough_branch_reset(&sealed, work->store, work->branch, work->overlay_to, &options));

    return rc == BOUGH_OK ? tell_overlay(work) : rc;
}

static int promote(struct work *work)
{
    bough_sealed sealed = {0};
    bough_options options = move_options(work);

    return take_result(work, &sealed, bough_branch_promote(&sealed, work->store, bough__fork_name(&work->fork),
                                                           work->branch, &options));
}

/* ---- on the fork ---- */

static int seal(struct work *work, const char *verb, const struct bough__migration *migration)
{
    char *message = bough__way_back_message(verb, migration, work->options->table);
    int rc = message ? bough__fork_seal(&work->fork, message) : bough__migrate_fail_memory();

    sqlite3_free(message);
    return rc;
}

/* The connection sees another state afterwards, so it is another one. */
static int drop_overlay_of_fork(struct work *work)
{
    bough_sealed sealed = {0};
    int rc = BOUGH_OK;

    if (work->overlay_count == 0)
        return BOUGH_OK;
    bough__fork_close(&work->fork);
    rc = bough_branch_reset(&sealed, work->store, bough__fork_name(&work->fork), work->overlay_to, NULL);
    bough_sealed_release(&sealed);
    if (rc == BOUGH_OK)
        rc = bough__fork_open(&work->fork);
    return rc == BOUGH_OK ? tell_overlay(work) : rc;
}

static int roll_back(struct work *work, const struct bough__migration *applied)
{
    int rc = bough__roll_back(&work->session, applied);

    if (rc == BOUGH_OK)
        rc = seal(work, "down", applied);
    return rc == BOUGH_OK ? bough__run_add_rolled_back(work->out, applied, work->options) : rc;
}

static int store_ephemeral(struct work *work, struct bough__session *session)
{
    const struct bough__plan *todo = &work->plan;
    int rc = BOUGH_OK;

    for (size_t i = 0; rc == BOUGH_OK && i < work->applied.count; i++)
        if (goes_with_overlay(work, &work->applied.items[i]))
            rc = bough__store_ephemeral(session, &work->applied.items[i]);
    for (size_t i = 0; rc == BOUGH_OK && i < todo->ephemeral_new_count; i++) {
        rc = bough__store_ephemeral(session, todo->ephemeral_new[i]);
        if (rc == BOUGH_OK)
            rc = bough__run_add_applied(work->out, todo->ephemeral_new[i], work->options);
    }
    return rc;
}

/* What is stored of ephemeral ones belongs to the last commit, so that nothing stands on top of a migration that was
 * applied. */
static int apply(struct work *work, const struct bough__migration *defined, bool is_last)
{
    int rc = bough__apply(&work->session, defined);

    if (rc == BOUGH_OK)
        rc = bough__run_add_applied(work->out, defined, work->options);
    if (rc == BOUGH_OK && is_last)
        rc = store_ephemeral(work, &work->session);
    return rc == BOUGH_OK ? seal(work, "up", defined) : rc;
}

static int run_sql(struct work *work)
{
    const struct bough__plan *todo = &work->plan;
    int rc = bough__session_begin(&work->session, work->fork.db, work->options->table);

    for (size_t i = work->overlay_count; rc == BOUGH_OK && i < todo->roll_back_count; i++)
        rc = roll_back(work, todo->roll_back[i]);
    for (size_t i = 0; rc == BOUGH_OK && i < todo->apply_count; i++)
        rc = apply(work, todo->apply[i], i + 1 == todo->apply_count);
    if (rc == BOUGH_OK && !todo->apply_count && (todo->ephemeral_new_count || loses_ephemeral(work))) {
        rc = store_ephemeral(work, &work->session);
        if (rc == BOUGH_OK)
            rc = bough__fork_seal(&work->fork, "migrate: what is ephemeral");
    }
    bough__session_end(&work->session);
    return rc;
}

/* On a fresh connection: a migration may have told its own one to look away (ignore_check_constraints). */
static int judge(struct work *work)
{
    sqlite3 *before = NULL;
    int rc = BOUGH_OK;

    bough__fork_close(&work->fork);
    rc = bough__fork_open(&work->fork);
    if (rc == BOUGH_OK)
        rc = bough__violations_check(&work->violations, work->fork.db, work->options);
    if (rc == BOUGH_OK)
        rc = bough__state_open(&before, work->store, work->expected);
    if (rc == BOUGH_OK)
        rc = bough__verdict_read(&work->verdict, before, work->fork.db, work->options);
    sqlite3_close(before);
    return rc;
}

/* Another migrator may have been here since the first look, so the plan is made again. */
static int run_on_fork(struct work *work)
{
    int rc = bough__fork_make(&work->fork, work->store, work->branch);

    if (rc != BOUGH_OK)
        return rc;
    memcpy(work->expected, bough__fork_base(&work->fork), BOUGH_ID_SIZE);
    rc = plan(work, work->fork.db, work->expected);
    if (rc != BOUGH_OK || bough__plan_is_empty(&work->plan))
        return rc;
    work->out->by_overlay = work->overlay_count && work->overlay_count == work->plan.roll_back_count;
    rc = bough__violations_read(&work->violations, work->fork.db);
    if (rc == BOUGH_OK)
        rc = drop_overlay_of_fork(work);
    if (rc == BOUGH_OK)
        rc = run_sql(work);
    if (rc == BOUGH_OK)
        rc = judge(work);
    bough__fork_close(&work->fork);
    return rc == BOUGH_OK ? promote(work) : rc;
}

/* ---- ephemeral migrations ---- */

/* Alone they are no run: they are stored as a transaction of the branch like any other. */
static int store_on_branch(struct work *work)
{
    struct bough__session session = {0};
    sqlite3 *db = NULL;
    int rc = bough__state_open(&db, work->store, work->branch);

    if (rc == BOUGH_OK)
        rc = bough__session_begin(&session, db, work->options->table);
    if (rc == BOUGH_OK)
        rc = bough__session_open_transaction(&session);
    if (rc == BOUGH_OK)
        rc = plan(work, db, "");
    if (rc == BOUGH_OK && only_ephemeral(work)) /* still */
        rc = store_ephemeral(work, &session);
    if (rc == BOUGH_OK)
        rc = bough__session_commit(&session);
    bough__session_end(&session);
    sqlite3_close(db);
    return rc;
}

/* On the caller's connection; without one, to find out whether they can run. */
static int run_ephemeral(const struct work *work, sqlite3 *connection)
{
    sqlite3 *db = NULL;
    int rc = BOUGH_OK;

    if (work->plan.ephemeral_count == 0)
        return BOUGH_OK;
    if (!connection)
        rc = bough__state_open(&db, work->store, work->branch);
    for (size_t i = 0; rc == BOUGH_OK && i < work->plan.ephemeral_count; i++)
        rc = bough__run_ephemeral(connection ? connection : db, work->plan.ephemeral[i]);
    sqlite3_close(db);
    return rc;
}

/* ---- the whole ---- */

/* The branch as it is: a commit, so that it stands still, or its newest transaction. */
static int look(struct work *work)
{
    bough_ref now = {0};
    sqlite3 *db = NULL;
    int rc = bough_ref_resolve(&now, work->store, work->branch);

    if (rc == BOUGH_OK) {
        memcpy(work->expected, now.id, BOUGH_ID_SIZE);
        memcpy(work->out->commit, now.id, BOUGH_ID_SIZE);
        rc = bough__state_open(&db, work->store, now.dirty ? work->branch : now.id);
    }
    if (rc == BOUGH_OK)
        rc = plan(work, db, now.dirty ? "" : now.id);
    sqlite3_close(db);
    bough_ref_release(&now);
    return rc;
}

static void release_attempt(struct work *work)
{
    bough__session_end(&work->session);
    bough__fork_drop(&work->fork);
    bough__violations_release(&work->violations);
    bough_lock_release(work->lock);
    work->lock = NULL;
}

static int attempt(struct work *work, bool is_first)
{
    int rc = look(work);

    if (rc == BOUGH_OK && is_first)
        bough__run_warn(&work->plan, work->options);
    work->out->by_overlay = work->overlay_count && work->overlay_count == work->plan.roll_back_count;
    if (rc == BOUGH_OK && work->options->dry_run)
        rc = bough__run_fill(work->out, &work->plan);
    else if (rc == BOUGH_OK && only_ephemeral(work)) {
        bough_lock_release(work->lock);
        work->lock = NULL;
        rc = store_on_branch(work);
    } else if (rc == BOUGH_OK && only_overlay(work))
        rc = drop_overlay(work);
    else if (rc == BOUGH_OK && !bough__plan_is_empty(&work->plan))
        rc = run_on_fork(work);
    release_attempt(work);
    return rc;
}

/* A second time, when the branch has moved under the first: now nobody else can. */
static int attempt_locked(struct work *work)
{
    int rc = BOUGH_OK;

    bough_migration_run_release(work->out);
    bough__verdict_release(&work->verdict);
    rc = bough_branch_lock(&work->lock, work->store, work->branch, NULL);
    return rc == BOUGH_OK ? attempt(work, false) : rc;
}

static int check_branch(const bough_migration_target *target, const bough_migrate_options *options)
{
    bough_branches branches = {0};
    int rc = target->connection ? bough__session_check_idle(target->connection) : BOUGH_OK;

    if (rc == BOUGH_OK)
        rc = bough_branch_get(&branches, target->store, target->branch);
    if (rc == BOUGH_OK && branches.items[0].is_protected && !options->dry_run)
        rc = bough__migrate_fail(BOUGH_REFUSED, "branch %s is protected", target->branch);
    bough_branches_release(&branches);
    return rc;
}

static void tell_losses(const struct work *work)
{
    for (size_t i = 0; i < work->verdict.count; i++)
        bough__run_log(work->options, BOUGH_MIGRATE_WARNING, work->verdict.losses[i]);
}

int bough__migrate_branch(bough_migration_run *out, const bough_migration_target *target,
                          const struct bough__migrations *defined, const bough_migrate_options *options)
{
    struct work work = {
        .store = target->store, .branch = target->branch, .defined = defined, .options = options, .out = out};
    int rc = check_branch(target, options);

    if (rc == BOUGH_OK)
        rc = attempt(&work, true);
    if (rc != BOUGH_OK && work.has_moved)
        rc = attempt_locked(&work);
    if (rc == BOUGH_OK)
        tell_losses(&work);
    if (rc == BOUGH_OK && !options->dry_run)
        rc = run_ephemeral(&work, target->connection);
    bough__verdict_release(&work.verdict);
    bough__plan_release(&work.plan);
    bough__migrations_release(&work.applied);
    return rc;
}
