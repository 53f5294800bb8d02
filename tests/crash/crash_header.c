/* crash_header.c - a header slot that rots after a crash, and one that a power loss tore.
 *
 * One life goes through everything that writes a header slot: a new file, checkpoints by a large transaction and by a
 * long log, clean closes, opening again. It ends before each of its syncs in turn. Then each of the four places is
 * damaged in several ways, and the layer is opened.
 *   - places that were being written (not synced since) may hold anything: every promised transaction is found
 *   - a place that was durable may rot, or hold what it held before: the promised transactions, or BOUGH_CORRUPT
 * Never of both kinds at a time. What opens goes on to be written to.
 */
#include "harness.h"
#include "simdisk.h"

#include "bough.h"
#include "codec.h"
#include "error.h"
#include "layer.h"
#include "layer_file.h"
#include "os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLACES = BOUGH__SLOT_PLACES, BLOCK = 512, LAYER = 2, BULK = 2800, LONG = 1900, LOST = 9, GOOD = 0 };
enum damage { ZEROS, FLIPPED, STALE, DAMAGES };

/* Transaction n fills that many blocks with the byte n. */
static const unsigned script[] = {3, 5, BULK, 4, 2, LONG, LONG, LONG, LONG, LONG, LONG, 7, 1, BULK, 6};
enum { CLOSES_AFTER_1 = 2, CLOSES_AFTER_2 = 12 }; /* a clean close, and opened again */

static struct shared {
    uint64_t begun, visible, durable; /* transactions */
    bool is_unsynced[PLACES]; /* written since the last sync */
    uint64_t generation;      /* the newest that is synced */
    ino_t file;
    uint8_t now[PLACES][BLOCK], before[PLACES][BLOCK]; /* the content and the one before */
    uint64_t refused, opened, torn; /* what the checks came to; how many were of a place not synced */
} *shared;

static struct bough__os_calls real;
static char path[300], aside[300];

/* ---- watching the places ---- */

static ino_t file_of(int fd)
{
    struct stat st = {0};
    REQUIRE(fstat(fd, &st) == 0, "fstat");
    return st.st_ino;
}

static ssize_t watched_write(int fd, const void *buffer, size_t len, off_t offset)
{
    bool is_new = len == bough__layer_place_offset(BOUGH__SLOT_B1) && offset == 0; /* it gets its name later */
    for (int place = 0; place < PLACES; place++) {
        uint64_t at = bough__layer_place_offset((enum bough__slot_place)place);
        if (is_new && at < len)
            memcpy(shared->now[place], (const uint8_t *)buffer + at, BLOCK);
        if (len != BLOCK || (uint64_t)offset != at)
            continue;
        shared->file = file_of(fd);
        memcpy(shared->before[place], shared->now[place], BLOCK);
        memcpy(shared->now[place], buffer, BLOCK);
        shared->is_unsynced[place] = true;
        int first = shared->generation & 1 ? BOUGH__SLOT_A1 : BOUGH__SLOT_B1;
        REQUIRE(!shared->is_unsynced[first] || !shared->is_unsynced[first + 1],
                "both slots of the only durable generation are written without a sync in between");
    }
    if (is_new)
        shared->generation = 1;
    return real.pwrite(fd, buffer, len, offset);
}

static int watched_sync(int fd)
{
    int rc = real.fdatasync(fd);
    for (int place = 0; rc == 0 && file_of(fd) == shared->file && place < PLACES; place++) {
        shared->is_unsynced[place] = false;
        if (bough__get64(shared->now[place] + 8) > shared->generation)
            shared->generation = bough__get64(shared->now[place] + 8);
    }
    return rc;
}

/* ---- the life ---- */

static int open_layer(struct bough__layer **out, struct bough__space **out_space)
{
    struct bough__layer_owner owner = {.number = LAYER, .branch = "main"};
    int rc = bough__space_open(out_space, path);
    REQUIRE(rc == BOUGH_OK, "%s", bough_error_message());
    rc = bough__layer_open(out, *out_space, &owner);
    if (rc != BOUGH_OK)
        bough__space_close(*out_space);
    return rc;
}

static void write_txn(struct bough__layer *layer, uint64_t n, unsigned count, enum bough__durability durability)
{
    struct bough__snapshot snapshot;
    struct bough__txn *txn = NULL;
    uint8_t page[BLOCK];
    uint64_t number = 0;
    int rc = bough__snapshot_pin(&snapshot, layer);
    if (rc == BOUGH_OK)
        rc = bough__txn_begin(&txn, &snapshot);
    if (rc == BOUGH_OK)
        rc = bough__txn_set_block_size(txn, BLOCK);
    memset(page, (int)n, sizeof page);
    for (unsigned block = 0; rc == BOUGH_OK && block < count; block++)
        rc = bough__txn_write(txn, block, page);
    if (rc == BOUGH_OK)
        rc = bough__txn_commit(txn, durability, &number);
    REQUIRE(rc == BOUGH_OK && number == n, "transaction %llu: %s", (unsigned long long)n, bough_error_message());
    bough__txn_end(txn);
    bough__snapshot_release(&snapshot);
}

static void live(void)
{
    struct bough__space *space = NULL;
    struct bough__layer *layer = NULL;
    REQUIRE(open_layer(&layer, &space) == BOUGH_OK, "%s", bough_error_message());
    for (uint64_t n = 1; n <= COUNT_OF(script); n++) {
        enum bough__durability durability = n % 4 == 0 ? BOUGH__LAZY : BOUGH__DURABLE;
        shared->begun = n;
        write_txn(layer, n, script[n - 1], durability);
        shared->visible = n;
        if (durability == BOUGH__DURABLE)
            shared->durable = n;
        if (n != CLOSES_AFTER_1 && n != CLOSES_AFTER_2)
            continue;
        bough__layer_close(layer);
        bough__space_close(space);
        shared->durable = n;
        REQUIRE(open_layer(&layer, &space) == BOUGH_OK, "%s", bough_error_message());
    }
    bough__layer_close(layer);
    bough__space_close(space);
}

/* Makes the store, lives until the nth step, and leaves what the disk holds then. False: it lived to its end. */
static bool live_until(uint64_t nth, enum simdisk_loss loss)
{
    int status = 0;
    harness_remove_tree(path);
    memset(shared, 0, offsetof(struct shared, refused));
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        static const char *const folders[] = {"", "/layers", "/nodes", "/run"};
        for (size_t i = 0; i < COUNT_OF(folders); i++) {
            char *folder = bough__format("%s%s", path, folders[i]);
            REQUIRE(mkdir(folder, 0700) == 0, "mkdir %s", folder);
            free(folder);
        }
        REQUIRE(bough__space_create(path, 0600) == BOUGH_OK, "%s", bough_error_message());
        simdisk_install(path, 1);
        simdisk_crash_at(SIMDISK_SYNC, nth, loss, 1);
        real = bough__os;
        bough__os.pwrite = watched_write;
        bough__os.fdatasync = watched_sync;
        live();
        _exit(GOOD);
    }
    REQUIRE(waitpid(pid, &status, 0) == pid && WIFEXITED(status), "the life ended with %x", status);
    int code = WEXITSTATUS(status);
    REQUIRE(code == GOOD || code == SIMDISK_EXIT || code == SIMDISK_KILLED, "the life ended with %d", code);
    return code != GOOD;
}

/* ---- damage, and what is found ---- */

static void damage(int place, enum damage how)
{
    size_t len = 0;
    char *file = bough__format("%s/layers/%d.layer", path, LAYER);
    uint8_t *bytes = harness_read_file(file, &len);
    uint8_t *slot = bytes + bough__layer_place_offset((enum bough__slot_place)place);
    REQUIRE(len >= BOUGH__LAYER_FRAMES_OFFSET, "%zu bytes", len);
    switch (how) {
    case ZEROS:
        memset(slot, 0, BLOCK);
        break;
    case FLIPPED:
        slot[17] ^= 4;
        break;
    default:
        memcpy(slot, shared->before[place], BLOCK);
    }
    harness_write_file(file, bytes, len);
    free(bytes);
    free(file);
}

static unsigned expected_byte(uint64_t txn, uint64_t block)
{
    while (txn > 0 && block >= script[txn - 1])
        txn--;
    return (unsigned)txn;
}

static void check_state(struct bough__layer *layer, uint64_t promised, const char *what)
{
    struct bough__snapshot snapshot;
    uint8_t page[BLOCK];
    int rc = bough__snapshot_pin(&snapshot, layer);
    REQUIRE(rc == BOUGH_OK, "%s: %s", what, bough_error_message());
    REQUIRE(snapshot.txn >= promised && snapshot.txn <= shared->begun, "%s: transaction %llu, promised were %llu", what,
            (unsigned long long)snapshot.txn, (unsigned long long)promised);
    for (uint64_t block = 0; block < snapshot.size_bytes / BLOCK; block++) {
        rc = bough__snapshot_read(&snapshot, block, page, false);
        REQUIRE(rc == BOUGH_OK, "%s: %s", what, bough_error_message());
        REQUIRE(page[0] == expected_byte(snapshot.txn, block), "%s: block %llu of transaction %llu holds %u", what,
                (unsigned long long)block, (unsigned long long)snapshot.txn, page[0]);
    }
    bough__snapshot_release(&snapshot);
}

/* In a process of its own. */
static int look(uint64_t promised, bool may_refuse, bool with_checkpoint, const char *what)
{
    struct bough__space *space = NULL;
    struct bough__layer *layer = NULL;
    int rc = open_layer(&layer, &space);
    REQUIRE(rc == BOUGH_OK || (rc == BOUGH_CORRUPT && may_refuse), "%s: %s", what, bough_error_message());
    if (rc != BOUGH_OK)
        return LOST;
    check_state(layer, promised, what);
    uint64_t next = bough__layer_newest(layer) + 1;
    write_txn(layer, next, 5, BOUGH__DURABLE);
    write_txn(layer, next + 1, with_checkpoint ? BULK : 3, BOUGH__DURABLE);
    bough__layer_close(layer);
    bough__space_close(space);
    REQUIRE(open_layer(&layer, &space) == BOUGH_OK, "%s, opened again: %s", what, bough_error_message());
    REQUIRE(bough__layer_newest(layer) == next + 1, "%s, opened again: transaction %llu", what,
            (unsigned long long)bough__layer_newest(layer));
    bough__layer_close(layer);
    bough__space_close(space);
    return GOOD;
}

static void check_damage(uint64_t nth, enum simdisk_loss loss, int place, enum damage how)
{
    static const char *const names[] = {"zeros", "a flipped bit", "what it held before"};
    char what[200];
    int status = 0, twin = place ^ 1;
    snprintf(what, sizeof what, "step %llu, %s, %s in slot %s%s", (unsigned long long)nth,
             loss == SIMDISK_KILL ? "killed" : simdisk_loss_name(loss), names[how],
             bough__layer_place_name((enum bough__slot_place)place),
             shared->is_unsynced[place] ? " (unsynced)" : "");
    harness_remove_tree(path);
    harness_copy_tree(aside, path);
    damage(place, how);
    if (shared->is_unsynced[place] && shared->is_unsynced[twin])
        damage(twin, (how + nth) % DAMAGES);
    /* Damage on top of a power loss that takes more than it must: only what is synced is promised. */
    uint64_t promised = loss == SIMDISK_KILL && !shared->is_unsynced[place] ? shared->visible : shared->durable;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(look(promised, !shared->is_unsynced[place], nth % DAMAGES == (uint64_t)how, what));
    REQUIRE(waitpid(pid, &status, 0) == pid && WIFEXITED(status), "%s: status %x", what, status);
    REQUIRE(WEXITSTATUS(status) == GOOD || WEXITSTATUS(status) == LOST, "%s", what);
    *(WEXITSTATUS(status) == GOOD ? &shared->opened : &shared->refused) += 1;
    shared->torn += shared->is_unsynced[place];
}

static void check_step(uint64_t nth, enum simdisk_loss loss)
{
    char *file = bough__format("%s/layers/%d.layer", path, LAYER);
    bool is_made = access(file, F_OK) == 0;
    free(file);
    if (!is_made)
        return;
    harness_remove_tree(aside);
    harness_copy_tree(path, aside);
    for (int place = 0; place < PLACES; place++)
        for (enum damage how = ZEROS; how < DAMAGES; how++)
            check_damage(nth, loss, place, how);
}

int main(void)
{
    static const enum simdisk_loss losses[] = {SIMDISK_LOSE_ALL, SIMDISK_KEEP_ALL, SIMDISK_KILL};
    char base[200];
    snprintf(base, sizeof base, "%s/bough-header-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    REQUIRE(mkdtemp(base) != NULL, "mkdtemp %s", base);
    snprintf(path, sizeof path, "%s/store", base);
    snprintf(aside, sizeof aside, "%s/aside", base);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED, "mmap");
    simdisk_share();
    for (size_t i = 0; i < COUNT_OF(losses); i++)
        for (uint64_t nth = 1; live_until(nth, losses[i]); nth++)
            check_step(nth, losses[i]);
    printf("crash-header: %llu opened, %llu of them with a torn place; %llu said that they are damaged\n",
           (unsigned long long)shared->opened, (unsigned long long)shared->torn, (unsigned long long)shared->refused);
    REQUIRE(shared->torn > 10 && shared->opened > 4 * shared->refused, "too few were torn, or too many refused");
    harness_remove_tree(base);
    return EXIT_SUCCESS;
}
