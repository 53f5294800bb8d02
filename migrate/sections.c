/* sections.c - see sections.h.
 *
 * A file is read line by line. Directives are comments to SQLite, so what stands between two of them is a block of SQL
 * as it is. Where a statement ends is SQLite's business: goose's StatementBegin and StatementEnd are checked for order
 * and mean nothing else here. */
#include "sections.h"

#include "report.h"
#include "tokens.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

struct block {
    bool is_down;
    size_t start, end;
    unsigned line;
};

struct parser {
    struct bough__migration *out;
    const char *path, *text;
    size_t length;
    enum bough__convention convention;
    struct block *blocks;
    size_t count;
    size_t head_end;   /* where the first directive stands */
    unsigned line;     /* of the line in hand */
    bool in_statement; /* goose: between StatementBegin and StatementEnd */
};

static int fail(const struct parser *parser, unsigned line, const char *what)
{
    return bough__migrate_fail(BOUGH_USAGE, "%s:%u: %s", parser->path, line, what);
}

/* ---- blocks ---- */

static void end_block(struct parser *parser, size_t at)
{
    if (parser->count)
        parser->blocks[parser->count - 1].end = at;
    else
        parser->head_end = at;
}

static int begin_block(struct parser *parser, bool is_down, size_t line_start, size_t line_end)
{
    struct block *blocks = sqlite3_realloc64(parser->blocks, (parser->count + 1) * sizeof blocks[0]);

    if (!blocks)
        return bough__migrate_fail_memory();
    parser->blocks = blocks;
    end_block(parser, line_start);
    blocks[parser->count++] = (struct block){is_down, line_end, parser->length, parser->line + 1};
    return BOUGH_OK;
}

static bool has_block(const struct parser *parser, bool is_down)
{
    for (size_t i = 0; i < parser->count; i++) {
        if (parser->blocks[i].is_down == is_down)
            return true;
    }
    return false;
}

/* ---- directives ---- */

static size_t word_length(const char *text)
{
    return strcspn(text, " \t\r\n\f");
}

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t\f");
}

/* Is the rest of the line `word`, in any case, and nothing else? */
static bool is_rest(const char *rest, const char *word)
{
    size_t length = strlen(word);

    return !strncasecmp(rest, word, length) && rest[length + strspn(rest + length, " \t\f\r")] == '\0';
}

static int set_convention(struct parser *parser, enum bough__convention convention)
{
    if (parser->convention != BOUGH__CONVENTION_NONE && parser->convention != convention)
        return fail(parser, parser->line, "directives of dbmate and of goose in one file");
    parser->convention = convention;
    return BOUGH_OK;
}

/* The options key:value after "-- migrate:up". */
static int dbmate_options(struct parser *parser, const char *rest, struct bough__sql_text *section)
{
    for (rest = skip_blanks(rest); word_length(rest); rest = skip_blanks(rest + word_length(rest))) {
        size_t length = word_length(rest);

        if (length == 17 && !memcmp(rest, "transaction:false", length))
            section->is_bare = true;
        else if (length != 16 || memcmp(rest, "transaction:true", length) != 0)
            return bough__migrate_fail(BOUGH_USAGE, "%s:%u: unknown option \"%.*s\"; there is transaction:false",
                                       parser->path, parser->line, (int)length, rest);
    }
    return BOUGH_OK;
}

static int dbmate_directive(struct parser *parser, const char *rest, size_t start, size_t end)
{
    size_t length = word_length(rest);
    bool is_down = length == 4 && !memcmp(rest, "down", 4);
    int rc = set_convention(parser, BOUGH__CONVENTION_DBMATE);

    if (rc != BOUGH_OK)
        return rc;
    if (!is_down && !(length == 2 && !memcmp(rest, "up", 2)))
        return bough__migrate_fail(BOUGH_USAGE, "%s:%u: unknown directive \"migrate:%.*s\"", parser->path,
                                   parser->line, (int)length, rest);
    rc = begin_block(parser, is_down, start, end);
    if (rc == BOUGH_OK)
        rc = dbmate_options(parser, rest + length, is_down ? &parser->out->down : &parser->out->up);
    return rc;
}

static int goose_statement(struct parser *parser, bool begins)
{
    if (!parser->count)
        return fail(parser, parser->line, "a statement begins before \"-- +goose Up\"");
    if (parser->in_statement == begins)
        return fail(parser, parser->line,
                    begins ? "StatementBegin inside a statement" : "StatementEnd without StatementBegin");
    parser->in_statement = begins;
    return BOUGH_OK;
}

static int goose_section(struct parser *parser, bool is_down, size_t start, size_t end)
{
    if (parser->in_statement)
        return fail(parser, parser->line, "the statement before this has no StatementEnd");
    if (has_block(parser, is_down))
        return fail(parser, parser->line, "this section stands here for the second time");
    if (!is_down && has_block(parser, true))
        return fail(parser, parser->line, "Up stands after Down");
    return begin_block(parser, is_down, start, end);
}

static int goose_directive(struct parser *parser, const char *rest, size_t start, size_t end)
{
    char *words = sqlite3_mprintf("%.*s", (int)strcspn(rest, "\r\n"), rest);
    int rc = words ? set_convention(parser, BOUGH__CONVENTION_GOOSE) : bough__migrate_fail_memory();

    if (rc != BOUGH_OK)
        ;
    else if (is_rest(words, "Up"))
        rc = goose_section(parser, false, start, end);
    else if (is_rest(words, "Down"))
        rc = goose_section(parser, true, start, end);
    else if (is_rest(words, "StatementBegin"))
        rc = goose_statement(parser, true);
    else if (is_rest(words, "StatementEnd"))
        rc = goose_statement(parser, false);
    else if (is_rest(words, "NO TRANSACTION"))
        parser->out->up.is_bare = parser->out->down.is_bare = true;
    else
        rc = bough__migrate_fail(BOUGH_USAGE, "%s:%u: unknown directive \"+goose %s\"", parser->path, parser->line,
                                 words);
    sqlite3_free(words);
    return rc;
}

/* The text after "--" and blanks, or NULL where the line is no comment. */
static const char *comment_of(const char *line)
{
    return line[0] == '-' && line[1] == '-' ? skip_blanks(line + 2) : NULL;
}

static int parse_line(struct parser *parser, size_t start, size_t end)
{
    const char *line = parser->text + start;
    const char *comment = comment_of(line);
    const char *indented = comment ? NULL : comment_of(skip_blanks(line));

    if (comment && !strncmp(comment, "migrate:", 8))
        return dbmate_directive(parser, comment + 8, start, end);
    if (comment && !strncasecmp(comment, "+goose", 6) &&
        (isblank((unsigned char)comment[6]) || !word_length(comment + 6)))
        return goose_directive(parser, skip_blanks(comment + 6), start, end);
    /* Taken for a comment it would make the whole file one section. */
    if (indented && !parser->count && (!strncmp(indented, "migrate:", 8) || !strncasecmp(indented, "+goose ", 7)))
        return fail(parser, parser->line, "a directive stands at the beginning of its line");
    return BOUGH_OK;
}

static int parse_lines(struct parser *parser)
{
    int rc = BOUGH_OK;

    for (size_t start = 0; rc == BOUGH_OK && start < parser->length;) {
        const char *newline = memchr(parser->text + start, '\n', parser->length - start);
        size_t end = newline ? (size_t)(newline + 1 - parser->text) : parser->length;

        parser->line++;
        rc = parse_line(parser, start, end);
        start = end;
    }
    if (rc == BOUGH_OK && parser->in_statement)
        rc = fail(parser, parser->line, "StatementBegin without StatementEnd");
    return rc;
}

/* ---- the words before the first section ---- */

static int take_setting(struct parser *parser, const char *comment, bool is_first)
{
    struct bough__migration *out = parser->out;
    size_t length = strcspn(comment, "\r\n");
    char *words = sqlite3_mprintf("%.*s", (int)length, comment);
    int rc = words ? BOUGH_OK : bough__migrate_fail_memory();

    if (rc == BOUGH_OK && is_rest(words, "ephemeral")) {
        out->is_ephemeral = true;
    } else if (rc == BOUGH_OK && is_rest(words, "generate")) {
        out->is_deferred = true;
    } else if (rc == BOUGH_OK && is_first && is_rest(words, "no-transaction")) {
        out->up.is_bare = out->down.is_bare = true;
    } else if (rc == BOUGH_OK && !strncmp(words, "description:", 12)) {
        sqlite3_free(out->description);
        length = strcspn(skip_blanks(words + 12), "\r");
        out->description = sqlite3_mprintf("%.*s", (int)length, skip_blanks(words + 12));
        rc = out->description ? BOUGH_OK : bough__migrate_fail_memory();
    }
    sqlite3_free(words);
    return rc;
}

static int take_settings(struct parser *parser, size_t end)
{
    int rc = BOUGH_OK;

    for (size_t start = 0; rc == BOUGH_OK && start < end;) {
        const char *line = parser->text + start;
        const char *comment = comment_of(line);

        if (comment)
            rc = take_setting(parser, comment, start == 0);
        start += strcspn(line, "\n");
        start += start < end;
    }
    return rc;
}

/* ---- sections ---- */

static int put_block(struct parser *parser, const struct block *block)
{
    struct bough__sql_text *section = block->is_down ? &parser->out->down : &parser->out->up;
    int rc = BOUGH_OK;

    /* The last statement of the block before may have no semicolon. */
    if (section->sql)
        rc = bough__sql_text_append(section, "\n;\n", 3, block->line);
    if (rc == BOUGH_OK)
        rc = bough__sql_text_append(section, parser->text + block->start, block->end - block->start, block->line);
    return rc;
}

/* Ups in the order of the file, downs in reverse. */
static int put_sections(struct parser *parser)
{
    const char *first = bough__token_start(parser->text);
    int rc = BOUGH_OK;

    if ((size_t)(first - parser->text) < parser->head_end) {
        unsigned line = 1;

        for (const char *p = parser->text; p < first; p++)
            line += *p == '\n';
        return fail(parser, line, "SQL before the first section");
    }
    if (!has_block(parser, false))
        return bough__migrate_fail(BOUGH_USAGE, "%s: a down without an up", parser->path);
    for (size_t i = 0; rc == BOUGH_OK && i < parser->count; i++) {
        if (!parser->blocks[i].is_down)
            rc = put_block(parser, &parser->blocks[i]);
    }
    for (size_t i = parser->count; rc == BOUGH_OK && i-- > 0;) {
        if (parser->blocks[i].is_down)
            rc = put_block(parser, &parser->blocks[i]);
    }
    return rc;
}

/* A file without directives is one section. */
static int put_whole(struct parser *parser, enum bough__file_kind kind)
{
    struct bough__sql_text *section = kind == BOUGH__FILE_DOWN ? &parser->out->down : &parser->out->up;

    if (kind == BOUGH__FILE_WHOLE && !*bough__token_start(parser->text))
        return bough__migrate_fail(BOUGH_USAGE, "%s: has neither a section nor SQL", parser->path);
    return bough__sql_text_append(section, parser->text, parser->length, 1);
}

int bough__sections_parse(struct bough__migration *out, enum bough__convention *out_convention, const char *path,
                          const char *text, size_t len_bytes, enum bough__file_kind kind)
{
    struct parser parser = {.out = out, .path = path, .text = text, .length = len_bytes};
    int rc = parse_lines(&parser);

    if (rc == BOUGH_OK && parser.convention != BOUGH__CONVENTION_NONE && kind != BOUGH__FILE_WHOLE)
        rc = bough__migrate_fail(BOUGH_USAGE, "%s: sections in a file of a pair", path);
    else if (rc == BOUGH_OK && parser.convention != BOUGH__CONVENTION_NONE)
        rc = parser.count ? put_sections(&parser)
                          : bough__migrate_fail(BOUGH_USAGE, "%s: directives without a section", path);
    else if (rc == BOUGH_OK)
        rc = put_whole(&parser, kind);
    if (rc == BOUGH_OK)
        rc = take_settings(&parser, parser.count ? parser.head_end : (size_t)(bough__token_start(text) - text));
    *out_convention = parser.convention != BOUGH__CONVENTION_NONE ? parser.convention : BOUGH__CONVENTION_PAIRS;
    sqlite3_free(parser.blocks);
    return rc;
}
