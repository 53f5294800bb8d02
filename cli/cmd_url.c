/* cmd_url.c - bough url: what opens a state from a program. */
#include "commands.h"

#include <stdlib.h>

static void print(struct cli *cli, const char *uri, const char *path)
{
    struct json json = {stdout, false};

    if (cli->json) {
        json_open(&json, '{');
        json_put_string(&json, "uri", uri);
        json_put_string(&json, "path", path);
        json_close(&json, '}');
        cli_json_end(&json);
    } else if (cli->quiet || cli_has(cli, "uri") || cli_has(cli, "path")) {
        puts(cli_has(cli, "path") ? path : uri);
    } else {
        printf("uri   %s\npath  %s\n", uri, path);
    }
}

static int run(struct cli *cli)
{
    char *uri = NULL;
    char *path = NULL;
    int rc = BOUGH_OK;

    if (cli_has(cli, "uri") && cli_has(cli, "path"))
        return cli_fail(cli, BOUGH_USAGE, "url takes --uri or --path, not both");
    rc = cli_open(cli);
    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_ref_url(&uri, &path, cli->store, cli_operand(cli, 0)));
    if (rc == BOUGH_OK)
        print(cli, uri, path);
    free(uri);
    free(path);
    return rc;
}

static const struct cli_option option_table[] = {
    {0, "uri", NULL, "print the URI alone"},
    {0, "path", NULL, "print the plain path alone"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_url = {
    .name = "url",
    .aliases = "",
    .group = "SQL",
    .summary = "print what opens a state from a program",
    .usage = "REF [--uri|--path]",
    .details =
        "The URI is for programs that open URIs, with the extension bough.so loaded; the plain path is for those that "
        "do not, with the extension registered as the default VFS (sqlite3_boughdefault_init). A past state opens "
        "read-only.",
    .example = "bough url premium --json\nprints both as one JSON object",
    .options = option_table,
    .operands_min = 1,
    .operands_max = 1,
    .completes = "REF",
    .run = run,
};
