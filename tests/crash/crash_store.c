/* crash_store.c - a whole store under power losses and kills: SQL on branches through the VFS, forks, commits, tags,
 * renames, deletions, exports and imports, with the catalog's SQLite on the same simulated disk.
 *
 * A branch's database holds a list of tokens, one for each transaction, and what each token did to the other tables. So
 * any state tells by its list which history it should be, and the rest of it can be checked against that. The model is
 * for each name: may it exist, must it exist, and which states may it be in.
 */
#include "lives.h"
#include "sqlite_bridge.h"

#include "bough.h"
#include "os.h"
#include "store.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIVES = 12, SLOTS = 10, MAX_TOKENS = 400, MAX_VERSIONS = 60, MAX_COMMITS = 100, ROWS = 120, BULK = 150 };

struct state {
    bool is_absent; /* no file at all */
    uint32_t count;
    uint32_t tokens[MAX_TOKENS];
};

/* A name. Versions 0 .. attempted-1 in order; what was promised is at or after `durable`, without a power loss at or
 * after `visible`. */
struct slot {
    bool may_exist, must_exist;
    struct state versions[MAX_VERSIONS];
    unsigned version_count, durable, visible;
};

struct commit {
    char id[BOUGH_ID_SIZE];
    char tag[16]; /* "": none */
    struct state state;
};

struct model {
    bool has_seed, has_store;
    uint32_t next_token;
    struct slot slots[SLOTS];
    int renamed_from, renamed_to; /* a rename in progress; -1 */
    struct commit commits[MAX_COMMITS];
    unsigned commit_count;
    unsigned next_tag;
    struct slot exported; /* a file; its name, too, can be seen before it is durable */
};

struct world {
    struct life *life;
    struct model *model;
    char store_path[512], seed_path[512], export_path[512];
    bough_store *store;
    sqlite3 *open[SLOTS];
};

#define CHECK_OK(call)                                                                                   \
    do {                                                                                                 \
        int check_rc = (call);                                                                           \
        REQUIRE(check_rc == BOUGH_OK, "%s: %s", bough_code_name(check_rc), bough_error_message());       \
    } while (0)

static const char *slot_name(unsigned slot)
{
    static const char *const names[SLOTS] = {"main", "b1", "b2", "b3", "a/b4", "a/b5", "b6", "b7", "b8", "b9"};
    return names[slot];
}

/* ---- what a token does, in SQL and in the model ---- */

enum kind { FILL_BULK, EMPTY_BULK, TOUCH_ALL, TOUCH_SOME };

static enum kind kind_of(uint32_t token)
{
    switch (token % 8) {
    case 0:
        return FILL_BULK;
    case 1:
        return EMPTY_BULK;
    case 2:
        return TOUCH_ALL;
    default:
        return TOUCH_SOME;
    }
}

static bool touches(uint32_t token, unsigned row)
{
    return kind_of(token) == TOUCH_ALL || (kind_of(token) == TOUCH_SOME && (row * 7u + token) % 19 == 0);
}

static int token_sql(char *out, size_t size, uint32_t token)
{
    switch (kind_of(token)) {
    case FILL_BULK:
        return snprintf(out, size,
                        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
                        "INSERT INTO bulk SELECT NULL, %u, printf('%%0300d', i) FROM n;",
                        BULK, token);
    case EMPTY_BULK:
        return snprintf(out, size, "DELETE FROM bulk;");
    case TOUCH_ALL:
        return snprintf(out, size, "UPDATE data SET v = %u;", token);
    default:
        return snprintf(out, size, "UPDATE data SET v = %u WHERE (id * 7 + %u) %% 19 = 0;", token, token);
    }
}

static const char *const seed_sql =
    "PRAGMA page_size = 1024; PRAGMA synchronous = EXTRA; BEGIN;"
    "CREATE TABLE log(token INTEGER); CREATE TABLE data(id INTEGER PRIMARY KEY, v INTEGER, pad TEXT);"
    "CREATE INDEX data_v ON data(v); CREATE TABLE bulk(id INTEGER PRIMARY KEY, token INTEGER, pad TEXT);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120)"
    "INSERT INTO data SELECT i, 0, printf('%0100d', i) FROM n; COMMIT;";

/* ---- SQL ---- */

static void run_sql(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    int rc = sqlite3_exec(db, sql, NULL, NULL, &message);
    REQUIRE(rc == SQLITE_OK, "%s: %d %s (%s)", sql, sqlite3_extended_errcode(db), message, bough_error_message());
}

static int64_t ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    REQUIRE(rc == SQLITE_ROW, "%s: %s (%s)", sql, sqlite3_errmsg(db), bough_error_message());
    int64_t answer = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return answer;
}

static sqlite3 *open_database(const char *name, bool is_uri)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(name, &db, SQLITE_OPEN_READWRITE | (is_uri ? SQLITE_OPEN_URI : SQLITE_OPEN_CREATE),
                             is_uri ? NULL : "unix");
    REQUIRE(rc == SQLITE_OK, "%s: %s (%s)", name, sqlite3_errmsg(db), bough_error_message());
    return db;
}

static sqlite3 *open_ref(struct world *world, const char *ref)
{
    char *uri = NULL, *path = NULL;
    CHECK_OK(bough_ref_url(&uri, &path, world->store, ref));
    sqlite3 *db = open_database(uri, true);
    free(uri);
    free(path);
    return db;
}

static sqlite3 *connection(struct world *world, unsigned slot)
{
    if (!world->open[slot])
        world->open[slot] = open_ref(world, slot_name(slot));
    return world->open[slot];
}

static void close_connections(struct world *world)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        REQUIRE(sqlite3_close(world->open[i]) == SQLITE_OK, "close");
        world->open[i] = NULL;
    }
}

/* ---- checking a state ---- */

static void read_tokens(struct state *out, sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, "SELECT token FROM log ORDER BY rowid", -1, &statement, NULL);
    REQUIRE(rc == SQLITE_OK, "%s (%s)", sqlite3_errmsg(db), bough_error_message());
    out->count = 0;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        REQUIRE(out->count < MAX_TOKENS, "too many tokens");
        out->tokens[out->count++] = (uint32_t)sqlite3_column_int64(statement, 0);
    }
    REQUIRE(rc == SQLITE_DONE, "%s (%s)", sqlite3_errmsg(db), bough_error_message());
    sqlite3_finalize(statement);
}

static bool same(const struct state *a, const struct state *b)
{
    return a->is_absent == b->is_absent && a->count == b->count &&
           memcmp(a->tokens, b->tokens, a->count * sizeof a->tokens[0]) == 0;
}

/* Everything else in the database is what the tokens say. */
static void check_content(sqlite3 *db, const struct state *state, const char *what)
{
    uint32_t values[ROWS + 1] = {0};
    int64_t bulk = 0;
    for (uint32_t i = 0; i < state->count; i++) {
        uint32_t token = state->tokens[i];
        bulk = kind_of(token) == FILL_BULK ? bulk + BULK : kind_of(token) == EMPTY_BULK ? 0 : bulk;
        for (unsigned row = 1; row <= ROWS; row++)
            if (touches(token, row))
                values[row] = token;
    }
    int64_t sum = 0;
    for (unsigned row = 1; row <= ROWS; row++)
        sum += (int64_t)values[row] * row;
    REQUIRE(ask(db, "SELECT sum(v * id) FROM data") == sum, "%s: wrong data", what);
    REQUIRE(ask(db, "SELECT count(*) FROM bulk") == bulk, "%s: wrong bulk", what);
    REQUIRE(ask(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'") == 0, "%s: damaged",
            what);
}

static void check_database(sqlite3 *db, const struct state *expected, const char *what)
{
    static struct state found;
    read_tokens(&found, db);
    REQUIRE(same(&found, expected), "%s: %u tokens, expected %u", what, found.count, expected->count);
    check_content(db, &found, what);
}

/* ---- the model of a name ---- */

static struct state *newest(struct slot *slot)
{
    return &slot->versions[slot->visible];
}

static struct state *attempt(struct slot *slot)
{
    REQUIRE(slot->version_count < MAX_VERSIONS, "too many versions");
    slot->versions[slot->version_count] = *newest(slot);
    return &slot->versions[slot->version_count++];
}

static void attempt_is_done(struct slot *slot, bool is_durable)
{
    slot->visible = slot->version_count - 1;
    if (is_durable)
        slot->durable = slot->visible;
}

static void becomes(struct slot *slot, const struct state *state)
{
    struct state copy = *state;
    slot->versions[0] = copy;
    slot->version_count = 1;
    slot->durable = slot->visible = 0;
}

/* ---- after a death ---- */

static bool branch_exists(struct world *world, unsigned slot)
{
    bough_branches branches = {0};
    int rc = bough_branch_get(&branches, world->store, slot_name(slot));
    REQUIRE(rc == BOUGH_OK || rc == BOUGH_NOT_FOUND, "%s: %s", bough_code_name(rc), bough_error_message());
    bough_branches_release(&branches);
    return rc == BOUGH_OK;
}

/* Which of the versions was found: the newest that fits. */
static void settle_versions(struct world *world, struct slot *slot, const struct state *found, const char *what)
{
    unsigned first = world->life->power_was_lost ? slot->durable : slot->visible;
    unsigned version = slot->version_count;
    while (version > first && !same(found, &slot->versions[version - 1]))
        version--;
    REQUIRE(version > first, "%s has %u tokens%s; promised were %u, tried %u", what, found->count,
            found->is_absent ? " and is gone" : "", slot->versions[first].count,
            slot->versions[slot->version_count - 1].count);
    /* Still the same two marks: another power loss may take what was seen but was never durable. */
    slot->visible = version - 1;
    slot->version_count = version;
    if (world->life->power_was_lost)
        becomes(slot, found);
}

static void settle_slot(struct world *world, unsigned index)
{
    static struct state found;
    struct slot *slot = &world->model->slots[index];
    bool exists = branch_exists(world, index);
    REQUIRE(exists || !slot->must_exist, "branch %s is gone", slot_name(index));
    REQUIRE(!exists || slot->may_exist, "branch %s is back", slot_name(index));
    slot->may_exist = slot->must_exist = exists;
    if (!exists)
        return;
    sqlite3 *db = connection(world, index);
    read_tokens(&found, db);
    settle_versions(world, slot, &found, slot_name(index));
    check_content(db, &found, slot_name(index));
}

static void settle_export(struct world *world)
{
    static struct state found;
    bool exists = access(world->export_path, F_OK) == 0;
    found = (struct state){.is_absent = !exists};
    sqlite3 *db = exists ? open_database(world->export_path, false) : NULL;
    if (exists)
        read_tokens(&found, db);
    settle_versions(world, &world->model->exported, &found, "the exported file");
    if (exists)
        check_content(db, &found, "the exported file");
    sqlite3_close(db);
}

static void check_commits(struct world *world)
{
    struct model *model = world->model;
    for (unsigned i = 0; i < model->commit_count; i++) {
        struct commit *commit = &model->commits[i];
        bool look_inside = harness_below(&world->life->random, 4) == 0;
        bough_ref ref = {0};
        CHECK_OK(bough_ref_resolve(&ref, world->store, commit->tag[0] ? commit->tag : commit->id));
        REQUIRE(strcmp(ref.id, commit->id) == 0, "tag %s is %s instead of %s", commit->tag, ref.id, commit->id);
        bough_ref_release(&ref);
        if (look_inside) {
            sqlite3 *db = open_ref(world, commit->id);
            check_database(db, &commit->state, commit->id);
            sqlite3_close(db);
        }
    }
}

static void verify(struct world *world)
{
    bough_verification result = {0};
    CHECK_OK(bough_verify(&result, world->store, NULL, NULL));
    REQUIRE(result.ok, "%s: %s", result.findings[0].where, result.findings[0].what);
    bough_verification_release(&result);
}

static int fail_hidden(void *context, const struct bough__branch_row *row)
{
    (void)context;
    REQUIRE(false, "%s is still there", row->name);
    return BOUGH_OK;
}

static void check_everything(struct world *world)
{
    struct model *model = world->model;
    /* Their owners died with the last life. */
    CHECK_OK(bough__catalog_hidden(world->store->catalog, fail_hidden, NULL));
    if (model->renamed_from >= 0) {
        /* Under one of the names, and only one. */
        bool is_old = branch_exists(world, (unsigned)model->renamed_from);
        REQUIRE(is_old != branch_exists(world, (unsigned)model->renamed_to), "a rename is half done");
        model->renamed_from = -1;
    }
    for (unsigned i = 0; i < SLOTS; i++)
        settle_slot(world, i);
    settle_export(world);
    lives_settled(world->life);
    check_commits(world);
    if (harness_below(&world->life->random, 3) == 0)
        verify(world);
}

/* ---- the work of a life ---- */

static int random_branch(struct world *world)
{
    for (int tries = 0; tries < 50; tries++) {
        unsigned slot = (unsigned)harness_below(&world->life->random, SLOTS);
        if (world->model->slots[slot].must_exist)
            return (int)slot;
    }
    return -1;
}

static int free_slot(struct world *world)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (!world->model->slots[i].may_exist)
            return (int)i;
    return -1;
}

static void transaction(struct world *world, unsigned index)
{
    struct slot *slot = &world->model->slots[index];
    struct harness_random *random = &world->life->random;
    if (newest(slot)->count == MAX_TOKENS || slot->version_count == MAX_VERSIONS)
        return;
    sqlite3 *db = connection(world, index);
    bool is_durable = harness_below(random, 2), is_kept = harness_below(random, 8) != 0;
    uint32_t token = world->model->next_token++;
    char sql[400];
    run_sql(db, is_durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    run_sql(db, harness_below(random, 6) ? "PRAGMA cache_size = 2000" : "PRAGMA cache_size = 2");
    run_sql(db, "BEGIN IMMEDIATE");
    snprintf(sql, sizeof sql, "INSERT INTO log VALUES(%u);", token);
    run_sql(db, sql);
    token_sql(sql, sizeof sql, token);
    run_sql(db, sql);
    if (!is_kept) {
        run_sql(db, "ROLLBACK");
        return;
    }
    struct state *state = attempt(slot);
    state->tokens[state->count++] = token;
    lives_trace(world->life, "%s: token %u%s", slot_name(index), token, is_durable ? ", durable" : "");
    run_sql(db, "COMMIT");
    lives_trace(world->life, "%s: token %u is in", slot_name(index), token);
    attempt_is_done(slot, is_durable);
}

static void fork_branch(struct world *world, unsigned from)
{
    struct model *model = world->model;
    int to = free_slot(world);
    if (to < 0)
        return;
    const char *name = slot_name((unsigned)to);
    bough_branches made = {0};
    becomes(&model->slots[to], newest(&model->slots[from]));
    model->slots[to].may_exist = true;
    lives_trace(world->life, "fork %s from %s", name, slot_name(from));
    CHECK_OK(bough_branch_create(&made, world->store, &name, 1, slot_name(from), NULL));
    lives_trace(world->life, "forked %s", name);
    bough_branches_release(&made);
    model->slots[to].must_exist = true;
    model->slots[from].durable = model->slots[from].visible;
}

/* A fork that is hidden is kept under a name, or promoted as one step while nobody else can write, or scratch and left
 * behind: then nobody meets it again. */
static void try_branch(struct world *world, unsigned from)
{
    struct model *model = world->model;
    struct slot *slot = &model->slots[from];
    int to = free_slot(world);
    const char *name = "try";
    char sql[400];
    bough_branches made = {0}, kept = {0};
    bough_sealed sealed = {0};
    bough_lock *lock = NULL;
    bough_options options = BOUGH_OPTIONS_INIT;
    if (newest(slot)->count == MAX_TOKENS || slot->version_count == MAX_VERSIONS)
        return;
    uint64_t fate = harness_below(&world->life->random, 3);
    uint32_t token = model->next_token++;
    struct state state = *newest(slot);
    state.tokens[state.count++] = token;
    lives_trace(world->life, "try on %s with token %u", slot_name(from), token);
    close_connections(world);
    if (fate == 0)
        CHECK_OK(bough_branch_lock(&lock, world->store, slot_name(from), NULL));
    options.hidden = true;
    options.scratch = fate == 2;
    CHECK_OK(bough_branch_create(&made, world->store, &name, 1, slot_name(from), &options));
    slot->durable = slot->visible;
    sqlite3 *db = open_ref(world, made.items[0].name);
    snprintf(sql, sizeof sql, "BEGIN; INSERT INTO log VALUES(%u);", token);
    run_sql(db, sql);
    token_sql(sql, sizeof sql, token);
    run_sql(db, sql);
    run_sql(db, "COMMIT");
    REQUIRE(sqlite3_close(db) == SQLITE_OK, "close");
    if (fate == 0) {
        *attempt(slot) = state;
        options.expect = made.items[0].base;
        options.lock = lock;
        CHECK_OK(bough_branch_promote(&sealed, world->store, made.items[0].name, slot_name(from), &options));
        lives_trace(world->life, "promoted");
        attempt_is_done(slot, true);
    } else if (fate == 1 && to >= 0) {
        becomes(&model->slots[to], &state);
        model->slots[to].may_exist = true;
        CHECK_OK(bough_branch_rename(&kept, world->store, (const char *[]){made.items[0].name},
                                     (const char *[]){slot_name((unsigned)to)}, 1));
        lives_trace(world->life, "kept as %s", slot_name((unsigned)to));
        model->slots[to].must_exist = true;
    }
    bough_lock_release(lock);
    bough_sealed_release(&sealed);
    bough_branches_release(&kept);
    bough_branches_release(&made);
}

static void seal_branch(struct world *world, unsigned index)
{
    struct model *model = world->model;
    struct slot *slot = &model->slots[index];
    bough_sealed sealed = {0};
    lives_trace(world->life, "commit %s", slot_name(index));
    CHECK_OK(bough_commit_create(&sealed, world->store, slot_name(index), NULL));
    lives_trace(world->life, "committed %s as %s", slot_name(index), sealed.id);
    slot->durable = slot->visible;
    /* Unchanged: the head may be a commit of the machine, which gc prunes. */
    if (sealed.changed && model->commit_count < MAX_COMMITS) {
        struct commit *commit = &model->commits[model->commit_count];
        memset(commit, 0, sizeof *commit);
        memcpy(commit->id, sealed.id, sizeof commit->id);
        commit->state = *newest(slot);
        model->commit_count++;
    }
    bough_sealed_release(&sealed);
}

static void tag_commit(struct world *world)
{
    struct model *model = world->model;
    if (model->commit_count == 0)
        return;
    struct commit *commit = &model->commits[harness_below(&world->life->random, model->commit_count)];
    char name[16];
    bough_tags tags = {0};
    snprintf(name, sizeof name, "v%u", model->next_tag++);
    lives_trace(world->life, "tag %s", name);
    CHECK_OK(bough_tag_create(&tags, world->store, name, commit->id));
    memcpy(commit->tag, name, sizeof name);
    bough_tags_release(&tags);
}

static void rename_branch(struct world *world, unsigned from)
{
    struct model *model = world->model;
    int to = free_slot(world);
    bough_branches branches = {0};
    if (to < 0)
        return;
    close_connections(world);
    model->slots[to] = model->slots[from];
    model->slots[from].must_exist = model->slots[to].must_exist = false;
    model->slots[to].may_exist = true;
    model->renamed_from = (int)from;
    model->renamed_to = to;
    lives_trace(world->life, "rename %s to %s", slot_name(from), slot_name((unsigned)to));
    CHECK_OK(bough_branch_rename(&branches, world->store, (const char *[]){slot_name(from)},
                                 (const char *[]){slot_name((unsigned)to)}, 1));
    bough_branches_release(&branches);
    model->renamed_from = -1;
    model->slots[from].may_exist = false;
    model->slots[to].must_exist = true;
}

static void delete_branch(struct world *world, unsigned index)
{
    struct model *model = world->model;
    const char *name = slot_name(index);
    bough_branches branches = {0};
    close_connections(world);
    bool existed = model->slots[index].must_exist;
    lives_trace(world->life, "delete %s", name);
    model->slots[index].must_exist = false;
    int rc = bough_branch_delete(&branches, world->store, &name, 1, NULL);
    REQUIRE(rc == BOUGH_OK || rc == BOUGH_REFUSED, "%s: %s", bough_code_name(rc), bough_error_message());
    if (rc == BOUGH_OK)
        model->slots[index].may_exist = false;
    else /* it has children */
        model->slots[index].must_exist = existed;
    bough_branches_release(&branches);
}

static void export_branch(struct world *world, unsigned index)
{
    struct slot *exported = &world->model->exported;
    bough_transfer transfer = {0};
    bough_options options = BOUGH_OPTIONS_INIT;
    options.force = true;
    *attempt(exported) = *newest(&world->model->slots[index]);
    lives_trace(world->life, "export %s", slot_name(index));
    CHECK_OK(bough_export(&transfer, world->store, slot_name(index), world->export_path, &options));
    lives_trace(world->life, "exported %s", slot_name(index));
    becomes(exported, &exported->versions[exported->version_count - 1]);
    bough_transfer_release(&transfer);
    settle_export(world);
}

static void import_branch(struct world *world, unsigned index)
{
    struct model *model = world->model;
    struct slot *slot = &model->slots[index];
    bough_transfer transfer = {0};
    if (newest(&model->exported)->is_absent || slot->version_count == MAX_VERSIONS)
        return;
    close_connections(world);
    *attempt(slot) = *newest(&model->exported);
    lives_trace(world->life, "import %s", slot_name(index));
    CHECK_OK(bough_import(&transfer, world->store, slot_name(index), world->export_path, NULL));
    bough_transfer_release(&transfer);
    attempt_is_done(slot, true);
}

/* With connections open, idle ones, or none. */
static void collect_garbage(struct world *world)
{
    bough_collection collection = {0};
    bool is_dry = harness_below(&world->life->random, 8) == 0;
    int undo_days = harness_below(&world->life->random, 4) ? 0 : -1;
    if (harness_below(&world->life->random, 2))
        close_connections(world);
    lives_trace(world->life, "gc");
    CHECK_OK(bough_gc(&collection, world->store, undo_days, is_dry, NULL));
    lives_trace(world->life, "gc freed %llu bytes, %llu are live", (unsigned long long)collection.freed_bytes,
                (unsigned long long)collection.live_bytes);
    REQUIRE(collection.live_bytes <= collection.store_bytes, "%llu bytes are live in a store of %llu",
            (unsigned long long)collection.live_bytes, (unsigned long long)collection.store_bytes);
    bough_collection_release(&collection);
}

static void work(struct world *world)
{
    int branch = random_branch(world);
    if (branch < 0)
        return;
    unsigned index = (unsigned)branch;
    switch (harness_below(&world->life->random, 24)) {
    case 0:
    case 1:
    case 2:
        fork_branch(world, index);
        break;
    case 3:
    case 4:
        seal_branch(world, index);
        break;
    case 5:
        tag_commit(world);
        break;
    case 6:
        rename_branch(world, index);
        break;
    case 7:
        delete_branch(world, index);
        break;
    case 8:
        export_branch(world, index);
        break;
    case 9:
        import_branch(world, index);
        break;
    case 10:
        close_connections(world);
        break;
    case 11:
        run_sql(connection(world, index), "VACUUM");
        break;
    case 12:
    case 13:
        collect_garbage(world);
        break;
    case 14:
    case 15:
        try_branch(world, index);
        break;
    default:
        transaction(world, index);
    }
}

/* ---- beginnings ---- */

static void make_seed(struct world *world)
{
    sqlite3 *db = open_database(world->seed_path, false);
    run_sql(db, seed_sql);
    REQUIRE(sqlite3_close(db) == SQLITE_OK, "close");
    world->model->has_seed = true;
    world->model->renamed_from = -1;
    world->model->next_token = 1;
    becomes(&world->model->slots[0], &(struct state){0});
    becomes(&world->model->exported, &(struct state){.is_absent = true});
}

/* The store is there whole or not at all, whatever happened to the attempts before. */
static void make_store(struct world *world)
{
    bough_transfer transfer = {0};
    int rc = bough_store_open(&world->store, world->store_path, NULL);
    REQUIRE(rc == BOUGH_OK || rc == BOUGH_NOT_FOUND, "%s: %s", bough_code_name(rc), bough_error_message());
    bough_store_close(world->store);
    if (rc == BOUGH_NOT_FOUND)
        CHECK_OK(bough_store_init(&transfer, world->seed_path, NULL, NULL));
    else /* its maker was killed before it could promise that the name is durable */
        CHECK_OK(bough__os_sync_directory(world->life->directory));
    bough_transfer_release(&transfer);
    world->model->slots[0].may_exist = world->model->slots[0].must_exist = true;
    world->model->has_store = true;
}

static void live(struct life *life)
{
    struct world world = {.life = life, .model = life->shared};
    snprintf(world.store_path, sizeof world.store_path, "%s/shop.bough", life->directory);
    snprintf(world.seed_path, sizeof world.seed_path, "%s/shop.db", life->directory);
    snprintf(world.export_path, sizeof world.export_path, "%s/out.db", life->directory);
    sqlite_bridge_install();
    CHECK_OK(bough_vfs_register(false));
    if (!world.model->has_seed)
        make_seed(&world);
    lives_draw_fate(life, 120);
    if (!world.model->has_store)
        make_store(&world);
    CHECK_OK(bough_store_open(&world.store, world.store_path, NULL));
    check_everything(&world);
    for (uint64_t i = harness_below(&life->random, 30); i > 0; i--)
        work(&world);
    close_connections(&world);
    bough_store_close(world.store);
    /* The last closer of a branch makes everything durable. */
    for (unsigned i = 0; i < SLOTS; i++)
        world.model->slots[i].durable = world.model->slots[i].visible;
}

int main(void)
{
    static const struct story story = {"crash-store", sizeof(struct model), LIVES, 1, false, live};
    return lives_run(&story, 1, 100);
}
