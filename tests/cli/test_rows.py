"""diff of rows: counts, the rows themselves, scripts that turn one state into another."""
import random
import shutil
import sqlite3

import support


class Rows(support.Case):
    def make(self, sql, change, rows=()):
        """A store with two branches: main of `sql`, other with `change` upon it."""
        db = sqlite3.connect(self.path("t.db"))
        db.executescript(sql)
        db.commit()
        db.close()
        self.bough("init", "t.db")
        self.bough("branch", "other")
        self.apply("other", change)

    def apply(self, branch, change):
        self.bough("sql", branch, change)

    def counts(self, a="main", b="other", *words):
        """What diff says, by table: added, removed, changed."""
        document = self.json("diff", a, b, *words)
        return {t["name"]: (t["rows_added"], t["rows_removed"], t["rows_changed"]) for t in document["tables"]}

    def dump(self, path):
        """Schema and rows with their types; rows as multisets. ALTER TABLE puts quotes around the name it gives."""
        db = sqlite3.connect(path)
        db.text_factory = bytes
        shadows = {r[0] for r in db.execute("SELECT name FROM pragma_table_list WHERE type = 'shadow'")}
        schema = sorted((r[0], r[1], r[2].replace(b'"' + r[1] + b'"', r[1], 1)) for r in db.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL") if r[1] not in shadows)
        tables = {}
        for kind, name, _ in schema:
            if kind == b"table" and not name.startswith(b"sqlite_"):
                quoted = '"' + name.decode().replace('"', '""') + '"'
                columns = ["\"" + r[0].decode().replace('"', '""') + "\"" for r in db.execute(
                    "SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0", (name.decode(),))]
                words = ", ".join(f"typeof({c}), {c}" for c in columns)
                tables[name] = sorted(map(repr, db.execute(f"SELECT {words} FROM {quoted}")))
        result = (schema, tables, db.execute("PRAGMA user_version").fetchall(),
                  db.execute("PRAGMA integrity_check").fetchall())
        db.close()
        return result

    def check_script(self, a="main", b="other"):
        """The script, applied to an export of A, makes B, and the other way round; checked with the stock SQLite."""
        self.check_one_script(b, a)
        return self.check_one_script(a, b)

    def check_one_script(self, a, b):
        script = self.bough("diff", a, b, "--sql").text
        for ref, name in ((a, "a.db"), (b, "b.db")):
            self.bough("export", ref, self.path(name), "--force")
        db = sqlite3.connect(self.path("a.db"), isolation_level=None)
        try:
            db.executescript(script)
        finally:
            db.close()
        self.assertEqual(self.dump(self.path("a.db")), self.dump(self.path("b.db")), script)
        return script

    # ---- keys ----

    def test_counts_and_lines(self):
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, n)",
                  "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)")
        self.bough("branch", "third", "other")
        self.apply("third", "DELETE FROM t WHERE id = 1; UPDATE t SET name = 'B' WHERE id = 2; "
                            "INSERT INTO t VALUES (9, 'nine', NULL)")
        self.assertEqual(self.counts("other", "third"), {"t": (1, 1, 1)})
        self.assertEqual(self.counts("third", "other"), {"t": (1, 1, 1)})
        self.assertIn("t  rows: 1 added, 1 removed, 1 changed\n", self.bough("diff", "other", "third", "--stat").text)
        self.assertEqual(self.bough("diff", "other", "third", "--rows").text,
                         "table    changed  t  rows: 1 added, 1 removed, 1 changed\n"
                         "    - id=1 name='a' n=1\n    ~ id=2 name='b' -> 'B'\n    + id=9 name='nine' n=NULL\n")
        rows = self.json("diff", "other", "third", "--rows")["tables"][0]["rows"]
        self.assertEqual(rows, [
            {"status": "removed", "from": {"id": 1, "name": "a", "n": 1}, "to": None},
            {"status": "changed", "from": {"id": 2, "name": "b", "n": 2}, "to": {"id": 2, "name": "B", "n": 2}},
            {"status": "added", "from": None, "to": {"id": 9, "name": "nine", "n": None}}])
        self.check_script("other", "third")

    def test_types_and_bytes(self):
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY, v); "
                  "INSERT INTO t VALUES (1, 1), (2, '1'), (3, x'31'), (4, NULL), (5, 'a'), (6, 0.1), (7, 2)",
                  "UPDATE t SET v = 1.0 WHERE id = 1; UPDATE t SET v = 1 WHERE id = 2; "
                  "UPDATE t SET v = '1' WHERE id = 3; UPDATE t SET v = NULL WHERE id = 4; "
                  "UPDATE t SET v = 'A' WHERE id = 5; UPDATE t SET v = 0.1 + 1e-17 WHERE id = 6")
        self.assertEqual(self.counts(), {"t": (0, 0, 5)})
        self.check_script()

    def test_vacuum_is_no_difference(self):
        self.make("CREATE TABLE t(a, b); CREATE TABLE k(id TEXT PRIMARY KEY, b); CREATE TABLE gone(x);"
                  + support.counting(3000) + "INSERT INTO gone SELECT randomblob(50) FROM n;"
                  + support.counting(3000) + "INSERT INTO t SELECT i % 7, i FROM n;"
                  + support.counting(3000) + "INSERT INTO k SELECT hex(i), i FROM n; DELETE FROM t WHERE b % 3 = 0; "
                  "DELETE FROM gone", "VACUUM")
        self.assertFalse(self.json("diff", "main", "other")["identical"])
        self.assertEqual(self.counts(), {})
        for word in ("--stat", "--rows", "--sql", "--schema"):
            self.bough("diff", "main", "other", word, "--exit-code")
        self.bough("diff", "main", "other", "--pages", "--exit-code", status=1)
        self.bough("diff", "main", "other", "--exit-code", status=1)
        self.apply("other", "DELETE FROM t WHERE rowid = (SELECT min(rowid) FROM t)")
        self.assertEqual(self.counts(), {"t": (0, 1, 0)})
        for word in ("--stat", "--rows", "--sql"):
            self.bough("diff", "main", "other", word, "--exit-code", status=1)
        self.bough("diff", "main", "other", "--schema", "--exit-code")
        self.check_script()

    def test_keys_that_are_null(self):
        self.make("CREATE TABLE t(k TEXT PRIMARY KEY, v); "
                  "INSERT INTO t VALUES (NULL, 1), (NULL, 1), (NULL, 2), ('a', 1), ('b', 1)",
                  "DELETE FROM t WHERE rowid = 1; INSERT INTO t VALUES (NULL, 3); UPDATE t SET v = 2 WHERE k = 'a'")
        self.assertEqual(self.counts(), {"t": (1, 1, 1)})
        self.check_script()

    def test_multisets(self):
        self.make("CREATE TABLE t(a TEXT COLLATE NOCASE, b); "
                  "INSERT INTO t VALUES ('x', 1), ('X', 1), ('x', 1), ('x', 1.0), (NULL, NULL)",
                  "DELETE FROM t WHERE rowid IN (2, 4); INSERT INTO t VALUES ('x', 1), ('y', x'00ff')")
        self.assertEqual(self.counts(), {"t": (2, 2, 0)})
        self.check_script()

    def test_without_rowid_composite_and_collations(self):
        self.make("CREATE TABLE w(a INTEGER, b TEXT, c, PRIMARY KEY(b DESC, a)) WITHOUT ROWID; "
                  "CREATE TABLE n(k TEXT COLLATE NOCASE PRIMARY KEY, v); "
                  "CREATE TABLE m(k TEXT COLLATE NOCASE, v, PRIMARY KEY(k COLLATE BINARY)); "
                  "CREATE TABLE r(k TEXT COLLATE RTRIM PRIMARY KEY, v) WITHOUT ROWID; "
                  "CREATE TABLE x(k PRIMARY KEY, v) WITHOUT ROWID; "
                  "INSERT INTO w VALUES (1, 'x', 1), (2, 'x', 2), (1, 'y', 3), (1, 'Z', 4); "
                  "INSERT INTO n VALUES ('a', 1), ('B', 2), ('c', 3), ('_', 4); "
                  "INSERT INTO m VALUES ('a', 1), ('A', 2), ('b', 3); "
                  "INSERT INTO r VALUES ('a ', 1), ('b', 2); "
                  "INSERT INTO x VALUES (1, 1), (2.5, 1), ('1', 1), (x'31', 1), (9007199254740993, 1)",
                  "UPDATE w SET c = 9 WHERE a = 1 AND b = 'y'; DELETE FROM w WHERE b = 'Z'; "
                  "UPDATE n SET k = 'b' WHERE k = 'b'; DELETE FROM n WHERE k = '_'; INSERT INTO n VALUES ('d', 1); "
                  "UPDATE m SET v = 9 WHERE k = 'a' COLLATE BINARY; "
                  "UPDATE r SET k = 'b  ' WHERE k = 'b'; "
                  "UPDATE x SET k = 1.0 WHERE k = 1; INSERT INTO x VALUES (9007199254740992.0, 1); "
                  "DELETE FROM x WHERE k = '1'")
        self.assertEqual(self.counts(), {"w": (0, 1, 1), "n": (1, 1, 1), "m": (0, 0, 1), "r": (0, 0, 1),
                                         "x": (1, 1, 1)})
        self.check_script()

    def test_columns_called_rowid_and_generated_columns(self):
        self.make("CREATE TABLE t(rowid TEXT, v); CREATE TABLE u(rowid, oid, _rowid_); "
                  "CREATE TABLE g(id INTEGER PRIMARY KEY, a, b AS (a * 2), c AS (a + 1) STORED); "
                  "INSERT INTO t VALUES ('a', 1), ('a', 1), ('b', 2); INSERT INTO u VALUES (1, 1, 1), (1, 1, 1); "
                  "INSERT INTO g(a) VALUES (1), (2), (3)",
                  "DELETE FROM t WHERE oid = 1; DELETE FROM u; INSERT INTO u VALUES (1, 1, 1), (2, 2, 2); "
                  "UPDATE g SET a = 7 WHERE id = 2")
        self.assertEqual(self.counts(), {"t": (0, 1, 0), "u": (1, 1, 0), "g": (0, 0, 1)})
        self.assertNotIn("b=", self.bough("diff", "main", "other", "--rows", "--table", "g").text)
        self.check_script()

    def test_unique_values_that_change_places(self):
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
                  "UPDATE t SET u = 'z' WHERE id = 1; UPDATE t SET u = 'a' WHERE id = 2; UPDATE t SET u = 'b' WHERE id = 1")
        self.assertEqual(self.counts(), {"t": (0, 0, 2)})
        self.check_script()

    def test_utf16(self):
        self.make("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t(k TEXT PRIMARY KEY, v); CREATE TABLE m(v); "
                  "INSERT INTO t VALUES ('a', 1), ('\u0100', 2), ('b', 3), ('\ufffd', 4), ('\U0001f600', 5); "
                  "INSERT INTO m SELECT k FROM t",
                  "DELETE FROM t WHERE v = 2; UPDATE t SET v = 9 WHERE v = 5; DELETE FROM m WHERE v = 'b'")
        self.assertEqual(self.counts(), {"t": (0, 1, 1), "m": (0, 1, 0)})
        self.check_script()

    # ---- schema ----

    def test_other_schema(self):
        self.make("CREATE TABLE old(id INTEGER PRIMARY KEY, v); CREATE TABLE c(id INTEGER PRIMARY KEY, a, b); "
                  "CREATE TABLE gone(x); CREATE TABLE e(x); INSERT INTO old VALUES (1, 1), (2, 2); "
                  "INSERT INTO c VALUES (1, 1, 1), (2, 2, 2); INSERT INTO gone VALUES (1), (2), (3); "
                  "CREATE INDEX ci ON c(a); CREATE VIEW vw AS SELECT a FROM c; CREATE VIEW plain AS SELECT * FROM e; "
                  "CREATE TRIGGER ct AFTER INSERT ON c BEGIN INSERT INTO e VALUES (new.id); END; "
                  "CREATE TRIGGER ot AFTER UPDATE ON old BEGIN INSERT INTO e VALUES (new.id); END; "
                  "CREATE TRIGGER pt INSTEAD OF INSERT ON plain BEGIN INSERT INTO e VALUES (new.x); END; "
                  "CREATE TRIGGER et AFTER INSERT ON e BEGIN UPDATE old SET v = v + 1; END",
                  "DROP TRIGGER et; ALTER TABLE old RENAME TO fresh; UPDATE fresh SET v = 5 WHERE id = 2; "
                  "ALTER TABLE c RENAME COLUMN b TO bb; UPDATE c SET a = 3 WHERE id = 1; "
                  "ALTER TABLE c ADD COLUMN added NOT NULL DEFAULT 'd'; UPDATE c SET added = 'x' WHERE id = 2; "
                  "DROP TABLE gone; CREATE TABLE made(id INTEGER PRIMARY KEY, x); INSERT INTO made VALUES (1, 'm'); "
                  "CREATE INDEX mi ON made(x); DROP VIEW plain; CREATE VIEW plain AS SELECT x, 1 FROM e; "
                  "CREATE TRIGGER et AFTER INSERT ON e BEGIN UPDATE fresh SET v = v + 1; END; PRAGMA user_version = 7")
        self.assertEqual(self.counts(), {"fresh": (0, 0, 1), "c": (0, 0, 1), "gone": (0, 3, 0), "made": (1, 0, 0),
                                         "e": (1, 0, 0)})
        script = self.check_script()
        self.assertIn('ALTER TABLE "old" RENAME TO "fresh"', script)
        self.assertIn("PRAGMA user_version = 7", script)

    def test_a_name_in_another_case(self):
        self.make("CREATE TABLE Foo(a); INSERT INTO Foo VALUES (1)",
                  "ALTER TABLE Foo RENAME TO x; ALTER TABLE x RENAME TO foo; INSERT INTO foo VALUES (2)")
        self.check_script()

    def test_rows_of_another_schema(self):
        self.make("CREATE TABLE t(a); INSERT INTO t VALUES (1)", "ALTER TABLE t ADD COLUMN b; CREATE INDEX i ON t(a)")
        self.assertEqual(self.counts(), {"t": (0, 0, 0)})
        for word in ("--stat", "--rows", "--schema", "--sql"):
            self.bough("diff", "main", "other", word, "--exit-code", status=1)
        self.check_script()

    def test_the_exit_code_says_what_is_printed(self):
        """1 where something is printed: whatever the form, for all of the databases or the one table."""
        self.make("CREATE TABLE t(a); CREATE TABLE u(a)", "CREATE INDEX i ON t(a)")
        for word, differs in (("--stat", 1), ("--rows", 1), ("--schema", 1), ("--sql", 1), ("--pages", 1)):
            for table, status in ((), differs), (("--table", "t"), differs), (("--table", "u"), int(word == "--pages")):
                with self.subTest(word=word, table=table):
                    said = self.bough("diff", "main", "other", word, *table, "--exit-code", status=status).text
                    self.assertEqual("i" in said.replace("main", "").replace("pragma", "").split() or "INDEX" in said
                                     or word == "--pages", status == 1, said)
        self.apply("other", "DROP INDEX i; CREATE VIEW v AS SELECT 1; PRAGMA user_version = 3")
        self.assertIn("view", self.bough("diff", "main", "other", "--rows", "--exit-code", status=1).text)
        self.apply("other", "DROP VIEW v")
        self.assertIn("user_version", self.bough("diff", "main", "other", "--sql", "--exit-code", status=1).text)

    def test_every_form_has_a_document(self):
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY, b); INSERT INTO t VALUES (1, 'ä'), (2, x'e4')",
                  "UPDATE t SET b = '\u20ac' || x'0a' || '\"\\' WHERE id = 1; INSERT INTO t VALUES (3, zeroblob(9000))")
        plain = self.json("diff", "main", "other")
        keys = list(plain)
        for words in (["--stat"], ["--schema"]):
            self.assertEqual(self.json("diff", "main", "other", *words), plain)
        document = self.json("diff", "main", "other", "--rows")
        self.assertEqual((list(document), len(document["tables"][0].pop("rows"))), (keys, 2))
        self.assertEqual(document, plain)
        document = self.json("diff", "main", "other", "--sql")
        self.assertEqual(list(document), keys + ["sql"])
        self.assertEqual(document.pop("sql").encode(), self.bough("diff", "main", "other", "--sql").out)
        self.assertEqual(document, plain)
        document = self.json("diff", "main", "other", "--format", "changeset")
        self.assertEqual(list(document), keys + ["changeset"])
        self.assertEqual(bytes.fromhex(document.pop("changeset")["hex"]),
                         self.bough("diff", "main", "other", "--format", "changeset").out)
        self.assertEqual(document, plain)
        document = self.json("diff", "main", "other", "--pages")
        ranges = document["pages"].pop("ranges")
        self.assertEqual(document, plain)
        for status in ("changed", "added", "removed"):
            self.assertEqual(sum(r["last"] - r["first"] + 1 for r in ranges if r["status"] == status),
                             plain["pages"][status])
        self.apply("other", "ALTER TABLE t ADD COLUMN c")
        self.assertEqual(self.fails(4, "diff", "main", "other", "--format", "changeset").count("\n"), 0)

    def test_a_long_script_in_a_document(self):
        """Characters that stand across the stream's buffers, and bytes that are none."""
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY, b)", support.counting(900) + "INSERT INTO t SELECT i, "
                  "substr('\u20ac\u00e4x\U0001f600', 1 + i % 4) || printf('%.*c', i, '\u20ac') FROM n; "
                  "INSERT INTO t VALUES (5000, CAST(x'61e2828062f09f' AS TEXT))")
        script = self.bough("diff", "main", "other", "--sql").out
        self.assertGreater(len(script), 1 << 20)
        self.assertEqual(self.json("diff", "main", "other", "--sql")["sql"], script.decode(errors="replace"))

    def test_script_of_one_table(self):
        self.make("CREATE TABLE a(x); CREATE TABLE b(x)", "INSERT INTO a VALUES (1); INSERT INTO b VALUES (2)")
        script = self.bough("diff", "main", "other", "--sql", "--table", "a").text
        self.assertIn('INSERT INTO "a"', script)
        self.assertNotIn('"b"', script)
        self.assertEqual(self.counts("main", "other", "--table", "b"), {"b": (1, 0, 0)})

    def test_children_and_triggers_are_left_alone(self):
        self.make("CREATE TABLE p(id INTEGER PRIMARY KEY, v); "
                  "CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(id) ON DELETE CASCADE); CREATE TABLE l(x); "
                  "CREATE TRIGGER pl AFTER UPDATE ON p BEGIN INSERT INTO l VALUES (new.id); END; "
                  "INSERT INTO p VALUES (1, 1), (2, 2); INSERT INTO c VALUES (1, 1), (2, 2)",
                  "DROP TRIGGER pl; UPDATE p SET v = 5 WHERE id = 1; ALTER TABLE p ADD COLUMN more; "
                  "CREATE TRIGGER pl AFTER UPDATE ON p BEGIN INSERT INTO l VALUES (new.id); END")
        self.assertEqual(self.counts(), {"p": (0, 0, 1)})
        self.check_script()
        self.bough("branch", "back", "main")
        self.apply("back", "PRAGMA foreign_keys = ON;" + self.bough("diff", "main", "other", "--sql").text)
        self.assertEqual(self.counts("other", "back"), {})

    def test_odd_names_and_comments(self):
        self.make('CREATE TABLE "a ""b"("x y" TEXT PRIMARY KEY, "select", "it\'s"); CREATE TABLE t(a); '
                  'INSERT INTO "a ""b" VALUES (\'k\', 1, 2), (\'l\', 1, 2)',
                  'UPDATE "a ""b" SET "it\'s" = 3 WHERE "x y" = \'k\'; DELETE FROM "a ""b" WHERE "x y" = \'l\'; '
                  'INSERT INTO "a ""b" VALUES (\'m\', \';\', \'--\'); '
                  'CREATE VIEW v AS SELECT 1 -- the end\n; CREATE INDEX i ON t(a) -- too\n; '
                  'CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; /* ; */ END -- and\n; '
                  'CREATE TABLE c(a, -- one\n b) -- two\n;')
        self.assertEqual(self.counts(), {'a "b': (1, 1, 1), "c": (0, 0, 0)})
        self.check_script()

    def test_renamed_with_children_and_self_references(self):
        self.make("CREATE TABLE p(id INTEGER PRIMARY KEY, up REFERENCES p(id)); "
                  "CREATE TABLE c(p REFERENCES p(id)); CREATE TABLE q(id INTEGER PRIMARY KEY AUTOINCREMENT, v); "
                  "CREATE TRIGGER qt AFTER INSERT ON q BEGIN INSERT INTO c VALUES (NULL); END; "
                  "CREATE VIEW qv AS SELECT * FROM q; INSERT INTO p VALUES (1, NULL), (2, 1); "
                  "INSERT INTO c VALUES (1), (2); INSERT INTO q(v) VALUES (1), (2)",
                  "ALTER TABLE p RENAME TO pp; ALTER TABLE q RENAME TO qq; UPDATE qq SET v = 3 WHERE id = 1")
        self.check_script()

    # ---- renamed columns ----

    def test_a_renamed_column_changes_no_row(self):
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, n INT); CREATE INDEX tn ON t(name);"
                  "CREATE TABLE u(a TEXT, b); CREATE VIEW v AS SELECT name FROM t;"
                  "CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET name = 'x' WHERE id = 9; END;"
                  "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3); INSERT INTO u VALUES ('a', 1), ('a', 1)",
                  "ALTER TABLE t RENAME COLUMN name TO full_name; ALTER TABLE u RENAME COLUMN b TO bb")
        self.assertEqual(self.counts(), {"t": (0, 0, 0), "u": (0, 0, 0)})
        self.assertEqual({t["status"] for t in self.json("diff", "main", "other")["tables"]}, {"changed"})
        script = self.check_script()
        self.assertIn('ALTER TABLE "t" RENAME COLUMN "name" TO full_name;\n', script)
        for word in ("CREATE TABLE", "INSERT INTO", "UPDATE \"", "DROP TABLE", "DROP INDEX", "DROP VIEW"):
            self.assertNotIn(word, script)
        self.apply("other", "UPDATE t SET full_name = 'B', n = 7 WHERE id = 2; DELETE FROM t WHERE id = 3; "
                            "UPDATE u SET bb = 2 WHERE rowid = 1")
        self.assertEqual(self.counts(), {"t": (0, 1, 1), "u": (1, 1, 0)})
        self.assertIn("    ~ id=2 full_name='b' -> 'B' n=2 -> 7\n    - id=3", self.bough("diff", "main", "other", "--rows").text)
        row = self.json("diff", "main", "other", "--rows")["tables"][0]["rows"][0]
        self.assertEqual(row, {"status": "changed", "from": {"id": 2, "name": "b", "n": 2},
                               "to": {"id": 2, "full_name": "B", "n": 7}})
        self.assertIn("column   renamed  name to full_name in t\n", self.bough("diff", "main", "other").text)
        self.assertIn("    - a='a' bb=1\n", self.bough("diff", "main", "other", "--rows").text)
        script = self.check_script()
        self.assertIn('UPDATE "t" SET "full_name" = \'B\', "n" = 7 WHERE "id" = 2;', script)

    def test_renamed_keys_and_children(self):
        self.make("CREATE TABLE p(id INTEGER PRIMARY KEY, v); CREATE TABLE c(x INTEGER REFERENCES p(id), y, "
                  "CHECK (x > 0)); CREATE TABLE k(a TEXT COLLATE NOCASE, b, c, PRIMARY KEY(a, b)) WITHOUT ROWID; "
                  "CREATE TABLE g(id INTEGER PRIMARY KEY, a, d AS (a * 2)); CREATE INDEX gd ON g(d, a + 1); "
                  "INSERT INTO p VALUES (1, 1), (2, 2); INSERT INTO c VALUES (1, 1), (2, 2); "
                  "INSERT INTO k VALUES ('a', 1, 1), ('b', 1, 1); INSERT INTO g(a) VALUES (1), (2)",
                  "ALTER TABLE p RENAME COLUMN id TO key; ALTER TABLE c RENAME COLUMN x TO parent; "
                  "ALTER TABLE k RENAME COLUMN a TO \"the name\"; UPDATE k SET c = 2 WHERE \"the name\" = 'b'; "
                  "ALTER TABLE g RENAME COLUMN d TO twice; ALTER TABLE g RENAME COLUMN a TO one; DELETE FROM c WHERE parent = 2")
        self.assertEqual(self.counts(), {"p": (0, 0, 0), "c": (0, 1, 0), "k": (0, 0, 1), "g": (0, 0, 0)})
        script = self.check_script()
        self.assertIn('ALTER TABLE "k" RENAME COLUMN "a" TO "the name";', script)
        self.assertNotIn("CREATE", script)
        self.bough("diff", "main", "other", "--rows", "--exit-code", status=1)

    def test_what_no_renamed_column_explains(self):
        """Another type, a view that kept the old name: then the table is written as a whole."""
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b INT); CREATE TABLE u(id INTEGER PRIMARY KEY, a); "
                  "CREATE TABLE w(id INTEGER PRIMARY KEY, a TEXT); CREATE VIEW uv AS SELECT a FROM u; "
                  "CREATE TABLE d(id INTEGER PRIMARY KEY, keep, a TEXT); INSERT INTO d VALUES (1, 1, 'x'), (2, 2, 'y'); "
                  "INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2); INSERT INTO u VALUES (1, 1); INSERT INTO w VALUES (1, 1)",
                  "ALTER TABLE t RENAME COLUMN a TO aa; ALTER TABLE t ADD COLUMN more DEFAULT 5; "
                  "UPDATE t SET more = 6, b = 9 WHERE id = 2; "
                  "CREATE TABLE n(id INTEGER PRIMARY KEY, a2); INSERT INTO n SELECT * FROM u; DROP VIEW uv; DROP TABLE u; "
                  "ALTER TABLE n RENAME TO u; "
                  "CREATE TABLE m(id INTEGER PRIMARY KEY, a2 REAL); INSERT INTO m SELECT * FROM w; DROP TABLE w; "
                  "ALTER TABLE m RENAME TO w; "
                  "ALTER TABLE d DROP COLUMN a; ALTER TABLE d ADD COLUMN z TEXT; CREATE VIEW uv AS SELECT a FROM u")
        self.assertEqual(self.counts(), {"t": (0, 0, 1), "u": (0, 0, 0), "w": (0, 0, 0), "d": (0, 0, 0)})
        script = self.check_script()
        self.assertEqual(script.count("RENAME COLUMN"), 1)
        self.assertIn('ALTER TABLE "t" RENAME COLUMN "a" TO aa;\nALTER TABLE "t" ADD COLUMN more DEFAULT 5;\n', script)
        rows = self.bough("diff", "main", "other", "--rows").text
        self.assertIn("    ~ id=2 b=2 -> 9\n", rows)

    def sequences(self, name):
        db = sqlite3.connect(self.path(name))
        found = db.execute("SELECT name, seq FROM sqlite_sequence ORDER BY 1").fetchall()
        db.close()
        return found

    def test_counters_of_autoincrement(self):
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v); INSERT INTO t(v) VALUES (1), (2); "
                  "CREATE TABLE u(id INTEGER PRIMARY KEY AUTOINCREMENT, v); INSERT INTO u(v) VALUES (1), (2); "
                  "CREATE TABLE e(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO e DEFAULT VALUES; "
                  "CREATE TABLE r(id INTEGER PRIMARY KEY AUTOINCREMENT, v); INSERT INTO r(v) VALUES (1)",
                  "INSERT INTO t VALUES (50, 5); DELETE FROM t WHERE id = 50; "
                  "CREATE TABLE u2(id INTEGER PRIMARY KEY AUTOINCREMENT, v CHECK (v > 0)); INSERT INTO u2 SELECT * FROM u; "
                  "UPDATE sqlite_sequence SET seq = 70 WHERE name = 'u2'; DROP TABLE u; ALTER TABLE u2 RENAME TO u; "
                  "DELETE FROM e; DELETE FROM sqlite_sequence WHERE name = 'e'; "
                  "CREATE TABLE \"n'1\"(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO \"n'1\" VALUES (5); "
                  "DELETE FROM \"n'1\"; ALTER TABLE r RENAME TO rr; UPDATE sqlite_sequence SET seq = 9 WHERE name = 'rr'")
        for a, b in (("main", "other"), ("other", "main")):
            script = self.check_one_script(a, b)
            self.assertEqual(self.sequences("a.db"), self.sequences("b.db"), script)
        self.assertNotIn("sqlite_sequence", self.bough("diff", "main", "main", "--sql").text)

    # ---- added columns ----

    def many(self, *columns):
        return ("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
                f"INSERT INTO t SELECT {', '.join(columns)} FROM n")

    def test_added_columns_and_the_rows_that_differ(self):
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, n INT, UNIQUE(n), CHECK (n <> -1)); "
                  "CREATE INDEX tn ON t(name); CREATE TABLE m(a, b COLLATE NOCASE); "
                  "CREATE TABLE w(a, b, PRIMARY KEY(a DESC)) WITHOUT ROWID; CREATE VIEW v AS SELECT name FROM t; "
                  + self.many("i", "'name ' || i", "i") + "; INSERT INTO m SELECT n % 50, name FROM t; "
                  "INSERT INTO w SELECT n, name FROM t",
                  "ALTER TABLE t RENAME COLUMN name TO full_name; "
                  "ALTER TABLE t ADD COLUMN \"a, b\" TEXT NOT NULL DEFAULT 'it''s (5, 6)' CHECK (\"a, b\" <> ''); "
                  "ALTER TABLE t ADD COLUMN r REAL DEFAULT 5; ALTER TABLE t ADD COLUMN x REFERENCES t(id); "
                  "ALTER TABLE t ADD COLUMN g AS (n + r); ALTER TABLE m ADD COLUMN k TEXT DEFAULT 7; "
                  "ALTER TABLE w ADD COLUMN c /* , */ DEFAULT (2); "
                  "UPDATE t SET r = 5.5, full_name = 'x' WHERE id = 100; UPDATE t SET x = 1 WHERE id = 2000; "
                  "DELETE FROM t WHERE id = 7; INSERT INTO t(id, n) VALUES (7000, 7000); "
                  "UPDATE m SET k = '8' WHERE rowid = 3; UPDATE w SET c = 3 WHERE a IN (1, 2)")
        self.assertEqual(self.counts(), {"t": (1, 1, 1), "m": (0, 0, 0), "w": (0, 0, 0)})
        script = self.check_script()
        self.assertIn('ALTER TABLE "t" ADD COLUMN r REAL DEFAULT 5;\n', script)
        self.assertNotIn("CREATE TABLE", script)
        self.assertLess(script.count("\n"), 40)
        self.assertEqual(script.count('UPDATE "w"'), 2)
        self.assertIn("""INSERT INTO "m"("a", "b", "k") VALUES (3, 'name 3', '8');\n""", script)

    def test_added_columns_that_alter_table_cannot_add(self):
        for change in ("c NOT NULL", "c DEFAULT CURRENT_TIMESTAMP", "c DEFAULT (random())", "c CHECK (c > n)",
                       "c AS (n) STORED", "c AS (nullif(n, 2)) NOT NULL", "c UNIQUE", "c CHECK (c > 1) DEFAULT 1"):
            with self.subTest(change):
                self.bough("init", "--empty", self.path("s.bough"))
                self.bough("branch", "other")
                self.bough("sql", "main", "CREATE TABLE t(id INTEGER PRIMARY KEY, n); INSERT INTO t VALUES (1, 1), (2, 2)")
                stored = "AS" in change
                self.bough("sql", "other", f"CREATE TABLE t(id INTEGER PRIMARY KEY, n, {change}); "
                           + ("INSERT INTO t VALUES (1, 1)" if stored else "INSERT INTO t VALUES (1, 1, 2), (2, 2, 3)"))
                self.check_script()
                shutil.rmtree(self.path("s.bough"))

    # ---- tables and columns renamed at once ----

    def test_a_table_and_its_columns_renamed(self):
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, n INT); CREATE INDEX tn ON t(name); "
                  "CREATE VIEW v AS SELECT name FROM t; CREATE TABLE s(id INTEGER PRIMARY KEY, name TEXT, n INT); "
                  "CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET name = 'x' WHERE id = 9; END; "
                  "INSERT INTO s VALUES (1, 'other', 0); CREATE TABLE w(a TEXT COLLATE NOCASE PRIMARY KEY, b) WITHOUT ROWID; "
                  + self.many("i", "'name ' || i", "i") + "; INSERT INTO w SELECT name, n FROM t",
                  "ALTER TABLE t RENAME TO people; ALTER TABLE people RENAME COLUMN name TO full_name; "
                  "ALTER TABLE w RENAME COLUMN a TO key; ALTER TABLE w RENAME TO words; "
                  "UPDATE people SET full_name = 'x' WHERE id = 3; DELETE FROM people WHERE id = 4; "
                  "UPDATE words SET b = 0 WHERE key = 'NAME 77'; ALTER TABLE people ADD COLUMN more DEFAULT 1; "
                  "UPDATE people SET more = 2 WHERE id = 1000")
        self.assertEqual(self.counts(), {"people": (0, 1, 1), "words": (0, 0, 1)})
        tables = self.json("diff", "main", "other")["tables"]
        self.assertEqual([t["status"] for t in tables], ["renamed", "renamed"])
        text = self.bough("diff", "main", "other").text
        self.assertIn("table    renamed  t to people  rows: 1 removed, 1 changed\n"
                      "column   renamed  name to full_name in people\n", text)
        script = self.check_script()
        self.assertIn('ALTER TABLE "t" RENAME COLUMN "name" TO full_name;\n', script)
        self.assertIn('ALTER TABLE "t" ADD COLUMN more DEFAULT 1;\n', script)
        self.assertIn('ALTER TABLE "t" RENAME TO "people";\n', script)
        self.assertIn('ALTER TABLE "w" RENAME TO "words";\n', script)
        self.assertNotIn("CREATE TABLE", script)
        self.assertLess(script.count("\n"), 30)

    def test_what_names_a_renamed_table(self):
        """Children, views and triggers follow, as ALTER TABLE makes them; unless they were made to stay."""
        self.make("CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT, up REFERENCES p(id)); "
                  "CREATE TABLE t(id INTEGER PRIMARY KEY, p REFERENCES p(id), v); CREATE INDEX pn ON p(name); "
                  "CREATE VIEW pv AS SELECT name FROM p; CREATE TABLE log(v); "
                  "CREATE TRIGGER pt AFTER INSERT ON p BEGIN INSERT INTO log VALUES (new.name); END; "
                  "CREATE TRIGGER tt AFTER UPDATE ON t BEGIN INSERT INTO p(name) VALUES ('by trigger'); END; "
                  "INSERT INTO p VALUES (1, 'a', NULL), (2, 'b', 1); " + self.many("i", "i % 2 + 1", "i"),
                  "ALTER TABLE p RENAME TO people; ALTER TABLE people RENAME COLUMN name TO full_name; "
                  "INSERT INTO people(full_name) VALUES ('c'); DELETE FROM t WHERE id = 3; UPDATE t SET v = 0 WHERE id = 9")
        script = self.check_script()
        self.assertNotIn("CREATE TABLE", script)
        self.assertNotIn("VIEW", script)
        self.assertLess(script.count("\n"), 30)
        self.apply("other", "PRAGMA legacy_alter_table = ON; DROP VIEW pv; CREATE VIEW pv AS SELECT name FROM p")
        self.check_script()

    def test_one_table_under_either_name(self):
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b'); "
                  "CREATE INDEX ti ON t(name); CREATE INDEX gone ON t(id, name); CREATE TABLE c(x)",
                  "ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME COLUMN name TO label; DROP INDEX gone; "
                  "INSERT INTO c VALUES (1)")
        for name in ("t", "u"):
            with self.subTest(name):
                lines = self.bough("diff", "main", "other", "--table", name).text.splitlines()[1:]
                self.assertEqual([line.split("  rows")[0] for line in lines],
                                 ["table    renamed  t to u", "column   renamed  name to label in u",
                                  "index    removed  gone", "index    changed  ti"])
                document = self.json("diff", "main", "other", "--table", name)
                self.assertEqual([o["name"] for o in document["schema"]], ["u", "gone", "ti"])
                self.bough("export", "main", self.path("a.db"), "--force")
                db = sqlite3.connect(self.path("a.db"), isolation_level=None)
                db.executescript(self.bough("diff", "main", "other", "--sql", "--table", name).text)
                self.assertEqual(db.execute("SELECT name FROM sqlite_schema ORDER BY 1").fetchall(),
                                 [("c",), ("ti",), ("u",)])
                self.assertEqual(db.execute("SELECT * FROM u").fetchall(), [(1, "a"), (2, "b")])
                db.close()

    def test_tables_that_only_look_renamed(self):
        """Columns of the same kinds, other rows; two that it could be; no rows, and other names."""
        self.make("CREATE TABLE a(id INTEGER PRIMARY KEY, one TEXT); INSERT INTO a VALUES (1, 'x'), (2, 'y'); "
                  "CREATE TABLE c(id INTEGER PRIMARY KEY, one TEXT, x); INSERT INTO c VALUES (1, 'x', 1), (2, 'y', 2); "
                  "CREATE TABLE e(p, q)",
                  "DROP TABLE a; CREATE TABLE b(id INTEGER PRIMARY KEY, two TEXT); INSERT INTO b VALUES (1, 'p'), (2, 'q'); "
                  "CREATE TABLE d1(id INTEGER PRIMARY KEY, two TEXT, x); INSERT INTO d1 SELECT * FROM c; "
                  "CREATE TABLE d2(id INTEGER PRIMARY KEY, six TEXT, x); INSERT INTO d2 SELECT * FROM c; DROP TABLE c; "
                  "DROP TABLE e; CREATE TABLE f(r, s)")
        statuses = {t["name"]: t["status"] for t in self.json("diff", "main", "other")["tables"]}
        self.assertEqual(statuses, {"a": "removed", "b": "added", "c": "removed", "d1": "added", "d2": "added",
                                    "e": "removed", "f": "added"})
        self.check_script()

    def test_a_rebuilt_table_of_another_name(self):
        """Recognised, and as it was written by hand nothing that ALTER TABLE could make."""
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'); "
                  "CREATE TABLE p(id INTEGER PRIMARY KEY, up REFERENCES p(id)); INSERT INTO p VALUES (1, NULL), (2, 1)",
                  "CREATE TABLE u(id INTEGER\n PRIMARY KEY, label TEXT, CHECK (label > '')); "
                  "INSERT INTO u SELECT id, name FROM t; DROP TABLE t; UPDATE u SET label = 'z' WHERE id = 2; "
                  "ALTER TABLE p RENAME TO pp; ALTER TABLE pp RENAME COLUMN up TO parent")
        self.assertEqual(self.counts(), {"pp": (0, 0, 0), "u": (0, 0, 1)})
        self.check_script()

    def test_renamed_columns_of_one_table_only(self):
        self.make("CREATE TABLE p(id INTEGER PRIMARY KEY, v); CREATE TABLE c(x REFERENCES p(id)); "
                  "INSERT INTO p VALUES (1, 1)", "ALTER TABLE p RENAME COLUMN id TO key; INSERT INTO p VALUES (2, 2)")
        self.assertEqual(self.counts("main", "other", "--table", "p"), {"p": (1, 0, 0)})
        self.assertNotIn("RENAME COLUMN", self.bough("diff", "main", "other", "--sql", "--table", "p").text)
        self.assertIn("RENAME COLUMN", self.check_script())

    def test_renamed_columns_by_chance(self):
        names = ["a", "b", "c", "d", "e", "\"two words\"", "\"select\"", "Name", "name2", "rowid"]
        for seed in range(16):
            rng = random.Random(seed)
            columns = rng.sample(names, 5)
            with self.subTest(seed=seed):
                store = ["-s", self.path(f"r{seed}.bough")]
                self.bough("init", "--empty", store[1])
                self.bough(*store, "sql", "main", f"CREATE TABLE t(id INTEGER PRIMARY KEY, {', '.join(columns)}); "
                           f"CREATE TABLE u(x REFERENCES t({columns[0]}), y, CHECK (y IS NOT 7)); "
                           f"CREATE INDEX ti ON t({columns[1]}, {columns[2]}); CREATE UNIQUE INDEX tu ON t({columns[0]}); "
                           f"CREATE VIEW v AS SELECT {columns[3]} FROM t WHERE {columns[4]} > 1; "
                           + "".join(f"INSERT INTO t VALUES ({i}, {i}, {rng.randrange(9)}, 'x', NULL, {i % 3});" for i in range(20)))
                self.bough(*store, "branch", "other")
                for _ in range(rng.randrange(1, 4)):
                    at = rng.randrange(5)
                    fresh = rng.choice([n for n in names if n.strip('"').lower() not in
                                        [c.strip('"').lower() for c in columns]])
                    self.bough(*store, "sql", "other", f"ALTER TABLE t RENAME COLUMN {columns[at]} TO {fresh}; "
                               f"UPDATE t SET {fresh} = id * 100 WHERE id = {rng.randrange(20)}")
                    columns[at] = fresh
                self.bough(*store, "sql", "other", rng.choice([
                    "DELETE FROM t WHERE id = 3", "ALTER TABLE u RENAME COLUMN y TO yy", "ALTER TABLE t ADD COLUMN late",
                    "ALTER TABLE t ADD COLUMN late DEFAULT 3; UPDATE t SET late = 4 WHERE id = 9",
                    "ALTER TABLE u RENAME COLUMN y TO yy; ALTER TABLE u RENAME TO uu",
                    "ALTER TABLE t RENAME TO tt", "DROP INDEX ti", "SELECT 1"]))
                for a, b in (("main", "other"), ("other", "main")):
                    for ref, name in ((a, "a"), (b, "b")):
                        self.bough(*store, "export", ref, self.path(f"{name}{seed}.db"), "--force")
                    script = self.bough(*store, "diff", a, b, "--sql").text
                    db = sqlite3.connect(self.path(f"a{seed}.db"), isolation_level=None)
                    db.executescript(script)
                    db.close()
                    self.assertEqual(self.dump(self.path(f"a{seed}.db")), self.dump(self.path(f"b{seed}.db")), script)

    # ---- virtual tables ----

    def test_full_text_and_r_tree(self):
        self.make("CREATE VIRTUAL TABLE f USING fts5(title, body); CREATE VIRTUAL TABLE r USING rtree(id, x0, x1); "
                  "CREATE VIRTUAL TABLE same USING fts5(a); "
                  "CREATE TABLE docs(id INTEGER PRIMARY KEY, body); "
                  "CREATE VIRTUAL TABLE ext USING fts5(body, content='docs', content_rowid='id'); "
                  "CREATE TRIGGER di AFTER INSERT ON docs BEGIN INSERT INTO ext(rowid, body) "
                  "VALUES (new.id, new.body); END; "
                  "INSERT INTO f VALUES ('a', 'one two'), ('b', 'three'), ('c', 'four'); "
                  "INSERT INTO same VALUES ('x'), ('y'); INSERT INTO docs VALUES (1, 'lazy dog'); "
                  "INSERT INTO r VALUES (1, 0, 1), (2, 5.5, 6.25), (3, 7, 8)",
                  "UPDATE f SET body = 'five' WHERE title = 'b'; DELETE FROM f WHERE title = 'c'; "
                  "INSERT INTO f(rowid, title, body) VALUES (9, 'd', 'six'); DELETE FROM r WHERE id = 1; UPDATE r SET x1 = 9 WHERE id = 2; "
                  "INSERT INTO same(same) VALUES ('optimize'); INSERT INTO docs VALUES (2, 'quick fox'); "
                  "CREATE VIRTUAL TABLE added USING fts5(z); INSERT INTO added VALUES ('zzz')")
        document = self.json("diff", "main", "other")
        self.assertEqual([(c["type"], c["name"]) for c in document["schema"]], [("table", "added")])
        self.assertEqual(self.counts(), {"f": (1, 1, 1), "r": (0, 1, 1), "docs": (1, 0, 0), "ext": (1, 0, 0),
                                         "added": (1, 0, 0)})
        self.check_script()
        db = sqlite3.connect(self.path("a.db"))
        self.assertEqual(db.execute("SELECT rowid FROM ext WHERE ext MATCH 'fox'").fetchall(), [(2,)])
        self.assertEqual(db.execute("SELECT title FROM f WHERE f MATCH 'five'").fetchall(), [("b",)])
        self.assertEqual(db.execute("SELECT title FROM f WHERE f MATCH 'three'").fetchall(), [])
        db.execute("INSERT INTO ext(ext) VALUES ('integrity-check')")
        db.close()
        back = self.json("diff", "other", "main")
        self.assertEqual([(t["name"], t["status"], t["rows_removed"]) for t in back["tables"] if t["name"] == "added"],
                         [("added", "removed", 1)])

    def test_renamed_full_text_and_fts4(self):
        self.make("CREATE VIRTUAL TABLE f USING fts5(a); CREATE VIRTUAL TABLE g USING fts4(a, b); "
                  "CREATE VIRTUAL TABLE less USING fts5(a, content=''); INSERT INTO f VALUES ('x'), ('y'); "
                  "INSERT INTO g VALUES ('x', 'y'), ('z', 'w')",
                  "ALTER TABLE f RENAME TO ff; INSERT INTO ff VALUES ('z'); UPDATE g SET a = 'q' WHERE b = 'y'; "
                  "INSERT INTO less(rowid, a) VALUES (5, 'w')")
        self.assertEqual(self.counts(), {"ff": (1, 0, 0), "g": (0, 0, 1), "less": (1, 0, 0)})
        self.assertEqual(self.json("diff", "main", "other")["tables"][0]["status"], "renamed")
        self.assertIn("-- a full-text index without content", self.bough("diff", "main", "other", "--sql").text)
        self.apply("other", "DROP TABLE less; CREATE VIRTUAL TABLE less USING fts5(a, content='')")
        self.check_script()

    # ---- size ----

    def test_few_of_many(self):
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE m(a, b);"
                  + support.counting(100000) + "INSERT INTO t SELECT i, 'row ' || i FROM n; "
                  "INSERT INTO m SELECT id % 1000, v FROM t",
                  "UPDATE t SET v = 'changed' WHERE id % 10000 = 0; DELETE FROM m WHERE rowid % 10000 = 0")
        self.assertEqual(self.counts(), {"t": (0, 0, 10), "m": (0, 10, 0)})
        self.assertEqual(self.bough("diff", "main", "other", "--rows").text.count("    ~ id="), 10)
        script = self.check_script()
        self.assertEqual((script.count("UPDATE "), script.count("DELETE ")), (10, 10))

    def test_long_values_are_cut(self):
        self.make("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)",
                  "INSERT INTO t VALUES (1, replace(hex(zeroblob(5000)), '00', 'ä\n'), zeroblob(100000))")
        text = self.bough("diff", "main", "other", "--rows").text
        self.assertEqual(len(text.splitlines()), 2)
        self.assertLess(len(text), 400)
        self.check_script()

    # ---- by chance ----

    VALUES = [None, 0, 1, 1.0, -1, 0.1, 1e300, 5e-324, 1 / 3, 2**53 + 1, -2**63, 2**63 - 1, float("inf"), "", "a", "A",
              "a ", "it's", "é", "line\nbreak", "nul\0in", "1", "1.0", b"", b"a", b"\0\xff'"]

    def random_value(self, rng):
        return rng.choice(self.VALUES) if rng.random() < 0.8 else rng.random() * 10 ** rng.randrange(-20, 20)

    def change_by_chance(self, db, rng):
        for table in ("k", "w", "m", "n"):
            for _ in range(rng.randrange(1, 12)):
                a, b, c = (self.random_value(rng) for _ in range(3))
                kind = rng.randrange(3)
                if kind == 0:
                    db.execute(f"INSERT OR IGNORE INTO {table}(a, b, c) VALUES (?, ?, ?)", (a, b, c))
                elif kind == 1:
                    db.execute(f"UPDATE OR IGNORE {table} SET b = ?, c = ? WHERE a IS ?", (b, c, a))
                else:
                    db.execute(f"DELETE FROM {table} WHERE a IS ? OR b IS ?", (a, b))

    def test_random_changes(self):
        for seed in range(12):
            rng = random.Random(seed)
            db = sqlite3.connect(self.path(f"a{seed}.db"))
            db.executescript("CREATE TABLE k(a PRIMARY KEY, b, c); CREATE TABLE m(a, b COLLATE NOCASE, c REAL); "
                             "CREATE TABLE w(a, b TEXT COLLATE NOCASE, c, PRIMARY KEY(a, b)) WITHOUT ROWID; "
                             "CREATE TABLE n(id INTEGER PRIMARY KEY, a NUMERIC, b UNIQUE, c)")
            for _ in range(4):
                self.change_by_chance(db, rng)
            db.commit()
            db.close()
            store = self.path(f"s{seed}.bough")
            self.bough("init", self.path(f"a{seed}.db"), "-s", store)
            self.bough("-s", store, "branch", "other")
            other = sqlite3.connect(self.path(f"b{seed}.db"))
            sqlite3.connect(self.path(f"a{seed}.db")).backup(other)
            self.change_by_chance(other, rng)
            other.commit()
            other.close()
            self.bough("-s", store, "import", self.path(f"b{seed}.db"), "-b", "other")
            with self.subTest(seed=seed):
                self.check_exports(store, self.path(f"a{seed}.db"), self.path(f"b{seed}.db"))

    def check_exports(self, store, a, b):
        script = self.bough("-s", store, "diff", "main", "other", "--sql").text
        db = sqlite3.connect(a, isolation_level=None)
        db.executescript(script)
        db.close()
        self.assertEqual(self.dump(a), self.dump(b), script)


if __name__ == "__main__":
    support.main()
