"""gc in a loop beside writers, readers, forkers and deleters, in processes that are killed. Every snapshot adds up
however often it is read, nothing acknowledged is lost, and in the end the store is about as large as what is live, by a
count of our own.
"""
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import unittest

from processes import BOUGH, StoreTest, connect

ROUNDS = int(os.environ.get("BOUGH_GC_ROUNDS", "25"))
SEED = int(os.environ.get("BOUGH_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
ACCOUNTS = 400
PAGE = 4096


def stopped():
    """Our parent closed our stdin."""
    try:
        return os.read(0, 1) == b""
    except BlockingIOError:
        return False


def sums(db):
    return db.execute("SELECT sum(money), count(*), sum(length(filler)) FROM account").fetchone()


def check_sums(db):
    found = sums(db)
    assert found == (100 * ACCOUNTS, ACCOUNTS, 200 * ACCOUNTS), found


def transfer(db, rng):
    db.execute("BEGIN IMMEDIATE")
    for _ in range(rng.choice([1, 1, 1, 40])):
        a, b = rng.sample(range(ACCOUNTS), 2)
        db.execute("UPDATE account SET money = money - 7, filler = randomblob(200) WHERE id = ?", (a,))
        db.execute("UPDATE account SET money = money + 7 WHERE id = ?", (b,))
    if rng.randrange(30) == 0:
        db.execute("UPDATE account SET filler = randomblob(200)")


def write(uri, rng):
    """Tells the number of each transaction that is in."""
    db = connect(uri)
    db.execute("PRAGMA synchronous=%s" % rng.choice(["FULL", "NORMAL"]))
    while not stopped():
        transfer(db, rng)
        db.execute("UPDATE done SET n = n + 1")
        n = db.execute("SELECT n FROM done").fetchone()[0]
        db.execute("COMMIT")
        os.write(1, b"%d\n" % n)


def read(uri, rng):
    while not stopped():
        db = connect(uri)
        db.execute("PRAGMA cache_size=5")
        for _ in range(5):
            db.execute("BEGIN")
            for _ in range(rng.randrange(1, 40)):
                check_sums(db)
            db.execute("COMMIT")
        db.close()


def bough(store, *words, codes=(0,)):
    done = subprocess.run([BOUGH, "-s", store, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode in codes, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout


def fork_and_drop(store, rng):
    """Branches of its own names: forked, written to, committed, read at past states, deleted under readers."""
    me, n = "f%d" % os.getpid(), 0
    while not stopped():
        name, n = "%s-%d" % (me, n), n + 1
        origin = rng.choice(["main", "dev"])
        bough(store, "branch", name, origin)
        db = connect("file:%s/db/%s?vfs=bough" % (store, name))
        check_sums(db)
        for _ in range(rng.randrange(4)):
            transfer(db, rng)
            db.execute("COMMIT")
        before = sums(db), db.execute("SELECT max(money) FROM account").fetchone()
        # A commit of the machine, read as a past state while nothing else refers to it any more.
        bough(store, "branch", name + "-child", name)
        past = connect("file:%s/db/%s?vfs=bough&at=%s~0" % (store, name, name + "-child"))
        past.execute("PRAGMA cache_size=1")
        check_sums(past)
        db.execute("BEGIN")
        check_sums(db)
        bough(store, "delete", name + "-child", "-f")
        bough(store, "delete", name, "-f", codes=(0, 4))
        for _ in range(rng.randrange(8)):
            check_sums(db)
            check_sums(past)
        assert (sums(past), past.execute("SELECT max(money) FROM account").fetchone()) == before
        db.close()
        past.close()
        if rng.randrange(6) == 0:
            bough(store, "commit", origin, "-m", "by hand", codes=(0, 5))
        if rng.randrange(10) == 0:
            bough(store, "reset", "spare", "--to", rng.choice(["main~0", "dev~0"]))


class Gc(StoreTest):
    SCHEMA = f"""
        PRAGMA page_size={PAGE};
        CREATE TABLE account(id INTEGER PRIMARY KEY, money INTEGER, filler BLOB);
        CREATE TABLE done(n INTEGER);
        INSERT INTO done VALUES(0);
        WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < {ACCOUNTS - 1})
            INSERT INTO account SELECT i, 100, randomblob(200) FROM c;
    """

    def start(self, *words, stdout=None):
        child = subprocess.Popen([sys.executable, __file__, *words], stdin=subprocess.PIPE, stdout=stdout)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child

    def collect(self, rng):
        """One gc; some are killed on the way."""
        child = subprocess.Popen([BOUGH, "-s", self.store, "gc", "--undo-days", "0", "--json"], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        if rng.randrange(3) == 0:
            time.sleep(rng.random() * 0.03)
            child.kill()
        out, err = child.communicate()
        self.assertIn(child.returncode, (0, -signal.SIGKILL), out + err)

    def check_size(self):
        """The pages of all states that can be asked for, each content once in its place, against the whole store."""
        refs = [branch["name"] for branch in json.loads(self.bough("branch", "--json"))]
        for name in list(refs):
            refs += [c["id"] for c in json.loads(self.bough("log", name, "--json")) if not c["pruned"]]
        pages, path = set(), os.path.join(self.dir, "out.db")
        for ref in sorted(set(refs)):
            self.bough("export", ref, path, "--force")
            with open(path, "rb") as file:
                for number, page in enumerate(iter(lambda: file.read(PAGE), b"")):
                    pages.add((number, hashlib.sha1(page).digest()))
        live = len(pages) * PAGE
        allocated = sum(os.lstat(os.path.join(folder, name)).st_blocks * 512
                        for folder, _, names in os.walk(self.store) for name in names)
        self.assertLess(allocated, 2 * live + (1 << 20), "%d bytes for %d live ones" % (allocated, live))

    def test_beside_everything(self):
        print("seed", SEED)
        rng = random.Random(SEED)
        self.bough("branch", "dev", "main")
        self.bough("branch", "spare", "main")
        outputs = [os.path.join(self.dir, "out.%d" % i) for i in range(2)]
        writers = [self.start("--write", self.uri_of(branch), str(rng.randrange(1 << 30)), stdout=open(path, "wb"))
                   for branch, path in zip(["main", "dev"], outputs)]
        others = [self.start("--read", self.uri_of(branch), str(rng.randrange(1 << 30)))
                  for branch in ["main", "dev"]]
        forkers = [self.start("--fork", self.store, str(rng.randrange(1 << 30))) for _ in range(2)]
        for i in range(ROUNDS):
            self.collect(rng)
            if i % 5 == 4: # one dies, another takes its place
                forkers[0].kill()
                forkers[0].wait()
                forkers[0] = self.start("--fork", self.store, str(rng.randrange(1 << 30)))
            for child in writers + others + forkers:
                self.assertIsNone(child.poll(), "a process failed: %s" % child.args)
        for child in writers + others + forkers:
            child.stdin.close()
            self.assertEqual(child.wait(), 0, child.args)
        for branch, path in zip(["main", "dev"], outputs):
            acknowledged = int(open(path).read().split()[-1])
            db = connect(self.uri_of(branch))
            self.assertEqual(db.execute("SELECT n FROM done").fetchone()[0], acknowledged)
            check_sums(db)
            self.assert_whole(db)
            db.close()
        for branch in json.loads(self.bough("branch", "--json")):
            if branch["name"].startswith("f"): # of one that was killed
                self.bough("delete", "-r", branch["name"], "-f") if branch["parent"] in ("main", "dev") else None
        for _ in range(2):
            self.bough("gc", "--undo-days", "0")
        self.bough("verify")
        self.check_size()


if __name__ == "__main__":
    work = {"--write": write, "--read": read, "--fork": fork_and_drop}.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if work:
        os.set_blocking(0, False)
        work(sys.argv[2], random.Random(int(sys.argv[3])))
    else:
        unittest.main()
