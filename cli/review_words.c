/* review_words.c - how a review says things, in a terminal as in HTML: see review.h. */
#include "review.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *review_seconds(char buffer[OUT_TEXT_SIZE], double seconds)
{
    if (seconds < 0)
        snprintf(buffer, OUT_TEXT_SIZE, "-");
    else if (seconds < 0.0000995)
        snprintf(buffer, OUT_TEXT_SIZE, "%.0f us", seconds * 1e6);
    else if (seconds < 0.00995)
        snprintf(buffer, OUT_TEXT_SIZE, "%.2f ms", seconds * 1000);
    else if (seconds < 0.09995)
        snprintf(buffer, OUT_TEXT_SIZE, "%.1f ms", seconds * 1000);
    else if (seconds < 0.9995)
        snprintf(buffer, OUT_TEXT_SIZE, "%.0f ms", seconds * 1000);
    else
        snprintf(buffer, OUT_TEXT_SIZE, "%.2f s", seconds);
    return buffer;
}

const char *review_count(char buffer[OUT_TEXT_SIZE], uint64_t count)
{
    char digits[OUT_TEXT_SIZE] = "";
    int length = snprintf(digits, sizeof digits, "%" PRIu64, count);
    char *to = buffer;

    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = 0;
    return buffer;
}

uint64_t review_pages(const struct review_side *side)
{
    return side->pages.changed + side->pages.added + side->pages.removed;
}

static void append_count(char *buffer, char sign, uint64_t count)
{
    size_t length = strlen(buffer);
    char text[OUT_TEXT_SIZE] = "";

    if (count)
        snprintf(buffer + length, REVIEW_TEXT_SIZE - length, "%s%c%s", length ? " " : "", sign,
                 review_count(text, count));
}

const char *review_table(char buffer[REVIEW_TEXT_SIZE], const struct bough__table_outcome *table)
{
    static const char *const words[] = {"new", "dropped", "", "renamed"};

    snprintf(buffer, REVIEW_TEXT_SIZE, "%s", words[table->change]);
    append_count(buffer, '+', table->counts.added);
    append_count(buffer, '-', table->counts.removed);
    append_count(buffer, '~', table->counts.changed);
    if (!buffer[0])
        snprintf(buffer, REVIEW_TEXT_SIZE, "%s", table->has_other_sql ? "schema" : "not known");
    return buffer;
}

const struct bough__table_outcome *review_find_table(const struct review_side *side, const char *name)
{
    for (size_t i = 0; i < side->outcome.table_count; i++) {
        if (!strcmp(side->outcome.tables[i].name, name))
            return &side->outcome.tables[i];
    }
    return NULL;
}

const struct bough__schema_change *review_find_object(const struct review_side *side, const char *type,
                                                      const char *name)
{
    for (size_t i = 0; i < side->outcome.schema.count; i++) {
        const struct bough__schema_change *change = &side->outcome.schema.items[i];

        if (!strcmp(change->type, type) && !strcmp(change->name, name))
            return change;
    }
    return NULL;
}

bool review_is_lost(const struct review_side *side, const struct bough__schema_change *change)
{
    const struct bough__schema_change *table = NULL;

    if (change->change != BOUGH_REMOVED || !strcmp(change->type, "table"))
        return false;
    if (!strcmp(change->type, "view"))
        return true;
    table = review_find_object(side, "table", change->table);
    return !table || table->change != BOUGH_REMOVED;
}

enum review_fate review_fate(const struct review_side *side, const char *label)
{
    static const enum review_fate fates[] = {REVIEW_NEW, REVIEW_DROPPED, REVIEW_CHANGED, REVIEW_RENAMED};
    const char *name = strchr(label, ' ') + 1;
    char *type = out_format("%.*s", (int)(name - 1 - label), label);
    const struct bough__schema_change *change = review_find_object(side, type, name);

    free(type);
    for (size_t i = 0; i < side->checks.broken.count; i++) {
        if (!strcmp(side->checks.broken.items[i], label))
            return REVIEW_BROKEN;
    }
    if (!change)
        return REVIEW_SAME;
    return review_is_lost(side, change) ? REVIEW_LOST : fates[change->change];
}

const char *review_fate_word(enum review_fate fate)
{
    static const char *const words[] = {"-", "new", "dropped", "changed", "renamed", "lost", "broken"};

    return words[fate];
}

/* ---- names ---- */

static void add_name(struct review_names *names, char *name)
{
    names->items = out_grow(names->items, (names->count + 1) * sizeof names->items[0]);
    names->items[names->count++] = name;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_once(struct review_names *names)
{
    size_t kept = 0;

    if (names->count)
        qsort(names->items, names->count, sizeof names->items[0], by_text);
    for (size_t i = 0; i < names->count; i++) {
        if (kept && !strcmp(names->items[kept - 1], names->items[i]))
            free(names->items[i]);
        else
            names->items[kept++] = names->items[i];
    }
    names->count = kept;
}

struct review_names review_table_names(const struct review *review)
{
    struct review_names names = {NULL, 0};

    for (size_t i = 0; i < review->count; i++) {
        for (size_t k = 0; k < review->sides[i].outcome.table_count; k++)
            add_name(&names, out_copy(review->sides[i].outcome.tables[k].name));
    }
    sort_once(&names);
    return names;
}

struct review_names review_object_names(const struct review *review)
{
    struct review_names names = {NULL, 0};

    for (size_t i = 0; i < review->count; i++) {
        const struct review_side *side = &review->sides[i];

        for (size_t k = 0; k < side->outcome.schema.count; k++) {
            const struct bough__schema_change *change = &side->outcome.schema.items[k];

            if (strcmp(change->type, "table") != 0)
                add_name(&names, out_format("%s %s", change->type, change->name));
        }
        for (size_t k = 0; k < side->checks.broken.count; k++)
            add_name(&names, out_copy(side->checks.broken.items[k]));
    }
    sort_once(&names);
    return names;
}

void review_names_release(struct review_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    names->items = NULL;
    names->count = 0;
}
