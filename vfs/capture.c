/* capture.c - reading SQLite files that may be in use, without SQLite.
 *
 * A SQLite connection cannot do this: opened read-only it refuses a hot journal and makes a -wal and a -shm beside a
 * WAL database that nobody has open; opened for writing it rolls back and checkpoints. So this file takes SQLite's own
 * locks and reads the three formats by itself (replay.c has the two of them that are not the database).
 *
 * Locks. Open-file-description locks and SQLite's POSIX locks exclude each other like any two locks. All of ours are
 * shared ones, as the descriptors are read-only.
 *
 *  1. SHARED on the database (one byte of SQLite's 510 is enough, an EXCLUSIVE covers all of them), as a SQLite reader
 *     takes it: PENDING is tried first, so that a writer who waits for readers to leave gets its turn. While we hold
 *     it nobody can commit in rollback mode, roll back a hot journal, leave or enter WAL mode, or remove the WAL when
 *     the last connection closes, because all of these need EXCLUSIVE.
 *  2. A journal is hot when its first byte is not zero, nobody holds RESERVED, and the super-journal that it names (if
 *     any) exists. With 1 held that cannot change under us.
 *  3. WAL users hold the dead-man byte of the -shm. If there are any, we become one of them: share that byte, then
 *     take a reader's slot as SQLite's readers do that may not write the -shm. The slot keeps a checkpoint from going
 *     beyond the slot's mark and a writer from starting the WAL over. The -shm is read with pread and never mapped.
 *  4. A WAL that nobody uses cannot be protected by a shared lock: whoever opens it first recovers it and may then
 *     checkpoint while we read. finish() notices (the -shm has users, or the database's or WAL's stat or the WAL's
 *     header changed); the caller starts over and then takes way 3.
 *
 * One danger is POSIX's own: closing any descriptor of a file drops all POSIX locks that the process holds on it. If
 * this process has the same database open through SQLite, closing ours would strip SQLite of its locks. Such
 * descriptors are parked and closed later (see bough__close_or_park).
 */
#include "capture.h"

#include "error.h"
#include "os.h"
#include "replay.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PENDING_BYTE  0x40000000u
#define RESERVED_BYTE (PENDING_BYTE + 1)
#define SHARED_BYTE   (PENDING_BYTE + 2)

/* The -shm: two copies of the header of the WAL index (native byte order), then what checkpoints and readers share. */
#define SHM_HEADER_SIZE     48
#define SHM_BACKFILL_OFFSET 96
#define SHM_MARKS_OFFSET    100
#define SHM_READ_SIZE       120
#define SHM_SLOT_COUNT      5
#define SHM_SLOT_BYTE       123 /* lock byte of slot 0; the slots follow each other */
#define SHM_DEAD_MAN_BYTE   128

#define HEADER_SIZE     100
#define EMPTY_PAGE_SIZE 4096

struct capture {
    char *path;
    char *wal_path;
    char *journal_path;
    char *shm_path;
    int fd, wal_fd, journal_fd, shm_fd;
    uint64_t base_bytes; /* of the database file that count; beyond them are zeros */
    uint64_t size_bytes; /* of the result */
    struct bough__replay journal, wal;
    bool is_quiet; /* way 4: finish() has to look again */
    bool moved;
    struct stat info, wal_info;
    uint8_t wal_header[BOUGH__WAL_HEADER_SIZE];
};

struct deadline {
    int64_t end_ms;
};

static int64_t monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* False when the time is over; else naps first. */
static bool may_retry(const struct deadline *deadline)
{
    if (monotonic_ms() >= deadline->end_ms)
        return false;
    struct timespec nap = {0, 2000000};
    nanosleep(&nap, NULL);
    return true;
}

/* ---- descriptors that must not be closed yet ------------------------------------------------------------------- */

struct parked {
    int fd;
    dev_t device;
    ino_t inode;
};
static pthread_mutex_t parking = PTHREAD_MUTEX_INITIALIZER;
static struct parked *parked;
static size_t parked_count, parked_capacity;

static bool is_parked(int fd)
{
    for (size_t i = 0; i < parked_count; i++)
        if (parked[i].fd == fd)
            return true;
    return false;
}

/* True when this process has the file open by a descriptor that is neither fd nor parked. Without /proc: false. */
static bool is_open_elsewhere(int fd, dev_t device, ino_t inode)
{
    DIR *directory = opendir("/proc/self/fd");
    bool found = false;
    struct dirent *entry = NULL;
    while (directory && !found && (entry = readdir(directory))) {
        char *end = NULL;
        long number = strtol(entry->d_name, &end, 10);
        struct stat info;
        if (*end || number == fd || number == dirfd(directory) || is_parked((int)number))
            continue;
        found = bough__os.fstat((int)number, &info) == 0 && info.st_dev == device && info.st_ino == inode;
    }
    if (directory)
        closedir(directory);
    return found;
}

static void close_parked(void)
{
    size_t kept = 0;
    for (size_t i = 0; i < parked_count; i++) {
        if (is_open_elsewhere(parked[i].fd, parked[i].device, parked[i].inode))
            parked[kept++] = parked[i];
        else
            bough__os.close(parked[i].fd);
    }
    parked_count = kept;
}

void bough__close_or_park(int *fd)
{
    struct stat info;
    if (*fd < 0)
        return;
    pthread_mutex_lock(&parking);
    close_parked();
    if (bough__os.fstat(*fd, &info) != 0 || !is_open_elsewhere(*fd, info.st_dev, info.st_ino)) {
        bough__os_close(fd);
    } else {
        struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
        bough__os.lock(*fd, F_OFD_SETLK, &all);
        if (parked_count == parked_capacity) {
            struct parked *grown = realloc(parked, (parked_capacity + 8) * sizeof *grown);
            parked = grown ? grown : parked;
            parked_capacity += grown ? 8 : 0;
        }
        if (parked_count < parked_capacity)
            parked[parked_count++] = (struct parked){*fd, info.st_dev, info.st_ino};
        *fd = -1;
    }
    pthread_mutex_unlock(&parking);
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode) ? "a directory" : S_ISFIFO(mode) ? "a pipe" : S_ISSOCK(mode) ? "a socket" : "a device";
}

/* A regular file or nothing: *out_fd stays -1 when it does not exist and may_lack. Never waits for a pipe's writer. */
static int open_regular(int *out_fd, struct stat *out_info, const char *path, bool may_lack)
{
    if (stat(path, out_info) != 0)
        return may_lack && errno == ENOENT ? BOUGH_OK : bough__fail_errno("open", path);
    if (!S_ISREG(out_info->st_mode))
        return bough__fail(BOUGH_REFUSED, "%s is %s, not a database file", path, kind_of(out_info->st_mode));
    int rc = bough__os_open(out_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (rc == BOUGH_NOT_FOUND && may_lack)
        return BOUGH_OK; /* removed since */
    if (rc == BOUGH_OK && bough__os.fstat(*out_fd, out_info) != 0)
        rc = bough__fail_errno("examine", path);
    if (rc == BOUGH_OK && !S_ISREG(out_info->st_mode))
        rc = bough__fail(BOUGH_REFUSED, "%s is %s, not a database file", path, kind_of(out_info->st_mode));
    return rc;
}

static int lock_shared(const struct capture *capture, const struct deadline *deadline)
{
    for (;;) {
        int rc = bough__os_lock(capture->fd, PENDING_BYTE, BOUGH__SHARED, capture->path);
        if (rc == BOUGH_OK) {
            rc = bough__os_lock(capture->fd, SHARED_BYTE, BOUGH__SHARED, capture->path);
            int unlocked = bough__os_lock(capture->fd, PENDING_BYTE, BOUGH__UNLOCK, capture->path);
            rc = rc == BOUGH_OK ? unlocked : rc;
        }
        if (rc != BOUGH_BUSY)
            return rc;
        if (!may_retry(deadline))
            return bough__fail(BOUGH_BUSY, "%s is being written by another process", capture->path);
    }
}

static int read_journal(struct capture *capture)
{
    struct stat info;
    int rc = open_regular(&capture->journal_fd, &info, capture->journal_path, true);
    if (rc != BOUGH_OK || capture->journal_fd < 0 || bough__os_is_locked(capture->fd, RESERVED_BYTE))
        return rc;
    rc = bough__replay_journal(&capture->journal, capture->journal_fd, capture->journal_path, capture->base_bytes);
    if (rc == BOUGH_OK && capture->journal.applies) {
        capture->size_bytes = capture->journal.size_bytes;
        if (capture->base_bytes > capture->size_bytes)
            capture->base_bytes = capture->size_bytes;
    }
    return rc;
}

/* ---- the WAL and its users ------------------------------------------------------------------------------------- */

static uint32_t native32(const uint8_t *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static bool is_index_valid(const uint8_t shm[SHM_READ_SIZE])
{
    uint32_t first = 0, second = 0;
    for (size_t i = 0; i < 40; i += 8) {
        first += native32(shm + i) + second;
        second += native32(shm + i + 4) + first;
    }
    return memcmp(shm, shm + SHM_HEADER_SIZE, SHM_HEADER_SIZE) == 0 && shm[12] != 0 && native32(shm + 40) == first &&
           native32(shm + 44) == second;
}

static int read_shm(const struct capture *capture, uint8_t out[SHM_READ_SIZE])
{
    size_t len = 0;
    memset(out, 0, SHM_READ_SIZE);
    return bough__os_read_some(&len, capture->shm_fd, out, SHM_READ_SIZE, 0, capture->shm_path);
}

static uint32_t newest_frame(const uint8_t *shm)
{
    return native32(shm + 16);
}

/* The slot to lock: 0 when the database file holds everything, else the one with the highest mark that is not newer
 * than the newest frame; -1: none can be used now. */
static int choose_slot(const uint8_t *shm)
{
    int best = -1;
    uint32_t best_mark = 0;
    if (native32(shm + SHM_BACKFILL_OFFSET) == newest_frame(shm))
        return 0;
    for (int i = 1; i < SHM_SLOT_COUNT; i++) {
        uint32_t mark = native32(shm + SHM_MARKS_OFFSET + 4 * i);
        if (mark >= best_mark && mark <= newest_frame(shm)) {
            best = i;
            best_mark = mark;
        }
    }
    return best;
}

/* One try at a reader's slot; *out_frames: frames of the WAL that count. BOUGH_BUSY: try again. */
static int try_slot(uint64_t *out_frames, const struct capture *capture)
{
    uint8_t before[SHM_READ_SIZE], after[SHM_READ_SIZE];
    int rc = read_shm(capture, before);
    if (rc != BOUGH_OK)
        return rc;
    int slot = is_index_valid(before) ? choose_slot(before) : -1;
    if (slot < 0)
        return bough__fail(BOUGH_BUSY, "%s is being changed", capture->shm_path);
    uint64_t byte = SHM_SLOT_BYTE + (uint64_t)slot;
    rc = bough__os_lock(capture->shm_fd, byte, BOUGH__SHARED, capture->shm_path);
    if (rc != BOUGH_OK)
        return rc;
    /* The mark and the header must be what they were when the slot was chosen; only then did the lock come in time. */
    size_t mark = SHM_MARKS_OFFSET + 4 * (size_t)slot;
    rc = read_shm(capture, after);
    if (rc == BOUGH_OK && (memcmp(before, after, SHM_HEADER_SIZE) != 0 || !is_index_valid(after) ||
                           (slot != 0 && native32(before + mark) != native32(after + mark)))) {
        bough__os_lock(capture->shm_fd, byte, BOUGH__UNLOCK, capture->shm_path);
        rc = bough__fail(BOUGH_BUSY, "%s is being changed", capture->shm_path);
    }
    *out_frames = slot == 0 ? 0 : newest_frame(after);
    return rc;
}

/* Joins the users of the WAL. *out false: there are none. */
static int join_users(bool *out, const struct capture *capture)
{
    *out = false;
    if (capture->shm_fd < 0 || !bough__os_is_locked(capture->shm_fd, SHM_DEAD_MAN_BYTE))
        return BOUGH_OK;
    int rc = bough__os_lock(capture->shm_fd, SHM_DEAD_MAN_BYTE, BOUGH__SHARED, capture->shm_path);
    if (rc != BOUGH_OK)
        return rc; /* the first user is just preparing the file */
    /* Only the presence of others says that the contents are alive. */
    *out = bough__os_is_locked(capture->shm_fd, SHM_DEAD_MAN_BYTE);
    if (!*out)
        rc = bough__os_lock(capture->shm_fd, SHM_DEAD_MAN_BYTE, BOUGH__UNLOCK, capture->shm_path);
    return rc;
}

/* *out_live: the WAL has users, a slot is held, *out_frames count. */
static int pin_wal(bool *out_live, uint64_t *out_frames, struct capture *capture, const struct deadline *deadline)
{
    for (;;) {
        struct stat info;
        int rc = BOUGH_OK;
        *out_live = false;
        if (capture->shm_fd < 0)
            rc = open_regular(&capture->shm_fd, &info, capture->shm_path, true);
        if (rc == BOUGH_OK)
            rc = join_users(out_live, capture);
        if (rc == BOUGH_OK && !*out_live)
            return BOUGH_OK;
        if (rc == BOUGH_OK)
            rc = try_slot(out_frames, capture);
        if (rc != BOUGH_BUSY)
            return rc;
        if (!may_retry(deadline))
            return bough__fail(BOUGH_BUSY, "%s: other processes keep its WAL busy", capture->path);
        /* The file may have been removed and made anew by others. */
        bough__close_or_park(&capture->shm_fd);
    }
}

static int open_wal(struct capture *capture)
{
    size_t len = 0;
    int rc = open_regular(&capture->wal_fd, &capture->wal_info, capture->wal_path, true);
    if (rc == BOUGH_OK && capture->wal_fd >= 0)
        rc = bough__os_read_some(&len, capture->wal_fd, capture->wal_header, sizeof capture->wal_header, 0,
                                 capture->wal_path);
    return rc;
}

static int read_wal(struct capture *capture, const struct deadline *deadline)
{
    uint64_t frames = 0;
    bool is_live = false;
    int rc = pin_wal(&is_live, &frames, capture, deadline);
    /* A checkpoint may have changed the size that was seen before the slot was taken. */
    if (rc == BOUGH_OK && is_live && !capture->journal.applies) {
        rc = bough__os_size(&capture->base_bytes, capture->fd, capture->path);
        capture->size_bytes = capture->base_bytes;
    }
    if (rc != BOUGH_OK || (is_live && frames == 0))
        return rc;
    rc = open_wal(capture);
    if (rc == BOUGH_OK && is_live && capture->wal_fd < 0)
        rc = bough__fail(BOUGH_CORRUPT, "%s is in use but is not there", capture->wal_path);
    capture->is_quiet = !is_live;
    if (rc == BOUGH_OK && capture->wal_fd >= 0)
        rc = bough__replay_wal(&capture->wal, capture->wal_fd, capture->wal_path, is_live ? frames : UINT64_MAX);
    if (rc == BOUGH_OK && capture->wal.applies)
        capture->size_bytes = capture->wal.size_bytes;
    return rc;
}

/* ---- the source ------------------------------------------------------------------------------------------------ */

static int read_base(const struct capture *capture, uint64_t offset, uint8_t *buffer, size_t len_bytes)
{
    size_t wanted = len_bytes, len = 0;
    if (offset >= capture->base_bytes)
        wanted = 0;
    else if (capture->base_bytes - offset < wanted)
        wanted = (size_t)(capture->base_bytes - offset);
    int rc = wanted ? bough__os_read_some(&len, capture->fd, buffer, wanted, offset, capture->path) : BOUGH_OK;
    /* A checkpoint in progress may not have grown the file yet: SQLite, too, reads zeros there. */
    if (rc == BOUGH_OK)
        memset(buffer + len, 0, len_bytes - len);
    return rc;
}

static int apply_patches(const struct bough__replay *replay, int fd, const char *path, uint64_t offset, uint8_t *buffer,
                         size_t len_bytes)
{
    uint64_t end = offset + len_bytes;
    int rc = BOUGH_OK;
    for (size_t i = bough__replay_find(replay, offset); rc == BOUGH_OK && i < replay->count; i++) {
        uint64_t page_start = replay->patches[i].page * replay->page_size;
        uint64_t page_end = page_start + replay->page_size;
        if (page_start >= end)
            break;
        uint64_t from = page_start > offset ? page_start : offset, to = page_end < end ? page_end : end;
        rc = bough__os_read(fd, buffer + (from - offset), (size_t)(to - from),
                            replay->patches[i].offset + (from - page_start), path);
    }
    return rc;
}

static int capture_read(void *context, uint64_t offset, void *buffer, size_t len_bytes)
{
    const struct capture *capture = context;
    int rc = read_base(capture, offset, buffer, len_bytes);
    if (rc == BOUGH_OK)
        rc = apply_patches(&capture->journal, capture->journal_fd, capture->journal_path, offset, buffer, len_bytes);
    if (rc == BOUGH_OK)
        rc = apply_patches(&capture->wal, capture->wal_fd, capture->wal_path, offset, buffer, len_bytes);
    return rc;
}

/* The next bytes of the database file that are not in a hole. A file system that knows no holes has none. */
static bool next_base(const struct capture *capture, uint64_t offset, uint64_t *out_start, uint64_t *out_end)
{
    if (offset >= capture->base_bytes)
        return false;
    off_t start = bough__os.lseek(capture->fd, (off_t)offset, SEEK_DATA);
    if (start < 0 && errno == ENXIO)
        return false;
    off_t end = start < 0 ? -1 : bough__os.lseek(capture->fd, start, SEEK_HOLE);
    *out_start = start < 0 ? offset : (uint64_t)start;
    *out_end = end < 0 || (uint64_t)end > capture->base_bytes ? capture->base_bytes : (uint64_t)end;
    return *out_start < *out_end;
}

static bool next_patch(const struct bough__replay *replay, uint64_t offset, uint64_t *out_start, uint64_t *out_end)
{
    size_t i = bough__replay_find(replay, offset);
    if (i == replay->count)
        return false;
    uint64_t start = replay->patches[i].page * replay->page_size;
    uint64_t page = replay->patches[i].page;
    while (i + 1 < replay->count && replay->patches[i + 1].page == page + 1) {
        i++;
        page++;
    }
    *out_start = start > offset ? start : offset;
    *out_end = (page + 1) * replay->page_size;
    return true;
}

/* The earliest range of the three; where ranges overlap, the rest of the others is found by the next call. */
static bool capture_next_data(void *context, uint64_t offset, uint64_t *out_start, uint64_t *out_end)
{
    const struct capture *capture = context;
    uint64_t start = 0, end = 0;
    bool found = next_base(capture, offset, out_start, out_end);
    for (int i = 0; i < 2; i++) {
        if (!next_patch(i ? &capture->wal : &capture->journal, offset, &start, &end))
            continue;
        if (!found || start < *out_start) {
            *out_start = start;
            *out_end = end;
        }
        found = true;
    }
    if (!found || *out_start >= capture->size_bytes)
        return false;
    if (*out_end > capture->size_bytes)
        *out_end = capture->size_bytes;
    return true;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool has_users_now(const struct capture *capture)
{
    struct stat info;
    int fd = -1;
    bool found = open_regular(&fd, &info, capture->shm_path, true) != BOUGH_OK ||
                 (fd >= 0 && bough__os_is_locked(fd, SHM_DEAD_MAN_BYTE));
    bough__close_or_park(&fd);
    return found;
}

static int capture_finish(void *context)
{
    struct capture *capture = context;
    struct stat now;
    uint8_t header[BOUGH__WAL_HEADER_SIZE] = {0};
    size_t len = 0;
    if (!capture->is_quiet)
        return BOUGH_OK;
    bool moved = has_users_now(capture) || bough__os.fstat(capture->fd, &now) != 0 || !is_same(&now, &capture->info);
    if (!moved && capture->wal_fd < 0)
        moved = stat(capture->wal_path, &now) == 0 && now.st_size > 0;
    if (!moved && capture->wal_fd >= 0)
        moved = bough__os.fstat(capture->wal_fd, &now) != 0 || !is_same(&now, &capture->wal_info) ||
                bough__os_read_some(&len, capture->wal_fd, header, sizeof header, 0, capture->wal_path) != BOUGH_OK ||
                memcmp(header, capture->wal_header, sizeof header) != 0;
    capture->moved = moved;
    return moved ? bough__fail(BOUGH_BUSY, "%s was opened and changed while it was read", capture->path) : BOUGH_OK;
}

static void capture_close(void *context)
{
    struct capture *capture = context;
    if (!capture)
        return;
    bough__close_or_park(&capture->shm_fd);
    bough__close_or_park(&capture->fd);
    bough__os_close(&capture->wal_fd);
    bough__os_close(&capture->journal_fd);
    bough__replay_release(&capture->journal);
    bough__replay_release(&capture->wal);
    free(capture->path);
    free(capture->wal_path);
    free(capture->journal_path);
    free(capture->shm_path);
    free(capture);
}

bool bough__capture_moved(const struct bough__source *source)
{
    const struct capture *capture = source->context;
    return capture && capture->moved;
}

/* ---- what it is ------------------------------------------------------------------------------------------------ */

static int check_header(struct bough__source *out, struct capture *capture)
{
    static const char magic[16] = "SQLite format 3";
    uint8_t header[HEADER_SIZE];
    out->page_size = EMPTY_PAGE_SIZE;
    if (capture->size_bytes == 0)
        return BOUGH_OK;
    int rc = BOUGH_OK;
    if (capture->size_bytes >= HEADER_SIZE)
        rc = capture_read(capture, 0, header, sizeof header);
    if (rc != BOUGH_OK)
        return rc;
    if (capture->size_bytes < HEADER_SIZE || memcmp(header, magic, sizeof magic) != 0)
        return bough__fail(BOUGH_CORRUPT, "%s is no SQLite database (encrypted or foreign bytes?)", capture->path);
    uint32_t page_size = (uint32_t)header[16] << 8 | header[17];
    page_size = page_size == 1 ? 65536 : page_size;
    if (page_size < 512 || (page_size & (page_size - 1)) != 0)
        return bough__fail(BOUGH_CORRUPT, "%s is no SQLite database: its header says %u bytes a page", capture->path,
                           page_size);
    out->page_size = page_size;
    return BOUGH_OK;
}

static int prepare(struct capture *capture, const struct deadline *deadline)
{
    int rc = open_regular(&capture->fd, &capture->info, capture->path, false);
    if (rc == BOUGH_OK)
        rc = lock_shared(capture, deadline);
    /* Now that nothing moves (in rollback mode) look again. */
    if (rc == BOUGH_OK && bough__os.fstat(capture->fd, &capture->info) != 0)
        rc = bough__fail_errno("examine", capture->path);
    capture->base_bytes = capture->size_bytes = (uint64_t)capture->info.st_size;
    /* Beside an empty file SQLite takes a journal or WAL for a stranger's and removes it. */
    if (rc != BOUGH_OK || capture->base_bytes == 0)
        return rc;
    rc = read_journal(capture);
    if (rc == BOUGH_OK && capture->size_bytes > 0)
        rc = read_wal(capture, deadline);
    return rc;
}

static int new_capture(struct capture **out, const char *path)
{
    struct capture *capture = bough__alloc(sizeof *capture);
    if (!capture)
        return BOUGH_NOMEM;
    capture->fd = capture->wal_fd = capture->journal_fd = capture->shm_fd = -1;
    *out = capture;
    capture->path = realpath(path, NULL);
    if (!capture->path)
        return bough__fail_errno("open", path);
    capture->wal_path = bough__format("%s-wal", capture->path);
    capture->journal_path = bough__format("%s-journal", capture->path);
    capture->shm_path = bough__format("%s-shm", capture->path);
    return capture->wal_path && capture->journal_path && capture->shm_path ? BOUGH_OK : BOUGH_NOMEM;
}

int bough__capture_open(struct bough__source *out, char **out_path, const char *path, uint32_t timeout_ms)
{
    struct deadline deadline = {monotonic_ms() + timeout_ms};
    struct capture *capture = NULL;
    memset(out, 0, sizeof *out);
    *out_path = NULL;
    int rc = new_capture(&capture, path);
    if (rc == BOUGH_OK)
        rc = prepare(capture, &deadline);
    if (rc == BOUGH_OK)
        rc = check_header(out, capture);
    if (rc == BOUGH_OK && !(*out_path = bough__strdup(capture->path)))
        rc = BOUGH_NOMEM;
    if (rc != BOUGH_OK) {
        capture_close(capture);
        return rc;
    }
    out->size_bytes = capture->size_bytes;
    out->context = capture;
    out->read = capture_read;
    out->next_data = capture_next_data;
    out->finish = capture_finish;
    out->close = capture_close;
    out->mode = capture->info.st_mode;
    return BOUGH_OK;
}
