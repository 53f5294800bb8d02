/* changeset.c - see changeset.h.
 *
 * The format stands at the head of SQLite's sqlite3session.c and is as stable as its database file. It is written here
 * because the extension itself cannot say what differs between two files without reading both, and is not compiled into
 * every libsqlite3. For each table with changes:
 *
 *     'T', number of columns (varint), for each column its place in the primary key (0: none), name, 0
 *     for each row: INSERT (18), UPDATE (23) or DELETE (9); 0; the old values; the new values
 *
 * A value is its type and its bytes: 1 and 8 bytes, 2 and 8 bytes of a double, 3 or 4 and a length (varint) and bytes,
 * 5 for NULL; 0 for one that is left out. An UPDATE has the old values of the key and of what changes, and the new ones
 * of what changes. The columns are those that PRAGMA table_info lists, without generated ones, in its order; rows whose
 * key has a NULL do not count for the extension. */
#include "changeset.h"

#include "table_rows.h"

#include <stdlib.h>
#include <string.h>

enum { OP_INSERT = 18, OP_UPDATE = 23, OP_DELETE = 9 };

struct writer {
    FILE *file;
    const struct bough__rows *rows;
    int *order;       /* column of the table -> column of the rows */
    bool has_started; /* the table's header is written */
    bool has_null_key;
};

/* ---- bytes ---- */

static void put_varint(FILE *file, uint64_t number)
{
    unsigned char bytes[10];
    int count = 0;

    do {
        bytes[count] = (unsigned char)((number & 0x7F) | (count ? 0x80 : 0));
        count++;
        number >>= 7;
    } while (number);
    while (count)
        putc(bytes[--count], file);
}

static void put64(FILE *file, uint64_t number)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        putc((int)(number >> shift & 0xFF), file);
}

static void put_bytes(FILE *file, const void *bytes, int len)
{
    put_varint(file, (uint64_t)len);
    if (len)
        fwrite(bytes, 1, (size_t)len, file);
}

static void put_value(FILE *file, sqlite3_stmt *row, int column)
{
    int type = sqlite3_column_type(row, column);
    double real = 0;
    uint64_t bits = 0;
    const void *bytes = NULL;

    putc(type, file);
    switch (type) {
    case SQLITE_INTEGER:
        put64(file, (uint64_t)sqlite3_column_int64(row, column));
        break;
    case SQLITE_FLOAT:
        real = sqlite3_column_double(row, column);
        memcpy(&bits, &real, sizeof bits);
        put64(file, bits);
        break;
    case SQLITE_TEXT:
        bytes = sqlite3_column_text(row, column);
        put_bytes(file, bytes, sqlite3_column_bytes(row, column));
        break;
    case SQLITE_BLOB:
        bytes = sqlite3_column_blob(row, column);
        put_bytes(file, bytes, sqlite3_column_bytes(row, column));
        break;
    default:
        break;
    }
}

/* ---- rows ---- */

static bool is_key(const struct writer *writer, int column)
{
    return (size_t)column < writer->rows->key_count;
}

static void put_header(struct writer *writer)
{
    const struct bough__rows *rows = writer->rows;

    if (writer->has_started)
        return;
    writer->has_started = true;
    putc('T', writer->file);
    put_varint(writer->file, rows->count);
    for (size_t i = 0; i < rows->count; i++)
        putc(is_key(writer, writer->order[i]) ? writer->order[i] + 1 : 0, writer->file);
    fwrite(rows->to_name, 1, strlen(rows->to_name) + 1, writer->file);
}

static void put_row(struct writer *writer, int operation, sqlite3_stmt *row)
{
    put_header(writer);
    putc(operation, writer->file);
    putc(0, writer->file);
    for (size_t i = 0; i < writer->rows->count; i++)
        put_value(writer->file, row, writer->order[i]);
}

static void put_update(struct writer *writer, sqlite3_stmt *from, sqlite3_stmt *to)
{
    put_header(writer);
    putc(OP_UPDATE, writer->file);
    putc(0, writer->file);
    for (size_t i = 0; i < writer->rows->count; i++) {
        int column = writer->order[i];

        if (is_key(writer, column) || !bough__value_equal(from, to, column))
            put_value(writer->file, from, column);
        else
            putc(0, writer->file);
    }
    for (size_t i = 0; i < writer->rows->count; i++) {
        int column = writer->order[i];

        if (is_key(writer, column) || bough__value_equal(from, to, column))
            putc(0, writer->file);
        else
            put_value(writer->file, to, column);
    }
}

/* Keys may be equal for the key's collation and yet be other text. */
static bool has_same_key(const struct writer *writer, sqlite3_stmt *from, sqlite3_stmt *to)
{
    for (size_t i = 0; i < writer->rows->key_count; i++) {
        if (!bough__value_equal(from, to, (int)i))
            return false;
    }
    return true;
}

static int put_change(void *context, enum bough_change change, sqlite3_stmt *from, sqlite3_stmt *to)
{
    struct writer *writer = context;

    if (bough__rows_key_is_null(writer->rows, from ? from : to)) {
        writer->has_null_key = true;
        return SQLITE_ABORT;
    }
    if (change == BOUGH_CHANGED && has_same_key(writer, from, to)) {
        put_update(writer, from, to);
        return SQLITE_OK;
    }
    if (from)
        put_row(writer, OP_DELETE, from);
    if (to)
        put_row(writer, OP_INSERT, to);
    return SQLITE_OK;
}

/* ---- tables ---- */

static int read_order(int *order, const struct bough__rows *rows)
{
    sqlite3_stmt *statement = NULL;
    size_t count = 0;
    int rc = sqlite3_prepare_v2(rows->to, "SELECT name FROM pragma_table_info(?1, 'main') ORDER BY cid", -1, &statement,
                                NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(statement, 1, rows->to_name, -1, SQLITE_STATIC);
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        size_t at = 0;

        while (name && at < rows->count && sqlite3_stricmp(rows->columns[at].name, name) != 0)
            at++;
        rc = name && at < rows->count && count < rows->count ? SQLITE_OK : SQLITE_INTERNAL;
        if (rc == SQLITE_OK)
            order[count++] = (int)at;
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int refuse(char **out, const char *name, const char *why)
{
    *out = sqlite3_mprintf("a changeset cannot hold what changed in %s: %s", name, why);
    return *out ? SQLITE_MISMATCH : SQLITE_NOMEM;
}

/* A table without a primary key may have had its pages moved, and then there is nothing to hold. */
static int check_same(char **out_refusal, sqlite3 **out_failed, const struct bough__rows *rows)
{
    struct bough__row_counts counts = {0};
    int rc = bough__rows_walk(&counts, out_failed, rows, NULL, NULL);

    if (rc == SQLITE_OK && counts.added + counts.removed + counts.changed)
        rc = refuse(out_refusal, rows->to_name, "it has no primary key");
    return rc;
}

static int put_table(const struct bough__changeset *changeset, char **out_refusal, sqlite3 **out_failed,
                     const struct bough__table_pages *table)
{
    struct bough__rows rows = {0};
    struct bough__row_counts counts = {0};
    struct writer writer = {.file = changeset->file, .rows = &rows};
    int rc = bough__rows_open(&rows, out_failed, changeset->from, table->from_name, changeset->to, table->name);

    if (rc == SQLITE_OK)
        bough__rows_narrow(&rows, table);
    if (rc == SQLITE_OK && rows.key_count == 0) {
        rc = check_same(out_refusal, out_failed, &rows);
        bough__rows_release(&rows);
        return rc;
    }
    writer.order = rc == SQLITE_OK ? malloc((rows.count + 1) * sizeof writer.order[0]) : NULL;
    if (rc == SQLITE_OK && !writer.order)
        rc = SQLITE_NOMEM;
    *out_failed = changeset->to;
    if (rc == SQLITE_OK)
        rc = read_order(writer.order, &rows);
    if (rc == SQLITE_OK)
        rc = bough__rows_walk(&counts, out_failed, &rows, put_change, &writer);
    if (writer.has_null_key)
        rc = refuse(out_refusal, table->name, "a row has NULL in its primary key");
    bough__rows_release(&rows);
    free(writer.order);
    return rc;
}

static bool is_wanted(const struct bough__changeset *changeset, const char *table)
{
    return !changeset->only_table || !sqlite3_stricmp(changeset->only_table, table);
}

/* Rows alone: a table of another shape would not take them. */
static int check_schema(char **out_refusal, const struct bough__changeset *changeset)
{
    for (size_t i = 0; i < changeset->schema->count; i++) {
        const struct bough__schema_change *change = &changeset->schema->items[i];

        if (is_wanted(changeset, change->table))
            return refuse(out_refusal, change->name, "it holds rows and no schema");
    }
    return SQLITE_OK;
}

int bough__changeset_write(const struct bough__changeset *changeset, char **out_refusal, sqlite3 **out_failed)
{
    int rc = check_schema(out_refusal, changeset);

    *out_failed = NULL;
    for (size_t i = 0; rc == SQLITE_OK && i < changeset->tables->count; i++) {
        const struct bough__table_pages *table = &changeset->tables->items[i];

        if (!table->is_virtual && is_wanted(changeset, table->owner ? table->owner : table->name))
            rc = put_table(changeset, out_refusal, out_failed, table);
    }
    if (rc == SQLITE_NOMEM)
        *out_failed = NULL;
    return rc;
}
