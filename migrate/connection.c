/* connection.c - a run on a connection: in one transaction, or in one for each migration. */
#include "apply.h"
#include "migrate.h"
#include "report.h"
#include "run.h"
#include "syntax.h"
#include "table.h"
#include "violations.h"

#include <string.h>

struct work {
    sqlite3 *db;
    const struct bough__migrations *defined;
    const bough_migrate_options *options;
    bough_migration_run *out;
    struct bough__migrations applied;
    struct bough__plan plan;
    struct bough__session session;
    struct bough__violations before;
};

/* Reads what is applied now, and plans. */
static int plan(struct work *work)
{
    int rc = BOUGH_OK;

    bough__plan_release(&work->plan);
    bough__migrations_release(&work->applied);
    rc = bough__applied_read(&work->applied, work->db, work->options->table);
    if (rc == BOUGH_OK)
        rc = bough__plan_make(&work->plan, &work->applied, work->defined, work->options);
    if (rc == BOUGH_OK && !work->options->not_atomic)
        rc = bough__plan_check_atomic(&work->plan);
    if (rc == BOUGH_OK)
        rc = bough__plan_check_downs(&work->plan, 0);
    return rc;
}

/* ---- steps ---- */

#define STEP "\"a step of the migrator\"" /* the savepoint before each migration, one in the other */

static int execute(const struct work *work, const char *sql)
{
    int code = sqlite3_exec(work->db, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? BOUGH_OK : bough__migrate_fail_sqlite(work->db, code, sql);
}

static const char *origin_of_step(void *context, size_t step)
{
    const struct bough__plan *todo = &((struct work *)context)->plan;

    return step < todo->roll_back_count ? todo->roll_back[step]->down.origin
                                        : todo->apply[step - todo->roll_back_count]->up.origin;
}

/* The run has failed: its steps are taken back one by one, until it is clear which of them is to blame. */
static int before_step(void *context, size_t step, struct bough__violations *out)
{
    struct work *work = context;
    int rc = execute(work, "ROLLBACK TO " STEP "; RELEASE " STEP);

    (void)step;
    return rc == BOUGH_OK ? bough__violations_read(out, work->db) : rc;
}

static int check_violations(struct work *work)
{
    struct bough__steps steps = {work, work->plan.roll_back_count + work->plan.apply_count, origin_of_step,
                                 before_step};

    return bough__violations_check(&work->before, work->db, &steps, work->options);
}

/* ---- one migration ---- */

/* Each in a transaction of its own, where there is none for all; else behind a savepoint of its own. */
static int begin_one(struct work *work, bool is_bare)
{
    if (!work->options->not_atomic)
        return execute(work, "SAVEPOINT " STEP);
    return is_bare ? BOUGH_OK : bough__session_open_transaction(&work->session);
}

static int end_one(struct work *work, const struct bough__sql_text *text, int rc)
{
    struct bough__steps steps = bough__steps_of_one(text->origin);

    if (!work->options->not_atomic)
        return rc;
    if (rc == BOUGH_OK)
        rc = bough__violations_check(&work->before, work->db, &steps, work->options);
    if (rc == BOUGH_OK && !sqlite3_get_autocommit(work->db))
        rc = bough__session_commit(&work->session);
    return rc;
}

static int roll_back_one(struct work *work, const struct bough__migration *applied)
{
    int rc = begin_one(work, applied->down.is_bare);

    if (rc == BOUGH_OK)
        rc = bough__roll_back(&work->session, applied);
    rc = end_one(work, &applied->down, rc);
    return rc == BOUGH_OK ? bough__run_add_rolled_back(work->out, applied, work->options) : rc;
}

static int apply_one(struct work *work, const struct bough__migration *defined)
{
    int rc = begin_one(work, defined->up.is_bare);

    if (rc == BOUGH_OK)
        rc = bough__apply(&work->session, defined);
    rc = end_one(work, &defined->up, rc);
    return rc == BOUGH_OK ? bough__run_add_applied(work->out, defined, work->options) : rc;
}

static int replace_one(struct work *work, const struct bough__migration *ephemeral)
{
    return bough__replace_ephemeral(&work->session, bough__migrations_find(&work->applied, ephemeral->defined_at_ms),
                                    ephemeral);
}

static int store_one(struct work *work, const struct bough__migration *ephemeral)
{
    int rc = bough__store_ephemeral(&work->session, ephemeral);

    return rc == BOUGH_OK ? bough__run_add_applied(work->out, ephemeral, work->options) : rc;
}

/* ---- all of them ---- */

static int run_plan(struct work *work)
{
    const struct bough__plan *todo = &work->plan;
    int rc = BOUGH_OK;

    for (size_t i = 0; rc == BOUGH_OK && i < todo->roll_back_count; i++)
        rc = roll_back_one(work, todo->roll_back[i]);
    for (size_t i = 0; rc == BOUGH_OK && i < todo->apply_count; i++)
        rc = apply_one(work, todo->apply[i]);
    for (size_t i = 0; rc == BOUGH_OK && i < todo->ephemeral_new_count; i++)
        rc = store_one(work, todo->ephemeral_new[i]);
    for (size_t i = 0; rc == BOUGH_OK && i < todo->ephemeral_changed_count; i++)
        rc = replace_one(work, todo->ephemeral_changed[i]);
    return rc;
}

/* The plan is made again under the lock: another migrator may have been here since. */
static int run_atomic(struct work *work)
{
    int rc = bough__session_open_transaction(&work->session);

    if (rc == BOUGH_OK)
        rc = plan(work);
    if (rc == BOUGH_OK)
        rc = bough__syntax_check(&work->plan, 0, work->db);
    if (rc == BOUGH_OK)
        rc = bough__violations_read(&work->before, work->db);
    if (rc == BOUGH_OK)
        rc = run_plan(work);
    if (rc == BOUGH_OK)
        rc = check_violations(work);
    if (rc == BOUGH_OK)
        rc = bough__try_ephemeral(work->db, work->plan.ephemeral, work->plan.ephemeral_count, false);
    return rc == BOUGH_OK ? bough__session_commit(&work->session) : rc;
}

static int run_one_by_one(struct work *work)
{
    int rc = bough__syntax_check(&work->plan, 0, work->db);

    if (rc == BOUGH_OK)
        rc = bough__violations_read(&work->before, work->db);
    return rc == BOUGH_OK ? run_plan(work) : rc;
}

static int run(struct work *work)
{
    int rc = bough__session_begin(&work->session, work->db, work->options->table);

    if (rc == BOUGH_OK)
        rc = work->options->not_atomic ? run_one_by_one(work) : run_atomic(work);
    bough__session_end(&work->session);
    return rc;
}

static int dry_run(struct work *work)
{
    int rc = bough__syntax_check(&work->plan, 0, work->db);

    return rc == BOUGH_OK ? bough__run_fill(work->out, &work->plan) : rc;
}

/* A run has tried them already, before its end. */
static int run_ephemeral(struct work *work)
{
    int rc = BOUGH_OK;

    if (bough__plan_is_empty(&work->plan))
        rc = bough__try_ephemeral(work->db, work->plan.ephemeral, work->plan.ephemeral_count, false);
    return rc == BOUGH_OK ? bough__run_ephemeral(work->db, work->plan.ephemeral, work->plan.ephemeral_count) : rc;
}

int bough__migrate_connection(bough_migration_run *out, sqlite3 *db, const struct bough__migrations *defined,
                              const bough_migrate_options *options)
{
    struct work work = {.db = db, .defined = defined, .options = options, .out = out};
    int rc = bough__session_check_idle(db);

    if (rc == BOUGH_OK)
        rc = plan(&work);
    if (rc == BOUGH_OK)
        bough__run_warn(&work.plan, options);
    if (rc == BOUGH_OK && options->dry_run)
        rc = dry_run(&work);
    else if (rc == BOUGH_OK && !bough__plan_is_empty(&work.plan))
        rc = run(&work);
    if (rc == BOUGH_OK && !options->dry_run)
        rc = run_ephemeral(&work);
    bough__violations_release(&work.before);
    bough__plan_release(&work.plan);
    bough__migrations_release(&work.applied);
    return rc;
}
