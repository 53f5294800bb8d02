/* queries.c - times and plans of a query: see queries.h. */
#include "queries.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A slow query is run once more than needed to warm it, a quick one as often as gives a steady median. */
#define RUNS_MAX       9
#define ENOUGH_SECONDS 0.2

/* ---- plans ---- */

#define DEPTH_MAX 64

/* How deep the node stands below those read before it; its own id goes onto the stack. */
static int depth_of(int *stack, int *inout_depth, int id, int parent)
{
    while (*inout_depth > 0 && stack[*inout_depth - 1] != parent)
        (*inout_depth)--;
    stack[*inout_depth < DEPTH_MAX ? *inout_depth : DEPTH_MAX - 1] = id;
    return *inout_depth < DEPTH_MAX - 1 ? (*inout_depth)++ : DEPTH_MAX - 1;
}

static int read_plan(char **out, sqlite3 *handle, const char *sql)
{
    char *text = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sql);
    sqlite3_stmt *statement = NULL;
    sqlite3_str *plan = sqlite3_str_new(handle);
    int stack[DEPTH_MAX] = {0};
    int depth = 0;
    char *made = NULL;
    int rc = text ? sqlite3_prepare_v2(handle, text, -1, &statement, NULL) : SQLITE_NOMEM;

    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        int indent = 2 * depth_of(stack, &depth, sqlite3_column_int(statement, 0), sqlite3_column_int(statement, 1));

        sqlite3_str_appendf(plan, "%s%*s%s", sqlite3_str_length(plan) ? "\n" : "", indent, "",
                            sqlite3_column_text(statement, 3));
        rc = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    sqlite3_free(text);
    made = sqlite3_str_finish(plan);
    if (rc == SQLITE_DONE) {
        *out = strdup(made ? made : "");
        rc = *out ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_free(made);
    return rc;
}

/* ---- times ---- */

static double now(void)
{
    struct timespec time = {0, 0};

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static int run_once(double *out_seconds, uint64_t *out_rows, sqlite3_stmt *statement)
{
    double begin = now();
    int rc = SQLITE_ROW;

    *out_rows = 0;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW)
        (*out_rows)++;
    *out_seconds = now() - begin;
    return sqlite3_reset(statement) == SQLITE_OK && rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int measure(struct bough__query_run *out, sqlite3_stmt *statement)
{
    double seconds[RUNS_MAX] = {0};
    double total = 0;
    double first = 0;
    int count = 0;
    int rc = run_once(&first, &out->rows, statement);

    while (rc == SQLITE_OK && count < RUNS_MAX && (count == 0 || total < ENOUGH_SECONDS)) {
        rc = run_once(&seconds[count], &out->rows, statement);
        total += seconds[count++];
    }
    if (rc != SQLITE_OK)
        return rc;
    qsort(seconds, (size_t)count, sizeof seconds[0], by_value);
    out->seconds = count % 2 ? seconds[count / 2] : (seconds[count / 2 - 1] + seconds[count / 2]) / 2;
    return SQLITE_OK;
}

static bool is_fatal(int rc)
{
    rc &= 0xFF;
    return rc == SQLITE_NOMEM || rc == SQLITE_CORRUPT || rc == SQLITE_IOERR || rc == SQLITE_INTERRUPT ||
           rc == SQLITE_NOTADB || rc == SQLITE_BUSY || rc == SQLITE_FULL;
}

int bough__query_run(struct bough__query_run *out, bool *out_reads, sqlite3 *handle, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int rc = SQLITE_OK;

    *out = (struct bough__query_run){.seconds = -1};
    *out_reads = true;
    rc = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK && statement && !sqlite3_stmt_readonly(statement))
        *out_reads = false;
    else if (rc == SQLITE_OK && statement)
        rc = read_plan(&out->plan, handle, sql);
    if (rc == SQLITE_OK && out->plan)
        rc = measure(out, statement);
    if (rc != SQLITE_OK && !is_fatal(rc)) {
        bough__query_run_release(out);
        out->error = strdup(sqlite3_errmsg(handle));
        rc = out->error ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_finalize(statement);
    if (rc != SQLITE_OK)
        bough__query_run_release(out);
    return rc;
}

void bough__query_run_release(struct bough__query_run *run)
{
    free(run->error);
    free(run->plan);
    *run = (struct bough__query_run){.seconds = -1};
}

/* ---- plans that got worse ---- */

/* What a plan does with one table, or in one temporary b-tree. */
struct step {
    const char *name; /* the table as the query calls it, or what the b-tree is for */
    size_t length;
    bool is_sort;
    unsigned scans, searches, covering, by_key, automatic; /* of a b-tree: scans alone */
};

struct steps {
    struct step *items;
    size_t count;
};

static struct step *find_step(const struct steps *steps, const struct step *wanted)
{
    for (size_t i = 0; i < steps->count; i++) {
        struct step *step = &steps->items[i];

        if (step->is_sort == wanted->is_sort && step->length == wanted->length &&
            !memcmp(step->name, wanted->name, wanted->length))
            return step;
    }
    return NULL;
}

/* Where `word` begins in the line, or its end. */
static const char *find_word(const char *line, const char *end, const char *word)
{
    const char *found = memmem(line, (size_t)(end - line), word, strlen(word));

    return found ? found : end;
}

/* One line of a plan: "SCAN t", "SEARCH t USING COVERING INDEX i (a=?)", "USE TEMP B-TREE FOR ORDER BY". Everything
 * else (subqueries, unions) is told by the lines below it. */
static bool parse_line(struct step *out, const char *line, const char *end)
{
    static const char sort[] = "USE TEMP B-TREE FOR ";
    bool is_scan = !strncmp(line, "SCAN ", 5);
    bool is_search = !strncmp(line, "SEARCH ", 7);
    const char *name = line + (is_scan ? 5 : 7);
    const char *name_end = NULL;

    memset(out, 0, sizeof *out);
    if (!strncmp(line, sort, sizeof sort - 1)) {
        out->name = line + sizeof sort - 1;
        out->length = (size_t)(end - out->name);
        out->is_sort = true;
        out->scans = 1;
        return true;
    }
    if ((!is_scan && !is_search) || name > end)
        return false;
    name_end = find_word(name, end, " USING ");
    name_end = find_word(name, name_end, " VIRTUAL TABLE");
    name_end = find_word(name, name_end, " LEFT-JOIN");
    out->name = name;
    out->length = (size_t)(name_end - name);
    out->scans = is_scan;
    out->searches = is_search;
    out->covering = find_word(name_end, end, "COVERING INDEX") != end;
    out->by_key = find_word(name_end, end, "PRIMARY KEY") != end;
    out->automatic = find_word(name_end, end, "USING AUTOMATIC") != end;
    return true;
}

static bool parse_plan(struct steps *out, const char *plan)
{
    for (const char *line = plan; *line;) {
        const char *end = line + strcspn(line, "\n");
        struct step step = {0};

        line += strspn(line, " ");
        if (parse_line(&step, line, end)) {
            struct step *same = find_step(out, &step);

            if (!same) {
                struct step *items = bough__grow(out->items, out->count, sizeof items[0]);

                if (!items)
                    return false;
                out->items = items;
                same = &items[out->count++];
                *same = (struct step){.name = step.name, .length = step.length, .is_sort = step.is_sort};
            }
            same->scans += step.scans;
            same->searches += step.searches;
            same->covering += step.covering;
            same->by_key += step.by_key;
            same->automatic += step.automatic;
        }
        line = *end ? end + 1 : end;
    }
    return true;
}

static void tell_worse(sqlite3_str *out, const struct step *before, const struct step *after)
{
    const char *comma = sqlite3_str_length(out) ? "\n" : "";
    int length = (int)after->length;

    if (after->is_sort && after->scans > before->scans)
        sqlite3_str_appendf(out, "%stemporary b-tree for %.*s", comma, length, after->name);
    else if (after->is_sort)
        return;
    else if (after->scans > before->scans && before->searches > after->searches)
        sqlite3_str_appendf(out, "%sscans %.*s, which was searched", comma, length, after->name);
    else if (after->automatic > before->automatic)
        sqlite3_str_appendf(out, "%smakes an index on %.*s for each run", comma, length, after->name);
    else if (before->covering > after->covering + after->by_key &&
             before->scans + before->searches <= after->scans + after->searches)
        sqlite3_str_appendf(out, "%sno covering index for %.*s", comma, length, after->name);
}

char *bough__plan_worse(const char *base_plan, const char *plan)
{
    struct steps before = {NULL, 0};
    struct steps after = {NULL, 0};
    sqlite3_str *reasons = sqlite3_str_new(NULL);
    char *text = NULL;
    char *copy = NULL;

    if (parse_plan(&before, base_plan) && parse_plan(&after, plan)) {
        for (size_t i = 0; i < after.count; i++) {
            const struct step none = {0};
            const struct step *same = find_step(&before, &after.items[i]);

            if (same || after.items[i].is_sort || after.items[i].automatic)
                tell_worse(reasons, same ? same : &none, &after.items[i]);
        }
        text = sqlite3_str_finish(reasons);
        copy = strdup(text ? text : "");
    } else {
        text = sqlite3_str_finish(reasons);
    }
    sqlite3_free(text);
    free(before.items);
    free(after.items);
    return copy;
}
