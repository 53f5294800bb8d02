/* out.h - what people read: aligned tables, sizes, times, progress bars. */
#ifndef BOUGH_CLI_OUT_H
#define BOUGH_CLI_OUT_H

#include "bough.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Memory for the program's own lists; no memory ends the program with EXIT_IO. */
void *out_alloc(size_t size_bytes);
void *out_grow(void *old, size_t size_bytes);
char *out_copy(const char *text);
char *out_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define OUT_SHORT_ID  12 /* digits of an id that people see */
#define OUT_TEXT_SIZE 40
/* Each fills a buffer of OUT_TEXT_SIZE and returns it. */
const char *out_size(char *buffer, uint64_t bytes);     /* "812 B", "20.0 KiB" */
const char *out_time(char *buffer, int64_t ms);         /* local time, "-" for 0 */
const char *out_short_id(char *buffer, const char *id); /* "-" for "" */
/* Text of others on one line: stops at a line break and shows control characters as '?'. */
void out_line(FILE *file, const char *text);

/* A table: cells are added row by row, then printed with the columns aligned. */
struct out_table {
    size_t columns;
    uint32_t right; /* bit i: column i is aligned to the right */
    char **cells;
    size_t count, capacity;
};
#define OUT_TABLE(column_count, right_bits)                                                                            \
    {                                                                                                                  \
        column_count, right_bits, NULL, 0, 0                                                                           \
    }
void out_cell(struct out_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void out_row(struct out_table *table, const char *const *cells); /* NULL-terminated */
void out_table_print(FILE *file, struct out_table *table);
void out_table_release(struct out_table *table);

/* A bar on stderr for work that lasts over half a second. Its callback also asks the library to stop after SIGINT,
 * SIGTERM or SIGHUP, so that the library cleans up before the program dies of the signal. */
struct out_progress {
    const char *verb; /* "importing" */
    bool visible;     /* may be drawn */
    bool drawn;
    int64_t started_ms, drawn_ms;
};
void out_progress_begin(struct out_progress *progress, const char *verb, bool visible);
int out_progress_step(void *progress, uint64_t done_bytes, uint64_t total_bytes); /* a bough_progress */
void out_progress_end(struct out_progress *progress);
/* The signal that interrupted work, 0 when none did. */
int out_interrupted_by(void);

#endif
