"""What the tests of the program share: a temporary directory, calls of bough, checks of its documents."""
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

BOUGH = os.environ["BOUGH"]
BOUGH_SO = os.environ.get("BOUGH_SO", "")

BRANCH_KEYS = ["name", "current", "parent", "base", "head", "dirty", "protected", "created_at", "expires_at",
               "size_bytes", "own_bytes"]
ID = re.compile(r"^[0-9a-f]{64}$")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
CODES = {2: "usage", 3: "not_found", 4: "refused", 5: "busy", 6: "corrupt", 7: "io", 8: "sql"}


def counting(n):
    """The start of a statement that reads i from 1 to n."""
    return f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n}) "


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def text(self):
        return self.out.decode()


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="bough-cli-"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    # ---- running ----

    def environment(self, extra=None):
        env = {k: v for k, v in os.environ.items() if not k.startswith("BOUGH")}
        env.update(extra or {})
        return env

    def bough(self, *words, status=0, stdin=b"", cwd=None, env=None, **more):
        """Runs the program and checks its exit status; a failure says one thing, on stderr."""
        process = subprocess.run([BOUGH, *words], input=stdin, cwd=cwd or self.dir, env=self.environment(env),
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, **more)
        result = Result(process.returncode, process.stdout or b"", process.stderr)
        self.assertEqual(result.status, status, f"bough {' '.join(words)}\n{result.out!r}\n{result.err!r}")
        return result

    def json(self, *words, **more):
        """The document on stdout."""
        result = self.bough(*words, "--json", **more)
        self.assertTrue(result.out.endswith(b"\n"))
        self.assertEqual(result.out.count(b"\n"), 1, "one document on one line")
        return json.loads(result.out)

    def fails(self, status, *words, **more):
        """Fails with this status, both for people and as JSON. Returns the message."""
        plain = self.bough(*words, status=status, **more)
        self.assertTrue(plain.err.startswith(b"bough: "), plain.err)
        result = self.bough("--json", *words, status=status, **more)
        self.assertEqual(result.out, b"")
        document = json.loads(result.err)
        self.assertEqual(list(document), ["error"])
        self.assertEqual(list(document["error"]), ["code", "message"])
        self.assertEqual(document["error"]["code"], CODES[status])
        self.assertTrue(document["error"]["message"])
        return document["error"]["message"]

    # ---- stores ----

    def make_db(self, name="shop.db", rows=200, page_size=4096):
        path = self.path(name)
        db = sqlite3.connect(path)
        db.execute(f"PRAGMA page_size={page_size}")
        db.execute("CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT)")
        db.execute("CREATE TABLE orders(id INTEGER PRIMARY KEY, user_id INTEGER, total REAL)")
        db.execute("CREATE INDEX orders_user ON orders(user_id)")
        db.executemany("INSERT INTO users(name) VALUES (?)", [(f"user {i}",) for i in range(rows)])
        db.executemany("INSERT INTO orders(user_id, total) VALUES (?, ?)", [(i, i * 1.5) for i in range(rows)])
        db.commit()
        db.close()
        return path

    def make_store(self, **more):
        """shop.bough in the test's directory, of shop.db."""
        self.make_db(**more)
        return self.json("init", "shop.db")

    def sql(self, branch, text, **more):
        return self.json("sql", branch, text, **more)

    def value(self, branch, text):
        rows = self.sql(branch, text)[0]
        return list(rows[0].values())[0]

    def branches(self, **more):
        return self.json("branch", **more)

    def names(self):
        return [b["name"] for b in self.branches()]

    def branch(self, name):
        return {b["name"]: b for b in self.branches()}[name]

    def snapshot(self):
        """What the store says about itself; equal before and after a command that failed."""
        return [self.branches(), self.json("tag"), [self.json("log", b["name"]) for b in self.branches()],
                [self.sql(b["name"], "SELECT count(*), sum(id) FROM users") for b in self.branches()]]

    # ---- checks ----

    def check_id(self, text):
        self.assertRegex(text, ID)

    def check_time(self, text):
        self.assertRegex(text, TIME)

    def check_branch(self, branch, keys=()):
        self.assertEqual(list(branch), BRANCH_KEYS + list(keys))
        for key in ("current", "dirty", "protected"):
            self.assertIsInstance(branch[key], bool)
        for key in ("size_bytes", "own_bytes"):
            self.assertIsInstance(branch[key], int)
        self.check_id(branch["head"])
        if branch["base"] is not None:
            self.check_id(branch["base"])
        self.check_time(branch["created_at"])
        if branch["expires_at"] is not None:
            self.check_time(branch["expires_at"])


def main():
    unittest.main(verbosity=1)
