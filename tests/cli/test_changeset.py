"""diff --format changeset, applied by SQLite's own session extension."""
import ctypes
import random
import sqlite3

import support

LIBRARY = ctypes.CDLL("libsqlite3.so.0")
CONFLICT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
ABORT = 2


class Changeset(support.Case):
    def make(self, sql, change):
        db = sqlite3.connect(self.path("t.db"))
        db.executescript(sql)
        db.close()
        self.bough("init", "t.db")
        self.bough("branch", "other")
        self.bough("sql", "other", change)

    def apply(self, path, changes):
        """How often SQLite met a row that it did not expect."""
        conflicts = []
        handle = ctypes.c_void_p()
        self.assertEqual(LIBRARY.sqlite3_open(path.encode(), ctypes.byref(handle)), 0)
        on_conflict = CONFLICT(lambda context, kind, iterator: conflicts.append(kind) or ABORT)
        code = LIBRARY.sqlite3changeset_apply(handle, len(changes), changes, None, on_conflict, None)
        LIBRARY.sqlite3_close(handle)
        self.assertEqual((code, conflicts), (0, []))

    def dump(self, path, tables):
        db = sqlite3.connect(path)
        db.text_factory = bytes
        rows = {}
        for table in tables:
            columns = [r[0].decode() for r in db.execute("SELECT name FROM pragma_table_xinfo(?)", (table,))]
            words = ", ".join(f"typeof({c}), {c}" for c in columns)
            rows[table] = sorted(map(repr, db.execute(f"SELECT {words} FROM {table}")))
        check = db.execute("PRAGMA integrity_check").fetchall()
        db.close()
        return rows, check

    def check(self, tables, a="main", b="other"):
        changes = self.bough("diff", a, b, "--format", "changeset").out
        self.bough("export", a, self.path("a.db"), "--force")
        self.bough("export", b, self.path("b.db"), "--force")
        self.apply(self.path("a.db"), changes)
        self.assertEqual(self.dump(self.path("a.db"), tables), self.dump(self.path("b.db"), tables))
        return changes

    def both_ways(self, tables):
        self.check(tables, "other", "main")
        return self.check(tables)

    def test_kinds_of_rows_and_values(self):
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE k(b, g AS (b || 'x'), a TEXT PRIMARY KEY, c);"
                  "CREATE TABLE w(x, y, z, PRIMARY KEY(z, x)) WITHOUT ROWID; CREATE TABLE n(k TEXT COLLATE NOCASE PRIMARY KEY);"
                  "CREATE TABLE still(id INTEGER PRIMARY KEY, v); INSERT INTO still VALUES (1, 1);"
                  "INSERT INTO t VALUES (1, 'a'), (2, 0.1), (3, x'00ff'), (4, NULL), (-5, 9223372036854775807), (6, 'gone');"
                  "INSERT INTO k VALUES (1, 'one', 2), (1, 'two', 2); INSERT INTO w VALUES (1, 'p', 2), (3, 'q', 4);"
                  "INSERT INTO n VALUES ('Name')",
                  "UPDATE t SET v = zeroblob(70000) WHERE id = 1; UPDATE t SET v = 1e300 WHERE id = 2; "
                  "UPDATE t SET v = NULL WHERE id = 3; UPDATE t SET v = 'é' WHERE id = 4; DELETE FROM t WHERE id = 6; "
                  "UPDATE t SET v = -9223372036854775807 - 1 WHERE id = -5; INSERT INTO t VALUES (300, ''); "
                  "UPDATE k SET c = 5, b = 'b' WHERE a = 'two'; INSERT INTO k(a, c) VALUES ('three', 1.5); "
                  "UPDATE w SET y = 'other' WHERE x = 1; DELETE FROM w WHERE x = 3; INSERT INTO w VALUES (9, 9, 9); "
                  "UPDATE n SET k = 'NAME'")
        changes = self.both_ways(["t", "k", "w", "n"])
        self.assertNotIn(b"still", changes)
        self.assertEqual(self.bough("diff", "main", "main", "--format", "changeset").out, b"")
        one = self.bough("diff", "main", "other", "--format", "changeset", "--table", "w").out
        self.assertEqual(one[:6], b"T\x03\x02\x00\x01w")

    def test_virtual_tables_as_their_shadows(self):
        self.make("CREATE VIRTUAL TABLE f USING fts5(a); CREATE VIRTUAL TABLE r USING rtree(id, x0, x1); "
                  "INSERT INTO f VALUES ('one two'), ('three'); INSERT INTO r VALUES (1, 2, 3), (2, 3, 4)",
                  "UPDATE f SET a = 'four' WHERE rowid = 2; INSERT INTO r VALUES (3, 5, 6); DELETE FROM r WHERE id = 1")
        self.both_ways(["f", "r"])
        self.bough("diff", "main", "other", "--format", "changeset", "--table", "f")
        db = sqlite3.connect(self.path("a.db"))
        self.assertEqual(db.execute("SELECT rowid FROM f WHERE f MATCH 'four'").fetchall(), [(2,)])
        db.close()

    def test_what_it_cannot_hold(self):
        self.make("CREATE TABLE m(a); CREATE TABLE n(k TEXT PRIMARY KEY, v); CREATE TABLE t(id INTEGER PRIMARY KEY); "
                  "INSERT INTO n VALUES (NULL, 1)", "INSERT INTO m VALUES (1); INSERT INTO t VALUES (1)")
        words = ("diff", "main", "other", "--format", "changeset")
        self.assertIn("m: it has no primary key", self.bough(*words, status=4).err.decode())
        self.assertEqual(self.bough(*words, status=4).out, b"")
        self.assertGreater(len(self.bough(*words, "--table", "t").out), 0)
        self.bough("sql", "other", "DELETE FROM m; UPDATE n SET v = 2")
        self.assertIn("n: a row has NULL in its primary key", self.bough(*words, status=4).err.decode())
        self.bough("sql", "other", "UPDATE n SET v = 1; CREATE INDEX i ON n(v)")
        self.assertIn("i: it holds rows and no schema", self.bough(*words, status=4).err.decode())
        self.assertGreater(len(self.bough(*words, "--table", "t").out), 0)
        self.bough("diff", "main", "other", "--format", "xml", status=2)
        self.bough(*words, "--sql", status=2)
        self.bough(*words, "--json", status=4)

    def test_random_changes(self):
        rng = random.Random(5)
        self.make("CREATE TABLE t(a, id INTEGER PRIMARY KEY, b); CREATE TABLE w(a, b, c, PRIMARY KEY(b, a)) WITHOUT ROWID; "
                  + support.counting(3000) + "INSERT INTO t SELECT hex(i), i, i % 7 FROM n;"
                  + support.counting(3000) + "INSERT INTO w SELECT i % 50, i, 'v' || i FROM n", "SELECT 1")
        for _ in range(8):
            i = rng.randrange(1, 3000)
            self.bough("sql", "other", f"UPDATE t SET b = '{i}' WHERE id BETWEEN {i} AND {i + rng.randrange(20)}; "
                       f"DELETE FROM w WHERE b = {rng.randrange(3000)}; UPDATE w SET c = {i} WHERE b = {i}; "
                       f"INSERT OR REPLACE INTO t VALUES ({i}, {rng.randrange(5000)}, NULL)")
            self.both_ways(["t", "w"])


if __name__ == "__main__":
    support.main()
