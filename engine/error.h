/* error.h - codes with a message for whoever reads it. The message belongs to the thread. */
#ifndef BOUGH_ENGINE_ERROR_H
#define BOUGH_ENGINE_ERROR_H

#include "bough.h"

/* Sets this thread's message and returns code, so that `return bough__fail(...)` and `rc = bough__fail(...)` read
 * well. The one who meets the failure first writes the message; callers pass the code on and leave the message
 * alone. */
int bough__fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* For a failed system call: chooses the code from errno (ENOENT and ENOTDIR BOUGH_NOT_FOUND; ENOSPC, EDQUOT and EFBIG
 * BOUGH_FULL; ENOMEM BOUGH_NOMEM; ELOOP BOUGH_CORRUPT; else BOUGH_IO) and adds strerror. `what` is a verb. */
int bough__fail_errno(const char *what, const char *path);
int bough__fail_memory(void);
/* Keeps the present message over calls that may fail on the way out (close, rollback). */
struct bough__error_state { char text[1024]; };
void bough__error_save(struct bough__error_state *out);
void bough__error_restore(const struct bough__error_state *state);

#endif
