"""bough-dump: the facts of a small store, file by file, and what it says of damage."""
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

BOUGH = os.environ["BOUGH"]
SO = os.environ["BOUGH_SO"]
DUMP = os.path.join(os.environ["BOUGH_BUILD"], "bin", "bough-dump")
PAGES = 200


class Dump(unittest.TestCase):
    def setUp(self):
        self.directory = os.path.realpath(tempfile.mkdtemp(prefix="bough-dump-"))
        self.addCleanup(shutil.rmtree, self.directory)
        database = os.path.join(self.directory, "shop.db")
        db = sqlite3.connect(database)
        db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        db.executemany("INSERT INTO t VALUES(?, randomblob(3000))", [(i,) for i in range(1, PAGES)])
        db.commit()
        db.close()
        self.size = os.path.getsize(database)
        self.store = os.path.join(self.directory, "shop.bough")
        self.bough("init", database)
        self.bough("branch", "premium")
        for i in range(3):
            self.bough("sql", "premium", f"UPDATE t SET b = {i} WHERE a = {i + 10}")
        self.bough("commit", "premium", "-m", "three rows")
        self.bough("tag", "v1", "premium")

    def bough(self, *arguments):
        done = subprocess.run([BOUGH, *arguments], cwd=self.directory, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def path(self, name):
        return os.path.join(self.store, name)

    def dump(self, *arguments, status=0):
        """The dump of the last argument, a file of the store."""
        *options, name = arguments
        done = subprocess.run([DUMP, *options, self.path(name)], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertEqual("damaged: " in done.stdout, status == 6, done.stdout)
        return done.stdout

    def flip(self, name, offset):
        """Turns one bit over; again with the same arguments turns it back."""
        with open(self.path(name), "r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 4]))

    def assert_detects(self, name, offset, expected, *options):
        self.flip(name, offset)
        try:
            self.assertRegex(self.dump(*options, name, status=6), "damaged: .*" + expected)
        finally:
            self.flip(name, offset)

    def test_identity_file(self):
        with open(self.path("db"), "rb") as file:
            uuid = file.read(48)[32:]
        text = self.dump("db")
        self.assertIn(uuid.hex(), re.search(r"store +(\S+)", text)[1].replace("-", ""))
        for offset in (0, 16, 20, 32, 48):
            self.assert_detects("db", offset, "db")

    def test_catalog(self):
        text = self.dump("catalog.db")
        self.assertIn("sqlite3", text)
        self.assertRegex(text, r"branch \d+ main: layer 2\b")
        self.assertRegex(text, r"branch \d+ premium: layer 3, head [0-9a-f]{12} sealing transaction 3, parent")
        self.assertEqual(len(re.findall(r"  commit ", text)), 2)
        self.assertIn("tag v1: commit", text)
        db = sqlite3.connect(self.path("catalog.db"))
        db.execute("UPDATE branches SET layer = 77 WHERE name = 'premium'")
        db.commit()
        db.close()
        self.assertRegex(self.dump("catalog.db", status=6), "damaged: .*branch 3")

    def test_layer_of_an_import(self):
        text = self.dump("layers/1.layer")
        self.assertIn("layer file, %d bytes" % os.path.getsize(self.path("layers/1.layer")), text)
        self.assertIn("begun         by an import", text)
        self.assertIn("blocks        4096 bytes", text)

    def test_layer_of_a_branch(self):
        text = self.dump("layers/3.layer")
        self.assertIn("branch        premium", text)
        self.assertEqual([int(n) for n in re.findall(r"^  transaction (\d+):", text, re.M)], [1, 2, 3])
        self.assertIn(f"database of {self.size} bytes", text)
        self.assertRegex(text, r"slot A[12] counts")
        self.assertIn("3 durable", text)
        pages = self.dump("--pages", "layers/3.layer")
        self.assertGreaterEqual(pages.count(", ok\n"), PAGES + 2)
        self.assertIn(f"  block {self.size // 4096 - 1}: layer 1, frame ", pages)

    def test_hex_shows_the_bytes(self):
        text = self.dump("--hex", "layers/3.layer")
        with open(self.path("layers/3.layer"), "rb") as file:
            start = file.read(16)
        self.assertIn("00000000   " + start[:8].hex(" ") + "  " + start[8:].hex(" ") + "  |bough layer 1...|", text)
        self.assertIn("|BLR1", text)

    def test_damaged_layer(self):
        for offset in (0, 16, 24, 82, 504):
            with self.subTest("identity", offset=offset):
                self.assert_detects("layers/3.layer", offset, "layers/3.layer")
        for name, start in (("A1", 1024), ("A2", 4096)):
            for offset in (0, 24, 80, 504):
                with self.subTest("slot", name=name, offset=offset):
                    self.assert_detects("layers/3.layer", start + offset, f"slot {name} ")
        text = self.dump("layers/3.layer")
        for offset in [int(n) for n in re.findall(r"bytes at (\d+)", text)]:
            with self.subTest("record", offset=offset):
                self.assert_detects("layers/3.layer", offset + 20, "the log ends before")
        self.assert_detects("layers/3.layer", 16384 + 50, "block", "--pages")

    def test_damage_leaves_the_rest_readable(self):
        self.flip("layers/3.layer", 30)
        text = self.dump("--pages", "layers/3.layer", status=6)
        self.assertEqual(len(re.findall(r"^  transaction \d+:", text, re.M)), 3)
        self.assertIn("pages of the tree", text)

    def test_truncated_files(self):
        for name in ("db", "layers/3.layer", "nodes/1.nodes"):
            for size in (0, 7, 600):
                with open(self.path(name), "rb") as file:
                    whole = file.read()
                if size >= len(whole):
                    continue
                with self.subTest(name, size=size):
                    os.truncate(self.path(name), size)
                    self.dump("--pages", "--hex", name, status=6)
                with open(self.path(name), "wb") as file:
                    file.write(whole)

    def test_noise(self):
        """Whatever the bytes are, it ends with a line about damage."""
        for name in ("db", "layers/3.layer", "nodes/1.nodes"):
            with open(self.path(name), "rb") as file:
                whole = file.read()
            with open(self.path(name), "wb") as file:
                file.write(os.urandom(len(whole)))
            self.dump("--pages", name, status=6)
            with open(self.path(name), "wb") as file:
                file.write(whole)

    def test_node_file(self):
        text = self.dump("--pages", "nodes/1.nodes")
        nodes = re.findall(r"^node (\d+): level (\d), (\d+) (?:pages|children), checksum ok", text, re.M)
        self.assertEqual(len(nodes), os.path.getsize(self.path("nodes/1.nodes")) // 4096 - 1)
        self.assertEqual({level for _, level, _ in nodes}, {"1", "2"})
        self.assertRegex(text, r"\n     0: layer \d+, frame \d+, birth \d+, sum [0-9a-f]{16}, digest [0-9a-f]{64}\n")
        self.assertRegex(text, r"\n     0: node 1:\d+, digest [0-9a-f]{64}\n")
        for offset in (0, 16, 28, 32, 40):
            self.assert_detects("nodes/1.nodes", offset, "header")
        for offset in (0, 8, 20, 24, 28, 32, 100, 300, 4000):
            self.assert_detects("nodes/1.nodes", 4096 + offset, "node 1 ")
        with open(self.path("nodes/1.nodes"), "ab") as file:
            file.write(b"half a node")
        self.assertIn("11 bytes of a node that was never finished", self.dump("nodes/1.nodes"))

    def test_shared_memory(self):
        script = f"""
import sqlite3, sys
db = sqlite3.connect(':memory:')
db.enable_load_extension(True)
db.load_extension({SO!r})
branch = sqlite3.connect('file:{self.path("db/premium")}?vfs=bough', uri=True, isolation_level=None)
branch.execute('BEGIN IMMEDIATE')
print('ready', flush=True)
sys.stdin.readline()
branch.execute('COMMIT')
branch.close()
"""
        user = subprocess.Popen(["/usr/bin/python3", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertEqual(user.stdout.readline(), "ready\n")
        text = self.dump("run/3.shm")
        user.communicate("\n")
        self.assertIn("published     transaction 3 of generation 1", text)
        self.assertIn(f"database      {self.size} bytes in blocks of 4096", text)
        self.assertRegex(text, r"writer +in\n")
        self.assertIn(f"open by       {user.pid}\n", text)
        self.assertEqual(user.returncode, 0)
        with open(self.path("run/3.shm"), "wb") as file:
            file.write(os.urandom(4096))
        self.dump("run/3.shm", status=6)

    def test_decisions(self):
        other = f"file:{self.path('db/premium')}?vfs=bough"
        self.assertFalse(os.path.exists(self.path("decisions")))
        self.bough("sql", "main", f"ATTACH '{other}' AS o; BEGIN; UPDATE main.t SET b = 1; UPDATE o.t SET b = 1; COMMIT")
        text = self.dump("decisions")
        self.assertIn("decisions, 128 slots", text)
        identity = re.search(r"slot 0: ([0-9a-f]{32}) committed, 2 members: layer 2 transaction 1, layer 3 transaction 4\n", text)[1]
        with open(self.path("decisions"), "rb") as file:
            self.assertEqual(file.read(512)[496:].hex(), identity)
        text = self.dump("layers/3.layer")
        self.assertRegex(text, rf"  prepared transaction 4: .* decision {identity} in slot 0, sum")
        self.assertIn("with transaction 4", text)
        self.flip("decisions", 20)
        self.assertIn("slot 0: never finished", self.dump("decisions"))

    def test_wrong_use(self):
        def status(*arguments):
            return subprocess.run([DUMP, *arguments], capture_output=True).returncode

        self.assertEqual(status(), 2)
        self.assertEqual(status("--wrong", self.path("db")), 2)
        self.assertEqual(status(os.path.join(self.directory, "shop.db")), 2)
        self.assertEqual(status(self.path("layers/99.layer")), 3)
        self.assertEqual(status(os.path.join(self.directory, "db")), 3)
        self.assertEqual(status("--help"), 0)


if __name__ == "__main__":
    unittest.main()
