/* left.h - layers that their branch has left, and that somebody still has open.
 *
 * reset, promote, import and VACUUM with another page size give a branch a layer of its own. A connection stays on the
 * layer that it had until its next transaction, which may be long in coming, and has the branch open all the same. So
 * whoever asks who has a branch open looks at its layer, and at these.
 *
 * A look at all layers that are open on the machine: what it costs depends on their number, and not on that of the
 * branches.
 */
#ifndef BOUGH_ENGINE_LEFT_H
#define BOUGH_ENGINE_LEFT_H

#include "layer.h"

struct bough__left {
    int64_t branch_id;
    uint32_t number;             /* of the layer; the branch's own one where it failed to leave it */
    int32_t pids[BOUGH__OPENERS_MAX];
    size_t pid_count;            /* never 0 */
    int64_t oldest_reader_ms;    /* -1: nobody reads */
};

/* A result other than 0 stops and is returned. */
typedef int bough__left_callback(void *context, const struct bough__left *left);
int bough__left_layers(const struct bough__space *space, bough__left_callback *callback, void *context);

#endif
