/* map.c - lookup, fold, diff, walk and check of page maps; map.h says what a page map is.
 *
 * Everything here goes down the tree by links: a link is what a parent knows of a child, its place and its digest. Two
 * trees of different depth are brought to one height by virtual nodes above the top of the lower one: nodes that are
 * stored nowhere, whose child 0 is the next virtual node or the top and whose other children are zero.
 *
 * Nothing from disk is trusted. nodes.c has checked a node's form; here its level must be the one that its parent says,
 * and nothing may lie at or beyond the end of the tree. Recursion is six levels deep at most, with a node or two
 * on the stack at each, whatever the size of the database.
 */
#include "map.h"

#include "codec.h"
#include "error.h"
#include "nodes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FANOUT_BITS 6
#define INDEX_LIMIT (UINT32_C(1) << 18) /* cells of a node file */

struct link {
    struct bough__node_ref ref;
    uint8_t digest[BOUGH__DIGEST_SIZE];
    bool is_virtual;
};

static const struct link no_link;
static const struct bough__entry no_entry;

/* Blocks below one child of a node of that level. */
static uint64_t child_span(unsigned level)
{
    return UINT64_C(1) << (FANOUT_BITS * (level - 1));
}

static bool same_digest(const uint8_t a[BOUGH__DIGEST_SIZE], const uint8_t b[BOUGH__DIGEST_SIZE])
{
    return memcmp(a, b, BOUGH__DIGEST_SIZE) == 0;
}

uint64_t bough__block_count(uint64_t size_bytes, uint32_t block_size)
{
    return block_size == 0 ? 0 : size_bytes / block_size + (size_bytes % block_size != 0);
}

unsigned bough__map_depth(uint64_t block_count)
{
    unsigned depth = 0;
    if (block_count > 0)
        for (block_count--, depth = 1; block_count >= BOUGH__FANOUT; depth++)
            block_count >>= FANOUT_BITS;
    return depth;
}

static uint64_t tree_blocks(const struct bough__tree *tree)
{
    return bough__block_count(tree->size_bytes, tree->block_size);
}

/* ---- one tree as a whole --------------------------------------------------------------------------------------- */

int bough__root_id(uint8_t out[BOUGH__DIGEST_SIZE], const struct bough__tree *tree)
{
    static const char tag[] = "bough root 1\n";
    uint8_t sizes[12];
    bough__put64(sizes, tree->size_bytes);
    bough__put32(sizes + 8, tree->block_size);
    struct bough__piece pieces[] = {
        {tag, sizeof tag - 1}, {sizes, sizeof sizes}, {tree->digest, sizeof tree->digest}};
    return bough__sha256_pieces(out, pieces, 3);
}

/* What is wrong with the tree's own fields; NULL: nothing. */
static const char *tree_fault(const struct bough__tree *tree)
{
    uint32_t size = tree->block_size;
    bool has_digest = !bough__is_zero(tree->digest, sizeof tree->digest);
    if (size == 0 ? tree->size_bytes != 0 : size < 512 || size > 65536 || (size & (size - 1)) != 0)
        return "an impossible block size";
    if (tree_blocks(tree) > BOUGH__BLOCK_LIMIT)
        return "more than 4294967296 blocks";
    if (has_digest != (tree->top.file != 0))
        return "a digest without a node, or the other way round";
    if (tree->top.file == 0 ? tree->top.index != 0 : tree->top.index == 0 || tree->top.index >= INDEX_LIMIT)
        return "an impossible place of the top node";
    if (has_digest && tree->size_bytes == 0)
        return "pages in an empty database";
    return NULL;
}

void bough__tree_encode(uint8_t out[BOUGH__TREE_BYTES], const struct bough__tree *tree)
{
    bough__put64(out, tree->size_bytes);
    bough__put32(out + 8, tree->block_size);
    bough__put32(out + 12, tree->top.file);
    bough__put32(out + 16, tree->top.index);
    memcpy(out + 20, tree->digest, BOUGH__DIGEST_SIZE);
}

int bough__tree_decode(struct bough__tree *out, const uint8_t in[BOUGH__TREE_BYTES])
{
    out->size_bytes = bough__get64(in);
    out->block_size = bough__get32(in + 8);
    out->top.file = bough__get32(in + 12);
    out->top.index = bough__get32(in + 16);
    memcpy(out->digest, in + 20, BOUGH__DIGEST_SIZE);
    const char *fault = tree_fault(out);
    return fault ? bough__fail(BOUGH_CORRUPT, "a page map has %s", fault) : BOUGH_OK;
}

static int tree_check(const struct bough__tree *tree)
{
    const char *fault = tree_fault(tree);
    return fault ? bough__fail(BOUGH_USAGE, "a page map has %s", fault) : BOUGH_OK;
}

/* ---- going down ------------------------------------------------------------------------------------------------ */

static int wrong_level(struct bough__node_ref ref, unsigned found, unsigned expected)
{
    return bough__fail(BOUGH_CORRUPT, "nodes/%u.nodes: node %u is of level %u where level %u was expected", ref.file,
                       ref.index, found, expected);
}

static int beyond_end(struct bough__node_ref ref, uint64_t block)
{
    return bough__fail(BOUGH_CORRUPT, "nodes/%u.nodes: node %u has block %" PRIu64 ", which is beyond the end",
                       ref.file, ref.index, block);
}

static bool child_is_zero(const struct bough__node *node, unsigned i)
{
    return node->level == 1 ? node->entries[i].layer == 0 : node->children[i].ref.file == 0;
}

/* Children that begin at or beyond the end must be zero. */
static int check_end(const struct bough__node *node, struct bough__node_ref ref, uint64_t base, uint64_t blocks)
{
    uint64_t span = child_span(node->level);
    uint64_t inside = blocks <= base ? 0 : (blocks - base + span - 1) / span;
    for (uint64_t i = inside; i < BOUGH__FANOUT; i++)
        if (!child_is_zero(node, (unsigned)i))
            return beyond_end(ref, base + i * span);
    return BOUGH_OK;
}

static int read_level(struct bough__node *out, struct bough__nodes *nodes, struct bough__node_ref ref, unsigned level)
{
    if (ref.file == 0) {
        memset(out, 0, sizeof *out);
        out->level = level;
        return BOUGH_OK;
    }
    int rc = bough__nodes_read(out, nodes, ref);
    return rc == BOUGH_OK && out->level != level ? wrong_level(ref, out->level, level) : rc;
}

/* A tree that is looked at from a height of `level` or above. */
struct side {
    struct bough__nodes *nodes;
    const struct bough__tree *tree;
    uint64_t blocks;
    unsigned depth;
};

static struct side side_of(struct bough__nodes *nodes, const struct bough__tree *tree)
{
    struct side side = {nodes, tree, tree_blocks(tree), 0};
    side.depth = bough__map_depth(side.blocks);
    return side;
}

static struct link top_link(const struct bough__tree *tree)
{
    struct link link = {.ref = tree->top};
    memcpy(link.digest, tree->digest, sizeof link.digest);
    return link;
}

/* The link at block 0 of that height. */
static struct link link_at(const struct side *side, unsigned height)
{
    static const struct link virtual_link = {.is_virtual = true};
    if (side->tree->top.file == 0)
        return no_link;
    return height > side->depth ? virtual_link : top_link(side->tree);
}

static int read_side(struct bough__node *out, const struct side *side, const struct link *link, unsigned level,
                     uint64_t base)
{
    int rc = read_level(out, side->nodes, link->ref, level);
    return rc == BOUGH_OK && link->ref.file != 0 ? check_end(out, link->ref, base, side->blocks) : rc;
}

/* Child i of the node that link leads to. */
static struct link child_link(const struct side *side, const struct link *link, const struct bough__node *node,
                              unsigned i)
{
    if (link->is_virtual)
        return i == 0 ? link_at(side, node->level - 1) : no_link;
    struct link child = {.ref = node->children[i].ref};
    memcpy(child.digest, node->children[i].digest, sizeof child.digest);
    return child;
}

/* ---- lookup ---------------------------------------------------------------------------------------------------- */

/* The leaf above the block; file 0: there is none. */
static int find_leaf(struct bough__node_ref *out, struct bough__nodes *nodes, const struct bough__tree *tree,
                     uint64_t block)
{
    uint64_t blocks = tree_blocks(tree);
    *out = block < blocks ? tree->top : no_link.ref;
    for (unsigned level = bough__map_depth(blocks); level > 1 && out->file != 0; level--) {
        unsigned i = (unsigned)(block >> (FANOUT_BITS * (level - 1))) % BOUGH__FANOUT;
        int rc = bough__nodes_read_child(out, NULL, nodes, *out, level, i);
        if (rc != BOUGH_OK)
            return rc;
    }
    return BOUGH_OK;
}

int bough__map_lookup(struct bough__entry *out, struct bough__nodes *nodes, const struct bough__tree *tree,
                      uint64_t block)
{
    struct bough__node_ref leaf;
    *out = no_entry;
    int rc = find_leaf(&leaf, nodes, tree, block);
    if (rc != BOUGH_OK || leaf.file == 0)
        return rc;
    return bough__nodes_read_entry(out, nodes, leaf, (unsigned)block % BOUGH__FANOUT);
}

int bough__map_place(struct bough__entry *out, struct bough__nodes *nodes, const struct bough__tree *tree,
                     uint64_t block)
{
    struct bough__node_ref leaf;
    *out = no_entry;
    int rc = find_leaf(&leaf, nodes, tree, block);
    if (rc != BOUGH_OK || leaf.file == 0)
        return rc;
    return bough__nodes_read_place(out, nodes, leaf, (unsigned)block % BOUGH__FANOUT);
}

/* ---- fold ------------------------------------------------------------------------------------------------------ */

struct fold {
    struct side old;
    struct bough__appender *appender;
    const struct bough__change *changes;
    size_t count, next; /* changes before next are done */
    uint64_t keep_blocks, hold_txn;
};

static bool has_change_below(const struct fold *fold, uint64_t end)
{
    return fold->next < fold->count && fold->changes[fold->next].block < end;
}

/* True when the blocks from base to end come out of the old tree as they are. */
static bool is_untouched(const struct fold *fold, const struct link *link, uint64_t end)
{
    return !link->is_virtual && !has_change_below(fold, end) && (link->ref.file == 0 || end <= fold->keep_blocks);
}

static bool keeps_place(const struct fold *fold, const struct bough__entry *old, const struct bough__change *change)
{
    return same_digest(old->digest, change->entry.digest) &&
           (old->layer != change->entry.layer || old->birth <= fold->hold_txn || old->frame == change->entry.frame);
}

static bool fold_leaf(struct fold *fold, struct bough__node *node, uint64_t base)
{
    bool is_changed = false;
    for (unsigned i = 0; i < BOUGH__FANOUT; i++) {
        struct bough__entry *entry = &node->entries[i];
        if (base + i >= fold->keep_blocks && entry->layer != 0) {
            *entry = no_entry;
            is_changed = true;
        }
        if (has_change_below(fold, base + i + 1)) {
            const struct bough__change *change = &fold->changes[fold->next++];
            if (!keeps_place(fold, entry, change)) {
                *entry = change->entry;
                is_changed = true;
            }
        }
    }
    return is_changed;
}

static int fold_link(struct fold *fold, struct link *link, unsigned level, uint64_t base);

static int fold_children(bool *out_is_changed, struct fold *fold, struct bough__node *node, const struct link *link,
                         uint64_t base)
{
    uint64_t span = child_span(node->level);
    for (unsigned i = 0; i < BOUGH__FANOUT; i++) {
        struct link child = child_link(&fold->old, link, node, i);
        int rc = fold_link(fold, &child, node->level - 1, base + i * span);
        if (rc != BOUGH_OK)
            return rc;
        *out_is_changed |= child.ref.file != node->children[i].ref.file ||
                           child.ref.index != node->children[i].ref.index;
        node->children[i].ref = child.ref;
        memcpy(node->children[i].digest, child.digest, sizeof child.digest);
    }
    return BOUGH_OK;
}

/* Stores the node, unless nothing is left of it. */
static int store_node(struct link *out, struct fold *fold, const struct bough__node *node)
{
    unsigned i = 0;
    while (i < BOUGH__FANOUT && child_is_zero(node, i))
        i++;
    *out = no_link;
    if (i == BOUGH__FANOUT)
        return BOUGH_OK;
    int rc = bough__node_digest(out->digest, node);
    return rc == BOUGH_OK ? bough__appender_add(&out->ref, fold->appender, node) : rc;
}

/* Replaces the link to an old subtree by the link to the new one. */
static int fold_link(struct fold *fold, struct link *link, unsigned level, uint64_t base)
{
    if (!link->is_virtual && base >= fold->keep_blocks)
        *link = no_link;
    if (is_untouched(fold, link, base + child_span(level) * BOUGH__FANOUT))
        return BOUGH_OK;
    struct bough__node node;
    int rc = read_level(&node, fold->old.nodes, link->ref, level);
    if (rc != BOUGH_OK)
        return rc;
    bool is_changed = link->is_virtual;
    if (level == 1)
        is_changed |= fold_leaf(fold, &node, base);
    else
        rc = fold_children(&is_changed, fold, &node, link, base);
    if (rc == BOUGH_OK && is_changed)
        rc = store_node(link, fold, &node);
    return rc;
}

/* The old tree's link for a tree that is lower: the leftmost node of that height. */
static int descend(struct link *link, const struct side *old, unsigned depth)
{
    for (unsigned level = old->depth; level > depth && link->ref.file != 0; level--) {
        struct link child = no_link;
        int rc = bough__nodes_read_child(&child.ref, child.digest, old->nodes, link->ref, level, 0);
        if (rc != BOUGH_OK)
            return rc;
        *link = child;
    }
    return BOUGH_OK;
}

static int check_changes(const struct bough__change *changes, size_t count, uint64_t blocks)
{
    for (size_t i = 0; i < count; i++) {
        const struct bough__entry *entry = &changes[i].entry;
        if (changes[i].block >= blocks || (i > 0 && changes[i].block <= changes[i - 1].block))
            return bough__fail(BOUGH_USAGE, "block %" PRIu64 " is out of order or beyond the end", changes[i].block);
        if ((entry->layer == 0) != bough__is_zero(entry->digest, sizeof entry->digest) ||
            (entry->layer == 0 && (entry->frame | entry->birth | entry->sum) != 0))
            return bough__fail(BOUGH_USAGE, "block %" PRIu64 " is half a page of zeros", changes[i].block);
    }
    return BOUGH_OK;
}

static int fold_tree(struct bough__tree *tree, struct fold *fold, unsigned depth)
{
    struct link link = link_at(&fold->old, depth);
    int rc = descend(&link, &fold->old, depth);
    if (rc == BOUGH_OK)
        rc = fold_link(fold, &link, depth, 0);
    tree->top = link.ref;
    memcpy(tree->digest, link.digest, sizeof tree->digest);
    return rc;
}

int bough__map_fold(struct bough__tree *out, struct bough__nodes *nodes, struct bough__appender *appender,
                    const struct bough__tree *old, const struct bough__change *changes, size_t count,
                    uint64_t keep_blocks, uint64_t size_bytes, uint32_t block_size, uint64_t hold_txn)
{
    struct bough__tree tree = {.size_bytes = size_bytes, .block_size = block_size};
    struct fold fold = {.old = side_of(nodes, old), .appender = appender, .changes = changes, .count = count,
                        .hold_txn = hold_txn};
    int rc = tree_check(old);
    if (rc == BOUGH_OK)
        rc = tree_check(&tree);
    if (rc != BOUGH_OK)
        return rc;
    uint64_t blocks = tree_blocks(&tree);
    fold.keep_blocks = keep_blocks < fold.old.blocks ? keep_blocks : fold.old.blocks;
    if (fold.keep_blocks > blocks)
        fold.keep_blocks = blocks;
    if (fold.keep_blocks != 0 && block_size != old->block_size)
        return bough__fail(BOUGH_USAGE, "blocks of %u bytes cannot be kept as blocks of %u", old->block_size,
                           block_size);
    if (fold.keep_blocks == fold.old.blocks)
        fold.keep_blocks = UINT64_MAX; /* nothing is cut, so no need to visit the end */
    rc = check_changes(changes, count, blocks);
    if (rc == BOUGH_OK && blocks > 0)
        rc = fold_tree(&tree, &fold, bough__map_depth(blocks));
    if (rc == BOUGH_OK)
        *out = tree;
    return rc;
}

/* ---- diff ------------------------------------------------------------------------------------------------------ */

struct diff {
    struct side a, b;
    bough__map_diff_callback *callback;
    void *context;
};

static int diff_links(const struct diff *diff, const struct link *a, const struct link *b, unsigned level,
                      uint64_t base);

static int diff_nodes(const struct diff *diff, const struct link *a, const struct link *b,
                      const struct bough__node *left, const struct bough__node *right, uint64_t base)
{
    unsigned level = left->level;
    int rc = BOUGH_OK;
    for (unsigned i = 0; i < BOUGH__FANOUT && rc == BOUGH_OK; i++) {
        if (level > 1) {
            struct link child_a = child_link(&diff->a, a, left, i), child_b = child_link(&diff->b, b, right, i);
            rc = diff_links(diff, &child_a, &child_b, level - 1, base + i * child_span(level));
        } else if (!same_digest(left->entries[i].digest, right->entries[i].digest)) {
            rc = diff->callback(diff->context, base + i, &left->entries[i], &right->entries[i]);
        }
    }
    return rc;
}

static int diff_links(const struct diff *diff, const struct link *a, const struct link *b, unsigned level,
                      uint64_t base)
{
    if (!a->is_virtual && !b->is_virtual && same_digest(a->digest, b->digest))
        return BOUGH_OK;
    struct bough__node left, right;
    int rc = read_side(&left, &diff->a, a, level, base);
    if (rc == BOUGH_OK)
        rc = read_side(&right, &diff->b, b, level, base);
    return rc == BOUGH_OK ? diff_nodes(diff, a, b, &left, &right, base) : rc;
}

int bough__map_diff(struct bough__nodes *nodes, const struct bough__tree *a, const struct bough__tree *b,
                    bough__map_diff_callback *callback, void *context)
{
    struct diff diff = {side_of(nodes, a), side_of(nodes, b), callback, context};
    if (diff.a.blocks != 0 && diff.b.blocks != 0 && a->block_size != b->block_size)
        return bough__fail(BOUGH_USAGE, "blocks of %u bytes cannot be compared with blocks of %u", a->block_size,
                           b->block_size);
    int rc = tree_check(a);
    if (rc == BOUGH_OK)
        rc = tree_check(b);
    unsigned height = diff.a.depth > diff.b.depth ? diff.a.depth : diff.b.depth;
    struct link left = link_at(&diff.a, height), right = link_at(&diff.b, height);
    return rc == BOUGH_OK && height > 0 ? diff_links(&diff, &left, &right, height, 0) : rc;
}

/* ---- walk ------------------------------------------------------------------------------------------------------ */

struct walk {
    struct side side;
    uint64_t first;
    bough__map_walk_callback *callback;
    void *context;
};

static int walk_link(const struct walk *walk, const struct link *link, unsigned level, uint64_t base)
{
    struct bough__node node;
    uint64_t span = child_span(level);
    if (link->ref.file == 0)
        return BOUGH_OK;
    int rc = read_side(&node, &walk->side, link, level, base);
    unsigned i = walk->first > base ? (unsigned)((walk->first - base) / span) : 0;
    for (; i < BOUGH__FANOUT && rc == BOUGH_OK; i++) {
        if (level > 1) {
            struct link child = child_link(&walk->side, link, &node, i);
            rc = walk_link(walk, &child, level - 1, base + i * span);
        } else if (node.entries[i].layer != 0) {
            rc = walk->callback(walk->context, base + i, &node.entries[i]);
        }
    }
    return rc;
}

int bough__map_walk(struct bough__nodes *nodes, const struct bough__tree *tree, uint64_t first,
                    bough__map_walk_callback *callback, void *context)
{
    struct walk walk = {side_of(nodes, tree), first, callback, context};
    int rc = tree_check(tree);
    struct link top = top_link(tree);
    return rc == BOUGH_OK && first < walk.side.blocks ? walk_link(&walk, &top, walk.side.depth, 0) : rc;
}

/* ---- check ----------------------------------------------------------------------------------------------------- */

struct check {
    struct side side;
    struct bough__map_check *caller;
};

static int tell_damage(const struct check *check, struct bough__node_ref ref, const char *what)
{
    char where[BOUGH__FILE_NAME_SIZE + 32], name[BOUGH__FILE_NAME_SIZE];
    bough__file_name(name, BOUGH__NODE_FILE, ref.file);
    snprintf(where, sizeof where, "%s node %u", name, ref.index);
    return check->caller->damage(check->caller->context, where, what);
}

/* Whether the node is what its parent says. BOUGH_CORRUPT: damage. */
static int check_node(const struct check *check, const struct bough__node *node, const struct link *link,
                      unsigned level, uint64_t base)
{
    uint8_t digest[BOUGH__DIGEST_SIZE];
    if (node->level != level)
        return wrong_level(link->ref, node->level, level);
    int rc = bough__node_digest(digest, node);
    if (rc == BOUGH_OK && !same_digest(digest, link->digest))
        rc = bough__fail(BOUGH_CORRUPT, "nodes/%u.nodes: node %u has another digest than its parent says",
                         link->ref.file, link->ref.index);
    return rc == BOUGH_OK ? check_end(node, link->ref, base, check->side.blocks) : rc;
}

static int check_link(const struct check *check, const struct link *link, unsigned level, uint64_t base)
{
    struct bough__map_check *caller = check->caller;
    struct bough__node node;
    if (link->ref.file == 0)
        return BOUGH_OK;
    /* A node that was seen below another parent is looked at again, though not what lies below it: this parent's
     * idea of its digest has not been compared. */
    bool is_seen = caller->visited && caller->visited(caller->context, link->ref);
    int rc = is_seen ? bough__nodes_read(&node, check->side.nodes, link->ref)
                     : bough__nodes_read_uncached(&node, check->side.nodes, link->ref);
    caller->checked_bytes += is_seen ? 0 : BOUGH__NODE_SIZE;
    if (rc == BOUGH_OK)
        rc = check_node(check, &node, link, level, base);
    if (rc == BOUGH_CORRUPT) {
        struct bough__error_state what;
        bough__error_save(&what);
        return tell_damage(check, link->ref, what.text);
    }
    for (unsigned i = 0; i < BOUGH__FANOUT && rc == BOUGH_OK && !is_seen; i++) {
        if (level > 1) {
            struct link child = child_link(&check->side, link, &node, i);
            rc = check_link(check, &child, level - 1, base + i * child_span(level));
        } else if (node.entries[i].layer != 0) {
            rc = caller->page(caller->context, base + i, &node.entries[i]);
        }
    }
    return rc;
}

int bough__map_check(struct bough__nodes *nodes, const struct bough__tree *tree, struct bough__map_check *caller)
{
    struct check check = {side_of(nodes, tree), caller};
    const char *fault = tree_fault(tree);
    struct link top = top_link(tree);
    if (fault)
        return caller->damage(caller->context, "page map", fault);
    return check_link(&check, &top, check.side.depth, 0);
}
