/* test_drop.c - deleting branches: what refuses, what goes, and what stays for those who still need it. */
#include "fixture.h"

#include "os.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int drop(bough_store *store, const char *names, bool recursive, bool force)
{
    char copy[256], *list[16], *rest = copy;
    size_t count = 0;
    bough_branches dropped;
    bough_options options = BOUGH_OPTIONS_INIT;
    options.recursive = recursive;
    options.force = force;
    options.timeout_ms = 200;
    snprintf(copy, sizeof copy, "%s", names);
    while ((list[count] = strtok_r(rest, " ", &rest)))
        count++;
    int rc = bough_branch_delete(&dropped, store, (const char *const *)list, count, &options);
    ck_assert(rc == BOUGH_OK || dropped.count == 0);
    bough_branches_release(&dropped);
    return rc;
}

/* main <- a <- b <- c, a <- d */
static bough_store *family(void)
{
    bough_store *store = fixture_store(3);
    fixture_fork(store, "a", "main");
    fixture_fork(store, "b", "a");
    fixture_fork(store, "c", "b");
    fixture_fork(store, "d", "a");
    return store;
}

static uint32_t layer_of(bough_store *store, const char *branch)
{
    struct bough__branch_row row;
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, branch));
    uint32_t layer = row.layer;
    bough__branch_row_clear(&row);
    return layer;
}

static bool has_layer_file(uint32_t layer)
{
    char name[64];
    snprintf(name, sizeof name, "s.bough/layers/%u.layer", layer);
    return access(harness_path(name), F_OK) == 0;
}

TEST(children_keep_their_parent)
{
    bough_store *store = family();
    ASSERT_CODE(BOUGH_REFUSED, drop(store, "a", false, false));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "children"));
    ASSERT_CODE(BOUGH_REFUSED, drop(store, "a", false, true)); /* force is about those who have it open */
    ASSERT_CODE(BOUGH_REFUSED, drop(store, "c a b", false, false));
    ck_assert_uint_eq(fixture_count(store), 5);
    ASSERT_OK(drop(store, "c", false, false));
    ASSERT_OK(drop(store, "b d a", false, false)); /* children that are named go with it, in any order */
    ck_assert_uint_eq(fixture_count(store), 1);
    ASSERT_CODE(BOUGH_NOT_FOUND, drop(store, "a", false, false));
    ASSERT_CODE(BOUGH_NOT_FOUND, drop(store, "main nothing", false, false));
    ck_assert(fixture_has(store, "main"));
    ASSERT_OK(drop(store, "main main", false, false)); /* the last one, named twice */
    ck_assert_uint_eq(fixture_count(store), 0);
    bough_store_close(store);
}

TEST(recursive)
{
    bough_store *store = family();
    bough_branches dropped;
    bough_options options = BOUGH_OPTIONS_INIT;
    const char *names[] = {"b", "a"};
    options.recursive = true;
    fixture_write(store, "c", 0, 9);
    ASSERT_OK(bough_branch_delete(&dropped, store, names, 2, &options));
    ck_assert_uint_eq(dropped.count, 4);
    ck_assert_str_eq(dropped.items[0].name, "b");
    ck_assert_str_eq(dropped.items[0].parent, "a");
    ck_assert_str_eq(dropped.items[1].name, "a");
    for (size_t i = 2; i < 4; i++)
        ck_assert(dropped.items[i].dirty == (strcmp(dropped.items[i].name, "c") == 0));
    bough_branches_release(&dropped);
    ck_assert_uint_eq(fixture_count(store), 1);
    bough_store_close(store);
}

TEST(protection_is_above_force)
{
    bough_store *store = family();
    bough_branches keep;
    ASSERT_OK(bough_branch_protect(&keep, store, "c", true));
    bough_branches_release(&keep);
    ASSERT_CODE(BOUGH_REFUSED, drop(store, "c", false, true));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "protected"));
    ASSERT_CODE(BOUGH_REFUSED, drop(store, "a", true, true)); /* a descendant: nothing goes */
    ASSERT_CODE(BOUGH_REFUSED, drop(store, "d c", false, false));
    ck_assert_uint_eq(fixture_count(store), 5);
    bough_store_close(store);
}

TEST(the_current_branch)
{
    bough_store *store = family();
    bough_branches keep;
    char *current = NULL;
    ASSERT_OK(bough_branch_switch(&keep, store, "c"));
    bough_branches_release(&keep);
    ASSERT_OK(drop(store, "d", false, false));
    ASSERT_OK(bough_branch_current(&current, store));
    ck_assert_str_eq(current, "c");
    free(current);
    ASSERT_OK(drop(store, "c", false, false));
    ASSERT_OK(bough_branch_current(&current, store));
    ck_assert_ptr_null(current);
    bough_store_close(store);
}

/* ---- those who have it open ---- */

TEST(open_in_another_process)
{
    bough_store *store = family();
    fixture_write(store, "d", 0, 7);
    struct fixture_peer peer = fixture_peer("d"), unwritten = fixture_peer("c");
    ASSERT_CODE(BOUGH_REFUSED, drop(store, "d", false, false));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "another process"));
    ASSERT_CODE(BOUGH_REFUSED, drop(store, "c", false, false)); /* it has no layer file yet */
    ASSERT_CODE(BOUGH_REFUSED, drop(store, "a", true, false));
    ck_assert_uint_eq(fixture_count(store), 5);
    ck_assert(!fixture_peer_is_gone(&peer));
    ASSERT_OK(drop(store, "d", false, true));
    ck_assert(fixture_peer_is_gone(&peer));
    ck_assert(!fixture_peer_is_gone(&unwritten));
    fixture_end_peer(&unwritten);
    ASSERT_OK(drop(store, "c", false, false));
    fixture_fork(store, "d", "a"); /* a new branch of the old name is another one */
    ck_assert_uint_eq(fixture_read(store, "d", 0), 1);
    ck_assert(fixture_peer_is_gone(&peer));
    fixture_end_peer(&peer);
    ck_assert_uint_eq(fixture_read(store, "d", 0), 1);
    bough_store_close(store);
}

static bool has_open(bough_store *store, const char *branch, int pid)
{
    bough_status status;
    ASSERT_OK(bough_branch_status(&status, store, branch));
    bool has = false;
    for (size_t i = 0; i < status.open_by_count; i++)
        has = has || status.open_by[i] == pid;
    bough_status_release(&status);
    return has;
}

/* Who is idle on the layer that the branch left has the branch open, as long as he lives. */
TEST(open_where_it_was)
{
    bough_store *store = family();
    struct fixture_peer peer = fixture_peer("d");
    for (int i = 0; i < 2; i++) { /* the second time nobody has followed to the layer between */
        bough_sealed sealed;
        fixture_write(store, "d", 0, 7);
        ASSERT_OK(bough_branch_reset(&sealed, store, "d", "main", NULL));
        ck_assert(sealed.changed);
        bough_sealed_release(&sealed);
        ck_assert(fixture_peer_is_gone(&peer));
        ck_assert(has_open(store, "d", peer.pid));
        ck_assert(!has_open(store, "a", peer.pid));
        ASSERT_CODE(BOUGH_REFUSED, drop(store, "d", false, false));
        ck_assert_ptr_nonnull(strstr(bough_error_message(), "branch 'd' is open in another process"));
        ASSERT_CODE(BOUGH_REFUSED, drop(store, "a", true, false));
        ck_assert_uint_eq(fixture_count(store), 5);
    }
    ASSERT_OK(drop(store, "b", true, false)); /* another branch is not in the way */
    kill(peer.pid, SIGKILL);
    ck_assert_int_eq(waitpid(peer.pid, NULL, 0), peer.pid);
    ck_assert(!has_open(store, "d", peer.pid));
    ASSERT_OK(drop(store, "d", false, false));
    struct fixture_peer other = fixture_peer("a");
    bough_sealed sealed;
    fixture_write(store, "a", 0, 8);
    ASSERT_OK(bough_branch_reset(&sealed, store, "a", "main", NULL));
    bough_sealed_release(&sealed);
    ASSERT_OK(drop(store, "a", false, true));
    fixture_end_peer(&other);
    bough_store_close(store);
}

TEST(open_in_this_process)
{
    bough_store *store = family(), *other = fixture_open();
    struct bough__branch_row row;
    struct bough__layer *layer = NULL;
    fixture_write(store, "d", 0, 7);
    ASSERT_OK(bough__catalog_branch_by_name(&row, other->catalog, "d"));
    ASSERT_OK(bough__branch_layer(&layer, other, &row));
    ASSERT_CODE(BOUGH_REFUSED, drop(store, "d", false, false));
    ASSERT_OK(drop(store, "d", false, true));
    ck_assert(bough__layer_is_doubtful(layer));
    ASSERT_CODE(BOUGH_GONE, bough__branch_look(other, row.id, layer));
    bough__layer_close(layer);
    ASSERT_CODE(BOUGH_GONE, bough__branch_layer(&layer, other, &row)); /* with the row of before */
    ck_assert_ptr_null(layer);
    bough__branch_row_clear(&row);
    bough_store_close(other);
    bough_store_close(store);
}

TEST(a_writer_in_the_way_of_force)
{
    bough_store *store = family();
    struct bough__branch_row row;
    struct bough__layer *layer = NULL;
    struct bough__snapshot snapshot;
    struct bough__txn *txn = NULL;
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, "d"));
    ASSERT_OK(bough__branch_layer(&layer, store, &row));
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ASSERT_OK(bough__txn_begin(&txn, &snapshot));
    ASSERT_CODE(BOUGH_BUSY, drop(store, "d", false, true));
    ASSERT_CODE(BOUGH_REFUSED, drop(store, "d", false, false));
    bough__txn_end(txn);
    bough__snapshot_release(&snapshot);
    bough__layer_close(layer);
    bough__branch_row_clear(&row);
    ASSERT_OK(drop(store, "d", false, false));
    bough_store_close(store);
}

/* ---- files ---- */

TEST(a_layer_goes_with_its_branch_unless_a_commit_needs_it)
{
    bough_store *store = family();
    fixture_write(store, "c", 0, 9);
    fixture_write(store, "d", 0, 10);
    const char *sealed = fixture_commit(store, "d", "kept");
    fixture_write(store, "d", 1, 11);
    uint32_t loose = layer_of(store, "c"), needed = layer_of(store, "d");
    ck_assert(has_layer_file(loose) && has_layer_file(needed));
    ASSERT_OK(drop(store, "c d", false, false));
    ck_assert(!has_layer_file(loose));
    ck_assert(has_layer_file(needed));
    ck_assert_uint_eq(fixture_read(store, sealed, 0), 10);
    ck_assert_uint_eq(fixture_read(store, sealed, 1), 2);
    fixture_fork(store, "again", sealed);
    ck_assert_uint_eq(fixture_read(store, "again", 0), 10);
    bough_store_close(store);
}

TEST(a_fork_outlives_its_parent)
{
    bough_store *store = fixture_store(3);
    fixture_fork(store, "a", "main");
    fixture_write(store, "a", 0, 9);
    fixture_fork(store, "b", "a");
    fixture_fork(store, "c", "b~0");
    ASSERT_OK(drop(store, "a", true, false));
    ck_assert_uint_eq(fixture_count(store), 2);
    bough_store_close(store);
    store = fixture_open();
    ck_assert_uint_eq(fixture_read(store, "c", 0), 9);
    bough_store_close(store);
}

static int (*real_close)(int fd);
static unsigned last_closes;

static bool is_layer_without_name(int fd, struct stat *out)
{
    char link[64], target[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, target, sizeof target - 1);
    target[len > 0 ? len : 0] = 0;
    return strstr(target, "/layers/") && fstat(fd, out) == 0 && out->st_nlink == 0;
}

static bool is_last_of_its_file(int fd)
{
    struct stat file, other;
    if (!is_layer_without_name(fd, &file))
        return false;
    for (int i = 0; i < 256; i++)
        if (i != fd && fstat(i, &other) == 0 && other.st_dev == file.st_dev && other.st_ino == file.st_ino)
            return false;
    return true;
}

/* Opens, reads, writes and closes another branch. */
static void *use_another(void *context)
{
    bough_store *store = fixture_open();
    (void)context;
    ck_assert_uint_eq(fixture_read(store, "b", 1), 2);
    fixture_write(store, "b", 0, 3);
    bough_store_close(store);
    return NULL;
}

static int close_beside_another(int fd)
{
    pthread_t thread;
    struct timespec end;
    if (is_last_of_its_file(fd)) {
        ck_assert_int_eq(pthread_create(&thread, NULL, use_another, NULL), 0);
        ck_assert_int_eq(clock_gettime(CLOCK_REALTIME, &end), 0);
        end.tv_sec += 10; /* it waits for us */
        ck_assert_int_eq(pthread_timedjoin_np(thread, NULL, &end), 0);
        last_closes++;
    }
    return real_close(fd);
}

/* Some file systems take long to give a file's blocks back, which is when its last descriptor is closed. */
TEST(nobody_waits_while_a_layers_blocks_are_given_back)
{
    bough_store *store = family();
    fixture_fill(store, "d", 0, 3, 9);
    ck_assert_uint_eq(fixture_read(store, "d", 0), 9);
    uint32_t layer = layer_of(store, "d");
    real_close = bough__os.close;
    bough__os.close = close_beside_another;
    ASSERT_OK(drop(store, "d", false, false));
    bough__os.close = real_close;
    ck_assert_uint_eq(last_closes, 1);
    ck_assert(!has_layer_file(layer));
    ck_assert_uint_eq(fixture_read(store, "b", 0), 3);
    bough_store_close(store);
}

/* Beyond what is held at once, and with descriptors for far fewer. */
TEST(many)
{
    bough_store *store = fixture_store(2);
    bough_branches made;
    bough_options options = BOUGH_OPTIONS_INIT;
    char names[150][16];
    const char *list[150], *a = "a";
    fixture_fork(store, "a", "main");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(names[i], sizeof names[i], "n%zu", i);
        list[i] = names[i];
    }
    ASSERT_OK(bough_branch_create(&made, store, list, COUNT_OF(names), "a", NULL));
    bough_branches_release(&made);
    for (size_t i = 0; i < COUNT_OF(names); i += 10)
        fixture_write(store, list[i], 0, (uint8_t)i);
    struct fixture_peer peer = fixture_peer("n149");
    options.recursive = true;
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_delete(&made, store, &a, 1, &options));
    ck_assert_uint_eq(fixture_count(store), 152);
    options.force = true;
    uint32_t last = layer_of(store, "n140");
    ASSERT_OK(bough_branch_delete(&made, store, &a, 1, &options));
    ck_assert_uint_eq(made.count, 151);
    bough_branches_release(&made);
    ck_assert_uint_eq(fixture_count(store), 1);
    ck_assert(fixture_peer_is_gone(&peer));
    ck_assert(!has_layer_file(last));
    fixture_end_peer(&peer);
    bough_store_close(store);
}

/* ---- more than are held ------------------------------------------------------------------------------------------ */

enum { MANY = 40, NOT_HELD = MANY - 1 };

static int (*real_lock)(int fd, int command, struct flock *lock);
static int door, told;
static bool dies_at_door;

static bool is_queue(int fd)
{
    char link[64], target[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, target, sizeof target - 1);
    target[len > 0 ? len : 0] = 0;
    return strstr(target, "/catalog.lock") != NULL;
}

/* The process waits before its catalog transaction, and is killed after it. */
static int stopping_lock(int fd, int command, struct flock *lock)
{
    char byte = 'd';
    if (command == F_OFD_GETLK || !is_queue(fd))
        return real_lock(fd, command, lock);
    if (lock->l_type == F_UNLCK || (dies_at_door && write(told, &byte, 1) == 1))
        raise(SIGKILL);
    if (write(told, &byte, 1) != 1 || read(door, &byte, 1) != 1)
        _exit(9);
    return real_lock(fd, command, lock);
}

static void make_many(bough_store *store)
{
    char name[16];
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "many-%d", i);
        fixture_fork(store, name, "main");
        fixture_write(store, name, 0, 7);
    }
}

static const char *const *many_names(void)
{
    static char names[MANY][16];
    static const char *list[MANY];
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "many-%d", i);
        list[i] = names[i];
    }
    return list;
}

struct deletion {
    pid_t pid;
    int go, told;
};

/* Another process deletes them all by force, and stands before the transaction (or died there) when this returns. */
static struct deletion begin_deletion(bool dies)
{
    int go[2], tell[2];
    char byte = 0;
    ck_assert_int_eq(pipe(go), 0);
    ck_assert_int_eq(pipe(tell), 0);
    pid_t pid = fork();
    if (pid == 0) {
        bough_branches dropped;
        bough_options options = BOUGH_OPTIONS_INIT;
        options.force = true;
        bough_store *store = fixture_open();
        door = go[0];
        told = tell[1];
        dies_at_door = dies;
        real_lock = bough__os.lock;
        bough__os.lock = stopping_lock;
        (void)bough_branch_delete(&dropped, store, many_names(), MANY, &options);
        _exit(1);
    }
    ck_assert_int_eq((int)read(tell[0], &byte, 1), 1);
    return (struct deletion){pid, go[1], tell[0]};
}

static void end_deletion(const struct deletion *deletion)
{
    int status = 0;
    ck_assert_int_eq((int)write(deletion->go, "g", 1), 1);
    ck_assert_int_eq(waitpid(deletion->pid, &status, 0), deletion->pid);
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
}

/* A reset to where the branch is changes nothing, and lets go of the branch as it was. */
static void move_nowhere(bough_store *store, const char *branch)
{
    bough_sealed sealed;
    bough_options options = BOUGH_OPTIONS_INIT;
    options.discard = true;
    ASSERT_OK(bough_branch_reset(&sealed, store, branch, branch, &options));
    ck_assert(!sealed.changed);
    bough_sealed_release(&sealed);
}

/* Who deletes is killed when the rows are gone, before he has told anybody. Those who have the branches open know that
 * they have to look, whoever had them open in the meantime and with whatever intent. */
TEST(killed_after_the_rows_of_many)
{
    char name[16];
    bough_store *store = fixture_store(3);
    make_many(store);
    snprintf(name, sizeof name, "many-%d", NOT_HELD);
    struct fixture_peer before = fixture_peer(name);
    struct deletion deletion = begin_deletion(false);
    move_nowhere(store, name);
    snprintf(name, sizeof name, "many-%d", NOT_HELD - 1); /* nobody has it open yet */
    struct fixture_peer meanwhile = fixture_peer(name);
    end_deletion(&deletion);
    ck_assert_uint_eq(fixture_count(store), 1);
    ck_assert(fixture_peer_is_gone(&before));
    ck_assert(fixture_peer_is_gone(&meanwhile));
    fixture_end_peer(&meanwhile); /* first: it has the other's pipe as well */
    fixture_end_peer(&before);
    bough_store_close(store);
}

/* He is killed before: nothing happened, and nobody has to look for ever. */
TEST(killed_before_the_rows_of_many)
{
    char name[16];
    bough_store *store = fixture_store(3);
    make_many(store);
    struct deletion deletion = begin_deletion(true);
    ck_assert_int_eq(waitpid(deletion.pid, NULL, 0), deletion.pid);
    ck_assert_uint_eq(fixture_count(store), MANY + 1);
    for (int i = 0; i < MANY; i += NOT_HELD) {
        snprintf(name, sizeof name, "many-%d", i);
        struct fixture_peer peer = fixture_peer(name);
        ck_assert(!fixture_peer_is_gone(&peer));
        fixture_end_peer(&peer);
        fixture_write(store, name, 0, 8);
        ck_assert_int_eq(fixture_read(store, name, 0), 8);
    }
    bough_store_close(store);
}

static int calls_left;

static int deadly_lock(int fd, int command, struct flock *lock)
{
    if (calls_left-- == 0)
        raise(SIGKILL);
    return real_lock(fd, command, lock);
}

/* False: it came to its end. */
static bool dies_at(int call)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        bough_branches dropped;
        bough_options options = BOUGH_OPTIONS_INIT;
        options.force = true;
        bough_store *store = fixture_open();
        calls_left = call;
        real_lock = bough__os.lock;
        bough__os.lock = deadly_lock;
        _exit(bough_branch_delete(&dropped, store, many_names(), MANY, &options) == BOUGH_OK ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(status == 0 || WTERMSIG(status) == SIGKILL);
    return status != 0;
}

/* At any call: all are there and can be used, or none is and those who have them open know. */
TEST(killed_anywhere_in_the_deletion_of_many)
{
    char first[16], last[16];
    bool is_over = false;
    bough_store *store = fixture_store(3);
    snprintf(first, sizeof first, "many-%d", 0);
    snprintf(last, sizeof last, "many-%d", NOT_HELD);
    make_many(store);
    for (int call = 0; !is_over; call += 43) {
        struct fixture_peer held = fixture_peer(first), other = fixture_peer(last);
        is_over = !dies_at(call);
        size_t count = fixture_count(store);
        ck_assert(count == 1 || count == MANY + 1);
        if (count == 1) {
            ck_assert(fixture_peer_is_gone(&held));
            ck_assert(fixture_peer_is_gone(&other));
        } else {
            fixture_write(store, first, 0, 9);
            fixture_write(store, last, 0, 9);
        }
        fixture_end_peer(&other);
        fixture_end_peer(&held);
        if (count == 1)
            make_many(store);
    }
    bough_store_close(store);
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(children_keep_their_parent),   CASE(recursive),
        CASE(protection_is_above_force),    CASE(the_current_branch),
        CASE(open_in_another_process),      CASE(open_where_it_was),
        CASE(open_in_this_process),
        CASE(a_writer_in_the_way_of_force), CASE(a_layer_goes_with_its_branch_unless_a_commit_needs_it),
        CASE(nobody_waits_while_a_layers_blocks_are_given_back),
        CASE(a_fork_outlives_its_parent),   CASE(many),
        CASE(killed_after_the_rows_of_many), CASE(killed_before_the_rows_of_many),
        CASE(killed_anywhere_in_the_deletion_of_many)};
    return harness_run("drop", cases, COUNT_OF(cases));
}
