"""Several processes in one branch at a time: writers that wait for each other, readers that stay on a snapshot, one
that commits and forks. Each reader's snapshot adds up however often it is read, nothing acknowledged is lost, and the
layer does not grow with the number of transactions.
"""
import os
import random
import subprocess
import sys
import unittest

from processes import StoreTest, connect

TRANSACTIONS = int(os.environ.get("BOUGH_PROCESS_TRANSACTIONS", "400"))
ACCOUNTS = 300


def write(uri, number):
    rng = random.Random(number)
    db = connect(uri)
    db.execute("PRAGMA synchronous=%s" % ("FULL" if number % 2 else "NORMAL"))
    for i in range(TRANSACTIONS):
        db.execute("BEGIN IMMEDIATE")
        a, b = rng.sample(range(ACCOUNTS), 2)
        db.execute("UPDATE account SET money = money - 7, filler = randomblob(200) WHERE id = ?", (a,))
        db.execute("UPDATE account SET money = money + 7 WHERE id = ?", (b,))
        db.execute("INSERT INTO done VALUES(?, ?)", (number, i))
        if i % 50 == 49:
            db.execute("ROLLBACK" if i % 100 == 49 else "COMMIT")
        else:
            db.execute("COMMIT")
    db.close()


def write_little(uri, number):
    """Twenty transactions of two rows, then the process is over."""
    rng = random.Random(number)
    db = connect(uri)
    for _ in range(20):
        db.execute("UPDATE account SET filler = randomblob(200) WHERE id IN (?, ?)", rng.sample(range(ACCOUNTS), 2))
    db.close()


def read(uri, number):
    """Reads until the writers' parent closes our stdin; each snapshot several times over."""
    rng = random.Random(number)
    db = connect(uri)
    db.execute("PRAGMA cache_size=5")
    os.set_blocking(0, False)
    while True:
        db.execute("BEGIN")
        first = db.execute("SELECT sum(money), count(*), (SELECT count(*) FROM done) FROM account").fetchone()
        assert first[:2] == (100 * ACCOUNTS, ACCOUNTS), first
        for _ in range(rng.randrange(30)):
            again = db.execute("SELECT sum(money), count(*), (SELECT count(*) FROM done) FROM account").fetchone()
            assert again == first, (first, again)
            assert db.execute("SELECT sum(length(filler)) FROM account").fetchone()[0] == 200 * ACCOUNTS
        db.execute("COMMIT")
        try:
            if os.read(0, 1) == b"":
                break
        except BlockingIOError:
            continue
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    db.close()


class Processes(StoreTest):
    SCHEMA = f"""
        PRAGMA page_size=1024;
        CREATE TABLE account(id INTEGER PRIMARY KEY, money INTEGER, filler BLOB);
        CREATE TABLE done(process INTEGER, n INTEGER);
        WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < {ACCOUNTS - 1})
            INSERT INTO account SELECT i, 100, randomblob(200) FROM c;
    """

    def start(self, what, number):
        return subprocess.Popen([sys.executable, __file__, what, self.uri, str(number)], stdin=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def finish(self, process):
        _, err = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 0, err.decode())

    def newest_layer_bytes(self):
        layers = os.path.join(self.store, "layers")
        newest = max(os.listdir(layers), key=lambda name: int(name.split(".")[0]))
        return os.path.getsize(os.path.join(layers, newest))

    def test_writers_readers_and_forks(self):
        readers = [self.start("--read", i) for i in range(2)]
        writers = [self.start("--write", i) for i in range(3)]
        forks = []
        for i in range(4):
            self.bough("commit", "main", "-m", f"number {i}")
            forks.append(f"fork-{i}")
            self.bough("branch", forks[-1], "main")
        for writer in writers:
            self.finish(writer)
        for reader in readers:
            self.finish(reader)
        db = connect(self.uri)
        # Of every hundred transactions one is rolled back.
        expected = 3 * sum(1 for i in range(TRANSACTIONS) if i % 100 != 49)
        self.assertEqual(db.execute("SELECT count(*) FROM done").fetchone()[0], expected)
        self.assertEqual(db.execute("SELECT sum(money) FROM account").fetchone()[0], 100 * ACCOUNTS)
        self.assert_whole(db)
        db.close()
        for fork in forks:
            db = connect(self.uri_of(fork))
            self.assertEqual(db.execute("SELECT sum(money) FROM account").fetchone()[0], 100 * ACCOUNTS)
            self.assert_whole(db)
            db.close()
        self.assertTrue(self.bough("verify").startswith("ok"))
        self.assertEqual(os.listdir(os.path.join(self.store, "run")), [])

    def test_a_layer_does_not_grow_with_its_transactions(self):
        self.finish(self.start("--write", 1))
        # 400 transactions wrote some 2,000 pages of 1 KiB; about 110 of them are live, and the log has its place.
        self.assertLess(self.newest_layer_bytes(), 1 << 20)

    def test_a_layer_does_not_grow_with_its_writers(self):
        keeper = connect(self.uri)  # nobody is the last to close, and there is no checkpoint for want of log
        keeper.execute("SELECT count(*) FROM account").fetchone()
        for number in range(40):
            self.finish(self.start("--little", number))
        # 800 transactions wrote some 2,400 pages.
        self.assertLess(self.newest_layer_bytes(), 1 << 20)
        everything = "SELECT group_concat(hex(filler)) FROM account"
        keeper.execute("PRAGMA cache_size=5")
        for number in range(16):
            if number % 4 == 0:
                keeper.execute("BEGIN")
                before = keeper.execute(everything).fetchone()
            self.finish(self.start("--little", number))
            self.assertEqual(keeper.execute(everything).fetchone(), before)
            if number % 4 == 3:
                keeper.execute("COMMIT")
        self.assertLess(self.newest_layer_bytes(), 1 << 20)
        self.assert_whole(keeper)
        keeper.close()
        self.assertTrue(self.bough("verify").startswith("ok"))


if __name__ == "__main__":
    roles = {"--write": write, "--little": write_little, "--read": read}
    if len(sys.argv) == 4 and sys.argv[1] in roles:
        roles[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
    else:
        unittest.main()
