/* promote.c - a branch takes the state of another one.
 *
 * One catalog transaction seals both branches where they are dirty, gives the taker the other's head and a fresh layer
 * (move.c), and makes that head the base of the giver, so that it can be promoted again. The giver's writer is not
 * waited for: what it commits after the seal stays its own. Where the taker has moved since the fork, only force goes
 * on, and then a commit of the giver's root with both heads as parents, the taker's first, joins their histories.
 */
#include "error.h"
#include "move.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

struct promotion {
    struct bough_store *store;
    bough_options options;
    struct bough__branch_row giver;
    char *taker;                 /* name */
    struct bough__move move;     /* of the taker */
    struct bough__seal given, taken;
    char *message;
};

static int find_taker(struct promotion *promotion, const char *onto)
{
    struct bough__branch_row parent = {0};
    int rc = BOUGH_OK;
    if (!onto && promotion->giver.parent_id == 0)
        return bough__fail(BOUGH_USAGE, "branch %s has no parent: say onto which branch", promotion->giver.name);
    rc = onto ? bough__catalog_branch_by_name(&parent, promotion->store->catalog, onto)
              : bough__catalog_branch_by_id(&parent, promotion->store->catalog, promotion->giver.parent_id);
    if (rc == BOUGH_NOT_FOUND && !onto)
        rc = bough__fail(rc, "the parent of branch %s was deleted: say onto which branch", promotion->giver.name);
    if (rc == BOUGH_OK && parent.id == promotion->giver.id)
        rc = bough__fail(BOUGH_USAGE, "branch %s cannot be promoted onto itself", promotion->giver.name);
    if (rc == BOUGH_OK) {
        promotion->taker = parent.name;
        parent.name = NULL;
    }
    bough__branch_row_clear(&parent);
    return rc;
}

static int look_up(struct promotion *promotion, const char *name, const char *onto)
{
    int rc = bough__catalog_read_begin(promotion->store->catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__catalog_branch_by_name(&promotion->giver, promotion->store->catalog, name);
    if (rc == BOUGH_OK)
        rc = find_taker(promotion, onto);
    bough__catalog_read_end(promotion->store->catalog);
    if (rc == BOUGH_OK)
        promotion->message = promotion->options.message ? bough__strdup(promotion->options.message)
                                                        : bough__format("promote %s", name);
    return rc == BOUGH_OK && !promotion->message ? bough__fail_memory() : rc;
}

/* The commit that joins both histories: the giver's state. */
static int join(uint8_t out[BOUGH__DIGEST_SIZE], struct promotion *promotion, const struct bough__branch_row *taker,
                const struct bough__branch_row *giver)
{
    struct bough__catalog *catalog = promotion->store->catalog;
    struct bough__commit_row ours = {0}, theirs = {0}, commit = {.automatic = true};
    int rc = bough__catalog_commit_by_id(&ours, catalog, taker->head);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit_by_id(&theirs, catalog, giver->head);
    if (rc == BOUGH_OK)
        rc = bough__tree_count_changes(&commit.changed_pages, promotion->store->space, &ours.tree, &theirs.tree,
                                       BOUGH__COUNT_LIMIT);
    commit.tree = theirs.tree;
    commit.message = bough__strdup(promotion->message);
    commit.parents = bough__alloc(sizeof *commit.parents * 2);
    if (rc == BOUGH_OK && (!commit.message || !commit.parents))
        rc = bough__fail_memory();
    if (rc == BOUGH_OK) {
        commit.parent_count = 2;
        memcpy(commit.parents[0], taker->head, BOUGH__DIGEST_SIZE);
        memcpy(commit.parents[1], giver->head, BOUGH__DIGEST_SIZE);
        rc = bough__commit_record(catalog, &commit);
    }
    memcpy(out, commit.id, BOUGH__DIGEST_SIZE);
    bough__commit_row_clear(&commit);
    bough__commit_row_clear(&ours);
    bough__commit_row_clear(&theirs);
    return rc;
}

static int find_head(uint8_t out[BOUGH__DIGEST_SIZE], struct promotion *promotion,
                     const struct bough__branch_row *taker, const struct bough__branch_row *giver)
{
    bool has_moved = !giver->has_base || memcmp(taker->head, giver->base, sizeof giver->base) != 0;
    memcpy(out, giver->head, BOUGH__DIGEST_SIZE);
    if (memcmp(taker->head, giver->head, sizeof taker->head) == 0 || !has_moved)
        return BOUGH_OK;
    if (!promotion->options.force)
        return bough__fail(BOUGH_REFUSED, "branch %s has moved since %s was forked from it; force takes it over all "
                                          "the same", taker->name, giver->name);
    return join(out, promotion, taker, giver);
}

static int write_taker(bough_sealed *out, struct promotion *promotion, struct bough__branch_row *taker,
                       const uint8_t head[BOUGH__DIGEST_SIZE])
{
    uint8_t before[BOUGH__DIGEST_SIZE];
    if (memcmp(taker->head, head, sizeof taker->head) == 0)
        return BOUGH_OK;
    memcpy(before, taker->head, sizeof before);
    bough__hex(out->left, taker->head, sizeof taker->head);
    out->changed = true;
    memcpy(taker->head, head, sizeof taker->head);
    taker->node_bytes = 0;
    return bough__move_write(&promotion->move, taker, before);
}

/* The giver keeps its layer: its state is the head's already. */
static int write_giver(struct promotion *promotion, struct bough__branch_row *giver,
                       const uint8_t head[BOUGH__DIGEST_SIZE])
{
    giver->has_base = true;
    memcpy(giver->head, head, sizeof giver->head);
    memcpy(giver->base, head, sizeof giver->base);
    return bough__catalog_branch_update(promotion->store->catalog, giver);
}

static int write_rows(bough_sealed *out, struct promotion *promotion)
{
    struct bough__catalog *catalog = promotion->store->catalog;
    struct bough__branch_row taker = {0}, giver = {0};
    struct bough__commit_row commit = {0};
    uint8_t head[BOUGH__DIGEST_SIZE] = {0};
    bool sealed = false;
    int rc = bough__move_read(&taker, &promotion->move);
    if (rc == BOUGH_OK)
        rc = bough__catalog_branch_by_id(&giver, catalog, promotion->giver.id);
    if (rc == BOUGH_OK)
        rc = bough__seal_record(&sealed, &promotion->taken, &taker, promotion->message, true);
    if (rc == BOUGH_OK)
        rc = bough__seal_record(&sealed, &promotion->given, &giver, promotion->message, true);
    if (rc == BOUGH_OK)
        rc = find_head(head, promotion, &taker, &giver);
    if (rc == BOUGH_OK)
        rc = write_taker(out, promotion, &taker, head);
    if (rc == BOUGH_OK)
        rc = write_giver(promotion, &giver, head);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit_by_id(&commit, catalog, head);
    bough__hex(out->id, head, sizeof head);
    bough__hex(out->root, commit.root, sizeof commit.root);
    bough__commit_row_clear(&commit);
    bough__branch_row_clear(&taker);
    bough__branch_row_clear(&giver);
    return rc;
}

static int promote_once(bough_sealed *out, struct promotion *promotion, const char *name, const char *onto)
{
    memset(out, 0, sizeof *out);
    int rc = look_up(promotion, name, onto);
    if (rc == BOUGH_OK)
        rc = bough__move_begin(&promotion->move, promotion->store, promotion->taker, "promote",
                               &promotion->options);
    if (rc == BOUGH_OK)
        rc = bough__seal_begin(&promotion->taken, promotion->store, &promotion->move.row);
    if (rc == BOUGH_OK)
        rc = bough__seal_begin(&promotion->given, promotion->store, &promotion->giver);
    if (rc == BOUGH_OK && !(out->branch = bough__strdup(promotion->taker)))
        rc = bough__fail_memory();
    if (rc == BOUGH_OK)
        rc = bough__catalog_begin(promotion->store->catalog);
    if (rc == BOUGH_OK)
        rc = bough__move_finish(&promotion->move, write_rows(out, promotion));
    bough__seal_end(&promotion->given);
    bough__seal_end(&promotion->taken);
    bough__move_end(&promotion->move);
    bough__branch_row_clear(&promotion->giver);
    free(promotion->taker);
    free(promotion->message);
    promotion->taker = promotion->message = NULL;
    if (rc != BOUGH_OK)
        bough_sealed_release(out);
    return rc;
}

int bough_branch_promote(bough_sealed *out, bough_store *store, const char *name, const char *onto,
                         const bough_options *options)
{
    struct promotion promotion = {.store = store};
    int rc = BOUGH_STALE;
    bough__options_for(&promotion.options, store, options);
    for (int tries = 0; rc == BOUGH_STALE && tries < BOUGH__STALE_TRIES; tries++)
        rc = promote_once(out, &promotion, name, onto);
    return rc;
}
