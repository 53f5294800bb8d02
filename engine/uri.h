/* uri.h - file names as SQLite's URIs. */
#ifndef BOUGH_ENGINE_URI_H
#define BOUGH_ENGINE_URI_H

/* "file:PATH?PARAMETERS", the path percent-encoded, parameters (NULL: none) as they are. malloc'ed; NULL: no memory. */
char *bough__uri(const char *path, const char *parameters);
/* text with everything but unreserved characters and slashes percent-encoded. malloc'ed; NULL: no memory. */
char *bough__percent_encode(const char *text);

#endif
