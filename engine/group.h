/* group.h - one transaction over several layers of a store, all or none.
 *
 * Who has begun and written a transaction on each of the layers commits them together:
 *   1. prepare  each layer gets pages and record, synced; the record counts only with the decision that it names
 *   2. decide   one durable record in the store's file of decisions (decision.h). From here on all are committed
 *   3. publish  each layer's new state, for everyone to see
 * What a crash or a kill leaves between 1 and 3 is resolved by whoever takes a layer's writer lock next, or by the
 * first opener's recovery: with a decision the prepared record is a transaction like any other, without one it never
 * was. A flag in shared memory tells that a layer has such a record. Until then readers see the state before.
 */
#ifndef BOUGH_ENGINE_GROUP_H
#define BOUGH_ENGINE_GROUP_H

#include "decision.h"
#include "layer.h"

/* Commits what was written to each, durably, as bough__txn_commit does for one: on failure the changes of all are
 * dropped. They are of one store, of different layers, and each is dirty. out_numbers: of each transaction. */
int bough__group_commit(struct bough__txn *const *txns, size_t count, uint64_t *out_numbers);

/* The steps of it, which txn.c takes. prepare: *out tells layer and transaction; on failure nothing is left. */
int bough__txn_prepare(struct bough__member *out, struct bough__txn *txn, const struct bough__decision *decision);
/* Publishes a prepared transaction, or lets go of it. */
void bough__txn_decide(struct bough__txn *txn, bool is_committed);
/* What follows a commit, tried with this result: a checkpoint where it is time, and the next transaction begins. */
void bough__txn_conclude(struct bough__txn *txn, int rc);

struct bough__layer;
/* For the writer of the layer: what a dead one prepared is published or dropped. No effect without the flag. */
int bough__layer_resolve(struct bough__layer *layer);
/* The same for a reader, as far as it can be had at once: a live writer resolves his own. */
void bough__layer_resolve_if_free(struct bough__layer *layer);

#endif
