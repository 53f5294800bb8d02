/* database.c - see database.h. */
#include "database.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFERS 8
#define BUFFER_BYTES 4096

static char log_text[65536];

static void keep_log(void *context, int code, const char *message)
{
    (void)context;
    size_t used = strlen(log_text);
    snprintf(log_text + used, sizeof(log_text) - used, "%d %s\n", code, message);
}

const char *database_log(void)
{
    static char shown[sizeof(log_text)];
    memcpy(shown, log_text, sizeof(shown));
    log_text[0] = 0;
    return shown;
}

static char *next_buffer(void)
{
    static _Thread_local char buffers[BUFFERS][BUFFER_BYTES];
    static _Thread_local unsigned next;
    return buffers[next++ % BUFFERS];
}

void database_store(const char *name)
{
    static bool is_logging;
    bough_transfer made = {0};
    char path[BUFFER_BYTES];
    if (!is_logging)
        sqlite3_config(SQLITE_CONFIG_LOG, keep_log, NULL);
    is_logging = true;
    snprintf(path, sizeof(path), "%s/%s.bough", harness_directory(), name);
    ASSERT_OK(bough_store_init_empty(&made, path, NULL));
    bough_transfer_release(&made);
    ASSERT_OK(bough_vfs_register(false));
}

const char *database_path(const char *store, const char *ref)
{
    char *out = next_buffer();
    snprintf(out, BUFFER_BYTES, "%s/%s.bough/db/%s", harness_directory(), store, ref);
    return out;
}

const char *database_uri(const char *store, const char *ref, const char *parameters)
{
    char *out = next_buffer();
    snprintf(out, BUFFER_BYTES, "file:%s/%s.bough/db/%s?vfs=bough%s", harness_directory(), store, ref, parameters);
    return out;
}

int database_try_open(sqlite3 **out, const char *uri, int flags)
{
    int rc = sqlite3_open_v2(uri, out, flags | SQLITE_OPEN_URI, NULL);
    if (rc != SQLITE_OK) {
        rc = sqlite3_extended_errcode(*out);
        sqlite3_close(*out);
        *out = NULL;
    } else {
        sqlite3_extended_result_codes(*out, 1);
    }
    return rc;
}

sqlite3 *database_open_uri(const char *uri)
{
    sqlite3 *db = NULL;
    int rc = database_try_open(&db, uri, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    ck_assert_msg(rc == SQLITE_OK, "cannot open %s: %d, %s", uri, rc, bough_error_message());
    return db;
}

sqlite3 *database_open(void)
{
    return database_open_uri(database_uri("s", "main", ""));
}

void database_close(sqlite3 *db)
{
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

static char *format_sql(const char *format, va_list arguments)
{
    char *sql = sqlite3_vmprintf(format, arguments);
    ck_assert_ptr_nonnull(sql);
    return sql;
}

static int run(sqlite3 *db, const char *sql)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? SQLITE_OK : sqlite3_extended_errcode(db);
}

void database_run(sqlite3 *db, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *sql = format_sql(format, arguments);
    va_end(arguments);
    int rc = run(db, sql);
    ck_assert_msg(rc == SQLITE_OK, "%.200s: %d %s (%s)", sql, rc, sqlite3_errmsg(db), bough_error_message());
    sqlite3_free(sql);
}

int database_try(sqlite3 *db, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *sql = format_sql(format, arguments);
    va_end(arguments);
    int rc = run(db, sql);
    sqlite3_free(sql);
    return rc;
}

/* Prepares, steps once. */
static sqlite3_stmt *first_row(sqlite3 *db, const char *format, va_list arguments)
{
    sqlite3_stmt *statement = NULL;
    char *sql = format_sql(format, arguments);
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    ck_assert_msg(rc == SQLITE_ROW || rc == SQLITE_DONE, "%.200s: %d %s (%s)", sql, rc, sqlite3_errmsg(db),
                  bough_error_message());
    sqlite3_free(sql);
    return statement;
}

int64_t database_number(sqlite3 *db, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    sqlite3_stmt *statement = first_row(db, format, arguments);
    va_end(arguments);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

const char *database_text(sqlite3 *db, const char *format, ...)
{
    va_list arguments;
    char *out = next_buffer();
    va_start(arguments, format);
    sqlite3_stmt *statement = first_row(db, format, arguments);
    va_end(arguments);
    const char *text = (const char *)sqlite3_column_text(statement, 0);
    snprintf(out, BUFFER_BYTES, "%s", text ? text : "");
    sqlite3_finalize(statement);
    return out;
}

char *database_rows(sqlite3 *db, const char *format, ...)
{
    va_list arguments;
    size_t used = 0;
    char *out = calloc(1, 1);
    va_start(arguments, format);
    sqlite3_stmt *statement = first_row(db, format, arguments);
    va_end(arguments);
    for (bool more = sqlite3_data_count(statement) > 0; more; more = sqlite3_step(statement) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            const char *text = (const char *)sqlite3_column_text(statement, i);
            size_t len = text ? strlen(text) : 0;
            out = realloc(out, used + len + 2);
            if (len > 0)
                memcpy(out + used, text, len);
            out[used + len] = '|';
            out[used + len + 1] = 0;
            used += len + 1;
        }
    }
    ck_assert_int_eq(sqlite3_finalize(statement), SQLITE_OK);
    return out;
}

void database_check(sqlite3 *db)
{
    ck_assert_str_eq(database_text(db, "PRAGMA integrity_check"), "ok");
}

void database_fill(sqlite3 *db, int count, int bytes)
{
    database_run(db, "CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b)");
    database_run(db,
                 "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < %d)"
                 " INSERT INTO t SELECT x, hex(randomblob(%d)) FROM c",
                 count, bytes / 2);
}

sqlite3_file *database_file(sqlite3 *db)
{
    sqlite3_file *file = NULL;
    ck_assert_int_eq(sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file), SQLITE_OK);
    return file;
}

uint8_t *database_bytes(sqlite3 *db, int64_t *out_size)
{
    sqlite3_file *file = database_file(db);
    sqlite3_int64 size = 0;
    ck_assert_int_eq(file->pMethods->xFileSize(file, &size), SQLITE_OK);
    uint8_t *bytes = malloc((size_t)size + 1);
    if (size > 0)
        ck_assert_int_eq(file->pMethods->xRead(file, bytes, (int)size, 0), SQLITE_OK);
    *out_size = size;
    return bytes;
}
