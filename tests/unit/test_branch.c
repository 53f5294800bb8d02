/* test_branch.c - forks, lists, status, rename, protect, switch. */
#include "fixture.h"

#include "faultos.h"
#include "layer_file.h"
#include "os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* SQLite's calls come here too: the program's visible symbols stand before the C library's. */
static unsigned syncs;
static unsigned fail_sync_at, fail_syncs_until; /* numbers of syncs; 0: none */

static bool sync_fails(void)
{
    syncs++;
    if (fail_sync_at == 0 || syncs < fail_sync_at || syncs > fail_syncs_until)
        return false;
    errno = EIO;
    return true;
}

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    return sync_fails() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

__attribute__((visibility("default"))) int fsync(int fd)
{
    return sync_fails() ? -1 : (int)syscall(SYS_fsync, fd);
}

static bough_branch get(bough_store *store, const char *name, bough_branches *keep)
{
    ASSERT_OK(bough_branch_get(keep, store, name));
    ck_assert_uint_eq(keep->count, 1);
    return keep->items[0];
}

static const char *layer_path(bough_store *store, const char *branch)
{
    struct bough__branch_row row;
    char name[BOUGH__FILE_NAME_SIZE], path[64];
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, branch));
    bough__file_name(name, BOUGH__LAYER_FILE, row.layer);
    bough__branch_row_clear(&row);
    snprintf(path, sizeof path, "s.bough/%s", name);
    return harness_path(path);
}

/* ---- forks ---- */

TEST(fork_of_a_clean_branch)
{
    bough_store *store = fixture_store(5);
    bough_branches made, main_branch;
    const char *names[] = {"feature/x"};
    bough_options options = BOUGH_OPTIONS_INIT;
    options.ttl_ms = 60000;
    ASSERT_OK(bough_branch_create(&made, store, names, 1, "main", &options));
    bough_branch fork = made.items[0], from = get(store, "main", &main_branch);
    ck_assert_str_eq(fork.name, "feature/x");
    ck_assert_str_eq(fork.parent, "main");
    ck_assert_str_eq(fork.base, from.head);
    ck_assert_str_eq(fork.head, from.head);
    ck_assert(!fork.dirty && !fork.current && !fork.is_protected && from.current);
    ck_assert_int_eq(fork.expires_at_ms, fork.created_at_ms + 60000);
    ck_assert_uint_eq(fork.size_bytes, 5 * FIXTURE_BLOCK);
    ck_assert_uint_eq(fork.own_bytes, 0);
    for (uint64_t i = 0; i < 5; i++)
        ck_assert_uint_eq(fixture_read(store, "feature/x", i), i + 1);
    bough_branches_release(&made);
    bough_branches_release(&main_branch);
    bough_branches_release(&main_branch);
    bough_store_close(store);
}

TEST(forks_are_independent)
{
    bough_store *store = fixture_store(4);
    fixture_fork(store, "a", "main");
    fixture_fork(store, "b", "a");
    fixture_write(store, "main", 0, 100);
    fixture_write(store, "a", 1, 101);
    fixture_fork(store, "c", "a");
    fixture_write(store, "a", 1, 102);
    fixture_write(store, "c", 5, 103);
    ck_assert_uint_eq(fixture_read(store, "main", 0), 100);
    ck_assert_uint_eq(fixture_read(store, "main", 1), 2);
    ck_assert_uint_eq(fixture_read(store, "a", 0), 1);
    ck_assert_uint_eq(fixture_read(store, "a", 1), 102);
    ck_assert_uint_eq(fixture_read(store, "b", 1), 2);
    ck_assert_uint_eq(fixture_read(store, "c", 1), 101);
    ck_assert_uint_eq(fixture_read(store, "c", 4), 0);
    ck_assert_uint_eq(fixture_read(store, "c", 5), 103);
    ck_assert_uint_eq(fixture_size(store, "a"), 4 * FIXTURE_BLOCK);
    ck_assert_uint_eq(fixture_size(store, "c"), 6 * FIXTURE_BLOCK);
    bough_store_close(store);
    store = fixture_open();
    ck_assert_uint_eq(fixture_read(store, "c", 5), 103);
    ck_assert_uint_eq(fixture_read(store, "a", 1), 102);
    bough_store_close(store);
}

TEST(fork_of_a_dirty_branch_commits_it)
{
    bough_store *store = fixture_store(4);
    bough_commits log;
    bough_branches keep;
    const char *before = fixture_id(store, "main");
    fixture_write(store, "main", 2, 50);
    ck_assert(get(store, "main", &keep).dirty);
    bough_branches_release(&keep);
    fixture_fork(store, "a", "main");
    ck_assert(!get(store, "main", &keep).dirty);
    ck_assert_str_ne(keep.items[0].head, before);
    ck_assert_str_eq(keep.items[0].head, fixture_id(store, "a"));
    bough_branches_release(&keep);
    ASSERT_OK(bough_commit_log(&log, store, "a", 0));
    ck_assert_uint_eq(log.count, 2);
    ck_assert(log.items[0].automatic);
    ck_assert_ptr_nonnull(strstr(log.items[0].message, "main"));
    ck_assert_uint_eq(log.items[0].changed_pages, 1);
    ck_assert_str_eq(log.items[1].id, before);
    bough_commits_release(&log);
    ck_assert_uint_eq(fixture_read(store, "a", 2), 50);
    fixture_fork(store, "b", "main"); /* clean now: nothing is committed */
    ck_assert_str_eq(fixture_id(store, "b"), fixture_id(store, "a"));
    bough_store_close(store);
}

TEST(fork_of_a_tag_or_id_has_no_parent)
{
    bough_store *store = fixture_store(2);
    bough_branches keep;
    bough_tags tags;
    const char *id = fixture_id(store, "main");
    char prefix[8] = "";
    static const char *const refs[] = {"main~0", "v1", NULL};
    ASSERT_OK(bough_tag_create(&tags, store, "v1", "main"));
    bough_tags_release(&tags);
    fixture_write(store, "main", 0, 77); /* dirty, and none of them minds */
    memcpy(prefix, id, 7);
    for (size_t i = 0; i < COUNT_OF(refs); i++) {
        char name[16];
        snprintf(name, sizeof name, "fork%zu", i);
        fixture_fork(store, name, refs[i] ? refs[i] : prefix);
        ck_assert_ptr_null(get(store, name, &keep).parent);
        ck_assert_str_eq(keep.items[0].base, id);
        ck_assert_uint_eq(fixture_read(store, name, 0), 1);
        bough_branches_release(&keep);
    }
    ck_assert(get(store, "main", &keep).dirty);
    bough_branches_release(&keep);
    bough_store_close(store);
}

TEST(several_at_once_or_none)
{
    bough_store *store = fixture_store(1);
    bough_branches made;
    bough_tags tags;
    const char *good[] = {"n-1", "n-2", "n-3"}, *taken[] = {"m-1", "n-2", "m-3"}, *twice[] = {"m-1", "m-1"};
    const char *tagged[] = {"m-1", "v1"}, *bad[] = {"m-1", "a b"};
    ASSERT_OK(bough_branch_create(&made, store, good, 3, "main", NULL));
    ck_assert_uint_eq(made.count, 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_str_eq(made.items[i].name, good[i]);
    bough_branches_release(&made);
    ASSERT_OK(bough_tag_create(&tags, store, "v1", "main"));
    bough_tags_release(&tags);
    fixture_write(store, "main", 0, 9);
    const char *head = fixture_id(store, "main");
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_create(&made, store, taken, 3, "main", NULL));
    ck_assert_uint_eq(made.count, 0);
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_create(&made, store, tagged, 2, "main", NULL));
    ASSERT_CODE(BOUGH_USAGE, bough_branch_create(&made, store, bad, 2, "main", NULL));
    ASSERT_CODE(BOUGH_USAGE, bough_branch_create(&made, store, bad, 0, "main", NULL));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_branch_create(&made, store, twice, 1, "nothing", NULL));
    ck_assert_str_eq(fixture_id(store, "main"), head); /* what is refused commits nothing */
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_create(&made, store, twice, 2, "main", NULL));
    ck_assert(!fixture_has(store, "m-1"));
    ck_assert_uint_eq(fixture_count(store), 4);
    bough_store_close(store);
}

TEST(the_current_branch_is_the_default)
{
    bough_store *store = fixture_store(1);
    bough_branches made;
    const char *name = "a", *other = "b";
    char *current = NULL;
    fixture_fork(store, "x", "main");
    ASSERT_OK(bough_branch_switch(&made, store, "x"));
    ck_assert_str_eq(made.items[0].name, "x");
    ck_assert(!made.items[0].current); /* as it was */
    bough_branches_release(&made);
    ASSERT_OK(bough_branch_current(&current, store));
    ck_assert_str_eq(current, "x");
    free(current);
    ASSERT_OK(bough_branch_create(&made, store, &name, 1, NULL, NULL));
    ck_assert_str_eq(made.items[0].parent, "x");
    bough_branches_release(&made);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_branch_switch(&made, store, "nothing"));
    const char *const gone[] = {"a", "x"};
    ASSERT_OK(bough_branch_delete(&made, store, gone, 2, NULL));
    bough_branches_release(&made);
    ASSERT_OK(bough_branch_current(&current, store));
    ck_assert_ptr_null(current);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_branch_create(&made, store, &other, 1, NULL, NULL));
    bough_store_close(store);
}

TEST(a_chain_a_hundred_deep)
{
    bough_store *store = fixture_store(3);
    char name[16], from[16] = "main";
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "d%d", i);
        fixture_fork(store, name, from);
        fixture_write(store, name, (uint64_t)(i % 3), (uint8_t)(100 + i));
        memcpy(from, name, sizeof from);
    }
    ck_assert_uint_eq(fixture_read(store, "d99", 0), 199);
    ck_assert_uint_eq(fixture_read(store, "d99", 1), 197);
    ck_assert_uint_eq(fixture_read(store, "d99", 2), 198);
    ck_assert_uint_eq(fixture_read(store, "d0", 1), 2);
    ck_assert_uint_eq(fixture_read(store, "main", 0), 1);
    bough_store_close(store);
}

/* ---- what a fork costs ---- */

static unsigned syncs_of_fork(bough_store *store, const char *name, const char *from)
{
    unsigned before = syncs;
    fixture_fork(store, name, from);
    return syncs - before;
}

TEST(a_durable_fork_syncs_once)
{
    bough_store *store = fixture_store(3);
    char name[16];
    fixture_fork(store, "first", "main"); /* the first transaction of a connection syncs the directory as well */
    fixture_write(store, "first", 0, 5);
    fixture_commit(store, "first", "x"); /* a clean branch with a layer */
    unsigned checkpoints = 0;
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "f%d", i);
        unsigned count = syncs_of_fork(store, name, i % 2 ? "main" : "first");
        ck_assert_uint_ge(count, 1);
        checkpoints += count > 1;
    }
    ck_assert_msg(checkpoints <= 12, "%u of 200 forks did more than one sync", checkpoints);
    bough_store_close(store);
}

TEST(a_fresh_process_syncs_twice)
{
    bough_store_close(fixture_store(3));
    char name[16];
    for (int i = 0; i < 20; i++) {
        unsigned before = syncs;
        snprintf(name, sizeof name, "f%d", i);
        bough_store *store = fixture_open();
        fixture_fork(store, name, "main");
        bough_store_close(store);
        ck_assert_msg(syncs - before <= (i ? 2 : 3), "%u syncs",
                      syncs - before); /* the first writes the WAL's header */
        ck_assert_uint_ge(syncs - before, 1);
    }
}

TEST(a_fork_makes_no_file_and_opens_no_layer)
{
    bough_store *store = fixture_store(3);
    fixture_fork(store, "a", "main");
    ck_assert_int_eq(rmdir(harness_path("s.bough/run")), 0); /* where a layer's shared memory would be */
    fixture_fork(store, "b", "a");
    fixture_fork(store, "c", "b~0");
    ck_assert_int_ne(access(layer_path(store, "c"), F_OK), 0);
    bough_store_close(store);
}

/* ---- list and status ---- */

TEST(list)
{
    bough_store *store = fixture_store(2);
    bough_branches list;
    static const char *const expected[] = {"a/b", "a0", "main", "z"};
    fixture_fork(store, "z", "main");
    fixture_fork(store, "a0", "z");
    fixture_fork(store, "a/b", "main");
    fixture_fill(store, "a0", 0, 10, 3);
    ASSERT_OK(bough_branch_list(&list, store));
    ck_assert_uint_eq(list.count, 4);
    for (size_t i = 0; i < 4; i++)
        ck_assert_str_eq(list.items[i].name, expected[i]);
    ck_assert_str_eq(list.items[1].parent, "z");
    ck_assert(list.items[1].dirty && !list.items[0].dirty);
    ck_assert_uint_eq(list.items[1].size_bytes, 10 * FIXTURE_BLOCK);
    ck_assert_uint_eq(list.items[0].size_bytes, 2 * FIXTURE_BLOCK);
    ck_assert_uint_ge(list.items[1].own_bytes, 1024);
    ck_assert(list.items[2].current && !list.items[3].current);
    ck_assert_ptr_null(list.items[2].parent);
    bough_branches_release(&list);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_branch_get(&list, store, "a"));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_branch_get(&list, store, "main~0"));
    bough_store_close(store);
}

TEST(a_damaged_layer_hides_no_other_branch)
{
    bough_store *store = fixture_store(2);
    bough_branches list;
    const char *bad = "bad";
    uint8_t garbage[8192];
    fixture_fork(store, "bad", "main");
    fixture_fork(store, "good", "main");
    fixture_write(store, "bad", 0, 3);
    fixture_write(store, "good", 0, 4);
    char *path = strdup(layer_path(store, "bad"));
    bough_store_close(store);
    memset(garbage, 0x5a, sizeof garbage);
    harness_write_file(path, garbage, sizeof garbage);
    store = fixture_open();
    ASSERT_OK(bough_branch_list(&list, store));
    ck_assert_uint_eq(list.count, 3);
    ck_assert_str_eq(list.items[0].name, "bad");
    ck_assert(list.items[0].dirty);
    bough_branches_release(&list);
    ck_assert_uint_eq(fixture_read(store, "good", 0), 4);
    bough_sealed sealed;
    ASSERT_CODE(BOUGH_CORRUPT, bough_commit_create(&sealed, store, "bad", NULL));
    ASSERT_OK(bough_branch_delete(&list, store, &bad, 1, NULL)); /* and it can be got rid of */
    bough_branches_release(&list);
    ck_assert_int_ne(access(path, F_OK), 0);
    free(path);
    bough_store_close(store);
}

TEST(status)
{
    bough_store *store = fixture_store(4);
    bough_status status;
    fixture_fork(store, "a", "main");
    fixture_write(store, "a", 0, 9);
    fixture_commit(store, "a", "x");
    fixture_write(store, "a", 0, 8);
    fixture_write(store, "a", 3, 8);
    fixture_write(store, "a", 5, 8);
    struct fixture_peer peer = fixture_peer("a");
    ASSERT_OK(bough_branch_status(&status, store, "a"));
    ck_assert_str_eq(status.branch.items[0].name, "a");
    ck_assert(status.branch.items[0].dirty);
    ck_assert_uint_eq(status.changed_pages, 2 + 2); /* two changed, two added: one of them zeros */
    ck_assert_uint_eq(status.uncommitted_transactions, 3);
    ck_assert_uint_eq(status.open_by_count, 1);
    ck_assert_int_eq(status.open_by[0], peer.pid);
    ck_assert_int_eq(status.oldest_reader_seconds, -1);
    bough_status_release(&status);
    bough_status_release(&status);
    fixture_end_peer(&peer);
    fixture_write(store, "a", 0, 1); /* as in the base */
    fixture_write(store, "a", 3, 4);
    fixture_resize(store, "a", 4 * FIXTURE_BLOCK);
    ASSERT_OK(bough_branch_status(&status, store, "a"));
    ck_assert_uint_eq(status.changed_pages, 0);
    ck_assert_uint_eq(status.open_by_count, 0);
    bough_status_release(&status);
    ASSERT_OK(bough_branch_status(&status, store, "main"));
    ck_assert_uint_eq(status.uncommitted_transactions, 0);
    bough_status_release(&status);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_branch_status(&status, store, "nothing"));
    bough_store_close(store);
}

/* ---- names ---- */

static int name_again(bough_store *store, const char *old_name, const char *new_name)
{
    bough_branches was;
    int rc = bough_branch_rename(&was, store, &old_name, &new_name, 1);
    bough_branches_release(&was);
    return rc;
}

TEST(rename_keeps_what_belongs_to_it)
{
    bough_store *store = fixture_store(2);
    bough_branches keep;
    bough_tags tags;
    char *current = NULL;
    fixture_fork(store, "a", "main");
    fixture_fork(store, "b", "a");
    fixture_write(store, "a", 0, 9);
    ASSERT_OK(bough_branch_switch(&keep, store, "a"));
    bough_branches_release(&keep);
    ASSERT_OK(bough_branch_rename(&keep, store, (const char *[]){"a"}, (const char *[]){"new/name"}, 1));
    ck_assert_str_eq(keep.items[0].name, "a");
    ck_assert(keep.items[0].dirty && keep.items[0].current);
    bough_branches_release(&keep);
    ck_assert(!fixture_has(store, "a"));
    ck_assert_uint_eq(fixture_read(store, "new/name", 0), 9);
    ck_assert_str_eq(get(store, "b", &keep).parent, "new/name");
    bough_branches_release(&keep);
    ASSERT_OK(bough_branch_current(&current, store));
    ck_assert_str_eq(current, "new/name");
    free(current);
    ASSERT_OK(bough_tag_create(&tags, store, "v1", "main"));
    bough_tags_release(&tags);
    ASSERT_CODE(BOUGH_REFUSED, name_again(store, "b", "main"));
    ASSERT_CODE(BOUGH_REFUSED, name_again(store, "b", "v1"));
    ASSERT_CODE(BOUGH_REFUSED, name_again(store, "b", "b"));
    ASSERT_CODE(BOUGH_USAGE, name_again(store, "b", "a b"));
    ASSERT_CODE(BOUGH_NOT_FOUND, name_again(store, "nothing", "c"));
    fixture_fork(store, "a", "b"); /* the old name is free */
    bough_store_close(store);
}

TEST(rename_is_all_or_none)
{
    static const char *const from[] = {"a", "b", "c"};
    static const char *const taken[] = {"x", "y", "main"};
    static const char *const twice[] = {"x", "y", "x"};
    static const char *const bad[] = {"x", "y", "a b"};
    static const char *const there[] = {"a", "nothing", "b"};
    static const char *const to[] = {"x", "a", "y"}; /* the first one's old name is free for the second */
    bough_store *store = fixture_store(2);
    bough_branches was;
    for (int i = 0; i < 3; i++)
        fixture_fork(store, from[i], "main");
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_rename(&was, store, from, taken, 3));
    ck_assert(was.items == NULL && was.count == 0);
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_rename(&was, store, from, twice, 3));
    ASSERT_CODE(BOUGH_USAGE, bough_branch_rename(&was, store, from, bad, 3));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_branch_rename(&was, store, there, to, 3));
    for (int i = 0; i < 3; i++)
        ck_assert(fixture_has(store, from[i]));
    ck_assert(!fixture_has(store, "x"));
    ASSERT_OK(bough_branch_rename(&was, store, from, to, 3));
    ck_assert_uint_eq(was.count, 3);
    ck_assert_str_eq(was.items[1].name, "b");
    bough_branches_release(&was);
    for (int i = 0; i < 3; i++)
        ck_assert(fixture_has(store, to[i]));
    ck_assert(!fixture_has(store, "c"));
    ASSERT_OK(bough_branch_rename(&was, store, from, to, 0));
    bough_branches_release(&was);
    bough_store_close(store);
}

TEST(protect)
{
    bough_store *store = fixture_store(1);
    bough_branches keep;
    fixture_fork(store, "a", "main");
    ASSERT_OK(bough_branch_protect(&keep, store, "a", true));
    ck_assert(!keep.items[0].is_protected); /* as it was */
    bough_branches_release(&keep);
    ck_assert(get(store, "a", &keep).is_protected);
    bough_branches_release(&keep);
    fixture_fork(store, "b", "a");
    ck_assert(!get(store, "b", &keep).is_protected);
    bough_branches_release(&keep);
    ASSERT_OK(bough_branch_protect(&keep, store, "a", false));
    ck_assert(keep.items[0].is_protected);
    bough_branches_release(&keep);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_branch_protect(&keep, store, "nothing", true));
    bough_store_close(store);
}

/* ---- failures ---- */

/* The Nth call of a kind fails, for every N: the fork is there and reported, or neither. */
static void fail_every(enum faultos_kind kind, int error)
{
    bough_store *store = fixture_store(4);
    bool was_hit = true;
    for (uint64_t nth = 1; was_hit; nth++) {
        char from[16], name[16], again[16];
        const char *names[1] = {name};
        bough_branches made;
        snprintf(from, sizeof from, "from-%d", (int)nth);
        snprintf(name, sizeof name, "fork-%d", (int)nth);
        snprintf(again, sizeof again, "again-%d", (int)nth);
        fixture_fork(store, from, "main");
        fixture_write(store, from, 2, (uint8_t)nth);
        faultos_fail(kind, nth, error, false);
        int rc = bough_branch_create(&made, store, names, 1, from, NULL);
        was_hit = faultos_was_hit();
        faultos_clear();
        ck_assert_msg(rc != BOUGH_CORRUPT, "%s %d: %s", faultos_name(kind), (int)nth, bough_error_message());
        ck_assert_uint_eq(made.count, rc == BOUGH_OK);
        bough_branches_release(&made);
        ck_assert(fixture_has(store, name) == (rc == BOUGH_OK));
        if (rc == BOUGH_OK)
            ck_assert_uint_eq(fixture_read(store, name, 2), (uint8_t)nth);
        fixture_fork(store, again, from); /* the handle goes on working */
        ck_assert_uint_eq(fixture_read(store, again, 2), (uint8_t)nth);
    }
    bough_store_close(store);
}

TEST(every_allocation_may_fail)
{
    faultos_install();
    fail_every(FAULTOS_MEMORY, ENOMEM);
}

TEST(every_read_may_fail)
{
    faultos_install();
    fail_every(FAULTOS_READ, EIO);
}

TEST(every_write_may_fail)
{
    faultos_install();
    fail_every(FAULTOS_WRITE, ENOSPC);
}

TEST(every_lock_may_fail)
{
    faultos_install();
    fail_every(FAULTOS_LOCK, ENOLCK);
}

/* Syncs of the catalog: what failed is not there, now or after a recovery, whether the disk gets well or not. */
static void fail_sync_of_fork(unsigned nth, bool for_good)
{
    bough_store *store = fixture_open();
    bough_branches made;
    char name[32];
    const char *names[1] = {name};
    snprintf(name, sizeof name, "f-%u-%d", nth, for_good);
    fail_sync_at = syncs + nth;
    fail_syncs_until = for_good ? UINT32_MAX : fail_sync_at;
    int rc = bough_branch_create(&made, store, names, 1, "main", NULL);
    bough_branches_release(&made);
    ck_assert(rc == BOUGH_IO || rc == BOUGH_OK);
    ck_assert(nth > 1 || rc == BOUGH_IO);
    ck_assert(fixture_has(store, name) == (rc == BOUGH_OK));
    bough_store_close(store);
    fail_sync_at = 0;
    store = fixture_open();
    ck_assert_msg(fixture_has(store, name) == (rc == BOUGH_OK), "%s: %d", name, rc);
    if (rc != BOUGH_OK)
        fixture_fork(store, name, "main");
    fixture_fork(store, strcat(name, "x"), "main");
    bough_store_close(store);
    store = fixture_open();
    ck_assert(fixture_has(store, name));
    bough_store_close(store);
}

TEST(every_sync_may_fail)
{
    bough_store_close(fixture_store(3));
    for (unsigned nth = 1; nth <= 3; nth++) {
        fail_sync_of_fork(nth, false);
        fail_sync_of_fork(nth, true);
    }
}

/* Blocks of another size: the layer begins with the whole database, in both places of its header. */
TEST(other_blocks)
{
    bough_store *store = fixture_store(40);
    struct bough__branch_row row = {0}, now = {0};
    struct bough__layer *layer = NULL;
    struct bough__layer_identity identity = {0};
    struct bough__snapshot snapshot = {0};
    int fd = -1;
    fixture_fork(store, "dev", "main");
    fixture_write(store, "dev", 3, 'x');
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, "dev"));
    ASSERT_OK(bough__branch_layer(&layer, store, &row));
    ASSERT_OK(bough__layer_take(layer, 0));
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ASSERT_OK(bough__branch_reblock(store, row.id, &snapshot, FIXTURE_BLOCK / 2));
    bough__snapshot_release(&snapshot);
    bough__layer_release(layer, BOUGH__LAYER_LEFT);
    bough__layer_close(layer);
    ASSERT_OK(bough__catalog_branch_by_id(&now, store->catalog, row.id));
    ck_assert_uint_ne(now.layer, row.layer);
    ASSERT_OK(bough__layer_file_open(&fd, &identity, store->space, now.layer, true));
    ck_assert_uint_eq(identity.block_size, FIXTURE_BLOCK / 2);
    ck_assert(bough__layer_file_is_doubled(fd, store->space, now.layer, 1, 1));
    bough__os_close(&fd);
    ck_assert_uint_eq(fixture_size(store, "dev"), 40 * FIXTURE_BLOCK);
    bough__branch_row_clear(&row);
    bough__branch_row_clear(&now);
    bough_store_close(store);
}

int main(void)
{
    static const struct harness_case cases[] = {CASE(fork_of_a_clean_branch),
                                                CASE(forks_are_independent),
                                                CASE(fork_of_a_dirty_branch_commits_it),
                                                CASE(fork_of_a_tag_or_id_has_no_parent),
                                                CASE(several_at_once_or_none),
                                                CASE(the_current_branch_is_the_default),
                                                CASE(a_chain_a_hundred_deep),
                                                CASE(a_durable_fork_syncs_once),
                                                CASE(a_fresh_process_syncs_twice),
                                                CASE(a_fork_makes_no_file_and_opens_no_layer),
                                                CASE(list),
                                                CASE(a_damaged_layer_hides_no_other_branch),
                                                CASE(status),
                                                CASE(rename_keeps_what_belongs_to_it),
        CASE(rename_is_all_or_none),
                                                CASE(protect),
                                                CASE(other_blocks),
                                                CASE(every_allocation_may_fail),
                                                CASE(every_read_may_fail),
                                                CASE(every_write_may_fail),
                                                CASE(every_lock_may_fail),
                                                CASE(every_sync_may_fail)};
    return harness_run("branch", cases, COUNT_OF(cases));
}
