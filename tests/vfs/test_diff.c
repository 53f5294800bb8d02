/* test_diff.c - bough_diff_connections: pages that differ between what two connections read. */
#include "database.h"

#include <stdio.h>
#include <string.h>

static void fork_branch(const char *name)
{
    bough_store *store = NULL;
    bough_branches made = {0};
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), NULL));
    ASSERT_OK(bough_branch_create(&made, store, &name, 1, "main", NULL));
    bough_branches_release(&made);
    bough_store_close(store);
}

static int count_page(void *context, char kind, uint64_t page)
{
    (void)page;
    ((uint64_t *)context)[kind == 'c' ? 0 : kind == 'a' ? 1 : 2]++;
    return 0;
}

/* Runs to the end inside the transaction, so that the state is pinned. */
static void begin(sqlite3 *db)
{
    database_run(db, "BEGIN");
    database_number(db, "SELECT count(*) FROM sqlite_schema");
}

TEST(states_that_are_read)
{
    bough_page_diff diff;
    uint64_t kinds[3] = {0};
    database_store("s");
    sqlite3 *main_db = database_open();
    database_fill(main_db, 200, 100);
    fork_branch("b");
    sqlite3 *from = database_open_uri(database_uri("s", "main", "")),
            *to = database_open_uri(database_uri("s", "b", ""));
    sqlite3 *past = database_open_uri(database_uri("s", "main", "&at=main~0"));
    begin(from);
    begin(to);
    begin(past);
    /* Whatever is committed from here on is not theirs. */
    database_run(main_db, "UPDATE t SET b = 'x' WHERE a = 1");
    ASSERT_OK(bough_diff_connections(&diff, from, to, count_page, kinds));
    ck_assert(diff.identical);
    ASSERT_OK(bough_diff_connections(&diff, past, from, count_page, kinds));
    ck_assert(diff.identical);
    ck_assert_uint_eq(kinds[0] + kinds[1] + kinds[2], 0);
    database_run(from, "COMMIT");
    begin(from);
    database_run(main_db, "CREATE TABLE more AS SELECT * FROM t");
    ASSERT_OK(bough_diff_connections(&diff, to, from, count_page, kinds));
    ck_assert(!diff.identical);
    ck_assert_uint_eq(diff.changed, kinds[0]);
    ck_assert_uint_eq(diff.changed, 2); /* page 1 and the row's */
    ck_assert_uint_eq(diff.added + diff.removed, 0);
    database_close(past);
    database_close(to);
    database_close(from);
    database_close(main_db);
}

TEST(connections_that_cannot_be_compared)
{
    bough_page_diff diff;
    database_store("s");
    database_store("other");
    sqlite3 *a = database_open(), *b = database_open_uri(database_uri("s", "main", ""));
    sqlite3 *foreign = database_open_uri(database_uri("other", "main", "")), *memory = database_open_uri(":memory:");
    database_fill(a, 10, 10);
    database_fill(foreign, 10, 10);
    begin(a);
    ASSERT_CODE(BOUGH_USAGE, bough_diff_connections(&diff, a, b, NULL, NULL));
    begin(memory);
    ASSERT_CODE(BOUGH_USAGE, bough_diff_connections(&diff, a, memory, NULL, NULL));
    begin(foreign);
    ASSERT_CODE(BOUGH_USAGE, bough_diff_connections(&diff, a, foreign, NULL, NULL));
    database_run(b, "BEGIN IMMEDIATE");
    ASSERT_CODE(BOUGH_USAGE, bough_diff_connections(&diff, a, b, NULL, NULL));
    database_run(b, "ROLLBACK");
    begin(b);
    ASSERT_OK(bough_diff_connections(&diff, a, b, NULL, NULL));
    ck_assert(diff.identical);
    database_close(memory);
    database_close(foreign);
    database_close(b);
    database_close(a);
}

/* Blocks are not pages while the writer that changed the page size is in exclusive mode: which pages differ is not
 * known, and all that there may be are told. */
TEST(blocks_that_are_no_pages)
{
    bough_page_diff diff;
    uint64_t kinds[3] = {0};
    database_store("s");
    sqlite3 *main_db = database_open();
    database_fill(main_db, 200, 100);
    fork_branch("b");
    sqlite3 *writer = database_open_uri(database_uri("s", "b", ""));
    int64_t old_size = database_number(writer, "PRAGMA page_size");
    database_run(writer, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA page_size = 8192; VACUUM");
    ck_assert_int_ne(old_size, 8192);
    sqlite3 *from = database_open_uri(database_uri("s", "main", "")),
            *to = database_open_uri(database_uri("s", "b", "")), *same = database_open_uri(database_uri("s", "b", ""));
    begin(from);
    begin(to);
    begin(same);
    int64_t from_bytes =
        database_number(from, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
    int64_t to_bytes = database_number(to, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
    ck_assert_int_eq(database_number(to, "PRAGMA page_size"), 8192);
    ASSERT_OK(bough_diff_connections(&diff, from, to, count_page, kinds));
    ck_assert(!diff.identical);
    ck_assert_uint_eq(kinds[0], (uint64_t)(from_bytes > to_bytes ? from_bytes : to_bytes) / 512);
    ck_assert_uint_eq(kinds[1] + kinds[2], 0);
    kinds[0] = 0;
    ASSERT_OK(bough_diff_connections(&diff, to, from, count_page, kinds));
    ck_assert_uint_eq(kinds[0], (uint64_t)(from_bytes > to_bytes ? from_bytes : to_bytes) / 512);
    kinds[0] = 0;
    ASSERT_OK(bough_diff_connections(&diff, to, same, count_page, kinds));
    ck_assert(diff.identical);
    ck_assert_uint_eq(kinds[0], 0);
    database_close(same);
    database_close(to);
    /* The writer goes, and blocks are pages again: fewer than those of 512 bytes. */
    database_close(writer);
    to = database_open_uri(database_uri("s", "b", ""));
    begin(to);
    ASSERT_OK(bough_diff_connections(&diff, from, to, count_page, kinds));
    ck_assert(!diff.identical);
    ck_assert_uint_gt(kinds[0] + kinds[1] + kinds[2], 0);
    ck_assert_uint_le(kinds[0] + kinds[1] + kinds[2], (uint64_t)(from_bytes / old_size + to_bytes / 8192));
    database_close(to);
    database_close(from);
    database_close(main_db);
}

int main(void)
{
    const struct harness_case cases[] = {CASE(states_that_are_read), CASE(connections_that_cannot_be_compared),
                                         CASE(blocks_that_are_no_pages)};
    return harness_run("diff", cases, COUNT_OF(cases));
}
