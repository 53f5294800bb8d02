/* shop_main.c - bough_shop FILE SIZE: writes a shop's database of about SIZE (suffixes K, M, G) to FILE. */
#include "shop.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t parse_size(const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);
    switch (*end) {
    case 'K':
    case 'k':
        value *= 1e3;
        break;
    case 'M':
    case 'm':
        value *= 1e6;
        break;
    case 'G':
    case 'g':
        value *= 1e9;
        break;
    case '\0':
        break;
    default:
        return 0;
    }
    return value >= 1 && value < 1e15 ? (uint64_t)value : 0;
}

int main(int argc, char **argv)
{
    uint64_t size_bytes = argc == 3 ? parse_size(argv[2]) : 0;
    if (size_bytes == 0) {
        fprintf(stderr, "usage: bough_shop FILE SIZE\n  SIZE: bytes, or with a suffix K, M or G\n");
        return 2;
    }
    return shop_make(argv[1], size_bytes) == 0 ? 0 : 7;
}
