/* hidden.c - hidden branches: forks for work that either becomes something or is to leave nothing behind.
 *
 * A hidden branch is a branch whose name starts with a dot: ".17/add-index" is number 17, forked for something called
 * add-index. No user's name starts so. Lists leave it out, it is nobody's child that would keep a parent from being
 * deleted, and renaming it makes an ordinary branch of it. In everything else it is one already.
 *
 * Its owner is the handle that made it, which holds a lock on a byte of the file run/owners: the byte of the branch's
 * id. It takes the lock before the row is there and lets go when it is closed or its process dies. So a hidden branch
 * whose byte nobody has locked is to be dropped, and whoever opens the store next does it. Ids are used once, so a lock
 * that is left over means nothing to anybody. The lock is shared: all that matters is whether somebody has it. A store
 * that lost run/owners, or was copied, has hidden branches without owners.
 */
#include "hidden.h"

#include "error.h"
#include "os.h"

#include <fcntl.h>
#include <stdlib.h>

static int open_owners(int *out_fd, const struct bough_store *store, int flags)
{
    char *path = bough__format("%s/run/owners", store->space->directory);
    int rc = path ? bough__os_open(out_fd, path, O_RDWR | O_NOFOLLOW | flags, store->space->mode) : BOUGH_NOMEM;
    free(path);
    return rc;
}

int bough__hidden_own(struct bough_store *store, int64_t branch_id)
{
    int rc = BOUGH_OK;
    if (store->owner_fd < 0)
        rc = open_owners(&store->owner_fd, store, O_CREAT);
    return rc == BOUGH_OK ? bough__os_lock(store->owner_fd, (uint64_t)branch_id, BOUGH__SHARED, "run/owners") : rc;
}

void bough__hidden_disown(struct bough_store *store, int64_t branch_id)
{
    struct bough__error_state error;
    bough__error_save(&error);
    if (store->owner_fd >= 0)
        (void)bough__os_lock(store->owner_fd, (uint64_t)branch_id, BOUGH__UNLOCK, "run/owners");
    bough__error_restore(&error);
}

/* ---- dropping -------------------------------------------------------------------------------------------------- */

struct orphans {
    const struct bough_store *store;
    /* A descriptor of its own: one does not meet its own locks, and this handle may be an owner too. Opened when a row
     * was seen: its owner had locked it by then. */
    int fd;
    bool no_file;
    char **names;
    size_t count, capacity;
};

static int is_owned(bool *out, struct orphans *orphans, int64_t branch_id)
{
    int rc = BOUGH_OK;
    if (orphans->fd < 0 && !orphans->no_file)
        rc = open_owners(&orphans->fd, orphans->store, 0);
    orphans->no_file = rc == BOUGH_NOT_FOUND;
    *out = orphans->fd >= 0 && bough__os_is_locked(orphans->fd, (uint64_t)branch_id);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

static int note_orphan(void *context, const struct bough__branch_row *row)
{
    struct orphans *orphans = context;
    bool owned = false;
    int rc = is_owned(&owned, orphans, row->id);
    if (rc != BOUGH_OK || owned || bough__shm_is_open(orphans->store->space->directory, row->layer))
        return rc; /* open: somebody looks at it */
    if (orphans->count == orphans->capacity) {
        size_t capacity = 2 * orphans->capacity + 8;
        char **names = bough__realloc(orphans->names, capacity * sizeof *names);
        if (!names)
            return BOUGH_NOMEM;
        orphans->names = names;
        orphans->capacity = capacity;
    }
    char *name = bough__strdup(row->name);
    if (!name)
        return BOUGH_NOMEM;
    orphans->names[orphans->count++] = name;
    return BOUGH_OK;
}

/* All in one transaction. Where one of them cannot go (it was kept or opened since we looked), each by itself. */
static void drop(struct bough_store *store, const struct orphans *orphans)
{
    const char *const *names = (const char *const *)orphans->names;
    if (orphans->count == 0 || bough__branch_drop_hidden(store, names, orphans->count) == BOUGH_OK)
        return;
    for (size_t i = 0; i < orphans->count; i++)
        (void)bough__branch_drop_hidden(store, &names[i], 1);
}

void bough__hidden_sweep(struct bough_store *store)
{
    struct orphans orphans = {.store = store, .fd = -1};
    struct bough__error_state error;
    bough__error_save(&error);
    if (bough__catalog_hidden(store->catalog, note_orphan, &orphans) == BOUGH_OK)
        drop(store, &orphans);
    bough__os_close(&orphans.fd);
    for (size_t i = 0; i < orphans.count; i++)
        free(orphans.names[i]);
    free(orphans.names);
    bough__error_restore(&error);
}
