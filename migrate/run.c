/* run.c - see run.h. */
#include "run.h"

#include "report.h"

#include <string.h>

void bough__run_log(const bough_migrate_options *options, enum bough_migrate_event event, const char *text)
{
    if (options->log)
        options->log(options->log_context, event, text);
}

static void release_steps(bough_migration_step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sqlite3_free(steps[i].version);
        sqlite3_free(steps[i].name);
    }
    sqlite3_free(steps);
}

void bough_migration_run_release(bough_migration_run *run)
{
    release_steps(run->rolled_back, run->rolled_back_count);
    release_steps(run->applied, run->applied_count);
    memset(run, 0, sizeof *run);
}

static int add(bough_migration_step **steps, size_t *count, const struct bough__migration *migration)
{
    bough_migration_step *grown = sqlite3_realloc64(*steps, (*count + 1) * sizeof grown[0]);
    bough_migration_step *step = NULL;

    if (!grown)
        return bough__migrate_fail_memory();
    *steps = grown;
    step = &grown[(*count)++];
    step->defined_at_ms = migration->defined_at_ms;
    step->version = sqlite3_mprintf("%s", migration->version);
    step->name = sqlite3_mprintf("%s", migration->name);
    return step->version && step->name ? BOUGH_OK : bough__migrate_fail_memory();
}

static void tell(const bough_migrate_options *options, enum bough_migrate_event event,
                 const struct bough__migration *migration)
{
    char *text = sqlite3_mprintf("%s %s", migration->version, migration->name);

    if (text)
        bough__run_log(options, event, text);
    sqlite3_free(text);
}

int bough__run_add_rolled_back(bough_migration_run *run, const struct bough__migration *migration,
                               const bough_migrate_options *options)
{
    tell(options, BOUGH_MIGRATE_ROLLED_BACK, migration);
    return add(&run->rolled_back, &run->rolled_back_count, migration);
}

int bough__run_add_applied(bough_migration_run *run, const struct bough__migration *migration,
                           const bough_migrate_options *options)
{
    tell(options, BOUGH_MIGRATE_APPLIED, migration);
    return add(&run->applied, &run->applied_count, migration);
}

int bough__run_fill(bough_migration_run *run, const struct bough__plan *plan)
{
    int rc = BOUGH_OK;

    for (size_t i = 0; rc == BOUGH_OK && i < plan->roll_back_count; i++)
        rc = add(&run->rolled_back, &run->rolled_back_count, plan->roll_back[i]);
    for (size_t i = 0; rc == BOUGH_OK && i < plan->apply_count; i++)
        rc = add(&run->applied, &run->applied_count, plan->apply[i]);
    for (size_t i = 0; rc == BOUGH_OK && i < plan->ephemeral_new_count; i++)
        rc = add(&run->applied, &run->applied_count, plan->ephemeral_new[i]);
    return rc;
}

static void warn(const bough_migrate_options *options, const struct bough__migration *migration, const char *what)
{
    char *text = sqlite3_mprintf("%s %s", migration->up.origin, what);

    if (text)
        bough__run_log(options, BOUGH_MIGRATE_WARNING, text);
    sqlite3_free(text);
}

void bough__run_warn(const struct bough__plan *plan, const bough_migrate_options *options)
{
    for (size_t i = 0; i < plan->late_count; i++)
        warn(options, plan->late[i], "is older than a migration that is applied already; it runs after that one");
    for (size_t i = 0; i < plan->changed_count; i++)
        warn(options, plan->changed[i], "has changed since it was applied; it stays as it was applied");
    for (size_t i = 0; i < plan->ephemeral_changed_count; i++)
        warn(options, plan->ephemeral_changed[i], "has changed since it was stored; its new text takes the place");
}
