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
if [ -e "$root/include/tenet.h" ]; then
    printf '#include <tenet.h>\nint main(void) { return 0; }\n' >"$root/a.c"
    # shellcheck disable=SC2046
    ${CC:-cc} -std=c17 -Wall -Wextra -Werror -o "$root/a" "$root/a.c" $(pkg-config --cflags --libs tenet)
    "$root/a"
fi
# staged installation: paths in tenet.pc are the final ones
make -s install PREFIX=/usr/local DESTDIR="$root/stage" >/dev/null
grep -q '^prefix=/usr/local$' "$root/stage/usr/local/lib/pkgconfig/tenet.pc"
