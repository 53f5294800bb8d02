/* test_heirs.c - what a process leaves behind when it dies or closes a layer, and what becomes of it in the hands of
 * those who have the layer open then, or open it next.
 */
#include "layers.h"
#include "simdisk.h"

#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST_BOOT = 1, SECOND_BOOT = 2 };

/* ---- a header that may be in the page cache alone ---- */

/* Has the layer open until it is told to go, and is the last one then. */
static pid_t start_witness(struct gate *is_open, struct gate *go)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    simdisk_install(harness_path("s.bough"), FIRST_BOOT);
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 40, 'a', BOUGH__DURABLE));
    checkpoint(); /* the log has a chunk from now on that the next ones are written to, too */
    ASSERT_OK(transaction(0, 40, 'b', BOUGH__DURABLE));
    pass(is_open, 'o');
    wait_at(go);
    ck_assert(bough__shm_flags(&layer->shm) & BOUGH__SHM_HEADER);
    close_layer();
    _exit(0);
}

/* A new header is written and not synced when its writer dies. */
static void die_in_a_checkpoint(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        simdisk_resume(FIRST_BOOT);
        open_layer(LAYER, NULL);
        simdisk_crash_at(SIMDISK_SYNC, 2, SIMDISK_KILL, 0); /* nodes, header */
        checkpoint();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == SIMDISK_KILLED);
}

/* Writes to the log of that header, and the power fails. */
static void write_and_lose_power(uint64_t seed)
{
    pid_t child = fork();
    if (child == 0) {
        simdisk_resume(FIRST_BOOT);
        open_layer(LAYER, NULL);
        ASSERT_OK(transaction(0, 40, 'c', BOUGH__LAZY));
        simdisk_power_loss(SIMDISK_TORN, seed);
        _exit(0);
    }
    end_child(child, 0);
}

static void look_after_the_loss(uint64_t seed)
{
    pid_t child = fork();
    if (child == 0) {
        struct bough__snapshot snapshot = {0};
        simdisk_resume(SECOND_BOOT);
        open_layer(LAYER, NULL);
        ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
        ck_assert_msg(snapshot.txn == 2 || snapshot.txn == 3, "seed %d: transaction %d", (int)seed, (int)snapshot.txn);
        check_pages(&snapshot, 0, 40, snapshot.txn == 2 ? 'b' : 'c');
        bough__snapshot_release(&snapshot);
        close_layer();
        _exit(0);
    }
    end_child(child, 0);
}

/* The last one to close the layer has not looked at the header, so he must not say that all is well: who opens the
 * layer next believes what he finds, and may write over the log that the old header needs. */
TEST(a_header_that_nobody_synced)
{
    simdisk_share();
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct gate is_open = make_gate(), go = make_gate();
        make_store();
        pid_t witness = start_witness(&is_open, &go);
        wait_at(&is_open);
        die_in_a_checkpoint();
        pass(&go, 'g');
        end_child(witness, 0);
        write_and_lose_power(seed);
        look_after_the_loss(seed);
        for (int i = 0; i < 2; i++) {
            close(is_open.ends[i]);
            close(go.ends[i]);
        }
    }
}

/* ---- killed at any step, beside one who stays ---- */

enum deed { FIRST_WRITE, LAZY_WRITE, DURABLE_WRITE, CHECKPOINT, BULK_WRITE, FIRST_BULK_WRITE, DEEDS };
enum { BULK = 2900 };

static void begin_life(enum deed deed, struct gate *is_open, struct gate *go)
{
    simdisk_install(harness_path("s.bough"), FIRST_BOOT);
    open_layer(LAYER, NULL);
    if (deed != FIRST_WRITE) {
        ASSERT_OK(transaction(0, 40, 'a', BOUGH__DURABLE));
        if (deed != FIRST_BULK_WRITE)
            checkpoint();
        ASSERT_OK(transaction(0, 40, 'b', BOUGH__DURABLE));
    }
    pass(is_open, 'o');
    wait_at(go);
    close_layer();
    _exit(0);
}

/* False: it was done before it came to that step. */
static bool die_in(enum deed deed, uint64_t step)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        simdisk_resume(FIRST_BOOT);
        open_layer(LAYER, NULL);
        simdisk_crash_at(SIMDISK_ANY, step, SIMDISK_KILL, 0);
        if (deed == CHECKPOINT)
            checkpoint();
        else
            ASSERT_OK(transaction(0, deed < CHECKPOINT ? 40 : BULK, 'x',
                                  deed == LAZY_WRITE ? BOUGH__LAZY : BOUGH__DURABLE));
        simdisk_crash_at(SIMDISK_ANY, 0, SIMDISK_KILL, 0);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == SIMDISK_KILLED));
    return WEXITSTATUS(status) == SIMDISK_KILLED;
}

static pid_t start_heir(bool is_durable, enum simdisk_loss loss, uint64_t seed)
{
    struct bough__published state = {0};
    pid_t child = fork();
    if (child != 0)
        return child;
    simdisk_resume(FIRST_BOOT);
    open_layer(LAYER, NULL);
    /* A header that the dead one finished counts, and makes older snapshots stale. */
    ASSERT_OK(bough__layer_lock_writer(layer));
    ASSERT_OK(bough__layer_prepare_writer(layer, &state));
    bough__layer_unlock_writer(layer);
    if (is_durable)
        ASSERT_OK(transaction(0, 40, 'c', BOUGH__DURABLE));
    ASSERT_OK(transaction(0, 40, 'd', BOUGH__LAZY));
    simdisk_power_loss(loss, seed);
    _exit(0);
}

static void find_after_the_loss(const char *allowed, const char *what)
{
    pid_t child = fork();
    if (child == 0) {
        struct bough__snapshot snapshot = {0};
        uint8_t page[BLOCK];
        simdisk_resume(SECOND_BOOT);
        open_layer(LAYER, NULL);
        ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
        if (snapshot.size_bytes == 0)
            page[0] = '0';
        else
            ASSERT_OK(bough__snapshot_read(&snapshot, 0, page, true));
        ck_assert_msg(strchr(allowed, page[0]) != NULL, "%s: found %c, allowed are %s", what, page[0], allowed);
        check_pages(&snapshot, 0, page[0] != '0' ? 40 : 0, page[0]);
        bough__snapshot_release(&snapshot);
        close_layer();
        _exit(0);
    }
    end_child(child, 0);
}

/* False: the deed has no such step. */
static bool die_beside_one(enum deed deed, uint64_t step, bool stays, bool is_durable, enum simdisk_loss loss)
{
    char what[100];
    struct gate is_open = make_gate(), go = make_gate();
    make_store();
    snprintf(what, sizeof what, "deed %d, step %d, the other %s, then %s, %s", (int)deed, (int)step,
             stays ? "stays" : "leaves", is_durable ? "a durable write" : "a lazy one", simdisk_loss_name(loss));
    pid_t witness = fork();
    if (witness == 0)
        begin_life(deed, &is_open, &go);
    wait_at(&is_open);
    bool died = die_in(deed, step);
    if (!stays) {
        pass(&go, 'g');
        end_child(witness, 0);
    }
    end_child(start_heir(is_durable, loss, harness_number("BOUGH_SEED", 0) + step * 7 + deed), 0);
    if (stays) {
        kill(witness, SIGKILL);
        end_child(witness, SIGKILL);
    }
    bool is_promised = !died && deed != LAZY_WRITE && deed != CHECKPOINT;
    find_after_the_loss(is_durable             ? "cd"
                        : is_promised          ? "xd"
                        : deed == FIRST_WRITE ? "0xd"
                                               : "bxd",
                        what);
    for (int i = 0; i < 2; i++) {
        close(is_open.ends[i]);
        close(go.ends[i]);
    }
    return died;
}

/* Whatever a process was about when it was killed, those who have the layer open, and those who open it then, go on
 * without losing what anybody was promised, should the power fail, too. */
TEST(killed_at_any_step)
{
    unsigned deaths = 0;
    simdisk_share();
    for (enum deed deed = 0; deed < DEEDS; deed++)
        for (int how = 0; how < 8; how++)
            for (uint64_t step = 1;
                 die_beside_one(deed, step, how & 1, how & 2, how & 4 ? SIMDISK_LOSE_ALL : SIMDISK_TORN); step++)
                deaths++;
    ck_assert_uint_gt(deaths, 8 * 4 * DEEDS);
}

/* ---- what was written without a sync ---- */

/* Has the layer open, writes when it is told to, and goes at the word 'e'. */
static pid_t start_other(struct gate *ask, struct gate *answer)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    open_layer(LAYER, NULL);
    for (char word = 'o'; word != 'e'; word = wait_at(ask)) {
        if (word == 'l' || word == 'd')
            ASSERT_OK(transaction(0, 5, word, word == 'l' ? BOUGH__LAZY : BOUGH__DURABLE));
        pass(answer, bough__shm_flags(&layer->shm) & BOUGH__SHM_POISONED ? 'p' : 'o');
    }
    close_layer();
    _exit(0);
}

static char tell(struct gate *ask, struct gate *answer, char word)
{
    pass(ask, word);
    return wait_at(answer);
}

static struct {
    int (*fdatasync)(int fd);
    unsigned count;
    bool fail;
    uint64_t pinned; /* the oldest snapshot at the last one; 0: none */
} syncs;

static int counted_sync(int fd)
{
    uint64_t pins[BOUGH__SHM_PINS];
    bool is_behind = false;
    syncs.count++;
    syncs.pinned = bough__shm_pinned(&layer->shm, pins, &is_behind, false) != 0 ? pins[0] : 0;
    if (!syncs.fail)
        return syncs.fdatasync(fd);
    errno = EIO;
    return -1;
}

static void count_syncs(void)
{
    syncs.fdatasync = bough__os.fdatasync;
    bough__os.fdatasync = counted_sync;
}

static unsigned syncs_of_closing(void)
{
    syncs.count = 0;
    close_layer();
    return syncs.count;
}

/* What a process wrote is durable when it has closed the branch, whoever has it open still: afterwards nobody may learn
 * of an error of writing it back. What others wrote, and what was synced already, costs nothing. */
TEST(a_writer_goes_while_others_stay)
{
    struct gate ask = make_gate(), answer = make_gate();
    make_store();
    pid_t other = start_other(&ask, &answer);
    wait_at(&answer);
    count_syncs();
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 20, 'a', BOUGH__DURABLE));
    ck_assert_uint_eq(syncs_of_closing(), 0);
    open_layer(LAYER, NULL);
    for (int i = 0; i < 3; i++)
        ASSERT_OK(transaction(0, 20, 'b', BOUGH__LAZY));
    ck_assert_uint_eq(syncs_of_closing(), 1);
    ck_assert_uint_eq(syncs.pinned, 4); /* others write meanwhile, and would use its frames */
    open_layer(LAYER, NULL);
    ck_assert_uint_eq(bough__shm_durable(&layer->shm), 4);
    ck_assert_uint_eq(syncs_of_closing(), 0);
    /* One that is synced beside one of another's that is not, and one that another has synced. */
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 20, 'c', BOUGH__DURABLE));
    ck_assert_int_eq(tell(&ask, &answer, 'l'), 'o');
    ck_assert_uint_eq(syncs_of_closing(), 0);
    open_layer(LAYER, NULL);
    ck_assert_uint_eq(bough__shm_durable(&layer->shm), 5);
    ASSERT_OK(transaction(0, 20, 'd', BOUGH__LAZY));
    ck_assert_int_eq(tell(&ask, &answer, 'd'), 'o');
    ck_assert_uint_eq(syncs_of_closing(), 0);
    pass(&ask, 'e');
    end_child(other, 0);
}

/* The machine stops twice. What was promised before the first time is there after the second one, although the log does
 * not say of its newest transaction that it is durable, and those after it are lost. */
TEST(promised_before_the_loss_before_the_last)
{
    const struct { const char *words; uint64_t boot; enum simdisk_loss loss; } lives[] = {
        {"D", 1, SIMDISK_LOSE_ALL}, {"llllllll", 2, SIMDISK_TORN}, {"", 3, SIMDISK_LOSE_ALL}};
    make_store();
    simdisk_share();
    for (size_t i = 0; i < COUNT_OF(lives); i++) {
        pid_t child = fork();
        if (child == 0) {
            struct bough__snapshot snapshot = {0};
            uint8_t page[BLOCK];
            if (i == 0)
                simdisk_install(harness_path("s.bough"), lives[i].boot);
            else
                simdisk_resume(lives[i].boot);
            open_layer(LAYER, NULL);
            for (const char *word = lives[i].words; *word != '\0'; word++)
                for (int k = 0; k < 20; k++)
                    ASSERT_OK(transaction(0, 20, *word, *word == 'D' ? BOUGH__DURABLE : BOUGH__LAZY));
            ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
            ck_assert_uint_ge(snapshot.txn, 20);
            ASSERT_OK(bough__snapshot_read(&snapshot, 0, page, true));
            check_pages(&snapshot, 0, 20, page[0]);
            simdisk_power_loss(lives[i].loss, harness_number("BOUGH_SEED", 0) + i);
            _exit(0);
        }
        end_child(child, 0);
    }
}

/* The disk says no at that sync: those who stay write it anew before they write on. */
TEST(a_writer_goes_and_its_sync_fails)
{
    struct bough__snapshot snapshot = {0};
    struct gate ask = make_gate(), answer = make_gate();
    make_store();
    pid_t other = start_other(&ask, &answer);
    wait_at(&answer);
    count_syncs();
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 20, 'a', BOUGH__DURABLE));
    ASSERT_OK(transaction(0, 20, 'b', BOUGH__LAZY));
    syncs.fail = true;
    ck_assert_uint_eq(syncs_of_closing(), 1);
    syncs.fail = false;
    ck_assert_int_eq(tell(&ask, &answer, '?'), 'p');
    ck_assert_int_eq(tell(&ask, &answer, 'd'), 'o');
    open_layer(LAYER, NULL);
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ck_assert_uint_eq(bough__shm_durable(&layer->shm), 3);
    check_pages(&snapshot, 0, 5, 'd');
    check_pages(&snapshot, 5, 20, 'b');
    struct bough__entry entry = {0};
    ASSERT_OK(bough__snapshot_entry(&entry, &snapshot, 10, false));
    ck_assert_uint_ge(entry.frame, 40); /* neither of the two that were written before */
    bough__snapshot_release(&snapshot);
    close_layer();
    pass(&ask, 'e');
    end_child(other, 0);
}

/* While one thread makes room and syncs the layer for that, another one closes it. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    int (*close)(int fd);
    int fd; /* that is being synced; -1: none */
    bool has_waited, was_closed;
} room = {.mutex = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER, .fd = -1};

/* In the place of the C library's, for the engine too: who closes the layer waits so. */
int nanosleep(const struct timespec *time, struct timespec *rest)
{
    pthread_mutex_lock(&room.mutex);
    room.has_waited = room.has_waited || room.fd >= 0;
    pthread_cond_broadcast(&room.moved);
    pthread_mutex_unlock(&room.mutex);
    return clock_nanosleep(CLOCK_MONOTONIC, 0, time, rest);
}

static int noticed_close(int fd)
{
    pthread_mutex_lock(&room.mutex);
    room.was_closed = room.was_closed || (fd >= 0 && fd == room.fd);
    pthread_cond_broadcast(&room.moved);
    pthread_mutex_unlock(&room.mutex);
    return room.close(fd);
}

/* Lasts until the other thread has come to the descriptor. */
static int long_sync(int fd)
{
    pthread_mutex_lock(&room.mutex);
    room.fd = fd;
    pthread_cond_broadcast(&room.moved);
    while (!room.has_waited && !room.was_closed)
        pthread_cond_wait(&room.moved, &room.mutex);
    pthread_mutex_unlock(&room.mutex);
    int rc = syncs.fdatasync(fd);
    pthread_mutex_lock(&room.mutex);
    room.fd = -1;
    pthread_mutex_unlock(&room.mutex);
    return rc;
}

static void *make_room(void *nothing)
{
    (void)nothing;
    return bough__layer_spare_file() ? &room : NULL;
}

TEST(a_layer_is_closed_while_a_thread_syncs_it)
{
    void *has_spared = NULL;
    pthread_t thread;
    struct gate ask = make_gate(), answer = make_gate();
    make_store();
    pid_t other = start_other(&ask, &answer);
    wait_at(&answer);
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 20, 'a', BOUGH__LAZY));
    syncs.fdatasync = bough__os.fdatasync;
    room.close = bough__os.close;
    bough__os.fdatasync = long_sync;
    bough__os.close = noticed_close;
    ck_assert_int_eq(pthread_create(&thread, NULL, make_room, NULL), 0);
    pthread_mutex_lock(&room.mutex);
    while (room.fd < 0)
        pthread_cond_wait(&room.moved, &room.mutex);
    pthread_mutex_unlock(&room.mutex);
    close_layer();
    ck_assert_int_eq(pthread_join(thread, &has_spared), 0);
    ck_assert_ptr_nonnull(has_spared);
    ck_assert(room.has_waited && !room.was_closed);
    pass(&ask, 'e');
    end_child(other, 0);
}

/* ---- one who reads unseen ---- */

static ssize_t (*write_anything)(int fd, const void *bytes, size_t len, off_t offset);

static ssize_t write_nothing(int fd, const void *bytes, size_t len, off_t offset)
{
    (void)fd, (void)bytes, (void)len, (void)offset;
    errno = ENOSPC;
    return -1;
}

/* Opens the layer on a full disk, where it cannot say in shared memory that it reads. */
static pid_t start_unseen_reader(struct gate *ask, struct gate *answer)
{
    struct bough__snapshot snapshot = {0};
    pid_t child = fork();
    if (child != 0)
        return child;
    write_anything = bough__os.pwrite;
    bough__os.pwrite = write_nothing;
    open_layer(LAYER, NULL);
    bough__os.pwrite = write_anything;
    ck_assert(layer->shm.is_private);
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    pass(answer, 'o');
    wait_at(ask);
    check_pages(&snapshot, 0, 40, 'a');
    bough__snapshot_release(&snapshot);
    close_layer();
    _exit(0);
}

/* The branch has left the layer, and no commit needs it: the last to close it removes the file. Not from under one who
 * reads; gc finds it later. */
TEST(a_useless_layer_that_somebody_reads_unseen)
{
    for (int reads = 0; reads < 2; reads++) {
        struct gate ask = make_gate(), answer = make_gate();
        make_store();
        open_layer(LAYER, NULL);
        ASSERT_OK(transaction(0, 40, 'a', BOUGH__DURABLE));
        close_layer();
        pid_t reader = reads != 0 ? start_unseen_reader(&ask, &answer) : 0;
        if (reads != 0)
            wait_at(&answer);
        open_layer(LAYER, NULL);
        ASSERT_OK(bough__layer_take(layer, 0));
        bough__layer_release(layer, BOUGH__LAYER_USELESS);
        close_layer();
        ck_assert_int_eq(access(harness_path("s.bough/layers/2.layer"), F_OK), reads != 0 ? 0 : -1);
        ck_assert_int_ne(access(harness_path("s.bough/run/2.shm"), F_OK), 0);
        if (reads != 0) {
            pass(&ask, 'g');
            end_child(reader, 0);
        }
    }
}

static struct {
    struct gate ask, answer;
    int (*open)(const char *path, int flags, mode_t mode);
    int (*fdatasync)(int fd);
} unseen;

static int open_for_reading(const char *path, int flags, mode_t mode)
{
    if ((flags & O_ACCMODE) == O_RDONLY)
        return unseen.open(path, flags, mode);
    errno = EACCES;
    return -1;
}

static int asking_sync(int fd)
{
    bough__os.fdatasync = unseen.fdatasync;
    pass(&unseen.ask, 'g');
    wait_at(&unseen.answer);
    return unseen.fdatasync(fd);
}

/* Opens the layer without permission to write, when asked. */
static pid_t start_late_reader(void)
{
    struct bough__snapshot snapshot = {0};
    pid_t child = fork();
    if (child != 0)
        return child;
    wait_at(&unseen.ask);
    unseen.open = bough__os.open;
    bough__os.open = open_for_reading;
    open_layer(LAYER, NULL);
    ck_assert(layer->shm.is_private);
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    check_pages(&snapshot, 0, 40, 'a');
    bough__snapshot_release(&snapshot);
    pass(&unseen.answer, 'o');
    wait_at(&unseen.ask);
    ck_assert(bough__layer_may_be_old(layer));
    close_layer();
    open_layer(LAYER, NULL);
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    check_pages(&snapshot, 0, 40, 'b');
    bough__snapshot_release(&snapshot);
    close_layer();
    _exit(0);
}

/* Its record stands in the log, and COMMIT has not returned: it may fail yet. */
TEST(a_transaction_on_its_way_read_unseen)
{
    make_store();
    unseen.ask = make_gate();
    unseen.answer = make_gate();
    pid_t reader = start_late_reader();
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 40, 'a', BOUGH__DURABLE));
    unseen.fdatasync = bough__os.fdatasync;
    bough__os.fdatasync = asking_sync;
    ASSERT_OK(transaction(0, 40, 'b', BOUGH__DURABLE));
    pass(&unseen.ask, 'e');
    end_child(reader, 0);
    close_layer();
}

/* ---- killed when the state was published ---- */

static int (*close_anything)(int fd);
static uint64_t published_before;

static int dying_close(int fd)
{
    if (bough__shm_newest(&layer->shm) > published_before)
        _exit(SIMDISK_KILLED);
    return close_anything(fd);
}

/* A checkpoint closes its node file when its state is published, and has not lowered the HEADER flag yet. */
static void die_after_publishing(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        simdisk_resume(FIRST_BOOT);
        open_layer(LAYER, NULL);
        published_before = bough__shm_newest(&layer->shm);
        close_anything = bough__os.close;
        bough__os.close = dying_close;
        ASSERT_OK(transaction(0, BULK, 'x', BOUGH__DURABLE));
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == SIMDISK_KILLED);
}

static void write_on_and_lose_power(enum simdisk_loss loss, uint64_t seed)
{
    pid_t child = fork();
    if (child == 0) {
        struct bough__published state = {0};
        simdisk_resume(FIRST_BOOT);
        open_layer(LAYER, NULL);
        ASSERT_OK(bough__layer_lock_writer(layer));
        ASSERT_OK(bough__layer_prepare_writer(layer, &state));
        bough__layer_unlock_writer(layer);
        for (int i = 0; i < 12; i++)
            ASSERT_OK(transaction(0, 40, 'd' + i, BOUGH__LAZY));
        simdisk_power_loss(loss, seed);
        _exit(0);
    }
    end_child(child, 0);
}

static void look_for_the_checkpoint(uint64_t seed)
{
    pid_t child = fork();
    if (child == 0) {
        struct bough__snapshot snapshot = {0};
        simdisk_resume(SECOND_BOOT);
        open_layer(LAYER, NULL);
        ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
        ck_assert_msg(snapshot.txn >= 3, "seed %d: transaction %d", (int)seed, (int)snapshot.txn);
        check_pages(&snapshot, 0, 40, snapshot.txn == 3 ? 'x' : 'd' + (int)snapshot.txn - 4);
        bough__snapshot_release(&snapshot);
        close_layer();
        _exit(0);
    }
    end_child(child, 0);
}

/* The header is durable, and others have the layer open. What is written without a sync after that must leave the
 * header's state its frames, which a loss of power brings back. */
TEST(killed_when_its_checkpoint_was_published)
{
    simdisk_share();
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct gate is_open = make_gate(), go = make_gate();
        make_store();
        pid_t witness = fork();
        if (witness == 0)
            begin_life(LAZY_WRITE, &is_open, &go);
        wait_at(&is_open);
        die_after_publishing();
        write_on_and_lose_power(seed & 1 ? SIMDISK_TORN : SIMDISK_PAGES, seed);
        kill(witness, SIGKILL);
        end_child(witness, SIGKILL);
        look_for_the_checkpoint(seed);
        for (int i = 0; i < 2; i++) {
            close(is_open.ends[i]);
            close(go.ends[i]);
        }
    }
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(a_header_that_nobody_synced),
        CASE(killed_at_any_step),
        CASE(killed_when_its_checkpoint_was_published),
        CASE(a_writer_goes_while_others_stay),
        CASE(promised_before_the_loss_before_the_last),
        CASE(a_writer_goes_and_its_sync_fails),
        CASE(a_layer_is_closed_while_a_thread_syncs_it),
        CASE(a_useless_layer_that_somebody_reads_unseen),
        CASE(a_transaction_on_its_way_read_unseen),
    };
    return harness_run("heirs", cases, COUNT_OF(cases));
}
