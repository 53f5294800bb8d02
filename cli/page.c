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

/* U+202A to U+202E and U+2066 to U+2069 order text anew, up to the end of the paragraph: what stands in a name could
 * show as another name, and so could what follows it. */
static bool is_direction(const char *text, size_t length)
{
    const unsigned char *c = (const unsigned char *)text;

    return length == 3 && c[0] == 0xE2 &&
           ((c[1] == 0x80 && c[2] >= 0xAA && c[2] <= 0xAE) || (c[1] == 0x81 && c[2] >= 0xA6 && c[2] <= 0xA9));
}

void page_text(FILE *file, const char *text)
{
    size_t left = text ? strlen(text) : 0;
    size_t bad = 0;

    while (left) {
        size_t length = json_utf8_length(text, left, &bad);

        if (length == 1)
            put_char(file, (unsigned char)*text);
        else if (length > 1 && !is_direction(text, length))
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

void page_track(FILE *file, double part, const char *kind)
{
    fputs("<span class=\"track\">", file);
    if (part > 0) {
        page_put(file, "<span class=\"fill %s\" style=\"width:", kind);
        fprintf(file, "%.1f%%\"></span>", (part > 1 ? 1 : part) * 100);
    }
    fputs("</span>", file);
}

void page_bar(FILE *file, const char *name, double part, const char *kind, const char *value)
{
    page_put(file, "<span class=\"name\">%s</span>", name);
    page_track(file, part, kind);
    page_put(file, "<span class=\"value\">%s</span>\n", value);
}
