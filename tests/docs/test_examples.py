"""The programs in docs/examples, built and run as their readers would."""
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest

BOUGH = os.environ["BOUGH"]
SO = os.environ["BOUGH_SO"]
EXAMPLES = os.path.join(os.environ["BOUGH_SOURCE"], "docs", "examples")
OPEN_BRANCH = os.path.join(os.environ["BOUGH_BUILD"], "tests", "example_open_branch")
MIGRATE = os.path.join(os.environ["BOUGH_BUILD"], "tests", "example_migrate")


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

    def test_migrate(self):
        users, posts, keys = "20250314010000 users", "20250315010000 posts", "20250316010000 foreign keys"
        self.assertEqual(self.run_program(MIGRATE, "app.db", "2"), [f"applied {users}", f"applied {posts}"])
        self.assertEqual(self.run_program(MIGRATE, "app.db", "1"), [f"rolled back {posts}"])
        self.assertEqual(self.run_program(MIGRATE, "app.db", "3"), [f"applied {posts}", f"applied {keys}"])
        self.assertEqual(self.run_program(MIGRATE, "app.db", "3"), [])

    def test_python(self):
        self.run_program(BOUGH, "branch", "premium")
        lines = self.run_program(sys.executable, os.path.join(EXAMPLES, "open_branch.py"), SO, "shop.bough", "premium")
        self.assertEqual(lines, ["[('written from Python',)]", "0 at the last commit"])
        self.assertEqual(self.run_program(BOUGH, "sql", "premium", "SELECT * FROM note"), ["written from Python"])

    def test_readme(self):
        with open(os.path.join(os.environ["BOUGH_SOURCE"], "README.md"), encoding="utf-8") as file:
            readme = file.read().replace("build/release/lib/bough.so", SO)
        shutil.rmtree(os.path.join(self.directory, "shop.bough"))
        commands = re.findall(r"^    bough (.*)$", readme, re.M)
        self.assertEqual([command.split()[0] for command in commands], ["init", "branch", "sql", "diff", "delete"])
        for command in commands[:-1]:
            self.run_program(BOUGH, *shlex.split(command, comments=True))
        snippet = re.search(r"```python\n(.*?)```", readme, re.S)[1]
        columns = "print([column[1] for column in db.execute('PRAGMA table_info(users)')])"
        self.assertEqual(self.run_program(sys.executable, "-c", snippet + columns), ["['id', 'name', 'is_premium']"])
        shell = "".join(line + "\n" for line in re.findall(r"sqlite> (.*)", readme)) + "SELECT count(is_premium) FROM users;\n"
        done = subprocess.run(["/usr/bin/sqlite3", "-batch", "-bail"], input=shell, cwd=self.directory, capture_output=True,
                              text=True)
        self.assertEqual((done.stdout, done.stderr), ("0\n", ""))
        self.run_program(BOUGH, *shlex.split(commands[-1], comments=True))


if __name__ == "__main__":
    unittest.main()
