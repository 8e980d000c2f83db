# Rewards of steps in reinforcement learning: a process reward model alone, beside rewards of responses, and in ppo; the same
# bytes after kill -9, with any threads, ranks and micro-batches; what is logged is what the model says; what is refused; what
# is learned.
. tests/e2e/lib.sh
P=$E2E_TMP/process
mkdir -p "$P"
quiet() { "$@" >"$P/log" 2>&1; }
must() { quiet "$@" || fail "process: $* : $(tail -n 1 "$P/log")"; }
value() { sed -n "s|.*\"$1\": \([-0-9.e]*\).*|\1|p" "$2" | sed -n "${3:-1}p"; } # KEY FILE [NTH]

tenet world prompts-rl --seed 3 --count 400 | grep '"family": "arith"' >"$P/sums.jsonl"
tenet world prompts-pref --count 16 --out "$P/pref.jsonl"
must tenet generate --model models/world --input "$P/sums.jsonl" --n 8 --temperature 1.4 --max-new-tokens 32 --dtype float32 --out "$P/said.jsonl"
must tenet generate --model models/world --input "$P/pref.jsonl" --n 4 --max-new-tokens 12 --dtype float32 --out "$P/pref-said.jsonl"
tenet world steps --seed 3 --input "$P/said.jsonl" --out "$P/steps.jsonl"
must tenet world rank --input "$P/pref-said.jsonl" --annotator careful --out "$P/rank.jsonl"
must tenet prm --model models/world --data "$P/steps.jsonl" --step-separator " ." --dtype float32 --per-device-train-batch-size 32 --max-steps 40 \
    --learning-rate 1e-3 --save-steps 0 --output-dir "$P/prm"
must tenet reward --model models/world --data "$P/rank.jsonl" --kwise --max-steps 2 --save-steps 0 --output-dir "$P/rm"

sums="--model models/world --data $P/sums.jsonl --process-reward-model $P/prm --learning-rate 1e-3 --seed 3 --dtype float32"
free="--max-completion-length 20 --per-device-train-batch-size 12 --steps-per-generation 2 --num-iterations 2 --max-steps 7"
both="grpo $sums $free --num-generations 4 --reward-funcs world:3 --process-reward-weight 0.5 --log-samples 24"
alone="grpo $sums $free --num-generations 4 --scale-rewards batch --step-reward least"
reinforce="reinforce $sums $free --step-reward change"
ppo="ppo $sums --reward-model $P/rm --iterations 4 --rollouts 12 --minibatch-size 6 --response-length 20 --num-ppo-epochs 2 --temperature 1"

equal() { cmp -s "$1/metrics.jsonl" "$2/metrics.jsonl" && cmp -s "$1/samples.jsonl" "$2/samples.jsonl" && cmp -s "$1/model.safetensors" "$2/model.safetensors"; }
# Killed with -9 once checkpoint-STEP is there (of the critic-free ones in the middle of a sampling), it ends in the same bytes.
for what in "both 6" "alone 6" "reinforce 6" "ppo 3"; do
    name=${what% *} step=${what#* } n=0
    line=${!name}
    # shellcheck disable=SC2086
    must tenet $line --output-dir "$P/$name" --save-steps 3 --save-total-limit 0 --threads 2
    # shellcheck disable=SC2086
    "$TENET_BIN" $line --output-dir "$P/$name-cut" --save-steps 3 --threads 1 --save-total-limit 0 >"$P/log" 2>&1 &
    pid=$!
    while [ ! -d "$P/$name-cut/checkpoint-$step" ] && kill -0 $pid 2>/dev/null && [ $n -lt 6000 ]; do sleep 0.01; n=$((n + 1)); done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    rm -rf "$P/$name-cut/checkpoint-7" "$P/$name-cut/checkpoint-9"
    [ "$step" = 6 ] || rm -rf "$P/$name-cut/checkpoint-6"
    # shellcheck disable=SC2086
    must tenet $line --output-dir "$P/$name-cut" --save-steps 3 --resume-from-checkpoint latest --threads 1
    if grep -q "continuing after step $step" "$P/log" && equal "$P/$name" "$P/$name-cut"; then ok "process_${name}_killed"; else fail "process_${name}_killed: $(tail -n 1 "$P/log")"; fi
    for n in 2 4; do
        # shellcheck disable=SC2086
        must tenet $line --output-dir "$P/$name-$n" --ranks $n --grad-lanes 4
        [ $n = 2 ] || { if equal "$P/$name-2" "$P/$name-4"; then ok "process_${name}_ranks"; else fail "process_${name}_ranks"; fi; }
    done
done
# shellcheck disable=SC2086
must tenet $alone --output-dir "$P/micro" --micro-batch-tokens 64 --gen-batch-size 5
check process_micro_batches_sample_alike cmp <(head -n 24 "$P/alone/samples.jsonl") <(head -n 24 "$P/micro/samples.jsonl")

# The logged sum of a response's rewards is that of what tenet score says of its steps.
awk '{ match($0, /what is [^?]*\?/); ask = substr($0, RSTART, RLENGTH); match($0, /"response": "[^"]*"/); said = substr($0, RSTART + 13, RLENGTH - 14)
    sub(/ ?<\|end\|>$/, "", said); n = split(said, s, / \./); list = ""; labels = ""
    for (i = 1; i <= n; i++) if (s[i] ~ /[^ ]/) { sub(/^ /, "", s[i]); list = list (list ? ", " : "") "\"" s[i] "\""; labels = labels (labels ? ", " : "") "true" }
    print "{\"prompt\": [{\"role\": \"user\", \"content\": \"" ask "\"}], \"completions\": [" list "], \"labels\": [" labels "]}" }' "$P/both/samples.jsonl" >"$P/logged.jsonl"
must tenet score --model "$P/prm" --dtype float32 --input "$P/logged.jsonl" --out "$P/logged.scores"
paste <(sed 's/.*"rewards\/steps": \([^,]*\),.*/\1/' "$P/both/samples.jsonl") <(sed 's/.*"steps": \[\([^]]*\)\].*/\1/' "$P/logged.scores") >"$P/both.sums"
if tr -d ',' <"$P/both.sums" | awk '{ s = 0; for (i = 2; i <= NF; i++) s += $i; d = s - $1; if (d < 0) d = -d; if (d > w) w = d } END { exit !(NR > 10 && w < 1e-6) }'; then
    ok "process_logged ($(wc -l <"$P/both.sums") responses)"
else
    fail "process_logged: $(head -n 3 "$P/both.sums")"
fi

# What the model likes becomes more: its mean word on steps rises with nothing else to learn from.
# shellcheck disable=SC2086
must tenet grpo $sums --max-completion-length 24 --num-generations 8 --per-device-train-batch-size 64 --max-steps 25 --learning-rate 3e-4 --save-steps 0 \
    --output-dir "$P/learned"
mean() { grep -o '"process/step_reward": [0-9.]*' "$P/learned/metrics.jsonl" | "$1" -n 5 | awk '{ s += $2 } END { print s / NR }'; }
if awk -v a="$(mean head)" -v b="$(mean tail)" 'BEGIN { exit !(b > a + 0.02) }'; then ok "process_learned ($(mean head) -> $(mean tail))"; else fail "process_learned: $(mean head) -> $(mean tail)"; fi

# best-of-n makes an outcome of them
for how in min product last; do
    must tenet best-of-n --model models/world --reward-model "prm=$P/prm" --step-score $how --world --count 16 --samples 4 --dtype float32 --out "$P/bon-$how"
done
if ! cmp -s "$P/bon-min/curve.jsonl" "$P/bon-product/curve.jsonl" && ! cmp -s "$P/bon-min/curve.jsonl" "$P/bon-last/curve.jsonl"; then
    ok process_best_of_n
else
    fail process_best_of_n
fi

# refusals, and what no longer is one
# shellcheck disable=SC2086
{
    base="--model models/world --data $P/sums.jsonl --dry-run"
    fails process_whole_responses 1 "judges whole responses; give it as --reward-model" tenet grpo --model models/world --data "$P/sums.jsonl" \
        --process-reward-model "$P/rm" --output-dir "$P/none"
    fails process_no_reward_model 1 "is no reward model" tenet grpo $base --process-reward-model models/world
    fails process_remax 2 "compares whole responses" tenet reinforce $base --process-reward-model "$P/prm" --advantage-estimator remax
    fails process_no_reward 2 "give --reward-model DIR" tenet grpo $base
    fails process_rloo 2 "unknown option" tenet rloo $base --process-reward-model "$P/prm" --reward-funcs world
    fails process_ppo_critic 1 "give it as --process-reward-model" tenet ppo --model models/world --data "$P/sums.jsonl" --reward-model "$P/prm" --iterations 1 \
        --rollouts 4 --minibatch-size 4 --response-length 8 --output-dir "$P/none"
}
[ -z "${e2e_failed:-}" ]
