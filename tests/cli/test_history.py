"""commit, log, tag, the grammar of REFs, diff, url."""
import os
import sqlite3
import subprocess
import sys

import support

COMMIT_KEYS = ["id", "parents", "message", "author", "created_at", "root", "size_bytes", "page_size", "changed_pages",
               "automatic", "pruned"]
SEALED_KEYS = ["branch", "id", "root", "changed", "left"]


class History(support.Case):
    def setUp(self):
        super().setUp()
        self.first = self.make_store()

    def write(self, branch="main", n=1):
        self.sql(branch, f"UPDATE users SET name = 'changed {n}' WHERE id = {n}")

    # ---- commit and log ----

    def test_commit(self):
        self.write()
        sealed = self.json("commit", "-m", "one")
        self.assertEqual(list(sealed), SEALED_KEYS)
        self.check_id(sealed["id"])
        self.check_id(sealed["root"])
        self.assertEqual((sealed["branch"], sealed["changed"], sealed["left"]), ("main", True, self.first["id"]))
        main = self.branch("main")
        self.assertEqual((main["head"], main["dirty"]), (sealed["id"], False))
        again = self.json("snapshot", "main")
        self.assertEqual((again["id"], again["root"], again["changed"], again["left"]),
                         (sealed["id"], sealed["root"], False, None))
        self.assertIn("nothing", self.bough("commit").text)
        self.assertEqual(len(self.json("log")), 2)
        self.write(n=2)
        self.assertEqual(self.bough("commit", "-q").text, self.branch("main")["head"] + "\n")
        self.fails(3, "commit", "nowhere")

    def test_log(self):
        self.write()
        self.bough("commit", "-m", "Größe\n\"two\" lines")
        self.write(n=2)
        log = self.json("log")
        self.assertEqual(len(log), 2)
        for commit in log:
            self.assertEqual(list(commit), COMMIT_KEYS)
            self.check_id(commit["id"])
            self.check_id(commit["root"])
            self.check_time(commit["created_at"])
            self.assertEqual((commit["page_size"], commit["pruned"]), (4096, False))
            self.assertEqual(commit["size_bytes"], os.path.getsize(self.path("shop.db")))
            self.assertIsInstance(commit["author"], str)
        self.assertEqual(log[0]["message"], "Größe\n\"two\" lines")
        self.assertEqual((log[0]["parents"], log[1]["parents"]), ([log[1]["id"]], []))
        self.assertFalse(log[0]["automatic"])
        self.assertLess(log[0]["changed_pages"], log[1]["changed_pages"])
        self.assertEqual(log[1]["id"], self.first["id"])
        self.assertEqual(self.json("log", "-n", "1"), log[:1])
        self.assertEqual(self.json("log", "-n5"), log)
        self.assertEqual(self.json("log", "main~1"), log[1:])
        self.assertEqual(self.bough("log", "-q").text.split(), [c["id"] for c in log])
        self.assertIn(log[0]["id"][:12], self.bough("log").text)
        for count in ("-1", "x", "", "1.5"):
            self.fails(2, "log", "-n", count)
        self.fails(3, "log", "nowhere")

    def test_equal_roots_are_equal_bytes(self):
        self.write()
        changed = self.json("commit")
        self.assertNotEqual(changed["root"], self.first["root"])
        back = self.json("import", "shop.db")
        self.assertEqual(back["root"], self.first["root"])
        self.assertNotEqual(back["id"], self.first["id"])

    # ---- tags ----

    def test_tag(self):
        self.assertEqual(self.json("tag"), [])
        made = self.json("tag", "v1")
        self.assertEqual(list(made[0]), ["name", "id", "created_at"])
        self.assertEqual((made[0]["name"], made[0]["id"]), ("v1", self.first["id"]))
        self.check_time(made[0]["created_at"])
        self.write()
        self.bough("commit")
        self.bough("tag", "a0", "main~1")
        self.assertEqual([(t["name"], t["id"]) for t in self.json("tag")],
                         [("a0", self.first["id"]), ("v1", self.first["id"])])
        self.assertEqual(self.bough("tag", "-q").text, "a0\nv1\n")
        self.assertIn("v1", self.bough("tag").text)
        self.assertEqual(self.json("tag", "-d", "v1"), made)
        self.assertEqual([t["name"] for t in self.json("tag")], ["a0"])
        self.assertEqual(self.value("a0", "SELECT name FROM users WHERE id = 1"), "user 0")

    def test_tag_of_a_dirty_branch(self):
        self.write()
        tag = self.json("tag", "v2", "main")[0]
        self.assertEqual(tag["id"], self.branch("main")["head"])
        self.assertNotEqual(tag["id"], self.first["id"])
        self.assertEqual(self.value("v2", "SELECT name FROM users WHERE id = 1"), "changed 1")

    def test_tag_refusals(self):
        self.bough("tag", "v1")
        self.bough("branch", "b")
        before = self.snapshot()
        self.fails(4, "tag", "v1")
        self.fails(4, "tag", "b")
        self.fails(3, "tag", "x", "nowhere")
        self.fails(3, "tag", "-d", "nowhere")
        self.fails(3, "tag", "-d", "b")
        self.fails(2, "tag", "not a name")
        self.assertEqual(self.snapshot(), before)

    # ---- REFs ----

    def test_refs(self):
        self.write()
        second = self.json("commit")["id"]
        self.bough("tag", "v1")
        self.write(n=2)
        name = "SELECT name FROM users WHERE id = 2"
        self.assertEqual(self.value("main", name), "changed 2")
        first = self.first["id"]
        for ref, commit in (("main~0", second), ("main~1", first), ("v1", second), ("v1~1", first), (second, second),
                            (second[:6], second), (second + "~1", first), (second[:10] + "~0", second)):
            self.assertEqual(self.value(ref, name), "user 1")
            self.assertEqual(self.json("log", ref)[0]["id"], commit)
        for ref in ("main~2", "v1~9", "main~99999999999999999999", "0" * 64, "nowhere", second[:5], "nowhere~1"):
            self.fails(3, "log", ref)
        for ref in ("main~", "main~x", "main~-1", "v1~", second + "~"):
            self.fails(2, "log", ref)

    def test_the_shortest_prefix(self):
        ids = {self.first["id"]}
        for n in range(1, 6):
            self.write(n=n)
            ids.add(self.json("commit")["id"])
        for commit in ids:
            self.assertEqual(self.json("log", commit[:6], "-n", "1")[0]["id"], commit)
            self.assertEqual(self.json("log", commit[:6].upper(), "-n", "1")[0]["id"], commit)
            self.fails(3, "log", commit[:5])

    # ---- diff ----

    def diff(self, *words, **more):
        document = self.json("diff", *words, **more)
        self.assertEqual(list(document), ["from", "to", "identical", "pages", "tables", "schema"])
        self.assertEqual(list(document["pages"]), ["changed", "added", "removed"])
        for table in document["tables"]:
            self.assertEqual(list(table), ["name", "status", "rows_added", "rows_removed", "rows_changed"])
        for change in document["schema"]:
            self.assertEqual(list(change), ["type", "name", "status", "from_sql", "to_sql"])
        return document

    def statuses(self, document, kind="tables"):
        return [(t["name"], t["status"]) for t in document[kind]]

    def test_diff_of_equal_states(self):
        self.bough("branch", "premium")
        document = self.diff("premium", "main")
        self.assertEqual((document["from"], document["to"], document["identical"]), ("premium", "main", True))
        self.assertEqual((document["tables"], document["schema"]), ([], []))
        self.assertEqual(document["pages"], {"changed": 0, "added": 0, "removed": 0})
        self.bough("diff", "premium", "main", "--exit-code")
        self.assertEqual(self.diff("premium"), document)
        self.assertIn("identical", self.bough("diff", "premium").text)

    def test_diff_of_rows(self):
        self.bough("branch", "premium")
        self.write("premium")
        document = self.diff("main", "premium")
        self.assertEqual((document["identical"], document["schema"]), (False, []))
        self.assertEqual(self.statuses(document), [("users", "changed")])
        self.assertGreater(document["pages"]["changed"], 0)
        self.assertEqual(self.diff("main", "premium", "--exit-code", status=1), document)
        self.assertEqual(self.bough("diff", "main", "premium", "--exit-code", status=1).err, b"")
        self.assertEqual(self.bough("diff", "main", "premium", "-q").text, "users\n")
        self.sql("premium", "INSERT INTO orders(user_id, total) SELECT 1, id FROM users, (SELECT 1 UNION SELECT 2)")
        document = self.diff("main", "premium")
        self.assertEqual(self.statuses(document), [("orders", "changed"), ("users", "changed")])
        self.assertGreater(document["pages"]["added"], 0)
        self.assertGreater(self.diff("premium", "main")["pages"]["removed"], 0)

    def test_diff_of_the_schema(self):
        self.sql("main", "CREATE TABLE old(a, b); CREATE VIEW v AS SELECT 1; CREATE TABLE gone(x); "
                         "CREATE TRIGGER tr AFTER INSERT ON users BEGIN SELECT 1; END")
        self.bough("branch", "premium")
        self.sql("premium", "ALTER TABLE old RENAME TO fresh; DROP VIEW v; CREATE VIEW v AS SELECT 2; DROP TABLE gone; "
                            "CREATE TABLE benefits(id INTEGER PRIMARY KEY, what TEXT); "
                            "ALTER TABLE users ADD COLUMN tier; "
                            "CREATE INDEX users_name ON users(name); DROP INDEX orders_user; DROP TRIGGER tr")
        document = self.diff("main", "premium")
        self.assertEqual([(c["type"], c["name"], c["status"]) for c in document["schema"]],
                         [("table", "benefits", "added"), ("table", "fresh", "renamed"), ("table", "gone", "removed"),
                          ("table", "users", "changed"), ("index", "orders_user", "removed"),
                          ("index", "users_name", "added"), ("view", "v", "changed"), ("trigger", "tr", "removed")])
        by_name = {c["name"]: c for c in document["schema"]}
        self.assertEqual((by_name["benefits"]["from_sql"], by_name["gone"]["to_sql"]), (None, None))
        self.assertIn("tier", by_name["users"]["to_sql"])
        self.assertNotIn("tier", by_name["users"]["from_sql"])
        self.assertEqual(by_name["fresh"]["from_sql"], "CREATE TABLE old(a, b)")
        self.assertIn("fresh", by_name["fresh"]["to_sql"])
        self.assertEqual(self.statuses(document), [("benefits", "added"), ("fresh", "renamed"), ("gone", "removed"),
                                                   ("users", "changed")])
        for table in document["tables"]:
            self.assertEqual([table[k] for k in ("rows_added", "rows_removed", "rows_changed")], [0] * 3)
        back = self.diff("premium", "main")
        self.assertIn(("old", "renamed"), self.statuses(back))
        text = self.bough("diff", "main", "premium", "--schema").text
        self.assertIn("+ CREATE INDEX users_name ON users(name)", text)
        self.assertIn("- CREATE INDEX orders_user ON orders(user_id)", text)

    def test_names_that_could_be_paired_twice_are_not_renamed(self):
        self.sql("main", "CREATE TABLE a1(x); CREATE TABLE a2(x)")
        self.bough("branch", "premium")
        self.sql("premium", "DROP TABLE a1; DROP TABLE a2; CREATE TABLE b1(x)")
        self.assertEqual(self.statuses(self.diff("main", "premium")),
                         [("a1", "removed"), ("a2", "removed"), ("b1", "added")])

    def test_diff_of_one_table(self):
        self.bough("branch", "premium")
        self.sql("premium", "ALTER TABLE users ADD COLUMN tier; CREATE INDEX o2 ON orders(total)")
        document = self.diff("main", "premium", "--table", "users")
        self.assertEqual([c["name"] for c in document["schema"]], ["users"])
        self.assertEqual(self.statuses(document), [("users", "changed")])
        self.assertEqual([c["name"] for c in self.diff("main", "premium", "--table", "ORDERS")["schema"]], ["o2"])
        self.bough("diff", "main", "premium", "--table", "orders", "--exit-code", status=1)
        self.bough("diff", "main", "main", "--table", "users", "--exit-code")
        self.fails(3, "diff", "main", "premium", "--table", "nowhere")
        self.fails(3, "diff", "main", "main", "--table", "nowhere")

    def test_diff_options(self):
        self.bough("branch", "premium")
        self.sql("premium", "UPDATE users SET name = 'x'")
        self.bough("diff", "main", "premium", "--schema", "--exit-code")
        self.bough("diff", "main", "premium", "--exit-code", status=1)
        self.assertIn("changed", self.bough("diff", "main", "premium", "--pages").text)
        self.assertIn("users", self.bough("diff", "main", "premium", "--stat").text)
        self.fails(2, "diff", "main", "premium", "--rows", "--sql")
        for words in (["--stat", "--sql"], ["--pages", "--rows"], ["--sql", "--format", "changeset"]):
            self.fails(2, "diff", "main", "premium", *words)
        self.fails(2, "diff", "main", "premium", "--stat", "--schema")
        self.fails(3, "diff", "main", "nowhere")
        self.fails(3, "diff", "nowhere")
        pages = self.diff("main", "premium")["pages"]["changed"]
        self.write("premium")
        self.assertEqual(self.diff("main~0", "main")["identical"], True)
        self.assertGreaterEqual(self.diff(self.first["id"][:8], "premium")["pages"]["changed"], pages)

    def test_diff_leaves_transactions_alone(self):
        self.bough("branch", "premium")
        self.write("premium")
        before = self.snapshot()
        self.diff("main", "premium")
        self.assertEqual(self.snapshot(), before)

    # ---- url ----

    def run_program(self, entry, target, uri, statement):
        program = ("import sqlite3, sys\n"
                   "so, entry, target, uri, statement = sys.argv[1:]\n"
                   "first = sqlite3.connect(':memory:'); first.enable_load_extension(True)\n"
                   "first.execute('SELECT load_extension(?, ?)', (so, entry)); first.close()\n"
                   "db = sqlite3.connect(target, uri=uri == '1')\n"
                   "print(db.execute(statement).fetchall()); db.commit()\n")
        done = subprocess.run([sys.executable, "-c", program, support.BOUGH_SO, entry, target, uri, statement],
                              capture_output=True, env=self.environment(), cwd="/")
        return done.stdout.decode().strip(), done.stderr.decode()

    def test_url_opens_from_a_program(self):
        self.bough("branch", "team/premium")
        self.write("team/premium")
        document = self.json("url", "team/premium")
        self.assertEqual(list(document), ["uri", "path"])
        self.assertRegex(document["uri"], r"^file:.*\?vfs=bough$")
        self.assertTrue(document["path"].startswith(self.path("shop.bough") + "/"))
        self.assertEqual(self.bough("url", "team/premium", "-q").text, document["uri"] + "\n")
        self.assertEqual(self.bough("url", "team/premium", "--path").text, document["path"] + "\n")
        self.assertEqual(self.bough("url", "team/premium", "--uri").text, document["uri"] + "\n")
        statement = "SELECT name FROM users WHERE id = 1"
        out, err = self.run_program("sqlite3_bough_init", document["uri"], "1", statement)
        self.assertEqual(out, "[('changed 1',)]", err)
        out, err = self.run_program("sqlite3_boughdefault_init", document["path"], "0", statement)
        self.assertEqual(out, "[('changed 1',)]", err)

    def test_url_of_a_past_state_is_read_only(self):
        self.write()
        self.bough("commit")
        document = self.json("url", "main~1")
        self.assertRegex(document["uri"], r"[?&]at=")
        out, err = self.run_program("sqlite3_bough_init", document["uri"], "1", "SELECT name FROM users WHERE id = 1")
        self.assertEqual(out, "[('user 0',)]", err)
        out, err = self.run_program("sqlite3_bough_init", document["uri"], "1", "DELETE FROM users")
        self.assertIn("readonly", err)

    def test_one_pattern_for_all_branches(self):
        self.bough("branch", "premium")
        main, premium = self.json("url", "main"), self.json("url", "premium")
        for key in ("uri", "path"):
            self.assertEqual(main[key].replace("main", "premium"), premium[key])

    def test_without_the_extension_it_cannot_be_opened(self):
        path = self.json("url", "main")["path"]
        before = self.bough("du").text
        with self.assertRaises(sqlite3.DatabaseError):
            sqlite3.connect(path).execute("SELECT * FROM sqlite_master").fetchall()
        with self.assertRaises(sqlite3.DatabaseError):
            sqlite3.connect(path).execute("CREATE TABLE t(x)")
        self.assertFalse(os.path.exists(path))
        self.assertEqual(self.bough("du").text, before)

    def test_url_refusals(self):
        self.fails(3, "url", "nowhere")
        self.fails(2, "url", "main", "--uri", "--path")


if __name__ == "__main__":
    support.main()
