# For end-to-end scripts: `. tests/e2e/lib.sh`. Each check prints one line "ok NAME",
# "FAIL NAME ..." or "skip NAME reason"; ./check adds them up. The working folder is the root of
# the sources; $TENET_BIN is the binary, $E2E_TMP a fresh folder, removed afterwards.
: "${TENET_BIN:=$PWD/build/tenet}"
if [ -z "${E2E_TMP:-}" ]; then
    E2E_TMP=$(mktemp -d)
    trap 'rm -rf "$E2E_TMP"' EXIT
fi
tenet() { "$TENET_BIN" "$@"; }
ok() { echo "ok $*"; }
fail() { echo "FAIL $*"; e2e_failed=1; }
skip() { echo "skip $*"; }

# check NAME COMMAND...: passes when the command succeeds; its output is shown when not.
check() {
    local name=$1
    shift
    if "$@" >"$E2E_TMP/check.log" 2>&1; then ok "$name"; else fail "$name: $*"; tail -n 15 "$E2E_TMP/check.log"; fi
}

# fails NAME STATUS TEXT COMMAND...: passes when the command ends with STATUS and stderr contains TEXT.
fails() {
    local name=$1 want=$2 text=$3 status=0
    shift 3
    "$@" >"$E2E_TMP/check.out" 2>"$E2E_TMP/check.log" || status=$?
    if [ "$status" != "$want" ]; then
        fail "$name: exit status $status, expected $want: $*"
        tail -n 15 "$E2E_TMP/check.log"
    elif ! grep -qF -e "$text" "$E2E_TMP/check.log"; then
        fail "$name: stderr lacks '$text'"
        tail -n 15 "$E2E_TMP/check.log"
    else
        ok "$name"
    fi
}
