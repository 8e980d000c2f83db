#!/bin/sh
# `make install` into an empty folder: the binary starts, pkg-config finds the library, a program
# that names only the public header links, manual pages and completion are there; `make uninstall`
# leaves nothing behind.
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
    rm "$root/log"
fi
printf '#include <tenet.h>\nint main(void) { return 0; }\n' >"$root/a.c"
# shellcheck disable=SC2046
${CC:-cc} -std=c17 -Wall -Wextra -Werror -o "$root/a" "$root/a.c" $(pkg-config --cflags --libs tenet)
"$root/a"
rm "$root/a" "$root/a.c"
for verb in $("$root/bin/tenet" --help | sed -n 's/^  \([a-z][a-z0-9-]*\) .*/\1/p'); do
    grep -q "^tenet.*\\\\- " "$root/share/man/man1/tenet-$verb.1" || { echo "no manual page of $verb"; exit 1; }
done
grep -q 'SH VERBS' "$root/share/man/man1/tenet.1"
for file in bash-completion/completions/tenet zsh/site-functions/_tenet fish/vendor_completions.d/tenet.fish; do
    grep -q 'completion words' "$root/share/$file"
done
make -s uninstall PREFIX="$root"
if find "$root" -type f | grep .; then echo "left behind by uninstall"; exit 1; fi
# staged installation: paths in tenet.pc are the final ones
make -s install PREFIX=/usr/local DESTDIR="$root/stage" >/dev/null
grep -q '^prefix=/usr/local$' "$root/stage/usr/local/lib/pkgconfig/tenet.pc"
test -e "$root/stage/usr/local/share/man/man1/tenet.1"
