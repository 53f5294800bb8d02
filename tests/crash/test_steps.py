"""Commands that are killed at each of their system calls on the files of the store: a run of the migrator in all its
ways, and try --keep. Whatever command comes next sees the old state or the new one, no hidden branch is left, nothing
is damaged, and the same command, given once more, ends where it would have.

The calls are counted in a run that lives (killer.c). Then each of them, or each BOUGH_KILL_EVERY-th, is the last one of
a process on a fresh copy of the store; a write is cut in two every other time.
"""
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import unittest

BOUGH = os.environ["BOUGH"]
KILLER = os.path.join(os.environ["BOUGH_BUILD"], "tests", "killer.so")
EVERY = int(os.environ.get("BOUGH_KILL_EVERY", "9"))
SEED = int(os.environ.get("BOUGH_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 30)

# What the database holds; when something was applied is nobody's affair.
CONTENT = ("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2", "SELECT * FROM users", "SELECT * FROM orders",
           "PRAGMA user_version")
STORED = ("SELECT defined_at, name, up, down FROM migrations ORDER BY 1",
          "SELECT defined_at, version, ordinal, flags, exact FROM bough_migrations ORDER BY 1")


class Steps(unittest.TestCase):
    def setUp(self):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="bough-steps-"))
        self.addCleanup(shutil.rmtree, self.dir, True)
        os.mkdir(self.path("migrations"))
        db = sqlite3.connect(self.path("shop.db"))
        db.executescript("CREATE TABLE users(id INTEGER PRIMARY KEY, name); "
                         "CREATE TABLE orders(id INTEGER PRIMARY KEY, x); "
                         "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) "
                         "INSERT INTO users SELECT i, 'user ' || i FROM n; INSERT INTO orders SELECT id, 5 FROM users;")
        db.close()
        self.bough("init", "shop.db")

    # ---- helpers ----

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def environment(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("BOUGH")}
        env.update(more)
        return env

    def run_it(self, *words, **more):
        env = self.environment(**more)
        if more:
            env["LD_PRELOAD"] = " ".join(filter(None, [env.get("LD_PRELOAD", ""), KILLER]))
            env["BOUGH_KILL_UNDER"] = self.path("shop.bough")
        return subprocess.run([BOUGH, *words], cwd=self.dir, env=env, capture_output=True, timeout=120)

    def bough(self, *words, statuses=(0,)):
        done = self.run_it(*words)
        self.assertIn(done.returncode, statuses, f"{words}\n{done.stdout!r}\n{done.stderr!r}")
        return done.stdout

    def migration(self, version, name, up, down=None, head=""):
        with open(self.path("migrations", f"{version}_{name}.sql"), "w") as file:
            file.write(head + "-- migrate:up" + (" transaction:false" if "VACUUM" in up else "") + f"\n{up}\n")
            if down is not None:
                file.write(f"-- migrate:down\n{down}\n")

    def three(self):
        self.migration(1, "tags", "CREATE TABLE tags(a); INSERT INTO tags SELECT name FROM users;", "DROP TABLE tags;")
        self.migration(2, "tidy", "DELETE FROM orders WHERE id % 2; VACUUM;",
                       "INSERT INTO orders SELECT id, 5 FROM users WHERE id % 2;")
        self.migration(3, "age", "ALTER TABLE users ADD COLUMN age; UPDATE users SET age = id;",
                       "ALTER TABLE users DROP COLUMN age;")
        self.migration(4, "settings", "PRAGMA cache_size = 50;", head="-- ephemeral\n")

    def content(self, branch):
        """Rows and schema as text; what the migrator stores only where it has stored something."""
        parts = list(CONTENT)
        if b'"bough_migrations"' in self.bough("sql", branch, "SELECT name FROM sqlite_schema", "--json"):
            parts += STORED
        return self.bough("sql", branch, "; ".join(parts), "--json")

    def state(self):
        """All that a person can see of the store, but for ids and times."""
        branches = json.loads(self.bough("branch", "--json"))
        moves = json.loads(self.bough("log", "main", "--moves", "--json"))
        return ([(b["name"], b["parent"], b["dirty"], self.content(b["name"])) for b in branches],
                [c["message"] for c in json.loads(self.bough("log", "main", "--json"))], len(moves))

    def check_whole(self):
        self.assertTrue(json.loads(self.bough("verify", "--json", statuses=(0, 6)))["ok"])
        db = sqlite3.connect(self.path("shop.bough", "catalog.db"))
        self.assertEqual(db.execute("SELECT name FROM branches WHERE name LIKE '.%'").fetchall(), [])
        db.close()

    def put_back(self):
        shutil.rmtree(self.path("shop.bough"))
        shutil.copytree(self.path("template"), self.path("shop.bough"))

    def count_calls(self, words):
        done = self.run_it(*words, BOUGH_KILL_COUNT=self.path("count"))
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.path("count")) as file:
            return int(file.read())

    def kill_everywhere(self, *words, between=()):
        """between: what may be seen besides the old and the new state, by the name of a part of the state."""
        os.rename(self.path("shop.bough"), self.path("template"))
        shutil.copytree(self.path("template"), self.path("shop.bough"))
        old = self.state()
        calls = self.count_calls(words)
        new = self.state()
        self.assertNotEqual(old, new)
        self.assertGreater(calls, 10)
        seen = set()
        for at in range(1 + random.Random(SEED).randrange(min(EVERY, calls)), calls + 1, EVERY):
            self.put_back()
            done = self.run_it(*words, BOUGH_KILL_AT=str(at), BOUGH_KILL_TORN=str(at // EVERY % 2))
            if done.returncode == 0:
                continue  # a call less than the time before: waiting for others makes some
            with self.subTest(words=words, at=at, seed=SEED):
                self.assertEqual(done.returncode, -signal.SIGKILL, done.stderr)
                now = self.state()
                self.assertIn(now, (old, new) + tuple(make(old, new) for make in between))
                seen.add(now == new)
                self.check_whole()
                if now == old:
                    self.bough(*words)
                    self.assertEqual(self.state(), new)
                    self.check_whole()
        if EVERY == 1:
            self.assertEqual(seen, {False, True})

    # ---- the migrator ----

    def test_forwards(self):
        self.three()
        self.kill_everywhere("migrate", "sync")

    def test_forwards_from_what_is_not_committed(self):
        self.three()
        self.bough("sql", "main", "INSERT INTO users VALUES (1000, 'not committed')")
        self.kill_everywhere("migrate", "sync")

    def test_back_by_overlay(self):
        self.three()
        self.bough("migrate", "sync")
        self.kill_everywhere("migrate", "down", "2")

    def test_back_by_overlay_with_something_to_carry(self):
        self.three()
        self.bough("migrate", "sync")
        self.migration(5, "more", "PRAGMA cache_size = 60;", head="-- ephemeral\n")
        self.bough("migrate", "sync")
        self.kill_everywhere("migrate", "down")

    def test_back_by_sql(self):
        self.three()
        self.bough("migrate", "sync")
        self.bough("sql", "main", "INSERT INTO users VALUES (1000, 'after', 1)")
        self.kill_everywhere("migrate", "down", "3")

    def test_redo(self):
        self.three()
        self.bough("migrate", "sync")
        self.migration(2, "tidy", "DELETE FROM orders WHERE id % 3; VACUUM;", "SELECT 1;")
        self.kill_everywhere("migrate", "redo")

    def test_undo(self):
        self.three()
        self.bough("migrate", "sync")
        self.bough("sql", "main", "INSERT INTO users VALUES (1000, 'after', 1)")
        self.kill_everywhere("migrate", "undo")

    def test_an_ephemeral_one_alone(self):
        self.three()
        self.bough("migrate", "sync")
        self.migration(5, "more", "PRAGMA cache_size = 60;", head="-- ephemeral\n")
        self.kill_everywhere("migrate", "sync")

    def test_repair(self):
        """A transaction and then a commit of it."""
        self.three()
        self.bough("migrate", "sync")
        self.migration(3, "age", "ALTER TABLE users ADD COLUMN age;", "ALTER TABLE users DROP COLUMN age;")

        def not_committed(old, new):
            return [(*branch[:2], True, *branch[3:]) for branch in new[0]], old[1], new[2]

        self.kill_everywhere("migrate", "repair", "3", between=[not_committed])

    # ---- try ----

    def test_try_keep(self):
        for name in ("a", "b", "c"):
            with open(self.path(f"{name}.sql"), "w") as file:
                file.write(f"CREATE TABLE {name}(x); INSERT INTO {name} SELECT id FROM users; PRAGMA user_version = 7;")
        self.kill_everywhere("try", "a.sql", "b.sql", "c.sql", "--keep", "--jobs", "1")


if __name__ == "__main__":
    unittest.main()
