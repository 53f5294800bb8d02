/* fork.c - making branches: one row each, in one catalog transaction, and no file.
 *
 * What is forked is the newest transaction at the time of the call. Where that is no commit yet it becomes one
 * first; transactions that land after that belong to the parent alone. Nothing here depends on the number of branches,
 * on the depth or on the size of the database.
 */
#include "store.h"

#include "error.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

struct origin {
    int64_t parent_id; /* 0: a tag or an id was forked */
    uint8_t commit[BOUGH__DIGEST_SIZE];
};

/* Looked at again in the transaction; here so that a fork that is refused commits nothing. */
static int check_names(bough_store *store, const char *const *names, size_t count)
{
    int rc = BOUGH_OK;
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++) {
        rc = bough__name_check(names[i]);
        if (rc == BOUGH_OK)
            rc = bough__name_is_free(store->catalog, names[i]);
    }
    return count ? rc : bough__fail(BOUGH_USAGE, "no name for the new branch");
}

static int resolve(struct bough__target *out, bough_store *store, const char *from)
{
    char *current = NULL;
    memset(out, 0, sizeof *out);
    int rc = from ? BOUGH_OK : bough_branch_current(&current, store);
    if (rc == BOUGH_OK && !from && !current)
        rc = bough__fail(BOUGH_NOT_FOUND, "no branch is the current one");
    if (rc == BOUGH_OK)
        rc = bough__target_resolve(out, store, from ? from : current);
    free(current);
    return rc;
}

static int seal(bough_store *store, struct bough__branch_row *row, const char *message)
{
    bool changed = false;
    char *own = message ? NULL : bough__format("fork of %s", row->name);
    if (!message && !own)
        return BOUGH_NOMEM;
    int rc = bough__branch_seal(&changed, store, row, message ? message : own, true);
    free(own);
    return rc;
}

/* One read transaction for all that is looked up. */
static int prepare(struct bough__target *out, bough_store *store, const char *const *names, size_t count,
                   const char *from)
{
    memset(out, 0, sizeof *out);
    int rc = bough__catalog_read_begin(store->catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = check_names(store, names, count);
    if (rc == BOUGH_OK)
        rc = resolve(out, store, from);
    bough__catalog_read_end(store->catalog);
    return rc;
}

static int find_origin(struct origin *out, bough_store *store, struct bough__target *target, const char *message)
{
    int rc = target->has_branch ? seal(store, &target->branch, message) : BOUGH_OK;
    out->parent_id = target->has_branch ? target->branch.id : 0;
    memcpy(out->commit, target->has_branch ? target->branch.head : target->commit.id, sizeof out->commit);
    return rc;
}

/* Inside the transaction: the parent is still there, and so are the commit's pages. */
static int check_origin(struct bough__catalog *catalog, const struct origin *origin)
{
    struct bough__branch_row parent = {0};
    struct bough__commit_row commit = {0};
    int rc = origin->parent_id ? bough__catalog_branch_by_id(&parent, catalog, origin->parent_id) : BOUGH_OK;
    if (rc == BOUGH_NOT_FOUND)
        rc = bough__fail(rc, "the branch to fork was deleted meanwhile");
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit_by_id(&commit, catalog, origin->commit);
    if (rc == BOUGH_OK)
        rc = bough__commit_usable(&commit);
    bough__branch_row_clear(&parent);
    bough__commit_row_clear(&commit);
    return rc;
}

static int insert(bough_branches *out, bough_store *store, const struct origin *origin, const char *name,
                  int64_t now_ms, int64_t ttl_ms)
{
    struct bough__branch_row row = {.parent_id = origin->parent_id, .has_base = true, .created_at_ms = now_ms};
    row.expires_at_ms = ttl_ms > 0 ? now_ms + ttl_ms : 0;
    memcpy(row.base, origin->commit, sizeof row.base);
    memcpy(row.head, origin->commit, sizeof row.head);
    int rc = bough__name_is_free(store->catalog, name);
    if (rc == BOUGH_OK)
        rc = bough__catalog_new_layer(&row.layer, store->catalog);
    if (rc == BOUGH_OK && !(row.name = bough__strdup(name)))
        rc = BOUGH_NOMEM;
    if (rc == BOUGH_OK)
        rc = bough__catalog_branch_insert(store->catalog, &row);
    if (rc == BOUGH_OK)
        rc = bough__branches_add(out, store, &row, true);
    bough__branch_row_clear(&row);
    return rc;
}

int bough_branch_create(bough_branches *out, bough_store *store, const char *const *names, size_t count,
                        const char *from, const bough_options *options)
{
    bough_options read;
    struct origin origin = {0};
    struct bough__target target;
    bough__options_read(&read, options);
    memset(out, 0, sizeof *out);
    if (read.ttl_ms < 0 || read.ttl_ms > INT64_MAX / 2)
        return bough__fail(BOUGH_USAGE, "a branch cannot live for %lld ms", (long long)read.ttl_ms);
    int rc = prepare(&target, store, names, count, from);
    if (rc == BOUGH_OK)
        rc = find_origin(&origin, store, &target, read.message);
    bough__target_clear(&target);
    if (rc == BOUGH_OK)
        rc = bough__catalog_begin(store->catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = check_origin(store->catalog, &origin);
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++)
        rc = insert(out, store, &origin, names[i], bough__os_now_ms(), read.ttl_ms);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit(store->catalog);
    else
        bough__catalog_rollback(store->catalog);
    if (rc != BOUGH_OK)
        bough_branches_release(out);
    return rc;
}
