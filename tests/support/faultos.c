/* faultos.c - see faultos.h. */
#include "faultos.h"

#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

static struct {
    bool is_installed;
    struct bough__os_calls real;
    bool is_armed, is_lasting, was_hit;
    bool is_rest_due; /* a short write was handed out: the next write fails */
    enum faultos_kind kind;
    uint64_t nth;
    int error;
    uint64_t counts[FAULTOS_KINDS];
} fault;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* Counts a call; true when it has to fail, with errno set. */
static bool fails(enum faultos_kind kind)
{
    pthread_mutex_lock(&mutex);
    uint64_t count = ++fault.counts[kind];
    bool result = fault.is_armed && fault.kind == kind &&
                  (fault.is_lasting ? count >= fault.nth : count == fault.nth);
    if (result)
        fault.was_hit = true;
    int error = fault.error;
    pthread_mutex_unlock(&mutex);
    if (result)
        errno = error;
    return result;
}

static int fault_open(const char *path, int flags, mode_t mode)
{
    return fails(FAULTOS_OPEN) ? -1 : fault.real.open(path, flags, mode);
}

static ssize_t fault_pread(int fd, void *buffer, size_t len, off_t offset)
{
    return fails(FAULTOS_READ) ? -1 : fault.real.pread(fd, buffer, len, offset);
}

static ssize_t fault_pwrite(int fd, const void *buffer, size_t len, off_t offset)
{
    if (fault.is_rest_due) {
        fault.is_rest_due = fault.is_lasting;
        errno = fault.error;
        return -1;
    }
    if (fails(FAULTOS_WRITE))
        return -1;
    if (fails(FAULTOS_SHORT_WRITE)) {
        fault.is_rest_due = true;
        return len > 1 ? fault.real.pwrite(fd, buffer, len / 2, offset) : -1;
    }
    return fault.real.pwrite(fd, buffer, len, offset);
}

static int fault_fdatasync(int fd)
{
    return fails(FAULTOS_SYNC) ? -1 : fault.real.fdatasync(fd);
}

static int fault_fsync(int fd)
{
    return fails(FAULTOS_SYNC) ? -1 : fault.real.fsync(fd);
}

static int fault_ftruncate(int fd, off_t size)
{
    return fails(FAULTOS_TRUNCATE) ? -1 : fault.real.ftruncate(fd, size);
}

static int fault_fallocate(int fd, int mode, off_t offset, off_t len)
{
    return fails(FAULTOS_TRUNCATE) ? -1 : fault.real.fallocate(fd, mode, offset, len);
}

static int fault_fstat(int fd, struct stat *out)
{
    return fails(FAULTOS_STAT) ? -1 : fault.real.fstat(fd, out);
}

static int fault_statfs(const char *path, struct statfs *out)
{
    return fails(FAULTOS_STAT) ? -1 : fault.real.statfs(path, out);
}

static int fault_lstat(const char *path, struct stat *out)
{
    return fails(FAULTOS_STAT) ? -1 : fault.real.lstat(path, out);
}

static int fault_unlink(const char *path)
{
    return fails(FAULTOS_NAME) ? -1 : fault.real.unlink(path);
}

static int fault_rename(const char *from, const char *to)
{
    return fails(FAULTOS_NAME) ? -1 : fault.real.rename(from, to);
}

static int fault_link(const char *from, const char *to)
{
    return fails(FAULTOS_NAME) ? -1 : fault.real.link(from, to);
}

static int fault_mkdir(const char *path, mode_t mode)
{
    return fails(FAULTOS_NAME) ? -1 : fault.real.mkdir(path, mode);
}

static int fault_rmdir(const char *path)
{
    return fails(FAULTOS_NAME) ? -1 : fault.real.rmdir(path);
}

static void *fault_mmap(void *address, size_t len, int protection, int flags, int fd, off_t offset)
{
    return fails(FAULTOS_MAP) ? MAP_FAILED : fault.real.mmap(address, len, protection, flags, fd, offset);
}

static int fault_lock(int fd, int command, struct flock *lock)
{
    /* Letting go cannot fail. */
    if (command != F_OFD_GETLK && lock->l_type == F_UNLCK)
        return fault.real.lock(fd, command, lock);
    return fails(FAULTOS_LOCK) ? -1 : fault.real.lock(fd, command, lock);
}

static void *fault_malloc(size_t len)
{
    return fails(FAULTOS_MEMORY) ? NULL : fault.real.malloc(len);
}

static void *fault_realloc(void *old, size_t len)
{
    return fails(FAULTOS_MEMORY) ? NULL : fault.real.realloc(old, len);
}

void faultos_install(void)
{
    if (fault.is_installed)
        return;
    fault.is_installed = true;
    fault.real = bough__os;
    bough__os.open = fault_open;
    bough__os.pread = fault_pread;
    bough__os.pwrite = fault_pwrite;
    bough__os.fdatasync = fault_fdatasync;
    bough__os.fsync = fault_fsync;
    bough__os.ftruncate = fault_ftruncate;
    bough__os.fallocate = fault_fallocate;
    bough__os.fstat = fault_fstat;
    bough__os.lstat = fault_lstat;
    bough__os.statfs = fault_statfs;
    bough__os.unlink = fault_unlink;
    bough__os.rename = fault_rename;
    bough__os.link = fault_link;
    bough__os.mkdir = fault_mkdir;
    bough__os.rmdir = fault_rmdir;
    bough__os.mmap = fault_mmap;
    bough__os.lock = fault_lock;
    bough__os.malloc = fault_malloc;
    bough__os.realloc = fault_realloc;
}

static void start(bool is_armed, enum faultos_kind kind, uint64_t nth, int error, bool is_lasting)
{
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < FAULTOS_KINDS; i++)
        fault.counts[i] = 0;
    fault.is_armed = is_armed;
    fault.is_lasting = is_lasting;
    fault.was_hit = fault.is_rest_due = false;
    fault.kind = kind;
    fault.nth = nth;
    fault.error = error;
    pthread_mutex_unlock(&mutex);
}

void faultos_fail(enum faultos_kind kind, uint64_t nth, int error, bool is_lasting)
{
    start(true, kind, nth, error, is_lasting);
}

void faultos_clear(void)
{
    start(false, FAULTOS_OPEN, 0, 0, false);
}

bool faultos_was_hit(void)
{
    return fault.was_hit;
}

uint64_t faultos_count(enum faultos_kind kind)
{
    return fault.counts[kind];
}

const char *faultos_name(enum faultos_kind kind)
{
    static const char *const names[FAULTOS_KINDS] = {"open", "read", "write", "short write", "sync",  "truncate",
                                                     "name", "stat", "map",   "lock",        "memory"};
    return names[kind];
}

bool faultos_memory_fails(void)
{
    return fails(FAULTOS_MEMORY);
}
