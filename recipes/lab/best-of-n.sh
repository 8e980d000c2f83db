# Best of n by reward models made from ever more rankings, gold by the oracle: one pool of samples for all three; and PPO without a KL
# penalty on each of them, with hacking.sh's settings.
title="Best of n and the size of the reward model's data"
claim="Gold follows d (alpha - beta d) over d = sqrt(KL): the more data a reward model has seen, the later gold peaks and the higher."
published="beta falls with reward model size and data, peaks move out (Gao, Schulman and Hilton 2022, 2210.10760)"
against=r250
arms="r250 r1000 r2000"
policies=
metric=gain256
columns=("accuracy:accuracy:3" "alpha:alpha:3" "beta:beta:3" "peak_d:d of the peak:2" "peak_gain:gain there:3" "gain4:gain, n 4:3" "gain32:n 32:3" "gain256:n 256:3"
    "rl_alpha:PPO, alpha:3" "rl_beta:beta:3" "rl_peak_d:d of the peak:2" "rl_best_d:d of the best checkpoint:2" "rl_best:gain there:3" "rl_end:gain at the end:3")
# Tuned: passes over the rankings, by accuracy.
candidates="2 4"
tune_r250=4 tune_r1000=4 tune_r2000=4
from_rankings() { # DIR NUMBER
    head -n "$2" "$work/rankings.jsonl" >"$1.rankings.jsonl"
    $tenet reward --model "$work/sft" --data "$1.rankings.jsonl" --reward-l2 0.001 --head-init 0 --per-device-train-batch-size 32 \
        --num-train-epochs "$tune" --learning-rate 5e-4 --weight-decay 0.01 --min-lr-ratio 0.05 $common --output-dir "$1"
}
learn() { # REWARD MODEL: a run beside it, judged every second iteration
    local run=$1.rl k models="0=$work/sft"
    $tenet ppo $sampled --reward-model "$1" --kl-coef 0 --minibatch-size 32 --num-ppo-epochs 1 --response-length 40 --missing-eos-penalty 1 --vf-coef 1 \
        --adam-epsilon 1e-5 --iterations 24 --rollouts 64 --learning-rate 6e-4 --critic-learning-rate 5e-4 --lr-scheduler-type constant --save-steps 2 \
        --save-total-limit 0 --output-dir "$run"
    for k in $(seq 2 2 24); do models="$models $k=$run/checkpoint-$k"; done
    $tenet eval --world --models $models --ref-model "$work/sft" --reward-model "$1" --dtype float32 --out "$run/along" --curve "$run/true_reward.jsonl" --seed 6
    rm -rf "$run"/checkpoint-*
}
for k in 250 1000 2000; do eval "arm_r$k() { from_rankings \"\$1\" $k && { [ -n \"\$tune_first\" ] || learn \"\$1\"; }; }"; done
# accuracy: on held-out pairs by true reward; gainN: gold of the best of N less that of a single sample
measure() {
    local d=$here/curve m= rl= model
    if [ -n "$tune_first" ]; then
        d=$here/tuning-curve
        for model in $models; do m="$m ${model%%=*}=${model#*=}"; done
    else
        rl=--rl-curve
        for model in $arms; do m="$m $model=$here/$model" rl="$rl $model=$here/$model.rl/true_reward.jsonl"; done
    fi
    if [ ! -e "$d/best-of-n.json" ]; then
        $tenet best-of-n --world --model "$work/sft" --reward-model $m --count 96 --samples 256 --seed 5 --dtype float32 $rl --out "$d" >&2
    fi
    awk -v name="\"$1\"" 'index($0, name ":") { on = 1 } on && /"alpha":/ { print "alpha", $2 + 0 } on && /"beta":/ { print "beta", $2 + 0 }
        on && /"d":/ { print "peak_d", $2 + 0 } on && /"gain":/ { print "peak_gain", $2 + 0 } on && /"beta_95"/ { exit }' "$d/best-of-n.json"
    sed -n "s/^{\"name\": \"$1\", \"n\": \(4\|32\|256\), .*\"gain\": \([^,]*\),.*/gain\1 \2/p" "$d/curve.jsonl"
    [ -n "$tune_first" ] || learned "$1" "$2.rl/true_reward.jsonl" "$d/best-of-n.json"
    $tenet world pairs --input "$work/prompts-pref-heldout-answers.jsonl" --annotator exact --seed "$seed" --out "$2.heldout.jsonl"
    $tenet eval --input "$work/prompts-pref-heldout.jsonl" --count 1 --models "$work/sft" --reward-model "$2" --pairs "$2.heldout.jsonl" \
        --dtype float32 --out "$2.eval" >/dev/null
    reward_model "$2.eval/eval.json" | grep accuracy
}
# The fit of a run, the checkpoint that gold likes best and the last one: gains over the start.
learned() {
    sed -n '/"reinforcement_learning"/,$p' "$3" | awk -v name="\"$1\"" 'index($0, name ":") { on = 1 } on && /"alpha":/ { print "rl_alpha", $2 + 0 }
        on && /"beta":/ { print "rl_beta", $2 + 0 } on && /"d":/ { print "rl_peak_d", $2 + 0 } on && /^    }/ { exit }'
    awk -F'[:,]' 'NR == 1 { zero = $4 } { match($0, /"kl": [-0-9.e]+/); kl = substr($0, RSTART + 6, RLENGTH - 6) + 0; gain = $4 - zero }
        NR > 1 && (NR == 2 || gain > best) { best = gain; d = kl > 0 ? sqrt(kl) : 0 } END { print "rl_best_d", d; print "rl_best", best; print "rl_end", gain }' "$2"
}
