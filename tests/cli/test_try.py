"""bough try and bough compare: outcomes side by side, as JSON, as text and as a page."""
import contextlib
import html.parser
import json
import os
import re
import signal
import sqlite3
import subprocess
import time
import unittest

from support import BOUGH, Case, main

SIDE_KEYS = ["name", "ok", "error", "seconds", "pages_changed", "own_bytes", "integrity", "foreign_key_violations",
             "tables", "schema", "queries"]
TABLE_KEYS = ["name", "status", "rows_added", "rows_removed", "rows_changed"]
SCHEMA_KEYS = ["type", "name", "status", "from_sql", "to_sql"]
QUERY_KEYS = ["sql", "seconds", "base_seconds", "plan", "base_plan", "rows"]
HANGS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n;"
VOID = {"meta", "link", "br"}


class Page(html.parser.HTMLParser):
    """Reads a page; every element must be closed by its own end tag."""
    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.attributes = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)


class TryCase(Case):
    def setUp(self):
        super().setUp()
        self.make_store()

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return name

    def check_sides(self, document, base, names):
        self.assertEqual(list(document), ["base", "branches"])
        self.assertEqual(document["base"], base)
        self.assertEqual([side["name"] for side in document["branches"]], names)
        for side in document["branches"]:
            self.assertEqual(list(side), SIDE_KEYS)
            for table in side["tables"]:
                self.assertEqual(list(table), TABLE_KEYS)
            for change in side["schema"]:
                self.assertEqual(list(change), SCHEMA_KEYS)
            for query in side["queries"]:
                self.assertEqual(list(query), QUERY_KEYS)
        return document["branches"]

    def left_nothing(self):
        self.assertEqual(self.names(), ["main"])
        self.assertEqual(os.listdir(self.path("shop.bough", "layers")).__len__(), 1)


class Outcomes(TryCase):
    def test_three_scripts(self):
        self.write("add.sql", "ALTER TABLE users ADD COLUMN mail TEXT; UPDATE users SET name = 'x' WHERE id <= 3;")
        self.write("m/drop.sql", "DELETE FROM orders WHERE id > 190;\nCREATE TABLE new(a);\nINSERT INTO new VALUES(1), (2)")
        self.write("same.sql", "-- nothing\n")
        add, drop, same = self.check_sides(self.json("try", "add.sql", "m/drop.sql", "same.sql"), "main",
                                           ["add", "drop", "same"])
        for side in (add, drop, same):
            self.assertEqual((side["ok"], side["error"], side["integrity"], side["foreign_key_violations"],
                              side["queries"]), (True, None, "ok", 0, []))
            self.assertIsInstance(side["seconds"], float)
        self.assertEqual([list(t.values()) for t in add["tables"]], [["users", "changed", 0, 0, 3]])
        self.assertEqual([(c["type"], c["name"], c["status"]) for c in add["schema"]], [("table", "users", "changed")])
        self.assertEqual([list(t.values()) for t in drop["tables"]],
                         [["new", "added", 2, 0, 0], ["orders", "changed", 0, 10, 0]])
        self.assertGreater(add["pages_changed"], 0)
        self.assertGreater(add["own_bytes"], 0)
        self.assertEqual((same["pages_changed"], same["own_bytes"], same["tables"], same["schema"]), (0, 0, [], []))
        self.left_nothing()

    def test_keep_then_compare_says_the_same(self):
        self.write("a.sql", "DELETE FROM users WHERE id = 7;")
        self.write("b.sql", "CREATE INDEX more ON users(name);")
        tried = self.json("try", "a.sql", "b.sql", "--keep")
        self.assertEqual(self.names(), ["a", "b", "main"])
        self.assertEqual(self.value("a", "SELECT count(*) FROM users"), 199)
        self.assertEqual(self.branch("a")["parent"], "main")
        compared = self.json("compare", "main", "a", "b")
        sides = self.check_sides(compared, "main", ["a", "b"])
        self.assertEqual([side.pop("seconds") for side in sides], [None, None])
        for side in tried["branches"]:
            side.pop("seconds")
        self.assertEqual(compared, tried)
        self.bough("promote", "a")
        self.assertEqual(self.value("main", "SELECT count(*) FROM users"), 199)

    def test_keep_prints_which_branches(self):
        self.write("a.sql", "SELECT 1;")
        self.assertIn("branch a: kept", self.bough("try", "a.sql", "--keep").text)
        self.bough("delete", "a")
        self.assertEqual(self.bough("try", "a.sql", "--keep", "-q").text, "a\n")

    def test_a_script_that_fails(self):
        self.write("good.sql", "CREATE TABLE good(a);")
        self.write("bad.sql", "CREATE TABLE kept(a);\n-- here:\nINSERT INTO kept\n  VALUES(1, 2);\nCREATE TABLE never(a);")
        before = self.snapshot()
        document = self.json("try", "good.sql", "bad.sql", status=1)
        good, bad = self.check_sides(document, "main", ["good", "bad"])
        self.assertTrue(good["ok"])
        self.assertFalse(bad["ok"])
        self.assertEqual(bad["error"], "bad.sql:3: statement 2: table kept has 1 columns but 2 values were supplied: "
                         "INSERT INTO kept VALUES(1, 2)")
        self.assertEqual([t["name"] for t in bad["tables"]], ["kept"])
        result = self.bough("try", "good.sql", "bad.sql", status=1)
        self.assertIn("FAILED  bad.sql:3: statement 2", result.text)
        self.assertEqual(result.err, b"")
        self.assertEqual(self.snapshot(), before)

    def test_a_constraint_an_open_transaction_and_what_was_committed(self):
        self.write("constraint.sql", "BEGIN; DELETE FROM orders; COMMIT;\nINSERT INTO users(id) VALUES(1);")
        self.write("open.sql", "BEGIN; DELETE FROM orders;")
        constraint, left = self.json("try", "constraint.sql", "open.sql", status=1)["branches"]
        self.assertIn("constraint.sql:2: statement 4: UNIQUE constraint failed: users.id", constraint["error"])
        self.assertEqual(constraint["tables"][0]["rows_removed"], 200)
        self.assertEqual(left["error"], "open.sql: the script left a transaction open; it was rolled back")
        self.assertEqual((left["ok"], left["tables"]), (False, []))

    def test_byte_order_mark_crlf_and_a_last_comment(self):
        self.write("a.sql", b"\xef\xbb\xbfCREATE TABLE a(b);\r\nINSERT INTO a VALUES(';');\r\n-- done")
        self.assertEqual(self.json("try", "a.sql")["branches"][0]["tables"][0]["rows_added"], 1)

    def test_from(self):
        self.bough("commit", "main")
        self.bough("sql", "main", "DELETE FROM users")
        self.bough("tag", "v1", "main~0")
        self.write("a.sql", "DELETE FROM users WHERE id = 1;")
        side, = self.check_sides(self.json("try", "a.sql", "--from", "v1"), "v1", ["a"])
        self.assertEqual(side["tables"][0]["rows_removed"], 1)
        side, = self.check_sides(self.json("try", "a.sql"), "main", ["a"])
        self.assertEqual(side["tables"], [])
        self.bough("protect", "main")
        self.assertTrue(self.json("try", "a.sql")["branches"][0]["ok"])

    def test_jobs(self):
        for i in range(9):
            self.write(f"s{i}.sql", f"DELETE FROM users WHERE id <= {i};")
        files = [f"s{i}.sql" for i in range(9)]
        for jobs in ("1", "8"):
            sides = self.json("try", *files, "--jobs", jobs)["branches"]
            self.assertEqual([sum(t["rows_removed"] for t in side["tables"]) for side in sides], list(range(9)))
        self.left_nothing()

    def test_foreign_keys_integrity_and_lost_objects(self):
        self.bough("sql", "main", "CREATE TABLE parent(id INTEGER PRIMARY KEY); INSERT INTO parent VALUES(1), (2), (3);"
                   "CREATE TABLE child(p REFERENCES parent); INSERT INTO child VALUES(1), (2), (3), (NULL);"
                   "CREATE VIEW seen AS SELECT name FROM users; CREATE TABLE log(a);"
                   "CREATE TRIGGER tr AFTER UPDATE ON users BEGIN INSERT INTO log VALUES(new.name); END;")
        self.write("fk.sql", "DELETE FROM parent WHERE id > 1;")
        self.write("lost.sql", "CREATE TABLE n(id INTEGER PRIMARY KEY, user_id, total); INSERT INTO n SELECT * FROM orders;"
                   "DROP TABLE orders; ALTER TABLE n RENAME TO orders;")
        self.write("broken.sql", "DROP TABLE log; PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = "
                   "replace(sql, 'name TEXT', 'nick TEXT') WHERE name = 'users'; PRAGMA writable_schema=RESET;")
        self.write("null.sql", "INSERT INTO users(name) VALUES(NULL); PRAGMA writable_schema=ON; UPDATE sqlite_schema SET "
                   "sql = replace(sql, 'name TEXT', 'name TEXT NOT NULL') WHERE name = 'users'; PRAGMA writable_schema=RESET;")
        result = self.json("try", "fk.sql", "lost.sql", "broken.sql", "null.sql")
        fk, lost, broken, null = self.check_sides(result, "main", ["fk", "lost", "broken", "null"])
        self.assertEqual((fk["foreign_key_violations"], fk["integrity"]), (2, "ok"))
        self.assertIn({"type": "index", "name": "orders_user", "status": "removed"},
                      [{k: c[k] for k in ("type", "name", "status")} for c in lost["schema"]])
        self.assertEqual(null["integrity"], "NULL value in users.name")
        text = self.bough("try", "fk.sql", "lost.sql", "broken.sql", "null.sql").text
        self.assertRegex(text, r"foreign keys +2 VIOLATED +ok +ok +ok")
        self.assertRegex(text, r"index orders_user +- +LOST +- +-")
        self.assertRegex(text, r"view seen +- +- +BROKEN +-")
        self.assertRegex(text, r"trigger tr +- +- +BROKEN +-")
        self.assertRegex(text, r"integrity +ok +ok +ok +DAMAGED")
        self.assertIn("integrity of null: NULL value in users.name", text)

    def test_without_rowid_virtual_and_attached(self):
        self.write("a.sql", "CREATE TABLE w(a PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO w VALUES(1, 2), (2, 3);"
                   "CREATE VIRTUAL TABLE f USING fts5(t); INSERT INTO f VALUES('word');"
                   "ATTACH ':memory:' AS m; CREATE TABLE m.x(a); INSERT INTO m.x VALUES(1);")
        side, = self.json("try", "a.sql")["branches"]
        self.assertEqual([(t["name"], t["rows_added"]) for t in side["tables"]], [("f", 1), ("w", 2)])
        self.assertEqual((side["ok"], side["integrity"]), (True, "ok"))


class Refused(TryCase):
    def check_refused(self, status, *words):
        before = self.snapshot()
        message = self.fails(status, "try", *words)
        self.assertEqual(self.snapshot(), before)
        self.left_nothing()
        return message

    def test_files(self):
        self.write("a.sql", "SELECT 1;")
        self.assertIn("b.sql", self.check_refused(3, "a.sql", "b.sql"))
        self.write("x/a.sql", "SELECT 1;")
        self.assertIn("a.sql and x/a.sql would both be branch a", self.check_refused(2, "a.sql", "x/a.sql"))
        self.write("zero.sql", b"SELECT 1;\0")
        self.assertIn("zero byte at offset 9", self.check_refused(8, "zero.sql"))
        os.mkdir(self.path("dir.sql"))
        self.check_refused(7, "dir.sql")

    def test_names(self):
        self.write("with space.sql", "SELECT 1;")
        self.assertIn('"with space"', self.check_refused(2, "with space.sql"))
        self.write("20240101.sql", "SELECT 1;")
        self.assertIn("commit id", self.check_refused(2, "20240101.sql"))
        self.write(".sql", "SELECT 1;")
        self.check_refused(2, ".sql")
        for name in ("main", "v1", "free"):
            self.write(f"{name}.sql", "SELECT 1;")
        self.bough("tag", "v1", "main")
        self.assertIn("taken: main, v1", self.check_refused(4, "main.sql", "free.sql", "v1.sql", "--keep"))
        tried = self.json("try", "main.sql", "free.sql", "v1.sql")  # nothing is kept, so nothing is in the way
        self.assertEqual([side["name"] for side in tried["branches"]], ["main", "free", "v1"])

    def test_usage(self):
        self.write("a.sql", "SELECT 1;")
        self.check_refused(3, "a.sql", "--from", "nosuch")
        self.check_refused(2, "a.sql", "--jobs", "0")
        self.check_refused(2, "a.sql", "--jobs", "many")
        self.check_refused(2)
        self.check_refused(2, "a.sql", "--kepp")
        self.check_refused(3, "a.sql", "--html", "no/such/page.html")
        self.assertNotIn("page.html", str(os.listdir(self.dir)))
        self.fails(2, "compare", "main")
        self.fails(3, "compare", "main", "nosuch")
        self.fails(3, "compare", "nosuch", "main")
        self.fails(3, "try", "a.sql", "-s", "no.bough")

    def test_queries(self):
        self.write("a.sql", "SELECT 1;")
        for status, text in ((8, "SELECT 1;\nSELCT 2;"), (2, "DELETE FROM users;"), (2, "-- none\n"), (8, "SELECT 'x")):
            self.write("q.sql", text)
            message = self.check_refused(status, "a.sql", "--query", "q.sql")
            if "\n" in text and status == 8:
                self.assertTrue(message.startswith("q.sql:2: "), message)
        self.check_refused(3, "a.sql", "--query", "missing.sql")


class Interrupted(TryCase):
    def start(self, *words):
        return subprocess.Popen([BOUGH, "try", *words], cwd=self.dir, env=self.environment(), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def wait_for(self, condition):
        end = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def has_layers(self, count):
        return lambda: len([n for n in os.listdir(self.path("shop.bough", "layers")) if n.endswith(".layer")]) >= count

    def test_control_c_drops_the_forks(self):
        self.write("a.sql", "CREATE TABLE a(b);" + HANGS)
        self.write("b.sql", "CREATE TABLE b(b);" + HANGS)
        for keep in ([], ["--keep"]):
            process = self.start("a.sql", "b.sql", *keep)
            self.wait_for(self.has_layers(3))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            self.assertEqual((process.returncode, out), (-signal.SIGINT, b""), err)
            self.left_nothing()

    def hidden(self):
        with contextlib.closing(sqlite3.connect(self.path("shop.bough", "catalog.db"))) as catalog:
            return catalog.execute("SELECT count(*) FROM branches WHERE name LIKE '.%'").fetchone()[0]

    def test_a_fork_goes_when_it_was_compared(self):
        self.write("a.sql", "CREATE TABLE a(b);")
        self.write("b.sql", "CREATE TABLE b(b);" + HANGS)
        process = self.start("a.sql", "b.sql")
        self.wait_for(lambda: self.hidden() == 1)  # after two, which were made at once
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, -signal.SIGINT)
        self.left_nothing()

    def test_a_kill_leaves_nothing_that_anyone_sees(self):
        self.write("a.sql", "CREATE TABLE a(b);" + HANGS)
        process = self.start("a.sql")
        self.wait_for(self.has_layers(2))
        self.assertEqual(self.names(), ["main"])
        process.kill()
        process.communicate()
        self.left_nothing()

    def test_two_at_once(self):
        self.write("a.sql", "CREATE TABLE a(b);" + "INSERT INTO a VALUES(1);" * 50)
        processes = [self.start("a.sql", "--json") for _ in range(4)]
        for process in processes:
            out, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, err)
            self.assertEqual(json.loads(out)["branches"][0]["tables"][0]["rows_added"], 50)
        self.left_nothing()

    def test_two_that_keep_the_same_name(self):
        self.write("a.sql", "CREATE TABLE a(b);")
        self.write("b.sql", "CREATE TABLE b(b);" + "INSERT INTO b VALUES(1);" * 200)
        processes = [self.start("a.sql", "b.sql", "--keep") for _ in range(3)]
        statuses = sorted((process.communicate(timeout=60), process.returncode)[1] for process in processes)
        self.assertEqual(statuses, [0, 4, 4])
        self.assertEqual(self.names(), ["a", "b", "main"])


class Queries(TryCase):
    def test_times_plans_and_rows(self):
        self.write("slow.sql", "DROP INDEX orders_user;")
        self.write("more.sql", "CREATE TABLE later(a); INSERT INTO later VALUES(1), (2);")
        self.write("q.sql", "SELECT * FROM orders WHERE user_id = 3;\n/* not there yet */ SELECT * FROM later;\n"
                   "SELECT id FROM users ORDER BY id")
        slow, more = self.check_sides(self.json("try", "slow.sql", "more.sql", "--query", "q.sql"), "main",
                                      ["slow", "more"])
        first, later, third = slow["queries"]
        self.assertEqual(first["sql"], "SELECT * FROM orders WHERE user_id = 3")
        self.assertEqual(first["plan"], "SCAN orders")
        self.assertEqual(first["base_plan"], "SEARCH orders USING INDEX orders_user (user_id=?)")
        self.assertEqual((first["rows"], third["rows"]), (1, 200))
        self.assertGreater(first["seconds"], 0)
        self.assertGreater(first["base_seconds"], 0)
        self.assertEqual([later[k] for k in QUERY_KEYS[1:]], [None] * 5)
        self.assertEqual((more["queries"][1]["rows"], more["queries"][1]["base_seconds"]), (2, None))
        text = self.bough("try", "slow.sql", "more.sql", "--query", "q.sql").text
        self.assertIn("slow has a worse plan:\n        scans orders, which was searched\n", text)
        self.assertEqual(text.count("WORSE"), 1)

    def test_what_is_worse(self):
        self.bough("sql", "main", "CREATE TABLE t(a, b, c); CREATE INDEX ab ON t(a, b); CREATE TABLE u(a PRIMARY KEY, d);"
                   "CREATE INDEX tc ON t(c);")
        self.write("cover.sql", "DROP INDEX ab; CREATE INDEX ab ON t(a);")
        self.write("sort.sql", "DROP INDEX tc;")
        self.write("auto.sql", "CREATE TABLE v(a, d); INSERT INTO v SELECT * FROM u; DROP TABLE u; ALTER TABLE v RENAME TO u;")
        self.write("better.sql", "CREATE INDEX tbc ON t(b, c);")
        self.write("q.sql", "SELECT b FROM t WHERE a = 1; SELECT c FROM t ORDER BY c; SELECT u.d FROM t CROSS JOIN u ON u.a = t.b;"
                   "SELECT c FROM t WHERE b = 2;")
        text = self.bough("try", "cover.sql", "sort.sql", "auto.sql", "better.sql", "--query", "q.sql").text
        found = re.findall(r"^      (\w+) has a worse plan:\n        (.*)$", text, re.M)
        self.assertEqual(sorted(found), [("auto", "makes an index on u for each run"), ("cover", "no covering index for t"),
                                         ("cover", "no covering index for t"), ("sort", "no covering index for t")])
        self.assertEqual(text.count("\n        temporary b-tree for ORDER BY\n"), 1)


class Text(TryCase):
    def width(self, line):
        import unicodedata
        return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)

    def test_everything_fits_100_columns(self):
        names = ["a" * 180, "b/" + "c" * 90] + [f"branch-with-a-long-name-{i}" for i in range(30)]
        for name in names:
            self.bough("branch", name, "main")
        self.bough("sql", names[0], "CREATE TABLE \"" + "注文" * 40 + "\"(a); CREATE TABLE \"tab\nle\"(a);"
                   "CREATE TABLE x(" + ", ".join(f"a_rather_long_column_{i}" for i in range(50)) + ");")
        self.bough("sql", names[1], "CREATE TABLE \"naïve\"(a); INSERT INTO \"naïve\" VALUES(1); DELETE FROM users")
        self.write("q.sql", "SELECT " + " + ".join(["length(name)"] * 60) + " FROM users;")
        text = self.bough("compare", "main", *names, "--query", "q.sql").text
        for line in text.splitlines():
            self.assertLessEqual(self.width(line), 100, line)
        self.assertIn("naïve", text)
        self.assertGreater(text.count("pages changed"), 5)
        for i in range(30):
            self.assertIn(f"branch-with-a-long-name-{i}", text)

    def test_statements_with_their_time(self):
        self.write("a.sql", "CREATE TABLE a(b);\n\n" + "INSERT INTO a VALUES(1);\n" * 30)
        text = self.bough("try", "a.sql").text
        self.assertRegex(text, r"(?m)^ +[\d.]+ m?[us]+ +1  CREATE TABLE a\(b\)$")
        self.assertIn("23 quicker statements together", text)

    def test_a_check_that_is_too_large_is_not_made(self):
        # 130 MiB of zeros: a database beyond the limit, with little in it.
        self.bough("sql", "main", "CREATE TABLE big(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                   "WHERE i < 130) INSERT INTO big SELECT zeroblob(1 << 20) FROM n; CREATE TABLE child(p REFERENCES users);")
        self.write("small.sql", "DELETE FROM users WHERE id = 3; INSERT INTO child VALUES(3), (4);")
        self.write("large.sql", "INSERT INTO big VALUES(1);")
        small, large = self.json("try", "small.sql", "large.sql")["branches"]
        self.assertEqual((small["integrity"], small["foreign_key_violations"]), ("ok", 1))
        self.assertEqual((large["integrity"], large["foreign_key_violations"]), (None, 0))
        self.assertIn("--check takes the time", self.bough("try", "large.sql").text)
        checked, = self.json("try", "large.sql", "--check")["branches"]
        self.assertEqual(checked["integrity"], "ok")


class Pages(TryCase):
    EVIL = "<script>alert(1)</script>\"'&<b>"

    def page(self, *words, status=0):
        self.bough(*words, "--html", "page.html", status=status)
        with open(self.path("page.html"), encoding="utf-8") as file:
            return file.read()

    def test_is_one_sound_page_without_scripts(self):
        quoted = self.EVIL.replace('"', '""')
        self.write("a.sql", f'CREATE TABLE "{quoted}"(a, "b{quoted}"); INSERT INTO "{quoted}" VALUES(1, 2);'
                   f'CREATE VIEW "v{quoted}" AS SELECT 1;\nSELECT * FROM "no{quoted}";')
        self.write("b.sql", "DROP INDEX orders_user; UPDATE users SET name = 'x' WHERE id < 5;")
        self.write("q.sql", f"SELECT total AS '{self.EVIL.replace(chr(39), chr(39) * 2)}' FROM orders WHERE user_id = 3;")
        text = self.page("try", "a.sql", "b.sql", "--query", "q.sql", status=1)
        page = Page(text)
        self.assertTrue(text.startswith("<!doctype html>\n<html lang=\"en\">"))
        self.assertNotIn("script", page.tags)
        self.assertEqual([v for k, v in page.attributes if k in ("src", "href") and v != "data:,"], [])
        self.assertFalse([k for k, v in page.attributes if k.startswith("on")])
        self.assertNotRegex(text, r"url\(|@import|https?:")
        texts = "".join(page.texts)
        self.assertIn(self.EVIL, texts)
        self.assertIn("no such table: no" + self.EVIL, texts)
        for word in ("against main", "a.sql", "b.sql", "lost", "scans orders, which was searched", "~4"):
            self.assertIn(word, texts)
        self.assertIn("prefers-color-scheme:dark", text)
        self.assertIn("@media print", text)
        self.assertEqual(sorted(n for n in os.listdir(self.dir) if n.startswith("page")), ["page.html"])

    def test_tree_of_branches(self):
        self.bough("branch", "one", "main")
        self.bough("branch", "two", "one")
        self.bough("sql", "two", "DELETE FROM users WHERE id = 1")
        self.bough("tag", "v1", "two")
        text = self.page("compare", "main", "two", "one", "v1")
        self.assertEqual(Page(text).tags.count("li"), 1 + 3 + text.count("class=\"chip ") - text.count("<span class=\"chip"))
        self.assertLess(text.index("<b>one</b>"), text.index("<b>two</b>"))
        self.assertIn("</div>\n<ul>\n<li><div class=\"node \"><b>two</b>", text)

    def test_an_existing_page_is_replaced_and_kept_on_failure(self):
        self.write("a.sql", "SELECT 1;")
        self.write("page.html", "old")
        os.chmod(self.path("page.html"), 0o640)
        self.fails(3, "compare", "main", "nosuch", "--html", "page.html")
        with open(self.path("page.html")) as file:
            self.assertEqual(file.read(), "old")
        self.assertIn("against main", self.page("try", "a.sql"))
        self.assertEqual(os.stat(self.path("page.html")).st_mode & 0o777, 0o640)


class RealDatabase(Case):
    PROJ = "/usr/share/proj/proj.db"

    def test_a_table_of_proj_db_is_rebuilt(self):
        if not os.path.exists(self.PROJ):
            self.skipTest("no proj.db")
        self.bough("init", self.PROJ, "--store", self.path("proj.bough"))
        db = sqlite3.connect(f"file:{self.PROJ}?mode=ro", uri=True)
        sql, = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'axis' AND type = 'table'").fetchone()
        rows, = db.execute("SELECT count(*) FROM axis").fetchone()
        triggers = db.execute("SELECT name FROM sqlite_schema WHERE tbl_name = 'axis' AND type = 'trigger'")
        triggers = sorted(name for name, in triggers)
        violations = len(db.execute("PRAGMA foreign_key_check").fetchall())
        db.close()
        with open(self.path("rebuild.sql"), "w", encoding="utf-8") as file:
            made = re.sub(r"axis\s*\(", "rebuilt (added INTEGER, ", sql, count=1)
            file.write(f"PRAGMA legacy_alter_table=ON; PRAGMA foreign_keys=OFF;\nBEGIN;\n{made};\n"
                       "INSERT INTO rebuilt SELECT 1, * FROM axis;\nDROP TABLE axis;\n"
                       "ALTER TABLE rebuilt RENAME TO axis;\nCOMMIT;\n")
        side, = self.json("try", "rebuild.sql")["branches"]
        self.assertEqual((side["ok"], side["error"], side["integrity"]), (True, None, "ok"))
        self.assertEqual(side["foreign_key_violations"], violations)
        self.assertEqual([(t["name"], t["status"]) for t in side["tables"]], [("axis", "changed")])
        self.assertGreaterEqual(rows, 100)
        self.assertEqual([side["tables"][0][k] for k in TABLE_KEYS[2:]], [0, 0, 0])
        self.assertEqual(sorted(c["name"] for c in side["schema"] if c["type"] == "trigger" and c["status"] == "removed"),
                         triggers)
        self.assertTrue(triggers)


if __name__ == "__main__":
    main()
