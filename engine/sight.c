/* sight.c - whether files have changed since somebody looked at them; see sight.h. */
#include "sight.h"

#include "os.h"

#include <string.h>

/* Coarser than any clock that a local file system marks its files with (FAT has 2 s). */
#define GRAIN_MS 2000

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void bough__sight_take(struct bough__sight *out, const char *const paths[BOUGH__SIGHT_FILES])
{
    struct stat info;
    int64_t now_ns = bough__os_now_ms() * 1000000;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < BOUGH__SIGHT_FILES; i++) {
        if (bough__os.lstat(paths[i], &info) != 0)
            continue;
        out->files[i].device = info.st_dev;
        out->files[i].inode = info.st_ino;
        out->files[i].size_bytes = (uint64_t)info.st_size;
        out->files[i].modified_ns = nanoseconds(info.st_mtim);
        out->files[i].changed_ns = nanoseconds(info.st_ctim);
        out->is_unsure = out->is_unsure || out->files[i].changed_ns > now_ns - GRAIN_MS * INT64_C(1000000);
    }
}

bool bough__sight_is_old(const struct bough__sight *sight, const char *const paths[BOUGH__SIGHT_FILES])
{
    struct bough__sight now;
    if (sight->is_unsure)
        return true;
    bough__sight_take(&now, paths);
    return memcmp(now.files, sight->files, sizeof now.files) != 0;
}
