/* review.c - finding out what a review says: see review.h. */
#include "review.h"

#include "spill.h"
#include "statements.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- databases ---- */

static int stop_when_interrupted(void *context)
{
    (void)context;
    return out_interrupted_by() != 0;
}

void review_watch(struct database *database)
{
    sqlite3_progress_handler(database->handle, 1000, stop_when_interrupted, NULL);
}

static int fail(struct cli *cli, struct database *database, int code)
{
    if (code == SQLITE_OK)
        return BOUGH_OK;
    if (code == SQLITE_INTERRUPT)
        return cli_fail(cli, BOUGH_INTERRUPTED, "interrupted");
    if (!database)
        return cli_fail(cli, BOUGH_NOMEM, "out of memory");
    return database_fail(cli, database, code, "");
}

/* Reads the schema, so that the connection stays on one state from here on. */
int review_open_database(struct cli *cli, struct database *out, const char *ref)
{
    int rc = database_open(cli, out, ref, false);

    if (rc != BOUGH_OK)
        return rc;
    review_watch(out);
    return fail(cli, out,
                sqlite3_exec(out->handle, "BEGIN; SELECT 1 FROM main.sqlite_schema LIMIT 1", NULL, NULL, NULL));
}

/* ---- one side ---- */

static int note_page(void *context, char kind, uint64_t page)
{
    (void)kind;
    return bough__pages_add(context, page) ? BOUGH_OK : BOUGH_NOMEM;
}

static int find_sizes(struct cli *cli, struct review_side *side)
{
    bough_branches branches = {NULL, 0};
    int rc = BOUGH_OK;

    if (side->is_branch)
        rc = cli_check(cli, bough_branch_get(&branches, cli->store, side->ref));
    if (rc == BOUGH_OK && side->is_branch) {
        side->own_bytes = branches.items[0].own_bytes;
        side->size_bytes = branches.items[0].size_bytes;
    }
    bough_branches_release(&branches);
    return rc;
}

static int compare_databases(struct review *review, struct cli *cli, struct review_side *side, struct database *base,
                             struct database *database, const struct bough__pages *pages)
{
    static const struct bough__check_limits few = BOUGH__CHECK_LIMITS_DEFAULT;
    static const struct bough__check_limits all = BOUGH__CHECK_LIMITS_NONE;
    sqlite3 *failed = NULL;
    int code = bough__outcome_compare(&side->outcome, &failed, base->handle, database->handle, pages, NULL);

    if (code == SQLITE_OK)
        code = bough__checks_run(&side->checks, &failed, base->handle, database->handle, &side->outcome,
                                 review->check_all ? &all : &few);
    review_watch(database);
    return fail(cli, !failed ? NULL : failed == base->handle ? base : database, code);
}

int review_compare_side(struct review *review, struct cli *cli, struct review_side *side, struct database *base)
{
    struct database database = {NULL, NULL, false};
    struct bough__pages pages = {NULL, 0};
    int rc = review_open_database(cli, &database, side->ref);

    side->is_branch = database.is_branch;
    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_diff_connections(&side->pages, base->handle, database.handle, note_page, &pages));
    if (rc == BOUGH_OK)
        rc = compare_databases(review, cli, side, base, &database, &pages);
    if (rc == BOUGH_OK)
        rc = find_sizes(cli, side);
    if (rc == BOUGH_OK && out_interrupted_by())
        rc = cli_fail(cli, BOUGH_INTERRUPTED, "interrupted");
    bough__pages_release(&pages);
    database_close(&database);
    return rc;
}

/* ---- queries ---- */

static int split_queries(struct review *review, const char *text)
{
    const char *p = statements_next(text);

    while (*p) {
        const char *end = statements_end(p);
        struct review_query *query = NULL;

        review->queries = out_grow(review->queries, (review->query_count + 1) * sizeof review->queries[0]);
        query = &review->queries[review->query_count++];
        *query = (struct review_query){statements_copy(p, end), statements_line(text, p), {.seconds = -1}};
        p = statements_next(end);
    }
    if (!review->query_count)
        return cli_fail(review->cli, BOUGH_USAGE, "%s has no query", review->query_file);
    return BOUGH_OK;
}

/* A table that the query needs may not be there yet; what is no SQL never will be. */
static bool never_parses(const char *message)
{
    return strstr(message, "syntax error") || strstr(message, "incomplete input") ||
           strstr(message, "unrecognized token");
}

static int check_query(struct review *review, struct database *base, const struct review_query *query)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(base->handle, query->sql, -1, &statement, NULL);
    int rc = BOUGH_OK;

    if (code == SQLITE_ERROR && never_parses(sqlite3_errmsg(base->handle)))
        rc = cli_fail(review->cli, BOUGH_SQL, "%s:%zu: %s", review->query_file, query->line,
                      sqlite3_errmsg(base->handle));
    else if (code != SQLITE_OK && code != SQLITE_ERROR)
        rc = fail(review->cli, base, code);
    else if (statement && !sqlite3_stmt_readonly(statement))
        rc = cli_fail(review->cli, BOUGH_USAGE, "%s:%zu: this statement writes; --query takes those that read",
                      review->query_file, query->line);
    sqlite3_finalize(statement);
    return rc;
}

int review_read_queries(struct review *review, const char *path)
{
    struct database base = {NULL, NULL, false};
    char *text = NULL;
    int rc = BOUGH_OK;

    review->query_file = path;
    rc = statements_read_file(review->cli, &text, path);
    if (rc == BOUGH_OK)
        rc = split_queries(review, text);
    if (rc == BOUGH_OK)
        rc = review_open_database(review->cli, &base, review->base_ref);
    for (size_t i = 0; rc == BOUGH_OK && i < review->query_count; i++)
        rc = check_query(review, &base, &review->queries[i]);
    database_close(&base);
    free(text);
    return rc;
}

static int run_query(struct cli *cli, struct bough__query_run *out, struct database *database, const char *sql)
{
    bool reads = true;
    int rc = fail(cli, database, bough__query_run(out, &reads, database->handle, sql));

    if (rc == BOUGH_OK && !reads)
        out->error = out_copy("it would write");
    return rc;
}

static int run_side(struct review *review, struct review_side *side)
{
    struct database database = {NULL, NULL, false};
    int rc = review_open_database(review->cli, &database, side->ref);

    side->queries = out_alloc(review->query_count * sizeof side->queries[0]);
    side->worse = out_alloc(review->query_count * sizeof side->worse[0]);
    for (size_t i = 0; rc == BOUGH_OK && i < review->query_count; i++) {
        const struct review_query *query = &review->queries[i];

        rc = run_query(review->cli, &side->queries[i], &database, query->sql);
        if (rc == BOUGH_OK && query->base.plan && side->queries[i].plan)
            side->worse[i] = bough__plan_worse(query->base.plan, side->queries[i].plan);
        else
            side->worse[i] = out_copy("");
        if (rc == BOUGH_OK && !side->worse[i])
            rc = cli_fail(review->cli, BOUGH_NOMEM, "out of memory");
    }
    database_close(&database);
    return rc;
}

static int find_base_bytes(struct review *review, struct database *base)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(
        base->handle, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", -1, &statement, NULL);

    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        review->base_bytes = (uint64_t)sqlite3_column_int64(statement, 0);
        code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return fail(review->cli, base, code);
}

int review_run_queries(struct review *review)
{
    struct database base = {NULL, NULL, false};
    int rc = review_open_database(review->cli, &base, review->base_ref);

    if (rc == BOUGH_OK)
        rc = find_base_bytes(review, &base);
    for (size_t i = 0; rc == BOUGH_OK && i < review->query_count; i++)
        rc = run_query(review->cli, &review->queries[i].base, &base, review->queries[i].sql);
    database_close(&base);
    for (size_t i = 0; rc == BOUGH_OK && review->query_count && i < review->count; i++)
        rc = run_side(review, &review->sides[i]);
    return rc;
}

/* ---- output ---- */

/* What is no regular file (a terminal, a pipe) is written as it is. */
int review_open_html(struct review *review, const char *path)
{
    struct stat status = {0};
    bool exists = stat(path, &status) == 0;
    bool replaces = !exists || S_ISREG(status.st_mode);
    mode_t mask = umask(0);
    int fd = -1;

    umask(mask);
    review->html_path = replaces && exists ? realpath(path, NULL) : NULL;
    review->html_path = review->html_path ? review->html_path : out_copy(path);
    review->html_temporary = replaces ? out_format("%s.XXXXXX", review->html_path) : NULL;
    fd = replaces ? mkostemp(review->html_temporary, O_CLOEXEC) : open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        free(review->html_temporary);
        review->html_temporary = NULL;
        return cli_fail(review->cli, errno == ENOENT ? BOUGH_NOT_FOUND : BOUGH_IO, "cannot write %s: %s", path,
                        strerror(errno));
    }
    if (replaces)
        fchmod(fd, exists ? status.st_mode & 0777 : 0666 & ~mask);
    review->html = fdopen(fd, "w");
    if (!review->html)
        close(fd);
    return review->html ? BOUGH_OK : cli_fail(review->cli, BOUGH_NOMEM, "out of memory");
}

static int close_html(struct review *review)
{
    bool good = true;

    review_write_html(review, review->html);
    good = fflush(review->html) == 0 && !ferror(review->html);
    good = fclose(review->html) == 0 && good;
    review->html = NULL;
    if (good && review->html_temporary)
        good = rename(review->html_temporary, review->html_path) == 0;
    if (!good)
        return cli_fail(review->cli, BOUGH_IO, "cannot write %s: %s", review->html_path, strerror(errno));
    free(review->html_temporary);
    review->html_temporary = NULL;
    return BOUGH_OK;
}

int review_print(struct review *review)
{
    int rc = review->html ? close_html(review) : BOUGH_OK;

    if (rc != BOUGH_OK)
        return rc;
    if (review->cli->json)
        review_write_json(review, stdout);
    else if (!review->cli->quiet)
        review_write_text(review, stdout);
    for (size_t i = 0; review->cli->quiet && !review->cli->json && i < review->count; i++)
        printf("%s\n", review->sides[i].name);
    return BOUGH_OK;
}

static void release_side(struct review *review, struct review_side *side)
{
    for (size_t i = 0; i < side->statement_count; i++)
        free(side->statements[i].sql);
    for (size_t i = 0; i < review->query_count; i++) {
        if (side->queries)
            bough__query_run_release(&side->queries[i]);
        if (side->worse)
            free(side->worse[i]);
    }
    bough__outcome_release(&side->outcome);
    bough__checks_release(&side->checks);
    free(side->statements);
    free(side->queries);
    free(side->worse);
    free(side->error);
}

void review_release(struct review *review)
{
    for (size_t i = 0; i < review->count; i++)
        release_side(review, &review->sides[i]);
    for (size_t i = 0; i < review->query_count; i++) {
        free(review->queries[i].sql);
        bough__query_run_release(&review->queries[i].base);
    }
    if (review->html)
        fclose(review->html);
    if (review->html_temporary)
        unlink(review->html_temporary);
    free(review->html_temporary);
    free(review->html_path);
    free(review->queries);
    free(review->sides);
}
