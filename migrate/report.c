/* report.c - see report.h. */
#include "report.h"

#include <stdarg.h>
#include <string.h>

#define STATEMENT_SHOWN 120 /* bytes of a statement in a message */

int bough__migrate_fail(int code, const char *format, ...)
{
    va_list arguments;
    char *message = NULL;

    va_start(arguments, format);
    message = sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    bough_error_set(message ? code : BOUGH_NOMEM, message ? message : "out of memory");
    sqlite3_free(message);
    return message ? code : BOUGH_NOMEM;
}

int bough__migrate_fail_memory(void)
{
    return bough_error_set(BOUGH_NOMEM, "out of memory");
}

int bough__migrate_code(int sqlite_code)
{
    switch (sqlite_code & 0xFF) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return BOUGH_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return BOUGH_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return BOUGH_CORRUPT;
    case SQLITE_FULL:
        return BOUGH_FULL;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
        return BOUGH_IO;
    case SQLITE_NOMEM:
        return BOUGH_NOMEM;
    case SQLITE_INTERRUPT:
        return BOUGH_INTERRUPTED;
    default:
        return BOUGH_SQL;
    }
}

int bough__migrate_fail_sqlite(sqlite3 *db, int sqlite_code, const char *what)
{
    const char *text = db && sqlite3_errcode(db) != SQLITE_OK ? sqlite3_errmsg(db) : sqlite3_errstr(sqlite_code);

    return bough__migrate_fail(bough__migrate_code(sqlite_code), "%s: %s", what, text);
}

int bough__migrate_fail_place(int code, const struct bough__sql_text *text, size_t at, int error_offset,
                              const char *format, ...)
{
    const char *statement = text->sql + at;
    size_t line_length = strcspn(statement, "\r\n");
    size_t shown = line_length < STATEMENT_SHOWN ? line_length : STATEMENT_SHOWN;
    unsigned line = bough__sql_text_line(text, at + (error_offset > 0 ? (size_t)error_offset : 0));
    va_list arguments;
    char *what = NULL;

    va_start(arguments, format);
    what = sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    if (!what)
        return bough__migrate_fail_memory();
    /* No cut in the middle of a character. */
    while (shown > 0 && shown < line_length && ((unsigned char)statement[shown] & 0xC0) == 0x80)
        shown--;
    code = bough__migrate_fail(code, "%s:%u: %s, in: %.*s%s", text->origin, line, what, (int)shown, statement,
                               statement[shown + strspn(statement + shown, " \t\r\n;")] ? " ..." : "");
    sqlite3_free(what);
    return code;
}
