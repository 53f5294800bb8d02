/* keys.c - see keys.h.
 *
 * The bytes of a key are read here, as SQLite's record format has them; which keys are equal and which comes first is
 * left to SQLite, in a table of keys with the collations of the key. */
#include "keys.h"

#include "table_rows.h"

#include <stdlib.h>
#include <string.h>

enum {
    BYTES_MAX = 32 * 1024 * 1024,
    LENGTH_BYTES = 4,
    SERIAL_REAL = 7,
    SERIAL_ZERO = 8,
    SERIAL_ONE = 9,
    SERIAL_BYTES = 12, /* from here on: even for BLOBs, odd for text */
};

/* ---- records ---- */

/* A record's header: its own length, then a type for each column. */
struct record {
    const uint8_t *bytes;
    uint32_t len;        /* of what is at hand */
    uint32_t header, at; /* length of the header, place in it */
    uint32_t body;       /* where the value of the next column begins */
};

static bool open_record(struct record *out, const uint8_t *bytes, uint32_t len)
{
    uint64_t header = 0;
    size_t at = bough__btree_varint(&header, bytes, bytes + len);

    *out = (struct record){bytes, len, (uint32_t)header, (uint32_t)at, (uint32_t)header};
    return at && header >= at && header <= INT32_MAX;
}

static bool next_type(uint64_t *out_type, uint32_t *out_len, struct record *record)
{
    static const uint8_t lengths[SERIAL_BYTES] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0};
    size_t read = 0;

    if (record->at < record->header && record->header <= record->len)
        read = bough__btree_varint(out_type, record->bytes + record->at, record->bytes + record->header);
    if (!read || *out_type / 2 > INT32_MAX || *out_type == SERIAL_ONE + 1 || *out_type == SERIAL_ONE + 2)
        return false;
    record->at += (uint32_t)read;
    *out_len = *out_type < SERIAL_BYTES ? lengths[*out_type] : (uint32_t)((*out_type - SERIAL_BYTES) / 2);
    return true;
}

/* SQLite takes UTF-16 text from a program only as a whole number of units, and drops a byte order mark. */
static bool is_odd_text(uint32_t encoding, uint64_t type, const uint8_t *bytes, uint32_t len)
{
    if (encoding == SQLITE_UTF8 || type < SERIAL_BYTES || type % 2 == 0)
        return false;
    return len % 2 || (len && ((bytes[0] == 0xFF && bytes[1] == 0xFE) || (bytes[0] == 0xFE && bytes[1] == 0xFF)));
}

static bool has_odd_text(const struct bough__keys *keys, const uint8_t *bytes, uint32_t len)
{
    struct record record = {0};
    bool odd = !open_record(&record, bytes, len);

    for (uint32_t i = 0; !odd && i < keys->column_count; i++) {
        uint64_t type = 0;
        uint32_t value_len = 0;

        odd = !next_type(&type, &value_len, &record) || value_len > len - record.body ||
              is_odd_text(keys->encoding, type, bytes + record.body, value_len);
        record.body += value_len;
    }
    return odd;
}

/* How many bytes of the record its key takes, or as many as it takes to find out. 0: it is no such record. */
static uint64_t key_length(const uint8_t *bytes, uint32_t len, uint32_t column_count)
{
    struct record record = {0};
    uint64_t total = 0;

    if (!open_record(&record, bytes, len))
        return 0;
    total = record.header;
    for (uint32_t i = 0; record.header <= len && i < column_count; i++) {
        uint64_t type = 0;
        uint32_t value = 0;

        if (!next_type(&type, &value, &record))
            return 0;
        total += value;
    }
    return total;
}

/* ---- collecting ---- */

static int reserve(struct bough__keys *keys, uint64_t len)
{
    size_t wanted = keys->capacity ? keys->capacity : 4096;
    uint8_t *bytes = NULL;

    if (keys->len + len > BYTES_MAX)
        return BOUGH__BTREE_STOPPED;
    while (wanted < keys->len + len)
        wanted *= 2;
    if (wanted == keys->capacity)
        return BOUGH__BTREE_OK;
    bytes = realloc(keys->bytes, wanted);
    if (!bytes)
        return BOUGH__BTREE_NOMEM;
    keys->bytes = bytes;
    keys->capacity = wanted;
    return BOUGH__BTREE_OK;
}

int bough__keys_add(struct bough__keys *keys, struct bough__btrees *trees, const struct bough__cell *cell)
{
    uint64_t wanted = key_length(cell->bytes + cell->payload_at, cell->local_len, keys->column_count);
    uint64_t len = 0;
    int rc = BOUGH__BTREE_OK;

    /* Twice, where the header does not stand on the page. */
    while (rc == BOUGH__BTREE_OK && wanted > len) {
        len = wanted;
        rc = wanted > cell->payload_len ? BOUGH__BTREE_ODD : reserve(keys, wanted + LENGTH_BYTES);
        if (rc == BOUGH__BTREE_OK)
            rc = bough__btree_payload(trees, keys->bytes + keys->len + LENGTH_BYTES, (uint32_t)len, cell);
        if (rc == BOUGH__BTREE_OK)
            wanted = key_length(keys->bytes + keys->len + LENGTH_BYTES, (uint32_t)len, keys->column_count);
    }
    if (rc == BOUGH__BTREE_OK && (!wanted || has_odd_text(keys, keys->bytes + keys->len + LENGTH_BYTES, (uint32_t)len)))
        rc = BOUGH__BTREE_ODD;
    if (rc != BOUGH__BTREE_OK)
        return rc;
    memcpy(keys->bytes + keys->len, &(uint32_t){(uint32_t)len}, LENGTH_BYTES);
    keys->len += len + LENGTH_BYTES;
    keys->count++;
    return BOUGH__BTREE_OK;
}

void bough__keys_release(struct bough__keys *keys)
{
    free(keys->bytes);
    keys->bytes = NULL;
    keys->len = keys->capacity = keys->count = 0;
}

/* ---- sorting ---- */

static int64_t get_integer(const uint8_t *bytes, uint32_t len)
{
    uint64_t value = len && bytes[0] & 0x80 ? UINT64_MAX : 0;

    for (uint32_t i = 0; i < len; i++)
        value = value << 8 | bytes[i];
    return (int64_t)value;
}

static int bind_value(sqlite3_stmt *insert, int at, const struct bough__keys *keys, uint64_t type, const uint8_t *bytes,
                      uint32_t len)
{
    int64_t integer = 0;
    double real = 0;

    if (type >= SERIAL_BYTES && type % 2)
        return sqlite3_bind_text64(insert, at, (const char *)bytes, len, SQLITE_STATIC, (unsigned char)keys->encoding);
    if (type >= SERIAL_BYTES)
        return sqlite3_bind_blob64(insert, at, bytes, len, SQLITE_STATIC);
    if (type == 0)
        return sqlite3_bind_null(insert, at);
    if (type == SERIAL_ZERO || type == SERIAL_ONE)
        return sqlite3_bind_int64(insert, at, type == SERIAL_ONE);
    integer = get_integer(bytes, len);
    if (type != SERIAL_REAL)
        return sqlite3_bind_int64(insert, at, integer);
    memcpy(&real, &integer, sizeof real);
    return sqlite3_bind_double(insert, at, real);
}

static int insert_key(sqlite3_stmt *insert, const struct bough__keys *keys, const uint8_t *bytes, uint32_t len)
{
    struct record record = {0};
    int rc = open_record(&record, bytes, len) ? SQLITE_OK : SQLITE_CORRUPT;

    for (uint32_t i = 0; rc == SQLITE_OK && i < keys->column_count; i++) {
        uint64_t type = 0;
        uint32_t value_len = 0;

        rc = next_type(&type, &value_len, &record) && value_len <= len - record.body ? SQLITE_OK : SQLITE_CORRUPT;
        if (rc == SQLITE_OK)
            rc = bind_value(insert, (int)i + 1, keys, type, bytes + record.body, value_len);
        record.body += value_len;
    }
    if (rc == SQLITE_OK && (rc = sqlite3_step(insert)) == SQLITE_DONE)
        rc = sqlite3_reset(insert);
    return rc;
}

static int insert_keys(sqlite3_stmt *insert, const struct bough__keys *keys)
{
    int rc = SQLITE_OK;

    for (size_t at = 0; rc == SQLITE_OK && at < keys->len;) {
        uint32_t len = 0;

        memcpy(&len, keys->bytes + at, LENGTH_BYTES);
        rc = insert_key(insert, keys, keys->bytes + at + LENGTH_BYTES, len);
        at += LENGTH_BYTES + len;
    }
    return rc;
}

/* "CREATE TABLE k(k0 COLLATE NOCASE, …, PRIMARY KEY(k0, …)) WITHOUT ROWID", or the INSERT for it, or the SELECT. */
enum text { TEXT_CREATE, TEXT_INSERT, TEXT_SELECT };

static char *text_of(enum text text, const struct bough__rows *rows)
{
    sqlite3_str *sql = sqlite3_str_new(NULL);
    int count = (int)rows->key_count;

    if (text == TEXT_CREATE)
        sqlite3_str_appendall(sql, "CREATE TABLE k(");
    for (int i = 0; text == TEXT_CREATE && i < count; i++)
        sqlite3_str_appendf(sql, "k%d COLLATE %s, ", i, rows->columns[i].collation);
    sqlite3_str_appendall(sql, text == TEXT_CREATE   ? "PRIMARY KEY("
                               : text == TEXT_INSERT ? "INSERT OR IGNORE INTO k VALUES ("
                                                     : "SELECT * FROM k ORDER BY ");
    for (int i = 0; i < count; i++) {
        sqlite3_str_appendf(sql, text == TEXT_INSERT ? "%s?%d" : "%sk%d", i ? ", " : "",
                            text == TEXT_INSERT ? i + 1 : i);
        if (text == TEXT_SELECT)
            sqlite3_str_appendf(sql, " COLLATE %s", bough__rows_collation(rows, rows->columns[i].collation));
    }
    sqlite3_str_appendall(sql, text == TEXT_CREATE ? ")) WITHOUT ROWID; BEGIN" : text == TEXT_INSERT ? ")" : "");
    return sqlite3_str_finish(sql);
}

static int prepare(sqlite3_stmt **out, sqlite3 *handle, enum text text, const struct bough__rows *rows)
{
    char *sql = text_of(text, rows);
    int rc = sql ? sqlite3_prepare_v2(handle, sql, -1, out, NULL) : SQLITE_NOMEM;

    sqlite3_free(sql);
    return rc;
}

static int create(sqlite3 *handle, const struct bough__rows *rows)
{
    static const char *const encodings[] = {"", "PRAGMA encoding = 'UTF-8'", "PRAGMA encoding = 'UTF-16le'",
                                            "PRAGMA encoding = 'UTF-16be'"};
    char *sql = text_of(TEXT_CREATE, rows);
    int rc = sql ? bough__bytes_collation(handle) : SQLITE_NOMEM;

    if (rc == SQLITE_OK)
        rc = sqlite3_exec(handle, encodings[rows->keys->encoding & 3], NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(handle, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return rc;
}

int bough__keys_sort(sqlite3 **out, const struct bough__rows *rows)
{
    sqlite3_stmt *insert = NULL;
    int rc = sqlite3_open(":memory:", out);

    if (rc == SQLITE_OK)
        rc = create(*out, rows);
    if (rc == SQLITE_OK)
        rc = prepare(&insert, *out, TEXT_INSERT, rows);
    if (rc == SQLITE_OK)
        rc = insert_keys(insert, rows->keys);
    sqlite3_finalize(insert);
    return rc;
}

int bough__keys_read(sqlite3_stmt **out, sqlite3 *sorted, const struct bough__rows *rows)
{
    return prepare(out, sorted, TEXT_SELECT, rows);
}
