/* test_sight.c - what can be told of files by their times. */
#include "harness.h"

#include "os.h"
#include "sight.h"

#include <errno.h>
#include <string.h>

static struct stat shown[BOUGH__SIGHT_FILES];
static bool is_there[BOUGH__SIGHT_FILES];
static const char *const paths[BOUGH__SIGHT_FILES] = {"0", "1"};

static int show(const char *path, struct stat *out)
{
    int i = path[0] - '0';
    *out = shown[i];
    errno = ENOENT;
    return is_there[i] ? 0 : -1;
}

static void start(struct bough__sight *sight, int64_t age_s)
{
    bough__os.lstat = show;
    memset(shown, 0, sizeof shown);
    for (int i = 0; i < BOUGH__SIGHT_FILES; i++) {
        is_there[i] = true;
        shown[i].st_ino = 7;
        shown[i].st_size = 100;
        shown[i].st_mtim.tv_sec = shown[i].st_ctim.tv_sec = bough__os_now_ms() / 1000 - age_s;
    }
    bough__sight_take(sight, paths);
}

TEST(what_stays_as_it_was)
{
    struct bough__sight sight;
    start(&sight, 3600);
    ck_assert(!bough__sight_is_old(&sight, paths));
    is_there[1] = false;
    bough__sight_take(&sight, paths);
    ck_assert(!bough__sight_is_old(&sight, paths));
}

TEST(what_changes)
{
    struct bough__sight sight;
    for (int i = 0; i < BOUGH__SIGHT_FILES; i++)
        for (int change = 0; change < 5; change++) {
            start(&sight, 3600);
            shown[i].st_ino += change == 0;
            shown[i].st_size += change == 1;
            shown[i].st_mtim.tv_nsec += change == 2;
            shown[i].st_ctim.tv_nsec += change == 3;
            is_there[i] = change != 4;
            ck_assert_msg(bough__sight_is_old(&sight, paths), "file %d, change %d", i, change);
        }
}

/* Written to a moment ago, or in the future: what was written after the look may bear the same time. */
TEST(a_look_soon_after_a_change)
{
    struct bough__sight sight;
    start(&sight, 0);
    ck_assert(bough__sight_is_old(&sight, paths));
    start(&sight, -3600);
    ck_assert(bough__sight_is_old(&sight, paths));
}

int main(void)
{
    const struct harness_case cases[] = {CASE(what_stays_as_it_was), CASE(what_changes),
                                         CASE(a_look_soon_after_a_change)};
    return harness_run("sight", cases, COUNT_OF(cases));
}
