/* wait.h - waiting for the writer's lock in the time that SQLite sleeps.
 *
 * SQLite's busy handler asks the VFS to sleep, 1 ms at first and 100 ms later, and then tries again: the lock may
 * have been free for nearly all of that time. It does not say what it waits for. So a sleep that follows a refused
 * lock is put off: the thread sleeps when it next asks for that file's lock, and ends the sleep when the lock is free.
 * That may be SHARED, or RESERVED for one who has kept SHARED. Who asks for another file's lock first was told to sleep
 * by a program of its own, and sleeps as long as it said.
 *
 * SQLite counts the sleeps that it asked for, not the time that passed. Who was woken and is refused once more has
 * slept less than SQLite believes; so he first makes up for that without being woken, and a busy timeout ends at most
 * one such sleep (100 ms) early.
 *
 * Threads: what was refused and what was put off are the thread's own.
 */
#ifndef BOUGH_VFS_WAIT_H
#define BOUGH_VFS_WAIT_H

#include "vfs.h"

/* The file's lock was refused to this thread; NULL: it was granted. */
void bough__wait_refused(const struct bough__file *file);
/* xSleep. False: nothing was refused, so it is not for us. */
bool bough__wait_put_off(int microseconds);
/* Before the file's lock is asked for: sleeps what was put off. */
void bough__wait_now(struct bough__file *file);

#endif
