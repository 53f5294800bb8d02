"""The documents against the code: what one of them names, the other has."""
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

BOUGH = os.environ["BOUGH"]
SOURCE = os.environ["BOUGH_SOURCE"]
FOLDERS = ["include", "engine", "vfs", "compare", "migrate", "cli", "tools", "bench", "tests", "docs"]


def read(name):
    with open(os.path.join(SOURCE, name), encoding="utf-8") as file:
        return file.read()


def documents():
    """Every Markdown file of the tree."""
    found = [name for name in os.listdir(SOURCE) if name.endswith(".md")]
    for folder in FOLDERS:
        for path, _, names in os.walk(os.path.join(SOURCE, folder)):
            found += [os.path.relpath(os.path.join(path, name), SOURCE) for name in names if name.endswith(".md")]
    return sorted(found)


def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


class Interface(unittest.TestCase):
    def test_every_public_name_is_in_api_md_and_the_other_way_round(self):
        header = without_comments(read("include/bough.h") + read("include/bough_migrate.h"))
        functions = set(re.findall(r"BOUGH_EXPORT [^;(]*?\b(bough_\w+)\(", header))
        types = set(re.findall(r"^} (bough_\w+);", header, re.M)) | set(re.findall(r"^typedef struct \w+ (\w+);", header, re.M))
        types |= set(re.findall(r"^typedef (?:int|void) (\w+)\(", header, re.M)) | set(re.findall(r"^enum (\w+)", header, re.M))
        macros = set(re.findall(r"^#define (BOUGH_\w+)", header, re.M)) - {"BOUGH_H", "BOUGH_EXPORT", "BOUGH_MIGRATE_H"}
        codes = set(re.findall(r"X\((BOUGH_\w+), -?\d+", header))
        self.assertGreater(len(functions), 35)
        self.assertGreater(len(types), 15)
        self.assertEqual(len(codes), 14)
        constants = {name for body in re.findall(r"^enum bough_(?!code)\w+ \{(.*?)^};", header, re.M | re.S)
                     for name in re.findall(r"^    (BOUGH_\w+)", body, re.M)}
        public = functions | types | macros | codes | constants
        named = set(re.findall(r"\b(?:bough|BOUGH)_\w+", read("docs/api.md")))
        self.assertEqual(public - named, set(), "not in docs/api.md")
        self.assertEqual({n for n in named if n.startswith("bough_")} - public, set(), "not in the headers")

    def test_values_of_codes(self):
        pairs = re.findall(r"X\((BOUGH_\w+), (-?\d+)", read("include/bough.h"))
        table = re.findall(r"^\| `(BOUGH_\w+)` \| (-?\d+) \|", read("docs/api.md"), re.M)
        self.assertEqual(pairs, table)

    def test_fields_of_public_structs(self):
        text = read("docs/api.md")
        header = without_comments(read("include/bough.h") + read("include/bough_migrate.h"))
        for body, name in re.findall(r"^typedef struct \w+ \{(.*?)^} (bough_\w+);", header, re.M | re.S):
            for line in body.split(";"):
                for field in re.findall(r"\(\*(\w+)\)|(\w+)(?:\[\w+\])?(?=\s*(?:,|$))", line.strip()):
                    with self.subTest(struct=name, field=field):
                        self.assertIn(f"`{''.join(field)}`", text)


class CommandLine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = read("docs/cli.md")
        done = subprocess.run([BOUGH, "help", "--json"], capture_output=True, text=True, check=True)
        cls.commands = {command["name"]: command for command in json.loads(done.stdout)}
        parts = re.split(r"^### `(\w+)`\n", cls.text, flags=re.M)
        cls.sections = {name: re.split(r"^#", text, flags=re.M)[0] for name, text in zip(parts[1::2], parts[2::2])}

    def test_every_command_has_a_section_and_the_other_way_round(self):
        self.assertEqual(sorted(self.sections), sorted(self.commands))
        overview = subprocess.run([BOUGH, "help"], capture_output=True, text=True, check=True).stdout
        for name in self.sections:
            self.assertRegex(overview, rf"(?m)^  {name} ")

    def test_groups(self):
        groups = list(dict.fromkeys(command["group"] for command in self.commands.values()))
        self.assertEqual([g for g in re.findall(r"^## (.*)", self.text, re.M) if g in groups], groups)

    def test_options_and_aliases(self):
        for name, command in self.commands.items():
            section = self.sections[name]
            with self.subTest(name):
                named = set(re.findall(r"`--([a-z-]+)", "\n".join(re.findall(r"^\| `.*?\|", section, re.M))))
                self.assertEqual(named, {option["name"] for option in command["options"]})
                for option in command["options"]:
                    if option["letter"]:
                        self.assertIn(f"`-{option['letter']}`, `--{option['name']}", section)
                for alias in command["aliases"].split():
                    self.assertRegex(section, rf"Alias(es)?: .*`{alias}`")
                for usage in command["usage"]:
                    self.assertIn(f"\n    {usage}\n", section)

    def test_global_options(self):
        help_text = subprocess.run([BOUGH, "help"], capture_output=True, text=True, check=True).stdout
        listed = re.findall(r"--([a-z-]+)", help_text.split("Options of every command")[1].split("Environment")[0])
        table = self.text.split("## Options of every command")[1].split("\n## ")[0]
        self.assertEqual(set(re.findall(r"`--([a-z-]+)", "\n".join(re.findall(r"^\| `.*?\|", table, re.M)))), set(listed))
        for variable in re.findall(r"BOUGH_[A-Z]+", help_text.split("\nEnvironment\n")[1]):
            self.assertIn(f"| `{variable}` |", self.text)

    def test_exit_statuses(self):
        table = re.findall(r'X\(EXIT_\w+, (\d+), "(\w*)", "([^"]*)"\)', read("cli/exit.h"))
        rows = re.findall(r"^\| (\d+) \| (?:`(\w+)`)? ?\| (.*) \|$", self.text, re.M)
        self.assertGreater(len(table), 8)
        self.assertEqual(table, rows)

    def test_readme_lists_the_commands(self):
        listed = set(re.findall(r"`(\w+)`", read("README.md").split("## Commands")[1].split("Every command")[0]))
        self.assertEqual(listed | {"help"}, set(self.commands))

    def test_json_keys(self):
        """Every key that a command prints is named in its section, or in the object that it refers to."""
        directory = os.path.realpath(tempfile.mkdtemp(prefix="bough-docs-"))
        self.addCleanup(shutil.rmtree, directory)
        db = sqlite3.connect(os.path.join(directory, "shop.db"))
        db.execute("CREATE TABLE t(a)")
        db.execute("CREATE TABLE schema_migrations(version)")
        db.commit()
        db.close()
        for name, sql in (("a.sql", "CREATE TABLE v(a)"), ("queries.sql", "SELECT * FROM t")):
            with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                file.write(sql)
        general = self.text.split("\n## JSON\n")[1].split("\n## ")[0]
        runs = [("init", "shop.db"), ("branch", "premium"), ("sql", "premium", "CREATE TABLE u(a)"), ("status", "premium"),
                ("diff", "main", "premium"), ("compare", "main", "premium", "--query", "queries.sql"),
                ("try", "a.sql", "--query", "queries.sql"), ("commit", "premium"), ("promote", "premium"),
                ("reset", "main", "--to", "main~1"), ("log", "premium"), ("tag", "v1", "premium"), ("tree",),
                ("export", "premium", "out.db"), ("import", "out.db", "-b", "main"), ("du",), ("gc",), ("verify",),
                ("url", "v1"),
                ("switch", "premium"), ("rename", "premium", "gold"), ("protect", "main"), ("unprotect", "main"),
                ("delete", "gold")]
        os.mkdir(os.path.join(directory, "migrations"))
        with open(os.path.join(directory, "migrations", "1_users.sql"), "w", encoding="utf-8") as file:
            file.write("CREATE TABLE users(a)")
        runs += [("migrate", "sync", "--db", "shop.db"), ("migrate", "status", "--db", "shop.db"),
                 ("migrate", "repair", "1", "--db", "shop.db"), ("migrate", "new", "posts"), ("migrate", "check", "--db", "shop.db"), ("migrate", "dump", "--db", "shop.db"),
                 ("migrate", "adopt", "--db", "shop.db", "--from", "dbmate")]
        runs += [("git", "status")]
        subprocess.run(["git", "init", "-q", directory], check=True)
        # What `run` prints is the program's.
        self.assertEqual({run[0] for run in runs} | {"help", "run"}, set(self.commands))
        for run in runs:
            done = subprocess.run([BOUGH, *run, "--json"], cwd=directory, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            section = self.sections[run[0]]
            section += self.sections["compare"] if run[0] == "try" else ""
            text = section + (general if re.search("(branch|transfer) object", section) else "")
            for key in keys_of(json.loads(done.stdout)):
                with self.subTest(run[0], key=key):
                    self.assertIn(f"`{key}`", text)


def keys_of(value):
    if isinstance(value, list):
        return set().union(*map(keys_of, value)) if value else set()
    if isinstance(value, dict):
        return set(value).union(*map(keys_of, value.values()))
    return set()


class Tree(unittest.TestCase):
    def test_every_file_of_engine_vfs_and_migrate_is_in_architecture_md_and_the_other_way_round(self):
        text = read("docs/architecture.md")
        for folder, title in (("engine", "## The engine, file by file"), ("vfs", "## The VFS, file by file"),
                              ("migrate", "## Migrating, file by file")):
            files = {name for name in os.listdir(os.path.join(SOURCE, folder)) if name.endswith((".c", ".h"))}
            section = text.split(title)[1].split("\n## ")[0]
            first_cells = "\n".join(re.findall(r"^\| (`.*?) \|", section, re.M))
            self.assertEqual(set(re.findall(r"`(\w+\.[ch])`", first_cells)), files, folder)

    def test_every_source_folder_says_what_it_is(self):
        for folder in ("engine", "vfs", "compare", "migrate", "cli", "tools", "bench"):
            self.assertIn("must not know", read(f"{folder}/README.md"), folder)
        self.assertTrue(read("tests/README.md"))

    def test_links_resolve(self):
        count = 0
        for name in documents():
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", read(name)):
                if re.match(r"[a-z]+:", target):
                    continue
                count += 1
                with self.subTest(name, target=target):
                    self.assertTrue(os.path.exists(os.path.join(SOURCE, os.path.dirname(name), target)))
        self.assertGreater(count, 20)

    def test_every_document_is_in_the_index(self):
        index = read("docs/README.md")
        for name in os.listdir(os.path.join(SOURCE, "docs")):
            if name.endswith(".md") and name != "README.md":
                self.assertIn(f"]({name})", index)

    def test_names_of_functions_and_files_exist(self):
        """A function or file of the engine or the VFS that a document names is there."""
        code = "".join(read(os.path.join(folder, name)) for folder in ("engine", "vfs", "compare", "migrate", "include")
                       for name in sorted(os.listdir(os.path.join(SOURCE, folder))) if name.endswith((".c", ".h")))
        functions = set(re.findall(r"\bbough__\w+", code)) | {"bough__module_verb"}
        for name in documents():
            text = read(name)
            for function in re.findall(r"`(bough__\w+)", text):
                with self.subTest(name, function=function):
                    self.assertTrue(function in functions, "is not in the code")
            for path in re.findall(r"\b((?:engine|vfs|cli|compare|migrate|tools|scripts)/[\w-]+\.(?:c|h|sh|py))\b", text):
                with self.subTest(name, path=path):
                    self.assertTrue(os.path.exists(os.path.join(SOURCE, path)))


class Format(unittest.TestCase):
    """Numbers in docs/format.md that the code has as constants."""

    def test_versions(self):
        found = re.search(r"Format versions: store (\d+), layer (\d+), nodes (\d+), catalog (\d+)", read("docs/format.md"))
        code = [(r"BOUGH__FORMAT_VERSION +(\d+)", "engine/space.h"), (r"BOUGH__LAYER_VERSION +(\d+)", "engine/layer_file.h"),
                (r"FORMAT_VERSION +(\d+)", "engine/nodes.c"), (r"SCHEMA_VERSION +(\d+)", "engine/catalog.c")]
        self.assertEqual(list(found.groups()), [re.search(pattern, read(name))[1] for pattern, name in code])

    def test_columns_of_the_catalog(self):
        text = read("docs/format.md")
        schema = re.search(r"schema_sql\[\] =(.*?);\n\n", read("engine/catalog.c"), re.S)[1].replace('"', "")
        tables = re.findall(r"CREATE TABLE catalog\.(\w+)\((.*?)\)[^,]*?;", schema, re.S)
        self.assertEqual(len(tables), 5)
        for table, columns in tables:
            names = re.findall(r"(?:^|,)\s*(\w+) ", " ".join(columns.split()))
            row = re.search(rf"^\| `{table}` \| (.*) \|$", text, re.M)[1]
            self.assertEqual(re.findall(r"`(\w+)`", row), names)

    def test_tables_have_no_holes(self):
        """In each table of bytes an entry begins where the one before ended or later, never earlier."""
        tables = re.findall(r"^\| offset \| length \| \|\n\| --- \| --- \| --- \|\n((?:\|.*\|\n)+)", read("docs/format.md"), re.M)
        self.assertGreater(len(tables), 7)
        for table in tables:
            end = 0
            for offset, length in re.findall(r"^\| (\d+) \| (\d*)", table, re.M):
                self.assertGreaterEqual(int(offset), end, table)
                end = int(offset) + int(length or 0)


if __name__ == "__main__":
    unittest.main()
