/* replay.h - what SQLite's recovery would write into a database file, worked out without writing it.
 *
 * A hot journal and a WAL both say "these pages, then this size". Each is read into a list of patches: a page, and
 * where its bytes stand in the journal or WAL. The rules are those of SQLite's pager (hot rollback) and of its WAL
 * recovery and checkpoint, down to which damaged end is ignored.
 */
#ifndef BOUGH_VFS_REPLAY_H
#define BOUGH_VFS_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bough__patch {
    uint64_t page;   /* from 0 */
    uint64_t offset; /* of its bytes in the file that was parsed */
};

/* Patches in the order of pages, one for each. All zero: nothing to apply. */
struct bough__replay {
    bool applies;           /* false: the file stays as it is */
    uint32_t page_size;
    uint64_t size_bytes;    /* of the database afterwards */
    struct bough__patch *patches;
    size_t count, capacity;
};
void bough__replay_release(struct bough__replay *replay);
/* The first patch whose page ends after `offset` (a place in the database); count when there is none. */
size_t bough__replay_find(const struct bough__replay *replay, uint64_t offset);

/* A rollback journal that nobody is writing, beside a database of db_size bytes (not 0). A journal that SQLite would
 * discard (zeroed or short header, a super-journal that is gone) does not apply. */
int bough__replay_journal(struct bough__replay *out, int fd, const char *path, uint64_t db_size_bytes);

#define BOUGH__WAL_HEADER_SIZE 32
/* A WAL up to its last valid commit. frame_limit other than UINT64_MAX: exactly so many frames, the last of which ends
 * a transaction; fewer valid ones are BOUGH_CORRUPT. */
int bough__replay_wal(struct bough__replay *out, int fd, const char *path, uint64_t frame_limit);

#endif
