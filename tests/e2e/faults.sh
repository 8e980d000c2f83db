# Every system call and every allocation fails once (base/fault.h), for every verb that writes: the exit
# status is 1 with a message, what was there before is untouched, nothing half-written stands under a final
# name, and a training run can be resumed to the same bytes. All calls take long, so a sample is drawn:
# TENET_FAULT_SAMPLES per verb, `all` for every one. TENET_FAULT_RUNS: these training runs only; TENET_FAULT_RUNS_PARKED: these on a disk.
. tests/e2e/lib.sh
samples=${TENET_FAULT_SAMPLES:-16}
[ -w /dev/shm ] && F=$(mktemp -d /dev/shm/tenet-faults.XXXXXX) && trap 'rm -rf "$F"' EXIT
F=${F:-$E2E_TMP/faults}
. tests/e2e/tiny.sh "$F"
errors=(5 12 28) # EIO ENOMEM ENOSPC
: "${seed:=$RANDOM}"
RANDOM=$seed

# calls COMMAND...: how many calls can fail.
calls() {
    TENET_FAULT=1000000000:5 "$@" 2>&1 >/dev/null | sed -n 's/^tenet: fault: \([0-9]*\) calls$/\1/p'
}
# Numbers of the calls to fail: all, or one drawn from each of $samples equal parts.
numbers() {
    if [ "$samples" = all ]; then seq 1 "$1"; return; fi
    local i
    for i in $(seq 0 $((samples - 1))); do echo $((i * $1 / samples + RANDOM % ($1 / samples + 1) + 1)); done
}
# run_fault N COMMAND...: sets $status and $bad.
run_fault() {
    local n=$1
    shift
    status=0
    TENET_FAULT=$n:${errors[$((n % 3))]} "$@" >"$F/stdout" 2>"$F/log" || status=$?
    if [ $status != 0 ] && { [ $status != 1 ] || ! grep -q "^tenet: error: ." "$F/log"; }; then
        bad="$bad call $n: status $status, $(tail -n 2 "$F/log" | head -n 1);"
    fi
}
finish() { # NAME TOTAL TRIED FAILED
    if [ "$3" = 0 ] || [ "$4" = 0 ]; then bad="$bad nothing failed"; fi
    if [ -z "$bad" ]; then ok "$1 ($4 of $3 failed, of $2 calls)"; else fail "$1 (seed=$seed):${bad:0:2000}"; fi
}

# file NAME OUT COMMAND...: OUT holds something older; afterwards it holds that, or what a good run writes.
file() {
    local name=$1 out=$2 total tried=0 failed=0 n
    shift 2
    bad=
    rm -rf "$out"
    "$@" >/dev/null 2>"$F/log" || { fail "$name: $(tail -n 1 "$F/log")"; return; }
    mv "$out" "$F/whole"
    total=$(calls "$@")
    for n in $(numbers "$total"); do
        rm -rf "$out"
        if [ -d "$F/whole" ]; then mkdir "$out"; else echo older >"$out"; fi
        run_fault "$n" "$@"
        tried=$((tried + 1))
        [ $status = 0 ] || failed=$((failed + 1))
        if [ -d "$F/whole" ]; then # a folder of files, each old (absent) or whole; complete when the run says so
            local f
            for f in $(cd "$out" && find . -type f); do
                cmp -s "$out/$f" "$F/whole/$f" || bad="$bad call $n (status $status): $f is torn;"
            done
            [ $status != 0 ] || diff -r "$out" "$F/whole" >/dev/null || bad="$bad call $n: status 0, but files are missing;"
        elif ! cmp -s "$out" "$F/whole" && { [ $status = 0 ] || [ "$(cat "$out")" != older ]; }; then
            bad="$bad call $n (status $status): $out is torn;"
        fi
        [ -z "$(find "$F" -maxdepth 2 -name '*.tmp-*')" ] || bad="$bad call $n: $(find "$F" -maxdepth 2 -name '*.tmp-*') is left;"
        rm -rf "$out".tmp "$F"/*.tmp-*
    done
    rm -rf "$F/whole" "$out"
    finish "$name" "$total" $tried $failed
}

# what a command leaves, less times, options (whose hash is in manifests) and what stages said
left() { (cd "$1" && find . -type f ! -name timing.jsonl ! -name tenet.json ! -name manifest.json ! -name .lock ! -path '*/logs/*' -exec cksum {} + | sort); }
# again NAME DIR COMMAND...: what stops anywhere and goes on when the same command is given again, to the same bytes in DIR.
again() {
    local name=$1 dir=$2 total tried=0 failed=0 n
    shift 2
    bad=
    rm -rf "$dir"
    "$@" >/dev/null 2>"$F/log" || { fail "$name: $(tail -n 1 "$F/log")"; return; }
    left "$dir" >"$F/whole.sums"
    rm -rf "$dir"
    total=$(calls "$@" | sort -n | tail -n 1) # a stage's own process has its own
    rm -rf "$dir"
    for n in $(numbers "$total"); do
        rm -rf "$dir"
        run_fault "$n" "$@"
        tried=$((tried + 1))
        if [ $status != 0 ]; then
            failed=$((failed + 1))
            "$@" >/dev/null 2>"$F/log" || bad="$bad call $n: it does not go on, $(tail -n 1 "$F/log");"
        fi
        left "$dir" 2>&1 | cmp -s - "$F/whole.sums" || bad="$bad call $n (status $status): $(left "$dir" | diff - "$F/whole.sums" | head -n 3 | tr '\n' ' ');"
    done
    rm -rf "$dir"
    finish "$name" "$total" $tried $failed
}

# train RUN [NAME FOLDER]: the folder's checkpoints stay complete, and resuming ends in the bytes of an undisturbed run.
train() {
    local run=$1 name=${2:-$1} at=${3:-$F} total tried=0 failed=0 n f d
    bad=
    # shellcheck disable=SC2046
    set -- tenet $(arguments "$run" 2) --save-steps 1 --resume-from-checkpoint latest --output-dir
    "$@" "$at/whole" >"$F/log" 2>&1 || { fail "faults_$name: $(tail -n 1 "$F/log")"; return; }
    total=$(calls "$@" "$at/out")
    for n in $(numbers "$total"); do
        rm -rf "$at/out"
        run_fault "$n" "$@" "$at/out"
        tried=$((tried + 1))
        [ $status = 0 ] || failed=$((failed + 1))
        for d in "$at"/out/checkpoint-[0-9]; do
            [ ! -d "$d" ] || tenet inspect "$d" >/dev/null 2>&1 || bad="$bad call $n: $d is damaged;"
        done
        for f in model.safetensors adapter_model.safetensors; do
            [ ! -e "$at/out/$f" ] || cmp -s "$at/out/$f" "$at/whole/$f" || bad="$bad call $n: $f is torn;"
        done
        [ $status = 0 ] || "$@" "$at/out" >"$F/log" 2>&1 || bad="$bad call $n: no resuming, $(tail -n 1 "$F/log");"
        for f in model.safetensors adapter_model.safetensors metrics.jsonl samples.jsonl trainer_state.json tenet.json; do
            [ -e "$at/whole/$f" ] || continue
            cmp -s "$at/out/$f" "$at/whole/$f" || [ $f = tenet.json ] || bad="$bad call $n (status $status): $f differs;"
            [ -s "$at/out/$f" ] || bad="$bad call $n (status $status): no $f;"
        done
        [ -z "$(find "$at/out" -name '*.tmp*')" ] || bad="$bad call $n: $(find "$at/out" -name '*.tmp*') is left;"
    done
    rm -rf "$at/whole" "$at/out"
    finish "faults_$name" "$total" $tried $failed
}
# the same where frozen models are parked: on a disk
parked() {
    if [ "$(stat -f -c %T "$E2E_TMP")" = tmpfs ]; then skip "faults_parked_$1 no disk below $E2E_TMP"; return; fi
    mkdir -p "$E2E_TMP/disk"
    train "$1" "parked_$1" "$E2E_TMP/disk"
}

for run in ${TENET_FAULT_RUNS:-pretrain sft reward dpo ppo grpo rloo lora distill tdpo}; do train "$run"; done
for run in ${TENET_FAULT_RUNS_PARKED-$([ -n "${TENET_FAULT_RUNS:-}" ] || echo grpo ppo)}; do parked "$run"; done
[ -z "${TENET_FAULT_RUNS:-}" ] || exit
tenet sft --model "$F/base" --data "$F/sft.jsonl" --max-steps 2 --save-steps 0 --output-dir "$F/sft" >"$F/log" 2>&1
tenet eval --world --count 8 --models base="$F/base" sft="$F/sft" --out "$F/eval" >"$F/log" 2>&1 || fail "faults_set_up: $(tail -n 1 "$F/log")"
head -n 12 "$F/pref.jsonl" >"$F/few.jsonl"
# stages that keep what they were told
grep -E '"family": "(harmful|arith)"' "$F/rl.jsonl" | head -n 8 >"$F/red.jsonl"
world="--prompts prompts/world --constitution constitutions/world.json --kind-key family"
printf 'name: small\nstages:\n  - name: rows\n    world sft: {count: 20, out: "${out}/rows.jsonl"}\n    makes: rows.jsonl\n' >"$F/r.yaml"
printf '  - name: some\n    select: {data: "${out}/rows.jsonl", first: 9, out: "${out}/some.jsonl"}\n    makes: some.jsonl\n' >>"$F/r.yaml"
# shellcheck disable=SC2086
{
    again faults_critique "$F/critique" tenet critique --model models/world $world --data "$F/red.jsonl" --rounds 1 --max-new-tokens 8 \
        --max-critique-tokens 8 --repeat-words 0 --longest-ratio 0 --output-dir "$F/critique"
    labelling() { mkdir -p "$F/label" && tenet label --model models/world --prompts prompts/world --constitution constitutions/world.json --input "$F/few-pairs.jsonl" --out "$F/label/l.jsonl"; }
    head -n 4 "$F/pairs.jsonl" >"$F/few-pairs.jsonl"
    sed 's/}$/, "human": 1}/' "$F/pairs.jsonl" >"$F/human.jsonl"
    again faults_label "$F/label" labelling
    again faults_rlthf "$F/rounds" tenet rlthf --model "$F/base" --data "$F/human.jsonl" --human rows --select random --rlthf-shard 1 \
        --rlthf-human 0.2 --rlthf-rounds 1 --num-train-epochs 1 --per-device-train-batch-size 16 --save-steps 1 --output-dir "$F/rounds"
    again faults_run "$F/run" tenet run "$F/r.yaml" --out "$F/run"
}
file faults_select "$F/sel.jsonl" tenet select --data "$F/rl.jsonl" --first 5 --out "$F/sel.jsonl"
file faults_best_of_n "$F/bon" tenet best-of-n --model "$F/base" --reward-model rm="$F/rm" --world --count 4 --samples 4 --out "$F/bon"
file faults_train_tokenizer "$F/bpe" tenet train-tokenizer --data "$F/text.jsonl" --vocab-size 420 --output-dir "$F/bpe"
file faults_world_sft "$F/ws.jsonl" tenet world sft --count 20 --out "$F/ws.jsonl"
file faults_generate "$F/g.jsonl" tenet generate --model "$F/base" --input "$F/few.jsonl" --max-new-tokens 8 --out "$F/g.jsonl"
file faults_score "$F/s.jsonl" tenet score --model "$F/base" --input "$F/samples.jsonl" --out "$F/s.jsonl"
file faults_score_grads "$F/grads.safetensors" tenet score --model "$F/base" --input "$F/samples.jsonl" --grads "$F/grads.safetensors"
file faults_eval "$F/e" tenet eval --world --count 8 --models base="$F/base" sft="$F/sft" --ref-model "$F/base" --reward-model "$F/rm" \
    --pairs "$F/pairs.jsonl" --baselines --out "$F/e"
tenet $(arguments lora 2) --save-steps 0 --output-dir "$F/lora" >"$F/log" 2>&1 || fail "faults_set_up: $(tail -n 1 "$F/log")"
file faults_merge "$F/merged" tenet merge "$F/lora" "$F/merged"
file faults_convert "$F/c" tenet convert "$F/base" "$F/c" --dtype bfloat16
file faults_report "$F/r.html" tenet report --eval "$F/eval" --runs sft="$F/sft" rm="$F/rm" --out "$F/r.html"
file faults_compare "$F/st.json" tenet compare --answers "$F/eval/samples.jsonl" --out "$F/st.json"
file faults_record "$F/rec.html" tenet report --record "$F/eval" --out "$F/rec.html"
file faults_rank "$F/k.jsonl" tenet world rank --input "$F/samples.jsonl" --out "$F/k.jsonl"
file faults_split "$F/t.jsonl" tenet split --data "$F/pairs.jsonl" --train-out "$F/t.jsonl" --held-out "$F/h.jsonl"
file faults_tokenize "$F/ids.jsonl" tenet tokenize --model "$F/base" --input "$F/text.jsonl" --out "$F/ids.jsonl"
file faults_world_config "$F/w" tenet world config --out "$F/w"
