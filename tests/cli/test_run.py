"""bough run: a program that opens a file gets a branch for it, and the file stays what it was."""
import hashlib
import os
import shutil
import signal
import subprocess
import sys

import support

SHELL = "/usr/bin/sqlite3"
COUNT = "SELECT count(*) FROM users"
ADD = "INSERT INTO users(name) VALUES ('by run')"

# Opens argv[1], runs argv[2] and prints the first value of each row; 9 when SQLite refuses.
READER = r"""
#include <sqlite3.h>
#include <stdio.h>
static int print(void *context, int count, char **values, char **names)
{
    (void)context, (void)count, (void)names;
    return puts(values[0] ? values[0] : "NULL") < 0;
}
int main(int argc, char **argv)
{
    sqlite3 *db = NULL;
    if (argc < 3 || sqlite3_open(argv[1], &db) != SQLITE_OK)
        return 9;
    if (sqlite3_exec(db, argv[2], print, NULL, NULL) != SQLITE_OK)
        return 9;
    return sqlite3_close(db);
}
"""

# Python, and what its sqlite3 does with these arguments of connect().
PYTHON = "import sqlite3, sys; db = sqlite3.connect(%s); db.execute(sys.argv[1]); db.commit(); " \
         "print(db.execute('SELECT count(*) FROM users').fetchone()[0])"


class Run(support.Case):
    def setUp(self):
        super().setUp()
        self.make_store()
        self.bough("branch", "premium")
        self.file = self.path("shop.db")
        self.digest = self.digest_of(self.file)

    def tearDown(self):
        """In every case: the file has the bytes that it had, and nothing stands beside it."""
        self.assertEqual(self.digest_of(self.file), self.digest)
        self.assertEqual([name for name in os.listdir(self.dir) if name.startswith("shop.db")], ["shop.db"])

    def digest_of(self, path):
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def run_lines(self, *words, **more):
        return self.bough("run", *words, **more).text.splitlines()

    def shell(self, ref, *words, **more):
        """The sqlite3 shell under run: what it prints."""
        return self.run_lines(ref, "--", SHELL, *words, **more)

    def count(self, ref):
        return self.value(ref, COUNT)

    def compile(self, name, *libraries, text=READER):
        source = self.path(name + ".c")
        with open(source, "w", encoding="utf-8") as file:
            file.write(text)
        subprocess.run(["cc", source, "-o", self.path(name), *libraries], check=True)
        return self.path(name)

    def message(self, status, *words, **more):
        """Fails with this status of its own and says so, for people and as JSON."""
        plain = self.bough("run", *words, status=status, **more)
        self.assertTrue(plain.err.startswith(b"bough: "), plain.err)
        document = self.bough("--json", "run", *words, status=status, **more).err
        self.assertTrue(document.startswith(b'{"error":{"code":"'), document)
        return plain.err.decode()


class Preloaded(Run):
    def test_the_sqlite3_shell(self):
        self.assertEqual(self.shell("premium", self.file, ADD, COUNT), ["201"])
        self.assertEqual((self.count("premium"), self.count("main")), (201, 200))

    def test_sql_on_stdin_and_a_relative_path(self):
        self.assertEqual(self.shell("premium", "shop.db", stdin=f"{ADD}; {COUNT};".encode()), ["201"])
        self.assertEqual(self.count("premium"), 201)
        os.mkdir(self.path("below"))
        self.assertEqual(self.shell("premium", "../below/../shop.db", COUNT, cwd=self.path("below")), ["201"])

    def test_python(self):
        """Its module sqlite3 is loaded for itself alone, and SQLite with it."""
        for name in ("'shop.db'", "'file:shop.db?mode=rw', uri=True", f"'file://{self.file}', uri=True"):
            with self.subTest(name):
                before = self.count("premium")
                lines = self.run_lines("premium", "--", sys.executable, "-c", PYTHON % name, ADD)
                self.assertEqual(lines, [str(before + 1)])
                self.assertEqual(self.count("premium"), before + 1)
        self.assertEqual(self.count("main"), 200)

    def test_a_linked_program(self):
        reader = self.compile("reader", "-lsqlite3")
        self.assertEqual(self.run_lines("premium", "--", reader, self.file, f"{ADD}; {COUNT}"), ["201"])
        self.assertEqual(self.count("premium"), 201)

    def test_other_names_of_the_file(self):
        os.mkdir(self.path("elsewhere"))
        os.symlink(self.file, self.path("elsewhere", "link.db"))
        os.link(self.file, self.path("elsewhere", "hard.db"))
        for name in ("link.db", "hard.db"):
            with self.subTest(name):
                before = self.count("premium")
                self.assertEqual(self.shell("premium", self.path("elsewhere", name), ADD, COUNT), [str(before + 1)])
        self.assertEqual(self.count("premium"), 202)
        self.assertEqual(self.run_lines("premium", "--db", "elsewhere/link.db", "--", SHELL, "shop.db", COUNT), ["202"])

    def test_attach(self):
        text = f"ATTACH 'shop.db' AS a; INSERT INTO a.users(name) VALUES ('x'); {COUNT}"
        self.assertEqual(self.shell("premium", ":memory:", text), ["201"])
        self.assertEqual(self.count("premium"), 201)

    def test_a_program_that_loads_the_extension_itself(self):
        load = "import sqlite3, sys; db = sqlite3.connect(':memory:'); db.enable_load_extension(True); " \
               "db.execute('SELECT load_extension(?, ?)', (%r, 'sqlite3_boughdefault_init')); "
        program = load % support.BOUGH_SO + PYTHON % "'shop.db'"
        self.assertEqual(self.run_lines("premium", "--", sys.executable, "-c", program, ADD), ["201"])
        self.assertEqual(self.count("premium"), 201)

    def test_other_databases_are_left_alone(self):
        other = self.make_db("other.db", rows=7)
        self.assertEqual(self.shell("premium", other, ADD, COUNT), ["8"])
        self.assertEqual(subprocess.check_output([SHELL, other, COUNT]), b"8\n")
        self.assertEqual(self.shell("premium", "new.db", "CREATE TABLE t(a); SELECT count(*) FROM t"), ["0"])
        self.assertTrue(os.path.getsize(self.path("new.db")))
        self.assertEqual(self.count("premium"), 200)

    def test_another_file_by_db(self):
        other = self.make_db("other.db", rows=7)
        before = self.digest_of(other)
        self.assertEqual(self.run_lines("premium", "--db", "other.db", "--", SHELL, "other.db", ADD, COUNT), ["201"])
        self.assertEqual(self.digest_of(other), before)

    def test_a_file_that_is_gone_or_never_was(self):
        os.rename(self.file, self.path("kept"))
        self.assertEqual(self.shell("premium", "shop.db", ADD, COUNT), ["201"])
        self.assertFalse(os.path.exists(self.file))
        os.rename(self.path("kept"), self.file)
        self.bough("init", "--empty", "none.bough")
        said = self.message(125, "main", "--", "true", env={"BOUGH_STORE": "none.bough"})
        self.assertIn("not made from a file", said)
        lines = self.run_lines("main", "--db", "x.db", "--", SHELL, "x.db", "CREATE TABLE t(a); SELECT count(*) FROM t",
                               env={"BOUGH_STORE": "none.bough"})
        self.assertEqual(lines, ["0"])
        self.assertFalse(os.path.exists(self.path("x.db")))

    def test_children(self):
        script = f"{SHELL} shop.db \"{ADD}\"; sh -c '{SHELL} shop.db \"{COUNT}\"'; \"$0\" -c \"$1\" 'SELECT 1'"
        lines = self.run_lines("premium", "--", "sh", "-c", script, sys.executable, PYTHON % "'shop.db'")
        self.assertEqual(lines, ["201", "201"])

    def test_inside_another_run(self):
        self.bough("branch", "gold")
        nested = [support.BOUGH, "run", "gold", "--", SHELL, "shop.db", ADD, COUNT]
        self.assertEqual(self.run_lines("premium", "--", *nested), ["201"])
        self.assertEqual((self.count("premium"), self.count("gold")), (200, 201))

    def test_bough_itself(self):
        self.assertEqual(self.run_lines("premium", "--", support.BOUGH, "sql", "premium", f"{ADD}; {COUNT}"), ["201"])
        self.assertEqual(self.run_lines("premium", "--", support.BOUGH, "verify", "-q"), [])

    def test_two_branches_at_the_same_time(self):
        self.bough("branch", "gold")
        slow = "import sqlite3, sys; db = sqlite3.connect('shop.db'); db.execute('BEGIN IMMEDIATE'); " \
               "db.execute(\"INSERT INTO users(name) VALUES ('x')\"); print('in', flush=True); sys.stdin.read(); " \
               "db.commit(); print(db.execute('SELECT count(*) FROM users').fetchone()[0])"
        started = [subprocess.Popen([support.BOUGH, "run", name, "--", sys.executable, "-c", slow], cwd=self.dir,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment(), text=True)
                   for name in ("premium", "gold")]
        for process in started:
            self.assertEqual(process.stdout.readline(), "in\n")
        for process in started:
            self.assertEqual(process.communicate(timeout=60)[0], "201\n")
            self.assertEqual(process.returncode, 0)
        self.assertEqual([self.count(name) for name in ("premium", "gold", "main")], [201, 201, 200])

    def test_past_states_are_read_only(self):
        self.bough("sql", "premium", ADD)
        self.bough("commit", "premium")
        self.bough("tag", "v1", "premium")
        self.assertEqual(self.shell("premium~1", "shop.db", COUNT), ["200"])
        self.assertEqual(self.shell("v1", "shop.db", COUNT), ["201"])
        refused = self.bough("run", "v1", "--", SHELL, "shop.db", ADD, status=8)
        self.assertIn(b"readonly", refused.err)
        self.assertEqual(self.count("v1"), 201)

    def test_a_preload_that_is_there_already_stays(self):
        text = "#include <stdlib.h>\n" \
               "__attribute__((constructor)) static void mark(void) { setenv(\"MARKED\", \"yes\", 1); }\n"
        mark = self.compile("mark.so", "-shared", "-fPIC", text=text)
        had = os.environ.get("LD_PRELOAD")
        lines = self.run_lines("premium", "--", "sh", "-c", f"echo $MARKED; {SHELL} shop.db '{COUNT}'",
                               env={"LD_PRELOAD": f"{had}:{mark}" if had else mark})
        self.assertEqual(lines, ["yes", "200"])

    def test_a_static_program_is_refused_before_it_starts(self):
        program = self.compile("still", "-static", text="int main(void) { return 0; }\n")
        said = self.message(125, "premium", "--", program)
        self.assertIn("statically linked", said)
        self.assertIn("--copy", said)

    def test_a_branch_that_cannot_be_given_is_not_replaced_by_the_file(self):
        """The library fails to load: the program can open nothing, above all not the file."""
        lib = self.path("prefix", "lib")
        os.makedirs(lib)
        os.mkdir(self.path("prefix", "bin"))
        build = os.environ["BOUGH_BUILD"]
        program = shutil.copy(support.BOUGH, self.path("prefix", "bin", "bough"))
        shutil.copy(os.path.join(build, "lib", "bough-run.so"), lib)
        reader = self.compile("reader", "-lsqlite3")
        done = subprocess.run([program, "run", "premium", "--", reader, self.file, ADD], cwd=self.dir,
                              env=self.environment(), capture_output=True, text=True)
        self.assertEqual(done.returncode, 9)
        self.assertIn("bough run: ", done.stderr)


class Statuses(Run):
    def test_exit_statuses_pass_through(self):
        for status in (0, 1, 3, 125, 255):
            self.bough("run", "premium", "--", "sh", "-c", f"exit {status}", status=status)

    def test_killed_by_a_signal(self):
        self.bough("run", "premium", "--", "sh", "-c", "kill -9 $$", status=128 + 9)
        self.bough("run", "premium", "--", "sh", "-c", "kill -ALRM $$", status=128 + signal.SIGALRM)

    def test_not_found_and_not_executable(self):
        self.assertIn("no-such-program", self.message(127, "premium", "--", "no-such-program"))
        self.message(127, "premium", "--", "./no-such-program")
        self.message(127, "premium", "--", "")
        self.message(126, "premium", "--", self.file)
        self.message(126, "premium", "--", self.dir)

    def test_wrong_usage(self):
        for words in (["premium"], ["premium", "true"], ["premium", "--"], ["--", "true"], ["premium", "x", "--", "true"],
                      [], ["premium", "--no-such", "--", "true"]):
            with self.subTest(words):
                self.fails(2, "run", *words)

    def test_failures_of_bough(self):
        self.assertIn("gold", self.message(125, "gold", "--", "true"))
        self.message(125, "premium", "--db", "no/such/dir/x.db", "--", "true")
        self.message(125, "premium", "--", "true", env={"BOUGH_STORE": self.path("none.bough")})

    def test_words_after_the_dashes_belong_to_the_program(self):
        self.assertEqual(self.run_lines("premium", "--", "printf", "%s|", "--json", "-q", "", "--"), ["--json|-q||--|"])

    def test_streams(self):
        done = self.bough("run", "premium", "--", "sh", "-c", "cat; echo oops >&2", stdin=b"through")
        self.assertEqual((done.out, done.err), (b"through", b"oops\n"))

    def started(self, *words, script):
        process = subprocess.Popen([support.BOUGH, "run", *words, "--", "sh", "-c", script], cwd=self.dir,
                                   env=self.environment({"TMPDIR": self.dir}), stdout=subprocess.PIPE,
                                   text=True, start_new_session=True)
        self.addCleanup(process.stdout.close)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def test_signals_are_passed_on(self):
        script = "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
        process = self.started("premium", script=script)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.communicate(timeout=60)[0], "got\n")
        self.assertEqual(process.returncode, 7)

    def test_a_signal_that_the_program_does_not_catch(self):
        process = self.started("premium", script="echo ready; exec sleep 600")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=60), 128 + signal.SIGINT)


def may_mount():
    return subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode == 0 or \
        subprocess.run(["unshare", "-Um", "true"], stderr=subprocess.DEVNULL).returncode == 0


@support.unittest.skipUnless(may_mount(), "no mount namespaces here")
class Copied(Statuses):
    """Also everything that Statuses asks for, of `run --copy`."""

    def setUp(self):
        super().setUp()
        self.temporary = self.path("temporary")
        os.mkdir(self.temporary)

    def tearDown(self):
        super().tearDown()
        self.assertEqual(os.listdir(self.temporary), [], "a copy was left behind")

    def bough(self, *words, **more):
        if "run" in words and "--" in words:
            place = words.index("run") + 1
            words = words[:place] + ("--copy",) + words[place:]
        more["env"] = {"TMPDIR": self.path("temporary"), **more.get("env", {})}
        return super().bough(*words, **more)

    def started(self, *words, script):
        return super().started("--copy", *words, script=script)

    def environment(self, extra=None):
        extra = dict(extra or {})
        if extra.get("TMPDIR"):
            extra["TMPDIR"] = self.path("temporary")
        return super().environment(extra)

    def static_reader(self):
        return self.compile("static", "-static", "-lsqlite3", "-lm", "-lpthread", "-ldl", "-lz")

    def test_a_static_program(self):
        reader = self.static_reader()
        done = self.bough("run", "premium", "--", reader, "shop.db", f"{ADD}; {COUNT}")
        self.assertEqual(done.text, "201\n")
        self.assertRegex(done.err.decode(), r"^branch premium: commit [0-9a-f]{12}\n$")
        self.assertEqual((self.count("premium"), self.count("main")), (201, 200))
        log = self.json("log", "premium")
        self.assertEqual((len(log), log[0]["message"]), (2, f"run {reader}"))

    @support.unittest.skipUnless(os.geteuid() == 0, "is so anyway")
    def test_who_may_not_mount(self):
        """May in a user namespace, as the one who they are."""
        who = {"user": 65534, "group": 65534, "extra_groups": []}
        if subprocess.run(["unshare", "-Um", "true"], stderr=subprocess.DEVNULL, **who).returncode:
            self.skipTest("no user namespaces here")
        for place, directories, files in os.walk(self.dir):
            for name in [".", *directories, *files]:
                os.chown(os.path.join(place, name), 65534, 65534)
        script = f"id -u; : >made; {SHELL} shop.db \"{ADD}\" \"{COUNT}\""
        self.assertEqual(self.run_lines("premium", "--", "sh", "-c", script, **who), ["65534", "201"])
        self.assertEqual(os.stat(self.path("made")).st_uid, 65534)
        self.assertEqual(self.count("premium"), 201)

    def test_an_ignored_child_signal(self):
        """Whoever ignores SIGCHLD gets the status all the same."""
        ignore = lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        self.bough("run", "premium", "--", "sh", "-c", "exit 3", status=3, preexec_fn=ignore)

    def test_nothing_changed_is_no_commit(self):
        self.assertEqual(self.bough("run", "premium", "--", SHELL, "shop.db", COUNT).err, b"")
        self.assertEqual(len(self.json("log", "premium")), 1)

    def test_what_is_not_committed_is_in_the_copy(self):
        self.bough("sql", "premium", ADD)
        self.assertEqual(self.shell("premium", self.file, COUNT), ["201"])
        self.assertEqual(self.shell("premium", self.file, ADD, COUNT), ["202"])
        self.assertEqual(self.count("premium"), 202)

    def test_a_program_that_fails_changes_nothing(self):
        self.bough("run", "premium", "--", "sh", "-c", f"{SHELL} shop.db \"{ADD}\"; exit 3", status=3)
        self.assertEqual(self.count("premium"), 200)

    def test_a_wal_and_a_hot_journal_are_counted(self):
        crash = "import os, sqlite3; db = sqlite3.connect('shop.db'); %s; " \
                "db.execute(\"INSERT INTO users(name) VALUES ('x')\"); %s; os._exit(0)"
        self.bough("run", "premium", "--", sys.executable, "-c",
                   crash % ("db.execute('PRAGMA journal_mode=WAL')", "db.commit()"))
        self.assertEqual(self.count("premium"), 201)
        spill = crash % ("db.execute('PRAGMA journal_mode=DELETE'); db.execute('PRAGMA cache_size=1')",
                         "db.execute('UPDATE users SET name = name || name'); db.execute('SELECT 1')")
        self.bough("run", "premium", "--", sys.executable, "-c", spill)
        self.assertEqual(self.sql("premium", "PRAGMA integrity_check"), [[{"integrity_check": "ok"}]])
        self.assertEqual(self.count("premium"), 201)

    def test_a_symlink_and_two_at_the_same_time(self):
        os.symlink(self.file, self.path("link.db"))
        self.bough("branch", "gold")
        script = f"echo ready; {SHELL} link.db \"{ADD}\" \"{COUNT}\""
        processes = [self.started(name, script=script) for name in ("premium", "gold")]
        # communicate() would pass over what came together with the word that started() waited for.
        self.assertEqual([process.stdout.read() for process in processes], ["201\n", "201\n"])
        self.assertEqual([process.wait(timeout=60) for process in processes], [0, 0])
        self.assertEqual([self.count(name) for name in ("premium", "gold", "main")], [201, 201, 200])

    def test_others_see_the_file(self):
        """The mount is the program's own."""
        process = self.started("premium", script=f"{SHELL} shop.db \"{ADD}\"; echo ready; exec sleep 600")
        self.assertFalse(os.path.islink(self.file))
        self.assertEqual(subprocess.check_output([SHELL, self.file, COUNT]), b"200\n")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=60), 128 + signal.SIGTERM)
        self.assertEqual(self.count("premium"), 200)

    def test_a_branch_that_moved_meanwhile(self):
        """What both made is kept: the branch has its own, the program's is in the copy that the hint names."""
        script = f"{SHELL} shop.db \"{ADD}\"; {support.BOUGH} sql premium 'DELETE FROM users'"
        done = self.bough("run", "premium", "--", "sh", "-c", script, status=125)
        said = done.err.decode()
        self.assertIn("branch premium has moved", said)
        copy = os.path.dirname(said.split("is in ")[1].split(";")[0])
        self.assertEqual(subprocess.check_output([SHELL, os.path.join(copy, "copy.db"), COUNT]), b"201\n")
        self.assertEqual(self.count("premium"), 0)
        shutil.rmtree(copy)

    def test_refused(self):
        self.bough("protect", "premium")
        self.message(125, "premium", "--", "true")
        self.message(125, "main~0", "--", "true")
        os.rename(self.file, self.path("kept"))
        self.message(125, "main", "--", "true")
        os.rename(self.path("kept"), self.file)

    def test_inside_another_run(self):
        self.bough("branch", "gold")
        inner = [support.BOUGH, "run", "gold", "--copy", "--", SHELL, "shop.db", ADD, COUNT]
        done = super().bough("run", "premium", "--", *inner)
        self.assertEqual(done.text, "201\n")
        self.assertEqual((self.count("premium"), self.count("gold")), (200, 201))


if __name__ == "__main__":
    support.main()
