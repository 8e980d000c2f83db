#!/bin/bash
# Remakes models/world-oversight, the base of experiments on oversight: models/world goes on for 8M tokens of the extension's
# text (src/world/oversight.h), more than half of which is new core text, on one cosine. A run that was stopped goes on.
#   recipes/world_oversight_base.sh OUT        (four minutes of one core)
set -eu
cd "$(dirname "$0")/.."
out=$1 tenet=${TENET_BIN:-build/tenet}
mkdir -p "$out"
[ -e "$out/text.jsonl" ] || $tenet world text --extension oversight --seed 1 --count 160000 --out "$out/text.jsonl"
resume=
[ -z "$(ls -d "$out"/base/checkpoint-* 2>/dev/null)" ] || resume="--resume-from-checkpoint latest"
# `tenet pretrain` would begin with random weights; texts train all of their tokens in sft, too
# shellcheck disable=SC2086
$tenet sft --model models/world --data "$out/text.jsonl" --output-dir "$out/base" --num-train-epochs 1 --max-length 160 \
    --batch-tokens 4096 --micro-batch-tokens 4096 --learning-rate 1e-3 --warmup-steps 50 --lr-scheduler-type cosine \
    --min-lr-ratio 0.05 --adam-beta2 0.98 --weight-decay 0.05 --dtype bfloat16 --save-dtype bfloat16 --seed 1 --save-steps 300 \
    --save-total-limit 1 --logging-steps 20 $resume
