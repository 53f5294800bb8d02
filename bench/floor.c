/* floor.c - what the machine itself takes for the pieces that bough and SQLite are made of. */
#include "bench.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#define PAGE            4096
#define OVERWRITE_PAGES 64
#define POOL_PAGES      8192

const char *const bench_overwrite_work = "overwrite of 4 KB + fdatasync";

static void write_pages(int fd, unsigned count, const char *what)
{
    unsigned char page[PAGE];
    for (unsigned i = 0; i < count; i++) {
        for (size_t j = 0; j < PAGE; j += 8) {
            uint64_t word = bench_mix(i * 512 + j);
            memcpy(page + j, &word, 8);
        }
        if (pwrite(fd, page, PAGE, (off_t)i * PAGE) != PAGE)
            bench_die("%s: short write", what);
    }
    if (fsync(fd) != 0)
        bench_die("%s: fsync failed", what);
}

double bench_overwrite(const struct bench *bench)
{
    static int fd = -1;
    static unsigned turn;
    if (fd < 0) {
        char *path = bench_path(bench, "overwrite");
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            bench_die("%s: cannot be made", path);
        write_pages(fd, OVERWRITE_PAGES, path);
        free(path);
    }
    unsigned char page[PAGE];
    memset(page, (int)(turn & 0xff), sizeof(page));
    double begin = bench_now();
    if (pwrite(fd, page, PAGE, (off_t)(turn++ % OVERWRITE_PAGES) * PAGE) != PAGE || fdatasync(fd) != 0)
        bench_die("overwrite failed");
    return bench_now() - begin;
}

static volatile uint64_t result; /* keeps the measured work from being optimised away */

static double time_copy(const unsigned char *pool)
{
    unsigned char page[PAGE];
    double begin = bench_now();
    for (unsigned i = 0; i < POOL_PAGES; i++) {
        memcpy(page, pool + bench_mix(i) % POOL_PAGES * PAGE, PAGE);
        result += page[i % PAGE];
    }
    return (bench_now() - begin) / POOL_PAGES;
}

static double time_pread(int fd)
{
    unsigned char page[PAGE];
    double begin = bench_now();
    for (unsigned i = 0; i < POOL_PAGES; i++) {
        if (pread(fd, page, PAGE, (off_t)(bench_mix(i) % POOL_PAGES * PAGE)) != PAGE)
            bench_die("short read");
        result += page[i % PAGE];
    }
    return (bench_now() - begin) / POOL_PAGES;
}

static double time_xxh(const unsigned char *pool)
{
    double begin = bench_now();
    for (unsigned i = 0; i < POOL_PAGES; i++)
        result += XXH3_64bits(pool + (size_t)i * PAGE, PAGE);
    return (bench_now() - begin) / POOL_PAGES;
}

static double time_sha(const unsigned char *pool)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD *algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (algorithm == NULL || context == NULL)
        bench_die("no SHA-256");
    double begin = bench_now();
    for (unsigned i = 0; i < POOL_PAGES / 8; i++) {
        EVP_DigestInit_ex2(context, algorithm, NULL);
        EVP_DigestUpdate(context, pool + (size_t)i * PAGE, PAGE);
        EVP_DigestFinal_ex(context, digest, NULL);
        result += digest[0];
    }
    double seconds = (bench_now() - begin) / (POOL_PAGES / 8);
    EVP_MD_CTX_free(context);
    EVP_MD_free(algorithm);
    return seconds;
}

void bench_floor(const struct bench *bench)
{
    char *path = bench_path(bench, "pool");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        bench_die("%s: cannot be made", path);
    write_pages(fd, POOL_PAGES, path);
    const unsigned char *pool = mmap(NULL, (size_t)POOL_PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (pool == MAP_FAILED)
        bench_die("%s: cannot be mapped", path);
    time_copy(pool);
    for (unsigned i = 0; i < bench->rounds * 3; i++) {
        bench_sample("copy of a page from a mapping", "machine", BENCH_SECONDS, time_copy(pool));
        bench_sample("pread of a page", "machine", BENCH_SECONDS, time_pread(fd));
        bench_sample("XXH3 of a page", "machine", BENCH_SECONDS, time_xxh(pool));
        bench_sample("SHA-256 of a page", "machine", BENCH_SECONDS, time_sha(pool));
    }
    for (unsigned i = 0; i < bench->forks; i++)
        bench_sample(bench_overwrite_work, "machine", BENCH_SECONDS, bench_overwrite(bench));
    munmap((void *)(uintptr_t)pool, (size_t)POOL_PAGES * PAGE);
    close(fd);
    unlink(path);
    free(path);
}
