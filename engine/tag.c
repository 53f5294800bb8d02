/* tag.c - tags: names for commits, in one namespace with branches. */
#include "store.h"

#include "error.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

void bough_tags_release(bough_tags *tags)
{
    for (size_t i = 0; i < tags->count; i++)
        free(tags->items[i].name);
    free(tags->items);
    memset(tags, 0, sizeof *tags);
}

static int add(void *context, const struct bough__tag_row *row)
{
    bough_tags *tags = context;
    bough_tag *items = bough__realloc(tags->items, (tags->count + 1) * sizeof *items);
    if (!items)
        return BOUGH_NOMEM;
    tags->items = items;
    bough_tag *tag = &items[tags->count];
    tag->name = bough__strdup(row->name);
    if (!tag->name)
        return BOUGH_NOMEM;
    bough__hex(tag->id, row->commit, sizeof row->commit);
    tag->created_at_ms = row->created_at_ms;
    tags->count++;
    return BOUGH_OK;
}

int bough_tag_list(bough_tags *out, bough_store *store)
{
    memset(out, 0, sizeof *out);
    int rc = bough__catalog_tags(store->catalog, add, out);
    if (rc != BOUGH_OK)
        bough_tags_release(out);
    return rc;
}

static int insert(bough_tags *out, bough_store *store, const struct bough__tag_row *row)
{
    int rc = bough__name_is_free(store->catalog, row->name);
    if (rc == BOUGH_OK)
        rc = bough__catalog_tag_insert(store->catalog, row);
    return rc == BOUGH_OK ? add(out, row) : rc;
}

/* One transaction: the commit, where the REF is a branch that needs one, and the tag. */
static int record(bough_tags *out, bough_store *store, struct bough__tag_row *row, const struct bough__target *target,
                  struct bough__seal *seal)
{
    char *message = bough__format("tag %s", row->name);
    int rc = message ? bough__catalog_begin(store->catalog) : bough__fail_memory();
    if (rc == BOUGH_OK) {
        rc = bough__target_commit(row->commit, seal, target, store, message, false);
        if (rc == BOUGH_OK)
            rc = insert(out, store, row);
        if (rc == BOUGH_OK)
            rc = bough__catalog_commit(store->catalog);
        else
            bough__catalog_rollback(store->catalog);
    }
    free(message);
    return rc;
}

static int create_once(bough_tags *out, bough_store *store, struct bough__tag_row *row, const char *ref)
{
    struct bough__target target = {0};
    struct bough__seal seal = {0};
    int rc = bough__name_is_free(store->catalog, row->name); /* before anything is folded for it */
    if (rc == BOUGH_OK)
        rc = bough__target_resolve(&target, store, ref);
    if (rc == BOUGH_OK && target.has_branch)
        rc = bough__seal_begin(&seal, store, &target.branch);
    if (rc == BOUGH_OK)
        rc = record(out, store, row, &target, &seal);
    bough__seal_end(&seal);
    bough__target_clear(&target);
    if (rc != BOUGH_OK)
        bough_tags_release(out);
    return rc;
}

int bough_tag_create(bough_tags *out, bough_store *store, const char *name, const char *ref)
{
    struct bough__tag_row row = {.name = (char *)name, .created_at_ms = bough__os_now_ms()};
    memset(out, 0, sizeof *out);
    int rc = bough__name_check(name);
    if (rc == BOUGH_OK)
        rc = BOUGH_STALE;
    for (int tries = 0; rc == BOUGH_STALE && tries < BOUGH__STALE_TRIES; tries++)
        rc = create_once(out, store, &row, ref);
    return rc;
}

int bough_tag_delete(bough_tags *out, bough_store *store, const char *name)
{
    struct bough__tag_row row = {0};
    memset(out, 0, sizeof *out);
    int rc = bough__catalog_begin(store->catalog);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__catalog_tag_by_name(&row, store->catalog, name);
    if (rc == BOUGH_OK)
        rc = add(out, &row);
    if (rc == BOUGH_OK)
        rc = bough__catalog_tag_delete(store->catalog, name);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit(store->catalog);
    else
        bough__catalog_rollback(store->catalog);
    bough__tag_row_clear(&row);
    if (rc != BOUGH_OK)
        bough_tags_release(out);
    return rc;
}
