/* sight.h - whether files have changed since somebody looked at them: what remains to ask for one who has no part in
 * shared memory.
 *
 * A file whose times, size and inode are as they were has not been written to, unless that happened within the grain of
 * the file system's clock after the look. So a look that came soon after a change proves nothing later on.
 */
#ifndef BOUGH_ENGINE_SIGHT_H
#define BOUGH_ENGINE_SIGHT_H

#include <stdbool.h>
#include <stdint.h>

#define BOUGH__SIGHT_FILES 2

struct bough__sight {
    struct {
        uint64_t device, inode, size_bytes; /* zeros: there was none, or it could not be looked at */
        int64_t modified_ns, changed_ns;
    } files[BOUGH__SIGHT_FILES];
    bool is_unsure;
};

/* Of these paths; a system call each. */
void bough__sight_take(struct bough__sight *out, const char *const paths[BOUGH__SIGHT_FILES]);
/* True when one of them was written to after it was taken, or may have been. */
bool bough__sight_is_old(const struct bough__sight *sight, const char *const paths[BOUGH__SIGHT_FILES]);

#endif
