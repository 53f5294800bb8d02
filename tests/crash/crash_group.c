/* crash_group.c - transactions over two and three branches under power losses and kills: all or none on every branch.
 *
 * First each step of one such transaction, with every kind of loss. Then stories: random transactions on one branch or
 * several, checkpoints, failing syncs, and lives that look at a single branch, or write to it, before another one is
 * seen. Each branch holds a list of tokens, one for each transaction. The model is such a list for each branch, how
 * much of it was promised, and the one transaction that may be there: who sees it first decides for the others.
 */
#include "lives.h"
#include "sqlite_bridge.h"

#include "bough.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIVES = 14, BRANCHES = 3, MAX_TOKENS = 600, ALL = (1 << BRANCHES) - 1, BULK_ROWS = 3000 };

struct branch {
    uint32_t tokens[MAX_TOKENS];
    unsigned count, durable; /* of them are promised whatever happens */
    bool power_was_lost;     /* since somebody looked */
};

enum outcome { UNKNOWN, PRESENT, ABSENT };

struct model {
    bool has_store;
    uint32_t next_token;
    struct branch branches[BRANCHES];
    /* The last attempt; tokens[count] of each branch in it that was not looked at yet. */
    uint32_t token;
    unsigned unseen; /* branches, as bits */
    enum outcome outcome;
    uint64_t groups, found, kept;
};

struct world {
    struct life *life;
    struct model *model;
    char store_path[400];
    sqlite3 *db; /* main with the others attached */
};

static const char *const names[BRANCHES] = {"main", "b1", "b2"};
static const char *const schemas[BRANCHES] = {"main", "y", "z"};

#define CHECK_OK(call)                                                                                   \
    do {                                                                                                 \
        int check_rc = (call);                                                                           \
        REQUIRE(check_rc == BOUGH_OK, "%s: %s", bough_code_name(check_rc), bough_error_message());       \
    } while (0)

/* ---- SQL ---- */

static int try_sql(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static void run_sql(sqlite3 *db, const char *sql)
{
    int rc = try_sql(db, sql);
    REQUIRE(rc == SQLITE_OK, "%s: %d %s (%s)", sql, sqlite3_extended_errcode(db), sqlite3_errmsg(db),
            bough_error_message());
}

static const char *uri_of(const struct world *world, unsigned branch)
{
    static char uri[500];
    snprintf(uri, sizeof uri, "file:%s/db/%s?vfs=bough", world->store_path, names[branch]);
    return uri;
}

static sqlite3 *open_branch(const struct world *world, unsigned branch)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(uri_of(world, branch), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL);
    REQUIRE(rc == SQLITE_OK, "%s: %s (%s)", names[branch], sqlite3_errmsg(db), bough_error_message());
    return db;
}

static void open_all(struct world *world)
{
    char sql[600];
    if (world->db)
        return;
    world->db = open_branch(world, 0);
    for (unsigned i = 1; i < BRANCHES; i++) {
        snprintf(sql, sizeof sql, "ATTACH '%s' AS %s", uri_of(world, i), schemas[i]);
        run_sql(world->db, sql);
    }
}

static void close_all(struct world *world)
{
    REQUIRE(sqlite3_close(world->db) == SQLITE_OK, "close");
    world->db = NULL;
}

/* ---- the store ---- */

static void make_store(const char *path, uint32_t page_size)
{
    bough_transfer made = {0};
    bough_branches branches = {0};
    bough_store *store = NULL;
    bough_options options = BOUGH_OPTIONS_INIT;
    sqlite3 *db = NULL;
    char uri[500];
    options.page_size = page_size;
    CHECK_OK(bough_store_init_empty(&made, path, &options));
    bough_transfer_release(&made);
    snprintf(uri, sizeof uri, "file:%s/db/main?vfs=bough", path);
    REQUIRE(sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL) == SQLITE_OK, "main");
    run_sql(db, "CREATE TABLE log(token INTEGER); CREATE TABLE t(a INTEGER PRIMARY KEY, b, pad);"
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)"
                "INSERT INTO t SELECT i, 0, printf('%0100d', i) FROM n; CREATE TABLE bulk(a, b)");
    REQUIRE(sqlite3_close(db) == SQLITE_OK, "close");
    CHECK_OK(bough_store_open(&store, path, NULL));
    CHECK_OK(bough_branch_create(&branches, store, names + 1, BRANCHES - 1, "main", NULL));
    bough_branches_release(&branches);
    bough_store_close(store);
}

/* What a transaction does to one branch. */
static void apply(sqlite3 *db, const char *schema, uint32_t token)
{
    char sql[500];
    snprintf(sql, sizeof sql, "INSERT INTO %s.log VALUES(%u); UPDATE %s.t SET b = %u%s", schema, token, schema, token,
             token % 3 ? " WHERE a % 7 = 1" : "");
    run_sql(db, sql);
    if (token % 16 == 5) {
        snprintf(sql, sizeof sql,
                 "DELETE FROM %s.bulk; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
                 " INSERT INTO %s.bulk SELECT %u, printf('%%0440d', i) FROM n",
                 schema, BULK_ROWS, schema, token);
        run_sql(db, sql);
    } else if (token % 16 == 9) {
        snprintf(sql, sizeof sql, "DELETE FROM %s.bulk", schema);
        run_sql(db, sql);
    }
}

/* ---- looking ---- */

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

static unsigned read_tokens(uint32_t out[MAX_TOKENS], sqlite3 *db)
{
    unsigned count = 0;
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, "SELECT token FROM main.log ORDER BY rowid", -1, &statement, NULL);
    REQUIRE(rc == SQLITE_OK, "%s (%s)", sqlite3_errmsg(db), bough_error_message());
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW && count < MAX_TOKENS)
        out[count++] = (uint32_t)sqlite3_column_int64(statement, 0);
    REQUIRE(rc == SQLITE_DONE, "%s (%s)", sqlite3_errmsg(db), bough_error_message());
    sqlite3_finalize(statement);
    return count;
}

/* The rest of the database is what its tokens say. */
static void check_content(sqlite3 *db, const uint32_t *tokens, unsigned count)
{
    int64_t all = 0, some = 0, bulk = 0;
    for (unsigned i = 0; i < count; i++) {
        some = tokens[i];
        all = tokens[i] % 3 ? all : tokens[i];
        bulk = tokens[i] % 16 == 5 ? BULK_ROWS : tokens[i] % 16 == 9 ? 0 : bulk;
    }
    REQUIRE(ask(db, "SELECT b FROM t WHERE a = 1") == some, "wrong row 1");
    REQUIRE(ask(db, "SELECT b FROM t WHERE a = 2") == all, "wrong row 2");
    REQUIRE(ask(db, "SELECT count(*) FROM bulk") == bulk, "wrong bulk");
    REQUIRE(ask(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'") == 0, "integrity");
}

static void see_attempt(struct model *model, unsigned branch, bool is_there)
{
    enum outcome outcome = is_there ? PRESENT : ABSENT;
    if (model->outcome == UNKNOWN)
        model->kept += is_there;
    REQUIRE(model->outcome == UNKNOWN || model->outcome == outcome, "transaction %u is %s on %s, elsewhere it is %s",
            model->token, is_there ? "there" : "missing", names[branch], is_there ? "missing" : "there");
    model->outcome = outcome;
    model->unseen &= ~(1u << branch);
    model->found++;
}

static void look_at(struct world *world, unsigned index)
{
    static uint32_t tokens[MAX_TOKENS];
    struct model *model = world->model;
    struct branch *branch = &model->branches[index];
    sqlite3 *db = open_branch(world, index);
    unsigned count = read_tokens(tokens, db);
    lives_trace(world->life, "%s has %u tokens, the newest is %u", names[index], count, count ? tokens[count - 1] : 0);
    check_content(db, tokens, count);
    REQUIRE(sqlite3_close(db) == SQLITE_OK, "close");
    if (model->unseen & 1u << index) {
        bool is_there = count > 0 && tokens[count - 1] == model->token;
        see_attempt(model, index, is_there);
        branch->tokens[branch->count] = model->token;
        branch->count += is_there;
        /* What is there of several branches is durable, and so is what came before it. */
        branch->durable = is_there ? branch->count : branch->durable;
    }
    REQUIRE(count <= branch->count && count >= (branch->power_was_lost ? branch->durable : branch->count),
            "%s: %u tokens, %u of %u were promised", names[index], count, branch->durable, branch->count);
    REQUIRE(memcmp(tokens, branch->tokens, count * sizeof tokens[0]) == 0, "%s: other tokens", names[index]);
    branch->count = branch->durable = count;
    branch->power_was_lost = false;
}

/* ---- working ---- */

static bool has_room(const struct model *model)
{
    for (unsigned i = 0; i < BRANCHES; i++)
        if (model->branches[i].count + 1 >= MAX_TOKENS)
            return false;
    return true;
}

/* Failing syncs are for transactions over several: what then becomes of one on a single branch is crash_layer's. */
static int commit(struct world *world, bool is_group)
{
    struct harness_random *random = &world->life->random;
    bool syncs_fail = is_group && harness_below(random, 8) == 0;
    if (syncs_fail)
        simdisk_fail_sync_at(1 + harness_below(random, 5), harness_next(random));
    int rc = try_sql(world->db, "COMMIT");
    REQUIRE(rc == SQLITE_OK || syncs_fail, "COMMIT: %d %s (%s)", sqlite3_extended_errcode(world->db),
            sqlite3_errmsg(world->db), bough_error_message());
    if (syncs_fail)
        simdisk_fail_sync_at(0, 0);
    if (rc != SQLITE_OK && !sqlite3_get_autocommit(world->db))
        run_sql(world->db, "ROLLBACK");
    return rc;
}

static void transaction(struct world *world, unsigned mask, bool is_durable)
{
    char sql[200];
    struct model *model = world->model;
    uint32_t token = model->next_token++;
    bool is_group = mask & (mask - 1);
    open_all(world);
    for (unsigned i = 0; i < BRANCHES; i++) {
        snprintf(sql, sizeof sql, "PRAGMA %s.synchronous = %s; PRAGMA %s.cache_size = %d", schemas[i],
                 is_durable ? "FULL" : "NORMAL", schemas[i], token % 5 ? 500 : 3);
        run_sql(world->db, sql);
    }
    run_sql(world->db, "BEGIN");
    for (unsigned i = 0; i < BRANCHES; i++)
        if (mask & 1u << i)
            apply(world->db, schemas[i], token);
    model->token = token;
    model->outcome = UNKNOWN;
    model->unseen = mask;
    lives_trace(world->life, "token %u on %x%s", token, mask, is_durable ? ", durable" : "");
    bool is_in = commit(world, is_group) == SQLITE_OK;
    lives_trace(world->life, "token %u is %s", token, is_in ? "in" : "not in");
    model->unseen = 0;
    model->groups += is_group && is_in;
    for (unsigned i = 0; is_in && i < BRANCHES; i++) {
        struct branch *branch = &model->branches[i];
        if (!(mask & 1u << i))
            continue;
        branch->tokens[branch->count++] = token;
        if (is_durable || is_group)
            branch->durable = branch->count;
    }
}

/* Some of the branches, in any order; a life may end before it has seen the others. */
static void look_around(struct world *world)
{
    struct harness_random *random = &world->life->random;
    unsigned seen = 0, want = harness_below(random, 3) ? BRANCHES : (unsigned)harness_below(random, BRANCHES);
    while (want > 0) {
        unsigned index = (unsigned)harness_below(random, BRANCHES);
        if (seen & 1u << index)
            continue;
        look_at(world, index);
        seen |= 1u << index;
        want--;
    }
}

/* Goes on with a branch that has been looked at, while another has not. */
static void go_on_with(struct world *world, unsigned index)
{
    struct model *model = world->model;
    struct branch *branch = &model->branches[index];
    char sql[100];
    sqlite3 *db = open_branch(world, index);
    snprintf(sql, sizeof sql, "PRAGMA user_version = %u", model->next_token);
    run_sql(db, sql);
    REQUIRE(sqlite3_close(db) == SQLITE_OK, "close");
    branch->durable = branch->count;
}

static void live(struct life *life)
{
    struct world world = {.life = life, .model = life->shared};
    struct model *model = world.model;
    snprintf(world.store_path, sizeof world.store_path, "%s/s.bough", life->directory);
    sqlite_bridge_install();
    CHECK_OK(bough_vfs_register(false));
    if (!model->has_store) {
        make_store(world.store_path, 512);
        model->has_store = true;
        model->next_token = 1;
        lives_settled(life); /* all of it is durable */
    }
    for (unsigned i = 0; i < BRANCHES; i++)
        model->branches[i].power_was_lost |= life->power_was_lost;
    lives_settled(life);
    lives_draw_fate(life, 90);
    look_around(&world);
    for (unsigned i = 0; i < BRANCHES; i++)
        if (model->unseen != 0 && !(model->unseen & 1u << i) && model->outcome != UNKNOWN &&
            !model->branches[i].power_was_lost) /* else nobody knows yet what it has */
            go_on_with(&world, i);
    for (unsigned i = 0; i < BRANCHES; i++)
        if (model->unseen & 1u << i || model->branches[i].power_was_lost)
            look_at(&world, i);
    for (uint64_t n = harness_below(&life->random, 25); n > 0 && has_room(model); n--) {
        unsigned mask = 1 + (unsigned)harness_below(&life->random, ALL);
        transaction(&world, mask, harness_below(&life->random, 2));
        if (harness_below(&life->random, 10) == 0)
            close_all(&world);
    }
    close_all(&world);
    for (unsigned i = 0; i < BRANCHES; i++)
        model->branches[i].durable = model->branches[i].count;
}

/* ---- every step of one transaction ---- */

struct step {
    char directory[300], store_path[350];
    unsigned mask;
    uint64_t nth;
    enum simdisk_loss loss;
    bool power_fails_later; /* when the first branch was looked at, and written to by every other one who looks */
    uint64_t boot;
};

static void group_in(const struct step *step, uint32_t token)
{
    struct world world = {0};
    snprintf(world.store_path, sizeof world.store_path, "%s", step->store_path);
    open_all(&world);
    run_sql(world.db, "BEGIN");
    for (unsigned i = 0; i < BRANCHES; i++)
        if (step->mask & 1u << i)
            apply(world.db, schemas[i], token);
    if (token == 2)
        simdisk_crash_at(SIMDISK_ANY, step->nth, step->loss, step->nth * 977 + step->loss);
    run_sql(world.db, "COMMIT");
    simdisk_crash_at(0, 0, SIMDISK_KILL, 0);
    close_all(&world);
}

/* A process of its own that looks at one branch: whether the transaction is there. */
static bool is_there(const struct step *step, unsigned branch)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        uint32_t tokens[MAX_TOKENS];
        struct world world = {0};
        snprintf(world.store_path, sizeof world.store_path, "%s", step->store_path);
        simdisk_resume(step->boot);
        sqlite_bridge_install();
        CHECK_OK(bough_vfs_register(false));
        sqlite3 *db = open_branch(&world, branch);
        unsigned count = read_tokens(tokens, db);
        REQUIRE(count >= 1 && count <= 2 && tokens[0] == 3 && (count == 1 || tokens[1] == 2), "%s", names[branch]);
        check_content(db, tokens, count);
        if (step->nth % 2)
            run_sql(db, "PRAGMA user_version = 7");
        REQUIRE(sqlite3_close(db) == SQLITE_OK, "close");
        fflush(NULL);
        _exit(count == 2 ? 1 : 0);
    }
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) <= 1,
            "branches %x, step %llu, %s: looking at %s failed", step->mask, (unsigned long long)step->nth,
            simdisk_loss_name(step->loss), names[branch]);
    return WEXITSTATUS(status) == 1;
}

static void lose_power(struct step *step)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        simdisk_resume(step->boot);
        simdisk_power_loss(SIMDISK_LOSE_ALL, step->nth);
        _exit(0);
    }
    REQUIRE(pid > 0 && waitpid(pid, NULL, 0) == pid, "power loss");
    step->boot++;
}

static void make_directory(struct step *step)
{
    const char *base = getenv("TMPDIR") ? getenv("TMPDIR") : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(step->directory, sizeof step->directory, "%s/bough-crash-group-XXXXXX", base);
    REQUIRE(mkdtemp(step->directory) != NULL, "%s", step->directory);
    snprintf(step->store_path, sizeof step->store_path, "%s/s.bough", step->directory);
}

/* Returns whether the transaction has as many steps; *out_kept: whether it is there though nobody was told so. */
static bool crash_once(bool *out_kept, struct step *step)
{
    static const unsigned orders[][BRANCHES] = {{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {1, 2, 0}, {0, 2, 1}, {2, 0, 1}};
    const unsigned *order = orders[step->nth % COUNT_OF(orders)];
    int status = 0, found = -1;
    make_directory(step);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        simdisk_install(step->directory, 1);
        sqlite_bridge_install();
        CHECK_OK(bough_vfs_register(false));
        make_store(step->store_path, 1024);
        group_in(step, 3);
        group_in(step, 2);
        fflush(NULL);
        _exit(EXIT_SUCCESS);
    }
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status), "the writer failed");
    int code = WEXITSTATUS(status);
    REQUIRE(code == EXIT_SUCCESS || code == SIMDISK_EXIT || code == SIMDISK_KILLED, "the writer failed");
    step->boot = code == SIMDISK_EXIT ? 2 : 1;
    for (unsigned i = 0; i < BRANCHES; i++) {
        if (!(step->mask & 1u << order[i]))
            continue;
        int now = is_there(step, order[i]);
        if (found < 0 && step->power_fails_later)
            lose_power(step);
        REQUIRE(found < 0 || found == now, "branches %x, step %llu, %s: half of the transaction is there", step->mask,
                (unsigned long long)step->nth, simdisk_loss_name(step->loss));
        found = now;
    }
    REQUIRE(code != EXIT_SUCCESS || found == 1, "an acknowledged transaction is missing");
    *out_kept = code != EXIT_SUCCESS && found == 1;
    harness_remove_tree(step->directory);
    return code != EXIT_SUCCESS;
}

static void crash_each_step(unsigned mask, enum simdisk_loss loss, bool power_fails_later)
{
    bool is_hit = true, is_kept = false;
    unsigned steps = 0, kept = 0;
    for (uint64_t nth = 1; is_hit; nth++) {
        struct step step = {.mask = mask, .nth = nth, .loss = loss, .power_fails_later = power_fails_later};
        is_hit = crash_once(&is_kept, &step);
        steps += is_hit;
        kept += is_kept;
    }
    printf("crash-group: branches %x, %s%s: %u steps, after %u the transaction is there\n", mask,
           simdisk_loss_name(loss), power_fails_later ? " and a power loss" : "", steps, kept);
    fflush(stdout); /* or every later process would say it again */
    REQUIRE(steps >= 5 && kept < steps, "too few steps");
}

/* ---- a decision whose sync fails ---- */

/* It may be on the disk all the same. One branch goes on, then the power is lost. */
static void fail_decision(uint64_t seed)
{
    int status = 0;
    struct step step = {.mask = ALL, .nth = seed, .boot = 1};
    make_directory(&step);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct world world = {0};
        snprintf(world.store_path, sizeof world.store_path, "%s", step.store_path);
        simdisk_install(step.directory, 1);
        sqlite_bridge_install();
        CHECK_OK(bough_vfs_register(false));
        make_store(step.store_path, 1024);
        open_all(&world);
        for (uint32_t token = 3; token >= 2; token--) {
            run_sql(world.db, "BEGIN");
            for (unsigned i = 0; i < BRANCHES; i++)
                apply(world.db, schemas[i], token);
            if (token == 2)
                simdisk_fail_sync_at(BRANCHES + 1, seed); /* after those of the branches */
            int rc = try_sql(world.db, "COMMIT");
            REQUIRE(rc == (token == 2 ? SQLITE_IOERR : SQLITE_OK), "COMMIT: %s", sqlite3_errmsg(world.db));
        }
        run_sql(world.db, "UPDATE y.t SET pad = 'on'");
        fflush(NULL);
        simdisk_power_loss(SIMDISK_LOSE_ALL, seed);
        _exit(EXIT_SUCCESS);
    }
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "the writer failed");
    step.boot = 2;
    for (unsigned i = 0; i < BRANCHES; i++)
        REQUIRE(!is_there(&step, i), "seed %llu: %s has a transaction that failed", (unsigned long long)seed, names[i]);
    harness_remove_tree(step.directory);
}

int main(void)
{
    static const struct story story = {"crash-group", sizeof(struct model), LIVES, 1, false, live};
    static const unsigned masks[] = {3, ALL};
    simdisk_share();
    for (size_t i = 0; i < COUNT_OF(masks); i++) {
        for (enum simdisk_loss loss = SIMDISK_RANDOM; loss < SIMDISK_LOSSES; loss++)
            crash_each_step(masks[i], loss, false);
        crash_each_step(masks[i], SIMDISK_KILL, false);
        crash_each_step(masks[i], SIMDISK_KILL, true);
    }
    for (uint64_t seed = 1; seed <= 20; seed++)
        fail_decision(seed);
    return lives_run(&story, 1, 40);
}
