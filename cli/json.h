/* json.h - writes one JSON document to a stdio stream. The caller opens and closes what it began; commas are put where
 * they belong. Bytes that are no UTF-8 become U+FFFD, one for each maximal broken part. */
#ifndef BOUGH_CLI_JSON_H
#define BOUGH_CLI_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct json {
    FILE *file;
    bool comma; /* a value stands before what comes next */
};

void json_open(struct json *json, char bracket);  /* '{' or '[' */
void json_close(struct json *json, char bracket); /* '}' or ']' */
void json_key(struct json *json, const char *key);

void json_null(struct json *json);
void json_bool(struct json *json, bool value);
void json_int(struct json *json, int64_t value);
void json_uint(struct json *json, uint64_t value);
void json_real(struct json *json, double value); /* null when it is not finite */
void json_bytes(struct json *json, const char *bytes, size_t len_bytes);
void json_string(struct json *json, const char *text); /* NULL: null */
void json_hex(struct json *json, const void *bytes, size_t len_bytes);

/* A stream whose bytes become one value, a string of the text or of hex digits; fclose ends it, and 0 means that all of
 * it went to the document. NULL: no memory. */
FILE *json_stream(struct json *json, bool is_hex);

/* Length of the well-formed sequence of UTF-8 that begins here, or 0 and in *out_bad the length of the broken part. */
size_t json_utf8_length(const char *bytes, size_t left, size_t *out_bad);

/* One member of an object. */
void json_put_string(struct json *json, const char *key, const char *text);
void json_put_id(struct json *json, const char *key, const char *id); /* "": null */
void json_put_time(struct json *json, const char *key, int64_t ms);   /* 0: null */
void json_put_uint(struct json *json, const char *key, uint64_t value);
void json_put_bool(struct json *json, const char *key, bool value);
void json_put_null(struct json *json, const char *key);

#endif
