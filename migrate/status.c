/* status.c - the state of each migration: bough__status_make of plan.h, and what it gives back. */
#include "plan.h"
#include "report.h"

#include <string.h>

static bool put(bough_migration_list *out, const struct bough__migration *applied,
                const struct bough__migration *defined)
{
    const struct bough__migration *shown = defined ? defined : applied;
    bough_migration_entry *entry = &out->items[out->count++];

    entry->defined_at_ms = shown->defined_at_ms;
    entry->applied_at_ms = applied ? applied->applied_at_ms : 0;
    entry->version = sqlite3_mprintf("%s", shown->version);
    entry->name = sqlite3_mprintf("%s", shown->name);
    entry->description = shown->description ? sqlite3_mprintf("%s", shown->description) : NULL;
    entry->ephemeral = bough__migration_acts_ephemeral(applied, defined);
    if (!applied)
        entry->state = BOUGH_MIGRATION_PENDING;
    else if (!defined)
        entry->state = entry->ephemeral ? BOUGH_MIGRATION_APPLIED : BOUGH_MIGRATION_MISSING;
    else
        entry->state = bough__migration_has_changed(applied, defined) ? BOUGH_MIGRATION_CHANGED
                                                                      : BOUGH_MIGRATION_APPLIED;
    out->in_step = out->in_step && entry->state == BOUGH_MIGRATION_APPLIED;
    return entry->version && entry->name && (entry->description || !shown->description);
}

int bough__status_make(bough_migration_list *out, const struct bough__migrations *applied,
                       const struct bough__migrations *defined)
{
    size_t i = 0;
    size_t j = 0;
    size_t size = (applied->count + defined->count + 1) * sizeof out->items[0];
    bool ok = true;

    memset(out, 0, sizeof *out);
    out->in_step = true;
    out->items = sqlite3_malloc64(size);
    if (!out->items)
        return bough__migrate_fail_memory();
    memset(out->items, 0, size);
    while (ok && (i < applied->count || j < defined->count)) {
        const struct bough__migration *a = i < applied->count ? &applied->items[i] : NULL;
        const struct bough__migration *d = j < defined->count ? &defined->items[j] : NULL;
        bool takes_a = a && (!d || a->defined_at_ms <= d->defined_at_ms);
        bool takes_d = d && (!a || (takes_a ? bough__migration_is_same(a, d) : true));

        ok = put(out, takes_a ? a : NULL, takes_d ? d : NULL);
        i += takes_a;
        j += takes_d;
    }
    if (ok)
        return BOUGH_OK;
    bough_migration_list_release(out);
    return bough__migrate_fail_memory();
}

void bough_migration_list_release(bough_migration_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        sqlite3_free(list->items[i].version);
        sqlite3_free(list->items[i].name);
        sqlite3_free(list->items[i].description);
    }
    sqlite3_free(list->items);
    memset(list, 0, sizeof *list);
}
