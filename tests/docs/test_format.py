"""A reader of stores written from docs/format.md alone: what it finds must be what the program says.

It checks each checksum and digest that the document describes, and puts branches together from tree and log."""
import ctypes
import hashlib
import json
import os
import shutil
import sqlite3
import struct
import subprocess
import tempfile
import unittest

BOUGH = os.environ["BOUGH"]
ALL_ONES = (1 << 64) - 1
ZERO = bytes(32)
library = ctypes.CDLL("libxxhash.so.0")
library.XXH3_64bits_withSeed.restype = ctypes.c_uint64
library.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]


def xxh3(data, seed=0):
    return library.XXH3_64bits_withSeed(bytes(data), len(data), seed)


def u32(data, offset):
    return struct.unpack_from("<I", data, offset)[0]


def u64(data, offset):
    return struct.unpack_from("<Q", data, offset)[0]


def check(condition, what):
    if not condition:
        raise AssertionError(what)


class Tree:
    def __init__(self, data):
        self.size, self.block_size, self.file, self.index = struct.unpack_from("<QIII", data)
        self.digest = bytes(data[20:52])
        self.blocks = -(-self.size // self.block_size) if self.block_size else 0

    def root(self):
        sizes = struct.pack("<QI", self.size, self.block_size)
        return hashlib.sha256(b"bough root 1\n" + sizes + self.digest).digest()

    def depth(self):
        depth = 0
        while self.blocks and 64 ** depth < self.blocks or self.blocks and depth == 0:
            depth += 1
        return depth


class Slot:
    def __init__(self, data, key, number):
        self.is_valid = u64(data, 504) == xxh3(data[:504], key ^ (number << 32) + 0x736c6f74)
        (self.sequence, self.generation, self.txn, self.durable, self.hold, self.log_seed, self.log_offset, self.log_size,
         self.frames, self.nodes) = struct.unpack_from("<10Q", data)
        self.tree = Tree(data[80:132])
        self.free_offset, self.free_count, self.free_sum = struct.unpack_from("<3Q", data, 136)
        self.list_areas = list(struct.iter_unpack("<QQ", data[160:192]))


class Store:
    def __init__(self, path):
        self.path = path
        data = self.read("db")
        check(data[:16] == b"bough store 1\n\0\0" and u32(data, 16) == 1 and u32(data, 20) == 0, "db")
        check(u64(data, 48) == xxh3(data[:48]), "sum of db")
        self.uuid = data[32:48]
        self.key = xxh3(self.uuid)
        self.files = {}

    def read(self, name):
        with open(os.path.join(self.path, name), "rb") as file:
            return file.read()

    def file(self, name):
        if name not in self.files:
            self.files[name] = self.read(name)
        return self.files[name]

    def layer(self, number):
        data = self.file(f"layers/{number}.layer")
        check(data[:16] == b"bough layer 1\n\0\0" and u32(data, 16) == 1 and u32(data, 20) == 0, "identity")
        check(u32(data, 24) == number and data[32:48] == self.uuid and u64(data, 504) == xxh3(data[:504]), "identity")
        return data

    def page(self, layer, frame, block, page_sum, size):
        data = self.layer(layer)
        check(u32(data, 28) == size, "block size")
        page = data[16384 + frame * size:16384 + (frame + 1) * size]
        check(len(page) == size, "a frame beyond the end")
        check(page_sum == xxh3(struct.pack("<4QI", xxh3(page), self.key, frame, block, layer)), f"page sum of block {block}")
        return page

    def node(self, file, index):
        data = self.file(f"nodes/{file}.nodes")
        check(data[:16] == b"bough nodes 1\n\0\0" and u32(data, 16) == 1 and u32(data, 28) == file, "header of a node file")
        check(u64(data, 32) == self.key and u64(data, 40) == xxh3(data[:40]), "header of a node file")
        cell = data[index * 4096:(index + 1) * 4096]
        check(cell[:8] == b"boughnod" and u64(cell, 8) == xxh3(cell[16:], self.key), f"node {index}")
        check(u32(cell, 16) == 1 and u32(cell, 28) == file and u32(cell, 32) == index, f"node {index}")
        return cell

    superseded = (0, frozenset())  # layer and blocks whose pages of the tree are dead

    def walk(self, tree, file, index, digest, level, first, pages):
        """Fills pages with what lies below the node, and compares its digest."""
        cell = self.node(file, index)
        check(u32(cell, 20) == level, "level")
        digests, used = [], 0
        for i in range(64):
            block = first + i * 64 ** (level - 1)
            if level == 1:
                layer, frame, _birth, page_sum = struct.unpack_from("<IQQQ", cell, 256 + 60 * i)
                child = cell[256 + 60 * i + 28:][:32]
                used += layer != 0
                is_dead = layer == self.superseded[0] and block in self.superseded[1]
                if layer and not is_dead:
                    pages[block] = self.page(layer, frame, block, page_sum, tree.block_size)
                    length = min(tree.block_size, tree.size - block * tree.block_size)
                    check(child == hashlib.sha256(pages[block][:length]).digest(), f"digest of block {block}")
            else:
                child_file, child_index = struct.unpack_from("<II", cell, 256 + 40 * i)
                child = cell[256 + 40 * i + 8:][:32]
                used += child_file != 0
                if child_file:
                    self.walk(tree, child_file, child_index, child, level - 1, block, pages)
            digests.append(child)
        check(used == u32(cell, 24), "number of children")
        check(digest == hashlib.sha256(b"bough node 1\n" + bytes([level]) + b"".join(digests)).digest(), "digest of a node")

    def pages(self, tree):
        pages = {}
        if tree.file:
            self.walk(tree, tree.file, tree.index, tree.digest, tree.depth(), 0, pages)
        return pages

    def slot(self, number):
        data = self.layer(number)
        slots = [Slot(data[offset:offset + 512], self.key, number) for offset in (1024, 4096, 8192, 12288)]
        for slot, (generation, sequence) in zip(slots, ((1, 1), (1, 0), (0, 1), (0, 0))):
            check(not slot.is_valid or (slot.generation % 2, slot.sequence % 2) == (generation, sequence), "place of a slot")
        return max((slot for slot in slots if slot.is_valid), key=lambda slot: slot.sequence)

    def free_extents(self, number, slot):
        if not slot.free_count:
            return []
        data = self.layer(number)[slot.free_offset:slot.free_offset + 16 * slot.free_count]
        check(slot.free_sum == xxh3(data, slot.log_seed), "sum of free extents")
        check(any(at == slot.free_offset for at, frames in slot.list_areas), "place of free extents")
        return list(struct.iter_unpack("<QQ", data))

    def records(self, number, slot):
        """(transaction, size, keep, entries) of each record, in order."""
        data = self.layer(number)
        at, end, seed, txn = slot.log_offset, slot.log_offset + slot.log_size, slot.log_seed, slot.txn
        while at + 64 <= end and data[at:at + 4] == b"BLR1":
            kind, length, count = struct.unpack_from("<III", data, at + 4)
            record = bytearray(data[at:at + length])
            if length != 64 + 24 * count or at + length > end or len(record) != length:
                return
            record[56:64] = bytes(8)
            if u64(data, at + 56) != xxh3(record, seed):
                return
            seed = u64(data, at + 56)
            number_of, _durable, size, keep = struct.unpack_from("<4Q", data, at + 16)
            if kind == 2:
                check(number_of == txn, "transaction of a link")
                at, end = size, size + keep
                continue
            check(kind in (1, 3) and number_of == txn + 1, "transaction of a record")
            txn = number_of
            yield txn, size, keep, list(struct.iter_unpack("<3Q", record[64:])), kind == 3
            at += length

    def decision(self, slot, identity):
        """Whether the decision is to commit; None: there is no such decision."""
        data = self.read("decisions")[512 * slot:512 * (slot + 1)] if "decisions" in os.listdir(self.path) else b""
        if data[496:] != identity:
            return None
        check(data[:4] == b"BLD1" and u64(data, 16) == xxh3(data[:16] + bytes(8) + data[24:], self.key ^ slot), "decision")
        check(u32(data, 4) in (1, 2), "state of a decision")
        return u32(data, 4) == 1

    def members(self, slot):
        data = self.read("decisions")[512 * slot:512 * (slot + 1)]
        return [struct.unpack_from("<IQ", data, 24 + 12 * i) for i in range(u32(data, 8))]

    def counts(self, slot, txn, entry, durable, has_next):
        """Whether a prepared transaction is one."""
        return has_next or durable >= txn or bool(self.decision(entry[0], struct.pack("<QQ", *entry[1:])))

    def branch_bytes(self, number):
        """What the layer's branch holds: its tree with the log on top. Also the newest transaction."""
        slot = self.slot(number)
        size, block_size, txn = slot.tree.size, u32(self.layer(number), 28), slot.txn
        records = []
        found = list(self.records(number, slot))
        for i, (record_txn, record_size, keep, entries, is_prepared) in enumerate(found):
            if is_prepared and not self.counts(slot, record_txn, entries[0], slot.durable, i + 1 < len(found)):
                break
            records.append((record_txn, record_size, keep, entries[is_prepared:]))
        # A page that the log superseded is dead: its frame may hold another one by now.
        self.superseded = (number, {entry[0] for record in records for entry in record[3]})
        pages = self.pages(slot.tree)
        self.superseded = (0, set())
        newest = {entry[0]: record[0] for record in records for entry in record[3]}
        for txn, size, keep, entries in records:
            pages = {block: page for block, page in pages.items() if block < keep}
            for block, frame, page_sum in entries:
                pages.pop(block, None)
                if frame != ALL_ONES and newest[block] == txn:
                    pages[block] = self.page(number, frame, block, page_sum, block_size)
        check(txn >= slot.durable, "the log ends early")
        return assemble(pages, size, block_size), txn


def assemble(pages, size, block_size):
    data = bytearray(-(-size // block_size) * block_size if block_size else 0)
    for block, page in pages.items():
        data[block * block_size:(block + 1) * block_size] = page
    return bytes(data[:size])


def encode(value):
    if value is None:
        return struct.pack("<I", 0xffffffff)
    if isinstance(value, int):
        return struct.pack("<q", value)
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<I", len(data)) + data


class Format(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = os.path.realpath(tempfile.mkdtemp(prefix="bough-format-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        db = sqlite3.connect(os.path.join(cls.directory, "shop.db"))
        db.execute("PRAGMA page_size=1024")
        db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        db.executemany("INSERT INTO t VALUES(?, randomblob(900))", [(i,) for i in range(300)])
        db.commit()
        db.close()
        with open(os.path.join(cls.directory, "shop.db"), "ab") as file:
            file.write(b"a short last page")
        cls.bough("init", "shop.db")
        cls.bough("branch", "small")
        cls.bough("branch", "large")
        cls.bough("branch", "cut")
        cls.bough("branch", "clean")
        cls.bough("branch", "moved")
        for i in range(60):
            cls.bough("sql", "small", f"UPDATE t SET b = randomblob(900) WHERE a % 40 = {i % 40}; INSERT INTO t(b) VALUES({i})")
        cls.bough("commit", "small", "-m", "Grüße")
        cls.bough("sql", "small", "UPDATE t SET b = 1 WHERE a < 20")
        cls.bough("tag", "v1", "small")
        for _ in range(3):
            cls.bough("sql", "large", "INSERT INTO t(b) SELECT zeroblob(3000) || randomblob(400) FROM t, (SELECT 1 UNION SELECT 2)")
        cls.bough("sql", "large", "UPDATE t SET b = 2 WHERE a = 2")
        cls.bough("sql", "cut", "DELETE FROM t WHERE a > 50; VACUUM")
        cls.bough("sql", "cut", "INSERT INTO t(b) VALUES(randomblob(9000))")
        cls.bough("sql", "cut", "DELETE FROM t WHERE a > 5; VACUUM; INSERT INTO t(b) SELECT zeroblob(500) FROM t")
        cls.bough("sql", "moved", "UPDATE t SET b = 3")
        cls.bough("reset", "moved")
        cls.store = Store(os.path.join(cls.directory, "shop.bough"))
        cls.catalog = sqlite3.connect(os.path.join(cls.directory, "shop.bough", "catalog.db"))

    @classmethod
    def tearDownClass(cls):
        cls.catalog.close()

    @classmethod
    def bough(cls, *arguments):
        done = subprocess.run([BOUGH, *arguments], cwd=cls.directory, capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return done.stdout

    def exported(self, ref):
        self.bough("export", ref, "out.db", "--force")
        with open(os.path.join(self.directory, "out.db"), "rb") as file:
            return file.read()

    def test_branches(self):
        seen = set()
        for name, layer, head_txn, head in self.catalog.execute("SELECT name, layer, head_txn, head FROM branches"):
            with self.subTest(name):
                if os.path.exists(os.path.join(self.store.path, "layers", f"{layer}.layer")):
                    data, txn = self.store.branch_bytes(layer)
                    self.assertGreaterEqual(txn, head_txn)
                    slot = self.store.slot(layer)
                    seen |= {"log"} if txn > slot.txn else {"no log"}
                    seen |= {"checkpoint"} if slot.generation > 1 else set()
                    frames = [f for first, count in self.store.free_extents(layer, slot) for f in range(first, first + count)]
                    self.assertLess(max(frames, default=-1), slot.frames)
                    seen |= {"free"} if frames else set()
                else:
                    tree = Tree(self.catalog.execute("SELECT tree FROM commits WHERE id = ?", (head,)).fetchone()[0])
                    data = assemble(self.store.pages(tree), tree.size, tree.block_size)
                    seen.add("no layer")
                self.assertEqual(hashlib.sha256(data).hexdigest(), hashlib.sha256(self.exported(name)).hexdigest())
        self.assertLessEqual({"log", "checkpoint", "no layer"}, seen)

    def test_commits(self):
        rows = self.catalog.execute("SELECT id, root, tree, parents, author, message, created_at_ms FROM commits").fetchall()
        self.assertGreater(len(rows), 2)
        for identity, root, tree, parents, author, message, time in rows:
            tree = Tree(tree)
            self.assertEqual(tree.root(), root)
            author, message = author.encode(), message.encode()
            content = (b"bough commit 1\n" + root + struct.pack("<I", len(parents) // 32) + parents + struct.pack("<Q", time) +
                       struct.pack("<I", len(author)) + author + struct.pack("<I", len(message)) + message)
            self.assertEqual(hashlib.sha256(content).digest(), identity)
            self.assertEqual(assemble(self.store.pages(tree), tree.size, tree.block_size), self.exported(identity.hex()))
        listed = {commit["id"] for name in ("main", "v1") for commit in json.loads(self.bough("log", name, "--json"))}
        self.assertLessEqual(listed, {row[0].hex() for row in rows})

    def test_sums_of_rows(self):
        for table in ("branches", "commits", "moves", "tags", "settings"):
            cursor = self.catalog.execute(f"SELECT * FROM {table}")
            self.assertEqual(cursor.description[-1][0], "sum")
            rows = cursor.fetchall()
            self.assertTrue(rows, table)
            for *columns, row_sum in rows:
                content = table[0].encode() + b"".join(map(encode, columns))
                self.assertEqual(xxh3(content), row_sum % (1 << 64), table)

    def test_catalog(self):
        self.assertEqual(self.catalog.execute("PRAGMA application_id").fetchone()[0], 0x626f7567)
        self.assertEqual(self.catalog.execute("PRAGMA user_version").fetchone()[0], 2)
        self.assertEqual(self.catalog.execute("PRAGMA page_size").fetchone()[0], 1024)
        self.assertEqual(self.catalog.execute("PRAGMA journal_mode").fetchone()[0], "wal")
        for branch, layer, name in self.catalog.execute("SELECT id, layer, name FROM branches"):
            self.assertEqual(layer, branch + (name == "moved"))

    def test_catalog_lock(self):
        lock = self.store.file("catalog.lock")
        self.assertEqual((len(lock), lock[0]), (24, 0))
        self.assertEqual(xxh3(lock[8:16]), u64(lock, 16))
        value, = self.catalog.execute("SELECT value FROM settings WHERE key = 'transactions'").fetchone()
        self.assertEqual(u64(lock, 8), int(value))

    def test_decisions(self):
        """A store as a killed process leaves it: with and without the decision, and with a damaged one."""
        directory = tempfile.mkdtemp(prefix="bough-decision-", dir=self.directory)
        original, copy = (os.path.join(directory, name) for name in ("a.bough", "b.bough"))
        shutil.copy(os.path.join(self.directory, "shop.db"), os.path.join(directory, "a.db"))
        self.bough("init", os.path.join(directory, "a.db"))
        for name in ("one", "two", "three"):
            self.bough("--store", original, "branch", name)
        uri = "file:" + original + "/db/%s?vfs=bough"
        script = f"""
import shutil, sqlite3
db = sqlite3.connect(':memory:')
db.enable_load_extension(True)
db.load_extension({os.environ["BOUGH_SO"]!r})
db = sqlite3.connect('{uri % "one"}', uri=True, isolation_level=None)
db.execute("ATTACH '{uri % "two"}' AS two")
db.execute("ATTACH '{uri % "three"}' AS three")
for i in range(2):
    db.execute('BEGIN')
    for name in ('main', 'two') + ('three',) * i:
        db.execute(f'UPDATE {{name}}.t SET b = {{i}} WHERE a < 50')
    db.execute('COMMIT')
shutil.copytree({original!r}, {copy!r})
"""
        subprocess.run(["/usr/bin/python3", "-c", script], check=True)
        before = {name: self.exported_from(original, name + "~0") for name in ("one", "two", "three")}
        after = {name: self.exported_from(original, name) for name in ("one", "two", "three")}
        self.assertNotEqual(after["three"], before["three"])
        for how in ("decided", "undecided", "damaged"):
            with self.subTest(how):
                shutil.rmtree(original)
                shutil.copytree(copy, original)
                with open(os.path.join(original, "decisions"), "r+b") as file:
                    if how == "undecided":
                        file.seek(512)
                        file.write(bytes(512))
                    elif how == "damaged":
                        file.seek(512 + 30)
                        file.write(b"x")
                store = Store(original)
                if how == "damaged":
                    with self.assertRaises(AssertionError):
                        store.branch_bytes(3)
                    failed = subprocess.run([BOUGH, "--store", original, "sql", "one", "SELECT 1 FROM t"], capture_output=True)
                    self.assertEqual(failed.returncode, 6)
                    continue
                self.assertEqual(store.decision(0, store.read("decisions")[496:512]), True)
                self.assertEqual(store.members(0), [(3, 1), (4, 1)])
                if how == "decided":
                    self.assertEqual(store.members(1), [(3, 2), (4, 2), (5, 1)])
                for number, name in ((3, "one"), (4, "two"), (5, "three")):
                    data, txn = store.branch_bytes(number)
                    self.assertEqual(txn, (2 if name != "three" else 1) - (how == "undecided"))
                    self.assertEqual(data, self.exported_from(original, name))
                    if how == "decided" or name == "three":
                        self.assertEqual(data, (after if how == "decided" else before)[name])

    def exported_from(self, store, ref):
        self.bough("--store", store, "export", ref, "out.db", "--force")
        with open(os.path.join(self.directory, "out.db"), "rb") as file:
            return file.read()

    def test_reader_finds_damage(self):
        """The checks above would not be worth much if they could not fail."""
        name = self.catalog.execute("SELECT layer FROM branches WHERE name = 'small'").fetchone()[0]
        whole = self.store.file(f"layers/{name}.layer")
        newest = {block: frame for record in self.store.records(name, self.store.slot(name))
                  for block, frame, _sum in record[3]}
        pages = [16384 + frame * u32(whole, 28) for frame in newest.values() if frame != ALL_ONES]
        self.assertTrue(pages)
        try:
            for offset in [24, 32, 504] + pages[:3]:
                broken = bytearray(whole)
                broken[offset] ^= 1
                self.store.files[f"layers/{name}.layer"] = bytes(broken)
                with self.assertRaises(AssertionError):
                    self.store.branch_bytes(name)
                    for _, _, tree in self.catalog.execute("SELECT id, root, tree FROM commits"):
                        self.store.pages(Tree(tree))
        finally:
            self.store.files[f"layers/{name}.layer"] = whole


if __name__ == "__main__":
    unittest.main()
