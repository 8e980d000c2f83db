#!/bin/bash
# GRPO and RLOO in the built-in world, from what world_pipeline.sh made: against its reward model, and against the
# oracle itself as a verifiable reward. Prints one table beside SFT and PPO.
#   recipes/world_critic_free.sh SEED OUT        OUT: the folder of world_pipeline.sh SEED OUT
set -eu
cd "$(dirname "$0")/.."
seed=$1 out=$2 tenet=${TENET_BIN:-build/tenet}
t0=$(date +%s)
stage() { printf '\n[%3d s] %s\n' $(($(date +%s) - t0)) "$*"; }
common="--model $out/sft --data $out/prompts-rl.jsonl --num-generations 8 --per-device-train-batch-size 128 --max-steps 60
        --max-completion-length 40 --learning-rate 3e-4 --warmup-steps 5 --adam-beta2 0.95 --train-sampling-strategy sequential
        --save-steps 0 --save-dtype float32 --seed $seed --overwrite"
for verb in grpo rloo; do
    stage "$verb against the reward model, KL coefficient 0.2"
    # shellcheck disable=SC2086
    $tenet $verb $common --reward-model "$out/reward" --beta 0.2 --output-dir "$out/$verb"
    stage "$verb against the oracle, KL coefficient 0.04"
    # shellcheck disable=SC2086
    $tenet $verb $common --reward-funcs world --beta 0.04 --output-dir "$out/$verb-oracle"
done
stage "evaluation"
$tenet eval --world --models sft="$out/sft" ppo="$out/ppo" grpo="$out/grpo" rloo="$out/rloo" grpo-oracle="$out/grpo-oracle" \
    rloo-oracle="$out/rloo-oracle" --ref-model "$out/sft" --reward-model "$out/reward" --against sft --out "$out/eval-critic-free" \
    --seed 5 | tee "$out/critic-free.txt"
