/* extension.c - how the VFS comes into a process: bough_vfs_register for programs that link libbough, and the entry
 * points of bough.so. A VFS outlives the connection that loaded it, so the extension asks to stay loaded.
 */
#include "vfs.h"

#include "error.h"

#ifdef BOUGH_LOADABLE

SQLITE_EXTENSION_INIT1

static int load(char **out_error, const sqlite3_api_routines *api, bool make_default)
{
    SQLITE_EXTENSION_INIT2(api);
    if (sqlite3_libversion_number() < 3038000) {
        *out_error = sqlite3_mprintf("bough needs SQLite 3.38 or newer, this is %s", sqlite3_libversion());
        return SQLITE_ERROR;
    }
    int rc = bough__vfs_register(make_default);
    return rc == SQLITE_OK ? SQLITE_OK_LOAD_PERMANENTLY : rc;
}

/* Registers the VFS "bough". */
BOUGH_EXPORT int sqlite3_bough_init(sqlite3 *db, char **out_error, const sqlite3_api_routines *api);
int sqlite3_bough_init(sqlite3 *db, char **out_error, const sqlite3_api_routines *api)
{
    (void)db;
    return load(out_error, api, false);
}

/* The same, as the default VFS: plain paths of branches work, in connections opened from now on. */
BOUGH_EXPORT int sqlite3_boughdefault_init(sqlite3 *db, char **out_error, const sqlite3_api_routines *api);
int sqlite3_boughdefault_init(sqlite3 *db, char **out_error, const sqlite3_api_routines *api)
{
    (void)db;
    return load(out_error, api, true);
}

#else

int bough_vfs_register(bool make_default)
{
    int rc = sqlite3_initialize();
    if (rc == SQLITE_OK)
        rc = bough__vfs_register(make_default);
    if (rc != SQLITE_OK)
        return bough__fail(BOUGH_SQL, "SQLite refused the VFS: %s", sqlite3_errstr(rc));
    return BOUGH_OK;
}

#endif
