"""Processes that die at any moment: a writer is killed again and again, with and without another process that keeps the
branch open. Every acknowledged transaction is there, none is torn, and nothing needs a person.

The writer reports each COMMIT that returned. Small transactions go through the log, every tenth one rewrites some
thousand pages and is committed by a checkpoint.
"""
import os
import random
import select
import signal
import subprocess
import sys
import time
import unittest

from processes import StoreTest, connect

ROUNDS = int(os.environ.get("BOUGH_KILL_ROUNDS", "10"))
SEED = int(os.environ.get("BOUGH_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 30)


def write_until_killed(uri, seed):
    """The child: transactions number n, n+1, ... each adds a row and moves money; prints n when COMMIT has returned."""
    rng = random.Random(seed)
    db = connect(uri)
    db.execute("PRAGMA synchronous=%s" % rng.choice(["FULL", "NORMAL"]))
    n = None
    while True:
        db.execute("BEGIN IMMEDIATE")
        if n is None:
            # Under the lock: only there is settled what a writer that was killed in mid-commit has left.
            n = db.execute("SELECT coalesce(max(n), 0) FROM done").fetchone()[0]
        n += 1
        db.execute("INSERT INTO done VALUES(?)", (n,))
        if rng.randrange(10) == 0:
            db.execute("UPDATE bulk SET filler = randomblob(3000), n = ?", (n,))
        else:
            db.execute("UPDATE account SET money = money - 1 WHERE id = 1 + ?", (n % 50,))
            db.execute("UPDATE account SET money = money + 1 WHERE id = 1 + ?", (n * 7 % 50,))
        db.execute("COMMIT")
        os.write(1, b"%d\n" % n)


class Kill(StoreTest):
    SCHEMA = """
        CREATE TABLE done(n INTEGER PRIMARY KEY);
        CREATE TABLE account(id INTEGER PRIMARY KEY, money INTEGER);
        CREATE TABLE bulk(id INTEGER PRIMARY KEY, n INTEGER, filler BLOB);
        WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 50)
            INSERT INTO account SELECT i, 100 FROM c;
        WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3000)
            INSERT INTO bulk SELECT i, 0, randomblob(3000) FROM c;
    """

    def run_and_kill(self, seed, seconds):
        """Starts a writer, kills it after about so long; returns the last number it reported."""
        child = subprocess.Popen([sys.executable, __file__, "--write", self.uri, str(seed)], stdout=subprocess.PIPE)
        out = b""
        select.select([child.stdout], [], [], 30)
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        out = child.stdout.read()
        child.stdout.close()
        self.assertEqual(child.wait(), -signal.SIGKILL)
        lines = out.split(b"\n")[:-1]
        return int(lines[-1]) if lines else 0

    def check(self, db, acknowledged):
        rows, newest = db.execute("SELECT count(*), coalesce(max(n), 0) FROM done").fetchone()
        self.assertEqual(rows, newest)
        self.assertGreaterEqual(newest, acknowledged, "an acknowledged transaction is gone")
        self.assertEqual(db.execute("SELECT sum(money) FROM account").fetchone()[0], 5000)
        self.assertEqual(len(db.execute("SELECT DISTINCT n FROM bulk").fetchall()), 1, "half of a transaction")
        self.assert_whole(db)

    def rounds(self, watcher):
        rng = random.Random(SEED)
        print("seed", SEED)
        for i in range(ROUNDS):
            acknowledged = self.run_and_kill(rng.randrange(1 << 30), rng.random() * 0.25)
            if watcher is not None:
                self.check(watcher, acknowledged)
            db = connect(self.uri)
            self.check(db, acknowledged)
            db.close()
            if i % 8 == 7:
                self.bough("commit", "main", "-m", "round %d" % i)
                self.bough("branch", "b%d" % i)
                self.bough("verify")

    def test_alone(self):
        self.rounds(None)

    def test_with_a_watcher(self):
        """Shared memory outlives the writer: the next one takes over what the dead one left in it."""
        watcher = connect(self.uri)
        self.rounds(watcher)
        watcher.close()
        self.assertEqual(os.listdir(os.path.join(self.store, "run")), [])


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--write":
        write_until_killed(sys.argv[2], int(sys.argv[3]))
    unittest.main()
