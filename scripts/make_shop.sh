#!/bin/sh
# Writes a shop's database (users, orders with three indexes) of about SIZE to FILE. One SIZE is one database.
#     scripts/make_shop.sh shop.db 1G
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -ne 2 ]; then
    echo "usage: $0 FILE SIZE (with a suffix K, M or G)" >&2
    exit 2
fi
(cd "$root" && cmake --preset release >&2 && cmake --build --preset release --target bough_shop >&2)
exec "$root/build/release/bin/bough_shop" "$1" "$2"
