/* store.h - the handle behind bough_store, and what the VFS needs of it. */
#ifndef BOUGH_ENGINE_STORE_H
#define BOUGH_ENGINE_STORE_H

#include "bough.h"
#include "catalog.h"
#include "layer.h"

struct bough_store {
    struct bough__space *space;
    struct bough__catalog *catalog;
    char *origin;
    uint32_t timeout_ms;
    int owner_fd; /* of run/owners, once the handle has hidden branches; see hidden.c */
};
/* Opens a store without looking for hidden branches that nobody owns any more: for connections. */
int bough__store_open(struct bough_store **out, const char *path, const bough_options *options);

/* The caller's options, or the defaults; fields that a caller of an older version does not know have their defaults. */
void bough__options_read(bough_options *out, const bough_options *options);
/* The same, but the handle's timeout where there are no options. */
void bough__options_for(bough_options *out, const struct bough_store *store, const bough_options *options);

/* 1 to 200 bytes of the grammar in cli.md: letters, digits, . _ - /; see name.c. BOUGH_USAGE says what is wrong. */
int bough__name_check(const char *name);
/* The same for what may be looked up: also the name of a hidden branch. */
int bough__name_check_any(const char *name);
/* A branch with this name is hidden. */
bool bough__name_is_hidden(const char *name);
/* Its layer is scratch: layer.h. */
bool bough__name_is_scratch(const char *name);
/* ".NUMBER/NAME", for scratch ".NUMBER_/NAME"; without /NAME where that would be too long. */
char *bough__name_hidden(uint32_t number, bool is_scratch, const char *name);

/* A REF taken apart and looked up. has_branch: REF is exactly a branch's name (its newest transaction is meant). */
struct bough__target {
    bool has_branch;
    struct bough__branch_row branch;
    struct bough__commit_row commit; /* for a branch: its head */
};
int bough__target_resolve(struct bough__target *out, struct bough_store *store, const char *ref);
void bough__target_clear(struct bough__target *target);

/* Opens the layer of a branch as its row says, and looks at the row again afterwards, since the branch may have been
 * deleted before this process could be seen as one of its openers. BOUGH_GONE: deleted; BOUGH_STALE: its layer was
 * replaced, read the row again. */
int bough__branch_layer(struct bough__layer **out, struct bough_store *store, const struct bough__branch_row *row);
/* The same for who is going to write: as the row says then. Who is protected later tells those who have it open. */
int bough__branch_open(struct bough__layer **out, bool *out_protected, struct bough_store *store,
                       const struct bough__branch_row *row);
/* For who has the layer open and finds it doubtful: BOUGH_OK, it is the branch's as before; BOUGH_STALE, the branch has
 * another one; BOUGH_GONE, it was deleted. */
int bough__branch_look(struct bough_store *store, int64_t branch_id, const struct bough__layer *layer);
/* Opens the layer that the branch has now, where it is another one or may be newer than `layer` shows it; *out is NULL
 * where it is the same. out_protected:
 * as the row says. BOUGH_GONE: deleted. */
int bough__branch_follow(struct bough__layer **out, bool *out_protected, struct bough_store *store, int64_t branch_id,
                         const struct bough__layer *layer);
/* The same as the first without the second look: for showing a branch, and for one whose row is deleted already. */
int bough__branch_layer_as_was(struct bough__layer **out, struct bough_store *store,
                               const struct bough__branch_row *row);
/* Pins what REF means now; the row of a branch is brought up to date for it. *out_layer (close it after the release) is
 * NULL for a past state. */
int bough__target_pin(struct bough__snapshot *out, struct bough__layer **out_layer, struct bough_store *store,
                      struct bough__target *target);

/* A branch's newest transaction on its way to a commit; see commit.c. */
struct bough__seal {
    struct bough_store *store;
    uint32_t number;                 /* of the branch's layer */
    struct bough__layer *layer;      /* NULL: nobody has written to the branch */
    struct bough__snapshot snapshot;
    bool is_pinned, is_folded;
    struct bough__tree tree;         /* the snapshot, folded; where the branch was dirty */
    uint8_t root[BOUGH__DIGEST_SIZE];
    uint64_t nodes;                  /* written for it */
    uint64_t changed_pages;          /* against `head` */
    uint8_t head[BOUGH__DIGEST_SIZE];
};
/* Pins the branch's newest transaction and, where it is not committed, folds it into a durable tree. Never waits for
 * the branch's writer. BOUGH_STALE: the branch's layer was replaced, read the row again. On failure nothing is held. */
int bough__seal_begin(struct bough__seal *out, struct bough_store *store, const struct bough__branch_row *row);
/* Inside a write transaction of the catalog: makes the commit and moves the row, as it is now, on to it. *out_changed
 * false: there was nothing to commit. automatic: made by the machine. BOUGH_STALE as above. */
int bough__seal_record(bool *out_changed, struct bough__seal *seal, struct bough__branch_row *now, const char *message,
                       bool automatic);
/* The same beside the branch's history: *out is a commit of its newest transaction, by the machine, and the branch's
 * head stays, so that the branch is as dirty as before. Where it is clean, or has the bytes of its head, that is the
 * head. When the machine commits the same transaction later, it takes this commit. */
int bough__seal_aside(uint8_t out[BOUGH__DIGEST_SIZE], struct bough__seal *seal, struct bough__branch_row *now,
                      const char *message);
/* Inside a write transaction: the commit that a REF means. A branch's is sealed (seal: begun on its row), made by the
 * machine with that message, in its history or aside. What is found has its pages. */
int bough__target_commit(uint8_t out[BOUGH__DIGEST_SIZE], struct bough__seal *seal,
                         const struct bough__target *target, struct bough_store *store, const char *message,
                         bool is_aside);
void bough__seal_end(struct bough__seal *seal); /* after the transaction, however it ended */
/* How often a command starts over when a branch's layer is replaced under its hands. */
#define BOUGH__STALE_TRIES 100

/* Stores the branch's newest state in blocks of another size, as the layer that the branch has from now on; see
 * reblock.c. The caller has a transaction on the snapshot, which is the newest, and nothing written in it. */
int bough__branch_reblock(struct bough_store *store, int64_t branch_id, const struct bough__snapshot *snapshot,
                          uint32_t block_size);

/* Inserts a commit, inside a write transaction: fills root, page_size, id, author (where NULL) and created_at_ms
 * (where 0), and moves the time on by a millisecond where the id exists already, so that every commit has a row of
 * its own. */
int bough__commit_record(struct bough__catalog *catalog, struct bough__commit_row *row);
/* Pages that differ between two trees, as a commit's changed_pages counts them. Gives up at `limit` differing pages
 * (0: never) with BOUGH__NOT_COUNTED, which bounds the time that a commit after a bulk load takes. */
#define BOUGH__COUNT_LIMIT 1024
int bough__tree_count_changes(uint64_t *out, struct bough__space *space, const struct bough__tree *from,
                              const struct bough__tree *to, uint64_t limit);
/* The same for two snapshots, page by page; see bough_diff_pages. */
int bough__snapshot_count_changes(bough_page_diff *out, const struct bough__snapshot *a,
                                  const struct bough__snapshot *b, bough_page_callback *callback, void *context);

/* A branch as the public struct shows it, appended to out. is_new: its layer cannot exist yet. A damaged layer does not
 * fail the call: the branch is shown as dirty, with its head's size. */
int bough__branches_add(bough_branches *out, struct bough_store *store, const struct bough__branch_row *row,
                        bool is_new);
/* Drops the branches, all or none, if they had expired at now_ms, as bough_branch_delete does without force; for gc. Up
 * to BOUGH__DROP_BATCH of them are held while this goes on. */
#define BOUGH__DROP_BATCH 32
int bough__branch_drop_expired(bough_branches *out, struct bough_store *store, const char *const *names, size_t count,
                               int64_t now_ms);
/* Drops hidden branches whose owners are gone, as many as can be: what is open or kept meanwhile stays. */
int bough__branch_drop_hidden(struct bough_store *store, const char *const *names, size_t count);
/* Bytes that the store's files take on the disk, but for what is in run/. */
int bough__store_allocated(uint64_t *out, const struct bough_store *store);
/* BOUGH_NOT_FOUND for a commit whose pages gc gave back. */
int bough__commit_usable(const struct bough__commit_row *commit);
/* Pins the commit's state, and looks at its row again, since gc may have been quicker: BOUGH_NOT_FOUND then. Not within
 * a read transaction of the catalog, which would show the row as it was. */
int bough__snapshot_of_commit(struct bough__snapshot *out, struct bough_store *store,
                              const struct bough__commit_row *commit);
/* BOUGH_REFUSED when a branch or a tag has the name. */
int bough__name_is_free(struct bough__catalog *catalog, const char *name);
/* Id of the current branch, 0: none. */
int bough__current_branch(int64_t *out, struct bough__catalog *catalog);

/* ---- a source of bytes for import: an array of bytes read front to back or at random ---- */
struct bough__source {
    uint64_t size_bytes;
    uint32_t page_size; /* block size for it; of the SQLite header, 4096 for an empty file */
    void *context;
    int (*read)(void *context, uint64_t offset, void *buffer, size_t len_bytes);  /* exactly len */
    /* Next range that may hold something other than zeros at or after offset; false: none. NULL: everything may. */
    bool (*next_data)(void *context, uint64_t offset, uint64_t *out_start, uint64_t *out_end);
    /* After the last read, before anything is kept: BOUGH_BUSY when what was read may not belong together. May be
     * NULL. */
    int (*finish)(void *context);
    void (*close)(void *context);
    mode_t mode;        /* of the file: the store takes it */
};

/* Engine halves of bough_store_init, bough_import and bough_export; vfs/capture.c opens live SQLite files as sources */
int bough__store_init(bough_transfer *out, const char *store_path, const char *origin_or_null,
                      struct bough__source *source, const bough_options *options);
int bough__store_import(bough_transfer *out, struct bough_store *store, const char *branch,
                        struct bough__source *source, const bough_options *options);
/* Streams REF's bytes to write(context, offset, bytes, len) in order, skipping zero pages. */
int bough__store_stream(bough_transfer *out, struct bough_store *store, const char *ref,
                        int (*write)(void *context, uint64_t offset, const void *bytes, size_t len_bytes),
                        void *context, const bough_options *options);

#endif
