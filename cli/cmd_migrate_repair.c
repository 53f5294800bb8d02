/* cmd_migrate_repair.c - bough migrate repair: accepts a file that changed since its migration was applied. */
#include "cmd_migrate.h"

static int repair(struct migrate *migrate, void *context)
{
    bough_migration_run *run = context;

    run->applied = sqlite3_malloc64(sizeof run->applied[0]);
    if (!run->applied)
        return cli_fail(migrate->cli, BOUGH_NOMEM, "out of memory");
    run->applied_count = 1;
    return migrate_check(migrate, bough__repair(&run->applied[0], migrate->file, migrate->options.table,
                                                &migrate->defined, migrate->options.version_ms));
}

int migrate_repair(struct migrate *migrate)
{
    bough_migration_run run = {0};
    int rc = migrate_in_transaction(run.commit, migrate, "migrate repair", repair, &run);

    if (rc == BOUGH_OK && migrate->cli->json) {
        struct json json = {stdout, false};

        json_open(&json, '{');
        migrate_json_branch(migrate, &json);
        migrate_json_steps(&json, "repaired", run.applied, run.applied_count);
        migrate_json_commit(&json, run.commit);
        json_close(&json, '}');
        cli_json_end(&json);
    } else if (rc == BOUGH_OK) {
        cli_say(migrate->cli, "%s: %s %s %s as it is defined now", migrate->label,
                migrate->options.dry_run ? "would accept" : "accepted", run.applied[0].version, run.applied[0].name);
    }
    bough_migration_run_release(&run);
    return rc;
}
