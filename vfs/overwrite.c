/* overwrite.c - replacing a database in place, under SQLite's own protocol.
 *
 * The lock is SQLite's; the pages go into the file past its pager, because the pager would change the header. So that a
 * crash leaves one state or the other, the journal is written here, in SQLite's format (replay.c has it), and in
 * SQLite's order: records and header, sync; database, sync; journal's header zeroed, sync, which is the commit. (To
 * remove the journal would be one, too, but a sync of the directory that fails could not be taken back.) Pages that are
 * equal in both states are neither journalled nor written.
 *
 * Connections in other processes keep pages while bytes 24 to 39 of the file stay the same, and their idea of the
 * schema while bytes 40 to 43 do. Both are counters; two histories can reach the same number. Where that would deceive
 * them nothing is written.
 */
#include "overwrite.h"

#include "error.h"
#include "os.h"
#include "uri.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR_BYTES 512
#define LOCK_BYTE    0x40000000u

struct overwrite {
    const char *path;
    char *journal_path;
    int journal_fd;
    sqlite3_file *file;
    const struct bough__replacement *new;
    uint64_t old_size;
    uint32_t page_size;
    uint32_t nonce, record_count;
    uint8_t *old_page, *new_page, *record;
    uint8_t header[SECTOR_BYTES]; /* of the journal */
};

static void put_big(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (24 - 8 * i));
}

static int fail_file(const struct overwrite *overwrite, const char *verb, int sqlite_code)
{
    return bough__fail((sqlite_code & 0xff) == SQLITE_FULL ? BOUGH_FULL : BOUGH_IO, "cannot %s %s: %s", verb,
                       overwrite->path, sqlite3_errstr(sqlite_code));
}

/* The page of both files at offset, zeros beyond their ends; *out_differs also where only the end differs. */
static int compare_page(bool *out_differs, const struct overwrite *overwrite, uint64_t offset)
{
    size_t len = 0;
    uint64_t old_end = overwrite->old_size, new_end = overwrite->new->size_bytes, end = offset + overwrite->page_size;
    memset(overwrite->old_page, 0, overwrite->page_size);
    memset(overwrite->new_page, 0, overwrite->page_size);
    if (offset < old_end) {
        int code = overwrite->file->pMethods->xRead(overwrite->file, overwrite->old_page, (int)overwrite->page_size,
                                                    (sqlite3_int64)offset);
        if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ)
            return fail_file(overwrite, "read", code);
    }
    int rc = bough__os_read_some(&len, overwrite->new->fd, overwrite->new_page, overwrite->page_size, offset,
                                 "the new state");
    *out_differs = (old_end < end ? old_end : end) != (new_end < end ? new_end : end) ||
                   memcmp(overwrite->old_page, overwrite->new_page, overwrite->page_size) != 0;
    return rc;
}

/* ---- would anybody be deceived ---- */

static int schema_of(char **out, sqlite3 *db)
{
    static const char sql[] = "SELECT group_concat(quote(type) || quote(name) || quote(tbl_name) || quote(rootpage) ||"
                              " quote(sql)) FROM main.sqlite_schema";
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        *out = bough__strdup(text ? text : "");
    }
    sqlite3_finalize(statement);
    return *out ? BOUGH_OK : bough__fail(BOUGH_BUSY, "the schema cannot be compared: %s", sqlite3_errmsg(db));
}

static int compare_schemas(bool *out_equal, sqlite3 *db, const struct bough__replacement *replacement)
{
    char *old_schema = NULL, *new_schema = NULL;
    sqlite3 *other = NULL;
    int rc = schema_of(&old_schema, db);
    char *uri = bough__uri(replacement->path, "immutable=1"); /* or a WAL header would make a WAL beside it */
    if (rc == BOUGH_OK && !uri)
        rc = BOUGH_NOMEM;
    if (rc == BOUGH_OK && sqlite3_open_v2(uri, &other, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, "unix") != SQLITE_OK)
        rc = bough__fail(BOUGH_IO, "cannot open %s: %s", uri, other ? sqlite3_errmsg(other) : "no memory");
    if (rc == BOUGH_OK)
        rc = schema_of(&new_schema, other);
    sqlite3_close(other);
    *out_equal = rc == BOUGH_OK && strcmp(old_schema, new_schema) == 0;
    free(old_schema);
    free(new_schema);
    free(uri);
    return rc;
}

static int check_counters(const struct overwrite *overwrite, sqlite3 *db)
{
    bool equal = true, differs = false;
    int rc = compare_page(&differs, overwrite, 0);
    if (rc != BOUGH_OK || overwrite->old_size == 0)
        return rc;
    if (memcmp(overwrite->old_page + 24, overwrite->new_page + 24, 16) == 0)
        return bough__fail(BOUGH_BUSY, "%s is open in another process, which could not tell the two states apart",
                           overwrite->path);
    if (memcmp(overwrite->old_page + 40, overwrite->new_page + 40, 4) == 0)
        rc = compare_schemas(&equal, db, overwrite->new);
    if (rc == BOUGH_OK && !equal)
        rc = bough__fail(BOUGH_BUSY, "%s is open in another process, which would not notice the new schema",
                         overwrite->path);
    return rc;
}

/* ---- the journal ---- */

static int add_record(struct overwrite *overwrite, uint64_t page)
{
    size_t size = (size_t)overwrite->page_size + 8;
    uint32_t sum = overwrite->nonce;
    for (int64_t i = (int64_t)overwrite->page_size - 200; i > 0; i -= 200)
        sum += overwrite->old_page[i];
    put_big(overwrite->record, (uint32_t)page + 1);
    memcpy(overwrite->record + 4, overwrite->old_page, overwrite->page_size);
    put_big(overwrite->record + 4 + overwrite->page_size, sum);
    uint64_t offset = SECTOR_BYTES + (uint64_t)overwrite->record_count++ * size;
    return bough__os_write(overwrite->journal_fd, overwrite->record, size, offset, overwrite->journal_path);
}

static int add_records(struct overwrite *overwrite)
{
    int rc = BOUGH_OK;
    for (uint64_t page = 0; rc == BOUGH_OK && page < overwrite->old_size / overwrite->page_size; page++) {
        bool differs = false;
        rc = compare_page(&differs, overwrite, page * overwrite->page_size);
        if (rc == BOUGH_OK && differs && page == LOCK_BYTE / overwrite->page_size)
            rc = bough__fail(BOUGH_BUSY, "%s is open in another process and differs in the page of its locks",
                             overwrite->path);
        if (rc == BOUGH_OK && differs)
            rc = add_record(overwrite, page);
    }
    return rc;
}

/* Whoever may write the database must be able to roll it back. */
static int make_journal(struct overwrite *overwrite)
{
    struct stat info;
    if (bough__os.lstat(overwrite->path, &info) != 0)
        return bough__fail_errno("examine", overwrite->path);
    int rc = bough__os_open(&overwrite->journal_fd, overwrite->journal_path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
                            info.st_mode & 0777);
    if (rc == BOUGH_OK && fchown(overwrite->journal_fd, info.st_uid, info.st_gid) != 0 && errno != EPERM)
        rc = bough__fail_errno("set the owner of", overwrite->journal_path);
    if (rc == BOUGH_OK && fchmod(overwrite->journal_fd, info.st_mode & 0777) != 0)
        rc = bough__fail_errno("set the mode of", overwrite->journal_path);
    return rc;
}

static int write_header(const struct overwrite *overwrite, const uint8_t header[SECTOR_BYTES])
{
    int rc = bough__os_write(overwrite->journal_fd, header, SECTOR_BYTES, 0, overwrite->journal_path);
    return rc == BOUGH_OK ? bough__os_sync(overwrite->journal_fd, overwrite->journal_path) : rc;
}

static int write_journal(struct overwrite *overwrite, const char *directory)
{
    static const uint8_t magic[] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
    uint8_t *header = overwrite->header;
    int rc = bough__os_random(&overwrite->nonce, sizeof overwrite->nonce);
    if (rc == BOUGH_OK)
        rc = make_journal(overwrite);
    if (rc == BOUGH_OK)
        rc = add_records(overwrite);
    memcpy(header, magic, sizeof magic);
    put_big(header + 8, overwrite->record_count);
    put_big(header + 12, overwrite->nonce);
    put_big(header + 16, (uint32_t)(overwrite->old_size / overwrite->page_size));
    put_big(header + 20, SECTOR_BYTES);
    put_big(header + 24, overwrite->page_size);
    if (rc == BOUGH_OK)
        rc = write_header(overwrite, header);
    return rc == BOUGH_OK ? bough__os_sync_directory(directory) : rc;
}

/* The commit. Where it fails the journal is hot again. What is left of it afterwards means nothing to anybody. */
static int end_journal(const struct overwrite *overwrite)
{
    static const uint8_t nothing[SECTOR_BYTES];
    struct bough__error_state error;
    int rc = write_header(overwrite, nothing);
    bough__error_save(&error);
    if (rc != BOUGH_OK)
        (void)write_header(overwrite, overwrite->header);
    else
        bough__os.unlink(overwrite->journal_path);
    bough__error_restore(&error);
    return rc;
}

/* ---- the database ---- */

static int write_database(const struct overwrite *overwrite)
{
    const struct sqlite3_io_methods *methods = overwrite->file->pMethods;
    uint64_t size = overwrite->new->size_bytes;
    int code = SQLITE_OK;
    for (uint64_t offset = 0; code == SQLITE_OK && offset < size; offset += overwrite->page_size) {
        bool differs = false;
        int rc = compare_page(&differs, overwrite, offset);
        if (rc != BOUGH_OK)
            return rc;
        uint64_t len = size - offset < overwrite->page_size ? size - offset : overwrite->page_size;
        if (differs)
            code = methods->xWrite(overwrite->file, overwrite->new_page, (int)len, (sqlite3_int64)offset);
    }
    if (code == SQLITE_OK)
        code = methods->xTruncate(overwrite->file, (sqlite3_int64)size);
    if (code == SQLITE_OK)
        code = methods->xSync(overwrite->file, SQLITE_SYNC_FULL);
    return code == SQLITE_OK ? BOUGH_OK : fail_file(overwrite, "write", code);
}

static int page_size_of(uint32_t *out, sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "PRAGMA page_size", -1, &statement, NULL);
    if (code == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
        *out = (uint32_t)sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return *out ? BOUGH_OK : bough__fail(BOUGH_IO, "cannot tell the page size: %s", sqlite3_errmsg(db));
}

static int examine(struct overwrite *overwrite, sqlite3 *db)
{
    sqlite3_int64 size = 0;
    int rc = page_size_of(&overwrite->page_size, db);
    int code = sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &overwrite->file);
    if (rc == BOUGH_OK && code == SQLITE_OK)
        code = overwrite->file->pMethods->xFileSize(overwrite->file, &size);
    if (rc == BOUGH_OK && code != SQLITE_OK)
        rc = fail_file(overwrite, "examine", code);
    overwrite->old_size = (uint64_t)size;
    if (rc == BOUGH_OK && overwrite->old_size % overwrite->page_size != 0)
        rc = bough__fail(BOUGH_BUSY, "%s is open in another process and ends within a page", overwrite->path);
    if (rc != BOUGH_OK)
        return rc;
    overwrite->old_page = bough__alloc(overwrite->page_size);
    overwrite->new_page = bough__alloc(overwrite->page_size);
    overwrite->record = bough__alloc((size_t)overwrite->page_size + 8);
    return overwrite->old_page && overwrite->new_page && overwrite->record ? BOUGH_OK : BOUGH_NOMEM;
}

static void release(struct overwrite *overwrite)
{
    bough__os_close(&overwrite->journal_fd);
    free(overwrite->journal_path);
    free(overwrite->old_page);
    free(overwrite->new_page);
    free(overwrite->record);
}

int bough__overwrite_check(sqlite3 *db, const char *path, const struct bough__replacement *replacement)
{
    struct overwrite overwrite = {.path = path, .new = replacement, .journal_fd = -1};
    int rc = examine(&overwrite, db);
    if (rc == BOUGH_OK)
        rc = check_counters(&overwrite, db);
    release(&overwrite);
    return rc;
}

int bough__overwrite(sqlite3 *db, const char *path, const struct bough__replacement *replacement)
{
    struct overwrite overwrite = {.path = path, .new = replacement, .journal_fd = -1};
    char *directory = bough__format("%.*s", (int)(strrchr(path, '/') - path), path);
    const char *folder = directory && directory[0] ? directory : "/";
    overwrite.journal_path = bough__format("%s-journal", path);
    int rc = directory && overwrite.journal_path ? examine(&overwrite, db) : BOUGH_NOMEM;
    if (rc == BOUGH_OK) {
        rc = write_journal(&overwrite, folder);
        if (rc != BOUGH_OK && overwrite.journal_fd >= 0)
            bough__os.unlink(overwrite.journal_path); /* the database was not touched yet */
    }
    if (rc == BOUGH_OK)
        rc = write_database(&overwrite);
    if (rc == BOUGH_OK)
        rc = end_journal(&overwrite);
    release(&overwrite);
    free(directory);
    return rc;
}
