/* sqlite_api.h - SQLite's interface, the way each product reaches it.
 *
 * libbough calls the libsqlite3 it is linked to. bough.so (BOUGH_LOADABLE) links none and calls the copy that loaded
 * it, through the table handed to its entry point: two copies of SQLite in one process would drop each other's POSIX
 * locks on the catalog.
 */
#ifndef BOUGH_ENGINE_SQLITE_API_H
#define BOUGH_ENGINE_SQLITE_API_H

#ifdef BOUGH_LOADABLE
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3
#else
#include <sqlite3.h>
#endif

#endif
