/* os.c - the system behind the table of calls, and the helpers that everything else uses. */
#include "os.h"

#include "digest.h"
#include "error.h"
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(void *) == 8 && sizeof(off_t) == 8, "bough supports 64-bit Linux");

/* ---- the real calls -------------------------------------------------------------------------------------------- */

/* A program that closed its standard streams must not get a store's file as one: what it prints would land there. */
static int away_from_standard_streams(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int error = errno;
    close(fd);
    errno = error;
    return higher;
}

static int system_open(const char *path, int flags, mode_t mode)
{
    return away_from_standard_streams(open(path, flags, mode));
}

/* Nothing can be written to what stands there now, and reading it ends at once. */
static void system_disown(int fd)
{
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing < 0 || dup3(nothing, fd, O_CLOEXEC) < 0)
        close(fd);
    if (nothing >= 0)
        close(nothing);
}

static int system_lock(int fd, int command, struct flock *lock)
{
    return fcntl(fd, command, lock);
}

static int system_fstat(int fd, struct stat *out)
{
    return fstat(fd, out);
}

static int system_lstat(const char *path, struct stat *out)
{
    return lstat(path, out);
}

static int system_start_writeback(int fd, off_t offset, off_t len)
{
    return sync_file_range(fd, offset, len, SYNC_FILE_RANGE_WRITE);
}

static int system_statfs(const char *path, struct statfs *out)
{
    return statfs(path, out);
}

struct bough__os_calls bough__os = {
    .open = system_open,
    .close = close,
    .disown = system_disown,
    .pread = pread,
    .pwrite = pwrite,
    .fdatasync = fdatasync,
    .fsync = fsync,
    .ftruncate = ftruncate,
    .fallocate = fallocate,
    .fstat = system_fstat,
    .lstat = system_lstat,
    .statfs = system_statfs,
    .unlink = unlink,
    .rename = rename,
    .link = link,
    .mkdir = mkdir,
    .rmdir = rmdir,
    .mmap = mmap,
    .munmap = munmap,
    .lock = system_lock,
    .lseek = lseek,
    .clock_gettime = clock_gettime,
    .start_writeback = system_start_writeback,
    .malloc = malloc,
    .realloc = realloc,
};

/* ---- files ----------------------------------------------------------------------------------------------------- */

static bool spare_nothing(void)
{
    return false;
}

static bool (*_Atomic spare)(void) = spare_nothing;

void bough__os_when_short(bool (*function)(void))
{
    atomic_store(&spare, function);
}

/* With errno of the last try, which stays what it was. */
static bool has_spared(void)
{
    int error = errno;
    bool has = (error == EMFILE || error == ENFILE) && atomic_load(&spare)();
    errno = error;
    return has;
}

int bough__os_open(int *out_fd, const char *path, int flags, mode_t mode)
{
    int fd = -1;
    do {
        fd = bough__process_open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && (errno == EINTR || has_spared()));
    *out_fd = fd < 0 ? -1 : fd;
    return fd < 0 ? bough__fail_errno("open", path) : BOUGH_OK;
}

void bough__os_close(int *fd)
{
    if (*fd >= 0)
        bough__process_close(*fd);
    *fd = -1;
}

int bough__os_read_some(size_t *out_len, int fd, void *buffer, size_t len_bytes, uint64_t offset, const char *path)
{
    size_t done = 0;
    while (done < len_bytes) {
        ssize_t count = bough__os.pread(fd, (uint8_t *)buffer + done, len_bytes - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return bough__fail_errno("read", path);
        if (count == 0)
            break;
        done += (size_t)count;
    }
    *out_len = done;
    return BOUGH_OK;
}

int bough__os_read(int fd, void *buffer, size_t len_bytes, uint64_t offset, const char *path)
{
    size_t len = 0;
    int rc = bough__os_read_some(&len, fd, buffer, len_bytes, offset, path);
    if (rc == BOUGH_OK && len < len_bytes)
        rc = bough__fail(BOUGH_CORRUPT, "%s ends at byte %llu, %zu bytes at %llu were expected", path,
                         (unsigned long long)(offset + len), len_bytes, (unsigned long long)offset);
    return rc;
}

int bough__os_write(int fd, const void *buffer, size_t len_bytes, uint64_t offset, const char *path)
{
    size_t done = 0;
    while (done < len_bytes) {
        ssize_t count = bough__os.pwrite(fd, (const uint8_t *)buffer + done, len_bytes - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count == 0)
            errno = ENOSPC; /* no file system does this with room left; a loop would never end */
        if (count <= 0)
            return bough__fail_errno("write", path);
        done += (size_t)count;
    }
    return BOUGH_OK;
}

int bough__os_sync(int fd, const char *path)
{
    /* Not tried again, whatever errno says: after a failure the kernel may have dropped the pages, and a second call
     * would report success for data that is gone. */
    return bough__os.fdatasync(fd) == 0 ? BOUGH_OK : bough__fail_errno("sync", path);
}

int bough__os_sync_directory(const char *path)
{
    int fd = -1;
    int rc = bough__os_open(&fd, path, O_RDONLY | O_DIRECTORY, 0);
    if (rc == BOUGH_OK && bough__os.fsync(fd) != 0)
        rc = bough__fail_errno("sync directory", path);
    bough__os_close(&fd);
    return rc;
}

int bough__os_size(uint64_t *out_bytes, int fd, const char *path)
{
    struct stat info;
    if (bough__os.fstat(fd, &info) != 0)
        return bough__fail_errno("examine", path);
    *out_bytes = (uint64_t)info.st_size;
    return BOUGH_OK;
}

/* FUSE is not among them: what it stands for is local more often than not (virtiofs, NTFS, encryption), and nothing but
 * a name tells. */
static const struct {
    uint32_t magic;
    const char *name;
} network_systems[] = {
    {0x6969, "NFS"},         {0x517b, "SMB"},          {0xff534d42, "CIFS"},    {0xfe534d42, "SMB"},
    {0x01021997, "9P"},      {0x5346414f, "AFS"},      {0x6b414653, "AFS"},     {0x73757245, "Coda"},
    {0x00c36400, "Ceph"},    {0x0bd00bd0, "Lustre"},   {0x47504653, "GPFS"},    {0x01161970, "GFS2"},
    {0x7461636f, "OCFS2"},   {0x564c, "NCP"},          {0x19830326, "BeeGFS"},  {0x20030528, "OrangeFS"},
    {0xaad7aaea, "PanFS"},   {0x786f4256, "vboxsf"},   {0xbacbacbc, "VMHGFS"},
};

int bough__os_check_local(const char *path)
{
    struct statfs info;
    if (bough__os.statfs(path, &info) != 0)
        return bough__fail_errno("examine the file system of", path);
    for (size_t i = 0; i < sizeof network_systems / sizeof network_systems[0]; i++)
        if ((uint32_t)info.f_type == network_systems[i].magic)
            return bough__fail(BOUGH_REFUSED,
                               "%s is on a network file system (%s); a store has to be on a disk of its machine", path,
                               network_systems[i].name);
    return BOUGH_OK;
}

int bough__os_punch(int fd, uint64_t offset, uint64_t len_bytes, const char *path)
{
    int result = 0;
    do {
        result = bough__os.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len_bytes);
    } while (result != 0 && errno == EINTR);
    if (result == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
        return BOUGH_OK;
    return bough__fail_errno("give back bytes of", path);
}

/* Where there is no hole the search for one goes to the end of the file, page by page on a tmpfs. */
uint64_t bough__os_allocated(int fd, uint64_t offset, uint64_t len_bytes, struct bough__os_run *run)
{
    uint64_t end = offset + len_bytes, bytes = 0;
    while (offset < end) {
        if (offset < run->from || offset >= run->end) {
            off_t data = bough__os.lseek(fd, (off_t)offset, SEEK_DATA);
            off_t hole = data < 0 ? -1 : bough__os.lseek(fd, data, SEEK_HOLE);
            /* Without data only holes are left, or the file ends. */
            run->from = offset;
            run->start = data < 0 ? UINT64_MAX : (uint64_t)data;
            run->end = hole < 0 ? UINT64_MAX : (uint64_t)hole;
        }
        uint64_t start = offset > run->start ? offset : run->start;
        if (start >= end)
            break;
        uint64_t stop = end < run->end ? end : run->end;
        bytes += stop - start;
        offset = stop;
    }
    return bytes;
}

/* ---- locks ----------------------------------------------------------------------------------------------------- */

static struct flock one_byte(uint64_t byte, enum bough__lock_kind kind)
{
    static const short types[] = {[BOUGH__UNLOCK] = F_UNLCK, [BOUGH__SHARED] = F_RDLCK, [BOUGH__EXCLUSIVE] = F_WRLCK};
    struct flock lock = {.l_type = types[kind], .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1, .l_pid = 0};
    return lock;
}

int bough__os_lock(int fd, uint64_t byte, enum bough__lock_kind kind, const char *path)
{
    for (;;) {
        struct flock lock = one_byte(byte, kind);
        if (bough__os.lock(fd, F_OFD_SETLK, &lock) == 0)
            return BOUGH_OK;
        if (errno == EAGAIN || errno == EACCES)
            return bough__fail(BOUGH_BUSY, "%s is locked by another user", path);
        if (errno != EINTR)
            return bough__fail_errno("lock", path);
    }
}

void bough__os_unlock(int fd, uint64_t byte, uint64_t len_bytes)
{
    struct flock lock = one_byte(byte, BOUGH__UNLOCK);
    lock.l_len = (off_t)len_bytes;
    while (bough__os.lock(fd, F_OFD_SETLK, &lock) != 0 && errno == EINTR)
        continue;
}

uint64_t bough__os_monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int bough__os_lock_wait(int fd, uint64_t byte, enum bough__lock_kind kind, uint32_t timeout_ms, const char *path)
{
    /* The kernel's waiting lock has no timeout, and a library owns no signal to interrupt it with. Short naps at first,
     * since what is waited for lasts about as long as one fdatasync. */
    uint64_t end_us = bough__os_monotonic_us() + (uint64_t)timeout_ms * 1000;
    uint64_t nap_us = 50;
    for (;;) {
        int rc = bough__os_lock(fd, byte, kind, path);
        uint64_t now_us = bough__os_monotonic_us();
        if (rc != BOUGH_BUSY || now_us >= end_us)
            return rc;
        uint64_t left_us = end_us - now_us;
        uint64_t sleep_us = nap_us < left_us ? nap_us : left_us;
        struct timespec nap = {0, (long)sleep_us * 1000};
        nanosleep(&nap, NULL);
        if (nap_us < 2000)
            nap_us += nap_us / 2;
    }
}

bool bough__os_is_locked(int fd, uint64_t byte)
{
    struct flock lock = one_byte(byte, BOUGH__EXCLUSIVE);
    /* Not being able to tell counts as locked: callers act only on what nobody holds. */
    return bough__os.lock(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

/* ---- the machine ----------------------------------------------------------------------------------------------- */

static uint8_t boot_id[16];
static pthread_once_t boot_id_once = PTHREAD_ONCE_INIT;

static void read_boot_id(void)
{
    char text[64] = "", digits[33] = "";
    int fd = bough__os.open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC, 0);
    ssize_t len = fd < 0 ? -1 : bough__os.pread(fd, text, sizeof text - 1, 0);
    bough__os_close(&fd);
    size_t count = 0;
    for (ssize_t i = 0; i < len && count < 32; i++)
        if (text[i] != '-' && text[i] != '\n')
            digits[count++] = text[i];
    if (!bough__unhex(boot_id, digits, sizeof boot_id))
        memset(boot_id, 0, sizeof boot_id);
}

void bough__os_boot_id(uint8_t out[16])
{
    pthread_once(&boot_id_once, read_boot_id);
    memcpy(out, boot_id, sizeof boot_id);
}

int bough__os_random(void *buffer, size_t len_bytes)
{
    size_t done = 0;
    while (done < len_bytes) {
        ssize_t count = getrandom((uint8_t *)buffer + done, len_bytes - done, 0);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return bough__fail_errno("read", "random bytes");
        done += (size_t)count;
    }
    return BOUGH_OK;
}

bool bough__os_start_thread(pthread_t *out, void *(*run)(void *context), void *context)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool is_started = pthread_create(out, NULL, run, context) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return is_started;
}

int64_t bough__os_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t bough__os_uptime_ms(void)
{
    struct timespec now = {0};
    bough__os.clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* the kernel maps this one's value into each process */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

void *bough__alloc(size_t len_bytes)
{
    void *memory = bough__os.malloc(len_bytes ? len_bytes : 1);
    if (!memory)
        bough__fail_memory();
    else
        memset(memory, 0, len_bytes);
    return memory;
}

void *bough__realloc(void *old, size_t len_bytes)
{
    void *memory = bough__os.realloc(old, len_bytes ? len_bytes : 1);
    if (!memory)
        bough__fail_memory();
    return memory;
}

char *bough__strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = bough__alloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

char *bough__format(const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = len < 0 ? NULL : bough__alloc((size_t)len + 1);
    if (text)
        vsnprintf(text, (size_t)len + 1, format, again);
    else if (len < 0)
        bough__fail_memory();
    va_end(again);
    return text;
}
