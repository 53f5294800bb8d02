"""The page of --html in a browser: it says what the JSON says, fits a phone, a desk and paper, and can be read in light
and in dark. Chromium measures; pages stand in frames of many widths, so that it has to start twice only."""
import html
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest

import support

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SKIPPED = 77  # what ctest shows as skipped
WIDTHS = (360, 768, 1280)
PAPER = 718  # A4 at 96 dots an inch, without its margins
EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> \"'& \u202emoc.live"

# Runs in the page. Print is simulated by rules for print that hold on the screen.
MEASURE = r"""
function rgba(text) { const n = text.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; }
function over(top, below) { return [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1); }
function background(element) {
  const layers = [];
  for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
  return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
}
function luminance(c) {
  const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(a, b) {
  const [x, y] = [luminance(a), luminance(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}
function faint() {
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let count = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest('script,style')) continue;
    const ground = background(element), ink = over(rgba(getComputedStyle(element).color), ground);
    count++;
    if (contrast(ink, ground) < 4.5) found.push([walker.currentNode.data.slice(0, 40), contrast(ink, ground)]);
  }
  return {count, found};
}
function all(selector, root) { return [...(root || document).querySelectorAll(selector)]; }
function text(element) { return element.textContent.trim(); }
function bars(root) {
  const rows = [];
  for (let e = root.firstElementChild; e; e = e.nextElementSibling.nextElementSibling.nextElementSibling) {
    const track = e.nextElementSibling, fill = track.firstElementChild;
    rows.push({name: text(e), part: fill ? fill.getBoundingClientRect().width / track.clientWidth : 0,
               kind: fill ? fill.className : '', value: text(track.nextElementSibling), width: track.clientWidth});
  }
  return {title: text(root.closest('.card').querySelector('h3')), rows};
}
function branches(list) {
  return Object.fromEntries([...list.children].map(li => [text(li.querySelector('.node b')),
    {chips: all('.chip', li.querySelector('.node')).map(text),
     below: li.querySelector(':scope > ul') ? branches(li.querySelector(':scope > ul')) : {}}]));
}
addEventListener('load', () => {
  const flags = new URLSearchParams(location.search);
  if (flags.has('print'))
    for (const rule of document.styleSheets[0].cssRules)
      if (rule.media && rule.media.mediaText == 'print') rule.media.mediaText = 'all';
  const scroll = document.querySelector('.scroll');
  parent.postMessage({
    frame: flags.get('frame'), title: document.title, width: document.documentElement.scrollWidth, window: innerWidth,
    table_width: scroll.scrollWidth, table_window: scroll.clientWidth, ground: background(document.body),
    faint: faint(), requests: performance.getEntriesByType('resource').map(e => e.name),
    strangers: all('img,iframe,object,embed,form,base').length + all('script').length - 1,
    heads: all('h2').map(text), tree: branches(document.querySelector('.tree')),
    table: all('table tr').map(row => [...row.children].map(cell => [text(cell), cell.className])),
    bars: all('.bars').map(bars), steps: all('.steps .time').length,
    added: all('.diff .add').map(text), removed: all('.diff .del').map(text),
    worse: all('.plans > div').filter(e => e.querySelector('.chip.bad')).map(e => text(e.querySelector('b'))),
    errors: all('pre.error').map(text), fonts: all('body *').map(e => parseFloat(getComputedStyle(e).fontSize)),
  }, '*');
});
"""
FRAMES = """<!doctype html><html><head><meta charset="utf-8"><meta name="color-scheme" content="light dark"></head><body>
<pre id="results"></pre><script>
const results = [];
addEventListener('message', e => { results.push(e.data); document.getElementById('results').textContent = JSON.stringify(results); });
</script>%s</body></html>"""


def chromium(directory, *words):
    process = subprocess.run([CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                              "--no-first-run", "--disable-extensions", "--enable-logging=stderr", "--window-size=1400,1000",
                              f"--user-data-dir={directory}/profile", *words], cwd=directory, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, timeout=150, env={**os.environ, "HOME": directory, "LD_PRELOAD": ""})
    messages = re.findall(r"^.*:CONSOLE.*$", process.stderr.decode(errors="replace"), re.M)
    assert process.returncode == 0, process.stderr
    return process.stdout.decode(), messages


class Pages(support.Case):
    """All pages are made once."""
    pages, documents, seen, console = {}, {}, {}, []

    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(prefix="bough-page-")
        cls.addClassCleanup(shutil.rmtree, cls.home, ignore_errors=True)
        cls.make_shop()
        cls.make_pages()
        for scheme, setting in (("light", 1), ("dark", 0)):
            cls.look(scheme, setting)

    @classmethod
    def call(cls, *words, status=0):
        process = subprocess.run([support.BOUGH, *words], cwd=cls.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 timeout=120)
        assert process.returncode == status, (words, process.stderr)
        return process.stdout

    @classmethod
    def write(cls, name, text):
        with open(os.path.join(cls.home, name), "w", encoding="utf-8") as file:
            file.write(text)
        return name

    @classmethod
    def make_shop(cls):
        db = sqlite3.connect(os.path.join(cls.home, "shop.db"))
        db.executescript("CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT);"
                         "CREATE TABLE orders(id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users, total REAL);"
                         "CREATE INDEX orders_user ON orders(user_id);"
                         + support.counting(300) + "INSERT INTO users SELECT i, 'user ' || i, i || '@example.com' FROM n;"
                         + support.counting(5000) + "INSERT INTO orders SELECT i, 1 + i % 300, i FROM n;")
        db.close()
        cls.call("init", "shop.db")

    @classmethod
    def make_page(cls, name, *words, status=0):
        cls.documents[name] = json.loads(cls.call(*words, "--html", f"{name}.html", "--json", status=status))
        with open(os.path.join(cls.home, f"{name}.html"), encoding="utf-8") as file:
            cls.pages[name] = file.read()

    @classmethod
    def make_pages(cls):
        query = cls.write("q.sql", "SELECT count(*) FROM orders WHERE user_id = 17;\nSELECT max(total) FROM orders;")
        three = [cls.write("premium.sql", "ALTER TABLE users ADD COLUMN premium INT; UPDATE users SET premium = 1;"
                           "CREATE TABLE benefits(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO benefits VALUES(1, 'a'), (2, 'b');"),
                 cls.write("inventory.sql", "DROP INDEX orders_user; DELETE FROM users WHERE id <= 10;"
                           "ALTER TABLE users RENAME COLUMN email TO mail; UPDATE orders SET total = -1 WHERE id <= 1234;"),
                 cls.write("analytics.sql", "CREATE TABLE views(id INTEGER PRIMARY KEY);\nCREATE INDEX v ON view(id);")]
        cls.make_page("three", "try", *three, "--query", query, status=1)
        long_names = [cls.write(f"a-migration-with-a-name-that-somebody-thought-would-be-helpful-one-day-{i:02}.sql",
                                f"DELETE FROM orders WHERE id <= {i * 100}; CREATE TABLE t{i}(a);") for i in range(12)]
        cls.make_page("twelve", "try", *long_names, "--query", query)
        quoted = EVIL.replace('"', '""')
        hostile = cls.write("hostile.sql", f'CREATE TABLE "{quoted}"(a, "c{quoted}" TEXT, "{"c" * 5000}" INT);'
                            f'INSERT INTO "{quoted}" VALUES(1, 2, 3); CREATE INDEX "{"i" * 300}" ON orders(total);'
                            f"CREATE VIEW \"v{quoted}\" AS SELECT '{'word ' * 2000}', '{'x' * 10000}';"
                            f'SELECT * FROM "missing{quoted}";')
        odd = cls.write("odd.sql", "CREATE TABLE \"שלום עולם 🌳\"(\"مرحبا\" TEXT); CREATE TABLE \"注文\"(a);")
        evil_query = cls.write("e.sql", f"SELECT '{EVIL.replace(chr(39), chr(39) * 2)}', '{'y' * 3000}' FROM orders")
        cls.make_page("hostile", "try", hostile, odd, "--query", evil_query, status=1)
        cls.make_page("none", "try", cls.write("none.sql", "SELECT 1;"))
        for name, parent in (("one", "main"), ("two", "one"), ("three", "two"), ("other", "main")):
            cls.call("branch", name, parent)
        cls.call("sql", "two", "CREATE INDEX more ON users(name)")
        cls.make_page("tree", "compare", "main", "other", "three", "two", "one")

    @classmethod
    def look(cls, scheme, setting):
        frames = []
        for name, page in cls.pages.items():
            cls.write(f"{name}-measured.html", page.replace("</body>", f"<script>{MEASURE}</script></body>"))
            for label, width, more in [(str(width), width, "") for width in WIDTHS] + [("print", PAPER, "&print")]:
                frames.append(f'<iframe width="{width}" height="900" style="border:0" '
                              f'src="{name}-measured.html?frame={name}-{label}{more}"></iframe>')
        cls.write(f"{scheme}.html", FRAMES % "\n".join(frames))
        dom, messages = chromium(cls.home, f"--blink-settings=preferredColorScheme={setting}",
                                 "--virtual-time-budget=20000", "--dump-dom", f"file://{cls.home}/{scheme}.html")
        results = re.search(r'<pre id="results">(.*?)</pre>', dom, re.S)
        for seen in json.loads(html.unescape(results.group(1))):
            cls.seen[scheme, seen.pop("frame")] = seen
        assert len([s for s in cls.seen if s[0] == scheme]) == len(frames), sorted(cls.seen)
        cls.console += messages

    # ---- every page, everywhere ----

    def test_no_frame_is_too_narrow(self):
        for place, seen in self.seen.items():
            with self.subTest(place=place):
                self.assertLessEqual(seen["width"], seen["window"])
                self.assertIn(seen["window"], (*WIDTHS, PAPER))

    def test_all_text_has_contrast(self):
        grounds = {}
        for place, seen in self.seen.items():
            with self.subTest(place=place):
                self.assertGreater(seen["faint"]["count"], 15)
                self.assertEqual(seen["faint"]["found"], [])
                self.assertGreaterEqual(min(seen["fonts"]), 11)
            grounds.setdefault(("print" if place[1].endswith("print") else place[0]), set()).add(tuple(seen["ground"]))
        self.assertEqual(grounds["print"], {(255, 255, 255, 1)}, "paper is white, whatever the screen prefers")
        self.assertGreater(min(map(min, grounds["light"])), 0)
        self.assertGreater(min(g[0] for g in grounds["light"]), 200)
        self.assertLess(max(g[0] for g in grounds["dark"]), 50)

    def test_nothing_runs_and_nothing_is_fetched(self):
        self.assertEqual(self.console, [])
        for place, seen in self.seen.items():
            with self.subTest(place=place):
                self.assertEqual((seen["requests"], seen["strangers"]), ([], 0))
                self.assertRegex(seen["title"], r"^bough (try|compare): main$")

    def test_paper_holds_the_whole_table(self):
        for (scheme, frame), seen in self.seen.items():
            if frame.endswith("print"):
                self.assertLessEqual(seen["table_width"], seen["table_window"], (scheme, frame))

    def test_pdf(self):
        path = os.path.join(self.home, "three.pdf")
        chromium(self.home, "--no-pdf-header-footer", f"--print-to-pdf={path}", f"file://{self.home}/three.html")
        with open(path, "rb") as file:
            pdf = file.read()
        self.assertTrue(pdf.startswith(b"%PDF-"))
        self.assertIn(len(re.findall(rb"/Type\s*/Page\b", pdf)), range(1, 6))

    # ---- what it says ----

    def bars(self, page, title, frame="1280"):
        return next(b["rows"] for b in self.seen["light", f"{page}-{frame}"]["bars"] if b["title"] == title)

    def check_bars(self, page, title, names, numbers):
        for frame in (*map(str, WIDTHS), "print"):
            rows = self.bars(page, title, frame)
            self.assertEqual([row["name"] for row in rows], names)
            for row, number in zip(rows, numbers):
                self.assertGreaterEqual(row["width"], 80, "a bar that is seen")
                expected = number / max(*numbers, 1e-9)
                # A bar that is not empty is 3 pixels wide at least.
                self.assertLessEqual(abs(row["part"] - expected), max(0.005, 3 / row["width"]), (row, expected))
                self.assertEqual(row["part"] > 0, number > 0)

    def test_bars_have_the_length_of_their_number(self):
        for page in ("three", "twelve", "hostile", "none"):
            sides = self.documents[page]["branches"]
            names = [side["name"] for side in sides]
            self.check_bars(page, "Time of the script", names, [side["seconds"] for side in sides])
            self.check_bars(page, "Bytes of its own", names, [side["own_bytes"] for side in sides])
        for page in ("three", "twelve"):
            sides = self.documents[page]["branches"]
            for q in range(2):
                self.check_bars(page, f"Query {q + 1}", ["main"] + [side["name"] for side in sides],
                                [sides[0]["queries"][q]["base_seconds"]] + [side["queries"][q]["seconds"] for side in sides])

    def test_three_scripts(self):
        seen = self.seen["light", "three-1280"]
        self.assertEqual(seen["heads"], ["Branches", "Side by side", "Time and size", "Scripts", "Schema", "Queries"])
        self.assertEqual(seen["tree"], {"main": {"chips": [], "below": {
            "premium": {"chips": [], "below": {}},
            "inventory": {"chips": ["foreign keys", "lost objects", "worse plan"], "below": {}},
            "analytics": {"chips": ["failed"], "below": {}}}}})
        rows = {row[0][0]: [cell[0] for cell in row[1:]] for row in seen["table"]}
        sides = self.documents["three"]["branches"]
        self.assertEqual(rows[""], ["premium", "inventory", "analytics"])
        self.assertEqual(rows["script"], ["ok", "ok", "failed"])
        self.assertEqual(rows["pages changed"], [f"{side['pages_changed']:,}" for side in sides])
        self.assertEqual(rows["integrity"], ["ok"] * 3)
        self.assertEqual(rows["foreign keys"], ["ok", f"{sides[1]['foreign_key_violations']} violated", "ok"])
        self.assertEqual(rows["users"], ["schema only", "−10", "–"])
        self.assertEqual(rows["orders"], ["–", "~1,234", "–"])
        self.assertEqual(rows["benefits"], ["new +2", "–", "–"])
        self.assertEqual(rows["index orders_user"], ["–", "lost", "–"])
        self.assertIn(["lost", "bad"], [cell for row in seen["table"] for cell in row])
        self.assertEqual(seen["worse"], ["inventory"])
        self.assertIn("+ premium INT", [" ".join(line.split()) for line in seen["added"]])
        self.assertIn("− CREATE INDEX orders_user ON orders(user_id)", seen["removed"])
        self.assertTrue(any("no such table: main.view" in error for error in seen["errors"]), seen["errors"])
        self.assertEqual(seen["steps"], 4 + 4 + 2)

    def test_tree_of_branches(self):
        tree = self.seen["light", "tree-360"]["tree"]["main"]["below"]
        self.assertEqual(sorted(tree), ["one", "other"])
        self.assertEqual(list(tree["one"]["below"]["two"]["below"]), ["three"])

    def test_no_difference_is_said(self):
        self.assertIn(["no difference", "none"], [c for row in self.seen["light", "none-360"]["table"] for c in row])
        self.assertNotIn(["no difference", "none"], [c for row in self.seen["light", "three-360"]["table"] for c in row])

    def test_hostile_names_are_shown_as_they_are(self):
        shown = EVIL.replace("\u202e", "\ufffd")
        cells = [cell[0] for row in self.seen["dark", "hostile-360"]["table"] for cell in row]
        for name in (shown, "view v" + shown, "שלום עולם 🌳", "注文"):
            self.assertIn(name, cells)
        self.assertNotIn("\u202e", self.pages["hostile"])


if __name__ == "__main__":
    if not CHROMIUM:
        print("skipped: no chromium; sh scripts/setup.sh browser installs it")
        sys.exit(SKIPPED)
    unittest.main()
