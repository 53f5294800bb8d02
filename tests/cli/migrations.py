"""Twenty migrations of a small shop, and directories of them in each convention."""
import os

# version, name, up, down. Tables, columns, a rebuilt table, triggers, views, indexes, changes of rows.
SHOP = [
    ("20250101000000", "users", "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL);\n"
     "INSERT INTO users(name) VALUES ('Alice'), ('Bob; the second'), ('Carol -- c');", "DROP TABLE users;"),
    ("20250102000000", "orders", "CREATE TABLE orders(id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id) "
     "ON DELETE CASCADE, total REAL NOT NULL DEFAULT 0);\nINSERT INTO orders(user_id, total) VALUES (1, 10), (1, 5), (2, 7);",
     "DROP TABLE orders;"),
    ("20250103000000", "orders_by_user", "CREATE INDEX orders_user ON orders(user_id);", "DROP INDEX orders_user;"),
    ("20250104000000", "email", "ALTER TABLE users ADD COLUMN email TEXT;", "ALTER TABLE users DROP COLUMN email;"),
    ("20250105000000", "fill_email", "UPDATE users SET email = lower(substr(name, 1, 3)) || '@example.org';",
     "UPDATE users SET email = NULL;"),
    ("20250106000000", "audit", "CREATE TABLE audit(id INTEGER PRIMARY KEY, what TEXT);", "DROP TABLE audit;"),
    ("20250107000000", "audit_trigger", "CREATE TRIGGER users_audit AFTER UPDATE OF name ON users BEGIN\n"
     "  INSERT INTO audit(what) VALUES (old.name || ' -> ' || new.name);\n"
     "  UPDATE users SET email = CASE WHEN new.email IS NULL THEN '' ELSE new.email END WHERE id = new.id;\nEND;",
     "DROP TRIGGER users_audit;"),
    ("20250108000000", "rename_bob", "UPDATE users SET name = 'Robert' WHERE name LIKE 'Bob%';",
     "UPDATE users SET name = 'Bob; the second' WHERE name = 'Robert';\nDELETE FROM audit;"),
    ("20250109000000", "big_orders", "CREATE VIEW big_orders AS SELECT * FROM orders WHERE total > 6;", "DROP VIEW big_orders;"),
    ("20250110000000", "products", "CREATE TABLE products(sku TEXT PRIMARY KEY, price INTEGER CHECK (price >= 0)) WITHOUT ROWID;\n"
     "INSERT INTO products VALUES ('a;b', 1), ('c''d', 2);", "DROP TABLE products;"),
    # A column gets another type: the documented twelve steps, which need foreign_keys to be off.
    ("20250111000000", "rebuild_users", "CREATE TABLE users_new(id INTEGER PRIMARY KEY, name TEXT NOT NULL COLLATE NOCASE, email TEXT);\n"
     "INSERT INTO users_new SELECT id, name, email FROM users;\nDROP TABLE users;\nALTER TABLE users_new RENAME TO users;",
     "CREATE TABLE users_old(id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT);\n"
     "INSERT INTO users_old SELECT id, name, email FROM users;\nDROP TABLE users;\nALTER TABLE users_old RENAME TO users;\n"
     "CREATE TRIGGER users_audit AFTER UPDATE OF name ON users BEGIN\n"
     "  INSERT INTO audit(what) VALUES (old.name || ' -> ' || new.name);\n"
     "  UPDATE users SET email = CASE WHEN new.email IS NULL THEN '' ELSE new.email END WHERE id = new.id;\nEND;"),
    ("20250112000000", "unique_name", "CREATE UNIQUE INDEX users_name ON users(name);", "DROP INDEX users_name;"),
    ("20250113000000", "items", "CREATE TABLE items(order_id INTEGER REFERENCES orders(id), sku TEXT REFERENCES products(sku), n INTEGER);\n"
     "INSERT INTO items SELECT id, 'a;b', 1 FROM orders;", "DROP TABLE items;"),
    ("20250114000000", "items_trigger", "CREATE TRIGGER items_total AFTER INSERT ON items BEGIN\n"
     "  UPDATE orders SET total = total + 1 WHERE id = new.order_id;\nEND;", "DROP TRIGGER items_total;"),
    ("20250115000000", "more_items", "INSERT INTO items VALUES (1, 'c''d', 2), (3, 'c''d', 1);",
     "DELETE FROM items WHERE sku = 'c''d';\nUPDATE orders SET total = total - 1 WHERE id IN (1, 3);"),
    ("20250116000000", "rename_column", "ALTER TABLE orders RENAME COLUMN total TO amount;",
     "ALTER TABLE orders RENAME COLUMN amount TO total;"),
    ("20250117000000", "rename_table", "ALTER TABLE audit RENAME TO journal;", "ALTER TABLE journal RENAME TO audit;"),
    ("20250118000000", "search", "CREATE VIRTUAL TABLE search USING fts5(name);\nINSERT INTO search SELECT name FROM users;",
     "DROP TABLE search;"),
    ("20250119000000", "views", "CREATE VIEW names AS SELECT name AS \"the name\" FROM users; /* two; at once */\n"
     "CREATE VIEW twice AS SELECT amount * 2 AS d FROM orders", "DROP VIEW twice;\nDROP VIEW names"),
    ("20250120000000", "note", "CREATE TABLE note(text);\nINSERT INTO note VALUES ('-- migrate is no directive here; nor is this');",
     "DROP TABLE note;"),
    ("20250121000000", "partial", "CREATE INDEX orders_big ON orders(amount) WHERE amount > 6;", "DROP INDEX orders_big;"),
]


def write(folder, name, text, newline="\n"):
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text.replace("\n", newline))
    return path


def dbmate(folder, migrations, newline="\n", name="{}_{}.sql"):
    for version, title, up, down in migrations:
        write(folder, name.format(version, title), f"-- migrate:up\n{up}\n\n-- migrate:down\n{down}\n", newline)


def goose(folder, migrations):
    for version, title, up, down in migrations:
        marked = [f"-- +goose StatementBegin\n{text}\n-- +goose StatementEnd" if "TRIGGER" in text else text
                  for text in (up, down)]
        write(folder, f"{version}_{title}.sql", f"-- +goose Up\n{marked[0]}\n\n-- +goose Down\n{marked[1]}\n")


def pairs(folder, migrations):
    for version, title, up, down in migrations:
        write(folder, f"{version}_{title}.up.sql", up + "\n")
        write(folder, f"{version}_{title}.down.sql", down + "\n")


CONVENTIONS = {"dbmate": dbmate, "goose": goose, "pairs": pairs}
