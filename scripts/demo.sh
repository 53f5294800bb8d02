#!/bin/sh
# Three migrations of one shop, each on a branch of its own: seed once, fork three times, migrate in parallel, compare,
# and throw away what did not work. Everything happens in build/demo.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh
mkdir -p build
if ! { cmake --preset release && cmake --build --preset release -j "$(nproc)"; } >build/release.log 2>&1; then
    cat build/release.log >&2
    exit 1
fi
PATH=$PWD/build/release/bin:$PATH
export PATH
unset BOUGH_STORE BOUGH_BRANCH
rm -rf build/demo
mkdir -p build/demo
cd build/demo

say()
{
    if [ -t 1 ]; then
        printf '\n\033[1m# %s\033[0m\n' "$*"
    else
        printf '\n# %s\n' "$*"
    fi
}

run()
{
    printf '$'
    for word in "$@"; do
        case $word in
            *[!A-Za-z0-9_./~=-]*) printf " '%s'" "$word" ;;
            *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
    "$@"
}

fail()
{
    echo "demo: $*" >&2
    exit 1
}

say "The expensive part, once: a shop with 20,000 users and 200,000 orders."
sqlite3 shop.db <<'SQL'
CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE products(id INTEGER PRIMARY KEY, name TEXT NOT NULL, price_cents INTEGER NOT NULL);
CREATE TABLE orders(id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users, product_id INTEGER NOT NULL
    REFERENCES products, quantity INTEGER NOT NULL, ordered_at TEXT NOT NULL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO users SELECT i, 'User ' || i, 'user' || i || '@example.com', date('2024-01-01', '+' || (i % 700) || ' days')
FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
INSERT INTO products SELECT i, 'Product ' || i, 199 + i * 37 % 9000 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
INSERT INTO orders SELECT i, 1 + i * 7919 % 20000, 1 + i * 104729 % 500, 1 + i % 4,
    date('2024-01-01', '+' || (i % 700) || ' days') FROM n;
CREATE INDEX orders_user ON orders(user_id);
CREATE INDEX orders_product ON orders(product_id);
SQL
before=$(sha256sum <shop.db)
run ls -l shop.db
run bough init shop.db

say "Three branches at the same state. Nothing is copied."
run bough branch premium
run bough branch inventory
run bough branch analytics

say "Three migrations at the same time, a process each."
cat >premium.sql <<'SQL'
BEGIN;
ALTER TABLE users ADD COLUMN is_premium INTEGER NOT NULL DEFAULT 0;
CREATE TABLE premium_benefits(id INTEGER PRIMARY KEY, name TEXT NOT NULL, discount_percent INTEGER NOT NULL);
INSERT INTO premium_benefits(name, discount_percent) VALUES('free shipping', 0), ('early access', 0), ('members price', 10);
UPDATE users SET is_premium = 1 WHERE id IN (SELECT user_id FROM orders GROUP BY user_id HAVING sum(quantity) > 30);
COMMIT;
SQL
cat >inventory.sql <<'SQL'
BEGIN;
CREATE TABLE suppliers(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
INSERT INTO suppliers(name) VALUES('North'), ('South'), ('Harbour');
ALTER TABLE products ADD COLUMN stock INTEGER NOT NULL DEFAULT 0;
ALTER TABLE products ADD COLUMN supplier_id INTEGER REFERENCES suppliers;
UPDATE products SET stock = id * 13 % 200, supplier_id = 1 + id % 3;
COMMIT;
SQL
cat >analytics.sql <<'SQL'
BEGIN;
CREATE TABLE page_views(id INTEGER PRIMARY KEY, user_id INTEGER, path TEXT NOT NULL, seen_at TEXT NOT NULL);
CREATE INDEX page_views_user ON page_views(user_id);
CREATE TABLE daily_sales AS SELECT ordered_at AS day, count(*) AS orders, sum(quantity * price_cents) AS cents
    FROM orders JOIN products ON products.id = product_id GROUP BY day;
COMMIT;
SQL
processes=
for branch in premium inventory analytics; do
    printf '$ bough sql %s <%s.sql &\n' "$branch" "$branch"
    bough sql "$branch" <"$branch.sql" &
    processes="$processes $!"
done
for process in $processes; do
    wait "$process" || fail "a migration failed"
done

say "The outcomes, side by side."
run bough tree
for branch in premium inventory analytics; do
    run bough status "$branch"
    run bough diff main "$branch"
done
run bough sql premium "SELECT is_premium, count(*) AS users FROM users GROUP BY is_premium" --table
run bough sql inventory "SELECT s.name, count(*) AS products, sum(stock) AS stock FROM products JOIN suppliers s
    ON s.id = supplier_id GROUP BY s.id" --table
run bough sql analytics "SELECT * FROM daily_sales ORDER BY cents DESC LIMIT 3" --table

say "The base is untouched: none of the new tables, and byte for byte the file that went in."
run bough sql main "SELECT name FROM sqlite_schema WHERE type = 'table'" --table
run bough diff main main --exit-code
run bough export main base.db
cmp shop.db base.db || fail "main differs from shop.db"
[ "$before" = "$(sha256sum <shop.db)" ] || fail "shop.db changed"
echo "identical"

say "premium is the one: seal its state as a commit and name it."
run bough commit premium -m "premium users"
run bough tag v2 premium
run bough log premium

say "A branch of a branch: a risky second migration on top of premium, which goes wrong."
run bough branch premium-risky premium
run bough sql premium-risky "DELETE FROM users WHERE is_premium = 0"
run bough sql premium-risky "SELECT count(*) AS users_left FROM users" --table
run bough tree

say "Rolling back is dropping it. premium never noticed."
run bough delete premium-risky
run bough sql premium "SELECT count(*) AS users FROM users" --table

say "Cleaning up the whole tree. A tag keeps what it names."
run bough verify
run bough delete main -r
run bough branch
run bough sql v2 "SELECT count(*) AS premium_users FROM users WHERE is_premium" --table
