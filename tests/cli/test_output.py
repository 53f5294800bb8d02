"""Output that cannot be written, closed descriptors, progress bars, signals."""
import fcntl
import json
import os
import pty
import resource
import select
import signal
import sqlite3
import struct
import subprocess
import termios
import time

import support


class Output(support.Case):
    def setUp(self):
        super().setUp()
        self.make_store()

    def run_with(self, words, stdout, **more):
        return subprocess.run([support.BOUGH, *words], cwd=self.dir, env=self.environment(), stdout=stdout,
                              stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, **more)

    def test_a_full_device(self):
        self.bough("tag", "v1")
        for words in (["branch"], ["tree"], ["status"], ["log"], ["tag"], ["du"], ["verify"], ["url", "main"], ["help"],
                      ["diff", "main", "v1"], ["--version"], ["help", "--man"], ["sql", "main", "SELECT * FROM users"],
                      ["sql", "main", "SELECT * FROM users", "--csv"],
                      ["sql", "main", "SELECT * FROM users", "--table"]):
            for form in ([], ["--json"]):
                if form and ("--csv" in words or "--table" in words or "--man" in words):
                    continue
                with open("/dev/full", "wb") as full:
                    done = self.run_with([*form, *words], full)
                self.assertEqual(done.returncode, 7, (words, done.stderr))
                if form:
                    self.assertEqual(json.loads(done.stderr)["error"]["code"], "io")

    def test_nothing_is_changed_when_the_output_has_nowhere_to_go(self):
        self.sql("main", "DELETE FROM users WHERE id = 1")
        self.bough("branch", "other", "main~0")
        self.bough("tag", "v1", "main~0")
        before = self.snapshot()
        for words in (["branch", "x"], ["commit"], ["rename", "other", "x"], ["delete", "other"], ["protect", "other"],
                      ["switch", "other"], ["tag", "v2", "main~0"], ["tag", "-d", "v1"], ["import", "shop.db"],
                      ["init", "shop.db", "-s", "new.bough"], ["export", "main", "new.db"]):
            with open("/dev/full", "wb") as full:
                self.assertEqual(self.run_with(words, full).returncode, 7, words)
            done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", support.BOUGH, *words], cwd=self.dir,
                                  env=self.environment(), stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, 7, words)
        self.assertEqual(self.snapshot(), before)
        self.assertEqual(sorted(os.listdir(self.dir)), ["shop.bough", "shop.db"])

    def test_a_script_without_output_needs_none(self):
        with open("/dev/full", "wb") as full:
            self.assertEqual(self.run_with(["sql", "main", "DELETE FROM users WHERE id = 1"], full).returncode, 0)

    def test_a_file_size_limit(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with open(self.path("out"), "wb") as out:
            done = self.run_with(["sql", "main~0", "SELECT a.* FROM users a, users b"], out, preexec_fn=limit)
        self.assertEqual(done.returncode, 7, done.stderr)

    def test_a_closed_descriptor_takes_no_output(self):
        before = self.snapshot()
        for words in (["branch"], ["sql", "main", "SELECT * FROM users"], ["log", "--json"]):
            done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", support.BOUGH, *words], cwd=self.dir,
                                  env=self.environment(), stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, 7, (words, done.stderr))
        for redirection in ("<&-", "2>&-", "<&- 2>&-"):
            script = f'exec "$@" {redirection}'
            done = subprocess.run(["sh", "-c", script, "sh", support.BOUGH, "branch", "-q"], cwd=self.dir,
                                  env=self.environment(), stdout=subprocess.PIPE)
            self.assertEqual((done.returncode, done.stdout), (0, b"main\n"))
        self.assertEqual(self.snapshot(), before)
        self.assertTrue(self.json("verify")["ok"])

    def test_a_reader_that_went_away(self):
        script = '"$1" sql main "SELECT a.* FROM users a, users b, users c" | head -n 1'
        done = subprocess.run(["sh", "-c", script, "sh", support.BOUGH], cwd=self.dir, env=self.environment(),
                              capture_output=True)
        self.assertEqual((done.stdout, done.stderr), (b"1|user 0\n", b""))

    def test_quiet_success_says_nothing_on_stderr(self):
        for words in (["branch", "x"], ["commit"], ["sql", "main", "DELETE FROM users"], ["export", "main", "x.db"],
                      ["verify"], ["import", "x.db"]):
            self.assertEqual(self.bough(*words).err, b"")


class Terminal(support.Case):
    """Progress bars and interruption, on a pseudo-terminal. Work is made long by stopping the process for a while."""

    def stop_for_a_while(self, process, files):
        """Stops the process as soon as it has made a file, and lets it go on when the bar is due."""
        while process.poll() is None and sorted(os.listdir(self.dir)) == files:
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.6)
        process.send_signal(signal.SIGCONT)

    def on_terminal(self, *words, feed=None, stopped=False):
        files = sorted(os.listdir(self.dir))
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        process = subprocess.Popen([support.BOUGH, *words], cwd=self.dir, env=self.environment(),
                                   stdout=subprocess.PIPE, stderr=slave, stdin=subprocess.DEVNULL)
        os.close(slave)
        if stopped:
            self.stop_for_a_while(process, files)
        text = b""
        while True:
            ready, _, _ = select.select([master], [], [], 0.05)
            if ready:
                try:
                    chunk = os.read(master, 65536)
                except OSError:
                    break
                if not chunk:
                    break
                text += chunk
                if feed:
                    feed(process, text)
        out = process.stdout.read()
        process.stdout.close()
        process.wait()
        os.close(master)
        return process.returncode, out, text

    def make_large(self, megabytes):
        db = sqlite3.connect(self.path("large.db"))
        db.execute("PRAGMA journal_mode=OFF")
        db.execute("CREATE TABLE t(b)")
        db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                   "INSERT INTO t SELECT randomblob(1000000) FROM n", (megabytes,))
        db.commit()
        db.close()

    def test_short_work_draws_nothing(self):
        self.make_db()
        status, _, text = self.on_terminal("init", "shop.db")
        self.assertEqual((status, text), (0, b""))

    def test_long_work_draws_a_bar_and_interruption_leaves_nothing(self):
        self.make_large(150)
        files = sorted(os.listdir(self.dir))
        seen = []

        def interrupt(process, text):
            if b"%" in text and not seen:
                seen.append(text)
                process.send_signal(signal.SIGINT)

        status, out, text = self.on_terminal("init", "large.db", feed=interrupt, stopped=True)
        self.assertIn(b"initialising [", text)
        if status == 0:
            self.skipTest("the work was done when the signal came")
        self.assertEqual(status, -signal.SIGINT)
        self.assertEqual(out, b"")
        self.assertIn(b"interrupted", text)
        self.assertEqual(sorted(os.listdir(self.dir)), files)

    def test_no_bar_where_none_is_wanted(self):
        self.make_large(50)
        for words in (["--no-progress"], ["--json"], ["-q"]):
            store = words[0].strip("-") + ".bough"
            status, _, text = self.on_terminal("init", "large.db", "-s", store, *words, stopped=True)
            self.assertEqual((status, text), (0, b""))
        status, _, text = self.on_terminal("init", "large.db", stopped=True)
        self.assertEqual(status, 0)
        self.assertIn(b"initialising [", text)
        self.assertTrue(text.endswith(b"\r\x1b[K"), "the bar is wiped away")

    def test_sql_tells_a_person_which_branch_it_changed(self):
        self.make_store()
        status, out, text = self.on_terminal("sql", "main", "DELETE FROM users WHERE id < 3")
        self.assertEqual((status, out), (0, b""))
        self.assertIn(b"branch main: 2 rows changed", text)


class Signals(support.Case):
    def test_sigterm_during_export_leaves_the_target_alone(self):
        db = sqlite3.connect(self.path("large.db"))
        db.execute("CREATE TABLE t(b)")
        db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) "
                   "INSERT INTO t SELECT randomblob(1000000) FROM n")
        db.commit()
        db.close()
        self.bough("init", "large.db")
        with open(self.path("out.db"), "wb") as file:
            file.write(b"")
        files = sorted(os.listdir(self.dir))
        for delay in (0.01, 0.03, 0.06):
            process = subprocess.Popen([support.BOUGH, "export", "main", "fresh.db"], cwd=self.dir,
                                       env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(delay)
            process.terminate()
            process.communicate()
            if process.returncode == 0:
                os.unlink(self.path("fresh.db"))
            else:
                self.assertEqual(process.returncode, -signal.SIGTERM)
            self.assertEqual(sorted(os.listdir(self.dir)), files)
        self.assertTrue(self.json("verify")["ok"])


if __name__ == "__main__":
    support.main()
