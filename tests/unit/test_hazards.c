/* test_hazards.c - what a layer meets when processes die or failures come at the worst moment. Each case brings about
 * one such moment: a process is stopped at a gate or killed in a system call, or one call of the system fails. */
#include "faultos.h"
#include "layers.h"

#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int die_in_sync(int fd)
{
    (void)fd;
    raise(SIGKILL);
    return 0;
}

/* ---- cases ---- */

/* A writer is killed between record and publishing, the next one while it writes other pages to the same frames. The
 * machine has not been restarted, so whatever was written can be read; but the dead record's pages are gone. */
TEST(two_kills_in_one_boot)
{
    struct gate is_open = make_gate(), go = make_gate();
    struct bough__snapshot snapshot = {0};
    make_store();
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 20, 'a', BOUGH__DURABLE));
    close_layer();
    pid_t second = fork();
    if (second == 0) {
        open_layer(LAYER, NULL);
        pass(&is_open, 'o');
        wait_at(&go);
        write_pages(begin(), 0, 600, 'c'); /* more than the writer's buffer takes */
        raise(SIGKILL);
    }
    wait_at(&is_open);
    pid_t first = fork();
    if (first == 0) {
        open_layer(LAYER, NULL);
        bough__os.fdatasync = die_in_sync;
        (void)transaction(0, 20, 'b', BOUGH__DURABLE);
        _exit(1);
    }
    end_child(first, SIGKILL);
    pass(&go, 'g');
    end_child(second, SIGKILL);
    open_layer(LAYER, NULL);
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ck_assert_uint_eq(snapshot.txn, 1);
    check_pages(&snapshot, 0, 20, 'a');
    bough__snapshot_release(&snapshot);
    close_layer();
}

/* A snapshot of a state that was not durable when a sync failed: healing moves the state to other frames, and the ones
 * that the snapshot reads are not used again while it is there. */
TEST(healing_under_a_snapshot)
{
    struct bough__snapshot snapshot = {0};
    faultos_install();
    make_store();
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 20, 'a', BOUGH__DURABLE));
    ASSERT_OK(transaction(0, 20, 'b', BOUGH__LAZY));
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    faultos_fail(FAULTOS_SYNC, 1, EIO, false);
    ASSERT_CODE(BOUGH_IO, transaction(0, 1, 'c', BOUGH__DURABLE));
    faultos_clear();
    for (int i = 0; i < 8; i++)
        ASSERT_OK(transaction(0, 20, 'd' + i, BOUGH__DURABLE));
    check_pages(&snapshot, 0, 20, 'b');
    bough__snapshot_release(&snapshot);
    close_layer();
}

static struct {
    int (*fdatasync)(int fd);
    ssize_t (*pread)(int fd, void *buffer, size_t len, off_t offset);
    void *(*mmap)(void *address, size_t len, int protection, int flags, int fd, off_t offset);
    bool is_synced;
    unsigned looks; /* between the sync and the publishing */
} watch;

/* A process may be killed in any call: then what is marked as durable is what its heirs believe. */
static void look_at_marks(void)
{
    uint64_t newest = bough__shm_newest(&layer->shm);
    ck_assert_uint_le(bough__shm_durable(&layer->shm), newest);
    if (watch.is_synced && newest == 0)
        watch.looks++;
}

static int watched_sync(int fd)
{
    watch.is_synced = true;
    return watch.fdatasync(fd);
}

static ssize_t watched_read(int fd, void *buffer, size_t len, off_t offset)
{
    look_at_marks();
    return watch.pread(fd, buffer, len, offset);
}

static void *watched_map(void *address, size_t len, int protection, int flags, int fd, off_t offset)
{
    look_at_marks();
    return watch.mmap(address, len, protection, flags, fd, offset);
}

/* The mark of what is durable never speaks of a transaction that nobody was told of: should its writer be killed, the
 * next one gives another transaction the same number. */
TEST(durable_follows_published)
{
    struct bough__snapshot snapshot = {0};
    struct bough__tree tree = {0};
    make_store();
    open_layer(LAYER - 1, NULL);
    ASSERT_OK(transaction(0, 200, 'a', BOUGH__DURABLE));
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ASSERT_OK(bough__snapshot_fold(&tree, NULL, &snapshot));
    bough__snapshot_release(&snapshot);
    close_layer();
    /* A layer on top of it, by someone who has not read its nodes yet: he does so while he publishes, to see what his
     * record supersedes. */
    open_layer(LAYER, &tree);
    struct bough__txn *txn = begin();
    write_pages(txn, 100, 101, 'b');
    watch.fdatasync = bough__os.fdatasync;
    watch.pread = bough__os.pread;
    watch.mmap = bough__os.mmap;
    bough__os.fdatasync = watched_sync;
    bough__os.pread = watched_read;
    bough__os.mmap = watched_map;
    uint64_t number = 0;
    ASSERT_OK(bough__txn_commit(txn, BOUGH__DURABLE, &number));
    ck_assert_uint_gt(watch.looks, 0);
    ck_assert_uint_eq(bough__shm_durable(&layer->shm), number);
    bough__txn_end(txn);
    close_layer();
}

static int sync_beside_a_writer(int fd)
{
    bough__os.fdatasync = watch.fdatasync;
    for (int i = 0; i < 5; i++)
        ASSERT_OK(transaction(0, 200, 'c' + i, BOUGH__LAZY));
    return watch.fdatasync(fd);
}

/* A commit makes its state durable, not what was published meanwhile: nobody keeps the frames of that. */
TEST(a_commit_beside_a_writer_without_syncs)
{
    struct bough__snapshot snapshot = {0};
    struct bough__tree tree = {0};
    make_store();
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 200, 'a', BOUGH__LAZY));
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ASSERT_OK(transaction(0, 200, 'b', BOUGH__LAZY));
    watch.fdatasync = bough__os.fdatasync;
    bough__os.fdatasync = sync_beside_a_writer;
    ASSERT_OK(bough__snapshot_fold(&tree, NULL, &snapshot));
    ck_assert_uint_eq(bough__shm_newest(&layer->shm), 7);
    ck_assert_uint_eq(bough__shm_durable(&layer->shm), 1);
    bough__snapshot_release(&snapshot);
    close_layer();
}

static struct {
    int (*lock)(int fd, int command, struct flock *lock);
    struct gate ask, answer;
    unsigned calls, nth;
    char word; /* what the other process found: y when it became the writer */
} rival;

/* After our nth look at a lock the other process opens the layer and writes. */
static int rivalled_lock(int fd, int command, struct flock *lock)
{
    int rc = rival.lock(fd, command, lock);
    int error = errno;
    if (++rival.calls == rival.nth) {
        pass(&rival.ask, 'g');
        rival.word = wait_at(&rival.answer);
    }
    errno = error;
    return rc;
}

static _Noreturn void be_the_rival(void)
{
    struct bough__snapshot snapshot = {0};
    struct bough__txn *txn = NULL;
    wait_at(&rival.ask);
    open_layer(LAYER, NULL);
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    pass(&rival.answer, bough__txn_begin(&txn, &snapshot) == BOUGH_OK ? 'y' : 'n');
    wait_at(&rival.ask);
    _exit(0);
}

/* A writer died. While one process takes its place, another opens the layer, gets the dead one's number and writes, at
 * every step of the first one. Never are there two. */
static bool take_over_at(unsigned nth)
{
    struct bough__snapshot snapshot = {0};
    struct bough__txn *txn = NULL;
    struct gate is_open = make_gate();
    rival.ask = make_gate();
    rival.answer = make_gate();
    rival.calls = 0;
    rival.nth = nth;
    make_store();
    pid_t dead = fork();
    if (dead == 0) {
        open_layer(LAYER, NULL);
        pass(&is_open, 'o');
        wait_at(&rival.answer);
        write_pages(begin(), 0, 1, 'x');
        raise(SIGKILL);
    }
    pid_t other = fork();
    if (other == 0)
        be_the_rival();
    wait_at(&is_open);
    open_layer(LAYER, NULL);
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    pass(&rival.answer, 'g');
    end_child(dead, SIGKILL);
    rival.lock = bough__os.lock;
    bough__os.lock = rivalled_lock;
    int rc = bough__txn_begin(&txn, &snapshot);
    bough__os.lock = rival.lock;
    bool was_asked = rival.calls >= nth;
    if (was_asked)
        ck_assert_msg((rc == BOUGH_OK) != (rival.word == 'y'), "look %u: we %s, the other %s", nth,
                      rc == BOUGH_OK ? "write" : "do not", rival.word == 'y' ? "writes" : "does not");
    else
        ASSERT_OK(rc);
    pass(&rival.ask, 'e'); /* begins late, or ends */
    if (!was_asked) {
        ck_assert_int_eq(wait_at(&rival.answer), 'n');
        pass(&rival.ask, 'e');
    }
    end_child(other, 0);
    bough__txn_end(txn);
    bough__snapshot_release(&snapshot);
    close_layer();
    return was_asked;
}

TEST(taking_a_dead_writers_place)
{
    unsigned nth = 1;
    while (take_over_at(nth))
        nth++;
    ck_assert_uint_gt(nth, 2);
}

/* A process that opens the layer and waits, then writes that often. */
static pid_t start_writer(struct gate *is_open, struct gate *go, uint64_t blocks, int times)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    open_layer(LAYER, NULL);
    pass(is_open, 'o');
    wait_at(go);
    for (int i = 0; i < times; i++)
        ASSERT_OK(transaction(0, blocks, 'A' + i % 26, BOUGH__DURABLE));
    close_layer();
    _exit(0);
}

static bool was_pinned(uint64_t nth)
{
    struct bough__snapshot snapshot = {0};
    faultos_fail(FAULTOS_MEMORY, nth, ENOMEM, false);
    int rc = bough__snapshot_pin(&snapshot, layer);
    faultos_clear();
    if (rc != BOUGH_OK)
        ck_assert_int_eq(rc, BOUGH_NOMEM);
    else
        bough__snapshot_release(&snapshot);
    return rc == BOUGH_OK;
}

/* Another process wrote; there is no memory to take its record in. Later there is. */
TEST(no_memory_for_anothers_record)
{
    bool is_done = false;
    faultos_install();
    for (uint64_t nth = 1; !is_done; nth++) {
        struct bough__snapshot snapshot = {0};
        struct gate is_open = make_gate(), go = make_gate();
        make_store();
        pid_t other = start_writer(&is_open, &go, 100, 2);
        wait_at(&is_open);
        open_layer(LAYER, NULL);
        ASSERT_OK(transaction(0, 20, 'a', BOUGH__DURABLE));
        pass(&go, 'g');
        end_child(other, 0);
        is_done = was_pinned(nth);
        if (is_done)
            ck_assert_uint_gt(nth, 2);
        ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
        ck_assert_uint_eq(snapshot.txn, 3);
        check_pages(&snapshot, 0, 100, 'B');
        bough__snapshot_release(&snapshot);
        ASSERT_OK(transaction(0, 100, 'z', BOUGH__DURABLE));
        close_layer();
    }
}

/* Takes frames that two processes count as free for pages that stay, then starts a new generation. */
static pid_t start_taker(struct gate *is_open, struct gate *go)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 64, 'A', BOUGH__DURABLE));
    pass(is_open, 'o');
    wait_at(go);
    ASSERT_OK(transaction(200, 500, 'B', BOUGH__DURABLE));
    for (int i = 0; i < 170; i++)
        ASSERT_OK(transaction(0, 64, 'C', BOUGH__DURABLE));
    close_layer();
    _exit(0);
}

/* A writer that knows of free frames finds that another process took them and started a new generation, but cannot
 * take in which are free now. What it knew must not count any more. */
TEST(no_memory_for_a_new_generation)
{
    bool is_done = false;
    faultos_install();
    for (uint64_t nth = 1; !is_done; nth++) {
        struct bough__snapshot snapshot = {0};
        struct gate is_open = make_gate(), go = make_gate();
        make_store();
        pid_t other = start_taker(&is_open, &go);
        wait_at(&is_open);
        open_layer(LAYER, NULL);
        for (int i = 0; i < 12; i++)
            ASSERT_OK(transaction(0, 64, 'a' + i, BOUGH__DURABLE));
        pass(&go, 'g');
        end_child(other, 0);
        is_done = was_pinned(nth);
        if (is_done)
            ck_assert_uint_gt(nth, 4);
        ASSERT_OK(transaction(600, 1000, 'z', BOUGH__DURABLE));
        ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
        ck_assert_uint_gt(layer->slot.generation, 1);
        check_pages(&snapshot, 0, 64, 'C');
        check_pages(&snapshot, 200, 500, 'B');
        check_pages(&snapshot, 600, 1000, 'z');
        bough__snapshot_release(&snapshot);
        close_layer();
    }
}

/* Readers come and go beside one that stays: what they kept back is used again when they are gone. */
TEST(short_readers_beside_a_long_one)
{
    struct bough__snapshot stays = {0}, goes = {0};
    struct stat st = {0};
    make_store();
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 100, 'a', BOUGH__LAZY));
    ASSERT_OK(bough__snapshot_pin(&stays, layer));
    for (int i = 0; i < 60; i++) {
        ASSERT_OK(transaction(0, 100, 'b' + i % 20, BOUGH__LAZY));
        ASSERT_OK(bough__snapshot_pin(&goes, layer));
        for (int k = 0; k < 4; k++)
            ASSERT_OK(transaction(0, 100, 'B' + k, BOUGH__DURABLE));
        check_pages(&goes, 0, 100, 'b' + i % 20);
        bough__snapshot_release(&goes);
    }
    check_pages(&stays, 0, 100, 'a');
    ck_assert_int_eq(stat(harness_path("s.bough/layers/2.layer"), &st), 0);
    /* 30,000 frames were written. 100 each belong to the newest state, the one before and the two readers. */
    ck_assert_int_lt(st.st_size, 2 << 20);
    bough__snapshot_release(&stays);
    close_layer();
}

/* Pages turn out equal to those of a commit when they are folded: the tree keeps the commit's frames, and the new ones
 * are free. A snapshot of the same transaction from before the fold still reads those. */
TEST(equal_pages_under_a_snapshot)
{
    struct bough__snapshot snapshot = {0};
    make_store();
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 100, 'a', BOUGH__DURABLE));
    bough__layer_hold(layer, 1);
    checkpoint();
    ASSERT_OK(transaction(0, 100, 'b', BOUGH__DURABLE));
    ASSERT_OK(transaction(0, 100, 'a', BOUGH__DURABLE));
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    checkpoint();
    uint64_t frames_before = layer->slot.frame_count;
    for (uint64_t i = 200; i < 1000; i += 100)
        ASSERT_OK(transaction(i, i + 100, 'c', BOUGH__DURABLE));
    check_pages(&snapshot, 0, 100, 'a');
    bough__snapshot_release(&snapshot);
    /* Without the snapshot they are used again. */
    for (uint64_t i = 200; i < 1000; i += 100)
        ASSERT_OK(transaction(i, i + 100, 'd', BOUGH__DURABLE));
    struct bough__published state = {0};
    bough__shm_read(&state, &layer->shm);
    ck_assert_uint_lt(state.frame_count, frames_before + 1600);
    close_layer();
}

/* A commit pins the newest state while a transaction that supersedes nearly all of it is on its way through a
 * checkpoint. What the checkpoint frees was chosen before the commit's hold; the commit keeps its pages anyhow. */
static struct {
    int sync, wanted; /* the sync at which the commit comes */
    struct bough__snapshot snapshot;
    int (*fdatasync)(int fd);
} between;

static int commit_at_a_sync(int fd)
{
    if (++between.sync == between.wanted)
        ASSERT_OK(bough__snapshot_pin_and_hold(&between.snapshot, layer));
    return between.fdatasync(fd);
}

TEST(a_commit_beside_a_bulk_transaction)
{
    enum { PAGES = 3000, SYNCS = 6 };
    bool was_seen = false;
    for (int wanted = 1; wanted <= SYNCS; wanted++) {
        struct bough__snapshot committed = {0};
        struct bough__tree tree = {0};
        make_store();
        open_layer(LAYER, NULL);
        ASSERT_OK(transaction(0, PAGES, 1, BOUGH__DURABLE));
        /* In the log; the last ones lie in frames that were used and freed since it began. */
        for (int i = 0; i < 8; i++)
            ASSERT_OK(transaction(0, 40, i == 7 ? 2 : 100 + i, BOUGH__DURABLE));
        between.sync = 0;
        between.wanted = wanted;
        between.snapshot = (struct bough__snapshot){0};
        between.fdatasync = bough__os.fdatasync;
        bough__os.fdatasync = commit_at_a_sync;
        ASSERT_OK(transaction(0, PAGES, 3, BOUGH__DURABLE));
        bough__os.fdatasync = between.fdatasync;
        if (between.sync < wanted)
            ASSERT_OK(bough__snapshot_pin_and_hold(&between.snapshot, layer));
        bool is_old = between.snapshot.txn == 9;
        was_seen = was_seen || (is_old && wanted > 1);
        ASSERT_OK(bough__snapshot_fold(&tree, NULL, &between.snapshot));
        bough__snapshot_release(&between.snapshot);
        if (wanted % 2 == 0) { /* also when the frames are known from the file alone */
            close_layer();
            open_layer(LAYER, NULL);
            bough__layer_hold(layer, is_old ? 9 : 10);
        }
        for (int i = 0; i < 3; i++)
            ASSERT_OK(transaction(0, PAGES, 4 + i, BOUGH__DURABLE));
        ASSERT_OK(bough__snapshot_of_tree(&committed, space, &tree));
        check_pages(&committed, 0, 40, is_old ? 2 : 3);
        check_pages(&committed, 40, PAGES, is_old ? 1 : 3);
        bough__snapshot_release(&committed);
        close_layer();
    }
    ck_assert(was_seen);
}

static struct {
    int (*fdatasync)(int fd);
    unsigned syncs;
} opening;

/* Another process opens the layer and reads, before and after the sync. */
static void open_in_another_process(void)
{
    pid_t child = fork();
    if (child == 0) {
        struct bough__snapshot snapshot = {0};
        bough__os.fdatasync = opening.fdatasync;
        open_layer(LAYER, NULL);
        ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
        check_pages(&snapshot, 0, 100, 'b');
        _exit(0);
    }
    end_child(child, 0);
}

static int sync_with_openers(int fd)
{
    open_in_another_process();
    int rc = opening.fdatasync(fd);
    open_in_another_process();
    opening.syncs++;
    return rc;
}

/* A process that opens the layer in the middle of a checkpoint finds the generation that is published. */
TEST(opening_during_a_checkpoint)
{
    make_store();
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 100, 'a', BOUGH__DURABLE));
    checkpoint();
    ASSERT_OK(transaction(0, 100, 'b', BOUGH__DURABLE));
    opening.fdatasync = bough__os.fdatasync;
    bough__os.fdatasync = sync_with_openers;
    checkpoint();
    bough__os.fdatasync = opening.fdatasync;
    ck_assert_uint_eq(opening.syncs, 2); /* nodes, header */
    close_layer();
}

/* A bulk transaction names what it superseded in a slot of its own, after publishing. Another process has read the slot
 * of the same generation before that, and starts the next one. */
static struct {
    int (*fdatasync)(int fd);
    ssize_t (*pwrite)(int fd, const void *bytes, size_t len, off_t offset);
    struct gate ask, answer;
    int syncs;
    bool was_asked;
} early;

static int early_sync(int fd)
{
    early.syncs++;
    return early.fdatasync(fd);
}

static ssize_t early_write(int fd, const void *bytes, size_t len, off_t offset)
{
    struct bough__published state = {0};
    bough__shm_read(&state, &layer->shm);
    if (!early.was_asked && early.syncs == 3 && state.generation == layer->slot.generation) {
        early.was_asked = true;
        pass(&early.ask, 'r');
        wait_at(&early.answer);
    }
    return early.pwrite(fd, bytes, len, offset);
}

static void read_once(void)
{
    struct bough__snapshot snapshot = {0};
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    bough__snapshot_release(&snapshot);
}

static pid_t start_early_reader(bool closes)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    open_layer(LAYER, NULL);
    pass(&early.answer, 'o');
    wait_at(&early.ask);
    read_once(); /* the new generation */
    pass(&early.answer, 'r');
    wait_at(&early.ask);
    if (!closes) {
        ASSERT_OK(transaction(1, 2, 'q', BOUGH__DURABLE));
        ASSERT_OK(transaction(1, 2, 'r', BOUGH__DURABLE));
        checkpoint();
    }
    close_layer();
    _exit(0);
}

/* Every other block of [0, end) gets the byte. */
static void scattered(uint64_t end, int byte)
{
    uint64_t number = 0;
    struct bough__txn *txn = begin();
    for (uint64_t block = 0; block < end; block += 2)
        write_pages(txn, block, block + 1, byte);
    ASSERT_OK(bough__txn_commit(txn, BOUGH__DURABLE, &number));
    bough__txn_end(txn);
}

enum { PAGES = 6000, MORE = 1700 };

/* Both lists have a little room. */
static void small_lists(void)
{
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, PAGES, 'a', BOUGH__DURABLE));
    for (int i = 0; i < 4; i++) {
        scattered(20, 'b');
        checkpoint();
    }
    ck_assert_uint_gt(layer->slot.list_areas[0].frame_count, 0);
    ck_assert_uint_gt(layer->slot.list_areas[1].frame_count, 0);
}

static void early_reader(bool closes)
{
    struct bough__snapshot snapshot = {0};
    early.ask = make_gate();
    early.answer = make_gate();
    early.was_asked = false;
    make_store();
    small_lists();
    close_layer();
    pid_t other = start_early_reader(closes);
    wait_at(&early.answer);
    open_layer(LAYER, NULL);
    early.syncs = 0;
    early.fdatasync = bough__os.fdatasync;
    early.pwrite = bough__os.pwrite;
    bough__os.fdatasync = early_sync;
    bough__os.pwrite = early_write;
    scattered(PAGES, 'c');
    bough__os.fdatasync = early.fdatasync;
    bough__os.pwrite = early.pwrite;
    ck_assert(early.was_asked);
    for (uint64_t i = 0; i < 2; i++)
        ASSERT_OK(transaction(PAGES + i * MORE, PAGES + (i + 1) * MORE, 'd', BOUGH__DURABLE));
    if (closes)
        close_layer();
    pass(&early.ask, 'g');
    end_child(other, 0);
    if (closes) {
        open_layer(LAYER, NULL);
        checkpoint();
    }
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    check_pages(&snapshot, PAGES, PAGES + 2 * MORE, 'd');
    bough__snapshot_release(&snapshot);
    close_layer();
}

/* The slot that names what a bulk transaction superseded rots. The one before it is as good, and so is all that it says
 * of places. */
TEST(the_last_slot_rots)
{
    static const uint8_t zeros[512];
    struct bough__snapshot snapshot = {0};
    make_store();
    pid_t child = fork();
    if (child == 0) {
        small_lists();
        scattered(PAGES, 'c');
        for (uint64_t i = 0; i < 2; i++)
            ASSERT_OK(transaction(PAGES + i * MORE, PAGES + (i + 1) * MORE, 'd', BOUGH__DURABLE));
        off_t place = (off_t)bough__layer_place_offset(bough__layer_slot_place(&layer->slot));
        _exit(pwrite(layer->fd, zeros, sizeof zeros, place) == sizeof zeros ? 0 : 1);
    }
    end_child(child, 0);
    open_layer(LAYER, NULL);
    for (int i = 0; i < 2; i++) {
        ASSERT_OK(transaction(1, 2, 'q', BOUGH__DURABLE));
        checkpoint();
    }
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    check_pages(&snapshot, PAGES, PAGES + 2 * MORE, 'd');
    bough__snapshot_release(&snapshot);
    close_layer();
}

TEST(a_generation_read_before_its_last_slot) { early_reader(false); }
TEST(a_generation_read_before_its_last_slot_closed) { early_reader(true); }

/* Every sync of a transaction that is committed by a checkpoint fails once. What was acknowledged is there, also after
 * everybody has left; what failed is not. */
static int fail_a_sync(int fd)
{
    if (++between.sync != between.wanted)
        return between.fdatasync(fd);
    errno = EIO;
    return -1;
}

TEST(a_failed_sync_of_a_bulk_transaction)
{
    enum { BULK = 3000 };
    int refused = 0;
    bool was_hit = true;
    for (int wanted = 1; was_hit; wanted++) {
        struct bough__snapshot snapshot = {0};
        make_store();
        open_layer(LAYER, NULL);
        ASSERT_OK(transaction(0, BULK, 1, BOUGH__DURABLE));
        between.sync = 0;
        between.wanted = wanted;
        between.fdatasync = bough__os.fdatasync;
        bough__os.fdatasync = fail_a_sync;
        int rc = transaction(0, BULK, 2, BOUGH__DURABLE);
        bough__os.fdatasync = between.fdatasync;
        was_hit = between.sync >= wanted;
        ck_assert(!was_hit || rc != BOUGH_OK);
        refused += rc != BOUGH_OK;
        for (int i = 0; i < 2; i++) {
            ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
            check_pages(&snapshot, 0, BULK, rc == BOUGH_OK ? 2 : 1);
            bough__snapshot_release(&snapshot);
            close_layer();
            open_layer(LAYER, NULL);
        }
        ASSERT_OK(transaction(0, BULK, 3, BOUGH__DURABLE)); /* heals, where that is needed */
        ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
        check_pages(&snapshot, 0, BULK, 3);
        bough__snapshot_release(&snapshot);
        close_layer();
    }
    ck_assert_int_eq(refused, 3); /* frames, nodes, header */
}

/* The places of the second generation are a hole, and the disk is full when one of them is written, and also when it is
 * taken back. The transaction failed, and nobody finds it. */
static struct {
    ssize_t (*pwrite)(int fd, const void *bytes, size_t len, off_t offset);
    off_t place;
    int refused;
} full;

static ssize_t write_but_there(int fd, const void *bytes, size_t len, off_t offset)
{
    if (offset != full.place || len != BOUGH__LAYER_HEADER_SIZE)
        return full.pwrite(fd, bytes, len, offset);
    full.refused++;
    errno = ENOSPC;
    return -1;
}

TEST(no_room_for_a_new_generations_slot)
{
    enum { BULK = 3000 };
    for (enum bough__slot_place place = BOUGH__SLOT_B1; place <= BOUGH__SLOT_B2; place++) {
        struct bough__snapshot snapshot = {0};
        make_store();
        open_layer(LAYER, NULL);
        ASSERT_OK(transaction(0, 100, 1, BOUGH__DURABLE));
        full.pwrite = bough__os.pwrite;
        full.place = (off_t)bough__layer_place_offset(place);
        full.refused = 0;
        bough__os.pwrite = write_but_there;
        ASSERT_CODE(BOUGH_FULL, transaction(0, BULK, 2, BOUGH__DURABLE));
        bough__os.pwrite = full.pwrite;
        ck_assert_int_eq(full.refused, 2);
        for (int i = 0; i < 2; i++) {
            ASSERT_OK(transaction((uint64_t)i, (uint64_t)i + 1, 3, BOUGH__DURABLE));
            ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
            check_pages(&snapshot, 0, (uint64_t)i + 1, 3);
            check_pages(&snapshot, (uint64_t)i + 1, 100, 1);
            bough__snapshot_release(&snapshot);
            close_layer();
            open_layer(LAYER, NULL);
        }
        ASSERT_OK(transaction(0, BULK, 4, BOUGH__DURABLE));
        close_layer();
    }
}

/* No node can be written, so that every checkpoint fails, while the layer has room. Transactions go on for a while; but
 * a log without end would take memory without end, and could not be read one day. */
static int (*open_anything)(const char *path, int flags, mode_t mode);

static int open_but_nodes(const char *path, int flags, mode_t mode)
{
    if (!strstr(path, "/nodes/"))
        return open_anything(path, flags, mode);
    errno = ENOSPC;
    return -1;
}

TEST(checkpoints_fail_for_long)
{
    enum { BLOCKS = 2000, ROUNDS = 2 * BOUGH__LOG_MUST / (BLOCKS * BOUGH__LOG_ENTRY_SIZE) };
    int rc = BOUGH_OK, done = 0;
    struct bough__snapshot snapshot = {0};
    make_store();
    open_layer(LAYER, NULL);
    open_anything = bough__os.open;
    bough__os.open = open_but_nodes;
    for (; rc == BOUGH_OK && done < ROUNDS; done++) {
        uint64_t number = 0;
        struct bough__txn *txn = begin();
        uint8_t page[BLOCK] = {(uint8_t)done};
        rc = bough__txn_write(txn, 0, page);
        memset(page, 0, sizeof page); /* these take no room but in the log */
        for (uint64_t block = 1; rc == BOUGH_OK && block < BLOCKS; block++)
            rc = bough__txn_write(txn, block, page);
        if (rc == BOUGH_OK)
            ASSERT_OK(bough__txn_commit(txn, BOUGH__LAZY, &number));
        bough__txn_end(txn);
    }
    ck_assert_int_eq(rc, BOUGH_FULL);
    ck_assert_int_gt(done, ROUNDS / 4);
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ck_assert_uint_eq(snapshot.txn, (uint64_t)done - 1);
    check_pages(&snapshot, 0, 1, (uint8_t)(done - 2));
    bough__snapshot_release(&snapshot);
    bough__os.open = open_anything;
    ASSERT_OK(transaction(0, 1, 'z', BOUGH__DURABLE));
    ck_assert_uint_eq(layer->slot.generation, 2);
    close_layer();
}

/* ---- one layer beside another ---- */

static _Thread_local bool stops_at_lock;
static struct {
    struct gate is_there, go_on;
    int (*lock)(int fd, int command, struct flock *lock);
} stop;

static int stopping_lock(int fd, int command, struct flock *lock)
{
    if (stops_at_lock) {
        stops_at_lock = false;
        pass(&stop.is_there, 't');
        wait_at(&stop.go_on);
    }
    return stop.lock(fd, command, lock);
}

static struct bough__layer *open_number(uint32_t number)
{
    struct bough__layer *opened = NULL;
    struct bough__layer_owner owner = {.number = number, .branch = "dev"};
    ASSERT_OK(bough__layer_open(&opened, space, &owner));
    return opened;
}

static void *open_slowly(void *unused)
{
    (void)unused;
    stops_at_lock = true;
    return open_number(7);
}

static void *open_at_once(void *unused)
{
    (void)unused;
    return open_number(7);
}

static void *close_slowly(void *opened)
{
    stops_at_lock = true;
    bough__layer_close(opened);
    return NULL;
}

/* Somebody waits for a lock (a process that was stopped has it, say) while he opens a layer, and while he closes it.
 * Others open and close other layers meanwhile, and who wants the same one gets it when he is done. */
TEST(nobody_waits_for_another_layer)
{
    pthread_t slow, second;
    void *opened[2] = {NULL, NULL};
    make_store();
    open_layer(LAYER, NULL);
    stop.is_there = make_gate();
    stop.go_on = make_gate();
    stop.lock = bough__os.lock;
    bough__os.lock = stopping_lock;
    ck_assert_int_eq(pthread_create(&slow, NULL, open_slowly, NULL), 0);
    wait_at(&stop.is_there);
    bough__layer_close(open_number(8));
    ck_assert_int_eq(pthread_create(&second, NULL, open_at_once, NULL), 0);
    pass(&stop.go_on, 'g');
    ck_assert_int_eq(pthread_join(slow, &opened[0]), 0);
    ck_assert_int_eq(pthread_join(second, &opened[1]), 0);
    ck_assert_ptr_eq(opened[0], opened[1]);
    bough__layer_close(opened[0]);

    ck_assert_int_eq(pthread_create(&slow, NULL, close_slowly, opened[1]), 0);
    wait_at(&stop.is_there);
    bough__layer_close(open_number(8));
    ck_assert_int_eq(pthread_create(&second, NULL, open_at_once, NULL), 0);
    pass(&stop.go_on, 'g');
    ck_assert_int_eq(pthread_join(slow, NULL), 0);
    ck_assert_int_eq(pthread_join(second, &opened[1]), 0);
    bough__os.lock = stop.lock;
    ck_assert(bough__shm_is_open(space->directory, 7));
    bough__layer_close(opened[1]);
    ck_assert(!bough__shm_is_open(space->directory, 7));
    close_layer();
}

/* An opener that fails leaves nothing behind for those who wait with him. */
TEST(a_layer_that_cannot_be_opened)
{
    struct bough__layer *opened = NULL;
    struct bough__layer_owner owner = {.number = 7, .branch = "dev"};
    make_store();
    open_layer(LAYER, NULL);
    harness_write_file(harness_path("s.bough/layers/7.layer"), "no layer", 8);
    for (int i = 0; i < 3; i++)
        ASSERT_CODE(BOUGH_CORRUPT, bough__layer_open(&opened, space, &owner));
    ck_assert_ptr_null(opened);
    unlink(harness_path("s.bough/layers/7.layer"));
    bough__layer_close(open_number(7));
    close_layer();
}

int main(void)
{
    const struct harness_case cases[] = {CASE(two_kills_in_one_boot),
                                         CASE(healing_under_a_snapshot),
                                         CASE(durable_follows_published),
        CASE(a_commit_beside_a_writer_without_syncs),
                                         CASE(taking_a_dead_writers_place),
                                         CASE(no_memory_for_anothers_record),
                                         CASE(no_memory_for_a_new_generation),
                                         CASE(short_readers_beside_a_long_one),
                                         CASE(equal_pages_under_a_snapshot),
                                         CASE(a_failed_sync_of_a_bulk_transaction),
                                         CASE(no_room_for_a_new_generations_slot),
                                         CASE(a_commit_beside_a_bulk_transaction),
                                         CASE(opening_during_a_checkpoint),
                                         CASE(checkpoints_fail_for_long),
                                         CASE(nobody_waits_for_another_layer),
                                         CASE(a_layer_that_cannot_be_opened),
                                         CASE(the_last_slot_rots),
                                         CASE(a_generation_read_before_its_last_slot),
                                         CASE(a_generation_read_before_its_last_slot_closed)};
    return harness_run("hazards", cases, COUNT_OF(cases));
}
