/* shm_pins.c - pins: which states of a layer, and which trees, somebody reads; shm.h tells the protocol. */
#include "shm_map.h"

#include "error.h"

#include <stdlib.h>

/* ---- setting them ---- */

static uint64_t pin_word(int opener, uint64_t txn_plus_1)
{
    return (uint64_t)(opener + 1) << PIN_OWNER_SHIFT | txn_plus_1;
}

void bough__shm_clear_pins(struct bough__shm *shm, int opener)
{
    for (int i = 0; i < BOUGH__SHM_PINS; i++)
        if (atomic_load(&shm->map->pins[i]) >> PIN_OWNER_SHIFT == (uint64_t)(opener + 1))
            atomic_store(&shm->map->pins[i], 0);
}

static int claim_pin(int *out_pin, struct bough__shm *shm)
{
    for (int i = 0; i < BOUGH__SHM_PINS; i++) {
        uint64_t unset = 0;
        if (atomic_load_explicit(&shm->map->pins[i], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&shm->map->pins[i], &unset, pin_word(shm->opener, 0))) {
            *out_pin = i;
            return BOUGH_OK;
        }
    }
    return bough__fail(BOUGH_BUSY, "%s: %d snapshots are open, and no more can be", shm->path, BOUGH__SHM_PINS);
}

static void set_pin(struct bough__shm *shm, int pin, uint64_t txn, uint64_t tree)
{
    atomic_store_explicit(&shm->map->times[pin], bough__os_uptime_ms(), memory_order_relaxed);
    /* Parked pins name no tree, so whoever sees this one with its transaction sees its tree. */
    atomic_store_explicit(&shm->map->trees[pin], tree | TREE_UNSURE, memory_order_release);
    atomic_store(&shm->map->pins[pin], pin_word(shm->opener, txn + 1));
    atomic_thread_fence(memory_order_seq_cst);
}

void bough__shm_pin_is_sure(struct bough__shm *shm, int pin)
{
    if (pin == BOUGH__NO_PIN)
        return;
    uint64_t word = atomic_load_explicit(&shm->map->trees[pin], memory_order_relaxed);
    atomic_store_explicit(&shm->map->trees[pin], word & ~TREE_UNSURE, memory_order_release);
}

/* The published state is of this transaction and generation: one atomic load and a check. */
static bool is_published(const struct bough__shm *shm, const struct bough__published *state)
{
    for (;;) {
        uint64_t counter = atomic_load(&shm->map->counter);
        const _Atomic uint64_t *slot = shm->map->slots[counter & 1];
        uint64_t txn = atomic_load_explicit(&slot[0], memory_order_relaxed);
        uint64_t generation = atomic_load_explicit(&slot[1], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load(&shm->map->counter) == counter)
            return txn == state->txn && generation == state->generation;
    }
}

int bough__shm_pin(int *out_pin, struct bough__published *out, struct bough__shm *shm)
{
    int pin = BOUGH__NO_PIN;
    *out_pin = BOUGH__NO_PIN;
    if (shm->is_private) {
        bough__shm_read(out, shm);
        return BOUGH_OK;
    }
    int rc = claim_pin(&pin, shm);
    if (rc != BOUGH_OK)
        return rc;
    do
        bough__shm_read(out, shm);
    while (!bough__shm_pin_resume(shm, pin, out));
    *out_pin = pin;
    return BOUGH_OK;
}

void bough__shm_pin_park(struct bough__shm *shm, int pin)
{
    if (pin != BOUGH__NO_PIN)
        atomic_store_explicit(&shm->map->pins[pin], pin_word(shm->opener, 0), memory_order_release);
}

bool bough__shm_pin_resume(struct bough__shm *shm, int pin, const struct bough__published *state)
{
    if (pin == BOUGH__NO_PIN)
        return is_published(shm, state);
    set_pin(shm, pin, state->txn, bough__shm_tree_word(state->top, state->generation));
    if (is_published(shm, state)) {
        bough__shm_pin_is_sure(shm, pin);
        return true;
    }
    bough__shm_pin_park(shm, pin);
    return false;
}

int bough__shm_pin_tree(int *out_pin, struct bough__shm *shm, struct bough__node_ref top)
{
    *out_pin = BOUGH__NO_PIN;
    int rc = shm->is_private ? BOUGH_OK : claim_pin(out_pin, shm);
    if (*out_pin != BOUGH__NO_PIN)
        set_pin(shm, *out_pin, 0, bough__shm_tree_word(top, 0));
    return rc;
}

void bough__shm_unpin(struct bough__shm *shm, int pin)
{
    if (pin != BOUGH__NO_PIN)
        atomic_store_explicit(&shm->map->pins[pin], 0, memory_order_release);
}

/* ---- looking at them ---- */

static int by_txn(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Clears what dead openers left. */
static void bury(struct bough__shm *shm)
{
    bool has_pins[BOUGH__SHM_OPENERS] = {false};
    for (int i = 0; i < BOUGH__SHM_PINS; i++) {
        uint64_t owner = atomic_load(&shm->map->pins[i]) >> PIN_OWNER_SHIFT;
        if (owner != 0 && owner <= BOUGH__SHM_OPENERS)
            has_pins[owner - 1] = true;
    }
    for (int i = 0; i < BOUGH__SHM_OPENERS; i++) {
        if (!has_pins[i] || i == shm->opener)
            continue;
        /* With the lock in hand nobody can take the number while its pins go. */
        if (bough__shm_lock_byte(shm, LOCK_OPENERS + (uint64_t)i, BOUGH__EXCLUSIVE) != BOUGH_OK)
            continue;
        bough__shm_clear_number(shm, i);
        shm->map->pids[i] = 0;
        (void)bough__shm_lock_byte(shm, LOCK_OPENERS + (uint64_t)i, BOUGH__UNLOCK);
    }
}

bool bough__shm_read_pin(uint64_t *out_pin, uint64_t *out_tree, const struct bough__shm *shm, int i)
{
    uint64_t pin = 0;
    do {
        pin = *out_pin;
        *out_tree = atomic_load(&shm->map->trees[i]);
        *out_pin = atomic_load(&shm->map->pins[i]);
    } while (*out_pin != pin); /* the two belong together */
    return (pin & PIN_TXN_MASK) != 0;
}

size_t bough__shm_pinned(struct bough__shm *shm, uint64_t out[BOUGH__SHM_PINS], bool *out_is_behind,
                         bool look_for_dead)
{
    size_t count = 0, kept = 0;
    uint64_t oldest = UINT64_MAX;
    struct bough__published now = {0};
    *out_is_behind = false;
    if (look_for_dead && !shm->is_private)
        bury(shm);
    bough__shm_read(&now, shm);
    atomic_thread_fence(memory_order_seq_cst);
    for (int i = 0; i < BOUGH__SHM_PINS; i++) {
        uint64_t pin = atomic_load_explicit(&shm->map->pins[i], memory_order_relaxed), tree = 0;
        if ((pin & PIN_TXN_MASK) == 0 || !bough__shm_read_pin(&pin, &tree, shm, i))
            continue;
        uint64_t txn = (pin & PIN_TXN_MASK) - 1;
        bool is_behind = (tree & ~TREE_UNSURE) != bough__shm_tree_word(now.top, now.generation);
        *out_is_behind = txn < oldest ? is_behind : *out_is_behind || (txn == oldest && is_behind);
        oldest = txn < oldest ? txn : oldest;
        out[count++] = txn;
    }
    /* Whoever unpins a state that he made durable has raised that number before: it is read after the pins. */
    atomic_thread_fence(memory_order_acquire);
    qsort(out, count, sizeof *out, by_txn);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || out[i] != out[kept - 1])
            out[kept++] = out[i];
    return kept;
}

void bough__shm_note_kept(struct bough__shm *shm, uint64_t frames)
{
    atomic_store_explicit(&shm->map->kept_frames, frames, memory_order_relaxed);
}

uint64_t bough__shm_kept(const struct bough__shm *shm)
{
    return atomic_load_explicit(&shm->map->kept_frames, memory_order_relaxed);
}

int64_t bough__shm_oldest_pin_ms(const struct bough__shm *shm)
{
    uint64_t now = bough__os_uptime_ms(), oldest = now;
    bool found = false, is_asked[BOUGH__SHM_OPENERS] = {false}, is_dead[BOUGH__SHM_OPENERS] = {false};
    for (int i = 0; !shm->is_private && i < BOUGH__SHM_PINS; i++) {
        uint64_t pin = atomic_load(&shm->map->pins[i]);
        uint64_t time = atomic_load_explicit(&shm->map->times[i], memory_order_relaxed);
        uint64_t owner = pin >> PIN_OWNER_SHIFT;
        if ((pin & PIN_TXN_MASK) == 0 || owner == 0 || owner > BOUGH__SHM_OPENERS ||
            owner == (uint64_t)(shm->opener + 1) || (found && time >= oldest))
            continue;
        if (!is_asked[owner - 1])
            is_dead[owner - 1] = !bough__shm_is_alive(shm, (uint32_t)owner);
        is_asked[owner - 1] = true;
        if (is_dead[owner - 1])
            continue;
        found = true;
        oldest = time < now ? time : now;
    }
    return found ? (int64_t)(now - oldest) : -1;
}

bool bough__shm_all_at_newest(struct bough__shm *shm)
{
    bool is_behind = false;
    uint64_t *pinned = bough__alloc(BOUGH__SHM_PINS * sizeof *pinned);
    size_t count = pinned != NULL ? bough__shm_pinned(shm, pinned, &is_behind, true) : 0;
    bool all = pinned != NULL && (count == 0 || (pinned[0] == bough__shm_newest(shm) && !is_behind));
    free(pinned);
    return all;
}
