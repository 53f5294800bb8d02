"""Damaged files: a bit flipped, a part overwritten, an end cut off, anywhere in a store.

Whatever is damaged, a command answers with the truth or with exit status 6 (or says that it cannot read: 7, not found: 3), and never with other
content, an ended process or a hang. When verify says ok, every branch reads as it did.
"""
import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

BOUGH = os.environ["BOUGH"]
ROUNDS = int(os.environ.get("BOUGH_DAMAGE_ROUNDS", "60"))
SEED = int(os.environ.get("BOUGH_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
REFS = ["main", "premium", "deep", "v1"]
HONEST = {3, 6, 7}


class Damage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = os.path.realpath(tempfile.mkdtemp(prefix="bough-damage-"))
        path = os.path.join(cls.dir, "shop.db")
        db = sqlite3.connect(path)
        db.executescript("""
            CREATE TABLE orders(id INTEGER PRIMARY KEY, user INTEGER, note TEXT);
            CREATE INDEX by_user ON orders(user);
            WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20000)
                INSERT INTO orders SELECT i, i % 97, hex(i * 7919) || 'note' FROM c;
        """)
        db.close()
        cls.whole = os.path.join(cls.dir, "whole")
        os.mkdir(cls.whole)
        shutil.copy(path, cls.whole)
        cls.store = os.path.join(cls.whole, "shop.bough")
        run = cls.run_plain
        run("init", os.path.join(cls.whole, "shop.db"))
        run("branch", "premium")
        for i in range(8):
            run("sql", "premium", f"UPDATE orders SET note = 'p{i}' WHERE user = {i}")
        run("tag", "v1", "premium")
        run("sql", "premium", "UPDATE orders SET note = note || 'x'")  # through a checkpoint
        run("branch", "deep", "premium")
        run("sql", "deep", "DELETE FROM orders WHERE user > 50; CREATE TABLE extra AS SELECT * FROM orders LIMIT 100")
        cls.truth = {ref: cls.digest(cls.store, ref)[1] for ref in REFS}
        assert all(cls.truth.values()), cls.truth
        cls.count = sqlite3.connect(path).execute("SELECT count(*) FROM orders WHERE user <= 50").fetchone()[0]

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir, True)

    @classmethod
    def run_plain(cls, *words):
        done = subprocess.run([BOUGH] + ([] if words[0] == "init" else ["-s", cls.store]) + list(words),
                              capture_output=True, timeout=120)
        assert done.returncode == 0, (words, done.stderr)

    @staticmethod
    def digest(store, ref):
        """Exports; (status, digest of the bytes or None)."""
        target = os.path.join(os.path.dirname(store), "out.db")
        done = subprocess.run([BOUGH, "-s", store, "export", ref, target, "--force"], capture_output=True, timeout=120)
        if done.returncode != 0:
            return done.returncode, None
        with open(target, "rb") as file:
            return 0, hashlib.sha256(file.read()).hexdigest()

    def damage(self, rng, path):
        """Does something to the file, and says what."""
        size = os.path.getsize(path)
        kind = rng.choice(["flip", "flip", "flip", "overwrite", "cut", "zero"])
        if size == 0:
            return None
        # Headers are small among the pages and matter more.
        at = rng.randrange(min(size, 16384)) if rng.randrange(3) == 0 else rng.randrange(size)
        with open(path, "r+b") as file:
            if kind == "cut":
                file.truncate(at)
            else:
                count = {"flip": 1, "overwrite": rng.choice([8, 512, 4096]), "zero": rng.choice([512, 4096])}[kind]
                file.seek(at)
                old = file.read(count)
                new = {"flip": bytes([old[0] ^ (1 << rng.randrange(8))]), "overwrite": rng.randbytes(len(old)),
                       "zero": bytes(len(old))}[kind]
                if new == old:
                    return None
                file.seek(at)
                file.write(new)
        return f"{kind} at {at} of {size} in {os.path.relpath(path, os.path.dirname(self.store))}"

    def test_random_damage(self):
        rng = random.Random(SEED)
        print("seed", SEED)
        found = 0
        for i in range(ROUNDS):
            copy = os.path.join(self.dir, "copy")
            shutil.rmtree(copy, True)
            shutil.copytree(self.whole, copy)
            store = os.path.join(copy, "shop.bough")
            # The catalog's -shm is SQLite's to rebuild; the rest is ours to check.
            files = sorted(os.path.join(top, name) for top, _, names in os.walk(store) for name in names
                           if not name.endswith("-shm"))
            what = self.damage(rng, rng.choice(files))
            if what is None:
                continue
            with self.subTest(round=i, seed=SEED, what=what):
                verify = subprocess.run([BOUGH, "-s", store, "verify", "--json"], capture_output=True, timeout=120)
                self.assertIn(verify.returncode, {0} | HONEST, verify.stderr)
                if verify.returncode == 6 and verify.stdout:
                    document = json.loads(verify.stdout)
                    self.assertFalse(document["ok"])
                    self.assertTrue(document["findings"])
                    self.assertTrue(all(f["where"] and f["what"] for f in document["findings"]))
                readable = 0
                for ref in REFS:
                    status, digest = self.digest(store, ref)
                    self.assertIn(status, {0} | HONEST)
                    if status == 0:
                        readable += 1
                        self.assertEqual(digest, self.truth[ref], f"{ref} reads otherwise than it was written")
                    elif verify.returncode == 0:
                        self.fail(f"verify says ok, {ref} cannot be read")
                query = subprocess.run([BOUGH, "-s", store, "sql", "deep", "SELECT count(*) FROM orders NOT INDEXED"],
                                       capture_output=True, timeout=120)
                self.assertIn(query.returncode, {0} | HONEST, query.stderr)
                if query.returncode == 0:
                    self.assertEqual(query.stdout.split(), [str(self.count).encode()])
                found += verify.returncode != 0
        self.assertGreater(found, ROUNDS // 8, "damage goes unseen")

    def test_a_header_slot_and_the_log_behind_it(self):
        """One stroke over the second header slot and the first records of the log: the other slot knows how far it went."""
        for name in os.listdir(os.path.join(self.store, "layers")):
            copy = os.path.join(self.dir, "copy")
            shutil.rmtree(copy, True)
            shutil.copytree(self.whole, copy)
            store = os.path.join(copy, "shop.bough")
            with open(os.path.join(store, "layers", name), "r+b") as file:
                file.seek(4272)
                file.write(bytes(600))
            for ref in REFS:
                status, digest = self.digest(store, ref)
                self.assertIn(status, (0, 6))
                if status == 0:
                    self.assertEqual(digest, self.truth[ref], f"{ref} with {name} damaged is an older state")

    def test_a_layer_file_that_is_gone(self):
        """A branch with transactions and no commit of its own does not fall back to what it was forked from."""
        copy = os.path.join(self.dir, "copy")
        shutil.rmtree(copy, True)
        shutil.copytree(self.whole, copy)
        store = os.path.join(copy, "shop.bough")
        run = lambda *words: subprocess.run([BOUGH, "-s", store, *words], capture_output=True, text=True, timeout=120)
        self.assertEqual(run("branch", "clean", "main").returncode, 0)
        newest = max(os.listdir(os.path.join(store, "layers")), key=lambda name: int(name.split(".")[0]))
        os.unlink(os.path.join(store, "layers", newest))
        self.assertEqual(self.digest(store, "deep")[0], 6)
        self.assertEqual(run("branch", "fork", "deep").returncode, 6)
        self.assertEqual(run("sql", "deep", "DELETE FROM orders").returncode, 6)
        verify = run("verify")
        self.assertEqual(verify.returncode, 6)
        self.assertIn(newest, verify.stdout)
        for ref in ("main", "clean"):
            self.assertEqual(self.digest(store, ref), (0, self.truth["main"]))
        self.assertEqual(run("delete", "deep", "-f").returncode, 0)
        self.assertEqual(run("verify").returncode, 0)

    def test_one_layer_leaves_the_others(self):
        """A branch with a damaged layer is named; the others stay usable."""
        copy = os.path.join(self.dir, "copy")
        shutil.rmtree(copy, True)
        shutil.copytree(self.whole, copy)
        store = os.path.join(copy, "shop.bough")
        newest = max(os.listdir(os.path.join(store, "layers")), key=lambda name: int(name.split(".")[0]))
        path = os.path.join(store, "layers", newest)
        with open(path, "r+b") as file:
            file.seek(0)
            file.write(bytes(8192))
        self.assertEqual(self.digest(store, "deep")[0], 6)
        for ref in ("main", "premium", "v1"):
            self.assertEqual(self.digest(store, ref), (0, self.truth[ref]))
        verify = subprocess.run([BOUGH, "-s", store, "verify"], capture_output=True, text=True, timeout=120)
        self.assertEqual(verify.returncode, 6)
        self.assertIn(newest, verify.stdout)
        listing = subprocess.run([BOUGH, "-s", store, "branch", "fresh", "main"], capture_output=True, timeout=120)
        self.assertEqual(listing.returncode, 0, listing.stderr)


if __name__ == "__main__":
    unittest.main()
