/* marks.h - what is referred to: a bit for each node of a node file and for each frame of a layer.
 *
 * gc marks everything below the trees that count. What lies below a node that was marked before is not visited again,
 * so the work is that of all different nodes together, whatever the number of trees. Memory: 32 KiB for a node file
 * of 1 GiB, 3 MiB for 100 GiB of pages of 4 KiB.
 *
 * A node is marked after all that lies below it. So when a tree turns out damaged, what was marked of it until then is
 * right and whole, and only the tree itself is not.
 */
#ifndef BOUGH_ENGINE_MARKS_H
#define BOUGH_ENGINE_MARKS_H

#include "space.h"

struct bough__marks;

int bough__marks_create(struct bough__marks **out, struct bough__space *space);
void bough__marks_free(struct bough__marks *marks); /* NULL is fine */
/* Everything from the node on; file 0: nothing. BOUGH_CORRUPT: a node cannot be read, or refers to what cannot be. */
int bough__marks_tree(struct bough__marks *marks, struct bough__node_ref top);
bool bough__marks_has_node(const struct bough__marks *marks, uint32_t file, uint32_t index);
bool bough__marks_has_frame(const struct bough__marks *marks, uint32_t layer, uint64_t frame);
/* Frames of the layer that are marked. */
uint64_t bough__marks_frames(const struct bough__marks *marks, uint32_t layer);
uint64_t bough__marks_frame_bytes(const struct bough__marks *marks, uint32_t layer);
/* Bytes of all nodes and frames that are marked. */
uint64_t bough__marks_bytes(const struct bough__marks *marks);
/* What is marked there is passed by here. */
void bough__marks_go_beyond(struct bough__marks *marks, const struct bough__marks *others);
/* Called now and then while trees are marked, with those bytes; another result than BOUGH_OK ends it. */
typedef int bough__marks_callback(void *context, uint64_t bytes);
void bough__marks_watch(struct bough__marks *marks, bough__marks_callback *callback, void *context);

#endif
