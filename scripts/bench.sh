#!/bin/sh
# Builds the release preset and runs the benchmark; arguments go to it (--help lists them).
#     scripts/bench.sh --quick
#     scripts/bench.sh --only forks,sql --json > figures.json
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
cmake --preset release >&2
cmake --build --preset release --target bough bough_bench >&2
exec build/release/bin/bough_bench "$@"
