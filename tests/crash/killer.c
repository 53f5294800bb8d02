/* killer.c - a library for LD_PRELOAD: its process is killed at one of its system calls that change files of a store.
 *
 *   BOUGH_KILL_UNDER  calls on files under this directory count
 *   BOUGH_KILL_AT     the process dies before this one of them, from 1 on
 *   BOUGH_KILL_TORN   1: if that is a write, half of it is done before
 *   BOUGH_KILL_COUNT  this file gets the number of the calls, where the process ends by itself
 *
 * What is written through mappings cannot be told and does not count; a kill at the call after it comes to the same. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

static int is_under(const char *path)
{
    const char *directory = getenv("BOUGH_KILL_UNDER");
    return directory && path && strncmp(path, directory, strlen(directory)) == 0;
}

static int is_file_under(int fd)
{
    char name[64];
    char path[4096];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    return is_under(path);
}

/* Counts a call: is it the last one? */
static int is_last(void)
{
    const char *at = getenv("BOUGH_KILL_AT");
    return atomic_fetch_add(&calls, 1) + 1 == (at ? atol(at) : -1);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void before_file(int fd)
{
    int error = errno;
    if (is_file_under(fd) && is_last())
        die();
    errno = error;
}

static void before_path(const char *path)
{
    if (is_under(path) && is_last())
        die();
}

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("BOUGH_KILL_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file)
        return;
    fprintf(file, "%ld\n", atomic_load(&calls));
    fclose(file);
}

/* The function that this one stands before. */
#define NEXT(type, name)                                                                                               \
    static type *next;                                                                                                 \
    if (!next)                                                                                                         \
    *(void **)&next = dlsym(RTLD_NEXT, name)

typedef ssize_t write_function(int, const void *, size_t, off_t);
typedef ssize_t plain_write_function(int, const void *, size_t);
typedef int fd_function(int);
typedef int size_function(int, off_t);
typedef int range_function(int, int, off_t, off_t);
typedef int path_function(const char *);
typedef int paths_function(const char *, const char *);
typedef int mode_function(const char *, mode_t);
typedef int open_function(const char *, int, ...);

static ssize_t write_at(write_function *next, int fd, const void *buffer, size_t size, off_t offset)
{
    int error = errno;
    if (is_file_under(fd) && is_last()) {
        const char *torn = getenv("BOUGH_KILL_TORN");
        if (torn && *torn == '1' && size > 1)
            next(fd, buffer, size / 2, offset);
        die();
    }
    errno = error;
    return next(fd, buffer, size, offset);
}

ssize_t pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    NEXT(write_function, "pwrite");
    return write_at(next, fd, buffer, size, offset);
}

ssize_t pwrite64(int fd, const void *buffer, size_t size, off_t offset)
{
    NEXT(write_function, "pwrite64");
    return write_at(next, fd, buffer, size, offset);
}

ssize_t write(int fd, const void *buffer, size_t size)
{
    NEXT(plain_write_function, "write");
    before_file(fd);
    return next(fd, buffer, size);
}

int fdatasync(int fd)
{
    NEXT(fd_function, "fdatasync");
    before_file(fd);
    return next(fd);
}

int fsync(int fd)
{
    NEXT(fd_function, "fsync");
    before_file(fd);
    return next(fd);
}

int ftruncate(int fd, off_t size)
{
    NEXT(size_function, "ftruncate");
    before_file(fd);
    return next(fd, size);
}

int ftruncate64(int fd, off_t size)
{
    NEXT(size_function, "ftruncate64");
    before_file(fd);
    return next(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    NEXT(range_function, "fallocate");
    before_file(fd);
    return next(fd, mode, offset, size);
}

int fallocate64(int fd, int mode, off_t offset, off_t size)
{
    NEXT(range_function, "fallocate64");
    before_file(fd);
    return next(fd, mode, offset, size);
}

int unlink(const char *path)
{
    NEXT(path_function, "unlink");
    before_path(path);
    return next(path);
}

int rename(const char *from, const char *to)
{
    NEXT(paths_function, "rename");
    before_path(to);
    return next(from, to);
}

int link(const char *from, const char *to)
{
    NEXT(paths_function, "link");
    before_path(to);
    return next(from, to);
}

int mkdir(const char *path, mode_t mode)
{
    NEXT(mode_function, "mkdir");
    before_path(path);
    return next(path, mode);
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & O_CREAT ? (mode_t)va_arg(arguments, unsigned) : 0;
}

int open(const char *path, int flags, ...)
{
    NEXT(open_function, "open");
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    if (flags & O_CREAT)
        before_path(path);
    return next(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    NEXT(open_function, "open64");
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    if (flags & O_CREAT)
        before_path(path);
    return next(path, flags, mode);
}
