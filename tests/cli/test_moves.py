"""reset, promote, and import into a branch that others have open."""
import os
import sqlite3
import subprocess

import support

SEALED_KEYS = ["branch", "id", "root", "changed", "left"]


class Moves(support.Case):
    def setUp(self):
        super().setUp()
        self.first = self.make_store()

    def names_of(self, branch):
        return self.value(branch, "SELECT group_concat(name) FROM (SELECT name FROM users ORDER BY id LIMIT 3)")

    def write(self, branch, n=1, text="new"):
        self.sql(branch, f"UPDATE users SET name = '{text}' WHERE id = {n}")

    def head(self, branch):
        return self.branch(branch)["head"]

    def checks(self, document, branch, changed):
        self.assertEqual(list(document), SEALED_KEYS)
        self.assertEqual((document["branch"], document["changed"]), (branch, changed))
        self.check_id(document["id"])
        self.check_id(document["root"])
        self.assertEqual(document["id"], self.head(branch))

    def same_bytes(self, a, b):
        self.assertEqual(self.exported(a), self.exported(b))

    def exported(self, ref):
        path = self.path("out.db")
        self.bough("export", ref, path, "--force")
        with open(path, "rb") as file:
            return file.read()

    # ---- the record ----

    def test_log_of_moves(self):
        self.assertEqual(self.json("log", "main", "--moves"), [])
        self.assertEqual(self.bough("log", "--moves").text, "")
        self.bough("branch", "b")
        self.write("b")
        promoted = self.json("promote", "b")
        self.write("main", text="newer")
        reset = self.json("reset", "main", "--to", "main~1")
        self.write("main", text="newest")
        self.bough("reset", "main", "--to", promoted["id"], "--discard")
        moves = self.json("log", "main", "--moves")
        self.assertEqual([(m["verb"], m["before"], m["after"], m["note"]) for m in moves],
                         [("reset", None, promoted["id"], None),
                          ("reset", reset["left"], reset["id"], None),
                          ("promote", promoted["left"], promoted["id"], None)])
        self.assertEqual(list(moves[0]), ["verb", "before", "after", "note", "created_at"])
        self.assertEqual(self.json("log", "main", "--moves", "-n", "1"), moves[:1])
        self.assertEqual(self.bough("log", "--moves", "-q").text.split(), [reset["left"], promoted["left"]])
        self.assertEqual(len(self.bough("log", "--moves").text.splitlines()), 4)
        self.bough("log", "nothing", "--moves", status=3)
        self.bough("log", "main~1", "--moves", status=3)

    # ---- reset ----

    def test_reset_to_the_base(self):
        self.bough("branch", "b")
        before = self.exported("b")
        self.write("b")
        dirty = self.exported("b")
        done = self.json("reset", "b")
        self.checks(done, "b", True)
        self.assertEqual(done["id"], self.first["id"])
        self.check_id(done["left"])
        self.assertNotEqual(done["left"], done["id"])
        self.assertEqual(self.exported("b"), before)
        self.assertEqual(self.exported(done["left"]), dirty)
        log = self.json("log", done["left"])
        self.assertTrue(log[0]["automatic"])
        self.assertEqual(log[0]["parents"], [self.first["id"]])
        branch = self.branch("b")
        self.assertEqual((branch["base"], branch["dirty"], branch["own_bytes"]), (self.first["id"], False, 0))
        again = self.json("reset", "b")
        self.checks(again, "b", False)
        self.assertIsNone(again["left"])
        self.assertIn("nothing", self.bough("reset", "b").text)
        # What was left behind can be had back.
        back = self.json("reset", "b", "--to", done["left"])
        self.assertEqual((back["id"], back["left"]), (done["left"], self.first["id"]))
        self.assertEqual(self.exported("b"), dirty)
        self.assertEqual(self.branch("b")["base"], self.first["id"])

    def test_reset_of_a_clean_branch_and_of_commits(self):
        self.write("main", 1, "one")
        one = self.json("commit", "-m", "one")["id"]
        self.write("main", 2, "two")
        two = self.json("commit", "-m", "two")["id"]
        done = self.json("reset", "main", "--to", "main~1")
        self.assertEqual((done["id"], done["left"]), (one, two))
        self.assertEqual([c["id"] for c in self.json("log", "main")], [one, self.first["id"]])
        self.assertEqual([c["id"] for c in self.json("log", two)], [two, one, self.first["id"]])
        self.assertTrue(self.names_of("main").startswith("one,user 1"))

    def test_discard(self):
        self.bough("branch", "b")
        self.write("b")
        count = len(self.json("log", "b"))
        done = self.json("reset", "b", "--discard")
        self.checks(done, "b", True)
        self.assertIsNone(done["left"])
        self.assertEqual(len(self.json("log", "b")), count)
        self.same_bytes("b", "main")
        self.assertEqual(os.listdir(self.path("shop.bough", "layers")), ["1.layer"])
        self.assertIn("discarded", (self.write("b"), self.bough("reset", "b", "--discard").text)[1])

    def test_reset_to_a_branch_is_to_its_newest_transaction(self):
        self.bough("branch", "b")
        self.write("main", 1, "of main")
        done = self.json("reset", "b", "--to", "main")
        self.same_bytes("b", "main")
        self.assertEqual(done["id"], self.head("main"))
        self.assertFalse(self.branch("main")["dirty"])
        self.assertTrue(self.json("log", "main")[0]["automatic"])
        self.write("b", 2, "mine")
        itself = self.json("reset", "b", "--to", "b")
        self.assertEqual((itself["changed"], itself["left"]), (False, None))
        self.assertTrue(self.branch("b")["dirty"])

    def test_refused_resets(self):
        self.bough("branch", "b")
        self.write("b")
        before = self.snapshot()
        self.fails(2, "reset")
        self.fails(2, "reset", "b", "--to", "b~")
        self.fails(3, "reset", "nowhere")
        self.fails(3, "reset", "b", "--to", "nowhere")
        self.fails(3, "reset", "b", "--to", "main~7")
        self.bough("protect", "b")
        self.fails(4, "reset", "b")
        self.bough("unprotect", "b")
        self.assertEqual(self.snapshot(), before)

    # ---- promote ----

    def test_promote(self):
        self.bough("branch", "b")
        self.write("b")
        wanted, old = self.exported("b"), self.exported("main")
        done = self.json("promote", "b")
        self.checks(done, "main", True)
        self.assertEqual(done["left"], self.first["id"])
        self.assertEqual((self.exported("main"), self.exported("b")), (wanted, wanted))
        self.assertEqual(self.exported(done["left"]), old)
        b = self.branch("b")
        self.assertEqual((b["head"], b["base"], b["dirty"], b["parent"]), (done["id"], done["id"], False, "main"))
        again = self.json("promote", "b")
        self.checks(again, "main", False)
        self.assertIsNone(again["left"])
        self.write("b", 2, "more")
        self.assertTrue(self.json("promote", "b")["changed"])
        self.same_bytes("b", "main")
        self.assertEqual(len(self.json("log", "main")), 3)

    def test_promote_onto_one_that_has_moved(self):
        self.bough("branch", "b")
        self.write("b", 1, "b")
        self.write("main", 2, "main")
        before = self.snapshot()
        self.fails(4, "promote", "b")
        self.assertEqual(self.snapshot(), before)
        ours, theirs = self.exported("main"), self.exported("b")
        done = self.json("promote", "b", "--force")
        self.checks(done, "main", True)
        self.assertEqual(self.exported("main"), theirs)
        self.assertEqual(self.exported(done["left"]), ours)
        top = self.json("log", "main")[0]
        self.assertEqual(len(top["parents"]), 2)
        self.assertEqual((top["id"], top["parents"][0], top["automatic"]), (done["id"], done["left"], True))
        self.assertEqual(self.json("log", top["parents"][1])[0]["root"], done["root"])
        b = self.branch("b")
        self.assertEqual((b["head"], b["base"], b["dirty"]), (done["id"], done["id"], False))
        self.write("b", 3, "later")
        self.assertTrue(self.json("promote", "b")["changed"])
        self.same_bytes("b", "main")
        self.assertEqual(self.bough("verify").status, 0)

    def test_promote_onto_another_branch(self):
        self.bough("branch", "a")
        self.bough("branch", "b", "a")
        self.write("b")
        done = self.json("promote", "b", "--onto", "main")
        self.checks(done, "main", True)
        self.same_bytes("b", "main")
        self.assertNotEqual(self.exported("a"), self.exported("b"))
        self.bough("branch", "tagged", done["id"])
        self.write("tagged", 1, "newer")
        self.fails(2, "promote", "tagged")  # no parent
        self.assertTrue(self.json("promote", "tagged", "--onto", "main")["changed"])

    def test_refused_promotions(self):
        self.bough("branch", "b")
        self.write("b")
        before = self.snapshot()
        self.fails(2, "promote", "main")
        self.fails(2, "promote", "b", "--onto", "b")
        self.fails(3, "promote", "nowhere")
        self.fails(3, "promote", "b", "--onto", "nowhere")
        self.bough("protect", "main")
        self.fails(4, "promote", "b")
        self.fails(4, "promote", "b", "--force")
        self.bough("unprotect", "main")
        self.assertEqual(self.snapshot(), before)

    # ---- programs that have the branch open ----

    PROGRAM = """
import sqlite3, sys
db = sqlite3.connect(":memory:", isolation_level=None)
db.enable_load_extension(True)
db.load_extension(sys.argv[1])
db = sqlite3.connect(sys.argv[2], uri=True, isolation_level=None, timeout=5)
for line in sys.stdin:
    try:
        print(db.execute(line.strip()).fetchall(), flush=True)
    except sqlite3.Error as error:
        print(type(error).__name__, error, flush=True)
"""

    def program(self, branch="main"):
        uri = self.json("url", branch)["uri"]
        program = subprocess.Popen(["/usr/bin/python3", "-c", self.PROGRAM, support.BOUGH_SO, uri], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.communicate)
        return program

    def ask(self, program, sql):
        program.stdin.write(sql + "\n")
        program.stdin.flush()
        return program.stdout.readline().strip()

    def test_a_program_sees_the_new_state(self):
        self.bough("branch", "b")
        program = self.program("b")
        count = "SELECT count(*) FROM users WHERE name = 'new'"
        self.ask(program, "UPDATE users SET name = 'new'")
        self.assertEqual(self.ask(program, count), "[(200,)]")
        self.bough("reset", "b")
        self.assertEqual(self.ask(program, count), "[(0,)]")
        self.ask(program, "UPDATE users SET name = 'new' WHERE id < 11")
        self.assertEqual(self.value("b", count), 10)
        self.bough("promote", "b")
        self.ask(program, "UPDATE users SET name = 'new' WHERE id < 21")
        self.assertEqual((self.value("b", count), self.value("main", count)), (20, 10))

    def test_import_under_an_open_connection(self):
        program = self.program()
        self.ask(program, "UPDATE users SET name = 'lost?' WHERE id = 1")
        other = sqlite3.connect(self.path("other.db"))
        other.execute("PRAGMA page_size=8192")
        other.execute("CREATE TABLE fresh(x)")
        other.execute("INSERT INTO fresh VALUES(7)")
        other.commit()
        other.close()
        done = self.json("import", "other.db")
        self.assertEqual(self.ask(program, "SELECT x FROM fresh"), "[(7,)]")
        self.assertEqual(self.ask(program, "PRAGMA page_size"), "[(8192,)]")
        self.ask(program, "INSERT INTO fresh VALUES(8)")
        self.assertEqual(self.value("main", "SELECT count(*) FROM fresh"), 2)
        log = self.json("log")
        self.assertEqual([c["automatic"] for c in log], [False, True, False])
        self.assertEqual(log[0]["id"], done["id"])
        self.assertEqual(self.sql(log[1]["id"], "SELECT name FROM users WHERE id = 1"), [[{"name": "lost?"}]])

    def test_a_writer_in_the_way(self):
        self.bough("branch", "b")
        self.write("b", 5, "dirty")
        program = self.program("b")
        self.ask(program, "BEGIN IMMEDIATE")
        self.ask(program, "UPDATE users SET name = 'mine' WHERE id = 1")
        before = self.snapshot()
        for words in (["reset", "b"], ["import", "shop.db", "-b", "b"], ["promote", "main", "--onto", "b"]):
            self.fails(5, *words, "--timeout", "0.1")
        self.assertEqual(self.snapshot(), before)
        self.assertEqual(self.ask(program, "COMMIT"), "[]")
        self.bough("reset", "b")

    def test_a_layer_that_is_of_no_use_goes_with_its_last_user(self):
        self.bough("branch", "b")
        program = self.program("b")
        for _ in range(20):
            self.ask(program, "UPDATE users SET name = 'new'")
            self.bough("reset", "b", "--discard")
        self.ask(program, "SELECT 1 FROM users")
        self.assertEqual(os.listdir(self.path("shop.bough", "layers")), ["1.layer"])


if __name__ == "__main__":
    support.main()
