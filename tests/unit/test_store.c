/* test_store.c - opening a store. */
#include "fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TEST(opens)
{
    bough_store *store = fixture_store(3), *other = fixture_open();
    ck_assert_str_eq(bough_store_path(store), harness_path("s.bough"));
    ck_assert_str_eq(bough_store_origin(store), "/somewhere/shop.db");
    fixture_fork(store, "a", "main");
    ck_assert(fixture_has(other, "a")); /* handles are independent and see one another's work */
    bough_store_close(store);
    fixture_fork(other, "b", "a");
    ck_assert_uint_eq(fixture_count(other), 3);
    bough_store_close(other);
    bough_store_close(NULL);
}

TEST(relative_paths_and_symlinks)
{
    bough_store *store = fixture_store(1);
    bough_store_close(store);
    ck_assert_int_eq(chdir(harness_directory()), 0);
    ASSERT_OK(bough_store_open(&store, "s.bough/", NULL));
    ck_assert_str_eq(bough_store_path(store), harness_path("s.bough"));
    ck_assert_int_eq(chdir("/"), 0); /* the handle does not care */
    fixture_fork(store, "a", "main");
    bough_store_close(store);
    ck_assert_int_eq(symlink(harness_path("s.bough"), harness_path("link")), 0);
    ASSERT_OK(bough_store_open(&store, harness_path("link"), NULL));
    ck_assert_str_eq(bough_store_path(store), harness_path("s.bough"));
    bough_store_close(store);
}

TEST(what_is_no_store)
{
    bough_store *store = (bough_store *)1;
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_store_open(&store, harness_path("nothing"), NULL));
    ck_assert_ptr_null(store);
    ck_assert_uint_gt(strlen(bough_error_message()), 0);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough_store_open(&store, harness_directory(), NULL));
    bough_store_close(fixture_store(1));
    ck_assert_int_eq(unlink(harness_path("s.bough/catalog.db")), 0);
    ASSERT_CODE(BOUGH_CORRUPT, bough_store_open(&store, harness_path("s.bough"), NULL));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "catalog.db"));
}

TEST(options)
{
    bough_options read, options = BOUGH_OPTIONS_INIT;
    bough_store *store = NULL;
    bough__options_read(&read, NULL);
    ck_assert_uint_eq(read.timeout_ms, 5000);
    options.timeout_ms = 7;
    options.page_size = 512;
    options.struct_size = offsetof(bough_options, progress); /* of a caller that knows no later field */
    bough__options_read(&read, &options);
    ck_assert_uint_eq(read.timeout_ms, 7);
    ck_assert_uint_eq(read.page_size, 0);
    bough_store_close(fixture_store(1));
    ASSERT_OK(bough_store_open(&store, harness_path("s.bough"), &options));
    ck_assert_uint_eq(store->timeout_ms, 7);
    bough_store_close(store);
}

/* ---- threads ---- */

static char thread_path[4096];

static void *work(void *context)
{
    const char *prefix = context;
    char name[32], child[40];
    for (int i = 0; i < 12; i++) {
        bough_store *store = NULL; /* a handle for each round: the space comes and goes */
        ASSERT_OK(bough_store_open(&store, thread_path, NULL));
        snprintf(name, sizeof name, "%s-%d", prefix, i);
        snprintf(child, sizeof child, "%s-child", name);
        fixture_fork(store, name, i % 2 ? "shared" : "main");
        fixture_write(store, name, 0, (uint8_t)(i + 10));
        fixture_fork(store, child, name);
        ck_assert_uint_eq(fixture_read(store, child, 0), (uint8_t)(i + 10));
        ck_assert_uint_eq(fixture_read(store, "shared", 0), 99);
        bough_store_close(store);
    }
    return NULL;
}

TEST(threads_with_handles_of_their_own)
{
    bough_store *store = fixture_store(2);
    pthread_t threads[4];
    char names[4][4] = {"t0", "t1", "t2", "t3"};
    fixture_fork(store, "shared", "main");
    fixture_write(store, "shared", 0, 99);
    bough_store_close(store);
    snprintf(thread_path, sizeof thread_path, "%s", harness_path("s.bough"));
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, names[i]), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    store = fixture_open();
    ck_assert_uint_eq(fixture_count(store), 2 + 4 * 12 * 2);
    bough_store_close(store);
}

int main(void)
{
    static const struct harness_case cases[] = {CASE(opens), CASE(relative_paths_and_symlinks), CASE(what_is_no_store),
                                                CASE(options), CASE(threads_with_handles_of_their_own)};
    return harness_run("store", cases, COUNT_OF(cases));
}
