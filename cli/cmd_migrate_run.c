/* cmd_migrate_run.c - bough migrate sync, up, down, to and redo. */
#include "cmd_migrate.h"

static void print_steps(struct migrate *migrate, const char *what, const bough_migration_step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (migrate->cli->quiet)
            printf("%s\n", steps[i].version);
        else
            cli_say(migrate->cli, "%s: %s %s %s", migrate->label, what, steps[i].version, steps[i].name);
    }
}

static void print_json(struct migrate *migrate, const bough_migration_run *run)
{
    struct json json = {stdout, false};

    json_open(&json, '{');
    migrate_json_branch(migrate, &json);
    migrate_json_steps(&json, "rolled_back", run->rolled_back, run->rolled_back_count);
    migrate_json_steps(&json, "applied", run->applied, run->applied_count);
    json_put_bool(&json, "by_overlay", run->by_overlay);
    migrate_json_commit(&json, run->commit);
    json_close(&json, '}');
    cli_json_end(&json);
}

void migrate_print_run(struct migrate *migrate, const bough_migration_run *run)
{
    bool dry = migrate->options.dry_run;

    if (migrate->cli->json) {
        print_json(migrate, run);
        return;
    }
    print_steps(migrate, dry ? "would roll back" : "rolled back", run->rolled_back, run->rolled_back_count);
    print_steps(migrate, dry ? "would apply" : "applied", run->applied, run->applied_count);
    if (run->rolled_back_count + run->applied_count == 0)
        cli_say(migrate->cli, "%s: nothing to %s", migrate->label,
                migrate->options.action == BOUGH_MIGRATE_REDO ? "roll back or apply" : "do");
}

int migrate_run(struct migrate *migrate)
{
    bough_migration_run run = {0};
    int rc = migrate_check(migrate, bough__migrate(&run, &migrate->target, &migrate->defined, &migrate->options));

    if (rc == BOUGH_OK)
        migrate_print_run(migrate, &run);
    bough_migration_run_release(&run);
    return rc;
}
