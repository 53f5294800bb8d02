/* test_gc.c - what gc gives back, and what it must not: states that are referred to, that are read, and that are on
 * their way. */
#include "fixture.h"

#include "error.h"
#include "layer_state.h"
#include "nodes.h"
#include "os.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 300 };

/* ---- helpers ---- */

static bough_collection collect(bough_store *store, int undo_days)
{
    bough_collection collection = {0};
    ASSERT_OK(bough_gc(&collection, store, undo_days, false, NULL));
    bough_branches_release(&collection.dropped);
    return collection;
}

static void assert_whole(bough_store *store)
{
    bough_verification verification = {0};
    ASSERT_OK(bough_verify(&verification, store, NULL, NULL));
    ck_assert_msg(verification.ok, "%s: %s", verification.ok ? "" : verification.findings[0].where,
                  verification.ok ? "" : verification.findings[0].what);
    bough_verification_release(&verification);
}

static void delete_branch(bough_store *store, const char *name, bool force)
{
    bough_branches gone = {0};
    bough_options options = BOUGH_OPTIONS_INIT;
    options.force = force;
    ASSERT_OK(bough_branch_delete(&gone, store, &name, 1, &options));
    bough_branches_release(&gone);
}

static void pin_ref(struct bough__snapshot *out, struct bough__layer **out_layer, bough_store *store, const char *ref)
{
    struct bough__target target;
    ASSERT_OK(bough__target_resolve(&target, store, ref));
    ASSERT_OK(bough__target_pin(out, out_layer, store, &target));
    bough__target_clear(&target);
}

static void check_blocks(const struct bough__snapshot *snapshot, uint64_t first, uint64_t end, uint8_t byte)
{
    uint8_t page[FIXTURE_BLOCK];
    for (uint64_t block = first; block < end; block++) {
        ASSERT_OK(bough__snapshot_read(snapshot, block, page, block % 2 == 0));
        ck_assert_uint_eq(page[0], byte);
        ck_assert_uint_eq(page[FIXTURE_BLOCK - 1], byte);
    }
}

static uint64_t allocated(const char *name)
{
    struct stat st = {0};
    return stat(harness_path(name), &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static bool exists(const char *name)
{
    return access(harness_path(name), F_OK) == 0;
}

static char *layer_path(bough_store *store, const char *branch)
{
    struct bough__branch_row row = {0};
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, branch));
    char *path = bough__format("s.bough/layers/%u.layer", row.layer);
    bough__branch_row_clear(&row);
    return path;
}

/* A commit of the machine that nothing refers to but the log: a fork of a dirty branch that is deleted again. */
static const char *commit_by_the_machine(bough_store *store, const char *branch)
{
    fixture_fork(store, "passing", branch);
    const char *id = fixture_id(store, "passing~0");
    delete_branch(store, "passing", false);
    return id;
}

/* ---- what is given back ---- */

TEST(a_deleted_branch)
{
    bough_store *store = fixture_store(BLOCKS);
    fixture_fork(store, "dev", "main");
    fixture_fill(store, "dev", 0, BLOCKS, 'd');
    commit_by_the_machine(store, "dev");
    char *path = layer_path(store, "dev");
    uint64_t nodes = allocated("s.bough/nodes/1.nodes");
    delete_branch(store, "dev", false);
    ck_assert(exists(path)); /* the commit has frames in it */
    bough_collection collection = collect(store, -1);
    ck_assert_uint_eq(collection.pruned, 0);
    ck_assert(exists(path)); /* it may be wanted back */
    collection = collect(store, 0);
    ck_assert_uint_eq(collection.pruned, 1);
    ck_assert(!exists(path));
    ck_assert_uint_ge(collection.freed_bytes, BLOCKS * FIXTURE_BLOCK);
    ck_assert_uint_lt(allocated("s.bough/nodes/1.nodes"), nodes);
    for (uint64_t block = 0; block < BLOCKS; block += 7)
        ck_assert_uint_eq(fixture_read(store, "main", block), (uint8_t)(block + 1));
    assert_whole(store);
    ck_assert_uint_eq(collect(store, 0).freed_bytes, 0);
    free(path);
    bough_store_close(store);
}

/* What a person committed stays, and so does what a tag, a base or a head names. */
TEST(what_stays)
{
    bough_store *store = fixture_store(BLOCKS);
    bough_tags tags = {0};
    fixture_fork(store, "dev", "main");
    fixture_fill(store, "dev", 0, BLOCKS, 'a');
    const char *by_hand = fixture_commit(store, "dev", "mine");
    fixture_fill(store, "dev", 0, BLOCKS, 'b');
    ASSERT_OK(bough_tag_create(&tags, store, "v1", commit_by_the_machine(store, "dev")));
    bough_tags_release(&tags);
    fixture_fill(store, "dev", 0, BLOCKS, 'c');
    fixture_fork(store, "child", "dev"); /* its base and head */
    fixture_fill(store, "dev", 0, BLOCKS, 'd');
    const char *nobodys = commit_by_the_machine(store, "dev");
    fixture_fill(store, "dev", 0, BLOCKS, 'e');
    ck_assert_uint_eq(collect(store, 0).pruned, 0); /* the head of dev */
    fixture_commit(store, "dev", "newer");
    ck_assert_uint_eq(collect(store, 0).pruned, 1);
    ck_assert_uint_eq(fixture_read(store, by_hand, 5), 'a');
    ck_assert_uint_eq(fixture_read(store, "v1", 5), 'b');
    ck_assert_uint_eq(fixture_read(store, "child", 5), 'c');
    ck_assert_uint_eq(fixture_read(store, "dev", 5), 'e');
    struct bough__target target = {0};
    struct bough__snapshot snapshot = {0};
    struct bough__layer *layer = NULL;
    ASSERT_OK(bough__target_resolve(&target, store, nobodys));
    ck_assert(target.commit.pruned);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__target_pin(&snapshot, &layer, store, &target));
    bough__target_clear(&target);
    const char *name = "again";
    bough_branches made = {0};
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_branch_create(&made, store, &name, 1, nobodys, NULL));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_tag_create(&tags, store, "v2", nobodys));
    bough_commits log = {0};
    ASSERT_OK(bough_commit_log(&log, store, "dev", 0));
    ck_assert_uint_eq(log.count, 6);
    ck_assert(log.items[1].pruned && !log.items[0].pruned);
    bough_commits_release(&log);
    assert_whole(store);
    bough_store_close(store);
}

/* Frames of a branch that goes on: of pruned commits, of transactions that nobody reads, of writers that died. */
TEST(frames_of_a_live_branch)
{
    bough_store *store = fixture_store(BLOCKS);
    fixture_fork(store, "dev", "main");
    for (int i = 0; i < 8; i++) {
        fixture_fill(store, "dev", 0, BLOCKS, (uint8_t)('a' + i));
        commit_by_the_machine(store, "dev");
    }
    fixture_commit(store, "dev", "all is in"); /* unchanged: the head stays */
    fixture_fill(store, "dev", 0, BLOCKS, 'z');
    char *path = layer_path(store, "dev");
    uint64_t before = allocated(path);
    ck_assert_uint_gt(before, 8 * BLOCKS * FIXTURE_BLOCK);
    ck_assert_uint_eq(collect(store, 0).pruned, 7);
    /* Two states are left, the head and what came after it; and a log. */
    ck_assert_uint_lt(allocated(path), 4 * BLOCKS * FIXTURE_BLOCK);
    assert_whole(store);
    struct stat st = {0};
    ck_assert_int_eq(stat(harness_path(path), &st), 0);
    for (int i = 0; i < 5; i++) { /* they are used again, and not only given back */
        fixture_fill(store, "dev", 0, BLOCKS, (uint8_t)('A' + i));
        assert_whole(store);
    }
    off_t size = st.st_size;
    ck_assert_int_eq(stat(harness_path(path), &st), 0);
    ck_assert_int_le(st.st_size, size + BLOCKS * FIXTURE_BLOCK);
    ck_assert_uint_eq(fixture_read(store, "dev", 7), 'E');
    ck_assert_uint_eq(fixture_read(store, "dev~0", 7), 'h');
    free(path);
    bough_store_close(store);
}

/* ---- who reads meanwhile ---- */

TEST(readers_over_a_gc)
{
    bough_store *store = fixture_store(BLOCKS);
    struct bough__snapshot of_branch = {0}, of_past = {0}, of_deleted = {0};
    struct bough__layer *layer = NULL, *none = NULL, *deleted = NULL;
    fixture_fork(store, "dev", "main");
    fixture_fork(store, "gone", "main");
    fixture_fill(store, "dev", 0, BLOCKS, 'a');
    fixture_fill(store, "gone", 0, BLOCKS, 'g');
    pin_ref(&of_past, &none, store, commit_by_the_machine(store, "dev"));
    ck_assert_ptr_null(none);
    pin_ref(&of_deleted, &deleted, store, "gone");
    commit_by_the_machine(store, "gone");
    delete_branch(store, "gone", true);
    fixture_fill(store, "dev", 0, BLOCKS, 'b');
    pin_ref(&of_branch, &layer, store, "dev");
    for (int i = 0; i < 4; i++) {
        fixture_fill(store, "dev", 0, BLOCKS, (uint8_t)('c' + i));
        fixture_commit(store, "dev", "on");
        collect(store, 0);
        check_blocks(&of_branch, 0, BLOCKS, 'b');
        check_blocks(&of_past, 0, BLOCKS, 'a');
        check_blocks(&of_deleted, 0, BLOCKS, 'g');
    }
    assert_whole(store);
    uint64_t held = collect(store, 0).store_bytes;
    bough__snapshot_release(&of_branch);
    bough__layer_close(layer);
    bough__snapshot_release(&of_past);
    bough__snapshot_release(&of_deleted);
    bough__layer_close(deleted);
    bough_collection collection = collect(store, 0);
    ck_assert_uint_lt(collection.store_bytes + 2 * BLOCKS * FIXTURE_BLOCK, held); /* what only they kept */
    assert_whole(store);
    bough_store_close(store);
}

/* An idle connection keeps nothing back, and finds out that it was left behind. */
TEST(an_idle_reader)
{
    bough_store *store = fixture_store(BLOCKS);
    struct bough__snapshot idle = {0};
    struct bough__layer *layer = NULL;
    fixture_fork(store, "dev", "main");
    fixture_fill(store, "dev", 0, BLOCKS, 'a');
    pin_ref(&idle, &layer, store, "dev");
    bough__snapshot_park(&idle);
    ck_assert(bough__snapshot_resume(&idle));
    bough__snapshot_park(&idle);
    fixture_fill(store, "dev", 0, BLOCKS, 'b');
    char *path = layer_path(store, "dev");
    collect(store, 0);
    ck_assert_uint_lt(allocated(path), 2 * BLOCKS * FIXTURE_BLOCK);
    ck_assert(!bough__snapshot_resume(&idle));
    bough__snapshot_release(&idle);
    /* gc itself begins a new generation: the transaction is the same, and what the snapshot reads from is not. */
    ASSERT_OK(bough__snapshot_pin(&idle, layer));
    bough__snapshot_park(&idle);
    fixture_fill(store, "dev", 0, BLOCKS, 'c');
    fixture_fill(store, "dev", 0, BLOCKS, 'b');
    bough__snapshot_release(&idle);
    ASSERT_OK(bough__snapshot_pin(&idle, layer));
    uint64_t generation = layer->slot.generation;
    bough__snapshot_park(&idle);
    ck_assert(bough__snapshot_resume(&idle));
    bough__snapshot_park(&idle);
    collect(store, 0);
    ck_assert_uint_gt(layer->slot.generation, generation);
    ck_assert_uint_eq(bough__layer_newest(layer), idle.txn);
    ck_assert(!bough__snapshot_resume(&idle));
    bough__snapshot_release(&idle);
    bough__layer_close(layer);
    free(path);
    bough_store_close(store);
}

/* Its layer is open and nobody's, and its snapshot is parked, but still the newest: it may go on. */
TEST(an_idle_reader_of_a_deleted_branch)
{
    bough_store *store = fixture_store(BLOCKS);
    struct bough__snapshot idle = {0};
    struct bough__layer *layer = NULL;
    struct bough__marks *marks = NULL;
    fixture_fork(store, "gone", "main");
    fixture_fill(store, "gone", 0, 4000, 'g'); /* so many that they go to the tree at once */
    pin_ref(&idle, &layer, store, "gone");
    bough__snapshot_park(&idle);
    delete_branch(store, "gone", true);
    collect(store, 0);
    ck_assert(bough__snapshot_resume(&idle));
    check_blocks(&idle, 0, 4000, 'g');
    ASSERT_OK(bough__marks_create(&marks, store->space)); /* past the cache of nodes */
    ASSERT_OK(bough__marks_tree(marks, idle.tree.top));
    ck_assert_uint_gt(bough__marks_bytes(marks), 4000 * FIXTURE_BLOCK);
    bough__marks_free(marks);
    bough__snapshot_release(&idle);
    bough__layer_close(layer);
    collect(store, 0);
    ck_assert_uint_lt(collect(store, 0).live_bytes, 4000 * FIXTURE_BLOCK);
    bough_store_close(store);
}

/* The branch leaves its layer between the look at its row and the opening, and gc takes the layer's log, which no
 * commit needs. What the opener finds then is an older state with fewer frames; the file must not be cut to it. */
static void opened_by_an_old_row(int (*open_layer)(struct bough__layer **, struct bough_store *,
                                                   const struct bough__branch_row *), int expected)
{
    bough_store *store = fixture_store(8);
    struct bough__branch_row row = {0};
    struct bough__layer *layer = NULL, *open = NULL;
    bough_sealed left = {0};
    fixture_fork(store, "dev", "main");
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, "dev"));
    ASSERT_OK(bough__branch_layer(&open, store, &row)); /* so that nobody notes the newest transaction in the header */
    fixture_fill(store, "dev", 0, 4000, 'a'); /* a checkpoint: the log goes among the frames */
    for (uint64_t block = 0; block < 40; block++)
        fixture_write(store, "dev", block, 'b');
    ASSERT_OK(bough_branch_reset(&left, store, "dev", "main", NULL));
    bough__layer_close(open);
    collect(store, -1);
    int rc = open_layer(&layer, store, &row);
    ck_assert_int_eq(rc, expected);
    bough__layer_close(layer);
    for (uint64_t block = 0; block < 41; block++)
        ck_assert_uint_eq(fixture_read(store, left.left, block), block < 40 ? 'b' : 'a');
    assert_whole(store);
    bough_sealed_release(&left);
    bough__branch_row_clear(&row);
    bough_store_close(store);
}

TEST(a_left_layer_opened_by_an_old_row) { opened_by_an_old_row(bough__branch_layer, BOUGH_STALE); }
TEST(a_left_layer_looked_at_by_an_old_row) { opened_by_an_old_row(bough__branch_layer_as_was, BOUGH_OK); }

/* A reader that gc cannot see. */
TEST(a_reader_without_permission)
{
    bough_store *store = fixture_store(8);
    bough_collection collection = {0};
    bough_options options = BOUGH_OPTIONS_INIT;
    options.timeout_ms = 0;
    int fd = open(harness_path("s.bough/db"), O_RDONLY);
    ASSERT_OK(bough__os_lock(fd, BOUGH__STORE_UNSEEN_BYTE, BOUGH__SHARED, "db"));
    ASSERT_CODE(BOUGH_BUSY, bough_gc(&collection, store, 0, false, &options));
    ASSERT_OK(bough_gc(&collection, store, 0, true, &options));
    close(fd);
    ASSERT_OK(bough_gc(&collection, store, 0, false, &options));
    fd = open(harness_path("s.bough/db"), O_RDWR);
    ASSERT_OK(bough__os_lock(fd, BOUGH__STORE_GC_BYTE, BOUGH__EXCLUSIVE, "db"));
    ASSERT_CODE(BOUGH_BUSY, bough_gc(&collection, store, 0, false, &options));
    close(fd);
    bough_store_close(store);
}

/* ---- what is on its way ---- */

/* gc runs between the fold of a commit and its row. */
TEST(a_commit_on_its_way)
{
    bough_store *store = fixture_store(BLOCKS);
    struct bough__branch_row row = {0};
    struct bough__seal seal = {0};
    bool changed = false;
    fixture_fork(store, "dev", "main");
    fixture_fill(store, "dev", 0, BLOCKS, 'a');
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, "dev"));
    ASSERT_OK(bough__seal_begin(&seal, store, &row));
    fixture_fill(store, "dev", 0, BLOCKS, 'b');
    for (int i = 0; i < 3; i++)
        collect(store, 0);
    ASSERT_OK(bough__catalog_begin(store->catalog));
    ASSERT_OK(bough__seal_record(&changed, &seal, &row, "late", false));
    ASSERT_OK(bough__catalog_commit(store->catalog));
    bough__seal_end(&seal);
    ck_assert(changed);
    bough__branch_row_clear(&row);
    collect(store, 0);
    for (int i = 0; i < 3; i++)
        fixture_fill(store, "dev", 0, BLOCKS, (uint8_t)('c' + i));
    for (uint64_t block = 0; block < BLOCKS; block++)
        ck_assert_uint_eq(fixture_read(store, "dev~0", block), 'a');
    assert_whole(store);
    bough_store_close(store);
}

/* The same, where the fold filled a node file and went on in the next one. */
TEST(a_commit_over_two_node_files)
{
    enum { NODES = 1 << 18, NODE_BYTES = 4096 };
    bough_store *store = fixture_store(BLOCKS);
    struct bough__branch_row row = {0};
    struct bough__seal seal = {0};
    bool changed = false;
    fixture_fork(store, "dev", "main");
    fixture_fill(store, "dev", 0, BLOCKS, 'a');
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, "dev"));
    ck_assert_int_eq(truncate(harness_path("s.bough/nodes/1.nodes"), (off_t)(NODES - 2) * NODE_BYTES), 0);
    ASSERT_OK(bough__seal_begin(&seal, store, &row));
    ck_assert(exists("s.bough/nodes/2.nodes"));
    collect(store, 0);
    ASSERT_OK(bough__catalog_begin(store->catalog));
    ASSERT_OK(bough__seal_record(&changed, &seal, &row, "late", false));
    ASSERT_OK(bough__catalog_commit(store->catalog));
    bough__seal_end(&seal);
    ck_assert(changed);
    bough__branch_row_clear(&row);
    assert_whole(store);
    bough_store_close(store);
}

static struct {
    int (*fallocate)(int fd, int mode, off_t offset, off_t len);
    bool is_done;
} midst;

/* The first bytes are given back: the roots were read. Now a commit is made, and its branch goes on. */
static int commit_in_the_midst(int fd, int mode, off_t offset, off_t len)
{
    if (!midst.is_done) {
        midst.is_done = true;
        bough_store *store = fixture_open();
        fixture_commit(store, "dev", "in the midst");
        fixture_fill(store, "dev", 0, BLOCKS, 'n');
        bough_store_close(store);
    }
    return midst.fallocate(fd, mode, offset, len);
}

TEST(a_commit_in_the_midst)
{
    bough_store *store = fixture_store(BLOCKS);
    fixture_fork(store, "dev", "main");
    for (int i = 0; i < 4; i++) {
        fixture_fill(store, "dev", 0, BLOCKS, (uint8_t)('a' + i));
        commit_by_the_machine(store, "dev");
    }
    fixture_fill(store, "dev", 0, BLOCKS, 'm');
    midst.fallocate = bough__os.fallocate;
    bough__os.fallocate = commit_in_the_midst;
    collect(store, 0);
    bough__os.fallocate = midst.fallocate;
    ck_assert(midst.is_done);
    for (int i = 0; i < 4; i++)
        fixture_fill(store, "dev", 0, BLOCKS, (uint8_t)('p' + i));
    for (uint64_t block = 0; block < BLOCKS; block++)
        ck_assert_uint_eq(fixture_read(store, "dev~0", block), 'm');
    assert_whole(store);
    bough_store_close(store);
}

/* gc runs while a layer is filled, and while one is being made. */
TEST(a_layer_on_its_way)
{
    bough_store *store = fixture_store(8);
    struct bough__filler *filler = NULL;
    struct bough__entry entry = {0};
    uint8_t page[FIXTURE_BLOCK] = {1};
    uint32_t number = 0;
    ASSERT_OK(bough__catalog_begin(store->catalog));
    ASSERT_OK(bough__catalog_new_layer(&number, store->catalog));
    ASSERT_OK(bough__catalog_commit(store->catalog));
    ASSERT_OK(bough__filler_begin(&filler, store->space, number, FIXTURE_BLOCK));
    ASSERT_OK(bough__filler_add(&entry, filler, 0, page));
    char *path = bough__format("s.bough/layers/%u.layer", number);
    collect(store, 0);
    ck_assert(exists(path));
    bough__filler_end(filler, true); /* as after a crash: no row came */
    collect(store, 0);
    ck_assert(!exists(path));
    harness_write_file(harness_path("s.bough/layers/9999.new"), page, sizeof page);
    int fd = open(harness_path("s.bough/layers/9999.new"), O_RDWR);
    ASSERT_OK(bough__os_lock(fd, BOUGH__LAYER_READER_BYTE, BOUGH__SHARED, "draft"));
    collect(store, 0);
    ck_assert(exists("s.bough/layers/9999.new"));
    close(fd);
    collect(store, 0);
    ck_assert(!exists("s.bough/layers/9999.new"));
    free(path);
    bough_store_close(store);
}

static int read_pattern(void *context, uint64_t offset, void *buffer, size_t len_bytes)
{
    uint8_t *out = buffer;
    (void)context;
    for (size_t i = 0; i < len_bytes; i++) {
        uint64_t block = (offset + i) / FIXTURE_BLOCK;
        out[i] = (uint8_t)(block == 5 ? 0xee : block + 1);
    }
    return BOUGH_OK;
}

/* A branch is written to and put back to its head byte for byte, so that no commit names its layer; then an import
 * builds on that state. The layer goes when nobody has it open. */
TEST(an_import_over_what_was_put_back)
{
    bough_store *store = fixture_store(BLOCKS);
    bough_transfer transfer;
    struct bough__source source = {
        .size_bytes = BLOCKS * FIXTURE_BLOCK, .page_size = FIXTURE_BLOCK, .read = read_pattern, .mode = 0600};
    fixture_fork(store, "dev", "main");
    for (int i = 0; i < 45; i++) /* more than the log takes */
        fixture_fill(store, "dev", 0, BLOCKS, (uint8_t)('a' + i % 20));
    for (uint64_t block = 0; block < BLOCKS; block++)
        fixture_write(store, "dev", block, (uint8_t)(block + 1));
    ASSERT_OK(bough__store_import(&transfer, store, "dev", &source, NULL));
    bough_transfer_release(&transfer);
    bough_store_close(store);
    store = fixture_open();
    for (uint64_t block = 0; block < BLOCKS; block++)
        ck_assert_uint_eq(fixture_read(store, "dev", block), (uint8_t)(block == 5 ? 0xee : block + 1));
    assert_whole(store);
    bough_store_close(store);
}

/* ---- branches whose time is over ---- */

TEST(branches_with_an_end)
{
    bough_store *store = fixture_store(8);
    bough_options options = BOUGH_OPTIONS_INIT;
    bough_branches made = {0};
    bough_collection collection = {0};
    const char *names[] = {"short", "long", "protected", "open", "parent", "moved"};
    bough_sealed sealed;
    options.ttl_ms = 1;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        options.ttl_ms = i == 1 ? 3600000 : 1;
        ASSERT_OK(bough_branch_create(&made, store, &names[i], 1, "main", &options));
        bough_branches_release(&made);
        fixture_write(store, names[i], 1, 'x');
    }
    options.ttl_ms = 1;
    const char *child = "child";
    ASSERT_OK(bough_branch_create(&made, store, &child, 1, "parent", &options));
    bough_branches_release(&made);
    fixture_fork(store, "mother/child", "short"); /* keeps short */
    ASSERT_OK(bough_branch_protect(&made, store, "protected", true));
    bough_branches_release(&made);
    struct fixture_peer peer = fixture_peer("open"), late = fixture_peer("moved");
    ASSERT_OK(bough_branch_reset(&sealed, store, "moved", "main", NULL));
    bough_sealed_release(&sealed);
    usleep(5000);
    ASSERT_OK(bough_gc(&collection, store, -1, true, NULL));
    ck_assert_uint_eq(collection.dropped.count, 2);
    bough_collection_release(&collection);
    ck_assert_uint_eq(fixture_count(store), 9);
    ASSERT_OK(bough_gc(&collection, store, -1, false, NULL));
    ck_assert_uint_eq(collection.dropped.count, 2);
    bough_collection_release(&collection);
    ck_assert(!fixture_has(store, "parent") && !fixture_has(store, "child"));
    ck_assert(fixture_has(store, "short") && fixture_has(store, "long") && fixture_has(store, "open"));
    ck_assert(fixture_has(store, "moved")); /* open where it was */
    fixture_end_peer(&late); /* which has the other's pipe, too */
    fixture_end_peer(&peer);
    delete_branch(store, "mother/child", false);
    ASSERT_OK(bough_gc(&collection, store, -1, false, NULL));
    ck_assert_uint_eq(collection.dropped.count, 3);
    bough_collection_release(&collection);
    ck_assert_uint_eq(fixture_count(store), 3); /* main, long, protected */
    bough_store_close(store);
}

static bough_store *late_store;
static struct bough__layer *opened_late, *left_late;
static ssize_t (*real_pread)(int fd, void *buffer, size_t len, off_t offset);

static struct bough__layer *open_layer(bough_store *store, const char *branch)
{
    struct bough__branch_row row = {0};
    struct bough__layer *layer = NULL;
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, branch));
    ASSERT_OK(bough__branch_layer(&layer, store, &row));
    bough__branch_row_clear(&row);
    return layer;
}

/* Between gc's look at who has what open and its deletions it reads layers. */
static ssize_t open_late(int fd, void *buffer, size_t len, off_t offset)
{
    char link[64], path[512] = "";
    bough_sealed sealed;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) > 0 && strstr(path, ".layer") != NULL) {
        bough__os.pread = real_pread;
        late_store = fixture_open();
        opened_late = open_layer(late_store, "b40");
        left_late = open_layer(late_store, "b7");
        ASSERT_OK(bough_branch_reset(&sealed, late_store, "b7", "main", NULL));
        bough_sealed_release(&sealed);
    }
    return real_pread(fd, buffer, len, offset);
}

/* Who comes after the look is in the way of the deletion of his branch, and of no other. */
TEST(opened_after_the_look)
{
    enum { COUNT = 70 }; /* three batches */
    bough_store *store = fixture_store(8);
    bough_options options = BOUGH_OPTIONS_INIT;
    bough_branches made = {0};
    bough_collection collection = {0};
    char text[COUNT][8];
    const char *names[COUNT];
    for (int i = 0; i < COUNT; i++) {
        snprintf(text[i], sizeof text[i], "b%d", i);
        names[i] = text[i];
    }
    options.ttl_ms = 1;
    ASSERT_OK(bough_branch_create(&made, store, names, COUNT, "main", &options));
    bough_branches_release(&made);
    fixture_write(store, "b40", 1, 'x');
    fixture_write(store, "b7", 1, 'x');
    usleep(5000);
    real_pread = bough__os.pread;
    bough__os.pread = open_late;
    ASSERT_OK(bough_gc(&collection, store, -1, false, NULL));
    ck_assert(bough__os.pread == real_pread);
    ck_assert_uint_eq(collection.dropped.count, COUNT - 2);
    ck_assert_str_eq(collection.dropped.items[0].name, "b69"); /* from the newest */
    ck_assert_str_eq(collection.dropped.items[COUNT - 3].name, "b0");
    bough_collection_release(&collection);
    ck_assert(fixture_has(store, "b40") && fixture_has(store, "b7"));
    ck_assert(!bough__layer_is_doubtful(opened_late));
    bough__layer_close(opened_late);
    bough__layer_close(left_late);
    bough_store_close(late_store);
    ASSERT_OK(bough_gc(&collection, store, -1, false, NULL));
    ck_assert_uint_eq(collection.dropped.count, 2);
    bough_collection_release(&collection);
    assert_whole(store);
    bough_store_close(store);
}

/* ---- damage, dry runs ---- */

static uint64_t store_sum(void)
{
    static const char *const names[] = {"layers/1.layer", "layers/2.layer", "layers/3.layer", "layers/4.layer",
                                        "nodes/1.nodes",  "catalog.db",     "catalog.db-wal", "db"};
    uint64_t sum = 0;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[64];
        size_t len = 0;
        snprintf(path, sizeof path, "s.bough/%s", names[i]);
        if (!exists(path))
            continue;
        uint8_t *bytes = harness_read_file(harness_path(path), &len);
        sum = bough__xxh(bytes, len, sum + allocated(path));
        free(bytes);
    }
    return sum;
}

static bough_store *store_with_garbage(void)
{
    bough_store *store = fixture_store(BLOCKS);
    fixture_fork(store, "dev", "main");
    fixture_fill(store, "dev", 0, BLOCKS, 'a');
    commit_by_the_machine(store, "dev");
    fixture_fill(store, "dev", 0, BLOCKS, 'b');
    fixture_commit(store, "dev", "mine");
    fixture_fork(store, "gone", "dev");
    fixture_fill(store, "gone", 0, BLOCKS, 'g');
    commit_by_the_machine(store, "gone");
    delete_branch(store, "gone", false);
    return store;
}

TEST(a_dry_run)
{
    bough_store *store = store_with_garbage();
    bough_collection dry = {0};
    uint64_t sum = store_sum();
    ASSERT_OK(bough_gc(&dry, store, 0, true, NULL));
    ck_assert_uint_eq(store_sum(), sum);
    ck_assert_uint_eq(dry.pruned, 2);
    bough_collection wet = collect(store, 0);
    ck_assert_uint_eq(wet.pruned, 2);
    ck_assert_uint_ge(wet.freed_bytes, 2 * BLOCKS * FIXTURE_BLOCK);
    /* A dry run does not see what a checkpoint moves. */
    ck_assert_uint_lt(dry.freed_bytes, wet.freed_bytes + wet.freed_bytes / 4);
    ck_assert_uint_gt(dry.freed_bytes, wet.freed_bytes - wet.freed_bytes / 4);
    bough_collection_release(&dry);
    bough_store_close(store);
}

static bough_collection run_dry(bough_store *store)
{
    bough_collection dry = {0};
    ASSERT_OK(bough_gc(&dry, store, 0, true, NULL));
    bough_branches_release(&dry.dropped);
    return dry;
}

/* It promises nothing that a reader of an older state keeps from gc. */
TEST(a_dry_run_beside_a_reader)
{
    bough_store *store = fixture_store(BLOCKS);
    struct bough__snapshot old = {0};
    struct bough__layer *layer = NULL;
    fixture_fork(store, "dev", "main");
    fixture_fill(store, "dev", 0, BLOCKS, 'a');
    fixture_commit(store, "dev", "mine");
    fixture_fill(store, "dev", 0, BLOCKS, 'b');
    commit_by_the_machine(store, "dev");
    pin_ref(&old, &layer, store, "dev");
    ck_assert_uint_eq(run_dry(store).held_bytes, 0); /* he reads the newest */
    for (int i = 0; i < 3; i++) {
        fixture_fill(store, "dev", 0, BLOCKS, (uint8_t)('c' + i));
        commit_by_the_machine(store, "dev");
    }
    fixture_commit(store, "dev", "newer");
    bough_collection dry = run_dry(store);
    uint64_t pages = BLOCKS * FIXTURE_BLOCK;
    ck_assert_uint_ge(dry.held_bytes, pages);
    bough_collection wet = collect(store, 0);
    ck_assert_uint_le(dry.freed_bytes, wet.freed_bytes + pages / 4);
    check_blocks(&old, 0, BLOCKS, 'b');
    bough__snapshot_release(&old);
    bough__layer_close(layer);
    dry = run_dry(store);
    ck_assert_uint_eq(dry.held_bytes, 0);
    ck_assert_uint_ge(dry.freed_bytes, pages);
    wet = collect(store, 0);
    ck_assert_uint_ge(wet.freed_bytes + pages / 4, dry.freed_bytes);
    assert_whole(store);
    bough_store_close(store);
}

TEST(a_damaged_node)
{
    uint32_t at = 0;
    struct bough__node node;
    bough_collection collection = {0};
    bough_store *store = store_with_garbage();
    /* A leaf of the commit that a person made. */
    struct bough__target target = {0};
    ASSERT_OK(bough__target_resolve(&target, store, "dev~0"));
    ASSERT_OK(bough__nodes_read(&node, store->space->nodes, target.commit.tree.top));
    at = node.children[1].ref.index;
    bough__target_clear(&target);
    int fd = open(harness_path("s.bough/nodes/1.nodes"), O_RDWR);
    ck_assert_int_eq(pwrite(fd, "rotten", 6, (off_t)at * BOUGH__NODE_SIZE + 300), 6);
    close(fd);
    uint64_t sum = store_sum();
    ASSERT_CODE(BOUGH_CORRUPT, bough_gc(&collection, store, 0, false, NULL));
    ck_assert_uint_eq(store_sum(), sum);
    bough_store_close(store);
}

/* The catalog lost its newest rows: what they spoke of is not garbage. */
TEST(a_catalog_of_yesterday)
{
    bough_collection collection = {0};
    bough_store *store = store_with_garbage();
    uint8_t page[FIXTURE_BLOCK] = {0};
    harness_write_file(harness_path("s.bough/layers/4000.layer"), page, sizeof page);
    ASSERT_CODE(BOUGH_CORRUPT, bough_gc(&collection, store, 0, false, NULL));
    ck_assert(exists("s.bough/layers/4000.layer"));
    bough_store_close(store);
}

/* ---- stories ---- */

enum { NAMES = 6, STORY_BLOCKS = 80, STATES = 60, READERS = 4 };

struct model_state {
    uint8_t bytes[STORY_BLOCKS];
    uint64_t blocks;
};

struct story {
    struct harness_random random;
    bough_store *store;
    bool has[NAMES];
    struct model_state branch[NAMES];
    struct {
        char ref[BOUGH_ID_SIZE];
        struct model_state state;
    } kept[STATES]; /* commits by hand, tags */
    size_t kept_count;
    struct {
        struct bough__snapshot snapshot;
        struct bough__layer *layer;
        struct model_state state;
        bool is_open;
    } readers[READERS];
    unsigned tags;
};

static uint64_t below(struct story *story, uint64_t limit)
{
    return harness_below(&story->random, limit);
}

static const char *name_of(size_t i)
{
    static const char *const names[NAMES] = {"main", "a", "b", "c", "d", "e"};
    return names[i];
}

static void check_state(const struct bough__snapshot *snapshot, const struct model_state *state)
{
    uint8_t page[FIXTURE_BLOCK];
    ck_assert_uint_eq(snapshot->size_bytes, state->blocks * FIXTURE_BLOCK);
    for (uint64_t block = 0; block < state->blocks; block++) {
        ASSERT_OK(bough__snapshot_read(snapshot, block, page, true));
        ck_assert_uint_eq(page[0], state->bytes[block]);
        ck_assert_uint_eq(page[FIXTURE_BLOCK - 1], state->bytes[block]);
    }
}

static void check_ref(struct story *story, const char *ref, const struct model_state *state)
{
    struct bough__snapshot snapshot = {0};
    struct bough__layer *layer = NULL;
    pin_ref(&snapshot, &layer, story->store, ref);
    check_state(&snapshot, state);
    bough__snapshot_release(&snapshot);
    bough__layer_close(layer);
}

static void check_story(struct story *story)
{
    for (size_t i = 0; i < NAMES; i++)
        if (story->has[i])
            check_ref(story, name_of(i), &story->branch[i]);
    for (size_t i = 0; i < story->kept_count; i++)
        check_ref(story, story->kept[i].ref, &story->kept[i].state);
    for (size_t i = 0; i < READERS; i++)
        if (story->readers[i].is_open)
            check_state(&story->readers[i].snapshot, &story->readers[i].state);
}

static void keep_ref(struct story *story, const char *ref, const struct model_state *state)
{
    if (story->kept_count == STATES)
        return;
    snprintf(story->kept[story->kept_count].ref, BOUGH_ID_SIZE, "%s", ref);
    story->kept[story->kept_count++].state = *state;
}

static void write_some(struct story *story, size_t i)
{
    struct model_state *state = &story->branch[i];
    uint64_t first = below(story, STORY_BLOCKS), count = 1 + below(story, below(story, 3) ? 6 : STORY_BLOCKS);
    uint8_t byte = (uint8_t)(1 + below(story, 4)); /* few, so that content repeats */
    if (below(story, 10) == 0) {
        state->blocks = 1 + below(story, STORY_BLOCKS);
        fixture_resize(story->store, name_of(i), state->blocks * FIXTURE_BLOCK);
        memset(state->bytes + state->blocks, 0, STORY_BLOCKS - state->blocks);
        return;
    }
    uint64_t end = first + count < STORY_BLOCKS ? first + count : STORY_BLOCKS;
    fixture_fill(story->store, name_of(i), first, end, byte);
    memset(state->bytes + first, byte, end - first);
    if (state->blocks < end)
        state->blocks = end;
}

static void fork_one(struct story *story, size_t from)
{
    size_t to = 1 + below(story, NAMES - 1);
    if (story->has[to])
        return;
    fixture_fork(story->store, name_of(to), name_of(from));
    story->has[to] = true;
    story->branch[to] = story->branch[from];
}

static void drop_one(struct story *story, size_t i)
{
    bough_branches gone = {0};
    bough_options options = BOUGH_OPTIONS_INIT;
    const char *name = name_of(i);
    options.force = true;
    int rc = i == 0 ? BOUGH_REFUSED : bough_branch_delete(&gone, story->store, &name, 1, &options);
    ck_assert(rc == BOUGH_OK || rc == BOUGH_REFUSED);
    if (rc == BOUGH_OK)
        story->has[i] = false;
    bough_branches_release(&gone);
}

static void reset_one(struct story *story, size_t i)
{
    bough_sealed sealed = {0};
    if (story->kept_count == 0)
        return;
    size_t to = below(story, story->kept_count);
    ASSERT_OK(bough_branch_reset(&sealed, story->store, name_of(i), story->kept[to].ref, NULL));
    story->branch[i] = story->kept[to].state;
    bough_sealed_release(&sealed);
}

static void commit_one(struct story *story, size_t i)
{
    bough_sealed sealed = {0};
    ASSERT_OK(bough_commit_create(&sealed, story->store, name_of(i), NULL));
    if (sealed.changed)
        keep_ref(story, sealed.id, &story->branch[i]);
    bough_sealed_release(&sealed);
}

static void tag_one(struct story *story, size_t i)
{
    char name[16];
    bough_tags tags = {0};
    snprintf(name, sizeof name, "v%u", story->tags++);
    ASSERT_OK(bough_tag_create(&tags, story->store, name, name_of(i)));
    bough_tags_release(&tags);
    keep_ref(story, name, &story->branch[i]);
}

static void end_reading(struct story *story, size_t at)
{
    check_state(&story->readers[at].snapshot, &story->readers[at].state);
    bough__snapshot_release(&story->readers[at].snapshot);
    bough__layer_close(story->readers[at].layer);
    story->readers[at].is_open = false;
}

static void read_on(struct story *story, size_t i)
{
    size_t at = below(story, READERS);
    if (story->readers[at].is_open) {
        end_reading(story, at);
        return;
    }
    char ref[32];
    snprintf(ref, sizeof ref, "%s", name_of(i));
    pin_ref(&story->readers[at].snapshot, &story->readers[at].layer, story->store, ref);
    story->readers[at].state = story->branch[i];
    story->readers[at].is_open = true;
}

static void step(struct story *story)
{
    size_t i = below(story, NAMES);
    if (!story->has[i])
        i = 0;
    switch (below(story, 16)) {
    case 0:
        fork_one(story, i);
        break;
    case 1:
        drop_one(story, i);
        break;
    case 2:
        commit_one(story, i);
        break;
    case 3:
        tag_one(story, i);
        break;
    case 4:
        reset_one(story, i);
        break;
    case 5:
    case 6:
        read_on(story, i);
        break;
    case 7:
    case 8:
        collect(story->store, below(story, 5) ? 0 : -1);
        check_story(story);
        break;
    default:
        write_some(story, i);
    }
}

static void tell_story(uint64_t seed)
{
    struct story *story = calloc(1, sizeof *story);
    story->random.state = seed;
    harness_remove_tree(harness_path("s.bough"));
    story->store = fixture_store(STORY_BLOCKS);
    story->has[0] = true;
    story->branch[0].blocks = STORY_BLOCKS;
    for (size_t i = 0; i < STORY_BLOCKS; i++)
        story->branch[0].bytes[i] = (uint8_t)(i + 1);
    for (int i = 0; i < 150; i++)
        step(story);
    for (size_t i = 0; i < READERS; i++)
        if (story->readers[i].is_open)
            end_reading(story, i);
    collect(story->store, 0);
    check_story(story);
    assert_whole(story->store);
    bough_store_close(story->store);
    free(story);
}

TEST(random_stories)
{
    uint64_t first = harness_number("BOUGH_SEED", 1), count = harness_number("BOUGH_STORIES", 40);
    for (uint64_t seed = first; seed < first + count; seed++) {
        printf("story %llu\n", (unsigned long long)seed);
        tell_story(seed * 7919);
    }
}

/* ---- what branches count as their own --------------------------------------------------------------------------- */

static uint64_t own_bytes(bough_store *store, const char *branch)
{
    bough_branches list = {0};
    ASSERT_OK(bough_branch_get(&list, store, branch));
    uint64_t bytes = list.items[0].own_bytes;
    bough_branches_release(&list);
    return bytes;
}

static uint64_t layer_file_bytes(bough_store *store, const char *branch)
{
    char *path = layer_path(store, branch);
    uint64_t bytes = allocated(path);
    free(path);
    return bytes;
}

/* Machine's commits that are pruned, checkpoints that are superseded: their nodes are gone, and nobody's any more. */
TEST(what_is_given_back_is_nobodys_own)
{
    enum { NODES_OF_A_STATE = BLOCKS / 64 + 2 }; /* leaves, and one above them */
    bough_store *store = fixture_store(BLOCKS);
    fixture_fork(store, "dev", "main");
    fixture_fork(store, "idle", "main");
    uint64_t mains = own_bytes(store, "main");
    for (int i = 0; i < 40; i++) {
        fixture_fill(store, "dev", 0, BLOCKS, (uint8_t)(i + 1));
        if (i % 4 == 3)
            commit_by_the_machine(store, "dev");
    }
    fixture_commit(store, "dev", "mine");
    uint64_t before = own_bytes(store, "dev") - layer_file_bytes(store, "dev");
    ck_assert_uint_gt(before, 10 * NODES_OF_A_STATE * BOUGH__NODE_SIZE);
    bough_collection collection = {0};
    ASSERT_OK(bough_gc(&collection, store, 0, true, NULL)); /* looking changes nothing */
    ck_assert_uint_eq(own_bytes(store, "dev") - layer_file_bytes(store, "dev"), before);
    bough_collection_release(&collection);
    ck_assert_uint_eq(collect(store, 0).pruned, 9);
    /* The commit, and the branch's own tree with what the checkpoint of gc wrote. */
    uint64_t after = own_bytes(store, "dev") - layer_file_bytes(store, "dev");
    ck_assert_uint_le(after, 3 * NODES_OF_A_STATE * BOUGH__NODE_SIZE);
    ck_assert_uint_ge(after, NODES_OF_A_STATE * BOUGH__NODE_SIZE);
    ck_assert_uint_eq(own_bytes(store, "main"), mains);
    ck_assert_uint_eq(own_bytes(store, "idle"), 0);
    collect(store, 0);
    ck_assert_uint_le(own_bytes(store, "dev") - layer_file_bytes(store, "dev"), after);
    ck_assert_uint_ge(own_bytes(store, "dev") - layer_file_bytes(store, "dev"), NODES_OF_A_STATE * BOUGH__NODE_SIZE);
    assert_whole(store);
    bough_store_close(store);
}

/* ---- progress ---------------------------------------------------------------------------------------------------- */

static struct {
    uint64_t calls, stop_at, last, total;
} progress;

static int note_progress(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    ck_assert_uint_ge(done, progress.last);
    ck_assert_uint_le(done, total);
    ck_assert(progress.total == 0 || progress.total == total);
    progress.last = done;
    progress.total = total;
    return ++progress.calls == progress.stop_at;
}

/* The callback hears of all of it, and may stop it at any call: then less was given back, and nothing is lost. */
TEST(progress_and_interruption)
{
    bough_options options = BOUGH_OPTIONS_INIT;
    bough_collection collection = {0};
    options.progress = note_progress;
    bough_store *store = fixture_store(BLOCKS);
    for (uint64_t stop = 1;; stop++) {
        fixture_fork(store, "dev", "main");
        fixture_fill(store, "dev", 0, BLOCKS, (uint8_t)(stop + 1));
        commit_by_the_machine(store, "dev");
        if (stop % 2)
            delete_branch(store, "dev", false);
        memset(&progress, 0, sizeof progress);
        progress.stop_at = stop;
        int rc = bough_gc(&collection, store, 0, false, &options);
        bool was_stopped = progress.calls >= stop;
        ASSERT_CODE(was_stopped ? BOUGH_INTERRUPTED : BOUGH_OK, rc);
        if (rc == BOUGH_OK)
            bough_collection_release(&collection);
        assert_whole(store);
        ck_assert_uint_eq(fixture_read(store, "main", 7), 8);
        if (stop % 2 == 0) {
            ck_assert_uint_eq(fixture_read(store, "dev", 7), (uint8_t)(stop + 1));
            delete_branch(store, "dev", false);
        }
        if (!was_stopped)
            break;
    }
    ck_assert_uint_ge(progress.calls, 4);
    ck_assert_uint_eq(progress.last, progress.total);
    bough_store_close(store);
}

/* ---- a head that is pruned under a commit ------------------------------------------------------------------------ */

static int (*sync_of_nodes)(int fd);
static int ask, answer;

/* What another process does between a commit's nodes and its row: it commits a newer state, and gc prunes the head. */
static void commit_and_collect(void)
{
    bough_store *store = fixture_open();
    fixture_fill(store, "dev", 0, BLOCKS, 'c');
    fixture_commit(store, "dev", "newer");
    if (collect(store, 0).pruned != 1)
        _exit(2);
    bough_store_close(store);
}

static int stopping_sync(int fd)
{
    char link[64], target[512], byte = 'a';
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, target, sizeof target - 1);
    target[len > 0 ? len : 0] = 0;
    if (!strstr(target, ".nodes"))
        return sync_of_nodes(fd);
    bough__os.fdatasync = sync_of_nodes;
    ck_assert_int_eq((int)write(ask, &byte, 1), 1);
    ck_assert_int_eq((int)read(answer, &byte, 1), 1);
    return sync_of_nodes(fd);
}

/* The head's nodes are in a file of their own, since the one who commits keeps his locked. */
static void make_machines_head(void)
{
    struct bough__appender *appender = NULL;
    bough_store *store = fixture_store(BLOCKS);
    fixture_fork(store, "dev", "main");
    fixture_fill(store, "dev", 0, BLOCKS, 'a');
    ASSERT_OK(bough__appender_begin(&appender, store->space->nodes));
    commit_by_the_machine(store, "dev");
    bough__appender_end(appender);
    fixture_fill(store, "dev", 0, BLOCKS, 'b');
    bough_store_close(store);
}

static void in_a_child(void (*work)(void), int start, int end)
{
    char byte = 'z';
    pid_t pid = fork();
    if (pid == 0) {
        if (start >= 0 && read(start, &byte, 1) != 1)
            _exit(3);
        work();
        _exit(end < 0 || write(end, &byte, 1) == 1 ? 0 : 4);
    }
    if (start < 0)
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

TEST(the_head_is_pruned_while_a_commit_counts_from_it)
{
    int there[2], back[2];
    ck_assert_int_eq(pipe(there), 0);
    ck_assert_int_eq(pipe(back), 0);
    in_a_child(make_machines_head, -1, -1); /* so that nothing of it is in a cache */
    in_a_child(commit_and_collect, there[0], back[1]);
    close(back[1]);
    ask = there[1];
    answer = back[0];
    bough_store *store = fixture_open();
    bough_sealed sealed = {0};
    sync_of_nodes = bough__os.fdatasync;
    bough__os.fdatasync = stopping_sync;
    ASSERT_OK(bough_commit_create(&sealed, store, "dev", NULL));
    ck_assert(bough__os.fdatasync == sync_of_nodes);
    ck_assert(!sealed.changed); /* the other commit has that transaction */
    bough_sealed_release(&sealed);
    ck_assert_uint_eq(fixture_read(store, "dev", 5), 'c');
    assert_whole(store);
    bough_store_close(store);
}

int main(void)
{
    const struct harness_case cases[] = {
        CASE(a_deleted_branch),
        CASE(what_stays),
        CASE(frames_of_a_live_branch),
        CASE(readers_over_a_gc),
        CASE(an_idle_reader),
        CASE(an_idle_reader_of_a_deleted_branch),
        CASE(a_left_layer_opened_by_an_old_row),
        CASE(a_left_layer_looked_at_by_an_old_row),
        CASE(a_reader_without_permission),
        CASE(a_commit_on_its_way),
        CASE(a_commit_in_the_midst),
        CASE(a_commit_over_two_node_files),
        CASE(a_layer_on_its_way),
        CASE(an_import_over_what_was_put_back),
        CASE(branches_with_an_end),
        CASE(opened_after_the_look),
        CASE(a_dry_run),
        CASE(a_dry_run_beside_a_reader),
        CASE(a_damaged_node),
        CASE(a_catalog_of_yesterday),
        CASE(what_is_given_back_is_nobodys_own),
        CASE(progress_and_interruption),
        CASE(the_head_is_pruned_while_a_commit_counts_from_it),
        CASE(random_stories)};
    return harness_run("gc", cases, COUNT_OF(cases));
}
