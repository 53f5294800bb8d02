/* bough.h - branches for a SQLite database: the public interface.
 *
 * A store is a directory (shop.bough/) that holds every branch of one database. A branch is a writable SQLite
 * database; a commit is an immutable, content-addressed state of one; a tag is a name for a commit.
 *
 * Conventions, true of every function unless its comment says otherwise:
 *  - The result is BOUGH_OK (0) or a negative code of enum bough_code; bough_error_message() then tells what happened
 *    and where. A failed call leaves the store as it was, and its handles usable.
 *  - Out-parameters come first. Structs filled by a call are given back with the matching _release function, which
 *    leaves them empty and may be called twice. Strings passed in are copied, never kept.
 *  - Strings are UTF-8 and zero-terminated; paths are bytes. Times are milliseconds since 1970 UTC. Sizes are bytes.
 *  - Ids are 64 lower-case hex digits and a terminating zero.
 *  - A bough_store handle may be used by one thread at a time; different handles, also of one store, are independent.
 *  - REF is the grammar of the command line: BRANCH, TAG, a commit id or a unique prefix of 6 or more hex digits, each
 *    optionally followed by ~N.
 */
#ifndef BOUGH_H
#define BOUGH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BOUGH_VERSION "0.1.0"
#define BOUGH_VERSION_NUMBER 100 /* major * 10000 + minor * 100 + patch */

#if defined(_WIN32)
#error "bough supports 64-bit Linux"
#endif
#define BOUGH_EXPORT __attribute__((visibility("default")))

/* code, name, text. The exit status of the command line is in cli/exit.h. */
#define BOUGH_CODES(X)                                                                                                 \
    X(BOUGH_OK, 0, "ok")                                                                                               \
    X(BOUGH_NO, -1, "the answer is no")                                                                                \
    X(BOUGH_USAGE, -2, "wrong usage")                   /* malformed name, REF or argument; ambiguous prefix */        \
    X(BOUGH_NOT_FOUND, -3, "not found")                 /* no such store, branch, tag, commit, file */                 \
    X(BOUGH_REFUSED, -4, "refused")                     /* exists, protected, has children, in use, not empty */       \
    X(BOUGH_BUSY, -5, "busy")                           /* another writer or opener is in the way; try again */        \
    X(BOUGH_CORRUPT, -6, "damaged")                     /* bytes on disk that fail a check; no SQLite database */      \
    X(BOUGH_IO, -7, "input/output error")               /* a system call failed, no permission */                      \
    X(BOUGH_FULL, -8, "disk full")                      /* ENOSPC, EDQUOT, EFBIG */                                    \
    X(BOUGH_SQL, -9, "SQL error")                       /* SQLite refused */                                           \
    X(BOUGH_NOMEM, -10, "out of memory")                                                                               \
    X(BOUGH_STALE, -11, "the snapshot is not the newest") /* a write from an old snapshot */                           \
    X(BOUGH_INTERRUPTED, -12, "interrupted")            /* a progress callback asked to stop */                        \
    X(BOUGH_GONE, -13, "the branch was deleted")        /* by another handle, while this one was open */

enum bough_code {
#define X(name, value, text) name = value,
    BOUGH_CODES(X)
#undef X
};

/* The constant name of a code ("BOUGH_BUSY"); never NULL. */
BOUGH_EXPORT const char *bough_code_name(int code);
/* What the last failed call of this thread says; "" when none failed. Valid until the thread's next call. */
BOUGH_EXPORT const char *bough_error_message(void);
/* For callbacks and for what is built on top: `message`, cut to 1023 bytes, becomes this thread's; returns code. */
BOUGH_EXPORT int bough_error_set(int code, const char *message);
/* BOUGH_VERSION of the library that is running. */
BOUGH_EXPORT const char *bough_version(void);

#define BOUGH_ID_SIZE 65
#define BOUGH_NAME_MAX 200

typedef struct bough_store bough_store;
typedef struct bough_lock bough_lock;

/* Called now and then in long work. total may grow while the work goes on. A result other than 0 stops the work with
 * BOUGH_INTERRUPTED and nothing changed. */
typedef int bough_progress(void *context, uint64_t done_bytes, uint64_t total_bytes);

/* Options that several calls share. Start with BOUGH_OPTIONS_INIT; NULL means the same. */
typedef struct bough_options {
    uint32_t struct_size;       /* set by BOUGH_OPTIONS_INIT; lets later versions add fields */
    uint32_t timeout_ms;        /* how long to wait for a lock */
    bough_progress *progress;   /* or NULL */
    void *progress_context;
    const char *message;        /* of a commit that the call makes, or NULL */
    int64_t ttl_ms;             /* lifetime of a branch made; 0 = no end */
    bool force;                 /* delete: although others have it open; export: overwrite; promote: although moved */
    bool recursive;             /* delete: with all descendants */
    uint32_t page_size;         /* init_empty: 0 = whatever the first write brings */
    bool discard;               /* reset: do not commit the state left behind */
    const char *expect;         /* reset, promote, import: an id; refused unless the branch is exactly that commit */
    bough_lock *lock;           /* reset, promote, import: of the branch that moves, instead of taking it; or NULL */
    const char *note;           /* reset, promote, import: goes into the record of moves, or NULL */
    bool hidden;                /* create: nobody lists them, and they do not outlive the handle; see there */
    bool automatic;             /* commit: made by the machine, not by a person */
    bool scratch;               /* create: hidden, and nothing of them is ever kept; see there */
} bough_options;
#define BOUGH_OPTIONS_INIT                                                                                             \
    {sizeof(bough_options), 5000, NULL, NULL, NULL, 0, false, false, 0, false, NULL, NULL, NULL, false, false, \
     false}

/* ---- stores ---------------------------------------------------------------------------------------------------- */

/* What init, import and export did. */
typedef struct bough_transfer {
    char *path;                 /* the store for init, else the file */
    char *branch;               /* NULL where the REF named none */
    char id[BOUGH_ID_SIZE];     /* "" where the state is no commit */
    char root[BOUGH_ID_SIZE];
    uint64_t size_bytes;
    bool changed;               /* import: false when the bytes were equal and no commit was made */
} bough_transfer;
BOUGH_EXPORT void bough_transfer_release(bough_transfer *transfer);

/* Makes a store whose branch `main` holds a committed, byte-identical copy of the SQLite database `file`, as a finished
 * checkpoint or hot-journal rollback would leave it. The file is opened read-only and never changed. store_path NULL:
 * beside the file (after resolving symlinks), last suffix replaced by ".bough". The store appears whole or not at all.
 * BOUGH_CORRUPT: no SQLite database. BOUGH_REFUSED: the store exists. */
BOUGH_EXPORT int bough_store_init(bough_transfer *out, const char *file, const char *store_path,
                                  const bough_options *options);
/* The same with an empty database: 0 bytes, or one page of options->page_size bytes. */
BOUGH_EXPORT int bough_store_init_empty(bough_transfer *out, const char *store_path, const bough_options *options);

/* Opens a store. BOUGH_NOT_FOUND: nothing there; BOUGH_CORRUPT: not a store, damaged, or newer than the program.
 * options->timeout_ms holds for every later call on the handle. */
BOUGH_EXPORT int bough_store_open(bough_store **out, const char *path, const bough_options *options);
BOUGH_EXPORT void bough_store_close(bough_store *store); /* NULL is fine */
/* Absolute path of the store; lives as long as the handle. */
BOUGH_EXPORT const char *bough_store_path(const bough_store *store);
/* Absolute path of the file that init copied, or NULL; lives as long as the handle. */
BOUGH_EXPORT const char *bough_store_origin(const bough_store *store);

/* ---- branches -------------------------------------------------------------------------------------------------- */

typedef struct bough_branch {
    char *name;
    char *parent;               /* the branch it was forked from; NULL: none, a tag or an id */
    char base[BOUGH_ID_SIZE];   /* the commit forked from; "" when none */
    char head[BOUGH_ID_SIZE];   /* the newest commit */
    bool current, dirty, is_protected;
    int64_t created_at_ms;
    int64_t expires_at_ms;      /* 0: never */
    uint64_t size_bytes;        /* of the database */
    uint64_t own_bytes;         /* in the branch's own layer and nodes */
} bough_branch;

typedef struct bough_branches {
    bough_branch *items;
    size_t count;
} bough_branches;
BOUGH_EXPORT void bough_branches_release(bough_branches *branches);

/* All branches, in the order of names. */
BOUGH_EXPORT int bough_branch_list(bough_branches *out, bough_store *store);
/* One branch (count is 1). */
BOUGH_EXPORT int bough_branch_get(bough_branches *out, bough_store *store, const char *name);
/* Forks `from` (a REF) once for each of the names: all or none. A branch with transactions that are not committed is
 * committed first (a commit of the machine). Uses options->ttl_ms and message. BOUGH_REFUSED: a name exists.
 * Durable on return; byte-identical to the newest transaction of `from`.
 *
 * options->hidden: `from` stays as it was; where its newest transaction is not committed, a commit of it beside its
 * history is their base. out has their names, ".NUMBER/NAME", which may be used wherever a branch's name may. No list
 * shows them, and nothing is refused because of them. They live as long as the handle: whoever opens the store after it
 * was closed, or its process died, drops them, unless they were renamed: that makes ordinary branches of them.
 *
 * options->scratch: hidden branches, ".NUMBER_/NAME", for work of which nothing is kept. What is written there is not
 * synced, whatever PRAGMA synchronous says, and may never reach the disk. So they cannot be renamed, and what was
 * written there cannot be committed, forked, tagged or promoted: BOUGH_REFUSED. */
BOUGH_EXPORT int bough_branch_create(bough_branches *out, bough_store *store, const char *const *names, size_t count,
                                     const char *from, const bough_options *options);
/* Drops branches and their overlays: all or none; out lists them as they were. BOUGH_REFUSED: protected, has children
 * (without options->recursive), open in another process (without options->force). */
BOUGH_EXPORT int bough_branch_delete(bough_branches *out, bough_store *store, const char *const *names, size_t count,
                                     const bough_options *options);
/* Gives branches other names, one after the other: all or none; out lists them as they were. New names are ordinary
 * ones, so a hidden branch becomes an ordinary one. BOUGH_REFUSED: a name exists. */
BOUGH_EXPORT int bough_branch_rename(bough_branches *out, bough_store *store, const char *const *old_names,
                                     const char *const *new_names, size_t count);
/* A protected branch refuses writes, reset and delete. */
BOUGH_EXPORT int bough_branch_protect(bough_branches *out, bough_store *store, const char *name, bool is_protected);
/* Makes the branch the store's current one. */
BOUGH_EXPORT int bough_branch_switch(bough_branches *out, bough_store *store, const char *name);
/* The current branch's name: *out is allocated with malloc, NULL when there is none. $BOUGH_BRANCH is the caller's. */
BOUGH_EXPORT int bough_branch_current(char **out, bough_store *store);

typedef struct bough_status {
    bough_branches branch;      /* count is 1 */
    uint64_t changed_pages;     /* differing from the base */
    int32_t *open_by;           /* ids of other processes that have a connection open */
    size_t open_by_count;
    int64_t oldest_reader_seconds; /* how long the oldest read transaction of others lasts; -1: there is none */
    uint64_t kept_bytes;        /* that such transactions keep from being used again; 0 where there is none */
    uint64_t uncommitted_transactions;
} bough_status;
BOUGH_EXPORT void bough_status_release(bough_status *status);
BOUGH_EXPORT int bough_branch_status(bough_status *out, bough_store *store, const char *name);

/* ---- commits, tags, REFs --------------------------------------------------------------------------------------- */

#define BOUGH_UNKNOWN_PAGES UINT64_MAX
typedef struct bough_commit {
    char id[BOUGH_ID_SIZE];
    char root[BOUGH_ID_SIZE];
    char (*parents)[BOUGH_ID_SIZE];
    size_t parent_count;
    char *message, *author;
    int64_t created_at_ms;
    uint64_t size_bytes;
    uint32_t page_size;         /* 0: an empty database */
    uint64_t changed_pages;     /* against the first parent; all pages where there is none; BOUGH_UNKNOWN_PAGES: nobody
                                 * counted them while gc had not given the pages back */
    bool automatic;             /* made by the machine, not by a person */
    bool pruned;                /* its pages were given back by gc */
} bough_commit;

typedef struct bough_commits {
    bough_commit *items;
    size_t count;
} bough_commits;
BOUGH_EXPORT void bough_commits_release(bough_commits *commits);

typedef struct bough_sealed {
    char *branch;
    char id[BOUGH_ID_SIZE];     /* the new head */
    char root[BOUGH_ID_SIZE];
    char left[BOUGH_ID_SIZE];   /* the head before, where it differs from the new one; else "" */
    bool changed;
} bough_sealed;
BOUGH_EXPORT void bough_sealed_release(bough_sealed *sealed);

/* Seals the branch's newest transaction as a commit. changed is false, and nothing is made, when there was none. */
BOUGH_EXPORT int bough_commit_create(bough_sealed *out, bough_store *store, const char *branch,
                                     const bough_options *options);
/* Commits from REF backwards along first parents, newest first; limit 0 = all. */
BOUGH_EXPORT int bough_commit_log(bough_commits *out, bough_store *store, const char *ref, size_t limit);
/* The same at once: what was too much to count when a commit was made is not counted now (BOUGH_UNKNOWN_PAGES). */
BOUGH_EXPORT int bough_commit_log_quick(bough_commits *out, bough_store *store, const char *ref, size_t limit);

/* Takes the writer's lock of a branch, so that nobody writes to it until the release; others wait in their busy
 * handlers. Reading, forking and committing go on. reset, promote and import take options->lock for this branch; when
 * they have moved it the lock is used up, and holds nothing any more. It ends with the process; release it before the
 * store is closed. BOUGH_BUSY: a writer does not end in time. BOUGH_REFUSED: protected. */
BOUGH_EXPORT int bough_branch_lock(bough_lock **out, bough_store *store, const char *name,
                                   const bough_options *options);
BOUGH_EXPORT void bough_lock_release(bough_lock *lock); /* NULL is fine */

/* Puts the branch back to REF's state; ref NULL: to its base commit. What it holds now is committed first (a commit of
 * the machine, out->left) unless options->discard. Connections that have it open see the new state in their next
 * transaction. BOUGH_REFUSED: protected, or not at options->expect. BOUGH_BUSY: a writer does not end in time.
 * BOUGH_USAGE: no base. */
BOUGH_EXPORT int bough_branch_reset(bough_sealed *out, bough_store *store, const char *name, const char *ref,
                                    const bough_options *options);
/* The branch `onto` (NULL: the parent of `name`) takes the state of `name`; out->left is the commit that holds what it
 * had. BOUGH_REFUSED: it has moved since the fork (without options->force), is not at options->expect, or is protected.
 * Afterwards the head of `onto` is head and base of `name`. */
BOUGH_EXPORT int bough_branch_promote(bough_sealed *out, bough_store *store, const char *name, const char *onto,
                                      const bough_options *options);

/* One time that a branch took another state by reset, promote (onto it) or import. */
typedef struct bough_move {
    char *verb;                 /* "reset", "promote", "import" */
    char before[BOUGH_ID_SIZE]; /* the commit that holds what it had; "" where that was discarded */
    char after[BOUGH_ID_SIZE];
    char *note;                 /* options->note; NULL: none */
    int64_t created_at_ms;
} bough_move;
typedef struct bough_moves {
    bough_move *items;
    size_t count;
} bough_moves;
BOUGH_EXPORT void bough_moves_release(bough_moves *moves);
/* The moves of a branch, newest first; limit 0 = all. gc forgets those that are older than its undo window. */
BOUGH_EXPORT int bough_branch_moves(bough_moves *out, bough_store *store, const char *branch, size_t limit);

typedef struct bough_tag {
    char *name;
    char id[BOUGH_ID_SIZE];
    int64_t created_at_ms;
} bough_tag;
typedef struct bough_tags {
    bough_tag *items;
    size_t count;
} bough_tags;
BOUGH_EXPORT void bough_tags_release(bough_tags *tags);
BOUGH_EXPORT int bough_tag_list(bough_tags *out, bough_store *store);
/* Tags the commit that REF names; the newest transaction of a dirty branch is committed first. */
BOUGH_EXPORT int bough_tag_create(bough_tags *out, bough_store *store, const char *name, const char *ref);
BOUGH_EXPORT int bough_tag_delete(bough_tags *out, bough_store *store, const char *name);

typedef struct bough_ref {
    char *branch;               /* the branch when REF is the name of one, else NULL */
    char id[BOUGH_ID_SIZE];     /* the commit; for a branch its head */
    bool dirty;                 /* a branch with transactions after its head: the state is no commit */
} bough_ref;
BOUGH_EXPORT void bough_ref_release(bough_ref *ref);
BOUGH_EXPORT int bough_ref_resolve(bough_ref *out, bough_store *store, const char *ref);
/* What opens REF from a program: uri for drivers that know URIs, path for those that do not. Both malloc'ed. */
BOUGH_EXPORT int bough_ref_url(char **out_uri, char **out_path, bough_store *store, const char *ref);

/* ---- bytes in and out ------------------------------------------------------------------------------------------ */

/* The file's bytes become the branch's next commit; transactions not committed are committed first. */
BOUGH_EXPORT int bough_import(bough_transfer *out, bough_store *store, const char *branch, const char *file,
                              const bough_options *options);
/* A plain SQLite file, byte-identical to REF's state. BOUGH_REFUSED: the file exists (without options->force).
 * BOUGH_BUSY: it is a live database. Never leaves a half-written file. */
BOUGH_EXPORT int bough_export(bough_transfer *out, bough_store *store, const char *ref, const char *file,
                              const bough_options *options);

typedef struct bough_page_diff {
    bool identical;
    uint64_t changed, added, removed; /* pages */
} bough_page_diff;
/* Called for each page that differs: kind is 'c', 'a' or 'r'; page numbers start at 1 as SQLite's. May be NULL. A
 * result other than 0 stops the walk and is what bough_diff_pages returns. */
typedef int bough_page_callback(void *context, char kind, uint64_t page_number);
BOUGH_EXPORT int bough_diff_pages(bough_page_diff *out, bough_store *store, const char *ref_a, const char *ref_b,
                                  bough_page_callback *callback, void *context);
/* The same for what two connections to branches or past states of one store see at the moment, each in a read
 * transaction of its own on "main" through the VFS "bough", registered by bough_vfs_register(): exactly the states that
 * they read, whatever others commit meanwhile. Neither may be used by another thread during the call. BOUGH_USAGE: no
 * such connection. */
struct sqlite3;
BOUGH_EXPORT int bough_diff_connections(bough_page_diff *out, struct sqlite3 *connection_a,
                                        struct sqlite3 *connection_b, bough_page_callback *callback, void *context);

typedef struct bough_finding {
    char *where, *what;
} bough_finding;
typedef struct bough_verification {
    bool ok;
    uint64_t checked_bytes;
    bough_finding *findings;
    size_t finding_count;
} bough_verification;
BOUGH_EXPORT void bough_verification_release(bough_verification *verification);
/* Hashes every page and node that REF (NULL: any branch, tag or commit) needs and checks the catalog against them.
 * Damage is a finding and not an error. */
BOUGH_EXPORT int bough_verify(bough_verification *out, bough_store *store, const char *ref,
                              const bough_options *options);

typedef struct bough_usage_branch {
    char *name;
    uint64_t own_bytes, shared_bytes;
} bough_usage_branch;
typedef struct bough_usage {
    uint64_t store_bytes; /* allocated on disk */
    bough_usage_branch *branches;
    size_t branch_count;
} bough_usage;
BOUGH_EXPORT void bough_usage_release(bough_usage *usage);
BOUGH_EXPORT int bough_disk_usage(bough_usage *out, bough_store *store);

#define BOUGH_UNDO_DAYS 30
typedef struct bough_collection {
    uint64_t store_bytes;       /* allocated on disk, now */
    uint64_t live_bytes;        /* of pages and map nodes that some state needs */
    uint64_t freed_bytes;       /* given back; of a dry run: what would be */
    bough_branches dropped;     /* branches whose time was over; of a dry run: that would be dropped */
    size_t pruned;              /* commits whose pages nobody can ask for any more */
    uint64_t held_bytes;        /* of a dry run: what would be given back, too, if readers did not keep its files */
} bough_collection;
BOUGH_EXPORT void bough_collection_release(bough_collection *collection);
/* Drops branches whose time is over, if nobody has them open and they have no children; then gives back every byte that
 * no branch, tag, commit made by a person, or commit made by the machine in the last undo_days days needs (negative:
 * BOUGH_UNDO_DAYS). Waits for nobody: what is in use at the moment is left for the next time. dry_run: changes nothing.
 * BOUGH_BUSY: gc is running already, or somebody without permission to write reads the store. BOUGH_CORRUPT: a page
 * map is damaged; nothing was given back. */
BOUGH_EXPORT int bough_gc(bough_collection *out, bough_store *store, int undo_days, bool dry_run,
                          const bough_options *options);

/* ---- SQLite ---------------------------------------------------------------------------------------------------- */

/* Registers the VFS "bough" with the SQLite that the library is linked to; calling it again is fine. make_default:
 * plain paths such as shop.bough/db/premium then open branches, and every other path goes to the system's own VFS. */
BOUGH_EXPORT int bough_vfs_register(bool make_default);

#ifdef __cplusplus
}
#endif
#endif
