/* decision.c - the file of decisions; see decision.h.
 *
 * Locks: byte n of the file belongs, exclusively, to who looks whether slot n is free, until he has decided. A byte far
 * behind the last slot belongs to who makes the file longer.
 */
#include "decision.h"

#include "codec.h"
#include "digest.h"
#include "error.h"
#include "layer.h"
#include "os.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_SIZE BOUGH__DECISION_SLOT_SIZE
#define SLOT_MAGIC 0x31444c42u /* "BLD1" */
#define SUM_OFFSET 16
#define MEMBERS_OFFSET 24
#define MEMBER_SIZE 12
#define ID_OFFSET 496
#define ID_SIZE 16
#define GROWTH (64u << 10)
#define GROWTH_BYTE (UINT64_C(1) << 40)
#define SLOT_LIMIT (UINT64_C(1) << 32)
#define GROWTH_TIMEOUT_MS 10000

/* ---- one slot ---- */

static uint64_t sum_of(const uint8_t bytes[SLOT_SIZE], const struct bough__space *space, uint64_t slot)
{
    uint8_t copy[SLOT_SIZE];
    memcpy(copy, bytes, sizeof copy);
    memset(copy + SUM_OFFSET, 0, 8);
    return bough__xxh(copy, sizeof copy, space->store_key ^ slot);
}

static void encode(uint8_t out[SLOT_SIZE], const struct bough__decider *decider, enum bough__decision_state state,
                   const struct bough__member *members, size_t count)
{
    memset(out, 0, SLOT_SIZE);
    bough__put32(out, SLOT_MAGIC);
    bough__put32(out + 4, (uint32_t)state);
    bough__put32(out + 8, (uint32_t)count);
    for (size_t i = 0; i < count && i < BOUGH__DECISION_MEMBERS; i++) {
        bough__put32(out + MEMBERS_OFFSET + MEMBER_SIZE * i, members[i].layer);
        bough__put64(out + MEMBERS_OFFSET + MEMBER_SIZE * i + 4, members[i].txn);
    }
    memcpy(out + ID_OFFSET, decider->decision.id, ID_SIZE);
    bough__put64(out + SUM_OFFSET, sum_of(out, decider->space, decider->decision.slot));
}

void bough__decision_decode(struct bough__decision_slot *out, const uint8_t bytes[SLOT_SIZE],
                            const struct bough__space *space, uint64_t slot)
{
    uint32_t state = bough__get32(bytes + 4);
    *out = (struct bough__decision_slot){.state = BOUGH__UNDECIDED};
    if (bough__get32(bytes) != SLOT_MAGIC || bough__get64(bytes + SUM_OFFSET) != sum_of(bytes, space, slot) ||
        (state != BOUGH__COMMITTED && state != BOUGH__WITHDRAWN))
        return;
    out->state = (enum bough__decision_state)state;
    out->member_count = bough__get32(bytes + 8);
    memcpy(out->id, bytes + ID_OFFSET, ID_SIZE);
    for (uint32_t i = 0; i < out->member_count && i < BOUGH__DECISION_MEMBERS; i++) {
        const uint8_t *p = bytes + MEMBERS_OFFSET + MEMBER_SIZE * i;
        out->members[i] = (struct bough__member){bough__get32(p), bough__get64(p + 4)};
    }
}

/* What was never finished is nobody's. */
static bool is_free(const uint8_t bytes[SLOT_SIZE], struct bough__space *space, uint64_t slot)
{
    struct bough__decision_slot found;
    bough__decision_decode(&found, bytes, space, slot);
    if (found.state == BOUGH__UNDECIDED)
        return true;
    if (found.member_count > BOUGH__DECISION_MEMBERS)
        return false;
    for (uint32_t i = 0; i < found.member_count; i++)
        if (!bough__layer_is_past(space, found.members[i].layer, found.members[i].txn))
            return false;
    return true;
}

/* ---- finding a slot ---- */

static char *path_of(const struct bough__space *space)
{
    return bough__format("%s/" BOUGH__DECISIONS_FILE, space->directory);
}

/* Zeros at the end, so that a decision changes no metadata. Nothing, where another did it meanwhile: what he has
 * decided there must stay. */
static int grow(struct bough__decider *decider, uint64_t known_size)
{
    static const uint8_t zeros[GROWTH];
    uint64_t size = 0;
    int rc = bough__os_lock_wait(decider->fd, GROWTH_BYTE, BOUGH__EXCLUSIVE, GROWTH_TIMEOUT_MS, decider->path);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__os_size(&size, decider->fd, decider->path);
    if (rc == BOUGH_OK && size == known_size)
        rc = bough__os_write(decider->fd, zeros, GROWTH - size % SLOT_SIZE, size, decider->path);
    (void)bough__os_lock(decider->fd, GROWTH_BYTE, BOUGH__UNLOCK, decider->path);
    return rc;
}

static int try_slot(bool *out_found, struct bough__decider *decider, uint64_t slot)
{
    uint8_t bytes[SLOT_SIZE];
    *out_found = false;
    int rc = bough__os_lock(decider->fd, slot, BOUGH__EXCLUSIVE, decider->path);
    if (rc != BOUGH_OK)
        return rc == BOUGH_BUSY ? BOUGH_OK : rc;
    rc = bough__os_read(decider->fd, bytes, sizeof bytes, slot * SLOT_SIZE, decider->path);
    *out_found = rc == BOUGH_OK && is_free(bytes, decider->space, slot);
    if (*out_found)
        decider->decision.slot = slot;
    else
        (void)bough__os_lock(decider->fd, slot, BOUGH__UNLOCK, decider->path);
    return rc;
}

/* From behind the slot that this process used last: those before it are the likelier to be settled the older they
 * are. */
static int find_slot(struct bough__decider *decider)
{
    bool found = false;
    uint64_t size = 0, start = atomic_load(&decider->space->next_decision);
    int rc = BOUGH_OK;
    while (rc == BOUGH_OK && !found) {
        rc = bough__os_size(&size, decider->fd, decider->path);
        uint64_t count = size / SLOT_SIZE;
        for (uint64_t i = 0; rc == BOUGH_OK && !found && i < count; i++)
            rc = try_slot(&found, decider, (start + i) % count);
        if (rc == BOUGH_OK && !found && count >= SLOT_LIMIT)
            rc = bough__fail(BOUGH_FULL, "%s: has no room for another decision", decider->path);
        if (rc == BOUGH_OK && !found)
            rc = grow(decider, size);
        start = found ? decider->decision.slot + 1 : count;
    }
    atomic_store(&decider->space->next_decision, start);
    return rc;
}

int bough__decider_begin(struct bough__decider *out, struct bough__space *space)
{
    *out = (struct bough__decider){.space = space, .fd = -1, .path = path_of(space)};
    if (out->path == NULL)
        return bough__fail_memory();
    int rc = bough__os_random(out->decision.id, sizeof out->decision.id);
    if (rc == BOUGH_OK)
        rc = bough__os_open(&out->fd, out->path, O_RDWR | O_CREAT | O_NOFOLLOW, space->mode);
    /* Whoever made the file may have been killed before its name was durable. */
    if (rc == BOUGH_OK && !atomic_load(&space->has_decisions))
        rc = bough__os_sync_directory(space->directory);
    if (rc == BOUGH_OK) {
        atomic_store(&space->has_decisions, true);
        rc = find_slot(out);
    }
    if (rc != BOUGH_OK)
        bough__decider_end(out);
    return rc;
}

void bough__decider_end(struct bough__decider *decider)
{
    /* Closing alone would leave the slot's lock to a child that was forked meanwhile. */
    if (decider->fd >= 0)
        (void)bough__os_lock(decider->fd, decider->decision.slot, BOUGH__UNLOCK, decider->path);
    bough__os_close(&decider->fd);
    free(decider->path);
    decider->path = NULL;
}

/* ---- deciding ---- */

static int put(const struct bough__decider *decider, const uint8_t bytes[SLOT_SIZE])
{
    return bough__os_write(decider->fd, bytes, SLOT_SIZE, decider->decision.slot * SLOT_SIZE, decider->path);
}

static int withdraw(const struct bough__decider *decider, const struct bough__member *members, size_t count)
{
    uint8_t bytes[SLOT_SIZE];
    encode(bytes, decider, BOUGH__WITHDRAWN, members, count);
    int rc = put(decider, bytes);
    return rc == BOUGH_OK ? bough__os_sync(decider->fd, decider->path) : rc;
}

int bough__decider_commit(bool *out_is_open, struct bough__decider *decider, const struct bough__member *members,
                          size_t count)
{
    uint8_t bytes[SLOT_SIZE];
    struct bough__error_state error;
    *out_is_open = false;
    encode(bytes, decider, BOUGH__COMMITTED, members, count);
    int rc = put(decider, bytes);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__os_sync(decider->fd, decider->path);
    if (rc == BOUGH_OK)
        return BOUGH_OK;
    bough__error_save(&error);
    *out_is_open = withdraw(decider, members, count) != BOUGH_OK;
    bough__error_restore(&error);
    return rc;
}

/* ---- looking ---- */

/* Written once more before the sync: after a sync of others that failed, another one of the same bytes says nothing. */
static int confirm(int fd, const uint8_t bytes[SLOT_SIZE], uint64_t slot, const char *path)
{
    int rc = bough__os_write(fd, bytes, SLOT_SIZE, slot * SLOT_SIZE, path);
    return rc == BOUGH_OK ? bough__os_sync(fd, path) : rc;
}

static int look(bool *out_is_committed, int fd, const struct bough__space *space,
                const struct bough__decision *decision, bool is_private, const char *path)
{
    size_t len = 0;
    uint8_t bytes[SLOT_SIZE] = {0};
    struct bough__decision_slot found;
    int rc = bough__os_read_some(&len, fd, bytes, sizeof bytes, decision->slot * SLOT_SIZE, path);
    if (rc != BOUGH_OK || len < sizeof bytes || memcmp(bytes + ID_OFFSET, decision->id, ID_SIZE) != 0)
        return rc;
    bough__decision_decode(&found, bytes, space, decision->slot);
    if (found.state == BOUGH__UNDECIDED)
        return bough__fail(BOUGH_CORRUPT, "%s: slot %llu is damaged", path, (unsigned long long)decision->slot);
    *out_is_committed = found.state == BOUGH__COMMITTED;
    return is_private ? BOUGH_OK : confirm(fd, bytes, decision->slot, path);
}

int bough__decision_look(bool *out_is_committed, const struct bough__space *space,
                         const struct bough__decision *decision, bool is_private)
{
    int fd = -1;
    char *path = path_of(space);
    *out_is_committed = false;
    if (path == NULL)
        return bough__fail_memory();
    int rc = bough__os_open(&fd, path, (is_private ? O_RDONLY : O_RDWR) | O_NOFOLLOW, 0);
    if (rc == BOUGH_OK && decision->slot < SLOT_LIMIT)
        rc = look(out_is_committed, fd, space, decision, is_private, path);
    bough__os_close(&fd);
    free(path);
    return rc == BOUGH_NOT_FOUND ? BOUGH_OK : rc;
}
