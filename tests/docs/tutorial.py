"""The guide docs/guides/try-migrations.md on a shop of N orders (a million): every command with its time and what it
prints. What the guide says has to come, with the numbers that a larger shop has.

tutorial.py [N]; N is a multiple of 10,000, which the guide's own shop has."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import test_guides

OWN_ROWS = 10000
# What grows with the shop: its seed, and numbers in the outputs of the guide.
SEED = ((r"i < 10000\)", "i < {})", 10000), (r"i < 1000\)", "i < {})", 1000), (r"i % 1000,", "i % {},", 1000))
OUTPUT = ((r"\b200 VIOLATED", "{:,} VIOLATED", 200), (r"\b990 removed", "{} removed", 990), (r"^1000$", "{}", 1000),
          (r"^10$", "{}", 10))


def grow(text, changes, factor, must):
    for pattern, form, number in changes:
        text, count = re.subn(pattern, form.format(number * factor), text, flags=re.M)
        assert count or not must, f"the guide has changed: {pattern}"
    return text


def squeeze(lines):
    """Columns are as wide as their numbers."""
    return [re.sub(r" +", " ", line).strip() for line in lines]


def perform(step, directory, env):
    command = step.command.replace("build/release/lib/bough.so", test_guides.SO)
    began = time.monotonic()
    done = subprocess.run(["bash", "-c", command], cwd=directory, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode().replace(directory, "/srv")
    return done.returncode, [line.rstrip() for line in text.splitlines()], time.monotonic() - began


def main(rows):
    factor = rows // OWN_ROWS
    assert factor and rows % OWN_ROWS == 0, f"{rows} is no multiple of {OWN_ROWS}"
    with open(os.path.join(test_guides.GUIDES, "try-migrations.md"), encoding="utf-8") as file:
        guide = file.read()
    directory = os.path.realpath(tempfile.mkdtemp(prefix="bough-tutorial-"))
    wrong = total = 0
    try:
        env = test_guides.environment(directory)
        work = os.path.join(directory, "srv")
        os.mkdir(work)
        for step in test_guides.steps_of(guide):
            is_seed = step.output is None and "seed.sql" in step.command
            if is_seed:
                step.command = grow(step.command, SEED, factor, True)
            status, printed, seconds = perform(step, work, env)
            total += seconds
            expected = step.output
            if expected is not None:
                expected = squeeze(grow("\n".join(expected), OUTPUT, factor, False).split("\n")) if expected else []
                print(f"{seconds:8.3f} s  $ {step.command}")
                print("".join(f"              {line}\n" for line in printed), end="")
            if status != step.status or (expected is not None and not test_guides.matches(expected, squeeze(printed))):
                wrong += 1
                print(f"NOT what the guide says (line {step.line}; exits with {status}):")
                print("".join(f"              {line}\n" for line in expected or []), end="")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{total:8.3f} s  in all, {rows:,} orders; {wrong or 'no'} difference{'' if wrong == 1 else 's'} to the guide")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000000))
