"""The guides in docs/guides, done as their readers would do them: every guide in a directory of its own, from its first
line to its last, in one shell.

In a guide:
  ```console        commands after `$ `, continued after `> `, each followed by what it prints (both streams, in the
                    order of writing). It exits with 0, or with N where the command ends in `# exits with N`.
  ```sh             a script; it exits with 0, and what it prints does not matter.
  ```LANGUAGE FILE  the content of FILE, which is written before what follows.
Other blocks are not executed. In the output of a guide
  `...` alone on a line stands for any number of lines, and within a line for any text;
  12 hexadecimal digits stand for any 12, `N.N s`, `N.N ms` and the like for any time;
  /srv is the directory in which the guide began, build/release/lib/bough.so the extension.
A guide must name every output that it has; white space at the ends of lines does not count."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

BOUGH = os.environ["BOUGH"]
SO = os.environ["BOUGH_SO"]
GUIDES = os.path.join(os.environ["BOUGH_SOURCE"], "docs", "guides")
MARK = "\x1e"
LIMIT = 300  # seconds for a guide; it hangs if it takes that long


class Step:
    """A command, the status it ends with, and its output; None where that does not matter."""
    def __init__(self, line, command, output):
        found = re.search(r"# exits with (\d+)$", command)
        self.line, self.command, self.output = line, command, output
        self.status = int(found[1]) if found else 0


def steps_of_console(line, text):
    steps = []
    for number, part in enumerate(text.split("\n"), line):
        if part.startswith("$ "):
            steps.append(Step(number, part[2:], []))
        elif not steps:
            raise AssertionError(f"line {number}: output before the first command")
        elif part.startswith("> ") and not steps[-1].output:
            steps[-1] = Step(steps[-1].line, steps[-1].command + "\n" + part[2:], [])
        else:
            steps[-1].output.append(part.rstrip())
    return steps


def steps_of(text):
    """The steps of a guide in order."""
    steps = []
    for found in re.finditer(r"^```(\w+)(?: +(\S+))?\n(.*?)\n?^```$", text, re.M | re.S):
        language, file, body = found.groups()
        line = text.count("\n", 0, found.start()) + 2
        if file:
            folder = os.path.dirname(file)
            steps.append(Step(line, f"mkdir -p ./{folder} && cat >{file} <<'END OF FILE'\n{body}\nEND OF FILE", None))
        elif language == "console":
            steps += steps_of_console(line, body)
        elif language == "sh":
            steps.append(Step(line, body, None))
    return steps


def pattern_of(lines):
    """A regular expression for the whole output."""
    pattern = ""
    for line in lines:
        if line == "...":
            pattern += r"(?:.*\n)*?"
            continue
        line = re.escape(line).replace(r"\.\.\.", ".*")
        line = re.sub(r"(?<![0-9a-z])[0-9a-f]{12}(?![0-9a-z])", "[0-9a-f]{12}", line)
        line = re.sub(r"\d+(?:\\\.\d+)?(?:\\? )?(?:m?s|us)(?!\w)", r"\\d+(?:\\.\\d+)? ?(?:us|ms|s)", line)
        pattern += line + "\n"
    return pattern


def matches(lines, printed):
    return re.fullmatch(pattern_of(lines), "".join(line + "\n" for line in printed)) is not None


def environment(directory):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("BOUGH", "GIT_"))}
    home = os.path.join(directory, "home")
    os.mkdir(home)
    env.update({"HOME": home, "PATH": ":".join([os.path.dirname(BOUGH), "/usr/bin", os.environ["PATH"]]),
                "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "You", "GIT_AUTHOR_EMAIL": "you@example.com",
                "GIT_COMMITTER_NAME": "You", "GIT_COMMITTER_EMAIL": "you@example.com", "GIT_EDITOR": "true",
                "GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "init.defaultBranch", "GIT_CONFIG_VALUE_0": "main",
                "GIT_CONFIG_KEY_1": "advice.detachedHead", "GIT_CONFIG_VALUE_1": "false",
                "LC_ALL": "C.UTF-8", "TZ": "UTC", "COLUMNS": "100", "PYTHONDONTWRITEBYTECODE": "1"})
    return env


def perform(steps, directory, env):
    """Runs the steps in one shell; for each of them its status and the lines that it printed."""
    script = "exec 2>&1 </dev/null\n"
    for step in steps:
        script += f"{{\n{step.command}\n}}\nprintf '{MARK}%d{MARK}' $?\n"
    done = subprocess.run(["bash", "-c", script.replace("build/release/lib/bough.so", SO)], cwd=directory, env=env,
                          stdout=subprocess.PIPE, timeout=LIMIT)
    parts = done.stdout.decode().replace(directory, "/srv").split(MARK)
    results = [(int(status), [line.rstrip() for line in printed.split("\n")]) for printed, status in zip(parts[::2], parts[1::2])]
    return [(status, lines[:-1] if lines[-1] == "" else lines) for status, lines in results]


class Guides(unittest.TestCase):
    def play(self, name):
        with open(os.path.join(GUIDES, name), encoding="utf-8") as file:
            steps = steps_of(file.read())
        directory = os.path.realpath(tempfile.mkdtemp(prefix="bough-guide-"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        env = environment(directory)
        work = os.path.join(directory, "srv")
        os.mkdir(work)
        results = perform(steps, work, env)
        for step, (status, printed) in zip(steps, results):
            place = f"{name}, line {step.line}: {step.command}"
            self.assertEqual(status, step.status, f"{place}\n" + "\n".join(printed))
            if step.output is not None and not matches([line for line in step.output], printed):
                self.fail(f"{place}\n--- the guide says\n" + "\n".join(step.output) + "\n--- it prints\n" + "\n".join(printed))
        self.assertEqual(len(results), len(steps), f"{name}: ends early")
        return len(steps)

    def test_guides(self):
        names = sorted(name for name in os.listdir(GUIDES) if name.endswith(".md"))
        executed = 0
        for name in names:
            with self.subTest(name):
                executed += self.play(name)
        self.assertGreater(executed, 20)

    def test_the_index_has_every_guide(self):
        with open(os.path.join(GUIDES, "README.md"), encoding="utf-8") as file:
            index = file.read()
        for name in os.listdir(GUIDES):
            if name.endswith(".md") and name != "README.md":
                self.assertIn(f"]({name})", index)


class Harness(unittest.TestCase):
    """What plays the guides notices when one is wrong."""

    def test_steps(self):
        text = "```sh\na=1\n```\n\n```console\n$ echo $a\n1\n$ cat <<X\n> y\n> X\ny\n$ false # exits with 1\n```\n```sql a/b.sql\nSELECT 1;\n```\n"
        steps = steps_of(text)
        self.assertEqual([step.command for step in steps][:4], ["a=1", "echo $a", "cat <<X\ny\nX", "false # exits with 1"])
        self.assertEqual([step.output for step in steps], [None, ["1"], ["y"], [], None])
        self.assertEqual([step.status for step in steps], [0, 0, 0, 1, 0])
        directory = os.path.realpath(tempfile.mkdtemp(prefix="bough-guide-"))
        self.addCleanup(shutil.rmtree, directory)
        results = perform(steps, directory, dict(os.environ))
        self.assertEqual(results, [(0, []), (0, ["1"]), (0, ["y"]), (1, []), (0, [])])
        with open(os.path.join(directory, "a", "b.sql")) as file:
            self.assertEqual(file.read(), "SELECT 1;\n")

    def test_matching(self):
        self.assertTrue(matches(["a", "..."], ["a"]))
        self.assertTrue(matches(["...", "z"], ["a", "b", "z"]))
        self.assertTrue(matches(["at 0123456789ab in 1.5 ms"], ["at fedcba987654 in 12 s"]))
        self.assertTrue(matches(["x ... y"], ["x anything y"]))
        for lines, printed in ((["a"], []), ([], ["a"]), (["a"], ["a", "b"]), (["1 row"], ["2 row"]), (["a.b"], ["axb"]),
                               (["at 0123456789ab"], ["at 0123456789a"]), (["...", "z"], ["z", "a"])):
            self.assertFalse(matches(lines, printed), (lines, printed))


if __name__ == "__main__":
    unittest.main()
