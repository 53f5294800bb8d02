/* hidden.h - hidden branches and their owners. See hidden.c. */
#ifndef BOUGH_ENGINE_HIDDEN_H
#define BOUGH_ENGINE_HIDDEN_H

#include "store.h"

/* Makes the handle the owner of the hidden branch with that id, whose row is not there yet. Inside a write transaction
 * of the catalog. */
int bough__hidden_own(struct bough_store *store, int64_t branch_id);
/* Takes that back, where the row did not come. */
void bough__hidden_disown(struct bough_store *store, int64_t branch_id);
/* Drops the hidden branches that nobody owns any more. What fails is left to the next time. */
void bough__hidden_sweep(struct bough_store *store);

#endif
