/* undo.c - back to the state before the last run: bough__migrate_undo of branch.h. */
#include "branch.h"
#include "forks.h"
#include "report.h"
#include "run.h"
#include "table.h"

#include <stdlib.h>
#include <string.h>

/* From the newest on: each undo stands for the newest run before it that is not undone yet. NULL: no run is left. */
static const bough_move *last_run(const bough_moves *moves)
{
    size_t undone = 0;

    for (size_t i = 0; i < moves->count; i++) {
        const char *note = moves->items[i].note;

        if (!note || strncmp(note, BOUGH__RUN_NOTE, strlen(BOUGH__RUN_NOTE)) != 0)
            continue;
        if (strcmp(note, BOUGH__UNDO_NOTE) == 0)
            undone++;
        else if (undone > 0)
            undone--;
        else
            return &moves->items[i];
    }
    return NULL;
}

static int read_applied(struct bough__migrations *out, bough_store *store, const char *ref, const char *table)
{
    sqlite3 *db = NULL;
    int rc = bough__state_open(&db, store, ref);

    if (rc == BOUGH_OK)
        rc = bough__applied_read(out, db, table);
    sqlite3_close(db);
    return rc;
}

/* ---- what the undo does, as a run ---- */

static int by_application(const void *a, const void *b)
{
    const struct bough__migration *left = *(const struct bough__migration *const *)a;
    const struct bough__migration *right = *(const struct bough__migration *const *)b;

    return (left->ordinal > right->ordinal) - (left->ordinal < right->ordinal);
}

/* Those of `list` that are not the same in `other`, in the order in which they were applied. */
static int difference(const struct bough__migration ***out, size_t *out_count, const struct bough__migrations *list,
                      const struct bough__migrations *other)
{
    const struct bough__migration **items = sqlite3_malloc64((list->count + 1) * sizeof items[0]);

    *out = items;
    *out_count = 0;
    if (!items)
        return bough__migrate_fail_memory();
    for (size_t i = 0; i < list->count; i++) {
        const struct bough__migration *twin = bough__migrations_find(other, list->items[i].defined_at_ms);

        if (!twin || !bough__migration_is_same(&list->items[i], twin) ||
            twin->applied_at_ms != list->items[i].applied_at_ms)
            items[(*out_count)++] = &list->items[i];
    }
    if (*out_count)
        qsort(items, *out_count, sizeof items[0], by_application);
    return BOUGH_OK;
}

static int describe(bough_migration_run *out, const struct bough__migrations *now,
                    const struct bough__migrations *then, const bough_migrate_options *options)
{
    const struct bough__migration **gone = NULL;
    const struct bough__migration **back = NULL;
    size_t gone_count = 0;
    size_t back_count = 0;
    int rc = difference(&gone, &gone_count, now, then);

    if (rc == BOUGH_OK)
        rc = difference(&back, &back_count, then, now);
    for (size_t i = gone_count; rc == BOUGH_OK && i-- > 0;)
        rc = bough__run_add_rolled_back(out, gone[i], options);
    for (size_t i = 0; rc == BOUGH_OK && i < back_count; i++)
        rc = bough__run_add_applied(out, back[i], options);
    sqlite3_free(gone);
    sqlite3_free(back);
    return rc;
}

static int reset(bough_migration_run *out, bough_store *store, const char *branch, const char *to,
                 const bough_migrate_options *options)
{
    bough_options used = BOUGH_OPTIONS_INIT;
    bough_sealed sealed = {0};
    int rc = BOUGH_OK;

    memcpy(out->commit, to, BOUGH_ID_SIZE);
    out->by_overlay = true;
    if (options->dry_run)
        return BOUGH_OK;
    used.note = BOUGH__UNDO_NOTE;
    used.message = "before " BOUGH__UNDO_NOTE;
    rc = bough_branch_reset(&sealed, store, branch, to, &used);
    bough_sealed_release(&sealed);
    return rc;
}

int bough__migrate_undo(bough_migration_run *out, bough_store *store, const char *branch,
                        const bough_migrate_options *options)
{
    struct bough__migrations now = {0};
    struct bough__migrations then = {0};
    bough_moves moves = {0};
    const bough_move *run = NULL;
    int rc = bough_branch_moves(&moves, store, branch, 0);

    memset(out, 0, sizeof *out);
    if (rc == BOUGH_OK && !(run = last_run(&moves)))
        rc = bough__migrate_fail(BOUGH_NOT_FOUND, "branch %s has no run of the migrator that could be undone", branch);
    if (rc == BOUGH_OK)
        rc = read_applied(&then, store, run->before, options->table);
    if (rc == BOUGH_OK)
        rc = read_applied(&now, store, branch, options->table);
    if (rc == BOUGH_OK)
        rc = reset(out, store, branch, run->before, options);
    if (rc == BOUGH_OK)
        rc = describe(out, &now, &then, options);
    bough__migrations_release(&now);
    bough__migrations_release(&then);
    bough_moves_release(&moves);
    if (rc != BOUGH_OK)
        bough_migration_run_release(out);
    return rc;
}
