#!/bin/sh
# `make install` into an empty folder: the binary starts, pkg-config finds the library, and a
# program that names only the public header (where there is one) links.
set -eu
cd "$(dirname "$0")/.."
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
make -s install PREFIX="$root" >/dev/null
"$root/bin/tenet" --version
PKG_CONFIG_PATH=$root/lib/pkgconfig
export PKG_CONFIG_PATH
pkg-config --exists --print-errors tenet
test "$(pkg-config --modversion tenet)" = "$("$root/bin/tenet" --version | cut -d' ' -f2)"
test -e "$root/lib/libtenet.a"
if [ -e build/tenet-mpi.so ]; then # found from where it is installed: it counts the processes
    status=0
    PMI_RANK=0 PMI_SIZE=2 "$root/bin/tenet" sft --model x --data x --output-dir "$root/x" 2>"$root/log" || status=$?
    test $status = 1
    grep -q "2 processes were started, but .* sees 1" "$root/log"
fi
if [ -e "$root/include/tenet.h" ]; then
    printf '#include <tenet.h>\nint main(void) { return 0; }\n' >"$root/a.c"
    # shellcheck disable=SC2046
    ${CC:-cc} -std=c17 -Wall -Wextra -Werror -o "$root/a" "$root/a.c" $(pkg-config --cflags --libs tenet)
    "$root/a"
fi
# staged installation: paths in tenet.pc are the final ones
make -s install PREFIX=/usr/local DESTDIR="$root/stage" >/dev/null
grep -q '^prefix=/usr/local$' "$root/stage/usr/local/lib/pkgconfig/tenet.pc"
