/* reset.c - putting a branch back to a commit.
 *
 * One catalog transaction seals what the branch holds now, unless it is to be discarded, and gives the branch the
 * other head and a fresh layer (move.c). Nothing depends on the size of the database. The base stays what it was.
 */
#include "error.h"
#include "move.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

struct reset {
    struct bough_store *store;
    const char *ref; /* NULL: the base */
    bough_options options;
    struct bough__move move;
    struct bough__seal left;       /* of the branch itself */
    struct bough__target target;
    struct bough__seal seal;       /* of the target, where it is another branch */
};

static int find_target(struct reset *reset)
{
    const struct bough__branch_row *row = &reset->move.row;
    char id[2 * BOUGH__DIGEST_SIZE + 1];
    if (!reset->ref && !row->has_base)
        return bough__fail(BOUGH_USAGE, "branch %s was not forked from a commit: say which REF to reset it to",
                           row->name);
    if (!reset->ref)
        bough__hex(id, row->base, sizeof row->base);
    return bough__target_resolve(&reset->target, reset->store, reset->ref ? reset->ref : id);
}

/* "To itself" is to its newest transaction, which is where it is. */
static bool is_itself(const struct reset *reset)
{
    return reset->target.has_branch && reset->target.branch.id == reset->move.row.id;
}

static int seal(struct reset *reset)
{
    int rc = BOUGH_OK;
    if (is_itself(reset))
        return BOUGH_OK;
    if (!reset->options.discard)
        rc = bough__seal_begin(&reset->left, reset->store, &reset->move.row);
    if (rc == BOUGH_OK && reset->target.has_branch)
        rc = bough__seal_begin(&reset->seal, reset->store, &reset->target.branch);
    return rc;
}

static int describe(bough_sealed *out, struct bough__catalog *catalog, const uint8_t id[BOUGH__DIGEST_SIZE])
{
    struct bough__commit_row head = {0};
    int rc = bough__catalog_commit_by_id(&head, catalog, id);
    bough__hex(out->id, id, BOUGH__DIGEST_SIZE);
    bough__hex(out->root, head.root, sizeof head.root);
    bough__commit_row_clear(&head);
    return rc;
}

static char *message_for(const struct reset *reset)
{
    if (reset->options.message)
        return bough__strdup(reset->options.message);
    return bough__format("left by reset of %s to %s", reset->move.row.name, reset->ref ? reset->ref : "its base");
}

/* The branch's row goes to the commit, where it is not there yet. */
static int move_to(bough_sealed *out, struct reset *reset, struct bough__branch_row *now,
                   const uint8_t commit[BOUGH__DIGEST_SIZE])
{
    uint8_t before[BOUGH__DIGEST_SIZE];
    bool is_dirty = bough__move_is_dirty(&reset->move, now);
    if (!is_dirty && memcmp(now->head, commit, sizeof now->head) == 0)
        return BOUGH_OK;
    if (!reset->options.discard)
        bough__hex(out->left, now->head, sizeof now->head);
    out->changed = true;
    memcpy(before, now->head, sizeof before);
    memcpy(now->head, commit, sizeof now->head);
    now->node_bytes = 0;
    return bough__move_write(&reset->move, now, reset->options.discard ? NULL : before);
}

static int write_rows(bough_sealed *out, struct reset *reset)
{
    struct bough__branch_row now = {0};
    uint8_t commit[BOUGH__DIGEST_SIZE];
    bool sealed = false;
    char *message = message_for(reset);
    int rc = message ? bough__move_read(&now, &reset->move) : bough__fail_memory();
    if (rc == BOUGH_OK && !is_itself(reset)) {
        if (!reset->options.discard)
            rc = bough__seal_record(&sealed, &reset->left, &now, message, true);
        if (rc == BOUGH_OK)
            rc = bough__target_commit(commit, &reset->seal, &reset->target, reset->store, message, false);
        if (rc == BOUGH_OK)
            rc = move_to(out, reset, &now, commit);
    }
    if (rc == BOUGH_OK)
        rc = describe(out, reset->store->catalog, now.head);
    free(message);
    bough__branch_row_clear(&now);
    return rc;
}

static int reset_once(bough_sealed *out, struct reset *reset, const char *name)
{
    memset(out, 0, sizeof *out);
    int rc = bough__move_begin(&reset->move, reset->store, name, "reset", &reset->options);
    if (rc == BOUGH_OK)
        rc = find_target(reset);
    if (rc == BOUGH_OK)
        rc = seal(reset);
    if (rc == BOUGH_OK && !(out->branch = bough__strdup(name)))
        rc = bough__fail_memory();
    if (rc == BOUGH_OK)
        rc = bough__catalog_begin(reset->store->catalog);
    if (rc == BOUGH_OK)
        rc = bough__move_finish(&reset->move, write_rows(out, reset));
    bough__seal_end(&reset->seal);
    bough__seal_end(&reset->left);
    bough__target_clear(&reset->target);
    bough__move_end(&reset->move);
    if (rc != BOUGH_OK)
        bough_sealed_release(out);
    return rc;
}

int bough_branch_reset(bough_sealed *out, bough_store *store, const char *name, const char *ref,
                       const bough_options *options)
{
    struct reset reset = {.store = store, .ref = ref};
    int rc = BOUGH_STALE;
    bough__options_for(&reset.options, store, options);
    for (int tries = 0; rc == BOUGH_STALE && tries < BOUGH__STALE_TRIES; tries++)
        rc = reset_once(out, &reset, name);
    return rc;
}
