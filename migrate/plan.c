/* plan.c - see plan.h.
 *
 * Each stored migration is matched with the defined one that is the same, if there is one; those without are missing.
 * Ephemeral ones take no part but at the end: what was stored as ephemeral is, whatever its definition says now, and
 * where another program stored it the definition decides. */
#include "plan.h"

#include "report.h"

#include <stdlib.h>
#include <string.h>

struct planner {
    struct bough__plan *plan;
    const bough_migrate_options *options;
    struct bough__migration **applied, **defined; /* without ephemeral ones, ascending */
    size_t applied_count, defined_count;
    const struct bough__migrations *all_applied, *all_defined;
};

static struct bough__migration *twin_in(const struct bough__migrations *list, const struct bough__migration *migration)
{
    struct bough__migration *found = bough__migrations_find(list, migration->defined_at_ms);

    return found && bough__migration_is_same(found, migration) ? found : NULL;
}

static struct bough__migration *applied_twin(const struct planner *planner, const struct bough__migration *defined)
{
    return twin_in(planner->all_applied, defined);
}

static struct bough__migration *defined_twin(const struct planner *planner, const struct bough__migration *applied)
{
    return twin_in(planner->all_defined, applied);
}

/* ---- the parts ---- */

static bool is_rolled_back(const struct planner *planner, const struct bough__migration *applied)
{
    for (size_t i = 0; i < planner->plan->roll_back_count; i++) {
        if (planner->plan->roll_back[i] == applied)
            return true;
    }
    return false;
}

static void roll_back(struct planner *planner, struct bough__migration *applied)
{
    planner->plan->roll_back[planner->plan->roll_back_count++] = applied;
}

static void apply(struct planner *planner, struct bough__migration *defined)
{
    planner->plan->apply[planner->plan->apply_count++] = defined;
}

static bool is_pending(const struct planner *planner, const struct bough__migration *defined)
{
    return !applied_twin(planner, defined);
}

/* The newest version that is applied and defined, of those up to `limit`; INT64_MIN when there is none. */
static int64_t newest_kept(const struct planner *planner, int64_t limit)
{
    for (size_t i = planner->applied_count; i-- > 0;) {
        struct bough__migration *applied = planner->applied[i];

        if (applied->defined_at_ms <= limit && defined_twin(planner, applied))
            return applied->defined_at_ms;
    }
    return INT64_MIN;
}

static int refuse_late(const struct bough__migration *late)
{
    return bough__migrate_fail(BOUGH_REFUSED, "%s is older than a migration that is applied already", late->up.origin);
}

/* The pending ones up to `limit`, at most `count`. With the policy to rewind, what is newer than the oldest late one
 * goes first and is applied again. */
static int apply_pending(struct planner *planner, int64_t limit, size_t count)
{
    const bough_migrate_options *options = planner->options;
    int64_t newest = newest_kept(planner, limit);
    int64_t rewind_to = INT64_MAX;

    for (size_t i = 0; i < planner->defined_count && planner->defined[i]->defined_at_ms <= limit; i++) {
        struct bough__migration *defined = planner->defined[i];
        bool is_late = defined->defined_at_ms < newest;

        if (is_pending(planner, defined)) {
            if (count-- == 0)
                break;
            if (is_late && options->late == BOUGH_LATE_REFUSE)
                return refuse_late(defined);
            if (is_late && options->late == BOUGH_LATE_REWIND && rewind_to == INT64_MAX)
                rewind_to = defined->defined_at_ms;
            apply(planner, defined);
        }
    }
    if (rewind_to == INT64_MAX)
        return BOUGH_OK;
    for (size_t i = 0; i < planner->applied_count; i++) {
        struct bough__migration *applied = planner->applied[i];

        if (applied->defined_at_ms <= rewind_to || is_rolled_back(planner, applied))
            continue;
        roll_back(planner, applied);
        if (applied->defined_at_ms <= limit && defined_twin(planner, applied))
            apply(planner, defined_twin(planner, applied));
    }
    return BOUGH_OK;
}

/* ---- the actions ---- */

static int plan_sync(struct planner *planner)
{
    bool has_missing = false;
    int64_t newest = newest_kept(planner, INT64_MAX);
    size_t common = 0;

    for (size_t i = 0; i < planner->applied_count; i++)
        has_missing = has_missing || !defined_twin(planner, planner->applied[i]);
    if (!has_missing)
        return apply_pending(planner, INT64_MAX, SIZE_MAX);
    for (size_t i = 0; planner->options->late == BOUGH_LATE_REFUSE && i < planner->defined_count; i++) {
        if (is_pending(planner, planner->defined[i]) && planner->defined[i]->defined_at_ms < newest)
            return refuse_late(planner->defined[i]);
    }
    while (common < planner->applied_count && common < planner->defined_count &&
           bough__migration_is_same(planner->applied[common], planner->defined[common]))
        common++;
    for (size_t i = common; i < planner->applied_count; i++)
        roll_back(planner, planner->applied[i]);
    for (size_t i = common; i < planner->defined_count; i++)
        apply(planner, planner->defined[i]);
    return BOUGH_OK;
}

static int newest_application_first(const void *a, const void *b)
{
    const struct bough__migration *left = *(struct bough__migration *const *)a;
    const struct bough__migration *right = *(struct bough__migration *const *)b;

    return (left->ordinal < right->ordinal) - (left->ordinal > right->ordinal);
}

static int plan_down(struct planner *planner)
{
    size_t limit = planner->options->limit ? planner->options->limit : 1;

    for (size_t i = 0; i < planner->applied_count; i++)
        roll_back(planner, planner->applied[i]);
    if (planner->applied_count)
        qsort(planner->plan->roll_back, planner->applied_count, sizeof planner->applied[0], newest_application_first);
    if (planner->plan->roll_back_count > limit)
        planner->plan->roll_back_count = limit;
    return BOUGH_OK;
}

static int plan_to(struct planner *planner)
{
    int64_t version = planner->options->version_ms;

    if (!bough__migrations_find(planner->all_applied, version) &&
        !bough__migrations_find(planner->all_defined, version))
        return bough__migrate_fail(BOUGH_NOT_FOUND, "no migration has this version, applied or defined");
    for (size_t i = 0; i < planner->applied_count; i++) {
        if (planner->applied[i]->defined_at_ms > version)
            roll_back(planner, planner->applied[i]);
    }
    return apply_pending(planner, version, SIZE_MAX);
}

/* What is stored as ephemeral is not rolled back: it takes its new text (note_ephemeral), unless it is to be an
 * ordinary one from now on. Returns whether one of them has changed. */
static bool redo_ephemeral(struct planner *planner)
{
    bool any = false;

    for (size_t i = 0; i < planner->all_applied->count; i++) {
        struct bough__migration *applied = &planner->all_applied->items[i];
        struct bough__migration *defined = defined_twin(planner, applied);

        if (!defined || !bough__migration_acts_ephemeral(applied, defined) ||
            !bough__migration_has_changed(applied, defined))
            continue;
        any = true;
        if (!defined->is_ephemeral)
            apply(planner, defined);
    }
    return any;
}

/* The oldest changed one, else, where none has changed, the one applied last; NULL when there is none. */
static struct bough__migration *redo_from(const struct planner *planner, bool has_changed)
{
    struct bough__migration *last = NULL;

    for (size_t i = 0; i < planner->applied_count; i++) {
        struct bough__migration *applied = planner->applied[i];
        struct bough__migration *defined = defined_twin(planner, applied);

        if (defined && bough__migration_has_changed(applied, defined))
            return applied;
        if (!has_changed && (!last || applied->ordinal > last->ordinal))
            last = applied;
    }
    return last;
}

static int plan_redo(struct planner *planner)
{
    struct bough__migration *from = redo_from(planner, redo_ephemeral(planner));

    if (!from)
        return BOUGH_OK;
    if (!defined_twin(planner, from))
        return bough__migrate_fail(BOUGH_NOT_FOUND, "%s %s, which was applied last, is not defined any more",
                                   from->version, from->name);
    for (size_t i = 0; i < planner->applied_count; i++) {
        struct bough__migration *applied = planner->applied[i];

        if (applied->defined_at_ms < from->defined_at_ms && applied->ordinal < from->ordinal)
            continue;
        roll_back(planner, applied);
        if (applied->defined_at_ms < from->defined_at_ms && defined_twin(planner, applied))
            apply(planner, defined_twin(planner, applied));
    }
    for (size_t i = 0; i < planner->defined_count; i++) {
        if (planner->defined[i]->defined_at_ms >= from->defined_at_ms)
            apply(planner, planner->defined[i]);
    }
    return BOUGH_OK;
}

/* ---- finishing ---- */

static int ascending(const void *a, const void *b)
{
    const struct bough__migration *left = *(struct bough__migration *const *)a;
    const struct bough__migration *right = *(struct bough__migration *const *)b;

    return (left->defined_at_ms > right->defined_at_ms) - (left->defined_at_ms < right->defined_at_ms);
}

static void note_ephemeral(struct planner *planner)
{
    const bough_migrate_options *options = planner->options;
    struct bough__plan *plan = planner->plan;

    if (options->action == BOUGH_MIGRATE_DOWN)
        return;
    for (size_t i = 0; i < planner->all_defined->count; i++) {
        struct bough__migration *defined = &planner->all_defined->items[i];
        struct bough__migration *applied = applied_twin(planner, defined);
        bool is_redone = applied && options->action == BOUGH_MIGRATE_REDO &&
                         bough__migration_has_changed(applied, defined);

        if (!bough__migration_acts_ephemeral(applied, defined) ||
            (options->action == BOUGH_MIGRATE_TO && defined->defined_at_ms > options->version_ms) ||
            (is_redone && !defined->is_ephemeral))
            continue;
        plan->ephemeral[plan->ephemeral_count++] = defined;
        if (!applied)
            plan->ephemeral_new[plan->ephemeral_new_count++] = defined;
        else if (is_redone)
            plan->ephemeral_changed[plan->ephemeral_changed_count++] = defined;
    }
}

/* Late are those that were pending and are older than one that stays; changed those that stay with other SQL. */
static void note_late_and_changed(struct planner *planner)
{
    struct bough__plan *plan = planner->plan;
    int64_t newest = INT64_MIN;

    for (size_t i = 0; i < planner->applied_count; i++) {
        struct bough__migration *applied = planner->applied[i];
        struct bough__migration *defined = defined_twin(planner, applied);

        if (is_rolled_back(planner, applied))
            continue;
        newest = applied->defined_at_ms;
        if (defined && bough__migration_has_changed(applied, defined))
            plan->changed[plan->changed_count++] = defined;
    }
    for (size_t i = 0; i < plan->ephemeral_count; i++) {
        struct bough__migration *applied = applied_twin(planner, plan->ephemeral[i]);

        if (applied && planner->options->action != BOUGH_MIGRATE_REDO &&
            bough__migration_has_changed(applied, plan->ephemeral[i]))
            plan->changed[plan->changed_count++] = plan->ephemeral[i];
    }
    for (size_t i = 0; i < plan->apply_count; i++) {
        if (plan->apply[i]->defined_at_ms < newest)
            plan->late[plan->late_count++] = plan->apply[i];
    }
}

/* Its place may be taken by a missing one with another name, which only some actions roll back. */
static int check_place(const struct planner *planner, const struct bough__migration *defined)
{
    struct bough__migration *there = bough__migrations_find(planner->all_applied, defined->defined_at_ms);

    if (!there || there->is_ephemeral || bough__migration_is_same(there, defined) || is_rolled_back(planner, there))
        return BOUGH_OK;
    return bough__migrate_fail(BOUGH_REFUSED, "%s has the version of \"%s\", which is applied and no longer defined",
                               defined->up.origin, there->name);
}

static int finish(struct planner *planner)
{
    struct bough__plan *plan = planner->plan;
    int rc = BOUGH_OK;

    if (plan->roll_back_count)
        qsort(plan->roll_back, plan->roll_back_count, sizeof plan->roll_back[0], newest_application_first);
    if (plan->apply_count)
        qsort(plan->apply, plan->apply_count, sizeof plan->apply[0], ascending);
    note_ephemeral(planner);
    note_late_and_changed(planner);
    for (size_t i = 0; rc == BOUGH_OK && i < plan->apply_count; i++)
        rc = check_place(planner, plan->apply[i]);
    for (size_t i = 0; rc == BOUGH_OK && i < plan->ephemeral_new_count; i++)
        rc = check_place(planner, plan->ephemeral_new[i]);
    return rc;
}

static struct bough__migration **list(size_t count)
{
    return sqlite3_malloc64((count + 1) * sizeof(struct bough__migration *));
}

static int begin(struct planner *planner)
{
    const struct bough__migrations *applied = planner->all_applied;
    const struct bough__migrations *defined = planner->all_defined;
    struct bough__plan *plan = planner->plan;

    planner->applied = list(applied->count);
    planner->defined = list(defined->count);
    plan->roll_back = list(applied->count);
    plan->apply = list(defined->count);
    plan->late = list(defined->count);
    plan->changed = list(defined->count);
    plan->ephemeral = list(defined->count);
    plan->ephemeral_new = list(defined->count);
    plan->ephemeral_changed = list(defined->count);
    if (!planner->applied || !planner->defined || !plan->roll_back || !plan->apply || !plan->late || !plan->changed ||
        !plan->ephemeral || !plan->ephemeral_new || !plan->ephemeral_changed)
        return bough__migrate_fail_memory();
    for (size_t i = 0; i < applied->count; i++) {
        if (!bough__migration_acts_ephemeral(&applied->items[i], defined_twin(planner, &applied->items[i])))
            planner->applied[planner->applied_count++] = &applied->items[i];
    }
    for (size_t i = 0; i < defined->count; i++) {
        if (!bough__migration_acts_ephemeral(applied_twin(planner, &defined->items[i]), &defined->items[i]))
            planner->defined[planner->defined_count++] = &defined->items[i];
    }
    return BOUGH_OK;
}

static int plan_action(struct planner *planner)
{
    switch (planner->options->action) {
    case BOUGH_MIGRATE_UP:
        return apply_pending(planner, INT64_MAX, planner->options->limit ? planner->options->limit : SIZE_MAX);
    case BOUGH_MIGRATE_DOWN:
        return plan_down(planner);
    case BOUGH_MIGRATE_TO:
        return plan_to(planner);
    case BOUGH_MIGRATE_REDO:
        return plan_redo(planner);
    default:
        return plan_sync(planner);
    }
}

int bough__plan_make(struct bough__plan *out, const struct bough__migrations *applied,
                     const struct bough__migrations *defined, const bough_migrate_options *options)
{
    struct planner planner = {.plan = out, .options = options, .all_applied = applied, .all_defined = defined};
    int rc = BOUGH_OK;

    memset(out, 0, sizeof *out);
    rc = begin(&planner);
    if (rc == BOUGH_OK)
        rc = plan_action(&planner);
    if (rc == BOUGH_OK)
        rc = finish(&planner);
    sqlite3_free(planner.applied);
    sqlite3_free(planner.defined);
    if (rc != BOUGH_OK)
        bough__plan_release(out);
    return rc;
}

void bough__plan_release(struct bough__plan *plan)
{
    sqlite3_free(plan->roll_back);
    sqlite3_free(plan->apply);
    sqlite3_free(plan->late);
    sqlite3_free(plan->changed);
    sqlite3_free(plan->ephemeral);
    sqlite3_free(plan->ephemeral_new);
    sqlite3_free(plan->ephemeral_changed);
    memset(plan, 0, sizeof *plan);
}

bool bough__plan_is_empty(const struct bough__plan *plan)
{
    return !plan->roll_back_count && !plan->apply_count && !plan->ephemeral_new_count &&
           !plan->ephemeral_changed_count;
}

int bough__plan_check_downs(const struct bough__plan *plan, size_t skip)
{
    for (size_t i = skip; i < plan->roll_back_count; i++) {
        if (!plan->roll_back[i]->down.sql)
            return bough__migrate_fail(BOUGH_REFUSED, "%s %s cannot be rolled back: it was defined without a down "
                                                      "migration",
                                       plan->roll_back[i]->version, plan->roll_back[i]->name);
    }
    return BOUGH_OK;
}

static int refuse_bare(const char *origin)
{
    return bough__migrate_fail(BOUGH_REFUSED, "%s runs outside a transaction, so all or nothing cannot be had here",
                               origin);
}

int bough__plan_check_atomic(const struct bough__plan *plan)
{
    for (size_t i = 0; i < plan->roll_back_count; i++) {
        if (plan->roll_back[i]->down.is_bare)
            return refuse_bare(plan->roll_back[i]->down.origin);
    }
    for (size_t i = 0; i < plan->apply_count; i++) {
        if (plan->apply[i]->up.is_bare)
            return refuse_bare(plan->apply[i]->up.origin);
    }
    return BOUGH_OK;
}
