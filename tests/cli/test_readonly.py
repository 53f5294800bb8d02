"""Stores that cannot be written to: as another user without permission, and on a read-only medium. What reads works,
what writes exits 7 and changes nothing."""
import os
import shutil
import sqlite3
import subprocess
import unittest

from support import BOUGH, BOUGH_SO, Case, main

NOBODY = 65534


def as_nobody():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def contents(directory):
    """Everything below it but access times."""
    found = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, directory)] = file.read()
    return found


class ReadOnly(Case):
    def setUp(self):
        super().setUp()
        self.make_store()
        self.bough("branch", "premium")
        self.sql("premium", "INSERT INTO users(name) VALUES ('new')")
        self.bough("tag", "v1", "main")
        self.bough("commit", "premium", "-m", "one")
        self.sql("premium", "INSERT INTO users(name) VALUES ('newer')")
        self.out = self.path("out")
        os.mkdir(self.out, 0o777)
        os.chmod(self.out, 0o777)
        os.chmod(self.dir, 0o755)
        self.prefix = []

    # How a command comes to have no permission.

    def run_bough(self, *words):
        return subprocess.run([*self.prefix, BOUGH, "-s", self.path("shop.bough"), *words], cwd=self.out,
                              env=self.environment(), capture_output=True, timeout=120,
                              preexec_fn=as_nobody if self.is_nobody else None)

    def works(self, *words):
        done = self.run_bough(*words)
        self.assertEqual(done.returncode, 0, (words, done.stderr))
        return done.stdout.decode()

    def is_refused(self, *words):
        done = self.run_bough(*words)
        self.assertEqual(done.returncode, 7, (words, done.stdout, done.stderr))
        self.assertTrue(done.stderr.startswith(b"bough: "), done.stderr)

    def reads_and_no_writes(self):
        before = contents(self.path("shop.bough"))
        self.assertIn("premium", self.works("branch"))
        self.assertIn("premium", self.works("tree"))
        self.assertIn("one", self.works("log", "premium"))
        self.works("status", "premium")
        self.works("tag")
        self.works("du")
        self.works("url", "premium")
        self.works("diff", "main", "premium")
        self.assertTrue(self.works("verify").startswith("ok"))
        self.assertIn("202", self.works("sql", "premium", "SELECT count(*) FROM users"))
        self.assertIn("201", self.works("sql", "premium~0", "SELECT count(*) FROM users"))
        self.assertIn("200", self.works("sql", "v1", "SELECT count(*) FROM users"))
        self.works("export", "premium", os.path.join(self.out, "premium.db"))
        db = sqlite3.connect(os.path.join(self.out, "premium.db"))
        self.assertEqual(db.execute("SELECT count(*) FROM users").fetchone()[0], 202)
        db.close()
        os.unlink(os.path.join(self.out, "premium.db"))
        for words in (["branch", "other", "main"], ["branch", "other", "premium"], ["delete", "premium"],
                      ["rename", "premium", "other"], ["protect", "premium"], ["switch", "premium"],
                      ["commit", "premium"], ["tag", "v2", "main"], ["tag", "-d", "v1"],
                      ["import", self.path("shop.db"), "-b", "premium"],
                      ["sql", "premium", "INSERT INTO users(name) VALUES ('no')"]):
            self.is_refused(*words)
        self.assertEqual(contents(self.path("shop.bough")), before)


@unittest.skipIf(os.getuid() != 0, "only root can become another user")
class AnotherUser(ReadOnly):
    is_nobody = True

    def setUp(self):
        super().setUp()
        if subprocess.run([BOUGH, "--version"], capture_output=True, preexec_fn=as_nobody).returncode != 0:
            self.skipTest("another user cannot run the program where it stands")

    def refuses(self, words):
        self.assertIn(words, self.fails(4, "delete", "premium"))

    def test_a_store_at_rest(self):
        self.reads_and_no_writes()

    def test_a_store_without_the_folder_of_shared_memory(self):
        shutil.rmtree(self.path("shop.bough", "run"))
        self.reads_and_no_writes()

    def test_while_another_process_writes(self):
        """A reader keeps the state of its transaction, whatever is written meanwhile; pages are not used again under it.
        Its next transaction sees what was committed, also where the branch took another state."""
        loader = sqlite3.connect(":memory:")
        loader.enable_load_extension(True)
        loader.load_extension(BOUGH_SO)
        uri = f"file:{self.path('shop.bough')}/db/premium?vfs=bough"
        writer = sqlite3.connect(uri, uri=True, isolation_level=None)
        writer.execute("CREATE TABLE big(i INTEGER PRIMARY KEY, x)")
        writer.execute("INSERT INTO big SELECT id, hex(randomblob(1000)) FROM users")
        expected = writer.execute("SELECT count(*), sum(length(x)), min(x), max(x) FROM big").fetchone()
        ready, told = os.pipe()
        go, proceed = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                as_nobody()
                other = sqlite3.connect(uri + "&mode=ro", uri=True, isolation_level=None)
                other.execute("BEGIN")
                assert other.execute("SELECT count(*) FROM big").fetchone()[0] == expected[0]
                os.write(told, b"r")
                os.read(go, 1)
                other.execute("PRAGMA cache_size=5")
                for _ in range(3):
                    found = other.execute("SELECT count(*), sum(length(x)), min(x), max(x) FROM big").fetchone()
                    assert found == expected, found
                assert other.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
                other.execute("COMMIT")
                found = other.execute("SELECT count(*), sum(length(x)) FROM big").fetchone()
                assert found == (expected[0], 7 * expected[0]), found
                assert other.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
                for word in "abc":  # one after the other, and then a reset
                    os.write(told, b"r")
                    os.read(go, 1)
                    found = other.execute("SELECT x FROM big WHERE i = 1").fetchone()[0]
                    assert found == word, (found, word)
                os.write(told, b"r")
                os.read(go, 1)
                found = other.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'big'").fetchone()[0]
                assert found == 0
                os._exit(0)
            except BaseException as error:
                os.write(2, repr(error).encode())
                os._exit(1)
        self.assertEqual(os.read(ready, 1), b"r")
        self.refuses("branch 'premium' is open in another process")
        for _ in range(60):
            writer.execute("UPDATE big SET x = hex(randomblob(1000))")
        writer.execute("UPDATE big SET x = 'shorter'")
        writer.close()
        self.refuses("branch 'premium' is open in another process, which may not write")
        os.write(proceed, b"g")
        for word in "abc":
            self.assertEqual(os.read(ready, 1), b"r")
            self.sql("premium", f"UPDATE big SET x = '{word}'")
            os.write(proceed, b"g")
        self.assertEqual(os.read(ready, 1), b"r")
        self.assertIn("202", self.works("sql", "premium", "SELECT count(*) FROM big"))
        self.bough("reset", "premium", "--to", "premium~1")
        os.write(proceed, b"g")
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.bough("delete", "premium")


@unittest.skipIf(os.getuid() != 0, "only root can mount")
class ReadOnlyMedium(ReadOnly):
    is_nobody = False

    def setUp(self):
        super().setUp()
        store = self.path("shop.bough")
        self.prefix = ["unshare", "-m", "sh", "-c",
                       f"mount --bind '{store}' '{store}' && mount -o remount,bind,ro '{store}' && exec \"$@\"", "sh"]
        if subprocess.run([*self.prefix, "true"], capture_output=True).returncode != 0:
            self.skipTest("no permission to mount")

    def test_a_read_only_mount(self):
        self.reads_and_no_writes()

    def test_a_copy_without_what_lives_in_memory(self):
        shutil.rmtree(self.path("shop.bough", "run"))
        self.reads_and_no_writes()


del ReadOnly
if __name__ == "__main__":
    main()
