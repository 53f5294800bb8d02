"""A store that is copied while processes write to it, commit and fork. Every branch of the copy shows one of its states
or says that it is damaged (exit 6, SQLITE_CORRUPT): never a mixture, never a wrong row. The original is not disturbed.
Prints the seed.
"""
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
import unittest

from processes import BOUGH, StoreTest, connect

ROUNDS = int(os.environ.get("BOUGH_COPY_ROUNDS", "25"))
SEED = int(os.environ.get("BOUGH_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
ACCOUNTS = 400
WRITERS = 2


def filler(account, version):
    return f"{account}:{version}:" * 12


def write(uri, number):
    """Until its stdin is closed. Each transaction leaves the sum as it is and counts itself."""
    rng = random.Random(number)
    db = connect(uri)
    db.execute("PRAGMA synchronous=%s" % ("FULL" if number % 2 else "NORMAL"))
    os.set_blocking(0, False)
    n = db.execute("SELECT coalesce(max(n) + 1, 0) FROM done WHERE writer = ?", (number,)).fetchone()[0]
    while True:
        db.execute("BEGIN IMMEDIATE")
        for account, by in zip(rng.sample(range(ACCOUNTS), 2), (-7, 7)):
            version = db.execute("SELECT version FROM account WHERE id = ?", (account,)).fetchone()[0] + 1
            db.execute("UPDATE account SET money = money + ?, version = ?, filler = ? WHERE id = ?",
                       (by, version, filler(account, version), account))
        db.execute("INSERT INTO done VALUES(?, ?)", (number, n))
        db.execute("COMMIT")
        n += 1
        time.sleep(rng.random() * 0.002)  # nobody queues writers: without a pause the other one would hardly get in
        try:
            if os.read(0, 1) == b"":
                break
        except BlockingIOError:
            continue
    db.close()


def check(db):
    """The state is one that was committed. Returns how many transactions it has."""
    assert db.execute("SELECT sum(money), count(*) FROM account").fetchone() == (100 * ACCOUNTS, ACCOUNTS)
    versions = 0
    for account, version, text in db.execute("SELECT id, version, filler FROM account"):
        assert text == filler(account, version), (account, version, text)
        versions += version
    total = 0
    for count, low, high in db.execute("SELECT count(*), min(n), max(n) FROM done GROUP BY writer"):
        assert (low, high) == (0, count - 1), "transactions of a writer are missing"
        total += count
    assert versions == 2 * total, (versions, total)
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    return total


def copy_slowly(source, target, rng):
    """File by file in any order, in pieces of any size, as a slow program would."""
    paths = [os.path.relpath(os.path.join(folder, name), source)
             for folder, _, names in os.walk(source) for name in names]
    rng.shuffle(paths)
    for path in paths:
        os.makedirs(os.path.dirname(os.path.join(target, path)), exist_ok=True)
        try:
            with open(os.path.join(source, path), "rb") as old, open(os.path.join(target, path), "wb") as new:
                while True:
                    piece = old.read(rng.choice((4096, 20000, 300000)))
                    if not piece:
                        break
                    new.write(piece)
        except FileNotFoundError:
            pass


class Copies(StoreTest):
    SCHEMA = f"""
        PRAGMA page_size=1024;
        CREATE TABLE account(id INTEGER PRIMARY KEY, money INTEGER, version INTEGER, filler TEXT);
        CREATE TABLE done(writer INTEGER, n INTEGER);
        WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < {ACCOUNTS - 1})
            INSERT INTO account SELECT i, 100, 0,
                i || ':0:' || i || ':0:' || i || ':0:' || i || ':0:' || i || ':0:' || i || ':0:' ||
                i || ':0:' || i || ':0:' || i || ':0:' || i || ':0:' || i || ':0:' || i || ':0:' FROM c;
    """

    def look_at(self, store, branch):
        """'good' or 'damaged'; anything else fails."""
        try:
            db = connect("file:%s/db/%s?vfs=bough" % (store, branch))
            try:
                check(db)
            finally:
                db.close()
            return "good"
        except sqlite3.DatabaseError as error:
            self.assertEqual(str(error), "database disk image is malformed")
            return "damaged"

    def test_copies_of_a_store_at_work(self):
        print("copy: seed", SEED)
        rng = random.Random(SEED)
        writers = [subprocess.Popen([sys.executable, __file__, "--write", self.uri, str(i)], stdin=subprocess.PIPE)
                   for i in range(WRITERS)]
        found = {"good": 0, "damaged": 0}
        copy = os.path.join(self.dir, "copy.bough")
        for i in range(ROUNDS):
            if i % 3 == 0:
                self.bough("branch", f"fork-{i}", "main")
            if i % 5 == 0:
                self.bough("commit", "main", "-m", f"number {i}")
            if rng.random() < 0.5:
                # What vanishes under cp's hands is not its fault; the rest is copied.
                subprocess.run(["cp", "-r", self.store, copy], stderr=subprocess.DEVNULL)
            else:
                copy_slowly(self.store, copy, rng)
            branches = ["main"] + [f"fork-{n}" for n in range(0, i + 1, 3)]
            for branch in branches:
                found[self.look_at(copy, branch)] += 1
            done = subprocess.run([BOUGH, "-s", copy, "verify"], capture_output=True, timeout=120)
            self.assertIn(done.returncode, (0, 6), done.stderr)
            shutil.rmtree(copy)
        for writer in writers:
            writer.stdin.close()
            self.assertEqual(writer.wait(timeout=60), 0)
        print("copy:", found)
        self.assertGreater(found["good"], 0)
        db = connect(self.uri)
        self.assertGreater(check(db), ROUNDS)
        db.close()
        self.assertTrue(self.bough("verify").startswith("ok"))


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--write":
        write(sys.argv[2], int(sys.argv[3]))
    else:
        unittest.main()
