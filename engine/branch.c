/* branch.c - branches as their users see them: list, status, rename, protect, switch. Forks are made in fork.c and
 * dropped in drop.c. */
#include "store.h"

#include "error.h"
#include "left.h"
#include "os.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- layers of branches ---- */

int bough__branch_layer_as_was(struct bough__layer **out, struct bough_store *store,
                               const struct bough__branch_row *row)
{
    struct bough__commit_row head = {0};
    *out = NULL;
    int rc = bough__catalog_commit_by_id(&head, store->catalog, row->head);
    if (rc == BOUGH_OK) {
        struct bough__layer_owner owner = {.number = row->layer,
                                           .head = head.tree,
                                           .held_txn = row->held_txn,
                                           .branch = row->name,
                                           .is_scratch = bough__name_is_scratch(row->name),
                                           .is_hearsay = true};
        memcpy(owner.head_id, row->head, sizeof owner.head_id);
        rc = bough__layer_open(out, store->space, &owner);
    }
    bough__commit_row_clear(&head);
    return rc;
}

int bough__branch_open(struct bough__layer **out, bool *out_protected, struct bough_store *store,
                       const struct bough__branch_row *row)
{
    struct bough__branch_row now = {0};
    struct bough__error_state error;
    int opened = bough__branch_layer_as_was(out, store, row);
    if (opened != BOUGH_OK && opened != BOUGH_CORRUPT)
        return opened;
    bough__error_save(&error);
    int rc = bough__catalog_branch_by_id(&now, store->catalog, row->id);
    if (rc == BOUGH_NOT_FOUND)
        rc = bough__fail(BOUGH_GONE, "branch %s was deleted", row->name);
    else if (rc == BOUGH_OK && now.layer != row->layer)
        rc = bough__fail(BOUGH_STALE, "branch %s was replaced meanwhile; try again", row->name);
    else if (rc == BOUGH_OK && (rc = opened) != BOUGH_OK) /* and not because its file was removed with reason */
        bough__error_restore(&error);
    /* A commit may have come between the row and the opening, and its hold have gone with the last opener. From here on
     * we are one, so later commits raise the hold that we see. */
    if (rc == BOUGH_OK) {
        bough__layer_confirm(*out);
        bough__layer_hold(*out, now.held_txn);
    }
    *out_protected = now.is_protected;
    bough__branch_row_clear(&now);
    if (rc != BOUGH_OK) {
        bough__layer_close(*out);
        *out = NULL;
    }
    return rc;
}

int bough__branch_layer(struct bough__layer **out, struct bough_store *store, const struct bough__branch_row *row)
{
    bool is_protected = false;
    return bough__branch_open(out, &is_protected, store, row);
}

int bough__branch_look(struct bough_store *store, int64_t branch_id, const struct bough__layer *layer)
{
    struct bough__branch_row row = {0};
    int rc = bough__catalog_branch_by_id(&row, store->catalog, branch_id);
    if (rc == BOUGH_NOT_FOUND)
        rc = bough__fail(BOUGH_GONE, "the branch was deleted");
    else if (rc == BOUGH_OK && row.layer != bough__layer_number(layer))
        rc = bough__fail(BOUGH_STALE, "branch %s has taken another state meanwhile", row.name);
    bough__branch_row_clear(&row);
    return rc;
}

int bough__branch_follow(struct bough__layer **out, bool *out_protected, struct bough_store *store, int64_t branch_id,
                         const struct bough__layer *layer)
{
    struct bough__branch_row row = {0};
    int rc = BOUGH_STALE;
    *out = NULL;
    *out_protected = false;
    for (int tries = 0; rc == BOUGH_STALE && tries < BOUGH__STALE_TRIES; tries++) {
        bough__branch_row_clear(&row);
        rc = bough__catalog_branch_by_id(&row, store->catalog, branch_id);
        if (rc == BOUGH_NOT_FOUND)
            rc = bough__fail(BOUGH_GONE, "the branch was deleted");
        else if (rc == BOUGH_OK && (row.layer != bough__layer_number(layer) || bough__layer_may_be_old(layer)))
            rc = bough__branch_open(out, out_protected, store, &row);
    }
    bough__branch_row_clear(&row);
    return rc;
}

/* ---- as the public struct shows them ---- */

static void release_branch(bough_branch *branch)
{
    free(branch->name);
    free(branch->parent);
}

void bough_branches_release(bough_branches *branches)
{
    for (size_t i = 0; i < branches->count; i++)
        release_branch(&branches->items[i]);
    free(branches->items);
    memset(branches, 0, sizeof *branches);
}

int bough__current_branch(int64_t *out, struct bough__catalog *catalog)
{
    char *text = NULL;
    int rc = bough__catalog_setting_get(&text, catalog, "current");
    *out = text ? strtoll(text, NULL, 10) : 0;
    free(text);
    return rc;
}

/* What rows refer to. Forks of one branch often stand together, with one parent and one head: the last of each is
 * kept. */
struct relations {
    struct bough__catalog *catalog;
    int64_t current;
    int64_t parent_id;
    char *parent; /* name */
    bool has_head;
    uint8_t head[BOUGH__DIGEST_SIZE];
    uint64_t head_size_bytes;
};

static int find_parent(char **out, struct relations *relations, int64_t id)
{
    *out = NULL;
    if (id == 0)
        return BOUGH_OK;
    if (id != relations->parent_id) {
        struct bough__branch_row row = {0};
        int rc = bough__catalog_branch_by_id(&row, relations->catalog, id);
        if (rc != BOUGH_OK)
            return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
        free(relations->parent);
        relations->parent_id = id;
        relations->parent = row.name;
        row.name = NULL;
        bough__branch_row_clear(&row);
    }
    *out = bough__strdup(relations->parent);
    return *out ? BOUGH_OK : BOUGH_NOMEM;
}

/* A commit that is damaged or missing has size 0 here: it must not hide the other branches from a list. */
static int find_head_size(uint64_t *out, struct relations *relations, const uint8_t head[BOUGH__DIGEST_SIZE])
{
    if (!relations->has_head || memcmp(head, relations->head, BOUGH__DIGEST_SIZE) != 0) {
        struct bough__commit_row row = {0};
        int rc = bough__catalog_commit_by_id(&row, relations->catalog, head);
        if (rc != BOUGH_OK && rc != BOUGH_CORRUPT && rc != BOUGH_NOT_FOUND)
            return rc;
        relations->has_head = true;
        relations->head_size_bytes = row.tree.size_bytes;
        memcpy(relations->head, head, BOUGH__DIGEST_SIZE);
        bough__commit_row_clear(&row);
    }
    *out = relations->head_size_bytes;
    return BOUGH_OK;
}

/* What the catalog says; all there is to say where the branch has no layer. */
static int fill_from_row(bough_branch *out, struct relations *relations, const struct bough__branch_row *row)
{
    memset(out, 0, sizeof *out);
    out->name = bough__strdup(row->name);
    if (!out->name)
        return BOUGH_NOMEM;
    if (row->has_base)
        bough__hex(out->base, row->base, sizeof row->base);
    bough__hex(out->head, row->head, sizeof row->head);
    out->current = row->id == relations->current;
    out->is_protected = row->is_protected;
    out->created_at_ms = row->created_at_ms;
    out->expires_at_ms = row->expires_at_ms;
    out->own_bytes = row->node_bytes;
    int rc = find_parent(&out->parent, relations, row->parent_id);
    return rc == BOUGH_OK ? find_head_size(&out->size_bytes, relations, row->head) : rc;
}

static uint64_t allocated_bytes(const bough_store *store, uint32_t number)
{
    char name[BOUGH__FILE_NAME_SIZE];
    struct stat info;
    bough__file_name(name, BOUGH__LAYER_FILE, number);
    char *path = bough__format("%s/%s", store->space->directory, name);
    uint64_t bytes = path && bough__os.lstat(path, &info) == 0 ? (uint64_t)info.st_blocks * 512 : 0;
    free(path);
    return bytes;
}

static int read_layer(bough_branch *out, bough_store *store, const struct bough__branch_row *row)
{
    struct bough__layer *layer = NULL;
    struct bough__snapshot snapshot;
    int rc = bough__branch_layer_as_was(&layer, store, row);
    if (rc == BOUGH_OK)
        rc = bough__snapshot_pin(&snapshot, layer);
    if (rc == BOUGH_OK) {
        out->dirty = snapshot.txn > row->head_txn;
        out->size_bytes = snapshot.size_bytes;
        out->own_bytes += bough__layer_own_bytes(layer);
        bough__snapshot_release(&snapshot);
    }
    bough__layer_close(layer);
    return rc;
}

/* Adds what only the layer knows. A damaged one must not hide the others from a list, nor keep a branch from being
 * deleted. */
static int fill_from_layer(bough_branch *out, bough_store *store, const struct bough__branch_row *row)
{
    bool absent = false;
    int rc = bough__layer_is_absent(&absent, store->space, row->layer);
    if (rc != BOUGH_OK || absent)
        return rc;
    rc = read_layer(out, store, row);
    if (rc == BOUGH_CORRUPT) {
        out->dirty = true;
        out->own_bytes = row->node_bytes + allocated_bytes(store, row->layer);
    }
    return rc == BOUGH_CORRUPT || rc == BOUGH_GONE || rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

/* Room for one more; the count stays. */
static bough_branch *reserve(bough_branches *branches)
{
    if ((branches->count & (branches->count - 1)) == 0) { /* grows at powers of two */
        size_t capacity = branches->count ? 2 * branches->count : 1;
        bough_branch *items = bough__realloc(branches->items, capacity * sizeof *items);
        if (!items)
            return NULL;
        branches->items = items;
    }
    return &branches->items[branches->count];
}

int bough__branches_add(bough_branches *out, struct bough_store *store, const struct bough__branch_row *row,
                        bool is_new)
{
    struct relations relations = {.catalog = store->catalog};
    bough_branch *branch = reserve(out);
    int rc = branch ? bough__current_branch(&relations.current, store->catalog) : BOUGH_NOMEM;
    if (rc != BOUGH_OK)
        return rc;
    rc = fill_from_row(branch, &relations, row);
    if (rc == BOUGH_OK && !is_new)
        rc = fill_from_layer(branch, store, row);
    free(relations.parent);
    if (rc == BOUGH_OK)
        out->count++;
    else
        release_branch(branch);
    return rc;
}

/* ---- list ---- */

struct listing {
    bough_branches *branches;
    struct bough__branch_row *rows; /* of the same indexes */
    size_t row_capacity;
    struct relations relations;
};

static int list_row(void *context, const struct bough__branch_row *row)
{
    struct listing *listing = context;
    size_t index = listing->branches->count;
    if (bough__name_is_hidden(row->name))
        return BOUGH_OK;
    bough_branch *branch = reserve(listing->branches);
    if (!branch)
        return BOUGH_NOMEM;
    if (index == listing->row_capacity) {
        size_t capacity = index ? 2 * index : 16;
        struct bough__branch_row *rows = bough__realloc(listing->rows, capacity * sizeof *rows);
        if (!rows)
            return BOUGH_NOMEM;
        listing->rows = rows;
        listing->row_capacity = capacity;
    }
    int rc = fill_from_row(branch, &listing->relations, row);
    if (rc != BOUGH_OK) {
        release_branch(branch);
        return rc;
    }
    listing->rows[index] = *row;
    listing->rows[index].name = branch->name; /* borrowed: both live until the listing ends */
    listing->branches->count++;
    return BOUGH_OK;
}

static int list_rows(struct listing *listing)
{
    struct bough__catalog *catalog = listing->relations.catalog;
    int rc = bough__catalog_read_begin(catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__current_branch(&listing->relations.current, catalog);
    if (rc == BOUGH_OK)
        rc = bough__catalog_branches(catalog, list_row, listing);
    bough__catalog_read_end(catalog);
    return rc;
}

int bough_branch_list(bough_branches *out, bough_store *store)
{
    struct listing listing = {.branches = out, .relations = {.catalog = store->catalog}};
    memset(out, 0, sizeof *out);
    /* Layers are opened after the read transaction, which would keep the catalog's WAL from starting over. */
    int rc = list_rows(&listing);
    for (size_t i = 0; rc == BOUGH_OK && i < out->count; i++)
        rc = fill_from_layer(&out->items[i], store, &listing.rows[i]);
    free(listing.relations.parent);
    free(listing.rows);
    if (rc != BOUGH_OK)
        bough_branches_release(out);
    return rc;
}

int bough_branch_get(bough_branches *out, bough_store *store, const char *name)
{
    struct bough__branch_row row;
    memset(out, 0, sizeof *out);
    int rc = bough__catalog_branch_by_name(&row, store->catalog, name);
    if (rc == BOUGH_OK)
        rc = bough__branches_add(out, store, &row, false);
    bough__branch_row_clear(&row);
    if (rc != BOUGH_OK)
        bough_branches_release(out);
    return rc;
}

/* ---- names ---- */

int bough__name_is_free(struct bough__catalog *catalog, const char *name)
{
    struct bough__branch_row branch = {0};
    struct bough__tag_row tag = {0};
    int rc = bough__catalog_branch_by_name(&branch, catalog, name);
    bough__branch_row_clear(&branch);
    if (rc == BOUGH_OK)
        return bough__fail(BOUGH_REFUSED, "a branch %s exists already", name);
    if (rc != BOUGH_NOT_FOUND)
        return rc;
    rc = bough__catalog_tag_by_name(&tag, catalog, name);
    bough__tag_row_clear(&tag);
    if (rc == BOUGH_OK)
        return bough__fail(BOUGH_REFUSED, "a tag %s exists already", name);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

/* ---- changes of one row ---- */

/* Changes the row inside a write transaction. */
typedef int edit(struct bough__catalog *catalog, struct bough__branch_row *row, const void *argument);

/* Shows the branch as it is, then changes it in one transaction. */
static int change(bough_branches *out, bough_store *store, const char *name, edit *edit_row, const void *argument)
{
    struct bough__branch_row row = {0};
    int rc = bough_branch_get(out, store, name);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__catalog_begin(store->catalog);
    if (rc == BOUGH_OK) {
        rc = bough__catalog_branch_by_name(&row, store->catalog, name);
        if (rc == BOUGH_OK)
            rc = edit_row(store->catalog, &row, argument);
        if (rc == BOUGH_OK)
            rc = bough__catalog_commit(store->catalog);
        else
            bough__catalog_rollback(store->catalog);
    }
    bough__branch_row_clear(&row);
    if (rc != BOUGH_OK)
        bough_branches_release(out);
    return rc;
}

static int rename_row(struct bough__catalog *catalog, const char *old_name, const char *new_name)
{
    struct bough__branch_row row = {0};
    int rc = bough__catalog_branch_by_name(&row, catalog, old_name);
    if (rc == BOUGH_OK && bough__name_is_scratch(row.name))
        rc = bough__fail(BOUGH_REFUSED, "branch %s is scratch: nothing of it is kept", row.name);
    if (rc == BOUGH_OK)
        rc = bough__name_is_free(catalog, new_name);
    if (rc == BOUGH_OK) {
        free(row.name);
        row.name = bough__strdup(new_name);
        rc = row.name ? bough__catalog_branch_update(catalog, &row) : BOUGH_NOMEM;
    }
    bough__branch_row_clear(&row);
    return rc;
}

static int rename_rows(struct bough__catalog *catalog, const char *const *old_names, const char *const *new_names,
                       size_t count)
{
    int rc = bough__catalog_begin(catalog);
    if (rc != BOUGH_OK)
        return rc;
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++)
        rc = rename_row(catalog, old_names[i], new_names[i]);
    if (rc == BOUGH_OK)
        return bough__catalog_commit(catalog);
    bough__catalog_rollback(catalog);
    return rc;
}

static int list_one(bough_branches *out, bough_store *store, const char *name)
{
    struct bough__branch_row row = {0};
    int rc = bough__catalog_branch_by_name(&row, store->catalog, name);
    if (rc == BOUGH_OK)
        rc = bough__branches_add(out, store, &row, false);
    bough__branch_row_clear(&row);
    return rc;
}

int bough_branch_rename(bough_branches *out, bough_store *store, const char *const *old_names,
                        const char *const *new_names, size_t count)
{
    int rc = BOUGH_OK;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++)
        rc = bough__name_check(new_names[i]);
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++)
        rc = list_one(out, store, old_names[i]);
    if (rc == BOUGH_OK)
        rc = rename_rows(store->catalog, old_names, new_names, count);
    if (rc != BOUGH_OK)
        bough_branches_release(out);
    return rc;
}

static int edit_protection(struct bough__catalog *catalog, struct bough__branch_row *row, const void *argument)
{
    const bool *is_protected = argument;
    row->is_protected = *is_protected;
    return bough__catalog_branch_update(catalog, row);
}

/* The row decides; a layer that cannot be opened has no openers to tell either. */
static void tell_openers(struct bough_store *store, const char *name, bool is_protected)
{
    struct bough__branch_row row = {0};
    struct bough__layer *layer = NULL;
    if (bough__catalog_branch_by_name(&row, store->catalog, name) == BOUGH_OK &&
        bough__branch_layer(&layer, store, &row) == BOUGH_OK)
        bough__layer_set_protected(layer, is_protected);
    bough__layer_close(layer);
    bough__branch_row_clear(&row);
}

int bough_branch_protect(bough_branches *out, bough_store *store, const char *name, bool is_protected)
{
    int rc = change(out, store, name, edit_protection, &is_protected);
    if (rc == BOUGH_OK)
        tell_openers(store, name, is_protected);
    return rc;
}

static int edit_current(struct bough__catalog *catalog, struct bough__branch_row *row, const void *argument)
{
    char id[32];
    (void)argument;
    snprintf(id, sizeof id, "%" PRId64, row->id);
    return bough__catalog_setting_put(catalog, "current", id);
}

int bough_branch_switch(bough_branches *out, bough_store *store, const char *name)
{
    return change(out, store, name, edit_current, NULL);
}

int bough_branch_current(char **out, bough_store *store)
{
    struct bough__branch_row row = {0};
    int64_t id = 0;
    *out = NULL;
    int rc = bough__catalog_read_begin(store->catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__current_branch(&id, store->catalog);
    if (rc == BOUGH_OK && id != 0)
        rc = bough__catalog_branch_by_id(&row, store->catalog, id);
    bough__catalog_read_end(store->catalog);
    *out = row.name;
    row.name = NULL;
    bough__branch_row_clear(&row);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

/* ---- status ---- */

void bough_status_release(bough_status *status)
{
    bough_branches_release(&status->branch);
    free(status->open_by);
    memset(status, 0, sizeof *status);
}

static bool has_opener(const bough_status *status, int32_t pid)
{
    for (size_t i = 0; i < status->open_by_count; i++)
        if (status->open_by[i] == pid)
            return true;
    return false;
}

/* Each process once, and this one not at all. */
static int add_openers(bough_status *out, const int32_t *pids, size_t count)
{
    int32_t *all = bough__realloc(out->open_by, (out->open_by_count + count + 1) * sizeof *all);
    if (!all)
        return BOUGH_NOMEM;
    out->open_by = all;
    for (size_t i = 0; i < count; i++)
        if (pids[i] != (int32_t)getpid() && !has_opener(out, pids[i]))
            out->open_by[out->open_by_count++] = pids[i];
    return BOUGH_OK;
}

static void note_reader(bough_status *out, int64_t oldest_ms)
{
    if (oldest_ms >= 0 && oldest_ms / 1000 > out->oldest_reader_seconds)
        out->oldest_reader_seconds = oldest_ms / 1000;
}

struct opened {
    bough_status *status;
    const struct bough__branch_row *row;
};

static int add_left(void *context, const struct bough__left *left)
{
    const struct opened *opened = context;
    if (left->branch_id != opened->row->id || left->number == opened->row->layer)
        return BOUGH_OK;
    note_reader(opened->status, left->oldest_reader_ms);
    return add_openers(opened->status, left->pids, left->pid_count);
}

/* Those who have its layer open, and those who have not followed it there yet. */
static int fill_openers(bough_status *out, bough_store *store, const struct bough__branch_row *row,
                        struct bough__layer *layer)
{
    int32_t pids[BOUGH__OPENERS_MAX];
    size_t count = 0;
    struct opened opened = {out, row};
    int rc = bough__layer_openers(pids, &count, layer);
    if (rc == BOUGH_OK)
        rc = add_openers(out, pids, count);
    return rc == BOUGH_OK ? bough__left_layers(store->space, add_left, &opened) : rc;
}

/* Pages that differ between the base, or the empty database where there is none, and the newest transaction. */
static int count_since_base(uint64_t *out, bough_store *store, const struct bough__branch_row *row,
                            const struct bough__snapshot *newest)
{
    struct bough__commit_row base = {0};
    struct bough__snapshot snapshot;
    bough_page_diff diff;
    int rc = row->has_base ? bough__catalog_commit_by_id(&base, store->catalog, row->base) : BOUGH_OK;
    if (rc == BOUGH_OK)
        rc = row->has_base ? bough__snapshot_of_commit(&snapshot, store, &base)
                           : bough__snapshot_of_tree(&snapshot, store->space, &base.tree);
    bough__commit_row_clear(&base);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__snapshot_count_changes(&diff, &snapshot, newest, NULL, NULL);
    if (rc == BOUGH_OK)
        *out = diff.changed + diff.added + diff.removed;
    bough__snapshot_release(&snapshot);
    return rc;
}

static int fill_status(bough_status *out, bough_store *store, const struct bough__branch_row *row)
{
    struct bough__layer *layer = NULL;
    struct bough__snapshot newest;
    int rc = bough__branch_layer(&layer, store, row);
    if (rc == BOUGH_OK)
        rc = bough__snapshot_pin(&newest, layer);
    if (rc == BOUGH_OK) {
        out->uncommitted_transactions = newest.txn > row->head_txn ? newest.txn - row->head_txn : 0;
        rc = count_since_base(&out->changed_pages, store, row, &newest);
        if (rc == BOUGH_OK)
            rc = fill_openers(out, store, row, layer);
        int64_t oldest_ms = bough__layer_oldest_reader_ms(layer);
        note_reader(out, oldest_ms);
        if (rc == BOUGH_OK && oldest_ms >= 0)
            out->kept_bytes = bough__layer_kept_bytes(layer);
        bough__snapshot_release(&newest);
    }
    bough__layer_close(layer);
    return rc;
}

int bough_branch_status(bough_status *out, bough_store *store, const char *name)
{
    struct bough__branch_row row;
    memset(out, 0, sizeof *out);
    out->oldest_reader_seconds = -1;
    int rc = bough__catalog_branch_by_name(&row, store->catalog, name);
    if (rc == BOUGH_OK)
        rc = bough__branches_add(&out->branch, store, &row, false);
    if (rc == BOUGH_OK)
        rc = fill_status(out, store, &row);
    bough__branch_row_clear(&row);
    if (rc != BOUGH_OK)
        bough_status_release(out);
    return rc;
}
