/* test_plan.c - plans for random histories, against what each action promises. */
#include "harness.h"
#include "plan.h"

#include <stdio.h>
#include <string.h>

#define VERSIONS 10 /* few, so that they meet */

struct world {
    struct bough__migrations applied, defined;
};

static void add(struct bough__migrations *list, int64_t version, const char *name, char sum)
{
    struct bough__migration migration = {.defined_at_ms = version};

    migration.version = sqlite3_mprintf("%lld", (long long)version);
    migration.name = sqlite3_mprintf("%s", name);
    migration.up.origin = sqlite3_mprintf("%s", name);
    migration.up.sql = sqlite3_mprintf("SELECT 1");
    migration.down.sql = sqlite3_mprintf("SELECT 1");
    migration.exact[0] = sum; /* where these differ the tokens do as well: none are stored */
    ASSERT_OK(bough__migrations_add(list, &migration));
}

/* Some of the versions on each side, sometimes under another name, changed, ephemeral; applied in a random order. */
static void make(struct world *out, struct harness_random *random)
{
    memset(out, 0, sizeof *out);
    for (int64_t version = 1; version <= VERSIONS; version++) {
        bool is_ephemeral = harness_below(random, 8) == 0;

        if (harness_below(random, 3) != 0) {
            add(&out->applied, version, harness_below(random, 10) ? "a" : "b", 'x');
            out->applied.items[out->applied.count - 1].is_ephemeral = is_ephemeral;
        }
        if (harness_below(random, 3) != 0) {
            add(&out->defined, version, "a", harness_below(random, 8) ? 'x' : 'y');
            out->defined.items[out->defined.count - 1].is_ephemeral = is_ephemeral;
        }
    }
    for (size_t i = 0; i < out->applied.count; i++)
        out->applied.items[i].ordinal = (int64_t)i + 1;
    for (size_t i = out->applied.count; i > 1; i--) {
        size_t j = harness_below(random, i);
        int64_t ordinal = out->applied.items[i - 1].ordinal;

        out->applied.items[i - 1].ordinal = out->applied.items[j].ordinal;
        out->applied.items[j].ordinal = ordinal;
    }
}

static void release(struct world *world)
{
    bough__migrations_release(&world->applied);
    bough__migrations_release(&world->defined);
}

/* What is applied, without ephemeral ones, after the plan has run: one letter a version, '.' for none. Each step must
 * be possible at its time. */
static void play(char state[VERSIONS + 1], const struct world *world, const struct bough__plan *plan)
{
    memset(state, '.', VERSIONS);
    state[VERSIONS] = 0;
    for (size_t i = 0; i < world->applied.count; i++) {
        if (!world->applied.items[i].is_ephemeral)
            state[world->applied.items[i].defined_at_ms - 1] = world->applied.items[i].name[0];
    }
    for (size_t i = 0; i < plan->roll_back_count; i++) {
        char *place = &state[plan->roll_back[i]->defined_at_ms - 1];

        ck_assert_int_eq(*place, plan->roll_back[i]->name[0]);
        ck_assert(i == 0 || plan->roll_back[i]->ordinal < plan->roll_back[i - 1]->ordinal);
        *place = '.';
    }
    for (size_t i = 0; i < plan->apply_count; i++) {
        char *place = &state[plan->apply[i]->defined_at_ms - 1];

        ck_assert_int_eq(*place, '.');
        ck_assert(i == 0 || plan->apply[i]->defined_at_ms > plan->apply[i - 1]->defined_at_ms);
        ck_assert(!plan->apply[i]->is_ephemeral);
        *place = plan->apply[i]->name[0];
    }
}

static void defined_state(char state[VERSIONS + 1], const struct world *world)
{
    memset(state, '.', VERSIONS);
    state[VERSIONS] = 0;
    for (size_t i = 0; i < world->defined.count; i++) {
        const struct bough__migration *defined = &world->defined.items[i];
        const struct bough__migration *applied = bough__migrations_find(&world->applied, defined->defined_at_ms);
        bool is_same = applied && bough__migration_is_same(applied, defined);

        if (!(is_same ? applied->is_ephemeral : defined->is_ephemeral))
            state[defined->defined_at_ms - 1] = 'a';
    }
}

static bool has_missing(const struct world *world)
{
    for (size_t i = 0; i < world->applied.count; i++) {
        const struct bough__migration *applied = &world->applied.items[i];
        const struct bough__migration *defined = bough__migrations_find(&world->defined, applied->defined_at_ms);

        if (!applied->is_ephemeral && !(defined && bough__migration_is_same(applied, defined)))
            return true;
    }
    return false;
}

/* A new ephemeral one may want the place of a migration that stays; that is refused. */
static bool makes(struct bough__plan *plan, const struct world *world, const bough_migrate_options *options)
{
    int rc = bough__plan_make(plan, &world->applied, &world->defined, options);

    ck_assert_msg(rc == BOUGH_OK || rc == BOUGH_REFUSED || rc == BOUGH_NOT_FOUND, "%d %s", rc, bough_error_message());
    return rc == BOUGH_OK;
}

TEST(sync_ends_with_what_is_defined)
{
    struct harness_random random = {1};
    unsigned planned = 0;

    for (int i = 0; i < 4000; i++) {
        bough_migrate_options options = BOUGH_MIGRATE_OPTIONS_INIT;
        struct bough__plan plan;
        struct world world;
        char state[VERSIONS + 1];
        char wanted[VERSIONS + 1];

        make(&world, &random);
        options.late = harness_below(&random, 2) ? BOUGH_LATE_APPLY : BOUGH_LATE_REWIND;
        if (makes(&plan, &world, &options)) {
            play(state, &world, &plan);
            defined_state(wanted, &world);
            ck_assert_str_eq(state, wanted);
            if (options.late == BOUGH_LATE_APPLY && !has_missing(&world))
                ck_assert_uint_eq(plan.roll_back_count, 0);
            if (options.late == BOUGH_LATE_REWIND)
                ck_assert_uint_eq(plan.late_count, 0);
            planned++;
        }
        bough__plan_release(&plan);
        release(&world);
    }
    ck_assert_uint_gt(planned, 3000);
}

TEST(refuse_plans_nothing_late)
{
    struct harness_random random = {2};
    unsigned refused = 0;

    for (int i = 0; i < 2000; i++) {
        bough_migrate_options options = BOUGH_MIGRATE_OPTIONS_INIT;
        struct bough__plan plan;
        struct world world;

        make(&world, &random);
        options.late = BOUGH_LATE_REFUSE;
        if (makes(&plan, &world, &options))
            ck_assert_uint_eq(plan.late_count, 0);
        else
            refused++;
        bough__plan_release(&plan);
        release(&world);
    }
    ck_assert_uint_gt(refused, 200);
}

TEST(parts_of_a_run)
{
    struct harness_random random = {3};

    for (int i = 0; i < 4000; i++) {
        bough_migrate_options options = BOUGH_MIGRATE_OPTIONS_INIT;
        struct bough__plan plan;
        struct world world;
        char state[VERSIONS + 1];

        make(&world, &random);
        options.action = (enum bough_migrate_action)(BOUGH_MIGRATE_UP + harness_below(&random, 4));
        options.limit = harness_below(&random, 4);
        options.version_ms = (int64_t)harness_below(&random, VERSIONS) + 1;
        if (makes(&plan, &world, &options)) {
            play(state, &world, &plan);
            if (options.action == BOUGH_MIGRATE_UP) {
                ck_assert_uint_eq(plan.roll_back_count, 0);
                ck_assert(!options.limit || plan.apply_count <= options.limit);
            } else if (options.action == BOUGH_MIGRATE_DOWN) {
                ck_assert_uint_eq(plan.apply_count, 0);
                ck_assert_uint_le(plan.roll_back_count, options.limit ? options.limit : 1);
            } else if (options.action == BOUGH_MIGRATE_TO) {
                ck_assert_uint_eq(strspn(state + options.version_ms, "."), (size_t)(VERSIONS - options.version_ms));
            }
        }
        bough__plan_release(&plan);
        release(&world);
    }
}

TEST(redo_leaves_nothing_changed_behind_it)
{
    struct harness_random random = {4};

    for (int i = 0; i < 4000; i++) {
        bough_migrate_options options = BOUGH_MIGRATE_OPTIONS_INIT;
        struct bough__plan plan;
        struct world world;
        char state[VERSIONS + 1];

        make(&world, &random);
        options.action = BOUGH_MIGRATE_REDO;
        if (makes(&plan, &world, &options)) {
            play(state, &world, &plan);
            ck_assert_uint_eq(plan.changed_count, 0);
        }
        bough__plan_release(&plan);
        release(&world);
    }
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(sync_ends_with_what_is_defined),
        CASE(refuse_plans_nothing_late),
        CASE(parts_of_a_run),
        CASE(redo_leaves_nothing_changed_behind_it),
    };

    return harness_run("migrate plan", cases, COUNT_OF(cases));
}
