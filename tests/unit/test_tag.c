/* test_tag.c - tags. */
#include "fixture.h"

#include <string.h>

TEST(make_list_remove)
{
    bough_store *store = fixture_store(2);
    bough_tags tags;
    char first[BOUGH_ID_SIZE];
    memcpy(first, fixture_id(store, "main"), sizeof first);
    ASSERT_OK(bough_tag_create(&tags, store, "v1", "main"));
    ck_assert_uint_eq(tags.count, 1);
    ck_assert_str_eq(tags.items[0].name, "v1");
    ck_assert_str_eq(tags.items[0].id, first);
    ck_assert_int_gt(tags.items[0].created_at_ms, 0);
    bough_tags_release(&tags);
    bough_tags_release(&tags);
    fixture_write(store, "main", 0, 9);
    fixture_commit(store, "main", "x");
    ASSERT_OK(bough_tag_create(&tags, store, "a/v2", "v1"));
    bough_tags_release(&tags);
    ASSERT_OK(bough_tag_list(&tags, store));
    ck_assert_uint_eq(tags.count, 2);
    ck_assert_str_eq(tags.items[0].name, "a/v2");
    ck_assert_str_eq(tags.items[0].id, first);
    ck_assert_str_eq(tags.items[1].name, "v1");
    bough_tags_release(&tags);
    ASSERT_OK(bough_tag_delete(&tags, store, "v1"));
    ck_assert_str_eq(tags.items[0].id, first);
    bough_tags_release(&tags);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_tag_delete(&tags, store, "v1"));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_tag_delete(&tags, store, "main")); /* a branch is none */
    ck_assert_str_eq(fixture_id(store, "a/v2"), first);
    bough_store_close(store);
}

TEST(one_namespace_with_branches)
{
    bough_store *store = fixture_store(2);
    bough_tags tags;
    bough_branches made;
    const char *name = "v1";
    const char *head = fixture_id(store, "main");
    fixture_write(store, "main", 0, 9);
    ASSERT_CODE(BOUGH_REFUSED, bough_tag_create(&tags, store, "main", "main"));
    ASSERT_CODE(BOUGH_USAGE, bough_tag_create(&tags, store, "a b", "main"));
    ASSERT_CODE(BOUGH_USAGE, bough_tag_create(&tags, store, "abcdef", "main"));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_tag_create(&tags, store, "v0", "nothing"));
    ck_assert_str_eq(fixture_id(store, "main"), head); /* what is refused commits nothing */
    ASSERT_OK(bough_tag_create(&tags, store, "v1", "main~0"));
    ck_assert_str_eq(tags.items[0].id, head);
    bough_tags_release(&tags);
    ASSERT_CODE(BOUGH_REFUSED, bough_tag_create(&tags, store, "v1", "main"));
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_create(&made, store, &name, 1, "main", NULL));
    ck_assert_str_eq(fixture_id(store, "main"), head);
    bough_store_close(store);
}

TEST(tag_of_a_dirty_branch_commits_it)
{
    bough_store *store = fixture_store(2);
    bough_tags tags;
    bough_commits log;
    fixture_write(store, "main", 0, 9);
    ASSERT_OK(bough_tag_create(&tags, store, "v1", "main"));
    bough_tags_release(&tags);
    fixture_write(store, "main", 0, 10);
    ck_assert_uint_eq(fixture_read(store, "v1", 0), 9);
    ck_assert_uint_eq(fixture_read(store, "v1~1", 0), 1);
    ASSERT_OK(bough_commit_log(&log, store, "v1", 0));
    ck_assert_uint_eq(log.count, 2);
    ck_assert(log.items[0].automatic);
    ck_assert_ptr_nonnull(strstr(log.items[0].message, "v1"));
    bough_commits_release(&log);
    bough_store_close(store);
}

int main(void)
{
    static const struct harness_case cases[] = {CASE(make_list_remove), CASE(one_namespace_with_branches),
                                                CASE(tag_of_a_dirty_branch_commits_it)};
    return harness_run("tag", cases, COUNT_OF(cases));
}
