#!/bin/bash
# The main job in the built-in world, one seed: SFT -> rankings -> reward model -> DPO and PPO -> evaluation -> report,
# and PPO without its KL penalty, to show over-optimisation.
#   recipes/world_pipeline.sh SEED OUT [BASE]
# Every method keeps the settings of the table in docs/design.md ("The world's pipeline"); none was tuned per seed.
set -eu
cd "$(dirname "$0")/.."
seed=$1 out=$2 base=${3:-models/world} tenet=${TENET_BIN:-build/tenet}
mkdir -p "$out"
t0=$(date +%s)
stage() { printf '\n[%3d s] %s\n' $(($(date +%s) - t0)) "$*"; }
optim="--micro-batch-tokens 2048 --adam-beta2 0.95 --min-lr-ratio 0.05 --save-steps 0 --save-dtype float32 --seed $seed --overwrite"

recipes/world_start.sh "$seed" "$out" "$base"

stage "a helpful-only model, for comparison: demonstrations that comply with every request"
$tenet world sft --seed "$seed" --mix helpful --out "$out/sft-helpful.jsonl"
# shellcheck disable=SC2086
$tenet sft --model "$base" --data "$out/sft-helpful.jsonl" --output-dir "$out/helpful-only" --assistant-only-loss \
    --num-train-epochs 2 --batch-tokens 2048 --learning-rate 1e-3 --warmup-steps 10 $optim

stage "DPO from the same rankings"
# shellcheck disable=SC2086
$tenet dpo --model "$out/sft" --data "$out/rankings.jsonl" --eval-data "$out/rankings-heldout.jsonl" --beta 0.1 \
    --output-dir "$out/dpo" --per-device-train-batch-size 15 --num-train-epochs 1 --learning-rate 3e-4 --warmup-steps 20 $optim

stage "PPO against the reward model, KL coefficient 0.2"
ppo="ppo --model $out/sft --reward-model $out/reward --data $out/prompts-rl.jsonl --minibatch-size 64 --num-ppo-epochs 2
     --response-length 40 --temperature 1 --missing-eos-penalty 1 --vf-coef 1 --micro-batch-tokens 2048 --adam-beta2 0.95 --adam-epsilon 1e-5
     --train-sampling-strategy sequential --save-dtype float32 --seed $seed --overwrite"
# shellcheck disable=SC2086
$tenet $ppo --output-dir "$out/ppo" --iterations 30 --rollouts 256 --kl-coef 0.2 --learning-rate 3e-4 \
    --critic-learning-rate 5e-4 --warmup-steps 5 --save-steps 0

stage "the same without a KL penalty, to see what the reward model does not know"
# shellcheck disable=SC2086
$tenet $ppo --output-dir "$out/ppo-no-kl" --iterations 70 --rollouts 128 --kl-coef 0 --learning-rate 5e-4 \
    --lr-scheduler-type constant --save-steps 7 --save-total-limit 0
curve="0=$out/sft"
for k in 7 14 21 28 35 42 49 56 63 70; do curve="$curve $k=$out/ppo-no-kl/checkpoint-$k"; done
# shellcheck disable=SC2086
$tenet eval --world --count 320 --models $curve --ref-model "$out/sft" --reward-model "$out/reward" --against 0 \
    --out "$out/eval-no-kl" --curve "$out/ppo-no-kl/true_reward.jsonl" --seed 5 >"$out/eval-no-kl.txt"

stage "evaluation: 640 prompts, half of them about entities that no training answer mentioned"
$tenet eval --world --models base="$base" sft="$out/sft" dpo="$out/dpo" ppo="$out/ppo" ppo-no-kl="$out/ppo-no-kl" \
    helpful-only="$out/helpful-only" --ref-model "$out/sft" --reward-model "$out/reward" --baselines --greedy --pairs "$out/rankings-heldout.jsonl" \
    --out "$out/eval" --seed 5 | tee "$out/table.txt"
$tenet report --eval "$out/eval" --runs sft="$out/sft" reward="$out/reward" dpo="$out/dpo" ppo="$out/ppo" \
    ppo-no-kl="$out/ppo-no-kl" --title "From a base model to an aligned one, in the built-in world (seed $seed)" \
    --out "$out/report.html"
stage "done: open $out/report.html"
