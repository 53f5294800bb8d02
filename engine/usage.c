/* usage.c - bough_disk_usage: what the store takes on the disk, and what of it is a branch's own.
 *
 * own     what the branch's row and layer count: its layer, and the nodes and imported layers that its commits stored
 * shared  the bytes of pages that the branch refers to and that others stored: pages of its page map that lie in other
 *         layers (a walk over nodes, no page is read), less what its own imports stored. Pages of zeros take nothing.
 */
#include "error.h"
#include "os.h"
#include "store.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static int add_allocated(uint64_t *bytes, const char *path, int depth)
{
    DIR *directory = opendir(path);
    struct dirent *entry = NULL;
    int rc = directory ? BOUGH_OK : bough__fail_errno("list", path);
    while (rc == BOUGH_OK && (entry = readdir(directory))) {
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *name = bough__format("%s/%s", path, entry->d_name);
        if (!name) {
            rc = BOUGH_NOMEM;
        } else if (bough__os.lstat(name, &info) == 0) { /* else removed meanwhile */
            *bytes += (uint64_t)info.st_blocks * 512;
            /* What is in run/ goes when the last one closes, and some of it is this process's own. */
            if (S_ISDIR(info.st_mode) && depth > 0 && strcmp(entry->d_name, "run") != 0)
                rc = add_allocated(bytes, name, depth - 1);
        }
        free(name);
    }
    if (directory)
        closedir(directory);
    return rc;
}

int bough__store_allocated(uint64_t *out, const struct bough_store *store)
{
    *out = 0;
    return add_allocated(out, store->space->directory, 1);
}

void bough_usage_release(bough_usage *usage)
{
    for (size_t i = 0; i < usage->branch_count; i++)
        free(usage->branches[i].name);
    free(usage->branches);
    memset(usage, 0, sizeof *usage);
}

/* Clean branches have the trees of commits, and many have the same: their counts are kept. */
#define KEPT_MAX 256
struct count {
    uint32_t own_layer;
    uint64_t pages;
};
struct kept {
    struct bough__node_ref top;
    uint64_t pages;
};
struct usage {
    struct bough_store *store;
    struct kept kept[KEPT_MAX];
    size_t kept_count;
};

static int count_page(void *context, uint64_t block, const struct bough__entry *entry)
{
    struct count *count = context;
    (void)block;
    count->pages += entry->layer != count->own_layer;
    return BOUGH_OK;
}

/* Pages of the tree in other layers than own_layer; 0: none of them can be the branch's. */
static int count_foreign(uint64_t *out_pages, struct usage *usage, const struct bough__tree *tree, uint32_t own_layer)
{
    struct count count = {.own_layer = own_layer};
    for (size_t i = 0; own_layer == 0 && i < usage->kept_count; i++) {
        if (usage->kept[i].top.file == tree->top.file && usage->kept[i].top.index == tree->top.index) {
            *out_pages = usage->kept[i].pages;
            return BOUGH_OK;
        }
    }
    int rc = bough__map_walk(usage->store->space->nodes, tree, 0, count_page, &count);
    if (rc == BOUGH_OK && own_layer == 0 && usage->kept_count < KEPT_MAX)
        usage->kept[usage->kept_count++] = (struct kept){tree->top, count.pages};
    *out_pages = count.pages;
    return rc;
}

/* Pins the branch's newest state; its tree is what matters here. */
static int pin_tree(struct bough__snapshot *out, struct bough__layer **out_layer, struct bough_store *store,
                    const struct bough__branch_row *row)
{
    struct bough__commit_row head = {0};
    bool absent = false;
    *out_layer = NULL;
    int rc = bough__layer_is_absent(&absent, store->space, row->layer);
    if (rc == BOUGH_OK && absent) {
        rc = bough__catalog_commit_by_id(&head, store->catalog, row->head);
        if (rc == BOUGH_OK)
            rc = bough__snapshot_of_commit(out, store, &head);
        bough__commit_row_clear(&head);
        return rc;
    }
    if (rc == BOUGH_OK)
        rc = bough__branch_layer(out_layer, store, row);
    return rc == BOUGH_OK ? bough__snapshot_pin(out, *out_layer) : rc;
}

static int count_shared(uint64_t *out_bytes, struct usage *usage, const char *name)
{
    struct bough__branch_row row = {0};
    struct bough__snapshot snapshot = {0};
    struct bough__layer *layer = NULL;
    uint64_t pages = 0;
    int rc = bough__catalog_branch_by_name(&row, usage->store->catalog, name);
    if (rc == BOUGH_OK)
        rc = pin_tree(&snapshot, &layer, usage->store, &row);
    if (rc == BOUGH_OK)
        rc = count_foreign(&pages, usage, &snapshot.tree, layer ? row.layer : 0);
    uint64_t bytes = pages * snapshot.tree.block_size;
    bough__snapshot_release(&snapshot); /* zeros where it was not pinned */
    bough__layer_close(layer);
    *out_bytes = bytes > row.node_bytes ? bytes - row.node_bytes : 0;
    bough__branch_row_clear(&row);
    return rc;
}

static int add_branch(bough_usage *out, struct usage *usage, const bough_branch *branch)
{
    bough_usage_branch *item = &out->branches[out->branch_count];
    item->name = bough__strdup(branch->name);
    if (!item->name)
        return BOUGH_NOMEM;
    out->branch_count++;
    item->own_bytes = branch->own_bytes;
    int rc = count_shared(&item->shared_bytes, usage, branch->name);
    /* A damaged branch shares what cannot be counted; verify says what is wrong with it. One that was deleted since the
     * list was made shares nothing. */
    return rc == BOUGH_CORRUPT || rc == BOUGH_NOT_FOUND || rc == BOUGH_GONE || rc == BOUGH_BUSY ? BOUGH_OK : rc;
}

int bough_disk_usage(bough_usage *out, bough_store *store)
{
    bough_branches list = {0};
    memset(out, 0, sizeof *out);
    struct usage *usage = bough__alloc(sizeof *usage);
    int rc = usage ? bough_branch_list(&list, store) : BOUGH_NOMEM;
    if (rc == BOUGH_OK) {
        usage->store = store;
        out->branches = bough__alloc(list.count * sizeof *out->branches);
        rc = out->branches ? BOUGH_OK : BOUGH_NOMEM;
    }
    for (size_t i = 0; rc == BOUGH_OK && i < list.count; i++)
        rc = add_branch(out, usage, &list.items[i]);
    if (rc == BOUGH_OK)
        rc = bough__store_allocated(&out->store_bytes, store);
    bough_branches_release(&list);
    free(usage);
    if (rc != BOUGH_OK)
        bough_usage_release(out);
    return rc;
}
