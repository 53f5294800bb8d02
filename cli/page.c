/* page.c - see page.h. */
#include "page.h"

#include "json.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void put_char(FILE *file, unsigned char c)
{
    switch (c) {
    case '<':
        fputs("&lt;", file);
        break;
    case '>':
        fputs("&gt;", file);
        break;
    case '&':
        fputs("&amp;", file);
        break;
    case '"':
        fputs("&quot;", file);
        break;
    case '\'':
        fputs("&#39;", file);
        break;
    default:
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F)
            fputs("\xEF\xBF\xBD", file);
        else
            putc(c, file);
    }
}

void page_text(FILE *file, const char *text)
{
    size_t left = text ? strlen(text) : 0;
    size_t bad = 0;

    while (left) {
        size_t length = json_utf8_length(text, left, &bad);

        if (length == 1)
            put_char(file, (unsigned char)*text);
        else if (length > 1)
            fwrite(text, 1, length, file);
        else
            fputs("\xEF\xBF\xBD", file);
        length = length ? length : bad;
        text += length;
        left -= length;
    }
}

void page_put(FILE *file, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    for (const char *p = format; *p; p++) {
        if (p[0] == '%' && p[1] == 's') {
            page_text(file, va_arg(arguments, const char *));
            p++;
        } else {
            putc(*p, file);
        }
    }
    va_end(arguments);
}

void page_bar(FILE *file, const char *name, double part, const char *kind, const char *value)
{
    page_put(file, "<span class=\"name\">%s</span><span class=\"track\"><span class=\"fill %s\" style=\"width:", name,
             kind);
    fprintf(file, "%.1f%%", (part < 0 ? 0 : part > 1 ? 1 : part) * 100);
    page_put(file, "\"></span></span><span class=\"value\">%s</span>\n", value);
}
