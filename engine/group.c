/* group.c - one transaction over several layers; see group.h. */
#include "group.h"

#include "error.h"
#include "layer_state.h"
#include "os.h"

#include <stdlib.h>

/* ---- committing ---- */

static int prepare_all(size_t *out_prepared, struct bough__txn *const *txns, size_t count,
                       struct bough__member *members, const struct bough__decision *decision)
{
    int rc = BOUGH_OK;
    for (*out_prepared = 0; rc == BOUGH_OK && *out_prepared < count; *out_prepared += rc == BOUGH_OK)
        rc = bough__txn_prepare(&members[*out_prepared], txns[*out_prepared], decision);
    return rc;
}

/* All states appear before the first checkpoint begins. */
static void conclude_all(struct bough__txn *const *txns, size_t count, size_t prepared, bool is_open, int rc)
{
    for (size_t i = 0; i < prepared && !is_open; i++)
        bough__txn_decide(txns[i], rc == BOUGH_OK);
    for (size_t i = 0; i < count; i++)
        bough__txn_conclude(txns[i], rc);
}

int bough__group_commit(struct bough__txn *const *txns, size_t count, uint64_t *out_numbers)
{
    size_t prepared = 0;
    bool is_open = false;
    struct bough__decider decider = {.fd = -1};
    struct bough__member *members = bough__alloc(count * sizeof *members);
    int rc = members != NULL ? bough__decider_begin(&decider, bough__txn_space(txns[0])) : bough__fail_memory();
    if (rc == BOUGH_OK)
        rc = prepare_all(&prepared, txns, count, members, &decider.decision);
    if (rc == BOUGH_OK)
        rc = bough__decider_commit(&is_open, &decider, members, count);
    conclude_all(txns, count, prepared, is_open, rc);
    for (size_t i = 0; rc == BOUGH_OK && i < count; i++)
        out_numbers[i] = members[i].txn;
    bough__decider_end(&decider);
    free(members);
    return rc;
}

/* ---- resolving ---- */

/* Looks for a prepared record after the newest transaction; if it was decided for, *state becomes the one after it. */
static int find_prepared(bool *out_is_committed, struct bough__published *state, struct bough__layer *layer)
{
    bool found = false;
    struct bough__log_record record = {0};
    struct bough__log_position position = layer->overlay->position;
    uint64_t chunk_end = position.chunk_end;
    *out_is_committed = false;
    if (state->generation == 0)
        return BOUGH_OK;
    int rc = bough__layer_open_file(layer);
    bough__log_rewind(&layer->log_buffer);
    if (rc == BOUGH_OK)
        rc = bough__log_next(&found, &record, layer->fd, layer->path, &position, &layer->log_buffer, state->txn + 1,
                             &chunk_end);
    if (rc == BOUGH_OK && found && record.is_prepared)
        rc = bough__decision_look(out_is_committed, layer->space, &record.decision, false);
    if (rc == BOUGH_OK && *out_is_committed) {
        state->txn = record.txn;
        state->size_bytes = record.size_bytes;
        bough__layer_count_frames(&state->frame_count, layer, &record, chunk_end);
    }
    return rc;
}

int bough__layer_resolve(struct bough__layer *layer)
{
    bool is_committed = false;
    struct bough__published state = {0};
    if (!(bough__shm_flags(&layer->shm) & BOUGH__SHM_PREPARED))
        return BOUGH_OK;
    pthread_mutex_lock(&layer->mutex);
    int rc = bough__layer_refresh(layer, &state);
    if (rc == BOUGH_OK)
        rc = find_prepared(&is_committed, &state, layer);
    if (rc == BOUGH_OK && is_committed)
        rc = bough__layer_read_log(layer, state.txn);
    if (rc == BOUGH_OK && is_committed) {
        bough__shm_raise_durable(&layer->shm, state.txn); /* first, as in checkpoint.c */
        bough__shm_publish(&layer->shm, &state);
    }
    if (rc == BOUGH_OK)
        bough__shm_clear(&layer->shm, BOUGH__SHM_PREPARED);
    pthread_mutex_unlock(&layer->mutex);
    return rc;
}

void bough__layer_resolve_if_free(struct bough__layer *layer)
{
    struct bough__error_state error;
    if (!(bough__shm_flags(&layer->shm) & BOUGH__SHM_PREPARED))
        return;
    bough__error_save(&error);
    if (bough__layer_lock_writer(layer) == BOUGH_OK) /* resolves */
        bough__layer_unlock_writer(layer);
    bough__error_restore(&error);
}
