/* review_html_details.c - the page of --html: scripts, schemas and queries in full. */
#include "page.h"
#include "review.h"
#include "sql_lines.h"

#include <stdlib.h>
#include <string.h>

#define STATEMENTS_MAX 200 /* of one script, the first */

/* ---- scripts ---- */

static void put_statements(FILE *file, const struct review_side *side)
{
    char text[OUT_TEXT_SIZE] = "";
    size_t shown = side->statement_count < STATEMENTS_MAX ? side->statement_count : STATEMENTS_MAX;
    double longest = 0;

    for (size_t i = 0; i < shown; i++)
        longest = side->statements[i].seconds > longest ? side->statements[i].seconds : longest;
    fputs("<div class=\"steps\">\n", file);
    for (size_t i = 0; i < shown; i++) {
        char *fit = out_format("%.400s%s", side->statements[i].sql, strlen(side->statements[i].sql) > 400 ? "…" : "");

        page_put(file, "<span class=\"time\">%s</span>", review_seconds(text, side->statements[i].seconds));
        page_track(file, longest > 0 ? side->statements[i].seconds / longest : 0, "");
        page_put(file, "<code>%s</code>\n", fit);
        free(fit);
    }
    fputs("</div>\n", file);
    if (shown < side->statement_count)
        page_put(file, "<p class=\"soft\">and %s more</p>\n", review_count(text, side->statement_count - shown));
}

static void put_scripts(FILE *file, const struct review *review)
{
    char text[OUT_TEXT_SIZE] = "";

    if (!review->sides[0].script)
        return;
    fputs("<h2>Scripts</h2>\n", file);
    for (size_t i = 0; i < review->count; i++) {
        const struct review_side *side = &review->sides[i];

        page_put(file, "<section class=\"card\"><details open><summary>%s <span class=\"soft\">%s</span></summary>\n",
                 side->script, review_seconds(text, side->seconds));
        if (side->error)
            page_put(file, "<pre class=\"error\">%s</pre>\n", side->error);
        if (side->statement_count)
            put_statements(file, side);
        else
            fputs("<p class=\"soft\">no statements</p>\n", file);
        fputs("</details></section>\n", file);
    }
}

/* ---- schemas ---- */

static void put_line(void *context, char sign, const char *line)
{
    page_put(context,
             sign == '+'   ? "<span class=\"add\">+ %s</span>"
             : sign == '-' ? "<span class=\"del\">\xE2\x88\x92 %s</span>"
                           : "<span>\xC2\xA0 %s</span>",
             line);
}

static void put_columns(FILE *file, const struct bough__table_outcome *table)
{
    for (size_t i = 0; table && i < table->new_columns.count; i++)
        page_put(file, "<p>The column <code>%s</code> is now <code>%s</code>.</p>\n", table->old_columns.items[i],
                 table->new_columns.items[i]);
}

static void put_change(FILE *file, const struct review_side *side, const struct bough__schema_change *change)
{
    struct sql_lines from = sql_lines_of(change->from_sql);
    struct sql_lines to = sql_lines_of(change->to_sql);
    char *label = out_format("%s %s", change->type, change->name);
    enum review_fate fate = review_fate(side, label);

    page_put(file, "<details open><summary>%s <span class=\"chip %s\">%s</span></summary>\n", label,
             fate == REVIEW_LOST || fate == REVIEW_BROKEN ? "bad" : "", review_fate_word(fate));
    free(label);
    if (!strcmp(change->type, "table"))
        put_columns(file, review_find_table(side, change->name));
    fputs("<pre class=\"diff\">", file);
    sql_lines_diff(&from, &to, put_line, file);
    fputs("</pre></details>\n", file);
    sql_lines_release(&from);
    sql_lines_release(&to);
}

static void put_schemas(FILE *file, const struct review *review)
{
    bool any = false;

    for (size_t i = 0; i < review->count; i++) {
        const struct review_side *side = &review->sides[i];
        const struct bough__names *broken = &side->checks.broken;

        if (!side->outcome.schema.count && !broken->count)
            continue;
        fputs(any ? "" : "<h2>Schema</h2>\n", file);
        any = true;
        page_put(file, "<section class=\"card\"><h3 class=\"owner\">%s</h3>\n", side->name);
        for (size_t k = 0; k < side->outcome.schema.count; k++)
            put_change(file, side, &side->outcome.schema.items[k]);
        for (size_t k = 0; k < broken->count; k++)
            page_put(file, "<pre class=\"error\">%s does not compile any more</pre>\n", broken->items[k]);
        fputs("</section>\n", file);
    }
}

/* ---- queries ---- */

static void put_plan(FILE *file, const char *name, const struct bough__query_run *run, const char *worse)
{
    page_put(file, "<div><b>%s</b> ", name);
    if (worse[0])
        fputs("<span class=\"chip bad\">worse</span>", file);
    if (run->error)
        page_put(file, "<pre class=\"error\">%s</pre>", run->error);
    else
        page_put(file, "<pre>%s</pre>", run->plan && run->plan[0] ? run->plan : "no plan: no table is read");
    if (worse[0])
        page_put(file, "<pre class=\"error\">%s</pre>", worse);
    fputs("</div>\n", file);
}

static bool is_same_plan(const struct bough__query_run *a, const struct bough__query_run *b)
{
    if (a->error || b->error)
        return a->error && b->error && !strcmp(a->error, b->error);
    return a->plan && b->plan && !strcmp(a->plan, b->plan);
}

static void put_times(FILE *file, const struct review *review, size_t q)
{
    const struct bough__query_run *base = &review->queries[q].base;
    double longest = base->seconds;
    char text[OUT_TEXT_SIZE] = "";

    for (size_t i = 0; i < review->count; i++)
        longest = review->sides[i].queries[q].seconds > longest ? review->sides[i].queries[q].seconds : longest;
    review_open_html_bars(file, review);
    page_bar(file, review->base, longest > 0 ? base->seconds / longest : 0, "base",
             base->error ? "fails" : review_seconds(text, base->seconds));
    for (size_t i = 0; i < review->count; i++) {
        const struct bough__query_run *run = &review->sides[i].queries[q];

        page_bar(file, review->sides[i].name, longest > 0 ? run->seconds / longest : 0,
                 review->sides[i].worse[q][0] ? "bad" : "", run->error ? "fails" : review_seconds(text, run->seconds));
    }
    fputs("</div>\n", file);
}

static void put_queries(FILE *file, const struct review *review)
{
    char number[OUT_TEXT_SIZE] = "";

    if (review->query_count)
        fputs("<h2>Queries</h2>\n", file);
    for (size_t q = 0; q < review->query_count; q++) {
        const struct review_query *query = &review->queries[q];

        page_put(file, "<section class=\"card\"><h3>Query %s</h3><pre>%s</pre>\n", review_count(number, q + 1),
                 query->sql);
        put_times(file, review, q);
        fputs("<div class=\"plans\">\n", file);
        put_plan(file, review->base, &query->base, "");
        for (size_t i = 0; i < review->count; i++) {
            if (!is_same_plan(&query->base, &review->sides[i].queries[q]))
                put_plan(file, review->sides[i].name, &review->sides[i].queries[q], review->sides[i].worse[q]);
        }
        fputs("</div>\n<p class=\"soft\">Branches that are not shown have the plan of the base.</p></section>\n", file);
    }
}

void review_write_html_details(struct review *review, FILE *file)
{
    put_scripts(file, review);
    put_schemas(file, review);
    put_queries(file, review);
}
