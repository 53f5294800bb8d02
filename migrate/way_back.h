/* way_back.h - which migrations are undone by dropping what was written since: no SQL, exact to the byte, in the time
 * of a reset. */
#ifndef BOUGH_MIGRATE_WAY_BACK_H
#define BOUGH_MIGRATE_WAY_BACK_H

#include "plan.h"

/* What the commit says that an apply, or a rollback by SQL, makes. The caller frees it with sqlite3_free. */
char *bough__way_back_message(const char *verb, const struct bough__migration *migration, const char *table);

/* The state to go back from. */
struct bough__here {
    sqlite3 *db;      /* shows it, without a transaction */
    const char *head; /* this commit; or the commit before it, where what db shows is none */
    bool is_commit;
};

/* How many of plan->roll_back, from the first one on, have nothing on top of them but what the migrator keeps for
 * itself: here is what the commit that the migration made was but for that, the commit before it what the commit of the
 * next was, and so on. out_to: the commit before the last of them. What gc has pruned does not count. */
int bough__way_back_find(size_t *out_count, char out_to[BOUGH_ID_SIZE], bough_store *store,
                        const struct bough__here *here, const struct bough__plan *plan, const char *table);

#endif
