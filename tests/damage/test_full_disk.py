"""A disk that fills up at every step of the work: each command fails with exit status 7 and leaves the old state, and
works again when there is room. Uses a small tmpfs; without the right to mount one, a limit on the size of files.
"""
import hashlib
import os
import resource
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

BOUGH = os.environ["BOUGH"]


class FullDisk(unittest.TestCase):
    def setUp(self):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="bough-full-"))
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.disk = os.path.join(self.dir, "disk")
        os.mkdir(self.disk)
        self.mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "bough-test", self.disk],
                                      capture_output=True).returncode == 0
        if not self.mounted:
            self.skipTest("no right to mount a file system")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk])
        path = os.path.join(self.disk, "shop.db")
        db = sqlite3.connect(path)
        db.executescript("""
            CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB);
            WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 2000)
                INSERT INTO t SELECT i, randomblob(1000) FROM c;
        """)
        db.close()
        self.path = path
        self.store = os.path.join(self.disk, "shop.bough")

    def bough(self, *words, env=None):
        return subprocess.run([BOUGH, "-s", self.store, *words], capture_output=True, text=True, timeout=120)

    def leave(self, free_bytes):
        """Fills the disk but for so many bytes."""
        ballast = os.path.join(self.disk, "ballast")
        if os.path.exists(ballast):
            os.remove(ballast)
        stat = os.statvfs(self.disk)
        size = stat.f_bavail * stat.f_frsize - free_bytes
        with open(ballast, "wb") as file:
            file.write(bytes(max(0, size)))

    def digest(self, branch):
        done = subprocess.run([BOUGH, "-s", self.store, "export", branch, os.path.join(self.dir, "out.db"), "--force"],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(self.dir, "out.db"), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def test_init(self):
        for free in (0, 4096, 65536, 1 << 20):
            self.leave(free)
            done = subprocess.run([BOUGH, "init", self.path], capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, 7, done.stderr)
            self.assertFalse(os.path.exists(self.store), "half a store")
            self.assertEqual([n for n in os.listdir(self.disk) if n not in ("shop.db", "ballast")], [])
        self.leave(12 << 20)
        self.assertEqual(subprocess.run([BOUGH, "init", self.path], capture_output=True).returncode, 0)

    def test_work(self):
        self.assertEqual(subprocess.run([BOUGH, "init", self.path], capture_output=True).returncode, 0)
        self.assertEqual(self.bough("branch", "b").returncode, 0)
        self.assertEqual(self.bough("sql", "b", "UPDATE t SET v = randomblob(900) WHERE id % 10 = 0").returncode, 0)
        before = self.digest("b")
        refused = 0
        for free in list(range(0, 200 << 10, 12 << 10)) + [400 << 10, 1 << 20]:
            self.leave(free)
            done = self.bough("sql", "b", "UPDATE t SET v = randomblob(1000)")
            self.assertIn(done.returncode, (0, 7), done.stderr)
            if done.returncode == 7:
                refused += 1
                self.assertEqual(self.digest("b"), before, f"{free} bytes free: a failed transaction left something")
            else:
                before = self.digest("b")
            fork = self.bough("branch", f"fork-{free}", "b")
            self.assertIn(fork.returncode, (0, 7), fork.stderr)
            if fork.returncode == 0:
                self.assertEqual(self.digest(f"fork-{free}"), before)
            self.assertEqual(self.digest("b"), before)
        self.assertGreater(refused, 5)
        self.leave(8 << 20)
        self.assertEqual(self.bough("verify").returncode, 0)
        done = self.bough("sql", "b", "UPDATE t SET v = randomblob(1000) WHERE id < 500; PRAGMA integrity_check")
        self.assertEqual((done.returncode, done.stdout.split()[-1]), (0, "ok"), done.stderr)

    def test_import_and_export(self):
        self.assertEqual(subprocess.run([BOUGH, "init", self.path], capture_output=True).returncode, 0)
        other = os.path.join(self.dir, "other.db")
        shutil.copy(self.path, other)
        db = sqlite3.connect(other)
        db.execute("UPDATE t SET v = randomblob(1000)")
        db.commit()
        db.close()
        before = self.digest("main")
        for free in (0, 16 << 10, 1 << 20):
            self.leave(free)
            done = self.bough("import", other)
            self.assertEqual(done.returncode, 7, done.stderr)
            self.assertEqual(self.digest("main"), before)
            target = os.path.join(self.disk, "export.db")
            done = self.bough("export", "main", target)
            self.assertEqual(done.returncode, 7, done.stderr)
            self.assertEqual([n for n in os.listdir(self.disk) if "export" in n], [])
        self.leave(6 << 20)
        self.assertEqual(self.bough("import", other).returncode, 0)


if __name__ == "__main__":
    unittest.main()
