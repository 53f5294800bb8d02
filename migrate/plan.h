/* plan.h - from what is applied and what is defined to what has to be done. Pure functions. */
#ifndef BOUGH_MIGRATE_PLAN_H
#define BOUGH_MIGRATE_PLAN_H

#include "migration.h"

/* Borrows the migrations of both lists, which must stay where they are. */
struct bough__plan {
    struct bough__migration **roll_back; /* of the applied ones, the last applied first */
    size_t roll_back_count;
    struct bough__migration **apply; /* of the defined ones, oldest first; no ephemeral ones */
    size_t apply_count;
    struct bough__migration **late; /* those of apply that are older than one that stays applied */
    size_t late_count;
    struct bough__migration **changed; /* of the defined ones: applied with other SQL, and left so */
    size_t changed_count;
    struct bough__migration **ephemeral; /* of the defined ones: to run last */
    size_t ephemeral_count;
    struct bough__migration **ephemeral_new; /* those of them that are not stored */
    size_t ephemeral_new_count;
    struct bough__migration **ephemeral_changed; /* those of them whose stored text gives way to the defined one */
    size_t ephemeral_changed_count;
};

/* Of options: action, limit, version_ms, late. BOUGH_REFUSED: options->late is to refuse, and there is a late one.
 * BOUGH_NOT_FOUND: version_ms. */
int bough__plan_make(struct bough__plan *out, const struct bough__migrations *applied,
                     const struct bough__migrations *defined, const bough_migrate_options *options);
void bough__plan_release(struct bough__plan *plan);
/* Nothing to roll back, to apply or to store? (Ephemeral ones that are stored as they are defined do not count.) */
bool bough__plan_is_empty(const struct bough__plan *plan);
/* BOUGH_REFUSED when one to roll back, the first `skip` left out, has no down; it is named. */
int bough__plan_check_downs(const struct bough__plan *plan, size_t skip);
/* BOUGH_REFUSED when something runs outside a transaction; it is named. */
int bough__plan_check_atomic(const struct bough__plan *plan);
/* The state of each migration, applied and defined, as status shows it. */
int bough__status_make(bough_migration_list *out, const struct bough__migrations *applied,
                       const struct bough__migrations *defined);

#endif
