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

/* Finds the commit to tag; what is newer than a branch's head is committed first. */
static int find_commit(uint8_t out[BOUGH__DIGEST_SIZE], bough_store *store, const char *name, const char *ref)
{
    struct bough__target target;
    bool changed = false;
    char *message = NULL;
    int rc = bough__target_resolve(&target, store, ref);
    if (rc != BOUGH_OK)
        return rc;
    if (target.has_branch) {
        message = bough__format("tag %s", name);
        rc = message ? bough__branch_seal(&changed, store, &target.branch, message, true) : BOUGH_NOMEM;
        memcpy(out, target.branch.head, BOUGH__DIGEST_SIZE);
    } else {
        memcpy(out, target.commit.id, BOUGH__DIGEST_SIZE);
    }
    free(message);
    bough__target_clear(&target);
    return rc;
}

static int insert(bough_tags *out, bough_store *store, const struct bough__tag_row *row)
{
    struct bough__commit_row commit = {0};
    int rc = bough__name_is_free(store->catalog, row->name);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit_by_id(&commit, store->catalog, row->commit);
    if (rc == BOUGH_OK)
        rc = bough__commit_usable(&commit);
    if (rc == BOUGH_OK)
        rc = bough__catalog_tag_insert(store->catalog, row);
    if (rc == BOUGH_OK)
        rc = add(out, row);
    bough__commit_row_clear(&commit);
    return rc;
}

int bough_tag_create(bough_tags *out, bough_store *store, const char *name, const char *ref)
{
    struct bough__tag_row row = {0};
    memset(out, 0, sizeof *out);
    int rc = bough__name_check(name);
    if (rc == BOUGH_OK)
        rc = bough__name_is_free(store->catalog, name); /* before anything is committed for it */
    if (rc == BOUGH_OK)
        rc = find_commit(row.commit, store, name, ref);
    if (rc == BOUGH_OK && !(row.name = bough__strdup(name)))
        rc = BOUGH_NOMEM;
    row.created_at_ms = bough__os_now_ms();
    if (rc == BOUGH_OK)
        rc = bough__catalog_begin(store->catalog);
    if (rc == BOUGH_OK) {
        rc = insert(out, store, &row);
        if (rc == BOUGH_OK)
            rc = bough__catalog_commit(store->catalog);
        else
            bough__catalog_rollback(store->catalog);
    }
    bough__tag_row_clear(&row);
    if (rc != BOUGH_OK)
        bough_tags_release(out);
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
