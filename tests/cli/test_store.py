"""Finding stores; init, import, export, verify, du."""
import os
import shutil
import sqlite3
import subprocess
import unittest

import support

TRANSFER_KEYS = ["path", "branch", "id", "root", "size_bytes"]


def content(path):
    with open(path, "rb") as file:
        return file.read()


class Search(support.Case):
    def setUp(self):
        super().setUp()
        self.make_store()
        os.makedirs(self.path("a", "b"))

    def test_here_and_above(self):
        for where in (self.dir, self.path("a"), self.path("a", "b")):
            self.assertEqual([b["name"] for b in self.branches(cwd=where)], ["main"])

    def test_the_nearest_one_wins(self):
        self.bough("init", "--empty", "a/other.bough")
        self.assertEqual(self.branches(cwd=self.path("a", "b"))[0]["size_bytes"], 0)
        self.assertNotEqual(self.branches()[0]["size_bytes"], 0)

    def test_several_are_listed(self):
        self.bough("init", "--empty", "other.bough")
        for where in (self.dir, self.path("a", "b")):
            message = self.fails(2, "branch", cwd=where)
            self.assertIn(self.path("shop.bough"), message)
            self.assertIn(self.path("other.bough"), message)
        self.assertEqual(self.branches(env={"BOUGH_STORE": "other.bough"})[0]["size_bytes"], 0)

    def test_none(self):
        shutil.rmtree(self.path("shop.bough"))
        with open(self.path("file.bough"), "w"):
            pass
        os.mkdir(self.path(".bough"))
        self.fails(3, "branch")
        for words in (["status"], ["sql", "main", "SELECT 1"], ["verify"], ["du"], ["tree"],
                      ["export", "main", "x.db"]):
            self.fails(3, *words)

    def test_option_before_and_after_the_command_then_environment(self):
        self.bough("init", "--empty", "a/other.bough")
        self.bough("-s", "a/other.bough", "branch", "made")
        for words in (["-s", "a/other.bough", "branch", "-q"], ["branch", "-q", "-s", "a/other.bough"],
                      ["branch", "-q", "--store=a/other.bough"], ["-sa/other.bough", "-q", "branch"]):
            self.assertEqual(self.bough(*words).text, "made\nmain\n")
            self.assertEqual(self.bough(*words, env={"BOUGH_STORE": "shop.bough"}).text, "made\nmain\n")
        self.assertEqual(self.bough("branch", "-q", env={"BOUGH_STORE": "a/other.bough"}).text, "made\nmain\n")
        self.assertEqual(self.bough("branch", "-q", env={"BOUGH_STORE": ""}).text, "main\n")

    def test_what_is_no_store(self):
        self.fails(3, "-s", "nowhere.bough", "branch")
        os.mkdir(self.path("empty.bough"))
        done = subprocess.run([support.BOUGH, "-s", "empty.bough", "branch"], cwd=self.dir, capture_output=True,
                              env=self.environment())
        self.assertIn(done.returncode, (3, 6))
        self.assertEqual(os.listdir(self.path("empty.bough")), [])

    @unittest.skipUnless(os.geteuid() == 0, "needs root to give a directory away")
    def test_stops_at_a_directory_of_another_owner(self):
        self.assertEqual(len(self.branches(cwd=self.path("a", "b"))), 1)
        os.chown(self.dir, 12345, -1)
        self.fails(3, "branch", cwd=self.path("a", "b"))
        os.chown(self.path("a"), 12345, -1)
        self.fails(3, "branch", cwd=self.path("a", "b"))


class CurrentBranch(support.Case):
    def setUp(self):
        super().setUp()
        self.make_store()
        self.bough("branch", "agent")

    def test_variable_overrides_switch(self):
        env = {"BOUGH_BRANCH": "agent"}
        self.assertEqual(self.json("status")["name"], "main")
        self.assertEqual(self.json("status", env=env)["name"], "agent")
        self.assertEqual([b["name"] for b in self.branches(env=env) if b["current"]], ["agent"])
        self.sql("agent", "DELETE FROM users WHERE id = 1")
        self.assertEqual(self.json("commit", env=env)["branch"], "agent")
        self.assertEqual(self.json("branch", "child", env=env)[0]["parent"], "agent")
        self.bough("switch", "main", env=env)
        self.assertEqual(self.json("status", env=env)["name"], "agent")
        self.assertEqual(self.json("status", env={"BOUGH_BRANCH": ""})["name"], "main")

    def test_variable_that_names_no_branch(self):
        self.bough("tag", "v1")
        for name in ("nowhere", "v1", "not a name", "main~0"):
            for words in (["branch"], ["status"], ["commit"], ["log"], ["branch", "x"], ["tree"]):
                self.fails(3, *words, env={"BOUGH_BRANCH": name})
        self.assertEqual(self.names(), ["agent", "main"])

    def test_without_any_branch(self):
        self.bough("delete", "-r", "main")
        self.assertEqual(self.branches(), [])
        self.assertEqual(self.json("tree"), [])
        for words in (["status"], ["commit"], ["log"], ["branch", "x"], ["tag", "t"], ["import", "shop.db"]):
            self.fails(3, *words)


class Init(support.Case):
    def test_copies_the_file(self):
        path = self.make_db()
        before, mtime = content(path), os.stat(path).st_mtime_ns
        document = self.json("init", "shop.db")
        self.assertEqual(list(document), TRANSFER_KEYS)
        self.assertEqual(document["path"], self.path("shop.bough"))
        self.assertEqual(document["branch"], "main")
        self.assertEqual(document["size_bytes"], len(before))
        self.check_id(document["id"])
        self.check_id(document["root"])
        self.assertEqual((content(path), os.stat(path).st_mtime_ns), (before, mtime))
        self.assertEqual(sorted(os.listdir(self.dir)), ["shop.bough", "shop.db"])
        main = self.branch("main")
        self.check_branch(main)
        self.assertTrue(main["current"])
        self.assertEqual((main["parent"], main["head"], main["dirty"], main["size_bytes"]),
                         (None, document["id"], False, len(before)))
        self.bough("export", "main", "copy.db")
        self.assertEqual(content(self.path("copy.db")), before)

    def test_names_of_stores(self):
        for name, store in (("shop.sqlite", "shop.bough"), ("plain", "plain.bough"), ("a.b.db", "a.b.bough")):
            self.make_db(name)
            self.assertEqual(self.json("init", name)["path"], self.path(store))
        self.make_db("x.db")
        self.assertEqual(self.json("init", "x.db", "--store", "y.bough")["path"], self.path("y.bough"))
        self.assertEqual(self.json("-s", "z.bough", "init", "x.db")["path"], self.path("z.bough"))
        self.assertEqual(self.json("init", "x.db", env={"BOUGH_STORE": "v.bough"})["path"], self.path("v.bough"))
        self.assertFalse(os.path.exists(self.path("x.bough")))

    def test_through_a_symlink(self):
        os.mkdir(self.path("real"))
        self.make_db("real/shop.db")
        os.symlink("real/shop.db", self.path("link.db"))
        self.assertEqual(self.json("init", "link.db")["path"], self.path("real", "shop.bough"))

    def test_refusals(self):
        self.make_store()
        before = self.snapshot()
        self.fails(4, "init", "shop.db")
        self.fails(4, "init", "--empty", "shop.bough")
        self.assertEqual(self.snapshot(), before)
        self.fails(3, "init", "missing.db")
        with open(self.path("noise.db"), "wb") as file:
            file.write(b"this is no database\n" * 300)
        self.fails(6, "init", "noise.db")
        self.fails(2, "init", "shop.db", "--page-size", "4096", "-s", "n.bough")
        for size in ("0", "100", "511", "1000", "131072", "4k", ""):
            self.fails(2, "init", "--empty", "new.bough", "--page-size", size)
        self.fails(2, "init", "--empty", "new.bough", "--store", "other.bough")
        self.assertEqual(sorted(os.listdir(self.dir)), ["noise.db", "shop.bough", "shop.db"])

    def test_empty(self):
        document = self.json("init", "--empty", "new.bough")
        self.assertEqual((document["path"], document["size_bytes"]), (self.path("new.bough"), 0))
        self.bough("export", "main", "zero.db")
        self.assertEqual(content(self.path("zero.db")), b"")
        self.sql("main", "CREATE TABLE t(x); INSERT INTO t VALUES (1)")
        self.assertEqual(self.value("main", "SELECT x FROM t"), 1)

    def test_page_size_of_an_empty_one(self):
        for size in (512, 65536):
            self.bough("init", "--empty", f"p{size}.bough", "--page-size", str(size))
            env = {"BOUGH_STORE": f"p{size}.bough"}
            self.bough("sql", "main", "CREATE TABLE t(x)", env=env)
            self.assertEqual(self.sql("main", "PRAGMA page_size", env=env)[0][0]["page_size"], size)

    def test_the_first_write_brings_the_page_size(self):
        self.bough("init", "--empty", "new.bough")
        self.sql("main", "PRAGMA page_size = 8192; CREATE TABLE t(x)")
        self.assertEqual(self.value("main", "PRAGMA page_size"), 8192)
        self.json("commit")
        self.assertEqual(self.json("log", "-n", "1")[0]["page_size"], 8192)

    def test_a_file_of_0_bytes(self):
        with open(self.path("zero.db"), "wb"):
            pass
        self.assertEqual(self.json("init", "zero.db")["size_bytes"], 0)
        self.bough("export", "main", "out.db")
        self.assertEqual(content(self.path("out.db")), b"")

    def test_quiet_and_plain(self):
        self.make_db()
        self.assertEqual(self.bough("init", "shop.db", "-q").text, self.path("shop.bough") + "\n")
        self.assertIn("main", self.bough("init", "shop.db", "-s", "two.bough").text)


class ImportExport(support.Case):
    def setUp(self):
        super().setUp()
        self.first = self.make_store()
        self.make_db("next.db", rows=300)

    def test_import_is_the_next_commit(self):
        document = self.json("import", "next.db", "-m", "tonight")
        self.assertEqual(list(document), TRANSFER_KEYS)
        self.assertEqual(document["branch"], "main")
        self.assertEqual(document["path"], self.path("next.db"))
        self.assertEqual(document["size_bytes"], os.path.getsize(self.path("next.db")))
        log = self.json("log")
        self.assertEqual([c["id"] for c in log], [document["id"], self.first["id"]])
        self.assertEqual((log[0]["message"], log[0]["automatic"]), ("tonight", False))
        self.assertEqual(self.value("main", "SELECT count(*) FROM users"), 300)
        self.assertEqual(self.json("import", "next.db")["id"], document["id"])
        self.assertIn("main", self.bough("import", "next.db").text)
        self.assertEqual(len(self.json("log")), 2)

    def test_import_commits_what_is_not_committed(self):
        self.sql("main", "DELETE FROM users WHERE id > 10")
        self.json("import", "next.db", "--branch", "main")
        log = self.json("log")
        self.assertEqual(len(log), 3)
        self.assertTrue(log[1]["automatic"])
        self.assertEqual(self.value("main~1", "SELECT count(*) FROM users"), 10)

    def test_import_refusals(self):
        self.bough("protect", "main")
        with open(self.path("noise.db"), "wb") as file:
            file.write(b"no database at all\n" * 300)
        before = self.snapshot()
        self.fails(4, "import", "next.db")
        self.fails(3, "import", "missing.db")
        self.fails(3, "import", "next.db", "-b", "nowhere")
        self.bough("unprotect", "main")
        self.fails(6, "import", "noise.db")
        self.bough("protect", "main")
        self.assertEqual(self.snapshot(), before)

    def test_export_states(self):
        self.sql("main", "DELETE FROM users WHERE id = 1")
        dirty = self.json("export", "main", "dirty.db")
        self.assertEqual((dirty["branch"], dirty["id"], dirty["path"]), ("main", None, self.path("dirty.db")))
        clean = self.json("export", self.first["id"][:12], "clean.db")
        self.assertEqual((clean["branch"], clean["id"], clean["root"]), (None, self.first["id"], self.first["root"]))
        self.assertEqual(content(self.path("clean.db")), content(self.path("shop.db")))
        sealed = self.json("commit")
        again = self.json("export", "main", "again.db")
        self.assertEqual((again["branch"], again["id"], again["root"]), ("main", sealed["id"], sealed["root"]))
        self.assertEqual(content(self.path("again.db")), content(self.path("dirty.db")))
        db = sqlite3.connect(self.path("again.db"))
        self.assertEqual(db.execute("SELECT count(*) FROM users").fetchone(), (199,))
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchone(), ("ok",))
        db.close()

    def test_export_never_overwrites_without_force(self):
        before = content(self.path("next.db"))
        self.fails(4, "export", "main", "next.db")
        self.assertEqual(content(self.path("next.db")), before)
        self.bough("export", "main", "next.db", "--force")
        self.assertEqual(content(self.path("next.db")), content(self.path("shop.db")))
        self.fails(3, "export", "nowhere", "x.db")
        self.fails(3, "export", "main", "no/such/dir.db")
        self.assertEqual(sorted(os.listdir(self.dir)), ["next.db", "shop.bough", "shop.db"])

    def test_export_onto_a_database_in_use(self):
        db = sqlite3.connect(self.path("next.db"), isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM users")
        self.fails(5, "--timeout", "0.1", "export", "main", "next.db", "--force")
        db.execute("ROLLBACK")
        self.assertEqual(db.execute("SELECT count(*) FROM users").fetchone(), (300,))
        db.close()

    def test_quiet(self):
        self.assertEqual(self.bough("export", "main", "x.db", "-q").text, self.path("x.db") + "\n")
        self.assertRegex(self.bough("import", "next.db", "-q").text, r"^[0-9a-f]{64}\n$")


class Verify(support.Case):
    KEYS = ["ok", "checked_bytes", "findings"]

    def test_good_store(self):
        self.make_store()
        self.sql("main", "DELETE FROM users WHERE id < 50")
        for words in ([], ["main"], ["main~0"]):
            document = self.json("verify", *words)
            self.assertEqual(list(document), self.KEYS)
            self.assertEqual((document["ok"], document["findings"]), (True, []))
            self.assertGreater(document["checked_bytes"], 0)
        self.assertTrue(self.bough("verify").text.startswith("ok"))
        self.assertEqual(self.bough("verify", "-q").text, "")
        self.fails(3, "verify", "nowhere")

    def damage(self, wanted):
        for folder, _, files in os.walk(self.path("shop.bough")):
            for name in sorted(files):
                path = os.path.join(folder, name)
                if wanted(name) and os.path.getsize(path) > 40000:
                    with open(path, "r+b") as file:
                        file.seek(os.path.getsize(path) // 3)
                        old = file.read(64)
                        file.seek(-len(old), os.SEEK_CUR)
                        file.write(bytes(b ^ 0x55 for b in old))
                    return path
        self.skipTest("no file to damage")

    def test_damaged_pages_are_findings(self):
        self.make_store(rows=20000)
        self.damage(lambda name: "catalog" not in name)
        document = self.json("verify", status=6)
        self.assertEqual(list(document), self.KEYS)
        self.assertFalse(document["ok"])
        self.assertTrue(document["findings"])
        for finding in document["findings"]:
            self.assertEqual(list(finding), ["where", "what"])
            self.assertTrue(finding["where"] and finding["what"])
        result = self.bough("verify", status=6)
        self.assertEqual(result.err, b"")
        self.assertGreaterEqual(len(result.text.splitlines()), len(document["findings"]))

    def test_a_catalog_that_is_none_is_a_finding(self):
        self.make_store()
        for name in os.listdir(self.path("shop.bough")):
            if name.startswith("catalog.db-"):
                os.unlink(self.path("shop.bough", name))
        with open(self.path("shop.bough", "catalog.db"), "wb") as file:
            file.write(b"noise " * 1000)
        document = self.json("verify", status=6)
        self.assertFalse(document["ok"])
        self.assertTrue(document["findings"])
        self.fails(6, "branch")


class Damage(support.Case):
    def setUp(self):
        super().setUp()
        self.make_store()
        self.bough("branch", "other")
        self.sql("other", "DELETE FROM users WHERE id < 20")
        files = self.path("shop.bough", "layers")
        self.layer = max((os.path.join(files, name) for name in os.listdir(files)), key=os.path.getmtime)

    def check_other_branches(self):
        for words in (["sql", "other", "SELECT * FROM users"], ["branch", "x", "other"], ["export", "other", "x.db"],
                      ["commit", "other"]):
            self.fails(6, *words)
        self.assertEqual(self.value("main", "SELECT count(*) FROM users"), 200)
        self.assertFalse(self.json("verify", status=6)["ok"])
        self.assertTrue(self.json("verify", "main")["ok"])
        self.bough("branch", "fine", "main")

    def test_a_file_behind_a_symlink_is_not_opened(self):
        os.rename(self.layer, self.path("moved"))
        os.symlink(self.path("moved"), self.layer)
        self.check_other_branches()

    def test_a_truncated_file(self):
        os.truncate(self.layer, 100)
        self.check_other_branches()

    def test_overwritten_pages(self):
        with open(self.layer, "r+b") as file:
            file.seek(8192)
            file.write(b"noise" * ((os.path.getsize(self.layer) - 8192) // 5))
        self.check_other_branches()


class Usage(support.Case):
    def test_du(self):
        self.make_store()
        self.bough("branch", "child")
        self.sql("child", "DELETE FROM users")
        document = self.json("du")
        self.assertEqual(list(document), ["store_bytes", "branches"])
        self.assertEqual([b["name"] for b in document["branches"]], ["child", "main"])
        for branch in document["branches"]:
            self.assertEqual(list(branch), ["name", "own_bytes", "shared_bytes"])
            self.assertEqual(branch["own_bytes"], self.branch(branch["name"])["own_bytes"])
        self.assertGreater(document["branches"][0]["own_bytes"], 0)
        self.assertGreater(document["branches"][0]["shared_bytes"], 0)
        self.assertGreaterEqual(document["store_bytes"], os.path.getsize(self.path("shop.db")))
        self.assertIn("child", self.bough("du").text)
        self.assertEqual(self.bough("du", "-q").text, "child\nmain\n")


@unittest.skipUnless(os.geteuid() == 0, "needs root to become somebody else")
class Permission(support.Case):
    def setUp(self):
        super().setUp()
        self.make_store()
        self.bough("branch", "other")
        self.sql("other", "DELETE FROM users WHERE id < 20")
        for folder, _, files in os.walk(self.dir):
            os.chmod(folder, 0o755)
            for name in files:
                os.chmod(os.path.join(folder, name), 0o644)

    def as_nobody(self, *words):
        done = subprocess.run([support.BOUGH, *words, "--json"], cwd=self.dir, env=self.environment(), user=65534,
                              group=65534, extra_groups=[], capture_output=True)
        return done.returncode, done.stdout, done.stderr

    def test_writing_without_permission(self):
        before = self.snapshot()
        for words in (["branch", "x"], ["branch", "x", "other"], ["sql", "main", "DELETE FROM users"], ["tag", "t"],
                      ["sql", "other", "DELETE FROM users"], ["switch", "other"], ["delete", "main", "-r"],
                      ["protect", "main"], ["rename", "other", "x"], ["commit", "other"],
                      ["import", "shop.db", "-b", "other"]):
            status, out, err = self.as_nobody(*words)
            self.assertEqual((status, out), (7, b""), (words, err))
        self.assertEqual(self.snapshot(), before)

    def test_reading_without_permission(self):
        for words in (["branch"], ["tree"], ["log"], ["tag"], ["status", "other"], ["du"], ["verify"], ["url", "main"],
                      ["diff", "main", "other"], ["sql", "other", "SELECT * FROM users"],
                      ["sql", "main~0", "SELECT 1"]):
            status, out, err = self.as_nobody(*words)
            self.assertEqual((status, err), (0, b""), (words, out))
            self.assertEqual(out, self.bough(*words, "--json").out, words)


if __name__ == "__main__":
    support.main()
