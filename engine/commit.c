/* commit.c - commits: sealing a branch's newest transaction, and the log.
 *
 * Order, and what a crash after each step leaves: the layer's hold rises (shared memory alone), the snapshot is folded
 * into durable nodes (nodes that nothing refers to), one catalog transaction inserts the commit and moves the branch's
 * head (the commit is there). The branch's writer goes on meanwhile; nothing here waits for it.
 *
 * A seal is these steps, for whoever needs a branch committed: its last step is part of the caller's own transaction,
 * so that a fork of a dirty branch, say, makes the commit and the fork or neither.
 */
#include "store.h"

#include "error.h"
#include "nodes.h"
#include "os.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MESSAGE_MAX_BYTES (1 << 20)

/* ---- recording ---- */

static char *login_name(void)
{
    char buffer[4096];
    struct passwd entry, *found = NULL;
    const char *author = getenv("BOUGH_AUTHOR");
    if (author && *author)
        return bough__strdup(author);
    if (getpwuid_r(geteuid(), &entry, buffer, sizeof buffer, &found) == 0 && found && *found->pw_name)
        return bough__strdup(found->pw_name);
    return bough__format("uid %u", (unsigned)geteuid());
}

static int fill_defaults(struct bough__commit_row *row)
{
    if (!row->author)
        row->author = login_name();
    if (!row->message)
        row->message = bough__strdup("");
    if (!row->author || !row->message)
        return BOUGH_NOMEM;
    if (strlen(row->author) > MESSAGE_MAX_BYTES || strlen(row->message) > MESSAGE_MAX_BYTES)
        return bough__fail(BOUGH_USAGE, "a commit's message and author have at most %d bytes each", MESSAGE_MAX_BYTES);
    if (row->created_at_ms == 0)
        row->created_at_ms = bough__os_now_ms();
    row->page_size = row->tree.block_size;
    return bough__root_id(row->root, &row->tree);
}

int bough__commit_record(struct bough__catalog *catalog, struct bough__commit_row *row)
{
    struct bough__commit_row other;
    int rc = fill_defaults(row);
    while (rc == BOUGH_OK && (rc = bough__commit_id(row->id, row)) == BOUGH_OK) {
        rc = bough__catalog_commit_by_id(&other, catalog, row->id);
        if (rc != BOUGH_OK)
            break;
        bough__commit_row_clear(&other);
        row->created_at_ms++;
    }
    return rc == BOUGH_NOT_FOUND ? bough__catalog_commit_insert(catalog, row) : rc;
}

/* ---- sealing ---- */

/* The pages of the commit: what differs from the head that the row names. */
static int count_from_head(struct bough__seal *seal, const struct bough__branch_row *row)
{
    struct bough__commit_row head = {0};
    int rc = bough__catalog_commit_by_id(&head, seal->store->catalog, row->head);
    if (rc == BOUGH_OK)
        rc = bough__tree_count_changes(&seal->changed_pages, seal->store->space, &head.tree, &seal->tree,
                                       BOUGH__COUNT_LIMIT);
    memcpy(seal->head, row->head, sizeof seal->head);
    bough__commit_row_clear(&head);
    return rc;
}

/* The same ahead of the catalog's transaction, where nothing keeps the head's tree: the branch may have moved on, and
 * gc may have taken it. Then the count is of no use anyway, and add_commit makes it anew. */
static int count_ahead(struct bough__seal *seal, const struct bough__branch_row *row)
{
    struct bough__error_state error;
    bough__error_save(&error);
    int rc = count_from_head(seal, row);
    if (rc != BOUGH_CORRUPT)
        return rc;
    bough__error_restore(&error);
    memset(seal->head, 0, sizeof seal->head);
    return BOUGH_OK;
}

static int fold(struct bough__seal *seal, const struct bough__branch_row *row)
{
    int rc = bough__snapshot_fold(&seal->tree, &seal->nodes, &seal->snapshot);
    if (rc == BOUGH_OK)
        rc = bough__root_id(seal->root, &seal->tree);
    if (rc == BOUGH_OK)
        rc = count_ahead(seal, row);
    seal->is_folded = rc == BOUGH_OK;
    return rc;
}

int bough__seal_begin(struct bough__seal *out, struct bough_store *store, const struct bough__branch_row *row)
{
    bool absent = false;
    *out = (struct bough__seal){.store = store, .number = row->layer};
    int rc = bough__layer_is_absent(&absent, store->space, row->layer);
    if (rc != BOUGH_OK || absent)
        return rc;
    rc = bough__branch_layer(&out->layer, store, row);
    if (rc == BOUGH_OK) {
        bough__layer_mend(out->layer);
        rc = bough__snapshot_pin_and_hold(&out->snapshot, out->layer);
    }
    out->is_pinned = rc == BOUGH_OK;
    if (rc == BOUGH_OK && out->snapshot.txn > row->head_txn)
        rc = bough__name_is_scratch(row->name)
                 ? bough__fail(BOUGH_REFUSED, "branch %s is scratch: nothing of it is kept", row->name)
                 : fold(out, row);
    if (rc != BOUGH_OK)
        bough__seal_end(out);
    return rc;
}

void bough__seal_end(struct bough__seal *seal)
{
    if (seal->is_pinned)
        bough__snapshot_release(&seal->snapshot);
    bough__layer_close(seal->layer);
    *seal = (struct bough__seal){0};
}

/* A fork that is hidden may have sealed this transaction already, beside the branch's history: `id` is that commit. */
static int find_sealed(bool *out, uint8_t id[BOUGH__DIGEST_SIZE], const struct bough__seal *seal,
                       const struct bough__branch_row *now)
{
    struct bough__commit_row row;
    int rc = bough__catalog_commit_newest(&row, seal->store->catalog, seal->number);
    *out = rc == BOUGH_OK && row.txn == seal->snapshot.txn && row.automatic && !row.pruned && row.parent_count == 1 &&
           memcmp(row.parents[0], now->head, sizeof now->head) == 0;
    if (*out)
        memcpy(id, row.id, BOUGH__DIGEST_SIZE);
    bough__commit_row_clear(&row);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

/* The commit that follows the row's head. */
static int add_commit(uint8_t out[BOUGH__DIGEST_SIZE], struct bough__seal *seal, const struct bough__branch_row *now,
                      const char *message, bool automatic)
{
    struct bough__commit_row commit = {.tree = seal->tree,
                                       .layer = seal->number,
                                       .txn = seal->snapshot.txn,
                                       .automatic = automatic};
    int rc = memcmp(now->head, seal->head, sizeof now->head) == 0 ? BOUGH_OK : count_from_head(seal, now);
    commit.changed_pages = seal->changed_pages;
    commit.message = bough__strdup(message ? message : "");
    commit.parents = bough__alloc(BOUGH__DIGEST_SIZE);
    if (rc == BOUGH_OK && (!commit.message || !commit.parents))
        rc = bough__fail_memory();
    if (rc == BOUGH_OK) {
        commit.parent_count = 1;
        memcpy(commit.parents[0], now->head, BOUGH__DIGEST_SIZE);
        rc = bough__commit_record(seal->store->catalog, &commit);
    }
    memcpy(out, commit.id, BOUGH__DIGEST_SIZE);
    bough__commit_row_clear(&commit);
    return rc;
}

static int find_or_add(uint8_t out[BOUGH__DIGEST_SIZE], struct bough__seal *seal, const struct bough__branch_row *now,
                       const char *message, bool automatic)
{
    bool is_sealed = false;
    int rc = automatic ? find_sealed(&is_sealed, out, seal, now) : BOUGH_OK;
    return rc == BOUGH_OK && !is_sealed ? add_commit(out, seal, now, message, automatic) : rc;
}

/* The transaction is a commit's from now on, whether that is the head or not. */
static int write_held(struct bough__seal *seal, struct bough__branch_row *now)
{
    if (now->held_txn < seal->snapshot.txn)
        now->held_txn = seal->snapshot.txn;
    return bough__catalog_branch_update(seal->store->catalog, now);
}

/* Is there something to commit: a transaction after the head's, that nobody else has committed, with other bytes? */
static int look(bool *out_pending, bool *out_equal, const struct bough__seal *seal,
                const struct bough__branch_row *now)
{
    struct bough__commit_row head = {0};
    *out_pending = *out_equal = false;
    if (now->layer != seal->number)
        return bough__fail(BOUGH_STALE, "branch %s was replaced meanwhile; try again", now->name);
    if (!seal->is_folded || now->head_txn >= seal->snapshot.txn)
        return BOUGH_OK;
    int rc = bough__catalog_commit_by_id(&head, seal->store->catalog, now->head);
    *out_pending = rc == BOUGH_OK;
    *out_equal = rc == BOUGH_OK && memcmp(head.root, seal->root, sizeof head.root) == 0;
    bough__commit_row_clear(&head);
    return rc;
}

int bough__seal_record(bool *out_changed, struct bough__seal *seal, struct bough__branch_row *now, const char *message,
                       bool automatic)
{
    bool is_pending = false, is_equal = false;
    *out_changed = false;
    int rc = look(&is_pending, &is_equal, seal, now);
    if (rc != BOUGH_OK || !is_pending)
        return rc;
    if (!is_equal)
        rc = find_or_add(now->head, seal, now, message, automatic);
    if (rc != BOUGH_OK)
        return rc;
    now->head_txn = seal->snapshot.txn;
    now->node_bytes += seal->nodes * BOUGH__NODE_SIZE;
    *out_changed = !is_equal;
    return write_held(seal, now);
}

int bough__seal_aside(uint8_t out[BOUGH__DIGEST_SIZE], struct bough__seal *seal, struct bough__branch_row *now,
                      const char *message)
{
    bool is_pending = false, is_equal = false, changed = false;
    int rc = look(&is_pending, &is_equal, seal, now);
    if (rc == BOUGH_OK && (!is_pending || is_equal)) {
        rc = bough__seal_record(&changed, seal, now, message, true);
        memcpy(out, now->head, BOUGH__DIGEST_SIZE);
        return rc;
    }
    if (rc == BOUGH_OK)
        rc = find_or_add(out, seal, now, message, true);
    return rc == BOUGH_OK ? write_held(seal, now) : rc;
}

int bough__target_commit(uint8_t out[BOUGH__DIGEST_SIZE], struct bough__seal *seal,
                         const struct bough__target *target, struct bough_store *store, const char *message,
                         bool is_aside)
{
    struct bough__branch_row now = {0};
    struct bough__commit_row commit = {0};
    bool changed = false;
    int rc = BOUGH_OK;
    memcpy(out, target->commit.id, BOUGH__DIGEST_SIZE);
    if (target->has_branch) {
        rc = bough__catalog_branch_by_id(&now, store->catalog, target->branch.id);
        if (rc == BOUGH_NOT_FOUND)
            rc = bough__fail(rc, "branch %s was deleted meanwhile", target->branch.name);
        if (rc == BOUGH_OK && is_aside)
            rc = bough__seal_aside(out, seal, &now, message);
        else if (rc == BOUGH_OK)
            rc = bough__seal_record(&changed, seal, &now, message, true);
        if (rc == BOUGH_OK && !is_aside)
            memcpy(out, now.head, BOUGH__DIGEST_SIZE);
    }
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit_by_id(&commit, store->catalog, out);
    if (rc == BOUGH_OK)
        rc = bough__commit_usable(&commit);
    bough__branch_row_clear(&now);
    bough__commit_row_clear(&commit);
    return rc;
}

/* ---- public ---- */

void bough_sealed_release(bough_sealed *sealed)
{
    free(sealed->branch);
    memset(sealed, 0, sizeof *sealed);
}

/* The seal's one catalog transaction, and what it did. Everything that may fail comes before its end. */
static int record_sealed(bough_sealed *out, struct bough__seal *seal, int64_t branch_id, const bough_options *options)
{
    struct bough__catalog *catalog = seal->store->catalog;
    struct bough__branch_row now = {0};
    struct bough__commit_row head = {0};
    uint8_t before[BOUGH__DIGEST_SIZE] = {0};
    int rc = bough__catalog_begin(catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__catalog_branch_by_id(&now, catalog, branch_id);
    memcpy(before, now.head, sizeof before);
    if (rc == BOUGH_OK)
        rc = bough__seal_record(&out->changed, seal, &now, options->message, options->automatic);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit_by_id(&head, catalog, now.head);
    if (rc == BOUGH_OK) {
        bough__hex(out->id, head.id, sizeof head.id);
        bough__hex(out->root, head.root, sizeof head.root);
        if (memcmp(before, now.head, sizeof before) != 0)
            bough__hex(out->left, before, sizeof before);
        rc = bough__catalog_commit(catalog);
    } else {
        bough__catalog_rollback(catalog);
    }
    bough__commit_row_clear(&head);
    bough__branch_row_clear(&now);
    return rc;
}

static int commit_once(bough_sealed *out, bough_store *store, const char *branch, const bough_options *options)
{
    struct bough__branch_row row = {0};
    struct bough__seal seal = {0};
    memset(out, 0, sizeof *out);
    int rc = bough__catalog_branch_by_name(&row, store->catalog, branch);
    if (rc == BOUGH_OK && !(out->branch = bough__strdup(row.name)))
        rc = bough__fail_memory();
    if (rc == BOUGH_OK)
        rc = bough__seal_begin(&seal, store, &row);
    if (rc == BOUGH_OK)
        rc = record_sealed(out, &seal, row.id, options);
    bough__seal_end(&seal);
    bough__branch_row_clear(&row);
    if (rc != BOUGH_OK)
        bough_sealed_release(out);
    return rc;
}

int bough_commit_create(bough_sealed *out, bough_store *store, const char *branch, const bough_options *options)
{
    bough_options read;
    int rc = BOUGH_STALE;
    bough__options_read(&read, options);
    for (int tries = 0; rc == BOUGH_STALE && tries < BOUGH__STALE_TRIES; tries++)
        rc = commit_once(out, store, branch, &read);
    return rc;
}

static void release_commit(bough_commit *commit)
{
    free(commit->parents);
    free(commit->message);
    free(commit->author);
}

void bough_commits_release(bough_commits *commits)
{
    for (size_t i = 0; i < commits->count; i++)
        release_commit(&commits->items[i]);
    free(commits->items);
    memset(commits, 0, sizeof *commits);
}

/* Counts what was not counted when the commit was made. */
static int count_changes(uint64_t *out, bough_store *store, const struct bough__commit_row *row)
{
    struct bough__commit_row parent = {0};
    struct bough__snapshot from = {0}, to = {0};
    *out = BOUGH_UNKNOWN_PAGES;
    int rc = row->parent_count ? bough__catalog_commit_by_id(&parent, store->catalog, row->parents[0]) : BOUGH_OK;
    if (rc == BOUGH_OK && row->parent_count)
        rc = bough__snapshot_of_commit(&from, store, &parent);
    if (rc == BOUGH_OK)
        rc = bough__snapshot_of_commit(&to, store, row);
    if (rc == BOUGH_OK)
        rc = bough__tree_count_changes(out, store->space, &from.tree, &to.tree, 0);
    bough__snapshot_release(&from); /* zeros where it was not pinned */
    bough__snapshot_release(&to);
    bough__commit_row_clear(&parent);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc; /* gc gave the pages of one of them back */
}

static int to_public(bough_commit *out, bough_store *store, const struct bough__commit_row *row, bool counts)
{
    memset(out, 0, sizeof *out);
    bough__hex(out->id, row->id, sizeof row->id);
    bough__hex(out->root, row->root, sizeof row->root);
    out->message = bough__strdup(row->message);
    out->author = bough__strdup(row->author);
    out->parents = bough__alloc(row->parent_count * sizeof *out->parents);
    if (!out->message || !out->author || !out->parents)
        return BOUGH_NOMEM;
    for (size_t i = 0; i < row->parent_count; i++)
        bough__hex(out->parents[i], row->parents[i], sizeof row->parents[i]);
    out->parent_count = row->parent_count;
    out->created_at_ms = row->created_at_ms;
    out->size_bytes = row->tree.size_bytes;
    out->page_size = row->page_size;
    out->changed_pages = row->changed_pages == BOUGH__NOT_COUNTED ? BOUGH_UNKNOWN_PAGES : row->changed_pages;
    out->automatic = row->automatic;
    out->pruned = row->pruned;
    bool is_open = counts && row->changed_pages == BOUGH__NOT_COUNTED;
    return is_open ? count_changes(&out->changed_pages, store, row) : BOUGH_OK;
}

static int append(bough_commits *out, bough_store *store, const struct bough__commit_row *row, bool counts)
{
    if ((out->count & (out->count - 1)) == 0) { /* grows at powers of two */
        size_t capacity = out->count ? 2 * out->count : 1;
        bough_commit *items = bough__realloc(out->items, capacity * sizeof *items);
        if (!items)
            return BOUGH_NOMEM;
        out->items = items;
    }
    int rc = to_public(&out->items[out->count], store, row, counts);
    if (rc == BOUGH_OK)
        out->count++;
    else
        release_commit(&out->items[out->count]);
    return rc;
}

static int list(bough_commits *out, bough_store *store, const char *ref, size_t limit, bool counts)
{
    struct bough__target target;
    memset(out, 0, sizeof *out);
    int rc = bough__target_resolve(&target, store, ref);
    if (rc != BOUGH_OK)
        return rc;
    rc = append(out, store, &target.commit, counts);
    while (rc == BOUGH_OK && target.commit.parent_count > 0 && (limit == 0 || out->count < limit)) {
        struct bough__commit_row parent = {0};
        rc = bough__catalog_commit_by_id(&parent, store->catalog, target.commit.parents[0]);
        bough__commit_row_clear(&target.commit);
        target.commit = parent;
        if (rc == BOUGH_OK)
            rc = append(out, store, &target.commit, counts);
    }
    bough__target_clear(&target);
    if (rc != BOUGH_OK)
        bough_commits_release(out);
    return rc;
}

int bough_commit_log(bough_commits *out, bough_store *store, const char *ref, size_t limit)
{
    return list(out, store, ref, limit, true);
}

int bough_commit_log_quick(bough_commits *out, bough_store *store, const char *ref, size_t limit)
{
    return list(out, store, ref, limit, false);
}
