/* cmd_migrate_adopt.c - bough migrate adopt: takes over the history of another program. */
#include "adopt.h"
#include "cmd_migrate.h"

struct adoption {
    bough_migration_run run;
    const char *tool;
};

static int adopt(struct migrate *migrate, void *context)
{
    struct adoption *adoption = context;

    return migrate_check(migrate, bough__adopt(&adoption->run, &adoption->tool, migrate->file, migrate->options.table,
                                               &migrate->defined, cli_value(migrate->cli, "from")));
}

static void print(struct migrate *migrate, const struct adoption *adoption)
{
    for (size_t i = 0; i < adoption->run.applied_count; i++) {
        const bough_migration_step *step = &adoption->run.applied[i];

        if (migrate->cli->quiet)
            printf("%s\n", step->version);
        else
            cli_say(migrate->cli, "%s: %s %s %s from %s", migrate->label,
                    migrate->options.dry_run ? "would take over" : "took over", step->version, step->name,
                    adoption->tool);
    }
    if (adoption->run.applied_count == 0)
        cli_say(migrate->cli, "%s: nothing to take over from %s", migrate->label, adoption->tool);
}

int migrate_adopt(struct migrate *migrate)
{
    struct adoption adoption = {.tool = NULL};
    int rc = migrate_in_transaction(adoption.run.commit, migrate, "migrate adopt", adopt, &adoption);

    if (rc == BOUGH_OK && migrate->cli->json) {
        struct json json = {stdout, false};

        json_open(&json, '{');
        migrate_json_branch(migrate, &json);
        json_put_string(&json, "tool", adoption.tool);
        migrate_json_steps(&json, "adopted", adoption.run.applied, adoption.run.applied_count);
        migrate_json_commit(&json, adoption.run.commit);
        json_close(&json, '}');
        cli_json_end(&json);
    } else if (rc == BOUGH_OK) {
        print(migrate, &adoption);
    }
    bough_migration_run_release(&adoption.run);
    return rc;
}
