/* database.c - see database.h. */
#include "database.h"

#include "report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_protected(struct cli *cli, const char *name)
{
    bough_branches branches = {NULL, 0};
    bool answer = bough_branch_get(&branches, cli->store, name) == BOUGH_OK && branches.items[0].is_protected;

    bough_branches_release(&branches);
    return answer;
}

/* Why SQLite says that the database is read-only: a past state and a protected branch refuse, a store without write
 * permission is an I/O error, and what is left is the script's own doing (PRAGMA query_only). */
static int read_only_code(struct cli *cli, const struct database *database)
{
    if (!database->is_branch || is_protected(cli, database->ref))
        return BOUGH_REFUSED;
    return access(bough_store_path(cli->store), W_OK) != 0 ? BOUGH_IO : BOUGH_SQL;
}

/* A file that cannot be opened is one that the script named (ATTACH): its error. */
static int code_of(struct cli *cli, const struct database *database, int sqlite_code)
{
    if ((sqlite_code & 0xFF) == SQLITE_READONLY)
        return read_only_code(cli, database);
    return (sqlite_code & 0xFF) == SQLITE_CANTOPEN ? BOUGH_SQL : bough__migrate_code(sqlite_code);
}

/* What the VFS wrote to SQLite's log about its latest failure in this thread: more than SQLite's few words say. */
static _Thread_local struct {
    int code;
    char text[1024];
} logged;

static void take_log(void *context, int code, const char *text)
{
    static const char prefix[] = "bough: ";

    (void)context;
    if (strncmp(text, prefix, sizeof prefix - 1) != 0)
        return;
    logged.code = code & 0xFF;
    snprintf(logged.text, sizeof logged.text, "%s", text + sizeof prefix - 1);
}

void database_prepare(void)
{
    sqlite3_config(SQLITE_CONFIG_LOG, take_log, NULL);
    /* Counting the memory in use takes a mutex for each allocation. */
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static char *reason(int sqlite_code)
{
    bool ours = logged.text[0] && logged.code == (sqlite_code & 0xFF);
    char *text = out_format("%s%s%s", ours ? " (" : "", ours ? logged.text : "", ours ? ")" : "");

    logged.text[0] = 0;
    return text;
}

int database_fail(struct cli *cli, struct database *database, int sqlite_code, const char *where)
{
    char *more = reason(sqlite_code);
    char *text = out_copy(database->handle ? sqlite3_errmsg(database->handle) : sqlite3_errstr(sqlite_code));
    int rc = code_of(cli, database, sqlite_code);

    if (rc == BOUGH_REFUSED)
        cli_hint(cli,
                 database->is_branch ? "%s is protected; bough unprotect %s allows writes"
                                     : "%s is a past state; bough branch NAME %s forks it",
                 database->ref, database->ref);
    cli_fail(cli, rc, "%s: %s%s%s%s", database->ref, where, where[0] ? ": " : "", text, more);
    free(text);
    free(more);
    return rc;
}

int database_open(struct cli *cli, struct database *out, const char *ref, bool writable)
{
    bough_ref target = {0};
    char *uri = NULL;
    char *path = NULL;
    /* No connection is used by two threads. */
    int flags = SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX;
    int rc = cli_check(cli, bough_vfs_register(false));

    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_ref_resolve(&target, cli->store, ref));
    if (rc == BOUGH_OK)
        rc = cli_check(cli, bough_ref_url(&uri, &path, cli->store, ref));
    if (rc == BOUGH_OK) {
        int code = SQLITE_OK;

        out->ref = out_copy(ref);
        out->is_branch = target.branch != NULL;
        flags |= writable && out->is_branch ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
        code = sqlite3_open_v2(uri, &out->handle, flags, NULL);
        if (code != SQLITE_OK)
            rc = database_fail(cli, out, code, "cannot be opened");
        else
            sqlite3_busy_timeout(out->handle, cli->timeout_ms > INT32_MAX ? INT32_MAX : (int)cli->timeout_ms);
    }
    bough_ref_release(&target);
    free(uri);
    free(path);
    return rc;
}

void database_close(struct database *database)
{
    sqlite3_close(database->handle);
    free(database->ref);
    database->handle = NULL;
    database->ref = NULL;
}
