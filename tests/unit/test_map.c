/* test_map.c - page maps against a plain array of entries. */
#include "bough.h"
#include "codec.h"
#include "harness.h"
#include "map.h"
#include "nodes.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 512
#define KEEP_ALL UINT64_MAX

static struct bough__files *files;
static struct bough__nodes *nodes;

static void open_nodes(void)
{
    mkdir(harness_path("nodes"), 0755);
    ASSERT_OK(bough__files_open(&files, harness_directory()));
    ASSERT_OK(bough__nodes_open(&nodes, files, harness_directory(), 42, 0644));
}

static void close_nodes(void)
{
    bough__nodes_close(nodes);
    bough__files_close(files);
}

/* check notes every assertion in a file; this one is for those that run for every block. */
#define EXPECT(condition)                                                     \
    do {                                                                      \
        if (!(condition))                                                     \
            ck_abort_msg("%s:%d: %s is not so", __FILE__, __LINE__, #condition); \
    } while (0)

/* ---- the model: a state as an array ---- */

struct model {
    uint64_t size_bytes, blocks;
    struct bough__entry *entries;
    struct bough__tree tree;
};

/* The page that has this content; place follows from where. */
static struct bough__entry entry_of(uint64_t content, uint64_t where)
{
    struct bough__entry entry = {0};
    if (content == 0)
        return entry;
    ASSERT_OK(bough__sha256(entry.digest, &content, sizeof content));
    entry.layer = (uint32_t)(where % 5) + 1;
    entry.frame = where;
    entry.birth = where / 3;
    entry.sum = bough__xxh(&where, sizeof where, 0);
    return entry;
}

static bool same_entry(const struct bough__entry *a, const struct bough__entry *b)
{
    return a->layer == b->layer && a->frame == b->frame && a->birth == b->birth && a->sum == b->sum &&
           memcmp(a->digest, b->digest, BOUGH__DIGEST_SIZE) == 0;
}

static const struct bough__entry *model_entry(const struct model *model, uint64_t block)
{
    static const struct bough__entry zero;
    return block < model->blocks ? &model->entries[block] : &zero;
}

static bool same_content(const struct model *a, const struct model *b, uint64_t block)
{
    return memcmp(model_entry(a, block)->digest, model_entry(b, block)->digest, BOUGH__DIGEST_SIZE) == 0;
}

/* The digest of a node as map.h words it, straight from the array. */
static void model_digest(uint8_t *out, const struct model *model, unsigned level, uint64_t base)
{
    uint8_t text[14 + 64 * BOUGH__DIGEST_SIZE] = "bough node 1\n", any = 0;
    uint64_t span = 1;
    for (unsigned i = 1; i < level; i++)
        span *= 64;
    text[13] = (uint8_t)level;
    for (uint64_t i = 0; i < 64; i++) {
        uint8_t *digest = text + 14 + i * BOUGH__DIGEST_SIZE;
        if (base + i * span >= model->blocks)
            continue;
        if (level == 1)
            memcpy(digest, model_entry(model, base + i)->digest, BOUGH__DIGEST_SIZE);
        else
            model_digest(digest, model, level - 1, base + i * span);
        for (unsigned k = 0; k < BOUGH__DIGEST_SIZE; k++)
            any |= digest[k];
    }
    memset(out, 0, BOUGH__DIGEST_SIZE);
    if (any)
        ASSERT_OK(bough__sha256(out, text, sizeof text));
}

static unsigned model_depth(uint64_t blocks)
{
    unsigned depth = 0;
    for (uint64_t room = 1; blocks > 0 && (depth == 0 || room < blocks); depth++)
        room *= 64;
    return depth;
}

static int expect_walked(void *context, uint64_t block, const struct bough__entry *entry)
{
    struct {
        const struct model *model;
        uint64_t next;
    } *walk = context;
    EXPECT(block >= walk->next && block < walk->model->blocks);
    while (walk->next < block)
        EXPECT(walk->model->entries[walk->next++].layer == 0);
    EXPECT(same_entry(entry, &walk->model->entries[block]));
    EXPECT(entry->layer != 0);
    walk->next = block + 1;
    return 0;
}

static void expect_walk(const struct model *model, uint64_t first)
{
    struct {
        const struct model *model;
        uint64_t next;
    } walk = {model, first};
    ASSERT_OK(bough__map_walk(nodes, &model->tree, first, expect_walked, &walk));
    while (walk.next < model->blocks)
        EXPECT(model->entries[walk.next++].layer == 0);
}

static void expect_model(const struct model *model)
{
    uint8_t digest[BOUGH__DIGEST_SIZE] = {0};
    if (model->blocks > 0)
        model_digest(digest, model, model_depth(model->blocks), 0);
    ck_assert_mem_eq(digest, model->tree.digest, sizeof digest);
    ck_assert_uint_eq(model->tree.size_bytes, model->size_bytes);
    struct bough__entry entry, place;
    for (uint64_t block = 0; block < model->blocks + 130; block++) {
        ASSERT_OK(bough__map_lookup(&entry, nodes, &model->tree, block));
        EXPECT(same_entry(&entry, model_entry(model, block)));
        ASSERT_OK(bough__map_place(&place, nodes, &model->tree, block));
        EXPECT(place.layer == entry.layer && place.frame == entry.frame && place.sum == entry.sum);
    }
    expect_walk(model, 0);
    expect_walk(model, model->blocks / 2);
}

static int expect_different(void *context, uint64_t block, const struct bough__entry *x, const struct bough__entry *y)
{
    struct {
        const struct model *a, *b;
        uint64_t next;
    } *diff = context;
    EXPECT(block >= diff->next);
    for (; diff->next < block; diff->next++)
        EXPECT(same_content(diff->a, diff->b, diff->next));
    EXPECT(same_entry(x, model_entry(diff->a, block)));
    EXPECT(same_entry(y, model_entry(diff->b, block)));
    EXPECT(!same_content(diff->a, diff->b, block));
    diff->next = block + 1;
    return 0;
}

static void expect_diff(const struct model *a, const struct model *b)
{
    struct {
        const struct model *a, *b;
        uint64_t next;
    } diff = {a, b, 0};
    ASSERT_OK(bough__map_diff(nodes, &a->tree, &b->tree, expect_different, &diff));
    uint64_t end = a->blocks > b->blocks ? a->blocks : b->blocks;
    for (; diff.next < end; diff.next++)
        EXPECT(same_content(a, b, diff.next));
}

/* Folds the changes into tree and array. *out_stored: nodes written. */
static struct model fold(uint64_t *out_stored, const struct model *old, const struct bough__change *changes,
                         size_t count, uint64_t keep_blocks, uint64_t size_bytes)
{
    struct model next = {.size_bytes = size_bytes, .blocks = (size_bytes + BLOCK - 1) / BLOCK};
    struct bough__appender *appender = NULL;
    ASSERT_OK(bough__appender_begin(&appender, nodes));
    ASSERT_OK(bough__map_fold(&next.tree, nodes, appender, &old->tree, changes, count, keep_blocks, size_bytes, BLOCK,
                              UINT64_MAX));
    if (out_stored)
        *out_stored = bough__appender_count(appender);
    ASSERT_OK(bough__appender_sync(appender));
    bough__appender_end(appender);
    next.entries = calloc(next.blocks + 1, sizeof *next.entries);
    ck_assert_ptr_nonnull(next.entries);
    for (uint64_t i = 0; i < next.blocks && i < keep_blocks; i++)
        next.entries[i] = *model_entry(old, i);
    for (size_t i = 0; i < count; i++) {
        struct bough__entry *entry = &next.entries[changes[i].block];
        if (memcmp(entry->digest, changes[i].entry.digest, BOUGH__DIGEST_SIZE) != 0)
            *entry = changes[i].entry;
    }
    return next;
}

/* The tree alone, for states that no array can hold. */
static struct bough__tree fold_tree(uint64_t *out_stored, const struct bough__tree *old,
                                    const struct bough__change *changes, size_t count, uint64_t size_bytes)
{
    struct bough__appender *appender = NULL;
    struct bough__tree tree;
    ASSERT_OK(bough__appender_begin(&appender, nodes));
    ASSERT_OK(bough__map_fold(&tree, nodes, appender, old, changes, count, KEEP_ALL, size_bytes, BLOCK, UINT64_MAX));
    *out_stored = bough__appender_count(appender);
    ASSERT_OK(bough__appender_sync(appender));
    bough__appender_end(appender);
    return tree;
}

static void expect_same_tree(const struct bough__tree *a, const struct bough__tree *b)
{
    uint8_t x[BOUGH__TREE_BYTES], y[BOUGH__TREE_BYTES];
    bough__tree_encode(x, a);
    bough__tree_encode(y, b);
    ck_assert_mem_eq(x, y, sizeof x);
}

static void clear(struct model *model)
{
    free(model->entries);
    *model = (struct model){0};
}

/* A state of `blocks` pages with content seed + block. */
static struct model filled(uint64_t blocks, uint64_t seed)
{
    struct model empty = {0};
    struct bough__change *changes = calloc(blocks + 1, sizeof *changes);
    ck_assert_ptr_nonnull(changes);
    for (uint64_t i = 0; i < blocks; i++)
        changes[i] = (struct bough__change){i, entry_of(seed + i, seed + i)};
    struct model model = fold(NULL, &empty, changes, blocks, 0, blocks * BLOCK);
    free(changes);
    return model;
}

static const uint64_t edges[] = {0, 1, 2, 63, 64, 65, 4032, 4095, 4096, 4097, 4160, 8192, 20000};

/* ---- shape ---- */

TEST(depth_and_count)
{
    static const struct {
        uint64_t blocks;
        unsigned depth;
    } table[] = {{0, 0},      {1, 1},      {64, 1},      {65, 2},      {4096, 2},      {4097, 3},
                 {262144, 3}, {262145, 4}, {1 << 24, 4}, {1 << 30, 5}, {(1 << 30) + 1, 6}, {UINT64_C(1) << 32, 6}};
    for (size_t i = 0; i < COUNT_OF(table); i++)
        ck_assert_uint_eq(bough__map_depth(table[i].blocks), table[i].depth);
    ck_assert_uint_eq(bough__block_count(0, 0), 0);
    ck_assert_uint_eq(bough__block_count(0, 512), 0);
    ck_assert_uint_eq(bough__block_count(1, 512), 1);
    ck_assert_uint_eq(bough__block_count(512, 512), 1);
    ck_assert_uint_eq(bough__block_count(513, 512), 2);
    ck_assert_uint_eq(bough__block_count(UINT64_MAX, 512), UINT64_C(1) << 55);
}

TEST(every_size_folded_at_once)
{
    open_nodes();
    for (size_t i = 0; i < COUNT_OF(edges); i++) {
        struct model model = filled(edges[i], 7);
        expect_model(&model);
        clear(&model);
    }
    close_nodes();
}

TEST(grows_and_shrinks_between_all_sizes)
{
    open_nodes();
    for (size_t i = 0; i < COUNT_OF(edges); i++) {
        struct model from = filled(edges[i], 7);
        for (size_t k = 0; k < COUNT_OF(edges); k++) {
            struct model to = fold(NULL, &from, NULL, 0, KEEP_ALL, edges[k] * BLOCK);
            expect_model(&to);
            expect_diff(&from, &to);
            /* What was cut off does not come back, and what was kept is the very state it was. */
            struct model back = fold(NULL, &to, NULL, 0, edges[k], edges[i] * BLOCK);
            expect_model(&back);
            if (edges[k] >= edges[i])
                ck_assert_mem_eq(back.tree.digest, from.tree.digest, BOUGH__DIGEST_SIZE);
            clear(&to);
            clear(&back);
        }
        clear(&from);
    }
    close_nodes();
}

TEST(an_old_state_can_be_cut_while_it_grows)
{
    open_nodes();
    struct model from = filled(5000, 7);
    for (size_t i = 0; i < COUNT_OF(edges); i++) {
        struct bough__change change = {edges[i] + 3, entry_of(99, 99)};
        struct model to = fold(NULL, &from, &change, 1, edges[i], 70000 * BLOCK);
        expect_model(&to);
        expect_diff(&to, &from);
        clear(&to);
    }
    clear(&from);
    close_nodes();
}

TEST(random_histories)
{
    open_nodes();
    enum { KEPT = 4 };
    struct model kept[KEPT] = {{0}};
    uint64_t seed = harness_number("BOUGH_TEST_SEED", 11), turns = harness_number("BOUGH_TEST_TURNS", 100);
    struct harness_random random = {seed};
    struct bough__change *changes = calloc(20000, sizeof *changes);
    for (uint64_t turn = 0; turn < turns; turn++) {
        struct model *old = &kept[harness_below(&random, KEPT)], *slot = &kept[turn % KEPT];
        uint64_t blocks = old->blocks;
        if (harness_below(&random, 3) == 0)
            blocks = edges[harness_below(&random, COUNT_OF(edges))];
        else if (harness_below(&random, 2) == 0)
            blocks = harness_below(&random, 20001);
        uint64_t size = blocks * BLOCK, keep = KEEP_ALL;
        if (blocks > 0 && harness_below(&random, 3) == 0)
            size -= harness_below(&random, BLOCK);
        if (harness_below(&random, 4) == 0)
            keep = harness_below(&random, old->blocks + 2);
        uint64_t step = harness_below(&random, 2) ? 1 + harness_below(&random, 5) : 1 + harness_below(&random, 3000);
        size_t count = 0;
        for (uint64_t b = harness_below(&random, step); b < blocks; b += 1 + harness_below(&random, 2 * step)) {
            /* Few contents, so that equal pages meet. */
            changes[count].block = b;
            changes[count++].entry = entry_of(harness_below(&random, 4), harness_next(&random));
        }
        struct model next = fold(NULL, old, changes, count, keep, size);
        expect_model(&next);
        expect_diff(old, &next);
        expect_diff(&next, &kept[harness_below(&random, KEPT)]);
        clear(slot);
        *slot = next;
    }
    for (size_t i = 0; i < KEPT; i++)
        clear(&kept[i]);
    free(changes);
    close_nodes();
}

TEST(equal_content_has_one_digest)
{
    open_nodes();
    struct model at_once = filled(5000, 7), bit_by_bit = {0};
    uint8_t a[BOUGH__DIGEST_SIZE], b[BOUGH__DIGEST_SIZE];
    for (uint64_t blocks = 1; blocks <= 5000; blocks = blocks < 5000 && blocks * 3 > 5000 ? 5000 : blocks * 3) {
        /* From the other places, by way of a longer state, in small steps. */
        struct model longer = fold(NULL, &bit_by_bit, NULL, 0, KEEP_ALL, blocks * 70 * BLOCK);
        clear(&bit_by_bit);
        struct bough__change *changes = calloc(blocks, sizeof *changes);
        for (uint64_t i = 0; i < blocks; i++)
            changes[i] = (struct bough__change){i, entry_of(7 + i, 1000000 + i)};
        bit_by_bit = fold(NULL, &longer, changes, blocks, KEEP_ALL, blocks * BLOCK);
        free(changes);
        clear(&longer);
        if (blocks == 5000)
            break;
    }
    ck_assert_uint_eq(bit_by_bit.blocks, 5000);
    ASSERT_OK(bough__root_id(a, &at_once.tree));
    ASSERT_OK(bough__root_id(b, &bit_by_bit.tree));
    ck_assert_mem_eq(a, b, sizeof a);
    expect_diff(&at_once, &bit_by_bit);
    clear(&at_once);
    clear(&bit_by_bit);
    close_nodes();
}

TEST(the_root_tells_sizes_apart)
{
    uint8_t roots[4][BOUGH__DIGEST_SIZE], by_hand[BOUGH__DIGEST_SIZE];
    struct bough__tree trees[4] = {{.size_bytes = 0}, {.block_size = 512}, {.size_bytes = 511, .block_size = 512},
                                   {.size_bytes = 512, .block_size = 512}};
    for (size_t i = 0; i < COUNT_OF(trees); i++) {
        ASSERT_OK(bough__root_id(roots[i], &trees[i]));
        for (size_t k = 0; k < i; k++)
            ck_assert_mem_ne(roots[i], roots[k], BOUGH__DIGEST_SIZE);
    }
    uint8_t text[13 + 12 + 32] = "bough root 1\n\0\2\0\0\0\0\0\0\0\2\0";
    ASSERT_OK(bough__sha256(by_hand, text, sizeof text));
    ck_assert_mem_eq(by_hand, roots[3], sizeof by_hand);
}

/* ---- sharing ---- */

TEST(what_does_not_change_is_shared)
{
    open_nodes();
    uint64_t stored = 0;
    struct model from = filled(20000, 7);
    struct model same = fold(&stored, &from, NULL, 0, KEEP_ALL, from.size_bytes);
    ck_assert_uint_eq(stored, 0);
    expect_same_tree(&same.tree, &from.tree);
    clear(&same);
    struct bough__change changes[] = {{100, from.entries[100]}, {15000, from.entries[15000]}};
    same = fold(&stored, &from, changes, 2, KEEP_ALL, from.size_bytes);
    ck_assert_uint_eq(stored, 0);
    clear(&same);
    changes[0].entry = entry_of(1, 1);
    same = fold(&stored, &from, changes, 2, KEEP_ALL, from.size_bytes);
    ck_assert_uint_eq(stored, 3);
    expect_model(&same);
    clear(&same);
    same = fold(&stored, &from, NULL, 0, KEEP_ALL, from.size_bytes + 100 * BLOCK);
    ck_assert_uint_eq(stored, 0);
    clear(&same);
    same = fold(&stored, &from, NULL, 0, KEEP_ALL, (uint64_t)300000 * BLOCK);
    ck_assert_uint_eq(stored, 1); /* one level more */
    clear(&same);
    clear(&from);
    close_nodes();
}

TEST(an_equal_page_stays_where_it_was)
{
    open_nodes();
    struct model from = filled(200, 7);
    struct bough__change change = {70, entry_of(77, 12345)};
    ck_assert_mem_eq(change.entry.digest, from.entries[70].digest, BOUGH__DIGEST_SIZE);
    uint64_t stored = 0;
    struct model moved = fold(&stored, &from, &change, 1, KEEP_ALL, from.size_bytes);
    ck_assert_uint_eq(stored, 0);
    expect_model(&moved);
    expect_same_tree(&from.tree, &moved.tree);
    clear(&moved);
    /* Also when the page beside it changes, and not when the old page was cut off. */
    struct bough__change both[] = {{70, change.entry}, {71, entry_of(1, 1)}};
    struct bough__entry entry;
    moved = fold(&stored, &from, both, 2, KEEP_ALL, from.size_bytes);
    ck_assert_uint_eq(stored, 2);
    ASSERT_OK(bough__map_lookup(&entry, nodes, &moved.tree, 70));
    ck_assert_uint_eq(entry.frame, 77);
    clear(&moved);
    moved = fold(&stored, &from, &change, 1, 70, from.size_bytes);
    ASSERT_OK(bough__map_lookup(&entry, nodes, &moved.tree, 70));
    ck_assert_uint_eq(entry.frame, 12345);
    clear(&moved);
    clear(&from);
    close_nodes();
}

TEST(zeros_take_no_nodes)
{
    open_nodes();
    uint64_t stored = 0, size_bytes = UINT64_C(1) << 41;
    struct bough__tree empty = {0};
    struct bough__tree zeros = fold_tree(&stored, &empty, NULL, 0, size_bytes);
    ck_assert_uint_eq(stored, 0);
    ck_assert_uint_eq(zeros.top.file, 0);
    struct bough__change change = {(UINT64_C(1) << 32) - 1, entry_of(1, 1)};
    struct bough__tree one = fold_tree(&stored, &zeros, &change, 1, size_bytes);
    ck_assert_uint_eq(stored, 6);
    struct bough__entry entry;
    ASSERT_OK(bough__map_lookup(&entry, nodes, &one, change.block));
    ck_assert(same_entry(&entry, &change.entry));
    ASSERT_OK(bough__map_lookup(&entry, nodes, &one, change.block - 1));
    ck_assert_uint_eq(entry.layer, 0);
    change.entry = (struct bough__entry){0};
    struct bough__tree none = fold_tree(&stored, &one, &change, 1, size_bytes);
    ck_assert_uint_eq(stored, 0);
    expect_same_tree(&none, &zeros);
    close_nodes();
}

/* ---- refusals ---- */

static int try_fold(const struct bough__tree *old, const struct bough__change *changes, size_t count, uint64_t keep,
                    uint64_t size_bytes, uint32_t block_size)
{
    struct bough__appender *appender = NULL;
    struct bough__tree out;
    memset(&out, 0x5a, sizeof out);
    ASSERT_OK(bough__appender_begin(&appender, nodes));
    int rc = bough__map_fold(&out, nodes, appender, old, changes, count, keep, size_bytes, block_size, UINT64_MAX);
    if (rc != BOUGH_OK) {
        ck_assert_uint_eq(bough__appender_count(appender), 0);
        ck_assert_uint_eq(out.block_size, 0x5a5a5a5a);
    }
    bough__appender_end(appender);
    return rc;
}

TEST(wrong_usage_is_refused)
{
    open_nodes();
    struct model from = filled(100, 7);
    struct bough__change changes[] = {{5, entry_of(1, 1)}, {6, entry_of(2, 2)}};
    ASSERT_OK(try_fold(&from.tree, changes, 2, KEEP_ALL, 100 * BLOCK, BLOCK));
    ASSERT_OK(try_fold(&from.tree, changes, 2, 0, 7 * 1024, 1024));
    ASSERT_CODE(BOUGH_USAGE, try_fold(&from.tree, changes, 2, 1, 7 * 1024, 1024));
    ASSERT_CODE(BOUGH_USAGE, try_fold(&from.tree, changes, 2, KEEP_ALL, 6 * BLOCK, BLOCK));
    ASSERT_CODE(BOUGH_USAGE, try_fold(&from.tree, changes, 2, KEEP_ALL, 100 * 600, 600));
    ASSERT_CODE(BOUGH_USAGE, try_fold(&from.tree, NULL, 0, 0, 100, 0));
    ASSERT_CODE(BOUGH_USAGE, try_fold(&from.tree, NULL, 0, KEEP_ALL, (UINT64_C(1) << 41) + 1, BLOCK));
    ASSERT_OK(try_fold(&from.tree, NULL, 0, KEEP_ALL, UINT64_C(1) << 41, BLOCK));
    changes[1].block = 5;
    ASSERT_CODE(BOUGH_USAGE, try_fold(&from.tree, changes, 2, KEEP_ALL, 100 * BLOCK, BLOCK));
    changes[1].block = 4;
    ASSERT_CODE(BOUGH_USAGE, try_fold(&from.tree, changes, 2, KEEP_ALL, 100 * BLOCK, BLOCK));
    changes[1] = (struct bough__change){7, {.frame = 3}};
    ASSERT_CODE(BOUGH_USAGE, try_fold(&from.tree, changes, 2, KEEP_ALL, 100 * BLOCK, BLOCK));
    changes[1].entry.layer = 3;
    ASSERT_CODE(BOUGH_USAGE, try_fold(&from.tree, changes, 2, KEEP_ALL, 100 * BLOCK, BLOCK));
    struct bough__tree other = {.size_bytes = 1024, .block_size = 1024};
    ASSERT_CODE(BOUGH_USAGE, bough__map_diff(nodes, &from.tree, &other, expect_different, NULL));
    clear(&from);
    close_nodes();
}

TEST(encoded_trees)
{
    open_nodes();
    struct model from = filled(100, 7);
    uint8_t bytes[BOUGH__TREE_BYTES], bad[BOUGH__TREE_BYTES];
    struct bough__tree back, empty = {0};
    bough__tree_encode(bytes, &from.tree);
    ASSERT_OK(bough__tree_decode(&back, bytes));
    expect_same_tree(&back, &from.tree);
    static const struct {
        size_t at, len;
        uint8_t with;
    } damage[] = {{8, 4, 0}, {8, 1, 1}, {6, 1, 9}, {12, 4, 0}, {16, 4, 0}, {18, 1, 4}, {20, 32, 0}, {0, 8, 0}};
    for (size_t i = 0; i < COUNT_OF(damage); i++) {
        memcpy(bad, bytes, sizeof bad);
        memset(bad + damage[i].at, damage[i].with, damage[i].len);
        ASSERT_CODE(BOUGH_CORRUPT, bough__tree_decode(&back, bad));
    }
    bough__tree_encode(bytes, &empty);
    ASSERT_OK(bough__tree_decode(&back, bytes));
    expect_same_tree(&back, &empty);
    clear(&from);
    close_nodes();
}

static int stop_at_third(void *context, uint64_t block, const struct bough__entry *a, const struct bough__entry *b)
{
    (void)block, (void)a, (void)b;
    return ++*(int *)context == 3 ? 77 : 0;
}

static int stop_walk_at_third(void *context, uint64_t block, const struct bough__entry *entry)
{
    return stop_at_third(context, block, entry, entry);
}

TEST(callbacks_can_stop)
{
    open_nodes();
    struct model from = filled(5000, 7), other = filled(5000, 9000);
    int calls = 0;
    ck_assert_int_eq(bough__map_diff(nodes, &from.tree, &other.tree, stop_at_third, &calls), 77);
    ck_assert_int_eq(calls, 3);
    calls = 0;
    ck_assert_int_eq(bough__map_walk(nodes, &from.tree, 63, stop_walk_at_third, &calls), 77);
    ck_assert_int_eq(calls, 3);
    clear(&from);
    clear(&other);
    close_nodes();
}

/* ---- damage ---- */

struct found {
    uint64_t pages, damaged, skipped;
    bool skip;
    char where[128], what[512];
};

static bool visited(void *context, struct bough__node_ref ref)
{
    struct found *found = context;
    EXPECT(ref.file != 0);
    found->skipped += found->skip;
    return found->skip;
}

static int count_page(void *context, uint64_t block, const struct bough__entry *entry)
{
    (void)block;
    EXPECT(entry->layer != 0);
    ((struct found *)context)->pages++;
    return 0;
}

static int count_damage(void *context, const char *where, const char *what)
{
    struct found *found = context;
    found->damaged++;
    snprintf(found->where, sizeof found->where, "%s", where);
    snprintf(found->what, sizeof found->what, "%s", what);
    return 0;
}

static struct found check(const struct bough__tree *tree, bool skip)
{
    struct found found = {.skip = skip};
    struct bough__map_check caller = {&found, visited, count_page, count_damage, 0};
    ASSERT_OK(bough__map_check(nodes, tree, &caller));
    return found;
}

/* Changes bytes of a node's body and gives it a valid checksum again. */
static void forge(struct bough__node_ref ref, size_t at, const void *bytes, size_t len_bytes)
{
    char name[64];
    size_t len = 0;
    snprintf(name, sizeof name, "nodes/%u.nodes", ref.file);
    uint8_t *all = harness_read_file(harness_path(name), &len), *cell = all + ref.index * (size_t)BOUGH__NODE_SIZE;
    memcpy(cell + at, bytes, len_bytes);
    bough__put64(cell + 8, bough__xxh(cell + 16, BOUGH__NODE_SIZE - 16, 42));
    harness_write_file(harness_path(name), all, len);
    free(all);
}

TEST(check_of_a_sound_tree)
{
    open_nodes();
    struct model from = filled(5000, 7), empty = {0};
    struct found found = check(&from.tree, false);
    ck_assert_uint_eq(found.pages, 5000);
    ck_assert_uint_eq(found.damaged, 0);
    found = check(&from.tree, true);
    ck_assert_uint_eq(found.pages, 0);
    ck_assert_uint_eq(found.skipped, 1);
    ck_assert_uint_eq(found.damaged, 0);
    ck_assert_uint_eq(check(&empty.tree, false).pages, 0);
    clear(&from);
    close_nodes();
}

TEST(check_goes_on_after_damage)
{
    open_nodes();
    struct model from = filled(5000, 7);
    struct bough__node top;
    ASSERT_OK(bough__nodes_read(&top, nodes, from.tree.top));
    ck_assert_uint_eq(top.level, 3);
    struct bough__node middle;
    ASSERT_OK(bough__nodes_read(&middle, nodes, top.children[0].ref));
    /* Two leaves: one is rotten, one is another page's with a valid checksum. */
    char byte = 1;
    int fd = open(harness_path("nodes/1.nodes"), O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)middle.children[3].ref.index * BOUGH__NODE_SIZE + 300), 1);
    close(fd);
    forge(middle.children[9].ref, 256 + 28, "forged", 6);
    struct found found = check(&from.tree, false);
    ck_assert_uint_eq(found.damaged, 2);
    ck_assert_uint_eq(found.pages, 5000 - 128);
    char where[64];
    snprintf(where, sizeof where, "nodes/1.nodes node %u", middle.children[9].ref.index);
    ck_assert_str_eq(found.where, where);
    ck_assert_ptr_nonnull(strstr(found.what, "digest"));
    /* A lookup finds the rot and says where; it cannot see the forgery. */
    struct bough__entry entry;
    close_nodes();
    open_nodes();
    ASSERT_CODE(BOUGH_CORRUPT, bough__map_lookup(&entry, nodes, &from.tree, 3 * 64 + 1));
    snprintf(where, sizeof where, "nodes/1.nodes: node %u ", middle.children[3].ref.index);
    ck_assert_ptr_nonnull(strstr(bough_error_message(), where));
    ASSERT_OK(bough__map_lookup(&entry, nodes, &from.tree, 4 * 64));
    /* Below a parent that was seen before, the digest is compared all the same. */
    struct bough__tree liar = from.tree;
    liar.digest[0] ^= 1;
    found = check(&liar, true);
    ck_assert_uint_eq(found.damaged, 1);
    clear(&from);
    close_nodes();
}

TEST(nodes_of_the_wrong_level_and_beyond_the_end)
{
    open_nodes();
    struct model from = filled(5000, 7);
    struct bough__node top, middle;
    struct bough__entry entry;
    ASSERT_OK(bough__nodes_read(&top, nodes, from.tree.top));
    ASSERT_OK(bough__nodes_read(&middle, nodes, top.children[0].ref));
    /* A tree whose size makes it higher or lower than its top node is. */
    struct bough__tree wrong = from.tree;
    for (unsigned i = 0; i < 3; i++) {
        static const uint64_t sizes[] = {300000 * BLOCK, 4096 * BLOCK, 64 * BLOCK};
        wrong.size_bytes = sizes[i];
        ASSERT_CODE(BOUGH_CORRUPT, bough__map_lookup(&entry, nodes, &wrong, 5));
        ASSERT_CODE(BOUGH_CORRUPT, bough__map_walk(nodes, &wrong, 0, count_page, &(struct found){0}));
        ASSERT_CODE(BOUGH_CORRUPT, bough__map_diff(nodes, &wrong, &(struct bough__tree){0}, stop_at_third, &(int){9}));
        ASSERT_CODE(BOUGH_CORRUPT, try_fold(&wrong, (struct bough__change[]){{5, entry_of(1, 1)}}, 1, KEEP_ALL,
                                            wrong.size_bytes, BLOCK));
        ck_assert_uint_eq(check(&wrong, false).damaged, 1);
    }
    /* Pages at or beyond the end. */
    wrong.size_bytes = 4999 * BLOCK;
    int calls = -1000000;
    ASSERT_CODE(BOUGH_CORRUPT, bough__map_walk(nodes, &wrong, 0, stop_walk_at_third, &calls));
    ck_assert_int_eq(calls, -1000000 + 4992);
    ASSERT_CODE(BOUGH_CORRUPT, bough__map_diff(nodes, &wrong, &(struct bough__tree){0}, stop_at_third, &calls));
    ck_assert_uint_eq(check(&wrong, false).damaged, 1);
    ASSERT_OK(bough__map_lookup(&entry, nodes, &wrong, 4999));
    ck_assert_uint_eq(entry.layer, 0);
    /* A leaf where an inner node should be: lookups must not take digests for places. */
    uint8_t place[8];
    bough__put32(place, middle.children[5].ref.file);
    bough__put32(place + 4, middle.children[5].ref.index);
    forge(from.tree.top, 256 + 40, place, sizeof place);
    close_nodes();
    open_nodes();
    ASSERT_CODE(BOUGH_CORRUPT, bough__map_lookup(&entry, nodes, &from.tree, 4096 + 5));
    ASSERT_OK(bough__map_lookup(&entry, nodes, &from.tree, 5));
    clear(&from);
    close_nodes();
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(depth_and_count),
        CASE(every_size_folded_at_once),
        CASE(grows_and_shrinks_between_all_sizes),
        CASE(an_old_state_can_be_cut_while_it_grows),
        CASE(random_histories),
        CASE(equal_content_has_one_digest),
        CASE(the_root_tells_sizes_apart),
        CASE(what_does_not_change_is_shared),
        CASE(an_equal_page_stays_where_it_was),
        CASE(zeros_take_no_nodes),
        CASE(wrong_usage_is_refused),
        CASE(encoded_trees),
        CASE(callbacks_can_stop),
        CASE(check_of_a_sound_tree),
        CASE(check_goes_on_after_damage),
        CASE(nodes_of_the_wrong_level_and_beyond_the_end),
    };
    return harness_run("map", cases, COUNT_OF(cases));
}
