#!/bin/sh
# Installs the Debian packages that building and testing need and that are missing. As root or with sudo it installs;
# else it lists them and fails. With `browser` also Chromium, 300 MB, in which one test looks at the page of --html; that
# test is skipped without it.
set -eu

packages="gcc clang cmake ninja-build pkg-config git python3 python3-pytest sqlite3 check
    libsqlite3-dev uuid-dev libssl-dev libxxhash-dev proj-data strace"
case ${1:-} in
    '') ;;
    browser) packages="$packages chromium" ;;
    *) echo "usage: sh scripts/setup.sh [browser]" >&2; exit 2 ;;
esac

missing=
for package in $packages; do
    case $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true) in
        installed) ;;
        *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1; then
    as_root=sudo
else
    echo "These packages are missing; install them as root:$missing" >&2
    exit 1
fi
echo "Installing:$missing" >&2
$as_root apt-get update -q >&2
# shellcheck disable=SC2086 # a list of words on purpose
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >&2
