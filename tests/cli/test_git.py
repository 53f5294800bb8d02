"""bough git: hooks come and go without a trace, and the database follows what git checks out."""
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import unittest

import support
from test_readonly import as_nobody, NOBODY

HOOKS = ["post-checkout", "post-merge", "post-rewrite", "post-commit"]
KEYS = ["worktree", "store", "installed", "git_branch", "branch", "own_branch", "migrations", "hooks", "left_over"]


def tree(path):
    """Every name below a directory, with what it is: mode, bytes or target."""
    found = {}
    for folder, folders, files in os.walk(path):
        for name in folders + files:
            full = os.path.join(folder, name)
            state = os.lstat(full)
            if os.path.islink(full):
                content = os.readlink(full)
            elif os.path.isdir(full):
                content = None
            else:
                with open(full, "rb") as file:
                    content = file.read()
            found[os.path.relpath(full, path)] = (oct(state.st_mode), content)
    return found


class GitCase(support.Case):
    """A repository r with a store in it, on main, with one commit. Nothing is installed yet."""
    repository = "r"

    def setUp(self):
        super().setUp()
        os.mkdir(self.path("home"))
        self.root = self.path(self.repository)
        self.run_in(self.dir, "git", "init", "-q", "-b", "main", self.root)
        self.make_db(os.path.join(self.root, "shop.db"))
        self.write("code", "1")
        self.write(".gitignore", "shop.db*\n")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "first")
        self.make_store_here()

    def make_store_here(self):
        self.here("init", "shop.db")

    def environment(self, extra=None):
        env = super().environment()
        for name in [name for name in env if name.startswith("GIT_")]:
            del env[name]
        env.update({"HOME": self.path("home"), "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a",
                    "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com",
                    "GIT_EDITOR": "true"})
        env.update(extra or {})
        return env

    def run_in(self, directory, *words, env=None, status=0, **more):
        done = subprocess.run(words, cwd=directory, env=self.environment(env), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, **more)
        self.assertEqual(done.returncode, status, f"{words}\n{done.stdout}\n{done.stderr}")
        return done

    def git(self, *words, cwd=None, **more):
        return self.run_in(cwd or self.root, "git", *words, **more)

    def said(self, *words, **more):
        """What bough says while git does this."""
        lines = [line for line in self.git(*words, **more).stderr.splitlines() if line.startswith("bough: ")]
        return [line[len("bough: "):] for line in lines]

    def here(self, *words, cwd=None, **more):
        return self.bough(*words, cwd=cwd or self.root, **more)

    def write(self, name, text, cwd=None, mode=None):
        path = os.path.join(cwd or self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w" if isinstance(text, str) else "wb") as file:
            file.write(text)
        if mode is not None:
            os.chmod(path, mode)
        return path

    def commit(self, name, cwd=None):
        self.write(name, name, cwd=cwd)
        self.git("add", "-f", name, cwd=cwd)
        self.git("commit", "-q", "-m", name, cwd=cwd)

    def current(self, cwd=None):
        return self.here("status", "-q", cwd=cwd).text.strip()

    def parent(self, name):
        return {b["name"]: b["parent"] for b in self.json("branch", cwd=self.root)}[name]

    def status(self, cwd=None):
        return self.json("git", "status", cwd=cwd or self.root)

    def hook(self, name="post-checkout"):
        return os.path.join(self.root, ".git", "hooks", name)

    def git_state(self):
        """What bough may have touched, without what git itself writes all the time."""
        kept = {name: value for name, value in tree(os.path.join(self.root, ".git")).items()
                if name.split("/")[0] in ("hooks", "info", "config", "bough", "worktrees", "config.worktree")}
        kept["names"] = sorted(name for name in os.listdir(os.path.join(self.root, ".git")) if "bough" in name)
        return kept


class Install(GitCase):
    def test_install_and_uninstall_leave_no_trace(self):
        before = self.git_state()
        document = self.json("git", "install", cwd=self.root)
        self.assertEqual(list(document), KEYS)
        self.assertEqual([hook["name"] for hook in document["hooks"]], HOOKS)
        self.assertTrue(all(hook["installed"] for hook in document["hooks"]))
        self.assertEqual((document["installed"], document["branch"], document["own_branch"]), (True, "main", False))
        self.assertEqual(document["store"], os.path.join(self.root, "shop.bough"))
        self.assertEqual(self.git("status", "--porcelain").stdout, "", "the store is out of git's sight")
        installed = self.git_state()
        self.here("git", "install")
        self.assertEqual(self.git_state(), installed, "once more changes nothing")
        self.git("switch", "-q", "-c", "feature")
        self.git("worktree", "add", "-q", "-b", "other", self.path("other"))
        self.here("git", "uninstall", cwd=self.path("other"))
        self.git("worktree", "remove", "--force", self.path("other"))
        self.assertEqual(self.git_state(), before)
        self.assertFalse(self.status()["installed"])
        self.assertEqual(self.said("switch", "-c", "after"), [])
        self.assertEqual(sorted(self.names_here()), ["feature", "main", "other"])
        self.here("git", "uninstall")

    def names_here(self):
        return [branch["name"] for branch in self.json("branch", cwd=self.root)]

    def check_existing(self, content, mode=0o755, name="post-checkout"):
        """Installs beside a hook that writes to a file, uses both, uninstalls."""
        path = self.write(f".git/hooks/{name}", content, mode=mode)
        before = self.git_state()
        self.here("git", "install")
        self.here("git", "install")
        said = self.said("switch", "-c", "feature")
        self.assertEqual(said, ["the database is on branch feature, forked from main"])
        self.here("git", "uninstall")
        self.assertEqual(self.git_state(), before)
        return path

    def test_existing_shell_hooks(self):
        log = self.path("log")
        for first in ("#!/bin/sh", "#!/bin/sh -eu", "#!/usr/bin/env bash", "#! /bin/dash"):
            with self.subTest(first):
                self.check_existing(f"{first}\necho \"$@\" $# >{log}\nexit 0\n")
                with open(log) as file:
                    self.assertEqual(file.read().split()[-2:], ["1", "3"])
                os.unlink(log)
                self.git("switch", "-q", "main")
                self.git("branch", "-q", "-D", "feature")
                self.here("delete", "feature")

    def test_existing_shell_hook_without_a_line_break_at_its_end(self):
        self.check_existing(f"#!/bin/sh\ntouch {self.path('ran')}")
        self.assertTrue(os.path.exists(self.path("ran")))

    def test_existing_hook_of_one_line_without_a_break(self):
        self.check_existing("#!/bin/sh")

    def test_existing_hook_without_an_interpreter(self):
        self.check_existing(f"touch {self.path('ran')}\n")
        self.assertTrue(os.path.exists(self.path("ran")))

    def test_existing_python_hook(self):
        self.check_existing(f"#!{sys.executable}\nimport sys\nopen({self.path('ran')!r}, 'w').write(repr(sys.argv[1:]))\n")
        with open(self.path("ran")) as file:
            self.assertIn("'1']", file.read())

    def test_existing_program(self):
        shutil.copy("/bin/true", self.hook())
        before = tree(os.path.dirname(self.hook()))
        self.here("git", "install")
        self.git("switch", "-q", "-c", "feature")
        self.assertEqual(self.current(), "feature")
        self.here("git", "uninstall")
        self.assertEqual(tree(os.path.dirname(self.hook())), before)

    def test_existing_symlink_is_not_written_through(self):
        target = self.write("hooks/checkout", f"#!/bin/sh\ntouch {self.path('ran')}\n", mode=0o755)
        os.symlink("../../hooks/checkout", self.hook())
        before = self.git_state()
        content = tree(os.path.dirname(target))
        self.here("git", "install")
        self.git("switch", "-q", "-c", "feature")
        self.assertTrue(os.path.exists(self.path("ran")))
        self.assertEqual(tree(os.path.dirname(target)), content)
        self.here("git", "uninstall")
        self.assertEqual(self.git_state(), before)

    def test_existing_hook_that_is_not_executable_stays_off(self):
        self.check_existing(f"#!/bin/sh\ntouch {self.path('ran')}\n", mode=0o644)
        self.assertFalse(os.path.exists(self.path("ran")))

    def test_existing_hook_decides_the_exit_status(self):
        for first in ("#!/bin/sh", "#!/bin/bash --norc", f"#!{sys.executable}"):
            with self.subTest(first):
                text = "import sys; sys.exit(7)" if "python" in first else "exit 7"
                self.write(".git/hooks/post-checkout", f"{first}\n{text}\n", mode=0o755)
                self.here("git", "install")
                self.git("checkout", "-q", "main", status=1)
                self.here("git", "uninstall")
                self.git("checkout", "-q", "main", status=1)

    def test_existing_hook_reads_its_input(self):
        self.write(".git/hooks/post-rewrite", f"#!/bin/sh\ncat >{self.path('input')}\n", mode=0o755)
        self.here("git", "install")
        self.git("commit", "-q", "--amend", "-m", "other")
        with open(self.path("input")) as file:
            self.assertEqual(len(file.read().split()), 2)

    def test_core_hooks_path_in_the_working_tree(self):
        self.git("config", "core.hooksPath", ".hooks/of us")
        before = self.git_state()
        done = self.here("git", "install")
        self.assertIn(b"files of the working tree", done.err)
        self.assertEqual(sorted(os.listdir(os.path.join(self.root, ".hooks/of us"))), sorted(HOOKS))
        self.git("switch", "-q", "-c", "feature")
        self.assertEqual(self.current(), "feature")
        self.git("config", "core.hooksPath", "elsewhere")
        self.here("git", "uninstall")
        self.git("config", "core.hooksPath", ".hooks/of us")
        self.assertEqual(self.git_state(), before)
        self.assertFalse(os.path.exists(os.path.join(self.root, ".hooks/of us")))

    def test_core_hooks_path_that_others_may_use(self):
        shared = self.path("shared hooks")
        self.git("config", "core.hooksPath", shared)
        before = self.git_state()
        self.assertIn("outside", self.fails(4, "git", "install", cwd=self.root))
        self.assertEqual(self.git_state(), before)
        self.here("git", "install", "--force")
        self.git("switch", "-q", "-c", "feature")
        self.assertEqual(self.current(), "feature")
        stranger = self.path("stranger")
        self.git("init", "-q", stranger)
        self.git("config", "core.hooksPath", shared, cwd=stranger)
        self.assertEqual(self.said("commit", "--allow-empty", "-m", "x", cwd=stranger), [])
        self.assertEqual(self.said("switch", "-c", "feature", cwd=stranger), [])
        self.here("git", "uninstall")
        self.assertEqual(self.git_state(), before)
        self.assertFalse(os.path.exists(shared))

    def test_hooks_turned_off(self):
        self.git("config", "core.hooksPath", "/dev/null")
        self.fails(4, "git", "install", cwd=self.root)
        self.fails(7, "git", "install", "--force", cwd=self.root)
        self.assertFalse(self.status()["installed"])

    def test_no_hooks_directory_and_no_info_directory(self):
        for name in ("hooks", "info"):
            shutil.rmtree(os.path.join(self.root, ".git", name))
        before = self.git_state()
        self.here("git", "install")
        self.assertEqual(self.git("status", "--porcelain").stdout, "")
        self.here("git", "uninstall")
        self.assertEqual(self.git_state(), before)

    def test_user_edits_around_our_lines_stay(self):
        for old in (None, "#!/bin/sh\necho before\n"):
            with self.subTest(old=old):
                if old:
                    self.write(".git/hooks/post-merge", old, mode=0o755)
                self.here("git", "install")
                with open(self.hook("post-merge"), "a") as file:
                    file.write("echo mine\n")
                self.here("git", "install")
                self.here("git", "uninstall")
                with open(self.hook("post-merge")) as file:
                    self.assertEqual(file.read(), (old or "#!/bin/sh\n") + "echo mine\n")
                self.assertTrue(os.access(self.hook("post-merge"), os.X_OK))
                os.unlink(self.hook("post-merge"))

    def test_user_edits_of_a_hook_that_took_the_place_of_another(self):
        old = f"#!{sys.executable}\nprint('old')\n"
        self.write(".git/hooks/post-merge", old, mode=0o755)
        self.here("git", "install")
        with open(self.hook("post-merge"), "a") as file:
            file.write("echo mine\n")
        done = self.here("git", "uninstall")
        self.assertIn(b"post-merge.edited", done.err)
        with open(self.hook("post-merge")) as file:
            self.assertEqual(file.read(), old)
        with open(self.hook("post-merge.edited")) as file:
            self.assertEqual(file.read(), "#!/bin/sh\necho mine\n")

    def test_another_tool_renames_or_replaces_the_hook(self):
        self.write(".git/hooks/post-merge", f"#!{sys.executable}\nprint('old')\n", mode=0o755)
        self.here("git", "install")
        os.rename(self.hook(), self.hook("post-checkout.legacy"))
        self.write(".git/hooks/post-checkout", '#!/bin/sh\n"$0".legacy "$@"\n', mode=0o755)
        self.write(".git/hooks/post-merge", "#!/bin/sh\necho new\n", mode=0o755)
        self.git("switch", "-q", "-c", "feature")
        self.assertEqual(self.current(), "feature")
        self.assertEqual([hook["installed"] for hook in self.status()["hooks"]], [False, False, True, True])
        done = self.here("git", "uninstall")
        self.assertIn(b"post-merge.before-bough", done.err)
        names = [name for name in os.listdir(os.path.dirname(self.hook())) if not name.endswith(".sample")]
        self.assertEqual(sorted(names), ["post-checkout", "post-merge", "post-merge.before-bough"])
        with open(self.hook("post-merge")) as file:
            self.assertIn("echo new", file.read())

    def test_a_torn_mark_is_not_guessed_at(self):
        self.here("git", "install")
        with open(self.hook("post-merge")) as file:
            text = file.read()
        torn = text.replace("# <<<", "# <")
        self.write(".git/hooks/post-merge", torn, mode=0o755)
        self.assertIn("post-merge", self.fails(4, "git", "uninstall", cwd=self.root))
        with open(self.hook("post-merge")) as file:
            self.assertEqual(file.read(), torn)
        self.write(".git/hooks/post-merge", text, mode=0o755)
        self.here("git", "uninstall")
        self.assertFalse(os.path.exists(self.hook("post-merge")))

    def test_a_failure_in_the_middle_takes_back_what_was_done(self):
        self.write(".git/hooks/post-rewrite", f"#!{sys.executable}\n", mode=0o755)
        self.write(".git/hooks/post-rewrite.before-bough", "in the way")
        before = self.git_state()
        self.assertIn("in the way", self.fails(4, "git", "install", cwd=self.root))
        after = self.git_state()
        self.assertEqual(after, before)

    def test_killed_in_the_middle(self):
        """Before each of its renames, writes of directories and unlinks: install completes it, uninstall removes it."""
        self.write(".git/hooks/post-merge", f"#!{sys.executable}\nprint('old')\n", mode=0o755)
        self.write(".git/hooks/post-checkout", "#!/bin/sh\necho old\n", mode=0o755)
        before = self.git_state()
        strace = shutil.which("strace")
        self.assertTrue(strace)

    

        kills = 0
        for verb, call, when in itertools.product(("install", "uninstall"), ("rename", "unlink", "mkdir"), range(1, 9)):
            if verb == "uninstall":
                self.here("git", "install")
            done = subprocess.run([strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
                                   "-e", f"inject={call}:signal=KILL:when={when}", support.BOUGH, "git", verb],
                                  cwd=self.root, env=self.environment(), capture_output=True)
            self.assertIn(done.returncode, (0, -signal.SIGKILL), done.stderr)
            kills += done.returncode != 0
            self.here("git", "uninstall")
            self.assertEqual(self.git_state(), before, f"{verb}, {call} {when}")
        self.assertGreater(kills, 12)

    def test_a_full_disk_at_any_step_leaves_the_old_state(self):
        self.write(".git/hooks/post-merge", f"#!{sys.executable}\nprint('old')\n", mode=0o755)
        self.write(".git/hooks/post-commit", "#!/bin/sh\necho old\n", mode=0o755)
        before = self.git_state()
        failures = 0
        for call, when in itertools.product(("fsync", "rename", "mkdir"), range(1, 10)):
            words = [support.BOUGH, "--no-progress", "git", "install"]
            done = subprocess.run([shutil.which("strace"), "-qq", "-o", "/dev/null", "-e", f"trace={call}",
                                   "-e", f"inject={call}:error=ENOSPC:when={when}", *words],
                                  cwd=self.root, env=self.environment(), capture_output=True)
            self.assertIn(done.returncode, (0, 7), done.stderr)
            failures += done.returncode != 0
            if done.returncode == 0:
                self.here("git", "uninstall")
            else:
                self.assertIn(b"No space left", done.stderr)
            self.assertEqual(self.git_state(), before, f"{call} {when}")
        self.assertGreater(failures, 10)

    @unittest.skipIf(os.getuid() != 0, "only root can become another user")
    def test_hooks_directory_that_cannot_be_written(self):
        hooks = os.path.dirname(self.hook())
        for folder, folders, files in os.walk(self.dir):
            for name in [""] + files:
                os.lchown(os.path.join(folder, name), NOBODY, NOBODY)
        os.chown(hooks, 0, 0)
        os.chmod(self.dir, 0o755)
        before = self.git_state()
        done = self.here("git", "install", status=7, preexec_fn=as_nobody)
        self.assertIn(b"post-checkout", done.err)
        self.assertEqual(self.git_state(), before)

    def test_where_there_is_no_repository(self):
        os.mkdir(self.path("plain"))
        for verb in ("install", "uninstall", "status"):
            self.fails(3, "git", verb, cwd=self.path("plain"))
        self.git("clone", "-q", "--bare", self.root, self.path("bare.git"))
        self.fails(3, "git", "install", cwd=self.path("bare.git"))

    def test_where_there_is_no_store(self):
        self.git("init", "-q", self.path("empty"))
        before = tree(self.path("empty"))
        self.fails(3, "git", "install", cwd=self.path("empty"))
        self.assertEqual(tree(self.path("empty")), before)

    def test_wrong_usage(self):
        for words in (["git"], ["git", "no"], ["git", "install", "x"], ["git", "hook"], ["git", "hook", "pre-commit"],
                      ["git", "install", "--dir", "/abs"], ["git", "install", "--dir", "a", "--no-migrate"]):
            with self.subTest(words):
                self.fails(2, *words, cwd=self.root)

    def test_without_git(self):
        os.mkdir(self.path("nothing"))
        self.assertIn("git", self.fails(3, "git", "install", cwd=self.root, env={"PATH": self.path("nothing")}))

    def test_settings(self):
        self.assertEqual(self.status()["migrations"], None)
        self.assertEqual(self.json("git", "install", cwd=self.root)["migrations"], "migrations")
        self.assertEqual(self.json("git", "install", "--dir", "db/changes", cwd=self.root)["migrations"], "db/changes")
        self.assertEqual(self.json("git", "install", cwd=self.root)["migrations"], "db/changes")
        self.assertEqual(self.json("git", "install", "--no-migrate", cwd=self.root)["migrations"], None)


class Follow(GitCase):
    def setUp(self):
        super().setUp()
        self.here("git", "install")

    def add(self, branch, name):
        self.here("sql", branch, f"INSERT INTO users(name) VALUES ('{name}')")

    def has(self, branch, name):
        rows = self.json("sql", branch, f"SELECT count(*) AS n FROM users WHERE name = '{name}'", cwd=self.root)
        return rows[0][0]["n"] == 1

    def test_switch(self):
        self.assertEqual(self.said("switch", "-c", "feature"), ["the database is on branch feature, forked from main"])
        self.assertEqual((self.current(), self.parent("feature")), ("feature", "main"))
        self.add("feature", "new")
        self.assertEqual(self.said("switch", "main"), ["the database is on branch main"])
        self.assertEqual(self.current(), "main")
        self.assertFalse(self.has("main", "new"))
        self.assertEqual(self.said("checkout", "feature"), ["the database is on branch feature"])
        self.assertTrue(self.has("feature", "new"))
        self.assertEqual(self.said("checkout", "feature"), [], "nothing to say where nothing changes")
        self.assertEqual(self.status()["left_over"], [])

    def test_a_fork_of_a_fork(self):
        self.git("switch", "-q", "-c", "feature")
        self.add("feature", "new")
        self.git("switch", "-q", "-c", "deeper")
        self.assertEqual(self.parent("deeper"), "feature")
        self.assertTrue(self.has("deeper", "new"))

    def test_a_named_start_counts_more_than_the_branch_that_was_left(self):
        self.git("switch", "-q", "-c", "feature")
        self.git("switch", "-q", "-c", "hotfix", "main")
        self.assertEqual(self.parent("hotfix"), "main")
        self.commit("more")
        self.git("branch", "late", "feature")
        self.git("switch", "-q", "late")
        self.assertEqual(self.parent("late"), "feature")

    def test_branches_made_elsewhere_find_their_place_by_history(self):
        self.git("switch", "-q", "-c", "feature")
        self.commit("of feature")
        self.git("switch", "-q", "main")
        self.git("clone", "-q", self.root, self.path("elsewhere"))
        self.commit("of main")
        elsewhere = self.path("elsewhere")
        self.git("switch", "-q", "-c", "fetched", "origin/feature", cwd=elsewhere)
        self.commit("of fetched", cwd=elsewhere)
        self.git("switch", "-q", "-c", "plain", "origin/main", cwd=elsewhere)
        self.commit("of plain", cwd=elsewhere)
        self.git("remote", "add", "friend", elsewhere)
        self.git("fetch", "-q", "friend")
        self.git("switch", "-q", "fetched")
        self.assertEqual(self.parent("fetched"), "feature")
        self.git("switch", "-q", "plain")
        self.assertEqual(self.parent("plain"), "main")

    def test_a_branch_made_before_install(self):
        self.here("git", "uninstall")
        self.git("switch", "-q", "-c", "old")
        self.commit("of old")
        self.git("switch", "-q", "main")
        self.here("git", "install")
        self.git("switch", "-q", "-c", "new")
        self.git("switch", "-q", "old")
        self.assertEqual(self.parent("old"), "main")

    def test_renamed_branch_keeps_its_data(self):
        self.git("switch", "-q", "-c", "feature")
        self.add("feature", "new")
        self.commit("of feature")
        self.git("branch", "-m", "feature", "better")
        self.git("switch", "-q", "main")
        self.git("switch", "-q", "better")
        self.assertEqual(self.parent("better"), "feature")
        self.assertTrue(self.has("better", "new"))

    def test_without_reflogs(self):
        self.git("config", "core.logAllRefUpdates", "false")
        shutil.rmtree(os.path.join(self.root, ".git", "logs"))
        self.git("switch", "-q", "-c", "feature")
        self.commit("of feature")
        self.git("switch", "-q", "-c", "deeper")
        self.assertEqual((self.parent("feature"), self.parent("deeper")), ("main", "feature"))

    def test_orphan(self):
        self.git("switch", "-q", "-c", "feature")
        self.assertEqual(self.said("switch", "--orphan", "fresh"), ["the database is on branch fresh, forked from feature"])

    def test_a_repository_without_a_commit(self):
        root = self.path("young")
        self.git("init", "-q", "-b", "trunk", root)
        shutil.copy(os.path.join(self.root, "shop.db"), root)
        self.here("init", "shop.db", cwd=root)
        self.here("git", "install", cwd=root)
        self.assertEqual(self.here("status", "-q", cwd=root).text, "trunk\n")

    def test_detached_head_leaves_the_database_alone(self):
        self.commit("second")
        self.git("switch", "-q", "-c", "feature")
        self.assertEqual(self.said("checkout", "HEAD~1"), ["HEAD is on no branch; the database stays on branch feature"])
        self.assertEqual(self.current(), "feature")
        self.git("switch", "-q", "-c", "from-there")
        self.assertEqual((self.current(), self.parent("from-there")), ("from-there", "feature"))

    def test_files_are_no_branches(self):
        self.git("branch", "feature")
        self.write("code", "2")
        self.assertEqual(self.said("checkout", "--", "code"), [])
        self.assertEqual(self.said("checkout", "feature", "--", "code"), [])
        self.assertEqual(self.current(), "main")
        self.assertNotIn("feature", [b["name"] for b in self.json("branch", cwd=self.root)])

    def test_rebase_and_bisect_move_nothing(self):
        for backend in ("--merge", "--apply"):
            with self.subTest(backend):
                name = "feature" + backend
                self.git("switch", "-q", "-c", name)
                self.commit("one of " + name)
                self.commit("two of " + name)
                self.git("switch", "-q", "main")
                self.commit("main beside " + name)
                self.git("switch", "-q", name)
                self.assertEqual(self.said("rebase", backend, "main"), [])
                self.assertEqual(self.current(), name)
                self.git("switch", "-q", "main")
                self.commit("again beside " + name)
                self.assertEqual(self.said("rebase", backend, "main", name), [f"the database is on branch {name}"])
                self.git("switch", "-q", "main")
        self.assertEqual(self.said("bisect", "start", "HEAD", "HEAD~1"), [])
        self.assertEqual(self.said("bisect", "reset"), [])
        self.git("switch", "-q", "feature--merge")
        self.assertEqual(self.said("bisect", "start", "HEAD", "HEAD~3"), [])
        self.assertEqual(self.said("bisect", "reset"), [])
        self.assertEqual(sorted(b["name"] for b in self.json("branch", cwd=self.root)),
                         ["feature--apply", "feature--merge", "main"])

    def test_rebase_that_stops_and_is_given_up(self):
        self.git("switch", "-q", "-c", "feature")
        self.write("code", "feature")
        self.git("commit", "-q", "-a", "-m", "feature")
        self.git("switch", "-q", "main")
        self.write("code", "main")
        self.git("commit", "-q", "-a", "-m", "main")
        self.git("switch", "-q", "feature")
        self.assertEqual(self.said("rebase", "main", status=1), [])
        self.assertEqual(self.current(), "feature")
        self.assertEqual(self.said("rebase", "--abort"), [])
        self.assertEqual(self.current(), "feature")

    def test_names_that_a_store_cannot_have(self):
        names = ["fix#12", "#12", "user@home", "größe", "機能/検索", "a+b=c,d", "deadbeef", "123456", "x-wal", "x/y-journal/z",
                 "a/-b", "it's", "say\"hi\"", "a$b`c`", "semi;colon", "a{b}", "x_.#y", "x_#y", "x__y", "_#", "a&b|c<d>e!",
                 "z-wal/x", "plain/name_1.2-3", "0123456789abcdef" * 4, "(x)", "100%"]
        seen = {}
        for name in names:
            with self.subTest(name):
                said = self.said("switch", "-c", name, "main")
                self.assertEqual(len(said), 1, said)
                mapped = self.current()
                self.assertEqual(said[0], f"the database is on branch {mapped}, forked from main")
                self.assertNotIn(mapped, seen)
                seen[mapped] = name
        self.assertEqual(seen["plain/name_1.2-3"], "plain/name_1.2-3")
        self.assertEqual(seen["fix_..23.12"], "fix#12")
        self.assertEqual(seen["gr_..c3b6c39f.e"], "größe")
        self.assertEqual(seen["12345_..36."], "123456")
        self.assertEqual(seen["x_..2d.wal"], "x-wal")
        self.assertEqual(self.status()["left_over"], [])

    def test_a_name_that_is_too_long(self):
        self.assertEqual(len(self.said("switch", "-c", "a" * 200)), 1)
        said = self.said("switch", "-c", "a" * 201)
        self.assertEqual(len(said), 1)
        self.assertIn("too long", said[0])
        self.assertEqual(self.current(), "a" * 200)

    def test_a_tag_of_that_name(self):
        self.here("tag", "release")
        said = self.said("switch", "-c", "release")
        self.assertEqual(len(said), 1)
        self.assertIn("release", said[0])
        self.assertEqual(self.current(), "main")

    def test_protected_branch(self):
        self.git("switch", "-q", "-c", "feature")
        self.here("protect", "main")
        self.assertEqual(self.said("switch", "main"),
                         ["the database is on branch main (protected: it refuses writes)"])

    def test_deleted_git_branch(self):
        self.git("switch", "-q", "-c", "feature")
        self.add("feature", "new")
        self.git("switch", "-q", "main")
        self.git("branch", "-q", "-D", "feature")
        self.assertEqual(self.status()["left_over"], ["feature"])
        self.assertIn("feature", self.here("git", "status").text)
        self.assertTrue(self.has("feature", "new"))

    def test_dirty_data_goes_into_the_fork(self):
        self.add("main", "not committed")
        self.git("switch", "-q", "-c", "feature")
        self.assertTrue(self.has("feature", "not committed"))

    def test_from_a_directory_below_and_with_git_variables_set(self):
        os.mkdir(os.path.join(self.root, "below"))
        self.assertEqual(len(self.said("switch", "-c", "feature", cwd=os.path.join(self.root, "below"))), 1)
        self.git("--git-dir", os.path.join(self.root, ".git"), "--work-tree", self.root, "switch", "-q", "main", cwd=self.dir)
        self.assertEqual(self.current(), "main")
        self.git("switch", "-q", "feature", env={"GIT_DIR": os.path.join(self.root, ".git"), "GIT_WORK_TREE": self.root},
                 cwd=self.dir)
        self.assertEqual(self.current(), "feature")

    def test_bough_branch_of_a_shell_is_not_moved(self):
        self.here("branch", "agent")
        said = self.said("switch", "-c", "feature", env={"BOUGH_BRANCH": "agent"})
        self.assertEqual(said, ["the database is on branch feature, forked from main", "here $BOUGH_BRANCH makes it agent"])
        self.assertEqual(self.current(), "feature")
        self.assertEqual(len(self.said("switch", "main", env={"BOUGH_BRANCH": "nowhere", "BOUGH_STORE": "/nowhere"})), 2)
        self.assertEqual(self.current(), "main")

    def test_an_environment_without_a_path(self):
        git = shutil.which("git")
        env = {"HOME": self.path("home"), "GIT_CONFIG_NOSYSTEM": "1"}
        env.update({name: value for name, value in os.environ.items() if name in ("LD_PRELOAD", "ASAN_OPTIONS")})
        done = subprocess.run([git, "switch", "-c", "feature"], cwd=self.root, env=env, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("bough: the database is on branch feature", done.stderr)

    def test_closed_descriptors(self):
        done = subprocess.run(["sh", "-c", "exec git switch -c feature <&- >&- 2>&-"], cwd=self.root, env=self.environment())
        self.assertEqual(done.returncode, 0)
        self.assertEqual(self.current(), "feature")

    def test_many_at_once(self):
        self.git("branch", "x")
        for i in range(4):
            self.git("worktree", "add", "-q", "-b", f"w{i}", self.path(f"w{i}"), "main")
        failed = []

        def work(i):
            for j in range(3):
                done = subprocess.run(["git", "switch", "-c", f"w{i}/{j}x"], cwd=self.path(f"w{i}"),
                                      env=self.environment(), capture_output=True, text=True)
                if done.returncode or "forked from" not in done.stderr:
                    failed.append(done.stderr)

        # A name of git cannot have another one below it.
        for i in range(4):
            self.git("branch", "-m", f"w{i}", f"v{i}")
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        for i in range(4):
            self.assertEqual(self.current(self.path(f"w{i}")), f"w{i}/2x")


class OddPlaces(GitCase):
    repository = "it's \"a\" $HOME `pwd` dir\\x #1 ü"

    def test_paths_that_need_care(self):
        before = self.git_state()
        self.write(".git/hooks/post-merge", f"#!{sys.executable}\n", mode=0o755)
        self.here("git", "install")
        self.assertEqual(self.git("status", "--porcelain").stdout, "")
        self.assertEqual(self.said("switch", "-c", "feature"), ["the database is on branch feature, forked from main"])
        other = self.path("another 'one'\t\"")
        self.git("worktree", "add", "-q", "-b", "other", other)
        self.assertEqual((self.current(), self.current(other)), ("feature", "other"))
        self.assertEqual(self.said("switch", "-c", "third", cwd=other), ["the database is on branch third, forked from other"])
        self.git("worktree", "remove", "--force", other)
        self.here("git", "uninstall")
        os.unlink(self.hook("post-merge"))
        self.assertEqual(self.git_state(), before)

    def test_a_path_that_cannot_be_recorded(self):
        os.rename(self.root, self.path("a\nb"))
        self.root = self.path("a\nb")
        before = self.git_state()
        self.fails(4, "git", "install", cwd=self.root)
        self.assertEqual(self.git_state(), before)


class Failures(GitCase):
    def setUp(self):
        super().setUp()
        self.here("git", "install")
        self.git("branch", "feature")
        self.store = os.path.join(self.root, "shop.bough")

    def check_warns(self, *parts):
        said = self.said("switch", "feature")
        self.assertEqual(len(said), 1, said)
        for part in parts:
            self.assertIn(part, said[0])
        self.assertEqual(self.git("branch", "--show-current").stdout, "feature\n")

    def test_store_that_is_gone(self):
        shutil.rmtree(self.store)
        self.check_warns("shop.bough")

    def test_store_that_is_broken(self):
        with open(os.path.join(self.store, "db"), "r+b") as file:
            file.write(b"garbage garbage garbage")
        self.check_warns("db")

    def test_catalog_that_is_busy(self):
        """Somebody keeps the catalog: git goes on after a short while, and the next switch makes up for it."""
        holder = subprocess.Popen([sys.executable, "-c",
                                   "import fcntl, struct, sys\n"
                                   f"file = open({os.path.join(self.store, 'catalog.lock')!r}, 'r+b')\n"
                                   "fcntl.fcntl(file, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 1, 0))\n"
                                   "print('held', flush=True)\n"
                                   "sys.stdin.read()\n"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(holder.stdout.readline(), b"held\n")
        try:
            self.check_warns("catalog")
            self.assertEqual(self.current(), "main")
        finally:
            holder.communicate()
        self.assertEqual(self.said("checkout", "feature"), ["the database is on branch feature, forked from main"])

    def test_program_that_is_gone(self):
        with open(self.hook()) as file:
            text = file.read()
        self.assertIn(support.BOUGH, text)
        for name in HOOKS:
            self.write(f".git/hooks/{name}", text.replace(support.BOUGH, self.path("gone")), mode=0o755)
        done = self.git("switch", "feature")
        self.assertEqual(done.stderr, "Switched to branch 'feature'\n")
        self.assertEqual(self.current(), "main")
        os.mkdir(self.path("bin"))
        os.symlink(support.BOUGH, self.path("bin", "bough"))
        path = self.path("bin") + ":" + os.environ["PATH"]
        self.assertEqual(self.said("checkout", "feature", env={"PATH": path}),
                         ["the database is on branch feature, forked from main"])

    def test_program_of_another_version(self):
        self.write("old-bough", "#!/bin/sh\necho 'bough: no such command: git' >&2\nexit 2\n", mode=0o755)
        with open(self.hook()) as file:
            text = file.read()
        self.write(".git/hooks/post-checkout", text.replace(support.BOUGH, os.path.join(self.root, "old-bough")), mode=0o755)
        self.assertEqual(self.said("switch", "feature"), ["no such command: git"])

    def test_record_of_a_later_version(self):
        record = os.path.join(self.root, ".git", "bough", "install")
        with open(record) as file:
            text = file.read()
        self.write(".git/bough/install", text.replace("bough git 1", "bough git 2"))
        self.assertEqual(self.said("switch", "feature"), [])
        self.assertFalse(self.status()["installed"])
        self.here("git", "uninstall")
        self.assertFalse(os.path.exists(record))

    def test_moved_repository(self):
        moved = self.path("moved")
        os.rename(self.root, moved)
        self.assertEqual(self.said("switch", "feature", cwd=moved), ["the database is on branch feature, forked from main"])
        self.here("git", "uninstall", cwd=moved)
        self.assertFalse(os.path.exists(os.path.join(moved, ".git", "hooks", "post-checkout")))


class Worktrees(GitCase):
    def setUp(self):
        super().setUp()
        self.here("git", "install")
        self.other = self.path("other place")

    def add_worktree(self, *words):
        return self.said("worktree", "add", *words)

    def test_each_keeps_its_own_branch(self):
        self.assertEqual(self.add_worktree("-b", "other", self.other), ["the database is on branch other, forked from main"])
        self.git("switch", "-q", "-c", "feature")
        self.assertEqual((self.current(), self.current(self.other)), ("feature", "other"))
        self.here("sql", "other", "DELETE FROM users")
        self.git("switch", "-q", "-c", "third", cwd=self.other)
        self.assertEqual((self.current(), self.current(self.other)), ("feature", "third"))
        self.assertEqual(self.parent("third"), "other")
        marked = [[b["name"] for b in self.json("branch", cwd=cwd) if b["current"]] for cwd in (self.root, self.other)]
        self.assertEqual(marked, [["feature"], ["third"]])
        below = os.path.join(self.other, "a", "b")
        os.makedirs(below)
        self.assertEqual(self.current(below), "third")
        status = self.status(self.other)
        self.assertEqual((status["branch"], status["own_branch"], status["git_branch"]), ("third", True, "third"))
        self.assertEqual(self.here("status", "-q", cwd=self.other, env={"BOUGH_BRANCH": "main"}).text, "main\n")

    def test_commands_mean_the_worktrees_branch(self):
        self.add_worktree("-b", "other", self.other)
        self.here("sql", "other", "DELETE FROM users", cwd=self.other)
        self.assertEqual(self.json("commit", "-m", "x", cwd=self.other)["branch"], "other")
        self.here("branch", "child", cwd=self.other)
        self.assertEqual(self.parent("child"), "other")
        self.assertEqual(self.json("log", cwd=self.other)[0]["message"], "x")

    def test_switch_by_hand(self):
        self.add_worktree("-b", "other", self.other)
        self.here("branch", "mine")
        done = self.json("switch", "mine", cwd=self.other)
        self.assertEqual([b["name"] for b in done], ["mine"])
        self.assertEqual((self.current(), self.current(self.other)), ("main", "mine"))
        self.fails(3, "switch", "nowhere", cwd=self.other)
        self.assertEqual(self.current(self.other), "mine")
        self.here("rename", "mine", "yours", cwd=self.other)
        self.assertEqual(self.current(self.other), "yours")
        self.here("delete", "yours")
        self.assertIn("in this worktree", self.fails(3, "status", cwd=self.other))
        self.assertEqual([b["name"] for b in self.json("branch", cwd=self.other) if b["current"]], [])
        self.git("checkout", "-q", "other", cwd=self.other)
        self.assertEqual(self.current(self.other), "other")

    def test_another_store_is_not_meant(self):
        self.add_worktree("-b", "other", self.other)
        self.make_db("else.db")
        self.bough("init", "else.db")
        store = self.path("else.bough")
        self.assertEqual(self.here("-s", store, "status", "-q", cwd=self.other).text, "main\n")
        self.assertEqual(self.here("-s", os.path.join(self.root, "shop.bough"), "status", "-q", cwd=self.other).text, "other\n")

    def test_no_branch_rather_than_that_of_others(self):
        """A worktree that no hook has seen uses nobody's branch."""
        self.add_worktree("--no-checkout", "-b", "other", self.other)
        self.assertIn("in this worktree", self.fails(3, "status", cwd=self.other))
        self.git("checkout", "-q", "other", cwd=self.other)
        self.assertEqual(self.current(self.other), "other")

    def test_detached_worktree(self):
        self.assertEqual(self.add_worktree("--detach", self.other),
                         ["HEAD is on no branch; bough switch NAME chooses a branch for the database"])
        self.here("switch", "main", cwd=self.other)
        self.assertEqual(self.current(self.other), "main")

    def test_worktrees_from_before_install(self):
        self.here("git", "uninstall")
        self.git("worktree", "add", "-q", "-b", "other", self.other)
        self.here("git", "install")
        self.assertEqual((self.current(), self.current(self.other)), ("main", "other"))

    def test_install_from_a_linked_worktree(self):
        self.here("git", "uninstall")
        self.git("worktree", "add", "-q", "-b", "other", self.other)
        self.assertEqual(self.json("git", "install", cwd=self.other)["branch"], "other")
        self.assertEqual(self.git("status", "--porcelain").stdout, "")
        self.assertEqual((self.current(), self.current(self.other)), ("main", "other"))

    def test_worktree_inside_the_working_tree(self):
        inside = os.path.join(self.root, "trees", "x")
        self.add_worktree("-b", "x", inside)
        self.assertEqual((self.current(inside), self.current()), ("x", "main"))

    def test_bare_repository_with_worktrees(self):
        home = self.path("project")
        os.mkdir(home)
        self.git("clone", "-q", "--bare", self.root, os.path.join(home, ".bare"))
        self.git("worktree", "add", "-q", os.path.join(home, "main"), "main", cwd=os.path.join(home, ".bare"))
        shutil.copy(os.path.join(self.root, "shop.db"), home)
        self.here("init", "shop.db", cwd=home)
        first = os.path.join(home, "main")
        self.here("git", "install", cwd=first)
        self.git("worktree", "add", "-q", "-b", "fix", os.path.join(home, "fix"), cwd=first)
        self.git("switch", "-q", "-c", "feature", cwd=first)
        self.assertEqual((self.current(first), self.current(os.path.join(home, "fix"))), ("feature", "fix"))
        self.assertEqual(self.here("status", "-q", cwd=home).text, "main\n")
        self.here("git", "uninstall", cwd=first)
        left = [name for name in tree(os.path.join(home, ".bare")) if "bough" in name]
        self.assertEqual(left, [])

    def test_both_are_written_at_once(self):
        self.add_worktree("-b", "other", self.other)
        script = "for i in 1 2 3 4 5 6 7 8; do \"$BOUGH\" sql \"$(\"$BOUGH\" status -q)\" \"INSERT INTO users(name) VALUES ('$1')\" || exit 1; done"
        running = [subprocess.Popen(["sh", "-c", script, "sh", name], cwd=cwd, env=self.environment({"BOUGH": support.BOUGH}))
                   for name, cwd in (("here", self.root), ("there", self.other))]
        self.assertEqual([process.wait() for process in running], [0, 0])
        counts = [self.json("sql", name, "SELECT name, count(*) AS n FROM users WHERE name LIKE '%here' GROUP BY name",
                            cwd=self.root)[0] for name in ("main", "other")]
        self.assertEqual(counts, [[{"name": "here", "n": 8}], [{"name": "there", "n": 8}]])

    def test_a_store_beside_the_repository(self):
        home = self.path("project")
        code = self.path("project", "code")
        self.git("clone", "-q", self.root, code)
        shutil.copy(os.path.join(self.root, "shop.db"), home)
        self.here("init", "shop.db", cwd=home)
        self.assertFalse(self.json("git", "install", cwd=code)["own_branch"])
        self.git("switch", "-q", "-c", "feature", cwd=code)
        self.assertEqual((self.current(code), self.current(home)), ("feature", "feature"))

    def test_a_clone_that_uses_the_store_of_another(self):
        clone = self.path("clone")
        self.git("clone", "-q", self.root, clone)
        document = self.json("git", "install", "--store", os.path.join(self.root, "shop.bough"), cwd=clone)
        self.assertTrue(document["own_branch"])
        self.git("switch", "-q", "-c", "theirs", cwd=clone)
        self.assertEqual((self.current(clone), self.current()), ("theirs", "main"))
        self.assertEqual(self.git("status", "--porcelain", cwd=clone).stdout, "")

    def test_removed_worktree_leaves_nothing(self):
        self.add_worktree("-b", "other", self.other)
        self.git("worktree", "remove", self.other)
        self.assertFalse(os.path.exists(os.path.join(self.root, ".git", "worktrees", "other place")))
        self.assertEqual(self.status()["left_over"], [])

    def test_submodule(self):
        self.git("clone", "-q", self.root, self.path("library"))
        self.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", self.path("library"), "lib")
        self.git("commit", "-q", "-m", "lib")
        inside = os.path.join(self.root, "lib")
        self.assertEqual(self.said("switch", "-c", "sub", cwd=inside), [])
        self.assertEqual((self.current(), self.current(inside)), ("main", "main"))
        self.git("switch", "-q", "-c", "feature")
        self.assertEqual(self.current(inside), "feature")


USERS = "-- migrate:up\nCREATE TABLE members(id INTEGER PRIMARY KEY, name TEXT);\n-- migrate:down\nDROP TABLE members;\n"
POSTS = "-- migrate:up\nCREATE TABLE posts(id INTEGER PRIMARY KEY);\n-- migrate:down\nDROP TABLE posts;\n"
LIKES = "-- migrate:up\nCREATE TABLE likes(id INTEGER PRIMARY KEY);\n-- migrate:down\nDROP TABLE likes;\n"
FAILS = "-- migrate:up\nCREATE TABLE fine(a);\nINSERT INTO members VALUES (1, abs(-9223372036854775807 - 1));\n"


class Migrations(GitCase):
    """main has the migration 1; what hooks make of other code."""
    directory = "migrations"

    def setUp(self):
        super().setUp()
        self.migration("1_members", USERS)
        self.here("migrate", "sync", "--dir", self.directory)
        self.here("git", "install")

    def migration(self, name, text, cwd=None):
        path = f"{self.directory}/{name}.sql"
        self.write(path, text, cwd=cwd)
        self.git("add", path, cwd=cwd)
        self.git("commit", "-q", "-m", name, cwd=cwd)

    def tables(self, branch):
        rows = self.json("sql", branch, "SELECT name FROM sqlite_schema WHERE name IN ('members', 'posts', 'likes', 'fine') "
                         "ORDER BY 1", cwd=self.root)[0]
        return [row["name"] for row in rows]

    def make_posts(self):
        """A branch of git with the migration 2, which the database has not seen."""
        self.git("switch", "-q", "-c", "posts")
        self.migration("2_posts", POSTS)
        self.git("switch", "-q", "main")

    def test_switch_brings_the_database_in_step(self):
        self.make_posts()
        self.assertEqual(self.tables("posts"), ["members"])
        self.assertEqual(self.said("switch", "posts"),
                         ["the database is on branch posts", "branch posts: migrations applied: 1, rolled back: 0"])
        self.assertEqual((self.tables("posts"), self.tables("main")), (["members", "posts"], ["members"]))
        self.assertEqual(self.said("switch", "main"), ["the database is on branch main"])

    def test_merge(self):
        self.make_posts()
        self.assertEqual(self.said("merge", "posts"), ["branch main: migrations applied: 1, rolled back: 0"])
        self.assertEqual(self.tables("main"), ["members", "posts"])
        self.migration("4_likes", LIKES)
        self.here("migrate", "sync", "--dir", self.directory)
        self.git("reset", "-q", "--hard", "HEAD~1")
        self.assertEqual(self.tables("main"), ["likes", "members", "posts"], "git has no hook for reset")
        self.assertEqual(self.said("checkout", "main"), ["branch main: migrations applied: 0, rolled back: 1"])

    def test_merge_with_a_conflict(self):
        self.make_posts()
        self.write("code", "main")
        self.git("commit", "-q", "-a", "-m", "x")
        self.git("switch", "-q", "posts")
        self.here("reset", "posts", "--to", "main")
        self.write("code", "posts")
        self.git("commit", "-q", "-a", "-m", "y")
        self.git("switch", "-q", "main")
        self.assertEqual(self.said("merge", "posts", status=1), [])
        self.assertEqual(self.tables("main"), ["members"])
        self.write("code", "both")
        self.assertEqual(self.said("commit", "-a", "-m", "merged"), ["branch main: migrations applied: 1, rolled back: 0"])
        self.assertEqual(self.tables("main"), ["members", "posts"])

    def test_rebase_of_each_kind(self):
        self.make_posts()
        applied = "branch {}: migrations applied: 1, rolled back: 0"
        late = "warning: migrations/2_posts.sql is older than a migration that is applied already; it runs after that one"
        self.git("branch", "plain", "main")
        for name, backend in (("likes", "--merge"), ("other", "--apply")):
            self.git("switch", "-q", "-c", name, "main")
            self.migration("3_likes", LIKES)
            self.here("migrate", "sync")
            self.assertEqual(self.said("rebase", backend, "posts"), [applied.format(name), late])
            self.assertEqual(self.tables(name), ["likes", "members", "posts"])
        self.git("switch", "-q", "plain")
        self.assertEqual(self.said("rebase", "posts"), [applied.format("plain")], "nothing to replay")
        self.assertEqual(self.tables("plain"), ["members", "posts"])

    def test_cherry_pick_and_revert(self):
        self.make_posts()
        self.assertEqual(self.said("cherry-pick", "posts"), ["branch main: migrations applied: 1, rolled back: 0"])
        self.assertEqual(self.said("revert", "--no-edit", "HEAD"), ["branch main: migrations applied: 0, rolled back: 1"])
        self.assertEqual(self.tables("main"), ["members"])
        self.git("switch", "-q", "-c", "conflict", "main~2")
        self.write(f"{self.directory}/2_posts.sql", "-- nothing yet\n")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "in the way")
        self.assertEqual(self.said("cherry-pick", "posts", status=1), [])
        self.write(f"{self.directory}/2_posts.sql", POSTS)
        self.assertEqual(self.said("commit", "-a", "-m", "picked"),
                         ["branch conflict: migrations applied: 1, rolled back: 0"])

    def test_a_commit_is_no_sync(self):
        """Work on a migration goes on over several commits; the database is not touched."""
        self.write(f"{self.directory}/2_posts.sql", POSTS)
        self.git("add", ".")
        self.assertEqual(self.said("commit", "-m", "posts"), [])
        self.assertEqual(self.said("commit", "--amend", "-m", "more posts"), [])
        self.assertEqual(self.tables("main"), ["members"])

    def test_code_of_others_that_nobody_is_on(self):
        self.make_posts()
        self.assertEqual(self.said("checkout", "--detach", "posts"), ["HEAD is on no branch; the database stays on branch main"])
        self.assertEqual(self.tables("main"), ["members"])
        self.git("switch", "-q", "main")
        self.git("bisect", "start", "posts", "main")
        self.git("bisect", "reset")
        self.assertEqual((self.tables("main"), self.tables("posts")), (["members"], ["members"]))

    def test_a_migration_that_fails_stops_nothing(self):
        self.git("switch", "-q", "-c", "broken")
        self.migration("2_broken", FAILS)
        self.git("switch", "-q", "main")
        said = self.said("switch", "broken")
        self.assertEqual(len(said), 2, said)
        self.assertRegex(said[1], "^branch broken: bough migrate sync: .*2_broken.sql")
        self.assertEqual(self.tables("broken"), ["members"])
        self.assertEqual(self.git("branch", "--show-current").stdout, "broken\n")

    def test_protected_branch(self):
        self.make_posts()
        self.here("protect", "posts")
        said = self.said("switch", "posts")
        self.assertEqual(len(said), 2, said)
        self.assertIn("protected", said[0])
        self.assertIn("protected", said[1])
        self.assertEqual(self.tables("posts"), ["members"])

    def test_worktrees_have_migrations_of_their_own(self):
        self.make_posts()
        other = self.path("other")
        self.assertEqual(self.said("worktree", "add", other, "posts"),
                         ["the database is on branch posts", "branch posts: migrations applied: 1, rolled back: 0"])
        self.migration("3_likes", LIKES, cwd=other)
        self.assertEqual(self.said("checkout", "posts", cwd=other), ["branch posts: migrations applied: 1, rolled back: 0"])
        self.assertEqual((self.tables("main"), self.tables("posts")), (["members"], ["likes", "members", "posts"]))

    def test_the_history_of_another_tool_is_not_run_again(self):
        self.git("switch", "-q", "-c", "young")
        self.here("sql", "young", "DROP TABLE migrations; CREATE TABLE schema_migrations(version TEXT PRIMARY KEY); "
                  "INSERT INTO schema_migrations VALUES ('1')")
        said = self.said("checkout", "young")
        self.assertEqual(len(said), 1)
        self.assertIn("schema_migrations", said[0])
        self.assertIn("bough migrate adopt", said[0])

    def test_no_directory_no_migrations(self):
        self.git("switch", "-q", "-c", "before")
        self.git("rm", "-q", "-r", self.directory)
        self.git("commit", "-q", "-m", "without")
        self.assertEqual(self.said("checkout", "before"), [])
        self.assertEqual(self.tables("before"), ["members"])

    def test_turned_off(self):
        self.make_posts()
        self.here("git", "install", "--no-migrate")
        self.assertEqual(self.said("switch", "posts"), ["the database is on branch posts"])
        self.assertEqual(self.tables("posts"), ["members"])

    def test_a_branch_chosen_by_hand_stays_after_a_merge(self):
        self.make_posts()
        self.here("branch", "mine", "main")
        self.here("switch", "mine")
        self.assertEqual(self.said("merge", "posts"), ["branch mine: migrations applied: 1, rolled back: 0"])
        self.assertEqual((self.current(), self.tables("main")), ("mine", ["members"]))

    def test_killed_during_the_migration(self):
        """The whole group dies with the migration running: the branch is as before, and the next checkout goes on."""
        self.git("switch", "-q", "-c", "long")
        self.migration("2_long", "-- migrate:up\nCREATE TABLE fine(a);\nWITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
                       "FROM n WHERE i < 3000000) INSERT INTO fine SELECT sum(i) FROM n;\n-- migrate:down\nDROP TABLE fine;\n")
        self.git("switch", "-q", "main")
        before = self.json("log", "long", cwd=self.root)[0]["root"]
        for seconds in (0.05, 0.15, 0.3):
            process = subprocess.Popen(["git", "checkout", "-q", "long"], cwd=self.root, env=self.environment(),
                                       start_new_session=True, stderr=subprocess.DEVNULL)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            self.assertIn((self.tables("long"), self.json("log", "long", cwd=self.root)[0]["root"] == before),
                          ((["members"], True), (["fine", "members"], False)))
            for name in ("index.lock", "HEAD.lock"):
                if os.path.exists(os.path.join(self.root, ".git", name)):
                    os.unlink(os.path.join(self.root, ".git", name))
        self.git("checkout", "-q", "-f", "long")
        self.assertEqual(self.tables("long"), ["fine", "members"])


class MigrationsElsewhere(GitCase):
    def test_directory(self):
        self.write("db/the changes/1_members.sql", USERS)
        self.git("add", ".")
        self.git("commit", "-q", "-m", "1")
        self.here("git", "install", "--dir", "db/the changes")
        self.assertEqual(self.said("switch", "-c", "feature"), ["the database is on branch feature, forked from main",
                                                                "branch feature: migrations applied: 1, rolled back: 0"])


if __name__ == "__main__":
    support.main()
