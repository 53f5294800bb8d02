"""A store in daily use, for $BOUGH_SOAK_SECONDS: writers, some of them over two branches at once, some alone
(locking_mode=EXCLUSIVE), under each `synchronous`, VACUUM with other page sizes, readers that stay, forkers, deleters,
resets, promotions, gc in a loop; one process is stopped and continued, others are killed, all at random.

What must hold:
- every snapshot adds up, however often and how late it is read;
- every transaction that was acknowledged is there at the end, in the branch or in a commit that a reset or a promotion
  left behind (the machine goes on, so NORMAL and OFF lose nothing either);
- a transaction over two branches is in both or in none;
- no process fails but for "busy" and for a branch that was deleted under it;
- nobody is hurt by one that was killed;
- verify finds nothing, and after a last gc the store takes at most twice what is live (and 4 MB).

With $BOUGH_SOAK_FULL_DISK, a folder on a small file system that has nothing else, the store stands there, and one more
process fills the file system and gives it free again. Then anything may fail for want of room, and the rest must hold.

Each role is this file in a process of its own: soak.py ROLE STORE NUMBER SECONDS LOG.
"""
import ctypes
import ctypes.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

# What the engine says about an error stands in SQLite's log, which has to be asked for before SQLite is begun with.
LOG = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
log = LOG(lambda _, code, text: print(f"log: {code} {text.decode()}", file=sys.stderr) if code & 255 not in (5, 27) else None)
ctypes.CDLL(ctypes.util.find_library("sqlite3")).sqlite3_config(ctypes.c_int(16), log, None)
import sqlite3  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "crash"))
from processes import StoreTest, connect  # noqa: E402

SECONDS = float(os.environ.get("BOUGH_SOAK_SECONDS", "60"))
FULL_DISK = os.environ.get("BOUGH_SOAK_FULL_DISK")
ACCOUNTS = 400
MONEY = 100
PAIR = 10 ** 17  # processes that write to two branches have higher numbers than all others
BOUGH = os.environ["BOUGH"]
HAS_GC = subprocess.run([BOUGH, "help", "gc"], capture_output=True).returncode == 0


def uri_of(store, ref):
    return f"file:{store}/db/{ref}?vfs=bough"


def is_full(text):
    return FULL_DISK and any(word in text for word in ("full", "No space", "no room"))


def is_busy(error):
    """Or there is no room: another time it works."""
    return "locked" in str(error) or "busy" in str(error) or is_full(str(error))


def is_gone(error):
    text = str(error)
    return "disk I/O error" in text or "readonly" in text or "unable to open" in text


def look(db):
    """One snapshot, read twice with time between; returns nothing, asserts."""
    total, count = db.execute("SELECT sum(money), count(*) FROM account").fetchone()
    assert (total, count) == (MONEY * ACCOUNTS, ACCOUNTS), (total, count)
    for process, newest, rows in db.execute("SELECT process, max(n), count(*) FROM done GROUP BY process"):
        assert newest + 1 >= rows, (process, newest, rows)
    return db.execute("SELECT sum(length(filler)), sum(id * money), (SELECT count(*) FROM done) FROM account").fetchone()


def transfer(db, rng, process, n):
    a, b = rng.sample(range(ACCOUNTS), 2)
    amount = rng.randrange(20)
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE account SET money = money - ?, filler = randomblob(?) WHERE id = ?",
               (amount, rng.randrange(400), a))
    db.execute("UPDATE account SET money = money + ? WHERE id = ?", (amount, b))
    db.execute("INSERT INTO done VALUES(?, ?)", (process, n))
    db.execute("COMMIT")


def rolled_back(db):
    try:
        db.execute("ROLLBACK")
    except sqlite3.Error:
        pass


class Role:
    """What every role gets: the store, its number, when to stop, and a file for what it did."""

    def __init__(self, store, number, seconds, log):
        self.store, self.number = store, int(number)
        self.end = time.monotonic() + float(seconds)
        self.rng = random.Random(f"{number} {os.getpid()}")
        self.log = open(log, "a", buffering=1)
        self.process = int(time.time() * 1000) % 10 ** 9 * 10 ** 7 + os.getpid()  # no two have the same

    def goes_on(self):
        return time.monotonic() < self.end

    def bough(self, *words, allowed=()):
        done = subprocess.run([BOUGH, "--json", "-s", self.store, *words], capture_output=True, text=True)
        if done.returncode == 7 and is_full(done.stderr):
            return None
        assert done.returncode in (0, 5, *allowed), (words, done.returncode, done.stderr)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def ask_about(self, ref):
        """What the program says of a branch that SQLite had an error with."""
        done = [subprocess.run([BOUGH, "-s", self.store, *words], capture_output=True, text=True)
                for words in (("sql", ref, "SELECT 1"), ("status", ref), ("verify", ref))]
        return [(d.returncode, d.stdout, d.stderr) for d in done]

    def connect(self, ref):
        while True:
            try:
                db = connect(uri_of(self.store, ref))
                break
            except sqlite3.OperationalError as error:
                if not is_full(str(error)):
                    raise
                time.sleep(0.02)
        db.execute("PRAGMA cache_size=20")
        db.execute(f"PRAGMA synchronous={self.rng.choice(['FULL', 'FULL', 'NORMAL', 'OFF'])}")
        return db

    def write_to(self, branch):
        db = self.connect(branch)
        n = 0
        while self.goes_on():
            try:
                transfer(db, self.rng, self.process, n)
            except sqlite3.OperationalError as error:
                rolled_back(db)
                assert is_busy(error), error
                continue
            self.log.write(f"{self.process} {n}\n")
            n += 1
            if self.rng.random() < 0.005:  # a bulk load, and what it leaves to be freed
                try:
                    db.execute("CREATE TABLE bulk AS SELECT randomblob(4000) b FROM account a, (SELECT 1 UNION SELECT 2)")
                    db.execute("DROP TABLE bulk")
                except sqlite3.OperationalError as error:
                    assert is_busy(error) or "bulk" in str(error), error
        db.close()

    def run_writer(self):
        self.write_to("main")

    def run_moved(self):
        """Writes to the branch that is reset and promoted onto."""
        self.write_to("moved")

    def run_pair(self):
        """Transactions over both branches."""
        self.process += PAIR
        db = self.connect("main")
        db.execute("ATTACH ? AS other", (uri_of(self.store, "moved"),))
        for schema in ("main", "other"):  # under OFF SQLite commits them one by one
            db.execute(f"PRAGMA {schema}.synchronous={self.rng.choice(['FULL', 'NORMAL'])}")
        n = 0
        while self.goes_on():
            try:
                db.execute("BEGIN IMMEDIATE")
                for schema in ("main", "other"):
                    for sign, account in zip("+-", self.rng.sample(range(ACCOUNTS), 2)):
                        db.execute(f"UPDATE {schema}.account SET money = money {sign} 1 WHERE id = ?", (account,))
                    db.execute(f"INSERT INTO {schema}.done VALUES(?, ?)", (self.process, n))
                db.execute("COMMIT")
            except sqlite3.OperationalError as error:
                rolled_back(db)
                assert is_busy(error), error
                continue
            self.log.write(f"{self.process} {n}\n")
            n += 1
            time.sleep(self.rng.random() * 0.02)
        db.close()

    def run_sole(self):
        """Keeps the writer's lock over several transactions."""
        n = 0
        while self.goes_on():
            db = self.connect("main")
            try:
                # The lock first: who keeps a snapshot while he waits could not write to it any more.
                db.execute("BEGIN IMMEDIATE")
                db.execute("PRAGMA locking_mode=EXCLUSIVE")
                db.execute("COMMIT")
            except sqlite3.OperationalError as error:
                assert is_busy(error), error
                continue
            for _ in range(self.rng.randrange(10)):
                try:
                    transfer(db, self.rng, self.process, n)
                except sqlite3.OperationalError as error:
                    assert is_full(str(error)), error  # nobody else can write
                    break
                self.log.write(f"{self.process} {n}\n")
                n += 1
            db.close()
            time.sleep(self.rng.random() * 0.3)

    def run_vacuum(self):
        while self.goes_on():
            db = self.connect(self.rng.choice(["main", "moved"]))
            try:
                db.execute(f"PRAGMA page_size={self.rng.choice([512, 1024, 1024, 4096, 65536])}")
                db.execute("VACUUM")
            except sqlite3.OperationalError as error:
                assert is_busy(error), error
            db.close()
            time.sleep(self.rng.random() * 3)

    def run_reader(self):
        db = self.connect(self.rng.choice(["main", "moved"]))
        while self.goes_on():
            db.execute("BEGIN")
            first = look(db)
            for _ in range(self.rng.choice([1, 3, 10])):
                time.sleep(self.rng.random() * self.rng.choice([0.01, 0.3, 1]))
                assert look(db) == first, "a snapshot changed"
            db.execute("COMMIT")
        db.close()

    def run_forker(self):
        """Forks, writes to the fork, and drops most forks again."""
        made = 0
        while self.goes_on():
            name = f"f{self.number}-{os.getpid()}-{made}"
            made += 1
            if self.bough("branch", name, self.rng.choice(["main", "moved", "main~0"]),
                          *(["--ttl", "3s"] if self.rng.random() < 0.3 else [])) is None:
                continue
            state = None
            try:
                db = self.connect(name)
                state = look(db)
                for n in range(self.rng.randrange(5)):
                    transfer(db, self.rng, self.process, n)
                look(db)
                db.close()
            except sqlite3.Error as error:  # the deleter was quicker, or its time was over
                assert is_busy(error) or is_gone(error), (error, state, self.ask_about(name))
            if self.rng.random() < 0.5:
                self.bough("commit", name, allowed=(3,))
            if self.rng.random() < 0.5:
                self.bough("tag", f"t-{name}", name, allowed=(3,))
                self.bough("tag", "-d", f"t-{name}", allowed=(3,))

    def run_deleter(self):
        while self.goes_on():
            names = [b["name"] for b in self.bough("branch") or [] if b["name"].startswith("f")]
            self.rng.shuffle(names)
            for name in names[:len(names) - 5 if len(names) > 5 else 1]:
                self.bough("delete", "-r", *(["-f"] if self.rng.random() < 0.5 else []), name, allowed=(3, 4))
            time.sleep(0.05)

    def run_mover(self):
        """Resets the branch, or promotes a fork of it; notes the commits that this leaves behind."""
        turn = 0
        while self.goes_on():
            turn += 1
            time.sleep(self.rng.random() * 0.3)
            if turn % 3:
                left = self.bough("reset", "moved", "--to", self.rng.choice(["moved~1", "moved~0", "base"]),
                                  allowed=(3,))
            else:
                name = f"p{self.number}-{turn}"
                if self.bough("branch", name, "moved") is None:
                    continue
                db = self.connect(name)
                try:
                    transfer(db, self.rng, self.process, turn)
                except sqlite3.OperationalError as error:
                    assert is_full(str(error)), error
                db.close()
                left = self.bough("promote", name, "--onto", "moved", "--force")
                self.bough("delete", name, allowed=(3, 4))
            if left and left["left"]:
                self.log.write(f"left {left['left']}\n")

    def run_filler(self):
        path = os.path.join(FULL_DISK, "filler")
        while self.goes_on():
            with open(path, "wb", buffering=0) as file:
                try:
                    for _ in range(self.rng.choice([10, 1000, 1000000])):
                        file.write(b"x" * (1 << 16))
                except OSError:
                    pass
            time.sleep(self.rng.random() * 0.5)
            os.unlink(path)
            time.sleep(self.rng.random() * 0.5)

    def run_gc(self):
        while self.goes_on():
            self.bough("gc")
            time.sleep(self.rng.random() * 0.2)


# number of processes of each role; whether one of them may be killed or stopped at any time
ROLES = {"writer": 2, "moved": 1, "pair": 1, "sole": 1, "vacuum": 1, "reader": 2, "forker": 1, "deleter": 1, "mover": 1,
         "filler": 1 if FULL_DISK else 0, "gc": 1 if HAS_GC else 0}
MORTAL = ["writer", "moved", "pair", "sole", "vacuum", "reader", "forker", "gc"]


class Soak(StoreTest):
    PATIENCE = 120 + SECONDS  # to verify an hour's states takes its time
    SCHEMA = f"""
        PRAGMA page_size=1024;
        CREATE TABLE account(id INTEGER PRIMARY KEY, money INTEGER, filler BLOB);
        CREATE TABLE done(process INTEGER, n INTEGER, PRIMARY KEY(process, n)) WITHOUT ROWID;
        WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < {ACCOUNTS - 1})
            INSERT INTO account SELECT i, {MONEY}, randomblob(200) FROM c;
    """

    def setUp(self):
        self.logs = tempfile.mkdtemp(prefix="bough-soak-logs-")
        self.addCleanup(shutil.rmtree, self.logs, True)
        if FULL_DISK:
            tempfile.tempdir = FULL_DISK
        super().setUp()

    def start(self, role, number):
        left = max(self.end - time.monotonic(), 1)
        log = os.path.join(self.logs, f"{role}.{number}.log")
        return subprocess.Popen([sys.executable, __file__, role, self.store, str(number), str(left), log],
                                stderr=subprocess.PIPE, text=True)

    def check_alive(self):
        for key, process in self.running.items():
            code = process.poll()
            if code not in (None, 0):
                self.fail(f"{key} ended with {code}: {process.stderr.read()}")

    def disturb(self, rng):
        """Kills one process, or stops one for a while."""
        role, number = rng.choice([key for key in self.running if key[0] in MORTAL])
        process = self.running[role, number]
        if process.poll() is not None:
            return
        if rng.random() < 0.5:
            process.kill()
            process.communicate()
            self.killed += 1
            self.running[role, number] = self.start(role, number)
        else:
            process.send_signal(signal.SIGSTOP)
            time.sleep(rng.random() * 2)
            process.send_signal(signal.SIGCONT)
            self.stopped += 1

    def acknowledged(self, role):
        acks, commits = set(), []
        for number in range(ROLES.get(role, 0)):
            path = os.path.join(self.logs, f"{role}.{number}.log")
            if not os.path.exists(path):
                continue
            with open(path, encoding="utf-8") as lines:
                for line in lines:
                    words = line.split()
                    if not line.endswith("\n"):
                        continue
                    if words[0] == "left":
                        commits.append(words[1])
                    else:
                        acks.add((int(words[0]), int(words[1])))
        return acks, commits

    def of_pairs(self, rows):
        """Those that were written over two branches, acknowledged or not."""
        return {row for row in rows if row[0] >= PAIR}

    def done_rows(self, ref):
        at = "" if ref in ("main", "moved") else f"&at={ref}"
        db = connect(uri_of(self.store, "moved" if at else ref) + at)
        look(db)
        rows = set(db.execute("SELECT process, n FROM done"))
        db.close()
        return rows

    def test_daily_use(self):
        rng = random.Random(int(os.environ.get("BOUGH_SEED", "1")))
        self.bough("branch", "moved")
        self.bough("tag", "base", "main")
        self.killed = self.stopped = 0
        self.end = time.monotonic() + SECONDS
        self.running = {(role, n): self.start(role, n) for role, count in ROLES.items() for n in range(count)}
        while time.monotonic() < self.end - 3:
            time.sleep(rng.random())
            self.disturb(rng)
            self.check_alive()
        for key, process in self.running.items():
            _, err = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 0, f"{key}: {err}")
        self.check_end()

    def document(self, *words):
        return json.loads(self.bough("--json", *words))

    def check_end(self):
        acks, _ = self.acknowledged("writer")
        sole, _ = self.acknowledged("sole")
        pairs, _ = self.acknowledged("pair")
        rows = self.done_rows("main")
        self.assertEqual((acks | sole | pairs) - rows, set(), "acknowledged and lost")
        moved, _ = self.acknowledged("moved")
        _, left = self.acknowledged("mover")
        there = self.done_rows("moved")
        for commit in left:
            there |= self.done_rows(commit)
        self.assertEqual((moved | pairs) - there, set(), "acknowledged and lost on the branch that was moved")
        self.assertEqual(self.of_pairs(rows) ^ self.of_pairs(there), set(), "in one of two branches")
        self.assertGreater(len(sole), 3)
        self.assertGreater(len(pairs), 3)
        self.assertGreater(len(acks), 20)
        self.assertGreater(len(moved), 5)
        self.assertGreater(len(left), 2)
        self.assertEqual(self.document("verify")["findings"], [])
        sizes = self.document("gc") if HAS_GC else None
        self.assertEqual(self.document("verify")["findings"], [])
        print(f"soak: {SECONDS:.0f} s, {len(acks)} and {len(moved)} transactions, {len(left)} states left behind, "
              f"{self.killed} killed, {self.stopped} stopped, sizes {sizes}")
        if sizes:
            self.assertLess(sizes["store_bytes"], 2 * sizes["live_bytes"] + (4 << 20))


if __name__ == "__main__":
    if len(sys.argv) > 5:
        getattr(Role(*sys.argv[2:]), f"run_{sys.argv[1]}")()
    else:
        unittest.main()
