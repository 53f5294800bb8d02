#!/bin/sh
# The rules of the tree that a compiler does not see.
set -eu
cd "$(dirname "$0")/.."
failed=0

complain()
{
    echo "check-tree: $*" >&2
    failed=1
}

# none WHAT PATTERN FILES...: the pattern occurs in no file.
none()
{
    what=$1 pattern=$2
    shift 2
    found=$(grep -nE "$pattern" "$@" /dev/null || true)
    [ -z "$found" ] || complain "$what:
$found"
}

# includes FOLDER ALLOWED...: what its files include in quotes stands in the folder itself or in an allowed one.
includes()
{
    folder=$1
    shift
    for file in "$folder"/*.[ch]; do
        [ -e "$file" ] || continue
        for header in $(sed -n 's/^[[:space:]]*#[[:space:]]*include "\(.*\)".*/\1/p' "$file"); do
            found=
            for place in "$folder" "$@"; do
                [ -e "$place/$header" ] && found=yes
            done
            case $header in */*) found= ;; esac
            [ -n "$found" ] || complain "$file includes \"$header\", which is not in: $folder $*"
        done
    done
}

includes engine include
includes vfs engine include
includes compare include
includes migrate compare include
includes cli migrate compare include
includes tools engine include cli
includes tools engine cli include

for file in engine/*.[ch]; do
    case $file in
        engine/catalog.[ch] | engine/catalog_sql.h | engine/sqlite_api.h) ;;
        *) none "only the catalog uses SQLite" 'include.*sqlite' "$file" ;;
    esac
done
# Every use of a file below goes through the table of system calls.
for file in engine/*.c; do
    [ "$file" = engine/os.c ] ||
        none "system calls go through bough__os" \
            '(^|[^_.>[:alnum:]])(open|pread|pwrite|fdatasync|fsync|ftruncate|fstat|lstat|unlink|rename|mkdir|rmdir|mmap|malloc|realloc|calloc|strdup)\(' \
            "$file"
done
sources=$(find include engine vfs compare migrate cli tools tests bench docs -name '*.[ch]')
# shellcheck disable=SC2086 # a list of files
long=$(awk 'length($0) > 120 {print FILENAME ":" FNR}' $sources)
[ -z "$long" ] || complain "longer than 120 columns:
$long"
# shellcheck disable=SC2086
none "tabs or spaces at the end of a line" '	| $' $sources
# shellcheck disable=SC2086
none "unfinished" 'TODO|FIXME|XXX:|for now' $sources
for file in $sources; do
    head -n 1 "$file" | grep -q '^/\*' || complain "$file does not open with a comment on its job"
done
for folder in engine vfs compare migrate cli tools; do
    for file in "$folder"/*.c; do
        [ -e "$file" ] || continue
        grep -qw "$(basename "$file")" "$folder/CMakeLists.txt" || complain "$file is not in $folder/CMakeLists.txt"
    done
done
exit $failed
