# Best of n by reward models made from ever more rankings, gold by the oracle: one pool of samples for all three.
title="Best of n and the size of the reward model's data"
claim="Gold follows d (alpha - beta d) over d = sqrt(KL): the more data a reward model has seen, the later gold peaks and the higher."
published="beta falls with reward model size and data, peaks move out (Gao, Schulman and Hilton 2022, 2210.10760)"
against=r250
arms="r250 r1000 r2000"
policies=
metric=gain256
columns=("accuracy:accuracy:3" "alpha:alpha:3" "beta:beta:3" "peak_d:d of the peak:2" "peak_gain:gain there:3" "gain4:gain, n 4:3" "gain32:n 32:3" "gain256:n 256:3")
# Tuned: passes over the rankings, by accuracy.
candidates="2 4"
tune_r250=4 tune_r1000=4 tune_r2000=4
from_rankings() { # DIR NUMBER
    head -n "$2" "$work/rankings.jsonl" >"$1.rankings.jsonl"
    $tenet reward --model "$work/sft" --data "$1.rankings.jsonl" --reward-l2 0.001 --head-init 0 --per-device-train-batch-size 32 \
        --num-train-epochs "$tune" --learning-rate 5e-4 --weight-decay 0.01 --min-lr-ratio 0.05 $common --output-dir "$1"
}
for k in 250 1000 2000; do eval "arm_r$k() { from_rankings \"\$1\" $k; }"; done
# accuracy: on held-out pairs by true reward; gainN: gold of the best of N less that of a single sample
measure() {
    local d=$here/curve m= model
    if [ -n "$tune_first" ]; then
        d=$here/tuning-curve
        for model in $models; do m="$m ${model%%=*}=${model#*=}"; done
    else
        for model in $arms; do m="$m $model=$here/$model"; done
    fi
    if [ ! -e "$d/best-of-n.json" ]; then
        $tenet best-of-n --world --model "$work/sft" --reward-model $m --count 96 --samples 256 --seed 5 --dtype float32 --out "$d" >&2
    fi
    awk -v name="\"$1\"" 'index($0, name ":") { on = 1 } on && /"alpha":/ { print "alpha", $2 + 0 } on && /"beta":/ { print "beta", $2 + 0 }
        on && /"d":/ { print "peak_d", $2 + 0 } on && /"gain":/ { print "peak_gain", $2 + 0 } on && /"beta_95"/ { exit }' "$d/best-of-n.json"
    sed -n "s/^{\"name\": \"$1\", \"n\": \(4\|32\|256\), .*\"gain\": \([^,]*\),.*/gain\1 \2/p" "$d/curve.jsonl"
    $tenet world pairs --input "$work/prompts-pref-heldout-answers.jsonl" --annotator exact --seed "$seed" --out "$2.heldout.jsonl"
    $tenet eval --input "$work/prompts-pref-heldout.jsonl" --count 1 --models "$work/sft" --reward-model "$2" --pairs "$2.heldout.jsonl" \
        --dtype float32 --out "$2.eval" >/dev/null
    reward_model "$2.eval/eval.json" | grep accuracy
}
