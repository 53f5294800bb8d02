#!/bin/sh
# The guide docs/guides/try-migrations.md on a shop of a million orders, or of the number given (a multiple of 10,000):
# every command with its time and what it prints, checked against the guide.
#
#     sh scripts/tutorial.sh [ORDERS]
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh
cmake --preset release >/dev/null
cmake --build --preset release --target bough bough_loadable
export BOUGH="$PWD/build/release/bin/bough" BOUGH_SO="$PWD/build/release/lib/bough.so" BOUGH_SOURCE="$PWD"
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 tests/docs/tutorial.py "$@"
