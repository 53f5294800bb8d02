/* cmd_migrate_status.c - bough migrate status: what is applied, pending, missing, changed. */
#include "cmd_migrate.h"

static const struct {
    const char *name, *mark;
} states[] = {
    [BOUGH_MIGRATION_APPLIED] = {"applied", "[X]"},
    [BOUGH_MIGRATION_PENDING] = {"pending", "[ ]"},
    [BOUGH_MIGRATION_MISSING] = {"missing", "[?]"},
    [BOUGH_MIGRATION_CHANGED] = {"changed", "[!]"},
};
#define STATE_COUNT (sizeof states / sizeof states[0])

static void print_json(const struct migrate *migrate, const bough_migration_list *list)
{
    struct json json = {stdout, false};

    json_open(&json, '{');
    migrate_json_branch(migrate, &json);
    json_put_bool(&json, "in_step", list->in_step);
    json_key(&json, "migrations");
    json_open(&json, '[');
    for (size_t i = 0; i < list->count; i++) {
        json_open(&json, '{');
        json_put_string(&json, "version", list->items[i].version);
        json_put_string(&json, "name", list->items[i].name);
        json_put_string(&json, "state", states[list->items[i].state].name);
        json_put_time(&json, "applied_at", list->items[i].applied_at_ms);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
    cli_json_end(&json);
}

static void print_counts(const struct migrate *migrate, const bough_migration_list *list)
{
    const char *comma = "";

    printf("%s: ", migrate->label);
    for (size_t state = 0; state < STATE_COUNT; state++) {
        size_t count = 0;

        for (size_t i = 0; i < list->count; i++)
            count += list->items[i].state == state;
        if (count == 0 && (state != BOUGH_MIGRATION_APPLIED || list->count))
            continue;
        printf("%s%zu %s", comma, count, states[state].name);
        comma = ", ";
    }
    putchar('\n');
}

static void print_text(const struct migrate *migrate, const bough_migration_list *list)
{
    struct out_table table = OUT_TABLE(4, 0);
    char time[OUT_TEXT_SIZE] = "";

    for (size_t i = 0; i < list->count; i++) {
        const bough_migration_entry *entry = &list->items[i];

        out_cell(&table, "%s", states[entry->state].mark);
        out_cell(&table, "%s", entry->version);
        out_cell(&table, "%s%s", entry->name, entry->ephemeral ? " (ephemeral)" : "");
        out_cell(&table, "%s", out_time(time, entry->applied_at_ms));
    }
    out_table_print(stdout, &table);
    out_table_release(&table);
    print_counts(migrate, list);
}

static void print_versions(const bough_migration_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        printf("%s\n", list->items[i].version);
}

int migrate_status(struct migrate *migrate)
{
    struct cli *cli = migrate->cli;
    bough_migration_list list = {0};
    int rc = migrate_check(migrate,
                           bough__migrate_status(&list, &migrate->target, &migrate->defined, &migrate->options));

    if (rc == BOUGH_OK && cli->json)
        print_json(migrate, &list);
    else if (rc == BOUGH_OK && cli->quiet)
        print_versions(&list);
    else if (rc == BOUGH_OK)
        print_text(migrate, &list);
    if (rc == BOUGH_OK && !list.in_step) {
        rc = BOUGH_NO;
        cli->answered = true;
    }
    bough_migration_list_release(&list);
    return rc;
}
