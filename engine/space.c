/* space.c - the stores that this process has open, one bough__space for each directory.
 *
 * Handles and connections find one another here, so that they share file caches and layers. The key is the
 * directory's device and inode and the store's UUID: `cp -r` copies UUIDs, and a directory that was deleted leaves
 * its inode to the next one.
 */
#include "space.h"

#include "codec.h"
#include "error.h"
#include "layer.h"
#include "os.h"
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#define HEADER_BYTES   56
#define KNOWN_FEATURES 0

static const uint8_t magic[16] = "bough store 1\n\0";
static const char note[] = "This directory is a bough store. Its branches are SQLite databases: see `bough url`.\n";

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER; /* guards the list and every references */
static struct bough__space *registry;

/* ---- the identity file ---- */

int bough__space_create(const char *directory, mode_t mode)
{
    uint8_t bytes[HEADER_BYTES + sizeof note - 1] = {0};
    int fd = -1;
    memcpy(bytes, magic, sizeof magic);
    bough__put32(bytes + 16, BOUGH__FORMAT_VERSION);
    uuid_generate_random(bytes + 32);
    bough__put64(bytes + 48, bough__xxh(bytes, 48, 0));
    memcpy(bytes + HEADER_BYTES, note, sizeof note - 1);
    char *path = bough__format("%s/" BOUGH__STORE_FILE, directory);
    if (!path)
        return BOUGH_NOMEM;
    int rc = bough__os_open(&fd, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode | S_IRUSR | S_IWUSR);
    if (rc == BOUGH_OK)
        rc = bough__os_write(fd, bytes, sizeof bytes, 0, path);
    if (rc == BOUGH_OK)
        rc = bough__os_sync(fd, path);
    bough__os_close(&fd);
    if (rc == BOUGH_OK)
        rc = bough__os_sync_directory(directory);
    free(path);
    return rc;
}

static int check_header(const uint8_t bytes[HEADER_BYTES], const char *path)
{
    if (memcmp(bytes, magic, sizeof magic) != 0)
        return bough__fail(BOUGH_CORRUPT, "%s is not the identity file of a store", path);
    if (bough__get64(bytes + 48) != bough__xxh(bytes, 48, 0))
        return bough__fail(BOUGH_CORRUPT, "%s is damaged in its first 56 bytes", path);
    if (bough__get32(bytes + 16) > BOUGH__FORMAT_VERSION)
        return bough__fail(BOUGH_CORRUPT, "%s has format version %u, which is newer than this program (%d)", path,
                           bough__get32(bytes + 16), BOUGH__FORMAT_VERSION);
    if (bough__get32(bytes + 20) & ~(uint32_t)KNOWN_FEATURES)
        return bough__fail(BOUGH_CORRUPT, "%s has features 0x%x that are newer than this program", path,
                           bough__get32(bytes + 20));
    return BOUGH_OK;
}

/* Fills directory's identity: uuid, key, device, inode, mode. */
static int read_identity(struct bough__space *out)
{
    uint8_t bytes[HEADER_BYTES];
    struct stat info;
    int fd = -1;
    char *path = bough__format("%s/" BOUGH__STORE_FILE, out->directory);
    if (!path)
        return BOUGH_NOMEM;
    int rc = bough__os_open(&fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0); /* a FIFO would wait for a writer */
    if (rc == BOUGH_NOT_FOUND)
        rc = bough__fail(rc, "%s is not a store: it has no file \"" BOUGH__STORE_FILE "\"", out->directory);
    if (rc == BOUGH_OK && bough__os.fstat(fd, &info) != 0)
        rc = bough__fail_errno("examine", path);
    if (rc == BOUGH_OK && !S_ISREG(info.st_mode))
        rc = bough__fail(BOUGH_CORRUPT, "%s is no regular file", path);
    if (rc == BOUGH_OK)
        rc = bough__os_read(fd, bytes, sizeof bytes, 0, path);
    if (rc == BOUGH_OK)
        rc = check_header(bytes, path);
    bough__os_close(&fd);
    if (rc == BOUGH_OK) {
        memcpy(out->uuid, bytes + 32, sizeof out->uuid);
        out->store_key = bough__xxh(out->uuid, sizeof out->uuid, 0);
        out->mode = info.st_mode & 0666;
        if (bough__os.lstat(out->directory, &info) != 0)
            rc = bough__fail_errno("examine", out->directory);
        out->device = info.st_dev;
        out->inode = info.st_ino;
    }
    free(path);
    return rc;
}

/* ---- the registry ---- */

/* True when other is the same store and can still be reached by the path that it was opened with. */
static bool is_same(const struct bough__space *other, const struct bough__space *wanted)
{
    struct stat info;
    if (other->device != wanted->device || other->inode != wanted->inode ||
        memcmp(other->uuid, wanted->uuid, sizeof other->uuid) != 0)
        return false;
    return strcmp(other->directory, wanted->directory) == 0 ||
           (bough__os.lstat(other->directory, &info) == 0 && info.st_dev == other->device &&
            info.st_ino == other->inode);
}

/* Failing is told by those who open a descriptor of their own instead. */
void bough__space_want_locks(struct bough__space *space)
{
    struct bough__error_state error;
    bough__error_save(&error);
    (void)bough__shm_open_locks(&space->locks_fd, space->directory);
    bough__error_restore(&error);
}

/* The first opener has nothing to tell; the last one removes the file. */
static int open_past(struct bough__space *space)
{
    bool is_first = false, same_boot = false;
    bough__space_want_locks(space);
    int rc = bough__shm_open(&space->past, &is_first, &same_boot, space->directory, space->locks_fd, 0, space->mode,
                             10000);
    if (rc != BOUGH_OK)
        return rc;
    if (space->past.is_private)
        rc = bough__space_read_unseen(space);
    if (rc == BOUGH_OK && is_first)
        rc = bough__shm_ready(&space->past);
    if (rc != BOUGH_OK)
        bough__shm_close(&space->past, is_first);
    space->has_past = rc == BOUGH_OK;
    return rc;
}

static void close_past(struct bough__space *space)
{
    if (space->has_past)
        bough__shm_close(&space->past, bough__shm_is_last(&space->past));
    space->has_past = false;
}

int bough__space_read_unseen(struct bough__space *space)
{
    if (space->unseen_fd >= 0)
        return BOUGH_OK;
    char *path = bough__format("%s/" BOUGH__STORE_FILE, space->directory);
    if (!path)
        return BOUGH_NOMEM;
    int rc = bough__os_open(&space->unseen_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (rc == BOUGH_OK)
        rc = bough__os_lock_wait(space->unseen_fd, BOUGH__STORE_UNSEEN_BYTE, BOUGH__SHARED, 10000, path);
    if (rc == BOUGH_BUSY)
        rc = bough__fail(rc, "%s: gc is at work, and who has no permission to write waits for it", space->directory);
    if (rc != BOUGH_OK)
        bough__os_close(&space->unseen_fd);
    free(path);
    return rc;
}

int bough__space_pin(int *out_pin, struct bough__space *space, struct bough__node_ref top)
{
    int rc = BOUGH_OK;
    *out_pin = BOUGH__NO_PIN;
    if (top.file == 0)
        return BOUGH_OK; /* nothing that could be given back */
    pthread_mutex_lock(&space->mutex);
    if (!space->has_past)
        rc = open_past(space);
    pthread_mutex_unlock(&space->mutex);
    return rc == BOUGH_OK ? bough__shm_pin_tree(out_pin, &space->past, top) : rc;
}

void bough__space_pin_is_sure(struct bough__space *space, int pin)
{
    if (pin != BOUGH__NO_PIN)
        bough__shm_pin_is_sure(&space->past, pin);
}

void bough__space_unpin(struct bough__space *space, int pin)
{
    if (pin != BOUGH__NO_PIN)
        bough__shm_unpin(&space->past, pin);
}

static void free_space(struct bough__space *space)
{
    close_past(space);
    bough__os_close(&space->unseen_fd);
    bough__os_close(&space->locks_fd);
    bough__nodes_close(space->nodes);
    bough__files_close(space->files);
    pthread_cond_destroy(&space->layer_is_ready);
    pthread_mutex_destroy(&space->mutex);
    free(space->directory);
    free(space);
}

/* With the registry's mutex held. Takes fresh over, whatever happens. */
static int join_or_add(struct bough__space **out, struct bough__space *fresh)
{
    for (struct bough__space *space = registry; space; space = space->next) {
        if (!is_same(space, fresh))
            continue;
        space->references++;
        free_space(fresh);
        *out = space;
        return BOUGH_OK;
    }
    int rc = bough__files_open(&fresh->files, fresh->directory);
    if (rc == BOUGH_OK)
        rc = bough__nodes_open(&fresh->nodes, fresh->files, fresh->directory, fresh->store_key, fresh->mode);
    if (rc != BOUGH_OK) {
        free_space(fresh);
        return rc;
    }
    fresh->references = 1;
    fresh->next = registry;
    registry = fresh;
    *out = fresh;
    return BOUGH_OK;
}

/* A reader's is opened again at less expense. */
static bool spare_descriptor(void)
{
    return bough__files_spare() || bough__layer_spare_file();
}

int bough__space_open(struct bough__space **out, const char *directory)
{
    *out = NULL;
    struct bough__space *fresh = bough__alloc(sizeof *fresh);
    if (!fresh)
        return BOUGH_NOMEM;
    bough__process_watch();
    bough__os_when_short(spare_descriptor);
    fresh->epoch = bough__process_epoch();
    fresh->unseen_fd = fresh->locks_fd = -1;
    pthread_mutex_init(&fresh->mutex, NULL);
    pthread_cond_init(&fresh->layer_is_ready, NULL);
    fresh->directory = realpath(directory, NULL);
    int rc = fresh->directory  ? BOUGH_OK
             : errno == ENOMEM ? bough__fail_memory()
                               : bough__fail_errno("find", directory);
    if (rc == BOUGH_OK)
        rc = read_identity(fresh);
    if (rc == BOUGH_OK)
        rc = bough__os_check_local(fresh->directory);
    if (rc != BOUGH_OK) {
        free_space(fresh);
        return rc;
    }
    pthread_mutex_lock(&registry_mutex);
    rc = join_or_add(out, fresh);
    pthread_mutex_unlock(&registry_mutex);
    return rc;
}

bool bough__space_is_inherited(const struct bough__space *space)
{
    return space->epoch != bough__process_epoch();
}

void bough__space_retain(struct bough__space *space)
{
    pthread_mutex_lock(&registry_mutex);
    space->references++;
    pthread_mutex_unlock(&registry_mutex);
}

void bough__space_close(struct bough__space *space)
{
    if (!space || bough__space_is_inherited(space))
        return;
    pthread_mutex_lock(&registry_mutex);
    bool is_last = --space->references == 0;
    for (struct bough__space **link = &registry; is_last && *link; link = &(*link)->next) {
        if (*link == space) {
            *link = space->next;
            break;
        }
    }
    pthread_mutex_unlock(&registry_mutex);
    if (is_last)
        free_space(space);
}

/* ---- fork() ---------------------------------------------------------------------------------------------------- */

void bough__space_before_fork(void)
{
    pthread_mutex_lock(&registry_mutex);
}

void bough__space_after_fork_in_parent(void)
{
    pthread_mutex_unlock(&registry_mutex);
}

void bough__space_after_fork_in_child(void)
{
    registry = NULL;
    pthread_mutex_unlock(&registry_mutex);
}
