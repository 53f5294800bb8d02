/* test_ref.c - REFs and their addresses. */
#include "fixture.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void expect_id(bough_store *store, const char *ref, const char *id)
{
    bough_ref resolved;
    ASSERT_OK(bough_ref_resolve(&resolved, store, ref));
    ck_assert_msg(strcmp(resolved.id, id) == 0, "%s is %s", ref, resolved.id);
    bough_ref_release(&resolved);
    bough_ref_release(&resolved);
}

static int resolve(bough_store *store, const char *ref)
{
    bough_ref resolved;
    int rc = bough_ref_resolve(&resolved, store, ref);
    bough_ref_release(&resolved);
    return rc;
}

TEST(every_form)
{
    bough_store *store = fixture_store(2);
    char ids[4][BOUGH_ID_SIZE], text[2 * BOUGH_ID_SIZE];
    bough_tags tags;
    bough_ref ref;
    memcpy(ids[0], fixture_id(store, "main"), BOUGH_ID_SIZE);
    for (int i = 1; i < 4; i++) {
        fixture_write(store, "main", 0, (uint8_t)(10 + i));
        memcpy(ids[i], fixture_commit(store, "main", ""), BOUGH_ID_SIZE);
    }
    ASSERT_OK(bough_tag_create(&tags, store, "v/1", "main~1"));
    bough_tags_release(&tags);
    expect_id(store, "main", ids[3]);
    expect_id(store, "main~0", ids[3]);
    expect_id(store, "main~1", ids[2]);
    expect_id(store, "main~003", ids[0]);
    expect_id(store, "v/1", ids[2]);
    expect_id(store, "v/1~0", ids[2]);
    expect_id(store, "v/1~2", ids[0]);
    for (size_t len = 6; len <= 64; len++) { /* any prefix, in either case, with and without steps */
        memcpy(text, ids[2], len);
        text[len] = 0;
        expect_id(store, text, ids[2]);
        strcat(text, "~1");
        for (char *c = text; *c; c++)
            *c = (char)toupper((unsigned char)*c);
        expect_id(store, text, ids[1]);
    }
    fixture_write(store, "main", 0, 99);
    ASSERT_OK(bough_ref_resolve(&ref, store, "main"));
    ck_assert_str_eq(ref.branch, "main");
    ck_assert(ref.dirty);
    bough_ref_release(&ref);
    ASSERT_OK(bough_ref_resolve(&ref, store, "main~0"));
    ck_assert_ptr_null(ref.branch);
    ck_assert(!ref.dirty);
    bough_ref_release(&ref);
    ck_assert_uint_eq(fixture_read(store, "main", 0), 99);
    ck_assert_uint_eq(fixture_read(store, "main~0", 0), 13);
    ck_assert_uint_eq(fixture_read(store, "v/1", 0), 12);
    bough_store_close(store);
}

TEST(what_is_not_there)
{
    static const char *const missing[] = {"nothing", "nothing~1", "main~1", "main~99999999999999999999999",
                                          "abcde",   "abcde~0",   "000000", "a/b/c",
                                          "12345"};
    static const char *const wrong[] = {"",        "~",   "~1", "main~", "main~x", "main~1~1", "main~-1", "main~1x",
                                        "main~ 1", "a b", "-x", ".x",    "x-wal",  "main^",    "a//b",    "main/"};
    bough_store *store = fixture_store(1);
    char text[128];
    for (size_t i = 0; i < COUNT_OF(missing); i++)
        ck_assert_msg(resolve(store, missing[i]) == BOUGH_NOT_FOUND, "%s", missing[i]);
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        ck_assert_msg(resolve(store, wrong[i]) == BOUGH_USAGE, "%s", wrong[i]);
    memset(text, 'a', 65); /* longer than an id: a name like any other */
    text[65] = 0;
    ck_assert_int_eq(resolve(store, text), BOUGH_NOT_FOUND);
    fixture_fork(store, text, "main");
    ck_assert_int_eq(resolve(store, text), BOUGH_OK);
    bough_store_close(store);
}

struct candidate {
    uint8_t id[BOUGH__DIGEST_SIZE];
    int number;
};

static int compare(const void *a, const void *b)
{
    return memcmp(((const struct candidate *)a)->id, ((const struct candidate *)b)->id, BOUGH__DIGEST_SIZE);
}

static void number_row(struct bough__commit_row *out, int number)
{
    char message[16];
    snprintf(message, sizeof message, "%d", number);
    memset(out, 0, sizeof *out);
    out->created_at_ms = 1;
    out->author = strdup("x");
    out->message = strdup(message);
    ASSERT_OK(bough__root_id(out->root, &out->tree));
    ASSERT_OK(bough__commit_id(out->id, out));
}

/* Twenty thousand commits have some that share six digits. */
TEST(ambiguous_prefix)
{
    enum { COUNT = 20000 };
    bough_store *store = fixture_store(1);
    struct candidate *candidates = malloc(COUNT * sizeof *candidates);
    struct bough__commit_row row;
    char first[BOUGH_ID_SIZE], second[BOUGH_ID_SIZE], prefix[BOUGH_ID_SIZE] = "";
    size_t pair = 0;
    for (int i = 0; i < COUNT; i++) {
        number_row(&row, i);
        memcpy(candidates[i].id, row.id, sizeof row.id);
        candidates[i].number = i;
        bough__commit_row_clear(&row);
    }
    qsort(candidates, COUNT, sizeof *candidates, compare);
    while (pair + 1 < COUNT && memcmp(candidates[pair].id, candidates[pair + 1].id, 3) != 0)
        pair++;
    ck_assert_uint_lt(pair + 1, COUNT);
    ASSERT_OK(bough__catalog_begin(store->catalog));
    for (size_t i = pair; i < pair + 2; i++) {
        number_row(&row, candidates[i].number);
        ASSERT_OK(bough__catalog_commit_insert(store->catalog, &row));
        bough__hex(i == pair ? first : second, row.id, sizeof row.id);
        bough__commit_row_clear(&row);
    }
    ASSERT_OK(bough__catalog_commit(store->catalog));
    memcpy(prefix, first, 6);
    ck_assert_int_eq(resolve(store, prefix), BOUGH_USAGE);
    ck_assert_ptr_nonnull(strstr(bough_error_message(), first));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), second));
    ck_assert_int_eq(resolve(store, strcat(prefix, "~0")), BOUGH_USAGE);
    expect_id(store, first, first);
    expect_id(store, second, second);
    free(candidates);
    bough_store_close(store);
}

TEST(pruned_commits)
{
    bough_store *store = fixture_store(1);
    struct bough__commit_row row;
    bough_branches made;
    bough_tags tags;
    bough_commits log;
    bough_page_diff diff;
    char id[BOUGH_ID_SIZE];
    const char *name = "a";
    number_row(&row, 1);
    row.pruned = true;
    ASSERT_OK(bough__catalog_begin(store->catalog));
    ASSERT_OK(bough__catalog_commit_insert(store->catalog, &row));
    ASSERT_OK(bough__catalog_commit(store->catalog));
    bough__hex(id, row.id, sizeof row.id);
    bough__commit_row_clear(&row);
    ASSERT_OK(bough_commit_log(&log, store, id, 0)); /* it stays in the log */
    ck_assert(log.items[0].pruned);
    bough_commits_release(&log);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_branch_create(&made, store, &name, 1, id, NULL));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "pruned"));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_tag_create(&tags, store, "v1", id));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_diff_pages(&diff, store, "main", id, NULL, NULL));
    bough_store_close(store);
}

static void expect_url(bough_store *store, const char *ref, const char *path_end, const char *uri_end)
{
    char *uri = NULL, *path = NULL, expected[8192];
    ASSERT_OK(bough_ref_url(&uri, &path, store, ref));
    snprintf(expected, sizeof expected, "%s/db/%s", bough_store_path(store), path_end);
    ck_assert_str_eq(path, expected);
    ck_assert_ptr_nonnull(strstr(uri, uri_end));
    ck_assert_uint_eq(strlen(strstr(uri, uri_end)), strlen(uri_end));
    ck_assert_int_eq(strncmp(uri, "file:/", 6), 0);
    free(uri);
    free(path);
}

TEST(urls)
{
    bough_store *store = fixture_store(1);
    bough_tags tags;
    char *uri = NULL, *path = NULL, at[128];
    fixture_fork(store, "a/b", "main");
    ASSERT_OK(bough_tag_create(&tags, store, "v1", "main"));
    bough_tags_release(&tags);
    ck_assert_int_eq(rmdir(harness_path("s.bough/run")), 0); /* nothing is opened for it */
    expect_url(store, "a/b", "a/b", "/s.bough/db/a/b?vfs=bough");
    expect_url(store, "v1", "v1", "/s.bough/db/v1?vfs=bough&at=v1");
    expect_url(store, "a/b~0", "a/b~0", "/s.bough/db/a/b~0?vfs=bough&at=a/b~0");
    snprintf(at, sizeof at, "?vfs=bough&at=%s", fixture_id(store, "main~0"));
    expect_url(store, fixture_id(store, "main~0"), fixture_id(store, "main~0"), at);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_ref_url(&uri, &path, store, "nothing"));
    ck_assert(uri == NULL && path == NULL);
    bough_store_close(store);
}

TEST(urls_of_a_store_with_a_strange_name)
{
    bough_store *store = fixture_store(1);
    char *uri = NULL, *path = NULL;
    bough_store_close(store);
    ck_assert_int_eq(rename(harness_path("s.bough"), harness_path("50% #1?.bough")), 0);
    ASSERT_OK(bough_store_open(&store, harness_path("50% #1?.bough"), NULL));
    ASSERT_OK(bough_ref_url(&uri, &path, store, "main"));
    ck_assert_ptr_nonnull(strstr(uri, "/50%25%20%231%3F.bough/db/main?vfs=bough"));
    ck_assert_ptr_nonnull(strstr(path, "/50% #1?.bough/db/main"));
    free(uri);
    free(path);
    bough_store_close(store);
}

int main(void)
{
    static const struct harness_case cases[] = {CASE(every_form),
                                                CASE(what_is_not_there),
                                                CASE(ambiguous_prefix),
                                                CASE(pruned_commits),
                                                CASE(urls),
                                                CASE(urls_of_a_store_with_a_strange_name)};
    return harness_run("ref", cases, COUNT_OF(cases));
}
