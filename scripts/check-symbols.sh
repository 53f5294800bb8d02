#!/bin/sh
# check-symbols.sh BUILD: the libraries export what is documented and nothing else.
set -eu
build=$1
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

exported()
{
    nm -D --defined-only "$1" | awk '$2 ~ /^[TDBRV]$/ {print $3}' | sed 's/@.*//' | sort
}

same()
{
    if ! diff "$work/documented" "$work/exported" >"$work/diff"; then
        echo "check-symbols: $1 exports other symbols than are documented (< documented, > exported):" >&2
        cat "$work/diff" >&2
        exit 1
    fi
}

# A public function is declared with BOUGH_EXPORT in the header, whose comments are its documentation.
cat include/*.h | tr '\n' ' ' | grep -oE 'BOUGH_EXPORT [^;(]*\(' | grep -oE 'bough_[a-z0-9_]+\($' | tr -d '(' |
    sort >"$work/documented"
exported "$build/lib/libbough.so" >"$work/exported"
same libbough.so

printf 'sqlite3_bough_init\nsqlite3_boughdefault_init\n' >"$work/documented"
exported "$build/lib/bough.so" >"$work/exported"
same bough.so

printf 'sqlite3_open\nsqlite3_open16\nsqlite3_open_v2\n' >"$work/documented"
exported "$build/lib/bough-run.so" >"$work/exported"
same bough-run.so

for library in bough.so bough-run.so; do
    nm -D --undefined-only "$build/lib/$library"
done >"$work/undefined"
if grep -E ' sqlite3_' "$work/undefined"; then
    echo "check-symbols: bough.so or bough-run.so calls SQLite directly and not through the table of the copy that loaded it" >&2
    exit 1
fi
# What is in the static library has a prefix of ours.
nm -g --defined-only "$build/lib/libbough.a" | awk 'NF == 3 {print $3}' | grep -v '^bough_' | sort -u >"$work/foreign" || true
if [ -s "$work/foreign" ]; then
    echo "check-symbols: libbough.a defines names without the prefix bough_:" >&2
    cat "$work/foreign" >&2
    exit 1
fi
