"""Help, the manual page, completion, the version, and wrong command lines."""
import json
import os
import shutil
import subprocess

import support

COMMANDS = ["init", "import", "export", "branch", "switch", "rename", "delete", "protect", "unprotect", "reset", "promote",
            "status", "tree", "commit", "log", "tag", "diff", "compare", "sql", "try", "url", "run", "migrate", "git",
            "verify", "du", "gc", "help"]
ALIASES = {"fork": "branch", "checkout": "switch", "drop": "delete", "rm": "delete", "snapshot": "commit"}


class Help(support.Case):
    def test_lists_every_command_once_by_group(self):
        text = self.bough("help").text
        self.assertEqual(self.bough("--help").text, text)
        self.assertEqual(self.bough("-h").text, text)
        listed = [line.split()[0] for line in text.split("Options of every command")[0].splitlines()
                  if line.startswith("  ")]
        self.assertEqual(sorted(listed), sorted(COMMANDS))
        groups = [c["group"] for c in self.json("help")]
        self.assertEqual(len(set(groups)), sum(a != b for a, b in zip(groups, [None] + groups)))
        self.assertEqual(self.bough("help", "-q").text.split(), [c["name"] for c in self.json("help")])

    def test_every_command_explains_itself_with_one_example(self):
        for name in COMMANDS + list(ALIASES):
            with self.subTest(name):
                command = ALIASES.get(name, name)
                text = self.bough(name, "--help").text
                self.assertEqual(self.bough("help", name).text, text)
                self.assertEqual(self.bough("--help", name).text, text)
                self.assertTrue(text.startswith(f"usage: bough {command}"), text)
                self.assertEqual(text.count("\nExample\n"), 1)
                self.assertIn(f"bough {command}", text.split("\nExample\n")[1])
                document = self.json("help", name)
                self.assertEqual(document["name"], command)
                for option in document["options"]:
                    self.assertIn("--" + option["name"], text)
                    self.assertIn(option["help"], text)
                self.assertTrue(all(len(line) <= 120 for line in text.splitlines()))

    def test_manual_page_has_every_command_and_option(self):
        roff = self.bough("help", "--man").text
        self.assertTrue(roff.startswith(".TH BOUGH 1 "))
        plain = roff.replace("\\-", "-").replace("\\(aq", "'").replace("\\(ti", "~")
        for command in self.json("help"):
            section = plain.split(f"\n.SS {command['name']}\n")
            self.assertEqual(len(section), 2, command["name"])
            section = section[1].split("\n.SS ")[0]
            self.assertIn(command["summary"], section)
            self.assertIn(command["example"].split("\n")[0], section)
            for option in command["options"]:
                self.assertIn("--" + option["name"], section)
        for status in range(9):
            self.assertIn(f"\n.TP\n{status}\n", plain.split(".SH EXIT STATUS")[1])
        groff = shutil.which("groff")
        if groff:
            clean = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
            done = subprocess.run([groff, "-man", "-Tutf8", "-ww"], input=roff.encode(), capture_output=True, env=clean)
            self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_completion_for_three_shells(self):
        for shell in ("bash", "zsh", "fish"):
            text = self.bough("help", "--completion", shell).text
            for command in self.json("help"):
                self.assertIn(command["name"], text)
                for option in command["options"]:
                    self.assertIn(option["name"], text)
            if shutil.which(shell):
                path = self.path("completion")
                with open(path, "w") as file:
                    file.write(text)
                done = subprocess.run([shell, "-n", path], capture_output=True)
                self.assertEqual((done.returncode, done.stderr), (0, b""), shell)
        self.fails(2, "help", "--completion", "tcsh")

    def bash_completes(self, *words):
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _bough; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        path = self.path("completion")
        with open(path, "w") as file:
            file.write(self.bough("help", "--completion", "bash").text)
        env = self.environment({"PATH": os.path.dirname(support.BOUGH) + ":" + os.environ["PATH"]})
        done = subprocess.run(["bash", "-c", script, "bash", path, "bough", *words], capture_output=True, cwd=self.dir,
                              env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode().split()

    def test_bash_completion_knows_commands_options_and_names(self):
        self.assertEqual(self.bash_completes("sw"), ["switch"])
        self.assertEqual(self.bash_completes("branch", "--co"), ["--count"])
        self.assertEqual(self.bash_completes("help", "--completion", ""), ["bash", "zsh", "fish"])
        self.assertEqual(self.bash_completes("git", ""), ["install", "uninstall", "status"])
        self.assertEqual(self.bash_completes("git", "install", ""), [])
        self.assertEqual(self.bash_completes("migrate", "re"), ["redo", "repair"])
        self.make_store()
        self.bough("branch", "premium")
        self.bough("tag", "v1")
        self.assertEqual(self.bash_completes("switch", "pr"), ["premium"])
        self.assertEqual(self.bash_completes("log", ""), ["main", "premium", "v1"])
        self.assertEqual(self.bash_completes("rm", ""), ["main", "premium"])

    def test_version(self):
        self.assertEqual(self.bough("--version").text, "bough 0.1.0\n")
        self.assertEqual(self.bough("branch", "--version").text, "bough 0.1.0\n")
        self.assertEqual(self.json("--version"), {"version": "0.1.0"})


class WrongUsage(support.Case):
    def test_no_command_and_unknown_commands(self):
        self.bough(status=2)
        self.fails(2, "nonsense")
        self.fails(2, "")
        self.assertIn(b"bough branch?", self.bough("brnch", status=2).err)
        self.assertIn(b"bough fork?", self.bough("frk", status=2).err)
        self.assertIn(b"bough switch?", self.bough("swtich", status=2).err)
        for name in ("xyz", "turn", "dull"):
            self.assertNotIn(b"did you mean", self.bough(name, status=2).err)

    def test_unknown_options_name_the_nearest(self):
        self.fails(2, "branch", "--nonsense")
        self.fails(2, "--nonsense", "branch")
        self.fails(2, "branch", "-Z")
        self.assertIn(b"--count?", self.bough("branch", "--cuont=3", "x", status=2).err)
        self.fails(2, "-m", "message", "commit")
        self.fails(2, "branch", "--cou", "3", "x")

    def test_values_of_options(self):
        self.fails(2, "branch", "--json=yes")
        self.fails(2, "commit", "-m")
        self.fails(2, "log", "-n")
        for value in ("", "x", "-1", "1x", "nan", "inf", "0x10", " 1", "1e99"):
            self.fails(2, "--timeout", value, "branch")
        self.fails(2, "--store", "", "branch")

    def test_number_of_operands(self):
        few = [["import"], ["export"], ["export", "main"], ["switch"], ["rename"], ["rename", "a"], ["delete"],
               ["protect"], ["unprotect"], ["diff"], ["sql"], ["url"], ["git"], ["init"], ["init", "--empty"]]
        many = [["init", "a", "b"], ["import", "a", "b"], ["export", "a", "b", "c"], ["branch", "a", "b", "c"],
                ["switch", "a", "b"], ["rename", "a", "b", "c"], ["protect", "a", "b"], ["unprotect", "a", "b"],
                ["status", "a", "b"], ["tree", "a"], ["commit", "a", "b"], ["log", "a", "b"], ["tag", "a", "b", "c"],
                ["tag", "-d", "a", "b"], ["tag", "-d"], ["diff", "a", "b", "c"], ["sql", "a", "b", "c"],
                ["url", "a", "b"], ["verify", "a", "b"], ["du", "a"], ["gc", "a"], ["gc", "--undo-days", "x"], ["help", "a", "b"]]
        for words in few + many:
            self.fails(2, *words)

    def test_json_error_wherever_json_stands(self):
        for words in (["--json", "--nope"], ["branch", "--nope", "--json"], ["--json"], ["nonsense", "--json"]):
            result = self.bough(*words, status=2)
            self.assertEqual(json.loads(result.err)["error"]["code"], "usage")
            self.assertEqual(result.out, b"")

    def test_empty_names(self):
        self.make_store()
        before = self.snapshot()
        for words in (["branch", ""], ["branch", "a", ""], ["switch", ""], ["rename", "main", ""], ["delete", ""],
                      ["delete", "main", ""], ["protect", ""], ["status", ""], ["commit", ""], ["log", ""], ["tag", ""],
                      ["tag", "-d", ""], ["diff", ""], ["sql", "", "select 1"], ["url", ""], ["verify", ""],
                      ["export", "", "x.db"], ["export", "main", ""], ["import", ""], ["import", "shop.db", "-b", ""],
                      ["init", ""], ["init", "--empty", ""]):
            self.fails(2, *words)
        self.assertEqual(self.snapshot(), before)


if __name__ == "__main__":
    support.main()
