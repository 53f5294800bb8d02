"""Opens a branch with Python's sqlite3, by its URI and by its plain path.

    /usr/bin/python3 open_branch.py /usr/local/lib/bough.so shop.bough premium
"""
import sqlite3
import sys


def load(extension, entry_point):
    """Registers the VFS. It stays registered when this connection is closed."""
    db = sqlite3.connect(":memory:")
    db.enable_load_extension(True)
    db.execute("SELECT load_extension(?, ?)", (extension, entry_point))
    db.close()


def main(extension, store, branch):
    # For drivers that know URIs: only this path goes through bough.
    load(extension, "sqlite3_bough_init")
    db = sqlite3.connect(f"file:{store}/db/{branch}?vfs=bough", uri=True)
    with db:
        db.execute("CREATE TABLE IF NOT EXISTS note(text TEXT NOT NULL)")
        db.execute("INSERT INTO note VALUES ('written from Python')")
    db.close()

    # For code that takes a file name alone: bough becomes the default VFS. Every other path goes to the system's own.
    load(extension, "sqlite3_boughdefault_init")
    db = sqlite3.connect(f"{store}/db/{branch}")
    print(db.execute("SELECT text FROM note").fetchall())
    db.close()

    # A past state is read-only.
    db = sqlite3.connect(f"file:{store}/db/{branch}?vfs=bough&at={branch}~0", uri=True)
    print(db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'note'").fetchone()[0], "at the last commit")
    db.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
