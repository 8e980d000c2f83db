#!/bin/bash
# What everything in the built-in world starts from, one seed: demonstrations -> SFT, its answers ranked by a simulated
# annotator -> reward model, and the prompts of reinforcement learning.
#   recipes/world_start.sh SEED OUT [BASE]
#   DTYPE=float32       the same bits on every machine (default: bfloat16)
# Settings: docs/design.md ("The world's pipeline"); none was tuned per seed.
set -eu
cd "$(dirname "$0")/.."
seed=$1 out=$2 base=${3:-models/world} tenet=${TENET_BIN:-build/tenet}
mkdir -p "$out"
t0=$(date +%s)
stage() { printf '\n[%3d s] %s\n' $(($(date +%s) - t0)) "$*"; }
dtype="--dtype ${DTYPE:-bfloat16}"
optim="--micro-batch-tokens 2048 --adam-beta2 0.95 --min-lr-ratio 0.05 --save-steps 0 --save-dtype float32 --seed $seed --overwrite $dtype"

stage "supervised fine-tuning on 4,000 demonstrations of mixed quality"
$tenet world sft --seed "$seed" --out "$out/sft.jsonl"
# shellcheck disable=SC2086
$tenet sft --model "$base" --data "$out/sft.jsonl" --output-dir "$out/sft" --assistant-only-loss --num-train-epochs 2 \
    --batch-tokens 2048 --learning-rate 1e-3 --warmup-steps 10 $optim

stage "2,000 prompts, 4 answers each, ranked by a simulated annotator (careful: noisy, a little biased)"
for set in prompts-pref prompts-pref-heldout; do
    $tenet world $set --seed "$seed" --out "$out/$set.jsonl"
    # shellcheck disable=SC2086
    $tenet generate --model "$out/sft" --input "$out/$set.jsonl" --n 4 --max-new-tokens 40 --seed "$seed" $dtype --out "$out/$set-answers.jsonl"
done
$tenet world rank --input "$out/prompts-pref-answers.jsonl" --annotator careful --seed "$seed" --out "$out/rankings.jsonl"
$tenet world rank --input "$out/prompts-pref-heldout-answers.jsonl" --annotator careful --seed "$seed" --annotator-seed $((seed + 1000)) \
    --out "$out/rankings-heldout.jsonl"

stage "reward model from the rankings"
# shellcheck disable=SC2086
$tenet reward --model "$out/sft" --data "$out/rankings.jsonl" --eval-data "$out/rankings-heldout.jsonl" --reward-l2 0.001 --head-init 0 \
    --output-dir "$out/reward" --per-device-train-batch-size 32 --num-train-epochs 2 --learning-rate 5e-4 --weight-decay 0.01 $optim
$tenet world prompts-rl --seed "$seed" --count 8960 --out "$out/prompts-rl.jsonl"
