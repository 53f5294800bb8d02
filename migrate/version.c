/* version.c - see version.h. */
#include "version.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define FIRST_TIME_MS 100000000000 /* 1e11: smaller numbers are counts, not times */

static int number_at(const char *digits, size_t length)
{
    int value = 0;

    for (size_t i = 0; i < length; i++)
        value = value * 10 + (digits[i] - '0');
    return value;
}

/* timegm() takes the 31st of a shorter month for the 1st of the next one; reading its result back shows that. */
static bool parse_time(int64_t *out_ms, const char *digits, size_t length)
{
    struct tm parts = {0};
    struct tm again = {0};
    time_t seconds = 0;

    parts.tm_year = number_at(digits, 4) - 1900;
    parts.tm_mon = number_at(digits + 4, 2) - 1;
    parts.tm_mday = number_at(digits + 6, 2);
    parts.tm_hour = number_at(digits + 8, 2);
    parts.tm_min = number_at(digits + 10, 2);
    parts.tm_sec = number_at(digits + 12, 2);
    again = parts;
    seconds = timegm(&again);
    if (!gmtime_r(&seconds, &again) || again.tm_year != parts.tm_year || again.tm_mon != parts.tm_mon ||
        again.tm_mday != parts.tm_mday || again.tm_hour != parts.tm_hour || again.tm_min != parts.tm_min ||
        again.tm_sec != parts.tm_sec)
        return false;
    *out_ms = (int64_t)seconds * 1000 + (length == 17 ? number_at(digits + 14, 3) : 0);
    return true;
}

bool bough__version_parse(int64_t *out_ms, const char *digits, size_t length)
{
    int64_t value = 0;

    if (length == 0 || strspn(digits, "0123456789") < length)
        return false;
    if ((length == 14 || length == 17) && parse_time(out_ms, digits, length))
        return true;
    for (size_t i = 0; i < length; i++) {
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, digits[i] - '0', &value))
            return false;
    }
    *out_ms = value;
    return true;
}

void bough__version_format(char out[BOUGH__VERSION_SIZE], int64_t defined_at_ms)
{
    time_t seconds = (time_t)(defined_at_ms / 1000);
    int milliseconds = (int)(defined_at_ms % 1000);
    struct tm parts = {0};
    size_t length = 0;

    if (defined_at_ms >= FIRST_TIME_MS && gmtime_r(&seconds, &parts) && parts.tm_year <= 9999 - 1900)
        length = strftime(out, BOUGH__VERSION_SIZE, "%Y%m%d%H%M%S", &parts);
    if (length != 14)
        snprintf(out, BOUGH__VERSION_SIZE, "%" PRId64, defined_at_ms);
    else if (milliseconds)
        snprintf(out + length, BOUGH__VERSION_SIZE - length, "%03d", milliseconds);
}
