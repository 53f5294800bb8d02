/* drop.c - deleting branches, all that were named or none.
 *
 *  1 gather   the rows, with all descendants where asked; what is protected or has other children refuses
 *  2 seize    each branch's layer, so that nobody has it open or, by force, those who have are told. Without force a
 *             connection that has not followed its branch to this layer yet is in the way as well. Layers cost
 *             memory: beyond HELD_MAX branches a layer is let go of again after the look, and whoever opens it before
 *             step 4 meets the same end as by force. It stays in doubt, also for those who open it then: a lock on the
 *             store says so while this goes on, and nobody else takes that doubt back
 *  3 forget   one catalog transaction looks at the rows again and deletes them: the branches are gone
 *  4 give up  each layer is marked for those who have it open, and its file unlinked unless a commit seals
 *             frames of it; a crash before that leaves files that belong to no branch, which gc removes
 *
 * Layers are locked in the order of their branches' ids and before the catalog, so two deletions cannot block each
 * other.
 */
#include "store.h"

#include "error.h"
#include "left.h"
#include "os.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HELD_MAX BOUGH__DROP_BATCH
/* Others may be about to close: a list or a commit has a layer open for some milliseconds. */
#define GRACE_MS  100
#define TRIES_MAX 10
/* A descendant was made after the gathering. */
#define STARTED_OVER 1
/* A callback has what it looked for. */
#define FOUND        2

struct victim {
    struct bough__branch_row row;
    struct bough__layer *layer; /* seized; NULL where it is not held */
};

struct victims {
    struct victim *items;
    size_t count, capacity;
    int doubts_fd; /* -1: all are held */
    bool recursive, force;
    bool hidden; /* only what is hidden still */
    int64_t expired_ms; /* not 0: only what had expired then */
    uint32_t timeout_ms;
};

static void clear(struct victims *victims)
{
    for (size_t i = 0; i < victims->count; i++)
        bough__branch_row_clear(&victims->items[i].row);
    free(victims->items);
    bough__os_close(&victims->doubts_fd);
    victims->items = NULL;
    victims->count = victims->capacity = 0;
}

/* ---- gathering ---- */

static bool has_among(const struct victims *victims, size_t end, int64_t id)
{
    for (size_t i = 0; i < end; i++)
        if (victims->items[i].row.id == id)
            return true;
    return false;
}

/* Takes the row over. */
static int add(struct victims *victims, struct bough__branch_row *row)
{
    if (victims->count == victims->capacity) {
        size_t capacity = victims->capacity ? 2 * victims->capacity : 8;
        struct victim *items = bough__realloc(victims->items, capacity * sizeof *items);
        if (!items)
            return BOUGH_NOMEM;
        victims->items = items;
        victims->capacity = capacity;
    }
    struct victim *victim = &victims->items[victims->count++];
    memset(victim, 0, sizeof *victim);
    victim->row = *row;
    memset(row, 0, sizeof *row);
    return BOUGH_OK;
}

static int add_named(struct victims *victims, bough_store *store, const char *const *names, size_t count)
{
    int rc = BOUGH_OK;
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++) {
        struct bough__branch_row row = {0};
        rc = bough__catalog_branch_by_name(&row, store->catalog, names[i]);
        if (rc == BOUGH_OK && !has_among(victims, victims->count, row.id))
            rc = add(victims, &row);
        bough__branch_row_clear(&row);
    }
    return rc;
}

struct family {
    struct victims *victims;
    size_t named; /* of the first of the victims: any other is met once only, as its parent's child */
};

static int add_child(void *context, const struct bough__branch_row *child)
{
    const struct family *family = context;
    if (bough__name_is_hidden(child->name) || has_among(family->victims, family->named, child->id))
        return BOUGH_OK;
    struct bough__branch_row copy = *child;
    copy.name = bough__strdup(child->name);
    int rc = copy.name ? add(family->victims, &copy) : BOUGH_NOMEM;
    bough__branch_row_clear(&copy);
    return rc;
}

static int compare_ids(const void *a, const void *b)
{
    const struct victim *left = a, *right = b;
    return (left->row.id > right->row.id) - (left->row.id < right->row.id);
}

/* The order that the layers are locked in and that is_victim searches. */
static void sort(struct victims *victims)
{
    if (victims->count)
        qsort(victims->items, victims->count, sizeof *victims->items, compare_ids);
}

static bool is_victim(const struct victims *victims, int64_t id)
{
    struct victim key = {.row = {.id = id}};
    return victims->count && bsearch(&key, victims->items, victims->count, sizeof key, compare_ids) != NULL;
}

static int refuse_stranger(void *context, const struct bough__branch_row *child)
{
    const struct victims *victims = context;
    if (bough__name_is_hidden(child->name) || is_victim(victims, child->id))
        return BOUGH_OK;
    return victims->recursive ? STARTED_OVER : bough__fail(BOUGH_REFUSED, "it is the parent of branch %s", child->name);
}

static int check_victim(const struct victims *victims, struct bough__catalog *catalog,
                        const struct bough__branch_row *row)
{
    if (victims->hidden)
        return bough__name_is_hidden(row->name) ? BOUGH_OK : bough__fail(BOUGH_REFUSED, "branch %s is kept", row->name);
    if (row->is_protected)
        return bough__fail(BOUGH_REFUSED, "branch %s is protected", row->name);
    if (victims->expired_ms != 0 && (row->expires_at_ms == 0 || row->expires_at_ms > victims->expired_ms))
        return bough__fail(BOUGH_REFUSED, "branch %s has not expired", row->name);
    int rc = bough__catalog_children(catalog, row->id, refuse_stranger, (void *)victims);
    if (rc == BOUGH_REFUSED)
        rc = bough__fail(rc, "branch %s has children: %s", row->name, bough_error_message());
    return rc;
}

/* The branches in the order of the names given, each with its descendants after it; sorted by id when this ends. */
static int gather(bough_branches *out, struct victims *victims, bough_store *store, const char *const *names,
                  size_t count)
{
    int rc = bough__catalog_read_begin(store->catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = add_named(victims, store, names, count);
    struct family family = {victims, victims->count};
    for (size_t i = 0; rc == BOUGH_OK && victims->recursive && i < victims->count; i++)
        rc = bough__catalog_children(store->catalog, victims->items[i].row.id, add_child, &family);
    bough__catalog_read_end(store->catalog);
    for (size_t i = 0; rc == BOUGH_OK && i < victims->count; i++)
        rc = bough__branches_add(out, store, &victims->items[i].row, victims->hidden);
    sort(victims);
    for (size_t i = 0; rc == BOUGH_OK && i < victims->count; i++)
        rc = check_victim(victims, store->catalog, &victims->items[i].row);
    return rc;
}

/* ---- layers ---- */

static void let_go(struct victim *victim, enum bough__layer_fate fate)
{
    if (!victim->layer)
        return;
    bough__layer_release(victim->layer, fate);
    bough__layer_close(victim->layer);
    victim->layer = NULL;
}

/* While we waited for the lock somebody else may have moved the branch away, and died before he said so: the doubt that
 * he left is not ours to end. */
static int confirm(struct victim *victim, bough_store *store)
{
    int rc = bough__branch_look(store, victim->row.id, victim->layer);
    if (rc != BOUGH_OK)
        let_go(victim, BOUGH__LAYER_IN_DOUBT);
    if (rc == BOUGH_STALE)
        rc = bough__fail(BOUGH_BUSY, "branch %s was replaced meanwhile; try again", victim->row.name);
    return rc == BOUGH_GONE ? BOUGH_OK : rc;
}

/* A layer that cannot be opened because it is damaged or its branch is gone needs no lock. */
static int seize(struct victim *victim, const struct victims *victims, bough_store *store, bool force)
{
    struct bough__layer *layer = NULL;
    int rc = bough__branch_layer(&layer, store, &victim->row);
    if (rc == BOUGH_CORRUPT || rc == BOUGH_GONE)
        return BOUGH_OK;
    if (rc == BOUGH_OK)
        rc = bough__layer_seize(layer, force, force || victims->timeout_ms < GRACE_MS ? victims->timeout_ms : GRACE_MS);
    victim->layer = rc == BOUGH_OK ? layer : NULL;
    if (rc != BOUGH_OK)
        bough__layer_close(layer);
    if (rc == BOUGH_BUSY && !force)
        rc = bough__fail(BOUGH_REFUSED, "%s", bough_error_message());
    return rc == BOUGH_OK ? confirm(victim, store) : rc;
}

static int lock_doubts(struct victims *victims, const struct bough__space *space)
{
    if (victims->count <= HELD_MAX)
        return BOUGH_OK;
    char *path = bough__format("%s/" BOUGH__STORE_FILE, space->directory);
    int rc = path ? bough__os_open(&victims->doubts_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0) : BOUGH_NOMEM;
    if (rc == BOUGH_OK)
        rc = bough__os_lock(victims->doubts_fd, BOUGH__STORE_DOUBT_BYTE, BOUGH__SHARED, path);
    free(path);
    return rc;
}

static int refuse_left(void *context, const struct bough__left *left)
{
    struct victims *victims = context;
    struct victim key = {.row = {.id = left->branch_id}}, *victim = NULL;
    if (victims->count)
        victim = bsearch(&key, victims->items, victims->count, sizeof key, compare_ids);
    if (!victim || victim->row.layer == left->number)
        return BOUGH_OK;
    return bough__fail(BOUGH_REFUSED, "branch '%s' is open in %s process, which has not seen its new state yet",
                       victim->row.name, left->pids[0] == (int32_t)getpid() ? "this" : "another");
}

/* Nobody can come to a layer that the branch has left, so those who are told here are all. */
static int check_left(struct victims *victims, bough_store *store)
{
    int64_t deadline = bough__os_now_ms() + GRACE_MS;
    for (;;) {
        int rc = bough__left_layers(store->space, refuse_left, victims);
        if (rc != BOUGH_REFUSED || bough__os_now_ms() >= deadline)
            return rc;
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

static int seize_all(struct victims *victims, bough_store *store)
{
    int rc = lock_doubts(victims, store->space);
    for (size_t i = 0; rc == BOUGH_OK && i < victims->count; i++) {
        rc = seize(&victims->items[i], victims, store, victims->force);
        if (rc == BOUGH_OK && victims->items[i].layer)
            bough__layer_doubt(victims->items[i].layer);
        if (i >= HELD_MAX)
            let_go(&victims->items[i], BOUGH__LAYER_IN_DOUBT);
    }
    if (rc == BOUGH_OK && !victims->force)
        rc = check_left(victims, store);
    return rc;
}

/* ---- the transaction ---- */

static int find_hidden(void *context, const struct bough__branch_row *child)
{
    struct bough__branch_row *out = context;
    if (!bough__name_is_hidden(child->name))
        return BOUGH_OK;
    *out = *child;
    out->name = bough__strdup(child->name);
    return out->name ? FOUND : BOUGH_NOMEM;
}

/* Hidden children go on without a parent. */
static int release_hidden(struct bough__catalog *catalog, int64_t parent_id)
{
    struct bough__branch_row child = {0};
    int rc = BOUGH_OK;
    while (rc == BOUGH_OK && (rc = bough__catalog_children(catalog, parent_id, find_hidden, &child)) == FOUND) {
        child.parent_id = 0;
        rc = bough__catalog_branch_update(catalog, &child);
        bough__branch_row_clear(&child);
    }
    return rc;
}

static int forget(struct victims *victims, struct bough__catalog *catalog, struct victim *victim)
{
    struct bough__branch_row now = {0};
    int rc = bough__catalog_branch_by_id(&now, catalog, victim->row.id);
    if (rc == BOUGH_OK && now.layer != victim->row.layer)
        rc = bough__fail(BOUGH_BUSY, "branch %s was replaced meanwhile; try again", now.name);
    if (rc == BOUGH_OK)
        rc = check_victim(victims, catalog, &now);
    bough__branch_row_clear(&now);
    if (rc == BOUGH_OK)
        rc = release_hidden(catalog, victim->row.id);
    return rc == BOUGH_OK ? bough__catalog_branch_delete(catalog, victim->row.id) : rc;
}

static int forget_all(struct victims *victims, bough_store *store)
{
    int64_t current = 0;
    int rc = bough__catalog_begin(store->catalog);
    if (rc != BOUGH_OK)
        return rc;
    for (size_t i = 0; rc == BOUGH_OK && i < victims->count; i++)
        rc = forget(victims, store->catalog, &victims->items[i]);
    if (rc == BOUGH_OK)
        rc = bough__current_branch(&current, store->catalog);
    if (rc == BOUGH_OK && is_victim(victims, current))
        rc = bough__catalog_setting_put(store->catalog, "current", NULL);
    if (rc == BOUGH_OK)
        return bough__catalog_commit(store->catalog);
    bough__catalog_rollback(store->catalog);
    return rc;
}

/* ---- afterwards ---- */

static bool has_commits(bough_store *store, uint32_t number)
{
    bool has = true;
    return bough__catalog_layer_has_commits(&has, store->catalog, number) != BOUGH_OK || has;
}

/* A layer that could not be opened: damaged, so that nobody has it open. */
static void unlink_layer(bough_store *store, uint32_t number)
{
    char name[BOUGH__FILE_NAME_SIZE];
    bough__file_name(name, BOUGH__LAYER_FILE, number);
    char *path = bough__format("%s/%s", store->space->directory, name);
    if (path && bough__os.unlink(path) == 0)
        bough__files_forget(store->space->files, BOUGH__LAYER_FILE, number);
    free(path);
}

static void give_up_one(struct victim *victim, bough_store *store, bool was_held)
{
    bool useless = !has_commits(store, victim->row.layer);
    int rc = victim->layer ? BOUGH_OK : bough__branch_layer_as_was(&victim->layer, store, &victim->row);
    if (rc == BOUGH_OK && !was_held)
        rc = bough__layer_take(victim->layer, GRACE_MS);
    if (rc == BOUGH_OK)
        let_go(victim, useless ? BOUGH__LAYER_USELESS : BOUGH__LAYER_LEFT);
    else if (rc == BOUGH_CORRUPT && useless)
        unlink_layer(store, victim->row.layer);
    bough__layer_close(victim->layer); /* doubtful for ever, where a writer did not let go */
    victim->layer = NULL;
}

/* The branches are gone whatever happens here; what fails is left to gc. */
static void give_up(struct victims *victims, bough_store *store)
{
    struct bough__error_state error;
    bough__error_save(&error);
    for (size_t i = 0; i < victims->count; i++)
        give_up_one(&victims->items[i], store, victims->items[i].layer != NULL);
    bough__error_restore(&error);
}

static int drop_once(bough_branches *out, struct victims *victims, bough_store *store, const char *const *names,
                     size_t count)
{
    int rc = gather(out, victims, store, names, count);
    if (rc == BOUGH_OK)
        rc = seize_all(victims, store);
    if (rc == BOUGH_OK)
        rc = forget_all(victims, store);
    if (rc == BOUGH_OK)
        give_up(victims, store);
    for (size_t i = 0; i < victims->count; i++)
        let_go(&victims->items[i], BOUGH__LAYER_KEPT);
    clear(victims);
    return rc;
}

static int drop_all(bough_branches *out, struct victims *victims, bough_store *store, const char *const *names,
                    size_t count)
{
    memset(out, 0, sizeof *out);
    int rc = STARTED_OVER;
    for (int tries = 0; rc == STARTED_OVER && tries < TRIES_MAX; tries++) {
        bough_branches_release(out);
        rc = drop_once(out, victims, store, names, count);
    }
    if (rc == STARTED_OVER)
        rc = bough__fail(BOUGH_BUSY, "branches are being forked faster than they can be deleted");
    if (rc != BOUGH_OK)
        bough_branches_release(out);
    return rc;
}

int bough__branch_drop_expired(bough_branches *out, bough_store *store, const char *const *names, size_t count,
                               int64_t now_ms)
{
    struct victims victims = {.doubts_fd = -1, .expired_ms = now_ms, .timeout_ms = GRACE_MS};
    return drop_all(out, &victims, store, names, count);
}

int bough__branch_drop_hidden(struct bough_store *store, const char *const *names, size_t count)
{
    struct victims victims = {.doubts_fd = -1, .hidden = true};
    bough_branches dropped;
    int rc = drop_all(&dropped, &victims, store, names, count);
    bough_branches_release(&dropped);
    return rc;
}

int bough_branch_delete(bough_branches *out, bough_store *store, const char *const *names, size_t count,
                        const bough_options *options)
{
    bough_options read;
    bough__options_read(&read, options);
    struct victims victims = {.doubts_fd = -1,
                              .recursive = read.recursive,
                              .force = read.force,
                              .timeout_ms = options ? read.timeout_ms : store->timeout_ms};
    return drop_all(out, &victims, store, names, count);
}
