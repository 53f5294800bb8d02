/* forks.c - see forks.h. */
#include "forks.h"

#include "report.h"

#include <stdlib.h>
#include <string.h>

int bough__state_open(sqlite3 **out, bough_store *store, const char *ref)
{
    char *uri = NULL;
    char *path = NULL;
    bough_ref meaning = {0};
    int code = SQLITE_OK;
    int rc = bough_vfs_register(false);

    *out = NULL;
    if (rc == BOUGH_OK)
        rc = bough_ref_resolve(&meaning, store, ref);
    if (rc == BOUGH_OK)
        rc = bough_ref_url(&uri, &path, store, ref);
    if (rc == BOUGH_OK) {
        int access = meaning.branch ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;

        code = sqlite3_open_v2(uri, out, access | SQLITE_OPEN_URI, NULL);
        if (code != SQLITE_OK)
            rc = bough__migrate_fail_sqlite(*out, code, ref);
    }
    if (rc == BOUGH_OK)
        sqlite3_busy_timeout(*out, 5000);
    if (rc != BOUGH_OK) {
        sqlite3_close(*out);
        *out = NULL;
    }
    bough_ref_release(&meaning);
    free(uri);
    free(path);
    return rc;
}

int bough__branch_seal(char out_id[BOUGH_ID_SIZE], bough_store *store, const char *branch, const char *message)
{
    bough_options options = BOUGH_OPTIONS_INIT;
    bough_sealed sealed = {0};
    int rc = BOUGH_OK;

    options.automatic = true;
    options.message = message;
    rc = bough_commit_create(&sealed, store, branch, &options);
    memcpy(out_id, sealed.id, BOUGH_ID_SIZE);
    bough_sealed_release(&sealed);
    return rc;
}

/* ---- hidden forks ---- */

const char *bough__fork_name(const struct bough__fork *fork)
{
    return fork->branch.items[0].name;
}

const char *bough__fork_base(const struct bough__fork *fork)
{
    return fork->branch.items[0].base;
}

int bough__fork_open(struct bough__fork *fork)
{
    int rc = bough__state_open(&fork->db, fork->store, bough__fork_name(fork));
    int code = SQLITE_OK;

    if (rc != BOUGH_OK)
        return rc;
    /* What counts is synced by its commit. */
    code = sqlite3_exec(fork->db, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
    return code == SQLITE_OK ? BOUGH_OK : bough__migrate_fail_sqlite(fork->db, code, "synchronous");
}

void bough__fork_close(struct bough__fork *fork)
{
    sqlite3_close(fork->db);
    fork->db = NULL;
}

int bough__fork_make(struct bough__fork *out, bough_store *store, const char *from)
{
    static const char *const name = "migrate";
    bough_options options = BOUGH_OPTIONS_INIT;
    int rc = BOUGH_OK;

    memset(out, 0, sizeof *out);
    out->store = store;
    options.hidden = true;
    options.message = "before migrations";
    rc = bough_branch_create(&out->branch, store, &name, 1, from, &options);
    if (rc == BOUGH_OK)
        rc = bough__fork_open(out);
    if (rc != BOUGH_OK)
        bough__fork_drop(out);
    return rc;
}

int bough__fork_seal(char out_id[BOUGH_ID_SIZE], struct bough__fork *fork, const char *message)
{
    return bough__branch_seal(out_id, fork->store, bough__fork_name(fork), message);
}

void bough__fork_drop(struct bough__fork *fork)
{
    bough_branches gone = {0};
    bough_options options = BOUGH_OPTIONS_INIT;
    char *message = NULL;

    bough__fork_close(fork);
    if (fork->branch.count) {
        const char *name = bough__fork_name(fork);

        message = sqlite3_mprintf("%s", bough_error_message());
        options.force = true;
        bough_branch_delete(&gone, fork->store, &name, 1, &options); /* else whoever opens the store next does it */
        bough_branches_release(&gone);
        bough_error_set(BOUGH_OK, message ? message : "");
        sqlite3_free(message);
    }
    bough_branches_release(&fork->branch);
}

/* ---- copies ---- */

static struct bough__fork *find(struct bough__branch_copies *copies, const sqlite3 *db)
{
    for (size_t i = 0; i < copies->count; i++) {
        if (copies->forks[i].db == db)
            return &copies->forks[i];
    }
    return NULL;
}

static int copy(void *context, sqlite3 **out, sqlite3 *from)
{
    struct bough__branch_copies *copies = context;
    const char *source = from ? bough__fork_name(find(copies, from)) : copies->branch;
    struct bough__fork *grown = NULL;
    struct bough__fork made = {0};
    int rc = bough__fork_make(&made, copies->store, source);

    *out = NULL;
    if (rc != BOUGH_OK)
        return rc;
    grown = sqlite3_realloc64(copies->forks, (copies->count + 1) * sizeof grown[0]);
    if (!grown) {
        bough__fork_drop(&made);
        return bough__migrate_fail_memory();
    }
    copies->forks = grown;
    copies->forks[copies->count++] = made;
    *out = made.db;
    return BOUGH_OK;
}

static void drop(void *context, sqlite3 *db)
{
    struct bough__branch_copies *copies = context;
    struct bough__fork *fork = db ? find(copies, db) : NULL;

    if (!fork)
        return;
    bough__fork_drop(fork);
    *fork = copies->forks[--copies->count];
    if (copies->count == 0) {
        sqlite3_free(copies->forks);
        copies->forks = NULL;
    }
}

struct bough__copies bough__copies_of_branch(struct bough__branch_copies *state)
{
    struct bough__copies copies = {state, copy, drop};

    return copies;
}
