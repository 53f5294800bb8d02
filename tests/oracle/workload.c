/* workload.c - the steps as a table of SQL, and the loop that runs and hashes them.
 *
 * A step's statement runs for i = 1 .. count with these parameters:
 *     ?1  i
 *     ?2  a number from 1 to n that i names, all of them in mixed order
 *     ?3  words that spell ?2
 *     ?4  n
 *     ?5  one of the words, by i
 * where n = 500 * scale, and count is a share of n.
 */
#include "workload.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct step {
    const char *name;
    const char *setup;     /* runs once, first; may be NULL */
    const char *sql;       /* may be NULL */
    unsigned per_mille;    /* of n; 0: once */
    bool own_transactions; /* else one around all */
};

static const struct step steps[] = {
    {"inserts, a transaction each", "CREATE TABLE own(a INTEGER, b INTEGER, c TEXT)",
     "INSERT INTO own VALUES(?1, ?2, ?3)", 10, true},
    {"inserts, one transaction", "CREATE TABLE heap(a INTEGER, b INTEGER, c TEXT)",
     "INSERT INTO heap VALUES(?1, ?2, ?3)", 1000, false},
    {"ordered inserts by key", "CREATE TABLE keyed(a INTEGER PRIMARY KEY, b INTEGER, c TEXT)",
     "INSERT INTO keyed VALUES(?1, ?2, ?3)", 1000, false},
    {"unordered inserts with indexes",
     "CREATE TABLE busy(a INTEGER PRIMARY KEY, b INTEGER UNIQUE, c TEXT);"
     "CREATE INDEX busy_c ON busy(c, b)",
     "INSERT INTO busy VALUES(?2, ?1, ?3)", 1000, false},
    {"inserts without rowid", "CREATE TABLE flat(k TEXT PRIMARY KEY, v INTEGER) WITHOUT ROWID",
     "INSERT INTO flat VALUES(?3 || ?2, ?1)", 500, false},
    {"ranges without index", NULL, "SELECT count(*), avg(a), sum(length(c)) FROM heap WHERE b BETWEEN ?2 AND ?2 + 100",
     2, false},
    {"LIKE", NULL, "SELECT count(*), avg(b), max(c) FROM heap WHERE c LIKE '%' || ?5 || '%'", 2, false},
    {"GLOB on a prefix", NULL, "SELECT count(*), min(a) FROM busy WHERE c GLOB ?5 || '*'", 4, false},
    {"ORDER BY with LIMIT", NULL, "SELECT a, b, c FROM heap WHERE b > ?2 ORDER BY c DESC, a LIMIT 10", 2, false},
    {"ORDER BY of everything", NULL, "SELECT a, c FROM heap ORDER BY c, b DESC", 0, false},
    {"text order without case", NULL, "SELECT c FROM heap ORDER BY upper(substr(c, 2)) COLLATE NOCASE, a LIMIT 500", 0,
     false},
    {"creating indexes", NULL, "CREATE INDEX heap_b ON heap(b)", 0, false},
    {"creating an index of text", NULL, "CREATE UNIQUE INDEX heap_c ON heap(c, a)", 0, false},
    {"creating an index of an expression", NULL, "CREATE INDEX heap_e ON heap(a % 97, length(c)) WHERE b % 3 = 0", 0,
     false},
    {"ranges with an index", NULL, "SELECT count(*), avg(a), sum(length(c)) FROM heap WHERE b BETWEEN ?2 AND ?2 + 50",
     200, false},
    {"ranges by key", NULL, "SELECT count(*), avg(b), sum(length(c)) FROM keyed WHERE a BETWEEN ?2 AND ?2 + 50", 200,
     false},
    {"lookups of text", NULL, "SELECT a, b FROM heap WHERE c = ?3", 200, false},
    {"lookups by key", NULL, "SELECT b, c FROM keyed WHERE a = ?2", 1000, false},
    {"lookups, a transaction each", NULL, "SELECT b, c FROM busy WHERE a = ?2", 500, true},
    {"joins of three", NULL,
     "SELECT sum(length(k.c)), count(*) FROM heap h JOIN keyed k ON k.a = h.b JOIN busy y ON y.b = k.b WHERE h.a "
     "BETWEEN ?2 "
     "AND ?2 + 20",
     8, false},
    {"outer join and NULLs", NULL,
     "SELECT count(*), count(y.a) FROM heap h LEFT JOIN busy y ON y.a = h.b * 2 WHERE h.b BETWEEN ?2 AND ?2 + 100", 20,
     false},
    {"correlated subqueries", NULL,
     "SELECT a, (SELECT count(*) FROM keyed k WHERE k.a BETWEEN h.b AND h.b + 5) FROM heap h WHERE h.b BETWEEN ?2 AND "
     "?2 + 30 "
     "ORDER BY a",
     20, false},
    {"IN and EXISTS", NULL,
     "SELECT count(*) FROM heap h WHERE b IN (SELECT a FROM keyed WHERE b % 7 = ?1 % 7) AND EXISTS (SELECT 1 FROM busy "
     "y "
     "WHERE y.a = h.a)",
     1, false},
    {"groups", NULL,
     "SELECT a % 50 AS g, count(*), total(b), group_concat(b % 10, '') FROM heap GROUP BY g HAVING g > ?1 % 25", 1,
     false},
    {"windows", NULL,
     "SELECT a, rank() OVER (PARTITION BY a % 20 ORDER BY b), sum(b) OVER (PARTITION BY a % 20 ORDER BY a ROWS 5 "
     "PRECEDING) "
     "FROM heap WHERE a <= 2000 ORDER BY a",
     0, false},
    {"DISTINCT and compounds", NULL,
     "SELECT substr(c, 1, 6) AS t FROM heap UNION SELECT substr(c, 2, 6) FROM keyed EXCEPT SELECT substr(c, 1, 6) FROM "
     "busy "
     "WHERE a % 2 ORDER BY t",
     0, false},
    {"recursion", NULL,
     "WITH RECURSIVE walk(start, x, n) AS (SELECT a, a, 0 FROM keyed WHERE a BETWEEN ?2 AND ?2 + 20 UNION ALL SELECT "
     "start, "
     "CASE WHEN x % 2 THEN 3 * x + 1 ELSE x / 2 END, n + 1 FROM walk WHERE x > 1 AND n < 200) SELECT start, max(n), "
     "max(x) "
     "FROM walk GROUP BY start",
     4, false},
    {"updates of ranges", NULL, "UPDATE heap SET a = a + 100000 WHERE b BETWEEN ?2 AND ?2 + 10", 100, false},
    {"updates by key", NULL, "UPDATE keyed SET b = b + 1, c = c || ?1 WHERE a = ?2", 500, false},
    {"update of everything", NULL, "UPDATE busy SET c = c || ' and ' || a", 0, false},
    {"a new column", "ALTER TABLE heap ADD COLUMN d INTEGER DEFAULT 17", "UPDATE heap SET d = a + b", 0, false},
    {"upserts", NULL, "INSERT INTO flat VALUES(?3 || ?2, 1) ON CONFLICT(k) DO UPDATE SET v = v + 10", 1000, false},
    {"triggers",
     "CREATE TABLE history(n INTEGER PRIMARY KEY AUTOINCREMENT, a INTEGER, old TEXT, new TEXT);"
     "CREATE TRIGGER keep AFTER UPDATE OF c ON keyed BEGIN INSERT INTO history(a, old, new) VALUES(new.a, old.c, "
     "new.c); END",
     "UPDATE keyed SET c = ?3 WHERE a = ?2", 200, false},
    {"generated columns and checks",
     "CREATE TABLE made(a INTEGER, b AS (a * 2) STORED, c AS (a || '-' || b), CHECK (a <> -1)); CREATE INDEX made_c ON "
     "made(c)",
     "INSERT OR IGNORE INTO made(a) VALUES(CASE WHEN ?1 % 10 THEN ?2 ELSE -1 END)", 300, false},
    {"reading them", NULL, "SELECT a, b, c FROM made WHERE c = ?2 || '-' || (?2 * 2)", 100, false},
    {"large values", "CREATE TABLE large(a INTEGER PRIMARY KEY, b BLOB)",
     "INSERT INTO large VALUES(?1, CAST(replace(hex(zeroblob(?1 * 997 % 2000)), '0', ?3) AS BLOB))", 20, false},
    {"reading large values", NULL, "SELECT length(b), substr(b, ?1 * 100, 30) FROM large WHERE a = ?1", 20, false},
    {"deletes of ranges", NULL, "DELETE FROM heap WHERE b BETWEEN ?2 AND ?2 + 10", 20, false},
    {"deletes by key", NULL, "DELETE FROM busy WHERE a = ?2", 300, false},
    {"refilling", "DELETE FROM own; DROP INDEX heap_e", "INSERT INTO own SELECT a, b, c FROM heap", 0, false},
    {"REPLACE", NULL, "REPLACE INTO busy SELECT a, b, c FROM keyed WHERE a % 3 = 0", 0, false},
    {"rectangles", "CREATE VIRTUAL TABLE box USING rtree(id, x0, x1, y0, y1)",
     "INSERT INTO box VALUES(?1, ?2 % 1000, ?2 % 1000 + ?1 % 30, ?1 % 1000, ?1 % 1000 + ?2 % 30)", 500, false},
    {"overlaps", NULL,
     "SELECT count(*), sum(id) FROM box WHERE x0 <= ?2 % 1000 + 20 AND x1 >= ?2 % 1000 AND y1 >= ?1 % 900 AND "
     "y0 <= ?1 % 900 + 50",
     100, false},
    {"moving rectangles", NULL, "UPDATE box SET x0 = x0 + 5, x1 = x1 + 5 WHERE id = ?2", 100, false},
    {"deleting rectangles", NULL, "DELETE FROM box WHERE id = ?2", 100, false},
    {"full text", "CREATE VIRTUAL TABLE words USING fts5(title, body, prefix='2')",
     "INSERT INTO words VALUES(?5, ?3 || ' ' || ?5 || ' ' || ?3)", 300, false},
    {"full-text search", NULL,
     "SELECT rowid, title FROM words WHERE words MATCH ?5 || ' OR ' || substr(?5, 1, 2) || '*' "
     "ORDER BY rank, rowid LIMIT 20",
     5, false},
    {"full-text deletes", NULL, "DELETE FROM words WHERE rowid = ?2", 50, false},
    {"full-text optimize", NULL, "INSERT INTO words(words) VALUES('optimize')", 0, false},
    {"full-text check", NULL, "INSERT INTO words(words) VALUES('integrity-check')", 0, false},
    {"JSON", NULL, "SELECT json_group_array(json_object('a', a, 'c', c)) FROM keyed WHERE a BETWEEN ?2 AND ?2 + 3", 20,
     false},
    {"temporary table", "CREATE TEMP TABLE scratch AS SELECT b AS x, c FROM heap",
     "SELECT count(*), sum(x) FROM scratch JOIN "
     "keyed ON keyed.a = x",
     0, false},
    {"ANALYZE", "ANALYZE", "SELECT tbl, idx, stat FROM sqlite_stat1 ORDER BY tbl, idx", 0, false},
    {"VACUUM", "VACUUM", "SELECT count(*) FROM own", 0, true},
    {"integrity_check", NULL, "PRAGMA integrity_check", 0, true},
};

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t len_bytes)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len_bytes; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t hash_row(uint64_t hash, sqlite3_stmt *statement)
{
    for (int i = 0; i < sqlite3_column_count(statement); i++) {
        int type = sqlite3_column_type(statement, i);
        hash = hash_bytes(hash, &type, sizeof(type));
        if (type == SQLITE_INTEGER) {
            sqlite3_int64 value = sqlite3_column_int64(statement, i);
            hash = hash_bytes(hash, &value, sizeof(value));
        } else if (type == SQLITE_FLOAT) {
            double value = sqlite3_column_double(statement, i);
            hash = hash_bytes(hash, &value, sizeof(value));
        } else if (type != SQLITE_NULL) {
            const void *bytes = sqlite3_column_blob(statement, i);
            hash = hash_bytes(hash, bytes, (size_t)sqlite3_column_bytes(statement, i));
        }
    }
    return hash;
}

static const char *const vocabulary[32] = {"amber", "birch", "cedar", "delta", "ember", "fjord", "grain", "heron",
                                           "inlet", "jetty", "kelp",  "larch", "maple", "north", "ocean", "pearl",
                                           "quail", "ridge", "slate", "thorn", "umber", "vapor", "wharf", "xenon",
                                           "yacht", "zebra", "acorn", "brine", "crane", "dune",  "elder", "fern"};

/* Spells a number in base 32, the lowest digit first, so that neighbours differ in their first word. */
static void spell(char out[64], uint64_t number)
{
    size_t len = 0;
    do {
        const char *word = vocabulary[number % 32];
        len += (size_t)snprintf(out + len, 64 - len, "%s%s", len == 0 ? "" : " ", word);
        number /= 32;
    } while (number > 0 && len < 56);
}

/* i in 1 .. n to another number in 1 .. n: a permutation where n is no multiple of the factor, a prime. */
static uint64_t shuffle(uint64_t i, uint64_t n)
{
    return i * UINT64_C(7368787) % n + 1;
}

static void bind(sqlite3_stmt *statement, uint64_t i, uint64_t n)
{
    int count = sqlite3_bind_parameter_count(statement);
    uint64_t other = shuffle(i, n);
    if (count >= 1)
        sqlite3_bind_int64(statement, 1, (sqlite3_int64)i);
    if (count >= 2)
        sqlite3_bind_int64(statement, 2, (sqlite3_int64)other);
    if (count >= 3) {
        char text[64];
        spell(text, other);
        sqlite3_bind_text(statement, 3, text, -1, SQLITE_TRANSIENT);
    }
    if (count >= 4)
        sqlite3_bind_int64(statement, 4, (sqlite3_int64)n);
    if (count >= 5)
        sqlite3_bind_text(statement, 5, vocabulary[i % 32], -1, SQLITE_STATIC);
}

static int run_statement(uint64_t *hash, uint64_t *rows, sqlite3_stmt *statement)
{
    int rc = SQLITE_ROW;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        *hash = hash_row(*hash, statement);
        ++*rows;
    }
    int reset = sqlite3_reset(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : reset;
}

static int run_step(uint64_t *hash, uint64_t *rows, sqlite3 *db, const struct step *step, uint64_t n)
{
    sqlite3_stmt *statement = NULL;
    uint64_t count = step->per_mille == 0 ? 1 : n * step->per_mille / 1000 + 1;
    int rc = step->setup == NULL ? SQLITE_OK : sqlite3_exec(db, step->setup, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db, step->sql, -1, &statement, NULL);
    if (rc == SQLITE_OK && !step->own_transactions)
        rc = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    for (uint64_t i = 1; rc == SQLITE_OK && i <= count && i <= n; i++) {
        bind(statement, i, n);
        rc = run_statement(hash, rows, statement);
    }
    sqlite3_finalize(statement);
    if (rc == SQLITE_OK && !step->own_transactions)
        rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    return rc;
}

int workload_run(uint64_t *out_hash, sqlite3 *db, unsigned scale, workload_step_callback *callback, void *context)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325), n = (uint64_t)scale * 500;
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < sizeof(steps) / sizeof(steps[0]); i++) {
        uint64_t rows = 0;
        rc = run_step(&hash, &rows, db, &steps[i], n);
        if (rc == SQLITE_OK && callback != NULL)
            callback(context, steps[i].name, hash, rows);
        if (rc != SQLITE_OK)
            sqlite3_log(rc, "workload: %s", steps[i].name);
    }
    *out_hash = hash;
    return rc;
}
