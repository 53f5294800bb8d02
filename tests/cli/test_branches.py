"""branch, switch, rename, delete, protect, status, tree."""
import subprocess
import sys
import datetime

import support


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


class Branches(support.Case):
    def setUp(self):
        super().setUp()
        self.first = self.make_store()

    # ---- branch ----

    def test_fork_of_the_current_branch(self):
        made = self.json("branch", "premium")
        self.assertEqual(len(made), 1)
        self.check_branch(made[0])
        self.assertEqual((made[0]["name"], made[0]["parent"], made[0]["base"], made[0]["head"], made[0]["current"]),
                         ("premium", "main", self.first["id"], self.first["id"], False))
        self.assertEqual((made[0]["expires_at"], made[0]["dirty"], made[0]["protected"]), (None, False, False))
        self.assertEqual(made[0], self.branch("premium"))
        self.assertEqual(len(self.json("log")), 1)

    def test_list_is_in_the_order_of_names(self):
        for name in ("b", "a/b", "a", "Z", "a.1", "a-1", "_x"):
            self.bough("fork", name)
        names = self.names()
        self.assertEqual(names, sorted(names))
        self.assertEqual(len(names), 8)
        self.assertEqual(self.bough("branch", "-q").text.split(), names)
        for branch in self.branches():
            self.check_branch(branch)
        listing = self.bough("branch").text
        marked = [line.split()[1] for line in listing.splitlines() if line.startswith("*")]
        self.assertEqual(marked, ["main"])

    def test_fork_of_a_dirty_branch_commits_it_first(self):
        self.sql("main", "DELETE FROM users WHERE id <= 50")
        self.assertTrue(self.branch("main")["dirty"])
        made = self.json("branch", "premium", "main", "-m", "before premium")
        log = self.json("log")
        self.assertEqual(len(log), 2)
        self.assertEqual((log[0]["automatic"], log[0]["message"]), (True, "before premium"))
        self.assertEqual(made[0]["base"], log[0]["id"])
        self.assertFalse(self.branch("main")["dirty"])
        self.assertEqual(self.value("premium", "SELECT count(*) FROM users"), 150)

    def test_forks_are_independent(self):
        self.bough("branch", "premium")
        self.sql("premium", "DELETE FROM users")
        self.sql("main", "DELETE FROM orders")
        self.assertEqual(self.value("premium", "SELECT count(*) FROM orders"), 200)
        self.assertEqual(self.value("main", "SELECT count(*) FROM users"), 200)

    def test_fork_from_a_tag_or_an_id_has_no_parent(self):
        self.bough("tag", "v1")
        self.sql("main", "DELETE FROM users")
        for name, ref in (("x1", "v1"), ("x2", self.first["id"]), ("x3", self.first["id"][:6]), ("x4", "main~0")):
            made = self.json("branch", name, ref)[0]
            self.assertEqual((made["parent"], made["base"]), (None, self.first["id"]))
            self.assertEqual(self.value(name, "SELECT count(*) FROM users"), 200)
        self.assertTrue(self.branch("main")["dirty"], "a fork of main~0 commits nothing first")

    def test_count(self):
        made = self.json("branch", "try", "main", "--count", "3")
        self.assertEqual([b["name"] for b in made], ["try-1", "try-2", "try-3"])
        self.assertEqual([b["name"] for b in self.json("branch", "one", "--count", "1")], ["one-1"])
        self.assertEqual(self.bough("branch", "two", "--count=2", "-q").text, "two-1\ntwo-2\n")
        for count in ("0", "-1", "x", "", "1.5", "1x"):
            self.fails(2, "branch", "bad", "--count", count)
        self.fails(2, "branch", "--count", "3")
        self.bough("branch", "late-2")
        before = self.names()
        self.fails(4, "branch", "late", "--count", "3")
        self.assertEqual(self.names(), before, "all or none")

    def test_ttl(self):
        for text, seconds in (("90s", 90), ("5m", 300), ("12h", 43200), ("2d", 172800), ("1w", 604800)):
            made = self.json("branch", "t" + text, "--ttl", text)[0]
            lifetime = moment(made["expires_at"]) - moment(made["created_at"])
            self.assertEqual(lifetime.total_seconds(), seconds)
        for text in ("0s", "-1s", "5", "s", "", "1.5h", "1h30m", "1y", "1 h", "+1h", "5M",
                     "99999999999999999999s", "1hh"):
            self.fails(2, "branch", "bad", "--ttl", text)
        self.fails(2, "branch", "--ttl", "1h")

    def test_names(self):
        good = ["a", "a.b", "A_1", "a-b", "a/b/c", "x" * 200, "12345", "abcde", "abcdefg", "a" * 65, "journal", "v1.0"]
        bad = ["a b", "a//b", "/a", "a/", ".a", "a/.b", "-a", "a/-b", "x-journal", "x-wal", "x-shm", "x-journal/y",
               "abcdef", "ABCDEF", "123456", "0" * 64, "x" * 201, "é", "a~1", "a:b", "a*b", "a\nb"]
        for name in good:
            self.bough("--json", "branch", "--", name)
        for name in bad:
            self.bough("branch", "--", name, status=2)
            self.bough("rename", "--", "a", name, status=2)
            self.bough("tag", "--", name, status=2)
        self.assertEqual(self.names(), sorted(good + ["main"]))

    def test_refusals(self):
        self.bough("branch", "premium")
        self.bough("tag", "v1")
        before = self.snapshot()
        self.fails(4, "branch", "premium")
        self.fails(4, "branch", "main", "premium")
        self.fails(4, "branch", "v1")
        self.fails(3, "branch", "x", "nowhere")
        self.fails(3, "branch", "x", "abc")
        self.fails(3, "branch", "x", "main~5")
        self.fails(2, "branch", "x", "main~")
        self.fails(2, "branch", "x", "main~x")
        self.assertEqual(self.snapshot(), before)

    def test_lines_name_the_branch(self):
        for words in (["branch", "premium"], ["switch", "premium"], ["protect", "premium"], ["unprotect", "premium"],
                      ["commit", "premium"], ["import", "shop.db", "-b", "premium"], ["rename", "premium", "premium2"],
                      ["delete", "premium2"]):
            self.assertIn("premium", self.bough(*words).text)
        self.bough("branch", "many", "main", "--count", "2")
        text = self.bough("delete", "many-1", "many-2").text
        self.assertIn("many-1", text)
        self.assertIn("many-2", text)

    # ---- switch, rename, protect ----

    def test_switch(self):
        self.bough("branch", "premium")
        before = self.json("switch", "premium")
        self.assertEqual([(b["name"], b["current"]) for b in before], [("premium", False)])
        self.check_branch(before[0])
        self.assertEqual([b["name"] for b in self.branches() if b["current"]], ["premium"])
        self.assertEqual(self.json("checkout", "main")[0]["name"], "main")
        self.bough("tag", "v1")
        self.fails(3, "switch", "nowhere")
        self.fails(3, "switch", "v1")
        self.assertEqual(self.json("status")["name"], "main")

    def test_rename(self):
        self.bough("branch", "premium")
        self.bough("branch", "child", "premium")
        self.bough("switch", "premium")
        head = self.branch("premium")["head"]
        before = self.json("rename", "premium", "gold")
        self.assertEqual([b["name"] for b in before], ["premium"])
        self.check_branch(before[0])
        gold = self.branch("gold")
        self.assertEqual((gold["head"], gold["current"], gold["parent"]), (head, True, "main"))
        self.assertEqual(self.branch("child")["parent"], "gold")
        self.assertEqual(self.value("gold", "SELECT count(*) FROM users"), 200)
        self.bough("tag", "v1")
        self.fails(4, "rename", "gold", "main")
        self.fails(4, "rename", "gold", "v1")
        self.fails(3, "rename", "nowhere", "x")
        self.fails(2, "rename", "gold", "not a name")
        self.assertEqual(self.names(), ["child", "gold", "main"])

    def test_protect(self):
        before = self.json("protect", "main")
        self.assertEqual([(b["name"], b["protected"]) for b in before], [("main", False)])
        self.assertTrue(self.branch("main")["protected"])
        state = self.snapshot()
        self.fails(4, "sql", "main", "DELETE FROM users")
        self.fails(4, "sql", "main", "CREATE TABLE t(x)")
        self.fails(4, "delete", "main")
        self.fails(4, "delete", "-f", "main")
        self.fails(4, "delete", "-r", "-f", "main")
        self.assertEqual(self.snapshot(), state)
        self.bough("branch", "child")
        self.sql("child", "DELETE FROM users")
        before = self.json("unprotect", "main")
        self.assertEqual([(b["name"], b["protected"]) for b in before], [("main", True)])
        self.sql("main", "DELETE FROM users WHERE id = 1")
        self.fails(3, "protect", "nowhere")
        self.fails(3, "unprotect", "nowhere")

    def test_protect_reaches_open_connections(self):
        program = ("import sqlite3, sys\n"
                   "db = sqlite3.connect(':memory:'); db.enable_load_extension(True); db.load_extension(sys.argv[1])\n"
                   "db = sqlite3.connect(sys.argv[2], uri=True, isolation_level=None)\n"
                   "for line in sys.stdin:\n"
                   "    try:\n"
                   "        db.execute('DELETE FROM users WHERE id = ' + line)\n"
                   "        print('done')\n"
                   "    except sqlite3.OperationalError as error:\n"
                   "        print(error)\n"
                   "    sys.stdout.flush()\n")
        holder = subprocess.Popen([sys.executable, "-c", program, support.BOUGH_SO, self.json("url", "main")["uri"]],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def delete(number):
            holder.stdin.write(b"%d\n" % number)
            holder.stdin.flush()
            return holder.stdout.readline()

        try:
            self.assertEqual(delete(1), b"done\n")
            self.bough("protect", "main")
            self.assertEqual(delete(2), b"attempt to write a readonly database\n")
            self.bough("unprotect", "main")
            self.assertEqual(delete(3), b"done\n")
        finally:
            holder.communicate()

    # ---- delete ----

    def test_delete(self):
        self.bough("branch", "premium")
        self.sql("premium", "DELETE FROM users")
        before = self.json("delete", "premium")
        self.check_branch(before[0])
        self.assertEqual([(b["name"], b["dirty"]) for b in before], [("premium", True)])
        self.assertEqual(self.names(), ["main"])
        self.fails(3, "delete", "premium")
        self.bough("branch", "premium")
        self.assertEqual(self.value("premium", "SELECT count(*) FROM users"), 200)

    def test_delete_with_children(self):
        self.bough("branch", "a")
        self.bough("branch", "b", "a")
        self.bough("branch", "c", "b")
        before = self.snapshot()
        self.fails(4, "delete", "a")
        self.fails(4, "drop", "b")
        self.assertEqual(self.snapshot(), before)
        self.assertEqual(sorted(b["name"] for b in self.json("rm", "-r", "a")), ["a", "b", "c"])
        self.assertEqual(self.names(), ["main"])

    def test_delete_of_parent_and_child_together(self):
        self.bough("branch", "a")
        self.bough("branch", "b", "a")
        self.assertEqual(sorted(b["name"] for b in self.json("delete", "a", "b")), ["a", "b"])
        self.assertEqual(self.names(), ["main"])

    def test_delete_is_all_or_nothing(self):
        self.bough("branch", "x", "--count", "3")
        self.bough("branch", "child", "x-3")
        before = self.snapshot()
        self.fails(3, "delete", "x-1", "nowhere", "x-2")
        self.fails(4, "delete", "x-1", "x-3")
        self.bough("protect", "child")
        before = self.snapshot()
        self.fails(4, "delete", "-r", "x-1", "x-3")
        self.assertEqual(self.snapshot(), before)
        self.assertEqual(self.bough("delete", "-q", "x-1", "x-1", "x-2").text, "x-1\nx-2\n")
        self.assertEqual(self.names(), ["child", "main", "x-3"])

    def test_child_of_a_tag_is_no_child(self):
        self.bough("branch", "child", "main~0")
        self.bough("delete", "main")
        self.assertEqual(self.value("child", "SELECT count(*) FROM users"), 200)
        self.assertEqual(self.names(), ["child"])

    def test_the_current_and_last_branch_may_go(self):
        self.bough("delete", "main")
        self.assertEqual(self.branches(), [])
        self.assertEqual(self.bough("branch", "-q").text, "")
        self.bough("branch")
        self.bough("tree")
        self.fails(3, "status")
        self.fails(3, "branch", "x")
        made = self.json("branch", "again", self.first["id"])
        self.assertEqual(made[0]["head"], self.first["id"])

    def test_delete_of_an_open_branch(self):
        self.bough("branch", "premium")
        uri = self.json("url", "premium")["uri"]
        program = ("import sqlite3, sys\n"
                   "db = sqlite3.connect(':memory:'); db.enable_load_extension(True); db.load_extension(sys.argv[1])\n"
                   "db = sqlite3.connect(sys.argv[2], uri=True)\n"
                   "print(db.execute('SELECT count(*) FROM users').fetchone())\n"
                   "sys.stdout.flush(); sys.stdin.read()")
        holder = subprocess.Popen([sys.executable, "-c", program, support.BOUGH_SO, uri], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        try:
            self.assertEqual(holder.stdout.readline(), b"(200,)\n")
            status = self.json("status", "premium")
            self.assertEqual((status["open_by"], status["oldest_reader_seconds"]), ([holder.pid], None))
            before = self.snapshot()
            self.fails(4, "--timeout", "0.2", "delete", "premium")
            self.assertEqual(self.snapshot(), before)
            self.bough("delete", "-f", "premium")
            self.assertEqual(self.names(), ["main"])
        finally:
            holder.communicate()

    # ---- status, tree ----

    def test_status(self):
        self.bough("branch", "premium")
        self.sql("premium", "UPDATE users SET name = 'x' WHERE id = 7")
        status = self.json("status", "premium")
        self.check_branch(status, ["changed_pages", "open_by", "oldest_reader_seconds"])
        self.assertEqual({k: status[k] for k in support.BRANCH_KEYS}, self.branch("premium"))
        self.assertEqual((status["dirty"], status["open_by"], status["oldest_reader_seconds"]), (True, [], None))
        self.assertGreaterEqual(status["changed_pages"], 1)
        self.assertLess(status["changed_pages"], 5)
        self.assertGreater(status["own_bytes"], 0)
        self.bough("commit", "premium")
        self.assertEqual(self.json("status", "premium")["changed_pages"], status["changed_pages"])
        clean = self.json("status")
        self.assertEqual((clean["name"], clean["dirty"]), ("main", False))
        self.assertIn("premium", self.bough("status", "premium").text)
        self.assertIn("1 page since the base" if status["changed_pages"] == 1 else "pages since the base",
                      self.bough("status", "premium").text)
        self.assertEqual(self.bough("status", "-q").text, "main\n")
        self.bough("tag", "v1")
        self.fails(3, "status", "nowhere")
        self.fails(3, "status", "v1")

    def test_status_during_a_read_transaction(self):
        program = ("import sqlite3, sys\n"
                   "db = sqlite3.connect(':memory:'); db.enable_load_extension(True); db.load_extension(sys.argv[1])\n"
                   "db = sqlite3.connect(sys.argv[2], uri=True, isolation_level=None)\n"
                   "db.execute('BEGIN'); print(db.execute('SELECT count(*) FROM users').fetchone())\n"
                   "sys.stdout.flush(); sys.stdin.read()")
        reader = subprocess.Popen([sys.executable, "-c", program, support.BOUGH_SO, self.json("url", "main")["uri"]],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.assertEqual(reader.stdout.readline(), b"(200,)\n")
            status = self.json("status", "main")
            self.assertEqual(status["open_by"], [reader.pid])
            self.assertIs(type(status["oldest_reader_seconds"]), int)
            self.assertGreaterEqual(status["oldest_reader_seconds"], 0)
            self.assertIn(f"process {reader.pid}", self.bough("status").text)
            self.fails(4, "--timeout", "0.1", "delete", "main")
        finally:
            reader.communicate()
        status = self.json("status", "main")
        self.assertEqual((status["open_by"], status["oldest_reader_seconds"]), ([], None))

    def test_tree(self):
        self.bough("branch", "a")
        self.bough("branch", "a1", "a")
        self.bough("branch", "a2", "a")
        self.bough("branch", "b")
        self.bough("branch", "alone", "main~0")
        self.sql("a1", "DELETE FROM users WHERE id = 1")
        self.bough("commit", "a1", "-m", "one user less")
        self.assertEqual(self.json("tree"), self.branches())
        text = self.bough("tree", env={"LC_ALL": "C"}).text
        drawn = [line[:16].rstrip() for line in text.splitlines()[1:]]
        self.assertEqual(drawn[0][:5], "alone")
        self.assertEqual(drawn[1][:6], "main *")
        self.assertTrue(drawn[2].startswith("|-- a"))
        self.assertTrue(drawn[3].startswith("|   |-- a1"))
        self.assertTrue(drawn[4].startswith("|   `-- a2"))
        self.assertTrue(drawn[5].startswith("`-- b"))
        row = next(line for line in text.splitlines() if "-- a1 " in line)
        self.assertIn(self.branch("a1")["head"][:12], row)
        self.assertIn("one user less", row)
        text = self.bough("tree", env={"LC_ALL": "C.UTF-8"}).text
        self.assertIn("│   └── a2", text)
        self.assertEqual(self.bough("tree", "-q").text.split(), self.names())

    def test_a_deep_tree_is_drawn(self):
        for depth in range(30):
            self.bough("branch", f"d{depth:02}", f"d{depth - 1:02}" if depth else "main")
        text = self.bough("tree", env={"LC_ALL": "C"}).text
        self.assertIn("    " * 29 + "`-- d29", text)


if __name__ == "__main__":
    support.main()
