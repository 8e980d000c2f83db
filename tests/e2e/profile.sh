# --profile: the operations account for the steps' time, and the run's bits stay the same.
. tests/e2e/lib.sh
P=$E2E_TMP/profile
mkdir -p "$P"
tenet world sft --count 600 --out "$P/sft.jsonl"
tenet world prompts-pref --count 64 --out "$P/pref.jsonl"
tenet world prompts-rl --count 128 --out "$P/rl.jsonl"
model="--model models/world"

# field FILE NAME: the first number of that name
field() { sed -n "s/^ *\"$2\": \([0-9.e+-]*\),\{0,1\}$/\1/p" "$1" | head -n 1; }
# accounts NAME PHASE...: at least 95 % of the steps are in operations, the table says so, and each phase took time.
# On a busy machine the process may be put aside between operations: such a run is made again, twice at most.
accounts() {
    local name=$1 got again
    shift
    for again in 1 2; do
        got=$(field "$P/$name.json" accounted)
        if awk -v x="$got" 'BEGIN { exit !(x < 0.95) }'; then "${profiled[@]}" >"$P/log" 2>&1; fi
    done
    got=$(field "$P/$name.json" accounted)
    if ! awk -v x="$got" 'BEGIN { exit !(x >= 0.95 && x <= 1) }'; then fail "profile_${name}_accounted: $got"; return; fi
    grep -q "profile: .* of steps .* of them in these operations" "$P/log" || { fail "profile_${name}_table"; return; }
    for phase; do
        grep -q "^tenet: $phase " "$P/log" || { fail "profile_${name}_phase_$phase"; return; }
    done
    ok "profile_${name}_accounted ($got)"
}
same() { if cmp -s "$2" "$3"; then ok "profile_$1_same_bits"; else fail "profile_$1_same_bits: $2 and $3 differ"; fi; }
run() {
    profiled=("$@")
    [[ " $* " != *" --output-dir "* ]] || profiled+=(--overwrite)
    "$@" >"$P/log" 2>&1 || fail "$(tail -n 1 "$P/log")"
}

sft="sft $model --data $P/sft.jsonl --per-device-train-batch-size 100 --max-steps 5 --learning-rate 1e-3 --save-steps 2"
# shellcheck disable=SC2086
run tenet $sft --output-dir "$P/a"
# shellcheck disable=SC2086
run tenet $sft --output-dir "$P/b" --profile "$P/sft.json"
accounts sft data forward backward optimiser checkpoint
same sft "$P/a/model.safetensors" "$P/b/model.safetensors"
same sft_metrics "$P/a/metrics.jsonl" "$P/b/metrics.jsonl"
grep -q '"operation": "gemm_dw"' "$P/sft.json" && grep -q '"gflop_per_s"' "$P/sft.json" && ok profile_json || fail profile_json

run tenet generate $model --input "$P/pref.jsonl" --max-new-tokens 48 --ignore-eos --out "$P/plain.jsonl"
run tenet generate $model --input "$P/pref.jsonl" --max-new-tokens 48 --ignore-eos --out "$P/timed.jsonl" --profile "$P/generate.json"
accounts generate sampling
same generate "$P/plain.jsonl" "$P/timed.jsonl"

run tenet score $model --input "$P/plain.jsonl" --out "$P/plain.scores"
run tenet score $model --input "$P/plain.jsonl" --out "$P/timed.scores" --profile "$P/score.json"
accounts score scoring
same score "$P/plain.scores" "$P/timed.scores"

# a rollout loop; then a path that cannot be written: an error, but the run is whole
run tenet generate $model --input "$P/pref.jsonl" --n 4 --max-new-tokens 12 --out "$P/four.jsonl"
run tenet world rank --input "$P/four.jsonl" --annotator careful --out "$P/rank.jsonl" --pairs-out "$P/pairs.jsonl"
run tenet reward $model --data "$P/rank.jsonl" --output-dir "$P/rm" --max-steps 1 --save-steps 0
ppo="ppo $model --reward-model $P/rm --data $P/rl.jsonl --iterations 2 --rollouts 64 --minibatch-size 32 --response-length 24 --save-steps 0"
# shellcheck disable=SC2086
run tenet $ppo --output-dir "$P/ppo" --profile "$P/ppo.json"
accounts ppo sampling scoring reference forward backward optimiser

# a tiny model, where what lies between operations weighs most
. tests/e2e/tiny.sh "$P/tiny"
for run in pretrain sft lora reward dpo ppo grpo rloo; do
    # shellcheck disable=SC2046
    run tenet $(arguments $run 20) --save-steps 5 --output-dir "$P/tiny-$run" --profile "$P/tiny_$run.json"
    accounts tiny_$run optimiser checkpoint
done

# the other loops
online="--data $P/rl.jsonl --reward-model $P/rm --reward-funcs world --per-device-train-batch-size 64 --max-completion-length 24
    --max-steps 4 --num-iterations 2 --save-steps 0"
run tenet grpo $model $online --beta 0.05 --top-entropy-quantile 0.5 --output-dir "$P/grpo" --profile "$P/grpo.json"
accounts grpo sampling scoring reference forward backward optimiser
run tenet rloo $model $online --output-dir "$P/rloo" --profile "$P/rloo.json"
accounts rloo sampling scoring reference forward backward optimiser
run tenet reward $model --data "$P/rank.jsonl" --max-steps 6 --save-steps 0 --output-dir "$P/reward" --profile "$P/reward.json"
accounts reward data forward backward optimiser
run tenet dpo $model --data "$P/pairs.jsonl" --max-steps 6 --save-steps 0 --output-dir "$P/dpo" --profile "$P/dpo.json"
accounts dpo data reference forward backward optimiser

# ranks: what they wait for and give each other has rows of its own; a checkpoint's gathers are counted once
run tenet $sft --ranks 2 --output-dir "$P/ranks" --profile "$P/ranks.json"
accounts ranks forward backward optimiser checkpoint
run tenet $sft --grad-lanes 2 --output-dir "$P/lanes"
same ranks "$P/lanes/model.safetensors" "$P/ranks/model.safetensors"
for row in agree gather exchange; do
    if grep -A4 '"phase": "optimiser"' "$P/ranks.json" | grep -q "\"operation\": \"$row\""; then ok "profile_ranks_$row"; else fail "profile_ranks_$row"; fi
done
# shellcheck disable=SC2086
fails profile_bad_path 1 "nowhere/x.json" tenet $sft --output-dir "$P/c" --profile "$P/nowhere/x.json"
[ -s "$P/c/model.safetensors" ] && ok profile_bad_path_keeps_the_run || fail profile_bad_path_keeps_the_run
[ -z "${e2e_failed:-}" ]
