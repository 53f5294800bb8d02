/* shm_locks.c - the writer's lock of a layer, waiting for it, and who else has the layer open; see shm.h. */
#include "shm_map.h"

#include "error.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WAITED 0x80000000u /* somebody sleeps until the writer's lock is free */

static int refuse_private(const struct bough__shm *shm)
{
    return bough__fail(shm->private_code, "%s: %s", shm->path,
                       shm->private_code == BOUGH_FULL ? "no room on the disk" : "no permission to write to the store");
}

/* ---- the writer's lock ---- */

static void wake_one(struct bough__shm *shm)
{
    syscall(SYS_futex, &shm->map->writer, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void bough__shm_clear_number(struct bough__shm *shm, int opener)
{
    bough__shm_clear_pins(shm, opener);
    uint32_t owner = atomic_load(&shm->map->writer);
    while ((owner & ~WAITED) == (uint32_t)opener + 1)
        if (atomic_compare_exchange_strong(&shm->map->writer, &owner, 0)) {
            if (owner & WAITED)
                wake_one(shm);
            break;
        }
}

bool bough__shm_is_alive(const struct bough__shm *shm, uint32_t owner)
{
    return owner <= BOUGH__SHM_OPENERS &&
           bough__os_is_locked(shm->fd, shm->first_byte + LOCK_OPENERS + (uint64_t)owner - 1);
}

/* From a writer that died. While we hold his number's lock nobody can be him, so nobody is robbed. */
static bool bury_writer(struct bough__shm *shm, uint32_t owner)
{
    uint64_t byte = LOCK_OPENERS + (uint64_t)owner - 1;
    if (owner == 0 || owner > BOUGH__SHM_OPENERS || owner == (uint32_t)shm->opener + 1 ||
        bough__shm_lock_byte(shm, byte, BOUGH__EXCLUSIVE) != BOUGH_OK)
        return false;
    bough__shm_clear_number(shm, (int)owner - 1);
    (void)bough__shm_lock_byte(shm, byte, BOUGH__UNLOCK);
    return true;
}

/* Whoever was woken and comes too late tells the present owner of those who sleep on; so does he who comes in time. */
static uint32_t hand_on(struct bough__shm *shm)
{
    return atomic_exchange(&shm->was_woken, false) ? WAITED : 0;
}

int bough__shm_lock_writer(struct bough__shm *shm)
{
    if (shm->is_private)
        return refuse_private(shm);
    uint32_t owner = 0, others = hand_on(shm), mine = ((uint32_t)shm->opener + 1) | others;
    if (atomic_compare_exchange_strong(&shm->map->writer, &owner, mine))
        return BOUGH_OK;
    uint32_t nobody = 0;
    if (bury_writer(shm, owner & ~WAITED) && atomic_compare_exchange_strong(&shm->map->writer, &nobody, mine))
        return BOUGH_OK;
    if (others != 0)
        atomic_compare_exchange_strong(&shm->map->writer, &owner, owner | others);
    return bough__fail(BOUGH_BUSY, "%s: another process is writing", shm->path);
}

void bough__shm_unlock_writer(struct bough__shm *shm)
{
    if (atomic_exchange(&shm->map->writer, 0) & WAITED)
        wake_one(shm);
}

/* True: it was woken. */
static bool sleep_on_writer(struct bough__shm *shm, uint32_t owner, uint64_t max_us)
{
    struct timespec most = {(time_t)(max_us / 1000000), (long)(max_us % 1000000) * 1000};
    long rc = syscall(SYS_futex, &shm->map->writer, FUTEX_WAIT, owner, &most, NULL, 0);
    if (rc == 0)
        atomic_store(&shm->was_woken, true);
    return rc == 0;
}

void bough__shm_wait_writer(struct bough__shm *shm, uint64_t max_us)
{
    uint64_t now = bough__os_monotonic_us(), end = now + max_us;
    for (; !shm->is_private && now < end; now = bough__os_monotonic_us()) {
        uint32_t owner = atomic_load(&shm->map->writer);
        if (owner == 0)
            return;
        if (!(owner & WAITED) && !atomic_compare_exchange_strong(&shm->map->writer, &owner, owner | WAITED))
            continue;
        if (sleep_on_writer(shm, owner | WAITED, end - now))
            return;
    }
}

bool bough__shm_writer_is_in(struct bough__shm *shm)
{
    uint32_t owner = atomic_load(&shm->map->writer) & ~WAITED;
    return !shm->is_private && owner != 0 && (owner == (uint32_t)shm->opener + 1 || bough__shm_is_alive(shm, owner));
}

/* ---- who has it open ---- */

int bough__shm_seize(struct bough__shm *shm)
{
    if (shm->is_private)
        return refuse_private(shm);
    return bough__shm_lock_byte(shm, LOCK_DEAD_MAN, BOUGH__EXCLUSIVE);
}

void bough__shm_unseize(struct bough__shm *shm)
{
    (void)bough__shm_lock_byte(shm, LOCK_DEAD_MAN, BOUGH__SHARED);
}

size_t bough__shm_pids(const struct bough__shm *shm, int32_t out[BOUGH__SHM_OPENERS])
{
    size_t count = 0;
    if (shm->is_private)
        return 0;
    for (int i = 0; i < BOUGH__SHM_OPENERS; i++) {
        int32_t pid = atomic_load(&shm->map->pids[i]);
        /* The lock says whether the process still lives; a pid alone may be someone else's by now. */
        if (i != shm->opener && pid != 0 && bough__os_is_locked(shm->fd, shm->first_byte + LOCK_OPENERS + (uint64_t)i))
            out[count++] = pid;
    }
    return count;
}
