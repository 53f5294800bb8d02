"""The programs in docs/examples, built and run as their readers would."""
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest

BOUGH = os.environ["BOUGH"]
SO = os.environ["BOUGH_SO"]
EXAMPLES = os.path.join(os.environ["BOUGH_SOURCE"], "docs", "examples")
OPEN_BRANCH = os.path.join(os.environ["BOUGH_BUILD"], "tests", "open_branch")


class Examples(unittest.TestCase):
    def setUp(self):
        self.directory = os.path.realpath(tempfile.mkdtemp(prefix="bough-examples-"))
        self.addCleanup(shutil.rmtree, self.directory)
        db = sqlite3.connect(os.path.join(self.directory, "shop.db"))
        db.execute("CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT)")
        db.commit()
        db.close()
        self.run_program(BOUGH, "init", "shop.db")

    def run_program(self, *arguments):
        done = subprocess.run(arguments, cwd=self.directory, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout.splitlines()

    def test_c(self):
        lines = self.run_program(OPEN_BRANCH, "shop.bough", "experiment")
        self.assertRegex(lines[0], "^forked experiment from main at [0-9a-f]{12}$")
        self.assertRegex(lines[1], "^committed [0-9a-f]{12}$")
        self.assertEqual(lines[2], "1 pages changed, 1 added")
        self.assertEqual(self.run_program(BOUGH, "sql", "experiment", "SELECT * FROM note"), ["written from C"])
        self.assertIn("a note", self.run_program(BOUGH, "log", "experiment", "-n", "1")[1])
        self.assertEqual(self.run_program(BOUGH, "sql", "main", "SELECT count(*) FROM sqlite_schema"), ["1"])
        again = subprocess.run([OPEN_BRANCH, "shop.bough", "experiment"], cwd=self.directory, capture_output=True, text=True)
        self.assertEqual(again.returncode, 1)
        self.assertIn("BOUGH_REFUSED: ", again.stderr)

    def test_python(self):
        self.run_program(BOUGH, "branch", "premium")
        lines = self.run_program(sys.executable, os.path.join(EXAMPLES, "open_branch.py"), SO, "shop.bough", "premium")
        self.assertEqual(lines, ["[('written from Python',)]", "0 at the last commit"])
        self.assertEqual(self.run_program(BOUGH, "sql", "premium", "SELECT * FROM note"), ["written from Python"])


if __name__ == "__main__":
    unittest.main()
