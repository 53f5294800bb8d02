/* header.c - see header.h. Offsets are those of SQLite's file format document, section 1.3. */
#include "header.h"

#include <string.h>

#define PAGE_SIZE 16 /* big-endian; 1 stands for 65536 */
#define VERSIONS 18 /* write version, read version */
#define ROLLBACK 1
#define WAL 2
#define CHANGE_COUNTER 24
#define VERSION_VALID_FOR 92 /* to 99: the counter again, and SQLite's version number; rewritten with it */

unsigned bough__header_wal(const uint8_t *page)
{
    return (page[VERSIONS] == WAL ? 1U : 0U) | (page[VERSIONS + 1] == WAL ? 2U : 0U);
}

void bough__header_show(uint8_t *bytes, size_t len_bytes, uint64_t offset)
{
    for (uint64_t at = VERSIONS; at < VERSIONS + 2; at++) {
        if (at >= offset && at - offset < len_bytes && bytes[at - offset] == WAL)
            bytes[at - offset] = ROLLBACK;
    }
}

bool bough__header_keeps(const uint8_t *page, unsigned wal)
{
    return ((wal & 1) && page[VERSIONS] == ROLLBACK) || ((wal & 2) && page[VERSIONS + 1] == ROLLBACK);
}

void bough__header_keep(uint8_t *page, unsigned wal)
{
    for (unsigned i = 0; i < 2; i++) {
        if ((wal & (1U << i)) && page[VERSIONS + i] == ROLLBACK)
            page[VERSIONS + i] = WAL;
    }
}

uint32_t bough__header_page_size(const uint8_t *page)
{
    uint32_t size = (uint32_t)page[PAGE_SIZE] << 8 | page[PAGE_SIZE + 1];
    size = size == 1 ? 65536 : size;
    bool is_header = memcmp(page, "SQLite format 3", 16) == 0;
    return is_header && size >= 512 && (size & (size - 1)) == 0 ? size : 0;
}

static uint32_t number_at(const uint8_t bytes[4])
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void set_number(uint8_t bytes[4], uint32_t number)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(number >> (24 - 8 * i));
}

uint32_t bough__header_cookie(const uint8_t bytes[BOUGH__COOKIE_BYTES])
{
    return number_at(bytes);
}

void bough__header_set_cookie(uint8_t bytes[BOUGH__COOKIE_BYTES], uint32_t cookie)
{
    set_number(bytes, cookie);
}

uint32_t bough__header_counter(const uint8_t *page)
{
    return number_at(page + CHANGE_COUNTER);
}

void bough__header_add_to_counter(uint8_t *bytes, size_t len_bytes, uint64_t offset, uint32_t delta)
{
    static const uint64_t places[] = {CHANGE_COUNTER, VERSION_VALID_FOR};
    for (unsigned i = 0; i < 2; i++)
        if (offset <= places[i] && places[i] + 4 - offset <= len_bytes)
            set_number(bytes + (places[i] - offset), number_at(bytes + (places[i] - offset)) + delta);
}

static bool has_counter_twice(const uint8_t *page)
{
    return memcmp(page + CHANGE_COUNTER, page + VERSION_VALID_FOR, 4) == 0;
}

bool bough__header_same_but_counter(const uint8_t *a, const uint8_t *b, size_t len_bytes)
{
    size_t between = CHANGE_COUNTER + 4, behind = VERSION_VALID_FOR + 4;
    return has_counter_twice(a) && has_counter_twice(b) && memcmp(a, b, CHANGE_COUNTER) == 0 &&
           memcmp(a + between, b + between, VERSION_VALID_FOR - between) == 0 &&
           memcmp(a + behind, b + behind, len_bytes - behind) == 0;
}

bool bough__header_enters_wal(const uint8_t *stored, const uint8_t *page, size_t len_bytes)
{
    if (len_bytes < BOUGH__HEADER_BYTES || page[VERSIONS] != WAL || page[VERSIONS + 1] != WAL)
        return false;
    return memcmp(stored, page, VERSIONS) == 0 &&
           memcmp(stored + VERSIONS + 2, page + VERSIONS + 2, CHANGE_COUNTER - VERSIONS - 2) == 0 &&
           memcmp(stored + CHANGE_COUNTER + 4, page + CHANGE_COUNTER + 4,
                  VERSION_VALID_FOR - CHANGE_COUNTER - 4) == 0 &&
           memcmp(stored + BOUGH__HEADER_BYTES, page + BOUGH__HEADER_BYTES, len_bytes - BOUGH__HEADER_BYTES) == 0;
}
