#!/bin/sh
# check-install.sh BUILD: installs into a scratch directory, and a program finds the library through pkg-config.
set -eu
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/usr" >/dev/null
sed -i "s,^prefix=.*,prefix=$work/usr,; s,^libdir=.*/lib,libdir=$work/usr/lib,; s,^includedir=.*,includedir=$work/usr/include," \
    "$(find "$work/usr" -name bough.pc)"
PKG_CONFIG_PATH=$(dirname "$(find "$work/usr" -name bough.pc)")
export PKG_CONFIG_PATH

cat >"$work/use.c" <<'C'
#include <bough.h>
#include <stdio.h>
int main(void)
{
    bough_store *store = NULL;
    int rc = bough_store_open(&store, "/nonexistent.bough", NULL);
    printf("%s %s\n", bough_version(), bough_code_name(rc));
    bough_store_close(store);
    return 0;
}
C
version=$(pkg-config --modversion bough)
expected="$version BOUGH_NOT_FOUND"
# shellcheck disable=SC2046 # lists of words on purpose
cc "$work/use.c" -o "$work/shared" $(pkg-config --cflags --libs bough)
# shellcheck disable=SC2046
cc "$work/use.c" -o "$work/static" -Wl,-Bstatic $(pkg-config --cflags --libs-only-L bough) -lbough -Wl,-Bdynamic \
    $(pkg-config --static --libs sqlite3 uuid libcrypto libxxhash) -pthread
for program in shared static; do
    said=$(LD_LIBRARY_PATH=$(pkg-config --variable=libdir bough) "$work/$program")
    [ "$said" = "$expected" ] || { echo "check-install: the $program program said $said" >&2; exit 1; }
done
[ "$("$work/usr/bin/bough" --version)" = "bough $version" ] || { echo "check-install: bough --version" >&2; exit 1; }
find "$work/usr" -name bough.so | grep -q . || { echo "check-install: no bough.so" >&2; exit 1; }

# An installed program finds the installed libraries.
cd "$work"
sqlite3 shop.db 'CREATE TABLE t(a)'
usr/bin/bough init shop.db >/dev/null
usr/bin/bough run main -- sqlite3 shop.db 'INSERT INTO t VALUES(1)'
[ "$(sqlite3 shop.db 'SELECT count(*) FROM t')" = 0 ] && [ "$(usr/bin/bough sql main 'SELECT count(*) FROM t')" = 1 ] ||
    { echo "check-install: bough run" >&2; exit 1; }
