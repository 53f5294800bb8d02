/* capture.h - a live SQLite file as a source of bytes.
 *
 * What counts is what the file would hold after a finished checkpoint or hot-journal rollback. The file is opened
 * read-only, nothing beside it is made, changed or removed, and while the source is open:
 *  - a rollback-journal database stands still (its writers get SQLITE_BUSY when they commit);
 *  - a WAL database goes on, and the source stays at the transaction that was newest when it was opened.
 */
#ifndef BOUGH_VFS_CAPTURE_H
#define BOUGH_VFS_CAPTURE_H

#include "store.h"

/* out->context and its functions are valid until out->close. *out_path (malloc'ed): absolute, symlinks resolved.
 * BOUGH_NOT_FOUND, BOUGH_IO (no permission), BOUGH_REFUSED (a directory, a pipe, a device), BOUGH_BUSY (a writer is in
 * the middle of a commit for longer than timeout_ms), BOUGH_CORRUPT (no SQLite database). */
int bough__capture_open(struct bough__source *out, char **out_path, const char *path, uint32_t timeout_ms);
/* After source->finish has failed: true when it did because the file was changed meanwhile. */
bool bough__capture_moved(const struct bough__source *source);

/* Gives up a descriptor of a file that SQLite may have locked in this process. POSIX drops all locks of the process on
 * a file when any descriptor of it is closed, so while the process has it open otherwise the descriptor is kept, until
 * a later call finds that it no longer has; its own locks are dropped at once. Sets *fd to -1; -1 is fine. */
void bough__close_or_park(int *fd);

#endif
