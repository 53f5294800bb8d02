"""bough migrate on branches: forks, overlays, checks, undo, writers that come in between, and death at any moment."""
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time

import support

SO = os.environ["BOUGH_SO"]


class Branch(support.Case):
    def setUp(self):
        super().setUp()
        self.make_store()
        os.mkdir(self.path("migrations"))

    # ---- helpers ----

    def migration(self, version, name, up, down=None, head=""):
        with open(self.path("migrations", f"{version}_{name}.sql"), "w") as file:
            file.write(head + "-- migrate:up" + (" transaction:false" if "VACUUM" in up else "") + f"\n{up}\n")
            if down is not None:
                file.write(f"-- migrate:down\n{down}\n")

    def remove(self, version, name):
        os.remove(self.path("migrations", f"{version}_{name}.sql"))

    def two(self):
        self.migration(1, "tags", "CREATE TABLE tags(a); INSERT INTO tags VALUES (1), (2);", "DROP TABLE tags;")
        self.migration(2, "age", "ALTER TABLE users ADD COLUMN age;", "ALTER TABLE users DROP COLUMN age;")

    def migrate(self, *words, **more):
        return self.json("migrate", *words, **more)

    def names_in(self, steps):
        return [f"{step['version']} {step['name']}" for step in steps]

    def exported(self, ref):
        path = self.path("out.db")
        self.bough("export", ref, path, "--force")
        with open(path, "rb") as file:
            return file.read()

    def head(self, branch="main"):
        return self.branch(branch)["head"]

    def tables(self, branch="main"):
        return self.value(branch, "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE type = 'table' "
                                  "AND name NOT LIKE '%migrations' ORDER BY name)")

    def hidden(self):
        db = sqlite3.connect(self.path("shop.bough", "catalog.db"))
        names = [name for name, in db.execute("SELECT name FROM branches WHERE name LIKE '.%'")]
        db.close()
        return names

    def whole(self):
        self.assertTrue(self.json("verify")["ok"])
        self.assertEqual(self.hidden(), [])

    def untouched(self, status, *words):
        """The command fails, and nothing has happened."""
        before, moves = self.snapshot(), self.json("log", "main", "--moves")
        message = self.fails(status, "migrate", *words)
        self.assertEqual(self.snapshot(), before)
        self.assertEqual(self.json("log", "main", "--moves"), moves)
        self.whole()
        return message

    # ---- forwards ----

    def test_sync(self):
        self.two()
        before = self.head()
        self.assertEqual(self.migrate("status", status=1)["branch"], "main")
        done = self.migrate("sync")
        self.assertEqual(list(done), ["branch", "rolled_back", "applied", "by_overlay", "commit"])
        self.assertEqual((done["branch"], done["rolled_back"], self.names_in(done["applied"]), done["by_overlay"]),
                         ("main", [], ["1 tags", "2 age"], False))
        self.assertEqual(done["commit"], self.head())
        log = self.json("log")
        self.assertEqual([c["message"] for c in log[:2]], ["migrate up 2 age", "migrate up 1 tags"])
        self.assertTrue(log[0]["automatic"] and log[1]["automatic"])
        self.assertEqual([log[0]["parents"], log[1]["parents"]], [[log[1]["id"]], [before]])
        self.assertTrue(self.migrate("status")["in_step"])
        self.assertEqual(self.names(), ["main"])
        self.assertFalse(self.branch("main")["dirty"])
        again = self.migrate("sync")
        self.assertEqual((again["applied"], again["commit"]), ([], done["commit"]))
        self.assertEqual(len(self.json("log", "main", "--moves")), 1)
        self.whole()

    def test_another_branch(self):
        self.two()
        self.bough("branch", "feature")
        done = self.migrate("sync", "-b", "feature")
        self.assertEqual(done["branch"], "feature")
        self.assertEqual(self.tables("main"), "orders,users")
        self.assertEqual(self.tables("feature"), "orders,tags,users")
        self.fails(3, "migrate", "sync", "-b", "nothing")
        self.fails(2, "migrate", "undo", "--db", self.path("shop.db"))

    def test_dry_run(self):
        self.two()
        self.sql("main", "INSERT INTO users(name) VALUES ('x')")
        before = self.snapshot()
        self.assertEqual(self.names_in(self.migrate("sync", "--dry-run")["applied"]), ["1 tags", "2 age"])
        self.assertEqual(self.snapshot(), before)
        self.migrate("sync")
        before = self.snapshot()
        done = self.migrate("down", "--dry-run")
        self.assertEqual((self.names_in(done["rolled_back"]), done["by_overlay"], done["commit"]),
                         (["2 age"], True, self.head()))
        self.assertEqual(self.names_in(self.migrate("undo", "--dry-run")["rolled_back"]), ["2 age", "1 tags"])
        self.assertEqual(self.snapshot(), before)

    def test_vacuum_is_as_safe_as_any(self):
        self.two()
        self.migration(3, "compact", "VACUUM; INSERT INTO tags VALUES (3);")
        self.migration(4, "broken", "SELECT * FROM tags; INSERT INTO tags VALUES (RAISE(FAIL));")
        self.untouched(8, "sync")
        self.migration(4, "broken", "INSERT INTO tags SELECT abs(-9223372036854775808);")
        message = self.untouched(8, "sync")
        self.assertIn("4_broken.sql", message)
        self.remove(4, "broken")
        self.assertEqual(len(self.migrate("sync")["applied"]), 3)
        self.assertEqual(self.value("main", "SELECT count(*) FROM tags"), 3)
        self.whole()

    def test_what_is_not_committed_stays_so_when_a_run_fails(self):
        self.two()
        self.migration(3, "broken", "INSERT INTO nothing VALUES (1);")
        self.migration(4, "late", "SELECT abs(-9223372036854775808);")
        self.sql("main", "INSERT INTO users(name) VALUES ('x')")
        self.assertTrue(self.branch("main")["dirty"])
        self.untouched(8, "sync")
        self.remove(3, "broken")
        self.untouched(8, "sync")  # found when it runs, on the fork
        before = self.snapshot()
        self.migrate("check", status=1)
        self.assertEqual(self.snapshot(), before)
        self.remove(4, "late")
        state = self.exported("main")
        self.migrate("sync")
        log = self.json("log")
        self.assertEqual([c["message"] for c in log[:3]],
                         ["migrate up 2 age", "migrate up 1 tags", "before migrations"])
        self.assertEqual(self.exported(log[2]["id"]), state)
        self.migrate("undo")
        self.assertEqual(self.exported("main"), state)
        self.whole()

    def test_protected(self):
        self.two()
        self.bough("protect", "main")
        self.untouched(4, "sync")
        self.assertEqual(len(self.migrate("sync", "--dry-run")["applied"]), 2)
        self.bough("unprotect", "main")
        self.migrate("sync")
        self.bough("protect", "main")
        for verb in ("down", "undo", "redo"):
            self.untouched(4, verb)

    # ---- backwards ----

    def test_down_by_overlay_is_exact(self):
        self.migration(1, "tags", "CREATE TABLE tags(a);")  # no down
        self.migration(2, "wipe", "DELETE FROM orders WHERE id > 10; DROP INDEX orders_user;")
        states = [self.exported("main")]
        for n in ("1", "1"):
            self.migrate("up", n)
            states.append(self.exported("main"))
        head = self.head()
        done = self.migrate("down")
        self.assertEqual((self.names_in(done["rolled_back"]), done["by_overlay"], done["commit"]),
                         (["2 wipe"], True, self.head()))
        self.assertEqual(self.exported("main"), states[1])
        self.assertEqual(self.exported(head), states[2])
        self.assertTrue(self.migrate("down")["by_overlay"])
        self.assertEqual(self.exported("main"), states[0])
        self.assertEqual(self.migrate("down")["rolled_back"], [])
        self.whole()

    def test_several_at_once(self):
        self.two()
        before = self.exported("main")
        self.migrate("sync")
        self.remove(1, "tags")
        self.remove(2, "age")
        done = self.migrate("sync")
        self.assertEqual((self.names_in(done["rolled_back"]), done["by_overlay"]), (["2 age", "1 tags"], True))
        self.assertEqual(self.exported("main"), before)

    def test_what_the_app_wrote_stays(self):
        self.two()
        self.migrate("sync")
        self.sql("main", "INSERT INTO users(name, age) VALUES ('new', 7)")
        done = self.migrate("down")
        self.assertEqual((self.names_in(done["rolled_back"]), done["by_overlay"]), (["2 age"], False))
        self.assertEqual(self.value("main", "SELECT count(*) FROM users WHERE name = 'new'"), 1)
        log = self.json("log")
        self.assertEqual(log[0]["message"], "migrate down 2 age")
        # Not one row is out of reach.
        self.assertEqual(self.sql(log[1]["id"], "SELECT age FROM users WHERE name = 'new'"), [[{"age": 7}]])
        self.migrate("undo")
        self.assertEqual(self.value("main", "SELECT age FROM users WHERE name = 'new'"), 7)
        self.whole()

    def test_overlay_first_then_sql(self):
        self.two()
        self.migrate("up", "1")
        self.sql("main", "INSERT INTO tags VALUES (9); INSERT INTO users(name) VALUES ('between')")
        self.migrate("up")
        done = self.migrate("down", "2")
        self.assertEqual((self.names_in(done["rolled_back"]), done["by_overlay"]), (["2 age", "1 tags"], False))
        self.assertEqual(self.tables(), "orders,users")
        self.assertEqual(self.value("main", "SELECT count(*) FROM users WHERE name = 'between'"), 1)
        self.assertEqual(self.json("log")[0]["message"], "migrate down 1 tags")
        self.whole()

    def test_overlay_and_apply(self):
        self.two()
        self.migrate("sync")
        self.remove(2, "age")
        self.migration(2, "size", "ALTER TABLE users ADD COLUMN size;")
        done = self.migrate("sync")
        self.assertEqual((self.names_in(done["rolled_back"]), self.names_in(done["applied"]), done["by_overlay"]),
                         (["2 age"], ["2 size"], True))
        self.assertEqual([c["message"] for c in self.json("log")[:2]], ["migrate up 2 size", "migrate up 1 tags"])
        self.whole()

    def test_no_way_back(self):
        self.migration(1, "tags", "CREATE TABLE tags(a);")
        self.migration(2, "age", "ALTER TABLE users ADD COLUMN age;", "ALTER TABLE users DROP COLUMN age;")
        self.migrate("sync")
        self.sql("main", "INSERT INTO users(name) VALUES ('x')")
        self.bough("commit")
        self.assertIn("1 tags", self.untouched(4, "down", "2"))
        self.migrate("down")

    def test_another_table_is_another_history(self):
        self.migration(1, "tags", "CREATE TABLE tags(a);", "DROP TABLE tags;")
        self.migrate("sync", "--table", "mine")
        self.migration(1, "tags", "CREATE TABLE labels(a);", "DROP TABLE labels;")
        self.migrate("sync")
        done = self.migrate("down", "--table", "mine")
        self.assertFalse(done["by_overlay"])
        self.assertEqual(self.tables().replace("mine", ""), "bough_,labels,,orders,users")
        self.whole()

    def test_pruned_states_are_no_way_back(self):
        self.two()
        self.migrate("sync")
        self.bough("gc", "--undo-days", "0")
        self.fails(3, "migrate", "undo")
        done = self.migrate("down")  # the state before was a commit of the machine
        self.assertEqual((self.names_in(done["rolled_back"]), done["by_overlay"]), (["2 age"], False))
        self.whole()

    def test_redo(self):
        self.two()
        self.migrate("sync")
        self.migration(2, "age", "ALTER TABLE users ADD COLUMN years;", "ALTER TABLE users DROP COLUMN years;")
        self.assertEqual([m["state"] for m in self.migrate("status", status=1)["migrations"]], ["applied", "changed"])
        done = self.migrate("redo")
        self.assertEqual((self.names_in(done["rolled_back"]), self.names_in(done["applied"]), done["by_overlay"]),
                         (["2 age"], ["2 age"], True))
        self.assertEqual(self.value("main", "SELECT count(*) FROM pragma_table_info('users') WHERE name = 'years'"), 1)

    def test_to(self):
        self.two()
        self.assertEqual(self.names_in(self.migrate("to", "1")["applied"]), ["1 tags"])
        self.migrate("to", "2")
        done = self.migrate("to", "1")
        self.assertEqual((self.names_in(done["rolled_back"]), done["by_overlay"]), (["2 age"], True))
        self.untouched(3, "to", "7")

    # ---- undo ----

    def test_undo(self):
        self.two()
        self.assertIn("main", self.untouched(3, "undo"))
        self.sql("main", "INSERT INTO users(name) VALUES ('before')")
        states = [self.exported("main")]
        self.migrate("up", "1")
        states.append(self.exported("main"))
        self.migrate("up", "1")
        self.sql("main", "INSERT INTO users(name) VALUES ('after')")
        newest = self.exported("main")
        done = self.migrate("undo")
        self.assertEqual((self.names_in(done["rolled_back"]), done["applied"], done["by_overlay"], done["commit"]),
                         (["2 age"], [], True, self.head()))
        self.assertEqual(self.exported("main"), states[1])
        self.assertEqual(self.exported(self.json("log", "main", "--moves")[0]["before"]), newest)
        self.migrate("undo")  # the run before
        self.assertEqual(self.exported("main"), states[0])
        self.untouched(3, "undo")
        self.migrate("sync")
        self.migrate("undo")
        self.assertEqual(self.exported("main"), states[0])
        self.untouched(3, "undo")
        self.whole()

    def test_undo_of_a_rollback(self):
        self.two()
        self.migrate("sync")
        before = self.exported("main")
        self.migrate("down")
        done = self.migrate("undo")
        self.assertEqual((done["rolled_back"], self.names_in(done["applied"])), ([], ["2 age"]))
        self.assertEqual(self.exported("main"), before)

    def test_other_moves_are_no_runs(self):
        self.two()
        before = self.exported("main")
        self.migrate("sync")
        self.bough("reset", "main", "--to", "main~1")
        self.bough("import", self.path("shop.db"))
        self.migrate("undo")
        self.assertEqual(self.exported("main"), before)

    # ---- verdicts ----

    def test_foreign_keys(self):
        self.sql("main", "CREATE TABLE children(id INTEGER PRIMARY KEY, u REFERENCES users(id)); "
                         "INSERT INTO children VALUES (1, 1), (2, 9999)")
        self.bough("commit")
        self.migration(1, "cut", "DELETE FROM users WHERE id < 3;")
        message = self.untouched(8, "sync")
        self.assertIn("children row 1", message)
        self.assertNotIn("children row 2", message)  # it was so before
        self.sql("main", "DELETE FROM children WHERE id = 1")
        self.migrate("sync")

    def test_what_is_lost_is_said(self):
        self.sql("main", "CREATE VIEW v AS SELECT 1; CREATE TRIGGER t AFTER INSERT ON users BEGIN SELECT 1; END; "
                         "CREATE TABLE old(b); INSERT INTO old VALUES (1); CREATE TABLE moved(a); "
                         "INSERT INTO moved VALUES (1)")
        self.bough("commit")
        self.migration(1, "cut", "DELETE FROM orders WHERE id <= 50; DROP VIEW v; DROP TRIGGER t; DROP INDEX orders_user; "
                                 "DROP TABLE old; ALTER TABLE moved RENAME TO elsewhere;")
        self.assertIn("orders", self.untouched(4, "sync", "--strict"))
        said = self.bough("migrate", "sync").err.decode()
        for text in ("orders has 50 rows less", "view v is gone", "trigger t is gone", "index orders_user is gone",
                     "table old is gone, with 1 rows"):
            self.assertIn(text, said)
        self.assertNotIn("moved", said)
        self.assertNotIn("elsewhere", said)
        self.assertEqual(len(said.splitlines()), 5)
        self.assertTrue(self.migrate("down")["by_overlay"])  # without a word, since all is as it was
        self.assertEqual(self.value("main", "SELECT count(*) FROM orders"), 200)

    def test_full_text_tables_lose_no_rows(self):
        self.sql("main", "CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f VALUES ('a'), ('b'), ('c'); "
                         "INSERT INTO f SELECT 'x' FROM users")
        self.migration(1, "tidy", "INSERT INTO f(f) VALUES ('optimize');")
        self.assertEqual(self.bough("migrate", "sync", "--strict").err, b"")

    def test_integrity(self):
        self.sql("main", "CREATE TABLE c(a CHECK (a < 5)); INSERT INTO c VALUES (1)")
        self.bough("commit")
        self.migration(1, "bad", "PRAGMA ignore_check_constraints = 1; INSERT INTO c VALUES (9);")
        self.assertIn("integrity_check", self.untouched(8, "sync"))

    # ---- ephemeral ----

    def test_ephemeral(self):
        self.migration(1, "settings", "PRAGMA foreign_keys = ON;", head="-- ephemeral\n")
        done = self.migrate("sync")
        self.assertEqual(self.names_in(done["applied"]), ["1 settings"])
        self.assertEqual(self.json("log", "main", "--moves"), [])  # no run
        self.assertEqual(len(self.json("log")), 1)  # and no commit
        self.fails(3, "migrate", "undo")
        self.assertEqual(self.migrate("sync")["applied"], [])
        self.assertTrue(self.migrate("status")["in_step"])
        self.migration(2, "tags", "CREATE TABLE tags(a);")
        self.migration(3, "more", "PRAGMA cache_size = 100;", head="-- ephemeral\n")
        done = self.migrate("sync")
        self.assertEqual(self.names_in(done["applied"]), ["2 tags", "3 more"])
        self.assertTrue(self.migrate("down")["by_overlay"])
        self.migration(4, "wrong", "PRAGMA foreign_keys = ON; SELECT nothing;", head="-- ephemeral\n")
        self.fails(8, "migrate", "sync")

    def test_an_overlay_that_goes_leaves_ephemeral_ones_stored(self):
        self.migration(1, "tags", "CREATE TABLE tags(a);", "DROP TABLE tags;")
        self.migration(2, "settings", "PRAGMA cache_size = 10;", head="-- ephemeral\n")
        self.migrate("sync")
        for how in ("redo", "rename", "remove"):
            if how == "rename":
                self.migration(1, "labels", "CREATE TABLE labels(a);", "DROP TABLE labels;")
                self.remove(1, "tags")
            elif how == "remove":
                self.remove(1, "labels")
            done = self.migrate("redo" if how == "redo" else "sync")
            self.assertTrue(done["by_overlay"])
            self.assertEqual(self.names_in(done["applied"]), {"redo": ["1 tags"], "rename": ["1 labels"], "remove": []}[how])
            self.assertTrue(self.migrate("status")["in_step"], how)
            self.assertEqual(self.value("main", "SELECT count(*) FROM migrations WHERE name = 'settings'"), 1)

    def test_a_faulty_ephemeral_one_fails_the_run_as_a_whole(self):
        self.two()
        self.migration(9, "wrong", "PRAGMA synchronous = OFF; SELECT nothing;", head="-- ephemeral\n")
        message = self.untouched(8, "sync")
        self.assertIn("9_wrong.sql:3: ", message)
        self.assertIn("SELECT nothing", message)
        self.migration(9, "wrong", "CREATE TABLE half(a); INSERT INTO missing VALUES (1);", head="-- ephemeral\n")
        self.untouched(8, "sync")
        # What the run makes is there for it, and what a transaction does not let it do is no fault.
        self.migration(9, "wrong", "PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY; INSERT INTO tags VALUES (7); VACUUM;"
                                   " BEGIN; SELECT count(*) FROM tags; COMMIT;", head="-- ephemeral\n")
        self.assertEqual(self.names_in(self.migrate("sync")["applied"]), ["1 tags", "2 age", "9 wrong"])
        self.assertEqual(self.value("main", "SELECT count(*) FROM tags WHERE a = 7"), 1)
        self.migrate("sync")
        self.assertEqual(self.value("main", "SELECT count(*) FROM tags WHERE a = 7"), 2)
        # One that is stored already, and nothing else to do; one that goes wrong with what is rolled back.
        self.migration(9, "wrong", "INSERT INTO tags VALUES (7); SELECT nothing;", head="-- ephemeral\n")
        self.bough("migrate", "sync", status=8)
        self.assertEqual(self.value("main", "SELECT count(*) FROM tags WHERE a = 7"), 2)
        self.remove(1, "tags")
        self.remove(2, "age")
        self.remove(9, "wrong")
        self.migration(10, "other", "SELECT * FROM tags;", head="-- ephemeral\n")
        self.untouched(8, "sync")
        self.assertIn("tags", self.tables())

    def test_redo_of_a_changed_ephemeral_one(self):
        self.two()
        self.migration(3, "settings", "PRAGMA cache_size = 10;", head="-- ephemeral\n")
        self.migrate("sync")
        head, moves = self.head(), self.json("log", "main", "--moves")
        self.migration(3, "settings", "PRAGMA cache_size = 20;", head="-- ephemeral\n")
        self.assertEqual([m["state"] for m in self.migrate("status", status=1)["migrations"]],
                         ["applied", "applied", "changed"])
        would = self.migrate("redo", "--dry-run")
        self.assertEqual((would["rolled_back"], would["applied"]), ([], []))
        done = self.migrate("redo")
        self.assertEqual((done["rolled_back"], done["applied"], done["commit"]), ([], [], head))
        self.assertTrue(self.migrate("status")["in_step"])
        self.assertIn("= 20", self.value("main", "SELECT up FROM migrations WHERE name = 'settings'"))
        self.assertEqual((self.head(), self.json("log", "main", "--moves")), (head, moves))
        # With another changed one, both take their new text.
        self.migration(3, "settings", "PRAGMA cache_size = 30;", head="-- ephemeral\n")
        self.migration(2, "age", "ALTER TABLE users ADD COLUMN years;", "ALTER TABLE users DROP COLUMN years;")
        done = self.migrate("redo")
        self.assertEqual((self.names_in(done["rolled_back"]), self.names_in(done["applied"])), (["2 age"], ["2 age"]))
        self.assertTrue(self.migrate("status")["in_step"])
        # It becomes an ordinary one.
        self.migration(3, "settings", "CREATE TABLE settings(a);", "DROP TABLE settings;")
        done = self.migrate("redo")
        self.assertEqual((done["rolled_back"], self.names_in(done["applied"])), ([], ["3 settings"]))
        self.assertTrue(self.migrate("status")["in_step"])
        self.assertIn("settings", self.tables())
        self.assertEqual(self.names_in(self.migrate("down")["rolled_back"]), ["3 settings"])
        self.whole()

    # ---- what only the migrator wrote is nothing in the way ----

    def stored(self):
        return self.sql("main", "SELECT defined_at, name, applied_at, up, down FROM migrations ORDER BY 1")

    def test_ephemeral_ones_leave_the_way_back_open(self):
        self.migration(1, "tags", "CREATE TABLE tags(a); INSERT INTO tags VALUES (1);")  # no down
        self.migration(2, "wipe", "DELETE FROM orders WHERE id > 10;")
        before = self.sql("main", "SELECT * FROM orders")
        self.migrate("sync")
        self.migration(5, "settings", "PRAGMA cache_size = 10;", head="-- ephemeral\n")
        self.migrate("sync")
        self.assertTrue(self.branch("main")["dirty"])
        stored = self.stored()[0]
        done = self.migrate("down")
        self.assertEqual((self.names_in(done["rolled_back"]), done["by_overlay"]), (["2 wipe"], True))
        self.assertEqual(self.sql("main", "SELECT * FROM orders"), before)
        self.assertEqual(self.stored()[0], [stored[0], stored[2]])
        done = self.migrate("down")  # a commit of what is stored stands between
        self.assertEqual((self.names_in(done["rolled_back"]), done["by_overlay"]), (["1 tags"], True))
        self.assertEqual(self.tables(), "orders,users")
        self.assertEqual(self.stored()[0], [stored[2]])
        self.migrate("sync")
        self.migration(6, "more", "PRAGMA cache_size = 11;", head="-- ephemeral\n")
        self.migrate("sync")
        self.bough("commit", "main", "-m", "by a person")
        done = self.migrate("down", "2")
        self.assertEqual((self.names_in(done["rolled_back"]), done["by_overlay"]), (["2 wipe", "1 tags"], True))
        self.assertEqual([m["name"] for m in self.migrate("status", status=1)["migrations"] if m["applied_at"]],
                         ["settings", "more"])
        self.whole()

    def test_repair_leaves_the_way_back_open(self):
        self.two()
        self.migrate("sync")
        self.migration(1, "tags", "CREATE TABLE tags(a); INSERT INTO tags VALUES (1), (2), (3);", "DROP TABLE tags;")
        self.migrate("repair", "1")
        done = self.migrate("down")
        self.assertEqual((self.names_in(done["rolled_back"]), done["by_overlay"]), (["2 age"], True))
        self.assertIn("(3)", self.value("main", "SELECT up FROM migrations"))  # what was accepted stays so
        self.assertEqual([m["state"] for m in self.migrate("status", status=1)["migrations"]], ["applied", "pending"])
        self.migrate("up")
        self.migration(2, "age", "ALTER TABLE users ADD COLUMN age ;", "SELECT 'wrong';")
        self.migrate("repair", "2")
        before = self.exported("main~2")
        done = self.migrate("down")
        self.assertTrue(done["by_overlay"])
        self.assertEqual(self.exported("main"), before)
        self.whole()

    def test_whatever_else_was_written_closes_it(self):
        """Each by itself, beside what the migrator wrote."""
        self.sql("main", "CREATE TABLE auto(id INTEGER PRIMARY KEY AUTOINCREMENT, a); INSERT INTO auto(a) VALUES (1), (2); "
                         "CREATE TABLE keyed(k PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO keyed VALUES (1, 1); "
                         "CREATE TABLE big(a); INSERT INTO big VALUES (hex(zeroblob(20000)));"
                         "CREATE VIRTUAL TABLE words USING fts5(w); INSERT INTO words VALUES ('one'); ANALYZE")
        self.bough("commit")
        self.two()
        self.migrate("sync")
        self.migration(5, "settings", "PRAGMA cache_size = 10;", head="-- ephemeral\n")
        self.migrate("sync")
        self.bough("commit")
        start = self.head()
        for sql in ("INSERT INTO users(name) VALUES ('x')", "UPDATE orders SET total = 0 WHERE id = 7", "DELETE FROM tags",
                    "INSERT INTO auto(a) VALUES (3); DELETE FROM auto WHERE a = 3", "UPDATE sqlite_sequence SET seq = 50",
                    "UPDATE keyed SET v = 2", "UPDATE big SET a = substr(a, 1, 39999) || '1'",
                    "UPDATE big SET a = substr(a, 1, 30000) || '1' || substr(a, 30002)",
                    "INSERT INTO words VALUES ('two')", "CREATE TABLE more(a)", "CREATE INDEX more ON users(name)",
                    "CREATE VIEW v AS SELECT 1", "CREATE TRIGGER t AFTER INSERT ON users BEGIN SELECT 1; END",
                    "PRAGMA user_version = 5", "PRAGMA application_id = 6", "CREATE INDEX mine ON migrations(name)",
                    "UPDATE sqlite_stat1 SET stat = '9'", "DROP INDEX orders_user"):
            with self.subTest(sql=sql):
                self.sql("main", sql)
                done = self.migrate("down")
                self.assertEqual((self.names_in(done["rolled_back"]), done["by_overlay"]), (["2 age"], False))
                self.bough("reset", "main", "--to", start)
        self.assertTrue(self.migrate("down")["by_overlay"])
        self.whole()

    def test_violations_name_the_migration_that_brought_them(self):
        self.sql("main", "CREATE TABLE children(id INTEGER PRIMARY KEY, u REFERENCES users(id)); "
                         "CREATE TABLE keyed(k, l, u REFERENCES users(id), PRIMARY KEY (k, l)) WITHOUT ROWID; "
                         "INSERT INTO children SELECT id, id FROM users; INSERT INTO keyed SELECT id, 'k', id FROM users")
        self.bough("commit")
        self.migration(1, "fine", "CREATE TABLE fine(a);")
        self.migration(2, "cut", "DELETE FROM users WHERE id IN (3, 4); DELETE FROM keyed WHERE k = 4;")
        self.migration(3, "heals", "INSERT INTO users(id, name) VALUES (4, 'again');")
        self.migration(4, "cut_more", "DELETE FROM users WHERE id = 9; DELETE FROM keyed WHERE k = 9;")
        lines = self.untouched(8, "sync").splitlines()[1:]
        self.assertEqual([line.replace("migrations/", "") for line in lines],
                         ["2_cut.sql: children row 3 refers to no row of users",
                          "2_cut.sql: keyed row (3, 'k') refers to no row of users",
                          "4_cut_more.sql: children row 9 refers to no row of users"])
        failed = self.migrate("check", status=1)["failed"]
        self.assertEqual([(f["version"], f["step"]) for f in failed], [("2", "up")])
        for row in ("children row 3 ", "children row 4 ", "keyed row (3, 'k') "):
            self.assertIn(row, failed[0]["message"])

    # ---- check, adopt, dump ----

    def test_check(self):
        self.two()
        before = self.snapshot()
        self.assertEqual(self.migrate("check"), {"branch": "main", "ok": True, "failed": []})
        self.migration(3, "lossy", "DELETE FROM users WHERE id = 1; CREATE TABLE x(a);", "DROP TABLE x;")
        self.migration(4, "once", "CREATE TABLE y(a); INSERT INTO y VALUES (1);", "DROP TABLE y; CREATE TABLE x(a);")
        self.migration(5, "broken", "INSERT INTO nothing VALUES (1);")
        done = self.migrate("check", status=1)
        self.assertFalse(done["ok"])
        self.assertEqual([(f["version"], f["name"], f["step"]) for f in done["failed"]],
                         [("3", "lossy", "down"), ("4", "once", "down"), ("5", "broken", "up")])
        self.assertEqual(self.snapshot(), before)
        self.whole()

    def test_adopt(self):
        self.two()
        self.fails(3, "migrate", "adopt")
        self.sql("main", "CREATE TABLE schema_migrations(version VARCHAR(128) PRIMARY KEY); CREATE TABLE tags(a); "
                         "INSERT INTO schema_migrations VALUES ('1')")
        done = self.migrate("adopt")
        self.assertEqual((done["branch"], self.names_in(done["adopted"]), done["commit"]),
                         ("main", ["1 tags"], self.head()))
        self.assertEqual(self.names_in(self.migrate("sync")["applied"]), ["2 age"])
        self.assertEqual(self.value("main", "SELECT count(*) FROM schema_migrations"), 1)
        self.assertEqual(self.names_in(self.migrate("down", "2")["rolled_back"]), ["2 age", "1 tags"])
        self.whole()

    def test_dump(self):
        self.two()
        before = self.bough("migrate", "dump").text
        self.migrate("sync")
        after = self.bough("migrate", "dump").text
        self.assertIn("tags", after)
        self.assertNotIn("migrations", after)
        self.migrate("down", "2")
        self.assertEqual(self.bough("migrate", "dump").text, before)

    # ---- repair ----

    def test_repair(self):
        self.two()
        self.migrate("sync")
        self.migration(2, "age", "ALTER TABLE users ADD COLUMN years;", "SELECT 1;")
        done = self.migrate("repair", "2")
        self.assertEqual((done["branch"], done["commit"]), ("main", self.head()))
        self.assertTrue(self.migrate("status")["in_step"])
        self.assertTrue(self.json("log")[0]["automatic"])
        self.assertEqual(len(self.json("log", "main", "--moves")), 1)
        self.untouched(3, "repair", "7")

    # ---- others at the same time ----

    def connect(self, branch="main"):
        db = sqlite3.connect(":memory:")
        db.enable_load_extension(True)
        db.load_extension(SO)
        db.close()
        return sqlite3.connect(f"file:{self.path('shop.bough')}/db/{branch}?vfs=bough", uri=True, isolation_level=None,
                               timeout=60)

    def test_open_connections_follow(self):
        self.two()
        db = self.connect()
        self.assertEqual(db.execute("SELECT count(*) FROM users").fetchone(), (200,))
        self.migrate("sync")
        self.assertEqual(db.execute("SELECT count(*) FROM tags").fetchone(), (2,))
        db.execute("INSERT INTO users(name, age) VALUES ('x', 1)")
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM tags").fetchone()
        self.migrate("down", "2")
        self.assertEqual(db.execute("SELECT count(*) FROM tags").fetchone(), (2,))
        db.execute("COMMIT")
        with self.assertRaises(sqlite3.OperationalError):
            db.execute("SELECT count(*) FROM tags")
        db.close()

    def test_an_app_that_writes_all_the_time(self):
        """Every run ends, and no row that was acknowledged is lost or doubled."""
        acknowledged, stop, failures = [], threading.Event(), []

        def app():
            db = self.connect()
            n = 1000
            try:
                while not stop.is_set():
                    n += 1
                    for _ in range(100):
                        try:
                            db.execute("BEGIN IMMEDIATE")
                            db.execute("INSERT INTO users(id, name) VALUES (?, 'app')", (n,))
                            db.execute("COMMIT")
                            acknowledged.append(n)
                            break
                        except sqlite3.OperationalError as error:
                            if db.in_transaction:
                                db.execute("ROLLBACK")
                            if "locked" not in str(error) and "busy" not in str(error):
                                raise
                    else:
                        raise AssertionError("kept out")
                    time.sleep(0.002)
            except BaseException as error:
                failures.append(error)
            db.close()

        thread = threading.Thread(target=app)
        thread.start()
        try:
            for i in range(1, 7):
                self.migration(i, "step", f"CREATE TABLE step{i} AS SELECT * FROM users; "
                               "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) "
                               "SELECT sum(i) FROM n;", f"DROP TABLE step{i};")
                self.assertEqual(len(self.migrate("sync", "--timeout", "60")["applied"]), 1)
                if i % 3 == 0:
                    self.assertEqual(len(self.migrate("down", "--timeout", "60")["rolled_back"]), 1)
                    self.remove(i, "step")
        finally:
            stop.set()
            thread.join()
        self.assertEqual(failures, [])
        self.assertGreater(len(acknowledged), 10)
        rows = [row["id"] for row in self.sql("main", "SELECT id FROM users WHERE name = 'app' ORDER BY id")[0]]
        self.assertEqual(rows, acknowledged)
        self.whole()

    def test_two_migrators(self):
        for i in range(1, 6):
            self.migration(i, "step", f"CREATE TABLE step{i} AS SELECT * FROM users;", f"DROP TABLE step{i};")
        runs = [subprocess.Popen([support.BOUGH, "migrate", "sync", "--json", "--timeout", "60"], cwd=self.dir,
                                 env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                for _ in range(4)]
        results = [run.communicate() for run in runs]
        self.assertEqual([run.returncode for run in runs], [0] * 4, results)
        self.assertEqual(len([1 for c in self.json("log") if c["message"].startswith("migrate up")]), 5)
        self.assertEqual(self.tables(), "orders,step1,step2,step3,step4,step5,users")
        self.whole()

    # ---- death ----

    def test_killed_at_any_moment(self):
        """Old or new, never in between, and nothing is left behind."""
        generator = random.Random(int(os.environ.get("BOUGH_SEED", "20261122")))
        rounds = int(os.environ.get("BOUGH_TEST_KILLS", "25"))
        self.two()
        self.migration(3, "copy", "CREATE TABLE copy AS SELECT * FROM users; VACUUM;", "DROP TABLE copy;")
        self.sql("main", "INSERT INTO users(name) VALUES ('x')")
        old = self.exported("main")
        longest, outcomes = 600, set()  # the first one is left alone, and says how long it takes
        for number in range(rounds + 1):
            began = time.monotonic()
            run = subprocess.Popen([support.BOUGH, "migrate", "sync"], cwd=self.dir, env=self.environment(),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                run.wait(generator.uniform(0, longest) if number else longest)
                longest = 1.2 * (time.monotonic() - began)
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGKILL)
                run.wait()
            applied = [m["state"] for m in self.json("migrate", "status", status=self.status_of())["migrations"]]
            self.assertIn(applied, (["pending"] * 3, ["applied"] * 3))
            outcomes.add(applied[0])
            self.assertEqual(self.tables(), "copy,orders,tags,users" if applied[0] == "applied" else "orders,users")
            if applied[0] == "applied":
                self.migrate("undo")
            self.assertEqual(self.exported("main"), old)
            self.whole()
        self.assertEqual(outcomes, {"pending", "applied"})

    def status_of(self):
        """What migrate status exits with at the moment."""
        return subprocess.run([support.BOUGH, "migrate", "status"], cwd=self.dir, env=self.environment(),
                              capture_output=True).returncode


if __name__ == "__main__":
    support.main()
