/* test_waiting.c - processes that wait for the writer's lock of a layer. They wait for ten minutes at most, and a case
 * for one: whoever is not woken fails.
 */
#include "layers.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LONG_US (600 * UINT64_C(1000000))
#define CASE_SECONDS 60

/* A process for which nothing of the store was open when it began, and what it waits for. */
struct process {
    pid_t id;
    struct gate go, is_open;
};

static struct process start(void (*run)(struct process *, int), int byte)
{
    struct process process = {.go = make_gate(), .is_open = make_gate()};
    process.id = fork();
    if (process.id != 0)
        return process;
    alarm(CASE_SECONDS);
    wait_at(&process.go);
    open_layer(LAYER, NULL);
    pass(&process.is_open, 'o');
    run(&process, byte);
    close_layer();
    _exit(0);
}

static void begin_case(void)
{
    alarm(CASE_SECONDS);
    open_layer(LAYER, NULL);
    ASSERT_OK(transaction(0, 4, 'a', BOUGH__LAZY));
}

static char state_of(pid_t process)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert(fgets(text, sizeof text, file) != NULL);
    fclose(file);
    return strrchr(text, ')')[2];
}

static void let_it_wait(struct process *process)
{
    pass(&process->go, 'g');
    wait_at(&process->is_open);
    while (state_of(process->id) != 'S')
        usleep(1000);
}

/* Waits, and writes when it has the lock. */
static void write_in_turn(struct process *process, int byte)
{
    (void)process;
    struct bough__txn *txn = NULL;
    struct bough__snapshot snapshot = {0};
    uint64_t number = 0;
    int rc = BOUGH_BUSY;
    while (rc == BOUGH_BUSY || rc == BOUGH_STALE) {
        bough__layer_wait_writer(layer, LONG_US);
        ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
        rc = bough__txn_begin(&txn, &snapshot);
        if (rc != BOUGH_OK)
            bough__snapshot_release(&snapshot);
    }
    ASSERT_OK(rc);
    ASSERT_OK(bough__txn_set_block_size(txn, BLOCK));
    write_pages(txn, 0, 4, byte);
    ASSERT_OK(bough__txn_commit(txn, BOUGH__LAZY, &number));
    bough__txn_end(txn);
    bough__snapshot_release(&snapshot);
}

TEST(all_who_wait_are_woken_one_after_the_other)
{
    struct process writers[4];
    for (int round = 0; round < 10; round++) {
        make_store();
        for (int i = 0; i < 4; i++)
            writers[i] = start(write_in_turn, 'b' + i);
        begin_case();
        struct bough__txn *txn = begin();
        for (int i = 0; i < 4; i++)
            let_it_wait(&writers[i]);
        bough__txn_end(txn);
        for (int i = 0; i < 4; i++)
            end_child(writers[i].id, 0);
        close_layer();
    }
}

static void come_too_late(struct process *process, int byte)
{
    (void)byte;
    bough__layer_wait_writer(layer, LONG_US);
    pass(&process->is_open, 'w');
    wait_at(&process->go);
    ASSERT_CODE(BOUGH_BUSY, bough__layer_take(layer, 0));
}

/* The one who was woken finds a new owner, and waits no more: the new owner has to know of the other who does. */
TEST(who_is_woken_too_late_hands_on)
{
    make_store();
    struct process late = start(come_too_late, 0), other = start(write_in_turn, 'b');
    begin_case();
    struct bough__txn *txn = begin();
    let_it_wait(&late);
    let_it_wait(&other);
    bough__txn_end(txn);
    wait_at(&late.is_open);
    txn = begin();
    pass(&late.go, 'g');
    end_child(late.id, 0);
    bough__txn_end(txn);
    end_child(other.id, 0);
    close_layer();
}

static void stay_the_owner(struct process *process, int byte)
{
    (void)byte;
    (void)begin();
    pass(&process->is_open, 'b');
    pause();
}

/* Nobody wakes those who wait for a process that was killed; who buries it does. */
TEST(the_owner_dies)
{
    make_store();
    struct process owner = start(stay_the_owner, 0), waiter = start(write_in_turn, 'b');
    begin_case();
    let_it_wait(&owner);
    wait_at(&owner.is_open);
    let_it_wait(&waiter);
    kill(owner.id, SIGKILL);
    end_child(owner.id, SIGKILL);
    ASSERT_OK(bough__layer_take(layer, 1000 * CASE_SECONDS));
    bough__layer_unlock_writer(layer);
    end_child(waiter.id, 0);
    close_layer();
}

TEST(nobody_waits_for_a_lock_that_is_free)
{
    make_store();
    begin_case();
    bough__layer_wait_writer(layer, LONG_US);
    struct bough__txn *txn = begin();
    bough__layer_wait_writer(layer, 1000);
    ASSERT_CODE(BOUGH_BUSY, bough__layer_take(layer, 0));
    bough__txn_end(txn);
    bough__layer_wait_writer(layer, LONG_US);
    close_layer();
}

int main(void)
{
    const struct harness_case cases[] = {
        CASE(all_who_wait_are_woken_one_after_the_other),
        CASE(who_is_woken_too_late_hands_on),
        CASE(the_owner_dies),
        CASE(nobody_waits_for_a_lock_that_is_free),
    };
    return harness_run("waiting", cases, COUNT_OF(cases));
}
