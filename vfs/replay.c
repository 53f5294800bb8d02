/* replay.c - the formats of SQLite's rollback journal and WAL.
 *
 * Rollback journal, big-endian:
 *
 *     header    0  8  d9 d5 05 f9 20 a1 63 d7
 *               8  4  records after this header; ffffffff: up to the end of the file
 *              12  4  nonce of the records' checksums
 *              16  4  pages of the database before the transaction
 *              20  4  sector size: a header takes one sector and starts at a multiple of it
 *              24  4  page size
 *     record       4  page, from 1
 *                  n  its bytes before the transaction
 *                  4  nonce + every 200th byte, counted from the end
 *     tail         the super-journal's name where there is one: page number of the lock byte, name, length of the
 *                  name, sum of its bytes, magic
 *
 * Each header is followed by its records; the next header stands at the next sector.
 *
 * WAL, big-endian:
 *
 *     header    0  4  377f0682, or 377f0683 when checksums take words big-endian
 *               4  4  3007000
 *               8  4  page size, 12 4 checkpoints, 16 8 salt
 *              24  8  checksum of bytes 0 to 23
 *     frame     0  4  page, from 1
 *               4  4  pages of the database when this frame ends a transaction, else 0
 *               8  8  salt, as in the header
 *              16  8  checksum of bytes 0 to 7 and of the page, going on from the frame before
 *              24  n  the page
 */
#include "replay.h"

#include "error.h"
#include "os.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PENDING_BYTE  0x40000000u
#define PAGE_SIZE_MIN 512u
#define PAGE_SIZE_MAX 65536u

static uint32_t big32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static uint32_t little32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | (uint32_t)p[0];
}

static bool is_page_size(uint32_t size)
{
    return size >= PAGE_SIZE_MIN && size <= PAGE_SIZE_MAX && (size & (size - 1)) == 0;
}

/* ---- patches --------------------------------------------------------------------------------------------------- */

void bough__replay_release(struct bough__replay *replay)
{
    free(replay->patches);
    memset(replay, 0, sizeof *replay);
}

static int add_patch(struct bough__replay *replay, uint64_t page, uint64_t offset)
{
    if (replay->count == replay->capacity) {
        size_t capacity = replay->capacity ? replay->capacity * 2 : 256;
        struct bough__patch *grown = bough__realloc(replay->patches, capacity * sizeof *grown);
        if (!grown)
            return BOUGH_NOMEM;
        replay->patches = grown;
        replay->capacity = capacity;
    }
    replay->patches[replay->count++] = (struct bough__patch){page, offset};
    return BOUGH_OK;
}

static int compare_patches(const void *left, const void *right)
{
    const struct bough__patch *a = left, *b = right;
    if (a->page != b->page)
        return a->page < b->page ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Records are applied in the order of the file, so the last one of a page is what stays. */
static void settle_patches(struct bough__replay *replay)
{
    size_t kept = 0;
    if (replay->count > 1)
        qsort(replay->patches, replay->count, sizeof *replay->patches, compare_patches);
    for (size_t i = 0; i < replay->count; i++)
        if (i + 1 == replay->count || replay->patches[i].page != replay->patches[i + 1].page)
            replay->patches[kept++] = replay->patches[i];
    replay->count = kept;
}

size_t bough__replay_find(const struct bough__replay *replay, uint64_t offset)
{
    size_t low = 0, high = replay->count;
    uint64_t page = replay->page_size ? offset / replay->page_size : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (replay->patches[middle].page < page)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- rollback journal ------------------------------------------------------------------------------------------ */

static const uint8_t journal_magic[8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
#define JOURNAL_HEADER_SIZE 28
/* Sector size that SQLite assumes before it has read the first header. */
#define FIRST_SECTOR_SIZE 512u
#define SECTOR_SIZE_MAX   65536u

struct journal {
    int fd;
    const char *path;
    uint64_t size_bytes, offset;
    uint32_t sector_size, page_size;
    uint32_t record_count, nonce, page_count; /* of the header read last */
    uint8_t *record;                          /* page number, page, checksum */
};

/* SQLite's own test for a file that exists: an empty one does not. */
static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && (!S_ISREG(info.st_mode) || info.st_size > 0);
}

/* A journal that names a super-journal belongs to a transaction over several files. It is decided by that file's
 * existence: gone means committed. */
static int is_decided(bool *out, const struct journal *journal)
{
    uint8_t tail[16];
    char name[PATH_MAX + 1];
    *out = false;
    if (journal->size_bytes < sizeof tail)
        return BOUGH_OK;
    int rc = bough__os_read(journal->fd, tail, sizeof tail, journal->size_bytes - sizeof tail, journal->path);
    if (rc != BOUGH_OK)
        return rc;
    uint32_t len = big32(tail), sum = big32(tail + 4);
    if (memcmp(tail + 8, journal_magic, sizeof journal_magic) != 0 || len == 0 || len >= sizeof name ||
        len > journal->size_bytes - sizeof tail)
        return BOUGH_OK;
    rc = bough__os_read(journal->fd, name, len, journal->size_bytes - sizeof tail - len, journal->path);
    if (rc != BOUGH_OK)
        return rc;
    name[len] = 0;
    int64_t found = 0;
    for (uint32_t i = 0; i < len; i++)
        found += name[i]; /* plain char, signed where the compiler's is, as SQLite adds it */
    *out = (uint32_t)found == sum && name[0] && !exists(name);
    return BOUGH_OK;
}

/* The next header; *out false: there is none, and playback is over. */
static int read_header(bool *out, struct journal *journal)
{
    uint8_t header[JOURNAL_HEADER_SIZE];
    bool is_first = journal->offset == 0;
    *out = false;
    journal->offset = (journal->offset + journal->sector_size - 1) / journal->sector_size * journal->sector_size;
    if (journal->offset + journal->sector_size > journal->size_bytes)
        return BOUGH_OK;
    int rc = bough__os_read(journal->fd, header, sizeof header, journal->offset, journal->path);
    if (rc != BOUGH_OK || memcmp(header, journal_magic, sizeof journal_magic) != 0)
        return rc;
    journal->record_count = big32(header + 8);
    journal->nonce = big32(header + 12);
    journal->page_count = big32(header + 16);
    if (is_first) {
        uint32_t sector_size = big32(header + 20);
        journal->page_size = big32(header + 24);
        if (journal->page_size == 0)
            return bough__fail(BOUGH_CORRUPT,
                               "%s is a journal of SQLite before 3.4, which says no page size; let "
                               "SQLite roll it back first",
                               journal->path);
        if (!is_page_size(journal->page_size) || sector_size < 32 || sector_size > SECTOR_SIZE_MAX ||
            (sector_size & (sector_size - 1)) != 0)
            return BOUGH_OK;
        journal->sector_size = sector_size;
    }
    journal->offset += journal->sector_size;
    *out = true;
    return BOUGH_OK;
}

static uint32_t journal_sum(const uint8_t *page, uint32_t page_size, uint32_t nonce)
{
    uint32_t sum = nonce;
    for (int64_t i = (int64_t)page_size - 200; i > 0; i -= 200)
        sum += page[i];
    return sum;
}

enum record { RECORD_USED, RECORD_SKIPPED, RECORD_LAST /* damaged or cut off: nothing after it counts */ };

static int read_record(enum record *out, struct bough__replay *replay, struct journal *journal, uint32_t page_limit)
{
    uint64_t record_size = (uint64_t)journal->page_size + 8;
    *out = RECORD_LAST;
    if (journal->offset + record_size > journal->size_bytes)
        return BOUGH_OK;
    int rc = bough__os_read(journal->fd, journal->record, (size_t)record_size, journal->offset, journal->path);
    if (rc != BOUGH_OK)
        return rc;
    uint64_t offset = journal->offset + 4;
    uint32_t number = big32(journal->record);
    journal->offset += record_size;
    if (number == 0 || number == PENDING_BYTE / journal->page_size + 1)
        return BOUGH_OK;
    *out = RECORD_SKIPPED;
    if (number > page_limit)
        return BOUGH_OK;
    *out = RECORD_LAST;
    if (big32(journal->record + 4 + journal->page_size) !=
        journal_sum(journal->record + 4, journal->page_size, journal->nonce))
        return BOUGH_OK;
    *out = RECORD_USED;
    return add_patch(replay, number - 1, offset);
}

/* The size that the rollback's truncation leaves; pages played back may lie beyond it. */
static uint64_t size_after_truncation(uint64_t size_bytes, uint64_t page_count, uint32_t page_size)
{
    uint64_t wanted = page_count * page_size;
    return size_bytes > wanted || size_bytes + page_size <= wanted ? wanted : size_bytes;
}

static int play_segment(bool *out_more, struct bough__replay *replay, struct journal *journal, uint32_t page_limit)
{
    uint64_t count = journal->record_count;
    if (journal->record_count == UINT32_MAX)
        count = (journal->size_bytes - journal->offset) / ((uint64_t)journal->page_size + 8);
    for (uint64_t i = 0; i < count; i++) {
        enum record kind = RECORD_LAST;
        int rc = read_record(&kind, replay, journal, page_limit);
        if (rc != BOUGH_OK)
            return rc;
        if (kind == RECORD_LAST) {
            *out_more = false;
            break;
        }
    }
    return BOUGH_OK;
}

static int play_journal(struct bough__replay *replay, struct journal *journal, uint64_t db_size_bytes)
{
    bool more = false;
    int rc = read_header(&more, journal);
    if (rc != BOUGH_OK || !more)
        return rc;
    uint32_t page_limit = journal->page_count;
    replay->applies = true;
    replay->page_size = journal->page_size;
    replay->size_bytes = size_after_truncation(db_size_bytes, page_limit, journal->page_size);
    journal->record = bough__alloc((size_t)journal->page_size + 8);
    if (!journal->record)
        return BOUGH_NOMEM;
    while (rc == BOUGH_OK && more) {
        rc = play_segment(&more, replay, journal, page_limit);
        if (rc == BOUGH_OK && more)
            rc = read_header(&more, journal);
    }
    settle_patches(replay);
    if (replay->count) {
        uint64_t end = (replay->patches[replay->count - 1].page + 1) * replay->page_size;
        replay->size_bytes = end > replay->size_bytes ? end : replay->size_bytes;
    }
    return rc;
}

int bough__replay_journal(struct bough__replay *out, int fd, const char *path, uint64_t db_size_bytes)
{
    struct journal journal = {.fd = fd, .path = path, .sector_size = FIRST_SECTOR_SIZE};
    uint8_t first = 0;
    size_t len = 0;
    bool decided = false;
    memset(out, 0, sizeof *out);
    int rc = bough__os_size(&journal.size_bytes, fd, path);
    if (rc == BOUGH_OK)
        rc = bough__os_read_some(&len, fd, &first, 1, 0, path);
    if (rc == BOUGH_OK && first != 0)
        rc = is_decided(&decided, &journal);
    if (rc == BOUGH_OK && first != 0 && !decided)
        rc = play_journal(out, &journal, db_size_bytes);
    free(journal.record);
    if (rc != BOUGH_OK)
        bough__replay_release(out);
    return rc;
}

/* ---- WAL ------------------------------------------------------------------------------------------------------- */

#define WAL_MAGIC         0x377f0682u
#define WAL_VERSION       3007000u
#define FRAME_HEADER_SIZE 24

struct wal {
    int fd;
    const char *path;
    uint64_t size_bytes;
    bool is_big_endian; /* the words of its checksums */
    uint32_t page_size;
    uint8_t salt[8];
    uint32_t sum[2];
    uint8_t *frame;
};

static void add_to_sum(uint32_t sum[2], const uint8_t *bytes, size_t len_bytes, bool is_big_endian)
{
    uint32_t first = sum[0], second = sum[1];
    for (size_t i = 0; i < len_bytes; i += 8) {
        first += (is_big_endian ? big32(bytes + i) : little32(bytes + i)) + second;
        second += (is_big_endian ? big32(bytes + i + 4) : little32(bytes + i + 4)) + first;
    }
    sum[0] = first;
    sum[1] = second;
}

/* *out false: SQLite would start over with an empty WAL. */
static int read_wal_header(bool *out, struct wal *wal)
{
    uint8_t header[BOUGH__WAL_HEADER_SIZE];
    size_t len = 0;
    *out = false;
    int rc = bough__os_read_some(&len, wal->fd, header, sizeof header, 0, wal->path);
    if (rc != BOUGH_OK || len < sizeof header)
        return rc;
    wal->is_big_endian = big32(header) & 1;
    wal->page_size = big32(header + 8);
    if ((big32(header) & ~1u) != WAL_MAGIC || !is_page_size(wal->page_size))
        return BOUGH_OK;
    add_to_sum(wal->sum, header, 24, wal->is_big_endian);
    if (wal->sum[0] != big32(header + 24) || wal->sum[1] != big32(header + 28))
        return BOUGH_OK;
    if (big32(header + 4) != WAL_VERSION)
        return bough__fail(BOUGH_CORRUPT, "%s has format %u, which is not known", wal->path, big32(header + 4));
    memcpy(wal->salt, header + 16, sizeof wal->salt);
    *out = true;
    return BOUGH_OK;
}

/* *out false: the frame does not belong to this WAL, or only partly came to disk. */
static int read_frame(bool *out, struct wal *wal, uint64_t offset)
{
    size_t frame_size = FRAME_HEADER_SIZE + (size_t)wal->page_size, len = 0;
    *out = false;
    int rc = bough__os_read_some(&len, wal->fd, wal->frame, frame_size, offset, wal->path);
    if (rc != BOUGH_OK || len < frame_size)
        return rc;
    if (memcmp(wal->frame + 8, wal->salt, sizeof wal->salt) != 0 || big32(wal->frame) == 0)
        return BOUGH_OK;
    add_to_sum(wal->sum, wal->frame, 8, wal->is_big_endian);
    add_to_sum(wal->sum, wal->frame + FRAME_HEADER_SIZE, wal->page_size, wal->is_big_endian);
    *out = wal->sum[0] == big32(wal->frame + 16) && wal->sum[1] == big32(wal->frame + 20);
    return BOUGH_OK;
}

/* Reads frames until one is not valid or the limit is reached; *out_frames: up to the last commit. */
static int read_frames(uint64_t *out_frames, struct bough__replay *replay, struct wal *wal, uint64_t frame_limit)
{
    uint64_t frame_size = FRAME_HEADER_SIZE + (uint64_t)wal->page_size;
    size_t committed = 0;
    *out_frames = 0;
    for (uint64_t frame = 0; frame < frame_limit; frame++) {
        uint64_t offset = BOUGH__WAL_HEADER_SIZE + frame * frame_size;
        bool is_valid = false;
        int rc = read_frame(&is_valid, wal, offset);
        if (rc == BOUGH_OK && !is_valid)
            break;
        if (rc == BOUGH_OK)
            rc = add_patch(replay, (uint64_t)big32(wal->frame) - 1, offset + FRAME_HEADER_SIZE);
        if (rc != BOUGH_OK)
            return rc;
        if (big32(wal->frame + 4) != 0) {
            committed = replay->count;
            *out_frames = frame + 1;
            replay->size_bytes = (uint64_t)big32(wal->frame + 4) * wal->page_size;
        }
    }
    replay->count = committed;
    return BOUGH_OK;
}

/* A checkpoint leaves out pages that the last commit cut off. */
static void drop_beyond_end(struct bough__replay *replay)
{
    while (replay->count && replay->patches[replay->count - 1].page * replay->page_size >= replay->size_bytes)
        replay->count--;
}

int bough__replay_wal(struct bough__replay *out, int fd, const char *path, uint64_t frame_limit)
{
    struct wal wal = {.fd = fd, .path = path};
    uint64_t frames = 0;
    bool has_header = false;
    memset(out, 0, sizeof *out);
    int rc = read_wal_header(&has_header, &wal);
    if (rc == BOUGH_OK && has_header) {
        out->page_size = wal.page_size;
        wal.frame = bough__alloc(FRAME_HEADER_SIZE + (size_t)wal.page_size);
        rc = wal.frame ? read_frames(&frames, out, &wal, frame_limit) : BOUGH_NOMEM;
    }
    if (rc == BOUGH_OK && frame_limit != UINT64_MAX && frames != frame_limit)
        rc = bough__fail(BOUGH_CORRUPT, "%s: %llu frames are in use, but frame %llu fails its check", path,
                         (unsigned long long)frame_limit, (unsigned long long)frames + 1);
    if (rc == BOUGH_OK && frames) {
        out->applies = true;
        settle_patches(out);
        drop_beyond_end(out);
    }
    free(wal.frame);
    if (rc != BOUGH_OK)
        bough__replay_release(out);
    return rc;
}
