#!/bin/bash
# The whole pipeline in the tiny world, every verb once, under AddressSanitizer with UndefinedBehaviorSanitizer,
# under ThreadSanitizer, and on the reference backend under valgrind. Long, so not a part of ./check.
# Then the end-to-end scripts of the other verbs under the first two: what a script checks may fail for want of time there and is
# only told; a sanitizer's report fails.
#   tools/sanitize.sh [asan|tsan|valgrind]...     default: all three
#   SCRIPTS="critique label" tools/sanitize.sh asan           these scripts alone ("": none)
cd "$(dirname "$0")/.." || exit 1
jobs=$(nproc) failed=0
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT

# pipeline NAME [OPTION...]: every verb, with these machine options; $run is the command that runs tenet
pipeline() {
    local name=$1 W=$T/$1 verb
    shift
    tenet() { "${run[@]}" "$@"; }
    fail() { echo "FAIL $name $*"; failed=1; }
    step() { # NAME COMMAND...
        local what=$1 status=0
        shift
        "$@" >"$W/out" 2>"$W/err" || status=$?
        if [ $status != 0 ] || grep -qE "ERROR: |WARNING: ThreadSanitizer|runtime error|ERROR SUMMARY: [1-9]" "$W/err"; then
            fail "$what (status $status)"
            grep -vE "^tenet: " "$W/err" | head -n 40
        else
            echo "ok $name $what"
        fi
    }
    mkdir -p "$W"
    . tests/e2e/tiny.sh "$W/tiny" # world, pretrain, generate, rank, reward
    step "set up" sh -c 'cat "$1" >&2' _ "$W/tiny/log"
    for verb in pretrain sft lora reward dpo kto bco aot trdpo orpo cpo simpo ppo grpo rloo distill tdpo; do
        # shellcheck disable=SC2046
        {
            step $verb tenet $(arguments $verb 2) "$@" --save-steps 1 --output-dir "$W/$verb"
            step "$verb resumed" tenet $(arguments $verb 3) "$@" --save-steps 1 --output-dir "$W/$verb" --resume-from-checkpoint latest
        }
    done
    step "sft evaluated" tenet sft --model "$W/tiny/base" --data "$W/tiny/sft.jsonl" --eval-data "$W/tiny/sft.jsonl" --eval-steps 1 \
        --max-steps 2 --load-best-model-at-end "$@" --output-dir "$W/best"
    # wide enough that every thread has work
    [ "$name" = valgrind ] || step "sft of the world's base" tenet sft --model models/world --data "$W/tiny/sft.jsonl" --max-steps 2 "$@" \
        --output-dir "$W/world"
    step generate tenet generate --model "$W/sft" --input "$W/tiny/pref.jsonl" --n 2 --max-new-tokens 8 --logprobs --top-p 0.9 "$@" --out "$W/g.jsonl"
    step score tenet score --model "$W/sft" --input "$W/g.jsonl" --grads "$W/g.safetensors" --out "$W/s.jsonl"
    step eval tenet eval --world --count 8 --models base="$W/tiny/base" sft="$W/sft" --ref-model "$W/tiny/base" --reward-model "$W/reward" \
        --pairs "$W/tiny/pairs.jsonl" --baselines --greedy "$@" --out "$W/eval"
    step report tenet report --eval "$W/eval" --runs sft="$W/sft" rm="$W/reward" ppo="$W/ppo" --out "$W/r.html"
    step merge tenet merge "$W/lora" "$W/merged"
    step "ranks" tenet $(arguments sft 2) "$@" --ranks 2 --grad-lanes 4 --save-steps 1 --output-dir "$W/ranks"
    step convert tenet convert "$W/sft" "$W/converted" --dtype bfloat16
    step inspect tenet inspect "$W/sft" --tensors
    step tokenize tenet tokenize --model "$W/sft" --input "$W/tiny/text.jsonl" --out "$W/ids.jsonl"
    step split tenet split --data "$W/tiny/pairs.jsonl" --train-out "$W/a.jsonl" --held-out "$W/b.jsonl"
    step "a damaged checkpoint" damaged "$W"
}
damaged() { # errors leak nothing either
    head -c 1000 "$1/sft/model.safetensors" >"$1/cut" && cp "$1/cut" "$1/sft/model.safetensors"
    ! tenet generate --model "$1/sft" --input "$1/tiny/pref.jsonl" --out "$1/x.jsonl"
}

# scripts NAME: every report goes to a file of its own, from whatever process
scripts() {
    local name=$1 logs=$T/$1-logs script
    mkdir -p "$logs" "$T/$name-root/build" && cp "build/$name/tenet" "$T/$name-root/build" # finds prompts beside its folder
    ln -sfn "$PWD"/{prompts,constitutions,recipes,models} "$T/$name-root"
    for script in ${SCRIPTS-$others}; do
        TENET_BIN=$T/$name-root/build/tenet bash "tests/e2e/$script.sh" >"$T/out" 2>&1
        grep '^FAIL' "$T/out" | sed "s/^/told: $name $script /"
        if ls "$logs"/report.* >/dev/null 2>&1; then
            echo "FAIL $name $script" && failed=1
            head -n 40 "$logs"/report.*
            rm "$logs"/report.*
        else
            echo "ok $name $script"
        fi
    done
}
others="critique label rlaif rlthf run select record process sdft sdpo online heads steps attacks oversight chat train_tokenizer preference ppo"

for kind in "${@:-all}"; do
    if [ "$kind" = all ] || [ "$kind" = asan ]; then
        make -s -j"$jobs" asan || exit 1
        export ASAN_OPTIONS=detect_leaks=1:exitcode=99 UBSAN_OPTIONS=print_stacktrace=1
        run=(build/asan/tenet)
        [ -n "${SCRIPTS-}" ] || pipeline asan --threads 3
        ASAN_OPTIONS=$ASAN_OPTIONS:log_path=$T/asan-logs/report UBSAN_OPTIONS=$UBSAN_OPTIONS:log_path=$T/asan-logs/report scripts asan
    fi
    if [ "$kind" = all ] || [ "$kind" = tsan ]; then
        make -s -j"$jobs" tsan || exit 1
        export TSAN_OPTIONS=halt_on_error=0
        run=(build/tsan/tenet)
        [ -n "${SCRIPTS-}" ] || pipeline tsan --threads 4
        TSAN_OPTIONS=$TSAN_OPTIONS:log_path=$T/tsan-logs/report scripts tsan
    fi
    if [ "$kind" = all ] || [ "$kind" = valgrind ]; then
        command -v valgrind >/dev/null || { echo "valgrind is missing: apt-get install valgrind" >&2; exit 1; }
        make -s -j"$jobs" build/tenet || exit 1
        run=(valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect build/tenet)
        pipeline valgrind --backend ref --threads 2
    fi
done
[ $failed = 0 ] && echo "sanitize: all passed"
exit $failed
