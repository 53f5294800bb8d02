/* crash_init.c - init killed at any step, somebody who goes on with what it left, and then a power loss.
 *
 * A store that can be opened is whole, and what was promised in it stays: its name in the directory above, too, though
 * the process that gave it that name may not have lived to sync it.
 */
#include "harness.h"
#include "simdisk.h"
#include "sqlite_bridge.h"

#include "bough.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DONE = 0, PROMISED = 10, NOTHING_THERE = 11 };

static char directory[256], store_path[300];

#define MUST(call)                                                                               \
    do {                                                                                         \
        int must_rc = (call);                                                                    \
        REQUIRE(must_rc == BOUGH_OK, "%s: %s", bough_code_name(must_rc), bough_error_message()); \
    } while (0)

static int make(void)
{
    bough_transfer transfer;
    bough_options options = BOUGH_OPTIONS_INIT;
    MUST(bough_store_init_empty(&transfer, store_path, &options));
    return DONE;
}

/* Opens what is there and makes a branch, which is durable then; and the power fails. */
static int go_on(enum simdisk_loss loss, uint64_t seed)
{
    static const char *const names[] = {"b"};
    bough_store *store = NULL;
    bough_branches branches;
    int rc = bough_store_open(&store, store_path, NULL);
    if (rc == BOUGH_OK) {
        MUST(bough_branch_create(&branches, store, names, 1, "main", NULL));
        bough_branches_release(&branches);
        bough_store_close(store);
    }
    REQUIRE(rc == BOUGH_OK || rc == BOUGH_NOT_FOUND, "%s: %s", bough_code_name(rc), bough_error_message());
    simdisk_power_loss(loss, seed);
    return rc == BOUGH_OK ? PROMISED : NOTHING_THERE;
}

static int look(bool is_promised)
{
    bough_store *store = NULL;
    bough_branches branches;
    bough_verification verification;
    int rc = bough_store_open(&store, store_path, NULL);
    if (rc == BOUGH_NOT_FOUND && !is_promised) {
        MUST(make()); /* nothing is in its way */
        rc = bough_store_open(&store, store_path, NULL);
    }
    MUST(rc);
    MUST(bough_branch_list(&branches, store));
    REQUIRE(branches.count == (is_promised ? 2 : 1), "%zu branches", branches.count);
    MUST(bough_verify(&verification, store, NULL, NULL));
    REQUIRE(verification.ok, "%s: %s", verification.findings[0].where, verification.findings[0].what);
    return DONE;
}

/* In a process of its own, on the disk that the one before left. */
static int run(int (*part)(uint64_t nth, int last), uint64_t nth, int last)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        int code = part(nth, last);
        fflush(NULL);
        _exit(code);
    }
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status), "step %llu, status %x",
            (unsigned long long)nth, (unsigned)status);
    return WEXITSTATUS(status);
}

static int first(uint64_t nth, int last)
{
    (void)last;
    simdisk_install(directory, 1);
    simdisk_crash_at(SIMDISK_ANY, nth, SIMDISK_KILL, nth);
    return make();
}

static int second(uint64_t nth, int last)
{
    (void)last;
    simdisk_resume(1);
    return go_on(nth % 2 ? SIMDISK_LOSE_ALL : SIMDISK_RANDOM, nth);
}

static int third(uint64_t nth, int last)
{
    (void)nth;
    simdisk_resume(2);
    return look(last == PROMISED);
}

int main(void)
{
    const char *base = getenv("TMPDIR");
    if (!base || !base[0])
        base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(directory, sizeof directory, "%s/bough-init-XXXXXX", base);
    REQUIRE(mkdtemp(directory) != NULL, "mkdtemp %s", directory);
    snprintf(store_path, sizeof store_path, "%s/s.bough", directory);
    sqlite_bridge_install();
    simdisk_share();
    uint64_t nth = 1, promises = 0;
    for (int code = SIMDISK_KILLED; code == SIMDISK_KILLED; nth++) {
        harness_remove_tree(directory);
        REQUIRE(mkdir(directory, 0700) == 0, "mkdir");
        code = run(first, nth, 0);
        REQUIRE(code == SIMDISK_KILLED || code == DONE, "step %llu: init ends with %d", (unsigned long long)nth, code);
        int found = run(second, nth, 0);
        REQUIRE(found == PROMISED || found == NOTHING_THERE, "step %llu: going on ends with %d",
                (unsigned long long)nth, found);
        REQUIRE(code != DONE || found == PROMISED, "the store is not there");
        promises += found == PROMISED;
        REQUIRE(run(third, nth, found) == DONE, "step %llu: %s", (unsigned long long)nth,
                found == PROMISED ? "what was promised is gone" : "init is kept from trying again");
    }
    printf("init: %llu steps, %llu left a store\n", (unsigned long long)nth - 1, (unsigned long long)promises);
    REQUIRE(promises > 1, "init was never killed with the store in place");
    harness_remove_tree(directory);
    return EXIT_SUCCESS;
}
