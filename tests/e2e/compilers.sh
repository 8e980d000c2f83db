# f32 runs are the same bits whatever compiler built the binary, whichever kernels
# run and however many threads there are.
. tests/e2e/lib.sh

other=$PWD/build/clang/tenet
if [ ! -x "$other" ]; then
    skip compilers_same_bits "no build/clang/tenet (./check builds it)"
    exit 0
fi
tenet world text --count 300 --seed 5 --out "$E2E_TMP/text.jsonl" &&
    tenet world config --out "$E2E_TMP/fresh" --hidden-size 48 --layers 2 --heads 4 --intermediate-size 96 ||
    fail compilers_same_bits no input
train() { # BINARY OUT THREADS [OPTION...]
    local bin=$1 out=$2 threads=$3
    shift 3
    "$bin" pretrain --model "$E2E_TMP/fresh" --data "$E2E_TMP/text.jsonl" --output-dir "$E2E_TMP/$out" \
        --max-steps 12 --dtype float32 --threads "$threads" --seed 3 "$@" 2>"$E2E_TMP/log" || cat "$E2E_TMP/log"
}
same() { # NAME OUT
    local what
    for what in model.safetensors metrics.jsonl; do
        if [ -s "$E2E_TMP/first/$what" ] && cmp -s "$E2E_TMP/first/$what" "$E2E_TMP/$2/$what"; then
            ok "same_bits_$1_$what"
        else
            fail "same_bits_$1_$what: differs from the run with one thread and this machine's best kernels"
        fi
    done
}
train "$TENET_BIN" first 1
train "$TENET_BIN" threads 3
same threads threads
train "$other" clang 2
same clang clang
train "$TENET_BIN" scalar 2 --kernels scalar
same scalar_kernels scalar
if grep -qw avx2 /proc/cpuinfo 2>/dev/null; then
    train "$other" avx2 2 --kernels avx2
    same clang_avx2_kernels avx2
else
    skip same_bits_clang_avx2_kernels no AVX2 here
fi
