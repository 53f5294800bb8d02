/* util.c - clock, processes, files and errors of the benchmark. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

void bench_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("bough_bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(BENCH_CANNOT_MEASURE);
}

void bench_check(int code, const char *what)
{
    if (code != BOUGH_OK)
        bench_die("%s: %s: %s", what, bough_code_name(code), bough_error_message());
}

void bench_check_sql(sqlite3 *db, int code, const char *what)
{
    if (code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE)
        bench_die("%s: %s", what, db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code));
}

void *bench_alloc(size_t len_bytes)
{
    void *memory = calloc(1, len_bytes == 0 ? 1 : len_bytes);
    if (memory == NULL)
        bench_die("out of memory");
    return memory;
}

static char *format_arguments(const char *format, va_list arguments)
{
    char *text = NULL;
    if (vasprintf(&text, format, arguments) < 0)
        bench_die("out of memory");
    return text;
}

char *bench_format(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = format_arguments(format, arguments);
    va_end(arguments);
    return text;
}

char *bench_path(const struct bench *bench, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *name = format_arguments(format, arguments);
    va_end(arguments);
    char *path = bench_format("%s/%s", bench->directory, name);
    free(name);
    return path;
}

double bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

bool bench_clock_is_cpu;

double bench_clock(void)
{
    struct timespec now;
    if (!bench_clock_is_cpu)
        return bench_now();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

uint64_t bench_mix(uint64_t n)
{
    uint64_t z = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Starts argv with stdout on out_fd, or on /dev/null where that is negative. */
static int start(pid_t *out, const char *const *argv, int out_fd)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (out_fd < 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    else
        posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
    int error = posix_spawnp(out, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static int wait_for(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

int bench_run(const char *const *argv)
{
    pid_t child = 0;
    return start(&child, argv, -1) == 0 ? wait_for(child) : 127;
}

double bench_run_timed(const char *const *argv)
{
    double begin = bench_now();
    int status = bench_run(argv);
    double seconds = bench_now() - begin;
    if (status != 0)
        bench_die("%s %s ends with status %d", argv[0], argv[1] == NULL ? "" : argv[1], status);
    return seconds;
}

char *bench_output(const char *const *argv)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        bench_die("pipe: %s", strerror(errno));
    pid_t child = 0;
    int error = start(&child, argv, ends[1]);
    close(ends[1]);
    if (error != 0) {
        close(ends[0]);
        return NULL;
    }
    size_t len = 0, capacity = 4096;
    char *text = bench_alloc(capacity);
    for (;;) {
        ssize_t got = read(ends[0], text + len, capacity - len - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        len += (size_t)got;
        if (len + 1 == capacity) {
            capacity *= 2;
            text = realloc(text, capacity);
            if (text == NULL)
                bench_die("out of memory");
        }
    }
    text[len] = '\0';
    close(ends[0]);
    if (wait_for(child) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

bool bench_has_program(const char *name)
{
    const char *path = getenv("PATH");
    for (const char *part = path == NULL ? "" : path; *part != '\0';) {
        size_t len = strcspn(part, ":");
        char *full = bench_format("%.*s/%s", (int)len, part, name);
        bool found = access(full, X_OK) == 0;
        free(full);
        if (found)
            return true;
        part += len + (part[len] == ':');
    }
    return false;
}

void bench_progress(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

void bench_remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static uint64_t counted_bytes;

static int count_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)path;
    (void)walk;
    if (kind == FTW_F || kind == FTW_D)
        counted_bytes += (uint64_t)info->st_blocks * 512;
    return 0;
}

uint64_t bench_disk_bytes(const char *path)
{
    counted_bytes = 0;
    nftw(path, count_entry, 16, FTW_PHYS);
    return counted_bytes;
}

void bench_sync_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        bench_die("sync %s: %s", path, strerror(errno));
    close(fd);
}

uint64_t bench_file_bytes(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        bench_die("%s: %s", path, strerror(errno));
    return (uint64_t)info.st_size;
}
