/* gc.c - bough_gc: giving back what no state needs.
 *
 *  1 lock     one gc at a time; and nobody reads who cannot say what (space.h)
 *  2 plan     which branches are over, and which commits of the machine nobody can want back
 *  3 mark     everything below the trees that stay. Damage ends the run here, and nothing has happened yet
 *  4 drop     those branches, in the ordinary way; what is in use or has children is left
 *  5 prune    those commits, in one transaction of the catalog: from here on nobody can begin to read them
 *  6 cut      which files stand still: whatever was appended to them is referred to, or garbage (sweep.c)
 *  7 mark     again, what has come since, and what is pinned
 *  8 sweep    node files, layers without a branch, and with the writer's lock each layer of a branch (sweep.c)
 *
 * The roots: commits that are not pruned; the tree of every branch's layer; the tree that every open layer publishes,
 * whether it has a branch or not; every pinned tree. They are read in an order that lets nothing slip through:
 * - The cut comes first. Who makes a tree keeps its files locked until something durable refers to the tree. So a file
 *   that is not locked has no tree on its way: whatever is live in it is below a root or a pinned tree by now.
 * - Published trees come before pins. A reader pins, and then looks whether his state is still the published one. If it
 *   is, either we see its tree published, or its pin came before we looked.
 * - Pins come before commits. Who commits a pinned state lets go of it after its row is written.
 * - Commits are pruned before pins are read. Who reads a past state pins it, and then looks at its row again.
 * What is made later is made of new nodes and of trees that were reachable then. gc alone makes commits unreachable,
 * and nobody else gives anything back but the frames of his own layer.
 *
 * Nothing waits for gc but readers without permission to write, and gc for nobody. After a crash at any step the store
 * is as before, or smaller: rows are durable before anything is given back.
 */
#include "gc.h"

#include "error.h"
#include "fill.h"
#include "hidden.h"
#include "layer_file.h"
#include "left.h"
#include "os.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS INT64_C(86400000)

int bough__gc_grow(void *items, size_t *capacity, size_t count, size_t size)
{
    void *grown = NULL;
    if (count < *capacity)
        return BOUGH_OK;
    memcpy(&grown, items, sizeof grown);
    grown = bough__realloc(grown, (2 * *capacity + 64) * size);
    if (grown == NULL)
        return bough__fail_memory();
    memcpy(items, &grown, sizeof grown);
    *capacity = 2 * *capacity + 64;
    return BOUGH_OK;
}

/* ---- locks ---- */

static int lock(struct bough__gc *gc)
{
    const char *directory = gc->store->space->directory;
    char *path = bough__format("%s/" BOUGH__STORE_FILE, directory);
    if (path == NULL)
        return bough__fail_memory();
    int rc = bough__os_open(&gc->lock_fd, path, (gc->dry_run ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_NONBLOCK, 0);
    if (rc == BOUGH_OK)
        rc = bough__os_lock_wait(gc->lock_fd, BOUGH__STORE_GC_BYTE, gc->dry_run ? BOUGH__SHARED : BOUGH__EXCLUSIVE,
                                 gc->timeout_ms, path);
    if (rc == BOUGH_BUSY)
        rc = bough__fail(rc, "%s: gc is running already", directory);
    if (rc == BOUGH_OK && !gc->dry_run) {
        rc = bough__os_lock_wait(gc->lock_fd, BOUGH__STORE_UNSEEN_BYTE, BOUGH__EXCLUSIVE, gc->timeout_ms, path);
        if (rc == BOUGH_BUSY)
            rc = bough__fail(rc, "%s: somebody without permission to write reads it, and cannot tell what", directory);
    }
    free(path);
    return rc;
}

/* ---- rows ---- */

static int keep(struct bough__gc *gc, const uint8_t id[BOUGH__DIGEST_SIZE])
{
    int rc = bough__gc_grow(&gc->kept, &gc->kept_capacity, gc->kept_count, sizeof *gc->kept);
    if (rc == BOUGH_OK)
        memcpy(gc->kept[gc->kept_count++], id, BOUGH__DIGEST_SIZE);
    return rc;
}

static int keep_tag(void *context, const struct bough__tag_row *row)
{
    return keep(context, row->commit);
}

/* Of a move in the undo window: what the branch had may itself be older than that. */
static int keep_move(void *context, const struct bough__move_row *row)
{
    return row->has_before ? keep(context, row->before) : BOUGH_OK;
}

static int keep_branch(void *context, const struct bough__branch_row *row)
{
    struct bough__gc *gc = context;
    size_t low = 0, high = gc->branch_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (gc->branches[middle].id < row->id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < gc->branch_count && gc->branches[low].id == row->id && gc->branches[low].is_dropped)
        return BOUGH_OK;
    int rc = row->has_base ? keep(gc, row->base) : BOUGH_OK;
    return rc == BOUGH_OK ? keep(gc, row->head) : rc;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, BOUGH__DIGEST_SIZE);
}

/* The commits that branches which stay, tags and moves name. */
static int find_kept(struct bough__gc *gc)
{
    gc->kept_count = 0;
    int rc = bough__catalog_branches(gc->store->catalog, keep_branch, gc);
    if (rc == BOUGH_OK)
        rc = bough__catalog_tags(gc->store->catalog, keep_tag, gc);
    if (rc == BOUGH_OK)
        rc = bough__catalog_moves_since(gc->store->catalog, gc->prune_before_ms, keep_move, gc);
    if (rc == BOUGH_OK && gc->kept_count != 0)
        qsort(gc->kept, gc->kept_count, sizeof *gc->kept, compare_ids);
    return rc;
}

static bool is_kept(const struct bough__gc *gc, const uint8_t id[BOUGH__DIGEST_SIZE])
{
    return gc->kept_count != 0 && bsearch(id, gc->kept, gc->kept_count, sizeof *gc->kept, compare_ids) != NULL;
}

static int note_prunable(void *context, const struct bough__commit_row *row)
{
    struct bough__gc *gc = context;
    if (!row->automatic || row->pruned || row->created_at_ms >= gc->prune_before_ms || is_kept(gc, row->id))
        return BOUGH_OK;
    int rc = bough__gc_grow(&gc->prunable, &gc->prunable_capacity, gc->prunable_count, sizeof *gc->prunable);
    if (rc == BOUGH_OK)
        memcpy(gc->prunable[gc->prunable_count++], row->id, BOUGH__DIGEST_SIZE);
    return rc;
}

static int add_branch(void *context, const struct bough__branch_row *row)
{
    struct bough__gc *gc = context;
    int rc = bough__gc_grow(&gc->branches, &gc->branch_capacity, gc->branch_count, sizeof *gc->branches);
    if (rc != BOUGH_OK)
        return rc;
    struct bough__gc_branch *branch = &gc->branches[gc->branch_count];
    *branch = (struct bough__gc_branch){.id = row->id,
                                        .parent_id = row->parent_id,
                                        .expires_at_ms = row->expires_at_ms,
                                        .layer = row->layer,
                                        .is_protected = row->is_protected,
                                        .node_bytes = row->node_bytes,
                                        .name = bough__strdup(row->name)};
    gc->branch_count += branch->name != NULL;
    return branch->name != NULL ? BOUGH_OK : bough__fail_memory();
}

static int by_id(const void *a, const void *b)
{
    const struct bough__gc_branch *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static void forget_branches(struct bough__gc *gc)
{
    for (size_t i = 0; i < gc->branch_count; i++)
        free(gc->branches[i].name);
    gc->branch_count = 0;
}

int bough__gc_read_branches(struct bough__gc *gc)
{
    forget_branches(gc);
    int rc = bough__catalog_branches(gc->store->catalog, add_branch, gc);
    if (rc == BOUGH_OK && gc->branch_count != 0)
        qsort(gc->branches, gc->branch_count, sizeof *gc->branches, by_id);
    return rc;
}

/* ---- branches whose time is over ---- */

static struct bough__gc_branch *parent_of(const struct bough__gc *gc, const struct bough__gc_branch *branch)
{
    struct bough__gc_branch key = {.id = branch->parent_id};
    return branch->parent_id == 0 ? NULL : bsearch(&key, gc->branches, gc->branch_count, sizeof key, by_id);
}

static int note_left(void *context, const struct bough__left *left)
{
    const struct bough__gc *gc = context;
    struct bough__gc_branch key = {.id = left->branch_id}, *branch = NULL;
    if (gc->branch_count != 0)
        branch = bsearch(&key, gc->branches, gc->branch_count, sizeof key, by_id);
    if (branch != NULL && branch->layer != left->number)
        branch->is_open = true;
    return BOUGH_OK;
}

static bool has_expired(const struct bough__gc *gc, const struct bough__gc_branch *branch)
{
    return branch->expires_at_ms != 0 && branch->expires_at_ms <= gc->now_ms && !branch->is_protected;
}

/* One look for all, after the rows were read. It saves attempts to delete what cannot be; who opens a branch after it
 * is in the way of the deletion itself, which looks again with the branch's layer in its hands (drop.c). */
static int note_open(struct bough__gc *gc)
{
    const struct bough__space *space = gc->store->space;
    size_t expired = 0;
    for (size_t i = 0; i < gc->branch_count; i++) {
        struct bough__gc_branch *branch = &gc->branches[i];
        if (!has_expired(gc, branch))
            continue;
        branch->is_open = bough__shm_is_open(space->directory, branch->layer);
        expired++;
    }
    return expired != 0 ? bough__left_layers(space, note_left, gc) : BOUGH_OK;
}

static bool is_over(const struct bough__gc *gc, const struct bough__gc_branch *branch)
{
    return has_expired(gc, branch) && !branch->is_dropped && branch->children == 0 && !branch->is_open;
}

/* A child's end may be its parent's: then it goes with the same run. */
static void plan_drops(struct bough__gc *gc)
{
    bool is_changed = note_open(gc) == BOUGH_OK; /* not being able to tell counts as open */
    for (size_t i = 0; i < gc->branch_count; i++) {
        struct bough__gc_branch *parent = parent_of(gc, &gc->branches[i]);
        if (parent != NULL && !bough__name_is_hidden(gc->branches[i].name))
            parent->children++;
    }
    while (is_changed) {
        is_changed = false;
        /* Children have higher ids than their parents, so one pass from the end is mostly all. */
        for (size_t i = gc->branch_count; i-- > 0;) {
            struct bough__gc_branch *branch = &gc->branches[i], *parent = parent_of(gc, branch);
            if (!is_over(gc, branch))
                continue;
            branch->is_dropped = is_changed = true;
            if (parent != NULL && !bough__name_is_hidden(branch->name))
                parent->children--;
        }
    }
}

static int append_branches(bough_branches *to, bough_branches *from)
{
    bough_branch *items = bough__realloc(to->items, (to->count + from->count) * sizeof *items);
    if (items == NULL)
        return bough__fail_memory();
    memcpy(items + to->count, from->items, from->count * sizeof *items);
    to->items = items;
    to->count += from->count;
    free(from->items);
    memset(from, 0, sizeof *from);
    return BOUGH_OK;
}

static int show_branch(struct bough__gc *gc, const char *name)
{
    bough_branches list = {0};
    int rc = bough_branch_get(&list, gc->store, name);
    if (rc == BOUGH_OK)
        rc = append_branches(&gc->out->dropped, &list);
    bough_branches_release(&list);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

/* All or none; where one of them is in the way, the halves. */
static int drop_batch(struct bough__gc *gc, const char *const *names, size_t count)
{
    bough_branches list = {0};
    int rc = bough__branch_drop_expired(&list, gc->store, names, count, gc->now_ms);
    if (rc == BOUGH_OK) {
        rc = append_branches(&gc->out->dropped, &list);
    } else if (rc == BOUGH_REFUSED || rc == BOUGH_BUSY || rc == BOUGH_NOT_FOUND || rc == BOUGH_GONE) {
        rc = count > 1 ? drop_batch(gc, names, count / 2) : BOUGH_OK;
        if (rc == BOUGH_OK && count > 1)
            rc = drop_batch(gc, names + count / 2, count - count / 2);
    }
    bough_branches_release(&list);
    return rc;
}

/* From the newest to the oldest: children before their parents. */
static int drop_branches(struct bough__gc *gc)
{
    const char *names[BOUGH__DROP_BATCH];
    size_t count = 0;
    int rc = BOUGH_OK;
    for (size_t i = gc->branch_count; rc == BOUGH_OK && i-- > 0;) {
        if (!gc->branches[i].is_dropped)
            continue;
        if (gc->dry_run) {
            rc = show_branch(gc, gc->branches[i].name);
            continue;
        }
        names[count++] = gc->branches[i].name;
        if (count == BOUGH__DROP_BATCH) {
            rc = drop_batch(gc, names, count);
            count = 0;
        }
    }
    return rc == BOUGH_OK && count != 0 ? drop_batch(gc, names, count) : rc;
}

/* ---- pruning ---- */

/* Beyond the undo window nobody can be promised what a branch had. */
static int forget_moves(struct bough__gc *gc)
{
    struct bough__catalog *catalog = gc->store->catalog;
    int rc = bough__catalog_begin(catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__catalog_moves_forget(catalog, gc->prune_before_ms);
    if (rc == BOUGH_OK)
        return bough__catalog_commit(catalog);
    bough__catalog_rollback(catalog);
    return rc;
}

static int prune(struct bough__gc *gc)
{
    struct bough__catalog *catalog = gc->store->catalog;
    gc->out->pruned = 0;
    if (gc->prunable_count == 0)
        return BOUGH_OK;
    int rc = bough__catalog_begin(catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__gc_read_branches(gc); /* nothing is to be dropped any more */
    if (rc == BOUGH_OK)
        rc = find_kept(gc);
    for (size_t i = 0; rc == BOUGH_OK && i < gc->prunable_count; i++) {
        if (is_kept(gc, gc->prunable[i]))
            continue;
        rc = bough__catalog_commit_prune(catalog, gc->prunable[i]);
        gc->out->pruned++;
    }
    gc->prunable_count = 0;
    if (rc == BOUGH_OK)
        return bough__catalog_commit(catalog);
    bough__catalog_rollback(catalog);
    return rc;
}

/* ---- roots ---- */

static bool is_prunable(const struct bough__gc *gc, const struct bough__commit_row *row)
{
    return gc->prunable_count != 0 &&
           bsearch(row->id, gc->prunable, gc->prunable_count, sizeof *gc->prunable, compare_ids) != NULL;
}

static int mark_commit(void *context, const struct bough__commit_row *row)
{
    struct bough__gc *gc = context;
    if (row->pruned || is_prunable(gc, row))
        return BOUGH_OK;
    return bough__own_mark_commit(gc, row);
}

int bough__gc_mark_commits(struct bough__gc *gc)
{
    return bough__catalog_commits_since(&gc->last_commit, gc->store->catalog, mark_commit, gc);
}

/* What its header says, where it has a file. Its branch's log refers to frames of this layer alone. */
static int mark_layer(struct bough__gc *gc, const struct bough__gc_branch *branch)
{
    struct bough__layer_identity identity = {0};
    struct bough__layer_slot slot = {0};
    bool found = false, was_made = false;
    int fd = -1;
    int rc = bough__layer_file_open(&fd, &identity, gc->store->space, branch->layer, true);
    if (rc == BOUGH_NOT_FOUND) {
        rc = bough__layer_file_was_made(&was_made, gc->store->space, branch->layer);
        if (rc == BOUGH_OK && was_made) /* who finds it again needs what it referred to */
            rc = bough__fail(BOUGH_CORRUPT, "layers/%u.layer of branch '%s' is missing", branch->layer, branch->name);
        return rc; /* else the branch is its head commit */
    }
    if (rc == BOUGH_OK)
        rc = bough__layer_file_read_slot(&found, &slot, fd, gc->store->space, branch->layer, 0);
    if (rc == BOUGH_OK && !found)
        rc = bough__fail(BOUGH_CORRUPT, "layer %u of branch '%s': its header slots are damaged", branch->layer,
                         branch->name);
    bough__os_close(&fd);
    if (rc != BOUGH_OK)
        return rc;
    return bough__own_mark_layer(gc, branch->layer, &slot);
}

/* A branch may be deleted, or get another layer, between our look at its row and the one at its files. */
static int mark_branch(struct bough__gc *gc, const struct bough__gc_branch *branch)
{
    struct bough__error_state error;
    struct bough__branch_row now = {0};
    int rc = mark_layer(gc, branch);
    for (int tries = 0; rc == BOUGH_CORRUPT && tries < 2; tries++) {
        bough__error_save(&error);
        int found = bough__catalog_branch_by_id(&now, gc->store->catalog, branch->id);
        bool is_gone = found == BOUGH_NOT_FOUND || (found == BOUGH_OK && now.layer != branch->layer);
        bough__branch_row_clear(&now);
        bough__error_restore(&error);
        if (is_gone)
            return BOUGH_OK;
        rc = mark_layer(gc, branch); /* its first writer may have made the file meanwhile */
    }
    return rc;
}

static int mark_tree(void *context, struct bough__node_ref top, bool is_sure)
{
    struct bough__gc *gc = context;
    struct bough__error_state error;
    bough__error_save(&error);
    int rc = bough__marks_tree(gc->marks, top);
    if (rc != BOUGH_CORRUPT || is_sure)
        return rc;
    bough__error_restore(&error); /* the pin came too late, and its owner is about to notice */
    return BOUGH_OK;
}

typedef int tell_trees(const char *directory, uint32_t number, bough__shm_tree_callback *callback, void *context);

/* What was told may have been given up while we marked it: the last one who had the layer open has closed it. */
static int mark_told(struct bough__gc *gc, uint32_t number, tell_trees *tell)
{
    const char *directory = gc->store->space->directory;
    int rc = tell(directory, number, mark_tree, gc);
    for (int tries = 0; rc == BOUGH_CORRUPT && tries < 2; tries++)
        rc = bough__shm_is_open(directory, number) ? tell(directory, number, mark_tree, gc) : BOUGH_OK;
    return rc;
}

static int mark_all_told(struct bough__gc *gc, tell_trees *tell)
{
    struct bough__gc_file *open = NULL;
    size_t count = 0;
    int rc = bough__gc_list(&open, &count, gc, "run", ".shm");
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++)
        rc = mark_told(gc, open[i].number, tell);
    free(open);
    return rc;
}

/* Commits come first, so that what each adds is its own (own.c), and last, for those that were made meanwhile. */
static int mark(struct bough__gc *gc)
{
    gc->last_commit = INT64_MIN;
    int rc = bough__gc_mark_commits(gc);
    for (size_t i = 0; rc == BOUGH_OK && i < gc->branch_count; i++)
        if (!gc->branches[i].is_dropped)
            rc = mark_branch(gc, &gc->branches[i]);
    if (rc == BOUGH_OK)
        rc = mark_all_told(gc, bough__shm_published_tree);
    /* Listed again for the pins: who opened a layer meanwhile may have pinned a state that another one replaced. */
    if (rc == BOUGH_OK)
        rc = mark_all_told(gc, bough__shm_pinned_trees);
    return rc == BOUGH_OK ? bough__gc_mark_commits(gc) : rc;
}

/* ---- what goes ---- */

struct goers {
    struct bough__gc *gc;
    struct bough__marks *dead;
};

static int count_goer(void *context, const struct bough__commit_row *row)
{
    const struct goers *goers = context;
    struct bough__error_state error;
    if (row->pruned || !is_prunable(goers->gc, row))
        return BOUGH_OK;
    bough__error_save(&error);
    int rc = bough__own_mark_dead(goers->gc, goers->dead, row);
    if (rc != BOUGH_CORRUPT)
        return rc;
    bough__error_restore(&error); /* what is damaged goes all the same */
    return BOUGH_OK;
}

/* Whose bytes the commits are that will be pruned. */
static int count_goers(struct bough__gc *gc)
{
    int64_t last = INT64_MIN;
    struct goers goers = {.gc = gc};
    if (gc->prunable_count == 0 || gc->dry_run)
        return BOUGH_OK;
    int rc = bough__marks_create(&goers.dead, gc->store->space);
    if (rc == BOUGH_OK) {
        bough__marks_go_beyond(goers.dead, gc->marks);
        rc = bough__catalog_commits_since(&last, gc->store->catalog, count_goer, &goers);
    }
    bough__marks_free(goers.dead);
    return rc;
}

/* ---- progress ---- */

int bough__gc_progress(struct bough__gc *gc, uint64_t done_bytes)
{
    /* What is marked may be more than was allocated: holes of a sparse file, what was written meanwhile. */
    if (done_bytes > gc->total_bytes)
        done_bytes = gc->total_bytes;
    if (done_bytes > gc->done_bytes)
        gc->done_bytes = done_bytes;
    return bough__report_progress(&gc->options, gc->done_bytes, gc->total_bytes);
}

static int tell_marked(void *context, uint64_t bytes)
{
    struct bough__gc *gc = context;
    return bough__gc_progress(gc, bytes < gc->total_bytes / 2 ? bytes : gc->total_bytes / 2);
}

/* ---- the whole ---- */

static int plan(struct bough__gc *gc)
{
    int rc = bough__catalog_read_begin(gc->store->catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__gc_read_branches(gc);
    if (rc == BOUGH_OK)
        plan_drops(gc);
    if (rc == BOUGH_OK)
        rc = find_kept(gc);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commits(gc->store->catalog, note_prunable, gc);
    bough__catalog_read_end(gc->store->catalog);
    if (rc == BOUGH_OK && gc->prunable_count != 0)
        qsort(gc->prunable, gc->prunable_count, sizeof *gc->prunable, compare_ids);
    gc->out->pruned = gc->prunable_count;
    return rc;
}

static int collect(struct bough__gc *gc)
{
    int rc = plan(gc);
    if (rc == BOUGH_OK)
        rc = bough__own_begin(gc);
    if (rc == BOUGH_OK)
        rc = mark(gc);
    if (rc == BOUGH_OK)
        rc = count_goers(gc);
    bough__own_conclude(gc);
    if (rc == BOUGH_OK)
        rc = drop_branches(gc);
    if (rc == BOUGH_OK && !gc->dry_run)
        rc = forget_moves(gc);
    if (rc == BOUGH_OK && !gc->dry_run)
        rc = prune(gc);
    if (rc == BOUGH_OK)
        rc = bough__sweep_cut(gc);
    if (rc == BOUGH_OK && !gc->dry_run)
        rc = bough__gc_read_branches(gc);
    if (rc == BOUGH_OK && !gc->dry_run)
        rc = mark(gc);
    gc->out->live_bytes = bough__marks_bytes(gc->marks);
    if (rc == BOUGH_OK)
        rc = bough__sweep(gc);
    if (rc == BOUGH_OK && !gc->dry_run)
        rc = bough__own_write(gc);
    if (rc == BOUGH_OK && !gc->dry_run)
        bough__catalog_checkpoint(gc->store->catalog);
    return rc;
}

static void release(struct bough__gc *gc)
{
    struct bough__error_state error;
    bough__error_save(&error);
    forget_branches(gc);
    bough__marks_free(gc->marks);
    bough__os_close(&gc->lock_fd);
    free(gc->branches);
    free(gc->by_layer);
    free(gc->kept);
    free(gc->prunable);
    free(gc->node_files);
    free(gc->layers);
    free(gc->own);
    bough__error_restore(&error);
}

void bough_collection_release(bough_collection *collection)
{
    bough_branches_release(&collection->dropped);
    memset(collection, 0, sizeof *collection);
}

int bough_gc(bough_collection *out, bough_store *store, int undo_days, bool dry_run, const bough_options *options)
{
    struct bough__gc gc = {.store = store, .out = out, .dry_run = dry_run, .lock_fd = -1};
    uint64_t before = 0;
    bough__options_read(&gc.options, options);
    gc.timeout_ms = options ? gc.options.timeout_ms : store->timeout_ms;
    memset(out, 0, sizeof *out);
    gc.now_ms = bough__os_now_ms();
    gc.prune_before_ms = gc.now_ms - (undo_days < 0 ? BOUGH_UNDO_DAYS : undo_days) * DAY_MS;
    int rc = bough__marks_create(&gc.marks, store->space);
    if (rc == BOUGH_OK)
        rc = lock(&gc);
    if (rc == BOUGH_OK && !dry_run)
        bough__hidden_sweep(store);
    if (rc == BOUGH_OK)
        rc = bough__store_allocated(&before, store);
    gc.total_bytes = 2 * before; /* to mark, and to sweep */
    if (rc == BOUGH_OK) {
        bough__marks_watch(gc.marks, tell_marked, &gc);
        rc = collect(&gc);
    }
    if (rc == BOUGH_OK)
        rc = bough__gc_progress(&gc, gc.total_bytes);
    release(&gc);
    if (rc == BOUGH_OK)
        rc = bough__store_allocated(&out->store_bytes, store);
    if (rc == BOUGH_OK && !dry_run)
        out->freed_bytes = before > out->store_bytes ? before - out->store_bytes : 0;
    if (rc != BOUGH_OK)
        bough_collection_release(out);
    return rc;
}
