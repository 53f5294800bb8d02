"""The end of the catalog's WAL: whatever rots in its last transaction, no command goes on with the state before it.

SQLite takes a WAL whose last frames fail their checksums for one that a crash cut off, and drops them without a word.
"""
import os
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

BOUGH = os.environ["BOUGH"]
EVERY = int(os.environ.get("BOUGH_DAMAGE_EVERY", "1"))
HEADER, FRAME, PAGE = 32, 24, 1024
OPERATIONS = {
    "tag": [("tag", "v2", "main")],
    "untag": [("tag", "-d", "v1")],
    "protect": [("protect", "spare")],
    "rename": [("rename", "spare", "other")],
    "switch": [("switch", "spare")],
    "branch": [("branch", "new", "main")],
    "delete": [("delete", "spare")],
    "commit": [("sql", "spare", "INSERT INTO t VALUES(2)"), ("commit", "spare")],
}


def frames_of(wal):
    """Offsets of the frames that count, and for each whether it ends a transaction."""
    found = []
    at = HEADER
    while at + FRAME + PAGE <= len(wal) and wal[at + 8:at + 16] == wal[16:24]:
        found.append((at, wal[at + 4:at + 8] != bytes(4)))
        at += FRAME + PAGE
    return found


def last_transaction(wal):
    frames = frames_of(wal)
    first = len(frames) - 1
    while first > 0 and not frames[first - 1][1]:
        first -= 1
    return [at for at, _ in frames[first:]]


class CatalogWal(unittest.TestCase):
    def setUp(self):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="bough-wal-"))
        self.addCleanup(shutil.rmtree, self.dir, True)
        path = os.path.join(self.dir, "shop.db")
        db = sqlite3.connect(path)
        db.executescript("CREATE TABLE t(a); INSERT INTO t VALUES(1)")
        db.close()
        self.store = os.path.join(self.dir, "shop.bough")
        self.wal = os.path.join(self.store, "catalog.db-wal")
        self.bough("init", path, store=False)
        self.bough("branch", "spare")
        self.bough("tag", "v1", "main")

    def bough(self, *words, status=0, store=True):
        done = subprocess.run([BOUGH, *(["-s", self.store] if store else []), *words], capture_output=True, text=True,
                              timeout=60)
        self.assertEqual(done.returncode, status, f"{words}\n{done.stdout}\n{done.stderr}")
        return done

    def read(self, path):
        with open(path, "rb") as file:
            return file.read()

    def write(self, path, bytes_):
        with open(path, "r+b") as file:
            file.write(bytes_)
            file.truncate()

    def expect_damage(self, what):
        with self.subTest(what=what):
            for words in (("branch",), ("tag",), ("sql", "main", "SELECT a FROM t"), ("tag", "v3", "main")):
                done = self.bough(*words, status=6)
                self.assertIn("catalog.db-wal", done.stderr)
                self.assertEqual(done.stdout, "")
            done = self.bough("verify", status=6)
            self.assertIn("catalog.db-wal", done.stdout)

    def sweep(self, wal):
        """One bit of each kind of byte; in the pages a sample."""
        for name, at in (("magic", 0), ("version", 4), ("page size", 8), ("sequence", 12), ("salt", 16), ("sum", 24)):
            yield f"{name} of the WAL", at + 3, 1
        for number, at in enumerate(last_transaction(wal)):
            for name, field in (("page number", 0), ("size after commit", 4), ("salt 1", 8), ("salt 2", 12),
                                ("sum 1", 16), ("sum 2", 20)):
                yield f"{name} of frame {number}", at + field, 0x40
            for offset in (0, 3, 5, PAGE // 2, PAGE - 40, PAGE - 1):
                yield f"byte {offset} of frame {number}", at + FRAME + offset, 1 << offset % 8

    def test_each_operation(self):
        whole = {name: self.read(os.path.join(self.store, name)) for name in ("catalog.db", "catalog.db-wal", "catalog.lock")}
        for operation, commands in OPERATIONS.items():
            for words in commands:
                self.bough(*words)
            wal = self.read(self.wal)
            self.assertGreaterEqual(len(last_transaction(wal)), 1)
            for i, (what, at, mask) in enumerate(self.sweep(wal)):
                if i % EVERY:
                    continue
                damaged = bytearray(wal)
                damaged[at] ^= mask
                self.write(self.wal, damaged)
                self.expect_damage(f"{operation}: {what}")
            self.write(self.wal, wal)
            self.bough("verify")
            if operation in ("branch", "commit"):  # their layers and numbers are on the disk
                continue
            for name, bytes_ in whole.items():
                self.write(os.path.join(self.store, name), bytes_)

    def test_the_wal_is_gone(self):
        self.bough("tag", "v2", "main")
        wal = self.read(self.wal)
        for what, bytes_ in (("cut to nothing", b""), ("zeros", bytes(len(wal))), ("cut", wal[:HEADER + FRAME]),
                             ("another transaction less", wal[:last_transaction(wal)[0]])):
            self.write(self.wal, bytes_)
            self.expect_damage(what)
        os.unlink(self.wal)
        self.expect_damage("removed")

    def test_going_on_with_the_older_state(self):
        """What the documentation says a person may do about it."""
        self.bough("tag", "v2", "main")
        wal = bytearray(self.read(self.wal))
        wal[last_transaction(wal)[-1] + FRAME + 9] ^= 4
        self.write(self.wal, wal)
        self.expect_damage("the last tag")
        self.write(os.path.join(self.store, "catalog.lock"), b"")
        self.assertEqual(self.bough("tag", "-q").stdout.split(), ["v1"])
        self.bough("verify")
        self.bough("tag", "v3", "main")
        self.assertEqual(self.bough("tag", "-q").stdout.split(), ["v1", "v3"])

    def test_after_checkpoints_and_restarts(self):
        """The WAL starts over several times; then as ever. A foreign program that checkpoints and closes removes it."""
        for i in range(150):
            self.bough("switch", ("main", "spare")[i % 2])
        self.bough("verify")
        wal = self.read(self.wal)
        damaged = bytearray(wal)
        damaged[last_transaction(wal)[0] + FRAME + 100] ^= 1
        self.write(self.wal, damaged)
        self.expect_damage("after a restart")
        self.write(self.wal, wal)
        db = sqlite3.connect(os.path.join(self.store, "catalog.db"))
        db.execute("UPDATE tags SET name = name")
        db.commit()
        db.close()
        self.assertFalse(os.path.exists(self.wal))
        self.bough("verify")
        self.bough("tag", "v2", "main")
        self.bough("verify")
        wal = bytearray(self.read(self.wal))
        wal[last_transaction(wal)[0] + FRAME + 100] ^= 1
        self.write(self.wal, wal)
        self.expect_damage("in a WAL that a foreign program made")


if __name__ == "__main__":
    unittest.main()
