#!/bin/sh
# Many processes in one store: writers, readers that stay, forkers, deleters, resets, promotions, gc; some are killed or
# stopped. For an hour, or for the seconds given. The tests do the same for a minute.
#
#     sh scripts/soak.sh [SECONDS]
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh
cmake --preset dev >/dev/null
cmake --build --preset dev
export BOUGH="$PWD/build/dev/bin/bough" BOUGH_SO="$PWD/build/dev/lib/bough.so"
BOUGH_SOAK_SECONDS="${1:-3600}" BOUGH_SEED="${BOUGH_SEED:-$(date +%s)}" PYTHONDONTWRITEBYTECODE=1 \
    /usr/bin/python3 tests/soak/soak.py
