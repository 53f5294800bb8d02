/* fill.c - from a source's bytes to frames in a new layer and a page map.
 *
 * The layer that takes the pages belongs to no branch: it has frames and no log. Its number is reserved when the first
 * page needs it, so that importing equal bytes writes nothing at all. Until the caller's catalog row refers to the
 * tree, the layer and the nodes are garbage that nothing refers to; a crash leaves just that.
 */
#include "fill.h"

#include "error.h"
#include "intake.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

/* Changes folded at a time: bounds memory, and rewrites an inner node once for 64 leaves. */
#define BATCH_SIZE 4096
/* Not an error: a probe has found a difference. */
#define DIFFERS 1

struct run {
    struct bough__fill *fill;
    uint64_t size_bytes, block_count, next_block;
    uint32_t block_size;
    bool has_base; /* the base has pages in blocks of the same size */
    bool is_probe; /* stop at the first difference, store nothing */
    uint64_t keep_blocks;
    struct bough__tree tree;
    struct bough__appender *appender;
    struct bough__change *changes;
    size_t count;
};

int bough__report_progress(const bough_options *options, uint64_t done_bytes, uint64_t total_bytes)
{
    if (options && options->progress && options->progress(options->progress_context, done_bytes, total_bytes) != 0)
        return bough__fail(BOUGH_INTERRUPTED, "interrupted after %llu of %llu bytes", (unsigned long long)done_bytes,
                           (unsigned long long)total_bytes);
    return BOUGH_OK;
}

static int fold_changes(struct run *run)
{
    struct bough__tree next;
    struct bough__nodes *nodes = run->fill->space->nodes;
    int rc = BOUGH_OK;
    if (!run->appender)
        rc = bough__appender_begin(&run->appender, nodes);
    if (rc == BOUGH_OK)
        rc = bough__map_fold(&next, nodes, run->appender, &run->tree, run->changes, run->count, run->keep_blocks,
                             run->size_bytes, run->block_size, UINT64_MAX);
    if (rc != BOUGH_OK)
        return rc;
    run->tree = next;
    run->keep_blocks = run->block_count;
    run->count = 0;
    return BOUGH_OK;
}

static int add_change(struct run *run, uint64_t block, const struct bough__entry *entry)
{
    if (run->is_probe)
        return DIFFERS;
    run->changes[run->count++] = (struct bough__change){block, *entry};
    run->fill->changed_pages++;
    return run->count == BATCH_SIZE ? fold_changes(run) : BOUGH_OK;
}

/* ---- the layer ---- */

static int reserve_layer(uint32_t *out, struct bough__catalog *catalog)
{
    int rc = bough__catalog_begin(catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__catalog_new_layer(out, catalog);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit(catalog);
    if (rc != BOUGH_OK)
        bough__catalog_rollback(catalog);
    return rc;
}

static int store_page(struct bough__entry *out, struct run *run, uint64_t block, const uint8_t *page,
                      const uint8_t digest[BOUGH__DIGEST_SIZE])
{
    struct bough__fill *fill = run->fill;
    uint32_t number = 0;
    int rc = BOUGH_OK;
    if (!fill->filler) {
        rc = reserve_layer(&number, fill->catalog);
        if (rc == BOUGH_OK)
            rc = bough__filler_begin(&fill->filler, fill->space, number, run->block_size);
    }
    if (rc == BOUGH_OK)
        rc = bough__filler_add(out, fill->filler, block, page);
    out->birth = fill->birth;
    memcpy(out->digest, digest, sizeof out->digest);
    return rc;
}

/* ---- blocks ---- */

static int take_block(struct run *run, uint64_t block, const uint8_t *page, const uint8_t digest[BOUGH__DIGEST_SIZE])
{
    static const uint8_t zero[BOUGH__DIGEST_SIZE];
    bool is_zero = memcmp(digest, zero, sizeof zero) == 0;
    struct bough__entry old = {0}, entry = {0};
    int rc = BOUGH_OK;
    if (run->has_base)
        rc = bough__map_lookup(&old, run->fill->space->nodes, &run->fill->base, block);
    if (rc != BOUGH_OK || memcmp(old.digest, digest, sizeof old.digest) == 0)
        return rc;
    if (!is_zero && !run->is_probe)
        rc = store_page(&entry, run, block, page, digest);
    return rc == BOUGH_OK ? add_change(run, block, &entry) : rc;
}

struct gap {
    struct run *run;
    uint64_t end_block;
};
#define GAP_ENDS 2

static int take_gap_block(void *context, uint64_t block, const struct bough__entry *entry)
{
    static const struct bough__entry zero;
    struct gap *gap = context;
    (void)entry;
    return block >= gap->end_block ? GAP_ENDS : add_change(gap->run, block, &zero);
}

/* The source has zeros from next_block up to end_block. */
static int take_gap(struct run *run, uint64_t end_block)
{
    struct gap gap = {run, end_block};
    int rc = BOUGH_OK;
    if (run->has_base && run->next_block < end_block)
        rc = bough__map_walk(run->fill->space->nodes, &run->fill->base, run->next_block, take_gap_block, &gap);
    run->next_block = end_block;
    return rc == GAP_ENDS ? BOUGH_OK : rc;
}

static int take_piece(struct run *run, const struct bough__intake_piece *piece)
{
    int rc = take_gap(run, piece->first_block);
    for (size_t i = 0; rc == BOUGH_OK && i < piece->block_count; i++)
        rc = take_block(run, piece->first_block + i, piece->bytes + i * run->block_size, piece->digests[i]);
    run->next_block = piece->first_block + piece->block_count;
    return rc;
}

static int take_all(struct run *run, struct bough__source *source)
{
    const struct bough__intake_piece *piece = NULL;
    struct bough__intake *intake = NULL;
    int rc = bough__report_progress(run->fill->options, 0, run->size_bytes);
    if (rc == BOUGH_OK)
        rc = bough__intake_begin(&intake, source, run->block_size);
    while (rc == BOUGH_OK && (rc = bough__intake_next(&piece, intake)) == BOUGH_OK && piece) {
        rc = take_piece(run, piece);
        uint64_t done = run->next_block * run->block_size;
        if (rc == BOUGH_OK)
            rc = bough__report_progress(run->fill->options, done < run->size_bytes ? done : run->size_bytes,
                                        run->size_bytes);
    }
    if (rc == BOUGH_OK)
        rc = take_gap(run, run->block_count);
    bough__intake_end(intake);
    return rc;
}

/* ---- the whole ---- */

static int count_block(void *context, uint64_t block, const struct bough__entry *entry)
{
    uint64_t *count = context;
    (void)block;
    (void)entry;
    (*count)++;
    return BOUGH_OK;
}

/* Pages of the base that lie beyond the new end are changes, too. */
static int count_removed(struct run *run)
{
    uint64_t base_count = bough__block_count(run->fill->base.size_bytes, run->fill->base.block_size);
    if (!run->has_base || base_count <= run->block_count)
        return BOUGH_OK;
    return bough__map_walk(run->fill->space->nodes, &run->fill->base, run->block_count, count_block,
                           &run->fill->changed_pages);
}

static void start_run(struct run *run, struct bough__fill *fill, const struct bough__source *source,
                      uint32_t block_size)
{
    uint64_t base_count = bough__block_count(fill->base.size_bytes, fill->base.block_size);
    *run = (struct run){.fill = fill, .size_bytes = source->size_bytes, .block_size = block_size};
    run->block_count = bough__block_count(source->size_bytes, block_size);
    run->has_base = base_count > 0 && fill->base.block_size == block_size;
    if (run->has_base) {
        run->tree = fill->base;
        run->keep_blocks = base_count < run->block_count ? base_count : run->block_count;
    }
}

/* Equal bytes may lie in blocks of another size, where storing them anew did not succeed (reblock.c). */
static int probe(bool *out_equal, struct bough__fill *fill, struct bough__source *source)
{
    struct run run;
    *out_equal = false;
    if (fill->base.size_bytes != source->size_bytes || fill->base.block_size == source->page_size)
        return BOUGH_OK;
    start_run(&run, fill, source, fill->base.block_size);
    run.is_probe = true;
    int rc = take_all(&run, source);
    *out_equal = rc == BOUGH_OK;
    return rc == DIFFERS ? BOUGH_OK : rc;
}

static int store_all(struct run *run, struct bough__source *source)
{
    run->changes = bough__alloc(BATCH_SIZE * sizeof *run->changes);
    if (!run->changes)
        return BOUGH_NOMEM;
    int rc = take_all(run, source);
    if (rc == BOUGH_OK &&
        (run->count || run->tree.size_bytes != run->size_bytes || run->tree.block_size != run->block_size))
        rc = fold_changes(run);
    if (rc == BOUGH_OK)
        rc = count_removed(run);
    /* Frames first: nothing durable may refer to what is not. */
    if (rc == BOUGH_OK && run->fill->filler)
        rc = bough__filler_sync(run->fill->filler);
    if (rc == BOUGH_OK && run->appender)
        rc = bough__appender_sync(run->appender);
    return rc;
}

int bough__fill_run(struct bough__fill *fill, struct bough__source *source)
{
    struct run run = {0};
    int rc = BOUGH_OK;
    fill->is_equal = source->size_bytes == 0 && fill->base.size_bytes == 0;
    fill->tree = fill->base;
    if (!fill->is_equal && source->size_bytes > 0)
        rc = probe(&fill->is_equal, fill, source);
    if (rc == BOUGH_OK && !fill->is_equal && source->size_bytes > 0) {
        start_run(&run, fill, source, source->page_size);
        rc = store_all(&run, source);
        fill->tree = run.tree;
        fill->is_equal = run.has_base && fill->changed_pages == 0 && fill->base.size_bytes == fill->tree.size_bytes;
        if (!run.has_base)
            fill->changed_pages = run.block_count;
    } else if (rc == BOUGH_OK && !fill->is_equal) {
        /* Now of 0 bytes; the page size is whatever the first write brings. */
        fill->changed_pages = bough__block_count(fill->base.size_bytes, fill->base.block_size);
        memset(&fill->tree, 0, sizeof fill->tree);
    }
    if (rc == BOUGH_OK && source->finish)
        rc = source->finish(source->context);
    fill->stored_bytes = run.appender ? bough__appender_count(run.appender) * BOUGH__NODE_SIZE : 0;
    fill->stored_bytes += fill->filler ? bough__filler_bytes(fill->filler) : 0;
    fill->appender = run.appender;
    free(run.changes);
    return rc;
}

void bough__fill_end(struct bough__fill *fill, bool keep)
{
    struct bough__error_state error;
    bough__error_save(&error);
    if (fill->filler)
        bough__filler_end(fill->filler, keep);
    fill->filler = NULL;
    bough__appender_end(fill->appender);
    fill->appender = NULL;
    bough__error_restore(&error);
}
