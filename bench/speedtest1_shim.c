/* speedtest1_shim.c - linked to SQLite's speedtest1, which knows nothing of bough: plain paths then open branches, if
 * the environment says so, and synchronous=NORMAL, for which speedtest1 has no option. */
#include "bough.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static int set_normal(sqlite3 *db, const char **error, const void *api)
{
    (void)error;
    (void)api;
    return sqlite3_exec(db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
}

__attribute__((constructor)) static void begin(void)
{
    bool is_good = true;
    if (getenv("SPEEDTEST1_BOUGH") != NULL)
        is_good = bough_vfs_register(true) == BOUGH_OK;
    if (getenv("SPEEDTEST1_NORMAL") != NULL)
        is_good = sqlite3_auto_extension((void (*)(void))set_normal) == SQLITE_OK && is_good;
    if (!is_good) {
        fprintf(stderr, "speedtest1: cannot begin: %s\n", bough_error_message());
        exit(3);
    }
}
