#!/bin/bash
# Remakes models/world, the base model that the quickstart starts from: 18M tokens of the world's text, one cosine.
#   recipes/world_base.sh OUT        (about half an hour on two cores)
set -eu
cd "$(dirname "$0")/.."
out=$1 tenet=${TENET_BIN:-build/tenet}
mkdir -p "$out"
$tenet world config --out "$out/config"
$tenet world text --seed 1 --count 430000 --out "$out/text.jsonl"
$tenet pretrain --model "$out/config" --data "$out/text.jsonl" --output-dir "$out/base" --num-train-epochs 1 --max-length 160 \
    --batch-tokens 4096 --micro-batch-tokens 4096 --learning-rate 3e-3 --warmup-steps 200 --lr-scheduler-type cosine \
    --min-lr-ratio 0.05 --adam-beta2 0.98 --weight-decay 0.05 --dtype bfloat16 --seed 1 --save-steps 1000 --logging-steps 20
