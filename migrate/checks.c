/* checks.c - see checks.h.
 *
 * `now` is a copy on which one pending migration after the other goes up, down and up again. `before` is a copy of it
 * from before each of them, to compare with and to start again from. */
#include "checks.h"

#include "apply.h"
#include "differences.h"
#include "plan.h"
#include "report.h"
#include "table.h"
#include "violations.h"

#include <string.h>

struct check {
    struct bough__check_result *out;
    const struct bough__copies *copies;
    const bough_migrate_options *options;
    sqlite3 *now, *before;
    char *violations; /* of the latest step, all of them; or NULL */
};

/* ---- results ---- */

static int note(struct check *check, const struct bough__migration *migration, const char *step, const char *message)
{
    struct bough__check_failure *failure = NULL;
    size_t size = (check->out->count + 1) * sizeof check->out->items[0];
    struct bough__check_failure *items = sqlite3_realloc64(check->out->items, size);

    if (!items)
        return bough__migrate_fail_memory();
    check->out->items = items;
    failure = &items[check->out->count++];
    failure->version = sqlite3_mprintf("%s", migration->version);
    failure->name = sqlite3_mprintf("%s", migration->name);
    failure->step = step;
    failure->message = sqlite3_mprintf("%s", message);
    return failure->version && failure->name && failure->message ? BOUGH_OK : bough__migrate_fail_memory();
}

/* What a migration can be blamed for; the rest ends the check. */
static bool is_verdict(int rc)
{
    return rc == BOUGH_SQL || rc == BOUGH_REFUSED || rc == BOUGH_USAGE;
}

void bough__check_result_release(struct bough__check_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        sqlite3_free(result->items[i].version);
        sqlite3_free(result->items[i].name);
        sqlite3_free(result->items[i].message);
    }
    sqlite3_free(result->items);
    memset(result, 0, sizeof *result);
}

/* Of the latest step: what is to be said of its failure. */
static const char *complaint(const struct check *check)
{
    return check->violations ? check->violations : bough_error_message();
}

/* ---- steps ---- */

static int join(char **out, const struct bough__violations *violations)
{
    sqlite3_str *text = sqlite3_str_new(NULL);

    for (size_t i = 0; i < violations->count; i++)
        sqlite3_str_appendf(text, "%s%s", i ? "; " : "new violations of foreign keys: ", violations->items[i]);
    *out = sqlite3_str_finish(text);
    return *out ? bough__migrate_fail(BOUGH_SQL, "new violations of foreign keys") : bough__migrate_fail_memory();
}

static int check_violations(struct check *check, const struct bough__violations *before, const char *origin)
{
    struct bough__steps steps = bough__steps_of_one(origin);
    struct bough__violations fresh = {0};
    int rc = bough__violations_find(&fresh, before, check->now, &steps);

    if (fresh.count)
        rc = join(&check->violations, &fresh);
    bough__violations_release(&fresh);
    return rc;
}

/* Up, or down when `is_down`, with the checks that a run makes. */
static int step(struct check *check, const struct bough__migration *migration, bool is_down)
{
    const struct bough__sql_text *text = is_down ? &migration->down : &migration->up;
    struct bough__session session = {0};
    struct bough__violations before = {0};
    int rc = bough__violations_read(&before, check->now);

    sqlite3_free(check->violations);
    check->violations = NULL;
    if (rc == BOUGH_OK)
        rc = bough__session_begin(&session, check->now, check->options->table);
    if (rc == BOUGH_OK && !text->is_bare)
        rc = bough__session_open_transaction(&session);
    if (rc == BOUGH_OK)
        rc = is_down ? bough__roll_back(&session, migration) : bough__apply(&session, migration);
    if (rc == BOUGH_OK)
        rc = check_violations(check, &before, text->origin);
    if (rc == BOUGH_OK && !sqlite3_get_autocommit(check->now))
        rc = bough__session_commit(&session);
    bough__session_end(&session);
    bough__violations_release(&before);
    return rc;
}

/* With what the database stored for it, as a later run would. */
static int step_down(struct check *check, const struct bough__migration *migration)
{
    struct bough__migrations applied = {0};
    struct bough__migration *stored = NULL;
    int rc = bough__applied_read(&applied, check->now, check->options->table);

    if (rc == BOUGH_OK)
        stored = bough__migrations_find(&applied, migration->defined_at_ms);
    if (rc == BOUGH_OK)
        rc = stored ? step(check, stored, true)
                    : bough__migrate_fail(BOUGH_SQL, "%s removes itself from the table of migrations",
                                          migration->up.origin);
    bough__migrations_release(&applied);
    return rc;
}

/* Puts `now` back to where the migration was not applied, and applies it. */
static int start_again(struct check *check, const struct bough__migration *migration)
{
    int rc = BOUGH_OK;

    check->copies->drop(check->copies->context, check->now);
    check->now = NULL;
    rc = check->copies->copy(check->copies->context, &check->now, check->before);
    return rc == BOUGH_OK ? step(check, migration, false) : rc;
}

/* Down and up again. A failure is noted, and `now` gets the migration all the same. */
static int go_back_and_forth(struct check *check, const struct bough__migration *migration)
{
    const char *failed = "down";
    char *message = NULL;
    int rc = step_down(check, migration);

    if (rc == BOUGH_OK)
        rc = bough__differences_describe(&message, check->before, check->now, check->options->table);
    if (rc == BOUGH_OK && !message) {
        failed = "up_again";
        rc = step(check, migration, false);
    }
    if (rc == BOUGH_OK && !message)
        return BOUGH_OK;
    if (rc != BOUGH_OK && !is_verdict(rc))
        return rc;
    rc = note(check, migration, failed, message ? message : complaint(check));
    sqlite3_free(message);
    return rc == BOUGH_OK ? start_again(check, migration) : rc;
}

/* *out_goes_on is false when the migrations after this one have nothing to build on. */
static int check_one(struct check *check, bool *out_goes_on, const struct bough__migration *migration)
{
    int rc = check->copies->copy(check->copies->context, &check->before, check->now);

    *out_goes_on = true;
    check->out->checked++;
    if (rc == BOUGH_OK) {
        rc = step(check, migration, false);
        if (is_verdict(rc)) {
            *out_goes_on = false;
            rc = note(check, migration, "up", complaint(check));
        } else if (rc == BOUGH_OK && (migration->down.sql || migration->build)) {
            rc = go_back_and_forth(check, migration);
        }
    }
    check->copies->drop(check->copies->context, check->before);
    check->before = NULL;
    return rc;
}

/* What a sync would roll back first; a stored down that fails is a failure, too. */
static int roll_back_missing(struct check *check, bool *out_goes_on, const struct bough__plan *plan)
{
    int rc = BOUGH_OK;

    for (size_t i = 0; rc == BOUGH_OK && *out_goes_on && i < plan->roll_back_count; i++) {
        rc = step(check, plan->roll_back[i], true);
        if (is_verdict(rc)) {
            *out_goes_on = false;
            rc = note(check, plan->roll_back[i], "down", complaint(check));
        }
    }
    return rc;
}

static int check_ephemeral(struct check *check, const struct bough__plan *plan)
{
    int rc = BOUGH_OK;

    for (size_t i = 0; rc == BOUGH_OK && i < plan->ephemeral_new_count; i++) {
        check->out->checked++;
        rc = bough__run_ephemeral(check->now, &plan->ephemeral_new[i], 1);
        if (is_verdict(rc))
            rc = note(check, plan->ephemeral_new[i], "up", bough_error_message());
    }
    return rc;
}

static int check_plan(struct check *check, const struct bough__plan *plan)
{
    bool goes_on = true;
    int rc = roll_back_missing(check, &goes_on, plan);

    for (size_t i = 0; rc == BOUGH_OK && goes_on && i < plan->apply_count; i++)
        rc = check_one(check, &goes_on, plan->apply[i]);
    return rc == BOUGH_OK && goes_on ? check_ephemeral(check, plan) : rc;
}

int bough__check(struct bough__check_result *out, const struct bough__copies *copies,
                 const struct bough__migrations *defined, const bough_migrate_options *options)
{
    struct check check = {.out = out, .copies = copies, .options = options};
    struct bough__migrations applied = {0};
    struct bough__plan plan = {0};
    int rc = BOUGH_OK;

    memset(out, 0, sizeof *out);
    rc = copies->copy(copies->context, &check.now, NULL);
    if (rc == BOUGH_OK)
        rc = bough__applied_read(&applied, check.now, options->table);
    if (rc == BOUGH_OK)
        rc = bough__plan_make(&plan, &applied, defined, options);
    if (rc == BOUGH_OK)
        rc = check_plan(&check, &plan);
    if (check.now)
        copies->drop(copies->context, check.now);
    sqlite3_free(check.violations);
    bough__plan_release(&plan);
    bough__migrations_release(&applied);
    if (rc != BOUGH_OK)
        bough__check_result_release(out);
    return rc;
}
