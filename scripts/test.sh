#!/bin/sh
# Everything that has to hold before a commit, as CI runs it. Build trees stay in build/ for the next time.
set -eu
cd "$(dirname "$0")/.."
jobs=$(nproc)

step()
{
    printf '\n== %s\n' "$*"
}

build()
{
    cmake --preset "$1" >"build/$1.log" 2>&1 || { cat "build/$1.log"; exit 1; }
    cmake --build --preset "$1" -j "$jobs"
}

mkdir -p build
step "packages"
sh scripts/setup.sh
step "the tree"
sh scripts/check-tree.sh
python3 scripts/mutants.py --check
step "gcc: build and test"
build ci
ctest --preset ci -j "$jobs"
step "exported symbols"
sh scripts/check-symbols.sh build/ci
step "installation"
sh scripts/check-install.sh build/ci
step "clang: build"
build clang
step "address and undefined behaviour: build and test"
build asan
ctest --preset asan -j "$jobs"
step "threads: build and test"
cmake --preset tsan >build/tsan.log 2>&1 || { cat build/tsan.log; exit 1; }
cmake --build --preset tsan -j "$jobs" --target threads
ctest --preset tsan -j "$jobs" -R '^threads_'
printf '\nAll passed.\n'
command -v chromium >/dev/null || echo "Skipped: the page of --html in a browser. sh scripts/setup.sh browser installs one."
