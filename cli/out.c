/* out.c - see out.h. */
#include "out.h"

#include "exit.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- memory ---- */

void *out_grow(void *old, size_t size_bytes)
{
    void *memory = realloc(old, size_bytes ? size_bytes : 1);

    if (!memory) {
        static const char text[] = "bough: out of memory\n";
        ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);

        (void)ignored;
        _exit(EXIT_IO);
    }
    return memory;
}

void *out_alloc(size_t size_bytes)
{
    void *memory = out_grow(NULL, size_bytes);

    memset(memory, 0, size_bytes);
    return memory;
}

char *out_copy(const char *text)
{
    size_t size_bytes = strlen(text) + 1;

    return memcpy(out_grow(NULL, size_bytes), text, size_bytes);
}

static char *format_arguments(const char *format, va_list arguments)
{
    va_list again;
    char *text = NULL;
    int length = 0;

    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, arguments);
    text = out_alloc(length < 0 ? 1 : (size_t)length + 1);
    if (length >= 0)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

char *out_format(const char *format, ...)
{
    va_list arguments;
    char *text = NULL;

    va_start(arguments, format);
    text = format_arguments(format, arguments);
    va_end(arguments);
    return text;
}

/* ---- words for values ---- */

const char *out_size(char *buffer, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1023.95 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    snprintf(buffer, OUT_TEXT_SIZE, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return buffer;
}

const char *out_time(char *buffer, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts = {0};

    if (ms == 0 || !localtime_r(&seconds, &parts) || strftime(buffer, OUT_TEXT_SIZE, "%Y-%m-%d %H:%M:%S", &parts) == 0)
        snprintf(buffer, OUT_TEXT_SIZE, "-");
    return buffer;
}

const char *out_short_id(char *buffer, const char *id)
{
    snprintf(buffer, OUT_TEXT_SIZE, "%.*s", OUT_SHORT_ID, id[0] ? id : "-");
    return buffer;
}

void out_line(FILE *file, const char *text)
{
    for (; *text && *text != '\n' && *text != '\r'; text++)
        putc((unsigned char)*text < 0x20 || *text == 0x7F ? '?' : *text, file);
}

/* ---- tables ---- */

static void add_cell(struct out_table *table, char *text)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : 32;
        table->cells = out_grow(table->cells, table->capacity * sizeof table->cells[0]);
    }
    table->cells[table->count++] = text;
}

void out_cell(struct out_table *table, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    add_cell(table, format_arguments(format, arguments));
    va_end(arguments);
}

void out_row(struct out_table *table, const char *const *cells)
{
    for (; *cells; cells++)
        add_cell(table, out_copy(*cells));
}

/* Characters, not bytes: what starts a UTF-8 sequence counts. */
static size_t display_width(const char *text)
{
    size_t width = 0;

    for (; *text && *text != '\n' && *text != '\r'; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static void print_cell(FILE *file, const char *text, size_t width, bool right, bool last)
{
    size_t own = display_width(text);
    int padding = own < width ? (int)(width - own) : 0;

    if (right)
        fprintf(file, "%*s", padding, "");
    out_line(file, text);
    if (!right && !last)
        fprintf(file, "%*s", padding, "");
    fputs(last ? "\n" : "  ", file);
}

void out_table_print(FILE *file, struct out_table *table)
{
    size_t *widths = out_alloc(table->columns * sizeof widths[0]);

    for (size_t i = 0; i < table->count; i++) {
        size_t own = display_width(table->cells[i]);

        if (own > widths[i % table->columns])
            widths[i % table->columns] = own;
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->columns;

        print_cell(file, table->cells[i], widths[column], table->right >> column & 1, column + 1 == table->columns);
    }
    free(widths);
}

void out_table_release(struct out_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    table->cells = NULL;
    table->count = table->capacity = 0;
}

/* ---- progress and interruption ---- */

static volatile sig_atomic_t interrupted_by;
static const int stopping_signals[] = {SIGINT, SIGTERM, SIGHUP};

static void note_signal(int number)
{
    interrupted_by = number;
}

/* A signal that was ignored when the program started stays ignored. The second one of a kind ends the program. */
static void catch_signals(void)
{
    for (size_t i = 0; i < sizeof stopping_signals / sizeof stopping_signals[0]; i++) {
        struct sigaction old = {0};
        struct sigaction action = {0};

        action.sa_handler = note_signal;
        action.sa_flags = (int)(SA_RESTART | SA_RESETHAND);
        sigemptyset(&action.sa_mask);
        if (sigaction(stopping_signals[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
            sigaction(stopping_signals[i], &action, NULL);
    }
}

static void release_signals(void)
{
    for (size_t i = 0; i < sizeof stopping_signals / sizeof stopping_signals[0]; i++) {
        struct sigaction old = {0};

        if (sigaction(stopping_signals[i], NULL, &old) == 0 && old.sa_handler == note_signal)
            signal(stopping_signals[i], SIG_DFL);
    }
}

int out_interrupted_by(void)
{
    return interrupted_by;
}

static int64_t now_ms(void)
{
    struct timespec now = {0, 0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void out_progress_begin(struct out_progress *progress, const char *verb, bool visible)
{
    progress->verb = verb;
    progress->visible = visible && isatty(STDERR_FILENO);
    progress->drawn = false;
    progress->started_ms = progress->drawn_ms = now_ms();
    catch_signals();
}

static void draw(struct out_progress *progress, uint64_t done_bytes, uint64_t total_bytes)
{
    static const char full[] = "##############################";
    const int width = (int)sizeof full - 1;
    char done[OUT_TEXT_SIZE] = "";
    char total[OUT_TEXT_SIZE] = "";
    double part = total_bytes ? (double)done_bytes / (double)total_bytes : 0;
    int filled = part >= 1 ? width : (int)(part * width);

    fprintf(stderr, "\r%s [%.*s%*s] %3.0f%%  %s of %s\033[K", progress->verb, filled, full, width - filled, "",
            part >= 1 ? 100.0 : part * 100, out_size(done, done_bytes), out_size(total, total_bytes));
    fflush(stderr);
    progress->drawn = true;
}

int out_progress_step(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
    struct out_progress *progress = context;

    if (progress->visible) {
        int64_t now = now_ms();

        if (now - progress->started_ms >= 500 && (!progress->drawn || now - progress->drawn_ms >= 100)) {
            draw(progress, done_bytes, total_bytes);
            progress->drawn_ms = now;
        }
    }
    return interrupted_by != 0;
}

void out_progress_end(struct out_progress *progress)
{
    if (progress->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    progress->drawn = false;
    release_signals();
}
