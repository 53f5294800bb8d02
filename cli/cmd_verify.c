/* cmd_verify.c - bough verify: hashes everything again. */
#include "commands.h"

#include <stdlib.h>

static void print_json(const bough_verification *verification)
{
    struct json json = {stdout, false};

    json_open(&json, '{');
    json_put_bool(&json, "ok", verification->ok);
    json_put_uint(&json, "checked_bytes", verification->checked_bytes);
    json_key(&json, "findings");
    json_open(&json, '[');
    for (size_t i = 0; i < verification->finding_count; i++) {
        json_open(&json, '{');
        json_put_string(&json, "where", verification->findings[i].where);
        json_put_string(&json, "what", verification->findings[i].what);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
    cli_json_end(&json);
}

static void print(struct cli *cli, const bough_verification *verification)
{
    char size[OUT_TEXT_SIZE] = "";

    if (cli->json) {
        print_json(verification);
        return;
    }
    for (size_t i = 0; i < verification->finding_count; i++) {
        out_line(stdout, verification->findings[i].where);
        if (!cli->quiet) {
            fputs(": ", stdout);
            out_line(stdout, verification->findings[i].what);
        }
        putchar('\n');
    }
    out_size(size, verification->checked_bytes);
    if (verification->ok)
        cli_say(cli, "ok, %s checked", size);
    else
        cli_say(cli, "damaged: %zu finding%s in %s", verification->finding_count,
                verification->finding_count == 1 ? "" : "s", size);
}

/* A store too damaged to be opened, or to be verified to the end, is a finding like others. */
static void print_damage(struct cli *cli, const char *where)
{
    char *place = out_copy(where);
    char *message = out_copy(cli->message);
    bough_finding finding = {place, message};
    bough_verification verification = {false, 0, &finding, 1};

    print(cli, &verification);
    free(place);
    free(message);
}

static int run(struct cli *cli)
{
    bough_verification verification = {0};
    bough_options options = cli_options(cli, NULL);
    char *path = NULL;
    int rc = cli_locate(cli, &path);

    if (rc == BOUGH_OK)
        rc = cli_open(cli);
    if (rc == BOUGH_OK) {
        options = cli_options(cli, "verifying");
        rc = cli_check(cli, bough_verify(&verification, cli->store, cli_operand(cli, 0), &options));
        cli_work_end(cli);
    }
    if (rc == BOUGH_OK) {
        print(cli, &verification);
        rc = verification.ok ? BOUGH_OK : BOUGH_CORRUPT;
        cli->answered = !verification.ok;
    } else if (rc == BOUGH_CORRUPT) {
        print_damage(cli, path);
        cli->answered = true;
    }
    bough_verification_release(&verification);
    free(path);
    return rc;
}

const struct cli_command cmd_verify = {
    .name = "verify",
    .aliases = "",
    .group = "Stores and files",
    .summary = "check every page and record against its hash",
    .usage = "[REF]",
    .details =
        "Hashes every page and node that REF needs, or any branch, tag and commit of the store, and checks the catalog "
        "against them. Prints a line for each finding and exits with 6 when there is one.",
    .example = "bough verify\nchecks the whole store",
    .operands_min = 0,
    .operands_max = 1,
    .completes = "REF",
    .run = run,
};
