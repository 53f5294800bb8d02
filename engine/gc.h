/* gc.h - one run of gc; shared by gc.c and sweep.c alone. */
#ifndef BOUGH_ENGINE_GC_H
#define BOUGH_ENGINE_GC_H

#include "layer_file.h"
#include "marks.h"
#include "store.h"

/* What matters of a branch's row. */
struct bough__gc_branch {
    int64_t id, parent_id, expires_at_ms;
    uint32_t layer;
    bool is_protected, is_dropped; /* is_dropped: it is going to be, or was */
    bool is_open;                  /* told of those alone whose time is over */
    size_t children;
    uint64_t node_bytes;
    char *name;
};

/* See own.c. */
struct bough__gc_own {
    uint32_t layer;
    int64_t branch_id;
    uint64_t row_bytes, header_nodes;   /* as counted */
    uint64_t commit_bytes, tree_bytes;  /* as marked */
    uint64_t row_excess, header_excess; /* bytes; nodes */
};

struct bough__gc_file {
    uint32_t number;
    /* Node files: cells below it are of appenders that had finished before the roots were read. Layers: 1 if nobody was
     * filling it then. */
    uint32_t cut;
};

struct bough__gc {
    struct bough_store *store;
    bough_collection *out;
    bool dry_run, is_held; /* is_held: what a dry run adds up next is kept by those who have the file open */
    uint32_t timeout_ms;
    int64_t now_ms, prune_before_ms;
    int lock_fd; /* of the identity file */
    struct bough__marks *marks;
    struct bough__gc_branch *branches; /* by id */
    struct bough__gc_branch *by_layer; /* the same by their layers, for sweep.c */
    uint32_t last_layer; /* newest number of a layer that was handed out before the rows were read */
    size_t branch_count, branch_capacity;
    uint8_t (*kept)[BOUGH__DIGEST_SIZE]; /* commits that are bases, heads or tagged; sorted */
    size_t kept_count, kept_capacity;
    uint8_t (*prunable)[BOUGH__DIGEST_SIZE];
    size_t prunable_count, prunable_capacity;
    int64_t last_commit; /* row of the newest commit that is marked */
    struct bough__gc_own *own; /* by layer */
    size_t own_count;
    bough_options options;
    uint64_t total_bytes, done_bytes; /* for the progress callback */
    struct bough__gc_file *node_files, *layers;
    size_t node_file_count, layer_count;
};

/* Room for one more item of the array. */
int bough__gc_grow(void *items, size_t *capacity, size_t count, size_t size);
int bough__gc_read_branches(struct bough__gc *gc);
/* Marks the commits whose rows are new since the last call. */
int bough__gc_mark_commits(struct bough__gc *gc);
/* The numbers of the files in a folder of the store that are called NUMBER and the suffix, ascending. */
int bough__gc_list(struct bough__gc_file **out, size_t *out_count, const struct bough__gc *gc, const char *folder,
                   const char *suffix);

int bough__gc_progress(struct bough__gc *gc, uint64_t done_bytes);

/* What branches count as their own: begin and conclude stand around the first marking. After it the second marking
 * changes nothing of that. dead: marks beyond those of gc. */
int bough__own_begin(struct bough__gc *gc);
int bough__own_mark_commit(struct bough__gc *gc, const struct bough__commit_row *row);
int bough__own_mark_layer(struct bough__gc *gc, uint32_t layer, const struct bough__layer_slot *slot);
int bough__own_mark_dead(struct bough__gc *gc, struct bough__marks *dead, const struct bough__commit_row *row);
void bough__own_conclude(struct bough__gc *gc);
uint64_t bough__own_header_excess(const struct bough__gc *gc, uint32_t layer); /* nodes */
int bough__own_write(struct bough__gc *gc);

/* Looks which files stand still: before the roots are read. */
int bough__sweep_cut(struct bough__gc *gc);
/* Gives back what is not marked; of a dry run: adds up what would be. */
int bough__sweep(struct bough__gc *gc);

#endif
