/* branch.c - a run on a branch.
 *
 *  1 look     what is applied at the branch's head (or newest transaction), and what there is to do
 *  2 overlay  where that is only to roll back what nothing was written after: the branch is reset to the commit before,
 *             if it is still where it was. No SQL runs, and that is all
 *  3 fork     else everything happens on a hidden fork: what an overlay can undo first, then SQL, each migration in a
 *             transaction or outside of any, as it says, and a commit of the machine after each
 *  4 judge    can the ephemeral ones run? foreign keys, integrity, what is lost
 *  5 promote  the branch takes the fork's state in one step, if it is still where the fork began
 *
 * Where the branch has moved in the meantime, 1 to 5 are done once more with the branch's writer kept out. A failure
 * before the last step leaves the branch as it was, and so does a kill; the fork goes with its owner. */
#include "branch.h"

#include "apply.h"
#include "carry.h"
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
    sqlite3 *connection; /* the caller's, for ephemeral ones; or NULL */
    bough_migration_run *out;
    bough_lock *lock;
    char expected[BOUGH_ID_SIZE]; /* where the branch has to be when it moves */
    bool has_moved;
    struct bough__migrations applied;
    struct bough__plan plan;
    size_t overlay_count; /* of plan.roll_back */
    char overlay_to[BOUGH_ID_SIZE];
    bool is_exact; /* the state there is what is wanted, to the byte */
    bool is_tried; /* the ephemeral ones can run */
    struct bough__fork fork;
    char (*steps)[BOUGH_ID_SIZE]; /* commits of the fork: the first before SQL ran, then one after each migration */
    size_t step_count;
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

/* here: for the way back; its db is what is looked at. head NULL: no way back is wanted. */
static int plan(struct work *work, const struct bough__here *here)
{
    int rc = BOUGH_OK;

    bough__plan_release(&work->plan);
    bough__migrations_release(&work->applied);
    work->overlay_count = 0;
    rc = bough__applied_read(&work->applied, here->db, work->options->table);
    if (rc == BOUGH_OK)
        rc = bough__plan_make(&work->plan, &work->applied, work->defined, work->options);
    if (rc == BOUGH_OK && here->head)
        rc = bough__way_back_find(&work->overlay_count, work->overlay_to, work->store, here, &work->plan,
                                 work->options->table);
    if (rc == BOUGH_OK)
        rc = bough__plan_check_downs(&work->plan, work->overlay_count);
    if (rc == BOUGH_OK)
        rc = bough__syntax_check(&work->plan, work->overlay_count, here->db);
    return rc;
}

static size_t count_ephemeral(const struct work *work)
{
    return work->plan.ephemeral_new_count + work->plan.ephemeral_changed_count;
}

static bool only_ephemeral(const struct work *work)
{
    return !work->plan.roll_back_count && !work->plan.apply_count && count_ephemeral(work);
}

static bool runs_sql(const struct work *work)
{
    return work->plan.roll_back_count > work->overlay_count || work->plan.apply_count;
}

static bool only_overlay(const struct work *work)
{
    return work->overlay_count && !runs_sql(work) && !work->plan.ephemeral_count && work->is_exact;
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

/* The end of a step. */
static int seal(struct work *work, const char *verb, const struct bough__migration *migration)
{
    char *message = bough__way_back_message(verb, migration, work->options->table);
    int rc = message ? bough__fork_seal(work->steps[++work->step_count], &work->fork, message)
                     : bough__migrate_fail_memory();

    sqlite3_free(message);
    return rc;
}

/* What is stored of migrations that stay does not go with the overlay. */
static int carry_over(struct work *work)
{
    sqlite3 *before = NULL;
    int rc = bough__state_open(&before, work->store, work->expected);

    if (rc == BOUGH_OK)
        rc = bough__carry(before, work->fork.db, work->options->table, work->plan.roll_back, work->overlay_count);
    sqlite3_close(before);
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
    if (rc == BOUGH_OK)
        rc = carry_over(work);
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

    for (size_t i = 0; rc == BOUGH_OK && i < todo->ephemeral_new_count; i++) {
        rc = bough__store_ephemeral(session, todo->ephemeral_new[i]);
        if (rc == BOUGH_OK)
            rc = bough__run_add_applied(work->out, todo->ephemeral_new[i], work->options);
    }
    for (size_t i = 0; rc == BOUGH_OK && i < todo->ephemeral_changed_count; i++) {
        struct bough__migration *defined = todo->ephemeral_changed[i];

        rc = bough__replace_ephemeral(session, bough__migrations_find(&work->applied, defined->defined_at_ms), defined);
    }
    return rc;
}

/* What is stored of ephemeral ones belongs to the last commit of a migration. */
static int apply(struct work *work, const struct bough__migration *defined, bool is_last)
{
    int rc = bough__apply(&work->session, defined);

    if (rc == BOUGH_OK)
        rc = bough__run_add_applied(work->out, defined, work->options);
    if (rc == BOUGH_OK && is_last)
        rc = store_ephemeral(work, &work->session);
    return rc == BOUGH_OK ? seal(work, "up", defined) : rc;
}

/* Where a commit for each migration will be noted. */
static int begin_steps(struct work *work)
{
    const struct bough__plan *todo = &work->plan;

    sqlite3_free(work->steps);
    work->step_count = 0;
    work->steps = sqlite3_malloc64((todo->roll_back_count + todo->apply_count + 1) * sizeof work->steps[0]);
    if (!work->steps)
        return bough__migrate_fail_memory();
    work->steps[0][0] = 0;
    return bough__session_begin(&work->session, work->fork.db, work->options->table);
}

static int run_sql(struct work *work)
{
    const struct bough__plan *todo = &work->plan;
    char id[BOUGH_ID_SIZE] = "";
    int rc = begin_steps(work);

    for (size_t i = work->overlay_count; rc == BOUGH_OK && i < todo->roll_back_count; i++)
        rc = roll_back(work, todo->roll_back[i]);
    for (size_t i = 0; rc == BOUGH_OK && i < todo->apply_count; i++)
        rc = apply(work, todo->apply[i], i + 1 == todo->apply_count);
    if (rc == BOUGH_OK && !todo->apply_count)
        rc = store_ephemeral(work, &work->session);
    /* What was stored or carried over since the last of these commits; mostly nothing. */
    if (rc == BOUGH_OK)
        rc = bough__fork_seal(id, &work->fork, "migrate: what is stored");
    bough__session_end(&work->session);
    return rc;
}

/* ---- the verdict ---- */

static const char *origin_of_step(void *context, size_t step)
{
    const struct work *work = context;
    size_t back = work->plan.roll_back_count - work->overlay_count;

    return step < back ? work->plan.roll_back[work->overlay_count + step]->down.origin
                       : work->plan.apply[step - back]->up.origin;
}

static int before_step(void *context, size_t step, struct bough__violations *out)
{
    struct work *work = context;
    sqlite3 *db = NULL;
    int rc = bough__state_open(&db, work->store, work->steps[step]);

    if (rc == BOUGH_OK)
        rc = bough__violations_read(out, db);
    sqlite3_close(db);
    return rc;
}

/* On a fresh connection: a migration may have told its own one to look away (ignore_check_constraints). */
static int judge(struct work *work)
{
    struct bough__steps steps = {work, work->step_count, origin_of_step, before_step};
    sqlite3 *before = NULL;
    int rc = BOUGH_OK;

    bough__fork_close(&work->fork);
    rc = bough__fork_open(&work->fork);
    if (rc == BOUGH_OK)
        rc = bough__violations_check(&work->violations, work->fork.db, &steps, work->options);
    if (rc == BOUGH_OK)
        rc = bough__state_open(&before, work->store, work->expected);
    if (rc == BOUGH_OK)
        rc = bough__verdict_read(&work->verdict, before, work->fork.db, work->options);
    sqlite3_close(before);
    return rc;
}

static int try_ephemeral(struct work *work, sqlite3 *db)
{
    int rc = bough__try_ephemeral(db, work->plan.ephemeral, work->plan.ephemeral_count,
                                  work->connection && work->connection != db);

    work->is_tried = rc == BOUGH_OK;
    return rc;
}

/* Another migrator may have been here since the first look, so the plan is made again. */
static int run_on_fork(struct work *work)
{
    struct bough__here here = {0};
    int rc = bough__fork_make(&work->fork, work->store, work->branch);

    if (rc != BOUGH_OK)
        return rc;
    memcpy(work->expected, bough__fork_base(&work->fork), BOUGH_ID_SIZE);
    here = (struct bough__here){work->fork.db, work->expected, true};
    rc = plan(work, &here);
    if (rc != BOUGH_OK || bough__plan_is_empty(&work->plan))
        return rc;
    work->out->by_overlay = work->overlay_count && work->overlay_count == work->plan.roll_back_count;
    if (runs_sql(work))
        rc = bough__violations_read(&work->violations, work->fork.db);
    if (rc == BOUGH_OK)
        rc = drop_overlay_of_fork(work);
    if (rc == BOUGH_OK)
        rc = run_sql(work);
    if (rc == BOUGH_OK)
        rc = try_ephemeral(work, work->fork.db);
    if (rc == BOUGH_OK && runs_sql(work))
        rc = judge(work);
    bough__fork_close(&work->fork);
    return rc == BOUGH_OK ? promote(work) : rc;
}

/* ---- ephemeral migrations ---- */

/* Alone they are no run: they are stored as a transaction of the branch like any other. */
static int store_on_branch(struct work *work)
{
    struct bough__session session = {0};
    struct bough__here here = {0};
    int rc = bough__state_open(&here.db, work->store, work->branch);

    if (rc == BOUGH_OK)
        rc = bough__session_begin(&session, here.db, work->options->table);
    if (rc == BOUGH_OK)
        rc = bough__session_open_transaction(&session);
    if (rc == BOUGH_OK)
        rc = plan(work, &here);
    if (rc == BOUGH_OK && only_ephemeral(work)) /* still */
        rc = store_ephemeral(work, &session);
    if (rc == BOUGH_OK)
        rc = try_ephemeral(work, here.db);
    if (rc == BOUGH_OK)
        rc = bough__session_commit(&session);
    bough__session_end(&session);
    sqlite3_close(here.db);
    return rc;
}

/* On the caller's connection; without one on one of our own. What was done on the branch before has tried them. */
static int run_ephemeral(struct work *work)
{
    sqlite3 *own = NULL;
    sqlite3 *db = work->connection;
    int rc = BOUGH_OK;

    if (work->plan.ephemeral_count == 0)
        return BOUGH_OK;
    if (!db) {
        rc = bough__state_open(&own, work->store, work->branch);
        db = own;
    }
    if (rc == BOUGH_OK && !work->is_tried)
        rc = try_ephemeral(work, db);
    if (rc == BOUGH_OK)
        rc = bough__run_ephemeral(db, work->plan.ephemeral, work->plan.ephemeral_count);
    sqlite3_close(own);
    return rc;
}

/* ---- the whole ---- */

/* Would the reset lose something that is stored of migrations that stay? A branch that is no commit has to go by a fork
 * in any case. */
static int look_ahead(struct work *work, const struct bough__here *here)
{
    sqlite3 *then = NULL;
    int rc = BOUGH_OK;

    work->is_exact = false;
    if (!here->is_commit || !work->overlay_count)
        return BOUGH_OK;
    rc = bough__state_open(&then, work->store, work->overlay_to);
    if (rc == BOUGH_OK)
        rc = bough__carry_check(&work->is_exact, here->db, then, work->options->table, work->plan.roll_back,
                                work->overlay_count);
    sqlite3_close(then);
    return rc;
}

/* The branch as it is: a commit, so that it stands still, or its newest transaction. */
static int look(struct work *work)
{
    bough_ref now = {0};
    struct bough__here here = {.head = now.id};
    int rc = bough_ref_resolve(&now, work->store, work->branch);

    if (rc == BOUGH_OK) {
        memcpy(work->expected, now.id, BOUGH_ID_SIZE);
        memcpy(work->out->commit, now.id, BOUGH_ID_SIZE);
        here.is_commit = !now.dirty;
        rc = bough__state_open(&here.db, work->store, now.dirty ? work->branch : now.id);
    }
    if (rc == BOUGH_OK)
        rc = plan(work, &here);
    if (rc == BOUGH_OK)
        rc = look_ahead(work, &here);
    sqlite3_close(here.db);
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
    int rc = BOUGH_OK;

    work->is_tried = false;
    rc = look(work);

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
    struct work work = {.store = target->store,
                        .branch = target->branch,
                        .connection = target->connection,
                        .defined = defined,
                        .options = options,
                        .out = out};
    int rc = check_branch(target, options);

    if (rc == BOUGH_OK)
        rc = attempt(&work, true);
    if (rc != BOUGH_OK && work.has_moved)
        rc = attempt_locked(&work);
    if (rc == BOUGH_OK)
        tell_losses(&work);
    if (rc == BOUGH_OK && !options->dry_run)
        rc = run_ephemeral(&work);
    sqlite3_free(work.steps);
    bough__verdict_release(&work.verdict);
    bough__plan_release(&work.plan);
    bough__migrations_release(&work.applied);
    return rc;
}
