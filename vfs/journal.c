/* journal.c - a virtual rollback journal.
 *
 * The engine's layer makes a branch's transactions atomic, so the journal that SQLite's pager writes is never needed
 * after a crash. It serves ROLLBACK and savepoints inside the process: it is memory, then an unlinked temporary file,
 * and no sync reaches a disk.
 *
 * By reference. Most of a journal is page images as they were before the transaction, and those bytes still stand in
 * the snapshot that the transaction began on. Such an image is left out and read from there again. The main journal is
 * a sequence of
 *
 *     header          one sector: magic, record count, checksum seed, page count, sector size, page size
 *     records         page number (4, big-endian), image (page size), checksum (4), each written by a call of its own
 *     header, records ...
 *
 * so an image is a write of a page's size that follows a write of 4 bytes. Nothing hangs on that guess: an image is
 * left out only if the snapshot's block has exactly those bytes, so that what is read back is what was written,
 * whatever it was meant to be. Page 1 is always kept, because the header is shown to SQLite otherwise than it is
 * stored. Small transactions stay under REFERENCE_FROM and skip the comparison: copying the page costs less.
 *
 * Layout. Stored bytes form one stream: the newest part in a buffer of up to BUFFER_MAX, everything before it in the
 * temporary file. Extents map the journal's offsets onto the stream, in order and without gaps:
 *
 *     plain     `len_bytes` bytes of the stream from `stored` on
 *     records   journal records of which the stream holds 8 bytes each, number and checksum
 *
 * A journal that names a super-journal is not kept as such: the mark behind the name is zeros when it is read again.
 *
 * The checksum of the newest record may be missing yet: then len_bytes ends 4 bytes short. A write into the middle of
 * records (it does not happen with the pagers known) first turns them into a plain extent.
 */
#include "journal.h"

#include "codec.h"
#include "os.h"
#include "process.h"

#include <stdlib.h>
#include <string.h>

#define BUFFER_MAX (1U << 20)
#define BUFFER_MIN (16U << 10)
#define FILE_WRITE (64U << 10) /* SQLite's VFSs take up to 128 KiB at once */
#define REFERENCE_FROM (256U << 10)
#define NUMBER_BYTES 4
#define STORED_RECORD 8
#define FINAL_HEADER 28 /* SQLite overwrites this many bytes with zeros to say that a journal is over */

enum extent_kind { PLAIN, RECORDS };

struct extent {
    uint64_t at;        /* offset in the journal */
    uint64_t len_bytes; /* there */
    uint64_t stored;    /* offset in the stream */
    enum extent_kind kind;
};

struct bough__journal {
    sqlite3_vfs *system;
    struct bough__journal_pages pages;
    struct bough__journal **slot;
    struct extent *extents;
    size_t extent_count, extent_room;
    uint32_t epoch; /* see process.h */
    uint32_t page_bytes; /* of every image that was left out; 0 before the first */
    uint8_t *page;       /* room for one image */
    bool number_is_last; /* the newest write appended 4 bytes, which may be a page number */
    uint8_t *buffer;
    uint32_t buffer_room, buffer_used;
    uint64_t buffer_start; /* offset of the buffer in the stream */
    sqlite3_file *file;    /* the stream before buffer_start; NULL until it is needed */
};

struct handle {
    sqlite3_file base;
    struct bough__journal *journal;
};

static struct bough__journal *journal_of(sqlite3_file *file)
{
    return ((struct handle *)file)->journal;
}

/* ---- the stream ------------------------------------------------------------------------------------------------ */

static uint64_t stream_end(const struct bough__journal *journal)
{
    return journal->buffer_start + journal->buffer_used;
}

static int open_file(struct bough__journal *journal)
{
    if (journal->file)
        return SQLITE_OK;
    sqlite3_file *file = sqlite3_malloc(journal->system->szOsFile);
    if (!file)
        return SQLITE_IOERR_NOMEM;
    memset(file, 0, (size_t)journal->system->szOsFile);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_EXCLUSIVE | SQLITE_OPEN_DELETEONCLOSE |
                SQLITE_OPEN_TEMP_JOURNAL;
    int rc = journal->system->xOpen(journal->system, NULL, file, flags, &flags);
    if (rc != SQLITE_OK) {
        sqlite3_free(file);
        return rc;
    }
    journal->file = file;
    return SQLITE_OK;
}

static int flush_buffer(struct bough__journal *journal)
{
    int rc = open_file(journal);
    for (uint32_t done = 0; rc == SQLITE_OK && done < journal->buffer_used; done += FILE_WRITE) {
        uint32_t left = journal->buffer_used - done;
        rc = journal->file->pMethods->xWrite(journal->file, journal->buffer + done,
                                             (int)(left < FILE_WRITE ? left : FILE_WRITE),
                                             (sqlite3_int64)(journal->buffer_start + done));
    }
    if (rc == SQLITE_OK) {
        journal->buffer_start += journal->buffer_used;
        journal->buffer_used = 0;
    }
    return rc;
}

static int grow_buffer(struct bough__journal *journal, uint32_t need)
{
    uint32_t room = journal->buffer_room ? journal->buffer_room : BUFFER_MIN;
    while (room < need && room < BUFFER_MAX)
        room *= 2;
    if (room == journal->buffer_room)
        return SQLITE_OK;
    uint8_t *buffer = bough__realloc(journal->buffer, room);
    if (!buffer)
        return SQLITE_IOERR_NOMEM;
    journal->buffer = buffer;
    journal->buffer_room = room;
    return SQLITE_OK;
}

/* bytes NULL: zeros. */
static int stream_append(struct bough__journal *journal, const uint8_t *bytes, size_t len_bytes)
{
    while (len_bytes > 0) {
        if (journal->buffer_used == journal->buffer_room || journal->buffer_used + len_bytes > journal->buffer_room) {
            size_t need = journal->buffer_used + len_bytes;
            int rc = grow_buffer(journal, need > BUFFER_MAX ? BUFFER_MAX : (uint32_t)need);
            if (rc == SQLITE_OK && journal->buffer_used == journal->buffer_room)
                rc = flush_buffer(journal);
            if (rc != SQLITE_OK)
                return rc;
        }
        size_t count = journal->buffer_room - journal->buffer_used;
        if (count > len_bytes)
            count = len_bytes;
        if (bytes) {
            memcpy(journal->buffer + journal->buffer_used, bytes, count);
            bytes += count;
        } else {
            memset(journal->buffer + journal->buffer_used, 0, count);
        }
        journal->buffer_used += (uint32_t)count;
        len_bytes -= count;
    }
    return SQLITE_OK;
}

/* Splits [at, at + len) where the file ends and the buffer begins: *out is the part in the file. */
static size_t in_file(const struct bough__journal *journal, uint64_t at, size_t len_bytes)
{
    if (at >= journal->buffer_start)
        return 0;
    uint64_t count = journal->buffer_start - at;
    return count < len_bytes ? (size_t)count : len_bytes;
}

static int stream_read(const struct bough__journal *journal, uint64_t at, uint8_t *out, size_t len_bytes)
{
    size_t count = in_file(journal, at, len_bytes);
    if (count > 0) {
        int rc = journal->file->pMethods->xRead(journal->file, out, (int)count, (sqlite3_int64)at);
        if (rc != SQLITE_OK)
            return rc == SQLITE_IOERR_SHORT_READ ? SQLITE_IOERR_READ : rc;
    }
    if (count < len_bytes)
        memcpy(out + count, journal->buffer + (at + count - journal->buffer_start), len_bytes - count);
    return SQLITE_OK;
}

static int stream_write(struct bough__journal *journal, uint64_t at, const uint8_t *bytes, size_t len_bytes)
{
    size_t count = in_file(journal, at, len_bytes);
    if (count > 0) {
        int rc = journal->file->pMethods->xWrite(journal->file, bytes, (int)count, (sqlite3_int64)at);
        if (rc != SQLITE_OK)
            return rc;
    }
    if (count < len_bytes)
        memcpy(journal->buffer + (at + count - journal->buffer_start), bytes + count, len_bytes - count);
    return SQLITE_OK;
}

static void stream_cut(struct bough__journal *journal, uint64_t end)
{
    if (end >= journal->buffer_start) {
        journal->buffer_used = (uint32_t)(end - journal->buffer_start);
    } else {
        journal->buffer_start = end;
        journal->buffer_used = 0;
    }
}

/* ---- extents --------------------------------------------------------------------------------------------------- */

static uint64_t record_bytes(const struct bough__journal *journal)
{
    return NUMBER_BYTES + (uint64_t)journal->page_bytes + 4;
}

static uint64_t journal_size(const struct bough__journal *journal)
{
    if (journal->extent_count == 0)
        return 0;
    const struct extent *last = &journal->extents[journal->extent_count - 1];
    return last->at + last->len_bytes;
}

/* Bytes of the stream that an extent takes. */
static uint64_t stored_bytes(const struct bough__journal *journal, const struct extent *extent)
{
    if (extent->kind == PLAIN)
        return extent->len_bytes;
    uint64_t each = record_bytes(journal);
    return (extent->len_bytes + each - 1) / each * STORED_RECORD;
}

static int add_extent(struct bough__journal *journal, enum extent_kind kind, uint64_t stored)
{
    if (journal->extent_count == journal->extent_room) {
        size_t room = journal->extent_room ? journal->extent_room * 2 : 8;
        struct extent *extents = bough__realloc(journal->extents, room * sizeof(*extents));
        if (!extents)
            return SQLITE_IOERR_NOMEM;
        journal->extents = extents;
        journal->extent_room = room;
    }
    struct extent *extent = &journal->extents[journal->extent_count];
    *extent = (struct extent){.at = journal_size(journal), .len_bytes = 0, .stored = stored, .kind = kind};
    journal->extent_count++;
    return SQLITE_OK;
}

/* The last extent, when it is of this kind and the next bytes of the stream continue it; else a new one. */
static int tail_extent(struct extent **out, struct bough__journal *journal, enum extent_kind kind, uint64_t stored)
{
    if (journal->extent_count > 0) {
        struct extent *last = &journal->extents[journal->extent_count - 1];
        if (last->kind == kind && last->stored + stored_bytes(journal, last) == stored) {
            *out = last;
            return SQLITE_OK;
        }
    }
    int rc = add_extent(journal, kind, stored);
    if (rc == SQLITE_OK)
        *out = &journal->extents[journal->extent_count - 1];
    return rc;
}

static size_t find_extent(const struct bough__journal *journal, uint64_t offset)
{
    size_t low = 0, high = journal->extent_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (journal->extents[middle].at <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* One piece of a record whose image was left out; *out_count: how many of the len bytes from `offset` on it filled. */
static int read_record(size_t *out_count, struct bough__journal *journal, const struct extent *extent, uint64_t offset,
                       uint8_t *out, size_t len_bytes)
{
    uint64_t each = record_bytes(journal);
    uint64_t index = (offset - extent->at) / each, within = (offset - extent->at) % each;
    uint8_t stored[STORED_RECORD] = {0};
    int rc = stream_read(journal, extent->stored + index * STORED_RECORD, stored, sizeof(stored));
    if (rc != SQLITE_OK)
        return rc;
    uint64_t image_end = NUMBER_BYTES + (uint64_t)journal->page_bytes;
    const uint8_t *from = stored + within;
    uint64_t count = NUMBER_BYTES - within;
    if (within >= image_end) {
        from = stored + NUMBER_BYTES + (within - image_end);
        count = each - within;
    } else if (within >= NUMBER_BYTES) {
        uint64_t number = (uint64_t)stored[0] << 24 | (uint64_t)stored[1] << 16 | (uint64_t)stored[2] << 8 | stored[3];
        bool is_whole = within == NUMBER_BYTES && len_bytes >= journal->page_bytes;
        rc = journal->pages.read(journal->pages.context, number - 1, is_whole ? out : journal->page);
        if (rc != SQLITE_OK)
            return rc;
        from = is_whole ? NULL : journal->page + (within - NUMBER_BYTES);
        count = image_end - within;
    }
    *out_count = count < len_bytes ? (size_t)count : len_bytes;
    if (from)
        memcpy(out, from, *out_count);
    return SQLITE_OK;
}

/* Reads [offset, offset + len), which lies inside the journal. */
static int read_range(struct bough__journal *journal, uint64_t offset, uint8_t *out, size_t len_bytes)
{
    size_t i = find_extent(journal, offset);
    while (len_bytes > 0) {
        const struct extent *extent = &journal->extents[i];
        uint64_t left = extent->at + extent->len_bytes - offset;
        size_t count = left < len_bytes ? (size_t)left : len_bytes;
        int rc = extent->kind == PLAIN
                     ? stream_read(journal, extent->stored + (offset - extent->at), out, count)
                     : read_record(&count, journal, extent, offset, out, count);
        if (rc != SQLITE_OK)
            return rc;
        offset += count;
        out += count;
        len_bytes -= count;
        if (offset == extent->at + extent->len_bytes)
            i++;
    }
    return SQLITE_OK;
}

/* Turns an extent of records into a plain one. */
static int make_plain(struct bough__journal *journal, size_t index)
{
    struct extent old = journal->extents[index];
    uint64_t stored = stream_end(journal);
    uint8_t piece[1024];
    for (uint64_t done = 0; done < old.len_bytes;) {
        uint64_t left = old.len_bytes - done;
        size_t count = left < sizeof(piece) ? (size_t)left : sizeof(piece);
        int rc = read_range(journal, old.at + done, piece, count);
        if (rc == SQLITE_OK)
            rc = stream_append(journal, piece, count);
        if (rc != SQLITE_OK) {
            stream_cut(journal, stored);
            return rc;
        }
        done += count;
    }
    journal->extents[index].kind = PLAIN;
    journal->extents[index].stored = stored;
    return SQLITE_OK;
}

static int overwrite(struct bough__journal *journal, uint64_t offset, const uint8_t *bytes, size_t len_bytes)
{
    size_t i = find_extent(journal, offset);
    while (len_bytes > 0) {
        int rc = journal->extents[i].kind == RECORDS ? make_plain(journal, i) : SQLITE_OK;
        if (rc != SQLITE_OK)
            return rc;
        const struct extent *extent = &journal->extents[i];
        uint64_t left = extent->at + extent->len_bytes - offset;
        size_t count = left < len_bytes ? (size_t)left : len_bytes;
        rc = stream_write(journal, extent->stored + (offset - extent->at), bytes, count);
        if (rc != SQLITE_OK)
            return rc;
        offset += count;
        bytes += count;
        len_bytes -= count;
        i++;
    }
    return SQLITE_OK;
}

static int append_plain(struct bough__journal *journal, const uint8_t *bytes, size_t len_bytes)
{
    struct extent *extent = NULL;
    uint64_t stored = stream_end(journal);
    int rc = tail_extent(&extent, journal, PLAIN, stored);
    if (rc == SQLITE_OK)
        rc = stream_append(journal, bytes, len_bytes);
    if (rc == SQLITE_OK)
        extent->len_bytes += len_bytes;
    else
        stream_cut(journal, stored);
    return rc;
}

/* The newest write is a page number and this one the page's image: true when the image may be left out. */
static bool may_refer(struct bough__journal *journal, uint64_t *out_block, const uint8_t *bytes, size_t len_bytes)
{
    if (!journal->number_is_last || !journal->pages.size || stream_end(journal) < REFERENCE_FROM)
        return false;
    if (len_bytes != journal->pages.size(journal->pages.context) ||
        (journal->page_bytes != 0 && journal->page_bytes != len_bytes))
        return false;
    uint8_t number[NUMBER_BYTES];
    if (stream_read(journal, stream_end(journal) - NUMBER_BYTES, number, sizeof(number)) != SQLITE_OK)
        return false;
    uint64_t page = (uint64_t)number[0] << 24 | (uint64_t)number[1] << 16 | (uint64_t)number[2] << 8 | number[3];
    if (page < 2 || !journal->pages.holds(journal->pages.context, page - 1, bytes))
        return false;
    *out_block = page - 1;
    return true;
}

/* Makes the 4 bytes at the end of the journal the start of a record whose image is left out. */
static int append_reference(struct bough__journal *journal, uint32_t page_bytes)
{
    if (!journal->page) {
        journal->page = bough__alloc(page_bytes);
        if (!journal->page)
            return SQLITE_IOERR_NOMEM;
    }
    static const uint8_t no_checksum[4];
    int rc = stream_append(journal, no_checksum, sizeof(no_checksum));
    if (rc != SQLITE_OK)
        return rc;
    journal->page_bytes = page_bytes;
    struct extent *number = &journal->extents[journal->extent_count - 1];
    uint64_t stored = stream_end(journal) - STORED_RECORD;
    number->len_bytes -= NUMBER_BYTES;
    if (number->len_bytes == 0)
        journal->extent_count--;
    struct extent *records = NULL;
    rc = tail_extent(&records, journal, RECORDS, stored);
    if (rc == SQLITE_OK) {
        records->len_bytes += NUMBER_BYTES + (uint64_t)page_bytes;
        return SQLITE_OK;
    }
    /* There was no room for another extent, so the one of the number is still there. */
    number->len_bytes += NUMBER_BYTES;
    stream_cut(journal, stored + NUMBER_BYTES);
    return rc;
}

/* Bytes of the newest record's checksum that are still to come: 4 or 0. */
static size_t checksum_missing(const struct bough__journal *journal)
{
    if (journal->extent_count == 0)
        return 0;
    const struct extent *last = &journal->extents[journal->extent_count - 1];
    return last->kind == RECORDS && last->len_bytes % record_bytes(journal) != 0 ? 4 : 0;
}

static int append(struct bough__journal *journal, const uint8_t *bytes, size_t len_bytes)
{
    uint64_t block = 0;
    if (checksum_missing(journal) > 0) {
        struct extent *last = &journal->extents[journal->extent_count - 1];
        if (bytes && len_bytes == 4) {
            int rc = stream_write(journal, last->stored + stored_bytes(journal, last) - 4, bytes, 4);
            if (rc == SQLITE_OK)
                last->len_bytes += 4;
            return rc;
        }
        int rc = make_plain(journal, journal->extent_count - 1);
        if (rc != SQLITE_OK)
            return rc;
    }
    if (bytes && may_refer(journal, &block, bytes, len_bytes)) {
        journal->number_is_last = false;
        return append_reference(journal, (uint32_t)len_bytes);
    }
    int rc = append_plain(journal, bytes, len_bytes);
    journal->number_is_last = rc == SQLITE_OK && bytes && len_bytes == NUMBER_BYTES;
    return rc;
}

static int cut(struct bough__journal *journal, uint64_t size_bytes)
{
    journal->number_is_last = false;
    while (journal->extent_count > 0) {
        struct extent *last = &journal->extents[journal->extent_count - 1];
        if (last->at < size_bytes) {
            uint64_t left = size_bytes - last->at;
            if (left < last->len_bytes && last->kind == RECORDS && left % record_bytes(journal) != 0) {
                int rc = make_plain(journal, journal->extent_count - 1);
                if (rc != SQLITE_OK)
                    return rc;
            }
            if (left < last->len_bytes)
                last->len_bytes = left;
            break;
        }
        journal->extent_count--;
    }
    uint64_t end = 0;
    for (size_t i = 0; i < journal->extent_count; i++) {
        uint64_t extent_end = journal->extents[i].stored + stored_bytes(journal, &journal->extents[i]);
        end = extent_end > end ? extent_end : end;
    }
    stream_cut(journal, end);
    if (journal->extent_count == 0)
        journal->page_bytes = 0;
    return SQLITE_OK;
}

/* ---- sqlite3_io_methods ---------------------------------------------------------------------------------------- */

static int journal_close(sqlite3_file *file)
{
    struct bough__journal *journal = journal_of(file);
    if (journal->slot)
        *journal->slot = NULL;
    if (journal->file) {
        (void)journal->file->pMethods->xClose(journal->file);
        sqlite3_free(journal->file);
    }
    free(journal->buffer);
    free(journal->extents);
    free(journal->page);
    free(journal);
    file->pMethods = NULL;
    return SQLITE_OK;
}

/* The temporary file belongs to the parent as well, who may roll back with it yet. */
static bool is_inherited(const struct bough__journal *journal)
{
    return journal->epoch != bough__process_epoch();
}

static int journal_read(sqlite3_file *file, void *out, int len, sqlite3_int64 offset)
{
    struct bough__journal *journal = journal_of(file);
    uint64_t size = journal_size(journal), at = (uint64_t)offset;
    size_t len_bytes = (size_t)len;
    size_t have = at >= size ? 0 : (size - at < len_bytes ? (size_t)(size - at) : len_bytes);
    int rc = is_inherited(journal) ? SQLITE_IOERR_READ : SQLITE_OK;
    if (rc == SQLITE_OK && have > 0)
        rc = read_range(journal, at, out, have);
    if (rc != SQLITE_OK)
        return rc;
    if (have == len_bytes)
        return SQLITE_OK;
    memset((uint8_t *)out + have, 0, len_bytes - have);
    return SQLITE_IOERR_SHORT_READ;
}

static bool is_final_header(const uint8_t *bytes, size_t len_bytes, uint64_t offset)
{
    static const uint8_t zeros[FINAL_HEADER];
    return offset == 0 && len_bytes == FINAL_HEADER && memcmp(bytes, zeros, FINAL_HEADER) == 0;
}

/* What follows the name of a super-journal, at the journal's end [writeSuperJournal]; a header's magic comes with more.
 * A rollback would look for a super-journal of that name, and where it is gone take the transaction for committed and
 * keep its pages in the cache. Whether a branch's transaction is committed is not for its journal to say. */
static bool is_super_journal_mark(const uint8_t *bytes, size_t len_bytes)
{
    static const uint8_t mark[8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
    return len_bytes == sizeof(mark) && memcmp(bytes, mark, sizeof(mark)) == 0;
}

static int journal_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 offset)
{
    static const uint8_t no_mark[8];
    struct bough__journal *journal = journal_of(file);
    const uint8_t *from = is_super_journal_mark(bytes, (size_t)len) ? no_mark : bytes;
    uint64_t at = (uint64_t)offset;
    size_t len_bytes = (size_t)len;
    int rc = SQLITE_OK;
    if (is_inherited(journal))
        return SQLITE_IOERR_WRITE;
    /* What such a journal held is of no use to anyone, and the images that were left out are about to change. */
    if (is_final_header(from, len_bytes, at))
        rc = cut(journal, 0);
    if (rc == SQLITE_OK && at > journal_size(journal))
        rc = append(journal, NULL, (size_t)(at - journal_size(journal)));
    if (rc == SQLITE_OK && at < journal_size(journal)) {
        uint64_t inside = journal_size(journal) - at;
        size_t count = inside < len_bytes ? (size_t)inside : len_bytes;
        journal->number_is_last = false;
        rc = overwrite(journal, at, from, count);
        from += count;
        len_bytes -= count;
    }
    if (rc == SQLITE_OK && len_bytes > 0)
        rc = append(journal, from, len_bytes);
    return rc;
}

static int journal_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct bough__journal *journal = journal_of(file);
    uint64_t now = journal_size(journal), then = (uint64_t)size;
    if (is_inherited(journal))
        return SQLITE_IOERR_TRUNCATE;
    return then > now ? append(journal, NULL, (size_t)(then - now)) : cut(journal, then);
}

static int journal_sync(sqlite3_file *file, int flags)
{
    (void)file, (void)flags;
    return SQLITE_OK;
}

static int journal_file_size(sqlite3_file *file, sqlite3_int64 *out)
{
    *out = (sqlite3_int64)journal_size(journal_of(file));
    return SQLITE_OK;
}

static int journal_lock(sqlite3_file *file, int level)
{
    (void)file, (void)level;
    return SQLITE_OK;
}

static int journal_check_reserved(sqlite3_file *file, int *out)
{
    (void)file;
    *out = 0;
    return SQLITE_OK;
}

static int journal_control(sqlite3_file *file, int operation, void *argument)
{
    (void)file, (void)argument;
    return operation == SQLITE_FCNTL_SIZE_HINT ? SQLITE_OK : SQLITE_NOTFOUND;
}

static int journal_sector_size(sqlite3_file *file)
{
    (void)file;
    return 4096;
}

static int journal_characteristics(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE | SQLITE_IOCAP_SAFE_APPEND | SQLITE_IOCAP_SEQUENTIAL |
           SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN;
}

static const sqlite3_io_methods journal_methods = {
    .iVersion = 1,
    .xClose = journal_close,
    .xRead = journal_read,
    .xWrite = journal_write,
    .xTruncate = journal_truncate,
    .xSync = journal_sync,
    .xFileSize = journal_file_size,
    .xLock = journal_lock,
    .xUnlock = journal_lock,
    .xCheckReservedLock = journal_check_reserved,
    .xFileControl = journal_control,
    .xSectorSize = journal_sector_size,
    .xDeviceCharacteristics = journal_characteristics,
};

int bough__journal_open(sqlite3_file *out, sqlite3_vfs *system, const struct bough__journal_pages *pages,
                        struct bough__journal **slot)
{
    struct bough__journal *journal = bough__alloc(sizeof(*journal));
    if (!journal)
        return SQLITE_NOMEM;
    journal->system = system;
    journal->epoch = bough__process_epoch();
    if (pages)
        journal->pages = *pages;
    journal->slot = slot;
    if (slot)
        *slot = journal;
    ((struct handle *)out)->journal = journal;
    out->pMethods = &journal_methods;
    return SQLITE_OK;
}

int bough__journal_handle_bytes(void)
{
    return (int)sizeof(struct handle);
}

void bough__journal_clear(struct bough__journal *journal)
{
    if (journal)
        (void)cut(journal, 0); /* cutting to nothing cannot fail */
}

void bough__journal_detach(struct bough__journal *journal)
{
    if (!journal)
        return;
    bough__journal_clear(journal);
    memset(&journal->pages, 0, sizeof(journal->pages));
    if (journal->slot)
        *journal->slot = NULL;
    journal->slot = NULL;
}

uint64_t bough__journal_stored_bytes(const struct bough__journal *journal)
{
    return stream_end(journal);
}
