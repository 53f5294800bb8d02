/* review_html.c - a review as one page for a browser: no script, nothing from elsewhere. This file has the head, the
 * tree, the table and the bars; review_html_details.c what is told for each branch and query. */
#include "page.h"
#include "review.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- words ---- */

enum verdict { GOOD, SUSPECT, FAILED };

static bool has_lost(const struct review_side *side)
{
    for (size_t i = 0; i < side->outcome.schema.count; i++) {
        if (review_is_lost(side, &side->outcome.schema.items[i]))
            return true;
    }
    return side->checks.broken.count > 0;
}

static bool has_worse(const struct review *review, const struct review_side *side)
{
    for (size_t i = 0; i < review->query_count; i++) {
        if (side->worse[i][0] || (side->queries[i].error && !review->queries[i].base.error))
            return true;
    }
    return false;
}

static bool is_damaged(const struct review_side *side)
{
    return side->checks.integrity && strcmp(side->checks.integrity, "ok") != 0;
}

static enum verdict verdict_of(const struct review *review, const struct review_side *side)
{
    if (!side->ok || is_damaged(side))
        return FAILED;
    return side->checks.violations || side->checks.violations_error || has_lost(side) || has_worse(review, side)
               ? SUSPECT
               : GOOD;
}

static void put_chip(FILE *file, const char *kind, size_t count, const char *what)
{
    char number[OUT_TEXT_SIZE] = "";

    if (count)
        page_put(file, "<li class=\"chip %s\">%s %s</li>", kind, review_count(number, count), what);
}

static void put_head(FILE *file, const struct review *review)
{
    char when[OUT_TEXT_SIZE] = "";
    size_t counts[3] = {0, 0, 0};

    for (size_t i = 0; i < review->count; i++)
        counts[verdict_of(review, &review->sides[i])]++;
    page_put(file,
             "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<meta name=\"color-scheme\" content=\"light dark\">\n<title>bough %s: %s</title>\n",
             review->command, review->base);
    fprintf(file, "<link rel=\"icon\" href=\"data:,\">\n<style>\n%s</style>\n</head>\n<body>\n<main>\n", page_style);
    page_put(file, "<p class=\"kicker\">bough %s</p>\n<h1>", review->command);
    fprintf(file, "%zu %s", review->count, review->sides[0].script ? "script" : "branch");
    page_put(file, "%s against %s</h1>\n",
             review->count == 1        ? ""
             : review->sides[0].script ? "s"
                                       : "es",
             review->base);
    page_put(file, "<p class=\"soft\">%s, %s</p>\n<ul class=\"chips\">", bough_store_path(review->cli->store),
             out_time(when, (int64_t)time(NULL) * 1000));
    put_chip(file, "good", counts[GOOD], "without a finding");
    put_chip(file, "warn", counts[SUSPECT], "to look at");
    put_chip(file, "bad", counts[FAILED], "failed");
    fputs("</ul>\n", file);
}

/* ---- the tree ---- */

static void put_reason(FILE *file, bool holds, const char *kind, const char *what)
{
    if (holds)
        page_put(file, "<span class=\"chip %s\">%s</span>", kind, what);
}

static void put_node(FILE *file, const struct review *review, const struct review_side *side)
{
    static const char *const kinds[] = {"", "other", "failed"};
    char text[OUT_TEXT_SIZE] = "";
    char size[OUT_TEXT_SIZE] = "";

    page_put(file, "<div class=\"node %s\"><b>%s</b><span class=\"soft\">", kinds[verdict_of(review, side)],
             side->name);
    page_put(file, review_pages(side) == 1 ? "%s page" : "%s pages", review_count(text, review_pages(side)));
    if (side->is_branch)
        page_put(file, ", %s of its own", out_size(size, side->own_bytes));
    if (side->seconds >= 0)
        page_put(file, ", %s", review_seconds(text, side->seconds));
    fputs("</span>", file);
    put_reason(file, !side->ok, "bad", "failed");
    put_reason(file, is_damaged(side), "bad", "damaged");
    put_reason(file, side->checks.violations || side->checks.violations_error, "warn", "foreign keys");
    put_reason(file, has_lost(side), "warn", "lost objects");
    put_reason(file, has_worse(review, side), "warn", "worse plan");
    fputs("</div>\n", file);
}

/* Below the base stand its own children and those whose parent is not among the branches shown. */
static bool is_below(const struct review *review, const struct review_side *side, const char *parent)
{
    bool is_shown = false;

    for (size_t i = 0; i < review->count; i++)
        is_shown =
            is_shown || (side->parent && &review->sides[i] != side && !strcmp(side->parent, review->sides[i].name));
    if (!parent)
        return !is_shown || !strcmp(side->parent, review->base);
    return is_shown && strcmp(side->parent, review->base) != 0 && !strcmp(side->parent, parent);
}

static void put_children(FILE *file, const struct review *review, const char *parent, size_t depth)
{
    bool any = false;

    for (size_t i = 0; i < review->count; i++) {
        if (!is_below(review, &review->sides[i], parent))
            continue;
        fputs(any ? "" : "<ul>\n", file);
        any = true;
        fputs("<li>", file);
        put_node(file, review, &review->sides[i]);
        if (depth < review->count)
            put_children(file, review, review->sides[i].name, depth + 1);
        fputs("</li>\n", file);
    }
    if (any)
        fputs("</ul>\n", file);
}

static void put_tree(FILE *file, const struct review *review)
{
    char size[OUT_TEXT_SIZE] = "";

    page_put(file,
             "<h2>Branches</h2>\n<section class=\"card\"><ul class=\"tree\"><li><div class=\"node base\"><b>%s</b>"
             "<span class=\"soft\">the base, %s</span></div>\n",
             review->base, out_size(size, review->base_bytes));
    put_children(file, review, NULL, 0);
    fputs("</li></ul></section>\n", file);
}

/* ---- side by side ---- */

static void put_group(FILE *file, const struct review *review, const char *title)
{
    fprintf(file, "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"%zu\">", review->count + 1);
    page_put(file, "<span>%s</span></th></tr>\n", title);
}

static void put_cell(FILE *file, const char *kind, const char *text)
{
    page_put(file, "<td class=\"%s\">%s</td>", kind, text);
}

static void put_counts(FILE *file, const struct bough__table_outcome *table)
{
    static const char *const words[] = {"new ", "dropped ", "", "renamed "};
    const struct bough__row_counts *counts = &table->counts;
    char number[OUT_TEXT_SIZE] = "";

    page_put(file, "<td>%s", words[table->change]);
    if (!table->is_counted)
        fputs("rows not known", file);
    else if (!counts->added && !counts->removed && !counts->changed && table->change == BOUGH_CHANGED)
        fputs(table->new_columns.count > 1 ? "columns renamed"
              : table->new_columns.count   ? "column renamed"
                                           : "schema only",
              file);
    if (counts->added)
        page_put(file, "<span class=\"plus\">+%s</span> ", review_count(number, counts->added));
    if (counts->removed)
        page_put(file, "<span class=\"minus\">\xE2\x88\x92%s</span> ", review_count(number, counts->removed));
    if (counts->changed)
        page_put(file, "<span class=\"tilde\">~%s</span>", review_count(number, counts->changed));
    fputs("</td>", file);
}

static void put_table_rows(FILE *file, const struct review *review)
{
    struct review_names names = review_table_names(review);

    if (names.count)
        put_group(file, review, "Tables");
    for (size_t n = 0; n < names.count; n++) {
        page_put(file, "<tr><th scope=\"row\">%s</th>", names.items[n]);
        for (size_t i = 0; i < review->count; i++) {
            const struct bough__table_outcome *table = review_find_table(&review->sides[i], names.items[n]);

            if (table)
                put_counts(file, table);
            else
                put_cell(file, "none", "\xE2\x80\x93");
        }
        fputs("</tr>\n", file);
    }
    review_names_release(&names);
}

static void put_object_rows(FILE *file, const struct review *review)
{
    struct review_names names = review_object_names(review);

    if (names.count)
        put_group(file, review, "Indexes, views, triggers");
    for (size_t n = 0; n < names.count; n++) {
        page_put(file, "<tr><th scope=\"row\">%s</th>", names.items[n]);
        for (size_t i = 0; i < review->count; i++) {
            enum review_fate fate = review_fate(&review->sides[i], names.items[n]);

            put_cell(file,
                     fate == REVIEW_LOST || fate == REVIEW_BROKEN ? "bad"
                     : fate == REVIEW_SAME                        ? "none"
                                                                  : "",
                     fate == REVIEW_SAME ? "\xE2\x80\x93" : review_fate_word(fate));
        }
        fputs("</tr>\n", file);
    }
    review_names_release(&names);
}

static void put_no_difference(FILE *file, const struct review *review)
{
    for (size_t i = 0; i < review->count; i++) {
        if (review->sides[i].outcome.table_count || review->sides[i].outcome.schema.count ||
            review->sides[i].checks.broken.count)
            return;
    }
    put_group(file, review, "Tables, indexes, views, triggers");
    fputs("<tr><th scope=\"row\">all of them</th>", file);
    for (size_t i = 0; i < review->count; i++)
        put_cell(file, "none", "no difference");
    fputs("</tr>\n", file);
}

static void put_check_rows(FILE *file, const struct review *review)
{
    char text[OUT_TEXT_SIZE] = "";

    put_group(file, review, "Checks");
    fputs("<tr><th scope=\"row\">integrity</th>", file);
    for (size_t i = 0; i < review->count; i++) {
        const struct review_side *side = &review->sides[i];

        put_cell(file,
                 !side->checks.integrity ? "none"
                 : is_damaged(side)      ? "bad"
                                         : "good",
                 side->checks.integrity ? side->checks.integrity : "not checked");
    }
    fputs("</tr>\n<tr><th scope=\"row\">foreign keys</th>", file);
    for (size_t i = 0; i < review->count; i++) {
        const struct bough__checks *checks = &review->sides[i].checks;
        char *word = checks->violations_error    ? out_copy(checks->violations_error)
                     : !checks->violations_known ? out_copy("not checked")
                     : checks->violations        ? out_format("%s violated", review_count(text, checks->violations))
                                                 : out_copy("ok");

        put_cell(file,
                 checks->violations_error || checks->violations ? "bad"
                 : checks->violations_known                     ? "good"
                                                                : "none",
                 word);
        free(word);
    }
    fputs("</tr>\n", file);
}

static void put_table(FILE *file, const struct review *review)
{
    char text[OUT_TEXT_SIZE] = "";

    fputs("<h2>Side by side</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Side by side\">"
          "<table><thead><tr><td></td>",
          file);
    for (size_t i = 0; i < review->count; i++)
        page_put(file, "<th scope=\"col\">%s</th>", review->sides[i].name);
    fputs("</tr></thead><tbody>\n", file);
    if (review->sides[0].script) {
        fputs("<tr><th scope=\"row\">script</th>", file);
        for (size_t i = 0; i < review->count; i++)
            put_cell(file, review->sides[i].ok ? "good" : "bad", review->sides[i].ok ? "ok" : "failed");
        fputs("</tr>\n", file);
    }
    fputs("<tr><th scope=\"row\">pages changed</th>", file);
    for (size_t i = 0; i < review->count; i++)
        put_cell(file, "", review_count(text, review_pages(&review->sides[i])));
    fputs("</tr>\n", file);
    put_check_rows(file, review);
    put_table_rows(file, review);
    put_object_rows(file, review);
    put_no_difference(file, review);
    fputs("</tbody></table></div>\n", file);
}

/* ---- bars ---- */

#define LONG_NAME 20

void review_open_html_bars(FILE *file, const struct review *review)
{
    size_t longest = strlen(review->base);

    for (size_t i = 0; i < review->count; i++)
        longest = strlen(review->sides[i].name) > longest ? strlen(review->sides[i].name) : longest;
    page_put(file, "<div class=\"bars%s\">\n", longest > LONG_NAME ? " long" : "");
}

static const char *bar_kind(const struct review_side *side)
{
    return side->ok ? "" : "bad";
}

static void put_time_bars(FILE *file, const struct review *review)
{
    double longest = 0;
    char text[OUT_TEXT_SIZE] = "";

    for (size_t i = 0; i < review->count; i++)
        longest = review->sides[i].seconds > longest ? review->sides[i].seconds : longest;
    if (!review->sides[0].script)
        return;
    fputs("<section class=\"card\"><h3>Time of the script</h3>\n", file);
    review_open_html_bars(file, review);
    for (size_t i = 0; i < review->count; i++)
        page_bar(file, review->sides[i].name, longest > 0 ? review->sides[i].seconds / longest : 0,
                 bar_kind(&review->sides[i]), review_seconds(text, review->sides[i].seconds));
    fputs("</div></section>\n", file);
}

static void put_size_bars(FILE *file, const struct review *review)
{
    uint64_t largest = 1;
    char text[OUT_TEXT_SIZE] = "";

    for (size_t i = 0; i < review->count; i++)
        largest = review->sides[i].own_bytes > largest ? review->sides[i].own_bytes : largest;
    fputs("<section class=\"card\"><h3>Bytes of its own</h3>\n", file);
    review_open_html_bars(file, review);
    for (size_t i = 0; i < review->count; i++)
        page_bar(file, review->sides[i].name, (double)review->sides[i].own_bytes / (double)largest,
                 bar_kind(&review->sides[i]),
                 review->sides[i].is_branch ? out_size(text, review->sides[i].own_bytes) : "-");
    fputs("</div></section>\n", file);
}

void review_write_html(struct review *review, FILE *file)
{
    put_head(file, review);
    put_tree(file, review);
    put_table(file, review);
    fputs("<h2>Time and size</h2>\n<div class=\"pair\">", file);
    put_time_bars(file, review);
    put_size_bars(file, review);
    fputs("</div>\n", file);
    review_write_html_details(review, file);
    page_put(file, "<footer>Written by bough %s. ", bough_version());
    fputs(
        "Rows: + added, \xE2\x88\x92 removed, ~ changed. Lost: gone although its table is still there. Broken: SQLite "
        "cannot compile it any more.</footer>\n</main>\n</body>\n</html>\n",
        file);
}
