/* import.c - SQLite files into stores: bough_store_init, bough_store_init_empty, bough_import. */
#include "capture.h"
#include "error.h"
#include "os.h"
#include "sqlite_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A WAL database that wakes up while it is read is read again; the second time it is known to be in use. */
#define TRIES_MAX 4

/* ---- init ------------------------------------------------------------------------------------------------------ */

/* "dir/shop.sqlite" -> "dir/shop.bough"; a name without a suffix, or that is one (".db"), gets one more. */
static char *store_beside(const char *file)
{
    const char *slash = strrchr(file, '/');
    const char *name = slash ? slash + 1 : file;
    const char *dot = strrchr(name, '.');
    size_t len = dot && dot != name ? (size_t)(dot - file) : strlen(file);
    return bough__format("%.*s.bough", (int)len, file);
}

static int init_once(bough_transfer *out, bool *out_again, const char *file, const char *store_path,
                     const bough_options *options)
{
    struct bough__source source;
    char *origin = NULL;
    *out_again = false;
    int rc = bough__capture_open(&source, &origin, file, options->timeout_ms);
    if (rc != BOUGH_OK)
        return rc;
    char *beside = store_path ? NULL : store_beside(origin);
    if (store_path || beside)
        rc = bough__store_init(out, store_path ? store_path : beside, origin, &source, options);
    else
        rc = BOUGH_NOMEM;
    *out_again = rc == BOUGH_BUSY && bough__capture_moved(&source);
    source.close(source.context);
    free(beside);
    free(origin);
    return rc;
}

int bough_store_init(bough_transfer *out, const char *file, const char *store_path, const bough_options *options)
{
    bool again = true;
    int rc = BOUGH_OK;
    bough_options used;
    bough__options_read(&used, options);
    memset(out, 0, sizeof *out);
    for (int tries = 0; again && tries < TRIES_MAX; tries++)
        rc = init_once(out, &again, file, store_path, &used);
    return rc;
}

/* ---- an empty database ----------------------------------------------------------------------------------------- */

struct image {
    unsigned char *bytes; /* of SQLite's allocator */
    uint64_t len_bytes;
};

static int image_read(void *context, uint64_t offset, void *buffer, size_t len_bytes)
{
    const struct image *image = context;
    memcpy(buffer, image->bytes + offset, len_bytes);
    return BOUGH_OK;
}

/* One page, written by SQLite itself. */
static int make_image(struct image *out, uint32_t page_size)
{
    sqlite3 *db = NULL;
    sqlite3_int64 len = 0;
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA page_size=%u; VACUUM", page_size);
    int rc = sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix");
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK && !(out->bytes = sqlite3_serialize(db, "main", &len, 0)))
        rc = SQLITE_NOMEM;
    out->len_bytes = (uint64_t)len;
    int result = BOUGH_OK;
    if (rc != SQLITE_OK)
        result = bough__fail(rc == SQLITE_NOMEM ? BOUGH_NOMEM : BOUGH_SQL, "cannot make an empty database: %s",
                             db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    else if (len != (sqlite3_int64)page_size)
        result =
            bough__fail(BOUGH_SQL, "SQLite made an empty database of %lld bytes, not %u", (long long)len, page_size);
    sqlite3_close(db);
    return result;
}

int bough_store_init_empty(bough_transfer *out, const char *store_path, const bough_options *options)
{
    struct image image = {0};
    bough_options used;
    bough__options_read(&used, options);
    uint32_t page_size = used.page_size;
    memset(out, 0, sizeof *out);
    if (page_size != 0 && (page_size < 512 || page_size > 65536 || (page_size & (page_size - 1)) != 0))
        return bough__fail(BOUGH_USAGE, "a page of %u bytes: it must be a power of two from 512 to 65536", page_size);
    int rc = page_size ? make_image(&image, page_size) : BOUGH_OK;
    struct bough__source source = {.size_bytes = image.len_bytes,
                                   .page_size = page_size ? page_size : 4096,
                                   .context = &image,
                                   .read = image_read,
                                   .mode = 0644};
    if (rc == BOUGH_OK)
        rc = bough__store_init(out, store_path, NULL, &source, &used);
    sqlite3_free(image.bytes);
    return rc;
}

/* ---- import ---------------------------------------------------------------------------------------------------- */

static int import_once(bough_transfer *out, bool *out_again, bough_store *store, const char *branch, const char *file,
                       const bough_options *options)
{
    struct bough__source source;
    bough_options used = *options;
    char *path = NULL, *message = NULL;
    *out_again = false;
    int rc = bough__capture_open(&source, &path, file, options->timeout_ms);
    if (rc != BOUGH_OK)
        return rc;
    message = bough__format("import %s", strrchr(path, '/') + 1);
    if (!used.message)
        used.message = message;
    rc = message ? bough__store_import(out, store, branch, &source, &used) : BOUGH_NOMEM;
    *out_again = rc == BOUGH_BUSY && bough__capture_moved(&source);
    source.close(source.context);
    free(message);
    if (rc == BOUGH_OK)
        out->path = path;
    else
        free(path);
    return rc;
}

int bough_import(bough_transfer *out, bough_store *store, const char *branch, const char *file,
                 const bough_options *options)
{
    bool again = true;
    int rc = BOUGH_OK;
    bough_options used;
    bough__options_read(&used, options);
    memset(out, 0, sizeof *out);
    for (int tries = 0; again && tries < TRIES_MAX; tries++)
        rc = import_once(out, &again, store, branch, file, &used);
    return rc;
}
