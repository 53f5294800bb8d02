/* super.h - super-journals: SQLite's transactions over several databases, of which the first is a branch.
 *
 * SQLite makes a super-journal beside its main database, writes the names of all journals into it, gives its name to
 * every database that was changed (FCNTL_SYNC), and deletes it: that is the moment of the commit, and an error there
 * makes it roll back. Here it is no file but a list of branches, which are committed together when it is deleted.
 */
#ifndef BOUGH_VFS_SUPER_H
#define BOUGH_VFS_SUPER_H

#include "vfs.h"

/* True for BRANCH-mj and 9 hex digits. */
bool bough__super_is_name(const char *name);
/* Opens a new one at the path of a branch. Result codes of SQLite's, here and below. */
int bough__super_open(sqlite3_file *out, const char *path, const struct bough__branch_path *parts, int flags);
int bough__super_handle_bytes(void);
bool bough__super_exists(const char *path);
/* The branch is changed by the transaction. SQLITE_IOERR: there is no such super-journal of this store. */
int bough__super_join(const char *path, struct bough__file *file);
/* is_commit: SQLite means to commit; it never does once something has failed. */
int bough__super_delete(const char *path, bool is_commit);

#endif
