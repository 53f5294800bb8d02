/* random_sql.c - a statement is a pattern drawn by weight, with its holes filled by numbers.
 *
 * In a pattern, %t is one of the rowid tables, %w one without rowid, %n a table of either kind, %k a small number, %s a
 * seed, %z a size in bytes that now and then exceeds the page, %r a number of rows, %c a conflict clause, %o the number
 * of an object.
 */
#include "random_sql.h"

#include <stdio.h>
#include <string.h>

struct pattern {
    unsigned weight;
    const char *sql;
};

static const struct pattern patterns[] = {
    /* rows in */
    {30,
     "INSERT OR %c INTO %t(id, a, b, c) WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %r) "
     "SELECT (i * 7919 + %s) % 3000 + 1, i * %k, words(i + %s, %k), noise(i + %s, %z) FROM n"},
    {15, "INSERT OR %c INTO %t(a, b, c) VALUES(%k, words(%s, 3), noise(%s, %z)), (%s, NULL, zeroblob(%z)), (1.5, 'x', "
         "NULL)"},
    {15,
     "INSERT OR %c INTO %w(id, a, b, c) WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %r) "
     "SELECT (i * 31 + %s) % 500, i, words(i + %s, 2), noise(i, %z) FROM n"},
    {6, "INSERT INTO %t(id, a, b) VALUES(%k, %s, 'up') ON CONFLICT(id) DO UPDATE SET a = a + 1, c = noise(%s, %z)"},
    {4, "INSERT OR %c INTO %t(a, b, c) SELECT a, b, c FROM %n LIMIT %r"},
    {4, "INSERT INTO keys(b, parent) SELECT words(a, 2), id FROM t0 LIMIT %r; DELETE FROM keys WHERE n % 3 = %k % 3"},
    /* rows changed */
    {12, "UPDATE %n SET a = a + %k, b = words(%s + rowid_or_id, 2) WHERE id % 17 = %k % 17"},
    {14, "UPDATE OR %c %n SET c = noise(%s, %z) WHERE id % 23 = %k % 23"},
    {6, "UPDATE %n SET b = b || b WHERE id BETWEEN %k AND %k + 50 AND length(b) < 600"},
    {3, "UPDATE OR %c %t SET id = id + %k WHERE id % 41 = %k"},
    /* rows out */
    {10, "DELETE FROM %n WHERE id % 11 = %k % 11"},
    {5, "DELETE FROM %n WHERE id BETWEEN %s % 3000 AND %s % 3000 + 700"},
    {2, "DELETE FROM %n"},
    {2, "DELETE FROM %n WHERE length(c) > %z"},
    /* transactions */
    {22, "BEGIN"},
    {3, "BEGIN IMMEDIATE"},
    {2, "BEGIN EXCLUSIVE"},
    {30, "COMMIT"},
    {9, "ROLLBACK"},
    {10, "SAVEPOINT s%o"},
    {8, "RELEASE s%o"},
    {10, "ROLLBACK TO s%o"},
    /* schema */
    {2, "CREATE TABLE IF NOT EXISTS x%o(id INTEGER PRIMARY KEY, a, b TEXT, c BLOB)"},
    {2, "DROP TABLE IF EXISTS x%o"},
    {3, "INSERT INTO x%o SELECT NULL, a, b, c FROM %n LIMIT %r"},
    {1, "CREATE TABLE IF NOT EXISTS y%o AS SELECT id, a, b, c FROM %n LIMIT %r"},
    {1, "DROP TABLE IF EXISTS y%o"},
    {3, "CREATE INDEX IF NOT EXISTS i%o ON %t(b, a)"},
    {2, "CREATE INDEX IF NOT EXISTS j%o ON %t(a % 13, length(c)) WHERE a > %k"},
    {1, "CREATE UNIQUE INDEX IF NOT EXISTS u%o ON %t(id, b COLLATE NOCASE DESC)"},
    {2, "DROP INDEX IF EXISTS i%o; DROP INDEX IF EXISTS j%o"},
    {2, "CREATE TRIGGER IF NOT EXISTS g%o AFTER UPDATE OF a ON %t WHEN new.id % 5 = 0 BEGIN INSERT INTO journal(what, "
        "old, new) "
        "VALUES('a', old.a, new.a); DELETE FROM journal WHERE n % 50 = 7; END"},
    {1, "CREATE TRIGGER IF NOT EXISTS h%o BEFORE DELETE ON %t WHEN old.id % 97 = 3 BEGIN SELECT RAISE(ABORT, 'kept'); "
        "END"},
    {3, "DROP TRIGGER IF EXISTS g%o; DROP TRIGGER IF EXISTS h%o"},
    {1, "CREATE VIEW IF NOT EXISTS v%o AS SELECT id, a, length(c) AS l FROM %n WHERE a > %k"},
    {1, "DROP VIEW IF EXISTS v%o"},
    {1, "ALTER TABLE %t ADD COLUMN e%o INTEGER DEFAULT %k"},
    {1, "ALTER TABLE %t DROP COLUMN e%o"},
    {1, "ALTER TABLE x%o RENAME TO x%o"},
    {1, "REINDEX"},
    {2, "ANALYZE"},
    {1, "DROP TABLE IF EXISTS sqlite_stat1"},
    /* full text, rectangles */
    {6, "INSERT INTO texts(title, body) WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %k) "
        "SELECT words(i + %s, 2), words(i * 3 + %s, 30) FROM n"},
    {3, "DELETE FROM texts WHERE rowid % 7 = %k % 7"},
    {2, "UPDATE texts SET body = words(%s, 20) WHERE rowid = %k"},
    {1, "INSERT INTO texts(texts) VALUES('optimize')"},
    {1, "INSERT INTO texts(texts, rank) VALUES('merge', %k)"},
    {1, "INSERT INTO texts(texts) VALUES('rebuild')"},
    {5, "INSERT OR %c INTO areas WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %r) "
        "SELECT (i * 13 + %s) % 900, i, i + %k, i % 50, i % 50 + %k FROM n"},
    {2, "DELETE FROM areas WHERE x0 > %k AND y1 < %k * 3"},
    /* the file as a whole */
    {3, "VACUUM"},
    {4, "PRAGMA incremental_vacuum(%k)"},
    {1, "PRAGMA incremental_vacuum"},
    {2, "PRAGMA user_version = %k"},
    {1, "PRAGMA application_id = %s"},
    {2, "PRAGMA cache_size = %k"},
    {6, "PRAGMA cache_size = 10"},
    {1, "PRAGMA cache_spill = 5"},
    {1, "PRAGMA auto_vacuum = %o"},
    {1, "PRAGMA page_count; PRAGMA freelist_count"},
    {1, "PRAGMA shrink_memory"},
    {1, "PRAGMA foreign_keys = ON"},
    {1, "PRAGMA secure_delete = %o"},
    /* rows read */
    {8, "SELECT id, a, b, length(c), substr(c, 1, 8) FROM %n ORDER BY b, id LIMIT %r"},
    {6, "SELECT count(*), sum(length(c)), max(b), total(a) FROM %n WHERE id % %k <> 1"},
    {5, "SELECT a.id, b.id FROM %t a JOIN %n b ON a.b = b.b ORDER BY 1, 2 LIMIT %r"},
    {3, "SELECT rowid, title, rank FROM texts WHERE texts MATCH 'oak OR map*' ORDER BY rank, rowid LIMIT %r"},
    {3, "SELECT * FROM areas WHERE x0 < %k AND x1 > %k ORDER BY id"},
    {2, "SELECT * FROM made WHERE twice > %k ORDER BY label LIMIT 30"},
    {4, "INSERT OR %c INTO made(id, a) SELECT (id * 3 + %k) % 400, a FROM %n LIMIT %r"},
    {2, "SELECT name, type, sql FROM sqlite_schema ORDER BY name"},
    {2, "SELECT c FROM %n WHERE id = %k"},
    {2, "SELECT * FROM v%o ORDER BY id LIMIT 20"},
    {2, "PRAGMA integrity_check"},
    {1, "PRAGMA quick_check"},
    {1, "PRAGMA foreign_key_check"},
};

const char *random_sql_schema(void)
{
    return "CREATE TABLE t0(id INTEGER PRIMARY KEY, a, b TEXT, c BLOB, rowid_or_id AS (id));"
           "CREATE TABLE t1(id INTEGER PRIMARY KEY AUTOINCREMENT, a, b TEXT, c BLOB, rowid_or_id AS (id));"
           "CREATE TABLE t2(a, b TEXT, c BLOB, id INTEGER PRIMARY KEY, rowid_or_id AS (id), CHECK (a IS NOT -5));"
           "CREATE INDEX t1_b ON t1(b, a);"
           "CREATE TABLE w0(id INTEGER, a, b TEXT, c BLOB, rowid_or_id AS (id), PRIMARY KEY(id)) WITHOUT ROWID;"
           "CREATE TABLE w1(id INTEGER, a, b TEXT, c BLOB, rowid_or_id AS (id), PRIMARY KEY(b, id)) WITHOUT ROWID;"
           "CREATE TABLE keys(n INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT, parent INTEGER REFERENCES t0(id) ON DELETE "
           "CASCADE);"
           "CREATE TABLE journal(n INTEGER PRIMARY KEY, what TEXT, old, new);"
           "CREATE TABLE made(id INTEGER PRIMARY KEY, a, twice AS (a * 2) VIRTUAL, label AS (id || ':' || a) STORED);"
           "CREATE INDEX made_label ON made(label); CREATE INDEX made_twice ON made(twice);"
           "CREATE VIRTUAL TABLE texts USING fts5(title, body);"
           "CREATE VIRTUAL TABLE areas USING rtree(id, x0, x1, y0, y1);"
           "CREATE VIEW everything AS SELECT id, a, b FROM t0 UNION ALL SELECT id, a, b FROM w0;";
}

static const struct pattern *draw(struct random_sql *state)
{
    unsigned total = 0;
    for (size_t i = 0; i < COUNT_OF(patterns); i++)
        total += patterns[i].weight;
    uint64_t at = harness_below(&state->random, total);
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        if (at < patterns[i].weight)
            return &patterns[i];
        at -= patterns[i].weight;
    }
    return &patterns[0];
}

static unsigned value_size(struct random_sql *state)
{
    uint64_t kind = harness_below(&state->random, 40);
    if (kind == 0)
        return (unsigned)harness_below(&state->random, (uint64_t)state->page_size * 3 + 2000);
    return (unsigned)harness_below(&state->random, kind < 8 ? 700 : 90);
}

/* Text for the hole; NULL for a percent sign of SQL's own. */
static const char *fill(char buffer[32], char hole, struct random_sql *state)
{
    static const char *const tables[] = {"t0", "t1", "t2"}, *const flat[] = {"w0", "w1"};
    static const char *const conflicts[] = {"ABORT",   "IGNORE",  "IGNORE", "REPLACE",
                                            "REPLACE", "REPLACE", "FAIL",   "ROLLBACK"};
    struct harness_random *random = &state->random;
    switch (hole) {
    case 't':
        return tables[harness_below(random, 3)];
    case 'w':
        return flat[harness_below(random, 2)];
    case 'n':
        return harness_below(random, 3) != 0 ? tables[harness_below(random, 3)] : flat[harness_below(random, 2)];
    case 'c':
        return conflicts[harness_below(random, 8)];
    case 'k':
        snprintf(buffer, 32, "%u", (unsigned)harness_below(random, 60) + 1);
        return buffer;
    case 's':
        snprintf(buffer, 32, "%u", (unsigned)harness_below(random, 1000000));
        return buffer;
    case 'z':
        snprintf(buffer, 32, "%u", value_size(state));
        return buffer;
    case 'o':
        snprintf(buffer, 32, "%u", (unsigned)harness_below(random, 3));
        return buffer;
    case 'r':
        snprintf(buffer, 32, "%u", (unsigned)harness_below(random, harness_below(random, 8) == 0 ? 1200 : 60) + 1);
        return buffer;
    default:
        return NULL;
    }
}

static void expand(char out[RANDOM_SQL_SIZE], const char *sql, struct random_sql *state)
{
    size_t len = 0;
    for (; *sql != '\0' && len < RANDOM_SQL_SIZE - 40; sql++) {
        char buffer[32];
        const char *text = *sql == '%' ? fill(buffer, sql[1], state) : NULL;
        if (text == NULL) {
            out[len++] = *sql;
            continue;
        }
        len += (size_t)snprintf(out + len, RANDOM_SQL_SIZE - len, "%s", text);
        sql++;
    }
    out[len] = '\0';
}

void random_sql_next(char out[RANDOM_SQL_SIZE], struct random_sql *state)
{
    expand(out, draw(state)->sql, state);
}

void random_sql_question(char out[RANDOM_SQL_SIZE], struct random_sql *state)
{
    expand(out,
           "SELECT count(*), sum(id), group_concat(b) FROM (SELECT * FROM everything ORDER BY id, b LIMIT 500);"
           "SELECT count(*), sum(length(c)), sum(a) FROM %n; SELECT count(*) FROM journal;"
           "SELECT type, name, tbl_name, rootpage FROM sqlite_schema ORDER BY name; PRAGMA integrity_check",
           state);
}
