/* test_catalog.c - the catalog: rows, transactions, damage, and what it costs. */
#include "faultos.h"
#include "harness.h"
#include "sqlite_bridge.h"

#include "bough.h"
#include "catalog.h"
#include "os.h"

#include <errno.h>
#include <grp.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct bough__catalog *make(void)
{
    struct bough__catalog *catalog = NULL;
    ASSERT_OK(bough__catalog_create(harness_directory(), 0640));
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 1000));
    return catalog;
}

/* A commit of the empty database. */
static struct bough__commit_row commit_row(const char *message)
{
    struct bough__commit_row row = {.created_at_ms = 1700000000000, .layer = 3, .txn = UINT64_MAX, .changed_pages = 7};
    row.author = strdup("someone");
    row.message = strdup(message);
    row.parents = malloc(2 * BOUGH__DIGEST_SIZE);
    row.parent_count = 2;
    memset(row.parents[0], 1, BOUGH__DIGEST_SIZE);
    memset(row.parents[1], 2, BOUGH__DIGEST_SIZE);
    ASSERT_OK(bough__root_id(row.root, &row.tree));
    ASSERT_OK(bough__commit_id(row.id, &row));
    return row;
}

static int64_t insert_branch(struct bough__catalog *catalog, const char *name, int64_t parent_id)
{
    struct bough__branch_row row = {.parent_id = parent_id, .created_at_ms = 5};
    row.name = strdup(name);
    memset(row.head, 9, sizeof row.head);
    ASSERT_OK(bough__catalog_new_layer(&row.layer, catalog));
    ASSERT_OK(bough__catalog_branch_insert(catalog, &row));
    ck_assert_int_eq(row.id, row.layer);
    bough__branch_row_clear(&row);
    return row.id ? row.id : 0;
}

static int64_t id_of(struct bough__catalog *catalog, const char *name)
{
    struct bough__branch_row row;
    ASSERT_OK(bough__catalog_branch_by_name(&row, catalog, name));
    int64_t id = row.id;
    bough__branch_row_clear(&row);
    return id;
}

/* main, two children of it, a commit, a move to it, a tag, a setting */
static struct bough__catalog *make_filled(void)
{
    struct bough__catalog *catalog = make();
    struct bough__commit_row commit = commit_row("first");
    struct bough__tag_row tag = {strdup("v1"), {0}, 12};
    struct bough__move_row move = {
        .verb = strdup("reset"), .note = strdup("why"), .has_before = true, .created_at_ms = 13};
    memcpy(tag.commit, commit.id, sizeof tag.commit);
    memcpy(move.before, commit.id, sizeof move.before);
    memcpy(move.after, commit.id, sizeof move.after);
    ASSERT_OK(bough__catalog_begin(catalog));
    insert_branch(catalog, "main", 0);
    insert_branch(catalog, "b", id_of(catalog, "main"));
    insert_branch(catalog, "a", id_of(catalog, "main"));
    ASSERT_OK(bough__catalog_commit_insert(catalog, &commit));
    move.branch_id = id_of(catalog, "a");
    ASSERT_OK(bough__catalog_move_insert(catalog, &move));
    ASSERT_OK(bough__catalog_tag_insert(catalog, &tag));
    ASSERT_OK(bough__catalog_setting_put(catalog, "origin", "/x/y"));
    ASSERT_OK(bough__catalog_commit(catalog));
    bough__move_row_clear(&move);
    bough__commit_row_clear(&commit);
    bough__tag_row_clear(&tag);
    return catalog;
}

static sqlite3 *raw_open(void)
{
    sqlite3 *db = NULL;
    ck_assert_int_eq(sqlite3_open(harness_path("catalog.db"), &db), SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return db;
}

static void raw(const char *sql)
{
    sqlite3 *db = raw_open();
    char *message = NULL;
    int code = sqlite3_exec(db, sql, NULL, NULL, &message);
    ck_assert_msg(code == SQLITE_OK, "%s: %s", sql, message);
    sqlite3_close(db);
}

static int64_t raw_integer(const char *sql)
{
    sqlite3 *db = raw_open();
    sqlite3_stmt *statement = NULL;
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return value;
}

/* ---- rows ---- */

TEST(branches)
{
    struct bough__catalog *catalog = make();
    struct bough__branch_row row = {.parent_id = 77, .has_base = true, .head_txn = UINT64_MAX, .node_bytes = 4096};
    struct bough__branch_row read;
    row.name = strdup("feature/x");
    row.is_protected = true;
    row.created_at_ms = -5;
    row.expires_at_ms = INT64_MAX;
    memset(row.base, 1, sizeof row.base);
    memset(row.head, 2, sizeof row.head);
    ASSERT_OK(bough__catalog_begin(catalog));
    ASSERT_OK(bough__catalog_new_layer(&row.layer, catalog));
    ASSERT_OK(bough__catalog_branch_insert(catalog, &row));
    ASSERT_OK(bough__catalog_commit(catalog));
    ASSERT_OK(bough__catalog_branch_by_name(&read, catalog, "feature/x"));
    ck_assert_int_eq(read.id, row.id);
    ck_assert_int_eq(read.parent_id, 77);
    ck_assert(read.has_base && read.is_protected);
    ck_assert_mem_eq(read.base, row.base, sizeof row.base);
    ck_assert_mem_eq(read.head, row.head, sizeof row.head);
    ck_assert_uint_eq(read.head_txn, UINT64_MAX);
    ck_assert_uint_eq(read.node_bytes, 4096);
    ck_assert_int_eq(read.created_at_ms, -5);
    ck_assert_int_eq(read.expires_at_ms, INT64_MAX);
    bough__branch_row_clear(&read);
    bough__branch_row_clear(&read);
    row.has_base = false;
    ASSERT_OK(bough__catalog_begin(catalog));
    ASSERT_OK(bough__catalog_branch_update(catalog, &row));
    ASSERT_OK(bough__catalog_commit(catalog));
    ASSERT_OK(bough__catalog_branch_by_id(&read, catalog, row.id));
    ck_assert(!read.has_base);
    ck_assert_str_eq(read.name, "feature/x");
    bough__branch_row_clear(&read);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__catalog_branch_by_name(&read, catalog, "feature"));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__catalog_branch_by_id(&read, catalog, row.id + 1));
    ck_assert_ptr_null(read.name);
    bough__branch_row_clear(&row);
    bough__catalog_close(catalog);
}

TEST(branch_names_are_unique_and_ids_never_come_back)
{
    struct bough__catalog *catalog = make_filled();
    struct bough__branch_row row = {.name = strdup("a")};
    int64_t newest = id_of(catalog, "a");
    ASSERT_OK(bough__catalog_begin(catalog));
    ASSERT_OK(bough__catalog_new_layer(&row.layer, catalog));
    ASSERT_CODE(BOUGH_REFUSED, bough__catalog_branch_insert(catalog, &row));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "a"));
    bough__catalog_rollback(catalog);
    bough__branch_row_clear(&row);
    ASSERT_OK(bough__catalog_begin(catalog));
    ASSERT_OK(bough__catalog_branch_delete(catalog, newest));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__catalog_branch_delete(catalog, newest));
    ASSERT_OK(bough__catalog_commit(catalog));
    bough__catalog_close(catalog);
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 0));
    ASSERT_OK(bough__catalog_begin(catalog));
    insert_branch(catalog, "c", 0);
    ck_assert_int_gt(id_of(catalog, "c"), newest);
    ASSERT_OK(bough__catalog_commit(catalog));
    bough__catalog_close(catalog);
}

static int join_names(void *context, const struct bough__branch_row *row)
{
    strcat(strcat(context, row->name), " ");
    return BOUGH_OK;
}

static int stop(void *context, const struct bough__branch_row *row)
{
    (void)row;
    ++*(int *)context;
    return 42;
}

static int nest(void *context, const struct bough__branch_row *row)
{
    struct bough__catalog *catalog = context;
    char names[64] = "";
    ASSERT_OK(bough__catalog_children(catalog, row->id, join_names, names));
    ck_assert_str_eq(names, strcmp(row->name, "main") == 0 ? "b a " : "");
    return BOUGH_OK;
}

TEST(scans)
{
    struct bough__catalog *catalog = make_filled();
    char names[64] = "";
    int calls = 0;
    ASSERT_OK(bough__catalog_branches(catalog, join_names, names));
    ck_assert_str_eq(names, "a b main ");
    ck_assert_int_eq(bough__catalog_branches(catalog, stop, &calls), 42);
    ck_assert_int_eq(calls, 1);
    ASSERT_OK(bough__catalog_branches(catalog, nest, catalog));
    names[0] = 0;
    ASSERT_OK(bough__catalog_children(catalog, 0, join_names, names)); /* 0 is no parent, but the lack of one */
    ck_assert_str_eq(names, "");
    bough__catalog_close(catalog);
}

static void check_commit(const struct bough__commit_row *a, const struct bough__commit_row *b)
{
    ck_assert_mem_eq(a->id, b->id, sizeof a->id);
    ck_assert_mem_eq(a->root, b->root, sizeof a->root);
    ck_assert_mem_eq(&a->tree, &b->tree, sizeof a->tree);
    ck_assert_uint_eq(a->page_size, b->page_size);
    ck_assert_uint_eq(a->parent_count, b->parent_count);
    ck_assert_mem_eq(a->parents, b->parents, a->parent_count * BOUGH__DIGEST_SIZE);
    ck_assert_str_eq(a->author, b->author);
    ck_assert_str_eq(a->message, b->message);
    ck_assert_int_eq(a->created_at_ms, b->created_at_ms);
    ck_assert_uint_eq(a->changed_pages, b->changed_pages);
    ck_assert_uint_eq(a->layer, b->layer);
    ck_assert_uint_eq(a->txn, b->txn);
    ck_assert(a->automatic == b->automatic && a->pruned == b->pruned);
}

static int count_commit(void *context, const struct bough__commit_row *row)
{
    (void)row;
    ++*(int *)context;
    return BOUGH_OK;
}

TEST(commits)
{
    struct bough__catalog *catalog = make();
    struct bough__commit_row root = {0}, row = commit_row("m\303\251ssage\nwith \"lines\"\n"), read;
    char *message = malloc(100001);
    bool has = false;
    int count = 0;
    memset(message, 'm', 100000);
    message[100000] = 0;
    struct bough__commit_row large = commit_row(message);
    large.automatic = large.pruned = true;
    large.layer = 0;
    root.author = strdup("");
    root.message = strdup("");
    ASSERT_OK(bough__root_id(root.root, &root.tree));
    ASSERT_OK(bough__commit_id(root.id, &root));
    ASSERT_OK(bough__catalog_begin(catalog));
    ASSERT_OK(bough__catalog_commit_insert(catalog, &row));
    ASSERT_OK(bough__catalog_commit_insert(catalog, &large));
    ASSERT_OK(bough__catalog_commit_insert(catalog, &root));
    ASSERT_CODE(BOUGH_REFUSED, bough__catalog_commit_insert(catalog, &root));
    ASSERT_OK(bough__catalog_commit(catalog));
    ASSERT_OK(bough__catalog_commit_by_id(&read, catalog, row.id));
    check_commit(&read, &row);
    bough__commit_row_clear(&read);
    ASSERT_OK(bough__catalog_commit_by_id(&read, catalog, large.id));
    check_commit(&read, &large);
    bough__commit_row_clear(&read);
    ASSERT_OK(bough__catalog_commit_by_id(&read, catalog, root.id));
    ck_assert_uint_eq(read.parent_count, 0);
    bough__commit_row_clear(&read);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__catalog_commit_by_id(&read, catalog, (const uint8_t *)message));
    ASSERT_OK(bough__catalog_commits(catalog, count_commit, &count));
    ck_assert_int_eq(count, 3);
    ASSERT_OK(bough__catalog_layer_has_commits(&has, catalog, 3));
    ck_assert(has);
    ASSERT_OK(bough__catalog_layer_has_commits(&has, catalog, 0));
    ck_assert(!has);
    ASSERT_OK(bough__catalog_layer_has_commits(&has, catalog, 4));
    ck_assert(!has);
    bough__commit_row_clear(&row);
    bough__commit_row_clear(&large);
    bough__commit_row_clear(&root);
    free(message);
    bough__catalog_close(catalog);
}

/* The id is part of the format: computed here from the words of catalog.h. */
TEST(commit_id)
{
    struct bough__commit_row row = commit_row("hello");
    uint8_t bytes[512], expected[BOUGH__DIGEST_SIZE];
    size_t len = 0;
#define PUT(data, size) (memcpy(bytes + len, (data), (size)), len += (size))
    PUT("bough commit 1\n", 15);
    PUT(row.root, 32);
    PUT("\2\0\0\0", 4);
    PUT(row.parents, 64);
    PUT("\0\x68\xe5\xcf\x8b\1\0\0", 8); /* 1700000000000 */
    PUT("\7\0\0\0someone", 11);
    PUT("\5\0\0\0hello", 9);
#undef PUT
    ASSERT_OK(bough__sha256(expected, bytes, len));
    ck_assert_mem_eq(row.id, expected, sizeof expected);
    bough__commit_row_clear(&row);
}

TEST(prefixes)
{
    struct bough__catalog *catalog = make();
    struct bough__commit_row rows[40], *found = NULL;
    char hex[2 * BOUGH__DIGEST_SIZE + 1], text[16];
    size_t count = 0, expected = 0;
    ASSERT_OK(bough__catalog_begin(catalog));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        snprintf(text, sizeof text, "%zu", i);
        rows[i] = commit_row(text);
        ASSERT_OK(bough__catalog_commit_insert(catalog, &rows[i]));
    }
    ASSERT_OK(bough__catalog_commit(catalog));
    bough__hex(hex, rows[0].id, BOUGH__DIGEST_SIZE);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expected += rows[i].id[0] >> 4 == rows[0].id[0] >> 4;
    for (size_t len = 1; len <= 64; len++) {
        char prefix[65] = "";
        memcpy(prefix, hex, len);
        for (char *c = prefix; len % 2 && *c; c++)
            *c = (char)(*c >= 'a' ? *c - 32 : *c);
        ASSERT_OK(bough__catalog_commits_by_prefix(&found, &count, catalog, prefix, 100));
        ck_assert_uint_ge(count, 1);
        if (len == 1)
            ck_assert_uint_eq(count, expected);
        if (len > 10)
            ck_assert_uint_eq(count, 1);
        for (size_t i = 0; i < count; i++)
            bough__commit_row_clear(&found[i]);
        free(found);
    }
    ASSERT_OK(bough__catalog_commits_by_prefix(&found, &count, catalog, "", 5));
    ck_assert_uint_eq(count, 5);
    for (size_t i = 0; i < count; i++)
        bough__commit_row_clear(&found[i]);
    free(found);
    ASSERT_CODE(BOUGH_USAGE, bough__catalog_commits_by_prefix(&found, &count, catalog, "xyz", 5));
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        bough__commit_row_clear(&rows[i]);
    bough__catalog_close(catalog);
}

TEST(tags_and_settings)
{
    struct bough__catalog *catalog = make_filled();
    struct bough__tag_row tag;
    char *value = NULL;
    ASSERT_OK(bough__catalog_tag_by_name(&tag, catalog, "v1"));
    ck_assert_int_eq(tag.created_at_ms, 12);
    ASSERT_OK(bough__catalog_begin(catalog));
    ASSERT_CODE(BOUGH_REFUSED, bough__catalog_tag_insert(catalog, &tag));
    ASSERT_OK(bough__catalog_tag_delete(catalog, "v1"));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__catalog_tag_delete(catalog, "v1"));
    ASSERT_OK(bough__catalog_commit(catalog));
    bough__tag_row_clear(&tag);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__catalog_tag_by_name(&tag, catalog, "v1"));
    ASSERT_OK(bough__catalog_setting_get(&value, catalog, "origin"));
    ck_assert_str_eq(value, "/x/y");
    free(value);
    ASSERT_OK(bough__catalog_begin(catalog));
    ASSERT_OK(bough__catalog_setting_put(catalog, "origin", ""));
    ASSERT_OK(bough__catalog_setting_get(&value, catalog, "origin"));
    ck_assert_str_eq(value, "");
    free(value);
    ASSERT_OK(bough__catalog_setting_put(catalog, "origin", NULL));
    ASSERT_OK(bough__catalog_commit(catalog));
    ASSERT_OK(bough__catalog_setting_get(&value, catalog, "origin"));
    ck_assert_ptr_null(value);
    bough__catalog_close(catalog);
}

/* ---- transactions ---- */

TEST(rollback_leaves_nothing)
{
    struct bough__catalog *catalog = make_filled();
    struct bough__branch_row row;
    ASSERT_OK(bough__catalog_begin(catalog));
    insert_branch(catalog, "x", 0);
    bough__catalog_rollback(catalog);
    bough__catalog_rollback(catalog);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__catalog_branch_by_name(&row, catalog, "x"));
    ASSERT_OK(bough__catalog_begin(catalog));
    insert_branch(catalog, "x", 0);
    bough__catalog_close(catalog); /* in mid-transaction */
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 0));
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__catalog_branch_by_name(&row, catalog, "x"));
    bough__catalog_close(catalog);
}

TEST(writers_queue_and_readers_do_not)
{
    struct bough__catalog *catalog = make_filled(), *other = NULL;
    char names[64] = "";
    ASSERT_OK(bough__catalog_open(&other, harness_directory(), 20));
    ASSERT_OK(bough__catalog_begin(catalog));
    insert_branch(catalog, "x", 0);
    ASSERT_CODE(BOUGH_BUSY, bough__catalog_begin(other));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "catalog.db"));
    ASSERT_OK(bough__catalog_branches(other, join_names, names));
    ck_assert_str_eq(names, "a b main ");
    ASSERT_OK(bough__catalog_read_begin(other));
    names[0] = 0;
    ASSERT_OK(bough__catalog_branches(other, join_names, names));
    ASSERT_OK(bough__catalog_commit(catalog));
    names[0] = 0;
    ASSERT_OK(bough__catalog_read_begin(other)); /* within the first: the same state */
    ASSERT_OK(bough__catalog_branches(other, join_names, names));
    ck_assert_str_eq(names, "a b main ");
    bough__catalog_read_end(other);
    bough__catalog_read_end(other);
    names[0] = 0;
    ASSERT_OK(bough__catalog_branches(other, join_names, names));
    ck_assert_str_eq(names, "a b main x ");
    ASSERT_OK(bough__catalog_begin(other));
    ASSERT_OK(bough__catalog_read_begin(other));
    bough__catalog_read_end(other);
    insert_branch(other, "y", 0);
    ASSERT_OK(bough__catalog_commit(other));
    ASSERT_OK(bough__catalog_begin(catalog));
    bough__catalog_rollback(catalog);
    bough__catalog_close(other);
    bough__catalog_close(catalog);
}

TEST(foreign_writer)
{
    struct bough__catalog *catalog = make_filled();
    sqlite3 *db = raw_open();
    bough__catalog_close(catalog);
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 20));
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    ASSERT_CODE(BOUGH_BUSY, bough__catalog_begin(catalog));
    ck_assert_int_eq(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    ASSERT_OK(bough__catalog_begin(catalog));
    bough__catalog_rollback(catalog);
    sqlite3_close(db);
    bough__catalog_close(catalog);
}

TEST(killed_writer)
{
    struct bough__catalog *catalog = make_filled();
    char names[64] = "";
    int status = 0;
    bough__catalog_close(catalog);
    pid_t pid = fork();
    if (pid == 0) {
        if (bough__catalog_open(&catalog, harness_directory(), 0) == BOUGH_OK &&
            bough__catalog_begin(catalog) == BOUGH_OK && bough__catalog_setting_put(catalog, "k", "v") == BOUGH_OK)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 0));
    ASSERT_OK(bough__catalog_begin(catalog));
    insert_branch(catalog, "x", 0);
    ASSERT_OK(bough__catalog_commit(catalog));
    ASSERT_OK(bough__catalog_branches(catalog, join_names, names));
    ck_assert_str_eq(names, "a b main x ");
    bough__catalog_close(catalog);
}

/* ---- what the WAL must hold ---- */

static void tag_once(struct bough__catalog *catalog, const char *name)
{
    struct bough__tag_row tag = {strdup(name), {7}, 12};
    ASSERT_OK(bough__catalog_begin(catalog));
    ASSERT_OK(bough__catalog_tag_insert(catalog, &tag));
    ASSERT_OK(bough__catalog_commit(catalog));
    bough__tag_row_clear(&tag);
}

static bool has_tag(const char *name)
{
    struct bough__catalog *catalog = NULL;
    struct bough__tag_row tag = {0};
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 0));
    int rc = bough__catalog_tag_by_name(&tag, catalog, name);
    ck_assert(rc == BOUGH_OK || rc == BOUGH_NOT_FOUND);
    bough__tag_row_clear(&tag);
    bough__catalog_close(catalog);
    return rc == BOUGH_OK;
}

struct file_copy {
    const char *name;
    uint8_t *bytes;
    size_t len;
};

static struct file_copy keep(const char *name)
{
    struct file_copy copy = {.name = name};
    copy.bytes = harness_read_file(harness_path(name), &copy.len);
    return copy;
}

static void put_back(const struct file_copy *copy)
{
    harness_write_file(harness_path(copy->name), copy->bytes, copy->len);
}

TEST(an_older_state_is_damage)
{
    struct bough__catalog *catalog = make_filled();
    bough__catalog_close(catalog);
    struct file_copy wal = keep("catalog.db-wal"), lock = keep("catalog.lock");
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 0));
    tag_once(catalog, "late");
    bough__catalog_close(catalog);
    struct file_copy new_wal = keep("catalog.db-wal"), new_lock = keep("catalog.lock");
    put_back(&wal);
    ASSERT_CODE(BOUGH_CORRUPT, bough__catalog_open(&catalog, harness_directory(), 0));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "catalog.db-wal"));
    /* With what belongs to it the older state is a sound one, until it is told what there was. */
    put_back(&lock);
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 0));
    put_back(&new_lock);
    ASSERT_CODE(BOUGH_CORRUPT, bough__catalog_begin(catalog));
    ASSERT_CODE(BOUGH_CORRUPT, bough__catalog_begin(catalog));
    bough__catalog_close(catalog);
    put_back(&new_wal);
    ck_assert(has_tag("late"));
    free(wal.bytes);
    free(lock.bytes);
    free(new_wal.bytes);
    free(new_lock.bytes);
}

TEST(a_newer_state_is_none)
{
    struct bough__catalog *catalog = make_filled();
    struct file_copy lock = keep("catalog.lock");
    tag_once(catalog, "late");
    bough__catalog_close(catalog);
    /* A writer was killed before it could tell, the page cache was lost, or a byte of what it told has rotted. */
    put_back(&lock);
    ck_assert(has_tag("late"));
    for (size_t i = 1; i < lock.len; i++) {
        lock.bytes[i] ^= 0x10;
        put_back(&lock);
        ck_assert(has_tag("late"));
        lock.bytes[i] ^= 0x10;
    }
    harness_write_file(harness_path("catalog.lock"), "", 0);
    ck_assert(has_tag("late"));
    ck_assert_int_eq(unlink(harness_path("catalog.lock")), 0);
    ck_assert(has_tag("late"));
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 0));
    tag_once(catalog, "later");
    bough__catalog_close(catalog);
    ck_assert(has_tag("later"));
    /* As an older version of the program leaves it, which does not count. */
    raw("DELETE FROM settings WHERE key = 'transactions'");
    ck_assert_int_eq(unlink(harness_path("catalog.lock")), 0);
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 0));
    tag_once(catalog, "latest");
    bough__catalog_close(catalog);
    ck_assert(has_tag("latest"));
    free(lock.bytes);
}

TEST(what_changes_nothing_costs_nothing)
{
    struct bough__catalog *catalog = make_filled();
    struct file_copy wal = keep("catalog.db-wal"), lock = keep("catalog.lock");
    ASSERT_OK(bough__catalog_begin(catalog));
    ck_assert_int_gt(id_of(catalog, "main"), 0);
    ASSERT_OK(bough__catalog_commit(catalog));
    struct file_copy new_wal = keep("catalog.db-wal"), new_lock = keep("catalog.lock");
    ck_assert_uint_eq(new_wal.len, wal.len);
    ck_assert_mem_eq(new_wal.bytes, wal.bytes, wal.len);
    ck_assert_uint_eq(new_lock.len, lock.len);
    ck_assert_mem_eq(new_lock.bytes, lock.bytes, lock.len);
    tag_once(catalog, "after");
    bough__catalog_close(catalog);
    ck_assert(has_tag("after"));
    free(wal.bytes);
    free(lock.bytes);
    free(new_wal.bytes);
    free(new_lock.bytes);
}

TEST(several_writers_in_turn)
{
    struct bough__catalog *catalogs[3] = {make_filled()};
    char name[16];
    ASSERT_OK(bough__catalog_open(&catalogs[1], harness_directory(), 1000));
    ASSERT_OK(bough__catalog_open(&catalogs[2], harness_directory(), 1000));
    for (unsigned i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "t%u", i);
        tag_once(catalogs[i % 3], name);
        ck_assert(has_tag(name));
    }
    ASSERT_OK(bough__catalog_begin(catalogs[0])); /* what is rolled back does not count */
    bough__catalog_rollback(catalogs[0]);
    tag_once(catalogs[1], "last");
    ck_assert(has_tag("last"));
    for (unsigned i = 0; i < 3; i++)
        bough__catalog_close(catalogs[i]);
    ck_assert(has_tag("last"));
}

/* ---- the file ---- */

TEST(files_and_settings_of_the_database)
{
    struct bough__catalog *catalog = make_filled();
    static const char *const names[] = {"catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.lock"};
    struct stat info;
    bough__catalog_close(catalog);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        ck_assert_int_eq(stat(harness_path(names[i]), &info), 0);
        ck_assert_msg((info.st_mode & 0777) == 0640, "%s has mode %o", names[i], info.st_mode);
    }
    ck_assert_int_eq(raw_integer("PRAGMA page_size"), 1024);
    ck_assert_int_ne(raw_integer("PRAGMA application_id"), 0);
    ck_assert_int_eq(raw_integer("PRAGMA user_version"), 2);
    ck_assert_int_eq(raw_integer("SELECT count(*) FROM branches"), 3);
    ck_assert_int_eq(raw_integer("SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"), 1);
}

static uint64_t size_of(const char *name)
{
    struct stat info;
    ck_assert_int_eq(stat(harness_path(name), &info), 0);
    return (uint64_t)info.st_size;
}

TEST(the_wal_stays_small_and_is_checkpointed)
{
    struct bough__catalog *catalog = make();
    char name[32];
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "branch-%d", i);
        ASSERT_OK(bough__catalog_begin(catalog));
        insert_branch(catalog, name, i > 0 ? id_of(catalog, "branch-0") : 0);
        ASSERT_OK(bough__catalog_commit(catalog));
    }
    ck_assert_uint_le(size_of("catalog.db-wal"), 300 * 1024);
    ck_assert_uint_gt(size_of("catalog.db"), 100 * 1024);
    bough__catalog_close(catalog);
    ck_assert_int_eq(raw_integer("SELECT count(*) FROM branches"), 2000);
    /* What a fork costs in the long run. */
    raw("PRAGMA wal_checkpoint(TRUNCATE)");
    ck_assert_uint_lt(size_of("catalog.db"), 2000 * 1000);
}

/* Frames in the WAL since it last started over: those that carry the salt of its header. */
static unsigned wal_frames(void)
{
    size_t len = 0;
    unsigned frames = 0;
    uint8_t *bytes = harness_read_file(harness_path("catalog.db-wal"), &len);
    for (size_t at = 32; at + 24 + 1024 <= len && memcmp(bytes + at + 8, bytes + 16, 8) == 0; at += 24 + 1024)
        frames++;
    free(bytes);
    return frames;
}

TEST(a_fork_writes_four_pages)
{
    struct bough__catalog *catalog = make();
    char name[32];
    unsigned pages = 0, forks = 0, four = 0;
    ASSERT_OK(bough__catalog_begin(catalog));
    insert_branch(catalog, "main", 0);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "seed-%d", i);
        insert_branch(catalog, name, 1);
    }
    ASSERT_OK(bough__catalog_commit(catalog));
    for (int i = 0; i < 300; i++) {
        unsigned before = wal_frames();
        snprintf(name, sizeof name, "fork-%d", i);
        ASSERT_OK(bough__catalog_begin(catalog));
        insert_branch(catalog, name, 1);
        ASSERT_OK(bough__catalog_commit(catalog));
        unsigned after = wal_frames();
        if (after <= before)
            continue; /* it started over */
        forks++;
        pages += after - before;
        four += after - before <= 4;
    }
    ck_assert_uint_gt(forks, 250);
    /* A leaf that is full is split or shares with its neighbours, which costs two or three more. */
    ck_assert_msg(four * 2 >= forks, "%u of %u forks wrote up to four pages", four, forks);
    ck_assert_msg(pages < forks * 6, "%u pages for %u forks", pages, forks);
    bough__catalog_close(catalog);
}

/* ---- strangers in the process ---- */

static int meddle(sqlite3 *db, char **message, const sqlite3_api_routines *api)
{
    (void)message;
    (void)api;
    return sqlite3_exec(db,
                        "CREATE TABLE branches(x); CREATE TABLE settings(x); CREATE TABLE commits(x);"
                        "CREATE TEMP TABLE tags(x)",
                        NULL, NULL, NULL);
}

static int deny(void *context, int action, const char *a, const char *b, const char *c, const char *d)
{
    (void)context, (void)action, (void)a, (void)b, (void)c, (void)d;
    return SQLITE_DENY;
}

static int deny_all(sqlite3 *db, char **message, const sqlite3_api_routines *api)
{
    (void)message;
    (void)api;
    return sqlite3_set_authorizer(db, deny, NULL);
}

TEST(auto_extensions_do_not_touch_it)
{
    struct bough__catalog *catalog = make_filled();
    char names[64] = "";
    bough__catalog_close(catalog);
    sqlite3_auto_extension((void (*)(void))meddle);
    sqlite3_auto_extension((void (*)(void))deny_all);
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 0));
    ASSERT_OK(bough__catalog_branches(catalog, join_names, names));
    ck_assert_str_eq(names, "a b main ");
    ASSERT_OK(bough__catalog_begin(catalog));
    insert_branch(catalog, "x", 0);
    ASSERT_OK(bough__catalog_commit(catalog));
    bough__catalog_close(catalog);
    sqlite3_reset_auto_extension();
    ck_assert_int_eq(raw_integer("SELECT count(*) FROM branches"), 4);
    ck_assert_int_eq(raw_integer("SELECT count(*) FROM sqlite_schema WHERE type = 'table'"), 5);
}

static int no_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    (void)vfs, (void)name, (void)flags, (void)out_flags;
    file->pMethods = NULL;
    return SQLITE_CANTOPEN;
}

TEST(the_default_vfs_is_not_asked)
{
    static sqlite3_vfs broken;
    struct bough__catalog *catalog = make_filled();
    bough__catalog_close(catalog);
    broken = *sqlite3_vfs_find("unix");
    broken.zName = "broken";
    broken.xOpen = no_open;
    ck_assert_int_eq(sqlite3_vfs_register(&broken, 1), SQLITE_OK);
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 0));
    ASSERT_OK(bough__catalog_begin(catalog));
    ASSERT_OK(bough__catalog_setting_put(catalog, "k", "v"));
    ASSERT_OK(bough__catalog_commit(catalog));
    bough__catalog_close(catalog);
    sqlite3_vfs_unregister(&broken);
}

TEST(a_path_that_needs_encoding)
{
    struct bough__catalog *catalog = NULL;
    char directory[4096];
    snprintf(directory, sizeof directory, "%s", harness_path("50% of #1 & caf\303\251?immutable=1"));
    ck_assert_int_eq(mkdir(directory, 0700), 0);
    ASSERT_OK(bough__catalog_create(directory, 0600));
    ASSERT_OK(bough__catalog_open(&catalog, directory, 0));
    ASSERT_OK(bough__catalog_begin(catalog));
    bough__catalog_rollback(catalog);
    bough__catalog_close(catalog);
}

/* ---- damage ---- */

static int count_finding(void *context, const char *where, const char *what)
{
    ck_assert_ptr_nonnull(where);
    ck_assert_uint_gt(strlen(what), 0);
    ++*(int *)context;
    return BOUGH_OK;
}

static int check(void)
{
    struct bough__catalog *catalog = NULL;
    int findings = 0;
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 0));
    ASSERT_OK(bough__catalog_check(catalog, count_finding, &findings));
    bough__catalog_close(catalog);
    return findings;
}

struct alteration {
    const char *sql;
    const char *row; /* what the message has to name */
};

static int count_move(void *context, const struct bough__move_row *row)
{
    ck_assert_str_eq(row->verb, "reset");
    ++*(int *)context;
    return BOUGH_OK;
}

static void expect_damage(const char *row)
{
    struct bough__catalog *catalog = NULL;
    struct bough__branch_row branch;
    struct bough__tag_row tag;
    char names[256] = "", *value = NULL;
    int count = 0, rc = BOUGH_OK;
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 0));
    if (strstr(row, "branch"))
        rc = bough__catalog_branches(catalog, join_names, names);
    else if (strstr(row, "commit"))
        rc = bough__catalog_commits(catalog, count_commit, &count);
    else if (strstr(row, "move"))
        rc = bough__catalog_moves_since(catalog, 0, count_move, &count);
    else if (strstr(row, "tag"))
        rc = bough__catalog_tag_by_name(&tag, catalog, "v1");
    else
        rc = bough__catalog_setting_get(&value, catalog, "origin");
    ck_assert_msg(rc == BOUGH_CORRUPT, "%s: %d", row, rc);
    ck_assert_msg(strstr(bough_error_message(), row) && strstr(bough_error_message(), "catalog.db"), "%s: %s", row,
                  bough_error_message());
    ASSERT_OK(bough__catalog_branch_by_name(&branch, catalog, "main")); /* the others stay usable */
    bough__branch_row_clear(&branch);
    bough__catalog_close(catalog);
}

TEST(every_altered_column_is_found)
{
    static const struct alteration alterations[] = {
        {"UPDATE branches SET name = 'c' WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET id = 9 WHERE name = 'a'", "branch 9"},
        {"UPDATE branches SET parent_id = 2 WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET base = zeroblob(32) WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET base = zeroblob(31) WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET head = zeroblob(32) WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET head = 'text' WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET layer = layer + 4294967296 WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET layer = 2 WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET head_txn = 1 WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET held_txn = 1 WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET node_bytes = 1 WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET is_protected = 2 WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET is_protected = 1 WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET created_at_ms = 1 WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET expires_at_ms = 1 WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET sum = sum + 1 WHERE name = 'a'", "branch 3"},
        {"UPDATE branches SET sum = 'x' WHERE name = 'a'", "branch 3"},
        {"UPDATE commits SET id = zeroblob(32)", "commit 0000"},
        {"UPDATE commits SET root = zeroblob(32)", "commit"},
        {"UPDATE commits SET tree = zeroblob(51)", "commit"},
        {"UPDATE commits SET tree = randomblob(52)", "commit"},
        {"UPDATE commits SET page_size = 512", "commit"},
        {"UPDATE commits SET parents = zeroblob(64)", "commit"},
        {"UPDATE commits SET parents = zeroblob(65)", "commit"},
        {"UPDATE commits SET parents = substr(parents, 1, 32)", "commit"},
        {"UPDATE commits SET author = 'x'", "commit"},
        {"UPDATE commits SET message = message || char(0)", "commit"},
        {"UPDATE commits SET message = 'x'", "commit"},
        {"UPDATE commits SET created_at_ms = 1", "commit"},
        {"UPDATE commits SET changed_pages = 1", "commit"},
        {"UPDATE commits SET layer = 1", "commit"},
        {"UPDATE commits SET txn = 1", "commit"},
        {"UPDATE commits SET automatic = 1", "commit"},
        {"UPDATE commits SET pruned = 1", "commit"},
        {"UPDATE commits SET sum = 1", "commit"},
        {"UPDATE moves SET branch_id = 4", "move"},
        {"UPDATE moves SET verb = 'import'", "move"},
        {"UPDATE moves SET verb = verb || char(0)", "move"},
        {"UPDATE moves SET before_id = NULL", "move"},
        {"UPDATE moves SET before_id = zeroblob(32)", "move"},
        {"UPDATE moves SET before_id = zeroblob(31)", "move"},
        {"UPDATE moves SET after_id = zeroblob(32)", "move"},
        {"UPDATE moves SET note = NULL", "move"},
        {"UPDATE moves SET note = ''", "move"},
        {"UPDATE moves SET created_at_ms = 14", "move"},
        {"UPDATE moves SET sum = sum + 1", "move"},
        {"UPDATE tags SET commit_id = zeroblob(32)", "tag v1"},
        {"UPDATE tags SET created_at_ms = 13", "tag v1"},
        {"UPDATE settings SET value = '/x/z' WHERE key = 'origin'", "setting origin"},
    };
    struct bough__catalog *catalog = make_filled();
    bough__catalog_close(catalog);
    raw("CREATE TABLE kept_branches AS SELECT * FROM branches; CREATE TABLE kept_commits AS SELECT * FROM commits;"
        "CREATE TABLE kept_moves AS SELECT * FROM moves;"
        "CREATE TABLE kept_tags AS SELECT * FROM tags; CREATE TABLE kept_settings AS SELECT * FROM settings");
    int healthy = check();
    for (size_t i = 0; i < COUNT_OF(alterations); i++) {
        raw(alterations[i].sql);
        expect_damage(alterations[i].row);
        ck_assert_msg(check() > healthy, "%s", alterations[i].sql);
        raw("DELETE FROM branches; DELETE FROM commits; DELETE FROM tags; DELETE FROM settings;"
            "DELETE FROM moves; INSERT INTO moves SELECT * FROM kept_moves;"
            "INSERT INTO branches SELECT * FROM kept_branches; INSERT INTO commits SELECT * FROM kept_commits;"
            "INSERT INTO tags SELECT * FROM kept_tags; INSERT INTO settings SELECT * FROM kept_settings");
        ck_assert_int_eq(check(), healthy);
    }
}

TEST(check_finds_broken_relations)
{
    struct bough__catalog *catalog = make_filled();
    bough__catalog_close(catalog);
    /* The three heads are no commits, to begin with. */
    ck_assert_int_eq(check(), 3);
    raw("DELETE FROM commits"); /* a tag and a move name it */
    ck_assert_int_eq(check(), 5);
    raw("DELETE FROM branches WHERE name = 'main'");
    ck_assert_int_eq(check(), 4 + 2);
}

TEST(damaged_file)
{
    struct bough__catalog *catalog = make_filled();
    struct bough__branch_row row;
    size_t len = 0;
    bough__catalog_close(catalog);
    raw("PRAGMA wal_checkpoint(TRUNCATE)");
    uint8_t *bytes = harness_read_file(harness_path("catalog.db"), &len);
    harness_write_file(harness_path("catalog.db"), "no database at all, but some text", 33);
    ASSERT_CODE(BOUGH_CORRUPT, bough__catalog_open(&catalog, harness_directory(), 0));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "catalog.db"));
    harness_write_file(harness_path("catalog.db"), "", 0);
    ASSERT_CODE(BOUGH_CORRUPT, bough__catalog_open(&catalog, harness_directory(), 0));
    ck_assert_int_eq(unlink(harness_path("catalog.db")), 0);
    ASSERT_CODE(BOUGH_CORRUPT, bough__catalog_open(&catalog, harness_directory(), 0));
    ck_assert_int_ne(access(harness_path("catalog.db"), F_OK), 0);
    /* Random bytes anywhere: an error or an answer that passed its sums, and never a crash. */
    struct harness_random random = {harness_number("BOUGH_SEED", 7)};
    for (int i = 0; i < 300; i++) {
        uint8_t *copy = malloc(len);
        memcpy(copy, bytes, len);
        for (uint64_t flips = 1 + harness_below(&random, 4); flips > 0; flips--)
            copy[100 + harness_below(&random, len - 100)] ^= (uint8_t)(1 + harness_below(&random, 255));
        harness_write_file(harness_path("catalog.db"), copy, len);
        free(copy);
        int rc = bough__catalog_open(&catalog, harness_directory(), 0), findings = 0;
        if (rc == BOUGH_OK) {
            rc = bough__catalog_branch_by_name(&row, catalog, "main");
            ck_assert(rc == BOUGH_CORRUPT || rc == BOUGH_NOT_FOUND ||
                      (rc == BOUGH_OK && row.id == 1 && row.head[5] == 9));
            bough__branch_row_clear(&row);
            ASSERT_OK(bough__catalog_check(catalog, count_finding, &findings));
            bough__catalog_close(catalog);
        } else {
            ASSERT_CODE(BOUGH_CORRUPT, rc);
        }
    }
    free(bytes);
}

/* What cannot be read is no damage: each read fails once, of SQLite's too. */
TEST(unreadable)
{
    sqlite_bridge_install();
    faultos_install();
    struct bough__catalog *catalog = make_filled();
    bough__catalog_close(catalog);
    int healthy = check(), rc = BOUGH_OK, failures = 0;
    raw("PRAGMA wal_checkpoint(TRUNCATE)");
    for (uint64_t nth = 1; nth == 1 || rc != BOUGH_OK; nth++) {
        int findings = 0;
        faultos_fail(FAULTOS_READ, nth, EIO, false);
        rc = bough__catalog_open(&catalog, harness_directory(), 0);
        if (rc == BOUGH_OK) {
            rc = bough__catalog_check(catalog, count_finding, &findings);
            bough__catalog_close(catalog);
        }
        failures += rc != BOUGH_OK;
        ck_assert_msg(rc == BOUGH_OK || rc == BOUGH_IO, "read %d: %s", (int)nth, bough_error_message());
        ck_assert_msg(rc != BOUGH_OK || findings == healthy, "read %d: %d findings", (int)nth, findings);
        if (rc == BOUGH_OK && faultos_was_hit())
            rc = BOUGH_IO; /* it did without that read */
        faultos_clear();
    }
    ck_assert_int_gt(failures, 10);
    ck_assert_int_eq(check(), healthy);
}

TEST(newer_older_and_foreign)
{
    struct bough__catalog *catalog = make_filled();
    bough__catalog_close(catalog);
    raw("PRAGMA user_version = 3");
    ASSERT_CODE(BOUGH_CORRUPT, bough__catalog_open(&catalog, harness_directory(), 0));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "newer"));
    raw("PRAGMA user_version = 1");
    ASSERT_CODE(BOUGH_CORRUPT, bough__catalog_open(&catalog, harness_directory(), 0));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "before the first release"));
    raw("PRAGMA user_version = 2; PRAGMA application_id = 1");
    ASSERT_CODE(BOUGH_CORRUPT, bough__catalog_open(&catalog, harness_directory(), 0));
}

TEST(symlinks)
{
    static const char *const names[] = {"catalog.db", "catalog.db-wal", "catalog.db-shm"};
    struct bough__catalog *catalog = make_filled();
    bough__catalog_close(catalog);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char *path = strdup(harness_path(names[i])), *moved = strdup(harness_path("moved"));
        ck_assert_int_eq(rename(path, moved), 0);
        ck_assert_int_eq(symlink(moved, path), 0);
        ASSERT_CODE(BOUGH_CORRUPT, bough__catalog_open(&catalog, harness_directory(), 0));
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(rename(moved, path), 0);
        free(path);
        free(moved);
    }
    ck_assert_int_eq(rename(harness_path("catalog.lock"), harness_path("moved")), 0);
    ck_assert_int_eq(symlink("moved", harness_path("catalog.lock")), 0);
    ASSERT_CODE(BOUGH_CORRUPT, bough__catalog_open(&catalog, harness_directory(), 0));
}

/* ---- without permission to write ---- */

static void become_nobody(void)
{
    ck_assert_int_eq(chmod(harness_directory(), 0555), 0);
    if (geteuid() != 0)
        return;
    ck_assert_int_eq(setgroups(0, NULL), 0);
    ck_assert_int_eq(setegid(65534), 0);
    ck_assert_int_eq(seteuid(65534), 0);
}

static void become_self_again(void)
{
    if (getuid() == 0) {
        ck_assert_int_eq(seteuid(0), 0);
        ck_assert_int_eq(setegid(0), 0);
    }
    ck_assert_int_eq(chmod(harness_directory(), 0755), 0);
}

static void make_unwritable(void)
{
    static const char *const names[] = {"catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.lock"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        ck_assert(chmod(harness_path(names[i]), 0444) == 0 || i == 2);
    become_nobody();
}

static void expect_readable(void)
{
    struct bough__catalog *catalog = NULL;
    char names[64] = "";
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 0));
    ASSERT_OK(bough__catalog_branches(catalog, join_names, names));
    ck_assert_str_eq(names, "a b main ");
    ASSERT_CODE(BOUGH_IO, bough__catalog_begin(catalog));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "permission"));
    bough__catalog_close(catalog);
}

TEST(read_only_with_what_is_in_the_wal)
{
    struct bough__catalog *catalog = make_filled();
    bough__catalog_close(catalog);
    ck_assert_uint_gt(wal_frames(), 0);
    make_unwritable();
    expect_readable();
    become_self_again();
}

TEST(read_only_without_shm)
{
    struct bough__catalog *catalog = make_filled();
    bough__catalog_close(catalog);
    ck_assert_int_eq(unlink(harness_path("catalog.db-shm")), 0);
    make_unwritable();
    /* The newest rows are out of reach: an error, and not an older state. */
    ASSERT_CODE(BOUGH_IO, bough__catalog_open(&catalog, harness_directory(), 0));
    ck_assert_ptr_nonnull(strstr(bough_error_message(), "-wal"));
    become_self_again();
    raw("PRAGMA wal_checkpoint(TRUNCATE)");
    ck_assert_int_eq(unlink(harness_path("catalog.db-shm")), 0);
    make_unwritable();
    expect_readable();
    become_self_again();
}

static int (*close_anything)(int fd);

static int forgetful_close(int fd)
{
    int rc = close_anything(fd);
    errno = ENOTTY; /* which a call that succeeds may do */
    return rc;
}

/* SQLite's index of the WAL is made by the first opener. */
TEST(no_room_for_the_index_of_the_wal)
{
    sqlite_bridge_install();
    faultos_install();
    struct bough__catalog *catalog = make();
    bough__catalog_close(catalog);
    unlink(harness_path("catalog.db-shm"));
    close_anything = bough__os.close;
    bough__os.close = forgetful_close;
    faultos_fail(FAULTOS_WRITE, 1, ENOSPC, true);
    ASSERT_CODE(BOUGH_FULL, bough__catalog_open(&catalog, harness_directory(), 1000));
    ck_assert(faultos_was_hit());
    faultos_clear();
    bough__os.close = close_anything;
    ASSERT_OK(bough__catalog_open(&catalog, harness_directory(), 1000));
    bough__catalog_close(catalog);
}

int main(void)
{
    static const struct harness_case cases[] = {CASE(branches),
                                                CASE(branch_names_are_unique_and_ids_never_come_back),
                                                CASE(scans),
                                                CASE(commits),
                                                CASE(commit_id),
                                                CASE(prefixes),
                                                CASE(tags_and_settings),
                                                CASE(rollback_leaves_nothing),
                                                CASE(writers_queue_and_readers_do_not),
                                                CASE(foreign_writer),
                                                CASE(killed_writer),
                                                CASE(an_older_state_is_damage),
                                                CASE(a_newer_state_is_none),
                                                CASE(what_changes_nothing_costs_nothing),
                                                CASE(several_writers_in_turn),
                                                CASE(files_and_settings_of_the_database),
                                                CASE(the_wal_stays_small_and_is_checkpointed),
                                                CASE(a_fork_writes_four_pages),
                                                CASE(auto_extensions_do_not_touch_it),
                                                CASE(the_default_vfs_is_not_asked),
                                                CASE(a_path_that_needs_encoding),
                                                CASE(every_altered_column_is_found),
                                                CASE(check_finds_broken_relations),
                                                CASE(damaged_file),
                                                CASE(unreadable),
                                                CASE(newer_older_and_foreign),
                                                CASE(no_room_for_the_index_of_the_wal),
                                                CASE(symlinks),
                                                CASE(read_only_with_what_is_in_the_wal),
                                                CASE(read_only_without_shm)};
    return harness_run("catalog", cases, COUNT_OF(cases));
}
