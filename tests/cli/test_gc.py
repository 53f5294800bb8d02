"""gc as a command: what it says, what it gives back, what it refuses."""
import fcntl
import os
import struct
import subprocess
import sys
import time
import unittest

import support

# Reads, and stays until its stdin is closed.
READER = """
import sqlite3, sys
loader = sqlite3.connect(":memory:")
loader.enable_load_extension(True)
loader.load_extension(sys.argv[1])
db = sqlite3.connect("file:" + sys.argv[2] + "?vfs=bough&mode=ro", uri=True)
print(db.execute("SELECT count(*) FROM users").fetchone()[0], flush=True)
sys.stdin.read()
"""


def as_nobody():
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


KEYS = ["store_bytes", "live_bytes", "freed_bytes"]


class Gc(support.Case):
    def setUp(self):
        super().setUp()
        self.make_store(rows=4000)

    def allocated(self):
        """Bytes on the disk, but for what is there while somebody has the store open."""
        return sum(os.lstat(os.path.join(folder, name)).st_blocks * 512
                   for folder, _, names in os.walk(self.path("shop.bough")) for name in names)

    def contents(self):
        found = {}
        for folder, _, names in os.walk(self.path("shop.bough")):
            for name in names:
                path = os.path.join(folder, name)
                if not name.endswith("-shm"):  # SQLite's own; of no meaning when nobody has the store open
                    with open(path, "rb") as file:
                        found[os.path.relpath(path, self.dir)] = file.read(), os.lstat(path).st_blocks
        return found

    def make_garbage(self):
        """A deleted branch whose last state is a commit of the machine."""
        self.bough("branch", "gone", "main")
        self.sql("gone", "UPDATE users SET name = hex(randomblob(60)); UPDATE orders SET total = random()")
        self.bough("branch", "passing", "gone")
        self.bough("delete", "passing", "gone")

    def test_a_store_without_garbage(self):
        before = self.allocated()
        document = self.json("gc")
        self.assertEqual(list(document), KEYS)
        self.assertEqual(document["freed_bytes"], 0)
        self.assertEqual(self.allocated(), before)
        self.assertLessEqual(document["live_bytes"], document["store_bytes"])
        self.assertEqual(document["store_bytes"], self.json("du")["store_bytes"])

    def test_giving_back(self):
        self.make_garbage()
        for words in ([], ["--undo-days", "1"]):  # it may be wanted back
            self.assertLess(self.json("gc", *words)["freed_bytes"], 65536)
        before = self.allocated()
        kept = self.contents()
        promise = self.json("gc", "--undo-days", "0", "--dry-run")
        self.assertEqual(self.contents(), kept)
        document = self.json("gc", "--undo-days", "0")
        self.assertGreater(document["freed_bytes"], 200_000)
        self.assertAlmostEqual(promise["freed_bytes"], document["freed_bytes"], delta=65536)
        self.assertEqual(self.allocated(), before - document["freed_bytes"])
        self.bough("verify")
        self.assertEqual(self.value("main", "SELECT count(*) FROM users"), 4000)

    def test_what_it_says(self):
        self.make_garbage()
        self.assertRegex(self.bough("gc", "--undo-days", "0", "-n").text,
                         r"^1 commit of the machine would be pruned\n.* would be given back, the store takes .*\n$")
        self.assertRegex(self.bough("gc", "--undo-days", "0").text,
                         r"^1 commit of the machine pruned\n.* given back, the store takes .*\n$")
        self.assertEqual(self.bough("gc", "-q").text, "")

    def test_branches_whose_time_is_over(self):
        self.bough("branch", "short", "main", "--ttl", "1s")
        self.bough("branch", "long", "main", "--ttl", "1h")
        self.sql("short", "DELETE FROM users WHERE id % 2")
        while time.time() * 1000 < self.expiry("short"):
            time.sleep(0.05)
        self.assertIn("short: would be dropped", self.bough("gc", "-n").text)
        self.assertIn("short", self.names())
        self.assertIn("short: dropped, its time is over", self.bough("gc").text)
        self.assertEqual(self.names(), ["long", "main"])

    def expiry(self, name):
        """Milliseconds since 1970."""
        text = next(b["expires_at"] for b in self.branches() if b["name"] == name)
        seconds = time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        return seconds * 1000 + 1000

    def test_pruned_commits(self):
        self.bough("branch", "dev", "main")
        self.sql("dev", "UPDATE users SET name = 'a'")
        self.bough("branch", "child", "dev")
        pruned = self.json("log", "dev")[0]["id"]
        self.bough("delete", "child")
        self.sql("dev", "UPDATE users SET name = 'b'")
        mine = self.json("commit", "dev", "-m", "mine")["id"]
        self.bough("gc", "--undo-days", "0")
        log = self.json("log", "dev")
        self.assertEqual([(c["id"], c["pruned"]) for c in log[:2]], [(mine, False), (pruned, True)])
        for words in (["export", pruned, "x.db"], ["sql", pruned, "SELECT 1"], ["url", pruned], ["branch", "x", pruned],
                      ["tag", "x", pruned], ["diff", "main", pruned], ["reset", "dev", "--to", pruned],
                      ["verify", pruned]):
            self.assertIn("pruned", self.fails(3, *words))
        self.bough("diff", "main", mine)
        self.bough("verify")

    def test_changes_that_nobody_counted(self):
        """More pages than are counted when a commit is made; the log counts them, while they are there."""
        self.sql("main", "CREATE TABLE big(a);" + support.counting(6000) +
                 "INSERT INTO big SELECT randomblob(900) FROM n")
        self.bough("branch", "dev", "main")
        self.sql("dev", "UPDATE big SET a = randomblob(900)")
        self.bough("branch", "child", "dev")
        self.bough("delete", "child")
        self.sql("dev", "DELETE FROM big")
        self.bough("commit", "dev")
        self.bough("gc", "--undo-days", "0")
        log = self.json("log", "dev")
        self.assertEqual([c["pruned"] for c in log[:2]], [False, True])
        self.assertIsNone(log[1]["changed_pages"])
        self.assertIn(" ? ", self.bough("log", "dev").text)

    def test_refusals(self):
        for days in ("-1", "x", "1.5", ""):
            self.fails(2, "gc", "--undo-days", days)
        with open(self.path("shop.bough", "db"), "r+b") as file:
            # struct flock: type, whence, start, length, pid. 37: F_OFD_SETLK; 0: a shared lock.
            fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 1, 0))
            self.assertIn("without permission", self.fails(5, "gc", "--timeout", "0"))
            self.json("gc", "--dry-run")
        with open(self.path("shop.bough", "db"), "r+b") as file:
            fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 1, 1, 0))
            self.assertIn("already", self.fails(5, "gc", "--timeout", "0"))

    @unittest.skipUnless(os.geteuid() == 0, "needs another user")
    def test_a_reader_without_permission(self):
        """Of a branch's newest state, and of a past one: neither can say what it reads."""
        self.bough("branch", "dev", "main")
        self.sql("dev", "UPDATE users SET name = 'a'")
        os.chmod(self.dir, 0o755)
        for ref in ("dev", "main~0"):
            words = [sys.executable, "-c", READER, support.BOUGH_SO, self.path("shop.bough", "db", ref)]
            reader = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=as_nobody)
            self.assertEqual(reader.stdout.readline(), b"4000\n")
            self.assertIn("without permission", self.fails(5, "gc", "--timeout", "0"))
            reader.stdin.close()
            self.assertEqual(reader.wait(), 0)
            reader.stdout.close()
            self.bough("gc", "--timeout", "0")

    def test_a_damaged_node(self):
        self.make_garbage()
        with open(self.path("shop.bough", "nodes", "1.nodes"), "r+b") as file:
            file.seek(4096 + 300)
            file.write(b"rotten")
        before = self.contents()
        self.fails(6, "gc", "--undo-days", "0")
        after = self.contents()
        self.assertEqual({k: v for k, v in after.items() if "layers" in k or "nodes" in k},
                         {k: v for k, v in before.items() if "layers" in k or "nodes" in k})

    def test_memory(self):
        """Bits, and not nodes: 12 MiB more of live pages take next to no memory more."""
        def peak():
            code = ("import resource, subprocess, sys;"
                    "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
                    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
            words = [support.BOUGH, "-s", self.path("shop.bough"), "gc"]
            return int(subprocess.check_output(["/usr/bin/python3", "-c", code, *words]))
        small = min(peak() for _ in range(3))
        self.sql("main", "CREATE TABLE big(a); " + support.counting(3000) +
                 "INSERT INTO big SELECT randomblob(4000) FROM n")
        self.bough("commit", "main")
        large = min(peak() for _ in range(3))
        self.assertLess(large, small + 2048, "KiB")

    def test_usage_afterwards(self):
        self.make_garbage()
        self.bough("branch", "dev", "main")
        for i in range(3):
            self.sql("dev", "UPDATE users SET name = hex(randomblob(60))")
            self.bough("branch", "child", "dev")
            self.bough("delete", "child")
        before = {b["name"]: b["own_bytes"] for b in self.json("du")["branches"]}
        self.bough("gc", "--undo-days", "0")
        usage = self.json("du")
        after = {b["name"]: b["own_bytes"] for b in usage["branches"]}
        self.assertLess(after["dev"], before["dev"] - 100_000)
        self.assertLessEqual(sum(after.values()), usage["store_bytes"])


if __name__ == "__main__":
    support.main()
