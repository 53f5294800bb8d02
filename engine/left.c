/* left.c - layers that their branch has left; see left.h. */
#include "left.h"

#include "error.h"
#include "os.h"
#include "shm.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool parse_name(uint32_t *out, const char *name)
{
    size_t digits = strspn(name, "0123456789");
    unsigned long long number = strtoull(name, NULL, 10);
    *out = (uint32_t)number;
    return digits > 0 && digits <= 10 && number > 0 && number <= UINT32_MAX && strcmp(name + digits, ".shm") == 0;
}

/* No pids: nobody has it open, no branch has left it, or it is another version's, which does not say. */
static int read_left(struct bough__left *out, const struct bough__space *space, uint32_t number)
{
    struct bough__shm shm = {.fd = -1};
    out->pid_count = 0;
    int rc = bough__shm_look(&shm, space->directory, number);
    if (rc != BOUGH_OK)
        return rc == BOUGH_NOT_FOUND || rc == BOUGH_CORRUPT ? BOUGH_OK : rc;
    out->number = number;
    out->branch_id = bough__shm_left_by(&shm);
    out->pid_count = out->branch_id != 0 ? bough__shm_pids(&shm, out->pids) : 0;
    out->oldest_reader_ms = out->pid_count != 0 ? bough__shm_oldest_pin_ms(&shm) : -1;
    bough__shm_close(&shm, false);
    return BOUGH_OK;
}

int bough__left_layers(const struct bough__space *space, bough__left_callback *callback, void *context)
{
    struct bough__left left;
    struct dirent *entry = NULL;
    uint32_t number = 0;
    char *path = bough__format("%s/run", space->directory);
    if (path == NULL)
        return bough__fail_memory();
    DIR *directory = opendir(path);
    int rc = directory == NULL && errno != ENOENT ? bough__fail_errno("list", path) : BOUGH_OK;
    while (rc == BOUGH_OK && directory != NULL && (entry = readdir(directory)) != NULL) {
        if (!parse_name(&number, entry->d_name))
            continue;
        rc = read_left(&left, space, number);
        if (rc == BOUGH_OK && left.pid_count != 0)
            rc = callback(context, &left);
    }
    if (directory != NULL)
        closedir(directory);
    free(path);
    return rc;
}
