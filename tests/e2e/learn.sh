# Methods that learn, in the built-in world from its base model: the true reward of what the policy says rises within a few
# steps. (ppo, grpo, dpo: the quickstart, and recipes at length.)
. tests/e2e/lib.sh
L=$E2E_TMP/learn
mkdir -p "$L"
tenet world prompts-rl --count 256 --out "$L/rl.jsonl"

# rises NAME LINE...: trained on the true reward; the mean reward of the last four steps beats that of the first four.
rises() {
    local name=$1
    shift
    if ! tenet "$@" --model models/world --data "$L/rl.jsonl" --reward-funcs world --per-device-train-batch-size 32 --max-steps 16 \
        --learning-rate 5e-4 --save-steps 0 --seed 3 --output-dir "$L/$name" >"$L/log" 2>&1; then
        fail "learn_$name: $(tail -n 1 "$L/log")"
    elif sed 's/.*"reward": \([-0-9.e]*\).*/\1/' "$L/$name/metrics.jsonl" | awk '
        { r[NR] = $1 } END { for (i = 1; i <= 4; i++) { a += r[i] / 4; b += r[NR - i + 1] / 4 }
          printf "%.2f to %.2f", a, b; exit !(NR == 16 && b > a + 0.15) }' >"$L/result"; then
        ok "learn_$name (true reward $(cat "$L/result"))"
    else
        fail "learn_$name: true reward $(cat "$L/result")"
    fi
}
rises gmpo grpo --loss-type gmpo --num-generations 4 --max-completion-length 24
rises a2po a2po --num-value-samples 4 --beta2 0.05 --max-completion-length 24
rises xpo xpo --alpha 0.0001 --max-new-tokens 24
rises nash_md nash-md --beta 0.05 --max-new-tokens 24

# tpo: pairs of samples by an exact annotator, the better one as the gold answer, too
tenet world prompts-pref --count 96 --out "$L/pref.jsonl"
{
    tenet generate --model models/world --input "$L/pref.jsonl" --n 4 --max-new-tokens 24 --out "$L/samples.jsonl" &&
        tenet world rank --input "$L/samples.jsonl" --annotator exact --pairs-out "$L/pairs.jsonl" --out "$L/rank.jsonl" &&
        sed 's/"chosen": \(.*\), "rejected": /"chosen": \1, "reference": \1, "rejected": /' "$L/pairs.jsonl" >"$L/triples.jsonl" &&
        tenet tpo --model models/world --data "$L/triples.jsonl" --max-steps 20 --per-device-train-batch-size 16 --learning-rate 5e-4 \
            --beta 0.1 --save-steps 0 --output-dir "$L/tpo" &&
        tenet world eval --count 96 --out "$L/eval.jsonl"
} >"$L/log" 2>&1 || fail "learn_tpo: $(tail -n 1 "$L/log")"
mean_reward() { # MODEL
    tenet generate --model "$1" --input "$L/eval.jsonl" --max-new-tokens 24 --out "$L/said.jsonl" 2>/dev/null &&
        tenet world judge --input "$L/said.jsonl" 2>/dev/null | sed -n 's/.*"reward": \([-0-9.e]*\).*/\1/p' | awk '{ s += $1 } END { print s / NR }'
}
before=$(mean_reward models/world) after=$(mean_reward "$L/tpo")
if [ -n "$before" ] && [ -n "$after" ] && awk "BEGIN { exit !($after > $before + 0.15) }"; then
    ok "learn_tpo (true reward $before to $after)"
else
    fail "learn_tpo: true reward $before to $after"
fi
[ -z "${e2e_failed:-}" ]
