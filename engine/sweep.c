/* sweep.c - giving back what gc has not marked.
 *
 * Node files keep their names and sizes: nodes that are dead become holes. A layer without a branch is given back while
 * its dead-man lock is held, so that nobody has it open: its dead frames become holes, or the file goes. A layer of a
 * branch belongs to its writer. gc takes that lock for a moment, computes the free frames anew in a checkpoint, and
 * makes holes of them; the writer goes on to use those frames.
 *
 * Files that are unlinked become holes first, since another process may have a descriptor of them in its pool.
 */
#include "gc.h"

#include "error.h"
#include "frames.h"
#include "layer_state.h"
#include "log.h"
#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How long to wait for an appender or a writer to finish. */
#define PATIENCE_MS 100
/* A layer of a branch is not worth a checkpoint for less. */
#define WORTHWHILE_BYTES (16u << 10)

/* ---- files ---- */

static int by_number(const void *a, const void *b)
{
    const struct bough__gc_file *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

/* False: not NUMBER and the suffix. */
static bool parse_name(uint32_t *out, const char *name, const char *suffix)
{
    size_t digits = strspn(name, "0123456789");
    unsigned long long number = strtoull(name, NULL, 10);
    *out = (uint32_t)number;
    return digits > 0 && digits <= 10 && number <= UINT32_MAX && strcmp(name + digits, suffix) == 0;
}

int bough__gc_list(struct bough__gc_file **out, size_t *out_count, const struct bough__gc *gc, const char *folder,
                   const char *suffix)
{
    size_t capacity = 0;
    struct dirent *entry = NULL;
    struct bough__gc_file *files = NULL;
    *out_count = 0;
    *out = NULL;
    char *path = bough__format("%s/%s", gc->store->space->directory, folder);
    DIR *directory = path != NULL ? opendir(path) : NULL;
    int rc = path == NULL ? bough__fail_memory() : directory == NULL ? bough__fail_errno("list", path) : BOUGH_OK;
    if (rc == BOUGH_NOT_FOUND)
        rc = BOUGH_OK; /* run/ may be missing in a copy */
    while (rc == BOUGH_OK && directory != NULL && (entry = readdir(directory)) != NULL) {
        uint32_t number = 0;
        if (!parse_name(&number, entry->d_name, suffix))
            continue;
        rc = bough__gc_grow(&files, &capacity, *out_count, sizeof *files);
        if (rc == BOUGH_OK)
            files[(*out_count)++] = (struct bough__gc_file){.number = number};
    }
    if (directory != NULL)
        closedir(directory);
    free(path);
    if (rc != BOUGH_OK) {
        free(files);
        *out_count = 0;
        return rc;
    }
    if (files != NULL)
        qsort(files, *out_count, sizeof *files, by_number);
    *out = files;
    return BOUGH_OK;
}

static int open_file(int *out_fd, char **out_path, const struct bough__gc *gc, enum bough__file_kind kind,
                     uint32_t number)
{
    char name[BOUGH__FILE_NAME_SIZE];
    bough__file_name(name, kind, number);
    *out_fd = -1;
    *out_path = bough__format("%s/%s", gc->store->space->directory, name);
    if (*out_path == NULL)
        return bough__fail_memory();
    return bough__os_open(out_fd, *out_path, (gc->dry_run ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_NONBLOCK, 0);
}

/* Of a dry run. */
static void add_up_bytes(struct bough__gc *gc, uint64_t bytes)
{
    *(gc->is_held ? &gc->out->held_bytes : &gc->out->freed_bytes) += bytes;
}

/* Gives a range of a file back, or adds up what that would bring. */
static int give_back(struct bough__gc *gc, int fd, const char *path, uint64_t offset, uint64_t len,
                     struct bough__os_run *run)
{
    uint64_t bytes = bough__os_allocated(fd, offset, len, run);
    if (gc->dry_run)
        add_up_bytes(gc, bytes);
    return gc->dry_run || bytes == 0 ? BOUGH_OK : bough__os_punch(fd, offset, len, path);
}

/* ---- the cut ---- */

/* The file's lock in hand, every appender before us has finished. A file that stays busy is left alone. */
static int cut_node_file(struct bough__gc *gc, struct bough__gc_file *file)
{
    int fd = -1;
    char *path = NULL;
    uint64_t size = 0;
    int rc = open_file(&fd, &path, gc, BOUGH__NODE_FILE, file->number);
    if (rc == BOUGH_OK && !gc->dry_run)
        rc = bough__os_lock_wait(fd, 0, BOUGH__EXCLUSIVE, PATIENCE_MS, path);
    if (rc == BOUGH_OK)
        rc = bough__os_size(&size, fd, path);
    if (rc == BOUGH_OK)
        file->cut = (uint32_t)((size + BOUGH__NODE_SIZE - 1) / BOUGH__NODE_SIZE);
    bough__os_close(&fd);
    free(path);
    return rc == BOUGH_BUSY ? BOUGH_OK : rc;
}

static int cut_layer(struct bough__gc *gc, struct bough__gc_file *file)
{
    int fd = -1;
    char *path = NULL;
    int rc = open_file(&fd, &path, gc, BOUGH__LAYER_FILE, file->number);
    if (rc == BOUGH_OK)
        file->cut = !bough__os_is_locked(fd, BOUGH__LAYER_READER_BYTE);
    bough__os_close(&fd);
    free(path);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

/* A number is on the disk before its file is. Files beyond the counter say that the catalog has lost rows, and so they
 * may be all that is left of somebody's work. */
static int check_numbers(struct bough__gc *gc)
{
    char *last = NULL;
    uint32_t newest = gc->layer_count != 0 ? gc->layers[gc->layer_count - 1].number : 0;
    int rc = bough__catalog_setting_get(&last, gc->store->catalog, "layer");
    if (rc == BOUGH_OK && (last == NULL || newest > strtoull(last, NULL, 10)))
        rc = bough__fail(BOUGH_CORRUPT,
                         "layers/%u.layer: the catalog never handed this number out: it has lost its newest rows, and "
                         "nothing is given back", newest);
    gc->last_layer = rc == BOUGH_OK ? (uint32_t)strtoull(last, NULL, 10) : 0;
    free(last);
    return rc;
}

int bough__sweep_cut(struct bough__gc *gc)
{
    int rc = bough__gc_list(&gc->node_files, &gc->node_file_count, gc, "nodes", ".nodes");
    for (size_t i = 0; rc == BOUGH_OK && i < gc->node_file_count; i++)
        rc = cut_node_file(gc, &gc->node_files[i]);
    if (rc == BOUGH_OK)
        rc = bough__gc_list(&gc->layers, &gc->layer_count, gc, "layers", ".layer");
    for (size_t i = 0; rc == BOUGH_OK && i < gc->layer_count; i++)
        rc = cut_layer(gc, &gc->layers[i]);
    return rc == BOUGH_OK ? check_numbers(gc) : rc;
}

/* ---- node files ---- */

static int sweep_node_file(struct bough__gc *gc, const struct bough__gc_file *file)
{
    int fd = -1;
    char *path = NULL;
    struct bough__os_run run = {0};
    int rc = open_file(&fd, &path, gc, BOUGH__NODE_FILE, file->number);
    for (uint32_t first = 1, end = 1; rc == BOUGH_OK && first < file->cut; first = end + 1) {
        for (end = first; end < file->cut && !bough__marks_has_node(gc->marks, file->number, end); end++)
            continue;
        if (end > first)
            rc = give_back(gc, fd, path, (uint64_t)first * BOUGH__NODE_SIZE,
                           (uint64_t)(end - first) * BOUGH__NODE_SIZE, &run);
    }
    bough__os_close(&fd);
    free(path);
    return rc;
}

/* ---- layers without a branch ---- */

/* A layer gets its branch in the transaction that hands its number out, or while who fills it holds its lock. So one
 * that was not locked at the cut, and has no branch in the rows that were read after it, will have none. */
static bool is_without_branch(const struct bough__gc *gc, uint32_t number)
{
    if (number > gc->last_layer)
        return false; /* younger than our rows */
    for (size_t low = 0, high = gc->branch_count; low < high;) {
        size_t middle = low + (high - low) / 2;
        const struct bough__gc_branch *branch = &gc->by_layer[middle];
        if (branch->layer == number)
            return branch->is_dropped;
        if (branch->layer < number)
            low = middle + 1;
        else
            high = middle;
    }
    return true;
}

static int sweep_frames(struct bough__gc *gc, int fd, const char *path, uint32_t number, uint32_t block_size)
{
    uint64_t size = 0;
    struct bough__os_run run = {0};
    int rc = bough__os_size(&size, fd, path);
    uint64_t count = size <= BOUGH__LAYER_FRAMES_OFFSET
                         ? 0
                         : bough__block_count(size - BOUGH__LAYER_FRAMES_OFFSET, block_size);
    for (uint64_t first = 0, end = 0; rc == BOUGH_OK && first < count; first = end + 1) {
        for (end = first; end < count && !bough__marks_has_frame(gc->marks, number, end); end++)
            continue;
        if (end > first)
            rc = give_back(gc, fd, path, bough__frame_offset(first, block_size), (end - first) * block_size, &run);
    }
    return rc;
}

static int remove_layer(struct bough__gc *gc, int fd, const char *path, uint32_t number)
{
    struct stat st = {0};
    if (bough__os.fstat(fd, &st) != 0)
        return bough__fail_errno("look at", path);
    if (gc->dry_run) {
        add_up_bytes(gc, (uint64_t)st.st_blocks * 512);
        return BOUGH_OK;
    }
    int rc = st.st_size > 0 ? bough__os_punch(fd, 0, (uint64_t)st.st_size, path) : BOUGH_OK;
    if (rc == BOUGH_OK && bough__os.unlink(path) != 0 && errno != ENOENT)
        rc = bough__fail_errno("remove", path);
    bough__files_forget(gc->store->space->files, BOUGH__LAYER_FILE, number);
    return rc;
}

static int sweep_dead_layer(struct bough__gc *gc, uint32_t number)
{
    struct bough__layer_identity identity = {0};
    int fd = -1;
    char *path = NULL;
    bool is_live = bough__marks_frames(gc->marks, number) != 0;
    int rc = open_file(&fd, &path, gc, BOUGH__LAYER_FILE, number);
    if (rc == BOUGH_OK && !is_live)
        rc = remove_layer(gc, fd, path, number);
    bough__os_close(&fd);
    if (rc == BOUGH_OK && is_live)
        rc = bough__layer_file_open(&fd, &identity, gc->store->space, number, gc->dry_run);
    if (rc == BOUGH_OK && is_live)
        rc = sweep_frames(gc, fd, path, number, identity.block_size);
    bough__os_close(&fd);
    free(path);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

static int sweep_layer_without_branch(struct bough__gc *gc, uint32_t number)
{
    struct bough__shm shm = {.fd = -1};
    const struct bough__space *space = gc->store->space;
    if (gc->dry_run) {
        gc->is_held = bough__shm_is_open(space->directory, number);
        int rc = sweep_dead_layer(gc, number);
        gc->is_held = false;
        return rc;
    }
    int rc = bough__shm_take(&shm, space->directory, number);
    if (rc == BOUGH_BUSY)
        return BOUGH_OK;
    if (rc == BOUGH_OK) {
        rc = sweep_dead_layer(gc, number);
        bough__shm_close(&shm, true);
    }
    return rc;
}

/* ---- layers of branches ---- */

/* What a look at the file says can be given back; a writer at work makes it a guess. */
struct estimate {
    struct bough__gc *gc;
    int fd;
    const char *path;
    uint32_t number, block_size;
    struct bough__layer_slot slot;
    struct bough__frames used; /* by the log: live versions, and its chunks */
};

static int use_range(struct estimate *estimate, uint64_t offset, uint64_t end)
{
    if (offset < BOUGH__LAYER_FRAMES_OFFSET || end <= offset)
        return BOUGH_OK;
    return bough__frames_add(&estimate->used, (offset - BOUGH__LAYER_FRAMES_OFFSET) / estimate->block_size,
                             bough__block_count(end - offset, estimate->block_size));
}

static int use_versions(struct estimate *estimate, struct bough__overlay *overlay)
{
    struct bough__overlay_entry *versions = NULL;
    size_t count = 0;
    uint64_t keep = 0;
    int rc = bough__overlay_collect(&versions, &count, &keep, overlay, overlay->newest_txn);
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++)
        if (versions[i].frame != BOUGH__NO_FRAME)
            rc = bough__frames_add(&estimate->used, versions[i].frame, 1);
    free(versions);
    return rc;
}

static int read_log(struct estimate *estimate)
{
    struct bough__log_buffer buffer = {0};
    struct bough__overlay *overlay = NULL;
    struct bough__log_position position = bough__layer_log_start(&estimate->slot);
    uint64_t chunk_end = 0;
    bool found = true;
    int rc = bough__overlay_create(&overlay, &estimate->slot.tree, estimate->slot.generation, estimate->slot.txn, 0);
    if (rc == BOUGH_OK)
        rc = use_range(estimate, position.chunk_offset, position.chunk_end);
    while (rc == BOUGH_OK && found) {
        struct bough__log_record record = {0};
        uint64_t chunk = position.chunk_offset;
        rc = bough__log_next(&found, &record, estimate->fd, estimate->path, &position, &buffer,
                             overlay->newest_txn + 1, &chunk_end);
        if (rc == BOUGH_OK && position.chunk_offset != chunk)
            rc = use_range(estimate, position.chunk_offset, position.chunk_end);
        if (rc == BOUGH_OK && found && (rc = bough__overlay_reserve(overlay, record.entry_count)) == BOUGH_OK)
            bough__overlay_add(overlay, &record);
    }
    if (rc == BOUGH_OK)
        rc = use_versions(estimate, overlay);
    bough__overlay_release(overlay);
    bough__log_buffer_release(&buffer);
    return rc;
}

static int add_up(uint64_t *out_bytes, struct estimate *estimate)
{
    uint64_t size = 0;
    struct bough__os_run run = {0};
    int rc = bough__os_size(&size, estimate->fd, estimate->path);
    for (const struct bough__list_area *area = estimate->slot.list_areas;
         rc == BOUGH_OK && area < estimate->slot.list_areas + 2; area++)
        rc = use_range(estimate, area->offset, area->offset + area->frame_count * estimate->block_size);
    if (rc != BOUGH_OK || size <= BOUGH__LAYER_FRAMES_OFFSET)
        return rc;
    bough__frames_join(&estimate->used);
    uint64_t count = (size - BOUGH__LAYER_FRAMES_OFFSET) / estimate->block_size;
    for (uint64_t first = 0, end = 0; first < count; first = end + 1) {
        for (end = first; end < count && !bough__marks_has_frame(estimate->gc->marks, estimate->number, end) &&
                          !bough__frames_has(&estimate->used, end);
             end++)
            continue;
        if (end > first)
            *out_bytes += bough__os_allocated(estimate->fd, bough__frame_offset(first, estimate->block_size),
                                              (end - first) * estimate->block_size, &run);
    }
    return BOUGH_OK;
}

static int estimate_layer(uint64_t *out_bytes, struct bough__gc *gc, uint32_t number)
{
    struct estimate estimate = {.gc = gc, .fd = -1, .number = number};
    struct bough__layer_identity identity = {0};
    char name[BOUGH__FILE_NAME_SIZE];
    bool found = false;
    *out_bytes = 0;
    bough__file_name(name, BOUGH__LAYER_FILE, number);
    estimate.path = name;
    int rc = bough__layer_file_open(&estimate.fd, &identity, gc->store->space, number, true);
    if (rc == BOUGH_OK)
        rc = bough__layer_file_read_slot(&found, &estimate.slot, estimate.fd, gc->store->space, number, 0);
    estimate.block_size = identity.block_size;
    if (rc == BOUGH_OK && found)
        rc = read_log(&estimate);
    if (rc == BOUGH_OK && found)
        rc = add_up(out_bytes, &estimate);
    bough__frames_release(&estimate.used);
    bough__os_close(&estimate.fd);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

static int lock_writer(struct bough__layer *layer)
{
    int rc = bough__layer_lock_writer(layer);
    for (int waited = 0; rc == BOUGH_BUSY && waited < PATIENCE_MS; waited += 2) {
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        rc = bough__layer_lock_writer(layer);
    }
    return rc;
}

/* The writer's lock is ours. */
static int reclaim(struct bough__gc *gc, struct bough__layer *layer, uint64_t dead_nodes)
{
    struct bough__published state = {0};
    int rc = bough__layer_prepare_writer(layer, &state);
    if (rc == BOUGH_OK && bough__shm_flags(&layer->shm) & BOUGH__SHM_POISONED)
        rc = bough__layer_heal(layer);
    if (rc != BOUGH_OK || layer->slot.generation == 0 || bough__layer_is_doubtful(layer) ||
        !bough__shm_all_at_newest(&layer->shm))
        return rc;
    rc = bough__gc_mark_commits(gc);
    if (rc == BOUGH_OK)
        rc = bough__layer_open_file(layer);
    return rc == BOUGH_OK ? bough__layer_reclaim(layer, gc->marks, dead_nodes) : rc;
}

static int open_layer(struct bough__layer **out, struct bough__gc *gc, int64_t branch_id)
{
    struct bough__branch_row row = {0};
    *out = NULL;
    int rc = bough__catalog_branch_by_id(&row, gc->store->catalog, branch_id);
    if (rc == BOUGH_OK)
        rc = bough__branch_layer(out, gc->store, &row);
    bough__branch_row_clear(&row);
    return rc;
}

/* What is busy, or damaged, is left for another time; verify tells of damage. */
static int sweep_branch(struct bough__gc *gc, const struct bough__gc_branch *branch)
{
    struct bough__layer *layer = NULL;
    uint64_t bytes = 0, dead_nodes = bough__own_header_excess(gc, branch->layer);
    int rc = estimate_layer(&bytes, gc, branch->layer);
    if (rc != BOUGH_OK || (bytes < WORTHWHILE_BYTES && dead_nodes * BOUGH__NODE_SIZE < WORTHWHILE_BYTES))
        return rc == BOUGH_CORRUPT ? BOUGH_OK : rc;
    if (gc->dry_run) {
        gc->is_held = bough__shm_is_behind(gc->store->space->directory, branch->layer);
        add_up_bytes(gc, bytes);
        gc->is_held = false;
        return BOUGH_OK;
    }
    rc = open_layer(&layer, gc, branch->id);
    if (rc != BOUGH_OK)
        return rc == BOUGH_IO || rc == BOUGH_FULL || rc == BOUGH_NOMEM ? rc : BOUGH_OK;
    rc = lock_writer(layer);
    if (rc == BOUGH_OK) {
        rc = reclaim(gc, layer, dead_nodes);
        bough__layer_unlock_writer(layer);
    }
    bough__layer_close(layer);
    return rc == BOUGH_BUSY ? BOUGH_OK : rc;
}

/* ---- what crashes left ---- */

static int sweep_draft(struct bough__gc *gc, uint32_t number)
{
    int fd = -1;
    struct stat st = {0};
    char *path = bough__format("%s/layers/%u.new", gc->store->space->directory, number);
    int rc = path == NULL ? bough__fail_memory()
                          : bough__os_open(&fd, path, (gc->dry_run ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_NONBLOCK, 0);
    /* Who makes a layer locks the draft, and then looks whether it is still there. */
    if (rc == BOUGH_OK && !gc->dry_run)
        rc = bough__os_lock(fd, BOUGH__LAYER_READER_BYTE, BOUGH__EXCLUSIVE, path);
    if (rc == BOUGH_OK && bough__os.fstat(fd, &st) == 0 && st.st_nlink > 0) {
        if (gc->dry_run)
            gc->out->freed_bytes += (uint64_t)st.st_blocks * 512;
        else
            bough__os.unlink(path);
    }
    bough__os_close(&fd);
    free(path);
    return rc == BOUGH_NOT_FOUND || rc == BOUGH_BUSY ? BOUGH_OK : rc;
}

static int sweep_drafts(struct bough__gc *gc)
{
    struct bough__gc_file *drafts = NULL;
    size_t count = 0;
    int rc = bough__gc_list(&drafts, &count, gc, "layers", ".new");
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++)
        rc = sweep_draft(gc, drafts[i].number);
    free(drafts);
    return rc;
}

static int is_of_layer(void *context, const struct bough__branch_row *row)
{
    const uint32_t *number = context;
    return row->layer == *number ? BOUGH_REFUSED : BOUGH_OK;
}

/* With the dead-man lock in hand. Whoever opens a layer has read its branch's row before. */
static int remove_shared_memory(struct bough__gc *gc, struct bough__shm *shm, uint32_t number)
{
    int rc = bough__catalog_branches(gc->store->catalog, is_of_layer, &number);
    bough__shm_close(shm, rc == BOUGH_OK);
    return rc == BOUGH_REFUSED ? BOUGH_OK : rc;
}

/* Of layers without a branch. (That of a branch tells its next opener something.) */
static int sweep_shared_memory(struct bough__gc *gc)
{
    struct bough__gc_file *files = NULL;
    size_t count = 0;
    const struct bough__space *space = gc->store->space;
    int rc = gc->dry_run ? BOUGH_OK : bough__gc_list(&files, &count, gc, "run", ".shm");
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++) {
        struct bough__shm shm = {.fd = -1};
        if (!is_without_branch(gc, files[i].number))
            continue;
        rc = bough__shm_take(&shm, space->directory, files[i].number);
        if (rc == BOUGH_OK)
            rc = remove_shared_memory(gc, &shm, files[i].number);
        else if (rc == BOUGH_BUSY)
            rc = BOUGH_OK;
    }
    free(files);
    return rc;
}

/* ---- the whole ---- */

static int by_layer(const void *a, const void *b)
{
    const struct bough__gc_branch *x = a, *y = b;
    return (x->layer > y->layer) - (x->layer < y->layer);
}

static int sort_by_layer(struct bough__gc *gc)
{
    size_t len = gc->branch_count * sizeof *gc->by_layer;
    gc->by_layer = bough__alloc(len + 1);
    if (gc->by_layer == NULL)
        return bough__fail_memory();
    if (len != 0) {
        memcpy(gc->by_layer, gc->branches, len);
        qsort(gc->by_layer, gc->branch_count, sizeof *gc->by_layer, by_layer);
    }
    return BOUGH_OK;
}

/* One of so many things is done. */
static int progress(struct bough__gc *gc, size_t *done)
{
    size_t count = gc->node_file_count + gc->layer_count + gc->branch_count;
    uint64_t half = gc->total_bytes / 2;
    ++*done;
    return bough__gc_progress(gc, half + (uint64_t)((double)half * (double)*done / (double)count));
}

int bough__sweep(struct bough__gc *gc)
{
    size_t done = 0;
    int rc = sort_by_layer(gc);
    for (size_t i = 0; rc == BOUGH_OK && i < gc->node_file_count; i++) {
        rc = sweep_node_file(gc, &gc->node_files[i]);
        if (rc == BOUGH_OK)
            rc = progress(gc, &done);
    }
    for (size_t i = 0; rc == BOUGH_OK && i < gc->layer_count; i++) {
        if (gc->layers[i].cut != 0 && is_without_branch(gc, gc->layers[i].number))
            rc = sweep_layer_without_branch(gc, gc->layers[i].number);
        if (rc == BOUGH_OK)
            rc = progress(gc, &done);
    }
    for (size_t i = 0; rc == BOUGH_OK && i < gc->branch_count; i++) {
        if (!gc->branches[i].is_dropped)
            rc = sweep_branch(gc, &gc->branches[i]);
        if (rc == BOUGH_OK)
            rc = progress(gc, &done);
    }
    if (rc == BOUGH_OK)
        rc = sweep_drafts(gc);
    return rc == BOUGH_OK ? sweep_shared_memory(gc) : rc;
}
