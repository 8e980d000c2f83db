#!/bin/bash
# Remakes models/world-oversight, the base of experiments on oversight: models/world goes on for 10M tokens of the extension's
# text (src/world/oversight.h), of which a quarter is new core text, on one cosine. A run that was stopped goes on.
#   recipes/world_oversight_base.sh OUT        (some five minutes of one core)
set -eu
cd "$(dirname "$0")/.."
out=$1 tenet=${TENET_BIN:-build/tenet}
mkdir -p "$out"
[ -e "$out/text.jsonl" ] || $tenet world text --extension oversight --seed 1 --count 200000 --out "$out/text.jsonl"
resume=
[ -z "$(ls -d "$out"/base/checkpoint-* 2>/dev/null)" ] || resume="--resume-from-checkpoint latest"
# shellcheck disable=SC2086
$tenet pretrain --model models/world --data "$out/text.jsonl" --output-dir "$out/base" --num-train-epochs 1 --max-length 160 \
    --batch-tokens 4096 --micro-batch-tokens 4096 --learning-rate 1e-3 --warmup-steps 50 --lr-scheduler-type cosine \
    --min-lr-ratio 0.05 --adam-beta2 0.98 --weight-decay 0.05 --dtype bfloat16 --seed 1 --save-steps 300 --save-total-limit 1 \
    --logging-steps 20 $resume
