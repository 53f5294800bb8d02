/* cmd_migrate_check.c - bough migrate check: pending migrations up, down and up again, on copies. */
#include "checks.h"
#include "cmd_migrate.h"
#include "forks.h"

static void print_json(const struct migrate *migrate, const struct bough__check_result *result)
{
    struct json json = {stdout, false};

    json_open(&json, '{');
    migrate_json_branch(migrate, &json);
    json_put_bool(&json, "ok", result->count == 0);
    json_key(&json, "failed");
    json_open(&json, '[');
    for (size_t i = 0; i < result->count; i++) {
        json_open(&json, '{');
        json_put_string(&json, "version", result->items[i].version);
        json_put_string(&json, "name", result->items[i].name);
        json_put_string(&json, "step", result->items[i].step);
        json_put_string(&json, "message", result->items[i].message);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
    cli_json_end(&json);
}

static void print_text(const struct migrate *migrate, const struct bough__check_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        const struct bough__check_failure *failure = &result->items[i];

        if (migrate->cli->quiet) {
            printf("%s\n", failure->version);
            continue;
        }
        printf("%s %s fails at %s: ", failure->version, failure->name, failure->step);
        out_line(stdout, failure->message);
        putchar('\n');
    }
    cli_say(migrate->cli, "%s: %zu of the pending migrations tried, %zu failed", migrate->label, result->checked,
            result->count);
}

int migrate_check_verb(struct migrate *migrate)
{
    struct bough__branch_copies forks = {.store = migrate->cli->store, .branch = migrate->branch};
    struct bough__copies copies =
        migrate->file ? bough__copies_by_backup(migrate->file) : bough__copies_of_branch(&forks);
    struct bough__check_result result = {0};
    int rc = migrate_check(migrate, bough__check(&result, &copies, &migrate->defined, &migrate->options));

    if (rc == BOUGH_OK && migrate->cli->json)
        print_json(migrate, &result);
    else if (rc == BOUGH_OK)
        print_text(migrate, &result);
    if (rc == BOUGH_OK && result.count) {
        rc = BOUGH_NO;
        migrate->cli->answered = true;
    }
    bough__check_result_release(&result);
    return rc;
}
