#!/bin/bash
# Builds tenet for aarch64 (the portable kernels) and runs it under qemu: the unit tests, and float32 training
# whose bits must equal this machine's. Long, so not a part of ./check.
#   tools/aarch64.sh [FILTER...]     unit tests by filter; default: all
# Debian or Ubuntu on x86-64. The cross compiler and qemu are installed; the libraries of arm64 are unpacked
# into build/aarch64/root, and nothing else of the system is touched.
set -eu
cd "$(dirname "$0")/.."
out=build/aarch64 root=$PWD/build/aarch64/root jobs=$(nproc)
triple=aarch64-linux-gnu
mkdir -p "$out"

missing=
command -v qemu-aarch64 >/dev/null || missing="$missing qemu-user"
command -v $triple-gcc >/dev/null || missing="$missing gcc-$triple libc6-dev-arm64-cross"
if [ -n "$missing" ]; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -qq -y install --no-install-recommends $missing >/dev/null
fi

# The libraries, by an apt with its own lists: the system stays single-architecture.
if [ ! -e "$root/done" ]; then
    rm -rf "$root" "$out/apt"
    mkdir -p "$root" "$out/apt/lists/partial" "$out/apt/debs"
    apt=(apt-get -qq -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o Dir::State::lists="$PWD/$out/apt/lists"
        -o APT::Sandbox::User=root)
    "${apt[@]}" update
    (cd "$out/apt/debs" && "${apt[@]}" download libjansson4:arm64 libjansson-dev:arm64 libutf8proc2:arm64 libutf8proc-dev:arm64 \
        libyaml-0-2:arm64 libyaml-dev:arm64 zlib1g:arm64 zlib1g-dev:arm64) ||
        { echo "the arm64 libraries cannot be had from apt's sources" >&2; exit 1; }
    for deb in "$out"/apt/debs/*.deb; do dpkg -x "$deb" "$root"; done
    touch "$root/done"
fi

libs=$root/usr/lib/$triple:$root/lib/$triple
export PKG_CONFIG_LIBDIR=$root/usr/lib/$triple/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
make -s -j"$jobs" CC="${CROSS_CC:-$triple-gcc}" BUILD=$out WERROR=-Werror CFLAGS="-isystem $root/usr/include" \
    LDFLAGS="-L$root/usr/lib/$triple -L$root/lib/$triple -Wl,-rpath-link,$libs" $out/tenet $out/tests/run
unset PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR
make -s -j"$jobs" build/tenet

# tenet of the other machine, as a command
arm=$PWD/$out/arm-tenet
printf '#!/bin/sh\nexec qemu-aarch64 -L /usr/%s -E LD_LIBRARY_PATH=%s %s "$@"\n' $triple "$libs" "$PWD/$out/tenet" >"$arm"
chmod +x "$arm"
echo "== $("$arm" --version) on aarch64"
export TENET_EMULATED=1 TENET_FUZZ=${TENET_FUZZ:-300}
TENET_BIN=$arm qemu-aarch64 -L /usr/$triple -E LD_LIBRARY_PATH="$libs" $out/tests/run "$@"

echo "== float32 training: the same bits as here"
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
failed=
TENET_BIN=$PWD/build/tenet
# shellcheck source=tests/e2e/lib.sh
. tests/e2e/lib.sh
. tests/e2e/tiny.sh "$T/tiny"
for verb in pretrain sft lora reward dpo ppo grpo rloo; do
    # shellcheck disable=SC2046
    {
        build/tenet $(arguments $verb 3) --dtype float32 --save-steps 0 --output-dir "$T/$verb-here" >"$T/log" 2>&1
        "$arm" $(arguments $verb 3) --dtype float32 --save-steps 0 --output-dir "$T/$verb-arm" >"$T/log" 2>&1
    } || { tail -n 2 "$T/log"; failed=1; }
    weights=model.safetensors
    [ $verb != lora ] || weights=adapter_model.safetensors
    for f in $weights metrics.jsonl trainer_state.json; do
        cmp "$T/$verb-here/$f" "$T/$verb-arm/$f" || failed=1
    done
    [ -n "$failed" ] || echo "ok $verb"
done
[ -z "$failed" ]
