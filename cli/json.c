/* json.c - see json.h. */
#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void separate(struct json *json)
{
    if (json->comma)
        putc(',', json->file);
    json->comma = true;
}

void json_open(struct json *json, char bracket)
{
    separate(json);
    putc(bracket, json->file);
    json->comma = false;
}

void json_close(struct json *json, char bracket)
{
    putc(bracket, json->file);
    json->comma = true;
}

void json_key(struct json *json, const char *key)
{
    json_string(json, key);
    putc(':', json->file);
    json->comma = false;
}

void json_null(struct json *json)
{
    separate(json);
    fputs("null", json->file);
}

void json_bool(struct json *json, bool value)
{
    separate(json);
    fputs(value ? "true" : "false", json->file);
}

void json_int(struct json *json, int64_t value)
{
    separate(json);
    fprintf(json->file, "%" PRId64, value);
}

void json_uint(struct json *json, uint64_t value)
{
    separate(json);
    fprintf(json->file, "%" PRIu64, value);
}

/* The shortest of 15 to 17 digits that reads back as the same number, always with a mark of a real. */
void json_real(struct json *json, double value)
{
    char text[40] = "";
    int digits = 15;

    if (!isfinite(value)) {
        json_null(json);
        return;
    }
    do
        snprintf(text, sizeof text, "%.*g", digits, value);
    while (digits++ < 17 && strtod(text, NULL) != value);
    separate(json);
    fputs(text, json->file);
    if (!strpbrk(text, ".e"))
        fputs(".0", json->file);
}

/* The lowest and highest second byte that may follow a lead byte: what keeps overlong forms, surrogates and numbers
 * beyond U+10FFFF out. */
static void second_byte_range(unsigned char lead, unsigned char *out_low, unsigned char *out_high)
{
    *out_low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *out_high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
}

size_t json_utf8_length(const char *bytes, size_t left, size_t *out_bad)
{
    const unsigned char *p = (const unsigned char *)bytes;
    unsigned char low = 0;
    unsigned char high = 0;
    size_t length = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 0;

    *out_bad = 1;
    second_byte_range(p[0], &low, &high);
    for (size_t i = 1; i < length; i++) {
        if (i >= left || p[i] < low || p[i] > high) {
            *out_bad = i;
            return 0;
        }
        low = 0x80;
        high = 0xBF;
    }
    return length;
}

static void put_ascii(FILE *file, unsigned char c)
{
    static const char escapes[] = "\b\t\n\f\r\"\\";
    static const char letters[] = "btnfr\"\\";
    const char *found = c ? strchr(escapes, c) : NULL;

    if (found)
        fprintf(file, "\\%c", letters[found - escapes]);
    else if (c < 0x20 || c == 0x7F)
        fprintf(file, "\\u%04x", c);
    else
        putc(c, file);
}

static void put_text(FILE *file, const char *bytes, size_t len_bytes)
{
    const unsigned char *p = (const unsigned char *)bytes;
    size_t bad = 0;

    for (size_t i = 0; i < len_bytes;) {
        size_t length = json_utf8_length(bytes + i, len_bytes - i, &bad);

        if (length == 1)
            put_ascii(file, p[i]);
        else if (length > 1)
            fwrite(p + i, 1, length, file);
        else
            fputs("\xEF\xBF\xBD", file);
        i += length ? length : bad;
    }
}

void json_bytes(struct json *json, const char *bytes, size_t len_bytes)
{
    separate(json);
    putc('"', json->file);
    put_text(json->file, bytes, len_bytes);
    putc('"', json->file);
}

void json_string(struct json *json, const char *text)
{
    if (text)
        json_bytes(json, text, strlen(text));
    else
        json_null(json);
}

static void put_hex(FILE *file, const unsigned char *bytes, size_t len_bytes)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len_bytes; i++) {
        putc(digits[bytes[i] >> 4], file);
        putc(digits[bytes[i] & 15], file);
    }
}

void json_hex(struct json *json, const void *bytes, size_t len_bytes)
{
    separate(json);
    putc('"', json->file);
    put_hex(json->file, bytes, len_bytes);
    putc('"', json->file);
}

/* ---- streams ---- */

struct stream {
    FILE *file;
    bool is_hex;
    char rest[4]; /* the beginning of a character whose end has not come yet */
    size_t rest_length;
};

/* How many bytes at the end may be the beginning of a character. */
static size_t open_end(const char *bytes, size_t length)
{
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        unsigned char c = (unsigned char)bytes[length - back];

        if (c >= 0xC0)
            return back < (c >= 0xF0 ? 4u : c >= 0xE0 ? 3u : 2u) ? back : 0;
        if (c < 0x80)
            return 0;
    }
    return 0;
}

static ssize_t stream_write(void *context, const char *bytes, size_t size)
{
    struct stream *stream = context;
    size_t used = 0;
    size_t kept = 0;

    if (stream->is_hex) {
        put_hex(stream->file, (const unsigned char *)bytes, size);
        return (ssize_t)size;
    }
    while (stream->rest_length && used < size) {
        stream->rest[stream->rest_length++] = bytes[used++];
        if (open_end(stream->rest, stream->rest_length) != stream->rest_length) {
            put_text(stream->file, stream->rest, stream->rest_length);
            stream->rest_length = 0;
        }
    }
    kept = open_end(bytes + used, size - used);
    put_text(stream->file, bytes + used, size - used - kept);
    if (kept) {
        memcpy(stream->rest, bytes + size - kept, kept);
        stream->rest_length = kept;
    }
    return (ssize_t)size;
}

static int stream_close(void *context)
{
    struct stream *stream = context;
    int failed = 0;

    put_text(stream->file, stream->rest, stream->rest_length);
    putc('"', stream->file);
    failed = ferror(stream->file);
    free(stream);
    return failed ? -1 : 0;
}

FILE *json_stream(struct json *json, bool is_hex)
{
    static const cookie_io_functions_t functions = {.write = stream_write, .close = stream_close};
    struct stream *stream = malloc(sizeof *stream);
    FILE *file = NULL;

    if (!stream)
        return NULL;
    *stream = (struct stream){.file = json->file, .is_hex = is_hex};
    file = fopencookie(stream, "w", functions);
    if (!file) {
        free(stream);
        return NULL;
    }
    separate(json);
    putc('"', json->file);
    return file;
}

void json_put_string(struct json *json, const char *key, const char *text)
{
    json_key(json, key);
    json_string(json, text);
}

void json_put_id(struct json *json, const char *key, const char *id)
{
    json_put_string(json, key, id[0] ? id : NULL);
}

void json_put_time(struct json *json, const char *key, int64_t ms)
{
    char text[64] = "";
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts = {0};

    json_key(json, key);
    if (ms == 0 || !gmtime_r(&seconds, &parts)) {
        json_null(json);
        return;
    }
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    json_string(json, text);
}

void json_put_uint(struct json *json, const char *key, uint64_t value)
{
    json_key(json, key);
    json_uint(json, value);
}

void json_put_bool(struct json *json, const char *key, bool value)
{
    json_key(json, key);
    json_bool(json, value);
}

void json_put_null(struct json *json, const char *key)
{
    json_key(json, key);
    json_null(json);
}
