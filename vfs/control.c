/* control.c - xFileControl of a branch.
 *
 * PRAGMA synchronous reaches a VFS only here, while the statement is prepared; SQLite itself then ignores it inside a
 * transaction, and so must we. OFF needs no record: no xSync comes then. journal_mode is answered where the true answer
 * would be a mode that a branch cannot have: WAL, because in exclusive mode SQLite would try it, and OFF, whose
 * ROLLBACK leaves the database to itself.
 */
#include "vfs.h"

#include "errors.h"
#include "os.h"
#include "super.h"

#include <stdlib.h>
#include <string.h>

enum { SYNCHRONOUS_FULL = 2 };

/* The level as SQLite reads it: a number, or one of these words; everything else is NORMAL. */
static int synchronous_level(const char *text)
{
    static const struct {
        const char *word;
        int level;
    } words[] = {{"off", 0}, {"no", 0}, {"false", 0}, {"on", 1}, {"yes", 1}, {"true", 1}, {"full", 2}, {"extra", 3}};
    if (text[0] >= '0' && text[0] <= '9')
        return ((atoi(text) & 0xff) + 1) % 8 - 1;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (sqlite3_stricmp(text, words[i].word) == 0)
            return words[i].level;
    }
    return 1;
}

static bool is_in_transaction(const struct bough__file *file)
{
    return file->connection && *file->connection && !sqlite3_get_autocommit(*file->connection);
}

static int answer(char **out, const char *text)
{
    *out = sqlite3_mprintf("%s", text);
    return *out ? SQLITE_OK : SQLITE_NOMEM;
}

/* arguments: the answer (out), the name, the value or NULL. */
static int control_pragma(struct bough__file *file, char **arguments)
{
    const char *name = arguments[1], *value = arguments[2];
    if (sqlite3_stricmp(name, "data_version") == 0)
        file->is_watched = true;
    if (!value)
        return SQLITE_NOTFOUND;
    if (sqlite3_stricmp(name, "synchronous") == 0) {
        if (!is_in_transaction(file))
            file->is_full = synchronous_level(value) >= SYNCHRONOUS_FULL;
    } else if (sqlite3_stricmp(name, "mmap_size") == 0) {
        file->mapping_limit = strtoll(value, NULL, 10);
        file->use_mapping = file->mapping_limit != 0;
    } else if (sqlite3_stricmp(name, "schema_version") == 0) {
        file->cookie.has_wanted = true;
        file->cookie.wanted = (uint32_t)strtoll(value, NULL, 10);
    } else if (sqlite3_stricmp(name, "journal_mode") == 0) {
        if (sqlite3_stricmp(value, "wal") == 0)
            return answer(&arguments[0], "delete");
        if (sqlite3_stricmp(value, "off") == 0)
            return answer(&arguments[0], "memory");
    }
    return SQLITE_NOTFOUND;
}

/* The only name that SQLite ever gives here is a super-journal's: a transaction that writes to several databases. */
static int control_sync(struct bough__file *file, const char *super_journal)
{
    file->is_synced = false;
    if (!super_journal)
        return SQLITE_OK;
    int rc = bough__super_join(super_journal, file);
    if (rc != SQLITE_OK)
        file->cache.has_bytes = false; /* what SQLite restores in its cache is not believed */
    return rc;
}

static int control_mapping_limit(struct bough__file *file, sqlite3_int64 *limit)
{
    if (*limit >= 0) {
        file->mapping_limit = *limit;
        file->use_mapping = *limit != 0;
    } else if (file->mapping_limit < 0) {
        return SQLITE_NOTFOUND;
    }
    *limit = file->mapping_limit;
    return SQLITE_OK;
}

static int control_temporary_name(char **out)
{
    const char *directory = getenv("SQLITE_TMPDIR");
    uint64_t number = 0;
    if (!directory)
        directory = getenv("TMPDIR");
    sqlite3_randomness(sizeof(number), &number);
    *out = sqlite3_mprintf("%s/etilqs_%llx", directory ? directory : "/tmp", (unsigned long long)number);
    return *out ? SQLITE_OK : SQLITE_NOMEM;
}

/* A flag that SQLite sets (0, 1) or asks for (negative). */
static int control_flag(bool *flag, int *argument)
{
    if (*argument < 0)
        *argument = *flag;
    else
        *flag = *argument != 0;
    return SQLITE_OK;
}

int bough__file_control(sqlite3_file *handle, int operation, void *argument)
{
    struct bough__file *file = bough__file_of(handle);
    bool is_powersafe = true;
    if (operation == SQLITE_FCNTL_SYNC && bough__file_refuse_inherited(file) != BOUGH_OK)
        return SQLITE_IOERR;
    switch (operation) {
    case SQLITE_FCNTL_COMMIT_PHASETWO:
        return bough__file_commit(file);
    case SQLITE_FCNTL_SYNC:
        return control_sync(file, argument);
    case SQLITE_FCNTL_PRAGMA:
        return control_pragma(file, argument);
    case SQLITE_FCNTL_PDB:
        file->connection = argument;
        return SQLITE_OK;
    case SQLITE_FCNTL_HAS_MOVED:
        *(int *)argument = bough__file_look(file) == BOUGH_GONE;
        return SQLITE_OK;
    case SQLITE_FCNTL_LOCKSTATE:
        *(int *)argument = file->lock;
        return SQLITE_OK;
    case SQLITE_FCNTL_LAST_ERRNO:
        *(int *)argument = 0;
        return SQLITE_OK;
    case SQLITE_FCNTL_VFSNAME:
        return answer(argument, "bough");
    case SQLITE_FCNTL_TEMPFILENAME:
        return control_temporary_name(argument);
    case SQLITE_FCNTL_MMAP_SIZE:
        return control_mapping_limit(file, argument);
    case SQLITE_FCNTL_PERSIST_WAL:
        return control_flag(&file->persists_wal, argument);
    case SQLITE_FCNTL_POWERSAFE_OVERWRITE:
        return control_flag(&is_powersafe, argument); /* always so, whatever is asked for */
    case SQLITE_FCNTL_SIZE_HINT:
    case SQLITE_FCNTL_CHUNK_SIZE:
    case SQLITE_FCNTL_OVERWRITE:
        return SQLITE_OK;
    default:
        return SQLITE_NOTFOUND;
    }
}
