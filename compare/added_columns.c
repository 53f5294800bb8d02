/* added_columns.c - see added_columns.h.
 *
 * ALTER TABLE … ADD COLUMN puts a comma and the definition behind the last column. So where it made a text, what that
 * has gained is in one piece, begins with a comma and is cut at the commas between definitions. Whether that was right
 * is seen when SQLite has made a table of it. */
#include "added_columns.h"

#include <stdlib.h>
#include <string.h>

/* ---- definitions ---- */

/* Behind the token at `at`: a string, a name in quotes, a comment, or one character. */
static size_t skip_token(const char *text, size_t at, size_t end)
{
    char close = text[at] == '[' ? ']' : text[at];

    if (text[at] == '-' && at + 1 < end && text[at + 1] == '-') {
        while (at < end && text[at] != '\n')
            at++;
        return at;
    }
    if (text[at] == '/' && at + 1 < end && text[at + 1] == '*') {
        for (at += 2; at < end && !(text[at] == '*' && at + 1 < end && text[at + 1] == '/'); at++) {
        }
        return at + 2 < end ? at + 2 : end;
    }
    if (!strchr("'\"`[", text[at]))
        return at + 1;
    for (at++; at < end && text[at] != close; at++) {
    }
    return at < end ? at + 1 : end; /* a doubled quote begins another string behind this one */
}

static int add_definition(struct bough__names *out, const char *text, size_t first, size_t end)
{
    char *copy = NULL;
    bool done = false;

    while (first < end && strchr(" \t\r\n\f", text[first]))
        first++;
    while (end > first && strchr(" \t\r\n\f", text[end - 1]))
        end--;
    copy = strndup(text + first, end - first);
    done = copy && bough__names_add(out, copy);
    free(copy);
    return done ? SQLITE_OK : SQLITE_NOMEM;
}

/* Between the commas outside of parentheses; the first one stands at the beginning. */
static int cut(struct bough__names *out, const char *text, size_t len)
{
    size_t first = 1;
    int depth = 0;
    int rc = SQLITE_OK;

    for (size_t at = 1; rc == SQLITE_OK && at < len; at = skip_token(text, at, len)) {
        depth += (text[at] == '(') - (text[at] == ')');
        if (text[at] != ',' || depth)
            continue;
        rc = add_definition(out, text, first, at);
        first = at + 1;
    }
    return rc == SQLITE_OK ? add_definition(out, text, first, len) : rc;
}

int bough__added_definitions(struct bough__names *out, const char *before, const char *after, size_t count)
{
    size_t len = strlen(before);
    size_t gained = strlen(after) > len ? strlen(after) - len : 0;
    size_t at = 0;
    int rc = SQLITE_OK;

    while (at < len && before[at] == after[at])
        at++;
    if (!gained || strcmp(before + at, after + at + gained) != 0)
        return SQLITE_OK;
    /* ", c" may have been gained behind "b" or, for all that can be seen, "c, " behind "b, ". */
    while (at && after[at] != ',' && after[at - 1] == after[at + gained - 1])
        at--;
    if (after[at] == ',')
        rc = cut(out, after + at, gained);
    if (rc != SQLITE_OK || out->count != count)
        bough__names_release(out);
    return rc;
}

/* ---- values ---- */

static bool has_word(const char *text, const char *word)
{
    for (size_t len = strlen(word); *text; text++) {
        if (!sqlite3_strnicmp(text, word, (int)len))
            return true;
    }
    return false;
}

/* Tried on a table with one row, since SQLite refuses more where there are rows. */
static int try_value(char **out, sqlite3 *scratch, const char *definition, const char *name)
{
    char *alter = sqlite3_mprintf("CREATE TABLE t(\"bough column\"); INSERT INTO t VALUES (1);"
                                  "ALTER TABLE t ADD COLUMN %s",
                                  definition);
    char *select = sqlite3_mprintf("SELECT quote(\"%w\") FROM t", name);
    sqlite3_stmt *row = NULL;
    int rc = alter && select ? sqlite3_exec(scratch, alter, NULL, NULL, NULL) : SQLITE_NOMEM;

    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(scratch, select, -1, &row, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(row, 0);

        *out = text ? strdup(text) : NULL;
        rc = *out ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_finalize(row);
    sqlite3_free(alter);
    sqlite3_free(select);
    return rc;
}

int bough__added_value(char **out, const char *definition, const char *name, bool is_generated)
{
    sqlite3 *scratch = NULL;
    int rc = SQLITE_OK;

    *out = NULL;
    /* It is made of other columns, and all is well unless there is something to violate. */
    if (is_generated) {
        if (has_word(definition, "STORED") || has_word(definition, "CHECK") || has_word(definition, "NULL"))
            return SQLITE_OK;
        *out = strdup("");
        return *out ? SQLITE_OK : SQLITE_NOMEM;
    }
    rc = sqlite3_open(":memory:", &scratch);
    if (rc == SQLITE_OK)
        rc = try_value(out, scratch, definition, name);
    sqlite3_close(scratch);
    return rc == SQLITE_NOMEM ? rc : SQLITE_OK;
}
