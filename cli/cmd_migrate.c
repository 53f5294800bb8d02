/* cmd_migrate.c - bough migrate: its verbs, and what they work on. */
#include "cmd_migrate.h"

#include "commands.h"
#include "forks.h"
#include "version.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct verb {
    const char *name;
    bool has_operand, needs_operand, needs_directory, needs_target;
    enum bough_migrate_action action;
    int (*run)(struct migrate *migrate);
} verbs[] = {
    {"status", false, false, true, true, BOUGH_MIGRATE_SYNC, migrate_status},
    {"sync", false, false, true, true, BOUGH_MIGRATE_SYNC, migrate_run},
    {"up", true, false, true, true, BOUGH_MIGRATE_UP, migrate_run},
    {"down", true, false, true, true, BOUGH_MIGRATE_DOWN, migrate_run},
    {"to", true, true, true, true, BOUGH_MIGRATE_TO, migrate_run},
    {"redo", false, false, true, true, BOUGH_MIGRATE_REDO, migrate_run},
    {"undo", false, false, false, true, BOUGH_MIGRATE_SYNC, migrate_undo},
    {"new", true, true, false, false, BOUGH_MIGRATE_SYNC, migrate_new},
    {"check", false, false, true, true, BOUGH_MIGRATE_SYNC, migrate_check_verb},
    {"repair", true, true, true, true, BOUGH_MIGRATE_SYNC, migrate_repair},
    {"adopt", false, false, true, true, BOUGH_MIGRATE_SYNC, migrate_adopt},
    {"dump", false, false, false, true, BOUGH_MIGRATE_SYNC, migrate_dump},
};

const char *migrate_directory(const struct migrate *migrate)
{
    const char *directory = cli_value(migrate->cli, "dir");

    return directory ? directory : "migrations";
}

int migrate_read(struct migrate *migrate)
{
    return migrate_check(migrate, bough__migrations_read(&migrate->defined, &migrate->convention,
                                                         migrate_directory(migrate)));
}

/* ---- the target ---- */

static int open_file(struct migrate *migrate, const char *name)
{
    struct cli *cli = migrate->cli;
    char *path = realpath(name, NULL);
    int code = SQLITE_OK;
    int rc = BOUGH_OK;

    if (!path)
        return cli_fail(cli, errno == ENOENT || errno == ENOTDIR ? BOUGH_NOT_FOUND : BOUGH_IO, "cannot open %s: %s",
                        name, strerror(errno));
    migrate->label = out_copy(name);
    code = sqlite3_open_v2(path, &migrate->file, SQLITE_OPEN_READWRITE, NULL);
    if (code != SQLITE_OK)
        rc = cli_fail(cli, BOUGH_IO, "%s: %s", name,
                      migrate->file ? sqlite3_errmsg(migrate->file) : sqlite3_errstr(code));
    else
        sqlite3_busy_timeout(migrate->file, cli->timeout_ms > INT32_MAX ? INT32_MAX : (int)cli->timeout_ms);
    free(path);
    migrate->target.connection = migrate->file;
    return rc;
}

static int open_branch(struct migrate *migrate)
{
    struct cli *cli = migrate->cli;
    int rc = cli_open(cli);

    if (rc == BOUGH_OK)
        rc = cli_branch_or_current(cli, &migrate->branch, cli_value(cli, "branch"));
    if (rc != BOUGH_OK)
        return rc;
    migrate->label = out_format("branch %s", migrate->branch);
    migrate->target.store = cli->store;
    migrate->target.branch = migrate->branch;
    return BOUGH_OK;
}

int migrate_open(struct migrate *migrate)
{
    const char *file = cli_value(migrate->cli, "db");

    if (file && cli_value(migrate->cli, "branch"))
        return cli_fail(migrate->cli, BOUGH_USAGE, "migrate takes --branch or --db, not both");
    return file ? open_file(migrate, file) : open_branch(migrate);
}

/* ---- what is told ---- */

static void add_line(struct migrate_lines *lines, const char *text)
{
    if (!(lines->count & (lines->count + 1))) /* room for twice as many, each time */
        lines->items = out_grow(lines->items, (2 * lines->count + 1) * sizeof lines->items[0]);
    lines->items[lines->count++] = out_copy(text);
}

static void listen(void *context, enum bough_migrate_event event, const char *text)
{
    struct migrate *migrate = context;

    if (event == BOUGH_MIGRATE_WARNING)
        add_line(&migrate->warnings, text);
    else if (event == BOUGH_MIGRATE_VIOLATION)
        add_line(&migrate->violations, text);
}

/* Under --json an error must stand on stderr alone, so warnings wait for the success. */
static void print_warnings(const struct migrate *migrate, int rc)
{
    if (migrate->cli->json && rc != BOUGH_OK)
        return;
    for (size_t i = 0; i < migrate->warnings.count; i++) {
        fputs("warning: ", stderr);
        out_line(stderr, migrate->warnings.items[i]);
        putc('\n', stderr);
    }
}

static void release_lines(struct migrate_lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        free(lines->items[i]);
    free(lines->items);
}

int migrate_check(struct migrate *migrate, int rc)
{
    struct cli *cli = migrate->cli;
    char *message = NULL;
    size_t length = 0;
    FILE *stream = NULL;

    if (rc == BOUGH_OK || migrate->violations.count == 0)
        return cli_check(cli, rc);
    stream = open_memstream(&message, &length);
    if (!stream)
        return cli_fail(cli, BOUGH_NOMEM, "out of memory");
    fputs("new violations of foreign keys:", stream);
    for (size_t i = 0; i < migrate->violations.count; i++)
        fprintf(stream, "\n%s", migrate->violations.items[i]);
    if (fclose(stream) != 0)
        rc = cli_fail(cli, BOUGH_NOMEM, "out of memory");
    else
        cli_fail(cli, rc, "%s", message);
    free(message);
    return rc;
}

void migrate_json_branch(const struct migrate *migrate, struct json *json)
{
    json_put_string(json, "branch", migrate->branch);
}

void migrate_json_commit(struct json *json, const char *id)
{
    json_put_id(json, "commit", id);
}

void migrate_json_steps(struct json *json, const char *key, const bough_migration_step *steps, size_t count)
{
    json_key(json, key);
    json_open(json, '[');
    for (size_t i = 0; i < count; i++) {
        json_open(json, '{');
        json_put_string(json, "version", steps[i].version);
        json_put_string(json, "name", steps[i].name);
        json_close(json, '}');
    }
    json_close(json, ']');
}

/* ---- transactions of the small verbs ---- */

static int execute(struct migrate *migrate, const char *sql)
{
    int code = sqlite3_exec(migrate->file, sql, NULL, NULL, NULL);

    if (code == SQLITE_OK)
        return BOUGH_OK;
    return cli_fail(migrate->cli, bough__migrate_code(code), "%s: %s: %s", migrate->label, sql,
                    sqlite3_errmsg(migrate->file));
}

int migrate_in_transaction(char out_id[BOUGH_ID_SIZE], struct migrate *migrate, const char *message,
                           int (*work)(struct migrate *migrate, void *context), void *context)
{
    int rc = BOUGH_OK;

    out_id[0] = 0;
    if (migrate->branch)
        rc = migrate_check(migrate, bough__state_open(&migrate->file, migrate->cli->store, migrate->branch));
    if (rc == BOUGH_OK)
        rc = execute(migrate, "BEGIN IMMEDIATE");
    if (rc == BOUGH_OK)
        rc = work(migrate, context);
    if (rc == BOUGH_OK && !migrate->options.dry_run)
        rc = execute(migrate, "COMMIT");
    if (migrate->file && !sqlite3_get_autocommit(migrate->file))
        sqlite3_exec(migrate->file, "ROLLBACK", NULL, NULL, NULL);
    if (rc == BOUGH_OK && migrate->branch && !migrate->options.dry_run)
        rc = migrate_check(migrate, bough__branch_seal(out_id, migrate->cli->store, migrate->branch, message));
    return rc;
}

/* ---- the command ---- */

static int take_late(struct migrate *migrate)
{
    const char *late = cli_value(migrate->cli, "late");

    if (!late || !strcmp(late, "apply"))
        migrate->options.late = BOUGH_LATE_APPLY;
    else if (!strcmp(late, "rewind"))
        migrate->options.late = BOUGH_LATE_REWIND;
    else if (!strcmp(late, "refuse"))
        migrate->options.late = BOUGH_LATE_REFUSE;
    else
        return cli_fail(migrate->cli, BOUGH_USAGE, "--late takes apply, rewind or refuse, not '%s'", late);
    return BOUGH_OK;
}

/* N of up and down, VERSION of to. */
static int take_operand(struct migrate *migrate, const struct verb *verb)
{
    const char *operand = cli_operand(migrate->cli, 1);
    uint64_t limit = 0;
    int rc = BOUGH_OK;

    if (operand && !verb->has_operand)
        return cli_fail(migrate->cli, BOUGH_USAGE, "migrate %s takes no operand", verb->name);
    if (!operand && verb->needs_operand)
        return cli_fail(migrate->cli, BOUGH_USAGE, "migrate %s takes a %s", verb->name,
                        verb->run == migrate_new ? "NAME" : "VERSION");
    if (operand && (verb->action == BOUGH_MIGRATE_TO || verb->run == migrate_repair)) {
        if (!bough__version_parse(&migrate->options.version_ms, operand, strlen(operand)))
            return cli_fail(migrate->cli, BOUGH_USAGE, "'%s' is no version: digits of a time or of a number", operand);
    } else if (operand && verb->run == migrate_run) {
        rc = cli_number(migrate->cli, &limit, operand, "the number of migrations", 1, 1000000000);
        migrate->options.limit = (size_t)limit;
    }
    return rc;
}

static int take_options(struct migrate *migrate, const struct verb *verb)
{
    struct cli *cli = migrate->cli;

    migrate->options.action = verb->action;
    migrate->options.table = cli_value(cli, "table");
    migrate->options.not_atomic = cli_has(cli, "not-atomic");
    migrate->options.strict = cli_has(cli, "strict");
    migrate->options.dry_run = cli_has(cli, "dry-run");
    migrate->options.log = listen;
    migrate->options.log_context = migrate;
    if (migrate->options.table && !migrate->options.table[0])
        return cli_fail(cli, BOUGH_USAGE, "--table takes a name");
    if (migrate->options.dry_run && verb->run == migrate_new)
        return cli_fail(cli, BOUGH_USAGE, "migrate %s has no --dry-run", verb->name);
    return take_late(migrate);
}

static int unknown_verb(struct cli *cli, const char *name)
{
    struct cli_nearest nearest = {name, "", SIZE_MAX};

    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        cli_nearest_try(&nearest, verbs[i].name);
    if (cli_nearest_found(&nearest))
        cli_hint(cli, "did you mean bough migrate %s?", nearest.best);
    else
        cli_hint(cli, "see bough migrate --help");
    return cli_fail(cli, BOUGH_USAGE, "migrate has no verb '%s'", name);
}

static int run_verb(struct migrate *migrate, const struct verb *verb)
{
    int rc = take_operand(migrate, verb);

    if (rc == BOUGH_OK)
        rc = take_options(migrate, verb);
    if (rc == BOUGH_OK && verb->needs_directory)
        rc = migrate_read(migrate);
    if (rc == BOUGH_OK && verb->needs_target)
        rc = migrate_open(migrate);
    return rc == BOUGH_OK ? verb->run(migrate) : rc;
}

static int run(struct cli *cli)
{
    static const bough_migrate_options defaults = BOUGH_MIGRATE_OPTIONS_INIT;
    struct migrate migrate = {.cli = cli, .verb = cli_operand(cli, 0), .options = defaults};
    int rc = BOUGH_OK;
    size_t i = 0;

    while (i < sizeof verbs / sizeof verbs[0] && strcmp(verbs[i].name, migrate.verb) != 0)
        i++;
    rc = i < sizeof verbs / sizeof verbs[0] ? run_verb(&migrate, &verbs[i]) : unknown_verb(cli, migrate.verb);
    print_warnings(&migrate, rc);
    sqlite3_close(migrate.file);
    bough__migrations_release(&migrate.defined);
    release_lines(&migrate.warnings);
    release_lines(&migrate.violations);
    free(migrate.label);
    return rc;
}

static const struct cli_option option_table[] = {
    {'b', "branch", "BRANCH", "the branch; the current one by default"},
    {0, "db", "FILE", "an ordinary SQLite file in the place of a branch"},
    {0, "dir", "DIR", "the directory with the migrations; migrations by default"},
    {0, "from", "TOOL", "adopt from dbmate, goose, golang-migrate or sqlx, where the database has tables of several"},
    {0, "dry-run", NULL, "print what would be done, and do nothing"},
    {0, "late", "POLICY", "a migration older than one applied already: apply (the default), rewind or refuse"},
    {0, "not-atomic", NULL, "with --db: a transaction for each migration instead of one for all"},
    {0, "strict", NULL, "on a branch: rows that a migration removes are an error"},
    {0, "table", "NAME", "the table that remembers what is applied; migrations by default"},
    {0, NULL, NULL, NULL},
};

const struct cli_command cmd_migrate = {
    .name = "migrate",
    .aliases = "",
    .group = "Migrations",
    .summary = "make a database match a directory of migrations",
    .usage = "status\nsync\nup [N]\ndown [N]\nto VERSION\nredo\nundo\nnew NAME\ncheck\nrepair VERSION\nadopt\ndump",
    .details =
        "The database stores how each migration is undone, so that after a switch of the code `sync` can take back "
        "what the code no longer has: it rolls back to the last common migration and applies what is defined after "
        "it. All of it happens or none.\n\n"
        "Files may follow the conventions of dbmate, goose, golang-migrate or sqlx; see docs/migrations.md.",
    .example = "bough migrate sync --db app.db --dir db/migrations\nmakes app.db match the directory",
    .options = option_table,
    .operands_min = 1,
    .operands_max = 2,
    .completes = "status|sync|up|down|to|redo|undo|new|check|repair|adopt|dump NONE",
    .run = run,
};
