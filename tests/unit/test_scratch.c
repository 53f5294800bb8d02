/* test_scratch.c - scratch: hidden branches of which nothing is kept, and for which nobody waits for the disk. */
#include "fixture.h"

#include "os.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Enough for a checkpoint: more than 8 MiB. */
#define MANY (10u << 10)

/* Forks main; the name stays until the second call after. */
static const char *scratch(bough_store *store)
{
    static char names[2][BOUGH_NAME_MAX + 1];
    static unsigned next;
    char *name = names[next++ % 2];
    bough_branches made;
    bough_options options = BOUGH_OPTIONS_INIT;
    options.scratch = true;
    ASSERT_OK(bough_branch_create(&made, store, &(const char *){"x"}, 1, "main", &options));
    snprintf(name, BOUGH_NAME_MAX + 1, "%s", made.items[0].name);
    bough_branches_release(&made);
    return name;
}

static bool has(bough_store *store, const char *name)
{
    bough_branches got;
    int rc = bough_branch_get(&got, store, name);
    bough_branches_release(&got);
    ck_assert(rc == BOUGH_OK || rc == BOUGH_NOT_FOUND);
    return rc == BOUGH_OK;
}

static void assert_whole(bough_store *store)
{
    bough_verification found;
    ASSERT_OK(bough_verify(&found, store, NULL, NULL));
    ck_assert_msg(found.ok, "%s", found.ok ? "" : found.findings[0].what);
    bough_verification_release(&found);
}

static uint32_t layer_of(bough_store *store, const char *name)
{
    struct bough__branch_row row;
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, name));
    uint32_t number = row.layer;
    bough__branch_row_clear(&row);
    return number;
}

static const char *layer_path(uint32_t number)
{
    char name[64];
    snprintf(name, sizeof name, "s.bough/layers/%u.layer", number);
    return harness_path(name);
}

/* ---- what it is ---- */

TEST(a_hidden_branch_like_others)
{
    bough_store *store = fixture_store(3);
    bough_ref ref;
    const char *name = scratch(store), *other = scratch(store);
    ck_assert(bough__name_is_scratch(name) && bough__name_is_hidden(name));
    ck_assert(!bough__name_is_scratch("main") && !bough__name_is_scratch(".17/x") && !bough__name_is_scratch("17_/x"));
    ck_assert_ptr_nonnull(strstr(name, "_/x"));
    ck_assert_uint_eq(fixture_count(store), 1);
    fixture_write(store, name, 1, 77);
    fixture_fill(store, name, 2, MANY, 78);
    fixture_write(store, name, 2, 79);
    ck_assert_uint_eq(fixture_read(store, name, 1), 77);
    ck_assert_uint_eq(fixture_read(store, name, 2), 79);
    ck_assert_uint_eq(fixture_read(store, name, MANY - 1), 78);
    ck_assert_uint_eq(fixture_read(store, other, 1), 2);
    ck_assert_uint_eq(fixture_read(store, "main", 1), 2);
    assert_whole(store);
    const char *wrong[] = {"._/x", ".17__/x", ".17_x", ".17_/", "._17/x"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        ASSERT_CODE(BOUGH_USAGE, bough_ref_resolve(&ref, store, wrong[i]));
    bough_store_close(store);
}

TEST(nothing_of_it_is_kept)
{
    bough_store *store = fixture_store(3);
    bough_branches out;
    bough_sealed sealed;
    bough_tags tags;
    const char *name = scratch(store);
    fixture_fork(store, "early", name); /* nothing was written yet */
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_rename(&out, store, &name, &(const char *){"kept"}, 1));
    fixture_write(store, name, 1, 77);
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_rename(&out, store, &name, &(const char *){"kept"}, 1));
    ASSERT_CODE(BOUGH_REFUSED, bough_commit_create(&sealed, store, name, NULL));
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_create(&out, store, &(const char *){"late"}, 1, name, NULL));
    ASSERT_CODE(BOUGH_REFUSED, bough_tag_create(&tags, store, "t", name));
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_promote(&sealed, store, name, "main", NULL));
    ASSERT_CODE(BOUGH_REFUSED, bough_branch_reset(&sealed, store, "early", name, NULL));
    ck_assert_uint_eq(fixture_count(store), 2);
    ck_assert_uint_eq(fixture_read(store, "main", 1), 2);
    ck_assert_uint_eq(fixture_read(store, "early", 1), 2);
    ck_assert_uint_eq(fixture_read(store, name, 1), 77);
    bough_store_close(store);
}

/* ---- syncs ---- */

static struct bough__os_calls real;
static unsigned file_syncs, other_syncs, writebacks;

static int count_sync(int fd)
{
    char link[64], path[512] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ck_assert_int_gt(readlink(link, path, sizeof path - 1), 0);
    *(strstr(path, "/layers") || strstr(path, "/nodes") ? &file_syncs : &other_syncs) += 1;
    return real.fdatasync(fd);
}

static int count_writeback(int fd, off_t offset, off_t len)
{
    writebacks++;
    return real.start_writeback(fd, offset, len);
}

/* Small transactions, one that is committed by a checkpoint, a close and a new opening. */
static void work_on(bough_store *store, const char *name)
{
    file_syncs = other_syncs = writebacks = 0;
    real = bough__os;
    bough__os.fdatasync = count_sync;
    bough__os.fsync = count_sync;
    bough__os.start_writeback = count_writeback;
    for (unsigned i = 0; i < 20; i++)
        fixture_write(store, name, 1, (uint8_t)i);
    fixture_fill(store, name, 2, MANY, 50);
    fixture_write(store, name, 1, 51);
    bough__os = real;
}

TEST(nobody_waits_for_the_disk)
{
    bough_store *store = fixture_store(3);
    work_on(store, scratch(store));
    ck_assert_uint_eq(file_syncs, 0);
    ck_assert_uint_eq(writebacks, 0);
    fixture_fork(store, "ordinary", "main");
    work_on(store, "ordinary");
    ck_assert_uint_ge(file_syncs, 22);
    ck_assert_uint_gt(writebacks, 0);
    bough_store_close(store);
}

/* What scratch appended to the same file of nodes is not lost with it, nor missed. */
TEST(others_sync_what_is_theirs)
{
    bough_store *store = fixture_store(3);
    work_on(store, scratch(store));
    real = bough__os;
    bough__os.fdatasync = count_sync;
    fixture_write(store, "main", 1, 9);
    file_syncs = 0;
    fixture_commit(store, "main", "sealed");
    bough__os = real;
    ck_assert_uint_ge(file_syncs, 1);
    bough_store_close(store);
    store = fixture_open();
    ck_assert_uint_eq(fixture_read(store, "main", 1), 9);
    assert_whole(store);
    bough_store_close(store);
}

/* ---- its end ---- */

TEST(it_goes_with_its_handle)
{
    bough_store *store = fixture_store(3), *later = NULL;
    const char *name = scratch(store);
    fixture_write(store, name, 1, 77);
    uint32_t number = layer_of(store, name);
    ck_assert_int_eq(access(layer_path(number), F_OK), 0);
    bough_store_close(store);
    later = fixture_open();
    ck_assert(!has(later, name));
    ck_assert_int_ne(access(layer_path(number), F_OK), 0);
    assert_whole(later);
    bough_store_close(later);
}

/* What a power loss may leave of the file: any part of it, anything in it, or nothing. */
static void lose_power(unsigned how)
{
    bough_store *store = fixture_store(3);
    char path[512];
    const char *name = scratch(store);
    fixture_write(store, name, 1, 77);
    if (how % 2)
        fixture_fill(store, name, 2, MANY, 78);
    uint32_t number = layer_of(store, name);
    snprintf(path, sizeof path, "%s", layer_path(number));
    bough_store_close(store);
    if (how < 2) {
        ck_assert_int_eq(unlink(path), 0);
    } else if (how < 4) {
        ck_assert_int_eq(truncate(path, 0), 0);
    } else if (how < 6) {
        ck_assert_int_eq(truncate(path, 20000), 0);
    } else {
        struct stat before;
        ck_assert_int_eq(stat(path, &before), 0);
        ck_assert_int_eq(truncate(path, 0), 0);
        ck_assert_int_eq(truncate(path, before.st_size), 0);
    }
    store = fixture_open();
    ck_assert_msg(!has(store, name), "case %u", how);
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert_uint_eq(fixture_read(store, "main", 1), 2);
    assert_whole(store);
    bough_store_close(store);
}

TEST(power_loss)
{
    for (unsigned how = 0; how < 8; how++) {
        lose_power(how);
        harness_remove_tree(harness_path("s.bough"));
    }
}

int main(void)
{
    static const struct harness_case cases[] = {
        CASE(a_hidden_branch_like_others), CASE(nothing_of_it_is_kept), CASE(nobody_waits_for_the_disk),
        CASE(others_sync_what_is_theirs),  CASE(it_goes_with_its_handle), CASE(power_loss),
    };
    return harness_run("scratch", cases, COUNT_OF(cases));
}
