/* file.c - a branch as SQLite's pager sees it: a database file behind sqlite3_io_methods.
 *
 * Locks and states. The pager's lock levels become verbs of the engine:
 *
 *     NONE -> SHARED       pins the branch's newest transaction; every read until the unlock sees that one
 *     SHARED -> RESERVED   takes the writer lock and begins a transaction on the pinned state. SQLITE_BUSY when there
 *                          is another writer, SQLITE_BUSY_SNAPSHOT when something was committed since the pin
 *     PENDING, EXCLUSIVE   granted: readers are not in the way of a writer
 *     COMMIT_PHASETWO      commits. It is the last call before the unlock: FCNTL_SYNC and xSync come earlier, but also
 *                          in a rollback after a spill, and the truncation of a shrunk database comes after them
 *     -> SHARED, NONE      ends the transaction; what was not committed is dropped. After a commit the new state is
 *                          pinned first, while the writer lock keeps it the newest
 *
 * With locking_mode=EXCLUSIVE there is no unlock between transactions: one engine transaction then commits several
 * times.
 *
 * The snapshot is kept over an unlock, parked so that it keeps no page from being used again, and resumed while it is
 * the newest. So a read transaction on an unchanged branch makes no system call and allocates nothing. A handle
 * without a lock (SQLite reads the page size so, when it opens) reads from a pin of that moment.
 *
 * Is SQLite's page cache still right? SQLite asks by reading 16 bytes at offset 24 when it takes SHARED, and compares
 * them with those of the page 1 that it last read or wrote. The bytes themselves cannot answer: two states may well
 * have equal counters, and in exclusive mode the counter stands still. So the answer is made: exactly the bytes that
 * SQLite compares with (struct bough__cache remembers them) when the pinned state is the one that the cache was built
 * from, random ones otherwise. The state moves on with the handle's own commits, since the cache does, and with commits
 * of others that changed nothing that the cache may hold (seen.h). The cached page 1 has an older change counter then:
 * wherever SQLite reads or writes that, it differs by a delta from what is stored, until the cache goes. The same read
 * under a writer's lock comes only after an error in exclusive mode, when SQLite has just emptied its cache and, with
 * no journal to roll back, counts on a database that is as it was: the transaction's changes are dropped there.
 *
 * SQLite's pages and the engine's blocks are of one size. VACUUM with a new page_size writes pages of the new size into
 * blocks of the old one; once that is committed the writer stores the state in blocks of the new size (reblock). Reads
 * and writes of any range work; whole blocks go straight through.
 */
#include "vfs.h"
#include "wait.h"

#include "error.h"
#include "errors.h"
#include "group.h"
#include "os.h"
#include "process.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_BLOCK_BYTES 4096

/* ---- states ---------------------------------------------------------------------------------------------------- */

/* What a read sees: the open transaction or a pinned state. */
struct view {
    struct bough__txn *txn;
    const struct bough__snapshot *snapshot;
    uint64_t size_bytes;
    uint32_t block_bytes;
};

static struct view view_of_txn(struct bough__txn *txn)
{
    return (struct view){txn, NULL, bough__txn_size(txn), bough__txn_block_size(txn)};
}

static struct view view_of_snapshot(const struct bough__snapshot *snapshot)
{
    return (struct view){NULL, snapshot, snapshot->size_bytes, snapshot->block_size};
}

int bough__file_refuse_inherited(const struct bough__file *file)
{
    if (file->epoch == bough__process_epoch())
        return BOUGH_OK;
    return bough__fail(BOUGH_USAGE, "the connection to %s was opened before a fork(); a child opens its own",
                       file->path);
}

static const struct bough__snapshot *pinned(const struct bough__file *file)
{
    return &file->snapshots[file->current];
}

static void unpin(struct bough__file *file)
{
    if (file->is_pinned)
        bough__snapshot_release(&file->snapshots[file->current]);
    file->is_pinned = false;
}

/* Pins the newest state in the place of the present one, which stays when that fails. */
static int pin_newest(struct bough__file *file)
{
    unsigned next = 1 - file->current;
    int rc = bough__snapshot_pin(&file->snapshots[next], file->layer);
    if (rc != BOUGH_OK)
        return rc;
    unpin(file);
    file->current = next;
    file->is_pinned = true;
    file->state = file->snapshots[next].txn;
    return BOUGH_OK;
}

static int open_store(bough_store **out, const struct bough__file *file)
{
    struct bough__branch_path parts;
    *out = NULL;
    if (!bough__branch_path_parse(&parts, file->path))
        return bough__fail(BOUGH_NOT_FOUND, "the store of %s is gone", file->path);
    return bough__branch_path_store(out, file->path, &parts);
}

int bough__file_look(struct bough__file *file)
{
    bough_store *store = NULL;
    if (!file->layer || !bough__layer_is_doubtful(file->layer))
        return BOUGH_OK;
    int rc = open_store(&store, file);
    if (rc == BOUGH_OK)
        rc = bough__branch_look(store, file->branch_id, file->layer);
    bough_store_close(store);
    return rc;
}

/* The branch may have taken another state, with a layer of its own, or a newer one than this process could see: goes on
 * there. */
static int follow(struct bough__file *file)
{
    bough_store *store = NULL;
    struct bough__layer *now = NULL;
    bool is_protected = false;
    int rc = open_store(&store, file);
    if (rc == BOUGH_OK)
        rc = bough__branch_follow(&now, &is_protected, store, file->branch_id, file->layer);
    bough_store_close(store);
    if (rc != BOUGH_OK || !now)
        return rc;
    unpin(file);
    bool is_same = bough__layer_number(now) == bough__layer_number(file->layer);
    bough__layer_close(file->layer);
    file->layer = now;
    file->is_readonly = file->is_readonly || is_protected;
    /* Nothing that SQLite has in its cache belongs to this state for sure: who read unseen may have read a transaction
     * that recovery took back, and whose number another has now. Nor does a statement that it has prepared, if the
     * branch took another state. */
    memset(&file->cache, 0, sizeof(file->cache));
    if (!is_same)
        file->cookie.is_stale = true;
    return BOUGH_OK;
}

/* For SHARED: the present pin will do while it is the newest. */
static int pin_for_reading(struct bough__file *file)
{
    int rc = BOUGH_OK;
    if (file->is_fixed)
        return BOUGH_OK;
    if (bough__layer_is_doubtful(file->layer) || bough__layer_may_be_old(file->layer))
        rc = follow(file);
    if (rc != BOUGH_OK)
        return rc;
    if (file->is_pinned && bough__snapshot_resume(&file->snapshots[file->current]))
        return BOUGH_OK;
    return pin_newest(file);
}

/* A view for a call that may come without a lock; close it. */
static int open_view(struct view *out, struct bough__snapshot *momentary, struct bough__file *file)
{
    memset(momentary, 0, sizeof(*momentary));
    if (file->txn) {
        *out = view_of_txn(file->txn);
    } else if (file->lock != SQLITE_LOCK_NONE || file->is_fixed) {
        if (!file->is_pinned)
            return bough__fail(BOUGH_IO, "the state that %s was left in could not be opened", file->path);
        *out = view_of_snapshot(pinned(file));
    } else {
        int rc = bough__layer_is_doubtful(file->layer) ? follow(file) : BOUGH_OK;
        if (rc == BOUGH_OK)
            rc = bough__snapshot_pin(momentary, file->layer);
        if (rc != BOUGH_OK)
            return rc;
        *out = view_of_snapshot(momentary);
    }
    return BOUGH_OK;
}

static void close_view(const struct view *view, struct bough__snapshot *momentary)
{
    if (view->snapshot == momentary)
        bough__snapshot_release(momentary);
}

static int read_block(const struct view *view, uint64_t block, void *out, bool use_mapping)
{
    return view->txn ? bough__txn_read(view->txn, block, out, use_mapping)
                     : bough__snapshot_read(view->snapshot, block, out, use_mapping);
}

static int need_scratch(struct bough__file *file, uint32_t block_bytes)
{
    if (file->scratch_bytes >= block_bytes)
        return BOUGH_OK;
    uint8_t *scratch = bough__realloc(file->scratch, block_bytes);
    if (!scratch)
        return BOUGH_NOMEM;
    file->scratch = scratch;
    file->scratch_bytes = block_bytes;
    return BOUGH_OK;
}

/* ---- SQLite's cache -------------------------------------------------------------------------------------------- */

/* SQLite's cache has this page 1 from now on. */
static void note_page_1(struct bough__file *file, const uint8_t *page, bool is_shown_so)
{
    struct bough__cache *cache = &file->cache;
    if (!cache->has_state) {
        cache->has_state = true;
        cache->txn = file->state;
    }
    cache->has_bytes = is_shown_so && cache->txn == file->state;
    memcpy(cache->bytes, page + BOUGH__VALIDITY_OFFSET, sizeof(cache->bytes));
}

/* Others committed, and nothing of it is in SQLite's cache: that is the newest state's cache, then. Its change counter
 * stays behind, hence the delta. */
static bool outlives_commits(struct bough__file *file)
{
    uint32_t rise = 0;
    if (file->is_watched || !bough__seen_is_same(&rise, &file->seen, pinned(file), file->cache.txn, file->use_mapping))
        return false;
    file->cache.counter_delta += rise;
    file->cache.txn = file->state;
    return true;
}

static int read_validity(struct bough__file *file, uint8_t out[BOUGH__VALIDITY_BYTES])
{
    struct bough__cache *cache = &file->cache;
    if (file->txn) {
        bough__txn_rollback(file->txn);
        file->cookie.txn_delta = file->cookie.delta;
        cache->has_bytes = false;
    }
    if (cache->has_state && cache->has_bytes && (cache->txn == file->state || outlives_commits(file))) {
        memcpy(out, cache->bytes, BOUGH__VALIDITY_BYTES);
        return SQLITE_OK;
    }
    sqlite3_randomness(BOUGH__VALIDITY_BYTES, out);
    *cache = (struct bough__cache){.has_state = true, .txn = file->state};
    bough__seen_nothing(&file->seen);
    if (file->txn)
        bough__seen_all(&file->seen);
    return SQLITE_OK;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* Reads [offset, offset + len), which lies inside the database. */
static int read_range(struct bough__file *file, const struct view *view, uint8_t *out, size_t len_bytes,
                      uint64_t offset)
{
    while (len_bytes > 0) {
        uint64_t block = offset / view->block_bytes;
        size_t within = (size_t)(offset % view->block_bytes), count = view->block_bytes - within;
        int rc = BOUGH_OK;
        if (within == 0 && count <= len_bytes) {
            rc = read_block(view, block, out, file->use_mapping);
        } else {
            count = count < len_bytes ? count : len_bytes;
            rc = need_scratch(file, view->block_bytes);
            if (rc == BOUGH_OK)
                rc = read_block(view, block, file->scratch, file->use_mapping);
            if (rc == BOUGH_OK)
                memcpy(out, file->scratch + within, count);
        }
        if (rc != BOUGH_OK)
            return rc;
        out += count;
        offset += count;
        len_bytes -= count;
    }
    return BOUGH_OK;
}

/* SQLite knows this cookie now. */
static void note_cookie(struct bough__cookie *cookie, uint32_t shown)
{
    cookie->highest = !cookie->has_shown || shown > cookie->highest ? shown : cookie->highest;
    cookie->has_shown = true;
}

/* SQLite takes prepared statements and its picture of the schema for right while the schema cookie is the one that it
 * knows. After the branch took another state that may well be so by chance, hence the cookie is shown with a delta that
 * makes it one that this connection has never seen. */
static void show_cookie(struct bough__file *file, uint8_t *bytes, size_t len_bytes, uint64_t offset)
{
    struct bough__cookie *cookie = &file->cookie;
    if (offset > BOUGH__COOKIE_OFFSET || offset + len_bytes < BOUGH__COOKIE_OFFSET + BOUGH__COOKIE_BYTES)
        return;
    uint8_t *at = bytes + (BOUGH__COOKIE_OFFSET - offset);
    uint32_t stored = bough__header_cookie(at);
    if (file->lock != SQLITE_LOCK_NONE && cookie->is_stale) {
        cookie->is_stale = false;
        if (cookie->has_shown)
            cookie->delta = cookie->txn_delta = cookie->highest + 1 - stored;
    }
    uint32_t shown = stored + (file->txn ? cookie->txn_delta : cookie->delta);
    bough__header_set_cookie(at, shown);
    if (file->lock != SQLITE_LOCK_NONE)
        note_cookie(cookie, shown);
}

/* A first page is on its way into the store. PRAGMA schema_version = N means N itself. */
static void take_cookie(struct bough__cookie *cookie, const uint8_t *page)
{
    uint32_t shown = bough__header_cookie(page + BOUGH__COOKIE_OFFSET);
    if (cookie->has_wanted && shown == cookie->wanted)
        cookie->txn_delta = 0;
    note_cookie(cookie, shown);
}

static void keep_cookie(const struct bough__cookie *cookie, uint8_t *page)
{
    uint8_t *at = page + BOUGH__COOKIE_OFFSET;
    bough__header_set_cookie(at, bough__header_cookie(at) - cookie->txn_delta);
}

/* May SQLite keep what it reads now beyond this transaction, and does anybody else commit? */
static bool may_keep(const struct bough__file *file)
{
    return file->lock != SQLITE_LOCK_NONE && !file->is_fixed;
}

static void see(struct bough__file *file, const struct view *view, size_t len_bytes, uint64_t offset)
{
    if (!may_keep(file))
        return;
    if (view->block_bytes == 0 || len_bytes == 0)
        bough__seen_all(&file->seen);
    else
        bough__seen_blocks(&file->seen, offset / view->block_bytes, (offset + len_bytes - 1) / view->block_bytes);
}

/* Bytes were read that may belong to the header. */
static void show_header(struct bough__file *file, uint8_t *bytes, size_t len_bytes, uint64_t offset)
{
    if (offset >= BOUGH__HEADER_BYTES)
        return;
    bool is_page_1 = offset == 0 && len_bytes > BOUGH__HEADER_BYTES;
    if (file->lock != SQLITE_LOCK_NONE)
        bough__header_add_to_counter(bytes, len_bytes, offset, 0U - file->cache.counter_delta);
    if (is_page_1 && file->lock != SQLITE_LOCK_NONE) {
        note_page_1(file, bytes, true);
        file->page_bytes = bough__header_page_size(bytes);
        file->cache.has_wal = true;
        file->cache.wal = bough__header_wal(bytes);
    }
    bough__header_show(bytes, len_bytes, offset);
    show_cookie(file, bytes, len_bytes, offset);
}

static int file_read(sqlite3_file *handle, void *out, int len, sqlite3_int64 at)
{
    struct bough__file *file = bough__file_of(handle);
    struct bough__snapshot momentary;
    struct view view;
    uint64_t offset = (uint64_t)at;
    size_t len_bytes = (size_t)len, have = 0;
    int rc = bough__file_refuse_inherited(file);
    if (rc == BOUGH_OK && offset == BOUGH__VALIDITY_OFFSET && len == BOUGH__VALIDITY_BYTES &&
        file->lock != SQLITE_LOCK_NONE)
        return read_validity(file, out);
    if (rc == BOUGH_OK)
        rc = open_view(&view, &momentary, file);
    if (rc != BOUGH_OK)
        return bough__sqlite_code(rc, BOUGH__AT_READ);
    see(file, &view, len_bytes, offset);
    if (offset < view.size_bytes)
        have = view.size_bytes - offset < len_bytes ? (size_t)(view.size_bytes - offset) : len_bytes;
    /* Of a short last block the engine gives the whole one, zeros and all, so a whole page needs no detour. */
    rc = have > 0 ? read_range(file, &view, out, have, offset) : BOUGH_OK;
    close_view(&view, &momentary);
    if (rc != BOUGH_OK)
        return bough__sqlite_code(rc, BOUGH__AT_READ);
    if (have < len_bytes)
        memset((uint8_t *)out + have, 0, len_bytes - have);
    if (offset == 0 && have == len_bytes && have == view.block_bytes && may_keep(file))
        bough__seen_page_1(&file->seen, out, view.block_bytes, view.size_bytes);
    if (have > 0)
        show_header(file, out, len_bytes, offset);
    return have < len_bytes ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int file_size(sqlite3_file *handle, sqlite3_int64 *out)
{
    struct bough__file *file = bough__file_of(handle);
    struct bough__snapshot momentary;
    struct view view;
    int rc = bough__file_refuse_inherited(file);
    if (rc == BOUGH_OK)
        rc = open_view(&view, &momentary, file);
    if (rc != BOUGH_OK)
        return bough__sqlite_code(rc, BOUGH__AT_READ);
    *out = (sqlite3_int64)view.size_bytes;
    close_view(&view, &momentary);
    return SQLITE_OK;
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static bool is_page_size(size_t len_bytes)
{
    return len_bytes >= 512 && len_bytes <= 65536 && (len_bytes & (len_bytes - 1)) == 0;
}

/* Reads the block as the transaction has it into scratch. */
static int read_for_change(struct bough__file *file, uint64_t block)
{
    struct view view = view_of_txn(file->txn);
    int rc = need_scratch(file, view.block_bytes);
    return rc == BOUGH_OK ? read_block(&view, block, file->scratch, file->use_mapping) : rc;
}

/* Writes part of a block, or a first page, which must be changed on its way. */
static int write_part(struct bough__file *file, uint64_t block, size_t within, const uint8_t *bytes, size_t len_bytes,
                      bool is_page_1)
{
    uint32_t block_bytes = bough__txn_block_size(file->txn);
    uint64_t size = bough__txn_size(file->txn), end = block * block_bytes + within + len_bytes;
    int rc = read_for_change(file, block);
    if (rc != BOUGH_OK)
        return rc;
    memcpy(file->scratch + within, bytes, len_bytes);
    if (is_page_1) {
        if (bough__header_keeps(file->scratch, file->cache.wal))
            bough__header_keep(file->scratch, file->cache.wal);
        keep_cookie(&file->cookie, file->scratch);
        bough__header_add_to_counter(file->scratch, block_bytes, 0, file->cache.counter_delta);
    }
    rc = bough__txn_write(file->txn, block, file->scratch);
    /* A block counts as whole when it is written; the database ends where SQLite's last byte does. */
    end = end > size ? end : size;
    if (rc == BOUGH_OK && bough__txn_size(file->txn) != end)
        rc = bough__txn_resize(file->txn, end);
    return rc;
}

/* Makes sure that cache.wal is known: of page 1 as the transaction has it. */
static int know_wal(struct bough__file *file)
{
    if (file->cache.has_wal)
        return BOUGH_OK;
    int rc = BOUGH_OK;
    file->cache.wal = 0;
    if (bough__txn_size(file->txn) > 0) {
        rc = read_for_change(file, 0);
        if (rc == BOUGH_OK)
            file->cache.wal = bough__header_wal(file->scratch);
    }
    file->cache.has_wal = rc == BOUGH_OK;
    return rc;
}

/* PRAGMA journal_mode=WAL that file control did not see (it was meant for all databases of the connection) in
 * exclusive mode, the one in which SQLite believes that WAL would work here. Once the page was written, no transaction
 * would start any more. */
static int refuse_wal(struct bough__file *file, const uint8_t *page, size_t len_bytes)
{
    uint32_t block_bytes = bough__txn_block_size(file->txn);
    if (bough__header_wal(page) != 3 || len_bytes != block_bytes || bough__txn_size(file->txn) < block_bytes)
        return BOUGH_OK;
    int rc = read_for_change(file, 0);
    if (rc == BOUGH_OK && bough__header_enters_wal(file->scratch, page, len_bytes))
        rc = bough__fail(BOUGH_REFUSED, "a branch has no WAL: the store is its journal");
    return rc;
}

/* The first page. */
static int write_page_1(struct bough__file *file, const uint8_t *page, size_t len_bytes)
{
    uint32_t block_bytes = bough__txn_block_size(file->txn);
    int rc = know_wal(file);
    if (rc == BOUGH_OK)
        rc = refuse_wal(file, page, len_bytes);
    if (rc != BOUGH_OK)
        return rc;
    take_cookie(&file->cookie, page);
    file->is_resized = file->is_resized || bough__header_page_size(page) != file->page_bytes;
    file->page_bytes = bough__header_page_size(page);
    size_t count = len_bytes < block_bytes ? len_bytes : block_bytes;
    if (len_bytes == block_bytes && !bough__header_keeps(page, file->cache.wal) && file->cookie.txn_delta == 0 &&
        file->cache.counter_delta == 0)
        rc = bough__txn_write(file->txn, 0, page);
    else
        rc = write_part(file, 0, 0, page, count, true);
    if (rc != BOUGH_OK)
        return rc;
    /* A page copied from a WAL database says 2 in SQLite's cache and is shown as 1 from now on. */
    note_page_1(file, page, bough__header_wal(page) == 0);
    file->cache.wal |= bough__header_wal(page);
    return BOUGH_OK;
}

static int write_range(struct bough__file *file, const uint8_t *bytes, size_t len_bytes, uint64_t offset)
{
    uint32_t block_bytes = bough__txn_block_size(file->txn);
    int rc = BOUGH_OK;
    if (offset == 0 && len_bytes > BOUGH__HEADER_BYTES) {
        rc = write_page_1(file, bytes, len_bytes);
        size_t count = len_bytes < block_bytes ? len_bytes : block_bytes;
        bytes += count;
        offset += count;
        len_bytes -= count;
    } else if (offset < BOUGH__HEADER_BYTES) {
        file->cache.has_bytes = file->cache.has_wal = false;
    }
    while (rc == BOUGH_OK && len_bytes > 0) {
        uint64_t block = offset / block_bytes;
        size_t within = (size_t)(offset % block_bytes), count = block_bytes - within;
        if (within == 0 && count <= len_bytes) {
            rc = bough__txn_write(file->txn, block, bytes);
        } else {
            count = count < len_bytes ? count : len_bytes;
            rc = write_part(file, block, within, bytes, count, false);
        }
        bytes += count;
        offset += count;
        len_bytes -= count;
    }
    return rc;
}

static int file_write(sqlite3_file *handle, const void *bytes, int len, sqlite3_int64 offset)
{
    struct bough__file *file = bough__file_of(handle);
    int rc = bough__file_refuse_inherited(file);
    if (rc == BOUGH_OK && !file->txn)
        return SQLITE_READONLY;
    if (rc == BOUGH_OK && bough__txn_block_size(file->txn) == 0) {
        size_t first = (size_t)len;
        rc = bough__txn_set_block_size(file->txn, is_page_size(first) ? (uint32_t)first : DEFAULT_BLOCK_BYTES);
    }
    if (rc == BOUGH_OK)
        rc = write_range(file, bytes, (size_t)len, (uint64_t)offset);
    return bough__sqlite_code(rc, BOUGH__AT_WRITE);
}

static int file_truncate(sqlite3_file *handle, sqlite3_int64 size)
{
    struct bough__file *file = bough__file_of(handle);
    int rc = bough__file_refuse_inherited(file);
    if (rc == BOUGH_OK && !file->txn)
        return SQLITE_READONLY;
    if (rc == BOUGH_OK && (uint64_t)size != bough__txn_size(file->txn))
        rc = bough__txn_resize(file->txn, (uint64_t)size);
    return bough__sqlite_code(rc, BOUGH__AT_WRITE);
}

static int file_sync(sqlite3_file *handle, int flags)
{
    (void)flags;
    bough__file_of(handle)->is_synced = true;
    return SQLITE_OK;
}

/* ---- locks ----------------------------------------------------------------------------------------------------- */

static bool has_changes(const struct bough__file *file)
{
    return file->txn && bough__txn_is_dirty(file->txn);
}

/* The cache shows what was just committed. Should there be no memory for the new pin, the unlock tries again. */
static void note_commit(struct bough__file *file, uint64_t committed)
{
    file->cookie.delta = file->cookie.txn_delta;
    file->cache.txn = committed;
    if (pin_newest(file) != BOUGH_OK)
        file->state = committed;
}

static enum bough__durability durability_of(const struct bough__file *file)
{
    return file->is_synced && file->is_full ? BOUGH__DURABLE : BOUGH__LAZY;
}

int bough__file_commit(struct bough__file *file)
{
    uint64_t committed = 0;
    int rc = bough__file_refuse_inherited(file);
    if (rc != BOUGH_OK)
        return bough__sqlite_code(rc, BOUGH__AT_COMMIT);
    enum bough__durability durability = durability_of(file);
    bool is_resized = file->is_resized;
    file->is_synced = file->is_resized = false;
    if (!has_changes(file))
        return SQLITE_OK;
    rc = bough__txn_commit(file->txn, durability, &committed);
    if (rc != BOUGH_OK) {
        /* SQLite rolls back from its journal now, into a private map that is empty again. */
        file->cache.has_wal = false;
        return bough__sqlite_code(rc, BOUGH__AT_COMMIT);
    }
    file->wanted_block_bytes = is_resized ? file->page_bytes : file->wanted_block_bytes;
    note_commit(file, committed);
    return SQLITE_OK;
}

/* One transaction needs no decision over several. */
static int commit_together(struct bough__file *const *files, struct bough__txn *const *txns, size_t count,
                           uint64_t *out_numbers)
{
    if (count == 1)
        return bough__txn_commit(txns[0], durability_of(files[0]), out_numbers);
    return count > 1 ? bough__group_commit(txns, count, out_numbers) : BOUGH_OK;
}

int bough__file_commit_all(struct bough__file *const *files, size_t count)
{
    struct bough__file **changed = bough__alloc(count * sizeof(*changed));
    struct bough__txn **txns = bough__alloc(count * sizeof(*txns));
    uint64_t *numbers = bough__alloc(count * sizeof(*numbers));
    size_t found = 0;
    int rc = changed && txns && numbers ? BOUGH_OK : BOUGH_NOMEM;
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++) {
        if (has_changes(files[i])) {
            changed[found] = files[i];
            txns[found++] = files[i]->txn;
        }
    }
    if (rc == BOUGH_OK)
        rc = commit_together(changed, txns, found, numbers);
    for (size_t i = 0; rc == BOUGH_OK && i < found; i++)
        note_commit(changed[i], numbers[i]);
    for (size_t i = 0; i < count; i++) {
        files[i]->is_synced = false;
        if (rc != BOUGH_OK)
            files[i]->cache.has_wal = files[i]->cache.has_bytes = false;
    }
    free(changed);
    free(txns);
    free(numbers);
    return bough__sqlite_code(rc, BOUGH__AT_COMMIT);
}

/* What was committed has pages of another size than the blocks. No harm is done when this fails, or is not reached. */
static void reblock(struct bough__file *file)
{
    bough_store *store = NULL;
    uint32_t block_bytes = file->wanted_block_bytes;
    file->wanted_block_bytes = 0;
    if (block_bytes == 0 || !file->is_pinned || block_bytes == pinned(file)->block_size ||
        pinned(file)->size_bytes == 0 || pinned(file)->txn != file->state)
        return;
    int rc = open_store(&store, file);
    if (rc == BOUGH_OK)
        rc = bough__branch_reblock(store, file->branch_id, pinned(file), block_bytes);
    if (rc != BOUGH_OK)
        sqlite3_log(SQLITE_NOTICE, "bough: %s keeps blocks of %u bytes: %s", file->path, pinned(file)->block_size,
                    bough_error_message());
    bough_store_close(store);
}

/* Gives the writer's lock up; what was not committed is dropped. */
static void end_txn(struct bough__file *file)
{
    if (!file->txn)
        return;
    if (bough__txn_is_dirty(file->txn))
        file->cache.has_wal = false;
    else
        reblock(file);
    file->is_resized = false;
    /* A journal that outlives its transaction (PERSIST, TRUNCATE) would look hot after an error, and the state that it
     * refers to is about to be let go. */
    bough__journal_clear(file->journal);
    /* Under the writer's lock the newest state is still the one that SQLite's cache shows; later it may be another. */
    if (pinned(file)->txn != file->state && pin_newest(file) != BOUGH_OK)
        unpin(file);
    bough__txn_end(file->txn);
    file->txn = NULL;
}

/* The writer's lock keeps the branch where it is, so the look that counts is the one after taking it. */
static int begin_txn(struct bough__file *file)
{
    if (file->is_readonly)
        return SQLITE_READONLY;
    if (!file->is_pinned)
        return SQLITE_IOERR_LOCK;
    int rc = bough__file_look(file);
    if (rc == BOUGH_OK)
        rc = bough__txn_begin(&file->txn, pinned(file));
    if (rc == BOUGH_OK && (rc = bough__file_look(file)) != BOUGH_OK) {
        bough__txn_end(file->txn);
        file->txn = NULL;
    }
    if (file->txn)
        bough__seen_all(&file->seen);
    file->cookie.txn_delta = file->cookie.delta;
    return bough__sqlite_code(rc, BOUGH__AT_RESERVE);
}

static int file_lock(sqlite3_file *handle, int level)
{
    struct bough__file *file = bough__file_of(handle);
    int rc = bough__sqlite_code(bough__file_refuse_inherited(file), BOUGH__AT_RESERVE);
    if (level <= file->lock)
        return SQLITE_OK;
    if (rc == SQLITE_OK && !file->txn)
        bough__wait_now(file);
    if (rc == SQLITE_OK && file->lock == SQLITE_LOCK_NONE)
        rc = bough__sqlite_code(pin_for_reading(file), BOUGH__AT_READ);
    if (rc == SQLITE_OK && file->lock == SQLITE_LOCK_NONE)
        file->lock = SQLITE_LOCK_SHARED;
    if (rc == SQLITE_OK && level > SQLITE_LOCK_SHARED && !file->txn) {
        rc = begin_txn(file);
        bough__wait_refused((rc & 0xff) == SQLITE_BUSY ? file : NULL);
    }
    if (rc == SQLITE_OK)
        file->lock = level;
    return rc;
}

static int file_unlock(sqlite3_file *handle, int level)
{
    struct bough__file *file = bough__file_of(handle);
    if (level >= file->lock || bough__file_refuse_inherited(file) != BOUGH_OK)
        return SQLITE_OK;
    end_txn(file);
    /* An idle connection keeps its place and nothing else: its pages may be used again. */
    if (level == SQLITE_LOCK_NONE && file->is_pinned && !file->is_fixed)
        bough__snapshot_park(&file->snapshots[file->current]);
    file->lock = level;
    return SQLITE_OK;
}

/* Only SQLite's search for a hot journal asks, and a branch has none; this handle's own lock is enough to know. */
static int file_check_reserved(sqlite3_file *handle, int *out)
{
    *out = bough__file_of(handle)->txn != NULL;
    return SQLITE_OK;
}

static int file_sector_size(sqlite3_file *handle)
{
    (void)handle;
    return 4096; /* more would raise SQLite's default page size */
}

static int file_characteristics(sqlite3_file *handle)
{
    int all = SQLITE_IOCAP_POWERSAFE_OVERWRITE | SQLITE_IOCAP_SAFE_APPEND | SQLITE_IOCAP_SEQUENTIAL |
              SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN;
    return bough__file_of(handle)->is_fixed ? all | SQLITE_IOCAP_IMMUTABLE : all;
}

/* ---- what the journal may leave out ---------------------------------------------------------------------------- */

static uint32_t journal_page_size(void *context)
{
    const struct bough__file *file = context;
    return file->txn && file->is_pinned ? pinned(file)->block_size : 0;
}

static bool state_holds(void *context, uint64_t block, const void *page)
{
    const struct bough__file *file = context;
    const struct bough__snapshot *snapshot = pinned(file);
    struct bough__entry entry;
    if (bough__file_refuse_inherited(file) != BOUGH_OK)
        return false;
    if (block == 0 || (block + 1) * snapshot->block_size > snapshot->size_bytes)
        return false;
    if (bough__snapshot_entry(&entry, snapshot, block, false) != BOUGH_OK)
        return false;
    if (entry.layer == 0)
        return bough__is_zero(page, snapshot->block_size);
    uint64_t content = bough__xxh(page, snapshot->block_size, 0);
    return entry.sum == bough__page_sum(content, snapshot->space->store_key, entry.layer, entry.frame, block);
}

static int read_state(void *context, uint64_t block, void *out_page)
{
    const struct bough__file *file = context;
    int rc = bough__file_refuse_inherited(file);
    if (rc == BOUGH_OK)
        rc = bough__snapshot_read(pinned(file), block, out_page, file->use_mapping);
    /* A rollback must fail as one: SQLite's pager knows no other errors there. */
    return rc == BOUGH_CORRUPT ? SQLITE_IOERR_READ : bough__sqlite_code(rc, BOUGH__AT_READ);
}

struct bough__journal_pages bough__file_pages(struct bough__file *file)
{
    return (struct bough__journal_pages){
        .context = file, .size = journal_page_size, .holds = state_holds, .read = read_state};
}

/* ---- opening and closing --------------------------------------------------------------------------------------- */

static void free_file(struct bough__file *file)
{
    bough__journal_detach(file->journal);
    /* What the engine has of the parent stays as it is. */
    if (bough__file_refuse_inherited(file) == BOUGH_OK) {
        end_txn(file);
        unpin(file);
        bough__layer_close(file->layer);
        bough__space_close(file->space);
    }
    if (file->path)
        bough__branch_path_forget(file->path, file->path_file_bytes);
    free(file->path);
    free(file->scratch);
    bough__seen_free(&file->seen);
    free(file);
}

static int file_close(sqlite3_file *handle)
{
    free_file(bough__file_of(handle));
    handle->pMethods = NULL;
    return SQLITE_OK;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved,
    .xFileControl = bough__file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
};

struct bough__file *bough__file_of(sqlite3_file *handle)
{
    return handle && handle->pMethods == &file_methods ? ((struct bough__file_handle *)handle)->file : NULL;
}

/* Fills layer, the first pin and what may be done with the file. */
static int open_target_once(struct bough__file *file, bough_store *store, const char *ref)
{
    struct bough__target target;
    bool is_protected = false;
    int rc = bough__target_resolve(&target, store, ref);
    if (rc != BOUGH_OK)
        return rc;
    if (file->is_fixed || !target.has_branch) {
        rc = bough__target_pin(&file->snapshots[0], &file->layer, store, &target);
        if (rc == BOUGH_OK)
            file->is_pinned = file->is_fixed = file->is_readonly = true;
    } else {
        rc = bough__branch_open(&file->layer, &is_protected, store, &target.branch);
        file->branch_id = target.branch.id;
        file->is_readonly = file->is_readonly || is_protected;
    }
    bough__target_clear(&target);
    return rc;
}

/* BOUGH_STALE and BOUGH_GONE: the branch was replaced or deleted after its row was read, so that another look helps. */
static int open_target(struct bough__file *file, bough_store *store, const char *ref)
{
    int rc = BOUGH_STALE;
    bough__space_retain(store->space);
    file->space = store->space;
    for (int tries = 0; tries < BOUGH__STALE_TRIES && (rc == BOUGH_STALE || rc == BOUGH_GONE); tries++)
        rc = open_target_once(file, store, ref);
    return rc;
}

static int open_parameters(struct bough__file *file, const char **out_ref, const char *path)
{
    *out_ref = sqlite3_uri_parameter(path, "at");
    if (sqlite3_uri_boolean(path, "nolock", 0))
        return bough__fail(BOUGH_REFUSED, "a branch cannot be opened without locks (nolock=1): %s", path);
    file->is_fixed = *out_ref || sqlite3_uri_boolean(path, "immutable", 0);
    return BOUGH_OK;
}

static int open_file(struct bough__file *file, const char *path, const struct bough__branch_path *parts)
{
    bough_store *store = NULL;
    const char *ref = NULL;
    int rc = open_parameters(file, &ref, path);
    if (rc == BOUGH_OK)
        rc = bough__branch_path_store(&store, path, parts);
    if (rc == BOUGH_OK)
        rc = open_target(file, store, ref ? ref : parts->name);
    bough_store_close(store);
    if (rc != BOUGH_OK)
        return rc;
    char *copy = bough__strdup(path);
    if (!copy)
        return BOUGH_NOMEM;
    rc = bough__branch_path_remember(copy, parts->file_bytes);
    if (rc != BOUGH_OK) {
        free(copy);
        return rc;
    }
    file->path = copy;
    file->path_file_bytes = parts->file_bytes;
    return BOUGH_OK;
}

int bough__file_open(sqlite3_file *out, const char *path, const struct bough__branch_path *parts, int flags,
                     int *out_flags)
{
    struct bough__file *file = bough__alloc(sizeof(*file));
    if (!file)
        return SQLITE_NOMEM;
    file->is_readonly = !(flags & SQLITE_OPEN_READWRITE);
    file->is_full = file->use_mapping = true;
    file->epoch = bough__process_epoch();
    file->mapping_limit = -1;
    int rc = open_file(file, path, parts);
    if (rc != BOUGH_OK) {
        free_file(file);
        return bough__sqlite_code(rc, BOUGH__AT_OPEN);
    }
    ((struct bough__file_handle *)out)->file = file;
    out->pMethods = &file_methods;
    if (out_flags) {
        *out_flags = flags & ~(SQLITE_OPEN_CREATE | SQLITE_OPEN_READWRITE | SQLITE_OPEN_READONLY);
        *out_flags |= file->is_readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    }
    return SQLITE_OK;
}
