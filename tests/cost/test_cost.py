"""What operations cost, counted and never timed: syncs, system calls, bytes read and written, memory.

The program under test runs below strace. Between the steps it looks at a path that does not exist (a marker), so that
the trace falls into parts.
"""
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

BOUGH = os.environ["BOUGH"]
BOUGH_SO = os.environ["BOUGH_SO"]
LIBRARY = os.path.join(os.environ["BOUGH_BUILD"], "lib", "libbough.so")
MARK = "/bough-marker-"
SANITIZED = "LD_PRELOAD" in os.environ

# What the traced process runs: ctypes over the shared library, sqlite3 with the extension.
PRELUDE = f"""
import ctypes, os, sqlite3, sys
def mark(name):
    os.path.exists({MARK!r} + name)
def extension():
    db = sqlite3.connect(":memory:")
    db.enable_load_extension(True)
    db.load_extension({BOUGH_SO!r})
def connect(uri):
    return sqlite3.connect(uri, uri=True, isolation_level=None)
class Branches(ctypes.Structure):
    _fields_ = [("items", ctypes.c_void_p), ("count", ctypes.c_size_t)]
def library():
    lib = ctypes.CDLL({LIBRARY!r})
    lib.bough_error_message.restype = ctypes.c_char_p
    def check(rc, function, arguments):
        assert rc == 0, lib.bough_error_message()
    for name in ("bough_store_open", "bough_branch_create", "bough_branch_delete"):
        getattr(lib, name).errcheck = check
    return lib
def fork(lib, store, name, source="main"):
    out = Branches()
    names = (ctypes.c_char_p * 1)(name.encode())
    lib.bough_branch_create(ctypes.byref(out), store, names, ctypes.c_size_t(1), source.encode(), None)
def drop(lib, store, name):
    out = Branches()
    names = (ctypes.c_char_p * 1)(name.encode())
    lib.bough_branch_delete(ctypes.byref(out), store, names, ctypes.c_size_t(1), None)
def open_store(lib, path):
    store = ctypes.c_void_p()
    lib.bough_store_open(ctypes.byref(store), path.encode(), None)
    return store
"""


class Call:
    def __init__(self, name, arguments, result):
        self.name, self.arguments, self.result = name, arguments, result


def allocated(path):
    return sum(os.lstat(os.path.join(top, name)).st_blocks * 512
               for top, _, names in os.walk(path) for name in names)


class Cost(unittest.TestCase):
    def setUp(self):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="bough-cost-"))
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.store = os.path.join(self.dir, "shop.bough")

    def bough(self, *words):
        done = subprocess.run([BOUGH, *words], capture_output=True, text=True, cwd=self.dir, timeout=120)
        self.assertEqual(done.returncode, 0, f"{words}: {done.stderr}")
        return done.stdout

    def make_store(self, rows=1000):
        path = os.path.join(self.dir, "shop.db")
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
        db.executemany("INSERT INTO t VALUES(?, ?)", ((i, "x" * 100) for i in range(rows)))
        db.commit()
        db.close()
        self.bough("init", path)

    def uri(self, branch):
        return f"file:{self.store}/db/{branch}?vfs=bough"

    def trace(self, words, calls="all"):
        """The calls of a traced command, in parts between the markers: name -> calls before the next marker."""
        log = os.path.join(self.dir, "trace")
        done = subprocess.run(["strace", "-f", "-qq", "-y", "-s", "300", "-e", f"trace={calls}", "-o", log, *words],
                              capture_output=True, text=True, timeout=200)
        self.assertEqual(done.returncode, 0, done.stderr)
        parts, part = {"start": []}, "start"
        with open(log, errors="replace") as file:
            lines = file.readlines()
        for line in lines:
            found = re.match(r"\d+ +(\w+)\((.*)\) += +(-?\d+|0x[0-9a-f]+|\?)", line)
            if not found:
                continue
            name, arguments, result = found.groups()
            marker = re.search(re.escape(MARK) + r"([\w-]+)", arguments) if name != "execve" else None
            if marker:
                part = marker.group(1)
                parts[part] = []
                continue
            parts[part].append(Call(name, arguments, int(result) if re.fullmatch(r"-?\d+", result) else 0))
        return parts

    def script(self, text, calls="all"):
        return self.trace([sys.executable, "-c", PRELUDE + text], calls)

    def syncs(self, calls):
        return len([c for c in calls if c.name in ("fsync", "fdatasync", "sync_file_range", "msync")])

    def read_bytes(self, calls):
        return sum(c.result for c in calls if c.name in ("read", "pread64", "preadv") and self.store in c.arguments)

    # ---- forks ----

    def test_syncs_of_a_fork(self):
        self.make_store()
        parts = self.script(f"""
lib = library()
store = open_store(lib, {self.store!r})
fork(lib, store, "first")
for i in range(5):
    mark("fork-%d" % i)
    fork(lib, store, "b%d" % i)
mark("end")
""")
        for i in range(5):
            self.assertEqual(self.syncs(parts[f"fork-{i}"]), 1, "a durable fork of a clean branch, store open")
        for i in range(3):
            calls = self.trace([BOUGH, "-s", self.store, "branch", f"c{i}"])["start"]
            self.assertLessEqual(self.syncs(calls), 2, "a durable fork as a command")
            self.assertGreaterEqual(self.syncs(calls), 1, "a fork that is not durable")

    def test_bytes_of_forks(self):
        self.make_store()
        self.bough("-s", self.store, "branch", "before")
        before = allocated(self.store)
        self.bough("-s", self.store, "branch", "b", "--count", "1000")
        # The catalog's log is bounded; checkpointed, what counts is the catalog.
        db = sqlite3.connect(os.path.join(self.store, "catalog.db"))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        self.assertLess((allocated(self.store) - before) / 1000, 1024)

    def test_bytes_of_a_row(self):
        self.make_store()
        for page in (4096,):
            before = allocated(self.store)
            self.bough("-s", self.store, "branch", f"b{page}")
            self.bough("-s", self.store, "sql", f"b{page}", "UPDATE t SET v = 'y' WHERE id = 500")
            self.assertLessEqual(allocated(self.store) - before, 20 * 1024)
            self.assertEqual(os.listdir(os.path.join(self.store, "run")), [])

    # ---- transactions ----

    def test_calls_of_transactions(self):
        self.make_store()
        self.bough("-s", self.store, "branch", "b")
        parts = self.script(f"""
extension()
db = connect({self.uri('b')!r})
for i in range(20):
    db.execute("UPDATE t SET v = ? WHERE id = 5", (str(i),))
    db.execute("SELECT v FROM t WHERE id = 5").fetchall()
for i in range(5):
    mark("write-%d" % i)
    db.execute("UPDATE t SET v = ? WHERE id = 5", ("w%d" % i,))
mark("reread")
db.execute("SELECT v FROM t WHERE id = 5").fetchall()
for i in range(5):
    mark("read-%d" % i)
    db.execute("SELECT v FROM t WHERE id = 5").fetchall()
mark("end")
db.close()
""")
        for i in range(5):
            self.assertEqual([c.name for c in parts[f"read-{i}"]], [], "a cached read transaction")
        lengths = []
        for i in range(5):
            names = [c.name for c in parts[f"write-{i}"]]
            self.assertEqual(names.count("fdatasync"), 1, names)
            lengths.append(len(names))
        # Now and then one more fills new space with zeros.
        self.assertLessEqual(sorted(lengths)[2], 4, lengths)
        self.assertLessEqual(max(lengths), 7, lengths)

    def test_calls_of_readers_beside_a_writer(self):
        """Reading costs no call while others commit, in a snapshot that stays or in new ones; but for the log, where
        another process writes it."""
        self.make_store(5000)
        update = "UPDATE t SET v = 'by another' WHERE id > 4990"
        parts = self.script(f"""
import subprocess
extension()
db, holder, writer = (connect({self.uri('main')!r}) for _ in range(3))
writer.execute({update!r})
def point():
    return db.execute("SELECT v FROM t WHERE id = 5").fetchall()
def scan():
    return holder.execute("SELECT sum(length(v)) FROM t").fetchall()
holder.execute("PRAGMA cache_size = 5")
holder.execute("BEGIN")
first = point(), scan()
for i in range(10): # until the layer has its size
    writer.execute("UPDATE t SET v = v || 'x' WHERE id > 4000")
    point()
for i in range(5):
    mark("commit-%d" % i)
    writer.execute("UPDATE t SET v = v || 'x' WHERE id > 4000")
    mark("point-%d" % i)
    assert point() == first[0]
    mark("scan-%d" % i)
    assert scan() == first[1]
for i in range(5):
    mark("process-%d" % i)
    subprocess.run([{BOUGH!r}, "-s", {self.store!r}, "sql", "main", {update!r}], check=True)
    mark("other-point-%d" % i)
    assert point() == first[0]
    mark("other-scan-%d" % i)
    assert scan() == first[1]
mark("end")
""")
        for i in range(5):
            for part in ("point", "scan", "other-scan"):
                self.assertEqual([c.name for c in parts[f"{part}-{i}"]], [], part)
            names = [c.name for c in parts[f"other-point-{i}"]]
            self.assertLessEqual(len(names), 2, names)

    def test_normal_does_not_sync(self):
        self.make_store()
        parts = self.script(f"""
extension()
db = connect({self.uri('main')!r})
db.execute("PRAGMA synchronous=NORMAL")
db.execute("UPDATE t SET v = 'first' WHERE id = 5")
mark("write")
db.execute("UPDATE t SET v = 'second' WHERE id = 5")
mark("close")
db.close()
mark("end")
""")
        self.assertEqual(self.syncs(parts["write"]), 0)
        self.assertGreaterEqual(self.syncs(parts["close"]), 1, "a clean close makes everything durable")

    def test_bytes_beside_a_snapshot(self):
        """A snapshot that stays keeps each page of its state; beside those and the newest there is 1 MB at most."""
        self.bough("init", "--empty", self.store)
        done = subprocess.run([sys.executable, "-c", PRELUDE + f"""
import random
extension()
db, reader = connect({self.uri('main')!r}), connect({self.uri('main')!r})
db.execute("PRAGMA synchronous=OFF")
db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, v TEXT)")
db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
           "INSERT INTO t SELECT i, 0, hex(zeroblob(46)) FROM n")
reader.execute("BEGIN")
reader.execute("SELECT sum(n) FROM t").fetchone()
db.execute("PRAGMA synchronous=FULL")
random.seed(1)
for i in range(12000):
    db.execute("UPDATE t SET n = n + 1 WHERE id = ?", (random.randrange(20000) + 1,))
assert reader.execute("SELECT sum(n) FROM t").fetchone() == (0,)
folder = {self.store!r} + "/layers/"
print(db.execute("PRAGMA page_count").fetchone()[0] * 4096,
      max(os.stat(folder + name).st_size for name in os.listdir(folder)))
"""], capture_output=True, text=True, timeout=200)
        self.assertEqual(done.returncode, 0, done.stderr)
        live, size = map(int, done.stdout.split())
        self.assertLess(size, 2 * live + 1000000)

    def test_syncs_of_a_bulk_transaction(self):
        """Pages, nodes of the page map, header: one each, also where the transaction replaced much."""
        self.make_store()
        parts = self.script(f"""
extension()
db = connect({self.uri('main')!r})
db.execute("CREATE TABLE bulk(id INTEGER PRIMARY KEY, v BLOB)")
db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000) INSERT INTO bulk SELECT i, randomblob(3000) FROM n")
for i in range(2):
    mark("replace-%d" % i)
    db.execute("UPDATE bulk SET v = randomblob(3000)")
mark("end")
db.close()
""")
        for i in range(2):
            names = [call.name for call in parts[f"replace-{i}"]]
            self.assertEqual(names.count("fdatasync"), 3, names)
            self.assertEqual(names.count("fsync") + names.count("msync"), 0, names)

    # ---- try ----

    def test_syncs_of_a_try(self):
        """What nobody keeps does not wait for the disk: one sync for the forks and one for each that is dropped, of the
        catalog. With --keep everything is durable."""
        self.make_store(20000)
        self.bough("-s", self.store, "tag", "first", "main")
        for name, sql in (("small", "UPDATE t SET v = 'y' WHERE id = 5; CREATE INDEX i ON t(v)"),
                          ("large", "UPDATE t SET v = randomblob(700); DELETE FROM t WHERE id % 2"),
                          ("other", "CREATE TABLE o(a); INSERT INTO o SELECT id FROM t")):
            with open(os.path.join(self.dir, name + ".sql"), "w") as file:
                file.write(sql)
        words = [BOUGH, "-s", self.store, "try", *(os.path.join(self.dir, f"{n}.sql") for n in ("small", "large", "other"))]
        pattern = "fsync,fdatasync,sync_file_range,msync,pwrite64"
        calls = self.trace(words, pattern)["start"]
        synced = [c.arguments for c in calls if "sync" in c.name]
        self.assertEqual([a for a in synced if "/layers" in a or "/nodes" in a], [])
        self.assertLessEqual(len(synced), 1 + 3 + 1, synced)
        self.assertGreater(sum(c.result for c in calls if "/layers" in c.arguments), 9 << 20)
        calls = self.trace([*words, "--keep"], pattern)["start"]
        synced = [c.arguments for c in calls if "sync" in c.name]
        self.assertGreaterEqual(len([a for a in synced if "/layers" in a]), 3 * 3)
        self.assertGreaterEqual(len([a for a in synced if "/nodes" in a]), 1)

    # ---- gc ----

    def test_looks_of_gc(self):
        """Who has what open is looked at once for all branches that expired, and once more for each batch of those that
        are deleted together, in one transaction."""
        self.make_store()
        looks, syncs = [], []
        for count in (3, 30, 60):
            self.bough("-s", self.store, "branch", "b", "main", "--count", str(count), "--ttl", "1s")
            time.sleep(1.05)
            calls = self.trace([BOUGH, "-s", self.store, "gc"])["start"]
            self.assertNotIn("b-1", self.bough("-s", self.store, "branch"))
            looks.append(sum(c.name == "openat" and f'{self.store}/run"' in c.arguments for c in calls))
            syncs.append(self.syncs(calls))
        self.assertGreaterEqual(looks[0], 2)
        self.assertEqual(looks, [looks[0], looks[0], looks[0] + 1])
        self.assertLessEqual(syncs[2], syncs[0] + 2)

    # ---- a very large database ----

    def test_sparse_100_gb(self):
        path = os.path.join(self.dir, "shop.db")
        db = sqlite3.connect(path)
        db.execute("PRAGMA page_size=4096")
        db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
        db.execute("INSERT INTO t VALUES(1, 'one')")
        db.commit()
        db.close()
        pages = 100 * (1 << 30) // 4096
        with open(path, "r+b") as f:
            f.truncate(pages * 4096)
            f.seek(28)
            f.write(pages.to_bytes(4, "big"))
        self.bough("init", path)
        self.assertLess(allocated(self.store), 1 << 20)
        parts = self.script(f"""
lib = library()
mark("open")
store = open_store(lib, {self.store!r})
mark("fork")
fork(lib, store, "b")
mark("drop")
drop(lib, store, "b")
mark("extension")
extension()
mark("first")
db = connect({self.uri('main')!r})
assert db.execute("SELECT v FROM t").fetchall() == [("one",)]
mark("rss")
status = open("/proc/self/status").read()
mark("rss-%d" % int(status.split("VmRSS:")[1].split()[0]))
""")
        self.assertLess(self.read_bytes(parts["open"]), 512 << 10)
        self.assertLess(self.read_bytes(parts["fork"]), 64 << 10)
        self.assertLess(self.read_bytes(parts["drop"]), 64 << 10)
        self.assertLess(self.read_bytes(parts["first"]), 512 << 10)
        if not SANITIZED:
            bare = self.script("status = open('/proc/self/status').read()\n"
                               "mark('rss-%d' % int(status.split('VmRSS:')[1].split()[0]))\n")
            rss = [int(p[4:]) for p in parts if p.startswith("rss-")][0]
            bare_rss = [int(p[4:]) for p in bare if p.startswith("rss-")][0]
            self.assertLess(rss - bare_rss, 32 << 10, "KiB more than Python alone")


if __name__ == "__main__":
    unittest.main()
