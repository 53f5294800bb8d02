/* cmd_gc.c - bough gc: gives back what no state needs. */
#include "commands.h"

#include <inttypes.h>
#include <stdlib.h>

#define DAYS_MAX 36500

static void print_json(const bough_collection *collection)
{
    struct json json = {stdout, false};

    json_open(&json, '{');
    json_put_uint(&json, "store_bytes", collection->store_bytes);
    json_put_uint(&json, "live_bytes", collection->live_bytes);
    json_put_uint(&json, "freed_bytes", collection->freed_bytes);
    json_close(&json, '}');
    cli_json_end(&json);
}

static void print(struct cli *cli, const bough_collection *collection, bool dry_run)
{
    char freed[OUT_TEXT_SIZE] = "", left[OUT_TEXT_SIZE] = "", held[OUT_TEXT_SIZE] = "";
    const char *would = dry_run ? "would be " : "";

    for (size_t i = 0; i < collection->dropped.count; i++) {
        if (cli->quiet)
            puts(collection->dropped.items[i].name);
        else
            cli_say(cli, "%s: %sdropped, its time is over", collection->dropped.items[i].name, would);
    }
    if (collection->pruned)
        cli_say(cli, "%zu commit%s of the machine %spruned", collection->pruned, collection->pruned == 1 ? "" : "s",
                would);
    out_size(freed, collection->freed_bytes);
    out_size(left, collection->store_bytes);
    cli_say(cli, "%s %sgiven back, the store takes %s", freed, would, left);
    if (collection->held_bytes)
        cli_say(cli, "%s more when those who read older states have gone on", out_size(held, collection->held_bytes));
}

static int parse_days(struct cli *cli, int *out)
{
    const char *text = cli_value(cli, "undo-days");
    char *end = NULL;
    long days = text ? strtol(text, &end, 10) : -1;

    *out = (int)days;
    if (text && (!*text || *end || days < 0 || days > DAYS_MAX))
        return cli_fail(cli, BOUGH_USAGE, "--undo-days needs a number of days from 0 to %d", DAYS_MAX);
    return BOUGH_OK;
}

static int run(struct cli *cli)
{
    bough_collection collection = {0};
    bough_options options = BOUGH_OPTIONS_INIT;
    bool dry_run = cli_has(cli, "dry-run");
    int days = 0;
    int rc = parse_days(cli, &days);

    if (rc == BOUGH_OK)
        rc = cli_open(cli);
    if (rc == BOUGH_OK) {
        options = cli_options(cli, "collecting");
        rc = cli_check(cli, bough_gc(&collection, cli->store, days, dry_run, &options));
        cli_work_end(cli);
    }
    if (rc == BOUGH_OK && cli->json)
        print_json(&collection);
    else if (rc == BOUGH_OK)
        print(cli, &collection, dry_run);
    bough_collection_release(&collection);
    return rc;
}

static const struct cli_option option_table[] = {
    {'n', "dry-run", NULL, "change nothing, say what would be given back"},
    {0, "undo-days", "DAYS", "how long commits that bough made by itself are kept; 30 by default"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_gc = {
    .name = "gc",
    .aliases = "",
    .group = "Stores and files",
    .summary = "give back what no branch, tag or commit needs",
    .usage = "[--dry-run] [--undo-days DAYS]",
    .details =
        "Drops branches whose --ttl is over, unless they are open, protected or have children. Then gives back every "
        "byte that no branch, tag or commit made by a person needs. Commits that bough made by itself count while they "
        "are younger than the undo window. Waits for nobody; what is in use at the moment is left for the next time.",
    .example = "bough gc --dry-run\nsays how much would be given back",
    .options = option_table,
    .operands_min = 0,
    .operands_max = 0,
    .completes = "",
    .run = run,
};
