/* fork.c - making branches: one row each, in one catalog transaction, and no file.
 *
 * What is forked is the newest transaction at the time of the call. Where that is no commit yet it becomes one
 * first; transactions that land after that belong to the parent alone. Nothing here depends on the number of branches,
 * on the depth or on the size of the database.
 */
#include "store.h"

#include "error.h"
#include "hidden.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

struct fork {
    bough_store *store;
    const char *const *names;
    size_t count;
    const char *from;
    bough_options options;
    struct bough__target target;
    struct bough__seal seal; /* of the branch to fork, where it is one */
    char *message;           /* of the commit that it may need */
    uint32_t first, last;    /* numbers of what was made, where it is hidden */
};

/* Looked at again in the transaction; here so that a fork that is refused commits nothing. */
static int check_names(const struct fork *fork)
{
    int rc = BOUGH_OK;
    for (size_t i = 0; rc == BOUGH_OK && i < fork->count; i++) {
        rc = bough__name_check(fork->names[i]);
        if (rc == BOUGH_OK && !fork->options.hidden)
            rc = bough__name_is_free(fork->store->catalog, fork->names[i]);
    }
    return fork->count ? rc : bough__fail(BOUGH_USAGE, "no name for the new branch");
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

/* One read transaction for all that is looked up. */
static int look_up(struct fork *fork)
{
    int rc = bough__catalog_read_begin(fork->store->catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = check_names(fork);
    if (rc == BOUGH_OK)
        rc = resolve(&fork->target, fork->store, fork->from);
    bough__catalog_read_end(fork->store->catalog);
    return rc;
}

static int seal(struct fork *fork)
{
    if (!fork->target.has_branch)
        return BOUGH_OK;
    const struct bough__branch_row *row = &fork->target.branch;
    fork->message = fork->options.message ? bough__strdup(fork->options.message)
                                          : bough__format("fork of %s", row->name);
    return fork->message ? bough__seal_begin(&fork->seal, fork->store, row) : bough__fail_memory();
}

/* Nothing is the child of a hidden branch, which goes when its owner goes. */
static int64_t parent_of(const struct bough__target *target)
{
    if (!target->has_branch)
        return 0; /* a tag or an id was forked */
    return bough__name_is_hidden(target->branch.name) ? target->branch.parent_id : target->branch.id;
}

/* A hidden branch has its owner before it has its row. */
static int name_branch(struct bough__branch_row *row, struct fork *fork, const char *name)
{
    row->name = fork->options.hidden ? bough__name_hidden(row->layer, fork->options.scratch, name)
                                     : bough__strdup(name);
    if (!row->name)
        return BOUGH_NOMEM;
    if (!fork->options.hidden)
        return BOUGH_OK;
    fork->first = fork->first ? fork->first : row->layer;
    fork->last = row->layer;
    return bough__hidden_own(fork->store, row->layer);
}

static int insert(bough_branches *out, struct fork *fork, const uint8_t commit[BOUGH__DIGEST_SIZE], const char *name)
{
    bough_store *store = fork->store;
    struct bough__branch_row row = {.has_base = true, .created_at_ms = bough__os_now_ms()};
    row.parent_id = parent_of(&fork->target);
    row.expires_at_ms = fork->options.ttl_ms > 0 ? row.created_at_ms + fork->options.ttl_ms : 0;
    memcpy(row.base, commit, sizeof row.base);
    memcpy(row.head, commit, sizeof row.head);
    int rc = fork->options.hidden ? BOUGH_OK : bough__name_is_free(store->catalog, name);
    if (rc == BOUGH_OK)
        rc = bough__catalog_new_layer(&row.layer, store->catalog);
    if (rc == BOUGH_OK)
        rc = name_branch(&row, fork, name);
    if (rc == BOUGH_OK)
        rc = bough__catalog_branch_insert(store->catalog, &row);
    if (rc == BOUGH_OK)
        rc = bough__branches_add(out, store, &row, true);
    bough__branch_row_clear(&row);
    return rc;
}

/* A hidden branch may have been revealed or lost its parent since the first look. */
static int look_again(struct fork *fork)
{
    struct bough__branch_row now = {0};
    if (!fork->target.has_branch || !bough__name_is_hidden(fork->target.branch.name))
        return BOUGH_OK;
    int rc = bough__catalog_branch_by_id(&now, fork->store->catalog, fork->target.branch.id);
    if (rc == BOUGH_NOT_FOUND)
        return bough__fail(rc, "branch %s was deleted meanwhile", fork->target.branch.name);
    if (rc == BOUGH_OK) {
        bough__branch_row_clear(&fork->target.branch);
        fork->target.branch = now;
    }
    return rc;
}

/* One transaction: the commit, where the parent needs one, and all branches. */
static int record(bough_branches *out, struct fork *fork)
{
    struct bough__catalog *catalog = fork->store->catalog;
    uint8_t commit[BOUGH__DIGEST_SIZE];
    int rc = bough__catalog_begin(catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = look_again(fork);
    if (rc == BOUGH_OK)
        rc = bough__target_commit(commit, &fork->seal, &fork->target, fork->store, fork->message,
                                 fork->options.hidden);
    for (size_t i = 0; rc == BOUGH_OK && i < fork->count; i++)
        rc = insert(out, fork, commit, fork->names[i]);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit(catalog);
    else
        bough__catalog_rollback(catalog);
    for (uint32_t number = fork->first; rc != BOUGH_OK && number != 0 && number <= fork->last; number++)
        bough__hidden_disown(fork->store, number);
    fork->first = fork->last = 0;
    return rc;
}

static int fork_once(bough_branches *out, struct fork *fork)
{
    int rc = look_up(fork);
    if (rc == BOUGH_OK)
        rc = seal(fork);
    if (rc == BOUGH_OK)
        rc = record(out, fork);
    bough__seal_end(&fork->seal);
    bough__target_clear(&fork->target);
    free(fork->message);
    fork->message = NULL;
    if (rc != BOUGH_OK)
        bough_branches_release(out);
    return rc;
}

int bough_branch_create(bough_branches *out, bough_store *store, const char *const *names, size_t count,
                        const char *from, const bough_options *options)
{
    struct fork fork = {.store = store, .names = names, .count = count, .from = from};
    int rc = BOUGH_STALE;
    bough__options_read(&fork.options, options);
    fork.options.hidden = fork.options.hidden || fork.options.scratch;
    memset(out, 0, sizeof *out);
    if (fork.options.ttl_ms < 0 || fork.options.ttl_ms > INT64_MAX / 2)
        return bough__fail(BOUGH_USAGE, "a branch cannot live for %lld ms", (long long)fork.options.ttl_ms);
    for (int tries = 0; rc == BOUGH_STALE && tries < BOUGH__STALE_TRIES; tries++)
        rc = fork_once(out, &fork);
    return rc;
}
