#!/bin/sh
# Everything that has to hold before a commit, as CI runs it. Build trees stay in build/ for the next time.
#
# The tests make many small files and wait for each sync of a disk. So unless TMPDIR says where they go, they go to memory
# where there is room, but for those with the label `disk`: these run where temporary files usually are, too, with gcc.
set -eu
cd "$(dirname "$0")/.."
jobs=$(nproc)

step()
{
    printf '\n== %s\n' "$*"
}

# A folder of our own in memory. It needs about 1 GiB; the processes need some as well.
find_memory()
{
    room=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
    free=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
    [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ] && [ "${room:-0}" -gt 4194304 ] && [ "${free:-0}" -gt 6291456 ] || return 0
    memory=$(mktemp -d /dev/shm/bough-tests-XXXXXX)
    trap 'rm -rf "$memory"' EXIT
    trap 'exit 1' HUP INT TERM
    chmod 1777 "$memory" # some programs run as another user
}

# The rest of the tests of a preset: in memory, if there is room.
test_in_memory()
{
    if [ -n "$memory" ]; then
        TMPDIR=$memory ctest --preset "$@"
    else
        ctest --preset "$@"
    fi
}

build()
{
    cmake --preset "$1" >"build/$1.log" 2>&1 || { cat "build/$1.log"; exit 1; }
    cmake --build --preset "$1" -j "$jobs"
}

mkdir -p build
memory=
find_memory
step "packages"
sh scripts/setup.sh
step "the tree"
sh scripts/check-tree.sh
python3 scripts/mutants.py --check
step "gcc: build and test"
build ci
ctest --preset ci -j "$jobs" -L disk
test_in_memory ci -j "$jobs" -LE disk
step "exported symbols"
sh scripts/check-symbols.sh build/ci
step "installation"
sh scripts/check-install.sh build/ci
step "clang: build"
build clang
step "address and undefined behaviour: build and test"
build asan
test_in_memory asan -j "$jobs"
step "threads: build and test"
cmake --preset tsan >build/tsan.log 2>&1 || { cat build/tsan.log; exit 1; }
cmake --build --preset tsan -j "$jobs" --target threads
test_in_memory tsan -j "$jobs" -R '^threads_'
printf '\nAll passed.\n'
command -v chromium >/dev/null || echo "Skipped: the page of --html in a browser. sh scripts/setup.sh browser installs one."
