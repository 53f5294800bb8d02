/* test_commit.c - sealing and the log. */
#include "faultos.h"
#include "fixture.h"

#include "os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(commit_seals_the_newest_transaction)
{
    bough_store *store = fixture_store(4);
    bough_options options = BOUGH_OPTIONS_INIT;
    bough_sealed sealed;
    const char *before = fixture_id(store, "main");
    setenv("BOUGH_AUTHOR", "Ada <ada@example.org>", 1);
    fixture_write(store, "main", 1, 20);
    fixture_write(store, "main", 1, 21);
    fixture_write(store, "main", 6, 22);
    options.message = "three at once";
    ASSERT_OK(bough_commit_create(&sealed, store, "main", &options));
    ck_assert(sealed.changed);
    ck_assert_str_eq(sealed.branch, "main");
    ck_assert_str_eq(sealed.left, before);
    ck_assert_str_eq(sealed.id, fixture_id(store, "main"));
    bough_commits log;
    ASSERT_OK(bough_commit_log(&log, store, "main", 0));
    ck_assert_uint_eq(log.count, 2);
    const bough_commit *commit = &log.items[0];
    ck_assert_str_eq(commit->id, sealed.id);
    ck_assert_str_eq(commit->root, sealed.root);
    ck_assert_uint_eq(commit->parent_count, 1);
    ck_assert_str_eq(commit->parents[0], before);
    ck_assert_str_eq(commit->message, "three at once");
    ck_assert_str_eq(commit->author, "Ada <ada@example.org>");
    ck_assert_uint_eq(commit->size_bytes, 7 * FIXTURE_BLOCK);
    ck_assert_uint_eq(commit->page_size, FIXTURE_BLOCK);
    ck_assert_uint_eq(commit->changed_pages, 4); /* one changed, three added, two of them zeros */
    ck_assert(!commit->automatic && !commit->pruned);
    ck_assert_uint_eq(log.items[1].parent_count, 0);
    bough_commits_release(&log);
    bough_commits_release(&log);
    bough_sealed_release(&sealed);
    fixture_write(store, "main", 1, 99);
    ck_assert_uint_eq(fixture_read(store, "main~0", 1), 21);
    ck_assert_uint_eq(fixture_read(store, "main~1", 1), 2);
    bough_store_close(store);
}

TEST(nothing_to_commit)
{
    bough_store *store = fixture_store(2);
    bough_sealed sealed;
    const char *before = fixture_id(store, "main");
    ASSERT_OK(bough_commit_create(&sealed, store, "main", NULL));
    ck_assert(!sealed.changed);
    ck_assert_str_eq(sealed.id, before);
    ck_assert_str_eq(sealed.left, "");
    bough_sealed_release(&sealed);
    bough_sealed_release(&sealed);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_commit_create(&sealed, store, "nothing", NULL));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_commit_create(&sealed, store, "main~0", NULL));
    bough_store_close(store);
}

/* Transactions that cancel each other out leave equal bytes: no commit, and the branch is clean. */
TEST(equal_bytes_are_no_commit)
{
    bough_store *store = fixture_store(2);
    bough_branches keep;
    bough_sealed sealed;
    const char *before = fixture_id(store, "main");
    fixture_write(store, "main", 0, 50);
    fixture_write(store, "main", 0, 1);
    ASSERT_OK(bough_branch_get(&keep, store, "main"));
    ck_assert(keep.items[0].dirty);
    bough_branches_release(&keep);
    ASSERT_OK(bough_commit_create(&sealed, store, "main", NULL));
    ck_assert(!sealed.changed);
    ck_assert_str_eq(sealed.id, before);
    bough_sealed_release(&sealed);
    ASSERT_OK(bough_branch_get(&keep, store, "main"));
    ck_assert(!keep.items[0].dirty);
    bough_branches_release(&keep);
    fixture_write(store, "main", 0, 51);
    ck_assert_str_ne(fixture_commit(store, "main", "x"), before);
    ck_assert_uint_eq(fixture_read(store, "main~0", 0), 51);
    bough_store_close(store);
}

TEST(equal_roots_are_equal_bytes)
{
    bough_store *store = fixture_store(3);
    bough_commits a, b;
    fixture_fork(store, "a", "main");
    fixture_fork(store, "b", "main");
    fixture_write(store, "a", 0, 7);
    fixture_write(store, "a", 2, 8);
    fixture_fill(store, "b", 0, 3, 9);
    fixture_write(store, "b", 2, 8);
    fixture_write(store, "b", 1, 2);
    fixture_write(store, "b", 0, 7);
    ck_assert_str_ne(fixture_commit(store, "a", "one"), fixture_commit(store, "b", "two"));
    ASSERT_OK(bough_commit_log(&a, store, "a", 1));
    ASSERT_OK(bough_commit_log(&b, store, "b", 1));
    ck_assert_str_eq(a.items[0].root, b.items[0].root);
    bough_commits_release(&a);
    bough_commits_release(&b);
    bough_store_close(store);
}

/* The same content, parent, author and message in the same millisecond: still two commits. */
TEST(each_commit_has_an_id_of_its_own)
{
    bough_store *store = fixture_store(3);
    struct bough__commit_row row = {.created_at_ms = 1234567}, again = {.created_at_ms = 1234567};
    ASSERT_OK(bough__catalog_begin(store->catalog));
    ASSERT_OK(bough__commit_record(store->catalog, &row));
    ASSERT_OK(bough__commit_record(store->catalog, &again));
    ASSERT_OK(bough__catalog_commit(store->catalog));
    ck_assert_mem_ne(row.id, again.id, sizeof row.id);
    ck_assert_int_eq(again.created_at_ms, 1234568);
    bough__commit_row_clear(&row);
    bough__commit_row_clear(&again);
    bough_store_close(store);
}

TEST(messages)
{
    bough_store *store = fixture_store(1);
    bough_options options = BOUGH_OPTIONS_INIT;
    bough_sealed sealed;
    bough_commits log;
    char *huge = malloc(3 << 20);
    memset(huge, 'x', (3 << 20) - 1);
    huge[(3 << 20) - 1] = 0;
    unsetenv("BOUGH_AUTHOR");
    fixture_write(store, "main", 0, 9);
    options.message = huge;
    ASSERT_CODE(BOUGH_USAGE, bough_commit_create(&sealed, store, "main", &options));
    ck_assert_ptr_null(sealed.branch);
    free(huge);
    ASSERT_OK(bough_commit_create(&sealed, store, "main", NULL));
    ck_assert(sealed.changed);
    bough_sealed_release(&sealed);
    ASSERT_OK(bough_commit_log(&log, store, "main", 1));
    ck_assert_str_eq(log.items[0].message, "");
    ck_assert_uint_gt(strlen(log.items[0].author), 0);
    bough_commits_release(&log);
    bough_store_close(store);
}

TEST(log_goes_back_along_first_parents)
{
    bough_store *store = fixture_store(1);
    bough_commits log;
    char message[16];
    for (int i = 1; i <= 10; i++) {
        snprintf(message, sizeof message, "%d", i);
        fixture_write(store, "main", 0, (uint8_t)(10 + i));
        fixture_commit(store, "main", message);
    }
    fixture_write(store, "main", 0, 99); /* dirty: from the head */
    ASSERT_OK(bough_commit_log(&log, store, "main", 0));
    ck_assert_uint_eq(log.count, 11);
    for (size_t i = 0; i < 10; i++) {
        snprintf(message, sizeof message, "%zu", 10 - i);
        ck_assert_str_eq(log.items[i].message, message);
        ck_assert_str_eq(log.items[i].parents[0], log.items[i + 1].id);
    }
    bough_commits_release(&log);
    ASSERT_OK(bough_commit_log(&log, store, "main~3", 2));
    ck_assert_uint_eq(log.count, 2);
    ck_assert_str_eq(log.items[0].message, "7");
    bough_commits_release(&log);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_commit_log(&log, store, "main~11", 2));
    bough_store_close(store);
}

/* Too many to count while committing; the log has the number all the same. */
TEST(many_changed_pages)
{
    bough_store *store = fixture_store(2);
    bough_commits log;
    struct bough__commit_row row;
    struct bough__branch_row branch;
    fixture_fill(store, "main", 0, 3000, 5);
    fixture_commit(store, "main", "filled");
    fixture_fill(store, "main", 100, 2600, 6);
    fixture_commit(store, "main", "bulk");
    ASSERT_OK(bough__catalog_branch_by_name(&branch, store->catalog, "main"));
    ASSERT_OK(bough__catalog_commit_by_id(&row, store->catalog, branch.head));
    ck_assert_uint_eq(row.changed_pages, BOUGH__NOT_COUNTED);
    bough__commit_row_clear(&row);
    bough__branch_row_clear(&branch);
    ASSERT_OK(bough_commit_log(&log, store, "main", 0));
    ck_assert_uint_eq(log.items[0].changed_pages, 2500);
    ck_assert_uint_eq(log.items[1].changed_pages, 3000);
    bough_commits_release(&log);
    ASSERT_OK(bough_commit_log_quick(&log, store, "main", 0));
    ck_assert_uint_eq(log.count, 3);
    ck_assert(log.items[0].changed_pages == BOUGH_UNKNOWN_PAGES);
    ck_assert_str_eq(log.items[0].message, "bulk");
    ck_assert_uint_eq(log.items[2].changed_pages, 2); /* it was counted when it was made */
    bough_commits_release(&log);
    bough_store_close(store);
}

/* ---- at the same time ---- */

static void commit_often(int id)
{
    bough_store *store = fixture_open();
    bough_sealed sealed;
    for (int i = 0; i < 40; i++) {
        int rc = bough_commit_create(&sealed, store, "main", NULL);
        if (rc != BOUGH_OK)
            _exit(1 + id);
        bough_sealed_release(&sealed);
    }
    bough_store_close(store);
    _exit(0);
}

TEST(committers_in_several_processes_and_a_writer)
{
    bough_store *store = fixture_store(2);
    bough_commits log;
    pid_t pids[3];
    int status = 0;
    for (int i = 0; i < 3; i++)
        if ((pids[i] = fork()) == 0)
            commit_often(i);
    for (int i = 0; i < 60; i++)
        fixture_write(store, "main", 0, (uint8_t)(i + 2));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert_int_eq(status, 0);
    }
    fixture_commit(store, "main", "last");
    ck_assert_uint_eq(fixture_read(store, "main~0", 0), 61);
    /* One line of history: what each commit holds is later than what its parent holds. */
    ASSERT_OK(bough_commit_log(&log, store, "main", 0));
    for (size_t i = 0; i + 2 < log.count; i++)
        ck_assert_uint_gt(fixture_read(store, log.items[i].id, 0), fixture_read(store, log.items[i + 1].id, 0));
    bough_commits_release(&log);
    bough_store_close(store);
}

TEST(commit_does_not_wait_for_an_open_transaction)
{
    bough_store *store = fixture_store(2);
    struct bough__branch_row row;
    struct bough__layer *layer = NULL;
    struct bough__snapshot snapshot;
    struct bough__txn *txn = NULL;
    uint8_t page[FIXTURE_BLOCK] = {77};
    uint64_t number = 0;
    fixture_write(store, "main", 0, 9);
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, "main"));
    ASSERT_OK(bough__branch_layer(&layer, store, &row));
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ASSERT_OK(bough__txn_begin(&txn, &snapshot));
    ASSERT_OK(bough__txn_write(txn, 1, page));
    fixture_commit(store, "main", "meanwhile");
    fixture_fork(store, "a", "main");
    ck_assert_uint_eq(fixture_read(store, "a", 0), 9);
    ck_assert_uint_eq(fixture_read(store, "a", 1), 2);
    memset(page, 77, sizeof page);
    ASSERT_OK(bough__txn_write(txn, 1, page));
    ASSERT_OK(bough__txn_commit(txn, BOUGH__DURABLE, &number));
    bough__txn_end(txn);
    bough__snapshot_release(&snapshot);
    bough__layer_close(layer);
    bough__branch_row_clear(&row);
    ck_assert_uint_eq(fixture_read(store, "main", 1), 77);
    ck_assert_uint_eq(fixture_read(store, "main~0", 1), 2);
    bough_store_close(store);
}

/* A process reads the branch's row; before it opens the layer another one writes, commits and closes. The frames of
 * that commit are not used again by whoever opened with the old row. */
TEST(commit_between_row_and_opening)
{
    bough_store *store = fixture_store(64);
    struct bough__branch_row row = {0};
    struct bough__layer *layer = NULL;
    uint8_t page[FIXTURE_BLOCK];
    fixture_write(store, "main", 1, 99);
    fixture_commit(store, "main", "one");
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, "main"));
    fixture_fill(store, "main", 0, 64, 7);
    const char *two = fixture_commit(store, "main", "two");
    ASSERT_OK(bough__branch_layer(&layer, store, &row));
    for (int i = 0; i < 20; i++) {
        struct bough__snapshot snapshot = {0};
        struct bough__txn *txn = NULL;
        uint64_t number = 0;
        memset(page, 20 + i, sizeof page);
        ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
        ASSERT_OK(bough__txn_begin(&txn, &snapshot));
        for (uint64_t block = 0; block < 64; block++)
            ASSERT_OK(bough__txn_write(txn, block, page));
        ASSERT_OK(bough__txn_commit(txn, BOUGH__DURABLE, &number));
        bough__txn_end(txn);
        bough__snapshot_release(&snapshot);
    }
    for (uint64_t block = 0; block < 64; block++)
        ck_assert_uint_eq(fixture_read(store, two, block), 7);
    bough__layer_close(layer);
    bough__branch_row_clear(&row);
    bough_store_close(store);
}

/* One transaction that fills a block. */
static int write_block(struct bough__layer *layer, uint8_t byte, enum bough__durability durability)
{
    struct bough__snapshot snapshot = {0};
    struct bough__txn *txn = NULL;
    uint8_t page[FIXTURE_BLOCK];
    uint64_t number = 0;
    memset(page, byte, sizeof page);
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ASSERT_OK(bough__txn_begin(&txn, &snapshot));
    ASSERT_OK(bough__txn_write(txn, 1, page));
    int rc = bough__txn_commit(txn, durability, &number);
    bough__txn_end(txn);
    bough__snapshot_release(&snapshot);
    return rc;
}

/* After a failed sync a commit does what it takes to go on, unless a writer is in: it does not wait for him. */
TEST(commit_after_a_failed_sync)
{
    bough_store *store = NULL;
    struct bough__branch_row row = {0};
    struct bough__layer *layer = NULL;
    struct bough__snapshot snapshot = {0};
    struct bough__txn *txn = NULL;
    bough_sealed sealed;
    faultos_install();
    faultos_clear();
    store = fixture_store(4);
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, "main"));
    ASSERT_OK(bough__branch_layer(&layer, store, &row));
    ASSERT_OK(write_block(layer, 50, BOUGH__LAZY));
    faultos_fail(FAULTOS_SYNC, 1, EIO, false);
    ASSERT_CODE(BOUGH_IO, write_block(layer, 51, BOUGH__DURABLE));
    faultos_clear();
    fixture_commit(store, "main", "all is well");
    ck_assert_uint_eq(fixture_read(store, "main~0", 1), 50);
    /* Its own sync fails while a writer is in. */
    ASSERT_OK(write_block(layer, 90, BOUGH__LAZY));
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ASSERT_OK(bough__txn_begin(&txn, &snapshot));
    faultos_fail(FAULTOS_SYNC, 1, EIO, false);
    ASSERT_CODE(BOUGH_IO, bough_commit_create(&sealed, store, "main", NULL));
    faultos_clear();
    ASSERT_CODE(BOUGH_IO, bough_commit_create(&sealed, store, "main", NULL));
    bough__txn_end(txn);
    bough__snapshot_release(&snapshot);
    fixture_fork(store, "fork", "main");
    ck_assert_uint_eq(fixture_read(store, "fork", 1), 90);
    bough__layer_close(layer);
    bough__branch_row_clear(&row);
    bough_store_close(store);
}

int main(void)
{
    static const struct harness_case cases[] = {CASE(commit_seals_the_newest_transaction),
                                                CASE(nothing_to_commit),
                                                CASE(equal_bytes_are_no_commit),
                                                CASE(equal_roots_are_equal_bytes),
                                                CASE(each_commit_has_an_id_of_its_own),
                                                CASE(messages),
                                                CASE(log_goes_back_along_first_parents),
                                                CASE(many_changed_pages),
                                                CASE(committers_in_several_processes_and_a_writer),
                                                CASE(commit_does_not_wait_for_an_open_transaction),
                                                CASE(commit_between_row_and_opening),
                                                CASE(commit_after_a_failed_sync)};
    return harness_run("commit", cases, COUNT_OF(cases));
}
