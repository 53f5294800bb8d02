/* wait.c - sleeping until the writer's lock is free; see wait.h. */
#include "wait.h"

#include "layer.h"
#include "os.h"

/* The longest sleep of SQLite's own busy handler. A longer one is a program's that wants to sleep. */
#define MOST_US 100000

/* The file is compared and never looked into: it may be closed by now. */
static _Thread_local struct {
    const struct bough__file *refused;
    uint32_t put_off_us;
} waiting;

void bough__wait_refused(const struct bough__file *file)
{
    waiting.refused = file;
    waiting.put_off_us = 0;
}

bool bough__wait_put_off(int microseconds)
{
    if (waiting.refused == NULL || waiting.put_off_us != 0 || microseconds <= 0 || microseconds > MOST_US)
        return false;
    waiting.put_off_us = (uint32_t)microseconds;
    return true;
}

static void sleep_us(uint32_t us)
{
    if (us != 0)
        (void)bough__vfs_system()->xSleep(bough__vfs_system(), (int)us);
}

static void sleep_in_front_of(struct bough__file *file, uint32_t us)
{
    sleep_us(file->unslept_us);
    uint64_t begin = bough__os_monotonic_us();
    bough__layer_wait_writer(file->layer, us);
    uint64_t slept = bough__os_monotonic_us() - begin;
    file->unslept_us = slept < us ? us - (uint32_t)slept : 0;
}

void bough__wait_now(struct bough__file *file)
{
    bool is_for_us = waiting.refused == file && waiting.put_off_us != 0;
    uint32_t us = waiting.put_off_us;
    /* What nobody slept before begins anew; but RESERVED after SHARED is one attempt. */
    if (!is_for_us && file->lock == SQLITE_LOCK_NONE)
        file->unslept_us = 0;
    if (waiting.refused != NULL)
        bough__wait_refused(NULL);
    if (is_for_us)
        sleep_in_front_of(file, us);
    else
        sleep_us(us);
}
