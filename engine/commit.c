/* commit.c - commits: sealing a branch's newest transaction, and the log.
 *
 * Order, and what a crash after each step leaves: the layer's hold rises (shared memory alone), the snapshot is folded
 * into durable nodes (nodes that nothing refers to), one catalog transaction inserts the commit and moves the branch's
 * head (the commit is there). The branch's writer goes on meanwhile; nothing here waits for it.
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

struct sealing {
    struct bough_store *store;
    struct bough__layer *layer;
    struct bough__snapshot snapshot;
    struct bough__tree tree; /* the snapshot, folded */
    uint8_t root[BOUGH__DIGEST_SIZE];
    uint64_t nodes;
    const char *message;
    bool automatic;
};

/* The commit that would follow `parent`, but for its id. */
static int prepare_row(struct bough__commit_row *out, const struct sealing *sealing,
                       const struct bough__commit_row *parent)
{
    memset(out, 0, sizeof *out);
    out->tree = sealing->tree;
    out->layer = bough__layer_number(sealing->layer);
    out->txn = sealing->snapshot.txn;
    out->automatic = sealing->automatic;
    out->message = bough__strdup(sealing->message ? sealing->message : "");
    out->parents = bough__alloc(BOUGH__DIGEST_SIZE);
    if (!out->message || !out->parents)
        return BOUGH_NOMEM;
    out->parent_count = 1;
    memcpy(out->parents[0], parent->id, BOUGH__DIGEST_SIZE);
    return bough__tree_count_changes(&out->changed_pages, sealing->store->space, &parent->tree, &sealing->tree,
                                     BOUGH__COUNT_LIMIT);
}

static int write_rows(bool *out_changed, const struct sealing *sealing, struct bough__branch_row *row,
                      struct bough__commit_row *commit, bool is_equal)
{
    struct bough__catalog *catalog = sealing->store->catalog;
    int rc = is_equal ? BOUGH_OK : bough__commit_record(catalog, commit);
    if (rc != BOUGH_OK)
        return rc;
    if (!is_equal)
        memcpy(row->head, commit->id, sizeof row->head);
    row->head_txn = sealing->snapshot.txn;
    row->node_bytes += sealing->nodes * BOUGH__NODE_SIZE;
    rc = bough__catalog_branch_update(catalog, row);
    *out_changed = !is_equal;
    return rc;
}

/* One try with the head that row names. *out_done false: somebody else moved the head meanwhile, row is the new one. */
static int seal_once(bool *out_done, bool *out_changed, struct sealing *sealing, struct bough__branch_row *row)
{
    struct bough__catalog *catalog = sealing->store->catalog;
    struct bough__commit_row parent = {0}, commit = {0};
    struct bough__branch_row now = {0};
    bool begun = false;
    *out_done = false;
    int rc = bough__catalog_commit_by_id(&parent, catalog, row->head);
    bool is_equal = rc == BOUGH_OK && memcmp(parent.root, sealing->root, sizeof parent.root) == 0;
    if (rc == BOUGH_OK && !is_equal)
        rc = prepare_row(&commit, sealing, &parent);
    if (rc == BOUGH_OK)
        rc = bough__catalog_begin(catalog);
    begun = rc == BOUGH_OK;
    if (rc == BOUGH_OK)
        rc = bough__catalog_branch_by_id(&now, catalog, row->id);
    if (rc == BOUGH_NOT_FOUND)
        rc = bough__fail(BOUGH_GONE, "branch %s was deleted meanwhile", row->name);
    if (rc != BOUGH_OK)
        goto done;
    if (now.layer != row->layer) {
        rc = bough__fail(BOUGH_BUSY, "branch %s was replaced meanwhile; try again", row->name);
        goto done;
    }
    *out_done = true;
    if (now.head_txn >= sealing->snapshot.txn)
        goto done; /* somebody else committed this transaction or a later one */
    *out_done = memcmp(now.head, row->head, sizeof now.head) == 0;
    if (!*out_done)
        goto done;
    rc = write_rows(out_changed, sealing, &now, &commit, is_equal);
    if (rc == BOUGH_OK) {
        begun = false;
        rc = bough__catalog_commit(catalog);
    }
done:
    if (begun)
        bough__catalog_rollback(catalog);
    if (rc == BOUGH_OK) {
        bough__branch_row_clear(row);
        *row = now;
        memset(&now, 0, sizeof now);
    }
    bough__branch_row_clear(&now);
    bough__commit_row_clear(&parent);
    bough__commit_row_clear(&commit);
    return rc;
}

static int seal_snapshot(bool *out_changed, struct sealing *sealing, struct bough__branch_row *row)
{
    bool done = false;
    int rc = bough__snapshot_fold(&sealing->tree, &sealing->nodes, &sealing->snapshot);
    if (rc == BOUGH_OK)
        rc = bough__root_id(sealing->root, &sealing->tree);
    while (rc == BOUGH_OK && !done)
        rc = seal_once(&done, out_changed, sealing, row);
    if (rc != BOUGH_OK)
        *out_changed = false;
    return rc;
}

int bough__branch_seal(bool *out_changed, struct bough_store *store, struct bough__branch_row *row, const char *message,
                       bool automatic)
{
    struct sealing sealing = {.store = store, .message = message, .automatic = automatic};
    bool absent = false;
    *out_changed = false;
    int rc = bough__layer_is_absent(&absent, store->space, row->layer);
    if (rc != BOUGH_OK || absent)
        return rc;
    rc = bough__branch_layer(&sealing.layer, store, row);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__snapshot_pin_and_hold(&sealing.snapshot, sealing.layer);
    if (rc == BOUGH_OK) {
        if (sealing.snapshot.txn > row->head_txn)
            rc = seal_snapshot(out_changed, &sealing, row);
        bough__snapshot_release(&sealing.snapshot);
    }
    bough__layer_close(sealing.layer);
    return rc;
}

/* ---- public ---- */

void bough_sealed_release(bough_sealed *sealed)
{
    free(sealed->branch);
    memset(sealed, 0, sizeof *sealed);
}

int bough_commit_create(bough_sealed *out, bough_store *store, const char *branch, const bough_options *options)
{
    bough_options read;
    struct bough__branch_row row = {0};
    struct bough__commit_row head = {0};
    uint8_t before[BOUGH__DIGEST_SIZE];
    bough__options_read(&read, options);
    memset(out, 0, sizeof *out);
    int rc = bough__catalog_branch_by_name(&row, store->catalog, branch);
    if (rc != BOUGH_OK)
        return rc;
    memcpy(before, row.head, sizeof before);
    out->branch = bough__strdup(row.name);
    rc = out->branch ? bough__branch_seal(&out->changed, store, &row, read.message, false) : BOUGH_NOMEM;
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit_by_id(&head, store->catalog, row.head);
    if (rc == BOUGH_OK) {
        bough__hex(out->id, head.id, sizeof head.id);
        bough__hex(out->root, head.root, sizeof head.root);
        if (memcmp(before, row.head, sizeof before) != 0)
            bough__hex(out->left, before, sizeof before);
    }
    bough__commit_row_clear(&head);
    bough__branch_row_clear(&row);
    if (rc != BOUGH_OK)
        bough_sealed_release(out);
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
    int rc = row->parent_count ? bough__catalog_commit_by_id(&parent, store->catalog, row->parents[0]) : BOUGH_OK;
    if (rc == BOUGH_OK)
        rc = bough__tree_count_changes(out, store->space, &parent.tree, &row->tree, 0);
    bough__commit_row_clear(&parent);
    return rc;
}

static int to_public(bough_commit *out, bough_store *store, const struct bough__commit_row *row)
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
    out->changed_pages = row->changed_pages;
    out->automatic = row->automatic;
    out->pruned = row->pruned;
    return row->changed_pages == BOUGH__NOT_COUNTED ? count_changes(&out->changed_pages, store, row) : BOUGH_OK;
}

static int append(bough_commits *out, bough_store *store, const struct bough__commit_row *row)
{
    if ((out->count & (out->count - 1)) == 0) { /* grows at powers of two */
        size_t capacity = out->count ? 2 * out->count : 1;
        bough_commit *items = bough__realloc(out->items, capacity * sizeof *items);
        if (!items)
            return BOUGH_NOMEM;
        out->items = items;
    }
    int rc = to_public(&out->items[out->count], store, row);
    if (rc == BOUGH_OK)
        out->count++;
    else
        release_commit(&out->items[out->count]);
    return rc;
}

int bough_commit_log(bough_commits *out, bough_store *store, const char *ref, size_t limit)
{
    struct bough__target target;
    memset(out, 0, sizeof *out);
    int rc = bough__target_resolve(&target, store, ref);
    if (rc != BOUGH_OK)
        return rc;
    rc = append(out, store, &target.commit);
    while (rc == BOUGH_OK && target.commit.parent_count > 0 && (limit == 0 || out->count < limit)) {
        struct bough__commit_row parent = {0};
        rc = bough__catalog_commit_by_id(&parent, store->catalog, target.commit.parents[0]);
        bough__commit_row_clear(&target.commit);
        target.commit = parent;
        if (rc == BOUGH_OK)
            rc = append(out, store, &target.commit);
    }
    bough__target_clear(&target);
    if (rc != BOUGH_OK)
        bough_commits_release(out);
    return rc;
}
