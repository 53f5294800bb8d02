/* fill.h - turning a source of bytes into a durable page map: the work that init and import share. */
#ifndef BOUGH_ENGINE_FILL_H
#define BOUGH_ENGINE_FILL_H

#include "store.h"

/* In: space, catalog, base, options, birth. The rest is the result. */
struct bough__fill {
    struct bough__space *space;
    struct bough__catalog *catalog;     /* gives the number of the layer when the first page is stored */
    struct bough__tree base;            /* pages equal to its page in the same block are not stored again */
    const bough_options *options;       /* progress; may be NULL */
    uint64_t birth;                     /* of the frames; 0: they belong to a commit */

    struct bough__tree tree;            /* durable */
    bool is_equal;                      /* the source's bytes are the base's; tree is the base */
    uint64_t changed_pages;             /* against the base; without one, all pages */
    uint64_t stored_bytes;              /* layer and nodes that were written */
    struct bough__filler *filler;
    struct bough__appender *appender;
};

/* Reads the whole source. What was stored stays only after bough__fill_end(fill, true), which is called when the
 * catalog refers to it; until then its files are locked and gc leaves them alone. */
int bough__fill_run(struct bough__fill *fill, struct bough__source *source);
void bough__fill_end(struct bough__fill *fill, bool keep);

/* Tells options->progress (if there is one); BOUGH_INTERRUPTED when it asks to stop. */
int bough__report_progress(const bough_options *options, uint64_t done_bytes, uint64_t total_bytes);

#endif
