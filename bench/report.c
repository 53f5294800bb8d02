/* report.c - collects samples and targets, and prints medians, ratios and whether each target holds. */
#include "bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct series {
    char *work, *variant;
    enum bench_unit unit;
    double *samples;
    size_t count, capacity;
};

struct target {
    char *name, *work, *variant, *base_work, *base_variant, *source;
    double limit, allowance; /* a ratio where there is a base */
};

static struct series *all_series;
static size_t series_count;
static struct target *targets;
static size_t target_count;
static char **notes;
static size_t note_count;

static void *grow(void *items, size_t count, size_t item_bytes)
{
    void *grown = realloc(items, (count + 1) * item_bytes);
    if (grown == NULL)
        bench_die("out of memory");
    return grown;
}

static struct series *find_series(const char *work, const char *variant)
{
    for (size_t i = 0; i < series_count; i++)
        if (strcmp(all_series[i].work, work) == 0 && strcmp(all_series[i].variant, variant) == 0)
            return &all_series[i];
    return NULL;
}

void bench_sample(const char *work, const char *variant, enum bench_unit unit, double value)
{
    struct series *series = find_series(work, variant);
    if (series == NULL) {
        all_series = grow(all_series, series_count, sizeof(*all_series));
        series = &all_series[series_count++];
        *series = (struct series){bench_format("%s", work), bench_format("%s", variant), unit, NULL, 0, 0};
    }
    if (series->count == series->capacity) {
        series->capacity = series->capacity * 2 + 16;
        series->samples = grow(series->samples, series->capacity, sizeof(double));
    }
    series->samples[series->count++] = value;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const struct series *series, double q)
{
    double *sorted = bench_alloc(series->count * sizeof(double));
    memcpy(sorted, series->samples, series->count * sizeof(double));
    qsort(sorted, series->count, sizeof(double), compare_doubles);
    double position = q * (double)(series->count - 1);
    size_t below = (size_t)position;
    size_t above = below + 1 < series->count ? below + 1 : below;
    double value = sorted[below] + (sorted[above] - sorted[below]) * (position - (double)below);
    free(sorted);
    return value;
}

double bench_median(const char *work, const char *variant)
{
    const struct series *series = find_series(work, variant);
    return series == NULL ? -1 : quantile(series, 0.5);
}

static void add_target(const char *name, const char *work, const char *variant, const char *base_work,
                       const char *base_variant, double limit, double allowance, const char *source)
{
    targets = grow(targets, target_count, sizeof(*targets));
    targets[target_count++] = (struct target){
        bench_format("%s", name),
        bench_format("%s", work),
        bench_format("%s", variant),
        base_work == NULL ? NULL : bench_format("%s", base_work),
        base_variant == NULL ? NULL : bench_format("%s", base_variant),
        bench_format("%s", source),
        limit,
        allowance,
    };
}

void bench_target_ratio(const char *name, const char *work, const char *variant, const char *base_work,
                        const char *base_variant, double ratio, double allowance, const char *source)
{
    add_target(name, work, variant, base_work, base_variant, ratio, allowance, source);
}

void bench_target_limit(const char *name, const char *work, const char *variant, double limit, const char *source)
{
    add_target(name, work, variant, NULL, NULL, limit, 0, source);
}

void bench_note(const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    notes = grow(notes, note_count, sizeof(*notes));
    notes[note_count++] = bench_format("%s", text);
}

/* Writes a value with three digits and the unit that suits it. */
static void format_value(char out[32], enum bench_unit unit, double value)
{
    static const struct {
        double at_least, divisor;
        const char *text;
    } scales[] = {{1, 1, "s"}, {1e-3, 1e-3, "ms"}, {1e-6, 1e-6, "us"}, {0, 1e-9, "ns"}},
      sizes[] = {{1e9, 1e9, "GB"}, {1e6, 1e6, "MB"}, {1e4, 1e3, "kB"}, {0, 1, "B"}};
    if (unit == BENCH_COUNT) {
        snprintf(out, 32, "%.4g", value);
        return;
    }
    for (size_t i = 0; i < 4; i++) {
        double at_least = unit == BENCH_SECONDS ? scales[i].at_least : sizes[i].at_least;
        if (value >= at_least || i == 3) {
            double scaled = value / (unit == BENCH_SECONDS ? scales[i].divisor : sizes[i].divisor);
            int decimals = scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2;
            snprintf(out, 32, "%.*f %s", decimals, scaled, unit == BENCH_SECONDS ? scales[i].text : sizes[i].text);
            return;
        }
    }
}

/* What a target comes to. */
struct verdict {
    double measured; /* of the medians: this decides */
    double quiet;    /* of the tenths that were fastest: what other programs disturbed least */
    double limit;
    enum bench_unit unit;
    bool is_known, holds; /* not known where a part of it was not measured */
};

static struct verdict judge(const struct target *target)
{
    struct verdict verdict = {.unit = BENCH_COUNT, .limit = target->limit};
    const struct series *series = find_series(target->work, target->variant);
    if (series == NULL)
        return verdict;
    verdict.measured = quantile(series, 0.5);
    verdict.quiet = quantile(series, 0.1);
    verdict.unit = series->unit;
    if (target->base_work != NULL) {
        const struct series *base = find_series(target->base_work, target->base_variant);
        if (base == NULL || quantile(base, 0.1) <= 0)
            return verdict;
        verdict.limit += target->allowance / quantile(base, 0.5);
        verdict.measured /= quantile(base, 0.5);
        verdict.quiet /= quantile(base, 0.1);
        verdict.unit = BENCH_COUNT;
    }
    verdict.is_known = true;
    verdict.holds = verdict.measured <= verdict.limit;
    return verdict;
}

static void print_series(void)
{
    const char *work = NULL;
    printf("%-58s %-18s %10s %10s %10s %6s\n", "work", "variant", "median", "p10", "p90", "n");
    for (size_t i = 0; i < series_count; i++) {
        /* Series of one work stand together, in the order of first samples. */
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++)
            seen = strcmp(all_series[j].work, all_series[i].work) == 0;
        if (seen)
            continue;
        work = all_series[i].work;
        for (size_t j = i; j < series_count; j++) {
            const struct series *series = &all_series[j];
            if (strcmp(series->work, work) != 0)
                continue;
            char median[32], low[32], high[32];
            format_value(median, series->unit, quantile(series, 0.5));
            format_value(low, series->unit, quantile(series, 0.1));
            format_value(high, series->unit, quantile(series, 0.9));
            printf("%-58s %-18s %10s %10s %10s %6zu\n", j == i ? work : "", series->variant, median, low, high,
                   series->count);
        }
    }
}

static unsigned print_targets(void)
{
    unsigned missed = 0;
    printf("\n%-70s %10s %10s %10s  %-5s %s\n", "target", "measured", "of p10", "at most", "holds", "from");
    for (size_t i = 0; i < target_count; i++) {
        char measured[32] = "-", quiet[32] = "-", limit[32] = "-";
        struct verdict verdict = judge(&targets[i]);
        if (verdict.is_known) {
            format_value(measured, verdict.unit, verdict.measured);
            format_value(quiet, verdict.unit, verdict.quiet);
            format_value(limit, verdict.unit, verdict.limit);
        }
        const char *holds = verdict.holds ? "yes" : verdict.is_known ? "NO" : "?";
        missed += verdict.is_known && !verdict.holds;
        printf("%-70s %10s %10s %10s  %-5s %s\n", targets[i].name, measured, quiet, limit, holds, targets[i].source);
    }
    for (size_t i = 0; i < note_count; i++)
        printf("%snote: %s\n", i == 0 ? "\n" : "", notes[i]);
    return missed;
}

static void json_string(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            printf("\\u%04x", (unsigned)*text);
        else
            putchar(*text);
    }
    putchar('"');
}

static void json_member(const char *key, const char *text, const char *separator)
{
    printf("%s\"%s\":", separator, key);
    if (text == NULL)
        printf("null");
    else
        json_string(text);
}

static unsigned print_json(void)
{
    static const char *const units[] = {"s", "bytes", "count"};
    unsigned missed = 0;
    printf("{\"series\":[");
    for (size_t i = 0; i < series_count; i++) {
        const struct series *series = &all_series[i];
        json_member("work", series->work, i == 0 ? "\n{" : ",\n{");
        json_member("variant", series->variant, ",");
        json_member("unit", units[series->unit], ",");
        printf(",\"median\":%.9g,\"p10\":%.9g,\"p90\":%.9g,\"samples\":%zu}", quantile(series, 0.5),
               quantile(series, 0.1), quantile(series, 0.9), series->count);
    }
    printf("\n],\"targets\":[");
    for (size_t i = 0; i < target_count; i++) {
        struct verdict verdict = judge(&targets[i]);
        missed += verdict.is_known && !verdict.holds;
        json_member("name", targets[i].name, i == 0 ? "\n{" : ",\n{");
        json_member("work", targets[i].work, ",");
        json_member("variant", targets[i].variant, ",");
        json_member("base_work", targets[i].base_work, ",");
        json_member("base_variant", targets[i].base_variant, ",");
        json_member("source", targets[i].source, ",");
        if (verdict.is_known)
            printf(",\"measured\":%.9g,\"of_p10\":%.9g,\"limit\":%.9g,\"unit\":\"%s\",\"holds\":%s}", verdict.measured,
                   verdict.quiet, verdict.limit, targets[i].base_work != NULL ? "ratio" : units[verdict.unit],
                   verdict.holds ? "true" : "false");
        else
            printf(",\"measured\":null,\"of_p10\":null,\"limit\":null,\"unit\":null,\"holds\":null}");
    }
    printf("\n],\"notes\":[");
    for (size_t i = 0; i < note_count; i++) {
        printf("%s", i == 0 ? "\n" : ",\n");
        json_string(notes[i]);
    }
    printf("\n]}\n");
    return missed;
}

unsigned bench_print(bool as_json)
{
    if (as_json)
        return print_json();
    print_series();
    return print_targets();
}
