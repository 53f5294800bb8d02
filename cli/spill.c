/* spill.c - see spill.h. */
#include "spill.h"

#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_MAX (1u << 20)

struct spill {
    FILE *stream;
    char *memory;
    size_t length;
    int fd; /* -1: nothing left the memory yet */
};

static int open_unlinked(void)
{
    const char *directory = getenv("TMPDIR");
    char *path = out_format("%s/bough-XXXXXX", directory && directory[0] ? directory : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);

    if (fd >= 0)
        unlink(path);
    free(path);
    return fd;
}

static bool write_all(int fd, const char *bytes, size_t length)
{
    while (length) {
        ssize_t n = write(fd, bytes, length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes += n;
        length -= (size_t)n;
    }
    return true;
}

static bool empty_memory(struct spill *spill)
{
    if (spill->fd < 0)
        spill->fd = open_unlinked();
    if (spill->fd < 0 || !write_all(spill->fd, spill->memory, spill->length))
        return false;
    spill->length = 0;
    return true;
}

/* The stream's writer: stdio hands over one buffer at a time. */
static ssize_t take(void *context, const char *bytes, size_t size)
{
    struct spill *spill = context;

    if (spill->length + size > MEMORY_MAX && !empty_memory(spill))
        return 0;
    if (size > MEMORY_MAX)
        return write_all(spill->fd, bytes, size) ? (ssize_t)size : 0;
    memcpy(spill->memory + spill->length, bytes, size);
    spill->length += size;
    return (ssize_t)size;
}

struct spill *spill_open(FILE **out_stream)
{
    struct spill *spill = out_alloc(sizeof *spill);
    cookie_io_functions_t functions = {NULL, take, NULL, NULL};

    spill->memory = out_grow(NULL, MEMORY_MAX);
    spill->fd = -1;
    spill->stream = fopencookie(spill, "w", functions);
    if (!spill->stream) {
        spill_close(spill);
        return NULL;
    }
    *out_stream = spill->stream;
    return spill;
}

bool spill_copy(struct spill *spill, FILE *to)
{
    char buffer[16384];
    ssize_t n = 0;

    if (fflush(spill->stream) != 0 || ferror(spill->stream))
        return false;
    if (spill->fd >= 0) {
        if (lseek(spill->fd, 0, SEEK_SET) != 0)
            return false;
        while ((n = read(spill->fd, buffer, sizeof buffer)) > 0)
            fwrite(buffer, 1, (size_t)n, to);
    }
    fwrite(spill->memory, 1, spill->length, to);
    return n == 0;
}

void spill_close(struct spill *spill)
{
    if (!spill)
        return;
    if (spill->stream)
        fclose(spill->stream);
    if (spill->fd >= 0)
        close(spill->fd);
    free(spill->memory);
    free(spill);
}
