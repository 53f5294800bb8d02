/* vfs.h - what the files of the VFS share: registration, branch paths, the handle of an open branch. */
#ifndef BOUGH_VFS_VFS_H
#define BOUGH_VFS_VFS_H

#include "header.h"
#include "journal.h"
#include "seen.h"
#include "store.h"

/* ---- vfs.c ---- */

/* Registers the VFS "bough" over the process's default VFS. Result codes of SQLite's. */
int bough__vfs_register(bool make_default);
/* The VFS underneath. */
sqlite3_vfs *bough__vfs_system(void);

/* A path such as /srv/shop.bough/db/premium, taken apart. Pointers into the path. */
struct bough__branch_path {
    size_t store_bytes; /* length of the store's own path, "/srv/shop.bough" */
    size_t file_bytes;  /* length up to and with "/db" */
    const char *name;   /* the branch's name, or a REF */
};
/* True when the path runs through a regular file `db`. No system call for stores that this process has open. */
bool bough__branch_path_parse(struct bough__branch_path *out, const char *path);
/* Adds the store to, or takes it from, those that parse knows without a system call. */
int bough__branch_path_remember(const char *path, size_t file_bytes);
void bough__branch_path_forget(const char *path, size_t file_bytes);
/* Opens the store that the path names. An engine code. */
int bough__branch_path_store(bough_store **out, const char *path, const struct bough__branch_path *parts);

/* ---- file.c, control.c ---- */

/* What SQLite's page cache was built from. */
struct bough__cache {
    bool has_state;         /* false: nothing was read yet */
    uint64_t txn;           /* the transaction whose state it shows */
    bool has_bytes;         /* bytes below are what SQLite compares with */
    uint8_t bytes[BOUGH__VALIDITY_BYTES]; /* of page 1 as SQLite last read or wrote it */
    uint32_t counter_delta; /* what the stored change counter is ahead of the one that SQLite knows */
    bool has_wal;
    unsigned wal;           /* bough__header_wal of the stored page 1, as of the open transaction */
};

/* The schema cookie as this connection sees it: the stored one and a delta, which is 0 until the branch takes another
 * state while the connection has it open. */
struct bough__cookie {
    uint32_t delta, txn_delta;   /* of the committed state; as the open transaction has it */
    bool is_stale;               /* the branch took another state: a new delta is due */
    bool has_shown;
    uint32_t highest;            /* of those that SQLite has seen */
    bool has_wanted;
    uint32_t wanted;             /* of the last PRAGMA schema_version = N */
};

/* An open branch or past state. */
struct bough__file {
    struct bough__space *space;
    struct bough__layer *layer;  /* NULL: a past state */
    int64_t branch_id;           /* finds the branch again when its layer is left */
    struct bough__snapshot snapshots[2];
    unsigned current;            /* of the two, the one that is read */
    bool is_pinned;              /* the current one holds a state; kept over unlocks */
    struct bough__txn *txn;      /* exactly while a lock above SHARED is held */
    uint64_t state;              /* the transaction that is pinned, or was just committed */
    int lock;
    uint32_t unslept_us;         /* see wait.h */
    bool is_readonly;
    bool is_fixed;               /* one state from open to close, whatever others commit */
    uint32_t page_bytes;         /* of the page 1 that SQLite last read or wrote, 0: none */
    bool is_resized;             /* what is not committed has changed it */
    uint32_t wanted_block_bytes; /* what was committed has; 0: it did not change */
    bool is_synced;              /* xSync came since the last FCNTL_SYNC */
    bool is_full;                /* PRAGMA synchronous is FULL or EXTRA */
    bool use_mapping;
    uint32_t epoch;              /* see process.h */
    bool persists_wal;           /* FCNTL_PERSIST_WAL: remembered, since someone may ask */
    sqlite3_int64 mapping_limit; /* PRAGMA mmap_size as last given; -1: never */
    sqlite3 **connection;        /* FCNTL_PDB: whoever uses the file at the moment */
    struct bough__cache cache;
    struct bough__seen seen;     /* by SQLite since its cache was empty */
    bool is_watched;             /* PRAGMA data_version was asked for: every commit of others empties the cache */
    struct bough__cookie cookie;
    struct bough__journal *journal;
    uint8_t *scratch;            /* one block */
    uint32_t scratch_bytes;
    char *path;
    size_t path_file_bytes;
};

struct bough__file_handle {
    sqlite3_file base;
    struct bough__file *file;
};

/* BOUGH_USAGE in a child of the process that opened it. */
int bough__file_refuse_inherited(const struct bough__file *file);
/* The open branch behind SQLite's handle; NULL when it is something else. */
struct bough__file *bough__file_of(sqlite3_file *handle);
/* Opens the branch or REF that path names. Result codes of SQLite's. */
int bough__file_open(sqlite3_file *out, const char *path, const struct bough__branch_path *parts, int flags,
                     int *out_flags);
/* xFileControl, and what it needs of file.c: dropping and committing the open transaction. */
int bough__file_control(sqlite3_file *handle, int operation, void *argument);
int bough__file_commit(struct bough__file *file);
/* Is the layer the branch's still? BOUGH_OK, BOUGH_STALE (the branch has another one), BOUGH_GONE. No system call
 * unless somebody has raised a doubt. */
int bough__file_look(struct bough__file *file);
/* Commits what was written to all of these or to none; one that nothing was written to is left out. */
int bough__file_commit_all(struct bough__file *const *files, size_t count);
struct bough__journal_pages bough__file_pages(struct bough__file *file);

#endif
