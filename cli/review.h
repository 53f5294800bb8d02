/* review.h - branches side by side against one base: what `compare` and `try` find out and print. */
#ifndef BOUGH_CLI_REVIEW_H
#define BOUGH_CLI_REVIEW_H

#include "cli.h"
#include "database.h"
#include "outcome.h"
#include "queries.h"

struct review_statement {
    size_t line;
    double seconds;
    char *sql; /* on one line */
};

/* One branch, or another state. */
struct review_side {
    const char *name;   /* as people know it */
    const char *ref;    /* what opens it */
    const char *parent; /* the name of the branch that it was forked from, or NULL */
    const char *script; /* the file that ran on it, or NULL */
    bool ok;
    char *error;    /* why the script failed, or NULL */
    double seconds; /* that the script took; negative: none ran */
    struct review_statement *statements;
    size_t statement_count, statement_capacity;

    bough_page_diff pages;
    bool is_branch; /* else own_bytes is not known */
    bool is_dropped;
    uint64_t own_bytes, size_bytes;
    struct bough__outcome outcome;
    struct bough__checks checks;
    struct bough__query_run *queries; /* parallel to the review's */
    char **worse;                     /* what got worse in each query's plan; "" for nothing */
};

struct review_query {
    char *sql;
    size_t line;
    struct bough__query_run base;
};

struct review {
    struct cli *cli;
    const char *command;  /* "compare" or "try" */
    const char *base;     /* as people know it */
    const char *base_ref; /* what opens it */
    uint64_t base_bytes;
    struct review_side *sides;
    size_t count;
    struct review_query *queries;
    size_t query_count;
    const char *query_file;
    bool check_all; /* whatever the size */
    FILE *html;     /* of --html, NULL: none */
    char *html_path, *html_temporary;
};

/* Reads the file of --query. What never parses and what writes is refused here: base_ref may be asked. */
int review_read_queries(struct review *review, const char *path);
/* Opens a file beside the one that --html names, so that the review appears whole or not at all. */
int review_open_html(struct review *review, const char *path);

/* Compares one side with the base. `cli` is the caller's own: one for each thread. */
int review_compare_side(struct review *review, struct cli *cli, struct review_side *side, struct database *base);
/* Runs the queries everywhere, one after the other, so that no time is spoilt by work beside it. */
int review_run_queries(struct review *review);
/* The document, the table or the names on stdout, and the file of --html. */
int review_print(struct review *review);
void review_release(struct review *review);

/* Opens a state for reading and begins a transaction on it; work on it stops when the program is interrupted. */
int review_open_database(struct cli *cli, struct database *out, const char *ref);
void review_watch(struct database *database);

/* ---- words that the forms of a review share; each returns its buffer ---- */

#define REVIEW_TEXT_SIZE 96
const char *review_seconds(char buffer[OUT_TEXT_SIZE], double seconds); /* "1.2 ms"; "-" for unknown */
const char *review_count(char buffer[OUT_TEXT_SIZE], uint64_t count);   /* "3", "41,000" */
uint64_t review_pages(const struct review_side *side);
/* What became of a table: "+3 -1 ~20", "new +3", "dropped -500", "schema". */
const char *review_table(char buffer[REVIEW_TEXT_SIZE], const struct bough__table_outcome *table);
const struct bough__table_outcome *review_find_table(const struct review_side *side, const char *name);
const struct bough__schema_change *review_find_object(const struct review_side *side, const char *type,
                                                      const char *name);
/* What became of "index NAME", "view NAME" or "trigger NAME". */
enum review_fate {
    REVIEW_SAME,
    REVIEW_NEW,
    REVIEW_DROPPED,
    REVIEW_CHANGED,
    REVIEW_RENAMED,
    REVIEW_LOST,
    REVIEW_BROKEN,
};
enum review_fate review_fate(const struct review_side *side, const char *label);
const char *review_fate_word(enum review_fate fate); /* "new", "lost" */
/* An index, view or trigger that is gone although its table is still there: nobody may have meant that. */
bool review_is_lost(const struct review_side *side, const struct bough__schema_change *change);

/* All names of tables, or of other objects ("index orders_user"), that any side has something to say about. */
struct review_names {
    char **items;
    size_t count;
};
struct review_names review_table_names(const struct review *review);
struct review_names review_object_names(const struct review *review);
void review_names_release(struct review_names *names);

/* ---- its forms ---- */

void review_write_json(struct review *review, FILE *file);
void review_write_text(struct review *review, FILE *file);
void review_write_html(struct review *review, FILE *file);
void review_write_html_details(struct review *review, FILE *file); /* a part of the page */
void review_open_html_bars(FILE *file, const struct review *review); /* of the branches; page_bar() fills it */

#endif
