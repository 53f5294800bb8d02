/* test_verify.c - damage of every kind is found and named, and nothing else is; what the store takes on the disk. */
#include "codec.h"
#include "error.h"
#include "faultos.h"
#include "files.h"
#include "harness.h"
#include "layer_file.h"
#include "os.h"
#include "store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_SIZE  1024
#define PAGE_COUNT 300

/* ---- a store with two branches, one of them written to ---------------------------------------------------------- */

struct memory {
    uint8_t *bytes;
};

static int memory_read(void *context, uint64_t offset, void *buffer, size_t len)
{
    memcpy(buffer, ((struct memory *)context)->bytes + offset, len);
    return BOUGH_OK;
}

static struct bough__source source_of(struct memory *memory)
{
    return (struct bough__source){.size_bytes = PAGE_COUNT * PAGE_SIZE,
                                  .page_size = PAGE_SIZE,
                                  .context = memory,
                                  .read = memory_read,
                                  .mode = 0644};
}

static void write_page(bough_store *store, const char *branch, uint64_t block, uint8_t byte)
{
    struct bough__branch_row row = {0};
    struct bough__layer *layer = NULL;
    struct bough__snapshot snapshot;
    struct bough__txn *txn = NULL;
    uint8_t page[PAGE_SIZE];
    memset(page, byte, sizeof page);
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, branch));
    ASSERT_OK(bough__branch_layer(&layer, store, &row));
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ASSERT_OK(bough__txn_begin(&txn, &snapshot));
    ASSERT_OK(bough__txn_write(txn, block, page));
    ASSERT_OK(bough__txn_commit(txn, BOUGH__DURABLE, &(uint64_t){0}));
    bough__txn_end(txn);
    bough__snapshot_release(&snapshot);
    bough__layer_close(layer);
    bough__branch_row_clear(&row);
}

static void fork_branch(bough_store *store, const char *name, const char *from)
{
    bough_branches made;
    ASSERT_OK(bough_branch_create(&made, store, &name, 1, from, NULL));
    bough_branches_release(&made);
}

static const char *store_path(void)
{
    static char path[512];
    snprintf(path, sizeof path, "%s", harness_path("v.bough"));
    return path;
}

/* main with PAGE_COUNT random pages in layer 1; `work`, forked from it, with one page written since. */
static void make_store(void)
{
    struct harness_random random = {99};
    struct memory memory = {malloc(PAGE_COUNT * PAGE_SIZE)};
    struct bough__source source = source_of(&memory);
    bough_transfer transfer;
    bough_store *store = NULL;
    harness_fill(&random, memory.bytes, PAGE_COUNT * PAGE_SIZE);
    ASSERT_OK(bough__store_init(&transfer, store_path(), NULL, &source, NULL));
    bough_transfer_release(&transfer);
    ASSERT_OK(bough_store_open(&store, store_path(), NULL));
    fork_branch(store, "work", "main");
    write_page(store, "work", 17, 0xee);
    bough_store_close(store);
    free(memory.bytes);
}

/* ---- verifying ------------------------------------------------------------------------------------------------- */

static int verify(bough_verification *out, const char *ref)
{
    bough_store *store = NULL;
    int rc = bough_store_open(&store, store_path(), NULL);
    if (rc == BOUGH_OK)
        rc = bough_verify(out, store, ref, NULL);
    bough_store_close(store);
    return rc;
}

static void expect_sound(const char *ref)
{
    bough_verification verification;
    ASSERT_OK(verify(&verification, ref));
    if (!verification.ok)
        ck_abort_msg("%s: %s", verification.findings[0].where, verification.findings[0].what);
    ck_assert_uint_eq(verification.finding_count, 0);
    ck_assert_uint_ge(verification.checked_bytes, PAGE_COUNT * PAGE_SIZE);
    bough_verification_release(&verification);
}

/* At least one finding, and one of them has the text in its place or its message. */
static size_t expect_finding(const char *ref, const char *text)
{
    bough_verification verification;
    bool found = false;
    ASSERT_OK(verify(&verification, ref));
    ck_assert_msg(!verification.ok && verification.finding_count > 0, "no damage found, '%s' was expected", text);
    for (size_t i = 0; i < verification.finding_count; i++)
        found = found || strstr(verification.findings[i].where, text) || strstr(verification.findings[i].what, text);
    ck_assert_msg(found, "'%s' was expected, not %s: %s", text, verification.findings[0].where,
                  verification.findings[0].what);
    size_t count = verification.finding_count;
    bough_verification_release(&verification);
    return count;
}

static const char *in_store(const char *name)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    ck_assert_int_lt(snprintf(path, sizeof paths[0], "%s/%s", store_path(), name), (int)sizeof paths[0]);
    return path;
}

static void flip(const char *name, uint64_t offset, unsigned bit)
{
    size_t len = 0;
    uint8_t *bytes = harness_read_file(in_store(name), &len);
    ck_assert_uint_lt(offset, len);
    bytes[offset] ^= (uint8_t)(1u << bit);
    harness_write_file(in_store(name), bytes, len);
    free(bytes);
}

TEST(a_sound_store)
{
    make_store();
    expect_sound(NULL);
    expect_sound("main");
    expect_sound("work");
    bough_verification verification;
    ASSERT_CODE(BOUGH_NOT_FOUND, verify(&verification, "nobody"));
}

TEST(a_bit_in_a_page)
{
    struct harness_random random = {1};
    char text[64];
    make_store();
    for (int i = 0; i < 20; i++) {
        uint64_t frame = harness_below(&random, PAGE_COUNT);
        uint64_t offset = bough__frame_offset(frame, PAGE_SIZE) + harness_below(&random, PAGE_SIZE);
        unsigned bit = (unsigned)harness_below(&random, 8);
        snprintf(text, sizeof text, "layer 1 frame %llu (block %llu of", (unsigned long long)frame,
                 (unsigned long long)frame);
        flip("layers/1.layer", offset, bit);
        ck_assert_uint_eq(expect_finding(NULL, text), 1); /* shared by two branches, said once */
        flip("layers/1.layer", offset, bit);
    }
    expect_sound(NULL);
}

TEST(every_damaged_page_is_named)
{
    make_store();
    flip("layers/1.layer", bough__frame_offset(3, PAGE_SIZE), 0);
    flip("layers/1.layer", bough__frame_offset(200, PAGE_SIZE) + 5, 1);
    ck_assert_uint_eq(expect_finding(NULL, "layer 1 frame 3 "), 2);
    expect_finding(NULL, "layer 1 frame 200 ");
}

TEST(a_page_written_since_the_last_commit)
{
    struct bough__branch_row row = {0};
    char name[BOUGH__FILE_NAME_SIZE], text[64];
    bough_store *store = NULL;
    make_store();
    ASSERT_OK(bough_store_open(&store, store_path(), NULL));
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, "work"));
    bough_store_close(store);
    bough__file_name(name, BOUGH__LAYER_FILE, row.layer);
    snprintf(text, sizeof text, "layer %u frame 0 (block 17 of branch work)", row.layer);
    flip(name, bough__frame_offset(0, PAGE_SIZE) + 100, 3);
    ck_assert_uint_eq(expect_finding(NULL, text), 1);
    expect_finding("work", text);
    expect_sound("main");
    bough__branch_row_clear(&row);
}

TEST(a_bit_in_a_node)
{
    struct harness_random random = {2};
    struct stat info;
    make_store();
    ck_assert_int_eq(stat(in_store("nodes/1.nodes"), &info), 0);
    uint64_t cells = (uint64_t)info.st_size / BOUGH__NODE_SIZE;
    ck_assert_uint_ge(cells, 6); /* five leaves and a root */
    for (int i = 0; i < 20; i++) {
        uint64_t offset = BOUGH__NODE_SIZE + harness_below(&random, (cells - 1) * BOUGH__NODE_SIZE);
        flip("nodes/1.nodes", offset, 2);
        expect_finding(NULL, "nodes/1.nodes");
        flip("nodes/1.nodes", offset, 2);
    }
    expect_sound(NULL);
}

TEST(files_that_are_gone_or_cut)
{
    make_store();
    size_t len = 0, nodes_len = 0;
    uint8_t *layer = harness_read_file(in_store("layers/1.layer"), &len);
    uint8_t *nodes = harness_read_file(in_store("nodes/1.nodes"), &nodes_len);
    ck_assert_int_eq(unlink(in_store("layers/1.layer")), 0);
    ck_assert_uint_eq(expect_finding(NULL, "layers/1.layer"), 1);
    harness_write_file(in_store("layers/1.layer"), layer, bough__frame_offset(290, PAGE_SIZE));
    ck_assert_uint_eq(expect_finding(NULL, "layer 1 frame 290 "), 10);
    harness_write_file(in_store("layers/1.layer"), layer, len);
    expect_sound(NULL);
    ck_assert_int_eq(unlink(in_store("nodes/1.nodes")), 0);
    expect_finding(NULL, "nodes/1.nodes");
    harness_write_file(in_store("nodes/1.nodes"), nodes, nodes_len - BOUGH__NODE_SIZE);
    expect_finding(NULL, "nodes/1.nodes");
    harness_write_file(in_store("nodes/1.nodes"), nodes, nodes_len);
    flip("layers/1.layer", 20, 0); /* format version */
    expect_finding(NULL, "layers/1.layer");
    flip("layers/1.layer", 20, 0);
    expect_sound(NULL);
    free(layer);
    free(nodes);
}

TEST(a_layer_that_its_branch_cannot_open)
{
    struct bough__branch_row row = {0};
    char name[BOUGH__FILE_NAME_SIZE];
    bough_store *store = NULL;
    make_store();
    ASSERT_OK(bough_store_open(&store, store_path(), NULL));
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, "work"));
    bough_store_close(store);
    bough__file_name(name, BOUGH__LAYER_FILE, row.layer);
    flip(name, 0, 0);
    expect_finding(NULL, "branch work");
    expect_sound("main");
    bough__branch_row_clear(&row);
}

TEST(the_catalog)
{
    struct stat info;
    make_store();
    ck_assert_int_eq(stat(in_store("catalog.db"), &info), 0);
    size_t len = 0;
    uint8_t *wal = harness_read_file(in_store("catalog.db-wal"), &len);
    /* The rows are in the WAL or in the database; the text of a commit's message must stand somewhere. */
    const char *name = "catalog.db-wal";
    uint8_t *at = len ? memmem(wal, len, "init", 4) : NULL;
    ck_assert_ptr_nonnull(at);
    bough_verification verification;
    flip(name, (uint64_t)(at - wal), 1);
    int rc = verify(&verification, NULL);
    /* The WAL's own checksum may cut the damaged transaction off, and then what the catalog lacks is damage, too. */
    ck_assert(rc == BOUGH_CORRUPT || rc == BOUGH_OK);
    if (rc == BOUGH_OK) {
        ck_assert(!verification.ok);
        bough_verification_release(&verification);
    }
    free(wal);
}

/* Sums are right and the content is not what the map's digest says: only SHA-256 tells. */
TEST(a_forged_page)
{
    struct bough__branch_row row = {0};
    struct bough__commit_row head = {0};
    struct bough__filler *filler = NULL;
    struct bough__appender *appender = NULL;
    struct bough__change change = {.block = 5};
    uint8_t page[PAGE_SIZE] = "forged";
    uint32_t number = 0;
    bough_store *store = NULL;
    make_store();
    ASSERT_OK(bough_store_open(&store, store_path(), NULL));
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, "main"));
    ASSERT_OK(bough__catalog_commit_by_id(&head, store->catalog, row.head));
    ASSERT_OK(bough__catalog_begin(store->catalog));
    ASSERT_OK(bough__catalog_new_layer(&number, store->catalog));
    ASSERT_OK(bough__filler_begin(&filler, store->space, number, PAGE_SIZE));
    ASSERT_OK(bough__filler_add(&change.entry, filler, 5, page));
    ASSERT_OK(bough__filler_sync(filler));
    bough__filler_end(filler, true);
    memset(change.entry.digest, 7, sizeof change.entry.digest);
    struct bough__tree tree;
    ASSERT_OK(bough__appender_begin(&appender, store->space->nodes));
    ASSERT_OK(bough__map_fold(&tree, store->space->nodes, appender, &head.tree, &change, 1, PAGE_COUNT,
                              head.tree.size_bytes, PAGE_SIZE, UINT64_MAX));
    ASSERT_OK(bough__appender_sync(appender));
    bough__appender_end(appender);
    struct bough__commit_row forged = {.tree = tree, .message = bough__strdup("forged")};
    ASSERT_OK(bough__commit_record(store->catalog, &forged));
    ASSERT_OK(bough__catalog_commit(store->catalog));
    bough_store_close(store);
    ck_assert_uint_eq(expect_finding(NULL, "SHA-256"), 1);
    bough__commit_row_clear(&forged);
    bough__commit_row_clear(&head);
    bough__branch_row_clear(&row);
}

static int stop_at_once(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    ck_assert_uint_le(done, total);
    return 1;
}

TEST(interrupted)
{
    bough_verification verification;
    bough_options options = BOUGH_OPTIONS_INIT;
    bough_store *store = NULL;
    make_store();
    options.progress = stop_at_once;
    ASSERT_OK(bough_store_open(&store, store_path(), NULL));
    ASSERT_CODE(BOUGH_INTERRUPTED, bough_verify(&verification, store, NULL, &options));
    bough_store_close(store);
}

/* What cannot be read now is not what is damaged. */
static void fail_everywhere(enum faultos_kind kind, int error, bool is_lasting)
{
    uint64_t nth = 1;
    bool was_hit = true;
    for (; was_hit; nth += 1 + nth / 5) {
        bough_verification verification;
        faultos_fail(kind, nth, error, is_lasting);
        int rc = verify(&verification, NULL);
        was_hit = faultos_was_hit();
        faultos_clear();
        if (rc == BOUGH_OK && verification.finding_count)
            ck_abort_msg("%s %d: %s: %s", faultos_name(kind), (int)nth, verification.findings[0].where,
                         verification.findings[0].what);
        /* One failure may be made up for: a descriptor is given up, say. */
        ck_assert_msg(rc == (was_hit ? BOUGH_IO : BOUGH_OK) || (rc == BOUGH_OK && !is_lasting), "%s %d: %s",
                      faultos_name(kind), (int)nth, bough_code_name(rc));
        if (rc == BOUGH_OK)
            bough_verification_release(&verification);
    }
    ck_assert_uint_gt(nth, 5);
}

TEST(failures_of_the_system)
{
    make_store();
    faultos_install();
    fail_everywhere(FAULTOS_OPEN, EMFILE, true);
    fail_everywhere(FAULTOS_OPEN, EIO, false);
    fail_everywhere(FAULTOS_READ, EIO, true);
    fail_everywhere(FAULTOS_READ, EIO, false);
    expect_sound(NULL);
}

/* ---- usage ----------------------------------------------------------------------------------------------------- */

static const bough_usage_branch *usage_of(const bough_usage *usage, const char *name)
{
    for (size_t i = 0; i < usage->branch_count; i++)
        if (strcmp(usage->branches[i].name, name) == 0)
            return &usage->branches[i];
    ck_abort_msg("no branch %s", name);
    return NULL;
}

TEST(what_branches_take)
{
    bough_usage usage;
    bough_store *store = NULL;
    const uint64_t pages = PAGE_COUNT * PAGE_SIZE;
    make_store();
    ASSERT_OK(bough_store_open(&store, store_path(), NULL));
    fork_branch(store, "idle", "main");
    ASSERT_OK(bough_disk_usage(&usage, store));
    ck_assert_uint_eq(usage.branch_count, 3);
    ck_assert_uint_ge(usage.store_bytes, pages);
    ck_assert_uint_lt(usage.store_bytes, pages * 3);
    ck_assert_uint_ge(usage_of(&usage, "main")->own_bytes, pages);
    ck_assert_uint_eq(usage_of(&usage, "main")->shared_bytes, 0);
    ck_assert_uint_eq(usage_of(&usage, "idle")->own_bytes, 0);
    ck_assert_uint_eq(usage_of(&usage, "idle")->shared_bytes, pages);
    ck_assert_uint_gt(usage_of(&usage, "work")->own_bytes, PAGE_SIZE);
    ck_assert_uint_lt(usage_of(&usage, "work")->own_bytes, pages / 4);
    ck_assert_uint_ge(usage_of(&usage, "work")->shared_bytes, pages / 2);
    bough_usage_release(&usage);
    bough_usage_release(&usage);
    bough_store_close(store);
}

TEST(usage_of_a_damaged_branch)
{
    bough_usage usage;
    bough_store *store = NULL;
    make_store();
    ck_assert_int_eq(unlink(in_store("nodes/1.nodes")), 0);
    ASSERT_OK(bough_store_open(&store, store_path(), NULL));
    ASSERT_OK(bough_disk_usage(&usage, store));
    ck_assert_uint_eq(usage.branch_count, 2);
    bough_usage_release(&usage);
    bough_store_close(store);
}

int main(void)
{
    const struct harness_case cases[] = {
        CASE(a_sound_store),
        CASE(a_bit_in_a_page),
        CASE(every_damaged_page_is_named),
        CASE(a_page_written_since_the_last_commit),
        CASE(a_bit_in_a_node),
        CASE(files_that_are_gone_or_cut),
        CASE(a_layer_that_its_branch_cannot_open),
        CASE(the_catalog),
        CASE(a_forged_page),
        CASE(interrupted),
        CASE(failures_of_the_system),
        CASE(what_branches_take),
        CASE(usage_of_a_damaged_branch),
    };
    return harness_run("verify", cases, COUNT_OF(cases));
}
