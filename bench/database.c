/* database.c - the variants: one database under stock SQLite's journals or on a branch, opened alike. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const bench_variant_names[VARIANT_COUNT] = {
    [STOCK_DELETE_FULL] = "DELETE/FULL", [STOCK_WAL_FULL] = "WAL/FULL",      [STOCK_WAL_NORMAL] = "WAL/NORMAL",
    [BOUGH_AT_FULL] = "bough FULL",      [BOUGH_AT_NORMAL] = "bough NORMAL",
};

bool bench_variant_is_bough(enum bench_variant variant)
{
    return variant == BOUGH_AT_FULL || variant == BOUGH_AT_NORMAL;
}

void bench_exec(sqlite3 *db, const char *sql)
{
    bench_check_sql(db, sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
}

sqlite3_stmt *bench_prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    bench_check_sql(db, sqlite3_prepare_v2(db, sql, -1, &statement, NULL), sql);
    return statement;
}

int64_t bench_query_int(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = bench_prepare(db, sql);
    bench_check_sql(db, sqlite3_step(statement), sql);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

double bench_pages_read(sqlite3 *db)
{
    int missed = 0, high = 0;
    sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_MISS, &missed, &high, 1);
    return missed;
}

sqlite3 *bench_open(const char *path_or_uri, enum bench_variant variant)
{
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
    bench_check_sql(db, sqlite3_open_v2(path_or_uri, &db, flags, NULL), path_or_uri);
    bench_exec(db, "PRAGMA cache_size=-2000");
    if (!bench_variant_is_bough(variant))
        bench_exec(db, variant == STOCK_DELETE_FULL ? "PRAGMA journal_mode=DELETE" : "PRAGMA journal_mode=WAL");
    bool normal = variant == STOCK_WAL_NORMAL || variant == BOUGH_AT_NORMAL;
    bench_exec(db, normal ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL");
    return db;
}

char *bench_branch_uri(bough_store *store, const char *branch)
{
    char *uri = NULL, *path = NULL;
    bench_check(bough_vfs_register(false), "register the VFS");
    bench_check(bough_ref_url(&uri, &path, store, branch), branch);
    free(path);
    return uri;
}

sqlite3 *bench_open_branch(bough_store *store, const char *branch, enum bench_variant variant)
{
    char *uri = bench_branch_uri(store, branch);
    sqlite3 *db = bench_open(uri, variant);
    free(uri);
    return db;
}

void bench_close(sqlite3 *db)
{
    bench_check_sql(db, sqlite3_close(db), "close");
}

bough_store *bench_store_open(const char *path)
{
    bough_store *store = NULL;
    bench_check(bough_store_open(&store, path, NULL), path);
    return store;
}

bough_store *bench_store_empty(const char *path)
{
    bough_transfer made = {0};
    bench_remove_tree(path);
    bench_check(bough_store_init_empty(&made, path, NULL), path);
    bough_transfer_release(&made);
    return bench_store_open(path);
}

bough_store *bench_store_init(const char *path, const char *file)
{
    bough_transfer made = {0};
    bench_remove_tree(path);
    bench_check(bough_store_init(&made, file, path, NULL), path);
    bough_transfer_release(&made);
    return bench_store_open(path);
}

void bench_fork(bough_store *store, const char *name, const char *from)
{
    bough_branches made = {0};
    bench_check(bough_branch_create(&made, store, &name, 1, from, NULL), name);
    bough_branches_release(&made);
}

void bench_drop(bough_store *store, const char *name)
{
    bough_branches deleted = {0};
    bough_options options = BOUGH_OPTIONS_INIT;
    options.force = true;
    bench_check(bough_branch_delete(&deleted, store, &name, 1, &options), name);
    bough_branches_release(&deleted);
}

void bench_catalog_checkpoint(const char *store_path)
{
    char *path = bench_format("%s/catalog.db", store_path);
    sqlite3 *db = NULL;
    bench_check_sql(db, sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), path);
    bench_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)");
    bench_close(db);
    free(path);
}
