"""bough migrate on an ordinary file: conventions, runs, failures, the table that remembers."""
import hashlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
import unittest

import migrations
import support
from migrations import SHOP, write

NO_RUN = {"branch": None, "rolled_back": [], "applied": [], "by_overlay": False, "commit": None}


def limit_files(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


class Case(support.Case):
    def setUp(self):
        super().setUp()
        self.db = self.path("app.db")
        self.make("CREATE TABLE app(a); INSERT INTO app VALUES (1)")

    def make(self, sql, path=None):
        db = sqlite3.connect(path or self.db)
        db.executescript(sql)
        db.close()

    def ask(self, sql, path=None):
        db = sqlite3.connect(path or self.db)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    def content(self, path=None):
        """Everything but the migrator's own tables, in the order of names."""
        db = sqlite3.connect(path or self.db)
        try:
            schema = db.execute("SELECT type, name, sql FROM sqlite_schema WHERE tbl_name NOT LIKE '%migrations' "
                                "AND sql IS NOT NULL ORDER BY type, name").fetchall()
            return schema, {name: sorted(map(repr, db.execute(f'SELECT * FROM "{name}"'))) for kind, name, _ in schema
                            if kind == "table"}
        finally:
            db.close()

    def bytes(self):
        with open(self.db, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest(), sorted(os.listdir(self.dir))

    def migrate(self, verb, *words, db="app.db", **more):
        return self.json("migrate", verb, *words, "--db", db, **more)

    def refused(self, status, verb, *words, db="app.db"):
        """Fails and touches nothing."""
        before = self.bytes()
        message = self.fails(status, "migrate", verb, *words, "--db", db)
        self.assertEqual(self.bytes(), before)
        return message

    def names(self, steps):
        return [step["name"] for step in steps]

    def ran(self, document, rolled_back, applied):
        self.assertEqual(list(document), list(NO_RUN))
        self.assertEqual((self.names(document["rolled_back"]), self.names(document["applied"])), (rolled_back, applied))
        self.assertEqual((document["branch"], document["by_overlay"], document["commit"]), (None, False, None))

    def states(self, *words, status=0):
        document = self.migrate("status", *words, status=status)
        self.assertEqual(document["in_step"], status == 0)
        return {m["name"]: m["state"] for m in document["migrations"]}

    def put(self, version, name, up, down="SELECT 1;", **more):
        migrations.dbmate(self.path("migrations"), [(version, name, up, down)], **more)

    def three(self):
        for i, name in enumerate(["a", "b", "c"], 1):
            self.put(str(i), name, f"CREATE TABLE {name}(x);", f"DROP TABLE {name};")


class Conventions(Case):
    def run_convention(self, name):
        before = self.content()
        folder = self.path(name)
        migrations.CONVENTIONS[name](folder, SHOP)
        titles = [title for _, title, _, _ in SHOP]
        words = ("--dir", name)
        self.assertEqual(set(self.states(*words, status=1).values()), {"pending"})
        self.assertEqual(self.migrate("check", *words), {"branch": None, "ok": True, "failed": []})
        self.ran(self.migrate("sync", *words), [], titles)
        self.assertEqual(self.migrate("sync", *words), NO_RUN)
        self.assertEqual(set(self.states(*words).values()), {"applied"})
        applied = self.content()
        self.assertEqual(self.ask("SELECT name FROM users ORDER BY id"), [("Alice",), ("Robert",), ("Carol -- c",)])
        self.assertEqual(self.ask("SELECT count(*) FROM orders"), [(3,)], "the rebuild of users kept its children")
        self.ran(self.migrate("down", "21", *words), titles[::-1], [])
        self.assertEqual(self.content(), before)
        self.ran(self.migrate("up", "5", *words), [], titles[:5])
        self.ran(self.migrate("to", "20250111000000", *words), [], titles[5:11])
        self.ran(self.migrate("to", "20250103000000", *words), titles[3:11][::-1], [])
        self.ran(self.migrate("sync", *words), [], titles[3:])
        self.assertEqual(self.content(), applied)
        return applied

    def test_all_conventions_make_the_same_database(self):
        made = []
        for name in migrations.CONVENTIONS:
            with self.subTest(name):
                os.remove(self.db)
                self.make("CREATE TABLE app(a); INSERT INTO app VALUES (1)")
                made.append(self.run_convention(name))
        self.assertEqual(len(made), 3)
        for other in made[1:]:
            self.assertEqual(other, made[0])

    def test_lines_that_end_in_crlf_and_a_byte_order_mark(self):
        migrations.dbmate(self.path("migrations"), SHOP, newline="\r\n")
        path = self.path("migrations", "20250101000000_users.sql")
        with open(path, "rb") as file:
            text = file.read()
        with open(path, "wb") as file:
            file.write(b"\xEF\xBB\xBF" + text)
        self.migrate("sync")
        self.assertEqual(self.ask("SELECT count(*) FROM users"), [(3,)])

    def test_several_pairs_of_sections_are_one_migration(self):
        write(self.path("migrations"), "1_x.sql", "-- license: none\n-- migrate:up\nCREATE TABLE a(x)\n-- migrate:down\n"
              "DROP TABLE a\n-- migrate:up\nINSERT INTO a VALUES (1)\n-- migrate:down\nDELETE FROM a")
        self.ran(self.migrate("sync"), [], ["x"])
        self.assertEqual(self.ask("SELECT * FROM a"), [(1,)])
        self.ran(self.migrate("down"), ["x"], [])

    def test_a_file_without_directives_is_all_up(self):
        write(self.path("migrations"), "1-x.sql", "CREATE TABLE a(x);")
        self.ran(self.migrate("sync"), [], ["x"])
        message = self.refused(4, "down")
        self.assertIn("1 x", message)
        down = self.ask("SELECT down FROM migrations")[0][0]
        with self.assertRaisesRegex(sqlite3.OperationalError, "1 x was defined without a down"):
            self.make(down)

    def test_versions_and_names(self):
        for file in ("3.up.sql", "3.down.sql", "004.c.d.sql", "20250314010000-t.sql", "20250314010000001.u.sql",
                     "20251340000000_no_time.sql", "README.md", ".5_hidden.sql", "5_not_sql.txt"):
            write(self.path("migrations"), file, "SELECT 1;")
        document = self.migrate("sync")
        self.assertEqual([(m["version"], m["name"]) for m in document["applied"]],
                         [("3", ""), ("004", "c.d"), ("20250314010000", "t"), ("20250314010000001", "u"),
                          ("20251340000000", "no_time")])
        self.assertEqual([row[0] for row in self.ask("SELECT defined_at FROM migrations")],
                         [3, 4, 1741914000000, 1741914000001, 20251340000000])

    def test_description_is_stored(self):
        write(self.path("migrations"), "1_x.sql", "-- description: what it is for \n-- migrate:up\nSELECT 1;")
        self.migrate("sync")
        self.assertEqual(self.ask("SELECT name, description FROM migrations"), [("x", "what it is for ")])


class BadFiles(Case):
    def bad(self, files, status=2, verb="sync"):
        shutil.rmtree(self.path("migrations"), ignore_errors=True)
        for name, text in files.items():
            write(self.path("migrations"), name, text)
        return self.refused(status, verb)

    def test_versions(self):
        for files in ({"1_a.sql": "SELECT 1", "01_b.sql": "SELECT 1"}, {"1_a.up.sql": "", "1_b.up.sql": ""},
                      {"20250314010000_a.sql": "SELECT 1", "20250314010000000_b.sql": "SELECT 1"}):
            message = self.bad(files)
            for name in files:
                self.assertIn(name, message)
        for name in ("users.sql", "_1_users.sql", "99999999999999999999_users.sql"):
            self.assertIn(name, self.bad({name: "SELECT 1"}))

    def test_sections(self):
        for text, line in (("-- migrate:down\nSELECT 1", ""), ("-- migrate:up\n-- migrate:dwn\nSELECT 1", ":2"),
                           ("-- migrate:up transaction:no\nSELECT 1", ":1"), ("SELECT 1;\n-- migrate:up\n", ":1"),
                           ("  -- migrate:up\nSELECT 1", ":1"), ("-- migrate:up\n-- +goose Down\nSELECT 1", ":2"),
                           ("-- +goose Down\nSELECT 1", ""), ("-- +goose Up\n-- +goose ENVSUB ON\nSELECT 1", ":2"),
                           ("-- +goose Up\n-- +goose StatementBegin\nSELECT 1", ":3"),
                           ("-- +goose Up\n-- +goose StatementEnd\nSELECT 1", ":2"),
                           ("-- +goose Up\nSELECT 1;\n-- +goose Up\nSELECT 1", ":3"),
                           ("-- +goose StatementBegin\nSELECT 1", ":1"), ("-- +goose NO TRANSACTION\nSELECT 1", ""),
                           ("", ""), ("-- nothing but words\n", ""), ("-- migrate:up\nSELECT '\0'", "")):
            with self.subTest(text):
                self.assertIn("1_a.sql" + line, self.bad({"1_a.sql": text}))

    def test_a_down_without_an_up(self):
        self.assertIn("1_a.down.sql", self.bad({"1_a.down.sql": "SELECT 1"}))
        self.assertIn("1_a.down.sql", self.bad({"1_a.down.sql": "SELECT 1", "1_b.up.sql": "SELECT 1"}))
        self.assertIn("1_a.down.sql", self.bad({"1_a.down.sql": "SELECT 1", "1_a.sql": "SELECT 1"}))

    def test_sql_that_does_not_parse_is_caught_before_anything_runs(self):
        good = "-- migrate:up\nCREATE TABLE a(x);\nINSERT INTO a VALUES (1);\n-- migrate:down\nDROP TABLE a;"
        for text, line in (("CREATE TABEL b(x);", 2), ("INSERT INTO a\n VALUES (1,;", 3), ("CREATE TABLE b(x", 2),
                           ("SELECT 1;\n\nSELECT 'open", 4),
                           ("CREATE TRIGGER t AFTER INSERT ON later BEGIN\nSELECT 1;\nDELETE FRM a;\nEND;", 4)):
            with self.subTest(text):
                later = "CREATE TABLE later(x);" if "later" in text else ""
                message = self.bad({"1_a.sql": good.replace("CREATE", later + "CREATE"),
                                    "2_b.sql": f"-- migrate:up\n{text}"}, 8)
                self.assertIn(f"2_b.sql:{line}: ", message)
        # Also in a down, which is needed only some day.
        message = self.bad({"1_a.sql": good, "2_b.sql": "-- migrate:up\nSELECT 1;\n-- migrate:down\nDROP TABEL a;"}, 8)
        self.assertIn("2_b.sql:4: ", message)
        # What is wrong for another reason than grammar is found by the run.
        message = self.bad({"1_a.sql": good, "2_b.sql": "-- migrate:up\nSELECT 1;\nINSERT INTO nosuch VALUES (1);"}, 8)
        self.assertIn("2_b.sql:3: no such table: nosuch, in: INSERT INTO nosuch", message)

    def test_directories(self):
        self.refused(3, "sync", "--dir", "nosuch")
        self.refused(3, "status", "--dir", "nosuch")
        self.three()
        self.migrate("sync")
        os.mkdir(self.path("empty"))
        self.ran(self.migrate("sync", "--dir", "empty"), ["c", "b", "a"], [])
        self.assertEqual(self.migrate("status", "--dir", "empty"), {"branch": None, "in_step": True, "migrations": []})

    def test_files(self):
        self.three()
        self.refused(3, "sync", db="nosuch.db")
        self.assertFalse(os.path.exists(self.path("nosuch.db")))
        with open(self.path("text.db"), "w") as file:
            file.write("no database " * 100)
        self.refused(6, "sync", db="text.db")
        self.refused(2, "sync", "-b", "main")
        for words in (("sideways",), ("up", "0"), ("up", "x"), ("to",), ("to", "x"), ("status", "1"), ("new",),
                      ("sync", "--late", "never"), ("new", "x", "--dry-run"), ("undo",)):
            self.refused(2, *words)

    def test_a_table_of_another_program(self):
        self.three()
        for columns in ("id, migration, batch", "id, timestamp, name", "defined_at, name, description, applied_at, up",
                        "defined_at, name, description, applied_at, up, down, more",
                        "name, defined_at, description, applied_at, up, down"):
            self.make(f"DROP TABLE IF EXISTS migrations; CREATE TABLE migrations({columns})")
            for verb in ("sync", "status", "down", "check"):
                self.assertIn("--table NAME", self.refused(4, verb))
        self.ran(self.migrate("sync", "--table", "versions"), [], ["a", "b", "c"])
        self.assertEqual(self.ask("SELECT name FROM versions"), [("a",), ("b",), ("c",)])
        self.assertEqual(self.ask("SELECT count(*) FROM migrations"), [(0,)])
        self.make("DROP TABLE migrations; CREATE TABLE bough_migrations(a)")
        self.refused(4, "sync")
        self.assertIn("CREATE TABLE bough_migrations(a);", self.bough("migrate", "dump", "--db", "app.db").text)
        self.make("DROP TABLE bough_migrations; CREATE TABLE x(defined_at, name, description, applied_at, up, down);"
                  "CREATE VIEW migrations AS SELECT * FROM x")
        self.refused(4, "sync")
        self.assertIn("CREATE VIEW migrations", self.bough("migrate", "dump", "--db", "app.db").text)


class Runs(Case):
    def test_dry_run_and_status_change_nothing(self):
        self.three()
        before = self.bytes()
        self.ran(self.migrate("sync", "--dry-run"), [], ["a", "b", "c"])
        self.states(status=1)
        self.assertEqual(self.bytes(), before)
        text = self.bough("migrate", "status", "--db", "app.db", status=1).text
        self.assertIn("[ ]  1", text)
        self.assertIn("3 pending", text)

    def test_a_failure_in_the_fifth_of_seven_leaves_the_bytes(self):
        for i in range(1, 8):
            self.put(str(i), f"m{i}", f"CREATE TABLE t{i}(x); INSERT INTO app SELECT i FROM "
                     f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n);"
                     + ("\nINSERT INTO app SELECT x FROM t9;" if i == 5 else ""))
        message = self.refused(8, "sync")
        self.assertIn("5_m5.sql:3: no such table: t9, in: INSERT INTO app SELECT x FROM t9", message)
        self.ran(self.migrate("up", "4"), [], ["m1", "m2", "m3", "m4"])
        self.refused(8, "sync")
        self.assertEqual(self.ask("SELECT count(*) FROM app"), [(20001,)])

    def test_one_by_one_keeps_what_was_done(self):
        self.put("1", "a", "CREATE TABLE a(x);")
        write(self.path("migrations"), "2_b.sql", "-- migrate:up transaction:false\nVACUUM;\nPRAGMA user_version = 7;")
        self.put("3", "c", "CREATE TABLE c(x); SELECT * FROM nosuch;")
        self.assertIn("2_b.sql", self.refused(4, "sync"))
        self.fails(8, "migrate", "sync", "--db", "app.db", "--not-atomic")
        self.assertEqual(self.states(status=1), {"a": "applied", "b": "applied", "c": "pending"})
        self.assertEqual(self.ask("PRAGMA user_version"), [(7,)])
        self.assertEqual(self.ask("SELECT name FROM sqlite_schema WHERE name = 'c'"), [])

    def test_what_a_migration_may_not_do(self):
        for sql, word in (("ATTACH 'x.db' AS x;", "ATTACH"), ("BEGIN;", "BEGIN"), ("COMMIT;", "COMMIT"),
                          ("ROLLBACK;", "ROLLBACK"), ("END;", "COMMIT")):
            self.put("1", "a", "CREATE TABLE a(x);\n" + sql)
            self.assertIn(f"1_a.sql:3: a migration may not {word}", self.refused(8, "sync"))
        self.put("1", "a", "SAVEPOINT s; CREATE TABLE a(x); ROLLBACK TO s; CREATE TABLE a(y); RELEASE s;")
        self.ran(self.migrate("sync"), [], ["a"])
        for sql in ("VACUUM INTO 'copy.db';", "ATTACH 'copy.db' AS x;"):
            write(self.path("migrations"), "2_b.sql", "-- no-transaction\n" + sql)
            self.assertIn("may not ATTACH", self.fails(8, "migrate", "sync", "--not-atomic", "--db", "app.db"))
            self.assertFalse(os.path.exists(self.path("copy.db")))
        write(self.path("migrations"), "2_b.sql", "-- no-transaction\nBEGIN; CREATE TABLE b(x);")
        self.assertIn("transaction open", self.fails(8, "migrate", "sync", "--not-atomic", "--db", "app.db"))
        self.assertEqual(self.ask("SELECT name FROM sqlite_schema WHERE name = 'b'"), [])

    def test_foreign_keys(self):
        self.make("CREATE TABLE parents(id INTEGER PRIMARY KEY); CREATE TABLE children(p REFERENCES parents ON DELETE CASCADE);"
                  "INSERT INTO parents VALUES (1), (2); INSERT INTO children VALUES (1), (2), (77)")
        self.put("1", "rebuild", "PRAGMA foreign_keys = ON; CREATE TABLE n(id INTEGER PRIMARY KEY, m); INSERT INTO n SELECT id, 0 "
                 "FROM parents; DROP TABLE parents; ALTER TABLE n RENAME TO parents;")
        self.ran(self.migrate("sync"), [], ["rebuild"])
        self.assertEqual(self.ask("SELECT count(*) FROM children"), [(3,)], "the old violation is nobody's fault")
        self.put("2", "orphans", "DELETE FROM parents;")
        self.put("3", "more", "CREATE TABLE keyed(k PRIMARY KEY, p REFERENCES parents) WITHOUT ROWID; "
                 "INSERT INTO keyed VALUES ('it''s', 8), (2, NULL);")
        self.put("4", "fine", "CREATE TABLE fine(a);")
        message = self.refused(8, "sync")
        self.assertEqual([line.split("migrations/")[-1] for line in message.splitlines()[1:]],
                         ["2_orphans.sql: children row 1 refers to no row of parents",
                          "2_orphans.sql: children row 2 refers to no row of parents",
                          "3_more.sql: keyed row ('it''s') refers to no row of parents"])
        self.assertIn("2_orphans.sql: ", self.fails(8, "migrate", "sync", "--not-atomic", "--db", "app.db"))
        self.assertEqual(self.ask("SELECT count(*) FROM parents"), [(2,)])

    def test_violations_of_every_kind_of_key(self):
        self.make("CREATE TABLE a(x PRIMARY KEY, y, UNIQUE (x, y)); CREATE TABLE c(i, j, z, PRIMARY KEY (i, j), "
                  "FOREIGN KEY (i, j) REFERENCES a(x, y), FOREIGN KEY (z) REFERENCES nowhere) WITHOUT ROWID; "
                  "CREATE TABLE t(k PRIMARY KEY, n INTEGER REFERENCES u) WITHOUT ROWID; CREATE TABLE u(id TEXT PRIMARY KEY)")
        self.put("1", "fill", "INSERT INTO a VALUES (1, 2); INSERT INTO c VALUES (1, 2, NULL), (1, 3, NULL), (2, 2, 5); "
                 "INSERT INTO u VALUES ('01'); INSERT INTO t VALUES ('k', 1);")
        message = self.refused(8, "sync")
        self.assertEqual([line.split("1_fill.sql: ")[-1] for line in message.splitlines()[1:]],
                         ["a row of t refers to no row of u", "c row (1, 3) refers to no row of a",
                          "c row (2, 2) refers to no row of a", "c row (2, 2) refers to no row of nowhere"])

    def test_deferred_migrations(self):
        self.make("CREATE TABLE a1(x); CREATE TABLE a2(x)")
        write(self.path("migrations"), "1_d.sql", "-- generate\n-- migrate:up\n"
              "SELECT 'ALTER TABLE ' || name || ' ADD COLUMN y;' FROM sqlite_schema WHERE name LIKE 'a_' UNION ALL SELECT NULL\n"
              "-- migrate:down\nSELECT 'ALTER TABLE ' || name || ' DROP COLUMN y;' FROM sqlite_schema WHERE name LIKE 'a_'")
        self.assertTrue(self.migrate("check")["ok"])
        self.ran(self.migrate("sync"), [], ["d"])
        self.assertEqual(self.ask("SELECT up, down FROM migrations"),
                         [("ALTER TABLE a1 ADD COLUMN y;ALTER TABLE a2 ADD COLUMN y;",
                           "ALTER TABLE a1 DROP COLUMN y;ALTER TABLE a2 DROP COLUMN y;")])
        self.make("CREATE TABLE a3(x)")
        self.assertEqual(self.states(), {"d": "applied"})
        self.ran(self.migrate("down"), ["d"], [])
        for text in ("DELETE FROM app", "SELECT 1; SELECT 2", "SELECT 1, 2", ""):
            write(self.path("migrations"), "1_d.sql", f"-- generate\n-- migrate:up\n{text}")
            self.refused(8, "sync")
        write(self.path("migrations"), "1_d.sql", "-- generate\n-- migrate:up\nSELECT 'CREATE TABEL x'")
        self.assertIn("(generated):1: ", self.refused(8, "sync"))

    def test_ephemeral_migrations(self):
        self.three()
        write(self.path("migrations"), "9_e.sql", "-- ephemeral\nPRAGMA recursive_triggers = ON;\nINSERT INTO app VALUES (2);")
        self.ran(self.migrate("sync"), [], ["a", "b", "c", "e"])
        self.assertEqual(self.migrate("sync"), NO_RUN)
        self.assertEqual(self.ask("SELECT count(*) FROM app"), [(3,)], "it ran twice")
        self.ran(self.migrate("down", "9"), ["c", "b", "a"], [])
        self.assertEqual(self.states(status=1)["e"], "applied")
        self.migrate("sync")
        os.remove(self.path("migrations", "9_e.sql"))
        self.assertEqual(self.states()["e"], "applied")
        self.assertEqual(self.migrate("sync"), NO_RUN)
        write(self.path("migrations"), "9_other.sql", "CREATE TABLE other(x);")
        self.ran(self.migrate("sync"), [], ["other"])
        write(self.path("migrations"), "10_bad.sql", "-- ephemeral\nINSERT INTO app VALUES (3);\nSELECT * FROM nosuch;")
        self.assertIn("10_bad.sql:3", self.refused(8, "sync"))
        self.put("11", "late", "CREATE TABLE late(x);", "DROP TABLE late;")
        self.assertIn("10_bad.sql:3", self.refused(8, "sync"), "with something to do: nothing of it is done")
        write(self.path("migrations"), "10_bad.sql", "-- ephemeral\nPRAGMA synchronous = OFF;\nINSERT INTO late VALUES (3); VACUUM;")
        self.ran(self.migrate("sync"), [], ["late", "bad"])
        self.assertEqual(self.ask("SELECT * FROM late"), [(3,)])
        write(self.path("migrations"), "10_bad.sql", "-- ephemeral\nINSERT INTO late VALUES (4);\nSELECT * FROM nosuch;")
        self.bough("migrate", "sync", "--db", "app.db", status=8)
        self.assertEqual(self.ask("SELECT * FROM late"), [(3,)], "stored already, and all or nothing of it")

    def test_redo_of_a_changed_ephemeral_migration(self):
        self.three()
        write(self.path("migrations"), "2_e.sql", "-- ephemeral\nPRAGMA recursive_triggers = ON;")
        os.remove(self.path("migrations", "2_b.sql"))
        self.migrate("sync")
        write(self.path("migrations"), "2_e.sql", "-- ephemeral\nPRAGMA recursive_triggers = OFF;")
        self.assertEqual(self.states(status=1)["e"], "changed")
        done = self.bough("migrate", "redo", "--db", "app.db")
        self.assertIn(b"2_e.sql has changed", done.err)
        self.states()
        self.assertIn("OFF", self.ask("SELECT up FROM migrations WHERE name = 'e'")[0][0])
        self.ran(self.migrate("redo"), ["c"], ["c"])

    def test_kill_leaves_the_old_or_the_new_state(self):
        for i in range(1, 5):
            self.put(str(i), f"m{i}", f"CREATE TABLE t{i}(x);"
                     + support.counting(60000) + f"INSERT INTO t{i} SELECT hex(randomblob(20)) FROM n;", f"DROP TABLE t{i};")
        old, outcomes = self.content(), set()
        for delay in [0.005 * 1.7 ** i for i in range(12)]:
            process = subprocess.Popen([support.BOUGH, "migrate", "sync", "--db", "app.db", "-q"], cwd=self.dir,
                                       env=self.environment(), stdout=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
            tables = [name for (name,) in self.ask("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            outcomes.add(len(tables))
            self.assertIn(len(tables), (1, 7), tables)
            self.assertEqual(self.ask("PRAGMA integrity_check"), [("ok",)])
            if len(tables) == 7:
                self.assertEqual(self.states(), {f"m{i}": "applied" for i in range(1, 5)})
                self.migrate("down", "4")
                self.make("DROP TABLE migrations; DROP TABLE bough_migrations")
            self.assertEqual(self.content(), old)
        self.assertIn(1, outcomes)

    def test_a_full_disk(self):
        self.put("1", "big", "CREATE TABLE big(x);" + support.counting(2000) + "INSERT INTO big SELECT randomblob(1000) FROM n;")
        self.put("2", "bigger", support.counting(2000) + "INSERT INTO big SELECT randomblob(1000) FROM n;")
        before, process = self.bytes(), None
        for limit in (0, 8192, 100000, 3000000):
            process = subprocess.run([support.BOUGH, "migrate", "sync", "--db", "app.db"], cwd=self.dir, env=self.environment(),
                                     capture_output=True, preexec_fn=lambda: limit_files(limit))
            self.assertEqual(process.returncode, 7, process.stderr)
            self.assertEqual(self.ask("PRAGMA integrity_check"), [("ok",)])
            self.assertEqual(self.bytes(), before)

    def test_a_file_without_permission_to_write(self):
        self.three()
        os.chmod(self.db, 0o444)
        os.chmod(self.dir, 0o555)
        try:
            self.states(status=1)
            if os.geteuid() != 0:
                self.refused(7, "sync")
        finally:
            os.chmod(self.dir, 0o755)

    def test_busy(self):
        self.three()
        other = sqlite3.connect(self.db, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        self.fails(5, "migrate", "sync", "--db", "app.db", "--timeout", "0.1")
        self.states(status=1)
        other.execute("ROLLBACK")
        other.close()

    def test_two_at_once(self):
        """One of them does the work, the other finds it done."""
        for i in range(1, 6):
            self.put(str(i), f"m{i}", f"CREATE TABLE t{i}(x);" + support.counting(20000) + f"INSERT INTO t{i} SELECT i FROM n;")
        processes = [subprocess.Popen([support.BOUGH, "migrate", "sync", "--db", "app.db", "--json", "--timeout", "60"],
                                      cwd=self.dir, env=self.environment(), stdout=subprocess.PIPE) for _ in range(3)]
        applied = [process.communicate()[0].count(b'"version"') for process in processes]
        self.assertEqual(sorted(applied), [0, 0, 5])
        self.assertEqual([process.returncode for process in processes], [0, 0, 0])


class Changed(Case):
    def test_comments_white_space_and_line_ends_are_no_change(self):
        migrations.dbmate(self.path("migrations"), SHOP)
        self.migrate("sync")
        shutil.rmtree(self.path("migrations"))
        migrations.dbmate(self.path("migrations"), [(v, n, "-- a comment\n" + up.replace(", ", " ,\n\t"), "/* x */" + down)
                                                    for v, n, up, down in SHOP if "'a;b', 1" not in up], newline="\r\n")
        migrations.dbmate(self.path("migrations"), [m for m in SHOP if "'a;b', 1" in m[2]])
        changed = {name for name, state in self.states().items() if state != "applied"}
        self.assertEqual(changed, set())

    def test_changed_files_are_reported_and_left(self):
        self.three()
        self.migrate("sync")
        self.put("2", "b", "CREATE TABLE b(x, y);", "DROP TABLE b;")
        self.put("4", "d", "CREATE TABLE d(x);", "DROP TABLE d;")
        self.assertEqual(self.states(status=1), {"a": "applied", "b": "changed", "c": "applied", "d": "pending"})
        done = self.bough("migrate", "sync", "--db", "app.db", "--json")
        self.assertIn(b"2_b.sql has changed", done.err)
        self.assertEqual(done.out.count(b"version"), 1)
        self.assertEqual(self.ask("SELECT count(*) FROM pragma_table_info('b')"), [(1,)])
        self.ran(self.migrate("redo"), ["d", "c", "b"], ["b", "c", "d"])
        self.assertEqual(self.ask("SELECT count(*) FROM pragma_table_info('b')"), [(2,)])
        self.states()
        self.ran(self.migrate("redo"), ["d"], ["d"])

    def test_repair(self):
        self.three()
        self.migrate("sync")
        applied_at = self.ask("SELECT applied_at FROM migrations WHERE name = 'b'")
        self.put("2", "b", "CREATE TABLE b(x, y);", "DROP TABLE b; SELECT 5;")
        before = self.bytes()
        self.migrate("repair", "2", "--dry-run")
        self.assertEqual(self.bytes(), before)
        self.assertEqual(self.migrate("repair", "2"),
                         {"branch": None, "repaired": [{"version": "2", "name": "b"}], "commit": None})
        self.states()
        self.assertEqual(self.ask("SELECT applied_at FROM migrations WHERE name = 'b'"), applied_at)
        self.assertIn("SELECT 5", self.ask("SELECT down FROM migrations WHERE name = 'b'")[0][0])
        self.ran(self.migrate("down"), ["c"], [])
        self.put("9", "z", "SELECT 1;")
        self.refused(3, "repair", "9")
        self.refused(3, "repair", "7")
        os.remove(self.path("migrations", "1_a.sql"))
        self.refused(3, "repair", "1")

    def test_to_needs_a_version_that_exists(self):
        self.three()
        self.refused(3, "to", "7")
        self.ran(self.migrate("to", "2"), [], ["a", "b"])


class Late(Case):
    def setUp(self):
        super().setUp()
        self.put("1", "a", "CREATE TABLE a(x);", "DROP TABLE a;")
        self.put("3", "c", "CREATE TABLE c(x);", "DROP TABLE c;")
        self.migrate("sync")
        self.make("INSERT INTO c VALUES ('kept')")
        self.put("2", "b", "CREATE TABLE b(x);", "DROP TABLE b;")

    def test_apply_is_the_default_and_loses_no_row(self):
        done = self.bough("migrate", "sync", "--db", "app.db", "--json")
        self.assertIn(b"2_b.sql is older", done.err)
        self.assertEqual(self.ask("SELECT * FROM c"), [("kept",)])
        self.states()
        self.assertEqual(self.ask("SELECT version FROM bough_migrations ORDER BY ordinal"), [("1",), ("3",), ("2",)])
        self.ran(self.migrate("down", "2"), ["b", "c"], [])

    def test_rewind(self):
        self.ran(self.migrate("sync", "--late", "rewind"), ["c"], ["b", "c"])
        self.assertEqual(self.ask("SELECT * FROM c"), [])

    def test_refuse(self):
        self.assertIn("2_b.sql", self.refused(4, "sync", "--late", "refuse"))
        self.refused(4, "up", "--late", "refuse")
        self.put("4", "d", "SELECT 1;")
        os.remove(self.path("migrations", "2_b.sql"))
        self.ran(self.migrate("sync", "--late", "refuse"), [], ["d"])

    def test_what_is_not_defined_any_more_rewinds_whatever_the_policy(self):
        os.remove(self.path("migrations", "3_c.sql"))
        self.ran(self.migrate("sync", "--late", "refuse"), ["c"], ["b"])

    def test_up_leaves_what_is_not_defined_any_more(self):
        os.remove(self.path("migrations", "3_c.sql"))
        self.assertEqual(self.states(status=1)["c"], "missing")
        self.ran(self.migrate("up"), [], ["b"])
        self.assertEqual(self.ask("SELECT * FROM c"), [("kept",)])


class Journey(Case):
    """Branches of an app's code, after the Dart package's README."""

    USERS = ("20250314010000", "users", "create table users(id integer primary key autoincrement, name text not null);\n"
             "insert into users(name) values ('Alice'), ('Bob');", "drop table users;")
    POSTS = ("20250316010000", "posts", "create table posts(id integer primary key, text);", "drop table posts;")
    RENAME = ("20250318010000", "handle", "alter table users rename column name to handle;",
              "alter table users rename column handle to name;")
    LIKES = ("20250320010000", "likes", "create table likes(post integer references posts(id));", "drop table likes;")

    def checkout(self, *defined):
        shutil.rmtree(self.path("migrations"), ignore_errors=True)
        os.mkdir(self.path("migrations"))
        migrations.dbmate(self.path("migrations"), defined)
        document = self.migrate("sync")
        self.states()
        return self.names(document["rolled_back"]), self.names(document["applied"])

    def test_journey(self):
        users, posts, rename, likes = self.USERS, self.POSTS, self.RENAME, self.LIKES
        self.assertEqual(self.checkout(users), ([], ["users"]))
        self.assertEqual(self.checkout(users, posts), ([], ["posts"]))
        self.assertEqual(self.checkout(users, rename), (["posts"], ["handle"]))
        self.assertEqual(self.checkout(users), (["handle"], []))
        self.assertEqual(self.checkout(users, posts, likes), ([], ["posts", "likes"]))
        # Merged with the time stamp left as it was: rename is late.
        self.assertEqual(self.checkout(users, posts, rename, likes), ([], ["handle"]))
        self.assertEqual(self.checkout(users, posts), (["handle", "likes"], []))
        # Merged with a new time stamp.
        updated = ("20250321010000",) + rename[1:]
        self.assertEqual(self.checkout(users, posts, rename), ([], ["handle"]))
        self.assertEqual(self.checkout(users, posts, likes, updated), (["handle"], ["likes", "handle"]))
        self.assertEqual(self.ask("SELECT handle FROM users"), [("Alice",), ("Bob",)])

    def test_one_time_stamp_and_two_migrations(self):
        a = ("20250318010000", "add users table", "alter table users rename column name to handle;",
             "alter table users rename column handle to name;")
        b = ("20250318010000", "add author to posts", "alter table posts add column author text;",
             "alter table posts drop column author;")
        self.checkout(self.USERS, self.POSTS, a)
        self.assertEqual(self.checkout(self.USERS, self.POSTS, b), (["add users table"], ["add author to posts"]))
        self.assertEqual(self.ask("SELECT name FROM users LIMIT 1"), [("Alice",)])
        migrations.dbmate(self.path("migrations"), [a])
        message = self.refused(2, "sync")
        self.assertIn(a[1], message)
        self.assertIn(b[1], message)


class Exchange(Case):
    """The table is that of the Dart package, which may have written it, and may go on with it."""

    def test_rows_of_the_dart_package(self):
        self.make("""CREATE TABLE migrations (defined_at INTEGER PRIMARY KEY, name TEXT, description TEXT,
                     applied_at INTEGER DEFAULT (unixepoch(current_timestamp)), up TEXT NOT NULL, down TEXT NOT NULL);
                     CREATE TABLE users(a); CREATE TABLE x(a); CREATE TABLE y(a);
                     INSERT INTO migrations(defined_at, name, up, down) VALUES
                       (1741914000000, NULL, 'CREATE TABLE users(a)', 'DROP TABLE users'),
                       (1741914000001, 'x', 'CREATE TABLE x(a)', 'DROP TABLE x'), (5, 'y', 'CREATE TABLE y(a)', 'DROP TABLE y')""")
        write(self.path("migrations"), "20250314010000.up.sql", "CREATE TABLE users(a);")
        write(self.path("migrations"), "20250314010000.down.sql", "DROP TABLE users;")
        document = self.migrate("status", status=1)
        self.assertEqual([(m["version"], m["name"], m["state"]) for m in document["migrations"]],
                         [("5", "y", "missing"), ("20250314010000", "", "changed"), ("20250314010000001", "x", "missing")])
        for m in document["migrations"]:
            self.assertTrue(m["applied_at"].startswith(time.strftime("%Y-", time.gmtime())), m)
        write(self.path("migrations"), "20250314010000.up.sql", "CREATE TABLE users(a)")
        write(self.path("migrations"), "20250314010000.down.sql", "DROP TABLE users")
        self.assertEqual(self.states(status=1), {"": "applied", "x": "missing", "y": "missing"})
        self.ran(self.migrate("sync"), ["x", "", "y"], [""])

    def test_columns_and_values(self):
        self.three()
        self.migrate("sync")
        self.assertEqual(self.ask("SELECT name, type, pk, \"notnull\" FROM pragma_table_info('migrations')"),
                         [("defined_at", "INTEGER", 1, 0), ("name", "TEXT", 0, 0), ("description", "TEXT", 0, 0),
                          ("applied_at", "INTEGER", 0, 0), ("up", "TEXT", 0, 1), ("down", "TEXT", 0, 1)])
        now = time.time() * 1000
        for (applied_at,) in self.ask("SELECT applied_at FROM migrations"):
            self.assertTrue(now - 60000 < applied_at <= now + 1000)

    def test_the_other_program_goes_on(self):
        """It rolls back and applies again: what we kept beside its row does not count any more."""
        self.three()
        self.migrate("sync")
        self.make("DELETE FROM migrations WHERE name = 'c'; DROP TABLE c; CREATE TABLE c(other); INSERT INTO migrations VALUES "
                  "(3, 'c', NULL, unixepoch(), 'CREATE TABLE c(other)', 'DROP TABLE c')")
        self.assertEqual(self.states(status=1)["c"], "changed")
        self.ran(self.migrate("redo"), ["c"], ["c"])
        self.states()


class Adopt(Case):
    def setUp(self):
        super().setUp()
        self.three()

    def adopted(self, *words):
        document = self.migrate("adopt", *words)
        self.assertEqual(list(document), ["branch", "tool", "adopted", "commit"])
        return document["tool"], self.names(document["adopted"])

    def test_dbmate(self):
        self.refused(3, "adopt")
        self.make("CREATE TABLE schema_migrations(version varchar(128) primary key); INSERT INTO schema_migrations VALUES ('1'), ('2')")
        before = self.ask("SELECT * FROM schema_migrations")
        self.assertEqual(self.adopted("--dry-run"), ("dbmate", ["a", "b"]))
        self.assertEqual(self.adopted(), ("dbmate", ["a", "b"]))
        self.assertEqual(self.adopted(), ("dbmate", []))
        self.assertEqual(self.ask("SELECT * FROM schema_migrations"), before)
        self.assertEqual(self.states(status=1), {"a": "applied", "b": "applied", "c": "pending"})
        self.make("INSERT INTO schema_migrations VALUES ('7')")
        self.assertIn("7", self.refused(3, "adopt"))

    def test_goose(self):
        self.make("CREATE TABLE goose_db_version(id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, "
                  "is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now'))); INSERT INTO goose_db_version"
                  "(version_id, is_applied, tstamp) VALUES (0, 1, NULL), (1, 1, '2024-05-06 07:08:09'), (2, 1, NULL), (2, 0, NULL)")
        self.assertEqual(self.adopted(), ("goose", ["a"]))
        self.assertEqual(self.ask("SELECT applied_at FROM migrations"), [(1714979289000,)])

    def test_golang_migrate(self):
        self.make("CREATE TABLE schema_migrations(version uint64, dirty bool); INSERT INTO schema_migrations VALUES (2, 1)")
        self.refused(4, "adopt")
        self.make("UPDATE schema_migrations SET dirty = 0")
        self.assertEqual(self.adopted(), ("golang-migrate", ["a", "b"]))

    def test_sqlx(self):
        self.make("CREATE TABLE _sqlx_migrations(version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on TIMESTAMP NOT "
                  "NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, execution_time BIGINT NOT NULL);"
                  "INSERT INTO _sqlx_migrations VALUES (1, 'a', '2024-05-06 07:08:09', 1, x'', 1), (2, 'b', '', 0, x'', 1)")
        self.refused(4, "adopt")
        self.make("DELETE FROM _sqlx_migrations WHERE version = 2")
        self.assertEqual(self.adopted(), ("sqlx", ["a"]))
        self.make("CREATE TABLE schema_migrations(version varchar(128) primary key)")
        self.assertIn("dbmate", self.refused(2, "adopt"))
        self.assertEqual(self.adopted("--from", "dbmate"), ("dbmate", []))
        self.refused(2, "adopt", "--from", "flyway")


class Check(Case):
    def test_failures_are_found_and_nothing_is_kept(self):
        self.put("1", "good", "CREATE TABLE u(id INTEGER PRIMARY KEY, n); INSERT INTO u VALUES (1, 1);", "DROP TABLE u;")
        self.put("2", "loses", "ALTER TABLE u ADD COLUMN m; UPDATE u SET n = 2;", "ALTER TABLE u DROP COLUMN m;")
        self.put("3", "leaves", "CREATE TABLE v(x); CREATE INDEX vi ON v(x);", "DROP INDEX vi;")
        self.put("4", "wrong", "CREATE TABLE w(x);", "DROP TABLE nosuch;")
        self.put("5", "quotes", "ALTER TABLE u RENAME COLUMN n TO o;", "ALTER TABLE u RENAME COLUMN o TO \"n\";")
        write(self.path("migrations"), "6_nodown.sql", "CREATE TABLE z(x);")
        self.put("7", "once", "SELECT * FROM nosuch;")
        self.put("8", "never", "SELECT 1;")
        before = self.bytes()
        document = self.migrate("check", status=1)
        self.assertEqual(self.bytes(), before)
        self.assertEqual([list(f) for f in document["failed"]], [["version", "name", "step", "message"]] * 4)
        found = [(f["name"], f["step"]) for f in document["failed"]]
        self.assertEqual(found, [("loses", "down"), ("leaves", "down"), ("wrong", "down"), ("once", "up")])
        messages = [f["message"] for f in document["failed"]]
        self.assertIn("table u has 0 rows added, 0 removed, 1 changed", messages[0])
        self.assertIn("table v is left over", messages[1])
        self.assertIn("no such table: nosuch", messages[2])
        self.assertFalse(document["ok"])

    def test_up_again(self):
        # What the down leaves is neither schema nor rows.
        write(self.path("migrations"), "1_again.sql", "-- generate\n-- migrate:up\nSELECT CASE user_version WHEN 0 THEN "
              "'PRAGMA user_version = 1' ELSE 'SELECT * FROM gone' END FROM pragma_user_version\n-- migrate:down\nSELECT 'SELECT 1'")
        document = self.migrate("check", status=1)
        self.assertEqual([(f["name"], f["step"]) for f in document["failed"]], [("again", "up_again")])

    def test_a_database_in_wal_mode(self):
        self.make("PRAGMA journal_mode = WAL")
        self.three()
        self.assertTrue(self.migrate("check")["ok"])


class New(Case):
    def test_conventions(self):
        for name, make in migrations.CONVENTIONS.items():
            folder = self.path(name)
            make(folder, SHOP[:2])
            document = self.json("migrate", "new", "add things", "--dir", name)
            self.assertEqual(list(document), ["version", "name", "paths"])
            self.assertEqual(len(document["paths"]), 2 if name == "pairs" else 1)
            self.assertRegex(document["version"], r"^20\d{12}$")
            for path in document["paths"]:
                self.assertTrue(os.path.exists(self.path(path)))
            self.ran(self.migrate("sync", "--dir", name, "--table", name), [], ["users", "orders", "add_things"])
            self.make("DROP TABLE orders; DROP TABLE users")

    def test_two_in_one_second(self):
        names = {self.bough("migrate", "new", "x").text for _ in range(5)}
        self.assertEqual(len(names), 5)
        self.fails(2, "migrate", "new", "a/b")


class Dump(Case):
    def test_sorted_stable_and_without_our_tables(self):
        migrations.dbmate(self.path("migrations"), SHOP)
        self.migrate("sync")
        text = self.bough("migrate", "dump", "--db", "app.db").text
        self.make(text, self.path("copy.db"))
        self.assertEqual(self.content(self.path("copy.db"))[0], self.content()[0])
        self.assertNotIn("migrations", text)
        self.assertNotIn("search_data", text)
        self.make("VACUUM")
        self.assertEqual(self.bough("migrate", "dump", "--db", "app.db").text, text)
        document = self.migrate("dump")
        self.assertEqual("".join(o["sql"] + "\n" for o in document["schema"]), text)
        kinds = [o["type"] for o in document["schema"]]
        self.assertEqual(kinds, sorted(kinds, key=["table", "index", "view", "trigger"].index))


if __name__ == "__main__":
    support.main()
