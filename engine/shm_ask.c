/* shm_ask.c - asking about layers that this process need not have open: does anybody have them, what do they read, were
 * they left by the dead; see shm.h. */
#include "shm_map.h"

#include "error.h"

#include <fcntl.h>
#include <string.h>

static int read_magic(uint64_t *out, const char *path)
{
    int fd = -1;
    size_t len = 0;
    int rc = bough__os_open(&fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (rc == BOUGH_OK)
        rc = bough__os_read_some(&len, fd, out, sizeof *out, 0, path);
    bough__os_close(&fd);
    return rc;
}

/* *out_is_open false: nobody has it open, or its first opener has not told of anything yet. */
static int look_if_open(struct bough__shm *out, bool *out_is_open, const char *directory, uint32_t number)
{
    uint64_t magic = 0;
    *out_is_open = false;
    int rc = bough__shm_start_alone(out, directory, number, O_RDONLY);
    bool is_locked = rc == BOUGH_OK && bough__os_is_locked(out->fd, out->first_byte + LOCK_DEAD_MAN);
    if (is_locked)
        rc = read_magic(&magic, out->path);
    if (rc == BOUGH_OK && magic != 0 && magic != SHM_MAGIC)
        rc = bough__fail(BOUGH_BUSY, "%s: in use by another version of bough", out->path);
    bough__shm_close(out, false);
    if (rc == BOUGH_NOT_FOUND || (rc == BOUGH_OK && (!is_locked || magic == 0)))
        return BOUGH_OK;
    if (rc == BOUGH_OK)
        rc = bough__shm_look(out, directory, number);
    *out_is_open = rc == BOUGH_OK;
    /* Closed by all, or built anew, since the look at the lock: what its openers read then, others tell of. */
    return rc == BOUGH_NOT_FOUND || rc == BOUGH_CORRUPT ? BOUGH_OK : rc;
}

int bough__shm_take(struct bough__shm *out, const char *directory, uint32_t number)
{
    int rc = bough__shm_start_alone(out, directory, number, O_RDWR);
    if (rc == BOUGH_OK)
        rc = bough__shm_lock_byte(out, LOCK_DEAD_MAN, BOUGH__EXCLUSIVE);
    if (rc != BOUGH_OK)
        bough__shm_close(out, false);
    return rc;
}

bool bough__shm_is_open(const char *directory, uint32_t number)
{
    struct bough__shm shm = {.fd = -1};
    bool is_open = bough__shm_start_alone(&shm, directory, number, O_RDONLY) != BOUGH_OK ||
                   bough__os_is_locked(shm.fd, shm.first_byte + LOCK_DEAD_MAN);
    bough__shm_close(&shm, false);
    return is_open;
}

bool bough__shm_is_behind(const char *directory, uint32_t number)
{
    struct bough__shm shm = {.fd = -1};
    struct bough__published now = {0};
    bool is_open = false, is_behind = false;
    int rc = look_if_open(&shm, &is_open, directory, number);
    if (rc != BOUGH_OK || !is_open)
        return rc != BOUGH_OK;
    bough__shm_read(&now, &shm);
    for (int i = 0; !is_behind && i < BOUGH__SHM_PINS; i++) {
        uint64_t pin = atomic_load(&shm.map->pins[i]), tree = 0;
        if (bough__shm_read_pin(&pin, &tree, &shm, i) && bough__shm_is_alive(&shm, (uint32_t)(pin >> PIN_OWNER_SHIFT)))
            is_behind = (pin & PIN_TXN_MASK) - 1 != now.txn ||
                        (tree & ~TREE_UNSURE) != bough__shm_tree_word(now.top, now.generation);
    }
    bough__shm_close(&shm, false);
    return is_behind;
}

/* Whether the file that nobody uses was left by users who died, on this boot for all that is known. Without it, or if
 * its first user died before he was ready, nobody did. */
static int was_left(bool *out, const char *directory, uint32_t number)
{
    int fd = -1;
    size_t len = 0;
    uint8_t boot_id[16] = {0}, found[16] = {0};
    const uint8_t nothing[16] = {0};
    struct bough__shm shm = {.fd = -1};
    *out = false;
    int rc = bough__shm_start(&shm, directory, number);
    if (rc == BOUGH_OK)
        rc = bough__os_open(&fd, shm.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (rc == BOUGH_OK)
        rc = bough__os_read_some(&len, fd, found, sizeof found, offsetof(struct bough__shm_map, boot_id), shm.path);
    bough__os_close(&fd);
    bough__shm_close(&shm, false);
    bough__os_boot_id(boot_id);
    bool is_unknown = memcmp(boot_id, nothing, sizeof boot_id) == 0;
    *out = rc == BOUGH_OK && len == sizeof found && (is_unknown || memcmp(boot_id, found, sizeof boot_id) == 0);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}

int bough__shm_ask(uint64_t *out_durable, bool *out_is_closed, const char *directory, uint32_t number)
{
    struct bough__shm shm = {.fd = -1};
    bool is_open = false, is_left = false;
    int rc = look_if_open(&shm, &is_open, directory, number);
    *out_durable = rc == BOUGH_OK && is_open ? bough__shm_durable(&shm) : 0;
    if (rc == BOUGH_OK && is_open)
        bough__shm_close(&shm, false);
    else if (rc == BOUGH_OK)
        rc = was_left(&is_left, directory, number);
    *out_is_closed = rc == BOUGH_OK && !is_open && !is_left;
    return rc;
}

bool bough__shm_told(struct bough__published *out, const char *directory, uint32_t number)
{
    struct bough__shm shm = {.fd = -1};
    struct bough__error_state error;
    bool is_open = false;
    bough__error_save(&error);
    if (look_if_open(&shm, &is_open, directory, number) != BOUGH_OK)
        is_open = false;
    if (is_open) {
        bough__shm_read(out, &shm);
        bough__shm_close(&shm, false);
    }
    bough__error_restore(&error);
    return is_open;
}

int bough__shm_published_tree(const char *directory, uint32_t number, bough__shm_tree_callback *callback, void *context)
{
    struct bough__shm shm = {.fd = -1};
    struct bough__published state = {0};
    bool is_open = false;
    int rc = look_if_open(&shm, &is_open, directory, number);
    if (rc != BOUGH_OK || !is_open)
        return rc;
    bough__shm_read(&state, &shm);
    bough__shm_close(&shm, false);
    return state.top.file != 0 ? callback(context, state.top, true) : BOUGH_OK;
}

int bough__shm_pinned_trees(const char *directory, uint32_t number, bough__shm_tree_callback *callback, void *context)
{
    struct bough__shm shm = {.fd = -1};
    bool is_open = false;
    int alive[BOUGH__SHM_OPENERS + 1] = {0}; /* by opener's number + 1; 0: not asked yet */
    int rc = look_if_open(&shm, &is_open, directory, number);
    if (rc != BOUGH_OK || !is_open)
        return rc;
    atomic_thread_fence(memory_order_seq_cst);
    for (int i = 0; rc == BOUGH_OK && i < BOUGH__SHM_PINS; i++) {
        uint64_t pin = atomic_load(&shm.map->pins[i]), tree = 0;
        if (!bough__shm_read_pin(&pin, &tree, &shm, i) || bough__shm_tree_of(tree).file == 0)
            continue;
        uint64_t owner = pin >> PIN_OWNER_SHIFT;
        if (owner == 0 || owner > BOUGH__SHM_OPENERS)
            continue;
        if (alive[owner] == 0)
            alive[owner] = bough__shm_is_alive(&shm, (uint32_t)owner) ? 1 : -1;
        if (alive[owner] > 0)
            rc = callback(context, bough__shm_tree_of(tree), !(tree & TREE_UNSURE));
    }
    bough__shm_close(&shm, false);
    return rc;
}
