/* fault_store.c - the public interface when any single call of the system fails, in our files and in the catalog's. */
#include "faults.h"
#include "sqlite_bridge.h"

#include "bough_migrate.h"
#include "digest.h"
#include "store.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The template is made once; each try works on a copy at one path. */
struct world {
    char base[200], template[256], work[256], store_path[300], new_store[300], import_path[300], export_path[300],
        replaced_path[300];
    bool keeps_closed; /* the operation opens the store itself */
    bough_store *store;
};

static struct world world;

#define MUST(call)                                                                            \
    do {                                                                                      \
        int must_rc = (call);                                                                 \
        REQUIRE(must_rc == BOUGH_OK, "%s: %s", bough_code_name(must_rc), bough_error_message()); \
    } while (0)

/* ---- SQL ---- */

static int code_of(int sqlite_code)
{
    switch (sqlite_code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return BOUGH_OK;
    case SQLITE_NOMEM:
        return BOUGH_NOMEM;
    case SQLITE_FULL:
        return BOUGH_FULL;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return BOUGH_IO;
    case SQLITE_CORRUPT:
        return BOUGH_CORRUPT;
    default:
        return BOUGH_SQL;
    }
}

/* Opens, runs, closes. */
static int run_sql(const char *name, int flags, const char *vfs, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    int rc = sqlite3_open_v2(name, &db, SQLITE_OPEN_READWRITE | flags, vfs);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, sql, NULL, NULL, &message);
    if (rc != SQLITE_OK && rc != SQLITE_NOMEM && code_of(rc) == BOUGH_SQL)
        fprintf(stderr, "SQLite: %d %s\n", rc, message ? message : sqlite3_errmsg(db));
    sqlite3_free(message);
    sqlite3_close(db);
    return code_of(rc);
}

static int run_on_branch(const char *branch, const char *sql)
{
    char uri[500];
    snprintf(uri, sizeof uri, "file:%s/db/%s?vfs=bough", world.store_path, branch);
    return run_sql(uri, SQLITE_OPEN_URI, NULL, sql);
}

/* ---- the template ---- */

static void make_template(void)
{
    bough_transfer transfer = {0};
    bough_sealed sealed = {0};
    bough_branches branches = {0};
    bough_tags tags = {0};
    bough_store *store = NULL;
    const char *const names[] = {"dev", "spare"}, *const leaf[] = {"leaf"};
    char path[300];
    snprintf(path, sizeof path, "%s/shop.db", world.template);
    MUST(run_sql(path, SQLITE_OPEN_CREATE, "unix",
                 "PRAGMA page_size = 1024; CREATE TABLE t(a INTEGER PRIMARY KEY, b);"
                 "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 90)"
                 "INSERT INTO t SELECT i, printf('%080d', i) FROM n;"));
    MUST(bough_store_init(&transfer, path, NULL, NULL));
    bough_transfer_release(&transfer);
    MUST(run_sql(path, 0, "unix", "UPDATE t SET b = 'other' WHERE a % 9 = 0; DELETE FROM t WHERE a > 80;"));
    snprintf(path, sizeof path, "%s/old.db", world.template);
    MUST(run_sql(path, SQLITE_OPEN_CREATE, "unix", "CREATE TABLE old(a); PRAGMA schema_version = 77"));
    snprintf(world.store_path, sizeof world.store_path, "%s/shop.bough", world.template);
    MUST(bough_store_open(&store, world.store_path, NULL));
    MUST(bough_branch_create(&branches, store, names, 2, "main", NULL));
    bough_branches_release(&branches);
    MUST(run_on_branch("dev", "UPDATE t SET b = 'dev' WHERE a < 5"));
    MUST(run_on_branch("spare", "UPDATE t SET b = 'spare'"));
    MUST(bough_branch_reset(&sealed, store, "spare", NULL, NULL));
    bough_sealed_release(&sealed);
    MUST(bough_commit_create(&sealed, store, "dev", NULL));
    bough_sealed_release(&sealed);
    MUST(bough_branch_create(&branches, store, leaf, 1, "dev", NULL));
    bough_branches_release(&branches);
    MUST(bough_tag_create(&tags, store, "v1", "dev"));
    bough_tags_release(&tags);
    const char *const gone[] = {"gone", "gone-too"};
    MUST(bough_branch_create(&branches, store, gone, 1, "leaf", NULL));
    bough_branches_release(&branches);
    MUST(run_on_branch("gone", "UPDATE t SET b = 'gone'"));
    MUST(bough_branch_create(&branches, store, gone + 1, 1, "gone", NULL)); /* a commit of the machine */
    bough_branches_release(&branches);
    for (size_t i = 2; i-- > 0;) {
        MUST(bough_branch_delete(&branches, store, gone + i, 1, NULL));
        bough_branches_release(&branches);
    }
    MUST(run_on_branch("dev", "UPDATE t SET b = 'dirty' WHERE a < 20"));
    MUST(run_on_branch("dev", "UPDATE t SET b = hex(randomblob(400)); UPDATE t SET b = 'short'"));
    MUST(run_on_branch("leaf", "INSERT INTO t VALUES(1000, 'leaf')"));
    bough_store_close(store);
}

static void prepare(void *context)
{
    (void)context;
    harness_remove_tree(world.work);
    harness_copy_tree(world.template, world.work);
    if (!world.keeps_closed)
        MUST(bough_store_open(&world.store, world.store_path, NULL));
}

static void finish(void *context)
{
    (void)context;
    bough_store_close(world.store);
    world.store = NULL;
}

/* ---- describing ---- */

/* A hash of all bytes of what REF means. */
static uint64_t content_of(bough_store *store, const char *ref)
{
    struct bough__target target = {0};
    struct bough__snapshot snapshot;
    struct bough__layer *layer = NULL;
    uint64_t hash = 0;
    static uint8_t page[65536];
    MUST(bough__target_resolve(&target, store, ref));
    MUST(bough__target_pin(&snapshot, &layer, store, &target));
    for (uint64_t block = 0; block * snapshot.block_size < snapshot.size_bytes; block++) {
        MUST(bough__snapshot_read(&snapshot, block, page, true));
        uint64_t left = snapshot.size_bytes - block * snapshot.block_size;
        for (uint32_t at = 0; at < snapshot.block_size && at < left; at += 512) /* whatever the size of a block */
            hash = bough__xxh(page + at, 512, hash + 1);
    }
    hash += snapshot.size_bytes;
    bough__snapshot_release(&snapshot);
    bough__layer_close(layer);
    bough__target_clear(&target);
    return hash;
}

/* Those of "spare" are old ones, which gc forgets before it may fail. */
static size_t move_count(bough_store *store, const char *name)
{
    if (strcmp(name, "spare") == 0)
        return 0;
    bough_moves moves = {0};
    MUST(bough_branch_moves(&moves, store, name, 0));
    size_t count = moves.count;
    bough_moves_release(&moves);
    return count;
}

static void describe_store(FILE *out, const char *path)
{
    bough_store *store = NULL;
    bough_branches branches = {0};
    bough_tags tags = {0};
    bough_verification verification = {0};
    int rc = bough_store_open(&store, path, NULL);
    if (rc == BOUGH_NOT_FOUND) {
        fprintf(out, "no store\n");
        return;
    }
    MUST(rc);
    MUST(bough_branch_list(&branches, store));
    for (size_t i = 0; i < branches.count; i++) {
        const bough_branch *branch = &branches.items[i];
        bough_commits commits = {0};
        MUST(bough_commit_log(&commits, store, branch->name, 0));
        fprintf(out, "%s of %s%s%s%s, %zu commits, %zu moves, %016llx\n", branch->name,
                branch->parent ? branch->parent : "none",
                branch->current ? ", current" : "", branch->dirty ? ", dirty" : "",
                branch->is_protected ? ", protected" : "", commits.count, move_count(store, branch->name),
                (unsigned long long)content_of(store, branch->name));
        bough_commits_release(&commits);
    }
    bough_branches_release(&branches);
    MUST(bough_tag_list(&tags, store));
    for (size_t i = 0; i < tags.count; i++)
        fprintf(out, "tag %s %016llx\n", tags.items[i].name, (unsigned long long)content_of(store, tags.items[i].name));
    bough_tags_release(&tags);
    MUST(bough_verify(&verification, store, NULL, NULL));
    REQUIRE(verification.ok, "%s: %s", verification.findings[0].where, verification.findings[0].what);
    bough_verification_release(&verification);
    bough_store_close(store);
}

static void describe_file(FILE *out, const char *path)
{
    size_t len = 0;
    if (access(path, F_OK) != 0) {
        fprintf(out, "no file\n");
        return;
    }
    uint8_t *bytes = harness_read_file(path, &len);
    fprintf(out, "file %zu %016llx\n", len, (unsigned long long)bough__xxh(bytes, len, 0));
    free(bytes);
}

static char *describe(void *context)
{
    (void)context;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    describe_store(out, world.store_path);
    describe_store(out, world.new_store);
    describe_file(out, world.export_path);
    describe_file(out, world.replaced_path);
    fclose(out);
    return text;
}

/* A failed sync of a branch's layer leaves it to the next writer to put things right. */
static void mend(void *context)
{
    (void)context;
    MUST(run_on_branch("dev", "PRAGMA user_version = 0"));
    MUST(run_on_branch("leaf", "PRAGMA user_version = 0"));
}

/* ---- operations ---- */

static int op_open(void *context)
{
    bough_store *store = NULL;
    (void)context;
    int rc = bough_store_open(&store, world.store_path, NULL);
    bough_store_close(store);
    return rc;
}

static int op_list(void *context)
{
    bough_branches branches = {0};
    (void)context;
    int rc = bough_branch_list(&branches, world.store);
    bough_branches_release(&branches);
    return rc;
}

static int create(const char *const *names, size_t count, const char *from)
{
    bough_branches branches = {0};
    int rc = bough_branch_create(&branches, world.store, names, count, from, NULL);
    bough_branches_release(&branches);
    return rc;
}

static int op_fork_clean(void *context)
{
    const char *const names[] = {"new"};
    (void)context;
    return create(names, 1, "main");
}

static int op_fork_dirty(void *context)
{
    const char *const names[] = {"new-1", "new-2", "new-3"};
    (void)context;
    return create(names, 3, "dev");
}

static int delete(const char *name, bool is_recursive)
{
    bough_branches branches = {0};
    bough_options options = BOUGH_OPTIONS_INIT;
    options.recursive = is_recursive;
    int rc = bough_branch_delete(&branches, world.store, &name, 1, &options);
    bough_branches_release(&branches);
    return rc;
}

static int op_delete(void *context)
{
    (void)context;
    return delete("leaf", false);
}

static int op_delete_all(void *context)
{
    (void)context;
    return delete("main", true);
}

static int op_rename(void *context)
{
    bough_branches branches = {0};
    (void)context;
    int rc = bough_branch_rename(&branches, world.store, (const char *[]){"dev"}, (const char *[]){"renamed"}, 1);
    bough_branches_release(&branches);
    return rc;
}

static int op_protect(void *context)
{
    bough_branches branches = {0};
    (void)context;
    int rc = bough_branch_protect(&branches, world.store, "dev", true);
    bough_branches_release(&branches);
    return rc;
}

static int op_switch(void *context)
{
    bough_branches branches = {0};
    (void)context;
    int rc = bough_branch_switch(&branches, world.store, "dev");
    bough_branches_release(&branches);
    return rc;
}

static int op_status(void *context)
{
    bough_status status = {0};
    (void)context;
    int rc = bough_branch_status(&status, world.store, "dev");
    bough_status_release(&status);
    return rc;
}

static int commit(const char *branch)
{
    bough_sealed sealed = {0};
    int rc = bough_commit_create(&sealed, world.store, branch, NULL);
    bough_sealed_release(&sealed);
    return rc;
}

static int op_commit(void *context)
{
    (void)context;
    return commit("dev");
}

static int op_log(void *context)
{
    bough_commits commits = {0};
    (void)context;
    int rc = bough_commit_log(&commits, world.store, "leaf", 0);
    bough_commits_release(&commits);
    return rc;
}

static int op_tag(void *context)
{
    bough_tags tags = {0};
    (void)context;
    int rc = bough_tag_create(&tags, world.store, "v2", "leaf");
    bough_tags_release(&tags);
    return rc;
}

static int op_untag(void *context)
{
    bough_tags tags = {0};
    (void)context;
    int rc = bough_tag_delete(&tags, world.store, "v1");
    bough_tags_release(&tags);
    return rc;
}

static int op_resolve(void *context)
{
    bough_ref ref = {0};
    char *uri = NULL, *path = NULL;
    (void)context;
    int rc = bough_ref_resolve(&ref, world.store, "v1~1");
    if (rc == BOUGH_OK)
        rc = bough_ref_url(&uri, &path, world.store, "dev");
    bough_ref_release(&ref);
    free(uri);
    free(path);
    return rc;
}

static int op_import(void *context)
{
    bough_transfer transfer = {0};
    (void)context;
    int rc = bough_import(&transfer, world.store, "dev", world.import_path, NULL);
    bough_transfer_release(&transfer);
    return rc;
}

static int reset(bool discards)
{
    bough_sealed sealed = {0};
    bough_options options = BOUGH_OPTIONS_INIT;
    options.discard = discards;
    int rc = bough_branch_reset(&sealed, world.store, "dev", NULL, &options);
    bough_sealed_release(&sealed);
    return rc;
}

static int op_reset(void *context)
{
    (void)context;
    return reset(false);
}

static int op_reset_discarding(void *context)
{
    (void)context;
    return reset(true);
}

/* Both are dirty, and the taker has moved. */
static int op_promote(void *context)
{
    bough_sealed sealed = {0};
    bough_options options = BOUGH_OPTIONS_INIT;
    (void)context;
    options.force = true;
    int rc = bough_branch_promote(&sealed, world.store, "leaf", "dev", &options);
    bough_sealed_release(&sealed);
    return rc;
}

/* What is not promoted in the end leaves nothing behind. */
static int op_locked(void *context)
{
    bough_lock *lock = NULL;
    bough_branches branches = {0};
    bough_sealed sealed = {0};
    const char *name = "step";
    bough_options options = BOUGH_OPTIONS_INIT;
    (void)context;
    options.hidden = true;
    int rc = bough_branch_lock(&lock, world.store, "dev", NULL);
    if (rc == BOUGH_OK)
        rc = bough_branch_create(&branches, world.store, &name, 1, "main", &options);
    options.force = true;
    options.lock = lock;
    options.note = "step";
    if (rc == BOUGH_OK)
        rc = bough_branch_promote(&sealed, world.store, branches.items[0].name, "dev", &options);
    bough_sealed_release(&sealed);
    bough_branches_release(&branches);
    bough_lock_release(lock);
    return rc;
}

static int op_hidden(void *context)
{
    bough_branches branches = {0}, deleted = {0};
    const char *const names[] = {"x", "y"};
    bough_options options = BOUGH_OPTIONS_INIT;
    (void)context;
    options.hidden = true;
    int rc = bough_branch_create(&branches, world.store, names, 2, "main", &options);
    if (rc == BOUGH_OK)
        rc = bough_branch_delete(&deleted, world.store, &(const char *){branches.items[1].name}, 1, NULL);
    bough_branches_release(&deleted);
    bough_branches_release(&branches);
    return rc;
}

static int op_scratch(void *context)
{
    bough_branches branches = {0}, deleted = {0};
    const char *const name = "x";
    bough_options options = BOUGH_OPTIONS_INIT;
    (void)context;
    options.scratch = true;
    int rc = bough_branch_create(&branches, world.store, &name, 1, "main", &options);
    if (rc == BOUGH_OK)
        rc = run_on_branch(branches.items[0].name, "UPDATE t SET b = 'scratch' WHERE a % 3 = 0;"
                                                   "INSERT INTO t SELECT a + 1000, b FROM t; PRAGMA integrity_check");
    if (rc == BOUGH_OK)
        rc = bough_branch_delete(&deleted, world.store, &(const char *){branches.items[0].name}, 1, NULL);
    bough_branches_release(&deleted);
    bough_branches_release(&branches);
    return rc;
}

/* What was not committed is committed by it, or stays as it was. Tries are compared, so the times go. */
static int op_migrate(void *context)
{
    static const bough_migration defined[] = {
        {.defined_at_ms = 1, .name = "u", .up = "CREATE TABLE u(a); INSERT INTO u SELECT a FROM t"},
        {.defined_at_ms = 2,
         .name = "c",
         .up = "ALTER TABLE t ADD COLUMN c; UPDATE t SET c = a;"
               "CREATE TRIGGER x AFTER INSERT ON migrations BEGIN UPDATE migrations SET applied_at = 1; END;"
               "CREATE TRIGGER y AFTER INSERT ON bough_migrations BEGIN"
               " UPDATE bough_migrations SET applied_at = 1; END;"
               "UPDATE migrations SET applied_at = 1; UPDATE bough_migrations SET applied_at = 1"},
    };
    bough_migration_target target = {.store = world.store, .branch = "dev"};
    bough_migration_run run = {0};
    (void)context;
    int rc = bough_migrate(&run, &target, defined, 2, NULL);
    bough_migration_run_release(&run);
    return rc;
}

static int op_moves(void *context)
{
    bough_moves moves = {0};
    (void)context;
    int rc = bough_branch_moves(&moves, world.store, "spare", 0);
    REQUIRE(rc != BOUGH_OK || moves.count == 1, "%zu moves", moves.count);
    bough_moves_release(&moves);
    return rc;
}

static int export_to(const char *path)
{
    bough_transfer transfer = {0};
    bough_options options = BOUGH_OPTIONS_INIT;
    options.force = true;
    int rc = bough_export(&transfer, world.store, "dev", path, &options);
    bough_transfer_release(&transfer);
    return rc;
}

static int op_export(void *context)
{
    (void)context;
    return export_to(world.export_path);
}

static int op_export_over(void *context)
{
    (void)context;
    return export_to(world.replaced_path);
}

/* Somebody has the old file open, so that its bytes are replaced in place. */
static int op_export_into(void *context)
{
    (void)context;
    int fd = open(world.replaced_path, O_RDONLY);
    pid_t peer = fork();
    if (peer == 0)
        pause();
    close(fd);
    REQUIRE(fd >= 0 && peer > 0, "no peer");
    int rc = export_to(world.replaced_path);
    kill(peer, SIGKILL);
    waitpid(peer, NULL, 0);
    return rc;
}

static int op_diff(void *context)
{
    bough_page_diff diff = {0};
    (void)context;
    return bough_diff_pages(&diff, world.store, "main", "leaf", NULL, NULL);
}

static int op_usage(void *context)
{
    bough_usage usage = {0};
    (void)context;
    int rc = bough_disk_usage(&usage, world.store);
    bough_usage_release(&usage);
    return rc;
}

static int op_gc(void *context)
{
    bough_collection collection = {0};
    (void)context;
    int rc = bough_gc(&collection, world.store, 0, false, NULL);
    bough_collection_release(&collection);
    return rc;
}

static int op_init(void *context)
{
    bough_transfer transfer = {0};
    (void)context;
    int rc = bough_store_init(&transfer, world.import_path, world.new_store, NULL);
    bough_transfer_release(&transfer);
    return rc;
}

static int op_init_empty(void *context)
{
    bough_transfer transfer = {0};
    (void)context;
    int rc = bough_store_init_empty(&transfer, world.new_store, NULL);
    bough_transfer_release(&transfer);
    return rc;
}

static int op_sql_small(void *context)
{
    (void)context;
    return run_on_branch("dev", "BEGIN; UPDATE t SET b = 'x' WHERE a = 3; INSERT INTO t VALUES(2000, 'y'); COMMIT;");
}

static int op_sql_first_write(void *context)
{
    (void)context;
    return run_on_branch("spare", "DELETE FROM t WHERE a = 1");
}

/* Spills out of a small cache and rewrites everything. */
static int op_sql_large(void *context)
{
    (void)context;
    return run_on_branch("leaf",
                         "PRAGMA cache_size = 3; BEGIN; UPDATE t SET b = b || 'z';"
                         "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
                         "INSERT INTO t SELECT i + 5000, printf('%0300d', i) FROM n; COMMIT;");
}

/* On a branch with the first branch attached, and a third one that nobody has written to. */
static int op_sql_group(void *context)
{
    char sql[1200];
    (void)context;
    snprintf(sql, sizeof sql,
             "ATTACH 'file:%s/db/leaf?vfs=bough' AS y; ATTACH 'file:%s/db/spare?vfs=bough' AS z;"
             "PRAGMA y.cache_size = 3; BEGIN; UPDATE main.t SET b = 'x' WHERE a = 3; UPDATE y.t SET b = b || 'y';"
             "DELETE FROM z.t WHERE a = 1; COMMIT;",
             world.store_path, world.store_path);
    return run_on_branch("dev", sql);
}

static int op_vacuum(void *context)
{
    (void)context;
    return run_on_branch("leaf", "VACUUM");
}

static int op_resize(void *context)
{
    (void)context;
    return run_on_branch("leaf", "PRAGMA page_size = 16384; VACUUM");
}

static int op_sql_read(void *context)
{
    (void)context;
    return run_on_branch("leaf", "SELECT count(*), sum(length(b)) FROM t; PRAGMA integrity_check;");
}

int main(void)
{
    static const struct {
        const char *name;
        int (*run)(void *context);
        bool keeps_closed;
    } operations[] = {
        {"open", op_open, true},
        {"list", op_list, false},
        {"fork of a clean branch", op_fork_clean, false},
        {"three forks of a dirty branch", op_fork_dirty, false},
        {"delete", op_delete, false},
        {"delete with descendants", op_delete_all, false},
        {"rename", op_rename, false},
        {"protect", op_protect, false},
        {"switch", op_switch, false},
        {"status", op_status, false},
        {"commit", op_commit, false},
        {"log", op_log, false},
        {"tag", op_tag, false},
        {"untag", op_untag, false},
        {"resolve", op_resolve, false},
        {"import", op_import, false},
        {"reset of a dirty branch", op_reset, false},
        {"reset that discards", op_reset_discarding, false},
        {"promote", op_promote, false},
        {"hidden forks", op_hidden, false},
        {"scratch", op_scratch, false},
        {"promote of a hidden fork under a lock", op_locked, false},
        {"migrations of a dirty branch", op_migrate, false},
        {"moves", op_moves, false},
        {"export", op_export, false},
        {"export over a database", op_export_over, false},
        {"export into an open database", op_export_into, false},
        {"diff", op_diff, false},
        {"usage", op_usage, false},
        {"gc", op_gc, false},
        {"init", op_init, true},
        {"init empty", op_init_empty, true},
        {"SQL, a small transaction", op_sql_small, true},
        {"SQL, the first write", op_sql_first_write, true},
        {"SQL, a large transaction", op_sql_large, true},
        {"SQL, three branches", op_sql_group, true},
        {"SQL, VACUUM", op_vacuum, true},
        {"SQL, VACUUM to another page size", op_resize, true},
        {"SQL, reading", op_sql_read, true},
    };
    snprintf(world.base, sizeof world.base, "%s/bough-fault-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    REQUIRE(mkdtemp(world.base) != NULL, "mkdtemp %s", world.base);
    snprintf(world.template, sizeof world.template, "%s/template", world.base);
    snprintf(world.work, sizeof world.work, "%s/work", world.base);
    REQUIRE(mkdir(world.template, 0700) == 0, "mkdir");
    sqlite_bridge_install();
    faultos_install();
    faultos_clear();
    MUST(bough_vfs_register(false));
    make_template();
    snprintf(world.store_path, sizeof world.store_path, "%s/shop.bough", world.work);
    snprintf(world.new_store, sizeof world.new_store, "%s/new.bough", world.work);
    snprintf(world.import_path, sizeof world.import_path, "%s/shop.db", world.work);
    snprintf(world.replaced_path, sizeof world.replaced_path, "%s/old.db", world.work);
    snprintf(world.export_path, sizeof world.export_path, "%s/out.db", world.work);
    const char *only = getenv("BOUGH_TEST_CASE");
    for (size_t i = 0; i < COUNT_OF(operations); i++) {
        if (only && strcmp(only, operations[i].name) != 0)
            continue;
        world.keeps_closed = operations[i].keeps_closed;
        faults_walk(&(struct faults_subject){operations[i].name, NULL, prepare, operations[i].run, describe, mend,
                                             finish, operations[i].run == op_gc});
    }
    harness_remove_tree(world.base);
    return EXIT_SUCCESS;
}
