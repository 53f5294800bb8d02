/* page.h - writing HTML: what stands on the page of --html is escaped here, whatever it is. */
#ifndef BOUGH_CLI_PAGE_H
#define BOUGH_CLI_PAGE_H

#include <stdio.h>

extern const char page_style[];

/* Text of others: markup becomes harmless; control characters, those that turn the direction of writing, and bytes that
 * are no UTF-8 become U+FFFD. NULL is "". */
void page_text(FILE *file, const char *text);
/* A format of ours in which every %s stands for text of others; no other conversions. */
void page_put(FILE *file, const char *format, ...);
/* A bar, of which a part from 0 to 1 is filled; the second one stands in a grid of three columns: name, bar, value. */
void page_track(FILE *file, double part, const char *kind);
void page_bar(FILE *file, const char *name, double part, const char *kind, const char *value);

#endif
