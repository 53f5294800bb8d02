/* sqlite_bridge.c - see sqlite_bridge.h.
 *
 * SQLite lets its unix VFS's calls be replaced, all but fsync and fdatasync. Those two are defined here, which makes
 * the program's own calls, SQLite's and libc's callers use them.
 */
#include "sqlite_bridge.h"

#include "faultos.h"
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_installed;
static _Thread_local unsigned depth; /* the backend's own call is the real one */

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    if (!is_installed || depth)
        return (int)syscall(SYS_fdatasync, fd);
    depth++;
    int result = bough__os.fdatasync(fd);
    depth--;
    return result;
}

__attribute__((visibility("default"))) int fsync(int fd)
{
    if (!is_installed || depth)
        return (int)syscall(SYS_fsync, fd);
    depth++;
    int result = bough__os.fsync(fd);
    depth--;
    return result;
}

static int bridge_open(const char *path, int flags, int mode)
{
    return bough__os.open(path, flags, (mode_t)mode);
}

static int bridge_close(int fd)
{
    return bough__os.close(fd);
}

static ssize_t bridge_pread(int fd, void *buffer, size_t len, off_t offset)
{
    return bough__os.pread(fd, buffer, len, offset);
}

static ssize_t bridge_pwrite(int fd, const void *buffer, size_t len, off_t offset)
{
    return bough__os.pwrite(fd, buffer, len, offset);
}

static int bridge_ftruncate(int fd, off_t size)
{
    return bough__os.ftruncate(fd, size);
}

static int bridge_fstat(int fd, struct stat *out)
{
    return bough__os.fstat(fd, out);
}

static int bridge_unlink(const char *path)
{
    return bough__os.unlink(path);
}

static void replace(const char *name, sqlite3_syscall_ptr call)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    if (!vfs || vfs->xSetSystemCall(vfs, name, call) != SQLITE_OK) {
        fprintf(stderr, "SQLite does not let %s be replaced\n", name);
        abort();
    }
}

static sqlite3_mem_methods real_memory;

static void *bridge_malloc(int len)
{
    return faultos_memory_fails() ? NULL : real_memory.xMalloc(len);
}

static void *bridge_realloc(void *old, int len)
{
    return faultos_memory_fails() ? NULL : real_memory.xRealloc(old, len);
}

void sqlite_bridge_install(void)
{
    sqlite3_mem_methods methods;
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory);
    methods = real_memory;
    methods.xMalloc = bridge_malloc;
    methods.xRealloc = bridge_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK) {
        fprintf(stderr, "SQLite is in use already\n");
        abort();
    }
    sqlite3_initialize();
    replace("open", (sqlite3_syscall_ptr)bridge_open);
    replace("close", (sqlite3_syscall_ptr)bridge_close);
    replace("pread", (sqlite3_syscall_ptr)bridge_pread);
    replace("pread64", (sqlite3_syscall_ptr)bridge_pread);
    replace("pwrite", (sqlite3_syscall_ptr)bridge_pwrite);
    replace("pwrite64", (sqlite3_syscall_ptr)bridge_pwrite);
    replace("ftruncate", (sqlite3_syscall_ptr)bridge_ftruncate);
    replace("fstat", (sqlite3_syscall_ptr)bridge_fstat);
    replace("unlink", (sqlite3_syscall_ptr)bridge_unlink);
    is_installed = true;
}
