/* verify.c - bough_verify: every page and node that a state needs, hashed; the catalog against them.
 *
 * Commits share most of their nodes and pages. What was looked at is remembered in a bitmap for each node file, so a
 * node and the pages below it are read once whatever the number of commits. (The map's check still compares a node's
 * digest with what each further parent says.) Verification goes on after damage; a finding names the place.
 *
 * A branch that is written to meanwhile is checked as of its newest transaction when its turn comes; one that is
 * deleted meanwhile is left out.
 */
#include "error.h"
#include "fill.h"
#include "fold.h"
#include "layer_file.h"
#include "layer_state.h"
#include "log.h"
#include "os.h"
#include "overlay.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A layer that is gone gives one finding for each page; nobody reads a million. */
#define FINDINGS_MAX   1000
#define BLOCK_SIZE_MAX 65536
/* Bytes between two calls of the progress callback. */
#define PROGRESS_STEP (4u << 20)

/* A set of numbers, as bits. */
struct bits {
    uint8_t *bytes;
    size_t len_bytes;
};

struct node_file {
    uint32_t number;
    uint64_t node_count; /* that the file has room for */
    struct bits seen;
};

struct state {
    char *name; /* "branch premium", "commit 0123456789ab" */
    struct bough__tree tree;
    uint8_t id[BOUGH__DIGEST_SIZE], root[BOUGH__DIGEST_SIZE]; /* of a commit */
    const struct bough__snapshot *snapshot; /* a branch: the tree lies below what was written since; else NULL */
};

struct verify {
    struct bough_store *store;
    bough_verification *out;
    bough_options options;
    uint64_t total_bytes, reported_bytes;
    struct node_file *node_files;
    size_t node_file_count;
    struct bits layers;     /* whose identity was looked at */
    struct bits bad_layers; /* missing or of another identity: said once, pages skipped */
    struct state *states;
    size_t state_count, state_capacity;
    struct bough__map_check check;
    const struct state *current;
    uint8_t *page;
};

/* ---- findings -------------------------------------------------------------------------------------------------- */

static int add_finding(void *context, const char *where, const char *what)
{
    struct verify *verify = context;
    bough_verification *out = verify->out;
    out->ok = false;
    if (out->finding_count == FINDINGS_MAX)
        return BOUGH_OK;
    bool is_last = out->finding_count == FINDINGS_MAX - 1;
    bough_finding *grown = bough__realloc(out->findings, (out->finding_count + 1) * sizeof *grown);
    if (!grown)
        return BOUGH_NOMEM;
    out->findings = grown;
    bough_finding *finding = &grown[out->finding_count];
    finding->where = bough__strdup(is_last ? "store" : where);
    finding->what = bough__strdup(is_last ? "there are more findings than are listed" : what);
    if (!finding->where || !finding->what) {
        free(finding->where);
        free(finding->what);
        return BOUGH_NOMEM;
    }
    out->finding_count++;
    return BOUGH_OK;
}

/* The present error as a finding, if it is about what is stored; else the error. What a call of the system failed for
 * may be there all the same. */
static int note_error(struct verify *verify, int rc, const char *where)
{
    struct bough__error_state what;
    if (rc != BOUGH_CORRUPT && rc != BOUGH_NOT_FOUND)
        return rc;
    bough__error_save(&what);
    return add_finding(verify, where, what.text);
}

void bough_verification_release(bough_verification *verification)
{
    for (size_t i = 0; i < verification->finding_count; i++) {
        free(verification->findings[i].where);
        free(verification->findings[i].what);
    }
    free(verification->findings);
    memset(verification, 0, sizeof *verification);
}

/* ---- what was seen --------------------------------------------------------------------------------------------- */

static bool has_bit(const struct bits *bits, uint64_t number)
{
    return number / 8 < bits->len_bytes && (bits->bytes[number / 8] >> (number % 8) & 1);
}

static int set_bit(struct bits *bits, uint64_t number)
{
    size_t wanted = (size_t)(number / 8) + 1;
    if (wanted > bits->len_bytes) {
        size_t len = wanted + wanted / 2 + 64;
        uint8_t *grown = bough__realloc(bits->bytes, len);
        if (!grown)
            return BOUGH_NOMEM;
        memset(grown + bits->len_bytes, 0, len - bits->len_bytes);
        bits->bytes = grown;
        bits->len_bytes = len;
    }
    bits->bytes[number / 8] |= (uint8_t)(1u << (number % 8));
    return BOUGH_OK;
}

static char *file_path(const struct verify *verify, enum bough__file_kind kind, uint32_t number)
{
    char name[BOUGH__FILE_NAME_SIZE];
    bough__file_name(name, kind, number);
    return bough__format("%s/%s", verify->store->space->directory, name);
}

static struct node_file *find_node_file(struct verify *verify, uint32_t number)
{
    struct stat info;
    for (size_t i = 0; i < verify->node_file_count; i++)
        if (verify->node_files[i].number == number)
            return &verify->node_files[i];
    struct node_file *grown = bough__realloc(verify->node_files, (verify->node_file_count + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    verify->node_files = grown;
    char *path = file_path(verify, BOUGH__NODE_FILE, number);
    struct node_file *file = &grown[verify->node_file_count++];
    *file = (struct node_file){.number = number};
    if (path && bough__os.lstat(path, &info) == 0)
        file->node_count = (uint64_t)info.st_size / BOUGH__NODE_SIZE;
    free(path);
    return file;
}

/* Without memory for the set a node is looked at again: slower, not wrong. An index beyond the file is damage, and
 * must not decide how large the set grows. */
static bool was_visited(void *context, struct bough__node_ref ref)
{
    struct node_file *file = find_node_file(context, ref.file);
    if (!file || ref.index > file->node_count)
        return false;
    if (has_bit(&file->seen, ref.index))
        return true;
    (void)set_bit(&file->seen, ref.index);
    return false;
}

/* ---- layers and pages ------------------------------------------------------------------------------------------ */

static int report_progress(struct verify *verify)
{
    uint64_t done = verify->out->checked_bytes + verify->check.checked_bytes;
    if (done - verify->reported_bytes < PROGRESS_STEP)
        return BOUGH_OK;
    verify->reported_bytes = done;
    if (verify->total_bytes < done)
        verify->total_bytes = done;
    return bough__report_progress(&verify->options, done, verify->total_bytes);
}

/* Looks at a layer's identity when its first page comes up. */
static int check_layer(struct verify *verify, uint32_t number)
{
    struct bough__layer_identity identity;
    char name[BOUGH__FILE_NAME_SIZE];
    int fd = -1;
    if (has_bit(&verify->layers, number))
        return BOUGH_OK;
    int rc = set_bit(&verify->layers, number);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__layer_file_open(&fd, &identity, verify->store->space, number, true);
    bough__os_close(&fd);
    if (rc == BOUGH_OK)
        return rc;
    bough__file_name(name, BOUGH__LAYER_FILE, number);
    /* A file with a damaged identity may still have good pages; one that is not there has none. */
    if (rc == BOUGH_NOT_FOUND && set_bit(&verify->bad_layers, number) != BOUGH_OK)
        return BOUGH_NOMEM;
    return note_error(verify, rc, name);
}

/* digest NULL: of a page that was not hashed yet. */
static int check_page(struct verify *verify, uint64_t block, uint32_t layer, uint64_t frame, uint64_t sum,
                      const uint8_t *digest, uint64_t size_bytes, uint32_t block_size)
{
    uint8_t found[BOUGH__DIGEST_SIZE];
    char where[512];
    int rc = check_layer(verify, layer);
    if (rc != BOUGH_OK || has_bit(&verify->bad_layers, layer))
        return rc;
    snprintf(where, sizeof where, "layer %u frame %llu (block %llu of %s)", layer, (unsigned long long)frame,
             (unsigned long long)block, verify->current->name);
    rc = bough__frame_read(verify->store->space, layer, frame, block, sum, verify->page, block_size, false);
    verify->out->checked_bytes += block_size;
    if (rc == BOUGH_OK && digest) {
        rc = bough__sha256(found, verify->page, bough__block_length(block, size_bytes, block_size));
        if (rc == BOUGH_OK && memcmp(found, digest, sizeof found) != 0)
            rc = bough__fail(BOUGH_CORRUPT, "the page has another SHA-256 than the map says");
    }
    rc = note_error(verify, rc, where);
    return rc == BOUGH_OK ? report_progress(verify) : rc;
}

/* What the branch has superseded since its last checkpoint is dead, and the frame may hold something else by now. A
 * commit that needs it is checked before any branch is, and keeps it from being used again. */
static bool is_superseded(const struct state *state, uint64_t block, const struct bough__entry *entry)
{
    struct bough__overlay_entry version;
    const struct bough__snapshot *snapshot = state->snapshot;
    return snapshot && snapshot->overlay && entry->layer == bough__layer_number(snapshot->layer) &&
           bough__overlay_find(&version, snapshot->overlay, block, snapshot->txn) != BOUGH__OVERLAY_MISS;
}

static int check_map_page(void *context, uint64_t block, const struct bough__entry *entry)
{
    struct verify *verify = context;
    const struct bough__tree *tree = &verify->current->tree;
    if (is_superseded(verify->current, block, entry))
        return BOUGH_OK;
    return check_page(verify, block, entry->layer, entry->frame, entry->sum, entry->digest, tree->size_bytes,
                      tree->block_size);
}

static int check_tree(struct verify *verify, const struct state *state)
{
    if (state->tree.block_size > BLOCK_SIZE_MAX)
        return add_finding(verify, state->name, "the block size is impossible");
    verify->current = state;
    int rc = bough__map_check(verify->store->space->nodes, &state->tree, &verify->check);
    verify->out->checked_bytes += verify->check.checked_bytes;
    verify->check.checked_bytes = 0;
    return rc == BOUGH_OK ? report_progress(verify) : rc;
}

/* ---- commits --------------------------------------------------------------------------------------------------- */

static int add_commit(void *context, const struct bough__commit_row *row)
{
    struct verify *verify = context;
    char id[13];
    if (row->pruned)
        return BOUGH_OK;
    if (verify->state_count == verify->state_capacity) {
        size_t capacity = verify->state_capacity ? verify->state_capacity * 2 : 64;
        struct state *grown = bough__realloc(verify->states, capacity * sizeof *grown);
        if (!grown)
            return BOUGH_NOMEM;
        verify->states = grown;
        verify->state_capacity = capacity;
    }
    bough__hex(id, row->id, 6);
    struct state *state = &verify->states[verify->state_count];
    *state = (struct state){.name = bough__format("commit %s", id), .tree = row->tree};
    memcpy(state->root, row->root, sizeof state->root);
    memcpy(state->id, row->id, sizeof state->id);
    verify->state_count += state->name != NULL;
    return state->name ? BOUGH_OK : BOUGH_NOMEM;
}

static int check_commit(struct verify *verify, const struct state *state)
{
    uint8_t root[BOUGH__DIGEST_SIZE];
    struct bough__commit_row row = {0};
    struct bough__snapshot snapshot;
    int rc = bough__root_id(root, &state->tree);
    if (rc == BOUGH_OK && memcmp(root, state->root, sizeof root) != 0)
        rc = add_finding(verify, state->name, "the root is not that of the page map");
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit_by_id(&row, verify->store->catalog, state->id);
    if (rc == BOUGH_OK)
        rc = bough__snapshot_of_commit(&snapshot, verify->store, &row);
    bough__commit_row_clear(&row);
    if (rc == BOUGH_NOT_FOUND)
        return BOUGH_OK; /* pruned since its row was read */
    if (rc != BOUGH_OK)
        return note_error(verify, rc, state->name);
    rc = check_tree(verify, state);
    bough__snapshot_release(&snapshot);
    return rc;
}

static int check_commits(struct verify *verify)
{
    int rc = BOUGH_OK;
    for (size_t i = 0; rc == BOUGH_OK && i < verify->state_count; i++)
        rc = check_commit(verify, &verify->states[i]);
    return rc;
}

/* ---- branches -------------------------------------------------------------------------------------------------- */

/* What was written since the last checkpoint: pages that no map knows. */
static int check_overlay(struct verify *verify, const struct bough__snapshot *snapshot)
{
    struct bough__overlay_entry *versions = NULL;
    uint64_t keep = 0;
    size_t count = 0;
    if (!snapshot->overlay || snapshot->txn == snapshot->overlay->base_txn)
        return BOUGH_OK;
    uint32_t number = bough__layer_number(snapshot->layer);
    int rc = bough__overlay_collect(&versions, &count, &keep, snapshot->overlay, snapshot->txn);
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++)
        if (versions[i].frame != BOUGH__NO_FRAME)
            rc = check_page(verify, versions[i].block, number, versions[i].frame, versions[i].sum, NULL,
                            snapshot->size_bytes, snapshot->block_size);
    free(versions);
    return rc;
}

static int check_layer_of(struct verify *verify, const struct bough__branch_row *row, struct state *state)
{
    struct bough__snapshot snapshot;
    struct bough__layer *layer = NULL;
    int rc = bough__branch_layer(&layer, verify->store, row);
    if (rc == BOUGH_OK)
        rc = bough__snapshot_pin(&snapshot, layer);
    if (rc == BOUGH_OK) {
        state->tree = snapshot.tree;
        state->snapshot = &snapshot;
        rc = check_tree(verify, state);
        if (rc == BOUGH_OK)
            rc = check_overlay(verify, &snapshot);
        state->snapshot = NULL;
        bough__snapshot_release(&snapshot);
    }
    bough__layer_close(layer);
    return rc;
}

static int check_branch(struct verify *verify, const struct bough__branch_row *row)
{
    struct bough__branch_row now = {0};
    struct state state = {.name = bough__format("branch %s", row->name)};
    bool absent = bough__name_is_scratch(row->name); /* of such a one nothing has to be there, nor to be whole */
    int rc = state.name ? BOUGH_OK : BOUGH_NOMEM;
    if (rc == BOUGH_OK && !absent)
        rc = bough__layer_is_absent(&absent, verify->store->space, row->layer);
    if (rc == BOUGH_OK && (!absent || row->held_txn != 0))
        rc = check_layer_of(verify, row, &state);
    if (rc != BOUGH_OK && rc != BOUGH_NOMEM && rc != BOUGH_INTERRUPTED) {
        /* Not a finding if the branch was deleted or moved to another layer since its row was read. */
        struct bough__error_state error;
        bough__error_save(&error);
        int found = bough__catalog_branch_by_id(&now, verify->store->catalog, row->id);
        bool is_same = found == BOUGH_OK && now.layer == row->layer;
        bough__error_restore(&error);
        rc = is_same ? note_error(verify, rc, state.name) : BOUGH_OK;
    }
    bough__branch_row_clear(&now);
    free(state.name);
    return rc;
}

struct names {
    int64_t *ids;
    size_t count, capacity;
};

static int add_id(void *context, const struct bough__branch_row *row)
{
    struct names *names = context;
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? names->capacity * 2 : 64;
        int64_t *grown = bough__realloc(names->ids, capacity * sizeof *grown);
        if (!grown)
            return BOUGH_NOMEM;
        names->ids = grown;
        names->capacity = capacity;
    }
    names->ids[names->count++] = row->id;
    return BOUGH_OK;
}

static int check_branches(struct verify *verify)
{
    struct names names = {0};
    int rc = bough__catalog_branches(verify->store->catalog, add_id, &names);
    if (rc == BOUGH_CORRUPT)
        rc = BOUGH_OK; /* bough__catalog_check has said it */
    for (size_t i = 0; rc == BOUGH_OK && i < names.count; i++) {
        struct bough__branch_row row = {0};
        rc = bough__catalog_branch_by_id(&row, verify->store->catalog, names.ids[i]);
        if (rc == BOUGH_OK)
            rc = check_branch(verify, &row);
        else if (rc == BOUGH_CORRUPT || rc == BOUGH_NOT_FOUND)
            rc = BOUGH_OK;
        bough__branch_row_clear(&row);
    }
    free(names.ids);
    return rc;
}

/* ---- lost rows ------------------------------------------------------------------------------------------------- */

/* A catalog that lost its newest transactions and the count of them looks sound: SQLite takes a damaged WAL for one
 * that a crash cut off. But a layer's number is on the disk before its file is, so a file with a number still to come
 * gives it away. The files are listed first: numbers are handed out meanwhile. */
static int check_numbers(struct verify *verify)
{
    char *path = bough__format("%s/layers", verify->store->space->directory);
    char *last = NULL, name[BOUGH__FILE_NAME_SIZE];
    unsigned long newest = 0;
    struct dirent *entry = NULL;
    DIR *directory = path ? opendir(path) : NULL;
    while (directory && (entry = readdir(directory))) {
        unsigned long number = strtoul(entry->d_name, NULL, 10);
        if (number > newest && number <= UINT32_MAX)
            newest = number;
    }
    if (directory)
        closedir(directory);
    free(path);
    int rc = bough__catalog_setting_get(&last, verify->store->catalog, "layer");
    if (rc == BOUGH_OK && last && newest > strtoul(last, NULL, 10)) {
        bough__file_name(name, BOUGH__LAYER_FILE, (uint32_t)newest);
        rc = add_finding(verify, name, "the catalog never handed this number out: it has lost its newest rows");
    }
    free(last);
    return rc == BOUGH_CORRUPT ? BOUGH_OK : rc; /* bough__catalog_check has said it */
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static uint64_t bytes_in(const struct verify *verify, const char *folder)
{
    uint64_t bytes = 0;
    struct stat info;
    char *path = bough__format("%s/%s", verify->store->space->directory, folder);
    DIR *directory = path ? opendir(path) : NULL;
    struct dirent *entry = NULL;
    while (directory && (entry = readdir(directory))) {
        char *name = bough__format("%s/%s", path, entry->d_name);
        if (name && bough__os.lstat(name, &info) == 0 && S_ISREG(info.st_mode))
            bytes += (uint64_t)info.st_size;
        free(name);
    }
    if (directory)
        closedir(directory);
    free(path);
    return bytes;
}

static int verify_everything(struct verify *verify)
{
    verify->total_bytes = bytes_in(verify, "layers") + bytes_in(verify, "nodes");
    int rc = bough__catalog_check(verify->store->catalog, add_finding, verify);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commits(verify->store->catalog, add_commit, verify);
    if (rc == BOUGH_CORRUPT)
        rc = verify->out->finding_count ? BOUGH_OK : note_error(verify, rc, "catalog.db");
    if (rc == BOUGH_OK)
        rc = check_numbers(verify);
    if (rc == BOUGH_OK)
        rc = check_commits(verify);
    return rc == BOUGH_OK ? check_branches(verify) : rc;
}

static int verify_target(struct verify *verify, const char *ref)
{
    struct bough__target target = {0};
    int rc = bough__target_resolve(&target, verify->store, ref);
    if (rc != BOUGH_OK)
        return rc;
    verify->total_bytes = target.commit.tree.size_bytes;
    if (target.commit.pruned)
        rc = bough__fail(BOUGH_NOT_FOUND, "%s was pruned: its pages are gone", ref);
    if (rc == BOUGH_OK)
        rc = add_commit(verify, &target.commit);
    if (rc == BOUGH_OK)
        rc = check_commits(verify);
    if (rc == BOUGH_OK && target.has_branch)
        rc = check_branch(verify, &target.branch);
    bough__target_clear(&target);
    return rc;
}

static void release_verify(struct verify *verify)
{
    for (size_t i = 0; i < verify->node_file_count; i++)
        free(verify->node_files[i].seen.bytes);
    for (size_t i = 0; i < verify->state_count; i++)
        free(verify->states[i].name);
    free(verify->node_files);
    free(verify->states);
    free(verify->layers.bytes);
    free(verify->bad_layers.bytes);
    free(verify->page);
}

int bough_verify(bough_verification *out, bough_store *store, const char *ref, const bough_options *options)
{
    struct verify verify = {.store = store, .out = out};
    memset(out, 0, sizeof *out);
    out->ok = true;
    bough__options_read(&verify.options, options);
    verify.check = (struct bough__map_check){
        .context = &verify, .visited = was_visited, .page = check_map_page, .damage = add_finding};
    verify.page = bough__alloc(BLOCK_SIZE_MAX);
    int rc = verify.page ? BOUGH_OK : BOUGH_NOMEM;
    if (rc == BOUGH_OK)
        rc = ref ? verify_target(&verify, ref) : verify_everything(&verify);
    if (rc == BOUGH_OK)
        rc = bough__report_progress(&verify.options, out->checked_bytes, out->checked_bytes);
    release_verify(&verify);
    if (rc != BOUGH_OK)
        bough_verification_release(out);
    return rc;
}
