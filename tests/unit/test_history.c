/* test_history.c - what a caller builds a safe move from: expect, a lock that is kept, and the record of moves. */
#include "fixture.h"

#include "catalog_sql.h"
#include "os.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bough_options with(const char *expect, bough_lock *lock, const char *note)
{
    bough_options options = BOUGH_OPTIONS_INIT;
    options.timeout_ms = 50;
    options.expect = expect;
    options.lock = lock;
    options.note = note;
    return options;
}

static int reset(bough_store *store, const char *name, const char *ref, const bough_options *options)
{
    bough_sealed sealed;
    int rc = bough_branch_reset(&sealed, store, name, ref, options);
    bough_sealed_release(&sealed);
    return rc;
}

static int promote(bough_store *store, const char *name, const bough_options *options)
{
    bough_sealed sealed;
    int rc = bough_branch_promote(&sealed, store, name, NULL, options);
    bough_sealed_release(&sealed);
    return rc;
}

static bough_moves moves_of(bough_store *store, const char *name)
{
    bough_moves moves;
    ASSERT_OK(bough_branch_moves(&moves, store, name, 0));
    return moves;
}

static size_t move_count(bough_store *store, const char *name)
{
    bough_moves moves = moves_of(store, name);
    size_t count = moves.count;
    bough_moves_release(&moves);
    return count;
}

static void assert_whole(bough_store *store)
{
    bough_verification found;
    ASSERT_OK(bough_verify(&found, store, NULL, NULL));
    ck_assert_msg(found.ok, "%s", found.ok ? "" : found.findings[0].what);
    bough_verification_release(&found);
}

/* main at two commits, the fork one further; the tags name them. */
static bough_store *story(void)
{
    bough_store *store = fixture_store(3);
    bough_tags tags;
    fixture_write(store, "main", 0, 50);
    fixture_commit(store, "main", "second");
    fixture_fork(store, "fork", "main");
    fixture_write(store, "fork", 1, 60);
    fixture_commit(store, "fork", "third");
    ASSERT_OK(bough_tag_create(&tags, store, "first", "main~1"));
    bough_tags_release(&tags);
    return store;
}

/* ---- expect ---- */

TEST(moved_meanwhile)
{
    bough_store *store = story();
    const char *head = fixture_id(store, "main"), *other = fixture_id(store, "main~1");
    bough_options options = with(other, NULL, NULL);
    ASSERT_CODE(BOUGH_REFUSED, reset(store, "main", "first", &options));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "moved meanwhile"));
    ASSERT_CODE(BOUGH_REFUSED, promote(store, "fork", &options));
    options.force = true; /* is about the fork, not about this */
    ASSERT_CODE(BOUGH_REFUSED, promote(store, "fork", &options));
    options = with(head, NULL, NULL);
    fixture_write(store, "main", 2, 70); /* the head is the same still */
    ASSERT_CODE(BOUGH_REFUSED, reset(store, "main", "first", &options));
    ASSERT_CODE(BOUGH_REFUSED, promote(store, "fork", &options));
    ck_assert_str_eq(fixture_id(store, "main"), head);
    ck_assert_uint_eq(fixture_read(store, "main", 2), 70);
    ck_assert_uint_eq(move_count(store, "main"), 0);
    bough_store_close(store);
}

TEST(as_expected)
{
    bough_store *store = story();
    bough_options options = with(fixture_id(store, "main"), NULL, NULL);
    ASSERT_OK(promote(store, "fork", &options));
    ck_assert_uint_eq(fixture_read(store, "main", 1), 60);
    options = with(fixture_id(store, "main"), NULL, NULL);
    ASSERT_OK(reset(store, "main", "first", &options));
    ck_assert_uint_eq(fixture_read(store, "main", 0), 1);
    bough_store_close(store);
}

TEST(what_is_no_id)
{
    bough_store *store = story();
    const char *bad[] = {"", "main", "abcdef", "zz"};
    char cut[BOUGH_ID_SIZE];
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        bough_options options = with(bad[i], NULL, NULL);
        ASSERT_CODE(BOUGH_USAGE, reset(store, "main", "first", &options));
    }
    snprintf(cut, sizeof cut - 1, "%s", fixture_id(store, "main"));
    bough_options options = with(cut, NULL, NULL);
    ASSERT_CODE(BOUGH_USAGE, reset(store, "main", "first", &options));
    bough_store_close(store);
}

/* A caller of the first version knows nothing of the fields behind `discard`. */
TEST(an_older_caller)
{
    bough_store *store = story();
    bough_options options = with("what stands here is not his", (bough_lock *)1, "nor this");
    options.hidden = options.automatic = true;
    options.struct_size = offsetof(bough_options, expect);
    ASSERT_OK(promote(store, "fork", &options));
    bough_moves moves = moves_of(store, "main");
    ck_assert_ptr_null(moves.items[0].note);
    bough_moves_release(&moves);
    bough_store_close(store);
}

/* ---- commits ---- */

TEST(a_commit_of_the_machine)
{
    bough_store *store = story();
    bough_sealed sealed;
    bough_commits log;
    bough_options options = BOUGH_OPTIONS_INIT;
    options.automatic = true;
    options.message = "migrate up 3";
    fixture_write(store, "main", 1, 80);
    ASSERT_OK(bough_commit_create(&sealed, store, "main", &options));
    bough_sealed_release(&sealed);
    ASSERT_OK(bough_commit_log(&log, store, "main", 2));
    ck_assert(log.items[0].automatic && !log.items[1].automatic);
    ck_assert_str_eq(log.items[0].message, "migrate up 3");
    bough_commits_release(&log);
    bough_store_close(store);
}

/* ---- locks ---- */

TEST(a_lock_keeps_writers_out)
{
    bough_store *store = story(), *other = fixture_open();
    bough_lock *lock = NULL, *second = NULL;
    bough_branches made;
    const char *name = "from-locked";
    bough_options brief = with(NULL, NULL, NULL);
    fixture_write(store, "main", 2, 70);
    ASSERT_OK(bough_branch_lock(&lock, store, "main", &brief));
    ASSERT_CODE(BOUGH_BUSY, bough_branch_lock(&second, other, "main", &brief));
    ck_assert_ptr_null(second);
    ASSERT_CODE(BOUGH_BUSY, reset(other, "main", "first", &brief));
    ASSERT_CODE(BOUGH_BUSY, reset(store, "main", "first", &brief)); /* the same handle, without saying so */
    ck_assert_uint_eq(fixture_read(other, "main", 2), 70);
    ASSERT_OK(bough_branch_create(&made, other, &name, 1, "main", NULL)); /* seals what was not committed */
    bough_branches_release(&made);
    ck_assert_uint_eq(fixture_read(store, "from-locked", 2), 70);
    bough_lock_release(lock);
    ASSERT_OK(reset(other, "main", "first", &brief));
    bough_lock_release(NULL);
    bough_store_close(other);
    bough_store_close(store);
}

TEST(a_move_with_the_lock)
{
    bough_store *store = story(), *other = fixture_open();
    bough_lock *lock = NULL, *again = NULL;
    bough_options brief = with(NULL, NULL, NULL);
    ASSERT_OK(bough_branch_lock(&lock, store, "main", &brief));
    const char *head = fixture_id(store, "main");
    bough_options options = with(fixture_id(store, "main~1"), lock, NULL);
    ASSERT_CODE(BOUGH_REFUSED, promote(store, "fork", &options));
    ASSERT_CODE(BOUGH_BUSY, reset(other, "main", "first", &brief)); /* it holds still */
    options = with(head, lock, NULL);
    ASSERT_OK(reset(store, "main", "main", &options)); /* where it is: nothing moves, nothing is used up */
    ASSERT_CODE(BOUGH_BUSY, reset(other, "main", "first", &brief));
    ASSERT_OK(promote(store, "fork", &options));
    ck_assert_uint_eq(fixture_read(store, "main", 1), 60);
    ASSERT_CODE(BOUGH_USAGE, reset(store, "main", "first", &options));
    ASSERT_OK(bough_branch_lock(&again, other, "main", &brief));
    bough_lock_release(again);
    bough_lock_release(lock);
    fixture_write(other, "main", 0, 9);
    assert_whole(store);
    bough_store_close(other);
    bough_store_close(store);
}

TEST(a_lock_of_something_else)
{
    bough_store *store = story(), *other = fixture_open();
    bough_lock *lock = NULL, *none = NULL;
    bough_branches was;
    bough_options brief = with(NULL, NULL, NULL);
    ASSERT_OK(bough_branch_lock(&lock, store, "fork", &brief));
    bough_options options = with(NULL, lock, NULL);
    ASSERT_CODE(BOUGH_USAGE, reset(store, "main", "first", &options));
    ASSERT_CODE(BOUGH_USAGE, reset(other, "fork", "first", &options)); /* of another handle */
    ASSERT_CODE(BOUGH_BUSY, reset(other, "fork", "first", &brief));
    /* Protected or renamed while it is locked: the lock is the branch's, whatever its name. */
    ASSERT_OK(bough_branch_protect(&was, other, "fork", true));
    bough_branches_release(&was);
    ASSERT_CODE(BOUGH_REFUSED, reset(store, "fork", "first", &options));
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_lock(&none, other, "fork", &brief));
    ASSERT_OK(bough_branch_protect(&was, other, "fork", false));
    bough_branches_release(&was);
    ASSERT_OK(bough_branch_rename(&was, other, (const char *[]){"fork"}, (const char *[]){"prong"}, 1));
    bough_branches_release(&was);
    ASSERT_OK(reset(store, "prong", "first", &options));
    ck_assert_uint_eq(fixture_read(other, "prong", 0), 1);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_branch_lock(&none, other, "nothing", &brief));
    bough_lock_release(lock);
    bough_store_close(other);
    bough_store_close(store);
}

TEST(a_lock_ends_with_its_process)
{
    bough_store *store = story();
    const char *path = harness_path("s.bough");
    int ready[2], status = 0;
    char word = 0;
    bough_options brief = with(NULL, NULL, NULL);
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        bough_store *own = NULL;
        bough_lock *lock = NULL;
        if (bough_store_open(&own, path, NULL) == BOUGH_OK &&
            bough_branch_lock(&lock, own, "main", NULL) == BOUGH_OK && write(ready[1], "r", 1) == 1)
            pause();
        _exit(1);
    }
    ck_assert_int_eq(read(ready[0], &word, 1), 1);
    ASSERT_CODE(BOUGH_BUSY, reset(store, "main", "first", &brief));
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ASSERT_OK(reset(store, "main", "first", &brief));
    bough_store_close(store);
    close(ready[0]);
    close(ready[1]);
}

TEST(a_lock_of_the_parent)
{
    bough_store *store = story(), *other = fixture_open();
    bough_lock *lock = NULL;
    int status = 0;
    bough_options brief = with(NULL, NULL, NULL);
    ASSERT_OK(bough_branch_lock(&lock, store, "main", &brief));
    pid_t child = fork();
    if (child == 0) {
        bough_options options = with(NULL, lock, NULL);
        bough_sealed sealed;
        int rc = bough_branch_reset(&sealed, store, "main", "first", &options);
        bough_lock_release(lock);
        bough_store_close(store);
        _exit(rc == BOUGH_USAGE ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ASSERT_CODE(BOUGH_BUSY, reset(other, "main", "first", &brief));
    bough_lock_release(lock);
    ASSERT_OK(reset(other, "main", "first", &brief));
    bough_store_close(other);
    bough_store_close(store);
}

/* ---- the record ---- */

TEST(what_is_recorded)
{
    bough_store *store = story();
    const char *second = fixture_id(store, "main"), *third = fixture_id(store, "fork");
    const char *first = fixture_id(store, "first");
    bough_options options = with(NULL, NULL, "a run");
    ASSERT_OK(promote(store, "fork", &options));
    ASSERT_OK(promote(store, "fork", NULL)); /* nothing to do */
    fixture_write(store, "main", 2, 90);
    ASSERT_OK(reset(store, "main", "first", NULL));
    ASSERT_OK(reset(store, "main", "first", NULL)); /* nothing to do */
    fixture_write(store, "main", 2, 91);
    options = with(NULL, NULL, NULL);
    options.discard = true;
    ASSERT_OK(reset(store, "main", third, &options));
    bough_moves moves = moves_of(store, "main");
    ck_assert_uint_eq(moves.count, 3);
    ck_assert_str_eq(moves.items[2].verb, "promote");
    ck_assert_str_eq(moves.items[2].note, "a run");
    ck_assert_str_eq(moves.items[2].before, second);
    ck_assert_str_eq(moves.items[2].after, third);
    ck_assert_str_eq(moves.items[1].verb, "reset");
    ck_assert_ptr_null(moves.items[1].note);
    ck_assert_uint_eq(fixture_read(store, moves.items[1].before, 2), 90);
    ck_assert_str_eq(moves.items[1].after, first);
    ck_assert_str_eq(moves.items[0].before, "");
    ck_assert_str_eq(moves.items[0].after, third);
    ck_assert(moves.items[0].created_at_ms >= moves.items[2].created_at_ms && moves.items[2].created_at_ms > 0);
    bough_moves_release(&moves);
    bough_moves_release(&moves);
    ASSERT_OK(bough_branch_moves(&moves, store, "main", 2));
    ck_assert_uint_eq(moves.count, 2);
    ck_assert_str_eq(moves.items[1].after, first);
    bough_moves_release(&moves);
    ck_assert_uint_eq(move_count(store, "fork"), 0);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_branch_moves(&moves, store, "nothing", 0));
    assert_whole(store);
    bough_store_close(store);
}

static int read_bytes(void *context, uint64_t offset, void *buffer, size_t len_bytes)
{
    memcpy(buffer, (uint8_t *)context + offset, len_bytes);
    return BOUGH_OK;
}

TEST(an_import_is_a_move)
{
    bough_store *store = story();
    bough_transfer transfer;
    uint8_t bytes[2 * FIXTURE_BLOCK];
    memset(bytes, 3, sizeof bytes);
    struct bough__source source = {
        .size_bytes = sizeof bytes, .page_size = FIXTURE_BLOCK, .context = bytes, .read = read_bytes};
    const char *head = fixture_id(store, "main");
    bough_options options = with(NULL, NULL, "nightly");
    for (int i = 0; i < 2; i++) { /* the second time the bytes are equal */
        ASSERT_OK(bough__store_import(&transfer, store, "main", &source, &options));
        bough_transfer_release(&transfer);
    }
    bough_moves moves = moves_of(store, "main");
    ck_assert_uint_eq(moves.count, 1);
    ck_assert_str_eq(moves.items[0].verb, "import");
    ck_assert_str_eq(moves.items[0].note, "nightly");
    ck_assert_str_eq(moves.items[0].before, head);
    ck_assert_str_eq(moves.items[0].after, fixture_id(store, "main"));
    bough_moves_release(&moves);
    bough_store_close(store);
}

TEST(a_note_has_an_end)
{
    bough_store *store = story();
    char note[1002];
    memset(note, 'n', sizeof note - 1);
    note[sizeof note - 1] = 0;
    bough_options options = with(NULL, NULL, note);
    const char *head = fixture_id(store, "main");
    ASSERT_CODE(BOUGH_USAGE, reset(store, "main", "first", &options));
    ck_assert_str_eq(fixture_id(store, "main"), head);
    note[sizeof note - 2] = 0;
    ASSERT_OK(reset(store, "main", "first", &options));
    bough_moves moves = moves_of(store, "main");
    ck_assert_str_eq(moves.items[0].note, note);
    bough_moves_release(&moves);
    bough_store_close(store);
}

TEST(a_damaged_row)
{
    bough_store *store = story();
    bough_moves moves;
    bough_verification found;
    ASSERT_OK(reset(store, "main", "first", NULL));
    ASSERT_OK(bough__sql_run_text(store->catalog, "UPDATE catalog.moves SET note = 'forged'"));
    ASSERT_CODE(BOUGH_CORRUPT, bough_branch_moves(&moves, store, "main", 0));
    ck_assert_uint_eq(moves.count, 0);
    ASSERT_OK(bough_verify(&found, store, NULL, NULL));
    ck_assert(!found.ok);
    ck_assert_ptr_nonnull(strstr(found.findings[0].what, "move"));
    bough_verification_release(&found);
    bough_store_close(store);
}

/* ---- gc ---- */

static int64_t days_later;

/* The program's visible symbols stand before the C library's. */
__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *out)
{
    int result = (int)syscall(SYS_clock_gettime, clock, out);
    out->tv_sec += clock == CLOCK_REALTIME ? days_later * 86400 : 0;
    return result;
}

static size_t pruned_by_gc(bough_store *store)
{
    bough_collection collection;
    ASSERT_OK(bough_gc(&collection, store, -1, false, NULL));
    size_t pruned = collection.pruned;
    bough_collection_release(&collection);
    return pruned;
}

/* What a branch had may be an old commit of the machine, that nothing else names any more. */
TEST(gc_keeps_what_a_branch_had)
{
    bough_store *store = story();
    bough_sealed sealed;
    bough_options options = BOUGH_OPTIONS_INIT;
    options.automatic = true;
    fixture_write(store, "main", 2, 90);
    ASSERT_OK(bough_commit_create(&sealed, store, "main", &options));
    const char *had = fixture_id(store, "main");
    bough_sealed_release(&sealed);
    days_later = 20;
    ASSERT_OK(reset(store, "main", "first", NULL));
    days_later = 49; /* the undo window is 30 days */
    ck_assert_uint_eq(pruned_by_gc(store), 0);
    ck_assert_uint_eq(fixture_read(store, had, 2), 90);
    ck_assert_uint_eq(move_count(store, "main"), 1);
    days_later = 51;
    ck_assert_uint_eq(pruned_by_gc(store), 1);
    ck_assert_uint_eq(move_count(store, "main"), 0);
    assert_whole(store);
    bough_store_close(store);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(moved_meanwhile),
        CASE(as_expected),
        CASE(what_is_no_id),
        CASE(an_older_caller),
        CASE(a_commit_of_the_machine),
        CASE(a_lock_keeps_writers_out),
        CASE(a_move_with_the_lock),
        CASE(a_lock_of_something_else),
        CASE(a_lock_ends_with_its_process),
        CASE(a_lock_of_the_parent),
        CASE(what_is_recorded),
        CASE(an_import_is_a_move),
        CASE(a_note_has_an_end),
        CASE(a_damaged_row),
        CASE(gc_keeps_what_a_branch_had),
    };
    return harness_run("history", cases, COUNT_OF(cases));
}
