"""bough.so in programs that know nothing of bough: the sqlite3 shell and Python's sqlite3."""
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import unittest

BOUGH = os.environ["BOUGH"]
SO = os.environ["BOUGH_SO"]
SHELL = "/usr/bin/sqlite3"


class Extension(unittest.TestCase):
    def setUp(self):
        self.directory = os.path.realpath(tempfile.mkdtemp(prefix="bough-extension-"))
        self.store = os.path.join(self.directory, "shop.bough")
        self.path = os.path.join(self.store, "db", "main")
        self.uri = f"file:{self.path}?vfs=bough"
        subprocess.run([BOUGH, "init", "--empty", self.store, "-q"], check=True, stdout=subprocess.DEVNULL)

    def tearDown(self):
        shutil.rmtree(self.directory)

    def shell(self, *commands, check=True):
        """Runs commands in the stock shell; its output."""
        done = subprocess.run([SHELL, "-batch", "-bail", ":memory:"], input="\n".join(commands) + "\n",
                              capture_output=True, text=True)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stderr, "")
        return done.stdout.split("\n")[:-1] if check else done

    def python(self, program):
        """Runs a program of its own process, with SO, path and uri set; its output."""
        head = f"import sqlite3, sys\nSO, path, uri = {SO!r}, {self.path!r}, {self.uri!r}\n"
        head += textwrap.dedent("""
            def load(entry=None):
                db = sqlite3.connect(':memory:')
                db.enable_load_extension(True)
                if entry:
                    db.execute('SELECT load_extension(?, ?)', (SO, entry))
                else:
                    db.load_extension(SO)
                db.close()
            """)
        done = subprocess.run([sys.executable, "-c", head + textwrap.dedent(program)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def test_shell(self):
        rows = self.shell(f".load {SO[:-3]}", f".open {self.uri}",
                          "CREATE TABLE t(a, b); INSERT INTO t VALUES(1, 'one'), (2, 'two');",
                          "SELECT * FROM t ORDER BY a;", "PRAGMA integrity_check;")
        self.assertEqual(rows, ["1|one", "2|two", "ok"])
        rows = self.shell(f".load {SO}", f".open {self.uri}", "SELECT count(*) FROM t;", ".vfsname")
        self.assertEqual(rows, ["2", "bough"])

    def test_shell_with_the_default_vfs(self):
        plain = os.path.join(self.directory, "plain.db")
        rows = self.shell(f".load {SO} sqlite3_boughdefault_init", f".open {self.path}", "CREATE TABLE t(a);",
                          "INSERT INTO t VALUES(5);", f"ATTACH '{plain}' AS p; CREATE TABLE p.x AS SELECT a FROM t;",
                          "SELECT * FROM p.x;")
        self.assertEqual(rows, ["5"])
        self.assertTrue(os.path.isfile(plain))
        db = sqlite3.connect(plain)
        self.assertEqual(db.execute("SELECT a FROM x").fetchall(), [(5,)])
        db.close()

    def test_shell_without_the_extension(self):
        for command in (f".open {self.path}", f".open file:{self.path}", f".open {self.uri}"):
            done = self.shell(command, "CREATE TABLE t(a);", check=False)  # the shell goes on in memory
            self.assertRegex(done.stderr + done.stdout, "unable to open|no such vfs|not a database")
        self.assertEqual(self.shell(f".load {SO}", f".open {self.uri}", "SELECT count(*) FROM sqlite_schema;"), ["0"])

    def test_shell_writes_what_dump_and_restore_need(self):
        self.shell(f".load {SO}", f".open {self.uri}", "CREATE TABLE t(a PRIMARY KEY, b) WITHOUT ROWID;",
                   "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3000)"
                   " INSERT INTO t SELECT x, hex(randomblob(50)) FROM c;")
        backup = os.path.join(self.directory, "backup.db")
        self.shell(f".load {SO}", f".open {self.uri}", f".backup {backup}", "DELETE FROM t WHERE a > 10;", "VACUUM;")
        self.assertEqual(self.shell(f".load {SO}", f".open {self.uri}", f".restore {backup}",
                                    "SELECT count(*) FROM t;", "PRAGMA integrity_check;"), ["3000", "ok"])

    def test_python(self):
        out = self.python("""
            load()
            db = sqlite3.connect(uri, uri=True)
            with db:
                db.execute('CREATE TABLE t(a INTEGER PRIMARY KEY, b)')
                db.executemany('INSERT INTO t(b) VALUES(?)', ((str(i) * 50,) for i in range(5000)))
            other = sqlite3.connect(uri, uri=True)
            try:
                with db:
                    db.execute("UPDATE t SET b = 'x'")
                    raise KeyError
            except KeyError:
                pass
            print(other.execute("SELECT count(*), sum(b = 'x') FROM t").fetchone(),
                  other.execute('PRAGMA integrity_check').fetchone())
            """)
        self.assertEqual(out, "(5000, 0) ('ok',)")

    def test_python_with_the_default_vfs(self):
        out = self.python("""
            load('sqlite3_boughdefault_init')
            db = sqlite3.connect(path)
            db.execute('CREATE TABLE t(a)')
            db.execute("CREATE TEMP TABLE x AS SELECT 1")
            db.execute('INSERT INTO t VALUES(1)')
            db.commit()
            print(sqlite3.connect(path).execute('SELECT * FROM t').fetchall())
            """)
        self.assertEqual(out, "[(1,)]")

    def test_python_without_the_extension(self):
        out = self.python("""
            try:
                sqlite3.connect(path).execute('CREATE TABLE t(a)')
                print('opened')
            except sqlite3.OperationalError as error:
                print(error)
            """)
        self.assertEqual(out, "unable to open database file")

    def test_it_stays_when_the_connection_that_loaded_it_is_closed(self):
        out = self.python("""
            for entry in (None, 'sqlite3_boughdefault_init', None, 'sqlite3_bough_init'):
                load(entry)
            import gc
            gc.collect()
            for i in range(5):
                db = sqlite3.connect(uri, uri=True)
                db.execute('CREATE TABLE t%d(a)' % i)
                db.close()
            print(sqlite3.connect(path).execute('SELECT count(*) FROM sqlite_schema').fetchone()[0])
            """)
        self.assertEqual(out, "5")

    def test_two_processes(self):
        writer = """
            load()
            db = sqlite3.connect(uri, uri=True, timeout=60, isolation_level=None)
            db.execute('CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, who)')
            for i in range(100):
                db.execute('BEGIN IMMEDIATE')
                db.execute('INSERT INTO t(who) VALUES(?)', (sys.argv[0],))
                db.execute('COMMIT')
            """
        self.python("load(); sqlite3.connect(uri, uri=True).execute('CREATE TABLE t(a INTEGER PRIMARY KEY, who)')")
        head = f"import sqlite3, sys\nSO, uri = {SO!r}, {self.uri!r}\n"
        head += "def load():\n    db = sqlite3.connect(':memory:'); db.enable_load_extension(True)\n"
        head += "    db.load_extension(SO); db.close()\n"
        processes = [subprocess.Popen([sys.executable, "-c", head + textwrap.dedent(writer)], stderr=subprocess.PIPE,
                                      text=True) for _ in range(3)]
        for process in processes:
            _, errors = process.communicate()
            self.assertEqual(process.returncode, 0, errors)
        out = self.python("load(); db = sqlite3.connect(uri, uri=True)\n"
                          "print(*db.execute('SELECT count(*), max(a) FROM t').fetchone(),"
                          " *db.execute('PRAGMA integrity_check').fetchone())")
        self.assertEqual(out, "300 300 ok")

    def test_multiprocessing_with_fork(self):
        out = self.python("""
            import multiprocessing, os
            load()
            def connect():
                return sqlite3.connect(uri, uri=True, timeout=60, isolation_level=None)
            parent = connect()
            parent.execute('CREATE TABLE t(a INTEGER PRIMARY KEY, who)')
            def work(number):
                try:
                    parent.execute('INSERT INTO t(who) VALUES(-1)')
                    return 'the inherited connection was used'
                except sqlite3.OperationalError as error:
                    assert 'I/O error' in str(error), error
                db = connect()
                for i in range(25):
                    db.execute('BEGIN IMMEDIATE')
                    db.execute('INSERT INTO t(who) VALUES(?)', (number,))
                    db.execute('COMMIT')
                db.close()
                return None
            with multiprocessing.get_context('fork').Pool(4) as pool:
                parent.execute('BEGIN')
                first = parent.execute('SELECT count(*) FROM t').fetchone()[0]
                failures = [text for text in pool.map(work, range(12), 1) if text]
                assert parent.execute('SELECT count(*) FROM t').fetchone()[0] == first
                parent.execute('COMMIT')
            child = os.fork()
            if child == 0:
                parent.close()
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
            parent.execute("INSERT INTO t(who) VALUES('parent')")
            print(failures, *parent.execute('SELECT count(*) FROM t').fetchone(),
                  *parent.execute('PRAGMA integrity_check').fetchone())
            """)
        self.assertEqual(out, "[] 301 ok")

    def test_it_brings_nothing_but_its_entry_points(self):
        symbols = subprocess.run(["nm", "-D", "--defined-only", SO], capture_output=True, text=True, check=True).stdout
        names = sorted(line.split()[-1] for line in symbols.splitlines())
        self.assertEqual(names, ["sqlite3_bough_init", "sqlite3_boughdefault_init"])
        needed = subprocess.run(["readelf", "-d", SO], capture_output=True, text=True, check=True).stdout
        self.assertNotIn("sqlite3", needed.replace(os.path.basename(SO), ""))
        undefined = subprocess.run(["nm", "-D", "--undefined-only", SO], capture_output=True, text=True, check=True)
        self.assertNotIn("sqlite3_", undefined.stdout)


if __name__ == "__main__":
    unittest.main()
