/* review_text.c - a review for the terminal: branches side by side, and below that what needs words. */
#include "grid.h"
#include "review.h"
#include "statements.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH          100
#define STATEMENTS_MAX 8 /* of one script, the slowest */

/* ---- side by side ---- */

static void add_measures(struct grid *grid, const struct review *review)
{
    char text[OUT_TEXT_SIZE] = "";

    grid_row(grid, "");
    for (size_t i = 0; i < review->count; i++)
        grid_set(grid, i, review->sides[i].name);
    grid_row(grid, "script");
    for (size_t i = 0; i < review->count; i++) {
        if (review->sides[i].script)
            grid_set(grid, i, review->sides[i].ok ? "ok" : "FAILED");
    }
    grid_row(grid, "time");
    for (size_t i = 0; i < review->count; i++)
        grid_set(grid, i, review_seconds(text, review->sides[i].seconds));
    grid_row(grid, "pages changed");
    for (size_t i = 0; i < review->count; i++)
        grid_set(grid, i, review_count(text, review_pages(&review->sides[i])));
    grid_row(grid, "own bytes");
    for (size_t i = 0; i < review->count; i++) {
        if (review->sides[i].is_branch)
            grid_set(grid, i, out_size(text, review->sides[i].own_bytes));
    }
}

static void add_checks(struct grid *grid, const struct review *review)
{
    grid_row(grid, "integrity");
    for (size_t i = 0; i < review->count; i++) {
        const char *integrity = review->sides[i].checks.integrity;

        grid_set(grid, i, !integrity ? "not checked" : strcmp(integrity, "ok") != 0 ? "DAMAGED" : "ok");
    }
    grid_row(grid, "foreign keys");
    for (size_t i = 0; i < review->count; i++) {
        const struct bough__checks *checks = &review->sides[i].checks;
        char number[OUT_TEXT_SIZE] = "";
        char text[OUT_TEXT_SIZE + 16] = "not checked";

        if (checks->violations_known && checks->violations)
            snprintf(text, sizeof text, "%s VIOLATED", review_count(number, checks->violations));
        else if (checks->violations_known)
            snprintf(text, sizeof text, "ok");
        else if (checks->violations_error)
            snprintf(text, sizeof text, "MISMATCH");
        grid_set(grid, i, text);
    }
}

static void add_tables(struct grid *grid, const struct review *review)
{
    struct review_names names = review_table_names(review);
    char text[REVIEW_TEXT_SIZE] = "";

    grid_heading(grid, "tables");
    for (size_t n = 0; n < names.count; n++) {
        grid_row(grid, names.items[n]);
        for (size_t i = 0; i < review->count; i++) {
            const struct bough__table_outcome *table = review_find_table(&review->sides[i], names.items[n]);

            if (table)
                grid_set(grid, i, review_table(text, table));
        }
    }
    review_names_release(&names);
}

static void add_objects(struct grid *grid, const struct review *review)
{
    struct review_names names = review_object_names(review);

    grid_heading(grid, "indexes, views, triggers");
    for (size_t n = 0; n < names.count; n++) {
        grid_row(grid, names.items[n]);
        for (size_t i = 0; i < review->count; i++) {
            enum review_fate fate = review_fate(&review->sides[i], names.items[n]);

            grid_set(grid, i, fate == REVIEW_LOST ? "LOST" : fate == REVIEW_BROKEN ? "BROKEN" : review_fate_word(fate));
        }
    }
    review_names_release(&names);
}

static void add_queries(struct grid *grid, const struct review *review)
{
    char *heading = out_format("queries, and their time on %s", review->base);
    char text[OUT_TEXT_SIZE] = "";

    if (review->query_count)
        grid_heading(grid, heading);
    free(heading);
    for (size_t q = 0; q < review->query_count; q++) {
        const struct review_query *query = &review->queries[q];
        char *label =
            out_format("%zu (%s)", q + 1, query->base.error ? "fails" : review_seconds(text, query->base.seconds));

        grid_row(grid, label);
        free(label);
        for (size_t i = 0; i < review->count; i++) {
            const struct bough__query_run *run = &review->sides[i].queries[q];
            char *cell = out_format("%s%s", run->error ? "FAILS" : review_seconds(text, run->seconds),
                                    review->sides[i].worse[q][0] ? " WORSE" : "");

            grid_set(grid, i, cell);
            free(cell);
        }
    }
}

/* ---- in words ---- */

static void print_fit(FILE *file, const char *text, size_t width)
{
    char *line = statements_one_line(text);
    char *fit = grid_fit(line, width);

    out_line(file, fit);
    putc('\n', file);
    free(fit);
    free(line);
}

static void print_lines(FILE *file, const char *indent, const char *lines)
{
    while (lines) {
        const char *end = strchr(lines, '\n');

        fputs(indent, file);
        out_line(file, lines);
        putc('\n', file);
        lines = end ? end + 1 : NULL;
    }
}

static int by_time(const void *a, const void *b)
{
    double x = ((const struct review_statement *)a)->seconds;
    double y = ((const struct review_statement *)b)->seconds;

    return (x < y) - (x > y);
}

static int by_line(const void *a, const void *b)
{
    size_t x = ((const struct review_statement *)a)->line;
    size_t y = ((const struct review_statement *)b)->line;

    return (x > y) - (x < y);
}

static void print_statements(FILE *file, const struct review_side *side)
{
    size_t count = side->statement_count;
    size_t shown = count <= STATEMENTS_MAX + 1 ? count : STATEMENTS_MAX;
    struct review_statement *order = out_alloc(count * sizeof order[0]);
    char text[OUT_TEXT_SIZE] = "";
    double others = 0;

    memcpy(order, side->statements, count * sizeof order[0]);
    if (shown < count)
        qsort(order, count, sizeof order[0], by_time);
    for (size_t i = shown; i < count; i++)
        others += order[i].seconds;
    qsort(order, shown, sizeof order[0], by_line);
    for (size_t i = 0; i < shown; i++) {
        fprintf(file, "%10s  %4zu  ", review_seconds(text, order[i].seconds), order[i].line);
        print_fit(file, order[i].sql, WIDTH - 18);
    }
    if (shown < count)
        fprintf(file, "%10s        %zu quicker statements together\n", review_seconds(text, others), count - shown);
    free(order);
}

static void print_scripts(FILE *file, const struct review *review)
{
    for (size_t i = 0; i < review->count; i++) {
        const struct review_side *side = &review->sides[i];

        if (!side->script)
            continue;
        putc('\n', file);
        print_fit(file, side->script, WIDTH);
        print_statements(file, side);
        if (side->error)
            fputs("    FAILED  ", file);
        if (side->error)
            print_lines(file, "", side->error);
        if (!side->error && !side->statement_count)
            fputs("            no statements\n", file);
    }
}

static void print_faults(FILE *file, const struct review_side *side)
{
    const struct bough__checks *checks = &side->checks;

    if (checks->integrity && strcmp(checks->integrity, "ok") != 0) {
        fprintf(file, "\nintegrity of %s: ", side->name);
        print_lines(file, "", checks->integrity);
    }
    if (checks->violations_error) {
        fprintf(file, "\nforeign keys of %s: ", side->name);
        print_lines(file, "", checks->violations_error);
    }
}

static void print_query_side(FILE *file, const struct review *review, const struct review_side *side, size_t q)
{
    const struct bough__query_run *run = &side->queries[q];

    if (run->error && review->queries[q].base.error && !strcmp(run->error, review->queries[q].base.error))
        return;
    if (run->error) {
        fprintf(file, "      %s fails: ", side->name);
        print_lines(file, "", run->error);
    }
    if (!side->worse[q][0])
        return;
    fprintf(file, "      %s has a worse plan:\n", side->name);
    print_lines(file, "        ", side->worse[q]);
    fputs("      was\n", file);
    print_lines(file, "        ", review->queries[q].base.plan);
    fputs("      is\n", file);
    print_lines(file, "        ", run->plan);
}

static void print_queries(FILE *file, const struct review *review)
{
    if (review->query_count) {
        putc('\n', file);
        print_fit(file, review->query_file, WIDTH);
    }
    for (size_t q = 0; q < review->query_count; q++) {
        fprintf(file, "  %2zu  ", q + 1);
        print_fit(file, review->queries[q].sql, WIDTH - 6);
        if (review->queries[q].base.error) {
            fprintf(file, "      %s fails: ", review->base);
            print_lines(file, "", review->queries[q].base.error);
        }
        for (size_t i = 0; i < review->count; i++)
            print_query_side(file, review, &review->sides[i], q);
    }
}

void review_write_text(struct review *review, FILE *file)
{
    struct grid grid = {.columns = review->count};
    bool unchecked = false;

    fprintf(file, "%s against %s\n\n", review->command, review->base);
    add_measures(&grid, review);
    add_checks(&grid, review);
    add_tables(&grid, review);
    add_objects(&grid, review);
    add_queries(&grid, review);
    grid_print(file, &grid, WIDTH);
    grid_release(&grid);
    for (size_t i = 0; i < review->count; i++) {
        print_faults(file, &review->sides[i]);
        unchecked = unchecked || !review->sides[i].checks.integrity ||
                    (!review->sides[i].checks.violations_known && !review->sides[i].checks.violations_error);
    }
    print_scripts(file, review);
    print_queries(file, review);
    if (unchecked)
        fputs("\nnot checked: too large for a quick look; --check takes the time\n", file);
}
