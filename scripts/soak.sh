#!/bin/sh
# Many processes in one store: writers, readers that stay, forkers, deleters, resets, promotions, gc; some are killed or
# stopped. For an hour, or for the seconds given. The tests do the same for a minute. With --full-disk the store stands
# on a file system in memory that is full now and then; that takes the right to mount, and 5 MB of memory a second.
#
#     sh scripts/soak.sh [--full-disk] [SECONDS]
set -eu
cd "$(dirname "$0")/.."
full=
if [ "${1:-}" = --full-disk ]; then
    full=$(mktemp -d)
    trap 'rmdir "$full"' EXIT
    shift
fi
sh scripts/setup.sh
cmake --preset dev >/dev/null
cmake --build --preset dev
export BOUGH="$PWD/build/dev/bin/bough" BOUGH_SO="$PWD/build/dev/lib/bough.so" PYTHONDONTWRITEBYTECODE=1
export BOUGH_SOAK_SECONDS="${1:-${full:+300}}" BOUGH_SEED="${BOUGH_SEED:-$(date +%s)}"
: "${BOUGH_SOAK_SECONDS:=3600}"
if [ -z "$full" ]; then
    /usr/bin/python3 tests/soak/soak.py
else
    BOUGH_SOAK_FULL_DISK="$full" unshare -m sh -c \
        'mount -t tmpfs -o size=$((64 + 5 * BOUGH_SOAK_SECONDS))m tmpfs "$BOUGH_SOAK_FULL_DISK" && exec /usr/bin/python3 tests/soak/soak.py'
fi
