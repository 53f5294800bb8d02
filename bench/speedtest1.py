#!/usr/bin/env python3
"""SQLite's own speedtest1 on stock SQLite and on a branch, in turn within every round.

    python3 bench/speedtest1.py [--size 50] [--rounds 5] [--dir DIR] [--build build/release] [--json] [speedtest1.c]

Prints medians and ratios, and whether they are within 1.1 times those of the design's prototype; exits with 1 when one is
not, with 3 when nothing can be measured. Without speedtest1.c it takes the one of SQLite's Debian source package, which
it fetches into a temporary directory.
"""
import argparse
import glob
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# journal mode, synchronous=NORMAL, on a branch
VARIANTS = {
    "DELETE/FULL": ("delete", False, False),
    "WAL/FULL": ("wal", False, False),
    "WAL/NORMAL": ("wal", True, False),
    "bough FULL": ("delete", False, True),
    "bough NORMAL": ("delete", True, True),
}
# What the prototype had, and what is allowed beyond it.
TARGETS = [("bough FULL", "DELETE/FULL", 0.71), ("bough FULL", "WAL/FULL", 0.84), ("bough NORMAL", "WAL/NORMAL", 0.84)]
ALLOWED = 1.1


def give_up(text):
    print(f"speedtest1: {text}", file=sys.stderr)
    sys.exit(3)


def run(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, **options)
    if done.returncode != 0:
        give_up(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def fetch_source(work):
    """The system's sources seldom list source packages, so apt gets a list of its own."""
    lines = set()
    for line in run("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)",
                    "Created-By: Packages").splitlines():
        uri, release, component, origin = line.split(" ", 3)
        if origin == "Debian":
            lines.add(f"deb-src {uri} {release} {component}\n")
    listed = os.path.join(work, "sources.list")
    with open(listed, "w", encoding="utf-8") as file:
        file.writelines(sorted(lines))
    os.makedirs(os.path.join(work, "lists", "partial"))
    os.makedirs(os.path.join(work, "empty"))
    apt = ["apt-get", "-q", "-o", f"Dir::Etc::sourcelist={listed}", "-o", f"Dir::Etc::sourceparts={work}/empty",
           "-o", f"Dir::State::lists={work}/lists"]
    run(*apt, "update")
    run(*apt, "source", "--download-only", "sqlite3", cwd=work)
    archive = next(iter(glob.glob(os.path.join(work, "sqlite3_*.orig.tar.*"))), None)
    if archive is None:
        give_up("the source package has no archive")
    run("tar", "xf", archive, "-C", work, "--wildcards", "*/test/speedtest1.c")
    return glob.glob(os.path.join(work, "*", "test", "speedtest1.c"))[0]


def build(work, source, where):
    program = os.path.join(work, "speedtest1")
    run("cc", "-O2", "-I", os.path.join(ROOT, "include"), "-o", program, source, os.path.join(ROOT, "bench", "speedtest1_shim.c"),
        os.path.join(where, "lib", "libbough.a"), "-lsqlite3", "-lcrypto", "-lxxhash", "-luuid", "-lpthread", "-lm")
    return program


def measure(program, bough, directory, size, variant):
    """Seconds by the clock and of the processor."""
    journal, is_normal, is_branch = VARIANTS[variant]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SPEEDTEST1_")}
    with tempfile.TemporaryDirectory(dir=directory) as place:
        path = os.path.join(place, "x.db")
        if is_normal:
            environment["SPEEDTEST1_NORMAL"] = "1"
        if is_branch:
            environment["SPEEDTEST1_BOUGH"] = "1"
            run(bough, "init", "--empty", os.path.join(place, "x.bough"))
            path = os.path.join(place, "x.bough", "db", "main")
        words = [program, "--size", str(size)] + (["--journal", "wal"] if journal == "wal" else []) + [path]
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        run(*words, env=environment)
        end, after = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        return end - begin, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", default=os.environ.get("TMPDIR", "/tmp"))
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("source", nargs="?")
    asked = parser.parse_args()
    bough = os.path.join(asked.build, "bin", "bough")
    if not os.path.exists(bough):
        give_up(f"{bough} is not there: build the release preset first")
    with tempfile.TemporaryDirectory(dir=asked.dir) as work:
        program = build(work, asked.source or fetch_source(work), asked.build)
        samples = {variant: [] for variant in VARIANTS}
        for turn in range(asked.rounds):
            order = list(VARIANTS)[turn % len(VARIANTS):] + list(VARIANTS)[:turn % len(VARIANTS)]
            for variant in order:
                samples[variant].append(measure(program, bough, work, asked.size, variant))
    medians = {variant: [statistics.median(column) for column in zip(*taken)] for variant, taken in samples.items()}
    ratios = [{"ratio": f"{a} / {b}", "measured": medians[a][0] / medians[b][0], "of_processor_time":
               medians[a][1] / medians[b][1], "at_most": limit * ALLOWED} for a, b, limit in TARGETS]
    if asked.json:
        print(json.dumps({"size": asked.size, "rounds": asked.rounds, "seconds": medians, "targets": ratios}))
    else:
        print(f"speedtest1 --size {asked.size}, medians of {asked.rounds}          seconds  of the processor")
        for variant, (wall, cpu) in medians.items():
            print(f"  {variant:<45}{wall:>9.2f}{cpu:>9.2f}")
        for row in ratios:
            verdict = "yes" if row["measured"] <= row["at_most"] else "NO"
            print(f"  {row['ratio']:<45}{row['measured']:>9.3f}{row['of_processor_time']:>9.3f}"
                  f"   at most {row['at_most']:.3f}: {verdict}")
    sys.exit(any(row["measured"] > row["at_most"] for row in ratios))


if __name__ == "__main__":
    main()
