/* ref.c - REFs: taking them apart, looking them up, pinning what they mean, and their addresses.
 *
 *     REF  = ( BRANCH | TAG | hex digits ) [ "~" decimal digits ]
 *
 * Names and ids cannot be confused: six to 64 hex digits are no legal name, and `~` is in none. A branch's bare name
 * means its newest transaction; with `~N`, even `~0`, it is the commit that is meant. A hidden branch (hidden.c) is
 * found like any other.
 */
#include "store.h"

#include "error.h"
#include "os.h"
#include "uri.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX_MIN       6
#define AMBIGUOUS_LISTED 8

void bough__target_clear(struct bough__target *target)
{
    bough__branch_row_clear(&target->branch);
    bough__commit_row_clear(&target->commit);
    target->has_branch = false;
}

/* ---- taking apart ---- */

struct parts {
    char *base;
    bool has_steps;
    uint64_t steps; /* back along first parents */
};

static int parse_steps(uint64_t *out, const char *digits, const char *ref)
{
    *out = 0;
    if (!*digits || digits[strspn(digits, "0123456789")])
        return bough__fail(BOUGH_USAGE, "\"%.256s\" is no REF: '~' needs a number", ref);
    for (const char *c = digits; *c; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        *out = *out > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *out * 10 + digit;
    }
    return BOUGH_OK;
}

static int take_apart(struct parts *out, const char *ref)
{
    memset(out, 0, sizeof *out);
    const char *tilde = strchr(ref, '~');
    int rc = tilde ? parse_steps(&out->steps, tilde + 1, ref) : BOUGH_OK;
    if (rc != BOUGH_OK)
        return rc;
    out->has_steps = tilde != NULL;
    out->base = bough__format("%.*s", tilde ? (int)(tilde - ref) : (int)strlen(ref), ref);
    return out->base ? BOUGH_OK : BOUGH_NOMEM;
}

/* ---- looking up ---- */

static bool is_hex(const char *text)
{
    return *text && !text[strspn(text, "0123456789abcdefABCDEF")];
}

static int fail_ambiguous(const char *prefix, const struct bough__commit_row *rows, size_t count)
{
    char list[AMBIGUOUS_LISTED * (2 * BOUGH__DIGEST_SIZE + 2) + 8] = "";
    size_t len = 0;
    for (size_t i = 0; i < count && i < AMBIGUOUS_LISTED; i++) {
        len += (size_t)snprintf(list + len, sizeof list - len, "%s", i ? ", " : "");
        bough__hex(list + len, rows[i].id, BOUGH__DIGEST_SIZE);
        len += 2 * BOUGH__DIGEST_SIZE;
    }
    return bough__fail(BOUGH_USAGE, "%s is the beginning of several commits: %s%s", prefix, list,
                       count > AMBIGUOUS_LISTED ? ", ..." : "");
}

static int find_by_prefix(struct bough__commit_row *out, struct bough__catalog *catalog, const char *prefix)
{
    struct bough__commit_row *rows = NULL;
    size_t count = 0;
    int rc = bough__catalog_commits_by_prefix(&rows, &count, catalog, prefix, AMBIGUOUS_LISTED + 1);
    if (rc == BOUGH_OK && count == 0)
        rc = bough__fail(BOUGH_NOT_FOUND, "there is no commit %s", prefix);
    else if (rc == BOUGH_OK && count > 1)
        rc = fail_ambiguous(prefix, rows, count);
    else if (rc == BOUGH_OK) {
        *out = rows[0];
        memset(&rows[0], 0, sizeof rows[0]);
    }
    for (size_t i = 0; i < count; i++)
        bough__commit_row_clear(&rows[i]);
    free(rows);
    return rc;
}

static int find_by_name(struct bough__target *out, struct bough__catalog *catalog, const char *name)
{
    int rc = bough__catalog_branch_by_name(&out->branch, catalog, name);
    if (rc == BOUGH_OK) {
        out->has_branch = true;
        return bough__catalog_commit_by_id(&out->commit, catalog, out->branch.head);
    }
    if (rc != BOUGH_NOT_FOUND)
        return rc;
    struct bough__tag_row tag = {0};
    rc = bough__catalog_tag_by_name(&tag, catalog, name);
    if (rc == BOUGH_OK)
        rc = bough__catalog_commit_by_id(&out->commit, catalog, tag.commit);
    else if (rc == BOUGH_NOT_FOUND)
        rc = bough__fail(rc, "no branch, tag or commit is called %s", name);
    bough__tag_row_clear(&tag);
    return rc;
}

static int find_base(struct bough__target *out, struct bough__catalog *catalog, const char *base)
{
    size_t len = strlen(base);
    if (is_hex(base) && len >= PREFIX_MIN && len <= 2 * BOUGH__DIGEST_SIZE)
        return find_by_prefix(&out->commit, catalog, base);
    int rc = bough__name_check_any(base);
    return rc == BOUGH_OK ? find_by_name(out, catalog, base) : rc;
}

static int step_back(struct bough__commit_row *commit, struct bough__catalog *catalog, uint64_t steps, const char *ref)
{
    int rc = BOUGH_OK;
    for (uint64_t i = 0; rc == BOUGH_OK && i < steps; i++) {
        struct bough__commit_row parent = {0};
        if (commit->parent_count == 0)
            return bough__fail(BOUGH_NOT_FOUND, "%s goes back beyond the first commit, which is %" PRIu64 " back", ref,
                               i);
        rc = bough__catalog_commit_by_id(&parent, catalog, commit->parents[0]);
        bough__commit_row_clear(commit);
        *commit = parent;
    }
    return rc;
}

int bough__target_resolve(struct bough__target *out, struct bough_store *store, const char *ref)
{
    struct parts parts = {0};
    memset(out, 0, sizeof *out);
    int rc = take_apart(&parts, ref);
    if (rc == BOUGH_OK)
        rc = bough__catalog_read_begin(store->catalog);
    if (rc == BOUGH_OK) {
        rc = find_base(out, store->catalog, parts.base);
        if (rc == BOUGH_OK && parts.has_steps) {
            bough__branch_row_clear(&out->branch);
            out->has_branch = false;
            rc = step_back(&out->commit, store->catalog, parts.steps, ref);
        }
        bough__catalog_read_end(store->catalog);
    }
    free(parts.base);
    if (rc != BOUGH_OK)
        bough__target_clear(out);
    return rc;
}

/* ---- pinning ---- */

int bough__commit_usable(const struct bough__commit_row *commit)
{
    char id[2 * BOUGH__DIGEST_SIZE + 1];
    if (!commit->pruned)
        return BOUGH_OK;
    bough__hex(id, commit->id, sizeof commit->id);
    return bough__fail(BOUGH_NOT_FOUND, "commit %s was pruned: gc gave its pages back", id);
}

int bough__snapshot_of_commit(struct bough__snapshot *out, struct bough_store *store,
                              const struct bough__commit_row *commit)
{
    struct bough__commit_row now = {0};
    int rc = bough__commit_usable(commit);
    if (rc == BOUGH_OK)
        rc = bough__snapshot_of_tree(out, store->space, &commit->tree);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__catalog_commit_by_id(&now, store->catalog, commit->id);
    if (rc == BOUGH_OK)
        rc = bough__commit_usable(&now);
    if (rc == BOUGH_OK)
        bough__snapshot_is_sure(out);
    else
        bough__snapshot_release(out);
    bough__commit_row_clear(&now);
    return rc;
}

static int pin_branch(struct bough__snapshot *out, struct bough__layer **out_layer, struct bough_store *store,
                      struct bough__branch_row *row)
{
    int64_t id = row->id;
    int rc = bough__branch_layer(out_layer, store, row);
    for (int tries = 0; rc == BOUGH_STALE && tries < BOUGH__STALE_TRIES; tries++) {
        bough__branch_row_clear(row);
        rc = bough__catalog_branch_by_id(row, store->catalog, id);
        if (rc == BOUGH_OK)
            rc = bough__branch_layer(out_layer, store, row);
    }
    if (rc == BOUGH_OK)
        rc = bough__snapshot_pin(out, *out_layer);
    if (rc != BOUGH_OK) {
        bough__layer_close(*out_layer);
        *out_layer = NULL;
    }
    return rc;
}

int bough__target_pin(struct bough__snapshot *out, struct bough__layer **out_layer, struct bough_store *store,
                      struct bough__target *target)
{
    *out_layer = NULL;
    if (target->has_branch)
        return pin_branch(out, out_layer, store, &target->branch);
    return bough__snapshot_of_commit(out, store, &target->commit);
}

/* ---- public ---- */

static int is_dirty(bool *out, bough_store *store, const struct bough__branch_row *row)
{
    struct bough__layer *layer = NULL;
    bool absent = false;
    *out = false;
    int rc = bough__layer_is_absent(&absent, store->space, row->layer);
    if (rc != BOUGH_OK || absent)
        return rc;
    rc = bough__branch_layer(&layer, store, row);
    if (rc == BOUGH_OK)
        *out = bough__layer_newest(layer) > row->head_txn;
    bough__layer_close(layer);
    return rc;
}

int bough_ref_resolve(bough_ref *out, bough_store *store, const char *ref)
{
    struct bough__target target;
    memset(out, 0, sizeof *out);
    int rc = bough__target_resolve(&target, store, ref);
    if (rc != BOUGH_OK)
        return rc;
    bough__hex(out->id, target.commit.id, sizeof target.commit.id);
    if (target.has_branch) {
        out->branch = bough__strdup(target.branch.name);
        rc = out->branch ? is_dirty(&out->dirty, store, &target.branch) : BOUGH_NOMEM;
    }
    bough__target_clear(&target);
    if (rc != BOUGH_OK)
        bough_ref_release(out);
    return rc;
}

void bough_ref_release(bough_ref *ref)
{
    free(ref->branch);
    memset(ref, 0, sizeof *ref);
}

static char *uri_of(const char *path, const char *ref, bool is_branch)
{
    char *encoded = is_branch ? NULL : bough__percent_encode(ref);
    char *parameters = is_branch ? bough__strdup("vfs=bough")
                       : encoded ? bough__format("vfs=bough&at=%s", encoded)
                                 : NULL;
    char *uri = parameters ? bough__uri(path, parameters) : NULL;
    free(parameters);
    free(encoded);
    return uri;
}

int bough_ref_url(char **out_uri, char **out_path, bough_store *store, const char *ref)
{
    struct bough__target target;
    *out_uri = *out_path = NULL;
    int rc = bough__target_resolve(&target, store, ref);
    if (rc != BOUGH_OK)
        return rc;
    rc = target.has_branch ? BOUGH_OK : bough__commit_usable(&target.commit);
    if (rc != BOUGH_OK) {
        bough__target_clear(&target);
        return rc;
    }
    char *path = bough__format("%s/" BOUGH__STORE_FILE "/%s", store->space->directory, ref);
    char *uri = path ? uri_of(path, ref, target.has_branch) : NULL;
    bough__target_clear(&target);
    if (!uri) {
        free(path);
        return BOUGH_NOMEM;
    }
    *out_uri = uri;
    *out_path = path;
    return BOUGH_OK;
}
