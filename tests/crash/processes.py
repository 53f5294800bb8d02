"""What the tests with several processes share: connections to a branch, a store in a directory that goes away, the
program.
"""
import os
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

BOUGH = os.environ["BOUGH"]
BOUGH_SO = os.environ["BOUGH_SO"]


def connect(uri):
    loader = sqlite3.connect(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(BOUGH_SO)
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=60)


class StoreTest(unittest.TestCase):
    """self.store is made of a database that SCHEMA describes."""
    SCHEMA = ""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="bough-processes-")
        if not os.environ.get("BOUGH_KEEP"):
            self.addCleanup(shutil.rmtree, self.dir, True)
        path = os.path.join(self.dir, "shop.db")
        db = sqlite3.connect(path)
        db.executescript(self.SCHEMA)
        db.close()
        self.store = os.path.join(self.dir, "shop.bough")
        self.run_program("init", path)
        self.uri = self.uri_of("main")

    def uri_of(self, branch):
        return "file:%s/db/%s?vfs=bough" % (self.store, branch)

    PATIENCE = 120  # seconds for a command

    def run_program(self, *words):
        done = subprocess.run([BOUGH, *words], capture_output=True, text=True, timeout=self.PATIENCE)
        self.assertEqual(done.returncode, 0, "%s: %s%s" % (words, done.stdout, done.stderr))
        return done.stdout

    def bough(self, *words):
        return self.run_program("-s", self.store, *words)

    def assert_whole(self, db):
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchone()[0], "ok")
