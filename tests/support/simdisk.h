/* simdisk.h - a disk that forgets: a backend for the engine's table of system calls.
 *
 * Below one directory it remembers what has been made durable and what has not: every write and truncation of a file
 * since that file's last sync, every creation, rename and removal since the directory's last sync. Running code sees
 * the ordinary page cache. A power loss rewrites the directory to what a disk might hold: each change that was not
 * synced is kept, dropped or torn.
 *
 * The model:
 *  - a file's data and its name are separate: a synced file whose directory was never synced may be gone
 *  - the unit that a disk writes whole is the sector of 512 bytes; each sector of a file holds some version of those it
 *    had since the last sync, whatever its neighbours hold
 *  - the size follows the order of writes and truncations up to some point, apart from the data; what lies below it and
 *    was not written is zeros, or (in some losses) garbage
 *  - names changed since the last sync of their directory are kept or dropped one by one; a rename is never half done
 *  - bytes that are given back count as zeros that are written
 *  - memory shared through mmap counts as one write that was never synced
 *  - after a failed sync the page cache shows what the disk does not have, and a later sync does not bring it back
 */
#ifndef BOUGH_TESTS_SIMDISK_H
#define BOUGH_TESTS_SIMDISK_H

#include <stdbool.h>
#include <stdint.h>

enum simdisk_step {
    SIMDISK_WRITE = 1,
    SIMDISK_SYNC = 2,     /* of a file or a directory */
    SIMDISK_TRUNCATE = 4,
    SIMDISK_NAME = 8,     /* create, rename, link, unlink, mkdir, rmdir */
    SIMDISK_PUNCH = 16,   /* giving back a part of a file */
    SIMDISK_ANY = 31
};

enum simdisk_loss {
    SIMDISK_RANDOM,       /* drawn from the seed: one of the others, or a mixture of them file by file */
    SIMDISK_LOSE_ALL,     /* exactly what was synced */
    SIMDISK_KEEP_ALL,     /* everything got out in time */
    SIMDISK_PREFIX,       /* changes up to some point */
    SIMDISK_TORN,         /* every sector on its own */
    SIMDISK_TORN_LAST,    /* changes up to some point, and the sectors of the next write each on its own */
    SIMDISK_PAGES,        /* every 4 KiB on its own */
    SIMDISK_GARBAGE,      /* every sector on its own, and what was never written within the size is garbage */
    SIMDISK_LOSSES,
    SIMDISK_KILL          /* no power loss: the process alone ends, as by SIGKILL, with SIMDISK_KILLED */
};

/* Exit status of a process that a simulated power loss ended. */
#define SIMDISK_EXIT 77
#define SIMDISK_KILLED 78

/* Puts itself into bough__os. What stands below `directory` (absolute, no symlinks) is durable now. `boot` is the
 * number of this boot: the engine sees another boot id for each. Calling it again starts over. */
void simdisk_install(const char *directory, uint64_t boot);
/* For tests in which one process goes on after another: simdisk_share before the first fork; then each process
 * installs or resumes, which keeps what an earlier process left: unsynced changes where it ended without a power loss,
 * the disk after it where it ended with one. */
void simdisk_share(void);
void simdisk_resume(uint64_t boot);
/* The nth step (from 1) of the kinds in the mask does not happen: the power fails just before it, and the process ends
 * with SIMDISK_EXIT after writing what the disk holds into the directory. */
void simdisk_crash_at(unsigned steps, uint64_t nth, enum simdisk_loss loss, uint64_t seed);
/* The nth sync fails with EIO. */
void simdisk_fail_sync_at(uint64_t nth, uint64_t seed);
/* Steps of the kinds in the mask since install. */
uint64_t simdisk_count(unsigned steps);
/* The power fails now: rewrites the directory and starts over from it. Descriptors opened before are useless after. */
void simdisk_power_loss(enum simdisk_loss loss, uint64_t seed);
/* What the chosen loss was called, for messages. */
const char *simdisk_loss_name(enum simdisk_loss loss);

#endif
