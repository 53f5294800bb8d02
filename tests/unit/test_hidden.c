/* test_hidden.c - hidden branches: who sees them, whose they are, and when they go. */
#include "fixture.h"

#include "catalog_sql.h"
#include "os.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Forks `from` for `base`; the name stays until the fourth call after. */
static const char *hide_from(bough_store *store, const char *base, const char *from)
{
    static char names[4][BOUGH_NAME_MAX + 1];
    static unsigned next;
    char *name = names[next++ % 4];
    bough_branches made;
    bough_options options = BOUGH_OPTIONS_INIT;
    options.hidden = true;
    ASSERT_OK(bough_branch_create(&made, store, &base, 1, from, &options));
    ck_assert_uint_eq(made.count, 1);
    snprintf(name, BOUGH_NAME_MAX + 1, "%s", made.items[0].name);
    bough_branches_release(&made);
    return name;
}

static const char *hide(bough_store *store, const char *base)
{
    return hide_from(store, base, "main");
}

static bool has(bough_store *store, const char *name)
{
    bough_branches got;
    int rc = bough_branch_get(&got, store, name);
    bough_branches_release(&got);
    ck_assert(rc == BOUGH_OK || rc == BOUGH_NOT_FOUND);
    return rc == BOUGH_OK;
}

static int drop(bough_store *store, const char *name, bool recursive)
{
    bough_branches gone;
    bough_options options = BOUGH_OPTIONS_INIT;
    options.recursive = recursive;
    int rc = bough_branch_delete(&gone, store, &name, 1, &options);
    bough_branches_release(&gone);
    return rc;
}

static void reveal(bough_store *store, const char *hidden, const char *name)
{
    bough_branches was;
    ASSERT_OK(bough_branch_rename(&was, store, &hidden, &name, 1));
    bough_branches_release(&was);
}

static void assert_whole(bough_store *store)
{
    bough_verification found;
    ASSERT_OK(bough_verify(&found, store, NULL, NULL));
    ck_assert_msg(found.ok, "%s", found.ok ? "" : found.findings[0].what);
    bough_verification_release(&found);
}

/* ---- who sees them ---- */

TEST(nobody_lists_them)
{
    bough_store *store = fixture_store(3);
    bough_usage usage;
    const char *name = hide(store, "add-index");
    ck_assert_int_eq(name[0], '.');
    ck_assert_ptr_nonnull(strstr(name, "/add-index"));
    ck_assert_uint_eq(fixture_count(store), 1);
    ASSERT_OK(bough_disk_usage(&usage, store));
    ck_assert_uint_eq(usage.branch_count, 1);
    bough_usage_release(&usage);
    ck_assert(has(store, name));
    assert_whole(store);
    bough_store_close(store);
}

TEST(a_name_is_used_like_any_other)
{
    bough_store *store = fixture_store(3);
    char *uri = NULL, *path = NULL;
    const char *name = hide(store, "x");
    bough_sealed sealed;
    bough_status status;
    fixture_write(store, name, 1, 77);
    ck_assert_uint_eq(fixture_read(store, name, 1), 77);
    ck_assert_uint_eq(fixture_read(store, "main", 1), 2);
    ASSERT_OK(bough_branch_status(&status, store, name));
    ck_assert_uint_eq(status.changed_pages, 1);
    ck_assert_str_eq(status.branch.items[0].parent, "main");
    bough_status_release(&status);
    fixture_commit(store, name, "work");
    ASSERT_OK(bough_ref_url(&uri, &path, store, name));
    ck_assert_ptr_nonnull(strstr(uri, name));
    free(uri);
    free(path);
    ASSERT_OK(bough_branch_promote(&sealed, store, name, NULL, NULL));
    ck_assert_str_eq(sealed.branch, "main");
    bough_sealed_release(&sealed);
    ck_assert_uint_eq(fixture_read(store, "main", 1), 77);
    ASSERT_OK(drop(store, name, false));
    ck_assert(!has(store, name));
    bough_store_close(store);
}

TEST(names)
{
    bough_store *store = fixture_store(1);
    bough_branches made;
    bough_ref ref;
    char longest[BOUGH_NAME_MAX + 1];
    const char *names[] = {"same", "same", "main"}, *bad = ".17/x", *too_long = longest;
    bough_options options = BOUGH_OPTIONS_INIT;
    options.hidden = true;
    memset(longest, 'n', BOUGH_NAME_MAX);
    longest[BOUGH_NAME_MAX] = 0;
    ASSERT_OK(bough_branch_create(&made, store, names, 3, "main", &options)); /* what is taken does not matter */
    ck_assert_uint_eq(made.count, 3);
    ck_assert_str_ne(made.items[0].name, made.items[1].name);
    bough_branches_release(&made);
    ASSERT_OK(bough_branch_create(&made, store, &too_long, 1, "main", &options));
    ck_assert(strlen(made.items[0].name) < BOUGH_NAME_MAX);
    ck_assert(has(store, made.items[0].name));
    bough_branches_release(&made);
    /* They are the engine's to give. */
    ASSERT_CODE(BOUGH_USAGE, bough_branch_create(&made, store, &bad, 1, "main", &options));
    ASSERT_CODE(BOUGH_USAGE, bough_branch_create(&made, store, &bad, 1, "main", NULL));
    ASSERT_CODE(BOUGH_USAGE, bough_branch_rename(&made, store, (const char *[]){"main"}, (const char *[]){".17/x"}, 1));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_ref_resolve(&ref, store, ".999/x"));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_ref_resolve(&ref, store, ".999"));
    const char *wrong[] = {".x", "./x", ".17/", ".17x", "..", ".17/.x", ".17//x", "."};
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        ASSERT_CODE(BOUGH_USAGE, bough_ref_resolve(&ref, store, wrong[i]));
    bough_store_close(store);
}

/* ---- of a branch with transactions that are not committed ---- */

static bough_branch main_now(bough_store *store, bough_branches *keep)
{
    ASSERT_OK(bough_branch_get(keep, store, "main"));
    return keep->items[0];
}

static const char *base_of(bough_store *store, const char *name)
{
    static char base[BOUGH_ID_SIZE];
    bough_branches got;
    ASSERT_OK(bough_branch_get(&got, store, name));
    snprintf(base, sizeof base, "%s", got.items[0].base);
    bough_branches_release(&got);
    return base;
}

TEST(a_dirty_branch_stays_dirty)
{
    bough_store *store = fixture_store(3);
    bough_branches before, after;
    bough_sealed sealed;
    bough_options options = BOUGH_OPTIONS_INIT;
    fixture_write(store, "main", 1, 50);
    bough_branch was = main_now(store, &before);
    const char *name = hide(store, "x");
    bough_branch is = main_now(store, &after);
    ck_assert(was.dirty && is.dirty);
    ck_assert_str_eq(was.head, is.head);
    ck_assert_str_ne(base_of(store, name), is.head);
    ck_assert_uint_eq(fixture_read(store, name, 1), 50);
    ck_assert_uint_eq(fixture_read(store, base_of(store, name), 1), 50);
    fixture_write(store, name, 2, 60);
    /* The promote's own commit of that transaction is the fork's base. */
    options.expect = base_of(store, name);
    ASSERT_OK(bough_branch_promote(&sealed, store, name, NULL, &options));
    ck_assert_str_eq(sealed.left, options.expect);
    bough_sealed_release(&sealed);
    ck_assert_uint_eq(fixture_read(store, "main", 1), 50);
    ck_assert_uint_eq(fixture_read(store, "main", 2), 60);
    bough_commits log;
    ASSERT_OK(bough_commit_log(&log, store, "main", 0));
    ck_assert_uint_eq(log.count, 3); /* of the fork, of main, init */
    ck_assert_str_eq(log.items[2].id, was.head);
    bough_commits_release(&log);
    bough_branches_release(&before);
    bough_branches_release(&after);
    assert_whole(store);
    bough_store_close(store);
}

TEST(expect_beside_the_history)
{
    bough_store *store = fixture_store(3);
    bough_sealed sealed;
    bough_options options = BOUGH_OPTIONS_INIT;
    fixture_write(store, "main", 1, 50);
    const char *name = hide(store, "x"), *again = hide(store, "y");
    char base[BOUGH_ID_SIZE];
    snprintf(base, sizeof base, "%s", base_of(store, name));
    ck_assert_str_eq(base_of(store, again), base); /* one commit for both */
    options.expect = base;
    fixture_write(store, "main", 1, 51);
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_promote(&sealed, store, name, NULL, &options));
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_reset(&sealed, store, "main", "main~0", &options));
    fixture_commit(store, "main", "a person's");
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_promote(&sealed, store, name, NULL, &options));
    options.expect = NULL;
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_promote(&sealed, store, name, NULL, &options));
    ck_assert_uint_eq(fixture_read(store, "main", 1), 51);
    bough_store_close(store);
}

/* A person's commit of the same transaction is one of its own: its message is not lost. */
TEST(a_person_commits_the_same)
{
    bough_store *store = fixture_store(3);
    bough_commits log;
    fixture_write(store, "main", 1, 50);
    const char *name = hide(store, "x");
    const char *head = fixture_commit(store, "main", "mine");
    ck_assert_str_ne(head, base_of(store, name));
    ASSERT_OK(bough_commit_log(&log, store, "main", 1));
    ck_assert_str_eq(log.items[0].message, "mine");
    bough_commits_release(&log);
    assert_whole(store);
    bough_store_close(store);
}

/* The frames of a commit beside the history are a commit's: nobody writes over them, also when everything was closed in
 * between, and the fork is gone. */
TEST(its_pages_are_kept)
{
    enum { BLOCKS = 40 };
    bough_store *store = fixture_store(BLOCKS);
    char base[BOUGH_ID_SIZE];
    fixture_fill(store, "main", 0, BLOCKS, 50);
    const char *name = hide(store, "x");
    snprintf(base, sizeof base, "%s", base_of(store, name));
    ASSERT_OK(drop(store, name, false));
    for (int round = 0; round < 6; round++) {
        for (uint8_t byte = 60; byte < 70; byte++)
            fixture_fill(store, "main", 0, BLOCKS, byte);
        bough_store_close(store);
        store = fixture_open();
    }
    for (uint64_t block = 0; block < BLOCKS; block++)
        ck_assert_uint_eq(fixture_read(store, base, block), 50);
    assert_whole(store);
    bough_collection collection;
    ASSERT_OK(bough_gc(&collection, store, 0, false, NULL));
    ck_assert_uint_eq(collection.pruned, 1);
    bough_collection_release(&collection);
    ck_assert_uint_eq(fixture_read(store, "main", 0), 69);
    assert_whole(store);
    bough_store_close(store);
}

/* ---- families ---- */

TEST(the_parent_may_go)
{
    bough_store *store = fixture_store(3);
    bough_status status;
    fixture_fork(store, "a", "main");
    fixture_fork(store, "b", "a");
    const char *of_a = hide_from(store, "one", "a"), *of_b = hide_from(store, "two", "b");
    const char *of_a_too = hide_from(store, "three", "a");
    fixture_write(store, of_a, 0, 9);
    ASSERT_CODE(BOUGH_REFUSED, drop(store, "a", false)); /* because of b */
    ASSERT_OK(drop(store, "a", true));
    const char *left[] = {of_a, of_b, of_a_too};
    for (size_t i = 0; i < COUNT_OF(left); i++) {
        ASSERT_OK(bough_branch_status(&status, store, left[i]));
        ck_assert_ptr_null(status.branch.items[0].parent);
        bough_status_release(&status);
    }
    ck_assert_uint_eq(fixture_read(store, of_a, 0), 9);
    assert_whole(store);
    bough_store_close(store);
}

TEST(nothing_is_their_child)
{
    bough_store *store = fixture_store(3);
    bough_branches got;
    const char *name = hide(store, "x"), *deeper = hide_from(store, "y", name);
    fixture_write(store, name, 0, 9);
    fixture_fork(store, "plain", name);
    ASSERT_OK(bough_branch_get(&got, store, "plain"));
    ck_assert_str_eq(got.items[0].parent, "main");
    bough_branches_release(&got);
    ASSERT_OK(bough_branch_get(&got, store, deeper));
    ck_assert_str_eq(got.items[0].parent, "main");
    bough_branches_release(&got);
    ASSERT_OK(drop(store, name, false));
    ck_assert_uint_eq(fixture_read(store, "plain", 0), 9);
    assert_whole(store);
    bough_store_close(store);
}

/* Something happens between the look at what is forked and the transaction that forks it: there the branch's layer is
 * looked for. */
static struct {
    int (*lstat)(const char *path, struct stat *out);
    bough_store *other;
    const char *revealed; /* NULL: main is deleted */
} meanwhile;

static int lstat_late(const char *path, struct stat *out)
{
    bough__os.lstat = meanwhile.lstat;
    if (meanwhile.revealed)
        reveal(meanwhile.other, meanwhile.revealed, "kept");
    else
        ASSERT_OK(drop(meanwhile.other, "main", false));
    return bough__os.lstat(path, out);
}

static void fork_meanwhile(bough_store *store, const char *from, bool reveals)
{
    meanwhile.other = fixture_open();
    meanwhile.revealed = reveals ? from : NULL;
    meanwhile.lstat = bough__os.lstat;
    bough__os.lstat = lstat_late;
    fixture_fork(store, "plain", from);
    ck_assert(bough__os.lstat == meanwhile.lstat);
    bough_store_close(meanwhile.other);
    assert_whole(store);
}

TEST(the_parent_goes_while_one_is_forked)
{
    bough_store *store = fixture_store(3);
    bough_branches got;
    const char *name = hide(store, "x");
    fork_meanwhile(store, name, false);
    ASSERT_OK(bough_branch_get(&got, store, "plain"));
    ck_assert_ptr_null(got.items[0].parent);
    bough_branches_release(&got);
    ck_assert_uint_eq(fixture_read(store, "plain", 0), 1);
    bough_store_close(store);
}

TEST(one_is_revealed_while_it_is_forked)
{
    bough_store *store = fixture_store(3);
    bough_branches got;
    const char *name = hide(store, "x");
    fork_meanwhile(store, name, true);
    ASSERT_OK(bough_branch_get(&got, store, "plain"));
    ck_assert_str_eq(got.items[0].parent, "kept");
    bough_branches_release(&got);
    ASSERT_CODE(BOUGH_REFUSED, drop(store, "kept", false)); /* now it has a child */
    bough_store_close(store);
}

TEST(an_expired_parent_goes)
{
    bough_store *store = fixture_store(3);
    bough_branches made;
    bough_collection collection;
    const char *name = "short";
    bough_options options = BOUGH_OPTIONS_INIT;
    options.ttl_ms = 1;
    ASSERT_OK(bough_branch_create(&made, store, &name, 1, "main", &options));
    bough_branches_release(&made);
    const char *hidden = hide_from(store, "x", "short");
    fixture_write(store, hidden, 2, 5);
    usleep(5000);
    ASSERT_OK(bough_gc(&collection, store, -1, false, NULL));
    ck_assert_uint_eq(collection.dropped.count, 1);
    bough_collection_release(&collection);
    ck_assert(!fixture_has(store, "short"));
    ck_assert_uint_eq(fixture_read(store, hidden, 2), 5);
    ck_assert_uint_eq(fixture_read(store, hidden, 0), 1);
    assert_whole(store);
    bough_store_close(store);
}

/* ---- owners ---- */

TEST(they_live_as_long_as_their_handle)
{
    bough_store *store = fixture_store(3), *owner = fixture_open(), *third = NULL;
    bough_collection collection;
    const char *name = hide(owner, "x"), *mine = hide(store, "y");
    fixture_write(owner, name, 0, 9);
    third = fixture_open();
    ASSERT_OK(bough_gc(&collection, owner, -1, false, NULL)); /* the owner's own run too */
    bough_collection_release(&collection);
    ck_assert(has(store, name));
    bough_store_close(third);
    bough_store_close(owner);
    ck_assert(has(store, name)); /* nobody has come by */
    third = fixture_open();
    ck_assert(!has(store, name) && has(store, mine));
    bough_store_close(third);
    assert_whole(store);
    bough_store_close(store);
}

/* Dropping them closes no descriptor of the program's. */
TEST(descriptors_stay)
{
    bough_store *store = fixture_store(3);
    hide(store, "orphan");
    bough_store_close(store);
    ck_assert_int_ge(fcntl(STDIN_FILENO, F_GETFD), 0);
    store = fixture_open();
    ck_assert_int_ge(fcntl(STDIN_FILENO, F_GETFD), 0);
    bough_store_close(store);
}

TEST(gc_drops_what_nobody_owns)
{
    bough_store *store = fixture_store(3), *owner = fixture_open();
    bough_collection collection;
    const char *name = hide(owner, "x");
    fixture_write(owner, name, 0, 9);
    bough_store_close(owner);
    ASSERT_OK(bough_gc(&collection, store, -1, true, NULL));
    ck_assert(has(store, name));
    bough_collection_release(&collection);
    ASSERT_OK(bough_gc(&collection, store, -1, false, NULL));
    ck_assert(!has(store, name));
    bough_collection_release(&collection);
    assert_whole(store);
    bough_store_close(store);
}

struct owner {
    pid_t child;
    int ready;
    char name[BOUGH_NAME_MAX + 1]; /* of the last one */
};

static struct owner start_owner(int count)
{
    struct owner owner = {0};
    int ready[2];
    ck_assert_int_eq(pipe(ready), 0);
    const char *path = harness_path("s.bough");
    owner.child = fork();
    if (owner.child == 0) {
        bough_store *store = NULL;
        const char *base = "x";
        bough_branches made = {0};
        bough_options options = BOUGH_OPTIONS_INIT;
        options.hidden = true;
        int rc = bough_store_open(&store, path, NULL);
        for (int i = 0; rc == BOUGH_OK && i < count; i++)
            rc = bough_branch_create(&made, store, &base, 1, "main", &options);
        if (rc != BOUGH_OK || write(ready[1], made.items[0].name, strlen(made.items[0].name)) < 0)
            _exit(1);
        pause();
        _exit(2);
    }
    ck_assert_int_gt(read(ready[0], owner.name, sizeof owner.name - 1), 0);
    close(ready[1]);
    owner.ready = ready[0];
    return owner;
}

static void end_owner(struct owner *owner)
{
    int status = 0;
    kill(owner->child, SIGKILL);
    ck_assert_int_eq(waitpid(owner->child, &status, 0), owner->child);
    close(owner->ready);
}

TEST(killed_owners)
{
    bough_store_close(fixture_store(3));
    struct owner owner = start_owner(20);
    bough_store *store = fixture_open();
    struct bough__branch_row row;
    ck_assert(has(store, owner.name));
    bough_store_close(store);
    end_owner(&owner);
    store = fixture_open();
    ck_assert(!has(store, owner.name));
    ck_assert_uint_eq(fixture_count(store), 1);
    for (int64_t id = 1; id < 40; id++) {
        int rc = bough__catalog_branch_by_id(&row, store->catalog, id);
        ck_assert(rc == BOUGH_NOT_FOUND || strcmp(row.name, "main") == 0);
        bough__branch_row_clear(&row);
    }
    assert_whole(store);
    bough_store_close(store);
}

TEST(one_that_is_read_stays_until_it_is_not)
{
    bough_store_close(fixture_store(3));
    struct owner owner = start_owner(2);
    struct fixture_peer peer = fixture_peer(owner.name);
    end_owner(&owner);
    bough_store *store = fixture_open();
    ck_assert(has(store, owner.name));
    bough_store_close(store);
    fixture_end_peer(&peer);
    store = fixture_open();
    ck_assert(!has(store, owner.name));
    bough_store_close(store);
}

TEST(what_was_kept_stays)
{
    bough_store *store = fixture_store(3), *owner = fixture_open();
    const char *name = hide(owner, "x");
    fixture_write(owner, name, 0, 9);
    reveal(owner, name, "kept");
    ck_assert(!has(store, name) && fixture_has(store, "kept"));
    bough_store_close(owner);
    bough_store_close(store);
    store = fixture_open();
    ck_assert_uint_eq(fixture_read(store, "kept", 0), 9);
    ck_assert_uint_eq(fixture_count(store), 2);
    ASSERT_CODE(BOUGH_REFUSED, drop(store, "main", false)); /* now it is a child */
    bough_store_close(store);
}

/* A copy of the store has their rows and nobody's locks. */
TEST(a_copy_has_no_owners)
{
    bough_store *store = fixture_store(3), *copy = NULL;
    const char *name = hide(store, "x");
    bough_store_close(store);
    harness_copy_tree(harness_path("s.bough"), harness_path("t.bough"));
    unlink(harness_path("t.bough/run/owners"));
    ASSERT_OK(bough_store_open(&copy, harness_path("t.bough"), NULL));
    ck_assert(!has(copy, name));
    assert_whole(copy);
    bough_store_close(copy);
}

TEST(a_child_of_fork_is_no_owner)
{
    bough_store *store = fixture_store(3);
    int status = 0, ready[2];
    char word = 0;
    const char *name = hide(store, "x");
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        if (write(ready[1], "r", 1) == 1)
            pause();
        _exit(1);
    }
    ck_assert_int_eq(read(ready[0], &word, 1), 1); /* the child has let go of what is its parent's */
    bough_store_close(store);
    store = fixture_open();
    ck_assert(!has(store, name));
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    close(ready[0]);
    close(ready[1]);
    bough_store_close(store);
}

/* A fork that fails keeps no lock: the number is somebody else's next. */
TEST(all_or_none)
{
    bough_store *store = fixture_store(3);
    bough_branches made;
    const char *names[] = {"a", "b"};
    bough_options options = BOUGH_OPTIONS_INIT;
    options.hidden = true;
    int fd = -1;
    struct bough__branch_row row;
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, "main"));
    /* The second insert meets a row that is there already. */
    ASSERT_OK(bough__catalog_begin(store->catalog));
    uint32_t first = 0;
    ASSERT_OK(bough__catalog_new_layer(&first, store->catalog));
    bough__catalog_rollback(store->catalog);
    ASSERT_OK(bough__catalog_begin(store->catalog));
    free(row.name);
    row.name = bough__format("taken");
    row.layer = first + 1;
    ASSERT_OK(bough__catalog_branch_insert(store->catalog, &row));
    ASSERT_OK(bough__catalog_commit(store->catalog));
    bough__branch_row_clear(&row);
    ck_assert_int_ne(bough_branch_create(&made, store, names, 2, "main", &options), BOUGH_OK);
    ck_assert_uint_eq(fixture_count(store), 2);
    ASSERT_OK(bough__os_open(&fd, harness_path("s.bough/run/owners"), 2, 0));
    for (uint64_t byte = 0; byte < 20; byte++)
        ck_assert(!bough__os_is_locked(fd, byte));
    bough__os_close(&fd);
    bough_store_close(store);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(nobody_lists_them),
        CASE(a_name_is_used_like_any_other),
        CASE(names),
        CASE(a_dirty_branch_stays_dirty),
        CASE(expect_beside_the_history),
        CASE(a_person_commits_the_same),
        CASE(its_pages_are_kept),
        CASE(the_parent_may_go),
        CASE(nothing_is_their_child),
        CASE(the_parent_goes_while_one_is_forked),
        CASE(one_is_revealed_while_it_is_forked),
        CASE(an_expired_parent_goes),
        CASE(they_live_as_long_as_their_handle),
        CASE(descriptors_stay),
        CASE(gc_drops_what_nobody_owns),
        CASE(killed_owners),
        CASE(one_that_is_read_stays_until_it_is_not),
        CASE(what_was_kept_stays),
        CASE(a_copy_has_no_owners),
        CASE(a_child_of_fork_is_no_owner),
        CASE(all_or_none),
    };
    return harness_run("hidden", cases, COUNT_OF(cases));
}
