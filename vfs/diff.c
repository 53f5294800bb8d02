/* diff.c - which pages differ between the states that two open connections see. */
#include "vfs.h"

#include "error.h"

#ifndef BOUGH_LOADABLE

#define SMALLEST_PAGE_BYTES 512

/* The state that a connection reads, which its read transaction keeps for it. Blocks are pages, but for a while after
 * VACUUM with another page size (file.c). */
static int state_of(const struct bough__snapshot **out, bool *out_is_paged, sqlite3 *connection)
{
    sqlite3_file *handle = NULL;
    if (sqlite3_file_control(connection, "main", SQLITE_FCNTL_FILE_POINTER, &handle) != SQLITE_OK)
        handle = NULL;
    const struct bough__file *file = bough__file_of(handle);
    if (!file)
        return bough__fail(BOUGH_USAGE, "the connection has no branch open");
    int rc = bough__file_refuse_inherited(file);
    bool is_reading = file->is_fixed || file->lock == SQLITE_LOCK_SHARED;
    if (rc == BOUGH_OK && (!is_reading || !file->is_pinned))
        rc = bough__fail(BOUGH_USAGE, "the connection to %s is not in a read transaction", file->path);
    *out = &file->snapshots[file->current];
    *out_is_paged = !file->page_bytes || !(*out)->block_size || file->page_bytes == (*out)->block_size;
    return rc;
}

/* Which pages the blocks would be is not known: all that there may be. */
static int tell_all(const struct bough__snapshot *a, const struct bough__snapshot *b, bough_page_callback *callback,
                    void *context)
{
    uint64_t size_bytes = a->size_bytes > b->size_bytes ? a->size_bytes : b->size_bytes;
    int rc = BOUGH_OK;
    for (uint64_t page = 1; rc == BOUGH_OK && callback && page <= size_bytes / SMALLEST_PAGE_BYTES; page++)
        rc = callback(context, 'c', page);
    return rc;
}

int bough_diff_connections(bough_page_diff *out, struct sqlite3 *a, struct sqlite3 *b, bough_page_callback *callback,
                           void *context)
{
    const struct bough__snapshot *from = NULL, *to = NULL;
    bool from_is_paged = false, to_is_paged = false;
    *out = (bough_page_diff){0};
    int rc = state_of(&from, &from_is_paged, a);
    if (rc == BOUGH_OK)
        rc = state_of(&to, &to_is_paged, b);
    if (rc == BOUGH_OK && from->space != to->space)
        rc = bough__fail(BOUGH_USAGE, "the connections belong to two stores");
    bool is_paged = from_is_paged && to_is_paged;
    if (rc == BOUGH_OK)
        rc = bough__snapshot_count_changes(out, from, to, is_paged ? callback : NULL, context);
    return rc == BOUGH_OK && !is_paged && !out->identical ? tell_all(from, to, callback, context) : rc;
}

#endif
