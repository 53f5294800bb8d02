/* test_nodes.c - node files: appending, reading back, the cache, damage, crashes. */
#include "bough.h"
#include "codec.h"
#include "harness.h"
#include "nodes.h"
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY UINT64_C(0x1122334455667788)
#define CELL_LIMIT 262144

struct store {
    struct bough__files *files;
    struct bough__nodes *nodes;
};

static struct store open_store(void)
{
    struct store store = {NULL, NULL};
    if (mkdir(harness_path("nodes"), 0755) != 0)
        ck_assert_int_eq(errno, EEXIST);
    ASSERT_OK(bough__files_open(&store.files, harness_directory()));
    ASSERT_OK(bough__nodes_open(&store.nodes, store.files, harness_directory(), KEY, 0640));
    return store;
}

static void close_store(struct store *store)
{
    bough__nodes_close(store->nodes);
    bough__files_close(store->files);
}

/* A node whose content follows from its seed; some children are zero. */
static void make_node(struct bough__node *out, unsigned level, uint64_t seed)
{
    struct harness_random random = {seed};
    memset(out, 0, sizeof *out);
    out->level = level;
    for (unsigned i = 0; i < BOUGH__FANOUT; i++) {
        if (harness_below(&random, 4) == 0 && i != seed % BOUGH__FANOUT)
            continue;
        if (level == 1) {
            struct bough__entry *entry = &out->entries[i];
            harness_fill(&random, entry->digest, sizeof entry->digest);
            entry->layer = (uint32_t)harness_next(&random) | 1;
            entry->frame = harness_next(&random);
            entry->birth = harness_next(&random);
            entry->sum = harness_next(&random);
        } else {
            harness_fill(&random, out->children[i].digest, BOUGH__DIGEST_SIZE);
            out->children[i].ref.file = (uint32_t)harness_next(&random) | 1;
            out->children[i].ref.index = (uint32_t)harness_below(&random, CELL_LIMIT - 1) + 1;
        }
    }
}

static void expect_equal(const struct bough__node *a, const struct bough__node *b)
{
    ck_assert_uint_eq(a->level, b->level);
    for (unsigned i = 0; i < BOUGH__FANOUT; i++) {
        if (a->level == 1) {
            const struct bough__entry *x = &a->entries[i], *y = &b->entries[i];
            ck_assert(x->layer == y->layer && x->frame == y->frame && x->birth == y->birth && x->sum == y->sum);
            ck_assert_mem_eq(x->digest, y->digest, BOUGH__DIGEST_SIZE);
        } else {
            ck_assert_mem_eq(&a->children[i], &b->children[i], sizeof a->children[i]);
        }
    }
}

static void expect_node(struct bough__nodes *nodes, struct bough__node_ref ref, unsigned level, uint64_t seed)
{
    struct bough__node expected, found;
    make_node(&expected, level, seed);
    ASSERT_OK(bough__nodes_read(&found, nodes, ref));
    expect_equal(&expected, &found);
    ASSERT_OK(bough__nodes_read_uncached(&found, nodes, ref));
    expect_equal(&expected, &found);
    for (unsigned i = 0; i < BOUGH__FANOUT; i += 7) {
        struct bough__entry entry;
        struct bough__node_ref child;
        uint8_t digest[BOUGH__DIGEST_SIZE];
        if (level == 1) {
            ASSERT_OK(bough__nodes_read_entry(&entry, nodes, ref, i));
            ck_assert(entry.layer == expected.entries[i].layer && entry.frame == expected.entries[i].frame);
            ck_assert_mem_eq(entry.digest, expected.entries[i].digest, BOUGH__DIGEST_SIZE);
            ASSERT_OK(bough__nodes_read_place(&entry, nodes, ref, i));
            ck_assert(entry.layer == expected.entries[i].layer && entry.frame == expected.entries[i].frame &&
                      entry.sum == expected.entries[i].sum && entry.birth == 0 && entry.digest[0] == 0);
            ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read_child(&child, digest, nodes, ref, 2, i));
            ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read_child(&child, NULL, nodes, ref, 2, i));
        } else {
            ASSERT_OK(bough__nodes_read_child(&child, digest, nodes, ref, level, i));
            ck_assert_mem_eq(&child, &expected.children[i].ref, sizeof child);
            ck_assert_mem_eq(digest, expected.children[i].digest, BOUGH__DIGEST_SIZE);
            ASSERT_OK(bough__nodes_read_child(&child, NULL, nodes, ref, level, i));
            ck_assert_mem_eq(&child, &expected.children[i].ref, sizeof child);
            ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read_child(&child, NULL, nodes, ref, level + 1, i));
            ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read_entry(&entry, nodes, ref, i));
            ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read_place(&entry, nodes, ref, i));
        }
    }
}

static struct bough__node_ref add(struct bough__appender *appender, unsigned level, uint64_t seed)
{
    struct bough__node node;
    struct bough__node_ref ref = {0, 0};
    make_node(&node, level, seed);
    ASSERT_OK(bough__appender_add(&ref, appender, &node));
    return ref;
}

static struct bough__node_ref add_one(struct store *store, unsigned level, uint64_t seed)
{
    struct bough__appender *appender = NULL;
    ASSERT_OK(bough__appender_begin(&appender, store->nodes));
    struct bough__node_ref ref = add(appender, level, seed);
    ASSERT_OK(bough__appender_sync(appender));
    bough__appender_end(appender);
    return ref;
}

static off_t file_size(const char *name)
{
    struct stat info;
    ck_assert_int_eq(stat(harness_path(name), &info), 0);
    return info.st_size;
}

TEST(nodes_come_back)
{
    struct store store = open_store();
    struct bough__appender *appender = NULL;
    enum { COUNT = 300 };
    struct bough__node_ref refs[COUNT];
    ASSERT_OK(bough__appender_begin(&appender, store.nodes));
    for (unsigned i = 0; i < COUNT; i++) {
        refs[i] = add(appender, i % 6 + 1, i);
        expect_node(store.nodes, refs[i], i % 6 + 1, i);     /* most are not written yet */
        expect_node(store.nodes, refs[i / 2], i / 2 % 6 + 1, i / 2);
        ck_assert_uint_eq(bough__appender_count(appender), i + 1);
    }
    ASSERT_OK(bough__appender_sync(appender));
    bough__appender_end(appender);
    for (unsigned turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < COUNT; i++)
            expect_node(store.nodes, refs[i], i % 6 + 1, i);
        close_store(&store);
        store = open_store();
    }
    ck_assert_int_eq(file_size("nodes/1.nodes"), (COUNT + 1) * BOUGH__NODE_SIZE);
    close_store(&store);
}

TEST(bytes_are_as_documented)
{
    struct store store = open_store();
    struct bough__node_ref leaf = add_one(&store, 1, 5), inner = add_one(&store, 3, 6);
    close_store(&store);
    ck_assert_uint_eq(leaf.file, 1);
    ck_assert_uint_eq(leaf.index, 1);
    ck_assert_uint_eq(inner.index, 2);
    size_t len = 0;
    uint8_t *bytes = harness_read_file(harness_path("nodes/1.nodes"), &len);
    ck_assert_uint_eq(len, 3 * BOUGH__NODE_SIZE);
    ck_assert_mem_eq(bytes, "bough nodes 1\n\0\0", 16);
    ck_assert_uint_eq(bough__get32(bytes + 16), 1);
    ck_assert_uint_eq(bough__get32(bytes + 28), 1);
    ck_assert_uint_eq(bough__get64(bytes + 32), KEY);
    ck_assert_uint_eq(bough__get64(bytes + 40), bough__xxh(bytes, 40, 0));
    struct bough__node node;
    make_node(&node, 1, 5);
    const uint8_t *cell = bytes + BOUGH__NODE_SIZE;
    ck_assert_mem_eq(cell, "boughnod", 8);
    ck_assert_uint_eq(bough__get64(cell + 8), bough__xxh(cell + 16, BOUGH__NODE_SIZE - 16, KEY));
    ck_assert_uint_eq(bough__get32(cell + 20), 1);
    ck_assert_uint_eq(bough__get32(cell + 28), 1);
    ck_assert_uint_eq(bough__get32(cell + 32), 1);
    ck_assert_uint_eq(bough__get32(cell + 256 + 5 * 60), node.entries[5].layer);
    ck_assert_uint_eq(bough__get64(cell + 256 + 5 * 60 + 12), node.entries[5].birth);
    ck_assert_mem_eq(cell + 256 + 5 * 60 + 28, node.entries[5].digest, BOUGH__DIGEST_SIZE);
    make_node(&node, 3, 6);
    cell += BOUGH__NODE_SIZE;
    ck_assert_uint_eq(bough__get32(cell + 20), 3);
    ck_assert_uint_eq(bough__get32(cell + 256 + 6 * 40 + 4), node.children[6].ref.index);
    ck_assert_mem_eq(cell + 256 + 6 * 40 + 8, node.children[6].digest, BOUGH__DIGEST_SIZE);
    free(bytes);
}

TEST(new_files_take_the_mode)
{
    umask(0);
    struct store store = open_store();
    add_one(&store, 1, 1);
    struct stat info;
    ck_assert_int_eq(stat(harness_path("nodes/1.nodes"), &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0640);
    close_store(&store);
}

/* ---- damage ---- */

static void poke(const char *name, off_t offset, uint8_t flip)
{
    int fd = open(harness_path(name), O_RDWR | O_CLOEXEC);
    uint8_t byte = 0;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= flip;
    ck_assert_int_eq(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

TEST(every_damaged_byte_is_found)
{
    struct store store = open_store();
    struct bough__node_ref ref = add_one(&store, 1, 9);
    struct bough__node node;
    struct bough__entry entry;
    for (off_t at = 0; at < BOUGH__NODE_SIZE; at += at < 300 ? 1 : 13) {
        poke("nodes/1.nodes", BOUGH__NODE_SIZE + at, 0x10);
        ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read_uncached(&node, store.nodes, ref));
        ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read(&node, store.nodes, ref));
        ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read_entry(&entry, store.nodes, ref, 3));
        ck_assert_ptr_nonnull(strstr(bough_error_message(), "nodes/1.nodes: node 1 "));
        poke("nodes/1.nodes", BOUGH__NODE_SIZE + at, 0x10);
    }
    expect_node(store.nodes, ref, 1, 9);
    close_store(&store);
}

/* Bytes with a valid checksum that no version of bough would write. */
static void forge(unsigned level, size_t at, uint32_t value, size_t zero_from, size_t zero_to)
{
    struct store store = open_store();
    struct bough__node_ref ref = add_one(&store, level, 64);
    char name[64];
    snprintf(name, sizeof name, "nodes/%u.nodes", ref.file);
    size_t len = 0;
    uint8_t *bytes = harness_read_file(harness_path(name), &len), *cell = bytes + ref.index * (size_t)BOUGH__NODE_SIZE;
    bough__put32(cell + at, value);
    memset(cell + zero_from, 0, zero_to - zero_from);
    bough__put64(cell + 8, bough__xxh(cell + 16, BOUGH__NODE_SIZE - 16, KEY));
    harness_write_file(harness_path(name), bytes, len);
    free(bytes);
    struct bough__node node;
    ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read(&node, store.nodes, ref));
    close_store(&store);
}

TEST(forged_nodes_are_refused)
{
    forge(1, 16, 2, 0, 0);              /* version */
    forge(1, 20, 0, 0, 0);              /* level */
    forge(1, 20, 7, 0, 0);
    forge(1, 20, UINT32_MAX, 0, 0);
    forge(1, 20, 2, 0, 0);              /* a leaf as an inner node */
    forge(2, 20, 1, 0, 0);
    forge(1, 24, 0, 0, 0);              /* count of children */
    forge(1, 24, 65, 0, 0);
    forge(1, 28, 9, 0, 0);              /* place */
    forge(1, 32, 9, 0, 0);
    forge(1, 256, 0, 0, 0);             /* a zero page with a frame */
    forge(1, 20, 1, 256 + 28, 256 + 60); /* a frame without a digest */
    forge(2, 256 + 4, 0, 0, 0);         /* a child in the file's header */
    forge(2, 256 + 4, CELL_LIMIT, 0, 0);
    forge(2, 256, 0, 0, 0);
    forge(2, 4092, 1, 0, 0);            /* not zero at the end */
}

TEST(impossible_places_are_refused)
{
    struct store store = open_store();
    add_one(&store, 1, 1);
    static const struct bough__node_ref refs[] = {{0, 1}, {1, 0}, {1, 2}, {1, CELL_LIMIT}, {2, 1}, {UINT32_MAX, 5}};
    struct bough__node node;
    struct bough__entry entry;
    for (size_t i = 0; i < COUNT_OF(refs); i++) {
        ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read(&node, store.nodes, refs[i]));
        ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read_entry(&entry, store.nodes, refs[i], 0));
    }
    close_store(&store);
}

TEST(nodes_belong_to_their_store_and_place)
{
    struct store store = open_store();
    struct bough__appender *appender = NULL;
    struct bough__node node;
    ASSERT_OK(bough__appender_begin(&appender, store.nodes));
    struct bough__node_ref first = add(appender, 1, 1), second = add(appender, 1, 2);
    ASSERT_OK(bough__appender_sync(appender));
    bough__appender_end(appender);
    struct bough__nodes *other = NULL;
    ASSERT_OK(bough__nodes_open(&other, store.files, harness_directory(), KEY + 1, 0644));
    ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read(&node, other, first));
    bough__nodes_close(other);
    size_t len = 0;
    uint8_t *bytes = harness_read_file(harness_path("nodes/1.nodes"), &len);
    memcpy(bytes + BOUGH__NODE_SIZE, bytes + (size_t)2 * BOUGH__NODE_SIZE, BOUGH__NODE_SIZE);
    harness_write_file(harness_path("nodes/1.nodes"), bytes, len);
    harness_write_file(harness_path("nodes/2.nodes"), bytes, len);
    free(bytes);
    ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read(&node, store.nodes, first));
    ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read(&node, store.nodes, (struct bough__node_ref){2, second.index}));
    expect_node(store.nodes, second, 1, 2);
    close_store(&store);
}

TEST(impossible_nodes_are_not_stored)
{
    struct store store = open_store();
    struct bough__appender *appender = NULL;
    struct bough__node node;
    struct bough__node_ref ref;
    ASSERT_OK(bough__appender_begin(&appender, store.nodes));
    make_node(&node, 2, 64);
    node.level = 0;
    ASSERT_CODE(BOUGH_USAGE, bough__appender_add(&ref, appender, &node));
    node.level = 7;
    ASSERT_CODE(BOUGH_USAGE, bough__appender_add(&ref, appender, &node));
    make_node(&node, 2, 64);
    node.children[0].ref.index = 0;
    ASSERT_CODE(BOUGH_USAGE, bough__appender_add(&ref, appender, &node));
    make_node(&node, 1, 64);
    memset(node.entries[0].digest, 0, BOUGH__DIGEST_SIZE);
    ASSERT_CODE(BOUGH_USAGE, bough__appender_add(&ref, appender, &node));
    ck_assert_uint_eq(bough__appender_count(appender), 0);
    ref = add(appender, 1, 1);
    ASSERT_OK(bough__appender_sync(appender));
    expect_node(store.nodes, ref, 1, 1);
    bough__appender_end(appender);
    close_store(&store);
}

/* ---- several appenders ---- */

TEST(two_appenders_take_two_files)
{
    struct store store = open_store();
    struct bough__appender *a = NULL, *b = NULL;
    ASSERT_OK(bough__appender_begin(&a, store.nodes));
    ASSERT_OK(bough__appender_begin(&b, store.nodes));
    struct bough__node_ref x = add(a, 1, 1), y = add(b, 1, 2);
    ck_assert_uint_eq(x.file, 1);
    ck_assert_uint_eq(y.file, 2);
    expect_node(store.nodes, x, 1, 1);
    expect_node(store.nodes, y, 1, 2);
    ASSERT_OK(bough__appender_sync(a));
    ASSERT_OK(bough__appender_sync(b));
    bough__appender_end(a);
    bough__appender_end(b);
    ck_assert_uint_eq(add_one(&store, 1, 3).file, 1);
    expect_node(store.nodes, x, 1, 1);
    expect_node(store.nodes, y, 1, 2);
    bough__appender_end(NULL);
    close_store(&store);
}

TEST(another_process_takes_another_file)
{
    struct store store = open_store();
    struct bough__appender *appender = NULL;
    ASSERT_OK(bough__appender_begin(&appender, store.nodes));
    struct bough__node_ref ref = add(appender, 1, 1);
    pid_t child = fork();
    if (child == 0) {
        struct store own = open_store();
        struct bough__node_ref its = add_one(&own, 1, 2);
        close_store(&own);
        _exit(its.file == 2 && its.index == 1 ? 0 : 1);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ASSERT_OK(bough__appender_sync(appender));
    bough__appender_end(appender);
    expect_node(store.nodes, ref, 1, 1);
    expect_node(store.nodes, (struct bough__node_ref){2, 1}, 1, 2);
    close_store(&store);
}

TEST(an_index_is_never_used_twice)
{
    struct store store = open_store();
    struct bough__appender *appender = NULL;
    struct bough__node node;
    ASSERT_OK(bough__appender_begin(&appender, store.nodes));
    struct bough__node_ref dropped = add(appender, 1, 1);
    expect_node(store.nodes, dropped, 1, 1);
    bough__appender_end(appender); /* never written */
    ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read(&node, store.nodes, dropped));
    struct bough__node_ref kept = add_one(&store, 1, 2);
    ck_assert_uint_eq(kept.file, dropped.file);
    ck_assert_uint_gt(kept.index, dropped.index);
    expect_node(store.nodes, kept, 1, 2);
    ASSERT_CODE(BOUGH_CORRUPT, bough__nodes_read(&node, store.nodes, dropped));
    close_store(&store);
}

TEST(appends_after_what_a_killed_one_left)
{
    struct store store = open_store();
    struct bough__node_ref first = add_one(&store, 1, 1);
    ck_assert_int_eq(truncate(harness_path("nodes/1.nodes"), 5 * BOUGH__NODE_SIZE + 100), 0);
    close_store(&store);
    store = open_store();
    struct bough__node_ref second = add_one(&store, 1, 2);
    ck_assert_uint_eq(second.file, 1);
    ck_assert_uint_eq(second.index, 6);
    expect_node(store.nodes, first, 1, 1);
    expect_node(store.nodes, second, 1, 2);
    close_store(&store);
}

TEST(unfinished_and_foreign_files)
{
    struct store store = open_store();
    /* 1: just created. 2: half a header. 3: a header of zeros. 4: cells without a header. 5: of another store. */
    static const size_t sizes[] = {0, 100, BOUGH__NODE_SIZE, 2 * BOUGH__NODE_SIZE, 3 * BOUGH__NODE_SIZE};
    static uint8_t bytes[3 * BOUGH__NODE_SIZE];
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        char name[32];
        snprintf(name, sizeof name, "nodes/%u.nodes", i + 1);
        harness_write_file(harness_path(name), bytes, sizes[i]);
    }
    memcpy(bytes, "bough nodes 1\n\0\0", 16);
    bough__put32(bytes + 16, 1);
    bough__put32(bytes + 28, 5);
    bough__put64(bytes + 32, KEY + 1);
    bough__put64(bytes + 40, bough__xxh(bytes, 40, 0));
    harness_write_file(harness_path("nodes/5.nodes"), bytes, sizeof bytes);
    struct bough__appender *appenders[4];
    static const uint32_t expected[] = {1, 2, 3, 6};
    for (unsigned i = 0; i < COUNT_OF(appenders); i++) {
        ASSERT_OK(bough__appender_begin(&appenders[i], store.nodes));
        struct bough__node_ref ref = add(appenders[i], 1, i);
        ck_assert_uint_eq(ref.file, expected[i]);
        ck_assert_uint_eq(ref.index, 1);
        ASSERT_OK(bough__appender_sync(appenders[i]));
        expect_node(store.nodes, ref, 1, i);
    }
    for (unsigned i = 0; i < COUNT_OF(appenders); i++)
        bough__appender_end(appenders[i]);
    close_store(&store);
}

TEST(a_symbolic_link_is_damage)
{
    struct store store = open_store();
    struct bough__appender *appender = NULL;
    harness_write_file(harness_path("elsewhere"), "", 0);
    ck_assert_int_eq(symlink("../elsewhere", harness_path("nodes/1.nodes")), 0);
    ASSERT_CODE(BOUGH_CORRUPT, bough__appender_begin(&appender, store.nodes));
    ck_assert_ptr_null(appender);
    ck_assert_int_eq(file_size("elsewhere"), 0);
    close_store(&store);
}

TEST(a_full_file_is_followed_by_the_next)
{
    struct store store = open_store();
    struct bough__node_ref first = add_one(&store, 1, 1);
    close_store(&store);
    ck_assert_int_eq(truncate(harness_path("nodes/1.nodes"), (off_t)(CELL_LIMIT - 10) * BOUGH__NODE_SIZE), 0);
    store = open_store();
    struct bough__appender *appender = NULL;
    struct bough__node_ref refs[100];
    ASSERT_OK(bough__appender_begin(&appender, store.nodes));
    for (unsigned i = 0; i < COUNT_OF(refs); i++) {
        refs[i] = add(appender, 1, i);
        ck_assert_uint_eq(refs[i].file, i < 10 ? 1 : 2);
    }
    ASSERT_OK(bough__appender_sync(appender));
    bough__appender_end(appender);
    ck_assert_int_eq(file_size("nodes/1.nodes"), (off_t)1 << 30);
    ck_assert_uint_eq(add_one(&store, 1, 7).file, 2);
    close_store(&store);
    store = open_store();
    for (unsigned i = 0; i < COUNT_OF(refs); i++)
        expect_node(store.nodes, refs[i], 1, i);
    expect_node(store.nodes, first, 1, 1);
    ck_assert_uint_eq(add_one(&store, 1, 7).file, 2);
    close_store(&store);
}

/* ---- durability and failures ---- */

static unsigned syncs, directory_syncs, writes;
static int fail_sync, fail_write;

static int counting_fdatasync(int fd)
{
    (void)fd;
    syncs++;
    if (!fail_sync)
        return 0;
    errno = EIO;
    return -1;
}

static int counting_fsync(int fd)
{
    struct stat info;
    ck_assert_int_eq(fstat(fd, &info), 0);
    ck_assert(S_ISDIR(info.st_mode));
    ck_assert_uint_eq(writes, 0);
    directory_syncs++;
    return 0;
}

static ssize_t counting_pwrite(int fd, const void *buffer, size_t len_bytes, off_t offset)
{
    writes++;
    if (!fail_write)
        return pwrite(fd, buffer, len_bytes, offset);
    errno = ENOSPC;
    return -1;
}

TEST(syncs_what_is_needed_and_no_more)
{
    bough__os.fdatasync = counting_fdatasync;
    bough__os.fsync = counting_fsync;
    bough__os.pwrite = counting_pwrite;
    struct store store = open_store();
    struct bough__appender *appender = NULL;
    ASSERT_OK(bough__appender_begin(&appender, store.nodes));
    ck_assert_uint_eq(directory_syncs, 1); /* before the header is written */
    ck_assert_uint_eq(writes, 1);
    ASSERT_OK(bough__appender_sync(appender));
    ck_assert_uint_eq(syncs, 0); /* nothing to make durable */
    for (unsigned i = 0; i < 64; i++)
        add(appender, 1, i);
    ck_assert_uint_eq(writes, 1);
    ASSERT_OK(bough__appender_sync(appender));
    ck_assert_uint_eq(writes, 2);
    ck_assert_uint_eq(syncs, 1);
    ASSERT_OK(bough__appender_sync(appender));
    ck_assert_uint_eq(syncs, 1);
    bough__appender_end(appender);
    add_one(&store, 1, 1);
    ck_assert_uint_eq(directory_syncs, 1);
    ck_assert_uint_eq(writes, 3);
    ck_assert_uint_eq(syncs, 2);
    close_store(&store);
}

TEST(a_failed_sync_ends_the_appender_and_the_use_of_its_file)
{
    struct store store = open_store();
    struct bough__node_ref old = add_one(&store, 1, 1);
    bough__os.fdatasync = counting_fdatasync;
    fail_sync = 1;
    struct bough__appender *appender = NULL;
    struct bough__node node;
    struct bough__node_ref ref;
    ASSERT_OK(bough__appender_begin(&appender, store.nodes));
    add(appender, 1, 2);
    ASSERT_CODE(BOUGH_IO, bough__appender_sync(appender));
    fail_sync = 0;
    ASSERT_CODE(BOUGH_IO, bough__appender_sync(appender));
    make_node(&node, 1, 3);
    ASSERT_CODE(BOUGH_IO, bough__appender_add(&ref, appender, &node));
    bough__appender_end(appender);
    struct bough__node_ref next = add_one(&store, 1, 4);
    ck_assert_uint_eq(next.file, 2);
    expect_node(store.nodes, old, 1, 1);
    expect_node(store.nodes, next, 1, 4);
    close_store(&store);
}

TEST(a_full_disk)
{
    struct store store = open_store();
    struct bough__appender *appender = NULL;
    struct bough__node_ref old = add_one(&store, 1, 1);
    bough__os.pwrite = counting_pwrite;
    ASSERT_OK(bough__appender_begin(&appender, store.nodes));
    fail_write = 1;
    add(appender, 1, 2);
    ASSERT_CODE(BOUGH_FULL, bough__appender_sync(appender));
    ASSERT_CODE(BOUGH_IO, bough__appender_sync(appender));
    bough__appender_end(appender);
    struct bough__appender *other = NULL;
    ASSERT_OK(bough__appender_begin(&appender, store.nodes));
    ASSERT_CODE(BOUGH_FULL, bough__appender_begin(&other, store.nodes)); /* the header of the next file */
    ck_assert_ptr_null(other);
    fail_write = 0;
    struct bough__node_ref next = add(appender, 1, 3);
    ck_assert_uint_eq(next.file, 1);
    ASSERT_OK(bough__appender_sync(appender));
    bough__appender_end(appender);
    expect_node(store.nodes, old, 1, 1);
    expect_node(store.nodes, next, 1, 3);
    struct bough__node_ref last = add_one(&store, 1, 4);
    expect_node(store.nodes, last, 1, 4);
    close_store(&store);
}

static int allocations_left;

static void *scarce_malloc(size_t len_bytes)
{
    return allocations_left-- > 0 ? malloc(len_bytes) : NULL;
}

static void *scarce_realloc(void *old, size_t len_bytes)
{
    return allocations_left-- > 0 ? realloc(old, len_bytes) : NULL;
}

/* One append and one read of it, with any failure passed on. */
static int append_and_read(struct bough__node_ref *out)
{
    struct bough__files *files = NULL;
    struct bough__nodes *nodes = NULL;
    struct bough__appender *appender = NULL;
    struct bough__node node;
    int rc = bough__files_open(&files, harness_directory());
    if (rc == BOUGH_OK)
        rc = bough__nodes_open(&nodes, files, harness_directory(), KEY, 0644);
    if (rc == BOUGH_OK)
        rc = bough__appender_begin(&appender, nodes);
    for (uint64_t i = 0; i < 20 && rc == BOUGH_OK; i++) {
        make_node(&node, 1, 5);
        rc = bough__appender_add(out, appender, &node);
    }
    if (rc == BOUGH_OK)
        rc = bough__appender_sync(appender);
    bough__appender_end(appender);
    if (rc == BOUGH_OK)
        rc = bough__nodes_read(&node, nodes, *out);
    bough__nodes_close(nodes);
    bough__files_close(files);
    return rc;
}

TEST(any_allocation_may_fail)
{
    struct store store = open_store();
    bough__os.malloc = scarce_malloc;
    bough__os.realloc = scarce_realloc;
    struct bough__node_ref ref = {0, 0};
    int rc = BOUGH_NOMEM, failures = 0;
    for (int n = 0; rc != BOUGH_OK && n < 100; n++) {
        allocations_left = n;
        rc = append_and_read(&ref);
        if (rc != BOUGH_OK) {
            ck_assert_int_eq(rc, BOUGH_NOMEM);
            failures++;
        }
    }
    ck_assert_int_gt(failures, 5);
    ASSERT_OK(rc);
    allocations_left = 1000;
    expect_node(store.nodes, ref, 1, 5);
    close_store(&store);
}

/* ---- the cache ---- */

TEST(the_cache_spares_reads_and_forgets_the_old)
{
    enum { COUNT = 6000 }; /* 24 MiB of nodes */
    struct store store = open_store();
    struct bough__appender *appender = NULL;
    static struct bough__node_ref refs[COUNT];
    ASSERT_OK(bough__appender_begin(&appender, store.nodes));
    for (unsigned i = 0; i < COUNT; i++)
        refs[i] = add(appender, 1, i);
    ASSERT_OK(bough__appender_sync(appender));
    bough__appender_end(appender);
    struct bough__entry entry;
    for (unsigned turn = 0; turn < 2; turn++)
        for (unsigned i = 0; i < COUNT; i++) {
            struct bough__node node;
            make_node(&node, 1, i);
            ASSERT_OK(bough__nodes_read_entry(&entry, store.nodes, refs[i], i % BOUGH__FANOUT));
            ck_assert_mem_eq(entry.digest, node.entries[i % BOUGH__FANOUT].digest, BOUGH__DIGEST_SIZE);
        }
    ck_assert_uint_gt(bough__files_bytes_read(store.files), (uint64_t)COUNT * BOUGH__NODE_SIZE);
    for (unsigned i = 0; i < 20; i++) /* a full set takes in what is read again */
        ASSERT_OK(bough__nodes_read_entry(&entry, store.nodes, refs[0], 0));
    uint64_t before = bough__files_bytes_read(store.files);
    for (unsigned i = 0; i < 100; i++)
        ASSERT_OK(bough__nodes_read_entry(&entry, store.nodes, refs[0], i % BOUGH__FANOUT));
    ck_assert_uint_eq(bough__files_bytes_read(store.files), before);
    struct bough__node node;
    ASSERT_OK(bough__nodes_read_uncached(&node, store.nodes, refs[0]));
    ck_assert_uint_eq(bough__files_bytes_read(store.files), before + BOUGH__NODE_SIZE);
    close_store(&store);
}

enum { SHARED_NODES = 4000, THREADS = 4 };
static struct store shared;
static struct bough__node_ref shared_refs[SHARED_NODES];
static atomic_int failures;

static void *read_many(void *argument)
{
    struct harness_random random = {(uint64_t)(uintptr_t)argument};
    for (int i = 0; i < 20000; i++) {
        unsigned n = (unsigned)harness_below(&random, SHARED_NODES);
        unsigned child = (unsigned)harness_below(&random, BOUGH__FANOUT);
        struct bough__entry entry = {0};
        int rc = i % 2 ? bough__nodes_read_entry(&entry, shared.nodes, shared_refs[n], child)
                       : bough__nodes_read_place(&entry, shared.nodes, shared_refs[n], child);
        if (rc != BOUGH_OK || entry.layer != n + 1 || entry.frame != n * 100 + child || entry.sum != ~entry.frame)
            atomic_fetch_add(&failures, 1);
    }
    return NULL;
}

static void *append_many(void *argument)
{
    for (uintptr_t i = 0; i < 30; i++) {
        struct bough__appender *appender = NULL;
        struct bough__node node, found;
        struct bough__node_ref ref = {0, 0};
        make_node(&node, 2, i + (uintptr_t)argument);
        int rc = bough__appender_begin(&appender, shared.nodes);
        for (int n = 0; n < 70 && rc == BOUGH_OK; n++) {
            rc = bough__appender_add(&ref, appender, &node);
            if (rc == BOUGH_OK)
                rc = bough__nodes_read(&found, shared.nodes, ref);
            if (rc != BOUGH_OK || memcmp(&found.children, &node.children, sizeof node.children) != 0)
                atomic_fetch_add(&failures, 1);
        }
        bough__appender_end(appender);
    }
    return NULL;
}

TEST(threads_share_the_cache)
{
    shared = open_store();
    struct bough__appender *appender = NULL;
    ASSERT_OK(bough__appender_begin(&appender, shared.nodes));
    for (unsigned n = 0; n < SHARED_NODES; n++) {
        struct bough__node node = {.level = 1};
        for (unsigned i = 0; i < BOUGH__FANOUT; i++)
            node.entries[i] = (struct bough__entry){n + 1, n * 100 + i, 0, ~(uint64_t)(n * 100 + i), {1}};
        ASSERT_OK(bough__appender_add(&shared_refs[n], appender, &node));
    }
    ASSERT_OK(bough__appender_sync(appender));
    bough__appender_end(appender);
    pthread_t threads[2 * THREADS];
    for (uintptr_t i = 0; i < 2 * THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i < THREADS ? read_many : append_many, (void *)(i + 1)), 0);
    for (size_t i = 0; i < 2 * THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(atomic_load(&failures), 0);
    close_store(&shared);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(nodes_come_back),
        CASE(bytes_are_as_documented),
        CASE(new_files_take_the_mode),
        CASE(every_damaged_byte_is_found),
        CASE(forged_nodes_are_refused),
        CASE(impossible_places_are_refused),
        CASE(nodes_belong_to_their_store_and_place),
        CASE(impossible_nodes_are_not_stored),
        CASE(two_appenders_take_two_files),
        CASE(another_process_takes_another_file),
        CASE(an_index_is_never_used_twice),
        CASE(appends_after_what_a_killed_one_left),
        CASE(unfinished_and_foreign_files),
        CASE(a_symbolic_link_is_damage),
        CASE(a_full_file_is_followed_by_the_next),
        CASE(syncs_what_is_needed_and_no_more),
        CASE(a_failed_sync_ends_the_appender_and_the_use_of_its_file),
        CASE(a_full_disk),
        CASE(any_allocation_may_fail),
        CASE(the_cache_spares_reads_and_forgets_the_old),
        CASE(threads_share_the_cache),
    };
    return harness_run("nodes", cases, COUNT_OF(cases));
}
