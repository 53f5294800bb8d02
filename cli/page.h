/* page.h - writing HTML: what stands on the page of --html is escaped here, whatever it is. */
#ifndef BOUGH_CLI_PAGE_H
#define BOUGH_CLI_PAGE_H

#include <stdio.h>

extern const char page_style[];

/* Text of others: markup and control characters become harmless, bytes that are no UTF-8 become U+FFFD. NULL is "". */
void page_text(FILE *file, const char *text);
/* A format of ours in which every %s stands for text of others; no other conversions. */
void page_put(FILE *file, const char *format, ...);
/* A bar in a grid of three columns: name, bar, value. part is from 0 to 1. */
void page_bar(FILE *file, const char *name, double part, const char *kind, const char *value);

#endif
