/* header.h - the bytes of SQLite's database header that the VFS knows: 16 to 19, 24 to 43 and 92 to 99. Pure functions;
 * no other file of bough knows what a database header looks like, except the capture of database files.
 */
#ifndef BOUGH_VFS_HEADER_H
#define BOUGH_VFS_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOUGH__HEADER_BYTES 100
#define BOUGH__VALIDITY_OFFSET 24 /* what SQLite compares to see whether its cache is still right */
#define BOUGH__VALIDITY_BYTES 16
#define BOUGH__COOKIE_OFFSET 40 /* the schema cookie, a big-endian number */
#define BOUGH__COOKIE_BYTES 4

/* Which of the write version (byte 18) and the read version (byte 19) say WAL; page begins at byte 0. */
unsigned bough__header_wal(const uint8_t *page);
/* Bytes [offset, offset + len_bytes) of a database as SQLite is to see them: a WAL database looks like one with a
 * rollback journal, since the store is the journal. */
void bough__header_show(uint8_t *bytes, size_t len_bytes, uint64_t offset);
/* The other way round, for a first page on its way into the store: what said WAL there (wal: bough__header_wal of the
 * page that is replaced) goes on saying so. Returns false when nothing has to change. */
bool bough__header_keeps(const uint8_t *page, unsigned wal);
void bough__header_keep(uint8_t *page, unsigned wal);
/* The page size; 0 when the bytes are no header. */
uint32_t bough__header_page_size(const uint8_t *page);
uint32_t bough__header_cookie(const uint8_t bytes[BOUGH__COOKIE_BYTES]);
void bough__header_set_cookie(uint8_t bytes[BOUGH__COOKIE_BYTES], uint32_t cookie);
/* The change counter, which the header has twice. */
uint32_t bough__header_counter(const uint8_t *page);
/* Adds to it wherever the bytes [offset, offset + len_bytes) of a database have it whole. */
void bough__header_add_to_counter(uint8_t *bytes, size_t len_bytes, uint64_t offset, uint32_t delta);
/* True when two first pages are the same but for the change counter, and both have theirs twice. */
bool bough__header_same_but_counter(const uint8_t *a, const uint8_t *b, size_t len_bytes);
/* True when `page` would turn `stored` into a WAL database and do nothing else: PRAGMA journal_mode=WAL at work. */
bool bough__header_enters_wal(const uint8_t *stored, const uint8_t *page, size_t len_bytes);

#endif
