"""sql: forms of output, errors, transactions, exit codes."""
import csv
import io
import json
import os
import sqlite3
import subprocess
import sys

import support


class Sql(support.Case):
    def setUp(self):
        super().setUp()
        self.first = self.make_store()

    # ---- JSON ----

    def test_values(self):
        row = self.sql("main", "SELECT 1 AS i, -9223372036854775808 AS low, 1.5 AS r, 3.0 AS whole, 0.1 + 0.2 AS long, "
                               "1e300 AS big, NULL AS n, 'text \"quoted\" \\ ' || char(10, 1, 127, 233, 128512) AS t, "
                               "x'00ff' AS b, x'' AS eb, '' AS et, 1e999 AS inf, -1e999 AS ninf")[0][0]
        self.assertEqual(row, {"i": 1, "low": -2 ** 63, "r": 1.5, "whole": 3.0, "long": 0.1 + 0.2, "big": 1e300,
                               "n": None, "t": "text \"quoted\" \\ \n\x01\x7f\u00e9\U0001F600", "b": {"hex": "00ff"},
                               "eb": {"hex": ""}, "et": "", "inf": None, "ninf": None})
        self.assertIsInstance(row["whole"], float)
        self.assertIsInstance(row["i"], int)

    def test_bytes_that_are_no_utf8(self):
        for raw in (b"a\xffb", b"\xc3", b"\xc3(", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe2\x82",
                    b"\xf0\x9f\x98", b"\xf0\x9f\x98A", b"\x80\x80", b"\xe0\x80\x80", b"ok \xe2\x82\xac"):
            row = self.sql("main", f"SELECT CAST(x'{raw.hex()}' AS TEXT) AS t")[0][0]
            self.assertEqual(row["t"], raw.decode("utf-8", "replace"), raw)
        self.assertEqual(self.value("main", "SELECT 'a' || char(0) || 'b'"), "a\0b")

    def test_names_of_columns(self):
        result = self.bough("sql", "main", "SELECT 1 AS a, 2 AS a, 3 AS a, 4 AS b, 5 AS \"a:2\"", "--json").text
        pairs = json.loads(result, object_pairs_hook=list)[0][0]
        self.assertEqual([p[0] for p in pairs[:4]], ["a", "a:2", "a:3", "b"])
        self.assertEqual(len(set(p[0] for p in pairs)), 5)
        self.assertEqual([p[1] for p in pairs], [1, 2, 3, 4, 5])

    def test_one_array_for_each_statement_that_returns_rows(self):
        document = self.sql("main", "CREATE TABLE t(x); INSERT INTO t VALUES (1), (2); SELECT x FROM t; -- comment\n"
                                    "SELECT x FROM t WHERE x > 5; DELETE FROM t; /* more */ ; "
                                    "SELECT count(*) AS n FROM t; INSERT INTO t VALUES (7) RETURNING x")
        self.assertEqual(document, [[{"x": 1}, {"x": 2}], [], [{"n": 0}], [{"x": 7}]])
        self.assertEqual(self.sql("main", "CREATE TABLE u(x)"), [])
        self.assertEqual(self.sql("main", ""), [])
        self.assertEqual(self.sql("main", "-- nothing"), [])
        self.assertEqual(self.sql("main", "SELECT * FROM u"), [[]])

    def test_large_results(self):
        document = self.sql("main", support.counting(60000) +
                            "SELECT i, 'some text to make rows longer' AS t FROM n; SELECT 1 AS one")
        self.assertEqual((len(document[0]), document[0][-1]["i"], document[1]), (60000, 60000, [{"one": 1}]))

    def test_stdout_is_empty_after_an_error(self):
        many = support.counting(60000) + "SELECT i, hex(i) FROM n;"
        os.mkdir(self.path("tmp"))
        result = self.bough("sql", "main", many + "SELECT * FROM nowhere", "--json", status=8,
                            env={"TMPDIR": self.path("tmp")})
        self.assertEqual(result.out, b"")
        self.assertEqual(json.loads(result.err)["error"]["code"], "sql")
        self.assertEqual(os.listdir(self.path("tmp")), [])

    # ---- other forms ----

    def test_list_form(self):
        text = self.bough("sql", "main", "SELECT 1, NULL, 'a b', 2.5, x'0aff'; SELECT 'next'").text
        self.assertEqual(text, "1||a b|2.5|x'0aff'\nnext\n")
        self.assertEqual(self.bough("sql", "main", "SELECT 1 WHERE 0").text, "")

    def test_csv(self):
        text = self.bough("sql", "main", "SELECT 1 AS a, 'x,\"y\"' AS b, NULL AS c, '' AS d, "
                          "'two' || char(10) || 'lines' AS e", "--csv").text
        self.assertEqual(list(csv.reader(io.StringIO(text, newline=""))),
                         [["a", "b", "c", "d", "e"], ["1", 'x,"y"', "", "", "two\nlines"]])
        self.assertTrue(text.endswith(',"","two\nlines"\n'))

    def test_table(self):
        lines = self.bough("sql", "main", "SELECT id, name FROM users WHERE id IN (1, 12); "
                           "SELECT NULL AS n, 'a' || char(10) || 'b' AS t", "--table").text.splitlines()
        self.assertEqual(lines[0].split(), ["id", "name"])
        self.assertEqual(lines[2:4], ["1   user 0", "12  user 11"])
        self.assertEqual(lines[-1].split(), ["NULL", "a\\nb"])
        text = self.bough("sql", "main", support.counting(2500) + "SELECT i FROM n", "--table").text
        self.assertEqual(len(text.split()), 2502)

    def test_one_form_only(self):
        self.bough("sql", "main", "SELECT 1", "--csv", "--table", status=2)
        self.bough("sql", "main", "SELECT 1", "--csv", "--json", status=2)

    # ---- scripts ----

    def test_script_from_stdin(self):
        script = b"\xef\xbb\xbf-- CRLF\r\nCREATE TABLE t(x);\r\nINSERT INTO t VALUES ('a;b');\r\nSELECT x FROM t;\r\n"
        self.assertEqual(self.json("sql", "main", stdin=script), [[{"x": "a;b"}]])
        self.assertEqual(self.json("sql", "main", stdin=b""), [])
        self.assertEqual(self.json("sql", "main", "-- comment\nSELECT 1 AS x"), [[{"x": 1}]])
        self.assertEqual(self.bough("sql", "main", "--", "--x\nSELECT 1").text, "1\n")

    def test_triggers_and_literals_hold_together(self):
        script = (b"CREATE TRIGGER tr AFTER INSERT ON users BEGIN "
                  b"UPDATE users SET name = 'a;' || char(10) WHERE id = new.id; SELECT 1; END;\n"
                  b"INSERT INTO users(id, name) VALUES (1000, 'x'); SELECT name FROM users WHERE id = 1000;")
        self.assertEqual(self.json("sql", "main", stdin=script), [[{"name": "a;\n"}]])

    def test_zero_byte(self):
        self.fails(8, "sql", "main", stdin=b"DELETE FROM users;\0 SELECT 1")
        self.assertEqual(self.value("main", "SELECT count(*) FROM users"), 200)

    def test_a_long_script(self):
        lines = [f"INSERT INTO big VALUES ({i});\n" for i in range(20000)]
        script = "".join(["CREATE TABLE big(x);\nBEGIN;\n", *lines, "COMMIT;"])
        self.json("sql", "main", stdin=script.encode())
        self.assertEqual(self.value("main", "SELECT count(*) FROM big"), 20000)

    def test_stops_at_the_first_error_and_keeps_what_was_committed(self):
        message = self.fails(8, "sql", "main", "DELETE FROM users WHERE id = 1;\n\n"
                             "SELECT nothing FROM users;\nDELETE FROM users")
        self.assertIn("statement 2", message)
        self.assertIn("line 3", message)
        self.assertIn("nothing", message)
        self.assertEqual(self.value("main", "SELECT count(*) FROM users"), 199)
        message = self.fails(8, "sql", "main", "SELECT 1;\n-- c\nINSERT INTO users(id) VALUES (5)")
        self.assertIn("statement 2", message)
        self.assertIn("line 3", message)
        self.fails(8, "sql", "main", "SELECT 1; SELEC")

    def test_rows_before_the_error_are_printed_for_people(self):
        self.assertEqual(self.bough("sql", "main", "SELECT 7; SELEC", status=8).text, "7\n")

    def test_no_transaction_is_left_open(self):
        self.fails(8, "sql", "main", "BEGIN; DELETE FROM users")
        self.fails(8, "sql", "main", "SAVEPOINT a; DELETE FROM users")
        self.fails(8, "sql", "main", "BEGIN; DELETE FROM users; SELEC")
        self.assertEqual(self.value("main", "SELECT count(*) FROM users"), 200)
        self.assertFalse(self.branch("main")["dirty"])
        self.sql("main", "BEGIN; DELETE FROM users WHERE id = 1; COMMIT")
        self.assertEqual(self.value("main", "SELECT count(*) FROM users"), 199)

    # ---- states ----

    def test_past_states_are_read_only(self):
        self.bough("tag", "v1")
        self.sql("main", "DELETE FROM users")
        for ref in ("v1", "main~0", self.first["id"], self.first["id"][:7]):
            self.assertEqual(self.value(ref, "SELECT count(*) FROM users"), 200)
            self.fails(4, "sql", ref, "DELETE FROM users")
            self.fails(4, "sql", ref, "CREATE TABLE t(x)")
            self.assertEqual(self.value(ref, "CREATE TEMP TABLE t(x); INSERT INTO t VALUES (3); SELECT x FROM t"), 3)

    def test_refusals(self):
        self.fails(3, "sql", "nowhere", "SELECT 1")
        self.fails(2, "sql", "main~", "SELECT 1")
        self.bough("protect", "main")
        self.fails(4, "sql", "main", "DELETE FROM users")
        self.assertEqual(self.value("main", "SELECT count(*) FROM users"), 200)

    def test_codes_of_sqlite(self):
        self.fails(8, "sql", "main", "PRAGMA query_only = 1; DELETE FROM users")
        self.fails(8, "sql", "main", "INSERT INTO users(id) VALUES (1)")
        with open(self.path("noise.db"), "wb") as file:
            file.write(b"no database at all\n" * 300)
        self.fails(6, "sql", "main", f"ATTACH '{self.path('noise.db')}' AS n; SELECT * FROM n.sqlite_master")
        db = sqlite3.connect(self.path("shop.db"), isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        self.fails(5, "--timeout", "0.1", "sql", "main",
                   f"ATTACH '{self.path('shop.db')}' AS s; DELETE FROM s.users")
        db.close()

    def test_a_full_database_is_an_io_error(self):
        self.fails(7, "sql", "main", "PRAGMA max_page_count = 10; CREATE TABLE big AS SELECT randomblob(1000000) AS b")
        self.assertEqual(self.sql("main", "SELECT count(*) AS n FROM sqlite_master WHERE name = 'big'"), [[{"n": 0}]])

    def test_a_second_writer_is_busy(self):
        program = ("import sqlite3, sys\n"
                   "db = sqlite3.connect(':memory:'); db.enable_load_extension(True); db.load_extension(sys.argv[1])\n"
                   "db = sqlite3.connect(sys.argv[2], uri=True, isolation_level=None); db.execute('BEGIN IMMEDIATE')\n"
                   "db.execute('DELETE FROM users')\n"
                   "print('ready'); sys.stdout.flush(); sys.stdin.read(); db.execute('ROLLBACK')")
        writer = subprocess.Popen([sys.executable, "-c", program, support.BOUGH_SO, self.json("url", "main")["uri"]],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.assertEqual(writer.stdout.readline(), b"ready\n")
            self.fails(5, "--timeout", "0.1", "sql", "main", "DELETE FROM users WHERE id = 1")
            self.assertEqual(self.value("main", "SELECT count(*) FROM users"), 200)
        finally:
            writer.communicate()


if __name__ == "__main__":
    support.main()
