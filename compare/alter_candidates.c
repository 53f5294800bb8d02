/* alter_candidates.c - tables of which ALTER TABLE may make what is wanted: their columns say so, see alters.c. */
#include "alters_work.h"

#include "columns.h"

#include <stdlib.h>
#include <string.h>

static bool is_altered_table(const struct bough__schema_change *change)
{
    return !strcmp(change->type, "table") && (change->change == BOUGH_CHANGED || change->change == BOUGH_RENAMED);
}

bool bough__alter_is_only_renamed(const struct bough__schema_change *change)
{
    return change->change == BOUGH_RENAMED && !strcmp(bough__schema_body(change->from_sql, change->type),
                                                      bough__schema_body(change->to_sql, change->type));
}

const char *bough__alter_name_in_from(const struct bough__schema_change *change)
{
    return change->old_name ? change->old_name : change->name;
}

static int collect_names(struct bough__alter_candidate *candidate, const struct bough__columns *from,
                         const struct bough__columns *to)
{
    for (size_t i = 0; i < from->count; i++) {
        const char *old_name = from->items[i].name;
        const char *new_name = to->items[i].name;

        if (strcmp(old_name, new_name) != 0 &&
            (!bough__names_add(&candidate->old_names, old_name) || !bough__names_add(&candidate->new_names, new_name)))
            return SQLITE_NOMEM;
    }
    for (size_t i = from->count; i < to->count; i++) {
        if (!bough__names_add(&candidate->added, to->items[i].name) ||
            !bough__names_add(&candidate->generated, to->items[i].is_hidden ? "generated" : ""))
            return SQLITE_NOMEM;
    }
    return SQLITE_OK;
}

/* The columns of one in their order, then more. */
static bool is_prefix(const struct bough__columns *from, const struct bough__columns *to)
{
    bool same = from->count <= to->count;

    for (size_t i = 0; same && i < from->count; i++)
        same = from->items[i].partner == i;
    return same;
}

static int read_candidate(struct bough__alter_candidate *candidate, sqlite3 **out_failed,
                          const struct bough__alter_work *work, const struct bough__schema_change *change)
{
    struct bough__columns before = {NULL, 0};
    struct bough__columns after = {NULL, 0};
    const struct bough__columns_side from = {&before, work->from, bough__alter_name_in_from(change)};
    const struct bough__columns_side to = {&after, work->to, change->name};
    int rc = SQLITE_OK;

    *out_failed = work->from;
    rc = bough__columns_read(&before, from.handle, from.table);
    if (rc == SQLITE_OK) {
        *out_failed = work->to;
        rc = bough__columns_read(&after, to.handle, to.table);
    }
    if (rc == SQLITE_OK)
        rc = bough__columns_match(out_failed, &from, &to);
    if (rc == SQLITE_OK && is_prefix(&before, &after))
        rc = collect_names(candidate, &before, &after);
    bough__columns_release(&before);
    bough__columns_release(&after);
    return rc;
}

int bough__alter_find_candidates(struct bough__alter_work *work, sqlite3 **out_failed)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < work->schema->count; i++) {
        struct bough__alter_candidate *items = NULL;

        if (!is_altered_table(&work->schema->items[i]) || bough__alter_is_only_renamed(&work->schema->items[i]))
            continue;
        items = bough__grow(work->candidates, work->count, sizeof items[0]);
        if (!items)
            return SQLITE_NOMEM;
        work->candidates = items;
        items += work->count++;
        *items = (struct bough__alter_candidate){.change = i};
        rc = read_candidate(items, out_failed, work, &work->schema->items[i]);
        if (rc == SQLITE_OK && !items->old_names.count && !items->added.count)
            work->count--;
    }
    return rc;
}

void bough__alter_release_candidate(struct bough__alter_candidate *candidate)
{
    bough__names_release(&candidate->old_names);
    bough__names_release(&candidate->new_names);
    bough__names_release(&candidate->added);
    bough__names_release(&candidate->generated);
    bough__names_release(&candidate->definitions);
    bough__names_release(&candidate->values);
}
