/* tokens.c - see tokens.h. An operator of two characters counts as two tokens: apart they are no SQL. */
#include "tokens.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

const char *bough__token_start(const char *sql)
{
    for (;;) {
        sql += strspn(sql, " \t\r\n\f");
        if (sql[0] == '-' && sql[1] == '-') {
            sql += strcspn(sql, "\n");
        } else if (sql[0] == '/' && sql[1] == '*') {
            const char *end = strstr(sql + 2, "*/");

            sql = end ? end + 2 : sql + strlen(sql);
        } else {
            return sql;
        }
    }
}

static size_t quoted_length(const char *token)
{
    char end = token[0] == '[' ? ']' : token[0];
    const char *p = token + 1;

    for (; *p; p++) {
        if (*p != end)
            continue;
        if (end == ']' || p[1] != end)
            return (size_t)(p + 1 - token);
        p++;
    }
    return (size_t)(p - token);
}

static bool is_word(unsigned char c)
{
    return isalnum(c) || c == '_' || c == '$' || c >= 0x80;
}

/* 1.5e-3 is one token; so is 0x1F, and whatever else a digit begins. */
static size_t number_length(const char *token)
{
    size_t length = 0;
    bool is_hex = token[0] == '0' && (token[1] == 'x' || token[1] == 'X');

    while (is_word((unsigned char)token[length]) || token[length] == '.') {
        bool is_exponent = !is_hex && (token[length] == 'e' || token[length] == 'E');

        length++;
        if (is_exponent && (token[length] == '+' || token[length] == '-'))
            length++;
    }
    return length;
}

size_t bough__token_length(const char *token)
{
    unsigned char first = (unsigned char)token[0];
    size_t length = 0;

    if (!first)
        return 0;
    if (strchr("'\"`[", first))
        return quoted_length(token);
    if (isdigit(first) || (first == '.' && isdigit((unsigned char)token[1])))
        return number_length(token);
    if ((first == 'x' || first == 'X') && token[1] == '\'')
        return 1 + quoted_length(token + 1);
    while (is_word((unsigned char)token[length]))
        length++;
    return length ? length : 1;
}
