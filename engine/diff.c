/* diff.c - which pages differ between two states. */
#include "store.h"

#include "error.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

/* ---- counting between trees ---- */

struct count {
    uint64_t common_blocks; /* blocks that both sides have; differences beyond are counted from the sizes */
    uint64_t changed, limit;
};

#define STOPPED 1

static int count_block(void *context, uint64_t block, const struct bough__entry *a, const struct bough__entry *b)
{
    struct count *count = context;
    (void)a;
    (void)b;
    if (block >= count->common_blocks || (count->limit && count->changed >= count->limit))
        return STOPPED;
    count->changed++;
    return 0;
}

int bough__tree_count_changes(uint64_t *out, struct bough__space *space, const struct bough__tree *from,
                              const struct bough__tree *to, uint64_t limit)
{
    uint64_t from_count = bough__block_count(from->size_bytes, from->block_size);
    uint64_t to_count = bough__block_count(to->size_bytes, to->block_size);
    struct count count = {from_count < to_count ? from_count : to_count, 0, limit};
    *out = from_count + to_count;
    if (count.common_blocks == 0 || from->block_size != to->block_size)
        return BOUGH_OK;
    int rc = bough__map_diff(space->nodes, from, to, count_block, &count);
    if (rc != BOUGH_OK && rc != STOPPED)
        return rc;
    *out = limit && count.changed >= limit ? BOUGH__NOT_COUNTED
                                           : count.changed + from_count + to_count - 2 * count.common_blocks;
    return BOUGH_OK;
}

/* ---- pages of snapshots ---- */

struct page_walk {
    bough_page_diff *diff;
    uint64_t common_blocks;
    uint64_t ragged_block; /* a short last page of the shorter side; UINT64_MAX: none, or told */
    bough_page_callback *callback;
    void *context;
    int result; /* of the callback, when it stopped the walk */
};

/* 0, or STOPPED with the callback's result kept. */
static int tell(struct page_walk *walk, char kind, uint64_t block)
{
    if (walk->callback)
        walk->result = walk->callback(walk->context, kind, block + 1);
    return walk->result ? STOPPED : 0;
}

static int tell_changed(void *context, uint64_t block, const struct bough__entry *a, const struct bough__entry *b)
{
    struct page_walk *walk = context;
    (void)a;
    (void)b;
    if (block >= walk->common_blocks)
        return STOPPED;
    if (block == walk->ragged_block)
        walk->ragged_block = UINT64_MAX;
    walk->diff->changed++;
    return tell(walk, 'c', block);
}

static void tell_range(struct page_walk *walk, char kind, uint64_t first, uint64_t end)
{
    if (!walk->callback)
        return;
    for (uint64_t block = first; block < end; block++)
        if (tell(walk, kind, block) != 0)
            return;
}

/* Where one side ends within a page that the other goes on in, the page differs also when all its bytes are zeros. */
static uint64_t ragged_block(const struct bough__snapshot *a, const struct bough__snapshot *b)
{
    uint64_t shorter = a->size_bytes < b->size_bytes ? a->size_bytes : b->size_bytes;
    return a->size_bytes != b->size_bytes && shorter % a->block_size ? shorter / a->block_size : UINT64_MAX;
}

static int compare_blocks(struct page_walk *walk, const struct bough__snapshot *a, const struct bough__snapshot *b)
{
    uint64_t count_a = bough__block_count(a->size_bytes, a->block_size);
    uint64_t count_b = bough__block_count(b->size_bytes, b->block_size);
    walk->common_blocks = count_a < count_b ? count_a : count_b;
    walk->diff->removed = count_a - walk->common_blocks;
    walk->diff->added = count_b - walk->common_blocks;
    if (walk->common_blocks > 0) {
        walk->ragged_block = ragged_block(a, b);
        int rc = bough__snapshot_diff(a, b, tell_changed, walk);
        if (rc != BOUGH_OK && rc != STOPPED)
            return rc;
        if (walk->result == 0 && walk->ragged_block != UINT64_MAX) {
            walk->diff->changed++;
            tell(walk, 'c', walk->ragged_block);
        }
    }
    if (walk->result == 0)
        tell_range(walk, 'r', walk->common_blocks, count_a);
    if (walk->result == 0)
        tell_range(walk, 'a', walk->common_blocks, count_b);
    walk->diff->identical = walk->diff->changed + walk->diff->removed + walk->diff->added == 0;
    return walk->result;
}

/* ---- snapshots of different page sizes ---- */

static int read_span(uint8_t *out, const struct bough__snapshot *snapshot, uint64_t offset, uint32_t span_bytes)
{
    int rc = BOUGH_OK;
    for (uint32_t done = 0; rc == BOUGH_OK && done < span_bytes; done += snapshot->block_size)
        rc = bough__snapshot_read(snapshot, (offset + done) / snapshot->block_size, out + done, true);
    return rc;
}

/* Equal roots say nothing here, since a root covers the page size. Sizes are powers of two, so the larger is a whole
 * number of the smaller. */
static int compare_bytes(bool *out_equal, const struct bough__snapshot *a, const struct bough__snapshot *b)
{
    uint32_t span_bytes = a->block_size > b->block_size ? a->block_size : b->block_size;
    *out_equal = a->size_bytes == b->size_bytes;
    uint8_t *span_a = bough__alloc(span_bytes), *span_b = bough__alloc(span_bytes);
    int rc = span_a && span_b ? BOUGH_OK : BOUGH_NOMEM;
    for (uint64_t offset = 0; rc == BOUGH_OK && *out_equal && offset < a->size_bytes; offset += span_bytes) {
        rc = read_span(span_a, a, offset, span_bytes);
        if (rc == BOUGH_OK)
            rc = read_span(span_b, b, offset, span_bytes);
        *out_equal = memcmp(span_a, span_b, span_bytes) == 0;
    }
    free(span_a);
    free(span_b);
    return rc;
}

static int replace_all(struct page_walk *walk, const struct bough__snapshot *a, const struct bough__snapshot *b)
{
    int rc = compare_bytes(&walk->diff->identical, a, b);
    if (rc != BOUGH_OK || walk->diff->identical)
        return rc;
    walk->diff->removed = bough__block_count(a->size_bytes, a->block_size);
    walk->diff->added = bough__block_count(b->size_bytes, b->block_size);
    tell_range(walk, 'r', 0, walk->diff->removed);
    if (walk->result == 0)
        tell_range(walk, 'a', 0, walk->diff->added);
    return walk->result;
}

int bough__snapshot_count_changes(bough_page_diff *out, const struct bough__snapshot *a,
                                  const struct bough__snapshot *b, bough_page_callback *callback, void *context)
{
    struct page_walk walk = {out, 0, UINT64_MAX, callback, context, 0};
    memset(out, 0, sizeof *out);
    if (a->size_bytes && b->size_bytes && a->block_size != b->block_size)
        return replace_all(&walk, a, b);
    return compare_blocks(&walk, a, b);
}

/* ---- public ---- */

struct pinned {
    struct bough__target target;
    struct bough__layer *layer;
    struct bough__snapshot snapshot;
    bool is_pinned;
};

static int pin(struct pinned *out, bough_store *store, const char *ref)
{
    int rc = bough__target_resolve(&out->target, store, ref);
    if (rc == BOUGH_OK)
        rc = bough__target_pin(&out->snapshot, &out->layer, store, &out->target);
    out->is_pinned = rc == BOUGH_OK;
    return rc;
}

static void unpin(struct pinned *pinned)
{
    if (pinned->is_pinned)
        bough__snapshot_release(&pinned->snapshot);
    bough__layer_close(pinned->layer);
    bough__target_clear(&pinned->target);
}

int bough_diff_pages(bough_page_diff *out, bough_store *store, const char *ref_a, const char *ref_b,
                     bough_page_callback *callback, void *context)
{
    struct pinned a = {0}, b = {0};
    memset(out, 0, sizeof *out);
    int rc = pin(&a, store, ref_a);
    if (rc == BOUGH_OK)
        rc = pin(&b, store, ref_b);
    if (rc == BOUGH_OK)
        rc = bough__snapshot_count_changes(out, &a.snapshot, &b.snapshot, callback, context);
    unpin(&b);
    unpin(&a);
    return rc;
}
