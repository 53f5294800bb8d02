/* twin.c - runs a history on a plain file and on a branch, and compares. */
#include "twin.h"
#include "harness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn static void differ(const struct twin *twin, const char *sql, const char *what)
{
    ck_abort_msg("%s\n  branch %s, step %u\n  %s\n  %.2000s", twin->label, twin->branch_name, twin->steps, what, sql);
    abort();
}

/* ---- functions that give SQL repeatable noise ---- */

static void noise(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    struct harness_random random = {(uint64_t)sqlite3_value_int64(values[0])};
    int len = sqlite3_value_int(values[1]);
    unsigned char *bytes = sqlite3_malloc(len > 0 ? len : 1);
    if (bytes == NULL || len < 0) {
        sqlite3_free(bytes);
        sqlite3_result_error_nomem(context);
        return;
    }
    harness_fill(&random, bytes, (size_t)len);
    sqlite3_result_blob(context, bytes, len, sqlite3_free);
}

static void words(sqlite3_context *context, int count, sqlite3_value **values)
{
    static const char *const list[16] = {"ash",   "beech",   "cherry", "dogwood", "elm",   "fir",    "ginkgo", "hazel",
                                         "iroko", "juniper", "kapok",  "linden",  "maple", "nutmeg", "oak",    "pine"};
    (void)count;
    struct harness_random random = {(uint64_t)sqlite3_value_int64(values[0])};
    char text[400] = "";
    size_t len = 0;
    for (int i = sqlite3_value_int(values[1]); i > 0 && len < sizeof(text) - 16; i--)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s ", list[harness_below(&random, 16)]);
    sqlite3_result_text(context, text, (int)len, SQLITE_TRANSIENT);
}

static sqlite3 *open_one(const struct twin *twin, const char *name)
{
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
    int rc = sqlite3_open_v2(name, &db, flags, NULL);
    if (rc != SQLITE_OK)
        differ(twin, name, db != NULL ? sqlite3_errmsg(db) : "cannot be opened");
    sqlite3_create_function(db, "noise", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, noise, NULL, NULL);
    sqlite3_create_function(db, "words", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, words, NULL, NULL);
    return db;
}

/* The plain file may be lost with the machine. The pragma also reads the schema, so both connections have it now, and
 * an interruption finds them alike. */
static void set_synchronous(const struct twin *twin, sqlite3 *db, const char *pragma)
{
    if (sqlite3_exec(db, pragma, NULL, NULL, NULL) != SQLITE_OK)
        differ(twin, pragma, sqlite3_errmsg(db));
}

static sqlite3 *open_plain(const struct twin *twin)
{
    sqlite3 *db = open_one(twin, twin->plain_path);
    set_synchronous(twin, db, "PRAGMA synchronous=OFF");
    return db;
}

static sqlite3 *open_branch(const struct twin *twin, const char *branch)
{
    char *uri = NULL, *path = NULL;
    ASSERT_OK(bough_ref_url(&uri, &path, twin->store, branch));
    sqlite3 *db = open_one(twin, uri);
    set_synchronous(twin, db, "PRAGMA synchronous=FULL");
    free(uri);
    free(path);
    return db;
}

static void close_one(const struct twin *twin, sqlite3 *db)
{
    if (sqlite3_close(db) != SQLITE_OK)
        differ(twin, "close", sqlite3_errmsg(db));
}

void twin_start(struct twin *out, const char *file, const char *label)
{
    memset(out, 0, sizeof(*out));
    snprintf(out->label, sizeof(out->label), "%s", label);
    snprintf(out->plain_path, sizeof(out->plain_path), "%s/plain.db", harness_directory());
    snprintf(out->store_path, sizeof(out->store_path), "%s/twin.bough", harness_directory());
    snprintf(out->export_path, sizeof(out->export_path), "%s/export.db", harness_directory());
    snprintf(out->branch_name, sizeof(out->branch_name), "main");
    unlink(out->plain_path);
    harness_remove_tree(out->store_path);
    bough_transfer made = {0};
    ASSERT_OK(bough_vfs_register(false));
    if (file == NULL) {
        ASSERT_OK(bough_store_init_empty(&made, out->store_path, NULL));
    } else {
        size_t len = 0;
        uint8_t *bytes = harness_read_file(file, &len);
        harness_write_file(out->plain_path, bytes, len);
        free(bytes);
        ASSERT_OK(bough_store_init(&made, out->plain_path, out->store_path, NULL));
    }
    bough_transfer_release(&made);
    ASSERT_OK(bough_store_open(&out->store, out->store_path, NULL));
    out->plain = open_plain(out);
    out->branch = open_branch(out, out->branch_name);
}

void twin_stop(struct twin *twin)
{
    close_one(twin, twin->plain);
    close_one(twin, twin->branch);
    bough_store_close(twin->store);
    unlink(twin->plain_path);
    for (unsigned i = 0; i < twin->past_count; i++)
        unlink(twin->past[i].path);
    harness_remove_tree(twin->store_path);
}

/* ---- statements ---- */

static bool same_value(sqlite3_stmt *a, sqlite3_stmt *b, int column)
{
    int type = sqlite3_column_type(a, column);
    if (type != sqlite3_column_type(b, column))
        return false;
    if (type == SQLITE_INTEGER)
        return sqlite3_column_int64(a, column) == sqlite3_column_int64(b, column);
    if (type == SQLITE_FLOAT) {
        double x = sqlite3_column_double(a, column), y = sqlite3_column_double(b, column);
        return memcmp(&x, &y, sizeof(x)) == 0;
    }
    const void *x = sqlite3_column_blob(a, column), *y = sqlite3_column_blob(b, column);
    int len = sqlite3_column_bytes(a, column);
    return len == sqlite3_column_bytes(b, column) && (len == 0 || memcmp(x, y, (size_t)len) == 0);
}

/* Both codes are the same, and the messages too where it is an error. */
static void compare_codes(struct twin *twin, const char *sql, int plain, int branch)
{
    char what[1200];
    bool is_error = plain != SQLITE_OK && plain != SQLITE_ROW && plain != SQLITE_DONE;
    const char *plain_text = is_error ? sqlite3_errmsg(twin->plain) : "";
    const char *branch_text = branch != plain || is_error ? sqlite3_errmsg(twin->branch) : "";
    if (plain == branch && (!is_error || strcmp(plain_text, branch_text) == 0)) {
        twin->errors += is_error;
        twin->has_rolled_back = twin->has_rolled_back || is_error;
        return;
    }
    snprintf(what, sizeof(what), "plain: %d %.500s, branch: %d %.500s (extended %d)", plain, plain_text, branch,
             branch_text, sqlite3_extended_errcode(twin->branch));
    differ(twin, sql, what);
}

static void compare_counters(struct twin *twin, const char *sql)
{
    if (sqlite3_changes64(twin->plain) != sqlite3_changes64(twin->branch))
        differ(twin, sql, "changes() differ");
    if (sqlite3_last_insert_rowid(twin->plain) != sqlite3_last_insert_rowid(twin->branch))
        differ(twin, sql, "last_insert_rowid() differ");
    if (sqlite3_get_autocommit(twin->plain) != sqlite3_get_autocommit(twin->branch))
        differ(twin, sql, "one is in a transaction and the other is not");
}

static void step_both(struct twin *twin, const char *sql, sqlite3_stmt *plain, sqlite3_stmt *branch)
{
    char what[160];
    for (uint64_t row = 0;; row++) {
        int a = sqlite3_step(plain), b = sqlite3_step(branch);
        compare_codes(twin, sql, a, b);
        if (a != SQLITE_ROW)
            return;
        for (int i = 0; i < sqlite3_column_count(plain); i++)
            if (!same_value(plain, branch, i)) {
                snprintf(what, sizeof(what), "row %" PRIu64 ", column %d: plain %.50s, branch %.50s", row, i,
                         (const char *)sqlite3_column_text(plain, i), (const char *)sqlite3_column_text(branch, i));
                differ(twin, sql, what);
            }
        twin->rows++;
    }
}

static void run_both(struct twin *twin, const char *sql, sqlite3 *plain, sqlite3 *branch)
{
    for (const char *next = sql; *next != '\0';) {
        sqlite3_stmt *a = NULL, *b = NULL;
        const char *tail = NULL, *other_tail = NULL;
        int rc_a = sqlite3_prepare_v2(plain, next, -1, &a, &tail);
        int rc_b = sqlite3_prepare_v2(branch, next, -1, &b, &other_tail);
        if (plain == twin->plain)
            compare_codes(twin, next, rc_a, rc_b);
        if (rc_a == SQLITE_OK && rc_b == SQLITE_OK && a != NULL)
            step_both(twin, next, a, b);
        sqlite3_finalize(a);
        sqlite3_finalize(b);
        if (rc_a != SQLITE_OK)
            break;
        next = tail;
    }
}

void twin_exec(struct twin *twin, const char *sql)
{
    twin->steps++;
    if (getenv("BOUGH_TRACE") != NULL)
        fprintf(stderr, "%u %s\n", twin->steps, sql);
    twin->has_rolled_back = twin->has_rolled_back || strstr(sql, "ROLLBACK") != NULL;
    run_both(twin, sql, twin->plain, twin->branch);
    compare_counters(twin, sql);
}

void twin_exec_quietly(struct twin *twin, const char *sql)
{
    twin->steps++;
    if (getenv("BOUGH_TRACE") != NULL)
        fprintf(stderr, "%u %s\n", twin->steps, sql);
    sqlite3_exec(twin->plain, sql, NULL, NULL, NULL);
    sqlite3_exec(twin->branch, sql, NULL, NULL, NULL);
}

static int write_one_blob(sqlite3 *db, const char *table, int64_t rowid, int offset, const void *bytes, int count)
{
    sqlite3_blob *blob = NULL;
    int rc = sqlite3_blob_open(db, "main", table, "c", rowid, 1, &blob);
    if (rc == SQLITE_OK)
        rc = sqlite3_blob_write(blob, bytes, count, offset);
    int closed = sqlite3_blob_close(blob);
    return rc != SQLITE_OK ? rc : closed;
}

void twin_write_blob(struct twin *twin, const char *table, int64_t rowid, int offset, const void *bytes, int count)
{
    twin->steps++;
    int plain = write_one_blob(twin->plain, table, rowid, offset, bytes, count);
    int branch = write_one_blob(twin->branch, table, rowid, offset, bytes, count);
    if (plain != branch)
        differ(twin, table, "incremental writes end differently");
}

static int give_up(void *context)
{
    (void)context;
    return 1;
}

void twin_interrupt_after(struct twin *twin, int operations)
{
    sqlite3_progress_handler(twin->plain, operations, operations > 0 ? give_up : NULL, NULL);
    sqlite3_progress_handler(twin->branch, operations, operations > 0 ? give_up : NULL, NULL);
}

bool twin_in_transaction(const struct twin *twin)
{
    return sqlite3_get_autocommit(twin->plain) == 0;
}

void twin_reopen(struct twin *twin)
{
    close_one(twin, twin->plain);
    close_one(twin, twin->branch);
    twin->plain = open_plain(twin);
    twin->branch = open_branch(twin, twin->branch_name);
}

void twin_observe(struct twin *twin, const char *sql)
{
    sqlite3 *plain = open_plain(twin), *branch = open_branch(twin, twin->branch_name);
    run_both(twin, sql, plain, branch);
    close_one(twin, plain);
    close_one(twin, branch);
}

/* ---- the store ---- */

void twin_fork(struct twin *twin, bool was_open)
{
    char parent[64];
    const char *child = twin->branch_name;
    bough_branches made = {0};
    snprintf(parent, sizeof(parent), "%s", twin->branch_name);
    if (!was_open) {
        close_one(twin, twin->branch);
        twin->branch = NULL;
    }
    snprintf(twin->branch_name, sizeof(twin->branch_name), "fork/%u", ++twin->forks);
    ASSERT_OK(bough_branch_create(&made, twin->store, &child, 1, parent, NULL));
    bough_branches_release(&made);
    if (was_open)
        close_one(twin, twin->branch);
    /* The parent goes its own way, which the child must not notice. */
    sqlite3 *other = open_branch(twin, parent);
    char sql[128];
    snprintf(sql, sizeof(sql), "CREATE TABLE stray%u(x); INSERT INTO stray%u VALUES(zeroblob(9000))", twin->forks,
             twin->forks);
    if (sqlite3_exec(other, sql, NULL, NULL, NULL) != SQLITE_OK)
        differ(twin, sql, sqlite3_errmsg(other));
    close_one(twin, other);
    twin->branch = open_branch(twin, twin->branch_name);
    close_one(twin, twin->plain);
    twin->plain = open_plain(twin);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Makes the unused parts of the free list's pages equal: leaves as a whole, trunks behind their list of leaves. */
static void forget_free_pages(uint8_t *plain, uint8_t *branch, size_t len)
{
    size_t page_size = len < 100 ? 0 : (size_t)plain[16] << 8 | plain[17];
    page_size = page_size == 1 ? 65536 : page_size;
    if (page_size < 512)
        return;
    size_t page_count = len / page_size, visited = 0;
    for (size_t trunk = get32(plain + 32); trunk > 0 && trunk <= page_count && visited < page_count; visited++) {
        uint8_t *page = plain + (trunk - 1) * page_size;
        size_t leaf_count = get32(page + 4), used = 8 + 4 * leaf_count;
        ck_assert_uint_le(used, page_size);
        for (size_t i = 0; i < leaf_count; i++) {
            size_t leaf = get32(page + 8 + 4 * i);
            ck_assert(leaf > 0 && leaf <= page_count);
            memcpy(branch + (leaf - 1) * page_size, plain + (leaf - 1) * page_size, page_size);
        }
        memcpy(branch + (trunk - 1) * page_size + used, page + used, page_size - used);
        trunk = get32(page);
    }
}

static void compare_with(struct twin *twin, const char *ref, const char *path)
{
    size_t plain_len = 0, branch_len = 0, at = 0;
    char what[256];
    bough_transfer made = {0};
    bough_options options = BOUGH_OPTIONS_INIT;
    options.force = true;
    ASSERT_OK(bough_export(&made, twin->store, ref, twin->export_path, &options));
    bough_transfer_release(&made);
    uint8_t *plain = harness_read_file(path, &plain_len), *branch = harness_read_file(twin->export_path, &branch_len);
    if (twin->has_rolled_back && plain_len == branch_len)
        forget_free_pages(plain, branch, plain_len);
    while (at < plain_len && at < branch_len && plain[at] == branch[at])
        at++;
    if (at < plain_len || at < branch_len) {
        snprintf(what, sizeof(what), "bytes differ from offset %zu on (plain %zu bytes, export of %.80s %zu bytes)", at,
                 plain_len, ref, branch_len);
        differ(twin, "export", what);
    }
    free(plain);
    free(branch);
}

void twin_compare(struct twin *twin)
{
    compare_with(twin, twin->branch_name, twin->plain_path);
}

void twin_commit(struct twin *twin)
{
    bough_sealed sealed = {0};
    ASSERT_OK(bough_commit_create(&sealed, twin->store, twin->branch_name, NULL));
    if (twin->past_count < TWIN_PAST_MAX) {
        size_t len = 0;
        uint8_t *bytes = harness_read_file(twin->plain_path, &len);
        snprintf(twin->past[twin->past_count].id, BOUGH_ID_SIZE, "%s", sealed.id);
        snprintf(twin->past[twin->past_count].path, 512, "%s/past%u.db", harness_directory(), twin->past_count);
        harness_write_file(twin->past[twin->past_count].path, bytes, len);
        twin->past_count++;
        free(bytes);
    }
    bough_sealed_release(&sealed);
}

void twin_compare_past(struct twin *twin)
{
    for (unsigned i = 0; i < twin->past_count; i++)
        compare_with(twin, twin->past[i].id, twin->past[i].path);
}
