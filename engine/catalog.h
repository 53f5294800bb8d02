/* catalog.h - the store's catalog: branches, commits, tags, settings. A SQLite database (catalog.db) on the system's
 * VFS; no other part of the engine uses SQLite.
 *
 * WAL, synchronous=FULL, no checkpoint on close, persistent WAL, page size 1024 (a fork then syncs 4 KiB), opened by
 * the system VFS's own name with a private cache, untouched by auto-extensions. The WAL is checkpointed here when it
 * passes 256 KiB. Writers queue on a blocking lock of a file of the store (`catalog.lock`) and not in a sleeping busy
 * handler. Every row carries an XXH3 of its fields; a row that fails its sum is BOUGH_CORRUPT naming table and key.
 */
#ifndef BOUGH_ENGINE_CATALOG_H
#define BOUGH_ENGINE_CATALOG_H

#include "map.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct bough__catalog;

struct bough__branch_row {
    int64_t id;                 /* of the row; never used again */
    char *name;
    int64_t parent_id;          /* 0: none */
    bool has_base;
    uint8_t base[BOUGH__DIGEST_SIZE];
    uint8_t head[BOUGH__DIGEST_SIZE];
    uint32_t layer;             /* number reserved for its layer; the file is made by the first write */
    uint64_t head_txn;          /* transaction of the layer that head sealed; 0: head came from elsewhere */
    uint64_t held_txn;          /* newest transaction of the layer that any commit sealed, in the history or not */
    uint64_t node_bytes;        /* nodes written by commits of this branch, and nodes and layers of its imports */
    bool is_protected;
    int64_t created_at_ms, expires_at_ms;
};
void bough__branch_row_clear(struct bough__branch_row *row);

#define BOUGH__NOT_COUNTED UINT64_MAX
struct bough__commit_row {
    uint8_t id[BOUGH__DIGEST_SIZE];
    uint8_t root[BOUGH__DIGEST_SIZE];
    struct bough__tree tree;
    uint32_t page_size;
    uint8_t (*parents)[BOUGH__DIGEST_SIZE];
    size_t parent_count;
    char *author, *message;
    int64_t created_at_ms;
    uint64_t changed_pages;     /* BOUGH__NOT_COUNTED: too many to count while it was made; the log counts them */
    uint32_t layer;             /* whose frames it seals, 0: none */
    uint64_t txn;
    bool automatic, pruned;
};
void bough__commit_row_clear(struct bough__commit_row *row);
/* Commit id = SHA-256 of "bough commit 1\n", root (32), parent count (4), parents (32 each), created_at_ms (8), author
 * length (4) and bytes, message length (4) and bytes; integers little-endian. */
int bough__commit_id(uint8_t out[BOUGH__DIGEST_SIZE], const struct bough__commit_row *row);

struct bough__tag_row {
    char *name;
    uint8_t commit[BOUGH__DIGEST_SIZE];
    int64_t created_at_ms;
};
void bough__tag_row_clear(struct bough__tag_row *row);

/* Makes catalog.db and what belongs to it, durable, in an existing directory. The owner may always read and write. */
int bough__catalog_create(const char *directory, mode_t mode);
/* BOUGH_CORRUPT: missing, foreign, damaged or newer. Without write permission writes give BOUGH_IO. */
int bough__catalog_open(struct bough__catalog **out, const char *directory, uint32_t timeout_ms);
void bough__catalog_close(struct bough__catalog *catalog);
/* is_new: from now on, until it is taken back, the store's directory may have a name that is not durable, and whoever
 * opens the catalog makes it so first. BOUGH_BUSY: somebody is at it. */
int bough__catalog_mark_new(const char *directory, bool is_new);

/* One write transaction: takes the queue's lock, BEGIN IMMEDIATE. BOUGH_BUSY after the timeout. */
int bough__catalog_begin(struct bough__catalog *catalog);
int bough__catalog_commit(struct bough__catalog *catalog); /* durable on return (one fdatasync) */
void bough__catalog_rollback(struct bough__catalog *catalog);
/* A read transaction around several reads that must agree. Calls may nest, also within a write transaction. */
int bough__catalog_read_begin(struct bough__catalog *catalog);
void bough__catalog_read_end(struct bough__catalog *catalog);

int bough__catalog_branch_by_name(struct bough__branch_row *out, struct bough__catalog *catalog, const char *name);
int bough__catalog_branch_by_id(struct bough__branch_row *out, struct bough__catalog *catalog, int64_t id);
typedef int bough__branch_callback(void *context, const struct bough__branch_row *row);
int bough__catalog_branches(struct bough__catalog *catalog, bough__branch_callback *callback, void *context);
int bough__catalog_children(struct bough__catalog *catalog, int64_t parent_id, bough__branch_callback *callback,
                            void *context);
/* Those that are hidden. */
int bough__catalog_hidden(struct bough__catalog *catalog, bough__branch_callback *callback, void *context);
/* The row's layer is fresh from bough__catalog_new_layer; its number becomes the row's id, so that one counter serves
 * both. BOUGH_REFUSED: the name exists. */
int bough__catalog_branch_insert(struct bough__catalog *catalog, struct bough__branch_row *row);
int bough__catalog_branch_update(struct bough__catalog *catalog, const struct bough__branch_row *row);
int bough__catalog_branch_delete(struct bough__catalog *catalog, int64_t id);
/* A layer number never used before. Inside a write transaction. */
int bough__catalog_new_layer(uint32_t *out, struct bough__catalog *catalog);

int bough__catalog_commit_by_id(struct bough__commit_row *out, struct bough__catalog *catalog,
                                const uint8_t id[BOUGH__DIGEST_SIZE]);
/* Up to `limit` commits whose id starts with the hex prefix. */
int bough__catalog_commits_by_prefix(struct bough__commit_row **out, size_t *out_count,
                                     struct bough__catalog *catalog, const char *hex_prefix, size_t limit);
int bough__catalog_commit_insert(struct bough__catalog *catalog, const struct bough__commit_row *row);
/* The newest row among those that seal frames of the layer; BOUGH_NOT_FOUND. */
int bough__catalog_commit_newest(struct bough__commit_row *out, struct bough__catalog *catalog, uint32_t layer);
/* Whether some commit seals frames of the layer, so that its file has to outlive its branch. */
int bough__catalog_layer_has_commits(bool *out, struct bough__catalog *catalog, uint32_t layer);
typedef int bough__commit_callback(void *context, const struct bough__commit_row *row);
int bough__catalog_commits(struct bough__catalog *catalog, bough__commit_callback *callback, void *context);
/* Those whose rows are newer than *last (INT64_MIN: all), in the order in which they were made; *last moves on. */
int bough__catalog_commits_since(int64_t *last, struct bough__catalog *catalog, bough__commit_callback *callback,
                                 void *context);
/* Its pages may be given back; the row stays in the log. Inside a write transaction. */
int bough__catalog_commit_prune(struct bough__catalog *catalog, const uint8_t id[BOUGH__DIGEST_SIZE]);
/* What stands in the WAL goes to the database, as far as readers allow. */
void bough__catalog_checkpoint(struct bough__catalog *catalog);

/* One time that a branch took another state. */
struct bough__move_row {
    int64_t branch_id;
    char *verb;                 /* "reset", "promote", "import" */
    bool has_before;            /* false: what it had was discarded */
    uint8_t before[BOUGH__DIGEST_SIZE], after[BOUGH__DIGEST_SIZE];
    char *note;                 /* or NULL */
    int64_t created_at_ms;
};
void bough__move_row_clear(struct bough__move_row *row);
int bough__catalog_move_insert(struct bough__catalog *catalog, const struct bough__move_row *row);
typedef int bough__move_callback(void *context, const struct bough__move_row *row);
/* Of a branch, newest first, `limit` at most (0: all). */
int bough__catalog_moves(struct bough__catalog *catalog, int64_t branch_id, size_t limit,
                         bough__move_callback *callback, void *context);
/* Of all branches, made at or after from_ms. */
int bough__catalog_moves_since(struct bough__catalog *catalog, int64_t from_ms, bough__move_callback *callback,
                               void *context);
/* Forgets those made before that. */
int bough__catalog_moves_forget(struct bough__catalog *catalog, int64_t before_ms);

int bough__catalog_tag_by_name(struct bough__tag_row *out, struct bough__catalog *catalog, const char *name);
typedef int bough__tag_callback(void *context, const struct bough__tag_row *row);
int bough__catalog_tags(struct bough__catalog *catalog, bough__tag_callback *callback, void *context);
int bough__catalog_tag_insert(struct bough__catalog *catalog, const struct bough__tag_row *row);
int bough__catalog_tag_delete(struct bough__catalog *catalog, const char *name);

/* Settings: "current" (id of a branch), "origin" (path), "undo_days", ... *out NULL when there is none. The key "layer"
 * is the counter behind bough__catalog_new_layer. */
int bough__catalog_setting_get(char **out, struct bough__catalog *catalog, const char *key);
int bough__catalog_setting_put(struct bough__catalog *catalog, const char *key, const char *value); /* NULL removes */

/* Connections over a fork(); see process.h. */
void bough__catalog_before_fork(void);
void bough__catalog_after_fork_in_parent(void);
void bough__catalog_after_fork_in_child(void);

/* SQLite's own integrity_check and every row's sum; calls back per finding. */
int bough__catalog_check(struct bough__catalog *catalog,
                         int (*finding)(void *context, const char *where, const char *what), void *context);

#endif
