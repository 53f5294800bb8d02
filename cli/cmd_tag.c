/* cmd_tag.c - bough tag: names for commits. */
#include "commands.h"

static void print_json(const bough_tags *tags)
{
    struct json json = {stdout, false};

    json_open(&json, '[');
    for (size_t i = 0; i < tags->count; i++) {
        json_open(&json, '{');
        json_put_string(&json, "name", tags->items[i].name);
        json_put_id(&json, "id", tags->items[i].id);
        json_put_time(&json, "created_at", tags->items[i].created_at_ms);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    cli_json_end(&json);
}

static void print_table(const bough_tags *tags)
{
    static const char *const titles[] = {"TAG", "COMMIT", "TAGGED", NULL};
    struct out_table table = OUT_TABLE(3, 0);
    char text[OUT_TEXT_SIZE] = "";

    out_row(&table, titles);
    for (size_t i = 0; i < tags->count; i++) {
        out_cell(&table, "%s", tags->items[i].name);
        out_cell(&table, "%s", out_short_id(text, tags->items[i].id));
        out_cell(&table, "%s", out_time(text, tags->items[i].created_at_ms));
    }
    out_table_print(stdout, &table);
    out_table_release(&table);
}

/* True when --json or -q said it all. */
static bool print_plain(struct cli *cli, const bough_tags *tags)
{
    if (cli->json)
        print_json(tags);
    for (size_t i = 0; !cli->json && cli->quiet && i < tags->count; i++)
        puts(tags->items[i].name);
    return cli->json || cli->quiet;
}

static int list(struct cli *cli)
{
    bough_tags tags = {NULL, 0};
    int rc = cli_check(cli, bough_tag_list(&tags, cli->store));

    if (rc == BOUGH_OK && !print_plain(cli, &tags)) {
        if (tags.count)
            print_table(&tags);
        else
            cli_say(cli, "no tags");
    }
    bough_tags_release(&tags);
    return rc;
}

static int make(struct cli *cli, const char *name)
{
    bough_tags tags = {NULL, 0};
    const char *ref = NULL;
    char id[OUT_TEXT_SIZE] = "";
    int rc = cli_branch_or_current(cli, &ref, cli_operand(cli, 1));

    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_tag_create(&tags, cli->store, name, ref));
    if (rc == BOUGH_OK && !print_plain(cli, &tags) && tags.count)
        cli_say(cli, "tag %s: names commit %s (%s)", name, out_short_id(id, tags.items[0].id), ref);
    bough_tags_release(&tags);
    return rc;
}

static int remove_tag(struct cli *cli, const char *name)
{
    bough_tags tags = {NULL, 0};
    char id[OUT_TEXT_SIZE] = "";
    int rc = cli_check(cli, bough_tag_delete(&tags, cli->store, name));

    if (rc == BOUGH_OK && !print_plain(cli, &tags) && tags.count)
        cli_say(cli, "tag %s: removed, it named commit %s", name, out_short_id(id, tags.items[0].id));
    bough_tags_release(&tags);
    return rc;
}

static int run(struct cli *cli)
{
    bool removes = cli_has(cli, "delete");
    int rc = BOUGH_OK;

    if (removes && cli->operand_count != 1)
        return cli_fail(cli, BOUGH_USAGE, "tag -d takes one NAME and nothing else");
    rc = cli_open(cli);
    if (rc != BOUGH_OK)
        return rc;
    if (removes)
        return remove_tag(cli, cli_operand(cli, 0));
    return cli->operand_count ? make(cli, cli_operand(cli, 0)) : list(cli);
}

static const struct cli_option option_table[] = {
    {'d', "delete", NULL, "remove the tag"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_tag = {
    .name = "tag",
    .aliases = "",
    .group = "History",
    .summary = "list, make or remove names for commits",
    .usage = "\nNAME [REF]\n-d NAME",
    .details =
        "Without NAME: lists the tags. With NAME: names the commit that REF means, the current branch's by default; "
        "if that branch has transactions that are not committed, they are committed first.",
    .example = "bough tag v1 main\nnames the newest state of main v1",
    .options = option_table,
    .operands_min = 0,
    .operands_max = 2,
    .completes = "REF",
    .run = run,
};
