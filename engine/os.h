/* os.h - the one table of system calls.
 *
 * Everything in bough that touches a file goes through this table, so that tests put a simulated disk or a failing
 * call under the code that ships. (The catalog is SQLite's business and goes through SQLite's own VFS.)
 */
#ifndef BOUGH_ENGINE_OS_H
#define BOUGH_ENGINE_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

struct flock;
struct statfs;

struct bough__os_calls {
    int (*open)(const char *path, int flags, mode_t mode); /* O_CLOEXEC is added by bough__os_open */
    int (*close)(int fd);
    void (*disown)(int fd); /* in a child of fork(): lets go of the file, but keeps its number taken */
    ssize_t (*pread)(int fd, void *buffer, size_t len_bytes, off_t offset);
    ssize_t (*pwrite)(int fd, const void *buffer, size_t len_bytes, off_t offset);
    int (*fdatasync)(int fd);
    int (*fsync)(int fd);
    int (*ftruncate)(int fd, off_t size_bytes);
    int (*fallocate)(int fd, int mode, off_t offset, off_t len_bytes);
    int (*fstat)(int fd, struct stat *out);
    int (*lstat)(const char *path, struct stat *out);
    int (*statfs)(const char *path, struct statfs *out);
    int (*unlink)(const char *path);
    int (*rename)(const char *from, const char *to);
    int (*link)(const char *from, const char *to);
    int (*mkdir)(const char *path, mode_t mode);
    int (*rmdir)(const char *path);
    void *(*mmap)(void *address, size_t len_bytes, int protection, int flags, int fd, off_t offset);
    int (*munmap)(void *address, size_t len_bytes);
    int (*lock)(int fd, int command, struct flock *lock); /* fcntl(F_OFD_SETLK, F_OFD_GETLK) */
    off_t (*lseek)(int fd, off_t offset, int whence);
    int (*clock_gettime)(clockid_t clock, struct timespec *out);
    int (*start_writeback)(int fd, off_t offset, off_t len_bytes); /* sync_file_range, without waiting */
    void *(*malloc)(size_t len_bytes);
    void *(*realloc)(void *old, size_t len_bytes);
};

/* The calls in use; tests replace members before any store is opened. */
extern struct bough__os_calls bough__os;

/* The helpers below return BOUGH_OK or a code with the message set; path is for the message alone. */

/* Opens with O_CLOEXEC. O_NOFOLLOW is the caller's choice: every file of a store is opened with it.
 * Errors: BOUGH_NOT_FOUND for ENOENT/ENOTDIR, BOUGH_CORRUPT for a symlink (ELOOP), BOUGH_IO else. */
int bough__os_open(int *out_fd, const char *path, int flags, mode_t mode);
/* What is asked to close some descriptor when the process has none left, before an open fails; false: there is none. */
void bough__os_when_short(bool (*spare)(void));
void bough__os_close(int *fd); /* sets *fd to -1; -1 is fine */
/* Reads exactly len bytes; fewer in the file is BOUGH_CORRUPT. */
int bough__os_read(int fd, void *buffer, size_t len_bytes, uint64_t offset, const char *path);
/* Reads up to len bytes, fewer only at the end of the file. */
int bough__os_read_some(size_t *out_len, int fd, void *buffer, size_t len_bytes, uint64_t offset, const char *path);
/* Writes all or fails: BOUGH_FULL for ENOSPC, EDQUOT, EFBIG. */
int bough__os_write(int fd, const void *buffer, size_t len_bytes, uint64_t offset, const char *path);
int bough__os_sync(int fd, const char *path);            /* fdatasync */
int bough__os_sync_directory(const char *path);          /* makes names in it durable */
int bough__os_size(uint64_t *out_bytes, int fd, const char *path);
/* Gives the bytes back to the file system: they read as zeros, and the file keeps its size. Where the file system
 * cannot do that, nothing happens. */
int bough__os_punch(int fd, uint64_t offset, uint64_t len_bytes, const char *path);
/* Of a range: the bytes that take room on the disk, as far as the file system tells. run: zeros at first, and then the
 * same for ranges that follow, ascending; what was given back meanwhile lies before them. */
struct bough__os_run {
    uint64_t from, start, end; /* searched from here, bytes were found here, up to here */
};
uint64_t bough__os_allocated(int fd, uint64_t offset, uint64_t len_bytes, struct bough__os_run *run);

/* BOUGH_REFUSED where other machines may have the same files: locks and shared memory are of one machine. */
int bough__os_check_local(const char *path);

/* Open-file-description locks (they belong to the descriptor, so a second opener in the same process is not us, and
 * closing some other descriptor of the file loses nothing). One byte each. */
enum bough__lock_kind { BOUGH__UNLOCK, BOUGH__SHARED, BOUGH__EXCLUSIVE };
/* Does not wait: BOUGH_BUSY when another descriptor holds it. */
int bough__os_lock(int fd, uint64_t byte, enum bough__lock_kind kind, const char *path);
/* The same, trying for up to timeout_ms. */
int bough__os_lock_wait(int fd, uint64_t byte, enum bough__lock_kind kind, uint32_t timeout_ms, const char *path);
/* Gives up what the descriptor holds of a range. */
void bough__os_unlock(int fd, uint64_t byte, uint64_t len_bytes);
/* True when some other descriptor holds a lock that conflicts with an exclusive one. */
bool bough__os_is_locked(int fd, uint64_t byte);

/* Starts a thread that takes no signals: they are for the threads of the program. False: there is none to be had. */
bool bough__os_start_thread(pthread_t *out, void *(*run)(void *context), void *context);

/* This boot of the machine, as 16 bytes; all zero when the system does not say. */
void bough__os_boot_id(uint8_t out[16]);
int bough__os_random(void *buffer, size_t len_bytes); /* getrandom */
uint64_t bough__os_monotonic_us(void);                /* since some time before this process began */
int64_t bough__os_now_ms(void);                       /* wall clock, since 1970 UTC */
/* Since this boot of the machine, the same for all processes, to about 4 ms. No system call. */
uint64_t bough__os_uptime_ms(void);

/* Allocation through the table; the result is NULL with the message set when there is no memory. */
void *bough__alloc(size_t len_bytes);                 /* zeroed */
void *bough__realloc(void *old, size_t len_bytes);    /* old stays valid on failure */
char *bough__strdup(const char *text);
char *bough__format(const char *format, ...) __attribute__((format(printf, 1, 2))); /* a malloc'ed string */

#endif
