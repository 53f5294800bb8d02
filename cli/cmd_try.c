/* cmd_try.c - bough try: scripts on forks of one state, side by side.
 *
 * The forks are hidden branches: nobody sees them, and those that a killed process leaves are dropped by the next one
 * that opens the store. --keep renames them when everything else is done. */
#include "commands.h"
#include "review.h"
#include "statements.h"
#include "trial.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES_MAX    1000
#define JOBS_MAX     64
#define JOBS_DEFAULT 4 /* at least: scripts wait for the disk, too */

struct attempt {
    struct cli *cli;
    struct review review;
    size_t count;
    char **names; /* of the branches, after the files */
    char **texts;
    bough_branches forks;
    bool is_kept; /* the forks have their final names */
};

/* ---- names ---- */

static char *name_after(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *file = slash ? slash + 1 : path;
    const char *dot = strrchr(file, '.');

    return out_format("%.*s", (int)(dot && dot > file ? (size_t)(dot - file) : strlen(file)), file);
}

/* Two files that would have one branch. */
static int check_clashes(struct attempt *attempt)
{
    char *list = out_copy("");
    int rc = BOUGH_OK;

    for (size_t i = 0; i < attempt->count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (!strcmp(attempt->names[i], attempt->names[k])) {
                char *longer = out_format("%s\n%s and %s would both be branch %s", list, cli_operand(attempt->cli, k),
                                          cli_operand(attempt->cli, i), attempt->names[i]);

                free(list);
                list = longer;
                break;
            }
        }
    }
    if (list[0])
        rc = cli_fail(attempt->cli, BOUGH_USAGE, "each file needs a name of its own:%s", list);
    free(list);
    return rc;
}

static bool is_id(const char *name)
{
    size_t length = strlen(name);

    return length >= 6 && length <= 64 && strspn(name, "0123456789abcdefABCDEF") == length;
}

/* Names that are taken are told all at once; who keeps nothing takes none. */
static int check_names(struct attempt *attempt, bool keeps)
{
    char *taken = out_copy("");
    int rc = BOUGH_OK;

    for (size_t i = 0; rc == BOUGH_OK && i < attempt->count; i++) {
        bough_ref ref = {0};
        int found = is_id(attempt->names[i]) ? BOUGH_NOT_FOUND
                                             : bough_ref_resolve(&ref, attempt->cli->store, attempt->names[i]);

        if (found == BOUGH_OK) {
            char *longer = out_format("%s%s%s", taken, taken[0] ? ", " : "", attempt->names[i]);

            free(taken);
            taken = longer;
        } else if (found != BOUGH_NOT_FOUND) {
            cli_check(attempt->cli, found);
            cli_hint(attempt->cli, "the branch is named after %s, without its suffix; rename the file",
                     cli_operand(attempt->cli, i));
            rc = found;
        }
        bough_ref_release(&ref);
    }
    if (rc == BOUGH_OK && keeps && taken[0]) {
        cli_hint(attempt->cli, "delete or rename what is there, or rename the files");
        rc = cli_fail(attempt->cli, BOUGH_REFUSED, "the names of these branches are taken: %s", taken);
    }
    free(taken);
    return rc;
}

/* ---- forks ---- */

static int make_forks(struct attempt *attempt, const char *from)
{
    struct cli *cli = attempt->cli;
    bough_options options = cli_options(cli, NULL);
    int rc = BOUGH_OK;

    options.hidden = true;
    options.scratch = !cli_has(cli, "keep"); /* then nothing waits for the disk */
    rc = cli_check(cli, bough_branch_create(&attempt->forks, cli->store, (const char *const *)attempt->names,
                                            attempt->count, from, &options));
    if (rc == BOUGH_USAGE)
        cli_hint(cli, "a branch is named after its file, without the suffix; rename the file");
    for (size_t i = 0; rc == BOUGH_OK && i < attempt->count; i++) {
        attempt->review.sides[i] = (struct review_side){.name = attempt->names[i],
                                                        .ref = attempt->forks.items[i].name,
                                                        .parent = from,
                                                        .script = cli_operand(cli, i),
                                                        .ok = true,
                                                        .seconds = -1};
        attempt->review.base_ref = attempt->forks.items[0].base;
    }
    if (rc == BOUGH_OK)
        attempt->review.count = attempt->count;
    return rc;
}

static int delete_branches(struct attempt *attempt, const char *const *names, size_t count)
{
    bough_options options = cli_options(attempt->cli, NULL);
    bough_branches deleted = {NULL, 0};
    int rc = BOUGH_OK;

    options.force = true;
    if (count)
        rc = bough_branch_delete(&deleted, attempt->cli->store, names, count, &options);
    bough_branches_release(&deleted);
    return rc;
}

/* What is left of them, all or none, whatever names they have. */
static int drop_forks(struct attempt *attempt)
{
    const char **names = out_alloc(attempt->forks.count * sizeof names[0] + 1);
    size_t count = 0;
    int rc = BOUGH_OK;

    for (size_t i = 0; i < attempt->forks.count; i++) {
        if (!attempt->review.sides[i].is_dropped)
            names[count++] = attempt->is_kept ? attempt->names[i] : attempt->forks.items[i].name;
    }
    rc = delete_branches(attempt, names, count);
    free(names);
    return rc;
}

/* All or none: a kill leaves either hidden branches, which are nobody's then, or the branches that were asked for. */
static int keep_forks(struct attempt *attempt)
{
    const char **names = out_alloc(attempt->count * sizeof names[0]);
    bough_branches renamed = {NULL, 0};
    int rc = BOUGH_OK;

    for (size_t i = 0; i < attempt->count; i++)
        names[i] = attempt->forks.items[i].name;
    rc = cli_check(attempt->cli, bough_branch_rename(&renamed, attempt->cli->store, names,
                                                     (const char *const *)attempt->names, attempt->count));
    attempt->is_kept = rc == BOUGH_OK;
    bough_branches_release(&renamed);
    free(names);
    return rc;
}

/* ---- the command ---- */

static int read_scripts(struct attempt *attempt)
{
    int rc = BOUGH_OK;

    for (size_t i = 0; rc == BOUGH_OK && i < attempt->count; i++)
        rc = statements_read_file(attempt->cli, &attempt->texts[i], cli_operand(attempt->cli, i));
    return rc;
}

static int find_jobs(struct cli *cli, size_t *out, size_t count)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t jobs = processors > JOBS_DEFAULT ? (uint64_t)processors : JOBS_DEFAULT;
    int rc = BOUGH_OK;

    if (cli_has(cli, "jobs"))
        rc = cli_number(cli, &jobs, cli_value(cli, "jobs"), "--jobs", 1, JOBS_MAX);
    jobs = jobs > JOBS_MAX ? JOBS_MAX : jobs;
    *out = jobs < count ? (size_t)jobs : count;
    return rc;
}

/* Everything that can be refused is refused here, before anything runs. */
static int prepare(struct attempt *attempt, const char **out_from)
{
    struct cli *cli = attempt->cli;
    struct review *review = &attempt->review;
    bough_ref base = {0};
    int rc = check_clashes(attempt);

    if (rc == BOUGH_OK)
        rc = read_scripts(attempt);
    if (rc == BOUGH_OK)
        rc = cli_open(cli);
    if (rc == BOUGH_OK)
        rc = cli_branch_or_current(cli, out_from, cli_value(cli, "from"));
    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_ref_resolve(&base, cli->store, *out_from));
    if (rc == BOUGH_OK)
        rc = check_names(attempt, cli_has(cli, "keep"));
    review->base = review->base_ref = *out_from;
    if (rc == BOUGH_OK && cli_has(cli, "query"))
        rc = review_read_queries(review, cli_value(cli, "query"));
    if (rc == BOUGH_OK && cli_has(cli, "html"))
        rc = review_open_html(review, cli_value(cli, "html"));
    bough_ref_release(&base);
    return rc;
}

/* The forks get their names before the review is printed, which takes time; where it cannot be written they go. */
static int execute(struct attempt *attempt, const char *from, size_t jobs)
{
    struct review *review = &attempt->review;
    bool keep = cli_has(attempt->cli, "keep");
    bool drops = !keep && !review->query_count;
    int rc = make_forks(attempt, from);

    if (rc == BOUGH_OK)
        rc = trial_run(review, attempt->texts, jobs, drops);
    if (rc == BOUGH_OK)
        rc = review_run_queries(review);
    if (rc == BOUGH_OK && out_interrupted_by())
        rc = cli_fail(attempt->cli, BOUGH_INTERRUPTED, "interrupted");
    if (rc == BOUGH_OK && keep)
        rc = keep_forks(attempt);
    if (rc == BOUGH_OK)
        rc = review_print(review);
    if (!keep || rc != BOUGH_OK)
        drop_forks(attempt);
    return rc;
}

static void tell_kept(struct attempt *attempt)
{
    cli_say(attempt->cli, "%s", "");
    for (size_t i = 0; i < attempt->count; i++)
        cli_say(attempt->cli, "branch %s: kept%s", attempt->names[i],
                attempt->review.sides[i].ok ? "" : ", as far as its script came");
}

static bool any_failed(const struct attempt *attempt)
{
    for (size_t i = 0; i < attempt->count; i++) {
        if (!attempt->review.sides[i].ok)
            return true;
    }
    return false;
}

static void release(struct attempt *attempt)
{
    review_release(&attempt->review);
    bough_branches_release(&attempt->forks);
    for (size_t i = 0; i < attempt->count; i++) {
        free(attempt->names[i]);
        free(attempt->texts[i]);
    }
    free(attempt->names);
    free(attempt->texts);
}

static int run(struct cli *cli)
{
    struct attempt attempt = {.cli = cli, .count = cli->operand_count};
    const char *from = NULL;
    size_t jobs = 1;
    int rc = find_jobs(cli, &jobs, attempt.count);

    attempt.review = (struct review){.cli = cli, .command = "try", .check_all = cli_has(cli, "check")};
    attempt.review.sides = out_alloc(attempt.count * sizeof attempt.review.sides[0]);
    attempt.names = out_alloc(attempt.count * sizeof attempt.names[0]);
    attempt.texts = out_alloc(attempt.count * sizeof attempt.texts[0]);
    for (size_t i = 0; i < attempt.count; i++)
        attempt.names[i] = name_after(cli_operand(cli, i));
    cli_options(cli, "trying");
    if (rc == BOUGH_OK)
        rc = prepare(&attempt, &from);
    if (rc == BOUGH_OK)
        rc = execute(&attempt, from, jobs);
    cli_work_end(cli);
    if (rc == BOUGH_OK && attempt.is_kept)
        tell_kept(&attempt);
    if (rc == BOUGH_OK && any_failed(&attempt)) {
        cli->answered = true;
        rc = BOUGH_NO;
    }
    release(&attempt);
    return rc;
}

static const struct cli_option option_table[] = {
    {0, "from", "REF", "the state to fork; the current branch by default"},
    {0, "keep", NULL, "keep the branches, under the names of the files"},
    {0, "jobs", "N", "how many scripts run at once; by default as many as there are processors, at least 4"},
    {0, "query", "FILE.sql", "run these queries on the base and on every fork, with times and plans"},
    {0, "html", "FILE", "write a page for a browser, too"},
    {0, "check", NULL, "check the whole of each database, whatever its size"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_try = {
    .name = "try",
    .aliases = "",
    .group = "SQL",
    .summary = "run scripts on forks of one state, and compare them",
    .usage = "FILE.sql... [--from REF] [--keep] [--jobs N] [--query FILE.sql] [--html FILE] [--check]",
    .details =
        "Forks the state once for each file, runs the files at the same time, each on its fork, and shows the outcomes "
        "side by side as bough compare does, with the time of each statement. Then the forks are dropped, and nothing "
        "is left of them. Nobody sees them meanwhile, and no statement waits for the disk.\n\n"
        "With --keep they stay, as branches named after the files: premium for migrations/premium.sql. Such a name "
        "must not be taken.\n\n"
        "A script stops at its first error, and keeps what it had committed before. Then bough exits with 1; the other "
        "scripts are run and compared all the same.",
    .example = "bough try premium.sql inventory.sql analytics.sql\ntries three migrations of the current branch",
    .options = option_table,
    .operands_min = 1,
    .operands_max = FILES_MAX,
    .completes = "FILE",
    .run = run,
};
